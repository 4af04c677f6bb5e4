//! The rows of one answer: a result for each record that was sent, told apart by their places.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::describe::Rights;
use super::problem::Problem;
use super::{Salesforce, Settings, errors, unanswered};
use crate::adapters::{Adapter, Call, CallError, FailureCause, Outcome, Payload, Reply, unfit};
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
    fn read_all(answer: &[u8], settings: &Settings) -> serde_json::Result<Vec<Self>> {
        match serde_json::from_slice::<Vec<Object<Head>>>(answer) {
            Ok(rows) if rows.iter().all(|row| row.0.success) => Ok(rows.iter().map(|_| Self::Success).collect()),
            _ => {
                let rows: Vec<&RawValue> = serde_json::from_slice(answer)?;
                Ok(rows.into_iter().map(|row| Self::read(row, settings)).collect())
            }
        }
    }

    fn read(row: &RawValue, settings: &Settings) -> Self {
        let row: Value = serde_json::from_str(row.get()).unwrap_or_default();
        match row.get("success").and_then(Value::as_bool) {
            None => Self::Nothing,
            Some(true) => Self::Success,
            Some(false) => {
                let errors = row.get("errors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let problems: Vec<_> =
                    errors.iter().filter_map(Problem::read).filter(|problem| problem.code.is_some()).collect();
                Self::Problem(errors::deciding(&problems, settings).cloned().unwrap_or_else(Problem::reasonless))
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
    pub(super) async fn rows(&self, answer: &[u8], sent: &[usize], batch: &[&Payload], call: Call<'_>) -> Reply {
        let unreadable = || CallError::failed("UNREADABLE_ANSWER", FailureCause::Record);
        let mut rows = Row::read_all(answer, &self.settings).map_err(|_| unreadable())?;
        if rows.len() > sent.len() {
            return Err(unreadable());
        }
        rows.resize_with(sent.len(), || Row::Nothing);
        let problems: Vec<Option<&Problem>> = rows.iter().map(Row::problem).collect();
        if let Some(error) = errors::of_all_rows(&problems, &self.settings) {
            return Err(error);
        }
        let known: Vec<&Problem> = problems.into_iter().flatten().collect();
        let is_delete = sent.iter().all(|at| batch[*at].body.is_none());
        if !rows.iter().any(|row| matches!(row, Row::Success)) {
            self.check_rights(&known, is_delete, call).await?;
        }
        self.tell(&known, call);
        let outcome = |(row, at): (&Row, &usize)| match row {
            Row::Success => Outcome::Delivered(None),
            Row::Nothing => unanswered(),
            Row::Problem(problem) => errors::of_row(problem, batch[*at].body.as_ref(), sent.len() == 1, &self.settings),
        };
        Ok(rows.iter().zip(sent).map(outcome).collect())
    }

    /// No row was written. Where one lacks a right, the object's description tells whether all would.
    async fn check_rights(&self, problems: &[&Problem], is_delete: bool, call: Call<'_>) -> Result<(), CallError> {
        let Some(problem) = problems.iter().find(|problem| errors::is_about_rights(problem, &self.settings)) else {
            return Ok(());
        };
        let Rights { createable, updateable, deletable } = self.describe(call).await?;
        let may = if is_delete { deletable } else { createable && updateable };
        if may { Ok(()) } else { Err(CallError::Stop(errors::configuration(problem, &self.settings))) }
    }

    /// Tells of rows that an operator should know of, beside their outcomes.
    fn tell(&self, problems: &[&Problem], call: Call<'_>) {
        for problem in problems.iter().filter(|problem| !errors::is_known(problem)) {
            call.meter.unknown_code();
            tracing::warn!(destination = "salesforce", code = %problem.code(), "unknown status code");
        }
        let mut refused = problems.iter().filter(|problem| errors::is_about_schema(problem, &self.settings));
        if let Some(first) = refused.next() {
            let stop = errors::configuration(first, &self.settings);
            unfit::tell(self.destination(), &stop, 1 + refused.count(), call);
        }
    }
}
