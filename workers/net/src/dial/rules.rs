//! Which proxy a target is reached through.
//!
//! A configured proxy serves every target. Without one the environment counts: `HTTPS_PROXY`, else `ALL_PROXY`, but
//! for the hosts in `NO_PROXY` and for this host itself (`localhost`, 127.0.0.0/8, `::1`). A proxy that is named but
//! cannot be used is an error, never a reason to go straight.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;
use http::header::HeaderValue;
use hyper_util::client::proxy::matcher::Matcher;
use taut_core::config::NetworkConfig;
use taut_vault::ProxyPassword;

use super::{DialerError, Endpoint};

/// What a proxy's URL must be.
const RULE: &str =
    "it must be http://HOST:PORT or https://HOST:PORT, without a path (SOCKS is not supported)";

/// A proxy, and what it wants to hear.
#[derive(Debug, Clone)]
pub(super) struct Proxy {
    /// Where it is; `tls` for an `https://` proxy.
    pub(super) at: Endpoint,
    /// `Proxy-Authorization`, marked sensitive.
    pub(super) auth: Option<HeaderValue>,
}

/// The rules of one dialer.
#[derive(Debug, Clone)]
pub(super) enum Rules {
    /// Everything goes straight.
    Straight,
    /// Everything goes through the configured proxy.
    Configured(Proxy),
    /// As the environment says.
    Environment(Arc<Matcher>),
}

impl Rules {
    /// Reads the rules. `variable` looks up the environment.
    pub(super) fn new(
        config: &NetworkConfig,
        password: Option<&ProxyPassword>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, DialerError> {
        match &config.proxy {
            Some(url) => Self::configured(url, config.proxy_user.as_deref(), password),
            None => from_environment(variable),
        }
    }

    /// Everything goes through this proxy.
    pub(super) fn configured(
        url: &str,
        user: Option<&str>,
        password: Option<&ProxyPassword>,
    ) -> Result<Self, DialerError> {
        configured(url, user, password).map(Self::Configured)
    }

    /// The proxy for this target, if any.
    pub(super) fn proxy_for(&self, target: &Endpoint) -> Option<Proxy> {
        match self {
            Self::Straight => None,
            Self::Configured(proxy) => Some(proxy.clone()),
            Self::Environment(matcher) => {
                if is_this_host(&target.host) {
                    return None;
                }
                intercepted(matcher, &target.host)
            }
        }
    }
}

fn configured(url: &str, user: Option<&str>, password: Option<&ProxyPassword>) -> Result<Proxy, DialerError> {
    let refused = |rule| DialerError::Proxy { place: "network.proxy".into(), rule };
    let uri: Uri = url.parse().map_err(|_| refused(RULE))?;
    let authority = usable(&uri).ok_or(refused(RULE))?;
    if authority.as_str().contains('@') {
        return Err(refused("user and password belong in proxy_user and proxy_password"));
    }
    let userinfo = match (user, password) {
        (None, None) => String::new(),
        (Some(user), password) => {
            format!("{}:{}@", percent_encoded(user), percent_encoded(password.map_or("", |it| it.expose())))
        }
        (None, Some(_)) => {
            let place = "network.proxy_password".into();
            return Err(DialerError::Proxy { place, rule: "it needs proxy_user beside it" });
        }
    };
    let scheme = uri.scheme_str().unwrap_or("http");
    let matcher = Matcher::builder().all(format!("{scheme}://{userinfo}{authority}")).build();
    intercepted(&matcher, "any.invalid").ok_or(refused(RULE))
}

fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Rules, DialerError> {
    let first = |names: [&'static str; 2]| {
        names.into_iter().find_map(|name| {
            let value = variable(name)?;
            (!value.trim().is_empty()).then_some((name, value))
        })
    };
    let Some((name, url)) =
        first(["HTTPS_PROXY", "https_proxy"]).or_else(|| first(["ALL_PROXY", "all_proxy"]))
    else {
        return Ok(Rules::Straight);
    };
    let url = url.trim();
    let reads = url.parse::<Uri>().is_ok_and(|uri| usable(&uri).is_some());
    if !reads || intercepted(&Matcher::builder().all(url).build(), "any.invalid").is_none() {
        return Err(DialerError::Proxy { place: format!("the environment variable {name}"), rule: RULE });
    }
    let exempt = first(["NO_PROXY", "no_proxy"]).map_or(String::new(), |(_, hosts)| hosts);
    let matcher = Matcher::builder().all(url).no(exempt).build();
    Ok(Rules::Environment(Arc::new(matcher)))
}

/// The authority of a URL that may name a proxy.
fn usable(uri: &Uri) -> Option<&http::uri::Authority> {
    let scheme = matches!(uri.scheme_str(), None | Some("http" | "https"));
    let bare = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
    uri.authority().filter(|authority| scheme && bare && !authority.host().is_empty())
}

/// Asks the matcher as for `https://`: it knows nothing of `wss://`, and plain targets take the same way.
fn intercepted(matcher: &Matcher, host: &str) -> Option<Proxy> {
    let host = bracketed(host);
    let uri = Uri::builder().scheme("https").authority(host.as_str()).path_and_query("/").build().ok()?;
    let found = matcher.intercept(&uri)?;
    let tls = found.uri().scheme_str() == Some("https");
    let port = found.uri().port_u16().unwrap_or(if tls { 443 } else { 80 });
    let host = found.uri().host()?.trim_matches(['[', ']']).to_owned();
    Some(Proxy { at: Endpoint { host, port, tls }, auth: found.basic_auth().cloned() })
}

/// A host as it stands in a URL: an IPv6 address gets its brackets.
pub(super) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn is_this_host(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        write!(out, "%{byte:02X}").expect("writing to a string cannot fail");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str) -> Endpoint {
        Endpoint { host: host.into(), port: 443, tls: true }
    }

