use bytes::Bytes;
use reqwest::header::HeaderMap;

use super::codes::{PUBLISHED, ROWS};
use super::*;
use crate::adapters::salesforce::model::tests::settings;

fn problem(code: &str, message: &str, fields: &[&str]) -> Problem {
    let fields = fields.iter().map(|field| (*field).to_owned()).collect();
    Problem { code: Some(code.to_owned()), message: Some(message.to_owned()), fields }
}

fn body() -> Body {
    Body::of(serde_json::from_str(r#"{"FirstName":"Ada"}"#).expect("an object"))
}

/// The outcome as one word.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered(_) => "delivered",
        Outcome::Skipped(_) => "skipped",
        Outcome::Stale => "stale",
        Outcome::Rejected(_) => "rejected",
        Outcome::Failed(_) => "failed",
        Outcome::Retry(Retry { how: RetryMode::Same, .. }) => "later",
        Outcome::Retry(Retry { how: RetryMode::SplitBatch, .. }) => "halved",
        Outcome::Retry(Retry { how: RetryMode::Isolate(_), .. }) => "isolated",
        Outcome::Retry(Retry { how: RetryMode::Last(_), .. }) => "last",
        Outcome::Retry(Retry { how: RetryMode::OnceMore(None, _), .. }) => "once",
        Outcome::Retry(Retry { how: RetryMode::OnceMore(Some(_), _), .. }) => "once with defaults",
    }
}

fn upserted(problem: &Problem) -> &'static str {
    word(&of_row(problem, Some(&body()), false, &settings()))
}

#[test]
fn rows_by_code_and_message() {
    for (code, message, fields, expected) in [
        ("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access", &[][..], "halved"),
        ("TOO_MANY_APEX_REQUESTS", "", &[], "halved"),
        ("INTERNAL_ERROR", "", &[], "halved"),
        ("QUERY_TIMEOUT", "", &[], "later"),
        ("INVALID_FIELD", "No such column", &[], "failed"),
        ("INVALID_EMAIL_ADDRESS", "Email: invalid email address: x", &["Email"], "rejected"),
        ("DUPLICATE_VALUE", "duplicate value found: Source_Id__c duplicates value on record", &[], "once"),
        ("DUPLICATE_VALUE", "duplicate value found: Other__c duplicates value on record", &[], "rejected"),
        ("DUPLICATE_VALUE", "duplicate value found: Other_Source_Id__c duplicates value on", &[], "rejected"),
        ("DUPLICATE_VALUE", "a localized message", &["source_id__c"], "once"),
        ("DUPLICATE_VALUE", "a localized message", &["Other__c"], "rejected"),
        ("DUPLICATE_VALUE", "Duplicate external id specified: c-1", &["Source_Id__c"], "halved"),
        ("REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName]", &["LastName"], "once with defaults"),
        ("REQUIRED_FIELD_MISSING", "Required fields are missing: [Company]", &[], "once with defaults"),
        ("REQUIRED_FIELD_MISSING", "Required fields are missing: [Tax__c]", &["Tax__c"], "rejected"),
        ("REQUIRED_FIELD_MISSING", "two", &["LastName", "Tax__c"], "rejected"),
        ("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead", &[], "skipped"),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "LeadTrigger: UNABLE_TO_LOCK_ROW, unable", &[], "halved"),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "LeadTrigger: Apex CPU time limit exceeded", &[], "halved"),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "LeadTrigger: System.LimitException: Too many DML", &[], "halved"),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "LeadTrigger: no", &[], "rejected"),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "LeadTrigger: entity type cannot be inserted: Lead", &[], "rejected"),
        ("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", &[], "rejected"),
        ("INVALID_SESSION_ID", "", &[], "later"),
        ("LIMIT_EXCEEDED", "", &[], "halved"),
        ("ENTITY_IS_DELETED", "entity is deleted", &[], "once"),
        ("INSUFFICIENT_ACCESS_OR_READONLY", "", &[], "rejected"),
        ("A_CODE_OF_TOMORROW", "", &[], "rejected"),
    ] {
        assert_eq!(upserted(&problem(code, message, fields)), expected, "{code} {message}");
    }
    let gone = of_row(&problem("ENTITY_IS_DELETED", "", &[]), None, false, &settings());
    assert_eq!(word(&gone), "delivered", "on a delete");
    let unfound = problem("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", &[]);
    assert_eq!(word(&of_row(&unfound, None, false, &settings())), "once", "on a delete the next look-up tells");
    let large = problem("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "Too many SOQL queries: 101", &[]);
    assert_eq!(word(&of_row(&large, Some(&body()), true, &settings())), "once", "alone it is too large by itself");
    let kept = Settings { converted_leads: ConvertedLeads::DeadLetter, ..settings() };
    let converted = of_row(&problem("CANNOT_UPDATE_CONVERTED_LEAD", "", &[]), Some(&body()), false, &kept);
    assert_eq!(word(&converted), "rejected");
}

