//! Classifies the rows that HubSpot refuses: as the record's fault, a misconfiguration, or an
//! unknown code.

use std::collections::BTreeMap;

use super::api_error::ApiError;
use super::client::Response;
use super::errors::{self, Misconfiguration, Reach};
use super::rows::Rows;
use super::{HubSpot, Settings};
use crate::adapters::{Adapter, Call, misconfigured};
use crate::model::{CallError, Code, Destination, Outcome, Retry, RetryMode, Stop};

/// Misconfigurations and unknown codes of one call, with the number of records that met each code.
#[derive(Default)]
struct Findings {
    misconfigured: Vec<Misconfiguration>,
    unknown: BTreeMap<Code, usize>,
}

impl Findings {
    /// Returns the outcome of a row with `error`, and notes a misconfiguration or an unknown code
    /// for the report.
    fn note(&mut self, error: &ApiError, settings: &Settings) -> Outcome {
        if let Some(found) = errors::of_settings(error, settings) {
            let outcome = Outcome::Failed(found.stop.code.clone());
            self.misconfigured.push(found);
            return outcome;
        }
        let outcome = errors::of_row(error, settings);
        if let (false, Outcome::Retry(Retry { code, .. })) = (errors::is_known(error), &outcome) {
            *self.unknown.entry(code.clone()).or_default() += 1;
        }
        outcome
    }

    /// Returns the stop to which the refusals amount, if any. `all_refused` means that every row
    /// was refused. Of several stops the first by remedy is returned.
    fn stop(&self, all_refused: bool) -> Option<&Stop> {
        let stops = self
            .misconfigured
            .iter()
            .filter(|found| match found.reach {
                Reach::Account => true,
                Reach::EveryRecord => all_refused && self.met_by_several(&found.stop),
                Reach::SomeRecords => false,
            })
            .map(|found| &found.stop);
        stops.min_by_key(|stop| &stop.remedy)
    }

    /// Returns whether more than one record met the misconfiguration with this stop's remedy.
    fn met_by_several(&self, stop: &Stop) -> bool {
        let same = self
            .misconfigured
            .iter()
            .filter(|found| found.stop.remedy == stop.remedy);
        same.count() > 1
    }

    fn report(&self, destination: Destination, call: Call<'_>) {
        let stops = self.misconfigured.iter().map(|found| &found.stop);
        misconfigured::report(destination, stops, call);
        for (code, records) in &self.unknown {
            call.metrics.unknown_code();
            tracing::warn!(%destination, %code, records, "records refused with an unknown code");
        }
    }
}

impl HubSpot {
    /// Returns the outcome of each row with an error; `None` for the others. Reports each
    /// misconfiguration and each unknown code of the call once.
    ///
    /// # Errors
    /// Returns a stop where the refusal cannot be one record's: it is about the account, or about a
    /// value that every record carries, and each of several records met it.
    pub(super) fn outcomes_of_errors(
        &self,
        errors: &[Option<&ApiError>],
        call: Call<'_>,
    ) -> Result<Vec<Option<Outcome>>, CallError> {
        let mut findings = Findings::default();
        let mut outcomes = Vec::with_capacity(errors.len());
        for error in errors {
            outcomes.push(error.map(|error| findings.note(error, &self.settings)));
        }
        if let Some(stop) = findings.stop(errors.iter().all(Option::is_some)) {
            return Err(CallError::Stop(stop.clone()));
        }
        findings.report(self.destination(), call);
        Ok(outcomes)
    }

    /// Returns the outcomes of a batch that was refused as a whole for a property that some of its
    /// rows carry: those fail, and the others are sent again without them. `None` where the batch
    /// was refused for another reason, or the rows that carry the property are not known. Also
    /// `None` for a single row, which is classified like one of several rows.
    pub(super) fn without_misconfigured(
        &self,
        response: &Response,
        rows: &Rows<'_>,
        call: Call<'_>,
    ) -> Option<Vec<Outcome>> {
        if rows.payloads.len() == 1 || !errors::may_blame_rows(response.http.status) {
            return None;
        }
        let error = response.error.as_ref()?;
        let found = errors::of_settings(error, &self.settings)?;
        if found.reach != Reach::SomeRecords {
            return None;
        }
        let property = found.property.as_deref()?;
        let carrying = rows.carrying(property, error, found.is_about_value);
        if carrying.is_empty() {
            return None;
        }
        let stops = std::iter::repeat_n(&found.stop, carrying.len());
        misconfigured::report(self.destination(), stops, call);
        let code = || found.stop.code.clone();
        let outcome = |row| {
            if carrying.contains(&row) {
                Outcome::Failed(code())
            } else {
                // In a smaller batch: a new batch might contain other rows that carry it, and would
                // be refused again.
                Outcome::retry(code(), RetryMode::SplitBatch)
            }
        };
        Some((0..rows.payloads.len()).map(outcome).collect())
    }
}
