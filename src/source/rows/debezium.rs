//! Debezium: an envelope with the images before and after, with or without the schema of Kafka
//! Connect around it, or a row that `ExtractNewRecordState` flattened.
//! <https://debezium.io/documentation/reference/stable/connectors/postgresql.html>
//! <https://debezium.io/documentation/reference/stable/transformations/event-flattening.html>

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::cell::Encoding;
use super::row::{only_entry, row};
use super::table::Table;
use super::{
    Message, Read, RowChange, RowOperation, Source, is_replay, missing, other_format, raw_text,
    raw_time, unknown_operation,
};
use crate::json::{Object, Str};
use crate::model::{Field, Refusal};
use crate::source::wire;

type Raw<'a> = Field<&'a RawValue>;

/// The keys of a record that say which of its forms it has.
#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(borrow, default)]
    schema: Raw<'a>,
    #[serde(borrow, default)]
    payload: Raw<'a>,
    #[serde(borrow, default)]
    before: Raw<'a>,
    #[serde(borrow, default)]
    after: Raw<'a>,
    #[serde(borrow, default)]
    op: Raw<'a>,
    #[serde(borrow, default)]
    source: Raw<'a>,
    #[serde(borrow, default)]
    ts_ms: Raw<'a>,
    #[serde(borrow, default)]
    replay: Raw<'a>,
    #[serde(borrow, default)]
    lane: Raw<'a>,
    // of records that are no rows
    #[serde(borrow, default)]
    ddl: Raw<'a>,
    #[serde(borrow, default, rename = "tableChanges")]
    table_changes: Raw<'a>,
    #[serde(borrow, default)]
    status: Raw<'a>,
    #[serde(borrow, default)]
    event_count: Raw<'a>,
    // of other formats
    #[serde(borrow, default)]
    contact: Raw<'a>,
    #[serde(borrow, default)]
    metadata: Raw<'a>,
    #[serde(borrow, default)]
    dynamodb: Raw<'a>,
    // of flattened rows, where `add.fields` asks for them
    #[serde(borrow, default, rename = "__op")]
    flat_op: Raw<'a>,
    #[serde(borrow, default, rename = "__deleted")]
    flat_deleted: Raw<'a>,
    #[serde(borrow, default, rename = "__source_ts_ms")]
    flat_ts_ms: Raw<'a>,
    #[serde(borrow, default, rename = "__lsn", alias = "__source_lsn")]
    flat_lsn: Raw<'a>,
    #[serde(borrow, default, rename = "__db", alias = "__source_db")]
    flat_database: Raw<'a>,
    #[serde(borrow, default, rename = "__schema", alias = "__source_schema")]
    flat_schema: Raw<'a>,
    #[serde(borrow, default, rename = "__table", alias = "__source_table")]
    flat_table: Raw<'a>,
}

/// The origin of a change, as far as it is read.
#[derive(Default, Deserialize)]
struct Origin<'a> {
    #[serde(borrow, default)]
    ts_ms: Raw<'a>,
    #[serde(borrow, default)]
    db: Raw<'a>,
    #[serde(borrow, default)]
    schema: Raw<'a>,
    #[serde(borrow, default)]
    table: Raw<'a>,
    #[serde(borrow, default)]
    collection: Raw<'a>,
    // PostgreSQL
    #[serde(borrow, default)]
    lsn: Raw<'a>,
    // MySQL
    #[serde(borrow, default)]
    file: Raw<'a>,
    #[serde(borrow, default)]
    pos: Raw<'a>,
    #[serde(borrow, default)]
    row: Raw<'a>,
    // SQL Server
    #[serde(borrow, default)]
    change_lsn: Raw<'a>,
    #[serde(borrow, default)]
    event_serial_no: Raw<'a>,
    // Oracle
    #[serde(borrow, default)]
    scn: Raw<'a>,
    #[serde(borrow, default)]
    ssn: Raw<'a>,
    // others
    #[serde(borrow, default)]
    sequence: Raw<'a>,
}

