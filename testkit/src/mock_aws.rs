//! Minimal mock of the AWS services that the function uses: a queue for dead letters and a table
//! for the state, with injected faults. It runs in this process without a socket, for a paused
//! clock, or on loopback. `tests/emulated/aws.rs` tests the function against a full emulation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::aws;
use super::server::{Answer, Api, Reply, Request};

/// Probability of each fault, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The service responds with 500.
    pub refused: u32,
    /// The connection breaks; half of the time after the work.
    pub lost: u32,
    /// One message of a call is rejected.
    pub entry: u32,
    /// The response never arrives.
    pub hanging: u32,
    /// A message is acknowledged and not stored.
    pub forgotten: u32,
}

/// Mock of the services.
#[derive(Debug)]
pub struct MockAws {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    faults: Faults,
    random: fastrand::Rng,
    injected: u64,
    dead_letters: Vec<Value>,
    /// Whether slots of rate limits are leased. Leases use the wall clock: with a paused clock
    /// there are none, so that a seed determines the run.
    leases_slots: bool,
    /// Items by partition key and sort key.
    items: BTreeMap<(String, String), Value>,
    violations: Vec<String>,
}

impl MockAws {
    pub fn new(seed: u64, faults: Faults) -> Arc<Self> {
        let random = fastrand::Rng::with_seed(seed);
        let state = State {
            faults,
            random,
            injected: 0,
            dead_letters: Vec::new(),
            leases_slots: true,
            items: BTreeMap::new(),
            violations: Vec::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
        })
    }

    /// Builds a configuration that uses the mock without a socket, for a paused clock.
    pub fn config(self: &Arc<Self>) -> SdkConfig {
        self.lock().leases_slots = false;
        let client = InProcess(Arc::clone(self));
        aws::no_aws().into_builder().http_client(client).build()
    }

    /// Returns the stored dead letters.
    pub fn dead_letters(&self) -> Vec<Value> {
        self.lock().dead_letters.clone()
    }

    /// Returns the number of injected faults.
    pub fn injected_faults(&self) -> u64 {
        self.lock().injected
    }

    /// Returns the protocol violations of the client.
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    pub fn heal(&self) {
        let mut state = self.lock();
        state.faults = Faults {
            forgotten: state.faults.forgotten,
            ..Faults::default()
        };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Api for MockAws {
    fn reply(&self, request: &Request) -> Reply {
        let mut state = self.lock();
        let Faults {
            refused,
            lost,
            hanging,
            ..
        } = state.faults;
        if state.injects(hanging) {
            return Reply::Hang;
        }
        if state.injects(refused) {
            return error(500, "InternalFailure").into();
        }
        let is_lost = state.injects(lost);
        if is_lost && state.random.bool() {
            return Reply::Reset;
        }
        let answer = state.answer(request);
        if is_lost { Reply::Reset } else { answer.into() }
    }
}

fn error(status: u16, kind: &str) -> Answer {
    Answer::json(
        status,
        &json!({"__type": kind, "message": "injected by the test"}),
    )
}

impl State {
    /// Decides at random whether to inject a fault, and counts it.
    fn injects(&mut self, percent: u32) -> bool {
        let injects = self.random.u32(..100) < percent;
        self.injected += u64::from(injects);
        injects
    }

    fn answer(&mut self, request: &Request) -> Answer {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        match request.header("x-amz-target") {
            Some("AmazonSQS.SendMessageBatch") => self.send_message_batch(&body),
            Some("AmazonSQS.GetQueueAttributes") => Answer::json(200, &json!({"Attributes": {}})),
            Some("DynamoDB_20120810.PutItem") => self.put_item(&body),
            Some("DynamoDB_20120810.Query") => self.query(&body),
            Some("DynamoDB_20120810.UpdateItem") if self.leases_slots => self.update_item(&body),
            Some("DynamoDB_20120810.UpdateItem") => error(
                400,
                "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
            ),
            target => {
                self.violations.push(format!("unknown: {target:?}"));
                error(400, "UnknownOperationException")
            }
        }
    }

    /// Stores messages.
    fn send_message_batch(&mut self, body: &Value) -> Answer {
        let entries = body["Entries"].as_array().cloned().unwrap_or_default();
        let bytes: usize = entries
            .iter()
            .filter_map(|entry| entry["MessageBody"].as_str())
            .map(str::len)
            .sum();
        if entries.is_empty() || entries.len() > 10 || bytes > 262_144 {
            self.violations
                .push(format!("{} messages with {bytes} bytes", entries.len()));
            return error(400, "com.amazonaws.sqs#BatchRequestTooLong");
        }
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for entry in entries {
            if self.injects(self.faults.entry) {
                failed.push(
                    json!({"Id": entry["Id"], "Code": "InternalError", "SenderFault": false}),
                );
                continue;
            }
            if !self.injects(self.faults.forgotten) {
                let message = entry["MessageBody"].as_str().unwrap_or_default();
                self.dead_letters
                    .push(serde_json::from_str(message).unwrap_or_default());
            }
            successful.push(
                json!({"Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": "not checked"}),
            );
        }
        Answer::json(200, &json!({"Successful": successful, "Failed": failed}))
    }

    /// Stores an item.
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html>
    fn put_item(&mut self, body: &Value) -> Answer {
        let item = &body["Item"];
        let key = |name: &str| item[name]["S"].as_str().unwrap_or_default().to_owned();
        self.items.insert((key("pk"), key("sk")), item.clone());
        Answer::json(200, &json!({}))
    }

    /// Carries out one of the two conditional writes that advance the next free slot of a
    /// destination.
    fn update_item(&mut self, body: &Value) -> Answer {
        let number = |value: &Value| {
            value["N"]
                .as_str()
                .and_then(|text| text.parse::<u64>().ok())
        };
        let value =
            |name: &str| number(&body["ExpressionAttributeValues"][name]).unwrap_or_default();
        let key = |name: &str| {
            body["Key"][name]["S"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let key = (key("pk"), key("sk"));
        let held = self
            .items
            .get(&key)
            .and_then(|item| number(&item["next_slot"]));
        let next = match body["ConditionExpression"].as_str() {
            Some("next_slot BETWEEN :oldest AND :latest") => held
                .filter(|held| (value(":oldest")..=value(":latest")).contains(held))
                .map(|held| held + value(":length")),
            Some("attribute_not_exists(next_slot) OR next_slot < :oldest") => held
                .is_none_or(|held| held < value(":oldest"))
                .then(|| value(":end")),
            other => {
                self.violations
                    .push(format!("an unexpected condition: {other:?}"));
                None
            }
        };
        let Some(next) = next else {
            let kind = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
            return Answer::json(
                400,
                &json!({"__type": kind, "message": "no", "Item": self.items.get(&key)}),
            );
        };
        let slot = json!({"next_slot": {"N": next.to_string()}});
        self.items.insert(key, slot.clone());
        Answer::json(200, &json!({"Attributes": slot}))
    }

    /// Carries out `pk = :pk AND sk >= :first`, the only query that the function sends.
    fn query(&mut self, body: &Value) -> Answer {
        if body["KeyConditionExpression"] != "pk = :pk AND sk >= :first" {
            self.violations.push(format!(
                "an unexpected query: {}",
                body["KeyConditionExpression"]
            ));
        }
        let value = |name: &str| {
            body["ExpressionAttributeValues"][name]["S"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let (pk, first) = (value(":pk"), value(":first"));
        let found = self
            .items
            .range((pk.clone(), first)..)
            .take_while(|((key, _), _)| *key == pk);
        let items: Vec<&Value> = found.map(|(_, item)| item).collect();
        Answer::json(
            200,
            &json!({"Items": items, "Count": items.len(), "ScannedCount": items.len()}),
        )
    }
}

/// HTTP client that calls the mock without a socket.
#[derive(Clone, Debug)]
struct InProcess(Arc<MockAws>);

impl HttpClient for InProcess {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let headers = request.headers().iter().filter_map(|(name, value)| {
            Some((
                HeaderName::try_from(name).ok()?,
                HeaderValue::try_from(value).ok()?,
            ))
        });
        let request = Request {
            method: request.method().to_owned(),
            path: "/".to_owned(),
            query: Vec::new(),
            uri_length: request.uri().len(),
            headers: headers.collect(),
            body: Bytes::copy_from_slice(request.body().bytes().unwrap_or_default()),
        };
        let reply = self.0.reply(&request);
        HttpConnectorFuture::new(async move {
            match reply {
                Reply::Answer(answer) => Ok(response(answer)),
                Reply::Hang => std::future::pending().await,
                _ => Err(ConnectorError::io("the connection broke".into())),
            }
        })
    }
}

fn response(answer: Answer) -> HttpResponse {
    let mut response = HttpResponse::new(
        answer.status.try_into().expect("a status"),
        answer.body.into(),
    );
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value);
    }
    response
}
