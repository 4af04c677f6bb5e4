//! Tests of redeliveries after a partial failure, where both systems store versions and where they
//! store none.

use contact_sync::app::App;
use contact_sync::lambda::Handler;
use contact_sync::settings::Preset;
use serde_json::{Value, json};
use testkit::harness::{Logs, Mocks, batch};
use testkit::mock_hubspot::Endpoint as HubSpotCall;
use testkit::mock_salesforce::{Endpoint as SalesforceCall, row_error};
use testkit::stream::{failures, invoke, sequence_number};
use testkit::table::{Faults, Table};

const VERSIONED: &str =
    "[salesforce]\nversion_field = \"Version__c\"\n[hubspot]\nversion_property = \"version\"";

/// The types of the contacts of Salesforce and HubSpot.
const KINDS: [&str; 2] = ["lead", "customer"];

struct World {
    mocks: Mocks,
    table: Table,
    document: String,
}

impl World {
    async fn new(document: &str) -> Self {
        let mocks = Mocks::start_with(|_| {}, |behaviour| behaviour.require_a_name = false).await;
        mocks.hubspot.create_property("version");
        Self {
            mocks,
            table: Table::new(1, Faults::default()),
            document: document.to_owned(),
        }
    }

    /// Starts a new environment of the function.
    fn handler(&self) -> Handler {
        let document = format!("[state]\ntable = \"settled\"\n{}", self.document);
        let settings = self.mocks.settings(Preset::Test, &document);
        App::default()
            .build(Preset::Test, &settings, &self.table.config())
            .expect("a handler")
    }

    /// Lets the contact `x`, of this type, fail until [`Self::heal`].
    fn fail(&self, kind: &str) {
        match kind {
            "lead" => {
                let error = row_error(
                    "TERRITORY_REALIGN_IN_PROGRESS",
                    "territories are realigned",
                    &[],
                );
                self.mocks.salesforce.fail_row("x", error, u32::MAX);
            }
            _ => self.mocks.hubspot.fail_row(
                "x",
                json!({"category": "RATE_LIMITS", "message": "later"}),
                u32::MAX,
            ),
        }
    }

    fn heal(&self) {
        self.mocks.salesforce.fail_row("x", json!({}), 0);
        self.mocks.hubspot.fail_row("x", json!({}), 0);
    }

    /// Edits the company in the system, as a user does.
    fn edit(&self, kind: &str, id: &str, company: &str) {
        match kind {
            "lead" => self.mocks.salesforce.edit(id, &json!({"Company": company})),
            _ => self.mocks.hubspot.edit(id, "company", company),
        }
    }

    /// Delivers the records to a new environment. Returns the fates.
    async fn deliver(&self, records: &[Value]) -> Vec<String> {
        let logs = Logs::listen();
        let answer = invoke(&self.handler(), records, "r").await;
        assert!(failures(&answer).len() <= 1, "{answer:?}");
        logs.fates()
    }

    fn company(&self, kind: &str, id: &str) -> Option<String> {
        match kind {
            "lead" => Some(
                self.mocks.salesforce.lead(id)?["Company"]
                    .as_str()?
                    .to_owned(),
            ),
            _ => self.mocks.hubspot.contact(id)?.get("company").cloned(),
        }
    }

    /// Returns the number of rows written to the system of this type, and of its calls that were
    /// not writes.
    fn traffic(&self, kind: &str) -> (usize, usize) {
        let Mocks {
            salesforce,
            hubspot,
            ..
        } = &self.mocks;
        if kind == "lead" {
            let others =
                [SalesforceCall::Query, SalesforceCall::Delete].map(|call| salesforce.count(call));
            return (
                salesforce.sizes(SalesforceCall::Upsert).iter().sum(),
                others.iter().sum(),
            );
        }
        let (writes, others): (Vec<_>, Vec<_>) = hubspot
            .seen()
            .into_iter()
            .partition(|call| call.endpoint == HubSpotCall::Upsert);
        (writes.iter().map(|call| call.ids.len()).sum(), others.len())
    }
}

fn change(operation: &str, second: u64, id: &str, kind: &str, company: &str) -> Value {
    let fields = if operation == "delete" {
        json!({})
    } else {
        json!({"last_name": "Bea", "company": company})
    };
    let mut change = testkit::harness::change(operation, id, kind, fields);
    change["occurred_at"] = format!("2026-11-20T10:15:{second:02}Z").into();
    change["version"] = second.into();
    change
}

