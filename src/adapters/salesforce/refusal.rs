//! The refusal of a whole upsert: which of its records are the reason.
//!
//! A field that is missing comes as errors of rows from most versions, and as a 400 for the whole
//! call from others; a value of the wrong JSON type always as a 400, which tells the column.

use super::api_error::{ApiError, api_error};
use super::errors::{self, RowClass, RowError};
use super::sent::{self, Place};
use super::{Salesforce, Settings};
use crate::adapters::http::HttpResponse;
use crate::adapters::{Adapter, Call, misconfigured};
use crate::model::{
    Body, CallError, Code, Outcome, Payload, Rejection, Reply, Retry, RetryMode, Stop,
};

/// The reason for which a call with several records was refused.
#[derive(Debug)]
enum Reason {
    /// What settings put into every record.
    Settings(Stop),
    /// What settings or the fixed mapping put into these records.
    Misconfiguration(Stop, Vec<usize>),
    /// The value that these records hold.
    Value(Rejection, Vec<usize>),
    /// Something in it; perhaps in these records.
    Unknown(Rejection, Vec<usize>),
}

impl Salesforce {
    /// The outcomes of the payloads at `sent`, where the answer is one to their records; else its
    /// error.
    pub(super) async fn refused(
        &self,
        answer: &HttpResponse,
        sent: &[usize],
        batch: &[&Payload],
        call: Call<'_>,
    ) -> Reply {
        let error = errors::of_answer(answer, &self.settings);
        let bodies: Vec<&Body> = sent
            .iter()
            .filter_map(|at| batch[*at].body.as_ref())
            .collect();
        let Some(problem) =
            api_error(answer).filter(|problem| is_about_records(&error, problem, &self.settings))
        else {
            return Err(error);
        };
        if let [body] = bodies[..] {
            let (problem, _) = located(problem, &bodies);
            // Alone it is refused for what it is refused for among others.
            let error = RowError::new(problem, Some(body), &self.settings);
            return self.judge(vec![error.into()], sent, batch, call).await;
        }
        match reason(problem, &bodies, &self.settings) {
            Reason::Settings(stop) => Err(CallError::Stop(stop)),
            Reason::Misconfiguration(stop, records) => {
                misconfigured::tell(self.destination(), &stop, records.len(), call);
                let failed = Outcome::Failed(stop.code.clone());
                Ok(apart(bodies.len(), &records, &failed, &stop.code))
            }
            Reason::Value(rejection, records) => {
                let rejected = Outcome::Rejected(rejection.clone());
                Ok(apart(bodies.len(), &records, &rejected, &rejection.code))
            }
            Reason::Unknown(rejection, records) => {
                let suspects = records
                    .into_iter()
                    .filter_map(|record| sent.get(record).copied())
                    .collect();
                Err(CallError::Refused {
                    rejection,
                    suspects,
                })
            }
        }
    }
}

/// Whether a record may be the reason of the refusal: the answer is no word about the path, the
/// account or the moment.
fn is_about_records(error: &CallError, problem: &ApiError, settings: &Settings) -> bool {
    match error {
        CallError::Refused { .. } => true,
        CallError::Stop(_) => {
            let verdict = RowError::new(problem.clone(), None, settings).verdict;
            verdict == RowClass::Field
        }
        _ => false,
    }
}

/// The problem with the field that its message means by a column, where the message quotes its
/// value; and the places that it may mean.
fn located(mut problem: ApiError, bodies: &[&Body]) -> (ApiError, Vec<Place>) {
    let places = sent::places(&problem, bodies);
    let quoted = places.iter().filter(|place| place.is_quoted_by(&problem));
    let mut fields: Vec<&String> = quoted.map(|place| &place.field).collect();
    fields.dedup();
    if let ([field], true) = (&fields[..], problem.fields.is_empty()) {
        problem.fields = vec![(*field).clone()];
    }
    (problem, places)
}

/// The reason for which a call with these records was refused with `problem`. Pure.
fn reason(problem: ApiError, bodies: &[&Body], settings: &Settings) -> Reason {
    let (problem, places) = located(problem, bodies);
    let mut misconfigured = Vec::new();
    for (record, body) in bodies.iter().enumerate() {
        let error = RowError::new(problem.clone(), Some(body), settings);
        let named = error.misconfigured.and_then(|misconfigured| {
            Some((
                record,
                misconfigured.is_everywhere,
                misconfigured.stop,
                misconfigured.field?,
            ))
        });
        misconfigured.extend(named.filter(|(.., field)| sent::value(body, field).is_some()));
    }
    let is_in_all = misconfigured.len() == bodies.len()
        && misconfigured
            .iter()
            .all(|(_, is_everywhere, ..)| *is_everywhere);
    let records = misconfigured.iter().map(|(record, ..)| *record).collect();
    match (misconfigured.first(), &places[..]) {
        (Some((_, _, stop, _)), _) if is_in_all => Reason::Settings(stop.clone()),
        (Some((_, _, stop, _)), _) => Reason::Misconfiguration(stop.clone(), records),
        (None, [place]) if place.is_quoted_by(&problem) => {
            let holds = |(record, body): (usize, &&Body)| place.is_in(body).then_some(record);
            Reason::Value(
                problem.rejection(),
                bodies.iter().enumerate().filter_map(holds).collect(),
            )
        }
        (None, places) => Reason::Unknown(
            problem.rejection(),
            places.iter().map(|place| place.record).collect(),
        ),
    }
}

