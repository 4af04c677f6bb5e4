//! The section `[source]`: the format of the records, and the columns of a row that are fields of a
//! contact.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::rows;
use crate::checks::{CheckResult, InvalidValue};
use crate::model::{ContactType, VersionSource};

/// The section `[source]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "`src/settings/defaults.toml` documents every key"
)]
pub struct SourceSettings {
    pub format: Format,
    pub tables: Vec<String>,
    pub changed_only: bool,
    pub version: String,
    pub key: String,
    pub tombstones: Tombstones,
    pub booleans: Vec<String>,
    pub numbers: Vec<String>,
    #[serde(deserialize_with = "columns")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, ColumnSchema>"))]
    pub columns: BTreeMap<String, String>,
    pub types: BTreeMap<String, ContactType>,
}

/// The format of the records' data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One JSON object, contract section 1.3.
    #[default]
    ContactChange,
    /// Debezium: envelopes with or without their schema, and rows that `ExtractNewRecordState`
    /// flattened.
    Debezium,
    /// AWS Database Migration Service.
    Dms,
    /// The stream of a DynamoDB table in Kinesis.
    Dynamodb,
}

impl Format {
    /// All formats, in the order of the documentation.
    pub const ALL: [Self; 4] = [
        Self::ContactChange,
        Self::Debezium,
        Self::Dms,
        Self::Dynamodb,
    ];

    /// Returns the name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::ContactChange => "contact-change",
            Self::Debezium => "debezium",
            Self::Dms => "dms",
            Self::Dynamodb => "dynamodb",
        }
    }

    /// Returns the format of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Returns whether a record is a row of a table.
    pub fn has_rows(self) -> bool {
        self != Self::ContactChange
    }
}

/// The meaning of a record without data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Tombstones {
    /// It follows a delete, and is filtered.
    #[default]
    Filter,
    /// It is the delete of the contact that its key names.
    Delete,
}

impl SourceSettings {
    /// The name of the version that is the time of the change.
    pub(crate) const OCCURRED_AT: &'static str = "occurred_at";

    /// Validates the values of the section. Destinations compare changes by the number `compared`.
    pub(crate) fn check(&self, compared: VersionSource) -> CheckResult {
        if !self.format.has_rows() {
            return self.check_unused();
        }
        self.check_tables()?;
        for (field, column) in &self.columns {
            check_column(field, column)?;
        }
        for (key, field) in [("source.columns.id", "id"), ("source.columns.type", "type")] {
            let has_default = field == "type" && self.types.contains_key("");
            if !self.columns.contains_key(field) && !has_default {
                let message = format!(
                    "is missing; allowed: the column of the contact's {field} (because of \
                     `source.format`, which is `{}`)",
                    self.format.name()
                );
                return Err(InvalidValue::new(key, message).with_other("source.format"));
            }
        }
        check_path("source.version", &self.version)?;
        for column in &self.booleans {
            check_path("source.booleans", column)?;
        }
        self.check_numbers()?;
        if compared == VersionSource::Version && self.has_no_version() {
            let message = "is `occurred_at`; allowed: the column of a version (because of \
                           `guard.version`, which is `version`)";
            return Err(InvalidValue::new("source.version", message).with_other("guard.version"));
        }
        Ok(())
    }

    /// Refuses columns that no format reads.
    fn check_unused(&self) -> CheckResult {
        if self.columns.is_empty() && self.types.is_empty() {
            return Ok(());
        }
        let message = "is `contact-change`, which has no columns; allowed beside `source.columns` \
                       and `source.types`: debezium, dms, dynamodb";
        Err(InvalidValue::new("source.format", message).with_other("source.columns"))
    }

    fn check_tables(&self) -> CheckResult {
        if self.tables.iter().any(String::is_empty) {
            let message = "has an empty name; allowed: names of tables, as `public.contacts`";
            return Err(InvalidValue::new("source.tables", message));
        }
        Ok(())
    }

    fn check_numbers(&self) -> CheckResult {
        const BOOLEANS: &str = "source.booleans";
        for column in &self.numbers {
            check_path("source.numbers", column)?;
            if self.booleans.contains(column) {
                let message =
                    format!("names `{column}`; allowed: columns that `{BOOLEANS}` does not name");
                return Err(InvalidValue::new("source.numbers", message).with_other(BOOLEANS));
            }
        }
        Ok(())
    }

    /// Returns whether the rows have no other version than the time of their change.
    pub(crate) fn has_no_version(&self) -> bool {
        self.format.has_rows() && self.version == Self::OCCURRED_AT
    }
}

fn check_column(field: &str, column: &str) -> CheckResult {
    let key = format!("source.columns.{field}");
    if !rows::is_contact_field(field) {
        let message = format!(
            "is no field of a contact; allowed: {}, attributes.NAME",
            rows::CONTACT_FIELDS.join(", ")
        );
        return Err(InvalidValue::new(key, message));
    }
    check_path(&key, column)
}

/// Validates a column, dotted where it reaches into a JSON column.
fn check_path(key: &str, column: &str) -> CheckResult {
    if column.split('.').any(str::is_empty) {
        let message = format!("is `{column}`; allowed: a column, or `column.key` of a JSON column");
        return Err(InvalidValue::new(key.to_owned(), message));
    }
    Ok(())
}

/// The schema of a column, or of the columns of nested contact fields.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum ColumnSchema {
    Column(String),
    Nested(BTreeMap<String, String>),
}

/// A column, or the columns of nested contact fields.
enum Named {
    Column(String),
    Nested(BTreeMap<String, String>),
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTable;
        impl<'de> Visitor<'de> for TextOrTable {
            type Value = Named;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<Named, E> {
                Ok(Named::Column(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named, A::Error> {
                let mut nested = BTreeMap::new();
                while let Some((field, column)) = map.next_entry()? {
                    nested.insert(field, column);
                }
                Ok(Named::Nested(nested))
            }
        }
        deserializer.deserialize_any(TextOrTable)
    }
}

/// Reads the columns. The unquoted key `address.city` equals the quoted one.
fn columns<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let mut columns = BTreeMap::new();
    for (field, named) in BTreeMap::<String, Named>::deserialize(deserializer)? {
        match named {
            Named::Column(column) => {
                columns.insert(field, column);
            }
            Named::Nested(nested) => {
                for (part, column) in nested {
                    columns.insert(format!("{field}.{part}"), column);
                }
            }
        }
    }
    Ok(columns)
}
