//! A TCP proxy that misbehaves on order, between taut and whatever it dials: the simulated Slack, or a handler.
//!
//! ```text
//!  taut ──────► up ──────► simulated Slack, or a handler
//!       ◄────── down ◄────
//! ```
//! Each direction has a [`Flow`]: how bytes go. A change concerns open connections at once, and later ones. What
//! concerns connections as a whole is an order of its own: [`FaultProxy::reset`], [`FaultProxy::end`],
//! [`FaultProxy::half_open`]. What happens to new ones is [`Door`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Bytes taken from one side at once.
const CHUNK_BYTES: usize = 16 << 10;
/// Kernel buffers of the proxy's ends, in bytes: small, so that a peer that is not read from soon notices.
const KERNEL_BYTES: u32 = 8 << 10;
/// Texts of [`FaultProxy::inject`] that wait.
const INJECTIONS_MAX: usize = 16;

/// How bytes go in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// As they come.
    Through,
    /// Each chunk of what has come waits so long, and what comes meanwhile is the next chunk: no more than a kernel's
    /// buffer goes through in that time.
    Late(Duration),
    /// So many bytes, then a pause.
    Dribble { bytes: usize, every: Duration },
    /// Nothing is read: the sender's writes succeed until the kernel's buffers are full. No FIN, no reset passes.
    Stall,
    /// Everything is read and nothing arrives.
    Swallow,
    /// After so many bytes of each connection, it is reset.
    CutAfter(usize),
}

/// What happens to a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// It is joined to upstream.
    Open,
    /// It is accepted, and nothing ever comes.
    Hang,
    /// It is reset as soon as it is accepted.
    Refuse,
}

/// A change to connections that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    None,
    Reset,
    End,
    Freeze,
}

/// A running proxy. Its connections end with it.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    upstream: watch::Sender<Option<SocketAddr>>,
    up: watch::Sender<Flow>,
    down: watch::Sender<Flow>,
    door: watch::Sender<Door>,
    order: watch::Sender<Order>,
    injections: parking_lot::Mutex<Vec<mpsc::Sender<Vec<u8>>>>,
    accepted: AtomicUsize,
    open: AtomicUsize,
}

impl FaultProxy {
    /// A proxy that lets everything through, on a port of its own; it holds connections until it knows where to.
    /// Needs a runtime.
    pub fn start() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(KERNEL_BYTES).expect("a small buffer");
        socket.set_reuseaddr(true).expect("a reusable address");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let listener = socket.listen(1024).expect("it listens");
        let shared = Arc::new(Shared {
            upstream: watch::Sender::new(None),
            up: watch::Sender::new(Flow::Through),
            down: watch::Sender::new(Flow::Through),
            door: watch::Sender::new(Door::Open),
            order: watch::Sender::new(Order::None),
            injections: parking_lot::Mutex::default(),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let address = listener.local_addr().expect("it is bound");
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, tasks }
    }

    /// A proxy in front of an address that is known.
    pub fn before(upstream: SocketAddr) -> Self {
        let proxy = Self::start();
        proxy.forward_to(upstream);
        proxy
    }

