//! Attributes the parts of a response to the rows of its request. Pure.
//!
//! HubSpot's results are in no given order. An error names its row by `objectWriteTraceId`, or by
//! `ids`; a result may echo the trace id, and otherwise carries the value of our key.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::OnceLock;

use icu_normalizer::ComposingNormalizerBorrowed;
use serde_json::value::RawValue;

use super::api_error::ApiError;
use super::batch_response::{BatchResponse, Record, texts_of};
use super::model::EMAIL;
use crate::json;
use crate::model::{Body, ContactId, Payload};

/// Part of a response that is attributed to one row.
#[derive(Clone, Copy)]
pub(super) enum Row<'v> {
    /// The row's result.
    Result(&'v Record<'v>),
    /// One of several results without a key, where each row has such a result.
    Counted,
    /// The row's error.
    ApiError(&'v ApiError),
    /// No part of the response.
    Nothing {
        /// The response also has parts that name no row, and one of them may be about this one.
        is_ambiguous: bool,
    },
}

impl<'v> Row<'v> {
    /// Returns the row's error.
    pub(super) fn error(self) -> Option<&'v ApiError> {
        if let Self::ApiError(error) = self {
            Some(error)
        } else {
            None
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, Self::Nothing { .. })
    }
}

/// Rows of one request.
pub(super) struct Rows<'a> {
    pub(super) payloads: Vec<&'a Payload>,
    by_key: HashMap<&'a str, usize>,
    /// Built at the first key in another form than the request's, which is rare.
    by_form: OnceLock<HashMap<String, Option<usize>>>,
    id_property: &'a str,
}

impl<'a> Rows<'a> {
    pub(super) fn new(payloads: Vec<&'a Payload>, id_property: &'a str) -> Self {
        let by_key = payloads
            .iter()
            .enumerate()
            .map(|(index, payload)| (payload.id.key(), index))
            .collect();
        Self {
            payloads,
            by_key,
            by_form: OnceLock::new(),
            id_property,
        }
    }

