//! The only room that speaks HTTP: one client, in time, to an allowed host, counted.

mod retry_after;

use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, Request, Url};
use secrecy::zeroize::Zeroizing;
use time::OffsetDateTime;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use super::{Call, CallError, Cause, Code, FailureCause, SHORTEST_CALL, Stop};
use crate::codes;
use crate::telemetry::traces;

/// The longest answer that is read. 200 rows with errors are some 100 kB; what is longer is not an
/// answer to us.
const LONGEST_BODY: usize = 8 * 1024 * 1024;

/// A request without an answer for so long says something of the system, however much longer it
/// might have taken.
const LONG_SILENCE: Duration = Duration::from_secs(10);

/// Makes the one HTTP client of the process. It follows no redirects, which would carry credentials
/// elsewhere. The root certificates are compiled in: to read those of the system is two fifths of
/// the time to the first poll.
///
/// Idle connections are dropped after 50 s of the timers' clock, which stands still while Lambda
/// keeps the environment frozen. After a freeze a kept connection may be dead. Where that is known
/// before the request is written, the request goes out by a new connection. Otherwise the call
/// fails with `CONNECTION_FAILED`, and `dispatch` repeats it by a new one, which is harmless.
///
/// For `https` it obeys `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in small letters too. Plain
/// `http` goes by [`plain_client`].
///
/// # Errors
/// Where the TLS library does not take the root certificates.
pub fn client() -> reqwest::Result<Client> {
    let roots = TLS_SERVER_ROOT_CERTS
        .iter()
        .map(|root| Certificate::from_der(root));
    let roots = roots.collect::<reqwest::Result<Vec<_>>>()?;
    builder().tls_certs_only(roots).build()
}

/// Makes a client for plain `http`, which goes to loopback only. It obeys no proxy of the
/// environment: credentials would travel to the proxy in plain text.
///
/// # Errors
/// Where the TLS library cannot be made ready.
pub fn plain_client() -> reqwest::Result<Client> {
    builder().no_proxy().tls_certs_only([]).build()
}

fn builder() -> ClientBuilder {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .pool_idle_timeout(Duration::from_secs(50))
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .user_agent(concat!("contact-sync/", env!("CARGO_PKG_VERSION")))
}

/// One destination's way out: the client, and the rules that hold for it.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    /// Made where it is needed: on a developer's machine.
    plain: OnceCell<Client>,
    allowed_hosts: Vec<String>,
    request_timeout: Duration,
}

/// An answer, whatever its status, read to its end.
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
    /// A header's value, where it is there and readable.
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

/// Why a request has no answer. Says nothing of the request's content.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Not sent: too little time was left before the deadline.
    #[error("too little time is left for the request")]
    NotSentInTime,
    /// Cut short by the deadline, before its own timeout. That says nothing of the system.
    #[error("the deadline cut the request short")]
    CutByDeadline,
    /// Not sent: the rate limit has no permit for it in time.
    #[error("the rate limit has no permit for the request in time")]
    NotPermitted(Code),
    /// The time was up, on the way or while reading.
    #[error("no complete answer in time")]
    Timeout,
    /// No connection, a reset, or an answer cut short.
    #[error("the connection failed")]
    Connection(#[source] reqwest::Error),
    /// The answer is longer than any real one.
    #[error("the answer has more than {LONGEST_BODY} bytes")]
    TooLong,
    /// The URL leads where no credential may go.
    #[error("{0}")]
    Forbidden(String),
}

impl HttpError {
    /// What to do next about it.
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
            Self::Forbidden(remedy) => CallError::Stop(Stop {
                cause: Cause::Configuration,
                code,
                remedy,
                after: None,
            }),
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
    /// The way out to hosts that equal one of `allowed_hosts` or lie below one.
    pub fn new(client: Client, allowed_hosts: Vec<String>, request_timeout: Duration) -> Self {
        Self {
            client,
            plain: OnceCell::new(),
            allowed_hosts,
            request_timeout,
        }
    }

    /// The client, to build requests with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Checks that a credential may travel to `url`.
    pub fn check(&self, url: &Url) -> Result<(), HttpError> {
        check_url(url, &self.allowed_hosts).map_err(HttpError::Forbidden)
    }

