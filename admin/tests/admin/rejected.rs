//! Tests of dead letters that a replay skips, because the function would reject them again.

use serde_json::json;
use testkit::moto::Moto;

use crate::stage::{Stage, event};

/// Sends dead letters of two invalid records, and of a record that was not sent to a destination.
async fn rejected_unsent(stage: &Stage) {
    let mut invalid = event("c-2");
    invalid["contact"]["email"] = "none".into();
    for (contact, data, rejected_at_stage, code) in [
        ("c-1", "not JSON".to_owned(), "decode", "INVALID_JSON"),
        ("c-2", invalid.to_string(), "validate", "INVALID_EMAIL"),
        ("c-3", event("c-3").to_string(), "validate", "TOO_LONG"),
    ] {
        let mut dead_letter = stage.dead_letter(contact, data.as_bytes());
        dead_letter["reason"] =
            json!({"stage": rejected_at_stage, "destination": null, "code": code});
        stage.send(&dead_letter).await;
    }
}

#[tokio::test]
async fn a_change_that_the_function_would_reject_again_is_put_back_with_force_only() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "again").await;
    rejected_unsent(&stage).await;
    stage
        .send(&stage.dead_letter("c-4", event("c-4").to_string().as_bytes()))
        .await;
    let ran = stage.admin(&["replay", "--json"]).await;
    assert_eq!(ran.code, Some(1));
    let report = ran.json();
    assert_eq!(
        (&report["put_back"], &report["deleted"]),
        (&json!(1), &json!(1)),
        "{report}"
    );
    let reasons: Vec<&str> = report["left"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|left| left["reason"].as_str())
        .collect();
    for code in ["INVALID_JSON", "INVALID_EMAIL", "TOO_LONG"] {
        let expected = format!("the function rejects it again ({code}): ");
        assert!(
            reasons
                .iter()
                .any(|reason| reason.starts_with(&expected) && reason.contains("--force")),
            "{reasons:?}"
        );
    }
    assert_eq!(stage.visible().await, 3);
    let ran = stage.admin(&["replay", "--force"]).await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "3 changes put back, 3 messages deleted\n"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn on_a_terminal_the_tool_asks_once_before_it_puts_back_rejected_changes() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "asked").await;
    rejected_unsent(&stage).await;
    let no = stage.on_a_terminal(&["replay"], "n\n").await;
    assert!(
        no.out
            .contains("The function rejects 3 of these changes again."),
        "{no:?}"
    );
    assert!(
        no.out.contains("0 changes put back") && no.code == Some(1),
        "{no:?}"
    );
    assert_eq!(stage.visible().await, 3);
    let yes = stage
        .on_a_terminal(&["replay", "--round", "1"], "y\n")
        .await;
    assert_eq!(yes.out.matches("[y/N]").count(), 1, "{yes:?}");
    assert!(
        yes.out.contains("3 changes put back, 3 messages deleted") && yes.code == Some(0),
        "{yes:?}"
    );
}

#[tokio::test]
async fn the_limit_counts_messages_that_are_put_back() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "limit").await;
    for at in 0..25 {
        let id = format!("c-{at}");
        let mut dead_letter = stage.dead_letter(&id, b"not JSON");
        if at >= 20 {
            dead_letter = stage.dead_letter(&id, event(&id).to_string().as_bytes());
        }
        stage.send(&dead_letter).await;
    }
    // Two destinations rejected the last record: it is put back once.
    let mut twice = stage.dead_letter("c-24", event("c-24").to_string().as_bytes());
    twice["reason"]["destination"] = "hubspot".into();
    stage.send(&twice).await;
    let reached = "; --limit 2 is reached, and there may be more";
    for (rest, end) in [
        (3, reached),
        (1, reached),
        (0, "1 change put back, 2 messages deleted"),
    ] {
        let ran = stage.admin(&["replay", "--limit", "2"]).await;
        let first_line = ran.out.lines().next().expect("a line");
        let put_back = stage.records().await.len();
        assert_eq!(put_back, 5 - rest, "{ran:?}");
        assert!(first_line.ends_with(end), "{ran:?}");
    }
    assert_eq!(
        stage.visible().await,
        20,
        "only the messages that are not put back are kept"
    );
}
