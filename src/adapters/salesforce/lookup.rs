//! Looks records up by our own ids, with SOQL: deletes accept Salesforce's ids only, a guard needs
//! the stored version, and policies the stored values.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::api_error::api_error;
use super::client::ApiRequest;
use super::composite::{Responses, has_encoded_expression};
use super::{Salesforce, mapping, remedies};
use crate::adapters::http::HttpResponse;
use crate::adapters::{Adapter, Call, misconfigured, version};
use crate::model::codes;
use crate::model::limits::Lookup;
use crate::model::{
    CallError, Cause, ContactId, FailureCause, Held, HeldRecord, Outcome, Payload, Stop,
};
use crate::{json, policy};

/// Longest query, encoded, in bytes. URI and headers together may have 16,384.
/// <https://developer.salesforce.com/docs/platform/salesforce-app-limits-cheatsheet/guide/salesforce-app-limits-platform-api.html>
const LONGEST_QUERY: usize = 12_000;

/// Encoded separator of two ids.
const COMMA: &str = "%2C";

/// Length of the encoded closing parenthesis.
const CLOSING_LENGTH: usize = 3;

/// Longest encoded id with its quotes and separator: 255 characters of up to 12 bytes.
const LONGEST_LITERAL: usize = 255 * 12 + 3 * COMMA.len();

/// Most pages of one query. 200 ids find 200 records, unless the field is not unique.
const MOST_PAGES: usize = 20;

/// Most fields that a look-up leaves out because they are missing or hidden. Each costs a query.
const MOST_CLOSED: usize = 3;

/// A record that Salesforce holds.
#[derive(Clone, Debug)]
pub(super) struct StoredRecord {
    pub(super) id: String,
    pub(super) held: HeldRecord,
}

impl StoredRecord {
    pub(super) fn version(&self) -> Option<u64> {
        self.held.version
    }
}

/// A failed query.
struct RefusedQuery {
    error: CallError,
    /// The requested field that is missing or hidden.
    field: Option<String>,
}

impl RefusedQuery {
    fn new(error: CallError, response: &HttpResponse, fields: &[&str]) -> Self {
        let refusal = api_error(response).filter(|refusal| refusal.is("INVALID_FIELD"));
        let field = refusal.and_then(|refusal| {
            let mut named = fields.iter().filter(|name| refusal.names_field(name));
            named.next().map(|name| (*name).to_owned())
        });
        Self { error, field }
    }
}

impl From<CallError> for RefusedQuery {
    fn from(error: CallError) -> Self {
        Self { error, field: None }
    }
}

