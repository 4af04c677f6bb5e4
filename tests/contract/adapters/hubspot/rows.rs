//! Errors of single rows.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use contact_sync::model::{Field, Outcome, Retry, RetryMode};
use serde_json::json;
use testkit::listener::listen;
use testkit::portal::{Portal, deletion, person, words};
use testkit::server::{Answer, Mangle};

pub async fn an_address_of_another_record_is_rejected_with_its_owner() {
    let portal = Portal::new().await;
    let owner = portal.mock.put(None, &[("email", "p1@example.com")]);
    portal
        .mock
        .put(Some("C-2"), &[("email", "old@example.com")]);
    let mut known = person(2);
    known.contact.email = Field::Value("p1@example.com".into());
    let reply = portal
        .upsert(&[portal.payload(&person(1)), portal.payload(&known)])
        .await;
    assert_eq!(words(&reply), ["last EMAIL_CLASH", "last EMAIL_CLASH"]);
    for outcome in reply.expect("outcomes") {
        let Outcome::Retry(Retry {
            how: RetryMode::Last(rejection),
            ..
        }) = outcome
        else {
            panic!("{outcome:?}")
        };
        assert!(
            rejection.message.contains(&format!("record {owner} ")),
            "{}",
            rejection.message
        );
        assert!(
            !rejection.message.contains("example.com"),
            "{}",
            rejection.message
        );
        assert_eq!(rejection.fields, ["email"]);
    }
}

pub async fn a_clash_in_any_form_is_retried_last_and_names_the_owner() {
    let on = "Cannot set PropertyValueCoordinates{portalId=1, propertyName=email, \
        value=p1@example.com} on 11. 22 already has that value.";
    for (error, owner) in [
        (
            json!({
                "category": "VALIDATION_ERROR",
                "context": {"id": ["C-1"], "existingId": ["22"]},
            }),
            true,
        ),
        (json!({"category": "VALIDATION_ERROR", "message": on}), true),
        (
            json!({"category": "CONFLICT", "message": "Contact already exists. Existing ID: 22"}),
            true,
        ),
        (
            json!({"category": "CONFLICT", "context": {"existingId": ["22"]}}),
            true,
        ),
        (
            json!({"category": "OBJECT_ALREADY_EXISTS", "identityProfile": {"vid": 22}}),
            true,
        ),
        (
            json!({"category": "OBJECT_ALREADY_EXISTS", "error": "CONTACT_EXISTS"}),
            false,
        ),
    ] {
        for whole in [false, true] {
            let portal = Portal::new().await;
            let payloads = portal.people([1]);
            if whole {
                portal.mock.next(Answer::json(409, &error));
            } else {
                portal.mock.fail_row("C-1", error.clone(), 1);
            }
            let reply = portal.upsert(&payloads).await;
            assert_eq!(words(&reply), ["last EMAIL_CLASH"], "{whole} {error}");
            let Ok(
                [
                    Outcome::Retry(Retry {
                        how: RetryMode::Last(rejection),
                        ..
                    }),
                ],
            ) = reply.as_deref()
            else {
                panic!("{reply:?}");
            };
            assert_eq!(
                rejection.message.contains("record 22 "),
                owner,
                "{error}: {}",
                rejection.message
            );
            assert_eq!(
                words(&portal.upsert(&payloads).await),
                ["delivered"],
                "the owner gave the value up"
            );
        }
    }
}

pub async fn an_address_is_free_after_its_owner_is_deleted() {
    let portal = Portal::new().await;
    words(&portal.upsert(&portal.people([1])).await);
    let mut heir = person(2);
    heir.contact.email = Field::Value("p1@example.com".into());
    let heir = [portal.payload(&heir)];
    assert_eq!(words(&portal.upsert(&heir).await), ["last EMAIL_CLASH"]);
    assert_eq!(
        words(&portal.delete(&[deletion("C-1")]).await),
        ["delivered"]
    );
    assert_eq!(words(&portal.upsert(&heir).await), ["delivered"]);
}

