//! What makes an input unreadable.

use std::fmt;

/// Why (a part of) an input could not be read: which file, where in it, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError {
    /// The file as given, `-` for standard input, or the interface.
    pub name: String,
    /// Bytes from the beginning of the (decompressed) capture, when that means something.
    pub offset: Option<u64>,
    /// What is wrong, as one clause.
    pub reason: String,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "{}: at byte {offset}: {}", self.name, self.reason),
            None => write!(f, "{}: {}", self.name, self.reason),
        }
    }
}

impl std::error::Error for SourceError {}
