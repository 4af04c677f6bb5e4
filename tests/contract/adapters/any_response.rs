//! No response of a system causes a panic, a loop or a lost record. The cases send real responses
//! with changed parts, and random trees of JSON.

use contact_sync::model::Reply as AdapterReply;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use testkit::server::{Answer, Mangle};
use testkit::system::{self, Fault, Start};
use testkit::words::deletion;

use super::trial::{Trial, person};

/// Bound of the API calls of one call, pages of a look-up included.
const MOST_CALLS: usize = 30;

const STATUSES: [u16; 16] = [
    200, 200, 200, 200, 207, 400, 401, 403, 404, 409, 413, 423, 429, 477, 500, 503,
];

/// Words that the parsers search for, so that random responses reach their branches.
const WORDS: [&str; 40] = [
    "id",
    "success",
    "errors",
    "results",
    "status",
    "statusCode",
    "errorCode",
    "message",
    "fields",
    "category",
    "context",
    "ids",
    "objectWriteTraceId",
    "properties",
    "source_id",
    "email",
    "done",
    "totalSize",
    "records",
    "nextRecordsUrl",
    "Id",
    "Source_Id__c",
    "existingId",
    "policyName",
    "errorType",
    "correlationId",
    "subCategory",
    "code",
    "in",
    "identityProfile",
    "vid",
    "error",
    "lifecyclestage",
    "propertyName",
    "UNABLE_TO_LOCK_ROW",
    "INVALID_FIELD",
    "VALIDATION_ERROR",
    "OBJECT_NOT_FOUND",
    "CONFLICT",
    "Property values were not valid: [{",
];

const TEXTS: [&str; 10] = [
    "",
    "C-1",
    "c-2",
    "0",
    "2",
    "p1@example.com",
    "50001",
    "COMPLETE",
    "/services/data/v67.0/query/01g0-2000",
    "Duplicate IDs found in batch input: [C-1, p1@example.com]. IDs must be unique",
];

fn leaf(random: &mut fastrand::Rng) -> Value {
    match random.u32(..8) {
        0 => Value::Null,
        1 => random.bool().into(),
        2 => random.i64(-3..1000).into(),
        3 => json!(-1.5e300),
        4 => WORDS[random.usize(..WORDS.len())].into(),
        5 => "é🚀\u{0}".repeat(random.usize(..40)).into(),
        _ => TEXTS[random.usize(..TEXTS.len())].into(),
    }
}

fn tree(random: &mut fastrand::Rng, depth: u32) -> Value {
    match random.u32(..4) {
        _ if depth == 0 => leaf(random),
        0 => leaf(random),
        1 => (0..random.usize(..4))
            .map(|_| tree(random, depth - 1))
            .collect(),
        _ => {
            let mut fields = Map::new();
            for _ in 0..random.usize(..5) {
                fields.insert(
                    WORDS[random.usize(..WORDS.len())].to_owned(),
                    tree(random, depth - 1),
                );
            }
            Value::Object(fields)
        }
    }
}

/// Changes one part of `value` at a random depth.
fn mutate(value: &mut Value, random: &mut fastrand::Rng) {
    match value {
        Value::Array(list) if !list.is_empty() && random.u32(..4) > 0 => {
            let at = random.usize(..list.len());
            match random.u32(..6) {
                0 => drop(list.remove(at)),
                1 => list.push(list[at].clone()),
                2 => list.swap(0, at),
                _ => mutate(&mut list[at], random),
            }
        }
        Value::Object(fields) if !fields.is_empty() && random.u32(..6) > 0 => {
            let name = fields
                .keys()
                .nth(random.usize(..fields.len()))
                .cloned()
                .unwrap_or_default();
            match random.u32(..6) {
                0 => drop(fields.remove(&name)),
                1 => drop(fields.insert(
                    WORDS[random.usize(..WORDS.len())].to_owned(),
                    tree(random, 2),
                )),
                _ => mutate(&mut fields[&name], random),
            }
        }
        other => *other = tree(random, 2),
    }
}

fn mangle(seed: u64) -> Mangle {
    Mangle::new(move |answer: &mut Answer| {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if random.u32(..4) == 0 {
            body = tree(&mut random, 4);
            answer.status = STATUSES[random.usize(..STATUSES.len())];
        } else {
            for _ in 0..random.u32(1..4) {
                mutate(&mut body, &mut random);
            }
        }
        answer.body = body.to_string().into_bytes();
        if random.u32(..10) == 0 {
            answer.body.truncate(random.usize(..=answer.body.len()));
        }
    })
}

async fn survives(start: Start, seed: u64) {
    let trial = Trial::new(start().await);
    let people = trial.people(1..=3);
    trial.upsert(&people).await.expect("a credential");
    for round in 0..6 {
        // A delete is two calls: in some rounds the first response stays unchanged, and the second
        // is changed.
        let later = round % 3 == 2;
        let steps = if later {
            vec![Mangle::new(|_| {}), mangle(seed ^ round)]
        } else {
            vec![mangle(seed ^ round)]
        };
        for mangle in steps {
            trial.inject(Fault::Mangled(mangle));
        }
        let work = async {
            if round % 3 == 0 {
                trial.upsert(&people).await
            } else {
                trial.delete(&["C-1", "C-2", "C-3"].map(deletion)).await
            }
        };
        let (reply, calls) = trial.calls_of(work).await;
        assert!(
            calls <= MOST_CALLS,
            "seed {seed}, round {round}: {calls} calls"
        );
        check(&reply, seed, round);
        // Uses up the remaining script, and restores the state.
        for _ in 0..3 {
            drop(trial.upsert(&people).await);
        }
        assert_eq!(trial.held().len(), 3, "seed {seed}, round {round}");
    }
}

fn check(reply: &AdapterReply, seed: u64, round: u64) {
    if let Ok(outcomes) = reply {
        assert_eq!(outcomes.len(), 3, "seed {seed}, round {round}");
    }
    let shown = format!("{reply:?}");
    assert!(
        !shown.contains("example.com") && !shown.contains("Person"),
        "seed {seed}, round {round}: {shown}"
    );
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_response_of_salesforce_panics_loops_or_loses_a_record(seed in any::<u64>()) {
        block_on(survives(system::salesforce, seed));
    }

    #[test]
    fn no_response_to_several_collections_panics_loops_or_loses_a_record(seed in any::<u64>()) {
        block_on(survives(system::salesforce_collections, seed));
    }

    #[test]
    fn no_response_of_hubspot_panics_loops_or_loses_a_record(seed in any::<u64>()) {
        block_on(survives(system::hubspot, seed));
    }

    #[test]
    fn no_response_of_the_third_system_panics_loops_or_loses_a_record(seed in any::<u64>()) {
        block_on(survives(system::tinycrm, seed));
    }
}

#[test]
fn mangled_responses_differ() {
    let row = |id: &str| json!({"id": id, "success": true, "errors": []});
    let real = json!([row("1"), row("2")]);
    let different = (0..200).filter(|seed| {
        let mut answer = Answer::json(200, &real);
        mangle(*seed).apply(&mut answer);
        answer.body != real.to_string().as_bytes()
    });
    assert!(different.count() > 150);
    assert_eq!(
        person(1).contact.id.as_str(),
        "C-1",
        "the texts above name contacts that are sent"
    );
}