    /// Builds the body of an upsert. A trace id on every input makes HubSpot validate the inputs
    /// one by one; without it one bad input refuses all. Each input has a line of its own, so that
    /// "Invalid input JSON on line 3" names one.
    pub(super) fn upsert_body(&self) -> Vec<u8> {
        let length =
            |payload: &&Payload| 128 + payload.id.as_str().len() + properties(payload).len();
        let mut body = String::with_capacity(self.payloads.iter().map(length).sum());
        body.push_str(r#"{"inputs":["#);
        for (index, payload) in self.payloads.iter().enumerate() {
            body.push_str(if index == 0 { "\n" } else { ",\n" });
            body.push_str(r#"{"id":"#);
            json::push_text(&mut body, payload.id.as_str());
            body.push_str(r#","idProperty":"#);
            json::push_text(&mut body, self.id_property);
            // Writing into memory cannot fail.
            let _ = write!(
                body,
                r#","objectWriteTraceId":"{index}","properties":{}}}"#,
                properties(payload)
            );
        }
        body.push_str("\n]}");
        body.into_bytes()
    }

    /// Builds the body of a read by our key that asks for `properties`.
    pub(super) fn read_body(&self, properties: &[&str]) -> Vec<u8> {
        let inputs: Vec<_> = self
            .payloads
            .iter()
            .map(|payload| serde_json::json!({"id": payload.id.as_str()}))
            .collect();
        let body = serde_json::json!({
            "idProperty": self.id_property,
            "properties": properties,
            "propertiesWithHistory": [],
            "inputs": inputs,
        });
        body.to_string().into_bytes()
    }

    /// Attributes the parts of `response` to the rows, in the request's order. A row without a part
    /// is reported for every status: HubSpot is known to report `COMPLETE` with no results.
    /// <https://github.com/rudderlabs/rudder-transformer/pull/5147>
    ///
    /// A single result for a single row is that row's, with any key. Among several rows, a result
    /// with an unknown key may be about any row that has no part yet.
    pub(super) fn attribute<'v>(&self, response: &'v BatchResponse<'v>) -> Vec<Row<'v>> {
        let mut rows = vec![
            Row::Nothing {
                is_ambiguous: false
            };
            self.payloads.len()
        ];
        let unnamed = self.attribute_errors(&response.errors, &mut rows);
        if let ([Row::Nothing { .. }], [result], []) =
            (&rows[..], &response.results[..], &unnamed[..])
            && !result.is_blank()
        {
            return vec![Row::Result(result)];
        }
        let (keyless, has_unknown_keys) = self.attribute_results(&response.results, &mut rows);
        let open = rows.iter().filter(|row| row.is_open()).count();
        let rest = match &unnamed[..] {
            [] if keyless == open && !has_unknown_keys => Row::Counted,
            [Some(error)] if open == 1 && keyless == 0 && !has_unknown_keys => Row::ApiError(error),
            unnamed => Row::Nothing {
                is_ambiguous: rows.len() > 1
                    && (!unnamed.is_empty() || keyless > 0 || has_unknown_keys),
            },
        };
        for row in rows.iter_mut().filter(|row| row.is_open()) {
            *row = rest;
        }
        rows
    }

    /// Attributes results to rows. Returns the number of results without a key, and whether any has
    /// a key that is no row's.
    fn attribute_results<'v>(
        &self,
        results: &'v [Record<'v>],
        rows: &mut [Row<'v>],
    ) -> (usize, bool) {
        let mut keyless = HashSet::new();
        let mut has_unknown_keys = false;
        for result in results {
            match self.row_of_result(result) {
                Some(row) if rows[row].is_open() => rows[row] = Row::Result(result),
                Some(_) => {}
                None if is_keyless(result) => keyless.extend(texts_of(result.id)),
                None => has_unknown_keys = true,
            }
        }
        (keyless.len(), has_unknown_keys)
    }

    /// Attributes errors to rows. Returns those that name no row; `None` stands for one that cannot
    /// be parsed.
    fn attribute_errors<'v>(
        &self,
        errors: &'v [Option<ApiError>],
        rows: &mut [Row<'v>],
    ) -> Vec<Option<&'v ApiError>> {
        let mut unnamed = Vec::new();
        for error in errors {
            let Some(error) = error else {
                unnamed.push(None);
                continue;
            };
            let named = self.named_by(error);
            if named.is_empty() {
                unnamed.push(Some(error));
            }
            for row in named {
                if rows[row].is_open() {
                    rows[row] = Row::ApiError(error);
                }
            }
        }
        unnamed
    }

    /// Returns the rows that `error` names.
    pub(super) fn named_by(&self, error: &ApiError) -> Vec<usize> {
        let mut named: Vec<_> = error
            .trace_ids
            .iter()
            .filter_map(|id| self.row_of_trace_id(id))
            .collect();
        if named.is_empty() {
            named = error
                .ids
                .iter()
                .filter_map(|id| self.row_of_key(id))
                .collect();
        }
        named.sort_unstable();
        named.dedup();
        named
    }

    /// Returns the rows at which the refusal of a whole batch points: by name, else by the line of
    /// the request, else by the address that it quotes.
    pub(super) fn suspects(&self, error: &ApiError) -> Vec<usize> {
        let named = self.named_by(error);
        if !named.is_empty() {
            return named;
        }
        // Lines count from 1, and the first input is on the second.
        let on_line = error
            .line
            .and_then(|line| line.checked_sub(2))
            .filter(|row| *row < self.payloads.len());
        if let Some(row) = on_line {
            return vec![row];
        }
        self.rows_where(EMAIL, |address| {
            !address.is_empty() && error.contains(address)
        })
    }

    /// Returns the rows that carry `property`. Where `error` refuses its value, these are the rows
    /// that the error names, else those with the value that it quotes, else all that carry the
    /// property, where they have one value in common. Empty where the error may be about any of
    /// them.
    pub(super) fn carrying(
        &self,
        property: &str,
        error: &ApiError,
        is_about_value: bool,
    ) -> Vec<usize> {
        let carrying = self.rows_where(property, |_| true);
        if !is_about_value {
            return carrying;
        }
        let is_refused = |value: &str| !value.is_empty() && error.refuses_option(value);
        for narrower in [self.named_by(error), self.rows_where(property, is_refused)] {
            if !narrower.is_empty() {
                return narrower;
            }
        }
        let value = |row: usize| value_in(self.payloads[row].body.as_ref()?, property);
        let values: BTreeSet<_> = carrying.iter().map(|row| value(*row)).collect();
        if values.len() > 1 {
            Vec::new()
        } else {
            carrying
        }
    }

    /// Returns the rows that have `property`, with a value for which `is_meant` returns true.
    fn rows_where(&self, property: &str, is_meant: impl Fn(&str) -> bool) -> Vec<usize> {
        let value = |row: usize| value_in(self.payloads[row].body.as_ref()?, property);
        (0..self.payloads.len())
            .filter(|row| value(*row).is_some_and(|value| is_meant(&value)))
            .collect()
    }

    fn row_of_result(&self, result: &Record<'_>) -> Option<usize> {
        let traced = texts_of(result.trace_id).find_map(|id| self.row_of_trace_id(&id));
        traced.or_else(|| self.row_of_key(&json::text(result.properties.key?)?))
    }

    /// Returns whether `result` has no key, or the key of one of these rows.
    pub(super) fn is_own(&self, result: &Record<'_>) -> bool {
        result.properties.key.is_none() || self.row_of_result(result).is_some()
    }

    fn row_of_trace_id(&self, id: &str) -> Option<usize> {
        id.parse().ok().filter(|row| *row < self.payloads.len())
    }

    /// Returns the row with this key: as it was sent, in the form in which ids are compared, or in
    /// another Unicode form.
    fn row_of_key(&self, id: &str) -> Option<usize> {
        let row = self
            .by_key
            .get(id)
            .or_else(|| self.by_key.get(ContactId::new(id)?.key()))
            .copied();
        row.or_else(|| {
            self.by_form
                .get_or_init(|| self.rows_by_form())
                .get(&normal_form(id))
                .copied()
                .flatten()
        })
    }

    /// Returns the rows by the normal form of their keys; `None` for a form that several rows have.
    fn rows_by_form(&self) -> HashMap<String, Option<usize>> {
        let mut by_form = HashMap::with_capacity(self.payloads.len());
        for (row, payload) in self.payloads.iter().enumerate() {
            by_form
                .entry(normal_form(payload.id.key()))
                .and_modify(|row| *row = None)
                .or_insert(Some(row));
        }
        by_form
    }
}

fn properties(payload: &Payload) -> &str {
    payload.body.as_ref().map_or("null", Body::get)
}

/// Normalizes a key in the aspects that systems are known to change: surrounding blanks, letter
/// case, the Unicode form and the width.
fn normal_form(key: &str) -> String {
    ComposingNormalizerBorrowed::new_nfkc()
        .normalize(key.trim())
        .to_lowercase()
}

fn is_keyless(result: &Record<'_>) -> bool {
    result.properties.key.and_then(json::text).is_none() && result.trace_id.is_none()
}

/// Returns the value of a property of `body`.
pub(super) fn value_in<'a>(body: &'a Body, property: &str) -> Option<Cow<'a, str>> {
    let body: HashMap<&str, &RawValue> = serde_json::from_str(body.get()).ok()?;
    body.get(property).copied().and_then(json::text)
}

#[cfg(test)]
mod tests;
