//! Fields that a system refuses, and that settings allow to leave out.

use contact_sync::settings::Preset;
use serde_json::{Value, json};
use testkit::harness::{Logs, Mocks, batch};
use testkit::mock_salesforce::row_error;
use testkit::stream::{failures, invoke};

use super::Place;

const STATUS: &str = "[salesforce]\nsalvage = [\"Status\", \"Title\"]";

async fn mocks() -> Mocks {
    let statuses = Some(vec!["Open".to_owned(), "Closed".to_owned()]);
    Mocks::start_with(move |behavior| behavior.statuses = statuses, |_| {}).await
}

fn lead(id: &str, status: &str) -> Value {
    let fields = json!({"job_title": "Engineer", "status": status});
    Place::Salesforce.change("update", id, &fields)
}

async fn deliver(mocks: &Mocks, document: &str, changes: &[Value]) {
    let handler = mocks.handler(Preset::Test, document);
    assert!(failures(&invoke(&handler, &batch(changes), "r").await).is_empty());
    assert_eq!(mocks.violations(), [""; 0]);
}

fn field(mocks: &Mocks, id: &str, name: &str) -> Value {
    let lead = mocks.salesforce.lead(id).unwrap_or_default();
    lead.get(name).cloned().unwrap_or_default()
}

#[tokio::test]
async fn refused_fields_of_a_batch_are_left_out_in_one_more_call() {
    let (mocks, logs) = (mocks().await, Logs::listen());
    let changes: Vec<Value> = (0..50)
        .map(|number| {
            lead(
                &format!("c-{number}"),
                if number % 10 == 0 { "Odd" } else { "Open" },
            )
        })
        .collect();
    deliver(&mocks, STATUS, &changes).await;
    assert_eq!(Place::Salesforce.calls(&mocks), [0, 2]);
    let audit = logs.audit();
    let partial: Vec<&Value> = audit
        .iter()
        .filter(|line| line["code"] == "PARTIAL")
        .collect();
    assert_eq!(partial.len(), 5);
    assert!(
        partial
            .iter()
            .all(|line| line["left_out"] == "Status" && line["fate"] == "delivered")
    );
    assert_eq!(logs.metrics("salesforce")[0]["RecordsPartial"], 5);
    assert_eq!(field(&mocks, "c-10", "Status"), Value::Null);
    assert_eq!(field(&mocks, "c-10", "Title"), "Engineer");
    assert_eq!(field(&mocks, "c-11", "Status"), "Open");
}

#[tokio::test]
async fn a_record_is_sent_again_twice_at_most_and_never_without_an_unlisted_field() {
    let too_long = |name: &str| row_error("STRING_TOO_LONG", "data value too large", &[name]);
    for (document, named, times, upserts, fate) in [
        // Two fields in turn: the title by the script, the status by the org.
        (STATUS, "Title", 1, 3, "delivered PARTIAL"),
        // A field that is not in the record any longer is refused again.
        (STATUS, "Title", 9, 2, "rejected STRING_TOO_LONG"),
        (STATUS, "Phone", 9, 1, "rejected STRING_TOO_LONG"),
        (STATUS, "LastName", 9, 1, "rejected STRING_TOO_LONG"),
        ("", "Title", 9, 1, "rejected STRING_TOO_LONG"),
    ] {
        let (mocks, logs) = (mocks().await, Logs::listen());
        mocks.salesforce.fail_row("c-1", too_long(named), times);
        deliver(&mocks, document, &[lead("c-1", "Odd"), lead("c-2", "Open")]).await;
        let case = format!("{document} {named} {times}");
        assert_eq!(Place::Salesforce.calls(&mocks), [0, upserts], "{case}");
        assert_eq!(logs.fates(), [fate, "delivered"], "{case}");
    }
}

#[tokio::test]
async fn each_change_of_a_folded_write_is_salvaged_by_itself() {
    let (mocks, logs) = (mocks().await, Logs::listen());
    let mut second = lead("c-1", "Odd");
    second["contact"]["job_title"] = "Head".into();
    deliver(&mocks, STATUS, &[lead("c-1", "Open"), second]).await;
    assert_eq!(logs.fates(), ["delivered", "delivered PARTIAL"]);
    assert_eq!(field(&mocks, "c-1", "Status"), "Open");
    assert_eq!(field(&mocks, "c-1", "Title"), "Head");
}

#[tokio::test]
async fn a_salvaged_record_is_looked_up_once_and_keeps_the_hashes_of_its_values() {
    let (mocks, logs) = (mocks().await, Logs::listen());
    let document = format!(
        "{STATUS}\nbaseline_field = \"Baseline__c\"\n[salesforce.policy]\nStatus = \"unedited\"\n\
         Title = \"unedited\""
    );
    deliver(&mocks, &document, &[lead("c-1", "Open")]).await;
    let mut changed = lead("c-1", "Odd");
    changed["contact"]["job_title"] = "Head".into();
    deliver(&mocks, &document, &[changed]).await;
    assert_eq!(Place::Salesforce.calls(&mocks), [2, 3]);
    assert_eq!(logs.fates(), ["delivered", "delivered PARTIAL"]);
    assert_eq!(field(&mocks, "c-1", "Status"), "Open");
    assert_eq!(field(&mocks, "c-1", "Title"), "Head");
    // Both fields are still ours.
    deliver(&mocks, &document, &[lead("c-1", "Closed")]).await;
    assert_eq!(field(&mocks, "c-1", "Status"), "Closed");
    assert_eq!(field(&mocks, "c-1", "Title"), "Engineer");
}

#[tokio::test]
async fn a_refused_property_of_hubspot_is_left_out() {
    let (mocks, logs) = (Mocks::start().await, Logs::listen());
    let customer = |id: &str, email: &str| {
        Place::HubSpot.change(
            "update",
            id,
            &json!({"email": email, "job_title": "Engineer"}),
        )
    };
    let changes = [
        customer("c-1", "a@test.con"),
        customer("c-2", "b@example.com"),
    ];
    deliver(&mocks, "[hubspot]\nsalvage = [\"email\"]", &changes).await;
    assert_eq!(Place::HubSpot.calls(&mocks), [0, 2]);
    assert_eq!(logs.fates(), ["delivered PARTIAL", "delivered"]);
    assert_eq!(logs.audit()[0]["left_out"], "email");
    let contact = mocks.hubspot.contact("c-1").expect("a contact");
    assert_eq!(
        (contact.get("email"), contact["jobtitle"].as_str()),
        (None, "Engineer")
    );
}
