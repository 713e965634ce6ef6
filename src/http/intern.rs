//! Texts that many calls share (hosts, user agents, media types), stored once.

use std::sync::Arc;

use ahash::RandomState;

const SLOTS: usize = 1024;

/// A direct-mapped cache of texts: what falls on a taken slot replaces it. Worst-case memory: 1024 texts of at most
/// [`LONGEST`] bytes, 1 MiB.
pub(crate) struct Interner {
    hasher: RandomState,
    slots: Vec<Option<Arc<str>>>,
}

/// Longer texts are cut here: no honest host, user agent or media type is longer.
const LONGEST: usize = 1024;

impl Default for Interner {
    fn default() -> Self {
        Interner { hasher: RandomState::new(), slots: vec![None; SLOTS] }
    }
}

impl Interner {
    /// The text of these bytes; bytes that are not UTF-8 as `\xNN`.
    pub(crate) fn text(&mut self, bytes: &[u8]) -> Arc<str> {
        let bytes = bytes.get(..LONGEST).unwrap_or(bytes);
        let slot = &mut self.slots[self.hasher.hash_one(bytes) as usize % SLOTS];
        match slot {
            Some(text) if text.as_bytes() == bytes => text.clone(),
            _ => {
                let text: Arc<str> = printable(bytes).into();
                *slot = Some(text.clone());
                text
            }
        }
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
