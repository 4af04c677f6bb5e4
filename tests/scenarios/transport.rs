//! Tests of the transport of records: events of Kafka with several partitions, KPL aggregates,
//! compressed data and CloudEvents, over real HTTP on loopback.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::app::App;
use contact_sync::lambda::{Handler, HandlerError};
use contact_sync::settings::Preset;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};
use testkit::evidence::{seeds, write_report};
use testkit::feed::FeedFormat;
use testkit::generator::{Generated, MockStreamGenerator, Plan, attribute_settings};
use testkit::harness::{Logs, Mocks, change};
use testkit::kafka::{self, Mapping, Topic};
use testkit::kinesis::{self, Invocation, InvocationOutcome, Stream};
use testkit::mock_aws::{Faults, MockAws};
use testkit::mock_salesforce::row_error;
use testkit::server::Answer;
use testkit::stream::{self, sequence_number};
use testkit::{kpl, mutate};

const RETRY: &str = "retry = { max_attempts = 1, base_delay_ms = 1, max_delay_ms = 1 }";

/// Both mocks, a queue and a table, and the function between them.
struct World {
    mocks: Mocks,
    aws: Arc<MockAws>,
    document: String,
}

impl World {
    async fn start(has_table: bool, seed: u64, faults: Faults) -> Self {
        let table = if has_table { "state" } else { "" };
        let document = format!(
            "[dead_letter]\nqueue_url = \"http://127.0.0.1:9/letters\"\n\
             [state]\ntable = \"{table}\"\n[pipeline]\nfallback_budget_ms = 20000\n\
             [salesforce]\n{RETRY}\n[hubspot]\n{RETRY}\n{}",
            attribute_settings()
        );
        Self {
            mocks: Mocks::start_with(|_| {}, |hubspot| hubspot.require_a_name = false).await,
            aws: MockAws::new(seed, faults),
            document,
        }
    }

    fn handler(&self) -> Handler {
        let settings = self.mocks.settings(Preset::Test, &self.document);
        App::default()
            .build(Preset::Test, &settings, &self.aws.config())
            .expect("a handler")
    }

    /// Returns the positions of the dead letters, sorted.
    fn dead_letters(&self) -> BTreeSet<String> {
        let letters = self.aws.dead_letters();
        let all: Vec<String> = letters
            .iter()
            .map(|letter| place(&letter["record"]))
            .collect();
        let distinct: BTreeSet<String> = all.iter().cloned().collect();
        assert_eq!(all.len(), distinct.len(), "a record has two: {all:?}");
        distinct
    }
}

/// Returns the position in a dead letter or an audit line: `topic-partition@offset`, or the
/// sub-sequence.
fn place(of: &Value) -> String {
    match of["topic"].as_str() {
        Some(topic) => format!("{topic}-{}@{}", of["partition"], of["offset"]),
        None => of["sub_sequence"].to_string(),
    }
}

