//! The decoded change of any row, any subset of its columns and any image before, by a model.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::{ContactChange, Decoded, attribute, debezium, decoder, dms, dynamodb, record, shown};
use crate::model::{ContactType, Operation};

/// A value of a column in the model.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Null,
    Unavailable,
    Text(String),
    Int(i64),
    /// An unscaled value, with two digits behind the point.
    Decimal(i128),
    /// The value of a temporal type of Debezium, and its text by ISO 8601.
    Temporal(Value, String),
    Bool(bool),
    /// JSON with a city, or without one.
    Profile(Option<String>),
}

/// An image of a row: its columns by name.
type Image = BTreeMap<&'static str, Cell>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Insert,
    Update,
    Snapshot,
    Delete,
}

/// A temporal type of Debezium.
#[derive(Clone, Copy, Debug)]
enum Temporal {
    Date,
    IsoDate,
    /// In units of so many nanoseconds, as the others.
    Time(i64),
    Timestamp(i64),
    ZonedTimestamp,
    Duration(i64),
}

const TEMPORALS: [(&str, Temporal); 14] = [
    ("io.debezium.time.Date", Temporal::Date),
    ("org.apache.kafka.connect.data.Date", Temporal::Date),
    ("io.debezium.time.IsoDate", Temporal::IsoDate),
    ("io.debezium.time.Time", Temporal::Time(1_000_000)),
    (
        "org.apache.kafka.connect.data.Time",
        Temporal::Time(1_000_000),
    ),
    ("io.debezium.time.MicroTime", Temporal::Time(1_000)),
    ("io.debezium.time.NanoTime", Temporal::Time(1)),
    ("io.debezium.time.Timestamp", Temporal::Timestamp(1_000_000)),
    (
        "org.apache.kafka.connect.data.Timestamp",
        Temporal::Timestamp(1_000_000),
    ),
    (
        "io.debezium.time.MicroTimestamp",
        Temporal::Timestamp(1_000),
    ),
    ("io.debezium.time.NanoTimestamp", Temporal::Timestamp(1)),
    ("io.debezium.time.ZonedTimestamp", Temporal::ZonedTimestamp),
    ("io.debezium.time.MicroDuration", Temporal::Duration(1_000)),
    ("io.debezium.time.NanoDuration", Temporal::Duration(1)),
];

impl Temporal {
    fn any(self, random: &mut fastrand::Rng) -> Cell {
        const DAY: i64 = 86_400_000_000_000;
        const YEARS: std::ops::Range<i64> = -719_528..2_932_897;
        match self {
            Self::Date => {
                let days = random.i64(YEARS);
                Cell::Temporal(days.into(), date(days))
            }
            Self::IsoDate => {
                let date = date(random.i64(YEARS));
                Cell::Temporal(format!("{date}Z").into(), date)
            }
            Self::Time(unit) => {
                let value = random.i64(0..DAY / unit);
                Cell::Temporal(value.into(), time_of_day(value * unit))
            }
            Self::Timestamp(unit) => {
                // Nanoseconds reach the years 1677 to 2262.
                let days = if unit == 1 { -106_751..106_751 } else { YEARS };
                let value = random.i64(days) * (DAY / unit) + random.i64(0..DAY / unit);
                Cell::Temporal(
                    value.into(),
                    timestamp(i128::from(value) * i128::from(unit)),
                )
            }
            Self::ZonedTimestamp => {
                let text = timestamp(i128::from(random.i64(..)));
                Cell::Temporal(text.as_str().into(), text)
            }
            Self::Duration(unit) => {
                let longest = 1 << random.u32(1..62);
                let value = random.i64(-longest..=longest);
                Cell::Temporal(value.into(), duration(value, unit))
            }
        }
    }
}

fn timestamp(nanos: i128) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).expect("in range");
    time.format(&Rfc3339).expect("in range")
}

fn date(days: i64) -> String {
    let time = timestamp(i128::from(days) * 86_400_000_000_000);
    time.trim_end_matches("T00:00:00Z").to_owned()
}

