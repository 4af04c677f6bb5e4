//! Dead letters that a replay leaves alone, because the function would reject them again.

use serde_json::json;
use testkit::moto::Moto;

use crate::stage::{Stage, event};

/// Dead letters of records that the function does not read, and of one that no destination was
/// asked about.
async fn rejected_unsent(stage: &Stage) {
    let mut invalid = event("c-2");
    invalid["contact"]["email"] = "none".into();
    for (contact, data, stage_, code) in [
        ("c-1", "not JSON".to_owned(), "decode", "INVALID_JSON"),
        ("c-2", invalid.to_string(), "validate", "INVALID_EMAIL"),
        ("c-3", event("c-3").to_string(), "validate", "TOO_LONG"),
    ] {
        let mut letter = stage.letter(contact, data.as_bytes());
        letter["reason"] = json!({"stage": stage_, "destination": null, "code": code});
        stage.send(&letter).await;
    }
}

#[tokio::test]
async fn what_the_function_would_reject_again_is_put_back_with_force_only() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "again").await;
    rejected_unsent(&stage).await;
    stage
        .send(&stage.letter("c-4", event("c-4").to_string().as_bytes()))
        .await;
    let told = stage.admin(&["replay", "--json"]).await;
    assert_eq!(told.code, Some(1));
    let told = told.json();
    assert_eq!(
        (&told["put_back"], &told["deleted"]),
        (&json!(1), &json!(1)),
        "{told}"
    );
    let reasons: Vec<&str> = told["left"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|left| left["reason"].as_str())
        .collect();
    for code in ["INVALID_JSON", "INVALID_EMAIL", "TOO_LONG"] {
        let reason = format!("the function rejects it again ({code}): ");
        assert!(
            reasons
                .iter()
                .any(|told| told.starts_with(&reason) && told.contains("--force")),
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
async fn on_a_terminal_the_tool_asks_once_before_it_puts_back_what_is_rejected_again() {
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
async fn the_limit_counts_what_is_put_back() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "limit").await;
    for at in 0..25 {
        let id = format!("c-{at}");
        let mut letter = stage.letter(&id, b"not JSON");
        if at >= 20 {
            letter = stage.letter(&id, event(&id).to_string().as_bytes());
        }
        stage.send(&letter).await;
    }
    // Two destinations refused the last one: it goes back once.
    let mut twice = stage.letter("c-24", event("c-24").to_string().as_bytes());
    twice["reason"]["destination"] = "hubspot".into();
    stage.send(&twice).await;
    let reached = "; --limit 2 is reached, and there may be more";
    for (rest, end) in [
        (3, reached),
        (1, reached),
        (0, "1 change put back, 2 messages deleted"),
    ] {
        let ran = stage.admin(&["replay", "--limit", "2"]).await;
        let told = ran.out.lines().next().expect("a line");
        let left = stage.lying().await.len();
        assert_eq!(left, 5 - rest, "{ran:?}");
        assert!(told.ends_with(end), "{ran:?}");
    }
    assert_eq!(
        stage.visible().await,
        20,
        "what is left alone stays, and nothing else"
    );
}
