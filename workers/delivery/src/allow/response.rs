//! Where a `response_url` may lead: the URL comes from Slack's payload, but what is posted there is the handler's, so
//! the host has a list for it (`slack.response_hosts`).

use http::Uri;

use super::{AllowHosts, BadEntry};

/// The hosts.
#[derive(Debug, Clone)]
pub struct ResponseHosts {
    listed: AllowHosts,
    /// The host of `slack.api_url`: a simulated Slack's URLs lead back to it.
    api_host: String,
    /// Whether Slack is simulated on this host, without TLS.
    plain_loopback: bool,
}

impl ResponseHosts {
    /// `slack.response_hosts` (names and `*.domain`), and what `slack.api_url` names.
    ///
    /// # Errors
    /// [`BadEntry`] for the first entry that cannot be read.
    pub fn new(entries: &[String], api_url: &str) -> Result<Self, BadEntry> {
        let api = api_url.parse::<Uri>().unwrap_or_default();
        Ok(Self {
            listed: AllowHosts::parse(entries)?,
            api_host: api.host().unwrap_or_default().to_ascii_lowercase(),
            plain_loopback: api.scheme_str() == Some("http"),
        })
    }

    /// The URL, if it may be used: HTTPS at a host of the list or where the Web API is, or HTTP on loopback where Slack
    /// is a simulation there. Never with user info.
    pub fn usable(&self, url: &str) -> Option<Uri> {
        let url: Uri = url.parse().ok()?;
        let authority = url.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let host = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
        let on_loopback = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let known = !host.is_empty() && (host == self.api_host || self.listed.allows_name(&host));
        match url.scheme_str() {
            Some("https") if known => Some(url),
            Some("http") if self.plain_loopback && on_loopback => Some(url),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slacks_hosts_or_the_simulation_are_used() {
        let listed = ["hooks.slack.com".to_owned(), "*.slack-gov.com".to_owned()];
        let slack = ResponseHosts::new(&listed, "https://slack.com/api/").unwrap();
        let simulated = ResponseHosts::new(&listed, "http://127.0.0.1:9470/api/").unwrap();
        let elsewhere = ResponseHosts::new(&listed, "https://sim.corp.example:8443/api/").unwrap();
        for (url, at_slack, beside_simulation, beside_another) in [
            ("https://hooks.slack.com/commands/T1/1/x", true, true, true),
            ("https://HOOKS.slack.com./commands/T1/1/x", true, true, true),
            ("https://hooks.slack-gov.com/commands/T1/1/x", true, true, true),
            ("https://hooks.slack.com.evil.example/x", false, false, false),
            ("https://evil.example/hooks.slack.com", false, false, false),
            ("https://10.0.0.1/x", false, false, false),
            ("https://sim.corp.example:8443/x", false, false, true),
            ("http://sim.corp.example:8443/x", false, false, false),
            ("http://hooks.slack.com/commands/T1/1/x", false, false, false),
            ("http://127.0.0.1:80/x", false, true, false),
            ("http://[::1]:80/x", false, true, false),
            ("http://localhost/x", false, true, false),
            ("https://user@hooks.slack.com/x", false, false, false),
            ("file:///etc/passwd", false, false, false),
            ("nonsense", false, false, false),
            ("", false, false, false),
        ] {
            assert_eq!(slack.usable(url).is_some(), at_slack, "{url}");
            assert_eq!(simulated.usable(url).is_some(), beside_simulation, "{url}");
            assert_eq!(elsewhere.usable(url).is_some(), beside_another, "{url}");
        }
    }
}
