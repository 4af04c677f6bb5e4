//! Tests of the real AWS clients, against an emulation on loopback.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use contact_sync::adapters::DESTINATIONS;
use contact_sync::app::App;
use contact_sync::lambda::Handler;
use contact_sync::settings::{Environment, Layer, Preset, load};
use serde_json::json;
use testkit::harness::{Logs, Mocks, batch, people};
use testkit::moto::Moto;
use testkit::stream::{failures, invoke, record, sequence_number};
use tokio::time::{Instant, sleep_until};

/// Returns the variables with the mocks' addresses. Stores the secrets in Secrets Manager.
async fn variables(moto: &Moto, mocks: &Mocks) -> Vec<(String, String)> {
    moto.secrets(mocks).await;
    let variable = |key: &str, value: &str| (format!("CONTACT_SYNC__{key}"), value.to_owned());
    vec![variable("HUBSPOT__BASE_URL", &mocks.hubspot_server.url())]
}

fn handler(moto: &Moto, variables: &[(String, String)], document: &str) -> Handler {
    let mut layers = vec![Layer::from_toml("the document", document).expect("TOML")];
    layers.extend(
        variables
            .iter()
            .map(|(name, value)| Layer::from_variable(name, value).expect("a variable")),
    );
    let settings = load(Preset::Test, &layers, &DESTINATIONS).expect("good settings");
    App::default()
        .build(Preset::Test, &settings, &moto.config())
        .expect("a handler")
}

#[tokio::test]
async fn credentials_are_read_from_secrets_manager_also_after_a_rotation() {
    let (moto, mocks) = (Moto::start().await, Mocks::start().await);
    let handler = handler(&moto, &variables(&moto, &mocks).await, "");
    assert!(failures(&invoke(&handler, &batch(&people(4)), "r").await).is_empty());
    mocks.hubspot.rotate_token("pat-mock-2");
    mocks.salesforce.rotate_secret("mock-secret-2");
    mocks.salesforce.expire_tokens();
    let secrets = aws_sdk_secretsmanager::Client::new(&moto.config());
    for (name, value) in [
        ("contact-sync/salesforce", mocks.salesforce.secret()),
        (
            "contact-sync/hubspot",
            json!({"access_token": "pat-mock-2"}),
        ),
    ] {
        secrets
            .put_secret_value()
            .secret_id(name)
            .secret_string(value.to_string())
            .send()
            .await
            .expect("written");
    }
    assert!(failures(&invoke(&handler, &batch(&people(8)), "r").await).is_empty());
    assert_eq!(
        (
            mocks.salesforce.leads().len(),
            mocks.hubspot.contacts().len()
        ),
        (4, 4)
    );
}

#[tokio::test]
async fn a_rejected_record_is_stored_whole_with_its_reason() {
    let (moto, mocks) = (Moto::start().await, Mocks::start().await);
    let (sqs, url) = moto.queue().await;
    let document = format!("[dead_letter]\nqueue_url = \"{url}\"");
    let handler = handler(&moto, &variables(&moto, &mocks).await, &document);
    let mut records = batch(&people(2));
    records.extend((2..27).map(|at| record(0, at, "poison", b"not JSON")));
    let answer = invoke(&handler, &records, "r").await;
    assert!(failures(&answer).is_empty());
    let mut dead_letters = moto.messages(&sqs, &url).await;
    assert_eq!(dead_letters.len(), 25);
    dead_letters.sort_by_key(|dead_letter| dead_letter["record"]["sequence_number"].to_string());
    let first = &dead_letters[0];
    assert_eq!(first["reason"]["code"], "INVALID_JSON");
    assert_eq!(
        first["record"]["sequence_number"],
        sequence_number(0, 2).as_str()
    );
    assert_eq!(
        first["record"]["data"],
        base64_simd::STANDARD.encode_to_string(b"not JSON").as_str()
    );
    assert_eq!(first["record"]["partition_key"], "poison");
}

