//! Tests of the function with a third system in its registry, which no source of the function
//! names, over real HTTP.

use std::sync::Arc;

use contact_sync::adapters::{REGISTRY, System};
use contact_sync::app::App;
use contact_sync::settings::{Environment, Layer, Preset, load};
use serde_json::json;
use testkit::aws::no_aws;
use testkit::harness::{Logs, batch, change};
use testkit::stream::{failures, invoke};
use testkit::tinycrm::{self, Endpoint, TinyAccount};

static SYSTEMS: [System; 3] = [REGISTRY[0], REGISTRY[1], tinycrm::SYSTEM];

const ROUTED: &str = "[routes]\nlead = [\"tinycrm\"]\n";

#[tokio::test]
async fn a_third_system_gets_its_records_and_its_settings_are_reloaded() {
    let account = TinyAccount::new().await;
    let document = tempfile::NamedTempFile::new().expect("a file");
    let write = |more: &str| {
        let text = format!("{ROUTED}{}{more}", account.document());
        std::fs::write(document.path(), text).expect("written");
    };
    write("");
    let config = format!("file:{}", document.path().display());
    let variables = [
        ("CONTACT_SYNC_PRESET", "test"),
        ("CONTACT_SYNC_CONFIG", &*config),
    ];
    let variables = variables.map(|(name, value)| (name.into(), value.into()));
    let environment = Environment::from_variables(variables).expect("good variables");
    let handler = App::of(&SYSTEMS)
        .start(&environment, Arc::new(no_aws()))
        .await
        .expect("a handler");
    let leads = |count: usize| {
        let lead = |at| {
            change(
                "create",
                &format!("c-{at}"),
                "lead",
                json!({"last_name": "A"}),
            )
        };
        batch(&(0..count).map(lead).collect::<Vec<_>>())
    };
    assert!(failures(&invoke(&handler, &leads(4), "r").await).is_empty());
    assert_eq!(account.mock.contacts().len(), 4);
    assert_eq!(account.mock.seen(), [Endpoint::Upsert]);

    let logs = Logs::listen();
    write("batch_size = 2\n");
    invoke(&handler, &leads(0), "r").await;
    assert!(failures(&invoke(&handler, &leads(4), "r").await).is_empty());
    assert_eq!(
        account.mock.seen(),
        [Endpoint::Upsert; 3],
        "two more calls of two rows"
    );
    let metrics = logs.metrics("tinycrm");
    assert!(!metrics.is_empty(), "{:?}", logs.lines());

    let text = std::fs::read_to_string(document.path()).expect("readable");
    let text = text.replace("secret_id = \"", "secret_id = \"file:elsewhere/");
    std::fs::write(document.path(), text).expect("written");
    invoke(&handler, &leads(0), "r").await;
    let lines = logs.lines();
    let is_refused = lines.iter().any(|line| {
        line["key"] == "tinycrm.secret_id"
            && line["message"]
                .as_str()
                .is_some_and(|message| message.starts_with("this setting is read at start only"))
    });
    assert!(is_refused, "{lines:?}");
    assert!(failures(&invoke(&handler, &leads(2), "r").await).is_empty());
    assert_eq!(account.mock.violations(), [""; 0]);
}

#[test]
fn settings_of_another_registry_build_no_handler() {
    let layer = Layer::from_toml("the test", "").expect("TOML");
    let settings = load(Preset::Test, &[layer], &["salesforce", "hubspot"]).expect("allowed");
    let error = App::of(&SYSTEMS)
        .build(Preset::Test, &settings, &no_aws())
        .expect_err("no section");
    assert!(error.to_string().contains("[tinycrm]"), "{error}");
}
