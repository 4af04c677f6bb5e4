//! Calls that fail as a whole.

#![expect(
    unreachable_pub,
    reason = "a module of one test binary, and public to it"
)]

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use contact_sync::model::{CallError, Cause, Reply as AdapterReply};
use serde_json::json;
use testkit::server::{Answer, Api, Reply, Request, Server};
use testkit::system::{Fault, Setting};
use testkit::words::{deletion, words};

use super::trial::{Trial, decides_nothing, stops};

/// Returns replies that are no response of either system.
fn broken() -> Vec<Reply> {
    let page = "<html><body>Sorry</body></html>";
    let garbage = Answer {
        status: 200,
        body: vec![0xff, 0xfe, b'[', b'{'],
        ..Answer::default()
    };
    let unpackable = Answer {
        status: 200,
        body: b"[]".to_vec(),
        ..Answer::default()
    };
    let mut replies = vec![
        unpackable.with_header("content-encoding", "gzip").into(),
        Reply::Reset,
        Reply::Cut(Answer::json(
            200,
            &json!([{"id": "1", "success": true}, {"id": "2", "success": true}]),
        )),
        Reply::Cut(Answer::empty(200)),
        garbage.into(),
    ];
    replies.extend([200, 201, 204].map(|status| Answer::empty(status).into()));
    replies.extend(
        [json!(null), json!(7), json!("yes"), json!({}), json!([])]
            .map(|json| Answer::json(200, &json).into()),
    );
    let pages = [
        200, 400, 403, 404, 408, 418, 420, 423, 429, 477, 500, 502, 503, 504, 520, 524, 599,
    ];
    replies.extend(pages.map(|status| Answer::html(status, page).into()));
    replies
}

pub async fn an_unusable_response_acknowledges_and_rejects_no_record(trial: &Trial) {
    let people = trial.people(1..=3);
    trial.upsert(&people).await.expect("a credential");
    for reply in broken() {
        trial.inject(Fault::Reply(reply.clone()));
        let (result, calls) = trial.calls_of(trial.upsert(&people)).await;
        assert!(decides_nothing(&result), "{reply:?}: {:?}", words(&result));
        assert!(result.is_err() || result.is_ok_and(|outcomes| outcomes.len() == 3));
        assert_eq!(calls, 1, "an adapter tries once: {reply:?}");
        trial.inject(Fault::Reply(reply.clone()));
        let (result, calls) = trial
            .calls_of(trial.delete(&["C-1", "C-2"].map(deletion)))
            .await;
        assert!(decides_nothing(&result), "{reply:?}: {:?}", words(&result));
        assert_eq!(calls, 1, "an adapter tries once: {reply:?}");
        assert_eq!(trial.held().len(), 3);
        assert_eq!(
            words(&trial.upsert(&people).await),
            ["delivered"; 3],
            "after {reply:?}"
        );
    }
}

pub async fn a_late_response_is_given_up(trial: &Trial) {
    let people = trial.people(1..=3);
    trial.upsert(&people).await.expect("a credential");
    for reply in [
        Reply::Hang,
        Reply::Trickle(Answer::json(200, &json!([{"success": true}]))),
    ] {
        trial.inject(Fault::Reply(reply.clone()));
        let result = trial
            .upsert_within(&people, Duration::from_millis(200))
            .await;
        assert!(
            matches!(result, Err(CallError::Retry { .. })),
            "{reply:?}: {:?}",
            words(&result)
        );
    }
}

pub async fn a_write_without_a_response_is_harmless_to_repeat(trial: &Trial) {
    trial
        .upsert(&trial.people([0]))
        .await
        .expect("a credential");
    let people = trial.people(1..=3);
    trial.inject(Fault::Lost);
    assert!(decides_nothing(&trial.upsert(&people).await));
    let records = trial.system.records();
    assert_eq!(records.len(), 4, "it was carried out");
    assert_eq!(words(&trial.upsert(&people).await), ["delivered"; 3]);
    assert_eq!(trial.system.records(), records);
}

/// A server to which no request may be sent.
struct OtherServer(AtomicUsize);

impl Api for OtherServer {
    fn reply(&self, _: &Request) -> Reply {
        self.0.fetch_add(1, Relaxed);
        Answer::json(200, &json!([])).into()
    }
}

pub async fn redirects_are_not_followed(trial: &Trial) {
    let people = trial.people(1..=3);
    trial.upsert(&people).await.expect("a credential");
    let other = Arc::new(OtherServer(AtomicUsize::new(0)));
    let server = Server::start(Arc::clone(&other)).await;
    for status in [301, 302, 303, 307, 308] {
        let answer = Answer::empty(status).with_header("location", server.url());
        trial.inject(Fault::Reply(answer.into()));
        assert!(
            stops(&trial.upsert(&people).await, Cause::Configuration),
            "{status}"
        );
    }
    assert_eq!(
        other.0.load(Relaxed),
        0,
        "a redirect would carry credentials"
    );
}

