use std::time::Duration;

use serde_json::{Value, json};
use testkit::harness::{Logs, Mocks};
use testkit::kinesis::{Invocation, InvocationOutcome, OnFailure, Payload, Stream};
use testkit::moto::Moto;
use testkit::stream::{failures, invoke, record, sequence_number};

use crate::stage::{Bucket, Stage, ago, discard, event};

#[tokio::test]
async fn a_dead_letter_is_put_back_flagged_under_its_key_and_is_deleted() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "replay").await;
    for at in 0..25 {
        let id = format!("c-{at}");
        stage
            .send(&stage.dead_letter(&id, event(&id).to_string().as_bytes()))
            .await;
    }
    let dry = stage.admin(&["replay", "--dry-run"]).await;
    assert_eq!(
        dry.out,
        "25 changes would be put back, 25 messages would be deleted\n"
    );
    assert_eq!(
        (stage.records().await.len(), stage.visible().await),
        (0, 25),
        "a dry run changes nothing"
    );

    let ran = stage.admin(&["replay"]).await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "25 changes put back, 25 messages deleted\n"),
        "{ran:?}"
    );
    assert_eq!(stage.waiting().await, 0);
    let mut records = stage.records().await;
    records.sort_by_key(|record| record.key[2..].parse::<u32>().expect("a number"));
    assert_eq!(records.len(), 25);
    for (at, record) in records.iter().enumerate() {
        let id = format!("c-{at}");
        let mut expected = event(&id);
        expected["replay"] = true.into();
        assert_eq!((&record.key, record.json()), (&id, expected));
    }
}

#[tokio::test]
async fn only_dead_letters_that_match_the_filters_are_put_back() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "filters").await;
    for (contact, code, destination) in [
        ("c-1", "TOO_LONG", "salesforce"),
        ("c-2", "OTHER", "salesforce"),
        ("c-3", "TOO_LONG", "hubspot"),
    ] {
        let mut dead_letter = stage.dead_letter(contact, event(contact).to_string().as_bytes());
        dead_letter["reason"]["code"] = code.into();
        dead_letter["reason"]["destination"] = destination.into();
        dead_letter["rejected_at"] = ago(600).into();
        stage.send(&dead_letter).await;
    }
    let ran = stage
        .admin(&[
            "replay",
            "--code",
            "TOO_LONG",
            "--destination",
            "salesforce",
            "--since",
            "1h",
        ])
        .await;
    assert_eq!(
        ran.out,
        "1 change put back, 1 message deleted, 2 excluded by the filters\n"
    );
    assert_eq!(stage.records().await[0].key, "c-1");
    assert_eq!(stage.visible().await, 2, "excluded messages stay visible");
    let ran = stage.admin(&["replay", "--until", "1h"]).await;
    assert_eq!(
        ran.out,
        "0 changes put back, 0 messages deleted, 2 excluded by the filters\n"
    );
    let ran = stage.admin(&["replay", "--limit", "1", "--keep"]).await;
    assert_eq!(
        ran.out,
        "1 change put back, 0 messages deleted; --limit 1 is reached, and there may be more\n"
    );
    assert_eq!(stage.visible().await, 2);
}

#[tokio::test]
async fn a_queue_that_is_longer_than_a_round_is_read_to_its_end() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "rounds").await;
    for at in 0..25 {
        let id = format!("c-{at}");
        let mut dead_letter = stage.dead_letter(&id, event(&id).to_string().as_bytes());
        dead_letter["reason"]["code"] = if at < 20 { "OTHER" } else { "TOO_LONG" }.into();
        stage.send(&dead_letter).await;
    }
    let ran = stage
        .admin(&["replay", "--round", "5", "--code", "TOO_LONG"])
        .await;
    assert_eq!(
        ran.out, "5 changes put back, 5 messages deleted, 20 excluded by the filters\n",
        "{ran:?}"
    );
    let ran = stage.admin(&["replay", "--round", "7"]).await;
    assert_eq!(
        ran.out, "20 changes put back, 20 messages deleted\n",
        "{ran:?}"
    );
    assert_eq!(stage.records().await.len(), 25);
}

