use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::*;
use crate::adapters::hubspot::model::tests::settings;

fn problem(error: &Value) -> Problem {
    Problem::read(error).expect("an object")
}

/// An outcome in a word.
fn row(error: &Value) -> String {
    match of_row(&problem(error), &settings()) {
        Outcome::Rejected(rejection) => format!("reject {}", rejection.code),
        Outcome::Retry(Retry { how: RetryMode::OnceMore(None, rejection), .. }) => format!("once {}", rejection.code),
        Outcome::Retry(Retry { how: RetryMode::Same, code, .. }) => format!("retry {code}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn rows_end_as_their_code_says() {
    let hidden = r#"Property values were not valid: [{"error":"INVALID_EMAIL","name":"email"}]"#;
    let key_clash =
        "Cannot set PropertyValueCoordinates{propertyName=source_id, value=c} on 1. 2 already has that value.";
    for (error, expected) in [
        (json!({"category": "VALIDATION_ERROR"}), "reject VALIDATION_ERROR"),
        (json!({"category": "VALIDATION_ERROR", "message": hidden}), "reject INVALID_EMAIL"),
        (json!({"category": "VALIDATION_ERROR", "errors": [{"code": "INVALID_DATE"}]}), "reject INVALID_DATE"),
        (json!({"category": "VALIDATION_ERROR", "subCategory": "crm.new"}), "reject crm.new"),
        (json!({"category": "CONFLICT"}), "reject CONFLICT"),
        (json!({"category": "CONFLICT", "context": {"existingId": ["7"]}}), "reject EMAIL_CLASH"),
        (json!({"category": "OBJECT_ALREADY_EXISTS"}), "reject EMAIL_CLASH"),
        (json!({"category": "VALIDATION_ERROR", "message": key_clash}), "once VALUE_CLASH"),
        (json!({"category": "OBJECT_NOT_FOUND"}), "once OBJECT_NOT_FOUND"),
        (json!({"category": "RATE_LIMITS"}), "retry RATE_LIMITS"),
        (json!({"category": "INVALID_AUTHENTICATION"}), "retry INVALID_AUTHENTICATION"),
        (json!({"category": "EXPIRED_AUTHENTICATION"}), "retry EXPIRED_AUTHENTICATION"),
        (json!({"category": "MISSING_SCOPES"}), "retry MISSING_SCOPES"),
        (json!({"category": "BRAND_NEW"}), "reject BRAND_NEW"),
        (json!({"message": "something"}), "once NO_CODE"),
        (json!({}), "once NO_CODE"),
    ] {
        assert_eq!(row(&error), expected, "{error}");
    }
}

#[test]
fn every_code_of_the_table_has_its_fate() {
    let fate = |(name, _): &(&str, Verdict)| format!("{name}: {}\n", row(&json!({"category": name})));
    insta::assert_snapshot!("rows", ROWS.iter().map(fate).collect::<String>());
}

#[test]
fn only_codes_that_no_table_has_are_unknown() {
    for (error, expected) in [
        (json!({"category": "VALIDATION_ERROR", "subCategory": "crm.new"}), true),
        (json!({"category": "CONFLICT"}), true),
        (json!({"category": "BRAND_NEW"}), false),
        (json!({}), false),
    ] {
        assert_eq!(is_known(&problem(&error)), expected, "{error}");
    }
}

#[test]
fn a_reason_names_codes_fields_owner_and_correlation_but_no_value() {
    let clash = "Cannot set PropertyValueCoordinates{propertyName=email, value=ada@example.com} on 11. 22 already \
        has that value.";
    let about = |properties: &[&str]| json!([{"code": "INVALID_INTEGER", "message": "x of Ada", "context": {"propertyName": properties}}]);
    for (mut error, fields, expected) in [
        (
            json!({"message": clash, "correlationId": "aaaa-bbbb"}),
            &["email"][..],
            "VALIDATION_ERROR; record 22 has this value of `email` already; correlation id aaaa-bbbb",
        ),
        (
            json!({"errors": about(&["plan", "seats"])}),
            &["plan", "seats"],
            "INVALID_INTEGER; VALIDATION_ERROR; it is about plan, seats",
        ),
        (json!({"message": "no Ada"}), &[], "VALIDATION_ERROR"),
    ] {
        error["category"] = "VALIDATION_ERROR".into();
        let Outcome::Rejected(rejection) = of_row(&problem(&error), &settings()) else { panic!("not rejected") };
        assert_eq!(rejection.message, format!("HubSpot refuses the record: {expected}"));
        assert_eq!(rejection.fields, fields);
    }
}

#[test]
fn what_settings_chose_rejects_no_record_and_stops_the_destination_where_every_record_has_it() {
    let mut settings = settings();
    settings.version_property = "source_version".to_owned();
    settings.type_property = "contact_type".to_owned();
    settings.attributes.insert("segment".to_owned(), "segment_name".to_owned());
    let about = |code: &str, property: &str| json!({"category": "VALIDATION_ERROR", "errors": [{"code": code, "context": {"propertyName": [property]}}]});
    for (error, expected) in [
        (about("PROPERTY_DOESNT_EXIST", "source_id"), Some(true)),
        (about("PROPERTY_DOESNT_EXIST", "source_version"), Some(true)),
        (about("READ_ONLY_VALUE", "contact_type"), Some(true)),
        (about("INVALID_OPTION", "contact_type"), Some(false)),
        (about("INVALID_OPTION", "lifecyclestage"), Some(false)),
        (json!({"message": "Unable to perform update/upsert by non-unique 0-1 property source_id"}), Some(true)),
        (json!({"category": "VALIDATION_ERROR", "message": "the value by non-unique & Sons is invalid"}), None),
        (about("PROPERTY_DOESNT_EXIST", "plan_name"), Some(false)),
        (about("READ_ONLY_VALUE", "segment_name"), Some(false)),
        (about("PROPERTY_DOESNT_EXIST", "email"), None),
        (about("INVALID_OPTION", "plan_name"), None),
        (about("INVALID_INTEGER", "plan_name"), None),
        (about("INVALID_LONG", "lifecyclestage"), None),
        (about("INVALID_EMAIL", "email"), None),
    ] {
        let unfit = of_settings(&problem(&error), &settings);
        let told = unfit.as_ref().map(|unfit| unfit.is_everywhere);
        assert_eq!(told, expected, "{error}");
        assert!(unfit.is_none_or(|unfit| unfit.stop.cause == Cause::Configuration), "{error}");
    }
}

#[test]
fn a_producers_value_stops_nothing() {
    let mut settings = settings();
    settings.type_property = "contact_type".to_owned();
    for property in ["contact_type", STAGE] {
        let error = json!({"errors": [{"code": "INVALID_OPTION", "context": {"propertyName": [property]}}]});
        settings.attributes.clear();
        assert!(of_settings(&problem(&error), &settings).is_some(), "{property}: settings chose the value");
        settings.attributes.insert("kind".to_owned(), property.to_owned());
        assert!(of_settings(&problem(&error), &settings).is_none(), "{property}: an attribute may have");
    }
}

/// What a whole answer means for the call.
fn call_error(status: u16, headers: &[(&'static str, &'static str)], body: &Value) -> CallError {
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
    let answer = HttpAnswer { status, headers, body: Bytes::new() };
    of_answer(&answer, Problem::read(body).as_ref(), &settings())
}

/// The same in a line: what to do, the code, the wait in milliseconds.
fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &Value) -> String {
    let millis = |after: Option<Duration>| after.map_or_else(|| "-".to_owned(), |after| after.as_millis().to_string());
    match call_error(status, headers, body) {
        CallError::Throttled { code, after } => format!("throttled {code} {}", millis(after)),
        CallError::Retry { code, after, pressure, .. } => {
            format!("{} {code} {}", if pressure { "slow down" } else { "retry" }, millis(after))
        }
        CallError::Refused { rejection, .. } => format!("refused {}", rejection.code),
        CallError::Stop(Stop { cause, code, after, .. }) => format!("{cause:?} {code} {}", millis(after)),
    }
}

const INTERVAL: &str = "x-hubspot-ratelimit-interval-milliseconds";

#[test]
fn limits_stop_or_slow_down_by_their_policy() {
    let limit = |policy: &str| json!({"status": "error", "errorType": "RATE_LIMIT", "policyName": policy});
    let says = |message: &str| json!({"category": "RATE_LIMITS", "message": message});
    for (headers, body, expected) in [
        (&[][..], limit("DAILY"), "Quota DAILY -"),
        (&[("retry-after", "60")], limit("DAILY"), "Quota DAILY 60000"),
        (&[], says("You have reached your daily limit."), "Quota RATE_LIMITS -"),
        (&[], limit("SECONDLY"), "throttled SECONDLY 1000"),
        (&[], says("You have reached your secondly limit."), "throttled RATE_LIMITS 1000"),
        (&[("retry-after", "3")], limit("SECONDLY"), "throttled SECONDLY 3000"),
        (&[], limit("TEN_SECONDLY_ROLLING"), "throttled TEN_SECONDLY_ROLLING 10000"),
        (&[(INTERVAL, "4000")], limit("TEN_SECONDLY_ROLLING"), "throttled TEN_SECONDLY_ROLLING 4000"),
        (&[(INTERVAL, "soon")], limit("TEN_SECONDLY_ROLLING"), "throttled TEN_SECONDLY_ROLLING 10000"),
        (&[], says("You have reached your ten_secondly_rolling limit."), "throttled RATE_LIMITS 10000"),
        (&[], limit("HOURLY"), "throttled HOURLY 1000"),
        (&[], Value::Null, "throttled HTTP_429 1000"),
        (&[("retry-after", "2")], Value::Null, "throttled HTTP_429 2000"),
    ] {
        assert_eq!(answer(429, headers, &body), expected, "{body}");
    }
}

#[test]
fn a_403_says_what_is_lacking_and_quotes_nobody() {
    let lacking = |scopes: &[&str]| json!({"category": "MISSING_SCOPES", "errors": [{"context": {"requiredGranularScopes": scopes}}]});
    for (body, expected) in [
        (lacking(&["crm.objects.contacts.write", "oauth"]), "asks for: crm.objects.contacts.write, oauth"),
        (lacking(&["ada@example.com", "a b", "..", ""]), "crm.objects.contacts.write and"),
        (Value::Null, "crm.objects.contacts.write and"),
        (json!({"category": "USER_DOES_NOT_HAVE_PERMISSIONS"}), "the user who made the access token"),
    ] {
        let CallError::Stop(stop) = call_error(403, &[], &body) else { panic!("{body} does not stop") };
        assert!(stop.remedy.contains(expected) && !stop.remedy.contains("ada"), "{body}: {}", stop.remedy);
        assert_eq!(stop.cause, Cause::Configuration);
    }
}

#[test]
fn whole_answers_end_as_their_status_says() {
    let category = |name: &str| json!({"status": "error", "category": name});
    let forever = &[("retry-after", "18446744073709551615")][..];
    for (status, headers, body, expected) in [
        (401, &[][..], category("INVALID_AUTHENTICATION"), "Credential INVALID_AUTHENTICATION -"),
        (401, &[], Value::Null, "Credential HTTP_401 -"),
        (403, &[], category("MISSING_SCOPES"), "Configuration MISSING_SCOPES -"),
        (403, &[], Value::Null, "Configuration HTTP_403 -"),
        (477, &[("retry-after", "7200")], json!({}), "Unavailable HTTP_477 7200000"),
        (477, forever, json!({}), "Unavailable HTTP_477 86400000"),
        (423, &[], json!({}), "throttled HTTP_423 2000"),
        (423, &[("retry-after", "1")], json!({}), "throttled HTTP_423 2000"),
        (423, &[("retry-after", "5")], json!({}), "throttled HTTP_423 5000"),
        (408, &[], Value::Null, "slow down HTTP_408 -"),
        (500, &[], Value::Null, "retry HTTP_500 -"),
        (502, &[], Value::Null, "retry HTTP_502 3000"),
        (503, &[("retry-after", "9")], Value::Null, "slow down HTTP_503 9000"),
        (504, &[], json!({}), "retry HTTP_504 3000"),
        (521, &[], Value::Null, "retry HTTP_521 3000"),
        (522, &[], Value::Null, "retry HTTP_522 3000"),
        (524, &[], Value::Null, "retry HTTP_524 3000"),
        (525, &[], Value::Null, "retry HTTP_525 3000"),
        (599, &[], Value::Null, "retry HTTP_599 -"),
        (302, &[], Value::Null, "Configuration HTTP_302 -"),
        (404, &[], json!({"message": "resource not found"}), "Configuration HTTP_404 -"),
        (404, &[], Value::Null, "Configuration HTTP_404 -"),
        (405, &[], Value::Null, "Configuration HTTP_405 -"),
        (413, &[], Value::Null, "refused HTTP_413"),
        (400, &[], category("VALIDATION_ERROR"), "refused VALIDATION_ERROR"),
        (400, &[], json!({"message": "Invalid input JSON on line 3"}), "refused HTTP_400"),
        (
            400,
            &[],
            json!({"message": "Unable to perform upsert by non-unique 0-1 property x"}),
            "Configuration CONFIGURATION_REFUSED -",
        ),
        (404, &[], category("OBJECT_NOT_FOUND"), "refused OBJECT_NOT_FOUND"),
        (409, &[], category("CONFLICT"), "refused CONFLICT"),
        (400, &[], Value::Null, "retry HTTP_400 -"),
        (409, &[], Value::Null, "retry HTTP_409 -"),
        (418, &[], json!({}), "retry HTTP_418 -"),
    ] {
        assert_eq!(answer(status, headers, &body), expected, "{status} {body}");
    }
}
