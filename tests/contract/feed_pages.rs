//! The pages of `docs/feeds`: each block of settings is valid, and decodes the records below it.

use std::fs;
use std::path::Path;

use contact_sync::adapters::DESTINATIONS;
use contact_sync::model::{ContactChange, Field, Record};
use contact_sync::settings::{Layer, Preset, load};
use contact_sync::source::{Decoded, RecordDecoder, SourceSettings};
use serde_json::Value;
use testkit::stream::arrival;

/// A block of a page: its language and its text, without indentation.
type Block = (String, String);

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in page.lines() {
        let text = line.trim_start();
        match (&mut open, text.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, block)), None) => {
                block.push_str(text);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block without an end");
    blocks
}

/// Returns the source that a block of settings declares.
fn source(page: &str, settings: &str) -> SourceSettings {
    let layer = Layer::from_toml(page, settings).unwrap_or_else(|error| panic!("{page}: {error}"));
    let settings = load(Preset::Test, &[layer], &DESTINATIONS);
    settings
        .unwrap_or_else(|error| panic!("{page}: {error}"))
        .source
}

/// Returns whether a block is a record of a stream, not settings of a producer.
fn is_record(json: &Value) -> bool {
    let keys = [
        "op",
        "__op",
        "metadata",
        "eventName",
        "specversion",
        "operation",
    ];
    keys.iter().any(|key| json.get(key).is_some())
}

fn decoded(page: &str, source: &SourceSettings, record: &str) -> ContactChange {
    let text = base64_simd::STANDARD.encode_to_string(record);
    match RecordDecoder::new(source).decode(&Record::of_data(text), arrival()) {
        Ok(Decoded::Change(change)) => *change,
        other => panic!("{page}: {other:?} of {record}"),
    }
}

#[test]
fn each_settings_block_is_valid_and_decodes_the_records_below_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/feeds");
    let mut records_of = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let page = path
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("a name");
        let text = fs::read_to_string(&path).expect("readable");
        let (mut current, mut records) = (source(page, ""), 0);
        for (language, block) in blocks(&text) {
            match language.as_str() {
                "toml" => current = source(page, &block),
                "json" => {
                    let json: Value = serde_json::from_str(&block)
                        .unwrap_or_else(|error| panic!("{page}: {error} in {block}"));
                    if is_record(&json) {
                        records += 1;
                        let change = decoded(page, &current, &block);
                        assert_eq!(change.contact.id.as_str(), "c-1001", "{page}");
                        assert!(change.contact.kind.is_some(), "{page}");
                        // The examples with a row before say that one field is sent.
                        if block.contains("ada@example.com") {
                            let email = &change.contact.email;
                            assert!(matches!(email, Field::Value(_)), "{page}: {email:?}");
                            let name = &change.contact.first_name;
                            assert!(matches!(name, Field::Absent), "{page}: {name:?}");
                        }
                    }
                }
                _ => {}
            }
        }
        records_of.push((page.to_owned(), records));
    }
    records_of.sort();
    let records_of: Vec<(&str, i32)> = records_of
        .iter()
        .map(|(page, records)| (page.as_str(), *records))
        .collect();
    assert_eq!(
        records_of,
        [
            ("debezium", 2),
            ("dms", 1),
            ("dynamodb", 1),
            ("index", 0),
            ("kafka", 0),
            ("layers", 1),
        ]
    );
}
