//! Several collections in one call: each is answered by itself, the failure of one touches only its
//! own records, and any number of collections in a call leaves the same records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contact_sync::adapters::Adapter;
use contact_sync::dispatch::{ApiDispatcher, RetryPolicy};
use contact_sync::model::limits::Retry;
use contact_sync::model::{ContactChange, ContactId, Field, Operation};
use serde_json::json;
use testkit::dispatching::{count, dispatcher_of, fates, fates_by};
use testkit::evidence::{seeds, write_report};
use testkit::mock_salesforce::{Endpoint, Subfault, refusal, row_error};
use testkit::org::{Org, deletion, words};
use testkit::server::{Answer, Mangle, Reply};
use testkit::words::newcomers;

/// Time of an invocation.
const TIME: Duration = Duration::from_mins(1);

/// Builds a dispatcher with short waits.
fn dispatcher(org: &Org) -> ApiDispatcher {
    let adapter: Arc<dyn Adapter> = Arc::clone(&org.salesforce) as _;
    ApiDispatcher {
        retry: RetryPolicy::new(Retry {
            base_delay_ms: 1,
            max_delay_ms: 5,
            ..Retry::standard()
        }),
        ..dispatcher_of(&adapter)
    }
}

/// Sends changes of distinct contacts in one invocation. Returns the fate of each.
async fn fates_in(org: &Org, changes: &[ContactChange]) -> Vec<String> {
    fates_by(&dispatcher(org), &org.metrics, changes, TIME).await
}

/// Sends changes of distinct contacts in one invocation. Returns how often each fate occurs.
async fn dispatch(org: &Org, changes: &[ContactChange]) -> BTreeMap<String, usize> {
    count(&fates_in(org, changes).await)
}

/// Starts an org whose adapter sends this many collections of this many records in a call.
async fn org_of(collections: usize, batch_size: usize) -> Org {
    Org::with(
        |_| {},
        |settings| {
            settings.batch_size = batch_size;
            settings.collections_per_call = collections;
        },
    )
    .await
}

/// Returns the sizes of the subrequests.
fn parts(org: &Org) -> Vec<usize> {
    org.mock
        .subrequests()
        .iter()
        .map(|part| part.size)
        .collect()
}

#[tokio::test]
async fn each_collection_of_a_call_has_the_headers_of_a_call_of_its_own() {
    let org = Org::with_collections().await;
    assert_eq!(words(&org.upsert(&org.leads(0..5)).await), ["delivered"; 5]);
    assert_eq!(org.mock.sizes(Endpoint::Composite), [5]);
    assert_eq!(parts(&org), [2, 2, 1]);
    for part in org.mock.subrequests() {
        assert_eq!(part.header("sforce-auto-assign"), Some("FALSE"));
        assert_eq!(
            part.header("sforce-duplicate-rule-header"),
            Some("allowSave=true")
        );
        assert_eq!(part.header("sforce-call-options"), None);
    }
    let call = org.mock.seen().pop().expect("a call");
    assert_eq!(call.header("content-type"), Some("application/json"));
    org.assert_polite();
}

#[tokio::test]
async fn a_batch_that_fits_into_a_collection_is_sent_as_without_the_setting() {
    let org = Org::with_collections().await;
    assert_eq!(words(&org.upsert(&org.leads(0..2)).await), ["delivered"; 2]);
    assert_eq!(
        (
            org.mock.sizes(Endpoint::Upsert),
            org.mock.count(Endpoint::Composite)
        ),
        (vec![2], 0)
    );
    org.assert_polite();
}

/// Sends six records in three collections, of which the second one has the fault.
async fn outcomes_with(fault: Subfault) -> Vec<String> {
    let org = Org::with_collections().await;
    org.mock.fail_subrequest(1, fault);
    let reply = words(&org.upsert(&org.leads(0..6)).await);
    assert_eq!(
        org.mock.seen().len() - org.mock.count(Endpoint::Token),
        1,
        "an adapter tries once"
    );
    reply
}

