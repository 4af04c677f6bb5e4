//! Lane of a shard: the records that one poller delivers, batch by batch. With a parallelization
//! factor a lane contains the records of a part of the partition keys. Records of one key stay in
//! order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::batch::{Batch, BatchOutcome, InvocationOutcome, Next, classify, next_step};
use super::mapping::{Broken, Delivery, Invocation, Mapping, Run};
use super::on_failure::{Condition, Discarding};
use super::stream::Record;

/// Bytes of an event besides its records: `{"Records":[` and `]}`.
const FRAME: usize = 14;

pub(super) struct Lane<'a, F> {
    mapping: &'a Mapping,
    run: &'a Run<F>,
    /// All records of the lane, from its beginning.
    records: Vec<Arc<Record>>,
    batch_size: usize,
    /// How often the mapping may still be created again.
    recreations: usize,
    /// Records that are in no batch yet.
    unread: VecDeque<Arc<Record>>,
    /// Batches to deliver before further records are read.
    ready: VecDeque<Batch>,
    /// Number of consecutive failures.
    failures: u32,
}

impl<'a, F: AsyncFn(Invocation) -> InvocationOutcome> Lane<'a, F> {
    pub(super) fn new(mapping: &'a Mapping, run: &'a Run<F>, records: Vec<Arc<Record>>) -> Self {
        let (batch_size, recreations) = (mapping.batch_size, mapping.made_anew);
        let (unread, ready) = (records.clone().into(), VecDeque::new());
        Self {
            mapping,
            run,
            records,
            batch_size,
            recreations,
            unread,
            ready,
            failures: 0,
        }
    }

    /// Delivers all records.
    pub(super) async fn drain(mut self) {
        loop {
            self.maybe_recreate();
            let batch = match self.ready.pop_front() {
                Some(batch) => batch,
                None => match self.read().await {
                    Some(batch) => batch,
                    None => return,
                },
            };
            if let Some(batch) = self.drop_expired(batch) {
                self.deliver(batch).await;
            }
        }
    }

    /// Creates the mapping again at a random time, at the latest when all records are read.
    fn maybe_recreate(&mut self) {
        let ready = self.ready.iter().map(|batch| batch.records.len());
        let left = self.unread.len() + ready.sum::<usize>();
        let mut random = self.run.random.borrow_mut();
        if self.recreations == 0 || (left > 0 && random.u32(..10) > 0) {
            return;
        }
        self.recreations -= 1;
        let from = random.usize(..=self.records.len() - left);
        self.batch_size = random.usize(1..30);
        self.ready.clear();
        self.unread = self.records[from..].to_vec().into();
    }

    /// Collects a batch until it is full by number or by size, or its window has ended.
    async fn read(&mut self) -> Option<Batch> {
        let first = self.unread.front()?;
        sleep_until(self.run.started + first.arrives).await;
        let closes = Instant::now() + self.mapping.window;
        let (mut records, mut bytes) = (Vec::new(), FRAME);
        while let Some(next) = self.unread.front() {
            bytes += next.json.len() + 1;
            let is_full = records.len() >= self.batch_size || bytes > self.mapping.payload;
            if is_full && !records.is_empty() {
                break;
            }
            let arrives = self.run.started + next.arrives;
            if arrives > closes {
                sleep_until(closes).await;
                break;
            }
            sleep_until(arrives).await;
            records.extend(self.unread.pop_front());
        }
        if self.mapping.broken == Some(Broken::SwapsOrder) {
            records.reverse();
        }
        Some(Batch::new(records))
    }

    /// Discards the records that are too old, even if they were never delivered. Returns a new
    /// batch of the others.
    fn drop_expired(&mut self, mut batch: Batch) -> Option<Batch> {
        let now = self.run.started.elapsed();
        let is_old = |record: &Arc<Record>| {
            self.mapping
                .max_age
                .is_some_and(|most| now > record.arrives + most)
        };
        let (old, young): (Vec<_>, Vec<_>) = batch.records.drain(..).partition(is_old);
        if old.is_empty() {
            batch.records = young;
            return Some(batch);
        }
        let request_id = batch.request_id.or_else(|| Some(self.run.new_request_id()));
        let expired = Batch {
            records: old,
            attempts: batch.attempts,
            request_id,
        };
        self.discard(expired, Condition::RecordAgeExceeded, None);
        (!young.is_empty()).then(|| Batch::new(young))
    }

