//! Calls that succeed in part, and batches that are refused as a whole.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use contact_sync::model::{CallError, Field, Outcome, Retry, RetryMode};
use testkit::dispatching::fates_of;
use testkit::listener::listen;
use testkit::system::Fault;
use testkit::words::{deletion, words};

use super::trial::{Trial, decides_nothing, person};

pub async fn one_bad_row_is_rejected_and_its_neighbours_are_written(trial: &Trial) {
    trial.inject(Fault::Rejected("C-2"));
    let reply = trial.upsert(&trial.people(1..=3)).await.expect("outcomes");
    let [
        Outcome::Delivered(_),
        Outcome::Rejected(rejection),
        Outcome::Delivered(_),
    ] = &reply[..]
    else {
        panic!("{reply:?}");
    };
    assert!(!rejection.code.as_str().is_empty());
    assert_eq!(trial.held(), ["c-1", "c-3"]);
}

pub async fn a_row_with_a_passing_failure_succeeds_when_repeated(trial: &Trial) {
    trial.inject(Fault::Delayed("C-2"));
    let people = trial.people(1..=3);
    let reply = trial.upsert(&people).await.expect("outcomes");
    assert!(
        matches!(
            &reply[..],
            [
                Outcome::Delivered(_),
                Outcome::Retry(_),
                Outcome::Delivered(_)
            ]
        ),
        "{reply:?}"
    );
    assert_eq!(words(&trial.upsert(&people[1..2]).await), ["delivered"]);
    assert_eq!(trial.held().len(), 3);
}

pub async fn a_failed_delete_affects_no_neighbour_and_is_repeated(trial: &Trial) {
    trial.upsert(&trial.people(1..=3)).await.expect("outcomes");
    let gone = ["C-1", "C-2", "C-3"].map(deletion);
    trial.inject(Fault::Delayed("C-2"));
    let reply = trial.delete(&gone).await.expect("outcomes");
    assert!(
        matches!(
            &reply[..],
            [
                Outcome::Delivered(_),
                Outcome::Retry(_),
                Outcome::Delivered(_)
            ]
        ),
        "{reply:?}"
    );
    assert_eq!(trial.held(), ["c-2"]);
    trial.inject(Fault::Rejected("C-2"));
    let reply = trial.delete(&gone[1..2]).await.expect("outcomes");
    assert!(matches!(&reply[..], [Outcome::Rejected(_)]), "{reply:?}");
    assert_eq!(words(&trial.delete(&gone[1..2]).await), ["delivered"]);
    assert_eq!(trial.held(), Vec::<String>::new());
}

pub async fn a_response_with_too_few_rows_acknowledges_no_missing_record(trial: &Trial) {
    let people = trial.people(1..=3);
    trial.inject(Fault::Short);
    if let Ok(outcomes) = trial.upsert(&people).await {
        let delivered = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Outcome::Delivered(_)))
            .count();
        let retried = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Outcome::Retry(_)))
            .count();
        assert!(delivered < 3 && delivered + retried == 3, "{outcomes:?}");
    }
    assert_eq!(words(&trial.upsert(&people).await), ["delivered"; 3]);
}

pub async fn a_success_without_rows_acknowledges_no_record(trial: &Trial) {
    let people = trial.people(1..=3);
    trial.inject(Fault::Mute);
    let reply = trial.upsert(&people).await;
    assert!(decides_nothing(&reply), "{:?}", words(&reply));
    assert_eq!(words(&trial.upsert(&people).await), ["delivered"; 3]);
}

pub async fn a_response_without_optional_parts_acknowledges_every_record(trial: &Trial) {
    let people = trial.people(1..=3);
    trial.inject(Fault::Sparse);
    assert_eq!(words(&trial.upsert(&people).await), ["delivered"; 3]);
    assert_eq!(trial.held().len(), 3);
}

/// Accepts a rejection at once, or after all other records.
pub async fn a_value_that_another_record_owns_is_rejected_with_its_owner(trial: &Trial) {
    let owner = trial
        .system
        .rival("C-2")
        .expect("a system with values that only one record may have");
    let reply = trial.upsert(&trial.people(1..=3)).await.expect("outcomes");
    let [Outcome::Delivered(_), clash, Outcome::Delivered(_)] = &reply[..] else {
        panic!("{reply:?}")
    };
    let (Outcome::Rejected(rejection)
    | Outcome::Retry(Retry {
        how: RetryMode::Last(rejection),
        ..
    })) = clash
    else {
        panic!("{clash:?}");
    };
    let is_named = rejection
        .message
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word == owner);
    assert!(is_named, "{owner}: {}", rejection.message);
    assert_eq!(trial.held(), ["c-1", "c-3"]);
}

