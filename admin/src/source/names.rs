//! Names of columns that say which field of a contact they hold.

use std::collections::BTreeMap;

/// The names of the columns of each contact field, in lower case without separators; an earlier one
/// is preferred.
const NAMES: [(&str, &[&str]); 18] = [
    (
        "id",
        &[
            "contactid",
            "contactuuid",
            "id",
            "uuid",
            "contactkey",
            "customerid",
            "externalid",
        ],
    ),
    (
        "type",
        &[
            "contacttype",
            "type",
            "segment",
            "kind",
            "category",
            "stage",
        ],
    ),
    (
        "deleted",
        &[
            "deletedat",
            "isdeleted",
            "deleted",
            "deletedon",
            "removedat",
            "archivedat",
        ],
    ),
    ("email", &["email", "emailaddress", "mail", "primaryemail"]),
    ("first_name", &["firstname", "givenname", "forename"]),
    ("last_name", &["lastname", "surname", "familyname"]),
    (
        "company",
        &[
            "company",
            "companyname",
            "organization",
            "organisation",
            "accountname",
        ],
    ),
    ("job_title", &["jobtitle", "title", "position"]),
    (
        "phone",
        &["phone", "phonenumber", "telephone", "tel", "workphone"],
    ),
    (
        "mobile_phone",
        &["mobilephone", "mobile", "cellphone", "cell", "mobilenumber"],
    ),
    ("website", &["website", "url", "homepage", "web"]),
    (
        "address.street",
        &[
            "street",
            "addressstreet",
            "streetaddress",
            "addressline1",
            "address1",
        ],
    ),
    ("address.city", &["city", "addresscity", "town"]),
    (
        "address.state",
        &["state", "addressstate", "province", "region"],
    ),
    (
        "address.postal_code",
        &[
            "postalcode",
            "addresspostalcode",
            "zip",
            "zipcode",
            "postcode",
        ],
    ),
    (
        "address.country",
        &["country", "addresscountry", "countryname", "countrycode"],
    ),
    ("lead_source", &["leadsource", "source", "utmsource"]),
    ("status", &["status", "leadstatus", "contactstatus"]),
];

/// The names of columns that grow with each change.
const VERSIONS: [&str; 6] = [
    "version",
    "rev",
    "revision",
    "rowversion",
    "lockversion",
    "updatedat",
];

/// The beginnings of the names of values of the type column.
const TYPES: [&str; 4] = ["lead", "prospect", "customer", "vendor"];

/// Returns the column of each contact field that a name tells. A table's only key column is the id,
/// unless another one is named so.
pub(super) fn fields<'a>(
    columns: &(impl Iterator<Item = &'a str> + Clone),
    keys: &[String],
) -> BTreeMap<&'static str, String> {
    let mut fields: BTreeMap<&'static str, String> = BTreeMap::new();
    for (field, names) in NAMES {
        for name in names {
            let found = columns.clone().find(|column| plain(last(column)) == *name);
            let is_free = |column: &str| fields.values().all(|taken| taken != column);
            if let Some(column) = found.filter(|column| is_free(column)) {
                fields.insert(field, column.to_owned());
                break;
            }
        }
    }
    let key = keys
        .iter()
        .find(|key| columns.clone().any(|column| column == *key));
    if let (false, Some(key)) = (fields.contains_key("id"), key) {
        fields.insert("id", key.clone());
    }
    fields
}

/// Returns the column that grows with each change, by its name.
pub(super) fn version<'a>(columns: &(impl Iterator<Item = &'a str> + Clone)) -> Option<&'a str> {
    VERSIONS
        .iter()
        .find_map(|name| columns.clone().find(|column| plain(column) == *name))
}

/// Returns whether a value of the type column is the name of a contact type.
pub(super) fn is_type(value: &str) -> bool {
    TYPES.iter().any(|kind| kind.eq_ignore_ascii_case(value))
}

/// Returns the contact type that begins like a value, such as `L` or `cust`.
pub(super) fn type_of(value: &str) -> Option<&'static str> {
    let plain = plain(value);
    TYPES
        .into_iter()
        .find(|kind| !plain.is_empty() && (kind.starts_with(&plain) || plain.starts_with(kind)))
}

/// Returns the key behind the last dot of a column.
fn last(column: &str) -> &str {
    column.rsplit('.').next().unwrap_or(column)
}

/// Returns a name in lower case, without separators.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|char| char.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_found_by_its_name_in_any_spelling() {
        for (column, field) in [
            ("contact_id", "id"),
            ("ContactID", "id"),
            ("E-Mail", "email"),
            ("emailAddress", "email"),
            ("GIVEN_NAME", "first_name"),
            ("profile.town", "address.city"),
            ("zip", "address.postal_code"),
            ("is_deleted", "deleted"),
        ] {
            let found = fields(&[column].into_iter(), &[]);
            assert_eq!(
                found.get(field).map(String::as_str),
                Some(column),
                "{column}"
            );
        }
        assert!(fields(&["unnamed", "emails"].into_iter(), &[]).is_empty());
    }

    #[test]
    fn the_better_name_wins_and_no_column_is_mapped_twice() {
        let columns = ["id", "contact_id", "type", "segment"];
        let found = fields(&columns.into_iter(), &["id".to_owned()]);
        assert_eq!((&*found["id"], &*found["type"]), ("contact_id", "type"));
        let by_key = fields(&["pk", "email"].into_iter(), &["pk".to_owned()]);
        assert_eq!(by_key["id"], "pk");
    }

    #[test]
    fn a_value_tells_its_type_by_its_beginning() {
        for (value, kind) in [
            ("L", "lead"),
            ("CUST", "customer"),
            ("Leads", "lead"),
            ("v", "vendor"),
        ] {
            assert_eq!(type_of(value), Some(kind));
        }
        assert!(type_of("X").is_none() && type_of("").is_none() && type_of("7").is_none());
        assert!(is_type("Lead") && !is_type("L"));
    }
}
