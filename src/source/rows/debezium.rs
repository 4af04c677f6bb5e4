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
use super::row::{member, only_entry, row};
use super::table::Table;
use super::{
    Message, Read, RowChange, RowOperation, Source, is_replay, missing, other_format, raw_text,
    raw_time, unknown_operation,
};
use crate::json::{Object, Str};
use crate::model::{Field, Refusal};
use crate::source::layers::DebeziumAttributes;
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
    #[serde(borrow, default)]
    data_collections: Raw<'a>,
    // of other formats
    #[serde(borrow, default)]
    contact: Raw<'a>,
    #[serde(borrow, default)]
    operation: Raw<'a>,
    #[serde(borrow, default)]
    metadata: Raw<'a>,
    #[serde(borrow, default)]
    dynamodb: Raw<'a>,
    #[serde(borrow, default, rename = "eventName")]
    event_name: Raw<'a>,
    #[serde(borrow, default)]
    database: Raw<'a>,
    #[serde(borrow, default)]
    table: Raw<'a>,
    #[serde(borrow, default)]
    data: Raw<'a>,
    #[serde(borrow, default, rename = "detail-type")]
    detail_type: Raw<'a>,
    #[serde(borrow, default)]
    detail: Raw<'a>,
    #[serde(borrow, default, rename = "messageType")]
    message_type: Raw<'a>,
    #[serde(borrow, default, rename = "logEvents")]
    log_events: Raw<'a>,
    // of flattened rows, where `add.fields` asks for them: of the envelope, or of its source
    #[serde(borrow, default, rename = "__op")]
    flat_op: Raw<'a>,
    #[serde(borrow, default, rename = "__deleted")]
    flat_deleted: Raw<'a>,
    #[serde(borrow, default, rename = "__source_ts_ms")]
    flat_ts_ms: Raw<'a>,
    #[serde(borrow, default, rename = "__lsn")]
    flat_lsn: Raw<'a>,
    #[serde(borrow, default, rename = "__source_lsn")]
    flat_source_lsn: Raw<'a>,
    #[serde(borrow, default, rename = "__db")]
    flat_database: Raw<'a>,
    #[serde(borrow, default, rename = "__source_db")]
    flat_source_database: Raw<'a>,
    #[serde(borrow, default, rename = "__schema")]
    flat_schema: Raw<'a>,
    #[serde(borrow, default, rename = "__source_schema")]
    flat_source_schema: Raw<'a>,
    #[serde(borrow, default, rename = "__table")]
    flat_table: Raw<'a>,
    #[serde(borrow, default, rename = "__source_table")]
    flat_source_table: Raw<'a>,
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

/// Reads a record. `event` has the attributes of the cloud event around it.
pub(super) fn read<'a>(
    text: &'a str,
    event: Option<&'a DebeziumAttributes>,
    source: &Source,
) -> Read<'a> {
    if let Some((schema, payload)) = source.schemas.split(text)
        && let Ok(Object(keys)) = serde_json::from_str(payload)
    {
        return message(keys, payload, Some(schema), event, source);
    }
    let keys = keys(text)?;
    let is_replay = is_replay(&keys.replay, &keys.lane);
    let wraps = keys.schema.is_mentioned() && !keys.op.is_mentioned();
    let message = match keys.payload {
        Field::Null if wraps => return Ok(Message::Tombstone),
        Field::Value(payload) if wraps && payload.get().starts_with('{') => message(
            self::keys(payload.get())?,
            payload.get(),
            keys.schema.value().map(|raw| raw.get()),
            event,
            source,
        )?,
        _ => message(keys, text, None, event, source)?,
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
    mut keys: Keys<'a>,
    text: &'a str,
    schema: Option<&'a str>,
    event: Option<&'a DebeziumAttributes>,
    source: &Source,
) -> Read<'a> {
    if let Some(event) = event {
        keys.set_absent(event);
    }
    let mut message = if keys.is_envelope() {
        envelope(&keys, schema, source)?
    } else {
        flattened(&keys, text, schema, source)?
    };
    if let Message::Row(row) = &mut message
        && row.table.is_none()
    {
        row.table = event.and_then(table);
    }
    Ok(message)
}

