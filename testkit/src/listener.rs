//! Collects what a test logs.
//!
//! A test process has one subscriber. It passes each event to the listener of the thread that logs
//! the event. A test runs on a thread of its own, and so does its runtime: every listening test has
//! a runtime of one thread. Events of threads without a listener are dropped.
//!
//! A subscriber for each test loses events. `tracing` caches at a callsite whether its subscriber
//! is interested. As long as one subscriber exists, the thread that reaches a callsite first
//! decides: a thread without a subscriber disables the callsite for all threads.
//! <https://docs.rs/tracing-core/0.1.36/tracing_core/callsite/index.html>

use std::cell::RefCell;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, LazyLock, Mutex, Once, PoisonError};

use contact_sync::telemetry::{JsonLogLayer, LogFormat};
use tokio::runtime::{Handle, RuntimeFlavor};
use tracing::field::{Field, Visit};
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

thread_local! {
    /// The lines of the listener of this thread.
    static LISTENER: RefCell<Option<Arc<Heard>>> = const { RefCell::new(None) };
}

/// Keeps `tracing` from having one subscriber only, so that each callsite asks all of them. One is
/// interested in nothing, the other may be interested: no callsite is cached as enabled or
/// disabled.
static UNINTERESTED: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

static INSTALLED: Once = Once::new();

/// The form of a listener's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `LEVEL name=value …` of every event, of the libraries too.
    Fields,
    /// The function's own JSON lines at every level, with the fields of the spans.
    Json,
}

#[derive(Debug)]
struct Heard {
    form: Form,
    lines: Mutex<Vec<String>>,
}

/// Collects the lines that its thread logs until it is dropped.
#[derive(Debug)]
pub struct Listener {
    heard: Arc<Heard>,
    before: Option<Arc<Heard>>,
}

/// Begins to listen to the fields of every event, at every level.
pub fn listen() -> Listener {
    Listener::new(Form::Fields)
}

impl Listener {
    /// Takes the place of the thread's listener, which returns when this one is dropped.
    ///
    /// # Panics
    ///
    /// On a runtime of several threads, whose events would be lost.
    pub fn new(form: Form) -> Self {
        if let Ok(runtime) = Handle::try_current() {
            assert_eq!(
                runtime.runtime_flavor(),
                RuntimeFlavor::CurrentThread,
                "it hears one thread"
            );
        }
        INSTALLED.call_once(install);
        let heard = Arc::new(Heard {
            form,
            lines: Mutex::default(),
        });
        Self {
            before: LISTENER.replace(Some(Arc::clone(&heard))),
            heard,
        }
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines_after(0)
    }

    /// All lines but the first `count`.
    pub fn lines_after(&self, count: usize) -> Vec<String> {
        self.heard
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)[count..]
            .to_vec()
    }

    /// The lines of one level.
    pub fn at(&self, level: &str) -> Vec<String> {
        self.lines()
            .into_iter()
            .filter(|line| line.starts_with(level))
            .collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        LISTENER.set(self.before.take());
    }
}

/// Installs the subscriber of the process. The order matters: `tracing` skips all callsites until
/// the second subscriber exists.
fn install() {
    LazyLock::force(&UNINTERESTED);
    let json = JsonLogLayer::new(Level::TRACE, LogFormat::Json, Box::new(write));
    let subscriber = tracing_subscriber::registry()
        .with(json.with_filter(dynamic_filter_fn(|_, _| is_heard_as(Form::Json))))
        .with(FieldLines.with_filter(dynamic_filter_fn(|_, _| is_heard_as(Form::Fields))));
    tracing::subscriber::set_global_default(subscriber).expect("the only one");
}

fn is_heard_as(form: Form) -> bool {
    LISTENER.with_borrow(|heard| heard.as_ref().is_some_and(|heard| heard.form == form))
}

fn write(line: &str) {
    LISTENER.with_borrow(|heard| {
        if let Some(heard) = heard {
            heard
                .lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line.to_owned());
        }
    });
}

struct FieldLines;

impl<S: Subscriber> Layer<S> for FieldLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        write(&line.0);
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to memory cannot fail.
        let _ = write!(self.0, " {field}={value:?}");
    }
}
