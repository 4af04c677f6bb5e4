//! Runs the stages, with bounded queues between them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::dispatch::{ApiDispatcher, DispatchContext};
use crate::fold::fold;
use crate::model::codes;
use crate::model::{Code, ContactChange, Destination, Position, Record, Refusal, VersionSource};
use crate::route::Router;
use crate::settle::checkpoint;
use crate::settle::{
    Batch, Entry, Ledger, OutcomeRecorder, PriorOutcomes, Rest, Settled, Settler, Skipping,
};
use crate::source::layers::DecompressionBudget;
use crate::source::{Decoded, Filter, Filtered, RecordDecoder};
use crate::telemetry::{Counts, DestinationMetrics};
use crate::transform::{DestinationGuard, SchemaTransformer};

/// The section `[pipeline]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "`src/settings/defaults.toml` documents every key"
)]
pub struct Settings {
    pub dry_run: bool,
    pub destinations: Vec<String>,
    pub concurrency_share: u32,
    pub transform_concurrency: usize,
    pub queue_capacity: usize,
    pub deadline_margin_ms: u64,
    pub fallback_budget_ms: u64,
}

/// A destination, with the dispatcher that sends to it.
#[derive(Clone)]
pub struct Connection {
    /// The dispatcher, which holds the adapter.
    pub dispatcher: ApiDispatcher,
    /// The guard that compares changes with the version that the destination holds.
    pub guard: DestinationGuard,
}

/// The times at which an invocation's parts have to end.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// The end of every call.
    pub work: Instant,
    /// The end of settling: dead letters are stored, and the state table is written.
    pub settling: Instant,
    /// The end of the audit trail. The rest of the time belongs to the response.
    pub lines: Instant,
}

/// All stages, for one set of settings.
#[derive(Clone)]
pub struct Pipeline {
    /// Decodes records.
    pub decoder: RecordDecoder,
    /// The changes that are synchronized.
    pub filter: Filter,
    /// The destinations of each change.
    pub router: Router,
    /// The destinations, in the order of the router's indexes.
    pub connections: Arc<[Connection]>,
    /// The number by which destinations compare changes.
    pub version_source: VersionSource,
    /// Whether each change is compared, so that the rows of a full load have to lose.
    pub compares_all: bool,
    /// Settles records at the end.
    pub settler: Settler,
    /// The function's name, the dimension of its metrics. Empty outside of Lambda.
    pub function: Arc<str>,
    /// The section `[pipeline]`.
    pub settings: Settings,
}

/// The result of a batch.
#[derive(Debug)]
pub struct Outcome {
    /// The fates of the records.
    pub settled: Settled,
    /// Each destination's counts, in the order of the connections.
    pub meters: Vec<(Destination, DestinationMetrics)>,
}

impl Outcome {
    /// Returns the result of a batch of so many records, none of which could be sent.
    pub fn all_failed(records: usize) -> Self {
        let settled = Settled {
            failed: (0..records).collect(),
            counts: Counts {
                failed: records as u64,
                ..Counts::default()
            },
            ..Settled::default()
        };
        Self {
            settled,
            meters: Vec::new(),
        }
    }
}

/// The state of a batch after all sending, before settling.
pub struct Sent {
    /// The outcomes of each record.
    pub entries: Vec<Entry>,
    /// The changes, by their records' positions.
    pub changes: Vec<Option<Box<ContactChange>>>,
    /// The outcomes recorded by earlier invocations.
    pub earlier: PriorOutcomes,
    /// Each destination's counts, in the order of the connections.
    pub meters: Vec<(Destination, DestinationMetrics)>,
    /// Failed calls of the state table.
    pub state_errors: u64,
}

/// A valid change and the position of its record, with the code for which the record is filtered,
/// if it is.
type Processed = (Position, Box<ContactChange>, Option<Code>);

