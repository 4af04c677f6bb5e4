//! Tests of redeliveries after a partial failure, against the mocks and an emulation of AWS. They
//! count rows and calls.

use aws_config::SdkConfig;
use contact_sync::adapters::DESTINATIONS;
use contact_sync::app::App;
use contact_sync::lambda::Handler;
use contact_sync::settings::{Layer, Preset, load};
use serde_json::{Value, json};
use testkit::aws::{self, with_a_patient_table};
use testkit::cloud::Cloud;
use testkit::harness::{Logs, Mocks, batch, change};
use testkit::mock_hubspot::Endpoint as HubSpotCall;
use testkit::mock_salesforce::{Endpoint as SalesforceCall, row_error};
use testkit::moto::Moto;
use testkit::proxy::{Proxy, Treatment};
use testkit::server::Answer;
use testkit::stream::{failures, invoke, record, sequence_number};

const ONE_TRY: &str = "retry = { max_attempts = 1, base_delay_ms = 1, max_delay_ms = 1 }";

/// Starts the function with both mocks and AWS. Adds `extra` to the section `[routes]`.
async fn function(extra: &str) -> (Mocks, Cloud, Handler) {
    let mocks = Mocks::start().await;
    let cloud = Cloud::start(&mocks).await;
    let handler = handler(
        120_000,
        &with_a_patient_table(cloud.config()),
        &cloud,
        &mocks,
        extra,
    );
    (mocks, cloud, handler)
}

fn handler(budget_ms: u32, aws: &SdkConfig, cloud: &Cloud, mocks: &Mocks, extra: &str) -> Handler {
    let document = format!(
        "{}[pipeline]\nfallback_budget_ms = {budget_ms}\n\
         [salesforce]\n{ONE_TRY}\n[hubspot]\n{ONE_TRY}\n[routes]\n{extra}",
        cloud.document()
    );
    let mut layers = vec![Layer::from_toml("the document", &document).expect("TOML")];
    let url = mocks.hubspot_server.url();
    layers.push(Layer::from_variable("CONTACT_SYNC__HUBSPOT__BASE_URL", &url).expect("a variable"));
    let settings = load(Preset::Test, &layers, &DESTINATIONS).expect("good settings");
    App::default()
        .build(Preset::Test, &settings, aws)
        .expect("a handler")
}

/// Returns the edge's response that HubSpot is unreachable: no record of the call reached it.
fn unavailable() -> Answer {
    Answer::html(521, "Web server is down")
}

fn lead(at: usize) -> Value {
    let fields = json!({
        "last_name": format!("Nr {at}"), "company": "Acme", "email": format!("p{at}@example.com"),
    });
    change("create", &format!("c-{at}"), "lead", fields)
}

fn customer(at: usize) -> Value {
    let fields = json!({"last_name": format!("Nr {at}"), "email": format!("p{at}@example.com")});
    change("create", &format!("c-{at}"), "customer", fields)
}

fn in_use() -> Value {
    row_error(
        "TERRITORY_REALIGN_IN_PROGRESS",
        "territories are realigned",
        &[],
    )
}

fn rows(mocks: &Mocks) -> (usize, usize) {
    let seen = mocks.hubspot.seen();
    let contacts = seen
        .iter()
        .filter(|call| call.endpoint == HubSpotCall::Upsert)
        .map(|call| call.ids.len());
    (
        mocks.salesforce.sizes(SalesforceCall::Upsert).iter().sum(),
        contacts.sum(),
    )
}

