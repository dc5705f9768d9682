//! A dial that tells what it saw at each step: for `taut doctor`, never for traffic.

use std::net::{IpAddr, SocketAddr};

use tokio::time::Instant;

use super::{DialError, Dialer, Endpoint, Proxy, Step, Stream, Way};
use crate::tls::{Presented, Watch};

/// One step that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Which step.
    pub step: Step,
    /// The host of that step: the target's, or the proxy's.
    pub host: String,
    /// What was seen, in words.
    pub seen: String,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// What a walk to a host saw, up to the step that failed.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    /// The proxy that was used, as `host:port`.
    pub proxy: Option<String>,
    /// The steps that succeeded, in order.
    pub hops: Vec<Hop>,
    /// The certificates that the host presented, leaf first; also where they were refused.
    pub chain: Vec<Presented>,
    /// The root that vouches for them, and where it came from.
    pub trusted_by: Option<String>,
    /// The step that failed.
    pub failed: Option<DialError>,
}

impl Dialer {
    /// Walks to `target` as [`Dialer::dial`] goes, and closes the connection at its end. Sends nothing but what the
    /// steps themselves send.
    pub async fn walk(&self, target: &Endpoint, way: Way) -> Walk {
        let mut walk =
            Walk { proxy: self.proxy_for(target).filter(|_| way == Way::Outside), ..Walk::default() };
        let (config, watch) = self.shared.trust.watched();
        let walked = async {
            let stream = match self.proxy(target, way) {
                Some(proxy) => self.walk_through(&proxy, target, &mut walk).await?,
                None => self.walk_straight(target, &mut walk).await?,
            };
            if target.tls {
                let since = Instant::now();
                self.secure(Step::Tls, &target.host, stream, config).await?;
                walk.hop(Step::Tls, &target.host, since, "the certificate is trusted");
            }
            Ok(())
        };
        walk.failed = Box::pin(walked).await.err();
        walk.look_at(&watch, self);
        walk
    }

    async fn walk_straight(&self, target: &Endpoint, walk: &mut Walk) -> Result<Stream, DialError> {
        let since = Instant::now();
        let addresses = self.resolve(Step::Dns, target).await?;
        walk.named(Step::Dns, &target.host, since, &addresses);
        let since = Instant::now();
        let addresses = self.admitted(&target.host, addresses)?;
        let stream = self.connect(Step::Tcp, &target.host, addresses).await?;
        walk.hop(Step::Tcp, &target.host, since, peer(&stream));
        Ok(stream)
    }

    async fn walk_through(
        &self,
        proxy: &Proxy,
        target: &Endpoint,
        walk: &mut Walk,
    ) -> Result<Stream, DialError> {
        let host = &proxy.at.host;
        let since = Instant::now();
        let addresses = self.resolve(Step::ProxyDns, &proxy.at).await?;
        walk.named(Step::ProxyDns, host, since, &addresses);
        let since = Instant::now();
        let mut stream = self.connect(Step::ProxyTcp, host, addresses).await?;
        walk.hop(Step::ProxyTcp, host, since, peer(&stream));
        if proxy.at.tls {
            let since = Instant::now();
            let config = self.shared.trust.config();
            stream = self.secure(Step::ProxyTls, host, stream, config).await?;
            walk.hop(Step::ProxyTls, host, since, "the proxy's certificate is trusted");
        }
        let since = Instant::now();
        self.tunnel(proxy, target, &mut stream).await?;
        walk.hop(Step::Connect, host, since, format!("a tunnel to {}:{}", target.host, target.port));
        Ok(stream)
    }
}

impl Walk {
    fn hop(&mut self, step: Step, host: &str, since: Instant, seen: impl Into<String>) {
        let millis = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.hops.push(Hop { step, host: host.to_owned(), seen: seen.into(), millis });
    }

    /// A name was resolved; an address needs no such step.
    fn named(&mut self, step: Step, host: &str, since: Instant, addresses: &[SocketAddr]) {
        if host.parse::<IpAddr>().is_err() {
            self.hop(step, host, since, listed(addresses));
        }
    }

    fn look_at(&mut self, watch: &Watch, dialer: &Dialer) {
        self.chain = watch.presented();
        if self.failed.is_none() {
            self.trusted_by = dialer.shared.trust.authority(watch);
        }
    }
}

fn listed(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ")
}

fn peer(stream: &Stream) -> String {
    stream.tcp().peer_addr().map_or_else(|_| "connected".into(), |peer| format!("connected to {peer}"))
}
