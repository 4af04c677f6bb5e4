//! Tests of `preview`, `change-schema` and `settings`: their output matches the function.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use contact_sync::settings::Preset;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use testkit::harness::{Logs, Mocks};
use testkit::stream::{failures, invoke};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_contact-sync-admin");

/// The folder of the workspace, which the paths of the sample events begin in.
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

pub(crate) fn admin(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let preset = [("CONTACT_SYNC_PRESET", "test")];
    let mut command = Command::new(BINARY);
    command
        .args(arguments)
        .current_dir(WORKSPACE)
        .env_clear()
        .envs(preset)
        .envs(variables.iter().copied());
    command.output().expect("the tool runs")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

pub(crate) fn json_of(variables: &[(&str, &str)], arguments: &[&str]) -> Value {
    let output = admin(variables, arguments);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

pub(crate) fn file(content: &str) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), content).expect("written");
    file
}

#[test]
fn each_setting_is_shown_with_the_layer_that_set_it() {
    let document = file("[hubspot]\n\nbatch_size = 7\n[hubspot.retry]\nmax_attempts = 2");
    let path = document.path().display().to_string();
    let config = format!("file:{path}");
    let variables = [
        ("CONTACT_SYNC_CONFIG", &*config),
        ("CONTACT_SYNC__SALESFORCE__BATCH_SIZE", "9"),
    ];
    let shown = json_of(&variables, &["settings", "--json"]);
    let of = |key: &str| {
        let all = shown.as_array().expect("a list");
        let found = all
            .iter()
            .find(|setting| setting["key"] == key)
            .unwrap_or_else(|| panic!("{key}"));
        (
            found["value"].clone(),
            found["from"].as_str().expect("a layer").to_owned(),
        )
    };
    assert_eq!(
        of("hubspot.batch_size"),
        (7.into(), format!("the file {path}, line 3"))
    );
    assert_eq!(
        of("hubspot.retry.max_attempts"),
        (2.into(), format!("the file {path}, line 5"))
    );
    assert_eq!(
        of("salesforce.batch_size"),
        (
            9.into(),
            "the variable CONTACT_SYNC__SALESFORCE__BATCH_SIZE".to_owned()
        )
    );
    assert!(of("refresh_secs").1.starts_with("the preset test, line "));
    assert!(of("log.audit").1.starts_with("the defaults, line "));
    assert_eq!(of("salesforce.attributes").0, json!({}));
    let table = text(&admin(&variables, &["settings"]).stdout);
    assert!(
        table
            .lines()
            .any(|line| line.starts_with("hubspot.batch_size") && line.ends_with(", line 3")),
        "{table}"
    );
}

#[test]
fn a_fifo_queue_is_rejected_by_the_check_and_by_doctor() {
    let fifo = "https://sqs.eu-west-1.amazonaws.com/123456789012/letters.fifo";
    let document = file(&format!("[dead_letter]\nqueue_url = \"{fifo}\\n\""));
    let path = document.path().to_str().expect("UTF-8");
    let output = admin(&[], &["settings", "--check", path]);
    let expected = format!("the file {path}, line 2: `dead_letter.queue_url` is a FIFO queue");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&expected), "{output:?}");

    let variables = [
        ("CONTACT_SYNC__DEAD_LETTER__QUEUE_URL", fifo),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    let output = admin(&variables, &["doctor"]);
    assert_eq!(output.status.code(), Some(1));
    let report = text(&output.stdout);
    assert!(
        report.contains("FAIL  settings")
            && report.contains("`dead_letter.queue_url` is a FIFO queue"),
        "{output:?}"
    );
}

