//! Cipher suites whose records can be opened, by their numbers in the registry of TLS.
//!
//! How the keys were agreed on does not matter to who has them; what is told apart is the cipher, its code for
//! authentication, and the hash of the key schedule.

/// A cipher suite, as far as records and keys go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite {
    /// How records are protected.
    pub cipher: Cipher,
    /// Hash of the pseudorandom function (TLS 1.2) or of HKDF (TLS 1.3).
    pub hash: Hash,
    /// It is one of TLS 1.3, and of no other version.
    pub tls13: bool,
}

/// How records are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// AES-128 in Galois/counter mode (RFC 5288, RFC 8446).
    Aes128Gcm,
    /// AES-256 in Galois/counter mode.
    Aes256Gcm,
    /// ChaCha20 and Poly1305 (RFC 7905, RFC 8446).
    Chacha20Poly1305,
    /// AES-128 in counter mode with CBC-MAC (RFC 6655, RFC 7251, RFC 8446).
    Aes128Ccm,
    /// The same with a tag of 8 bytes.
    Aes128Ccm8,
    /// AES-256 in counter mode with CBC-MAC.
    Aes256Ccm,
    /// The same with a tag of 8 bytes.
    Aes256Ccm8,
    /// AES-128 in cipher block chaining with an HMAC (RFC 5246 6.2.3.2).
    Aes128Cbc(Hash),
    /// AES-256 in cipher block chaining with an HMAC.
    Aes256Cbc(Hash),
}

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-1, which suites of TLS 1.2 use in their HMAC alone.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
}

impl Suite {
    /// The suite with this number; none when its records cannot be opened here (RC4, 3DES, Camellia, ARIA, no
    /// encryption at all) or it is not known.
    pub const fn of(number: u16) -> Option<Suite> {
        Some(match number {
            0x1301 => Suite::tls13(Cipher::Aes128Gcm, Hash::Sha256),
            0x1302 => Suite::tls13(Cipher::Aes256Gcm, Hash::Sha384),
            0x1303 => Suite::tls13(Cipher::Chacha20Poly1305, Hash::Sha256),
            0x1304 => Suite::tls13(Cipher::Aes128Ccm, Hash::Sha256),
            0x1305 => Suite::tls13(Cipher::Aes128Ccm8, Hash::Sha256),
            // RSA, DHE_RSA, DH_RSA, DHE_DSS, DH_DSS, DH_anon, PSK, DHE_PSK, RSA_PSK (RFC 5288, RFC 5487), ECDHE_ECDSA,
            // ECDH_ECDSA, ECDHE_RSA, ECDH_RSA (RFC 5289), ECDHE_PSK (RFC 8442).
            0x009c | 0x009e | 0x00a0 | 0x00a2 | 0x00a4 | 0x00a6 | 0x00a8 | 0x00aa | 0x00ac | 0xc02b | 0xc02d
            | 0xc02f | 0xc031 | 0xd001 => Suite::tls12(Cipher::Aes128Gcm, Hash::Sha256),
            0x009d | 0x009f | 0x00a1 | 0x00a3 | 0x00a5 | 0x00a7 | 0x00a9 | 0x00ab | 0x00ad | 0xc02c | 0xc02e
            | 0xc030 | 0xc032 | 0xd002 => Suite::tls12(Cipher::Aes256Gcm, Hash::Sha384),
            // ECDHE_RSA, ECDHE_ECDSA, DHE_RSA, PSK, ECDHE_PSK, DHE_PSK, RSA_PSK (RFC 7905).
            0xcca8..=0xccae => Suite::tls12(Cipher::Chacha20Poly1305, Hash::Sha256),
            // RFC 5246, RFC 4492, RFC 4279, RFC 5489. In TLS 1.2 their pseudorandom function uses SHA-256.
            0x002f..=0x0034 | 0x008c | 0x0090 | 0x0094 | 0xc004 | 0xc009 | 0xc00e | 0xc013 | 0xc018 | 0xc035 => {
                Suite::tls12(Cipher::Aes128Cbc(Hash::Sha1), Hash::Sha256)
            }
            0x0035..=0x003a | 0x008d | 0x0091 | 0x0095 | 0xc005 | 0xc00a | 0xc00f | 0xc014 | 0xc019 | 0xc036 => {
                Suite::tls12(Cipher::Aes256Cbc(Hash::Sha1), Hash::Sha256)
            }
            // RFC 5246, RFC 5289, RFC 5487, RFC 5489.
            0x003c
            | 0x003e..=0x0040
            | 0x0067
            | 0x006c
            | 0x00ae
            | 0x00b2
            | 0x00b6
            | 0xc023
            | 0xc025
            | 0xc027
            | 0xc029
            | 0xc037 => Suite::tls12(Cipher::Aes128Cbc(Hash::Sha256), Hash::Sha256),
            0x003d | 0x0068..=0x006b | 0x006d => Suite::tls12(Cipher::Aes256Cbc(Hash::Sha256), Hash::Sha256),
            0x00af | 0x00b3 | 0x00b7 | 0xc024 | 0xc026 | 0xc028 | 0xc02a | 0xc038 => {
                Suite::tls12(Cipher::Aes256Cbc(Hash::Sha384), Hash::Sha384)
            }
            // RFC 6655, RFC 7251.
            0xc09c | 0xc09e | 0xc0a4 | 0xc0a6 | 0xc0ac => Suite::tls12(Cipher::Aes128Ccm, Hash::Sha256),
            0xc09d | 0xc09f | 0xc0a5 | 0xc0a7 | 0xc0ad => Suite::tls12(Cipher::Aes256Ccm, Hash::Sha256),
            0xc0a0 | 0xc0a2 | 0xc0a8 | 0xc0aa | 0xc0ae => Suite::tls12(Cipher::Aes128Ccm8, Hash::Sha256),
            0xc0a1 | 0xc0a3 | 0xc0a9 | 0xc0ab | 0xc0af => Suite::tls12(Cipher::Aes256Ccm8, Hash::Sha256),
            _ => return None,
        })
    }

