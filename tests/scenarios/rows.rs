//! Tests of the row formats through the whole function: the sample events, and one batch of mixed
//! and malformed records.

mod whole;

use std::collections::BTreeMap;

use contact_sync::lambda::BatchResponse;
use contact_sync::settings::Preset;
use serde_json::{Value, json};
use testkit::feed::FeedFormat;
use testkit::harness::{Logs, Mocks};
use testkit::stream::{invoke, invoke_event, record};

/// Returns the row of a sample event in the README of the folder: its fates in words.
fn told_fates(name: &str) -> String {
    let readme = std::fs::read_to_string("events/README.md").expect("readable");
    let start = format!("| `rows/{name}.json` |");
    let row = readme
        .lines()
        .find(|line| line.starts_with(&start))
        .expect("a row");
    let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
    cells[3].to_owned()
}

/// Counts the fates of records, in the words of the README.
fn counted(fates: &[String]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for fate in fates {
        let (fate, _) = fate.split_once(' ').unwrap_or((fate, ""));
        *counts.entry(fate).or_default() += 1;
    }
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(fate, count)| format!("{count} {fate}"))
        .collect();
    counts.join(", ")
}

/// Returns the fate of each record with its code, once where its destinations agree.
fn fates(logs: &Logs) -> Vec<String> {
    let mut fates: BTreeMap<String, String> = BTreeMap::new();
    for line in logs.audit() {
        let position = line["sequence_number"]
            .as_str()
            .expect("a position")
            .to_owned();
        let code = line["code"].as_str().unwrap_or_default();
        // The mocks hold no contact to delete.
        let code = if code == "ALREADY_GONE" { "" } else { code };
        let fate = format!("{} {code}", line["fate"].as_str().expect("a fate"));
        fates.insert(position, fate.trim_end().to_owned());
    }
    fates.into_values().collect()
}

#[tokio::test]
async fn each_sample_of_rows_has_the_fates_of_its_readme() {
    for name in ["debezium", "debezium-flattened", "dms", "dynamodb"] {
        let path = format!("events/rows/{name}");
        let event = std::fs::read(format!("{path}.json")).expect("readable");
        let event: Value = serde_json::from_slice(&event).expect("JSON");
        let settings = std::fs::read_to_string(format!("{path}.toml")).expect("readable");
        let mocks = Mocks::start_with(|_| {}, |behavior| behavior.require_a_name = false).await;
        let logs = Logs::listen();
        let answer = invoke_event(&mocks.handler(Preset::Test, &settings), &event, name).await;
        assert_eq!(answer, BatchResponse::default(), "{name}");
        assert_eq!(mocks.violations(), [""; 0], "{name}");
        let fates = fates(&logs);
        assert_eq!(counted(&fates), told_fates(name), "{name}: {fates:#?}");
        insta::assert_json_snapshot!(
            format!("rows_{name}"),
            json!({
                "fates": fates,
                "leads": mocks.salesforce.leads(),
                "contacts": mocks.hubspot.contacts(),
            })
        );
    }
}

#[tokio::test]
async fn a_change_that_dms_kept_back_during_the_full_load_wins_over_the_loaded_row() {
    let written = |operation: &str, email: &str, times: Value| {
        let mut metadata = times;
        metadata["record-type"] = "data".into();
        metadata["operation"] = operation.into();
        metadata["table-name"] = "contacts".into();
        let row = json!({"contact_id": "c-1", "segment": "L", "email": email});
        json!({"data": row, "metadata": metadata})
            .to_string()
            .into_bytes()
    };
    let load = |email| {
        let times = json!({"timestamp": "2025-11-20T10:15:10Z"});
        written("load", email, times)
    };
    let update = written(
        "update",
        "new@example.com",
        json!({"timestamp": "2025-11-20T10:15:11Z", "commit-timestamp": "2025-11-20T10:15:05Z"}),
    );
    let document = FeedFormat::Dms
        .settings()
        .replace("\"rev\"", "\"occurred_at\"")
        + "[guard]\nmode = \"always\"\n[salesforce]\nversion_field = \"Version__c\"\n\
           [hubspot]\nversion_property = \"version\"\n";
    let mocks = Mocks::start().await;
    let replayed = |data: &[u8]| {
        let mut record: Value = serde_json::from_slice(data).expect("JSON");
        record["replay"] = true.into();
        record.to_string().into_bytes()
    };
    let always = [
        (load("old@example.com"), "delivered", "old@example.com"),
        (load("read@example.com"), "delivered", "read@example.com"),
        (update.clone(), "delivered", "new@example.com"),
        (
            load("old@example.com"),
            "superseded STALE",
            "new@example.com",
        ),
    ];
    // Where live changes are not compared, the load's own time protects it from older replays, and
    // a replay of the load is compared by it.
    let replays = [
        (load("last@example.com"), "delivered", "last@example.com"),
        (replayed(&update), "superseded STALE", "last@example.com"),
        (update, "delivered", "new@example.com"),
        (
            replayed(&load("last@example.com")),
            "delivered",
            "last@example.com",
        ),
    ];
    let logs = Logs::listen();
    for (mode, changes) in [("always", always), ("replays", replays)] {
        let handler = mocks.handler(Preset::Test, &document.replace("always", mode));
        for (data, fate, email) in changes {
            invoke(&handler, &records_of(&[data]), "r").await;
            let fates = logs.fates();
            assert_eq!(fates.last().map(String::as_str), Some(fate), "{mode}");
            assert_eq!(mocks.salesforce.leads()["c-1"]["Email"], email, "{mode}");
        }
    }
}

