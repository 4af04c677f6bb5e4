//! Decides on the rows that HubSpot refuses: the record's fault, a misconfiguration, or a code that
//! is unknown.

use std::collections::BTreeMap;

use super::api_error::ApiError;
use super::client::Answer;
use super::errors::{self, Misconfiguration, Reach};
use super::rows::Rows;
use super::{HubSpot, Settings};
use crate::adapters::{Adapter, Call, misconfigured};
use crate::model::{CallError, Code, Destination, Outcome, Retry, RetryMode, Stop};

/// The misconfigurations and unknown codes of one call, each with the number of records that met
/// it.
#[derive(Default)]
struct Findings {
    misconfigured: BTreeMap<String, (Misconfiguration, usize)>,
    unknown: BTreeMap<Code, usize>,
}

impl Findings {
    /// Returns the outcome of a row with `problem`, and notes what the operator has to know.
    fn note(&mut self, problem: &ApiError, settings: &Settings) -> Outcome {
        if let Some(found) = errors::of_settings(problem, settings) {
            let outcome = Outcome::Failed(found.stop.code.clone());
            self.misconfigured
                .entry(found.stop.remedy.clone())
                .or_insert((found, 0))
                .1 += 1;
            return outcome;
        }
        let outcome = errors::of_row(problem, settings);
        if let (false, Outcome::Retry(Retry { code, .. })) = (errors::is_known(problem), &outcome) {
            *self.unknown.entry(code.clone()).or_default() += 1;
        }
        outcome
    }

    /// Returns the stop that the refusals amount to, if they do. `all_refused`: no row fared
    /// otherwise.
    fn stop(&self, all_refused: bool) -> Option<&Stop> {
        let mut stops = self
            .misconfigured
            .values()
            .filter(|(found, records)| match found.reach {
                Reach::Account => true,
                Reach::EveryRecord => *records > 1 && all_refused,
                Reach::SomeRecords => false,
            });
        stops.next().map(|(found, _)| &found.stop)
    }

    fn report(&self, destination: Destination, call: Call<'_>) {
        for (found, records) in self.misconfigured.values() {
            misconfigured::tell(destination, &found.stop, *records, call);
        }
        for (code, records) in &self.unknown {
            call.meter.unknown_code();
            tracing::warn!(%destination, %code, records, "records refused with an unknown code");
        }
    }
}

impl HubSpot {
    /// Returns the outcome of each row with an error; `None` for the others. Reports each
    /// misconfiguration and each unknown code of the call once.
    ///
    /// # Errors
    /// A stop, where the refusal cannot be one record's: it is about the account, or about what
    /// every record carries, and each of several records met it.
    pub(super) fn refused_rows(
        &self,
        problems: &[Option<&ApiError>],
        call: Call<'_>,
    ) -> Result<Vec<Option<Outcome>>, CallError> {
        let mut findings = Findings::default();
        let mut outcomes = Vec::with_capacity(problems.len());
        for problem in problems {
            outcomes.push(problem.map(|problem| findings.note(problem, &self.settings)));
        }
        if let Some(stop) = findings.stop(problems.iter().all(Option::is_some)) {
            return Err(CallError::Stop(stop.clone()));
        }
        findings.report(self.destination(), call);
        Ok(outcomes)
    }

    /// Returns the outcomes of a batch that was refused as a whole for what some of its rows carry:
    /// those fail, and the others go again without them. `None` where it was not, where it is not
    /// known which rows carry it, and for a single row, which is refused as one among others.
    pub(super) fn without_misconfigured(
        &self,
        answer: &Answer,
        rows: &Rows<'_>,
        call: Call<'_>,
    ) -> Option<Vec<Outcome>> {
        let is_batch = rows.payloads.len() > 1 && errors::may_blame_rows(answer.http.status);
        let problem = answer.problem.as_ref().filter(|_| is_batch)?;
        let found = errors::of_settings(problem, &self.settings)?;
        let property = found
            .property
            .as_deref()
            .filter(|_| found.reach == Reach::SomeRecords)?;
        let carrying = rows.carrying(property, problem, found.is_about_value);
        if carrying.is_empty() {
            return None;
        }
        misconfigured::tell(self.destination(), &found.stop, carrying.len(), call);
        let code = || found.stop.code.clone();
        // In a smaller batch: in a new one they might meet others that carry it, and be refused
        // once more.
        let again = || {
            Outcome::Retry(Retry {
                code: code(),
                after: None,
                how: RetryMode::SplitBatch,
            })
        };
        let outcome = |row| {
            if carrying.contains(&row) {
                Outcome::Failed(code())
            } else {
                again()
            }
        };
        Some((0..rows.payloads.len()).map(outcome).collect())
    }
}
