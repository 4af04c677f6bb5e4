//! Reads the records of a Kinesis event leniently. `aws_lambda_events::KinesisEvent` would refuse a
//! whole batch for one malformed record without naming it: the batch would come again until it
//! expires.
//!
//! A record names its source by `eventSource`, in any letter case. A record without it (local
//! emulators) is of Kinesis if it has an object `kinesis`. The name counts for more than the shape:
//! a record of `aws:sqs` with an object `kinesis` is not of Kinesis.
//!
//! An event without a record of Kinesis is refused as a whole. If it were answered, the service
//! that sent it would delete its records. Beside a record of Kinesis, a record of another source is
//! handled like a malformed one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{HandlerError, kafka};
use crate::json::{self, Object, Str};
use crate::model::{Data, KinesisOrigin, Origin, Record};

/// The `eventSource` of a record of Kinesis.
const KINESIS: &str = "aws:kinesis";

/// An event whose records are read as `T`.
#[derive(Deserialize)]
struct Envelope<T> {
    #[serde(rename = "Records")]
    records: Vec<T>,
}

/// A well-formed record.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRecord<'a> {
    #[serde(borrow)]
    kinesis: Option<WireKinesis<'a>>,
    event_source: Option<Str<'a>>,
    #[serde(rename = "eventID")]
    event_id: Option<Str<'a>>,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: Option<Str<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireKinesis<'a> {
    #[serde(borrow)]
    partition_key: Option<Str<'a>>,
    sequence_number: Option<Str<'a>>,
    approximate_arrival_timestamp: Option<f64>,
    data: Option<Str<'a>>,
}

/// Returns the records of an event of Kinesis or Kafka, each as far as it can be read.
///
/// # Errors
/// Where no record is of a supported source. An event without any record is no error: it holds
/// nothing to lose.
pub fn envelope(event: &str) -> Result<Vec<Record<'_>>, HandlerError> {
    match records(event)? {
        Some(mut records) => {
            number_parts(&mut records);
            Ok(records)
        }
        None => kafka::records(event).ok_or(HandlerError::UnsupportedEvent),
    }
}

/// Returns the records of an event of Kinesis; `None` for an event without `Records`.
fn records(event: &str) -> Result<Option<Vec<Record<'_>>>, HandlerError> {
    if let Ok(Object(Envelope { records })) =
        serde_json::from_str::<Object<Envelope<WireRecord<'_>>>>(event)
    {
        if records.is_empty() || records.iter().any(WireRecord::is_of_kinesis) {
            return Ok(Some(records.into_iter().map(Record::from).collect()));
        }
        return Err(HandlerError::UnsupportedEvent);
    }
    // A record is malformed, so each is read by itself, part by part.
    let Ok(Object(Envelope { records: raws })) =
        serde_json::from_str::<Object<Envelope<&RawValue>>>(event)
    else {
        return Ok(None);
    };
    let mut is_supported = raws.is_empty();
    let mut records = Vec::with_capacity(raws.len());
    for raw in raws {
        let wire = WireRecord::from_malformed(raw);
        is_supported |= wire.is_of_kinesis();
        records.push(Record::from(wire));
    }
    if is_supported {
        Ok(Some(records))
    } else {
        Err(HandlerError::UnsupportedEvent)
    }
}

/// Numbers the records that share a sequence number: under enhanced fan-out Lambda itself splits a
/// KPL aggregate.
fn number_parts(records: &mut [Record<'_>]) {
    for at in 1..records.len() {
        let (before, from) = records.split_at_mut(at);
        let (Some(Record { origin, .. }), Some(before)) = (from.first_mut(), before.last()) else {
            continue;
        };
        let (Origin::Kinesis(own), Some(before)) = (origin, before.kinesis()) else {
            continue;
        };
        if own.sequence_number.is_some() && own.sequence_number == before.sequence_number {
            own.sub_sequence = before.sub_sequence + 1;
        }
    }
}

impl<'a> WireRecord<'a> {
    /// Reads the readable parts of a record. Of a repeated key, the last counts.
    fn from_malformed(raw: &'a RawValue) -> Self {
        let outer = json::fields(raw.get()).unwrap_or_default();
        let text = |fields: &BTreeMap<String, &'a RawValue>, name: &str| {
            fields.get(name).and_then(|raw| json::text(raw)).map(Str)
        };
        let kinesis = outer
            .get("kinesis")
            .and_then(|raw| json::fields(raw.get()))
            .map(|inner| WireKinesis {
                partition_key: text(&inner, "partitionKey"),
                sequence_number: text(&inner, "sequenceNumber"),
                approximate_arrival_timestamp: inner
                    .get("approximateArrivalTimestamp")
                    .and_then(|raw| serde_json::from_str(raw.get()).ok()),
                data: text(&inner, "data"),
            });
        Self {
            kinesis,
            event_source: text(&outer, "eventSource"),
            event_id: text(&outer, "eventID"),
            event_source_arn: text(&outer, "eventSourceARN"),
        }
    }

    fn is_of_kinesis(&self) -> bool {
        match &self.event_source {
            Some(Str(source)) => source.trim().eq_ignore_ascii_case(KINESIS),
            None => self.kinesis.is_some(),
        }
    }
}