/// Returns the record of a new lead.
fn created(format: FeedFormat, id: &str) -> Value {
    let row = json!({"contact_id": id, "segment": "L"});
    match format {
        FeedFormat::Debezium => json!({"op": "c", "source": {}, "before": null, "after": row}),
        FeedFormat::Flattened => row,
        FeedFormat::Dms => json!({"data": row, "metadata": {"record-type": "data",
            "operation": "insert", "table-name": "contacts"}}),
        FeedFormat::Dynamodb => json!({"eventName": "INSERT", "tableName": "contacts",
            "dynamodb": {"NewImage": {"contact_id": {"S": id}, "segment": {"S": "L"}}}}),
    }
}

/// Returns the records of a shard, one for each data.
fn records_of(data: &[Vec<u8>]) -> Vec<Value> {
    data.iter()
        .enumerate()
        .map(|(at, data)| record(0, at, "key", data))
        .collect()
}

#[tokio::test]
async fn records_of_other_formats_are_rejected_each_with_a_code_and_their_neighbours_delivered() {
    for format in FeedFormat::ALL {
        let own = json!({"event_id": "e", "operation": "create", "contact": {"id": "c"}});
        let unknown = match format {
            FeedFormat::Dms => json!({"metadata": {"record-type": "data", "operation": "merge"}}),
            FeedFormat::Dynamodb => json!({"eventName": "MERGE", "dynamodb": {}}),
            _ => json!({"op": "merge", "__op": "merge", "source": {}, "contact_id": "c"}),
        };
        let mut no_number = created(format, "bad");
        let path = match format {
            FeedFormat::Debezium => "/after",
            FeedFormat::Flattened => "",
            FeedFormat::Dms => "/data",
            FeedFormat::Dynamodb => "/dynamodb/NewImage",
        };
        let row = no_number.pointer_mut(path).expect("a row");
        row["seats"] = match format {
            FeedFormat::Dynamodb => json!({"S": "a dozen"}),
            _ => "a dozen".into(),
        };
        let data = [
            created(format, "good-1").to_string().into_bytes(),
            own.to_string().into_bytes(),
            b"no json".to_vec(),
            b"\xff\xfe".to_vec(),
            b"[]".to_vec(),
            unknown.to_string().into_bytes(),
            no_number.to_string().into_bytes(),
            created(format, "good-2").to_string().into_bytes(),
        ];
        let mocks = Mocks::start().await;
        let logs = Logs::listen();
        let handler = mocks.handler(Preset::Test, &format.settings());
        let answer = invoke(&handler, &records_of(&data), "r").await;
        assert_eq!(answer, BatchResponse::default());
        let expected = [
            "delivered",
            "rejected UNKNOWN_FORMAT",
            "rejected INVALID_JSON",
            "rejected INVALID_UTF8",
            "rejected WRONG_TYPE",
            "rejected UNKNOWN_OPERATION",
            "rejected COLUMN_UNREADABLE",
            "delivered",
        ];
        assert_eq!(fates(&logs), expected, "{format:?}");
        let leads = mocks.salesforce.leads();
        assert_eq!(
            leads.keys().collect::<Vec<_>>(),
            ["good-1", "good-2"],
            "{format:?}"
        );
    }
}

