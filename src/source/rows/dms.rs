//! AWS Database Migration Service, with Kinesis or Kafka as its target.
//! <https://docs.aws.amazon.com/dms/latest/userguide/CHAP_Target.Kinesis.html>

use serde::Deserialize;
use serde_json::value::RawValue;

use super::cell::Encoding;
use super::columns::Columns;
use super::row::row;
use super::table::Table;
use super::{
    Message, Read, RowChange, RowOperation, is_replay, missing, other_format, raw_text,
    unknown_operation,
};
use crate::json::{Object, Str};
use crate::model::{Field, Refusal, Stage, codes};
use crate::source::{change, wire};

type Raw<'a> = Field<&'a RawValue>;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Keys<'a> {
    #[serde(borrow, default)]
    data: Raw<'a>,
    #[serde(borrow, default)]
    before_image: Raw<'a>,
    #[serde(borrow, default)]
    metadata: Raw<'a>,
    #[serde(borrow, default)]
    replay: Raw<'a>,
    #[serde(borrow, default)]
    lane: Raw<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Metadata<'a> {
    #[serde(borrow, default)]
    record_type: Raw<'a>,
    #[serde(borrow, default)]
    operation: Raw<'a>,
    #[serde(borrow, default)]
    schema_name: Raw<'a>,
    #[serde(borrow, default)]
    table_name: Raw<'a>,
    /// The time at which DMS read the change.
    #[serde(borrow, default)]
    timestamp: Raw<'a>,
    #[serde(borrow, default)]
    commit_timestamp: Raw<'a>,
    #[serde(borrow, default)]
    transaction_id: Raw<'a>,
    #[serde(borrow, default)]
    transaction_record_id: Raw<'a>,
    #[serde(borrow, default)]
    stream_position: Raw<'a>,
}

/// The table of changes that DMS could not apply.
const EXCEPTIONS: &str = "awsdms_apply_exceptions";

/// Reads a record.
pub(super) fn read<'a>(text: &'a str, columns: &Columns) -> Read<'a> {
    let keys = match serde_json::from_str::<Object<Keys<'_>>>(text) {
        Ok(Object(keys)) => keys,
        Err(error) => return Err(Box::new(wire::explain::<Keys<'_>>(text, &error))),
    };
    let metadata = metadata(&keys.metadata)?;
    let table = raw_text(&metadata.table_name);
    if table.as_ref().is_some_and(|Str(name)| name == EXCEPTIONS) {
        return Ok(Message::Other("apply exception", true));
    }
    match raw_text(&metadata.record_type) {
        Some(Str(kind)) if kind == "data" => {}
        Some(Str(kind)) if kind == "control" => return Ok(Message::Other("control", true)),
        Some(_) => return Err(unknown_operation("metadata.record-type", "data, control")),
        None => return Err(no_record_of_dms()),
    }
    let operation = operation(&metadata)?;
    let image = |raw: &Raw<'a>, name| match raw.value() {
        Some(raw) => row(raw.get(), name, columns).map(Some),
        None => Ok(None),
    };
    let before = image(&keys.before_image, "before-image")?;
    let mut after = image(&keys.data, "data")?.ok_or_else(|| missing("data"))?;
    let is_whole = operation != "update";
    after.fill_nulls(|index| {
        // Nulls are left out by default. An image before an update has the columns that changed,
        // or all.
        is_whole || before.as_ref().is_some_and(|row| row.get(index).is_some())
    });
    Ok(Message::Row(RowChange {
        operation: match operation {
            "load" => RowOperation::Load,
            "insert" => RowOperation::Insert,
            "delete" => RowOperation::Delete,
            _ => RowOperation::Update,
        },
        table: Table::new(None, raw_text(&metadata.schema_name), table),
        before,
        after: Some(after),
        encoding: Encoding::Plain,
        position: metadata.position(),
        time: metadata.time()?,
        is_replay: is_replay(&keys.replay, &keys.lane),
    }))
}

fn no_record_of_dms() -> Box<Refusal> {
    other_format("the record has no `metadata.record-type`, as each record of DMS has")
}

fn metadata<'a>(raw: &Raw<'a>) -> Result<Metadata<'a>, Box<Refusal>> {
    let raw = raw.value().ok_or_else(no_record_of_dms)?;
    match serde_json::from_str::<Object<Metadata<'_>>>(raw.get()) {
        Ok(Object(metadata)) => Ok(metadata),
        Err(error) => Err(Box::new(
            wire::explain::<Metadata<'_>>(raw.get(), &error).of_field("metadata"),
        )),
    }
}

fn operation(metadata: &Metadata<'_>) -> Result<&'static str, Box<Refusal>> {
    let name = raw_text(&metadata.operation);
    ["load", "insert", "update", "delete"]
        .into_iter()
        .find(|known| name.as_ref().is_some_and(|Str(name)| name == known))
        .ok_or_else(|| unknown_operation("metadata.operation", "load, insert, update, delete"))
}

impl Metadata<'_> {
    /// Returns the change's position in the log of its database. A row of the full load has none.
    fn position(&self) -> Option<String> {
        match (
            raw_text(&self.transaction_id),
            raw_text(&self.transaction_record_id),
        ) {
            (Some(Str(transaction)), Some(Str(record))) => Some(format!("{transaction}:{record}")),
            _ => raw_text(&self.stream_position).map(|Str(text)| text.into_owned()),
        }
    }

    /// Returns the time of the commit; of a row of the full load, the time of its writing.
    fn time(&self) -> Result<Option<time::OffsetDateTime>, Box<Refusal>> {
        let (text, field) = match raw_text(&self.commit_timestamp) {
            Some(text) => (text, "metadata.commit-timestamp"),
            None => match raw_text(&self.timestamp) {
                Some(text) => (text, "metadata.timestamp"),
                None => return Ok(None),
            },
        };
        match change::time(&text.0) {
            Some(time) => Ok(Some(time)),
            None => Err(Box::new(
                Refusal::new(
                    Stage::Validate,
                    codes::INVALID_TIMESTAMP,
                    format!("{field}: allowed: an RFC 3339 time"),
                )
                .of_field(field),
            )),
        }
    }
}
