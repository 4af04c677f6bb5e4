//! Decides which records are put back into the stream, and with which bytes. Does no I/O.

use std::borrow::Cow;

use contact_sync::adapters::{Registry, Section};
use contact_sync::model::{Data, Origin, Record, Refusal};
use contact_sync::route::Router;
use contact_sync::settings::Settings;
use contact_sync::source::{Decoded, RecordDecoder};
use contact_sync::transform::GuardMode;
use time::{Duration, OffsetDateTime};

use super::super::deployment::names;
use super::super::filter::Filter;
use super::super::replay_flag::{UnflaggableError, set_flag_and_time, set_replay_flag};

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
    /// Whether the record is marked as put back beside its data, which stays as it is. Its
    /// timestamp goes back with it.
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
    /// The function filters the record, which needs no return.
    Unneeded(&'static str),
    /// The record is not put back, for this reason.
    Skipped(Cow<'static, str>),
    /// The record is not put back: the function would reject it again, with this code.
    RejectedAgain(String),
}

const AGGREGATE: &str = "it is a KPL aggregate of several records and cannot be flagged; \
                         --force puts it back unmodified";
const NO_OBJECT: &str =
    "it is not a JSON object and cannot be flagged; --force puts it back unmodified";
const TOMBSTONE: &str = "it has no data, and no place for the flag and its time: it could delete a \
                         newer contact; --force puts it back unmodified";
const NO_FLAG: &str = "the function reads no flag in it: it could overwrite a newer change; \
                       --force puts it back regardless";
const NO_TIME: &str = "it has no time of its own, and none can be added: it could overwrite a \
                       newer change; --force puts it back regardless";
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

    /// Returns whether the operator asked to put records back regardless.
    pub(super) fn is_forced(&self) -> bool {
        self.force
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
        let returning = context.record.map(without_arrival);
        let decoded = self.decoded(data, returning.as_ref(), OffsetDateTime::now_utc());
        let rejected_again = rejected_again(&decoded, context);
        let unneeded = match &decoded {
            Ok(Decoded::Filtered(filtered)) => Some(filtered.code),
            _ => None,
        };
        let change = match decoded {
            Ok(Decoded::Change(change)) => Some(change),
            Ok(Decoded::Filtered(_)) | Err(_) => None,
        };
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
        if let Some(code) = unneeded {
            return ReplayDecision::Unneeded(code);
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
        let returned = if context.is_marked {
            let has_time = self.time(data, context.record).is_some();
            Returned::beside(data, change.is_none() || has_time)
        } else if context.is_part {
            Returned::unmodified(data, AGGREGATE)
        } else {
            self.returned(data, change.is_some(), context.record, returning.as_ref())
        };
        // A record that is rejected again overwrites nothing, and needs no flag.
        let is_allowed = self.force || (self.allows_rejected && rejected_again.is_some());
        match returned.problem {
            Some(problem) if !is_allowed => ReplayDecision::Skipped(problem.into()),
            _ => ReplayDecision::PutBack(returned.data),
        }
    }
}

/// Record as it is put back.
#[derive(Debug)]
struct Returned {
    data: Vec<u8>,
    /// Reason why it could overwrite a newer change, although the destinations are guarded.
    problem: Option<&'static str>,
}

impl Returned {
    fn unmodified(data: &[u8], problem: &'static str) -> Self {
        Self {
            data: data.to_vec(),
            problem: Some(problem),
        }
    }

    /// Returns a record whose flag and time are beside its data.
    fn beside(data: &[u8], has_time: bool) -> Self {
        Self {
            data: data.to_vec(),
            problem: (!has_time).then_some(NO_TIME),
        }
    }
}

impl ReplayPolicy {
    /// Returns the data with the flag, and with the record's arrival where the change has no time
    /// of its own: the stream gives the record a new arrival. Invalid data needs no time.
    fn returned(
        &self,
        data: &[u8],
        is_change: bool,
        first: Option<&Record<'_>>,
        returning: Option<&Record<'_>>,
    ) -> Returned {
        let flagged = match set_replay_flag(data) {
            Ok(flagged) => flagged,
            Err(UnflaggableError::Aggregate) => return Returned::unmodified(data, AGGREGATE),
            Err(UnflaggableError::NoObject) if data.is_empty() => {
                return Returned::unmodified(data, TOMBSTONE);
            }
            Err(UnflaggableError::NoObject) => return Returned::unmodified(data, NO_OBJECT),
        };
        let mut returned = Returned {
            data: flagged,
            problem: None,
        };
        if !is_change {
            return returned;
        }
        if !self.is_flagged(&returned.data, returning) {
            returned.problem = Some(NO_FLAG);
        } else if self.time(&returned.data, returning).is_none() {
            let arrival = first.and_then(arrival);
            let timed = arrival.and_then(|arrival| {
                // As the function compares it: without a part of a millisecond.
                let millis = arrival.unix_timestamp_nanos() / 1_000_000;
                let arrival = OffsetDateTime::from_unix_timestamp_nanos(millis * 1_000_000).ok()?;
                let mut candidates = set_flag_and_time(data, arrival).into_iter();
                candidates.find(|data| {
                    self.is_flagged(data, returning) && self.time(data, returning) == Some(arrival)
                })
            });
            match timed {
                Some(timed) => returned.data = timed,
                None => returned.problem = Some(NO_TIME),
            }
        }
        returned
    }

    /// Returns whether the function reads the flag in the data.
    fn is_flagged(&self, data: &[u8], record: Option<&Record<'_>>) -> bool {
        let decoded = self.decoded(data, record, OffsetDateTime::now_utc());
        matches!(decoded, Ok(Decoded::Change(change)) if change.replay)
    }

    /// Returns the time of the change; `None` where it is that of the decoding.
    fn time(&self, data: &[u8], record: Option<&Record<'_>>) -> Option<OffsetDateTime> {
        let now = OffsetDateTime::now_utc();
        let at = |now| match self.decoded(data, record, now) {
            Ok(Decoded::Change(change)) => Some(change.occurred_at),
            _ => None,
        };
        at(now).filter(|time| at(now - Duration::MINUTE) == Some(*time))
    }

    /// Decodes data as that of a record that arrived at `now` where it names no arrival.
    fn decoded(
        &self,
        data: &[u8],
        record: Option<&Record<'_>>,
        now: OffsetDateTime,
    ) -> Result<Decoded, Box<Refusal>> {
        let text = base64_simd::STANDARD.encode_to_string(data);
        let Some(record) = record else {
            return self.decoder.decode(&Record::of_data(text), now);
        };
        let record = Record {
            data: record.data.as_ref().map(|_| Data::Base64(text.into())),
            ..record.clone()
        };
        self.decoder.decode(&record, now)
    }
}

/// Returns the record as it arrives again, at a time that is not known yet.
fn without_arrival<'a>(record: &Record<'a>) -> Record<'a> {
    let mut record = record.clone();
    match &mut record.origin {
        Origin::Kinesis(origin) => origin.approximate_arrival = None,
        Origin::Kafka(origin) => origin.timestamp = None,
    }
    record
}

