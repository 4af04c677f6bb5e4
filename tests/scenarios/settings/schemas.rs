//! Tests that the JSON Schemas agree with the types and the consumer.

use contact_sync::adapters::REGISTRY;
use contact_sync::model::Record;
use contact_sync::settings;
use contact_sync::source::{self, EventConsumer};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};
use testkit::stream::arrival;

use super::{Preset, with};

const CHANGE_SCHEMA: &str = include_str!("../../../events/contact-change.schema.json");

fn validator(schema: &Value) -> Validator {
    jsonschema::options()
        .should_validate_formats(true)
        .build(schema)
        .expect("a schema")
}

fn document(text: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(text).expect("TOML")).expect("JSON")
}

#[test]
fn the_settings_schema_agrees_with_the_function_and_describes_every_key() {
    let schema = settings::schema(&REGISTRY);
    jsonschema::meta::validate(&schema).expect("draft 2020-12");
    let validator = validator(&schema);
    for good in [
        "",
        include_str!("../../fixtures/kitchen-sink.toml"),
        &settings::defaults(&REGISTRY),
        include_str!("../../../src/settings/presets/test.toml"),
        include_str!("../../../src/settings/presets/high-throughput.toml"),
        include_str!("../../../src/adapters/salesforce/presets/test.toml"),
        include_str!("../../../src/adapters/hubspot/presets/high-throughput.toml"),
    ] {
        assert!(validator.is_valid(&document(good)), "{good}");
    }
    for bad in [
        "[pipelin]\ndry_run = true",
        "[pipeline]\nspeed = 3",
        "[pipeline]\nqueue_capacity = \"many\"",
        "refresh_secs = -1",
        "[filter]\ntypes = [\"friend\"]",
        "[guard]\nmode = \"sometimes\"",
        "[hubspot.attributes]\na = 3",
        "[hubspot.retry]\nmax_attempt = 3",
        "refresh_secs = 86_401",
        "[hubspot]\nbatch_size = 101",
        "[salesforce.rate_limit]\nper_ms = 0",
    ] {
        assert!(
            !validator.is_valid(&document(bad)) && with(Preset::Test, bad).is_err(),
            "{bad}"
        );
    }
    assert_documented(&schema, "");
    assert_eq!(
        schema["properties"]["hubspot"]["properties"]["batch_size"]["default"],
        100
    );
}

/// Asserts that every key has a description, and every number a range.
fn assert_documented(schema: &Value, path: &str) {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        assert!(
            property["description"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{path}"
        );
        assert!(
            property["type"] != "integer" || property["maximum"].is_u64(),
            "{path}"
        );
        assert_documented(property, &path);
    }
}

#[test]
fn the_change_schema_in_the_repository_is_generated_from_the_types() {
    let kept: Value = serde_json::from_str(CHANGE_SCHEMA).expect("JSON");
    assert_eq!(kept, source::schema(), "run `make schema`");
    jsonschema::meta::validate(&kept).expect("draft 2020-12");
}

#[test]
fn the_change_schema_names_its_version_and_its_examples_are_valid() {
    let schema = source::schema();
    let id = schema["$id"].as_str().expect("an id");
    let version = id.strip_prefix("urn:contact-sync:contact-change:");
    let version = version.expect("a URN of the schema");
    let numbers: Vec<Result<u32, _>> = version.split('.').map(str::parse).collect();
    assert!(
        numbers.len() == 3 && numbers.iter().all(Result::is_ok),
        "{id}"
    );
    let comment = schema["$comment"].as_str().expect("a comment");
    assert!(
        comment.starts_with(&format!("Version {version}.")),
        "{comment}"
    );
    let validator = validator(&schema);
    let examples = schema["examples"].as_array().expect("examples");
    assert_eq!(examples.len(), 3);
    for example in examples {
        assert!(validator.is_valid(example), "{example}");
        let data = base64_simd::STANDARD.encode_to_string(example.to_string());
        let consumed = EventConsumer.consume(&Record::of_data(data), arrival());
        assert!(consumed.is_ok(), "{example}");
    }
    // The first one has every field that a new contact has.
    let fields = |value: &Value| {
        let mut found = Vec::new();
        paths(value, "", &mut found);
        found.retain(|path| !path.starts_with("/contact/attributes/"));
        found.sort();
        found
    };
    let mut full = full_change();
    for path in ["/replay", "/lane", "/contact/previous_type"] {
        put(&mut full, path, None);
    }
    assert_eq!(fields(&examples[0]), fields(&full));
}

/// Codes of rules that JSON Schema cannot express, or that are checked before JSON is parsed.
const BEYOND_THE_SCHEMA: [&str; 8] = [
    "TIME_IN_FUTURE",
    "MISSING_DATA",
    "INVALID_BASE64",
    "EMPTY_DATA",
    "INVALID_UTF8",
    "INVALID_JSON",
    "NESTED_TOO_DEEPLY",
    "DUPLICATE_KEY",
];

/// Samples whose changes are within transport layers.
const LAYERED: [&str; 3] = ["cloudevents.json", "compressed.json", "kpl.json"];

