//! Tests of `source guess`: with the printed section, the function delivers the records that it was
//! made of.

use std::io::Write as _;

use contact_sync::lambda::BatchResponse;
use contact_sync::settings::Preset;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use testkit::harness::{Logs, Mocks};
use testkit::stream::{invoke_event, record};
use testkit::{kafka, kpl};

use super::preview::{admin, file, json_of, text};

const SAMPLES: [&str; 4] = ["debezium", "debezium-flattened", "dms", "dynamodb"];

fn guessed(path: &str) -> String {
    let output = admin(&[], &["source", "guess", path]);
    assert_eq!(text(&output.stderr), "", "{path}");
    assert_eq!(output.status.code(), Some(0), "{path}");
    text(&output.stdout)
}

/// Returns the records of a preview: contact, fate and code.
fn previewed(path: &str, settings: &str) -> Vec<Value> {
    let config = format!("file:{settings}");
    let report = json_of(&[], &["preview", path, "--json", "--config", &config]);
    let rows = report["records"].as_array().expect("records");
    let row = |row: &Value| serde_json::json!([row["contact_id"], row["fate"], row["code"]]);
    rows.iter().map(row).collect()
}

#[test]
fn the_guess_of_each_sample_reads_it_as_its_settings_do() {
    for name in SAMPLES {
        let path = format!("events/rows/{name}.json");
        let document = guessed(&path);
        insta::assert_snapshot!(format!("guess_{name}"), document);
        let settings = file(&document);
        let settings = settings.path().display().to_string();
        let kept = format!("events/rows/{name}.toml");
        assert_eq!(
            previewed(&path, &settings),
            previewed(&path, &kept),
            "{name}"
        );
    }
}

