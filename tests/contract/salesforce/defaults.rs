//! Defaults are written to leads that do not exist yet, and keep the values of salespeople.

use contact_sync::settings::Preset;
use serde_json::{Value, json};
use testkit::harness::{Mocks, batch, change};
use testkit::mock_salesforce::Endpoint;
use testkit::server::Answer;
use testkit::stream::{failures, invoke};

const LEADS: usize = 50;
const STATUS: &str = "[salesforce.status]\nlead = \"New\"";
const VERSION: &str = "[salesforce]\nversion_field = \"Version__c\"";

fn arlo(operation: &str, number: usize) -> Value {
    let mut change = change(
        operation,
        &format!("c-{number}"),
        "lead",
        json!({"last_name": "Arlo"}),
    );
    change["version"] = 1.into();
    change
}

fn queries_and_upserts(mocks: &Mocks) -> (usize, usize) {
    (
        mocks.salesforce.count(Endpoint::Query),
        mocks.salesforce.count(Endpoint::Upsert),
    )
}

/// Returns mocks with leads that have a company and a status of a salesperson.
async fn with_values_of_sales(document: &str) -> Mocks {
    let mocks = Mocks::start().await;
    let creates: Vec<Value> = (0..LEADS).map(|number| arlo("create", number)).collect();
    let answer = invoke(
        &mocks.handler(Preset::Test, document),
        &batch(&creates),
        "r",
    )
    .await;
    assert!(failures(&answer).is_empty());
    for number in 0..LEADS {
        let work = json!({"Company": "Somebody's own", "Status": "Working - Contacted"});
        mocks.salesforce.edit(&format!("c-{number}"), &work);
    }
    mocks
}

fn field(mocks: &Mocks, number: usize, name: &str) -> Value {
    mocks
        .salesforce
        .lead(&format!("c-{number}"))
        .and_then(|lead| lead.get(name).cloned())
        .unwrap_or_default()
}

fn kept(mocks: &Mocks, name: &str, expected: &str) -> usize {
    (0..LEADS)
        .filter(|number| field(mocks, *number, name) == expected)
        .count()
}

/// Runs the recipe *Backfill* of the runbook, and its variants.
#[tokio::test]
async fn repeated_backfills_keep_the_values_of_salespeople() {
    let both = format!("{VERSION}\n{STATUS}");
    for (document, operation, is_replay, new_status, first, second) in [
        ("", "create", false, json!(null), (0, 2), (0, 1)),
        ("", "update", false, json!(null), (0, 2), (0, 1)),
        (STATUS, "create", false, json!("New"), (1, 1), (1, 1)),
        (STATUS, "update", false, json!(null), (0, 2), (0, 1)),
        (VERSION, "create", false, json!(null), (0, 2), (0, 1)),
        (VERSION, "create", true, json!(null), (2, 2), (1, 1)),
        (VERSION, "update", true, json!(null), (2, 2), (1, 1)),
        (&both, "create", true, json!("New"), (1, 1), (1, 1)),
    ] {
        let mocks = with_values_of_sales(document).await;
        let handler = mocks.handler(Preset::Test, document);
        let mut changes: Vec<Value> = (0..=LEADS).map(|number| arlo(operation, number)).collect();
        for change in &mut changes {
            change["replay"] = is_replay.into();
        }
        for (round, expected) in [first, second].into_iter().enumerate() {
            let case = format!("{document:?}, {operation}, replay: {is_replay}, round {round}");
            let before = queries_and_upserts(&mocks);
            assert!(
                failures(&invoke(&handler, &batch(&changes), "r").await).is_empty(),
                "{case}"
            );
            let after = queries_and_upserts(&mocks);
            assert_eq!(
                (after.0 - before.0, after.1 - before.1),
                expected,
                "queries and upserts: {case}"
            );
            let work = (
                kept(&mocks, "Company", "Somebody's own"),
                kept(&mocks, "Status", "Working - Contacted"),
            );
            assert_eq!(work, (LEADS, LEADS), "{case}");
            let new = (
                field(&mocks, LEADS, "Company"),
                field(&mocks, LEADS, "Status"),
            );
            assert_eq!(new, (json!("[not provided]"), new_status.clone()), "{case}");
        }
        assert_eq!(mocks.violations(), [""; 0]);
    }
}

