//! Match policies, folded and one by one.

use contact_sync::settings::Preset;
use serde_json::{Value, json};
use testkit::harness::{Logs, Mocks, batch};
use testkit::stream::{failures, invoke};

use super::{PLACES, Place};

fn document(place: Place, policy: &str) -> String {
    let section = format!("{place:?}").to_lowercase();
    format!("[{section}]\nmatch = \"{policy}\"")
}

fn title(place: Place, operation: &str, title: &str) -> Value {
    place.change(operation, "c-1", &json!({"job_title": title}))
}

/// Delivers the changes in one batch, or in a batch each. Returns the fates and the title.
async fn deliver(
    place: Place,
    policy: &str,
    exists: bool,
    changes: &[Value],
    folded: bool,
) -> (Vec<String>, String) {
    let mocks = Mocks::start().await;
    if exists {
        let handler = mocks.handler(Preset::Test, "");
        invoke(&handler, &batch(&[title(place, "create", "Old")]), "r").await;
    }
    let logs = Logs::listen();
    let handler = mocks.handler(Preset::Test, &document(place, policy));
    let size = if folded { changes.len() } else { 1 };
    for part in changes.chunks(size) {
        assert!(failures(&invoke(&handler, &batch(part), "r").await).is_empty());
    }
    assert_eq!(mocks.violations(), [""; 0]);
    (logs.fates(), place.held(&mocks, "c-1", "job_title"))
}

#[tokio::test]
async fn a_match_policy_filters_the_contacts_that_it_excludes() {
    for place in PLACES {
        let one = [title(place, "update", "New")];
        let two = [
            title(place, "create", "First"),
            title(place, "update", "New"),
        ];
        let recreated = [
            title(place, "update", "First"),
            title(place, "delete", ""),
            title(place, "create", "New"),
        ];
        let no_match = "filtered NO_MATCH";
        let exists = "filtered EXISTS";
        for (policy, found, changes, folded, single, held) in [
            (
                "upsert",
                false,
                &one[..],
                vec!["delivered"],
                vec!["delivered"],
                "New",
            ),
            (
                "update-only",
                false,
                &one[..],
                vec![no_match],
                vec![no_match],
                "",
            ),
            (
                "update-only",
                true,
                &one[..],
                vec!["delivered"],
                vec!["delivered"],
                "New",
            ),
            (
                "update-only",
                false,
                &two[..],
                vec![no_match; 2],
                vec![no_match; 2],
                "",
            ),
            (
                "create-only",
                true,
                &one[..],
                vec![exists],
                vec![exists],
                "Old",
            ),
            (
                "create-only",
                false,
                &two[..],
                vec!["delivered", exists],
                vec!["delivered", exists],
                "First",
            ),
            (
                "create-only",
                true,
                &two[..],
                vec![exists; 2],
                vec![exists; 2],
                "Old",
            ),
            (
                "create-only",
                true,
                &recreated[..],
                vec!["superseded", "delivered", "delivered"],
                vec![exists, "delivered", "delivered"],
                "New",
            ),
        ] {
            let case = format!(
                "{place:?}, {policy}, found: {found}, {} changes",
                changes.len()
            );
            let in_one = deliver(place, policy, found, changes, true).await;
            assert_eq!(
                in_one,
                (
                    folded.iter().map(ToString::to_string).collect(),
                    held.to_owned()
                ),
                "{case}"
            );
            let one_by_one = deliver(place, policy, found, changes, false).await;
            assert_eq!(
                one_by_one,
                (
                    single.iter().map(ToString::to_string).collect(),
                    held.to_owned()
                ),
                "{case}"
            );
        }
    }
}