pub async fn a_row_that_may_be_the_cause_is_isolated_and_an_unknown_code_is_counted_once() {
    for (error, code, unknown) in [
        (
            json!({"category": "INTERNAL_ERROR", "context": {"id": ["C-1"]}}),
            "INTERNAL_ERROR",
            0,
        ),
        (
            json!({"category": "ACCOUNT_TAKES_NO_MORE_CONTACTS"}),
            "ACCOUNT_TAKES_NO_MORE_CONTACTS",
            1,
        ),
        (json!({"message": "something"}), "NO_CODE", 0),
    ] {
        let portal = Portal::new().await;
        let logs = listen();
        for number in 1..=3 {
            portal
                .mock
                .fail_row(&format!("C-{number}"), error.clone(), 1);
        }
        let reply = portal.upsert(&portal.people(1..=4)).await;
        let isolated = format!("isolated {code}");
        assert_eq!(
            words(&reply),
            [&isolated, &isolated, &isolated, "delivered"]
        );
        assert_eq!(portal.metrics.unknown_codes(), unknown, "{error}");
        let warned: Vec<_> = logs
            .at("WARN")
            .into_iter()
            .filter(|line| line.contains("unknown code"))
            .collect();
        assert_eq!(
            warned.len(),
            usize::try_from(unknown).expect("a small number"),
            "{warned:?}"
        );
        assert!(
            warned
                .iter()
                .all(|line| line.contains("records=3") && line.contains(code)),
            "{warned:?}"
        );
    }
}

pub async fn a_row_with_a_passing_error_is_delivered_at_the_second_try() {
    for (error, expected) in [
        (json!({"category": "RATE_LIMITS"}), "again RATE_LIMITS"),
        (
            json!({"category": "EXPIRED_AUTHENTICATION"}),
            "again EXPIRED_AUTHENTICATION",
        ),
        (
            json!({"category": "OBJECT_NOT_FOUND"}),
            "once OBJECT_NOT_FOUND",
        ),
        (
            json!({"category": "INTERNAL_ERROR"}),
            "isolated INTERNAL_ERROR",
        ),
        (json!({}), "isolated NO_CODE"),
    ] {
        let portal = Portal::new().await;
        portal.mock.fail_row("c-1", error, 1);
        let payloads = portal.people([1, 2]);
        assert_eq!(
            words(&portal.upsert(&payloads).await),
            [expected, "delivered"]
        );
        assert_eq!(
            words(&portal.upsert(&payloads).await),
            ["delivered", "delivered"]
        );
        assert_eq!(portal.metrics.unknown_codes(), 0, "no record was rejected");
    }
}

pub async fn an_error_is_attributed_by_trace_id_or_ids_and_its_code_read_from_the_message() {
    let hidden = r#"Property values were not valid: [{"isValid":false,
        "message":"p2@example.com is invalid","error":"INVALID_EMAIL","name":"email"}]"#;
    for context in [
        json!({"objectWriteTraceId": ["1"]}),
        json!({"ids": ["C-2"]}),
        json!({"ids": ["c-2 "]}),
    ] {
        for (message, expected) in [
            (hidden, "rejected INVALID_EMAIL"),
            ("no", "rejected VALIDATION_ERROR"),
        ] {
            let portal = Portal::new().await;
            let error =
                json!({"category": "VALIDATION_ERROR", "message": message, "context": context});
            portal.mock.mangle(Mangle::json(move |body| {
                body["results"]
                    .as_array_mut()
                    .expect("a list")
                    .retain(|result| result["properties"]["source_id"] != "C-2");
                body["errors"] = json!([error]);
            }));
            let reply = portal.upsert(&portal.people([1, 2, 3])).await;
            assert_eq!(
                words(&reply),
                ["delivered", expected, "delivered"],
                "{context}"
            );
            assert!(!format!("{reply:?}").contains("example.com"));
        }
    }
}
