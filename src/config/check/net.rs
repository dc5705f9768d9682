//! URLs, hosts and the way out.

use std::net::IpAddr;

use http::Uri;
use taut_core::config::{Deadlines, NetworkConfig, Span};

use super::{Checker, millis};

/// Most entries of `network.ca_files` and `delivery.allow_hosts`.
const LIST_MAX: usize = 256;

/// A URL whose parts are all usable.
pub(super) struct Url {
    pub(super) scheme: String,
    /// Lower-case, without the brackets of an IPv6 address.
    pub(super) host: String,
    path: String,
    query: bool,
}

impl Url {
    /// The parts of an absolute `http` or `https` URL, or the rule it breaks.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.contains('#') {
            return Err("must have no #fragment: it is never sent".into());
        }
        let uri: Uri =
            text.parse().map_err(|_| "must be a URL, such as http://127.0.0.1:3000/".to_owned())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err("must be a whole URL, such as http://127.0.0.1:3000/".into());
        };
        if !matches!(scheme, "http" | "https") {
            return Err("must begin with http:// or https://".into());
        }
        if authority.as_str().contains('@') {
            return Err("must have no user info (name:password@): a secret has no place in a URL".into());
        }
        let port = authority.as_str().rsplit_once(':').map(|(_, port)| port);
        let bad_port =
            port.is_some_and(|port| !port.ends_with(']') && !matches!(port.parse::<u16>(), Ok(1..)));
        if authority.host().is_empty() || bad_port {
            return Err("must have a host, and a port of 1 to 65535 if any".into());
        }
        Ok(Self {
            scheme: scheme.to_owned(),
            host: authority.host().trim_matches(['[', ']']).to_ascii_lowercase(),
            path: uri.path().to_owned(),
            query: uri.query().is_some(),
        })
    }

    /// Whether the host names this machine without asking anyone.
    pub(super) fn is_loopback(&self) -> bool {
        let name = self.host == "localhost" || self.host.ends_with(".localhost");
        name || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

pub(super) fn check_api_url(text: &str, checker: &mut Checker<'_>) {
    let key = "slack.api_url";
    match Url::parse(text) {
        Err(rule) => checker.require(false, key, text, rule),
        Ok(url) => {
            checker.require(
                url.scheme == "https" || url.is_loopback(),
                key,
                text,
                "must begin with https://; http:// is for a simulator on this host only, tokens would go in clear",
            );
            let rule = "must end with a slash and have no query: method names are appended";
            checker.require(url.path.ends_with('/') && !url.query, key, text, rule);
        }
    }
}

pub(super) fn check_network(network: &NetworkConfig, checker: &mut Checker<'_>) {
    let NetworkConfig { proxy, proxy_user, proxy_password, ca_files, deadlines } = network;
    if let Some(proxy) = proxy {
        let rule = match Url::parse(proxy) {
            Err(rule) if proxy.contains('@') => format!("{rule}; use network.proxy_user and proxy_password"),
            Err(rule) => rule,
            Ok(url) if url.scheme != "http" => {
                "must begin with http://: the proxy is asked by CONNECT".into()
            }
            Ok(url) if url.path != "/" || url.query => "must be http://HOST:PORT, without a path".into(),
            Ok(_) => String::new(),
        };
        checker.require(rule.is_empty(), "network.proxy", proxy, rule);
    }
    if let Some(user) = proxy_user {
        let holds = !user.is_empty() && !user.contains(|c: char| c == ':' || c.is_control());
        checker.require(holds, "network.proxy_user", user, "must have at least one character and no colon");
    }
    if let Some(password) = proxy_password {
        super::tenants::check_secret("network.proxy_password", password, checker);
        if proxy_user.is_none() {
            checker.refuse("network.proxy_password", "needs network.proxy_user beside it");
        }
    }
    let named = ca_files.iter().all(|file| !file.as_os_str().is_empty());
    let rule = format!("must be at most {LIST_MAX} file names, none empty");
    checker.require(named && ca_files.len() <= LIST_MAX, "network.ca_files", ca_files, rule);
    let Deadlines { dns, tcp, connect, tls, upgrade, call } = deadlines;
    let steps = [
        ("dns", dns),
        ("tcp", tcp),
        ("connect", connect),
        ("tls", tls),
        ("upgrade", upgrade),
        ("call", call),
    ];
    for (name, deadline) in steps {
        checker.within(&format!("network.deadlines.{name}"), *deadline, millis(10)..=Span::secs(120));
    }
}

pub(super) fn check_allow_hosts(entries: &[String], checker: &mut Checker<'_>) {
    let key = "delivery.allow_hosts";
    for entry in entries {
        checker.require(
            Allowed::parse(entry).is_some(),
            key,
            entry,
            "must be loopback, private, a host name, *.DOMAIN, an address or a network such as 10.1.0.0/16",
        );
    }
    let rule = format!("must have at most {LIST_MAX} entries");
    checker.require(entries.len() <= LIST_MAX, key, entries.len() as u64, rule);
}

/// One entry of `delivery.allow_hosts`.
enum Allowed {
    Loopback,
    Private,
    Network(IpAddr, u8),
    Name(String),
    Below(String),
}

impl Allowed {
    fn parse(entry: &str) -> Option<Self> {
        let is_name = |name: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(allowed);
            name.len() <= 253 && name.split('.').all(label)
        };
        if let Some((address, bits)) = entry.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let bits: u8 = bits.parse().ok()?;
            return (bits <= width(address)).then_some(Self::Network(address, bits));
        }
        if let Ok(address) = entry.parse::<IpAddr>() {
            return Some(Self::Network(address, width(address)));
        }
        match entry {
            "loopback" => Some(Self::Loopback),
            "private" => Some(Self::Private),
            name => match name.strip_prefix("*.") {
                Some(domain) => is_name(domain).then(|| Self::Below(domain.to_ascii_lowercase())),
                None => is_name(name).then(|| Self::Name(name.to_ascii_lowercase())),
            },
        }
    }

    /// Whether a host is allowed; `None` if only its addresses can tell.
    fn admits(&self, host: &str) -> Option<bool> {
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        match (self, address) {
            (Self::Loopback, Some(address)) => Some(address.is_loopback()),
            (Self::Private, Some(address)) => Some(is_private(address)),
            (Self::Network(network, bits), Some(address)) => Some(is_within(address, *network, *bits)),
            (Self::Loopback | Self::Private | Self::Network(..), None) => None,
            (Self::Name(name), _) => Some(name == host),
            (Self::Below(domain), _) => {
                Some(host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')))
            }
        }
    }
}

