use serde_json::{Value, json};
use testkit::moto::Moto;

use crate::stage::{Stage, ago, event};

/// Sends dead letters of three stages, a batch that the mapping discarded and an unknown message.
/// Returns the texts that differ between runs, with their replacements.
async fn fill(stage: &Stage) -> Vec<(String, &'static str)> {
    let dead_letter = |contact: &str,
                       rejected_at_stage: &str,
                       destination: Option<&str>,
                       code: &str,
                       at: &str| {
        let mut dead_letter = stage.dead_letter(contact, event(contact).to_string().as_bytes());
        dead_letter["reason"]["stage"] = rejected_at_stage.into();
        dead_letter["reason"]["destination"] = destination.into();
        dead_letter["reason"]["code"] = code.into();
        dead_letter["rejected_at"] = at.into();
        dead_letter
    };
    let batch = json!({
        "requestContext": {
            "requestId": "r",
            "functionArn": "arn",
            "condition": "RecordAgeExceeded",
            "approximateInvokeCount": 8,
        },
        "version": "1.0",
        "timestamp": ago(2 * 86_400 + 60),
        "KinesisBatchInfo": {
            "shardId": "shardId-000000000000",
            "startSequenceNumber": "1",
            "endSequenceNumber": "30",
            "batchSize": 30,
            "streamArn": stage.stream,
        },
    });
    let times = [ago(310), ago(7300), ago(7400), ago(9 * 86_400 + 60)];
    let mut names = vec![(
        batch["timestamp"].as_str().expect("a text").to_owned(),
        "<2 days ago>",
    )];
    for (at, name) in times.iter().zip([
        "<5 minutes ago>",
        "<2 hours ago>",
        "<a bit more ago>",
        "<9 days ago>",
    ]) {
        names.push((at.clone(), name));
    }
    let messages = [
        (
            dead_letter(
                "c-1",
                "deliver",
                Some("salesforce"),
                "INVALID_EMAIL_ADDRESS",
                &times[0],
            ),
            "<message 1>",
        ),
        (
            dead_letter(
                "c-2",
                "deliver",
                Some("salesforce"),
                "INVALID_EMAIL_ADDRESS",
                &times[1],
            ),
            "<message 2>",
        ),
        (
            dead_letter("c-3", "validate", None, "INVALID_EMAIL", &times[2]),
            "<message 3>",
        ),
        (
            dead_letter(
                "c-4",
                "deliver",
                Some("hubspot"),
                "INVALID_OPTION",
                &times[3],
            ),
            "<message 4>",
        ),
        (batch, "<message 5>"),
        (Value::from("hello"), "<message 6>"),
    ];
    for (message, name) in messages {
        names.push((stage.send(&message).await, name));
    }
    names
}

/// Replaces the texts that differ between runs, and collapses white space: the width of a column
/// depends on them.
fn normalized(text: &str, names: &[(String, &str)]) -> String {
    let mut text = text.to_owned();
    for (found, name) in names {
        text = text.replace(found, name);
    }
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test]
async fn list_and_summary_show_dead_letters_and_leave_them_in_the_queue() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "dead-letters").await;
    let names = fill(&stage).await;
    for (name, arguments) in [
        ("list", &["dead-letters", "list"][..]),
        (
            "list_filtered",
            &[
                "dead-letters",
                "list",
                "--code",
                "invalid_email_address",
                "--limit",
                "1",
            ],
        ),
        (
            "list_of_the_mapping",
            &["dead-letters", "list", "--stage", "mapping"],
        ),
        (
            "list_of_a_contact",
            &["dead-letters", "list", "--contact", "c-99"],
        ),
        (
            "list_of_none",
            &["dead-letters", "list", "--code", "TOO_LONG"],
        ),
        (
            "summary_of_none",
            &["dead-letters", "summary", "--code", "TOO_LONG"],
        ),
        ("summary", &["dead-letters", "summary"]),
        (
            "summary_json",
            &["dead-letters", "summary", "--json", "--since", "3d"],
        ),
    ] {
        let ran = stage.admin(arguments).await;
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
        insta::assert_snapshot!(name, normalized(&ran.out, &names));
        assert_eq!(
            stage.visible().await,
            6,
            "other readers see every message immediately after `{name}`"
        );
    }
}

