//! Connections between two ends of rustls in memory, followed by their records and their key log alone.

use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring as provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, SupportedCipherSuite};

use super::*;
use crate::time::Timestamp;
use crate::tls::keylog::{self, KeyLog};

/// Lines as an endpoint writes them.
#[derive(Debug, Default)]
struct Lines(Mutex<String>);

impl rustls::KeyLog for Lines {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        self.0.lock().unwrap().push_str(&line);
    }
}

/// Certificates are not what is tested here.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[derive(Debug)]
struct Identity(Arc<rustls::sign::CertifiedKey>);

impl rustls::server::ResolvesServerCert for Identity {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Two ends, and all that went over the wire.
struct Ends {
    client: ClientConnection,
    server: ServerConnection,
    /// What the client and what the server sent.
    wire: [Vec<u8>; 2],
}

/// Configurations with one suite, and where their secrets are written.
fn configured(suite: SupportedCipherSuite) -> (Arc<ClientConfig>, Arc<ServerConfig>, Arc<Lines>) {
    let provider =
        Arc::new(rustls::crypto::CryptoProvider { cipher_suites: vec![suite], ..provider::default_provider() });
    let random = ring::rand::SystemRandom::new();
    let ecdsa = suite.suite().as_str().is_some_and(|name| name.contains("ECDSA"));
    let key: PrivateKeyDer<'static> = match ecdsa || suite.tls13().is_some() {
        true => {
            let algorithm = &ring::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
            let pkcs8 = ring::signature::EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            PrivateKeyDer::Pkcs8(pkcs8.as_ref().to_vec().into())
        }
        false => unreachable!("suites with an RSA key are left out"),
    };
    let key = provider::sign::any_supported_type(&key).unwrap();
    let identity = rustls::sign::CertifiedKey::new(vec![CertificateDer::from(vec![0x30; 300])], key);
    let lines = Arc::new(Lines::default());
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    client.key_log = lines.clone();
    client.enable_early_data = true;
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Identity(Arc::new(identity))));
    server.max_early_data_size = 4096;
    (Arc::new(client), Arc::new(server), lines)
}

