//! Fuzzes the external input on the stable compiler, by random mutations of valid examples: a fixed
//! number in each test run, or for a time of choice by `make fuzz MINUTES=n`. A failing case is
//! named: `SEED=n cargo test --test scenarios NAME`.
//!
//! Coverage-guided fuzzers need a nightly compiler. The structure guides these cases: they start
//! from the sample events, and the mutations know JSON. `tests/contract/adapters.rs` fuzzes the
//! responses of the external systems.

use std::sync::Arc;
use std::time::Duration;

use contact_sync::adapters::{AdapterSpec, DESTINATIONS};
use contact_sync::app::App;
use contact_sync::lambda::Handler;
use contact_sync::model::limits::{RateLimit, Retry};
use contact_sync::model::{
    Attribute, Attributes, Contact, ContactChange, ContactId, ContactType, Field, Operation,
    Record, Text,
};
use contact_sync::settings::{Layer, Preset, load};
use contact_sync::source::{Decoded, EventConsumer, RecordDecoder};
use hyper::body::Bytes;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use testkit::aws::no_aws;
use testkit::evidence::{self, seeds, write_report};
use testkit::feed::{FeedFormat, TableFeed};
use testkit::generator::{MockStreamGenerator, Plan};
use testkit::harness::{CLIENT, Logs};
use testkit::memory::{Faults, Memory, NAME};
use testkit::mutate::mutated;
use testkit::stream::{arrival, record};

/// The code of a caught panic. The neighbours of the record are unaffected, but the panic is a
/// defect.
const PANICKED: &str = "INTERNAL_ERROR";

/// A value that no log and no message may show.
const SECRET: &str = "Zq7Secret";

/// Returns the sample events.
fn events() -> Vec<Value> {
    let mut paths: Vec<_> = std::fs::read_dir("events")
        .expect("the folder")
        .map(|e| e.expect("an entry").path())
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    paths.sort();
    let events = paths
        .iter()
        .map(|path| serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON"));
    let events: Vec<Value> = events
        .filter(|event: &Value| event["Records"].is_array())
        .collect();
    assert!(events.len() > 10, "{}", events.len());
    events
}

/// Returns the changes of the sample events, and one with every field.
fn changes() -> Vec<Value> {
    let data = |record: &Value| {
        base64_simd::STANDARD
            .decode_to_vec(record["kinesis"]["data"].as_str()?)
            .ok()
    };
    let events = events();
    let records = events
        .iter()
        .flat_map(|event| event["Records"].as_array().into_iter().flatten());
    let mut changes: Vec<Value> = records
        .filter_map(|record| serde_json::from_slice(&data(record)?).ok())
        .filter(|change: &Value| change.is_object() && change["specversion"].is_null())
        .collect();
    changes.push(json!({
        "event_id": "e-1", "operation": "create", "occurred_at": "2026-11-20T10:15:00.123Z",
        "version": 42, "replay": true,
        "contact": {
            "id": "c-1", "type": "lead", "email": format!("{SECRET}@example.com"),
            "first_name": SECRET, "last_name": SECRET, "company": SECRET, "job_title": SECRET,
            "phone": SECRET, "mobile_phone": null, "website": SECRET,
            "address": {"street": SECRET, "city": SECRET, "state": null, "postal_code": SECRET,
                        "country": SECRET},
            "lead_source": SECRET, "status": SECRET,
            "attributes": {"plan": SECRET, "seats": 25, "newsletter": true},
        },
    }));
    changes
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(work)
}

fn handler(memory: &Arc<Memory>) -> Handler {
    let routes = ["lead", "prospect", "customer", "vendor"]
        .map(|kind| format!("{kind} = [\"{NAME}\"]\n"))
        .concat();
    let layer = Layer::from_toml("the test", &format!("[routes]\n{routes}")).expect("TOML");
    let settings = load(Preset::Test, &[layer], &[NAME]).expect("allowed");
    let memory = Arc::clone(memory);
    let app = App::empty().with_http(CLIENT.clone()).with(
        NAME,
        AdapterSpec {
            adapter: Arc::clone(&memory) as _,
            rate_limit: RateLimit {
                requests: 10_000,
                per_ms: 1000,
            },
            retry: Retry {
                max_attempts: 4,
                base_delay_ms: 1,
                max_delay_ms: 20,
            },
            max_in_flight: 3,
            keeps_versions: false,
        },
    );
    app.build(Preset::Test, &settings, &no_aws())
        .expect("a handler")
}

fn good(id: &str, at: usize) -> String {
    let change = json!({
        "event_id": id, "operation": "create", "occurred_at": "2026-11-20T10:15:00Z",
        "contact": {"id": id, "type": "lead"},
    });
    record(0, at, "key", change.to_string().as_bytes()).to_string()
}

/// Checks a mutated record: its invocation gets a response, no record failed, and both of its
/// neighbours are delivered. Returns whether the record is JSON, as those of an event are.
fn odd_record(seed: u64, events: &[Value]) -> Result<bool, String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let event = &events[random.usize(..events.len())];
    let Some(records) = event["Records"]
        .as_array()
        .filter(|records| !records.is_empty())
    else {
        return Ok(false);
    };
    let odd = String::from_utf8_lossy(&mutated(&mut random, records)).into_owned();
    let text = format!(
        "{{\"Records\":[{},{odd},{}]}}",
        good("good-1", 0),
        good("good-2", 1)
    );
    if RawValue::from_string(text.clone()).is_err() {
        return Ok(false);
    }
    let memory = Memory::new(seed, Faults::default());
    answered(&handler(&memory), text.into())?;
    let held = memory.records();
    let both = held.contains_key("good-1") && held.contains_key("good-2");
    if both {
        Ok(true)
    } else {
        Err(format!("a neighbour of {odd} is missing: {held:?}"))
    }
}

