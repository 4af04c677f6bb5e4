//! The adapter behind the real dispatcher: the fate of each record, and the number of calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use contact_sync::adapters::Adapter;
use contact_sync::model::{Contact, ContactChange, ContactId, Field, Operation};
use testkit::dispatching::{count, fates, fates_of};
use testkit::mock_salesforce::{Endpoint, row_error};
use testkit::org::Org;
use testkit::server::{Answer, Reply};
use testkit::words::newcomers;

/// Sends changes of distinct contacts until each has a fate. Returns how often each fate occurs.
async fn dispatch(org: &Org, changes: &[ContactChange]) -> BTreeMap<String, usize> {
    let adapter: Arc<dyn Adapter> = Arc::clone(&org.salesforce) as _;
    count(&fates_of(&adapter, &org.metrics, changes).await)
}

#[tokio::test]
async fn ten_thousand_leads_are_written_in_fifty_calls_and_deleted_in_a_hundred() {
    let org = Org::new().await;
    let mut changes = newcomers(10_000);
    assert_eq!(
        dispatch(&org, &changes).await,
        fates([("delivered", 10_000)])
    );
    assert_eq!(
        (
            org.mock.count(Endpoint::Upsert),
            org.mock.count(Endpoint::Token)
        ),
        (50, 1)
    );
    for change in &mut changes {
        change.operation = Operation::Delete;
    }
    assert_eq!(
        dispatch(&org, &changes).await,
        fates([("delivered", 10_000)])
    );
    assert_eq!(
        (
            org.mock.count(Endpoint::Query),
            org.mock.count(Endpoint::Delete)
        ),
        (50, 50)
    );
    assert_eq!((org.mock.seen().len(), org.mock.leads().len()), (151, 0));
    org.assert_polite();
}

#[tokio::test]
async fn a_delete_of_the_longest_ids_is_one_query_and_one_call() {
    let org = Org::new().await;
    let mut changes = newcomers(200);
    for (number, change) in changes.iter_mut().enumerate() {
        let id = format!("{number}-{}", ["x", "'", "\u{e4}"][number % 3].repeat(200));
        change.contact.id = ContactId::new(&id).expect("valid");
    }
    assert_eq!(dispatch(&org, &changes).await, fates([("delivered", 200)]));
    for change in &mut changes {
        change.operation = Operation::Delete;
    }
    assert_eq!(dispatch(&org, &changes).await, fates([("delivered", 200)]));
    let (queries, deletes) = (
        org.mock.count(Endpoint::Query),
        org.mock.count(Endpoint::Delete),
    );
    assert!(
        queries > 1 && queries == deletes,
        "{queries} queries, {deletes} deletes"
    );
    assert!(org.mock.leads().is_empty());
    org.assert_polite();
}

#[tokio::test]
async fn one_offending_record_costs_one_record() {
    for offender in [0, 1, 100, 199] {
        let org = Org::new().await;
        org.mock.fail_batches_with(&format!("C-{offender}"));
        let expected = fates([("delivered", 199), ("rejected JSON_PARSER_ERROR", 1)]);
        assert_eq!(
            dispatch(&org, &newcomers(200)).await,
            expected,
            "{offender}"
        );
        let calls = org.mock.count(Endpoint::Upsert);
        assert!(calls <= 19, "{offender}: {calls} calls");
    }
}

#[tokio::test]
async fn one_offending_id_costs_one_delete() {
    let org = Org::new().await;
    let mut changes = newcomers(200);
    dispatch(&org, &changes).await;
    org.mock.fail_batches_with("C-100");
    for change in &mut changes {
        change.operation = Operation::Delete;
    }
    let expected = fates([("delivered", 199), ("rejected MALFORMED_QUERY", 1)]);
    assert_eq!(dispatch(&org, &changes).await, expected);
    assert_eq!(org.mock.leads().into_keys().collect::<Vec<_>>(), ["c-100"]);
}

#[tokio::test]
async fn a_locked_record_delays_its_batch_until_it_is_alone() {
    let org = Org::new().await;
    org.mock.lock("C-7", 3);
    assert_eq!(
        dispatch(&org, &newcomers(200)).await,
        fates([("delivered", 200)])
    );
    let mut sizes = org.mock.sizes(Endpoint::Upsert);
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(
        sizes,
        [200, 100, 100, 50, 50, 25, 25],
        "only failed records are sent again, in halves"
    );
}

