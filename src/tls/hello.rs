//! ClientHello and ServerHello (RFC 8446, sections 4.1.2 and 4.1.3; RFC 5246, section 7.4.1), EncryptedExtensions, and the
//! extensions that are of interest.
//!
//! Hellos are read tolerantly: what is behind the part that contradicts itself is taken for absent, as a fingerprint of what is
//! there is worth more than none. Everything is borrowed from the message.

use super::codec::Reader;

/// Versions as on the wire.
pub mod version {
    /// SSL 3.0.
    pub const SSL3: u16 = 0x0300;
    /// TLS 1.2.
    pub const TLS12: u16 = 0x0303;
    /// TLS 1.3.
    pub const TLS13: u16 = 0x0304;
}

/// Numbers of extensions (IANA, TLS ExtensionType Values).
pub mod extension {
    /// RFC 6066, section 3.
    pub const SERVER_NAME: u16 = 0;
    /// RFC 8422, section 5.1.1; supported_groups since RFC 7919.
    pub const GROUPS: u16 = 10;
    /// RFC 8446, section 4.2.3.
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    /// RFC 7301.
    pub const ALPN: u16 = 16;
    /// RFC 7366.
    pub const ENCRYPT_THEN_MAC: u16 = 22;
    /// RFC 7627.
    pub const EXTENDED_MASTER_SECRET: u16 = 23;
    /// RFC 5077.
    pub const SESSION_TICKET: u16 = 35;
    /// RFC 8446, section 4.2.11.
    pub const PRE_SHARED_KEY: u16 = 41;
    /// RFC 8446, section 4.2.10.
    pub const EARLY_DATA: u16 = 42;
    /// RFC 8446, section 4.2.1.
    pub const SUPPORTED_VERSIONS: u16 = 43;
}

/// `random` of a HelloRetryRequest (RFC 8446, section 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// True of the values that clients sprinkle in, so that servers keep passing over what they do not know (RFC 8701).
pub const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// The extensions of a message, in order.
#[derive(Clone, Copy, Debug)]
pub struct Extensions<'a>(&'a [u8]);

impl<'a> Extensions<'a> {
    fn read(reader: &mut Reader<'a>) -> Extensions<'a> {
        // Of a list that says to be longer than it is, what is there is read.
        let list = reader.vector16().or_else(|| {
            let mut rest = *reader;
            rest.u16().map(|_| rest)
        });
        Extensions(list.map_or(&[], |list| list.rest()))
    }

    /// Number and content of each.
    pub fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> + Clone {
        let mut rest = Reader::new(self.0);
        std::iter::from_fn(move || {
            let mut next = rest;
            let found = next.u16().zip(next.vector16());
            rest = next;
            found.map(|(number, content)| (number, content.rest()))
        })
    }

    /// The content of the first with this number.
    pub fn find(self, number: u16) -> Option<&'a [u8]> {
        self.iter().find(|&(found, _)| found == number).map(|(_, content)| content)
    }

    fn has(self, number: u16) -> bool {
        self.find(number).is_some()
    }
}

/// What a client proposes.
#[derive(Clone, Copy, Debug)]
pub struct ClientHello<'a> {
    /// `legacy_version`: the highest up to TLS 1.2.
    pub legacy_version: u16,
    /// Its random.
    pub random: &'a [u8; 32],
    /// Id of the session that it would resume, up to TLS 1.2.
    pub session_id: &'a [u8],
    ciphers: &'a [u8],
    /// Its extensions.
    pub extensions: Extensions<'a>,
}

impl<'a> ClientHello<'a> {
    /// Reads the body of a message of this type; none when it ends before its random does.
    pub fn parse(body: &'a [u8]) -> Option<ClientHello<'a>> {
        let mut reader = Reader::new(body);
        let legacy_version = reader.u16()?;
        let random = reader.take(32)?.try_into().ok()?;
        let session_id = reader.vector8().map_or(&[][..], |id| id.rest());
        let ciphers = reader.vector16().map_or(&[][..], |ciphers| ciphers.rest());
        let _compression = reader.vector8();
        Some(ClientHello { legacy_version, random, session_id, ciphers, extensions: Extensions::read(&mut reader) })
    }

    /// Cipher suites, GREASE included.
    pub fn ciphers(&self) -> impl Iterator<Item = u16> + Clone + 'a {
        Reader::new(self.ciphers).numbers()
    }

