//! The [`Connection`]: what is told of a flow that is worth it although no call came of it, or none yet.
//!
//! Its JSON form (one object a line among the calls of `apitap calls`) is stable as that of calls is: fields are added,
//! never renamed or given another meaning without a new [`CONNECTION_SCHEMA`]. It has neither a `method` nor a `status`, so
//! that who reads calls tells it apart by its fields as well as by its schema.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{FlowId, Peer, Tls, is_empty_layers, is_false, is_zero, is_zero_32};
use crate::packet::Layer;
use crate::time::Timestamp;

/// The version of the JSON form.
pub const CONNECTION_SCHEMA: &str = "apitap.connection.v1";

/// What one end of a connection sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Segments, those without data included.
    pub segments: u64,
    /// Bytes of the stream, each counted once however often it was sent.
    pub bytes: u64,
    /// How often it began to send after the other end had: requests on a connection that is kept open, unless they overlap.
    pub turns: u64,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Awaited {
    /// Nothing is under way: a request may come, or never.
    #[default]
    Idle,
    /// What the client owes to the handshake of TLS.
    Handshake,
    /// The rest of a request of which TLS keeps where it ends; in clear, a request at all instead of line ends or other bytes.
    Request,
    /// The rest of a request's head.
    RequestHead,
    /// The rest of a request's body.
    RequestBody,
    /// An answer.
    ResponseHead,
    /// The rest of an answer: that the server sends it, or that the client takes it.
    ResponseBody,
}

impl Awaited {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Awaited::Idle => "idle",
            Awaited::Handshake => "handshake",
            Awaited::Request => "request",
            Awaited::RequestHead => "request_head",
            Awaited::RequestBody => "request_body",
            Awaited::ResponseHead => "response_head",
            Awaited::ResponseBody => "response_body",
        }
    }
}

/// What a connection waits for, for how long, and with how few bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    /// What is awaited.
    #[serde(rename = "for")]
    pub awaited: Awaited,
    /// Seconds since that began.
    pub seconds: f64,
    /// Bytes of what is awaited that came in that time.
    pub bytes: u64,
    /// The receiver of what is awaited takes nothing: its window is closed, that of TCP (RFC 9293, section 3.8.6.1) or those
    /// of HTTP/2 (RFC 9113, section 5.2).
    #[serde(skip_serializing_if = "is_false", default)]
    pub window_closed: bool,
    /// The client acknowledges nothing of what it is sent again and again, though its window is open.
    #[serde(skip_serializing_if = "is_false", default)]
    pub unacknowledged: bool,
    /// Streams of HTTP/2 that wait so at once; absent for one.
    #[serde(skip_serializing_if = "is_zero_32", default)]
    pub streams: u32,
    /// An earlier record of this connection has told of it, or of worse.
    #[serde(skip_serializing_if = "is_false", default)]
    pub again: bool,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Both ends closed it.
    Finished,
    /// The client reset it.
    ResetByClient,
    /// The server reset it.
    ResetByServer,
    /// Nothing came for the time that the setting `idle_timeout` gives, or `long_idle_timeout` in TLS, HTTP/2 and WebSocket.
    TimedOut,
    /// A new connection took its addresses and ports.
    Reused,
    /// The sensor had no room for it any more.
    Evicted,
    /// The capture ended.
    CaptureEnded,
}

/// A flow that is worth telling of though it is no call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// [`CONNECTION_SCHEMA`].
    pub schema: ConnectionSchema,
    /// The flow.
    pub flow: FlowId,
    /// The place among the calls of the flow before which it stands: that of the next call.
    pub position: u32,
    /// Community ID of the flow, version 1: finds it in Zeek and Suricata.
    pub community_id: Arc<str>,
    /// When its first segment was captured.
    pub start_time: Timestamp,
    /// When this was known: the end of the connection, or the moment of the report. Records are ordered by it as calls are.
    pub end_time: Timestamp,
    /// Who opened it, as far as that is known, by the address on the wire.
    pub client: Peer,
    /// The other end.
    pub server: Peer,
    /// Tags and tunnels around the flow, outermost first.
    #[serde(skip_serializing_if = "is_empty_layers", default)]
    pub encapsulation: Arc<[Layer]>,
    /// A part of its handshake was seen.
    pub handshake: bool,
    /// Calls completed on it.
    pub calls: u32,
    /// What the client sent.
    pub sent: Traffic,
    /// What the server sent.
    pub received: Traffic,
    /// Bytes of what the client sent that earlier records of this connection have told of.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub sent_before: u64,
    /// Bytes of what the server sent that they have told of.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub received_before: u64,
    /// Turns of the client that they have told of.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub turns_before: u64,
    /// What it waits for, or waited for when it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waits: Option<Wait>,
    /// What its handshake of TLS says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tls: Option<Arc<Tls>>,
    /// How it ended; absent while it goes on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended: Option<Ending>,
    /// It goes on: this is how it stands.
    #[serde(skip_serializing_if = "is_false", default)]
    pub open: bool,
    /// Records of this connection before this one. Unlike those of a call, each tells of the whole connection so far.
    #[serde(skip_serializing_if = "is_zero_32", default)]
    pub part: u32,
}

impl Connection {
    /// Its place in the total order of calls and connections.
    pub fn order(&self) -> (Timestamp, FlowId, u32) {
        (self.end_time, self.flow, self.position)
    }
}

/// The constant [`CONNECTION_SCHEMA`], checked when read back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionSchema;

impl Serialize for ConnectionSchema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(CONNECTION_SCHEMA)
    }
}

impl<'de> Deserialize<'de> for ConnectionSchema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::expect_schema(deserializer, CONNECTION_SCHEMA)?;
        Ok(ConnectionSchema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_round_trip() {
        let connection = Connection {
            flow: FlowId(7),
            start_time: Timestamp::from_parts(1_772_460_000, 5),
            end_time: Timestamp::from_parts(1_772_460_020, 0),
            handshake: true,
            sent: Traffic { segments: 7, bytes: 300, turns: 2 },
            waits: Some(Wait { awaited: Awaited::RequestHead, seconds: 19.5, bytes: 12, ..Wait::default() }),
            tls: Some(Arc::new(Tls { version: Some("1.3".into()), ..Tls::default() })),
            open: true,
            ..Connection::default()
        };
        let text = serde_json::to_string(&connection).expect("plain data");
        for part in [
            r#"{"schema":"apitap.connection.v1","flow":"0000000000000007""#,
            r#""waits":{"for":"request_head","seconds":19.5,"bytes":12}"#,
            r#""tls":{"version":"1.3"}"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        for key in ["method", "status"] {
            assert!(!text.contains(&format!("\"{key}\":")), "{text}");
        }
        assert_eq!(serde_json::from_str::<Connection>(&text).expect("what was written reads back"), connection);
        let call = serde_json::to_string(&crate::call::Call::default()).expect("plain data");
        assert!(serde_json::from_str::<Connection>(&call).is_err(), "a call is no connection");
    }

    #[test]
    fn names_are_those_of_json() {
        for awaited in [
            Awaited::Idle,
            Awaited::Handshake,
            Awaited::Request,
            Awaited::RequestHead,
            Awaited::RequestBody,
            Awaited::ResponseHead,
            Awaited::ResponseBody,
        ] {
            assert_eq!(serde_json::to_string(&awaited).expect("a name"), format!("\"{}\"", awaited.name()));
        }
    }
}
