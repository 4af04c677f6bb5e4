//! Fields that a replay adds to the changes that it puts back: the flag `"replay": true`, and the
//! time of a change that has none of its own. No other byte of the JSON is changed. Compression and
//! the framing of a schema registry are put around it again.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use contact_sync::source::layers::{MOST_LAYERS, behind_prefix, decompressed, is_aggregate};
use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Field of a flattened row with the time of the change, in milliseconds: `add.fields` with
/// `source.ts_ms`.
/// <https://debezium.io/documentation/reference/stable/transformations/event-flattening.html>
const ROW_TIME: &str = "__source_ts_ms";

/// Edit of a JSON text; `None` where the text is no object.
type Edit<'a> = &'a dyn Fn(&str) -> Option<String>;

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
    edited(data, MOST_LAYERS, &flagged)
}

/// Returns the data with the replay flag and a time of the change, once for each field that a
/// format may read the time from: `time` of a CloudEvent, and the field of a flattened row, beside
/// its columns or in the payload of Kafka Connect. Only the format tells which one counts.
pub(crate) fn set_flag_and_time(data: &[u8], time: OffsetDateTime) -> Vec<Vec<u8>> {
    let millis = time.unix_timestamp_nanos() / 1_000_000;
    let text = time.format(&Rfc3339).unwrap_or_default();
    let millis = millis.to_string();
    let text = format!("{text:?}");
    let edits: [Edit<'_>; 3] = [
        &|json| flagged(&with_field(json, "time", &text)?),
        &|json| flagged(&with_field(json, ROW_TIME, &millis)?),
        &|json| {
            let payload = value(json, "payload")?;
            let start = payload.as_ptr().addr() - json.as_ptr().addr();
            let (before, after) = (&json[..start], &json[start + payload.len()..]);
            let payload = with_field(payload, ROW_TIME, &millis)?;
            flagged(&format!("{before}{payload}{after}"))
        },
    ];
    edits
        .iter()
        .filter_map(|edit| edited(data, MOST_LAYERS, *edit).ok())
        .collect()
}

/// Returns the data with its JSON edited, in the same layers.
fn edited(data: &[u8], layers_left: usize, edit: Edit<'_>) -> Result<Vec<u8>, UnflaggableError> {
    if is_aggregate(data) {
        return Err(UnflaggableError::Aggregate);
    }
    let inner = |data: &[u8]| match layers_left {
        0 => Err(UnflaggableError::NoObject),
        _ => edited(data, layers_left - 1, edit),
    };
    if let Some(content) = behind_prefix(data) {
        let prefix = &data[..data.len() - content.len()];
        return Ok([prefix, &inner(content)?].concat());
    }
    if let Some(plain) = decompressed(data) {
        let plain = inner(&plain)?;
        return match data {
            [0x1f, ..] => gzip(&plain).map_err(|_| UnflaggableError::NoObject),
            _ => Ok(compress_to_vec(&plain[..], CompressionLevel::Fastest)),
        };
    }
    let text = str::from_utf8(data).map_err(|_| UnflaggableError::NoObject)?;
    let text = edit(text).ok_or(UnflaggableError::NoObject)?;
    Ok(text.into_bytes())
}

fn gzip(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data)?;
    encoder.finish()
}

/// Returns an object's field as it is written; `None` for other texts.
fn value<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json).ok()?;
    fields.get(name).map(|value| value.get())
}

fn flagged(json: &str) -> Option<String> {
    with_field(json, "replay", "true")
}

