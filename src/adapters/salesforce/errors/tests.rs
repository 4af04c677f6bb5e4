use bytes::Bytes;
use reqwest::header::HeaderMap;

use super::codes::{PUBLISHED, ROWS};
use super::*;
use crate::adapters::salesforce::model::tests::settings;

fn error_of(code: &str, message: &str, fields: &[&str]) -> ApiError {
    let fields = fields.iter().map(|field| (*field).to_owned()).collect();
    ApiError {
        code: Some(code.to_owned()),
        message: Some(message.to_owned()),
        fields,
    }
}

fn body() -> Body {
    Body::of(serde_json::from_str(r#"{"FirstName":"Ada"}"#).expect("an object"))
}

/// Names the outcome in a word.
fn word(outcome: &Outcome) -> &'static str {
    let retry = match outcome {
        Outcome::Delivered(_) => return "delivered",
        Outcome::Skipped(_) => return "skipped",
        Outcome::Stale => return "stale",
        Outcome::Rejected(_) => return "rejected",
        Outcome::Failed(_) => return "failed",
        Outcome::Retry(retry) => retry,
    };
    match retry.how {
        RetryMode::Same => "same",
        RetryMode::SplitBatch => "split",
        RetryMode::Isolate(_) => "isolated",
        RetryMode::Last(_) => "last",
        RetryMode::OnceMore(None, _) => "once more",
        RetryMode::OnceMore(Some(_), _) => "once more with defaults",
        RetryMode::Without(..) => "once more without a field",
        RetryMode::Whole(_) => "once more as a whole row",
    }
}

const AMONG_OTHERS: Neighbours = Neighbours {
    is_alone: false,
    any_written: true,
};

const ALONE: Neighbours = Neighbours {
    is_alone: true,
    any_written: false,
};

fn outcome(
    error: &ApiError,
    body: Option<&Body>,
    neighbours: Neighbours,
    settings: &Settings,
) -> &'static str {
    word(&of_row(
        &RowError::new(error.clone(), body, settings),
        body,
        neighbours,
        settings,
    ))
}

fn upserted(error: &ApiError) -> &'static str {
    outcome(error, Some(&body()), AMONG_OTHERS, &settings())
}

