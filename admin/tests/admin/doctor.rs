use aws_sdk_dynamodb::types::TimeToLiveSpecification;
use aws_sdk_lambda::types::{
    DestinationConfig, Environment, FunctionCode, FunctionResponseType, OnFailure, Runtime,
};
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::json;
use testkit::harness::Mocks;
use testkit::mock_hubspot;
use testkit::moto::{Moto, create_table};

use crate::stage::Stage;

/// Creates a deployment as the template does, with both mocks. The function has the variables, the
/// shell has none.
async fn deployed(moto: &Moto, mocks: &Mocks) -> Stage {
    let mut stage = Stage::new(moto, "deployed").await;
    let aws = moto.config();
    for (name, value) in [
        ("salesforce", mocks.salesforce.secret()),
        ("hubspot", json!({"access_token": mock_hubspot::TOKEN})),
    ] {
        let secrets = aws_sdk_secretsmanager::Client::new(&aws);
        let name = format!("contact-sync/{name}");
        secrets
            .create_secret()
            .name(name)
            .secret_string(value.to_string())
            .send()
            .await
            .expect("a secret");
    }
    mocks.hubspot.create_property("version");
    stage
        .sqs
        .set_queue_attributes()
        .queue_url(&stage.queue)
        .attributes(QueueAttributeName::MessageRetentionPeriod, "1209600")
        .send()
        .await
        .expect("set");
    stage
        .kinesis
        .increase_stream_retention_period()
        .stream_arn(&stage.stream)
        .retention_period_hours(168)
        .send()
        .await
        .expect("set");
    table(&aws_sdk_dynamodb::Client::new(&aws)).await;
    let ssm = aws_sdk_ssm::Client::new(&aws);
    let document = "[state]\ntable = \"settled\"\n[pipeline]\nconcurrency_share = 4";
    let parameter = ssm
        .put_parameter()
        .name("/contact-sync/settings")
        .value(document);
    parameter
        .r#type(aws_sdk_ssm::types::ParameterType::String)
        .send()
        .await
        .expect("a parameter");
    stage.variables.push((
        "CONTACT_SYNC_CONFIG".to_owned(),
        "ssm:/contact-sync/settings".to_owned(),
    ));
    stage.variables.push((
        "CONTACT_SYNC__HUBSPOT__BASE_URL".to_owned(),
        mocks.hubspot_server.url(),
    ));
    function(moto, &stage).await;
    stage.variables.clear();
    stage
}

async fn table(dynamodb: &aws_sdk_dynamodb::Client) {
    create_table(dynamodb, "settled").await;
    let expiry = TimeToLiveSpecification::builder()
        .enabled(true)
        .attribute_name("expires_at")
        .build()
        .expect("an expiry");
    dynamodb
        .update_time_to_live()
        .table_name("settled")
        .time_to_live_specification(expiry)
        .send()
        .await
        .expect("set");
}

async fn function(moto: &Moto, stage: &Stage) {
    // The emulation requires an existing role.
    let scope =
        "Credential=test/20261120/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=none";
    let call = reqwest::Client::new()
        .post(&moto.url)
        .header("authorization", format!("AWS4-HMAC-SHA256 {scope}"));
    let form = "Action=CreateRole&Version=2010-05-08&RoleName=contact-sync\
                &AssumeRolePolicyDocument=%7B%7D";
    let call = call
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    assert!(call.send().await.expect("an answer").status().is_success());
    let lambda = aws_sdk_lambda::Client::new(&moto.config());
    let environment = Environment::builder()
        .set_variables(Some(stage.variables.iter().cloned().collect()))
        .build();
    let code = FunctionCode::builder()
        .zip_file(aws_sdk_lambda::primitives::Blob::new("zip"))
        .build();
    let function = lambda
        .create_function()
        .function_name("contact-sync")
        .environment(environment)
        .code(code);
    let function = function
        .role("arn:aws:iam::123456789012:role/contact-sync")
        .runtime(Runtime::Providedal2023);
    function
        .handler("bootstrap")
        .send()
        .await
        .expect("a function");
    let bucket = OnFailure::builder()
        .destination("arn:aws:s3:::failed")
        .build();
    let mapping = lambda
        .create_event_source_mapping()
        .function_name("contact-sync")
        .event_source_arn(&stage.stream);
    let mapping = mapping
        .function_response_types(FunctionResponseType::ReportBatchItemFailures)
        .parallelization_factor(2);
    let mapping = mapping
        .bisect_batch_on_function_error(true)
        .maximum_record_age_in_seconds(518_400);
    let mapping =
        mapping.destination_config(DestinationConfig::builder().on_failure(bucket).build());
    mapping.send().await.expect("a mapping");
}