/// Returns the object with a field in front. A field that it has is replaced; `None` for other
/// texts.
fn with_field(json: &str, name: &str, value: &str) -> Option<String> {
    let mut fields: BTreeMap<String, &RawValue> = serde_json::from_str(json).ok()?;
    match fields.get(name).map(|value| value.get()) {
        Some(found) if found == value => Some(json.to_owned()),
        Some(_) => {
            let value = RawValue::from_string(value.to_owned()).ok()?;
            fields.insert(name.to_owned(), &value);
            serde_json::to_string(&fields).ok()
        }
        None => {
            let (before, rest) = json.split_once('{')?;
            let comma = if fields.is_empty() { "" } else { "," };
            Some(format!(r#"{before}{{"{name}":{value}{comma}{rest}"#))
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
        for data in ["", "[]", "null", "{", r#"{"a":1}x"#] {
            assert_eq!(flagged(data), Err(UnflaggableError::NoObject), "{data}");
        }
        assert_eq!(set_replay_flag(b"\xff"), Err(UnflaggableError::NoObject));
        assert_eq!(
            set_replay_flag(b"\xF3\x89\x9A\xC2rest"),
            Err(UnflaggableError::Aggregate)
        );
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        compress_to_vec(data, CompressionLevel::Fastest)
    }

    #[test]
    fn the_flag_is_set_within_the_layers() {
        type Layer<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;
        let gzip = |data: &[u8]| gzip(data).expect("in memory");
        let confluent = |data: &[u8]| [&[0, 0, 0, 0, 17], data].concat();
        let apicurio = |data: &[u8]| [&[0, 0, 0, 0, 0, 0, 0, 0, 17], data].concat();
        let glue = |data: &[u8]| [&[3, 0], &[7; 16][..], data].concat();
        let marked = |data: &[u8]| [b"\xEF\xBB\xBF", data].concat();
        let (plain, flagged) = (&br#"{"a":1}"#[..], &br#"{"replay":true,"a":1}"#[..]);
        let layers: [Layer<'_>; 8] = [
            &gzip,
            &zstd,
            &confluent,
            &apicurio,
            &glue,
            &marked,
            &|data| gzip(&zstd(data)),
            &|data| zstd(&gzip(&gzip(&confluent(data)))),
        ];
        for (at, wrap) in layers.iter().enumerate() {
            let found = set_replay_flag(&wrap(plain));
            assert_eq!(found, Ok(wrap(flagged)), "{at}");
        }
        let five = (0..5).fold(plain.to_vec(), |data, _| gzip(&data));
        let framed_avro = confluent(b"\x02\x0ac-1");
        for data in [five, framed_avro, gzip(b"[]"), gzip(b"{}")[..12].to_vec()] {
            assert_eq!(set_replay_flag(&data), Err(UnflaggableError::NoObject));
        }
    }

    #[test]
    fn compressed_data_stays_small() {
        let data = format!(r#"{{"a":"{}"}}"#, "x".repeat(3 * 1024 * 1024));
        for compressed in [
            gzip(data.as_bytes()).expect("in memory"),
            zstd(data.as_bytes()),
        ] {
            let flagged = set_replay_flag(&compressed).expect("an object");
            assert!(flagged.len() < 100 * 1024, "{}", flagged.len());
            let plain = decompressed(&flagged).expect("compressed");
            assert!(plain.starts_with(br#"{"replay":true,"a":"x"#));
        }
    }

    #[test]
    fn the_time_is_set_in_each_field_that_may_hold_it() {
        let time = OffsetDateTime::from_unix_timestamp_nanos(1_763_633_700_123_000_000);
        let time = time.expect("in range");
        let of = |data: &str| -> Vec<String> {
            let all = set_flag_and_time(data.as_bytes(), time);
            all.into_iter()
                .map(|data| String::from_utf8(data).expect("UTF-8"))
                .collect()
        };
        let (rest, at) = (
            r#""schema":{"payload":{}},"payload": {"#,
            1_763_633_700_123_i64,
        );
        assert_eq!(
            of(&format!(r#"{{{rest}"id":1.50}}}}"#)),
            [
                format!(r#"{{"replay":true,"time":"2025-11-20T10:15:00.123Z",{rest}"id":1.50}}}}"#),
                format!(r#"{{"replay":true,"__source_ts_ms":{at},{rest}"id":1.50}}}}"#),
                format!(r#"{{"replay":true,{rest}"__source_ts_ms":{at},"id":1.50}}}}"#),
            ]
        );
        assert_eq!(
            of(r#"{"__source_ts_ms":null}"#)[1],
            format!(r#"{{"replay":true,"__source_ts_ms":{at}}}"#),
            "a null is no time"
        );
        assert_eq!(of("[]"), [""; 0]);
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
