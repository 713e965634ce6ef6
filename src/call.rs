//! The [`Call`]: one HTTP exchange as the sniffer saw it. It is the seam of apitap: everything before it knows packets
//! and no policy, everything after it is statistics and knows no packets.
//!
//! Its JSON form (one object a line, `apitap calls`) is stable: fields are added, never renamed or given another
//! meaning without a new [`SCHEMA`]. Absent optional fields mean "not seen" or "none". No credential and no sensitive
//! value is in it in clear: those are masked in targets and otherwise replaced by keyed fingerprints.
//!
//! What goes on below calls (a flood of connections, a head that never ends, what is encrypted) crosses the seam as a
//! [`Connection`]; a [`Record`] is either.

mod connection;
mod credential;
mod fields;
mod operation;
mod record;
mod sensitive;
mod shape;
mod tls;
mod values;
mod websocket;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use connection::{Awaited, CONNECTION_SCHEMA, Connection, ConnectionSchema, Ending, Traffic, Wait};
pub use credential::{Claims, Credential, CredentialKind, CredentialPlace, Signature};
pub use fields::{RateLimit, ResponseFields};
pub use operation::{Operation, OperationError, OperationKind, Protocol, Unread};
pub use record::Record;
pub use sensitive::{Digest, Sensitive, SensitiveClasses};
pub use shape::{BodyShape, Format, Formats, NamedShape, ParameterShape, Place, Shape, Type, Types, Within};
pub(crate) use shape::{Edge, NAME_LIMIT, Node};
pub use tls::Tls;
pub use values::{KeyCandidate, Probe, RequestValues};
pub use websocket::{WebSocket, WebSocketMessages};

use crate::packet::Layer;
use crate::time::Timestamp;

/// The version of the JSON form.
pub const SCHEMA: &str = "apitap.call.v1";

/// Names a flow: derived from its addresses, ports, layers and first packet, so that runs agree.
/// 16 hexadecimal digits in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub u64);

/// A keyed fingerprint of a value that is never printed: 16 hexadecimal digits in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

macro_rules! hexadecimal {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                // A call may have dozens of them; formatting costs ten times as much.
                let mut text = [0; 16];
                for (place, digit) in text.iter_mut().enumerate() {
                    let nibble = (self.0 >> (60 - 4 * place)) as u8 & 0x0f;
                    *digit = if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
                }
                serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                u64::from_str_radix(&text, 16).map($name).map_err(serde::de::Error::custom)
            }
        }
    };
}
hexadecimal!(FlowId);
hexadecimal!(Fingerprint);

/// An address and a port of one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer {
    /// Address by the innermost IP header.
    pub ip: IpAddr,
    /// TCP port.
    pub port: u16,
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Peer { ip: address.ip(), port: address.port() }
    }
}

/// The HTTP version on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Version {
    /// A bare `GET target` without a version.
    #[serde(rename = "0.9")]
    Http09,
    /// HTTP/1.0.
    #[serde(rename = "1.0")]
    Http10,
    /// HTTP/1.1, and any other 1.x.
    #[default]
    #[serde(rename = "1.1")]
    Http11,
    /// HTTP/2.
    #[serde(rename = "2")]
    Http2,
}

/// What proxies say of the client before them, as received and not yet trusted. Oldest hop first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Forwarding {
    /// Elements of `X-Forwarded-For`, at most 16, the last ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub x_forwarded_for: Vec<String>,
    /// `for=` values of `Forwarded` (RFC 7239), at most 16, the last ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forwarded: Vec<String>,
    /// `X-Real-IP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x_real_ip: Option<String>,
}

impl Forwarding {
    /// True when no proxy said anything.
    pub fn is_empty(&self) -> bool {
        self.x_forwarded_for.is_empty() && self.forwarded.is_empty() && self.x_real_ip.is_none()
    }
}

