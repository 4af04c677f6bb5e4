//! Contacts, with the fields that an event may mention.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

use super::Number;

/// One field in an event: not mentioned, cleared, or with a value.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Field<T> {
    /// The event does not mention the field: it stays as it is.
    #[default]
    Absent,
    /// The field was cleared.
    Null,
    /// The field has this value.
    Value(T),
}

impl<T> Field<T> {
    /// Returns the value, if there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// Returns whether the event mentions the field.
    pub fn is_mentioned(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// Converts the value, if there is one.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Self::Absent => Field::Absent,
            Self::Null => Field::Null,
            Self::Value(value) => Field::Value(convert(value)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    /// Reads a field that is mentioned. One that is not is [`Field::Absent`] by the container's
    /// `default`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Mentioned<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Mentioned<T> {
            type Value = Field<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or null")
            }

            fn visit_unit<E>(self) -> Result<Field<T>, E> {
                Ok(Field::Null)
            }

            fn visit_none<E>(self) -> Result<Field<T>, E> {
                Ok(Field::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<Field<T>, D::Error> {
                Ok(Field::Value(T::deserialize(value)?))
            }
        }
        deserializer.deserialize_option(Mentioned(PhantomData))
    }
}

/// A text field of a contact.
pub type Text = Field<Box<str>>;

/// The kind of a contact, by which it is routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ContactType {
    /// A possible customer.
    Lead,
    /// A lead that sales works on.
    Prospect,
    /// A buyer.
    Customer,
    /// A supplier.
    Vendor,
}

impl ContactType {
    /// All types, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Lead, Self::Prospect, Self::Customer, Self::Vendor];

    /// Returns the name in events and settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lead => "lead",
            Self::Prospect => "prospect",
            Self::Customer => "customer",
            Self::Vendor => "vendor",
        }
    }

    /// Returns the type of this name, in any letter case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }
}

/// The identity of a contact: 1 to 255 characters after trimming, with no control character among
/// them. Two ids are the same contact when they agree without regard to letter case, because both
/// systems compare their keys so.
#[derive(Clone)]
pub struct ContactId {
    text: Box<str>,
    /// The lower-cased form, where it may differ from `text`.
    folded: Option<Box<str>>,
}

impl ContactId {
    /// The longest identity, in characters: the longest external id field of Salesforce.
    pub const LONGEST: usize = 255;

    /// Returns the identity in `text`, or `None` where that is blank, too long, or holds a control
    /// character.
    pub fn new(text: &str) -> Option<Self> {
        let text = Self::trim(text);
        if text.is_empty() || (text.len() > Self::LONGEST && text.chars().count() > Self::LONGEST) {
            return None;
        }
        let is_plain = text
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && !byte.is_ascii_uppercase());
        if !is_plain && text.contains(char::is_control) {
            return None;
        }
        let folded = if is_plain {
            None
        } else {
            Some(text.to_lowercase().into_boxed_str())
        };
        Some(Self {
            text: text.into(),
            folded,
        })
    }

    /// Removes white space and control characters from both ends. Salesforce trims a key in a way
    /// that it does not document; an id that it changes would be created and never found again.
    pub fn trim(text: &str) -> &str {
        text.trim_matches(|char: char| char.is_whitespace() || char.is_control())
    }

    /// Returns the id as the producer wrote it, trimmed, in the form that is sent.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the id in the form in which ids are compared.
    pub fn key(&self) -> &str {
        self.folded.as_deref().unwrap_or(&self.text)
    }
}

