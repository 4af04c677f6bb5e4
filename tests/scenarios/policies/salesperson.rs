//! Random schedules of deliveries and of a salesperson, who edits records at any moment.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use contact_sync::lambda::Handler;
use contact_sync::settings::Preset;
use fastrand::Rng;
use futures_util::FutureExt;
use serde_json::Value;
use testkit::harness::{Mocks, batch};
use testkit::stream::{failures, invoke};

use super::Place;

const POLICIES: [(&str, &str); 5] = [
    ("first_name", "always"),
    ("mobile_phone", "create"),
    ("phone", "empty"),
    ("job_title", "unedited"),
    ("website", "never"),
];

/// A contact at the destination, as one-by-one application leaves it.
#[derive(Clone, Debug, Default)]
struct Model {
    /// The fields of the record; `None` where there is none.
    record: Option<BTreeMap<&'static str, String>>,
    /// The values that were written last, of fields with the policy `unedited`.
    written: BTreeMap<&'static str, String>,
}

/// The fields of a change, empty where it clears one.
type Change = BTreeMap<&'static str, String>;

impl Model {
    fn held(&self, field: &str) -> String {
        let value = self.record.as_ref().and_then(|record| record.get(field));
        value.cloned().unwrap_or_default()
    }

    fn apply(&mut self, change: &Change) {
        let is_new = self.record.is_none();
        for (field, policy) in POLICIES {
            let Some(value) = change.get(field) else {
                continue;
            };
            let held = self.held(field);
            let is_ours = match self.written.get(field) {
                Some(written) => *written == held,
                None => held.is_empty(),
            };
            let is_written = match policy {
                "always" => true,
                "create" => is_new,
                "empty" => held.is_empty(),
                "unedited" => is_new || is_ours,
                _ => false,
            };
            if is_written {
                self.set(field, value);
            }
            if is_written && policy == "unedited" {
                self.written.insert(field, value.clone());
            }
        }
        self.record.get_or_insert_default();
    }

    fn set(&mut self, field: &'static str, value: &str) {
        self.record
            .get_or_insert_default()
            .insert(field, value.to_owned());
    }
}

/// One schedule: three contacts, and the edits that must not be lost.
struct Schedule<'a> {
    place: Place,
    mocks: &'a Mocks,
    handler: &'a Handler,
    random: Rng,
    ids: [String; 3],
    models: [Model; 3],
    /// Values of the salesperson, by contact and field.
    edits: BTreeMap<(usize, &'static str), String>,
}

