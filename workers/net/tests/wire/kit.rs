//! Local servers, scripted by the tests.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use taut_core::config::{Deadlines, NetworkConfig, Span};
use taut_net::dial::{Dialer, Endpoint};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A server, and how many connections it has had.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Serves each connection with `script`.
    pub(crate) async fn start<F>(script: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let at = listener.local_addr().expect("its address");
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(script(tcp));
            }
        });
        Self { at, connections }
    }

    /// Answers each connection's first request with these bytes, then closes.
    pub(crate) async fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<Vec<u8>> = Arc::new(answer.into());
        Self::start(move |mut tcp| {
            let answer = answer.clone();
            async move {
                head(&mut tcp).await;
                // The client may have gone: its verdict is what the tests look at.
                drop(tokio::io::AsyncWriteExt::write_all(&mut tcp, &answer).await);
            }
        })
        .await
    }

    /// Takes connections and says nothing.
    pub(crate) async fn silent() -> Self {
        Self::start(|tcp| async move {
            std::future::pending::<()>().await;
            drop(tcp);
        })
        .await
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn endpoint(&self, tls: bool) -> Endpoint {
        Endpoint { host: self.at.ip().to_string(), port: self.at.port(), tls }
    }
}

/// Reads up to the empty line of a request's head.
pub(crate) async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(bytes).expect("a head of text")
}

/// A configuration whose steps all have this deadline.
pub(crate) fn network(limit: Duration) -> NetworkConfig {
    let span = Span(limit);
    let deadlines = Deadlines { dns: span, tcp: span, connect: span, tls: span, upgrade: span, call: span };
    NetworkConfig { deadlines, ..NetworkConfig::default() }
}

pub(crate) fn dialer() -> Dialer {
    Dialer::new(&network(Duration::from_secs(10)), None).expect("a dialer")
}

/// A private CA in a file, and a server's side of TLS with a certificate of it.
pub(crate) struct PrivateCa {
    dir: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl PrivateCa {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, "Corp Inspection Root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a certificate");
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("corp.pem"), root.pem()).expect("written");
        Self { dir, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("corp.pem")
    }

    pub(crate) fn acceptor(&self, name: &str) -> TlsAcceptor {
        self.acceptor_with(&CertificateParams::new(vec![name.to_owned()]).expect("parameters"))
    }

    pub(crate) fn acceptor_with(&self, params: &CertificateParams) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate");
        acceptor_of(leaf.der(), &key)
    }

    /// A dialer that trusts this CA.
    pub(crate) fn dialer(&self) -> Dialer {
        let config = NetworkConfig { ca_files: vec![self.file()], ..network(Duration::from_secs(10)) };
        Dialer::new(&config, None).expect("a dialer")
    }
}

/// A server's side of TLS with a certificate that nobody else signed.
pub(crate) fn self_signed(name: &str) -> TlsAcceptor {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    params.distinguished_name.push(DnType::CommonName, "A server on its own");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    acceptor_of(certificate.der(), &key)
}

fn acceptor_of(certificate: &CertificateDer<'_>, key: &KeyPair) -> TlsAcceptor {
    let chain = vec![certificate.clone().into_owned()];
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key.into())
        .expect("a certificate and its key");
    TlsAcceptor::from(Arc::new(config))
}
