//! Stands before an emulation of AWS, counts what is asked of each service, and gets in its way when it is told to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    Pass,
    /// Answers late.
    Slow(Duration),
    /// Refuses with this status and error.
    Refuse(u16, &'static str),
    /// Never answers.
    Hang,
    /// Does what is asked, and closes the connection instead of answering.
    LoseAnswer,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    treatments: Vec<(&'static str, Treatment)>,
}

/// The proxy.
#[derive(Debug)]
pub struct Proxy {
    pub url: String,
    state: Arc<Mutex<State>>,
    accepting: AbortHandle,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// Stands before `target`, on a free port.
    pub async fn start(target: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound address"));
        let state = Arc::<Mutex<State>>::default();
        let accepting = tokio::spawn(serve(listener, target.to_owned(), Arc::clone(&state))).abort_handle();
        Self { url, state, accepting }
    }

    /// The operations asked for, as `DynamoDB_20120810.Query`, in order.
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// How many calls there were of operations whose name begins so.
    pub fn count(&self, prefix: &str) -> usize {
        self.lock().calls.iter().filter(|call| call.starts_with(prefix)).count()
    }

    /// From now on treats operations whose name begins so like this.
    pub fn treat(&self, prefix: &'static str, treatment: Treatment) {
        let mut state = self.lock();
        state.treatments.retain(|(known, _)| *known != prefix);
        state.treatments.push((prefix, treatment));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, target: String, state: Arc<Mutex<State>>) {
    let client = reqwest::Client::new();
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (client, target, state) = (client.clone(), target.clone(), Arc::clone(&state));
        connections.spawn(async move {
            let service =
                service_fn(move |request| answer(client.clone(), target.clone(), Arc::clone(&state), request));
            // An error here is a client that went away, or a lost answer.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    client: reqwest::Client,
    target: String,
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let operation =
        request.headers().get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let treatment = {
        let mut state = lock(&state);
        state.calls.push(operation.clone());
        let treatment = state.treatments.iter().find(|(prefix, _)| operation.starts_with(prefix));
        treatment.map_or(Treatment::Pass, |(_, treatment)| *treatment)
    };
    match treatment {
        Treatment::Pass => forward(&client, &target, request).await,
        Treatment::Slow(time) => {
            sleep_until(Instant::now() + time).await;
            forward(&client, &target, request).await
        }
        Treatment::Refuse(status, error) => {
            let body = serde_json::json!({"__type": error, "message": "refused by the test"}).to_string();
            let answer = Response::builder().status(status).header("content-type", "application/x-amz-json-1.0");
            Ok(answer.body(Full::new(body.into())).expect("valid"))
        }
        Treatment::Hang => std::future::pending().await,
        Treatment::LoseAnswer => {
            forward(&client, &target, request).await?;
            Err(std::io::Error::other("lost on purpose"))
        }
    }
}

async fn forward(
    client: &reqwest::Client,
    target: &str,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let mut headers = head.headers;
    for own in ["host", "content-length", "connection", "transfer-encoding"] {
        headers.remove(own);
    }
    let url = format!("{target}{}", head.uri.path_and_query().map_or("/", |path| path.as_str()));
    let sent = client.request(head.method, url).headers(headers).body(body).send().await;
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
