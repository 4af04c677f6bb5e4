//! Which dead letters, and which changes in them, a command is about.

use clap::{Args, ValueEnum};
use contact_sync::factory::DESTINATIONS;
use time::OffsetDateTime;

use super::failed_message::FailedMessage;
use super::failure::Failure;
use super::time_arg;

/// Options that narrow a command down. Several values of one option: any of them; several options:
/// all of them.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Filter {
    /// Rejected for this reason code; of batches that the mapping gave up, its condition
    /// (`RecordAgeExceeded`)
    #[arg(long, value_name = "CODE")]
    code: Vec<String>,
    /// Rejected at this stage of its way
    #[arg(long)]
    stage: Vec<Stage>,
    /// Refused by this destination, or, where none has refused it, on its way there
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(DESTINATIONS))]
    destination: Vec<String>,
    /// Changes of this contact, by our id; which are in a batch that the mapping gave up, only a
    /// replay finds out
    #[arg(long, value_name = "ID")]
    contact: Vec<String>,
    /// Rejected at this time or later: 2026-11-20T10:15:00Z, 2026-11-20, or how long ago (12h)
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    since: Option<OffsetDateTime>,
    /// Rejected at this time or earlier
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    until: Option<OffsetDateTime>,
}

/// Where on its way a change was rejected; `mapping` is the event source mapping, which gives up
/// whole batches.
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
    /// Whether the command is about this letter. Of a given-up batch it is not known yet whose
    /// changes are in it.
    pub(crate) fn takes(&self, letter: &FailedMessage) -> bool {
        let is_batch = matches!(letter, FailedMessage::Discarded(_));
        any(&self.code, |code| code.eq_ignore_ascii_case(letter.code()))
            && any(&self.stage, |stage| stage.name() == letter.stage())
            && (is_batch || self.takes_change(letter.contact(), letter.destination().as_slice()))
            && self
                .since
                .is_none_or(|since| letter.at().is_some_and(|at| at >= since))
            && self
                .until
                .is_none_or(|until| letter.at().is_some_and(|at| at <= until))
    }

    /// Whether the command is about a change of this contact, refused by or on its way to these
    /// destinations.
    pub(crate) fn takes_change(&self, contact: Option<&str>, destinations: &[&str]) -> bool {
        let same = |id: &String| {
            contact.is_some_and(|contact| id.trim().to_lowercase() == contact.trim().to_lowercase())
        };
        any(&self.contact, same)
            && any(&self.destination, |name| {
                destinations.contains(&name.as_str())
            })
    }

    /// Refuses times between which nothing can lie.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        time_arg::in_order(("--since", self.since), ("--until", self.until))
    }

    /// An option that only dead letters have an answer to.
    pub(crate) fn letters_only(&self) -> Option<&'static str> {
        let given = [
            ("--code", !self.code.is_empty()),
            ("--stage", !self.stage.is_empty()),
            ("--since", self.since.is_some()),
            ("--until", self.until.is_some()),
        ];
        given
            .into_iter()
            .find(|(_, given)| *given)
            .map(|(name, _)| name)
    }
}

/// Whether any value passes; without values everything does.
fn any<T>(values: &[T], passes: impl Fn(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(passes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn letter(stage: &str, destination: Option<&str>, contact: Option<&str>) -> FailedMessage {
        let body = json!({"schema": "contact-sync/dead-letter/1", "contact_id": contact, "event_id": "e",
            "reason": {"stage": stage, "destination": destination, "code": "TOO_LONG"},
            "record": {}, "rejected_at": "2026-11-20T10:15:01Z"});
        FailedMessage::read(&body.to_string())
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn every_option_has_to_pass_and_any_value_of_it_may() {
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
                filter.takes(&letter("deliver", Some("salesforce"), Some("c-1"))),
                passes,
                "{filter:?}"
            );
        }
    }

    #[test]
    fn what_names_no_contact_passes_no_filter_of_contacts() {
        let filter = Filter {
            contact: strings(&["c-1"]),
            ..Filter::default()
        };
        assert!(!filter.takes(&letter("decode", None, None)));
    }
}
