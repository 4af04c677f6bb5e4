//! An answer's JSON without what nobody here reads. A result repeats some thirty properties, and three are of use: a
//! tree of all takes six times as long. Pure.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// What is read of a result, besides its properties.
const OF_RESULT: [&str; 2] = ["id", "objectWriteTraceId"];

/// The answer in `body`, and of its results their ids and the properties that are `wanted`.
pub(super) fn read(body: &[u8], wanted: &[&str]) -> serde_json::Result<Value> {
    // Judged once, and not text by text.
    let text = str::from_utf8(body).map_err(serde_json::Error::custom)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let answer = Part::Answer(wanted).deserialize(&mut deserializer)?;
    deserializer.end().map(|()| answer)
}

/// A part of the answer, and the properties that are wanted of it.
#[derive(Clone, Copy)]
enum Part<'w> {
    Answer(&'w [&'w str]),
    Results(&'w [&'w str]),
    Result(&'w [&'w str]),
    Properties(&'w [&'w str]),
    /// Something that is read whole.
    Whole,
}

impl Part<'_> {
    /// What stands under `name`; `None`: nothing that is read.
    fn under(self, name: &str) -> Option<Self> {
        match self {
            Self::Answer(wanted) if name == "results" => Some(Self::Results(wanted)),
            Self::Result(wanted) if name == "properties" => Some(Self::Properties(wanted)),
            Self::Result(_) => OF_RESULT.contains(&name).then_some(Self::Whole),
            Self::Properties(wanted) => wanted.contains(&name).then_some(Self::Whole),
            Self::Answer(_) | Self::Results(_) | Self::Whole => Some(Self::Whole),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(Name(name)) = access.next_key()? {
            match self.under(&name) {
                Some(part) => drop(object.insert(name.into_owned(), access.next_value_seed(part)?)),
                None => drop(access.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Value::Object(object))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let part = if let Self::Results(wanted) = self { Self::Result(wanted) } else { Self::Whole };
        let mut list = Vec::new();
        while let Some(element) = access.next_element_seed(part)? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
}

/// A key, borrowed where it holds no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_results_only_what_is_wanted_is_kept_and_of_everything_else_all() {
        let errors = json!([{"message": "no", "context": {"ids": ["7"], "properties": {"other": 1}}}]);
        let answer = json!({
            "status": "COMPLETE", "numErrors": 1, "errors": errors,
            "results": [
                {"id": "7", "createdAt": "2026", "objectWriteTraceId": "0",
                 "properties": {"source_id": "c-1", "lifecyclestage": null, "email": "ada@example.com"}},
                "odd", null, 1.5,
            ],
        });
        let read = read(answer.to_string().as_bytes(), &["source_id", "lifecyclestage"]).expect("JSON");
        let result = json!({
            "id": "7", "objectWriteTraceId": "0", "properties": {"source_id": "c-1", "lifecyclestage": null},
        });
        let kept = json!({
            "status": "COMPLETE", "numErrors": 1, "errors": errors, "results": [result, "odd", null, 1.5],
        });
        assert_eq!(read, kept);
    }

    #[test]
    fn what_is_no_json_is_no_answer() {
        for body in ["", "<html>", "{} {}", r#"{"results":["#] {
            assert!(read(body.as_bytes(), &[]).is_err(), "{body}");
        }
    }
}
