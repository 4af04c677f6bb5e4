//! Each policy against each state of the record and each kind of delivery, in both systems.

use contact_sync::lambda::Handler;
use contact_sync::settings::Preset;
use serde_json::{Value, json};
use testkit::harness::{Mocks, batch};
use testkit::stream::{failures, invoke};

use super::{PLACES, Place};
use crate::sync::versioned;

const POLICIES: [&str; 5] = ["always", "create", "empty", "unedited", "never"];

/// The record before the delivery. `Ours` was written last by a delivery, and a person edited or
/// cleared it since.
#[derive(Clone, Copy, Debug)]
enum State {
    Absent,
    Empty,
    Ours,
    Edited,
    EditedToTheSame,
    EditedAndSetBack,
    ClearedByHand,
}

/// The delivery, of changes with the values `First` and `New`.
#[derive(Clone, Copy, Debug)]
enum Delivery {
    Create,
    Update,
    Folded,
    Redelivered,
    Replayed,
}

const DELIVERIES: [Delivery; 5] = [
    Delivery::Create,
    Delivery::Update,
    Delivery::Folded,
    Delivery::Redelivered,
    Delivery::Replayed,
];

/// The value after one change to `New`, by policy and state. `-` stands for an empty field.
const AFTER: [(State, [&str; 5]); 7] = [
    (State::Absent, ["New", "New", "New", "New", "-"]),
    (State::Empty, ["New", "-", "New", "New", "-"]),
    (State::Ours, ["New", "Ours", "Ours", "New", "-"]),
    (
        State::Edited,
        ["New", "Theirs", "Theirs", "Theirs", "Theirs"],
    ),
    (State::EditedToTheSame, ["New", "New", "New", "New", "New"]),
    (
        State::EditedAndSetBack,
        ["New", "Ours", "Ours", "New", "Ours"],
    ),
    (State::ClearedByHand, ["New", "-", "New", "-", "-"]),
];

/// The value after changes to `First` and `New` in one batch.
const AFTER_FOLDED: [(State, [&str; 5]); 7] = [
    (State::Absent, ["New", "First", "First", "New", "-"]),
    (State::Empty, ["New", "-", "First", "New", "-"]),
    (State::Ours, ["New", "Ours", "Ours", "New", "-"]),
    (
        State::Edited,
        ["New", "Theirs", "Theirs", "Theirs", "Theirs"],
    ),
    (State::EditedToTheSame, ["New", "New", "New", "New", "New"]),
    (
        State::EditedAndSetBack,
        ["New", "Ours", "Ours", "New", "Ours"],
    ),
    (State::ClearedByHand, ["New", "-", "First", "-", "-"]),
];

/// The value after a replay of a change that is older than the record.
const AFTER_REPLAY: [(State, [&str; 5]); 7] = [
    (State::Absent, ["New", "New", "New", "New", "-"]),
    (State::Empty, ["-"; 5]),
    (State::Ours, ["Ours", "Ours", "Ours", "Ours", "-"]),
    (State::Edited, ["Theirs"; 5]),
    (State::EditedToTheSame, ["New"; 5]),
    (State::EditedAndSetBack, ["Ours"; 5]),
    (State::ClearedByHand, ["-"; 5]),
];

/// One system with one policy of the title.
struct Trial {
    place: Place,
    mocks: Mocks,
    handler: Handler,
}

impl Trial {
    async fn new(place: Place, policy: &str) -> Self {
        let mocks = Mocks::start().await;
        mocks.hubspot.create_property("version");
        let handler = mocks.handler(Preset::Test, &document(place, policy));
        Self {
            place,
            mocks,
            handler,
        }
    }

    async fn invoke(&self, changes: &[Value]) {
        let answer = invoke(&self.handler, &batch(changes), "r").await;
        assert!(failures(&answer).is_empty());
    }

    async fn prepare(&self, id: &str, state: State) {
        let fields = match state {
            State::Absent => return,
            State::Empty => json!({}),
            _ => json!({"job_title": "Ours"}),
        };
        let first = versioned(self.place.change("create", id, &fields), 5, false);
        self.invoke(&[first]).await;
        let edited = match state {
            State::Edited => "Theirs",
            State::EditedToTheSame => "New",
            State::EditedAndSetBack => {
                self.place.edit(&self.mocks, id, "job_title", "Theirs");
                "Ours"
            }
            State::ClearedByHand => "",
            State::Absent | State::Empty | State::Ours => return,
        };
        self.place.edit(&self.mocks, id, "job_title", edited);
    }

    /// Makes a delivery to a record in this state. Returns the title that the record holds after
    /// it.
    async fn deliver(&self, id: &str, state: State, delivery: Delivery) -> String {
        self.prepare(id, state).await;
        for changes in batches(self.place, id, delivery) {
            self.invoke(&changes).await;
        }
        self.place.held(&self.mocks, id, "job_title")
    }
}

/// Returns the batches of a delivery.
fn batches(place: Place, id: &str, delivery: Delivery) -> Vec<Vec<Value>> {
    let change = |operation: &str, title: &str, version, replay| {
        let change = place.change(operation, id, &json!({"job_title": title}));
        versioned(change, version, replay)
    };
    let update = || change("update", "New", 7, false);
    match delivery {
        Delivery::Create => vec![vec![change("create", "New", 7, false)]],
        Delivery::Update => vec![vec![update()]],
        Delivery::Folded => vec![vec![change("update", "First", 6, false), update()]],
        Delivery::Redelivered => vec![vec![update()], vec![update()]],
        Delivery::Replayed => vec![vec![change("update", "New", 3, true)]],
    }
}

#[tokio::test]
async fn each_policy_is_kept_in_each_state_and_delivery() {
    let mut cases = 0;
    for place in PLACES {
        for (at, policy) in POLICIES.into_iter().enumerate() {
            let trial = Trial::new(place, policy).await;
            for delivery in DELIVERIES {
                let table = match delivery {
                    Delivery::Folded => AFTER_FOLDED,
                    Delivery::Replayed => AFTER_REPLAY,
                    _ => AFTER,
                };
                for (state, values) in table {
                    let case = format!("{place:?}, {policy}, {state:?}, {delivery:?}");
                    let id = format!("{state:?}-{delivery:?}");
                    let found = trial.deliver(&id, state, delivery).await;
                    let expected = values[at].trim_matches('-');
                    assert_eq!(found, expected, "{case}");
                    cases += 1;
                }
            }
            assert_eq!(trial.mocks.violations(), [""; 0]);
        }
    }
    let states = AFTER.len();
    assert_eq!(
        cases,
        PLACES.len() * POLICIES.len() * states * DELIVERIES.len()
    );
}

/// Returns the settings with this policy of the title, and versions.
fn document(place: Place, policy: &str) -> String {
    let settings = place.settings(&[("job_title", policy)]);
    match place {
        Place::Salesforce => settings.replace("]\nb", "]\nversion_field = \"Version__c\"\nb"),
        Place::HubSpot => settings.replace("]\nb", "]\nversion_property = \"version\"\nb"),
    }
}
