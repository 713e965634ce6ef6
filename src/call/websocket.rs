//! What a call that became a WebSocket says beyond HTTP.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{is_false, is_zero};

/// The messages of a WebSocket in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebSocketMessages {
    /// How many came to their end, or had it in a loss. Frames that control the connection are none.
    pub messages: u64,
    /// Bytes of their payloads after compression is undone; of those that could not be decoded as they are on the wire.
    pub bytes: u64,
    /// Bytes of the largest.
    pub largest: u64,
    /// How many were text; the others are binary, or began in a loss.
    #[serde(skip_serializing_if = "is_zero")]
    pub text: u64,
    /// How many were compressed (RFC 7692).
    #[serde(skip_serializing_if = "is_zero")]
    pub compressed: u64,
    /// How many of these could not be decoded, or not to their end: what they refer to was lost, a limit was reached, or
    /// they were damaged.
    #[serde(skip_serializing_if = "is_zero")]
    pub undecoded: u64,
    /// Frames that ask for an answer (Ping).
    #[serde(skip_serializing_if = "is_zero")]
    pub pings: u64,
    /// Answers to these, and those that nobody asked for (Pong).
    #[serde(skip_serializing_if = "is_zero")]
    pub pongs: u64,
    /// Bytes that came behind a loss before it was certain where the next frame begins: what they held is not known.
    #[serde(skip_serializing_if = "is_zero")]
    pub skipped: u64,
}

/// What went over a WebSocket (RFC 6455) since it was opened, or since the record before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebSocket {
    /// The subprotocol that the server chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subprotocol: Option<Arc<str>>,
    /// Messages may be compressed (`permessage-deflate`, RFC 7692).
    #[serde(skip_serializing_if = "is_false")]
    pub deflate: bool,
    /// Status code of the first Close frame; 1005 where it has none, 1006 where the connection ended without one (RFC 6455,
    /// section 7.1.5). None as long as it is open, and where the end was not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_code: Option<u16>,
    /// What the client sent.
    pub request: WebSocketMessages,
    /// What the server sent.
    pub response: WebSocketMessages,
}
