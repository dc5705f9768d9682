//! TLS towards Slack and handlers: the system's roots and the operator's own, always verified.

mod certificate;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use self::certificate::Certificate;
use self::verify::{Naming, Recording, UntrustedIssuer};
use crate::dial::{DialFault, DialerError, Flaw};

/// Whom a dialer trusts: the system's roots and the operator's own.
pub(crate) struct Trust {
    roots: RootCertStore,
    /// The files that roots came from beside the system's; each with how many roots there were before it.
    files: Vec<(PathBuf, usize)>,
    provider: Arc<CryptoProvider>,
    verifier: Option<Arc<Naming>>,
    /// Serves every connection, so that session tickets and memory are shared.
    config: Arc<ClientConfig>,
}

/// A certificate that a server presented, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// Who it is for, like `CN=slack.com`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// From when it is valid, RFC 3339.
    pub not_before: String,
    /// Until when it is valid, RFC 3339.
    pub not_after: String,
}

impl Trust {
    /// The system's roots and those in `ca_files`. Blocks on files: call it at start-up, once.
    ///
    /// # Errors
    /// [`DialerError`] if a CA file cannot be used. Odd certificates among the system's are skipped.
    pub(crate) fn new(ca_files: &[PathBuf]) -> Result<Self, DialerError> {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::warn!(%error, "could not read some of the system's CA certificates");
        }
        let (_, skipped) = roots.add_parsable_certificates(system.certs);
        if skipped > 0 {
            tracing::debug!(skipped, "the system's CA certificates include some that cannot be used");
        }
        Self::of(roots, Vec::new(), ca_files, Arc::new(aws_lc_rs::default_provider()))
    }

    /// These roots and those in `ca_files`.
    ///
    /// # Errors
    /// [`DialerError`] if a CA file cannot be used.
    pub(crate) fn with_more(&self, ca_files: &[PathBuf]) -> Result<Self, DialerError> {
        Self::of(self.roots.clone(), self.files.clone(), ca_files, Arc::clone(&self.provider))
    }

    fn of(
        mut roots: RootCertStore,
        mut files: Vec<(PathBuf, usize)>,
        ca_files: &[PathBuf],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, DialerError> {
        for path in ca_files {
            files.push((path.clone(), roots.len()));
            add_file(&mut roots, path)?;
        }
        if roots.is_empty() {
            tracing::warn!(
                "no CA certificates: no TLS connection can succeed; install ca-certificates or set network.ca_files"
            );
        }
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|source| DialerError::Tls { source })?;
        if roots.is_empty() {
            let config = Arc::new(builder.with_root_certificates(roots.clone()).with_no_client_auth());
            return Ok(Self { roots, files, provider, verifier: None, config });
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots.clone()), Arc::clone(&provider))
                .build()
                .expect("there are roots, and no revocation lists that could be wrong");
        let verifier = Arc::new(Naming(verifier));
        let trusting = Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>;
        let config = builder.dangerous().with_custom_certificate_verifier(trusting).with_no_client_auth();
        Ok(Self { roots, files, provider, verifier: Some(verifier), config: Arc::new(config) })
    }

    /// The settings of every connection.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Settings for one connection whose presented chain is to be shown. They trust nobody else.
    pub(crate) fn watched(&self) -> (Arc<ClientConfig>, Watch) {
        let Some(verifier) = &self.verifier else { return (self.config(), Watch(None)) };
        let inner = Arc::clone(verifier) as Arc<dyn ServerCertVerifier>;
        let recording = Arc::new(Recording { inner, seen: Mutex::default() });
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .expect("the same versions served before");
        let watching = Arc::clone(&recording) as Arc<dyn ServerCertVerifier>;
        let config = builder.dangerous().with_custom_certificate_verifier(watching).with_no_client_auth();
        (Arc::new(config), Watch(Some(recording)))
    }

    /// The root that vouches for this chain, and where it came from; nothing if none of ours has signed any of it.
    pub(crate) fn authority(&self, watch: &Watch) -> Option<String> {
        let chain = watch.chain();
        let issuers: Vec<_> = chain.iter().rev().filter_map(|one| Certificate::read(one)).collect();
        let mut roots = self.roots.roots.iter().enumerate();
        let (index, root) = roots.find(|(_, root)| {
            issuers.iter().any(|certificate| certificate.issuer_bytes() == root.subject.as_ref())
        })?;
        let name = certificate::name(root.subject.as_ref()).unwrap_or_else(|| "a root without a name".into());
        let file = self.files.iter().rev().find(|(_, before)| *before <= index);
        let place = file.map_or_else(|| "the system's roots".into(), |(path, _)| path.display().to_string());
        Some(format!("{name} ({place})"))
    }
}

/// What a watched handshake showed.
pub(crate) struct Watch(Option<Arc<Recording>>);

