//! What schedules come to.

use std::fmt;

use crate::support::evidence::{seeds, tell};
use crate::support::kinesis::{Report, Stream};
use crate::support::mock_aws::MockAws;

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
}

impl Numbers {
    /// One schedule that ran to its end.
    pub(crate) fn of_one(stream: &Stream, report: &Report, aws: &MockAws, faults: u64, kills: u64) -> Self {
        Self {
            schedules: 1,
            records: stream.len() as u64,
            deliveries: report.records() as u64,
            invocations: report.deliveries.len() as u64,
            faults,
            kills,
            dead_letters: aws.letters().len() as u64,
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.records += other.records;
        self.deliveries += other.deliveries;
        self.invocations += other.invocations;
        self.faults += other.faults;
        self.kills += other.kills;
        self.dead_letters += other.dead_letters;
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schedules, records, deliveries, invocations, faults, kills, dead_letters } = self;
        write!(
            f,
            "{schedules} schedules, {records} records delivered {deliveries} times in {invocations} invocations, \
             {faults} faults, {kills} killed, {dead_letters} dead letters, lost: 0"
        )
    }
}

/// Runs the schedules, one after the other, and writes down what they came to, for the end of `make test`. The first that
/// breaks a law ends it.
pub(crate) fn all(name: &str, count: u64, run: impl Fn(u64) -> Result<Numbers, String>) {
    let mut numbers = Numbers::default();
    for seed in seeds(count) {
        match run(seed) {
            Ok(more) => numbers.add(more),
            Err(trouble) => panic!("SEED={seed}: {trouble}\nso far: {numbers}"),
        }
    }
    tell(name, numbers);
}