    /// Sends `request` and reads the answer to its end, within the request's own time and the
    /// call's. Waits for the request's permit first.
    pub async fn send(&self, request: Request, call: Call<'_>) -> Result<HttpResponse, HttpError> {
        self.check(request.url())?;
        let has_time = || Instant::now() + SHORTEST_CALL <= call.give_up_at;
        if !has_time() {
            return Err(HttpError::NotSentInTime);
        }
        // Held until the answer is read: the system counts the request some time before that.
        let _permit = call.permits.next().await.map_err(HttpError::NotPermitted)?;
        if !has_time() {
            return Err(HttpError::NotSentInTime);
        }
        let started = Instant::now();
        let until = call.give_up_at.min(started + self.request_timeout);
        let is_cut_short = until < started + self.request_timeout.min(LONG_SILENCE);
        let span = traces::exchange(request.method().as_str(), request.url());
        let exchange = self.exchange(request).instrument(span.clone());
        let answer = timeout_at(until, exchange)
            .await
            .unwrap_or(Err(if is_cut_short {
                HttpError::CutByDeadline
            } else {
                HttpError::Timeout
            }));
        match &answer {
            Ok(answer) => traces::answered(&span, answer.status),
            Err(error) => traces::failed(&span, error.code()),
        }
        let failed = !matches!(&answer, Ok(answer) if answer.status < 400);
        call.meter.api_call(started.elapsed(), failed);
        answer
    }

    async fn exchange(&self, request: Request) -> Result<HttpResponse, HttpError> {
        let client = match request.url().scheme() {
            "http" => self
                .plain
                .get_or_try_init(async || plain_client())
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

/// `Bearer …` as a header's value: marked as sensitive, so that `Debug` does not show it, and wiped
/// from memory with its last copy. `None` where the token holds what no header may hold.
pub fn bearer(token: &str) -> Option<HeaderValue> {
    let text = Zeroizing::new([b"Bearer ", token.as_bytes()].concat());
    let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Whether a credential may travel to `url`: its parsed host equals an allowed one or lies below
/// one, and plain `http` goes to loopback only.
///
/// # Errors
/// A sentence that says what is wrong and what would be allowed.
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
    fn a_token_is_in_no_debug_output() {
        let header = bearer("t-1").expect("a header");
        assert_eq!(header.as_bytes(), b"Bearer t-1");
        assert!(!format!("{header:?}").contains("t-1"));
        assert!(bearer("t\n1").is_none());
    }

    #[tokio::test]
    async fn a_request_that_cannot_end_in_time_is_not_sent() {
        let http = Http::new(
            client().expect("a client"),
            vec!["127.0.0.1".to_owned()],
            Duration::from_secs(1),
        );
        let request = http
            .client()
            .get("http://127.0.0.1:9/")
            .build()
            .expect("a request");
        let meter = crate::telemetry::DestinationMetrics::default();
        let call = Call {
            give_up_at: Instant::now() + SHORTEST_CALL / 2,
            meter: &meter,
            permits: &Unlimited,
            dry_run: false,
        };
        assert!(matches!(
            http.send(request, call).await,
            Err(HttpError::NotSentInTime)
        ));
        assert_eq!(meter.api_calls(), 0);
    }

    #[tokio::test]
    async fn a_request_that_the_deadline_cuts_short_says_nothing_of_the_system() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let meter = crate::telemetry::DestinationMetrics::default();
        for (timeout, code) in [
            (Duration::from_mins(1), "CUT_BY_DEADLINE"),
            (SHORTEST_CALL, "TIMEOUT"),
        ] {
            let http = Http::new(
                client().expect("a client"),
                vec!["127.0.0.1".to_owned()],
                timeout,
            );
            let request = http.client().get(&url).build().expect("a request");
            let give_up_at = Instant::now() + SHORTEST_CALL + Duration::from_millis(200);
            let call = Call {
                give_up_at,
                meter: &meter,
                permits: &Unlimited,
                dry_run: false,
            };
            let error = http.send(request, call).await.expect_err("nobody answers");
            assert_eq!(error.code().as_str(), code);
        }
        assert_eq!(meter.api_calls(), 2);
    }

    #[test]
    fn credentials_go_to_allowed_hosts_only() {
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
            let verdict = url
                .as_ref()
                .is_ok_and(|url| check_url(url, &allowed).is_ok());
            assert_eq!(verdict, expected, "{url:?}");
        }
    }
}