#[tokio::test]
async fn show_prints_a_dead_letter_and_reveals_contact_data_only_on_request() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "dead-letters").await;
    let names = fill(&stage).await;
    let shown = stage.admin(&["dead-letters", "show", "e-c-2"]).await;
    assert!(!shown.out.contains("ada@"), "{shown:?}");
    insta::assert_snapshot!("show", normalized(&shown.out, &names));
    let revealed = stage
        .admin(&["dead-letters", "show", "e-c-2", "--reveal", "--json"])
        .await
        .json();
    assert_eq!(
        revealed["dead_letters"][0]["record"]["data"],
        event("c-2").to_string()
    );
    assert_eq!(
        revealed["dead_letters"][0]["record"]["data_encoding"],
        "utf-8"
    );
    let missing = stage.admin(&["dead-letters", "show", "e-99"]).await;
    assert_eq!(missing.code, Some(1));
    assert!(
        missing
            .err
            .starts_with("error: no dead letter has the id `e-99`: take the id from"),
        "{missing:?}"
    );
    assert_eq!(missing.err.lines().count(), 1);
}

#[tokio::test]
async fn show_reveals_data_byte_for_byte() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "reveal").await;
    let id = stage.send(&stage.dead_letter("c-1", b"")).await;
    let shown = stage
        .admin(&["dead-letters", "show", &id, "--reveal"])
        .await;
    assert!(
        shown.out.ends_with("\n\ndata (as it arrived):\n\n"),
        "{shown:?}"
    );
    for (at, data) in [
        r#"{"contact": {"id": "c-1", "id": "c-2"}}"#,
        r#"{"version": 18446744073709551616, "n": 1.50e2}"#,
        "not JSON, with an é and\ttwo lines\r\n \n",
    ]
    .into_iter()
    .enumerate()
    {
        let id = stage
            .send(&stage.dead_letter(&format!("c-{at}"), data.as_bytes()))
            .await;
        let shown = stage
            .admin(&["dead-letters", "show", &id, "--reveal"])
            .await;
        let revealed = shown
            .out
            .split_once("\ndata (as it arrived):\n")
            .expect("the data")
            .1;
        assert_eq!(revealed.strip_suffix('\n'), Some(data), "{shown:?}");
        let shown = stage
            .admin(&["dead-letters", "show", &id, "--reveal", "--json"])
            .await
            .json();
        assert_eq!(shown["dead_letters"][0]["record"]["data"], data);
    }
}

#[tokio::test]
async fn show_reveals_data_that_is_not_text_as_labelled_base64() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "binary").await;
    for (data, end, json) in [
        (
            &b"\xf3\x89\x9a\xc2"[..],
            "data (not UTF-8 text, as base64):\n84mawg==\n",
            ("base64", "84mawg=="),
        ),
        (
            b"\x1b[2J",
            "data (text with control characters, as base64):\nG1sySg==\n",
            ("utf-8", "\u{1b}[2J"),
        ),
    ] {
        let id = stage.send(&stage.dead_letter("c-1", data)).await;
        let shown = stage
            .admin(&["dead-letters", "show", &id, "--reveal"])
            .await;
        assert!(shown.out.ends_with(end), "{shown:?}");
        let shown = stage
            .admin(&["dead-letters", "show", &id, "--reveal", "--json"])
            .await
            .json();
        let record = &shown["dead_letters"][0]["record"];
        assert_eq!(
            (&record["data_encoding"], &record["data"]),
            (&json!(json.0), &json!(json.1))
        );
    }
    let mut dead_letter = stage.dead_letter("c-1", b"");
    dead_letter["record"]["data"] = "no base64!".into();
    let id = stage.send(&dead_letter).await;
    let shown = stage
        .admin(&["dead-letters", "show", &id, "--reveal"])
        .await;
    assert!(
        shown
            .out
            .ends_with("data (not valid base64, as the message contains it):\nno base64!\n")
    );
}

