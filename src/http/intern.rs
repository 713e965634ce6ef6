//! Texts that many calls share (hosts, user agents, media types), stored once.

use std::sync::Arc;

use ahash::RandomState;

/// Words of a text that its place is made of: all of most texts.
const SAMPLES: usize = 4;

const SLOTS: usize = 1024;

/// A direct-mapped cache of texts: what falls on a taken slot replaces it. Worst-case memory: 1024 texts of at most
/// [`LONGEST`] bytes, 1 MiB.
pub(crate) struct Interner {
    seed: u64,
    slots: Vec<Option<Arc<str>>>,
}

/// Longer texts are cut here: no honest host, user agent or media type is longer.
const LONGEST: usize = 1024;

impl Default for Interner {
    fn default() -> Self {
        Interner { seed: RandomState::new().hash_one(0), slots: vec![None; SLOTS] }
    }
}

impl Interner {
    /// Texts that are there, how many there may be, their bytes, and how many these may be.
    pub(crate) fn occupancy(&self) -> (usize, usize, usize, usize) {
        // A text has two counts before it.
        let texts = self.slots.iter().flatten();
        let held = texts.clone().map(|text| text.len() + 2 * size_of::<usize>()).sum::<usize>();
        let slots = self.slots.capacity() * size_of::<Option<Arc<str>>>();
        (texts.count(), SLOTS, slots + held, slots + SLOTS * (LONGEST + 2 * size_of::<usize>()))
    }

    /// The text of these bytes; bytes that are not UTF-8 as `\xNN`.
    pub(crate) fn text(&mut self, bytes: &[u8]) -> Arc<str> {
        let bytes = bytes.get(..LONGEST).unwrap_or(bytes);
        let place = self.place(bytes);
        let slot = &mut self.slots[place];
        match slot {
            Some(text) if text.as_bytes() == bytes => text.clone(),
            _ => {
                let text: Arc<str> = printable(bytes).into();
                *slot = Some(text.clone());
                text
            }
        }
    }

    /// Where a text is kept: by words from all over it, since equality is tested in any case.
    #[inline]
    fn place(&self, bytes: &[u8]) -> usize {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut sum = self.seed ^ bytes.len() as u64;
        let mut add = |word: u64| {
            let product = u128::from(sum ^ word) * u128::from(MIX);
            sum = product as u64 ^ (product >> 64) as u64;
        };
        match bytes.len().checked_sub(8) {
            None => add(bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte))),
            Some(last) => {
                for step in 0..SAMPLES {
                    let word = bytes.get(last * step / (SAMPLES - 1)..).and_then(<[u8]>::first_chunk);
                    add(word.map_or(0, |word| u64::from_le_bytes(*word)));
                }
            }
        }
        sum as usize % SLOTS
    }

    /// The same in lower case.
    pub(crate) fn lower(&mut self, bytes: &[u8]) -> Arc<str> {
        if bytes.iter().any(u8::is_ascii_uppercase) { self.text(&bytes.to_ascii_lowercase()) } else { self.text(bytes) }
    }
}

/// Bytes as text: UTF-8 as it is, all else as `\xNN`.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    printable_into(bytes, &mut text);
    text
}

/// The same into a text that is used again.
pub(crate) fn printable_into(bytes: &[u8], text: &mut String) {
    text.clear();
    if let Ok(whole) = std::str::from_utf8(bytes) {
        text.push_str(whole);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
}
