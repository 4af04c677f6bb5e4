use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::{Attribute, Field, KinesisOrigin, Origin};

/// Returns the arrival of every record: 2026-11-20T10:15:00Z.
fn arrival() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_795_169_700).expect("in range")
}

fn consume(bytes: &[u8]) -> Result<Box<ContactChange>, Box<Refusal>> {
    let data = base64_simd::STANDARD.encode_to_string(bytes);
    EventConsumer.consume(&Record::of_data(data), arrival())
}

fn event(contact: &str) -> String {
    let head = r#""event_id":"e-1","operation":"update","occurred_at":"2026-11-20T10:15:00Z""#;
    format!(r#"{{{head},"contact":{contact}}}"#)
}

fn code(bytes: &[u8]) -> String {
    consume(bytes).map_or_else(
        |refusal| refusal.rejection.code.to_string(),
        |_| "ok".to_owned(),
    )
}

#[test]
fn each_kind_of_invalid_input_has_a_code_of_its_own() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let contact = |fields: &str| event(&format!(r#"{{"id":"c-1","type":"lead",{fields}}}"#));
    let with = |from: &str, to: &str| contact(r#""city":null"#).replace(from, to);
    for (input, expected) in [
        (contact(r#""first_name":"Ada""#), "ok"),
        (contact(r#""unknown":{"a":[1,2]}"#), "ok"),
        (String::new(), "EMPTY_DATA"),
        ("\u{feff}".to_owned() + &contact(r#""city":null"#), "ok"),
        ("\u{feff}".to_owned(), "EMPTY_DATA"),
        ("\u{feff}{".to_owned(), "INVALID_JSON"),
        ("{".to_owned(), "INVALID_JSON"),
        (r#"{"version": NaN}"#.to_owned(), "INVALID_JSON"),
        (contact(r#""a":1"#) + "x", "INVALID_JSON"),
        ("[]".to_owned(), "WRONG_TYPE"),
        ("null".to_owned(), "WRONG_TYPE"),
        (event("[]"), "WRONG_TYPE"),
        (contact(r#""address":["a","b"]"#), "WRONG_TYPE"),
        (deep.clone(), "NESTED_TOO_DEEPLY"),
        (
            contact(&format!(r#""unknown":{deep}"#)),
            "NESTED_TOO_DEEPLY",
        ),
        (contact(r#""city":null,"email":7"#), "WRONG_TYPE"),
        (contact(r#""attributes":{"a":[1]}"#), "WRONG_TYPE"),
        (contact(r#""attributes":{"a":1,"a":2}"#), "DUPLICATE_KEY"),
        (contact(r#""email":null,"email":null"#), "DUPLICATE_KEY"),
        (contact(r#""attributes":{"a":1e400}"#), "WRONG_TYPE"),
        (contact(r#""attributes":{"a":18446744073709551616}"#), "ok"),
        (contact(r#""attributes":{"a":01}"#), "INVALID_JSON"),
        (contact(r#""attributes":{"a":"\ud800"}"#), "INVALID_JSON"),
        (
            contact(&format!(r#""attributes":{{"a":0.{}}}"#, "1".repeat(70_000))),
            "TOO_LONG",
        ),
        (
            contact(&format!(r#""attributes":{{"{}":1}}"#, "a".repeat(256))),
            "ok",
        ),
        (contact(r#""email":"not an address""#), "INVALID_EMAIL"),
        (contact(r#""email":"""#), "ok"),
        (contact(r#""email":" \t ""#), "ok"),
        (
            contact(r#""email":"Ada Lovelace <ada@example.com>""#),
            "INVALID_EMAIL",
        ),
        (contact(r#""email":"\"ada lovelace\"@example.com""#), "ok"),
        (
            contact(&format!(r#""company":"{}""#, "x".repeat(1_000_000))),
            "TOO_LONG",
        ),
        (with("e-1", &"e".repeat(129)), "TOO_LONG"),
        (with("c-1", &"c".repeat(256)), "TOO_LONG"),
        (with("c-1", "  "), "EMPTY_FIELD"),
        (with("c-1", "\\u001f \\u0085"), "EMPTY_FIELD"),
        (with("c-1", "c\\u0000-1"), "CONTROL_CHARACTER"),
        (with("c-1", "c-1\\u001f"), "ok"),
        (with("e-1", ""), "EMPTY_FIELD"),
        (with("e-1", " "), "ok"),
        (with("lead", "friend"), "UNKNOWN_TYPE"),
        (with("update", "upsert"), "UNKNOWN_OPERATION"),
        (with("update", "Update"), "UNKNOWN_OPERATION"),
        (
            with("2026-11-20T10:15:00Z", "yesterday"),
            "INVALID_TIMESTAMP",
        ),
        (
            with("2026-11-20T10:15:00Z", "2026-11-20x10:15:00Z"),
            "INVALID_TIMESTAMP",
        ),
        (
            with("2026-11-20T10:15:00Z", "2026-11-20 10:15:00.5+01:00"),
            "ok",
        ),
        (with(r#""id":"c-1","#, ""), "MISSING_FIELD"),
        (with(r#""type":"lead","#, ""), "MISSING_FIELD"),
        (with(r#""event_id":"e-1","#, ""), "MISSING_FIELD"),
        (with(r#""e-1""#, r#""e-1","version":-1"#), "WRONG_TYPE"),
        (with(r#""e-1""#, r#""e-1","version":1.5"#), "WRONG_TYPE"),
    ] {
        let shown: String = input.chars().take(120).collect();
        assert_eq!(code(input.as_bytes()), expected, "{shown}");
    }
    assert_eq!(code(b"\xff\xfe"), "INVALID_UTF8");
    let of = |data: Option<&str>| {
        let record = data.map(Record::of_data).unwrap_or_default();
        EventConsumer
            .consume(&record, arrival())
            .expect_err("refused")
            .rejection
            .code
            .to_string()
    };
    assert_eq!(of(None), "MISSING_DATA");
    assert_eq!(of(Some("###")), "INVALID_BASE64");
}

#[test]
fn absent_null_and_blank_are_distinguished() {
    let change = consume(
        event(
            r#"{"id":" C-1 ","type":"LEAD","company":null,"phone":" ","email":" Ada@Example.COM ",
            "address":null,"attributes":{"n":1,"t":"x","b":true,"z":null}}"#,
        )
        .as_bytes(),
    )
    .expect("allowed");
    let contact = &change.contact;
    assert_eq!(contact.id.as_str(), "C-1");
    assert_eq!(contact.first_name, Field::Absent);
    assert_eq!(
        (&contact.company, &contact.phone, &contact.city),
        (&Field::Null, &Field::Null, &Field::Null)
    );
    assert_eq!(
        contact.email.value().map(|text| &**text),
        Some("ada@example.com")
    );
    assert_eq!(contact.attributes.values.len(), 4);
    assert_eq!(contact.attributes.get("z"), Field::Null);
}

#[test]
fn a_delete_needs_no_type_and_passes_the_filter_of_types() {
    let text = event(r#"{"id":"c-1"}"#).replace("update", "delete");
    let change = consume(text.as_bytes()).expect("allowed");
    let filter = Filter {
        types: vec![ContactType::Vendor],
        operations: Operation::ALL.to_vec(),
    };
    assert!(filter.excludes(&change).is_none());
    let filter = Filter {
        types: vec![ContactType::Vendor],
        operations: vec![Operation::Create],
    };
    assert_eq!(
        filter.excludes(&change),
        Some(Code::new("FILTERED_OPERATION"))
    );
}

#[test]
fn a_time_that_is_more_than_a_day_after_the_records_arrival_is_refused() {
    let result = |time: &str| {
        let text = event(r#"{"id":"c-1","type":"lead"}"#).replace("2026-11-20T10:15:00Z", time);
        code(text.as_bytes())
    };
    for (time, expected) in [
        ("2026-11-20T10:15:00Z", "ok"),
        ("2026-11-20T22:15:00Z", "ok"),
        ("2026-11-21T10:15:00Z", "ok"),
        ("2026-11-21T10:15:00.001Z", "TIME_IN_FUTURE"),
        ("2026-11-21T12:15:00+02:00", "ok"),
        ("2026-11-21T12:15:01+02:00", "TIME_IN_FUTURE"),
        ("2026-11-21T09:15:01-01:00", "TIME_IN_FUTURE"),
        ("2016-12-31T23:59:60Z", "ok"),
        ("2026-12-31T23:59:60Z", "TIME_IN_FUTURE"),
        ("9999-12-31T23:59:59Z", "TIME_IN_FUTURE"),
        ("9999-12-31T23:59:59-23:59", "TIME_IN_FUTURE"),
        ("1970-01-01T00:00:00Z", "ok"),
    ] {
        assert_eq!(result(time), expected, "{time}");
    }
    let text = event(r#"{"id":"c-1"}"#)
        .replace("update", "delete")
        .replace("2026", "2027");
    assert_eq!(
        code(text.as_bytes()),
        "TIME_IN_FUTURE",
        "the time of a delete is validated, too"
    );
}

#[test]
fn a_record_without_a_believable_arrival_arrives_now() {
    let now = OffsetDateTime::from_unix_timestamp(1_795_169_700).expect("in range");
    let arrived = |approximate_arrival| {
        let origin = Origin::Kinesis(KinesisOrigin {
            approximate_arrival,
            ..KinesisOrigin::default()
        });
        let record = Record {
            origin,
            ..Record::default()
        };
        record.arrived_at(now)
    };
    for unbelievable in [
        None,
        Some(0.0),
        Some(-1.0),
        Some(f64::NAN),
        Some(f64::INFINITY),
        Some(1_795_169_700_123.0),
    ] {
        assert_eq!(arrived(unbelievable), now, "{unbelievable:?}");
    }
    assert_eq!(
        arrived(Some(1_795_169_640.5)),
        now - time::Duration::milliseconds(59_500)
    );
}

#[test]
fn only_the_used_fields_of_a_delete_are_validated() {
    let delete = |contact: &str| event(contact).replace("update", "delete");
    for (text, expected) in [
        (
            delete(r#"{"id":"c-1","type":"lead","email":"n/a"}"#),
            "ok lead",
        ),
        (
            delete(
                r#"{"id":"c-1","type":"lead","email":7,"email":[],"address":"x",
                    "attributes":[{}]}"#,
            ),
            "ok lead",
        ),
        (
            delete(r#"{"id":"c-1","type":"LEAD","attributes":{"a":1e400,"b":"\ud800"}}"#),
            "ok lead",
        ),
        (delete(r#"{"id":"c-1","type":"partner"}"#), "ok"),
        (delete(r#"{"id":"c-1","type":7}"#), "ok"),
        (delete(r#"{"id":"c-1","type":{"a":[]}}"#), "ok"),
        (delete(r#"{"id":"c-1","type":null}"#), "ok"),
        (delete(r#"{"id":"c-1"}"#), "ok"),
        (
            delete(r#"{"id":" c-1","type":"lead","phone":7}"#)
                .replace("{\"event", "{\"replay\":3,\"event"),
            "ok lead",
        ),
        (
            delete(r#"{"id":7,"type":"lead","email":7}"#),
            "WRONG_TYPE contact.id",
        ),
        (
            delete(r#"{"type":"lead","email":7}"#),
            "MISSING_FIELD contact.id",
        ),
        (delete(r#"{"id":"","email":7}"#), "EMPTY_FIELD contact.id"),
        (
            delete(r#"{"id":"c-1","email":7}"#).replace("e-1", ""),
            "EMPTY_FIELD event_id",
        ),
        (
            delete(r#"{"id":"c-1","email":7}"#).replace("2026-11", "2026-13"),
            "INVALID_TIMESTAMP occurred_at",
        ),
        (
            delete(r#"{"email":7,"id":"c-1"}"#).replace("{\"event", "{\"version\":-1,\"event"),
            "WRONG_TYPE version",
        ),
        (
            delete(&format!(
                r#"{{"id":"c-1","type":"lead","unknown":{}1{}}}"#,
                "[".repeat(200),
                "]".repeat(200)
            )),
            "ok lead",
        ),
        (delete("[]"), "WRONG_TYPE contact"),
        (delete(r#"{"id":"c-1"}"#) + "x", "INVALID_JSON"),
        (
            event(r#"{"id":"c-1","type":"lead","email":7}"#),
            "WRONG_TYPE contact.email",
        ),
    ] {
        let result = match consume(text.as_bytes()) {
            Ok(change) => format!(
                "ok {}",
                change
                    .contact
                    .kind
                    .map(ContactType::name)
                    .unwrap_or_default()
            ),
            Err(refusal) => format!(
                "{} {}",
                refusal.rejection.code,
                refusal.rejection.fields.join(" ")
            ),
        };
        assert_eq!(result.trim_end(), expected, "{text}");
    }
}

#[test]
fn an_invalid_field_leaves_a_delete_replayed() {
    let text = event(r#"{"id":"c-1","email":7}"#).replace("update", "delete");
    for (replay, expected) in [
        ("true", true),
        ("false", false),
        ("\"true\"", false),
        ("null", false),
    ] {
        let text = text.replacen('{', &format!("{{\"replay\":{replay},"), 1);
        assert_eq!(
            consume(text.as_bytes()).expect("a delete").replay,
            expected,
            "{replay}"
        );
    }
}

#[test]
fn a_backfilled_change_is_compared_as_a_replayed_one() {
    for operation in ["update", "delete"] {
        for email in ["null", "7"] {
            let contact = format!(r#"{{"id":"c-1","type":"lead","email":{email}}}"#);
            let text = event(&contact).replace("update", operation);
            for (lane, expected) in [
                ("\"backfill\"", true),
                ("\"live\"", false),
                ("null", false),
                ("{\"a\":[1]}", false),
            ] {
                let text = text.replacen('{', &format!("{{\"lane\":{lane},"), 1);
                match consume(text.as_bytes()) {
                    Ok(change) => assert_eq!(change.replay, expected, "{text}"),
                    Err(_) => assert_eq!((operation, email), ("update", "7"), "{text}"),
                }
            }
        }
    }
}

#[test]
fn an_unusable_previous_type_counts_as_absent() {
    for (previous, expected) in [
        ("\"lead\"", Some(ContactType::Lead)),
        ("\"Customer\"", Some(ContactType::Customer)),
        ("\"friend\"", None),
        ("null", None),
        ("[7]", None),
    ] {
        let contact = format!(r#"{{"id":"c-1","type":"vendor","previous_type":{previous}}}"#);
        let change = consume(event(&contact).as_bytes()).expect("a change");
        assert_eq!(change.previous_type, expected, "{previous}");
    }
}

#[test]
fn numbers_of_attributes_keep_the_digits_that_they_were_written_with() {
    for number in [
        "0",
        "-0",
        "-0.0",
        "25",
        "1.10",
        "18446744073709551616",
        "-9223372036854775809",
        "1E+2",
        "0.1e-7",
    ] {
        let change = consume(
            event(&format!(
                r#"{{"id":"c","type":"lead","attributes":{{"n": {number} }}}}"#
            ))
            .as_bytes(),
        );
        let change = change.expect("allowed");
        let Field::Value(Attribute::Number(kept)) = change.contact.attributes.get("n") else {
            panic!("{number}")
        };
        assert_eq!(kept.as_str(), number);
    }
}

#[test]
fn texts_of_attributes_are_read_with_their_escapes() {
    let change = consume(
        event(r#"{"id":"c","type":"lead","attributes":{"t":"a\"\u00e9\ud83d\ude00\n"}}"#)
            .as_bytes(),
    );
    let change = change.expect("allowed");
    let Field::Value(Attribute::Text(text)) = change.contact.attributes.get("t") else {
        panic!("a text")
    };
    assert_eq!(&**text, "a\"é😀\n");
}

#[test]
fn a_refusal_names_the_place_and_the_ids_but_no_value() {
    let text = event(r#"{"id":"c-9","type":"lead","address":{"city":["Secret Town"]}}"#);
    let refusal = consume(text.as_bytes()).expect_err("refused");
    assert_eq!(refusal.rejection.fields, ["contact.address.city"]);
    assert_eq!(
        (refusal.contact_id.as_deref(), refusal.event_id.as_deref()),
        (Some("c-9"), Some("e-1"))
    );
    assert_eq!(refusal.operation, Some(Operation::Update));
    let text = event(r#"{"id":"c-9","type":"friend"}"#);
    let invalid = consume(text.as_bytes()).expect_err("refused");
    assert_eq!(
        (invalid.contact_id.as_deref(), invalid.operation),
        (Some("c-9"), Some(Operation::Update))
    );
    assert!(
        !refusal.rejection.message.contains("Secret"),
        "{}",
        refusal.rejection.message
    );
}

#[test]
fn the_path_of_a_refusal_is_bounded_though_keys_are_not() {
    let key = "é".repeat(100_000);
    let text = event(&format!(r#"{{"id":"c-9","attributes":{{"{key}":[1]}}}}"#));
    let refusal = consume(text.as_bytes()).expect_err("refused");
    let [path] = &refusal.rejection.fields[..] else {
        panic!("{:?}", refusal.rejection.code)
    };
    assert!(path.starts_with("contact.attributes.é") && path.len() <= 256);
    assert!(refusal.rejection.message.len() <= 256);
}

#[test]
fn a_change_may_have_the_attribute_of_a_cloud_event_as_an_unknown_field() {
    let text = event(r#"{"id":"c-1","type":"lead"}"#);
    for specversion in ["\"1.0\"", "null", "{}"] {
        let text = text.replacen('{', &format!("{{\"specversion\":{specversion},"), 1);
        assert_eq!(code(text.as_bytes()), "ok", "{text}");
    }
    let wrapped = format!(
        r#"{{"specversion":"1.0","id":"e","source":"/crm","type":"t","version":"2","data":{text}}}"#
    );
    assert_eq!(code(wrapped.as_bytes()), "ok", "an extension has any type");
    let batch = format!("[{wrapped}]");
    assert_eq!(code(batch.as_bytes()), "WRONG_TYPE");
}

/// The fields of a change: the object, as a JSON pointer, and the name.
const FIELDS: [(&str, &str); 14] = [
    ("", "event_id"),
    ("", "operation"),
    ("", "occurred_at"),
    ("", "version"),
    ("", "replay"),
    ("", "contact"),
    ("/contact", "id"),
    ("/contact", "type"),
    ("/contact", "email"),
    ("/contact", "first_name"),
    ("/contact", "address"),
    ("/contact", "attributes"),
    ("/contact/address", "city"),
    ("/contact/address", "country"),
];

/// Generates any JSON, two levels deep at most.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::{Value, json};
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,8}".prop_map(Value::from),
        Just(json!("x".repeat(70_000))),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        let list = proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from);
        let object = proptest::collection::vec((".{0,4}", inner), 0..3)
            .prop_map(|pairs| pairs.into_iter().collect());
        prop_oneof![list, object]
    })
}

proptest! {
    #[test]
    fn other_fields_do_not_affect_a_delete(
        values in proptest::collection::vec((0_usize..14, any_json()), 0..6), id in "[a-z]{1,9}"
    ) {
        const OTHERS: [&str; 14] = [
            "email", "first_name", "last_name", "company", "job_title", "phone", "mobile_phone",
            "website", "address", "lead_source", "status", "attributes", "previous_type", "replay",
        ];
        let contact = format!(r#"{{"id":"{id}","type":"lead"}}"#);
        let mut text = event(&contact).replace("update", "delete");
        for (which, value) in values {
            let inside = if OTHERS[which] == "replay" { "{\"event_id\"" } else { "{\"id\"" };
            let with = format!("{{\"{}\":{value},{}", OTHERS[which], &inside[1..]);
            text = text.replacen(inside, &with, 1);
        }
        let change = consume(text.as_bytes());
        let change = change.map_err(|refusal| TestCaseError::fail(format!("{refusal:?} {text}")))?;
        prop_assert_eq!(change.operation, Operation::Delete);
        let contact = &change.contact;
        prop_assert_eq!((contact.id.as_str(), contact.kind), (&*id, Some(ContactType::Lead)));
        prop_assert!(contact.email == Field::Absent && contact.attributes.values.is_empty());
    }

    #[test]
    fn any_number_of_an_attribute_keeps_its_digits(
        number in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?"
    ) {
        let text = event(&format!(r#"{{"id":"c","type":"lead","attributes":{{"n":{number}}}}}"#));
        let change = consume(text.as_bytes());
        let change = change.map_err(|refusal| TestCaseError::fail(format!("{refusal:?}")))?;
        let Field::Value(Attribute::Number(kept)) = change.contact.attributes.get("n") else {
            return Err(TestCaseError::fail("no number"));
        };
        prop_assert_eq!(kept.as_str(), number);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(code(&bytes) != "INTERNAL_ERROR");
    }

    #[test]
    fn one_changed_byte_in_a_valid_event_never_panics(at in 0_usize..160, byte in any::<u8>()) {
        let contact =
            r#"{"id":"c-1","type":"lead","email":"a@b.example","address":{"city":"Bath"}}"#;
        let mut bytes = event(contact).into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        prop_assert!(code(&bytes) != "INTERNAL_ERROR");
    }

    #[test]
    fn arbitrary_text_in_place_of_base64_never_panics(text in ".{0,200}") {
        let _ = EventConsumer.consume(&Record::of_data(text), arrival());
    }

    #[test]
    fn a_refusal_quotes_no_value_and_no_key(
        field in 0_usize..FIELDS.len(), shape in 0_usize..5, mark in "[A-Z]{9}"
    ) {
        let values = [
            json!(mark),
            json!(mark.repeat(9_000)),
            json!([&mark]),
            json!({&mark: &mark}),
            json!({&mark: [&mark]}),
        ];
        let mut change = json!({
            "event_id": "e-1", "operation": "update", "occurred_at": "2026-11-20T10:15:00Z",
            "contact": {"id": "c-1", "type": "lead", "address": {}},
        });
        let (place, name) = FIELDS[field];
        change.pointer_mut(place).expect("an object")[name] = values[shape].clone();
        if let Err(refusal) = consume(change.to_string().as_bytes()) {
            let message = &refusal.rejection.message;
            prop_assert!(!message.contains(&mark), "{}", message);
        }
    }
}
