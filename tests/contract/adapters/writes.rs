//! Writes and deletes of a system without faults.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use contact_sync::model::{Field, Outcome};
use testkit::words::{deletion, id, words};

use super::trial::{Trial, person};

pub async fn written_records_exist_and_deleted_records_are_gone(trial: &Trial) {
    assert_eq!(
        words(&trial.upsert(&trial.people(1..=3)).await),
        ["delivered"; 3]
    );
    assert_eq!(trial.held(), ["c-1", "c-2", "c-3"]);
    let reply = words(&trial.delete(&["C-2", "c-3", "C-9"].map(deletion)).await);
    assert_eq!(reply.len(), 3);
    assert!(
        reply.iter().all(|word| word.starts_with("delivered")),
        "what does not exist is gone: {reply:?}"
    );
    assert_eq!(trial.held(), ["c-1"]);
}

pub async fn repeating_a_call_is_harmless(trial: &Trial) {
    let people = trial.people(1..=3);
    assert_eq!(words(&trial.upsert(&people).await), ["delivered"; 3]);
    let records = trial.system.records();
    assert_eq!(words(&trial.upsert(&people).await), ["delivered"; 3]);
    assert_eq!(trial.system.records(), records);
    for _ in 0..2 {
        let reply = words(&trial.delete(&["C-1", "C-2"].map(deletion)).await);
        assert!(
            reply.iter().all(|word| word.starts_with("delivered")),
            "{reply:?}"
        );
        assert_eq!(trial.held(), ["c-3"]);
    }
}

pub async fn ids_that_differ_in_letter_case_are_one_contact(trial: &Trial) {
    let upper = person(1);
    let mut lower = person(1);
    lower.contact.id = id("c-1");
    lower.contact.job_title = Field::Value("Looms".into());
    for change in [&upper, &lower] {
        assert_eq!(
            words(&trial.upsert(&[trial.payload(&[change])]).await),
            ["delivered"]
        );
    }
    let records = trial.system.records();
    assert_eq!(records.len(), 1);
    assert!(records["c-1"].values().any(|value| value == "Looms"));
}

pub async fn a_full_batch_takes_the_calls_that_the_limits_report(trial: &Trial) {
    let limits = trial.adapter.limits();
    trial
        .upsert(&trial.people([0]))
        .await
        .expect("a credential");
    let people = trial.people(1..=limits.upsert);
    let (reply, calls) = trial.calls_of(trial.upsert(&people)).await;
    assert_eq!(words(&reply), vec!["delivered"; limits.upsert]);
    assert_eq!(calls, limits.upsert_calls as usize);
    let gone: Vec<_> = (0..limits.delete)
        .map(|number| deletion(&format!("C-{number}")))
        .collect();
    let (reply, calls) = trial.calls_of(trial.delete(&gone)).await;
    assert_eq!(words(&reply), vec!["delivered"; limits.delete]);
    assert!(calls <= limits.delete_calls as usize, "{calls} calls");
    assert_eq!(trial.held().len(), limits.upsert + 1 - limits.delete);
}

pub async fn a_dry_run_looks_up_and_writes_nothing(trial: &Trial) {
    trial.upsert(&trial.people(1..=2)).await.expect("written");
    let records = trial.system.records();
    let mut people = trial.people(1..=3);
    people[0].guarded = true;
    let [written, deleted] = trial.dry_run(&people, &["C-2", "C-9"].map(deletion)).await;
    let written = written.expect("outcomes");
    assert!(
        written.len() == 3 && written.iter().all(Outcome::is_dry_run),
        "{written:?}"
    );
    let deleted = deleted.expect("outcomes");
    assert_eq!(
        deleted.iter().map(Outcome::is_dry_run).collect::<Vec<_>>(),
        [true, false],
        "C-9 does not exist: {deleted:?}"
    );
    assert!(
        matches!(&deleted[1], Outcome::Delivered(Some(_))),
        "{deleted:?}"
    );
    assert_eq!(trial.system.records(), records);
}

pub async fn an_empty_payload_affects_no_neighbour(trial: &Trial) {
    let mut people = trial.people(1..=3);
    people[1].body = None;
    let reply = words(&trial.upsert(&people).await);
    assert_eq!(
        (reply.len(), &*reply[0], &*reply[2]),
        (3, "delivered", "delivered"),
        "{reply:?}"
    );
    assert!(trial.held().contains(&"c-1".to_owned()) && trial.held().contains(&"c-3".to_owned()));
}
