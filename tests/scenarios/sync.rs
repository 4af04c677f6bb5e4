//! Tests of the whole pipeline over real HTTP on loopback: from records to the contents of the
//! destinations, the response, the log and the metrics.

mod guard;

use std::collections::BTreeMap;

use contact_sync::app::App;
use contact_sync::lambda::{BatchResponse, HandlerError};
use contact_sync::settings::Preset;
use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use serde_json::{Value, json};
use testkit::aws::no_aws;
use testkit::harness::{Logs, Mocks, batch, change};
use testkit::mock_hubspot::Endpoint as HubSpotCall;
use testkit::mock_salesforce::{Endpoint as SalesforceCall, row_error};
use testkit::server::{Answer, Reply};
use testkit::stream::{failures, invoke, invoke_event, record, sequence_number};

fn lead(id: &str, fields: Value) -> Value {
    change("create", id, "lead", fields)
}

fn customer(id: &str, fields: Value) -> Value {
    change("create", id, "customer", fields)
}

/// Settings with which both destinations keep the version of a record.
const VERSIONS_KEPT: &str =
    "[salesforce]\nversion_field = \"Version__c\"\n[hubspot]\nversion_property = \"version\"";

/// Sets the version of a change, and its time as the second of this number. A version has at most
/// two digits.
pub(crate) fn versioned(mut change: Value, version: u64, replay: bool) -> Value {
    change["version"] = version.into();
    change["occurred_at"] = format!("2026-11-20T10:15:{version:02}Z").into();
    change["replay"] = replay.into();
    change
}

fn people(range: std::ops::Range<usize>, make: fn(&str, Value) -> Value) -> Vec<Value> {
    let fields = |at: usize| {
        json!({
            "last_name": format!("Nr {at}"),
            "company": "Acme",
            "email": format!("p{at}@example.com"),
        })
    };
    range
        .map(|at| make(&format!("c-{at}"), fields(at)))
        .collect()
}

#[tokio::test]
async fn every_sample_event_has_the_fates_of_its_readme() {
    let mut events = BTreeMap::new();
    for entry in std::fs::read_dir("events")
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
    {
        if entry
            .extension()
            .is_none_or(|extension| extension != "json")
            || entry.ends_with("contact-change.schema.json")
        {
            continue;
        }
        let name = entry
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let event: Value =
            serde_json::from_slice(&std::fs::read(&entry).expect("readable")).expect("JSON");
        let mocks = Mocks::start_with(|_| {}, |behavior| behavior.require_a_name = false).await;
        let logs = Logs::listen();
        let answer = invoke_event(&mocks.handler(Preset::Test, ""), &event, &name).await;
        assert_eq!(answer, BatchResponse::default(), "{name}");
        assert_eq!(mocks.violations(), [""; 0], "{name}");
        let key = |line: &Value| label(&event, line);
        let fates: Vec<String> = logs
            .audit()
            .iter()
            .zip(logs.fates())
            .map(|(line, fate)| format!("{}: {fate}", key(line)))
            .collect();
        if name == "poison" {
            assert!(
                fates
                    .iter()
                    .all(|fate| fate.starts_with("good-") != fate.contains("rejected")),
                "{fates:#?}"
            );
        }
        events.insert(name, fates);
    }
    assert!(events.len() >= 12, "{}", events.len());
    insta::assert_json_snapshot!("events", events);
}

/// Returns the name of the record of an audit line: its partition key, with its index in an
/// aggregate, or its partition and offset.
fn label(event: &Value, line: &Value) -> String {
    if let Some(topic) = line["topic"].as_str() {
        return format!("{topic}-{}@{}", line["partition"], line["offset"]);
    }
    let records = event["Records"].as_array().expect("records");
    let of = |record: &&Value| record["kinesis"]["sequenceNumber"] == line["sequence_number"];
    let record = records.iter().find(of).expect("one of the event's");
    let key = record["kinesis"]["partitionKey"].as_str();
    match key.unwrap_or_default() {
        "aggregate" => format!("aggregate/{}", line["sub_sequence"]),
        key => key.to_owned(),
    }
}

