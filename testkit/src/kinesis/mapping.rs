//! The event source mapping: its settings, and a run from the first record to the last.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use contact_sync::handler::Handler;
use futures_util::future::join_all;
use lambda_runtime::{Context, LambdaEvent};
use tokio::time::Instant;

use super::batch::Ended;
use super::lane::Lane;
use super::on_failure::{Discarded, OnFailure};
use super::stream::{Record, Stream, spread};

/// An event source mapping. The default is that of `template.yaml`, but for smaller batches, no
/// window, and no age at which a record is given up.
#[derive(Clone, Debug)]
pub struct Mapping {
    pub batch_size: usize,
    /// How long a batch waits to be full.
    pub window: Duration,
    /// Batches of a shard that are under way at once, by partition key.
    pub parallelization_factor: usize,
    /// `None`: until the records are too old.
    pub max_retries: Option<u32>,
    /// `None`: none is too old.
    pub max_age: Option<Duration>,
    pub bisect: bool,
    pub on_failure: OnFailure,
    /// `ReportBatchItemFailures`. Without it every answer is a full success.
    pub report_failures: bool,
    /// The longest event.
    pub payload: usize,
    /// The first wait before a retry, and the longest: 214 ms was observed for the first, and each
    /// next is taken to be twice as long.
    pub backoff: (Duration, Duration),
    /// So often, in percent, a poller dies before it has written its checkpoint: what it had
    /// delivered comes again, in other batches.
    pub lost_checkpoints: u32,
    /// So often at most, in each lane, the mapping is made anew at an earlier place, and reads on
    /// in batches of another size: what was settled long ago comes again.
    pub made_anew: usize,
    pub seed: u64,
    /// For the tests' own test.
    pub broken: Option<Broken>,
}

/// A mapping that does not keep its promises. The tests of the laws are shown to find it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Never delivers again.
    DropsRedelivery,
    /// Delivers a batch from its end to its beginning.
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

/// One invocation, as the function gets it.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub request_id: String,
    pub event: String,
    pub records: Vec<Arc<Record>>,
}

impl Invocation {
    /// Hands it to the handler, as the runtime does.
    pub async fn handle(self, handler: &Handler) -> Ended {
        let mut context = Context::default();
        context.request_id = self.request_id;
        match handler
            .handle(LambdaEvent::new(self.event.into(), context))
            .await
        {
            Ok(answer) => Ended::Answer(serde_json::to_value(answer).expect("JSON")),
            Err(_) => Ended::Error,
        }
    }
}

/// One delivery.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub request_id: String,
    pub shard: usize,
    /// The records' places in the shard.
    pub places: Vec<usize>,
    /// When, from the start on.
    pub at: Duration,
}

/// What became of a stream.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order in which they began.
    pub deliveries: Vec<Delivery>,
    pub discarded: Vec<Discarded>,
    /// The shards and places of the records behind which a checkpoint was written: nobody gets them
    /// again.
    pub settled: BTreeSet<(usize, usize)>,
    /// Checkpoints that were lost.
    pub lost_checkpoints: usize,
}

impl Report {
    /// How many records were delivered, each as often as it came.
    pub fn records(&self) -> usize {
        self.deliveries
            .iter()
            .map(|delivery| delivery.places.len())
            .sum()
    }

    /// Whether two records of a shard, by their places, came in the same batches always, or never.
    /// `None`: now and then.
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

    /// How many records of the drained stream no answer has settled.
    pub fn lost(&self, stream: &Stream) -> usize {
        stream.len() - self.settled.len()
    }
}

/// What all lanes of a run share.
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
    /// Delivers everything, each shard and lane at its own pace, until nothing is left.
    pub async fn drain(
        &self,
        stream: &Stream,
        function: impl AsyncFn(Invocation) -> Ended,
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
