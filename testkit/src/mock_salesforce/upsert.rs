//! Collection upsert.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::server::{Answer, Request};
use super::gate::body;
use super::{State, refusal, row_error};

/// Writable fields of a contact that a lead does not have, and their lengths.
const CONTACT_FIELDS: [(&str, usize); 5] = [
    ("MailingStreet", 255),
    ("MailingCity", 40),
    ("MailingState", 80),
    ("MailingPostalCode", 20),
    ("MailingCountry", 80),
];

/// Lead fields that a contact does not have.
const LEAD_ONLY: [&str; 8] = [
    "Company",
    "Website",
    "Status",
    "Street",
    "City",
    "State",
    "PostalCode",
    "Country",
];

/// Returns the writable standard fields of an object and their lengths. Custom objects have none.
pub(super) fn fields_of(sobject: &str) -> impl Iterator<Item = (&'static str, usize)> {
    let (is_lead, is_contact) = (sobject == "Lead", sobject == "Contact");
    let lead = FIELDS
        .into_iter()
        .filter(move |(name, _)| is_lead || (is_contact && !LEAD_ONLY.contains(name)));
    lead.chain(CONTACT_FIELDS.into_iter().filter(move |_| is_contact))
}

/// Returns the fields that a new record of the object needs.
pub(super) fn required_of(sobject: &str) -> &'static [&'static str] {
    match sobject {
        "Lead" => &["LastName", "Company"],
        "Contact" => &["LastName"],
        _ => &[],
    }
}

/// Writable lead fields and their lengths.
const FIELDS: [(&str, usize); 15] = [
    ("LastName", 80),
    ("FirstName", 40),
    ("Company", 255),
    ("Email", 80),
    ("Phone", 40),
    ("MobilePhone", 40),
    ("Title", 128),
    ("Website", 255),
    ("Street", 255),
    ("City", 40),
    ("State", 80),
    ("PostalCode", 20),
    ("Country", 80),
    ("LeadSource", 40),
    ("Status", 40),
];

/// Returns the refusal of a country or a state that is none of an org with picklists of codes.
fn unknown_code(fields: &Map<String, Value>) -> Option<Value> {
    for (name, what) in [("CountryCode", "country"), ("StateCode", "state")] {
        let code = fields.get(name).and_then(Value::as_str).unwrap_or_default();
        let is_code = code.len() <= 3 && code.bytes().all(|byte| byte.is_ascii_uppercase());
        if !is_code {
            let message = format!(
                "There's a problem with this {what}, even though it may appear correct. Please \
                 select a {what} from the list of valid values."
            );
            return Some(row_error("FIELD_INTEGRITY_EXCEPTION", &message, &[name]));
        }
    }
    None
}