#[tokio::test]
async fn control_characters_of_a_dead_letter_are_escaped_in_every_output() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "forged").await;
    let forged = "c-1\u{1b}[2K\r\nok \u{9b}31m \u{202e}forged";
    let mut dead_letter = stage.dead_letter("c-1", forged.as_bytes());
    dead_letter["contact_id"] = forged.into();
    dead_letter["event_id"] = forged.into();
    dead_letter["reason"]["code"] = forged.into();
    dead_letter["reason"]["destination"] = forged.into();
    dead_letter["reason"]["stage"] = forged.into();
    dead_letter["reason"]["message"] = forged.into();
    let id = stage.send(&dead_letter).await;
    for (arguments, escape) in [
        (&["dead-letters", "list"][..], r"\u{1b}[2K\r\nok"),
        (&["dead-letters", "summary"], r"\u{1b}[2K\r\nok"),
        (&["dead-letters", "show", &id], r"\u001b[2K\r\nok"),
        (
            &["dead-letters", "show", &id, "--reveal"],
            r"\u001b[2K\r\nok",
        ),
        (&["dead-letters", "list", "--json"], r"\u001b[2K\r\nok"),
    ] {
        let ran = stage.admin(arguments).await;
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
        assert!(ran.out.contains(escape), "{ran:?}");
        assert!(
            !ran.out
                .contains(|char: char| char.is_control() && char != '\n'),
            "{ran:?}"
        );
        assert!(!ran.out.contains('\u{202e}'), "{ran:?}");
    }
}

#[tokio::test]
async fn show_prints_messages_without_contact_data_and_hides_those_of_destinations() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "messages").await;
    let hidden = "(hidden: --reveal)";
    for (rejected_at_stage, code, message, expected) in [
        (
            "decode",
            "WRONG_TYPE",
            "a value has the wrong type, line 1, column 9",
            None,
        ),
        (
            "validate",
            "TOO_LONG",
            "contact.id: allowed: 1 to 255 characters after trimming",
            None,
        ),
        (
            "deliver",
            "INVALID_EMAIL_ADDRESS",
            "Email: INVALID_EMAIL_ADDRESS",
            None,
        ),
        ("deliver", "INVALID_EMAIL_ADDRESS", "", None),
        (
            "deliver",
            "INVALID_EMAIL_ADDRESS",
            "Email: ada@example.con",
            Some(hidden),
        ),
        ("deliver", "INVALID_EMAIL_ADDRESS", "LOVELACE", Some(hidden)),
        ("deliver", "INVALID_EMAIL_ADDRESS", "艾达", Some(hidden)),
        ("other", "INVALID_EMAIL_ADDRESS", "ada", Some(hidden)),
    ] {
        let mut dead_letter = stage.dead_letter("c-1", b"{}");
        dead_letter["reason"]["stage"] = rejected_at_stage.into();
        dead_letter["reason"]["code"] = code.into();
        dead_letter["reason"]["message"] = message.into();
        let id = stage.send(&dead_letter).await;
        let shown = stage
            .admin(&["dead-letters", "show", &id, "--json"])
            .await
            .json();
        assert_eq!(
            shown["dead_letters"][0]["reason"]["message"],
            expected.unwrap_or(message)
        );
        assert_eq!(shown["dead_letters"][0]["record"]["data"], hidden);
    }
}