/// Request or response: what it weighed and said of its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// Bytes of start line and headers as seen.
    pub head_bytes: u64,
    /// Bytes of the body on the wire after the head, chunk framing and trailers included, holes included.
    pub wire_bytes: u64,
    /// Bytes of the body after chunking and content encodings are undone, as far as it was decoded.
    pub body_bytes: u64,
    /// Keyed fingerprint of the body as sent, of a request of which nothing was lost: two of one fingerprint ask for the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_fingerprint: Option<Fingerprint>,
    /// Media type without parameters, lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<Arc<str>>,
    /// Content encodings as sent, lower case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<Arc<str>>,
    /// Bytes of it that were lost in gaps.
    #[serde(skip_serializing_if = "is_zero")]
    pub gap_bytes: u64,
    /// The message ended before its framing said so (close, reset, time-out, end of capture).
    #[serde(skip_serializing_if = "is_false")]
    pub truncated: bool,
    /// Decoding or inspection of the body stopped at a configured limit.
    #[serde(skip_serializing_if = "is_false")]
    pub capped: bool,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}

macro_rules! anomalies {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// An oddity in syntax or framing: parsed as the common servers would, and a finding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Anomaly { $($(#[doc = $doc])+ $variant,)+ }

        impl Anomaly {
            /// Every anomaly.
            pub const ALL: &'static [Anomaly] = &[$(Anomaly::$variant),+];

            /// Its name in JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Anomaly::$variant => $name),+ }
            }
        }
    };
}

anomalies! {
    /// Several Content-Length headers with different values; the first counts.
    ConflictingContentLength = "conflicting_content_length",
    /// Several Content-Length headers with the same value.
    RepeatedContentLength = "repeated_content_length",
    /// A Content-Length that is not a plain decimal number.
    InvalidContentLength = "invalid_content_length",
    /// Transfer-Encoding beside Content-Length; chunked counts.
    LengthAndTransferEncoding = "length_and_transfer_encoding",
    /// A Transfer-Encoding in HTTP/1.0, or one that does not end in chunked, or an unusual spelling of it.
    OddTransferEncoding = "odd_transfer_encoding",
    /// A header that goes on in the next line.
    ObsoleteFolding = "obsolete_folding",
    /// A line that ends in a bare LF.
    BareLineFeed = "bare_line_feed",
    /// A carriage return that no LF follows.
    BareCarriageReturn = "bare_carriage_return",
    /// White space before the colon of a header, or a header line without a colon.
    MalformedHeader = "malformed_header",
    /// A NUL or another control byte in the head.
    ControlByte = "control_byte",
    /// A raw space or another byte in the target that should be percent-encoded.
    UnencodedTarget = "unencoded_target",
    /// A request line without a version behind other requests, or with an unusual one.
    OddVersion = "odd_version",
    /// White space other than single spaces in the start line.
    OddStartLine = "odd_start_line",
    /// Several Host headers, or none in HTTP/1.1.
    OddHost = "odd_host",
    /// A malformed chunk size or chunk end.
    MalformedChunk = "malformed_chunk",
    /// A status line without a number of three digits.
    MalformedStatus = "malformed_status",
    /// A body that its content encoding does not fit.
    MalformedEncoding = "malformed_encoding",
    /// A body in an encoding that is not known here: what is in it was not looked at.
    UnknownEncoding = "unknown_encoding",
    /// A body that unpacks to more than the configured ratio.
    ExpansionRatio = "expansion_ratio",
    /// A head larger than configured; what lies behind the limit was not read.
    HeadTooLarge = "head_too_large",
    /// More headers than configured.
    TooManyHeaders = "too_many_headers",
    /// A response that came before its request was complete.
    EarlyResponse = "early_response",
    /// A response whose request is not certain, because something was lost between pipelined calls.
    UncertainPairing = "uncertain_pairing",
    /// A retransmission carried other content than the first copy.
    ConflictingRetransmission = "conflicting_retransmission",
    /// Bytes behind a complete message that are no HTTP.
    TrailingData = "trailing_data",
    /// The request went on as HTTP though an Upgrade or CONNECT had been accepted.
    HttpAfterUpgrade = "http_after_upgrade",
    /// HTTP/2: pseudo-header fields that are missing, repeated, unknown, or behind others.
    OddPseudoHeader = "odd_pseudo_header",
    /// HTTP/2: header fields that concern a connection, which has none there (Transfer-Encoding, Connection and the like).
    ConnectionHeader = "connection_header",
    /// HTTP/2: a Content-Length that is not the length of the content.
    ContentLengthMismatch = "content_length_mismatch",
    /// HTTP/2: a header block that cannot be decoded.
    MalformedHeaderBlock = "malformed_header_block",
    /// HTTP/2: more streams were open than configured, and this one was given out before it ended.
    StreamEvicted = "stream_evicted",
    /// HTTP/2: the client resets most of what it asks for, and has done so more often than configured.
    RapidReset = "rapid_reset",
    /// HTTP/2: the client has sent more frames that carry nothing than configured (SETTINGS, PING, PRIORITY, empty DATA).
    ControlFlood = "control_flood",
    /// WebSocket: a frame of the client that is not masked (RFC 6455, section 5.1).
    UnmaskedClientFrame = "unmasked_client_frame",
    /// WebSocket: a frame of the server that is masked.
    MaskedServerFrame = "masked_server_frame",
    /// WebSocket: a reserved bit of a frame that no agreed extension uses.
    ReservedFrameBit = "reserved_frame_bit",
    /// WebSocket: a frame of a kind that there is not.
    UnknownOpcode = "unknown_opcode",
    /// WebSocket: a control frame that is a fragment.
    FragmentedControlFrame = "fragmented_control_frame",
    /// WebSocket: a control frame of more than 125 bytes.
    LongControlFrame = "long_control_frame",
    /// WebSocket: a continuation of no message, or a message within another.
    OddFragmentation = "odd_fragmentation",
    /// WebSocket: the length of a frame in more bytes than it takes, or one that cannot be.
    OddFrameLength = "odd_frame_length",
    /// WebSocket: a text that is not UTF-8.
    InvalidUtf8 = "invalid_utf8",
    /// Urgent data in the stream.
    UrgentData = "urgent_data",
}