#[test]
fn who_is_to_blame_for_a_row_among_others() {
    for (code, schema, rights) in [
        ("INVALID_FIELD", true, false),
        ("INSUFFICIENT_ACCESS_OR_READONLY", false, true),
        ("INVALID_EMAIL_ADDRESS", false, false),
    ] {
        let problem = problem(code, "", &[]);
        let told = (is_about_schema(&problem, &settings()), is_about_rights(&problem, &settings()));
        assert_eq!(told, (schema, rights), "{code}");
    }
}

#[test]
fn of_several_errors_of_a_row_what_can_never_succeed_decides_and_else_the_first() {
    let of = |codes: &[&str]| {
        let problems: Vec<_> = codes.iter().map(|code| problem(code, "", &[])).collect();
        deciding(&problems, &settings()).map(|deciding| deciding.code().to_string())
    };
    for (codes, expected) in [
        (&["UNABLE_TO_LOCK_ROW", "INVALID_EMAIL_ADDRESS", "STRING_TOO_LONG"][..], "INVALID_EMAIL_ADDRESS"),
        (&["INVALID_EMAIL_ADDRESS", "UNABLE_TO_LOCK_ROW"], "INVALID_EMAIL_ADDRESS"),
        (&["UNABLE_TO_LOCK_ROW", "QUERY_TIMEOUT"], "UNABLE_TO_LOCK_ROW"),
    ] {
        assert_eq!(of(codes).as_deref(), Some(expected), "{codes:?}");
    }
    assert_eq!(of(&[]), None);
}

/// What becomes of a row: of an upsert with others, alone, of a delete with others; and of a whole answer that consists
/// of one or of two such rows.
fn fate(problem: &Problem) -> [&'static str; 5] {
    let of_all = |rows: &[Option<&Problem>]| match of_all_rows(rows, &settings()) {
        Some(CallError::Stop(_)) => "stop",
        Some(_) => "retry",
        None => "-",
    };
    let of_row = |body, alone| word(&of_row(problem, body, alone, &settings()));
    let row = Some(problem);
    [upserted(problem), of_row(Some(&body()), true), of_row(None, false), of_all(&[row]), of_all(&[row, row])]
}

#[test]
fn each_status_code_has_a_fate_that_is_known() {
    const ORDINARY: [&str; 5] = ["rejected", "rejected", "rejected", "-", "-"];
    let line = |name: &str, [company, alone, delete, one, two]: [&str; 5]| {
        format!("{name:<53} {company:<9} {alone:<9} {delete:<9} {one:<5} {two}").trim_end().to_owned() + "\n"
    };
    let mut table = line("code", ["company", "alone", "delete", "one", "two"]);
    for (code, verdict) in ROWS {
        table += &line(code, fate(&problem(code, "", &[])));
        let messages = if *verdict == Verdict::Trigger { &MESSAGES[..] } else { &[] };
        messages.iter().for_each(|message| table += &line(&format!("  {message}"), fate(&problem(code, message, &[]))));
    }
    insta::assert_snapshot!("fates_by_code", table);
    assert_eq!(PUBLISHED.lines().count(), 592);
    for code in PUBLISHED.lines() {
        let problem = problem(code, "", &[]);
        assert!(is_known(&problem), "{code}");
        assert!(fate(&problem) == ORDINARY || ROWS.iter().any(|(name, _)| *name == code), "{code}");
    }
    assert!(!is_known(&problem("A_CODE_OF_TOMORROW", "", &[])));
}

/// What tells the failures of a trigger apart.
const MESSAGES: [&str; 6] = [
    "t: UNABLE_TO_LOCK_ROW, unable to obtain",
    "t: Too many SOQL queries: 101",
    "t: Apex CPU time limit exceeded",
    "t: System.LimitException: Too many DML rows",
    "entity type cannot be inserted: Lead",
    "entity type cannot be inserted: Something",
];

fn cause(error: Option<CallError>) -> Option<Cause> {
    match error {
        Some(CallError::Stop(stop)) => Some(stop.cause),
        _ => None,
    }
}

