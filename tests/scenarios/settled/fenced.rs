//! What comes again after a partial failure where both systems keep versions, and what does where
//! they keep none.

use contact_sync::factory;
use contact_sync::handler::Handler;
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
        let mocks = Mocks::start_with(|_| {}, |habits| habits.require_a_name = false).await;
        mocks.hubspot.create_property("version");
        Self {
            mocks,
            table: Table::new(1, Faults::default()),
            document: document.to_owned(),
        }
    }

    /// A new environment of the function.
    fn handler(&self) -> Handler {
        let document = format!("[state]\ntable = \"settled\"\n{}", self.document);
        let settings = self.mocks.settings(Preset::Test, &document);
        factory::build(Preset::Test, &settings, &self.table.config()).expect("a handler")
    }

    /// The contact `x`, of this type, fails for a while.
    fn fail(&self, kind: &str) {
        match kind {
            "lead" => {
                let error = row_error("RECORD_IN_USE_BY_WORKFLOW", "the record is in use", &[]);
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

    /// Somebody edits the company by hand.
    fn edit(&self, kind: &str, id: &str, company: &str) {
        match kind {
            "lead" => self.mocks.salesforce.edit(id, &json!({"Company": company})),
            _ => self.mocks.hubspot.edit(id, "company", company),
        }
    }

    /// Delivers these records, in a new environment; gives the fates.
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

    /// The rows that were written to the system of this type, and the calls that were no writes.
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

/// A batch: `x` of this type fails, and then there are changes of one contact.
fn behind(x_kind: &str, changes: &[Value]) -> Vec<Value> {
    batch(&[&[change("create", 0, "x", x_kind, "X")], changes].concat())
}

#[tokio::test]
async fn where_versions_are_kept_a_contact_that_changed_twice_is_not_written_again() {
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
            let records = behind(x_kind, &changes);
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
async fn a_delete_behind_another_change_is_looked_up_again_and_writes_nothing() {
    for (kind, x_kind) in [("lead", "customer"), ("customer", "lead")] {
        let world = World::new(VERSIONED).await;
        world.fail(x_kind);
        let changes = [("create", 1), ("update", 2), ("delete", 3)]
            .map(|(op, at)| change(op, at, "c", kind, "Acme"));
        let records = behind(x_kind, &changes);
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
        // An older change that comes alone while the table is silent makes the contact again: the
        // delete is right again.
        world.table.drop_table();
        world.deliver(&records[..2]).await;
        assert!(world.company(kind, "c").is_some());
        world.table.heal();
        world.deliver(&records[2..]).await;
        assert_eq!(world.company(kind, "c"), None, "{kind}");
    }
}

#[tokio::test]
async fn an_older_version_that_was_superseded_does_not_win_when_it_comes_again_alone() {
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
            let what = format!("{document}: {newer} of a {kind}, x is a {x_kind}");
            let answer = invoke(&world.handler(), &records, "r").await;
            assert_eq!(failures(&answer), [sequence_number(0, 1)], "{what}");
            // The rest of the batch, the same in halves, and again when all is well.
            for part in [&records[1..], &records[1..2], &records[2..], &records[1..]] {
                assert_eq!(world.company(kind, "a"), expected, "{what}");
                world.deliver(part).await;
            }
            world.heal();
            let fates = world.deliver(&records[1..]).await;
            assert!(fates[1].starts_with("superseded"), "{what}: {fates:?}");
            assert_eq!(world.company(kind, "a"), expected, "{what}");
        }
    }
}

#[tokio::test]
async fn while_the_table_is_silent_every_change_is_compared_with_what_is_there() {
    for (kind, x_kind) in [
        ("lead", "lead"),
        ("customer", "customer"),
        ("lead", "customer"),
        ("customer", "lead"),
    ] {
        let world = World::new(VERSIONED).await;
        world.fail(x_kind);
        let changes = [1, 2, 3].map(|at| change("create", at, "c", kind, &format!("Company {at}")));
        let records = behind(x_kind, &changes);
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
async fn changes_of_one_version_are_sent_again_in_order() {
    for kind in KINDS {
        let world = World::new(VERSIONED).await;
        world.fail(kind);
        let changes = ["first", "second"].map(|company| change("create", 1, "c", kind, company));
        let records = behind(kind, &changes);
        world.deliver(&records).await;
        // A tie is not stale: the first is written again over the second while the table is silent.
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

/// A random number of changes of each of a few contacts, some of which do not carry the company.
fn of_some_contacts(random: &mut fastrand::Rng) -> Vec<Value> {
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
async fn nothing_that_a_person_changed_is_taken_back_by_changes_that_are_settled() {
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mode = ["replays", "always"][random.usize(..2)];
        let world = World::new(&format!("{VERSIONED}\n[guard]\nmode = \"{mode}\"")).await;
        let x_kind = KINDS[random.usize(..2)];
        world.fail(x_kind);
        let records = behind(x_kind, &of_some_contacts(&mut random));
        world.deliver(&records).await;
        let held = |world: &World| {
            [
                world.mocks.salesforce.leads(),
                world.mocks.hubspot.contacts(),
            ]
        };
        for (system, kind) in held(&world).iter().zip(KINDS) {
            system
                .keys()
                .for_each(|id| world.edit(kind, id, "Edited by hand"));
        }
        let edited = held(&world);
        // The batch comes again as a whole, and in parts.
        for _ in 0..3 {
            world.deliver(&records).await;
            let cut = random.usize(1..records.len());
            world.deliver(&records[..cut]).await;
            world.deliver(&records[cut..]).await;
        }
        assert_eq!(held(&world), edited, "seed {seed}, {mode}, x is a {x_kind}");
    }
}