#[tokio::test]
async fn a_record_whose_dead_letter_is_not_stored_is_redelivered() {
    let (moto, mocks) = (Moto::start().await, Mocks::start().await);
    let document = format!(
        "[dead_letter]\nqueue_url = \"{}/123456789012/no-such-queue\"",
        moto.url
    );
    let handler = handler(&moto, &variables(&moto, &mocks).await, &document);
    let logs = Logs::listen();
    let mut records = batch(&people(2));
    records.push(record(0, 2, "poison", b"not JSON"));
    let answer = invoke(&handler, &records, "r").await;
    assert_eq!(failures(&answer), [sequence_number(0, 2)]);
    assert_eq!(
        logs.fates().last().expect("a line"),
        "failed DEAD_LETTER_NOT_STORED"
    );
    let (sqs, url) = moto.queue().await;
    let attributes = sqs
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(QueueAttributeName::All)
        .send()
        .await;
    assert!(
        attributes.is_ok(),
        "the emulation responds: only the queue is missing"
    );
}

#[tokio::test]
async fn a_changed_parameter_applies_from_the_next_invocation_on_and_an_invalid_one_does_not() {
    let (moto, mocks) = (Moto::start().await, Mocks::start().await);
    let put = async |text: &str| moto.parameter("/contact-sync/settings", text).await;
    put("[filter]\ntypes = [\"lead\"]").await;
    let mut variables = variables(&moto, &mocks).await;
    variables.push(("CONTACT_SYNC_PRESET".to_owned(), "test".to_owned()));
    variables.push((
        "CONTACT_SYNC_CONFIG".to_owned(),
        "ssm:/contact-sync/settings".to_owned(),
    ));
    let variables = variables
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()));
    let environment = Environment::from_variables(variables).expect("good variables");
    let handler = App::default()
        .start(&environment, Arc::new(moto.config()))
        .await
        .expect("a handler");
    let held = || {
        (
            mocks.salesforce.leads().len(),
            mocks.hubspot.contacts().len(),
        )
    };

    // The parameter is read in the background of an invocation. Where the read ends after it, the
    // settings apply to the invocation after the next.
    let invoke_until = async |holds: &dyn Fn() -> bool, count: usize| {
        for _ in 0..10_000 {
            if holds() {
                return;
            }
            invoke(&handler, &batch(&people(count)), "r").await;
            // The emulation needs the processor too.
            sleep_until(Instant::now() + Duration::from_millis(5)).await;
        }
        panic!("no change after ten thousand invocations: {:?}", held());
    };

    invoke(&handler, &batch(&people(2)), "r").await;
    assert_eq!(held(), (1, 0));
    let logs = Logs::listen();
    let error_line = || {
        logs.lines()
            .into_iter()
            .find(|line| line["level"] == "ERROR" && line["audit"].is_null())
    };
    put("[filter]\ntypes = [\"customer\"]").await;
    // The same contacts, until the new settings deliver the customers among them.
    invoke_until(&|| held().1 == 2, 4).await;
    let leads = held().0;
    invoke(&handler, &batch(&people(6)), "r").await;
    assert_eq!(held(), (leads, 3));
    put("[filter]\ntypes = [\"friend\"]").await;
    invoke_until(&|| error_line().is_some(), 6).await;
    invoke(&handler, &batch(&people(10)), "r").await;
    assert_eq!(held(), (leads, 5), "the last valid settings stay in use");
    let errors: u64 = logs
        .metrics("")
        .iter()
        .filter_map(|line| line["ConfigErrors"].as_u64())
        .sum();
    assert!(errors >= 1);
    let line = error_line().expect("an error line");
    assert_eq!(line["request_id"], "r", "{line}");
    let error = line["error"].as_str().expect("the reason");
    assert!(
        error.starts_with("the parameter /contact-sync/settings, line 2: `filter.types.0`"),
        "{line}"
    );
}
