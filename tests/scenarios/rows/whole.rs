//! Tests of rows whose contact a destination does not have: each column arrives, whatever ends the
//! invocation, and whatever the columns' policies are.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::app::App;
use contact_sync::lambda::{BatchResponse, Handler};
use contact_sync::settings::Preset;
use serde_json::{Value, json};
use testkit::aws;
use testkit::feed::FeedFormat;
use testkit::harness::{Logs, Mocks};
use testkit::kinesis::{Invocation, InvocationOutcome, Mapping, Stream};
use testkit::mock_aws::{Faults, MockAws};
use testkit::mock_hubspot::Endpoint as HubSpotCall;
use testkit::mock_salesforce::Endpoint as SalesforceCall;
use testkit::server::{Answer, Server};
use testkit::stream::{invoke, record};

/// The contact of each system. The type decides on the system.
const LEAD: &str = "c-1";
const CUSTOMER: &str = "c-2";

fn row(id: &str, email: &str) -> Value {
    let segment = if id == LEAD { "L" } else { "C" };
    json!({"contact_id": id, "segment": segment, "email": email, "family_name": "Lovelace",
           "company": "Engines", "title": "Countess", "origin": "Web"})
}

/// Returns an update of the email address, with the row before.
fn update(id: &str) -> String {
    let (before, after) = (row(id, "a@example.com"), row(id, "b@example.com"));
    json!({"op": "u", "source": {}, "before": before, "after": after}).to_string()
}

fn updates(from: usize) -> Vec<Value> {
    records(from, &[LEAD, CUSTOMER].map(update))
}

fn records(from: usize, updates: &[String]) -> Vec<Value> {
    let records = updates.iter().enumerate();
    records
        .map(|(at, data)| record(0, from + at, "key", data.as_bytes()))
        .collect()
}

/// Returns an update of each column that a new lead requires: it creates a lead alone.
fn renaming(id: &str) -> String {
    let mut before = row(id, "a@example.com");
    before["family_name"] = "Byron".into();
    before["company"] = "Poems".into();
    let after = row(id, "b@example.com");
    json!({"op": "u", "source": {}, "before": before, "after": after}).to_string()
}

async fn mocks() -> Mocks {
    Mocks::start_with(|_| {}, |behavior| behavior.require_a_name = false).await
}

fn handler(mocks: &Mocks, document: &str) -> Handler {
    let settings = format!("{document}{}", FeedFormat::Debezium.settings());
    mocks.handler(Preset::Test, &settings)
}

/// Returns the numbers of upserts and look-ups of each system.
fn calls(mocks: &Mocks) -> [(usize, usize); 2] {
    let Mocks {
        salesforce,
        hubspot,
        ..
    } = mocks;
    [
        (
            salesforce.count(SalesforceCall::Upsert),
            salesforce.count(SalesforceCall::Query),
        ),
        (
            hubspot.count(HubSpotCall::Upsert),
            hubspot.count(HubSpotCall::Read),
        ),
    ]
}

/// Returns the columns of the contacts that are missing in their systems.
fn missing_columns(mocks: &Mocks) -> Vec<&'static str> {
    let leads = mocks.salesforce.leads();
    let contacts = mocks.hubspot.contacts();
    let none = BTreeMap::new();
    let (lead, contact) = (
        leads.get(LEAD).unwrap_or(&none),
        contacts.get(CUSTOMER).unwrap_or(&none),
    );
    let expected = [
        (lead, "Email", "b@example.com"),
        (lead, "LastName", "Lovelace"),
        (lead, "Company", "Engines"),
        (lead, "Title", "Countess"),
        (lead, "LeadSource", "Web"),
        (contact, "email", "b@example.com"),
        (contact, "lastname", "Lovelace"),
        (contact, "company", "Engines"),
        (contact, "jobtitle", "Countess"),
    ];
    let missing = expected
        .into_iter()
        .filter(|(held, name, value)| held.get(*name).is_none_or(|held| held != value));
    missing.map(|(_, name, _)| name).collect()
}

