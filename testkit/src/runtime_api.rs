//! Lambda Runtime API on loopback, with the real binary: it serves invocations and receives
//! responses. The process can be killed at any point, as by Lambda.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::path::Path;
use std::process::{ExitStatus, Stdio};
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

/// Invocation of the function.
#[derive(Debug)]
struct Invocation {
    request_id: String,
    event: Bytes,
    time: Duration,
}

/// Outcome of an invocation.
#[derive(Clone, Debug, PartialEq)]
pub enum InvocationOutcome {
    /// Response of the function.
    Answer(Value),
    /// Error of the function.
    Error(Value),
    /// The process ended before it responded.
    Died,
}

impl InvocationOutcome {
    /// Returns the sequence numbers of the failed records.
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

/// State that the server and the test share.
#[derive(Debug)]
struct Shared {
    invocations: Mutex<mpsc::Receiver<Invocation>>,
    outcomes: mpsc::Sender<(String, InvocationOutcome)>,
    polled_at: watch::Sender<Option<Instant>>,
}

/// Process of the function, and the Runtime API that it polls.
#[derive(Debug)]
pub struct Function {
    process: Child,
    pub started_at: Instant,
    invocations: mpsc::Sender<Invocation>,
    outcomes: mpsc::Receiver<(String, InvocationOutcome)>,
    polled_at: watch::Receiver<Option<Instant>>,
    lines: Arc<std::sync::Mutex<Vec<String>>>,
    reading: Option<JoinHandle<()>>,
    serving: AbortHandle,
}

impl Drop for Function {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Function {
    /// Starts the `program` with these variables and without the variables of this process.
    pub async fn start(program: &Path, variables: &[(String, String)]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (invocation_sender, invocations) = mpsc::channel(1);
        let (outcome_sender, outcomes) = mpsc::channel(1);
        let (polled_at, first_poll) = watch::channel(None);
        let shared = Arc::new(Shared {
            invocations: Mutex::new(invocations),
            outcomes: outcome_sender,
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
            invocations: invocation_sender,
            outcomes,
            polled_at: first_poll,
            lines,
            reading: Some(reading),
            serving,
        }
    }

    /// Waits for the first poll. Returns the time since the start; `None` if the process ended
    /// before, and its last line is read.
    pub async fn time_to_first_poll(&mut self) -> Option<Duration> {
        tokio::select! {
            polled = self.polled_at.wait_for(Option::is_some) => {
                polled.ok().and_then(|at| *at).map(|at| at.duration_since(self.started_at))
            }
            _ = end(&mut self.process, &mut self.reading) => None,
        }
    }

    /// Serves one invocation with the time limit `time`. Waits for its outcome.
    pub async fn invoke(
        &mut self,
        event: impl Into<Bytes>,
        request_id: &str,
        time: Duration,
    ) -> InvocationOutcome {
        let invocation = Invocation {
            request_id: request_id.to_owned(),
            event: event.into(),
            time,
        };
        self.invocations
            .send(invocation)
            .await
            .expect("the server receives it");
        let outcome = tokio::select! {
            outcome = self.outcomes.recv() => outcome,
            _ = end(&mut self.process, &mut self.reading) => None,
        };
        match outcome {
            Some((id, outcome)) => {
                assert_eq!(id, request_id, "an outcome of another invocation");
                outcome
            }
            None => InvocationOutcome::Died,
        }
    }

    /// Serves several invocations as fast as they are polled. Waits for the outcome of each.
    pub async fn invoke_at_once(
        &mut self,
        events: impl Iterator<Item = Bytes>,
        time: Duration,
    ) -> Vec<InvocationOutcome> {
        let named = events.enumerate().map(|(at, event)| Invocation {
            request_id: at.to_string(),
            event,
            time,
        });
        let invocations: Vec<_> = named.collect();
        let mut all = vec![InvocationOutcome::Died; invocations.len()];
        let sending = async {
            for invocation in invocations {
                self.invocations
                    .send(invocation)
                    .await
                    .expect("the server receives it");
            }
        };
        let receiving = async {
            for _ in 0..all.len() {
                let Some((id, outcome)) = self.outcomes.recv().await else {
                    return;
                };
                all[id.parse::<usize>().expect("one of these")] = outcome;
            }
        };
        tokio::select! {
            _ = future::join(sending, receiving) => {}
            _ = end(&mut self.process, &mut self.reading) => {}
        }
        all
    }

    /// Returns the id of the process, for `/proc`.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Kills the process, as Lambda does after a timeout.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("killed");
    }

    /// Waits until the process ends by itself, and until its last line is read.
    pub async fn exit(&mut self) -> ExitStatus {
        end(&mut self.process, &mut self.reading).await
    }

    /// Returns the lines that the process has written to standard output.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("sound").clone()
    }
}

/// Waits until the process ends by itself, and until its last line is read.
async fn end(process: &mut Child, reading: &mut Option<JoinHandle<()>>) -> ExitStatus {
    let status = process.wait().await.expect("waited for");
    if let Some(lines) = reading {
        lines.await.expect("read to the end");
        *reading = None;
    }
    status
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
            // An error is a process that was killed.
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
        return Ok(match next {
            Some(invocation) => invocation_response(&invocation),
            None => plain(410),
        });
    }
    let body = request.into_body().collect().await?.to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let outcome = match path.split('/').collect::<Vec<_>>()[..] {
        ["invocation", id, "response"] => (id.to_owned(), InvocationOutcome::Answer(body)),
        ["invocation", id, "error"] => (id.to_owned(), InvocationOutcome::Error(body)),
        _ => return Ok(plain(404)),
    };
    // The receiver is dropped after the end of the test.
    let _ = shared.outcomes.send(outcome).await;
    Ok(plain(202))
}

fn invocation_response(invocation: &Invocation) -> Response<Full<Bytes>> {
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
