//! Notes about destinations without a guard that keeps older changes from overwriting newer ones.

use contact_sync::settings::{Settings, missing_guards};

/// Returns a note for each destination without a guard.
pub(crate) fn notes(settings: &Settings) -> Vec<String> {
    let mut notes = Vec::new();
    for (destination, reason) in missing_guards(settings) {
        notes.push(format!(
            "no guard holds for {destination} ({reason}): \
             an older change can overwrite a newer one there"
        ));
    }
    notes
}
