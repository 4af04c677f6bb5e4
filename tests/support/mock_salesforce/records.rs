//! The leads, and the calls that read and write them.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use super::super::server::{Answer, Request};
use super::{State, body, refusal, row_error};

/// Lead fields that can be written, and their lengths.
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

#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    pub(super) fields: Map<String, Value>,
    pub(super) is_deleted: bool,
    is_converted: bool,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    records: BTreeMap<String, Record>,
    /// Ids by external id, in lower case.
    index: HashMap<String, Vec<String>>,
}

impl Store {
    pub(super) fn insert(&mut self, field: &str, fields: Map<String, Value>) -> String {
        let id = format!("00Q{:015}", self.records.len() + 1);
        if let Some(key) = fields.get(field).and_then(Value::as_str) {
            self.index.entry(key.to_lowercase()).or_default().push(id.clone());
        }
        self.records.insert(id.clone(), Record { fields, ..Record::default() });
        id
    }

    fn ids(&self, field: &str, key: &str) -> Vec<String> {
        let key = key.to_lowercase();
        let is_it = |id: &&String| {
            self.records.get(*id).is_some_and(|record| {
                let held = record.fields.get(field).and_then(Value::as_str);
                !record.is_deleted && held.is_some_and(|held| held.to_lowercase() == key)
            })
        };
        self.index.get(&key).into_iter().flatten().filter(is_it).cloned().collect()
    }

    pub(super) fn convert(&mut self, field: &str, key: &str) {
        for id in self.ids(field, key) {
            self.records.entry(id).and_modify(|record| record.is_converted = true);
        }
    }

    pub(super) fn find(&self, field: &str, key: &str) -> Option<&Record> {
        self.records.get(self.ids(field, key).first()?)
    }

    pub(super) fn keyed(&self, field: &str) -> BTreeMap<String, BTreeMap<String, String>> {
        let held = self.records.values().filter(|record| !record.is_deleted);
        held.filter_map(|record| {
            let key = record.fields.get(field)?.as_str()?.to_lowercase();
            let texts = record.fields.iter().filter(|(name, value)| *name != field && !value.is_null());
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Some((key, texts.map(|(name, value)| (name.clone(), text(value))).collect()))
        })
        .collect()
    }
}

impl State {
    pub(super) fn upsert(&mut self, request: &Request) -> Answer {
        let mut parts = request.path.rsplit('/');
        let (field, sobject) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if sobject != "Lead" {
            return refusal(404, "NOT_FOUND", "The requested resource does not exist");
        }
        if field != self.habits.external_id_field {
            let message = format!("Provided external ID field does not exist or is not accessible: {field}");
            return refusal(404, "NOT_FOUND", &message);
        }
        if request.header("content-type") != Some("application/json") {
            return refusal(415, "UNSUPPORTED_MEDIA_TYPE", "Unsupported Media Type");
        }
        let Some(body) = body(request) else {
            return refusal(400, "JSON_PARSER_ERROR", "Unexpected character");
        };
        let records = body["records"].as_array().cloned().unwrap_or_default();
        self.size(records.len());
        if body["allOrNone"] != false {
            self.mistakes.push("allOrNone is not false".to_owned());
        }
        if records.is_empty() {
            self.mistakes.push("an empty upsert".to_owned());
            return refusal(400, "REQUIRED_FIELD_MISSING", "At least 1 record is required");
        }
        if records.len() > 200 {
            self.mistakes.push(format!("{} records", records.len()));
            return refusal(
                400,
                "EXCEEDED_ID_LIMIT",
                "record limit reached. cannot submit more than 200 records into this call",
            );
        }
        let keys: Vec<String> =
            records.iter().map(|record| record[field].as_str().unwrap_or_default().trim().to_lowercase()).collect();
        if keys.iter().any(|key| self.poison.contains(key)) {
            return refusal(400, "JSON_PARSER_ERROR", "Cannot deserialize instance of boolean from VALUE_STRING");
        }
        if self.is_any_locked(&keys) {
            let message = "unable to obtain exclusive access to this record or 1 records: 00Q000000000001";
            let rows: Vec<_> =
                keys.iter().map(|_| self.failed(&row_error("UNABLE_TO_LOCK_ROW", message, &[]))).collect();
            return Answer::json(200, &rows.into());
        }
        let rows = records.iter().zip(&keys).map(|(record, key)| {
            let twice = keys.iter().filter(|other| *other == key).count() > 1;
            self.upsert_row(field, record, key, twice)
        });
        let rows = rows.collect::<Vec<Value>>();
        Answer::json(200, &rows.into())
    }

