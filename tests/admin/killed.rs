use std::collections::BTreeSet;

use tokio::task::JoinSet;

use crate::stage::{Stage, event};
use crate::support::moto::Moto;
use crate::support::turnstile::{Stop, Turnstile};

const LETTERS: usize = 12;

async fn filled(moto: &Moto, name: &str) -> Stage {
    let stage = Stage::new(moto, name).await;
    for at in 0..LETTERS {
        let id = format!("c-{at}");
        stage.send(&stage.letter(&id, event(&id).to_string().as_bytes())).await;
    }
    stage
}

async fn keys(stage: &Stage) -> BTreeSet<String> {
    stage.lying().await.into_iter().map(|record| record.key).collect()
}

/// Kills the tool at one of its calls; then what is in neither place is lost.
async fn killed(stage: Stage, stop: Stop) {
    let turnstile = Turnstile::start(&stage.url, Some(stop)).await;
    let mut tool = stage.spawn(&turnstile.url, &["replay", "--hide", "1"]);
    turnstile.stopped().await;
    tool.kill().await.expect("killed");
    let (back, waiting) = (keys(&stage).await.len() as u64, stage.waiting().await);
    assert!(back + waiting >= LETTERS as u64, "{stop:?}: {back} back, {waiting} waiting");
    // Hidden messages come back after a second; until then there is nothing to do.
    while stage.waiting().await > 0 {
        let ran = stage.admin(&["replay", "--hide", "1"]).await;
        assert_eq!(ran.code, Some(0), "{stop:?}: {ran:?}");
    }
    assert_eq!(keys(&stage).await.len(), LETTERS, "{stop:?}");
}

#[tokio::test]
async fn a_replay_that_is_killed_at_any_of_its_calls_loses_nothing() {
    let moto = Moto::start().await;
    let stage = filled(&moto, "undisturbed").await;
    let turnstile = Turnstile::start(&stage.url, None).await;
    let output = stage.command(&turnstile.url, &["replay"]).output().await.expect("the tool runs");
    assert!(output.status.success(), "{output:?}");
    let calls = turnstile.calls();
    assert!(calls >= 5, "it looks, receives, puts, deletes: {calls}");
    let mut cases = JoinSet::new();
    for at in 1..=calls {
        for reaches in [false, true] {
            let stage = filled(&moto, &format!("killed-{at}-{reaches}")).await;
            cases.spawn(killed(stage, Stop { at, reaches }));
        }
    }
    while let Some(case) = cases.join_next().await {
        case.expect("nothing lost");
    }
}
