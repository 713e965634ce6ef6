//! Suricata's EVE events of the type `http`, by its user guide's chapter "EVE JSON Format".
//!
//! With `dump-all-headers` or custom fields configured they have headers as well, and then credentials are found as
//! apitap finds them. The client is the end that opened the flow.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Deserialize;

use super::entry::{Entry, Maker, Taken, flow, is_method, status, version};
use super::text::{Number, Text};
use crate::call::{Message, Peer, Recorder};
use crate::stats::Counter;
use crate::time::Timestamp;

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    timestamp: Option<Text<'a>>,
    #[serde(borrow)]
    event_type: Option<Text<'a>>,
    #[serde(borrow)]
    src_ip: Option<Text<'a>>,
    #[serde(default)]
    src_port: Number,
    #[serde(borrow)]
    dest_ip: Option<Text<'a>>,
    #[serde(default)]
    dest_port: Number,
    #[serde(default)]
    flow_id: Number,
    #[serde(default)]
    tx_id: Number,
    #[serde(borrow)]
    community_id: Option<Text<'a>>,
    #[serde(borrow)]
    xff: Option<Text<'a>>,
    #[serde(borrow)]
    http: Option<Http<'a>>,
}

#[derive(Deserialize)]
struct Http<'a> {
    #[serde(borrow)]
    hostname: Option<Text<'a>>,
    #[serde(default)]
    http_port: Number,
    #[serde(borrow)]
    url: Option<Text<'a>>,
    #[serde(borrow)]
    http_user_agent: Option<Text<'a>>,
    #[serde(borrow)]
    http_content_type: Option<Text<'a>>,
    #[serde(borrow)]
    http_method: Option<Text<'a>>,
    #[serde(borrow)]
    protocol: Option<Text<'a>>,
    /// Of HTTP/2.
    #[serde(borrow)]
    version: Option<Text<'a>>,
    #[serde(default)]
    status: Number,
    #[serde(default)]
    length: Number,
    #[serde(borrow)]
    xff: Option<Text<'a>>,
    #[serde(borrow)]
    authorization: Option<Text<'a>>,
    #[serde(borrow)]
    cookie: Option<Text<'a>>,
    #[serde(borrow, default)]
    request_headers: Vec<Header<'a>>,
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    value: Option<Text<'a>>,
}

/// Other events are large and many: of them nothing but the type is read.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    event_type: Option<Text<'a>>,
}

/// Reads one line.
///
/// # Errors
///
/// What is no event, or one of HTTP without a time.
pub(super) fn read(line: &[u8], maker: &mut Maker) -> Result<Taken, String> {
    if memchr::memmem::find(line, br#""event_type":"http""#).is_none() {
        let kind: Kind<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        match kind.event_type.as_ref().map(Text::as_str) {
            Some("http") => {}
            Some(_) => return Ok(Taken::Skipped(Counter::RecordsOther)),
            None => return Err("no event_type".into()),
        }
    }
    let event: Event<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if event.event_type.as_ref().map(Text::as_str) != Some("http") {
        return Ok(Taken::Skipped(Counter::RecordsOther));
    }
    call(&event, maker)
}

fn call(event: &Event<'_>, maker: &mut Maker) -> Result<Taken, String> {
    let time = event.timestamp.as_ref().ok_or("no timestamp")?.as_str().parse::<Timestamp>()?;
    let address = |text: &Option<Text<'_>>| text.as_ref().and_then(|text| text.as_str().parse::<IpAddr>().ok());
    let (Some(client), Some(server)) = (address(&event.src_ip), address(&event.dest_ip)) else {
        return Ok(Taken::Skipped(Counter::RecordsUnattributed));
    };
    let port = |number: Number| number.fit().unwrap_or(0);
    let (client, server) =
        (Peer { ip: client, port: port(event.src_port) }, Peer { ip: server, port: port(event.dest_port) });
    let http = event.http.as_ref().filter(|http| {
        http.http_method.as_ref().is_some_and(|method| is_method(method.as_bytes())) && http.url.is_some()
    });
    let Some(http) = http else { return Ok(Taken::Skipped(Counter::RecordsWithoutRequest)) };

    let host = http.hostname.as_ref().map(Text::as_str).filter(|host| !host.is_empty());
    // Suricata tells the port of `Host` apart.
    let host = host.map(|host| match http.http_port.0 {
        Some(port) if !host.contains(':') => Cow::Owned(format!("{host}:{port}")),
        _ => Cow::Borrowed(host),
    });
    let headers = |name: &'static str| {
        http.request_headers.iter().filter_map(move |header| match (&header.name, &header.value) {
            (Some(found), Some(value)) if found.as_str().eq_ignore_ascii_case(name) => Some(value.as_bytes()),
            _ => None,
        })
    };
    let mut x_forwarded_for: Vec<&[u8]> = headers("x-forwarded-for").collect();
    if x_forwarded_for.is_empty() {
        x_forwarded_for.extend(http.xff.as_ref().or(event.xff.as_ref()).map(Text::as_bytes));
    }
    let api_key = http.request_headers.iter().find_map(|header| {
        let named = header.name.as_ref().is_some_and(|name| maker.inspector.is_api_key_header(name.as_bytes()));
        header.value.as_ref().filter(|_| named).map(Text::as_bytes)
    });
    let status = http.status.0.and_then(status);
    let response = Message {
        body_bytes: http.length.0.filter(|_| status.is_some()).unwrap_or(0),
        content_type: http.http_content_type.as_ref().and_then(|value| maker.media_type(value.as_bytes())),
        ..Message::default()
    };
    let spoken = http.protocol.as_ref().or(http.version.as_ref()).map_or("", Text::as_str);
    let flow = match event.flow_id.0 {
        Some(id) => flow(&id.to_le_bytes()),
        None => flow(format!("{client:?} {server:?}").as_bytes()),
    };
    Ok(Taken::Record(maker.make(Entry {
        flow,
        position: event.tx_id.fit().unwrap_or(0),
        time,
        client,
        server,
        community_id: event.community_id.as_ref().map(Text::as_str),
        version: version(spoken),
        method: http.http_method.as_ref().map(Text::as_bytes).unwrap_or_default(),
        host: host.as_deref().map(str::as_bytes),
        target: http.url.as_ref().map(Text::as_bytes).unwrap_or_default(),
        status,
        response,
        user_agent: http.http_user_agent.as_ref().map(Text::as_bytes),
        authorization: http.authorization.as_ref().map(Text::as_bytes).or_else(|| headers("authorization").next()),
        cookie: http.cookie.as_ref().map(Text::as_bytes).or_else(|| headers("cookie").next()),
        api_key,
        x_forwarded_for,
        forwarded: headers("forwarded").collect(),
        x_real_ip: headers("x-real-ip").next(),
        ..Entry::new(Recorder::Sensor)
    })))
}
