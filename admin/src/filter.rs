//! Options that select dead letters and the changes in them.

use clap::builder::PossibleValuesParser;
use clap::{Args, Command, ValueEnum};
use contact_sync::adapters::Registry;
use contact_sync::model::codes;
use time::OffsetDateTime;

use super::failed_message::FailedMessage;
use super::failure::Failure;
use super::time_arg;

/// Filter of dead letters. Values of one option are alternatives; all options that are given must
/// match.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Filter {
    /// Rejected with this reason code; for batches that the mapping discarded, the condition
    /// (`RecordAgeExceeded`)
    #[arg(long, value_name = "CODE")]
    code: Vec<String>,
    /// Rejected at this stage
    #[arg(long)]
    stage: Vec<Stage>,
    /// Rejected by this destination, or, if no destination rejected it, routed to this destination
    #[arg(long)]
    destination: Vec<String>,
    /// Changes of the contact with this id; of a batch that the mapping discarded only a replay can
    /// select them
    #[arg(long, value_name = "ID")]
    contact: Vec<String>,
    /// Rejected at this time or later: 2026-11-20T10:15:00Z, 2026-11-20, or an age (12h)
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    since: Option<OffsetDateTime>,
    /// Rejected at this time or earlier
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    until: Option<OffsetDateTime>,
}

/// Lets the option `--destination` of a command, and of those below it, accept the systems of
/// `registry` alone.
pub(crate) fn with_destinations(command: Command, registry: Registry) -> Command {
    command
        .mut_args(|arg| {
            if arg.get_id() == "destination" {
                let names = registry.iter().map(|system| system.name);
                arg.value_parser(PossibleValuesParser::new(names))
            } else {
                arg
            }
        })
        .mut_subcommands(|command| with_destinations(command, registry))
}

/// Stage that rejected a change. `Mapping` is the event source mapping, which discards whole
/// batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stage {
    Decode,
    Validate,
    Route,
    Deliver,
    Mapping,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Validate => "validate",
            Self::Route => "route",
            Self::Deliver => "deliver",
            Self::Mapping => "mapping",
        }
    }
}

impl Filter {
    /// Returns whether the filter selects the message. A discarded batch passes the filters of
    /// contacts and destinations, because its changes are not read yet.
    pub(crate) fn matches(&self, message: &FailedMessage) -> bool {
        let is_batch = matches!(message, FailedMessage::Discarded(_));
        let (contact, destination) = (message.contact(), message.destination());
        matches_any(&self.code, |code| same_code(code, message.code()))
            && matches_any(&self.stage, |stage| stage.name() == message.stage())
            && (is_batch || self.matches_change(contact, destination.as_slice()))
            && self
                .since
                .is_none_or(|since| message.at().is_some_and(|at| at >= since))
            && self
                .until
                .is_none_or(|until| message.at().is_some_and(|at| at <= until))
    }

    /// Returns whether the filter selects a change of this contact that these destinations rejected
    /// or that is routed to them.
    pub(crate) fn matches_change(&self, contact: Option<&str>, destinations: &[&str]) -> bool {
        let contact = contact.map(|contact| contact.trim().to_lowercase());
        matches_any(&self.contact, |id| {
            contact == Some(id.trim().to_lowercase())
        }) && matches_any(&self.destination, |name| {
            destinations.contains(&name.as_str())
        })
    }

    /// Rejects an empty range of times.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        time_arg::check_order(("--since", self.since), ("--until", self.until))
    }

    /// Returns a given option that applies to dead letters only.
    pub(crate) fn dead_letter_option(&self) -> Option<&'static str> {
        if !self.code.is_empty() {
            Some("--code")
        } else if !self.stage.is_empty() {
            Some("--stage")
        } else if self.since.is_some() {
            Some("--since")
        } else if self.until.is_some() {
            Some("--until")
        } else {
            None
        }
    }
}

/// Returns whether both are the same code, in any letter case, by its present or a former name.
fn same_code(one: &str, other: &str) -> bool {
    codes::current(one).eq_ignore_ascii_case(codes::current(other))
}

/// Returns whether any value matches, or there is no value.
fn matches_any<T>(values: &[T], matches: impl Fn(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(matches)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dead_letter(stage: &str, destination: Option<&str>, contact: Option<&str>) -> FailedMessage {
        let body = json!({
            "schema": "contact-sync/dead-letter/1",
            "contact_id": contact,
            "event_id": "e",
            "reason": {"stage": stage, "destination": destination, "code": "TOO_LONG"},
            "record": {},
            "rejected_at": "2026-11-20T10:15:01Z",
        });
        FailedMessage::read(&body.to_string())
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_filter_matches_if_every_option_matches_with_any_of_its_values() {
        let time = |text| Some(time_arg::parse(text).expect("a time"));
        let none = Filter::default;
        for (filter, passes) in [
            (none(), true),
            (
                Filter {
                    code: strings(&["OTHER", "too_long"]),
                    ..none()
                },
                true,
            ),
            (
                Filter {
                    code: strings(&["OTHER"]),
                    ..none()
                },
                false,
            ),
            (
                Filter {
                    stage: vec![Stage::Deliver, Stage::Route],
                    ..none()
                },
                true,
            ),
            (
                Filter {
                    stage: vec![Stage::Mapping],
                    ..none()
                },
                false,
            ),
            (
                Filter {
                    destination: strings(&["salesforce"]),
                    ..none()
                },
                true,
            ),
            (
                Filter {
                    destination: strings(&["hubspot"]),
                    ..none()
                },
                false,
            ),
            (
                Filter {
                    contact: strings(&[" C-1 "]),
                    ..none()
                },
                true,
            ),
            (
                Filter {
                    contact: strings(&["c-1"]),
                    destination: strings(&["hubspot"]),
                    ..none()
                },
                false,
            ),
            (
                Filter {
                    since: time("2026-11-20T10:15:01Z"),
                    until: time("2026-11-20T10:15:01Z"),
                    ..none()
                },
                true,
            ),
            (
                Filter {
                    since: time("2026-11-20T10:15:02Z"),
                    ..none()
                },
                false,
            ),
            (
                Filter {
                    until: time("2026-11-20"),
                    ..none()
                },
                false,
            ),
        ] {
            assert_eq!(
                filter.matches(&dead_letter("deliver", Some("salesforce"), Some("c-1"))),
                passes,
                "{filter:?}"
            );
        }
    }

    #[test]
    fn a_code_is_found_by_its_present_and_its_former_name() {
        for (asked, stored, expected) in [
            ("TOO_LONG", "VALUE_TOO_LONG", true),
            ("value_too_long", "TOO_LONG", true),
            ("NO_RESULT", "UNACCOUNTED", true),
            ("no_result", "NO_RESULT", true),
            ("NO_RESULT", "TOO_LONG", false),
            ("STRING_TOO_LONG", "TOO_LONG", false),
        ] {
            assert_eq!(same_code(asked, stored), expected, "{asked} {stored}");
        }
    }

    #[test]
    fn a_dead_letter_without_a_contact_matches_no_filter_of_contacts() {
        let filter = Filter {
            contact: strings(&["c-1"]),
            ..Filter::default()
        };
        assert!(!filter.matches(&dead_letter("decode", None, None)));
    }
}
