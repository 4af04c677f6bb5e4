//! Tests of the law: with any deaths, bisections and missing responses, both systems end equal to
//! the changes applied one by one, with the settled set and without it.

use serde_json::{Value, json};
use testkit::evidence::{case, seeds};
use testkit::harness::in_virtual_time;
use testkit::memory::Faults;
use testkit::stream::{ARN, failures, invoke, record, sequence_number};
use testkit::table;

use super::world::{Tally, World, run};

#[test]
fn skipping_settled_records_never_changes_the_final_state_of_the_systems() {
    let (mut with, mut without) = (Tally::default(), Tally::default());
    let mut schedules = 0;
    for seed in seeds(400) {
        schedules += 1;
        for (tally, has_table) in [(&mut with, true), (&mut without, false)] {
            let result = case(seed, || in_virtual_time(run(seed, has_table, 0)));
            let more = result.unwrap_or_else(|broken| {
                panic!("SEED={seed} with the table: {has_table}: {broken}")
            });
            tally.written += more.written;
            tally.deaths += more.deaths;
            tally.answers_lost += more.answers_lost;
        }
    }
    if schedules > 1 {
        assert!(
            with.answers_lost > 100 && with.deaths > 300,
            "{with:?}: too few faults"
        );
        assert!(
            with.written < without.written,
            "{with:?} with the settled set, {without:?} without it"
        );
    }
}

pub(crate) fn create(at: usize, kind: &str, contact: &str, attributes: &Value) -> Value {
    let change = json!({
        "event_id": format!("e-{at}"), "operation": "create",
        "occurred_at": "2026-11-20T10:15:00Z",
        "contact": {"id": contact, "type": kind, "attributes": attributes},
    });
    record(0, at, contact, change.to_string().as_bytes())
}

#[test]
fn settled_records_are_sent_again_where_the_stream_is_read_again_from_before_them() {
    in_virtual_time(async {
        let world = World::new(1, Faults::default(), table::Faults::default(), true);
        let records = [
            create(0, "lead", "c-1", &json!({"phone": 1})),
            create(1, "lead", "c-1", &json!({"phone": 2})),
            create(2, "lead", "c-2", &json!({})),
            create(3, "lead", "c-3", &json!({})),
        ];
        world.systems[0].fail("c-2", 2);
        assert!(failures(&invoke(&world.handler, &records[..1], "r").await).is_empty());
        assert_eq!(
            failures(&invoke(&world.handler, &records[1..], "r").await),
            [sequence_number(0, 2)]
        );
        assert!(failures(&invoke(&world.handler, &records[2..], "r").await).is_empty());
        let calls = world.table.calls().len();
        // The mapping is recreated.
        for (part, sent) in [(&records[..1], 1), (&records[1..3], 2), (&records[3..], 1)] {
            let written = world.systems[0].written().len();
            assert!(failures(&invoke(&world.handler, part, "r").await).is_empty());
            assert_eq!(world.systems[0].written().len(), written + sent);
        }
        assert_eq!(world.systems[0].records()["c-1"]["phone"], 2);
        assert_eq!(
            world.table.calls()[calls..],
            ["Query", "PutItem", "Query", "Query"]
        );
    });
}

#[test]
fn two_functions_on_one_stream_and_table_settle_their_records_separately() {
    in_virtual_time(async {
        let world = World::new(1, Faults::default(), table::Faults::default(), true);
        let leads = world.other("leads", "[filter]\ntypes = [\"lead\"]");
        let vendors = world.other("vendors", "[filter]\ntypes = [\"vendor\"]");
        let records = [
            create(0, "lead", "c-0", &json!({})),
            create(1, "vendor", "c-1", &json!({})),
        ];
        world.systems[0].fail("c-0", 2);
        assert_eq!(
            failures(&invoke(&leads, &records, "r").await),
            [sequence_number(0, 0)]
        );
        assert!(failures(&invoke(&vendors, &records, "r").await).is_empty());
        assert_eq!(world.systems[1].written(), ["c-1"]);
    });
}

#[test]
fn a_forgetful_system_is_detected() {
    let breaks =
        |seed| in_virtual_time(run(seed, true, 20)).is_err_and(|broken| broken.starts_with("held"));
    let found = (0..20).filter(|seed| breaks(*seed)).count();
    assert!(found >= 10, "{found} of 20");
}

#[test]
fn equal_numbers_of_another_or_a_recreated_stream_are_distinguished() {
    in_virtual_time(async {
        let world = World::new(1, Faults::default(), table::Faults::default(), true);
        let batch = |name: &str| -> Vec<Value> {
            let change = |at: usize| {
                json!({
                    "event_id": format!("e-{at}"), "operation": "create",
                    "occurred_at": "2026-11-20T10:15:00Z",
                    "contact": {"id": format!("{name}-{at}"), "type": "lead"},
                })
            };
            (0..6)
                .map(|at| record(0, at, "key", change(at).to_string().as_bytes()))
                .collect()
        };
        let mut first = batch("old");
        first.push(record(0, 6, "key", b"{"));
        // A record has to fail, so that the others are stored.
        world.systems[0].fail("old-0", 2);
        let answer = invoke(&world.handler, &first, "r").await;
        assert_eq!(failures(&answer), [sequence_number(0, 0)]);
        assert_eq!(world.table.items().len(), 1);
        let written = world.systems[0].written().len();
        invoke(&world.handler, &batch("new"), "r").await;
        assert_eq!(
            world.systems[0].written().len(),
            written + 6,
            "the numbers are the same, the records are not"
        );
        let mut elsewhere = first.clone();
        for record in &mut elsewhere {
            record["eventSourceARN"] = "arn:aws:kinesis:eu-west-1:1:stream/other".into();
        }
        invoke(&world.handler, &elsewhere, "r").await;
        assert_eq!(
            world.systems[0].written().len(),
            written + 12,
            "another stream's numbers are distinguished"
        );
        let mut consumer = first.clone();
        let arn = format!("{ARN}/consumer/fast:1763633700");
        for record in &mut consumer {
            record["eventSourceARN"] = arn.clone().into();
        }
        let before = world.systems[0].written().len();
        invoke(&world.handler, &consumer, "r").await;
        assert_eq!(
            world.systems[0].written().len(),
            before + 1,
            "a consumer reads the same stream"
        );
    });
}