#[tokio::test]
async fn all_four_types_reach_their_systems() {
    let mocks = Mocks::start().await;
    let handler = mocks.handler(Preset::Test, "");
    let fields = |kind: &str| {
        let email = format!("ADA.{kind}@example.com");
        json!({"first_name": "Ada", "last_name": "Lovelace", "company": "Acme", "email": email})
    };
    let kinds = ["lead", "prospect", "customer", "vendor"];
    let changes: Vec<Value> = kinds
        .iter()
        .map(|kind| change("create", kind, kind, fields(kind)))
        .collect();
    let answer = invoke(&handler, &batch(&changes), "r").await;
    assert!(failures(&answer).is_empty());
    let held = json!({
        "lead": mocks.salesforce.lead("lead"), "prospect": mocks.salesforce.lead("prospect"),
        "customer": mocks.hubspot.contact("customer"), "vendor": mocks.hubspot.contact("vendor"),
    });
    insta::assert_json_snapshot!("held", held);
}

#[tokio::test]
async fn a_refused_record_is_rejected_and_its_neighbours_are_delivered() {
    let mocks = Mocks::start().await;
    let logs = Logs::listen();
    mocks.salesforce.fail_row(
        "c-1",
        row_error("FIELD_CUSTOM_VALIDATION_EXCEPTION", "no", &["Phone"]),
        9,
    );
    mocks.hubspot.fail_batches_with("c-4");
    let changes = [people(0..3, lead), people(3..6, customer)].concat();
    let answer = invoke(&mocks.handler(Preset::Test, ""), &batch(&changes), "r").await;
    assert!(failures(&answer).is_empty());
    let fates = logs.fates();
    let rejected: Vec<usize> = (0..6)
        .filter(|at| fates[*at].starts_with("rejected"))
        .collect();
    assert_eq!(rejected, [1, 4], "{fates:?}");
    assert_eq!(
        (
            mocks.salesforce.leads().len(),
            mocks.hubspot.contacts().len()
        ),
        (2, 2)
    );
}

#[tokio::test]
async fn an_outage_of_a_destination_fails_its_own_records_only() {
    for outage in [
        Reply::Reset,
        Reply::Answer(Answer::html(503, "<h1>Sorry</h1>")),
        Reply::Hang,
    ] {
        let mocks = Mocks::start().await;
        (0..200).for_each(|_| mocks.hubspot.next(outage.clone()));
        let changes = [people(0..3, customer), people(3..6, lead)].concat();
        let document = "[hubspot]\nrequest_timeout_ms = 50";
        let answer = invoke(
            &mocks.handler(Preset::Test, document),
            &batch(&changes),
            "r",
        )
        .await;
        let expected: Vec<String> = (0..3).map(|at| sequence_number(0, at)).collect();
        assert_eq!(failures(&answer), expected, "{outage:?}");
        assert_eq!(mocks.salesforce.leads().len(), 3);
    }
}

#[tokio::test]
async fn an_unreadable_secret_fails_the_records_of_its_destination_and_logs_the_remedy() {
    let mocks = Mocks::start().await;
    let logs = Logs::listen();
    std::fs::write(mocks.salesforce_secret.path(), "not JSON").expect("written");
    let changes = [people(0..2, lead), people(2..4, customer)].concat();
    let answer = invoke(&mocks.handler(Preset::Test, ""), &batch(&changes), "r").await;
    assert_eq!(failures(&answer).len(), 2);
    assert_eq!(mocks.hubspot.contacts().len(), 2);
    let line = logs
        .lines()
        .into_iter()
        .find(|line| line["cause"] == "Credential")
        .expect("an error line");
    assert_eq!(line["level"], "ERROR");
    assert!(
        line["remedy"]
            .as_str()
            .expect("a remedy")
            .contains("client_secret"),
        "{line}"
    );
}

#[tokio::test]
async fn an_update_of_a_lead_that_does_not_exist_gets_the_required_fields() {
    let mocks = Mocks::start().await;
    let update = change("update", "c-1", "lead", json!({"first_name": "Ada"}));
    let answer = invoke(&mocks.handler(Preset::Test, ""), &batch(&[update]), "r").await;
    assert!(failures(&answer).is_empty());
    let lead = mocks.salesforce.lead("c-1").expect("a lead");
    assert_eq!(
        (&lead["LastName"], &lead["Company"]),
        (&json!("[not provided]"), &json!("[not provided]"))
    );
    assert_eq!(mocks.salesforce.count(SalesforceCall::Upsert), 2);
}

