//! Names to addresses, by the system's resolver.
//!
//! Both families are asked at once, so that a resolver that swallows one kind of question does not hide the answer to
//! the other (RFC 8305). A resolver that fails for a moment does not matter: the last good answer stands in for a
//! minute.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dns_lookup::{AddrFamily, AddrInfoHints, SockType};
use parking_lot::Mutex;
use taut_core::Clock as _;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::DialFault;
use super::last_good::LastGood;
use crate::clock::BootClock;

/// Most names looked up at once, two questions each. Each question holds a thread of the runtime's blocking pool, even
/// after its caller's deadline, and a dead resolver must not take them all.
const LOOKUPS_MAX: usize = 32;

/// How long the second family's answer is waited for once the first has one (RFC 8305).
const SECOND_FAMILY: Duration = Duration::from_millis(50);

/// Asks the system's resolver.
#[derive(Debug)]
pub(super) struct Resolver {
    lookups: Arc<Semaphore>,
    last_good: Mutex<LastGood>,
}

impl Resolver {
    pub(super) fn new() -> Self {
        Self { lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)), last_good: Mutex::default() }
    }

    /// The addresses of a host, IPv6 first. Waits while too many lookups are under way; `limit` bounds all of it.
    pub(super) async fn resolve(
        &self,
        host: &str,
        port: u16,
        limit: Duration,
    ) -> Result<Vec<SocketAddr>, DialFault> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let asked = timeout(limit, self.ask(host)).await.unwrap_or(Err(DialFault::Timeout { limit }));
        let addresses = match asked {
            Ok(addresses) => {
                self.last_good.lock().note(BootClock.now(), host, &addresses);
                addresses
            }
            Err(fault) => {
                let known = self.last_good.lock().get(BootClock.now(), host);
                let known = known.ok_or_else(|| fault.clone())?;
                tracing::debug!(host, %fault, "the resolver failed; its last good answer is used");
                known
            }
        };
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    async fn ask(&self, host: &str) -> Result<Vec<IpAddr>, DialFault> {
        let permit = Arc::new(Arc::clone(&self.lookups).acquire_owned().await.expect("never closed"));
        let question = |family| {
            let (host, permit) = (host.to_owned(), Arc::clone(&permit));
            // The permit lives as long as both questions, not as their caller.
            let asked = tokio::task::spawn_blocking(move || {
                let found = addresses(&host, family);
                drop(permit);
                found
            });
            async { asked.await.unwrap_or_else(|error| Err(io::Error::other(error))) }
        };
        let (v6, v4) = (question(AddrFamily::Inet6), question(AddrFamily::Inet));
        tokio::pin!(v6, v4);
        let (first, second) = tokio::select! {
            first = &mut v6 => {
                let patience = if first.is_ok() { SECOND_FAMILY } else { Duration::MAX };
                (first, timeout(patience, v4).await.ok())
            }
            first = &mut v4 => {
                let patience = if first.is_ok() { SECOND_FAMILY } else { Duration::MAX };
                let second = timeout(patience, v6).await.ok();
                // IPv6 goes first where both are there.
                match second {
                    Some(second) => (second, Some(first)),
                    None => (first, None),
                }
            }
        };
        joined(first, second)
    }
}

/// What both answers come to.
fn joined(
    first: io::Result<Vec<IpAddr>>,
    second: Option<io::Result<Vec<IpAddr>>>,
) -> Result<Vec<IpAddr>, DialFault> {
    let mut failure = None;
    let mut all = Vec::new();
    for answer in [Some(first), second].into_iter().flatten() {
        match answer {
            Ok(addresses) => all.extend(addresses),
            Err(error) => failure = Some(error.to_string()),
        }
    }
    if all.is_empty() {
        let text = failure.unwrap_or_else(|| "it has no address".into());
        return Err(DialFault::Name { text });
    }
    Ok(all)
}

/// The addresses of one family. Blocks.
fn addresses(host: &str, family: AddrFamily) -> io::Result<Vec<IpAddr>> {
    let hints = AddrInfoHints {
        address: family.into(),
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = dns_lookup::getaddrinfo(Some(host), None, Some(hints)).map_err(io::Error::from)?;
    found.map(|info| info.map(|info| info.sockaddr.ip())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn lookup_gives_its_place_back() {
        let resolver = Resolver { lookups: Arc::new(Semaphore::new(1)), last_good: Mutex::default() };
        for _ in 0..2 {
            let found = resolver.resolve("localhost", 80, LIMIT).await.expect("every host knows itself");
            assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
        }
    }

    #[tokio::test]
    async fn literal_address_needs_no_resolver() {
        let resolver = Resolver { lookups: Arc::new(Semaphore::new(0)), last_good: Mutex::default() };
        let at = |text: &str| Ok(vec![text.parse::<SocketAddr>().expect("an address")]);
        assert_eq!(resolver.resolve("192.0.2.1", 443, LIMIT).await, at("192.0.2.1:443"));
        assert_eq!(resolver.resolve("2001:db8::1", 443, LIMIT).await, at("[2001:db8::1]:443"));
    }

    #[tokio::test]
    async fn last_good_answer_stands_in_while_the_resolver_is_stuck() {
        let resolver = Resolver::new();
        let known: Vec<IpAddr> = vec!["192.0.2.1".parse().expect("an address")];
        resolver.last_good.lock().note(BootClock.now(), "slack.invalid", &known);
        let found = resolver.resolve("slack.invalid", 443, LIMIT).await;
        assert_eq!(found, Ok(vec!["192.0.2.1:443".parse().expect("an address")]));

        let stuck = Resolver { lookups: Arc::new(Semaphore::new(0)), last_good: Mutex::default() };
        let limit = Duration::from_millis(50);
        assert_eq!(stuck.resolve("slack.com", 443, limit).await, Err(DialFault::Timeout { limit }));
        stuck.last_good.lock().note(BootClock.now(), "slack.com", &known);
        assert!(stuck.resolve("slack.com", 443, limit).await.is_ok());
    }

    #[test]
    fn one_family_is_enough_and_two_failures_are_named() {
        let (six, four): (IpAddr, IpAddr) =
            ("2001:db8::1".parse().expect("an address"), "192.0.2.1".parse().expect("an address"));
        let failed = || Err(io::Error::other("no such name"));
        assert_eq!(joined(Ok(vec![six]), Some(Ok(vec![four]))), Ok(vec![six, four]));
        assert_eq!(joined(failed(), Some(Ok(vec![four]))), Ok(vec![four]));
        assert_eq!(joined(Ok(vec![six]), None), Ok(vec![six]));
        let name = |text: &str| Err(DialFault::Name { text: text.into() });
        assert_eq!(joined(failed(), Some(failed())), name("no such name"));
        assert_eq!(joined(Ok(Vec::new()), Some(Ok(Vec::new()))), name("it has no address"));
    }
}