/// Returns a batch: `x` of this type, which fails, and then changes of one contact.
fn after_failing(x_kind: &str, changes: &[Value]) -> Vec<Value> {
    batch(&[&[change("create", 0, "x", x_kind, "X")], changes].concat())
}

#[tokio::test]
async fn with_versions_a_contact_that_changed_twice_is_not_written_again() {
    for (mode, kind, x_kind) in [
        ("replays", "lead", "customer"),
        ("replays", "customer", "lead"),
        ("always", "lead", "customer"),
        ("always", "customer", "lead"),
    ] {
        for shape in [
            &["create", "update"][..],
            &["create"],
            &["create", "update", "update", "update"],
            &["delete", "create"],
            &["update", "create"],
            &["create", "delete", "create", "update"],
        ] {
            let world = World::new(&format!("{VERSIONED}\n[guard]\nmode = \"{mode}\"")).await;
            world.fail(x_kind);
            let change = |(at, operation): (usize, &&str)| {
                change(operation, at as u64 + 1, "c", kind, "Acme")
            };
            let changes: Vec<Value> = shape.iter().enumerate().map(change).collect();
            let records = after_failing(x_kind, &changes);
            world.deliver(&records).await;
            assert_eq!(
                world.company(kind, "c").as_deref(),
                Some("Acme"),
                "{mode} {kind} {shape:?}"
            );
            let traffic = world.traffic(kind);
            world.edit(kind, "c", "Edited by hand");
            for _ in 0..3 {
                let fates = world.deliver(&records).await;
                let is_known = |fate: &String| fate.ends_with("SETTLED_EARLIER");
                assert!(
                    fates[1..].iter().all(is_known),
                    "{mode} {kind} {shape:?}: {fates:?}"
                );
            }
            assert_eq!(
                world.traffic(kind),
                traffic,
                "{mode} {kind} {shape:?}: not one call"
            );
            assert_eq!(
                world.company(kind, "c").as_deref(),
                Some("Edited by hand"),
                "{mode} {kind} {shape:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_redelivered_delete_after_another_change_is_looked_up_and_writes_nothing() {
    for (kind, x_kind) in [("lead", "customer"), ("customer", "lead")] {
        let world = World::new(VERSIONED).await;
        world.fail(x_kind);
        let changes = [("create", 1), ("update", 2), ("delete", 3)]
            .map(|(op, at)| change(op, at, "c", kind, "Acme"));
        let records = after_failing(x_kind, &changes);
        world.deliver(&records).await;
        let (written, looked_up) = world.traffic(kind);
        let fates = world.deliver(&records).await;
        let earlier = "superseded SETTLED_EARLIER";
        assert_eq!(
            fates[1..],
            [earlier, earlier, "delivered ALREADY_GONE"],
            "{kind}"
        );
        assert_eq!(world.traffic(kind), (written, looked_up + 1), "{kind}");
        // An older change that is delivered alone while the table is unavailable creates the
        // contact again. The delete is sent again, too.
        world.table.drop_table();
        world.deliver(&records[..2]).await;
        assert!(world.company(kind, "c").is_some());
        world.table.heal();
        world.deliver(&records[2..]).await;
        assert_eq!(world.company(kind, "c"), None, "{kind}");
    }
}

#[tokio::test]
async fn a_superseded_version_does_not_win_when_it_is_redelivered_alone() {
    for (document, x_kind) in [
        ("", "lead"),
        ("", "customer"),
        (VERSIONED, "lead"),
        (VERSIONED, "customer"),
    ] {
        for (kind, newer, id) in [
            ("lead", "update", "a"),
            ("customer", "update", "A"),
            ("lead", "create", "A"),
            ("customer", "create", "a"),
            ("lead", "delete", "a"),
            ("customer", "delete", "A"),
        ] {
            let world = World::new(document).await;
            world
                .deliver(&batch(&[change("create", 1, "a", kind, "one")]))
                .await;
            world.fail(x_kind);
            let records = batch(&[
                change(newer, 9, "a", kind, "nine"),
                change("create", 0, "x", x_kind, "X"),
                change("update", 5, id, kind, "five"),
            ]);
            let expected = (newer != "delete").then(|| "nine".to_owned());
            let case = format!("{document}: {newer} of a {kind}, x is a {x_kind}");
            let answer = invoke(&world.handler(), &records, "r").await;
            assert_eq!(failures(&answer), [sequence_number(0, 1)], "{case}");
            // The rest of the batch, the same in halves, and again without faults.
            for part in [&records[1..], &records[1..2], &records[2..], &records[1..]] {
                assert_eq!(world.company(kind, "a"), expected, "{case}");
                world.deliver(part).await;
            }
            world.heal();
            let fates = world.deliver(&records[1..]).await;
            assert!(fates[1].starts_with("superseded"), "{case}: {fates:?}");
            assert_eq!(world.company(kind, "a"), expected, "{case}");
        }
    }
}

#[tokio::test]
async fn while_the_table_is_unavailable_every_change_is_compared_with_the_destination() {
    for (kind, x_kind) in [
        ("lead", "lead"),
        ("customer", "customer"),
        ("lead", "customer"),
        ("customer", "lead"),
    ] {
        let world = World::new(VERSIONED).await;
        world.fail(x_kind);
        let changes = [1, 2, 3].map(|at| change("create", at, "c", kind, &format!("Company {at}")));
        let records = after_failing(x_kind, &changes);
        world.deliver(&records).await;
        world.table.drop_table();
        let fates = world.deliver(&records[..3]).await;
        assert_eq!(
            fates[1..],
            ["superseded STALE", "superseded STALE"],
            "{kind}"
        );
        world.table.heal();
        let fates = world.deliver(&records[1..]).await;
        assert!(
            fates.iter().all(|fate| fate.ends_with("SETTLED_EARLIER")),
            "{kind}: {fates:?}"
        );
        assert_eq!(
            world.company(kind, "c").as_deref(),
            Some("Company 3"),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn changes_of_equal_version_are_sent_again_in_order() {
    for kind in KINDS {
        let world = World::new(VERSIONED).await;
        world.fail(kind);
        let changes = ["first", "second"].map(|company| change("create", 1, "c", kind, company));
        let records = after_failing(kind, &changes);
        world.deliver(&records).await;
        // A tie is not stale: the first is written over the second while the table is unavailable.
        world.table.drop_table();
        world.deliver(&records[..2]).await;
        assert_eq!(world.company(kind, "c").as_deref(), Some("first"), "{kind}");
        world.table.heal();
        world.deliver(&records[..2]).await;
        world.deliver(&records[2..]).await;
        assert_eq!(
            world.company(kind, "c").as_deref(),
            Some("second"),
            "{kind}"
        );
    }
}

/// Returns random changes of a few contacts. Some lack the company.
fn random_changes(random: &mut fastrand::Rng) -> Vec<Value> {
    let mut changes = Vec::new();
    for second in 1..random.u64(8..20) {
        let contact = random.usize(..5);
        let operation = ["create", "update"][random.usize(..2)];
        let id = format!("{}-{contact}", if random.bool() { "c" } else { "C" });
        let mut change = change(operation, second, &id, KINDS[contact % 2], "Acme");
        if random.bool() {
            change["contact"]
                .as_object_mut()
                .expect("an object")
                .remove("company");
        }
        changes.push(change);
    }
    changes
}

#[tokio::test]
async fn settled_changes_do_not_revert_manual_edits() {
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mode = ["replays", "always"][random.usize(..2)];
        let world = World::new(&format!("{VERSIONED}\n[guard]\nmode = \"{mode}\"")).await;
        let x_kind = KINDS[random.usize(..2)];
        world.fail(x_kind);
        let records = after_failing(x_kind, &random_changes(&mut random));
        world.deliver(&records).await;
        let held = |world: &World| {
            [
                world.mocks.salesforce.leads(),
                world.mocks.hubspot.contacts(),
            ]
        };
        for (system, kind) in held(&world).iter().zip(KINDS) {
            for id in system.keys() {
                world.edit(kind, id, "Edited by hand");
            }
        }
        let edited = held(&world);
        // The batch is redelivered as a whole, and in parts.
        for _ in 0..3 {
            world.deliver(&records).await;
            let cut = random.usize(1..records.len());
            world.deliver(&records[..cut]).await;
            world.deliver(&records[cut..]).await;
        }
        assert_eq!(held(&world), edited, "seed {seed}, {mode}, x is a {x_kind}");
    }
}