#[tokio::test]
async fn a_contact_that_is_missing_is_created_from_the_whole_row_and_an_existing_one_keeps_edits() {
    let mocks = mocks().await;
    let handler = handler(&mocks, "");
    let answer = invoke(&handler, &updates(0), "r").await;
    assert_eq!(answer, BatchResponse::default());
    assert_eq!(missing_columns(&mocks), [""; 0]);
    assert_eq!(calls(&mocks), [(1, 1), (1, 1)]);

    mocks.salesforce.edit(LEAD, &json!({"LastName": "Byron"}));
    mocks.hubspot.edit(CUSTOMER, "lastname", "Byron");
    invoke(&handler, &updates(2), "again").await;
    assert_eq!(calls(&mocks), [(2, 2), (2, 2)]);
    assert_eq!(missing_columns(&mocks), ["LastName", "lastname"]);
}

#[tokio::test]
async fn whole_rows_take_no_look_up() {
    let mocks = mocks().await;
    let settings = FeedFormat::Debezium.settings();
    let settings = settings.replacen("[source]\n", "[source]\nchanged_only = false\n", 1);
    let records = records(0, &[update(CUSTOMER)]);
    let answer = invoke(&mocks.handler(Preset::Test, &settings), &records, "r").await;
    assert_eq!(answer, BatchResponse::default());
    assert_eq!(calls(&mocks)[1], (1, 0));
}

/// The end of the first invocation.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Each system carries out two calls, and their answers are lost.
    AnswersLost,
    /// The process is killed once each system has carried out a write.
    Killed,
    /// Each system is unavailable once it has carried out a write.
    Outage,
}