fn time_of_day(nanos: i64) -> String {
    let time = timestamp(nanos.into());
    let time = time
        .strip_prefix("1970-01-01T")
        .expect("a time of that day");
    time.trim_end_matches('Z').to_owned()
}

/// Writes a duration. The parts that are zero are left out.
fn duration(value: i64, unit: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let units_of_an_hour = 3_600_000_000_000 / unit.unsigned_abs();
    let (hours, rest) = (
        value.unsigned_abs() / units_of_an_hour,
        value.unsigned_abs() % units_of_an_hour,
    );
    let rest = Duration::nanoseconds_i128(i128::from(rest) * i128::from(unit));
    let (minutes, seconds) = (rest.whole_minutes(), rest.whole_seconds() % 60);
    let fraction = format!(".{:09}", rest.subsec_nanoseconds());
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    let text = format!("{sign}PT{hours}H{minutes}M{seconds}{fraction}S");
    let text = text
        .replace("PT0H", "PT")
        .replace("H0M", "H")
        .replace("PT0M", "PT");
    match text.strip_suffix("0S") {
        Some(text) if text.ends_with(['H', 'M']) => text.to_owned(),
        _ => text,
    }
}

#[derive(Debug)]
struct Model {
    op: Op,
    /// The type of the column `signed_up` in schemas.
    temporal: &'static str,
    before: Option<Image>,
    after: Image,
}

/// The columns beside the id and the type.
const VALUES: [&str; 8] = [
    "email",
    "first_name",
    "profile",
    "plan",
    "seats",
    "balance",
    "signed_up",
    "newsletter",
];

const TYPES: [(&str, ContactType); 4] = [
    ("L", ContactType::Lead),
    ("P", ContactType::Prospect),
    ("C", ContactType::Customer),
    ("V", ContactType::Vendor),
];

fn text(random: &mut fastrand::Rng) -> String {
    let words = [
        "Ada",
        "Zoë \"Z\"",
        "大阪\n",
        "O\\Brien",
        "x",
        "__debezium",
        "null",
        "0",
    ];
    format!("{}{}", words[random.usize(..words.len())], random.u32(..3))
}

fn cell(random: &mut fastrand::Rng, column: &str, temporal: Temporal) -> Cell {
    if random.u32(..6) == 0 {
        return Cell::Null;
    }
    match column {
        "email" => Cell::Text(format!("p{}@example.com", random.u32(..3))),
        "profile" => Cell::Profile(random.bool().then(|| text(random))),
        "seats" => Cell::Int(random.i64(-3..i64::MAX)),
        "balance" => Cell::Decimal(random.i128(-1000..1_000_000_000_000_000_000_000)),
        "signed_up" => temporal.any(random),
        "newsletter" => Cell::Bool(random.bool()),
        _ => Cell::Text(text(random)),
    }
}

/// Generates an image of some columns.
fn image(random: &mut fastrand::Rng, of: Option<&Image>, temporal: Temporal) -> Image {
    let mut image = Image::new();
    for column in VALUES {
        if random.u32(..4) == 0 {
            continue;
        }
        let kept = of
            .and_then(|of| of.get(column))
            .filter(|_| random.u32(..3) > 0);
        let value = match kept {
            Some(Cell::Unavailable) | None => cell(random, column, temporal),
            Some(value) => value.clone(),
        };
        image.insert(column, value);
    }
    image
}

impl Model {
    fn any(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let op = [Op::Insert, Op::Update, Op::Update, Op::Snapshot, Op::Delete][random.usize(..5)];
        let (name, temporal) = TEMPORALS[random.usize(..TEMPORALS.len())];
        let mut after = image(&mut random, None, temporal);
        after.insert("contact_id", Cell::Text(format!("c-{}", random.u32(..9))));
        let (kind, _) = TYPES[random.usize(..4)];
        after.insert("segment", Cell::Text(kind.to_owned()));
        if random.u32(..3) == 0 {
            let is_deleted = random.u32(..3) == 0;
            let mark = if is_deleted {
                Cell::Text("2026".to_owned())
            } else {
                Cell::Null
            };
            after.insert("deleted_at", mark);
        }
        let has_before = op == Op::Delete || (op == Op::Update && random.u32(..4) > 0);
        let before = has_before.then(|| Self::before(&mut random, &after, op, temporal));
        Self {
            op,
            temporal: name,
            before,
            after,
        }
    }

