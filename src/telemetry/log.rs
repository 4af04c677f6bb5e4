//! Log lines: one flat JSON object each, or text for people. One event is one line, whatever its
//! values hold: they come from producers and systems.

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

/// The target of metrics: complete lines, which no level holds back.
pub(super) const METRICS: &str = "contact_sync::metrics";

/// Where lines go.
pub type LineWriter = Box<dyn Fn(&str) + Send + Sync>;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people, with the metrics' lines in between: CloudWatch finds them there too, and a
    /// function without a logging configuration writes so.
    Text,
    /// For people at a terminal: no metrics, and no ids of the one invocation that they see.
    Terminal,
}

/// Writes every event as a line, with the fields of the spans around it.
pub struct JsonLogLayer {
    level: Level,
    look: LogFormat,
    write: LineWriter,
    /// Whether somebody else makes traces of the spans that no line carries.
    is_traced: bool,
}

impl fmt::Debug for JsonLogLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLogLayer")
            .field("level", &self.level)
            .field("look", &self.look)
            .finish_non_exhaustive()
    }
}

/// Logs to standard output from here on, for the whole process, and sends spans to the collector at
/// `traces_to`. Without `look`, text on a terminal and JSON elsewhere.
pub fn init(level: Level, look: Option<LogFormat>, traces_to: Option<&str>) {
    let look = match (look, std::io::stdout().is_terminal()) {
        (None | Some(LogFormat::Text), true) => LogFormat::Terminal,
        (look, _) => look.unwrap_or(LogFormat::Json),
    };
    let write: LineWriter = Box::new(|line| {
        let mut stdout = std::io::stdout().lock();
        // Nobody is left to tell where standard output is gone.
        let _ = stdout.write_all(line.as_bytes());
    });
    let is_traced = cfg!(feature = "otel") && traces_to.is_some();
    let lines = JsonLogLayer {
        is_traced,
        ..JsonLogLayer::new(level, look, write)
    };
    let subscriber = tracing_subscriber::registry().with(lines);
    #[cfg(feature = "otel")]
    let subscriber = subscriber.with(traces_to.map(super::otlp::layer));
    // A second call changes nothing: the first one's choice stands.
    let _ = tracing::subscriber::set_global_default(subscriber);
    std::panic::set_hook(Box::new(super::panics::tell));
    if traces_to.is_some() && !is_traced {
        tracing::warn!(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but this artifact is built without the feature `otel`"
        );
    }
}

/// The time as log lines and dead letters give it.
pub(super) fn now() -> String {
    OffsetDateTime::now_utc()
        .format(&Rfc3339)
        .unwrap_or_default()
}

impl JsonLogLayer {
    /// Writes events of `level` and above as lines through `write`, which gets each whole, with its line feed.
    pub fn new(level: Level, look: LogFormat, write: LineWriter) -> Self {
        Self {
            level,
            look,
            write,
            is_traced: false,
        }
    }
}

/// What spans carry to the lines within them, written as the look wants it.
struct SpanFields(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for JsonLogLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let level = match metadata.target() {
            METRICS => return true,
            TRACES => return self.is_traced,
            target if target.starts_with("contact_sync") => self.level,
            // The libraries' own chatter may quote what they carry: only their warnings are let
            // through, and the runtime's and the SDK's errors reach us as values anyway.
            _ => self.level.min(Level::WARN),
        };
        metadata.is_span() || *metadata.level() <= level
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let target = attributes.metadata().target();
        if !target.starts_with("contact_sync") || target == TRACES {
            return;
        }
        let mut fields = Fields::new(self.look);
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields.rest));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanFields(carried)) = span.extensions_mut().get_mut()
        {
            let mut fields = Fields::new(self.look);
            values.record(&mut fields);
            carried.push_str(&fields.rest);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new(self.look);
        event.record(&mut fields);
        let mut carried = String::new();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanFields(fields)) = span.extensions().get() {
                carried.push_str(fields);
            }
        }
        let level = event.metadata().level();
        let is_metrics = event.metadata().target() == METRICS;
        let line = match self.look {
            LogFormat::Terminal if is_metrics => return,
            LogFormat::Text if is_metrics => format!("{}\n", fields.message),
            LogFormat::Json if is_metrics => with_fields(&fields.message, &carried),
            LogFormat::Json => json(*level, &fields, &carried),
            LogFormat::Text => text(*level, &fields, &carried),
            LogFormat::Terminal => text(*level, &fields, ""),
        };
        (self.write)(&line);
    }
}

/// A whole JSON object, with what its spans carry at its end.
fn with_fields(object: &str, carried: &str) -> String {
    format!(
        "{}{carried}}}\n",
        object.strip_suffix('}').unwrap_or(object)
    )
}