    /// Where connections go from here on; those that wait go now.
    pub fn forward_to(&self, upstream: SocketAddr) {
        self.shared.upstream.send_replace(Some(upstream));
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How bytes from taut go.
    pub fn up(&self, flow: Flow) {
        self.shared.up.send_replace(flow);
    }

    /// How bytes to taut go.
    pub fn down(&self, flow: Flow) {
        self.shared.down.send_replace(flow);
    }

    /// How bytes go, both ways.
    pub fn both(&self, flow: Flow) {
        self.up(flow);
        self.down(flow);
    }

    /// What happens to new connections.
    pub fn door(&self, door: Door) {
        self.shared.door.send_replace(door);
    }

    /// Resets every open connection, on both sides.
    pub fn reset(&self) {
        self.shared.order.send_replace(Order::Reset);
    }

    /// Ends every open connection with a FIN on both sides.
    pub fn end(&self) {
        self.shared.order.send_replace(Order::End);
    }

    /// Every open connection is half-open for good: nothing flows, and nobody is told. New ones work.
    pub fn half_open(&self) {
        self.shared.order.send_replace(Order::Freeze);
    }

    /// Writes these bytes to taut on every open connection, between what upstream sends. On a quiet WebSocket that is
    /// a frame boundary.
    pub async fn inject(&self, bytes: Vec<u8>) {
        let senders = self.shared.injections.lock().clone();
        for sender in senders {
            // A connection that has ended takes nothing.
            let _gone = sender.send(bytes.clone()).await;
        }
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.shared.open.load(Relaxed)
    }

    /// Ends the listener: connecting is refused by the kernel. Open connections end too.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        shared.accepted.fetch_add(1, Relaxed);
        let door = *shared.door.borrow();
        match door {
            Door::Open => drop(connections.spawn(serve(client, Arc::clone(&shared)))),
            Door::Hang => drop(connections.spawn(async move {
                std::future::pending::<()>().await;
                drop(client);
            })),
            Door::Refuse => client.set_zero_linger().expect("a live socket"),
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let mut order = shared.order.subscribe();
    order.mark_unchanged();
    let upstream = shared.upstream.subscribe().wait_for(Option::is_some).await.ok().and_then(|known| *known);
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(KERNEL_BYTES).expect("a small buffer");
    let Ok(server) = socket.connect(upstream.expect("it was waited for")).await else {
        client.set_zero_linger().expect("a live socket");
        return;
    };
    shared.open.fetch_add(1, Relaxed);
    let (injections, injected) = mpsc::channel(INJECTIONS_MAX);
    shared.injections.lock().push(injections);
    relay(client, server, &shared, order, injected).await;
    shared.injections.lock().retain(|sender| !sender.is_closed());
    shared.open.fetch_sub(1, Relaxed);
}

/// How a connection ends for both sides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Fin,
    Reset,
}

async fn relay(
    client: TcpStream,
    server: TcpStream,
    shared: &Shared,
    mut order: watch::Receiver<Order>,
    injected: mpsc::Receiver<Vec<u8>>,
) {
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let (mut one, mut other) = (Pump::new(from_client, to_server), Pump::new(from_server, to_client));
    let none = mpsc::channel(1).1;
    let end = {
        let up = one.run(shared.up.subscribe(), none);
        let down = other.run(shared.down.subscribe(), injected);
        tokio::pin!(up, down);
        let (mut up_done, mut down_done) = (false, false);
        loop {
            tokio::select! {
                biased;
                Ok(()) = order.changed() => {
                    let ordered = *order.borrow_and_update();
                    match ordered {
                        Order::None => {}
                        Order::End => break End::Fin,
                        Order::Reset => break End::Reset,
                        Order::Freeze => std::future::pending().await,
                    }
                }
                end = &mut up, if !up_done => match end {
                    End::Reset => break End::Reset,
                    End::Fin if down_done => break End::Fin,
                    End::Fin => up_done = true,
                },
                end = &mut down, if !down_done => match end {
                    End::Reset => break End::Reset,
                    End::Fin if up_done => break End::Fin,
                    End::Fin => down_done = true,
                },
            }
        }
    };
    if end == End::Reset {
        let client = one.from.reunite(other.to).expect("two halves of one");
        let server = other.from.reunite(one.to).expect("two halves of one");
        for stream in [client, server] {
            stream.set_zero_linger().expect("a live socket");
        }
    }
}

/// One direction of one connection.
struct Pump {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    buffer: Vec<u8>,
    passed: usize,
}

impl Pump {
    fn new(from: OwnedReadHalf, to: OwnedWriteHalf) -> Self {
        Self { from, to, buffer: vec![0; CHUNK_BYTES], passed: 0 }
    }

    /// Runs until one side has ended: an end of stream is passed on, a reset ends both.
    async fn run(&mut self, mut flow: watch::Receiver<Flow>, mut injected: mpsc::Receiver<Vec<u8>>) -> End {
        loop {
            let now = *flow.borrow_and_update();
            let most = match now {
                Flow::Stall => {
                    if flow.changed().await.is_err() {
                        return End::Fin;
                    }
                    continue;
                }
                Flow::Dribble { bytes, .. } => bytes.clamp(1, CHUNK_BYTES),
                Flow::Through | Flow::Late(_) | Flow::Swallow | Flow::CutAfter(_) => CHUNK_BYTES,
            };
            let read = tokio::select! {
                biased;
                changed = flow.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return End::Fin,
                },
                Some(bytes) = injected.recv() => match self.to.write_all(&bytes).await {
                    Ok(()) => continue,
                    Err(_) => return End::Reset,
                },
                read = self.from.read(&mut self.buffer[..most]) => read,
            };
            let count = match read {
                Ok(0) => {
                    // The other side may have gone first.
                    let _gone = self.to.shutdown().await;
                    return End::Fin;
                }
                Ok(count) => count,
                Err(_) => return End::Reset,
            };
            if let Some(end) = self.pass(now, count).await {
                return end;
            }
        }
    }

    async fn pass(&mut self, flow: Flow, count: usize) -> Option<End> {
        let mut wanted = count;
        match flow {
            Flow::Swallow => return None,
            Flow::Late(span) => sleep(span).await,
            Flow::Dribble { every, .. } => sleep(every).await,
            Flow::CutAfter(most) => wanted = count.min(most.saturating_sub(self.passed)),
            Flow::Through | Flow::Stall => {}
        }
        self.passed += wanted;
        let written = self.to.write_all(&self.buffer[..wanted]).await;
        if wanted < count {
            // What was written should arrive before the reset that follows.
            sleep(Duration::from_millis(50)).await;
        }
        (written.is_err() || wanted < count).then_some(End::Reset)
    }
}
