//! The declared columns: which column is which field of a contact.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::super::settings::SourceSettings;
use super::super::wire::{Address, Person};
use crate::json::{Object, Str};
use crate::model::{ContactType, Field};

/// The contact fields that a column may fill, beside `attributes.NAME`.
pub(crate) const CONTACT_FIELDS: [&str; 18] = [
    "id",
    "type",
    "deleted",
    "email",
    "first_name",
    "last_name",
    "company",
    "job_title",
    "phone",
    "mobile_phone",
    "website",
    "address.street",
    "address.city",
    "address.state",
    "address.postal_code",
    "address.country",
    "lead_source",
    "status",
];

/// The prefix of an attribute's field.
const ATTRIBUTE: &str = "attributes.";

/// Returns whether a column may fill the contact field `name`.
pub(crate) fn is_contact_field(name: &str) -> bool {
    CONTACT_FIELDS.contains(&name)
        || name
            .strip_prefix(ATTRIBUTE)
            .is_some_and(|attribute| !attribute.is_empty())
}

/// A declared column. A dotted one reaches into a JSON column.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// The name as declared.
    pub(super) name: Box<str>,
    /// The index of the row's column in [`Columns::names`].
    pub(super) index: usize,
    /// The keys below that column.
    pub(super) path: Box<[Box<str>]>,
    /// Whether the column is declared as a boolean.
    pub(super) is_boolean: bool,
    /// Whether the column fills an attribute and is declared as a number.
    pub(super) is_number: bool,
}

/// The texts of a contact. Its address is kept apart until a column fills it.
#[derive(Default)]
pub(super) struct Texts<'a> {
    pub(super) person: Person<'a>,
    pub(super) address: Option<Address<'a>>,
}

impl<'a> Texts<'a> {
    /// Returns the person with its address.
    pub(super) fn into_person(mut self) -> Person<'a> {
        if let Some(address) = self.address {
            self.person.address = Field::Value(Object(address));
        }
        self.person
    }

    fn address(&mut self) -> &mut Address<'a> {
        self.address
            .get_or_insert_with(|| Address::all(|| Field::Absent))
    }
}

/// Finds a text field of a contact.
pub(super) type TextField = for<'t, 'a> fn(&'t mut Texts<'a>) -> &'t mut Field<Str<'a>>;

/// Returns the text field of this name.
fn text_field(name: &str) -> Option<TextField> {
    Some(match name {
        "email" => |texts| &mut texts.person.email,
        "first_name" => |texts| &mut texts.person.first_name,
        "last_name" => |texts| &mut texts.person.last_name,
        "company" => |texts| &mut texts.person.company,
        "job_title" => |texts| &mut texts.person.job_title,
        "phone" => |texts| &mut texts.person.phone,
        "mobile_phone" => |texts| &mut texts.person.mobile_phone,
        "website" => |texts| &mut texts.person.website,
        "lead_source" => |texts| &mut texts.person.lead_source,
        "status" => |texts| &mut texts.person.status,
        "address.street" => |texts| &mut texts.address().street,
        "address.city" => |texts| &mut texts.address().city,
        "address.state" => |texts| &mut texts.address().state,
        "address.postal_code" => |texts| &mut texts.address().postal_code,
        "address.country" => |texts| &mut texts.address().country,
        _ => return None,
    })
}

/// The declared columns of a row.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    /// The names of the row's columns that are read, sorted by their lengths.
    pub(super) names: Vec<Box<str>>,
    pub(super) id: Column,
    pub(super) kind: Option<Column>,
    pub(super) deleted: Option<Column>,
    pub(super) version: Option<Column>,
    pub(super) texts: Vec<(TextField, Column)>,
    pub(super) attributes: Vec<(Box<str>, Column)>,
    /// The contact types, by the value of the type column.
    pub(super) types: BTreeMap<Box<str>, ContactType>,
}

impl Columns {
    /// Compiles the columns of checked settings.
    pub(super) fn new(settings: &SourceSettings) -> Self {
        let version = Some(&settings.version).filter(|_| !settings.has_no_version());
        let mut names: Vec<Box<str>> = settings
            .columns
            .values()
            .chain(version)
            .filter_map(|column| column.split('.').next())
            .map(Into::into)
            .collect();
        names.sort_unstable_by(|one, other| compare(one, other));
        names.dedup();
        let column = |name: &str| {
            let mut parts = name.split('.');
            let first = parts.next().unwrap_or_default();
            Column {
                name: name.into(),
                index: index(&names, first).unwrap_or_default(),
                path: parts.map(Into::into).collect(),
                is_boolean: settings.booleans.iter().any(|boolean| boolean == name),
                is_number: false,
            }
        };
        let of_field = |field: &str| settings.columns.get(field).map(|name| column(name));
        let (mut texts, mut attributes) = (Vec::new(), Vec::new());
        for (field, name) in &settings.columns {
            if let Some(field) = text_field(field) {
                texts.push((field, column(name)));
            } else if let Some(attribute) = field.strip_prefix(ATTRIBUTE) {
                // A text field takes the text as it is: a postal code may begin with zeros.
                let column = Column {
                    is_number: settings.numbers.contains(name),
                    ..column(name)
                };
                attributes.push((attribute.into(), column));
            }
        }
        let types = settings.types.iter();
        Self {
            id: of_field("id").unwrap_or_else(|| column("id")),
            kind: of_field("type"),
            deleted: of_field("deleted"),
            version: version.map(|name| column(name)),
            texts,
            attributes,
            types: types
                .map(|(value, kind)| (value.trim().into(), *kind))
                .collect(),
            names,
        }
    }

    /// Returns the name of the type of every row, where no column has it.
    pub(super) fn only_type<'a>(&self) -> Field<Str<'a>> {
        match self.kind {
            Some(_) => Field::Absent,
            None => self.type_of(Field::Null),
        }
    }

    /// Returns the name of the contact type that a value of the type column means. A value that is
    /// not listed counts as itself, and no value as a blank one.
    pub(super) fn type_of<'a>(&self, value: Field<Str<'a>>) -> Field<Str<'a>> {
        let text = match &value {
            Field::Value(text) => text.0.trim(),
            Field::Null => "",
            Field::Absent => return Field::Absent,
        };
        match self.types.get(text) {
            Some(kind) => Field::Value(Str(Cow::Borrowed(kind.name()))),
            None => value.map(|Str(text)| Str(trimmed(text))),
        }
    }

    /// Returns the index of the row's column `name`, if it is read.
    pub(super) fn index(&self, name: &str) -> Option<usize> {
        index(&self.names, name)
    }
}

/// Removes the blanks around a value: columns of a fixed length are filled with them.
pub(super) fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

fn index(names: &[Box<str>], name: &str) -> Option<usize> {
    names.binary_search_by(|known| compare(known, name)).ok()
}

/// Compares names by their lengths first: two columns seldom have the same.
fn compare(one: &str, other: &str) -> Ordering {
    let lengths = one.len().cmp(&other.len());
    lengths.then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_contact_field_has_its_place() {
        for field in CONTACT_FIELDS {
            let is_special = ["id", "type", "deleted"].contains(&field);
            assert_eq!(text_field(field).is_none(), is_special, "{field}");
        }
        for (name, is_field) in [
            ("attributes.plan", true),
            ("attributes.a.b", true),
            ("attributes.", false),
            ("attributes", false),
            ("address", false),
            ("Email", false),
        ] {
            assert_eq!(is_contact_field(name), is_field, "{name}");
        }
    }
}