/// Returns the time at which the record arrived first.
fn arrival(record: &Record<'_>) -> Option<OffsetDateTime> {
    let arrived_at = record.arrived_at(OffsetDateTime::UNIX_EPOCH);
    (arrived_at != OffsetDateTime::UNIX_EPOCH).then_some(arrived_at)
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
    decoded: &Result<Decoded, Box<Refusal>>,
    context: RecordContext<'_>,
) -> Option<String> {
    // The data of a part is that of its whole aggregate.
    if !context.is_selected || context.is_part {
        return None;
    }
    match decoded {
        Err(refusal) => Some(refusal.rejection.code.to_string()),
        Ok(_) => context.rejected_unsent.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use contact_sync::adapters::{DESTINATIONS, REGISTRY};
    use contact_sync::model::KafkaOrigin;
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
            ReplayDecision::Unneeded(_) => "unneeded",
            ReplayDecision::Skipped(reason) => reason.split([' ', ':']).next().expect("a word"),
            ReplayDecision::RejectedAgain(code) => code,
        }
    }

    /// Returns a record of Kinesis that arrived first at 2025-11-20T10:15:00.125Z.
    fn arrived(data: &[u8]) -> Record<'static> {
        let mut record = Record::of_data(base64_simd::STANDARD.encode_to_string(data));
        if let Origin::Kinesis(origin) = &mut record.origin {
            origin.approximate_arrival = Some(1_763_633_700.125);
            origin.partition_key = Some(r#"{"id":"c-1"}"#.into());
        }
        record
    }

    const SOURCE: &str =
        "[source]\nformat = \"debezium\"\ncolumns = { id = \"id\", type = \"kind\" }";

    #[test]
    fn a_row_of_a_feed_is_judged_in_its_format() {
        let document = &format!("{GUARDED}\n{SOURCE}");
        for (row, expected) in [
            (r#"{"id":"c-1","kind":"lead"}"#, "flagged"),
            (r#"{"id":"c-1","kind":"friend"}"#, "UNKNOWN_TYPE"),
            (r#"{"ts_ms":1}"#, "unneeded"),
            ("", "unneeded"),
        ] {
            let record = &arrived(row.as_bytes());
            let context = RecordContext {
                is_selected: true,
                record: Some(record),
                ..RecordContext::default()
            };
            for force in [false, true] {
                let decision = policy(document, &[], force).decide(row.as_bytes(), context);
                if !force || expected == "unneeded" {
                    assert_eq!(summary(&decision), expected, "{row}");
                }
            }
        }
    }

    #[test]
    fn a_change_without_a_time_keeps_its_first_arrival() {
        let document = &format!("{GUARDED}\n{SOURCE}");
        let first = "2025-11-20T10:15:00.125Z";
        let millis = 1_763_633_700_125_i64;
        let row = r#"{"id":"c-1","kind":"lead"}"#;
        let event = r#""specversion":"1.0","id":"e","source":"/s","type":"t""#;
        let timed = format!(r#"{{"__source_ts_ms":7,{}"#, &row[1..]);
        let timed_event = format!(r#"{{{event},"time":"2026-01-01T00:00:00Z","data":{row}}}"#);
        for (data, fields) in [
            (row.to_owned(), format!(r#""__source_ts_ms":{millis},"#)),
            (
                format!(r#"{{"id":"c-1","kind":"lead","__source_ts_ms":{millis}}}"#),
                String::new(),
            ),
            (timed, String::new()),
            (
                format!(r#"{{{event},"data":{row}}}"#),
                format!(r#""time":"{first}","#),
            ),
            (timed_event, String::new()),
        ] {
            let record = &arrived(data.as_bytes());
            let context = RecordContext {
                is_selected: true,
                record: Some(record),
                ..RecordContext::default()
            };
            let decision = policy(document, &[], false).decide(data.as_bytes(), context);
            let expected = format!(r#"{{"replay":true,{fields}{}"#, &data[1..]);
            assert_eq!(
                decision,
                ReplayDecision::PutBack(expected.into_bytes()),
                "{data}"
            );
        }
        let with_schema = br#"{"schema":null,"payload":{"id":"c-1","kind":"lead"}}"#;
        let record = &arrived(with_schema);
        let context = RecordContext {
            record: Some(record),
            ..RecordContext::default()
        };
        let decision = policy(document, &[], false).decide(with_schema, context);
        let row = format!(r#"{{"__source_ts_ms":{millis},"id":"c-1","kind":"lead"}}"#);
        let expected = format!(r#"{{"replay":true,"schema":null,"payload":{row}}}"#);
        assert_eq!(decision, ReplayDecision::PutBack(expected.into_bytes()));
    }

    #[test]
    fn a_change_that_can_carry_no_flag_or_no_time_needs_force() {
        let deletes = SOURCE.replace("columns", "tombstones = \"delete\"\ncolumns");
        let document = &format!("{GUARDED}\n{deletes}");
        let tombstone = &br#"{"schema":null,"payload":null}"#[..];
        let row = &br#"{"id":"c-1","kind":"lead"}"#[..];
        let bare = &br#"{"before":null,"after":{"id":"c-1","kind":"lead"}}"#[..];
        let of_no_arrival = |data: &[u8]| {
            let mut record = arrived(data);
            if let Origin::Kinesis(origin) = &mut record.origin {
                origin.approximate_arrival = None;
            }
            record
        };
        for (data, record, reason) in [
            (&b""[..], arrived(b""), TOMBSTONE),
            (tombstone, arrived(tombstone), NO_FLAG),
            (bare, arrived(bare), NO_TIME),
            (row, of_no_arrival(row), NO_TIME),
        ] {
            let context = RecordContext {
                record: Some(&record),
                ..RecordContext::default()
            };
            assert_eq!(
                policy(document, &[], false).decide(data, context),
                ReplayDecision::Skipped(reason.into())
            );
            let forced = policy(document, &[], true).decide(data, context);
            assert!(matches!(forced, ReplayDecision::PutBack(_)), "{forced:?}");
        }
    }

    #[test]
    fn a_record_of_kafka_needs_a_time_in_its_data_or_beside_it() {
        let document = &format!("{GUARDED}\n{SOURCE}");
        let policy = policy(document, &[], false);
        let row = r#"{"id":"c-1","kind":"lead"}"#;
        let timed = r#"{"id":"c-1","kind":"lead","__source_ts_ms":7}"#;
        for (data, timestamp, expected) in [
            (row, Some(1_763_633_700_123), "unmodified"),
            (row, None, "it"),
            (timed, None, "unmodified"),
            (timed, Some(1_763_633_700_123), "unmodified"),
        ] {
            let record = &Record {
                origin: Origin::Kafka(KafkaOrigin {
                    topic_partition: "contacts-0".into(),
                    timestamp,
                    ..KafkaOrigin::default()
                }),
                ..arrived(data.as_bytes())
            };
            let context = RecordContext {
                is_marked: true,
                record: Some(record),
                ..RecordContext::default()
            };
            let decision = policy.decide(data.as_bytes(), context);
            assert_eq!(summary(&decision), expected, "{data} {timestamp:?}");
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
