//! Tests of the guard with destinations that keep the version of a record: the changes that are
//! written, and the number of calls.

use std::collections::BTreeMap;

use contact_sync::lambda::Handler;
use contact_sync::settings::Preset;
use serde_json::{Map, Value, json};
use testkit::harness::{Logs, Mocks, batch, change};
use testkit::mock_hubspot::Endpoint as HubSpotCall;
use testkit::mock_salesforce::{Endpoint as SalesforceCall, row_error};
use testkit::stream::{failures, invoke};

use super::{VERSIONS_KEPT, versioned};

const SYSTEMS: [&str; 2] = ["lead", "customer"];

async fn mocks() -> Mocks {
    let mocks = Mocks::start_with(|_| {}, |behavior| behavior.require_a_name = false).await;
    mocks.hubspot.create_property("version");
    mocks
}

fn handler(mocks: &Mocks, guard: &str) -> Handler {
    mocks.handler(Preset::Test, &format!("{VERSIONS_KEPT}\n[guard]\n{guard}"))
}

/// Builds a change of the contact `kind` with this type and version. It sets a field that depends
/// on the version, and the company.
fn at_version(operation: &str, kind: &str, version: u64) -> Value {
    let field = ["city", "state", "country", "street", "postal_code"]
        [usize::try_from(version % 5).expect("small")];
    let mut fields = Map::new();
    if operation != "delete" {
        fields.insert("last_name".into(), "Arlo".into());
        fields.insert("company".into(), format!("Company {version}").into());
        fields.insert("address".into(), json!({field: format!("{version}")}));
    }
    let mut change = change(operation, kind, kind, fields.into());
    change["occurred_at"] =
        format!("2026-11-20T10:{:02}:{:02}Z", version / 60, version % 60).into();
    change
}

/// Counts the look-ups, writes and deletes of both destinations.
fn calls(mocks: &Mocks) -> [[usize; 3]; 2] {
    use {HubSpotCall as H, SalesforceCall as S};
    [
        [S::Query, S::Upsert, S::Delete].map(|call| mocks.salesforce.count(call)),
        [H::Read, H::Upsert, H::Archive].map(|call| mocks.hubspot.count(call)),
    ]
}

type Held = [BTreeMap<String, BTreeMap<String, String>>; 2];

fn held(mocks: &Mocks) -> Held {
    [mocks.salesforce.leads(), mocks.hubspot.contacts()]
}

