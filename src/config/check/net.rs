//! URLs, hosts and the way out.

use std::net::IpAddr;
use std::path::PathBuf;

use http::Uri;
use taut_core::config::{Deadlines, NetworkConfig, SecretRef, Span, TenantNetwork};
use taut_delivery::allow::AllowHosts;

use super::{Checker, millis};

/// Most entries of `network.ca_files` and of the lists in `[delivery]`.
pub(super) const LIST_MAX: usize = 256;

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
    check_way(
        "network",
        (proxy.as_deref(), proxy_user.as_deref(), proxy_password.as_ref()),
        ca_files,
        checker,
    );
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

pub(super) fn check_tenant_network(key: &str, network: &TenantNetwork, checker: &mut Checker<'_>) {
    let TenantNetwork { proxy, proxy_user, proxy_password, ca_files } = network;
    check_way(key, (proxy.as_deref(), proxy_user.as_deref(), proxy_password.as_ref()), ca_files, checker);
    if proxy.is_none() && (proxy_user.is_some() || proxy_password.is_some()) {
        checker.refuse(key, "needs its own proxy for its own credentials: they are never sent to the host's");
    }
}

/// What the host's way out and a tenant's own have in common.
fn check_way(
    table: &str,
    (proxy, user, password): (Option<&str>, Option<&str>, Option<&SecretRef>),
    ca_files: &[PathBuf],
    checker: &mut Checker<'_>,
) {
    if let Some(proxy) = proxy {
        let rule = match Url::parse(proxy) {
            Err(rule) if proxy.contains('@') => {
                format!("{rule}; use proxy_user and proxy_password beside it")
            }
            Err(rule) => rule,
            Ok(url) if url.path != "/" || url.query => {
                "must be http://HOST:PORT or https://HOST:PORT, without a path".into()
            }
            Ok(_) => String::new(),
        };
        checker.require(rule.is_empty(), &format!("{table}.proxy"), proxy, rule);
    }
    if let Some(user) = user {
        let holds = !user.is_empty() && !user.contains(|c: char| c == ':' || c.is_control());
        let rule = "must have at least one character and no colon";
        checker.require(holds, &format!("{table}.proxy_user"), user, rule);
    }
    if let Some(password) = password {
        let key = format!("{table}.proxy_password");
        super::tenants::check_secret(&key, password, checker);
        if user.is_none() {
            checker.refuse(&key, format!("needs {table}.proxy_user beside it"));
        }
    }
    let named = ca_files.iter().all(|file| !file.as_os_str().is_empty());
    let rule = format!("must be at most {LIST_MAX} file names, none empty");
    checker.require(named && ca_files.len() <= LIST_MAX, &format!("{table}.ca_files"), ca_files, rule);
}

pub(super) fn check_response_hosts(entries: &[String], checker: &mut Checker<'_>) {
    let key = "slack.response_hosts";
    for entry in entries {
        let is_name = !matches!(entry.as_str(), "loopback" | "private")
            && entry.bytes().any(|byte| byte.is_ascii_alphabetic())
            && !entry.contains([':', '/'])
            && AllowHosts::parse(std::slice::from_ref(entry)).is_ok();
        checker.require(is_name, key, entry, "must be a host name or *.DOMAIN, such as hooks.slack.com");
    }
    let rule = format!("must have at most {LIST_MAX} entries");
    checker.require(entries.len() <= LIST_MAX, key, entries.len() as u64, rule);
}

pub(super) fn check_allow_hosts(entries: &[String], checker: &mut Checker<'_>) {
    let key = "delivery.allow_hosts";
    for entry in entries {
        checker.require(
            AllowHosts::parse(std::slice::from_ref(entry)).is_ok(),
            key,
            entry,
            "must be loopback, private, a host name, *.DOMAIN, an address or a network such as 10.1.0.0/16",
        );
    }
    let rule = format!("must have at most {LIST_MAX} entries");
    checker.require(entries.len() <= LIST_MAX, key, entries.len() as u64, rule);
}

#[cfg(test)]
mod tests {
    use super::*;

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