#[tokio::test]
async fn folded_changes_have_the_defaults_of_separate_writes() {
    let mocks = with_values_of_sales(STATUS).await;
    let mut titled = arlo("update", 0);
    titled["contact"]["job_title"] = "Engineer".into();
    let mut cleared = arlo("update", 2);
    cleared["contact"]["company"] = Value::Null;
    let changes = [
        arlo("create", 0),
        titled,
        arlo("delete", 1),
        arlo("create", 1),
        cleared,
        arlo("update", LEADS),
        arlo("create", LEADS),
    ];
    let before = queries_and_upserts(&mocks);
    let answer = invoke(&mocks.handler(Preset::Test, STATUS), &batch(&changes), "r").await;
    assert!(failures(&answer).is_empty());
    let held = |number| ["Company", "Status", "Title"].map(|name| field(&mocks, number, name));
    assert_eq!(
        held(0),
        ["Somebody's own", "Working - Contacted", "Engineer"],
        "it exists"
    );
    assert_eq!(
        held(1),
        [json!("[not provided]"), json!("New"), json!(null)],
        "after a delete it is new"
    );
    assert_eq!(
        held(2),
        [
            json!("[not provided]"),
            json!("Working - Contacted"),
            json!(null)
        ],
        "cleared by the change"
    );
    assert_eq!(
        held(LEADS),
        [json!("[not provided]"), json!(null), json!(null)],
        "the update creates it"
    );
    let after = queries_and_upserts(&mocks);
    assert!(
        after.0 - before.0 <= 3 && after.1 - before.1 <= 3,
        "{before:?} {after:?}"
    );
}

#[tokio::test]
async fn one_look_up_serves_the_guard_and_the_records_that_may_be_new() {
    let mocks = Mocks::start().await;
    for id in ["C-1", "C-2"] {
        let held =
            json!({"Version__c": 11, "LastName": "x", "Company": "y", "Status": "Nurturing"});
        mocks.salesforce.put(id, &held);
    }
    let document = format!(
        "{VERSION}\n{STATUS}\n[guard]\nmode = \"always\"\nversion = \"version\"\n\
        [hubspot]\nversion_property = \"version\""
    );
    let handler = mocks.handler(Preset::Test, &document);
    let of = |number: usize, version: u64, fields: Value| {
        let mut change = change("create", &format!("c-{number}"), "lead", fields);
        change["version"] = version.into();
        change
    };
    let name = json!({"last_name": "Arlo"});
    let changes = [
        of(1, 5, name.clone()),
        of(2, 20, name.clone()),
        of(3, 1, name),
        of(4, 1, json!({"status": "Open"})),
    ];
    assert!(failures(&invoke(&handler, &batch(&changes), "r").await).is_empty());
    // The fourth is sent once more with the required fields.
    assert_eq!(mocks.salesforce.sizes(Endpoint::Query), [4, 1]);
    assert_eq!(mocks.salesforce.sizes(Endpoint::Upsert), [3, 1]);
    assert_eq!(field(&mocks, 1, "LastName"), "x", "older than what is held");
    assert_eq!(
        (field(&mocks, 2, "LastName"), field(&mocks, 2, "Status")),
        (json!("Arlo"), json!("Nurturing"))
    );
    assert_eq!(
        (field(&mocks, 3, "Status"), field(&mocks, 4, "Status")),
        (json!("New"), json!("Open"))
    );
}

#[tokio::test]
async fn nothing_is_written_before_the_look_up_has_its_response() {
    let mocks = Mocks::start().await;
    let handler = mocks.handler(Preset::Test, STATUS);
    let missed = Answer::json(200, &json!({"done": true, "totalSize": 1, "records": []}));
    mocks.salesforce.next_of(Endpoint::Query, missed);
    assert!(
        failures(
            &invoke(
                &handler,
                &batch(&[arlo("create", 1), arlo("create", 2)]),
                "r"
            )
            .await
        )
        .is_empty()
    );
    assert_eq!(queries_and_upserts(&mocks), (2, 1));
    assert_eq!(
        (field(&mocks, 1, "Status"), field(&mocks, 2, "Status")),
        (json!("New"), json!("New"))
    );
}
