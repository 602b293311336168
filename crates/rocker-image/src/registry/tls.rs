//! TLS: the system's certificate authorities, asked for only when a host needs them.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_platform_verifier::Verifier;

use super::{Certificates, RegistryError};

/// For the client that speaks plain HTTP only: reqwest wants some configuration, this one
/// trusts nobody and reads no file.
pub(super) fn trust_nobody() -> Result<ClientConfig, RegistryError> {
    let builder = builder(provider())?;
    Ok(builder
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

/// The system's authorities (`SSL_CERT_FILE` is honoured), `extra_roots`, in DER, and what
/// there is for one host.
///
/// Reading and parsing the system's bundle takes some milliseconds; hence a function of
/// its own, called when the first https host is contacted.
pub(super) fn trust_system(
    extra_roots: &[Vec<u8>],
    own: &Certificates,
) -> Result<ClientConfig, RegistryError> {
    let provider = provider();
    let extra: Vec<_> = extra_roots
        .iter()
        .map(|der| CertificateDer::from(der.clone()))
        .chain(own.authorities.iter().cloned())
        .collect();
    let verifier = Verifier::new_with_extra_roots(extra.clone(), Arc::clone(&provider));
    let verifier = Trusting {
        verifier: verifier.map_err(setup)?,
        own: extra,
    };
    // "dangerous" is rustls's word for every verifier that it does not bring itself; this
    // one calls webpki like rustls's own does, with the platform's roots
    let builder = builder(provider)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    introduce(builder, own)
}

/// The system's way to look at certificates, and one more: what the user trusts by itself may be
/// the server's own certificate. `openssl req -x509` makes such ones, and says of them that they
/// are authorities, which webpki does not take from a server.
#[derive(Debug)]
struct Trusting {
    verifier: Verifier,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.verifier
                .verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verified {
            // it is asked for this only once the days have been found right
            Err(error) if is_authority(&error) && self.own.contains(certificate) => {
                let certificate = ParsedCertificate::try_from(certificate)?;
                verify_server_name(&certificate, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Whether nothing else is wrong with a certificate but that it may sign others.
fn is_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error
    else {
        return false;
    };
    matches!(cause.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

/// Shows the client certificate, where there is one and it is asked for.
fn introduce(
    builder: rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>,
    own: &Certificates,
) -> Result<ClientConfig, RegistryError> {
    match &own.client {
        None => Ok(builder.with_no_client_auth()),
        Some(client) => builder
            .with_client_auth_cert(client.chain.clone(), client.key.clone_key())
            .map_err(setup),
    }
}

/// For a registry whose certificate the user does not want to be looked at.
pub(super) fn trust_anybody(own: &Certificates) -> Result<ClientConfig, RegistryError> {
    let provider = provider();
    let verifier = Arc::new(Anybody(Arc::clone(&provider)));
    let builder = builder(provider)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    introduce(builder, own)
}

/// Takes every certificate; that the peer has its key is still checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
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
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
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
