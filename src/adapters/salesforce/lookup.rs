//! Looks records up by our own ids, with SOQL: deletes accept Salesforce's ids only, and a guard
//! needs the stored version.

use std::collections::HashMap;
use std::fmt::Write as _;

use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Salesforce;
use super::client::ApiRequest;
use crate::adapters::{self, Call, version};
use crate::model::codes;
use crate::model::limits::Lookup;
use crate::model::{CallError, ContactId, FailureCause, Payload};

/// Longest query, encoded, in bytes. URI and headers together may have 16,384.
/// <https://developer.salesforce.com/docs/platform/salesforce-app-limits-cheatsheet/guide/salesforce-app-limits-platform-api.html>
const LONGEST_QUERY: usize = 12_000;

/// Encoded separator of two ids.
const COMMA: &str = "%2C";

/// Length of the encoded closing parenthesis.
const CLOSING_LENGTH: usize = 3;

/// Most pages of one query. 200 ids find 200 records, unless the field is not unique.
const MOST_PAGES: usize = 20;

/// A record that Salesforce holds.
#[derive(Clone, Debug)]
pub(super) struct StoredRecord {
    pub(super) id: String,
    pub(super) version: Option<u64>,
}

#[derive(Deserialize)]
struct Page<'a> {
    done: bool,
    #[serde(rename = "totalSize")]
    total: usize,
    #[serde(rename = "nextRecordsUrl")]
    next: Option<String>,
    #[serde(borrow)]
    records: Vec<&'a RawValue>,
}

impl Salesforce {
    /// Looks up the versions of the records of these payloads; the newest of several with one key.
    pub(super) async fn versions(
        &self,
        batch: &[&Payload],
        call: Call<'_>,
    ) -> Result<Vec<adapters::Held>, CallError> {
        let found = self.look_up(batch, call).await?;
        let held = |payload: &&Payload| match found.get(payload.id.key()) {
            Some(records) => {
                adapters::Held::Record(records.iter().filter_map(|record| record.version).max())
            }
            None => adapters::Held::Nowhere,
        };
        Ok(batch.iter().map(held).collect())
    }

    /// Looks up the records of these payloads, by [`ContactId::key`]. A key has several records
    /// where the field is not unique.
    pub(super) async fn look_up(
        &self,
        payloads: &[&Payload],
        call: Call<'_>,
    ) -> Result<HashMap<String, Vec<StoredRecord>>, CallError> {
        let mut found = HashMap::new();
        for query in self.queries(payloads) {
            let mut request = ApiRequest {
                method: Method::GET,
                path: format!("/services/data/{}/query", self.settings.api_version),
                query: Some(query),
                body: None,
            };
            // A record that is left out would count as deleted: a result with a wrong count is no
            // response.
            let mut records = 0;
            for number in 1.. {
                let response = self.request(request.clone(), call).await?;
                let page: Page<'_> =
                    serde_json::from_slice(&response.body).map_err(|_| unreadable())?;
                for record in &page.records {
                    self.add_record(record, &mut found).ok_or_else(unreadable)?;
                }
                records += page.records.len();
                if page.done && records == page.total {
                    break;
                }
                let next = match page.next {
                    Some(next) if !page.done && number < MOST_PAGES => next,
                    _ => return Err(unreadable()),
                };
                (request.path, request.query) = match next.split_once('?') {
                    Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
                    None => (next, None),
                };
            }
        }
        Ok(found)
    }

    /// Returns the limit of one query.
    pub(super) fn lookup(&self) -> Lookup {
        Lookup {
            capacity: LONGEST_QUERY.saturating_sub(self.query_start().len() + CLOSING_LENGTH),
            length: |id| encode(&literal(id.as_str())).len() + COMMA.len(),
        }
    }

