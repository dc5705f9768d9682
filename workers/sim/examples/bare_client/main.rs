//! A bare Socket Mode client on tokio-tungstenite: it opens, reads and acks, and nothing else.
//!
//! The yardstick of the benches (docs/benchmarks.md): the least a client on this library can cost. It stores nothing,
//! forgets nothing twice, reconnects never, and finds the envelope's id by searching the text. One thread.
//!
//! ```text
//! bare_client --api-url http://127.0.0.1:9470/api/ --apps 100 [--batch] [--ca-file FILE]
//! bare_client … --store FILE --handler URL --signing-secret TEXT
//! ```
//! Tokens are those of [`AppSpec::numbered`], from 1. On SIGTERM it prints how many envelopes it acked.

mod way;

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use clap::Parser;
use futures::{FutureExt, SinkExt, StreamExt};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use taut_sim::AppSpec;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};
use way::Way;

type Failure = Box<dyn Error + Send + Sync>;

/// A bare read-and-ack loop over many apps
#[derive(Debug, Parser)]
struct Args {
    /// The Web API to open sockets at
    #[arg(long)]
    api_url: Uri,
    /// How many apps of `AppSpec::numbered` to serve
    #[arg(long)]
    apps: u32,
    /// Write the acks of everything read at once together, not each by itself
    #[arg(long)]
    batch: bool,
    /// Certificate authority (PEM), for https and wss
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// Write each event to this file and sync it before its ack, and post it to the handler after
    #[arg(long, requires = "handler", conflicts_with = "batch")]
    store: Option<PathBuf>,
    /// Where events are posted to, over one kept connection
    #[arg(long, requires = "store")]
    handler: Option<Uri>,
    /// What posts are signed with
    #[arg(long, default_value = "")]
    signing_secret: String,
}

/// What events are acked by, shared by all sockets.
#[derive(Clone)]
struct Acker {
    batch: bool,
    acked: Rc<Cell<u64>>,
    way: Option<Rc<RefCell<Way>>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let tls = args.ca_file.as_deref().map(connector).transpose()?;
    let way = match (&args.store, &args.handler) {
        (Some(file), Some(handler)) => {
            Some(Rc::new(RefCell::new(Way::new(file, handler, &args.signing_secret)?)))
        }
        (Some(_) | None, None) | (None, Some(_)) => None,
    };
    let acker = Acker { batch: args.batch, acked: Rc::default(), way };
    let mut terminate = signal(SignalKind::terminate())?;
    let sockets = tokio::task::LocalSet::new();
    let serving = async {
        for number in 1..=args.apps {
            attach(&args, &AppSpec::numbered(number).app_token, tls.as_ref(), &acker).await?;
        }
        terminate.recv().await;
        Ok::<_, Failure>(())
    };
    Box::pin(sockets.run_until(serving)).await?;
    println!("{}", acker.acked.get());
    Ok(())
}

/// Opens one app's socket and leaves it to its task.
async fn attach(args: &Args, token: &str, tls: Option<&TlsConnector>, acker: &Acker) -> Result<(), Failure> {
    let url = open(&args.api_url, token, tls).await?;
    let tcp = connect(&url).await?;
    let acker = acker.clone();
    match tls {
        None => {
            let (socket, _) = tokio_tungstenite::client_async(url, tcp).await?;
            tokio::task::spawn_local(serve(socket, acker));
        }
        Some(tls) => {
            let stream = tls.connect(server_name(&url)?, tcp).await?;
            let (socket, _) = tokio_tungstenite::client_async(url, stream).await?;
            tokio::task::spawn_local(serve(socket, acker));
        }
    }
    Ok(())
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(socket: WebSocketStream<S>, acker: Acker) {
    let Acker { batch, acked, way } = acker;
    let end = match way {
        Some(way) => whole_way(socket, &acked, &way).await,
        None if batch => batched(socket, &acked).await,
        None => one_by_one(socket, &acked).await,
    };
    if let Err(error) = end {
        eprintln!("a socket ended: {error}");
    }
}

/// One write for each ack.
async fn one_by_one<S>(mut socket: WebSocketStream<S>, acked: &Cell<u64>) -> tungstenite::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = socket.next().await {
        if let Some(ack) = ack_of(&message?) {
            socket.send(ack).await?;
            acked.set(acked.get() + 1);
        }
    }
    Ok(())
}

/// Stores, acks and posts each event before the next is looked at.
async fn whole_way<S>(
    mut socket: WebSocketStream<S>,
    acked: &Cell<u64>,
    way: &RefCell<Way>,
) -> tungstenite::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = socket.next().await {
        let message = message?;
        let (Some(ack), Message::Text(frame)) = (ack_of(&message), &message) else { continue };
        way.borrow_mut().store(frame.as_bytes())?;
        socket.send(ack).await?;
        acked.set(acked.get() + 1);
        way.borrow_mut().deliver(frame.as_bytes())?;
    }
    Ok(())
}

/// One write for the acks of everything that was there to read.
async fn batched<S>(mut socket: WebSocketStream<S>, acked: &Cell<u64>) -> tungstenite::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(first) = socket.next().await {
        let mut message = first?;
        loop {
            if let Some(ack) = ack_of(&message) {
                socket.feed(ack).await?;
                acked.set(acked.get() + 1);
            }
            match socket.next().now_or_never().flatten() {
                Some(more) => message = more?,
                None => break,
            }
        }
        socket.flush().await?;
    }
    Ok(())
}

/// The ack of an envelope; none for hello and control frames.
fn ack_of(message: &Message) -> Option<Message> {
    const KEY: &str = "\"envelope_id\":\"";
    let Message::Text(text) = message else { return None };
    let id = &text[text.find(KEY)? + KEY.len()..];
    let id = &id[..id.find('"')?];
    Some(Message::text(format!("{{\"envelope_id\":\"{id}\"}}")))
}

/// `apps.connections.open`: the URL of a socket.
async fn open(api: &Uri, token: &str, tls: Option<&TlsConnector>) -> Result<Uri, Failure> {
    let tcp = connect(api).await?;
    match tls {
        None => ask(tcp, api, token).await,
        Some(tls) => ask(tls.connect(server_name(api)?, tcp).await?, api, token).await,
    }
}

async fn ask<S>(stream: S, api: &Uri, token: &str) -> Result<Uri, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post(format!("{}apps.connections.open", api.path()))
        .header("host", api.authority().ok_or("the api url has no host")?.as_str())
        .header("authorization", format!("Bearer {token}"))
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        Ok::<_, Failure>(sender.send_request(request).await?.into_body().collect().await?.to_bytes())
    };
    tokio::pin!(connection);
    let body = tokio::select! {
        answer = answer => answer?,
        end = &mut connection => return Err(end.err().map_or("the connection ended".into(), Into::into)),
    };
    let body: Value = serde_json::from_slice(&body)?;
    Ok(body["url"].as_str().ok_or_else(|| format!("no url in {body}"))?.parse()?)
}

async fn connect(url: &Uri) -> Result<TcpStream, Failure> {
    let authority = url.authority().ok_or("the url has no host")?;
    let tcp = TcpStream::connect(authority.as_str()).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

fn server_name(url: &Uri) -> Result<ServerName<'static>, Failure> {
    Ok(ServerName::try_from(url.host().ok_or("the url has no host")?.to_owned())?)
}

fn connector(ca_file: &Path) -> Result<TlsConnector, Failure> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