impl State {
    pub(super) fn upsert(&mut self, request: &Request) -> Answer {
        let mut parts = request.path.rsplit('/');
        let (field, sobject) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        if sobject != self.behavior.sobject {
            return refusal(404, "NOT_FOUND", "The requested resource does not exist");
        }
        if field != self.behavior.external_id_field {
            let message =
                format!("Provided external ID field does not exist or is not accessible: {field}");
            return refusal(404, "NOT_FOUND", &message);
        }
        if request.header("content-type") != Some("application/json") {
            return refusal(415, "UNSUPPORTED_MEDIA_TYPE", "Unsupported Media Type");
        }
        let text = body(request).unwrap_or_default();
        let Ok(body) = serde_json::from_str::<Value>(&text) else {
            return refusal(400, "JSON_PARSER_ERROR", "Unexpected character");
        };
        let records = body["records"].as_array().cloned().unwrap_or_default();
        self.size(records.len());
        if body["allOrNone"] != false {
            self.controls.record_violation("allOrNone is not false");
        }
        if records.is_empty() {
            self.controls.record_violation("an empty upsert");
            return refusal(
                400,
                "REQUIRED_FIELD_MISSING",
                "At least 1 record is required",
            );
        }
        if records.len() > self.behavior.most_records {
            self.controls
                .record_violation(format!("{} records", records.len()));
            return refusal(
                400,
                "EXCEEDED_ID_LIMIT",
                "record limit reached. cannot submit more than 200 records into this call",
            );
        }
        let keys: Vec<String> = records
            .iter()
            .map(|record| {
                record[field]
                    .as_str()
                    .unwrap_or_default()
                    .trim()
                    .to_lowercase()
            })
            .collect();
        if keys.iter().any(|key| self.controls.fails_batches(key)) {
            return refusal(
                400,
                "JSON_PARSER_ERROR",
                "Cannot deserialize instance of boolean from VALUE_STRING",
            );
        }
        if let Some(error) = self.parser_error(&text) {
            return error;
        }
        if self.is_any_locked(&keys) {
            let message =
                "unable to obtain exclusive access to this record or 1 records: 00Q000000000001";
            let rows: Vec<_> = keys
                .iter()
                .map(|_| self.failed(&row_error("UNABLE_TO_LOCK_ROW", message, &[])))
                .collect();
            return Answer::json(200, &rows.into());
        }
        let rows = records.iter().zip(&keys).map(|(record, key)| {
            let twice = keys.iter().filter(|other| *other == key).count() > 1;
            self.upsert_row(field, record, key, twice)
        });
        let rows = rows.collect::<Vec<Value>>();
        Answer::json(200, &rows.into())
    }

    /// Updates records by their ids. Creates none.
    pub(super) fn update(&mut self, request: &Request) -> Answer {
        let text = body(request).unwrap_or_default();
        let Ok(body) = serde_json::from_str::<Value>(&text) else {
            return refusal(400, "JSON_PARSER_ERROR", "Unexpected character");
        };
        let records = body["records"].as_array().cloned().unwrap_or_default();
        self.size(records.len());
        if records.is_empty() || records.len() > self.behavior.most_records {
            self.controls
                .record_violation(format!("an update of {} records", records.len()));
            return refusal(400, "EXCEEDED_ID_LIMIT", "record limit reached");
        }
        if body["allOrNone"] != false {
            self.controls.record_violation("allOrNone is not false");
        }
        let rows: Vec<Value> = records
            .into_iter()
            .map(|record| self.update_row(record))
            .collect();
        Answer::json(200, &rows.into())
    }

    fn update_row(&mut self, mut record: Value) -> Value {
        let field = self.behavior.external_id_field.clone();
        let id = record
            .as_object_mut()
            .and_then(|fields| fields.remove("id"));
        let Some(id) = id.as_ref().and_then(Value::as_str) else {
            self.controls.record_violation("an update without an id");
            return self.failed(&row_error("MISSING_ARGUMENT", "Id not specified", &["Id"]));
        };
        let held = self.store.records.get(id).filter(|held| !held.is_deleted);
        let key = held.and_then(|held| held.fields.get(&field)?.as_str().map(str::to_lowercase));
        match key {
            Some(key) => self.upsert_row(&field, &record, &key, false),
            None => self.failed(&row_error("ENTITY_IS_DELETED", "entity is deleted", &[])),
        }
    }

