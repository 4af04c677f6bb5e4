//! Creates spans: one for the invocation, one for each batch that is sent in it, and one for each
//! HTTP call of a batch. OpenTelemetry exports them where the package is built with the feature
//! `otel` and a collector is configured. Elsewhere only the invocation's span exists, for the log
//! lines within it.

use std::fmt;
use std::time::Duration;

use tracing::Span;
use tracing::field::{Empty, display};

use crate::http_client::ExtraRoots;
use crate::model::Destination;

/// The target of spans for a collector only: no log line has their fields.
pub(super) const TRACES: &str = "contact_sync::traces";

/// Creates the span of one invocation, with the fields that its lines share. Lambda's header names
/// X-Ray's trace. [`from_shard`] adds the shard once it is known.
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

/// Creates the span of work that may outlive its invocation. Its lines have the invocation's ids.
/// It has no parent: a child would keep the invocation's span open.
pub fn beside(request_id: &str, header: Option<&str>) -> Span {
    tracing::error_span!(parent: None, "beside", request_id, trace_id = root(header))
}

/// Trusts further root certificates in the calls of the collector.
#[cfg_attr(
    not(feature = "otel"),
    expect(unused_variables, reason = "only the feature `otel` has a collector")
)]
pub fn trust(extra: &ExtraRoots) {
    #[cfg(feature = "otel")]
    super::otlp::trust(extra);
}

/// Returns the id of X-Ray's trace.
fn root(header: Option<&str>) -> Option<&str> {
    part(header?, "Root")
}

/// Adds the shard of the batch to the current invocation's span.
pub fn from_shard(shard_id: &str) {
    Span::current().record("shard_id", shard_id);
}

/// Creates the span of one batch that is sent to `destination`, with the number of the attempt.
pub fn batch(destination: Destination, operation: &str, records: usize, attempt: u32) -> Span {
    tracing::info_span!(
        target: TRACES, "batch", otel.name = format!("{destination} {operation}"), %destination,
        operation, records, attempt, error.type = Empty, otel.status_code = Empty
    )
}

/// Creates the span of one HTTP call. It has the path, which names the endpoint, and not the query,
/// which may name records. A call outside of an invocation, as at the start, has none.
/// <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>
pub fn exchange(method: &str, url: &url::Url) -> Span {
    if Span::current().is_none() {
        return Span::none();
    }
    tracing::info_span!(
        target: TRACES, "exchange", otel.name = format!("{method} {}", url.path()),
        otel.kind = "client", http.request.method = method, server.address = url.host_str(),
        url.path = url.path(), http.response.status_code = Empty, error.type = Empty,
        otel.status_code = Empty
    )
}

/// Adds the status of the response to the span of an HTTP call.
pub fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 400 {
        failed(span, status);
    }
}

/// Marks a span as failed.
pub fn failed(span: &Span, code: impl fmt::Display) {
    span.record("error.type", display(code));
    span.record("otel.status_code", "ERROR");
}

/// Sends the finished spans to the collector, if there is one, within a quarter of a second and
/// half of the time that is `left` of the invocation.
#[cfg_attr(
    not(feature = "otel"),
    expect(clippy::unused_async, reason = "waits only with the feature")
)]
pub async fn flush(left: Option<Duration>) {
    #[cfg(feature = "otel")]
    super::otlp::flush(left).await;
    #[cfg(not(feature = "otel"))]
    let _ = left;
}

/// Returns a part of X-Ray's header,
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
    fn a_part_of_the_header_is_found_at_any_position() {
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
