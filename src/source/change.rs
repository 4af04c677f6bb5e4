//! Validates the values of an [`Event`], and makes it a [`ContactChange`].

use std::mem;

use email_address::{EmailAddress, Options};
use serde_json::value::RawValue;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::wire::{Address, Event, Person};
use crate::json::{self, Str};
use crate::model::codes;
use crate::model::{
    Attribute, Attributes, Contact, ContactChange, ContactId, ContactType, Field, Operation,
    Refusal, Stage, Text, VersionSource,
};

/// The longest `event_id`, in characters.
pub(super) const LONGEST_EVENT_ID: usize = 128;

/// The longest text of any field, in characters: twice the longest field of either system.
pub(super) const LONGEST_TEXT: usize = 65_536;

/// The longest time by which a producer's clock may be ahead of the stream's. A change from further
/// ahead would make every later one of its contact stale.
const FURTHEST_AHEAD: Duration = Duration::days(1);

type Validated<T> = Result<T, Box<Refusal>>;

/// Validates `event`, whose record arrived at `arrived_at`.
pub(super) fn validate(
    event: &mut Event<'_>,
    arrived_at: OffsetDateTime,
) -> Validated<Box<ContactChange>> {
    change(event, arrived_at).map_err(|mut refusal| {
        let event_id = event
            .event_id
            .value()
            .filter(|id| !is_longer(&id.0, LONGEST_EVENT_ID));
        let contact_id = event
            .contact
            .value()
            .and_then(|contact| ContactId::new(&contact.0.id.value()?.0));
        refusal.event_id = event_id.map(|id| (*id.0).into());
        refusal.contact_id = contact_id.map(|id| id.as_str().into());
        refusal.operation = event
            .operation
            .value()
            .and_then(|name| Operation::from_name(&name.0));
        refusal
    })
}

fn change(event: &mut Event<'_>, arrived_at: OffsetDateTime) -> Validated<Box<ContactChange>> {
    let event_id = event_id(&event.event_id)?;
    let operation = required(&event.operation, "operation", LONGEST_TEXT)?;
    let operation = Operation::from_name(operation).ok_or_else(|| {
        refuse(
            codes::UNKNOWN_OPERATION,
            "operation",
            "allowed: create, update, delete",
        )
    })?;
    let occurred_at = occurred_at(&event.occurred_at, arrived_at)?;
    let Field::Value(person) = &mut event.contact else {
        return Err(refuse(codes::MISSING_FIELD, "contact", "is required"));
    };
    Ok(Box::new(ContactChange {
        event_id: event_id.into(),
        operation,
        occurred_at,
        version: event.version.value().copied(),
        version_source: VersionSource::default(),
        is_load: false,
        replay: event.replay.value().copied().unwrap_or(false)
            || is_backfill(event.lane.value().copied()),
        previous_type: person.0.previous_type.value().and_then(|raw| {
            let name = json::text(raw)?;
            ContactType::from_name(&name)
        }),
        contact: match operation {
            Operation::Create | Operation::Update => contact(&mut person.0)?,
            Operation::Delete => deleted(&person.0)?,
        },
        whole: None,
    }))
}

/// Returns whether the change comes from a back-fill, and not from the stream.
pub(super) fn is_backfill(lane: Option<&RawValue>) -> bool {
    lane.is_some_and(|lane| lane.get() == "\"backfill\"")
}

/// Validates an event's id. Any 1 to 128 characters are allowed: only the producer interprets them.
fn event_id<'a>(given: &'a Field<Str<'_>>) -> Validated<&'a str> {
    match given {
        Field::Value(id) if id.0.is_empty() => {
            Err(refuse(codes::EMPTY_FIELD, "event_id", "must not be empty"))
        }
        Field::Value(id) if !is_longer(&id.0, LONGEST_EVENT_ID) => Ok(&id.0),
        _ => required(given, "event_id", LONGEST_EVENT_ID),
    }
}

fn occurred_at(given: &Field<Str<'_>>, arrived_at: OffsetDateTime) -> Validated<OffsetDateTime> {
    let text = required(given, "occurred_at", LONGEST_TEXT)?;
    in_time(parsed_time(text)?, arrived_at)
}

/// Parses the time of a change.
pub(super) fn parsed_time(text: &str) -> Validated<OffsetDateTime> {
    time(text).ok_or_else(|| {
        refuse(
            codes::INVALID_TIMESTAMP,
            "occurred_at",
            "allowed: an RFC 3339 time",
        )
    })
}

