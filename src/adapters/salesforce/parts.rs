//! Decides the outcomes of the records of several requests that belong to one call. The failure of
//! a request touches only its own records.

use std::mem::discriminant;

use super::Salesforce;
use super::client::is_success;
use super::lookup::unreadable;
use super::rows::Row;
use crate::adapters::Call;
use crate::adapters::http::HttpResponse;
use crate::model::{CallError, FailureCause, Outcome, Payload, Rejection, RetryMode};

/// A request of a call.
pub(super) struct Part {
    /// Indexes of the payloads whose records it carried, in their order.
    pub(super) sent: Vec<usize>,
    /// The response of any status, or the reason why there is none.
    pub(super) response: Result<HttpResponse, CallError>,
}

impl Salesforce {
    /// Returns the outcomes of the payloads that the parts carried, by index. The rows of all parts
    /// are read together, as the rows of one call: what they show about the account has the
    /// evidence of all records.
    ///
    /// # Errors
    /// Returns the error of a call of which no part has rows, where the parts failed alike; and a
    /// stop that the rows show.
    pub(super) async fn outcomes_of_parts(
        &self,
        parts: Vec<Part>,
        batch: &[&Payload],
        call: Call<'_>,
    ) -> Result<Vec<(usize, Outcome)>, CallError> {
        let (mut answered, mut rows) = (Vec::new(), Vec::new());
        let mut failed: Vec<(Vec<usize>, CallError)> = Vec::new();
        for Part { sent, response } in parts {
            match response.and_then(|response| self.rows_of_part(&response, &sent, batch)) {
                Ok(read) => {
                    rows.extend(read);
                    answered.extend(sent);
                }
                Err(error) => failed.push((sent, error)),
            }
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        if !answered.is_empty() {
            let read = self.outcomes_of_rows(rows, &answered, batch, call).await?;
            outcomes.extend(answered.into_iter().zip(read));
        } else if let Some(error) = common_error(&failed) {
            return Err(error);
        }
        for (sent, error) in failed {
            let outcome = outcome_of_part(&error);
            outcomes.extend(sent.into_iter().map(|at| (at, outcome.clone())));
        }
        Ok(outcomes)
    }

    /// Returns a row for each payload at `sent`.
    fn rows_of_part(
        &self,
        response: &HttpResponse,
        sent: &[usize],
        batch: &[&Payload],
    ) -> Result<Vec<Row>, CallError> {
        if !is_success(response) {
            return Err(self.refusal(response));
        }
        let bodies: Vec<_> = sent.iter().map(|at| batch[*at].body.as_ref()).collect();
        let mut rows =
            Row::read_all(&response.body, &bodies, &self.settings).ok_or_else(unreadable)?;
        if rows.len() > sent.len() {
            return Err(unreadable());
        }
        rows.resize_with(sent.len(), || Row::Nothing);
        Ok(rows)
    }
}

/// Returns the error of a call whose parts all failed alike.
fn common_error(failed: &[(Vec<usize>, CallError)]) -> Option<CallError> {
    let (_, first) = failed.first()?;
    let is_alike = |(_, error): &(Vec<usize>, CallError)| match (first, error) {
        (CallError::Retry { cause, .. }, CallError::Retry { cause: other, .. }) => cause == other,
        _ => discriminant(first) == discriminant(error),
    };
    failed.iter().all(is_alike).then(|| first.clone())
}

/// Returns the outcome of the records of a part that failed, while another part did not or failed
/// otherwise. No record is rejected for it: each is sent again in a smaller call, whose answer
/// decides.
fn outcome_of_part(error: &CallError) -> Outcome {
    let code = error.code().clone();
    let isolate = || {
        let message = format!("a request with this record fails with {code}");
        RetryMode::Isolate(Rejection::new(code.clone(), message))
    };
    let (how, after) = match error {
        // The request did not reach Salesforce, or came too early.
        CallError::Retry {
            cause: FailureCause::Destination,
            after,
            ..
        }
        | CallError::Throttled { after, .. } => (RetryMode::Same, *after),
        CallError::Retry {
            cause: FailureCause::Size,
            after,
            ..
        } => (RetryMode::SplitBatch, *after),
        CallError::Refused { .. } => (RetryMode::SplitBatch, None),
        CallError::Retry { after, .. } => (isolate(), *after),
        // A verdict about the account would be one about the other parts too.
        CallError::Stop(_) => (isolate(), None),
    };
    let mut outcome = Outcome::retry(code.clone(), how);
    if let Outcome::Retry(retry) = &mut outcome {
        retry.after = after;
    }
    outcome
}