    /// The host name that it asks for.
    pub fn server_name(&self) -> Option<&'a [u8]> {
        const HOST_NAME: u8 = 0;
        let mut list = Reader::new(self.extensions.find(extension::SERVER_NAME)?).vector16()?;
        while let (Some(kind), Some(name)) = (list.u8(), list.vector16()) {
            if kind == HOST_NAME {
                return Some(name.rest());
            }
        }
        None
    }

    /// Protocols that it proposes, most wanted first.
    pub fn protocols(&self) -> impl Iterator<Item = &'a [u8]> {
        protocols(self.extensions)
    }

    /// Versions that it accepts, GREASE included; none up to TLS 1.2.
    pub fn versions(&self) -> impl Iterator<Item = u16> + Clone + 'a {
        let list = self.extensions.find(extension::SUPPORTED_VERSIONS);
        let list = list.and_then(|content| Reader::new(content).vector8());
        list.unwrap_or(Reader::new(&[])).numbers()
    }

    /// Signature algorithms that it accepts.
    pub fn signature_algorithms(&self) -> impl Iterator<Item = u16> + Clone + 'a {
        let list = self.extensions.find(extension::SIGNATURE_ALGORITHMS);
        let list = list.and_then(|content| Reader::new(content).vector16());
        list.unwrap_or(Reader::new(&[])).numbers()
    }

    /// The highest version that it accepts.
    pub fn highest_version(&self) -> u16 {
        let versions = self.versions().filter(|&version| !is_grease(version));
        versions.max().unwrap_or(self.legacy_version)
    }

    /// It proposes to go on with a session from before: by an id, a ticket, or a pre-shared key.
    pub fn resumes(&self) -> bool {
        let ticket = self.extensions.find(extension::SESSION_TICKET).is_some_and(|ticket| !ticket.is_empty());
        let id = !self.session_id.is_empty() && self.highest_version() < version::TLS13;
        ticket || id || self.extensions.has(extension::PRE_SHARED_KEY)
    }

    /// Data of the application follows before the server answers (RFC 8446, section 4.2.10).
    pub fn early_data(&self) -> bool {
        self.extensions.has(extension::EARLY_DATA)
    }
}

fn protocols(extensions: Extensions<'_>) -> impl Iterator<Item = &[u8]> {
    let list = extensions.find(extension::ALPN).and_then(|content| Reader::new(content).vector16());
    let mut list = list.unwrap_or(Reader::new(&[]));
    std::iter::from_fn(move || list.vector8().map(|name| name.rest()))
}

/// What a server chooses.
#[derive(Clone, Copy, Debug)]
pub struct ServerHello<'a> {
    /// `legacy_version`: that of the connection up to TLS 1.2.
    pub legacy_version: u16,
    /// Its random.
    pub random: &'a [u8; 32],
    /// Id of the session.
    pub session_id: &'a [u8],
    /// The cipher suite.
    pub cipher: u16,
    /// Its extensions.
    pub extensions: Extensions<'a>,
}

