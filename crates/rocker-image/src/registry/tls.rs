//! TLS: the system's certificate authorities, asked for only when a host needs them.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::RegistryError;

/// For the client that speaks plain HTTP only: reqwest wants some configuration, this one
/// trusts nobody and reads no file.
pub(super) fn trust_nobody() -> Result<ClientConfig, RegistryError> {
    let builder = builder(provider())?;
    Ok(builder
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

/// The system's authorities (`SSL_CERT_FILE` is honoured) and `extra_roots`, in DER.
///
/// Reading and parsing the system's bundle takes some milliseconds; hence a function of
/// its own, called when the first https host is contacted.
pub(super) fn trust_system(extra_roots: &[Vec<u8>]) -> Result<ClientConfig, RegistryError> {
    let provider = provider();
    let extra: Vec<_> = extra_roots
        .iter()
        .map(|der| CertificateDer::from(der.clone()))
        .collect();
    let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider)).map_err(setup)?;
    // "dangerous" is rustls's word for every verifier that it does not bring itself; this
    // one calls webpki like rustls's own does, with the platform's roots
    let builder = builder(provider)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(builder.with_no_client_auth())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn builder(provider: Arc<CryptoProvider>) -> Result<Builder, RegistryError> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(setup)
}

fn setup(source: rustls::Error) -> RegistryError {
    RegistryError::TlsSetup {
        source: Box::new(source),
    }
}