#[tokio::test]
async fn an_empty_queue_a_held_message_and_a_filter_without_matches_are_distinguished() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "none").await;
    for arguments in [["dead-letters", "list"], ["dead-letters", "summary"]] {
        let ran = stage.admin(&arguments).await;
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (Some(0), "the queue is empty\n")
        );
    }
    assert_eq!(
        stage.admin(&["replay"]).await.out,
        "0 changes put back, 0 messages deleted: the queue is empty\n"
    );
    stage.send(&stage.dead_letter("c-1", b"{}")).await;
    let ran = stage
        .admin(&["dead-letters", "list", "--code", "TOO_LONG"])
        .await;
    assert_eq!(ran.out, "none of 1 match\n");
    stage
        .sqs
        .receive_message()
        .queue_url(&stage.queue)
        .visibility_timeout(600)
        .send()
        .await
        .expect("held");
    let ran = stage.admin(&["dead-letters", "list"]).await;
    assert!(
        ran.out.ends_with("held by another reader for a while: 1\n"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn an_empty_range_of_times_is_rejected() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "times").await;
    for arguments in [
        &["replay", "--stream", "times", "--from", "1h", "--to", "2h"][..],
        &["replay", "--stream", "times", "--from", "2999-01-01"],
        &["replay", "--since", "1h", "--until", "2h"],
        &["dead-letters", "list", "--since", "1h", "--until", "2h"],
        &["dead-letters", "summary", "--since", "1h", "--until", "2h"],
    ] {
        let ran = stage.admin(arguments).await;
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
        assert!(
            ran.err.contains(" is before --") || ran.err.contains("is in the future"),
            "{ran:?}"
        );
    }
}

#[tokio::test]
async fn the_version_names_the_tool() {
    let moto = Moto::start().await;
    let ran = Stage::new(&moto, "version")
        .await
        .admin(&["--version"])
        .await;
    assert_eq!(
        ran.out,
        format!("contact-sync-admin {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test]
async fn a_long_queue_is_read_to_its_end_or_to_the_requested_limit() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "long").await;
    for at in 0..73 {
        stage
            .send(&stage.dead_letter(&format!("c-{at}"), b"{}"))
            .await;
    }
    let all = stage
        .admin(&["dead-letters", "list", "--json"])
        .await
        .json();
    assert_eq!((&all["found"], &all["shown"]), (&json!(73), &json!(50)));
    let some = stage
        .admin(&["dead-letters", "summary", "--most", "20"])
        .await;
    assert!(
        some.out.contains("20 in all") && some.err.contains("only 20 messages were read"),
        "{some:?}"
    );
    assert_eq!(stage.visible().await, 73);
}

#[tokio::test]
async fn a_failure_is_one_line_with_a_remedy() {
    let moto = Moto::start().await;
    let mut stage = Stage::new(&moto, "failures").await;
    let gone = format!("{}/123456789012/no-such-queue", moto.url);
    let ran = stage
        .admin(&["dead-letters", "list", "--queue-url", &gone])
        .await;
    assert_eq!(
        (ran.code, ran.err.lines().count(), ran.out.as_str()),
        (Some(1), 1, ""),
        "{ran:?}"
    );
    assert!(
        ran.err.contains("no-such-queue") && ran.err.contains("sqs:GetQueueAttributes"),
        "{ran:?}"
    );
    stage
        .variables
        .retain(|(name, _)| name != "CONTACT_SYNC__DEAD_LETTER__QUEUE_URL");
    let ran = stage.admin(&["dead-letters", "list"]).await;
    assert!(
        ran.err
            .contains("name the queue with --queue-url, or a deployed function"),
        "{ran:?}"
    );
    stage.variables.push((
        "CONTACT_SYNC__HUBSPOT__BATCH_SIZE".to_owned(),
        "101".to_owned(),
    ));
    let ran = stage.admin(&["replay", "--json"]).await;
    let error: Value = serde_json::from_str(&ran.err).expect("JSON");
    let error = error["error"].as_str().expect("a text");
    assert!(
        error.contains("`hubspot.batch_size` is 101; allowed: 1 to 100"),
        "{error}"
    );
    assert_eq!(
        stage.admin(&["replay", "--stage", "nowhere"]).await.code,
        Some(2)
    );
}

#[tokio::test]
async fn the_help_has_examples() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "help").await;
    for (name, arguments) in [
        ("help_dead_letters", &["dead-letters", "--help"][..]),
        ("help_replay", &["replay", "--help"]),
        ("help_doctor", &["doctor", "--help"]),
    ] {
        insta::assert_snapshot!(name, stage.admin(arguments).await.out);
    }
}
