//! The records of a shard that one poller brings, batch by batch: all of them, or with a
//! parallelization factor those whose partition keys fall to it. Of one key nothing overtakes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::batch::{Batch, Ended, Next, RecordOutcome, follow, judge};
use super::mapping::{Broken, Delivery, Invocation, Mapping, Run};
use super::on_failure::{Condition, Discarding};
use super::stream::Record;

/// `{"Records":[` and `]}`.
const FRAME: usize = 14;

pub(super) struct Lane<'a, F> {
    mapping: &'a Mapping,
    run: &'a Run<F>,
    /// All of the lane's, from its beginning.
    records: Vec<Arc<Record>>,
    batch_size: usize,
    /// So often it may still be made anew.
    made_anew: usize,
    /// Not in any batch yet.
    unread: VecDeque<Arc<Record>>,
    /// To be delivered before anything else is read.
    ready: VecDeque<Batch>,
    /// Failures in a row.
    failures: u32,
}

impl<'a, F: AsyncFn(Invocation) -> Ended> Lane<'a, F> {
    pub(super) fn new(mapping: &'a Mapping, run: &'a Run<F>, records: Vec<Arc<Record>>) -> Self {
        let (batch_size, made_anew) = (mapping.batch_size, mapping.made_anew);
        let (unread, ready) = (records.clone().into(), VecDeque::new());
        Self {
            mapping,
            run,
            records,
            batch_size,
            made_anew,
            unread,
            ready,
            failures: 0,
        }
    }

    pub(super) async fn drain(mut self) {
        loop {
            self.perhaps_begin_anew();
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

    /// Somebody makes the mapping anew, at the latest when everything is read.
    fn perhaps_begin_anew(&mut self) {
        let left = self.unread.len()
            + self
                .ready
                .iter()
                .map(|batch| batch.records.len())
                .sum::<usize>();
        let mut random = self.run.random.borrow_mut();
        if self.made_anew == 0 || (left > 0 && random.u32(..10) > 0) {
            return;
        }
        self.made_anew -= 1;
        let from = random.usize(..=self.records.len() - left);
        self.batch_size = random.usize(1..30);
        self.ready.clear();
        self.unread = self.records[from..].to_vec().into();
    }

    /// Gathers a batch: it is full by number or by size, or its window is over.
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

    /// Discards the records that are too old, invoked or not; what is left is a batch of its own.
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
        let ended = if event.len() > self.mapping.payload {
            None
        } else {
            Some(self.invoke(&mut batch, event).await)
        };
        let reports = self.mapping.report_failures;
        let verdict = ended.as_ref().map_or(RecordOutcome::Failed, |ended| {
            judge(ended, &batch.records, reports)
        });
        batch.attempts += u32::from(verdict != RecordOutcome::NotInvoked);
        self.failures = match verdict {
            RecordOutcome::Failed | RecordOutcome::FailedFrom(0) | RecordOutcome::NotInvoked => {
                self.failures + 1
            }
            RecordOutcome::Done | RecordOutcome::FailedFrom(_) => 0,
        };
        if verdict == RecordOutcome::Done && self.loses_checkpoint() {
            return self.read_again(batch);
        }
        self.checkpoint(&batch, verdict);
        match follow(batch, verdict, self.mapping) {
            Next::Done => {}
            Next::RetryMode(batches) => {
                if self.mapping.broken != Some(Broken::DropsRedelivery) {
                    batches
                        .into_iter()
                        .rev()
                        .for_each(|batch| self.ready.push_front(batch));
                }
                self.back_off().await;
            }
            Next::Discard(mut batch, condition) => {
                batch.request_id = batch.request_id.or_else(|| Some(self.run.new_request_id()));
                self.discard(batch, condition, ended.as_ref());
            }
        }
    }

    async fn invoke(&self, batch: &mut Batch, event: String) -> Ended {
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

    fn checkpoint(&self, batch: &Batch, verdict: RecordOutcome) {
        let settled = match verdict {
            RecordOutcome::Done => batch.records.len(),
            RecordOutcome::FailedFrom(place) => place,
            RecordOutcome::Failed | RecordOutcome::NotInvoked => 0,
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

    /// Another poller takes over where the last checkpoint was.
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

    fn discard(&self, batch: Batch, condition: Condition, last: Option<&Ended>) {
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
