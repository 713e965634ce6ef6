//! Opening records: decryption of one direction of a connection, with its sequence numbers (RFC 5246 6.2.3,
//! RFC 8446 5.2).
//!
//! Nothing is given out that its tag or code does not vouch for. Who only listens differs from an endpoint in one
//! thing: records may be missing. The number of each record is never sent, yet it is part of what the tag covers, so
//! after a loss it has to be found again: see [`Opener::lost`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::protection::{Protection, Record};
use super::schedule::{Keys, Randoms, Secret, Sender};
use super::suite::Suite;

/// How records are opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Work that may go into finding the number of a record after a loss, in units of about 60 ns on a processor of
    /// 2023: a number costs one, the whole opening of a record one more for each 256 bytes. Each direction of a
    /// connection begins with this much and gets [`REFILL`] back with each record that opens, so that losses, true or
    /// feigned, cost at most a millisecond at once, and a microsecond or two a record in the long run. It takes no
    /// memory.
    pub search_units: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { search_units: 8192 }
    }
}

/// Units of [`Settings::search_units`] that a record which opens gives back.
pub const REFILL: u32 = 16;

/// Largest fragment of a record in bytes, before decryption: 2^14 and what TLS 1.2 allows for its protection (RFC 5246
/// 6.2.3); TLS 1.3 allows less.
pub const MAX_FRAGMENT: usize = (1 << 14) + 2048;

/// Bytes of the header of a record.
const HEADER: u64 = 5;

/// Opens the records that one side sends, in their order. About 1 KiB, and nothing beside it.
pub struct Opener {
    protection: Protection,
    /// Number of the next record.
    sequence: u64,
    lost: Option<Lost>,
    units: u32,
    settings: Settings,
}

/// How many records may be missing before the next one.
#[derive(Clone, Copy, Debug)]
struct Lost {
    bytes: u64,
}

/// What was in a record.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// Content type: of the header, or in TLS 1.3 that from within.
    pub content_type: u8,
    /// The content, without padding.
    pub content: &'a [u8],
    /// How many records were missing before this one, as its number tells; at least this many when the keys changed
    /// among them.
    pub missing: u64,
}

/// Why a record gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Longer than any record may be.
    #[error("a record longer than TLS allows")]
    TooLong,
    /// Shorter than what its protection takes, or no whole number of blocks.
    #[error("a record shorter than its protection")]
    Malformed,
    /// Tag, code or padding are wrong: other keys, another place in the stream, or tampered with.
    #[error("a record that its keys do not vouch for")]
    Refused,
    /// Vouched for, but nothing is in it save padding (RFC 8446 5.4).
    #[error("a record without a content type")]
    NoContentType,
}

impl Opener {
    /// For TLS 1.2, from the master secret. `encrypt_then_mac` says that both hellos have that extension (RFC 7366);
    /// it matters for CBC alone. None when the suite is one of TLS 1.3.
    pub fn tls12(
        suite: &Suite,
        master: &Secret,
        randoms: &Randoms<'_>,
        sender: Sender,
        encrypt_then_mac: bool,
        settings: &Settings,
    ) -> Option<Opener> {
        if suite.tls13 {
            return None;
        }
        let keys = Keys::tls12(suite, master, randoms, sender);
        Some(Opener::new(Protection::tls12(suite, keys, encrypt_then_mac)?, settings))
    }

    /// For TLS 1.3, from the traffic secret of early data, of the handshake or of what follows it; each is an opener of
    /// its own. None when the suite is not one of TLS 1.3 or the secret has not the length of its hash.
    pub fn tls13(suite: &Suite, traffic: &Secret, settings: &Settings) -> Option<Opener> {
        if !suite.tls13 || traffic.bytes().len() != suite.hash.length() {
            return None;
        }
        Some(Opener::new(Protection::tls13(suite, *traffic)?, settings))
    }

    fn new(protection: Protection, settings: &Settings) -> Opener {
        Opener { protection, sequence: 0, lost: None, units: settings.search_units, settings: settings.clone() }
    }

