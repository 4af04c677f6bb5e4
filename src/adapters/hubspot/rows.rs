//! The rows of one request, and which part of an answer speaks of which. Pure.
//!
//! HubSpot answers in an order of its own. An error names its row by `objectWriteTraceId`, or by
//! `ids`; a result may echo the trace id, and else is known by the value of our key.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::OnceLock;

use icu_normalizer::ComposingNormalizerBorrowed;
use serde_json::value::RawValue;

use super::api_error::ApiError;
use super::batch_answer::{BatchAnswer, Record, words};
use super::model::EMAIL;
use crate::json;
use crate::model::{Body, ContactId, Payload};

/// What an answer says of one row.
#[derive(Clone, Copy)]
pub(super) enum Row<'v> {
    /// This is its result.
    Result(&'v Record<'v>),
    /// It is among results that carry no key, and no row is without one.
    Counted,
    /// This is its error.
    ApiError(&'v ApiError),
    /// Nothing. `lost`: the answer also has parts that name no row, and one of them may be about
    /// this one.
    Nothing {
        /// Whether there are such parts.
        lost: bool,
    },
}

impl<'v> Row<'v> {
    /// Its error, if it has one.
    pub(super) fn problem(self) -> Option<&'v ApiError> {
        if let Self::ApiError(problem) = self {
            Some(problem)
        } else {
            None
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, Self::Nothing { .. })
    }
}

