//! What the dry run came to, record by record.

use contact_sync::adapters::Body;
use contact_sync::consume::Record;
use contact_sync::dispatch::Planned;
use contact_sync::pipeline::Sent;
use contact_sync::settle::{Entry, Fate, Verdict};
use serde_json::{Map, Value, json};

use super::{Plan, Write};
use crate::output::table;

impl Plan {
    /// Writes down one call.
    pub(super) fn take(&mut self, planned: &Planned<'_>) {
        let destination = planned.destination.0;
        let known = self.calls.iter().position(|(name, ..)| *name == destination);
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
    calls: Vec<(&'static str, usize, u32)>,
}

/// One record at one destination, or nowhere.
struct Row {
    record: usize,
    event_id: Option<String>,
    contact_id: Option<String>,
    operation: Option<&'static str>,
    destination: Option<&'static str>,
    fate: &'static str,
    code: Option<String>,
    message: Option<String>,
    /// The write that it gives its content to.
    write: Option<Write>,
    /// The later record that carries it.
    carried_by: Option<usize>,
}

impl Report {
    pub(super) fn new(sent: &Sent, plan: Plan, records: &[Record<'_>]) -> Self {
        let Plan { mut writes, calls } = plan;
        let mut rows = Vec::new();
        for record in 0..records.len() {
            let Some(entry) = sent.entries.get(record) else { continue };
            let row = head(record, sent, entry);
            if entry.rows.is_empty() {
                rows.push(row);
                continue;
            }
            for at in &entry.rows {
                let destination = sent.meters.get(at.destination).map(|(name, _)| name.0);
                let mine = |write: &Write| Some(write.destination) == destination && write.sources.contains(&record);
                let carrier = writes.iter().find(|write| mine(write)).and_then(|write| write.sources.last().copied());
                let own = writes.iter().position(|write| mine(write) && write.sources.last() == Some(&record));
                let verdict = at.verdict.as_ref();
                let message = match verdict {
                    Some(Verdict::Rejected(_, rejection)) => Some(rejection.message.clone()),
                    _ => None,
                };
                rows.push(Row {
                    destination,
                    fate: Fate::of_verdict(verdict).name(),
                    code: verdict.and_then(|verdict| verdict.code()).map(ToString::to_string),
                    message,
                    write: own.map(|own| writes.swap_remove(own)),
                    carried_by: carrier.filter(|carrier| *carrier != record),
                    ..head(record, sent, entry)
                });
            }
        }
        Self { rows, calls }
    }

    pub(super) fn to_json(&self) -> Value {
        let calls = self.calls.iter().map(
            |(destination, batches, calls)| json!({"destination": destination, "batches": batches, "api_calls": calls}),
        );
        let total: u32 = self.calls.iter().map(|(.., calls)| calls).sum();
        json!({
            "records": self.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
            "calls": calls.collect::<Vec<_>>(),
            "api_calls": total,
        })
    }

    pub(super) fn to_text(&self) -> String {
        let header = ["RECORD", "CONTACT", "OPERATION", "DESTINATION", "FATE", "BATCH", "FIELD", "VALUE"];
        let text = table(header, self.rows.iter().flat_map(Row::to_lines));
        let total: u32 = self.calls.iter().map(|(.., calls)| calls).sum();
        let lines = self
            .calls
            .iter()
            .map(|(destination, batches, calls)| format!("{destination}: API calls {calls}, batches {batches}"));
        let all = format!(
            "in all: API calls {total}, one for a Salesforce token where none is at hand, \
             and one for each batch with new leads that lack LastName or Company"
        );
        let calls: Vec<String> = lines.chain([all]).collect();
        format!("{text}\n\n{}", calls.join("\n"))
    }
}

/// What a record's rows have in common, and all that there is to say where it goes nowhere.
fn head(record: usize, sent: &Sent, entry: &Entry) -> Row {
    let change = sent.changes.get(record).and_then(Option::as_ref);
    let refusal = entry.refusal.as_deref();
    let id = |known: Option<&str>, read: Option<&Box<str>>| known.or(read.map(|text| &**text)).map(str::to_owned);
    Row {
        record,
        event_id: id(change.map(|change| &*change.event_id), refusal.and_then(|refusal| refusal.event_id.as_ref())),
        contact_id: id(
            change.map(|change| change.contact.id.as_str()),
            refusal.and_then(|refusal| refusal.contact_id.as_ref()),
        ),
        operation: change.map(|change| change.operation.name()),
        destination: None,
        fate: Fate::of_entry(entry).name(),
        code: refusal.map(|refusal| &refusal.rejection.code).or(entry.filtered.as_ref()).map(ToString::to_string),
        message: refusal.map(|refusal| refusal.rejection.message.clone()),
        write: None,
        carried_by: None,
    }
}

impl Row {
    fn fields(&self) -> Option<Map<String, Value>> {
        fields(self.write.as_ref()?.body.as_ref()?)
    }

    /// The fields that are added where the record does not exist yet.
    fn fields_if_new(&self) -> Option<Map<String, Value>> {
        fields(self.write.as_ref()?.if_new.as_ref()?)
    }

    fn to_json(&self) -> Value {
        json!({
            "record": self.record, "event_id": self.event_id, "contact_id": self.contact_id,
            "operation": self.operation, "destination": self.destination, "fate": self.fate, "code": self.code,
            "message": self.message, "carried_by": self.carried_by,
            "write": self.write.as_ref().map(|write| json!({
                "batch": write.batch, "operation": write.kind.name(), "fields": self.fields(),
                "fields_if_new": self.fields_if_new(),
            })),
        })
    }

    /// Each field that is sent, and its value.
    fn written(&self) -> Vec<(String, String)> {
        let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let always = self.fields().unwrap_or_default().into_iter();
        let if_new = self.fields_if_new().unwrap_or_default().into_iter();
        let if_new = if_new.map(|(field, value)| (format!("{field} (if new)"), text(value)));
        always.map(|(field, value)| (field, text(value))).chain(if_new).collect()
    }

    /// The record, and a line for each field that is sent.
    fn to_lines(&self) -> Vec<[String; 8]> {
        let mut details: Vec<(String, String)> = match (&self.carried_by, &self.write) {
            (Some(later), _) => vec![("carried by record".to_owned(), later.to_string())],
            (None, Some(_)) => self.written(),
            (None, None) => vec![(self.code.clone().unwrap_or_default(), self.message.clone().unwrap_or_default())],
        };
        if details.is_empty() {
            details.push((String::new(), String::new()));
        }
        let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let batch = self.write.as_ref().map(|write| format!("{} {}", write.batch, write.kind.name()));
        let mut lines: Vec<[String; 8]> = details.into_iter().map(|(field, value)| blank(field, value)).collect();
        lines[0][..6].clone_from_slice(&[
            self.record.to_string(),
            text(self.contact_id.as_deref()),
            text(self.operation),
            text(self.destination),
            self.fate.to_owned(),
            text(batch.as_deref()),
        ]);
        lines
    }
}

fn fields(body: &Body) -> Option<Map<String, Value>> {
    serde_json::from_str(body.get()).ok()
}

fn blank(field: String, value: String) -> [String; 8] {
    let empty = String::new;
    [empty(), empty(), empty(), empty(), empty(), empty(), field, value]
}