fn places(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn lead(id: &str) -> Vec<u8> {
    let fields = json!({"last_name": id, "company": "Acme"});
    change("create", id, "lead", fields)
        .to_string()
        .into_bytes()
}

fn of_kafka(partition: u32, offset: u64, id: &str) -> Value {
    kafka::record(partition, offset, id, Some(&lead(id)))
}

fn in_use() -> Value {
    let code = "TERRITORY_REALIGN_IN_PROGRESS";
    row_error(code, "territories are realigned", &[])
}

fn failed(partition: u32, offset: u64) -> (String, u64) {
    (format!("contacts-{partition}"), offset)
}

/// Returns `place: fate` of each audit line.
fn fates(logs: &Logs) -> Vec<String> {
    let lines = logs.audit();
    let fates = lines.iter().zip(logs.fates());
    fates
        .map(|(line, fate)| format!("{}: {fate}", place(line)))
        .collect()
}

async fn failures(handler: &Handler, records: &[Value]) -> Vec<(String, u64)> {
    let answer = kafka::invoke(handler, records, "r").await;
    kafka::failures(&answer.expect("an answer"))
}

#[tokio::test]
async fn each_partition_of_kafka_fails_and_waits_by_itself() {
    let world = World::start(false, 1, Faults::default()).await;
    let handler = world.handler();
    let logs = Logs::listen();
    world.mocks.salesforce.fail_row("c-2", in_use(), 1);
    let bad = |partition, offset| kafka::record(partition, offset, "key", Some(b"not json"));
    let records = [
        of_kafka(0, 5, "c-1"),
        of_kafka(0, 9, "c-2"),
        bad(0, 11),
        of_kafka(0, 12, "c-3"),
        of_kafka(1, 5, "c-4"),
        bad(1, 6),
    ];
    assert_eq!(
        failures(&handler, &records).await,
        [failed(0, 9), failed(0, 11)]
    );
    assert_eq!(
        fates(&logs),
        [
            "contacts-0@5: delivered",
            "contacts-0@9: failed TERRITORY_REALIGN_IN_PROGRESS",
            "contacts-0@11: failed DEAD_LETTER_WAITS",
            "contacts-0@12: delivered",
            "contacts-1@5: delivered",
            "contacts-1@6: rejected INVALID_JSON",
        ]
    );
    assert_eq!(
        world.dead_letters(),
        places(&["contacts-1@6"]),
        "the dead letter of a partition without a failure does not wait"
    );
    assert_eq!(failures(&handler, &records[1..4]).await, []);
    assert_eq!(
        world.dead_letters(),
        places(&["contacts-0@11", "contacts-1@6"])
    );
    assert_eq!(world.mocks.salesforce.leads().len(), 4);
    assert_eq!(world.mocks.violations(), [""; 0]);
}

#[tokio::test]
async fn the_value_of_a_cloud_event_in_binary_mode_is_read_without_its_headers() {
    let world = World::start(false, 1, Faults::default()).await;
    let logs = Logs::listen();
    let incomplete = br#"{"operation":"delete","contact":{"id":"c-2"}}"#;
    let mut records = [
        of_kafka(0, 5, "c-1"),
        kafka::record(0, 6, "c-2", Some(incomplete)),
    ];
    for record in &mut records {
        record["headers"] = json!([
            {"ce_specversion": b"1.0"}, {"ce_id": b"e-1"}, {"ce_source": b"/crm"},
            {"ce_time": b"2026-11-20T10:15:00Z"}, {"content-type": b"application/json"},
        ]);
    }
    assert_eq!(failures(&world.handler(), &records).await, []);
    assert_eq!(
        fates(&logs),
        [
            "contacts-0@5: delivered",
            "contacts-0@6: rejected MISSING_FIELD"
        ],
        "the attributes are in the headers, which are not read"
    );
}

#[tokio::test]
async fn a_settled_record_of_kafka_is_not_sent_again_with_its_partition() {
    let world = World::start(true, 1, Faults::default()).await;
    let handler = world.handler();
    let logs = Logs::listen();
    world.mocks.salesforce.fail_row("c-1", in_use(), 1);
    let records = [
        of_kafka(0, 5, "c-1"),
        of_kafka(0, 6, "c-2"),
        kafka::record(0, 7, "key", Some(b"not json")),
        // The same offset in another partition is another record.
        of_kafka(1, 6, "c-3"),
    ];
    assert_eq!(failures(&handler, &records).await, [failed(0, 5)]);
    assert_eq!(world.dead_letters(), places(&["contacts-0@7"]));
    assert_eq!(failures(&handler, &records).await, []);
    assert_eq!(
        &fates(&logs)[4..],
        [
            "contacts-0@5: delivered",
            "contacts-0@6: delivered SETTLED_EARLIER",
            "contacts-0@7: rejected SETTLED_EARLIER",
            "contacts-1@6: delivered",
        ],
        "the record of a partition without a failure is unknown"
    );
    assert_eq!(world.dead_letters(), places(&["contacts-0@7"]));

    let mut put_back = records[2].clone();
    put_back["replay"] = true.into();
    assert_eq!(failures(&handler, &[put_back]).await, []);
    assert_eq!(
        fates(&logs).last().map(String::as_str),
        Some("contacts-0@7: rejected INVALID_JSON"),
        "a record that is put back is tried, whatever became of it before"
    );
}

#[tokio::test]
async fn a_dead_letter_of_kafka_holds_the_record_as_it_arrived() {
    let world = World::start(false, 1, Faults::default()).await;
    let records = [
        kafka::record(3, 100, "c-1", Some(b"{}")),
        kafka::record(3, 101, "c-1", None),
    ];
    assert_eq!(failures(&world.handler(), &records).await, []);
    let letters = world.aws.dead_letters();
    let of = |offset: u64| {
        let is_it = |letter: &&Value| letter["record"]["offset"] == offset;
        letters.iter().find(is_it).expect("a dead letter")
    };
    assert_eq!(of(100)["schema"], "contact-sync/dead-letter/2");
    assert_eq!(
        of(100)["record"],
        json!({
            "source": "kafka", "event_source_arn": kafka::ARN, "topic": "contacts",
            "partition": 3, "offset": 100, "key": "Yy0x", "timestamp": 1_795_169_700_123_i64,
            "data": "e30=",
        })
    );
    assert_eq!(
        (&of(101)["reason"]["code"], &of(101)["record"]["data"]),
        (&json!("MISSING_DATA"), &Value::Null)
    );
}

/// Returns an event of Kafka with one record of the contact c-1.
fn event_of_kafka(value: &Value) -> Value {
    let mut record = kafka::record(0, 8, "", None);
    record["key"] = base64_simd::STANDARD.encode_to_string(KEY).into();
    record["value"] = value.clone();
    kafka::event(&[record])
}

/// Returns an event of Kinesis with one record of the contact c-1.
fn event_of_kinesis(data: &Value) -> Value {
    let mut record = stream::record(0, 0, KEY, b"");
    record["kinesis"]["data"] = data.clone();
    json!({ "Records": [record] })
}

/// The key of a tombstone, which names its contact.
const KEY: &str = r#"{"contact_id":"c-1"}"#;

#[tokio::test]
async fn a_malformed_record_of_a_feed_is_rejected_and_deletes_no_contact() {
    let text = |data: &[u8]| Value::from(base64_simd::STANDARD.encode_to_string(data));
    let of_sqs = json!({"eventSource": "aws:sqs", "messageId": "m-1", "body": "{}"});
    let mut beside = event_of_kinesis(&"".into());
    beside["Records"] = json!([beside["Records"][0], of_sqs]);
    let missing = ["rejected MISSING_DATA"];
    let empty = ["rejected EMPTY_DATA"];
    for (settings, gone) in [
        (FeedFormat::Flattened, "delivered ALREADY_GONE"),
        (FeedFormat::Debezium, "filtered NOT_A_ROW_CHANGE"),
    ] {
        for (event, expected) in [
            (event_of_kafka(&Value::Null), &[gone][..]),
            (event_of_kafka(&json!({"a": 1})), &missing),
            (event_of_kafka(&json!(7)), &missing),
            (event_of_kafka(&"".into()), &empty),
            (event_of_kafka(&text(&gzip(b""))), &empty),
            (event_of_kafka(&text(&cloud_event(b""))), &empty),
            (
                json!({"eventSource": "aws:kafka", "records": {"contacts-0": [7]}}),
                &missing,
            ),
            (
                json!({"eventSource": "aws:kafka", "records": {"contacts-0": 7}}),
                &missing,
            ),
            (event_of_kinesis(&"".into()), &[gone]),
            (event_of_kinesis(&Value::Null), &missing),
            (event_of_kinesis(&json!(7)), &missing),
            (event_of_kinesis(&text(&gzip(b""))), &empty),
            (event_of_kinesis(&text(&zstd(b""))), &empty),
            (event_of_kinesis(&text(&cloud_event(b""))), &empty),
            (beside.clone(), &[gone, "rejected MISSING_DATA"]),
        ] {
            let mut world = World::start(false, 1, Faults::default()).await;
            world.document += &settings.settings();
            let logs = Logs::listen();
            let answer = stream::invoke_event(&world.handler(), &event, "r").await;
            assert!(answer.batch_item_failures.is_empty(), "{event}");
            let mut fates = logs.fates();
            fates.dedup();
            assert_eq!(fates, expected, "{settings:?}: {event}");
            let rejected = expected.iter().filter(|fate| fate.starts_with("rejected"));
            let letters = world.aws.dead_letters();
            assert_eq!(letters.len(), rejected.count(), "{event}");
            for letter in letters {
                let record = &letter["record"];
                let is_omitted = record["data_omitted"] == true;
                // A replay would put null data that is not omitted back as a tombstone.
                assert_eq!(record["data"].is_null(), is_omitted, "{letter}");
            }
        }
    }
}

#[tokio::test]
async fn a_record_without_an_offset_is_reported_by_the_one_before_it_in_its_partition() {
    let world = World::start(false, 1, Faults::default()).await;
    world.mocks.salesforce.fail_row("c-1", in_use(), 2);
    let mut unnumbered = of_kafka(0, 0, "c-1");
    unnumbered["offset"] = Value::Null;
    let handler = world.handler();
    let records = [of_kafka(0, 5, "c-2"), unnumbered];
    assert_eq!(failures(&handler, &records).await, [failed(0, 5)]);
    let alone = kafka::invoke(&handler, &records[1..], "r").await;
    assert!(
        matches!(alone, Err(HandlerError::NoSequenceNumber)),
        "{alone:?}"
    );
}

#[tokio::test]
async fn each_record_of_an_aggregate_counts_and_a_failed_one_reports_the_aggregate() {
    let world = World::start(true, 1, Faults::default()).await;
    let handler = world.handler();
    let logs = Logs::listen();
    world.mocks.salesforce.fail_row("c-2", in_use(), 1);
    let parts = ["c-1", "c-2", "c-3"].map(lead);
    let whole = kpl::aggregate_with_hash_keys(&[
        ("key-1", None, &parts[0]),
        ("key-2", Some("4"), &parts[1]),
        ("key-1", Some("17"), b"not json"),
        ("key-1", None, b"not json"),
        ("key-3", Some("4"), &parts[2]),
    ]);
    let records = [
        stream::record(0, 0, "c-0", &lead("c-0")),
        stream::record(0, 1, "aggregate", &whole),
    ];
    let answer = stream::invoke(&handler, &records, "r-1").await;
    assert_eq!(stream::failures(&answer), [sequence_number(0, 1)]);
    let metrics = &logs.metrics("")[0];
    assert_eq!(
        (&metrics["RecordsReceived"], &metrics["RecordsFailed"]),
        (&json!(6), &json!(1))
    );
    assert_eq!(world.dead_letters(), places(&["2", "3"]));
    let letters = world.aws.dead_letters();
    assert_eq!(letters[0]["record"]["partition_key"], "key-1");
    assert_eq!(letters[0]["record"]["data"], "bm90IGpzb24=");
    let hash_keys = [0, 1].map(|at: usize| letters[at]["record"].get("explicit_hash_key"));
    assert_eq!(hash_keys, [Some(&json!("17")), None]);
    assert_eq!(
        letters[0]["record"]["sequence_number"],
        sequence_number(0, 1)
    );
    let again = stream::invoke(&handler, &records[1..], "r-2").await;
    assert!(stream::failures(&again).is_empty());
    assert_eq!(
        &fates(&logs)[6..],
        [
            "0: delivered SETTLED_EARLIER",
            "1: delivered",
            "2: rejected SETTLED_EARLIER",
            "3: rejected SETTLED_EARLIER",
            "4: delivered SETTLED_EARLIER",
        ]
    );
    assert_eq!(world.aws.dead_letters().len(), 2);
    assert_eq!(world.mocks.salesforce.leads().len(), 4);
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).expect("into memory");
    encoder.finish().expect("into memory")
}

