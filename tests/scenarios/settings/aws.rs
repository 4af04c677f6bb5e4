//! Mocks Parameter Store and Secrets Manager. Operations can be set to hang and to be refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_config::SdkConfig;
use serde_json::{Value, json};
use testkit::aws;
use testkit::server::{Answer, Api, Reply, Request, Server};
use tokio::sync::Notify;

/// The name of the one parameter.
pub(crate) const PARAMETER: &str = "/contact-sync/settings";

#[derive(Debug, Default)]
pub(crate) struct State {
    /// The called operations, in order.
    pub(crate) calls: Vec<String>,
    /// The parameter's value.
    pub(crate) document: String,
    /// Whether the parameter does not exist.
    pub(crate) is_missing: bool,
    /// Each secret's text, or the code of its refusal.
    pub(crate) secrets: BTreeMap<String, Result<String, &'static str>>,
    /// Operations without a response.
    pub(crate) hangs: Vec<&'static str>,
    /// Operations that are refused.
    pub(crate) refuses: Vec<&'static str>,
}

/// The two services.
#[derive(Debug, Default)]
pub(crate) struct Aws {
    state: Mutex<State>,
    called: Notify,
}

impl Aws {
    pub(crate) async fn start() -> (Arc<Self>, Server) {
        let aws = Arc::<Self>::default();
        let server = Server::start(Arc::clone(&aws)).await;
        (aws, server)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("sound")
    }

    /// Returns the number of calls of `operation`.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.state()
            .calls
            .iter()
            .filter(|call| *call == operation)
            .count()
    }

    /// Waits until `operation` was called `count` times.
    pub(crate) async fn until_called(&self, operation: &str, count: usize) {
        loop {
            let called = self.called.notified();
            if self.calls(operation) >= count {
                return;
            }
            called.await;
        }
    }
}

pub(crate) fn config(server: &Server) -> SdkConfig {
    aws::at(&server.url())
}

impl Api for Aws {
    fn reply(&self, request: &Request) -> Reply {
        let operation = request
            .header("x-amz-target")
            .and_then(|target| target.split_once('.'));
        let operation = operation
            .map(|(_, operation)| operation.to_owned())
            .expect("a target");
        let mut state = self.state();
        state.calls.push(operation.clone());
        self.called.notify_waiters();
        if state.hangs.contains(&&*operation) {
            return Reply::Hang;
        }
        if state.refuses.contains(&&*operation) {
            return refusal("AccessDeniedException").into();
        }
        let asked: Value = serde_json::from_slice(&request.body).expect("JSON");
        match &*operation {
            "GetParameter" if state.is_missing || asked["Name"] != PARAMETER => {
                refusal("ParameterNotFound").into()
            }
            "GetParameter" => {
                assert_eq!(asked["WithDecryption"], true);
                let parameter = json!({
                    "Name": PARAMETER, "Type": "String", "Value": state.document, "Version": 1,
                });
                Answer::json(200, &json!({"Parameter": parameter})).into()
            }
            "GetSecretValue" => {
                let id = asked["SecretId"].as_str().expect("an id");
                match state.secrets.get(id) {
                    Some(Ok(text)) => Answer::json(200, &value(id, text)).into(),
                    Some(Err(code)) => refusal(code).into(),
                    None => refusal("ResourceNotFoundException").into(),
                }
            }
            "BatchGetSecretValue" => {
                let ids = asked["SecretIdList"].as_array().expect("a list");
                let (mut values, mut errors) = (Vec::new(), Vec::new());
                for id in ids.iter().map(|id| id.as_str().expect("an id")) {
                    match state.secrets.get(id) {
                        Some(Ok(text)) => values.push(value(id, text)),
                        Some(Err(code)) => errors.push(error(id, code)),
                        None => panic!("unknown secret {id}"),
                    }
                }
                Answer::json(200, &json!({"SecretValues": values, "Errors": errors})).into()
            }
            other => panic!("unexpected call of {other}"),
        }
    }
}

fn value(id: &str, text: &str) -> Value {
    let arn = format!("arn:aws:secretsmanager:eu-west-1:123456789012:secret:{id}-AbCdEf");
    json!({"ARN": arn, "Name": id, "SecretString": text, "VersionId": "v-1", "CreatedDate": 1.0})
}

fn error(id: &str, code: &str) -> Value {
    json!({"SecretId": id, "ErrorCode": code, "Message": "no"})
}

fn refusal(code: &str) -> Answer {
    Answer::json(
        400,
        &json!({"__type": code, "message": "refused on purpose"}),
    )
}
