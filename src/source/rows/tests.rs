//! Tests of the decoders: the rules of contract section 1.3 one by one, and the decoded change of
//! any row by a model of the tests' own.

mod model;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::*;
use crate::model::{Attribute, ContactType, KinesisOrigin, Operation, Origin, Record, Text};
use crate::source::RecordDecoder;

const COLUMNS: &str = r#"
id = "contact_id"
type = "segment"
email = "email"
first_name = "first_name"
company = "company"
"address.city" = "profile.city"
"attributes.plan" = "plan"
"attributes.seats" = "seats"
"attributes.balance" = "balance"
"attributes.signed_up" = "signed_up"
"attributes.newsletter" = "newsletter"
deleted = "deleted_at"
"#;

/// Builds the settings of a format; `more` overrides them.
fn settings(format: &str, more: &str) -> SourceSettings {
    let types = "[types]\nL = \"lead\"\nP = \"prospect\"\nC = \"customer\"\nV = \"vendor\"\n";
    let keys = "tables = []\nchanged_only = true\nversion = \"occurred_at\"\nkey = \"id\"\n\
                tombstones = \"filter\"\nbooleans = [\"newsletter\"]\n\
                numbers = [\"seats\", \"balance\"]\n";
    let defaults = format!("format = \"{format}\"\n{keys}[columns]\n{COLUMNS}{types}");
    let mut table: toml::Table = toml::from_str(&defaults).expect("TOML");
    table.extend(toml::from_str::<toml::Table>(more).expect("TOML"));
    let settings: SourceSettings = table.try_into().expect("settings");
    let checked = settings.check(crate::model::VersionSource::OccurredAt);
    assert!(checked.is_ok(), "{checked:?}");
    settings
}

fn time(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(text, &Rfc3339).expect("RFC 3339")
}

fn record(data: Option<&[u8]>) -> RowRecord<'_> {
    RowRecord {
        data,
        is_tombstone: false,
        key: None,
        event_id: None,
        occurred_at: None,
        debezium: None,
        position: &"shard:1:0",
        written_at: time("2026-01-02T00:00:00Z"),
        arrived_at: time("2026-01-02T00:00:00Z"),
        is_replay: false,
    }
}

fn decoder(format: &str, more: &str) -> RowDecoder {
    RowDecoder::new(&settings(format, more)).expect("a format of rows")
}

fn decode(format: &str, more: &str, data: &Value) -> Result<Decoded, Box<Refusal>> {
    decoder(format, more).decode(record(Some(data.to_string().as_bytes())))
}

fn change(format: &str, more: &str, data: &Value) -> ContactChange {
    match decode(format, more, data) {
        Ok(Decoded::Change(change)) => *change,
        other => panic!("{other:?} of {data}"),
    }
}

/// Returns the code of a record that is filtered or refused; empty of a change.
fn code(format: &str, more: &str, data: &Value) -> String {
    coded(decode(format, more, data))
}

fn coded(decoded: Result<Decoded, Box<Refusal>>) -> String {
    match decoded {
        Ok(Decoded::Change(_)) => String::new(),
        Ok(Decoded::Filtered(filtered)) => filtered.code.to_owned(),
        Err(refusal) => refusal.rejection.code.to_string(),
    }
}

fn shown(text: &Text) -> &str {
    match text {
        Field::Absent => "absent",
        Field::Null => "null",
        Field::Value(text) => text,
    }
}

/// Returns an attribute as JSON; `None` where the change does not mention it.
fn attribute(change: &ContactChange, name: &str) -> Option<Value> {
    Some(match change.contact.attributes.values.get(name)? {
        Attribute::Null => Value::Null,
        Attribute::Bool(value) => (*value).into(),
        Attribute::Number(number) => format!("number {number}").into(),
        Attribute::Text(text) => (**text).into(),
    })
}

/// Builds an envelope of Debezium.
fn debezium(op: &str, before: &Value, after: &Value) -> Value {
    json!({
        "before": before, "after": after,
        "source": {
            "version": "3.6.0.Final", "connector": "postgresql", "name": "crm",
            "ts_ms": 1_767_225_600_123_u64, "ts_ns": 1_767_225_600_123_456_000_u64,
            "snapshot": "false", "db": "crm", "sequence": "[\"24023119\",\"24023128\"]",
            "schema": "public", "table": "contacts", "txId": 555, "lsn": 24_023_128, "xmin": null,
        },
        "transaction": null, "op": op, "ts_ms": 1_767_225_600_800_u64,
    })
}

/// Builds a record of DMS.
fn dms(operation: &str, before: &Value, data: &Value) -> Value {
    json!({
        "data": data, "before-image": before,
        "metadata": {
            "timestamp": "2026-01-01T00:00:00.300Z", "record-type": "data",
            "operation": operation, "partition-key-type": "primary-key",
            "schema-name": "public", "table-name": "contacts", "transaction-id": 1099,
            "transaction-record-id": 1, "commit-timestamp": "2026-01-01T00:00:00.275Z",
            "stream-position": "00000002/7C007178.3.00000002/7C007178",
        },
    })
}

/// Builds a record of a DynamoDB table's stream.
fn dynamodb(name: &str, old: &Value, new: &Value) -> Value {
    let mut item = json!({
        "ApproximateCreationDateTime": 1_767_225_600_123_u64,
        "Keys": {"contact_id": {"S": "c-1"}}, "SizeBytes": 26,
    });
    for (key, image) in [("OldImage", old), ("NewImage", new)] {
        if !image.is_null() {
            item[key] = image.clone();
        }
    }
    json!({
        "awsRegion": "us-east-1", "eventID": "e-1", "eventName": name, "userIdentity": null,
        "recordFormat": "application/json", "tableName": "contacts", "dynamodb": item,
        "eventSource": "aws:dynamodb",
    })
}

fn row() -> Value {
    json!({"contact_id": "c-1", "segment": "L", "email": "a@example.com", "first_name": "Ada",
           "company": null, "profile": "{\"city\":\"London\"}", "plan": "team", "seats": 25,
           "unmapped": [{"a": 1}]})
}

fn with(mut row: Value, column: &str, value: Value) -> Value {
    row[column] = value;
    row
}

#[test]
fn each_operation_of_each_format_has_its_meaning() {
    let create = Some(Operation::Create);
    let update = Some(Operation::Update);
    let delete = Some(Operation::Delete);
    let none = Value::Null;
    let tagged = json!({"contact_id": {"S": "c-1"}, "segment": {"S": "L"}});
    let mut flat = row();
    flat["__op"] = "c".into();
    let rewritten = |deleted: Value| with(row(), "__deleted", deleted);
    for (format, data, expected) in [
        ("debezium", debezium("c", &none, &row()), create),
        ("debezium", debezium("u", &none, &row()), update),
        ("debezium", debezium("r", &none, &row()), update),
        ("debezium", debezium("d", &row(), &none), delete),
        ("debezium", json!({"before": null, "after": row()}), update),
        ("debezium", json!({"before": row(), "after": null}), delete),
        ("debezium", row(), update),
        ("debezium", flat, create),
        ("debezium", rewritten("true".into()), delete),
        ("debezium", rewritten("false".into()), update),
        ("debezium", rewritten(true.into()), delete),
        ("dms", dms("load", &none, &row()), update),
        ("dms", dms("insert", &none, &row()), create),
        ("dms", dms("update", &json!({}), &row()), update),
        ("dms", dms("delete", &none, &row()), delete),
        ("dynamodb", dynamodb("INSERT", &none, &tagged), create),
        ("dynamodb", dynamodb("MODIFY", &none, &tagged), update),
        ("dynamodb", dynamodb("REMOVE", &tagged, &none), delete),
    ] {
        let change = change(format, "", &data);
        assert_eq!(Some(change.operation), expected, "{data}");
        assert_eq!(change.contact.id.as_str(), "c-1", "{data}");
        assert_eq!(change.contact.kind, Some(ContactType::Lead), "{data}");
        assert!(!change.replay);
        let is_load = data["metadata"]["operation"] == "load";
        assert_eq!(change.is_load, is_load, "{data}");
    }
}

