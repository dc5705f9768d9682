//! What handlers' URLs may reach: bounded by the host's own file (`delivery.allow_hosts`), never by a tenant.
//!
//! A URL is checked twice. When it is configured: an address by network, a name by name. When it is dialled: the address
//! that a name stands for at that moment. A listed name vouches for public addresses alone; what is this host's or this
//! network's own (loopback, private, link-local with the clouds' metadata, …) has to be listed as such as well.

pub mod paths;
pub mod response;

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::Uri;

/// The parsed list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowHosts(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// `loopback`
    Loopback,
    /// `private`
    Private,
    /// A host name, in lower case.
    Name(String),
    /// `*.domain`: the names below it; kept as `.domain`.
    Below(String),
    /// An address or a network.
    Network(Network),
}

/// An entry of the list that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{entry}` is not `loopback`, `private`, a host name, `*.domain`, an address or a network such as 10.1.0.0/16"
)]
pub struct BadEntry {
    /// The entry.
    pub entry: String,
}

/// Why a handler's URL was refused. Names no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not a URL that taut can post to.
    #[error("must be an http:// or https:// URL with a host")]
    NotHttp,
    /// It has a user or a password in it.
    #[error("must hold no user or password: deliveries are signed instead")]
    UserInfo,
    /// The list does not have it.
    #[error(
        "`{host}` is not in delivery.allow_hosts; add it there (names count by name, addresses by network)"
    )]
    NotAllowed {
        /// The host.
        host: String,
    },
}

impl AllowHosts {
    /// Reads the list.
    ///
    /// # Errors
    /// [`BadEntry`] for the first entry that cannot be read.
    pub fn parse(entries: &[String]) -> Result<Self, BadEntry> {
        entries.iter().map(|entry| Rule::parse(entry)).collect::<Result<_, _>>().map(Self)
    }

    /// Checks a handler's URL as it is configured.
    ///
    /// # Errors
    /// [`Refused`] says why.
    pub fn check(&self, url: &str) -> Result<(), Refused> {
        let url = handler_url(url)?;
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let allowed = match host.parse::<IpAddr>() {
            Ok(address) => self.allows_address(address),
            Err(_) => self.allows_name(host),
        };
        if allowed { Ok(()) } else { Err(Refused::NotAllowed { host: host.to_owned() }) }
    }

    /// Whether a handler whose URL passed [`AllowHosts::check`] may be dialled at this address.
    pub fn admits(&self, host: &str, address: IpAddr) -> bool {
        self.allows_address(address)
            || is_public(address)
            // Resolvers answer these with loopback alone (RFC 6761).
            || (is_localhost(host) && address.to_canonical().is_loopback())
    }

    /// Whether this address is in the list.
    pub fn allows_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|rule| match rule {
            Rule::Loopback => address.is_loopback(),
            Rule::Private => is_private(address),
            Rule::Network(network) => network.contains(address),
            Rule::Name(_) | Rule::Below(_) => false,
        })
    }

    fn allows_name(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.0.iter().any(|rule| match rule {
            Rule::Loopback => is_localhost(&name),
            Rule::Name(allowed) => *allowed == name,
            Rule::Below(domain) => name.len() > domain.len() && name.ends_with(domain.as_str()),
            Rule::Private | Rule::Network(_) => false,
        })
    }
}

/// Parses a handler's URL: HTTP or HTTPS, with a host, without credentials.
pub(crate) fn handler_url(url: &str) -> Result<Uri, Refused> {
    let url: Uri = url.parse().map_err(|_| Refused::NotHttp)?;
    let authority = url.authority().ok_or(Refused::NotHttp)?;
    if authority.as_str().contains('@') {
        return Err(Refused::UserInfo);
    }
    if !matches!(url.scheme_str(), Some("http" | "https")) || authority.host().is_empty() {
        return Err(Refused::NotHttp);
    }
    Ok(url)
}

