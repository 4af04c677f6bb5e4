//! The adapter behind the real dispatcher: what becomes of each record in the end, and what it costs in calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::Adapter;
use contact_sync::contact::{ContactChange, Operation};
use contact_sync::dispatch::settings::{RateLimit, Retry};
use contact_sync::dispatch::{ApiDispatcher, Breaker, Concurrency, Errand, RateLimiter, RetryPolicy};
use contact_sync::fold::Step;
use contact_sync::settle::{Ledger, Sink, Verdict};
use contact_sync::transform::{GuardMode, SchemaTransformer};
use serde_json::json;
use smallvec::smallvec;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::portal::{Portal, person};
use crate::support::mock_hubspot::Endpoint;
use crate::support::server::{Answer, Reply};

/// Sends changes of distinct contacts to their end; gives how often each fate occurs.
async fn dispatch(portal: &Portal, changes: Vec<ContactChange>) -> BTreeMap<String, usize> {
    let adapter: Arc<dyn Adapter> = Arc::clone(&portal.hubspot) as _;
    let dispatcher = ApiDispatcher {
        adapter: Arc::clone(&adapter),
        retry: RetryPolicy::new(Retry { max_attempts: 6, base_delay_ms: 1, max_delay_ms: 5 }),
        rate_limiter: Arc::new(RateLimiter::new(RateLimit { requests: 1_000_000, per_ms: 1_000 }, 1)),
        breaker: Arc::new(Breaker::default()),
        concurrency: Arc::new(Concurrency::new(4)),
        dry_run: false,
    };
    let steps: Vec<_> = changes.iter().enumerate().map(|(at, change)| step(at, change.operation)).collect();
    let changes: Vec<_> = changes.into_iter().map(Some).collect();
    let ledger = Ledger::new(changes.len());
    (0..changes.len()).for_each(|position| ledger.expect(position, &[0]));
    let sink = Sink { ledger: &ledger, destination: 0, meter: &portal.meter };
    let transformer = SchemaTransformer { adapter: &*adapter, guard: GuardMode::Off, changes: &changes, sink };
    let deadline = Instant::now() + Duration::from_mins(1);
    let errand = Errand { deadline, transformer: &transformer, sink, meter: &portal.meter };
    let (sender, queue) = mpsc::channel(512);
    tokio::join!(transformer.run(&steps, 64, sender), dispatcher.run(queue, errand));
    let mut fates = BTreeMap::new();
    for entry in ledger.close() {
        *fates.entry(fate(entry.rows[0].verdict.as_ref())).or_default() += 1;
    }
    fates
}

fn step(at: usize, operation: Operation) -> Step {
    match operation {
        Operation::Delete => Step { delete: smallvec![at], upsert: smallvec![] },
        Operation::Create | Operation::Update => Step { delete: smallvec![], upsert: smallvec![at] },
    }
}

fn fate(verdict: Option<&Verdict>) -> String {
    match verdict {
        Some(Verdict::Delivered(_)) => "delivered".to_owned(),
        Some(Verdict::Rejected(_, rejection)) => format!("rejected {}", rejection.code),
        Some(Verdict::Failed(code)) => format!("failed {code}"),
        other => format!("{other:?}"),
    }
}

fn fates<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected.into_iter().map(|(fate, count)| (fate.to_owned(), count)).collect()
}

fn people(count: usize) -> Vec<ContactChange> {
    (0..count).map(person).collect()
}

#[tokio::test]
async fn one_poison_input_in_a_full_batch_costs_one_input_and_at_most_16_calls_more() {
    for culprit in [0, 1, 37, 50, 99] {
        let portal = Portal::new().await;
        portal.mock.poison(&format!("C-{culprit}"));
        let expected = fates([("delivered", 99), ("rejected CONFLICT", 1)]);
        assert_eq!(dispatch(&portal, people(100)).await, expected, "{culprit}");
        let calls = portal.mock.count(Endpoint::Upsert);
        assert!(calls <= 17, "{culprit}: {calls} calls");
        portal.assert_polite();
    }
}

#[tokio::test]
async fn ten_thousand_contacts_come_and_go_in_a_hundred_and_two_hundred_calls() {
    let portal = Portal::new().await;
    assert_eq!(dispatch(&portal, people(10_000)).await, fates([("delivered", 10_000)]));
    assert_eq!((portal.mock.seen().len(), portal.mock.contacts().len()), (100, 10_000));
    let mut gone = people(10_000);
    gone.iter_mut().for_each(|change| change.operation = Operation::Delete);
    assert_eq!(dispatch(&portal, gone).await, fates([("delivered", 10_000)]));
    assert_eq!((portal.mock.seen().len(), portal.mock.contacts().len()), (300, 0));
    portal.assert_polite();
}

#[tokio::test]
async fn passing_trouble_delays_and_loses_nothing() {
    let silent = Answer::json(200, &json!({"status": "COMPLETE", "results": []}));
    let unnamed = Answer::json(207, &json!({"results": [], "errors": [{"category": "VALIDATION_ERROR"}]}));
    for reply in [
        Reply::Answer(silent.clone()),
        Reply::Answer(unnamed),
        Reply::Cut(silent),
        Reply::Reset,
        Reply::Answer(Answer::html(502, "<html>")),
        Reply::Answer(Answer::empty(423)),
    ] {
        let portal = Portal::new().await;
        portal.mock.next(reply.clone());
        assert_eq!(dispatch(&portal, people(250)).await, fates([("delivered", 250)]), "{reply:?}");
        assert_eq!(portal.mock.contacts().len(), 250);
    }
}

#[tokio::test]
async fn an_error_that_names_nobody_finds_its_row_in_the_end() {
    let portal = Portal::new().await;
    portal.mock.fail_unnamed("C-5", json!({"category": "VALIDATION_ERROR"}));
    let expected = fates([("delivered", 19), ("rejected VALIDATION_ERROR", 1)]);
    assert_eq!(dispatch(&portal, people(20)).await, expected);
}

#[tokio::test]
async fn a_refused_token_or_scope_rejects_nobody() {
    let portal = Portal::new().await;
    portal.mock.rotate_token("pat-mock-2");
    let expected = fates([("failed INVALID_AUTHENTICATION", 250)]);
    assert_eq!(dispatch(&portal, people(250)).await, expected);
    assert!(portal.mock.refused_tokens() <= 4, "only what was under way already");

    let portal = Portal::new().await;
    portal.mock.next(Answer::json(403, &json!({"category": "MISSING_SCOPES"})));
    assert_eq!(dispatch(&portal, people(50)).await, fates([("failed MISSING_SCOPES", 50)]));
}
