//! Parses the response to a batch call in one pass, without copying it. A result repeats some
//! thirty properties, of which three are needed: a tree of all takes six times as long. Pure.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::api_error::{ApiError, strings};
use super::{Settings, model};
use crate::json::{self, Str};

/// The parsed response to a batch call.
#[derive(Default)]
pub(super) struct BatchResponse<'a> {
    /// The response reports that all of the work is done.
    pub(super) is_complete: bool,
    /// Results: the records that were written or found.
    pub(super) results: Vec<Record<'a>>,
    /// Errors; `None` for one that cannot be parsed.
    pub(super) errors: Vec<Option<ApiError>>,
}

/// A result. Every part may be missing, or of an unexpected type.
#[derive(Clone, Copy, Default)]
pub(super) struct Record<'a> {
    /// HubSpot's own id.
    pub(super) id: Option<&'a RawValue>,
    /// Our trace id, where HubSpot echoes it.
    pub(super) trace_id: Option<&'a RawValue>,
    /// Whether the record did not exist before.
    pub(super) is_new: Option<&'a RawValue>,
    pub(super) properties: Properties<'a>,
    /// All properties, where the response is parsed for them.
    pub(super) all: Option<&'a RawValue>,
}

impl Record<'_> {
    /// Returns whether the record did not exist before.
    pub(super) fn is_new(&self) -> bool {
        self.is_new.is_some_and(|is_new| is_new.get() == "true")
    }

    /// Returns whether the entry lacks every part that identifies a result.
    pub(super) fn is_blank(&self) -> bool {
        self.id.is_none() && self.trace_id.is_none() && self.properties.key.is_none()
    }
}

/// Properties of a result that the adapter needs.
#[derive(Clone, Copy, Default)]
pub(super) struct Properties<'a> {
    /// Our key.
    pub(super) key: Option<&'a RawValue>,
    pub(super) stage: Option<&'a RawValue>,
    pub(super) version: Option<&'a RawValue>,
}

impl<'a> BatchResponse<'a> {
    /// Parses the object in `body`; `None` for a body without one, such as a proxy's page, which
    /// holds nothing about the rows. `keeps_all` keeps all properties of the results: those of a
    /// look-up for policies.
    pub(super) fn read(body: &'a [u8], settings: &Settings, keeps_all: bool) -> Option<Self> {
        // Validated once as a whole, and not for each text.
        let text = str::from_utf8(body)
            .ok()
            .filter(|text| text.trim_start().starts_with('{'))?;
        let mut response = Self::default();
        let mut deserializer = serde_json::Deserializer::from_str(text);
        Part::Response(&mut response)
            .under((settings, keeps_all))
            .deserialize(&mut deserializer)
            .ok()?;
        deserializer.end().ok().map(|()| response)
    }

    /// Converts the refusal of a whole call that names rows into a response with one error.
    pub(super) fn of(error: &ApiError) -> Self {
        Self {
            errors: vec![Some(error.clone())],
            ..Self::default()
        }
    }
}

/// Returns the texts and numbers that `value` is or lists.
pub(super) fn texts_of(value: Option<&RawValue>) -> impl Iterator<Item = Cow<'_, str>> {
    let text = value.and_then(json::text);
    let odd: Option<Value> = value
        .filter(|_| text.is_none())
        .and_then(|value| serde_json::from_str(value.get()).ok());
    text.into_iter()
        .chain(strings(odd.as_ref()).map(Cow::Owned))
}

/// A part of the response that is being parsed, and its target.
enum Part<'p, 'a> {
    Response(&'p mut BatchResponse<'a>),
    Results(&'p mut Vec<Record<'a>>),
    Result(&'p mut Record<'a>),
    Properties(&'p mut Properties<'a>),
}

/// The settings that name the properties to read, and whether all properties are kept.
type Wanted<'p> = (&'p Settings, bool);

