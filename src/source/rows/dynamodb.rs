//! The stream of a DynamoDB table in Kinesis.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/kds.html>

use serde::Deserialize;
use serde_json::value::RawValue;

use super::cell::{Cell, Encoding, Unreadable, in_text};
use super::columns::Columns;
use super::row::{Row, member, only_entry, row};
use super::table::Table;
use super::{
    Message, Read, RowChange, RowOperation, is_replay, missing, other_format, raw_text, raw_time,
    unknown_operation,
};
use crate::json::{self, Object, Str};
use crate::model::{Field, Refusal};
use crate::source::wire;

type Raw<'a> = Field<&'a RawValue>;

#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(borrow, default, rename = "eventID")]
    event_id: Raw<'a>,
    #[serde(borrow, default, rename = "eventName")]
    event_name: Raw<'a>,
    #[serde(borrow, default, rename = "tableName")]
    table_name: Raw<'a>,
    #[serde(borrow, default)]
    dynamodb: Raw<'a>,
    #[serde(borrow, default)]
    replay: Raw<'a>,
    #[serde(borrow, default)]
    lane: Raw<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item<'a> {
    #[serde(borrow, default)]
    approximate_creation_date_time: Raw<'a>,
    #[serde(borrow, default)]
    keys: Raw<'a>,
    #[serde(borrow, default)]
    new_image: Raw<'a>,
    #[serde(borrow, default)]
    old_image: Raw<'a>,
}

/// Reads a record.
pub(super) fn read<'a>(text: &'a str, columns: &Columns) -> Read<'a> {
    let keys = match serde_json::from_str::<Object<Keys<'_>>>(text) {
        Ok(Object(keys)) => keys,
        Err(error) => return Err(Box::new(wire::explain::<Keys<'_>>(text, &error))),
    };
    let item = item(&keys.dynamodb)?;
    let operation = operation(&keys.event_name)?;
    let image = |raw: &Raw<'a>, name| match raw.value() {
        Some(raw) => row(raw.get(), name, columns).map(Some),
        None => Ok(None),
    };
    // An image is the whole item: an attribute that it lacks has no value.
    let whole = |mut image: Row<'a>| {
        image.fill_nulls(|_| true);
        image
    };
    let after = if operation == RowOperation::Delete {
        image(&item.keys, "dynamodb.Keys")?
    } else {
        let name = "dynamodb.NewImage";
        let item = image(&item.new_image, name)?.ok_or_else(|| missing(name))?;
        Some(whole(item))
    };
    let before = image(&item.old_image, "dynamodb.OldImage")?.map(whole);
    Ok(Message::Row(RowChange {
        operation,
        table: Table::new(None, None, raw_text(&keys.table_name)),
        before,
        after,
        encoding: Encoding::Tagged,
        position: raw_text(&keys.event_id).map(|Str(id)| id.into_owned()),
        time: item.time()?,
        is_replay: is_replay(&keys.replay, &keys.lane),
    }))
}

fn item<'a>(raw: &Raw<'a>) -> Result<Item<'a>, Box<Refusal>> {
    let Some(raw) = raw.value() else {
        let message = "the record has no object `dynamodb`, as each record of a table has";
        return Err(other_format(message));
    };
    match serde_json::from_str::<Object<Item<'_>>>(raw.get()) {
        Ok(Object(item)) => Ok(item),
        Err(error) => Err(Box::new(
            wire::explain::<Item<'_>>(raw.get(), &error).of_field("dynamodb"),
        )),
    }
}

fn operation(name: &Raw<'_>) -> Result<RowOperation, Box<Refusal>> {
    match raw_text(name).as_ref().map(|Str(name)| &**name) {
        Some("INSERT") => Ok(RowOperation::Insert),
        Some("MODIFY") => Ok(RowOperation::Update),
        Some("REMOVE") => Ok(RowOperation::Delete),
        _ => Err(unknown_operation("eventName", "INSERT, MODIFY, REMOVE")),
    }
}

impl Item<'_> {
    /// Returns the time of the change, in milliseconds or microseconds by the settings of the
    /// stream, or in seconds. The magnitude decides: no unit reaches the years of another.
    fn time(&self) -> Result<Option<time::OffsetDateTime>, Box<Refusal>> {
        let digits = match raw_text(&self.approximate_creation_date_time) {
            Some(Str(digits)) => digits.len(),
            None => return Ok(None),
        };
        let nanos = match digits {
            ..=11 => 1_000_000_000,
            12..=14 => 1_000_000,
            _ => 1_000,
        };
        raw_time(
            &self.approximate_creation_date_time,
            "dynamodb.ApproximateCreationDateTime",
            nanos,
        )
    }
}