#[test]
fn rows_are_classified_by_code_and_message() {
    for (code, message, fields, expected) in [
        (
            "UNABLE_TO_LOCK_ROW",
            "unable to obtain exclusive access",
            &[][..],
            "split",
        ),
        ("TOO_MANY_APEX_REQUESTS", "", &[], "split"),
        ("INTERNAL_ERROR", "", &[], "isolated"),
        ("QUERY_TIMEOUT", "", &[], "isolated"),
        ("REQUEST_RUNNING_TOO_LONG", "", &[], "split"),
        ("PLATFORM_EVENT_PUBLISH_FAILED", "", &[], "isolated"),
        ("RECORD_IN_USE_BY_WORKFLOW", "", &[], "split"),
        ("INVALID_FIELD", "No such column", &[], "failed"),
        (
            "INVALID_EMAIL_ADDRESS",
            "Email: invalid email address: x",
            &["Email"],
            "rejected",
        ),
        (
            "DUPLICATE_VALUE",
            "duplicate value found: Source_Id__c duplicates value on record",
            &[],
            "last",
        ),
        (
            "DUPLICATE_VALUE",
            "duplicate value found: Other__c duplicates value on record",
            &[],
            "last",
        ),
        (
            "DUPLICATE_VALUE",
            "duplicate value found: Other_Source_Id__c duplicates value on",
            &[],
            "last",
        ),
        (
            "DUPLICATE_VALUE",
            "a localized message",
            &["source_id__c"],
            "last",
        ),
        (
            "DUPLICATE_VALUE",
            "a localized message",
            &["Other__c"],
            "last",
        ),
        (
            "DUPLICATES_DETECTED",
            "Use one of these records?",
            &[],
            "last",
        ),
        (
            "DUPLICATE_EXTERNAL_ID",
            "more than one",
            &["Source_Id__c"],
            "last",
        ),
        (
            "DUPLICATE_VALUE",
            "Duplicate external id specified: c-1",
            &["Source_Id__c"],
            "split",
        ),
        (
            "REQUIRED_FIELD_MISSING",
            "Required fields are missing: [LastName]",
            &["LastName"],
            "once more with defaults",
        ),
        (
            "REQUIRED_FIELD_MISSING",
            "Required fields are missing: [Company]",
            &[],
            "once more with defaults",
        ),
        (
            "REQUIRED_FIELD_MISSING",
            "Required fields are missing: [Tax__c]",
            &["Tax__c"],
            "rejected",
        ),
        (
            "REQUIRED_FIELD_MISSING",
            "two",
            &["LastName", "Tax__c"],
            "rejected",
        ),
        (
            "CANNOT_UPDATE_CONVERTED_LEAD",
            "cannot reference converted lead",
            &[],
            "skipped",
        ),
        (
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            "LeadTrigger: UNABLE_TO_LOCK_ROW, unable",
            &[],
            "split",
        ),
        (
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            "LeadTrigger: Apex CPU time limit exceeded",
            &[],
            "split",
        ),
        (
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            "LeadTrigger: System.LimitException: Too many DML",
            &[],
            "split",
        ),
        (
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            "LeadTrigger: no",
            &[],
            "rejected",
        ),
        (
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            "LeadTrigger: entity type cannot be inserted: Lead",
            &[],
            "rejected",
        ),
        (
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            "entity type cannot be inserted: Lead",
            &[],
            "failed",
        ),
        ("STORAGE_LIMIT_EXCEEDED", "", &[], "failed"),
        (
            "INVALID_CROSS_REFERENCE_KEY",
            "invalid cross reference id",
            &[],
            "rejected",
        ),
        ("INVALID_SESSION_ID", "", &[], "same"),
        ("LIMIT_EXCEEDED", "", &[], "split"),
        ("ENTITY_IS_DELETED", "entity is deleted", &[], "once more"),
        ("INSUFFICIENT_ACCESS_OR_READONLY", "", &[], "rejected"),
        ("A_CODE_OF_TOMORROW", "", &[], "isolated"),
    ] {
        assert_eq!(
            upserted(&error_of(code, message, fields)),
            expected,
            "{code} {message}"
        );
    }
    let delete = |code| outcome(&error_of(code, "", &[]), None, AMONG_OTHERS, &settings());
    assert_eq!(delete("ENTITY_IS_DELETED"), "delivered", "on a delete");
    assert_eq!(
        delete("INVALID_CROSS_REFERENCE_KEY"),
        "once more",
        "on a delete the next look-up decides"
    );
    let kept = Settings {
        converted_leads: ConvertedLeads::DeadLetter,
        ..settings()
    };
    let converted = error_of("CANNOT_UPDATE_CONVERTED_LEAD", "", &[]);
    assert_eq!(
        outcome(&converted, Some(&body()), AMONG_OTHERS, &kept),
        "rejected"
    );
}

#[test]
fn a_failure_that_one_record_may_always_meet_isolates_a_record_that_is_alone() {
    let trigger = "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY";
    for (code, message, expected) in [
        (
            trigger,
            "LeadTrigger: Too many SOQL queries: 101",
            "isolated",
        ),
        ("LIMIT_EXCEEDED", "", "isolated"),
        ("REQUEST_RUNNING_TOO_LONG", "", "isolated"),
        ("PROCESSING_HALTED", "", "isolated"),
        ("UNKNOWN_EXCEPTION", "", "isolated"),
        ("ALREADY_IN_PROCESS", "", "isolated"),
        ("INSUFFICIENT_ACCESS_OR_READONLY", "", "isolated"),
        // A lock ends with the transaction that holds it.
        ("UNABLE_TO_LOCK_ROW", "", "split"),
        (
            trigger,
            "LeadTrigger: Record Currently Unavailable",
            "split",
        ),
        ("SERVICE_UNAVAILABLE", "", "same"),
        ("CONFLICT", "", "once more"),
    ] {
        let row = error_of(code, message, &[]);
        assert_eq!(
            outcome(&row, Some(&body()), ALONE, &settings()),
            expected,
            "{code} {message}"
        );
    }
}

