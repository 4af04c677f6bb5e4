use serde_json::json;

use super::*;

fn rejected() -> Value {
    json!({
        "schema": "contact-sync/dead-letter/1",
        "reason": {"stage": "deliver", "destination": "salesforce", "code": "INVALID_EMAIL_ADDRESS",
            "message": "ada@example.con is invalid", "fields": ["Email"]},
        "contact_id": "c-1001",
        "event_id": "e-1",
        "record": {
            "event_source_arn": "arn",
            "shard_id": "shardId-000000000006",
            "sequence_number": "495",
            "sub_sequence": 2,
            "partition_key": "ada@example.con",
            "approximate_arrival": 1_763_633_700.123,
            "data": base64_simd::STANDARD
                .encode_to_string(br#"{"contact":{"email":"ada@example.con"}}"#),
        },
        "rejected_at": "2026-11-20T10:15:01Z",
    })
}

/// Builds an on-failure message as a real sample has it: without a response, because the record's
/// age was exceeded.
fn discarded(payload: Option<Value>) -> Value {
    let mut document = json!({
        "requestContext": {"requestId": "r", "functionArn": "arn", "condition": "RecordAgeExceeded",
            "approximateInvokeCount": 1},
        "version": "1.0", "timestamp": "2026-11-20T10:15:01.234Z",
        "KinesisBatchInfo": {
            "shardId": "shardId-000000000006",
            "startSequenceNumber": "495",
            "endSequenceNumber": "497",
            "approximateArrivalOfFirstRecord": "2026-11-20T10:14:01.234Z",
            "approximateArrivalOfLastRecord": "2026-11-20T10:14:02.234Z",
            "batchSize": 3,
            "streamArn": "arn",
        },
    });
    if let Some(payload) = payload {
        document["payload"] = payload;
    }
    document
}

#[test]
fn each_kind_of_message_is_recognized_by_its_fields() {
    let read = |value: Value| FailedMessage::read(&value.to_string());
    let mut broken = rejected();
    broken["reason"] = json!("none");
    let mut incomplete = discarded(None);
    incomplete["KinesisBatchInfo"]
        .as_object_mut()
        .expect("an object")
        .remove("streamArn");
    for (message, stage, code, records) in [
        (read(rejected()), "deliver", "INVALID_EMAIL_ADDRESS", 1),
        (read(discarded(None)), "mapping", "RecordAgeExceeded", 3),
        (read(broken), "unknown", "-", 1),
        (read(incomplete), "unknown", "-", 1),
        (read(json!({"Type": "Notification"})), "unknown", "-", 1),
        (FailedMessage::read("hello"), "unknown", "-", 1),
    ] {
        assert_eq!(
            (message.stage(), message.code(), message.records()),
            (stage, code, records)
        );
    }
}

/// Builds a dead letter of Kafka.
fn rejected_of_kafka() -> Value {
    let mut dead_letter = rejected();
    dead_letter["schema"] = "contact-sync/dead-letter/2".into();
    dead_letter["record"] = json!({
        "source": "kafka", "event_source_arn": "arn", "topic": "contacts", "partition": 3,
        "offset": 100, "key": "YWRhQGV4YW1wbGUuY29u", "timestamp": 1_763_633_700_123_i64,
        "data": "e30=",
    });
    dead_letter
}

#[test]
fn messages_about_records_of_kafka_are_recognized_and_shown_without_contact_data() {
    let message = FailedMessage::read(&rejected_of_kafka().to_string());
    assert_eq!((message.stage(), message.records()), ("deliver", 1));
    let hidden = &message.document(false)["record"];
    assert_eq!(
        (
            &hidden["topic"],
            &hidden["partition"],
            &hidden["offset"],
            &hidden["key"]
        ),
        (
            &json!("contacts"),
            &json!(3),
            &json!(100),
            &json!("(hidden: --reveal)")
        )
    );
    assert_eq!(
        message.document(true)["record"]["key"],
        "YWRhQGV4YW1wbGUuY29u"
    );

    let info = json!({"contacts-3": {"firstRecordOffset": 100, "lastRecordOffset": 120}});
    let discarded = json!({
        "requestContext": {"requestId": "r", "functionArn": "arn:f",
            "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 11},
        "responseContext": {"statusCode": 200, "executedVersion": "1", "functionError": null},
        "version": "1.0", "timestamp": "2026-11-20T10:15:01.234Z",
        "KafkaBatchInfo": {
            "batchSize": 21,
            "eventSourceArn": "arn:aws:kafka:eu-west-1:123456789012:cluster/crm/1",
            "bootstrapServers": "b-1:9098",
            "payloadSize": 1234,
            "recordsInfo": info,
        },
    });
    let message = FailedMessage::read(&discarded.to_string());
    assert_eq!(
        (message.stage(), message.code(), message.records()),
        ("mapping", "RetryAttemptsExhausted", 21)
    );
    assert_eq!(message.document(false)["batch"]["records_info"], info);
}

#[test]
fn the_event_is_read_as_an_object_and_as_a_text() {
    let event = json!({"Records": [{
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "c-1",
            "sequenceNumber": "495",
            "data": "e30=",
            "approximateArrivalTimestamp": 1.5,
        },
        "eventID": "x",
    }]});
    for payload in [
        Some(event.clone()),
        Some(event.to_string().into()),
        None,
        Some(Value::Null),
    ] {
        let holds = payload.as_ref().is_some_and(|payload| !payload.is_null());
        let message = FailedMessage::read(&discarded(payload).to_string());
        let FailedMessage::Discarded(batch) = message else {
            panic!("not recognized");
        };
        let keys = batch.payload.map(|event| {
            let records = event["Records"].as_array().expect("of Kinesis").clone();
            let key = |record: Value| record["kinesis"]["partitionKey"].to_string();
            records.into_iter().map(key).collect()
        });
        assert_eq!(keys, holds.then(|| vec!["\"c-1\"".to_owned()]));
    }
}

#[test]
fn contact_data_is_shown_only_if_revealed() {
    let mut dead_letter = rejected();
    let message = FailedMessage::read(&dead_letter.to_string());
    assert!(
        message.document(true)["record"]
            .get("explicit_hash_key")
            .is_none()
    );
    dead_letter["record"]["explicit_hash_key"] = "17".into();
    let message = FailedMessage::read(&dead_letter.to_string());
    let hidden = message.document(false).to_string();
    assert!(
        !hidden.contains("ada@")
            && hidden.contains("c-1001")
            && hidden.contains("\"sub_sequence\":2"),
        "{hidden}"
    );
    let hash_key = |reveal| message.document(reveal)["record"]["explicit_hash_key"].clone();
    assert_eq!(
        (hash_key(false), hash_key(true)),
        ("(hidden: --reveal)".into(), "17".into())
    );
    let revealed = message.document(true);
    assert_eq!(
        revealed["record"]["data"],
        r#"{"contact":{"email":"ada@example.con"}}"#
    );
    assert!(
        text(&revealed)
            .ends_with("data (as it arrived):\n{\"contact\":{\"email\":\"ada@example.con\"}}")
    );
    assert_eq!(revealed["reason"]["message"], "ada@example.con is invalid");
}

#[test]
fn a_document_escapes_every_control_character() {
    let mut dead_letter = rejected();
    dead_letter["reason"]["code"] = "A\u{1b}[2J\u{9b}31m\u{202e}B\r\n".into();
    let message = FailedMessage::read(&dead_letter.to_string());
    let text = text(&message.document(false));
    assert!(
        text.contains(r#""code": "A\u001b[2J\u009b31m\u202eB\r\n","#),
        "{text}"
    );
    assert!(
        text.chars().all(|char| char == '\n' || !char.is_control()),
        "{text:?}"
    );
}