fn zstd(data: &[u8]) -> Vec<u8> {
    compress_to_vec(data, CompressionLevel::Fastest)
}

fn cloud_event(data: &[u8]) -> Vec<u8> {
    let mut event = json!({
        "specversion": "1.0", "id": "ce-1", "source": "/crm", "type": "contact.changed",
    });
    event["data_base64"] = base64_simd::STANDARD.encode_to_string(data).into();
    event.to_string().into_bytes()
}

/// Builds data in Glue's framing with its compression.
fn glue_zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).expect("into memory");
    let content = encoder.finish().expect("into memory");
    [&[3, 5], &[7; 16][..], &content].concat()
}

fn aggregate(data: &[u8]) -> Vec<u8> {
    kpl::aggregate(&[("key", data)])
}

/// Function that adds a layer.
type Layer = fn(&[u8]) -> Vec<u8>;

const LAYERS: [Layer; 4] = [gzip, zstd, cloud_event, aggregate];

#[tokio::test]
async fn each_kind_of_bad_layer_has_its_code_and_its_neighbours_are_delivered() {
    let world = World::start(false, 1, Faults::default()).await;
    let logs = Logs::listen();
    let bomb = vec![b' '; 11 * 1024 * 1024];
    let mut torn = aggregate(&lead("c-9"));
    torn.truncate(torn.len() - 1);
    let avro = b"\0\0\0\0\x11\x02\x0ac-1".to_vec();
    let batch_of_cloud_events = [b"[", &cloud_event(&lead("c-9"))[..], b"]"].concat();
    let mut other_magic = aggregate(&lead("c-9"));
    other_magic[0] ^= 1;
    let layers = [
        (torn, "INVALID_AGGREGATE"),
        (gzip(&aggregate(&lead("c-9"))), "INVALID_AGGREGATE"),
        (aggregate(&aggregate(&lead("c-9"))), "INVALID_AGGREGATE"),
        (gzip(&bomb), "TOO_LARGE"),
        (zstd(&bomb), "TOO_LARGE"),
        (gzip(&gzip(&bomb)), "TOO_LARGE"),
        (cloud_event(&zstd(&bomb)), "TOO_LARGE"),
        (b"\x1f\x8b\x08rubbish".to_vec(), "INVALID_COMPRESSION"),
        (b"\x28\xb5\x2f\xfdrubbish".to_vec(), "INVALID_COMPRESSION"),
        (
            br#"{"specversion":"2.0","id":"1"}"#.to_vec(),
            "INVALID_CLOUD_EVENT",
        ),
        (avro, "SCHEMA_REGISTRY_FRAMING"),
        (glue_zlib(&lead("c-9")), "SCHEMA_REGISTRY_FRAMING"),
        (batch_of_cloud_events, "WRONG_TYPE"),
        (other_magic, "INVALID_UTF8"),
        (b"\x1f\x8b\x07rubbish".to_vec(), "INVALID_UTF8"),
    ];
    let mut records = Vec::new();
    for (at, (data, _)) in layers.iter().enumerate() {
        records.push(stream::record(0, 2 * at, "key", data));
        let neighbour = LAYERS[at % LAYERS.len()](&lead(&format!("c-{at}")));
        records.push(stream::record(0, 2 * at + 1, "key", &neighbour));
    }
    let answer = stream::invoke(&world.handler(), &records, "r").await;
    assert!(stream::failures(&answer).is_empty(), "{answer:?}");
    let mut expected = Vec::new();
    for (_, code) in &layers {
        expected.extend([format!("rejected {code}"), "delivered".to_owned()]);
    }
    assert_eq!(logs.fates(), expected);
    assert_eq!(world.mocks.salesforce.leads().len(), layers.len());
}

