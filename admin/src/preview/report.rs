//! What the dry run came to, record by record.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use contact_sync::adapters::Body;
use contact_sync::consume::Record;
use contact_sync::contact::Operation;
use contact_sync::dispatch::Planned;
use contact_sync::pipeline::Sent;
use contact_sync::settle::{Entry, Fate, RecordOutcome};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::counts::{Counts, name};
use super::{Plan, Write};
use crate::output::table;

/// The place of the write that carries a record to a destination.
type Reservation = HashMap<(&'static str, usize), usize>;

impl Plan {
    /// Writes down one call.
    pub(super) fn take(&mut self, planned: &Planned<'_>) {
        let destination = planned.destination.0;
        let known = self
            .calls
            .iter()
            .position(|(name, ..)| *name == destination);
        let at = known.unwrap_or_else(|| {
            self.calls.push((destination, 0, 0));
            self.calls.len() - 1
        });
        let (_, batches, calls) = &mut self.calls[at];
        *batches += 1;
        *calls += planned.calls;
        self.writes.extend(planned.jobs.iter().map(|job| Write {
            destination,
            batch: *batches,
            kind: planned.kind,
            sources: job.sources.to_vec(),
            body: job.payload.body.clone(),
            if_new: job.payload.if_new.clone(),
        }));
    }
}

/// The answer of `preview`.
pub(super) struct Report {
    rows: Vec<Row>,
    counts: Counts,
    calls: Vec<(&'static str, usize, u32)>,
}

/// One record at one destination, or nowhere.
struct Row {
    record: usize,
    event_id: Option<String>,
    contact_id: Option<String>,
    operation: Option<&'static str>,
    destination: Option<&'static str>,
    fate: Fate,
    code: Option<String>,
    message: Option<String>,
    /// The fields that it is rejected for.
    rejected_fields: Vec<String>,
    /// The write that it gives its content to.
    write: Option<Write>,
    /// The later record that carries it.
    carried_by: Option<usize>,
}

/// A write and the last of its records, which gives it its content.
struct Carrier {
    last: usize,
    write: Option<Write>,
}

impl Report {
    pub(super) fn new(sent: &Sent, plan: Plan, records: &[Record<'_>]) -> Self {
        let Plan { writes, calls } = plan;
        let (mut carriers, places) = carriers(writes);
        let (mut rows, mut counts) = (Vec::new(), Counts::default());
        for (record, entry) in sent.entries.iter().enumerate().take(records.len()) {
            let of_record = rows_of(record, sent, entry, &mut carriers, &places);
            let codes = of_record
                .iter()
                .filter_map(|row| Some((row.fate, row.code.clone()?)));
            counts.add(Fate::of_entry(entry), codes);
            rows.extend(of_record);
        }
        Self {
            rows,
            counts,
            calls,
        }
    }

    /// Whether no record is rejected.
    pub(super) fn is_clean(&self) -> bool {
        self.counts.is_clean()
    }

    pub(super) fn to_json(&self, is_summary: bool) -> impl Serialize {
        let calls = self.calls.iter().map(
            |(destination, batches, calls)| json!({"destination": destination, "batches": batches, "api_calls": calls}),
        );
        let total: u32 = self.calls.iter().map(|(.., calls)| calls).sum();
        let records = (!is_summary).then(|| self.rows.iter().map(Row::to_json).collect());
        Answer {
            api_calls: total,
            calls: calls.collect(),
            counts: self.counts.to_json(),
            records,
        }
    }

    pub(super) fn to_text(&self, is_summary: bool) -> String {
        let mut text = String::new();
        if !is_summary {
            let header = [
                "RECORD",
                "CONTACT",
                "OPERATION",
                "DESTINATION",
                "FATE",
                "BATCH",
                "FIELD",
                "VALUE",
            ];
            text = table(header, self.rows.iter().flat_map(Row::to_lines)) + "\n\n";
        }
        let total: u32 = self.calls.iter().map(|(.., calls)| calls).sum();
        for (destination, batches, calls) in &self.calls {
            let _ = writeln!(text, "{destination}: API calls {calls}, batches {batches}");
        }
        let _ = writeln!(
            text,
            "in all: API calls {total}, one for a Salesforce token where none is at hand, \
             and one for each batch with new leads that lack LastName or Company"
        );
        text + &self.counts.to_text()
    }
}

/// The writes, and the place of each by destination and record.
fn carriers(writes: Vec<Write>) -> (Vec<Carrier>, Reservation) {
    let (mut carriers, mut places) = (Vec::with_capacity(writes.len()), Reservation::new());
    for write in writes {
        let Some(last) = write.sources.last().copied() else {
            continue;
        };
        for source in &write.sources {
            places.insert((write.destination, *source), carriers.len());
        }
        carriers.push(Carrier {
            last,
            write: Some(write),
        });
    }
    (carriers, places)
}

/// A record's rows: one for each destination, or one where it goes nowhere.
fn rows_of(
    record: usize,
    sent: &Sent,
    entry: &Entry,
    carriers: &mut [Carrier],
    places: &Reservation,
) -> Vec<Row> {
    if entry.rows.is_empty() {
        return vec![head(record, sent, entry)];
    }
    let mut rows = Vec::with_capacity(entry.rows.len());
    for at in &entry.rows {
        let destination = sent.meters.get(at.destination).map(|(name, _)| name.0);
        let carrier = destination
            .and_then(|destination| carriers.get_mut(*places.get(&(destination, record))?));
        let verdict = at.verdict.as_ref();
        let rejection = match verdict {
            Some(RecordOutcome::Rejected(_, rejection)) => Some(rejection),
            _ => None,
        };
        let carried_by = carrier
            .as_ref()
            .map(|carrier| carrier.last)
            .filter(|last| *last != record);
        rows.push(Row {
            destination,
            fate: Fate::of_verdict(verdict),
            code: verdict
                .and_then(|verdict| verdict.code())
                .map(ToString::to_string),
            message: rejection.map(|rejection| rejection.message.clone()),
            rejected_fields: rejection
                .map(|rejection| rejection.fields.clone())
                .unwrap_or_default(),
            write: carrier
                .filter(|carrier| carrier.last == record)
                .and_then(|carrier| carrier.write.take()),
            carried_by,
            ..head(record, sent, entry)
        });
    }
    rows
}

/// What a record's rows have in common, and all that there is to say where it goes nowhere.
fn head(record: usize, sent: &Sent, entry: &Entry) -> Row {
    let change = sent.changes.get(record).and_then(Option::as_ref);
    let refusal = entry.refusal.as_deref();
    let id = |known: Option<&str>, read: Option<&Box<str>>| {
        known.or(read.map(|text| &**text)).map(str::to_owned)
    };
    Row {
        record,
        event_id: id(
            change.map(|change| &*change.event_id),
            refusal.and_then(|refusal| refusal.event_id.as_ref()),
        ),
        contact_id: id(
            change.map(|change| change.contact.id.as_str()),
            refusal.and_then(|refusal| refusal.contact_id.as_ref()),
        ),
        operation: change
            .map(|change| change.operation)
            .or(refusal.and_then(|refusal| refusal.operation))
            .map(Operation::name),
        destination: None,
        fate: Fate::of_entry(entry),
        code: refusal
            .map(|refusal| &refusal.rejection.code)
            .or(entry.filtered.as_ref())
            .map(ToString::to_string),
        message: refusal.map(|refusal| refusal.rejection.message.clone()),
        rejected_fields: refusal
            .map(|refusal| refusal.rejection.fields.clone())
            .unwrap_or_default(),
        write: None,
        carried_by: None,
    }
}

/// Fields by name, each as its JSON is written: a number keeps its digits.
type Fields = BTreeMap<String, Box<RawValue>>;

#[derive(Serialize)]
struct Answer<'a> {
    api_calls: u32,
    calls: Vec<Value>,
    counts: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<Vec<RowJson<'a>>>,
}

#[derive(Serialize)]
struct RowJson<'a> {
    carried_by: Option<usize>,
    code: Option<&'a str>,
    contact_id: Option<&'a str>,
    destination: Option<&'static str>,
    event_id: Option<&'a str>,
    fate: &'static str,
    message: Option<&'a str>,
    operation: Option<&'static str>,
    record: usize,
    rejected_fields: &'a [String],
    write: Option<WriteJson>,
}

#[derive(Serialize)]
struct WriteJson {
    batch: usize,
    fields: Option<Fields>,
    fields_if_new: Option<Fields>,
    operation: &'static str,
}

impl Row {
    /// The fields that are sent.
    fn fields(&self) -> Option<Fields> {
        fields(self.write.as_ref()?.body.as_ref()?)
    }

    /// The fields that are added where the record does not exist yet.
    fn fields_if_new(&self) -> Option<Fields> {
        fields(self.write.as_ref()?.if_new.as_ref()?)
    }

    /// The reason of a rejection, with the fields that it does not name itself.
    fn reason(&self) -> String {
        let message = self.message.clone().unwrap_or_default();
        let unnamed = self
            .rejected_fields
            .iter()
            .filter(|field| !message.contains(*field))
            .map(String::as_str);
        let unnamed: Vec<&str> = unnamed.collect();
        if unnamed.is_empty() {
            message
        } else {
            format!("{}: {message}", unnamed.join(", "))
        }
    }

    fn to_json(&self) -> RowJson<'_> {
        let write = self.write.as_ref().map(|write| WriteJson {
            batch: write.batch,
            fields: self.fields(),
            fields_if_new: self.fields_if_new(),
            operation: write.kind.name(),
        });
        RowJson {
            carried_by: self.carried_by,
            code: self.code.as_deref(),
            contact_id: self.contact_id.as_deref(),
            destination: self.destination,
            event_id: self.event_id.as_deref(),
            fate: name(self.fate),
            message: self.message.as_deref(),
            operation: self.operation,
            record: self.record,
            rejected_fields: &self.rejected_fields,
            write,
        }
    }

    /// Each field that is sent, and its value.
    fn written(&self) -> Vec<(String, String)> {
        let always = self.fields().unwrap_or_default().into_iter();
        let if_new = self.fields_if_new().unwrap_or_default().into_iter();
        let if_new = if_new.map(|(field, value)| (format!("{field} (if new)"), shown(&value)));
        always
            .map(|(field, value)| (field, shown(&value)))
            .chain(if_new)
            .collect()
    }

    /// The record, and a line for each field that is sent.
    fn to_lines(&self) -> Vec<[String; 8]> {
        let mut details: Vec<(String, String)> = match (&self.carried_by, &self.write) {
            (Some(later), _) => vec![("carried by record".to_owned(), later.to_string())],
            (None, Some(_)) => self.written(),
            (None, None) => vec![(self.code.clone().unwrap_or_default(), self.reason())],
        };
        if details.is_empty() {
            details.push((String::new(), String::new()));
        }
        let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let batch = self
            .write
            .as_ref()
            .map(|write| format!("{} {}", write.batch, write.kind.name()));
        let mut lines: Vec<[String; 8]> = details
            .into_iter()
            .map(|(field, value)| blank(field, value))
            .collect();
        lines[0][..6].clone_from_slice(&[
            self.record.to_string(),
            text(self.contact_id.as_deref()),
            text(self.operation),
            text(self.destination),
            name(self.fate).to_owned(),
            text(batch.as_deref()),
        ]);
        lines
    }
}

/// The fields of a body. A field is a text, a number or the like: an object is a system's own
/// envelope.
fn fields(body: &Body) -> Option<Fields> {
    let mut fields: Fields = serde_json::from_str(body.get()).ok()?;
    fields.retain(|_, value| !value.get().starts_with('{'));
    Some(fields)
}

/// A field's value. Salesforce is told `null` to clear a field, HubSpot an empty text.
fn shown(value: &RawValue) -> String {
    match serde_json::from_str(value.get()) {
        Ok(Value::Null) => "(cleared)".to_owned(),
        Ok(Value::String(text)) if text.is_empty() => "(cleared)".to_owned(),
        Ok(Value::String(text)) => text,
        _ => value.get().to_owned(),
    }
}

fn blank(field: String, value: String) -> [String; 8] {
    let empty = String::new;
    [
        empty(),
        empty(),
        empty(),
        empty(),
        empty(),
        empty(),
        field,
        value,
    ]
}
