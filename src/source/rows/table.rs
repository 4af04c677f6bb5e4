//! Names of tables.

use crate::json::Str;

/// The name of a table, with the schema and the database that contain it.
#[derive(Clone, Debug, Default)]
pub(super) struct Table<'a> {
    pub(super) parts: [Option<std::borrow::Cow<'a, str>>; 3],
}

impl<'a> Table<'a> {
    /// Makes the name of a table in a schema in a database. Blank parts count as missing. `None`
    /// without a name of the table itself.
    pub(super) fn new(
        database: Option<Str<'a>>,
        schema: Option<Str<'a>>,
        table: Option<Str<'a>>,
    ) -> Option<Self> {
        let parts = [database, schema, table].map(|part| {
            part.map(|Str(text)| text)
                .filter(|text| !text.trim().is_empty())
        });
        parts[2].is_some().then_some(Self { parts })
    }

    /// Returns whether `name` is the table's name: alone, or behind its schema, or behind its
    /// database and schema.
    pub(super) fn is_named(&self, name: &str) -> bool {
        let mut rest = name;
        for part in self.parts.iter().rev().flatten() {
            let Some(before) = rest.strip_suffix(&**part) else {
                return false;
            };
            match before.strip_suffix('.') {
                Some(before) => rest = before,
                None => return before.is_empty(),
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(database: &'static str, schema: &'static str) -> Table<'static> {
        let part = |text: &'static str| Some(Str(text.into()));
        Table::new(part(database), part(schema), part("contacts")).expect("a name")
    }

    #[test]
    fn a_table_is_named_with_or_without_the_schema_and_the_database_around_it() {
        let postgres = table("crm", "public");
        for name in ["contacts", "public.contacts", "crm.public.contacts"] {
            assert!(postgres.is_named(name), "{name}");
        }
        for name in [
            "",
            ".contacts",
            "crm.contacts",
            "other.contacts",
            "publiccontacts",
            "x.crm.public.contacts",
            "Contacts",
            "contacts2",
        ] {
            assert!(!postgres.is_named(name), "{name}");
        }
        let mysql = table("crm", "");
        assert!(mysql.is_named("crm.contacts") && mysql.is_named("contacts"));
        assert!(Table::new(None, None, Some(Str(" ".into()))).is_none());
    }
}