/// Reads a record.
pub(super) fn read<'a>(text: &'a str, source: &Source) -> Read<'a> {
    if let Some((schema, payload)) = source.schemas.split(text)
        && let Ok(Object(keys)) = serde_json::from_str(payload)
    {
        return message(&keys, payload, Some(schema), source);
    }
    let keys = keys(text)?;
    let is_replay = is_replay(&keys.replay, &keys.lane);
    let wraps = keys.schema.is_mentioned() && !keys.op.is_mentioned();
    let message = match keys.payload {
        Field::Null if wraps => return Ok(Message::Tombstone),
        Field::Value(payload) if wraps && payload.get().starts_with('{') => message(
            &self::keys(payload.get())?,
            payload.get(),
            keys.schema.value().map(|raw| raw.get()),
            source,
        )?,
        _ => message(&keys, text, None, source)?,
    };
    Ok(match message {
        Message::Row(mut row) => {
            row.is_replay |= is_replay;
            Message::Row(row)
        }
        other => other,
    })
}

fn keys(text: &str) -> Result<Keys<'_>, Box<Refusal>> {
    match serde_json::from_str::<Object<Keys<'_>>>(text) {
        Ok(Object(keys)) => Ok(keys),
        Err(error) => Err(Box::new(wire::explain::<Keys<'_>>(text, &error))),
    }
}

fn message<'a>(
    keys: &Keys<'a>,
    text: &'a str,
    schema: Option<&'a str>,
    source: &Source,
) -> Read<'a> {
    if keys.is_envelope() {
        envelope(keys, schema, source)
    } else {
        flattened(keys, text, schema, source)
    }
}

impl Keys<'_> {
    /// Returns whether the record is an envelope, and not a row that has columns of these names. An
    /// envelope that a cloud event contains has its images only.
    fn is_envelope(&self) -> bool {
        let is_object = |raw: &Raw<'_>| raw.value().is_some_and(|raw| raw.get().starts_with('{'));
        let is_image = |raw: &Raw<'_>| matches!(raw, Field::Null) || is_object(raw);
        let has_images = is_image(&self.before) && is_image(&self.after);
        let is_told = self.op.is_mentioned() && is_object(&self.source);
        is_told || (has_images && (is_object(&self.before) || is_object(&self.after)))
    }
}

fn envelope<'a>(keys: &Keys<'a>, schema: Option<&'a str>, source: &Source) -> Read<'a> {
    let operation = match operation(&keys.op, "op")? {
        Some(Operation::Row(operation)) => operation,
        Some(Operation::Other(kind)) => return Ok(Message::Other(kind, true)),
        None if keys.after.value().is_some() => RowOperation::Update,
        None => RowOperation::Delete,
    };
    let origin = origin(&keys.source)?;
    let image = |raw: &Raw<'a>, name| match raw.value() {
        Some(raw) => row(raw.get(), name, &source.columns).map(Some),
        None => Ok(None),
    };
    let (before, after) = (image(&keys.before, "before")?, image(&keys.after, "after")?);
    if after.is_none() && operation != RowOperation::Delete {
        return Err(missing("after"));
    }
    let described = if after.is_some() { "after" } else { "before" };
    Ok(Message::Row(RowChange {
        operation,
        table: Table::new(
            raw_text(&origin.db),
            raw_text(&origin.schema),
            raw_text(&origin.table).or_else(|| raw_text(&origin.collection)),
        ),
        before,
        after,
        encoding: encoding(schema, Some(described), source)?,
        position: origin.position(),
        time: match &origin.ts_ms {
            Field::Value(_) => time(&origin.ts_ms, "source.ts_ms")?,
            _ => time(&keys.ts_ms, "ts_ms")?,
        },
        is_replay: false,
    }))
}

fn encoding(
    schema: Option<&str>,
    image: Option<&'static str>,
    source: &Source,
) -> Result<Encoding, Box<Refusal>> {
    Ok(Encoding::Connect(match schema {
        Some(schema) => source.schemas.types(schema, image, &source.columns)?,
        None => Arc::default(),
    }))
}

fn origin<'a>(source: &Raw<'a>) -> Result<Origin<'a>, Box<Refusal>> {
    let Some(raw) = source.value() else {
        return Ok(Origin::default());
    };
    match serde_json::from_str::<Object<Origin<'a>>>(raw.get()) {
        Ok(Object(origin)) => Ok(origin),
        Err(error) => Err(Box::new(
            wire::explain::<Origin<'_>>(raw.get(), &error).of_field("source"),
        )),
    }
}