/// Validates the time of a change whose record arrived at `arrived_at`.
pub(super) fn in_time(
    time: OffsetDateTime,
    arrived_at: OffsetDateTime,
) -> Validated<OffsetDateTime> {
    if time > arrived_at.saturating_add(FURTHEST_AHEAD) {
        let rule = "allowed: at most a day after the record's arrival; check the producer's clock";
        return Err(refuse(codes::TIME_IN_FUTURE, "occurred_at", rule));
    }
    Ok(time)
}

/// Parses an RFC 3339 time. The parser accepts any byte between date and time, RFC 3339 three.
/// <https://www.rfc-editor.org/rfc/rfc3339#section-5.6>
pub(super) fn time(text: &str) -> Option<OffsetDateTime> {
    let is_separated = matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' '));
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .filter(|_| is_separated)
}

/// Reads the contact of a delete: its identity, and its type where that is usable.
pub(super) fn deleted(person: &Person<'_>) -> Validated<Contact> {
    let kind = person
        .kind
        .value()
        .and_then(|name| ContactType::from_name(&name.0));
    Ok(Contact::bare(id(&person.id)?, kind))
}

fn id(given: &Field<Str<'_>>) -> Validated<ContactId> {
    let text = ContactId::trim(required(given, "contact.id", usize::MAX)?);
    if let Some(id) = ContactId::new(text) {
        return Ok(id);
    }
    Err(if text.is_empty() {
        refuse(codes::EMPTY_FIELD, "contact.id", "must not be empty")
    } else if text.contains(char::is_control) {
        refuse(
            codes::CONTROL_CHARACTER,
            "contact.id",
            "allowed: control characters at its ends, where they are trimmed",
        )
    } else {
        refuse(
            codes::TOO_LONG,
            "contact.id",
            "allowed: 1 to 255 characters after trimming",
        )
    })
}

pub(super) fn contact(person: &mut Person<'_>) -> Validated<Contact> {
    let named = mem::take(&mut person.attributes);
    let id = id(&person.id)?;
    let kind = kind(&person.kind)?;
    let address = match &person.address {
        Field::Value(address) => &address.0,
        Field::Null => &Address::all(|| Field::Null),
        Field::Absent => &Address::all(|| Field::Absent),
    };
    Ok(Contact {
        id,
        kind: Some(kind),
        email: email(&person.email)?,
        first_name: text(&person.first_name, "contact.first_name")?,
        last_name: text(&person.last_name, "contact.last_name")?,
        company: text(&person.company, "contact.company")?,
        job_title: text(&person.job_title, "contact.job_title")?,
        phone: text(&person.phone, "contact.phone")?,
        mobile_phone: text(&person.mobile_phone, "contact.mobile_phone")?,
        website: text(&person.website, "contact.website")?,
        street: text(&address.street, "contact.address.street")?,
        city: text(&address.city, "contact.address.city")?,
        state: text(&address.state, "contact.address.state")?,
        postal_code: text(&address.postal_code, "contact.address.postal_code")?,
        country: text(&address.country, "contact.address.country")?,
        lead_source: text(&person.lead_source, "contact.lead_source")?,
        status: text(&person.status, "contact.status")?,
        attributes: attributes(named)?,
    })
}

fn kind(named: &Field<Str<'_>>) -> Validated<ContactType> {
    let kind = ContactType::from_name(required(named, "contact.type", LONGEST_TEXT)?);
    kind.ok_or_else(|| {
        refuse(
            codes::UNKNOWN_TYPE,
            "contact.type",
            "allowed: lead, prospect, customer, vendor",
        )
    })
}

fn email(given: &Field<Str<'_>>) -> Validated<Text> {
    let address = match given {
        Field::Absent => return Ok(Field::Absent),
        Field::Null => return Ok(Field::Null),
        Field::Value(address) => address.0.trim().to_lowercase(),
    };
    if address.is_empty() {
        return Ok(Field::Null);
    }
    if is_plain_address(&address) {
        return Ok(Field::Value(address.into()));
    }
    // The address alone: `Ada <ada@example.com>` is a line of a message's header.
    match EmailAddress::parse_with_options(&address, Options::default().without_display_text()) {
        Ok(_) => Ok(Field::Value(address.into())),
        Err(_) => Err(refuse(
            codes::INVALID_EMAIL,
            "contact.email",
            "allowed: an email address, or null",
        )),
    }
}

