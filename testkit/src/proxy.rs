//! Proxy of an emulation of AWS: it counts the calls of each operation, injects faults, and can
//! stop at a certain request, so that a process can be killed at exactly that request.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// Treatment of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    Pass,
    /// Delays the call.
    Slow(Duration),
    /// Responds with this status and error.
    Refuse(u16, &'static str),
    /// Never responds.
    Hang,
    /// Forwards the call, and closes the connection without a response.
    LoseAnswer,
}

/// Number of the last request, and whether it reaches the emulation.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    pub at: usize,
    pub reaches: bool,
}

#[derive(Debug, Default)]
struct State {
    requests: usize,
    calls: Vec<String>,
    /// Ids of the calls, set by the SDK. The SDK repeats a call whose connection broke, which
    /// happens on a busy machine.
    ids: HashSet<String>,
    treatments: Vec<(&'static str, Treatment)>,
}

/// Running proxy.
#[derive(Debug)]
pub struct Proxy {
    pub url: String,
    gate: Arc<Gate>,
    accepting: AbortHandle,
}

#[derive(Debug)]
struct Gate {
    target: String,
    client: reqwest::Client,
    stop: Option<Stop>,
    stopped: Notify,
    state: Mutex<State>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// Starts a proxy of `target` on a free port.
    pub async fn start(target: &str) -> Self {
        Self::start_until(target, None).await
    }

    /// Starts a proxy that stops at a certain request.
    pub async fn start_until(target: &str, stop: Option<Stop>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound address"));
        let gate = Arc::new(Gate {
            target: target.to_owned(),
            client: reqwest::Client::new(),
            stop,
            stopped: Notify::new(),
            state: Mutex::default(),
        });
        let accepting = tokio::spawn(serve(listener, Arc::clone(&gate))).abort_handle();
        Self {
            url,
            gate,
            accepting,
        }
    }

    /// Returns the operations of the calls, such as `DynamoDB_20120810.Query`, in order. A repeated
    /// call is listed once.
    pub fn calls(&self) -> Vec<String> {
        self.gate.lock().calls.clone()
    }

    /// Returns the number of requests, including repeated ones.
    pub fn requests(&self) -> usize {
        self.gate.lock().requests
    }

    /// Sets the treatment of the operations with this prefix.
    pub fn treat(&self, prefix: &'static str, treatment: Treatment) {
        let mut state = self.gate.lock();
        state.treatments.retain(|(known, _)| *known != prefix);
        state.treatments.push((prefix, treatment));
    }

    /// Waits until the last request has arrived. It gets no response.
    pub async fn stopped(&self) {
        self.gate.stopped.notified().await;
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request. Returns its number and its treatment.
    fn note(&self, request: &Request<Incoming>) -> (usize, Treatment) {
        let header = |name: &str| {
            request
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let operation = header("x-amz-target").unwrap_or_default();
        let mut state = self.lock();
        state.requests += 1;
        if header("amz-sdk-invocation-id").is_none_or(|id| state.ids.insert(id.to_owned())) {
            state.calls.push(operation.to_owned());
        }
        let treatment = state
            .treatments
            .iter()
            .find(|(prefix, _)| operation.starts_with(prefix));
        (
            state.requests,
            treatment.map_or(Treatment::Pass, |(_, treatment)| *treatment),
        )
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let (number, treatment) = self.note(&request);
        if let Some(stop) = self.stop.filter(|stop| number >= stop.at) {
            if number == stop.at && stop.reaches {
                self.forward(request).await?;
            }
            self.stopped.notify_one();
            return std::future::pending().await;
        }
        match treatment {
            Treatment::Pass => self.forward(request).await,
            Treatment::Slow(time) => {
                sleep_until(Instant::now() + time).await;
                self.forward(request).await
            }
            Treatment::Refuse(status, error) => {
                let body = serde_json::json!({"__type": error, "message": "refused by the test"})
                    .to_string();
                let answer = Response::builder()
                    .status(status)
                    .header("content-type", "application/x-amz-json-1.0");
                Ok(answer.body(Full::new(body.into())).expect("valid"))
            }
            Treatment::Hang => std::future::pending().await,
            Treatment::LoseAnswer => {
                self.forward(request).await?;
                Err(std::io::Error::other("lost on purpose"))
            }
        }
    }

    async fn forward(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let (head, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map_err(std::io::Error::other)?
            .to_bytes();
        let mut headers = head.headers;
        for own in ["host", "content-length", "connection", "transfer-encoding"] {
            headers.remove(own);
        }
        let url = format!(
            "{}{}",
            self.target,
            head.uri.path_and_query().map_or("/", |path| path.as_str())
        );
        let sent = self
            .client
            .request(head.method, url)
            .headers(headers)
            .body(body)
            .send()
            .await;
        let answer = sent.map_err(std::io::Error::other)?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if !["content-length", "connection", "transfer-encoding"].contains(&name.as_str()) {
                response = response.header(name, value);
            }
        }
        let body = answer.bytes().await.map_err(std::io::Error::other)?;
        Ok(response.body(Full::new(body)).expect("valid"))
    }
}

async fn serve(listener: TcpListener, gate: Arc<Gate>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let gate = Arc::clone(&gate);
        connections.spawn(async move {
            let answer = |request| {
                let gate = Arc::clone(&gate);
                async move { gate.answer(request).await }
            };
            // An error is a disconnected client or a lost response.
            let connection = hyper::server::conn::http1::Builder::new();
            let _ = connection
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}