    async fn deliver(&mut self, mut batch: Batch) {
        let event = batch.event();
        let reports = self.mapping.report_failures;
        let (invocation, outcome) = if event.len() > self.mapping.payload {
            (None, BatchOutcome::Failed)
        } else {
            let invocation = self.invoke(&mut batch, event).await;
            let outcome = classify(&invocation, &batch.records, reports);
            (Some(invocation), outcome)
        };
        batch.attempts += u32::from(outcome != BatchOutcome::NotInvoked);
        self.failures = match outcome {
            BatchOutcome::Failed | BatchOutcome::FailedFrom(0) | BatchOutcome::NotInvoked => {
                self.failures + 1
            }
            BatchOutcome::Done | BatchOutcome::FailedFrom(_) => 0,
        };
        if outcome == BatchOutcome::Done && self.loses_checkpoint() {
            return self.read_again(batch);
        }
        self.checkpoint(&batch, outcome);
        match next_step(batch, outcome, self.mapping) {
            Next::Done => {}
            Next::Retry(batches) => {
                if self.mapping.broken != Some(Broken::DropsRedelivery) {
                    for batch in batches.into_iter().rev() {
                        self.ready.push_front(batch);
                    }
                }
                self.back_off().await;
            }
            Next::Discard(mut batch, condition) => {
                batch.request_id = batch.request_id.or_else(|| Some(self.run.new_request_id()));
                self.discard(batch, condition, invocation.as_ref());
            }
        }
    }

    async fn invoke(&self, batch: &mut Batch, event: String) -> InvocationOutcome {
        let request_id = batch
            .request_id
            .get_or_insert_with(|| self.run.new_request_id())
            .clone();
        self.run.report.borrow_mut().deliveries.push(Delivery {
            request_id: request_id.clone(),
            shard: batch.records[0].shard,
            places: batch.records.iter().map(|record| record.at).collect(),
            at: self.run.started.elapsed(),
        });
        (self.run.function)(Invocation {
            request_id,
            event,
            records: batch.records.clone(),
        })
        .await
    }

    fn checkpoint(&self, batch: &Batch, outcome: BatchOutcome) {
        let settled = match outcome {
            BatchOutcome::Done => batch.records.len(),
            BatchOutcome::FailedFrom(first) => first,
            BatchOutcome::Failed | BatchOutcome::NotInvoked => 0,
        };
        let places = batch.records[..settled]
            .iter()
            .map(|record| (record.shard, record.at));
        self.run.report.borrow_mut().settled.extend(places);
    }

    fn loses_checkpoint(&self) -> bool {
        let loses = self.run.random.borrow_mut().u32(..100) < self.mapping.lost_checkpoints;
        self.run.report.borrow_mut().lost_checkpoints += usize::from(loses);
        loses
    }

    /// Continues at the last checkpoint, as another poller does.
    fn read_again(&mut self, batch: Batch) {
        let waiting: Vec<_> = self
            .ready
            .drain(..)
            .flat_map(|batch| batch.records)
            .collect();
        for record in batch.records.into_iter().chain(waiting).rev() {
            self.unread.push_front(record);
        }
    }

    fn discard(&self, batch: Batch, condition: Condition, last: Option<&InvocationOutcome>) {
        let mut report = self.run.report.borrow_mut();
        let discarding = Discarding {
            on_failure: self.mapping.on_failure,
            stream_arn: &self.run.stream_arn,
            now: self.run.started.elapsed(),
            earlier: report.discarded.len(),
        };
        report
            .discarded
            .push(discarding.discarded(batch, condition, last));
    }

    async fn back_off(&self) {
        let (first, most) = self.mapping.backoff;
        let doublings = self.failures.saturating_sub(1).min(20);
        let wait = if self.failures == 0 {
            Duration::ZERO
        } else {
            (first * 2_u32.pow(doublings)).min(most)
        };
        sleep_until(Instant::now() + wait).await;
    }
}
