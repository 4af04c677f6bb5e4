//! Classifies the refusal of a whole upsert, and finds the records that are its reason.
//!
//! Most API versions report a missing field as errors of rows, and others as a 400 for the whole
//! call. A value of the wrong JSON type is always a 400, which names the column.

use super::api_error::{ApiError, api_error};
use super::errors::{self, RowClass, RowError};
use super::sent::{self, Place};
use super::{Salesforce, Settings};
use crate::adapters::http::HttpResponse;
use crate::adapters::{Adapter, Call, misconfigured};
use crate::model::{Body, CallError, Code, Outcome, Payload, Rejection, Reply, RetryMode, Stop};

/// Reason for which a call with several records was refused.
#[derive(Debug)]
enum Reason {
    /// A name or value that settings put into every record.
    Settings(Stop),
    /// A name or value that settings or the fixed mapping put into these records.
    Misconfiguration(Stop, Vec<usize>),
    /// The value that these records have.
    Value(Rejection, Vec<usize>),
    /// Not known; perhaps these records.
    Unknown(Rejection, Vec<usize>),
}

impl Salesforce {
    /// Classifies the refusal of a request whose columns cannot be traced to records: a call of
    /// several requests, or one of them. Where a record may be the reason, smaller requests find
    /// it.
    pub(super) fn refusal(&self, response: &HttpResponse) -> CallError {
        let call_error = errors::of_response(response, &self.settings);
        match api_error(response) {
            Some(error) if is_about_records(&call_error, &error, &self.settings) => {
                CallError::refused(error.rejection())
            }
            _ => call_error,
        }
    }

