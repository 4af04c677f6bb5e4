//! Laws of `Adapter::transform`.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use contact_sync::model::{Contact, ContactChange, ContactType, Field, Operation, Text};
use testkit::words::{deletion, words};

use super::trial::{Trial, person};

/// Seeds of the sequences of changes.
const SEEDS: std::ops::Range<u64> = 0..60;

pub async fn folded_changes_leave_the_record_that_separate_writes_leave(trial: &Trial) {
    for seed in SEEDS {
        let changes = changes(seed);
        for change in &changes {
            assert_eq!(
                words(&trial.upsert(&[trial.payload(&[change])]).await).len(),
                1,
                "seed {seed}"
            );
        }
        let one_by_one = trial.system.records();
        trial.delete(&[deletion("C-1")]).await.expect("deleted");
        let folded = trial.payload(&changes.iter().collect::<Vec<_>>());
        trial.upsert(&[folded]).await.expect("written");
        assert_eq!(trial.system.records(), one_by_one, "seed {seed}");
        trial.delete(&[deletion("C-1")]).await.expect("deleted");
    }
}

/// Returns the creation of a contact, and changes of it.
fn changes(seed: u64) -> Vec<ContactChange> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut changes = vec![person(1)];
    for version in 0..random.u64(1..6) {
        let mut change = person(1);
        change.version = Some(11 + version);
        change.operation = if random.u32(..4) == 0 {
            Operation::Create
        } else {
            Operation::Update
        };
        change.contact =
            Contact::bare(change.contact.id, Some(ContactType::ALL[random.usize(..4)]));
        for field in texts(&mut change.contact) {
            *field = match random.u32(..3) {
                0 => Field::Absent,
                1 => Field::Null,
                _ => Field::Value(format!("value {version}").into()),
            };
        }
        changes.push(change);
    }
    changes
}

/// Returns the fields that may hold any text.
fn texts(contact: &mut Contact) -> [&mut Text; 13] {
    [
        &mut contact.first_name,
        &mut contact.last_name,
        &mut contact.company,
        &mut contact.job_title,
        &mut contact.phone,
        &mut contact.mobile_phone,
        &mut contact.website,
        &mut contact.street,
        &mut contact.city,
        &mut contact.state,
        &mut contact.postal_code,
        &mut contact.country,
        &mut contact.lead_source,
    ]
}

pub async fn an_absent_field_keeps_its_value(trial: &Trial) {
    trial.upsert(&trial.people([1])).await.expect("written");
    let records = trial.system.records();
    let mut silent = person(1);
    silent.operation = Operation::Update;
    silent.contact = Contact::bare(silent.contact.id, None);
    assert_eq!(
        words(&trial.upsert(&[trial.payload(&[&silent])]).await),
        ["delivered"]
    );
    assert_eq!(trial.system.records(), records);
}

pub async fn a_cleared_field_is_removed(trial: &Trial) {
    trial.upsert(&trial.people([1])).await.expect("written");
    let before = trial.system.records()["c-1"].clone();
    let mut clear = person(1);
    clear.operation = Operation::Update;
    clear.contact = Contact {
        job_title: Field::Null,
        ..Contact::bare(clear.contact.id, None)
    };
    assert_eq!(
        words(&trial.upsert(&[trial.payload(&[&clear])]).await),
        ["delivered"]
    );
    let after = &trial.system.records()["c-1"];
    let gone: Vec<_> = before
        .iter()
        .filter(|(name, _)| !after.contains_key(*name))
        .collect();
    assert_eq!((gone.len(), before.len() - after.len()), (1, 1), "{gone:?}");
    assert_eq!(gone[0].1, "Engineer");
}

pub async fn no_transformed_value_is_too_long_for_the_system(trial: &Trial) {
    for letter in ["x", "é", "🚀"] {
        for length in [20, 21, 40, 41, 80, 81, 128, 129, 255, 256, 70_000] {
            let mut change = person(1);
            let text = letter.repeat(length);
            for (at, field) in texts(&mut change.contact).into_iter().enumerate() {
                // Neither system accepts a part of a number or of an address of a site.
                if ![4, 5, 6, 12].contains(&at) {
                    *field = Field::Value(text.clone().into());
                }
            }
            let transformed = trial.adapter.transform(&[&change]);
            assert!(
                transformed.rejected.is_empty(),
                "{length} × {letter}: {:?}",
                transformed.rejected
            );
            assert!(
                length < 70_000 || transformed.counts.cut > 0,
                "a cut is counted"
            );
            let reply = trial.upsert(&[trial.payload(&[&change])]).await;
            assert_eq!(words(&reply), ["delivered"], "{length} × {letter}");
        }
    }
}

pub async fn a_change_that_can_never_be_written_is_rejected_alone(trial: &Trial) {
    let mut changes = [person(1), person(1), person(1)];
    changes[1].contact.email = Field::Value(format!("{}@example.com", "x".repeat(70_000)).into());
    changes[1].contact.company = Field::Value("Never".into());
    changes[2].contact.job_title = Field::Value("Countess".into());
    let transformed = trial.adapter.transform(&changes.iter().collect::<Vec<_>>());
    let [(1, rejection)] = &transformed.rejected[..] else {
        panic!("{:?}", transformed.rejected)
    };
    assert_eq!(rejection.fields.len(), 1);
    assert!(!format!("{rejection:?}{}", rejection.message).contains("example.com"));
    let body = transformed.body.expect("the others are written");
    assert!(body.get().contains("Countess") && !body.get().contains("Never"));
    assert!(trial.adapter.transform(&[&changes[1]]).body.is_none());
}