#[tokio::test]
async fn the_failure_of_a_collection_touches_only_its_records() {
    let row = json!({"success": true, "id": "00Q1", "errors": [], "created": false});
    let short = Mangle::json(|rows| {
        rows.as_array_mut().expect("rows").pop();
    });
    let long = Mangle::json(move |rows| rows.as_array_mut().expect("rows").push(row.clone()));
    let json_error = refusal(400, "JSON_PARSER_ERROR", "Unexpected character");
    let missing_field = refusal(400, "INVALID_FIELD", "No such column 'Nowhere__c'");
    let too_long = refusal(
        400,
        "REQUEST_RUNNING_TOO_LONG",
        "Your request was running for too long",
    );
    let halted = refusal(400, "PROCESSING_HALTED", "Invalid reference specified.");
    let locked = refusal(
        500,
        "UNABLE_TO_LOCK_ROW",
        "unable to obtain exclusive access",
    );
    let busy = refusal(503, "SERVER_UNAVAILABLE", "Server Unavailable");
    let concurrent = refusal(
        403,
        "REQUEST_LIMIT_EXCEEDED",
        "ConcurrentPerOrgLongTxn Limit exceeded.",
    );
    let used_up = refusal(
        403,
        "REQUEST_LIMIT_EXCEEDED",
        "TotalRequests Limit exceeded.",
    );
    let session = refusal(401, "INVALID_SESSION_ID", "Session expired or invalid");
    let absent = refusal(404, "NOT_FOUND", "The requested resource does not exist");
    for (fault, expected) in [
        (
            Subfault::Answer(Answer::html(500, "<h1>Sorry</h1>")),
            ["isolated HTTP_500"; 2],
        ),
        (Subfault::Answer(Answer::empty(504)), ["halved HTTP_504"; 2]),
        (Subfault::Answer(Answer::empty(429)), ["again HTTP_429"; 2]),
        (Subfault::Answer(busy), ["isolated SERVER_UNAVAILABLE"; 2]),
        (
            Subfault::Answer(json_error),
            ["halved JSON_PARSER_ERROR"; 2],
        ),
        (Subfault::Answer(missing_field), ["halved INVALID_FIELD"; 2]),
        (
            Subfault::Answer(too_long),
            ["halved REQUEST_RUNNING_TOO_LONG"; 2],
        ),
        (Subfault::Answer(halted), ["halved PROCESSING_HALTED"; 2]),
        (Subfault::Answer(locked), ["halved UNABLE_TO_LOCK_ROW"; 2]),
        (
            Subfault::Answer(concurrent),
            ["again REQUEST_LIMIT_EXCEEDED"; 2],
        ),
        (
            Subfault::Answer(used_up),
            ["isolated REQUEST_LIMIT_EXCEEDED"; 2],
        ),
        (
            Subfault::Answer(session),
            ["isolated INVALID_SESSION_ID"; 2],
        ),
        (Subfault::Answer(absent), ["isolated NOT_FOUND"; 2]),
        (Subfault::Omitted, ["isolated NO_RESULT"; 2]),
        (Subfault::Lost, ["isolated NO_RESULT"; 2]),
        (Subfault::Entry(json!(null)), ["isolated NO_RESULT"; 2]),
        (
            Subfault::Entry(json!({"referenceId": "part_1"})),
            ["isolated NO_RESULT"; 2],
        ),
        (
            Subfault::Entry(json!({"referenceId": "part_1", "httpStatusCode": 200})),
            ["isolated UNREADABLE_ANSWER"; 2],
        ),
        (Subfault::Mangled(long), ["isolated UNREADABLE_ANSWER"; 2]),
        (
            Subfault::Mangled(short),
            ["delivered", "isolated NO_RESULT"],
        ),
        (
            Subfault::Mangled(Mangle::json(|rows| *rows = json!("page"))),
            ["isolated UNREADABLE_ANSWER"; 2],
        ),
    ] {
        let shown = format!("{fault:?}");
        let reply = outcomes_with(fault).await;
        assert_eq!(
            (reply.len(), &reply[2..4]),
            (6, &expected.map(str::to_owned)[..]),
            "{shown}"
        );
        let others = [&reply[..2], &reply[4..]].concat();
        assert_eq!(others, ["delivered"; 4], "{shown}");
    }
}