/// Checks a mutated event: its invocation gets a response, or an error where the event has no
/// record of Kinesis. Returns whether it got a response.
fn odd_event(seed: u64, events: &[Value]) -> Result<bool, String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let event = mutated(&mut random, events);
    let is_supported = match str::from_utf8(&event) {
        Ok(event) => is_supported(event),
        Err(_) => Some(false),
    };
    match (
        answered(
            &handler(&Memory::new(seed, Faults::default())),
            event.into(),
        ),
        is_supported,
    ) {
        (Err(error), Some(true)) => Err(error),
        (Ok(()), Some(false)) => {
            Err("a response to an event without a record of Kinesis".to_owned())
        }
        (ended, _) => Ok(ended.is_ok()),
    }
}

/// Returns whether the event must get a response; `None` where that depends on a malformed record.
fn is_supported(event: &str) -> Option<bool> {
    #[derive(serde::Deserialize)]
    struct Envelope {
        #[serde(rename = "Records")]
        records: Vec<Box<RawValue>>,
    }
    if !event.trim_start().starts_with('{') {
        return Some(false);
    }
    let Ok(Envelope { records }) = serde_json::from_str(event) else {
        return Some(false);
    };
    let ours = |record: &Value| record["eventSource"] == "aws:kinesis";
    if records.is_empty()
        || records
            .iter()
            .any(|raw| serde_json::from_str(raw.get()).is_ok_and(|value| ours(&value)))
    {
        return Some(true);
    }
    let may_be_ours =
        |raw: &RawValue| raw.get().to_lowercase().contains("kinesis") || raw.get().contains('\\');
    if records.iter().any(|raw| may_be_ours(raw)) {
        None
    } else {
        Some(false)
    }
}

