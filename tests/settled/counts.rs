//! The sums of the metrics and the lines of the audit trail, over random outcomes.

use serde_json::Value;

use crate::support::harness::Logs;
use crate::world::{NAMES, in_virtual_time, run};

#[test]
fn every_record_counts_once_and_has_a_line_at_each_destination() {
    const FATES: [&str; 6] = ["Delivered", "Filtered", "Superseded", "Rejected", "Failed", "SkippedSettled"];
    let sum =
        |line: &Value| FATES.iter().map(|fate| line[format!("Records{fate}")].as_u64().expect("a count")).sum::<u64>();
    let mut skipped = 0;
    for seed in 0..60 {
        let logs = Logs::listen();
        in_virtual_time(run(seed, true)).unwrap_or_else(|trouble| panic!("SEED={seed}: {trouble}"));
        for line in logs.metrics("") {
            assert_eq!(line["RecordsReceived"], sum(&line), "SEED={seed}: {line}");
            skipped += line["RecordsSkippedSettled"].as_u64().expect("a count");
        }
        let at_destinations: u64 = NAMES.iter().flat_map(|name| logs.metrics(name)).map(|line| sum(&line)).sum();
        assert_eq!(logs.audit().len() as u64, at_destinations, "SEED={seed}: each record is routed here");
    }
    assert!(skipped > 0);
}
