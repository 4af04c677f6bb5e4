//! DynamoDB table in the process of the test, for the tests of the settled set. It notifies of
//! written items, records its calls, and has a latency; `mock_aws` in contrast mocks all services
//! and responds immediately. Queries and items behave as in moto, which other tests use.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::http::{HttpRequest, HttpResponse};
use aws_sdk_dynamodb::config::{HttpClient, RuntimeComponents, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::aws;

/// Probability of each fault, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The call is rejected, as by throttling or a missing table.
    pub refused: u32,
    /// The response never arrives; half of the time after the work.
    pub hanging: u32,
    /// A read is rejected.
    pub unread: u32,
}

#[derive(Debug, Default)]
struct State {
    items: BTreeMap<(String, String), Value>,
    calls: Vec<String>,
    faults: Faults,
    random: fastrand::Rng,
}

/// Mock of a table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    state: Arc<Mutex<State>>,
    /// Notified after each written item.
    pub written: Arc<Notify>,
}

impl Table {
    pub fn new(seed: u64, faults: Faults) -> Self {
        let table = Self::default();
        *table.lock() = State {
            faults,
            random: fastrand::Rng::with_seed(seed),
            ..State::default()
        };
        table
    }

    /// Builds an SDK configuration that uses the table.
    pub fn config(&self) -> SdkConfig {
        let config = aws::no_aws().into_builder();
        config
            .http_client(SharedHttpClient::new(self.clone()))
            .build()
    }

    /// Returns the operations of the calls, in order.
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// Returns the items, ordered by key.
    pub fn items(&self) -> Vec<Value> {
        self.lock().items.values().cloned().collect()
    }

    pub fn heal(&self) {
        self.lock().faults = Faults::default();
    }

    /// Makes every further call fail.
    pub fn drop_table(&self) {
        self.lock().faults = Faults {
            refused: 100,
            ..Faults::default()
        };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self, operation: String, body: Value) -> (u16, Value) {
        let arrived = Instant::now() + Duration::from_millis(self.lock().random.u64(1..20));
        sleep_until(arrived).await;
        let (answer, hangs) = {
            let mut state = self.lock();
            state.calls.push(operation.clone());
            let Faults {
                refused,
                hanging,
                unread,
            } = state.faults;
            let hangs = state.random.u32(..100) < hanging;
            let is_unread = operation == "Query" && state.random.u32(..100) < unread;
            if is_unread || state.random.u32(..100) < refused {
                let error = "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException";
                (
                    (
                        400,
                        json!({"__type": error, "message": "Requested resource not found"}),
                    ),
                    hangs,
                )
            } else if hangs && state.random.bool() {
                ((500, json!({})), true)
            } else {
                (state.carry_out(&operation, &body), hangs)
            }
        };
        if operation == "PutItem" && answer.0 == 200 {
            self.written.notify_waiters();
        }
        if hangs {
            std::future::pending::<()>().await;
        }
        sleep_until(arrived + Duration::from_millis(5)).await;
        answer
    }
}

impl State {
    fn carry_out(&mut self, operation: &str, body: &Value) -> (u16, Value) {
        let text = |value: &Value| value["S"].as_str().expect("a text").to_owned();
        match operation {
            "PutItem" => {
                let item = &body["Item"];
                self.items
                    .insert((text(&item["pk"]), text(&item["sk"])), item.clone());
                (200, json!({}))
            }
            "Query" => {
                assert_eq!(body["KeyConditionExpression"], "pk = :pk AND sk >= :first");
                let values = &body["ExpressionAttributeValues"];
                let from = (text(&values[":pk"]), text(&values[":first"]));
                let found = self
                    .items
                    .range(from.clone()..)
                    .filter(|((pk, _), _)| *pk == from.0);
                let items: Vec<&Value> = found.map(|(_, item)| item).collect();
                (
                    200,
                    json!({"Items": items, "Count": items.len(), "ScannedCount": items.len()}),
                )
            }
            // The table stores no shared rate limits.
            _ => (
                400,
                json!({"__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"}),
            ),
        }
    }
}

impl HttpConnector for Table {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request
            .headers()
            .get("x-amz-target")
            .expect("an operation")
            .to_owned();
        let operation = target.rsplit('.').next().expect("a name").to_owned();
        let body =
            serde_json::from_slice(request.body().bytes().expect("in memory")).expect("JSON");
        let answer = self.clone().answer(operation, body);
        HttpConnectorFuture::new(async move {
            let (status, body) = answer.await;
            Ok(HttpResponse::new(
                status.try_into().expect("a status"),
                body.to_string().into(),
            ))
        })
    }
}

impl HttpClient for Table {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
