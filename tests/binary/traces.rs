//! Tests of the traces of the real binary, with an OTLP receiver on loopback as the collector.

use std::path::Path;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use testkit::harness::Mocks;
use testkit::runtime_api::Function;
use testkit::server::{Answer, Api, Reply, Request, Server};
use testkit::tls::Authority;

use super::{BINARY, TIME, event, variables};

/// Collector that records every export and replies with `reply`.
struct Collector {
    exports: Mutex<Vec<ExportTraceServiceRequest>>,
    reply: Reply,
}

impl Api for Collector {
    fn reply(&self, request: &Request) -> Reply {
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("POST", "/v1/traces")
        );
        assert_eq!(
            request.header("content-type"),
            Some("application/x-protobuf")
        );
        let export = ExportTraceServiceRequest::decode(request.body.clone()).expect("OTLP");
        self.exports.lock().expect("sound").push(export);
        self.reply.clone()
    }
}

impl Collector {
    async fn start(reply: Reply) -> (Arc<Self>, Server) {
        let collector = Arc::new(Self {
            exports: Mutex::default(),
            reply,
        });
        let server = Server::start(Arc::clone(&collector)).await;
        (collector, server)
    }

    fn count(&self) -> usize {
        self.exports.lock().expect("sound").len()
    }

    /// Returns the spans of each export that contains this request.
    fn exports_of(&self, request_id: &str) -> Vec<Vec<Span>> {
        let mut found = Vec::new();
        for export in self.exports.lock().expect("sound").iter() {
            let scopes = export
                .resource_spans
                .iter()
                .flat_map(|spans| &spans.scope_spans);
            let spans: Vec<Span> = scopes.flat_map(|spans| spans.spans.clone()).collect();
            if spans
                .iter()
                .any(|span| attribute(span, "request_id").as_deref() == Some(request_id))
            {
                found.push(spans);
            }
        }
        found
    }
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let pair = span.attributes.iter().find(|pair| pair.key == key)?;
    match pair.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let one = found.next().unwrap_or_else(|| {
        panic!(
            "no `{name}`: {:?}",
            spans.iter().map(|s| &s.name).collect::<Vec<_>>()
        )
    });
    assert!(found.next().is_none(), "more than one `{name}`");
    one
}

/// Maximum number of invocations until their spans arrive in time. The function waits 250 ms for
/// the export, and the same time for the creation of the exporter, which a busy machine exceeds.
const TRIES: usize = 20;

/// Invokes the function with ids of this prefix, until the spans of an invocation arrive before its
/// response.
async fn spans_of(function: &mut Function, collector: &Collector, prefix: &str) -> Vec<Span> {
    for number in 0..TRIES {
        let id = format!("{prefix}-{number}");
        function.invoke(event(), &id, TIME).await;
        let mut exports = collector.exports_of(&id);
        assert!(exports.len() <= 1, "one export for each invocation");
        if let Some(spans) = exports.pop() {
            return spans;
        }
    }
    panic!("no spans in time: {:?}", function.lines());
}

async fn start(mocks: &Mocks, endpoint: String) -> Function {
    let mut variables = variables(mocks);
    variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint));
    Function::start(Path::new(BINARY), &variables).await
}

#[tokio::test]
async fn a_collector_whose_certificate_extra_ca_file_signs_receives_the_spans() {
    let mocks = Mocks::start().await;
    let (collector, server) = Collector::start(Answer::empty(200).into()).await;
    let authority = Authority::default();
    let front = authority.front(server.address).await;
    let mut variables = variables(&mocks);
    let file = authority.path().display().to_string();
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", front.url.clone()),
        ("CONTACT_SYNC__TLS__EXTRA_CA_FILE", file),
    ] {
        variables.push((name.to_owned(), value));
    }
    let mut function = Function::start(Path::new(BINARY), &variables).await;
    spans_of(&mut function, &collector, "tls").await;
    assert!(front.handshakes() > 0, "over TLS");
}

