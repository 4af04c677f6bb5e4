//! Deletes of leads.

use contact_sync::adapters::Adapter;
use contact_sync::model::Payload;
use serde_json::json;
use testkit::mock_salesforce::{Endpoint, refusal, row_error};
use testkit::org::{Org, deletion, words};
use testkit::server::{Answer, Mangle, Reply};

/// Most bytes of URI and headers together.
const LONGEST_URI: usize = 16_384;

fn put(org: &Org, id: &str) {
    org.mock.put(id, &json!({"LastName": "x", "Company": "y"}));
}

#[tokio::test]
async fn a_lead_is_deleted_and_an_unknown_one_is_a_success() {
    let org = Org::new().await;
    for id in ["C-1", "C-2"] {
        put(&org, id);
    }
    let reply = org.delete(&[deletion("c-1"), deletion("C-9")]).await;
    assert_eq!(words(&reply), ["delivered", "delivered ALREADY_GONE"]);
    assert_eq!(org.mock.leads().into_keys().collect::<Vec<_>>(), ["c-2"]);
    assert_eq!(
        (
            org.mock.sizes(Endpoint::Query),
            org.mock.sizes(Endpoint::Delete)
        ),
        (vec![2], vec![1])
    );
    assert_eq!(
        words(&org.delete(&[deletion("C-9")]).await),
        ["delivered ALREADY_GONE"]
    );
    assert_eq!(
        org.mock.count(Endpoint::Delete),
        1,
        "nothing is left to delete"
    );
    org.assert_polite();
}

#[tokio::test]
async fn no_id_leaves_its_quotes() {
    let org = Org::new().await;
    let ids = [
        r"O'Brien",
        r"back\slash",
        r"\') OR Id != null --",
        "a&b=c#d?e%20+f",
        "ünï🚀",
        "x,y')",
    ];
    for id in ids.iter().chain(&["bystander"]) {
        put(&org, id);
    }
    let payloads: Vec<_> = ids.iter().map(|id| deletion(id)).collect();
    assert_eq!(
        words(&org.delete(&payloads).await),
        vec!["delivered"; ids.len()]
    );
    assert_eq!(
        org.mock.leads().into_keys().collect::<Vec<_>>(),
        ["bystander"]
    );
    org.assert_polite();
}

#[tokio::test]
async fn the_longest_ids_fit_into_uris() {
    let org = Org::new().await;
    for letters in ["a", "'", "🚀"] {
        let fill = letters.repeat(250 / letters.chars().count());
        let ids: Vec<_> = (0..200)
            .map(|number| format!("{number:05}{fill}"))
            .collect();
        for id in &ids {
            put(&org, id);
        }
        let payloads: Vec<_> = ids.iter().map(|id| deletion(id)).collect();
        assert_eq!(words(&org.delete(&payloads).await), vec!["delivered"; 200]);
    }
    assert_eq!(org.mock.leads().len(), 0);
    let longest = org.mock.seen().into_iter().map(|seen| {
        let headers: usize = seen
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        seen.uri_length + headers
    });
    assert!(longest.max() < Some(LONGEST_URI));
    org.assert_polite();
}

#[tokio::test]
async fn pages_are_followed_to_the_end() {
    let org = Org::with(|behavior| behavior.page = 3, |_| {}).await;
    let payloads: Vec<_> = (0..10)
        .map(|number| deletion(&format!("C-{number}")))
        .collect();
    for payload in &payloads {
        put(&org, payload.id.as_str());
    }
    assert_eq!(words(&org.delete(&payloads).await), ["delivered"; 10]);
    assert_eq!(
        (org.mock.count(Endpoint::Query), org.mock.leads().len()),
        (4, 0)
    );
}

