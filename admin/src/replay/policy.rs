//! Decides which records are put back into the stream, and with which bytes. Does no I/O.

use std::borrow::Cow;

use contact_sync::adapters::{Registry, Section};
use contact_sync::model::{ContactChange, Record, Refusal};
use contact_sync::route::Router;
use contact_sync::settings::Settings;
use contact_sync::source::layers::decompressed;
use contact_sync::source::{Decoded, RecordDecoder};
use contact_sync::transform::GuardMode;
use time::OffsetDateTime;

use super::super::deployment::names;
use super::super::filter::Filter;
use super::super::replay_flag::{UnflaggableError, set_replay_flag};

/// Policy of a replay, from the settings and the options.
#[derive(Debug)]
pub(super) struct ReplayPolicy {
    /// Decodes records in the format of the settings.
    decoder: RecordDecoder,
    filter: Filter,
    router: Router,
    /// Names of the destinations, in the order of the router's indexes.
    destinations: Vec<&'static str>,
    /// Reason why an older change can overwrite a newer one at each destination.
    unguarded: Vec<Option<Cow<'static, str>>>,
    force: bool,
    /// Whether records that the function rejects again are put back.
    allows_rejected: bool,
}

/// Context of a record besides its data.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RecordContext<'a> {
    /// Destination that rejected the record.
    pub(super) rejected_by: Option<&'a str>,
    /// Code with which the record was rejected before it was sent to any destination.
    pub(super) rejected_unsent: Option<&'a str>,
    /// Whether the filters of contacts and destinations have selected the record already.
    pub(super) is_selected: bool,
    /// Whether the data contains other records too.
    pub(super) is_part: bool,
    /// Whether the record is marked as put back beside its data, which stays as it is.
    pub(super) is_marked: bool,
    /// The record as the function would get it; made of the data alone where it is absent.
    pub(super) record: Option<&'a Record<'a>>,
}

/// Decision about a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReplayDecision {
    /// The record is put back with these bytes.
    PutBack(Vec<u8>),
    /// The filters exclude the record.
    Filtered,
    /// The record is not put back, for this reason.
    Skipped(Cow<'static, str>),
    /// The record is not put back: the function would reject it again, with this code.
    RejectedAgain(String),
}

const AGGREGATE: &str = "it is a KPL aggregate of several records and cannot be flagged; \
                         --force puts it back unmodified";
const NO_OBJECT: &str =
    "it is not a JSON object and cannot be flagged; --force puts it back unmodified";
const GUARD_OFF: &str = "guard.mode is off: it could overwrite a newer change; \
                         --force puts it back regardless";
impl ReplayPolicy {
    /// Builds the policy.
    pub(super) fn new(
        registry: Registry,
        settings: &Settings,
        filter: &Filter,
        force: bool,
    ) -> Self {
        let destinations = names(registry);
        let sections = destinations.iter().map(|name| settings.systems.named(name));
        Self {
            decoder: RecordDecoder::new(&settings.source),
            filter: filter.clone(),
            router: Router::new(&settings.routes, &settings.filter.types, &destinations),
            unguarded: sections
                .map(|section| unguarded(section?, settings.guard.mode))
                .collect(),
            destinations,
            force,
            allows_rejected: force,
        }
    }

    /// Allows records that the function rejects again to be put back.
    pub(super) fn allow_rejected(&mut self) {
        self.allows_rejected = true;
    }

