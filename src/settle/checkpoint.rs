//! Computes the records that Lambda redelivers after a partial failure: all from the first record
//! that the response names.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>

use crate::model::{Position, Record};

/// Returns the identifier that reports the record at `position`: its sequence number, or the
/// nearest one before it. Records that are redelivered without need are written again, which is
/// harmless.
pub(crate) fn identifier<'a>(records: &'a [Record<'_>], position: Position) -> Option<&'a str> {
    records
        .get(..=position)?
        .iter()
        .rev()
        .find_map(|record| record.sequence_number.as_deref())
}

/// Returns the first redelivered position where the record at `failed` is the first to fail.
/// Records that share a sequence number are redelivered together. Without a known number the whole
/// batch is.
pub(super) fn first_redelivered(records: &[Record<'_>], failed: Position) -> Position {
    let Some(number) = identifier(records, failed) else {
        return 0;
    };
    records
        .iter()
        .position(|record| record.sequence_number.as_deref() == Some(number))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_records_from_the_failed_sequence_number_on_are_redelivered() {
        for (numbers, failed, expected) in [
            (&[Some("1"), Some("2"), Some("3")][..], 1, 1),
            (&[Some("1"), Some("2"), Some("2"), Some("2")], 3, 1),
            (&[Some("1"), None, None], 2, 0),
            (&[Some("1"), Some("2"), None], 2, 1),
            (&[None, Some("2"), Some("3")], 2, 2),
            (&[None, Some("2")], 0, 0),
        ] {
            let record = |number: Option<&'static str>| Record {
                sequence_number: number.map(Into::into),
                ..Record::default()
            };
            let records: Vec<Record<'_>> = numbers.iter().copied().map(record).collect();
            assert_eq!(first_redelivered(&records, failed), expected, "{numbers:?}");
        }
    }
}
