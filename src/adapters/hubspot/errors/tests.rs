mod rows;
mod settings;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::*;

fn parse(json: &Value) -> ApiError {
    ApiError::read(json).expect("an object")
}

/// Builds the refusal of a property, or of its value.
fn about(code: &str, property: &str) -> Value {
    let errors = json!([{"code": code, "context": {"propertyName": [property]}}]);
    json!({"category": "VALIDATION_ERROR", "errors": errors})
}

/// Classifies a whole response.
fn call_error(status: u16, headers: &[(&'static str, &'static str)], body: &Value) -> CallError {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect();
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let response = HttpResponse {
        status,
        headers,
        body: Bytes::from(text),
    };
    of_response(
        &response,
        ApiError::of_response(status, &response.body).as_ref(),
        &crate::adapters::hubspot::model::tests::settings(),
    )
}

/// Classifies a whole response, and formats the result as one line: the reaction, the code, the
/// pause in milliseconds.
fn response(status: u16, headers: &[(&'static str, &'static str)], body: &Value) -> String {
    let millis = |after: Option<Duration>| {
        after.map_or_else(|| "-".to_owned(), |after| after.as_millis().to_string())
    };
    match call_error(status, headers, body) {
        CallError::Throttled { code, after } => format!("throttled {code} {}", millis(after)),
        CallError::Retry {
            code,
            after,
            pressure,
            ..
        } => {
            format!(
                "{} {code} {}",
                if pressure { "slow down" } else { "retry" },
                millis(after)
            )
        }
        CallError::Refused { rejection, .. } => format!("refused {}", rejection.code),
        CallError::Stop(Stop {
            cause, code, after, ..
        }) => format!("{cause:?} {code} {}", millis(after)),
    }
}

const INTERVAL: &str = "x-hubspot-ratelimit-interval-milliseconds";

/// Returns an error of HubSpot with this category and message.
fn says(category: &str, message: &str) -> Value {
    json!({"status": "error", "category": category, "message": message})
}

#[test]
fn a_limit_stops_or_throttles_by_its_policy() {
    let limit =
        |policy: &str| json!({"status": "error", "errorType": "RATE_LIMIT", "policyName": policy});
    let says = |message: &str| json!({"category": "RATE_LIMITS", "message": message});
    for (headers, body, expected) in [
        (&[][..], limit("DAILY"), "Quota DAILY -"),
        (
            &[("retry-after", "60")],
            limit("DAILY"),
            "Quota DAILY 60000",
        ),
        (
            &[],
            says("You have reached your daily limit."),
            "Quota RATE_LIMITS -",
        ),
        (&[], limit("SECONDLY"), "throttled SECONDLY 1000"),
        (
            &[],
            says("You have reached your secondly limit."),
            "throttled RATE_LIMITS 1000",
        ),
        (
            &[("retry-after", "3")],
            limit("SECONDLY"),
            "throttled SECONDLY 3000",
        ),
        (
            &[],
            limit("TEN_SECONDLY_ROLLING"),
            "throttled TEN_SECONDLY_ROLLING 10000",
        ),
        (
            &[(INTERVAL, "4000")],
            limit("TEN_SECONDLY_ROLLING"),
            "throttled TEN_SECONDLY_ROLLING 4000",
        ),
        (
            &[(INTERVAL, "soon")],
            limit("TEN_SECONDLY_ROLLING"),
            "throttled TEN_SECONDLY_ROLLING 10000",
        ),
        (
            &[],
            says("You have reached your ten_secondly_rolling limit."),
            "throttled RATE_LIMITS 10000",
        ),
        (&[], limit("HOURLY"), "throttled HOURLY 1000"),
        (&[], Value::Null, "throttled HTTP_429 1000"),
        (
            &[("retry-after", "2")],
            Value::Null,
            "throttled HTTP_429 2000",
        ),
    ] {
        assert_eq!(response(429, headers, &body), expected, "{body}");
    }
}

