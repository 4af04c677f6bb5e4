//! The rows of one answer: a result for each record that was sent, told apart by their places.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::api_error::ApiError;
use super::describe::Rights;
use super::errors::{self, Neighbours, RowClass, RowError};
use super::{Salesforce, Settings, unanswered};
use crate::adapters::{
    Adapter, Body, Call, CallError, FailureCause, Outcome, Payload, Reply, Stop, misconfigured,
};
use crate::codes;
use crate::json::Object;

/// What a row says that succeeded, as far as it is read. Failed rows may say `created: true` and
/// may lack `id`: only `success` counts.
#[derive(Deserialize)]
struct Head {
    success: bool,
}

/// What one row says.
pub(super) enum Row {
    Success,
    /// It failed for this.
    Error(Box<RowError>),
    /// Nothing that can be read.
    Nothing,
}

impl From<RowError> for Row {
    fn from(error: RowError) -> Self {
        Self::Error(Box::new(error))
    }
}

impl Row {
    /// The rows of an answer, in its order, to records of which `bodies` holds what was sent. Those
    /// of one without a failure, nearly every one, are read at once. `None` where the answer is no
    /// list of rows; for a list of one, a row may stand alone.
    fn read_all(answer: &[u8], bodies: &[Option<&Body>], settings: &Settings) -> Option<Vec<Self>> {
        if let Ok(rows) = serde_json::from_slice::<Vec<Object<Head>>>(answer)
            && rows.iter().all(|row| row.0.success)
        {
            return Some(rows.iter().map(|_| Self::Success).collect());
        }
        let rows: Vec<&RawValue> = match serde_json::from_slice(answer) {
            Ok(rows) => rows,
            Err(_) if bodies.len() == 1 => {
                serde_json::from_slice::<Object<Head>>(answer).ok()?;
                vec![serde_json::from_slice(answer).ok()?]
            }
            Err(_) => return None,
        };
        // More rows than records are an answer to something else.
        let mut read = Vec::with_capacity(rows.len());
        for (at, row) in rows.into_iter().enumerate() {
            read.push(Self::read(row, *bodies.get(at)?, settings));
        }
        Some(read)
    }

    fn read(row: &RawValue, body: Option<&Body>, settings: &Settings) -> Self {
        let row: Value = serde_json::from_str(row.get()).unwrap_or_default();
        match row.get("success").and_then(Value::as_bool) {
            None => Self::Nothing,
            Some(true) => Self::Success,
            Some(false) => {
                let errors = row
                    .get("errors")
                    .and_then(Value::as_array)
                    .map_or(&[][..], Vec::as_slice);
                let problems = errors
                    .iter()
                    .filter_map(ApiError::read)
                    .filter(|problem| problem.code.is_some());
                RowError::deciding(problems.collect(), body, settings).into()
            }
        }
    }

    fn error(&self) -> Option<&RowError> {
        match self {
            Self::Error(error) => Some(error),
            Self::Success | Self::Nothing => None,
        }
    }
}

impl Salesforce {
    /// The outcomes of the payloads at `sent`. Those for which the answer has no row have failed;
    /// an answer with more rows than that is to something else.
    pub(super) async fn rows(
        &self,
        answer: &[u8],
        sent: &[usize],
        batch: &[&Payload],
        call: Call<'_>,
    ) -> Reply {
        let unreadable = || CallError::failed(codes::UNREADABLE_ANSWER, FailureCause::Record);
        let bodies: Vec<_> = sent.iter().map(|at| batch[*at].body.as_ref()).collect();
        let rows = Row::read_all(answer, &bodies, &self.settings).ok_or_else(unreadable)?;
        if rows.len() > sent.len() {
            return Err(unreadable());
        }
        self.judge(rows, sent, batch, call).await
    }

    /// The outcomes of the payloads at `sent` by their rows, of which the last may be missing.
    pub(super) async fn judge(
        &self,
        mut rows: Vec<Row>,
        sent: &[usize],
        batch: &[&Payload],
        call: Call<'_>,
    ) -> Reply {
        rows.resize_with(sent.len(), || Row::Nothing);
        let by_row: Vec<Option<&RowError>> = rows.iter().map(Row::error).collect();
        let errors: Vec<&RowError> = by_row.iter().copied().flatten().collect();
        let neighbours = Neighbours {
            is_alone: sent.len() == 1,
            any_written: rows.iter().any(|row| matches!(row, Row::Success)),
        };
        if !neighbours.any_written {
            let contacts = sent.iter().collect::<BTreeSet<_>>().len();
            if let Some(stop) = errors::of_all_rows(&by_row, contacts) {
                return Err(CallError::Stop(stop));
            }
            let is_delete = sent.iter().all(|at| batch[*at].body.is_none());
            self.check_rights(&errors, is_delete, call).await?;
        }
        self.tell(&errors, call);
        let outcome = |(row, at): (&Row, &usize)| match row {
            Row::Success => Outcome::Delivered(None),
            Row::Nothing => unanswered(),
            Row::Error(error) => {
                errors::of_row(error, batch[*at].body.as_ref(), neighbours, &self.settings)
            }
        };
        Ok(rows.iter().zip(sent).map(outcome).collect())
    }

    /// No row was written. Where one lacks a right, the object's description tells whether all
    /// would.
    async fn check_rights(
        &self,
        errors: &[&RowError],
        is_delete: bool,
        call: Call<'_>,
    ) -> Result<(), CallError> {
        let Some(error) = errors
            .iter()
            .find(|error| error.verdict == RowClass::Access)
        else {
            return Ok(());
        };
        let Rights {
            createable,
            updateable,
            deletable,
        } = self.describe(call).await?;
        let may = if is_delete {
            deletable
        } else {
            createable && updateable
        };
        if may {
            Ok(())
        } else {
            Err(CallError::Stop(errors::configuration(
                &error.problem,
                &self.settings,
            )))
        }
    }

    /// Tells of rows that an operator should know of, beside their outcomes: once for each field.
    fn tell(&self, errors: &[&RowError], call: Call<'_>) {
        for RowError { problem, .. } in errors
            .iter()
            .filter(|error| !errors::is_known(&error.problem))
        {
            call.meter.unknown_code();
            tracing::warn!(destination = "salesforce", code = %problem.code(), "unknown status code");
        }
        let mut by_remedy: BTreeMap<&str, (&Stop, usize)> = BTreeMap::new();
        for stop in errors
            .iter()
            .filter_map(|error| Some(&error.misconfigured.as_ref()?.stop))
        {
            by_remedy.entry(&stop.remedy).or_insert((stop, 0)).1 += 1;
        }
        for (stop, records) in by_remedy.into_values() {
            misconfigured::tell(self.destination(), stop, records, call);
        }
    }
}
