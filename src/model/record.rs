//! Records of a source, and their positions in their source and in a batch.

use std::borrow::Cow;
use std::fmt;

use smallvec::SmallVec;
use time::OffsetDateTime;

/// The index of a record in its batch.
pub type Position = usize;

/// The positions of one contact's records. Most contacts change once in a batch.
pub type Positions = SmallVec<[Position; 2]>;

/// A record as its source delivers it. Every part may be missing.
#[derive(Clone, Default)]
pub struct Record<'a> {
    /// The ARN of the stream or the cluster. Self-managed Kafka has none.
    pub event_source_arn: Option<Cow<'a, str>>,
    /// The source, and the record's position in it.
    pub origin: Origin<'a>,
    /// The data; `None` of a tombstone of Kafka, and where the event holds none that can be read.
    pub data: Option<Data<'a>>,
    /// Whether the event marks the record as put back.
    pub replay: bool,
}

/// The data of a record.
#[derive(Clone)]
pub enum Data<'a> {
    /// Base64 text, as the event has it.
    Base64(Cow<'a, str>),
    /// The bytes of a record within an aggregate.
    Bytes(&'a [u8]),
}

/// The source of a record, with the record's position in it.
#[derive(Clone)]
pub enum Origin<'a> {
    /// A shard of a Kinesis stream.
    Kinesis(KinesisOrigin<'a>),
    /// A partition of a Kafka topic.
    Kafka(KafkaOrigin<'a>),
}

/// The position of a record in a Kinesis stream.
#[derive(Clone, Default)]
#[expect(
    missing_docs,
    reason = "the fields are named as in dead letters, contract section 4"
)]
pub struct KinesisOrigin<'a> {
    pub shard_id: Option<Cow<'a, str>>,
    pub sequence_number: Option<Cow<'a, str>>,
    /// The index among the records that share the sequence number: those of one KPL aggregate.
    pub sub_sequence: u64,
    pub partition_key: Option<Cow<'a, str>>,
    /// Seconds since 1970.
    pub approximate_arrival: Option<f64>,
    /// The hash key that decides the shard in place of the partition key. Only a KPL aggregate has
    /// it: Lambda's event names none.
    pub explicit_hash_key: Option<&'a str>,
}

/// The position of a record in a Kafka topic.
#[derive(Clone, Default)]
pub struct KafkaOrigin<'a> {
    /// The brokers' addresses, which name a self-managed cluster.
    pub bootstrap_servers: Option<Cow<'a, str>>,
    /// `<topic>-<partition>`, as the event names the record's list.
    pub topic_partition: Cow<'a, str>,
    /// The offset in the partition.
    pub offset: Option<u64>,
    /// The key, as base64 text.
    pub key: Option<Cow<'a, str>>,
    /// Milliseconds since 1970.
    pub timestamp: Option<i64>,
    /// Whether the broker wrote the timestamp when it took the record. A producer's timestamp says
    /// nothing about the arrival.
    pub is_append_time: bool,
    /// Whether the record is well-formed and has a null as its value.
    pub is_null: bool,
}

impl KinesisOrigin<'_> {
    /// Returns the explicit hash key. One that is no number below 2^128 decides no shard, and
    /// counts as absent.
    pub fn hash_key(&self) -> Option<u128> {
        self.explicit_hash_key?.parse().ok()
    }
}

impl KafkaOrigin<'_> {
    /// Returns the topic. A name of another form is a topic without a partition.
    pub fn topic(&self) -> &str {
        self.parts().0
    }

    /// Returns the number of the partition.
    pub fn partition(&self) -> Option<u32> {
        self.parts().1
    }

    /// Splits the name at its last hyphen: a topic's name may hold hyphens.
    fn parts(&self) -> (&str, Option<u32>) {
        let parts = self.topic_partition.rsplit_once('-');
        let parts = parts.and_then(|(topic, number)| Some((topic, number.parse().ok()?)));
        match parts {
            Some((topic, partition)) => (topic, Some(partition)),
            None => (&self.topic_partition, None),
        }
    }
}

impl Default for Origin<'_> {
    fn default() -> Self {
        Self::Kinesis(KinesisOrigin::default())
    }
}

impl<'a> Record<'a> {
    /// Makes a record of Kinesis that has data, as base64 text, and nothing else.
    pub fn of_data(data: impl Into<Cow<'a, str>>) -> Self {
        Self {
            data: Some(Data::Base64(data.into())),
            ..Self::default()
        }
    }

