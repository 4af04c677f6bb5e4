//! What an answer says of the rows of a batch call, read in one pass and where it lies. A result
//! repeats some thirty properties, and three are of use: a tree of all takes six times as long.
//! Pure.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::api_error::{ApiError, strings};
use super::{Settings, model};
use crate::json::{self, Str};

/// What an answer says of the rows.
#[derive(Default)]
pub(super) struct BatchAnswer<'a> {
    /// It says that all of the work is done.
    pub(super) is_complete: bool,
    /// What was written or record.
    pub(super) results: Vec<Record<'a>>,
    /// The errors; `None` for one that cannot be read.
    pub(super) errors: Vec<Option<ApiError>>,
}

/// A result. Every part may be missing, or of an odd kind.
#[derive(Clone, Copy, Default)]
pub(super) struct Record<'a> {
    /// HubSpot's own id.
    pub(super) id: Option<&'a RawValue>,
    /// Our trace id, where it is echoed.
    pub(super) trace_id: Option<&'a RawValue>,
    pub(super) properties: Properties<'a>,
}

impl Record<'_> {
    /// Returns whether nothing in it says that it is a result.
    pub(super) fn is_blank(&self) -> bool {
        self.id.is_none() && self.trace_id.is_none() && self.properties.key.is_none()
    }
}

/// The properties of a result that a delivery reads.
#[derive(Clone, Copy, Default)]
pub(super) struct Properties<'a> {
    /// The one that is our key.
    pub(super) key: Option<&'a RawValue>,
    pub(super) stage: Option<&'a RawValue>,
    pub(super) version: Option<&'a RawValue>,
}

impl<'a> BatchAnswer<'a> {
    /// The object in `body`. A body without one (a proxy's page, say) says nothing of anybody:
    /// `None`.
    pub(super) fn read(body: &'a [u8], settings: &Settings) -> Option<Self> {
        // Judged once, and not text by text.
        let text = str::from_utf8(body)
            .ok()
            .filter(|text| text.trim_start().starts_with('{'))?;
        let mut answer = Self::default();
        let mut deserializer = serde_json::Deserializer::from_str(text);
        Part::Answer(&mut answer)
            .under(settings)
            .deserialize(&mut deserializer)
            .ok()?;
        deserializer.end().ok().map(|()| answer)
    }

    /// The refusal of a whole call, where it speaks of rows.
    pub(super) fn of(problem: &ApiError) -> Self {
        Self {
            errors: vec![Some(problem.clone())],
            ..Self::default()
        }
    }
}

/// The texts and numbers that `value` is or lists.
pub(super) fn words(value: Option<&RawValue>) -> impl Iterator<Item = Cow<'_, str>> {
    let text = value.and_then(json::text);
    let odd: Option<Value> = value
        .filter(|_| text.is_none())
        .and_then(|value| serde_json::from_str(value.get()).ok());
    text.into_iter()
        .chain(strings(odd.as_ref()).map(Cow::Owned))
}

/// A part of the answer, and where goes what it says.
enum Part<'p, 'a> {
    Answer(&'p mut BatchAnswer<'a>),
    Results(&'p mut Vec<Record<'a>>),
    Result(&'p mut Record<'a>),
    Properties(&'p mut Properties<'a>),
}

