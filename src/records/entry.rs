//! What a record knows of a call, made into one with the functions that inspection uses on what was heard.

use std::borrow::Cow;
use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use siphasher::sip::SipHasher13;

use crate::call::{Call, Completeness, FlowId, Message, Peer, Record, Recorder, Version};
use crate::http::{Interner, community_id, printable_into, query_names, split_target};
use crate::inspect::{CredentialHeaders, Inspector, KnownCredentials};
use crate::stats::Counter;
use crate::time::Timestamp;

/// What a line came to.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack")]
pub(super) enum Taken {
    /// A call, or a connection.
    Record(Record),
    /// A record that is no call, and the cause.
    Skipped(Counter),
    /// A header, a comment, an empty line.
    Nothing,
}

/// What a record says of a call, raw.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) recorder: Recorder,
    pub(super) flow: FlowId,
    pub(super) position: u32,
    /// The time that the record bears.
    pub(super) time: Timestamp,
    /// `time` is when the request began.
    pub(super) at_request: bool,
    /// How long it took, from which the request's time follows when `time` is the end.
    pub(super) latency: Option<Duration>,
    pub(super) client: Peer,
    pub(super) server: Peer,
    pub(super) community_id: Option<&'a str>,
    pub(super) version: Version,
    pub(super) method: &'a [u8],
    pub(super) host: Option<&'a [u8]>,
    pub(super) target: &'a [u8],
    pub(super) status: Option<u16>,
    pub(super) request: Message,
    pub(super) response: Message,
    pub(super) user_agent: Option<&'a [u8]>,
    pub(super) authorization: Option<&'a [u8]>,
    pub(super) cookie: Option<&'a [u8]>,
    pub(super) api_key: Option<&'a [u8]>,
    /// Name of an account, where `authorization` is not known.
    pub(super) account: Option<&'a [u8]>,
    pub(super) x_forwarded_for: Vec<&'a [u8]>,
    pub(super) forwarded: Vec<&'a [u8]>,
    pub(super) x_real_ip: Option<&'a [u8]>,
}

/// An end of which nothing is known.
pub(super) const UNKNOWN: Peer = Peer { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), port: 0 };

impl Entry<'_> {
    /// One of which nothing is known.
    pub(super) fn new(recorder: Recorder) -> Entry<'static> {
        Entry {
            recorder,
            flow: FlowId::default(),
            position: 0,
            time: Timestamp::ZERO,
            at_request: false,
            latency: None,
            client: UNKNOWN,
            server: UNKNOWN,
            community_id: None,
            version: Version::default(),
            method: b"",
            host: None,
            target: b"",
            status: None,
            request: Message::default(),
            response: Message::default(),
            user_agent: None,
            authorization: None,
            cookie: None,
            api_key: None,
            account: None,
            x_forwarded_for: Vec::new(),
            forwarded: Vec::new(),
            x_real_ip: None,
        }
    }
}

/// Makes calls; keeps the texts that many of them share.
pub(super) struct Maker {
    pub(super) inspector: Arc<Inspector>,
    pub(super) texts: Interner,
    credentials: KnownCredentials,
    target: String,
    /// Community ID of the connection before: calls of one often follow each other.
    community: Option<(Peer, Peer, Arc<str>)>,
}

impl Maker {
    pub(super) fn new(inspector: Arc<Inspector>) -> Maker {
        Maker {
            inspector,
            texts: Interner::default(),
            credentials: KnownCredentials::default(),
            target: String::new(),
            community: None,
        }
    }