#[tokio::test]
async fn only_the_offending_record_of_a_refused_folded_change_is_rejected() {
    let mocks = Mocks::start().await;
    let logs = Logs::listen();
    let document = "[salesforce.attributes]\nextra = \"No_Such_Field__c\"";
    let changes = [
        lead(
            "c-1",
            json!({"last_name": "Lovelace", "company": "Acme", "city": "x"}),
        ),
        change(
            "update",
            "c-1",
            "lead",
            json!({"phone": "1", "attributes": {"extra": "x"}}),
        ),
        change("update", "c-1", "lead", json!({"phone": "2"})),
        lead("c-2", json!({"last_name": "Hopper", "company": "Navy"})),
    ];
    let answer = invoke(
        &mocks.handler(Preset::Test, document),
        &batch(&changes),
        "r",
    )
    .await;
    // A missing field is an error of the settings: no record is rejected, and no other record
    // fails.
    let failed = failures(&answer);
    assert_eq!(
        failed,
        [0, 1, 2].map(|at| sequence_number(0, at)),
        "{:?}",
        logs.fates()
    );
    mocks
        .salesforce
        .fail_row("c-3", row_error("STRING_TOO_LONG", "no", &["Title"]), 2);
    let changes = [
        lead("c-3", json!({"last_name": "Lovelace", "company": "Acme"})),
        change("update", "c-3", "lead", json!({"phone": "2"})),
    ];
    let logs = Logs::listen();
    let answer = invoke(&mocks.handler(Preset::Test, ""), &batch(&changes), "r").await;
    assert!(failures(&answer).is_empty());
    assert_eq!(logs.fates(), ["rejected STRING_TOO_LONG", "delivered"]);
}

