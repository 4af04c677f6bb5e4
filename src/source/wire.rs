//! Parses the JSON of a change: every field may be missing or null, and texts are borrowed from the
//! record. Only the shape is checked here; `change.rs` validates the values.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{self, Object, Str};
use crate::model::codes;
use crate::model::{Attribute, Attributes, ContactId, Field, Number, Operation, Refusal, Stage};

/// The deepest nesting, which is also the limit of serde_json.
const DEEPEST: usize = 128;

/// The longest path of a field in a refusal, in bytes. Keys of an object have any length, and all
/// refusals of an event are held until its end.
const LONGEST_PATH: usize = 256;

/// The change event.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(
    clippy::struct_field_names,
    reason = "the fields are named as on the wire"
)]
pub(super) struct Event<'a> {
    #[serde(borrow, default)]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::EventId"))]
    pub(super) event_id: Field<Str<'a>>,
    #[serde(borrow, default)]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::OperationName"))]
    pub(super) operation: Field<Str<'a>>,
    #[serde(borrow, default)]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Time"))]
    pub(super) occurred_at: Field<Str<'a>>,
    #[serde(default)]
    pub(super) version: Field<u64>,
    #[serde(default)]
    pub(super) replay: Field<bool>,
    #[serde(borrow, default)]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Lane"))]
    pub(super) lane: Field<&'a RawValue>,
    #[serde(borrow, default)]
    #[cfg_attr(feature = "schema", schemars(with = "Person"))]
    pub(super) contact: Field<Boxed<'a>>,
    /// The attribute that makes a JSON object a CloudEvent.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    specversion: Option<IgnoredAny>,
}

impl<'a> Event<'a> {
    /// Returns whether this is a CloudEvent, which may hold a change. Its attributes are never
    /// objects.
    pub(super) fn is_cloud_event(&self) -> bool {
        self.specversion.is_some() && self.contact.value().is_none()
    }

    /// Sets the id and the time where the event has none.
    pub(super) fn set_absent(&mut self, event_id: Option<&'a str>, occurred_at: Option<&'a str>) {
        for (field, value) in [
            (&mut self.event_id, event_id),
            (&mut self.occurred_at, occurred_at),
        ] {
            if let (Field::Absent | Field::Null, Some(value)) = (&*field, value) {
                *field = Field::Value(Str(value.into()));
            }
        }
    }
}

/// The contact of an event, which is moved with its event: in a box, because it takes half a
/// kilobyte.
pub(super) type Boxed<'a> = Box<Object<Person<'a>>>;

/// The contact that changed.
#[derive(Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Person<'a> {
    #[serde(borrow, default)]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Id"))]
    pub(super) id: Field<Str<'a>>,
    #[serde(borrow, default, rename = "type")]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::TypeName"))]
    pub(super) kind: Field<Str<'a>>,
    #[serde(borrow, default)]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::PreviousType"))]
    pub(super) previous_type: Field<&'a RawValue>,
    #[serde(borrow, default)]
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Email"))]
    pub(super) email: Field<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) first_name: Field<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) last_name: Field<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) company: Field<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) job_title: Field<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) phone: Field<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) mobile_phone: Field<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) website: Field<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) address: Field<Object<Address<'a>>>,
    #[serde(borrow, default)]
    pub(super) lead_source: Field<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) status: Field<Str<'a>>,
    #[serde(default)]
    pub(super) attributes: Field<Named>,
}

/// Its postal address; null clears every part.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Address<'a> {
    #[serde(borrow, default)]
    pub(super) street: Field<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) city: Field<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) state: Field<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) postal_code: Field<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) country: Field<Str<'a>>,
}

impl<'a> Address<'a> {
    /// Makes an address of which every part is the same.
    pub(super) fn all(part: impl Fn() -> Field<Str<'a>>) -> Self {
        Self {
            street: part(),
            city: part(),
            state: part(),
            postal_code: part(),
            country: part(),
        }
    }
}