fn answered(handler: &Handler, event: Bytes) -> Result<(), String> {
    let shown = String::from_utf8_lossy(&event).into_owned();
    let logs = Logs::listen();
    let answering = handler.handle(LambdaEvent::new(event, Context::default()));
    let ended = run(async { tokio::time::timeout(Duration::from_mins(5), answering).await });
    if let Some(line) = logs.audit().iter().find(|line| line["code"] == PANICKED) {
        return Err(format!("{line} for {shown}"));
    }
    match ended {
        Ok(Ok(answer)) if answer.batch_item_failures.is_empty() => Ok(()),
        other => Err(format!("{other:?} for {shown}")),
    }
}

/// Checks a mutated change: the decoded change equals its JSON as `serde_json` reads it, and a
/// refusal shows no contact data. Returns whether the change was decoded.
fn decoded(seed: u64, changes: &[Value]) -> Result<bool, String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let data = mutated(&mut random, changes);
    let mut text = base64_simd::STANDARD.encode_to_string(&data);
    if random.u32(..50) == 0 {
        text.insert(
            random.usize(..=text.len()),
            ['=', ' ', '\n', '-'][random.usize(..4)],
        );
    }
    match EventConsumer.consume(&Record::of_data(&text), arrival()) {
        Ok(change) => {
            let shown = String::from_utf8_lossy(&data);
            // An ignored field may have half of a surrogate pair or a number out of range, and that
            // of a delete may be nested deeply. `Value` accepts none of these.
            let whole = shown.replace("\\ud800", "\\ufffd");
            // Each byte order mark before JSON is a layer.
            let whole = whole.trim_start_matches('\u{feff}');
            let value: Value = match serde_json::from_str(whole) {
                Ok(value) => value,
                Err(error) if error.to_string().starts_with("number out of range") => {
                    return Ok(true);
                }
                Err(error)
                    if change.operation == Operation::Delete
                        && error.to_string().starts_with("recursion limit exceeded") =>
                {
                    return Ok(true);
                }
                Err(error) => return Err(format!("{error} in {shown}")),
            };
            equals(&change, &value).map_err(|name| format!("{name} of {shown}"))?;
            let debug = format!("{change:?}");
            if debug.contains(SECRET) {
                Err(format!("{debug} shows data"))
            } else {
                Ok(true)
            }
        }
        Err(refusal) if refusal.rejection.code.as_str() == PANICKED => {
            Err(format!("a panic for {}", String::from_utf8_lossy(&data)))
        }
        Err(refusal) if refusal.rejection.message.contains(SECRET) => Err(format!(
            "a refusal shows data: {}",
            refusal.rejection.message
        )),
        Err(_) => Ok(false),
    }
}

/// Compares a change with its JSON. `Err` names the field that differs.
fn equals(change: &ContactChange, value: &Value) -> Result<(), &'static str> {
    let person = &value["contact"];
    let is = |name, is_so: bool| if is_so { Ok(()) } else { Err(name) };
    is("event_id", value["event_id"] == *change.event_id)?;
    is("operation", value["operation"] == change.operation.name())?;
    is("version", value["version"].as_u64() == change.version)?;
    is(
        "id",
        person["id"].as_str().map(ContactId::trim) == Some(change.contact.id.as_str()),
    )?;
    let kind = person["type"].as_str().and_then(ContactType::from_name);
    is("type", kind == change.contact.kind)?;
    if change.operation == Operation::Delete {
        let bare = Contact::bare(change.contact.id.clone(), kind);
        return is("another field", texts(&change.contact) == texts(&bare));
    }
    is("type of a create or an update", kind.is_some())?;
    is(
        "email",
        email_is_the_same(&change.contact.email, person.get("email")),
    )?;
    let address = person.get("address").filter(|address| !address.is_null());
    let part = |name: &str| match address {
        Some(address) => address.get(name),
        None => person.get("address"),
    };
    let contact = &change.contact;
    for (name, text, value) in [
        ("first_name", &contact.first_name, person.get("first_name")),
        ("last_name", &contact.last_name, person.get("last_name")),
        ("company", &contact.company, person.get("company")),
        ("job_title", &contact.job_title, person.get("job_title")),
        ("phone", &contact.phone, person.get("phone")),
        (
            "mobile_phone",
            &contact.mobile_phone,
            person.get("mobile_phone"),
        ),
        ("website", &contact.website, person.get("website")),
        (
            "lead_source",
            &contact.lead_source,
            person.get("lead_source"),
        ),
        ("status", &contact.status, person.get("status")),
        ("street", &contact.street, part("street")),
        ("city", &contact.city, part("city")),
        ("state", &contact.state, part("state")),
        ("postal_code", &contact.postal_code, part("postal_code")),
        ("country", &contact.country, part("country")),
    ] {
        is(name, is_the_same(text, value))?;
    }
    is(
        "attributes",
        attributes_are_the_same(&contact.attributes, person.get("attributes")),
    )
}