pub async fn a_refused_value_is_named_by_its_field_and_is_in_no_log(trial: &Trial) {
    let mut changes = [person(1), person(2)];
    changes[1].contact.email = Field::Value("sesame".into());
    let payloads = changes.each_ref().map(|change| trial.payload(&[change]));
    let logs = listen();
    let reply = trial.upsert(&payloads).await.expect("outcomes");
    let [Outcome::Delivered(_), Outcome::Rejected(rejection)] = &reply[..] else {
        panic!("{reply:?}")
    };
    let [field] = &rejection.fields[..] else {
        panic!("{rejection:?}")
    };
    assert!(
        field.eq_ignore_ascii_case("email") && rejection.code.as_str().contains("EMAIL"),
        "{rejection:?}"
    );
    let fates = fates_of(&trial.adapter, &trial.metrics, &changes).await;
    assert!(fates[1].starts_with("rejected"), "{fates:?}");
    let shown = format!("{reply:?} {payloads:?} {:?}", logs.lines());
    assert!(
        !shown.contains("sesame") && !shown.contains("example.com"),
        "{shown}"
    );
}

pub async fn a_response_with_too_many_rows_rejects_no_record(trial: &Trial) {
    let people = trial.people(1..=3);
    trial.inject(Fault::Long);
    match trial.upsert(&people).await {
        Ok(outcomes) => {
            let is_good =
                |outcome: &Outcome| matches!(outcome, Outcome::Delivered(_) | Outcome::Retry(_));
            assert!(
                outcomes.len() == 3 && outcomes.iter().all(is_good),
                "{outcomes:?}"
            );
        }
        Err(error) => assert!(matches!(error, CallError::Retry { .. }), "{error:?}"),
    }
    assert_eq!(words(&trial.upsert(&people).await), ["delivered"; 3]);
}

pub async fn a_batch_with_an_offending_record_is_refused_and_passes_without_it(trial: &Trial) {
    trial.inject(Fault::OffendingRecord("C-2".to_owned()));
    let people = trial.people(1..=3);
    for batch in [&people[..], &people[1..2]] {
        match trial.upsert(batch).await {
            Err(CallError::Refused { suspects, .. }) => {
                assert!(suspects.iter().all(|at| *at < batch.len()));
            }
            // A record that is alone may be classified like one of several rows.
            Ok(outcomes) if batch.len() == 1 => {
                assert!(
                    matches!(&outcomes[..], [Outcome::Rejected(_)]),
                    "{outcomes:?}"
                );
            }
            other => panic!("{:?}", words(&other)),
        }
        assert_eq!(
            trial.held(),
            Vec::<String>::new(),
            "a refused batch writes nothing"
        );
    }
    assert_eq!(
        words(&trial.upsert(&[people[0].clone(), people[2].clone()]).await),
        ["delivered"; 2]
    );
}

/// Delivers as Kinesis does, which redelivers from the lowest record that failed. A bisection has
/// few calls, so that an invocation finds one offending record: each delivery has to settle one
/// more.
pub async fn each_delivery_isolates_another_offending_record(trial: &Trial) {
    const OFFENDERS: [usize; 9] = [0, 1, 2, 13, 40, 41, 77, 98, 99];
    let changes: Vec<_> = (0..trial.adapter.limits().upsert).map(person).collect();
    let offenders: Vec<usize> = OFFENDERS
        .into_iter()
        .filter(|number| *number < changes.len())
        .collect();
    for number in &offenders {
        trial.inject(Fault::OffendingRecord(format!("C-{number}")));
    }
    let mut fates = vec![String::new(); changes.len()];
    let (mut from, mut deliveries) = (0, 0);
    while from < changes.len() {
        deliveries += 1;
        assert!(deliveries <= offenders.len(), "no progress at {from}");
        let ended = fates_of(&trial.adapter, &trial.metrics, &changes[from..]).await;
        let failed = ended
            .iter()
            .position(|fate| fate.starts_with("failed"))
            .map_or(changes.len(), |at| from + at);
        fates[from..].clone_from_slice(&ended);
        assert!(failed > from, "nothing was settled: {}", fates[from]);
        from = failed;
    }
    for (number, fate) in fates.iter().enumerate() {
        let expected = if offenders.contains(&number) {
            "rejected"
        } else {
            "delivered"
        };
        assert!(fate.starts_with(expected), "{number}: {fate}");
    }
    assert_eq!(trial.held().len(), changes.len() - offenders.len());
}
