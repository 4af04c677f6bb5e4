//! Adds up the results of schedules.

use std::fmt;

use testkit::evidence::{self, seeds, write_report};
use testkit::kinesis::{Report, Stream};
use testkit::mock_aws::MockAws;

use super::laws::Broken;

/// The results of schedules.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    pub schedules: u64,
    /// Records in the streams.
    pub records: u64,
    /// Deliveries of records, each redelivery included.
    pub deliveries: u64,
    pub invocations: u64,
    /// Injected faults of systems, queue and table.
    pub faults: u64,
    /// Invocations that died.
    pub kills: u64,
    pub dead_letters: u64,
    /// Records that no response settled.
    pub lost: u64,
    /// Calls of Salesforce with several requests.
    pub composite_calls: u64,
}

impl Numbers {
    /// Returns the results of one schedule.
    pub(crate) fn of_one(
        stream: &Stream,
        report: &Report,
        aws: &MockAws,
        faults: u64,
        kills: u64,
    ) -> Self {
        Self {
            schedules: 1,
            records: stream.len() as u64,
            deliveries: report.records() as u64,
            invocations: report.deliveries.len() as u64,
            faults,
            kills,
            dead_letters: aws.dead_letters().len() as u64,
            lost: report.lost(stream) as u64,
            composite_calls: 0,
        }
    }

    /// Adds the results of a schedule.
    ///
    /// # Panics
    /// Where the schedule broke a law, with its seed.
    pub(crate) fn take(&mut self, seed: u64, result: Result<Self, Broken>) {
        match result {
            Ok(more) => self.add(more),
            Err(broken) => panic!("SEED={seed}: {}\nso far: {self}", broken.join("\n")),
        }
    }

    fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.records += other.records;
        self.deliveries += other.deliveries;
        self.invocations += other.invocations;
        self.faults += other.faults;
        self.kills += other.kills;
        self.dead_letters += other.dead_letters;
        self.lost += other.lost;
        self.composite_calls += other.composite_calls;
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            schedules,
            records,
            deliveries,
            invocations,
            faults,
            kills,
            dead_letters,
            lost,
            composite_calls: _,
        } = self;
        write!(
            f,
            "{schedules} schedules, {records} records delivered {deliveries} times in \
             {invocations} invocations, {faults} faults, {kills} killed, \
             {dead_letters} dead letters, lost: {lost}"
        )
    }
}

/// Runs the schedules one after the other, and reports their results at the end of `make test`.
/// Stops at the first schedule that breaks a law.
pub(crate) fn all(name: &str, count: u64, run: impl Fn(u64) -> Result<Numbers, Broken>) {
    let mut numbers = Numbers::default();
    for seed in seeds(count) {
        numbers.take(seed, evidence::case(seed, || run(seed)));
    }
    write_report(name, numbers);
}
