//! Batches, the outcomes of attempts to deliver them, and the mapping's next step. Does no I/O.

use std::sync::Arc;

use serde_json::Value;

use super::mapping::Mapping;
use super::on_failure::Condition;
use super::stream::Record;
use crate::runtime_api;

/// Outcome of an invocation.
#[derive(Clone, Debug, PartialEq)]
pub enum InvocationOutcome {
    /// Response of the function.
    Answer(Value),
    /// Error, timeout or death of the function.
    Error,
    /// Lambda did not invoke the function, because the concurrency limit was reached.
    Throttled,
}

impl InvocationOutcome {
    /// Returns whether the function answered, and reports no failed record.
    pub fn settles_all(&self) -> bool {
        matches!(self, Self::Answer(answer) if answer["batchItemFailures"][0].is_null())
    }
}

impl From<runtime_api::InvocationOutcome> for InvocationOutcome {
    fn from(outcome: runtime_api::InvocationOutcome) -> Self {
        match outcome {
            runtime_api::InvocationOutcome::Answer(answer) => Self::Answer(answer),
            runtime_api::InvocationOutcome::Error(_) | runtime_api::InvocationOutcome::Died => {
                Self::Error
            }
        }
    }
}

/// Records that are delivered together.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) records: Vec<Arc<Record>>,
    /// Number of attempts that count.
    pub(super) attempts: u32,
    /// Id of the invocation, the same for each attempt.
    pub(super) request_id: Option<String>,
}

impl Batch {
    pub(super) fn new(records: Vec<Arc<Record>>) -> Self {
        Self {
            records,
            attempts: 0,
            request_id: None,
        }
    }

    /// Builds the event that the function receives.
    pub(super) fn event(&self) -> String {
        let records: Vec<&str> = self.records.iter().map(|record| &*record.json).collect();
        format!("{{\"Records\":[{}]}}", records.join(","))
    }
}

/// Outcome of an attempt for its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchOutcome {
    Done,
    /// The records before this index are done.
    FailedFrom(usize),
    /// No record counts as done, even if the function has written some.
    Failed,
    /// The attempt does not count.
    NotInvoked,
}

/// Classifies the outcome of an invocation as the mapping does. Of several identifiers the first
/// record counts; an identifier of no record of the batch makes the whole batch fail.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>
pub(super) fn classify(
    outcome: &InvocationOutcome,
    records: &[Arc<Record>],
    failures_count: bool,
) -> BatchOutcome {
    let response = match outcome {
        InvocationOutcome::Throttled => return BatchOutcome::NotInvoked,
        InvocationOutcome::Error => return BatchOutcome::Failed,
        InvocationOutcome::Answer(_) if !failures_count => return BatchOutcome::Done,
        InvocationOutcome::Answer(response) => response,
    };
    let failures = response["batchItemFailures"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut first = None;
    for failure in failures {
        let identifier = failure["itemIdentifier"].as_str();
        let failed = records
            .iter()
            .position(|record| Some(&*record.sequence_number) == identifier);
        let Some(failed) = failed else {
            return BatchOutcome::Failed;
        };
        first = Some(first.unwrap_or(failed).min(failed));
    }
    match first {
        None => BatchOutcome::Done,
        Some(first) => BatchOutcome::FailedFrom(first),
    }
}

/// Next step after an attempt.
#[derive(Debug)]
pub(super) enum Next {
    /// The batch is done.
    Done,
    /// These batches are delivered next, in order.
    Retry(Vec<Batch>),
    /// The batch is not delivered again.
    Discard(Batch, Condition),
}

/// Decides the next step. After progress the remaining records are a new batch with all its
/// retries. Without progress the batch is bisected, if the mapping bisects and the batch has two
/// records; else it is retried unchanged until its retries are used up.
pub(super) fn next_step(mut batch: Batch, outcome: BatchOutcome, mapping: &Mapping) -> Next {
    match outcome {
        BatchOutcome::Done => Next::Done,
        BatchOutcome::NotInvoked => Next::Retry(vec![batch]),
        BatchOutcome::FailedFrom(first) if first > 0 => {
            Next::Retry(vec![Batch::new(batch.records.split_off(first))])
        }
        BatchOutcome::FailedFrom(_) | BatchOutcome::Failed => {
            if mapping.bisect && batch.records.len() > 1 {
                let right = batch.records.split_off(batch.records.len() / 2);
                return Next::Retry(vec![Batch::new(batch.records), Batch::new(right)]);
            }
            if mapping
                .max_retries
                .is_some_and(|most| batch.attempts > most)
            {
                return Next::Discard(batch, Condition::RetryAttemptsExhausted);
            }
            Next::Retry(vec![batch])
        }
    }
}
