//! TLS towards Slack and handlers: the system's roots and the operator's own, always verified.
//!
//! One [`ClientConfig`] serves every connection of a process, so that session tickets and memory are shared.

mod issuer;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use self::verify::{Naming, UntrustedIssuer};
use crate::dial::{DialFault, DialerError};

/// TLS settings that trust the system's roots and those in `ca_files`. Blocks on files: call it at start-up, once.
///
/// # Errors
/// [`DialerError`] if a CA file cannot be used. Odd certificates among the system's are skipped.
pub fn client_config(ca_files: &[PathBuf]) -> Result<Arc<ClientConfig>, DialerError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "could not read some of the system's CA certificates");
    }
    let (_, skipped) = roots.add_parsable_certificates(system.certs);
    if skipped > 0 {
        tracing::debug!(skipped, "the system's CA certificates include some that cannot be used");
    }
    for path in ca_files {
        add_file(&mut roots, path)?;
    }
    if roots.is_empty() {
        tracing::warn!(
            "no CA certificates: no TLS connection can succeed; install ca-certificates or set network.ca_files"
        );
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|source| DialerError::Tls { source })?;
    if roots.is_empty() {
        return Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .expect("there are roots, and no revocation lists that could be wrong");
    let naming = Arc::new(Naming(verifier));
    Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(naming).with_no_client_auth()))
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
    let advice = advice(certificate);
    DialFault::Certificate { text: format!("certificate refused: {certificate}: {advice}") }
}

/// What to do about a refused certificate. rustls' list of reasons may grow: its own words then have to do.
fn advice(reason: &CertificateError) -> &'static str {
    use CertificateError as Reason;
    let is_named = matches!(reason, Reason::Other(other) if other.0.is::<UntrustedIssuer>());
    if is_named || *reason == Reason::UnknownIssuer {
        "no root that this host trusts has signed it; if a proxy inspects TLS, add its root to network.ca_files"
    } else if matches!(reason, Reason::NotValidForName | Reason::NotValidForNameContext { .. }) {
        "another host answered; check the name, the DNS and the proxy"
    } else if matches!(reason, Reason::Expired | Reason::ExpiredContext { .. }) {
        "it has expired; check this host's clock, then tell its owner"
    } else if matches!(reason, Reason::NotValidYet | Reason::NotValidYetContext { .. }) {
        "it is not valid yet; check this host's clock"
    } else {
        "tell the owner of the host or of the inspecting proxy"
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
            matches!(client_config(std::slice::from_ref(&empty)), Err(DialerError::CaFileEmpty { path }) if path == empty)
        );

        let missing = dir.path().join("gone.pem");
        assert!(
            matches!(client_config(std::slice::from_ref(&missing)), Err(DialerError::CaFile { path, .. }) if path == missing)
        );

        let broken = dir.path().join("broken.pem");
        fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .expect("written");
        assert!(
            matches!(client_config(std::slice::from_ref(&broken)), Err(DialerError::CaRefused { path, .. }) if path == broken)
        );
    }

    #[test]
    fn private_root_is_accepted() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("corp.pem");
        let root = rcgen::generate_simple_self_signed(vec!["corp".into()]).expect("a certificate");
        fs::write(&path, root.cert.pem()).expect("written");
        assert!(client_config(&[path]).is_ok());
    }
}
