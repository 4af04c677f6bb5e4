//! The rows of one request, and which part of an answer speaks of which. Pure.
//!
//! HubSpot answers in an order of its own. An error names its row by `objectWriteTraceId`, or by `ids`; a result
//! may echo the trace id, and else is known by the value of our key.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::problem::{Problem, strings};
use crate::adapters::Payload;
use crate::contact::ContactId;

/// What an answer says of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Row<'v> {
    /// This is its result.
    Result(&'v Value),
    /// It is among results that carry no key, and no row is without one.
    Counted,
    /// This is its error, by its index in [`Account::problems`].
    Problem(usize),
    /// Nothing. `lost`: the answer also has parts that name no row, and one of them may be about this one.
    Nothing {
        /// Whether there are such parts.
        lost: bool,
    },
}

/// An answer, sorted by rows.
pub(super) struct Account<'v> {
    /// One for each row, in the request's order.
    pub(super) rows: Vec<Row<'v>>,
    /// The errors.
    pub(super) problems: Vec<Problem>,
}

/// The rows of one request.
pub(super) struct Rows<'a> {
    payloads: Vec<&'a Payload>,
    by_key: HashMap<&'a str, usize>,
    id_property: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Input<'a> {
    id: &'a str,
    id_property: &'a str,
    object_write_trace_id: String,
    properties: &'a RawValue,
}

impl<'a> Rows<'a> {
    pub(super) fn new(payloads: Vec<&'a Payload>, id_property: &'a str) -> Self {
        let by_key = payloads.iter().enumerate().map(|(index, payload)| (payload.id.key(), index)).collect();
        Self { payloads, by_key, id_property }
    }

    /// The body of an upsert. A trace id on every input is what makes HubSpot judge them one by one: without it one
    /// bad input refuses all. Each input has a line of its own, so that "Invalid input JSON on line 3" names one.
    pub(super) fn upsert_body(&self) -> serde_json::Result<Vec<u8>> {
        let mut body = b"{\"inputs\":[".to_vec();
        for (index, payload) in self.payloads.iter().enumerate() {
            body.extend_from_slice(if index == 0 { b"\n" } else { b",\n" });
            let properties = payload.body.as_deref().unwrap_or(RawValue::NULL);
            let id = payload.id.as_str();
            let object_write_trace_id = index.to_string();
            let input = Input { id, id_property: self.id_property, object_write_trace_id, properties };
            serde_json::to_writer(&mut body, &input)?;
        }
        body.extend_from_slice(b"\n]}");
        Ok(body)
    }

    /// The body of a read by our key, asking for `properties`.
    pub(super) fn read_body(&self, properties: &[&str]) -> Vec<u8> {
        let inputs: Vec<_> =
            self.payloads.iter().map(|payload| serde_json::json!({"id": payload.id.as_str()})).collect();
        let body = serde_json::json!({
            "idProperty": self.id_property, "properties": properties, "propertiesWithHistory": [], "inputs": inputs,
        });
        body.to_string().into_bytes()
    }

