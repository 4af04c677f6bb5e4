//! The start of the real binary as in a deployment, with TLS on every hop: what is ready before the
//! first invocation.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use testkit::deployment::Deployment;
use testkit::harness::{batch, change};
use testkit::runtime_api::{Function, InvocationOutcome};
use testkit::tls::Authority;

const BINARY: &str = env!("CARGO_BIN_EXE_contact-sync");
const TIME: Duration = Duration::from_mins(1);

/// Returns an event with a change for each system, and one that is rejected.
fn event() -> String {
    let person = json!({"last_name": "Lovelace", "company": "Engines"});
    let mut rejected = change("create", "c-3", "lead", person.clone());
    rejected["contact"]["email"] = json!("no address");
    let changes = [
        change("create", "c-1", "lead", person.clone()),
        change("create", "c-2", "customer", person),
        rejected,
    ];
    json!({"Records": batch(&changes)}).to_string()
}

#[tokio::test]
async fn the_first_invocation_finds_every_connection_open() {
    let deployment = Deployment::start().await;
    let mut function = Function::start(Path::new(BINARY), &deployment.variables().await).await;
    assert!(
        function.time_to_first_poll().await.is_some(),
        "{:?}",
        function.lines()
    );
    let before = deployment.handshakes();
    assert!(before.iter().all(|count| *count > 0), "{before:?}");
    let outcome = function.invoke(event(), "first", TIME).await;
    assert_eq!(
        outcome,
        InvocationOutcome::Answer(json!({"batchItemFailures": []})),
        "{:?}",
        function.lines()
    );
    assert_eq!(
        deployment.handshakes(),
        before,
        "handshakes with the systems and the services of AWS"
    );
    let (salesforce, hubspot) = (&deployment.mocks.salesforce, &deployment.mocks.hubspot);
    assert_eq!((salesforce.leads().len(), hubspot.contacts().len()), (1, 1));
    assert_eq!(deployment.mocks.violations(), [""; 0]);
}

#[tokio::test]
async fn a_host_that_no_authority_vouches_for_gets_no_credentials() {
    let deployment = Deployment::start().await;
    let other = Authority::default();
    let mut variables = deployment.variables().await;
    for (name, value) in &mut variables {
        if name == "CONTACT_SYNC__TLS__EXTRA_CA_FILE" {
            *value = other.path().display().to_string();
        }
    }
    let mut function = Function::start(Path::new(BINARY), &variables).await;
    let outcome = function.invoke(event(), "first", TIME).await;
    assert_eq!(outcome.failures().len(), 3, "{:?}", function.lines());
    assert_eq!(deployment.aws_calls(), [""; 0], "a call is signed");
    function.kill().await;
    function.exit().await;
    let lines = function.lines().join("\n");
    assert!(lines.contains("settings document not read"), "{lines}");
}