/// Sends a change within random layers, damaged at random, between two others. Returns whether the
/// change was delivered.
async fn damaged(world: &World, handler: &Handler, seed: u64) -> bool {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut data = lead(&format!("odd-{seed}"));
    for _ in 0..random.usize(1..4) {
        data = LAYERS[random.usize(..LAYERS.len())](&data);
    }
    if random.bool() {
        mutate::bytes(&mut random, &mut data);
    }
    let neighbours = [0, 1].map(|at| format!("good-{seed}-{at}"));
    let records = [
        stream::record(0, 0, "key", &lead(&neighbours[0])),
        stream::record(0, 1, "key", &data),
        stream::record(
            0,
            2,
            "key",
            &LAYERS[random.usize(..4)](&lead(&neighbours[1])),
        ),
    ];
    let logs = Logs::listen();
    let answer = stream::invoke(handler, &records, "r").await;
    assert!(
        stream::failures(&answer).is_empty(),
        "SEED={seed}: {answer:?}"
    );
    let fates = logs.fates();
    assert_eq!(
        fates.len(),
        3,
        "SEED={seed}: a record was dropped: {fates:?}"
    );
    assert!(
        !fates.contains(&"rejected INTERNAL_ERROR".to_owned()),
        "SEED={seed}: a panic: {:?}",
        logs.lines()
    );
    let leads = world.mocks.salesforce.leads();
    for neighbour in neighbours {
        assert!(
            leads.contains_key(&neighbour),
            "SEED={seed}: {neighbour} is missing"
        );
    }
    fates[1] == "delivered"
}

