//! The base64 in which an event has the data of a record.

use std::borrow::Cow;

use crate::model::{Data, Record, Refusal, codes};
use crate::source::refuse;

/// Returns the bytes of the record's data; `None` where it has none.
///
/// # Errors
/// Where the data is not base64.
pub(in crate::source) fn decode<'a>(
    record: &'a Record<'_>,
) -> Result<Option<Cow<'a, [u8]>>, Box<Refusal>> {
    match &record.data {
        None => Ok(None),
        Some(Data::Bytes(bytes)) => Ok(Some(Cow::Borrowed(bytes))),
        Some(Data::Base64(text)) => match base64_simd::STANDARD.decode_to_vec(&**text) {
            Ok(bytes) => Ok(Some(Cow::Owned(bytes))),
            Err(_) => Err(refuse(
                codes::INVALID_BASE64,
                "the record's data is not base64",
            )),
        },
    }
}
