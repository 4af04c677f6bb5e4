//! The Lambda Runtime API on loopback, and the real binary behind it: invocations are handed out,
//! answers taken, and the process may be killed at any point, as Lambda may.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::Instant;

const PREFIX: &str = "/2018-06-01/runtime/";

/// What is handed out.
#[derive(Debug)]
struct Invocation {
    request_id: String,
    event: Bytes,
    time: Duration,
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// The function's answer.
    Answer(Value),
    /// The function's error.
    Error(Value),
    /// The process ended before it answered.
    Died,
}

impl Ended {
    /// The failed records' sequence numbers.
    pub fn failures(&self) -> Vec<String> {
        let Self::Answer(answer) = self else {
            panic!("no answer: {self:?}")
        };
        let failures = answer["batchItemFailures"].as_array().expect("a list");
        failures
            .iter()
            .map(|failure| {
                failure["itemIdentifier"]
                    .as_str()
                    .expect("a number")
                    .to_owned()
            })
            .collect()
    }
}

/// What both sides of the stub share.
#[derive(Debug)]
struct Shared {
    invocations: Mutex<mpsc::Receiver<Invocation>>,
    answers: mpsc::Sender<(String, Ended)>,
    polled_at: watch::Sender<Option<Instant>>,
}

/// The function's process, and the stub that it polls.
#[derive(Debug)]
pub struct Function {
    process: Child,
    pub started_at: Instant,
    invocations: mpsc::Sender<Invocation>,
    answers: mpsc::Receiver<(String, Ended)>,
    polled_at: watch::Receiver<Option<Instant>>,
    lines: Arc<std::sync::Mutex<Vec<String>>>,
    reading: JoinHandle<()>,
    serving: AbortHandle,
}

impl Drop for Function {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Function {
    /// Starts the `program` with these variables and nothing of this process's environment that
    /// could change it.
    pub async fn start(program: &Path, variables: &[(String, String)]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (hand_out, invocations) = mpsc::channel(1);
        let (answers, answered) = mpsc::channel(1);
        let (polled_at, first_poll) = watch::channel(None);
        let shared = Arc::new(Shared {
            invocations: Mutex::new(invocations),
            answers,
            polled_at,
        });
        let serving = tokio::spawn(serve(listener, shared)).abort_handle();
        let mut command = Command::new(program);
        command
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        for (name, value) in [
            ("AWS_LAMBDA_RUNTIME_API", &*address.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", "contact-sync"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/contact-sync"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "test"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ] {
            command.env(name, value);
        }
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let started_at = Instant::now();
        let mut process = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let lines = Arc::default();
        let reading = tokio::spawn(read(
            process.stdout.take().expect("piped"),
            Arc::clone(&lines),
        ));
        Self {
            process,
            started_at,
            invocations: hand_out,
            answers: answered,
            polled_at: first_poll,
            lines,
            reading,
            serving,
        }
    }

    /// How long it took from the start to the first poll; `None` where the process ended before.
    pub async fn time_to_first_poll(&mut self) -> Option<Duration> {
        tokio::select! {
            polled = self.polled_at.wait_for(Option::is_some) => {
                polled.ok().and_then(|at| *at).map(|at| at.duration_since(self.started_at))
            }
            _ = self.process.wait() => None,
        }
    }

    /// Hands out one event and waits for how it ends; the function has `time` for it.
    pub async fn invoke(
        &mut self,
        event: impl Into<Bytes>,
        request_id: &str,
        time: Duration,
    ) -> Ended {
        let invocation = Invocation {
            request_id: request_id.to_owned(),
            event: event.into(),
            time,
        };
        self.invocations
            .send(invocation)
            .await
            .expect("the stub takes it");
        let ended = tokio::select! {
            answered = self.answers.recv() => answered,
            _ = self.process.wait() => None,
        };
        match ended {
            Some((answered, ended)) => {
                assert_eq!(answered, request_id, "an answer to another invocation");
                ended
            }
            None => Ended::Died,
        }
    }

    /// Hands out several events as fast as they are asked for, and waits for how each ends.
    pub async fn invoke_at_once(
        &mut self,
        events: impl Iterator<Item = Bytes>,
        time: Duration,
    ) -> Vec<Ended> {
        let named = events.enumerate().map(|(at, event)| Invocation {
            request_id: at.to_string(),
            event,
            time,
        });
        let invocations: Vec<_> = named.collect();
        let mut all = vec![Ended::Died; invocations.len()];
        let handing_out = async {
            for invocation in invocations {
                self.invocations
                    .send(invocation)
                    .await
                    .expect("the stub takes it");
            }
        };
        let taking = async {
            for _ in 0..all.len() {
                let Some((answered, ended)) = self.answers.recv().await else {
                    return;
                };
                all[answered.parse::<usize>().expect("one of these")] = ended;
            }
        };
        tokio::select! {
            _ = future::join(handing_out, taking) => {}
            _ = self.process.wait() => {}
        }
        all
    }

    /// The process's id, for `/proc`.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Ends the process as Lambda does when it has no more patience: without a word.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("killed");
    }

    /// Waits for the process to end by itself, and for its last line.
    pub async fn exit(&mut self) -> std::process::ExitStatus {
        let status = self.process.wait().await.expect("waited for");
        (&mut self.reading).await.expect("read to the end");
        status
    }

    /// What it wrote so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("sound").clone()
    }
}

async fn read(output: impl tokio::io::AsyncRead + Unpin, into: Arc<std::sync::Mutex<Vec<String>>>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        into.lock().expect("sound").push(line);
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            // An error here is a process that was killed.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request
        .uri()
        .path()
        .strip_prefix(PREFIX)
        .unwrap_or_default()
        .to_owned();
    if path == "invocation/next" {
        shared
            .polled_at
            .send_if_modified(|at| at.is_none() && at.replace(Instant::now()).is_none());
        let next = shared.invocations.lock().await.recv().await;
        return Ok(next.map_or_else(|| plain(410), |invocation| handed_out(&invocation)));
    }
    let body = request.into_body().collect().await?.to_bytes();
    let said = serde_json::from_slice(&body).unwrap_or_default();
    let ended = match path.split('/').collect::<Vec<_>>()[..] {
        ["invocation", id, "response"] => Some((id.to_owned(), Ended::Answer(said))),
        ["invocation", id, "error"] => Some((id.to_owned(), Ended::Error(said))),
        _ => None,
    };
    let Some(ended) = ended else {
        return Ok(plain(404));
    };
    // Nobody waits any more where the test has ended.
    let _ = shared.answers.send(ended).await;
    Ok(plain(202))
}

fn handed_out(invocation: &Invocation) -> Response<Full<Bytes>> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", &invocation.request_id)
        .header(
            "lambda-runtime-deadline-ms",
            (now + invocation.time).as_millis().to_string(),
        )
        .header(
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-west-1:123456789012:function:contact-sync",
        )
        .header(
            "lambda-runtime-trace-id",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
        )
        .body(Full::new(invocation.event.clone()))
        .expect("valid")
}

fn plain(status: u16) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .body(Full::default())
        .expect("valid")
}