impl Schedule<'_> {
    async fn run(&mut self) {
        for _ in 0..self.random.usize(2..6) {
            for _ in 0..self.random.usize(0..3) {
                self.edit();
            }
            self.deliver().await;
            self.check();
        }
    }

    /// Edits a field of a record before the next look-up.
    fn edit(&mut self) {
        let (contact, field, value) = self.any_edit();
        if self.models[contact].record.is_none() {
            return;
        }
        self.place
            .edit(self.mocks, &self.ids[contact], field, &value);
        self.models[contact].set(field, &value);
        let is_ours = self.models[contact].written.get(field) == Some(&value);
        if is_ours || value.is_empty() {
            self.edits.remove(&(contact, field));
        } else {
            self.edits.insert((contact, field), value);
        }
    }

    /// Returns a contact, a field with another policy than `always`, and a value.
    fn any_edit(&mut self) -> (usize, &'static str, String) {
        let (field, _) = POLICIES[self.random.usize(1..POLICIES.len())];
        (self.random.usize(..3), field, self.any_value("p"))
    }

    fn any_value(&mut self, prefix: &str) -> String {
        match self.random.usize(..4) {
            0 => String::new(),
            number => format!("{prefix}{number}"),
        }
    }

    /// Delivers a batch, once or twice, perhaps with a lost answer, or with an edit between the
    /// look-up and the write.
    async fn deliver(&mut self) {
        let mut changes = Vec::new();
        for _ in 0..self.random.usize(1..5) {
            changes.push((self.random.usize(..3), self.any_change()));
        }
        let is_looked_up = changes
            .iter()
            .any(|(_, change)| change.contains_key("job_title"));
        let times = self.random.usize(1..3);
        let race = (is_looked_up && times == 1 && self.random.bool()).then(|| self.any_edit());
        if let Some((contact, field, value)) = &race {
            self.place
                .edit_after_look_up(self.mocks, &self.ids[*contact], field, value);
        } else if self.random.u8(..8) == 0 {
            match self.place {
                Place::Salesforce => self.mocks.salesforce.lose_answers(1),
                Place::HubSpot => self.mocks.hubspot.lose_answers(1),
            }
        }
        let records: Vec<Value> = changes
            .iter()
            .map(|(contact, change)| {
                let fields: Value = change
                    .iter()
                    .map(|(field, value)| ((*field).to_owned(), super::text(value)))
                    .collect::<serde_json::Map<_, _>>()
                    .into();
                self.place.change("update", &self.ids[*contact], &fields)
            })
            .collect();
        for _ in 0..times {
            let before = self.models.clone();
            for (contact, change) in &changes {
                self.models[*contact].apply(change);
            }
            let answer = invoke(self.handler, &batch(&records), "r").await;
            assert!(failures(&answer).is_empty());
            if let Some((contact, field, value)) = &race {
                self.take_race(&before[*contact], *contact, field, value);
            }
        }
    }

    /// Takes an edit between the look-up and the write: a field that was written has our value.
    fn take_race(&mut self, before: &Model, contact: usize, field: &'static str, value: &str) {
        let after = self.models[contact].held(field);
        if before.record.is_some() && after == before.held(field) {
            self.models[contact].set(field, value);
            self.edits.remove(&(contact, field));
        }
    }

    fn any_change(&mut self) -> Change {
        let mut change = Change::new();
        for (field, _) in POLICIES {
            if self.random.u8(..3) > 0 {
                let value = self.any_value("v");
                change.insert(field, value);
            }
        }
        change
    }

    fn check(&self) {
        for ((contact, field), value) in &self.edits {
            let held = self.place.held(self.mocks, &self.ids[*contact], field);
            assert_eq!(
                held, *value,
                "lost: an edit of {field} of {}",
                self.ids[*contact]
            );
        }
        for (id, model) in self.ids.iter().zip(&self.models) {
            let is_held = self.place.record(self.mocks, id).is_some();
            assert_eq!(is_held, model.record.is_some(), "{id}");
            for (field, policy) in POLICIES {
                let held = self.place.held(self.mocks, id, field);
                assert_eq!(
                    held,
                    model.held(field),
                    "{policy} {field} of {id}: {model:?}"
                );
            }
        }
    }
}

/// Adds rate limits that no schedule reaches.
fn unlimited(document: &str) -> String {
    let limit = "rate_limit = { requests = 1000000, per_ms = 1000 }\n";
    format!(
        "{}[{}]\n{limit}",
        document.replacen("]\n", &format!("]\n{limit}"), 1),
        if document.starts_with("[salesforce]") {
            "hubspot"
        } else {
            "salesforce"
        }
    )
}

/// Returns the number of schedules of each system: `SCHEDULES`, or some.
fn schedules() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the number of schedules is chosen at the command line"
    )]
    let chosen = std::env::var("SCHEDULES").ok();
    chosen.and_then(|count| count.parse().ok()).unwrap_or(150)
}

async fn run_schedules(place: Place, policies: &[(&'static str, &'static str)]) {
    let mocks = Mocks::start().await;
    let document = unlimited(&place.settings(policies));
    let handler = mocks.handler(Preset::Test, &document);
    for seed in 0..schedules() {
        let mut schedule = Schedule {
            place,
            mocks: &mocks,
            handler: &handler,
            random: Rng::with_seed(seed),
            ids: [0, 1, 2].map(|contact| format!("s{seed}-{contact}")),
            models: Default::default(),
            edits: BTreeMap::new(),
        };
        schedule.run().await;
    }
    assert_eq!(mocks.violations(), [""; 0], "{place:?}");
}

#[tokio::test]
async fn an_edit_of_a_lead_before_the_look_up_is_never_lost() {
    run_schedules(Place::Salesforce, &POLICIES).await;
}

#[tokio::test]
async fn an_edit_of_a_hubspot_contact_before_the_look_up_is_never_lost() {
    run_schedules(Place::HubSpot, &POLICIES).await;
}

#[tokio::test]
async fn the_schedules_find_a_policy_that_loses_edits() {
    let careless = POLICIES.map(|(field, policy)| match policy {
        "unedited" => (field, "always"),
        other => (field, other),
    });
    for place in [Place::Salesforce, Place::HubSpot] {
        let schedules = AssertUnwindSafe(run_schedules(place, &careless));
        let message = schedules.catch_unwind().await.expect_err("an edit is lost");
        let message = message.downcast_ref::<String>().expect("a message");
        // The title is the edited field whose policy is too careless.
        assert!(message.contains("job_title of"), "{place:?}: {message}");
    }
}
