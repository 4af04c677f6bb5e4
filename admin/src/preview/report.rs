//! Report of a dry run, record by record.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use contact_sync::dispatch::Planned;
use contact_sync::model::{Body, Operation, Payload, Record, WholeRow};
use contact_sync::pipeline::Sent;
use contact_sync::settle::{Entry, Fate, RecordOutcome};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::counts::{Counts, name};
use super::{Plan, Write};
use crate::output::table;

/// Index of the write that contains a record, by destination and record.
type WriteIndex = HashMap<(&'static str, usize), usize>;

impl Plan {
    /// Adds a planned batch.
    pub(super) fn add(&mut self, planned: &Planned<'_>) {
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
            if_new: fields_of_new(&job.payload),
            conditions: job.payload.conditions.clone(),
        }));
    }
}

/// Returns the fields that are added to a record that does not exist yet: the columns that did not
/// change, and the defaults.
fn fields_of_new(payload: &Payload) -> Option<Body> {
    let Some(WholeRow::Payload(whole)) = &payload.whole else {
        return payload.if_new.clone();
    };
    let own = payload.body.iter().flat_map(Body::fields);
    let own: Vec<String> = own.map(|(name, _)| name).collect();
    let whole = &whole.payload;
    let rest = whole.body.as_ref()?.without(&own);
    Some(match &whole.if_new {
        Some(defaults) => rest.with_missing(defaults),
        None => rest,
    })
}

