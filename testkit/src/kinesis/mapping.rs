//! Event source mapping: its settings, and a run from the first record to the last.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::lambda::Handler;
use futures_util::future::join_all;
use lambda_runtime::{Context, LambdaEvent};
use tokio::time::Instant;

use super::batch::InvocationOutcome;
use super::lane::Lane;
use super::on_failure::{Discarded, OnFailure};
use super::stream::{Record, Stream, spread};

/// Settings of an event source mapping. The defaults are those of `template.yaml`, except for
/// smaller batches, no window, and no maximum age.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub batch_size: usize,
    /// Maximum time for which a batch is collected.
    pub window: Duration,
    /// Number of concurrent batches of a shard, by partition key.
    pub parallelization_factor: usize,
    /// Maximum number of retries; `None`: until the records are too old.
    pub max_retries: Option<u32>,
    /// Maximum age of a record; `None`: unlimited.
    pub max_age: Option<Duration>,
    pub bisect: bool,
    pub on_failure: OnFailure,
    /// `ReportBatchItemFailures`. Without it every response is a full success.
    pub report_failures: bool,
    /// Maximum size of an event, in bytes.
    pub payload: usize,
    /// First and longest backoff before a retry. The first one was observed as 214 ms; each next
    /// one is assumed to be twice as long.
    pub backoff: (Duration, Duration),
    /// Probability, in percent, that a poller dies before it has written its checkpoint: its
    /// records are delivered again, in other batches.
    pub lost_checkpoints: u32,
    /// Maximum number of times that the mapping is created again, in each lane, at an earlier
    /// record and with another batch size: settled records are delivered again.
    pub made_anew: usize,
    pub seed: u64,
    /// Fault of the simulation, with which the tests of the laws have to fail.
    pub broken: Option<Broken>,
}

/// Broken promise of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Delivers no batch again.
    DropsRedelivery,
    /// Reverses the records of each batch.
    SwapsOrder,
}

impl Default for Mapping {
    fn default() -> Self {
        Self {
            batch_size: 100,
            window: Duration::ZERO,
            parallelization_factor: 1,
            max_retries: None,
            max_age: None,
            bisect: true,
            on_failure: OnFailure::Message,
            report_failures: true,
            payload: 6 * 1024 * 1024,
            backoff: (Duration::from_millis(214), Duration::from_mins(1)),
            lost_checkpoints: 0,
            made_anew: 0,
            seed: 0,
            broken: None,
        }
    }
}

/// Invocation of the function.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub request_id: String,
    pub event: String,
    pub records: Vec<Arc<Record>>,
}

impl Invocation {
    /// Calls the handler with the invocation, as the runtime does.
    pub async fn handle(self, handler: &Handler) -> InvocationOutcome {
        let mut context = Context::default();
        context.request_id = self.request_id;
        match handler
            .handle(LambdaEvent::new(self.event.into(), context))
            .await
        {
            Ok(answer) => InvocationOutcome::Answer(serde_json::to_value(answer).expect("JSON")),
            Err(_) => InvocationOutcome::Error,
        }
    }
}

/// Delivery of a batch.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub request_id: String,
    pub shard: usize,
    /// Indices of the records in the shard.
    pub places: Vec<usize>,
    /// Time since the start.
    pub at: Duration,
}

/// Report of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// Deliveries, by start.
    pub deliveries: Vec<Delivery>,
    pub discarded: Vec<Discarded>,
    /// Shards and indices of the records before a checkpoint: they are not delivered again.
    pub settled: BTreeSet<(usize, usize)>,
    /// Number of lost checkpoints.
    pub lost_checkpoints: usize,
}

impl Report {
    /// Returns the number of delivered records; each delivery of a record counts.
    pub fn records(&self) -> usize {
        self.deliveries
            .iter()
            .map(|delivery| delivery.places.len())
            .sum()
    }

    /// Returns whether two records of a shard were always, or never, in the same batches. Returns
    /// `None` if some batches contained both, and some only one.
    pub fn together(&self, a: (usize, usize), b: (usize, usize)) -> Option<bool> {
        let mut met = self
            .deliveries
            .iter()
            .filter(|delivery| delivery.shard == a.0)
            .filter_map(|delivery| {
                let has = |place: (usize, usize)| delivery.places.contains(&place.1);
                (has(a) || has(b)).then(|| has(a) && has(b))
            });
        let first = met.next()?;
        met.all(|other| other == first).then_some(first)
    }

    /// Returns the number of records of the stream that no response has settled.
    pub fn lost(&self, stream: &Stream) -> usize {
        stream.len() - self.settled.len()
    }
}

/// State that all lanes of a run share.
pub(super) struct Run<F> {
    pub(super) function: F,
    pub(super) started: Instant,
    pub(super) stream_arn: String,
    pub(super) report: RefCell<Report>,
    pub(super) random: RefCell<fastrand::Rng>,
    invocations: Cell<u64>,
}

impl<F> Run<F> {
    pub(super) fn new_request_id(&self) -> String {
        self.invocations.set(self.invocations.get() + 1);
        format!("5e2b0c9a-0000-4000-8000-{:012x}", self.invocations.get())
    }
}

impl Mapping {
    /// Delivers all records. Shards and lanes run concurrently.
    pub async fn drain(
        &self,
        stream: &Stream,
        function: impl AsyncFn(Invocation) -> InvocationOutcome,
    ) -> Report {
        let run = Run {
            function,
            started: Instant::now(),
            stream_arn: stream.arn.clone(),
            report: RefCell::default(),
            random: RefCell::new(fastrand::Rng::with_seed(self.seed)),
            invocations: Cell::new(0),
        };
        let mut lanes = Vec::new();
        for shard in &stream.shards {
            let mut of_shard = vec![Vec::new(); self.parallelization_factor];
            for record in shard {
                of_shard[spread(&record.partition_key, self.parallelization_factor)]
                    .push(Arc::clone(record));
            }
            lanes.extend(
                of_shard
                    .into_iter()
                    .map(|records| Lane::new(self, &run, records)),
            );
        }
        join_all(lanes.into_iter().map(Lane::drain)).await;
        run.report.into_inner()
    }
}
