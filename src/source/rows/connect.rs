//! Values of Kafka Connect's JSON, as Debezium writes them: temporal types are numbers, decimals
//! are bytes, and only the schema names their unit and scale.
//! <https://debezium.io/documentation/reference/stable/connectors/postgresql.html>

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::cell::{Cell, Unreadable, plain};
use super::row::member;
use super::{decimal, temporal};
use crate::json;

/// The type of a column, as far as its values need it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ColumnType {
    /// The JSON of the value is the value.
    #[default]
    Plain,
    /// Days since 1970.
    Date,
    /// The time of a day, in units of which a second has so many.
    Time(i64),
    /// A time without a zone, since 1970, in units of which a second has so many.
    Timestamp(i64),
    /// A duration, in units of which a second has so many.
    Duration(i64),
    /// A date as text, with the zone `Z`.
    IsoDate,
    /// The unscaled value in bytes.
    Decimal(i32),
}

impl ColumnType {
    /// Returns the type of a schema's name, and of its parameter `scale`.
    pub(super) fn new(name: &str, scale: Option<i32>) -> Self {
        const MILLIS: i64 = 1_000;
        const MICROS: i64 = 1_000_000;
        const NANOS: i64 = 1_000_000_000;
        match name {
            "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date" => Self::Date,
            "io.debezium.time.Time" | "org.apache.kafka.connect.data.Time" => Self::Time(MILLIS),
            "io.debezium.time.MicroTime" => Self::Time(MICROS),
            "io.debezium.time.NanoTime" => Self::Time(NANOS),
            "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp" => {
                Self::Timestamp(MILLIS)
            }
            "io.debezium.time.MicroTimestamp" => Self::Timestamp(MICROS),
            "io.debezium.time.NanoTimestamp" => Self::Timestamp(NANOS),
            "io.debezium.time.MicroDuration" => Self::Duration(MICROS),
            "io.debezium.time.NanoDuration" => Self::Duration(NANOS),
            "io.debezium.time.IsoDate" => Self::IsoDate,
            "org.apache.kafka.connect.data.Decimal" => Self::Decimal(scale.unwrap_or_default()),
            _ => Self::Plain,
        }
    }
}

/// Decodes the value of a column of this type.
pub(super) fn cell<'a>(
    raw: &'a RawValue,
    kind: ColumnType,
    path: &[Box<str>],
) -> Result<Cell<'a>, Unreadable> {
    if path.is_empty() && raw.get().starts_with('{') {
        return variable_scale_decimal(raw);
    }
    let cell = plain(raw, path)?;
    if kind == ColumnType::Plain || !path.is_empty() {
        return Ok(cell);
    }
    typed(cell, kind)
}