#[tokio::test]
async fn unguarded_changes_and_data_that_cannot_be_flagged_need_force() {
    let moto = Moto::start().await;
    let mut stage = Stage::new(&moto, "force").await;
    stage
        .variables
        .retain(|(name, _)| !name.ends_with("VERSION_FIELD"));
    let id = stage
        .send(&stage.dead_letter("c-1", event("c-1").to_string().as_bytes()))
        .await;
    let mut broken = stage.dead_letter("c-2", b"not JSON");
    broken["reason"] = json!({"stage": "decode", "destination": null, "code": "INVALID_JSON"});
    let broken_id = stage.send(&broken).await;
    stage.send(&Value::from("hello")).await;
    let ran = stage
        .admin(&["replay", "--stage", "decode", "--stage", "deliver"])
        .await;
    assert_eq!(ran.code, Some(1));
    let shown = ran
        .out
        .replace(&id, "<message 1>")
        .replace(&broken_id, "<message 2>");
    let shown: Vec<_> = shown
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    insta::assert_snapshot!("replay_without_force", shown.join("\n"));
    assert_eq!((stage.records().await.len(), stage.visible().await), (0, 3));

    let ran = stage.admin(&["replay", "--force", "--json"]).await;
    let report = ran.json();
    assert_eq!(
        (ran.code, &report["put_back"], &report["deleted"]),
        (Some(1), &json!(2), &json!(2)),
        "{report}"
    );
    assert!(
        report["left"][0]["reason"]
            .as_str()
            .expect("a reason")
            .contains("neither a dead letter"),
        "{report}"
    );
    let mut data: Vec<_> = stage
        .records()
        .await
        .into_iter()
        .map(|record| record.data)
        .collect();
    data.sort();
    assert_eq!(data[0], b"not JSON");
    assert!(data[1].starts_with(b"{\"replay\":true,"));
}

#[tokio::test]
async fn a_record_that_two_destinations_rejected_is_put_back_once() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "twice").await;
    for destination in ["salesforce", "hubspot"] {
        let mut dead_letter = stage.dead_letter("c-1", event("c-1").to_string().as_bytes());
        dead_letter["reason"]["destination"] = destination.into();
        stage.send(&dead_letter).await;
    }
    let ran = stage.admin(&["replay"]).await;
    assert_eq!(ran.out, "1 change put back, 2 messages deleted\n");
    assert_eq!(stage.records().await.len(), 1);
}

#[tokio::test]
async fn records_with_one_position_are_distinguished_by_their_content() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "places").await;
    let contacts = ["c-1", "c-2", "c-3", "c-4"];
    for (contact, number) in contacts.into_iter().zip([Some("1"), Some("1"), None, None]) {
        let mut dead_letter = stage.dead_letter(contact, event(contact).to_string().as_bytes());
        dead_letter["record"]["sequence_number"] = number.into();
        stage.send(&dead_letter).await;
    }
    let ran = stage.admin(&["replay", "--round", "1"]).await;
    assert_eq!(ran.out, "4 changes put back, 4 messages deleted\n");
    let mut keys: Vec<String> = stage
        .records()
        .await
        .into_iter()
        .map(|record| record.key)
        .collect();
    keys.sort();
    assert_eq!(keys, contacts);
}

#[tokio::test]
async fn omitted_data_of_a_dead_letter_is_read_from_the_stream() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "omitted").await;
    let (shard, number) = stage.put("c-1", event("c-1").to_string().as_bytes()).await;
    stage
        .put("c-1", event("c-1-later").to_string().as_bytes())
        .await;
    let omitted = |shard: &str, number: &str| {
        let mut dead_letter = stage.dead_letter("c-1", b"");
        dead_letter["record"]["data"] = Value::Null;
        dead_letter["record"]["data_omitted"] = true.into();
        dead_letter["record"]["shard_id"] = shard.into();
        dead_letter["record"]["sequence_number"] = number.into();
        dead_letter
    };
    stage.send(&omitted(&shard, &number)).await;
    let ran = stage.admin(&["replay"]).await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "1 change put back, 1 message deleted\n"),
        "{ran:?}"
    );
    let back: Vec<Value> = stage
        .records()
        .await
        .iter()
        .map(crate::stage::StreamRecord::json)
        .collect();
    assert_eq!(
        back.iter().filter(|event| event["replay"] == true).count(),
        1
    );
    assert_eq!(back.last().expect("a record")["event_id"], "e-c-1-update");

    stage.send(&omitted(&shard, "999999")).await;
    stage.send(&omitted("shardId-000000000099", "1")).await;
    let ran = stage.admin(&["replay", "--json"]).await;
    let report = ran.json();
    assert_eq!(
        (ran.code, &report["left"][0]["count"]),
        (Some(1), &json!(2)),
        "{report}"
    );
    assert!(
        report["left"][0]["reason"]
            .as_str()
            .expect("a reason")
            .contains("retention"),
        "{report}"
    );
    assert_eq!(
        stage.visible().await,
        2,
        "messages whose records are missing are kept"
    );
}

