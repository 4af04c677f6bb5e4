use serde_json::{Value, json};

use super::*;
use crate::adapters::hubspot::model::tests::settings;

fn payload(id: &str, body: &Value) -> Payload {
    let body = Body::of(body.as_object().expect("an object").clone());
    Payload {
        id: ContactId::new(id).expect("valid"),
        body: Some(body),
        if_new: None,
        conditions: None,
        version: 1,
        guarded: false,
        record: None,
        is_compared: false,
        whole: None,
    }
}

fn payloads(count: usize) -> Vec<Payload> {
    (0..count)
        .map(|n| {
            payload(
                &format!("C-{n}"),
                &json!({"email": format!("p{n}@example.com")}),
            )
        })
        .collect()
}

fn rows(payloads: &[Payload]) -> Rows<'_> {
    Rows::new(payloads.iter().collect(), "source_id")
}

/// Returns the parts of three rows, a letter each: result, counted, p for an error, nothing, l for
/// an ambiguous row.
fn parts_of_three(response: &Value) -> String {
    parts_of(3, response)
}

fn parts_of(count: usize, response: &Value) -> String {
    let payloads = payloads(count);
    let body = response.to_string();
    let response = BatchResponse::read(body.as_bytes(), &settings(), false).expect("an object");
    let letter = |part: Row<'_>| match part {
        Row::Result(_) => 'r',
        Row::Counted => 'c',
        Row::ApiError(_) => 'p',
        Row::Nothing {
            is_ambiguous: false,
        } => 'n',
        Row::Nothing { is_ambiguous: true } => 'l',
    };
    rows(&payloads)
        .attribute(&response)
        .into_iter()
        .map(letter)
        .collect()
}

#[test]
fn every_part_of_a_response_is_attributed_to_its_row() {
    let traced = |id: &str| json!({"id": "9", "objectWriteTraceId": id});
    let keyed = |id: &str| json!({"id": "9", "properties": {"source_id": id}});
    let plain = |id: &str| json!({"id": id, "properties": {"email": null}});
    let error = |context: Value| json!({"category": "VALIDATION_ERROR", "context": context});
    for (results, errors, expected) in [
        (json!([]), json!([]), "nnn"),
        (
            json!([traced("2"), traced("0"), traced("1")]),
            json!([]),
            "rrr",
        ),
        (json!([keyed("c-2 "), keyed("C-0")]), json!([]), "rnr"),
        (
            json!([traced("7"), traced("x"), traced("-1")]),
            json!([]),
            "lll",
        ),
        (
            json!([keyed("somebody"), keyed("else"), keyed("entirely")]),
            json!([]),
            "lll",
        ),
        (
            json!([keyed("C-0"), keyed("somebody"), keyed("C-2")]),
            json!([]),
            "rlr",
        ),
        (
            json!([keyed("C-0"), keyed("somebody")]),
            json!([error(json!({"ids": ["C-2"]}))]),
            "rlp",
        ),
        (
            json!([keyed("C-0"), keyed("somebody")]),
            json!([error(json!({}))]),
            "rll",
        ),
        (
            json!([keyed("C-0"), keyed("\u{ff23}-1"), keyed(" c-2")]),
            json!([]),
            "rrr",
        ),
        (
            json!([keyed("C-0"), keyed("c-0"), keyed("c-0")]),
            json!([]),
            "rnn",
        ),
        (
            json!([plain("7"), plain("8"), plain("9")]),
            json!([]),
            "ccc",
        ),
        (
            json!([plain("7"), plain("8"), plain("8")]),
            json!([]),
            "lll",
        ),
        (
            json!([plain("7"), plain("8")]),
            json!([error(json!({"objectWriteTraceId": ["1"]}))]),
            "cpc",
        ),
        (
            json!([]),
            json!([error(json!({"objectWriteTraceId": ["1", "2"]}))]),
            "npp",
        ),
        (json!([]), json!([error(json!({"ids": ["c-0"]}))]), "pnn"),
        (
            json!([traced("1")]),
            json!([error(json!({"objectWriteTraceId": ["1"]}))]),
            "npn",
        ),
        (
            json!([keyed("C-0"), keyed("C-1")]),
            json!([error(json!({}))]),
            "rrp",
        ),
        (json!([keyed("C-0")]), json!([error(json!({}))]), "rll"),
        (json!([keyed("C-0"), keyed("C-1")]), json!([null]), "rrl"),
        (
            json!([null, 1, "x", {"id": null, "properties": null}]),
            json!([]),
            "nnn",
        ),
        (json!({"not": "a list"}), json!("nor this"), "nnn"),
    ] {
        assert_eq!(
            parts_of_three(&json!({"results": results, "errors": errors})),
            expected,
            "{results} {errors}"
        );
    }
}

#[test]
fn a_refusal_points_at_rows_by_name_by_line_or_by_address() {
    let payloads = payloads(3);
    let rows = rows(&payloads);
    for (error, expected) in [
        (json!({"context": {"ids": ["C-1", "c-1", "c-9"]}}), &[1][..]),
        (
            json!({"errors": [{"context": {"objectWriteTraceId": ["2"]}}]}),
            &[2],
        ),
        (
            json!({
                "message": "Duplicate IDs found in batch input: [c-0, c-2]. IDs must be unique",
            }),
            &[0, 2],
        ),
        (
            json!({"message": "Invalid input JSON on line 3, column 9: Cannot deserialize"}),
            &[1],
        ),
        (
            json!({"message": "Invalid input JSON on line 1, column 9: Cannot deserialize"}),
            &[],
        ),
        (
            json!({"message": "Invalid input JSON on line 9, column 9: Cannot deserialize"}),
            &[],
        ),
        (
            json!({"message": "Email address p2@example.com is invalid"}),
            &[2],
        ),
        (
            json!({"message": "Contact already exists. Existing ID: 7"}),
            &[],
        ),
    ] {
        let parsed = ApiError::read(&error).expect("an object");
        assert_eq!(rows.suspects(&parsed), expected, "{error}");
    }
}