/// A set of [`Anomaly`]; a list of names in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anomalies(u64);

impl Anomalies {
    /// Adds one.
    pub fn insert(&mut self, anomaly: Anomaly) {
        self.0 |= 1 << anomaly as u64;
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Anomalies) {
        self.0 |= other.0;
    }

    /// True when it is in the set.
    pub fn contains(self, anomaly: Anomaly) -> bool {
        self.0 & (1 << anomaly as u64) != 0
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// Those in the set, in the order of [`Anomaly::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Anomaly> {
        Anomaly::ALL.iter().copied().filter(move |&anomaly| self.contains(anomaly))
    }
}

impl Serialize for Anomalies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Anomaly::name))
    }
}

impl<'de> Deserialize<'de> for Anomalies {
    /// Names that this version does not know are passed over.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        let mut set = Anomalies::default();
        for name in names {
            if let Some(&anomaly) = Anomaly::ALL.iter().find(|anomaly| anomaly.name() == name) {
                set.insert(anomaly);
            }
        }
        Ok(set)
    }
}

/// Who took a call down, where that was not apitap. What such a record leaves out is unknown, not absent: that a call has
/// no credential, no body and no sensitive value says nothing then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recorder {
    /// Another sensor that listens to the wire (Zeek, Suricata): sizes, a few headers, no bodies.
    Sensor,
    /// The server, in its access log: behind TLS, and without addresses of its own.
    Server,
}

/// The messages of gRPC in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GrpcMessages {
    /// How many were begun.
    pub messages: u64,
    /// Bytes that they say they have, before compression is undone.
    pub bytes: u64,
    /// Bytes of the largest.
    pub largest: u64,
    /// How many were compressed.
    #[serde(skip_serializing_if = "is_zero")]
    pub compressed: u64,
    /// How many of these were not undone, or not to their end: their coding is not known, a limit was reached, bytes of them
    /// were lost, or they were damaged.
    #[serde(skip_serializing_if = "is_zero")]
    pub undecoded: u64,
}

/// What a call of gRPC or gRPC-Web says beyond HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grpc {
    /// Full name of the service; empty where the target was not seen.
    pub service: Arc<str>,
    /// Name of the method; empty where the target was not seen.
    pub method: Arc<str>,
    /// It is gRPC-Web.
    #[serde(skip_serializing_if = "is_false")]
    pub web: bool,
    /// `grpc-status` of the trailers: the outcome of the call, of which 0 is the good one. None where the call was given
    /// up before, or the trailers were not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u32>,
    /// What was sent.
    pub request: GrpcMessages,
    /// What came back.
    pub response: GrpcMessages,
}