#[tokio::test]
async fn a_discarded_batch_is_read_from_the_stream_to_its_exact_end() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "ranges").await;
    for at in 0..6 {
        stage
            .put(
                "same-shard",
                event(&format!("c-{at}")).to_string().as_bytes(),
            )
            .await;
    }
    // The mapping discards records 2 to 4 of the first batch, and both of the second.
    let stream = Stream::read(&stage.kinesis, &stage.consumer()).await;
    let fails = async |invocation: Invocation| {
        let bad = invocation
            .records
            .iter()
            .find(|record| matches!(record.at, 1 | 4));
        let bad = bad.map(|record| json!({"itemIdentifier": record.sequence_number}));
        InvocationOutcome::Answer(json!({"batchItemFailures": bad.as_slice()}))
    };
    let discarded = discard(&stream, 4, OnFailure::Message, fails).await;
    assert_eq!(
        discarded
            .iter()
            .map(|batch| batch.records.len())
            .collect::<Vec<_>>(),
        [3, 2]
    );
    stage.send(&discarded[0].document).await;
    let ran = stage.admin(&["replay"]).await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "3 changes put back, 1 message deleted\n"),
        "{ran:?}"
    );
    let back: Vec<Value> = stage
        .records()
        .await
        .iter()
        .map(crate::stage::StreamRecord::json)
        .collect();
    let ids: Vec<&str> = back[6..]
        .iter()
        .map(|event| event["contact"]["id"].as_str().expect("an id"))
        .collect();
    assert_eq!(
        ids,
        ["c-1", "c-2", "c-3"],
        "in their order, although they have one key"
    );
    assert!(back[6..].iter().all(|event| event["replay"] == true));

    let mut torn = discarded[1].document.clone();
    torn["KinesisBatchInfo"]["endSequenceNumber"] = "999999".into();
    stage.send(&torn).await;
    let ran = stage.admin(&["replay", "--contact", "c-4", "--json"]).await;
    let report = ran.json();
    assert_eq!(
        (ran.code, &report["put_back"], &report["deleted"]),
        (Some(1), &json!(1), &json!(0)),
        "{report}"
    );
    assert_eq!(stage.visible().await, 1, "an incomplete batch is kept");
}

#[tokio::test]
async fn whole_events_of_a_bucket_are_put_back_in_both_formats_without_the_stream() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "bucket").await;
    let bucket = Bucket::new(&moto, "failed").await;
    for (shard, form, ids) in [
        (0, Payload::Captured, ["c-1", "c-2"]),
        (1, Payload::Documented, ["c-3", "c-4"]),
    ] {
        let mut stream = Stream::named(&stage.consumer(), 2);
        for (at, id) in ids.into_iter().enumerate() {
            let number = sequence_number(shard, at);
            stream.append(
                shard,
                &number,
                id,
                event(id).to_string().as_bytes(),
                Duration::ZERO,
            );
        }
        bucket
            .put(
                &discard(&stream, 2, OnFailure::Object(form), async |_| {
                    InvocationOutcome::Error
                })
                .await,
            )
            .await;
    }
    let ran = stage
        .admin(&[
            "replay",
            "--s3",
            "s3://failed/aws/lambda/",
            "--contact",
            "c-1",
        ])
        .await;
    assert_eq!(
        ran.out, "1 change put back, 0 objects deleted, 3 excluded by the filters\n",
        "{ran:?}"
    );
    let ran = stage
        .admin(&["replay", "--s3", "s3://failed/aws/lambda/"])
        .await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "4 changes put back, 2 objects deleted\n"),
        "{ran:?}"
    );
    assert!(bucket.is_empty().await);
    let mut records = stage.records().await;
    assert!(records.iter().all(|record| record.json()["replay"] == true));
    records.sort();
    let keys: Vec<&str> = records.iter().map(|record| &*record.key).collect();
    assert_eq!(keys, ["c-1", "c-1", "c-2", "c-3", "c-4"]);
}