impl Rule {
    fn parse(entry: &str) -> Result<Self, BadEntry> {
        let bad = || BadEntry { entry: entry.to_owned() };
        let lower = entry.trim_end_matches('.').to_ascii_lowercase();
        match lower.as_str() {
            "loopback" => Ok(Self::Loopback),
            "private" => Ok(Self::Private),
            text => {
                if let Ok(network) = text.parse() {
                    return Ok(Self::Network(network));
                }
                match text.strip_prefix('*') {
                    Some(below) if below.starts_with('.') && is_name(&below[1..]) => {
                        Ok(Self::Below(below.to_owned()))
                    }
                    None if is_name(text) => Ok(Self::Name(lower)),
                    Some(_) | None => Err(bad()),
                }
            }
        }
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// RFC 1918 and unique local addresses. Where clouds keep their metadata is not among them: link-local addresses, and
/// one that is unique local (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>).
fn is_private(address: IpAddr) -> bool {
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local() && address != METADATA,
    }
}

/// Whether an address is one of the open Internet's, by IANA's registries of special purposes.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, second, third, _] = address.octets();
            let special = match first {
                // This network; loopback; multicast, reserved and broadcast.
                0 | 127 | 224..=255 => true,
                // Shared by carriers, and some clouds' metadata.
                100 => second & 0xc0 == 64,
                // Protocol assignments.
                192 => second == 0 && third == 0,
                // Benchmarks between networks.
                198 => second & 0xfe == 18,
                _ => false,
            };
            !special && !address.is_private() && !address.is_link_local()
        }
        IpAddr::V6(address) => {
            // Global unicast, without what carries an IPv4 address inside: 6to4, Teredo and protocol assignments.
            let [first, second, ..] = address.segments();
            first & 0xe000 == 0x2000 && first != 0x2002 && !(first == 0x2001 && second < 0x200)
        }
    }
}

fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    // No top-level domain is a number: such a text is a mistyped address (RFC 3696, section 2).
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
}

