use serde_json::{Value, json};

use crate::stage::{Stage, ago, event};
use crate::support::moto::Moto;

/// Three kinds of rejections, and a batch that the mapping gave up; with the texts that differ from run to run.
async fn fill(stage: &Stage) -> Vec<(String, &'static str)> {
    let of = |contact: &str, stage_: &str, destination: Option<&str>, code: &str, at: &str| {
        let mut letter = stage.letter(contact, event(contact).to_string().as_bytes());
        letter["reason"]["stage"] = stage_.into();
        letter["reason"]["destination"] = destination.into();
        letter["reason"]["code"] = code.into();
        letter["rejected_at"] = at.into();
        letter
    };
    let batch = json!({
        "requestContext": {"requestId": "r", "functionArn": "arn", "condition": "RecordAgeExceeded",
            "approximateInvokeCount": 8},
        "version": "1.0", "timestamp": ago(2 * 86_400 + 60),
        "KinesisBatchInfo": {"shardId": "shardId-000000000000", "startSequenceNumber": "1", "endSequenceNumber": "30",
            "batchSize": 30, "streamArn": stage.stream},
    });
    let times = [ago(310), ago(7300), ago(7400), ago(9 * 86_400 + 60)];
    let mut names = vec![(batch["timestamp"].as_str().expect("a text").to_owned(), "<2 days ago>")];
    for (at, name) in times.iter().zip(["<5 minutes ago>", "<2 hours ago>", "<a bit more ago>", "<9 days ago>"]) {
        names.push((at.clone(), name));
    }
    let letters = [
        (of("c-1", "deliver", Some("salesforce"), "INVALID_EMAIL_ADDRESS", &times[0]), "<message 1>"),
        (of("c-2", "deliver", Some("salesforce"), "INVALID_EMAIL_ADDRESS", &times[1]), "<message 2>"),
        (of("c-3", "validate", None, "INVALID_EMAIL", &times[2]), "<message 3>"),
        (of("c-4", "deliver", Some("hubspot"), "INVALID_OPTION", &times[3]), "<message 4>"),
        (batch, "<message 5>"),
        (Value::from("hello"), "<message 6>"),
    ];
    for (letter, name) in letters {
        names.push((stage.send(&letter).await, name));
    }
    names
}

fn without(text: &str, names: &[(String, &str)]) -> String {
    // The columns are as wide as what stood there.
    let text = names.iter().fold(text.to_owned(), |text, (found, name)| text.replace(found, name));
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn what_was_rejected_is_listed_and_summed_up_and_nothing_is_taken_away() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "dead-letters").await;
    let names = fill(&stage).await;
    for (name, arguments) in [
        ("list", &["dead-letters", "list"][..]),
        ("list_filtered", &["dead-letters", "list", "--code", "invalid_email_address", "--limit", "1"]),
        ("list_of_the_mapping", &["dead-letters", "list", "--stage", "mapping"]),
        ("list_of_none", &["dead-letters", "list", "--contact", "c-99"]),
        ("summary", &["dead-letters", "summary"]),
        ("summary_json", &["dead-letters", "summary", "--json", "--since", "3d"]),
    ] {
        let ran = stage.admin(arguments).await;
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
        insta::assert_snapshot!(name, without(&ran.out, &names));
        assert_eq!(stage.visible().await, 6, "others see every message at once after `{name}`");
    }
}

#[tokio::test]
async fn one_is_shown_whole_and_its_contact_only_where_it_is_to_be_revealed() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "dead-letters").await;
    let names = fill(&stage).await;
    let shown = stage.admin(&["dead-letters", "show", "e-c-2"]).await;
    assert!(!shown.out.contains("ada@"), "{shown:?}");
    insta::assert_snapshot!("show", without(&shown.out, &names));
    let revealed = stage.admin(&["dead-letters", "show", "e-c-2", "--reveal", "--json"]).await.json();
    assert_eq!(revealed["dead_letters"][0]["record"]["data"], event("c-2"));
    let missing = stage.admin(&["dead-letters", "show", "e-99"]).await;
    assert_eq!(missing.code, Some(1));
    assert!(missing.err.starts_with("error: no dead letter is called `e-99`: take the id from"), "{missing:?}");
    assert_eq!(missing.err.lines().count(), 1);
}

#[tokio::test]
async fn a_long_queue_is_seen_to_its_end_or_to_the_bound_that_was_asked_for() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "long").await;
    for at in 0..73 {
        stage.send(&stage.letter(&format!("c-{at}"), b"{}")).await;
    }
    let all = stage.admin(&["dead-letters", "list", "--json"]).await.json();
    assert_eq!((&all["found"], &all["shown"]), (&json!(73), &json!(50)));
    let some = stage.admin(&["dead-letters", "summary", "--most", "20"]).await;
    assert!(some.out.contains("20 in all") && some.err.contains("only 20 messages were looked at"), "{some:?}");
    assert_eq!(stage.visible().await, 73);
}

#[tokio::test]
async fn a_failure_is_one_line_that_says_what_to_do() {
    let moto = Moto::start().await;
    let mut stage = Stage::new(&moto, "failures").await;
    let gone = format!("{}/123456789012/no-such-queue", moto.url);
    let ran = stage.admin(&["dead-letters", "list", "--queue-url", &gone]).await;
    assert_eq!((ran.code, ran.err.lines().count(), ran.out.as_str()), (Some(1), 1, ""), "{ran:?}");
    assert!(ran.err.contains("no-such-queue") && ran.err.contains("sqs:GetQueueAttributes"), "{ran:?}");
    stage.variables.retain(|(name, _)| name != "CONTACT_SYNC__DEAD_LETTER__QUEUE_URL");
    let ran = stage.admin(&["dead-letters", "list"]).await;
    assert!(ran.err.contains("name the queue with --queue-url"), "{ran:?}");
    stage.variables.push(("CONTACT_SYNC__HUBSPOT__BATCH_SIZE".to_owned(), "101".to_owned()));
    let ran = stage.admin(&["replay", "--json"]).await;
    let error: Value = serde_json::from_str(&ran.err).expect("JSON");
    let error = error["error"].as_str().expect("a text");
    assert!(error.contains("`hubspot.batch_size` is 101; allowed: 1 to 100"), "{error}");
    assert_eq!(stage.admin(&["replay", "--stage", "nowhere"]).await.code, Some(2));
}

#[tokio::test]
async fn the_help_teaches_by_examples() {
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