    /// Returns the key: the UTF-8 of Kinesis's partition key, or the decoded key of Kafka. A key of
    /// Kafka that is not base64 counts as absent.
    pub fn key(&self) -> Option<Cow<'_, [u8]>> {
        match &self.origin {
            Origin::Kinesis(origin) => {
                let key = origin.partition_key.as_deref()?;
                Some(Cow::Borrowed(key.as_bytes()))
            }
            Origin::Kafka(origin) => {
                let key = base64_simd::STANDARD.decode_to_vec(origin.key.as_deref()?);
                key.ok().map(Cow::Owned)
            }
        }
    }

    /// Returns whether the record is well-formed and has no content: a null as its value in Kafka,
    /// no bytes in Kinesis.
    pub fn is_tombstone(&self) -> bool {
        match (&self.origin, &self.data) {
            (Origin::Kafka(origin), None) => origin.is_null,
            (Origin::Kinesis(_), Some(Data::Base64(text))) => text.is_empty(),
            (Origin::Kinesis(_), Some(Data::Bytes(bytes))) => bytes.is_empty(),
            _ => false,
        }
    }

    /// Returns when the source took the record, or `now` where the record has no believable time of
    /// arrival.
    pub fn arrived_at(&self, now: OffsetDateTime) -> OffsetDateTime {
        let is_of_producer = self.kafka().is_some_and(|origin| !origin.is_append_time);
        self.timestamp().filter(|_| !is_of_producer).unwrap_or(now)
    }

    /// Returns the record's own timestamp, which is the same in each redelivery: the arrival in
    /// Kinesis, and in Kafka the timestamp of either type. `None` where it is not believable.
    pub fn timestamp(&self) -> Option<OffsetDateTime> {
        let since_epoch = match &self.origin {
            Origin::Kinesis(origin) => {
                let seconds = origin.approximate_arrival.filter(|seconds| *seconds > 0.0);
                seconds.and_then(time::Duration::checked_seconds_f64)
            }
            Origin::Kafka(origin) => {
                let timestamp = origin.timestamp.filter(|time| *time > 0);
                timestamp.map(time::Duration::milliseconds)
            }
        };
        OffsetDateTime::UNIX_EPOCH.checked_add(since_epoch?)
    }

    /// Returns the position in a Kinesis stream, where the record is of one.
    pub fn kinesis(&self) -> Option<&KinesisOrigin<'a>> {
        match &self.origin {
            Origin::Kinesis(origin) => Some(origin),
            Origin::Kafka(_) => None,
        }
    }

    /// Returns the position in a Kafka topic, where the record is of one.
    pub fn kafka(&self) -> Option<&KafkaOrigin<'a>> {
        match &self.origin {
            Origin::Kinesis(_) => None,
            Origin::Kafka(origin) => Some(origin),
        }
    }
}

impl fmt::Debug for Record<'_> {
    /// Prints the position only: the other fields hold contact data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Record");
        match &self.origin {
            Origin::Kinesis(origin) => shown
                .field("sequence_number", &origin.sequence_number)
                .field("sub_sequence", &origin.sub_sequence),
            Origin::Kafka(origin) => shown
                .field("topic_partition", &origin.topic_partition)
                .field("offset", &origin.offset),
        };
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_may_hold_hyphens_and_end_in_a_number() {
        for (name, topic, partition) in [
            ("contacts-0", "contacts", Some(0)),
            ("crm-contacts-2-17", "crm-contacts-2", Some(17)),
            ("-1", "", Some(1)),
            ("contacts", "contacts", None),
            ("contacts-x", "contacts-x", None),
            ("", "", None),
        ] {
            let origin = KafkaOrigin {
                topic_partition: name.into(),
                ..KafkaOrigin::default()
            };
            assert_eq!(
                (origin.topic(), origin.partition()),
                (topic, partition),
                "{name}"
            );
        }
    }

    fn of_kafka(timestamp: Option<i64>, is_append_time: bool) -> Record<'static> {
        let origin = Origin::Kafka(KafkaOrigin {
            timestamp,
            is_append_time,
            ..KafkaOrigin::default()
        });
        Record {
            origin,
            ..Record::default()
        }
    }

    #[test]
    fn a_producers_timestamp_is_no_time_of_arrival() {
        let now = OffsetDateTime::from_unix_timestamp(2_000_000_000).expect("in range");
        let arrived = |timestamp, is_append_time| {
            let record = of_kafka(timestamp, is_append_time);
            record.arrived_at(now).unix_timestamp()
        };
        assert_eq!(arrived(Some(1_763_633_700_123), true), 1_763_633_700);
        assert_eq!(arrived(Some(1_763_633_700_123), false), 2_000_000_000);
        for broken in [None, Some(-1), Some(0), Some(i64::MAX)] {
            assert_eq!(arrived(broken, true), 2_000_000_000, "{broken:?}");
        }
    }

    #[test]
    fn the_timestamp_of_a_record_is_its_own_of_either_type() {
        for is_append_time in [true, false] {
            let of = |timestamp| {
                let record = of_kafka(timestamp, is_append_time);
                record.timestamp().map(OffsetDateTime::unix_timestamp)
            };
            assert_eq!(of(Some(1_763_633_700_123)), Some(1_763_633_700));
            for broken in [None, Some(-1), Some(0), Some(i64::MAX)] {
                assert_eq!(of(broken), None, "{broken:?}");
            }
        }
        let record = Record::of_data("e30=");
        assert_eq!(record.timestamp(), None);
    }
}