#[tokio::test]
async fn a_thousand_changes_of_a_contact_cost_one_look_up_and_one_write() {
    for kind in SYSTEMS {
        let mocks = mocks().await;
        let logs = Logs::listen();
        let changes: Vec<Value> = (0..1_000)
            .map(|version| at_version("update", kind, version))
            .collect();
        let handler = handler(&mocks, "mode = \"always\"");
        assert!(failures(&invoke(&handler, &batch(&changes), "r-1").await).is_empty());
        let expected = if kind == "lead" {
            [[1, 1, 0], [0; 3]]
        } else {
            [[0; 3], [1, 1, 0]]
        };
        let fates = logs.fates();
        assert_eq!(
            (calls(&mocks), fates.last().map(String::as_str)),
            (expected, Some("delivered"))
        );
        assert!(
            fates[..999].iter().all(|fate| fate == "superseded"),
            "{kind}"
        );
        assert!(
            held(&mocks)
                .iter()
                .flat_map(BTreeMap::values)
                .all(|fields| fields.values().any(|v| v == "Company 999"))
        );
        // The changes are redelivered, and all are compared: only the last one is not stale.
        assert!(failures(&invoke(&handler, &batch(&changes), "r-2").await).is_empty());
        assert_eq!(
            calls(&mocks),
            expected.map(|calls| calls.map(|count| 2 * count))
        );
        assert!(
            logs.fates()[1_000..1_999]
                .iter()
                .all(|fate| fate == "superseded STALE"),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn changes_that_are_not_older_than_the_held_version_are_folded() {
    for (versions, expected) in [
        (
            &[1, 2, 3, 4, 5][..],
            &[
                "superseded STALE",
                "superseded STALE",
                "superseded",
                "superseded",
                "delivered",
            ][..],
        ),
        (&[1, 2], &["superseded STALE", "superseded STALE"]),
        (
            &[4, 1, 4, 5, 3],
            &[
                "superseded",
                "superseded STALE",
                "superseded",
                "delivered",
                "superseded STALE",
            ],
        ),
        (&[5, 4], &["delivered", "superseded STALE"]),
    ] {
        let mocks = mocks().await;
        let handler = handler(&mocks, "mode = \"always\"");
        for kind in SYSTEMS {
            invoke(&handler, &batch(&[at_version("create", kind, 3)]), "r-1").await;
            let before = calls(&mocks);
            let logs = Logs::listen();
            let changes: Vec<Value> = versions
                .iter()
                .map(|version| at_version("update", kind, *version))
                .collect();
            assert!(failures(&invoke(&handler, &batch(&changes), "r-2").await).is_empty());
            assert_eq!(logs.fates(), expected, "{kind} {versions:?}");
            let made = calls(&mocks).as_flattened().iter().sum::<usize>()
                - before.as_flattened().iter().sum::<usize>();
            assert_eq!(
                made,
                if versions.len() == 2 && versions[0] == 1 {
                    1
                } else {
                    2
                },
                "{kind} {versions:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_batch_results_in_the_same_state_as_its_changes_one_by_one() {
    let mut random = fastrand::Rng::with_seed(1);
    for round in 0..40 {
        let mode = if round % 2 == 0 {
            "mode = \"always\""
        } else {
            "mode = \"replays\""
        };
        let mut any = |_| {
            let operation = ["create", "update", "update", "update", "delete"][random.usize(..5)];
            let mut change = at_version(operation, SYSTEMS[random.usize(..2)], random.u64(1..9));
            change["replay"] = random.bool().into();
            change
        };
        let changes: Vec<Value> = (0..8).map(&mut any).collect();
        let (together, apart) = (mocks().await, mocks().await);
        assert!(
            failures(&invoke(&handler(&together, mode), &batch(&changes), "r").await).is_empty()
        );
        for change in &changes {
            let one = batch(std::slice::from_ref(change));
            assert!(failures(&invoke(&handler(&apart, mode), &one, "r").await).is_empty());
        }
        assert_eq!(
            held(&together),
            held(&apart),
            "round {round}, {mode}: {changes:#?}"
        );
    }
}

#[tokio::test]
async fn only_the_offending_change_of_a_refused_fold_is_rejected_and_the_others_are_compared() {
    let mocks = mocks().await;
    let logs = Logs::listen();
    mocks
        .salesforce
        .fail_row("lead", row_error("STRING_TOO_LONG", "no", &["Title"]), 2);
    let changes: Vec<Value> = [5, 3, 6, 4]
        .map(|version| at_version("update", "lead", version))
        .into();
    let answer = invoke(&handler(&mocks, "mode = \"always\""), &batch(&changes), "r").await;
    assert!(failures(&answer).is_empty());
    // The fold is refused, then the first change alone: for the second change no version is held.
    assert_eq!(
        logs.fates(),
        [
            "rejected STRING_TOO_LONG",
            "delivered",
            "delivered",
            "superseded STALE"
        ]
    );
    assert_eq!(
        mocks.salesforce.lead("lead").expect("a lead")["Company"],
        "Company 6"
    );
}

#[tokio::test]
async fn many_contacts_with_two_changes_each_share_their_look_ups() {
    let mocks = mocks().await;
    let of = |at: usize| {
        let fields = json!({"last_name": "Arlo", "company": "Acme", "phone": format!("{at}")});
        versioned(
            change(
                "update",
                &format!("c-{}", at % 300),
                SYSTEMS[at % 2],
                fields,
            ),
            at as u64 / 300,
            false,
        )
    };
    let changes: Vec<Value> = (0..600).map(of).collect();
    let answer = invoke(&handler(&mocks, "mode = \"always\""), &batch(&changes), "r").await;
    assert!(failures(&answer).is_empty());
    assert_eq!(calls(&mocks), [[1, 1, 0], [2, 2, 0]]);
    assert!(
        held(&mocks)[0]
            .values()
            .all(|lead| lead["Phone"].parse::<u64>().expect("a number") >= 300)
    );
}

#[tokio::test]
async fn a_version_beyond_the_precision_of_a_double_is_rejected() {
    const LARGEST: u64 = (1 << 53) - 1;
    for mode in ["replays", "always", "off"] {
        let mocks = mocks().await;
        let handler = handler(&mocks, &format!("mode = \"{mode}\"\nversion = \"version\""));
        for kind in SYSTEMS {
            let logs = Logs::listen();
            for (operation, version) in [
                ("create", LARGEST - 1),
                ("update", LARGEST),
                ("update", LARGEST + 1),
                ("update", 1_763_633_700_123_456_789),
                ("delete", 1_763_633_702_123_456_789),
                ("update", u64::MAX),
            ] {
                let mut change = at_version(operation, kind, 0);
                change["version"] = version.into();
                change["replay"] = true.into();
                assert!(failures(&invoke(&handler, &batch(&[change]), "r").await).is_empty());
            }
            let rejected = "rejected VERSION_TOO_LARGE";
            assert_eq!(
                logs.fates(),
                [
                    "delivered",
                    "delivered",
                    rejected,
                    rejected,
                    rejected,
                    rejected
                ],
                "{kind} {mode}"
            );
        }
        let written = LARGEST.to_string();
        let versions: Vec<_> = [("lead", "Version__c"), ("customer", "version")]
            .iter()
            .zip(held(&mocks))
            .map(|((id, field), held)| held[*id][*field].clone())
            .collect();
        assert_eq!(versions, [written.clone(), written], "{mode}");
    }
}

#[tokio::test]
async fn one_scale_compares_changes_with_and_without_a_version() {
    let mocks = mocks().await;
    let changes = |kind| {
        let numbered = |version: u64| {
            let mut change = at_version(
                if version == 4 { "delete" } else { "update" },
                kind,
                version,
            );
            change["version"] = version.into();
            change
        };
        [
            at_version("create", kind, 0),
            numbered(1),
            numbered(2),
            numbered(3),
            numbered(4),
        ]
    };
    for (version, expected) in [
        ("occurred_at", ["delivered"; 5]),
        (
            "version",
            [
                "rejected MISSING_VERSION",
                "delivered",
                "delivered",
                "delivered",
                "delivered",
            ],
        ),
    ] {
        let handler = handler(
            &mocks,
            &format!("mode = \"always\"\nversion = \"{version}\""),
        );
        for kind in SYSTEMS {
            let logs = Logs::listen();
            for change in changes(kind) {
                invoke(&handler, &batch(&[change]), "r").await;
            }
            assert_eq!(logs.fates(), expected, "{version} {kind}");
        }
    }
}

/// Tests a delete that is stale beside a newer change, until that change is rejected.
#[tokio::test]
async fn a_late_delete_deletes_where_the_newer_change_is_rejected() {
    let mocks = mocks().await;
    let handler = handler(&mocks, "mode = \"always\"");
    invoke(&handler, &batch(&[at_version("create", "lead", 1)]), "r-1").await;
    let logs = Logs::listen();
    let mut newer = at_version("update", "lead", 5);
    newer["contact"]["phone"] = "1".repeat(100).into();
    assert!(
        failures(
            &invoke(
                &handler,
                &batch(&[newer, at_version("delete", "lead", 3)]),
                "r-2"
            )
            .await
        )
        .is_empty()
    );
    assert_eq!(logs.fates(), ["rejected TOO_LONG", "delivered"]);
    assert!(mocks.salesforce.leads().is_empty());
    let upserts = mocks.salesforce.count(SalesforceCall::Upsert);
    assert_eq!(upserts, 1, "no record is written by a delete");
}