#[tokio::test]
async fn damaged_layers_drop_no_record_and_leave_the_neighbours_delivered() {
    let world = World::start(false, 1, Faults::default()).await;
    let handler = world.handler();
    let (mut cases, mut delivered) = (0_u64, 0_u64);
    for seed in seeds(300) {
        cases += 1;
        delivered += u64::from(damaged(&world, &handler, seed).await);
    }
    assert!(
        cases == 1 || delivered * 10 > cases,
        "{delivered} of {cases}"
    );
    write_report(
        "fuzz layers",
        format!("{cases} cases, {delivered} delivered"),
    );
}

#[tokio::test]
async fn every_mutated_event_of_kafka_gets_a_response_or_is_unsupported() {
    let world = World::start(false, 1, Faults::default()).await;
    let handler = world.handler();
    let names = ["msk", "self-managed-kafka"];
    let events = names.map(|name| -> Value {
        let text = std::fs::read(format!("events/{name}.json")).expect("readable");
        serde_json::from_slice(&text).expect("JSON")
    });
    let (mut cases, mut answered) = (0_u64, 0_u64);
    for seed in seeds(300) {
        let mut random = fastrand::Rng::with_seed(seed);
        let event = mutate::mutated(&mut random, &events);
        let shown = String::from_utf8_lossy(&event).into_owned();
        let logs = Logs::listen();
        let event =
            lambda_runtime::LambdaEvent::new(event.into(), lambda_runtime::Context::default());
        match handler.handle(event).await {
            Ok(answer) => {
                assert!(
                    answer.batch_item_failures.is_empty(),
                    "SEED={seed}: {shown}"
                );
                answered += 1;
            }
            Err(HandlerError::UnsupportedEvent) => {}
            Err(error) => panic!("SEED={seed}: {error} for {shown}"),
        }
        let panicked = logs.fates().contains(&"rejected INTERNAL_ERROR".to_owned());
        assert!(!panicked, "SEED={seed}: {shown}");
        cases += 1;
    }
    assert!(cases == 1 || answered * 4 > cases, "{answered} of {cases}");
    write_report("fuzz Kafka", format!("{cases} cases, {answered} answered"));
}