    /// Decides whether a record with this data is put back. Its change is sent to all destinations
    /// of its type, independent of the destination that rejected it. A dead letter that the
    /// function rejects again is not put back. Records of a discarded batch or of the stream may
    /// never have been validated: an invalid one is put back, and becomes a dead letter.
    pub(super) fn decide(&self, data: &[u8], context: RecordContext<'_>) -> ReplayDecision {
        let change = self.change(data, context.record);
        let rejected_again = rejected_again(&change, context);
        let change = change.ok().flatten();
        let routed = change
            .as_ref()
            .and_then(|change| self.router.route(change).ok())
            .unwrap_or_default();
        let rejected_by = self
            .destinations
            .iter()
            .position(|name| context.rejected_by == Some(*name));
        if !context.is_selected {
            let names: Vec<&str> = routed.iter().map(|at| self.destinations[*at]).collect();
            let contact = change.as_ref().map(|change| change.contact.id.as_str());
            if !self.filter.matches_change(contact, &names) {
                return ReplayDecision::Filtered;
            }
        }
        if let (false, Some(code)) = (self.allows_rejected, &rejected_again) {
            return ReplayDecision::RejectedAgain(code.clone());
        }
        if !self.force
            && let Some(reason) = routed
                .iter()
                .chain(&rejected_by)
                .find_map(|at| self.unguarded[*at].clone())
        {
            return ReplayDecision::Skipped(reason);
        }
        if context.is_marked {
            return ReplayDecision::PutBack(data.to_vec());
        }
        // Compressed data has no place for the flag, and is put back decompressed.
        let plain = decompressed(data);
        let unflaggable = match set_replay_flag(plain.as_deref().unwrap_or(data)) {
            Ok(flagged) if !context.is_part => return ReplayDecision::PutBack(flagged),
            Ok(_) | Err(UnflaggableError::Aggregate) => AGGREGATE,
            Err(UnflaggableError::NoObject) => NO_OBJECT,
        };
        // A record that is rejected again overwrites nothing, and needs no flag.
        if self.force || (self.allows_rejected && rejected_again.is_some()) {
            ReplayDecision::PutBack(data.to_vec())
        } else {
            ReplayDecision::Skipped(unflaggable.into())
        }
    }
}

impl ReplayPolicy {
    /// Decodes the change of a record; `None` for one that the function filters. The record would
    /// arrive again at the current time.
    fn change(
        &self,
        data: &[u8],
        record: Option<&Record<'_>>,
    ) -> Result<Option<Box<ContactChange>>, Box<Refusal>> {
        let now = OffsetDateTime::now_utc();
        let decoded = if let Some(record) = record {
            self.decoder.decode(record, now)
        } else {
            let text = base64_simd::STANDARD.encode_to_string(data);
            self.decoder.decode(&Record::of_data(text), now)
        };
        Ok(match decoded? {
            Decoded::Change(change) => Some(change),
            Decoded::Filtered(_) => None,
        })
    }
}

/// Returns the reason why an older change can overwrite a newer one at a destination.
fn unguarded(section: &Section, mode: GuardMode) -> Option<Cow<'static, str>> {
    if mode == GuardMode::Off {
        return Some(GUARD_OFF.into());
    }
    if !section.settings().version_field().is_empty() {
        return None;
    }
    let (key, label) = (section.system.version_key, section.system.label);
    let reason = format!(
        "{key} is empty: it could overwrite a newer change in {label}; \
         --force puts it back regardless"
    );
    Some(reason.into())
}