#[tokio::test]
async fn records_of_the_stream_are_put_back_and_the_replay_does_not_read_its_own_records() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "stretch").await;
    for at in 0..12 {
        let id = format!("c-{}", at % 4);
        stage.put(&id, event(&id).to_string().as_bytes()).await;
    }
    let ran = stage
        .admin(&[
            "replay",
            "--from",
            "1h",
            "--contact",
            "c-1",
            "--stream",
            "stretch",
        ])
        .await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "3 changes put back, 9 excluded by the filters\n")
    );
    let ran = stage
        .admin(&[
            "replay",
            "--from",
            "1h",
            "--contact",
            "c-2",
            "--limit",
            "2",
            "--stream",
            "stretch",
        ])
        .await;
    let line = ran.out.lines().next().expect("a line");
    assert!(
        line.starts_with("2 changes put back, ") && line.contains("--limit 2 is reached"),
        "{ran:?}"
    );
    assert_eq!(stage.records().await.len(), 17);
    let ran = stage
        .admin(&[
            "replay",
            "--from",
            "2d",
            "--to",
            "1d",
            "--stream",
            &stage.stream,
        ])
        .await;
    assert_eq!(
        ran.out,
        "0 changes put back: no record arrived in that time\n"
    );
    assert_eq!(stage.records().await.len(), 17);
    let ran = stage
        .admin(&[
            "replay", "--from", "1h", "--code", "TOO_LONG", "--stream", "stretch",
        ])
        .await;
    assert!(
        ran.err.contains("--code applies to dead letters only"),
        "{ran:?}"
    );
    let ran = stage.admin(&["replay", "--from", "1h"]).await;
    assert!(ran.err.contains("name the stream with --stream"), "{ran:?}");
}

#[tokio::test]
async fn a_replayed_change_does_not_overwrite_a_newer_change() {
    let (moto, mocks) = (Moto::start().await, Mocks::start().await);
    let mut stage = Stage::new(&moto, "round-trip").await;
    let version = ("CONTACT_SYNC__GUARD__VERSION", "version");
    stage
        .variables
        .push((version.0.to_owned(), version.1.to_owned()));
    let handler = stage.handler(&moto, &mocks);
    let email = |version: u64, email: &str| {
        let mut event = event("c-1");
        event["operation"] = "create".into();
        event["version"] = version.into();
        event["contact"]["email"] = email.into();
        event
    };
    let refused = email(1, "ada@example.net");
    let error =
        json!({"statusCode": "INVALID_EMAIL_ADDRESS", "message": "no", "fields": ["Email"]});
    mocks.salesforce.fail_row("c-1", error, 1);
    let deliver = async |event: &Value| {
        let mut record = record(0, 0, "c-1", event.to_string().as_bytes());
        record["eventSourceARN"] = stage.stream.as_str().into();
        assert!(failures(&invoke(&handler, &[record], "r").await).is_empty());
    };
    deliver(&refused).await;
    deliver(&email(2, "ada@example.org")).await;
    let ran = stage.admin(&["replay"]).await;
    assert_eq!(ran.out, "1 change put back, 1 message deleted\n", "{ran:?}");
    let logs = Logs::listen();
    deliver(&stage.records().await[0].json()).await;
    assert_eq!(logs.fates(), ["superseded STALE"]);
    assert_eq!(
        mocks.salesforce.lead("c-1").expect("a lead")["Email"],
        "ada@example.org"
    );
}

