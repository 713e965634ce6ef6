//! WebSocket (RFC 6455) with `permessage-deflate` (RFC 7692), behind an upgrade in HTTP/1.1 and in streams of HTTP/2
//! (RFC 8441). Where no upgrade was seen there is no WebSocket: nothing is guessed from frames alone.
//!
//! | file | owns |
//! | --- | --- |
//! | `handshake` | what both ends agree on |
//! | `frame` | frames, and whether bytes behind a loss are such |
//! | `text` | whether texts are UTF-8 |
//! | `inflate` | messages decompressed |
//! | `message` | one message on its way |
//! | `reader` | one direction: between and within frames, and behind a loss |
//! | `session` | both directions |
//! | `connection` | the connection of HTTP/1 that became a WebSocket |
//!
//! The call of the upgrade is the call of the WebSocket. It is given out when the connection is over, with all that came
//! ([`crate::call::WebSocket`]); of one that lasts longer than `stream_report_seconds` there is a record each time so many
//! have passed and something came, with what came since the one before (`completeness.open` and `part`).

mod connection;
mod frame;
mod handshake;
mod inflate;
mod message;
mod reader;
mod session;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use connection::{Connection, Opening};
pub(crate) use handshake::{Agreed, Extensions};
pub(crate) use session::Session;

/// What the WebSockets of a worker share.
pub(crate) struct Scratch {
    pub(super) pool: inflate::Pool,
    inflated: Vec<u8>,
    plain: Vec<u8>,
}

impl Scratch {
    /// For so many decoders.
    pub(crate) fn new(decoders: usize) -> Scratch {
        Scratch { pool: inflate::Pool::new(decoders), inflated: Vec::new(), plain: Vec::new() }
    }
}