#[tokio::test]
async fn of_ten_thousand_records_only_the_failed_ones_are_sent_again_with_two_table_calls() {
    let (mocks, cloud, handler) = function("").await;
    let logs = Logs::listen();
    let failing = [100, 2_468, 9_998];
    for at in failing {
        mocks.salesforce.fail_row(&format!("c-{at}"), in_use(), 1);
    }
    let changes: Vec<Value> = (0..10_000)
        .map(|at| if at % 2 == 0 { lead(at) } else { customer(at) })
        .collect();
    let records = batch(&changes);

    let answer = invoke(&handler, &records, "r-1").await;
    assert_eq!(failures(&answer), failing.map(|at| sequence_number(0, at)));
    assert_eq!(rows(&mocks), (5_000, 5_000));
    assert_eq!(
        json!(cloud.table_calls()),
        json!({"Query": 1, "PutItem": 1})
    );

    let answer = invoke(&handler, &records[100..], "r-2").await;
    assert!(failures(&answer).is_empty());
    assert_eq!(rows(&mocks), (5_003, 5_000), "three rows of one call");
    assert_eq!(mocks.salesforce.count(SalesforceCall::Upsert), 26);
    assert_eq!(
        json!(cloud.table_calls()),
        json!({"Query": 2, "PutItem": 1}),
        "no failure: one call"
    );
    let metrics = &logs.metrics("")[1];
    assert_eq!(
        (
            &metrics["RecordsDelivered"],
            &metrics["RecordsSkippedSettled"]
        ),
        (&json!(3), &json!(9_897))
    );
    assert_eq!(
        (
            mocks.salesforce.leads().len(),
            mocks.hubspot.contacts().len()
        ),
        (5_000, 5_000)
    );
    assert_eq!(mocks.violations(), [""; 0]);
}

#[tokio::test]
async fn a_call_that_the_sdk_repeats_is_counted_once() {
    let moto = Moto::start().await;
    let proxy = Proxy::start(&moto.url).await;
    proxy.treat("DynamoDB", Treatment::LoseAnswer);
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws::at(&proxy.url));
    assert!(dynamodb.list_tables().send().await.is_err());
    assert_eq!(
        (proxy.requests(), proxy.calls()),
        (3, vec!["DynamoDB_20120810.ListTables".to_owned()])
    );
}

#[tokio::test]
async fn of_two_destinations_only_the_one_that_failed_is_written_again() {
    let (mocks, _cloud, handler) = function("lead = [\"salesforce\", \"hubspot\"]").await;
    let logs = Logs::listen();
    mocks.hubspot.reply_to_each(unavailable());
    let records = batch(&[lead(0), lead(1)]);
    assert_eq!(failures(&invoke(&handler, &records, "r-1").await).len(), 2);
    mocks.hubspot.reply_normally();
    assert!(failures(&invoke(&handler, &records, "r-2").await).is_empty());
    assert_eq!(
        mocks.salesforce.sizes(SalesforceCall::Upsert),
        [2],
        "written once"
    );
    assert_eq!(
        (
            mocks.salesforce.leads().len(),
            mocks.hubspot.contacts().len()
        ),
        (2, 2)
    );
    assert_eq!(
        logs.fates()[4..],
        [
            "delivered SETTLED_EARLIER",
            "delivered",
            "delivered SETTLED_EARLIER",
            "delivered"
        ]
    );
    let metrics = &logs.metrics("")[1];
    assert_eq!(
        (
            &metrics["RecordsDelivered"],
            &metrics["RecordsSkippedSettled"]
        ),
        (&json!(2), &json!(0))
    );
    assert_eq!(logs.metrics("salesforce")[1]["RecordsSkippedSettled"], 2);
}

