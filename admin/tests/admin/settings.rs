//! `settings --check`: every mistake of a document, each where it stands.

use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use testkit::server::{Answer, Api, Reply, Request, Server};

use crate::preview::{BINARY, admin, file, text};

/// What a check of this document says, a mistake a line, without the document's name.
fn mistakes(content: &str) -> String {
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
fn a_document_is_judged_with_its_line() {
    let bad = file("[hubspot]\nbatch_size = 101");
    let path = bad.path().to_str().expect("UTF-8");
    let output = admin(&[], &["settings", "--check", path]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains(&format!(
            "the file {path}, line 2: `hubspot.batch_size` is 101"
        )),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);

    let good = file("[hubspot]\nbatch_size = 7");
    let path = good.path().to_str().expect("UTF-8");
    let production = [("CONTACT_SYNC_PRESET", "production")];
    let output = admin(&production, &["settings", "--check", path]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        text(&output.stdout).contains("CONTACT_SYNC__DEAD_LETTER__QUEUE_URL"),
        "the deployment adds the queue"
    );
}

#[test]
fn one_check_tells_every_mistake_and_the_nearest_key() {
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
    insta::assert_snapshot!("check_mistakes", mistakes(document));
    let file = file(document);
    let path = file.path().to_str().expect("UTF-8");
    let output = admin(&[], &["settings", "--check", path, "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (output.status.code(), &told["good"]),
        (Some(1), &json!(false))
    );
    assert_eq!(
        told["mistakes"].as_array().map(Vec::len),
        Some(mistakes(document).lines().count())
    );
}

#[test]
fn mistakes_in_the_syntax_are_told_together_with_those_in_the_values() {
    let document = "[pipeline]\ndry_run = \nqueue_capacity = 0\nqueue_capacity = 5\n[hubspot\nbatch_size = 101\n[log]\naudt = 1\n";
    insta::assert_snapshot!("check_syntax", mistakes(document));
}

#[test]
fn a_destination_without_a_guard_is_named() {
    let document = file("[salesforce]\nversion_field = \"Version__c\"");
    let path = document.path().to_str().expect("UTF-8");
    let note = "no guard holds for hubspot (hubspot.version_property is empty): ";
    let config = format!("file:{path}");
    for arguments in [
        &["settings", "--check", path][..],
        &["settings", "--config", &config],
    ] {
        let said = text(&admin(&[], arguments).stdout);
        let last = said.lines().last().expect("a line");
        assert!(
            last.starts_with(note) && !said.contains("holds for salesforce"),
            "{said}"
        );
    }
    let off = [("CONTACT_SYNC__GUARD__MODE", "off")];
    let said = text(&admin(&off, &["settings", "--check", path]).stdout);
    assert!(
        said.contains("no guard holds for salesforce (guard.mode is off)"),
        "{said}"
    );
}

#[test]
fn the_function_names_every_mistake_when_it_starts() {
    let document = file("[hubspot]\nbatch_size = 101\nbatchsize = 5");
    let config = format!("file:{}", document.path().display());
    let output = admin(&[("CONTACT_SYNC_CONFIG", &config)], &["settings"]);
    let said = text(&output.stderr);
    assert!(
        said.contains("`hubspot.batch_size` is 101") && said.contains("did you mean `batch_size`?"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// AWS Lambda with one function, which has these variables.
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
async fn a_document_is_judged_as_that_of_the_function_that_is_named() {
    let lambda = Lambda(json!({
        "CONTACT_SYNC_PRESET": "staging",
        "CONTACT_SYNC_CONFIG": "ssm:/not/read",
        "CONTACT_SYNC__DEAD_LETTER__QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/dead-letters",
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
    let judge = |content: &str| {
        let document = file(content);
        let path = document.path().to_str().expect("UTF-8");
        let mut command = Command::new(BINARY);
        command
            .args(["settings", "--check", path, "--function", "deployed"])
            .env_clear()
            .envs(variables);
        command.output().expect("the tool runs")
    };
    let good = judge("[hubspot]\nbatch_size = 7");
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    let said = text(&good.stdout);
    assert!(
        said.contains("is good for the function deployed, the preset staging")
            && !said.contains("queue"),
        "{said}"
    );
    // Good by itself, and not beside the function's own variable.
    let bad = judge("[salesforce]\nexternal_id_field = \"Version__c\"");
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    assert!(
        text(&bad.stderr).contains("CONTACT_SYNC__SALESFORCE__VERSION_FIELD"),
        "{bad:?}"
    );
    // What is no TOML is to be corrected: the function is named already.
    let broken = judge("[hubspot\nbatch_size = 7");
    let said = text(&broken.stderr);
    assert!(
        said.contains(", line 1: not valid TOML") && !said.contains("--function"),
        "{said}"
    );
    // What only developers' presets take.
    assert_eq!(
        judge("[hubspot]\nsecret_id = \"file:secret.json\"")
            .status
            .code(),
        Some(1)
    );
}