#[tokio::test]
async fn an_inconsistent_look_up_deletes_nothing_and_counts_no_record_as_gone() {
    let page = |done: bool, total: usize, next: Option<&str>| {
        let mut page = json!({"done": done, "totalSize": total, "records": []});
        page["nextRecordsUrl"] = next.into();
        page
    };
    let record = |id: &str| json!({"Id": id, "Source_Id__c": "C-1"});
    for body in [
        page(true, 1, None),
        page(false, 1, None),
        page(false, 1, Some("/services/data/v67.0/query/01g0")),
        json!({"done": true, "totalSize": 1, "records": [{"Id": "00Q1"}]}),
        json!({"done": true, "totalSize": 1, "records": [record("00Q1'")]}),
        json!({"done": true, "totalSize": 1, "records": [record("00Q1,00Q2")]}),
        json!({"done": true, "records": []}),
        json!([]),
    ] {
        let org = Org::new().await;
        put(&org, "C-1");
        org.mock.next_of(Endpoint::Query, Answer::json(200, &body));
        let reply = words(&org.delete(&[deletion("C-1")]).await);
        assert!(reply[0].starts_with("retry "), "{body}: {reply:?}");
        assert_eq!(
            (org.mock.count(Endpoint::Delete), org.mock.leads().len()),
            (0, 1),
            "{body}"
        );
    }
}

#[tokio::test]
async fn pages_without_end_are_given_up() {
    let org = Org::new().await;
    let next = "/services/data/v67.0/query/01g0";
    let body = json!({"done": false, "totalSize": 9, "records": [], "nextRecordsUrl": next});
    for _ in 0..100 {
        org.mock.next_of(Endpoint::Query, Answer::json(200, &body));
    }
    assert_eq!(
        words(&org.delete(&[deletion("C-1")]).await),
        ["retry UNREADABLE_ANSWER"]
    );
    assert!(org.mock.count(Endpoint::Query) <= 20);
}

#[tokio::test]
async fn the_next_page_is_requested_from_the_same_host_only() {
    let org = Org::with(|behavior| behavior.page = 1, |_| {}).await;
    for id in ["C-1", "C-2"] {
        put(&org, id);
    }
    org.mock.mangle(Mangle::json(|page| {
        page["nextRecordsUrl"] = "https://evil.example/steal".into();
    }));
    let reply = words(&org.delete(&[deletion("C-1"), deletion("C-2")]).await);
    assert_eq!(
        reply,
        ["stop configuration NOT_FOUND"],
        "a path of the instance that does not exist"
    );
}

#[tokio::test]
async fn a_404_does_not_count_as_gone() {
    for (answer, expected) in [
        (
            refusal(
                404,
                "NOT_FOUND",
                "Provided external ID field does not exist or is not accessible: C-1",
            ),
            "stop configuration NOT_FOUND",
        ),
        (Answer::html(404, "<html>"), "retry HTTP_404"),
        (
            refusal(
                400,
                "INVALID_FIELD",
                "No such column 'X__c' on entity 'Lead'",
            ),
            "stop configuration INVALID_FIELD",
        ),
        (
            refusal(400, "MALFORMED_QUERY", "unexpected token"),
            "refused MALFORMED_QUERY []",
        ),
        (
            refusal(400, "INVALID_QUERY_LOCATOR", "invalid query locator"),
            "retry INVALID_QUERY_LOCATOR",
        ),
    ] {
        for endpoint in [Endpoint::Query, Endpoint::Delete] {
            let org = Org::new().await;
            put(&org, "C-1");
            org.mock.next_of(endpoint, answer.clone());
            assert_eq!(
                words(&org.delete(&[deletion("C-1")]).await),
                [expected],
                "{endpoint:?} {answer:?}"
            );
            assert_eq!(org.mock.leads().len(), 1);
        }
    }
    let org = Org::with(
        |_| {},
        |settings| settings.external_id_field = "Nowhere__c".to_owned(),
    )
    .await;
    let reply = words(&org.delete(&[deletion("C-1")]).await);
    assert!(reply[0].starts_with("stop configuration"), "{reply:?}");
}

