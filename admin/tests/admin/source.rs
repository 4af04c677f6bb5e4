//! Tests of `source guess`: the printed section reads the records that it was made of.

use serde_json::Value;

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
        let data = records.iter().map(|record| {
            let data = record["kinesis"]["data"].as_str().expect("a text");
            let data = base64_simd::STANDARD.decode_to_vec(data).expect("base64");
            String::from_utf8(data).expect("UTF-8")
        });
        let lines: Vec<String> = data.filter(|data| !data.is_empty()).collect();
        let raw = file(&lines.join("\n"));
        let section = |document: &str| -> toml::Table {
            let mut document: toml::Table = toml::from_str(document).expect("TOML");
            let source = document["source"].as_table_mut().expect("a table");
            // Raw records have no key.
            source.remove("key");
            source.remove("tombstones");
            document
        };
        let of_raw = guessed(&raw.path().display().to_string());
        assert_eq!(section(&of_raw), section(&guessed(&path)), "{name}");
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