    fn upsert_row(&mut self, field: &str, record: &Value, key: &str, twice: bool) -> Value {
        self.upserted_rows += 1;
        let ids = self.store.ids(field, key);
        let error = if twice {
            self.mistakes.push(format!("{key} twice in a request"));
            Some(row_error("DUPLICATE_VALUE", &format!("Duplicate external id specified: {key}"), &[field]))
        } else {
            self.scripted_error(key).or_else(|| self.refused(record, ids.is_empty()))
        };
        let error =
            error.or_else(|| (ids.len() > 1).then(|| row_error("DUPLICATE_EXTERNAL_ID", "more than one", &[field])));
        let is_converted = |id: &String| self.store.records[id].is_converted;
        let converted = || row_error("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead", &[]);
        let error = error.or_else(|| ids.first().is_some_and(is_converted).then(converted));
        if let Some(error) = error {
            return self.failed(&error);
        }
        let mut fields = record.as_object().cloned().unwrap_or_default();
        fields.remove("attributes");
        if let Some(id) = ids.first() {
            let held = self.store.records.get_mut(id).expect("indexed");
            held.fields.extend(fields);
            held.fields.retain(|_, value| !value.is_null());
            json!({"id": id, "success": true, "errors": [], "created": false})
        } else {
            fields.retain(|_, value| !value.is_null());
            let id = self.store.insert(field, fields);
            json!({"id": id, "success": true, "errors": [], "created": true})
        }
    }

    /// A failed row: without `id`, as in captures.
    fn failed(&self, error: &Value) -> Value {
        let mut row = json!({"success": false, "errors": [error]});
        if self.habits.created_on_failures {
            row["created"] = true.into();
        }
        row
    }

    /// "If an object in a batch can't be locked, the entire batch fails with this error."
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

    fn scripted_error(&mut self, key: &str) -> Option<Value> {
        if self.locks_every.is_some_and(|k| self.upserted_rows.is_multiple_of(k)) {
            let message = "unable to obtain exclusive access to this record or 1 records: 005";
            return Some(row_error("UNABLE_TO_LOCK_ROW", message, &[]));
        }
        let (error, times) = self.row_errors.get_mut(key).filter(|(_, times)| *times > 0)?;
        *times -= 1;
        Some(error.clone())
    }

    /// What is wrong with a record in itself.
    fn refused(&mut self, record: &Value, is_new: bool) -> Option<Value> {
        let fields = record.as_object()?;
        if fields.get("attributes").is_none_or(|attributes| attributes["type"] != "Lead") {
            self.mistakes.push("a record without its type".to_owned());
            return Some(row_error("INVALID_TYPE", "the type is missing", &[]));
        }
        let field = self.habits.external_id_field.clone();
        match fields.get(&field).and_then(Value::as_str) {
            None | Some("") => return Some(row_error("MISSING_ARGUMENT", &format!("{field} not specified"), &[])),
            Some(key) if key.encode_utf16().count() > 255 => {
                let message = format!("{field}: data value too large: (max length=255)");
                return Some(row_error("STRING_TOO_LONG", &message, &[&field]));
            }
            Some(_) => {}
        }
        for (name, value) in fields {
            let is_ours = *name == self.habits.external_id_field || self.habits.custom_fields.contains(name);
            if name == "attributes" || is_ours {
                continue;
            }
            let Some((_, longest)) = FIELDS.iter().find(|(field, _)| field == name) else {
                let message = format!("No such column '{name}' on sobject of type Lead");
                return Some(row_error("INVALID_FIELD", &message, &[]));
            };
            match value {
                Value::Null if matches!(&**name, "LastName" | "Company" | "Status") => {
                    let message = format!("Required fields are missing: [{name}]");
                    return Some(row_error("REQUIRED_FIELD_MISSING", &message, &[name]));
                }
                Value::String(text) if text.encode_utf16().count() > *longest => {
                    let message = format!("{name}: data value too large: (max length={longest})");
                    return Some(row_error("STRING_TOO_LONG", &message, &[name]));
                }
                Value::String(text) if name == "Email" && !text.contains('@') => {
                    let message = format!("Email: invalid email address: {text}");
                    return Some(row_error("INVALID_EMAIL_ADDRESS", &message, &["Email"]));
                }
                Value::Null | Value::String(_) => {}
                _ => return Some(row_error("INVALID_TYPE_ON_FIELD_IN_RECORD", "value not of required type", &[name])),
            }
        }
        let missing: Vec<&str> =
            ["LastName", "Company"].into_iter().filter(|name| !fields.contains_key(*name)).collect();
        let message = format!("Required fields are missing: [{}]", missing.join(", "));
        (is_new && !missing.is_empty()).then(|| row_error("REQUIRED_FIELD_MISSING", &message, &missing))
    }

