//! Description of the object for the run-as user, without hidden fields.

use serde_json::{Value, json};

use super::super::server::{Answer, Request};
use super::upsert::FIELDS;
use super::{State, refusal};

impl State {
    pub(super) fn describe(&self, request: &Request) -> Answer {
        if !request.path.ends_with("/sobjects/Lead/describe") {
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
        let mut fields: Vec<Value> = FIELDS
            .iter()
            .map(|(name, length)| field(name, *length))
            .collect();
        for name in &behavior.custom_fields {
            let mut custom = field(name, 255);
            if name.starts_with("Version") {
                custom["type"] = "double".into();
                custom["precision"] = 18.into();
            }
            fields.push(custom);
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
                "name": "Lead",
                "createable": behavior.may_write,
                "updateable": behavior.may_write,
                "deletable": behavior.may_delete,
                "queryable": true,
                "fields": fields,
            }),
        )
    }
}
