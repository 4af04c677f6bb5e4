use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::contact::Field;

fn consume(bytes: &[u8]) -> Result<Box<ContactChange>, Box<Refusal>> {
    EventConsumer.consume(Some(&base64_simd::STANDARD.encode_to_string(bytes)))
}

fn event(contact: &str) -> String {
    format!(r#"{{"event_id":"e-1","operation":"update","occurred_at":"2026-11-20T10:15:00Z","contact":{contact}}}"#)
}

fn code(bytes: &[u8]) -> String {
    consume(bytes).map_or_else(|refusal| refusal.rejection.code.to_string(), |_| "ok".to_owned())
}

#[test]
fn each_kind_of_bad_input_has_a_code_of_its_own() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let contact = |fields: &str| event(&format!(r#"{{"id":"c-1","type":"lead",{fields}}}"#));
    let with = |from: &str, to: &str| contact(r#""city":null"#).replace(from, to);
    for (input, expected) in [
        (contact(r#""first_name":"Ada""#), "ok"),
        (contact(r#""unknown":{"a":[1,2]}"#), "ok"),
        (String::new(), "EMPTY_DATA"),
        ("{".to_owned(), "INVALID_JSON"),
        (r#"{"version": NaN}"#.to_owned(), "INVALID_JSON"),
        (contact(r#""a":1"#) + "x", "INVALID_JSON"),
        ("[]".to_owned(), "WRONG_TYPE"),
        ("null".to_owned(), "WRONG_TYPE"),
        (event("[]"), "WRONG_TYPE"),
        (contact(r#""address":["a","b"]"#), "WRONG_TYPE"),
        (deep.clone(), "NESTED_TOO_DEEPLY"),
        (contact(&format!(r#""unknown":{deep}"#)), "NESTED_TOO_DEEPLY"),
        (contact(r#""city":null,"email":7"#), "WRONG_TYPE"),
        (contact(r#""attributes":{"a":[1]}"#), "WRONG_TYPE"),
        (contact(r#""attributes":{"a":1,"a":2}"#), "DUPLICATE_KEY"),
        (contact(r#""email":null,"email":null"#), "DUPLICATE_KEY"),
        (contact(r#""attributes":{"a":1e400}"#), "WRONG_TYPE"),
        (contact(&format!(r#""attributes":{{"{}":1}}"#, "a".repeat(256))), "ok"),
        (contact(r#""email":"not an address""#), "INVALID_EMAIL"),
        (contact(r#""email":"""#), "INVALID_EMAIL"),
        (contact(r#""email":"  ""#), "INVALID_EMAIL"),
        (contact(r#""email":"Ada Lovelace <ada@example.com>""#), "INVALID_EMAIL"),
        (contact(r#""email":"\"ada lovelace\"@example.com""#), "ok"),
        (contact(&format!(r#""company":"{}""#, "x".repeat(1_000_000))), "TOO_LONG"),
        (with("e-1", &"e".repeat(129)), "TOO_LONG"),
        (with("c-1", &"c".repeat(256)), "TOO_LONG"),
        (with("c-1", "  "), "EMPTY_FIELD"),
        (with("e-1", ""), "EMPTY_FIELD"),
        (with("e-1", " "), "ok"),
        (with("lead", "friend"), "UNKNOWN_TYPE"),
        (with("update", "upsert"), "UNKNOWN_OPERATION"),
        (with("update", "Update"), "UNKNOWN_OPERATION"),
        (with("2026-11-20T10:15:00Z", "yesterday"), "INVALID_TIMESTAMP"),
        (with("2026-11-20T10:15:00Z", "2026-11-20x10:15:00Z"), "INVALID_TIMESTAMP"),
        (with("2026-11-20T10:15:00Z", "2026-11-20 10:15:00.5+01:00"), "ok"),
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
    let of = |data| EventConsumer.consume(data).expect_err("refused").rejection.code.to_string();
    assert_eq!(of(None), "MISSING_DATA");
    assert_eq!(of(Some("###")), "INVALID_BASE64");
}

#[test]
fn absent_null_and_blank_are_told_apart() {
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
    assert_eq!((&contact.company, &contact.phone, &contact.city), (&Field::Null, &Field::Null, &Field::Null));
    assert_eq!(contact.email.value().map(|text| &**text), Some("ada@example.com"));
    assert_eq!(contact.attributes.values.len(), 4);
    assert_eq!(contact.attributes.get("z"), Field::Null);
}

#[test]
fn a_delete_needs_no_type_and_passes_the_filter_of_types() {
    let text = event(r#"{"id":"c-1"}"#).replace("update", "delete");
    let change = consume(text.as_bytes()).expect("allowed");
    let filter = Filter { types: vec![ContactType::Vendor], operations: Operation::ALL.to_vec() };
    assert!(filter.judge(&change).is_none());
    let filter = Filter { types: vec![ContactType::Vendor], operations: vec![Operation::Create] };
    assert_eq!(filter.judge(&change), Some(Code::new("FILTERED_OPERATION")));
}

#[test]
fn a_refusal_names_the_place_and_the_ids_but_no_value() {
    let text = event(r#"{"id":"c-9","type":"lead","address":{"city":["Secret Town"]}}"#);
    let refusal = consume(text.as_bytes()).expect_err("refused");
    assert_eq!(refusal.rejection.fields, ["contact.address.city"]);
    assert_eq!((refusal.contact_id.as_deref(), refusal.event_id.as_deref()), (Some("c-9"), Some("e-1")));
    assert!(!refusal.rejection.message.contains("Secret"), "{}", refusal.rejection.message);
}

/// Where a change says something, and in which field.
const WORDS: [(&str, &str); 14] = [
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

proptest! {
    #[test]
    fn arbitrary_bytes_are_judged_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let judged = consume(&bytes);
        prop_assert!(!matches!(&judged, Err(refusal) if refusal.rejection.code.as_str() == "INTERNAL_ERROR"));
    }

    #[test]
    fn one_changed_byte_in_a_good_event_is_judged_and_never_panics(at in 0_usize..160, byte in any::<u8>()) {
        let mut bytes = event(r#"{"id":"c-1","type":"lead","email":"a@b.example","address":{"city":"Bath"}}"#).into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let judged = consume(&bytes);
        prop_assert!(!matches!(&judged, Err(refusal) if refusal.rejection.code.as_str() == "INTERNAL_ERROR"));
    }

    #[test]
    fn arbitrary_text_in_place_of_base64_is_judged_and_never_panics(text in ".{0,200}") {
        let _ = EventConsumer.consume(Some(&text));
    }

    #[test]
    fn a_refusal_quotes_no_value_and_no_key(field in 0_usize..WORDS.len(), shape in 0_usize..5, mark in "[A-Z]{9}") {
        let values = [
            json!(mark), json!(mark.repeat(9_000)), json!([&mark]), json!({&mark: &mark}), json!({&mark: [&mark]}),
        ];
        let mut change = json!({"event_id": "e-1", "operation": "update", "occurred_at": "2026-11-20T10:15:00Z",
            "contact": {"id": "c-1", "type": "lead", "address": {}}});
        let (place, name) = WORDS[field];
        change.pointer_mut(place).expect("an object")[name] = values[shape].clone();
        if let Err(refusal) = consume(change.to_string().as_bytes()) {
            prop_assert!(!refusal.rejection.message.contains(&mark), "{}", refusal.rejection.message);
        }
    }
}