    /// The call of a record.
    pub(super) fn make(&mut self, entry: Entry<'_>) -> Record {
        let mut call = Call {
            flow: entry.flow,
            position: entry.position,
            end_time: entry.time,
            client: entry.client,
            server: entry.server,
            version: entry.version,
            status: entry.status,
            ..Call::default()
        };
        call.community_id = match entry.community_id {
            Some(known) => known.into(),
            None => self.community(entry.client, entry.server),
        };
        self.times(&mut call, &entry);
        printable_into(entry.method, &mut call.method);

        let mut target = std::mem::take(&mut self.target);
        printable_into(entry.target, &mut target);
        let (masked, found) = self.inspector.target(&target);
        call.sensitive.request = found;
        let (authority, path, query) = split_target(&masked, entry.method == b"CONNECT");
        call.host = match authority.filter(|authority| !authority.is_empty()) {
            Some(authority) => Some(self.texts.text(authority.as_bytes())),
            None => entry.host.map(|host| self.texts.text(host)),
        };
        call.path.push_str(path);
        query_names(query, &mut self.texts, &mut call.query_names);
        // Of Basic credentials inspection takes the name alone.
        let basic = entry.account.filter(|_| entry.authorization.is_none()).map(|account| {
            let name = account.split(|&byte| byte == b':').next().unwrap_or_default();
            format!("Basic {}", STANDARD.encode([name, b":"].concat()))
        });
        let headers = CredentialHeaders {
            authorization: entry.authorization.or(basic.as_deref().map(str::as_bytes)),
            cookie: entry.cookie,
            api_key: entry.api_key,
            signature: None,
            target: &target,
        };
        call.credential = self.inspector.credential(&headers, &mut self.credentials);
        call.target = match masked {
            Cow::Borrowed(plain) => plain.to_owned(),
            Cow::Owned(masked) => masked,
        };
        self.target = target;

        call.user_agent = entry.user_agent.map(|agent| self.texts.text(agent));
        call.forwarding = crate::client::forwarding(
            entry.x_forwarded_for.iter().copied(),
            entry.forwarded.iter().copied(),
            entry.x_real_ip,
        );
        call.completeness = Completeness {
            request: true,
            response: entry.status.is_some(),
            recorder: Some(entry.recorder),
            ..Completeness::default()
        };
        (call.request, call.response) = (entry.request, entry.response);
        self.inspector.settle(&mut call);
        call.into()
    }

    fn times(&mut self, call: &mut Call, entry: &Entry<'_>) {
        if entry.at_request {
            call.request_time = Some(entry.time);
        }
        if let Some(latency) = entry.latency {
            call.latency = Some(latency.as_secs_f64());
            call.request_time.get_or_insert(entry.time - latency);
        }
    }

    /// Where both ends are known; empty otherwise.
    fn community(&mut self, client: Peer, server: Peer) -> Arc<str> {
        if client.port == 0 || server.port == 0 || server.ip.is_unspecified() {
            return Arc::default();
        }
        match &self.community {
            Some((one, other, known)) if (*one, *other) == (client, server) => known.clone(),
            _ => {
                let address = |peer: Peer| SocketAddr::new(peer.ip, peer.port);
                let made = community_id(address(client), address(server));
                self.community = Some((client, server, made.clone()));
                made
            }
        }
    }

    /// A media type as the first part of `Content-Type`, in lower case.
    pub(super) fn media_type(&mut self, value: &[u8]) -> Option<Arc<str>> {
        let media = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        (!media.is_empty()).then(|| self.texts.lower(media))
    }
}

/// A flow by the name that its sensor gave it.
pub(super) fn flow(name: &[u8]) -> FlowId {
    let mut hasher = SipHasher13::new();
    hasher.write(name);
    FlowId(hasher.finish())
}

/// A version by its number, with or without `HTTP/` before it. HTTP/3 has no name of its own here, its meaning is that
/// of HTTP/2 (RFC 9114, section 1).
pub(super) fn version(text: &str) -> Version {
    match text.strip_prefix("HTTP/").unwrap_or(text) {
        "0.9" => Version::Http09,
        "1.0" => Version::Http10,
        "2" | "2.0" | "3" | "3.0" => Version::Http2,
        _ => Version::Http11,
    }
}

/// A status that a response can have had.
pub(super) fn status(number: u64) -> Option<u16> {
    u16::try_from(number).ok().filter(|number| (100..=999).contains(number))
}

/// True for what can be a method: a token of RFC 9110, section 5.6.2, of at most 32 characters.
pub(super) fn is_method(text: &[u8]) -> bool {
    (1..=32).contains(&text.len())
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// The time of a record in seconds since 1970, as sensors write it: a float, of which the microseconds hold. What is as
/// large as no such time will be for a long while are milliseconds.
pub(super) fn epoch(seconds: f64) -> Option<Timestamp> {
    const MILLISECONDS_FROM: f64 = 1e11;
    let seconds = if seconds >= MILLISECONDS_FROM { seconds / 1000.0 } else { seconds };
    let micros = (seconds * 1e6).round();
    (micros >= 0.0 && micros < i64::MAX as f64 / 1000.0).then(|| Timestamp::from_nanos(micros as i64 * 1000))
}
