//! rustls' own verification, with a better message: an untrusted issuer is named.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::issuer;

/// No root that this host trusts has signed the certificate; who did.
#[derive(Debug, thiserror::Error)]
#[error("its issuer `{issuer}` is not trusted here")]
pub(super) struct UntrustedIssuer {
    issuer: String,
}

/// Decides nothing itself: every verdict is the inner verifier's, only the words of a refusal may change.
#[derive(Debug)]
pub(super) struct Naming(pub(super) Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Naming {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| named(error, intermediates.last().unwrap_or(end_entity)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Names the issuer of the last certificate that the server sent: the root that is missing.
fn named(error: Error, last: &CertificateDer<'_>) -> Error {
    if error != Error::InvalidCertificate(CertificateError::UnknownIssuer) {
        return error;
    }
    match issuer::of(last) {
        Some(issuer) => CertificateError::Other(OtherError(Arc::new(UntrustedIssuer { issuer }))).into(),
        None => error,
    }
}