fn json(level: Level, fields: &Fields, carried: &str) -> String {
    let (time, message, rest) = (now(), quoted(&fields.message), &fields.rest);
    format!(
        "{{\"timestamp\":\"{time}\",\"level\":\"{level}\",\"message\":{message}{carried}{rest}}}\n"
    )
}

fn text(level: Level, fields: &Fields, carried: &str) -> String {
    let time = now();
    let clock = time.get(11..19).unwrap_or_default();
    format!(
        "{clock} {level:<5} {}{}{carried}\n",
        escaped(&fields.message),
        fields.rest
    )
}

/// Returns `text` with each character escaped that ends a line or that a terminal obeys.
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

/// Returns a field's value for a line of text. One that could be read as further fields stands in
/// quotation marks.
fn value(text: &str) -> Cow<'_, str> {
    let text = escaped(text);
    if text.contains(['=', '"']) {
        Cow::Owned(format!("\"{}\"", text.replace('"', "\\\"")))
    } else {
        text
    }
}

/// Collects an event's fields: the message, and the others as the line's tail.
struct Fields {
    look: LogFormat,
    message: String,
    rest: String,
}

impl Fields {
    fn new(look: LogFormat) -> Self {
        Self {
            look,
            message: String::new(),
            rest: String::new(),
        }
    }

    fn add(&mut self, field: &Field, plain: &str, json: &str) {
        // Writing into a String cannot fail.
        let _ = match (field.name(), self.look) {
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

/// An error and what caused it, in one line.
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
    fn a_line_is_one_flat_object_with_the_spans_fields() {
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
            "what is found out later is carried too"
        );
        assert_eq!(
            (&line["code"], &line["count"], &line["good"]),
            (&"X".into(), &3.into(), &true.into())
        );
        let time = line["timestamp"].as_str().expect("a time");
        assert!(OffsetDateTime::parse(time, &Rfc3339).is_ok(), "{time}");
    }

    #[test]
    fn metrics_pass_every_level_and_stay_off_the_terminal() {
        let speak = || tracing::info!(target: METRICS, line = %"{}");
        assert_eq!(lines(Level::ERROR, LogFormat::Json, speak), ["{}\n"]);
        assert_eq!(
            lines(Level::ERROR, LogFormat::Text, speak),
            ["{}\n"],
            "CloudWatch reads them from text too"
        );
        assert!(lines(Level::INFO, LogFormat::Terminal, speak).is_empty());
    }

    #[test]
    fn text_has_the_ids_of_its_invocation_but_for_the_one_at_a_terminal() {
        let speak = || {
            let _in = tracing::info_span!("invocation", request_id = "r-1").entered();
            tracing::warn!(code = "X", "trouble");
        };
        for (look, end) in [
            (LogFormat::Text, "WARN  trouble code=X request_id=r-1\n"),
            (LogFormat::Terminal, "WARN  trouble code=X\n"),
        ] {
            let written = lines(Level::INFO, look, speak);
            assert!(
                written.len() == 1 && written[0].ends_with(end),
                "{written:?}"
            );
        }
    }

    /// Characters that end a line somewhere, or that a terminal obeys.
    const SPECIAL: [char; 16] = [
        '\0', '\u{7}', '\u{8}', '\t', '\n', '\u{b}', '\u{c}', '\r', '\u{1b}', '\u{1f}', '\u{7f}',
        '\u{85}', '\u{9b}', '\u{9f}', '\u{2028}', '\u{2029}',
    ];

    #[test]
    fn one_event_is_one_line_whatever_its_values_hold() {
        let forged = "x\n{\"_aws\":{\"Timestamp\":1795000000000},\"RecordsFailed\":1000000}";
        let special: String = SPECIAL.iter().flat_map(|char| ['a', *char]).collect();
        let error: Box<dyn std::error::Error> = special.clone().into();
        let speak = || {
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
        for look in [LogFormat::Text, LogFormat::Terminal] {
            let written = lines(Level::INFO, look, speak);
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
        let written = lines(Level::INFO, LogFormat::Json, speak);
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
        fn no_text_ends_its_line_or_is_obeyed_by_a_terminal(text in "(.|[\\x00-\\x1f\\x7f-\\x9f\u{2028}\u{2029}]){0,40}") {
            let shown = escaped(&text);
            prop_assert!(!shown.contains(SPECIAL) && !shown.contains(char::is_control), "{:?}", shown);
            prop_assert!(text.contains(char::is_control) || text.contains(SPECIAL) || shown == text);
        }
    }

    #[test]
    fn no_value_is_read_as_another_field_of_its_line() {
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
    fn libraries_are_heard_from_warnings_on() {
        let written = lines(Level::TRACE, LogFormat::Text, || {
            tracing::info!(target: "hyper", "chatter");
            tracing::warn!(target: "hyper", "trouble");
            tracing::debug!("ours");
        });
        assert_eq!(written.len(), 2, "{written:?}");
    }
}