    fn with_env(pairs: &[(&str, &str)]) -> Result<Rules, DialerError> {
        Rules::new(&NetworkConfig::default(), None, |name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn through(rules: &Rules, host: &str) -> Option<String> {
        rules.proxy_for(&target(host)).map(|proxy| format!("{}:{}", proxy.at.host, proxy.at.port))
    }

    fn with_config(proxy: &str, user: Option<&str>, password: Option<&str>) -> Result<Rules, DialerError> {
        let config = NetworkConfig {
            proxy: Some(proxy.into()),
            proxy_user: user.map(Into::into),
            ..NetworkConfig::default()
        };
        let nothing = |_: &str| Some("http://env.corp:1".to_owned());
        Rules::new(&config, password.map(ProxyPassword::from).as_ref(), nothing)
    }

    #[test]
    fn configured_proxy_serves_every_host_whatever_the_environment_says() {
        let rules = with_config("http://proxy.corp:3128", None, None).expect("usable");
        for host in ["slack.com", "localhost", "127.0.0.1", "::1"] {
            assert_eq!(through(&rules, host).as_deref(), Some("proxy.corp:3128"), "{host}");
        }
    }

    #[test]
    fn credentials_become_basic_auth_whatever_is_in_them() {
        let rules = with_config("http://proxy.corp:3128", Some("us@er"), Some("p:a/ß%")).expect("usable");
        let auth = rules.proxy_for(&target("slack.com")).and_then(|proxy| proxy.auth).expect("credentials");
        assert_eq!(auth, "Basic dXNAZXI6cDphL8OfJQ==");
        assert!(auth.is_sensitive());
        assert!(!format!("{rules:?}").contains("dXNA"));
    }

    #[test]
    fn proxy_that_cannot_be_used_is_an_error_and_no_way_round() {
        for odd in
            ["", "socks5://proxy.corp:1080", "ftp://proxy.corp", "http://", "http://p/path", "::", "/x"]
        {
            assert!(matches!(with_config(odd, None, None), Err(DialerError::Proxy { .. })), "{odd}");
        }
        for odd in ["socks5://proxy.corp:1080", "http://a b", "http:///"] {
            assert!(matches!(with_env(&[("HTTPS_PROXY", odd)]), Err(DialerError::Proxy { .. })), "{odd}");
        }
        let error = with_config("http://user:hunter2@proxy.corp:1", None, None).expect_err("user info");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert!(with_config("http://proxy.corp:1", None, Some("alone")).is_err());
    }

    #[test]
    fn environment_names_the_proxy_in_curls_words() {
        let rules = with_env(&[("ALL_PROXY", "http://all.corp:1"), ("https_proxy", "secure.corp:2")]);
        assert_eq!(through(&rules.expect("usable"), "slack.com").as_deref(), Some("secure.corp:2"));
        let rules = with_env(&[("all_proxy", "https://all.corp")]).expect("usable");
        assert_eq!(through(&rules, "slack.com").as_deref(), Some("all.corp:443"));
        let rules = with_env(&[("HTTPS_PROXY", " "), ("HTTP_PROXY", "http://plain.corp:3")]).expect("none");
        assert_eq!(through(&rules, "slack.com"), None);
        let rules = with_env(&[("HTTPS_PROXY", "http://user:p%40ss@proxy.corp:1")]).expect("usable");
        let auth = rules.proxy_for(&target("slack.com")).and_then(|proxy| proxy.auth);
        assert_eq!(auth.expect("credentials"), "Basic dXNlcjpwQHNz");
    }

    #[test]
    fn no_proxy_and_this_host_go_straight() {
        let rules = with_env(&[
            ("HTTPS_PROXY", "http://proxy.corp:1"),
            ("NO_PROXY", ".slack-gov.com, 10.0.0.0/8,intra"),
        ])
        .expect("usable");
        for straight in
            ["wss.slack-gov.com", "slack-gov.com", "10.1.2.3", "intra", "localhost", "127.9.9.9", "::1"]
        {
            assert_eq!(through(&rules, straight), None, "{straight}");
        }
        for proxied in ["slack.com", "xslack-gov.com", "11.0.0.1", "localhost.corp", "2001:db8::1"] {
            assert_eq!(through(&rules, proxied).as_deref(), Some("proxy.corp:1"), "{proxied}");
        }
    }
}