#[test]
fn a_passing_failure_within_a_trigger_is_recognized_by_its_wording() {
    let quoting = r#"{"Company":"Deadlock Brewery","LastName":"Mr UNABLE_TO_LOCK_ROW"}"#;
    let quoting = Body::of(serde_json::from_str(quoting).expect("an object"));
    let lock = "System.QueryException: Record Currently Unavailable: The record you are attempting \
        to edit is currently being modified by another user";
    for code in [
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        "CANNOT_EXECUTE_FLOW_TRIGGER",
        "FLOW_EXCEPTION",
        "APEX_FAILED",
    ] {
        for (message, expected) in [
            (
                format!("LeadTrigger: execution of BeforeUpdate caused by: {lock}"),
                "split",
            ),
            (
                "npsp.LeadTrigger: UNABLE TO OBTAIN EXCLUSIVE ACCESS to this record".to_owned(),
                "split",
            ),
            ("t: (being modified by another user)".to_owned(), "split"),
            (
                "t: deadlock detected while waiting for a resource".to_owned(),
                "split",
            ),
            (
                "the flow tried to update records: UNABLE_TO_LOCK_ROW: unable to obtain".to_owned(),
                "split",
            ),
            (
                "t: first error: unable_to_lock_row, blocked: []".to_owned(),
                "split",
            ),
            (
                "t: System.LimitException: npsp:Too many DML statements: 151".to_owned(),
                "split",
            ),
            ("npe01: too many query rows: 50001".to_owned(), "split"),
            ("t: Too many DML rows: 10001".to_owned(), "split"),
            ("t: Too many callouts: 101".to_owned(), "split"),
            ("t: Too many future calls: 51".to_owned(), "split"),
            (
                "t: Too many queueable jobs added to the queue: 51".to_owned(),
                "split",
            ),
            ("t: Apex heap size too large: 6000001".to_owned(), "split"),
            ("t: Apex CPU time limit exceeded".to_owned(), "split"),
            (
                "t: first error: REQUEST_RUNNING_TOO_LONG, too long: []".to_owned(),
                "split",
            ),
            (
                "t: first error: UNKNOWN_EXCEPTION, An unexpected error occurred: []".to_owned(),
                "isolated",
            ),
            (
                "t: first error: SERVICE_UNAVAILABLE, later: []".to_owned(),
                "same",
            ),
            (
                "t: first error: DUPLICATE_VALUE, duplicate value found: X__c: []".to_owned(),
                "last",
            ),
            // A code of another kind decides, with any text after it.
            (
                "t: first error: FIELD_CUSTOM_VALIDATION_EXCEPTION, the Deadlock is barred: []"
                    .to_owned(),
                "rejected",
            ),
            (
                "t: first error: REQUIRED_FIELD_MISSING, Required fields are missing: [Subject]"
                    .to_owned(),
                "rejected",
            ),
            (
                "t: first error: INSUFFICIENT_ACCESS_OR_READONLY, deadlock: []".to_owned(),
                "rejected",
            ),
            (
                format!("t: first error: {code}, u: caused by: UNABLE_TO_LOCK_ROW, x: []"),
                "split",
            ),
            // The record's own texts do not count.
            ("t: Deadlock Brewery is on our list".to_owned(), "rejected"),
            (
                "t: no contact may be called Mr UNABLE_TO_LOCK_ROW".to_owned(),
                "rejected",
            ),
            ("t: no".to_owned(), "rejected"),
        ] {
            let row = error_of(code, &message, &[]);
            assert_eq!(
                outcome(&row, Some(&quoting), AMONG_OTHERS, &settings()),
                expected,
                "{code} {message}"
            );
        }
    }
    let rule = error_of(
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "the deadlock of Apex CPU time limit",
        &[],
    );
    assert_eq!(
        upserted(&rule),
        "rejected",
        "a validation rule is no trigger"
    );
}

