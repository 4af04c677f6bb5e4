//! Removes the transport layers around the data of records, before a format decodes it. Contract
//! section 1.2.
//!
//! A KPL aggregate becomes several records ([`split_aggregates`]). The other layers are around the
//! data of one record, and are recognized by its first bytes: compression, the framing of a schema
//! registry, CloudEvents. A record without a layer costs a look at its first byte and a search for
//! one word.

pub(super) mod base64;
mod cloud_events;
mod compression;
mod kpl;
mod schema_registry;

use std::borrow::Cow;

pub use self::kpl::{Aggregates, split_aggregates};
use crate::model::Refusal;

/// The most layers that are removed. More are no producer's work: the rest is decoded as it is.
const MOST_LAYERS: usize = 4;

/// The data of a record without its layers.
#[derive(Debug)]
pub(super) struct Unwrapped<'a> {
    pub(super) data: Cow<'a, [u8]>,
    /// The `id` of the CloudEvent around the data.
    pub(super) event_id: Option<String>,
    /// The `time` of the CloudEvent around the data.
    pub(super) occurred_at: Option<String>,
    /// Whether the CloudEvent around the data is marked as put back.
    pub(super) replay: bool,
}

/// Returns compressed data without its compression; `None` for other data, and for data that cannot
/// be decompressed.
pub fn decompressed(data: &[u8]) -> Option<Vec<u8>> {
    compression::decompress(compression::algorithm(data)?, data).ok()
}

/// Returns `data` without the layers around it.
///
/// # Errors
/// Where a layer is malformed, too large, or of a kind that cannot be removed.
pub fn without_layers(data: &[u8]) -> Result<Cow<'_, [u8]>, Box<Refusal>> {
    Ok(unwrap(Cow::Borrowed(data))?.data)
}

/// Removes the layers around `data`.
///
/// # Errors
/// Where a layer is malformed, too large, or of a kind that cannot be removed.
pub(super) fn unwrap(data: Cow<'_, [u8]>) -> Result<Unwrapped<'_>, Box<Refusal>> {
    let mut unwrapped = Unwrapped {
        data,
        event_id: None,
        occurred_at: None,
        replay: false,
    };
    for _ in 0..MOST_LAYERS {
        let Some(inner) = unwrapped.inner()? else {
            break;
        };
        unwrapped.data = Cow::Owned(inner);
    }
    Ok(unwrapped)
}

impl Unwrapped<'_> {
    /// Returns the data without its outermost layer; `None` where it has none.
    fn inner(&mut self) -> Result<Option<Vec<u8>>, Box<Refusal>> {
        let data = &*self.data;
        // JSON begins with a brace, and with none of the layers' first bytes.
        if data.first() != Some(&b'{') {
            if let Some(refusal) = kpl::refusal(data) {
                return Err(refusal);
            }
            if let Some(algorithm) = compression::algorithm(data) {
                return compression::decompress(algorithm, data).map(Some);
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
        Ok(Some(event.data))
    }
}
