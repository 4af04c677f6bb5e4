//! Spans to an OpenTelemetry collector, at the end of each invocation: between two of them Lambda
//! freezes the process, so that a thread that exports now and then, which is what the SDK brings,
//! would send when it thaws.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{
    ExporterBuildError, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    Sampler, SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor,
};
use tokio::time::timeout;
use tracing::Subscriber;
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::traces::part;
use crate::http_client;

/// An answer waits this long for its spans. A collector on the same machine takes them in a few
/// milliseconds.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(250);

/// A batch of 1,000 records makes some dozen spans, and some hundreds where a system refuses whole
/// batches.
const MOST_SPANS: usize = 2048;

static COLLECTOR: OnceLock<Collector> = OnceLock::new();

/// Where spans go.
struct Collector {
    endpoint: String,
    resource: Resource,
    ended: FinishedSpans,
    /// Made at the first flush: a client reads the root certificates, and a cold start is not to
    /// wait for it.
    exporter: tokio::sync::Mutex<Option<SpanExporter>>,
}

/// Spans that have ended and wait for the end of their invocation.
#[derive(Clone, Debug, Default)]
struct FinishedSpans(Arc<Mutex<Vec<SpanData>>>);

/// Why spans were not sent.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("no answer in time")]
    Timeout,
    #[error(transparent)]
    Client(#[from] reqwest::Error),
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
    #[error(transparent)]
    Refused(#[from] OTelSdkError),
}

/// The layer that makes spans of ours those of OpenTelemetry, for the collector at `endpoint`.
pub(super) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(endpoint: &str) -> impl Layer<S> {
    let ended = FinishedSpans::default();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource())
        // X-Ray has decided, and Lambda's header says so.
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_span_processor(ended.clone())
        .build();
    let collector = Collector {
        endpoint: endpoint.to_owned(),
        resource: resource(),
        ended,
        exporter: tokio::sync::Mutex::default(),
    };
    // A second call changes nothing, as with the log.
    let _ = COLLECTOR.set(collector);
    OpenTelemetryLayer::new(provider.tracer(env!("CARGO_PKG_NAME")))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|metadata| {
            metadata.is_span() && metadata.target().starts_with("contact_sync")
        }))
}

/// Puts an invocation's `span` below Lambda's own, which `header` names.
pub(super) fn adopt(span: &tracing::Span, header: &str) {
    if let Some(parent) = context(header) {
        // An error here is a span that nobody makes a trace of.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// Sends what has ended.
pub(super) async fn flush(left: Option<Duration>) {
    let Some(collector) = COLLECTOR.get() else {
        return;
    };
    let spans = collector.ended.take();
    if spans.is_empty() {
        return;
    }
    let count = spans.len();
    let time = left.map_or(FLUSH_TIMEOUT, |left| FLUSH_TIMEOUT.min(left / 2));
    let sent = timeout(time, collector.send(spans))
        .await
        .unwrap_or(Err(ExportError::Timeout));
    if let Err(error) = sent {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(error, spans = count, "spans not sent: they are lost");
    }
}

impl Collector {
    async fn send(&self, spans: Vec<SpanData>) -> Result<(), ExportError> {
        let mut exporter = self.exporter.lock().await;
        let exporter = match &mut *exporter {
            Some(exporter) => exporter,
            none => none.insert(self.exporter()?),
        };
        Ok(exporter.export(spans).await?)
    }

    fn exporter(&self) -> Result<SpanExporter, ExportError> {
        let is_plain = self.endpoint.to_ascii_lowercase().starts_with("http:");
        let client = if is_plain {
            http_client::plain_client()?
        } else {
            http_client::client()?
        };
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{}/v1/traces", self.endpoint.trim_end_matches('/')))
            .with_http_client(client)
            // An answer waits for it: what is not taken at once is lost.
            .with_retry_policy(RetryPolicy::default().with_max_retries(0))
            .build()?;
        exporter.set_resource(&self.resource);
        Ok(exporter)
    }
}

impl FinishedSpans {
    fn take(&self) -> Vec<SpanData> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SpanProcessor for FinishedSpans {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spans.len() < MOST_SPANS {
            spans.push(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Who we are: the standard variables' word, else the package's name.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let found = Resource::builder().with_attribute(version.clone()).build();
    let name = found.get(&"service.name".into());
    let is_named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let named = || {
        Resource::builder()
            .with_service_name(env!("CARGO_PKG_NAME"))
            .with_attribute(version)
            .build()
    };
    if is_named { found } else { named() }
}

/// X-Ray's trace in the words of OpenTelemetry: `1-5bef4de7-ad49…` is the same 128 bits.
fn context(header: &str) -> Option<SpanContext> {
    let (seconds, random) = part(header, "Root")?.strip_prefix("1-")?.split_once('-')?;
    let trace_id = TraceId::from_hex(&format!("{seconds}{random}")).ok()?;
    let parent = SpanId::from_hex(part(header, "Parent")?).ok()?;
    let flags = TraceFlags::default().with_sampled(part(header, "Sampled") == Some("1"));
    let context = SpanContext::new(trace_id, parent, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x_rays_trace_is_ours() {
        let header = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1";
        let context = context(header).expect("a trace");
        assert_eq!(
            context.trace_id().to_string(),
            "5bef4de7ad49b0e87f6ef6c87fc2e700"
        );
        assert_eq!(context.span_id().to_string(), "9a9197af755a6419");
        assert!(context.is_sampled() && context.is_remote());
    }

    #[test]
    fn what_is_no_trace_begins_one_of_its_own() {
        for header in [
            "",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
            "Root=1-x-y;Parent=9a9197af755a6419",
            "Root=2;Parent=z",
        ] {
            assert!(context(header).is_none(), "{header}");
        }
    }
}
