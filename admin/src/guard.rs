//! The destinations at which no guard keeps an older change from overwriting a newer one.

use contact_sync::settings::{Settings, missing_guards};

/// Returns the lines that name them.
pub(crate) fn notes(settings: &Settings) -> Vec<String> {
    let mut notes = Vec::new();
    for (destination, why) in missing_guards(settings) {
        notes
            .push(format!("no guard holds for {destination} ({why}): an older change can overwrite a newer one there"));
    }
    notes
}
