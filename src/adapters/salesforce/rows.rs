//! The rows of one answer: a result for each record that was sent, told apart by their places.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::problem::Problem;
use super::{Salesforce, errors, unanswered};
use crate::adapters::{Call, CallError, Code, Outcome, Payload, Reply};
use crate::json::Object;

/// What a row says that succeeded, as far as it is read. Failed rows may say `created: true` and may lack `id`: only
/// `success` counts.
#[derive(Deserialize)]
struct Head {
    success: bool,
}

/// What one row says.
enum Row {
    Success,
    /// It failed for this.
    Problem(Problem),
    /// Nothing that can be read.
    Nothing,
}

impl Row {
    /// The rows of an answer, in its order. Those of one without a failure, nearly every one, are read at once.
    fn read_all(answer: &[u8]) -> serde_json::Result<Vec<Self>> {
        match serde_json::from_slice::<Vec<Object<Head>>>(answer) {
            Ok(rows) if rows.iter().all(|row| row.0.success) => Ok(rows.iter().map(|_| Self::Success).collect()),
            _ => Ok(serde_json::from_slice::<Vec<&RawValue>>(answer)?.into_iter().map(Self::read).collect()),
        }
    }

    fn read(row: &RawValue) -> Self {
        let row: Value = serde_json::from_str(row.get()).unwrap_or_default();
        match row.get("success").and_then(Value::as_bool) {
            None => Self::Nothing,
            Some(true) => Self::Success,
            Some(false) => {
                let errors = row.get("errors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let problems: Vec<_> =
                    errors.iter().filter_map(Problem::read).filter(|problem| problem.code.is_some()).collect();
                Self::Problem(errors::deciding(&problems).cloned().unwrap_or_else(Problem::reasonless))
            }
        }
    }

    fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            Self::Success | Self::Nothing => None,
        }
    }
}

impl Salesforce {
    /// The outcomes of the payloads at `sent`. Those for which the answer has no row have failed; an answer with more
    /// rows than that is to something else.
    pub(super) fn rows(&self, answer: &[u8], sent: &[usize], batch: &[&Payload], call: Call<'_>) -> Reply {
        let unreadable = || CallError::Retry { code: Code::new("UNREADABLE_ANSWER"), after: None, pressure: false };
        let mut rows = Row::read_all(answer).map_err(|_| unreadable())?;
        if rows.len() > sent.len() {
            return Err(unreadable());
        }
        rows.resize_with(sent.len(), || Row::Nothing);
        let problems: Vec<Option<&Problem>> = rows.iter().map(Row::problem).collect();
        if let Some(stop) = errors::of_all_rows(&problems, &self.settings) {
            return Err(CallError::Stop(stop));
        }
        let outcome = |(row, at): (&Row, &usize)| match row {
            Row::Success => Outcome::Delivered(None),
            Row::Nothing => unanswered(),
            Row::Problem(problem) => {
                if !errors::is_known(problem) {
                    call.meter.unknown_code();
                    tracing::warn!(destination = "salesforce", code = %problem.code(), "unknown status code");
                }
                errors::of_row(problem, batch[*at].body.as_deref(), sent.len() == 1, &self.settings)
            }
        };
        Ok(rows.iter().zip(sent).map(outcome).collect())
    }
}
