//! Emulation of AWS by moto's server, on a free port of loopback. It ends with the test that
//! started it.

use std::process::Stdio;

use aws_config::SdkConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::aws;
use super::harness::Mocks;
use super::mock_hubspot;

/// Running emulation.
pub struct Moto {
    pub url: String,
    _process: Child,
}

impl Moto {
    /// Starts the server of the environment that the Makefile creates.
    pub async fn start() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the Makefile sets the path of its dependencies"
        )]
        let program = std::env::var("MOTO_SERVER").unwrap_or_else(|_| {
            let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
            format!("{workspace}/target/venv-mocks/bin/moto_server")
        });
        let mut command = Command::new(&program);
        command
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; run the tests by `make test`"));
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        let url = loop {
            let line = lines
                .next_line()
                .await
                .expect("readable")
                .expect("the server prints its address");
            if let Some((_, url)) = line.split_once("Running on ") {
                break url.trim().to_owned();
            }
        };
        // Standard error is read to the end, so that its pipe does not fill up.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            url,
            _process: process,
        }
    }

    pub fn config(&self) -> SdkConfig {
        aws::at(&self.url)
    }

    /// Creates the secrets of both destinations, with the names of the settings.
    pub async fn secrets(&self, mocks: &Mocks) {
        let secrets = aws_sdk_secretsmanager::Client::new(&self.config());
        for (name, value) in [
            ("contact-sync/salesforce", mocks.salesforce.secret()),
            (
                "contact-sync/hubspot",
                json!({"access_token": mock_hubspot::TOKEN}),
            ),
        ] {
            secrets
                .create_secret()
                .name(name)
                .secret_string(value.to_string())
                .send()
                .await
                .expect("a secret");
        }
    }

    /// Replaces the value of a secret.
    pub async fn change_secret(&self, name: &str, value: &Value) {
        let secrets = aws_sdk_secretsmanager::Client::new(&self.config());
        let change = secrets.put_secret_value().secret_id(name);
        let change = change.secret_string(value.to_string());
        change.send().await.expect("changed");
    }

    /// Creates a queue for dead letters. Returns a client and the URL.
    pub async fn queue(&self) -> (aws_sdk_sqs::Client, String) {
        let sqs = aws_sdk_sqs::Client::new(&self.config());
        let made = sqs
            .create_queue()
            .queue_name("dead-letters")
            .send()
            .await
            .expect("a queue");
        (sqs, made.queue_url.expect("its URL"))
    }

    /// Receives all messages of a queue.
    pub async fn messages(&self, sqs: &aws_sdk_sqs::Client, url: &str) -> Vec<Value> {
        let mut found = Vec::new();
        loop {
            let call = sqs
                .receive_message()
                .queue_url(url)
                .max_number_of_messages(10);
            let messages = call
                .send()
                .await
                .expect("an answer")
                .messages
                .unwrap_or_default();
            if messages.is_empty() {
                return found;
            }
            let bodies = messages
                .iter()
                .map(|message| message.body().expect("a body"));
            found.extend(bodies.map(|body| serde_json::from_str::<Value>(body).expect("JSON")));
        }
    }

    /// Writes a parameter with this text.
    pub async fn parameter(&self, name: &str, text: &str) {
        let ssm = aws_sdk_ssm::Client::new(&self.config());
        let parameter = ssm.put_parameter().name(name).value(text);
        let parameter = parameter
            .r#type(aws_sdk_ssm::types::ParameterType::String)
            .overwrite(true);
        parameter.send().await.expect("written");
    }

    /// Creates a state table. Returns its name.
    pub async fn table(&self) -> String {
        create_table(&aws_sdk_dynamodb::Client::new(&self.config()), "state").await;
        "state".to_owned()
    }
}

/// Creates a state table with the keys of the template's.
pub async fn create_table(client: &aws_sdk_dynamodb::Client, name: &str) {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    };
    let mut call = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest);
    for (name, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
        let attribute = AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S);
        call = call.attribute_definitions(attribute.build().expect("whole"));
        let key = KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind);
        call = call.key_schema(key.build().expect("whole"));
    }
    call.send().await.expect("a table");
}
