//! Removes the transport layers around the data of records, before a format decodes it. Contract
//! section 1.2.
//!
//! A KPL aggregate becomes several records ([`split_aggregates`]). The other layers are around the
//! data of one record, and are recognized by its first bytes: compression, the framing of a schema
//! registry, CloudEvents, the byte order mark of UTF-8. A record without a layer costs a look at
//! its first byte; a row also a search for one word.

pub(super) mod base64;
mod cloud_events;
mod compression;
mod kpl;
mod schema_registry;

use std::borrow::Cow;

pub use self::cloud_events::DebeziumAttributes;
pub use self::kpl::{Aggregates, split_aggregates};
use super::refuse;
use crate::model::{Refusal, codes};

/// The most layers that are removed. More are no producer's work: the rest is decoded as it is.
pub const MOST_LAYERS: usize = 4;

/// The byte order mark of UTF-8, which some producers write before JSON.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The bytes that the compressed records of one event may still take once they are decompressed.
///
/// The changes of an event are held until its end, and a compressed record of 10 KB may hold
/// 10 MiB: without this bound, an event of 6 MB would fill any memory. The records behind the bound
/// fail, and come again in an event that begins with them.
#[derive(Debug)]
pub struct DecompressionBudget {
    bytes_left: usize,
}

impl Default for DecompressionBudget {
    fn default() -> Self {
        Self {
            bytes_left: Self::BYTES,
        }
    }
}

impl DecompressionBudget {
    /// Eight times the largest event of Lambda.
    const BYTES: usize = 48 * 1024 * 1024;

    /// Refuses a record of an aggregate whose compressed records are too large together: it would
    /// come again behind the same records.
    pub fn refusal() -> Box<Refusal> {
        let message = format!(
            "the compressed records of one KPL aggregate have more than {} bytes decompressed",
            Self::BYTES
        );
        refuse(codes::TOO_LARGE, &message)
    }

    /// Returns whether no further record of the event may be decoded.
    pub fn is_spent(&self) -> bool {
        self.bytes_left == 0
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
    }
}

/// The data of a record without its layers.
#[derive(Debug)]
pub(super) struct Unwrapped<'a> {
    pub(super) data: Cow<'a, [u8]>,
    pub(super) was_compressed: bool,
    /// The `id` of the CloudEvent around the data.
    pub(super) event_id: Option<String>,
    /// The `time` of the CloudEvent around the data.
    pub(super) occurred_at: Option<String>,
    /// Whether the CloudEvent around the data is marked as put back.
    pub(super) replay: bool,
    /// The attributes of Debezium in the CloudEvent around the data.
    pub(super) debezium: DebeziumAttributes,
}

/// Returns compressed data without its compression; `None` for other data, and for data that cannot
/// be decompressed.
pub fn decompressed(data: &[u8]) -> Option<Vec<u8>> {
    let mut budget = DecompressionBudget::default();
    compression::decompress(compression::algorithm(data)?, data, &mut budget).ok()
}

/// Returns whether `data` begins as a KPL aggregate.
pub fn is_aggregate(data: &[u8]) -> bool {
    data.starts_with(&kpl::MAGIC)
}

/// Returns whether `data` begins as compressed data.
pub fn is_compressed(data: &[u8]) -> bool {
    compression::algorithm(data).is_some()
}

/// Returns the data behind a byte order mark or the frame of a schema registry; `None` where it
/// begins with neither.
pub fn behind_prefix(data: &[u8]) -> Option<&[u8]> {
    data.strip_prefix(BYTE_ORDER_MARK)
        .or_else(|| Some(schema_registry::frame(data)?.content))
}

/// Returns `data` without the layers around it.
///
/// # Errors
/// Where a layer is malformed, too large, or of a kind that cannot be removed.
pub fn without_layers(data: &[u8]) -> Result<Cow<'_, [u8]>, Box<Refusal>> {
    let mut budget = DecompressionBudget::default();
    Ok(unwrap(Cow::Borrowed(data), &mut budget)?.data)
}

/// Removes the layers around `data`.
///
/// # Errors
/// Where a layer is malformed, too large, or of a kind that cannot be removed.
pub(super) fn unwrap<'a>(
    data: Cow<'a, [u8]>,
    budget: &mut DecompressionBudget,
) -> Result<Unwrapped<'a>, Box<Refusal>> {
    let mut unwrapped = Unwrapped {
        data,
        was_compressed: false,
        event_id: None,
        occurred_at: None,
        replay: false,
        debezium: DebeziumAttributes::default(),
    };
    for _ in 0..MOST_LAYERS {
        let Some(inner) = unwrapped.inner(budget)? else {
            break;
        };
        unwrapped.data = Cow::Owned(inner);
    }
    Ok(unwrapped)
}

impl Unwrapped<'_> {
    /// Returns the data without its outermost layer; `None` where it has none.
    fn inner(&mut self, budget: &mut DecompressionBudget) -> Result<Option<Vec<u8>>, Box<Refusal>> {
        let data = &*self.data;
        // JSON begins with a brace, and with none of the layers' first bytes.
        if data.first() != Some(&b'{') {
            if let Some(refusal) = kpl::refusal(data) {
                return Err(refusal);
            }
            if let Some(text) = data.strip_prefix(BYTE_ORDER_MARK) {
                return Ok(Some(text.to_vec()));
            }
            if let Some(algorithm) = compression::algorithm(data) {
                self.was_compressed = true;
                return compression::decompress(algorithm, data, budget).map(Some);
            }
            if let Some(frame) = schema_registry::frame(data) {
                return schema_registry::json_in(&frame).map(Some);
            }
        }
        let Some(event) = cloud_events::parse(data)? else {
            return Ok(None);
        };
        // The innermost CloudEvent names the change.
        self.event_id = Some(event.id);
        self.occurred_at = event.time.or(self.occurred_at.take());
        self.replay |= event.replay;
        self.debezium = event.debezium;
        Ok(Some(event.data))
    }
}
