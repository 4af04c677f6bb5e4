//! Puts records of Kafka back: invokes the function with an event that carries them, marked as put
//! back. The tool has no client of Kafka, and the offsets of a topic cannot be written again.

use std::collections::HashSet;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::operation::invoke::InvokeOutput;
use aws_sdk_lambda::primitives::Blob;
use serde_json::{Value, json};

use super::super::failure::Failure;

/// Bounds of one event: its records, and the bytes of their keys and values. Lambda takes 6 MB.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_RECORDS: usize = 100;
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Position of a record in a topic, and the function that takes it.
#[derive(Clone, Debug)]
pub(super) struct KafkaPlace {
    pub(super) function: String,
    pub(super) event_source_arn: Option<String>,
    pub(super) topic: String,
    pub(super) partition: u32,
    pub(super) offset: u64,
    /// Base64.
    pub(super) key: Option<String>,
    /// Milliseconds since 1970: the time of a change that names none.
    pub(super) timestamp: Option<i64>,
    /// Whether the record has no value.
    pub(super) is_tombstone: bool,
}

impl KafkaPlace {
    /// Returns the name of the record's list in an event.
    pub(super) fn list(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }

    fn record(&self, data: &[u8]) -> Value {
        let value = (!self.is_tombstone).then(|| base64_simd::STANDARD.encode_to_string(data));
        json!({
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "timestamp": self.timestamp,
            "key": self.key,
            "value": value,
            "replay": true,
        })
    }
}

/// Record to put back.
#[derive(Debug)]
pub(super) struct PendingInvoke {
    pub(super) place: KafkaPlace,
    pub(super) data: Vec<u8>,
    /// Index by which the caller identifies the record.
    pub(super) source: usize,
}

/// Outcome of one record: the reason where the function did not take it.
pub(super) type InvokeOutcome = (usize, Result<(), String>);

/// Returns the number of records of the next event: of one function and cluster.
fn next_batch(pending: &[PendingInvoke]) -> usize {
    let Some(PendingInvoke { place: first, .. }) = pending.first() else {
        return 0;
    };
    let (mut count, mut bytes) = (0, 0);
    for PendingInvoke { place, data, .. } in pending.iter().take(MAX_RECORDS) {
        bytes += (data.len() + place.key.as_ref().map_or(0, String::len)) * 4 / 3;
        let is_same =
            place.function == first.function && place.event_source_arn == first.event_source_arn;
        if !is_same || (bytes > MAX_BYTES && count > 0) {
            break;
        }
        count += 1;
    }
    count
}

/// Builds the event of a batch.
fn event(batch: &[PendingInvoke]) -> Value {
    let mut lists = json!({});
    for PendingInvoke { place, data, .. } in batch {
        let list = &mut lists[place.list()];
        match list.as_array_mut() {
            Some(list) => list.push(place.record(data)),
            None => *list = json!([place.record(data)]),
        }
    }
    let arn = batch
        .first()
        .and_then(|pending| pending.place.event_source_arn.as_deref());
    let source = if arn.is_some() {
        "aws:kafka"
    } else {
        "SelfManagedKafka"
    };
    let mut event = json!({"eventSource": source, "records": lists});
    if let Some(arn) = arn {
        event["eventSourceArn"] = arn.into();
    }
    event
}

/// Invokes the function with the next records of `pending`, and removes them.
pub(super) async fn step(
    client: &Client,
    pending: &mut Vec<PendingInvoke>,
) -> Result<Vec<InvokeOutcome>, Failure> {
    let batch: Vec<PendingInvoke> = pending.drain(..next_batch(pending)).collect();
    let Some(PendingInvoke { place, .. }) = batch.first() else {
        return Ok(Vec::new());
    };
    let call = client
        .invoke()
        .function_name(&place.function)
        .payload(Blob::new(event(&batch).to_string()));
    let output = call.send().await.map_err(|error| {
        let doing = format!("invoking the function {}", place.function);
        Failure::aws(&doing, "lambda:InvokeFunction", &error)
    })?;
    Ok(outcomes(&batch, &output))
}

/// Returns the outcome of each record of a batch.
fn outcomes(batch: &[PendingInvoke], output: &InvokeOutput) -> Vec<InvokeOutcome> {
    let failed = failed(output);
    let outcome = |pending: &PendingInvoke| match &failed {
        Err(error) => Err(error.clone()),
        Ok(failed) if failed.contains(&(pending.place.list(), pending.place.offset)) => {
            Err("the function failed to deliver it: its log has the reason".to_owned())
        }
        Ok(_) => Ok(()),
    };
    batch
        .iter()
        .map(|pending| (pending.source, outcome(pending)))
        .collect()
}