    pub(super) fn query(&mut self, request: &Request) -> Answer {
        if let Some(locator) = request.path.rsplit('/').next().and_then(|last| last.strip_prefix("01g")) {
            let number: usize = locator.parse().unwrap_or(usize::MAX);
            let Some((total, rest)) = self.queries.get(number).cloned() else {
                return refusal(404, "INVALID_QUERY_LOCATOR", "invalid query locator");
            };
            return self.page(total, rest);
        }
        let query = request.query("q").unwrap_or_default();
        let Some((columns, keys)) = parse(query, &self.habits.external_id_field) else {
            self.mistakes.push(format!("an unexpected query of {} characters", query.len()));
            return refusal(400, "MALFORMED_QUERY", "unexpected token");
        };
        self.size(keys.len());
        if let Some(unknown) = columns.iter().find(|name| !self.has(name)) {
            return refusal(400, "INVALID_FIELD", &format!("No such column '{unknown}' on entity 'Lead'"));
        }
        let field = self.habits.external_id_field.clone();
        let mut records = Vec::new();
        for key in keys {
            for id in self.store.ids(&field, &key) {
                let held = &self.store.records[&id];
                let mut record =
                    json!({"attributes": {"type": "Lead", "url": format!("/services/data/v67.0/sobjects/Lead/{id}")}});
                for name in &columns {
                    record[name.as_str()] = if name == "Id" {
                        id.clone().into()
                    } else {
                        held.fields.get(name).cloned().unwrap_or(Value::Null)
                    };
                }
                records.push(record);
            }
        }
        self.page(records.len(), records)
    }

    fn has(&self, name: &str) -> bool {
        name == "Id"
            || name == self.habits.external_id_field
            || self.habits.custom_fields.iter().any(|field| field == name)
    }

    /// A page of a query that found `total` records, as every page of it tells.
    fn page(&mut self, total: usize, mut records: Vec<Value>) -> Answer {
        let rest = records.split_off(self.habits.page.min(records.len()));
        let mut page = json!({"totalSize": total, "done": rest.is_empty(), "records": records});
        if !rest.is_empty() {
            page["nextRecordsUrl"] = format!("/services/data/v67.0/query/01g{}", self.queries.len()).into();
            self.queries.push((total, rest));
        }
        Answer::json(200, &page)
    }

    pub(super) fn delete(&mut self, request: &Request) -> Answer {
        let ids: Vec<&str> = request.query("ids").unwrap_or_default().split(',').filter(|id| !id.is_empty()).collect();
        self.size(ids.len());
        if ids.is_empty() || ids.len() > 200 || request.query("allOrNone") != Some("false") {
            self.mistakes.push(format!("a delete of {} ids", ids.len()));
            return refusal(400, "EXCEEDED_ID_LIMIT", "record limit reached");
        }
        let rows: Vec<Value> = ids.into_iter().map(|id| self.delete_row(id)).collect();
        Answer::json(200, &rows.into())
    }

    fn delete_row(&mut self, id: &str) -> Value {
        let failed = |error: Value| json!({"id": id, "success": false, "errors": [error]});
        let field = self.habits.external_id_field.clone();
        let key = self.store.records.get(id).and_then(|record| record.fields.get(&field)).and_then(Value::as_str);
        let key = key.unwrap_or_default().to_lowercase();
        if let Some(error) = self.scripted_error(&key) {
            return failed(error);
        }
        match self.store.records.get_mut(id) {
            None => failed(row_error("MALFORMED_ID", "malformed id", &[])),
            Some(record) if record.is_deleted => failed(row_error("ENTITY_IS_DELETED", "entity is deleted", &[])),
            Some(record) => {
                record.is_deleted = true;
                json!({"id": id, "success": true, "errors": []})
            }
        }
    }
}

/// The columns and keys of `SELECT … FROM Lead WHERE field IN ('…','…')`: the only query that we send.
fn parse(query: &str, field: &str) -> Option<(Vec<String>, Vec<String>)> {
    let (columns, rest) = query.strip_prefix("SELECT ")?.split_once(" FROM Lead WHERE ")?;
    let mut rest = rest.strip_prefix(field)?.strip_prefix(" IN (")?;
    let mut keys = Vec::new();
    loop {
        rest = rest.strip_prefix('\'')?;
        let mut key = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '\'') => break at,
                (_, '\\') => key.push(match characters.next()?.1 {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    other => other,
                }),
                (_, other) => key.push(other),
            }
        };
        keys.push(key);
        rest = &rest[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None if rest == ")" => break,
            None => return None,
        }
    }
    Some((columns.split(',').map(str::to_owned).collect(), keys))
}