#[test]
fn a_remedy_names_the_thing_to_change_and_quotes_no_contact() {
    let lacking = |scopes: &[&str]| {
        let errors = json!([{"context": {"requiredGranularScopes": scopes}}]);
        json!({"category": "MISSING_SCOPES", "errors": errors})
    };
    let configuration = Cause::Configuration;
    for (status, body, cause, expected) in [
        (
            403,
            lacking(&["crm.objects.contacts.write", "oauth"]),
            configuration,
            "crm.objects.contacts.write, oauth",
        ),
        (
            403,
            lacking(&["ada@example.com", "a b", "..", ""]),
            configuration,
            "crm.objects.contacts.write and",
        ),
        (
            403,
            json!({"status": "error"}),
            configuration,
            "crm.objects.contacts.write and",
        ),
        (
            403,
            says("USER_DOES_NOT_HAVE_PERMISSIONS", "no"),
            configuration,
            "the user who made the access token",
        ),
        (
            403,
            says("FORBIDDEN", "The IP address of ada is not allowed"),
            configuration,
            "outgoing addresses",
        ),
        (
            403,
            says("FORBIDDEN", "This account is inactive"),
            configuration,
            "account is not active",
        ),
        (
            401,
            says("INVALID_AUTHENTICATION", "credentials not found"),
            Cause::Credential,
            "hubspot.secret_id",
        ),
        (
            401,
            says("EXPIRED_AUTHENTICATION", "expired 0 second(s) ago"),
            Cause::Credential,
            "has expired",
        ),
        (
            401,
            says("INVALID_AUTHENTICATION", "The app was uninstalled"),
            configuration,
            "app is not installed",
        ),
        (
            404,
            says("", "resource not found"),
            configuration,
            "hubspot.api_version",
        ),
        (405, says("", "no"), configuration, "hubspot.base_url"),
        (410, says("", "gone"), configuration, "hubspot.api_version"),
    ] {
        let CallError::Stop(stop) = call_error(status, &[], &body) else {
            panic!("{body} does not stop")
        };
        assert!(
            stop.remedy.contains(expected) && !stop.remedy.contains("ada"),
            "{body}: {}",
            stop.remedy
        );
        assert_eq!(stop.cause, cause, "{body}");
    }
}

#[test]
fn a_status_without_hubspots_own_body_is_unavailability_without_a_remedy() {
    let bodies = [
        Value::Null,
        json!("<html><title>403 Forbidden</title></html>"),
        json!([]),
        json!({}),
        json!({"message": "Forbidden"}),
        json!({"status": 403, "error": "Forbidden", "path": "/crm"}),
        json!({"success": false, "errors": [{"code": 1020, "message": "Access denied"}]}),
    ];
    let silent = [
        400, 401, 403, 404, 405, 406, 409, 410, 413, 414, 415, 418, 422, 431, 451, 500, 501, 520,
        530, 599,
    ];
    for body in &bodies {
        for status in (300..=308).chain(silent) {
            let error = call_error(status, &[], body);
            assert!(
                matches!(error, CallError::Retry { after: None, .. }),
                "{status} {body}: {error:?}"
            );
        }
    }
    assert!(
        matches!(
            call_error(409, &[], &json!({"message": "Conflict"})),
            CallError::Refused { .. }
        ),
        "recorded"
    );
}

#[test]
fn a_status_determines_the_possible_cause() {
    use FailureCause::{Destination, Record, Size};
    for (status, expected) in [
        (408, Size),
        (413, Size),
        (414, Size),
        (431, Size),
        (502, Size),
        (504, Size),
        (524, Size),
        (407, Destination),
        (511, Destination),
        (521, Destination),
        (522, Destination),
        (523, Destination),
        (525, Destination),
        (526, Destination),
        (401, Record),
        (403, Record),
        (500, Record),
        (503, Record),
        (520, Record),
        (530, Record),
    ] {
        let CallError::Retry { cause, .. } = call_error(status, &[], &Value::Null) else {
            panic!("{status}")
        };
        assert_eq!(cause, expected, "{status}");
    }
}

