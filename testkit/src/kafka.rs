//! Events of Kafka, and a simulated event source mapping that reads several partitions at once.

use std::collections::BTreeMap;

use contact_sync::lambda::{BatchResponse, Handler, HandlerError, ItemIdentifier};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};

pub const ARN: &str = "arn:aws:kafka:eu-west-1:123456789012:cluster/crm/1a2b3c4d-1";
pub const TOPIC: &str = "contacts";

/// Builds a record of an event. Without data it is a tombstone.
pub fn record(partition: u32, offset: u64, key: &str, data: Option<&[u8]>) -> Value {
    let base64 = |bytes: &[u8]| base64_simd::STANDARD.encode_to_string(bytes);
    json!({
        "topic": TOPIC,
        "partition": partition,
        "offset": offset,
        "timestamp": 1_795_169_700_123_i64,
        "timestampType": "CREATE_TIME",
        "key": base64(key.as_bytes()),
        "value": data.map(base64),
        "headers": [{"origin": [99, 114, 109, -61]}],
    })
}

/// Builds an event of Amazon MSK, with a list for each partition of the records.
pub fn event(records: &[Value]) -> Value {
    let mut lists: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for record in records {
        let list = format!("{TOPIC}-{}", record["partition"]);
        lists.entry(list).or_default().push(record);
    }
    json!({
        "eventSource": "aws:kafka",
        "eventSourceArn": ARN,
        "bootstrapServers": "b-1.crm.kafka.eu-west-1.amazonaws.com:9098",
        "records": lists,
    })
}

/// Invokes the handler with records.
pub async fn invoke(
    handler: &Handler,
    records: &[Value],
    request_id: &str,
) -> Result<BatchResponse, HandlerError> {
    let mut context = Context::default();
    request_id.clone_into(&mut context.request_id);
    let event = event(records).to_string();
    handler
        .handle(LambdaEvent::new(event.into(), context))
        .await
}

/// Returns the partition, with its topic, and the offset of each failed record.
pub fn failures(answer: &BatchResponse) -> Vec<(String, u64)> {
    let mut failures = Vec::new();
    for failure in &answer.batch_item_failures {
        match &failure.item_identifier {
            ItemIdentifier::Offset { partition, offset } => {
                failures.push((partition.clone(), *offset));
            }
            ItemIdentifier::SequenceNumber(_) => panic!("no failure of Kafka: {failure:?}"),
        }
    }
    failures
}

/// A topic: its partitions, each with its records in the order of their offsets.
#[derive(Clone, Debug)]
pub struct Topic {
    pub partitions: Vec<Vec<Value>>,
}

/// Reads a topic: batches of all partitions together, each from its committed offset on. A failed
/// record comes again with all records behind it in its partition; the records of other partitions
/// do not.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Bound of the records of one batch from one partition.
    pub batch_size: usize,
    /// Bound of the invocations.
    pub most_invocations: usize,
}

impl Mapping {
    /// Delivers all records. Returns the number of invocations; `None` where records are left after
    /// the most invocations.
    pub async fn drain(
        &self,
        topic: &Topic,
        function: impl AsyncFn(Vec<Value>, usize) -> Result<BatchResponse, HandlerError>,
    ) -> Option<usize> {
        let mut committed = vec![0; topic.partitions.len()];
        for invocation in 0..self.most_invocations {
            let mut batch = Vec::new();
            let mut ends = Vec::new();
            for (records, from) in topic.partitions.iter().zip(&committed) {
                let end = records.len().min(from + self.batch_size);
                batch.extend_from_slice(&records[*from..end]);
                ends.push(end);
            }
            if batch.is_empty() {
                return Some(invocation);
            }
            let Ok(answer) = function(batch, invocation).await else {
                continue;
            };
            for (partition, end) in ends.into_iter().enumerate() {
                let name = format!("{TOPIC}-{partition}");
                let failed = failures(&answer).into_iter();
                let first = failed
                    .filter(|(list, _)| *list == name)
                    .map(|(_, offset)| position(&topic.partitions[partition], offset))
                    .min();
                committed[partition] = first.unwrap_or(end);
            }
        }
        None
    }
}

/// Returns the index of the record with this offset.
fn position(records: &[Value], offset: u64) -> usize {
    let is_it = |record: &Value| record["offset"] == offset;
    records
        .iter()
        .position(is_it)
        .expect("a record of the topic")
}