#[tokio::test]
async fn a_row_behind_a_byte_order_mark_or_an_id_of_apicurio_is_read() {
    for format in FeedFormat::ALL {
        let row = |id| created(format, id).to_string().into_bytes();
        let data = [
            [b"\xef\xbb\xbf", &row("marked")[..]].concat(),
            [&[0, 0, 0, 0, 0, 0, 0, 0, 17], &row("framed")[..]].concat(),
            b"\xef\xbb\xbf".to_vec(),
            b"\0\0\0\0\0\0\0\0\x11\x02\x0ac-1".to_vec(),
        ];
        let mocks = Mocks::start().await;
        let logs = Logs::listen();
        let handler = mocks.handler(Preset::Test, &format.settings());
        invoke(&handler, &records_of(&data), "r").await;
        let expected = [
            "delivered",
            "delivered",
            "rejected EMPTY_DATA",
            "rejected SCHEMA_REGISTRY_FRAMING",
        ];
        assert_eq!(fates(&logs), expected, "{format:?}");
        let leads = mocks.salesforce.leads();
        assert_eq!(leads.keys().collect::<Vec<_>>(), ["framed", "marked"]);
    }
}

#[tokio::test]
async fn a_record_with_an_unreadable_schema_is_rejected_and_its_neighbours_delivered() {
    let deep = format!(
        r#"{{"fields":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let long = json!({"fields": vec![json!({"field": "x", "type": "int32"}); 20_000]}).to_string();
    let columns = r#"{"fields":[{"type":"string","field":"contact_id"}]}"#;
    let images = format!(r#"{{"fields":[{{"field":"after",{}]}}"#, &columns[1..]);
    let wrong = ["7", "{}", r#"{"fields":7}"#, r#"{"fields":[7]}"#];
    for (format, good, more) in [
        (
            FeedFormat::Debezium,
            &*images,
            vec![&*deep, &long, columns, r#"{"fields":[]}"#],
        ),
        (FeedFormat::Flattened, columns, vec![&deep]),
    ] {
        let wrapped = |schema: &str, id: &str| {
            let payload = created(format, id);
            format!(r#"{{"schema":{schema},"payload":{payload}}}"#).into_bytes()
        };
        let mut data = vec![wrapped(good, "good-1")];
        let mut expected = vec!["delivered"];
        for schema in wrong.into_iter().chain(more) {
            data.push(wrapped(schema, "bad"));
            expected.push("rejected UNREADABLE_SCHEMA");
        }
        for neighbour in [wrapped(good, "good-2"), wrapped("null", "good-3")] {
            data.push(neighbour);
            expected.push("delivered");
        }
        let mocks = Mocks::start().await;
        let logs = Logs::listen();
        let handler = mocks.handler(Preset::Test, &format.settings());
        let answer = invoke(&handler, &records_of(&data), "r").await;
        assert_eq!(answer, BatchResponse::default());
        assert_eq!(fates(&logs), expected, "{format:?}");
        let leads = mocks.salesforce.leads();
        assert_eq!(
            leads.keys().collect::<Vec<_>>(),
            ["good-1", "good-2", "good-3"],
            "{format:?}"
        );
    }
}

#[tokio::test]
async fn a_filtered_row_is_named_in_the_audit_trail_and_a_truncate_is_warned_of() {
    let row = json!({"contact_id": "c-1", "segment": "L", "unmapped": 1});
    let changed = json!({"contact_id": "c-1", "segment": "L", "unmapped": 2});
    let update = json!({"op": "u", "source": {"lsn": 7}, "before": row, "after": changed});
    let truncate = json!({"op": "t", "source": {"table": "contacts"}});
    let mocks = Mocks::start().await;
    let logs = Logs::listen();
    let records = records_of(&[update, truncate].map(|data| data.to_string().into_bytes()));
    let handler = mocks.handler(Preset::Test, &FeedFormat::Debezium.settings());
    invoke(&handler, &records, "r").await;
    assert_eq!(
        fates(&logs),
        ["filtered NO_CHANGE", "filtered NOT_A_ROW_CHANGE"]
    );
    let audit = logs.audit();
    assert_eq!(
        (
            &audit[0]["contact_id"],
            &audit[0]["event_id"],
            &audit[0]["operation"]
        ),
        (&json!("c-1"), &json!("7:c-1"), &json!("update"))
    );
    let warnings: Vec<Value> = logs
        .lines()
        .into_iter()
        .filter(|line| line["level"] == "WARN" && line["kind"].is_string())
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0]["kind"], "truncate");
}