#[test]
fn the_error_that_can_never_pass_decides_among_several_and_else_the_first() {
    let of = |codes: &[&str]| {
        let errors = codes.iter().map(|code| error_of(code, "", &[])).collect();
        RowError::deciding(errors, Some(&body()), &settings())
            .api_error
            .code()
            .to_string()
    };
    for (codes, expected) in [
        (
            &[
                "UNABLE_TO_LOCK_ROW",
                "INVALID_EMAIL_ADDRESS",
                "STRING_TOO_LONG",
            ][..],
            "INVALID_EMAIL_ADDRESS",
        ),
        (
            &["INVALID_EMAIL_ADDRESS", "UNABLE_TO_LOCK_ROW"],
            "INVALID_EMAIL_ADDRESS",
        ),
        (
            &["UNABLE_TO_LOCK_ROW", "QUERY_TIMEOUT"],
            "UNABLE_TO_LOCK_ROW",
        ),
        (
            &["INVALID_FIELD", "INVALID_EMAIL_ADDRESS"],
            "INVALID_EMAIL_ADDRESS",
        ),
        (&["UNABLE_TO_LOCK_ROW", "INVALID_FIELD"], "INVALID_FIELD"),
        (&[], "NO_REASON"),
    ] {
        assert_eq!(of(codes), expected, "{codes:?}");
    }
}

/// Returns the fates of a row: of an upsert with others, alone, of a delete with others; and of a
/// whole response that consists of one or of two such rows.
fn fate(error: &ApiError) -> [&'static str; 5] {
    let row_error = RowError::new(error.clone(), Some(&body()), &settings());
    let of_all = |rows: &[Option<&RowError>]| {
        if of_all_rows(rows, rows.len()).is_some() {
            "stop"
        } else {
            "-"
        }
    };
    let row = Some(&row_error);
    let alone = outcome(error, Some(&body()), ALONE, &settings());
    let delete = outcome(error, None, AMONG_OTHERS, &settings());
    [
        upserted(error),
        alone,
        delete,
        of_all(&[row]),
        of_all(&[row, row]),
    ]
}

#[test]
fn each_status_code_has_a_known_fate() {
    const ORDINARY: [&str; 5] = ["rejected", "rejected", "rejected", "-", "-"];
    let line = |name: &str, [batch, alone, delete, one, two]: [&str; 5]| {
        format!("{name:<53} {batch:<9} {alone:<9} {delete:<9} {one:<5} {two}")
            .trim_end()
            .to_owned()
            + "\n"
    };
    let mut table = line("code", ["batch", "alone", "delete", "one", "two"]);
    for (code, class) in ROWS {
        table += &line(code, fate(&error_of(code, "", &[])));
        let messages = if *class == RowClass::Trigger {
            &MESSAGES[..]
        } else {
            &[]
        };
        for message in messages {
            table += &line(&format!("  {message}"), fate(&error_of(code, message, &[])));
        }
    }
    insta::assert_snapshot!("fates_by_code", table);
    assert_eq!(PUBLISHED.lines().count(), 592);
    for code in PUBLISHED.lines() {
        let error = error_of(code, "", &[]);
        assert!(is_known(&error), "{code}");
        assert!(
            fate(&error) == ORDINARY || ROWS.iter().any(|(name, _)| *name == code),
            "{code}"
        );
    }
    assert!(!is_known(&error_of("A_CODE_OF_TOMORROW", "", &[])));
}

/// Messages that distinguish the failures of a trigger.
const MESSAGES: [&str; 7] = [
    "t: UNABLE_TO_LOCK_ROW, unable to obtain",
    "t: Record Currently Unavailable",
    "t: Too many SOQL queries: 101",
    "t: Apex CPU time limit exceeded",
    "t: System.LimitException: Too many DML rows",
    "entity type cannot be inserted: Lead",
    "entity type cannot be inserted: Something",
];

