//! Sends each sample event to the real binary, with the mocks and the settings of `make watch`. The
//! fates are those of the README beside the samples.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::harness::Mocks;
use testkit::runtime_api::{Function, InvocationOutcome};
use tokio::time::{Instant, sleep_until, timeout};

use super::{BINARY, TIME};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/events");

/// The fates, with the names of their metrics.
const FATES: [(&str, &str); 4] = [
    ("delivered", "RecordsDelivered"),
    ("superseded", "RecordsSuperseded"),
    ("filtered", "RecordsFiltered"),
    ("rejected", "RecordsRejected"),
];

/// A row of the README: the file, the number of its records, and the number of each fate.
#[derive(Debug)]
struct Sample {
    file: String,
    records: u64,
    fates: BTreeMap<String, u64>,
}

fn samples() -> Vec<Sample> {
    let readme = std::fs::read_to_string(format!("{FOLDER}/README.md")).expect("readable");
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    rows.map(sample).collect()
}

fn sample(row: &str) -> Sample {
    let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
    let [file, records, .., fates] = cells[..] else {
        panic!("a row of four cells: {row}");
    };
    let (counts, _) = fates.split_once([':', ';']).unwrap_or((fates, ""));
    let mut fates = BTreeMap::new();
    for count in counts.split(", ").filter(|count| *count != "no records") {
        let (number, fate) = count.split_once(' ').expect("a number and a fate");
        fates.insert(fate.to_owned(), number.parse().expect("a number"));
    }
    Sample {
        file: file.trim_matches('`').to_owned(),
        records: records.parse().expect("a number"),
        fates,
    }
}

/// Returns the sample events of the folder.
fn files() -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for prefix in ["", "rows/"] {
        for entry in std::fs::read_dir(format!("{FOLDER}/{prefix}")).expect("a folder") {
            let name = entry.expect("an entry").file_name();
            let name = name.to_str().expect("UTF-8");
            let is_event = name.strip_suffix(".json");
            if is_event.is_some_and(|name| name != "contact-change.schema") {
                files.insert(format!("{prefix}{name}"));
            }
        }
    }
    files
}

/// Waits for the metrics of the only invocation. Returns the number of records of each fate.
async fn counted(function: &Function) -> BTreeMap<String, u64> {
    let metrics = loop {
        let lines = function.lines();
        let lines = lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut metrics = lines.filter(|line| {
            line["_aws"].is_object()
                && line["RecordsReceived"].is_u64()
                && line["Destination"].is_null()
        });
        if let Some(metrics) = metrics.next() {
            break metrics;
        }
        sleep_until(Instant::now() + Duration::from_millis(1)).await;
    };
    let mut fates = BTreeMap::new();
    for (fate, name) in FATES {
        let count = metrics[name].as_u64().unwrap_or_default();
        if count > 0 {
            fates.insert(fate.to_owned(), count);
        }
    }
    fates
}

#[tokio::test]
async fn each_sample_event_gets_the_response_and_the_fates_of_the_readme() {
    let samples = samples();
    let named: BTreeSet<String> = samples.iter().map(|sample| sample.file.clone()).collect();
    assert_eq!(named, files(), "each sample has a row in the README");
    for Sample {
        file,
        records,
        fates,
    } in samples
    {
        assert_eq!(fates.values().sum::<u64>(), records, "{file}");
        let mocks = Mocks::start_with(|_| {}, |behavior| behavior.require_a_name = false).await;
        let mut variables = mocks.variables();
        variables.push(("CONTACT_SYNC_PRESET".to_owned(), "local".to_owned()));
        if let Some(name) = file.strip_prefix("rows/") {
            let settings = name.replace(".json", ".toml");
            let settings = format!("file:{FOLDER}/rows/{settings}");
            variables.push(("CONTACT_SYNC_CONFIG".to_owned(), settings));
        }
        let event = std::fs::read(format!("{FOLDER}/{file}")).expect("readable");
        let mut function = Function::start(Path::new(BINARY), &variables).await;
        let ended = function.invoke(event, "r", TIME).await;
        let none_failed = json!({"batchItemFailures": []});
        assert_eq!(ended, InvocationOutcome::Answer(none_failed), "{file}");
        if records > 0 {
            let counted = timeout(TIME, counted(&function)).await;
            assert_eq!(counted.expect("metrics"), fates, "{file}");
        }
        assert_eq!(mocks.violations(), [""; 0], "{file}");
    }
}