/// Returns every field of a contact that a delete does not use.
fn texts(contact: &Contact) -> [&Text; 15] {
    let Contact {
        email,
        first_name,
        last_name,
        company,
        job_title,
        phone,
        mobile_phone,
        website,
        ..
    } = contact;
    let Contact {
        street,
        city,
        state,
        postal_code,
        country,
        lead_source,
        status,
        ..
    } = contact;
    [
        email,
        first_name,
        last_name,
        company,
        job_title,
        phone,
        mobile_phone,
        website,
        street,
        city,
        state,
        postal_code,
        country,
        lead_source,
        status,
    ]
}

/// Compares the attributes with their JSON. Compares numbers as `Value` reads them.
fn attributes_are_the_same(attributes: &Attributes, value: Option<&Value>) -> bool {
    let Some(value) = value else {
        return !attributes.cleared && attributes.values.is_empty();
    };
    let Some(named) = value.as_object() else {
        return attributes.cleared;
    };
    let is_same = |name: &str, attribute: &Attribute| match attribute {
        Attribute::Null => named[name].is_null(),
        Attribute::Bool(value) => named[name] == *value,
        Attribute::Number(number) => {
            serde_json::from_str::<Value>(number.as_str()).is_ok_and(|value| named[name] == value)
        }
        Attribute::Text(text) => named[name] == **text,
    };
    named.len() == attributes.values.len()
        && attributes
            .values
            .iter()
            .all(|(name, value)| is_same(name, value))
}

/// Compares a text with its JSON: absent is absent, null or blank is null.
fn is_the_same(text: &Text, value: Option<&Value>) -> bool {
    match (text, value) {
        (Field::Absent, None) | (Field::Null, Some(Value::Null)) => true,
        (Field::Null, Some(Value::String(text))) => text.trim().is_empty(),
        (Field::Value(text), Some(Value::String(value))) => **text == **value,
        _ => false,
    }
}

fn email_is_the_same(text: &Text, value: Option<&Value>) -> bool {
    match (text, value) {
        (Field::Value(text), Some(Value::String(value))) => **text == *value.trim().to_lowercase(),
        _ => is_the_same(text, value),
    }
}

/// Runs the cases. Returns their number, and the number of valid ones.
fn all(name: &str, count: u64, case: impl Fn(u64) -> Result<bool, String>) -> (u64, u64) {
    let (mut cases, mut valid) = (0_u64, 0_u64);
    for seed in seeds(count) {
        cases += 1;
        let is_valid = evidence::case(seed, || case(seed));
        valid += u64::from(is_valid.unwrap_or_else(|error| panic!("SEED={seed}: {error}")));
    }
    write_report(name, format!("{cases} cases, {valid} of them valid"));
    (cases, valid)
}

/// Asserts that one case in `one_in` is valid, so that the cases reach the code behind validation.
/// Accepts any single case.
fn assert_valid_share((cases, valid): (u64, u64), one_in: u64) {
    assert!(
        valid * one_in >= cases || cases == 1,
        "{valid} of {cases} are valid"
    );
}