/// Returns the code with which the function rejects the record of a dead letter again, if it does.
/// If its data is a valid change, returns the code of the dead letter itself: the values may not
/// fit the destination.
fn rejected_again(
    change: &Result<Option<Box<ContactChange>>, Box<Refusal>>,
    context: RecordContext<'_>,
) -> Option<String> {
    // The data of a part is that of its whole aggregate.
    if !context.is_selected || context.is_part {
        return None;
    }
    match change {
        Err(refusal) => Some(refusal.rejection.code.to_string()),
        Ok(_) => context.rejected_unsent.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use contact_sync::adapters::{DESTINATIONS, REGISTRY};
    use contact_sync::settings::{Layer, Preset, load};

    use super::*;

    fn policy(document: &str, filter: &[&str], force: bool) -> ReplayPolicy {
        #[derive(clap::Parser)]
        struct Filters {
            #[command(flatten)]
            filter: Filter,
        }
        let arguments = std::iter::once(&"test").chain(filter);
        let filters = <Filters as clap::Parser>::parse_from(arguments);
        let layer = Layer::from_toml("the test", document).expect("TOML");
        let settings = load(Preset::Test, &[layer], &DESTINATIONS).expect("allowed");
        ReplayPolicy::new(&REGISTRY, &settings, &filters.filter, force)
    }

    const GUARDED: &str =
        "salesforce.version_field = \"Version__c\"\nhubspot.version_property = \"version\"";

    fn event(kind: &str) -> String {
        let occurred_at = "2026-11-20T10:15:00Z";
        format!(r#"{{"event_id":"e","operation":"update","occurred_at":"{occurred_at}","#)
            + &format!(r#""contact":{{"id":"c-1","type":"{kind}"}}}}"#)
    }

    fn summary(decision: &ReplayDecision) -> &str {
        match decision {
            ReplayDecision::PutBack(data) if data.starts_with(b"{\"replay\":true") => "flagged",
            ReplayDecision::PutBack(_) => "unmodified",
            ReplayDecision::Filtered => "filtered",
            ReplayDecision::Skipped(reason) => reason.split([' ', ':']).next().expect("a word"),
            ReplayDecision::RejectedAgain(code) => code,
        }
    }

    #[test]
    fn a_row_of_a_feed_is_judged_in_its_format() {
        let source = "[source]\nformat = \"debezium\"\ncolumns = { id = \"id\", type = \"kind\" }";
        let document = &format!("{GUARDED}\n{source}");
        let context = RecordContext {
            is_selected: true,
            ..RecordContext::default()
        };
        for (row, expected) in [
            (r#"{"id":"c-1","kind":"lead"}"#, "flagged"),
            (r#"{"id":"c-1","kind":"friend"}"#, "UNKNOWN_TYPE"),
            (r#"{"ts_ms":1}"#, "flagged"),
        ] {
            let decision = policy(document, &[], false).decide(row.as_bytes(), context);
            assert_eq!(summary(&decision), expected, "{row}");
        }
    }

    #[test]
    fn a_change_that_could_overwrite_newer_data_needs_force() {
        let half = "salesforce.version_field = \"Version__c\"";
        let both_routed = &format!("routes.lead = [\"salesforce\", \"hubspot\"]\n{half}");
        let off = &format!("guard.mode = \"off\"\n{GUARDED}");
        let delete = &event("lead")
            .replace("update", "delete")
            .replace(r#","type":"lead""#, "");
        for (document, event, rejected_by, expected) in [
            (GUARDED, &*event("lead"), None, "flagged"),
            (half, &event("lead"), Some("salesforce"), "flagged"),
            (half, &event("customer"), None, "hubspot.version_property"),
            (half, delete, None, "hubspot.version_property"),
            (
                both_routed,
                &event("lead"),
                Some("salesforce"),
                "hubspot.version_property",
            ),
            ("", &event("lead"), None, "salesforce.version_field"),
            (off, &event("lead"), None, "guard.mode"),
        ] {
            let context = RecordContext {
                rejected_by,
                is_selected: true,
                ..RecordContext::default()
            };
            assert_eq!(
                summary(&policy(document, &[], false).decide(event.as_bytes(), context)),
                expected,
                "{document} {event}"
            );
            assert_eq!(
                summary(&policy(document, &[], true).decide(event.as_bytes(), context)),
                "flagged"
            );
        }
    }

    #[test]
    fn a_dead_letter_that_the_function_rejects_again_needs_force_or_a_confirmation() {
        let dead_letter = RecordContext {
            is_selected: true,
            ..RecordContext::default()
        };
        let unsent = RecordContext {
            rejected_unsent: Some("TOO_LONG"),
            ..dead_letter
        };
        for (data, context, code) in [
            (&*event("friend"), dead_letter, "UNKNOWN_TYPE"),
            (&event("friend"), unsent, "UNKNOWN_TYPE"),
            (&event("lead"), unsent, "TOO_LONG"),
            ("not JSON", dead_letter, "INVALID_JSON"),
        ] {
            let forced = if data.starts_with('{') {
                "flagged"
            } else {
                "unmodified"
            };
            let mut confirmed = policy("", &[], false);
            assert_eq!(summary(&confirmed.decide(data.as_bytes(), context)), code);
            assert_eq!(
                summary(&policy("", &[], true).decide(data.as_bytes(), context)),
                forced
            );
            confirmed.allow_rejected();
            let is_unguarded = data.contains("lead");
            let expected = if is_unguarded {
                "salesforce.version_field"
            } else {
                forced
            };
            assert_eq!(
                summary(&confirmed.decide(data.as_bytes(), context)),
                expected,
                "a confirmation allows rejected changes alone"
            );
        }
        let of_stream = RecordContext::default();
        assert_eq!(
            summary(&policy("", &[], false).decide(event("friend").as_bytes(), of_stream)),
            "flagged"
        );
    }

    #[test]
    fn a_row_is_read_in_the_format_of_the_settings_and_flagged() {
        let rows = format!(
            "{GUARDED}\n[source]\nformat = \"debezium\"\n\
             [source.columns]\nid = \"contact_id\"\ntype = \"segment\""
        );
        let row = br#"{"op":"u","before":null,"after":{"contact_id":"c-1","segment":"lead"},
            "source":{"ts_ms":1763633700123,"schema":"public","table":"contacts"}}"#;
        let dead_letter = RecordContext {
            is_selected: true,
            ..RecordContext::default()
        };
        assert_eq!(
            summary(&policy(&rows, &[], false).decide(row, dead_letter)),
            "flagged"
        );
        let of_lead = ["--contact", "c-1", "--destination", "salesforce"];
        let of_stream = RecordContext::default();
        assert_eq!(
            summary(&policy(&rows, &of_lead, false).decide(row, of_stream)),
            "flagged"
        );
        assert_eq!(
            summary(&policy(GUARDED, &[], false).decide(row, dead_letter)),
            "MISSING_FIELD",
            "in the default format a row is no change"
        );
    }

    #[test]
    fn data_that_cannot_be_flagged_needs_force_and_is_put_back_unmodified() {
        let context = RecordContext::default();
        for data in [&b"not JSON"[..], b"[]", b"", b"\xF3\x89\x9A\xC2\x01"] {
            assert!(matches!(
                policy(GUARDED, &[], false).decide(data, context),
                ReplayDecision::Skipped(_)
            ));
            assert_eq!(
                policy(GUARDED, &[], true).decide(data, context),
                ReplayDecision::PutBack(data.to_vec())
            );
        }
        let part = RecordContext {
            is_part: true,
            is_selected: true,
            ..context
        };
        assert_eq!(
            policy(GUARDED, &[], false).decide(b"{}", part),
            ReplayDecision::Skipped(AGGREGATE.into())
        );
    }

    #[test]
    fn filters_read_the_change_of_a_record_that_is_not_selected_yet() {
        let context = RecordContext::default();
        for (filter, expected) in [
            (
                vec!["--contact", "C-1", "--destination", "salesforce"],
                "flagged",
            ),
            (vec!["--contact", "c-2"], "filtered"),
            (vec!["--destination", "hubspot"], "filtered"),
            (vec![], "flagged"),
        ] {
            let policy = policy(GUARDED, &filter, false);
            assert_eq!(
                summary(&policy.decide(event("lead").as_bytes(), context)),
                expected,
                "{filter:?}"
            );
            let selected = RecordContext {
                is_selected: true,
                ..context
            };
            assert_eq!(
                summary(&policy.decide(event("lead").as_bytes(), selected)),
                "flagged"
            );
        }
    }
}
