//! The schema of a Kafka Connect record: the types of the declared columns. It is read without
//! nesting and without copies, so that neither its depth nor its length costs memory.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::columns::Columns;
use super::connect::ColumnType;
use crate::json::{Object, Str};
use crate::model::codes;
use crate::model::{Refusal, Stage};

/// The types in the schemas that were read last. Each row of a table carries the same schema, which
/// is longer than the row.
#[derive(Debug, Default)]
pub(super) struct SchemaCache(Mutex<VecDeque<Known>>);

/// A schema that was read.
#[derive(Debug)]
struct Known {
    /// Its bytes, which a record has to repeat.
    schema: Box<str>,
    image: Option<&'static str>,
    types: Arc<[ColumnType]>,
}

impl SchemaCache {
    /// The most schemas that are kept: for each table that of the images before and after.
    const MOST: usize = 16;

    /// The longest schema that is kept, in bytes. A longer one is read with each of its rows.
    const LONGEST: usize = 64 * 1024;

    /// Returns the types of the columns by `schema`. `image` names the field of an envelope whose
    /// columns they are; `None` where the record itself is the row.
    pub(super) fn types(
        &self,
        schema: &str,
        image: Option<&'static str>,
        columns: &Columns,
    ) -> Result<Arc<[ColumnType]>, Box<Refusal>> {
        let is_same = |known: &&Known| known.image == image && *known.schema == *schema;
        if let Some(known) = self.lock().iter().find(is_same) {
            return Ok(Arc::clone(&known.types));
        }
        let types: Arc<[ColumnType]> = types(schema, image, columns)?.into();
        if schema.len() <= Self::LONGEST {
            self.keep(Known {
                schema: schema.into(),
                image,
                types: Arc::clone(&types),
            });
        }
        Ok(types)
    }

    /// Splits a record that is a schema, which is kept, and its payload. `None` for other records,
    /// which have to be parsed as a whole.
    pub(super) fn split<'a>(&self, text: &'a str) -> Option<(&'a str, &'a str)> {
        let object = text.trim_end().strip_prefix("{\"schema\":")?;
        let object = object.strip_suffix('}')?;
        for known in self.lock().iter() {
            let payload = object.strip_prefix(&*known.schema);
            let payload = payload.and_then(|rest| rest.strip_prefix(",\"payload\":"));
            if let Some(payload) = payload {
                return Some((&object[..known.schema.len()], payload));
            }
        }
        None
    }

    /// Returns how many schemas are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.lock().len()
    }

    fn keep(&self, read: Known) {
        let mut known = self.lock();
        if known.len() == Self::MOST {
            known.pop_front();
        }
        known.push_back(read);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the types of the columns from `schema`.
fn types(
    schema: &str,
    image: Option<&str>,
    columns: &Columns,
) -> Result<Vec<ColumnType>, Box<Refusal>> {
    let mut types = vec![ColumnType::Plain; columns.names.len()];
    let found = match image {
        None => read(schema, &mut types, columns),
        Some(image) => {
            let Ok(inner) = inner(schema, image) else {
                return Err(unreadable());
            };
            match inner {
                Some(fields) => fill(fields, &mut types, columns),
                None => Err(de::Error::custom("no image")),
            }
        }
    };
    match found {
        Ok(()) => Ok(types),
        Err(_) => Err(unreadable()),
    }
}

/// Returns the type of the field `name` by the schema of a record's key; of the key itself where
/// `name` is empty.
pub(super) fn type_in_key(schema: &str, name: &str) -> ColumnType {
    let mut kind = ColumnType::Plain;
    let Ok(Object(key)) = serde_json::from_str::<Object<FieldSchema<'_>>>(schema) else {
        return kind;
    };
    if name.is_empty() {
        return key.kind();
    }
    if let Some(fields) = key.fields {
        // The fields before a malformed one are known.
        let _ = each(fields, |field| {
            if field.field.as_ref().is_some_and(|found| found.0 == name) {
                kind = field.kind();
            }
        });
    }
    kind
}

fn unreadable() -> Box<Refusal> {
    let message = "the schema of the record does not describe its row";
    Box::new(Refusal::new(Stage::Decode, codes::UNREADABLE_SCHEMA, message).of_field("schema"))
}

#[derive(Deserialize)]
struct Struct<'a> {
    #[serde(borrow)]
    fields: &'a RawValue,
}

/// A field of a struct, as far as it is read.
#[derive(Deserialize)]
struct FieldSchema<'a> {
    #[serde(borrow)]
    field: Option<Str<'a>>,
    #[serde(borrow)]
    name: Option<Str<'a>>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    fields: Option<&'a RawValue>,
}

impl FieldSchema<'_> {
    /// Returns the type of the field's values.
    fn kind(&self) -> ColumnType {
        match &self.name {
            Some(name) => ColumnType::new(&name.0, self.parameters.and_then(scale)),
            None => ColumnType::Plain,
        }
    }
}

fn read(
    schema: &str,
    types: &mut [ColumnType],
    columns: &Columns,
) -> Result<(), serde_json::Error> {
    let Object(Struct { fields }) = serde_json::from_str(schema)?;
    fill(fields, types, columns)
}

/// Returns the fields of the struct at the field `image`.
fn inner<'a>(schema: &'a str, image: &str) -> Result<Option<&'a RawValue>, serde_json::Error> {
    let Object(Struct { fields }) = serde_json::from_str(schema)?;
    let mut found = None;
    each(fields, |field| {
        if field.field.is_some_and(|name| name.0 == image) {
            found = field.fields;
        }
    })?;
    Ok(found)
}

fn fill(
    fields: &RawValue,
    types: &mut [ColumnType],
    columns: &Columns,
) -> Result<(), serde_json::Error> {
    each(fields, |field| {
        let name = field.field.as_ref();
        let index = name.and_then(|name| columns.index(&name.0));
        if let Some(kind) = index.and_then(|index| types.get_mut(index)) {
            *kind = field.kind();
        }
    })
}

/// Returns the parameter `scale`, which is a text.
fn scale(parameters: &RawValue) -> Option<i32> {
    #[derive(Deserialize)]
    struct Parameters<'a> {
        #[serde(borrow)]
        scale: Option<Str<'a>>,
    }
    let parameters: Parameters<'_> = serde_json::from_str(parameters.get()).ok()?;
    parameters.scale?.0.trim().parse().ok()
}

/// Calls `take` with each field of the list `fields`.
fn each<'a>(
    fields: &'a RawValue,
    take: impl FnMut(FieldSchema<'a>),
) -> Result<(), serde_json::Error> {
    struct Each<F>(F);
    impl<'de, F: FnMut(FieldSchema<'de>)> DeserializeSeed<'de> for Each<F> {
        type Value = ();

        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            deserializer.deserialize_seq(self)
        }
    }
    impl<'de, F: FnMut(FieldSchema<'de>)> Visitor<'de> for Each<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of fields")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
            while let Some(Object(field)) = seq.next_element()? {
                (self.0)(field);
            }
            Ok(())
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(fields.get());
    Each(take).deserialize(&mut deserializer)
}