#[tokio::test]
async fn an_answer_that_belongs_to_another_call_acknowledges_no_record() {
    for entry in [
        json!({"referenceId": "part_0", "httpStatusCode": 200, "body": []}),
        json!({"referenceId": "part_9", "httpStatusCode": 200, "body": []}),
        json!({"referenceId": "other", "httpStatusCode": 200, "body": []}),
    ] {
        let reply = outcomes_with(Subfault::Entry(entry.clone())).await;
        assert_eq!(reply, ["retry UNREADABLE_ANSWER"], "{entry}");
    }
}

#[tokio::test]
async fn a_call_of_which_every_collection_fails_alike_fails_as_a_whole() {
    let used_up = refusal(
        403,
        "REQUEST_LIMIT_EXCEEDED",
        "TotalRequests Limit exceeded.",
    );
    let parser = refusal(400, "JSON_PARSER_ERROR", "Unexpected character");
    let too_long = refusal(400, "REQUEST_RUNNING_TOO_LONG", "too long");
    for (answer, expected) in [
        (Answer::empty(500), "retry HTTP_500"),
        (Answer::empty(429), "throttled HTTP_429"),
        (used_up, "stop quota REQUEST_LIMIT_EXCEEDED"),
        (parser, "refused JSON_PARSER_ERROR []"),
        (too_long, "retry REQUEST_RUNNING_TOO_LONG"),
    ] {
        let org = Org::with_collections().await;
        for at in 0..3 {
            org.mock
                .fail_subrequest(at, Subfault::Answer(answer.clone()));
        }
        let reply = words(&org.upsert(&org.leads(0..6)).await);
        assert_eq!(reply, [expected]);
    }
    // Different failures have no common cause.
    let org = Org::with_collections().await;
    for (at, answer) in [(0, Answer::empty(500)), (1, Answer::empty(504))] {
        org.mock.fail_subrequest(at, Subfault::Answer(answer));
    }
    assert_eq!(
        words(&org.upsert(&org.leads(0..4)).await),
        [
            "isolated HTTP_500",
            "isolated HTTP_500",
            "halved HTTP_504",
            "halved HTTP_504"
        ]
    );
}

#[tokio::test]
async fn the_failure_of_the_whole_call_is_classified_as_that_of_a_single_collection() {
    let limit = json!([{"errorCode": "LIMIT_EXCEEDED", "message": "at most 25 operations"}]);
    let result =
        json!({"body": limit, "httpStatusCode": 400, "httpHeaders": {}, "referenceId": null});
    let refused = json!({"compositeResponse": [result]});
    let field = refusal(
        400,
        "INVALID_FIELD",
        "No such column 'Email' on sobject of type Lead",
    );
    let too_long = refusal(400, "REQUEST_RUNNING_TOO_LONG", "too long");
    for (answer, expected) in [
        (
            refusal(503, "SERVER_UNAVAILABLE", "Server Unavailable"),
            "retry SERVER_UNAVAILABLE",
        ),
        (
            refusal(400, "JSON_PARSER_ERROR", "Unexpected"),
            "refused JSON_PARSER_ERROR []",
        ),
        (
            refusal(403, "API_DISABLED_FOR_ORG", ""),
            "stop configuration API_DISABLED_FOR_ORG",
        ),
        (field, "refused INVALID_FIELD []"),
        (too_long, "retry REQUEST_RUNNING_TOO_LONG"),
        (Answer::json(200, &refused), "retry LIMIT_EXCEEDED"),
        (Answer::json(400, &refused), "retry HTTP_400"),
        (
            Answer::json(200, &json!({"compositeResponse": []})),
            "retry UNREADABLE_ANSWER",
        ),
        (Answer::json(200, &json!([])), "retry UNREADABLE_ANSWER"),
        (
            Answer::html(200, "<h1>Sorry</h1>"),
            "retry UNREADABLE_ANSWER",
        ),
    ] {
        let org = Org::with_collections().await;
        let shown = format!("{answer:?}");
        org.mock.next(answer);
        assert_eq!(
            words(&org.upsert(&org.leads(0..6)).await),
            [expected],
            "{shown}"
        );
        assert!(org.mock.leads().is_empty());
    }
}