/// Streams a generated table through Kafka, by its contacts' partitions, within random layers, and
/// injects faults into the first invocations. Returns the number of invocations.
async fn converge(seed: u64) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let faults = Faults {
        refused: 10,
        lost: 10,
        entry: 10,
        ..Faults::default()
    };
    let world = World::start(random.bool(), seed, faults).await;
    let plan = Plan {
        seed,
        records: 80,
        contacts: random.usize(2..20),
        one_bad_in: 15,
        one_late_in: 0,
    };
    let records: Vec<Generated> = MockStreamGenerator::new(plan).collect();
    let mut partitions = vec![Vec::new(); random.usize(1..4)];
    for record in &records {
        let partition = record.partition_key.bytes().map(usize::from).sum::<usize>();
        let partition = partition % partitions.len();
        let records: &mut Vec<Value> = &mut partitions[partition];
        let before = records.last().and_then(|last| last["offset"].as_u64());
        let offset = before.unwrap_or(100) + random.u64(1..3);
        let partition = u32::try_from(partition).expect("few");
        // Of Kafka's values, aggregates are none. A bad record stays as it is, for its dead letter.
        let data = match random.usize(..6) {
            layer @ 0..3 if record.change.is_some() => LAYERS[layer](&record.data),
            _ => record.data.clone(),
        };
        records.push(kafka::record(
            partition,
            offset,
            &record.partition_key,
            Some(&data),
        ));
    }
    let mapping = Mapping {
        batch_size: random.usize(1..30),
        most_invocations: 500,
    };
    let (handler, random) = (RefCell::new(world.handler()), RefCell::new(random));
    let deaths = Cell::new(0);
    let function = async |batch: Vec<Value>, invocation: usize| {
        let inject = |percent| invocation < 15 && random.borrow_mut().u32(..100) < percent;
        if inject(40) {
            world
                .mocks
                .salesforce
                .next(Answer::html(503, "<h1>Sorry</h1>"));
        }
        if inject(40) {
            world
                .mocks
                .hubspot
                .next(Answer::html(503, "<h1>Sorry</h1>"));
        }
        if inject(20) {
            let contact = random.borrow_mut().usize(..plan.contacts);
            world
                .mocks
                .salesforce
                .fail_row(&format!("c-{contact:06}"), in_use(), 2);
        }
        if invocation == 15 {
            world.aws.heal();
            handler.replace(world.handler());
        }
        let current = handler.borrow().clone();
        let answer = kafka::invoke(&current, &batch, &invocation.to_string()).await;
        if inject(15) {
            // The response is lost, and with it the environment.
            deaths.set(deaths.get() + 1);
            handler.replace(world.handler());
            return Err(HandlerError::NoSequenceNumber);
        }
        answer
    };
    let topic = Topic { partitions };
    let invocations = mapping.drain(&topic, function).await;
    let invocations = invocations.unwrap_or_else(|| panic!("SEED={seed}: not drained"));
    let broken = world
        .mocks
        .broken_promises(&records, &world.aws.dead_letters());
    assert_eq!(broken, [""; 0], "SEED={seed}, {} deaths", deaths.get());
    assert_eq!(world.aws.violations(), [""; 0], "SEED={seed}");
    invocations
}