#[test]
fn settings_without_a_queue_are_shown_with_a_note() {
    let production = [("CONTACT_SYNC_PRESET", "production")];
    let output = admin(&production, &["settings"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        text(&output.stdout).contains("hubspot.batch_size"),
        "{output:?}"
    );
    let note = text(&output.stderr);
    assert!(
        note.contains("does not start with these settings")
            && note.contains("`dead_letter.queue_url` is empty"),
        "{note}"
    );
    let guard = "no guard holds for salesforce (salesforce.version_field is empty)";
    assert!(text(&output.stdout).contains(guard), "{output:?}");
    assert_eq!(note.lines().count(), 1, "{note}");
    let shown = json_of(&production, &["settings", "--json"]);
    let queue = shown
        .as_array()
        .expect("a list")
        .iter()
        .find(|setting| setting["key"] == "dead_letter.queue_url");
    assert_eq!(queue.expect("shown")["value"], "");

    let output = admin(&production, &["preview", "events/mixed.json"]);
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(0), String::new()),
        "a preview needs no queue"
    );
    let bad = [
        ("CONTACT_SYNC_PRESET", "production"),
        ("CONTACT_SYNC__HUBSPOT__BATCH_SIZE", "101"),
    ];
    assert_eq!(
        admin(&bad, &["preview", "events/mixed.json"]).status.code(),
        Some(1),
        "other errors in the settings fail"
    );
}

#[test]
fn the_schemas_are_printed() {
    let printed = |arguments: &[&str]| json_of(&[], arguments);
    assert_eq!(
        printed(&["settings", "--schema"]),
        contact_sync::settings::schema(&contact_sync::adapters::REGISTRY)
    );
    assert_eq!(printed(&["change-schema"]), contact_sync::source::schema());
}

#[tokio::test]
async fn a_preview_predicts_the_outcomes_and_calls_of_the_function() {
    for name in [
        "created",
        "updated",
        "deleted",
        "mixed",
        "same-contact",
        "type-changed",
        "out-of-order",
        "poison",
    ] {
        let path = format!("events/{name}.json");
        let preview = json_of(&[], &["preview", &path, "--json"]);
        let event = std::fs::read(format!("{WORKSPACE}/{path}")).expect("readable");
        let event: Value = serde_json::from_slice(&event).expect("JSON");
        let records = event["Records"].as_array().expect("records");
        let mocks = Mocks::start_with(|_| {}, |hubspot| hubspot.require_a_name = false).await;
        let logs = Logs::listen();
        assert!(
            failures(&invoke(&mocks.handler(Preset::Test, ""), records, name).await).is_empty()
        );

        // A dry run cannot predict responses of the destinations, such as ALREADY_GONE.
        let row = |line: &Value| {
            let code = line["code"]
                .as_str()
                .filter(|code| *code != "DRY_RUN" && *code != "ALREADY_GONE");
            let fate = line["fate"]
                .as_str()
                .expect("a fate")
                .replace("would be written", "delivered");
            format!("{} {fate} {code:?}", line["destination"])
        };
        let planned_rows: Vec<String> = preview["records"]
            .as_array()
            .expect("a list")
            .iter()
            .map(row)
            .collect();
        let rows: Vec<String> = logs.audit().iter().map(row).collect();
        assert_eq!(planned_rows, rows, "{name}");
        for (at, destination) in ["salesforce", "hubspot"].into_iter().enumerate() {
            let planned = preview["calls"]
                .as_array()
                .expect("a list")
                .iter()
                .find(|calls| calls["destination"] == destination);
            let planned = match planned {
                Some(calls) => calls["api_calls"].as_u64().expect("a number"),
                None => 0,
            };
            let made: u64 = logs
                .metrics(destination)
                .iter()
                .filter_map(|line| line["ApiCalls"].as_u64())
                .sum();
            // Salesforce requires one call for its token, and one more if it requires fields of a
            // lead that does not exist yet. A delete of a missing record ends with its look-up.
            let is_salesforce = at == 0;
            let most = planned
                + u64::from(is_salesforce && made > 0)
                + u64::from(is_salesforce && name == "updated");
            let is_as_planned = if has_deletes(&preview) {
                made <= most
            } else {
                made == most
            };
            assert!(
                is_as_planned,
                "{name}: {destination} received {made} calls, {planned} were planned"
            );
        }
    }
}

fn has_deletes(preview: &Value) -> bool {
    preview["records"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|row| row["write"]["operation"] == "delete")
}

