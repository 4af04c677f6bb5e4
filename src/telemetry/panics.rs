//! A panic's line: where, and never what. The standard message may quote what was being read, a
//! contact's name or a secret.

use std::panic::PanicHookInfo;

/// Writes the line of a panic. Whoever catches it says whose it was.
pub(super) fn tell(panic: &PanicHookInfo<'_>) {
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
    fn a_panic_says_where_and_not_what() {
        let here = std::thread::current().id();
        let before = Arc::new(std::panic::take_hook());
        let others = Arc::clone(&before);
        // The other tests' panics are theirs.
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().id() == here {
                tell(panic);
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
