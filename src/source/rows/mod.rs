//! Decodes the rows of change feeds. One decoder for each format reads a record as a [`RowChange`];
//! `mapping.rs` makes it a [`ContactChange`] by the declared columns.

mod cell;
mod columns;
mod connect;
mod debezium;
mod debezium_schema;
mod decimal;
mod dms;
mod dynamodb;
mod key;
mod mapping;
mod row;
mod table;
mod temporal;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::value::RawValue;
use time::OffsetDateTime;

use self::cell::Encoding;
use self::columns::Columns;
pub(super) use self::columns::{CONTACT_FIELDS, is_contact_field};
use self::debezium_schema::SchemaCache;
use self::key::KeyTable;
use self::row::Row;
use self::table::Table;
use super::layers::DebeziumAttributes;
use super::settings::{Format, SourceSettings, Tombstones};
use super::{NO_DATA, change};
use crate::json::Str;
use crate::model::codes;
use crate::model::{ContactChange, Field, Refusal, Stage};

/// The record that a row arrived in.
#[derive(Clone, Copy)]
pub struct RowRecord<'a> {
    /// The data without its layers; `None` where the record has none that can be read.
    pub data: Option<&'a [u8]>,
    /// Whether the record itself has no content. Data that is empty within a layer is no tombstone.
    pub is_tombstone: bool,
    /// The partition key of Kinesis, or the key of Kafka.
    pub key: Option<&'a [u8]>,
    /// The id of the cloud event around the data.
    pub event_id: Option<&'a str>,
    /// The time of the cloud event around the data, as it is written.
    pub occurred_at: Option<&'a str>,
    /// The attributes of Debezium in the cloud event around the data.
    pub debezium: Option<&'a DebeziumAttributes>,
    /// The record's position in its stream: the event's id where nothing else names it.
    pub position: &'a dyn fmt::Display,
    /// The record's own timestamp, or else its arrival: the time of the change where the source
    /// names none.
    pub written_at: OffsetDateTime,
    /// The arrival of the record.
    pub arrived_at: OffsetDateTime,
    /// Whether the event marks the record as put back.
    pub is_replay: bool,
}

/// The content of a record.
#[derive(Clone, Debug)]
pub enum Decoded {
    /// A change of a contact.
    Change(Box<ContactChange>),
    /// The record is no change to synchronize.
    Filtered(Filtered),
}

impl Decoded {
    /// Returns the change, filtered or not; `None` for a record that is none.
    pub fn into_change(self) -> Option<Box<ContactChange>> {
        match self {
            Self::Change(change) => Some(change),
            Self::Filtered(filtered) => filtered.change,
        }
    }
}

/// Why a record is filtered before it is routed.
#[derive(Clone, Debug)]
pub struct Filtered {
    /// The code of the reason.
    pub code: &'static str,
    /// The change, where the record is one.
    pub change: Option<Box<ContactChange>>,
    /// The kind of the record, where an operator should know of it.
    pub warning: Option<&'static str>,
}

/// The operation of a change feed on a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RowOperation {
    Insert,
    /// An update, or the read of a row for a snapshot.
    Update,
    /// The read of a row by a full load, whose time is that of its writing.
    Load,
    Delete,
}

/// The change of a row, as each format carries it.
#[derive(Clone, Debug)]
struct RowChange<'a> {
    operation: RowOperation,
    /// The table; `None` where the record does not name it.
    table: Option<Table<'a>>,
    /// The row before the change, or some of its columns.
    before: Option<Row<'a>>,
    /// The row after the change; of a delete at most the columns of its key.
    after: Option<Row<'a>>,
    encoding: Encoding,
    /// The position of the change in the source.
    position: Option<String>,
    /// The time of the change.
    time: Option<OffsetDateTime>,
    /// The record was put back into the stream by a replay, or comes from a back-fill.
    is_replay: bool,
}

/// A record, read in its format.
#[derive(Clone, Debug)]
enum Message<'a> {
    Row(RowChange<'a>),
    /// No row: the kind of the record, and whether an operator should know of it.
    Other(&'static str, bool),
    /// The key's row is gone.
    Tombstone,
}

type Read<'a> = Result<Message<'a>, Box<Refusal>>;

/// Decodes the rows of one source. A clone is the same decoder.
#[derive(Clone, Debug)]
pub struct RowDecoder(Arc<Source>);

/// The settings of a source, compiled.
#[derive(Debug)]
struct Source {
    format: Format,
    tables: Vec<String>,
    changed_only: bool,
    key: Box<str>,
    tombstones: Tombstones,
    columns: Columns,
    /// The types of the columns, by the schemas of Debezium's records.
    schemas: SchemaCache,
    /// Whether a row was flattened by a transformation whose only deletes are tombstones.
    has_deletes_in_tombstones: AtomicBool,
}

impl fmt::Debug for RowRecord<'_> {
    /// Prints the position only: the other fields hold contact data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowRecord({})", self.position)
    }
}

impl RowDecoder {
    /// Compiles checked settings. `None` where the records hold no rows.
    pub fn new(settings: &SourceSettings) -> Option<Self> {
        if !settings.format.has_rows() {
            return None;
        }
        Some(Self(Arc::new(Source {
            format: settings.format,
            tables: settings.tables.clone(),
            changed_only: settings.changed_only,
            key: settings.key.as_str().into(),
            tombstones: settings.tombstones,
            columns: Columns::new(settings),
            schemas: SchemaCache::default(),
            has_deletes_in_tombstones: AtomicBool::new(false),
        })))
    }