    /// Sorts `answer` by rows. What is unaccounted is told, whatever the status was: HubSpot is known to say
    /// `COMPLETE` with no results. <https://github.com/rudderlabs/rudder-transformer/pull/5147>
    pub(super) fn account<'v>(&self, answer: &'v Value) -> Account<'v> {
        let mut rows = vec![Row::Nothing { lost: false }; self.payloads.len()];
        let is_open = |row: &Row<'_>| matches!(row, Row::Nothing { .. });
        let (problems, lost) = self.take_errors(list(answer, "errors"), &mut rows);
        let mut anonymous = HashMap::new();
        for result in list(answer, "results") {
            match self.row_of_result(result) {
                Some(row) if is_open(&rows[row]) => rows[row] = Row::Result(result),
                None if self.is_anonymous(result) => {
                    anonymous.extend(strings(result.get("id")).map(|id| (id, result)));
                }
                Some(_) | None => {}
            }
        }
        let open = rows.iter().filter(|row| is_open(row)).count();
        let rest = match &lost[..] {
            [] if anonymous.len() == open => match anonymous.into_values().next() {
                Some(result) if rows.len() == 1 => Row::Result(result),
                _ => Row::Counted,
            },
            [problem] if open == 1 && anonymous.is_empty() => problem.map_or(Row::Nothing { lost: true }, Row::Problem),
            lost => Row::Nothing { lost: !lost.is_empty() || !anonymous.is_empty() },
        };
        rows.iter_mut().filter(|row| is_open(row)).for_each(|row| *row = rest);
        Account { rows, problems }
    }

    /// The errors, and those among them that name no row; an unreadable one is `None` there.
    fn take_errors(&self, errors: &[Value], rows: &mut [Row<'_>]) -> (Vec<Problem>, Vec<Option<usize>>) {
        let mut problems = Vec::new();
        let mut lost = Vec::new();
        for error in errors {
            let Some(problem) = Problem::read(error) else {
                lost.push(None);
                continue;
            };
            let named = self.named_by(&problem);
            if named.is_empty() {
                lost.push(Some(problems.len()));
            }
            for row in named {
                if matches!(rows[row], Row::Nothing { .. }) {
                    rows[row] = Row::Problem(problems.len());
                }
            }
            problems.push(problem);
        }
        (problems, lost)
    }

    /// The rows that `problem` names.
    pub(super) fn named_by(&self, problem: &Problem) -> Vec<usize> {
        let mut named: Vec<_> = problem.trace_ids.iter().filter_map(|id| self.row_of_trace_id(id)).collect();
        if named.is_empty() {
            named = problem.ids.iter().filter_map(|id| self.row_of_key(id)).collect();
        }
        named.sort_unstable();
        named.dedup();
        named
    }

    /// The rows that the refusal of a whole batch points at: by name, else by the line of the request, else by the
    /// address that it quotes.
    pub(super) fn suspects(&self, problem: &Problem) -> Vec<usize> {
        let named = self.named_by(problem);
        if !named.is_empty() {
            return named;
        }
        // Lines count from 1, and the first input is on the second.
        let on_line = problem.line.and_then(|line| line.checked_sub(2)).filter(|row| *row < self.payloads.len());
        if let Some(row) = on_line {
            return vec![row];
        }
        let is_quoted = |payload: &Payload| email_of(payload).is_some_and(|email| problem.says(&email));
        (0..self.payloads.len()).filter(|row| is_quoted(self.payloads[*row])).collect()
    }

    fn row_of_result(&self, result: &Value) -> Option<usize> {
        let traced = strings(result.get("objectWriteTraceId")).find_map(|id| self.row_of_trace_id(&id));
        traced.or_else(|| self.row_of_key(self.key_of(result)?))
    }

    fn row_of_trace_id(&self, id: &str) -> Option<usize> {
        id.parse().ok().filter(|row| *row < self.payloads.len())
    }

    fn row_of_key(&self, id: &str) -> Option<usize> {
        self.by_key.get(ContactId::new(id)?.key()).copied()
    }

    fn is_anonymous(&self, result: &Value) -> bool {
        self.key_of(result).is_none() && result.get("objectWriteTraceId").is_none_or(Value::is_null)
    }

    fn key_of<'v>(&self, result: &'v Value) -> Option<&'v str> {
        result.get("properties")?.get(self.id_property)?.as_str()
    }
}

/// The list under `name`, empty where it is missing or none.
pub(super) fn list<'v>(answer: &'v Value, name: &str) -> &'v [Value] {
    answer.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn email_of(payload: &Payload) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        email: Option<String>,
    }
    let body: Body = serde_json::from_str(payload.body.as_ref()?.get()).ok()?;
    body.email.filter(|email| !email.is_empty())
}

#[cfg(test)]
mod tests;
