//! A CONNECT proxy that behaves as a test orders, and a listener that stands where nobody should come.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How a proxy answers CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Opens the tunnel.
    Tunnel,
    /// Says this and closes.
    Say(&'static str),
    /// Opens the tunnel, and says this in place of what comes through it.
    TunnelTo(&'static str),
    /// Takes the request and says nothing.
    Hang,
    /// A byte of a good answer now and then.
    Drip,
    /// Closes without a word; open tunnels end.
    Close,
}

/// A running proxy. Whatever target it is asked for, its tunnels lead to one address.
#[derive(Clone)]
pub struct ConnectProxy {
    pub at: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    manner: watch::Sender<Manner>,
}

struct Rules {
    onward: SocketAddr,
    /// The `Proxy-Authorization` it wants.
    wanted: Option<&'static str>,
    asked: Arc<Mutex<Vec<String>>>,
    manner: watch::Receiver<Manner>,
}

impl ConnectProxy {
    /// A proxy whose tunnels lead to `onward`.
    pub async fn to(onward: SocketAddr, manner: Manner) -> Self {
        Self::start(onward, manner, None).await
    }

    /// A proxy that opens tunnels for whoever sends this `Proxy-Authorization`.
    pub async fn wanting(authorization: &'static str, onward: SocketAddr) -> Self {
        Self::start(onward, Manner::Tunnel, Some(authorization)).await
    }

    async fn start(onward: SocketAddr, manner: Manner, wanted: Option<&'static str>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let at = listener.local_addr().expect("its address");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (manner, changes) = watch::channel(manner);
        let rules = Arc::new(Rules { onward, wanted, asked: Arc::clone(&asked), manner: changes });
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let rules = Arc::clone(&rules);
                // A client that goes away ends its own connection alone.
                tokio::spawn(async move { drop(rules.serve(tcp).await) });
            }
        });
        Self { at, asked, manner }
    }

    /// Behaves like this from now on; tunnels that are open end unless it still tunnels.
    pub fn behave(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// The targets it was asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

impl Rules {
    async fn serve(&self, mut tcp: TcpStream) -> std::io::Result<()> {
        const OPEN: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
        let head = head(&mut tcp).await?;
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        assert!(head.starts_with("CONNECT "), "only CONNECT is asked of a proxy: {head}");
        self.asked.lock().expect("no panic").push(target);
        let authorized =
            self.wanted.is_none_or(|wanted| head.contains(&format!("\r\nProxy-Authorization: {wanted}\r\n")));
        let mut manner = self.manner.clone();
        let how = *manner.borrow_and_update();
        match how {
            _ if !authorized => {
                tcp.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"corp\"\r\n\r\n").await
            }
            Manner::Say(answer) => tcp.write_all(answer.as_bytes()).await,
            Manner::TunnelTo(answer) => {
                tcp.write_all(OPEN).await?;
                // What a client sends first is a handshake.
                tcp.read_u8().await?;
                tcp.write_all(answer.as_bytes()).await
            }
            Manner::Close => Ok(()),
            Manner::Hang => {
                another(&mut manner, how).await;
                Ok(())
            }
            Manner::Drip => {
                for byte in OPEN {
                    tcp.write_all(&[*byte]).await?;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Ok(())
            }
            Manner::Tunnel => {
                tcp.write_all(OPEN).await?;
                let mut onward = TcpStream::connect(self.onward).await?;
                tokio::select! {
                    copied = tokio::io::copy_bidirectional(&mut tcp, &mut onward) => copied.map(drop),
                    () = another(&mut manner, how) => Ok(()),
                }
            }
        }
    }
}

/// Waits until the proxy behaves in another way; for ever, if nobody can tell it to.
async fn another(manner: &mut watch::Receiver<Manner>, than: Manner) {
    if manner.wait_for(|manner| *manner != than).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn head(tcp: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(tcp.read_u8().await?);
    }
    Ok(String::from_utf8(bytes).expect("a head of text"))
}

/// A listener that stands where Slack is said to be, and counts who comes directly.
pub struct Decoy {
    pub at: SocketAddr,
    came: Arc<AtomicUsize>,
}

impl Decoy {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let at = listener.local_addr().expect("its address");
        let came = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&came);
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((tcp, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                held.push(tcp);
            }
        });
        Self { at, came }
    }

    /// How many connections came directly.
    pub fn came(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }
}