#[tokio::test]
async fn update_only_never_creates_a_record_that_is_deleted_after_the_look_up() {
    for place in PLACES {
        let mocks = Mocks::start().await;
        let update = |number: usize, title: &str| {
            let fields = json!({"job_title": title});
            place.change("update", &format!("c-{number}"), &fields)
        };
        let first: Vec<Value> = (0..5).map(|number| update(number, "Old")).collect();
        let handler = mocks.handler(Preset::Test, "");
        invoke(&handler, &batch(&first), "r").await;
        let before = place.calls(&mocks);
        let logs = Logs::listen();
        place.delete_after_look_up(&mocks, "c-1");
        place.delete_after_look_up(&mocks, "c-3");
        let handler = mocks.handler(Preset::Test, &document(place, "update-only"));
        let changes: Vec<Value> = (0..5).map(|number| update(number, "New")).collect();
        assert!(failures(&invoke(&handler, &batch(&changes), "r").await).is_empty());
        let gone = "filtered NO_MATCH";
        assert_eq!(
            logs.fates(),
            ["delivered", gone, "delivered", gone, "delivered"]
        );
        for number in 0..5 {
            let id = format!("c-{number}");
            let is_held = place.record(&mocks, &id).is_some();
            assert_eq!(is_held, number % 2 == 0, "{place:?} {id}");
            let expected = if is_held { "New" } else { "" };
            assert_eq!(place.held(&mocks, &id, "job_title"), expected);
        }
        let after = place.calls(&mocks);
        assert_eq!(
            [after[0] - before[0], after[1] - before[1]],
            [1, 1],
            "{place:?}"
        );
        // A record that is alone in its call.
        place.delete_after_look_up(&mocks, "c-0");
        let alone = [update(0, "Newer")];
        assert!(failures(&invoke(&handler, &batch(&alone), "r").await).is_empty());
        assert_eq!(logs.fates().last().map(String::as_str), Some(gone));
        assert!(place.record(&mocks, "c-0").is_none());
        assert_eq!(mocks.violations(), [""; 0]);
    }
}

#[tokio::test]
async fn update_only_leaves_a_refused_field_out_and_creates_no_record() {
    for place in PLACES {
        let mocks = Mocks::start().await;
        let handler = mocks.handler(Preset::Test, "");
        invoke(&handler, &batch(&[title(place, "create", "Old")]), "r").await;
        mocks.salesforce.refuse_texts("bad");
        mocks.hubspot.refuse_texts("bad");
        let logs = Logs::listen();
        let salvage = format!("\nsalvage = [\"{}\"]", place.field("job_title"));
        let document = document(place, "update-only") + &salvage;
        let handler = mocks.handler(Preset::Test, &document);
        let change =
            |id: &str| place.change("update", id, &json!({"job_title": "bad", "phone": "1"}));
        let changes = [change("c-1"), change("c-2")];
        assert!(failures(&invoke(&handler, &batch(&changes), "r").await).is_empty());
        assert_eq!(
            logs.fates(),
            ["delivered PARTIAL", "filtered NO_MATCH"],
            "{place:?}"
        );
        assert_eq!(place.held(&mocks, "c-1", "job_title"), "Old");
        assert_eq!(place.held(&mocks, "c-1", "phone"), "1");
        assert!(place.record(&mocks, "c-2").is_none());
        assert_eq!(mocks.violations(), [""; 0]);
    }
}

#[tokio::test]
async fn create_only_writes_over_a_record_that_is_created_after_the_look_up() {
    for place in PLACES {
        let mocks = Mocks::start().await;
        let logs = Logs::listen();
        place.create_after_look_up(&mocks, "c-1");
        let handler = mocks.handler(Preset::Test, &document(place, "create-only"));
        let changes = [title(place, "create", "New")];
        assert!(failures(&invoke(&handler, &batch(&changes), "r").await).is_empty());
        assert_eq!(logs.fates(), ["delivered"]);
        assert_eq!(place.held(&mocks, "c-1", "job_title"), "New");
        invoke(&handler, &batch(&changes), "r").await;
        assert_eq!(logs.fates()[1..], ["filtered EXISTS"]);
        assert_eq!(mocks.violations(), [""; 0]);
    }
}

#[tokio::test]
async fn update_only_rejects_a_contact_with_two_records_and_updates_the_others() {
    let place = Place::Salesforce;
    let (mocks, logs) = (Mocks::start().await, Logs::listen());
    for id in ["c-1", "c-1", "c-2"] {
        mocks.salesforce.put(id, &json!({"Title": "Old"}));
    }
    let handler = mocks.handler(Preset::Test, &document(place, "update-only"));
    let change = |id: &str| place.change("update", id, &json!({"job_title": "New"}));
    let changes = [change("c-1"), change("c-2")];
    assert!(failures(&invoke(&handler, &batch(&changes), "r").await).is_empty());
    assert_eq!(
        logs.fates(),
        ["rejected DUPLICATE_EXTERNAL_ID", "delivered"]
    );
    assert_eq!(place.held(&mocks, "c-1", "job_title"), "Old");
    assert_eq!(place.held(&mocks, "c-2", "job_title"), "New");
    assert_eq!(place.calls(&mocks), [1, 1]);
}
