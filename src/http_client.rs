//! The HTTP clients of the process, and how they are configured.

use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

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