#[test]
fn whole_responses_are_classified_by_status_and_category() {
    let category = |name: &str| json!({"status": "error", "category": name});
    let says = |message: &str| json!({"status": "error", "message": message, "correlationId": "c"});
    let scopes = ["crm.objects.contacts.sensitive.write"];
    let errors = json!([{"context": {"requiredGranularScopes": scopes}}]);
    let sensitive = json!({"category": "MISSING_SCOPES", "errors": errors});
    let forever = &[("retry-after", "18446744073709551615")][..];
    for (status, headers, body, expected) in [
        (
            401,
            &[][..],
            category("INVALID_AUTHENTICATION"),
            "Credential INVALID_AUTHENTICATION -",
        ),
        (
            403,
            &[],
            category("MISSING_SCOPES"),
            "Configuration MISSING_SCOPES -",
        ),
        (403, &[], says("no"), "Configuration HTTP_403 -"),
        (403, &[], sensitive, "refused MISSING_SCOPES"),
        (
            477,
            &[("retry-after", "7200")],
            json!({}),
            "Unavailable HTTP_477 7200000",
        ),
        (477, forever, json!({}), "Unavailable HTTP_477 86400000"),
        (423, &[], json!({}), "throttled HTTP_423 2000"),
        (
            423,
            &[("retry-after", "1")],
            json!({}),
            "throttled HTTP_423 2000",
        ),
        (
            423,
            &[("retry-after", "5")],
            json!({}),
            "throttled HTTP_423 5000",
        ),
        (408, &[], Value::Null, "slow down HTTP_408 -"),
        (500, &[], Value::Null, "retry HTTP_500 -"),
        (
            500,
            &[],
            category("INTERNAL_ERROR"),
            "retry INTERNAL_ERROR -",
        ),
        (502, &[], Value::Null, "retry HTTP_502 3000"),
        (
            503,
            &[("retry-after", "9")],
            Value::Null,
            "slow down HTTP_503 9000",
        ),
        (504, &[], json!({}), "retry HTTP_504 3000"),
        (521, &[], Value::Null, "retry HTTP_521 3000"),
        (522, &[], Value::Null, "retry HTTP_522 3000"),
        (524, &[], Value::Null, "retry HTTP_524 3000"),
        (525, &[], Value::Null, "retry HTTP_525 3000"),
        (
            302,
            &[("location", "https://example.com/")],
            Value::Null,
            "Configuration HTTP_302 -",
        ),
        (
            404,
            &[],
            says("resource not found"),
            "Configuration HTTP_404 -",
        ),
        (405, &[], says("no"), "Configuration HTTP_405 -"),
        (410, &[], says("gone"), "Configuration HTTP_410 -"),
        (413, &[], says("too large"), "refused HTTP_413"),
        (431, &[], says("too large"), "refused HTTP_431"),
        (
            400,
            &[],
            category("VALIDATION_ERROR"),
            "refused VALIDATION_ERROR",
        ),
        (
            400,
            &[],
            says("Invalid input JSON on line 3"),
            "refused HTTP_400",
        ),
        (
            400,
            &[],
            about("PROPERTY_DOESNT_EXIST", "source_id"),
            "refused PROPERTY_DOESNT_EXIST",
        ),
        (
            400,
            &[],
            about("PROPERTY_DOESNT_EXIST", "email"),
            "refused PROPERTY_DOESNT_EXIST",
        ),
        (
            400,
            &[],
            says("Unable to perform upsert by non-unique 0-1 property x"),
            "Configuration CONFIGURATION_REFUSED -",
        ),
        (
            404,
            &[],
            category("OBJECT_NOT_FOUND"),
            "refused OBJECT_NOT_FOUND",
        ),
        (409, &[], category("CONFLICT"), "refused CONFLICT"),
        (409, &[], says("Conflict"), "refused CONFLICT"),
        (409, &[], json!({"message": "Conflict"}), "refused CONFLICT"),
        (418, &[], says("no"), "retry HTTP_418 -"),
    ] {
        assert_eq!(
            response(status, headers, &body),
            expected,
            "{status} {body}"
        );
    }
}
