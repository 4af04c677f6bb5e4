//! Reads a stream of an emulated or real Kinesis.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::ShardIteratorType;

use super::stream::Stream;

impl Stream {
    /// Reads all records of the stream with this ARN, or of the stream of this consumer, shard by
    /// shard. The records keep their sequence numbers.
    pub async fn read(kinesis: &Client, named: &str) -> Self {
        let arn = named.split_once("/consumer/").map_or(named, |(arn, _)| arn);
        let listed = kinesis
            .list_shards()
            .stream_arn(arn)
            .send()
            .await
            .expect("shards");
        let shards = listed.shards.unwrap_or_default();
        let mut stream = Self::named(named, shards.len());
        for (at, shard) in shards.iter().enumerate() {
            let iterator = kinesis
                .get_shard_iterator()
                .stream_arn(arn)
                .shard_id(shard.shard_id());
            let iterator = iterator
                .shard_iterator_type(ShardIteratorType::TrimHorizon)
                .send()
                .await;
            let mut next = iterator.expect("an iterator").shard_iterator;
            while let Some(iterator) = next {
                let call = kinesis
                    .get_records()
                    .stream_arn(arn)
                    .shard_iterator(iterator)
                    .limit(1000);
                let page = call.send().await.expect("records");
                for record in &page.records {
                    let key = record.partition_key().expect("every record has one");
                    stream.append(
                        at,
                        record.sequence_number(),
                        key,
                        record.data().as_ref(),
                        Duration::ZERO,
                    );
                }
                next = page
                    .next_shard_iterator
                    .filter(|_| !page.records.is_empty());
            }
        }
        stream
    }
}
