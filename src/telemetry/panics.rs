//! Logs the place of a panic, and never its message: the message may quote the data that was read,
//! a contact's name or a secret.

use std::panic::PanicHookInfo;

/// Logs a panic. The code that catches the panic logs the affected record.
pub(super) fn log(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    tracing::error!(place, "panic inside contact-sync");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::telemetry::LogFormat;
    use crate::telemetry::listener::lines;

    #[test]
    fn a_panic_is_logged_with_its_place_and_without_its_message() {
        let here = std::thread::current().id();
        let before = Arc::new(std::panic::take_hook());
        let others = Arc::clone(&before);
        // Panics of other tests keep the hook from before.
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().id() == here {
                log(panic);
            } else {
                others(panic);
            }
        }));
        let (name, token) = (String::from("Zoë"), "pat-na1-1234");
        let lines = lines(tracing::Level::ERROR, LogFormat::Json, || {
            let cut = std::panic::catch_unwind(|| name[..3].len());
            assert!(cut.is_err());
            let refused = std::panic::catch_unwind(|| panic!("not a header: Bearer {token}"));
            assert!(refused.is_err());
        });
        std::panic::set_hook(Box::new(move |panic| before(panic)));
        assert_eq!(lines.len(), 2, "{lines:?}");
        for line in lines {
            assert!(
                line.contains("panics.rs:") && line.contains("\"level\":\"ERROR\""),
                "{line}"
            );
            assert!(!line.contains("Zo") && !line.contains(token), "{line}");
        }
    }
}
