//! Tests of the sums of the metrics and of the lines of the audit trail.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::evidence::case;
use testkit::harness::{Logs, in_virtual_time};
use testkit::memory::{Faults, POISON};
use testkit::stream::invoke;
use testkit::table;

use super::harmless::create;
use super::world::{NAMES, World, run};

const FATES: [&str; 6] = [
    "Delivered",
    "Filtered",
    "Superseded",
    "Rejected",
    "Failed",
    "SkippedSettled",
];

#[test]
fn every_record_is_counted_once_and_has_a_line_for_each_destination() {
    let count =
        |line: &Value, fate: &str| line[format!("Records{fate}")].as_u64().expect("a count");
    let mut skipped = 0;
    for seed in 0..60 {
        let logs = Logs::listen();
        let result = case(seed, || in_virtual_time(run(seed, true, 0)));
        result.unwrap_or_else(|broken| panic!("SEED={seed}: {broken}"));
        for line in logs.metrics("") {
            let sum: u64 = FATES.iter().map(|fate| count(&line, fate)).sum();
            assert_eq!(line["RecordsReceived"], sum, "SEED={seed}: {line}");
            skipped += count(&line, "SkippedSettled");
        }
        let mut lines: BTreeMap<(&str, String), u64> = BTreeMap::new();
        for line in logs.audit() {
            let name = NAMES
                .into_iter()
                .find(|name| line["destination"] == *name)
                .expect("each record is routed here");
            let fate = if line["code"] == "SETTLED_EARLIER" {
                "skippedsettled"
            } else {
                line["fate"].as_str().expect("one")
            };
            *lines.entry((name, fate.to_owned())).or_default() += 1;
        }
        for name in NAMES {
            for fate in FATES {
                let counted: u64 = logs
                    .metrics(name)
                    .iter()
                    .map(|line| count(line, fate))
                    .sum();
                let count_of_lines = lines
                    .get(&(name, fate.to_lowercase()))
                    .copied()
                    .unwrap_or_default();
                assert_eq!(counted, count_of_lines, "SEED={seed}: {name} {fate}");
            }
        }
    }
    assert!(skipped > 0);
}

#[test]
fn the_audit_trail_has_all_records_or_failures_or_none() {
    for (audit, expected) in [
        (
            "all",
            &["delivered", "rejected POISON", "failed LOCKED"][..],
        ),
        ("failures", &["rejected POISON", "failed LOCKED"]),
        ("off", &[]),
    ] {
        in_virtual_time(async {
            let world = World::new(1, Faults::default(), table::Faults::default(), true);
            let handler = world.other("contact-sync", &format!("[log]\naudit = \"{audit}\""));
            let records = [
                create(0, "lead", "c-0", &json!({})),
                create(1, "lead", "c-1", &json!({POISON: true})),
                create(2, "lead", "c-2", &json!({})),
            ];
            world.systems[0].fail("c-2", 2);
            let logs = Logs::listen();
            invoke(&handler, &records, "r-1").await;
            assert_eq!(logs.fates(), expected, "{audit}");
            let before = logs.audit().len();
            invoke(&handler, &records, "r-2").await;
            let again = if audit == "all" { 3 } else { 0 };
            assert_eq!(
                logs.audit().len(),
                before + again,
                "{audit}: records settled earlier had their lines"
            );
        });
    }
}
