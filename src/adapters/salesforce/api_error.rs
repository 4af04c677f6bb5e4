//! Parses the errors of Salesforce, as far as possible. Pure.
//!
//! Rows have `statusCode`, whole responses `errorCode`, the token endpoint `error`. The parser
//! looks for each part and relies on none: a part of an unexpected type must not hide the others.

use serde_json::Value;

use crate::adapters::http::HttpResponse;
use crate::model::codes;
use crate::model::{Code, Rejection};

/// The parsed parts of one error.
#[derive(Clone, Default)]
pub(super) struct ApiError {
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) fields: Vec<String>,
}

impl ApiError {
    /// Parses an error; `None` where it is not an object.
    pub(super) fn read(error: &Value) -> Option<Self> {
        let error = error.as_object()?;
        let text = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| error.get(*name)?.as_str())
                .map(str::to_owned)
        };
        let fields = error.get("fields").and_then(Value::as_array);
        Some(Self {
            code: text(&["statusCode", "errorCode", "error"]),
            message: text(&["message", "error_description"]),
            fields: fields
                .into_iter()
                .flatten()
                .filter_map(|field| field.as_str().map(str::to_owned))
                .collect(),
        })
    }

    /// Builds the error of a row that failed without a reason.
    pub(super) fn reasonless() -> Self {
        let message = "Salesforce gives no reason".to_owned();
        Self {
            code: Some(codes::NO_REASON.to_owned()),
            message: Some(message),
            fields: Vec::new(),
        }
    }

    /// Returns whether the code is `code`.
    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Returns whether the message contains `part`, without regard to letter case.
    pub(super) fn contains(&self, part: &str) -> bool {
        self.message
            .as_ref()
            .is_some_and(|message| message.to_lowercase().contains(&part.to_lowercase()))
    }

    /// Returns whether the message contains `part` outside of the record's own `texts`, without
    /// regard to letter case. A message may quote the name "Deadlock" of a contact's company.
    pub(super) fn contains_outside(&self, part: &str, texts: &[String]) -> bool {
        let part = part.to_lowercase();
        let mut message = self.message.as_deref().unwrap_or_default().to_lowercase();
        for text in texts {
            let text = text.to_lowercase();
            if text.contains(&part) {
                message = message.replace(&text, "");
            }
        }
        message.contains(&part)
    }

    /// Returns whether the message begins with `part`, without regard to letter case.
    pub(super) fn starts_with(&self, part: &str) -> bool {
        self.message
            .as_ref()
            .is_some_and(|message| message.to_lowercase().starts_with(&part.to_lowercase()))
    }

    /// Returns whether the error names the field `name`. A longer name that contains `name` does
    /// not count.
    pub(super) fn names_field(&self, name: &str) -> bool {
        if self
            .fields
            .iter()
            .any(|field| field.eq_ignore_ascii_case(name))
        {
            return true;
        }
        let message = self.message.as_deref().unwrap_or_default();
        let words =
            message.split(|character: char| !character.is_alphanumeric() && character != '_');
        words
            .into_iter()
            .any(|word| word.eq_ignore_ascii_case(name))
    }

    /// Returns the code in a form that may be logged.
    pub(super) fn code(&self) -> Code {
        Code::from_system(self.code.as_deref().unwrap_or(codes::NO_CODE))
    }

    /// Builds the reason for a dead letter.
    pub(super) fn rejection(&self) -> Rejection {
        let mut rejection = Rejection::new(self.code(), self.message.clone().unwrap_or_default());
        rejection.fields.clone_from(&self.fields);
        rejection
    }
}

/// Returns the errors of a response that is not a 2xx. Salesforce sends an array of objects, at
/// times a bare object; proxies in front of it send pages.
pub(super) fn errors_in(response: &HttpResponse) -> Vec<ApiError> {
    error_values(response)
        .iter()
        .filter_map(ApiError::read)
        .filter(|error| error.code.is_some())
        .collect()
}

