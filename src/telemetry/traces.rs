//! Spans: an invocation, each batch that is sent in it, and each HTTP exchange of a batch. They
//! leave through OpenTelemetry where the package is built with the feature `otel` and a collector
//! is named; elsewhere only the invocation's is made, for the log lines within it.

use std::fmt;
use std::time::Duration;

use tracing::Span;
use tracing::field::{Empty, display};

use crate::model::Destination;

/// The target of spans that are for a collector only: no line carries their fields.
pub(super) const TRACES: &str = "contact_sync::traces";

/// The span of one invocation: what its lines have in common. Lambda's header names X-Ray's trace;
/// the shard is told with [`from_shard`] once it is known.
pub fn invocation(request_id: &str, header: Option<&str>) -> Span {
    let span = tracing::error_span!(
        "invocation",
        request_id,
        trace_id = root(header),
        shard_id = Empty
    );
    #[cfg(feature = "otel")]
    super::otlp::adopt(&span, header.unwrap_or_default());
    span
}

/// The span of what an invocation began and need not see the end of: its lines have the same ids.
/// It is nobody's child, or the invocation's own span would stay open for it.
pub fn beside(request_id: &str, header: Option<&str>) -> Span {
    tracing::error_span!(parent: None, "beside", request_id, trace_id = root(header))
}

/// The id of X-Ray's trace.
fn root(header: Option<&str>) -> Option<&str> {
    part(header?, "Root")
}

/// The invocation under way is about this shard: a batch comes from one.
pub fn from_shard(shard_id: &str) {
    Span::current().record("shard_id", shard_id);
}

/// The span of one batch that is sent to `destination`, for the how manieth time.
pub fn batch(destination: Destination, operation: &str, records: usize, attempt: u32) -> Span {
    tracing::info_span!(
        target: TRACES, "batch", otel.name = format!("{destination} {operation}"), %destination, operation, records,
        attempt, error.type = Empty, otel.status_code = Empty
    )
}

/// The span of one HTTP exchange. The path names the endpoint; the query, which may name records,
/// stays out. <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>
pub fn exchange(method: &str, url: &url::Url) -> Span {
    tracing::info_span!(
        target: TRACES, "exchange", otel.name = format!("{method} {}", url.path()), otel.kind = "client",
        http.request.method = method, server.address = url.host_str(), url.path = url.path(),
        http.response.status_code = Empty, error.type = Empty, otel.status_code = Empty
    )
}

/// What the exchange of `span` was answered with.
pub fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 400 {
        failed(span, status);
    }
}

/// What `span` stands for came to nothing.
pub fn failed(span: &Span, code: impl fmt::Display) {
    span.record("error.type", display(code));
    span.record("otel.status_code", "ERROR");
}

/// Sends the spans that have ended to the collector, where there is one, within a quarter of a
/// second and half of what is `left` of the invocation.
#[cfg_attr(
    not(feature = "otel"),
    expect(
        clippy::unused_async,
        reason = "there is nothing to wait for without it"
    )
)]
pub async fn flush(left: Option<Duration>) {
    #[cfg(feature = "otel")]
    super::otlp::flush(left).await;
    #[cfg(not(feature = "otel"))]
    let _ = left;
}

/// A part of X-Ray's header,
/// `Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1`.
/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>
pub(super) fn part<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let mut parts = header
        .split(';')
        .filter_map(|part| part.trim().split_once('='));
    parts.find_map(|(name, value)| (name == key).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_header_is_found_wherever_it_stands() {
        let usual = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1";
        for (header, key, expected) in [
            (usual, "Root", Some("1-5bef4de7-ad49b0e87f6ef6c87fc2e700")),
            (usual, "Parent", Some("9a9197af755a6419")),
            (usual, "Sampled", Some("1")),
            (usual, "Lineage", None),
            (
                "Sampled=0; Root=1-2-3;Lineage=a87bd80c:1=x",
                "Root",
                Some("1-2-3"),
            ),
            (
                "Sampled=0; Root=1-2-3;Lineage=a87bd80c:1=x",
                "Lineage",
                Some("a87bd80c:1=x"),
            ),
            ("Root", "Root", None),
            ("", "Root", None),
        ] {
            assert_eq!(part(header, key), expected, "{header}");
        }
    }
}