impl PartialEq for ContactId {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for ContactId {}

impl std::hash::Hash for ContactId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Debug for ContactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One value of `contact.attributes`.
#[derive(Clone, PartialEq)]
pub enum Attribute {
    /// The attribute was cleared.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number, as it was written.
    Number(Number),
    /// A text.
    Text(Box<str>),
}

/// The attributes beside the typed fields.
#[derive(Clone, Default, PartialEq)]
pub struct Attributes {
    /// The event holds `"attributes": null`: every attribute that it does not name is cleared.
    pub cleared: bool,
    /// The named ones.
    pub values: BTreeMap<Box<str>, Attribute>,
}

impl Attributes {
    /// Returns the attribute `name` as the event mentions it.
    pub fn get(&self, name: &str) -> Field<&Attribute> {
        match self.values.get(name) {
            Some(Attribute::Null) => Field::Null,
            Some(value) => Field::Value(value),
            None if self.cleared => Field::Null,
            None => Field::Absent,
        }
    }
}

/// A contact as far as one event mentions it. Blank texts were read as [`Field::Null`].
#[derive(Clone)]
#[expect(
    missing_docs,
    reason = "the fields are named as in the event, which contract section 1 documents"
)]
pub struct Contact {
    pub id: ContactId,
    /// Missing only where a delete does not name it.
    pub kind: Option<ContactType>,
    /// Trimmed, lower-cased and of valid syntax.
    pub email: Text,
    pub first_name: Text,
    pub last_name: Text,
    pub company: Text,
    pub job_title: Text,
    pub phone: Text,
    pub mobile_phone: Text,
    pub website: Text,
    pub street: Text,
    pub city: Text,
    pub state: Text,
    pub postal_code: Text,
    pub country: Text,
    pub lead_source: Text,
    pub status: Text,
    pub attributes: Attributes,
}

impl Contact {
    /// Makes a contact of which only the identity and perhaps the type are known.
    pub fn bare(id: ContactId, kind: Option<ContactType>) -> Self {
        Self {
            id,
            kind,
            email: Field::Absent,
            first_name: Field::Absent,
            last_name: Field::Absent,
            company: Field::Absent,
            job_title: Field::Absent,
            phone: Field::Absent,
            mobile_phone: Field::Absent,
            website: Field::Absent,
            street: Field::Absent,
            city: Field::Absent,
            state: Field::Absent,
            postal_code: Field::Absent,
            country: Field::Absent,
            lead_source: Field::Absent,
            status: Field::Absent,
            attributes: Attributes::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_trimmed_and_blind_to_letter_case() {
        let id = |text| ContactId::new(text).expect("a valid id");
        assert_eq!(id(" C-1 "), id("c-1"));
        assert_eq!(id(" C-1 ").as_str(), "C-1");
        assert_eq!(id("ÄÖ"), id("äö"));
        assert_ne!(id("c-1"), id("c-2"));
    }

    #[test]
    fn identity_is_trimmed_of_control_characters_and_has_none_within() {
        for end in [
            "\0",
            "\u{1f}",
            "\t",
            "\u{7f}",
            "\u{85}",
            "\u{9f}",
            "\u{a0}",
            "\u{2028}",
            " \u{1} \n",
        ] {
            let id = ContactId::new(&format!("{end}C-1{end}")).expect("an identity");
            assert_eq!((id.as_str(), id.key()), ("C-1", "c-1"), "{end:?}");
            assert!(ContactId::new(end).is_none(), "{end:?}");
        }
        for inner in ["\0", "\n", "\u{1f}", "\u{7f}", "\u{85}"] {
            assert!(ContactId::new(&format!("c{inner}1")).is_none(), "{inner:?}");
        }
        assert!(
            ContactId::new("c 1\u{a0}2\u{2028}3").is_some(),
            "white space within is the producer's"
        );
    }

    #[test]
    fn identity_has_1_to_255_characters() {
        assert!(ContactId::new("  ").is_none());
        assert!(ContactId::new(&"é".repeat(255)).is_some());
        assert!(ContactId::new(&"é".repeat(256)).is_none());
    }

    #[test]
    fn debug_shows_no_person() {
        let mut contact = Contact::bare(
            ContactId::new("c-1").expect("valid"),
            Some(ContactType::Lead),
        );
        contact.email = Field::Value("ada@example.com".into());
        let shown = format!("{contact:?} {:?}", contact.email);
        assert!(!shown.contains("ada"), "{shown}");
    }
}
