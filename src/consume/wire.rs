//! The change as it is written: every field may be missing or null, texts are borrowed from the record. Values are
//! judged in `change.rs`; here only the shape is.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::{Refusal, Stage};
use crate::contact::{Attribute, Attributes, Field};
use crate::json::{Object, Str};

/// As deep as serde_json itself goes. What lies deeper is an accident or an attack.
const DEEPEST: usize = 128;

/// The change event.
#[derive(Deserialize)]
#[cfg_attr(feature = "admin", derive(schemars::JsonSchema))]
#[expect(clippy::struct_field_names, reason = "the fields are named as on the wire")]
pub(super) struct Event<'a> {
    #[serde(borrow, default)]
    #[cfg_attr(feature = "admin", schemars(with = "super::schema::EventId"))]
    pub(super) event_id: Field<Str<'a>>,
    #[serde(borrow, default)]
    #[cfg_attr(feature = "admin", schemars(with = "super::schema::OperationName"))]
    pub(super) operation: Field<Str<'a>>,
    #[serde(borrow, default)]
    #[cfg_attr(feature = "admin", schemars(with = "super::schema::Time"))]
    pub(super) occurred_at: Field<Str<'a>>,
    #[serde(default)]
    pub(super) version: Field<u64>,
    #[serde(default)]
    pub(super) replay: Field<bool>,
    #[serde(borrow, default)]
    #[cfg_attr(feature = "admin", schemars(with = "Person"))]
    pub(super) contact: Field<Object<Person<'a>>>,
}

/// The contact that changed.
#[derive(Deserialize)]
#[cfg_attr(feature = "admin", derive(schemars::JsonSchema))]
pub(super) struct Person<'a> {
    #[serde(borrow, default)]
    #[cfg_attr(feature = "admin", schemars(with = "super::schema::Id"))]
    pub(super) id: Field<Str<'a>>,
    #[serde(borrow, default, rename = "type")]
    #[cfg_attr(feature = "admin", schemars(with = "super::schema::TypeName"))]
    pub(super) kind: Field<Str<'a>>,
    #[serde(borrow, default)]
    #[cfg_attr(feature = "admin", schemars(with = "super::schema::Email"))]
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
#[cfg_attr(feature = "admin", derive(schemars::JsonSchema))]
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
    /// The same said of every part.
    pub(super) fn all(say: impl Fn() -> Field<Str<'a>>) -> Self {
        Self { street: say(), city: say(), state: say(), postal_code: say(), country: say() }
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
                while let Some((name, value)) = map.next_entry::<Box<str>, Attribute>()? {
                    if attributes.values.insert(name, value).is_some() {
                        return Err(A::Error::custom("duplicate field in attributes"));
                    }
                }
                Ok(Named(attributes))
            }
        }
        deserializer.deserialize_map(Names)
    }
}

/// The event in `text`, or the place of what is wrong with it. The reasons never quote the text: it is somebody's data.
pub(super) fn parse(text: &str) -> Result<Event<'_>, Box<Refusal>> {
    if is_too_deep(text.as_bytes()) {
        let message = format!("the JSON is nested deeper than {DEEPEST}");
        return Err(Box::new(Refusal::new(Stage::Decode, "NESTED_TOO_DEEPLY", message)));
    }
    let event = serde_json::from_str::<Object<Event<'_>>>(text);
    event.map(|object| object.0).map_err(|error| Box::new(explain(text, &error)))
}

/// Whether more than [`DEEPEST`] brackets are open at once. Few brackets in all, the usual case, need no closer look.
fn is_too_deep(text: &[u8]) -> bool {
    // Sums of bytes, which the compiler makes vector instructions of; `[` and `{` differ in this one bit.
    let brackets = |part: &[u8]| part.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    if text.chunks(usize::from(u8::MAX)).map(|part| usize::from(brackets(part))).sum::<usize>() <= DEEPEST {
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

fn explain(text: &str, error: &serde_json::Error) -> Refusal {
    let at = format!("line {}, column {}", error.line(), error.column());
    let said = error.to_string();
    // serde_json calls this a mistake in the syntax, and it is none.
    if said.starts_with("number out of range") {
        return Refusal::new(Stage::Decode, "WRONG_TYPE", format!("a number is out of range, {at}"));
    }
    if !error.is_data() {
        return Refusal::new(Stage::Decode, "INVALID_JSON", format!("the data is not JSON, {at}"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let place = serde_path_to_error::deserialize::<_, Object<Event<'_>>>(&mut deserializer);
    let path = place.err().map(|error| error.path().to_string()).unwrap_or_default();
    let mut refusal = if said.starts_with("duplicate field") {
        Refusal::new(Stage::Decode, "DUPLICATE_KEY", format!("a key stands twice, {at}"))
    } else {
        Refusal::new(Stage::Decode, "WRONG_TYPE", format!("a value has the wrong type, {at}"))
    };
    if path != "." {
        refusal = refusal.of_field(path);
    }
    (refusal.contact_id, refusal.event_id) = identities(text);
    refusal
}

/// The ids of an event whose shape is otherwise wrong, as far as they can be read.
fn identities(text: &str) -> (Option<Box<str>>, Option<Box<str>>) {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else {
        return (None, None);
    };
    let short = |value: &serde_json::Value| {
        value.as_str().filter(|text| text.chars().count() <= crate::contact::ContactId::LONGEST).map(Into::into)
    };
    (short(&value["contact"]["id"]), short(&value["event_id"]))
}