#[tokio::test]
async fn passing_failures_of_rows_lose_no_record() {
    let org = Org::new().await;
    org.mock.lock_every(7);
    org.mock
        .fail_row("C-3", row_error("UNABLE_TO_LOCK_ROW", "", &[]), 2);
    org.mock.fail_row(
        "C-4",
        row_error(
            "DUPLICATE_VALUE",
            "duplicate value found: Source_Id__c duplicates value",
            &[],
        ),
        1,
    );
    org.mock
        .fail_row("C-5", row_error("MATCH_SERVICE_TIMED_OUT", "", &[]), 1);
    assert_eq!(
        dispatch(&org, &newcomers(60)).await,
        fates([("delivered", 60)])
    );
    assert_eq!(org.mock.leads().len(), 60);
}

#[tokio::test]
async fn a_record_that_always_meets_a_fault_is_rejected_and_its_neighbours_are_written() {
    let org = Org::new().await;
    org.mock.fail_row(
        "C-3",
        row_error("UNKNOWN_EXCEPTION", "An unexpected error occurred", &[]),
        u32::MAX,
    );
    let expected = fates([("delivered", 59), ("rejected UNKNOWN_EXCEPTION", 1)]);
    assert_eq!(dispatch(&org, &newcomers(60)).await, expected);
}

#[tokio::test]
async fn a_fault_that_every_record_meets_rejects_no_record_and_costs_five_calls() {
    let org = Org::new().await;
    for contact in 0..60 {
        let fault = row_error("UNKNOWN_EXCEPTION", "An unexpected error occurred", &[]);
        org.mock.fail_row(&format!("C-{contact}"), fault, u32::MAX);
    }
    assert_eq!(
        dispatch(&org, &newcomers(60)).await,
        fates([("failed UNKNOWN_EXCEPTION", 60)])
    );
    assert_eq!(org.mock.sizes(Endpoint::Upsert), [60, 60, 1, 1, 1]);
}

#[tokio::test]
async fn a_hidden_field_rejects_no_record_and_costs_no_second_call() {
    let org = Org::with(
        |behavior| behavior.hidden_fields = vec!["City".to_owned()],
        |_| {},
    )
    .await;
    let mut changes = newcomers(200);
    changes[7].contact.city = Field::Value("Paris".into());
    changes[8].contact.email = Field::Value("nobody".into());
    let expected = [
        ("delivered", 198),
        ("failed INVALID_FIELD", 1),
        ("rejected INVALID_EMAIL_ADDRESS", 1),
    ];
    assert_eq!(dispatch(&org, &changes).await, fates(expected));
    assert_eq!(
        (
            org.mock.count(Endpoint::Upsert),
            org.metrics.config_errors()
        ),
        (1, 1)
    );
    for (_, change) in changes.iter_mut().enumerate().filter(|(at, _)| *at != 8) {
        change.contact.city = Field::Value("Paris".into());
    }
    let expected = [
        ("failed INVALID_FIELD", 199),
        ("rejected INVALID_EMAIL_ADDRESS", 1),
    ];
    assert_eq!(
        dispatch(&org, &changes).await,
        fates(expected),
        "one bad e-mail address does not hide the errors of the others"
    );
}

#[tokio::test]
async fn a_record_that_is_not_shared_is_rejected_and_a_revoked_right_rejects_no_record() {
    let not_ours = row_error(
        "INSUFFICIENT_ACCESS_OR_READONLY",
        "insufficient access rights on object id",
        &[],
    );
    let org = Org::new().await;
    org.mock.fail_row("C-0", not_ours, u32::MAX);
    let expected = fates([
        ("delivered", 2),
        ("rejected INSUFFICIENT_ACCESS_OR_READONLY", 1),
    ]);
    assert_eq!(dispatch(&org, &newcomers(3)).await, expected);
    assert_eq!(
        org.mock.count(Endpoint::Describe),
        0,
        "read only where no row was written"
    );
    let expected = fates([("failed INSUFFICIENT_ACCESS_OR_READONLY", 1)]);
    assert_eq!(
        dispatch(&org, &newcomers(1)).await,
        expected,
        "no other call shows whether the right is missing for all"
    );
    assert!(org.mock.count(Endpoint::Describe) > 0);
    for size in [1, 3] {
        let org = Org::with(|behavior| behavior.may_delete = false, |_| {}).await;
        let mut changes = newcomers(size);
        dispatch(&org, &changes).await;
        for change in &mut changes {
            change.operation = Operation::Delete;
        }
        let expected = fates([("failed INSUFFICIENT_ACCESS_OR_READONLY", size)]);
        assert_eq!(dispatch(&org, &changes).await, expected);
    }
}

