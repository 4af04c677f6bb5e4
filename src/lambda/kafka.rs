//! Reads the records of a Kafka event leniently: of Amazon MSK and of self-managed clusters.
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-msk.html#msk-sample-event>
//!
//! The event lists records by `<topic>-<partition>`. This name is the one that the response has to
//! repeat, so the records' own `topic` and `partition`, which differ in type between the sources,
//! are not read. Headers are not read either: they may be missing, and their bytes are signed. A
//! well-formed record without a value is a tombstone. A malformed one never is, because a tombstone
//! may be the delete of a contact.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{self, Object, Str};
use crate::model::{Data, KafkaOrigin, Origin, Record};

/// The `eventSource` of an event of Kafka, in any letter case. Local emulators may send none.
const SOURCES: [&str; 3] = ["aws:kafka", "SelfManagedKafka", "aws:SelfManagedKafka"];

/// The `timestampType` of a timestamp that the broker wrote.
const APPEND_TIME: &str = "LOG_APPEND_TIME";

/// The `lane` of a record that a back-fill sends.
const BACKFILL: &str = "backfill";

/// A well-formed event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    event_source: Option<Str<'a>>,
    #[serde(borrow)]
    event_source_arn: Option<Str<'a>>,
    #[serde(borrow)]
    bootstrap_servers: Option<Str<'a>>,
    #[serde(borrow)]
    records: Partitions<'a>,
}

/// The lists of records, each with its name, in the event's order.
struct Partitions<'a>(Vec<(Cow<'a, str>, Vec<WireRecord<'a>>)>);

/// A well-formed record.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRecord<'a> {
    offset: Option<u64>,
    timestamp: Option<i64>,
    #[serde(borrow)]
    timestamp_type: Option<Str<'a>>,
    #[serde(borrow)]
    key: Option<Str<'a>>,
    #[serde(borrow)]
    value: Option<Str<'a>>,
    /// Whether `contact-sync-admin replay` puts the record back.
    replay: Option<bool>,
    #[serde(borrow)]
    lane: Option<Str<'a>>,
    /// Whether the record is no object, or its key or its value is no text.
    #[serde(skip)]
    is_malformed: bool,
}

/// The cluster of an event.
#[derive(Default)]
struct Cluster<'a> {
    arn: Option<Cow<'a, str>>,
    bootstrap_servers: Option<Cow<'a, str>>,
}

/// Returns the records of an event of Kafka, each as far as it can be read; `None` for another
/// event.
pub(super) fn records(event: &str) -> Option<Vec<Record<'_>>> {
    match serde_json::from_str::<Object<Envelope<'_>>>(event) {
        Ok(Object(envelope)) => well_formed(envelope),
        Err(_) => malformed(event),
    }
}

fn well_formed(envelope: Envelope<'_>) -> Option<Vec<Record<'_>>> {
    let Envelope {
        event_source,
        event_source_arn,
        bootstrap_servers,
        records: Partitions(partitions),
    } = envelope;
    let is_empty = partitions.iter().all(|(_, list)| list.is_empty());
    if !is_empty && !is_kafka(event_source.as_ref().map(|Str(source)| &**source)) {
        return None;
    }
    let cluster = Cluster {
        arn: event_source_arn.map(|Str(arn)| arn),
        bootstrap_servers: bootstrap_servers.map(|Str(servers)| servers),
    };
    let mut records = Vec::new();
    for (name, list) in partitions {
        records.extend(list.into_iter().map(|wire| wire.record(&name, &cluster)));
    }
    Some(records)
}

/// Reads an event with a malformed part, part by part. A list that is none counts as one malformed
/// record.
fn malformed(event: &str) -> Option<Vec<Record<'_>>> {
    let outer = json::fields(event)?;
    let lists = json::fields(outer.get("records")?.get())?;
    let text = |name| outer.get(name).and_then(|raw| json::text(raw));
    let cluster = Cluster {
        arn: text("eventSourceArn"),
        bootstrap_servers: text("bootstrapServers"),
    };
    let mut records = Vec::new();
    for (name, list) in lists {
        let name = Cow::Owned(name);
        if let Ok(list) = serde_json::from_str::<Option<Vec<&RawValue>>>(list.get()) {
            let list = list.unwrap_or_default().into_iter();
            let wires = list.map(WireRecord::from_malformed);
            records.extend(wires.map(|wire| wire.record(&name, &cluster)));
        } else {
            let mut wire = WireRecord::from_malformed(list);
            wire.is_malformed = true;
            records.push(wire.record(&name, &cluster));
        }
    }
    let is_ours = records.is_empty() || is_kafka(text("eventSource").as_deref());
    is_ours.then_some(records)
}

fn is_kafka(event_source: Option<&str>) -> bool {
    event_source.is_none_or(|source| {
        let source = source.trim();
        SOURCES.iter().any(|name| name.eq_ignore_ascii_case(source))
    })
}

