//! How many envelopes a second the simulator can feed from one core, and what one costs it.
//!
//! ```text
//! cargo run --release -p taut-sim --example throughput -- [CONNECTIONS] [IN_FLIGHT] [SECONDS] [RATE]
//! ```
//!
//! The simulator has one thread, a bare tokio-tungstenite client that acks at once has another.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use taut_sim::{AppSpec, Load, Sim, SimConfig, Switches};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let mut next = |default| arguments.next().unwrap_or(Ok(default));
    let (connections, in_flight, seconds, rate) = (next(100)?, next(64)?, next(5)?, next(0)?);
    let rate = if rate == 0 { f64::INFINITY } else { f64::from(rate) };

    let (urls_out, urls) = std::sync::mpsc::sync_channel(1);
    let simulator = std::thread::spawn(move || simulate(connections, in_flight, seconds, rate, &urls_out));
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    client.block_on(async {
        let mut sockets = Vec::new();
        for url in urls.recv()? {
            sockets.push(tokio::spawn(ack_everything(url)));
        }
        for socket in sockets {
            socket.await??;
        }
        Ok::<_, AnyError>(())
    })?;
    simulator.join().map_err(|_| "the simulator panicked")?
}

fn simulate(
    connections: u32,
    in_flight: u32,
    seconds: u32,
    rate: f64,
    urls: &std::sync::mpsc::SyncSender<Vec<String>>,
) -> Result<(), AnyError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let switches = Switches { ticket_life: Duration::from_mins(1), ..Switches::default() };
        let sim = Sim::start(SimConfig { switches, ..SimConfig::default() }).await?;
        let apps: Vec<_> = (0..connections).map(|number| sim.add_app(AppSpec::numbered(number))).collect();
        urls.send(apps.iter().map(taut_sim::AppHandle::socket_url).collect())?;
        for app in &apps {
            if !app.wait_connected(1, Duration::from_secs(30)).await {
                return Err("a socket did not open".into());
            }
        }
        let before = thread_seconds()?;
        let time = Duration::from_secs(seconds.into());
        let load = sim.load(Load {
            rate,
            in_flight_max: in_flight as usize,
            time: Some(time),
            ..Load::default()
        });
        load.finished().await;
        let cpu = thread_seconds()? - before;
        let acked = sim.journal().totals(None).acked;
        println!(
            "{acked} envelopes acked in {seconds} s: {:.0}/s; {:.1} µs of the simulator's core each ({:.0} % busy)",
            acked as f64 / f64::from(seconds),
            cpu * 1e6 / acked as f64,
            cpu * 100.0 / f64::from(seconds),
        );
        sim.stop().await;
        Ok(())
    })
}

async fn ack_everything(url: String) -> Result<(), AnyError> {
    let uri: http::Uri = url.parse()?;
    let authority = uri.authority().ok_or("a URL with a host")?.as_str();
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let (mut socket, _) = tokio_tungstenite::client_async(&url, stream).await?;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        // The envelope id is the first field: 36 characters after `{"envelope_id":"`.
        if let Some(id) = text.strip_prefix(r#"{"envelope_id":""#).and_then(|rest| rest.get(..36))
            && socket.send(Message::text(format!(r#"{{"envelope_id":"{id}"}}"#))).await.is_err()
        {
            break;
        }
    }
    Ok(())
}

/// CPU time of this thread, from `/proc` (100 ticks a second).
fn thread_seconds() -> Result<f64, AnyError> {
    let stat = std::fs::read_to_string("/proc/thread-self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / 100.0)
}