/// An address, or a network `address/bits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let (ours, theirs, width) = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        let differing = ours ^ theirs;
        // Shifting all 128 bits away means that nothing has to agree.
        differing.checked_shr(width - self.bits).unwrap_or(0) == 0
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().map_err(drop)?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim_matches(['[', ']']).parse().map_err(drop)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        // Addresses are compared in their plain form, so a network of IPv4 addresses in IPv6's clothes is one of IPv4.
        match (bits.checked_sub(96), address.to_canonical()) {
            _ if bits > width => Err(()),
            (Some(bits), plain @ IpAddr::V4(_)) if address.is_ipv6() => Ok(Self { address: plain, bits }),
            _ => Ok(Self { address, bits }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(entries: &[&str]) -> AllowHosts {
        AllowHosts::parse(&entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn allowed(entries: &[&str], url: &str) -> bool {
        hosts(entries).check(url).is_ok()
    }

    #[test]
    fn loopback_means_loopback_addresses_and_localhost() {
        for url in [
            "http://127.0.0.1:3000/slack/events",
            "http://[::1]/",
            "http://localhost:3000/",
            "http://a.LOCALHOST./",
        ] {
            assert!(allowed(&["loopback"], url), "{url}");
            assert!(!allowed(&["private"], url), "{url}");
        }
    }

    #[test]
    fn private_means_private_addresses_and_neither_metadata_nor_names() {
        for url in [
            "http://10.1.2.3/",
            "https://192.168.0.1/",
            "http://172.16.0.1/",
            "http://[fd00::1]/",
            "http://[::ffff:10.0.0.1]/",
        ] {
            assert!(allowed(&["private"], url), "{url}");
        }
        for url in [
            "http://169.254.169.254/",
            "http://8.8.8.8/",
            "http://bot.internal/",
            "http://2130706433/",
            "http://[fe80::1]/",
        ] {
            assert!(!allowed(&["loopback", "private"], url), "{url}");
        }
    }

    #[test]
    fn names_count_by_name_and_domains_for_what_is_below_them() {
        assert!(allowed(&["bot.internal"], "http://Bot.Internal:8080/x"));
        assert!(!allowed(&["bot.internal"], "http://bot.internal.example/"));
        assert!(allowed(&["*.corp.example"], "https://a.b.corp.example/"));
        assert!(!allowed(&["*.corp.example"], "https://corp.example/"));
        assert!(!allowed(&["*.corp.example"], "https://evilcorp.example/"));
    }

    #[test]
    fn networks_and_single_addresses_count_by_their_bits() {
        assert!(allowed(&["100.64.0.0/10"], "http://100.127.255.255/"));
        assert!(!allowed(&["100.64.0.0/10"], "http://100.128.0.0/"));
        assert!(allowed(&["203.0.113.7"], "http://203.0.113.7/"));
        assert!(!allowed(&["203.0.113.7"], "http://203.0.113.8/"));
        assert!(allowed(&["0.0.0.0/0"], "http://198.51.100.1/"));
        assert!(allowed(&["::/0"], "http://[2001:db8::1]/"));
        assert!(allowed(&["2001:db8::/32"], "http://[2001:db8::1]/"));
        assert!(allowed(&["::ffff:10.0.0.0/104"], "http://10.1.2.3/"));
        assert!(!allowed(&["::ffff:10.0.0.0/104"], "http://11.1.2.3/"));
        assert!(allowed(&["::ffff:10.0.0.7"], "http://[::ffff:10.0.0.7]/"));
    }

    #[test]
    fn listed_name_vouches_for_public_addresses_alone() {
        let admits = |entries: &[&str], host: &str, address: &str| {
            hosts(entries).admits(host, address.parse().expect("an address"))
        };
        for public in ["203.0.113.7", "8.8.8.8", "100.63.0.1", "2606:4700::1", "::ffff:8.8.8.8"] {
            assert!(admits(&["bot.example"], "bot.example", public), "{public}");
        }
        let own = [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fd00:ec2::254",
            "100.100.100.200",
            "192.0.0.192",
            "10.1.2.3",
            "127.0.0.1",
            "::1",
            "::",
            "0.0.0.0",
            "fe80::1",
            "fd12::1",
            "224.0.0.1",
            "255.255.255.255",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
        ];
        for address in own {
            assert!(!admits(&["bot.example"], "bot.example", address), "{address}");
        }
        assert!(admits(&["bot.example", "private"], "bot.example", "10.1.2.3"));
        assert!(admits(&["bot.example", "10.1.0.0/16"], "bot.example", "10.1.2.3"));
        assert!(!admits(&["bot.example", "private"], "bot.example", "169.254.169.254"));
        assert!(!admits(&["bot.example", "private"], "bot.example", "fd00:ec2::254"));
        assert!(admits(&["bot.example", "169.254.169.254"], "bot.example", "169.254.169.254"));
        assert!(admits(&["localhost"], "localhost", "::1"));
        assert!(admits(&["loopback"], "a.localhost", "127.0.0.1"));
    }

    #[test]
    fn credentials_and_other_schemes_are_refused() {
        let list = hosts(&["loopback"]);
        assert_eq!(list.check("http://user:pass@127.0.0.1/"), Err(Refused::UserInfo));
        for url in ["ftp://127.0.0.1/", "/slack/events", "127.0.0.1:80", "http://", ""] {
            assert_eq!(list.check(url), Err(Refused::NotHttp), "{url}");
        }
    }

    #[test]
    fn unreadable_entries_are_named() {
        for entry in
            ["", "*", "*.", "a b", "10.0.0.0/33", "*x.example", "http://x/", "10.0.0.256", "10.1", "*.10"]
        {
            let error = AllowHosts::parse(&[entry.to_owned()]).unwrap_err();
            assert_eq!(error, BadEntry { entry: entry.to_owned() });
        }
    }
}