    /// Returns the outcomes of the payloads at `sent`, where the refusal is about their records.
    ///
    /// # Errors
    /// Classifies any other refusal, and one whose reason is not known.
    pub(super) async fn outcomes_of_refusal(
        &self,
        response: &HttpResponse,
        sent: &[usize],
        batch: &[&Payload],
        call: Call<'_>,
    ) -> Reply {
        let call_error = errors::of_response(response, &self.settings);
        let bodies: Vec<&Body> = sent
            .iter()
            .filter_map(|at| batch[*at].body.as_ref())
            .collect();
        let error = match api_error(response) {
            Some(error) if is_about_records(&call_error, &error, &self.settings) => error,
            _ => return Err(call_error),
        };
        if let [body] = bodies[..] {
            let (error, _) = located(error, &bodies);
            // A record that is refused alone is classified like one of several rows.
            let error = RowError::new(error, Some(body), &self.settings);
            return self
                .outcomes_of_rows(vec![error.into()], sent, batch, call)
                .await;
        }
        match reason(error, &bodies, &self.settings) {
            Reason::Settings(stop) => Err(CallError::Stop(stop)),
            Reason::Misconfiguration(stop, records) => {
                let stops = std::iter::repeat_n(&stop, records.len());
                misconfigured::report(self.destination(), stops, call);
                let failed = Outcome::Failed(stop.code.clone());
                Ok(separate(bodies.len(), &records, &failed, &stop.code))
            }
            Reason::Value(rejection, records) => {
                let code = rejection.code.clone();
                let refused = if errors::may_leave_out(&rejection.fields, &self.settings) {
                    let fields = rejection.fields.clone();
                    Outcome::retry(code.clone(), RetryMode::Without(fields, rejection))
                } else {
                    Outcome::Rejected(rejection)
                };
                Ok(separate(bodies.len(), &records, &refused, &code))
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

/// Returns whether a record may be the reason of the refusal: the response is not about the path,
/// the account or the moment.
fn is_about_records(call_error: &CallError, error: &ApiError, settings: &Settings) -> bool {
    match call_error {
        CallError::Refused { .. } => true,
        CallError::Stop(_) => {
            let class = RowError::new(error.clone(), None, settings).class;
            class == RowClass::Field
        }
        _ => false,
    }
}

/// Adds the field to an error whose message names it by a column only, where the message quotes its
/// value. Returns the error and the places that it may mean.
fn located(mut error: ApiError, bodies: &[&Body]) -> (ApiError, Vec<Place>) {
    let places = sent::places(&error, bodies);
    let quoted = places.iter().filter(|place| place.is_quoted_by(&error));
    let mut fields: Vec<&String> = quoted.map(|place| &place.field).collect();
    fields.dedup();
    if let ([field], true) = (&fields[..], error.fields.is_empty()) {
        error.fields = vec![(*field).clone()];
    }
    (error, places)
}

/// Returns the reason for which a call with these records was refused with `error`. Pure.
fn reason(error: ApiError, bodies: &[&Body], settings: &Settings) -> Reason {
    let (error, places) = located(error, bodies);
    let mut misconfigured = Vec::new();
    for (record, body) in bodies.iter().enumerate() {
        let error = RowError::new(error.clone(), Some(body), settings);
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
        (None, [place]) if place.is_quoted_by(&error) => {
            let records = (0..bodies.len()).filter(|record| place.is_in(bodies[*record]));
            Reason::Value(error.rejection(), records.collect())
        }
        (None, places) => Reason::Unknown(
            error.rejection(),
            places.iter().map(|place| place.record).collect(),
        ),
    }
}

/// Returns the outcomes of a refused call whose reason is in `records`. The other records are sent
/// again in smaller batches: in a new batch they might be together with further records of the
/// kind, and would be refused again.
fn separate(count: usize, records: &[usize], outcome: &Outcome, code: &Code) -> Vec<Outcome> {
    (0..count)
        .map(|record| {
            if records.contains(&record) {
                outcome.clone()
            } else {
                Outcome::retry(code.clone(), RetryMode::SplitBatch)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::salesforce::model::tests::settings;

    const PARSER: &str = "JSON_PARSER_ERROR";

    /// Returns the reason in a word, and its records.
    fn reason_of(code: &str, message: &str, records: &[&str]) -> (&'static str, Vec<usize>) {
        let settings = Settings {
            version_field: "Version__c".to_owned(),
            ..settings()
        };
        let bodies: Vec<Body> = records
            .iter()
            .map(|json| Body::of(serde_json::from_str(json).expect("an object")))
            .collect();
        let bodies: Vec<&Body> = bodies.iter().collect();
        let error = ApiError {
            code: Some(code.to_owned()),
            message: Some(message.to_owned()),
            fields: Vec::new(),
        };
        match reason(error, &bodies, &settings) {
            Reason::Settings(_) => ("settings", Vec::new()),
            Reason::Misconfiguration(_, records) => ("misconfigured", records),
            Reason::Value(_, records) => ("value", records),
            Reason::Unknown(_, records) => ("unknown", records),
        }
    }

    /// Builds the parser's message about the last `value` of these records.
    fn parser_message(kind: &str, value: &str, quoted: &str, records: &[&str]) -> String {
        let body = format!("{}{}", sent::HEAD, records.join(","));
        let column = body.rfind(value).expect("it is there") + 1;
        format!(
            "Cannot deserialize instance of {kind} value {quoted} or request may be missing a \
             required field at [line:1, column:{column}]"
        )
    }

    #[test]
    fn a_field_named_by_a_refused_call_is_the_reason_for_the_records_that_have_it() {
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
            assert_eq!(
                reason_of(code, &message, &records),
                expected,
                "{code} {field}"
            );
        }
        assert_eq!(
            reason_of("INVALID_FIELD", "City", &records[..1]),
            ("misconfigured", vec![0])
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_the_reason_for_the_records_that_have_it() {
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
        assert_eq!(
            reason_of(PARSER, &text("yes"), &records),
            ("value", vec![0, 3])
        );
        assert_eq!(reason_of(PARSER, &text("no"), &records), ("value", vec![2]));
        let number = parser_message("date from VALUE_NUMBER_INT", "7}", "7", &records);
        assert_eq!(
            reason_of(PARSER, &number, &records),
            ("settings", vec![]),
            "settings chose the version's field"
        );
        let silent = text("no").replace("value no", "value");
        assert_eq!(
            reason_of(PARSER, &silent, &records),
            ("unknown", vec![2]),
            "a column alone makes a suspect"
        );
        assert_eq!(
            reason_of(PARSER, "Unexpected character", &records),
            ("unknown", vec![])
        );
        assert_eq!(
            reason_of("EXCEEDED_ID_LIMIT", "record limit reached", &records),
            ("unknown", vec![])
        );
    }
}