#[test]
fn a_preview_shows_fields_and_values_of_changes_in_each_format() {
    let change = |id: &str, kind: &str| {
        json!({
            "event_id": format!("e-{id}"),
            "operation": "create",
            "occurred_at": "2026-11-20T10:15:00Z",
            "contact": {
                "id": id,
                "type": kind,
                "last_name": "Lovelace",
                "company": "Acme",
                "attributes": {"seats": 25},
            },
        })
    };
    let (lead, customer) = (change("c-1", "lead"), change("c-2", "customer"));
    let attributes = [
        ("CONTACT_SYNC__SALESFORCE__ATTRIBUTES__SEATS", "Seats__c"),
        ("CONTACT_SYNC__HUBSPOT__ATTRIBUTES__SEATS", "seats"),
    ];
    for content in [
        json!([lead, customer]).to_string(),
        format!("{lead}\n\n{customer}\n"),
    ] {
        let file = file(&content);
        let preview = json_of(
            &attributes,
            &["preview", file.path().to_str().expect("UTF-8"), "--json"],
        );
        let fields = |at: usize| &preview["records"][at]["write"]["fields"];
        assert_eq!(fields(0)["LastName"], "Lovelace");
        assert_eq!(fields(0)["Seats__c"], 25, "Salesforce receives a number");
        assert_eq!(fields(1)["seats"], "25", "HubSpot receives a text");
        assert_eq!(preview["api_calls"], 2);
        assert_eq!(
            (
                &preview["records"][0]["code"],
                &preview["records"][0]["fate"]
            ),
            (&json!("DRY_RUN"), &json!("would be written"))
        );
    }
    let file = file(&lead.to_string());
    let path = file.path().to_str().expect("UTF-8");
    let preview = json_of(
        &[("CONTACT_SYNC__SALESFORCE__STATUS__LEAD", "New")],
        &["preview", path, "--json"],
    );
    assert_eq!(
        preview["api_calls"], 2,
        "one looks up whether the lead is new"
    );
    assert_eq!(
        preview["records"][0]["write"]["fields_if_new"],
        json!({"Status": "New"})
    );
    let table = text(
        &admin(
            &attributes,
            &["preview", file.path().to_str().expect("UTF-8")],
        )
        .stdout,
    );
    assert!(
        table
            .lines()
            .any(|line| line.contains("LastName") && line.ends_with("Lovelace")),
        "{table}"
    );
    let long = lead.to_string().replace(":25", ":18446744073709551616");
    let file = self::file(&long);
    for arguments in [
        &["preview", file.path().to_str().expect("UTF-8")][..],
        &["--json", "preview", file.path().to_str().expect("UTF-8")],
    ] {
        let shown = text(&admin(&attributes, arguments).stdout);
        assert!(
            shown.contains("18446744073709551616"),
            "a number keeps its digits: {shown}"
        );
    }
}

/// Previews changes. Returns the lines of the output with collapsed white space.
fn previewed(changes: &[Value], arguments: &[&str]) -> (Output, Vec<String>) {
    let lines: Vec<String> = changes.iter().map(Value::to_string).collect();
    let file = file(&lines.join("\n"));
    let path = file.path().to_str().expect("UTF-8");
    let output = admin(&[], &[&["preview", path], arguments].concat());
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = text(&output.stdout).lines().map(words).collect();
    (output, lines)
}

fn lead(id: &str, version: u64, contact: Value) -> Value {
    let mut event = testkit::harness::change("update", id, "lead", contact);
    event["version"] = version.into();
    event
}

#[test]
fn a_preview_with_a_rejected_record_counts_outcomes_and_exits_with_1() {
    let output = admin(&[], &["preview", "events/poison.json", "--summary"]);
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(1), String::new())
    );
    insta::assert_snapshot!("preview_summary", text(&output.stdout));
    let preview = json_of(&[], &["preview", "events/poison.json", "--json"]);
    let counts = &preview["counts"];
    assert_eq!(
        (&counts["records"], &counts["rejected"]),
        (&json!(91), &json!(72)),
        "{counts}"
    );
    let by_code = counts["by_code"]["rejected"]
        .as_object()
        .expect("codes")
        .values();
    assert_eq!(by_code.filter_map(Value::as_u64).sum::<u64>(), 72);
    let summary = json_of(
        &[],
        &["preview", "events/poison.json", "--json", "--summary"],
    );
    assert!(
        summary["records"].is_null() && summary["counts"] == *counts,
        "{summary}"
    );
    let (good, lines) = previewed(&[lead("c-1", 1, json!({"email": "ada@example.com"}))], &[]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert_eq!(
        lines.last().map(String::as_str),
        Some("records 1: 1 would be written")
    );
}