#[test]
fn the_schema_and_the_consumer_agree_on_every_sample_event() {
    let validator = validator(&serde_json::from_str(CHANGE_SCHEMA).expect("JSON"));
    let (mut good, mut bad) = (0, 0);
    for file in std::fs::read_dir("events").expect("the samples") {
        let path = file.expect("readable").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        if !name.ends_with(".json") || LAYERED.contains(&&*name) {
            continue;
        }
        let event: Value =
            serde_json::from_slice(&std::fs::read(&path).expect("readable")).expect("JSON");
        for record in event["Records"].as_array().into_iter().flatten() {
            let data = record["kinesis"]["data"].as_str();
            let record = data.map(Record::of_data).unwrap_or_default();
            let consumed = EventConsumer.consume(&record, arrival());
            let code = consumed
                .as_ref()
                .err()
                .map(|refusal| refusal.rejection.code.to_string());
            if code
                .as_ref()
                .is_some_and(|code| BEYOND_THE_SCHEMA.contains(&&**code))
            {
                continue;
            }
            let bytes = base64_simd::STANDARD
                .decode_to_vec(data.expect("data"))
                .expect("base64");
            let change: Value = serde_json::from_slice(&bytes).expect("JSON");
            // A validator that computes in doubles accepts 2^64 as the largest version. The
            // consumer accepts no fraction and no larger number.
            if change["version"]
                .as_f64()
                .is_some_and(|version| change["version"].is_f64() && version.fract() == 0.0)
            {
                assert!(code.is_some(), "{}: {change}", path.display());
                continue;
            }
            assert_eq!(
                validator.is_valid(&change),
                code.is_none(),
                "{}: {code:?} {change}",
                path.display()
            );
            if code.is_none() { good += 1 } else { bad += 1 }
        }
    }
    assert!(good > 20 && bad > 5, "{good} good and {bad} bad samples");
}

/// Returns a change that uses every field.
fn full_change() -> Value {
    json!({
        "event_id": "e-1", "operation": "update", "occurred_at": "2026-11-20T10:15:00.123Z",
        "version": 42, "replay": true,
        "contact": {
            "id": "c-1001", "type": "lead", "email": "ada@example.com", "first_name": "Ada",
            "last_name": "Lovelace", "company": "Analytical Engines", "job_title": "Engineer",
            "phone": "+44 20 7946 0000", "mobile_phone": null, "website": "https://example.com",
            "lead_source": "Web", "status": null,
            "address": {"street": "12 St James's Sq", "city": "London", "state": null,
                        "postal_code": "SW1Y 4JH", "country": "United Kingdom"},
            "attributes": {"plan": "team", "seats": 25, "newsletter": true, "none": null}
        }
    })
}

/// Collects the paths in a change, as JSON pointers.
fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
    for (key, inner) in value.as_object().into_iter().flatten() {
        let at = format!("{at}/{key}");
        found.push(at.clone());
        paths(inner, &at, found);
    }
}

fn put(change: &mut Value, path: &str, value: Option<Value>) {
    let (parent, key) = path.rsplit_once('/').expect("a path");
    let Some(Value::Object(parent)) = change.pointer_mut(parent) else {
        return;
    };
    match value {
        Some(value) => drop(parent.insert(key.to_owned(), value)),
        None => drop(parent.remove(key)),
    }
}

/// Returns values for any path; `None` stands for a missing field.
fn values() -> Vec<Option<Value>> {
    let long = |length| "x".repeat(length);
    let texts = [
        "",
        " ",
        "\u{85}",
        "\u{feff}",
        "x",
        "VENDOR",
        " c-1001 ",
        "\u{a0}Ada@Example.com\u{85}",
        "j\u{fc}rgen@example.com",
    ];
    let texts = texts.map(str::to_owned).into_iter().chain([
        long(128),
        long(129),
        long(255),
        long(256),
        format!(" {} ", long(255)),
        format!("  {}  ", long(256)),
        long(300),
        long(70_000),
        "Ada <ada@example.com>".to_owned(),
    ]);
    let others = [
        Value::Null,
        7.into(),
        (-7).into(),
        1.5.into(),
        json!(1e24),
        u64::MAX.into(),
        true.into(),
        json!({}),
        json!(["x"]),
    ];
    std::iter::once(None)
        .chain(texts.map(Value::String).chain(others).map(Some))
        .collect()
}

proptest! {
    #[test]
    fn the_schema_and_the_consumer_agree_on_any_change(
        mutations in proptest::collection::vec((0_usize..64, 0_usize..values().len()), 0..3),
        operation in 0_usize..3,
    ) {
        let mut change = full_change();
        change["operation"] = ["create", "update", "delete"][operation].into();
        let mut all = Vec::new();
        paths(&change, "", &mut all);
        all.push("/contact/unknown".to_owned());
        for (path, index) in mutations {
            let value = values().swap_remove(index);
            put(&mut change, &all[path % all.len()], value);
        }
        let data = base64_simd::STANDARD.encode_to_string(change.to_string());
        let consumed = EventConsumer.consume(&Record::of_data(data), arrival());
        let code = consumed.err().map(|refusal| refusal.rejection.code.to_string());
        let is_valid = validator(&source::schema()).is_valid(&change);
        prop_assert_eq!(is_valid, code.is_none(), "{:?} {}", code, change);
    }
}