/// Returns the failed records, by list and offset; an error where the function did not answer.
fn failed(output: &InvokeOutput) -> Result<HashSet<(String, u64)>, String> {
    if let Some(error) = &output.function_error {
        return Err(format!("the function ended with an error ({error})"));
    }
    let answer = output
        .payload
        .as_ref()
        .map(Blob::as_ref)
        .unwrap_or_default();
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let Some(failures) = answer["batchItemFailures"].as_array() else {
        return Err("the function's answer names no failures: it is another function".to_owned());
    };
    let mut failed = HashSet::new();
    for failure in failures {
        let identifier = &failure["itemIdentifier"];
        match (
            identifier["partition"].as_str(),
            identifier["offset"].as_u64(),
        ) {
            (Some(list), Some(offset)) => drop(failed.insert((list.to_owned(), offset))),
            _ => return Err("the function's answer names a record that it did not get".to_owned()),
        }
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(partition: u32, offset: u64, size: usize) -> PendingInvoke {
        PendingInvoke {
            place: KafkaPlace {
                function: "f:live".to_owned(),
                event_source_arn: Some("arn".to_owned()),
                topic: "contacts".to_owned(),
                partition,
                offset,
                key: Some("Yy0x".to_owned()),
                timestamp: Some(1_795_169_700_123),
                is_tombstone: false,
            },
            data: vec![b' '; size],
            source: usize::try_from(offset).expect("fits"),
        }
    }

    #[test]
    fn an_event_lists_records_by_partition_and_marks_them() {
        let mut tombstone = pending(1, 9, 0);
        tombstone.place.is_tombstone = true;
        let event = event(&[pending(0, 7, 1), tombstone, pending(0, 8, 1)]);
        let lists = &event["records"];
        assert_eq!(
            lists["contacts-0"],
            json!([
                {"topic": "contacts", "partition": 0, "offset": 7, "key": "Yy0x", "value": "IA==",
                 "timestamp": 1_795_169_700_123_i64, "replay": true},
                {"topic": "contacts", "partition": 0, "offset": 8, "key": "Yy0x", "value": "IA==",
                 "timestamp": 1_795_169_700_123_i64, "replay": true},
            ])
        );
        assert_eq!(lists["contacts-1"][0]["value"], Value::Null);
        assert_eq!(
            (&event["eventSource"], &event["eventSourceArn"]),
            (&json!("aws:kafka"), &json!("arn"))
        );
    }

    #[test]
    fn a_batch_has_one_function_100_records_and_4_mib_or_a_single_larger_record() {
        let many: Vec<_> = (0..150).map(|at| pending(0, at, 1)).collect();
        assert_eq!(next_batch(&many), 100);
        let large: Vec<_> = (0..4).map(|at| pending(0, at, 2 * 1024 * 1024)).collect();
        assert_eq!(next_batch(&large), 1);
        assert_eq!(
            next_batch(&[pending(0, 1, 2 * MAX_BYTES), pending(0, 2, 1)]),
            1
        );
        let mut other = pending(0, 2, 1);
        other.place.function = "g".to_owned();
        assert_eq!(next_batch(&[pending(0, 1, 1), other]), 1);
        assert_eq!(next_batch(&[]), 0);
    }

    #[test]
    fn each_record_has_the_outcome_that_the_answer_names() {
        let batch = [pending(0, 7, 1), pending(0, 8, 1)];
        let failures = |answer: &Value, error: Option<&str>| -> Vec<bool> {
            let output = InvokeOutput::builder()
                .payload(Blob::new(answer.to_string()))
                .set_function_error(error.map(str::to_owned))
                .build();
            let outcomes = outcomes(&batch, &output).into_iter();
            outcomes.map(|(_, outcome)| outcome.is_err()).collect()
        };
        let one = json!({"batchItemFailures": [
            {"itemIdentifier": {"partition": "contacts-0", "offset": 8}},
        ]});
        assert_eq!(failures(&one, None), [false, true]);
        assert_eq!(
            failures(&json!({"batchItemFailures": []}), None),
            [false, false]
        );
        assert_eq!(
            failures(&json!({"batchItemFailures": []}), Some("Unhandled")),
            [true, true]
        );
        for other in [
            json!(null),
            json!({"batchItemFailures": [{"itemIdentifier": "49"}]}),
        ] {
            assert_eq!(failures(&other, None), [true, true], "{other}");
        }
    }
}