/// Result of `preview`.
pub(super) struct Report {
    rows: Vec<Row>,
    counts: Counts,
    calls: Vec<(&'static str, usize, u32)>,
    /// Calls that a dry run cannot count, as lists of nouns.
    uncounted: Vec<&'static str>,
}

/// Row of one record at one destination, or of a record without a destination.
struct Row {
    record: usize,
    event_id: Option<String>,
    contact_id: Option<String>,
    operation: Option<&'static str>,
    destination: Option<&'static str>,
    fate: Fate,
    code: Option<String>,
    message: Option<String>,
    /// Fields that caused the rejection.
    rejected_fields: Vec<String>,
    /// Write whose content the record determines.
    write: Option<Write>,
    /// Later record that determines the content of the write.
    carried_by: Option<usize>,
}

/// Write, with the last of its records, which determines its content.
struct IndexedWrite {
    last: usize,
    write: Option<Write>,
}

impl Report {
    /// Builds the report from the outcomes and the plan of a dry run.
    pub(super) fn new(sent: &Sent, plan: Plan, records: &[Record<'_>]) -> Self {
        let Plan { writes, calls } = plan;
        let (mut writes, index) = index_writes(writes);
        let (mut rows, mut counts) = (Vec::new(), Counts::default());
        for (record, entry) in sent.entries.iter().enumerate().take(records.len()) {
            let record_rows = rows_of(record, sent, entry, &mut writes, &index);
            let codes = record_rows
                .iter()
                .filter_map(|row| Some((row.fate, row.code.clone()?)));
            counts.add(Fate::of_entry(entry), codes);
            rows.extend(record_rows);
        }
        Self {
            rows,
            counts,
            calls,
            uncounted: Vec::new(),
        }
    }

    /// Names the calls that a dry run cannot count. Ignores empty texts.
    pub(super) fn with_uncounted(self, calls: impl Iterator<Item = &'static str>) -> Self {
        Self {
            uncounted: calls.filter(|text| !text.is_empty()).collect(),
            ..self
        }
    }

    /// Returns whether no record is rejected or fails.
    pub(super) fn is_clean(&self) -> bool {
        self.counts.is_clean()
    }

    pub(super) fn to_json(&self, is_summary: bool) -> impl Serialize {
        let mut calls = Vec::new();
        let mut total = 0;
        for (destination, batches, api_calls) in &self.calls {
            total += api_calls;
            calls.push(json!({
                "destination": destination,
                "batches": batches,
                "api_calls": api_calls,
            }));
        }
        let records = (!is_summary).then(|| self.rows.iter().map(Row::to_json).collect());
        ReportJson {
            api_calls: total,
            calls,
            counts: self.counts.to_json(),
            records,
        }
    }

    /// Returns the table of the records.
    pub(super) fn records_text(&self) -> String {
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
        table(header, self.rows.iter().flat_map(Row::to_lines))
    }

    pub(super) fn to_text(&self, is_summary: bool) -> String {
        let mut text = String::new();
        if !is_summary {
            text = self.records_text() + "\n\n";
        }
        let total: u32 = self.calls.iter().map(|(.., calls)| calls).sum();
        for (destination, batches, calls) in &self.calls {
            let _ = writeln!(text, "{destination}: API calls {calls}, batches {batches}");
        }
        let _ = write!(text, "total: API calls {total}");
        for calls in &self.uncounted {
            let _ = write!(text, ", plus {calls}");
        }
        text + "\n" + &self.counts.to_text()
    }
}

/// Indexes the writes by destination and record.
fn index_writes(writes: Vec<Write>) -> (Vec<IndexedWrite>, WriteIndex) {
    let (mut indexed, mut index) = (Vec::with_capacity(writes.len()), WriteIndex::new());
    for write in writes {
        let Some(last) = write.sources.last().copied() else {
            continue;
        };
        for source in &write.sources {
            index.insert((write.destination, *source), indexed.len());
        }
        indexed.push(IndexedWrite {
            last,
            write: Some(write),
        });
    }
    (indexed, index)
}

/// Builds the rows of a record: one for each destination, or one row if it has no destination.
fn rows_of(
    record: usize,
    sent: &Sent,
    entry: &Entry,
    writes: &mut [IndexedWrite],
    index: &WriteIndex,
) -> Vec<Row> {
    if entry.rows.is_empty() {
        return vec![base_row(record, sent, entry)];
    }
    let mut rows = Vec::with_capacity(entry.rows.len());
    for at in &entry.rows {
        let destination = sent.meters.get(at.destination).map(|(name, _)| name.0);
        let indexed =
            destination.and_then(|destination| writes.get_mut(*index.get(&(destination, record))?));
        let outcome = at.outcome.as_ref();
        let rejection = match outcome {
            Some(RecordOutcome::Rejected(_, rejection)) => Some(rejection),
            _ => None,
        };
        let (write, carried_by) = match indexed {
            Some(indexed) if indexed.last == record => (indexed.write.take(), None),
            Some(indexed) => (None, Some(indexed.last)),
            None => (None, None),
        };
        rows.push(Row {
            destination,
            fate: Fate::of_outcome(outcome),
            code: outcome
                .and_then(|outcome| outcome.code())
                .map(ToString::to_string),
            message: rejection.map(|rejection| rejection.message.clone()),
            rejected_fields: rejection
                .map(|rejection| rejection.fields.clone())
                .unwrap_or_default(),
            write,
            carried_by,
            ..base_row(record, sent, entry)
        });
    }
    rows
}

/// Builds the row of a record without a destination: the columns that all rows of the record share.
fn base_row(record: usize, sent: &Sent, entry: &Entry) -> Row {
    let change = sent.changes.get(record).and_then(Option::as_ref);
    let refusal = entry.refusal.as_deref();
    let (event_id, contact_id, operation) = match (change, refusal) {
        (Some(change), _) => (
            Some(change.event_id.to_string()),
            Some(change.contact.id.as_str().to_owned()),
            Some(change.operation),
        ),
        (None, Some(refusal)) => (
            refusal.event_id.as_deref().map(str::to_owned),
            refusal.contact_id.as_deref().map(str::to_owned),
            refusal.operation,
        ),
        (None, None) => (None, None, None),
    };
    Row {
        record,
        event_id,
        contact_id,
        operation: operation.map(Operation::name),
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

/// Fields by name, each with its JSON text: a number keeps its digits.
type Fields = BTreeMap<String, Box<RawValue>>;

#[derive(Serialize)]
struct ReportJson<'a> {
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
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields_by_policy: BTreeMap<&'static str, Fields>,
    fields_if_new: Option<Fields>,
    operation: &'static str,
}

impl Row {
    /// Returns the fields that are sent.
    fn fields(&self) -> Option<Fields> {
        fields(self.write.as_ref()?.body.as_ref()?)
    }

    /// Returns the fields that are added if the record does not exist yet.
    fn fields_if_new(&self) -> Option<Fields> {
        fields(self.write.as_ref()?.if_new.as_ref()?)
    }

    /// Returns the fields that are written under a condition, by their policy.
    fn fields_by_policy(&self) -> BTreeMap<&'static str, Fields> {
        let conditions = self
            .write
            .as_ref()
            .and_then(|write| write.conditions.as_ref());
        let Some(conditions) = conditions else {
            return BTreeMap::new();
        };
        let bodies = [
            ("create", &conditions.create),
            ("empty", &conditions.empty),
            ("unedited", &conditions.unedited),
        ];
        let of =
            |(policy, body): (&'static str, &Option<Body>)| Some((policy, fields(body.as_ref()?)?));
        bodies.into_iter().filter_map(of).collect()
    }

    /// Returns the reason of a rejection, with the fields that its message does not name.
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
            fields_by_policy: self.fields_by_policy(),
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

    /// Returns each field that is sent, with its value.
    fn written_fields(&self) -> Vec<(String, String)> {
        let mut written = Vec::new();
        for (field, value) in self.fields().unwrap_or_default() {
            written.push((field, display_value(&value)));
        }
        for (field, value) in self.fields_if_new().unwrap_or_default() {
            written.push((format!("{field} (if new)"), display_value(&value)));
        }
        for (policy, fields) in self.fields_by_policy() {
            for (field, value) in fields {
                written.push((format!("{field} ({policy})"), display_value(&value)));
            }
        }
        written
    }

    /// Formats the row as table lines: one for each field that is sent, the first with the record.
    fn to_lines(&self) -> Vec<[String; 8]> {
        let mut details: Vec<(String, String)> = match (&self.carried_by, &self.write) {
            (Some(later), _) => vec![("carried by record".to_owned(), later.to_string())],
            (None, Some(_)) => self.written_fields(),
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
            .map(|(field, value)| field_line(field, value))
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

/// Parses the fields of a body. The value of a field is a scalar: an object is part of the
/// destination's envelope.
fn fields(body: &Body) -> Option<Fields> {
    let mut fields: Fields = serde_json::from_str(body.get()).ok()?;
    fields.retain(|_, value| !value.get().starts_with('{'));
    Some(fields)
}

/// Formats the value of a field. A system clears a field by `null` or by an empty text.
fn display_value(value: &RawValue) -> String {
    match serde_json::from_str(value.get()) {
        Ok(Value::Null) => "(cleared)".to_owned(),
        Ok(Value::String(text)) if text.is_empty() => "(cleared)".to_owned(),
        Ok(Value::String(text)) => text,
        _ => value.get().to_owned(),
    }
}

/// Formats a table line with a field alone.
fn field_line(field: String, value: String) -> [String; 8] {
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
