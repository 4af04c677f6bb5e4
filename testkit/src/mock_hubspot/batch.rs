//! Batch upsert, read and archive.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::server::Answer;
use super::State;
use super::store::Record;

#[derive(Deserialize)]
struct Batch<I> {
    inputs: Option<Vec<I>>,
    #[serde(rename = "idProperty")]
    id_property: Option<String>,
    properties: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Upsert {
    id: String,
    id_property: Option<String>,
    object_write_trace_id: Option<String>,
    properties: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Key {
    id: String,
}

/// Response that rejects the call.
type Refusal = Answer;

impl State {
    /// Writes the inputs. Creates contacts where `creates`.
    pub(super) fn upsert(&mut self, body: &[u8], creates: bool) -> Result<Answer, Refusal> {
        let batch: Batch<Upsert> = parse(body)?;
        let Some(inputs) = batch.inputs else {
            self.controls.record_violation("a body without inputs");
            return Ok(complete(200, &[], &[]));
        };
        self.check_inputs(inputs.iter().map(|input| input.id.as_str()))?;
        for input in &inputs {
            self.check_key(input.id_property.as_deref())?;
        }
        self.record_violations(&inputs);
        if inputs
            .iter()
            .any(|input| self.controls.fails_batches(&input.id))
        {
            return Err(Answer::json(
                400,
                &validation("One of the inputs is invalid"),
            ));
        }
        let errors: Vec<_> = inputs.iter().map(|input| self.validate(input)).collect();
        let is_traced = inputs
            .iter()
            .all(|input| input.object_write_trace_id.is_some())
            && !self.behavior.judges_as_one;
        if let (false, Some(error)) = (is_traced, errors.iter().flatten().next()) {
            return Err(Answer::json(400, error));
        }
        let mut results = Vec::new();
        let mut reported = Vec::new();
        for (input, error) in inputs.iter().zip(errors) {
            if let Some(error) = self.unnamed_errors.get(&input.id.to_lowercase()) {
                reported.push(error.clone());
                continue;
            }
            if !creates && self.store.find(&input.id).is_none() {
                reported.push(json!({"status": "error", "category": "OBJECT_NOT_FOUND",
                    "message": "Could not get some CONTACT objects, they may be deleted or not \
                                exist. Check that ids are valid.",
                    "context": {"ids": [input.id]}}));
                continue;
            }
            // Inputs of one batch can conflict with each other: each is validated again before it
            // is written.
            match error.or_else(|| self.store.clash(&input.id, &input.properties)) {
                Some(error) => reported.push(traced(error, input.object_write_trace_id.as_deref())),
                None => results.push(self.apply(input)),
            }
        }
        // HubSpot does not keep the order either.
        results.reverse();
        let status = if reported.is_empty() { 200 } else { 207 };
        Ok(complete(status, &results, &reported))
    }

    fn record_violations(&mut self, inputs: &[Upsert]) {
        let traces: BTreeSet<_> = inputs
            .iter()
            .map(|input| &input.object_write_trace_id)
            .collect();
        if traces.len() < inputs.len() || traces.contains(&None) {
            self.controls
                .record_violation("an input without a trace id of its own");
        }
        for input in inputs {
            let key = input.properties.get(&self.behavior.id_property);
            if key.is_some_and(|key| !key.eq_ignore_ascii_case(&input.id)) {
                self.controls
                    .record_violation("an input that changes its own key");
            }
        }
    }

    fn validate(&mut self, input: &Upsert) -> Option<Value> {
        if let Some(error) = self.controls.row_error(&input.id) {
            return Some(error);
        }
        let (id_property, require_a_name) =
            (&self.behavior.id_property, self.behavior.require_a_name);
        self.store
            .validate(&input.id, &input.properties, id_property, require_a_name)
    }

    fn apply(&mut self, input: &Upsert) -> Value {
        let id_property = self.behavior.id_property.clone();
        let (record, is_new) = self
            .store
            .upsert(&input.id, &input.properties, &id_property);
        let mut result = shown(record, input.properties.keys());
        let number = record.number.clone();
        result["new"] = json!(is_new);
        self.show_key(&mut result);
        if self.behavior.hide_properties {
            result["properties"] = Value::Null;
        }
        if self.behavior.echo_trace_ids {
            result["objectWriteTraceId"] = json!(input.object_write_trace_id);
        }
        if self.controls.discards_writes() {
            self.store.archive(&number);
        }
        result
    }

    fn show_key(&self, result: &mut Value) {
        let key = &mut result["properties"][&self.behavior.id_property];
        if let Some(text) = key.as_str() {
            *key = (self.behavior.shown_key)(text).into();
        }
    }

    pub(super) fn read(&mut self, body: &[u8]) -> Result<Answer, Refusal> {
        let batch: Batch<Key> = parse(body)?;
        let Some(inputs) = batch.inputs else {
            self.controls.record_violation("a body without inputs");
            return Ok(complete(200, &[], &[]));
        };
        self.check_inputs(inputs.iter().map(|input| input.id.as_str()))?;
        self.check_key(batch.id_property.as_deref())?;
        let requested = batch.properties.unwrap_or_default();
        let (mut results, mut missing, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for input in &inputs {
            if let Some(mut error) = self.controls.row_error(&input.id) {
                error["context"]["ids"] = json!([input.id]);
                errors.push(error);
                continue;
            }
            match self.store.find(&input.id) {
                Some(record) => {
                    let mut result = shown(record, requested.iter());
                    self.show_key(&mut result);
                    results.push(result);
                }
                None => missing.push(&input.id),
            }
        }
        results.reverse();
        if !missing.is_empty() {
            let message = "Could not get some CONTACT objects, they may be deleted or not exist. \
                           Check that ids are valid.";
            errors.push(
                json!({"status": "error", "category": "OBJECT_NOT_FOUND", "message": message,
                "context": {"ids": missing}}),
            );
        }
        Ok(complete(
            if errors.is_empty() { 200 } else { 207 },
            &results,
            &errors,
        ))
    }

    pub(super) fn archive(&mut self, body: &[u8]) -> Result<Answer, Refusal> {
        let batch: Batch<Key> = parse(body)?;
        if batch.id_property.is_some() {
            self.controls
                .record_violation("an archive by another id than HubSpot's");
        }
        let inputs = batch.inputs.unwrap_or_default();
        self.check_inputs(inputs.iter().map(|input| input.id.as_str()))?;
        for input in &inputs {
            if !self.store.archive(&input.id) {
                self.controls
                    .record_violation(format!("an archive of {}, which is no record", input.id));
            }
        }
        Ok(Answer::empty(204))
    }

    fn check_inputs<'a>(&mut self, ids: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
        let mut seen = BTreeSet::new();
        let twice: Vec<_> = ids.filter(|id| !seen.insert(id.to_lowercase())).collect();
        if seen.len() + twice.len() > self.behavior.most_inputs {
            self.controls
                .record_violation(format!("more than {} inputs", self.behavior.most_inputs));
            let message = "The maximum number of inputs supported in a batch is 100. \
                           Please reduce the number of items and try again";
            return Err(Answer::json(400, &validation(message)));
        }
        if !twice.is_empty() {
            self.controls.record_violation("an id twice in a batch");
            let ids = twice.join(", ");
            let mut body = validation(&format!(
                "Duplicate IDs found in batch input: [{ids}]. IDs must be unique"
            ));
            body["context"] = json!({"ids": twice});
            return Err(Answer::json(400, &body));
        }
        Ok(())
    }

    fn check_key(&mut self, id_property: Option<&str>) -> Result<(), Refusal> {
        let named = id_property.unwrap_or("hs_object_id");
        if named == self.behavior.id_property && self.behavior.is_unique {
            return Ok(());
        }
        let message = format!("Unable to perform update/upsert by non-unique 0-1 property {named}");
        Err(Answer::json(400, &validation(&message)))
    }
}

/// Parses the body. Returns the error of HubSpot's parser, which has no category.
fn parse<I: DeserializeOwned>(body: &[u8]) -> Result<Batch<I>, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message =
            format!("Invalid input JSON on line {line}, column {column}: Cannot deserialize value");
        Answer::json(
            400,
            &json!({"status": "error", "message": message, "correlationId": "c3"}),
        )
    })
}