    fn before(random: &mut fastrand::Rng, after: &Image, op: Op, temporal: Temporal) -> Image {
        let mut before = image(random, Some(after), temporal);
        for column in ["contact_id", "segment", "deleted_at"] {
            let is_kept = random.u32(..4) > 0 || (op == Op::Delete && column == "contact_id");
            if let Some(value) = after.get(column).filter(|_| is_kept) {
                before.insert(column, value.clone());
            }
        }
        if random.u32(..8) == 0 {
            let (kind, _) = TYPES[random.usize(..4)];
            before.insert("segment", Cell::Text(kind.to_owned()));
        }
        if random.u32(..8) == 0 {
            before.insert("deleted_at", Cell::Text("yes".to_owned()));
        }
        // The letter case of an id does not matter.
        if op == Op::Update && random.u32(..4) == 0 {
            let id = format!("C-{}", random.u32(..9));
            before.insert("contact_id", Cell::Text(id));
        }
        before
    }

    /// Marks some columns after the change as unavailable.
    fn with_unavailable(mut self, random: &mut fastrand::Rng) -> Self {
        if self.op == Op::Update {
            for column in VALUES {
                if self.after.contains_key(column) && random.u32(..6) == 0 {
                    self.after.insert(column, Cell::Unavailable);
                }
            }
        }
        self
    }

    /// Adds the nulls that the format means by a missing column.
    fn with_nulls(mut self, is_null: impl Fn(&Self, &str) -> bool) -> Self {
        for column in VALUES.into_iter().chain(["deleted_at"]) {
            if !self.after.contains_key(column) && is_null(&self, column) {
                self.after.insert(column, Cell::Null);
            }
        }
        self
    }

    fn is_in_before(&self, column: &str) -> bool {
        self.before
            .as_ref()
            .is_some_and(|before| before.contains_key(column))
    }

    fn kind(image: &Image) -> Option<ContactType> {
        let Some(Cell::Text(value)) = image.get("segment") else {
            return None;
        };
        TYPES
            .iter()
            .find(|(name, _)| name == value)
            .map(|(_, kind)| *kind)
    }

    fn is_deleted(image: &Image) -> bool {
        matches!(image.get("deleted_at"), Some(Cell::Text(_)))
    }

    /// Returns the expected change, line by line; `None` where the record is filtered.
    fn expected(&self) -> Option<Vec<String>> {
        let none = Image::new();
        let before = self.before.as_ref().unwrap_or(&none);
        let Some(Cell::Text(id)) = self.after.get("contact_id") else {
            panic!("a row has an id");
        };
        let operation = match self.op {
            Op::Delete => Operation::Delete,
            _ if Self::is_deleted(&self.after) => Operation::Delete,
            Op::Insert => Operation::Create,
            Op::Update | Op::Snapshot => Operation::Update,
        };
        if operation == Operation::Delete {
            let is_again = self.op != Op::Delete && Self::is_deleted(before);
            let kind = match self.op {
                Op::Delete => Self::kind(before),
                _ => Self::kind(&self.after),
            };
            return (!is_again).then(|| vec![format!("delete {id} {kind:?}")]);
        }
        let kind = Self::kind(&self.after);
        let is_retyped = before.contains_key("segment") && Self::kind(before) != kind;
        let is_renamed = match before.get("contact_id") {
            Some(Cell::Text(before)) => !before.eq_ignore_ascii_case(id),
            _ => false,
        };
        let is_whole = self.before.is_none()
            || operation == Operation::Create
            || is_retyped
            || is_renamed
            || Self::is_deleted(before);
        let mut lines = vec![format!("{} {id} {kind:?}", operation.name())];
        for column in VALUES {
            let (was, is) = (before.get(column), self.after.get(column));
            let value = match is {
                Some(Cell::Unavailable) if is_whole => was,
                Some(Cell::Unavailable) | None => None,
                Some(_) if !is_whole && Self::is_the_same(column, was, is) => None,
                is => is,
            };
            if let Some(value) = value {
                lines.push(format!("{column} {}", value.told()));
            }
        }
        let is_sent = is_whole || lines.len() > 1 || !before.contains_key("segment");
        is_sent.then_some(lines)
    }

