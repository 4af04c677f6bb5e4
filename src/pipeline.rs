//! The stages, and the bounded queues between them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::adapters::{Code, Destination};
use crate::consume::{EventConsumer, Filter, Record};
use crate::contact::{ContactChange, VersionSource};
use crate::dispatch::{ApiDispatcher, DispatchContext};
use crate::fold::{Position, fold};
use crate::route::Router;
use crate::settle::{
    Batch, Entry, Ledger, OutcomeRecorder, PriorOutcomes, Rest, Settled, Settler, Skipping,
};
use crate::telemetry::DestinationMetrics;
use crate::transform::{DestinationGuard, SchemaTransformer};

/// The section `[pipeline]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "`src/settings/defaults.toml` documents every key"
)]
pub struct Settings {
    pub dry_run: bool,
    pub concurrency_share: u32,
    pub transform_concurrency: usize,
    pub queue_capacity: usize,
    pub deadline_margin_ms: u64,
    pub fallback_budget_ms: u64,
}

/// A destination and how it is reached.
#[derive(Clone)]
pub struct Connection {
    /// Its dispatcher, which holds the adapter.
    pub dispatcher: ApiDispatcher,
    /// What is compared with its version.
    pub guard: DestinationGuard,
}

/// When an invocation's work has to end.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// No call is under way after this.
    pub work: Instant,
    /// Dead letters are stored by then, and the state table has what it is to remember.
    pub settling: Instant,
    /// No line of the audit trail is begun after this: the rest of the time is the answer's.
    pub lines: Instant,
}

/// The whole way of the data, of one set of settings.
#[derive(Clone)]
pub struct Pipeline {
    /// What is for us.
    pub filter: Filter,
    /// Where it goes.
    pub router: Router,
    /// The destinations, in the order that the router knows.
    pub connections: Arc<[Connection]>,
    /// Which number destinations compare changes by.
    pub version_source: VersionSource,
    /// What happens at the end.
    pub settler: Settler,
    /// The section `[pipeline]`.
    pub settings: Settings,
}

/// What a batch came to, and what it took.
#[derive(Debug)]
pub struct Outcome {
    /// The fates.
    pub settled: Settled,
    /// Each destination's counts, in the factory's order.
    pub meters: Vec<(Destination, DestinationMetrics)>,
}

/// What is known of a batch once everything has been sent.
pub struct Sent {
    /// What became of each record.
    pub entries: Vec<Entry>,
    /// The changes, by their records' positions.
    pub changes: Vec<Option<Box<ContactChange>>>,
    /// What earlier invocations had settled.
    pub earlier: PriorOutcomes,
    /// Each destination's counts, in the factory's order.
    pub meters: Vec<(Destination, DestinationMetrics)>,
    /// Calls of the state table that came to nothing.
    pub state_errors: u64,
}

/// A valid change and its place.
type Processed = (Position, Box<ContactChange>);

impl Pipeline {
    /// The deadline of an invocation that Lambda ends after `remaining`. A time that cannot be
    /// (local emulators name one in 1970) gives way to `fallback_budget_ms`.
    pub fn deadline(&self, remaining: Option<Duration>) -> Deadline {
        /// The longest that Lambda lets a function run.
        /// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html>
        const LONGEST: Duration = Duration::from_mins(15);
        let believable =
            remaining.filter(|remaining| !remaining.is_zero() && *remaining <= LONGEST);
        let budget = believable.unwrap_or(Duration::from_millis(self.settings.fallback_budget_ms));
        // A function with a timeout below the margin still has half of its time to work.
        let margin = Duration::from_millis(self.settings.deadline_margin_ms).min(budget / 2);
        let now = Instant::now();
        let end = now + budget;
        Deadline {
            work: end - margin,
            settling: end - margin / 3,
            lines: end - margin / 6,
        }
    }

    /// Takes a batch all the way. Whatever is not known when the time is up has failed.
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

    /// Takes a batch to its destinations, and settles nothing yet.
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
        // What was settled earlier is asked for beside the decoding.
        let collecting = async {
            let (earlier, (), routed) = tokio::join!(
                self.settler.earlier(records, until),
                self.consume(records, &ledger, processed),
                self.collect(queue, &ledger, &mut changes),
            );
            (earlier, routed)
        };
        let (mut earlier, mut state_errors) = (PriorOutcomes::default(), 0);
        if let Ok(((known, was_told), routed)) = timeout_at(until, collecting).await {
            earlier = known;
            state_errors += u64::from(!was_told);
            earlier
                .wholes()
                .for_each(|(position, fate)| ledger.settle_earlier(position, fate));
            let each = routed
                .into_iter()
                .enumerate()
                .map(|(destination, positions)| {
                    let sink = OutcomeRecorder {
                        ledger: &ledger,
                        destination,
                        meter: &meters[destination],
                    };
                    self.deliver(positions, &changes, &earlier, sink, until)
                });
            join_all(each).await;
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

    /// Records to changes.
    async fn consume(
        &self,
        records: &[Record<'_>],
        ledger: &Ledger,
        queue: mpsc::Sender<Processed>,
    ) {
        let now = OffsetDateTime::now_utc();
        for (position, record) in records.iter().enumerate() {
            match EventConsumer.consume(record.data.as_deref(), record.arrived_at(now)) {
                Err(refusal) => ledger.refuse(position, refusal),
                Ok(mut change) => {
                    change.version_source = self.version_source;
                    // The receiver outlives this: both are in one join.
                    drop(queue.send((position, change)).await);
                }
            }
        }
    }

    /// Filters and routes changes: returns the positions that each destination gets. Folding needs
    /// the whole batch, so here it is gathered, filtered changes included: their lines in the audit
    /// trail name them.
    async fn collect(
        &self,
        mut queue: mpsc::Receiver<Processed>,
        ledger: &Ledger,
        changes: &mut [Option<Box<ContactChange>>],
    ) -> Vec<Vec<Position>> {
        let mut routed = vec![Vec::new(); self.connections.len()];
        while let Some((position, change)) = queue.recv().await {
            match self.destinations(&change) {
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

    /// Returns where `change` goes, or why it goes nowhere.
    fn destinations(&self, change: &ContactChange) -> Result<&[usize], Code> {
        if let Some(code) = self.filter.judge(change) {
            return Err(code);
        }
        match self.router.route(change) {
            [] => Err(Code::new("NO_ROUTE")),
            destinations => Ok(destinations),
        }
    }

    /// One destination's part: fold, leave out what is settled, transform, dispatch. Apart from
    /// every other destination's, its time and its panics included.
    async fn deliver(
        &self,
        positions: Vec<Position>,
        changes: &[Option<Box<ContactChange>>],
        earlier: &PriorOutcomes,
        sink: OutcomeRecorder<'_>,
        deadline: Instant,
    ) {
        let Some(connection) = self
            .connections
            .get(sink.destination)
            .filter(|_| !positions.is_empty())
        else {
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
                sink,
                meter: sink.meter,
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
                tracing::error!(%destination, "sending failed inside contact-sync: the destination's records come again");
            }
            Err(_) => tracing::warn!(
                destination = %dispatcher.adapter.destination(), "out of time: what is not settled comes again"
            ),
        }
    }
}