pub async fn no_call_is_made_to_a_host_that_is_not_allowed(trial: &Trial) {
    let forbidden = trial.set(Setting::OtherHost).expect("a system with hosts");
    let people = trial.people(1..=2);
    for reply in [
        trial.upsert_by(&*forbidden, &people).await,
        trial.delete_by(&*forbidden, &people).await,
    ] {
        assert!(stops(&reply, Cause::Configuration), "{:?}", words(&reply));
    }
    assert_eq!((trial.system.calls(), trial.metrics.api_calls()), (0, 0));
}

pub async fn an_expired_credential_is_renewed_and_the_call_repeated_once(trial: &Trial) {
    let people = trial.people(1..=3);
    trial.upsert(&people).await.expect("a credential");
    trial.inject(Fault::Expired);
    let (reply, calls) = trial.calls_of(trial.upsert(&people)).await;
    assert_eq!((words(&reply), calls), (vec!["delivered".to_owned(); 3], 2));
    let (_, calls) = trial.calls_of(trial.upsert(&people)).await;
    assert_eq!(calls, 1, "the new one is kept");
}

pub async fn a_refused_credential_stops_the_destination(trial: &Trial) {
    let people = trial.people(1..=3);
    trial.upsert(&people).await.expect("a credential");
    trial.inject(Fault::Revoked);
    for _ in 0..2 {
        let (reply, calls) = trial.calls_of(trial.upsert(&people)).await;
        assert!(stops(&reply, Cause::Credential), "{:?}", words(&reply));
        assert!(calls <= 1, "{calls} calls with a refused credential");
    }
    assert_eq!(trial.held().len(), 3);
}

pub async fn a_missing_right_stops_the_destination_and_rejects_no_record(trial: &Trial) {
    let people = trial.people(1..=3);
    trial.upsert(&people).await.expect("a credential");
    for deletes in [false, true] {
        trial.inject(Fault::Forbidden);
        let work = async {
            if deletes {
                trial.delete(&["C-1", "C-2"].map(deletion)).await
            } else {
                trial.upsert(&people).await
            }
        };
        let (reply, calls) = trial.calls_of(work).await;
        assert!(stops(&reply, Cause::Configuration), "{:?}", words(&reply));
        assert_eq!(calls, 1, "another try would fail the same way");
    }
    assert_eq!(
        words(&trial.upsert(&people).await),
        ["delivered"; 3],
        "the right is granted"
    );
}

pub async fn a_used_up_quota_stops_the_destination(trial: &Trial) {
    let people = trial.people(1..=3);
    trial.upsert(&people).await.expect("a credential");
    trial.inject(Fault::Exhausted);
    assert!(stops(&trial.upsert(&people).await, Cause::Quota));
}

pub async fn too_many_calls_at_a_time_are_throttled(trial: &Trial) {
    let people = trial.people(1..=3);
    trial.upsert(&people).await.expect("a credential");
    trial.inject(Fault::Throttled);
    let reply = trial.upsert(&people).await;
    let is_throttled = matches!(&reply, Err(CallError::Throttled { after: Some(after), .. })
        if *after >= Duration::from_secs(1));
    assert!(is_throttled, "{:?}", words(&reply));
    assert_eq!(words(&trial.upsert(&people).await), ["delivered"; 3]);
}

pub async fn a_pause_that_the_system_asks_for_is_reported(trial: &Trial) {
    const PAUSE: Duration = Duration::from_secs(7);
    let people = trial.people(1..=2);
    trial.upsert(&people).await.expect("a credential");
    for deletes in [false, true] {
        trial.inject(Fault::Paused(PAUSE));
        let work = async {
            if deletes {
                trial.delete(&["C-1", "C-2"].map(deletion)).await
            } else {
                trial.upsert(&people).await
            }
        };
        let (reply, calls) = trial.calls_of(work).await;
        assert_eq!(
            (pause_of(&reply), calls),
            (Some(PAUSE), 1),
            "{:?}",
            words(&reply)
        );
        assert_eq!(trial.held(), ["c-1", "c-2"]);
    }
    assert_eq!(words(&trial.upsert(&people).await), ["delivered"; 2]);
}

/// Returns the pause that the system asks for.
fn pause_of(reply: &AdapterReply) -> Option<Duration> {
    match reply {
        Err(
            CallError::Retry {
                after,
                pressure: true,
                ..
            }
            | CallError::Throttled { after, .. },
        ) => *after,
        _ => None,
    }
}
