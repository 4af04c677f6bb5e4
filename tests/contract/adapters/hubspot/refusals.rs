//! Batches that are refused as a whole: their suspects, and the outcome of a row that is refused
//! alone.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use contact_sync::model::Body;
use serde_json::json;
use testkit::portal::{Portal, words};
use testkit::server::Answer;

pub async fn a_row_refused_alone_has_the_outcome_of_one_of_several_rows() {
    let key_clash = "Cannot set PropertyValueCoordinates{portalId=1, propertyName=source_id, \
        value=c-1} on 11. 22 already has that value.";
    for (status, error, expected, unknown) in [
        (409, json!({"category": "CONFLICT"}), "last CONFLICT", 0),
        (
            400,
            json!({"category": "VALIDATION_ERROR"}),
            "rejected VALIDATION_ERROR",
            0,
        ),
        (
            409,
            json!({"category": "CONFLICT", "message": key_clash}),
            "once VALUE_CLASH",
            0,
        ),
        (
            400,
            json!({"category": "VALIDATION_ERROR", "message": key_clash}),
            "once VALUE_CLASH",
            0,
        ),
        (
            400,
            json!({"status": "error", "message": key_clash}),
            "once VALUE_CLASH",
            0,
        ),
        (
            404,
            json!({"category": "OBJECT_NOT_FOUND"}),
            "once OBJECT_NOT_FOUND",
            0,
        ),
        (
            400,
            json!({"category": "RATE_LIMITS"}),
            "again RATE_LIMITS",
            0,
        ),
        (
            400,
            json!({"category": "BRAND_NEW"}),
            "isolated BRAND_NEW",
            1,
        ),
        (
            400,
            json!({"category": "INTERNAL_ERROR"}),
            "isolated INTERNAL_ERROR",
            0,
        ),
    ] {
        for whole in [false, true] {
            let portal = Portal::new().await;
            if whole {
                portal.mock.next(Answer::json(status, &error));
            } else if error.get("category").is_some() {
                portal.mock.fail_row("C-1", error.clone(), 1);
            } else {
                continue;
            }
            assert_eq!(
                words(&portal.upsert(&portal.people([1])).await),
                [expected],
                "{whole} {error}"
            );
            assert_eq!(portal.metrics.unknown_codes(), unknown, "{whole} {error}");
        }
    }
    let malformed = json!({"status": "error", "message": "Invalid input JSON on line 2, column 9"});
    let too_large = json!({"status": "error", "message": "Request entity too large"});
    for (answer, expected) in [
        (Answer::json(400, &malformed), "isolated HTTP_400"),
        (Answer::json(413, &too_large), "isolated HTTP_413"),
        (Answer::empty(413), "retry HTTP_413"),
        (
            Answer::json(409, &json!({"message": "Conflict"})),
            "last CONFLICT",
        ),
    ] {
        let portal = Portal::new().await;
        portal.mock.next(answer);
        assert_eq!(words(&portal.upsert(&portal.people([1])).await), [expected]);
    }
}

pub async fn a_refused_batch_names_its_suspects() {
    let duplicate = json!({"category": "VALIDATION_ERROR", "context": {"ids": ["c-2"]},
        "message": "Duplicate IDs found in batch input: [c-2]. IDs must be unique"});
    let traced = json!({"category": "VALIDATION_ERROR",
        "errors": [{"code": "INVALID_DATE", "context": {"objectWriteTraceId": ["0"]}}]});
    let message = "Email address p3@example.com is invalid";
    let quoted = json!({"category": "VALIDATION_ERROR", "message": message});
    let message = "Invalid input JSON on line 3, column 9: Cannot deserialize value of type";
    let line = json!({"status": "error", "message": message});
    for (status, body, expected) in [
        (400, duplicate, "refused VALIDATION_ERROR [1]"),
        (400, traced, "refused INVALID_DATE [0]"),
        (400, quoted, "refused VALIDATION_ERROR [2]"),
        (400, line, "refused HTTP_400 [1]"),
        (409, json!({"category": "CONFLICT"}), "refused CONFLICT []"),
        (409, json!({"message": "Conflict"}), "refused CONFLICT []"),
        (
            409,
            json!({"category": "CONFLICT", "context": {"id": ["c-2"], "existingId": ["7"]}}),
            "refused EMAIL_CLASH [1]",
        ),
        (
            413,
            json!({"status": "error", "message": "Request entity too large"}),
            "refused HTTP_413 []",
        ),
    ] {
        let portal = Portal::new().await;
        portal.mock.next(Answer::json(status, &body));
        let reply = portal.upsert(&portal.people([1, 2, 3])).await;
        assert_eq!(words(&reply), [expected]);
        assert!(!format!("{reply:?}").contains("example.com"));
    }
}

pub async fn a_malformed_value_is_attributed_to_its_row_by_the_line() {
    let portal = Portal::new().await;
    let mut payloads = portal.people([1, 2]);
    payloads[0].body = None;
    assert_eq!(
        words(&portal.upsert(&payloads).await),
        ["rejected EMPTY_PAYLOAD", "delivered"]
    );
    payloads[0].body = json!({"email": 7}).as_object().cloned().map(Body::of);
    assert_eq!(
        words(&portal.upsert(&payloads).await),
        ["refused HTTP_400 [0]"]
    );
}
