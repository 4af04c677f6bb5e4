//! Tests of the memory of the real binary, with compressed records that hold many times their size.
//! Of the process's memory the operating system counts the peak.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use testkit::evidence::write_report;
use testkit::feed::FeedFormat;
use testkit::harness::Mocks;
use testkit::runtime_api::Function;
use testkit::{kpl, stream};

use crate::{BINARY, variables};

/// Bound of the peak in docs/operate/limits.md.
const MOST_MIB: u64 = 256;

const MIB: usize = 1024 * 1024;

const TIME: Duration = Duration::from_mins(10);

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).expect("into memory");
    encoder.finish().expect("into memory")
}

fn zstd(data: &[u8]) -> Vec<u8> {
    compress_to_vec(data, CompressionLevel::Fastest)
}

fn peak_mib(function: &Function) -> u64 {
    let id = function.id().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kib: u64 = kib.expect("a peak").trim().parse().expect("a number");
    kib / 1024
}

/// Sends records, and as Lambda all from the first failed one again, until none fails. Returns the
/// number of invocations.
async fn drain(function: &mut Function, data: &[Vec<u8>]) -> usize {
    let records = data.iter().enumerate();
    let mut records: Vec<Value> = records
        .map(|(at, data)| stream::record(0, at, "key", data))
        .collect();
    let mut invocations = 0;
    loop {
        invocations += 1;
        let event = json!({"Records": records}).to_string();
        assert!(event.len() < 6 * MIB, "no event of Lambda");
        let failures = function.invoke(event, "r", TIME).await.failures();
        let Some(first) = failures.first() else {
            return invocations;
        };
        let is_first = |record: &Value| record["kinesis"]["sequenceNumber"] == **first;
        let at = records.iter().position(is_first).expect("a record");
        assert!(at > 0, "no progress in invocation {invocations}");
        records.drain(..at);
    }
}