#[test]
fn a_null_in_the_image_of_a_delete_is_no_type() {
    let none = Value::Null;
    let no_type = "[types]\n\"\" = \"prospect\"\nC = \"customer\"\n";
    let nulls = json!({"contact_id": "c-1", "segment": null, "email": null});
    let flat = with(
        with(nulls.clone(), "__op", "d".into()),
        "__deleted",
        "true".into(),
    );
    let tagged = json!({"contact_id": {"S": "c-1"}, "segment": {"NULL": true}});
    for (format, data) in [
        ("debezium", flat),
        ("debezium", debezium("d", &nulls, &none)),
        ("dms", dms("delete", &none, &nulls)),
        ("dms", dms("delete", &nulls, &nulls)),
        ("dynamodb", dynamodb("REMOVE", &tagged, &none)),
        (
            "dynamodb",
            dynamodb("REMOVE", &json!({"contact_id": {"S": "c-1"}}), &none),
        ),
    ] {
        let sent = change(format, no_type, &data);
        assert_eq!(sent.operation, Operation::Delete, "{data}");
        assert_eq!(sent.contact.kind, None, "{data}");
    }
    let blank = with(nulls.clone(), "segment", "".into());
    let sent = change("debezium", no_type, &debezium("d", &blank, &none));
    assert_eq!(sent.contact.kind, Some(ContactType::Prospect));
    let sent = change("debezium", no_type, &debezium("u", &none, &nulls));
    assert_eq!(
        sent.contact.kind,
        Some(ContactType::Prospect),
        "a null of a row that exists is a value"
    );
}

#[test]
fn the_time_and_the_id_of_an_event_are_the_sources() {
    let none = Value::Null;
    let tagged = json!({"contact_id": {"S": "c-1"}, "segment": {"S": "L"}});
    let mut micros = dynamodb("MODIFY", &none, &tagged);
    micros["dynamodb"]["ApproximateCreationDateTime"] = 1_767_225_600_123_456_u64.into();
    micros["dynamodb"]["ApproximateCreationDateTimePrecision"] = "MICROSECOND".into();
    let mut seconds = micros.clone();
    seconds["dynamodb"]["ApproximateCreationDateTime"] = 1_767_225_600.into();
    let mut load = dms("load", &none, &row());
    for key in [
        "commit-timestamp",
        "transaction-id",
        "transaction-record-id",
        "stream-position",
    ] {
        load["metadata"]
            .as_object_mut()
            .expect("an object")
            .remove(key);
    }
    let mut mysql = debezium("u", &none, &row());
    mysql["source"] = json!({"ts_ms": 1_767_225_600_000_u64, "db": "crm", "table": "contacts",
                             "file": "bin.000003", "pos": 154, "row": 0});
    let mut sql_server = debezium("u", &none, &row());
    sql_server["source"] = json!({"ts_ms": 1_767_225_600_000_u64, "table": "contacts",
                                  "change_lsn": "00000027:00000758:0003", "event_serial_no": 2});
    let mut flat = row();
    flat["__source_ts_ms"] = 1_767_225_600_000_u64.into();
    flat["__lsn"] = 7.into();
    for (format, data, id, at) in [
        (
            "debezium",
            debezium("u", &none, &row()),
            "24023128:c-1",
            "2026-01-01T00:00:00.123Z",
        ),
        (
            "debezium",
            mysql,
            "bin.000003:154:0:c-1",
            "2026-01-01T00:00:00Z",
        ),
        (
            "debezium",
            sql_server,
            "00000027:00000758:0003:2:c-1",
            "2026-01-01T00:00:00Z",
        ),
        ("debezium", flat, "7:c-1", "2026-01-01T00:00:00Z"),
        ("debezium", row(), "shard:1:0", "2026-01-02T00:00:00Z"),
        (
            "dms",
            dms("update", &none, &row()),
            "1099:1:c-1",
            "2026-01-01T00:00:00.275Z",
        ),
        ("dms", load, "shard:1:0", "2026-01-01T00:00:00.3Z"),
        (
            "dynamodb",
            dynamodb("MODIFY", &none, &tagged),
            "e-1:c-1",
            "2026-01-01T00:00:00.123Z",
        ),
        ("dynamodb", micros, "e-1:c-1", "2026-01-01T00:00:00.123456Z"),
        ("dynamodb", seconds, "e-1:c-1", "2026-01-01T00:00:00Z"),
    ] {
        let change = change(format, "", &data);
        assert_eq!(
            (&*change.event_id, change.occurred_at),
            (id, time(at)),
            "{data}"
        );
    }
}

