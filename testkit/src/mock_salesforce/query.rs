//! The query of the adapter, and the collection delete.

use serde_json::{Value, json};

use super::super::server::{Answer, Request};
use super::upsert::fields_of;
use super::{State, refusal, row_error};

impl State {
    pub(super) fn query(&mut self, request: &Request) -> Answer {
        if let Some(locator) = request
            .path
            .rsplit('/')
            .next()
            .and_then(|last| last.strip_prefix("01g"))
        {
            let number: usize = locator.parse().unwrap_or(usize::MAX);
            let Some((total, rest)) = self.queries.get(number).cloned() else {
                return refusal(404, "INVALID_QUERY_LOCATOR", "invalid query locator");
            };
            return self.page(total, rest);
        }
        let query = request.query("q").unwrap_or_default();
        let Some((columns, keys)) = parse(query, &self.behavior.sobject) else {
            self.controls
                .record_violation(format!("an unexpected query of {} characters", query.len()));
            return refusal(400, "MALFORMED_QUERY", "unexpected token");
        };
        self.size(keys.len());
        if keys.iter().any(|key| self.controls.fails_batches(key)) {
            return refusal(400, "MALFORMED_QUERY", "unexpected token");
        }
        if let Some(unknown) = columns.iter().find(|name| !self.has(name)) {
            return refusal(
                400,
                "INVALID_FIELD",
                &format!(
                    "No such column '{unknown}' on entity '{}'",
                    self.behavior.sobject
                ),
            );
        }
        let field = self.behavior.external_id_field.clone();
        let mut records = Vec::new();
        for key in keys {
            for id in self.store.ids(&field, &key) {
                let held = &self.store.records[&id];
                let sobject = &self.behavior.sobject;
                let url = format!("/services/data/v67.0/sobjects/{sobject}/{id}");
                let mut record = json!({"attributes": {"type": sobject, "url": url}});
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
        let behavior = &self.behavior;
        let is_known = name == "Id"
            || name == behavior.external_id_field
            || fields_of(&behavior.sobject).any(|(field, _)| field == name)
            || behavior.custom_fields.iter().any(|field| field == name);
        is_known && !behavior.hidden_fields.iter().any(|field| field == name)
    }

    /// Builds a page of a query that found `total` records.
    fn page(&mut self, total: usize, mut records: Vec<Value>) -> Answer {
        let rest = records.split_off(self.behavior.page.min(records.len()));
        let mut page = json!({"totalSize": total, "done": rest.is_empty(), "records": records});
        if !rest.is_empty() {
            page["nextRecordsUrl"] =
                format!("/services/data/v67.0/query/01g{}", self.queries.len()).into();
            self.queries.push((total, rest));
        }
        Answer::json(200, &page)
    }

    pub(super) fn delete(&mut self, request: &Request) -> Answer {
        let ids: Vec<&str> = request
            .query("ids")
            .unwrap_or_default()
            .split(',')
            .filter(|id| !id.is_empty())
            .collect();
        self.size(ids.len());
        if ids.is_empty() || ids.len() > 200 || request.query("allOrNone") != Some("false") {
            self.controls
                .record_violation(format!("a delete of {} ids", ids.len()));
            return refusal(400, "EXCEEDED_ID_LIMIT", "record limit reached");
        }
        let rows: Vec<Value> = ids.into_iter().map(|id| self.delete_row(id)).collect();
        Answer::json(200, &rows.into())
    }

    fn delete_row(&mut self, id: &str) -> Value {
        let failed = |error: Value| json!({"id": id, "success": false, "errors": [error]});
        let field = self.behavior.external_id_field.clone();
        let key = self
            .store
            .records
            .get(id)
            .and_then(|record| record.fields.get(&field))
            .and_then(Value::as_str);
        let key = key.unwrap_or_default().to_lowercase();
        if let Some(error) = self.scripted_error(&key) {
            return failed(error);
        }
        match self.store.records.get_mut(id) {
            None => failed(row_error("MALFORMED_ID", "malformed id", &[])),
            Some(_) if !self.behavior.may_delete => failed(row_error(
                "INSUFFICIENT_ACCESS_OR_READONLY",
                "insufficient access rights on object id",
                &[],
            )),
            Some(record) if record.is_deleted => {
                failed(row_error("ENTITY_IS_DELETED", "entity is deleted", &[]))
            }
            Some(record) => {
                record.is_deleted = true;
                json!({"id": id, "success": true, "errors": []})
            }
        }
    }
}

/// Parses the character of an escape.
fn escaped(characters: &mut std::str::CharIndices<'_>) -> Option<char> {
    match characters.next()?.1 {
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'u' => {
            let code: String = characters
                .by_ref()
                .take(4)
                .map(|(_, digit)| digit)
                .collect();
            char::from_u32(u32::from_str_radix(&code, 16).ok()?)
        }
        quoted @ ('\'' | '"' | '\\') => Some(quoted),
        _ => None,
    }
}

/// Parses the columns and keys of `SELECT Id,field… FROM Lead WHERE field IN ('…','…')`, the only
/// query of the adapter.
fn parse(query: &str, sobject: &str) -> Option<(Vec<String>, Vec<String>)> {
    let (columns, rest) = query
        .strip_prefix("SELECT ")?
        .split_once(&format!(" FROM {sobject} WHERE "))?;
    let (field, mut rest) = rest.split_once(" IN (")?;
    columns
        .split(',')
        .nth(1)
        .filter(|column| *column == field)?;
    let mut keys = Vec::new();
    loop {
        rest = rest.strip_prefix('\'')?;
        let mut key = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '\'') => break at,
                (_, '\\') => key.push(escaped(&mut characters)?),
                (_, control) if control.is_control() => return None,
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
