//! Who signed a certificate, for a person: the issuer's common name and organisation.
//!
//! Reads only as much DER (X.690) of a certificate (RFC 5280) as leads to the issuer. For messages; nothing is
//! decided by it. Whatever the bytes, no panic.

const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The optional version in front of a certificate's serial number.
const VERSION: u8 = 0xa0;
/// `UTF8String`, `PrintableString`, `T61String` and `IA5String`: what names are written in.
const TEXTS: [u8; 4] = [0x0c, 0x13, 0x14, 0x16];

/// The attributes that are shown, by their object ids.
const SHOWN: [(&[u8], &str); 2] = [(&[0x55, 4, 3], "CN"), (&[0x55, 4, 10], "O")];

/// Most characters shown of one attribute.
const TEXT_CHARS_MAX: usize = 64;

/// The issuer, like `CN=Corp Inspection Root, O=Corp`; nothing if the certificate cannot be read or names nobody.
pub(super) fn of(certificate: &[u8]) -> Option<String> {
    let mut fields = Der(Der(Der(certificate).take(SEQUENCE)?).take(SEQUENCE)?);
    if fields.0.first() == Some(&VERSION) {
        fields.next()?;
    }
    fields.take(INTEGER)?;
    fields.take(SEQUENCE)?;
    let mut names = Der(fields.take(SEQUENCE)?);
    let mut shown = Vec::new();
    while let Some(set) = names.take(SET) {
        shown.extend(Der(set).take(SEQUENCE).and_then(attribute));
    }
    (!shown.is_empty()).then(|| shown.join(", "))
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