#[test]
fn a_change_without_a_time_has_that_of_its_record() {
    let text = row().to_string();
    let rows = decoder("debezium", "tombstones = \"delete\"");
    for data in [Some(text.as_bytes()), None] {
        let of_time = |occurred_at, written_at| RowRecord {
            key: Some(br#"{"id":"c-1"}"#),
            is_tombstone: data.is_none(),
            occurred_at,
            written_at: time(written_at),
            ..record(data)
        };
        let decoded = rows.decode(of_time(None, "2026-01-01T12:00:00Z"));
        let Ok(Decoded::Change(change)) = decoded else {
            panic!("{decoded:?}");
        };
        assert_eq!(change.occurred_at, time("2026-01-01T12:00:00Z"));
        let future = rows.decode(of_time(None, "2026-01-04T00:00:00Z"));
        assert_eq!(coded(future), "TIME_IN_FUTURE");
    }
}

#[test]
fn the_time_of_a_cloud_event_is_that_of_a_row_without_its_own() {
    let rows = decoder("debezium", "");
    let mut timed = row();
    timed["__source_ts_ms"] = 1_767_225_600_000_u64.into();
    for (data, cloud_event, expected) in [
        (row(), "2026-01-01T06:00:00Z", Ok("2026-01-01T06:00:00Z")),
        (row(), "yesterday", Err("INVALID_TIMESTAMP")),
        (row(), "2026-01-09T00:00:00Z", Err("TIME_IN_FUTURE")),
        (
            timed.clone(),
            "2026-01-01T06:00:00Z",
            Ok("2026-01-01T00:00:00Z"),
        ),
        (timed, "yesterday", Ok("2026-01-01T00:00:00Z")),
    ] {
        let text = data.to_string();
        let decoded = rows.decode(RowRecord {
            occurred_at: Some(cloud_event),
            ..record(Some(text.as_bytes()))
        });
        match (decoded, expected) {
            (Ok(Decoded::Change(change)), Ok(expected)) => {
                assert_eq!(change.occurred_at, time(expected), "{data}, {cloud_event}");
            }
            (decoded, Err(code)) => assert_eq!(coded(decoded), code, "{data}, {cloud_event}"),
            (decoded, _) => panic!("{decoded:?} of {data}, {cloud_event}"),
        }
    }
}

#[test]
fn a_time_in_the_future_or_of_no_calendar_is_refused() {
    let mut future = debezium("u", &Value::Null, &row());
    future["source"]["ts_ms"] = 1_767_484_800_000_u64.into();
    let mut endless = future.clone();
    endless["source"]["ts_ms"] = u64::MAX.into();
    let mut dated = dms("update", &Value::Null, &row());
    dated["metadata"]["commit-timestamp"] = "yesterday".into();
    for (format, data, expected) in [
        ("debezium", future, "TIME_IN_FUTURE"),
        ("debezium", endless, "INVALID_TIMESTAMP"),
        ("dms", dated, "INVALID_TIMESTAMP"),
    ] {
        assert_eq!(code(format, "", &data), expected, "{data}");
        let refusal = decode(format, "", &data).expect_err("refused");
        if expected == "TIME_IN_FUTURE" {
            assert_eq!(refusal.contact_id.as_deref(), Some("c-1"));
            assert_eq!(refusal.event_id.as_deref(), Some("24023128:c-1"));
        }
    }
}

#[test]
fn columns_that_did_not_change_are_untouched() {
    let before = row();
    let after = with(
        with(row(), "email", "b@example.com".into()),
        "unmapped",
        1.into(),
    );
    let sent = change("debezium", "", &debezium("u", &before, &after));
    let contact = &sent.contact;
    assert_eq!(shown(&contact.email), "b@example.com");
    for text in [&contact.first_name, &contact.company, &contact.city] {
        assert_eq!(shown(text), "absent");
    }
    assert_eq!(attribute(&sent, "plan"), None);
    assert_eq!(sent.previous_type, Some(ContactType::Lead));
    let rest = sent
        .whole
        .expect("a destination may not have the contact")
        .expect("valid");
    assert_eq!(shown(&rest.first_name), "Ada");
    assert_eq!(shown(&rest.email), "b@example.com");
    let invalid = with(after.clone(), "plan", json!(["team"]));
    let before_invalid = with(before.clone(), "plan", json!(["team"]));
    let sent = change("debezium", "", &debezium("u", &before_invalid, &invalid));
    let rejection = sent
        .whole
        .expect("a destination may not have the contact")
        .expect_err("unreadable");
    assert_eq!(rejection.code.as_str(), "COLUMN_UNREADABLE");
    assert_eq!(rejection.fields, ["plan"]);

    let whole = change(
        "debezium",
        "changed_only = false",
        &debezium("u", &before, &after),
    );
    assert!(whole.whole.is_none());
    assert_eq!(shown(&whole.contact.first_name), "Ada");
    assert_eq!(shown(&whole.contact.company), "null");
    assert_eq!(shown(&whole.contact.city), "London");

    let unmapped = with(row(), "unmapped", 2.into());
    assert_eq!(
        code("debezium", "", &debezium("u", &before, &unmapped)),
        "NO_CHANGE"
    );
    let other_key = with(row(), "profile", r#"{"city":"London","zip":1}"#.into());
    assert_eq!(
        code("debezium", "", &debezium("u", &before, &other_key)),
        "NO_CHANGE"
    );
    let Ok(Decoded::Filtered(filtered)) =
        decode("debezium", "", &debezium("u", &before, &unmapped))
    else {
        panic!("filtered");
    };
    let named = filtered.change.expect("the audit trail names it");
    assert_eq!(named.contact.id.as_str(), "c-1");
}

#[test]
fn an_image_before_of_key_columns_says_nothing_of_the_others() {
    let sent = change(
        "debezium",
        "",
        &debezium("u", &json!({"contact_id": "c-1"}), &row()),
    );
    assert_eq!(shown(&sent.contact.first_name), "Ada");
    assert_eq!(sent.previous_type, None);
    let sent = change("dms", "", &dms("update", &json!({}), &row()));
    assert_eq!(shown(&sent.contact.first_name), "Ada");
}

#[test]
fn the_whole_row_is_sent_where_the_destination_may_not_have_it() {
    let typed = with(row(), "segment", "C".into());
    let deleted = with(row(), "deleted_at", 1.into());
    let other_id = with(row(), "contact_id", "c-0".into());
    for before in [typed, deleted, other_id] {
        let sent = change("debezium", "", &debezium("u", &before, &row()));
        assert_eq!(sent.operation, Operation::Update);
        assert_eq!(shown(&sent.contact.first_name), "Ada", "{before}");
        assert_eq!(shown(&sent.contact.company), "null", "{before}");
    }
    let typed = with(row(), "segment", "C".into());
    let sent = change("debezium", "", &debezium("u", &typed, &row()));
    assert_eq!(sent.previous_type, Some(ContactType::Customer));
    for unusable in [Value::Null, "X".into()] {
        let untyped = with(row(), "segment", unusable);
        let sent = change("debezium", "", &debezium("u", &untyped, &row()));
        assert_eq!(
            shown(&sent.contact.first_name),
            "Ada",
            "it was never written"
        );
    }
    let same_id = with(row(), "contact_id", " C-1".into());
    let envelope = debezium("u", &same_id, &row());
    assert_eq!(
        code("debezium", "", &envelope),
        "NO_CHANGE",
        "ids ignore letter case"
    );
}

#[test]
fn an_unavailable_value_is_untouched_unless_the_image_before_has_it() {
    let placeholder = "__debezium_unavailable_value";
    let after = with(row(), "company", placeholder.into());
    let sent = change("debezium", "", &debezium("u", &Value::Null, &after));
    assert_eq!(shown(&sent.contact.company), "absent");
    let before = with(
        with(row(), "company", "Engines".into()),
        "segment",
        "V".into(),
    );
    let sent = change("debezium", "", &debezium("u", &before, &after));
    assert_eq!(
        shown(&sent.contact.company),
        "Engines",
        "a whole row takes it from before"
    );
    let before = with(row(), "company", "Engines".into());
    assert_eq!(
        code("debezium", "", &debezium("u", &before, &after)),
        "NO_CHANGE"
    );
    let json_column = with(row(), "profile", placeholder.into());
    let sent = change("debezium", "", &debezium("u", &Value::Null, &json_column));
    assert_eq!(shown(&sent.contact.city), "absent");
    let sent = change("dms", "", &dms("update", &Value::Null, &after));
    assert_eq!(
        shown(&sent.contact.company),
        placeholder,
        "a text of no meaning in DMS"
    );
}

#[test]
fn an_unavailable_value_is_untouched_in_each_of_its_encodings() {
    let text = "__debezium_unavailable_value";
    for placeholder in [
        json!(text),
        json!("X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="),
        json!([text]),
        json!(text.as_bytes()),
        json!(["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]),
        json!({text: text}),
        json!(json!({text: text}).to_string()),
    ] {
        let after = with(row(), "plan", placeholder.clone());
        let envelope = debezium("u", &Value::Null, &after);
        let schema = json!({"fields": [{"field": "after", "fields": [
            {"field": "plan", "name": "org.apache.kafka.connect.data.Decimal"},
        ]}]});
        let wrapped = json!({"schema": schema, "payload": envelope});
        for data in [envelope, wrapped, after] {
            let sent = change("debezium", "", &data);
            assert_eq!(attribute(&sent, "plan"), None, "{placeholder}");
            assert_eq!(shown(&sent.contact.first_name), "Ada", "{placeholder}");
        }
    }
}

#[test]
fn a_soft_delete_deletes_once_and_can_be_taken_back() {
    let live = row();
    let gone = with(row(), "deleted_at", "2026-01-01T00:00:00Z".into());
    let touched = with(gone.clone(), "email", "c@example.com".into());
    for (before, after, expected) in [
        (Value::Null, gone.clone(), "delete"),
        (live.clone(), gone.clone(), "delete"),
        (gone.clone(), touched.clone(), "NO_CHANGE"),
        (gone.clone(), live.clone(), "update"),
    ] {
        let found = match decode("debezium", "", &debezium("u", &before, &after)) {
            Ok(Decoded::Change(change)) => change.operation.name().to_owned(),
            other => coded(other),
        };
        assert_eq!(found, expected, "{before} to {after}");
    }
    let all = change(
        "debezium",
        "changed_only = false",
        &debezium("u", &gone, &touched),
    );
    assert_eq!(all.operation, Operation::Delete);
    let created = change("debezium", "", &debezium("c", &Value::Null, &gone));
    assert_eq!(created.operation, Operation::Delete);
}

#[test]
fn the_type_of_a_delete_is_that_of_the_image_before() {
    let none = Value::Null;
    let key = json!({"contact_id": "c-1"});
    let nulls = json!({"contact_id": "c-1", "segment": null, "email": null});
    let tagged = json!({"contact_id": {"S": "c-1"}, "segment": {"S": "V"}});
    for (format, data, expected) in [
        (
            "debezium",
            debezium("d", &row(), &none),
            Some(ContactType::Lead),
        ),
        ("debezium", debezium("d", &key, &none), None),
        ("dms", dms("delete", &none, &nulls), None),
        (
            "dms",
            dms("delete", &row(), &nulls),
            Some(ContactType::Lead),
        ),
        (
            "dynamodb",
            dynamodb("REMOVE", &tagged, &none),
            Some(ContactType::Vendor),
        ),
        ("dynamodb", dynamodb("REMOVE", &none, &none), None),
        (
            "debezium",
            debezium("d", &with(row(), "segment", "unknown".into()), &none),
            None,
        ),
    ] {
        let sent = change(format, "", &data);
        assert_eq!(sent.contact.kind, expected, "{data}");
        assert_eq!(
            shown(&sent.contact.email),
            "absent",
            "nulls of a delete are no clears"
        );
    }
}

#[test]
fn a_delete_without_columns_is_found_by_its_key() {
    let data = debezium("d", &Value::Null, &Value::Null).to_string();
    let of_key = |key: Option<&'static str>| RowRecord {
        key: key.map(str::as_bytes),
        ..record(Some(data.as_bytes()))
    };
    let decoder = decoder("debezium", "");
    let Ok(Decoded::Change(found)) = decoder.decode(of_key(Some(r#"{"id":"c-9"}"#))) else {
        panic!("a delete");
    };
    assert_eq!(found.contact.id.as_str(), "c-9");
    assert_eq!(coded(decoder.decode(of_key(None))), "MISSING_FIELD");
}

/// Builds a cloud event of Debezium, with the attributes of a change in `public.contacts`.
fn cloud_event(operation: &str, data: &Value) -> Value {
    json!({
        "id": "name:crm;lsn:24023128;txId:555", "source": "/debezium/postgresql/crm",
        "specversion": "1.0", "type": "io.debezium.connector.postgresql.DataChangeEvent",
        "time": "2026-01-01T00:00:00.123Z", "datacontenttype": "application/json",
        "iodebeziumop": operation, "iodebeziumversion": "3.6.0.Final",
        "iodebeziumconnector": "postgresql", "iodebeziumname": "crm",
        "iodebeziumtsms": "1767225600123", "iodebeziumsnapshot": "false", "iodebeziumdb": "crm",
        "iodebeziumschema": "public", "iodebeziumtable": "contacts", "iodebeziumlsn": "24023128",
        "iodebeziumxmin": null, "data": data,
    })
}

/// Returns the operation and the contact of a record that is a cloud event, or its code.
fn of_event(more: &str, event: &Value, key: &str) -> String {
    let mut record = Record::of_data(base64_simd::STANDARD.encode_to_string(event.to_string()));
    record.origin = Origin::Kinesis(KinesisOrigin {
        partition_key: Some(key.into()),
        ..KinesisOrigin::default()
    });
    let decoder = RecordDecoder::new(&settings("debezium", more));
    match decoder.decode(&record, time("2026-01-02T00:00:00Z")) {
        Ok(Decoded::Change(change)) => {
            format!("{} {}", change.operation.name(), change.contact.id.as_str())
        }
        other => coded(other),
    }
}

#[test]
fn a_cloud_event_names_the_table_and_the_operation_in_its_attributes() {
    let images = |before: &Value, after: &Value| json!({"before": before, "after": after});
    let none = Value::Null;
    let with_schema = |data: &Value| {
        let row = json!({"fields": [{"field": "contact_id"}]});
        let image = |name: &str| with(row.clone(), "field", name.into());
        json!({"schema": {"fields": [image("before"), image("after")]}, "payload": data})
    };
    let settings = "tables = [\"crm.public.contacts\"]\nchanged_only = false";
    let key = r#"{"id":"c-1"}"#;
    for (operation, data, expected) in [
        ("c", images(&none, &row()), "create c-1"),
        ("r", images(&none, &row()), "update c-1"),
        ("u", images(&row(), &row()), "update c-1"),
        ("d", images(&row(), &none), "delete c-1"),
        ("d", images(&none, &none), "delete c-1"),
        ("t", images(&none, &none), "NOT_A_ROW_CHANGE"),
        (
            "m",
            json!({"message": {"prefix": "p", "content": "AQI="}}),
            "NOT_A_ROW_CHANGE",
        ),
        ("x", images(&none, &row()), "UNKNOWN_OPERATION"),
        ("c", row(), "create c-1"),
        ("d", row(), "delete c-1"),
        ("c", with(row(), "__op", "u".into()), "update c-1"),
    ] {
        for data in [data.clone(), with_schema(&data)] {
            let event = cloud_event(operation, &data);
            assert_eq!(of_event(settings, &event, key), expected, "{event}");
            let other = with(event.clone(), "iodebeziumtable", "orders".into());
            let found = of_event(settings, &other, key);
            if ["t", "m", "x"].contains(&operation) {
                assert_eq!(found, expected, "no row of a table: {other}");
            } else {
                assert_eq!(found, "OTHER_TABLE", "{other}");
            }
            for (name, table, expected) in [
                ("iodebeziumschema", "crm.public.contacts", "OTHER_TABLE"),
                ("iodebeziumdb", "crm.public.contacts", "OTHER_TABLE"),
                ("iodebeziumdb", "public.contacts", expected),
            ] {
                let settings = settings.replace("crm.public.contacts", table);
                let event = with(event.clone(), name, "other".into());
                let found = of_event(&settings, &event, key);
                let is_row = !["t", "m", "x"].contains(&operation);
                if is_row {
                    assert_eq!(found, expected, "{event}");
                }
            }
        }
    }
    let deleted = cloud_event("d", &images(&none, &none));
    assert_eq!(of_event(settings, &deleted, "default"), "MISSING_FIELD");
    let mut plain = cloud_event("d", &images(&none, &row()));
    for name in [
        "iodebeziumop",
        "iodebeziumdb",
        "iodebeziumschema",
        "iodebeziumtable",
    ] {
        plain[name] = Value::Null;
    }
    assert_eq!(
        of_event(settings, &plain, key),
        "update c-1",
        "without attributes"
    );
    let source = json!({"table": "orders"});
    let named = with(images(&none, &row()), "source", source);
    let event = cloud_event("c", &named);
    assert_eq!(
        of_event(settings, &event, key),
        "OTHER_TABLE",
        "the record's own source counts"
    );
}

/// Returns the id of the contact that a record without data deletes, or the code of the record.
fn deleted_by(decoder: &RowDecoder, key: &[u8]) -> String {
    let tombstone = RowRecord {
        key: Some(key),
        is_tombstone: true,
        ..record(None)
    };
    match decoder.decode(tombstone) {
        Ok(Decoded::Change(change)) => change.contact.id.as_str().to_owned(),
        Ok(Decoded::Filtered(Filtered { code, warning, .. })) => match warning {
            Some(_) => format!("{code} with a warning"),
            None => code.to_owned(),
        },
        Err(refusal) => panic!("{refusal:?}"),
    }
}

#[test]
fn a_tombstone_of_another_table_is_filtered() {
    for table in ["contacts", "public.contacts", "crm.public.contacts"] {
        let settings = format!("tombstones = \"delete\"\ntables = [\"{table}\"]\n");
        let decoder = decoder("debezium", &settings);
        for (name, expected) in [
            ("pg1.public.contacts.Key", "c-7"),
            ("pg1.public.orders.Key", "OTHER_TABLE"),
            ("orders.Key", "OTHER_TABLE with a warning"),
            ("contact", "c-7"),
        ] {
            let schema = json!({"type": "struct", "name": name});
            let key = json!({"schema": schema, "payload": {"id": "c-7"}}).to_string();
            assert_eq!(
                deleted_by(&decoder, key.as_bytes()),
                expected,
                "{name} of {table}"
            );
        }
    }
}

#[test]
fn the_key_of_a_tombstone_is_read_as_the_id_of_its_row() {
    let decoder = decoder("debezium", "tombstones = \"delete\"");
    let decimal = json!({"fields": [{"type": "bytes", "field": "id", "parameters": {"scale": "0"},
                                     "name": "org.apache.kafka.connect.data.Decimal"}]});
    let date = json!({"fields": [{"field": "id", "name": "io.debezium.time.Date"}]});
    let variable = json!({"scale": 0, "value": "Ag=="});
    for (key, expected) in [
        (json!({"schema": decimal, "payload": {"id": "Ag=="}}), "2"),
        (
            json!({"schema": date, "payload": {"id": 20454}}),
            "2026-01-01",
        ),
        (json!({"schema": null, "payload": {"id": variable}}), "2"),
        (json!({"id": variable}), "2"),
        (json!({"schema": 7, "payload": {"id": "c-1"}}), "c-1"),
        (json!({"id": {"a": 1}}), "NOT_A_ROW_CHANGE with a warning"),
        (
            json!({"schema": decimal, "payload": {"id": "?"}}),
            "NOT_A_ROW_CHANGE with a warning",
        ),
    ] {
        assert_eq!(
            deleted_by(&decoder, key.to_string().as_bytes()),
            expected,
            "{key}"
        );
    }
    for (frame, rest, expected) in [
        (&[0, 0, 0, 0, 17][..], &b"{\"id\":\"c-1\"}"[..], "c-1"),
        (
            &[0, 0, 0, 0, 17],
            b"\x02\x06c-1",
            "NOT_A_ROW_CHANGE with a warning",
        ),
        (
            &[3, 0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
            b"{\"id\":\"c-1\"}",
            "c-1",
        ),
    ] {
        assert_eq!(deleted_by(&decoder, &[frame, rest].concat()), expected);
    }
}

#[test]
fn a_tombstone_is_filtered_or_deletes_the_contact_of_its_key() {
    let wrapped = r#"{"schema":null,"payload":null}"#;
    for (data, is_tombstone) in [
        (None, true),
        (Some(&b""[..]), true),
        (Some(wrapped.as_bytes()), false),
    ] {
        let of_key = |key: &'static str| RowRecord {
            key: Some(key.as_bytes()),
            is_tombstone,
            ..record(data)
        };
        let envelopes = decoder("debezium", "");
        let decoded = envelopes.decode(of_key(r#"{"id":"c-1"}"#));
        let Ok(Decoded::Filtered(filtered)) = decoded else {
            panic!("{decoded:?}");
        };
        assert_eq!(
            (filtered.code, filtered.warning),
            ("NOT_A_ROW_CHANGE", None)
        );
        let flattened = decoder("debezium", "tombstones = \"delete\"");
        let Ok(Decoded::Change(change)) = flattened.decode(of_key(r#"{"id":"c-1"}"#)) else {
            panic!("a delete");
        };
        assert_eq!(change.operation, Operation::Delete);
        assert_eq!(
            (change.contact.id.as_str(), change.contact.kind),
            ("c-1", None)
        );
        assert_eq!(&*change.event_id, "shard:1:0");
        let Ok(Decoded::Filtered(filtered)) = flattened.decode(of_key("default")) else {
            panic!("filtered");
        };
        assert!(filtered.warning.is_some(), "an operator has to know of it");
    }
}

#[test]
fn a_filtered_tombstone_is_warned_of_where_it_is_the_only_sign_of_a_delete() {
    let heartbeat = json!({"ts_ms": 1_767_225_600_000_u64});
    let rewritten = with(row(), "__deleted", "false".into());
    let wrapped = json!({"schema": null, "payload": row()});
    let warning = Some("tombstone of a flattened feed");
    for (seen, expected) in [
        (debezium("c", &Value::Null, &row()), None),
        (rewritten, None),
        (heartbeat, None),
        (json!({"other": 1}), None),
        (row(), warning),
        (with(row(), "__op", "u".into()), warning),
        (wrapped, warning),
    ] {
        let decoder = decoder("debezium", "");
        let _ = decoder.decode(record(Some(seen.to_string().as_bytes())));
        let tombstone = RowRecord {
            is_tombstone: true,
            ..record(None)
        };
        let Ok(Decoded::Filtered(filtered)) = decoder.decode(tombstone) else {
            panic!("filtered");
        };
        assert_eq!(
            (filtered.code, filtered.warning),
            ("NOT_A_ROW_CHANGE", expected),
            "{seen}"
        );
    }
}

#[test]
fn a_record_without_content_that_is_no_tombstone_of_debezium_is_refused() {
    for (format, tombstones, is_tombstone) in [
        ("debezium", "filter", false),
        ("debezium", "delete", false),
        ("dms", "filter", false),
        ("dms", "delete", true),
        ("dynamodb", "filter", false),
        ("dynamodb", "delete", true),
    ] {
        let decoder = decoder(format, &format!("tombstones = \"{tombstones}\""));
        for (data, expected) in [(None, "MISSING_DATA"), (Some(&b""[..]), "EMPTY_DATA")] {
            let record = RowRecord {
                key: Some(br#"{"id":"c-1"}"#),
                is_tombstone,
                ..record(data)
            };
            assert_eq!(
                coded(decoder.decode(record)),
                expected,
                "{format}, {tombstones}"
            );
        }
    }
}

#[test]
fn records_that_change_no_row_are_filtered_before_their_table_is_looked_at() {
    let mut control = dms("create-table", &Value::Null, &Value::Null);
    control["metadata"]["record-type"] = "control".into();
    let mut exception = dms("insert", &Value::Null, &json!({"TASK_NAME": "t"}));
    exception["metadata"]["table-name"] = "awsdms_apply_exceptions".into();
    let mut truncate = debezium("t", &Value::Null, &Value::Null);
    truncate["source"]["table"] = "others".into();
    for (format, data, warns) in [
        ("debezium", truncate, true),
        ("debezium", debezium("m", &Value::Null, &Value::Null), true),
        (
            "debezium",
            json!({"source": {}, "ddl": "DROP TABLE a", "tableChanges": []}),
            true,
        ),
        ("debezium", json!({"ts_ms": 1_767_225_600_000_u64}), false),
        (
            "debezium",
            json!({"status": "BEGIN", "id": "555", "event_count": null}),
            false,
        ),
        (
            "debezium",
            json!({"schema": {}, "payload": {"ts_ms": 1}}),
            false,
        ),
        ("dms", control, true),
        ("dms", exception, true),
    ] {
        let decoded = decode(format, "tables = [\"public.contacts\"]", &data);
        let Ok(Decoded::Filtered(filtered)) = decoded else {
            panic!("{decoded:?} of {data}");
        };
        assert_eq!(filtered.code, "NOT_A_ROW_CHANGE", "{data}");
        assert_eq!(filtered.warning.is_some(), warns, "{data}");
    }
}

#[test]
fn a_record_that_changes_no_row_may_have_a_key_of_the_name_of_the_ids_column() {
    let settings = "tables = [\"public.contacts\"]\n[columns]\nid = \"id\"\n\
                    [types]\n\"\" = \"lead\"\n";
    let begin = json!({"status": "BEGIN", "id": "571:53195832", "event_count": null,
                       "data_collections": null, "ts_ms": 1_767_225_600_000_u64});
    let end = json!({"status": "END", "id": "571:53195832", "event_count": 1,
                     "data_collections": [{"data_collection": "public.contacts",
                                           "event_count": 1}]});
    let schema_change = json!({"source": {"table": "contacts"}, "ts_ms": 1, "databaseName": "crm",
                               "ddl": "ALTER TABLE contacts", "tableChanges": []});
    for (data, id) in [
        (begin.clone(), "id"),
        (end, "id"),
        (
            json!({"schema": {"type": "struct"}, "payload": begin.clone()}),
            "id",
        ),
        (with(begin.clone(), "replay", true.into()), "id"),
        (schema_change, "databaseName"),
        (json!({"ts_ms": 1_767_225_600_000_u64}), "ts_ms"),
    ] {
        let settings = settings.replace("\"id\"", &format!("\"{id}\""));
        assert_eq!(
            code("debezium", &settings, &data),
            "NOT_A_ROW_CHANGE",
            "{data}"
        );
    }
    for row in [
        with(begin.clone(), "status", "OPEN".into()),
        json!({"id": "c-1", "status": "END", "event_count": 7}),
        json!({"id": "c-1", "ddl": "x", "tableChanges": 1, "source": "web"}),
        json!({"id": "c-1", "ts_ms": 1}),
    ] {
        assert_eq!(
            code("debezium", settings, &row),
            "",
            "a row has these columns: {row}"
        );
    }
}

#[test]
fn rows_of_other_tables_are_filtered() {
    let tables = "tables = [\"public.contacts\", \"leads\"]";
    let mut other = debezium("u", &Value::Null, &json!({"id": 7}));
    other["source"]["table"] = "orders".into();
    let mut named = other.clone();
    named["source"]["schema"] = "crm".into();
    named["source"]["table"] = "contacts".into();
    let mut of_dms = dms("insert", &Value::Null, &json!({"id": 7}));
    of_dms["metadata"]["table-name"] = "orders".into();
    let mut of_dynamodb = dynamodb("INSERT", &Value::Null, &json!({"id": {"N": "7"}}));
    of_dynamodb["tableName"] = "orders".into();
    for (format, data) in [
        ("debezium", other),
        ("debezium", named),
        ("dms", of_dms),
        ("dynamodb", of_dynamodb),
    ] {
        assert_eq!(code(format, tables, &data), "OTHER_TABLE", "{data}");
    }
    let mut lead = debezium("u", &Value::Null, &row());
    lead["source"]["table"] = "leads".into();
    assert_eq!(code("debezium", tables, &lead), "");
    assert_eq!(
        code("debezium", tables, &row()),
        "",
        "a bare row names no table"
    );
}

#[test]
fn a_flattened_row_may_have_each_field_twice_of_the_change_and_of_its_source() {
    let tables = "tables = [\"crm.public.contacts\"]";
    for (name, value, other) in [
        ("table", "contacts", "orders"),
        ("schema", "public", "private"),
        ("db", "crm", "billing"),
        ("lsn", "7", "8"),
    ] {
        let mut row = row();
        for (name, value) in [("db", "crm"), ("schema", "public"), ("table", "contacts")] {
            row[format!("__source_{name}")] = value.into();
        }
        row[format!("__{name}")] = value.into();
        row[format!("__source_{name}")] = value.into();
        assert_eq!(code("debezium", tables, &row), "", "{row}");
        row[format!("__{name}")] = other.into();
        let expected = if name == "lsn" { "" } else { "OTHER_TABLE" };
        assert_eq!(code("debezium", tables, &row), expected, "{row}");
    }
    let row = with(with(row(), "__lsn", 7.into()), "__source_lsn", 8.into());
    assert_eq!(&*change("debezium", "", &row).event_id, "7:c-1");
}

#[test]
fn an_attribute_that_the_new_image_lacks_is_cleared() {
    let old = json!({"contact_id": {"S": "c-1"}, "segment": {"S": "L"},
                     "email": {"S": "a@b.example"},
                     "profile": {"M": {"city": {"S": "Bath"}}}, "plan": {"S": "team"}});
    let new = json!({"contact_id": {"S": "c-1"}, "segment": {"S": "L"},
                     "profile": {"M": {"zip": {"S": "1"}}}});
    let sent = change("dynamodb", "", &dynamodb("MODIFY", &old, &new));
    assert_eq!(shown(&sent.contact.email), "null");
    assert_eq!(shown(&sent.contact.city), "null");
    assert_eq!(
        shown(&sent.contact.first_name),
        "absent",
        "neither image has it"
    );
    assert_eq!(attribute(&sent, "plan"), Some(Value::Null));
}

#[test]
fn nulls_that_dms_leaves_out_are_cleared_where_the_row_is_known_to_be_whole() {
    let sparse = json!({"contact_id": 42, "segment": "C"});
    for (data, expected) in [
        (dms("load", &Value::Null, &sparse), "null"),
        (dms("insert", &Value::Null, &sparse), "null"),
        (dms("update", &json!({}), &sparse), "absent"),
        (
            dms("update", &json!({"email": "a@example.com"}), &sparse),
            "null",
        ),
    ] {
        let sent = change("dms", "", &data);
        assert_eq!(shown(&sent.contact.email), expected, "{data}");
        assert_eq!(sent.contact.id.as_str(), "42");
    }
}

#[test]
fn a_column_that_cannot_be_read_is_named_and_only_where_it_is_sent() {
    let none = Value::Null;
    let broken = with(row(), "email", json!(["a"]));
    let unchanged = with(broken.clone(), "plan", "solo".into());
    let tagged = json!({"contact_id": {"S": "c-1"}, "segment": {"S": "L"}, "seats": {"L": []}});
    for (format, data, column) in [
        ("debezium", debezium("u", &none, &broken), "email"),
        ("debezium", debezium("u", &row(), &broken), "email"),
        (
            "debezium",
            debezium("u", &none, &with(row(), "profile", "x".into())),
            "profile.city",
        ),
        (
            "debezium",
            debezium("u", &none, &with(row(), "newsletter", 7.into())),
            "newsletter",
        ),
        (
            "debezium",
            debezium("u", &none, &with(row(), "contact_id", json!({}))),
            "contact_id",
        ),
        (
            "debezium",
            debezium("u", &none, &with(row(), "segment", json!([]))),
            "segment",
        ),
        (
            "debezium",
            debezium("u", &none, &with(row(), "deleted_at", json!([]))),
            "deleted_at",
        ),
        ("dms", dms("update", &none, &broken), "email"),
        ("dynamodb", dynamodb("MODIFY", &none, &tagged), "seats"),
    ] {
        let refusal = decode(format, "", &data).expect_err("refused");
        assert_eq!(
            refusal.rejection.code.as_str(),
            "COLUMN_UNREADABLE",
            "{data}"
        );
        assert_eq!(refusal.rejection.fields, [column], "{data}");
    }
    let no_boolean = debezium("u", &none, &with(row(), "newsletter", 7.into()));
    let refusal = decode("debezium", "", &no_boolean).expect_err("refused");
    let message = &refusal.rejection.message;
    assert!(message.contains("`source.booleans`"), "{message}");
    let sent = change("debezium", "", &debezium("u", &broken, &unchanged));
    assert_eq!(attribute(&sent, "plan"), Some("solo".into()));
    assert_eq!(
        code("debezium", "", &debezium("d", &broken, &none)),
        "",
        "a delete needs no email"
    );
}

/// Builds an update in each format that has no other types than JSON's. `change` sets the columns
/// of the row.
fn updates(change: impl Fn(&mut Value)) -> Vec<(&'static str, Value)> {
    let mut row = row();
    change(&mut row);
    let mut item = json!({});
    for (column, value) in row.as_object().expect("an object") {
        item[column] = match value {
            Value::String(text) => json!({"S": text}),
            Value::Number(number) => json!({"N": number.to_string()}),
            Value::Bool(value) => json!({"BOOL": value}),
            _ => json!({"NULL": true}),
        };
    }
    let none = Value::Null;
    vec![
        ("debezium", debezium("u", &none, &row)),
        ("debezium", row.clone()),
        ("dms", dms("update", &none, &row)),
        ("dynamodb", dynamodb("MODIFY", &none, &item)),
    ]
}

#[test]
fn a_declared_number_is_sent_as_a_number_with_the_digits_of_its_text() {
    let digits = "number 12345678901234567890123456789012345678.10";
    for (value, expected) in [
        (json!("12.50"), json!("number 12.50")),
        (json!(" -7 "), json!("number -7")),
        (json!("1E+3"), json!("number 1E+3")),
        (
            json!("12345678901234567890123456789012345678.10"),
            json!(digits),
        ),
        (json!(12.5), json!("number 12.5")),
        (json!(""), Value::Null),
        (json!("  "), Value::Null),
        (Value::Null, Value::Null),
    ] {
        for (format, data) in updates(|row| row["balance"] = value.clone()) {
            let sent = change(format, "", &data);
            assert_eq!(
                attribute(&sent, "balance"),
                Some(expected.clone()),
                "{data}"
            );
        }
        let of_profile = "numbers = [\"profile.balance\"]\n[columns]\nid = \"contact_id\"\n\
                          type = \"segment\"\n\"attributes.balance\" = \"profile.balance\"";
        let profile = json!({"balance": value}).to_string();
        for (format, data) in updates(|row| row["profile"] = profile.as_str().into()) {
            let sent = change(format, of_profile, &data);
            assert_eq!(
                attribute(&sent, "balance"),
                Some(expected.clone()),
                "{data}"
            );
        }
    }
    for (format, data) in updates(|row| row["plan"] = "12.50".into()) {
        let sent = change(format, "", &data);
        assert_eq!(
            attribute(&sent, "plan"),
            Some("12.50".into()),
            "it is not declared"
        );
    }
}

#[test]
fn a_declared_number_whose_text_is_none_is_named() {
    for value in [
        json!("a dozen"),
        json!("007"),
        json!("+7"),
        json!(".5"),
        json!("1,5"),
        json!("1 000"),
        json!("NaN"),
        json!("0x10"),
        json!("\"7\""),
        json!("1e400"),
        json!(true),
    ] {
        for (format, data) in updates(|row| row["balance"] = value.clone()) {
            let refusal = decode(format, "", &data).expect_err("refused");
            let code = refusal.rejection.code.as_str();
            assert_eq!(code, "COLUMN_UNREADABLE", "{data}");
            assert_eq!(refusal.rejection.fields, ["balance"], "{data}");
            let message = &refusal.rejection.message;
            assert!(message.contains("`source.numbers`"), "{message}");
        }
    }
}

#[test]
fn a_declared_number_that_changes_its_spelling_only_did_not_change() {
    let of = |value: Value| with(row(), "balance", value);
    for (before, after, expected) in [
        (json!("12"), json!(12), "NO_CHANGE"),
        (json!(12), json!(" 12"), "NO_CHANGE"),
        (json!(""), json!(null), "NO_CHANGE"),
        (json!("12"), json!("13"), ""),
        (json!("a dozen"), json!("12"), ""),
    ] {
        for (format, data) in [
            (
                "debezium",
                debezium("u", &of(before.clone()), &of(after.clone())),
            ),
            (
                "dms",
                dms("update", &of(before.clone()), &of(after.clone())),
            ),
        ] {
            assert_eq!(code(format, "", &data), expected, "{data}");
        }
    }
}

#[test]
fn a_declared_number_keeps_its_text_where_the_column_fills_a_text_field() {
    let settings = "numbers = [\"zip\", \"contact_id\", \"unmapped\"]\n\
                    [columns]\nid = \"contact_id\"\n\
                    type = \"segment\"\nphone = \"zip\"\n\"address.postal_code\" = \"zip\"\n\
                    \"attributes.zip\" = \"contact_id\"";
    let texts = updates(|row| {
        row["contact_id"] = "42".into();
        row["zip"] = "00501".into();
    });
    for (format, data) in texts {
        let sent = change(format, settings, &data);
        assert_eq!(sent.contact.id.as_str(), "42", "{data}");
        assert_eq!(shown(&sent.contact.postal_code), "00501", "{data}");
        assert_eq!(shown(&sent.contact.phone), "00501", "{data}");
        assert_eq!(attribute(&sent, "zip"), Some("number 42".into()), "{data}");
    }
}

#[test]
fn a_row_without_its_id_or_type_is_refused() {
    let none = Value::Null;
    let without = |column: &str| {
        let mut row = row();
        row.as_object_mut().expect("an object").remove(column);
        row
    };
    for (format, data, expected) in [
        (
            "debezium",
            debezium("u", &none, &without("contact_id")),
            "MISSING_FIELD",
        ),
        (
            "debezium",
            debezium("u", &none, &with(row(), "contact_id", none.clone())),
            "MISSING_FIELD",
        ),
        (
            "debezium",
            debezium("u", &none, &with(row(), "contact_id", " ".into())),
            "EMPTY_FIELD",
        ),
        (
            "debezium",
            debezium("u", &none, &without("segment")),
            "MISSING_FIELD",
        ),
        (
            "debezium",
            debezium("u", &none, &with(row(), "segment", "X".into())),
            "UNKNOWN_TYPE",
        ),
        ("debezium", debezium("u", &none, &none), "MISSING_FIELD"),
        ("debezium", without("contact_id"), "MISSING_FIELD"),
        ("dms", dms("update", &none, &none), "MISSING_FIELD"),
        (
            "dynamodb",
            dynamodb("MODIFY", &none, &none),
            "MISSING_FIELD",
        ),
        (
            "debezium",
            debezium("u", &none, &with(row(), "email", "nobody".into())),
            "INVALID_EMAIL",
        ),
    ] {
        assert_eq!(code(format, "", &data), expected, "{data}");
    }
}

#[test]
fn types_are_mapped_and_a_type_may_be_the_same_for_each_row() {
    let none = Value::Null;
    for (value, expected) in [
        (json!("L"), ContactType::Lead),
        (json!(" L  "), ContactType::Lead),
        (json!("Vendor"), ContactType::Vendor),
        (json!(7), ContactType::Customer),
        (none.clone(), ContactType::Prospect),
        (json!("  "), ContactType::Prospect),
    ] {
        let types = "[types]\nL = \"lead\"\n7 = \"customer\"\n\"\" = \"prospect\"";
        let data = debezium("u", &none, &with(row(), "segment", value.clone()));
        assert_eq!(
            change("debezium", types, &data).contact.kind,
            Some(expected),
            "{value}"
        );
    }
    let only = "[columns]\nid = \"contact_id\"\n[types]\n\"\" = \"customer\"";
    let key = json!({"contact_id": "c-1"});
    for data in [debezium("u", &none, &row()), debezium("d", &key, &none)] {
        assert_eq!(
            change("debezium", only, &data).contact.kind,
            Some(ContactType::Customer)
        );
    }
}

#[test]
fn a_column_may_hold_the_version() {
    let none = Value::Null;
    for (value, expected) in [
        (json!(42), Some(42)),
        (json!("42"), Some(42)),
        (json!(u64::MAX), Some(u64::MAX)),
        (json!("42.000"), Some(42)),
        (
            json!("2026-01-01T00:00:00.000001Z"),
            Some(1_767_225_600_000_001),
        ),
        (none.clone(), None),
    ] {
        let data = debezium("u", &none, &with(row(), "rev", value.clone()));
        let sent = change("debezium", "version = \"rev\"", &data);
        assert_eq!(sent.version, expected, "{value}");
    }
    for value in [json!(-1), json!("x"), json!(true), json!("1.5"), json!([1])] {
        let data = debezium("u", &none, &with(row(), "rev", value.clone()));
        assert_eq!(
            code("debezium", "version = \"rev\"", &data),
            "COLUMN_UNREADABLE",
            "{value}"
        );
    }
    let deleted = debezium("d", &with(row(), "rev", 9.into()), &none);
    assert_eq!(
        change("debezium", "version = \"rev\"", &deleted).version,
        Some(9)
    );
    let other_revision = debezium(
        "u",
        &with(row(), "rev", 1.into()),
        &with(row(), "rev", 2.into()),
    );
    assert_eq!(
        code("debezium", "version = \"rev\"", &other_revision),
        "NO_CHANGE"
    );
}

#[test]
fn replayed_and_backfilled_rows_are_marked_at_the_top_level() {
    let none = Value::Null;
    let tagged = json!({"contact_id": {"S": "c-1"}, "segment": {"S": "L"}});
    for (format, data) in [
        ("debezium", debezium("u", &none, &row())),
        (
            "debezium",
            json!({"schema": null, "payload": debezium("u", &none, &row())}),
        ),
        ("debezium", row()),
        ("dms", dms("update", &none, &row())),
        ("dynamodb", dynamodb("MODIFY", &none, &tagged)),
    ] {
        for (key, value, expected) in [
            ("replay", json!(true), true),
            ("replay", json!(false), false),
            ("replay", json!("true"), false),
            ("lane", json!("backfill"), true),
            ("lane", json!("live"), false),
            ("lane", json!(7), false),
        ] {
            let marked = with(data.clone(), key, value);
            assert_eq!(change(format, "", &marked).replay, expected, "{marked}");
        }
    }
}

#[test]
fn values_are_read_by_the_schema_of_the_record() {
    let fields = json!([
        {"type": "string", "field": "contact_id"},
        {"type": "string", "field": "segment"},
        {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "version": 1,
         "parameters": {"scale": "2", "connect.decimal.precision": "10"}, "field": "balance"},
        {"type": "int32", "name": "io.debezium.time.Date", "version": 1, "field": "signed_up"},
        {"type": "int16", "field": "seats"},
        {"type": "int32", "name": "io.debezium.time.Date", "field": "unmapped"},
    ]);
    let after = json!({"contact_id": "c-1", "segment": "L", "balance": "BOI=", "signed_up": 20454,
                       "seats": 25, "unmapped": null});
    let row_schema =
        |field: &str| json!({"type": "struct", "fields": fields, "optional": true, "field": field});
    let envelope = json!({
        "schema": {"type": "struct", "fields": [row_schema("before"), row_schema("after"),
                   {"type": "string", "field": "op"}], "name": "crm.public.contacts.Envelope"},
        "payload": debezium("c", &Value::Null, &after),
    });
    let flat = json!({"schema": row_schema("Value"), "payload": after});
    for data in [envelope, flat] {
        let sent = change("debezium", "", &data);
        assert_eq!(attribute(&sent, "balance"), Some("number 12.50".into()));
        assert_eq!(attribute(&sent, "signed_up"), Some("2026-01-01".into()));
        assert_eq!(attribute(&sent, "seats"), Some("number 25".into()));
    }
    let without_schema = debezium("c", &Value::Null, &after);
    let found = code("debezium", "", &without_schema);
    assert_eq!(found, "COLUMN_UNREADABLE", "bytes are no declared number");
    let bare = change("debezium", "numbers = []", &without_schema);
    assert_eq!(attribute(&bare, "balance"), Some("BOI=".into()));
    assert_eq!(attribute(&bare, "signed_up"), Some("number 20454".into()));
}

#[test]
fn each_schema_is_read_by_its_own_bytes_though_others_were_read_before() {
    const TYPES: [(&str, &str); 2] = [
        ("io.debezium.time.Date", "2026-01-01"),
        ("io.debezium.time.Time", "00:00:20.454"),
    ];
    let decoder = decoder("debezium", "");
    let payload = |op: &str| {
        let row = with(row(), "signed_up", 20454.into());
        match op {
            "d" => debezium(op, &row, &Value::Null),
            op => debezium(op, &Value::Null, &row),
        }
    };
    let schema = |name: &str, doc: usize| {
        let fields = json!([{"field": "signed_up", "name": name}]);
        json!({"doc": format!("{doc:04}"), "fields": [
            {"field": "before", "fields": fields}, {"field": "after", "fields": fields},
        ]})
    };
    for round in 0..3 {
        for doc in 0..40 {
            let (name, expected) = TYPES[doc % 2];
            let schema = schema(name, doc / 2);
            let data = json!({"schema": schema, "payload": payload("c")});
            let as_written = format!(r#"{{"schema":{schema},"payload":{}}}"#, payload("c"));
            for text in [data.to_string(), as_written] {
                let found = decoder.decode(record(Some(text.as_bytes())));
                let Ok(Decoded::Change(change)) = found else {
                    panic!("{found:?} in round {round}")
                };
                assert_eq!(attribute(&change, "signed_up"), Some(expected.into()));
            }
            let delete = format!(r#"{{"schema":{schema},"payload":{}}}"#, payload("d"));
            let found = decoder.decode(record(Some(delete.as_bytes())));
            assert_eq!(coded(found), "");
        }
    }
    let kept = decoder.0.schemas.kept();
    assert!((1..=16).contains(&kept), "{kept} schemas are kept");
    let marked = r#"{"schema":SCHEMA,"payload":PAYLOAD,"replay":true}"#
        .replace("SCHEMA", &schema(TYPES[0].0, 19).to_string())
        .replace("PAYLOAD", &payload("c").to_string());
    for (text, expected) in [
        (marked.clone(), "replayed"),
        (marked.replace(",\"replay\":true", "x"), "INVALID_JSON"),
        (marked.replace(",\"replay\":true", ""), ""),
        (marked.replace(",\"replay\":true", "") + "}", "INVALID_JSON"),
    ] {
        let found = match decoder.decode(record(Some(text.as_bytes()))) {
            Ok(Decoded::Change(change)) if change.replay => "replayed".to_owned(),
            other => coded(other),
        };
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn a_schema_beyond_the_bound_is_read_and_not_kept() {
    let decoder = decoder("debezium", "");
    for (length, kept) in [(70_000, 0), (60_000, 1)] {
        let schema = json!({"doc": "x".repeat(length), "fields": [
            {"field": "after", "fields": []},
        ]});
        let data = json!({"schema": schema, "payload": debezium("c", &Value::Null, &row())});
        for _ in 0..2 {
            let found = decoder.decode(record(Some(data.to_string().as_bytes())));
            assert_eq!(coded(found), "");
        }
        assert_eq!(decoder.0.schemas.kept(), kept, "{length}");
    }
}

#[test]
fn a_schema_that_describes_no_row_is_refused_however_deep_or_long() {
    let payload = debezium("c", &Value::Null, &row());
    let mut deep = json!({"field": "after"});
    for _ in 0..60 {
        deep = json!({"field": "after", "fields": [deep]});
    }
    let long = json!({"fields": vec![json!({"field": "x", "type": "int32"}); 20_000]});
    for (schema, expected) in [
        (json!(7), "UNREADABLE_SCHEMA"),
        (json!({}), "UNREADABLE_SCHEMA"),
        (json!({"fields": 7}), "UNREADABLE_SCHEMA"),
        (json!({"fields": []}), "UNREADABLE_SCHEMA"),
        (json!({"fields": [7]}), "UNREADABLE_SCHEMA"),
        (json!({"fields": [{"field": "after"}]}), "UNREADABLE_SCHEMA"),
        (
            json!({"fields": [{"field": "after", "fields": 7}]}),
            "UNREADABLE_SCHEMA",
        ),
        (long, "UNREADABLE_SCHEMA"),
        (json!({"fields": [deep]}), ""),
        (json!(null), ""),
    ] {
        let data = json!({"schema": schema, "payload": payload});
        assert_eq!(
            code("debezium", "", &data),
            expected,
            "{:.80}",
            schema.to_string()
        );
    }
}

#[test]
fn bad_input_of_each_format_has_a_code_of_its_own() {
    let none = Value::Null;
    let mut no_type = dms("update", &none, &row());
    no_type["metadata"]["record-type"] = "other".into();
    let own = json!({"event_id": "e-1", "operation": "update", "contact": {"id": "c-1"}});
    for (format, data, expected) in [
        (
            "debezium",
            debezium("x", &none, &row()),
            "UNKNOWN_OPERATION",
        ),
        ("debezium", debezium("", &none, &row()), "UNKNOWN_OPERATION"),
        (
            "debezium",
            with(debezium("u", &none, &row()), "op", none.clone()),
            "UNKNOWN_OPERATION",
        ),
        (
            "debezium",
            with(row(), "__op", "x".into()),
            "UNKNOWN_OPERATION",
        ),
        ("dms", dms("refresh", &none, &row()), "UNKNOWN_OPERATION"),
        ("dms", no_type, "UNKNOWN_OPERATION"),
        (
            "dynamodb",
            dynamodb("UPSERT", &none, &none),
            "UNKNOWN_OPERATION",
        ),
        ("debezium", own.clone(), "UNKNOWN_FORMAT"),
        ("dms", own.clone(), "UNKNOWN_FORMAT"),
        ("dynamodb", own, "UNKNOWN_FORMAT"),
        ("debezium", dms("update", &none, &row()), "UNKNOWN_FORMAT"),
        (
            "debezium",
            dynamodb("MODIFY", &none, &none),
            "UNKNOWN_FORMAT",
        ),
        ("dms", debezium("u", &none, &row()), "UNKNOWN_FORMAT"),
        ("dms", dynamodb("MODIFY", &none, &none), "UNKNOWN_FORMAT"),
        ("dynamodb", debezium("u", &none, &row()), "UNKNOWN_FORMAT"),
        ("dynamodb", dms("update", &none, &row()), "UNKNOWN_FORMAT"),
        ("debezium", json!([]), "WRONG_TYPE"),
        ("debezium", json!("text"), "WRONG_TYPE"),
        ("dms", json!(7), "WRONG_TYPE"),
        ("dynamodb", json!(null), "WRONG_TYPE"),
        ("dms", dms("update", &none, &json!([])), "WRONG_TYPE"),
        (
            "dms",
            with(dms("update", &none, &row()), "metadata", 7.into()),
            "WRONG_TYPE",
        ),
        (
            "dynamodb",
            dynamodb("MODIFY", &json!(7), &row()),
            "WRONG_TYPE",
        ),
        (
            "dynamodb",
            with(dynamodb("MODIFY", &none, &none), "dynamodb", 7.into()),
            "WRONG_TYPE",
        ),
    ] {
        assert_eq!(code(format, "", &data), expected, "{format}: {data}");
    }
    for (format, text, expected) in [
        (
            "debezium",
            r#"{"contact_id":"c","contact_id":"c"}"#,
            "DUPLICATE_KEY",
        ),
        (
            "debezium",
            r#"{"op":"u","op":"u","source":{}}"#,
            "DUPLICATE_KEY",
        ),
        ("dms", "{", "INVALID_JSON"),
        ("dynamodb", "no json", "INVALID_JSON"),
        ("debezium", "{}{}", "INVALID_JSON"),
    ] {
        let decoded = decoder(format, "").decode(record(Some(text.as_bytes())));
        assert_eq!(coded(decoded), expected, "{format}: {text}");
    }
    let decoded = decoder("debezium", "").decode(record(Some(b"\xff{}")));
    assert_eq!(coded(decoded), "INVALID_UTF8");
}

#[test]
fn a_record_of_another_format_is_refused_though_it_has_the_column_of_the_id() {
    let none = Value::Null;
    let row = json!({"id": "c-1", "type": "L", "source": {}, "detail": {}});
    let own = json!({"event_id": "e-1", "operation": "update", "contact": {"id": "c-1"}});
    let maxwell = json!({"database": "crm", "table": "contacts", "type": "insert",
                         "ts": 1_767_225_600, "xid": 23, "commit": true, "data": row});
    let logs = json!({"messageType": "DATA_MESSAGE", "owner": "111122223333", "logGroup": "g",
                      "logStream": "s", "subscriptionFilters": ["f"], "logEvents": []});
    let event_bridge = json!({"version": "0", "id": "c-1", "detail-type": "Contact changed",
                              "source": "crm", "account": "111122223333", "detail": row});
    let records = [
        (Format::ContactChange, own),
        (Format::Debezium, debezium("u", &none, &row)),
        (Format::Dms, dms("update", &none, &row)),
        (
            Format::Dynamodb,
            dynamodb("MODIFY", &none, &json!({"id": {"S": "c-1"}})),
        ),
    ];
    let mut foreign: Vec<(Option<Format>, Value)> =
        vec![(None, maxwell), (None, logs), (None, event_bridge)];
    foreign.extend(records.map(|(format, data)| (Some(format), data)));
    let settings = "[columns]\nid = \"ID\"\n[types]\n\"\" = \"lead\"\n";
    for format in [Format::Debezium, Format::Dms, Format::Dynamodb] {
        for (of, data) in &foreign {
            if *of == Some(format) {
                continue;
            }
            for id in [
                "id",
                "contact_id",
                "event_id",
                "owner",
                "database",
                "eventID",
                "metadata",
            ] {
                let settings = settings.replace("ID", id);
                let found = code(format.name(), &settings, data);
                assert_eq!(
                    found,
                    "UNKNOWN_FORMAT",
                    "{} with {id}: {data}",
                    format.name()
                );
            }
        }
    }
    for row in [
        json!({"id": "c-1", "database": "crm", "table": "t", "type": "L", "data": "{}"}),
        json!({"id": "c-1", "contact": "{}", "operation": "update"}),
        json!({"id": "c-1", "detail": "{}", "detail-type": "L"}),
        json!({"id": "c-1", "metadata": {}, "dynamodb": true, "messageType": "sms"}),
    ] {
        let settings = settings.replace("ID", "id");
        assert_eq!(
            code("debezium", &settings, &row),
            "",
            "a row has these columns: {row}"
        );
    }
}

#[test]
fn depth_and_length_of_other_columns_do_not_matter() {
    let deep = format!(
        r#"{{"contact_id":"c-1","segment":"L","unmapped":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let decoded = decoder("debezium", "").decode(record(Some(deep.as_bytes())));
    assert_eq!(coded(decoded), "");
}