    fn query_start(&self) -> String {
        let key = &self.settings.external_id_field;
        let version = match self.settings.version_field.as_str() {
            "" => String::new(),
            field => format!(",{field}"),
        };
        let start = format!(
            "SELECT Id,{key}{version} FROM {} WHERE {key} IN (",
            self.settings.sobject
        );
        format!("q={}", encode(&start))
    }

    /// Builds the query strings: as few as the length limit allows.
    fn queries(&self, payloads: &[&Payload]) -> Vec<String> {
        let start = self.query_start();
        let mut queries: Vec<String> = Vec::new();
        for payload in payloads {
            let literal = encode(&literal(payload.id.as_str()));
            match queries.last_mut() {
                Some(query)
                    if query.len() + COMMA.len() + literal.len() + CLOSING_LENGTH
                        <= LONGEST_QUERY =>
                {
                    query.push_str(COMMA);
                    query.push_str(&literal);
                }
                _ => queries.push(format!("{start}{literal}")),
            }
        }
        for query in &mut queries {
            query.push_str("%29");
        }
        queries
    }

    fn add_record(
        &self,
        record: &RawValue,
        found: &mut HashMap<String, Vec<StoredRecord>>,
    ) -> Option<()> {
        let fields: Map<String, Value> = serde_json::from_str(record.get()).ok()?;
        // Salesforce's field names have no letter case, and its responses use one of their own.
        let field = |name: &str| {
            fields
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        };
        let key = ContactId::new(field(&self.settings.external_id_field)?.as_str()?)?;
        let is_id =
            |id: &&str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let id = field("Id")?.as_str().filter(is_id)?;
        let version = field(&self.settings.version_field).and_then(version);
        found
            .entry(key.key().to_owned())
            .or_default()
            .push(StoredRecord {
                id: id.to_owned(),
                version,
            });
        Some(())
    }
}

/// Parses the number of a version field, a double that may have exponent form
/// (`1.763633702123E12`).
/// <https://github.com/jsforce/jsforce/issues/1048>
fn version(value: &Value) -> Option<u64> {
    version::parse(&value.as_number()?.to_string())
}

/// Quotes a text for SOQL. A query may contain control characters only as escapes.
/// <https://developer.salesforce.com/docs/platform/salesforce-soql-sosl/guide/sforce-api-calls-soql-select-quotedstringescapes.html>
fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    for character in text.chars() {
        match character {
            '\'' => literal.push_str("\\'"),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            control if control.is_control() => {
                // Writing into memory cannot fail.
                let _ = write!(literal, "\\u{:04x}", u32::from(control));
            }
            other => literal.push(other),
        }
    }
    literal.push('\'');
    literal
}

fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

pub(super) fn unreadable() -> CallError {
    CallError::failed(codes::UNREADABLE_ANSWER, FailureCause::Record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_leave_its_quotes() {
        for (text, expected) in [
            ("c-1", "'c-1'"),
            ("O'Brien", r"'O\'Brien'"),
            (r"a\b", r"'a\\b'"),
            (r"\') OR Id != null --", r"'\\\') OR Id != null --'"),
            ("a\nb\tc\r", r"'a\nb\tc\r'"),
            ("a\u{0}b\u{1b}c\u{85}", r"'a\u0000b\u001bc\u0085'"),
        ] {
            assert_eq!(literal(text), expected);
        }
    }

    #[test]
    fn a_version_is_parsed_from_a_number_of_any_form() {
        for (json, expected) in [
            ("42", Some(42)),
            ("42.0", Some(42)),
            ("4.1E1", Some(41)),
            ("1.763633702123E12", Some(1_763_633_702_123)),
            ("9.007199254740991E15", Some((1 << 53) - 1)),
            ("1.0E18", Some(1_000_000_000_000_000_000)),
            ("null", None),
            ("\"42\"", None),
            ("-1.0", None),
        ] {
            assert_eq!(
                version(&serde_json::from_str(json).expect("JSON")),
                expected,
                "{json}"
            );
        }
    }
}