#[test]
fn an_error_of_every_row_may_be_our_settings() {
    let stop = |rows: &[Option<&str>]| {
        let problems: Vec<_> = rows.iter().map(|code| code.map(|code| problem(code, "", &[]))).collect();
        let problems: Vec<_> = problems.iter().map(Option::as_ref).collect();
        cause(of_all_rows(&problems, &settings()))
    };
    assert_eq!(stop(&[Some("INVALID_FIELD"), Some("INVALID_FIELD")]), Some(Cause::Configuration));
    assert_eq!(stop(&[Some("INVALID_FIELD")]), Some(Cause::Configuration));
    assert_eq!(stop(&[Some("INVALID_FIELD"), Some("INVALID_FIELD_FOR_INSERT_UPDATE")]), Some(Cause::Configuration));
    assert_eq!(stop(&[Some("INVALID_FIELD"), Some("INSUFFICIENT_ACCESS")]), Some(Cause::Configuration));
    assert_eq!(stop(&[Some("INVALID_FIELD"), None]), None);
    assert_eq!(stop(&[Some("INVALID_FIELD"), Some("STRING_TOO_LONG")]), None);
    assert_eq!(stop(&[Some("INSUFFICIENT_ACCESS_OR_READONLY"); 2]), Some(Cause::Configuration));
    assert_eq!(stop(&[Some("INSUFFICIENT_ACCESS_OR_READONLY")]), None);
    assert_eq!(stop(&[Some("STRING_TOO_LONG"); 3]), None);
    assert_eq!(stop(&[None, Some("STORAGE_LIMIT_EXCEEDED")]), Some(Cause::Quota));
    assert_eq!(stop(&[None, Some("API_DISABLED_FOR_ORG")]), Some(Cause::Configuration));
    let no_create = problem("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "entity type cannot be inserted: Lead", &[]);
    let barred = cause(of_all_rows(&[None, Some(&no_create)], &settings()));
    assert_eq!(barred, Some(Cause::Configuration), "a missing right is no record's fault");
    let custom = Settings { sobject: "Our_Lead__c".to_owned(), ..settings() };
    let no_create = problem("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "entity type cannot be inserted: Our Lead", &[]);
    assert!(of_all_rows(&[None, Some(&no_create)], &custom).is_some(), "the message tells the label");
    assert_eq!(stop(&[]), None);
}

#[test]
fn whole_answers_by_status_and_code() {
    let json = |code: &str, message: &str| format!(r#"[{{"errorCode":"{code}","message":"{message}"}}]"#);
    for (status, text, expected) in [
        (401, json("INVALID_SESSION_ID", "Session expired or invalid"), "stop Credential"),
        (401, json("INVALID_SESSION_ID", "This session is not valid for use with the REST API"), "stop Configuration"),
        (403, json("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), "stop Quota"),
        (403, json("REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded."), "throttled"),
        (403, json("API_DISABLED_FOR_ORG", ""), "stop Configuration"),
        (403, "<html>".to_owned(), "retry"),
        (404, json("NOT_FOUND", "Provided external ID field does not exist"), "stop Configuration"),
        (404, String::new(), "retry"),
        (400, json("INVALID_FIELD", ""), "stop Configuration"),
        (400, json("JSON_PARSER_ERROR", ""), "refused"),
        (400, json("MALFORMED_QUERY", "unexpected token"), "refused"),
        (400, json("UNKNOWN_EXCEPTION", ""), "retry"),
        (403, json("UNKNOWN_EXCEPTION", ""), "retry"),
        (404, json("INTERNAL_ERROR", ""), "retry"),
        (400, json("REQUIRED_FIELD_MISSING", "At least 1 record is required"), "refused"),
        (400, "no JSON".to_owned(), "retry"),
        (400, json("UNABLE_TO_LOCK_ROW", ""), "retry"),
        (404, json("INVALID_QUERY_LOCATOR", ""), "retry"),
        (400, json("INVALID_QUERY_LOCATOR", ""), "retry"),
        (400, json("STORAGE_LIMIT_EXCEEDED", ""), "stop Quota"),
        (400, json("ORG_LOCKED", ""), "stop Configuration"),
        (403, json("TXN_SECURITY_NO_ACCESS", ""), "stop Configuration"),
        (410, json("UNSUPPORTED_API_VERSION", ""), "stop Configuration"),
        (413, String::new(), "refused"),
        (420, String::new(), "retry"),
        (429, String::new(), "throttled"),
        (500, json("UNKNOWN_EXCEPTION", ""), "retry"),
        (502, "<html>".to_owned(), "retry"),
        (503, r#"{"errorCode":"SERVER_UNAVAILABLE","message":"Server Unavailable"}"#.to_owned(), "retry pressure"),
        (504, String::new(), "retry pressure"),
        (302, String::new(), "stop Configuration"),
        (300, "[\"/services/data/v67.0/a\"]".to_owned(), "refused"),
        (599, String::new(), "retry"),
    ] {
        let answer = HttpAnswer { status, headers: HeaderMap::new(), body: Bytes::from(text.clone()) };
        let word = match of_answer(&answer, &settings()) {
            CallError::Throttled { .. } => "throttled".to_owned(),
            CallError::Retry { pressure: true, .. } => "retry pressure".to_owned(),
            CallError::Retry { .. } => "retry".to_owned(),
            CallError::Refused { .. } => "refused".to_owned(),
            CallError::Stop(stop) => format!("stop {:?}", stop.cause),
        };
        assert_eq!(word, expected, "{status} {text}");
    }
}
