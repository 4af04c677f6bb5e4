//! Finds the places in the sent records that a response names. Pure.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::api_error::ApiError;
use crate::model::Body;

/// Beginning of a collection's body, before the records.
pub(super) const HEAD: &str = r#"{"allOrNone":false,"records":["#;

/// End of a collection's body, after the records.
pub(super) const TAIL: &str = "]}";

/// Returns the texts of the record, which a message may quote.
pub(super) fn texts(body: &Body) -> Vec<String> {
    let mut texts = Vec::new();
    for value in fields(body).into_values() {
        if let Value::String(text) = value {
            texts.push(text);
        }
    }
    texts
}

/// Returns the value of a field; Salesforce's names have no letter case.
pub(super) fn value(body: &Body, name: &str) -> Option<Value> {
    fields(body)
        .into_iter()
        .find(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn fields(body: &Body) -> Map<String, Value> {
    serde_json::from_str(body.get()).unwrap_or_default()
}

/// Place of a value in the records that were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The record's index.
    pub(super) record: usize,
    pub(super) field: String,
    /// The value's JSON.
    json: String,
}

impl Place {
    /// Returns whether `body` has the same value in the same field.
    pub(super) fn is_in(&self, body: &Body) -> bool {
        raw_fields(body.get())
            .get(&*self.field)
            .is_some_and(|value| value.get() == self.json)
    }

    /// Returns whether the message quotes this value: `… from VALUE_STRING value yes or request …`.
    pub(super) fn is_quoted_by(&self, error: &ApiError) -> bool {
        let text = serde_json::from_str(&self.json).unwrap_or_default();
        let text = if let Value::String(text) = text {
            text
        } else {
            self.json.clone()
        };
        let message = error.message.as_deref().unwrap_or_default();
        format!("{message} ").contains(&format!("value {text} "))
    }
}

/// Returns the places that the message may mean with `[line:1, column:142]`: one where the records
/// are ASCII, else up to two, since columns may count bytes or UTF-16 units. Where the message
/// quotes the value, only places that hold it count.
/// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm>
pub(super) fn places(error: &ApiError, bodies: &[&Body]) -> Vec<Place> {
    let Some(column) = error.message.as_deref().and_then(column) else {
        return Vec::new();
    };
    let mut places: Vec<Place> = Vec::new();
    for unit_length in [char::len_utf8, char::len_utf16] {
        places.extend(place(column, bodies, unit_length).filter(|place| !places.contains(place)));
    }
    if places.iter().any(|place| place.is_quoted_by(error)) {
        places.retain(|place| place.is_quoted_by(error));
    }
    places
}

/// Returns the column that a message names, counted from 0.
fn column(message: &str) -> Option<usize> {
    let message = message.to_ascii_lowercase();
    let number = |name: &str| {
        let (_, rest) = message.rsplit_once(name)?;
        let digits = rest
            .trim_start()
            .split(|character: char| !character.is_ascii_digit())
            .next()?;
        digits.parse::<usize>().ok()
    };
    // Our bodies have one line.
    number("line:").filter(|line| *line == 1)?;
    number("column:")?.checked_sub(1)
}

/// Returns the value at `offset` of the request's body, or just before it: the parser names the
/// position at which a value begins, or at which it has ended.
fn place(offset: usize, bodies: &[&Body], unit_length: fn(char) -> usize) -> Option<Place> {
    let mut start = HEAD.len();
    for (record, body) in bodies.iter().enumerate() {
        let mut at = start;
        for (byte, character) in body.get().char_indices() {
            if at >= offset {
                return value_before(body.get(), byte, record);
            }
            at += unit_length(character);
        }
        if at >= offset {
            return value_before(body.get(), body.get().len(), record);
        }
        start = at + ",".len();
    }
    None
}

/// Returns the last field whose value begins at `byte` or before it.
fn value_before(json: &str, byte: usize, record: usize) -> Option<Place> {
    let begins = |value: &RawValue| value.get().as_ptr() as usize - json.as_ptr() as usize;
    let fields = raw_fields(json)
        .into_iter()
        .filter(|(_, value)| begins(value) <= byte);
    let (field, value) = fields.max_by_key(|(_, value)| begins(value))?;
    Some(Place {
        record,
        field: field.to_owned(),
        json: value.get().to_owned(),
    })
}

/// Returns the fields of a record with their JSON in place. Names are those of an API and contain
/// nothing that JSON escapes.
fn raw_fields(json: &str) -> BTreeMap<&str, &RawValue> {
    serde_json::from_str(json).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(records: &[&str]) -> Vec<Body> {
        records
            .iter()
            .map(|json| Body::of(serde_json::from_str(json).expect("an object")))
            .collect()
    }

    /// Returns the places that the message means, each as `record field`.
    fn found(message: &str, bodies: &[Body]) -> Vec<String> {
        let error = ApiError {
            message: Some(message.to_owned()),
            ..ApiError::default()
        };
        let bodies: Vec<&Body> = bodies.iter().collect();
        places(&error, &bodies)
            .iter()
            .map(|place| format!("{} {}", place.record, place.field))
            .collect()
    }

    /// Returns the offset of the last `part` in the request's body: in bytes, and in UTF-16 units.
    fn offsets(bodies: &[Body], part: &str) -> [usize; 2] {
        let records: Vec<&str> = bodies.iter().map(Body::get).collect();
        let body = format!("{HEAD}{}{TAIL}", records.join(","));
        let at = body.rfind(part).expect("it is there");
        [at, body[..at].encode_utf16().count()]
    }

    #[test]
    fn a_column_finds_a_record_and_a_field_in_bytes_and_in_utf_16_units() {
        let plain = bodies(&[
            r#"{"A":"x","News__c":"yes","Z":1}"#,
            r#"{"A":"y","News__c":"maybe","Z":2}"#,
        ]);
        let foreign = bodies(&[
            r#"{"A":"ü🚀ü🚀ü🚀","News__c":"yes"}"#,
            r#"{"A":"ü🚀","News__c":"maybe"}"#,
        ]);
        for bodies in [&plain, &foreign] {
            for (value, expected) in [("yes", "0 News__c"), ("maybe", "1 News__c")] {
                // The parser names the beginning of a value, or its end.
                for (part, length) in [
                    (format!("\"{value}\""), 0),
                    (format!("\"{value}\""), value.len() + 2),
                ] {
                    for offset in offsets(bodies, &part) {
                        let column = offset + length + 1;
                        let message = format!(
                            "Cannot deserialize instance of boolean from VALUE_STRING value \
                             {value} or request may be missing a required field at [line:1, \
                             column:{column}]"
                        );
                        assert_eq!(found(&message, bodies), [expected], "{message}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_column_without_a_value_finds_all_places_that_it_may_mean() {
        let records = bodies(&[
            r#"{"A":"üüüüüüüüüüüüüü","B":1}"#,
            r#"{"C":2,"D":3}"#,
            r#"{"E":4}"#,
        ]);
        let [bytes, _] = offsets(&records, "1}");
        assert_eq!(
            found(
                &format!("Unexpected character at [line:1, column:{}]", bytes + 1),
                &records
            ),
            ["0 B", "1 D"]
        );
        for message in [
            "Unexpected character",
            "at [line:1, column:1]",
            "at [line:1, column:99999]",
            "at [line:2, column:40]",
            "at [line:1, column:x]",
            "at [line:1, column:]",
            "at [line:1, column:0]",
            "",
        ] {
            assert_eq!(found(message, &records), [""; 0], "{message}");
        }
    }

    #[test]
    fn every_value_is_found_by_its_column() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut text = || -> String {
                let length = random.usize(..12);
                (0..length)
                    .filter_map(|_| random.choice(['a', '"', 'é', '🚀', ',']))
                    .collect()
            };
            let records: Vec<Body> = (0..20)
                .map(|number| {
                    let fields =
                        serde_json::json!({"A": text(), "N": format!("v{number}"), "Z": text()});
                    Body::of(fields.as_object().cloned().unwrap_or_default())
                })
                .collect();
            for number in 0..20 {
                for offset in offsets(&records, &format!("\"v{number}\"")) {
                    let message = format!(
                        "from VALUE_STRING value v{number} or at [line:1, column:{}]",
                        offset + 1
                    );
                    assert_eq!(
                        found(&message, &records),
                        [format!("{number} N")],
                        "seed {seed}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_value_is_found_without_regard_to_the_letter_case_of_its_field() {
        let record = &bodies(&[r#"{"Status":"Open","N":1}"#])[0];
        assert_eq!(value(record, "status"), Some("Open".into()));
        assert_eq!(value(record, "Other"), None);
        assert_eq!(texts(record), ["Open"]);
    }
}
