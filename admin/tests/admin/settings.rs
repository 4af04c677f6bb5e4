//! Tests of `settings --check`: every error of a document, with its line, and its mapping compared
//! with both systems.

use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use testkit::harness::Mocks;
use testkit::mock_hubspot::Endpoint as HubSpotCall;
use testkit::mock_salesforce::Endpoint as SalesforceCall;
use testkit::server::{Answer, Api, Reply, Request, Server};

use crate::preview::{BINARY, admin, file, text};

/// Checks a document. Returns its errors, one per line, without the name of the document.
fn errors(content: &str) -> String {
    let document = file(content);
    let path = document.path().to_str().expect("UTF-8");
    let output = admin(&[], &["settings", "--check", path]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(1), String::new()),
        "{output:?}"
    );
    text(&output.stderr)
        .replace(&format!("error: the file {path}, "), "")
        .trim_end()
        .to_owned()
}

#[test]
fn an_error_names_its_line_and_a_good_document_passes() {
    let bad = file("[hubspot]\nbatch_size = 101");
    let path = bad.path().to_str().expect("UTF-8");
    let output = admin(&[], &["settings", "--check", path]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(
        errors.contains(&format!(
            "the file {path}, line 2: `hubspot.batch_size` is 101"
        )),
        "{errors}"
    );
    assert_eq!(errors.lines().count(), 1);

    let good = file("[hubspot]\nbatch_size = 7");
    let path = good.path().to_str().expect("UTF-8");
    let production = [("CONTACT_SYNC_PRESET", "production")];
    let output = admin(&production, &["settings", "--check", path, "--offline"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        text(&output.stdout).contains("CONTACT_SYNC__DEAD_LETTER__QUEUE_URL"),
        "the deployment sets the queue"
    );
}

#[test]
fn a_check_prints_every_error_and_the_nearest_key() {
    let document = "\
refresh_sec = 5

[pipelin]
dry_run = true

[salesforce]
verson_field = \"Version__c\"
batch_size = 201
attributes = { plan = \"Plan c\" }
status = { laed = \"New\" }

[hubspot]
batch_size = \"many\"
base_url = \"https://b.example\"
allowed_hosts = [\"a.example\"]

[filter]
types = [\"lead\", \"prospekt\", \"customer\", \"vendr\"]
operations = [\"make\"]

[routes]
lead = [\"hubspt\"]

[hubspot.retry]
base_delay_ms = 50
max_delay_ms = 20
";
    insta::assert_snapshot!("check_errors", errors(document));
    let file = file(document);
    let path = file.path().to_str().expect("UTF-8");
    let output = admin(&[], &["settings", "--check", path, "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (output.status.code(), &report["good"]),
        (Some(1), &json!(false))
    );
    assert_eq!(
        report["mistakes"].as_array().map(Vec::len),
        Some(errors(document).lines().count())
    );
}

#[test]
fn a_check_prints_syntax_errors_together_with_invalid_values() {
    let document = "\
[pipeline]
dry_run =\x20
queue_capacity = 0
queue_capacity = 5
[hubspot
batch_size = 101
[log]
audt = 1
";
    insta::assert_snapshot!("check_syntax", errors(document));
}

#[test]
fn a_destination_without_a_guard_is_named() {
    let document = file("[salesforce]\nversion_field = \"Version__c\"");
    let path = document.path().to_str().expect("UTF-8");
    let note = "no guard holds for hubspot (hubspot.version_property is empty): ";
    let config = format!("file:{path}");
    for arguments in [
        &["settings", "--check", path, "--offline"][..],
        &["settings", "--config", &config],
    ] {
        let shown = text(&admin(&[], arguments).stdout);
        let last = shown.lines().last().expect("a line");
        assert!(
            last.starts_with(note) && !shown.contains("holds for salesforce"),
            "{shown}"
        );
    }
    let off = [("CONTACT_SYNC__GUARD__MODE", "off")];
    let shown = text(&admin(&off, &["settings", "--check", path, "--offline"]).stdout);
    assert!(
        shown.contains("no guard holds for salesforce (guard.mode is off)"),
        "{shown}"
    );
}

#[test]
fn the_settings_in_force_fail_with_every_error_in_one_line() {
    let document = file("[hubspot]\nbatch_size = 101\nbatchsize = 5");
    let config = format!("file:{}", document.path().display());
    let output = admin(&[("CONTACT_SYNC_CONFIG", &config)], &["settings"]);
    let error = text(&output.stderr);
    assert!(
        error.contains("`hubspot.batch_size` is 101")
            && error.contains("did you mean `batch_size`?"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
}

/// Emulation of AWS Lambda with one function, which has these variables.
struct Lambda(Value);

impl Api for Lambda {
    fn reply(&self, request: &Request) -> Reply {
        assert_eq!(request.path, "/2015-03-31/functions/deployed/configuration");
        Answer::json(
            200,
            &json!({"FunctionName": "deployed", "Environment": {"Variables": self.0}}),
        )
        .into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_checked_with_the_variables_of_the_named_function() {
    let lambda = Lambda(json!({
        "CONTACT_SYNC_PRESET": "staging",
        "CONTACT_SYNC_CONFIG": "ssm:/not/read",
        "CONTACT_SYNC__DEAD_LETTER__QUEUE_URL":
            "https://sqs.eu-west-1.amazonaws.com/123456789012/dead-letters",
        "CONTACT_SYNC__SALESFORCE__VERSION_FIELD": "Version__c",
    }));
    let server = Server::start(Arc::new(lambda)).await;
    let url = server.url();
    let variables = [
        ("AWS_ENDPOINT_URL", &*url),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    let check = |content: &str| {
        let document = file(content);
        let path = document.path().to_str().expect("UTF-8");
        let mut command = Command::new(BINARY);
        command
            .args(["settings", "--check", path, "--offline"])
            .args(["--function", "deployed"])
            .env_clear()
            .envs(variables);
        command.output().expect("the tool runs")
    };
    let good = check("[hubspot]\nbatch_size = 7");
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    let shown = text(&good.stdout);
    assert!(
        shown.contains("is good for the function deployed, the preset staging")
            && !shown.contains("queue"),
        "{shown}"
    );
    // The document is good by itself, but contradicts a variable of the function.
    let bad = check("[salesforce]\nexternal_id_field = \"Version__c\"");
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    assert!(
        text(&bad.stderr).contains("CONTACT_SYNC__SALESFORCE__VERSION_FIELD"),
        "{bad:?}"
    );
    // The error of invalid TOML does not suggest --function, which is given.
    let broken = check("[hubspot\nbatch_size = 7");
    let errors = text(&broken.stderr);
    assert!(
        errors.contains(", line 1: not valid TOML") && !errors.contains("--function"),
        "{errors}"
    );
    // Only the developers' presets allow a secret in a file.
    assert_eq!(
        check("[hubspot]\nsecret_id = \"file:secret.json\"")
            .status
            .code(),
        Some(1)
    );
}

/// Runs `settings --check` of a document with these mocks. Returns its exit code and its output.
async fn compare(mocks: &Mocks, content: &str, arguments: &[&str]) -> (i32, String, String) {
    let document = file(content);
    let path = document.path().to_str().expect("UTF-8").to_owned();
    let arguments: Vec<String> = ["settings", "--check", &path]
        .iter()
        .chain(arguments)
        .map(ToString::to_string)
        .collect();
    let variables = mocks.variables();
    let run = tokio::task::spawn_blocking(move || {
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .chain([
                ("AWS_REGION", "eu-west-1"),
                ("AWS_EC2_METADATA_DISABLED", "true"),
            ])
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        admin(&variables, &arguments)
    });
    let output = run.await.expect("the tool runs");
    let code = output.status.code().expect("an exit code");
    (code, text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn the_mapping_of_a_document_is_compared_with_both_systems() {
    let mocks = Mocks::start().await;
    let good = "[salesforce]\nbaseline_field = \"Baseline__c\"\n\
                [salesforce.policy]\nTitle = \"unedited\"\n\
                [hubspot.attributes]\nplan = \"plan\"";
    let (code, out, err) = compare(&mocks, good, &[]).await;
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(
        out.contains("mapping of salesforce: fits, 4 checks passed")
            && out.contains("mapping of hubspot: fits, 3 checks passed"),
        "{out}"
    );
    let bad = "[salesforce]\nbaseline_field = \"Baseline__c\"\nversion_field = \"Newer__c\"\n\
               [salesforce.fields]\nphone = \"Work_Phone__c\"\n\
               [hubspot.constants]\nchannel = \"product\"";
    let (code, out, err) = compare(&mocks, bad, &[]).await;
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    for fault in [
        "error: salesforce fields: Work_Phone__c is missing, or hidden from the run-as user",
        "error: salesforce version field: Newer__c is missing or hidden",
        "error: hubspot properties: channel is missing",
    ] {
        assert!(err.contains(fault), "{fault}: {err}");
    }
    let (code, out, _) = compare(&mocks, bad, &["--json"]).await;
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        (
            code,
            &report["good"],
            &report["mapping"]["hubspot"]["checked"]
        ),
        (1, &json!(false), &json!(true))
    );
    assert_eq!(report["mistakes"].as_array().map(Vec::len), Some(3));
    let sobject = "[salesforce]\nsobject = \"Contact\"";
    let (code, _, err) = compare(&mocks, sobject, &[]).await;
    assert!(
        code == 1 && err.contains("error: salesforce object: NOT_FOUND"),
        "{err}"
    );
    assert!(mocks.salesforce.leads().is_empty() && mocks.hubspot.contacts().is_empty());
    assert_eq!(mocks.violations(), [""; 0]);
}

#[tokio::test]
async fn a_mapping_that_cannot_be_compared_is_no_mistake_and_no_green_check() {
    let mocks = Mocks::start().await;
    let document = "[salesforce]\nsecret_id = \"contact-sync/salesforce\"";
    mocks.hubspot.rotate_token("another");
    let missing = mocks.salesforce_secret.path().to_owned();
    std::fs::remove_file(missing).expect("removed");
    let (code, out, err) = compare(&mocks, document, &[]).await;
    assert_eq!((code, err.as_str()), (3, ""), "{out}");
    for part in [
        " is good for the preset test",
        "mapping of salesforce not checked: salesforce secret: SECRET_UNREADABLE",
        "mapping of hubspot not checked: hubspot credential: INVALID_AUTHENTICATION",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let (code, out, _) = compare(&mocks, document, &["--json"]).await;
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        (
            code,
            &report["good"],
            &report["mapping"]["salesforce"]["checked"]
        ),
        (3, &json!(true), &json!(false))
    );
}

#[tokio::test]
async fn an_offline_check_and_a_system_without_a_route_are_not_called() {
    let mocks = Mocks::start().await;
    let (code, out, err) = compare(&mocks, "", &["--offline"]).await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("mapping not checked: --offline"), "{out}");
    assert_eq!(mocks.salesforce.count(SalesforceCall::Token), 0);
    let (code, out, _) = compare(&mocks, "[pipeline]\ndestinations = [\"hubspot\"]", &[]).await;
    assert!(code == 0 && !out.contains("mapping of salesforce"), "{out}");
    assert_eq!(mocks.salesforce.count(SalesforceCall::Token), 0);
    assert_eq!(mocks.hubspot.count(HubSpotCall::Properties), 1);
    // A document with a mistake is not compared.
    let (code, ..) = compare(&mocks, "[hubspot]\nbatch_size = 101", &[]).await;
    assert_eq!(code, 1);
    assert_eq!(mocks.salesforce.count(SalesforceCall::Token), 0);
}