/// The attributes, each name once.
pub(super) struct Named(pub(super) Attributes);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Named;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings, numbers, booleans and nulls")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named, A::Error> {
                let mut attributes = Attributes::default();
                while let Some((Str(name), Scalar(value))) = map.next_entry()? {
                    if attributes.values.insert(name.into(), value).is_some() {
                        return Err(A::Error::custom("duplicate field in attributes"));
                    }
                }
                Ok(Named(attributes))
            }
        }
        deserializer.deserialize_map(Names)
    }
}

/// One value of the attributes.
struct Scalar(Attribute);

/// The beginning of serde_json's error for a number that no double comes near.
const OUT_OF_RANGE: &str = "number out of range";

/// The beginning of the error for an invalid text: half of a surrogate pair, which serde_json does
/// not find while it skips a value.
const NO_TEXT: &str = "no text";

impl<'de> Deserialize<'de> for Scalar {
    /// Reads the value from its JSON, because a number that serde reads has lost digits.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(Self(match raw.get().as_bytes() {
            b"null" => Attribute::Null,
            b"true" => Attribute::Bool(true),
            b"false" => Attribute::Bool(false),
            [b'"', ..] => {
                let text = json::text(raw).ok_or_else(|| D::Error::custom(NO_TEXT))?;
                Attribute::Text(text.into())
            }
            [b'-' | b'0'..=b'9', ..] => {
                let number =
                    Number::new(raw.get()).ok_or_else(|| D::Error::custom(OUT_OF_RANGE))?;
                Attribute::Number(number)
            }
            _ => {
                return Err(D::Error::custom(
                    "a string, a number, a boolean or null is expected",
                ));
            }
        }))
    }
}

/// The fields of a delete that are validated. An invalid value of another field does not keep the
/// contact from being deleted.
#[derive(Deserialize)]
struct Delete<'a> {
    #[serde(borrow, default)]
    event_id: Field<Str<'a>>,
    #[serde(borrow, default)]
    operation: Field<Str<'a>>,
    #[serde(borrow, default)]
    occurred_at: Field<Str<'a>>,
    #[serde(default)]
    version: Field<u64>,
    #[serde(borrow, default)]
    contact: Field<Object<Deleted<'a>>>,
}

/// The contact that is deleted. Its type may be any JSON: an unusable one counts as absent.
#[derive(Deserialize)]
struct Deleted<'a> {
    #[serde(borrow, default)]
    id: Field<Str<'a>>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
}

