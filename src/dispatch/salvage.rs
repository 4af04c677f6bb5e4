//! Builds payloads again without the values that a destination has refused and that settings allow
//! to leave out.
//!
//! The law: the result equals that of the changes one by one, each without its refused values, as
//! long as a field has one refused value. So a refused value is left out of every change that has
//! it, and the value of another change counts. Where a second value of a field is refused, the
//! field is left out of all changes. A batch is sent again twice at most: the payloads with refused
//! values go together, and a third refusal rejects the record.

use super::compare::of_new;
use super::job::Content;
use super::{DispatchContext, Job};
use crate::model::{Body, HeldRecord, Outcome, Payload, RefusedValue, Retry, RetryMode, WholeRow};
use crate::policy::{self, Decision};

/// Most repetitions of a job without refused values. The changes of a folded job share them.
const MOST: u32 = 2;

/// The refused values of a job.
#[derive(Clone, Debug, Default)]
pub struct Salvage {
    /// Refusals of a value that may be left out. One above [`MOST`] rejects the job.
    refusals: u32,
    refused: Vec<RefusedValue>,
    /// `None` for a change whose folded payload was refused.
    source: Option<Source>,
}

/// The payload of which a repetition is built.
#[derive(Clone, Debug)]
struct Source {
    /// The payload with its conditions, as it was before the look-up.
    payload: Payload,
    is_looked_up: bool,
    /// The record that the look-up found: a repetition makes none.
    held: Option<HeldRecord>,
}

impl Salvage {
    /// Returns whether a job may be sent again after its last refusal.
    pub(super) fn allows_another(salvage: Option<&Self>) -> bool {
        salvage.is_some_and(|salvage| salvage.refusals <= MOST)
    }

    /// Returns the values that payloads are built without.
    pub(crate) fn refused(salvage: Option<&Self>) -> &[RefusedValue] {
        match salvage {
            Some(salvage) => &salvage.refused,
            None => &[],
        }
    }

    /// Returns the state for a single change of a folded job.
    #[must_use]
    pub(crate) fn of_change(&self) -> Self {
        Self {
            refusals: self.refusals,
            refused: self.refused.clone(),
            source: None,
        }
    }

    /// Adds refused values. Of a field with another refused value, every value is refused.
    fn note(&mut self, values: &[RefusedValue]) {
        self.refusals += 1;
        for value in values {
            let mut known = self.refused.iter();
            if known.any(|known| known.field == value.field) {
                self.refused.push(RefusedValue {
                    json: None,
                    ..value.clone()
                });
            } else {
                self.refused.push(value.clone());
            }
        }
    }
}

impl Source {
    /// Returns the payload that is sent: the record to write, without conditions.
    fn decided(&self) -> Payload {
        Payload {
            body: self.body(),
            if_new: None,
            conditions: None,
            guarded: false,
            // The whole row of a new record is its body.
            whole: if self.is_new() {
                None
            } else {
                self.payload.whole.clone()
            },
            is_compared: true,
            ..self.payload.clone()
        }
    }

    /// Returns the record to write, by the record that the look-up found.
    fn body(&self) -> Option<Body> {
        match &self.payload.whole {
            Some(WholeRow::Payload(whole)) if self.is_new() => body_of_new(&whole.payload),
            _ if self.is_new() => body_of_new(&self.payload),
            _ => body_of(&self.payload, self.held.as_ref()),
        }
    }

    fn is_new(&self) -> bool {
        self.is_looked_up && self.held.is_none()
    }
}

/// Returns the record to write where there is none yet.
pub(super) fn body_of_new(payload: &Payload) -> Option<Body> {
    if payload.conditions.is_some() {
        body_of(payload, None)
    } else {
        of_new(payload)
    }
}

/// Returns the record to write over the one that the look-up found.
fn body_of(payload: &Payload, held: Option<&HeldRecord>) -> Option<Body> {
    let Some(conditions) = &payload.conditions else {
        return payload.body.clone();
    };
    // The hashes of the values have to be those of the fields that are left.
    match policy::decide(payload, conditions, held) {
        Decision::Write(body) => Some(body),
        Decision::NoChange | Decision::NoMatch | Decision::Exists => payload.body.clone(),
    }
}

/// Leaves the refused values out of a job that is to be sent again without them: the payload
/// becomes the record to write, so that no second look-up is made. Rejects a job that lacks them.
/// `sent` is the body that was sent where it differs from the job's own, and `held` the record that
/// the look-up found.
pub(super) fn leave_out(
    context: DispatchContext<'_>,
    job: &mut Job,
    sent: Option<Body>,
    held: Option<&HeldRecord>,
    outcome: Outcome,
) -> Outcome {
    let Outcome::Retry(Retry {
        how: RetryMode::Without(fields, rejection),
        ..
    }) = &outcome
    else {
        return outcome;
    };
    let Some(sent) = sent.or_else(|| job.payload.body.clone()) else {
        return outcome;
    };
    let values = values_of(&sent, fields);
    if values.is_empty() {
        return Outcome::Rejected(rejection.clone());
    }
    let mut salvage = job.salvage.take().unwrap_or_default();
    salvage.note(&values);
    if salvage.refusals <= MOST {
        let mut source = match salvage.source.take() {
            Some(source) if job.content == Content::Changes => source,
            _ => Source {
                payload: job.payload.clone(),
                is_looked_up: job.payload.is_looked_up(),
                held: held.cloned(),
            },
        };
        source.payload = rebuilt(context, job, &salvage.refused, &source, &values);
        job.payload = Payload {
            record: job.payload.record.take(),
            ..source.decided()
        };
        salvage.source = Some(source);
    }
    job.salvage = Some(salvage);
    outcome
}

/// Returns the values that a record has in these fields, whose names have no letter case.
fn values_of(record: &Body, fields: &[String]) -> Vec<RefusedValue> {
    let mut values = Vec::new();
    for (name, json) in record.fields() {
        if fields.iter().any(|field| field.eq_ignore_ascii_case(&name)) {
            values.push(RefusedValue {
                field: name,
                json: Some(json.get().into()),
            });
        }
    }
    values
}

/// Returns the payload without the refused values, and notes the fields that its changes lack. Of a
/// folded job, the values of the other changes count. `values` are those of the last refusal, of
/// the payload of `source`.
fn rebuilt(
    context: DispatchContext<'_>,
    job: &mut Job,
    refused: &[RefusedValue],
    source: &Source,
    values: &[RefusedValue],
) -> Payload {
    // Another body is not that of the changes.
    if job.sources.len() > 1
        && job.content == Content::Changes
        && let Some(without) = context.transformer.without(job, refused)
    {
        job.left_out = match &without.payload.whole {
            Some(WholeRow::Payload(whole)) if source.is_new() => whole.left_out.clone(),
            _ => without.left_out,
        };
        return without.payload;
    }
    let fields: Vec<String> = values.iter().map(|value| value.field.clone()).collect();
    if let Some(last) = job.last_written() {
        let left_out = fields.iter().map(|field| (last, field.clone()));
        job.left_out.extend(left_out);
    }
    source.payload.without(&fields)
}