impl Watch {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.0.as_ref().map_or_else(Vec::new, |recording| recording.seen.lock().clone())
    }

    /// The chain, leaf first, for people.
    pub(crate) fn presented(&self) -> Vec<Presented> {
        let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "?".into());
        let show = |certificate: &CertificateDer<'_>| {
            let Some(read) = Certificate::read(certificate) else {
                let unknown = || "?".to_owned();
                return Presented {
                    subject: unknown(),
                    issuer: unknown(),
                    not_before: unknown(),
                    not_after: unknown(),
                };
            };
            let (not_before, not_after) = read.validity();
            Presented {
                subject: or_unknown(read.subject()),
                issuer: or_unknown(read.issuer()),
                not_before: or_unknown(not_before),
                not_after: or_unknown(not_after),
            }
        };
        self.chain().iter().map(show).collect()
    }
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), DialerError> {
    let unreadable = |source| DialerError::CaFile { path: path.to_owned(), source };
    let mut found = false;
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let refused = |source| DialerError::CaRefused { path: path.to_owned(), source };
        roots.add(certificate.map_err(unreadable)?).map_err(refused)?;
        found = true;
    }
    if found { Ok(()) } else { Err(DialerError::CaFileEmpty { path: path.to_owned() }) }
}

/// What a failed handshake means, for a person.
pub(crate) fn fault(error: std::io::Error) -> DialFault {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return DialFault::from(error);
    };
    let rustls::Error::InvalidCertificate(certificate) = tls else {
        return DialFault::Handshake { text: tls.to_string() };
    };
    let (flaw, advice) = judged(certificate);
    DialFault::Certificate { flaw, text: format!("certificate refused: {}: {advice}", words(certificate)) }
}

/// rustls' words for a reason, or ours.
fn words(reason: &CertificateError) -> String {
    let CertificateError::Other(other) = reason else { return reason.to_string() };
    other.0.downcast_ref::<UntrustedIssuer>().map_or_else(|| reason.to_string(), ToString::to_string)
}

/// What is wrong with a refused certificate, and what to do about it. rustls' list of reasons may grow: its own words
/// then have to do.
fn judged(reason: &CertificateError) -> (Flaw, &'static str) {
    use CertificateError as Reason;
    let is_named = matches!(reason, Reason::Other(other) if other.0.is::<UntrustedIssuer>());
    if is_named || *reason == Reason::UnknownIssuer {
        let advice = "no root that this host trusts has signed it; if a proxy inspects TLS, add its root to network.ca_files";
        (Flaw::Untrusted, advice)
    } else if matches!(
        reason,
        Reason::BadSignature | Reason::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
    ) {
        // So it is when an inspecting proxy's root was made anew under its old name.
        let advice = "a root with its issuer's name is trusted here, but another key signed it; \
                      put the issuer's present root into network.ca_files";
        (Flaw::Untrusted, advice)
    } else if matches!(reason, Reason::NotValidForName | Reason::NotValidForNameContext { .. }) {
        (Flaw::WrongName, "another host answered; check the name, the DNS and the proxy")
    } else if matches!(reason, Reason::Expired | Reason::ExpiredContext { .. }) {
        (Flaw::Expired, "it has expired; check this host's clock, then tell its owner")
    } else if matches!(reason, Reason::NotValidYet | Reason::NotValidYetContext { .. }) {
        (Flaw::NotYetValid, "it is not valid yet; check this host's clock")
    } else {
        (Flaw::Other, "tell the owner of the host or of the inspecting proxy")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn ca_file_without_a_certificate_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let empty = dir.path().join("corp.pem");
        fs::write(&empty, "not a certificate\n").expect("written");
        assert!(
            matches!(Trust::new(std::slice::from_ref(&empty)), Err(DialerError::CaFileEmpty { path }) if path == empty)
        );

        let missing = dir.path().join("gone.pem");
        assert!(
            matches!(Trust::new(std::slice::from_ref(&missing)), Err(DialerError::CaFile { path, .. }) if path == missing)
        );

        let broken = dir.path().join("broken.pem");
        fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .expect("written");
        assert!(
            matches!(Trust::new(std::slice::from_ref(&broken)), Err(DialerError::CaRefused { path, .. }) if path == broken)
        );
    }

    #[test]
    fn private_root_is_accepted() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("corp.pem");
        let root = rcgen::generate_simple_self_signed(vec!["corp".into()]).expect("a certificate");
        fs::write(&path, root.cert.pem()).expect("written");
        assert!(Trust::new(&[path]).is_ok());
    }

    #[test]
    fn a_chain_is_shown_up_to_its_bound() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("corp.pem");
        let root = rcgen::generate_simple_self_signed(vec!["corp".into()]).expect("a certificate");
        fs::write(&path, root.cert.pem()).expect("written");
        let (_, watch) = Trust::new(&[path]).expect("a root").watched();
        let recording = watch.0.as_ref().expect("there is a root to verify against");
        let endless = vec![root.cert.der().clone(); 1_000];
        let name = rustls_pki_types::ServerName::try_from("corp").expect("a name");
        let now = rustls_pki_types::UnixTime::now();
        // Whatever the verdict: what was sent is kept to be shown.
        drop(recording.verify_server_cert(&endless[0], &endless[1..], &name, &[], now));
        assert_eq!(watch.presented().len(), 10);
    }
}