#[tokio::test]
async fn after_a_rejection_only_the_unavailable_destination_is_called_again() {
    let (mocks, cloud, handler) = function("lead = [\"salesforce\", \"hubspot\"]").await;
    let logs = Logs::listen();
    mocks
        .salesforce
        .fail_row("c-0", row_error("STRING_TOO_LONG", "no", &["Title"]), 9);
    let records = batch(&[lead(0), lead(1)]);
    mocks.hubspot.reply_to_each(unavailable());
    for delivery in 0..3 {
        assert_eq!(failures(&invoke(&handler, &records, "r").await).len(), 2);
        assert_eq!(
            mocks.salesforce.sizes(SalesforceCall::Upsert),
            [2],
            "delivery {delivery}"
        );
    }
    mocks.hubspot.reply_normally();
    assert!(failures(&invoke(&handler, &records, "r").await).is_empty());
    assert_eq!(
        mocks.salesforce.sizes(SalesforceCall::Upsert),
        [2],
        "written once"
    );
    assert_eq!(
        (
            mocks.salesforce.leads().len(),
            mocks.hubspot.contacts().len()
        ),
        (1, 2)
    );
    let dead_letters = cloud.dead_letters().await;
    let shown: Vec<_> = dead_letters
        .iter()
        .map(|dead_letter| {
            (
                &dead_letter["contact_id"],
                &dead_letter["reason"]["destination"],
            )
        })
        .collect();
    assert_eq!(
        shown,
        [(&json!("c-0"), &json!("salesforce"))],
        "one dead letter, stored at once"
    );
    let of_salesforce: Vec<_> = logs
        .metrics("salesforce")
        .iter()
        .map(|line| line["RecordsRejected"].clone())
        .collect();
    assert_eq!(of_salesforce, [1, 0, 0, 0], "counted once");
    let whole: Vec<_> = logs
        .metrics("")
        .iter()
        .map(|line| line["RecordsRejected"].clone())
        .collect();
    assert_eq!(
        whole,
        [0, 0, 0, 1],
        "a record is rejected once no destination of it is open"
    );
    assert_eq!(
        logs.fates()[..2],
        ["rejected STRING_TOO_LONG", "failed HTTP_521"]
    );
}

// A read-only table stores no rejection: each delivery would store another dead letter.
#[tokio::test]
async fn with_a_read_only_table_the_dead_letter_waits_for_the_other_destination() {
    let (mocks, cloud, handler) = function("lead = [\"salesforce\", \"hubspot\"]").await;
    cloud.proxy.treat(
        "DynamoDB_20120810.PutItem",
        Treatment::Refuse(400, "AccessDeniedException"),
    );
    mocks
        .salesforce
        .fail_row("c-0", row_error("STRING_TOO_LONG", "no", &["Title"]), 9);
    let records = batch(&[lead(0)]);
    mocks.hubspot.reply_to_each(unavailable());
    for delivery in 0..5 {
        assert_eq!(
            failures(&invoke(&handler, &records, "r").await).len(),
            1,
            "delivery {delivery}"
        );
    }
    mocks.hubspot.reply_normally();
    assert!(failures(&invoke(&handler, &records, "r").await).is_empty());
    assert_eq!(
        cloud.dead_letters().await.len(),
        2,
        "the first, before the table refused a write, and the last"
    );
}

#[tokio::test]
async fn a_dead_letter_is_stored_once_and_names_the_part_of_an_aggregate() {
    let (mocks, cloud, handler) = function("").await;
    let logs = Logs::listen();
    mocks.salesforce.fail_row("c-0", in_use(), 1);
    mocks
        .salesforce
        .fail_row("c-2", row_error("STRING_TOO_LONG", "no", &["Title"]), 9);
    // Four parts of one aggregate under enhanced fan-out, and a record after it.
    let part = |data: &[u8]| record(0, 7, "key", data);
    let records = [
        part(lead(0).to_string().as_bytes()),
        part(b"{"),
        part(lead(1).to_string().as_bytes()),
        part(lead(2).to_string().as_bytes()),
        record(0, 8, "key", customer(3).to_string().as_bytes()),
    ];
    assert_eq!(
        failures(&invoke(&handler, &records, "r-1").await),
        [sequence_number(0, 7)]
    );
    assert!(failures(&invoke(&handler, &records, "r-2").await).is_empty());
    let mut dead_letters = cloud.dead_letters().await;
    dead_letters.sort_by_key(|dead_letter| dead_letter["record"]["sub_sequence"].as_u64());
    let shown: Vec<Value> = dead_letters
        .iter()
        .map(|dead_letter| {
            json!([
                dead_letter["record"]["sub_sequence"],
                dead_letter["reason"]["destination"],
                dead_letter["reason"]["code"]
            ])
        })
        .collect();
    assert_eq!(
        shown,
        [
            json!([1, null, "INVALID_JSON"]),
            json!([3, "salesforce", "STRING_TOO_LONG"])
        ]
    );
    let again = &logs.fates()[5..];
    let earlier = |fate: &str| format!("{fate} SETTLED_EARLIER");
    assert_eq!(
        again,
        [
            "delivered".into(),
            earlier("rejected"),
            earlier("delivered"),
            earlier("rejected"),
            earlier("delivered")
        ]
    );
    assert_eq!(logs.metrics("")[1]["RecordsSkippedSettled"], 4);
    assert_eq!(
        (
            mocks.salesforce.leads().len(),
            mocks.hubspot.contacts().len()
        ),
        (2, 1)
    );
}