    /// Compares the mapped part of a column.
    fn is_the_same(column: &str, was: Option<&Cell>, is: Option<&Cell>) -> bool {
        let told = |cell: Option<&Cell>| cell.map(Cell::told);
        match column {
            "profile" => told(was) == told(is),
            _ => was == is,
        }
    }
}

impl Cell {
    /// Returns the value as the contact has it.
    fn told(&self) -> String {
        match self {
            Self::Null | Self::Profile(None) => "null".to_owned(),
            Self::Unavailable => panic!("it is untouched"),
            Self::Text(text) | Self::Temporal(_, text) | Self::Profile(Some(text)) => {
                format!("text {text:?}")
            }
            Self::Int(number) => format!("number {number}"),
            Self::Decimal(unscaled) => format!("number {}", decimal(*unscaled)),
            Self::Bool(value) => format!("{value}"),
        }
    }
}

fn decimal(unscaled: i128) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:03}", unscaled.unsigned_abs());
    let (whole, fraction) = digits.split_at(digits.len() - 2);
    format!("{sign}{whole}.{fraction}")
}

/// Returns a decoded change as the model's lines.
fn lines(change: &ContactChange) -> Vec<String> {
    let contact = &change.contact;
    let mut lines = vec![format!(
        "{} {} {:?}",
        change.operation.name(),
        contact.id.as_str(),
        contact.kind
    )];
    let texts = [
        ("email", &contact.email),
        ("first_name", &contact.first_name),
        ("profile", &contact.city),
    ];
    for (column, text) in texts {
        match shown(text) {
            "absent" => {}
            "null" if text.value().is_none() => lines.push(format!("{column} null")),
            value => lines.push(format!("{column} text {value:?}")),
        }
    }
    for column in &VALUES[3..] {
        let told = match attribute(change, column) {
            None => continue,
            Some(Value::String(text)) if text.starts_with("number ") => text,
            Some(Value::String(text)) => format!("text {text:?}"),
            Some(other) => other.to_string(),
        };
        lines.push(format!("{column} {told}"));
    }
    lines
}

fn debezium_row(image: &Image, random: &mut fastrand::Rng, has_schema: bool) -> Value {
    let mut row = Map::new();
    row.insert("unmapped".to_owned(), json!({"a": [1, {"b": null}]}));
    for (column, cell) in image {
        let value = match cell {
            Cell::Null => Value::Null,
            Cell::Unavailable => placeholder(random),
            Cell::Temporal(value, _) if has_schema => value.clone(),
            Cell::Text(text) | Cell::Temporal(_, text) => json!(text),
            Cell::Int(number) => json!(number),
            // `decimal.handling.mode` is `string`.
            Cell::Decimal(unscaled) if !has_schema && random.bool() => decimal(*unscaled).into(),
            Cell::Decimal(unscaled) if has_schema => base64_simd::STANDARD
                .encode_to_string(unscaled.to_be_bytes())
                .into(),
            Cell::Decimal(unscaled) => json!({
                "scale": 2,
                "value": base64_simd::STANDARD.encode_to_string(unscaled.to_be_bytes()),
            }),
            Cell::Bool(value) => boolean(*value, random),
            Cell::Profile(city) => profile(city.as_deref()).to_string().into(),
        };
        row.insert((*column).to_owned(), value);
    }
    row.into()
}

