//! Definitions of the properties.

use serde_json::{Value, json};

use super::super::server::Answer;
use super::State;
use super::store::{READ_ONLY, STAGES, STANDARD};

impl State {
    pub(super) fn properties(&self) -> Answer {
        let options = |name: &str| match name {
            "lifecyclestage" => STAGES
                .map(|stage| json!({"label": stage, "value": stage}))
                .to_vec(),
            _ => Vec::new(),
        };
        let definition = |name: &str| {
            let kind = match name {
                "lifecyclestage" => "enumeration",
                name if name.starts_with("version") => "number",
                _ => "string",
            };
            let is_key = name == self.behavior.id_property && self.behavior.is_unique;
            json!({
                "name": name,
                "type": kind,
                "fieldType": "text",
                "hasUniqueValue": is_key,
                "options": options(name),
                "modificationMetadata": {
                    "readOnlyValue": READ_ONLY.contains(&name),
                    "readOnlyDefinition": false,
                },
            })
        };
        let custom = self.store.custom_properties.iter().map(String::as_str);
        let names = STANDARD
            .into_iter()
            .chain(READ_ONLY)
            .chain([self.behavior.id_property.as_str()])
            .chain(custom);
        Answer::json(
            200,
            &json!({"results": names.map(definition).collect::<Vec<Value>>()}),
        )
    }
}

/// Builds the error of a credential without a required scope.
pub fn missing_scope(scope: &str) -> Answer {
    let message = "This app hasn't been granted all required scopes to make this call.";
    let body = json!({
        "status": "error",
        "message": message,
        "correlationId": "c5",
        "category": "MISSING_SCOPES",
        "errors": [{
            "message": "One or more of the following scopes are required.",
            "context": {"requiredGranularScopes": [scope]},
        }],
    });
    Answer::json(403, &body)
}