#[tokio::test]
async fn of_a_contact_that_changed_twice_in_the_batch_the_later_change_is_written_again() {
    let (mocks, _cloud, handler) = function("").await;
    mocks.salesforce.fail_row("c-1", in_use(), 1);
    let update = change("update", "c-0", "lead", json!({"phone": "2"}));
    let records = batch(&[lead(0), lead(1), update, lead(2)]);
    assert_eq!(
        failures(&invoke(&handler, &records, "r-1").await),
        [sequence_number(0, 1)]
    );
    assert!(failures(&invoke(&handler, &records[1..], "r-2").await).is_empty());
    assert_eq!(
        mocks.salesforce.sizes(SalesforceCall::Upsert),
        [3, 2],
        "the failed change, and the one that a bisection could separate"
    );
    assert_eq!(mocks.salesforce.lead("c-0").expect("a lead")["Phone"], "2");
}

#[tokio::test]
async fn changes_split_by_a_bisected_batch_keep_their_order() {
    let (mocks, cloud, handler) = function("").await;
    mocks.salesforce.fail_row("c-1", in_use(), 2);
    let phone = |number: &str| {
        change(
            "update",
            "c-0",
            "lead",
            json!({"last_name": "A", "company": "B", "phone": number}),
        )
    };
    let records = batch(&[lead(1), phone("1"), phone("2")]);
    assert_eq!(
        failures(&invoke(&handler, &records, "r-1").await),
        [sequence_number(0, 0)]
    );
    // The first half while the table is unavailable: the older change is written again, over the
    // newer one.
    cloud.proxy.treat(
        "DynamoDB",
        Treatment::Refuse(
            400,
            "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
        ),
    );
    assert_eq!(
        failures(&invoke(&handler, &records[..2], "r-2").await),
        [sequence_number(0, 0)]
    );
    cloud.proxy.treat("DynamoDB", Treatment::Pass);
    assert!(failures(&invoke(&handler, &records[..2], "r-3").await).is_empty());
    assert!(failures(&invoke(&handler, &records[2..], "r-4").await).is_empty());
    assert_eq!(mocks.salesforce.lead("c-0").expect("a lead")["Phone"], "2");
}

#[tokio::test]
async fn an_unavailable_table_fails_no_record_and_is_logged_once_for_each_call() {
    let gone = Treatment::Refuse(
        400,
        "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
    );
    let throttled = Treatment::Refuse(
        400,
        "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
    );
    for treatment in [
        gone,
        throttled,
        Treatment::Refuse(503, "ServiceUnavailable"),
        Treatment::Hang,
    ] {
        let mocks = Mocks::start().await;
        let cloud = Cloud::start(&mocks).await;
        let handler = handler(120_000, &cloud.config(), &cloud, &mocks, "");
        let logs = Logs::listen();
        cloud.proxy.treat("DynamoDB", treatment);
        mocks.salesforce.fail_row("c-0", in_use(), 1);
        let records = batch(&[lead(0), lead(1), customer(2)]);
        assert_eq!(
            failures(&invoke(&handler, &records, "r-1").await),
            [sequence_number(0, 0)],
            "{treatment:?}"
        );
        assert!(
            failures(&invoke(&handler, &records, "r-2").await).is_empty(),
            "{treatment:?}"
        );
        assert_eq!(
            (
                mocks.salesforce.leads().len(),
                mocks.hubspot.contacts().len()
            ),
            (2, 1)
        );
        let errors: Vec<u64> = logs
            .metrics("")
            .iter()
            .filter_map(|line| line["StateErrors"].as_u64())
            .collect();
        assert_eq!(errors, [2, 1], "{treatment:?}");
        let warnings: Vec<String> = logs
            .lines()
            .into_iter()
            .filter(|line| line["level"] == "WARN" && line["audit"].is_null())
            .map(|line| line["message"].to_string())
            .collect();
        assert_eq!(
            warnings
                .iter()
                .filter(|text| text.contains("settled set not"))
                .count(),
            3,
            "{treatment:?}: {warnings:?}"
        );
    }
}

