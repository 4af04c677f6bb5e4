//! The errors of single rows.

#![expect(unreachable_pub, reason = "a module of one test binary, and public to it")]

use contact_sync::adapters::Outcome;
use contact_sync::contact::Field;
use serde_json::json;

use crate::support::portal::{Portal, person, words};
use crate::support::server::Mangle;

pub async fn an_address_that_another_record_owns_is_told_in_each_of_its_forms() {
    let portal = Portal::new().await;
    let owner = portal.mock.put(None, &[("email", "p1@example.com")]);
    portal.mock.put(Some("C-2"), &[("email", "old@example.com")]);
    let mut known = person(2);
    known.contact.email = Field::Value("p1@example.com".into());
    let reply = portal.upsert(&[portal.payload(&person(1)), portal.payload(&known)]).await;
    assert_eq!(words(&reply), ["rejected EMAIL_CLASH", "rejected EMAIL_CLASH"]);
    for outcome in reply.expect("outcomes") {
        let Outcome::Rejected(rejection) = outcome else { panic!("{outcome:?}") };
        assert!(rejection.message.contains(&format!("record {owner} ")), "{}", rejection.message);
        assert!(!rejection.message.contains("example.com"), "{}", rejection.message);
        assert_eq!(rejection.fields, ["email"]);
    }
}

pub async fn a_row_that_was_bad_luck_is_delivered_the_second_time() {
    for (error, expected) in [
        (json!({"category": "RATE_LIMITS"}), "again RATE_LIMITS"),
        (json!({"category": "MISSING_SCOPES"}), "again MISSING_SCOPES"),
        (json!({"category": "EXPIRED_AUTHENTICATION"}), "again EXPIRED_AUTHENTICATION"),
        (json!({"category": "OBJECT_NOT_FOUND"}), "once OBJECT_NOT_FOUND"),
        (json!({}), "once NO_CODE"),
    ] {
        let portal = Portal::new().await;
        portal.mock.fail_row("c-1", error, 1);
        let payloads = portal.people([1, 2]);
        assert_eq!(words(&portal.upsert(&payloads).await), [expected, "delivered"]);
        assert_eq!(words(&portal.upsert(&payloads).await), ["delivered", "delivered"]);
        assert_eq!(portal.meter.unknown_codes(), 0, "nobody was rejected for it");
    }
}

pub async fn an_error_finds_its_row_by_trace_id_or_by_ids_and_its_code_in_the_message() {
    let hidden = r#"Property values were not valid: [{"isValid":false,"message":"p2@example.com is invalid",
        "error":"INVALID_EMAIL","name":"email"}]"#;
    for context in [json!({"objectWriteTraceId": ["1"]}), json!({"ids": ["C-2"]}), json!({"ids": ["c-2 "]})] {
        for (message, expected) in [(hidden, "rejected INVALID_EMAIL"), ("no", "rejected VALIDATION_ERROR")] {
            let portal = Portal::new().await;
            let error = json!({"category": "VALIDATION_ERROR", "message": message, "context": context});
            portal.mock.mangle(Mangle::json(move |body| {
                body["results"]
                    .as_array_mut()
                    .expect("a list")
                    .retain(|result| result["properties"]["source_id"] != "C-2");
                body["errors"] = json!([error]);
            }));
            let reply = portal.upsert(&portal.people([1, 2, 3])).await;
            assert_eq!(words(&reply), ["delivered", expected, "delivered"], "{context}");
            assert!(!format!("{reply:?}").contains("example.com"));
        }
    }
}