#[tokio::test]
async fn a_deployment_of_the_template_passes_every_check() {
    let (moto, mocks) = (Moto::start().await, Mocks::start().await);
    let stage = deployed(&moto, &mocks).await;
    let ran = stage.admin(&["doctor", "--function", "contact-sync"]).await;
    insta::assert_snapshot!("doctor_well", ran.out);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(mocks.violations().is_empty(), "{:?}", mocks.violations());
    assert!(
        mocks.salesforce.leads().is_empty() && mocks.hubspot.contacts().is_empty(),
        "nothing is written"
    );
    let change = json!({"event_id": "e", "operation": "delete", "contact": {"id": "c-1"},
        "occurred_at": "2026-11-20T10:15:00Z"});
    for data in [change.to_string(), change.to_string(), "no JSON".to_owned()] {
        stage.put("key", data.as_bytes()).await;
    }
    let sampled = ["doctor", "--function", "contact-sync", "--sample", "10"];
    let ran = stage.admin(&sampled).await;
    let line = "WARN  sample: 2 of 3 records can be decoded (66 %)";
    assert!(
        ran.out.contains(line) && ran.out.contains("INVALID_JSON: 1"),
        "{}",
        ran.out
    );
    assert_eq!(ran.code, Some(0), "a warning is no failure");
    // Variables of the shell override those of the function.
    let mut stage = stage;
    stage
        .variables
        .push(("CONTACT_SYNC__STATE__TABLE".to_owned(), "other".to_owned()));
    let report = stage
        .admin(&["doctor", "--function", "contact-sync", "--json"])
        .await
        .json();
    let failed: Vec<_> = report["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| check["ok"] == false)
        .collect();
    assert!(
        failed.len() == 1 && failed[0]["check"] == "state table",
        "{failed:?}"
    );
}

#[tokio::test]
async fn every_failed_check_names_its_remedy() {
    let mocks = Mocks::start_with(
        |salesforce| {
            salesforce.external_id_is_unique = false;
            salesforce.hidden_fields = vec!["MobilePhone".to_owned(), "Version__c".to_owned()];
        },
        |hubspot| {
            hubspot.is_unique = false;
            hubspot.may_write = false;
        },
    )
    .await;
    let moto = Moto::start().await;
    let mut stage = Stage::new(&moto, "wrong").await;
    stage.variables.extend(mocks.variables());
    let dynamodb = aws_sdk_dynamodb::Client::new(&moto.config());
    table(&dynamodb).await;
    let never = TimeToLiveSpecification::builder()
        .enabled(false)
        .attribute_name("expires_at")
        .build()
        .expect("none");
    dynamodb
        .update_time_to_live()
        .table_name("settled")
        .time_to_live_specification(never)
        .send()
        .await
        .expect("set");
    for (key, value) in [
        ("STATE__TABLE", "settled"),
        ("HUBSPOT__LIFECYCLE_STAGE__VENDOR", "supplier"),
    ] {
        stage
            .variables
            .push((format!("CONTACT_SYNC__{key}"), value.to_owned()));
    }
    let ran = stage.admin(&["doctor"]).await;
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!("doctor_wrong", ran.out);
}

#[tokio::test]
async fn a_missing_key_fails_one_check_as_missing() {
    let (moto, mocks) = (Moto::start().await, Mocks::start().await);
    let mut stage = Stage::new(&moto, "keyless").await;
    stage.variables.extend(mocks.variables());
    for (key, value) in [
        ("HUBSPOT__ID_PROPERTY", "our_id"),
        ("SALESFORCE__EXTERNAL_ID_FIELD", "Our_Id__c"),
    ] {
        stage
            .variables
            .push((format!("CONTACT_SYNC__{key}"), value.to_owned()));
    }
    mocks.hubspot.create_property("version");
    let ran = stage.admin(&["doctor"]).await;
    assert_eq!(ran.code, Some(1));
    let failed: Vec<&str> = ran
        .out
        .lines()
        .filter(|line| line.starts_with("FAIL"))
        .collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(
        failed[0].starts_with("FAIL  salesforce external id: Our_Id__c is missing"),
        "{failed:?}"
    );
    assert!(
        failed[1].starts_with("FAIL  hubspot id property: our_id is missing: create it"),
        "{failed:?}"
    );
    assert!(
        !ran.out.contains("scope to read") && ran.out.contains("ok    hubspot scope to write"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn a_secret_without_a_value_fails_with_the_remedy_to_set_its_value() {
    let moto = Moto::start().await;
    let stage = Stage::new(&moto, "valueless").await;
    let secrets = aws_sdk_secretsmanager::Client::new(&moto.config());
    for name in ["contact-sync/salesforce", "contact-sync/hubspot"] {
        secrets
            .create_secret()
            .name(name)
            .send()
            .await
            .expect("a secret");
    }
    let ran = stage.admin(&["doctor"]).await;
    for system in ["salesforce", "hubspot"] {
        let start = format!("FAIL  {system} secret: SECRET_UNREADABLE: ");
        let line = ran
            .out
            .lines()
            .find(|line| line.starts_with(&start))
            .unwrap_or_else(|| panic!("{ran:?}"));
        assert!(
            line.ends_with("it exists without a value: put a value into it"),
            "{line}"
        );
    }
    assert!(!ran.out.contains("create it"), "{ran:?}");
}

#[tokio::test]
async fn a_settings_parameter_that_does_not_exist_is_reported_and_is_no_failure() {
    let moto = Moto::start().await;
    let mut stage = Stage::new(&moto, "bare").await;
    // The first call of a service takes the emulation seconds.
    moto.parameter("/other/settings", "# another").await;
    stage.variables.push((
        "CONTACT_SYNC_CONFIG".to_owned(),
        "ssm:/bare/settings".to_owned(),
    ));
    let ran = stage.admin(&["doctor"]).await;
    let expected = "settings document: the parameter /bare/settings does not exist, and the \
                    preset alone is in force";
    let line = ran.out.lines().find(|line| line.contains(expected));
    assert!(line.is_some_and(|line| line.starts_with("--  ")), "{ran:?}");
}

#[tokio::test]
async fn a_deployed_function_without_a_queue_fails_because_it_does_not_start() {
    let moto = Moto::start().await;
    let mut stage = Stage::new(&moto, "queueless").await;
    stage.variables = vec![("CONTACT_SYNC_PRESET".to_owned(), "staging".to_owned())];
    function(&moto, &stage).await;
    stage.variables.clear();
    let ran = stage.admin(&["doctor", "--function", "contact-sync"]).await;
    let line = "FAIL  dead-letter queue: none, \
                and the preset staging does not start without one: set ";
    assert!(
        ran.code == Some(1) && ran.out.contains(line) && !ran.out.contains("--function"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn the_example_of_the_help_works() {
    let moto = Moto::start().await;
    let mut stage = Stage::new(&moto, "example").await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(
        folder.path().join("settings.toml"),
        "[hubspot]\nbatch_size = 7",
    )
    .expect("written");
    stage.variables.clear();
    let mut command = stage.command(
        &stage.url,
        &["doctor", "--config", "file:settings.toml", "--json"],
    );
    let output = command
        .current_dir(folder.path())
        .output()
        .await
        .expect("the tool runs");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let checks = |name: &str| {
        let checks = report["checks"].as_array().expect("checks").iter();
        let found: Vec<_> = checks
            .filter(|check| check["check"] == name)
            .cloned()
            .collect();
        assert!(!found.is_empty(), "{name}: {report}");
        found
    };
    assert_eq!(checks("settings")[0]["text"], "preset production");
    let document = &checks("settings document")[0];
    assert_eq!(
        (&document["state"], &document["ok"]),
        (&json!("ok"), &json!(true))
    );
    let queue = &checks("dead-letter queue")[0];
    assert!(
        queue["state"] == "skipped"
            && queue["ok"].is_null()
            && queue["text"]
                .as_str()
                .is_some_and(|text| text.contains("--function")),
        "{queue}"
    );
    let guards = checks("guard");
    for warning in guards.iter().chain(&checks("state table")) {
        assert_eq!(warning["state"], "warn", "{warning}");
    }
    assert!(
        guards.len() == 2
            && guards[1]["text"]
                .as_str()
                .is_some_and(|text| text.contains("hubspot.version_prop"))
    );
}

#[tokio::test]
async fn unreadable_malformed_and_refused_secrets_are_distinguished() {
    let (moto, mocks) = (Moto::start().await, Mocks::start().await);
    let mut stage = Stage::new(&moto, "secrets").await;
    stage.variables.push((
        "CONTACT_SYNC__HUBSPOT__BASE_URL".to_owned(),
        mocks.hubspot_server.url(),
    ));
    let failed_secrets = async |stage: &Stage| {
        let ran = stage.admin(&["doctor"]).await;
        assert_eq!(ran.code, Some(1));
        let lines = ran
            .out
            .lines()
            .filter(|line| line.starts_with("FAIL") && line.contains("secret"));
        lines
            .map(|line| {
                line.split_whitespace()
                    .skip(1)
                    .take(3)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect::<Vec<_>>()
    };
    let unreadable = [
        "salesforce secret: SECRET_UNREADABLE:",
        "hubspot secret: SECRET_UNREADABLE:",
    ];
    assert_eq!(failed_secrets(&stage).await, unreadable);
    let secrets = aws_sdk_secretsmanager::Client::new(&moto.config());
    for name in ["contact-sync/salesforce", "contact-sync/hubspot"] {
        secrets
            .create_secret()
            .name(name)
            .secret_string(r#"{"token": "x"}"#)
            .send()
            .await
            .expect("a secret");
    }
    let malformed = [
        "salesforce secret: SECRET_MALFORMED:",
        "hubspot secret: SECRET_MALFORMED:",
    ];
    assert_eq!(failed_secrets(&stage).await, malformed);
    let put = async |name: &str, value: serde_json::Value| {
        let call = secrets
            .put_secret_value()
            .secret_id(format!("contact-sync/{name}"));
        call.secret_string(value.to_string())
            .send()
            .await
            .expect("written");
    };
    let mut other = mocks.salesforce.secret();
    other["client_secret"] = "other".into();
    put("salesforce", other).await;
    put("hubspot", json!({"access_token": "other"})).await;
    let ran = stage.admin(&["doctor"]).await;
    assert!(
        ran.out.contains("FAIL  salesforce token: invalid_client:"),
        "{}",
        ran.out
    );
    assert!(
        ran.out
            .contains("FAIL  hubspot credential: INVALID_AUTHENTICATION:"),
        "{}",
        ran.out
    );
}