#[tokio::test]
async fn a_row_of_a_delete_is_classified_by_its_code() {
    for (code, expected) in [
        ("ENTITY_IS_DELETED", "delivered ALREADY_GONE"),
        (
            "INVALID_CROSS_REFERENCE_KEY",
            "once INVALID_CROSS_REFERENCE_KEY",
        ),
        ("UNABLE_TO_LOCK_ROW", "halved UNABLE_TO_LOCK_ROW"),
        ("DELETE_FAILED", "rejected DELETE_FAILED"),
        ("DEPENDENCY_EXISTS", "rejected DEPENDENCY_EXISTS"),
    ] {
        let org = Org::new().await;
        for id in ["C-1", "C-2"] {
            put(&org, id);
        }
        org.mock.fail_row("C-1", row_error(code, "", &[]), 1);
        let reply = org.delete(&[deletion("C-1"), deletion("C-2")]).await;
        assert_eq!(words(&reply), [expected, "delivered"]);
    }
}

#[tokio::test]
async fn all_records_of_a_key_are_deleted_and_one_that_is_not_decides() {
    let org = Org::new().await;
    for _ in 0..3 {
        put(&org, "C-1");
    }
    org.mock
        .fail_row("C-1", row_error("UNABLE_TO_LOCK_ROW", "", &[]), 1);
    assert_eq!(
        words(&org.delete(&[deletion("C-1")]).await),
        ["halved UNABLE_TO_LOCK_ROW"]
    );
    assert_eq!(words(&org.delete(&[deletion("C-1")]).await), ["delivered"]);
    assert_eq!(org.mock.leads().len(), 0);
}

#[tokio::test]
async fn a_delete_without_a_response_succeeds_when_repeated() {
    let org = Org::new().await;
    put(&org, "C-1");
    org.mock.next_of(Endpoint::Delete, Reply::Reset);
    assert_eq!(
        words(&org.delete(&[deletion("C-1")]).await),
        ["retry CONNECTION_FAILED"]
    );
    org.mock.mangle(Mangle::new(|_| {}));
    org.mock.mangle(Mangle::new(|answer| answer.status = 500));
    assert_eq!(
        words(&org.delete(&[deletion("C-1")]).await),
        ["retry HTTP_500"]
    );
    assert_eq!(org.mock.leads().len(), 0, "it was carried out");
    assert_eq!(
        words(&org.delete(&[deletion("C-1")]).await),
        ["delivered ALREADY_GONE"]
    );
}

#[tokio::test]
async fn a_guarded_delete_keeps_newer_data() {
    let org = Org::with(
        |_| {},
        |settings| settings.version_field = "Version__c".to_owned(),
    )
    .await;
    for (id, version) in [("C-1", 11), ("C-2", 10), ("C-3", 11)] {
        org.mock.put(id, &json!({"Version__c": version}));
    }
    let mut payloads = ["C-1", "C-2", "C-3"].map(deletion);
    payloads[0].guarded = true;
    payloads[1].guarded = true;
    assert_eq!(
        words(&org.delete(&payloads).await),
        ["stale", "delivered", "delivered"]
    );
    assert_eq!(org.mock.leads().into_keys().collect::<Vec<_>>(), ["c-1"]);
}

#[tokio::test]
async fn ten_thousand_deletes_take_at_most_a_hundred_calls() {
    let org = Org::new().await;
    let payloads: Vec<Payload> = (0..10_000)
        .map(|number| deletion(&format!("5a1f9c0e-7d21-4b7e-9a55-0000000{number:05}")))
        .collect();
    for payload in &payloads {
        put(&org, payload.id.as_str());
    }
    for batch in payloads.chunks(org.salesforce.limits().delete) {
        assert!(
            words(&org.delete(batch).await)
                .iter()
                .all(|word| word == "delivered")
        );
    }
    assert_eq!(
        (
            org.mock.count(Endpoint::Query),
            org.mock.count(Endpoint::Delete)
        ),
        (50, 50)
    );
    assert_eq!(
        (org.mock.leads().len(), org.mock.count(Endpoint::Token)),
        (0, 1)
    );
    org.assert_polite();
}