impl<'a> From<WireRecord<'a>> for Record<'a> {
    fn from(wire: WireRecord<'a>) -> Self {
        let text = |part: Option<Str<'a>>| part.map(|Str(text)| text);
        let is_of_kinesis = wire.is_of_kinesis();
        let kinesis = wire.kinesis.unwrap_or_default();
        Self {
            event_source_arn: text(wire.event_source_arn),
            origin: Origin::Kinesis(KinesisOrigin {
                shard_id: text(wire.event_id).and_then(shard),
                sequence_number: text(kinesis.sequence_number).filter(|number| !number.is_empty()),
                sub_sequence: 0,
                partition_key: text(kinesis.partition_key),
                approximate_arrival: kinesis.approximate_arrival_timestamp,
                explicit_hash_key: None,
            }),
            data: text(kinesis.data)
                .filter(|_| is_of_kinesis)
                .map(Data::Base64),
            replay: false,
        }
    }
}

/// Returns the shard in `shardId-000000000006:4959…`.
fn shard(event_id: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let length = event_id.find(':')?;
    match event_id {
        Cow::Borrowed(text) => Some(Cow::Borrowed(&text[..length])),
        Cow::Owned(mut text) => {
            text.truncate(length);
            Some(Cow::Owned(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_malformed_record_leaves_its_neighbours_readable() {
        let event = r#"{"Records":[
            7,
            null,
            {"kinesis":"x"},
            {"kinesis":{"sequenceNumber":5,"data":"e30="}},
            {"eventID":"shardId-000000000006:123","eventSourceARN":"arn","kinesis":{
                "sequenceNumber":"123","data":"e\u00330=","partitionKey":"k",
                "approximateArrivalTimestamp":1.5}}
        ]}"#;
        let records = envelope(event).expect("records");
        assert_eq!(records.len(), 5);
        let data = |record: &Record<'_>| match &record.data {
            Some(Data::Base64(text)) => text.clone().into_owned(),
            _ => panic!("no data: {record:?}"),
        };
        assert_eq!([data(&records[3]), data(&records[4])], ["e30=", "e30="]);
        let last = records[4].kinesis().expect("of Kinesis");
        assert_eq!(last.shard_id.as_deref(), Some("shardId-000000000006"));
        assert_eq!(
            (last.approximate_arrival, last.sequence_number.as_deref()),
            (Some(1.5), Some("123"))
        );
    }

    #[test]
    fn only_a_record_of_kinesis_with_empty_data_is_a_tombstone() {
        const OURS: &str = r#"{"eventSource":"aws:kinesis","kinesis":{"data":"e30="}}"#;
        for (record, is_tombstone) in [
            (
                r#"{"eventSource":"aws:kinesis","kinesis":{"data":""}}"#,
                true,
            ),
            (r#"{"eventID":7,"kinesis":{"data":""}}"#, true),
            (r#"{"kinesis":{"data":null}}"#, false),
            (r#"{"kinesis":{}}"#, false),
            (r#"{"kinesis":{"data":7}}"#, false),
            (r#"{"kinesis":{"data":{}}}"#, false),
            (r#"{"kinesis":"x"}"#, false),
            (r#"{"eventSource":"aws:sqs","body":"{}"}"#, false),
            (r#"{"eventSource":"aws:sqs","kinesis":{"data":""}}"#, false),
            ("7", false),
        ] {
            let event = format!(r#"{{"Records":[{record},{OURS}]}}"#);
            let records = envelope(&event).expect("records");
            assert_eq!(records[0].is_tombstone(), is_tombstone, "{record}");
            assert!(!records[1].is_tombstone());
        }
    }

    #[test]
    fn the_data_of_another_source_is_not_read() {
        let event = r#"{"Records":[{"eventSource":"aws:sqs","kinesis":{"data":"e30="}},
            {"eventSource":"aws:kinesis","kinesis":{"data":"e30="}}]}"#;
        let records = envelope(event).expect("records");
        let has_data = |record: &Record<'_>| record.data.is_some();
        assert_eq!([&records[0], &records[1]].map(has_data), [false, true]);
    }

    #[test]
    fn records_that_share_a_sequence_number_are_numbered() {
        let record = |number: &str| format!(r#"{{"kinesis":{{"sequenceNumber":{number}}}}}"#);
        let numbers = [
            r#""1""#, r#""2""#, r#""2""#, r#""2""#, "null", "null", r#""2""#,
        ];
        let event = format!(r#"{{"Records":[{}]}}"#, numbers.map(record).join(","));
        let records = envelope(&event).expect("records");
        let parts: Vec<u64> = records
            .iter()
            .map(|record| record.kinesis().expect("of Kinesis").sub_sequence)
            .collect();
        assert_eq!(parts, [0, 0, 1, 2, 0, 0, 0]);
    }

    fn judged(event: &str) -> Option<usize> {
        envelope(event).map(|records| records.len()).ok()
    }

    #[test]
    fn an_event_without_a_list_of_records_is_an_error_and_an_empty_one_is_answered() {
        for event in [
            "{}",
            "null",
            "[]",
            "[[]]",
            "[{}]",
            "7",
            r#"{"Records":null}"#,
            r#"{"Records":{}}"#,
            r#"{"records":[]}"#,
            r#"{"records":[{"recordId":"1","data":"e30="}]}"#,
            r#"{"records":{"contacts-0":[{"offset":1}]},"eventSource":"aws:rmq"}"#,
            r#"{"detail-type":"Scheduled Event","source":"aws.events","resources":[],"detail":{}}"#,
            "",
            r#"{"Records":[]"#,
            r#"{"Records":[]}}"#,
        ] {
            assert_eq!(judged(event), None, "{event}");
        }
        for event in [
            r#"{"Records":[]}"#,
            r#"{"records":{}}"#,
            r#"{"eventSource":"aws:kafka","bootstrapServers":"b","records":{"contacts-0":[]}}"#,
        ] {
            assert_eq!(judged(event), Some(0), "{event}");
        }
    }

    #[test]
    fn an_event_is_supported_where_one_record_is_of_kinesis() {
        const OURS: &str = r#"{"eventSource":"aws:kinesis","kinesis":{"data":"e30="}}"#;
        for (record, is_supported) in [
            (OURS, true),
            (
                r#"{"eventSource":"AWS:Kinesis","kinesis":{"data":"e30="}}"#,
                true,
            ),
            (r#"{"kinesis":{"data":"e30="}}"#, true),
            (r#"{"eventSource":null,"kinesis":{}}"#, true),
            (r#"{"eventSource":7,"kinesis":{}}"#, true),
            (r#"{"eventSource":"aws:kinesis"}"#, true),
            (r#"{"eventSource":"aws:kinesis","kinesis":"x"}"#, true),
            (
                r#"{"eventSource":"aws:kinesis","kinesis":{"data":7}}"#,
                true,
            ),
            (
                r#"{"eventSource":"aws:sqs","kinesis":{"data":"e30="}}"#,
                false,
            ),
            (
                r#"{"eventSource":"aws:sqs","messageId":"m-1","body":"{}"}"#,
                false,
            ),
            (r#"{"EventSource":"aws:sns","Sns":{"Message":"{}"}}"#, false),
            (
                r#"{"eventSource":"aws:s3","s3":{"object":{"key":"k"}}}"#,
                false,
            ),
            (
                r#"{"eventSource":"aws:dynamodb","dynamodb":{"Keys":{}}}"#,
                false,
            ),
            (r#"{"eventSource":"","kinesis":{}}"#, false),
            (r#"{"kinesis":null}"#, false),
            (r#"{"kinesis":"x"}"#, false),
            ("{}", false),
            ("7", false),
            ("null", false),
        ] {
            let alone = format!(r#"{{"Records":[{record}]}}"#);
            assert_eq!(judged(&alone), is_supported.then_some(1), "{record}");
            let twice = format!(r#"{{"Records":[{record},{record}]}}"#);
            assert_eq!(judged(&twice), is_supported.then_some(2), "{record}");
            let beside = format!(r#"{{"Records":[{record},{OURS}]}}"#);
            assert_eq!(
                judged(&beside),
                Some(2),
                "one odd record among ours is that record's matter: {record}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_envelope_panics(
            records in r#"\[(\{"kinesis":[a-z0-9{}":,]{0,30}\},?)*\]|[a-z0-9"]{1,8}"#
        ) {
            let text = format!(r#"{{"Records":{records}}}"#);
            let _ = envelope(&text);
        }
    }
}