impl<'a> WireRecord<'a> {
    /// Reads the readable parts of a record. An offset may be written as a text.
    fn from_malformed(raw: &'a RawValue) -> Self {
        let fields = json::fields(raw.get());
        let is_object = fields.is_some();
        let fields = fields.unwrap_or_default();
        let text = |name| fields.get(name).and_then(|raw| json::text(raw)).map(Str);
        let is_text_or_null = |name| match fields.get(name) {
            Some(raw) => raw.get() == "null" || json::text(raw).is_some(),
            None => true,
        };
        Self {
            offset: number(&fields, "offset"),
            timestamp: number(&fields, "timestamp"),
            timestamp_type: text("timestampType"),
            key: text("key"),
            value: text("value"),
            replay: number(&fields, "replay"),
            lane: text("lane"),
            is_malformed: !is_object || !is_text_or_null("key") || !is_text_or_null("value"),
        }
    }

    fn record(self, topic_partition: &Cow<'a, str>, cluster: &Cluster<'a>) -> Record<'a> {
        let is = |field: &Option<Str<'_>>, name| field.as_ref().is_some_and(|Str(is)| is == name);
        Record {
            event_source_arn: cluster.arn.clone(),
            replay: self.replay.unwrap_or(false) || is(&self.lane, BACKFILL),
            origin: Origin::Kafka(KafkaOrigin {
                bootstrap_servers: cluster.bootstrap_servers.clone(),
                topic_partition: topic_partition.clone(),
                offset: self.offset,
                is_append_time: is(&self.timestamp_type, APPEND_TIME),
                timestamp: self.timestamp,
                key: self.key.map(|Str(key)| key),
                // Every record of a topic has an offset.
                is_null: self.value.is_none() && self.offset.is_some() && !self.is_malformed,
            }),
            data: self.value.map(|Str(value)| Data::Base64(value)),
        }
    }
}