impl Ends {
    fn new(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Ends {
        let name = ServerName::try_from("api.example").unwrap();
        Ends {
            client: ClientConnection::new(client.clone(), name).unwrap(),
            server: ServerConnection::new(server.clone()).unwrap(),
            wire: [Vec::new(), Vec::new()],
        }
    }

    /// Carries bytes until neither has any.
    fn exchange(&mut self) {
        loop {
            let [mut to_server, mut to_client] = [Vec::new(), Vec::new()];
            while self.client.wants_write() {
                self.client.write_tls(&mut to_server).unwrap();
            }
            while self.server.wants_write() {
                self.server.write_tls(&mut to_client).unwrap();
            }
            if to_server.is_empty() && to_client.is_empty() {
                return;
            }
            self.wire[0].extend(&to_server);
            self.wire[1].extend(&to_client);
            let mut rest = &to_server[..];
            while !rest.is_empty() {
                self.server.read_tls(&mut rest).unwrap();
                self.server.process_new_packets().unwrap();
                drain(&mut self.server.reader());
            }
            let mut rest = &to_client[..];
            while !rest.is_empty() {
                self.client.read_tls(&mut rest).unwrap();
                self.client.process_new_packets().unwrap();
                drain(&mut self.client.reader());
            }
        }
    }
}

fn drain(reader: &mut dyn std::io::Read) {
    let mut bytes = [0; 4096];
    while matches!(reader.read(&mut bytes), Ok(1..)) {}
}

/// Who follows one direction.
struct Follower {
    sender: Sender,
    opener: Option<Opener>,
    /// To be used once the handshake of this side is over.
    then: Option<Opener>,
    data: Vec<u8>,
    handshake: Vec<u8>,
}

/// What client and server wrote, from their records and the key log.
fn follow(wire: &[Vec<u8>; 2], lines: &Lines) -> [Vec<u8>; 2] {
    let log = KeyLog::new(&keylog::Settings::default());
    log.add(lines.0.lock().unwrap().as_bytes(), KeyLog::ALWAYS);
    // Randoms at fixed places of the first message of each; the suite behind the session's identity.
    let client: [u8; 32] = wire[0][11..43].try_into().unwrap();
    let server: [u8; 32] = wire[1][11..43].try_into().unwrap();
    let behind = 44 + usize::from(wire[1][43]);
    let suite = Suite::of(u16::from_be_bytes([wire[1][behind], wire[1][behind + 1]])).unwrap();
    let secrets = log.find(&client, Timestamp::ZERO).expect("logged");
    [Sender::Client, Sender::Server].map(|sender| {
        let tls13 = |traffic: Option<&Secret>| Opener::tls13(&suite, traffic?, &settings());
        let mut follower = Follower { sender, opener: None, then: None, data: Vec::new(), handshake: Vec::new() };
        if suite.tls13 {
            let handshake = tls13(secrets.handshake(sender));
            let early = tls13(secrets.client_early.as_ref()).filter(|_| sender == Sender::Client);
            follower.opener = early.or(handshake);
            follower.then = tls13(secrets.traffic(sender));
        } else {
            let randoms = Randoms { client: &client, server: &server };
            follower.opener = Opener::tls12(&suite, &secrets.master.unwrap(), &randoms, sender, false, &settings());
        }
        let mut protected = false;
        let mut rest = &wire[sender as usize][..];
        while let [kind, a, b, c, d, behind @ ..] = rest {
            let (fragment, next) = behind.split_at(usize::from(u16::from_be_bytes([*c, *d])));
            match kind {
                20 => protected = true,
                _ if suite.tls13 && *kind == 23 || !suite.tls13 && protected => {
                    follower.take(*kind, u16::from_be_bytes([*a, *b]), fragment, &suite, &secrets);
                }
                _ => {}
            }
            rest = next;
        }
        follower.data
    })
}

impl Follower {
    fn take(&mut self, kind: u8, version: u16, fragment: &[u8], suite: &Suite, secrets: &keylog::Secrets) {
        let mut out = Vec::new();
        let opener = self.opener.as_mut().unwrap();
        let opened = opener.open(kind, version, fragment, &mut out).unwrap();
        assert_eq!(opened.missing, 0);
        match opened.content_type {
            23 => self.data.extend(opened.content),
            22 => self.handshake.extend(opened.content),
            _ => {}
        }
        while suite.tls13
            && let [kind, a, b, c, rest @ ..] = &self.handshake[..]
            && let length = u32::from_be_bytes([0, *a, *b, *c]) as usize
            && rest.len() >= length
        {
            match kind {
                5 => self.opener = Opener::tls13(suite, secrets.handshake(self.sender).unwrap(), &settings()),
                20 => self.opener = self.then.take(),
                24 => self.opener.as_mut().unwrap().update(),
                _ => {}
            }
            self.handshake.drain(..4 + length);
        }
    }
}

/// Bytes to write, more than a record holds.
fn text(seed: u32) -> Vec<u8> {
    (0..40_000_u32).map(|at| (at.wrapping_mul(seed) >> 3) as u8).collect()
}

fn suites() -> impl Iterator<Item = SupportedCipherSuite> {
    let rsa = |suite: &SupportedCipherSuite| suite.suite().as_str().is_some_and(|name| name.contains("_RSA_"));
    provider::ALL_CIPHER_SUITES.iter().copied().filter(move |suite| !rsa(suite))
}

#[test]
fn every_suite_of_rustls() {
    let mut count = 0;
    for suite in suites() {
        let (client, server, lines) = configured(suite);
        let mut ends = Ends::new(&client, &server);
        ends.exchange();
        let mut expected: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
        for seed in [3, 5] {
            for part in text(seed).chunks(13_000) {
                std::io::Write::write_all(&mut ends.client.writer(), part).unwrap();
                std::io::Write::write_all(&mut ends.server.writer(), &part[..part.len() / 2]).unwrap();
                expected[0].extend(part);
                expected[1].extend(&part[..part.len() / 2]);
                ends.exchange();
            }
            if suite.tls13().is_some() {
                ends.client.refresh_traffic_keys().unwrap();
                ends.server.refresh_traffic_keys().unwrap();
                ends.exchange();
            }
        }
        assert!(follow(&ends.wire, &lines) == expected, "{suite:?}");
        count += 1;
    }
    assert_eq!(count, 6);
}

#[test]
fn early_data_of_rustls() {
    for suite in suites().filter(|suite| suite.tls13().is_some()) {
        let (client, server, _) = configured(suite);
        Ends::new(&client, &server).exchange();
        let lines = Arc::new(Lines::default());
        let mut logging = (*client).clone();
        logging.key_log = lines.clone();
        let mut ends = Ends::new(&Arc::new(logging), &server);
        std::io::Write::write_all(&mut ends.client.early_data().expect("a ticket"), b"early").unwrap();
        ends.exchange();
        assert!(ends.client.is_early_data_accepted());
        std::io::Write::write_all(&mut ends.client.writer(), b" and late").unwrap();
        ends.exchange();
        assert_eq!(follow(&ends.wire, &lines), [b"early and late".to_vec(), Vec::new()], "{suite:?}");
    }
}
