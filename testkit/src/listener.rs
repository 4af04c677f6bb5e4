//! Collects the log lines of a test.
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
    /// Collected lines of the listener of this thread.
    static LISTENER: RefCell<Option<Arc<Collected>>> = const { RefCell::new(None) };
}

/// Second subscriber of the process, which is interested in no event. With two subscribers each
/// callsite queries both, and their answers differ: no callsite is cached as enabled or disabled.
static UNINTERESTED: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

static INSTALLED: Once = Once::new();

/// Form of a listener's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `LEVEL name=value …` of every event, of the libraries too.
    Fields,
    /// The function's own JSON lines at every level, with the fields of the spans.
    Json,
}

#[derive(Debug)]
struct Collected {
    form: Form,
    lines: Mutex<Vec<String>>,
}

/// Collects the lines that its thread logs until it is dropped.
#[derive(Debug)]
pub struct Listener {
    collected: Arc<Collected>,
    previous: Option<Arc<Collected>>,
}

/// Starts to collect the fields of every event, at every level.
pub fn listen() -> Listener {
    Listener::new(Form::Fields)
}

impl Listener {
    /// Replaces the thread's listener until this one is dropped.
    ///
    /// # Panics
    ///
    /// On a runtime of several threads, whose events would be lost.
    pub fn new(form: Form) -> Self {
        if let Ok(runtime) = Handle::try_current() {
            assert_eq!(
                runtime.runtime_flavor(),
                RuntimeFlavor::CurrentThread,
                "a listener collects the lines of one thread"
            );
        }
        INSTALLED.call_once(install);
        let collected = Arc::new(Collected {
            form,
            lines: Mutex::default(),
        });
        Self {
            previous: LISTENER.replace(Some(Arc::clone(&collected))),
            collected,
        }
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines_after(0)
    }

    /// Returns all lines but the first `count`.
    pub fn lines_after(&self, count: usize) -> Vec<String> {
        self.collected
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)[count..]
            .to_vec()
    }

    /// Returns the lines of one level.
    pub fn at(&self, level: &str) -> Vec<String> {
        self.lines()
            .into_iter()
            .filter(|line| line.starts_with(level))
            .collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        LISTENER.set(self.previous.take());
    }
}

/// Installs the subscriber of the process. The order matters: `tracing` skips all callsites until
/// the second subscriber exists.
fn install() {
    LazyLock::force(&UNINTERESTED);
    let json = JsonLogLayer::new(Level::TRACE, LogFormat::Json, Box::new(write));
    let subscriber = tracing_subscriber::registry()
        .with(json.with_filter(dynamic_filter_fn(|_, _| collects(Form::Json))))
        .with(FieldLines.with_filter(dynamic_filter_fn(|_, _| collects(Form::Fields))));
    tracing::subscriber::set_global_default(subscriber).expect("the only one");
}

/// Returns whether the listener of this thread collects lines of this form.
fn collects(form: Form) -> bool {
    LISTENER.with_borrow(|listener| {
        listener
            .as_ref()
            .is_some_and(|collected| collected.form == form)
    })
}

fn write(line: &str) {
    LISTENER.with_borrow(|listener| {
        if let Some(collected) = listener {
            collected
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