#[tokio::test]
async fn while_the_table_is_unavailable_the_dead_letter_of_a_redelivered_record_waits() {
    let gone = Treatment::Refuse(
        400,
        "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
    );
    let (mocks, cloud, handler) = function("").await;
    cloud.proxy.treat("DynamoDB", gone);
    mocks.salesforce.fail_row("c-0", in_use(), 3);
    let lead_of = |at: usize| record(0, at, "key", lead(at).to_string().as_bytes());
    let records = [lead_of(0), record(0, 1, "key", b"{"), lead_of(2)];
    for _ in 0..3 {
        assert_eq!(
            failures(&invoke(&handler, &records, "r").await),
            [0, 1].map(|at| sequence_number(0, at))
        );
    }
    assert!(failures(&invoke(&handler, &records, "r").await).is_empty());
    let dead_letters = cloud.dead_letters().await;
    assert_eq!(dead_letters.len(), 1, "{dead_letters:?}");
}

#[tokio::test]
async fn an_unavailable_queue_fails_the_rejected_records_and_no_others() {
    for treatment in [
        Treatment::Refuse(503, "ServiceUnavailable"),
        Treatment::LoseAnswer,
    ] {
        let (mocks, cloud, handler) = function("").await;
        cloud.proxy.treat("AmazonSQS", treatment);
        let records = [
            record(0, 0, "key", b"{"),
            record(0, 1, "key", lead(1).to_string().as_bytes()),
        ];
        assert_eq!(
            failures(&invoke(&handler, &records, "r-1").await),
            [sequence_number(0, 0)],
            "{treatment:?}"
        );
        cloud.proxy.treat("AmazonSQS", Treatment::Pass);
        assert!(failures(&invoke(&handler, &records, "r-2").await).is_empty());
        assert_eq!(
            mocks.salesforce.sizes(SalesforceCall::Upsert),
            [1],
            "the delivered record is stored as settled"
        );
        let dead_letters = cloud.dead_letters().await;
        assert!(dead_letters.iter().all(|dead_letter| {
            dead_letter["record"]["sequence_number"] == sequence_number(0, 0)
        }));
        assert!(!dead_letters.is_empty());
    }
}

#[tokio::test]
async fn a_hanging_queue_leaves_time_for_the_settled_set() {
    let mocks = Mocks::start().await;
    let cloud = Cloud::start(&mocks).await;
    let handler = handler(
        9_000,
        &with_a_patient_table(cloud.config()),
        &cloud,
        &mocks,
        "",
    );
    cloud.proxy.treat("AmazonSQS", Treatment::Hang);
    let records = [
        record(0, 0, "key", b"{"),
        record(0, 1, "key", lead(1).to_string().as_bytes()),
    ];
    assert_eq!(
        failures(&invoke(&handler, &records, "r-1").await),
        [sequence_number(0, 0)]
    );
    cloud.proxy.treat("AmazonSQS", Treatment::Pass);
    assert!(failures(&invoke(&handler, &records, "r-2").await).is_empty());
    assert_eq!(
        mocks.salesforce.sizes(SalesforceCall::Upsert),
        [1],
        "the delivered record is stored as settled"
    );
}
