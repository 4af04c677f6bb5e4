//! Bisects a batch to isolate the offending records, whatever tells of them: a refusal or a failure
//! of the whole call, or rows that may pass in a smaller batch. Pure.
//!
//! Refusals and rows limit the calls that settle nothing. The part with the first payload always
//! has the calls that it needs: a bisection that runs out of them has settled the first payload at
//! least. The stream goes on behind it, so that a batch which comes again and again is shorter each
//! time, whichever records are in it and whichever the answers name.

use super::job::Job;

/// A batch that is being bisected.
#[derive(Debug)]
pub(super) struct Bisection {
    /// Parts not sent yet; the last is next.
    rest: Vec<Vec<Job>>,
    /// Calls of the adapter that refusals may still add: one request each for upserts without a
    /// guard, two for others, whose part is looked up anew.
    calls_left: u32,
    /// The largest part that passed, where the batch failed for its size and no record failed
    /// alone.
    passed: Option<usize>,
}

/// A call for each part.
const CALLS_OF_A_SPLIT: u32 = 2;

/// Returns what isolating one record among `count` takes: two calls for each halving.
pub(super) fn calls_to_halve(count: usize) -> u32 {
    2 * count.next_power_of_two().ilog2()
}

impl Bisection {
    /// Begins among `count` payloads, with the calls to isolate one record and two to spare.
    pub(super) fn among(count: usize) -> Self {
        Self {
            rest: Vec::new(),
            calls_left: calls_to_halve(count) + 2,
            passed: None,
        }
    }

    /// Begins among `count` payloads whose number may be the cause.
    pub(super) fn for_size(count: usize) -> Self {
        Self {
            passed: Some(0),
            ..Self::among(count)
        }
    }

    /// Splits `jobs`, which failed as a whole, in halves. The other parts go first: one that
    /// succeeds shows that the destination is available. While none does, the circuit breaker
    /// limits the calls.
    pub(super) fn split_failed(mut self, mut jobs: Vec<Job>) -> Self {
        let right = jobs.split_off(jobs.len() / 2);
        self.rest.splice(
            0..0,
            [right, jobs].into_iter().filter(|part| !part.is_empty()),
        );
        self
    }

    /// Splits `jobs`, which were refused, in two parts, to be sent next. `Err` with the jobs where
    /// no calls are left.
    pub(super) fn split(
        mut self,
        mut jobs: Vec<Job>,
        suspects: &[usize],
    ) -> Result<Self, (Vec<Job>, Self)> {
        let parts = by_name(&mut jobs, suspects, self.calls_left).unwrap_or_else(|| {
            let right = jobs.split_off(jobs.len() / 2);
            [std::mem::take(&mut jobs), right]
        });
        if self.calls_left < CALLS_OF_A_SPLIT {
            return Err((parts.into_iter().flatten().collect(), self));
        }
        self.calls_left -= CALLS_OF_A_SPLIT;
        self.rest
            .extend(parts.into_iter().rev().filter(|part| !part.is_empty()));
        Ok(self)
    }

    /// Takes the part to be sent next.
    pub(super) fn next_part(&mut self) -> Option<Vec<Job>> {
        self.rest.pop()
    }

    /// Takes every part that was not sent.
    pub(super) fn into_rest(self) -> Vec<Vec<Job>> {
        self.rest
    }

    /// Renews the calls: a part has settled something, or an offending record was isolated. What is
    /// next are the `unsettled` of that part, or the part behind it. Only calls that settle nothing
    /// are limited.
    pub(super) fn renew(&mut self, unsettled: usize) {
        let next = self.rest.last().map_or(0, Vec::len).max(unsettled);
        self.calls_left = self.calls_left.max(calls_to_halve(next) + 2);
    }

    /// Notes that a part of `size` payloads passed.
    pub(super) fn note_passed(&mut self, size: usize) {
        self.passed = self.passed.map(|passed| passed.max(size));
    }

    /// Notes that a record failed alone: the size of the batch is not the cause.
    pub(super) fn note_offender(&mut self) {
        self.passed = None;
    }

    /// Returns the size that passes, where the batch failed for its size and nothing of it is left.
    pub(super) fn size_that_passes(&self) -> Option<usize> {
        self.passed.filter(|size| *size > 0 && self.rest.is_empty())
    }
}

/// Puts the suspects apart from the others: a single one first, since its call settles it and
/// renews the calls, else the part with the first payload. Takes the jobs only where that is of use
/// and leaves the calls to isolate one record in the part with the first payload.
fn by_name(jobs: &mut Vec<Job>, suspects: &[usize], calls_left: u32) -> Option<[Vec<Job>; 2]> {
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
    let all = std::mem::take(jobs).into_iter().enumerate();
    let (first, second): (Vec<_>, Vec<_>) =
        all.partition(|(at, _)| suspects.contains(at) == is_suspect_first);
    let strip = |part: Vec<(usize, Job)>| part.into_iter().map(|(_, job)| job).collect();
    Some([strip(first), strip(second)])
}

#[cfg(test)]
mod tests;
