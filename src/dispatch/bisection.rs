//! Bisects a batch to isolate the offending records. The reason is a refusal of the whole call, its
//! failure, or rows that may succeed in a smaller batch. Pure.
//!
//! After refusals, the calls that settle nothing are limited. The part with the first payload
//! always has enough calls: a bisection that runs out of calls has settled the first payload at
//! least. The stream then continues behind this record. So a batch that is redelivered becomes
//! shorter each time, independent of its offending records and of the records that the answers
//! name.

use super::job::Job;

/// A batch that is being bisected.
#[derive(Debug)]
pub(super) struct Bisection {
    /// Parts not sent yet. The last one is next.
    rest: Vec<Vec<Job>>,
    /// Calls of the adapter that refusals may still add. An upsert without a guard takes one
    /// request per call; other writes take two, because each part is looked up again.
    calls_left: u32,
    /// Size of the largest part that succeeded, if the batch failed for its size and no record
    /// failed alone.
    accepted_size: Option<usize>,
}

/// Calls for one split: one for each part.
const CALLS_OF_A_SPLIT: u32 = 2;

/// Returns the number of calls that isolate one record among `count`: two for each level.
pub(super) fn calls_to_halve(count: usize) -> u32 {
    2 * count.next_power_of_two().ilog2()
}

impl Bisection {
    /// Starts a bisection of `count` payloads, with the calls to isolate one record and two more.
    pub(super) fn among(count: usize) -> Self {
        Self {
            rest: Vec::new(),
            calls_left: calls_to_halve(count) + 2,
            accepted_size: None,
        }
    }

    /// Starts a bisection of `count` payloads that may have failed for their number.
    pub(super) fn for_size(count: usize) -> Self {
        Self {
            accepted_size: Some(0),
            ..Self::among(count)
        }
    }

    /// Splits `jobs` in halves after their call failed. The other parts go first: the success of
    /// one shows that the destination is available. While none succeeds, the circuit breaker limits
    /// the calls.
    pub(super) fn split_failed(mut self, mut jobs: Vec<Job>) -> Self {
        let right = jobs.split_off(jobs.len() / 2);
        self.rest.splice(
            0..0,
            [right, jobs].into_iter().filter(|part| !part.is_empty()),
        );
        self
    }

    /// Splits `jobs`, which were refused, in two parts that are sent next.
    ///
    /// # Errors
    /// Returns the jobs to give up, where no calls are left.
    pub(super) fn split(
        mut self,
        mut jobs: Vec<Job>,
        suspects: &[usize],
    ) -> Result<Self, (Vec<Job>, Self)> {
        let parts = if let Some(parts) = separate(&mut jobs, suspects, self.calls_left) {
            parts
        } else {
            let right = jobs.split_off(jobs.len() / 2);
            [jobs, right]
        };
        if self.calls_left < CALLS_OF_A_SPLIT {
            return Err((parts.into_iter().flatten().collect(), self));
        }
        self.calls_left -= CALLS_OF_A_SPLIT;
        self.rest
            .extend(parts.into_iter().rev().filter(|part| !part.is_empty()));
        Ok(self)
    }

    /// Takes the part that is sent next.
    pub(super) fn next_part(&mut self) -> Option<Vec<Job>> {
        self.rest.pop()
    }

    /// Takes every part that was not sent.
    pub(super) fn into_rest(self) -> Vec<Vec<Job>> {
        self.rest
    }

    /// Renews the limit of calls, after a part settled a payload or an offending record was
    /// isolated: only calls that settle nothing are limited. The next part consists of the
    /// `unsettled` payloads of the last one, or is the part behind it.
    pub(super) fn renew(&mut self, unsettled: usize) {
        let next = self.rest.last().map_or(0, Vec::len).max(unsettled);
        self.calls_left = self.calls_left.max(calls_to_halve(next) + 2);
    }

    /// Records that a part of `size` payloads succeeded.
    pub(super) fn note_accepted(&mut self, size: usize) {
        self.accepted_size = self.accepted_size.map(|accepted| accepted.max(size));
    }

    /// Records that a record failed alone: the size of the batch is not the cause.
    pub(super) fn note_offending_record(&mut self) {
        self.accepted_size = None;
    }

    /// Returns the size of a batch that succeeds, if this one failed for its size and no part of it
    /// is left.
    pub(super) fn accepted_size(&self) -> Option<usize> {
        self.accepted_size
            .filter(|size| *size > 0 && self.rest.is_empty())
    }
}

/// Separates the suspects from the others. A single suspect goes first, because its call settles it
/// and renews the limit of calls; else the part with the first payload goes first. Takes the jobs
/// only if both parts get a payload, and if enough calls remain to isolate one record in the part
/// with the first payload.
fn separate(jobs: &mut Vec<Job>, suspects: &[usize], calls_left: u32) -> Option<[Vec<Job>; 2]> {
    let named = (0..jobs.len()).filter(|at| suspects.contains(at)).count();
    let is_first_named = suspects.contains(&0);
    let first = if is_first_named {
        named
    } else {
        jobs.len() - named
    };
    let is_suspect_first = named == 1 || is_first_named;
    let is_useful = named > 0 && named < jobs.len();
    if !is_useful || calls_left < CALLS_OF_A_SPLIT + calls_to_halve(first) {
        return None;
    }
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for (at, job) in std::mem::take(jobs).into_iter().enumerate() {
        if suspects.contains(&at) == is_suspect_first {
            first.push(job);
        } else {
            second.push(job);
        }
    }
    Some([first, second])
}

#[cfg(test)]
mod tests;