#[tokio::test]
async fn an_older_row_without_a_time_of_its_own_is_stale_after_a_replay() {
    let (moto, mocks) = (Moto::start().await, Mocks::start().await);
    let mut stage = Stage::new(&moto, "old-rows").await;
    stage.read_rows();
    let handler = stage.handler(&moto, &mocks);
    let people = [("c-1", "lead"), ("c-2", "customer")];
    let logs = Logs::listen();
    for (at, (id, kind)) in people.into_iter().enumerate() {
        let row = |email: &str| json!({"id": id, "kind": kind, "email": email}).to_string();
        let mut older = stage.dead_letter(id, row("old@example.net").as_bytes());
        older["record"]["approximate_arrival"] = 1_763_633_700.125.into();
        stage.send(&older).await;
        let newer = record(0, at, id, row("new@example.net").as_bytes());
        let failed = failures(&invoke(&handler, &[newer], "r").await);
        assert!(failed.is_empty(), "{:?}", logs.fates());
    }
    let ran = stage.admin(&["replay"]).await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "2 changes put back, 2 messages deleted\n"),
        "{ran:?}"
    );
    for (at, returned) in stage.records().await.iter().enumerate() {
        let row = returned.json();
        let added = (&row["replay"], &row["__source_ts_ms"]);
        assert_eq!(added, (&json!(true), &json!(1_763_633_700_125_i64)));
        let returned = record(1, at, &returned.key, &returned.data);
        assert!(failures(&invoke(&handler, &[returned], "r").await).is_empty());
    }
    assert_eq!(logs.fates()[2..], ["superseded STALE", "superseded STALE"]);
    assert_eq!(
        mocks.salesforce.lead("c-1").expect("a lead")["Email"],
        "new@example.net"
    );
    assert_eq!(mocks.hubspot.contacts()["c-2"]["email"], "new@example.net");
}

#[tokio::test]
async fn records_that_the_function_filters_need_no_return() {
    let moto = Moto::start().await;
    let mut stage = Stage::new(&moto, "filtered").await;
    stage.read_rows();
    let bucket = Bucket::new(&moto, "filtered").await;
    let mut stream = Stream::named(&stage.consumer(), 1);
    let row = br#"{"id":"c-1","kind":"lead","__source_ts_ms":1763633700123}"#;
    for (at, data) in [&row[..], b"", br#"{"ts_ms":1763633700200}"#]
        .into_iter()
        .enumerate()
    {
        let number = sequence_number(0, at);
        stream.append(0, &number, r#"{"id":"c-1"}"#, data, Duration::ZERO);
    }
    let discarded = discard(
        &stream,
        3,
        OnFailure::Object(Payload::Captured),
        async |_| InvocationOutcome::Error,
    );
    bucket.put(&discarded.await).await;
    let replay = ["replay", "--s3", "s3://filtered/aws/lambda/"];
    let ran = stage.admin(&replay).await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (
            Some(0),
            "1 change put back, 1 object deleted, 2 records not needed: the function filters \
             them\n"
        ),
        "{ran:?}"
    );
    assert!(bucket.is_empty().await);
    let records = stage.records().await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].json()["replay"], true);

    // Wrong settings would filter all records.
    let mut stream = Stream::named(&stage.consumer(), 1);
    let heartbeat = br#"{"ts_ms":1763633700300}"#;
    let number = sequence_number(0, 3);
    stream.append(0, &number, r#"{"id":"c-1"}"#, heartbeat, Duration::ZERO);
    let captured = OnFailure::Object(Payload::Captured);
    let discarded = discard(&stream, 1, captured, async |_| InvocationOutcome::Error);
    bucket.put(&discarded.await).await;
    let ran = stage.admin(&replay).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.out.contains("NOT_A_ROW_CHANGE"), "{ran:?}");
    assert!(!bucket.is_empty().await);
    let ran = stage.admin(&[&replay[..], &["--force"]].concat()).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(bucket.is_empty().await);
}

