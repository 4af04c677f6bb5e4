//! Record of the benchmark: 0.9 KB of JSON, with every field set.

use std::io::Write as _;

use contact_sync::model::{ContactChange, Record};
use contact_sync::source::EventConsumer;
use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};
use testkit::{kpl, stream};

const TYPES: [&str; 4] = ["lead", "customer", "prospect", "vendor"];

/// Builds the change at index `at`, of one of `contacts` contacts. The first change of a contact is
/// a create.
pub(crate) fn change(at: usize, contacts: usize, types: &[&str]) -> Value {
    let contact = at % contacts;
    json!({
        "event_id": format!("7b2d4c1e-5d0f-4c3a-9a53-{at:012}"),
        "operation": if at < contacts { "create" } else { "update" },
        "occurred_at": "2026-11-20T10:15:00.123Z",
        "version": at + 1,
        "contact": {
            "id": format!("c-{contact:06}"), "type": types[contact % types.len()],
            "email": format!("Ada.Lovelace.{contact:06}@analytical-engines.example.com"),
            "first_name": "Augusta Ada", "last_name": "King, Countess of Lovelace",
            "company": "Analytical Engines & Difference Machines Ltd",
            "job_title": "Principal Engineer, Number Mills", "phone": "+44 20 7946 0000",
            "mobile_phone": "+44 7700 900123",
            "website": format!("https://www.analytical-engines.example.com/people/{contact:06}"),
            "address": {
                "street": "12 St James's Square, Third Floor",
                "city": "London",
                "state": "Greater London",
                "postal_code": "SW1Y 4JH",
                "country": "United Kingdom",
            },
            "lead_source": "Web", "status": "Working - Contacted",
                "attributes": {
                    "plan": "team",
                    "seats": 25,
                    "newsletter": true,
                    "region": "emea-north",
                    "score": 87.5,
                },
            },
            "origin": {
                "database": "crm-core",
                "table": "contacts",
                "host": "db-3.analytical-engines.example.com",
            },
    })
}

/// Builds an event with `count` changes of `contacts` contacts of all types.
pub(crate) fn event(count: usize, contacts: usize) -> String {
    event_of(count, contacts, &TYPES)
}

/// Builds an event with `count` changes of `contacts` contacts of these types.
pub(crate) fn event_of(count: usize, contacts: usize, types: &[&str]) -> String {
    let record = |at| {
        let change = change(at, contacts, types).to_string();
        stream::record(0, at, &format!("c-{:06}", at % contacts), change.as_bytes())
    };
    json!({"Records": (0..count).map(record).collect::<Vec<_>>()}).to_string()
}

/// Builds the data of `count` records, as base64.
pub(crate) fn data(count: usize, types: &[&str]) -> Vec<String> {
    let text = |at| base64_simd::STANDARD.encode_to_string(change(at, count, types).to_string());
    (0..count).map(text).collect()
}

/// Transport layer around the data of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layer {
    Gzip,
    Zstd,
    CloudEvent,
}

impl Layer {
    fn wrap(self, change: &Value) -> Vec<u8> {
        let text = change.to_string();
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(text.as_bytes()).expect("into memory");
                encoder.finish().expect("into memory")
            }
            Self::Zstd => compress_to_vec(text.as_bytes(), CompressionLevel::Fastest),
            Self::CloudEvent => {
                let mut event = json!({
                    "specversion": "1.0", "id": "e-1", "source": "/crm", "type": "contact.changed",
                    "time": "2026-11-20T10:15:00.123Z", "datacontenttype": "application/json",
                });
                event["data"] = change.clone();
                event.to_string().into_bytes()
            }
        }
    }
}

/// Builds the data of the lead at index `at` within a layer.
pub(crate) fn wrapped(layer: Layer, at: usize, count: usize) -> Vec<u8> {
    layer.wrap(&change(at, count, &["lead"]))
}

/// Builds the data of `count` records within a layer, as base64.
pub(crate) fn data_in(layer: Layer, count: usize, types: &[&str]) -> Vec<String> {
    let text = |at| base64_simd::STANDARD.encode_to_string(layer.wrap(&change(at, count, types)));
    (0..count).map(text).collect()
}

/// Builds KPL aggregates of a hundred of `count` records, as base64.
pub(crate) fn aggregates(count: usize, types: &[&str]) -> Vec<String> {
    let all: Vec<_> = (0..count)
        .map(|at| (format!("c-{at}"), change(at, count, types).to_string()))
        .collect();
    let aggregate = |records: &[(String, String)]| {
        let parts: Vec<(&str, &[u8])> = records
            .iter()
            .map(|(key, text)| (key.as_str(), text.as_bytes()))
            .collect();
        base64_simd::STANDARD.encode_to_string(kpl::aggregate(&parts))
    };
    all.chunks(100).map(aggregate).collect()
}

/// Builds `count` validated changes.
pub(crate) fn changes(count: usize, types: &[&str]) -> Vec<ContactChange> {
    let consume = |data: &String| {
        EventConsumer
            .consume(&Record::of_data(data), stream::arrival())
            .expect("allowed")
    };
    data(count, types)
        .iter()
        .map(|data| *consume(data))
        .collect()
}
