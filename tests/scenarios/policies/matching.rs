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