impl<'a> Delete<'a> {
    /// Returns the delete as an event with this `replay` and `lane`.
    fn into_event(self, replay: bool, lane: Field<&'a RawValue>) -> Event<'a> {
        let Self {
            event_id,
            operation,
            occurred_at,
            version,
            contact,
        } = self;
        let contact = contact.map(|Object(Deleted { id, kind })| {
            let kind = match kind.and_then(json::text) {
                Some(name) => Field::Value(Str(name)),
                None => Field::Absent,
            };
            Box::new(Object(Person {
                id,
                kind,
                ..Person::default()
            }))
        });
        Event {
            event_id,
            operation,
            occurred_at,
            version,
            replay: Field::Value(replay),
            lane,
            contact,
            specversion: None,
        }
    }
}

/// Parses the event in `text`. A refusal names the place of the error, and never quotes the text,
/// which is contact data.
pub(super) fn parse(text: &str) -> Result<Event<'_>, Box<Refusal>> {
    if is_too_deep(text.as_bytes()) {
        return parse_delete(text).unwrap_or_else(|| {
            let message = format!("the JSON is nested deeper than {DEEPEST}");
            Err(Box::new(Refusal::new(
                Stage::Decode,
                codes::NESTED_TOO_DEEPLY,
                message,
            )))
        });
    }
    match serde_json::from_str::<Object<Event<'_>>>(text) {
        Ok(Object(event)) => Ok(event),
        Err(error) => {
            parse_delete(text).unwrap_or_else(|| Err(Box::new(explain::<Event<'_>>(text, &error))))
        }
    }
}

/// Parses a delete by the fields that are validated; `None` where `text` is no delete.
fn parse_delete(text: &str) -> Option<Result<Event<'_>, Box<Refusal>>> {
    let fields = json::fields(text)?;
    let operation = fields.get("operation").and_then(|raw| json::text(raw))?;
    if operation != Operation::Delete.name() {
        return None;
    }
    let replay = fields.get("replay").is_some_and(|raw| raw.get() == "true");
    let lane = match fields.get("lane") {
        Some(lane) => Field::Value(*lane),
        None => Field::Absent,
    };
    Some(match serde_json::from_str::<Object<Delete<'_>>>(text) {
        Ok(Object(delete)) => Ok(delete.into_event(replay, lane)),
        Err(error) => Err(Box::new(explain::<Delete<'_>>(text, &error))),
    })
}

/// Returns whether more than [`DEEPEST`] brackets are open at once. A text with few brackets in
/// all, the usual case, is not walked.
fn is_too_deep(text: &[u8]) -> bool {
    // The compiler makes vector instructions of sums of bytes. `[` and `{` differ in this one bit.
    let brackets = |part: &[u8]| {
        part.iter()
            .map(|byte| u8::from(byte | 0x20 == b'{'))
            .sum::<u8>()
    };
    if text
        .chunks(usize::from(u8::MAX))
        .map(|part| usize::from(brackets(part)))
        .sum::<usize>()
        <= DEEPEST
    {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return true;
        }
    }
    false
}

/// Explains why `text` is not a `T`, and where.
pub(super) fn explain<'a, T: Deserialize<'a>>(text: &'a str, error: &serde_json::Error) -> Refusal {
    let at = format!("line {}, column {}", error.line(), error.column());
    let message = error.to_string();
    // serde_json reports this as a syntax error, which it is not.
    if message.starts_with(OUT_OF_RANGE) {
        return identified(
            text,
            Refusal::new(
                Stage::Decode,
                codes::WRONG_TYPE,
                format!("a number is out of range, {at}"),
            ),
        );
    }
    if !error.is_data() || message.starts_with(NO_TEXT) {
        return Refusal::new(
            Stage::Decode,
            codes::INVALID_JSON,
            format!("the data is not JSON, {at}"),
        );
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let place = serde_path_to_error::deserialize::<_, Object<T>>(&mut deserializer);
    let path = place
        .err()
        .map(|error| error.path().to_string())
        .unwrap_or_default();
    let mut refusal = if message.starts_with("duplicate field") {
        Refusal::new(
            Stage::Decode,
            codes::DUPLICATE_KEY,
            format!("a key stands twice, {at}"),
        )
    } else {
        Refusal::new(
            Stage::Decode,
            codes::WRONG_TYPE,
            format!("a value has the wrong type, {at}"),
        )
    };
    if path != "." {
        refusal = refusal.of_field(&path[..path.floor_char_boundary(LONGEST_PATH)]);
    }
    identified(text, refusal)
}

/// Adds the ids and the operation of an event of another shape, as far as they can be read.
fn identified(text: &str, mut refusal: Refusal) -> Refusal {
    let fields = json::fields(text).unwrap_or_default();
    let known = |name: &str| fields.get(name).and_then(|raw| json::text(raw));
    let event_id = known("event_id").filter(|id| id.chars().count() <= ContactId::LONGEST);
    refusal.event_id = event_id.map(|id| (*id).into());
    refusal.operation = known("operation").and_then(|name| Operation::from_name(&name));
    let contact = fields
        .get("contact")
        .and_then(|raw| json::fields(raw.get()))
        .unwrap_or_default();
    let contact_id = contact
        .get("id")
        .and_then(|raw| json::text(raw))
        .and_then(|id| ContactId::new(&id));
    refusal.contact_id = contact_id.map(|id| id.as_str().into());
    refusal
}
