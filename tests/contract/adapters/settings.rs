//! What the account and the settings make of an adapter: fields that are not there, versions of the
//! API, the quota.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use contact_sync::adapters::{Cause, Outcome};
use contact_sync::contact::{Attribute, ContactChange};
use testkit::dispatching::fates_of;
use testkit::listener::listen;
use testkit::system::{Fault, Setting};
use testkit::words::{deletion, payload_of, words};

use super::trial::{Trial, person, stops};

/// A newcomer with an attribute.
fn subscriber(number: usize) -> ContactChange {
    let mut change = person(number);
    change.contact.attributes.values = [("plan".into(), Attribute::Text("team".into()))].into();
    change
}

pub async fn a_field_that_the_system_lacks_fails_the_records_that_have_it_alone(trial: &Trial) {
    let adapter = trial
        .set(Setting::UnknownField)
        .expect("a system with fields of its own");
    let changes = [subscriber(1), person(2), subscriber(3), person(4)];
    let payloads = changes
        .each_ref()
        .map(|change| payload_of(&*adapter, &[change]));
    let heard = listen();
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
        (heard.at("ERROR").len(), trial.meter.config_errors()),
        (1, 1),
        "the operator is told, and once"
    );
    // Alone it says nothing of what the next record has.
    let reply = trial
        .upsert_by(&*adapter, &payloads[..1])
        .await
        .expect("outcomes");
    assert!(matches!(&reply[..], [Outcome::Failed(_)]), "{reply:?}");
    let fates = fates_of(&adapter, &trial.meter, &changes).await;
    let kinds: Vec<_> = fates.iter().map(|fate| fate.split(' ').next()).collect();
    assert_eq!(
        kinds,
        [
            Some("failed"),
            Some("delivered"),
            Some("failed"),
            Some("delivered")
        ],
        "nobody is rejected for it"
    );
}

/// They come again by themselves, where those that have none are remembered: the next one may have
/// none either.
pub async fn a_field_that_the_system_lacks_and_each_of_several_records_has_stops_nobody(
    trial: &Trial,
) {
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
        (trial.held(), trial.meter.config_errors()),
        (Vec::<String>::new(), 1)
    );
}

pub async fn every_version_of_the_api_is_spoken(trial: &Trial) {
    let versions: Vec<_> = (0..)
        .map_while(|version| trial.set(Setting::Version(version)))
        .collect();
    assert!(versions.len() > 1, "a version that is no choice is none");
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

pub async fn a_version_that_the_system_does_not_have_stops_the_destination(trial: &Trial) {
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

pub async fn the_quota_that_an_answer_tells_is_noted_and_silence_is_normal(trial: &Trial) {
    let people = trial.people(1..=2);
    trial
        .upsert(&people)
        .await
        .expect("a credential from now on");
    let told = |trial: &Trial| {
        let quota = trial.meter.quota();
        quota.daily_used.zip(quota.daily_max)
    };
    for used in [7, 9] {
        trial.strike(Fault::Told { used, max: 10 });
        assert_eq!(words(&trial.upsert(&people).await), ["delivered"; 2]);
        assert_eq!(told(trial), Some((used, 10)));
    }
    trial.strike(Fault::Untold);
    assert_eq!(words(&trial.upsert(&people).await), ["delivered"; 2]);
    assert_eq!(
        told(trial),
        Some((9, 10)),
        "what is not told has not changed"
    );
}
