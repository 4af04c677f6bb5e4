use serde_json::json;

use super::*;

fn read(error: &Value) -> ApiError {
    ApiError::read(error).expect("an object")
}

#[test]
fn codes_embedded_in_the_message_are_read() {
    let hidden = json!([{"isValid": false, "message": "Email address x@y[.]con is invalid",
        "error": "INVALID_EMAIL", "name": "email", "portalId": 1}]);
    for message in [
        format!("Property values were not valid: {hidden}"),
        format!("[a] of 3 [b: Property values were not valid: {hidden} (and more])"),
    ] {
        let error = read(&json!({"category": "VALIDATION_ERROR", "message": message}));
        assert_eq!(
            error.code().map(Code::as_str),
            Some("INVALID_EMAIL"),
            "{message}"
        );
        assert_eq!(error.properties, ["email"]);
    }
}

#[test]
fn a_value_that_looks_like_embedded_errors_is_not_read() {
    let message =
        r#"the value [{"error": "PROPERTY_DOESNT_EXIST", "name": "source_id"}] is invalid"#;
    let error = read(&json!({"category": "VALIDATION_ERROR", "message": message}));
    assert_eq!(error.code().map(Code::as_str), Some("VALIDATION_ERROR"));
    assert!(error.properties.is_empty());
    for cut in [
        "",
        " [",
        " [{",
        " [[[[",
        r#" [{"error": "INVALID_EM"#,
        " {}",
        " [1, null]",
    ] {
        let message = format!("Property values were not valid:{cut}");
        let error = read(&json!({"category": "VALIDATION_ERROR", "message": message}));
        assert_eq!(
            error.code().map(Code::as_str),
            Some("VALIDATION_ERROR"),
            "{cut}"
        );
    }
}

#[test]
fn the_most_exact_code_counts() {
    for (error, expected) in [
        (json!({"category": "CONFLICT"}), Some("CONFLICT")),
        (
            json!({"category": "VALIDATION_ERROR", "errors": [{"code": "INVALID_DATE"}]}),
            Some("INVALID_DATE"),
        ),
        (
            json!({"category": "VALIDATION_ERROR", "subCategory": "crm.x"}),
            Some("crm.x"),
        ),
        (json!({"errorType": "RATE_LIMIT"}), Some("RATE_LIMIT")),
        (
            json!({"category": "ada@example.com"}),
            Some("UNREADABLE_CODE"),
        ),
        (
            json!({"category": 3, "errors": 4, "context": 5, "message": 6}),
            None,
        ),
        (json!({"errors": [null, 1, {"context": [1]}]}), None),
    ] {
        assert_eq!(read(&error).code().map(Code::as_str), expected, "{error}");
    }
}

#[test]
fn a_clash_names_its_owner() {
    let coordinates = "Cannot set PropertyValueCoordinates{portalId=1, \
        objectTypeId=ObjectTypeId{legacyObjectType=CONTACT}, propertyName=email, value=x} on 11. \
        22 already has that value.";
    let bracketed = coordinates.replace("11", "<11>").replace("22", "<22>");
    for (error, owner) in [
        (json!({"message": coordinates}), Some("22")),
        (json!({"message": bracketed}), Some("22")),
        (json!({"errors": [{"message": coordinates}]}), Some("22")),
        (
            json!({"message": "Contact already exists. Existing ID: 22"}),
            Some("22"),
        ),
        (
            json!({"category": "CONFLICT", "context": {"existingId": ["22"]}}),
            Some("22"),
        ),
        (
            json!({"error": "CONTACT_EXISTS", "identityProfile": {"vid": 22}}),
            Some("22"),
        ),
        (
            json!({
                "category": "VALIDATION_ERROR",
                "context": {"id": ["c-1"], "existingId": ["22"]},
            }),
            Some("22"),
        ),
        (
            json!({
                "category": "UNIQUE_VALUE_CONFLICT",
                "errorTokens": {"existingObjectId": ["22"]},
            }),
            Some("22"),
        ),
        (
            json!({"category": "OBJECT_ALREADY_EXISTS", "context": {"existingId": ["ada"]}}),
            None,
        ),
        (json!({"category": "OBJECT_ALREADY_EXISTS"}), None),
    ] {
        let expected = Clash {
            property: "email".to_owned(),
            owner: owner.map(str::to_owned),
        };
        assert_eq!(read(&error).clash, Some(expected), "{error}");
    }
    assert_eq!(read(&json!({"category": "VALIDATION_ERROR"})).clash, None);
    let other = json!({"context": {"propertyName": ["tax_number"], "existingId": ["22"]}});
    assert_eq!(
        read(&other).clash.map(|clash| clash.property),
        Some("tax_number".to_owned())
    );
}