/// The outcomes of a refused call of which the reason is in `records`. The others go again apart
/// from new batches, where they might meet others of the kind, and be refused once more.
fn apart(count: usize, records: &[usize], outcome: &Outcome, code: &Code) -> Vec<Outcome> {
    let again = || {
        Outcome::Retry(Retry {
            code: code.clone(),
            after: None,
            how: RetryMode::SplitBatch,
        })
    };
    (0..count)
        .map(|record| {
            if records.contains(&record) {
                outcome.clone()
            } else {
                again()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::salesforce::model::tests::settings;

    const PARSER: &str = "JSON_PARSER_ERROR";

    /// The reason in a word, and its records.
    fn told(code: &str, message: &str, records: &[&str]) -> (&'static str, Vec<usize>) {
        let settings = Settings {
            version_field: "Version__c".to_owned(),
            ..settings()
        };
        let bodies: Vec<Body> = records
            .iter()
            .map(|json| Body::of(serde_json::from_str(json).expect("an object")))
            .collect();
        let bodies: Vec<&Body> = bodies.iter().collect();
        let problem = ApiError {
            code: Some(code.to_owned()),
            message: Some(message.to_owned()),
            fields: Vec::new(),
        };
        match reason(problem, &bodies, &settings) {
            Reason::Settings(_) => ("settings", Vec::new()),
            Reason::Misconfiguration(_, records) => ("misconfigured", records),
            Reason::Value(_, records) => ("value", records),
            Reason::Unknown(_, records) => ("unknown", records),
        }
    }

    /// The parser's message about the last `value` of these records.
    fn parser_message(kind: &str, value: &str, told: &str, records: &[&str]) -> String {
        let body = format!("{}{}", sent::HEAD, records.join(","));
        let column = body.rfind(value).expect("it is there") + 1;
        format!(
            "Cannot deserialize instance of {kind} value {told} or request may be missing a required field at [line:1, \
             column:{column}]"
        )
    }

    #[test]
    fn a_field_that_a_refused_call_names_is_the_reason_of_those_that_have_it() {
        let records = [
            r#"{"City":"x","Source_Id__c":"1"}"#,
            r#"{"Source_Id__c":"2"}"#,
            r#"{"City":null,"Source_Id__c":"3"}"#,
        ];
        for (code, field, expected) in [
            ("INVALID_FIELD", "City", ("misconfigured", vec![0, 2])),
            (PARSER, "City", ("misconfigured", vec![0, 2])),
            ("INVALID_FIELD", "Source_Id__c", ("settings", vec![])),
            ("INVALID_FIELD", "Phone", ("unknown", vec![])),
            ("INVALID_FIELD", "Of_The_Org__c", ("unknown", vec![])),
        ] {
            let message = format!("No such column '{field}' on sobject of type Lead");
            assert_eq!(told(code, &message, &records), expected, "{code} {field}");
        }
        assert_eq!(
            told("INVALID_FIELD", "City", &records[..1]),
            ("misconfigured", vec![0])
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_the_reason_of_those_that_hold_it() {
        let records = [
            r#"{"News__c":"yes","Version__c":7}"#,
            r#"{"News__c":true,"Version__c":7}"#,
            r#"{"News__c":"no","Version__c":7}"#,
            r#"{"News__c":"yes","Version__c":7}"#,
        ];
        let text = |value: &str| {
            parser_message(
                "boolean from VALUE_STRING",
                &format!("\"{value}\""),
                value,
                &records,
            )
        };
        assert_eq!(told(PARSER, &text("yes"), &records), ("value", vec![0, 3]));
        assert_eq!(told(PARSER, &text("no"), &records), ("value", vec![2]));
        let number = parser_message("date from VALUE_NUMBER_INT", "7}", "7", &records);
        assert_eq!(
            told(PARSER, &number, &records),
            ("settings", vec![]),
            "settings chose the version's field"
        );
        let silent = text("no").replace("value no", "value");
        assert_eq!(
            told(PARSER, &silent, &records),
            ("unknown", vec![2]),
            "a column alone is a suspicion"
        );
        assert_eq!(
            told(PARSER, "Unexpected character", &records),
            ("unknown", vec![])
        );
        assert_eq!(
            told("EXCEEDED_ID_LIMIT", "record limit reached", &records),
            ("unknown", vec![])
        );
    }
}