#[test]
fn the_neighbours_of_any_record_are_delivered() {
    let events = events();
    assert_valid_share(
        all("fuzz records", 1000, |seed| odd_record(seed, &events)),
        2,
    );
}

#[test]
fn every_event_gets_a_response() {
    let events = events();
    assert_valid_share(all("fuzz events", 1000, |seed| odd_event(seed, &events)), 4);
}

#[test]
fn a_decoded_change_equals_its_json() {
    let changes = changes();
    assert_valid_share(
        all("fuzz changes", 10_000, |seed| decoded(seed, &changes)),
        1000,
    );
}

/// Returns records of a feed, with a value that no message may show.
fn feed_records(format: FeedFormat) -> Vec<Value> {
    let plan = Plan {
        records: 200,
        contacts: 20,
        one_bad_in: 0,
        one_late_in: 0,
        ..Plan::default()
    };
    let mut table = TableFeed::new(format, 1);
    let records = MockStreamGenerator::new(plan).flat_map(|record| table.records(&record));
    let records = records.filter_map(|record| {
        let text = String::from_utf8(record.data).expect("UTF-8");
        serde_json::from_str(&text.replace("High St", SECRET)).ok()
    });
    records.collect()
}

/// Checks a mutated record of a feed: nothing panics, and neither the decoded change nor a refusal
/// shows contact data. Returns whether a change was decoded.
fn decoded_row(seed: u64, reader: &RecordDecoder, records: &[Value]) -> Result<bool, String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let data = mutated(&mut random, records);
    let shown = String::from_utf8_lossy(&data).into_owned();
    let record = Record::of_data(base64_simd::STANDARD.encode_to_string(&data));
    let decoded = reader.decode(&record, arrival());
    let debug = format!("{decoded:?}");
    match decoded {
        _ if debug.contains(SECRET) => Err(format!("{debug} shows data of {shown}")),
        Err(refusal) if refusal.rejection.code.as_str() == PANICKED => {
            Err(format!("a panic for {shown}"))
        }
        Err(refusal) if refusal.rejection.message.contains(SECRET) => Err(format!(
            "a refusal shows data: {}",
            refusal.rejection.message
        )),
        Ok(Decoded::Change(change)) => {
            if change.contact.id.as_str().is_empty() || change.event_id.is_empty() {
                return Err(format!("a change without an identity: {shown}"));
            }
            let needs_type = change.operation != Operation::Delete;
            if needs_type && change.contact.kind.is_none() {
                return Err(format!("a change without a type: {shown}"));
            }
            Ok(true)
        }
        Ok(Decoded::Filtered(_)) | Err(_) => Ok(false),
    }
}

#[test]
fn no_row_of_a_feed_panics_or_shows_its_data() {
    for format in FeedFormat::ALL {
        let layer = Layer::from_toml("the test", &format.settings()).expect("TOML");
        let settings = load(Preset::Test, &[layer], &DESTINATIONS).expect("allowed");
        let reader = RecordDecoder::new(&settings.source);
        let records = feed_records(format);
        let name = format!("fuzz {}", format.name());
        assert_valid_share(
            all(&name, 4_000, |seed| decoded_row(seed, &reader, &records)),
            20,
        );
    }
}

#[test]
fn only_exact_names_of_operations_are_accepted() {
    for name in ["Create", "UPDATE", " delete", "merge"] {
        let change = json!({
            "event_id": "e-1", "operation": name, "occurred_at": "2026-11-20T10:15:00Z",
            "contact": {"id": "c-1", "type": "lead"},
        });
        let text = base64_simd::STANDARD.encode_to_string(change.to_string());
        let refusal = EventConsumer
            .consume(&Record::of_data(&text), arrival())
            .expect_err(name);
        assert_eq!(
            refusal.rejection.code.as_str(),
            "UNKNOWN_OPERATION",
            "{name}"
        );
    }
}
