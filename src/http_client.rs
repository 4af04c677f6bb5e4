//! The HTTP clients of the process, and how they are configured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder};
use serde::{Deserialize, Serialize};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// Root certificates that are trusted beside the public ones, as a proxy that inspects TLS needs.
#[derive(Clone, Debug, Default)]
pub struct ExtraRoots {
    certificates: Vec<Certificate>,
    pem: Vec<u8>,
}

/// The section `[tls]` of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "`defaults.toml` documents every key")]
pub struct TlsSettings {
    pub extra_ca_file: String,
}

/// The file of extra root certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExtraRootsError {
    /// The file cannot be read.
    #[error("tls.extra_ca_file: cannot read `{path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// The file holds no certificate, or one that the TLS library refuses.
    #[error("tls.extra_ca_file: `{path}` holds no valid certificates in PEM form")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The TLS library's error, if it has one.
        #[source]
        source: Option<reqwest::Error>,
    },
}

impl ExtraRoots {
    /// Reads the certificates of a PEM file. An empty path means none.
    ///
    /// # Errors
    /// Where the file cannot be read, or its content is no list of certificates.
    pub fn read(path: &Path) -> Result<Self, ExtraRootsError> {
        if path.as_os_str().is_empty() {
            return Ok(Self::default());
        }
        let pem = std::fs::read(path).map_err(|source| ExtraRootsError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let invalid = |source| ExtraRootsError::Invalid {
            path: path.to_owned(),
            source,
        };
        let certificates =
            Certificate::from_pem_bundle(&pem).map_err(|error| invalid(Some(error)))?;
        if certificates.is_empty() {
            return Err(invalid(None));
        }
        // The library parses a certificate when it builds a client.
        builder()
            .tls_certs_only(certificates.clone())
            .build()
            .map_err(|error| invalid(Some(error)))?;
        Ok(Self { certificates, pem })
    }

    /// Returns the certificates in PEM form; empty where there are none.
    #[must_use]
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }
}

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
    client_trusting(&ExtraRoots::default())
}

/// Makes a client as [`client`] does, which trusts further root certificates.
///
/// # Errors
/// Where the TLS library does not take the root certificates.
pub fn client_trusting(extra: &ExtraRoots) -> reqwest::Result<Client> {
    let mut roots = extra.certificates.clone();
    for root in TLS_SERVER_ROOT_CERTS {
        roots.push(Certificate::from_der(root)?);
    }
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
