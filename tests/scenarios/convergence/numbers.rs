//! What schedules come to.

use std::fmt;

use testkit::evidence::{self, seeds, tell};
use testkit::kinesis::{Report, Stream};
use testkit::mock_aws::MockAws;

use super::laws::Broken;

/// What schedules came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    pub schedules: u64,
    /// Records in the streams.
    pub records: u64,
    /// Records delivered, each as often as it came.
    pub deliveries: u64,
    pub invocations: u64,
    /// Faults of systems, queue and table that struck.
    pub faults: u64,
    /// Invocations that died.
    pub kills: u64,
    pub dead_letters: u64,
    /// Records that no answer has settled.
    pub lost: u64,
}

impl Numbers {
    /// One schedule that ran to its end.
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
            dead_letters: aws.letters().len() as u64,
            lost: report.lost(stream) as u64,
        }
    }

    /// Adds what a schedule came to. One that breaks a law ends the test, and is named.
    pub(crate) fn take(&mut self, seed: u64, came_to: Result<Self, Broken>) {
        match came_to {
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
        } = self;
        write!(
            f,
            "{schedules} schedules, {records} records delivered {deliveries} times in {invocations} invocations, \
             {faults} faults, {kills} killed, {dead_letters} dead letters, lost: {lost}"
        )
    }
}

/// Runs the schedules, one after the other, and writes down what they came to, for the end of `make
/// test`. The first that breaks a law ends it.
pub(crate) fn all(name: &str, count: u64, run: impl Fn(u64) -> Result<Numbers, Broken>) {
    let mut numbers = Numbers::default();
    for seed in seeds(count) {
        numbers.take(seed, evidence::case(seed, || run(seed)));
    }
    tell(name, numbers);
}