    /// Opens the next record: its content type, version and fragment, as they stand in header and body. `out` is scratch
    /// space that holds the content afterwards; it grows to [`MAX_FRAGMENT`] at most.
    ///
    /// In TLS 1.3, ChangeCipherSpec is never protected and not to be given here.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. After one, the opener waits for the same record as before: it may be tried by another opener
    /// and this one be kept. Only when records may be missing does a refused one count as another of these.
    pub fn open<'a>(
        &mut self,
        content_type: u8,
        version: u16,
        fragment: &[u8],
        out: &'a mut Vec<u8>,
    ) -> Result<Opened<'a>, OpenError> {
        if fragment.len() > MAX_FRAGMENT {
            return Err(OpenError::TooLong);
        }
        let record = Record { content_type, version, fragment };
        if !self.protection.fits(&record) {
            return Err(OpenError::Malformed);
        }
        let missing = if self.protection.attempt(self.sequence, &record, out) {
            self.sequence += 1;
            0
        } else {
            self.search(&record, out).ok_or(OpenError::Refused)?
        };
        self.lost = None;
        self.units = self.units.saturating_add(REFILL).min(self.settings.search_units);
        let Some((content_type, length)) = self.protection.content(content_type, out) else {
            return Err(OpenError::NoContentType);
        };
        out.truncate(length);
        Ok(Opened { content_type, content: out, missing })
    }

    /// So many bytes of records are missing before the next record that [`Opener::open`] is given: headers included,
    /// with all that was passed over to find where the next one begins. May be called again before that.
    ///
    /// The number of that record is then looked for among those that so many bytes can hold, smallest first, as far as
    /// [`Settings::search_units`] go. With AES-GCM of TLS 1.2 the part of the nonce that is sent tells it at once. In
    /// TLS 1.3 a single block shows whether the last byte can be a content type, which rules out 63 of 64 numbers; keys
    /// that changed once in between are found too.
    pub fn lost(&mut self, bytes: u64) {
        let before = self.lost.map_or(0, |lost| lost.bytes);
        self.lost = Some(Lost { bytes: before.saturating_add(bytes) });
    }

    /// The sender changed its keys (RFC 8446 4.6.3): what follows its KeyUpdate is protected with the next ones.
    /// Without effect in TLS 1.2.
    pub fn update(&mut self) {
        if let Some(next) = self.protection.updated() {
            self.protection = next;
            self.sequence = 0;
        }
    }

    /// Looks for the number of a record after a loss; tells how many are missing before it.
    #[cold]
    fn search(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Option<u64> {
        let lost = self.lost?;
        let least = lost.bytes / (HEADER + MAX_FRAGMENT as u64);
        let most = (lost.bytes / (HEADER + self.protection.least_fragment() as u64)).max(1);
        let (first, last) = (self.sequence.saturating_add(least), self.sequence.saturating_add(most));
        if let Some(found) = self.find(first, last, record, out) {
            let missing = found - self.sequence;
            self.sequence = found + 1;
            return Some(missing);
        }
        if let Some(next) = self.protection.updated() {
            let before = std::mem::replace(&mut self.protection, next);
            if let Some(found) = self.find(0, most, record, out) {
                self.sequence = found + 1;
                return Some(found + 1); // and the KeyUpdate at least
            }
            self.protection = before;
        }
        self.lost(HEADER + record.fragment.len() as u64);
        None
    }

    /// The number from `first` to `last` under which the record opens, if that is found with the units left.
    fn find(&mut self, first: u64, last: u64, record: &Record<'_>, out: &mut Vec<u8>) -> Option<u64> {
        let whole = 1 + record.fragment.len() as u32 / 256;
        let hints = self.protection.hints(record).into_iter().flatten();
        for sequence in hints.filter(|hint| (first..=last).contains(hint)) {
            self.units = self.units.checked_sub(whole)?;
            if self.protection.attempt(sequence, record, out) {
                return Some(sequence);
            }
        }
        let glimpse = self.protection.glimpse(record);
        for sequence in first..=last {
            self.units = self.units.checked_sub(1)?;
            if glimpse.as_ref().is_some_and(|glimpse| !glimpse.plausible(sequence)) {
                continue;
            }
            self.units = self.units.checked_sub(whole)?;
            if self.protection.attempt(sequence, record, out) {
                return Some(sequence);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
