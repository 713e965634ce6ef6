//! Connections in TLS that keep what is in them, as the detectors see them: each stands for one call, at least, of an endpoint
//! that has the name of its server.
//!
//! What is counted is that there is a connection, once, how many bytes came back, as often as that is told, and, in windows far longer
//! than the time between two records of a connection, how often the client sent something after the server had. So the windows,
//! populations and thresholds are those of calls: whoever opens connections as others make calls is as fast as they are,
//! at least. That a browser opens six at a time is far below what people call; a pool keeps its connections and opens few.
//! Of the turns on a connection only one in [`TURNS`] counts as a call: how many people are behind an address, what a proxy would say
//! and credentials in clear traffic, cannot be seen, and there are protocols whose messages are smaller than calls.
//! What one call more or less says is not asked of a connection: that it is like the one before (all are), that it is
//! large (what is in it may be many calls), that newcomers come for one endpoint only (no other can be seen), or that somebody
//! comes without a credential.

use crate::call::{Call, Completeness, Connection, Message};

/// What stands in the place of a method.
pub(crate) const METHOD: &str = "TLS";

/// A record of a connection.
pub(super) struct Encrypted {
    /// The call that it stands for.
    pub(super) call: Call,
    /// It is the first that is told of this connection.
    pub(super) first: bool,
    /// Calls that it counts as.
    pub(super) calls: u64,
}

/// Turns of a client that count as one call.
const TURNS: u64 = 8;

impl Encrypted {
    /// None for what is not in TLS, and for a connection of which nothing but its beginning came: nothing was asked for.
    pub(super) fn of(connection: &Connection) -> Option<Encrypted> {
        let tls = connection
            .tls
            .as_ref()
            .filter(|tls| connection.calls == 0 && !(connection.waits.is_some() && tls.decrypted))?;
        let host = tls.server_name.clone().unwrap_or_else(|| match connection.server.ip {
            std::net::IpAddr::V4(ip) => format!("{ip}:{}", connection.server.port).into(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]:{}", connection.server.port).into(),
        });
        let message = |sum: u64, before: u64| Message { wire_bytes: sum.saturating_sub(before), ..Message::default() };
        let call = Call {
            flow: connection.flow,
            position: connection.position,
            community_id: connection.community_id.clone(),
            request_time: Some(connection.start_time),
            end_time: connection.end_time,
            client: connection.client,
            server: connection.server,
            method: METHOD.into(),
            host: Some(host),
            path: "/".into(),
            // As if it had come out well: whether it did cannot be seen, and nobody is to be accused of what cannot be seen.
            status: Some(200),
            request: message(connection.sent.bytes, connection.sent_before),
            response: message(connection.received.bytes, connection.received_before),
            user_agent: tls.ja4.clone(),
            tls: Some(tls.clone()),
            completeness: Completeness { request: true, response: true, ..Completeness::default() },
            ..Call::default()
        };
        let first = connection.part == 0;
        // What is left over goes to the next record.
        let calls = (connection.sent.turns / TURNS).saturating_sub(connection.turns_before / TURNS);
        Some(Encrypted { call, first, calls: calls.max(u64::from(first)) })
    }

    /// What is known of who is behind the connection: whatever a proxy says of that is in what cannot be read.
    pub(super) fn anonymous(&self) -> Call {
        let request = Message { gap_bytes: 1, ..Message::default() };
        Call { client: self.call.client, server: self.call.server, request, ..Call::default() }
    }
}