/// The rows of one request.
pub(super) struct Rows<'a> {
    pub(super) payloads: Vec<&'a Payload>,
    by_key: HashMap<&'a str, usize>,
    /// Made where an answer has a key in another form than the request: hardly ever.
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

    /// The body of an upsert. A trace id on every input is what makes HubSpot judge them one by
    /// one: without it one bad input refuses all. Each input has a line of its own, so that
    /// "Invalid input JSON on line 3" names one.
    pub(super) fn upsert_body(&self) -> Vec<u8> {
        let room = |payload: &&Payload| 128 + payload.id.as_str().len() + properties(payload).len();
        let mut body = String::with_capacity(self.payloads.iter().map(room).sum());
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

    /// The body of a read by our key, asking for `properties`.
    pub(super) fn read_body(&self, properties: &[&str]) -> Vec<u8> {
        let inputs: Vec<_> = self
            .payloads
            .iter()
            .map(|payload| serde_json::json!({"id": payload.id.as_str()}))
            .collect();
        let body = serde_json::json!({
            "idProperty": self.id_property, "properties": properties, "propertiesWithHistory": [], "inputs": inputs,
        });
        body.to_string().into_bytes()
    }

    /// Sorts `answer` by rows, in the request's order. What is unaccounted is reported, whatever
    /// the status was: HubSpot is known to say `COMPLETE` with no results.
    /// <https://github.com/rudderlabs/rudder-transformer/pull/5147>
    ///
    /// A single result for a single row is that row's, whatever key it carries. Among several rows
    /// a result whose key is no row's leaves it open which of the open rows it is about.
    pub(super) fn account<'v>(&self, answer: &'v BatchAnswer<'v>) -> Vec<Row<'v>> {
        let mut rows = vec![Row::Nothing { lost: false }; self.payloads.len()];
        let lost = self.take_errors(&answer.errors, &mut rows);
        if let ([Row::Nothing { .. }], [result], []) = (&rows[..], &answer.results[..], &lost[..])
            && !result.is_blank()
        {
            return vec![Row::Result(result)];
        }
        let (anonymous, has_strangers) = self.take_results(&answer.results, &mut rows);
        let open = rows.iter().filter(|row| row.is_open()).count();
        let rest = match &lost[..] {
            [] if anonymous == open && !has_strangers => Row::Counted,
            [Some(problem)] if open == 1 && anonymous == 0 && !has_strangers => {
                Row::ApiError(problem)
            }
            lost => Row::Nothing {
                lost: rows.len() > 1 && (!lost.is_empty() || anonymous > 0 || has_strangers),
            },
        };
        rows.iter_mut()
            .filter(|row| row.is_open())
            .for_each(|row| *row = rest);
        rows
    }

    /// Gives rows their results. Returns how many results carry no key, and whether any carries one
    /// that is no row's.
    fn take_results<'v>(&self, results: &'v [Record<'v>], rows: &mut [Row<'v>]) -> (usize, bool) {
        let mut anonymous = HashSet::new();
        let mut has_strangers = false;
        for result in results {
            match self.row_of_result(result) {
                Some(row) if rows[row].is_open() => rows[row] = Row::Result(result),
                Some(_) => {}
                None if is_anonymous(result) => anonymous.extend(words(result.id)),
                None => has_strangers = true,
            }
        }
        (anonymous.len(), has_strangers)
    }

    /// Gives rows their errors, and those back that name no row; an unreadable one is `None`.
    fn take_errors<'v>(
        &self,
        errors: &'v [Option<ApiError>],
        rows: &mut [Row<'v>],
    ) -> Vec<Option<&'v ApiError>> {
        let mut lost = Vec::new();
        for error in errors {
            let Some(problem) = error else {
                lost.push(None);
                continue;
            };
            let named = self.named_by(problem);
            if named.is_empty() {
                lost.push(Some(problem));
            }
            for row in named {
                if rows[row].is_open() {
                    rows[row] = Row::ApiError(problem);
                }
            }
        }
        lost
    }

    /// The rows that `problem` names.
    pub(super) fn named_by(&self, problem: &ApiError) -> Vec<usize> {
        let mut named: Vec<_> = problem
            .trace_ids
            .iter()
            .filter_map(|id| self.row_of_trace_id(id))
            .collect();
        if named.is_empty() {
            named = problem
                .ids
                .iter()
                .filter_map(|id| self.row_of_key(id))
                .collect();
        }
        named.sort_unstable();
        named.dedup();
        named
    }

    /// The rows that the refusal of a whole batch points at: by name, else by the line of the
    /// request, else by the address that it quotes.
    pub(super) fn suspects(&self, problem: &ApiError) -> Vec<usize> {
        let named = self.named_by(problem);
        if !named.is_empty() {
            return named;
        }
        // Lines count from 1, and the first input is on the second.
        let on_line = problem
            .line
            .and_then(|line| line.checked_sub(2))
            .filter(|row| *row < self.payloads.len());
        if let Some(row) = on_line {
            return vec![row];
        }
        self.rows_where(EMAIL, |address| {
            !address.is_empty() && problem.says(address)
        })
    }

    /// Returns the rows that carry `property`. Where `problem` refuses a value of it: the rows that
    /// it names, else those with the value that it quotes, else all, where they have one value in
    /// common. None where it may be about any of them.
    pub(super) fn carrying(
        &self,
        property: &str,
        problem: &ApiError,
        is_about_value: bool,
    ) -> Vec<usize> {
        let carrying = self.rows_where(property, |_| true);
        if !is_about_value {
            return carrying;
        }
        let is_refused = |value: &str| !value.is_empty() && problem.refuses_option(value);
        for narrower in [
            self.named_by(problem),
            self.rows_where(property, is_refused),
        ] {
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

    /// The rows that have `property`, with a value that `is_meant`.
    fn rows_where(&self, property: &str, is_meant: impl Fn(&str) -> bool) -> Vec<usize> {
        let value = |row: usize| value_in(self.payloads[row].body.as_ref()?, property);
        (0..self.payloads.len())
            .filter(|row| value(*row).is_some_and(|value| is_meant(&value)))
            .collect()
    }

    fn row_of_result(&self, result: &Record<'_>) -> Option<usize> {
        let traced = words(result.trace_id).find_map(|id| self.row_of_trace_id(&id));
        traced.or_else(|| self.row_of_key(&json::text(result.properties.key?)?))
    }

    /// Returns whether `result` shows no key, or one of these rows'.
    pub(super) fn knows(&self, result: &Record<'_>) -> bool {
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

/// Returns a key without what systems are known to change in one: surrounding blanks, letter case,
/// the Unicode form and the width.
fn normal_form(key: &str) -> String {
    ComposingNormalizerBorrowed::new_nfkc()
        .normalize(key.trim())
        .to_lowercase()
}

fn is_anonymous(result: &Record<'_>) -> bool {
    result.properties.key.and_then(json::text).is_none() && result.trace_id.is_none()
}

/// What `body` says of a property.
pub(super) fn value_in<'a>(body: &'a Body, property: &str) -> Option<Cow<'a, str>> {
    let body: HashMap<&str, &RawValue> = serde_json::from_str(body.get()).ok()?;
    body.get(property).copied().and_then(json::text)
}

#[cfg(test)]
mod tests;
