//! A batch, how an attempt at it ended, and what the mapping does then. Pure.

use std::sync::Arc;

use serde_json::Value;

use super::mapping::Mapping;
use super::on_failure::Condition;
use super::stream::Record;
use crate::runtime_api;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// With the function's answer.
    Answer(Value),
    /// With the function's error, its timeout or its death.
    Error,
    /// Lambda did not invoke the function: too many run at once.
    Throttled,
}

impl From<runtime_api::Ended> for Ended {
    fn from(ended: runtime_api::Ended) -> Self {
        match ended {
            runtime_api::Ended::Answer(answer) => Self::Answer(answer),
            runtime_api::Ended::Error(_) | runtime_api::Ended::Died => Self::Error,
        }
    }
}

/// Records that are delivered together.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) records: Vec<Arc<Record>>,
    /// Attempts that count.
    pub(super) attempts: u32,
    /// Kept from attempt to attempt: a repeated invocation has the same id.
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

    /// The event, as the function gets it.
    pub(super) fn event(&self) -> String {
        let records: Vec<&str> = self.records.iter().map(|record| &*record.json).collect();
        format!("{{\"Records\":[{}]}}", records.join(","))
    }
}

/// What an attempt says of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordOutcome {
    Done,
    /// The records before this place are done.
    FailedFrom(usize),
    /// Nothing is done, whatever was written.
    Failed,
    /// The attempt does not count.
    NotInvoked,
}

/// Reads an answer as the mapping does. Of several identifiers the one of the lowest place counts;
/// one that names no record of the batch makes all of it fail.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>
pub(super) fn judge(ended: &Ended, records: &[Arc<Record>], failures_count: bool) -> RecordOutcome {
    let answer = match ended {
        Ended::Throttled => return RecordOutcome::NotInvoked,
        Ended::Error => return RecordOutcome::Failed,
        Ended::Answer(_) if !failures_count => return RecordOutcome::Done,
        Ended::Answer(answer) => answer,
    };
    let failures = answer["batchItemFailures"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let place = |failure: &Value| {
        let identifier = failure["itemIdentifier"].as_str()?;
        records
            .iter()
            .position(|record| record.sequence_number == identifier)
    };
    let places: Option<Vec<usize>> = failures.iter().map(place).collect();
    match places.map(|places| places.into_iter().min()) {
        None => RecordOutcome::Failed,
        Some(None) => RecordOutcome::Done,
        Some(Some(lowest)) => RecordOutcome::FailedFrom(lowest),
    }
}

/// What follows an attempt.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing of it is left.
    Done,
    /// These, in order.
    RetryMode(Vec<Batch>),
    /// Nobody gets it again.
    Discard(Batch, Condition),
}

/// Progress makes a new batch of what is left, with all its retries. Without progress the batch is
/// halved, if the mapping bisects and there are two records; else it comes again as it is, until
/// its retries are used up.
pub(super) fn follow(mut batch: Batch, verdict: RecordOutcome, mapping: &Mapping) -> Next {
    match verdict {
        RecordOutcome::Done => Next::Done,
        RecordOutcome::NotInvoked => Next::RetryMode(vec![batch]),
        RecordOutcome::FailedFrom(place) if place > 0 => {
            Next::RetryMode(vec![Batch::new(batch.records.split_off(place))])
        }
        RecordOutcome::FailedFrom(_) | RecordOutcome::Failed => {
            if mapping.bisect && batch.records.len() > 1 {
                let right = batch.records.split_off(batch.records.len() / 2);
                return Next::RetryMode(vec![Batch::new(batch.records), Batch::new(right)]);
            }
            if mapping
                .max_retries
                .is_some_and(|most| batch.attempts > most)
            {
                return Next::Discard(batch, Condition::RetryAttemptsExhausted);
            }
            Next::RetryMode(vec![batch])
        }
    }
}