pub(super) fn validation(message: &str) -> Value {
    json!({
        "status": "error",
        "message": message,
        "correlationId": "c4",
        "category": "VALIDATION_ERROR",
    })
}

fn traced(mut error: Value, trace_id: Option<&str>) -> Value {
    error["context"]["objectWriteTraceId"] = json!([trace_id]);
    error
}

fn complete(status: u16, results: &[Value], errors: &[Value]) -> Answer {
    let mut body = json!({
        "status": "COMPLETE",
        "results": results,
        "startedAt": "2026-11-20T10:15:00.123Z",
        "completedAt": "2026-11-20T10:15:00.323Z",
    });
    if !errors.is_empty() {
        body["numErrors"] = json!(errors.len());
        body["errors"] = json!(errors);
    }
    Answer::json(status, &body)
}

/// Builds a result with the requested properties, `null` for those without a value.
fn shown<'a>(record: &Record, properties: impl Iterator<Item = &'a String>) -> Value {
    let mut shown =
        json!({"hs_object_id": record.number, "lastmodifieddate": "2026-11-20T10:15:00.323Z"});
    for name in properties {
        shown[name] = json!(record.properties.get(name));
    }
    json!({"id": record.number, "properties": shown, "archived": false,
        "createdAt": "2026-11-20T10:15:00.123Z", "updatedAt": "2026-11-20T10:15:00.323Z"})
}
