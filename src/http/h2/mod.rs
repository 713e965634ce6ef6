//! HTTP/2 (RFC 9113), by prior knowledge, by upgrade from HTTP/1.1, and taken up in the middle.
//!
//! | file | owns |
//! | --- | --- |
//! | [`huffman`] | strings of HPACK |
//! | [`hpack`] | header blocks to header lists, through a table of which the beginning may be unseen |
//! | `frame` | frames, and where one begins after a loss |
//! | `reader` | one direction: between and within frames |
//! | `heads` | header lists as heads |
//! | `stream` | one stream: a call under way |
//! | `connection` | both directions: bytes to frames |
//! | `blocks` | header blocks to heads, trailers and promises |
//! | `lifecycle` | streams from their first head to their call |
//! | `credit` | what the client's windows let come |
//! | `control` | frames that carry nothing, counted |
//! | `loss` | what a loss costs |

mod blocks;
mod connection;
mod control;
mod credit;
mod frame;
mod heads;
pub mod hpack;
pub mod huffman;
mod lifecycle;
mod loss;
mod reader;
mod stream;
#[cfg(test)]
mod tests;

use crate::stream::Run;

pub(crate) use connection::Connection;
pub(crate) use frame::may_begin;

/// What came of the preface before this run, if the run goes on with it, or is one that nobody expected: `unread` are
/// the first bytes of its direction if no more than these have come; `free`: nothing else is expected there, no body
/// least of all. A preface is believed from `PRI ` on.
pub(crate) fn preface_begun(free: bool, unread: Option<&[u8]>, run: &Run<'_>) -> Option<Vec<u8>> {
    const ENOUGH: usize = 4;
    let preface = frame::PREFACE;
    if free && run.bytes.starts_with(preface) {
        return Some(Vec::new());
    }
    if run.offset >= preface.len() as u64 {
        return None;
    }
    let before = unread?;
    let rest = preface.strip_prefix(before)?;
    let common = rest.len().min(run.bytes.len());
    let goes_on = rest.get(..common) == run.bytes.get(..common) && before.len() + common >= ENOUGH;
    goes_on.then(|| before.to_vec())
}
