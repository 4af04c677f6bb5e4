//! One error of Salesforce's, read as far as it can be. Pure.
//!
//! Rows say `statusCode`, whole answers `errorCode`, the token endpoint `error`. Each part is looked for, none is relied
//! on: an odd one must not hide what the others say.

use serde_json::Value;

use crate::adapters::http::HttpAnswer;
use crate::adapters::{Code, Rejection};

/// What is known of one error.
#[derive(Clone, Default)]
pub(super) struct Problem {
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) fields: Vec<String>,
}

impl Problem {
    /// Reads an error; `None` where it is not an object.
    pub(super) fn read(error: &Value) -> Option<Self> {
        let error = error.as_object()?;
        let text = |names: &[&str]| names.iter().find_map(|name| error.get(*name)?.as_str()).map(str::to_owned);
        let fields = error.get("fields").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        Some(Self {
            code: text(&["statusCode", "errorCode", "error"]),
            message: text(&["message", "error_description"]),
            fields: fields.iter().filter_map(|field| field.as_str().map(str::to_owned)).collect(),
        })
    }

    /// A row that failed and does not say why.
    pub(super) fn reasonless() -> Self {
        let message = "Salesforce gives no reason".to_owned();
        Self { code: Some("NO_REASON".to_owned()), message: Some(message), fields: Vec::new() }
    }

    /// Whether the message holds `part`, in whatever letter case.
    pub(super) fn says(&self, part: &str) -> bool {
        self.message.as_ref().is_some_and(|message| message.to_lowercase().contains(&part.to_lowercase()))
    }

    /// Whether the message begins with `part`, in whatever letter case.
    pub(super) fn begins(&self, part: &str) -> bool {
        self.message.as_ref().is_some_and(|message| message.to_lowercase().starts_with(&part.to_lowercase()))
    }

    /// Whether the error is about the field `name`, and not about one whose name only ends or begins so.
    pub(super) fn names(&self, name: &str) -> bool {
        if self.fields.iter().any(|field| field.eq_ignore_ascii_case(name)) {
            return true;
        }
        let message = self.message.as_deref().unwrap_or_default();
        let words = message.split(|character: char| !character.is_alphanumeric() && character != '_');
        words.into_iter().any(|word| word.eq_ignore_ascii_case(name))
    }

    /// The code, fit for a log.
    pub(super) fn code(&self) -> Code {
        Code::from_system(self.code.as_deref().unwrap_or("NO_CODE"))
    }

    /// The reason for a dead letter.
    pub(super) fn rejection(&self) -> Rejection {
        let mut rejection = Rejection::new(self.code(), self.message.clone().unwrap_or_default());
        rejection.fields.clone_from(&self.fields);
        rejection
    }
}

/// The errors in an answer that is none of success. Salesforce sends an array of objects, at times a bare object, and
/// in front of it proxies send pages.
pub(super) fn problems(answer: &HttpAnswer) -> Vec<Problem> {
    let errors = match serde_json::from_slice(&answer.body).unwrap_or_default() {
        Value::Array(errors) => errors,
        error => vec![error],
    };
    errors.iter().filter_map(Problem::read).filter(|problem| problem.code.is_some()).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::header::HeaderMap;

    use super::*;

    #[test]
    fn an_odd_part_does_not_hide_the_others() {
        for (error, expected) in [
            (r#"{"statusCode":"A","message":"m","fields":["F"]}"#, Some((Some("A"), Some("m"), 1))),
            (r#"{"statusCode":"A","errorCode":"B","error":"C"}"#, Some((Some("A"), None, 0))),
            (r#"{"statusCode":null,"errorCode":"B","fields":null}"#, Some((Some("B"), None, 0))),
            (r#"{"error":"C","error_description":"d","fields":"Email"}"#, Some((Some("C"), Some("d"), 0))),
            (r#"{"statusCode":7,"message":{},"fields":[1,"F",null]}"#, Some((None, None, 1))),
            (r#"{"statusCode":"A","statusCode":"B"}"#, Some((Some("B"), None, 0))),
            ("[]", None),
            ("null", None),
        ] {
            let problem = Problem::read(&serde_json::from_str(error).expect("JSON"));
            let found = problem
                .as_ref()
                .map(|problem| (problem.code.as_deref(), problem.message.as_deref(), problem.fields.len()));
            assert_eq!(found, expected, "{error}");
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
            let answer = HttpAnswer { status: 400, headers: HeaderMap::new(), body: Bytes::from(body) };
            assert_eq!(problems(&answer).len(), expected, "{body}");
        }
    }
}