#[test]
fn raw_records_are_guessed_as_the_event_that_holds_them() {
    for name in SAMPLES {
        let path = format!("events/rows/{name}.json");
        let event = std::fs::read(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR")));
        let event: Value = serde_json::from_slice(&event.expect("readable")).expect("JSON");
        let records = event["Records"].as_array().expect("records");
        let line = |record: &Value| {
            let data = record["kinesis"]["data"].as_str().expect("a text");
            let data = base64_simd::STANDARD.decode_to_vec(data).expect("base64");
            match String::from_utf8(data).expect("UTF-8") {
                data if data.is_empty() => "null".to_owned(),
                data => data,
            }
        };
        let lines: Vec<String> = records.iter().map(line).collect();
        let raw = file(&lines.join("\n"));
        let section = |document: &str| -> toml::Table { toml::from_str(document).expect("TOML") };
        let of_raw = guessed(&raw.path().display().to_string());
        assert_eq!(section(&of_raw), section(&guessed(&path)), "{name}");
    }
}

#[test]
fn a_raw_record_in_a_layer_is_guessed_as_in_lines() {
    let row = br#"{"contact_id": "c-1", "segment": "lead"}"#;
    let zstd =
        ruzstd::encoding::compress_to_vec(&row[..], ruzstd::encoding::CompressionLevel::Fastest);
    let expected = guessed(
        &file(str::from_utf8(row).expect("UTF-8"))
            .path()
            .display()
            .to_string(),
    );
    for record in [gzipped(row), zstd, kpl::aggregate(&[("default", row)])] {
        let raw = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(raw.path(), record).expect("written");
        assert_eq!(guessed(&raw.path().display().to_string()), expected);
    }
}

#[test]
fn a_file_without_records_of_a_known_format_is_a_failure() {
    let nothing = file("7\n[]\n");
    let path = nothing.path().display().to_string();
    let output = admin(&[], &["source", "guess", &path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("no record is of a known format"),
        "{output:?}"
    );
    let own = guessed("events/created.json");
    assert!(own.contains("format = \"contact-change\""), "{own}");
}

/// The content of a record: its key and its data.
type Content = (String, Vec<u8>);

/// Returns the event of a sample.
fn event_of(path: &str) -> Value {
    let event = std::fs::read(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR")));
    serde_json::from_slice(&event.expect("readable")).expect("JSON")
}

fn contents(event: &Value) -> Vec<Content> {
    let records = event["Records"].as_array().expect("records");
    let content = |record: &Value| {
        let key = record["kinesis"]["partitionKey"].as_str().expect("a key");
        let data = record["kinesis"]["data"].as_str().expect("a text");
        let data = base64_simd::STANDARD.decode_to_vec(data).expect("base64");
        (key.to_owned(), data)
    };
    records.iter().map(content).collect()
}

/// Returns an event of Kinesis with these records.
fn event_with(contents: &[Content]) -> Value {
    let records = contents.iter().enumerate();
    let records: Vec<Value> = records
        .map(|(at, (key, data))| record(0, at, key, data))
        .collect();
    json!({"Records": records})
}

fn gzipped(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).expect("in memory");
    encoder.finish().expect("in memory")
}

/// Wraps JSON data into a CloudEvent: as a value, or as base64 in gzip.
fn in_cloud_event(data: &[u8], at: usize) -> Vec<u8> {
    let mut event = json!({"specversion": "1.0", "id": format!("e-{at}"), "source": "/crm",
                           "type": "row.changed", "time": "2026-11-20T10:15:00Z"});
    if at.is_multiple_of(2) {
        event["data"] = serde_json::from_slice(data).expect("JSON");
    } else {
        event["data_base64"] = base64_simd::STANDARD.encode_to_string(gzipped(data)).into();
    }
    event.to_string().into_bytes()
}

/// Returns the sample's event in each envelope and layer, by name. A record without data has no
/// layer.
fn wrapped(event: &Value) -> Vec<(&'static str, Value)> {
    let plain = contents(event);
    let each = |wrap: &dyn Fn(&[u8], usize) -> Vec<u8>| {
        let mut wrapped = plain.clone();
        for (at, (_, data)) in wrapped.iter_mut().enumerate() {
            if !data.is_empty() {
                *data = wrap(data, at);
            }
        }
        event_with(&wrapped)
    };
    let parts: Vec<(&str, &[u8])> = plain
        .iter()
        .map(|(key, data)| (key.as_str(), data.as_slice()))
        .collect();
    let aggregate = event_with(&[("a".to_owned(), kpl::aggregate(&parts))]);
    let of_kafka: Vec<Value> = plain
        .iter()
        .zip(0..)
        .map(|((key, data), offset)| {
            let data = Some(data.as_slice()).filter(|data| !data.is_empty());
            kafka::record(0, offset, key, data)
        })
        .collect();
    vec![
        ("plain", event.clone()),
        ("gzip", each(&|data, _| gzipped(data))),
        ("CloudEvents", each(&in_cloud_event)),
        ("KPL", aggregate),
        ("Kafka", kafka::event(&of_kafka)),
    ]
}

/// The result of an event: contact, fate and code of each line of the audit trail, and the ids of
/// the contacts that both systems hold.
type Delivered = (Vec<Value>, [Vec<String>; 2]);

async fn delivered(event: &Value, settings: &str) -> Delivered {
    let mocks = Mocks::start_with(|_| {}, |behavior| behavior.require_a_name = false).await;
    let logs = Logs::listen();
    let handler = mocks.handler(Preset::Test, settings);
    let answer = invoke_event(&handler, event, "r").await;
    assert_eq!(answer, BatchResponse::default());
    assert_eq!(mocks.violations(), [""; 0]);
    let audit = logs.audit();
    let line = |line: &Value| json!([line["contact_id"], line["fate"], line["code"]]);
    let held = [
        mocks.salesforce.leads().into_keys().collect(),
        mocks.hubspot.contacts().into_keys().collect(),
    ];
    (audit.iter().map(line).collect(), held)
}

#[tokio::test]
async fn the_function_delivers_each_sample_in_each_layer_with_the_guessed_section() {
    for name in SAMPLES {
        let path = format!("events/rows/{name}.json");
        let kept = format!("{}/../events/rows/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let kept = std::fs::read_to_string(kept).expect("readable");
        let event = event_of(&path);
        let expected = delivered(&event, &kept).await;
        let held = expected.1.iter().map(Vec::len).sum::<usize>();
        assert!(held > 0, "{name}: {expected:?}");
        for (layer, event) in wrapped(&event) {
            let raw = file(&event.to_string());
            let guessed = guessed(&raw.path().display().to_string());
            let found = delivered(&event, &guessed).await;
            assert_eq!(found, expected, "{name} in {layer}:\n{guessed}");
        }
    }
}

#[tokio::test]
async fn the_function_delivers_each_sample_of_contact_changes_with_the_guessed_section() {
    let folder = format!("{}/../events", env!("CARGO_MANIFEST_DIR"));
    let mut guesses = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let name = entry.expect("an entry").file_name();
        let name = name.to_str().expect("UTF-8");
        // `empty` has no record to guess from. Records of `poison` are rejected, which the tool
        // reports by its exit code.
        let Some(name) = name.strip_suffix(".json") else {
            continue;
        };
        if ["empty", "poison", "contact-change.schema"].contains(&name) {
            continue;
        }
        let path = format!("events/{name}.json");
        let event = event_of(&path);
        let document = guessed(&path);
        assert_eq!(
            delivered(&event, &document).await,
            delivered(&event, "").await,
            "{name}:\n{document}"
        );
        guesses += 1;
    }
    assert!(guesses > 10, "{guesses}");
}
