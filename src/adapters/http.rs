//! Sends the adapters' HTTP requests: within a time limit, to allowed hosts only, counted in the
//! metrics. No other module sends HTTP to a destination.

mod retry_after;

use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Method, Request, Url};
use secrecy::zeroize::Zeroizing;
use time::OffsetDateTime;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::{Call, SHORTEST_CALL};
use crate::http_client;
use crate::model::codes;
use crate::model::{CallError, Cause, Code, FailureCause, Stop};
use crate::telemetry::traces;

/// Longest response body, in bytes. 200 rows with errors are some 100 kB.
const LONGEST_BODY: usize = 8 * 1024 * 1024;

/// A wait of this length without a response is a timeout of the system, also where the call's
/// deadline ends the request before its own time limit.
const LONG_SILENCE: Duration = Duration::from_secs(10);

/// HTTP access of one destination: the client, and the rules for its requests.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    /// Built at the first plain `http` request, on a developer's machine.
    plain: OnceCell<Client>,
    allowed_hosts: Vec<String>,
    request_timeout: Duration,
}

/// A complete response of any status.
#[derive(Debug)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl HttpResponse {
    /// Returns a header's value; `None` where it is missing or not readable as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns how long `Retry-After` asks to wait, in seconds or until a date.
    /// <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after::wait(
            self.header("retry-after")?,
            self.header("date"),
            OffsetDateTime::now_utc(),
        )
    }
}

/// The reason for which a request has no response. Holds nothing of the request's content.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Not sent: too little time was left before the deadline.
    #[error("too little time is left for the request")]
    NotSentInTime,
    /// Cut short by the deadline, before its own timeout. That is no evidence about the system.
    #[error("the deadline cut the request short")]
    CutByDeadline,
    /// Not sent: the rate limit has no permit for it in time.
    #[error("the rate limit has no permit for the request in time")]
    NotPermitted(Code),
    /// The time limit passed before the response was complete.
    #[error("no complete response in time")]
    Timeout,
    /// No connection, a reset, or a response that ends early.
    #[error("the connection failed")]
    Connection(#[source] reqwest::Error),
    /// The response is longer than `LONGEST_BODY`.
    #[error("the response has more than {LONGEST_BODY} bytes")]
    TooLong,
    /// The URL names a host to which no credential may be sent.
    #[error("{0}")]
    Forbidden(String),
}

impl HttpError {
    /// Returns the call error of a request that failed with this one.
    pub fn into_call_error(self) -> CallError {
        let code = self.code();
        let pressure = matches!(self, Self::Timeout);
        let cause = match &self {
            Self::Timeout | Self::TooLong => FailureCause::Size,
            Self::Connection(error) if !error.is_connect() => FailureCause::Record,
            Self::NotSentInTime
            | Self::CutByDeadline
            | Self::NotPermitted(_)
            | Self::Connection(_)
            | Self::Forbidden(_) => FailureCause::Destination,
        };
        match self {
            Self::Forbidden(remedy) => Stop::new(Cause::Configuration, code, remedy).into(),
            _ => CallError::Retry {
                code,
                after: None,
                pressure,
                cause,
            },
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::NotSentInTime => Code::new(codes::NOT_SENT_IN_TIME),
            Self::CutByDeadline => Code::new(codes::CUT_BY_DEADLINE),
            Self::NotPermitted(code) => code.clone(),
            Self::Timeout => Code::new(codes::TIMEOUT),
            Self::Connection(_) => Code::new(codes::CONNECTION_FAILED),
            Self::TooLong => Code::new(codes::ANSWER_TOO_LONG),
            Self::Forbidden(_) => Code::new(codes::HOST_NOT_ALLOWED),
        }
    }
}

impl Http {
    /// Allows requests to hosts that equal one of `allowed_hosts` or are a subdomain of one.
    pub fn new(client: Client, allowed_hosts: Vec<String>, request_timeout: Duration) -> Self {
        Self {
            client,
            plain: OnceCell::new(),
            allowed_hosts,
            request_timeout,
        }
    }

    /// Returns the client, to build requests with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Checks that a credential may be sent to `url`.
    pub fn check(&self, url: &Url) -> Result<(), HttpError> {
        check_url(url, &self.allowed_hosts).map_err(HttpError::Forbidden)
    }

    /// Opens a connection to the host of `url`, by a request without credentials. Its
    /// response is of no use.
    pub async fn connect(&self, url: Url, call: Call<'_>) {
        let request = Request::new(Method::HEAD, url);
        drop(self.send(request, call).await);
    }

    /// Sends `request` and reads the response to its end, within the request's own time limit and
    /// the call's. Waits for the request's permit first.
    pub async fn send(&self, request: Request, call: Call<'_>) -> Result<HttpResponse, HttpError> {
        self.check(request.url())?;
        if !has_time(call) {
            return Err(HttpError::NotSentInTime);
        }
        // Held until the response is read: the system counts the request some time before that.
        let _permit = call.permits.next().await.map_err(HttpError::NotPermitted)?;
        if !has_time(call) {
            return Err(HttpError::NotSentInTime);
        }
        let started = Instant::now();
        let until = call.give_up_at.min(started + self.request_timeout);
        let is_cut_short = until < started + self.request_timeout.min(LONG_SILENCE);
        let span = traces::exchange(request.method().as_str(), request.url());
        let execution = self.execute(request).instrument(span.clone());
        let response = match timeout_at(until, execution).await {
            Ok(response) => response,
            Err(_) if is_cut_short => Err(HttpError::CutByDeadline),
            Err(_) => Err(HttpError::Timeout),
        };
        match &response {
            Ok(response) => traces::answered(&span, response.status),
            Err(error) => traces::failed(&span, error.code()),
        }
        let failed = !matches!(&response, Ok(response) if response.status < 400);
        call.metrics.api_call(started.elapsed(), failed);
        response
    }

