//! Collects the lines that a unit test logs.

use std::sync::{Arc, LazyLock, Mutex};

use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Level};
use tracing_subscriber::layer::SubscriberExt;

use super::{JsonLogLayer, LogFormat};

/// Two subscribers that exist as long as the process: one is interested in nothing, the other in
/// everything. `tracing` caches at a callsite whether all subscribers agree. With these two they
/// never agree, so that each event asks the subscriber of its own thread. Without them, a test that
/// reaches a callsite first and has no subscriber disables the callsite for the other tests.
static DISAGREEING: LazyLock<[Dispatch; 2]> = LazyLock::new(|| {
    [
        Dispatch::new(NoSubscriber::new()),
        Dispatch::new(tracing_subscriber::registry()),
    ]
});

/// Returns the lines that `work` logs on this thread.
pub(super) fn lines(level: Level, look: LogFormat, work: impl FnOnce()) -> Vec<String> {
    LazyLock::force(&DISAGREEING);
    let written = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&written);
    let write = move |line: &str| sink.lock().expect("sound").push(line.to_owned());
    let layer = JsonLogLayer::new(level, look, Box::new(write));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    written.lock().expect("sound").clone()
}
