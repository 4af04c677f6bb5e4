//! TLS in front of a server on loopback, by an authority of the test's own. It counts handshakes.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::NamedTempFile;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Authority whose certificates only a process trusts that has its file.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: NamedTempFile,
}

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let mut file = NamedTempFile::new().expect("a file");
        file.write_all(issuer.pem().as_bytes()).expect("written");
        Self { issuer, file }
    }
}

impl Authority {
    /// Returns the file of the authority's certificate, in PEM form.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Serves TLS on a free port of loopback, and passes the content to `target`.
    pub async fn front(&self, target: SocketAddr) -> TlsFront {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a configuration");
        TlsFront::start(TlsAcceptor::from(Arc::new(config)), target).await
    }
}

/// Running TLS server. It stops when it is dropped.
#[derive(Debug)]
pub struct TlsFront {
    pub url: String,
    handshakes: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

impl TlsFront {
    async fn start(acceptor: TlsAcceptor, target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let handshakes = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&handshakes);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                count.fetch_add(1, Relaxed);
                connections.spawn(pass(acceptor.clone(), stream, target));
                while connections.try_join_next().is_some() {}
            }
        })
        .abort_handle();
        Self {
            url: format!("https://{address}"),
            handshakes,
            accepting,
        }
    }

    /// Returns the number of handshakes so far, complete or not.
    pub fn handshakes(&self) -> usize {
        self.handshakes.load(Relaxed)
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Passes the content of one connection on. An error ends the connection alone.
async fn pass(acceptor: TlsAcceptor, stream: TcpStream, target: SocketAddr) {
    // Without it, the answer's body waits for an acknowledgement that the client delays by 40 ms.
    let _ = stream.set_nodelay(true);
    let Ok(mut outside) = acceptor.accept(stream).await else {
        return;
    };
    let Ok(mut inside) = TcpStream::connect(target).await else {
        return;
    };
    let _ = inside.set_nodelay(true);
    let _ = copy_bidirectional(&mut outside, &mut inside).await;
}