/// Decodes a tagged value. A path reaches into a map, or into the JSON of a text.
pub(super) fn cell<'a>(raw: &'a RawValue, path: &[Box<str>]) -> Result<Cell<'a>, Unreadable> {
    if raw.get() == "null" {
        return Ok(Cell::Null);
    }
    let (Str(tag), value) = only_entry(raw).ok_or(Unreadable)?;
    match (&*tag, path.split_first()) {
        ("NULL", _) => Ok(Cell::Null),
        ("S" | "B", None) => Ok(Cell::Text(json::text(value).ok_or(Unreadable)?)),
        ("N", None) => Ok(Cell::Number(number(value)?)),
        ("BOOL", None) => match value.get() {
            "true" => Ok(Cell::Bool(true)),
            "false" => Ok(Cell::Bool(false)),
            _ => Err(Unreadable),
        },
        ("M", Some((key, rest))) => match member(value.get(), key).map_err(|_| Unreadable)? {
            Some(inner) => cell(inner, rest),
            None => Ok(Cell::Null),
        },
        ("S", Some(_)) => {
            let text = json::text(value).ok_or(Unreadable)?;
            in_text(&text, path).map(Cell::into_owned)
        }
        _ => Err(Unreadable),
    }
}

/// Returns the digits of a number, which is a text of up to 38 digits.
fn number(value: &RawValue) -> Result<std::borrow::Cow<'_, str>, Unreadable> {
    let digits = json::text(value).ok_or(Unreadable)?;
    match serde_json::from_str::<serde_json::Number>(&digits) {
        Ok(_) => Ok(digits),
        Err(_) => Err(Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tagged_value_is_read_by_its_tag() {
        let text = |text: &'static str| Ok(Cell::Text(text.into()));
        let number = |text: &'static str| Ok(Cell::Number(text.into()));
        let digits = "12345678901234567890123456789012345678";
        let long = format!(r#"{{"N":"{digits}"}}"#);
        for (json, path, expected) in [
            (r#"{"S":"Ada"}"#, vec![], text("Ada")),
            (r#"{"S":""}"#, vec![], text("")),
            (r#"{"N":"-1.50"}"#, vec![], number("-1.50")),
            (&long, vec![], number(digits)),
            (r#"{"BOOL":true}"#, vec![], Ok(Cell::Bool(true))),
            (r#"{"NULL":true}"#, vec![], Ok(Cell::Null)),
            ("null", vec![], Ok(Cell::Null)),
            (r#"{"B":"AQI="}"#, vec![], text("AQI=")),
            (
                r#"{"M":{"city":{"S":"London"}}}"#,
                vec!["city"],
                text("London"),
            ),
            (
                r#"{"M":{"a":{"M":{"b":{"N":"1"}}}}}"#,
                vec!["a", "b"],
                number("1"),
            ),
            (r#"{"M":{}}"#, vec!["city"], Ok(Cell::Null)),
            (r#"{"NULL":true}"#, vec!["city"], Ok(Cell::Null)),
            (
                r#"{"S":"{\"city\":\"London\"}"}"#,
                vec!["city"],
                text("London"),
            ),
            (r#"{"M":{}}"#, vec![], Err(Unreadable)),
            (r#"{"L":[]}"#, vec![], Err(Unreadable)),
            (r#"{"SS":["a"]}"#, vec![], Err(Unreadable)),
            (r#"{"N":"x"}"#, vec![], Err(Unreadable)),
            (r#"{"N":1}"#, vec![], Err(Unreadable)),
            (r#"{"BOOL":"true"}"#, vec![], Err(Unreadable)),
            (r#"{"S":"a","N":"1"}"#, vec![], Err(Unreadable)),
            ("{}", vec![], Err(Unreadable)),
            (r#""Ada""#, vec![], Err(Unreadable)),
            (r#"{"N":"1"}"#, vec!["a"], Err(Unreadable)),
        ] {
            let path: Vec<Box<str>> = path.into_iter().map(Into::into).collect();
            let raw = serde_json::from_str(json).expect("JSON");
            assert_eq!(cell(raw, &path), expected, "{json}");
        }
    }
}