#[test]
fn rows_are_named_by_trace_id_by_id_and_by_line() {
    let error = json!({
        "message": "Duplicate IDs found in batch input: [c-1, c-2]. IDs must be unique",
        "context": {"objectWriteTraceId": ["7"], "ids": [3], "id": "c-9"},
        "errors": [{"context": {"objectWriteTraceId": "8"}}],
    });
    let error = read(&error);
    assert_eq!(
        (&error.trace_ids[..], &error.ids[..]),
        (
            &["8", "7"].map(str::to_owned)[..],
            &["3", "c-9", "c-1", "c-2"].map(str::to_owned)[..]
        )
    );
    let error =
        json!({"message": "Invalid input JSON on line 3, column 9: Cannot deserialize value"});
    assert_eq!(read(&error).line, Some(3));
    assert_eq!(
        read(&json!({"message": "Invalid input JSON on line 99999999999999999999999"})).line,
        None
    );
}

#[test]
fn a_text_that_does_not_look_like_a_name_is_not_read_as_one() {
    let error =
        json!({"correlationId": "a b", "context": {"propertyName": ["ada@example.com", "email"]}});
    let error = read(&error);
    assert_eq!(
        (error.correlation_id, error.properties),
        (None, vec!["email".to_owned()])
    );
}

#[test]
fn a_response_is_hubspots_own_where_it_has_its_envelope() {
    for (status, body, expected) in [
        (403, r#"{"status":"error","message":"no"}"#, true),
        (
            404,
            r#"{"message":"resource not found","correlationId":"c"}"#,
            true,
        ),
        (400, r#"{"category":"VALIDATION_ERROR"}"#, true),
        (429, r#"{"errorType":"RATE_LIMIT"}"#, true),
        (429, r#"{"policyName":"DAILY"}"#, true),
        (409, r#"{"message":"Conflict"}"#, true),
        (403, r#"{"message":"Conflict"}"#, false),
        (409, r#"{"message":"Conflicting"}"#, false),
        (403, r#"{"message":"Forbidden"}"#, false),
        (
            403,
            r#"{"status":403,"error":"Forbidden","path":"/"}"#,
            false,
        ),
        (
            403,
            r#"{"status":"ok","category":7,"correlationId":null}"#,
            false,
        ),
        (403, r#"[{"status":"error"}]"#, false),
        (403, "<html>", false),
        (403, "\"error\"", false),
        (403, "", false),
    ] {
        assert_eq!(
            ApiError::of_response(status, body.as_bytes()).is_some(),
            expected,
            "{status} {body}"
        );
    }
}

#[test]
fn a_409_without_a_code_is_a_conflict() {
    for (status, body, expected) in [
        (409, r#"{"message":"Conflict"}"#, Some("CONFLICT")),
        (409, r#"{"status":"error"}"#, Some("CONFLICT")),
        (
            409,
            r#"{"category":"OBJECT_ALREADY_EXISTS"}"#,
            Some("OBJECT_ALREADY_EXISTS"),
        ),
        (400, r#"{"status":"error"}"#, None),
    ] {
        let error = ApiError::of_response(status, body.as_bytes()).expect("HubSpot's own");
        assert_eq!(error.code().map(Code::as_str), expected, "{body}");
    }
}
