//! Addresses to a TCP connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::DialFault;

/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Head start of one address before the next is tried beside it (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

/// Silence after which the kernel probes an idle connection, and the pause between probes.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));

/// How long sent bytes may stay unacknowledged by the peer's kernel before the connection is dead.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Connects to the first address that answers: families take turns, eight addresses at most.
pub(super) async fn connect(addresses: Vec<SocketAddr>) -> Result<TcpStream, DialFault> {
    let tcp = first_to_answer(in_turns(addresses)).await?;
    let socket = SockRef::from(&tcp);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(tcp)
}

async fn first_to_answer(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut under_way = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no address");
    loop {
        match waiting.next() {
            Some(address) => under_way.push(TcpStream::connect(address)),
            None if under_way.is_empty() => return Err(failure),
            None => {}
        }
        let more = waiting.len() > 0;
        tokio::select! {
            biased;
            Some(done) = under_way.next() => match done {
                Ok(tcp) => return Ok(tcp),
                Err(error) => failure = error,
            },
            () = tokio::time::sleep(HEAD_START), if more => {}
        }
    }
}

/// Keeps the resolver's order within each family and lets the families alternate.
fn in_turns(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = Vec::new();
    while turns.len() < ADDRESSES_MAX {
        let before = turns.len();
        turns.extend(first.next());
        turns.extend(second.next());
        if turns.len() == before {
            break;
        }
    }
    turns.truncate(ADDRESSES_MAX);
    turns
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn families_alternate_and_order_is_kept() {
        let found = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"].map(at);
        let turns = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"].map(at);
        assert_eq!(in_turns(found.to_vec()), turns);
        assert_eq!(in_turns(vec![at("1.1.1.1:1"); 50]).len(), ADDRESSES_MAX);
        assert_eq!(in_turns(Vec::new()), Vec::new());
    }

    #[tokio::test]
    async fn dead_address_does_not_hide_a_live_one() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let live = listener.local_addr().expect("its address");
        // Nothing listens on the other one: refused at once, so the live one follows at once.
        let dead = at("127.0.0.1:1");
        let tcp = connect(vec![dead, live]).await.expect("connected");
        assert_eq!(tcp.peer_addr().expect("a peer"), live);
        assert!(tcp.nodelay().expect("readable"));
    }

    #[tokio::test]
    async fn refused_everywhere_is_refused() {
        assert_eq!(connect(vec![at("127.0.0.1:1")]).await.expect_err("refused"), DialFault::Refused);
    }

    #[tokio::test]
    async fn address_that_never_answers_costs_its_head_start_alone() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let live = listener.local_addr().expect("its address");
        // Reserved for documentation (RFC 5737): nobody answers, or there is no route at all.
        let tcp = connect(vec![at("192.0.2.1:9"), live]).await.expect("connected");
        assert_eq!(tcp.peer_addr().expect("a peer"), live);
    }
}