#[tokio::test]
async fn an_update_before_its_create_and_a_race_succeed_at_the_second_try() {
    let org = Org::new().await;
    let race = row_error(
        "DUPLICATE_VALUE",
        "duplicate value found: Source_Id__c duplicates value",
        &[],
    );
    org.mock.fail_row("C-1", race, 1);
    let mut changes = newcomers(3);
    changes[2].operation = Operation::Update;
    let id = changes[2].contact.id.clone();
    changes[2].contact = Contact {
        city: Field::Value("Paris".into()),
        ..Contact::bare(id, None)
    };
    assert_eq!(dispatch(&org, &changes).await, fates([("delivered", 3)]));
    assert_eq!(
        org.mock.lead("C-2").map(|lead| lead["LastName"].clone()),
        Some("[not provided]".into())
    );
}

#[tokio::test]
async fn a_value_that_another_record_keeps_is_rejected_at_the_second_try() {
    let org = Org::new().await;
    for (id, code) in [("C-1", "DUPLICATE_VALUE"), ("C-2", "DUPLICATES_DETECTED")] {
        org.mock.fail_row(
            id,
            row_error(code, "duplicate value found: Tax__c duplicates value", &[]),
            2,
        );
    }
    let expected = [
        ("delivered", 3),
        ("rejected DUPLICATES_DETECTED", 1),
        ("rejected DUPLICATE_VALUE", 1),
    ];
    assert_eq!(dispatch(&org, &newcomers(5)).await, fates(expected));
}

#[tokio::test]
async fn a_passing_failure_of_the_token_endpoint_costs_one_more_token_request() {
    for reply in [Reply::Answer(Answer::empty(503)), Reply::Reset] {
        let org = Org::new().await;
        org.mock.next_of(Endpoint::Token, reply);
        assert_eq!(
            dispatch(&org, &newcomers(300)).await,
            fates([("delivered", 300)])
        );
        assert_eq!(
            (
                org.mock.count(Endpoint::Token),
                org.mock.count(Endpoint::Upsert)
            ),
            (2, 2)
        );
    }
}

#[tokio::test]
async fn passing_failures_of_calls_lose_no_record() {
    for reply in [
        Reply::Answer(Answer::json(200, &serde_json::json!([]))),
        Reply::Cut(Answer::empty(200)),
        Reply::Reset,
        Reply::Answer(Answer::html(502, "<html>")),
        Reply::Answer(Answer::empty(420)),
        Reply::Answer(Answer::empty(429)),
    ] {
        for endpoint in [Endpoint::Token, Endpoint::Upsert] {
            let org = Org::new().await;
            org.mock.next_of(endpoint, reply.clone());
            let ended = dispatch(&org, &newcomers(250)).await;
            assert_eq!(
                ended,
                fates([("delivered", 250)]),
                "{endpoint:?}: {reply:?}"
            );
            assert_eq!(org.mock.leads().len(), 250);
        }
    }
}

#[tokio::test]
async fn a_refused_secret_rejects_no_record() {
    let org = Org::new().await;
    org.mock.rotate_secret("another");
    assert_eq!(
        dispatch(&org, &newcomers(450)).await,
        fates([("failed invalid_client", 450)])
    );
    assert_eq!(org.mock.count(Endpoint::Upsert), 0);
}

#[tokio::test]
async fn no_request_is_larger_than_settings_and_salesforce_allow() {
    for (batch_size, expected) in [
        (7, vec![7, 7, 6]),
        (1, vec![1; 20]),
        (0, vec![1; 20]),
        (100_000, vec![20]),
    ] {
        let org = Org::with(|_| {}, |settings| settings.batch_size = batch_size).await;
        let mut changes = newcomers(20);
        assert_eq!(dispatch(&org, &changes).await, fates([("delivered", 20)]));
        for change in &mut changes {
            change.operation = Operation::Delete;
        }
        assert_eq!(dispatch(&org, &changes).await, fates([("delivered", 20)]));
        assert_eq!(org.mock.sizes(Endpoint::Upsert), expected);
        assert_eq!(org.mock.sizes(Endpoint::Delete), expected);
    }
}
