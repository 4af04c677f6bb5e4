//! Tests of the scheduled checks over real HTTP on loopback.

use std::sync::Arc;

use contact_sync::app::{App, Doctor};
use contact_sync::http_client::ExtraRoots;
use contact_sync::lambda::{HandlerError, handle_scheduled};
use contact_sync::settings::{Environment, Preset};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use testkit::aws::no_aws;
use testkit::harness::{Logs, Mocks};

/// Builds the task with the mocks and these variables besides.
fn doctor(mocks: &Mocks, variables: &[(&str, &str)]) -> Doctor {
    let mut all = mocks.variables();
    all.push(("CONTACT_SYNC_PRESET".into(), "test".into()));
    all.push(("CONTACT_SYNC_TASK".into(), "doctor".into()));
    all.push(("AWS_LAMBDA_FUNCTION_NAME".into(), "sync-doctor".into()));
    all.extend(
        variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into())),
    );
    let all = all
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()));
    let environment = Environment::from_variables(all).expect("good variables");
    Doctor::new(environment, Arc::new(no_aws()), ExtraRoots::default())
}

async fn run(doctor: &Doctor, event: Value) -> Result<Value, HandlerError> {
    handle_scheduled(doctor, LambdaEvent::new(event, Context::default())).await
}

fn its_event() -> Value {
    json!({"contact-sync": "doctor"})
}

fn findings(logs: &Logs) -> Vec<Value> {
    let metrics = logs.metrics("");
    assert!(metrics.iter().all(|line| line["Function"] == "sync-doctor"));
    metrics
        .into_iter()
        .map(|mut line| line["DoctorFindings"].take())
        .collect()
}

#[tokio::test]
async fn a_healthy_deployment_has_no_finding_and_a_removed_field_is_one() {
    let mocks = Mocks::start().await;
    let logs = Logs::listen();
    let healthy = run(&doctor(&mocks, &[]), its_event())
        .await
        .expect("its event");
    assert_eq!(healthy["findings"], json!([]), "{healthy}");
    assert!(healthy["checks"].as_u64() > Some(5), "{healthy}");
    assert_eq!(findings(&logs), [0]);
    let gone = doctor(&mocks, &[("CONTACT_SYNC__HUBSPOT__TYPE_PROPERTY", "gone")]);
    let drifted = run(&gone, its_event()).await.expect("its event");
    assert_eq!(
        drifted["findings"].as_array().map(Vec::len),
        Some(1),
        "{drifted}"
    );
    assert_eq!(findings(&logs), [0, 1]);
    let lines = logs.lines();
    let warnings: Vec<&Value> = lines
        .iter()
        .filter(|line| line["level"] == "WARN")
        .collect();
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0]["message"], "check failed");
    assert_eq!(warnings[0]["check"], drifted["findings"][0]["check"]);
    assert!(
        warnings[0]["remedy"]
            .as_str()
            .is_some_and(|text| text.contains("gone"))
    );
}

#[tokio::test]
async fn invalid_settings_and_an_unreadable_secret_are_findings() {
    let mocks = Mocks::start().await;
    let invalid = doctor(&mocks, &[("CONTACT_SYNC__HUBSPOT__BATCH_SIZE", "101")]);
    let found = run(&invalid, its_event()).await.expect("its event");
    assert_eq!(found["findings"][0]["check"], "settings", "{found}");
    std::fs::remove_file(mocks.salesforce_secret.path()).expect("removed");
    let found = run(&doctor(&mocks, &[]), its_event())
        .await
        .expect("its event");
    assert_eq!(
        found["findings"][0]["check"], "salesforce secret",
        "{found}"
    );
    // The secret of a system that the function does not serve is not needed.
    let of_hubspot = [("CONTACT_SYNC__PIPELINE__DESTINATIONS", "[\"hubspot\"]")];
    let found = run(&doctor(&mocks, &of_hubspot), its_event())
        .await
        .expect("its event");
    assert_eq!(found["findings"], json!([]), "{found}");
}

#[tokio::test]
async fn each_function_refuses_the_events_of_the_other() {
    let mocks = Mocks::start().await;
    let task = doctor(&mocks, &[]);
    for event in [
        json!({"Records": []}),
        json!({"source": "aws.events", "detail-type": "Scheduled Event"}),
        json!({"contact-sync": "sync"}),
        json!(null),
        json!([1]),
    ] {
        let refused = run(&task, event.clone()).await;
        assert!(
            matches!(refused, Err(HandlerError::UnsupportedEvent)),
            "{event}"
        );
    }
    let handler = App::default()
        .build(Preset::Test, &mocks.settings(Preset::Test, ""), &no_aws())
        .expect("a handler");
    let event = LambdaEvent::new(its_event().to_string().into(), Context::default());
    let refused = handler.handle(event).await;
    assert!(matches!(refused, Err(HandlerError::UnsupportedEvent)));
}