fn typed(cell: Cell<'_>, kind: ColumnType) -> Result<Cell<'_>, Unreadable> {
    match (cell, kind) {
        // A converter with `decimal.format=NUMERIC` writes the number of a decimal itself.
        (cell @ (Cell::Absent | Cell::Unavailable | Cell::Null), _)
        | (cell @ Cell::Number(_), ColumnType::Decimal(_)) => Ok(cell),
        (Cell::Text(text), ColumnType::IsoDate) => Ok(Cell::Text(without_zone(text))),
        (Cell::Text(text), ColumnType::Decimal(scale)) => decimal::cell(&text, scale),
        (Cell::Number(digits), kind) => {
            let number = digits.parse().map_err(|_| Unreadable)?;
            let text = match kind {
                ColumnType::Date => temporal::date(number),
                ColumnType::Time(units) => temporal::time(number, units),
                ColumnType::Timestamp(units) => temporal::timestamp(number, units),
                ColumnType::Duration(units) => temporal::duration(number, units),
                _ => None,
            };
            Ok(Cell::Text(Cow::Owned(text.ok_or(Unreadable)?)))
        }
        _ => Err(Unreadable),
    }
}

fn without_zone(date: Cow<'_, str>) -> Cow<'_, str> {
    match date {
        Cow::Borrowed(date) => Cow::Borrowed(date.strip_suffix('Z').unwrap_or(date)),
        Cow::Owned(mut date) => {
            if date.ends_with('Z') {
                date.pop();
            }
            Cow::Owned(date)
        }
    }
}

/// Decodes `{"scale": 2, "value": "BOI="}`, a numeric column without a fixed scale.
fn variable_scale_decimal(raw: &RawValue) -> Result<Cell<'_>, Unreadable> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Decimal<'a> {
        scale: i32,
        #[serde(borrow)]
        value: json::Str<'a>,
    }
    let decimal: Decimal<'_> = serde_json::from_str(raw.get()).map_err(|_| Unreadable)?;
    decimal::cell(&decimal.value.0, decimal.scale)
}

/// Debezium's default `unavailable.value.placeholder`, which stands for the value of an unchanged
/// column that the database did not log.
const PLACEHOLDER: &str = "__debezium_unavailable_value";

/// Returns whether the value is the placeholder, in one of the six encodings that column types give
/// it.
pub(super) fn is_unavailable(raw: &RawValue) -> bool {
    /// The placeholder as bytes.
    const BASE64: &str = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";
    /// The UUID that Java derives from the placeholder.
    const UUID: &str = "b68a35a7-17ad-35b3-af2a-ae46edb4545a";
    match raw.get().as_bytes() {
        [b'"', b'_' | b'X' | b'{', ..] => match json::text(raw) {
            Some(text) => {
                text == PLACEHOLDER
                    || text == BASE64
                    || (text.starts_with('{') && is_placeholder_map(&text))
            }
            None => false,
        },
        [b'[', ..] => match only_item(raw) {
            Some(Item::Text(text)) => text.0 == PLACEHOLDER || text.0 == UUID,
            Some(Item::Bytes) => true,
            None => false,
        },
        [b'{', ..] => is_placeholder_map(raw.get()),
        _ => false,
    }
}

/// Returns whether `json` is an object with the placeholder as key and value, as of an `hstore`.
fn is_placeholder_map(json: &str) -> bool {
    let value = member(json, PLACEHOLDER).ok().flatten();
    value
        .and_then(json::text)
        .is_some_and(|text| text == PLACEHOLDER)
}

/// The content of a list: one text, or the bytes of the placeholder.
enum Item<'a> {
    Text(json::Str<'a>),
    Bytes,
}

/// Returns the content of a list that may be the placeholder. Longer lists are not read.
fn only_item(raw: &RawValue) -> Option<Item<'_>> {
    /// Longer than each form of the placeholder, with blanks between its items.
    const LONGEST: usize = 512;
    if raw.get().len() > LONGEST {
        return None;
    }
    if let Ok([text]) = serde_json::from_str::<[json::Str<'_>; 1]>(raw.get()) {
        return Some(Item::Text(text));
    }
    let bytes: Vec<u8> = serde_json::from_str(raw.get()).ok()?;
    (bytes == PLACEHOLDER.as_bytes()).then_some(Item::Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).expect("JSON")
    }

    #[test]
    fn the_placeholder_is_known_in_each_of_its_encodings() {
        let bytes = "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,\
                     108,101,95,118,97,108,117,101]";
        let spaced = bytes.replace(',', ", ");
        for json in [
            r#""__debezium_unavailable_value""#,
            r#""X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==""#,
            r#"["__debezium_unavailable_value"]"#,
            bytes,
            &spaced,
            r#"["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]"#,
            r#"{"__debezium_unavailable_value":"__debezium_unavailable_value"}"#,
            r#""{\"__debezium_unavailable_value\":\"__debezium_unavailable_value\"}""#,
        ] {
            assert!(is_unavailable(raw(json)), "{json}");
        }
        for json in [
            "null",
            "95",
            r#""__debezium""#,
            r#""X""#,
            "[]",
            "[95,95]",
            r#"["a"]"#,
            r#"["__debezium_unavailable_value","a"]"#,
            "{}",
            r#"{"__debezium_unavailable_value":1}"#,
            r#""b68a35a7-17ad-35b3-af2a-ae46edb4545a""#,
        ] {
            assert!(!is_unavailable(raw(json)), "{json}");
        }
    }

    #[test]
    fn a_number_is_read_by_the_type_in_its_schema() {
        for (name, json, expected) in [
            ("io.debezium.time.Date", "20454", "2026-01-01"),
            ("org.apache.kafka.connect.data.Date", "-1", "1969-12-31"),
            ("io.debezium.time.Time", "36900123", "10:15:00.123"),
            ("org.apache.kafka.connect.data.Time", "0", "00:00:00"),
            (
                "io.debezium.time.MicroTime",
                "36900000001",
                "10:15:00.000001",
            ),
            ("io.debezium.time.NanoTime", "1", "00:00:00.000000001"),
            (
                "io.debezium.time.Timestamp",
                "1767225600123",
                "2026-01-01T00:00:00.123Z",
            ),
            (
                "org.apache.kafka.connect.data.Timestamp",
                "1767225600000",
                "2026-01-01T00:00:00Z",
            ),
            (
                "io.debezium.time.MicroTimestamp",
                "1767225600123456",
                "2026-01-01T00:00:00.123456Z",
            ),
            (
                "io.debezium.time.NanoTimestamp",
                "-1",
                "1969-12-31T23:59:59.999999999Z",
            ),
            ("io.debezium.time.IsoDate", r#""2017-09-15Z""#, "2017-09-15"),
            (
                "io.debezium.time.MicroDuration",
                "93784500000",
                "PT26H3M4.5S",
            ),
            ("io.debezium.time.NanoDuration", "-1", "-PT0.000000001S"),
            (
                "io.debezium.time.ZonedTimestamp",
                r#""2026-01-01T00:00:00Z""#,
                "2026-01-01T00:00:00Z",
            ),
            (
                "io.debezium.time.Interval",
                r#""P1Y2M3DT4H5M6S""#,
                "P1Y2M3DT4H5M6S",
            ),
        ] {
            let read = cell(raw(json), ColumnType::new(name, None), &[]);
            assert_eq!(read, Ok(Cell::Text(expected.into())), "{name}");
            assert_eq!(
                cell(raw("null"), ColumnType::new(name, None), &[]),
                Ok(Cell::Null)
            );
        }
    }

    #[test]
    fn a_value_that_its_type_does_not_allow_is_unreadable() {
        for (name, json) in [
            ("io.debezium.time.Date", "1.5"),
            ("io.debezium.time.Date", r#""2026-01-01""#),
            ("io.debezium.time.Date", "99999999999"),
            ("io.debezium.time.Time", "86400000"),
            ("io.debezium.time.Time", "-1"),
            ("io.debezium.time.MicroTimestamp", "9223372036854775807"),
            ("io.debezium.time.MicroTimestamp", "-9223372036854775808"),
            ("io.debezium.time.Timestamp", "true"),
            ("io.debezium.time.MicroDuration", "1.5"),
            ("io.debezium.time.NanoDuration", r#""PT1S""#),
            ("org.apache.kafka.connect.data.Decimal", r#""no base64""#),
            ("org.apache.kafka.connect.data.Decimal", "true"),
            ("", "[1]"),
            ("", r#"{"a":1}"#),
        ] {
            let read = cell(raw(json), ColumnType::new(name, Some(2)), &[]);
            assert_eq!(read, Err(Unreadable), "{name}: {json}");
        }
    }

    #[test]
    fn a_decimal_is_read_by_the_scale_of_its_schema_or_its_own() {
        let number = |text: &'static str| Ok(Cell::Number(text.into()));
        let decimal = ColumnType::new("org.apache.kafka.connect.data.Decimal", Some(2));
        assert_eq!(cell(raw(r#""BOI=""#), decimal, &[]), number("12.50"));
        assert_eq!(cell(raw("12.50"), decimal, &[]), number("12.50"));
        let variable = r#"{"scale":2,"value":"BOI="}"#;
        assert_eq!(cell(raw(variable), ColumnType::Plain, &[]), number("12.50"));
    }
}
