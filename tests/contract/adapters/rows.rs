//! Calls that succeed in part, and batches that are refused as a whole.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use contact_sync::adapters::{CallError, Outcome, Retry, RetryMode};
use contact_sync::contact::Field;
use testkit::dispatching::fates_of;
use testkit::listener::listen;
use testkit::system::Fault;
use testkit::words::{deletion, words};

use super::trial::{Trial, decides_nothing, person};

pub async fn one_bad_row_is_rejected_and_its_neighbours_are_written(trial: &Trial) {
    trial.strike(Fault::Rejected("C-2"));
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

pub async fn a_row_that_fails_for_now_succeeds_when_it_is_repeated(trial: &Trial) {
    trial.strike(Fault::Delayed("C-2"));
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

pub async fn a_delete_that_fails_spares_its_neighbours_and_is_repeated(trial: &Trial) {
    trial.upsert(&trial.people(1..=3)).await.expect("outcomes");
    let gone = ["C-1", "C-2", "C-3"].map(deletion);
    trial.strike(Fault::Delayed("C-2"));
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
    trial.strike(Fault::Rejected("C-2"));
    let reply = trial.delete(&gone[1..2]).await.expect("outcomes");
    assert!(matches!(&reply[..], [Outcome::Rejected(_)]), "{reply:?}");
    assert_eq!(words(&trial.delete(&gone[1..2]).await), ["delivered"]);
    assert_eq!(trial.held(), Vec::<String>::new());
}

pub async fn a_short_answer_acknowledges_nobody_that_it_does_not_tell_of(trial: &Trial) {
    let people = trial.people(1..=3);
    trial.strike(Fault::Short);
    if let Ok(outcomes) = trial.upsert(&people).await {
        let delivered = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Outcome::Delivered(_)))
            .count();
        let again = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Outcome::Retry(_)))
            .count();
        assert!(delivered < 3 && delivered + again == 3, "{outcomes:?}");
    }
    assert_eq!(words(&trial.upsert(&people).await), ["delivered"; 3]);
}

pub async fn a_success_that_tells_of_nobody_acknowledges_nobody(trial: &Trial) {
    let people = trial.people(1..=3);
    trial.strike(Fault::Mute);
    let reply = trial.upsert(&people).await;
    assert!(decides_nothing(&reply), "{:?}", words(&reply));
    assert_eq!(words(&trial.upsert(&people).await), ["delivered"; 3]);
}

pub async fn what_an_answer_may_leave_out_is_not_missed(trial: &Trial) {
    let people = trial.people(1..=3);
    trial.strike(Fault::Sparse);
    assert_eq!(words(&trial.upsert(&people).await), ["delivered"; 3]);
    assert_eq!(trial.held().len(), 3);
}

/// At once, or after all others.
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
    let heard = listen();
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
    let fates = fates_of(&trial.adapter, &trial.meter, &changes).await;
    assert!(fates[1].starts_with("rejected"), "{fates:?}");
    let shown = format!("{reply:?} {payloads:?} {:?}", heard.lines());
    assert!(
        !shown.contains("sesame") && !shown.contains("example.com"),
        "{shown}"
    );
}

pub async fn a_long_answer_rejects_nobody(trial: &Trial) {
    let people = trial.people(1..=3);
    trial.strike(Fault::Long);
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

pub async fn a_poisonous_batch_is_refused_and_passes_without_its_culprit(trial: &Trial) {
    trial.strike(Fault::Poison("C-2".to_owned()));
    let people = trial.people(1..=3);
    for company in [&people[..], &people[1..2]] {
        match trial.upsert(company).await {
            Err(CallError::Refused { suspects, .. }) => {
                assert!(suspects.iter().all(|at| *at < company.len()));
            }
            // Alone, it may be judged like a row among others.
            Ok(outcomes) if company.len() == 1 => {
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

/// A search has few calls, so that an invocation finds one culprit. Kinesis sends again from the
/// lowest record that failed: each delivery has to settle one culprit more.
pub async fn many_culprits_are_found_delivery_by_delivery(trial: &Trial) {
    const CULPRITS: [usize; 9] = [0, 1, 2, 13, 40, 41, 77, 98, 99];
    let changes: Vec<_> = (0..trial.adapter.limits().upsert).map(person).collect();
    let culprits: Vec<usize> = CULPRITS
        .into_iter()
        .filter(|number| *number < changes.len())
        .collect();
    culprits
        .iter()
        .for_each(|number| trial.strike(Fault::Poison(format!("C-{number}"))));
    let mut fates = vec![String::new(); changes.len()];
    let (mut from, mut deliveries) = (0, 0);
    while from < changes.len() {
        deliveries += 1;
        assert!(deliveries <= culprits.len(), "no progress at {from}");
        let told = fates_of(&trial.adapter, &trial.meter, &changes[from..]).await;
        let failed = told
            .iter()
            .position(|fate| fate.starts_with("failed"))
            .map_or(changes.len(), |at| from + at);
        fates[from..].clone_from_slice(&told);
        assert!(failed > from, "nothing was settled: {}", fates[from]);
        from = failed;
    }
    for (number, fate) in fates.iter().enumerate() {
        let expected = if culprits.contains(&number) {
            "rejected"
        } else {
            "delivered"
        };
        assert!(fate.starts_with(expected), "{number}: {fate}");
    }
    assert_eq!(trial.held().len(), changes.len() - culprits.len());
}
