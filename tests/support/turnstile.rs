//! A way to a server that counts: it lets so many calls through, and then nobody any more. What happens to a process
//! that is killed at exactly one of its calls can be seen so.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Which call is the last, and whether it still reaches the server.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    pub at: usize,
    pub reaches: bool,
}

#[derive(Debug)]
pub struct Turnstile {
    pub url: String,
    gate: Arc<Gate>,
    accepting: AbortHandle,
}

#[derive(Debug)]
struct Gate {
    target: String,
    stop: Option<Stop>,
    calls: AtomicUsize,
    stopped: Notify,
    client: reqwest::Client,
}

impl Turnstile {
    /// A way to `target`.
    pub async fn start(target: &str, stop: Option<Stop>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound address"));
        let gate = Arc::new(Gate {
            target: target.to_owned(),
            stop,
            calls: AtomicUsize::new(0),
            stopped: Notify::new(),
            client: reqwest::Client::new(),
        });
        let shared = Arc::clone(&gate);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let gate = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(move |request| pass(Arc::clone(&gate), request));
                    // An error here is a client that was killed.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { url, gate, accepting: accepting.abort_handle() }
    }

    /// How many calls came.
    pub fn calls(&self) -> usize {
        self.gate.calls.load(Ordering::SeqCst)
    }

    /// The last call has come, and gets no answer.
    pub async fn stopped(&self) {
        self.gate.stopped.notified().await;
    }
}

impl Drop for Turnstile {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(gate: Arc<Gate>, request: hyper::Request<Incoming>) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let number = gate.calls.fetch_add(1, Ordering::SeqCst) + 1;
    let last = gate.stop.filter(|stop| number >= stop.at);
    if last.is_some_and(|stop| number > stop.at || !stop.reaches) {
        gate.stopped.notify_one();
        std::future::pending::<()>().await;
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut headers = head.headers;
    for name in ["host", "content-length", "connection"] {
        headers.remove(name);
    }
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let call = gate.client.request(head.method, format!("{}{path}", gate.target)).headers(headers).body(body);
    let answer = call.send().await.expect("the server answers");
    if last.is_some() {
        gate.stopped.notify_one();
        std::future::pending::<()>().await;
    }
    let mut response = hyper::Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if name != "transfer-encoding" && name != "content-length" {
            response = response.header(name, value);
        }
    }
    let body = answer.bytes().await.expect("a whole answer");
    Ok(response.body(Full::new(body)).expect("a valid answer"))
}