/// Returns once each system has seen an upsert.
async fn both_have_written(mocks: &Mocks) {
    loop {
        let [(leads, _), (contacts, _)] = calls(mocks);
        if leads > 0 && contacts > 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Delivers both updates, as often as it takes, with this end of the first invocation.
async fn delivered(end: End, has_table: bool) -> Mocks {
    let mocks = mocks().await;
    let aws = MockAws::new(1, Faults::default());
    let aws_server = Server::start(Arc::clone(&aws)).await;
    let table = if has_table { "state" } else { "" };
    let retry = "retry = { max_attempts = 2, base_delay_ms = 1, max_delay_ms = 2 }\n";
    let document = format!(
        "[dead_letter]\nqueue_url = \"{}/letters\"\n[state]\ntable = \"{table}\"\n\
         [salesforce]\n{retry}[hubspot]\n{retry}{}",
        aws_server.url(),
        FeedFormat::Debezium.settings()
    );
    let settings = mocks.settings(Preset::Test, &document);
    let build = || {
        App::default()
            .build(Preset::Test, &settings, &aws::at(&aws_server.url()))
            .expect("a handler")
    };
    let mut stream = Stream::new(1);
    for id in [LEAD, CUSTOMER] {
        stream.put("key", update(id).as_bytes(), Duration::ZERO);
    }
    let (environment, invocations) = (RefCell::new(build()), Cell::new(0));
    let function = async |invocation: Invocation| {
        invocations.set(invocations.get() + 1);
        // A new environment knows no outage of the former one.
        let handler = environment.replace(build());
        let work = invocation.handle(&handler);
        if invocations.get() > 1 {
            mocks.salesforce.reply_normally();
            mocks.hubspot.reply_normally();
            return work.await;
        }
        match end {
            End::AnswersLost => {
                mocks.salesforce.lose_answers(2);
                mocks.hubspot.lose_answers(2);
                work.await
            }
            End::Killed => tokio::select! {
                ended = work => ended,
                () = both_have_written(&mocks) => InvocationOutcome::Error,
            },
            End::Outage => {
                let outage = async {
                    both_have_written(&mocks).await;
                    let sorry = Answer::html(503, "<h1>Sorry</h1>");
                    mocks.salesforce.reply_to_each(sorry.clone());
                    mocks.hubspot.reply_to_each(sorry);
                };
                tokio::join!(work, outage).0
            }
        }
    };
    let mapping = Mapping {
        backoff: (Duration::from_millis(1), Duration::from_millis(5)),
        ..Mapping::default()
    };
    let report = mapping.drain(&stream, function).await;
    assert_eq!(report.lost(&stream), 0);
    assert_eq!(aws.dead_letters(), [Value::Null; 0]);
    assert_eq!(mocks.violations(), [""; 0]);
    mocks
}

#[tokio::test]
async fn each_column_arrives_at_a_contact_that_is_missing_whatever_ends_the_first_invocation() {
    for end in [End::AnswersLost, End::Killed, End::Outage] {
        for has_table in [true, false] {
            let mocks = delivered(end, has_table).await;
            assert_eq!(missing_columns(&mocks), [""; 0], "{end:?} {has_table}");
        }
    }
}

/// Puts both contacts with their columns before the update. Another client deletes each between
/// the look-up and the write.
fn put_and_delete_in_between(mocks: &Mocks) {
    let lead = json!({"LastName": "Byron", "Company": "Poems"});
    mocks.salesforce.put(LEAD, &lead);
    mocks.salesforce.delete_after_query(LEAD);
    mocks.hubspot.put(Some(CUSTOMER), &[]);
    mocks.hubspot.archive_after_read(CUSTOMER);
}

#[tokio::test]
async fn a_contact_that_is_deleted_between_look_up_and_write_is_written_whole_after_it() {
    let mocks = mocks().await;
    put_and_delete_in_between(&mocks);
    let logs = Logs::listen();
    let renaming = records(0, &[LEAD, CUSTOMER].map(renaming));
    let answer = invoke(&handler(&mocks, ""), &renaming, "r").await;
    assert_eq!(answer, BatchResponse::default());
    assert_eq!(logs.fates(), ["delivered", "delivered"]);
    assert_eq!(missing_columns(&mocks), [""; 0]);
    assert_eq!(calls(&mocks).map(|(upserts, _)| upserts), [2, 2]);
}

#[tokio::test]
async fn a_contact_that_was_created_from_a_part_of_its_row_has_a_dead_letter_until_it_is_whole() {
    let mocks = mocks().await;
    put_and_delete_in_between(&mocks);
    let logs = Logs::listen();
    let retry = "retry = { max_attempts = 2, base_delay_ms = 1, max_delay_ms = 2 }\n";
    let handler = handler(&mocks, &format!("[salesforce]\n{retry}[hubspot]\n{retry}"));
    let records = records(0, &[LEAD, CUSTOMER].map(renaming));
    let outage = async {
        both_have_written(&mocks).await;
        let sorry = Answer::html(503, "<h1>Sorry</h1>");
        mocks.salesforce.reply_to_each(sorry.clone());
        mocks.hubspot.reply_to_each(sorry);
    };
    let (answer, ()) = tokio::join!(invoke(&handler, &records, "r"), outage);
    assert_eq!(
        answer,
        BatchResponse::default(),
        "a redelivery would leave the rest out"
    );
    assert_eq!(
        logs.fates(),
        ["rejected CREATED_IN_PART", "rejected CREATED_IN_PART"]
    );
}

#[tokio::test]
async fn fields_of_new_contacts_are_taken_from_the_columns_that_did_not_change() {
    let policies = "[salesforce]\nbaseline_field = \"Sync__c\"\n[salesforce.policy]\n\
        LeadSource = \"create\"\nCompany = \"empty\"\nLastName = \"unedited\"\n\
        [hubspot]\nbaseline_property = \"sync\"\n[hubspot.policy]\n\
        company = \"create\"\nlastname = \"unedited\"\n";
    for matching in ["upsert", "create-only"] {
        let mocks = Mocks::start_with(
            |behavior| behavior.custom_fields.push("Sync__c".to_owned()),
            |behavior| behavior.require_a_name = false,
        )
        .await;
        mocks.hubspot.create_property("sync");
        let document = policies
            .replace(
                "[salesforce]\n",
                &format!("[salesforce]\nmatch = \"{matching}\"\n"),
            )
            .replace(
                "[hubspot]\n",
                &format!("[hubspot]\nmatch = \"{matching}\"\n"),
            );
        let answer = invoke(&handler(&mocks, &document), &updates(0), "r").await;
        assert_eq!(answer, BatchResponse::default());
        assert_eq!(missing_columns(&mocks), [""; 0], "{matching}");
    }
    let mocks = mocks().await;
    let document = "[salesforce]\nmatch = \"update-only\"\n[hubspot]\nmatch = \"update-only\"\n";
    let logs = Logs::listen();
    invoke(&handler(&mocks, document), &updates(0), "r").await;
    assert_eq!(logs.fates(), ["filtered NO_MATCH", "filtered NO_MATCH"]);
}

#[tokio::test]
async fn a_missing_contact_is_rejected_where_a_column_that_did_not_change_cannot_be_written() {
    for (column, value, code) in [
        ("phone", json!("1".repeat(60)), "TOO_LONG"),
        ("phone", json!(["1"]), "COLUMN_UNREADABLE"),
    ] {
        let images = ["a@example.com", "b@example.com"].map(|email| {
            let mut row = row(LEAD, email);
            row[column] = value.clone();
            row
        });
        let [before, after] = images;
        let data = json!({"op": "u", "source": {}, "before": before, "after": after}).to_string();
        let mocks = mocks().await;
        let logs = Logs::listen();
        let handler = handler(&mocks, "");
        let record = |at| records(at, std::slice::from_ref(&data));
        invoke(&handler, &record(0), "r").await;
        assert_eq!(logs.fates(), [format!("rejected {code}")]);
        assert_eq!(mocks.salesforce.lead(LEAD), None);

        mocks
            .salesforce
            .put(LEAD, &json!({"LastName": "Lovelace", "Company": "Engines"}));
        invoke(&handler, &record(1), "again").await;
        assert_eq!(logs.fates()[1], "delivered", "{code}");
        assert_eq!(
            mocks.salesforce.lead(LEAD).expect("a lead")["Email"],
            "b@example.com"
        );
    }
}

#[tokio::test]
async fn changes_of_a_missing_contact_in_one_batch_have_the_result_of_the_changes_one_by_one() {
    let rows: Vec<Value> = [("a", "Web"), ("b", "Web"), ("b", "Phone")]
        .map(|(name, origin)| {
            let mut row = row(CUSTOMER, &format!("{name}@example.com"));
            row["origin"] = origin.into();
            row["title"] = name.into();
            row
        })
        .into();
    let data: Vec<String> = rows
        .windows(2)
        .map(|rows| {
            json!({"op": "u", "source": {}, "before": rows[0], "after": rows[1]}).to_string()
        })
        .collect();
    let records = records(0, &data);
    let document = "[hubspot.policy]\njobtitle = \"create\"\n";
    let mut held = Vec::new();
    for batches in [vec![&records[..]], records.chunks(1).collect()] {
        let mocks = mocks().await;
        let handler = handler(&mocks, document);
        for batch in batches {
            invoke(&handler, batch, "r").await;
        }
        held.push(mocks.hubspot.contacts());
    }
    assert_eq!(held[0], held[1]);
    assert_eq!(held[0][CUSTOMER]["jobtitle"], "b");
    assert_eq!(held[0][CUSTOMER]["lastname"], "Lovelace");
}

/// Returns an update of an unchanged phone number, with the row before.
fn with_phone(id: &str, phone: &str, emails: [&str; 2], title: &str) -> String {
    let [before, after] = emails.map(|email| {
        let mut row = row(id, email);
        row["phone"] = phone.into();
        row
    });
    let mut after = after;
    after["title"] = title.into();
    json!({"op": "u", "source": {}, "before": before, "after": after}).to_string()
}

#[tokio::test]
async fn a_field_that_is_left_out_of_the_whole_row_is_reported() {
    let salvage = "[salesforce]\nsalvage = [\"Phone\"]\n[hubspot]\nsalvage = [\"phone\"]\n";
    let too_long = "1".repeat(60);
    for (id, phone, count) in [
        (LEAD, too_long.as_str(), 1),
        (LEAD, "refused", 1),
        (LEAD, "refused", 2),
        (CUSTOMER, "refused", 1),
        (CUSTOMER, "refused", 2),
    ] {
        let mocks = mocks().await;
        mocks.salesforce.refuse_texts("refused");
        mocks.hubspot.refuse_texts("refused");
        let logs = Logs::listen();
        let changes = [
            with_phone(id, phone, ["a@example.com", "b@example.com"], "Countess"),
            with_phone(id, phone, ["b@example.com", "c@example.com"], "Countess"),
        ];
        let records = records(0, &changes[..count]);
        invoke(&handler(&mocks, salvage), &records, "r").await;
        let fates = logs.fates();
        assert!(
            fates.contains(&"delivered PARTIAL".to_owned()),
            "{id} {phone} {count}: {fates:?}"
        );
    }
}

#[tokio::test]
async fn a_dead_letter_of_a_part_is_stored_although_a_record_before_it_failed() {
    let mocks = mocks().await;
    put_and_delete_in_between(&mocks);
    let aws = MockAws::new(1, Faults::default());
    let aws_server = Server::start(Arc::clone(&aws)).await;
    let retry = "retry = { max_attempts = 2, base_delay_ms = 1, max_delay_ms = 2 }\n";
    let document = format!(
        "[dead_letter]\nqueue_url = \"{}/letters\"\n[salesforce]\n{retry}[hubspot]\n{retry}{}",
        aws_server.url(),
        FeedFormat::Debezium.settings()
    );
    let settings = mocks.settings(Preset::Test, &document);
    let handler = App::default()
        .build(Preset::Test, &settings, &aws::at(&aws_server.url()))
        .expect("a handler");
    let sorry = Answer::html(503, "<h1>Sorry</h1>");
    mocks.hubspot.reply_to_each(sorry.clone());
    let records = records(0, &[CUSTOMER, LEAD].map(renaming));
    let outage = async {
        while mocks.salesforce.count(SalesforceCall::Upsert) == 0 {
            tokio::task::yield_now().await;
        }
        mocks.salesforce.reply_to_each(sorry);
    };
    let (answer, ()) = tokio::join!(invoke(&handler, &records, "r"), outage);
    assert_eq!(answer.batch_item_failures.len(), 1, "the customer's record");
    let codes: Vec<Value> = aws
        .dead_letters()
        .iter()
        .map(|letter| letter["reason"]["code"].clone())
        .collect();
    assert_eq!(codes, ["CREATED_IN_PART"]);
}

#[tokio::test]
async fn a_record_that_was_created_in_part_gets_the_fields_of_new_records_and_no_second_comparison()
{
    for document in [
        "[hubspot.policy]\njobtitle = \"create\"\n",
        "[pipeline]\ndestinations = [\"hubspot\"]\n[guard]\nmode = \"always\"\n\
         [hubspot]\nversion_property = \"version\"\n",
    ] {
        let mocks = mocks().await;
        mocks.hubspot.create_property("version");
        put_and_delete_in_between(&mocks);
        let changes: Vec<String> = [("a", "b"), ("b", "c")]
            .iter()
            .zip(1..)
            .map(|((before, after), version)| {
                let rows =
                    [before, after].map(|name| row(CUSTOMER, &format!("{name}@example.com")));
                let source = json!({"ts_ms": 1_763_633_700_000_i64 + version});
                json!({"op": "u", "source": source, "before": rows[0], "after": rows[1]})
                    .to_string()
            })
            .collect();
        let logs = Logs::listen();
        invoke(&handler(&mocks, document), &records(0, &changes), "r").await;
        let fates = logs.fates();
        assert!(
            fates.contains(&"delivered".to_owned()),
            "{document}: {fates:?}"
        );
        let held = &mocks.hubspot.contacts()[CUSTOMER];
        assert_eq!(held["email"], "c@example.com", "{document}");
        assert_eq!(held["jobtitle"], "Countess", "{document}");
        assert_eq!(held["lastname"], "Lovelace", "{document}");
    }
}