/// A part, and the settings that say which properties are read.
struct Reader<'p, 'a>(Part<'p, 'a>, &'p Settings);

impl<'p, 'a> Part<'p, 'a> {
    fn under(self, settings: &'p Settings) -> Reader<'p, 'a> {
        Reader(self, settings)
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Where a part is not what it should be, it says nothing.
impl<'de> Visitor<'de> for Reader<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(mut part, settings) = self;
        while let Some(Str(name)) = map.next_key()? {
            match (&mut part, &*name) {
                (Part::Answer(answer), "results") => {
                    answer.results.clear();
                    map.next_value_seed(Part::Results(&mut answer.results).under(settings))?;
                }
                (Part::Answer(answer), "errors") => answer.errors = problems(&map.next_value()?),
                (Part::Answer(answer), "status") => {
                    answer.is_complete = map.next_value::<Value>()? == "COMPLETE";
                }
                (Part::Result(record), "id") => record.id = map.next_value()?,
                (Part::Result(record), "objectWriteTraceId") => {
                    record.trace_id = map.next_value()?;
                }
                (Part::Result(record), "properties") => {
                    record.properties = Properties::default();
                    map.next_value_seed(Part::Properties(&mut record.properties).under(settings))?;
                }
                (Part::Properties(held), name) if name == settings.id_property => {
                    held.key = map.next_value()?;
                }
                (Part::Properties(held), name) if name == settings.version_property => {
                    held.version = map.next_value()?;
                }
                (Part::Properties(held), model::STAGE) => held.stage = map.next_value()?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self(part, settings) = self;
        let Part::Results(results) = part else {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        let mut record = Record::default();
        while list
            .next_element_seed(Part::Result(&mut record).under(settings))?
            .is_some()
        {
            results.push(std::mem::take(&mut record));
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

fn problems(errors: &Value) -> Vec<Option<ApiError>> {
    errors
        .as_array()
        .into_iter()
        .flatten()
        .map(ApiError::read)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::adapters::hubspot::model::tests::settings;

    /// What of an answer is read, in a line.
    fn read(body: &str) -> Option<String> {
        let settings = Settings {
            version_property: "source_version".to_owned(),
            ..settings()
        };
        let answer = BatchAnswer::read(body.as_bytes(), &settings)?;
        let all = |value: Option<&RawValue>| words(value).collect::<Vec<_>>().join("+");
        let result = |record: &Record<'_>| {
            let Properties {
                key,
                stage,
                version,
            } = record.properties;
            let key = key.and_then(json::text).unwrap_or_default();
            format!(
                " [{} {} {key} {} {}]",
                all(record.id),
                all(record.trace_id),
                all(stage),
                all(version)
            )
        };
        let results: String = answer.results.iter().map(result).collect();
        let errors: Vec<_> = answer.errors.iter().map(Option::is_some).collect();
        Some(format!("{}{results} {errors:?}", answer.is_complete))
    }

    #[test]
    fn what_is_used_is_read_and_the_rest_is_not() {
        let properties = json!({"source_id": "c-1", "lifecyclestage": "lead", "source_version": "7", "email": "x",
            "deep": [{"source_id": "no"}]});
        let answer = json!({
            "status": "COMPLETE", "numErrors": 1, "errors": [{"message": "no"}, null, 7],
            "results": [
                {"id": "7", "createdAt": "2026", "objectWriteTraceId": "0", "properties": properties},
                {"id": 8, "objectWriteTraceId": ["1", 2], "properties": {"source_id": null, "source_version": 7}},
                {"id": null, "properties": {"source_id": "a\"\u{e9}\\", "lifecyclestage": {}}},
                {"id": {}, "properties": ["source_id"]}, "odd", null, 1.5, -1, true, [{"id": "9"}],
            ],
        });
        let empty = " [    ]".repeat(7);
        let expected = format!(
            "true [7 0 c-1 lead 7] [8 1+2   7] [  a\"\u{e9}\\  ]{empty} [true, false, false]"
        );
        assert_eq!(read(&answer.to_string()), Some(expected));
    }

    #[test]
    fn of_a_name_that_comes_twice_the_last_counts() {
        for (body, expected) in [
            (
                r#"{"results":[{"id":"1"}],"results":[{"id":"2"}]}"#,
                "false [2    ] []",
            ),
            (r#"{"results":[{"id":"1"}],"results":null}"#, "false []"),
            (
                r#"{"results":[{"properties":{"source_id":"a"},"properties":null}]}"#,
                "false [    ] []",
            ),
            (
                r#"{"results":[{"id":"1","id":null}],"status":"COMPLETE","status":7}"#,
                "false [    ] []",
            ),
            (r#"{"errors":[{}],"errors":{}}"#, "false []"),
            ("\n {\"sta\\u0074us\":\"COMPLETE\"}\n", "true []"),
        ] {
            assert_eq!(read(body).as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn what_is_no_object_is_no_answer() {
        for body in [
            "",
            "<html>",
            "{} {}",
            r#"{"results":["#,
            "[]",
            "null",
            "7",
            r#""{}""#,
            r#"{"results":[{"id":x}]}"#,
        ] {
            assert_eq!(read(body), None, "{body}");
        }
    }
}