/// Returns the table that a cloud event names.
fn table(event: &DebeziumAttributes) -> Option<Table<'_>> {
    let parts = [&event.database, &event.schema, &event.table];
    let [database, schema, table] =
        parts.map(|part| part.as_deref().map(|text| Str(Cow::Borrowed(text))));
    Table::new(database, schema, table)
}

impl<'a> Keys<'a> {
    /// Takes the operation from a cloud event where the record has none.
    fn set_absent(&mut self, event: &'a DebeziumAttributes) {
        let Some(operation) = event.operation.as_deref() else {
            return;
        };
        for op in [&mut self.op, &mut self.flat_op] {
            if !op.is_mentioned() {
                *op = Field::Value(operation);
            }
        }
    }

    /// Returns whether the record is an envelope, and not a row that has columns of these names. An
    /// envelope that a cloud event contains has its images only, and of a truncate or a delete
    /// without a key not even these.
    fn is_envelope(&self) -> bool {
        let is_image = |raw: &Raw<'_>| matches!(raw, Field::Null) || is_object(raw);
        let has_images = is_image(&self.before) && is_image(&self.after);
        let is_told = self.op.is_mentioned() && is_object(&self.source);
        let has_image = is_object(&self.before) || is_object(&self.after);
        is_told || (has_images && (has_image || self.op.is_mentioned()))
    }
}

fn is_object(raw: &Raw<'_>) -> bool {
    raw.value().is_some_and(|raw| raw.get().starts_with('{'))
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
    if let Some(kind) = keys.other(text, has_id) {
        return Ok(kind);
    }
    if keys.is_of_another_format() {
        let message = "the record is neither an envelope of Debezium nor a flattened row: its \
                       keys are those of another format";
        return Err(other_format(message));
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
            either(&keys.flat_database, &keys.flat_source_database),
            either(&keys.flat_schema, &keys.flat_source_schema),
            either(&keys.flat_table, &keys.flat_source_table),
        ),
        before,
        after,
        encoding: encoding(schema, None, source)?,
        position: either(&keys.flat_lsn, &keys.flat_source_lsn)
            .map(|Str(text)| Cow::into_owned(text)),
        time: time(&keys.flat_ts_ms, "__source_ts_ms")?,
        is_replay: false,
    }))
}

fn either<'a>(one: &Raw<'a>, other: &Raw<'a>) -> Option<Str<'a>> {
    raw_text(one).or_else(|| raw_text(other))
}

impl Keys<'_> {
    /// Returns the message of a record that changes no row. The keys of such records may be names
    /// of columns, also of the contact's id: a row that has it needs further keys to be none.
    fn other<'a>(&self, text: &str, has_id: bool) -> Option<Message<'a>> {
        let is_schema_change = self.ddl.is_mentioned() || self.table_changes.is_mentioned();
        if is_schema_change && (is_object(&self.source) || !has_id) {
            return Some(Message::Other("schema change", true));
        }
        let is_transaction = self.event_count.is_mentioned()
            && raw_text(&self.status).is_some_and(|Str(name)| name == "BEGIN" || name == "END");
        if is_transaction && (self.data_collections.is_mentioned() || !has_id) {
            return Some(Message::Other("transaction", false));
        }
        if self.ts_ms.is_mentioned()
            && serde_json::from_str(text)
                .ok()
                .and_then(only_entry)
                .is_some()
        {
            return Some(Message::Other("heartbeat", false));
        }
        None
    }

    /// Returns whether the keys are those of a format that is not Debezium's.
    fn is_of_another_format(&self) -> bool {
        let is_dms = match self.metadata {
            Field::Value(raw) => matches!(member(raw.get(), "record-type"), Ok(Some(_))),
            _ => false,
        };
        let is_contact_change = is_object(&self.contact) && self.operation.is_mentioned();
        let is_dynamodb = is_object(&self.dynamodb) && self.event_name.is_mentioned();
        let is_maxwell =
            is_object(&self.data) && self.database.is_mentioned() && self.table.is_mentioned();
        let is_event_bridge = is_object(&self.detail) && self.detail_type.is_mentioned();
        let is_cloudwatch_logs = self.log_events.is_mentioned() && self.message_type.is_mentioned();
        is_contact_change
            || is_dms
            || is_dynamodb
            || is_maxwell
            || is_event_bridge
            || is_cloudwatch_logs
    }
}