#[tokio::test]
async fn an_ended_session_is_renewed_and_the_call_repeated() {
    let org = Org::with_collections().await;
    let leads = org.leads(0..6);
    assert_eq!(words(&org.upsert(&leads).await), ["delivered"; 6]);
    org.mock.expire_tokens();
    assert_eq!(words(&org.upsert(&leads).await), ["delivered"; 6]);
    assert_eq!(
        (org.mock.count(Endpoint::Token), org.mock.refused_tokens()),
        (2, 1)
    );
}

#[tokio::test]
async fn a_text_that_a_call_of_several_collections_would_evaluate_arrives_unchanged() {
    let org = org_of(5, 2).await;
    let mut changes = newcomers(7);
    for (at, name) in [(1, "@{part_0[0].id}"), (4, "a @{b"), (5, "{@}")] {
        changes[at].contact.last_name = Field::Value(name.into());
    }
    assert_eq!(dispatch(&org, &changes).await, fates([("delivered", 7)]));
    for (at, name) in [(1, "@{part_0[0].id}"), (4, "a @{b"), (5, "{@}")] {
        let lead = org.mock.lead(&format!("C-{at}")).expect("written");
        assert_eq!(lead["LastName"], name);
    }
    assert_eq!(
        (parts(&org), org.mock.sizes(Endpoint::Upsert)),
        (vec![2, 2, 1], vec![2])
    );
    // An id of this kind is looked up by a query of its own.
    let ids = ["@{part_0.x}".to_owned(), "x".repeat(255)];
    let gone: Vec<_> = ids.iter().map(|id| deletion(id)).collect();
    assert_eq!(
        words(&org.delete(&gone).await),
        ["delivered ALREADY_GONE"; 2]
    );
    org.assert_polite();
}

#[tokio::test]
async fn a_failure_of_the_records_sent_by_themselves_keeps_the_outcomes_of_the_others() {
    let org = Org::with_collections().await;
    let mut changes = newcomers(5);
    changes[1].contact.last_name = Field::Value("@{x".into());
    let payloads: Vec<_> = changes.iter().map(|change| org.payload(change)).collect();
    org.mock.next_of(Endpoint::Upsert, Answer::html(502, ""));
    let mut expected = ["delivered"; 5];
    expected[1] = "isolated HTTP_502";
    assert_eq!(words(&org.upsert(&payloads).await), expected);
}

#[tokio::test]
async fn a_record_that_spoils_its_collection_or_its_call_is_rejected_alone() {
    let page = Answer::html(500, "<h1>Sorry</h1>");
    let parser = refusal(400, "JSON_PARSER_ERROR", "Unexpected character");
    for (is_whole_call, answer, code) in [
        (false, page.clone(), "rejected HTTP_500"),
        (false, parser.clone(), "rejected JSON_PARSER_ERROR"),
        (true, page, "rejected HTTP_500"),
        (true, parser, "rejected JSON_PARSER_ERROR"),
    ] {
        for offender in [0, 200, 999] {
            let org = org_of(5, 200).await;
            let id = format!("C-{offender}");
            if is_whole_call {
                org.mock.reply_to_each_with(&id, answer.clone());
            } else {
                org.mock.fail_requests_with(&id, answer.clone());
            }
            let expected = fates([("delivered", 999), (code, 1)]);
            let ended = dispatch(&org, &newcomers(1_000)).await;
            assert_eq!(ended, expected, "{is_whole_call} {id}");
            assert_eq!(org.mock.leads().len(), 999);
            // Twice the binary logarithm of 1,000 and five, and the calls of the record alone.
            let calls = org.mock.count(Endpoint::Upsert) + org.mock.count(Endpoint::Composite);
            assert!(
                calls <= 2 * 10 + 5 + 16,
                "{is_whole_call} {id}: {calls} calls"
            );
        }
    }
}