/// Returns the first of the records with one key, with the newest version of all.
fn newest(records: Vec<StoredRecord>) -> Held {
    let version = records.iter().filter_map(StoredRecord::version).max();
    let is_only = records.len() == 1;
    match records.into_iter().next() {
        Some(first) => Held::Record(HeldRecord {
            id: is_only.then(|| first.id.into()),
            version,
            ..first.held
        }),
        None => Held::Nowhere,
    }
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
    /// Looks up the records of these payloads, with the values of `fields`. Of several records with
    /// one key the first counts, with the newest version of all. A field that is missing or hidden
    /// fails only the payloads that carry it: the query is repeated without it.
    pub(super) async fn records(
        &self,
        batch: &[&Payload],
        fields: &[&str],
        call: Call<'_>,
    ) -> Result<Vec<Held>, CallError> {
        let mut read = fields.to_vec();
        let mut closed: Vec<(&str, Stop)> = Vec::new();
        let mut found = loop {
            let refused = match self.try_look_up(batch, &read, call).await {
                Ok(found) => break found,
                Err(refused) => refused,
            };
            let at = read
                .iter()
                .position(|name| refused.field.as_deref() == Some(*name));
            match at {
                Some(at) if closed.len() < MOST_CLOSED => {
                    let name = read.remove(at);
                    let remedy = remedies::of_field(name, None, &self.settings);
                    let code = refused.error.code().clone();
                    closed.push((name, Stop::new(Cause::Configuration, code, remedy)));
                }
                _ => return Err(refused.error),
            }
        };
        let stops = closed.iter().map(|(_, stop)| stop);
        misconfigured::report(self.destination(), stops, call);
        let mut held = Vec::with_capacity(batch.len());
        for payload in batch {
            let carried = policy::fields_read(payload);
            let refused = closed.iter().find(|(name, _)| carried.contains(*name));
            held.push(match refused {
                Some((_, stop)) => Held::Unknown(Outcome::Failed(stop.code.clone())),
                None => newest(found.remove(payload.id.key()).unwrap_or_default()),
            });
        }
        Ok(held)
    }

    /// Looks records up, as [`Self::try_look_up`] does.
    ///
    /// # Errors
    /// Classifies a failed query.
    pub(super) async fn look_up(
        &self,
        payloads: &[&Payload],
        fields: &[&str],
        call: Call<'_>,
    ) -> Result<HashMap<String, Vec<StoredRecord>>, CallError> {
        let found = self.try_look_up(payloads, fields, call).await;
        found.map_err(|refused| refused.error)
    }

    /// Looks up the records of these payloads and the values of `fields`, by [`ContactId::key`]. A
    /// key has several records where the field is not unique.
    ///
    /// # Errors
    /// Classifies a failed query, with the field that it is refused for.
    async fn try_look_up(
        &self,
        payloads: &[&Payload],
        fields: &[&str],
        call: Call<'_>,
    ) -> Result<HashMap<String, Vec<StoredRecord>>, RefusedQuery> {
        let mut found = HashMap::new();
        let queries = self.queries(payloads, fields);
        let mut together = self.send_queries(&queries, call).await?.into_iter();
        for query in queries {
            let mut request = self.query_request(query);
            let mut sent = together.next();
            // A record that is left out would count as deleted: a result with a wrong count is no
            // response.
            let mut records = 0;
            for number in 1.. {
                let response = match sent.take() {
                    Some(response) => response?,
                    None => self.send(request.clone(), call).await?,
                };
                self.accept(&response)
                    .map_err(|error| RefusedQuery::new(error, &response, fields))?;
                let page: Page<'_> =
                    serde_json::from_slice(&response.body).map_err(|_| unreadable())?;
                for record in &page.records {
                    self.add_record(record, fields, &mut found)
                        .ok_or_else(unreadable)?;
                }
                records += page.records.len();
                if page.done && records == page.total {
                    break;
                }
                let next = match page.next {
                    Some(next) if !page.done && number < MOST_PAGES => next,
                    _ => return Err(unreadable().into()),
                };
                (request.path, request.query) = match next.split_once('?') {
                    Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
                    None => (next, None),
                };
            }
        }
        Ok(found)
    }

    /// Sends several queries in as few calls as settings allow, and returns the response to each.
    /// Returns none where each query is sent by itself.
    ///
    /// # Errors
    /// Classifies the failure of a call.
    async fn send_queries(
        &self,
        queries: &[String],
        call: Call<'_>,
    ) -> Result<Responses, CallError> {
        let most = self.settings.collections();
        let mut responses = Responses::new();
        if most == 1 || queries.len() == 1 || queries.iter().any(|q| has_encoded_expression(q)) {
            return Ok(responses);
        }
        for queries in queries.chunks(most) {
            let requests = queries
                .iter()
                .map(|query| self.query_request(query.clone()));
            responses.extend(self.send_together(requests.collect(), call).await?);
        }
        Ok(responses)
    }

    fn query_request(&self, query: String) -> ApiRequest {
        ApiRequest {
            method: Method::GET,
            path: format!("/services/data/{}/query", self.settings.api_version),
            query: Some(query),
            body: None,
        }
    }

    /// Returns the limit of the queries of one call.
    pub(super) fn lookup(&self) -> Lookup {
        let one = LONGEST_QUERY.saturating_sub(self.longest_start().len() + CLOSING_LENGTH);
        // A query may end before the literal that would exceed its length.
        let several = one.saturating_sub(LONGEST_LITERAL) * self.settings.collections();
        Lookup {
            capacity: if self.settings.collections() == 1 {
                one
            } else {
                several.max(one)
            },
            length: |id| encode(&literal(id.as_str())).len() + COMMA.len(),
        }
    }

    /// Returns the longest beginning of a query: where policies read fields, one with every field.
    fn longest_start(&self) -> String {
        let settings = &self.settings;
        if !settings.policies().read_fields() {
            return self.query_start(&[]);
        }
        let attributes = settings.attributes.values().map(String::as_str);
        let fields = mapping::fields(settings).into_iter().chain(attributes);
        let fields: Vec<&str> = fields.chain([settings.baseline_field.as_str()]).collect();
        self.query_start(&fields)
    }

    fn query_start(&self, fields: &[&str]) -> String {
        let settings = &self.settings;
        let (key, version) = (&settings.external_id_field, &settings.version_field);
        let mut columns = format!("Id,{key}");
        let own = ["", "Id", key, version];
        let is_own = |name: &str| own.iter().any(|own| own.eq_ignore_ascii_case(name));
        let version = Some(version.as_str()).filter(|version| !version.is_empty());
        for name in version
            .into_iter()
            .chain(fields.iter().copied().filter(|name| !is_own(name)))
        {
            columns.push(',');
            columns.push_str(name);
        }
        let start = format!(
            "SELECT {columns} FROM {} WHERE {key} IN (",
            settings.sobject
        );
        format!("q={}", encode(&start))
    }

    /// Builds the query strings: as few as the length limit allows.
    fn queries(&self, payloads: &[&Payload], fields: &[&str]) -> Vec<String> {
        let start = self.query_start(fields);
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
        requested: &[&str],
        found: &mut HashMap<String, Vec<StoredRecord>>,
    ) -> Option<()> {
        let raw: BTreeMap<String, &RawValue> = serde_json::from_str(record.get()).ok()?;
        // Salesforce's field names have no letter case, and its responses use one of their own.
        let field = |name: &str| {
            raw.iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| *value)
        };
        let key = ContactId::new(&json::text(field(&self.settings.external_id_field)?)?)?;
        let is_id =
            |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let id = json::text(field("Id")?)?;
        is_id(&id).then_some(())?;
        let version = field(&self.settings.version_field).and_then(version);
        let values = requested
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), field(name)?.to_owned())))
            .collect();
        found
            .entry(key.key().to_owned())
            .or_default()
            .push(StoredRecord {
                id: id.into_owned(),
                held: HeldRecord {
                    id: None,
                    version,
                    values,
                },
            });
        Some(())
    }
}

/// Parses the number of a version field, a double that may have exponent form
/// (`1.763633702123E12`).
/// <https://github.com/jsforce/jsforce/issues/1048>
fn version(value: &RawValue) -> Option<u64> {
    let is_number = |json: &&str| json.starts_with(|first: char| first.is_ascii_digit());
    version::parse(Some(value.get()).filter(is_number)?)
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
                version(serde_json::from_str(json).expect("JSON")),
                expected,
                "{json}"
            );
        }
    }
}