/// Writes a boolean as one of the types that databases without booleans have.
fn boolean(value: bool, random: &mut fastrand::Rng) -> Value {
    [
        json!(value),
        json!(i32::from(value)),
        json!(if value { "t" } else { "f" }),
        json!(if value { "Y" } else { "N" }),
    ][random.usize(..4)]
    .clone()
}

fn placeholder(random: &mut fastrand::Rng) -> Value {
    let text = "__debezium_unavailable_value";
    [
        json!(text),
        json!("X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="),
        json!([text]),
        json!(text.as_bytes()),
        json!(["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]),
        json!({text: text}),
    ][random.usize(..6)]
    .clone()
}

fn profile(city: Option<&str>) -> Value {
    match city {
        Some(city) => json!({"zip": 1, "city": city}),
        None => json!({"zip": 2}),
    }
}

/// The schema of the row, with types for the columns whose values need them.
fn row_schema(field: &str, temporal: &str) -> Value {
    let mut fields = vec![
        json!({"name": temporal, "version": 1, "field": "signed_up"}),
        json!({"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal",
               "parameters": {"scale": "2"}, "field": "balance"}),
    ];
    fields.push(json!({"type": "string", "name": "io.debezium.data.Json", "field": "profile"}));
    json!({"type": "struct", "fields": fields, "field": field})
}

fn debezium_record(model: &Model, random: &mut fastrand::Rng) -> Value {
    let has_schema = random.bool();
    let mut row = |image: &Image| debezium_row(image, random, has_schema);
    let before = model.before.as_ref().map_or(Value::Null, &mut row);
    let after = match model.op {
        Op::Delete => Value::Null,
        _ => row(&model.after),
    };
    let op = match model.op {
        Op::Insert => "c",
        Op::Update => "u",
        Op::Snapshot => "r",
        Op::Delete => "d",
    };
    let envelope = debezium(op, &before, &after);
    if has_schema {
        let image = |field| row_schema(field, model.temporal);
        let schema = json!({"fields": [image("before"), image("after")]});
        json!({"schema": schema, "payload": envelope})
    } else {
        envelope
    }
}

fn dms_row(image: &Image, random: &mut fastrand::Rng) -> Value {
    let mut row = Map::new();
    row.insert("BI_email".to_owned(), "old".into());
    for (column, cell) in image {
        let value = match cell {
            Cell::Null | Cell::Unavailable => Value::Null,
            Cell::Text(text) | Cell::Temporal(_, text) => json!(text),
            Cell::Int(number) if random.bool() => number.to_string().into(),
            Cell::Int(number) => json!(number),
            Cell::Decimal(unscaled) if random.bool() => decimal(*unscaled).into(),
            // A `Value` would lose digits: the quotes are removed from the text.
            Cell::Decimal(unscaled) => format!("#{}#", decimal(*unscaled)).into(),
            Cell::Bool(value) => boolean(*value, random),
            Cell::Profile(city) => profile(city.as_deref()).to_string().into(),
        };
        row.insert((*column).to_owned(), value);
    }
    row.into()
}

fn dynamodb_row(image: &Image, random: &mut fastrand::Rng) -> Value {
    let mut row = Map::new();
    row.insert("unmapped".to_owned(), json!({"L": [{"NULL": true}]}));
    for (column, cell) in image {
        let value = match cell {
            Cell::Null | Cell::Unavailable => json!({"NULL": true}),
            Cell::Text(text) | Cell::Temporal(_, text) => json!({"S": text}),
            Cell::Int(number) => json!({"N": number.to_string()}),
            Cell::Decimal(unscaled) if random.bool() => json!({"S": decimal(*unscaled)}),
            Cell::Decimal(unscaled) => json!({"N": decimal(*unscaled)}),
            Cell::Bool(value) => match boolean(*value, random) {
                Value::Number(number) => json!({"N": number.to_string()}),
                Value::String(text) => json!({"S": text}),
                value => json!({"BOOL": value}),
            },
            Cell::Profile(Some(city)) => json!({"M": {"city": {"S": city}, "zip": {"N": "1"}}}),
            Cell::Profile(None) => json!({"M": {"zip": {"N": "2"}}}),
        };
        row.insert((*column).to_owned(), value);
    }
    row.into()
}

/// Checks that the record of `data` is decoded as the model expects.
fn check(format: &str, model: &Model, data: &str) -> Result<(), TestCaseError> {
    let decoded = decoder(format, "").decode(record(Some(data.as_bytes())));
    let found = match &decoded {
        Ok(Decoded::Change(change)) => Some(lines(change)),
        Ok(Decoded::Filtered(filtered)) if filtered.code == "NO_CHANGE" => None,
        other => return Err(TestCaseError::fail(format!("{other:?} of {data}"))),
    };
    prop_assert_eq!(found, model.expected(), "{} of {:?}", data, model);
    if let Ok(Decoded::Change(change)) = &decoded {
        let previous = model.before.as_ref().and_then(Model::kind);
        prop_assert_eq!(change.previous_type, previous, "{}", data);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_row_of_debezium_is_the_models(seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let model = Model::any(seed).with_unavailable(&mut random);
        let data = debezium_record(&model, &mut random).to_string();
        check("debezium", &model, &data)?;
    }

    #[test]
    fn any_flattened_row_of_debezium_is_the_models(seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut model = Model::any(seed);
        if model.op == Op::Delete {
            // The row that is deleted is the only image.
            model.before = Some(model.after.clone());
        } else {
            model.before = None;
        }
        let has_schema = random.bool();
        let mut row = debezium_row(&model.after, &mut random, has_schema);
        match model.op {
            Op::Insert => row["__op"] = "c".into(),
            Op::Update => row["__deleted"] = "false".into(),
            Op::Snapshot => {}
            Op::Delete => row["__deleted"] = "true".into(),
        }
        let record = if has_schema {
            json!({"schema": row_schema("Value", model.temporal), "payload": row})
        } else {
            row
        };
        check("debezium", &model, &record.to_string())?;
    }

    #[test]
    fn any_row_of_dms_is_the_models(seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let model = Model::any(seed);
        let before = match &model.before {
            Some(before) => dms_row(before, &mut random),
            None => Value::Null,
        };
        let (operation, data) = match model.op {
            Op::Insert => ("insert", dms_row(&model.after, &mut random)),
            Op::Update => ("update", dms_row(&model.after, &mut random)),
            Op::Snapshot => ("load", dms_row(&model.after, &mut random)),
            Op::Delete => {
                let nulls = VALUES.into_iter().map(|column| (column, Cell::Null));
                let mut row: Image = nulls.collect();
                row.insert("contact_id", model.after["contact_id"].clone());
                ("delete", dms_row(&row, &mut random))
            }
        };
        let data = dms(operation, &before, &data).to_string();
        let data = data.replace("\"#", "").replace("#\"", "");
        let model = model.with_nulls(|model, column| {
            model.op != Op::Update || model.is_in_before(column)
        });
        check("dms", &model, &data)?;
    }

    #[test]
    fn any_item_of_dynamodb_is_the_models(seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let model = Model::any(seed);
        let name = match model.op {
            Op::Insert => "INSERT",
            Op::Update | Op::Snapshot => "MODIFY",
            Op::Delete => "REMOVE",
        };
        let mut row = |image: &Image| dynamodb_row(image, &mut random);
        let before = model.before.as_ref().map_or(Value::Null, &mut row);
        let after = match model.op {
            Op::Delete => Value::Null,
            _ => row(&model.after),
        };
        let mut data = dynamodb(name, &before, &after);
        let id = row(&model.after)["contact_id"].clone();
        data["dynamodb"]["Keys"]["contact_id"] = id;
        let mut model = model.with_nulls(|_, _| true);
        for column in VALUES.into_iter().chain(["segment"]) {
            if let Some(before) = &mut model.before {
                before.entry(column).or_insert(Cell::Null);
            }
        }
        check("dynamodb", &model, &data.to_string())?;
    }
}