/// Who ended a stream before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetBy {
    /// The client: it does not want the answer any more.
    Client,
    /// The server: it does not want to answer, or to go on.
    Server,
}

/// The stream that carried a call (RFC 9113).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Http2 {
    /// Its number.
    pub stream: u32,
    /// The server pushed it; the client did not ask.
    #[serde(skip_serializing_if = "is_false")]
    pub pushed: bool,
    /// Who reset it (RST_STREAM) before the answer was whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_by: Option<ResetBy>,
    /// With which error code (RFC 9113, section 7; 8 is CANCEL).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_code: Option<u32>,
    /// How many streams of this connection the client had reset by then, this one included: many are the flood of
    /// CVE-2023-44487.
    #[serde(skip_serializing_if = "is_zero_32")]
    pub client_resets: u32,
    /// How many requests of this connection the server had refused by then without any processing; they are no calls.
    #[serde(skip_serializing_if = "is_zero_32")]
    pub refused: u32,
}

fn is_zero_32(value: &u32) -> bool {
    *value == 0
}

/// How much of the call the sensor saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Completeness {
    /// The request (its start line) was seen.
    pub request: bool,
    /// The response (its status line) was seen. A missing response is never a failure of the client.
    pub response: bool,
    /// Only one direction of the flow was captured up to this call.
    #[serde(skip_serializing_if = "is_false")]
    pub one_sided: bool,
    /// The flow was taken up without its handshake.
    #[serde(skip_serializing_if = "is_false")]
    pub midstream: bool,
    /// Header fields that stood in compressed form for something that was said before the capture began, or in a gap. A
    /// missing header proves nothing then. A request whose method or target is among them counts as not seen.
    #[serde(skip_serializing_if = "is_zero_32")]
    pub unknown_fields: u32,
    /// The call goes on: this is a record of what came since it began, or since the record before.
    #[serde(skip_serializing_if = "is_false")]
    pub open: bool,
    /// Records of this call before this one, each of which has its own part of bytes, messages and findings.
    #[serde(skip_serializing_if = "is_zero_32")]
    pub part: u32,
    /// Whose record it is, unless apitap saw the call itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorder: Option<Recorder>,
}

/// One HTTP exchange.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// [`SCHEMA`].
    pub schema: Schema,
    /// The flow that carried it.
    pub flow: FlowId,
    /// Its place among the calls of the flow, from 0.
    pub position: u32,
    /// Community ID of the flow, version 1: finds it in Zeek and Suricata.
    pub community_id: Arc<str>,
    /// When the first byte of the request was captured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request_time: Option<Timestamp>,
    /// When the first byte of the response was captured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub response_time: Option<Timestamp>,
    /// When the call was known to be over; calls are ordered by it, then by flow, then by position.
    pub end_time: Timestamp,
    /// From the first byte of the request to the first of the response, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub latency: Option<f64>,
    /// Who called, by the address on the wire.
    pub client: Peer,
    /// Who was called.
    pub server: Peer,
    /// Tags and tunnels around the flow, outermost first.
    #[serde(skip_serializing_if = "is_empty_layers", default)]
    pub encapsulation: Arc<[Layer]>,
    /// Version of the request, or of the response where no request was seen.
    pub version: Version,
    /// Request method; empty where no request was seen.
    #[serde(skip_serializing_if = "str::is_empty", default)]
    pub method: String,
    /// `Host`, or the authority of an absolute target, as sent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host: Option<Arc<str>>,
    /// The request target as sent, recognised secrets masked; bytes that are not UTF-8 as `\xNN`.
    #[serde(skip_serializing_if = "str::is_empty", default)]
    pub target: String,
    /// The target's path: without scheme, authority and query, not decoded.
    #[serde(skip_serializing_if = "str::is_empty", default)]
    pub path: String,
    /// Names of the query's parameters in order, percent-decoded, at most 64.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub query_names: Vec<Arc<str>>,
    /// Status of the final response.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<u16>,
    /// What was sent.
    pub request: Message,
    /// What came back.
    pub response: Message,
    /// `User-Agent`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_agent: Option<Arc<str>>,
    /// Who is calling, when the request says so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub credential: Option<Credential>,
    /// What may say so under names that no rule knows, where nothing else does; at most four.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub key_candidates: Vec<KeyCandidate>,
    /// What proxies say of the client.
    #[serde(skip_serializing_if = "Forwarding::is_empty", default)]
    pub forwarding: Forwarding,
    /// What the response's header fields say of where to go, when to come again and how to say who calls.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub response_fields: Option<Box<ResponseFields>>,
    /// What values in the request's body say, where one of them matters.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request_values: Option<Arc<RequestValues>>,
    /// What gRPC says of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub grpc: Option<Box<Grpc>>,
    /// What it asks for in GraphQL, JSON-RPC or SOAP.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub operation: Option<Box<Operation>>,
    /// What went over it as a WebSocket.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub websocket: Option<Box<WebSocket>>,
    /// Of an answer that is a stream: the blocks of server-sent events that have a field, the lines of newline-delimited
    /// JSON, the records of a JSON text sequence (RFC 7464).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub events: Option<u64>,
    /// Its stream in HTTP/2.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub http2: Option<Box<Http2>>,
    /// What its parameters and bodies look like, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shape: Option<Box<Shape>>,
    /// What the handshake of TLS says of its connection, where it came encrypted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tls: Option<Arc<Tls>>,
    /// Sensitive values found.
    #[serde(skip_serializing_if = "Digest::is_empty", default)]
    pub sensitive: Digest,
    /// Oddities found.
    #[serde(skip_serializing_if = "Anomalies::is_empty", default)]
    pub anomalies: Anomalies,
    /// How much of it was seen.
    pub completeness: Completeness,
}