#[tokio::test]
async fn calls_that_are_too_large_for_their_time_are_sent_smaller_and_the_size_is_remembered() {
    let org = Org::with(
        |behavior| behavior.latency_per_record = Duration::from_millis(2),
        |settings| {
            settings.batch_size = 100;
            settings.collections_per_call = 5;
            settings.request_timeout_ms = 600;
        },
    )
    .await;
    let dispatcher = dispatcher(&org);
    let ended = fates_by(&dispatcher, &org.metrics, &newcomers(500), TIME).await;
    assert_eq!(count(&ended), fates([("delivered", 500)]));
    let first = org.mock.sizes(Endpoint::Composite);
    assert_eq!(first[0], 500, "too large: {first:?}");
    let ended = fates_by(&dispatcher, &org.metrics, &newcomers(500), TIME).await;
    assert_eq!(count(&ended), fates([("delivered", 500)]));
    let second = &org.mock.sizes(Endpoint::Composite)[first.len()..];
    assert!(second.iter().all(|size| *size < 300), "{second:?}");
}

#[tokio::test]
async fn passing_failures_of_calls_lose_no_record() {
    for reply in [
        Reply::Answer(Answer::json(200, &json!({"compositeResponse": []}))),
        Reply::Cut(Answer::empty(200)),
        Reply::Reset,
        Reply::Answer(Answer::html(503, "<html>")),
        Reply::Answer(refusal(400, "REQUEST_RUNNING_TOO_LONG", "too long")),
        Reply::Answer(Answer::empty(429)),
    ] {
        let org = org_of(5, 50).await;
        org.mock.next_of(Endpoint::Composite, reply.clone());
        let ended = dispatch(&org, &newcomers(250)).await;
        assert_eq!(ended, fates([("delivered", 250)]), "{reply:?}");
        assert_eq!(org.mock.leads().len(), 250);
    }
}

#[tokio::test]
async fn deletes_are_looked_up_in_one_call_and_made_in_one_call() {
    let org = org_of(5, 200).await;
    let mut changes = with_long_ids(newcomers(1_000));
    assert_eq!(
        dispatch(&org, &changes).await,
        fates([("delivered", 1_000)])
    );
    for change in &mut changes {
        change.operation = Operation::Delete;
    }
    let before = org.mock.seen().len();
    let most = org.salesforce.limits().delete;
    assert_eq!(
        dispatch(&org, &changes).await,
        fates([("delivered", 1_000)])
    );
    assert!(org.mock.leads().is_empty());
    let parts = org.mock.subrequests();
    let queries = parts.iter().filter(|part| part.endpoint == Endpoint::Query);
    assert!(queries.clone().all(|query| query.uri_length < 12_100));
    let calls = org.mock.seen().len() - before;
    assert_eq!(
        (most, calls),
        (1_000, 4),
        "ids of 36 characters: 980 of them fit into a call"
    );
    org.assert_polite();
}

/// Replaces the ids by ones of 36 characters, of which a query holds some 260.
fn with_long_ids(mut changes: Vec<ContactChange>) -> Vec<ContactChange> {
    for (number, change) in changes.iter_mut().enumerate() {
        let id = format!("{number:08}-7b2d-4c1e-9f00-000000000000");
        change.contact.id = ContactId::new(&id).expect("valid");
    }
    changes
}