/// The refused value; another allowed value is no evidence against a row that carries it.
const OPTIONS: &str = "nowhere was not one of the allowed options: [customer, other]";

#[test]
fn rows_that_carry_a_refused_property_or_its_refused_value_are_found() {
    let payloads = [
        json!({"stage": "customer"}),
        json!({"stage": "nowhere"}),
        json!({"email": "a@example.com"}),
    ];
    let payloads: Vec<_> = payloads
        .iter()
        .enumerate()
        .map(|(n, body)| payload(&format!("C-{n}"), body))
        .collect();
    let rows = rows(&payloads);
    for (error, expected) in [
        (
            json!({"category": "PROPERTY_DOESNT_EXIST", "message": "stage nowhere"}),
            &[0, 1][..],
        ),
        (
            json!({"category": "INVALID_OPTION", "message": OPTIONS}),
            &[1],
        ),
        (
            json!({
                "category": "INVALID_OPTION",
                "message": format!("[{{\"message\":\"{OPTIONS}\"}}]"),
            }),
            &[1],
        ),
        (
            json!({"category": "INVALID_OPTION", "message": format!("some{OPTIONS}")}),
            &[],
        ),
        (
            json!({"category": "INVALID_OPTION", "context": {"objectWriteTraceId": ["1"]}}),
            &[1],
        ),
        (
            json!({"category": "INVALID_OPTION", "message": "no such stage"}),
            &[],
        ),
    ] {
        let parsed = ApiError::read(&error).expect("an object");
        assert_eq!(
            rows.carrying("stage", &parsed, parsed.is("INVALID_OPTION")),
            expected,
            "{error}"
        );
    }
    let missing = ApiError::read(&json!({"category": "PROPERTY_DOESNT_EXIST"})).expect("an object");
    assert_eq!(rows.carrying("plan", &missing, false), Vec::<usize>::new());
    let same = [
        payload("C-0", &json!({"stage": "x"})),
        payload("C-1", &json!({"stage": "x"})),
    ];
    let refused = ApiError::read(&json!({"category": "INVALID_OPTION"})).expect("an object");
    assert_eq!(
        Rows::new(same.iter().collect(), "source_id").carrying("stage", &refused, true),
        [0, 1]
    );
}

#[test]
fn each_input_has_its_own_line_and_trace_id() {
    let payloads = payloads(2);
    let body = String::from_utf8(rows(&payloads).upsert_body()).expect("UTF-8");
    let lines: Vec<_> = body.lines().collect();
    assert_eq!(lines.len(), 4);
    let input: Value = serde_json::from_str(lines[2]).expect("the second input");
    let properties = json!({"email": "p1@example.com"});
    let expected = json!({
        "id": "C-1", "idProperty": "source_id", "objectWriteTraceId": "1", "properties": properties,
    });
    assert_eq!(input, expected);
    assert!(serde_json::from_str::<Value>(&body).is_ok());
}

#[test]
fn the_only_result_belongs_to_the_only_row_whatever_its_key() {
    let error = json!({"category": "VALIDATION_ERROR"});
    for (results, errors, expected) in [
        (json!([{"id": "9", "properties": null}]), json!([]), "r"),
        (
            json!([{"id": "9", "properties": {"source_id": "somebody"}}]),
            json!([]),
            "r",
        ),
        (
            json!([{"properties": {"source_id": "somebody"}}]),
            json!([]),
            "r",
        ),
        (
            json!([{"id": "9", "objectWriteTraceId": "7"}]),
            json!([]),
            "r",
        ),
        (
            json!([{"id": "8", "objectWriteTraceId": "7"}, {"id": "9", "objectWriteTraceId": "8"}]),
            json!([]),
            "n",
        ),
        (json!([null]), json!([]), "n"),
        (json!([{"id": null, "properties": null}]), json!([]), "n"),
        (json!([]), json!([error]), "p"),
        (
            json!([{"properties": {"source_id": "somebody"}}]),
            json!([error]),
            "n",
        ),
    ] {
        assert_eq!(
            parts_of(1, &json!({"results": results, "errors": errors})),
            expected,
            "{results} {errors}"
        );
    }
}

#[test]
fn a_key_in_another_form_finds_its_row_unless_several_rows_have_it() {
    let body = json!({"email": "a@example.com"});
    let rows_of = |ids: &[&str]| ids.iter().map(|id| payload(id, &body)).collect::<Vec<_>>();
    for (ids, key, expected) in [
        (&["Zoe\u{308}-1", "b"][..], "Zo\u{eb}-1", Some(0)),
        (&["Zo\u{eb}-1", "b"], "ZOE\u{308}-1", Some(0)),
        (&["a", "\u{ff21}\u{ff22}-1"], " ab-1 ", Some(1)),
        (&["a", "AB-1"], "\u{ff41}\u{ff42}-1", Some(1)),
        (&["\u{fb01}-1", "b"], "FI-1", Some(0)),
        (&["Zoe\u{308}-1", "Zo\u{eb}-1"], "zo\u{eb}-1", Some(1)),
        (&["Zoe\u{308}-1", "Zo\u{eb}-1"], "\u{ff3a}o\u{eb}-1", None),
        (&["a", "b"], "c", None),
        (&["a", "b"], "", None),
    ] {
        let payloads = rows_of(ids);
        assert_eq!(rows(&payloads).row_of_key(key), expected, "{ids:?} {key}");
    }
}