#[tokio::test]
async fn the_records_of_an_aggregate_are_put_back_one_by_one() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "aggregates").await;
    let data = ["c-1", "c-2"].map(|id| event(id).to_string());
    let whole =
        testkit::kpl::aggregate(&[("key-1", data[0].as_bytes()), ("key-2", data[1].as_bytes())]);
    let (shard, number) = stage.put("aggregate", &whole).await;
    // The dead letter of the second record, without its data.
    let mut dead_letter = stage.dead_letter("c-2", b"");
    let record = &mut dead_letter["record"];
    record["shard_id"] = shard.into();
    record["sequence_number"] = number.into();
    record["sub_sequence"] = 1.into();
    record["data"] = Value::Null;
    record["data_omitted"] = true.into();
    stage.send(&dead_letter).await;
    let ran = stage.admin(&["replay"]).await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "1 change put back, 1 message deleted\n"),
        "{ran:?}"
    );
    let put_back = |records: Vec<crate::stage::StreamRecord>| {
        let mut keys: Vec<String> = records
            .into_iter()
            .filter(|record| record.key != "aggregate")
            .inspect(|record| assert_eq!(record.json()["replay"], true))
            .map(|record| record.key)
            .collect();
        keys.sort();
        keys
    };
    assert_eq!(put_back(stage.records().await), ["key-2"]);
    let ran = stage
        .admin(&["replay", "--from", "1h", "--stream", "aggregates"])
        .await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "3 changes put back\n"),
        "{ran:?}"
    );
    assert_eq!(
        put_back(stage.records().await),
        ["key-1", "key-2", "key-2", "key-2"]
    );
}

#[tokio::test]
async fn a_record_of_an_aggregate_goes_back_into_the_shard_of_its_explicit_hash_key() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "hashed").await;
    let bucket = Bucket::new(&moto, "hashed").await;
    let (by_key, _) = stage.put("c-1", event("c-0").to_string().as_bytes()).await;
    let (hash_key, expected) = match &*by_key {
        "shardId-000000000000" => (
            "300000000000000000000000000000000000000",
            "shardId-000000000001",
        ),
        _ => ("1", "shardId-000000000000"),
    };
    let data = ["c-1", "c-2", "c-3"].map(|id| event(id).to_string());
    let whole = |data: &str| {
        let record = ("c-1", Some(hash_key), data.as_bytes());
        testkit::kpl::aggregate_with_hash_keys(&[record])
    };
    // A dead letter with its data, one without its data, and an event in the bucket.
    let mut with_data = stage.dead_letter("c-1", data[0].as_bytes());
    with_data["record"]["explicit_hash_key"] = hash_key.into();
    stage.send(&with_data).await;
    let (shard, number) = stage.put("aggregate", &whole(&data[1])).await;
    let mut without_data = stage.dead_letter("c-2", b"");
    let record = &mut without_data["record"];
    record["shard_id"] = shard.into();
    record["sequence_number"] = number.into();
    record["data"] = Value::Null;
    record["data_omitted"] = true.into();
    stage.send(&without_data).await;
    let mut stream = Stream::named(&stage.stream, 2);
    let number = sequence_number(0, 0);
    stream.append(0, &number, "aggregate", &whole(&data[2]), Duration::ZERO);
    let object = OnFailure::Object(Payload::Captured);
    let fails = async |_| InvocationOutcome::Error;
    bucket.put(&discard(&stream, 1, object, fails).await).await;
    // A plain record has no hash key that the tool could read.
    let from_stream = ["replay", "--from", "1h", "--stream", "hashed"];
    for (arguments, shards) in [
        (
            &from_stream[..],
            &[("c-0", &*by_key), ("c-2", expected)][..],
        ),
        (&["replay"], &[("c-1", expected), ("c-2", expected)]),
        (
            &["replay", "--s3", "s3://hashed/aws/lambda/"],
            &[("c-3", expected)],
        ),
    ] {
        let before = stage.records().await;
        let ran = stage.admin(arguments).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let mut back = Vec::new();
        for record in stage.records().await {
            if !before.contains(&record) {
                let change = record.json();
                let id = change["contact"]["id"].as_str().expect("an id").to_owned();
                assert_eq!(record.key, "c-1");
                back.push((id, record.shard));
            }
        }
        back.sort();
        let back: Vec<_> = back.iter().map(|(id, shard)| (&**id, &**shard)).collect();
        assert_eq!(back, shards, "{arguments:?}");
    }
}
