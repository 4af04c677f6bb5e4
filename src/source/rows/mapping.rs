//! Maps the change of a row to the change of a contact, by the declared columns.

use std::borrow::Cow;

use super::super::change;
use super::super::wire::{Named, Person};
use super::cell::{Cell, Unreadable};
use super::columns::{Column, Columns, Texts};
use super::row::Row;
use super::{Decoded, Filtered, RowChange, RowOperation, RowRecord, Source, key};
use crate::json::Str;
use crate::model::codes;
use crate::model::{
    Attributes, Contact, ContactChange, ContactId, ContactType, Field, Operation, Refusal,
    Rejection, Stage, VersionSource,
};

type Validated<T> = Result<T, Box<Refusal>>;

/// Returns the change of the row's contact, or the reason why it is filtered.
pub(super) fn decoded(
    row: &RowChange<'_>,
    record: RowRecord<'_>,
    source: &Source,
) -> Validated<Decoded> {
    let images = Images {
        row,
        columns: &source.columns,
    };
    let operation = images.operation();
    let mut contact_id = None;
    let change = images.id(record, source).and_then(|id| {
        let change = images.change(&id, operation, record, source);
        contact_id = ContactId::new(&id);
        change
    });
    change.map_err(|mut refusal| {
        let id = contact_id.as_ref().map_or("", ContactId::as_str);
        refusal.event_id = Some(event_id(row.position.as_deref(), record, id));
        refusal.contact_id = contact_id.as_ref().map(|id| id.as_str().into());
        refusal.operation = Some(operation);
        refusal
    })
}

/// Returns the delete of the contact `id`, of which no row is left.
pub(super) fn deleted(
    id: &str,
    record: RowRecord<'_>,
    source: &Source,
) -> Validated<Box<ContactChange>> {
    let person = Person {
        id: Field::Value(Str(Cow::Borrowed(id))),
        kind: source.columns.only_type(),
        ..Person::default()
    };
    Ok(Box::new(ContactChange {
        event_id: event_id(None, record, id),
        operation: Operation::Delete,
        occurred_at: change::in_time(record.written_at, record.arrived_at)?,
        version: None,
        version_source: VersionSource::default(),
        is_load: false,
        replay: record.is_replay,
        previous_type: None,
        contact: change::deleted(&person)?,
        whole: None,
    }))
}

/// Makes the event's id of the position in the source, which rows of a snapshot share, and the
/// contact's id; or else takes that of the cloud event, or the record's position.
fn event_id(position: Option<&str>, record: RowRecord<'_>, id: &str) -> Box<str> {
    let text = match (position, record.event_id) {
        (Some(position), _) => format!("{position}:{id}"),
        (None, Some(event_id)) => event_id.to_owned(),
        (None, None) => match record.position.to_string() {
            position if position.is_empty() => id.to_owned(),
            position => position,
        },
    };
    match text.char_indices().nth(change::LONGEST_EVENT_ID) {
        Some((end, _)) => text[..end].into(),
        None => text.into(),
    }
}

fn unreadable(column: &Column) -> Box<Refusal> {
    let reason = if column.is_boolean {
        "it is none of the booleans that `source.booleans` declares"
    } else if column.is_number {
        "it is no number, which `source.numbers` declares"
    } else {
        "its type needs the schema of the record, or has no form as text"
    };
    let message = format!(
        "the value of the column `{}` cannot be read: {reason}",
        column.name
    );
    Box::new(
        Refusal::new(Stage::Validate, codes::COLUMN_UNREADABLE, message).of_field(&*column.name),
    )
}

/// The images of a row, read by the declared columns.
struct Images<'r, 'a> {
    row: &'r RowChange<'a>,
    columns: &'r Columns,
}