fn is_empty_layers(layers: &Arc<[Layer]>) -> bool {
    layers.is_empty()
}

impl Default for Peer {
    fn default() -> Self {
        Peer { ip: IpAddr::from([0, 0, 0, 0]), port: 0 }
    }
}

/// Texts of a call that is used again keep room for so many bytes.
const KEPT_TEXT: usize = 4096;

impl Call {
    /// Empties it to be used for another call; its texts keep their room, within limits.
    pub fn clear(&mut self) {
        self.renew(&Arc::default(), &Arc::default());
    }

    /// Empties it to be used for a call of a flow with this Community ID and these layers: what it shares with the call
    /// before is not given back to be taken again.
    pub(crate) fn renew(&mut self, flow_id: &Arc<str>, layers: &Arc<[Layer]>) {
        let text = |text: &mut String| {
            text.clear();
            if text.capacity() > KEPT_TEXT {
                *text = String::new();
            }
        };
        // Field by field, since a call is large; the compiler tells when one is forgotten.
        let Call {
            schema: Schema,
            flow,
            position,
            community_id,
            request_time,
            response_time,
            end_time,
            latency,
            client,
            server,
            encapsulation,
            version,
            method,
            host,
            target,
            path,
            query_names,
            status,
            request,
            response,
            user_agent,
            credential,
            key_candidates,
            forwarding,
            response_fields,
            request_values,
            grpc,
            operation,
            websocket,
            events,
            http2,
            shape,
            tls,
            sensitive,
            anomalies,
            completeness,
        } = self;
        (*flow, *position) = Default::default();
        if !Arc::ptr_eq(community_id, flow_id) {
            community_id.clone_from(flow_id);
        }
        if !Arc::ptr_eq(encapsulation, layers) {
            encapsulation.clone_from(layers);
        }
        (*request_time, *response_time, *end_time, *latency) = Default::default();
        (*client, *server, *version) = Default::default();
        for kept in [method, target, path] {
            text(kept);
        }
        query_names.clear();
        key_candidates.clear();
        (*host, *user_agent, *status, *credential) = Default::default();
        (*request, *response) = Default::default();
        if !forwarding.is_empty() {
            *forwarding = Forwarding::default();
        }
        (*grpc, *operation, *websocket, *events, *http2, *shape, *tls) = Default::default();
        *response_fields = None;
        *request_values = None;
        *sensitive = Digest::default();
        (*anomalies, *completeness) = Default::default();
    }

