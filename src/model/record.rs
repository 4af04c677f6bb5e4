//! Records of the stream, and their positions in a batch.

use std::borrow::Cow;
use std::fmt;

use smallvec::SmallVec;
use time::OffsetDateTime;

/// The index of a record in its batch.
pub type Position = usize;

/// The positions of one contact's records. Most contacts change once in a batch.
pub type Positions = SmallVec<[Position; 2]>;

/// A record as the stream delivers it. Every part may be missing.
#[derive(Clone, Default)]
#[expect(
    missing_docs,
    reason = "the fields are named as in dead letters, contract section 4"
)]
pub struct Record<'a> {
    pub event_source_arn: Option<Cow<'a, str>>,
    pub shard_id: Option<Cow<'a, str>>,
    pub sequence_number: Option<Cow<'a, str>>,
    pub partition_key: Option<Cow<'a, str>>,
    pub approximate_arrival: Option<f64>,
    /// Base64 text.
    pub data: Option<Cow<'a, str>>,
}

impl Record<'_> {
    /// Returns when the stream took the record, or `now` where the record has no believable time of
    /// arrival.
    pub fn arrived_at(&self, now: OffsetDateTime) -> OffsetDateTime {
        let seconds = self.approximate_arrival.filter(|seconds| *seconds > 0.0);
        let since_epoch = seconds.and_then(time::Duration::checked_seconds_f64);
        since_epoch
            .and_then(|time| OffsetDateTime::UNIX_EPOCH.checked_add(time))
            .unwrap_or(now)
    }
}

impl fmt::Debug for Record<'_> {
    /// Prints the sequence number only: the other fields hold contact data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("sequence_number", &self.sequence_number)
            .finish_non_exhaustive()
    }
}
