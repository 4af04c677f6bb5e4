//! Collects the lines that a unit test logs.

use std::sync::{Arc, LazyLock, Mutex};

use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Level};
use tracing_subscriber::layer::SubscriberExt;

use super::{JsonLogLayer, LogFormat};

/// Two subscribers that exist as long as the process: one accepts no event, the other every event.
/// `tracing` caches at a callsite whether all subscribers agree. These two never agree, so that
/// each event queries the subscriber of its own thread. Without them, a test without a subscriber
/// that reaches a callsite first disables the callsite for the other tests.
static DISAGREEING: LazyLock<[Dispatch; 2]> = LazyLock::new(|| {
    [
        Dispatch::new(NoSubscriber::new()),
        Dispatch::new(tracing_subscriber::registry()),
    ]
});

/// Returns the lines that `work` logs on this thread.
pub(super) fn lines(level: Level, format: LogFormat, work: impl FnOnce()) -> Vec<String> {
    LazyLock::force(&DISAGREEING);
    let written = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&written);
    let write = move |line: &str| lines.lock().expect("sound").push(line.to_owned());
    let layer = JsonLogLayer::new(level, format, Box::new(write));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    written.lock().expect("sound").clone()
}