    /// Decodes the row in a record.
    ///
    /// # Errors
    /// A refusal with a code of its own for each violation of contract section 1.
    pub fn decode(&self, record: RowRecord<'_>) -> Result<Decoded, Box<Refusal>> {
        self.0.decode(record)
    }
}

impl Source {
    fn decode(&self, record: RowRecord<'_>) -> Result<Decoded, Box<Refusal>> {
        match self.read(record)? {
            Message::Row(row) if !self.takes(row.table.as_ref()) => {
                Ok(filtered(codes::OTHER_TABLE, None))
            }
            Message::Row(row) => mapping::decoded(&row, record, self),
            Message::Other(kind, warns) => {
                let warning = warns.then_some(kind);
                Ok(filtered(codes::NOT_A_ROW_CHANGE, warning))
            }
            Message::Tombstone => self.tombstone(record),
        }
    }

    fn read<'a>(&self, record: RowRecord<'a>) -> Read<'a> {
        if record.is_tombstone && self.format == Format::Debezium {
            return Ok(Message::Tombstone);
        }
        let data = match record.data {
            Some(data) if !data.is_empty() => data,
            Some(_) => return Err(refuse(codes::EMPTY_DATA, "the record's data is empty")),
            None => return Err(refuse(codes::MISSING_DATA, NO_DATA)),
        };
        let text = str::from_utf8(data)
            .map_err(|_| refuse(codes::INVALID_UTF8, "the record's data is not UTF-8"))?;
        match self.format {
            Format::Dms => dms::read(text, &self.columns),
            Format::Dynamodb => dynamodb::read(text, &self.columns),
            Format::Debezium | Format::ContactChange => debezium::read(text, record.debezium, self),
        }
    }

    /// Returns whether the table's rows are synchronized. A record that names no table is of the
    /// only table of its stream.
    fn takes(&self, table: Option<&Table<'_>>) -> bool {
        match table {
            Some(table) if !self.tables.is_empty() => {
                self.tables.iter().any(|name| table.is_named(name))
            }
            _ => true,
        }
    }

    /// Decodes a record without data.
    fn tombstone(&self, record: RowRecord<'_>) -> Result<Decoded, Box<Refusal>> {
        if self.tombstones == Tombstones::Filter {
            let is_delete = self.has_deletes_in_tombstones.load(Ordering::Relaxed);
            let warning = is_delete.then_some("tombstone of a flattened feed");
            return Ok(filtered(codes::NOT_A_ROW_CHANGE, warning));
        }
        if let Some(table) = KeyTable::of(record.key)
            && !self.tables.is_empty()
            && !self.tables.iter().any(|name| table.is_named(name))
        {
            let warning = (!table.is_whole()).then_some("tombstone of an unknown table");
            return Ok(filtered(codes::OTHER_TABLE, warning));
        }
        let Some(id) = key::contact_id(record.key, &self.key) else {
            let warning = Some("tombstone without a readable key");
            return Ok(filtered(codes::NOT_A_ROW_CHANGE, warning));
        };
        let delete = mapping::deleted(&id, record, self)?;
        Ok(Decoded::Change(delete))
    }
}

/// Returns whether the top level of a record says that a replay put it back, or that it is of a
/// back-fill.
fn is_replay(replay: &Field<&RawValue>, lane: &Field<&RawValue>) -> bool {
    let is_replay = replay.value().is_some_and(|raw| raw.get() == "true");
    is_replay || change::is_backfill(lane.value().copied())
}

/// Returns a text, or the digits of a number; `None` for other values.
fn raw_text<'a>(raw: &Field<&'a RawValue>) -> Option<Str<'a>> {
    match cell::plain(raw.value()?, &[]).ok()?.into_text().ok()? {
        Field::Value(text) => Some(text),
        _ => None,
    }
}

/// Reads a time since 1970, given in units of so many nanoseconds.
fn raw_time(
    raw: &Field<&RawValue>,
    field: &str,
    nanos: i128,
) -> Result<Option<OffsetDateTime>, Box<Refusal>> {
    if raw.value().is_none() {
        return Ok(None);
    }
    let number = raw_text(raw).and_then(|Str(text)| text.parse::<i64>().ok());
    let time = number.and_then(|number| {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(number) * nanos).ok()
    });
    if time.is_some() {
        return Ok(time);
    }
    let message = format!("{field}: allowed: a time since 1970, as a whole number");
    let refusal = Refusal::new(Stage::Validate, codes::INVALID_TIMESTAMP, message);
    Err(Box::new(refusal.of_field(field)))
}

fn filtered(code: &'static str, warning: Option<&'static str>) -> Decoded {
    Decoded::Filtered(Filtered {
        code,
        change: None,
        warning,
    })
}

fn refuse(code: &'static str, message: &str) -> Box<Refusal> {
    Box::new(Refusal::new(Stage::Decode, code, message))
}

/// Refuses a record that another format than the declared one explains better.
fn other_format(message: &str) -> Box<Refusal> {
    refuse(codes::UNKNOWN_FORMAT, message)
}

fn unknown_operation(field: &str, allowed: &str) -> Box<Refusal> {
    let message = format!("{field}: allowed: {allowed}");
    Box::new(Refusal::new(Stage::Validate, codes::UNKNOWN_OPERATION, message).of_field(field))
}

fn missing(field: &str) -> Box<Refusal> {
    let message = format!("{field}: is required");
    Box::new(Refusal::new(Stage::Validate, codes::MISSING_FIELD, message).of_field(field))
}

#[cfg(test)]
mod tests;
