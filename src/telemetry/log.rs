//! Writes log lines: one flat JSON object each, or text. One event is one line with any values,
//! which come from producers and systems.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write as _};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::traces::TRACES;

/// The target of metrics: complete lines, written at every level.
pub(super) const METRICS: &str = "contact_sync::metrics";

/// Writes one line.
pub type LineWriter = Box<dyn Fn(&str) + Send + Sync>;

/// The format of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text, with the metrics' lines in between, where CloudWatch finds them too. The format of a
    /// function without a logging configuration.
    Text,
    /// Text for a terminal: without metrics, and without the ids of the invocation.
    Terminal,
}

/// Writes each event as a line, with the fields of the spans around it.
pub struct JsonLogLayer {
    level: Level,
    format: LogFormat,
    write: LineWriter,
    /// Whether another layer exports the spans of the target [`TRACES`].
    is_traced: bool,
}

impl fmt::Debug for JsonLogLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLogLayer")
            .field("level", &self.level)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// Installs logging to standard output for the process, and the export of spans to the collector at
/// `traces_to`. Without `format`, the format is text on a terminal and JSON elsewhere.
pub fn init(level: Level, format: Option<LogFormat>, traces_to: Option<&str>) {
    let format = match (format, std::io::stdout().is_terminal()) {
        (None | Some(LogFormat::Text), true) => LogFormat::Terminal,
        (format, _) => format.unwrap_or(LogFormat::Json),
    };
    let write: LineWriter = Box::new(|line| {
        let mut stdout = std::io::stdout().lock();
        // Without standard output there is no place to report the error.
        let _ = stdout.write_all(line.as_bytes());
    });
    let is_traced = cfg!(feature = "otel") && traces_to.is_some();
    let lines = JsonLogLayer {
        is_traced,
        ..JsonLogLayer::new(level, format, write)
    };
    let subscriber = tracing_subscriber::registry().with(lines);
    #[cfg(feature = "otel")]
    let subscriber = subscriber.with(traces_to.map(super::otlp::layer));
    // A second call keeps the subscriber of the first one.
    let _ = tracing::subscriber::set_global_default(subscriber);
    std::panic::set_hook(Box::new(super::panics::log));
    if traces_to.is_some() && !is_traced {
        tracing::warn!(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but this artifact is built without the feature \
             `otel`"
        );
    }
}

/// Returns the current time in the format of log lines.
pub(super) fn now() -> String {
    OffsetDateTime::now_utc()
        .format(&Rfc3339)
        .unwrap_or_default()
}

impl JsonLogLayer {
    /// Creates a layer that writes events of `level` and above. `write` gets each whole line, with
    /// its line feed.
    pub fn new(level: Level, format: LogFormat, write: LineWriter) -> Self {
        Self {
            level,
            format,
            write,
            is_traced: false,
        }
    }
}

/// The fields of a span for the lines within it, formatted.
struct SpanFields(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLogLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let level = match metadata.target() {
            METRICS => return true,
            TRACES => return self.is_traced,
            target if target.starts_with("contact_sync") => self.level,
            // Lines of libraries may quote the data that they process: only their warnings are
            // written. The runtime and the SDK return their errors as values anyway.
            _ => self.level.min(Level::WARN),
        };
        metadata.is_span() || *metadata.level() <= level
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let target = attributes.metadata().target();
        if !target.starts_with("contact_sync") || target == TRACES {
            return;
        }
        let mut fields = Fields::new(self.format);
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields.rest));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanFields(span_fields)) = span.extensions_mut().get_mut()
        {
            let mut fields = Fields::new(self.format);
            values.record(&mut fields);
            span_fields.push_str(&fields.rest);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new(self.format);
        event.record(&mut fields);
        let mut span_fields = String::new();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanFields(fields)) = span.extensions().get() {
                span_fields.push_str(fields);
            }
        }
        let level = event.metadata().level();
        let is_metrics = event.metadata().target() == METRICS;
        let line = match self.format {
            LogFormat::Terminal if is_metrics => return,
            LogFormat::Text if is_metrics => format!("{}\n", fields.message),
            LogFormat::Json if is_metrics => with_fields(&fields.message, &span_fields),
            LogFormat::Json => json(*level, &fields, &span_fields),
            LogFormat::Text => text(*level, &fields, &span_fields),
            LogFormat::Terminal => text(*level, &fields, ""),
        };
        (self.write)(&line);
    }
}

