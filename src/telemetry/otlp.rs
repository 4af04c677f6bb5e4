//! Exports spans to an OpenTelemetry collector at the end of each invocation. Lambda freezes the
//! process between two invocations, so that the SDK's periodic export thread would send only after
//! the thaw.

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
use crate::http_client::{self, ExtraRoots};

/// Bound of the time that a response waits for the export. A collector on the same machine takes a
/// few milliseconds.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(250);

/// Bound of the spans of an invocation. A batch of 1,000 records has some dozen, and some hundreds
/// where a system refuses whole batches.
const MAX_SPANS: usize = 2048;

static COLLECTOR: OnceLock<Collector> = OnceLock::new();

/// Further root certificates for the collector. They are read after the layer is built, which logs
/// a file that cannot be read.
static EXTRA_ROOTS: OnceLock<ExtraRoots> = OnceLock::new();

/// The collector of spans.
struct Collector {
    endpoint: String,
    resource: Resource,
    ended: FinishedSpans,
    /// Built at the first flush: a client reads the root certificates, for which a cold start must
    /// not wait.
    exporter: tokio::sync::Mutex<Option<SpanExporter>>,
}

/// Finished spans of the current invocation.
#[derive(Clone, Debug, Default)]
struct FinishedSpans(Arc<Mutex<Vec<SpanData>>>);

/// Spans were not sent.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("no response in time")]
    Timeout,
    #[error(transparent)]
    Client(#[from] reqwest::Error),
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
    #[error(transparent)]
    Refused(#[from] OTelSdkError),
}

/// Builds the layer that converts the spans of contact-sync to those of OpenTelemetry, for the
/// collector at `endpoint`.
pub(super) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(endpoint: &str) -> impl Layer<S> {
    let ended = FinishedSpans::default();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource())
        // Lambda's header has X-Ray's decision.
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_span_processor(ended.clone())
        .build();
    let collector = Collector {
        endpoint: endpoint.to_owned(),
        resource: resource(),
        ended,
        exporter: tokio::sync::Mutex::default(),
    };
    // A second call keeps the collector of the first one.
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

/// Trusts further root certificates in the calls of the collector. A later call changes nothing.
pub(super) fn trust(extra: &ExtraRoots) {
    let _ = EXTRA_ROOTS.set(extra.clone());
}

/// Sets the span of Lambda that `header` names as the parent of an invocation's `span`.
pub(super) fn adopt(span: &tracing::Span, header: &str) {
    if let Some(parent) = context(header) {
        // The error means that no layer exports the span.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// Sends the finished spans.
pub(super) async fn flush(left: Option<Duration>) {
    let Some(collector) = COLLECTOR.get() else {
        return;
    };
    let spans = collector.ended.take();
    if spans.is_empty() {
        return;
    }
    let count = spans.len();
    let time = match left {
        Some(left) => FLUSH_TIMEOUT.min(left / 2),
        None => FLUSH_TIMEOUT,
    };
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
            let none = ExtraRoots::default();
            http_client::client_trusting(EXTRA_ROOTS.get().unwrap_or(&none))?
        };
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{}/v1/traces", self.endpoint.trim_end_matches('/')))
            .with_http_client(client)
            // A response waits for the export: there is no time for a second attempt.
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
        if spans.len() < MAX_SPANS {
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

/// Returns the resource of the standard variables, with the package's name as the default.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let found = Resource::builder().with_attribute(version.clone()).build();
    let name = found.get(&"service.name".into());
    if name.is_some_and(|name| !name.as_str().starts_with("unknown_service")) {
        return found;
    }
    Resource::builder()
        .with_service_name(env!("CARGO_PKG_NAME"))
        .with_attribute(version)
        .build()
}

/// Converts X-Ray's header to a context of OpenTelemetry. The trace `1-5bef4de7-ad49…` is the same
/// 128 bits.
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
    fn x_rays_header_gives_the_parent_span() {
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
    fn an_invalid_header_gives_no_parent_span() {
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
