use serde_json::{Value, json};

use super::super::codes::{ROWS, RowClass};
use super::super::{is_known, of_row};
use super::parse;
use crate::adapters::hubspot::model::tests::settings;
use crate::model::{Outcome, Retry, RetryMode};

/// Classifies a row, and names the outcome in a word.
fn row(error: &Value) -> String {
    match of_row(&parse(error), &settings()) {
        Outcome::Rejected(rejection) => format!("reject {}", rejection.code),
        Outcome::Retry(Retry { how, code, .. }) => match how {
            RetryMode::OnceMore(None, _) => format!("once {code}"),
            RetryMode::Last(_) => format!("last {code}"),
            RetryMode::Isolate(_) => format!("isolate {code}"),
            RetryMode::Same => format!("retry {code}"),
            other => format!("{other:?}"),
        },
        other => format!("{other:?}"),
    }
}

#[test]
fn rows_are_classified_by_their_code() {
    let hidden = r#"Property values were not valid: [{"error":"INVALID_EMAIL","name":"email"}]"#;
    for (error, expected) in [
        (
            json!({"category": "VALIDATION_ERROR"}),
            "reject VALIDATION_ERROR",
        ),
        (
            json!({"category": "VALIDATION_ERROR", "message": hidden}),
            "reject INVALID_EMAIL",
        ),
        (
            json!({"category": "VALIDATION_ERROR", "errors": [{"code": "INVALID_DATE"}]}),
            "reject INVALID_DATE",
        ),
        (
            json!({"category": "VALIDATION_ERROR", "subCategory": "crm.new"}),
            "reject crm.new",
        ),
        (
            json!({"category": "OBJECT_NOT_FOUND"}),
            "once OBJECT_NOT_FOUND",
        ),
        (json!({"category": "RATE_LIMITS"}), "retry RATE_LIMITS"),
        (
            json!({"category": "INVALID_AUTHENTICATION"}),
            "retry INVALID_AUTHENTICATION",
        ),
        (
            json!({"category": "EXPIRED_AUTHENTICATION"}),
            "retry EXPIRED_AUTHENTICATION",
        ),
        (
            json!({"category": "INTERNAL_ERROR"}),
            "isolate INTERNAL_ERROR",
        ),
        (json!({"category": "BRAND_NEW"}), "isolate BRAND_NEW"),
        (json!({"message": "something"}), "isolate NO_CODE"),
        (json!({}), "isolate NO_CODE"),
    ] {
        assert_eq!(row(&error), expected, "{error}");
    }
}

#[test]
fn a_clash_in_any_form_is_decided_after_all_other_records() {
    let on = |property: &str| {
        let coordinates =
            format!("PropertyValueCoordinates{{portalId=1, propertyName={property}, value=x}}");
        format!("Cannot set {coordinates} on 1. 2 already has that value.")
    };
    for (error, expected) in [
        (
            json!({"category": "VALIDATION_ERROR", "message": on("email")}),
            "last EMAIL_CLASH",
        ),
        (
            json!({"category": "VALIDATION_ERROR", "context": {"existingId": ["7"]}}),
            "last EMAIL_CLASH",
        ),
        (
            json!({"category": "VALIDATION_ERROR", "message": on("tax_number")}),
            "last VALUE_CLASH",
        ),
        (json!({"category": "CONFLICT"}), "last CONFLICT"),
        (
            json!({"category": "CONFLICT", "context": {"existingId": ["7"]}}),
            "last EMAIL_CLASH",
        ),
        (
            json!({"category": "CONFLICT", "message": "Contact already exists. Existing ID: 7"}),
            "last EMAIL_CLASH",
        ),
        (
            json!({"category": "OBJECT_ALREADY_EXISTS"}),
            "last EMAIL_CLASH",
        ),
        (
            json!({"error": "CONTACT_EXISTS", "identityProfile": {"vid": 7}}),
            "last EMAIL_CLASH",
        ),
        (
            json!({"category": "UNIQUE_VALUE_CONFLICT"}),
            "last UNIQUE_VALUE_CONFLICT",
        ),
        (
            json!({
                "category": "UNIQUE_VALUE_CONFLICT",
                "errorTokens": {"existingObjectId": ["7"]},
            }),
            "last EMAIL_CLASH",
        ),
        // Two tries of one write cause it for each other.
        (
            json!({"category": "VALIDATION_ERROR", "message": on("source_id")}),
            "once VALUE_CLASH",
        ),
        (
            json!({"category": "CONFLICT", "message": on("source_id")}),
            "once VALUE_CLASH",
        ),
    ] {
        assert_eq!(row(&error), expected, "{error}");
    }
}

#[test]
fn every_code_of_the_table_has_its_fate() {
    let fate =
        |(name, _): &(&str, RowClass)| format!("{name}: {}\n", row(&json!({"category": name})));
    insta::assert_snapshot!("rows", ROWS.iter().map(fate).collect::<String>());
}

#[test]
fn only_codes_that_no_table_has_are_unknown() {
    for (error, expected) in [
        (
            json!({"category": "VALIDATION_ERROR", "subCategory": "crm.new"}),
            true,
        ),
        (json!({"category": "CONFLICT"}), true),
        (json!({"category": "BRAND_NEW"}), false),
        (json!({}), true),
    ] {
        assert_eq!(is_known(&parse(&error)), expected, "{error}");
    }
}

#[test]
fn a_rejection_names_codes_fields_owner_and_correlation_id_but_no_value() {
    let clash = "Cannot set PropertyValueCoordinates{propertyName=email, value=ada@example.com} on \
        11. 22 already has that value.";
    let about = |properties: &[&str]| {
        let context = json!({"propertyName": properties});
        json!([{"code": "INVALID_INTEGER", "message": "x of Ada", "context": context}])
    };
    for (mut error, fields, expected) in [
        (
            json!({"message": clash, "correlationId": "aaaa-bbbb"}),
            &["email"][..],
            "VALIDATION_ERROR; record 22 has this value of `email` already; \
             correlation id aaaa-bbbb",
        ),
        (
            json!({"errors": about(&["plan", "seats"])}),
            &["plan", "seats"],
            "INVALID_INTEGER; VALIDATION_ERROR; it is about plan, seats",
        ),
        (json!({"message": "no Ada"}), &[], "VALIDATION_ERROR"),
    ] {
        error["category"] = "VALIDATION_ERROR".into();
        let (Outcome::Rejected(rejection)
        | Outcome::Retry(Retry {
            how: RetryMode::Last(rejection),
            ..
        })) = of_row(&parse(&error), &settings())
        else {
            panic!("not rejected, now or in the end")
        };
        assert_eq!(
            rejection.message,
            format!("HubSpot refuses the record: {expected}")
        );
        assert_eq!(rejection.fields, fields);
    }
}
