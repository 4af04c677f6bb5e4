use std::collections::BTreeSet;

use serde_json::json;
use tokio::task::JoinSet;

use crate::stage::{Stage, event};
use crate::support::moto::Moto;
use crate::support::stream::record;
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

#[tokio::test]
async fn a_replay_of_whole_events_that_is_killed_at_any_of_its_calls_loses_nothing() {
    let moto = Moto::start().await;
    let s3 = aws_sdk_s3::Client::new(&moto.config());
    let filled = async |bucket: &str| {
        let stage = Stage::new(&moto, bucket).await;
        let place = aws_sdk_s3::types::CreateBucketConfiguration::builder()
            .location_constraint(aws_sdk_s3::types::BucketLocationConstraint::EuWest1)
            .build();
        s3.create_bucket().bucket(bucket).create_bucket_configuration(place).send().await.expect("a bucket");
        for at in 0..2 {
            let ids = [2 * at, 2 * at + 1].map(|at| format!("c-{at}"));
            let of = |(at, id): (usize, &String)| record(0, at, id, event(id).to_string().as_bytes());
            let document = json!({"KinesisBatchInfo": {"shardId": format!("shardId-{at:012}"),
                    "startSequenceNumber": "1", "endSequenceNumber": "2", "batchSize": 2, "streamArn": stage.stream},
                "payload": {"Records": ids.iter().enumerate().map(of).collect::<Vec<_>>()}});
            let body = document.to_string().into_bytes().into();
            s3.put_object().bucket(bucket).key(format!("{at}")).body(body).send().await.expect("an object");
        }
        stage
    };
    let stage = filled("undisturbed").await;
    let turnstile = Turnstile::start(&stage.url, None).await;
    let output = stage.command(&turnstile.url, &["replay", "--s3", "s3://undisturbed"]).output().await.expect("runs");
    assert!(output.status.success(), "{output:?}");
    for at in 1..=turnstile.calls() {
        for reaches in [false, true] {
            let bucket = format!("killed-{at}-{reaches}");
            let stage = filled(&bucket).await;
            let turnstile = Turnstile::start(&stage.url, Some(Stop { at, reaches })).await;
            let location = format!("s3://{bucket}");
            let arguments = ["replay", "--s3", location.as_str()];
            let mut tool = stage.spawn(&turnstile.url, &arguments);
            turnstile.stopped().await;
            tool.kill().await.expect("killed");
            let ran = stage.admin(&arguments).await;
            assert_eq!((ran.code, keys(&stage).await.len()), (Some(0), 4), "{at} {reaches}: {ran:?}");
            let left = s3.list_objects_v2().bucket(&bucket).send().await.expect("a list");
            assert!(left.contents().is_empty(), "{at} {reaches}");
        }
    }
}
