//! Which records go back into the stream, and as what. Pure.

use contact_sync::consume::{EventConsumer, Refusal};
use contact_sync::contact::ContactChange;
use contact_sync::factory::DESTINATIONS;
use contact_sync::route::Router;
use contact_sync::settings::Settings;
use contact_sync::transform::GuardMode;
use time::OffsetDateTime;

use super::super::filter::Filter;
use super::super::replay_flag::{UnflaggableError, mark};

/// Decides over records, one at a time.
#[derive(Debug)]
pub(super) struct ReplayPolicy {
    filter: Filter,
    router: Router,
    /// Why an older change would overwrite a newer one at a destination, in the order of
    /// [`DESTINATIONS`].
    unguarded: [Option<&'static str>; 2],
    force: bool,
    /// What the function rejects again is put back all the same.
    takes_rejected: bool,
}

/// What is known of a record besides its data.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known<'a> {
    /// The destination that refused it.
    pub(super) refused_by: Option<&'a str>,
    /// The code for which it was rejected before it was sent to any destination.
    pub(super) refused_unsent: Option<&'a str>,
    /// Whether the filters of contacts and destinations have been asked already.
    pub(super) is_meant: bool,
    /// It is one of several records that the data holds.
    pub(super) is_part: bool,
}

/// What happens to a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReplayDecision {
    /// It is put back, with these bytes.
    PutBack(Vec<u8>),
    /// The filters leave it out.
    NotMeant,
    /// It stays where it is, for this reason.
    Left(&'static str),
    /// It stays where it is: the function would reject it again, with this code.
    RejectedAgain(String),
}

const AGGREGATE: &str =
    "it is a KPL aggregate of several records and cannot be marked; --force puts it back as it is";
const NO_OBJECT: &str = "it is no JSON object and cannot be marked; --force puts it back as it is";

impl ReplayPolicy {
    pub(super) fn new(settings: &Settings, filter: &Filter, force: bool) -> Self {
        let is_off = settings.guard.mode == GuardMode::Off;
        let reason = |version: &str, missing: &'static str| match version {
            _ if is_off => Some(
                "guard.mode is off: it could overwrite a newer change; --force puts it back all the same",
            ),
            "" => Some(missing),
            _ => None,
        };
        let salesforce = "salesforce.version_field is empty: it could overwrite a newer change in Salesforce; --force puts it \
            back all the same";
        let hubspot = "hubspot.version_property is empty: it could overwrite a newer change in HubSpot; --force puts it back \
            all the same";
        Self {
            filter: filter.clone(),
            router: Router::new(&settings.routes, &settings.filter.types, &DESTINATIONS),
            unguarded: [
                reason(&settings.salesforce.version_field, salesforce),
                reason(&settings.hubspot.version_property, hubspot),
            ],
            force,
            takes_rejected: force,
        }
    }

    /// Puts back from now on what the function rejects again.
    pub(super) fn take_rejected(&mut self) {
        self.takes_rejected = true;
    }

    /// Decides what happens to a record with this data. The change in it goes to all destinations
    /// of its type, whichever of them refused it. A dead letter that the function rejects again
    /// stays where it is. A batch and a stretch of the stream may hold what was never judged, and
    /// what cannot be read there gets its dead letter.
    pub(super) fn judge(&self, data: &[u8], known: Known<'_>) -> ReplayDecision {
        // The record would arrive in the stream anew.
        let text = base64_simd::STANDARD.encode_to_string(data);
        let change = EventConsumer.consume(Some(&text), OffsetDateTime::now_utc());
        let rejected_again = rejected_again(&change, known);
        let change = change.ok();
        let routed = change
            .as_ref()
            .map(|change| self.router.route(change))
            .unwrap_or_default();
        let refused_by = DESTINATIONS
            .iter()
            .position(|name| known.refused_by == Some(*name));
        if !known.is_meant {
            let names: Vec<&str> = routed.iter().map(|at| DESTINATIONS[*at]).collect();
            let contact = change.as_ref().map(|change| change.contact.id.as_str());
            if !self.filter.takes_change(contact, &names) {
                return ReplayDecision::NotMeant;
            }
        }
        if let (false, Some(code)) = (self.takes_rejected, &rejected_again) {
            return ReplayDecision::RejectedAgain(code.clone());
        }
        if !self.force
            && let Some(reason) = routed
                .iter()
                .chain(&refused_by)
                .find_map(|at| self.unguarded[*at])
        {
            return ReplayDecision::Left(reason);
        }
        let unmarkable = match mark(data) {
            Ok(marked) if !known.is_part => return ReplayDecision::PutBack(marked),
            Ok(_) | Err(UnflaggableError::Aggregate) => AGGREGATE,
            Err(UnflaggableError::NoObject) => NO_OBJECT,
        };
        // What is rejected again needs no mark: it overwrites nothing.
        let is_taken = self.force || (self.takes_rejected && rejected_again.is_some());
        if is_taken {
            ReplayDecision::PutBack(data.to_vec())
        } else {
            ReplayDecision::Left(unmarkable)
        }
    }
}

