//! Trust: the one TLS configuration that API calls and the WebSocket share.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::error::Error;

/// Makes the configuration at first need: reading the system's roots takes ten milliseconds, which
/// nobody should pay who talks to `http://127.0.0.1`.
#[derive(Debug)]
pub(super) struct Trust {
    bundle: Option<PathBuf>,
    verify: bool,
    made: OnceLock<Result<Arc<ClientConfig>, Error>>,
}

impl Trust {
    /// `bundle` is trusted beside the system's roots; without `verify` any certificate will do.
    pub(super) fn new(bundle: Option<PathBuf>, verify: bool) -> Self {
        Self {
            bundle,
            verify,
            made: OnceLock::new(),
        }
    }

    /// Whether certificates count.
    pub(super) fn verifies(&self) -> bool {
        self.verify
    }

    /// The configuration, made once.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        self.made
            .get_or_init(|| client_config(self.bundle.as_deref(), self.verify))
            .clone()
    }
}

fn client_config(bundle: Option<&Path>, verify: bool) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::configuration("cannot set up TLS", error.to_string()))?;
    let mut config = if verify {
        builder
            .with_root_certificates(roots(bundle)?)
            .with_no_client_auth()
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustAnyone(provider)))
            .with_no_client_auth()
    };
    // Both the API and the WebSocket speak HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots(bundle: Option<&Path>) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    if let Some(path) = bundle {
        let (good, bad) = store.add_parsable_certificates(read_bundle(path)?);
        if good == 0 {
            return Err(bundle_error(path, "its certificates are broken"));
        }
        if bad > 0 {
            tracing::warn!(path = %path.display(), bad, "broken certificates in the CA bundle");
        }
    }
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!(%error, "some of the system's root certificates cannot be read");
    }
    let (good, bad) = store.add_parsable_certificates(system.certs);
    tracing::debug!(good, bad, "system root certificates");
    if store.is_empty() {
        return Err(Error::configuration(
            "cannot set up TLS",
            "this machine has no root certificates",
        )
        .with_hint(
            "install the package ca-certificates, or name a PEM file with AWS_CA_BUNDLE or --ca-bundle",
        ));
    }
    Ok(store)
}

fn read_bundle(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = std::fs::read(path).map_err(|error| bundle_error(path, &error.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bundle_error(path, &format!("not well-formed PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(bundle_error(path, "there is no certificate in it"));
    }
    Ok(certificates)
}

fn bundle_error(path: &Path, why: &str) -> Error {
    Error::configuration(format!("cannot use the CA bundle {}", path.display()), why).with_hint(
        "--ca-bundle, AWS_CA_BUNDLE and the profile's ca_bundle name a file of PEM certificates",
    )
}

/// `--no-verify-ssl`: takes any certificate, but still wants the peer to hold its key.
#[derive(Debug)]
struct TrustAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(contents: Option<&str>) -> Error {
        let dir = tempfile::tempdir().expect("a directory for this test");
        let path = dir.path().join("bundle.pem");
        if let Some(contents) = contents {
            std::fs::write(&path, contents).expect("a file for this test");
        }
        client_config(Some(&path), true).expect_err("must be refused")
    }

    #[test]
    fn broken_bundles_are_refused_and_named() {
        let not_a_certificate =
            "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
        let cases = [
            (None, "No such file"),
            (Some(""), "no certificate"),
            (Some("hello"), "no certificate"),
            (Some(not_a_certificate), "broken"),
            (Some("-----BEGIN CERTIFICATE-----\nAAAA"), "PEM"),
        ];
        for (contents, why) in cases {
            let error = refusal(contents);
            assert!(error.to_string().contains("bundle.pem"), "{error}");
            // Windows has words of its own for a missing file.
            let told = error.to_string().contains(why) || (cfg!(windows) && contents.is_none());
            assert!(told, "{error} lacks {why}");
        }
    }

    #[test]
    fn no_verification_needs_no_roots_and_no_bundle() {
        let trust = Trust::new(Some("/does/not/exist".into()), false);
        assert!(trust.config().is_ok());
    }

    #[test]
    fn a_good_bundle_is_taken() {
        let made = rcgen::generate_simple_self_signed(vec!["example.org".to_owned()])
            .expect("a certificate for this test");
        let dir = tempfile::tempdir().expect("a directory for this test");
        let path = dir.path().join("bundle.pem");
        std::fs::write(&path, made.cert.pem()).expect("a file for this test");
        let trust = Trust::new(Some(path), true);
        let first = trust.config().expect("good");
        let second = trust.config().expect("good");
        assert!(Arc::ptr_eq(&first, &second));
    }
}
