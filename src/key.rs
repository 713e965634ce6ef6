//! The installation's key, under which credentials and sensitive values are fingerprinted.
//!
//! It is made once per installation and kept in the state folder with mode 0600, or given with `--key-file`: runs on
//! one machine agree to the byte, and nobody else can try out values against a printed fingerprint.

use std::fs::{self, OpenOptions};
use std::hash::Hasher;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use siphasher::sip::SipHasher24;

use crate::call::Fingerprint;

/// Bytes of key material.
pub const KEY_BYTES: usize = 16;

/// A secret key for [`Fingerprint`]s. Printing it in debug output shows nothing of it.
#[derive(Clone)]
pub struct Key([u8; KEY_BYTES]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// A key of known bytes, for tests and benchmarks.
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Key {
        Key(bytes)
    }

    /// Reads the key from a file of exactly [`KEY_BYTES`] bytes.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or has another length.
    pub fn read(path: &Path) -> io::Result<Key> {
        let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
        fs::File::open(path)?.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        let bytes = bytes.try_into().map_err(|found: Vec<u8>| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "a key file holds exactly {KEY_BYTES} bytes, this one has {}",
                    match found.len() {
                        length if length > KEY_BYTES => "more".to_owned(),
                        length => length.to_string(),
                    }
                ),
            )
        })?;
        Ok(Key(bytes))
    }

    /// Reads `folder/key`, or makes folder and key when they are not there (mode 0700 and 0600).
    ///
    /// # Errors
    ///
    /// A folder or file that cannot be read or made, or a system without random numbers.
    pub fn of_installation(folder: &Path) -> io::Result<Key> {
        let path = folder.join("key");
        match Key::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
        fs::DirBuilder::new().recursive(true).create(folder)?;
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        // Written aside and linked into place, so that two first runs at a time agree on one whole key.
        let draft = folder.join(format!("key.{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        let linked = fs::hard_link(&draft, &path);
        fs::remove_file(&draft)?;
        match linked {
            Ok(()) => Ok(Key(bytes)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Key::read(&path),
            Err(error) => Err(error),
        }
    }

    /// The fingerprints of one class of value, so that one text in two classes differs: under a key of its own, which
    /// is the class's name hashed twice under this one.
    pub fn domain(&self, name: &str) -> Domain {
        let half = |number: u8| {
            let mut hasher = SipHasher24::new_with_key(&self.0);
            hasher.write(name.as_bytes());
            hasher.write(&[0, number]);
            hasher.finish()
        };
        Domain(SipHasher24::new_with_keys(half(0), half(1)))
    }

    /// The fingerprint of `value` as a `domain`. Whoever needs many keeps the [`Domain`].
    pub fn fingerprint(&self, domain: &str, value: &[u8]) -> Fingerprint {
        self.domain(domain).fingerprint(value)
    }
}

/// The key of one class of value.
#[derive(Clone)]
pub struct Domain(SipHasher24);

impl std::fmt::Debug for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Domain(..)")
    }
}

impl Domain {
    /// SipHash-2-4: a pseudo-random function (Aumasson and Bernstein 2012), 64 bits.
    #[inline]
    pub fn fingerprint(&self, value: &[u8]) -> Fingerprint {
        Fingerprint(self.0.hash(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_is_made_once_and_private() -> io::Result<()> {
        let folder = std::env::temp_dir().join(format!("apitap-key-{}", std::process::id()));
        let first = Key::of_installation(&folder)?;
        let again = Key::of_installation(&folder)?;
        assert_eq!(first.fingerprint("a", b"b"), again.fingerprint("a", b"b"));
        assert_eq!(fs::metadata(folder.join("key"))?.permissions().mode() & 0o777, 0o600);
        fs::write(folder.join("key"), b"short")?;
        assert!(Key::of_installation(&folder).is_err());
        fs::remove_dir_all(folder)
    }

    #[test]
    fn domain_and_key_matter() {
        let (one, two) = (Key::from_bytes([1; 16]), Key::from_bytes([2; 16]));
        assert_ne!(one.fingerprint("a", b"b"), two.fingerprint("a", b"b"));
        assert_ne!(one.fingerprint("a", b"b"), one.fingerprint("c", b"b"));
    }
}
