//! Description of the object for the run-as user, without hidden fields.

use serde_json::{Value, json};

use super::super::server::{Answer, Request};
use super::upsert::{fields_of, required_of};
use super::{State, refusal};

impl State {
    pub(super) fn describe(&self, request: &Request) -> Answer {
        let sobject = &self.behavior.sobject;
        if !request
            .path
            .ends_with(&format!("/sobjects/{sobject}/describe"))
        {
            return refusal(404, "NOT_FOUND", "The requested resource does not exist");
        }
        let behavior = &self.behavior;
        let field = |name: &str, length: usize| {
            json!({
                "name": name,
                "type": "string",
                "length": length,
                "precision": 0,
                "scale": 0,
                "externalId": false,
                "unique": false,
                "caseSensitive": false,
                "createable": true,
                "updateable": true,
                "nillable": true,
            })
        };
        let mut fields: Vec<Value> = fields_of(sobject)
            .map(|(name, length)| field(name, length))
            .collect();
        for name in &behavior.custom_fields {
            let mut custom = field(name, 255);
            if name.starts_with("Baseline") {
                custom["type"] = "textarea".into();
                custom["length"] = 32_768.into();
            }
            if name.starts_with("Version") {
                custom["type"] = "double".into();
                custom["precision"] = 18.into();
            }
            fields.push(custom);
        }
        for field in &mut fields {
            let name = field["name"].as_str().unwrap_or_default().to_owned();
            let is_required = required_of(sobject).contains(&name.as_str());
            field["nillable"] = (!is_required).into();
            field["defaultedOnCreate"] = false.into();
            field["restrictedPicklist"] = false.into();
            field["picklistValues"] = json!([]);
            if let (true, Some(statuses)) = (name == "Status", &behavior.statuses) {
                let choice = |value| json!({"value": value, "label": value, "active": true});
                field["type"] = "picklist".into();
                field["restrictedPicklist"] = true.into();
                field["picklistValues"] = statuses.iter().map(choice).collect();
            }
        }
        let mut key = field(&behavior.external_id_field, 255);
        key["externalId"] = true.into();
        key["unique"] = behavior.external_id_is_unique.into();
        fields.push(key);
        fields.retain(|field| {
            !behavior
                .hidden_fields
                .iter()
                .any(|hidden| field["name"] == hidden.as_str())
        });
        Answer::json(
            200,
            &json!({
                "name": sobject,
                "createable": behavior.may_write,
                "updateable": behavior.may_write,
                "deletable": behavior.may_delete,
                "queryable": true,
                "fields": fields,
            }),
        )
    }
}