    /// How it came out, as an HTTP status. gRPC answers 200 whatever happens and says the outcome in `grpc-status`, which
    /// is translated as its gateways do (`google/rpc/code.proto`); a method that there is not (UNIMPLEMENTED) is 404. What
    /// GraphQL, JSON-RPC and SOAP say in the body of the answer is translated already ([`OperationError`]); a batch has failed where
    /// half of it has.
    pub fn outcome(&self) -> Option<u16> {
        if let Some(error) = self.operation.as_ref().and_then(|operation| operation.failure()) {
            return Some(error.status);
        }
        let Some(code) = self.grpc.as_ref().and_then(|grpc| grpc.status) else { return self.status };
        Some(match code {
            0 => return self.status,
            1 => 499,
            3 | 9 | 11 => 400,
            4 => 504,
            5 | 12 => 404,
            6 | 10 => 409,
            7 => 403,
            8 => 429,
            14 => 503,
            16 => 401,
            _ => 500,
        })
    }

    /// Whether [`Call::outcome`] is good: what was asked for exists and was given. A connection that goes on in another
    /// protocol was given too.
    pub fn is_good(&self) -> bool {
        matches!(self.outcome(), Some(101 | 200..=299 | 304))
    }

    /// What it does at its endpoint: the method, but for a WebSocket that of HTTP/1 where HTTP/2 says CONNECT (RFC 8441).
    pub fn verb(&self) -> &str {
        if self.websocket.is_some() && self.method == "CONNECT" { "GET" } else { &self.method }
    }

    /// When it began: at the request, else at the response, else at its end.
    pub fn start_time(&self) -> Timestamp {
        self.request_time.or(self.response_time).unwrap_or(self.end_time)
    }

    /// Its place in the total order in which calls reach the detector.
    pub fn order(&self) -> (Timestamp, FlowId, u32) {
        (self.end_time, self.flow, self.position)
    }

    /// From request to response, when both were seen.
    pub fn latency(&self) -> Option<Duration> {
        Some(self.response_time?.since(self.request_time?))
    }
}

/// The constant [`SCHEMA`], checked when read back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schema;

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(SCHEMA)
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        expect_schema(deserializer, SCHEMA)?;
        Ok(Schema)
    }
}

/// Reads the name of a schema, which must be this one.
fn expect_schema<'de, D: Deserializer<'de>>(deserializer: D, expected: &str) -> Result<(), D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    if text == expected {
        return Ok(());
    }
    Err(serde::de::Error::custom(format_args!("schema is {text:?}, this version reads {expected:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_round_trip() {
        let mut call = Call {
            flow: FlowId(0x0123_4567_89ab_cdef),
            method: "GET".into(),
            target: "/v1/orders?page=2".into(),
            path: "/v1/orders".into(),
            query_names: vec!["page".into()],
            status: Some(200),
            credential: Some(Credential::new(CredentialKind::Bearer, Fingerprint(7))),
            request_time: Some(Timestamp::from_parts(1_772_460_000, 5)),
            ..Call::default()
        };
        call.anomalies.insert(Anomaly::BareLineFeed);
        let text = serde_json::to_string(&call).expect("plain data");
        assert!(text.contains(r#""flow":"0123456789abcdef""#), "{text}");
        let back: Call = serde_json::from_str(&text).expect("what was written reads back");
        assert_eq!(back, call);
    }

    #[test]
    fn nothing_of_a_call_is_left_when_it_is_used_again() {
        let text = std::fs::read_to_string("README.md").map(|text| text.repeat(2)).unwrap_or_default();
        let mut call = Call { target: text, path: "/a".into(), query_names: vec!["q".into()], ..Call::default() };
        call.status = Some(200);
        call.clear();
        assert_eq!(call, Call::default());
        assert!(call.path.capacity() > 0 && call.target.capacity() <= KEPT_TEXT);
    }

    #[test]
    fn another_schema_is_refused() {
        let text = serde_json::to_string(&Call::default()).expect("plain data").replace("call.v1", "call.v9");
        let error = serde_json::from_str::<Call>(&text).expect_err("a schema of the future");
        assert!(error.to_string().contains("apitap.call.v9"));
    }
}
