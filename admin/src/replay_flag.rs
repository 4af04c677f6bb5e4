//! The mark of what a replay puts back: `"replay": true`, and not another byte changed.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// How a KPL aggregate begins.
/// <https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md>
const AGGREGATE: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// Why data cannot be marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnflaggableError {
    /// It is no JSON object.
    NoObject,
    /// It is several records in one.
    Aggregate,
}

/// The same data, marked. What is marked already stays as it is.
pub(crate) fn mark(data: &[u8]) -> Result<Vec<u8>, UnflaggableError> {
    if data.starts_with(&AGGREGATE) {
        return Err(UnflaggableError::Aggregate);
    }
    let text = str::from_utf8(data).map_err(|_| UnflaggableError::NoObject)?;
    let mut fields: BTreeMap<String, &RawValue> =
        serde_json::from_str(text).map_err(|_| UnflaggableError::NoObject)?;
    match fields.get("replay").map(|value| value.get()) {
        Some("true") => Ok(data.to_vec()),
        Some(_) => {
            let marked =
                RawValue::from_string("true".to_owned()).map_err(|_| UnflaggableError::NoObject)?;
            fields.insert("replay".to_owned(), &marked);
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

    fn marked(data: &str) -> Result<String, UnflaggableError> {
        mark(data.as_bytes()).map(|marked| String::from_utf8(marked).expect("UTF-8"))
    }

    #[test]
    fn the_mark_is_the_only_change() {
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
            assert_eq!(marked(data).as_deref(), Ok(expected), "{data}");
        }
    }

    #[test]
    fn what_is_no_object_cannot_be_marked() {
        for data in ["", "[]", "null", "{", r#"{"a":1}x"#, "\u{feff}{}"] {
            assert_eq!(marked(data), Err(UnflaggableError::NoObject), "{data}");
        }
        assert_eq!(mark(b"\xff"), Err(UnflaggableError::NoObject));
        assert_eq!(
            mark(b"\xF3\x89\x9A\xC2rest"),
            Err(UnflaggableError::Aggregate)
        );
    }

    proptest! {
        #[test]
        fn whatever_is_marked_says_the_same_besides(names in proptest::collection::vec(".{0,6}", 0..5), value in ".{0,9}") {
            let object: Value = names.iter().map(|name| (name.clone(), Value::from(value.as_str()))).collect();
            let mut marked: Value = serde_json::from_str(&marked(&object.to_string()).expect("an object")).expect("JSON");
            prop_assert_eq!(&marked["replay"], &Value::Bool(true));
            let mut object = object;
            object.as_object_mut().expect("an object").remove("replay");
            marked.as_object_mut().expect("an object").remove("replay");
            prop_assert_eq!(marked, object);
        }
    }
}