#[tokio::test]
async fn an_id_that_spoils_one_of_several_queries_is_rejected_alone() {
    let org = org_of(5, 200).await;
    let mut changes = with_long_ids(newcomers(600));
    assert_eq!(dispatch(&org, &changes).await, fates([("delivered", 600)]));
    let offender = changes[300].contact.id.as_str().to_owned();
    org.mock.fail_batches_with(&offender);
    for change in &mut changes {
        change.operation = Operation::Delete;
    }
    let before = org.mock.seen().len();
    let expected = fates([("delivered", 599), ("rejected MALFORMED_QUERY", 1)]);
    assert_eq!(dispatch(&org, &changes).await, expected);
    assert_eq!(org.mock.leads().into_keys().collect::<Vec<_>>(), [offender]);
    let calls = org.mock.seen().len() - before;
    assert!(calls <= 2 * (2 * 10 + 2), "{calls} calls");
    org.assert_polite();
}

#[tokio::test]
async fn a_failed_part_of_a_delete_touches_only_its_records_and_a_failed_query_deletes_nothing() {
    let org = Org::with_collections().await;
    org.upsert(&org.leads(0..6)).await.expect("written");
    let gone: Vec<_> = (0..6).map(|at| deletion(&format!("C-{at}"))).collect();
    org.mock
        .fail_subrequest(1, Subfault::Answer(Answer::html(500, "")));
    let reply = words(&org.delete(&gone).await);
    assert_eq!(&reply[2..4], ["isolated HTTP_500"; 2]);
    assert_eq!([&reply[..2], &reply[4..]].concat(), ["delivered"; 4]);
    assert_eq!(
        org.mock.leads().into_keys().collect::<Vec<_>>(),
        ["c-2", "c-3"]
    );
    // Ids of this length need several queries.
    let org = org_of(5, 200).await;
    let gone: Vec<_> = (0..100)
        .map(|at| deletion(&format!("{at:03}{}", "x".repeat(252))))
        .collect();
    for fault in [Subfault::Omitted, Subfault::Answer(Answer::html(500, ""))] {
        org.mock.fail_subrequest(1, fault);
        let reply = words(&org.delete(&gone).await);
        assert!(
            reply.len() == 1 && reply[0].starts_with("retry"),
            "{reply:?}"
        );
        assert_eq!(org.mock.count(Endpoint::Delete), 0);
    }
    assert_eq!(
        words(&org.delete(&gone).await),
        ["delivered ALREADY_GONE"; 100]
    );
    org.assert_polite();
}

#[tokio::test]
async fn no_request_is_larger_than_settings_and_salesforce_allow() {
    for (collections, batch_size, calls, sizes) in [
        (5, 3, vec![15, 5], vec![3, 3, 3, 3, 3, 3, 2]),
        (2, 7, vec![14, 6], vec![7, 7]),
        (0, 7, vec![], vec![]),
        (100, 1, vec![5; 4], vec![1; 20]),
    ] {
        let org = org_of(collections, batch_size).await;
        let mut changes = newcomers(20);
        assert_eq!(dispatch(&org, &changes).await, fates([("delivered", 20)]));
        let composites = org.mock.sizes(Endpoint::Composite);
        let all: Vec<usize> = [composites, org.mock.sizes(Endpoint::Upsert)].concat();
        if collections > 1 {
            assert_eq!((all, parts(&org)), (calls, sizes));
        }
        for change in &mut changes {
            change.operation = Operation::Delete;
        }
        assert_eq!(dispatch(&org, &changes).await, fates([("delivered", 20)]));
        assert!(parts(&org).iter().all(|size| *size <= batch_size));
        org.assert_polite();
    }
}

/// Writes of a thousand records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    Plain,
    /// Each record needs a look-up.
    LookedUp,
    Deletes,
}

/// Returns the calls that a thousand records in batches of `events` take, without tokens.
async fn calls_for(collections: usize, events: usize, writes: Writes) -> usize {
    let org = Org::with(
        |_| {},
        |settings| {
            settings.collections_per_call = collections;
            if writes == Writes::LookedUp {
                "Open".clone_into(&mut settings.status.lead);
            }
        },
    )
    .await;
    let mut changes = newcomers(1_000);
    if writes == Writes::Deletes {
        dispatch(&org, &changes).await;
        for change in &mut changes {
            change.operation = Operation::Delete;
        }
    }
    let before = org.mock.seen().len();
    for batch in changes.chunks(events) {
        let delivered = fates([("delivered", batch.len())]);
        assert_eq!(dispatch(&org, batch).await, delivered);
    }
    let tokens = usize::from(before == 0);
    org.assert_polite();
    org.mock.seen().len() - before - tokens
}