/// A part, and the wanted properties.
struct Reader<'p, 'a>(Part<'p, 'a>, Wanted<'p>);

impl<'p, 'a> Part<'p, 'a> {
    fn under(self, wanted: Wanted<'p>) -> Reader<'p, 'a> {
        Reader(self, wanted)
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Ignores a part of an unexpected type.
impl<'de> Visitor<'de> for Reader<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self(mut part, wanted) = self;
        let (settings, keeps_all) = wanted;
        while let Some(Str(name)) = map.next_key()? {
            match (&mut part, &*name) {
                (Part::Response(response), "results") => {
                    response.results.clear();
                    map.next_value_seed(Part::Results(&mut response.results).under(wanted))?;
                }
                (Part::Response(response), "errors") => {
                    response.errors = parse_errors(&map.next_value()?);
                }
                (Part::Response(response), "status") => {
                    response.is_complete = map.next_value::<Value>()? == "COMPLETE";
                }
                (Part::Result(record), "id") => record.id = map.next_value()?,
                (Part::Result(record), "new") => record.is_new = map.next_value()?,
                (Part::Result(record), "objectWriteTraceId") => {
                    record.trace_id = map.next_value()?;
                }
                (Part::Result(record), "properties") if keeps_all => {
                    record.properties = Properties::default();
                    record.all = map.next_value()?;
                    if let Some(all) = record.all {
                        Part::Properties(&mut record.properties)
                            .under(wanted)
                            .deserialize(all)
                            .map_err(A::Error::custom)?;
                    }
                }
                (Part::Result(record), "properties") => {
                    record.properties = Properties::default();
                    map.next_value_seed(Part::Properties(&mut record.properties).under(wanted))?;
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
        let Self(part, wanted) = self;
        let Part::Results(results) = part else {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        let mut record = Record::default();
        while list
            .next_element_seed(Part::Result(&mut record).under(wanted))?
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

fn parse_errors(errors: &Value) -> Vec<Option<ApiError>> {
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

    /// Parses `body`, and formats the result as one line.
    fn read(body: &str) -> Option<String> {
        let settings = Settings {
            version_property: "source_version".to_owned(),
            ..settings()
        };
        let response = BatchResponse::read(body.as_bytes(), &settings, false)?;
        let all = |value: Option<&RawValue>| texts_of(value).collect::<Vec<_>>().join("+");
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
        let results: String = response.results.iter().map(result).collect();
        let errors: Vec<_> = response.errors.iter().map(Option::is_some).collect();
        Some(format!("{}{results} {errors:?}", response.is_complete))
    }

    #[test]
    fn the_parser_reads_the_parts_in_use_and_no_others() {
        let properties = json!({
            "source_id": "c-1", "lifecyclestage": "lead", "source_version": "7", "email": "x",
            "deep": [{"source_id": "no"}],
        });
        let response = json!({
            "status": "COMPLETE", "numErrors": 1, "errors": [{"message": "no"}, null, 7],
            "results": [
                {
                    "id": "7", "createdAt": "2026", "objectWriteTraceId": "0",
                    "properties": properties,
                },
                {
                    "id": 8, "objectWriteTraceId": ["1", 2],
                    "properties": {"source_id": null, "source_version": 7},
                },
                {"id": null, "properties": {"source_id": "a\"\u{e9}\\", "lifecyclestage": {}}},
                {"id": {}, "properties": ["source_id"]}, "odd", null, 1.5, -1, true, [{"id": "9"}],
            ],
        });
        let empty = " [    ]".repeat(7);
        let expected = format!(
            "true [7 0 c-1 lead 7] [8 1+2   7] [  a\"\u{e9}\\  ]{empty} [true, false, false]"
        );
        assert_eq!(read(&response.to_string()), Some(expected));
    }

    #[test]
    fn the_last_value_of_a_repeated_name_counts() {
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
    fn a_body_that_is_no_object_is_no_response() {
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