/// Returns the cause for which an upsert of as many records stops the destination, if it does. A
/// row is a code and the fields that it names.
fn stop_of(rows: &[Option<(&str, &str)>], settings: &Settings) -> Option<Cause> {
    let row = |(code, fields): (&str, &str)| {
        let fields: Vec<&str> = fields.split_whitespace().collect();
        RowError::new(error_of(code, "", &fields), Some(&body()), settings)
    };
    let rows: Vec<Option<RowError>> = rows.iter().map(|named| named.map(row)).collect();
    let errors: Vec<Option<&RowError>> = rows.iter().map(Option::as_ref).collect();
    of_all_rows(&errors, errors.len()).map(|stop| stop.cause)
}

#[test]
fn only_an_error_that_cannot_be_one_record_s_stops_the_destination() {
    let guarded = Settings {
        version_field: "Version__c".to_owned(),
        ..settings()
    };
    let none = "";
    let configuration = Some(Cause::Configuration);
    for (rows, expected) in [
        (&[Some(("INVALID_FIELD", none))][..], None),
        (&[Some(("INVALID_FIELD", none)); 2], configuration),
        (
            &[Some(("INVALID_FIELD", none)), Some(("INVALID_TYPE", none))],
            configuration,
        ),
        (
            &[Some(("INVALID_FIELD_FOR_INSERT_UPDATE", "Version__c")); 2],
            configuration,
        ),
        (
            &[Some(("INVALID_FIELD_FOR_INSERT_UPDATE", "Source_Id__c")); 2],
            configuration,
        ),
        (
            &[Some(("NUMBER_OUTSIDE_VALID_RANGE", "version__c")); 2],
            configuration,
        ),
        (
            &[Some(("INVALID_FIELD_FOR_INSERT_UPDATE", "Version__c"))],
            None,
        ),
        (
            &[
                Some(("INVALID_FIELD_FOR_INSERT_UPDATE", "Version__c")),
                None,
            ],
            None,
        ),
        // The next records may lack these fields.
        (
            &[Some(("INVALID_FIELD_FOR_INSERT_UPDATE", "MobilePhone")); 2],
            None,
        ),
        (
            &[Some(("INVALID_FIELD_FOR_INSERT_UPDATE", "Plan__c")); 2],
            None,
        ),
        (
            &[Some(("INVALID_FIELD_FOR_INSERT_UPDATE", "Status")); 2],
            None,
        ),
        (
            &[Some(("INVALID_FIELD_FOR_INSERT_UPDATE", "Of_The_Org__c")); 2],
            None,
        ),
        (
            &[Some(("INVALID_FIELD_FOR_INSERT_UPDATE", "Version__c MobilePhone")); 2],
            None,
        ),
        (
            &[
                Some(("INVALID_FIELD", none)),
                Some(("STRING_TOO_LONG", none)),
            ],
            None,
        ),
        (&[Some(("INVALID_FIELD", none)), None], None),
        (&[Some(("INSUFFICIENT_ACCESS_OR_READONLY", none)); 2], None),
        (&[Some(("UNKNOWN_EXCEPTION", none)); 3], None),
        (&[Some(("STRING_TOO_LONG", none)); 3], None),
        // These are about the account.
        (
            &[None, Some(("STORAGE_LIMIT_EXCEEDED", none))],
            Some(Cause::Quota),
        ),
        (&[Some(("API_DISABLED_FOR_ORG", none))], configuration),
        (&[None, Some(("ORG_LOCKED", none))], configuration),
        (&[], None),
    ] {
        assert_eq!(stop_of(rows, &guarded), expected, "{rows:?}");
    }
    let row = |message: &str, settings: &Settings| {
        let error = error_of("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", message, &[]);
        let error = RowError::new(error, Some(&body()), settings);
        of_all_rows(&[None, Some(&error)], 2).is_some()
    };
    assert!(
        row("entity type cannot be inserted: Lead", &settings()),
        "a missing right is no record's fault"
    );
    let custom = Settings {
        sobject: "Our_Lead__c".to_owned(),
        ..settings()
    };
    assert!(
        row("entity type cannot be inserted: Our Lead", &custom),
        "the message contains the label"
    );
    let error = RowError::new(error_of("INVALID_FIELD", "", &[]), None, &settings());
    let rows = [Some(&error), Some(&error)];
    assert!(
        of_all_rows(&rows, 1).is_none(),
        "two records of one contact are one"
    );
}