impl<'a> ServerHello<'a> {
    /// Reads the body of a message of this type; none when it ends before the cipher suite does.
    pub fn parse(body: &'a [u8]) -> Option<ServerHello<'a>> {
        let mut reader = Reader::new(body);
        let legacy_version = reader.u16()?;
        let random = reader.take(32)?.try_into().ok()?;
        // The drafts of TLS 1.3 up to the 21st had neither session id nor compression.
        let draft = legacy_version >> 8 == 0x7f;
        let session_id = if draft { &[][..] } else { reader.vector8()?.rest() };
        let cipher = reader.u16()?;
        if !draft {
            let _compression = reader.u8();
        }
        Some(ServerHello { legacy_version, random, session_id, cipher, extensions: Extensions::read(&mut reader) })
    }

    /// It asks for another hello (HelloRetryRequest).
    pub fn is_retry(&self) -> bool {
        *self.random == RETRY
    }

    /// The version that was agreed on.
    pub fn version(&self) -> u16 {
        let chosen = self.extensions.find(extension::SUPPORTED_VERSIONS).and_then(|content| Reader::new(content).u16());
        chosen.unwrap_or(self.legacy_version)
    }

    /// The protocol that was agreed on, up to TLS 1.2.
    pub fn protocol(&self) -> Option<&'a [u8]> {
        protocols(self.extensions).next()
    }

    /// Encryption is done before the message authentication code (RFC 7366).
    pub fn encrypt_then_mac(&self) -> bool {
        self.extensions.has(extension::ENCRYPT_THEN_MAC)
    }

    /// It goes on with the session of the client's pre-shared key (TLS 1.3).
    pub fn pre_shared_key(&self) -> bool {
        self.extensions.has(extension::PRE_SHARED_KEY)
    }
}

/// What a server says under encryption in TLS 1.3.
#[derive(Clone, Copy, Debug)]
pub struct EncryptedExtensions<'a>(Extensions<'a>);

impl<'a> EncryptedExtensions<'a> {
    /// Reads the body of a message of this type.
    pub fn parse(body: &'a [u8]) -> EncryptedExtensions<'a> {
        EncryptedExtensions(Extensions::read(&mut Reader::new(body)))
    }

    /// The protocol that was agreed on.
    pub fn protocol(&self) -> Option<&'a [u8]> {
        protocols(self.0).next()
    }

    /// The server takes the early data.
    pub fn early_data(&self) -> bool {
        self.0.has(extension::EARLY_DATA)
    }
}

/// TLS 1.3 or one of its drafts (0x7fNN; Facebook's 0xfbNN).
pub const fn is_tls13(version: u16) -> bool {
    version == version::TLS13 || matches!(version >> 8, 0x7f | 0xfb | 0x7e)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_hello(extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 4, 0x13, 0x01, 0x0a, 0x0a, 1, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        body
    }

    #[test]
    fn a_client_hello_is_read() {
        let name = [0, 0, 0, 8, 0, 6, 0, 0, 3, b'a', b'.', b'b'];
        let alpn = [0, 16, 0, 5, 0, 3, 2, b'h', b'2'];
        let versions = [0, 43, 0, 5, 4, 0x2a, 0x2a, 3, 4];
        let body = client_hello(&[&name[..], &alpn, &versions, &[0, 42, 0, 0]].concat());
        let hello = ClientHello::parse(&body).expect("a hello");
        assert_eq!(hello.server_name(), Some(&b"a.b"[..]));
        assert_eq!(hello.protocols().collect::<Vec<_>>(), [b"h2"]);
        assert_eq!(hello.highest_version(), version::TLS13);
        assert_eq!(hello.ciphers().collect::<Vec<_>>(), [0x1301, 0x0a0a]);
        assert!(hello.early_data() && !hello.resumes());
    }

    #[test]
    fn a_hello_that_is_cut_off_gives_what_is_there() {
        let body = client_hello(&[0, 16, 0, 5, 0, 3, 2, b'h', b'2']);
        for length in 0..body.len() {
            match ClientHello::parse(&body[..length]) {
                Some(hello) => assert!(length >= 34 && hello.ciphers().count() <= 2),
                None => assert!(length < 34),
            }
        }
    }

    #[test]
    fn grease_is_what_rfc_8701_lists() {
        let listed: Vec<u16> = (0..16).map(|nibble| (nibble << 4 | 0x0a) * 0x0101).collect();
        let found: Vec<u16> = (0..=u16::MAX).filter(|&value| is_grease(value)).collect();
        assert_eq!(found, listed);
    }
}