#[tokio::test]
async fn throttled_records_are_delivered_later_in_the_same_invocation() {
    let mocks = Mocks::start().await;
    let logs = Logs::listen();
    mocks.salesforce.throttle_every(2);
    mocks.hubspot.throttle_every(2);
    let changes = [people(0..30, lead), people(30..60, customer)].concat();
    let document = "[salesforce]\nbatch_size = 10\n[hubspot]\nbatch_size = 10";
    let answer = invoke(
        &mocks.handler(Preset::Test, document),
        &batch(&changes),
        "r",
    )
    .await;
    assert!(failures(&answer).is_empty(), "{:?}", logs.fates());
    assert_eq!(
        (
            mocks.salesforce.leads().len(),
            mocks.hubspot.contacts().len()
        ),
        (30, 30)
    );
    let metrics = &logs.metrics("salesforce")[0];
    assert!(
        metrics["RateLimited"].as_u64() > Some(0) && metrics["Retries"].as_u64() > Some(0),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_delete_without_a_type_reaches_both_systems() {
    let mocks = Mocks::start().await;
    let handler = mocks.handler(Preset::Test, "");
    let both = "[routes]\nlead = [\"salesforce\", \"hubspot\"]";
    invoke(
        &mocks.handler(Preset::Test, both),
        &batch(&people(0..2, lead)),
        "r",
    )
    .await;
    assert_eq!(
        (
            mocks.salesforce.leads().len(),
            mocks.hubspot.contacts().len()
        ),
        (2, 2)
    );
    let mut delete = change("delete", "C-1", "lead", json!({}));
    delete["contact"]
        .as_object_mut()
        .expect("an object")
        .remove("type");
    let answer = invoke(&handler, &batch(&[delete]), "r").await;
    assert!(failures(&answer).is_empty());
    assert_eq!(
        (
            mocks.salesforce.leads().len(),
            mocks.hubspot.contacts().len()
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn a_delete_without_a_valid_type_is_sent_only_to_destinations_of_the_passing_types() {
    for (types, of_salesforce) in [
        (r#"["lead", "prospect"]"#, true),
        (r#"["customer", "vendor"]"#, false),
    ] {
        let mocks = Mocks::start().await;
        let both = "[routes]\nlead = [\"salesforce\", \"hubspot\"]";
        invoke(
            &mocks.handler(Preset::Test, both),
            &batch(&people(0..2, lead)),
            "r",
        )
        .await;
        // The destination that is not in use has no valid secret.
        let unused = if of_salesforce {
            &mocks.hubspot_secret
        } else {
            &mocks.salesforce_secret
        };
        std::fs::write(unused.path(), "not JSON").expect("written");
        let logs = Logs::listen();
        let handler = mocks.handler(Preset::Test, &format!("[filter]\ntypes = {types}"));
        let mut typeless = change("delete", "c-0", "lead", json!({}));
        typeless["contact"]
            .as_object_mut()
            .expect("an object")
            .remove("type");
        let unusable = change("delete", "c-1", "partner", json!({"email": 7}));
        let answer = invoke(&handler, &batch(&[typeless, unusable]), "r").await;
        assert!(failures(&answer).is_empty(), "{types}: {:?}", logs.fates());
        let left = if of_salesforce { (0, 2) } else { (2, 0) };
        assert_eq!(
            (
                mocks.salesforce.leads().len(),
                mocks.hubspot.contacts().len()
            ),
            left,
            "{types}"
        );
        let handler = mocks.handler(Preset::Test, "[filter]\noperations = [\"create\"]");
        let answer = invoke(
            &handler,
            &batch(&[change("delete", "c-1", "", json!({}))]),
            "r",
        )
        .await;
        assert!(failures(&answer).is_empty());
        assert_eq!(logs.fates()[2..], ["filtered FILTERED_OPERATION"]);
    }
}

#[tokio::test]
async fn an_older_change_that_is_replayed_does_not_overwrite_a_newer_one() {
    let mocks = Mocks::start_with(|_| {}, |_| {}).await;
    mocks.hubspot.create_property("version");
    let logs = Logs::listen();
    let handler = mocks.handler(Preset::Test, VERSIONS_KEPT);
    let make = |last_name: &str, version: u64, replay: bool| {
        let fields = || json!({"last_name": last_name, "company": "Acme"});
        [
            versioned(lead("c-1", fields()), version, replay),
            versioned(customer("c-2", fields()), version, replay),
        ]
    };
    invoke(&handler, &batch(&make("New", 7, false)), "r").await;
    invoke(&handler, &batch(&make("Old", 6, true)), "r").await;
    assert_eq!(logs.fates()[2..], ["superseded STALE", "superseded STALE"]);
    assert_eq!(
        mocks.salesforce.lead("c-1").expect("a lead")["LastName"],
        "New"
    );
    assert_eq!(
        mocks.hubspot.contact("c-2").expect("a contact")["lastname"],
        "New"
    );
    invoke(&handler, &batch(&make("Newer", 8, true)), "r").await;
    assert_eq!(
        mocks.salesforce.lead("c-1").expect("a lead")["LastName"],
        "Newer"
    );
    assert_eq!(
        mocks.hubspot.contact("c-2").expect("a contact")["lastname"],
        "Newer"
    );
}

#[tokio::test]
async fn a_dry_run_reports_the_outcomes_of_a_run_and_writes_nothing() {
    let mocks = Mocks::start_with(|_| {}, |_| {}).await;
    mocks.hubspot.create_property("version");
    let fields = || json!({"last_name": "Lovelace", "company": "Acme"});
    let held = ["c-1", "c-2"].map(|id| versioned(lead(id, fields()), 7, false));
    let known = ["c-5", "c-6"].map(|id| versioned(customer(id, fields()), 7, false));
    invoke(
        &mocks.handler(Preset::Test, VERSIONS_KEPT),
        &batch(&[held, known].concat()),
        "r",
    )
    .await;
    let state = || (mocks.salesforce.leads(), mocks.hubspot.contacts());
    let before = state();
    let writes = || {
        let of_hubspot =
            [HubSpotCall::Upsert, HubSpotCall::Archive].map(|call| mocks.hubspot.count(call));
        let of_salesforce = [SalesforceCall::Upsert, SalesforceCall::Delete]
            .map(|call| mocks.salesforce.count(call));
        (of_hubspot, of_salesforce)
    };
    let written = writes();
    let gone = |id: &str, kind: &str| change("delete", id, kind, json!({}));
    let changes = [
        versioned(lead("c-1", fields()), 6, true),
        gone("c-2", "lead"),
        gone("c-3", "lead"),
        lead("c-4", fields()),
        versioned(customer("c-5", fields()), 6, true),
        gone("c-6", "customer"),
        gone("c-7", "customer"),
        customer("c-8", fields()),
    ];
    let logs = Logs::listen();
    let document = format!("{VERSIONS_KEPT}\n[pipeline]\ndry_run = true");
    let answer = invoke(
        &mocks.handler(Preset::Test, &document),
        &batch(&changes),
        "r",
    )
    .await;
    assert!(failures(&answer).is_empty());
    let fates = [
        "superseded STALE",
        "delivered DRY_RUN",
        "delivered ALREADY_GONE",
        "delivered DRY_RUN",
    ];
    assert_eq!(logs.fates(), [fates, fates].concat());
    assert_eq!((state(), writes()), (before, written));
    let lines = logs.lines();
    let mut planned = Vec::new();
    for line in &lines {
        if line["message"] == "dry run: not sent" {
            let (destination, operation) = (&line["destination"], &line["operation"]);
            let (records, calls) = (&line["records"], &line["calls"]);
            planned.push(format!("{destination} {operation} {records} {calls}"));
        }
    }
    planned.sort_unstable();
    let expected = ["hubspot", "salesforce"]
        .map(|name| ["delete", "upsert"].map(|word| format!("\"{name}\" \"{word}\" 1 1")));
    assert_eq!(planned, expected.concat(), "each call that was not made");
}

#[tokio::test]
async fn the_lag_of_each_destination_is_that_of_the_changes_that_it_took() {
    let mocks = Mocks::start().await;
    mocks
        .salesforce
        .fail_row("c-2", row_error("STRING_TOO_LONG", "no", &[]), 1);
    let ago = |mut change: Value, seconds: i64| {
        let then = time::OffsetDateTime::now_utc() - time::Duration::seconds(seconds);
        let format = &time::format_description::well_known::Rfc3339;
        change["occurred_at"] = then.format(format).expect("a time").into();
        change
    };
    let of = |id: &str| lead(id, json!({"last_name": "Lovelace", "company": "Acme"}));
    let mut replayed = ago(of("c-3"), 500_000);
    replayed["replay"] = true.into();
    let mut changes = batch(&[
        ago(of("c-1"), 90),
        ago(of("c-2"), 70_000),
        replayed,
        ago(customer("c-4", json!({"last_name": "Lovelace"})), 7_000),
    ]);
    for record in &mut changes {
        let arrived_at = time::OffsetDateTime::now_utc().unix_timestamp();
        record["kinesis"]["approximateArrivalTimestamp"] = arrived_at.into();
    }
    let logs = Logs::listen();
    let tens_of_seconds = |destination: &str, invocation: usize| -> Vec<u64> {
        let lines = logs.metrics(destination);
        let values = lines[invocation]["EndToEndLag"].as_array();
        let values = values.into_iter().flatten().filter_map(Value::as_u64);
        values.map(|millis| millis / 10_000).collect()
    };
    let dry_run = mocks.handler(Preset::Test, "[pipeline]\ndry_run = true");
    invoke(&dry_run, &changes, "r").await;
    invoke(&mocks.handler(Preset::Test, ""), &changes, "r").await;
    assert!(
        tens_of_seconds("salesforce", 0).is_empty(),
        "nothing was written"
    );
    assert_eq!(
        tens_of_seconds("salesforce", 1),
        [9],
        "neither the rejected nor the replayed one"
    );
    assert_eq!(tens_of_seconds("hubspot", 1), [700]);
}

#[tokio::test]
async fn every_record_counts_once_and_has_its_line() {
    let mocks = Mocks::start().await;
    let logs = Logs::listen();
    mocks
        .salesforce
        .fail_row("c-1", row_error("STRING_TOO_LONG", "no", &[]), 1);
    (0..50).for_each(|_| mocks.hubspot.next(Reply::Reset));
    let mut records = batch(
        &[
            people(0..3, lead),
            people(3..5, customer),
            people(0..1, lead),
        ]
        .concat(),
    );
    records.push(record(0, 6, "key", b"not JSON"));
    records.push(record(
        0,
        7,
        "key",
        change("delete", "c-9", "vendor", json!({}))
            .to_string()
            .as_bytes(),
    ));
    let document = "[filter]\noperations = [\"create\", \"update\"]";
    let answer = invoke(
        &mocks.handler(Preset::Test, document),
        &records,
        "request-1",
    )
    .await;
    assert_eq!(failures(&answer).len(), 2);
    let whole = &logs.metrics("")[0];
    let count = |name: &str| whole[name].as_u64().expect("a count");
    let fates = [
        "Delivered",
        "Filtered",
        "Superseded",
        "Rejected",
        "Failed",
        "SkippedSettled",
    ];
    let counts: Vec<u64> = fates
        .iter()
        .map(|fate| count(&format!("Records{fate}")))
        .collect();
    assert_eq!(counts, [2, 1, 1, 2, 2, 0]);
    assert_eq!(count("RecordsReceived"), counts.iter().sum::<u64>());
    assert_eq!(logs.audit().len(), records.len());
    let numbers: std::collections::BTreeSet<String> = logs
        .audit()
        .iter()
        .map(|line| line["sequence_number"].to_string())
        .collect();
    assert_eq!(numbers.len(), records.len());
    assert!(
        logs.lines()
            .iter()
            .all(|line| line["request_id"] == "request-1"),
        "each line names its invocation"
    );
}

#[tokio::test]
async fn every_line_of_a_decoded_record_names_its_event_contact_and_operation() {
    let mocks = Mocks::start().await;
    let fields = || json!({"last_name": "Lovelace", "company": "Acme"});
    let mut typeless = change("delete", "c-4", "lead", json!({}));
    typeless["contact"]
        .as_object_mut()
        .expect("an object")
        .remove("type");
    let mut odd = lead("c-6", fields());
    odd["contact"]["first_name"] = json!([1]);
    let changes = [
        (
            change("create", "c-0", "vendor", fields()),
            "filtered FILTERED_TYPE",
        ),
        (
            change("update", "c-1", "lead", fields()),
            "filtered FILTERED_OPERATION",
        ),
        (
            change("create", "c-2", "prospect", fields()),
            "filtered NO_ROUTE",
        ),
        (
            change("create", "c-3", "lead", json!({"email": "no address"})),
            "rejected INVALID_EMAIL",
        ),
        (typeless, "delivered"),
        (versioned(lead("c-5", fields()), 7, true), "delivered"),
        (odd, "rejected WRONG_TYPE"),
        (
            change("create", "c-7", "partner", fields()),
            "rejected UNKNOWN_TYPE",
        ),
        (change("delete", "c-8", "customer", json!({})), "delivered"),
    ];
    let document = "\
[filter]
types = [\"lead\", \"prospect\", \"customer\"]
operations = [\"create\", \"delete\"]
";
    let records = batch(&changes.clone().map(|(change, _)| change));
    for dry_run in [false, true] {
        let logs = Logs::listen();
        let mut settings = mocks.settings(Preset::Test, document);
        settings.pipeline.dry_run = dry_run;
        settings.routes.prospect.clear();
        let handler = App::default()
            .build(Preset::Test, &settings, &no_aws())
            .expect("a handler");
        assert!(failures(&invoke(&handler, &records, "r").await).is_empty());
        for ((change, fate), number) in changes.iter().zip((0..).map(|at| sequence_number(0, at))) {
            let lines: Vec<Value> = logs
                .audit()
                .into_iter()
                .filter(|line| line["sequence_number"] == *number)
                .collect();
            assert!(!lines.is_empty(), "{change}");
            for line in lines {
                assert_eq!(line["event_id"], change["event_id"], "{line}");
                assert_eq!(line["contact_id"], change["contact"]["id"], "{line}");
                assert_eq!(line["operation"], change["operation"], "{line}");
                let logged = format!(
                    "{} {}",
                    line["fate"].as_str().expect("a fate"),
                    line["code"].as_str().unwrap_or("")
                );
                assert!(logged.starts_with(fate), "{line}");
            }
        }
    }
}

#[tokio::test]
async fn no_line_contains_contact_data() {
    let mocks = Mocks::start().await;
    let logs = Logs::listen();
    let secrets = [
        "Lovelace-Byron",
        "ada-private",
        "7946-0000",
        "Privatweg",
        "mock-secret",
        "pat-mock",
    ];
    let fields = json!({
        "last_name": secrets[0],
        "email": format!("{}@example.com", secrets[1]),
        "phone": secrets[2],
        "company": "Acme",
        "address": {"street": secrets[3]},
    });
    let mut bad = lead("c-2", fields.clone());
    bad["contact"]["email"] = format!("{} at example", secrets[1]).into();
    let mut odd = lead("c-3", fields.clone());
    odd["contact"]["first_name"] = json!([secrets[0]]);
    let message = format!("Email: invalid email address: {}@example.com", secrets[1]);
    mocks.salesforce.fail_row(
        "c-1",
        row_error("INVALID_EMAIL_ADDRESS", &message, &["Email"]),
        9,
    );
    let changes = [
        lead("c-1", fields.clone()),
        bad,
        odd,
        customer("c-4", fields.clone()),
        lead("c-5", fields),
    ];
    invoke(&mocks.handler(Preset::Test, ""), &batch(&changes), "r").await;
    assert_eq!(logs.audit().len(), 5);
    for line in logs.lines() {
        let text = line.to_string();
        assert!(
            !secrets.iter().any(|secret| text.contains(secret)),
            "{text}"
        );
    }
}

#[tokio::test]
async fn ten_thousand_changes_cost_the_fewest_calls() {
    let mocks = Mocks::start().await;
    let handler = mocks.handler(Preset::Test, "[pipeline]\nfallback_budget_ms = 120000");
    let changes = [people(0..5000, lead), people(5000..10_000, customer)].concat();
    let answer = invoke(&handler, &batch(&changes), "r").await;
    assert!(failures(&answer).is_empty());
    let salesforce = |call| mocks.salesforce.count(call);
    assert_eq!(
        (
            salesforce(SalesforceCall::Upsert),
            salesforce(SalesforceCall::Token)
        ),
        (25, 1)
    );
    assert_eq!(mocks.hubspot.count(HubSpotCall::Upsert), 50);
}

#[tokio::test]
async fn malformed_records_of_an_envelope_fail_no_invocation() {
    let mocks = Mocks::start().await;
    let handler = mocks.handler(Preset::Test, "");
    let good = record(
        0,
        1,
        "key",
        lead("c-1", json!({"last_name": "A", "company": "B"}))
            .to_string()
            .as_bytes(),
    );
    let mut nameless = record(0, 2, "key", b"{");
    nameless["kinesis"]
        .as_object_mut()
        .expect("an object")
        .remove("sequenceNumber");
    let mut dataless = record(0, 3, "key", b"");
    dataless["kinesis"]
        .as_object_mut()
        .expect("an object")
        .remove("data");
    let of_a_queue = json!({"messageId": "m-1", "body": "{}", "eventSource": "aws:sqs"});
    let records = [
        json!(null),
        json!(7),
        json!({}),
        of_a_queue,
        good,
        nameless,
        dataless,
        json!({"kinesis": {"data": 5}}),
    ];
    let answer = invoke(&handler, &records, "r").await;
    assert!(failures(&answer).is_empty());
    assert_eq!(mocks.salesforce.leads().len(), 1);
}

#[tokio::test]
async fn an_event_of_another_service_is_an_error_without_the_events_content() {
    let mocks = Mocks::start().await;
    let handler = mocks.handler(Preset::Test, "");
    let logs = Logs::listen();
    let body = lead("c-1", json!({"last_name": "Lovelace"})).to_string();
    for event in [
        json!({"Records": [{"messageId": "m-1", "body": body, "eventSource": "aws:sqs"}]}),
        json!({"Records": [
            {"EventVersion": "1.0", "EventSource": "aws:sns", "Sns": {"Message": body}},
        ]}),
        json!({"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": body}}}]}),
        json!({"Records": [
            {"eventSource": "aws:dynamodb", "dynamodb": {"NewImage": {"id": {"S": body}}}},
        ]}),
        json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {"body": body}}),
        json!({
            "eventSource": "aws:rmq",
            "records": {"contacts-0": [{"offset": 1, "value": body}]},
        }),
        json!({"records": [{"recordId": "1", "data": body}]}),
    ] {
        let ended = handler
            .handle(LambdaEvent::new(
                event.to_string().into(),
                Context::default(),
            ))
            .await;
        assert!(
            matches!(ended, Err(HandlerError::UnsupportedEvent)),
            "{event}: {ended:?}"
        );
        let shown = format!(
            "{:?} {:?}",
            Diagnostic::from(ended.expect_err("an error")),
            logs.lines()
        );
        assert!(
            !shown.contains("Lovelace") && !shown.contains("m-1"),
            "{shown}"
        );
    }
    assert_eq!(logs.audit(), [Value::Null; 0]);
    for event in [json!({"Records": []}), json!({"records": {}})] {
        let answer = handler
            .handle(LambdaEvent::new(
                event.to_string().into(),
                Context::default(),
            ))
            .await;
        assert!(failures(&answer.expect("an answer")).is_empty(), "{event}");
    }
}
