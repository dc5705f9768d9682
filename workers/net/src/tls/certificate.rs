//! What a certificate says of itself, for a person: who it is for, who signed it, and when it is valid.
//!
//! Reads only as much DER (X.690) of a certificate (RFC 5280) as leads there. For messages; nothing is decided by it.
//! Whatever the bytes, no panic.

const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// Two digits for the year: 1950 to 2049.
const UTC_TIME: u8 = 0x17;
/// Four digits for the year.
const GENERALIZED_TIME: u8 = 0x18;
/// The optional version in front of a certificate's serial number.
const VERSION: u8 = 0xa0;
/// `UTF8String`, `PrintableString`, `T61String` and `IA5String`: what names are written in.
const TEXTS: [u8; 4] = [0x0c, 0x13, 0x14, 0x16];

/// The attributes that are shown, by their object ids.
const SHOWN: [(&[u8], &str); 2] = [(&[0x55, 4, 3], "CN"), (&[0x55, 4, 10], "O")];

/// Most characters shown of one attribute.
const TEXT_CHARS_MAX: usize = 64;

/// What is read of a certificate.
pub(super) struct Certificate<'a> {
    subject: &'a [u8],
    issuer: &'a [u8],
    not_before: Option<String>,
    not_after: Option<String>,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate; nothing if it is not shaped like one.
    pub(super) fn read(certificate: &'a [u8]) -> Option<Self> {
        let mut fields = Der(Der(Der(certificate).take(SEQUENCE)?).take(SEQUENCE)?);
        if fields.0.first() == Some(&VERSION) {
            fields.next()?;
        }
        fields.take(INTEGER)?;
        fields.take(SEQUENCE)?;
        let issuer = fields.take(SEQUENCE)?;
        let mut validity = Der(fields.take(SEQUENCE)?);
        let (not_before, not_after) = (validity.next().and_then(time), validity.next().and_then(time));
        let subject = fields.take(SEQUENCE)?;
        Some(Self { subject, issuer, not_before, not_after })
    }

    /// Who it is for, like `CN=wss-primary.slack.com`; nothing if it names nobody.
    pub(super) fn subject(&self) -> Option<String> {
        name(self.subject)
    }

    /// Who signed it, like `CN=Corp Inspection Root, O=Corp`; nothing if it names nobody.
    pub(super) fn issuer(&self) -> Option<String> {
        name(self.issuer)
    }

    /// The issuer's name as bytes, the way a root's subject is kept.
    pub(super) const fn issuer_bytes(&self) -> &'a [u8] {
        self.issuer
    }

    /// Whether it names itself as its issuer.
    pub(super) fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }

    /// From when to when it is valid, like `2026-01-01T00:00:00Z`.
    pub(super) fn validity(&self) -> (Option<String>, Option<String>) {
        (self.not_before.clone(), self.not_after.clone())
    }
}

/// A name like `CN=Corp Inspection Root, O=Corp`, of its DER content.
pub(super) fn name(content: &[u8]) -> Option<String> {
    let mut names = Der(content);
    let mut shown = Vec::new();
    while let Some(set) = names.take(SET) {
        shown.extend(Der(set).take(SEQUENCE).and_then(attribute));
    }
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// A time as RFC 3339.
fn time((tag, text): (u8, &[u8])) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (century, rest) = match (tag, text.len()) {
        (UTC_TIME, 12) if text < "50" => ("20", text),
        (UTC_TIME, 12) => ("19", text),
        (GENERALIZED_TIME, 14) => text.split_at(2),
        _ => return None,
    };
    let part = |at: usize| &rest[at..at + 2];
    Some(format!("{century}{}-{}-{}T{}:{}:{}Z", part(0), part(2), part(4), part(6), part(8), part(10)))
}

fn attribute(bytes: &[u8]) -> Option<String> {
    let mut parts = Der(bytes);
    let id = parts.take(OBJECT_ID)?;
    let (_, name) = SHOWN.into_iter().find(|(known, _)| *known == id)?;
    let (tag, text) = parts.next()?;
    if !TEXTS.contains(&tag) {
        return None;
    }
    let text = String::from_utf8_lossy(text);
    let clean: String = text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect();
    Some(format!("{name}={clean}"))
}

/// What is left of some DER.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // Up to 16 MiB: no certificate is larger.
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit)), rest)
            }
            0x80 | 0x84..=0xff => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The next value's content, if it has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn of(certificate: &[u8]) -> Option<String> {
        let read = Certificate::read(certificate)?;
        assert!(read.validity().0.is_none_or(|time| time.len() == "2026-01-01T00:00:00Z".len()));
        drop(read.subject());
        read.issuer()
    }

    fn signed_by(names: &[(DnType, &str)]) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), *name);
        }
        params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").der().to_vec()
    }

    #[test]
    fn issuer_is_shown_by_name_and_organisation() {
        let certificate = signed_by(&[
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Corp\nfake line"),
            (DnType::CommonName, "Corp Inspection Root"),
        ]);
        assert_eq!(of(&certificate).as_deref(), Some("O=Corpfake line, CN=Corp Inspection Root"));
    }

    #[test]
    fn validity_is_shown_in_both_of_its_forms() {
        let mut params = CertificateParams::new(vec!["slack.com".to_owned()]).expect("parameters");
        params.not_before = rcgen::date_time_ymd(1999, 12, 31);
        params.not_after = rcgen::date_time_ymd(2051, 2, 3);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let read = Certificate::read(certificate.der()).expect("a certificate");
        let shown = (Some("1999-12-31T00:00:00Z".to_owned()), Some("2051-02-03T00:00:00Z".to_owned()));
        assert_eq!(read.validity(), shown);
        assert!(read.is_self_signed());
    }

    #[test]
    fn nobody_is_nobody() {
        assert_eq!(of(&signed_by(&[(DnType::CountryName, "DE")])), None);
        assert_eq!(of(b""), None);
        assert_eq!(of(&[0x30, 0x84, 1, 1, 1, 1]), None);
    }

    #[test]
    fn damaged_certificate_never_panics() {
        let whole = signed_by(&[(DnType::CommonName, &"long ".repeat(50))]);
        assert_eq!(of(&whole).map(|name| name.chars().count()), Some("CN=".len() + TEXT_CHARS_MAX));
        for cut in 0..whole.len() {
            of(&whole[..cut]);
            let mut damaged = whole.clone();
            damaged[cut] ^= 0xff;
            of(&damaged);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            of(&bytes);
        }
    }
}