/// Compresses a change of a lead whose attributes are compressed already.
fn lead(id: &str, compress: fn(&[u8]) -> Vec<u8>, attributes: &[u8]) -> Vec<u8> {
    let head = format!(
        r#"{{"event_id":"e-{id}","operation":"create","occurred_at":"2026-11-20T10:15:00Z",
        "contact":{{"id":"{id}","type":"lead","last_name":"L","company":"C","attributes":"#
    );
    [
        compress(head.as_bytes()),
        attributes.to_vec(),
        compress(b"}}"),
    ]
    .concat()
}

/// Builds attributes of 9.5 MiB, each as long as one may be.
fn long_attributes() -> String {
    let value = "x".repeat(65_536);
    let attributes: Vec<String> = (0..152).map(|at| format!(r#""a{at}":"{value}""#)).collect();
    format!("{{{}}}", attributes.join(","))
}

/// Builds as many attributes as 9.5 MiB hold.
fn many_attributes() -> String {
    let attributes: Vec<String> = (0..850_000).map(|at| format!(r#""{at:x}":1"#)).collect();
    format!("{{{}}}", attributes.join(","))
}

#[tokio::test]
async fn an_event_of_compressed_records_takes_bounded_memory_and_loses_none() {
    let mocks = Mocks::start().await;
    let mut function = Function::start(Path::new(BINARY), &variables(&mocks)).await;
    let long = long_attributes();
    let (in_gzip, in_zstd) = (gzip(long.as_bytes()), zstd(long.as_bytes()));
    let many = gzip(many_attributes().as_bytes());
    let bomb = gzip(&vec![b' '; 11 * MIB]);
    let plain = |id: &str| lead(id, <[u8]>::to_vec, b"{}");
    let mut data = vec![plain("first")];
    for at in 0..8 {
        if at == 5 {
            // The costliest record is the last within the bound.
            data.push(lead("many", gzip, &many));
        }
        data.push(lead(&format!("gzip-{at}"), gzip, &in_gzip));
    }
    for at in 0..4 {
        data.push(lead(&format!("zstd-{at}"), zstd, &in_zstd));
    }
    data.push(plain("between"));
    data.extend([
        bomb.clone(),
        gzip(&bomb),
        zstd(&gzip(&bomb)),
        plain("after bombs"),
    ]);
    // Its records come again together, so those beyond the bound are rejected.
    let parts: Vec<Vec<u8>> = (0..10)
        .map(|at| lead(&format!("part-{at}"), gzip, &in_gzip))
        .collect();
    let parts: Vec<(&str, &[u8])> = parts.iter().map(|part| ("key", &**part)).collect();
    data.push(kpl::aggregate(&parts));
    data.push(plain("after aggregate"));
    data.push(kpl::framed(&[0x1a, 0].repeat(MIB / 2)));
    data.push(plain("last"));
    let invocations = drain(&mut function, &data).await;
    let leads = mocks.salesforce.leads();
    let expected = [
        "first",
        "many",
        "between",
        "after bombs",
        "after aggregate",
        "last",
    ];
    let expected = expected.map(str::to_owned).into_iter();
    let expected = expected.chain((0..8).map(|at| format!("gzip-{at}")));
    for id in expected.chain((0..4).map(|at| format!("zstd-{at}"))) {
        assert!(leads.contains_key(&id), "{id} is missing");
    }
    let parts = leads.keys().filter(|id| id.starts_with("part-")).count();
    assert!((3..10).contains(&parts), "{parts} of the aggregate");
    assert!(invocations > 2, "{invocations} invocations bound nothing");
    let peak = peak_mib(&function);
    write_report(
        "memory, compressed changes",
        format!("{peak} MiB, {invocations} invocations"),
    );
    assert!(peak < MOST_MIB, "{peak} MiB in {invocations} invocations");
}

#[tokio::test]
async fn rows_of_nine_mebibytes_take_bounded_memory() {
    let mocks = Mocks::start().await;
    let mut document = NamedTempFile::new().expect("a file");
    let settings = FeedFormat::Debezium.settings();
    document.write_all(settings.as_bytes()).expect("writable");
    let mut variables = variables(&mocks);
    let path = document.path().display().to_string();
    variables.push(("CONTACT_SYNC_CONFIG".to_owned(), format!("file:{path}")));
    let mut function = Function::start(Path::new(BINARY), &variables).await;
    let (long, schema) = ("\\u0061".repeat(9 * MIB / 6), "x".repeat(9 * MIB));
    let row = |id: &str, column: &str, schema: &str| {
        let row = format!(r#"{{"contact_id":"{id}","segment":"L","family_name":"L","{column}"#);
        let payload = format!(r#"{{"op":"c","source":{{}},"before":null,"after":{row}}}}}"#);
        format!(r#"{{"schema":{schema},"payload":{payload}}}"#).into_bytes()
    };
    let fields = r#"{"fields":[{"field":"after","fields":[]}]"#;
    let mut data = vec![row("first", r#"company":"C""#, &format!("{fields}}}"))];
    for (at, compress) in [gzip, zstd, gzip].into_iter().enumerate() {
        let unmapped = format!(r#"company":"C","unmapped":"{long}""#);
        data.push(compress(&row(&format!("unmapped-{at}"), &unmapped, "null")));
        let schema = format!(r#"{fields},"doc":"{schema}"}}"#);
        data.push(compress(&row(
            &format!("schema-{at}"),
            r#"company":"C""#,
            &schema,
        )));
        data.push(compress(&row(
            "refused",
            &format!(r#"company":"{long}""#),
            "null",
        )));
    }
    data.push(row("last", r#"company":"C""#, "null"));
    let invocations = drain(&mut function, &data).await;
    let leads = mocks.salesforce.leads();
    assert_eq!(leads.len(), 8, "{:?}", leads.keys());
    assert!(leads.contains_key("first") && leads.contains_key("last"));
    let peak = peak_mib(&function);
    write_report(
        "memory, compressed rows",
        format!("{peak} MiB, {invocations} invocations"),
    );
    assert!(peak < MOST_MIB, "{peak} MiB in {invocations} invocations");
}