/// The figures of docs/operate/limits.md.
#[tokio::test]
async fn a_thousand_records_take_a_fifth_of_the_calls_only_where_the_batches_are_large() {
    for (collections, events, expected) in [
        (1, 100, [10, 20, 20]),
        (5, 100, [10, 20, 20]),
        (1, 1_000, [5, 10, 10]),
        (5, 1_000, [1, 2, 2]),
    ] {
        let mut calls = Vec::new();
        for writes in [Writes::Plain, Writes::Deletes, Writes::LookedUp] {
            calls.push(calls_for(collections, events, writes).await);
        }
        assert_eq!(
            calls, expected,
            "{collections} collections, batches of {events}"
        );
    }
}

/// Reports the time in which the mock takes 1,000 records, of which each takes it a millisecond and
/// each call 50.
#[tokio::test]
async fn collections_of_one_call_are_worked_on_one_after_the_other() {
    let mut report = Vec::new();
    for collections in 1..=5 {
        let org = Org::with(
            |behavior| {
                behavior.latency = Duration::from_millis(50);
                behavior.latency_per_record = Duration::from_millis(1);
            },
            |settings| settings.collections_per_call = collections,
        )
        .await;
        dispatch(&org, &newcomers(1)).await;
        let started = Instant::now();
        let ended = dispatch(&org, &newcomers(1_000)).await;
        let time = started.elapsed().as_millis();
        assert_eq!(ended, fates([("delivered", 1_000)]));
        let calls = org.mock.seen().len() - 2;
        assert_eq!(calls, 5_usize.div_ceil(collections));
        report.push(format!("{collections} in a call: {calls} calls, {time} ms"));
    }
    write_report("collections", report.join("; "));
}

/// Builds changes, some of them invalid in their org, and the faults of that org.
fn schedule(seed: u64, org: &Org) -> Vec<ContactChange> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut changes = newcomers(random.usize(5..60));
    let errors = [
        "INVALID_EMAIL_ADDRESS",
        "UNABLE_TO_LOCK_ROW",
        "MATCH_SERVICE_TIMED_OUT",
    ];
    for (at, change) in changes.iter_mut().enumerate() {
        let id = format!("C-{at}");
        match random.u32(..20) {
            0 => change.contact.last_name = Field::Value("@{part_0}".into()),
            1 => change.contact.email = Field::Value("nobody".into()),
            2 => org
                .mock
                .fail_row(&id, row_error(errors[random.usize(..3)], "", &[]), 1),
            _ => {}
        }
    }
    let id = format!("C-{}", random.usize(..changes.len()));
    match random.u32(..4) {
        0 => org.mock.fail_batches_with(&id),
        1 => org.mock.fail_requests_with(&id, Answer::html(500, "")),
        2 => org
            .mock
            .fail_row(&id, row_error("UNKNOWN_EXCEPTION", "", &[]), u32::MAX),
        _ => {}
    }
    changes
}

#[tokio::test]
async fn any_number_of_collections_in_a_call_leaves_the_same_fates_and_records() {
    for seed in seeds(25) {
        let mut expected = None;
        for collections in 1..=5 {
            let org = org_of(collections, 3).await;
            let mut changes = schedule(seed, &org);
            let mut ended = vec![fates_in(&org, &changes).await];
            let leads = vec![org.mock.leads()];
            changes.retain(|change| change.contact.id.as_str().ends_with(['1', '2']));
            for change in &mut changes {
                change.operation = Operation::Delete;
            }
            ended.push(fates_in(&org, &changes).await);
            let found = (ended, leads, org.mock.leads(), org.mock.violations());
            let expected = expected.get_or_insert_with(|| found.clone());
            assert_eq!(
                &found, expected,
                "SEED={seed}: {collections} collections in a call"
            );
        }
    }
}
