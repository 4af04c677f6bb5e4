use std::collections::BTreeSet;
use std::time::Duration;

use testkit::kinesis::{InvocationOutcome, OnFailure, Payload, Stream};
use testkit::moto::Moto;
use testkit::proxy::{Proxy, Stop};
use tokio::process::Child;
use tokio::task::JoinSet;

use crate::stage::{Bucket, Stage, discard, event};

const DEAD_LETTERS: usize = 12;

async fn filled(moto: &Moto, name: &str) -> Stage {
    let stage = Stage::new(moto, name).await;
    for at in 0..DEAD_LETTERS {
        let id = format!("c-{at}");
        stage
            .send(&stage.dead_letter(&id, event(&id).to_string().as_bytes()))
            .await;
    }
    stage
}

/// Returns the contacts whose changes are in the stream.
async fn contacts(stage: &Stage) -> BTreeSet<String> {
    let mut contacts = BTreeSet::new();
    for record in stage.records().await {
        let event = record.json();
        contacts.insert(event["contact"]["id"].as_str().expect("an id").to_owned());
    }
    contacts
}

/// Kills the tool when its last request has arrived. A run with fewer requests ends by itself: on a
/// busy machine, the SDK may have repeated a call of the undisturbed run.
async fn kill_at_its_stop(mut tool: Child, proxy: &Proxy) {
    tokio::select! {
        () = proxy.stopped() => tool.kill().await.expect("killed"),
        ended = tool.wait() => drop(ended.expect("it ran")),
    }
}

/// Kills the tool at one of its calls, and checks that each change is in the stream or the queue.
async fn kill_and_resume(stage: Stage, stop: Stop) {
    let proxy = Proxy::start_until(&stage.url, Some(stop)).await;
    kill_at_its_stop(stage.spawn(&proxy.url, &["replay", "--hide", "1"]), &proxy).await;
    let (back, waiting) = (contacts(&stage).await.len() as u64, stage.waiting().await);
    assert!(
        back + waiting >= DEAD_LETTERS as u64,
        "{stop:?}: {back} back, {waiting} waiting"
    );
    // Hidden messages become visible after a second.
    while stage.waiting().await > 0 {
        let ran = stage.admin(&["replay", "--hide", "1"]).await;
        assert_eq!(ran.code, Some(0), "{stop:?}: {ran:?}");
    }
    assert_eq!(contacts(&stage).await.len(), DEAD_LETTERS, "{stop:?}");
}

#[tokio::test]
async fn a_replay_that_is_killed_at_any_of_its_calls_loses_no_change() {
    let moto = Moto::start().await;
    let stage = filled(&moto, "undisturbed").await;
    let proxy = Proxy::start(&stage.url).await;
    let output = stage
        .command(&proxy.url, &["replay"])
        .output()
        .await
        .expect("the tool runs");
    assert!(output.status.success(), "{output:?}");
    let calls = proxy.requests();
    assert!(
        calls >= 5,
        "it reads the depth, receives, puts, deletes: {calls}"
    );
    let mut cases = JoinSet::new();
    for at in 1..=calls {
        for reaches in [false, true] {
            let stage = filled(&moto, &format!("killed-{at}-{reaches}")).await;
            cases.spawn(kill_and_resume(stage, Stop { at, reaches }));
        }
    }
    while let Some(case) = cases.join_next().await {
        case.expect("nothing lost");
    }
}

#[tokio::test]
async fn a_replay_of_whole_events_that_is_killed_at_any_of_its_calls_loses_no_change() {
    let moto = Moto::start().await;
    let filled = async |name: &str| {
        let stage = Stage::new(&moto, name).await;
        let bucket = Bucket::new(&moto, name).await;
        let mut stream = Stream::named(&stage.consumer(), 1);
        for at in 0..4 {
            let id = format!("c-{at}");
            stream.put("key", event(&id).to_string().as_bytes(), Duration::ZERO);
        }
        let objects = discard(
            &stream,
            2,
            OnFailure::Object(Payload::Captured),
            async |_| InvocationOutcome::Error,
        )
        .await;
        assert_eq!(objects.len(), 2);
        bucket.put(&objects).await;
        (stage, bucket)
    };
    let (stage, _) = filled("undisturbed").await;
    let proxy = Proxy::start(&stage.url).await;
    let output = stage
        .command(&proxy.url, &["replay", "--s3", "s3://undisturbed"])
        .output()
        .await
        .expect("runs");
    assert!(output.status.success(), "{output:?}");
    for at in 1..=proxy.requests() {
        for reaches in [false, true] {
            let name = format!("killed-{at}-{reaches}");
            let (stage, bucket) = filled(&name).await;
            let proxy = Proxy::start_until(&stage.url, Some(Stop { at, reaches })).await;
            let location = format!("s3://{name}");
            let arguments = ["replay", "--s3", location.as_str()];
            kill_at_its_stop(stage.spawn(&proxy.url, &arguments), &proxy).await;
            let ran = stage.admin(&arguments).await;
            assert_eq!(
                (ran.code, contacts(&stage).await.len()),
                (Some(0), 4),
                "{at} {reaches}: {ran:?}"
            );
            assert!(bucket.is_empty().await, "{at} {reaches}");
        }
    }
}