    const fn tls12(cipher: Cipher, hash: Hash) -> Suite {
        Suite { cipher, hash, tls13: false }
    }

    const fn tls13(cipher: Cipher, hash: Hash) -> Suite {
        Suite { cipher, hash, tls13: true }
    }
}

impl Cipher {
    /// Bytes of the key.
    pub const fn key_length(self) -> usize {
        match self {
            Cipher::Aes128Gcm | Cipher::Aes128Ccm | Cipher::Aes128Ccm8 | Cipher::Aes128Cbc(_) => 16,
            Cipher::Aes256Gcm | Cipher::Aes256Ccm | Cipher::Aes256Ccm8 | Cipher::Aes256Cbc(_) => 32,
            Cipher::Chacha20Poly1305 => 32,
        }
    }

    /// Bytes of the initialisation vector that the key block of TLS 1.2 has for each side.
    pub const fn fixed_iv_length(self) -> usize {
        match self {
            Cipher::Chacha20Poly1305 => 12,
            Cipher::Aes128Cbc(_) | Cipher::Aes256Cbc(_) => 0,
            _ => 4,
        }
    }

    /// Bytes of the key of the HMAC, for those that have one.
    pub const fn mac_key_length(self) -> usize {
        match self {
            Cipher::Aes128Cbc(hash) | Cipher::Aes256Cbc(hash) => hash.length(),
            _ => 0,
        }
    }
}

impl Hash {
    /// Bytes of a digest.
    pub const fn length(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_what_their_names_say() {
        let of = |number| Suite::of(number).map(|suite| (suite.cipher, suite.hash, suite.tls13));
        // TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        assert_eq!(of(0xc02f), Some((Cipher::Aes128Gcm, Hash::Sha256, false)));
        // TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        assert_eq!(of(0xc02c), Some((Cipher::Aes256Gcm, Hash::Sha384, false)));
        // TLS_RSA_WITH_AES_128_CBC_SHA256
        assert_eq!(of(0x003c), Some((Cipher::Aes128Cbc(Hash::Sha256), Hash::Sha256, false)));
        // TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384
        assert_eq!(of(0xc028), Some((Cipher::Aes256Cbc(Hash::Sha384), Hash::Sha384, false)));
        // TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8
        assert_eq!(of(0xc0af), Some((Cipher::Aes256Ccm8, Hash::Sha256, false)));
        assert_eq!(of(0x1302), Some((Cipher::Aes256Gcm, Hash::Sha384, true)));
        // TLS_RSA_WITH_3DES_EDE_CBC_SHA, TLS_RSA_WITH_NULL_SHA256, TLS_RSA_WITH_CAMELLIA_128_CBC_SHA256,
        // TLS_SHA256_SHA256, the renegotiation signal
        for number in [0x000a, 0x003b, 0x00ba, 0xc0b4, 0x00ff] {
            assert_eq!(of(number), None);
        }
    }
}
