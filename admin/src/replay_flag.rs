//! Replay flag of the changes that a replay puts back: `"replay": true`. No other byte is changed.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// First bytes of a KPL aggregate.
/// <https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md>
const AGGREGATE: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// Reason why data cannot be flagged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnflaggableError {
    /// The data is not a JSON object.
    NoObject,
    /// The data is a KPL aggregate of several records.
    Aggregate,
}

/// Returns the data with the replay flag. Data that has the flag is returned unchanged.
pub(crate) fn set_replay_flag(data: &[u8]) -> Result<Vec<u8>, UnflaggableError> {
    if data.starts_with(&AGGREGATE) {
        return Err(UnflaggableError::Aggregate);
    }
    let text = str::from_utf8(data).map_err(|_| UnflaggableError::NoObject)?;
    let mut fields: BTreeMap<String, &RawValue> =
        serde_json::from_str(text).map_err(|_| UnflaggableError::NoObject)?;
    match fields.get("replay").map(|value| value.get()) {
        Some("true") => Ok(data.to_vec()),
        Some(_) => {
            let flag =
                RawValue::from_string("true".to_owned()).map_err(|_| UnflaggableError::NoObject)?;
            fields.insert("replay".to_owned(), &flag);
            serde_json::to_vec(&fields).map_err(|_| UnflaggableError::NoObject)
        }
        None => {
            let (before, rest) = text.split_once('{').ok_or(UnflaggableError::NoObject)?;
            let comma = if fields.is_empty() { "" } else { "," };
            Ok(format!(r#"{before}{{"replay":true{comma}{rest}"#).into_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn flagged(data: &str) -> Result<String, UnflaggableError> {
        set_replay_flag(data.as_bytes()).map(|data| String::from_utf8(data).expect("UTF-8"))
    }

    #[test]
    fn the_flag_is_the_only_change() {
        for (data, expected) in [
            (r#"{"a":1}"#, r#"{"replay":true,"a":1}"#),
            (
                r#" {"a": {"replay": false} }"#,
                r#" {"replay":true,"a": {"replay": false} }"#,
            ),
            ("{}", r#"{"replay":true}"#),
            ("{ }", r#"{"replay":true }"#),
            (r#"{"a":1,"replay":true}"#, r#"{"a":1,"replay":true}"#),
            (
                r#"{"replay":false,"a":1.50}"#,
                r#"{"a":1.50,"replay":true}"#,
            ),
            (r#"{"replay":null}"#, r#"{"replay":true}"#),
            (
                r#"{"version":18446744073709551615,"n":1e400}"#,
                r#"{"replay":true,"version":18446744073709551615,"n":1e400}"#,
            ),
        ] {
            assert_eq!(flagged(data).as_deref(), Ok(expected), "{data}");
        }
    }

    #[test]
    fn data_that_is_not_a_json_object_cannot_be_flagged() {
        for data in ["", "[]", "null", "{", r#"{"a":1}x"#, "\u{feff}{}"] {
            assert_eq!(flagged(data), Err(UnflaggableError::NoObject), "{data}");
        }
        assert_eq!(set_replay_flag(b"\xff"), Err(UnflaggableError::NoObject));
        assert_eq!(
            set_replay_flag(b"\xF3\x89\x9A\xC2rest"),
            Err(UnflaggableError::Aggregate)
        );
    }

    proptest! {
        #[test]
        fn a_flagged_object_keeps_all_other_fields(
            names in proptest::collection::vec(".{0,6}", 0..5),
            value in ".{0,9}",
        ) {
            let mut object: Value = names
                .iter()
                .map(|name| (name.clone(), Value::from(value.as_str())))
                .collect();
            let flagged = flagged(&object.to_string()).expect("an object");
            let mut flagged: Value = serde_json::from_str(&flagged).expect("JSON");
            prop_assert_eq!(&flagged["replay"], &Value::Bool(true));
            object.as_object_mut().expect("an object").remove("replay");
            flagged.as_object_mut().expect("an object").remove("replay");
            prop_assert_eq!(flagged, object);
        }
    }
}
