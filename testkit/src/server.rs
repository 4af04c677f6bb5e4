//! Small HTTP server on loopback for the mocks, which also injects faults of connections. It
//! listens on a free port and stops when it is dropped.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

/// Request, as a mock receives it.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Percent-decoded pairs, in order.
    pub query: Vec<(String, String)>,
    /// Length of the encoded path and query.
    pub uri_length: usize,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns whether the request only opens a connection: it asks for nothing, and carries no
    /// credentials.
    pub fn opens_connection(&self) -> bool {
        self.method == "HEAD" && self.header("authorization").is_none()
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Response with a status, headers and a body.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self {
            status,
            headers,
            body: body.to_string().into_bytes(),
        }
    }

    pub fn empty(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub fn html(status: u16, body: &str) -> Self {
        let headers = vec![("content-type".to_owned(), "text/html".to_owned())];
        Self {
            status,
            headers,
            body: body.as_bytes().to_vec(),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts alike")]
    pub fn with_header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

/// Modification of a response.
#[derive(Clone)]
pub struct Mangle(Arc<dyn Fn(&mut Answer) + Send + Sync>);

impl Mangle {
    pub fn new(edit: impl Fn(&mut Answer) + Send + Sync + 'static) -> Self {
        Self(Arc::new(edit))
    }

    /// Creates a modification of the response's JSON.
    pub fn json(edit: impl Fn(&mut serde_json::Value) + Send + Sync + 'static) -> Self {
        Self::new(move |answer| {
            let mut body = serde_json::from_slice(&answer.body).unwrap_or_default();
            edit(&mut body);
            answer.body = body.to_string().into_bytes();
        })
    }

    pub fn apply(&self, answer: &mut Answer) {
        self.0(answer);
    }
}

impl std::fmt::Debug for Mangle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mangle")
    }
}

/// Reply of the server to a request.
#[derive(Clone, Debug)]
pub enum Reply {
    Answer(Answer),
    /// Responds after a delay.
    Later(Duration, Answer),
    /// Never responds; the connection stays open.
    Hang,
    /// Closes the connection without a response.
    Reset,
    /// Sends the head and half of the body, then closes the connection.
    Cut(Answer),
    /// Sends the head, then the body with one byte per second.
    Trickle(Answer),
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// Mock that replies to requests. It is called once per request, in the order of arrival.
pub trait Api: Send + Sync + 'static {
    fn reply(&self, request: &Request) -> Reply;
}

/// Running server.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    accepting: AbortHandle,
    /// Nanoseconds spent on replies.
    busy: Arc<AtomicU64>,
}

impl Server {
    /// Starts serving `api` on a free port of loopback.
    pub async fn start(api: Arc<impl Api>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let busy = Arc::<AtomicU64>::default();
        let clock = Arc::clone(&busy);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let (api, clock) = (Arc::clone(&api), Arc::clone(&clock));
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        answer(Arc::clone(&api), Arc::clone(&clock), request)
                    });
                    // An error is a disconnected client, or a reply that breaks the connection.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
                while connections.try_join_next().is_some() {}
            }
        })
        .abort_handle();
        Self {
            address,
            accepting,
            busy,
        }
    }

    /// Returns the time spent on replies so far.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy.load(Relaxed))
    }

    /// Returns the URL of the server, `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops the server, and closes its connections.
    pub fn stop(&self) {
        self.accepting.abort();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Error with which hyper drops the connection.
#[derive(Debug)]
struct Dropped;

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("dropped on purpose")
    }
}

impl std::error::Error for Dropped {}

type Outgoing = hyper::Response<BoxBody<Bytes, Dropped>>;

async fn answer(
    api: Arc<impl Api>,
    clock: Arc<AtomicU64>,
    request: hyper::Request<Incoming>,
) -> Result<Outgoing, Dropped> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Dropped)?.to_bytes();
    let query = head.uri.query().unwrap_or_default();
    let request = Request {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        uri_length: head.uri.path().len() + 1 + query.len(),
        headers: head.headers,
        body,
    };
    let full = |answer: &Answer| {
        let body = http_body_util::Full::new(Bytes::from(answer.body.clone()));
        body.map_err(|never: Infallible| match never {}).boxed()
    };
    let started = Instant::now();
    let reply = api.reply(&request);
    clock.fetch_add(
        u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX),
        Relaxed,
    );
    match reply {
        Reply::Answer(answer) => Ok(response(&answer, full(&answer))),
        Reply::Later(wait, answer) => {
            tokio::time::sleep_until(tokio::time::Instant::now() + wait).await;
            Ok(response(&answer, full(&answer)))
        }
        Reply::Hang => std::future::pending().await,
        Reply::Reset => Err(Dropped),
        Reply::Cut(answer) => Ok(response(&answer, BoxBody::new(Broken::cut(&answer.body)))),
        Reply::Trickle(answer) => Ok(response(
            &answer,
            BoxBody::new(Broken::trickle(&answer.body)),
        )),
    }
}

fn response(answer: &Answer, body: BoxBody<Bytes, Dropped>) -> Outgoing {
    let mut response = hyper::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    response.body(body).expect("a valid response")
}

/// Body that arrives slowly or incompletely.
struct Broken {
    left: Bytes,
    chunk: usize,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
    slow: bool,
}

impl Broken {
    fn cut(body: &[u8]) -> Self {
        let half = Bytes::copy_from_slice(&body[..body.len() / 2]);
        Self {
            chunk: half.len().max(1),
            left: half,
            pause: None,
            slow: false,
        }
    }

    fn trickle(body: &[u8]) -> Self {
        Self {
            left: Bytes::copy_from_slice(body),
            chunk: 1,
            pause: None,
            slow: true,
        }
    }
}

impl Body for Broken {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if self.left.is_empty() {
            return Poll::Ready(if self.slow { None } else { Some(Err(Dropped)) });
        }
        if self.slow {
            self.pause = Some(Box::pin(tokio::time::sleep_until(
                tokio::time::Instant::now() + Duration::from_secs(1),
            )));
        }
        let chunk = self.chunk.min(self.left.len());
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(chunk)))))
    }
}