    async fn execute(&self, request: Request) -> Result<HttpResponse, HttpError> {
        let client = match request.url().scheme() {
            "http" => self
                .plain
                .get_or_try_init(async || http_client::plain_client())
                .await
                .map_err(HttpError::Connection)?,
            _ => &self.client,
        };
        let mut response = client
            .execute(request)
            .await
            .map_err(HttpError::Connection)?;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(HttpError::Connection)? {
            if body.len() + chunk.len() > LONGEST_BODY {
                return Err(HttpError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        let headers = std::mem::take(response.headers_mut());
        Ok(HttpResponse {
            status: response.status().as_u16(),
            headers,
            body: body.freeze(),
        })
    }
}

/// Returns whether enough time is left to start a request.
fn has_time(call: Call<'_>) -> bool {
    Instant::now() + SHORTEST_CALL <= call.give_up_at
}

/// Builds the header value `Bearer …`. It is marked as sensitive, so that `Debug` does not show it,
/// and wiped from memory with its last copy. `None` where the token contains a character that no
/// header may contain.
pub fn bearer(token: &str) -> Option<HeaderValue> {
    let text = Zeroizing::new([b"Bearer ", token.as_bytes()].concat());
    let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Checks that a credential may be sent to `url`: its parsed host equals an allowed one or is a
/// subdomain of one, and plain `http` is sent to loopback only.
///
/// # Errors
/// Returns a sentence that names the fault and the allowed values.
pub fn check_url(url: &Url, allowed_hosts: &[String]) -> Result<(), String> {
    let host = url.host_str().unwrap_or_default();
    let allowed = allowed_hosts
        .iter()
        .any(|allowed| is_at_or_below(host, allowed));
    if !allowed {
        return Err(format!(
            "the host `{host}` is not allowed: allowed_hosts is {allowed_hosts:?}"
        ));
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(url) => Ok(()),
        scheme => Err(format!(
            "`{scheme}` to `{host}` is not allowed: use https (http to loopback only)"
        )),
    }
}

fn is_at_or_below(host: &str, allowed: &str) -> bool {
    let (host, allowed) = (host.to_ascii_lowercase(), allowed.to_ascii_lowercase());
    host == allowed
        || host
            .strip_suffix(&allowed)
            .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(url::Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(url::Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::Unlimited;

    #[test]
    fn debug_output_contains_no_token() {
        let header = bearer("t-1").expect("a header");
        assert_eq!(header.as_bytes(), b"Bearer t-1");
        assert!(!format!("{header:?}").contains("t-1"));
        assert!(bearer("t\n1").is_none());
    }

    #[tokio::test]
    async fn a_request_without_enough_time_is_not_sent() {
        let http = Http::new(
            http_client::client().expect("a client"),
            vec!["127.0.0.1".to_owned()],
            Duration::from_secs(1),
        );
        let request = http
            .client()
            .get("http://127.0.0.1:9/")
            .build()
            .expect("a request");
        let metrics = crate::telemetry::DestinationMetrics::default();
        let call = Call {
            give_up_at: Instant::now() + SHORTEST_CALL / 2,
            metrics: &metrics,
            permits: &Unlimited,
            dry_run: false,
        };
        assert!(matches!(
            http.send(request, call).await,
            Err(HttpError::NotSentInTime)
        ));
        assert_eq!(metrics.api_calls(), 0);
    }

    #[tokio::test]
    async fn a_request_that_the_deadline_ends_early_is_no_timeout_of_the_system() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let metrics = crate::telemetry::DestinationMetrics::default();
        for (timeout, code) in [
            (Duration::from_mins(1), "CUT_BY_DEADLINE"),
            (SHORTEST_CALL, "TIMEOUT"),
        ] {
            let http = Http::new(
                http_client::client().expect("a client"),
                vec!["127.0.0.1".to_owned()],
                timeout,
            );
            let request = http.client().get(&url).build().expect("a request");
            let give_up_at = Instant::now() + SHORTEST_CALL + Duration::from_millis(200);
            let call = Call {
                give_up_at,
                metrics: &metrics,
                permits: &Unlimited,
                dry_run: false,
            };
            let error = http.send(request, call).await.expect_err("no response");
            assert_eq!(error.code().as_str(), code);
        }
        assert_eq!(metrics.api_calls(), 2);
    }

    #[test]
    fn credentials_are_sent_to_allowed_hosts_only() {
        let allowed = [
            "my.salesforce.com".to_owned(),
            "127.0.0.1".to_owned(),
            "[::1]".to_owned(),
        ];
        for (url, expected) in [
            ("https://my.salesforce.com/", true),
            ("https://acme.my.salesforce.com/services", true),
            ("https://ACME.MY.SALESFORCE.COM/", true),
            ("https://acme--dev.sandbox.my.salesforce.com/", true),
            ("http://127.0.0.1:8080/", true),
            ("http://[::1]:8080/", true),
            ("http://acme.my.salesforce.com/", false),
            ("https://evilmy.salesforce.com/", false),
            ("https://my.salesforce.com.evil.example/", false),
            ("https://my.salesforce.com@evil.example/", false),
            ("https://evil.example/?my.salesforce.com", false),
            ("https://.my.salesforce.com/", false),
            ("http://localhost:8080/", false),
            ("ftp://127.0.0.1/", false),
        ] {
            let url = Url::parse(url);
            let is_allowed = url
                .as_ref()
                .is_ok_and(|url| check_url(url, &allowed).is_ok());
            assert_eq!(is_allowed, expected, "{url:?}");
        }
    }
}
