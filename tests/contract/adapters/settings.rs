//! Effects of the account and the settings on an adapter: missing fields, versions of the API, the
//! quota.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use contact_sync::model::{Attribute, Cause, ContactChange, Outcome};
use testkit::dispatching::fates_of;
use testkit::listener::listen;
use testkit::system::{Fault, Setting};
use testkit::words::{deletion, payload_of, words};

use super::trial::{Trial, person, stops};

/// Returns a newcomer with an attribute.
fn subscriber(number: usize) -> ContactChange {
    let mut change = person(number);
    change.contact.attributes.values = [("plan".into(), Attribute::Text("team".into()))].into();
    change
}

pub async fn a_missing_field_fails_only_the_records_that_have_it(trial: &Trial) {
    let adapter = trial
        .set(Setting::UnknownField)
        .expect("a system with fields of its own");
    let changes = [subscriber(1), person(2), subscriber(3), person(4)];
    let payloads = changes
        .each_ref()
        .map(|change| payload_of(&*adapter, &[change]));
    let logs = listen();
    let reply = trial
        .upsert_by(&*adapter, &payloads)
        .await
        .expect("outcomes");
    let [
        Outcome::Failed(_),
        Outcome::Delivered(_),
        Outcome::Failed(_),
        Outcome::Delivered(_),
    ] = &reply[..]
    else {
        panic!("{reply:?}");
    };
    assert_eq!(trial.held(), ["c-2", "c-4"]);
    assert_eq!(
        (logs.at("ERROR").len(), trial.metrics.config_errors()),
        (1, 1),
        "the operator gets one line"
    );
    // A single record is no evidence about the next one.
    let reply = trial
        .upsert_by(&*adapter, &payloads[..1])
        .await
        .expect("outcomes");
    assert!(matches!(&reply[..], [Outcome::Failed(_)]), "{reply:?}");
    let fates = fates_of(&adapter, &trial.metrics, &changes).await;
    let kinds: Vec<_> = fates.iter().map(|fate| fate.split(' ').next()).collect();
    assert_eq!(
        kinds,
        [
            Some("failed"),
            Some("delivered"),
            Some("failed"),
            Some("delivered")
        ],
        "no record is rejected"
    );
}

/// Checks that no record stops the destination. The records that have the field are redelivered
/// without those that lack it, which are remembered: the next record may lack it as well.
pub async fn a_missing_field_of_every_record_of_a_batch_stops_no_destination(trial: &Trial) {
    let adapter = trial
        .set(Setting::UnknownField)
        .expect("a system with fields of its own");
    let payloads = [subscriber(1), subscriber(2)].map(|change| payload_of(&*adapter, &[&change]));
    let reply = trial
        .upsert_by(&*adapter, &payloads)
        .await
        .expect("outcomes");
    assert!(
        matches!(&reply[..], [Outcome::Failed(_), Outcome::Failed(_)]),
        "{reply:?}"
    );
    assert_eq!(
        (trial.held(), trial.metrics.config_errors()),
        (Vec::<String>::new(), 1)
    );
}

pub async fn every_api_version_is_supported(trial: &Trial) {
    let versions: Vec<_> = (0..)
        .map_while(|version| trial.set(Setting::Version(version)))
        .collect();
    assert!(versions.len() > 1, "the system has several versions");
    for adapter in versions {
        assert_eq!(
            words(&trial.upsert_by(&*adapter, &trial.people(1..=3)).await),
            ["delivered"; 3]
        );
        assert_eq!(trial.held(), ["c-1", "c-2", "c-3"]);
        let reply = words(
            &trial
                .delete_by(&*adapter, &["C-1", "C-2", "C-3", "C-9"].map(deletion))
                .await,
        );
        assert!(
            reply.len() == 4 && reply.iter().all(|word| word.starts_with("delivered")),
            "{reply:?}"
        );
        assert_eq!(trial.held(), Vec::<String>::new());
    }
}

pub async fn an_unknown_api_version_stops_the_destination(trial: &Trial) {
    let adapter = trial
        .set(Setting::UnknownVersion)
        .expect("a system with versions");
    for reply in [
        trial.upsert_by(&*adapter, &trial.people(1..=2)).await,
        trial
            .delete_by(&*adapter, &["C-1", "C-2"].map(deletion))
            .await,
    ] {
        assert!(stops(&reply, Cause::Configuration), "{:?}", words(&reply));
    }
    assert_eq!(
        words(&trial.upsert(&trial.people(1..=2)).await),
        ["delivered"; 2]
    );
}

pub async fn a_reported_quota_is_recorded_and_a_missing_one_is_ignored(trial: &Trial) {
    let people = trial.people(1..=2);
    trial.upsert(&people).await.expect("a credential");
    let used_of = |trial: &Trial| {
        let quota = trial.metrics.quota();
        quota.daily_used.zip(quota.daily_max)
    };
    for used in [7, 9] {
        trial.inject(Fault::QuotaReported { used, max: 10 });
        assert_eq!(words(&trial.upsert(&people).await), ["delivered"; 2]);
        assert_eq!(used_of(trial), Some((used, 10)));
    }
    trial.inject(Fault::QuotaOmitted);
    assert_eq!(words(&trial.upsert(&people).await), ["delivered"; 2]);
    assert_eq!(
        used_of(trial),
        Some((9, 10)),
        "an unreported quota is unchanged"
    );
}
