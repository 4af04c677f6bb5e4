//! Fields that a system refuses, and that settings allow to leave out.

use std::collections::BTreeMap;

use contact_sync::lambda::Handler;
use contact_sync::settings::Preset;
use fastrand::Rng;
use serde_json::{Value, json};
use testkit::harness::{Logs, Mocks, batch};
use testkit::mock_salesforce::row_error;
use testkit::stream::{failures, invoke};

use super::{PLACES, Place};

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
async fn a_folded_write_keeps_the_accepted_value_of_another_change_in_one_more_call() {
    let changes = |statuses: &[&str]| -> Vec<Value> {
        let change = |(at, status): (usize, &&str)| {
            let mut change = lead("c-1", status);
            change["contact"]["job_title"] = format!("Title {at}").into();
            if status.is_empty() {
                change["contact"]
                    .as_object_mut()
                    .expect("an object")
                    .remove("status");
            }
            change
        };
        statuses.iter().enumerate().map(change).collect()
    };
    let (left, over) = ("delivered PARTIAL", "superseded");
    for (statuses, upserts, fates, status) in [
        (&["Open", "Odd"][..], 2, &[over, left][..], json!("Open")),
        (&["Odd", "Odd", "Odd"], 2, &[left; 3], Value::Null),
        (&["Odd", ""], 2, &[left, "delivered"], Value::Null),
        (&["Odd", "Open"], 1, &[over, "delivered"], json!("Open")),
        (
            &["Odd", "Open", "Odd"],
            2,
            &[left, over, left],
            json!("Open"),
        ),
        // A second refused value: the field is left out of all changes.
        (&["Odd", "Even"], 3, &[left; 2], Value::Null),
        (&["Open", "Odd", "Even"], 3, &[left; 3], Value::Null),
    ] {
        let (mocks, logs) = (mocks().await, Logs::listen());
        let changes = changes(statuses);
        deliver(&mocks, STATUS, &changes).await;
        assert_eq!(logs.fates(), fates, "{statuses:?}");
        assert_eq!(
            Place::Salesforce.calls(&mocks),
            [0, upserts],
            "{statuses:?}"
        );
        assert_eq!(field(&mocks, "c-1", "Status"), status, "{statuses:?}");
        let title = format!("Title {}", changes.len() - 1);
        assert_eq!(field(&mocks, "c-1", "Title"), title, "{statuses:?}");
    }
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

#[tokio::test]
async fn a_listed_value_that_is_too_long_is_left_out_without_another_call() {
    // HubSpot's limit is one of UTF-16 units, and that of a change one of characters.
    let texts = ["1".repeat(41), "🦀".repeat(40_000)];
    for (place, text) in PLACES.into_iter().zip(texts) {
        let section = format!("{place:?}").to_lowercase();
        let phone = place.field("phone");
        let long = json!({"phone": text, "job_title": "Engineer"});
        let changes = [
            place.change("update", "c-1", &long),
            place.change("update", "c-2", &json!({"phone": "1"})),
            place.change("update", "c-2", &long),
        ];
        let (left, over) = ("delivered PARTIAL", "superseded");
        for (document, fates, held) in [
            (
                format!("[{section}]\nsalvage = [\"{phone}\"]"),
                [left, over, left],
                "Engineer",
            ),
            (
                String::new(),
                ["rejected TOO_LONG", "delivered", "rejected TOO_LONG"],
                "",
            ),
        ] {
            let (mocks, logs) = (Mocks::start().await, Logs::listen());
            deliver(&mocks, &document, &changes).await;
            assert_eq!(logs.fates(), fates, "{place:?} {document}");
            assert_eq!(place.calls(&mocks), [0, 1], "{place:?} {document}");
            assert_eq!(place.held(&mocks, "c-1", "job_title"), held);
            assert_eq!(place.held(&mocks, "c-1", "phone"), "");
            assert_eq!(place.held(&mocks, "c-2", "phone"), "1");
            let left_out = logs.audit()[0]["left_out"].clone();
            assert_eq!(left_out == phone, !document.is_empty(), "{left_out}");
        }
    }
}

/// Random batches of one system, of contacts with one to three changes each.
struct Batches {
    place: Place,
    random: Rng,
    mocks: Mocks,
}

/// The fields of a change that have a policy, by the salesperson's tests.
const FIELDS: [&str; 4] = ["job_title", "phone", "first_name", "mobile_phone"];

impl Batches {
    async fn new(place: Place, seed: u64) -> Self {
        let mocks = Mocks::start().await;
        mocks.salesforce.refuse_texts("bad");
        mocks.hubspot.refuse_texts("bad");
        Self {
            place,
            random: Rng::with_seed(seed),
            mocks,
        }
    }

    /// Returns settings with random policies, which allow to leave these fields out.
    fn document(&mut self, salvaged: &[&'static str]) -> String {
        let mut policies = Vec::new();
        for field in FIELDS {
            let policy = ["always", "always", "create", "empty", "unedited"];
            policies.push((field, policy[self.random.usize(..policy.len())]));
        }
        let names: Vec<String> = salvaged
            .iter()
            .map(|field| format!("\"{}\"", self.place.field(field)))
            .collect();
        let salvage = format!("]\nsalvage = [{}]\n", names.join(", "));
        self.place.settings(&policies).replacen("]\n", &salvage, 1)
    }

    /// Returns the changes of some contacts, by the contact's number. A refused value is one of
    /// `bad`, in a field that is salvaged.
    fn changes(&mut self, salvaged: &[&'static str], bad: usize) -> Vec<(usize, Value)> {
        let mut changes = Vec::new();
        for contact in 0..self.random.usize(1..15) {
            for _ in 0..self.random.usize(1..4) {
                let mut fields = json!({});
                for field in FIELDS {
                    fields[field] = match self.random.usize(..4) {
                        0 => continue,
                        1 if salvaged.contains(&field) => {
                            format!("bad{}", self.random.usize(..bad)).into()
                        }
                        2 => Value::Null,
                        _ => format!("{}", self.random.usize(..9)).into(),
                    };
                }
                changes.push((contact, fields));
            }
        }
        self.random.shuffle(&mut changes);
        changes
    }

    fn record(&self, (contact, fields): &(usize, Value), run: &str) -> Value {
        self.place
            .change("update", &format!("{run}-{contact}"), fields)
    }

    /// Delivers a batch. Returns the numbers of look-ups and of writes.
    async fn deliver(&self, handler: &Handler, changes: &[Value]) -> [usize; 2] {
        let before = self.place.calls(&self.mocks);
        assert!(failures(&invoke(handler, &batch(changes), "r").await).is_empty());
        assert_eq!(self.mocks.violations(), [""; 0]);
        let after = self.place.calls(&self.mocks);
        [after[0] - before[0], after[1] - before[1]]
    }

    /// Returns the records of a run without their ids and baselines.
    fn state(&self, run: &str) -> Vec<Option<BTreeMap<String, String>>> {
        let mut state = Vec::new();
        for contact in 0..15 {
            let mut record = self.place.record(&self.mocks, &format!("{run}-{contact}"));
            if let Some(record) = &mut record {
                for name in ["Source_Id__c", "source_id", "Baseline__c", "baseline"] {
                    record.remove(name);
                }
            }
            state.push(record);
        }
        state
    }
}

#[tokio::test]
async fn a_batch_with_refused_values_takes_two_more_calls_and_equals_its_changes_one_by_one() {
    for (place, seed) in PLACES
        .into_iter()
        .flat_map(|place| (0..30).map(move |at| (place, at)))
    {
        let mut batches = Batches::new(place, seed).await;
        let salvaged = ["job_title", "phone"];
        let document = batches.document(&salvaged);
        let handler = batches.mocks.handler(Preset::Test, &document);
        // The second batch meets the hashes that the first one left.
        for _ in 0..2 {
            let changes = batches.changes(&salvaged, 1);
            let folded: Vec<Value> = changes
                .iter()
                .map(|change| batches.record(change, "f"))
                .collect();
            let [lookups, writes] = batches.deliver(&handler, &folded).await;
            assert!(
                lookups <= 1 && writes <= 3,
                "{place:?}, seed {seed}: {lookups} look-ups, {writes} writes"
            );
            for change in &changes {
                let single = batches.record(change, "s");
                batches.deliver(&handler, &[single]).await;
            }
            assert_eq!(
                batches.state("f"),
                batches.state("s"),
                "{place:?}, seed {seed}: {document} {changes:?}"
            );
        }
    }
}

#[tokio::test]
async fn refused_values_of_every_field_cost_a_bounded_number_of_calls() {
    for (place, seed) in PLACES
        .into_iter()
        .flat_map(|place| (0..30).map(move |at| (place, at)))
    {
        let mut batches = Batches::new(place, seed).await;
        let document = batches.document(&FIELDS);
        let handler = batches.mocks.handler(Preset::Test, &document);
        let changes = batches.changes(&FIELDS, 3);
        let folded: Vec<Value> = changes
            .iter()
            .map(|change| batches.record(change, "f"))
            .collect();
        let logs = Logs::listen();
        let [lookups, writes] = batches.deliver(&handler, &folded).await;
        let depth = |contact| changes.iter().filter(|change| change.0 == contact).count();
        let rejected = |fate: &String| fate.starts_with("rejected");
        // Two more calls, and one for each change of a contact that is refused a third time.
        let alone = (0..15).map(depth).max().unwrap_or_default();
        let alone = if alone > 1 { alone } else { 0 };
        assert!(
            lookups <= 1 + alone && writes <= 3 + alone,
            "{place:?}, seed {seed}: {lookups} look-ups, {writes} writes"
        );
        for fate in logs.fates() {
            let is_settled = fate.starts_with("delivered") || fate == "superseded";
            assert!(
                is_settled || rejected(&fate),
                "{place:?}, seed {seed}: {fate}"
            );
        }
    }
}