/// Whether these entries let a handler's host through, as far as the text tells. Names that only an address can
/// decide pass here and are judged when they are dialled.
pub(super) fn is_allowed(host: &str, entries: &[String]) -> bool {
    entries.iter().filter_map(|entry| Allowed::parse(entry)).any(|entry| entry.admits(host) != Some(false))
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// RFC 1918, RFC 4193 and link-local addresses.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let value = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    let host_bits = u32::from(width(network).saturating_sub(bits));
    let prefix = |address| value(address).checked_shr(host_bits).unwrap_or(0);
    width(address) == width(network) && prefix(address) == prefix(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(host: &str, entries: &[&str]) -> bool {
        is_allowed(host, &entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn hosts_are_allowed_as_far_as_the_text_tells() {
        assert!(allowed("127.0.0.1", &["loopback"]));
        assert!(!allowed("10.0.0.1", &["loopback"]));
        assert!(allowed("10.0.0.1", &["private"]) && allowed("fd00::1", &["private"]));
        assert!(!allowed("93.184.216.34", &["loopback", "private"]));
        assert!(
            allowed("93.184.216.34", &["93.184.216.0/24"]) && !allowed("93.184.217.1", &["93.184.216.0/24"])
        );
        assert!(allowed("1.2.3.4", &["0.0.0.0/0"]) && !allowed("::1", &["0.0.0.0/0"]));
        assert!(
            allowed("a.corp.example", &["*.corp.example"]) && !allowed("corp.example", &["*.corp.example"])
        );
        assert!(!allowed("evilcorp.example", &["*.corp.example"]));
        assert!(allowed("bot.corp", &["bot.corp"]) && !allowed("other.corp", &["bot.corp"]));
        assert!(allowed("other.corp", &["private"]), "its address decides when it is dialled");
        assert!(!allowed("127.0.0.1", &[]));
    }

    #[test]
    fn a_url_with_user_info_or_fragment_is_refused() {
        for url in [
            "http://u:p@h/",
            "http://u@h/",
            "http://h/#x",
            "ftp://h/",
            "h:3000",
            "http:///x",
            "http://h:0/",
            "http://h:99999/",
            "//h/x",
            "",
        ] {
            assert!(Url::parse(url).is_err(), "{url}");
        }
        for url in ["http://h", "https://h:8443/x?y=z", "http://[::1]:3000/slack/events", "http://[::1]/"] {
            assert!(Url::parse(url).is_ok(), "{url}");
        }
        assert!(Url::parse("http://[::1]:3000/").is_ok_and(|url| url.is_loopback()));
    }
}