/// Returns whether `address` is of a form that is always allowed: words of letters and digits, with
/// one separator between two. Nearly all are, and the full check takes five times as long.
fn is_plain_address(address: &str) -> bool {
    /// The longest local part; a part of a domain may have one character less.
    const LONGEST: usize = 64;
    let (mut ats, mut in_word) = (0, false);
    for byte in address.bytes() {
        let is_letter = matches!(byte, b'a'..=b'z' | b'0'..=b'9');
        let is_separator = in_word && matches!(byte, b'.' | b'-' | b'_' | b'+' | b'@');
        if !is_letter && !is_separator {
            return false;
        }
        ats += u32::from(byte == b'@');
        in_word = is_letter;
    }
    ats == 1 && in_word && address.len() <= LONGEST
}

fn attributes(named: Field<super::wire::Named>) -> Validated<Attributes> {
    let attributes = match named {
        Field::Absent => return Ok(Attributes::default()),
        Field::Null => {
            return Ok(Attributes {
                cleared: true,
                ..Attributes::default()
            });
        }
        Field::Value(named) => named.0,
    };
    for (name, value) in &attributes.values {
        let is_too_long = match value {
            Attribute::Text(text) => is_longer(text, LONGEST_TEXT),
            Attribute::Number(number) => is_longer(number.as_str(), LONGEST_TEXT),
            Attribute::Null | Attribute::Bool(_) => false,
        };
        if is_too_long || is_longer(name, LONGEST_TEXT) {
            return Err(refuse(
                codes::TOO_LONG,
                "contact.attributes",
                &format!("allowed: {LONGEST_TEXT} characters"),
            ));
        }
    }
    Ok(attributes)
}

/// Returns the text of a required field, which must not be blank.
fn required<'a>(field: &'a Field<Str<'_>>, name: &str, longest: usize) -> Validated<&'a str> {
    match field {
        Field::Absent | Field::Null => Err(refuse(codes::MISSING_FIELD, name, "is required")),
        Field::Value(text) if is_blank(&text.0) => {
            Err(refuse(codes::EMPTY_FIELD, name, "must not be empty"))
        }
        Field::Value(text) if is_longer(&text.0, longest) => Err(refuse(
            codes::TOO_LONG,
            name,
            &format!("allowed: {longest} characters"),
        )),
        Field::Value(text) => Ok(&text.0),
    }
}

/// Returns an optional text.
fn text(field: &Field<Str<'_>>, name: &str) -> Validated<Text> {
    Ok(optional(field, name)?.map(Into::into))
}

/// Returns an optional field. A blank text equals null, for people and for both systems.
fn optional<'a>(field: &'a Field<Str<'_>>, name: &str) -> Validated<Field<&'a str>> {
    match field {
        Field::Absent => Ok(Field::Absent),
        Field::Null => Ok(Field::Null),
        Field::Value(text) if is_blank(&text.0) => Ok(Field::Null),
        Field::Value(text) if is_longer(&text.0, LONGEST_TEXT) => Err(refuse(
            codes::TOO_LONG,
            name,
            &format!("allowed: {LONGEST_TEXT} characters"),
        )),
        Field::Value(text) => Ok(Field::Value(&text.0)),
    }
}

fn is_blank(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

/// Returns whether `text` has more than `longest` characters. Counts them only where the number of
/// bytes does not decide.
fn is_longer(text: &str, longest: usize) -> bool {
    text.len() > longest && text.chars().count() > longest
}

fn refuse(code: &'static str, field: &str, rule: &str) -> Box<Refusal> {
    Box::new(Refusal::new(Stage::Validate, code, format!("{field}: {rule}")).of_field(field))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_plain_address_is_one(
            text in "[a0]{1,3}([._+-]?[a0]{1,9}){0,8}@([a0]{1,9}[._+-]?){0,8}[a0]{0,9}"
        ) {
            prop_assume!(is_plain_address(&text));
            let options = Options::default().without_display_text();
            prop_assert!(EmailAddress::parse_with_options(&text, options).is_ok());
        }
    }

    #[test]
    fn what_may_be_none_is_left_to_the_full_check() {
        for (address, expected) in [
            ("ada.lovelace+x_1-2@analytical-engines.example.com", true),
            ("a@b", true),
            (&format!("{}@b", "a".repeat(62)), true),
            (&format!("{}@b", "a".repeat(63)), false),
            ("", false),
            ("a", false),
            ("a@", false),
            ("@b", false),
            ("a@b@c", false),
            (".a@b", false),
            ("a.@b", false),
            ("a..b@c", false),
            ("a@.b", false),
            ("a@b.", false),
            ("a@b-", false),
            ("a@-b", false),
            ("a@b_.c", false),
            ("é@b", false),
            ("\"a b\"@c", false),
            ("a@[127.0.0.1]", false),
        ] {
            assert_eq!(is_plain_address(address), expected, "{address}");
        }
    }
}