/// Appends the fields of the spans to a JSON object.
fn with_fields(object: &str, span_fields: &str) -> String {
    format!(
        "{}{span_fields}}}\n",
        object.strip_suffix('}').unwrap_or(object)
    )
}

fn json(level: Level, fields: &Fields, span_fields: &str) -> String {
    let (time, message, rest) = (now(), quoted(&fields.message), &fields.rest);
    let head = format!("\"timestamp\":\"{time}\",\"level\":\"{level}\",\"message\":{message}");
    format!("{{{head}{span_fields}{rest}}}\n")
}

fn text(level: Level, fields: &Fields, span_fields: &str) -> String {
    let time = now();
    let clock = time.get(11..19).unwrap_or_default();
    format!(
        "{clock} {level:<5} {}{}{span_fields}\n",
        escaped(&fields.message),
        fields.rest
    )
}

/// Escapes each character that ends a line or that controls a terminal.
fn escaped(text: &str) -> Cow<'_, str> {
    let is_plain = |char: char| !char.is_control() && !matches!(char, '\u{2028}' | '\u{2029}');
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        if is_plain(char) {
            escaped.push(char);
        } else {
            escaped.extend(char.escape_default());
        }
    }
    Cow::Owned(escaped)
}

/// Formats a field's value for a line of text. Quotes a value that could be read as further fields.
fn value(text: &str) -> Cow<'_, str> {
    let text = escaped(text);
    if text.contains(['=', '"']) {
        Cow::Owned(format!("\"{}\"", text.replace('"', "\\\"")))
    } else {
        text
    }
}

/// The fields of an event: the message, and the others as the tail of the line.
struct Fields {
    format: LogFormat,
    message: String,
    rest: String,
}

impl Fields {
    fn new(format: LogFormat) -> Self {
        Self {
            format,
            message: String::new(),
            rest: String::new(),
        }
    }