/// Returns the code with which the function rejects the record of a dead letter again, if it does.
/// Where this tool reads its data, the letter's own code stands: the values may not fit the
/// destination.
fn rejected_again(
    change: &Result<Box<ContactChange>, Box<Refusal>>,
    known: Known<'_>,
) -> Option<String> {
    // The data of a part is that of its whole aggregate.
    if !known.is_meant || known.is_part {
        return None;
    }
    match change {
        Err(refusal) => Some(refusal.rejection.code.to_string()),
        Ok(_) => known.refused_unsent.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use contact_sync::settings::{Layer, Preset, load};

    use super::*;

    fn judge(document: &str, filter: &[&str], force: bool) -> ReplayPolicy {
        #[derive(clap::Parser)]
        struct Filters {
            #[command(flatten)]
            filter: Filter,
        }
        let arguments = std::iter::once(&"test").chain(filter);
        let filters = <Filters as clap::Parser>::parse_from(arguments);
        let layer = Layer::from_toml("the test", document).expect("TOML");
        let settings = load(Preset::Test, &[layer], &DESTINATIONS).expect("allowed");
        ReplayPolicy::new(&settings, &filters.filter, force)
    }

    const GUARDED: &str =
        "salesforce.version_field = \"Version__c\"\nhubspot.version_property = \"version\"";

    fn event(kind: &str) -> String {
        format!(
            r#"{{"event_id":"e","operation":"update","occurred_at":"2026-11-20T10:15:00Z","contact":{{"id":"c-1","type":"{kind}"}}}}"#
        )
    }

    fn word(verdict: &ReplayDecision) -> &str {
        match verdict {
            ReplayDecision::PutBack(data) if data.starts_with(b"{\"replay\":true") => "marked",
            ReplayDecision::PutBack(_) => "raw",
            ReplayDecision::NotMeant => "not meant",
            ReplayDecision::Left(reason) => reason.split([' ', ':']).next().expect("a word"),
            ReplayDecision::RejectedAgain(code) => code,
        }
    }

    #[test]
    fn what_could_overwrite_newer_data_needs_force() {
        let half = "salesforce.version_field = \"Version__c\"";
        let everywhere = "routes.lead = [\"salesforce\", \"hubspot\"]\nsalesforce.version_field = \"Version__c\"";
        let off = &format!("guard.mode = \"off\"\n{GUARDED}");
        let gone = r#"{"event_id":"e","operation":"delete","occurred_at":"2026-11-20T10:15:00Z","contact":{"id":"c-1"}}"#;
        for (document, event, refused_by, expected) in [
            (GUARDED, &*event("lead"), None, "marked"),
            (half, &event("lead"), Some("salesforce"), "marked"),
            (half, &event("customer"), None, "hubspot.version_property"),
            (half, gone, None, "hubspot.version_property"),
            (
                everywhere,
                &event("lead"),
                Some("salesforce"),
                "hubspot.version_property",
            ),
            ("", &event("lead"), None, "salesforce.version_field"),
            (off, &event("lead"), None, "guard.mode"),
        ] {
            let known = Known {
                refused_by,
                is_meant: true,
                ..Known::default()
            };
            assert_eq!(
                word(&judge(document, &[], false).judge(event.as_bytes(), known)),
                expected,
                "{document} {event}"
            );
            assert_eq!(
                word(&judge(document, &[], true).judge(event.as_bytes(), known)),
                "marked"
            );
        }
    }

    #[test]
    fn a_dead_letter_that_the_function_rejects_again_needs_force_or_a_yes() {
        let letter = Known {
            is_meant: true,
            ..Known::default()
        };
        let unsent = Known {
            refused_unsent: Some("TOO_LONG"),
            ..letter
        };
        for (data, known, code) in [
            (&*event("friend"), letter, "UNKNOWN_TYPE"),
            (&event("friend"), unsent, "UNKNOWN_TYPE"),
            (&event("lead"), unsent, "TOO_LONG"),
            ("not JSON", letter, "INVALID_JSON"),
        ] {
            let back = if data.starts_with('{') {
                "marked"
            } else {
                "raw"
            };
            let mut judge_of = judge("", &[], false);
            assert_eq!(word(&judge_of.judge(data.as_bytes(), known)), code);
            assert_eq!(
                word(&judge("", &[], true).judge(data.as_bytes(), known)),
                back
            );
            judge_of.take_rejected();
            let unguarded = data.contains("lead");
            let expected = if unguarded {
                "salesforce.version_field"
            } else {
                back
            };
            assert_eq!(
                word(&judge_of.judge(data.as_bytes(), known)),
                expected,
                "a yes is about the rejection alone"
            );
        }
        let elsewhere = Known::default();
        assert_eq!(
            word(&judge("", &[], false).judge(event("friend").as_bytes(), elsewhere)),
            "marked"
        );
    }

    #[test]
    fn what_cannot_be_marked_needs_force_and_then_goes_back_as_it_is() {
        let known = Known::default();
        for data in [&b"not JSON"[..], b"[]", b"", b"\xF3\x89\x9A\xC2\x01"] {
            assert!(matches!(
                judge(GUARDED, &[], false).judge(data, known),
                ReplayDecision::Left(_)
            ));
            assert_eq!(
                judge(GUARDED, &[], true).judge(data, known),
                ReplayDecision::PutBack(data.to_vec())
            );
        }
        let part = Known {
            is_part: true,
            is_meant: true,
            ..known
        };
        assert_eq!(
            judge(GUARDED, &[], false).judge(b"{}", part),
            ReplayDecision::Left(AGGREGATE)
        );
    }

    #[test]
    fn filters_look_into_the_record_where_nothing_else_tells() {
        let known = Known::default();
        for (filter, expected) in [
            (
                vec!["--contact", "C-1", "--destination", "salesforce"],
                "marked",
            ),
            (vec!["--contact", "c-2"], "not meant"),
            (vec!["--destination", "hubspot"], "not meant"),
            (vec![], "marked"),
        ] {
            let judge = judge(GUARDED, &filter, false);
            assert_eq!(
                word(&judge.judge(event("lead").as_bytes(), known)),
                expected,
                "{filter:?}"
            );
            let meant = Known {
                is_meant: true,
                ..known
            };
            assert_eq!(
                word(&judge.judge(event("lead").as_bytes(), meant)),
                "marked"
            );
        }
    }
}