/// Returns the first error that the API itself reports: with the key `errorCode`, and a code
/// `LIKE_THIS`. `None` for a page, an empty body and the JSON of a gateway (`{"error":
/// "forbidden"}`), which do not come from Salesforce.
/// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm>
pub(super) fn api_error(response: &HttpResponse) -> Option<ApiError> {
    let is_code = |code: &str| {
        code.starts_with(|first: char| first.is_ascii_uppercase())
            && code
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let is_own = |error: &&Value| {
        error
            .get("errorCode")
            .and_then(Value::as_str)
            .is_some_and(is_code)
    };
    error_values(response)
        .iter()
        .find(is_own)
        .and_then(ApiError::read)
}

fn error_values(response: &HttpResponse) -> Vec<Value> {
    match serde_json::from_slice(&response.body).unwrap_or_default() {
        Value::Array(errors) => errors,
        error => vec![error],
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::header::HeaderMap;

    use super::*;

    #[test]
    fn a_part_of_an_unexpected_type_does_not_hide_the_others() {
        for (json, expected) in [
            (
                r#"{"statusCode":"A","message":"m","fields":["F"]}"#,
                Some((Some("A"), Some("m"), 1)),
            ),
            (
                r#"{"statusCode":"A","errorCode":"B","error":"C"}"#,
                Some((Some("A"), None, 0)),
            ),
            (
                r#"{"statusCode":null,"errorCode":"B","fields":null}"#,
                Some((Some("B"), None, 0)),
            ),
            (
                r#"{"error":"C","error_description":"d","fields":"Email"}"#,
                Some((Some("C"), Some("d"), 0)),
            ),
            (
                r#"{"statusCode":7,"message":{},"fields":[1,"F",null]}"#,
                Some((None, None, 1)),
            ),
            (
                r#"{"statusCode":"A","statusCode":"B"}"#,
                Some((Some("B"), None, 0)),
            ),
            ("[]", None),
            ("null", None),
        ] {
            let error = ApiError::read(&serde_json::from_str(json).expect("JSON"));
            let found = error.as_ref().map(|error| {
                (
                    error.code.as_deref(),
                    error.message.as_deref(),
                    error.fields.len(),
                )
            });
            assert_eq!(found, expected, "{json}");
        }
    }

    #[test]
    fn only_json_of_the_api_s_own_is_an_api_error() {
        for (body, expected) in [
            (
                r#"[{"message":"m","errorCode":"NOT_FOUND"}]"#,
                Some("NOT_FOUND"),
            ),
            (
                r#"{"message":"m","errorCode":"SERVER_UNAVAILABLE"}"#,
                Some("SERVER_UNAVAILABLE"),
            ),
            (r#"[null,{"errorCode":"B"}]"#, Some("B")),
            (r#"{"error":"forbidden"}"#, None),
            (r#"{"error":"FORBIDDEN"}"#, None),
            (r#"{"errorCode":403,"message":"Forbidden"}"#, None),
            (r#"{"errorCode":"forbidden","message":"no"}"#, None),
            (r#"{"message":"Forbidden"}"#, None),
            (r#"{"errorCode":""}"#, None),
            ("Bad_OAuth_Token", None),
            ("<html>", None),
            ("", None),
        ] {
            let response = HttpResponse {
                status: 403,
                headers: HeaderMap::new(),
                body: Bytes::from(body),
            };
            let error = api_error(&response);
            assert_eq!(
                error.as_ref().and_then(|error| error.code.as_deref()),
                expected,
                "{body}"
            );
        }
    }

    #[test]
    fn a_text_of_the_record_in_a_message_does_not_count() {
        let texts = ["Deadlock Brewery".to_owned(), "Row".to_owned()];
        for (message, part, expected) in [
            (
                "LeadTrigger: Deadlock Brewery is on our list",
                "deadlock",
                false,
            ),
            (
                "LeadTrigger: DEADLOCK BREWERY is on our list",
                "deadlock",
                false,
            ),
            (
                "LeadTrigger: Deadlock detected while Deadlock Brewery was saved",
                "deadlock",
                true,
            ),
            (
                "LeadTrigger: unable_to_lock_row",
                "UNABLE_TO_LOCK_ROW",
                true,
            ),
            ("", "deadlock", false),
        ] {
            let error = ApiError {
                message: Some(message.to_owned()),
                ..ApiError::default()
            };
            assert_eq!(error.contains_outside(part, &texts), expected, "{message}");
        }
    }

    #[test]
    fn errors_are_parsed_from_an_array_or_an_object() {
        for (body, expected) in [
            (r#"[{"errorCode":"A"},{"errorCode":"B"}]"#, 2),
            (r#"[null,{"message":"no code"},{"errorCode":"B"}]"#, 1),
            (r#"{"error":"invalid_grant"}"#, 1),
            ("{}", 0),
            (r#"["/services/data/v67.0/sobjects/Lead/a"]"#, 0),
            ("<html>", 0),
            ("", 0),
        ] {
            let response = HttpResponse {
                status: 400,
                headers: HeaderMap::new(),
                body: Bytes::from(body),
            };
            assert_eq!(errors_in(&response).len(), expected, "{body}");
        }
    }
}