    fn add(&mut self, field: &Field, plain: &str, json: &str) {
        // Writing into a String cannot fail.
        let _ = match (field.name(), self.format) {
            ("message" | "line", _) => self.message.write_str(plain),
            (name, LogFormat::Json) => write!(self.rest, ",{}:{json}", quoted(name)),
            (name, LogFormat::Text | LogFormat::Terminal) => {
                write!(self.rest, " {name}={}", value(plain))
            }
        };
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value, &quoted(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        let text = value.to_string();
        self.add(field, &text, &text);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        let text = value.to_string();
        self.add(field, &text, &text);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        let text = value.to_string();
        self.add(field, &text, &text);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let text = if value.is_finite() {
            value.to_string()
        } else {
            "null".to_owned()
        };
        self.add(field, &text, &text);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let chain = chain(value);
        self.add(field, &chain, &quoted(&chain));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.add(field, &text, &quoted(&text));
    }
}

/// Formats an error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut chain = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(chain, ": {error}");
        cause = error.source();
    }
    chain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::telemetry::listener::lines;

    #[test]
    fn a_json_line_is_one_flat_object_with_the_spans_fields() {
        let written = lines(Level::INFO, LogFormat::Json, || {
            let span = tracing::info_span!(
                "invocation",
                request_id = "r-1",
                shard_id = tracing::field::Empty
            )
            .entered();
            let _call = tracing::info_span!(target: TRACES, "call", code = "of the call").entered();
            span.record("shard_id", "shardId-6");
            tracing::warn!(
                code = "X",
                count = 3,
                good = true,
                missing = None::<u64>,
                "a \"quoted\" word\nand more"
            );
            tracing::debug!("not written");
        });
        let [line] = written.as_slice() else {
            panic!("{written:?}")
        };
        assert_eq!(line.matches('\n').count(), 1);
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(line["message"], "a \"quoted\" word\nand more");
        assert_eq!(
            (&line["level"], &line["request_id"]),
            (&"WARN".into(), &"r-1".into())
        );
        assert_eq!(
            line["shard_id"], "shardId-6",
            "a field that the span gets later is written too"
        );
        assert_eq!(
            (&line["code"], &line["count"], &line["good"]),
            (&"X".into(), &3.into(), &true.into())
        );
        let time = line["timestamp"].as_str().expect("a time");
        assert!(OffsetDateTime::parse(time, &Rfc3339).is_ok(), "{time}");
    }

    #[test]
    fn metrics_are_written_at_every_level_and_not_on_a_terminal() {
        let work = || tracing::info!(target: METRICS, line = %"{}");
        assert_eq!(lines(Level::ERROR, LogFormat::Json, work), ["{}\n"]);
        assert_eq!(
            lines(Level::ERROR, LogFormat::Text, work),
            ["{}\n"],
            "CloudWatch reads them from text too"
        );
        assert!(lines(Level::INFO, LogFormat::Terminal, work).is_empty());
    }

    #[test]
    fn text_has_the_ids_of_its_invocation_except_on_a_terminal() {
        let work = || {
            let _in = tracing::info_span!("invocation", request_id = "r-1").entered();
            tracing::warn!(code = "X", "failed");
        };
        for (format, end) in [
            (LogFormat::Text, "WARN  failed code=X request_id=r-1\n"),
            (LogFormat::Terminal, "WARN  failed code=X\n"),
        ] {
            let written = lines(Level::INFO, format, work);
            assert!(
                written.len() == 1 && written[0].ends_with(end),
                "{written:?}"
            );
        }
    }

    /// Characters that end a line, or that control a terminal.
    const SPECIAL: [char; 16] = [
        '\0', '\u{7}', '\u{8}', '\t', '\n', '\u{b}', '\u{c}', '\r', '\u{1b}', '\u{1f}', '\u{7f}',
        '\u{85}', '\u{9b}', '\u{9f}', '\u{2028}', '\u{2029}',
    ];

    #[test]
    fn one_event_is_one_line_with_any_values() {
        let forged = "x\n{\"_aws\":{\"Timestamp\":1795000000000},\"RecordsFailed\":1000000}";
        let special: String = SPECIAL.iter().flat_map(|char| ['a', *char]).collect();
        let error: Box<dyn std::error::Error> = special.clone().into();
        let work = || {
            let _in = tracing::info_span!("invocation", shard_id = forged, request_id = %special)
                .entered();
            let list = [special.as_str()];
            tracing::warn!(
                event_id = forged,
                code = special,
                error = &*error,
                ?list,
                "{forged} {special}"
            );
        };
        for format in [LogFormat::Text, LogFormat::Terminal] {
            let written = lines(Level::INFO, format, work);
            let [line] = written.as_slice() else {
                panic!("{written:?}")
            };
            let line = line.strip_suffix('\n').expect("a whole line");
            assert!(!line.contains(SPECIAL), "{line:?}");
            assert!(
                line.contains("x\\n{\"_aws\"") && line.contains("a\\u{1b}a"),
                "{line}"
            );
        }
        let written = lines(Level::INFO, LogFormat::Json, work);
        let [line] = written.as_slice() else {
            panic!("{written:?}")
        };
        assert!(
            line.ends_with('\n') && line.bytes().filter(|byte| *byte < b' ').count() == 1,
            "{line:?}"
        );
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(
            (&line["event_id"], &line["code"]),
            (&forged.into(), &special.into())
        );
    }

    proptest! {
        #[test]
        fn no_text_ends_its_line_or_controls_a_terminal(
            text in "(.|[\\x00-\\x1f\\x7f-\\x9f\u{2028}\u{2029}]){0,40}"
        ) {
            let shown = escaped(&text);
            let is_special = |text: &str| text.contains(SPECIAL) || text.contains(char::is_control);
            prop_assert!(!is_special(&shown), "{:?}", shown);
            prop_assert!(is_special(&text) || shown == text);
        }
    }

    #[test]
    fn no_value_reads_as_another_field_of_its_line() {
        for (value, expected) in [
            ("c-1", "contact_id=c-1"),
            ("c 1", "contact_id=c 1"),
            ("c-1 fate=delivered", "contact_id=\"c-1 fate=delivered\""),
            (
                "c-1\" fate=delivered",
                "contact_id=\"c-1\\\" fate=delivered\"",
            ),
        ] {
            let written = lines(Level::INFO, LogFormat::Text, || {
                tracing::warn!(contact_id = value, "settled");
            });
            assert!(
                written[0].ends_with(&format!("settled {expected}\n")),
                "{written:?}"
            );
        }
    }

    #[test]
    fn lines_of_libraries_are_written_from_warnings_on() {
        let written = lines(Level::TRACE, LogFormat::Text, || {
            tracing::info!(target: "hyper", "detail");
            tracing::warn!(target: "hyper", "failed");
            tracing::debug!("ours");
        });
        assert_eq!(written.len(), 2, "{written:?}");
    }
}