#[test]
fn a_preview_of_raw_records_reads_tombstones_and_bytes_that_are_no_text() {
    let config = |tombstones: &str| {
        file(&format!(
            "[source]\nformat = \"debezium\"\ntombstones = \"{tombstones}\"\n\
             columns = {{ id = \"id\", type = \"kind\" }}"
        ))
    };
    for tombstones in ["filter", "delete"] {
        let settings = config(tombstones);
        let settings = format!("file:{}", settings.path().display());
        let preview = |raw: &[u8]| {
            let raw_file = NamedTempFile::new().expect("a file");
            std::fs::write(raw_file.path(), raw).expect("written");
            let path = raw_file.path().display().to_string();
            let report = json_of(&[], &["preview", &path, "--json", "--config", &settings]);
            let rows = report["records"].as_array().expect("records").clone();
            rows.iter()
                .map(|row| json!([row["contact_id"], row["fate"], row["code"]]))
                .collect::<Vec<Value>>()
        };
        let written = json!(["c-1", "would be written", "DRY_RUN"]);
        let tombstone = json!([null, "filtered", "NOT_A_ROW_CHANGE"]);
        let invalid = json!([null, "rejected", "INVALID_UTF8"]);
        let row = "{\"id\":\"c-1\",\"kind\":\"lead\"}";
        let found = preview(format!("{row}\nnull\n").as_bytes());
        assert_eq!(found, [written.clone(), tombstone.clone()], "{tombstones}");
        let found = preview(format!("[{row}, null]").as_bytes());
        assert_eq!(found, [written.clone(), tombstone.clone()], "{tombstones}");
        assert_eq!(preview(b"null"), [tombstone], "{tombstones}");
        let found = preview(&[row.as_bytes(), b"\r\n\xff\n"].concat());
        assert_eq!(found, [written.clone(), invalid], "{tombstones}");
        // Compressed data often has bytes of a line's end.
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        encoder.write_all(row.as_bytes()).expect("in memory");
        encoder.write_all(b"\n").expect("in memory");
        let gzip = encoder.finish().expect("in memory");
        assert_eq!(preview(&gzip), [written], "{tombstones}");
    }
}

#[test]
fn a_preview_reads_standard_input() {
    let mut command = Command::new(BINARY);
    command
        .args(["preview", "-", "--summary"])
        .env_clear()
        .env("CONTACT_SYNC_PRESET", "test");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tool runs");
    let change = lead("c-1", 1, json!({"email": "ada@example.com"})).to_string();
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(change.as_bytes())
        .expect("written");
    let output = child.wait_with_output().expect("the tool runs");
    assert!(
        text(&output.stdout).ends_with("\nrecords 1: 1 would be written\n"),
        "{output:?}"
    );
}

#[test]
fn a_preview_shows_each_write_and_the_record_that_determines_it() {
    let changes = [
        // The version decides: the second change is folded into the first.
        lead("c-1", 2, json!({"phone": null, "first_name": "Ada"})),
        lead("c-1", 1, json!({"email": "ada@example.com"})),
        testkit::harness::change(
            "update",
            "c-2",
            "customer",
            json!({"phone": null, "city": "x"}),
        ),
        lead("c-3", 1, json!({"email": "eve@example.com"})),
        testkit::harness::change("delete", "c-3", "lead", json!({})),
        lead("c-4", 1, json!({"last_name": 7})),
    ];
    let (output, lines) = previewed(&changes, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    insta::assert_snapshot!("preview", lines.join("\n"));
}