/// Reads a field of any type that is written without quotes; a text of one counts, too.
fn number<T: for<'de> Deserialize<'de>>(
    fields: &BTreeMap<String, &RawValue>,
    name: &str,
) -> Option<T> {
    let raw = fields.get(name)?;
    match json::text(raw) {
        Some(text) => serde_json::from_str(&text).ok(),
        None => serde_json::from_str(raw.get()).ok(),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Partitions<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lists;
        impl<'de> Visitor<'de> for Lists {
            type Value = Partitions<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("lists of records by topic and partition")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut lists = Vec::new();
                while let Some((Str(name), list)) = map.next_entry()? {
                    lists.push((name, list));
                }
                Ok(Partitions(lists))
            }
        }
        deserializer.deserialize_map(Lists)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn event(records: &Value) -> String {
        json!({
            "eventSource": "aws:kafka",
            "eventSourceArn": "arn:aws:kafka:eu-west-1:123456789012:cluster/crm/1",
            "bootstrapServers": "b-1:9098,b-2:9098",
            "records": records,
        })
        .to_string()
    }

    /// Returns of each record its list, its offset, its key, its value, and whether it is a
    /// tombstone.
    fn read(event: &str) -> Option<Vec<String>> {
        let mut shown = Vec::new();
        for record in records(event)? {
            let origin = record.kafka().expect("of Kafka");
            let value = match &record.data {
                Some(Data::Base64(text)) => Some(&**text),
                _ => None,
            };
            shown.push(format!(
                "{} {:?} {:?} {value:?}{}",
                origin.topic_partition,
                origin.offset,
                origin.key,
                if record.is_tombstone() {
                    " tombstone"
                } else {
                    ""
                },
            ));
        }
        Some(shown)
    }

    #[test]
    fn an_event_of_msk_is_read_with_all_its_parts() {
        let event = event(&json!({
            "contacts-0": [{
                "topic": "contacts", "partition": 0, "offset": 100,
                "timestamp": 1_767_225_600_000_i64, "timestampType": "LOG_APPEND_TIME",
                "key": "Yy0x", "value": "e30=",
                "headers": [{"traceparent": [48, 48]}, {"n": [-61, -85]}],
            }],
        }));
        let records = records(&event).expect("of Kafka");
        let [record] = &records[..] else {
            panic!("{records:?}");
        };
        let origin = record.kafka().expect("of Kafka");
        assert_eq!((origin.topic(), origin.partition()), ("contacts", Some(0)));
        assert_eq!(
            (origin.offset, origin.timestamp),
            (Some(100), Some(1_767_225_600_000))
        );
        assert!(origin.is_append_time && !record.replay);
        assert_eq!(record.key().as_deref(), Some(&b"c-1"[..]));
        assert_eq!(
            record.event_source_arn.as_deref(),
            Some("arn:aws:kafka:eu-west-1:123456789012:cluster/crm/1")
        );
        assert_eq!(
            origin.bootstrap_servers.as_deref(),
            Some("b-1:9098,b-2:9098")
        );
    }

    #[test]
    fn a_malformed_record_leaves_its_neighbours_readable() {
        let good = json!({"offset": 7, "key": "Yy0x", "value": "e30="});
        for odd in [
            json!(7),
            json!(null),
            json!({"offset": -1}),
            json!({"offset": "x", "key": 7, "value": [1]}),
            json!({"offset": 1.5, "headers": {"a": "b"}}),
        ] {
            let event = event(&json!({"a-0": [good, odd, good], "b-1": {}, "c-2": null}));
            let whole = r#"a-0 Some(7) Some("Yy0x") Some("e30=")"#;
            let broken = "a-0 None None None";
            assert_eq!(
                read(&event).expect("of Kafka"),
                [whole, broken, whole, "b-1 None None None"],
                "{odd}"
            );
        }
        let odd = json!({"partition": "0", "offset": "8", "value": null, "headers": null});
        assert_eq!(
            read(&event(&json!({"a-0": [good, odd]}))).expect("of Kafka")[1],
            "a-0 Some(8) None None tombstone",
            "an offset may be a text, and a record without a value is a tombstone"
        );
    }

    #[test]
    fn only_a_well_formed_record_without_a_value_is_a_tombstone() {
        for (record, is_tombstone) in [
            (json!({"offset": 8, "key": "Yy0x", "value": null}), true),
            (json!({"offset": 8, "key": "Yy0x"}), true),
            (json!({"offset": 8, "key": null, "value": null}), true),
            (json!({"offset": "8", "key": "Yy0x"}), true),
            (json!({"offset": 8, "key": "Yy0x", "value": ""}), false),
            (json!({"offset": 8, "key": "Yy0x", "value": "e30="}), false),
            (
                json!({"offset": 8, "key": "Yy0x", "value": {"a": 1}}),
                false,
            ),
            (json!({"offset": 8, "key": "Yy0x", "value": 7}), false),
            (json!({"offset": 8, "key": "Yy0x", "value": [null]}), false),
            (json!({"offset": 8, "key": 7, "value": null}), false),
            (json!({"offset": "x", "key": "Yy0x", "value": null}), false),
            (json!({"key": "Yy0x", "value": null}), false),
            (json!(7), false),
            (json!(null), false),
            (json!([]), false),
        ] {
            let good = json!({"offset": 7, "value": "e30="});
            for list in [json!([record]), json!([good, record, 7])] {
                let text = event(&json!({ "a-0": list }));
                let records = records(&text).expect("of Kafka");
                let found: Vec<bool> = records.iter().map(Record::is_tombstone).collect();
                let expected = [false, is_tombstone, false];
                match &found[..] {
                    [alone] => assert_eq!(*alone, is_tombstone, "{record}"),
                    several => assert_eq!(several, expected, "{record}"),
                }
            }
        }
        let no_list = json!({"offset": 8, "key": "Yy0x"});
        for list in [json!({}), json!(7), json!("x"), no_list] {
            let text = event(&json!({ "a-0": list }));
            assert!(
                !records(&text).expect("of Kafka")[0].is_tombstone(),
                "{list}"
            );
        }
    }

    #[test]
    fn an_event_is_of_kafka_by_its_source() {
        let records = json!({"a-0": [{"offset": 1}]});
        for (source, is_ours) in [
            (json!("aws:kafka"), true),
            (json!("SelfManagedKafka"), true),
            (json!("aws:SelfManagedKafka"), true),
            (json!("AWS:Kafka"), true),
            (json!(null), true),
            (json!("aws:rmq"), false),
            (json!(""), false),
        ] {
            let event = json!({"eventSource": source, "records": records});
            assert_eq!(read(&event.to_string()).is_some(), is_ours, "{source}");
            let odd = json!({"eventSource": source, "records": {"a-0": [7]}});
            assert_eq!(read(&odd.to_string()).is_some(), is_ours, "{source}");
        }
        for other in [r#"{"records":[]}"#, "{}", "[]", r#"{"records":7}"#, "", "{"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn a_synthetic_event_marks_records_as_put_back() {
        for (fields, expected) in [
            (json!({"replay": true}), true),
            (json!({"replay": false}), false),
            (json!({"replay": null}), false),
            (json!({"lane": "backfill"}), true),
            (json!({"lane": "other"}), false),
            (json!({"replay": "true", "offset": "1"}), true),
        ] {
            let text = event(&json!({"a-0": [fields]}));
            assert_eq!(
                records(&text).expect("of Kafka")[0].replay,
                expected,
                "{fields}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_envelope_panics(
            records in r#"\{("a-0":\[(\{"offset":[a-z0-9{}":,-]{0,30}\},?)*\],?)*\}"#
        ) {
            let _ = read(&format!(r#"{{"eventSource":"aws:kafka","records":{records}}}"#));
        }
    }
}