impl Pipeline {
    /// Returns the deadline of an invocation that Lambda ends after `remaining`. An implausible
    /// time (local emulators send one in 1970) is replaced by `fallback_budget_ms`.
    pub fn deadline(&self, remaining: Option<Duration>) -> Deadline {
        /// The longest that Lambda lets a function run.
        /// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html>
        const LONGEST: Duration = Duration::from_mins(15);
        let believable =
            remaining.filter(|remaining| !remaining.is_zero() && *remaining <= LONGEST);
        let budget = believable.unwrap_or(Duration::from_millis(self.settings.fallback_budget_ms));
        // A function with a timeout below the margin has half of its time for work.
        let margin = Duration::from_millis(self.settings.deadline_margin_ms).min(budget / 2);
        let now = Instant::now();
        let end = now + budget;
        Deadline {
            work: end - margin,
            settling: end - margin / 3,
            lines: end - margin / 6,
        }
    }

    /// Sends a batch to its destinations and settles it. A record without an outcome at the
    /// deadline has failed.
    pub async fn run(&self, records: &[Record<'_>], deadline: Deadline) -> Outcome {
        let Sent {
            entries,
            changes,
            earlier,
            meters,
            state_errors,
        } = self.send(records, deadline.work).await;
        let batch = Batch {
            records,
            changes: &changes,
            entries: &entries,
            earlier: &earlier,
        };
        let mut settled = self
            .settler
            .settle(batch, deadline.settling, deadline.lines)
            .await;
        settled.state_errors += state_errors;
        Outcome { settled, meters }
    }

    /// Sends a batch to its destinations, without settling it.
    pub async fn send(&self, records: &[Record<'_>], until: Instant) -> Sent {
        let ledger = Ledger::new(records.len());
        let meters: Vec<DestinationMetrics> = self
            .connections
            .iter()
            .map(|_| DestinationMetrics::default())
            .collect();
        let mut changes: Vec<Option<Box<ContactChange>>> = Vec::new();
        changes.resize_with(records.len(), || None);

        let (processed, queue) = mpsc::channel::<Processed>(self.settings.queue_capacity);
        // The prior outcomes are looked up while the records are decoded.
        let collecting = async {
            let (earlier, (), routed) = tokio::join!(
                self.settler.earlier(records, until),
                self.consume(records, &ledger, processed),
                self.collect(queue, &ledger, &mut changes),
            );
            (earlier, routed)
        };
        let (mut earlier, mut state_errors) = (PriorOutcomes::default(), 0);
        if let Ok(((known, was_answered), routed)) = timeout_at(until, collecting).await {
            earlier = known;
            state_errors += u64::from(!was_answered);
            for (position, fate) in earlier.wholes() {
                ledger.settle_earlier(position, fate);
            }
            let mut deliveries = Vec::new();
            for (destination, positions) in routed.into_iter().enumerate() {
                let sink = OutcomeRecorder {
                    ledger: &ledger,
                    destination,
                    metrics: &meters[destination],
                };
                deliveries.push(self.deliver(positions, &changes, &earlier, sink, until));
            }
            join_all(deliveries).await;
        }
        let names = self
            .connections
            .iter()
            .map(|connection| connection.dispatcher.adapter.destination());
        Sent {
            entries: ledger.close(),
            meters: names.zip(meters).collect(),
            changes,
            earlier,
            state_errors,
        }
    }

    /// Decodes the records into changes. Records behind the budget of the event keep no outcome,
    /// and come again.
    async fn consume(
        &self,
        records: &[Record<'_>],
        ledger: &Ledger,
        queue: mpsc::Sender<Processed>,
    ) {
        let now = OffsetDateTime::now_utc();
        let mut budget = DecompressionBudget::default();
        for (position, record) in records.iter().enumerate() {
            if budget.is_spent() {
                if !is_of_first(records, position) {
                    tracing::warn!(
                        records = records.len() - position,
                        "compressed records too large together: the records behind them come again"
                    );
                    return;
                }
                // It would come again behind the same records.
                self.refuse(position, DecompressionBudget::refusal(), ledger);
                continue;
            }
            let decoded = self.decoder.decode_within(record, now, &mut budget);
            let (mut change, code) = match decoded {
                Ok(Decoded::Change(change)) => (change, None),
                Ok(Decoded::Filtered(filtered)) => {
                    warn_of(&filtered);
                    let code = Code::new(filtered.code);
                    let Some(change) = filtered.change else {
                        ledger.filter(position, code);
                        continue;
                    };
                    (change, Some(code))
                }
                Err(refusal) => {
                    self.refuse(position, refusal, ledger);
                    continue;
                }
            };
            change.version_source = self.version_source;
            change.is_load &= self.compares_all && !change.replay;
            // The receiver outlives this sender: both are in one join.
            drop(queue.send((position, change, code)).await);
        }
    }

    /// Refuses a record that is no change, or leaves it to the function that owns such records.
    fn refuse(&self, position: Position, refusal: Box<Refusal>, ledger: &Ledger) {
        if self.router.owns_unrouted() {
            ledger.refuse(position, refusal);
        } else {
            let code = Code::new(codes::OTHER_DESTINATION);
            ledger.leave_to_another(position, refusal, code);
        }
    }

    /// Filters and routes changes. Returns the positions that each destination gets. Gathers the
    /// whole batch, which folding needs; filtered changes too, which the audit trail names.
    async fn collect(
        &self,
        mut queue: mpsc::Receiver<Processed>,
        ledger: &Ledger,
        changes: &mut [Option<Box<ContactChange>>],
    ) -> Vec<Vec<Position>> {
        let mut routed = vec![Vec::new(); self.connections.len()];
        while let Some((position, change, filtered)) = queue.recv().await {
            let destinations = match filtered {
                Some(code) => Err(code),
                None => self.destinations(&change),
            };
            match destinations {
                Ok(destinations) => {
                    ledger.expect(position, destinations);
                    for destination in destinations {
                        routed[*destination].push(position);
                    }
                }
                Err(code) => ledger.filter(position, code),
            }
            changes[position] = Some(change);
        }
        routed
    }

    /// Returns the destinations of `change`, or the code for which it has none.
    fn destinations(&self, change: &ContactChange) -> Result<&[usize], Code> {
        if let Some(code) = self.filter.excludes(change) {
            return Err(code);
        }
        self.router.route(change).map_err(Code::new)
    }

    /// Folds, skips settled changes, transforms and dispatches, for one destination. Time and
    /// panics of one destination do not affect another.
    async fn deliver(
        &self,
        positions: Vec<Position>,
        changes: &[Option<Box<ContactChange>>],
        earlier: &PriorOutcomes,
        sink: OutcomeRecorder<'_>,
        deadline: Instant,
    ) {
        if positions.is_empty() {
            return;
        }
        let Some(connection) = self.connections.get(sink.destination) else {
            return;
        };
        let dispatcher = &connection.dispatcher;
        let work = async {
            let steps = fold(
                positions
                    .iter()
                    .filter_map(|at| Some((*at, changes.get(*at)?.as_deref()?))),
            );
            let guard = if earlier.is_blind() {
                connection.guard.without_memory()
            } else {
                connection.guard
            };
            let skipping = Skipping {
                earlier,
                changes,
                destination: sink.destination,
                is_guarded: guard.protects(),
            };
            let Rest { steps, compared } =
                skipping.rest(steps, |position, verdict| sink.record(position, verdict, 0));
            let adapter = &*dispatcher.adapter;
            let transformer = SchemaTransformer {
                adapter,
                guard,
                compared: &compared,
                changes,
                sink,
            };
            let (payloads, queue) = mpsc::channel(self.settings.queue_capacity);
            let context = DispatchContext {
                deadline,
                transformer: &transformer,
                recorder: sink,
                metrics: sink.metrics,
            };
            tokio::join!(
                transformer.run(&steps, self.settings.transform_concurrency, payloads),
                dispatcher.run(queue, context),
            );
        };
        match timeout_at(deadline, AssertUnwindSafe(work).catch_unwind()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                let destination = dispatcher.adapter.destination();
                tracing::error!(
                    %destination,
                    "sending failed inside contact-sync: the destination's records come again"
                );
            }
            Err(_) => tracing::warn!(
                destination = %dispatcher.adapter.destination(),
                "out of time: what is not settled comes again"
            ),
        }
    }
}

/// Returns whether the record at `position` is of the event's first aggregate, or the first itself.
fn is_of_first(records: &[Record<'_>], position: Position) -> bool {
    let number = |position| checkpoint::identifier(records, position);
    number(position) == number(0)
}

/// Logs the kind of a filtered record of which an operator should know.
fn warn_of(filtered: &Filtered) {
    if let Some(kind) = filtered.warning {
        tracing::warn!(
            kind,
            code = filtered.code,
            "record filtered: it is no change of a row"
        );
    }
}
