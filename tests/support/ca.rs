//! A private CA, and servers' certificates of every kind of fault.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use taut_sim::TlsIdentity;

/// A CA whose root lies in a file.
pub struct PrivateCa {
    dir: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl PrivateCa {
    /// A CA of this name.
    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a certificate");
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("root.pem"), root.pem()).expect("written");
        Self { dir, issuer: Issuer::new(params, key) }
    }

    /// The root's file.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("root.pem")
    }

    /// A certificate for this name.
    pub fn identity(&self, name: &str) -> TlsIdentity {
        self.identity_of(&CertificateParams::new(vec![name.to_owned()]).expect("parameters"))
    }

    /// A certificate for this name whose time is long over.
    pub fn expired(&self, name: &str) -> TlsIdentity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
        self.identity_of(&params)
    }

    fn identity_of(&self, params: &CertificateParams) -> TlsIdentity {
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate");
        identity(leaf.der(), &key)
    }
}

/// A certificate for this name that nobody else signed.
pub fn self_signed(name: &str) -> TlsIdentity {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    params.distinguished_name.push(DnType::CommonName, "A server on its own");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    identity(certificate.der(), &key)
}

fn identity(certificate: &CertificateDer<'_>, key: &KeyPair) -> TlsIdentity {
    let chain = vec![certificate.clone().into_owned()];
    TlsIdentity { chain, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() }
}
