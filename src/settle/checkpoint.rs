//! What Lambda delivers again after a partial failure: everything from the record on that the
//! answer names first.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html>

use crate::model::{Position, Record};

/// Returns the identifier that reports the record at `position`: its sequence number, or the
/// nearest one before it. What comes again too often is written again, harmlessly.
pub(crate) fn identifier<'a>(records: &'a [Record<'_>], position: Position) -> Option<&'a str> {
    records
        .get(..=position)?
        .iter()
        .rev()
        .find_map(|record| record.sequence_number.as_deref())
}

/// Returns the first position that comes again where the record at `failed` is the first to fail.
/// Records that share a sequence number come again together; where no number is known, the whole
/// batch does.
pub(super) fn first_again(records: &[Record<'_>], failed: Position) -> Position {
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
    fn everything_from_the_first_record_of_the_failed_ones_number_comes_again() {
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
            assert_eq!(first_again(&records, failed), expected, "{numbers:?}");
        }
    }
}