    /// Returns the error of a request with a text in a checkbox. It contains the column of the
    /// first one.
    fn parser_error(&self, body: &str) -> Option<Answer> {
        #[derive(Deserialize)]
        struct Collection<'a> {
            #[serde(borrow)]
            records: Vec<BTreeMap<&'a str, &'a RawValue>>,
        }
        let collection: Collection<'_> = serde_json::from_str(body).ok()?;
        let is_checkbox = |name: &&str| {
            self.behavior
                .checkboxes
                .iter()
                .any(|checkbox| checkbox == name)
        };
        let values = collection
            .records
            .iter()
            .flat_map(|record| record.iter().filter(|(name, _)| is_checkbox(name)));
        let value = values
            .map(|(_, value)| value.get())
            .find(|value| value.starts_with('"'))?;
        let before = &body[..value.as_ptr() as usize - body.as_ptr() as usize];
        let message = format!(
            "Cannot deserialize instance of boolean from VALUE_STRING value {} \
             or request may be missing a required field at [line:1, column:{}]",
            value.trim_matches('"'),
            before.chars().count() + 1
        );
        Some(refusal(400, "JSON_PARSER_ERROR", &message))
    }

    fn upsert_row(&mut self, field: &str, record: &Value, key: &str, twice: bool) -> Value {
        self.upserted_rows += 1;
        let ids = self.store.ids(field, key);
        let error = if twice {
            self.controls
                .record_violation(format!("{key} twice in a request"));
            Some(row_error(
                "DUPLICATE_VALUE",
                &format!("Duplicate external id specified: {key}"),
                &[field],
            ))
        } else {
            self.scripted_error(key)
                .or_else(|| self.validate(record, ids.is_empty()))
        };
        let error = error.or_else(|| {
            (ids.len() > 1).then(|| row_error("DUPLICATE_EXTERNAL_ID", "more than one", &[field]))
        });
        let is_converted = |id: &String| self.store.records[id].is_converted;
        let converted = || {
            row_error(
                "CANNOT_UPDATE_CONVERTED_LEAD",
                "cannot reference converted lead",
                &[],
            )
        };
        let error = error.or_else(|| ids.first().is_some_and(is_converted).then(converted));
        if let Some(error) = error {
            return self.failed(&error);
        }
        let mut fields = record.as_object().cloned().unwrap_or_default();
        fields.remove("attributes");
        let is_new = ids.is_empty();
        let id = match ids.into_iter().next() {
            Some(id) => id,
            None => self.store.insert(
                field,
                Map::from_iter([(field.to_owned(), record[field].clone())]),
            ),
        };
        let held = self.store.records.get_mut(&id).expect("indexed");
        held.fields.extend(fields);
        held.fields.retain(|_, value| !value.is_null());
        held.is_deleted = self.controls.discards_writes();
        json!({"id": id, "success": true, "errors": [], "created": is_new})
    }

    /// Builds a failed row, without an `id`, as in captures.
    fn failed(&self, error: &Value) -> Value {
        let mut row = json!({"success": false, "errors": [error]});
        if self.behavior.created_on_failures {
            row["created"] = true.into();
        }
        row
    }

    /// Returns whether a record of the batch is locked. "If an object in a batch can't be locked,
    /// the entire batch fails with this error."
    fn is_any_locked(&mut self, keys: &[String]) -> bool {
        let mut is_locked = false;
        for key in keys {
            if let Some(calls) = self.locked.get_mut(key).filter(|calls| **calls > 0) {
                *calls -= 1;
                is_locked = true;
            }
        }
        is_locked
    }

    pub(super) fn scripted_error(&mut self, key: &str) -> Option<Value> {
        if self
            .locks_every
            .is_some_and(|k| self.upserted_rows.is_multiple_of(k))
        {
            let message = "unable to obtain exclusive access to this record or 1 records: 005";
            return Some(row_error("UNABLE_TO_LOCK_ROW", message, &[]));
        }
        self.controls.row_error(key)
    }

    /// Validates a record. Returns its error.
    fn validate(&mut self, record: &Value, is_new: bool) -> Option<Value> {
        let fields = record.as_object()?;
        if fields
            .get("attributes")
            .is_none_or(|attributes| attributes["type"] != self.behavior.sobject.as_str())
        {
            self.controls.record_violation("a record without its type");
            return Some(row_error("INVALID_TYPE", "the type is missing", &[]));
        }
        if !self.behavior.may_write {
            let verb = if is_new { "inserted" } else { "updated" };
            let message = format!("entity type cannot be {verb}: {}", self.behavior.sobject);
            return Some(row_error(
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                &message,
                &[],
            ));
        }
        if let Some(name) = fields
            .keys()
            .find(|name| self.behavior.hidden_fields.contains(name))
        {
            return Some(no_such_column(name, &self.behavior.sobject));
        }
        if let Some(name) = fields
            .keys()
            .find(|name| self.behavior.read_only_fields.contains(name))
        {
            let message = format!(
                "Unable to create/update fields: {name}. \
                 Please check the security settings of this field"
            );
            return Some(row_error(
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                &message,
                &[name],
            ));
        }
        let status = fields.get("Status").and_then(Value::as_str);
        if let (Some(status), Some(known)) = (status, &self.behavior.statuses)
            && !known.iter().any(|known| known == status)
        {
            let message = format!("Status: bad value for restricted picklist field: {status}");
            return Some(row_error(
                "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
                &message,
                &["Status"],
            ));
        }
        if let Some(refusal) = unknown_code(fields) {
            return Some(refusal);
        }
        let field = self.behavior.external_id_field.clone();
        match fields.get(&field).and_then(Value::as_str) {
            None | Some("") => {
                return Some(row_error(
                    "MISSING_ARGUMENT",
                    &format!("{field} not specified"),
                    &[],
                ));
            }
            Some(key) if key.encode_utf16().count() > 255 => {
                let message = format!("{field}: data value too large: (max length=255)");
                return Some(row_error("STRING_TOO_LONG", &message, &[&field]));
            }
            Some(_) => {}
        }
        for (name, value) in fields {
            let text = value.as_str().unwrap_or_default();
            if self
                .refused_texts
                .as_ref()
                .is_some_and(|prefix| text.starts_with(prefix))
            {
                let code = "FIELD_CUSTOM_VALIDATION_EXCEPTION";
                return Some(row_error(code, "the value is not allowed", &[name]));
            }
            let is_ours = *name == self.behavior.external_id_field
                || self.behavior.custom_fields.contains(name);
            if name == "attributes" || is_ours {
                continue;
            }
            let known = fields_of(&self.behavior.sobject).find(|(field, _)| field == name);
            let Some((_, longest)) = known else {
                return Some(no_such_column(name, &self.behavior.sobject));
            };
            match value {
                Value::Null if matches!(&**name, "LastName" | "Company" | "Status") => {
                    let message = format!("Required fields are missing: [{name}]");
                    return Some(row_error("REQUIRED_FIELD_MISSING", &message, &[name]));
                }
                Value::String(text) if text.encode_utf16().count() > longest => {
                    let message = format!("{name}: data value too large: (max length={longest})");
                    return Some(row_error("STRING_TOO_LONG", &message, &[name]));
                }
                Value::String(text) if name == "Email" && !text.contains('@') => {
                    let message = format!("Email: invalid email address: {text}");
                    return Some(row_error("INVALID_EMAIL_ADDRESS", &message, &["Email"]));
                }
                Value::Null | Value::String(_) => {}
                _ => {
                    return Some(row_error(
                        "INVALID_TYPE_ON_FIELD_IN_RECORD",
                        "value not of required type",
                        &[name],
                    ));
                }
            }
        }
        let missing: Vec<&str> = required_of(&self.behavior.sobject)
            .iter()
            .copied()
            .filter(|name| !fields.contains_key(*name))
            .collect();
        let message = format!("Required fields are missing: [{}]", missing.join(", "));
        (is_new && !missing.is_empty())
            .then(|| row_error("REQUIRED_FIELD_MISSING", &message, &missing))
    }
}

/// Builds the error of a field that does not exist or is hidden from the run-as user.
fn no_such_column(name: &str, sobject: &str) -> Value {
    row_error(
        "INVALID_FIELD",
        &format!("No such column '{name}' on sobject of type {sobject}"),
        &[],
    )
}