impl Origin<'_> {
    /// Returns the change's position in the log of its database.
    fn position(&self) -> Option<String> {
        let positions = [
            [&self.lsn, &Field::Absent, &Field::Absent],
            [&self.file, &self.pos, &self.row],
            [&self.change_lsn, &self.event_serial_no, &Field::Absent],
            [&self.scn, &self.ssn, &Field::Absent],
            [&self.sequence, &Field::Absent, &Field::Absent],
        ];
        positions.into_iter().find_map(|[first, others @ ..]| {
            let mut position = raw_text(first)?.0.into_owned();
            for other in others.into_iter().filter_map(raw_text) {
                position.push(':');
                position.push_str(&other.0);
            }
            Some(position)
        })
    }
}

/// An operation in a record.
enum Operation {
    Row(RowOperation),
    /// A record that changes no single row.
    Other(&'static str),
}

fn operation(op: &Raw<'_>, field: &str) -> Result<Option<Operation>, Box<Refusal>> {
    if !op.is_mentioned() {
        return Ok(None);
    }
    let Some(Str(name)) = raw_text(op) else {
        return Err(unknown_operation(field, ALLOWED));
    };
    Ok(Some(match &*name {
        "c" => Operation::Row(RowOperation::Insert),
        "u" | "r" => Operation::Row(RowOperation::Update),
        "d" => Operation::Row(RowOperation::Delete),
        "t" => Operation::Other("truncate"),
        "m" => Operation::Other("logical message"),
        _ => return Err(unknown_operation(field, ALLOWED)),
    }))
}

const ALLOWED: &str = "c, u, d, r, t, m";

fn time(raw: &Raw<'_>, field: &str) -> Result<Option<OffsetDateTime>, Box<Refusal>> {
    raw_time(raw, field, 1_000_000)
}

fn flattened<'a>(
    keys: &Keys<'a>,
    text: &'a str,
    schema: Option<&'a str>,
    source: &Source,
) -> Read<'a> {
    let row = row(text, "", &source.columns)?;
    let has_id = row.get(source.columns.id.index).is_some();
    if let (false, Some(message)) = (has_id, other(keys, text)) {
        return message;
    }
    if has_id && !keys.flat_deleted.is_mentioned() {
        source
            .has_deletes_in_tombstones
            .store(true, Ordering::Relaxed);
    }
    let is_deleted = raw_text(&keys.flat_deleted).is_some_and(|Str(text)| text == "true");
    let operation = match operation(&keys.flat_op, "__op")? {
        Some(Operation::Other(kind)) => return Ok(Message::Other(kind, true)),
        _ if is_deleted => RowOperation::Delete,
        Some(Operation::Row(operation)) => operation,
        None => RowOperation::Update,
    };
    let (before, after) = match operation {
        RowOperation::Delete => (Some(row), None),
        _ => (None, Some(row)),
    };
    Ok(Message::Row(RowChange {
        operation,
        table: Table::new(
            raw_text(&keys.flat_database),
            raw_text(&keys.flat_schema),
            raw_text(&keys.flat_table),
        ),
        before,
        after,
        encoding: encoding(schema, None, source)?,
        position: raw_text(&keys.flat_lsn).map(|Str(text)| Cow::into_owned(text)),
        time: time(&keys.flat_ts_ms, "__source_ts_ms")?,
        is_replay: false,
    }))
}

/// Returns the kind of a record without the column of the contact's id; `None` where it is a row
/// that lacks this column.
fn other<'a>(keys: &Keys<'a>, text: &'a str) -> Option<Read<'a>> {
    let is_heartbeat = || {
        let only = serde_json::from_str(text).ok().and_then(only_entry);
        only.is_some_and(|(name, _)| name.0 == "ts_ms")
    };
    if keys.ddl.is_mentioned() || keys.table_changes.is_mentioned() {
        Some(Ok(Message::Other("schema change", true)))
    } else if keys.status.is_mentioned() && keys.event_count.is_mentioned() {
        Some(Ok(Message::Other("transaction", false)))
    } else if keys.ts_ms.is_mentioned() && is_heartbeat() {
        Some(Ok(Message::Other("heartbeat", false)))
    } else if [&keys.contact, &keys.metadata, &keys.dynamodb]
        .iter()
        .any(|key| key.value().is_some_and(|raw| raw.get().starts_with('{')))
    {
        let message = "the record is neither an envelope of Debezium nor a flattened row: its \
                       keys are those of another format";
        Some(Err(other_format(message)))
    } else {
        None
    }
}