#[tokio::test]
async fn the_span_of_a_call_is_nested_in_batch_invocation_and_lambdas_segment() {
    let mocks = Mocks::start().await;
    let (collector, server) = Collector::start(Answer::empty(200).into()).await;
    let mut function = start(&mocks, server.url()).await;
    // The response follows the flush: all spans have arrived.
    let spans = spans_of(&mut function, &collector, "r").await;

    let invocation = named(&spans, "invocation");
    assert_eq!(
        invocation.parent_span_id,
        [0x9a, 0x91, 0x97, 0xaf, 0x75, 0x5a, 0x64, 0x19],
        "Lambda's segment"
    );
    assert!(attribute(invocation, "request_id").is_some_and(|id| id.starts_with("r-")));
    assert_eq!(
        attribute(invocation, "shard_id").as_deref(),
        Some("shardId-000000000000")
    );
    for (batch, path) in [
        (
            "salesforce upsert",
            "/services/data/v67.0/composite/sobjects/Lead/Source_Id__c",
        ),
        (
            "hubspot upsert",
            "/crm/objects/2026-09/contacts/batch/upsert",
        ),
    ] {
        let batch = named(&spans, batch);
        assert_eq!(batch.parent_span_id, invocation.span_id);
        assert_eq!(
            (attribute(batch, "records"), attribute(batch, "attempt")),
            (Some("1".into()), Some("1".into()))
        );
        let exchange = spans
            .iter()
            .find(|span| attribute(span, "url.path").as_deref() == Some(path));
        let exchange = exchange.unwrap_or_else(|| panic!("no exchange with {path}"));
        assert_eq!(exchange.parent_span_id, batch.span_id);
        assert_eq!(
            attribute(exchange, "http.response.status_code").as_deref(),
            Some("200")
        );
        assert_eq!(
            attribute(exchange, "server.address").as_deref(),
            Some("127.0.0.1")
        );
    }
    let trace = [
        0x5b, 0xef, 0x4d, 0xe7, 0xad, 0x49, 0xb0, 0xe8, 0x7f, 0x6e, 0xf6, 0xc8, 0x7f, 0xc2, 0xe7,
        0x00,
    ];
    assert!(
        spans.iter().all(|span| span.trace_id == trace),
        "one trace, X-Ray's"
    );
    let all = format!("{:?}", collector.exports.lock().expect("sound"));
    for private in ["Lovelace", "ada@", "Acme"] {
        assert!(!all.contains(private), "{private} is part of the traces");
    }
}

#[tokio::test]
async fn the_span_of_a_failed_batch_has_its_error_and_attempt() {
    let mocks = Mocks::start().await;
    let (collector, server) = Collector::start(Answer::empty(200).into()).await;
    let mut function = start(&mocks, server.url()).await;
    // The exporter is created at the first flush.
    spans_of(&mut function, &collector, "well").await;
    mocks.hubspot_server.stop();
    let spans = spans_of(&mut function, &collector, "failing").await;
    let batches: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "hubspot upsert")
        .collect();
    let attempts: Vec<_> = batches
        .iter()
        .filter_map(|span| attribute(span, "attempt"))
        .collect();
    assert!(attempts.len() > 1 && attempts[1] == "2", "{attempts:?}");
    for batch in batches {
        assert_eq!(
            batch.status.as_ref().map(|status| status.code),
            Some(2),
            "{batch:?}"
        );
        assert!(attribute(batch, "error.type").is_some());
    }
}

#[tokio::test]
async fn a_collector_that_hangs_or_is_unreachable_loses_spans_and_fails_no_invocation() {
    let mocks = Mocks::start().await;
    for (reply, is_gone) in [
        (Reply::Hang, false),
        (Answer::empty(503).into(), false),
        (Reply::Reset, true),
    ] {
        let (collector, server) = Collector::start(reply.clone()).await;
        if is_gone {
            server.stop();
        }
        let mut function = start(&mocks, server.url()).await;
        let mut invocations = 0;
        while invocations == 0 || (!is_gone && collector.count() == 0 && invocations < TRIES) {
            assert_eq!(
                function.invoke(event(), "r-1", TIME).await.failures(),
                [""; 0],
                "{reply:?}"
            );
            invocations += 1;
            assert!(
                collector.count() <= invocations,
                "{reply:?}: one attempt for each invocation"
            );
        }
        assert_eq!(collector.count() > 0, !is_gone, "{reply:?}");
        function.kill().await;
        function.exit().await;
        let lost = function
            .lines()
            .iter()
            .filter(|line| line.contains("spans not sent"))
            .count();
        assert_eq!(lost, invocations, "{reply:?}: {:?}", function.lines());
    }
}