#[tokio::test]
async fn a_table_streamed_through_kafka_leaves_both_systems_equal_to_it() {
    let (mut schedules, mut invocations) = (0, 0);
    for seed in seeds(12) {
        schedules += 1;
        invocations += converge(seed).await;
    }
    write_report(
        "Kafka",
        format!("{schedules} schedules, {invocations} invocations, lost: 0"),
    );
}

/// Streams a generated table through a shard of Kinesis, most of it in aggregates, and injects
/// faults into the first invocations. Returns the number of deliveries.
async fn converge_aggregates(seed: u64) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let world = World::start(random.bool(), seed, Faults::default()).await;
    let plan = Plan {
        seed,
        records: 80,
        contacts: random.usize(2..20),
        one_bad_in: 15,
        one_late_in: 0,
    };
    let records: Vec<Generated> = MockStreamGenerator::new(plan).collect();
    let mut stream = Stream::new(1);
    let mut left = &records[..];
    while !left.is_empty() {
        let (some, rest) = left.split_at(left.len().min(random.usize(1..8)));
        let parts: Vec<(&str, &[u8])> = some
            .iter()
            .map(|record| (&*record.partition_key, &*record.data))
            .collect();
        match parts[..] {
            [(key, data)] => stream.put(key, data, Duration::ZERO),
            _ => stream.put("aggregate", &kpl::aggregate(&parts), Duration::ZERO),
        }
        left = rest;
    }
    let mapping = kinesis::Mapping {
        batch_size: random.usize(1..10),
        bisect: random.bool(),
        backoff: (Duration::from_millis(1), Duration::from_millis(20)),
        lost_checkpoints: 10,
        seed,
        ..kinesis::Mapping::default()
    };
    let (random, invocations) = (RefCell::new(random), Cell::new(0));
    let handler = RefCell::new(world.handler());
    let function = async |invocation: Invocation| {
        invocations.set(invocations.get() + 1);
        let inject = |percent| invocations.get() < 15 && random.borrow_mut().u32(..100) < percent;
        if inject(40) {
            world
                .mocks
                .hubspot
                .next(Answer::html(503, "<h1>Sorry</h1>"));
        }
        if inject(30) {
            let contact = random.borrow_mut().usize(..plan.contacts);
            let id = format!("c-{contact:06}");
            world.mocks.salesforce.fail_row(&id, in_use(), 2);
        }
        let current = handler.borrow().clone();
        let outcome = invocation.handle(&current).await;
        if inject(15) {
            handler.replace(world.handler());
            return InvocationOutcome::Error;
        }
        outcome
    };
    let report = mapping.drain(&stream, function).await;
    assert_eq!(report.lost(&stream), 0, "SEED={seed}");
    let broken = world
        .mocks
        .broken_promises(&records, &world.aws.dead_letters());
    assert_eq!(broken, [""; 0], "SEED={seed}");
    report.deliveries.len()
}

#[tokio::test]
async fn a_table_streamed_in_aggregates_leaves_both_systems_equal_to_it() {
    let (mut schedules, mut deliveries) = (0, 0);
    for seed in seeds(12) {
        schedules += 1;
        deliveries += converge_aggregates(seed).await;
    }
    write_report(
        "aggregates",
        format!("{schedules} schedules, {deliveries} batches, lost: 0"),
    );
}