impl<'a> Images<'_, 'a> {
    fn cell(&self, image: Option<&Row<'a>>, column: &Column) -> Validated<Cell<'a>> {
        self.try_cell(image, column)
            .map_err(|Unreadable| unreadable(column))
    }

    fn try_cell(&self, image: Option<&Row<'a>>, column: &Column) -> Result<Cell<'a>, Unreadable> {
        match image {
            Some(row) => self.row.encoding.cell(row, column),
            None => Ok(Cell::Absent),
        }
    }

    fn before(&self) -> Option<&Row<'a>> {
        self.row.before.as_ref()
    }

    fn after(&self) -> Option<&Row<'a>> {
        self.row.after.as_ref()
    }

    /// Returns the operation on the contact. An unreadable mark of a soft delete is reported later.
    fn operation(&self) -> Operation {
        match self.row.operation {
            RowOperation::Delete => Operation::Delete,
            _ if self.is_deleted(self.after()).unwrap_or(false) => Operation::Delete,
            RowOperation::Insert => Operation::Create,
            RowOperation::Update | RowOperation::Load => Operation::Update,
        }
    }

    /// Returns whether an image is of a row that is deleted, though it exists.
    fn is_deleted(&self, image: Option<&Row<'a>>) -> Validated<bool> {
        match &self.columns.deleted {
            Some(column) => Ok(self.cell(image, column)?.is_deleted()),
            None => Ok(false),
        }
    }

    fn id(&self, record: RowRecord<'a>, source: &Source) -> Validated<Cow<'a, str>> {
        let column = &self.columns.id;
        let is_delete = self.row.operation == RowOperation::Delete;
        let images = [self.after(), self.before().filter(|_| is_delete)];
        for image in images {
            let text = self.cell(image, column)?.into_text();
            if let Field::Value(Str(id)) = text.map_err(|Unreadable| unreadable(column))? {
                return Ok(id);
            }
        }
        if let Some(id) = key::contact_id(record.key, &source.key).filter(|_| is_delete) {
            return Ok(id);
        }
        let message = format!(
            "contact.id: is required; the row has no value in the column `{}`",
            column.name
        );
        Err(Box::new(
            Refusal::new(Stage::Validate, codes::MISSING_FIELD, message).of_field("contact.id"),
        ))
    }

    fn change(
        &self,
        id: &str,
        operation: Operation,
        record: RowRecord<'_>,
        source: &Source,
    ) -> Validated<Decoded> {
        let mut change = self.bare_change(id, operation, record)?;
        if operation == Operation::Delete {
            let is_again = self.row.operation != RowOperation::Delete
                && source.changed_only
                && self.is_deleted(self.before())?;
            return Ok(if is_again {
                no_change(change)
            } else {
                Decoded::Change(change)
            });
        }
        self.is_deleted(self.after())?;
        let sends_all = !source.changed_only || self.is_to_be_sent_whole(&change)?;
        let (texts, has_values) = self.texts(sends_all)?;
        if !sends_all && !has_values && self.is_type_known_before() {
            return Ok(no_change(change));
        }
        change.contact = self.contact(id, texts)?;
        if !sends_all {
            change.whole = Some(self.whole(id));
        }
        Ok(Decoded::Change(change))
    }

    fn contact(&self, id: &str, texts: Texts<'_>) -> Validated<Contact> {
        let mut person = texts.into_person();
        person.id = Field::Value(Str(Cow::Borrowed(id)));
        person.kind = self.kind_after()?;
        change::contact(&mut person)
    }

    /// Returns the contact with the columns that did not change. An invalid value among them
    /// matters only where the destination does not have the contact.
    fn whole(&self, id: &str) -> Result<Box<Contact>, Box<Rejection>> {
        let contact = self
            .texts(true)
            .and_then(|(texts, _)| self.contact(id, texts));
        match contact {
            Ok(contact) => Ok(Box::new(contact)),
            Err(refusal) => Err(Box::new(refusal.rejection)),
        }
    }

    /// Returns the change with the contact's identity and type.
    fn bare_change(
        &self,
        id: &str,
        operation: Operation,
        record: RowRecord<'_>,
    ) -> Validated<Box<ContactChange>> {
        let time = match (self.row.time, record.occurred_at) {
            (Some(time), _) => time,
            (None, Some(text)) => change::parsed_time(text)?,
            (None, None) => record.written_at,
        };
        let kind = match operation {
            Operation::Delete => self.kind_of_deleted(),
            _ => self.kind_after()?,
        };
        let person = Person {
            id: Field::Value(Str(Cow::Borrowed(id))),
            kind,
            ..Person::default()
        };
        Ok(Box::new(ContactChange {
            event_id: event_id(self.row.position.as_deref(), record, id),
            operation,
            occurred_at: change::in_time(time, record.arrived_at)?,
            version: self.version()?,
            version_source: VersionSource::default(),
            is_load: self.row.operation == RowOperation::Load,
            replay: self.row.is_replay || record.is_replay,
            previous_type: self.kind_before(),
            contact: change::deleted(&person)?,
            whole: None,
        }))
    }

    /// Returns whether the unchanged columns are sent, too: to a destination that may not have
    /// them, or where nothing is known of the row before.
    fn is_to_be_sent_whole(&self, change: &ContactChange) -> Validated<bool> {
        if self.before().is_none() || change.operation == Operation::Create {
            return Ok(true);
        }
        // A row without a usable type was never written.
        let changes_type = self.columns.kind.is_some()
            && self.is_type_known_before()
            && change.previous_type != change.contact.kind;
        Ok(changes_type || self.is_deleted(self.before())? || self.changes_id(&change.contact))
    }

    /// Returns whether the type before the change is known, so that an equal one did not change.
    fn is_type_known_before(&self) -> bool {
        match &self.columns.kind {
            Some(column) => self
                .try_cell(self.before(), column)
                .is_ok_and(|cell| cell.is_known()),
            None => true,
        }
    }

    fn changes_id(&self, contact: &Contact) -> bool {
        let cell = self.try_cell(self.before(), &self.columns.id);
        let Ok(Field::Value(Str(id))) = cell.and_then(Cell::into_text) else {
            return false;
        };
        ContactId::new(&id).as_ref() != Some(&contact.id)
    }

    /// Returns the values to send, and whether there are any.
    fn texts(&self, sends_all: bool) -> Validated<(Texts<'a>, bool)> {
        let (mut texts, mut has_values) = (Texts::default(), false);
        for (field, column) in &self.columns.texts {
            let cell = self.sent(column, sends_all)?;
            has_values |= cell.is_known();
            *field(&mut texts) = cell.into_text().map_err(|Unreadable| unreadable(column))?;
        }
        let mut attributes = Attributes::default();
        for (name, column) in &self.columns.attributes {
            let cell = self.sent(column, sends_all)?;
            has_values |= cell.is_known();
            let value = cell.into_attribute();
            if let Some(value) = value.map_err(|Unreadable| unreadable(column))? {
                attributes.values.insert(name.clone(), value);
            }
        }
        if !attributes.values.is_empty() {
            texts.person.attributes = Field::Value(Named(attributes));
        }
        Ok((texts, has_values))
    }

    /// Returns the value of the column as far as it is sent.
    fn sent(&self, column: &Column, sends_all: bool) -> Validated<Cell<'a>> {
        if !sends_all && self.is_unchanged(column) {
            return Ok(Cell::Absent);
        }
        let cell = self.cell(self.after(), column)?;
        if sends_all && cell == Cell::Unavailable {
            // The value is unchanged, and the image before may have it.
            return self.cell(self.before(), column);
        }
        Ok(cell)
    }

    /// Returns whether both images have the column, with the same value.
    fn is_unchanged(&self, column: &Column) -> bool {
        let raw = |row: Option<&Row<'a>>| row.and_then(|row| row.get(column.index));
        let (Some(before), Some(after)) = (raw(self.before()), raw(self.after())) else {
            return false;
        };
        if before.get() == after.get() {
            return true;
        }
        let before = self.try_cell(self.before(), column);
        before.is_ok_and(|before| {
            before.is_known() && self.try_cell(self.after(), column) == Ok(before)
        })
    }

    /// Returns the name of the type after the change, as far as it is known.
    fn kind_after(&self) -> Validated<Field<Str<'a>>> {
        let Some(column) = &self.columns.kind else {
            return Ok(self.columns.only_type());
        };
        let cell = match self.cell(self.after(), column)? {
            cell if cell.is_known() => cell,
            _ => self.cell(self.before(), column)?,
        };
        let text = cell.into_text().map_err(|Unreadable| unreadable(column))?;
        Ok(self.columns.type_of(text))
    }

    /// Returns the type before the change, where the image before has it.
    fn kind_before(&self) -> Option<ContactType> {
        let column = self.columns.kind.as_ref()?;
        let cell = self.try_cell(self.before(), column).ok()?;
        if !cell.is_known() {
            return None;
        }
        let name = self.columns.type_of(cell.into_text().ok()?);
        ContactType::from_name(name.value()?.0.trim())
    }

    /// Returns the name of a deleted contact's type, where an image has a usable one. A null says
    /// nothing: feeds fill the columns that they do not have of a deleted row with nulls.
    fn kind_of_deleted(&self) -> Field<Str<'a>> {
        let Some(column) = &self.columns.kind else {
            return self.columns.only_type();
        };
        for image in [self.after(), self.before()] {
            let text = self.try_cell(image, column).and_then(Cell::into_text);
            let Ok(text @ Field::Value(_)) = text else {
                continue;
            };
            let name = self.columns.type_of(text);
            let kind = name
                .value()
                .and_then(|Str(name)| ContactType::from_name(name.trim()));
            if kind.is_some() {
                return name;
            }
        }
        Field::Absent
    }

    /// Returns the version, where a column is declared to hold it.
    fn version(&self) -> Validated<Option<u64>> {
        let Some(column) = &self.columns.version else {
            return Ok(None);
        };
        for image in [self.after(), self.before()] {
            match self.cell(image, column)? {
                Cell::Absent | Cell::Unavailable | Cell::Null => {}
                Cell::Number(text) | Cell::Text(text) => {
                    return version(text.trim())
                        .map(Some)
                        .ok_or_else(|| unreadable(column));
                }
                Cell::Bool(_) => return Err(unreadable(column)),
            }
        }
        Ok(None)
    }
}

fn no_change(change: Box<ContactChange>) -> Decoded {
    Decoded::Filtered(Filtered {
        code: codes::NO_CHANGE,
        change: Some(change),
        warning: None,
    })
}

/// Reads a version: a whole number, or a time, as the microseconds since 1970.
fn version(text: &str) -> Option<u64> {
    let whole = match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
        _ => text,
    };
    if let Ok(version) = whole.parse() {
        return Some(version);
    }
    let nanos = change::time(text)?.unix_timestamp_nanos();
    u64::try_from(nanos / 1_000).ok()
}
