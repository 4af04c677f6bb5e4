//! One error of Salesforce's, read as far as it can be. Pure.
//!
//! Rows say `statusCode`, whole answers `errorCode`, the token endpoint `error`. Each part is
//! looked for, none is relied on: an odd one must not hide what the others say.

use serde_json::Value;

use crate::adapters::http::HttpResponse;
use crate::adapters::{Code, Rejection};
use crate::codes;

/// What is known of one error.
#[derive(Clone, Default)]
pub(super) struct ApiError {
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) fields: Vec<String>,
}

impl ApiError {
    /// Reads an error; `None` where it is not an object.
    pub(super) fn read(error: &Value) -> Option<Self> {
        let error = error.as_object()?;
        let text = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| error.get(*name)?.as_str())
                .map(str::to_owned)
        };
        let fields = error
            .get("fields")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        Some(Self {
            code: text(&["statusCode", "errorCode", "error"]),
            message: text(&["message", "error_description"]),
            fields: fields
                .iter()
                .filter_map(|field| field.as_str().map(str::to_owned))
                .collect(),
        })
    }

    /// A row that failed and does not say why.
    pub(super) fn reasonless() -> Self {
        let message = "Salesforce gives no reason".to_owned();
        Self {
            code: Some(codes::NO_REASON.to_owned()),
            message: Some(message),
            fields: Vec::new(),
        }
    }

    /// Whether the code is `code`.
    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Whether the message holds `part`, in whatever letter case.
    pub(super) fn says(&self, part: &str) -> bool {
        self.message
            .as_ref()
            .is_some_and(|message| message.to_lowercase().contains(&part.to_lowercase()))
    }

    /// Whether the message holds `part` outside of the record's own `texts`, in whatever letter
    /// case: a message may quote a company that is called "Deadlock".
    pub(super) fn says_itself(&self, part: &str, texts: &[String]) -> bool {
        let part = part.to_lowercase();
        let mut message = self.message.as_deref().unwrap_or_default().to_lowercase();
        for text in texts
            .iter()
            .map(|text| text.to_lowercase())
            .filter(|text| text.contains(&part))
        {
            message = message.replace(&text, "");
        }
        message.contains(&part)
    }

    /// Whether the message begins with `part`, in whatever letter case.
    pub(super) fn begins(&self, part: &str) -> bool {
        self.message
            .as_ref()
            .is_some_and(|message| message.to_lowercase().starts_with(&part.to_lowercase()))
    }

    /// Whether the error is about the field `name`, and not about one whose name only ends or
    /// begins so.
    pub(super) fn names(&self, name: &str) -> bool {
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

    /// The code, fit for a log.
    pub(super) fn code(&self) -> Code {
        Code::from_system(self.code.as_deref().unwrap_or(codes::NO_CODE))
    }

    /// The reason for a dead letter.
    pub(super) fn rejection(&self) -> Rejection {
        let mut rejection = Rejection::new(self.code(), self.message.clone().unwrap_or_default());
        rejection.fields.clone_from(&self.fields);
        rejection
    }
}

/// The errors in an answer that is none of success. Salesforce sends an array of objects, at times
/// a bare object, and in front of it proxies send pages.
pub(super) fn problems(answer: &HttpResponse) -> Vec<ApiError> {
    let errors = errors(answer);
    errors
        .iter()
        .filter_map(ApiError::read)
        .filter(|problem| problem.code.is_some())
        .collect()
}

/// Returns the first error that the API itself reports, with the key `errorCode` and a code
/// `LIKE_THIS`. A page, an empty body and the JSON of a gateway (`{"error": "forbidden"}`) are no
/// word of Salesforce's: `None`.
/// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm>
pub(super) fn api_error(answer: &HttpResponse) -> Option<ApiError> {
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
    errors(answer).iter().find(is_own).and_then(ApiError::read)
}

fn errors(answer: &HttpResponse) -> Vec<Value> {
    match serde_json::from_slice(&answer.body).unwrap_or_default() {
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
    fn an_odd_part_does_not_hide_the_others() {
        for (error, expected) in [
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
            let problem = ApiError::read(&serde_json::from_str(error).expect("JSON"));
            let found = problem.as_ref().map(|problem| {
                (
                    problem.code.as_deref(),
                    problem.message.as_deref(),
                    problem.fields.len(),
                )
            });
            assert_eq!(found, expected, "{error}");
        }
    }

    #[test]
    fn only_the_api_s_own_json_is_its_word() {
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
            let answer = HttpResponse {
                status: 403,
                headers: HeaderMap::new(),
                body: Bytes::from(body),
            };
            let problem = api_error(&answer);
            assert_eq!(
                problem.as_ref().and_then(|problem| problem.code.as_deref()),
                expected,
                "{body}"
            );
        }
    }

    #[test]
    fn a_text_of_the_record_in_a_message_is_not_salesforce_s_own_word() {
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
            let problem = ApiError {
                message: Some(message.to_owned()),
                ..ApiError::default()
            };
            assert_eq!(problem.says_itself(part, &texts), expected, "{message}");
        }
    }

    #[test]
    fn errors_come_as_an_array_an_object_or_not_at_all() {
        for (body, expected) in [
            (r#"[{"errorCode":"A"},{"errorCode":"B"}]"#, 2),
            (r#"[null,{"message":"no code"},{"errorCode":"B"}]"#, 1),
            (r#"{"error":"invalid_grant"}"#, 1),
            ("{}", 0),
            (r#"["/services/data/v67.0/sobjects/Lead/a"]"#, 0),
            ("<html>", 0),
            ("", 0),
        ] {
            let answer = HttpResponse {
                status: 400,
                headers: HeaderMap::new(),
                body: Bytes::from(body),
            };
            assert_eq!(problems(&answer).len(), expected, "{body}");
        }
    }
}
