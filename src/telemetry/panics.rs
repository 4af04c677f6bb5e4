//! A panic's line: where, and never what. The standard message may quote what was being read, a contact's name or a
//! secret.

use std::panic::PanicHookInfo;

/// Writes the line of a panic. Whoever catches it says whose it was.
pub(super) fn tell(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    tracing::error!(place, "panic inside contact-sync");
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::telemetry::{Lines, Look};

    #[test]
    fn a_panic_says_where_and_not_what() {
        let written = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&written);
        let lines = Lines::new(
            tracing::Level::ERROR,
            Look::Json,
            Box::new(move |line| sink.lock().expect("sound").push_str(line)),
        );
        let here = std::thread::current().id();
        let before = Arc::new(std::panic::take_hook());
        let others = Arc::clone(&before);
        // The other tests' panics are theirs.
        std::panic::set_hook(Box::new(
            move |panic| {
                if std::thread::current().id() == here { tell(panic) } else { others(panic) }
            },
        ));
        let (name, token) = (String::from("Zoë"), "pat-na1-1234");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let cut = std::panic::catch_unwind(|| name[..3].len());
            assert!(cut.is_err());
            let refused = std::panic::catch_unwind(|| panic!("not a header: Bearer {token}"));
            assert!(refused.is_err());
        });
        std::panic::set_hook(Box::new(move |panic| before(panic)));
        let lines = written.lock().expect("sound").clone();
        assert_eq!(lines.lines().count(), 2, "{lines}");
        for line in lines.lines() {
            assert!(line.contains("panics.rs:") && line.contains("\"level\":\"ERROR\""), "{line}");
            assert!(!line.contains("Zo") && !line.contains(token), "{line}");
        }
    }
}
