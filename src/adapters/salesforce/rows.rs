//! Parses and classifies the rows of one response: a result for each record that was sent,
//! identified by its position.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::api_error::ApiError;
use super::describe::Rights;
use super::errors::{self, Neighbours, RowClass, RowError};
use super::{Salesforce, Settings, unaccounted};
use crate::adapters::{Adapter, Call, misconfigured};
use crate::json::Object;
use crate::model::codes;
use crate::model::{Body, CallError, Code, FailureCause, Outcome, Payload, Reply};

/// The part of a row that decides. A failed row may have `created: true` and may lack `id`: only
/// `success` counts.
#[derive(Deserialize)]
struct Head<'a> {
    success: bool,
    #[serde(borrow, default)]
    created: Option<&'a RawValue>,
}

/// Result of one row.
pub(super) enum Row {
    Success,
    /// The record was written, and did not exist before.
    Created,
    /// The row failed with this error.
    Error(Box<RowError>),
    /// The row is missing or cannot be parsed.
    Nothing,
}

impl From<RowError> for Row {
    fn from(error: RowError) -> Self {
        Self::Error(Box::new(error))
    }
}

impl Row {
    /// Parses the rows of a response, in its order. `bodies` holds the records that were sent. A
    /// response without a failure, which is nearly every one, is parsed in one step. `None` where
    /// the response is no list of rows; the row of a single record may come without the list.
    pub(super) fn read_all(
        response: &[u8],
        bodies: &[Option<&Body>],
        settings: &Settings,
    ) -> Option<Vec<Self>> {
        if let Ok(rows) = serde_json::from_slice::<Vec<Object<Head<'_>>>>(response)
            && rows.iter().all(|row| row.0.success)
        {
            let is_new =
                |row: &Head<'_>| row.created.is_some_and(|created| created.get() == "true");
            return Some(
                rows.iter()
                    .map(|row| Self::written(is_new(&row.0)))
                    .collect(),
            );
        }
        let rows: Vec<&RawValue> = match serde_json::from_slice(response) {
            Ok(rows) => rows,
            Err(_) if bodies.len() == 1 => {
                serde_json::from_slice::<Object<Head<'_>>>(response).ok()?;
                vec![serde_json::from_slice(response).ok()?]
            }
            Err(_) => return None,
        };
        // A response with more rows than records belongs to another request.
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
            Some(true) => Self::written(row["created"] == true),
            Some(false) => {
                let errors = row.get("errors").and_then(Value::as_array);
                let errors = errors
                    .into_iter()
                    .flatten()
                    .filter_map(ApiError::read)
                    .filter(|error| error.code.is_some());
                RowError::deciding(errors.collect(), body, settings).into()
            }
        }
    }

    fn written(is_new: bool) -> Self {
        if is_new { Self::Created } else { Self::Success }
    }

    fn is_written(&self) -> bool {
        matches!(self, Self::Success | Self::Created)
    }

    fn error(&self) -> Option<&RowError> {
        match self {
            Self::Error(error) => Some(error),
            Self::Success | Self::Created | Self::Nothing => None,
        }
    }
}

impl Salesforce {
    /// Returns the outcomes of the payloads at `sent`. Those for which the response has no row have
    /// failed. A response with more rows belongs to another request.
    pub(super) async fn read_rows(
        &self,
        response: &[u8],
        sent: &[usize],
        batch: &[&Payload],
        call: Call<'_>,
    ) -> Reply {
        let unreadable = || CallError::failed(codes::UNREADABLE_ANSWER, FailureCause::Record);
        let bodies: Vec<_> = sent.iter().map(|at| batch[*at].body.as_ref()).collect();
        let rows = Row::read_all(response, &bodies, &self.settings).ok_or_else(unreadable)?;
        if rows.len() > sent.len() {
            return Err(unreadable());
        }
        self.outcomes_of_rows(rows, sent, batch, call).await
    }

    /// Returns the outcomes of the payloads at `sent` from their rows, of which the last may be
    /// missing.
    pub(super) async fn outcomes_of_rows(
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
            any_written: rows.iter().any(Row::is_written),
        };
        if !neighbours.any_written {
            let contacts = sent.iter().collect::<BTreeSet<_>>().len();
            if let Some(stop) = errors::of_all_rows(&by_row, contacts) {
                return Err(CallError::Stop(stop));
            }
            let is_delete = sent.iter().all(|at| batch[*at].body.is_none());
            self.check_rights(&errors, is_delete, call).await?;
        }
        self.report(&errors, call);
        let outcome = |(row, at): (&Row, &usize)| match row {
            Row::Success => Outcome::Delivered(None),
            Row::Created => batch[*at].created(),
            Row::Nothing => unaccounted(),
            Row::Error(error) if batch[*at].record.is_some() && error.is_gone() => {
                Outcome::Skipped(Code::new(codes::NO_MATCH))
            }
            Row::Error(error) => {
                errors::of_row(error, batch[*at].body.as_ref(), neighbours, &self.settings)
            }
        };
        Ok(rows.iter().zip(sent).map(outcome).collect())
    }

    /// Checks the user's rights to the object, after a call in which no row was written and one
    /// lacks a right.
    ///
    /// # Errors
    /// Returns a stop where the right is missing for every record.
    async fn check_rights(
        &self,
        errors: &[&RowError],
        is_delete: bool,
        call: Call<'_>,
    ) -> Result<(), CallError> {
        let Some(error) = errors.iter().find(|error| error.class == RowClass::Access) else {
            return Ok(());
        };
        let rights: Rights = self.describe(call).await?;
        let is_allowed = if is_delete {
            rights.deletable
        } else {
            rights.allow_writes(self.settings.r#match)
        };
        if is_allowed {
            return Ok(());
        }
        Err(errors::configuration(&error.api_error, &self.settings).into())
    }

    /// Reports each unknown code, and each misconfiguration once.
    fn report(&self, errors: &[&RowError], call: Call<'_>) {
        for RowError { api_error, .. } in errors {
            if !errors::is_known(api_error) {
                let code = api_error.code();
                call.metrics.unknown_code();
                tracing::warn!(destination = "salesforce", %code, "unknown status code");
            }
        }
        let misconfigured = errors
            .iter()
            .filter_map(|error| error.misconfigured.as_ref());
        let stops = misconfigured.map(|misconfigured| &misconfigured.stop);
        misconfigured::report(self.destination(), stops, call);
    }
}