#[test]
fn whole_responses_are_classified_by_status_and_code() {
    let json =
        |code: &str, message: &str| format!(r#"[{{"errorCode":"{code}","message":"{message}"}}]"#);
    for (status, text, expected) in [
        (
            401,
            json("INVALID_SESSION_ID", "Session expired or invalid"),
            "stop Credential",
        ),
        (
            401,
            json(
                "INVALID_SESSION_ID",
                "This session is not valid for use with the REST API",
            ),
            "stop Configuration",
        ),
        (
            403,
            json("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
            "stop Quota",
        ),
        (
            403,
            json(
                "REQUEST_LIMIT_EXCEEDED",
                "ConcurrentPerOrgLongTxn Limit exceeded.",
            ),
            "throttled",
        ),
        (403, json("API_DISABLED_FOR_ORG", ""), "stop Configuration"),
        (403, "<html>".to_owned(), "retry"),
        (
            404,
            json("NOT_FOUND", "Provided external ID field does not exist"),
            "stop Configuration",
        ),
        (404, String::new(), "retry"),
        (401, String::new(), "retry"),
        (401, "<html>".to_owned(), "retry"),
        (
            403,
            r#"{"error":"forbidden","message":"no"}"#.to_owned(),
            "retry",
        ),
        (
            404,
            r#"{"message":"no Route matched with those values"}"#.to_owned(),
            "retry",
        ),
        (410, "<html>".to_owned(), "retry"),
        (410, r#"{"error":"GONE"}"#.to_owned(), "retry"),
        (403, "Bad_OAuth_Token".to_owned(), "retry"),
        (400, json("INVALID_FIELD", ""), "stop Configuration"),
        (400, json("JSON_PARSER_ERROR", ""), "refused"),
        (400, json("MALFORMED_QUERY", "unexpected token"), "refused"),
        (400, json("UNKNOWN_EXCEPTION", ""), "retry"),
        (403, json("UNKNOWN_EXCEPTION", ""), "retry"),
        (404, json("INTERNAL_ERROR", ""), "retry"),
        (
            400,
            json("REQUIRED_FIELD_MISSING", "At least 1 record is required"),
            "refused",
        ),
        (400, "no JSON".to_owned(), "retry"),
        (400, json("UNABLE_TO_LOCK_ROW", ""), "retry size"),
        (
            500,
            r#"[{"errorCode":"UNABLE_TO_LOCK_ROW"}]"#.to_owned(),
            "retry size",
        ),
        (500, json("REQUEST_RUNNING_TOO_LONG", ""), "retry size"),
        (400, json("REQUEST_RUNNING_TOO_LONG", ""), "retry size"),
        (400, json("QUERY_TIMEOUT", ""), "retry size"),
        (400, json("LIMIT_EXCEEDED", ""), "retry size"),
        (400, json("API_CURRENTLY_DISABLED", "down"), "retry"),
        (
            403,
            json("API_CURRENTLY_DISABLED", "API is disabled for this User"),
            "stop Configuration",
        ),
        (409, json("CONFLICT", ""), "retry"),
        (404, json("INVALID_QUERY_LOCATOR", ""), "retry"),
        (400, json("INVALID_QUERY_LOCATOR", ""), "retry"),
        (400, json("STORAGE_LIMIT_EXCEEDED", ""), "stop Quota"),
        (400, json("ORG_LOCKED", ""), "stop Configuration"),
        (
            403,
            json("TXN_SECURITY_NO_ACCESS", ""),
            "stop Configuration",
        ),
        (
            410,
            json("UNSUPPORTED_API_VERSION", ""),
            "stop Configuration",
        ),
        (413, String::new(), "retry size"),
        (414, "<html>".to_owned(), "retry size"),
        (431, String::new(), "retry size"),
        (408, String::new(), "retry size"),
        (420, String::new(), "retry destination"),
        (429, String::new(), "throttled"),
        (500, json("UNKNOWN_EXCEPTION", ""), "retry"),
        (502, "<html>".to_owned(), "retry"),
        (
            503,
            r#"{"errorCode":"SERVER_UNAVAILABLE","message":"Server Unavailable"}"#.to_owned(),
            "retry pressure",
        ),
        (504, String::new(), "retry size pressure"),
        (302, String::new(), "stop Configuration"),
        (300, "[\"/services/data/v67.0/a\"]".to_owned(), "refused"),
        (413, json("REQUEST_TOO_LARGE", ""), "refused"),
        (400, json("A_CODE_OF_TOMORROW", ""), "retry"),
        (403, json("A_CODE_OF_TOMORROW", ""), "stop Configuration"),
        (599, String::new(), "retry"),
    ] {
        let response = HttpResponse {
            status,
            headers: HeaderMap::new(),
            body: Bytes::from(text.clone()),
        };
        let word = match of_response(&response, &settings()) {
            CallError::Throttled { .. } => "throttled".to_owned(),
            CallError::Retry {
                pressure, cause, ..
            } => {
                let cause = match cause {
                    FailureCause::Record => "",
                    FailureCause::Size => " size",
                    FailureCause::Destination => " destination",
                };
                format!("retry{cause}{}", if pressure { " pressure" } else { "" })
            }
            CallError::Refused { .. } => "refused".to_owned(),
            CallError::Stop(stop) => format!("stop {:?}", stop.cause),
        };
        assert_eq!(word, expected, "{status} {text}");
    }
}

#[test]
fn each_remedy_names_the_thing_to_change() {
    let of = |status, code: &str, message: &str| {
        let text = format!(r#"[{{"errorCode":"{code}","message":"{message}"}}]"#);
        match of_response(
            &HttpResponse {
                status,
                headers: HeaderMap::new(),
                body: text.into(),
            },
            &settings(),
        ) {
            CallError::Stop(stop) => stop.remedy,
            other => panic!("{code}: {other:?}"),
        }
    };
    let entity = "entity type cannot be inserted: Lead";
    for (status, code, message, part) in [
        (
            403,
            "API_DISABLED_FOR_ORG",
            "The REST API is not enabled for this Organization.",
            "edition",
        ),
        (
            403,
            "API_CURRENTLY_DISABLED",
            "API is disabled for this User",
            "API Enabled",
        ),
        (
            410,
            "UNSUPPORTED_API_VERSION",
            "",
            "`salesforce.api_version`",
        ),
        (
            404,
            "UNSUPPORTED_API_VERSION",
            "",
            "`salesforce.api_version`",
        ),
        (410, "GONE", "", "`salesforce.api_version`"),
        (403, "INSUFFICIENT_ACCESS", "", "permission set"),
        (
            400,
            "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            entity,
            "on Lead",
        ),
        (
            401,
            "INVALID_SESSION_ID",
            "This session is not valid for use with the REST API",
            "IP ranges",
        ),
        (403, "LOGIN_DURING_RESTRICTED_DOMAIN", "", "IP ranges"),
        (403, "LOGIN_MUST_USE_SECURITY_TOKEN", "", "IP ranges"),
        (403, "LOGIN_DURING_RESTRICTED_TIME", "", "login hours"),
        (
            401,
            "INVALID_SESSION_ID",
            "Session expired or invalid",
            "user is active",
        ),
        (403, "TXN_SECURITY_NO_ACCESS", "", "transaction security"),
        (403, "ORG_LOCKED", "", "locked"),
        (
            404,
            "NOT_FOUND",
            "The requested resource does not exist",
            "`salesforce.sobject`",
        ),
        (
            404,
            "NOT_FOUND",
            "Provided external ID field does not exist: X",
            "`salesforce.external_id_field`",
        ),
        (
            403,
            "SOMETHING_ELSE",
            "",
            "grant the integration user access",
        ),
    ] {
        let remedy = of(status, code, message);
        assert!(remedy.contains(part), "{status} {code} {message}: {remedy}");
    }
}
