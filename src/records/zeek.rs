//! Zeek's `http.log`: tab-separated, as its header lines define it, or a JSON object a line.
//!
//! Fields by the documentation of Zeek's `HTTP::Info`, escapes by that of its ASCII writer: `\xNN` stands for a byte,
//! `\\` for the backslash. Passwords are not read.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use memchr::{memchr, memchr_iter};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::entry::{Entry, Maker, Taken, epoch, flow, is_method, status, version};
use super::text::{Number, Text};
use crate::call::{Message, Peer, Recorder};
use crate::http::printable_into;
use crate::stats::Counter;
use crate::time::Timestamp;

/// Elements of a set or vector that are looked at.
const ELEMENTS: usize = 64;

/// A record, of whichever form.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Row<'a> {
    ts: Moment,
    #[serde(borrow)]
    uid: Option<Text<'a>>,
    #[serde(borrow, rename = "id.orig_h", alias = "id_orig_h")]
    client: Option<Text<'a>>,
    #[serde(rename = "id.orig_p", alias = "id_orig_p")]
    client_port: Number,
    #[serde(borrow, rename = "id.resp_h", alias = "id_resp_h")]
    server: Option<Text<'a>>,
    #[serde(rename = "id.resp_p", alias = "id_resp_p")]
    server_port: Number,
    trans_depth: Number,
    #[serde(borrow)]
    method: Option<Text<'a>>,
    #[serde(borrow)]
    host: Option<Text<'a>>,
    #[serde(borrow)]
    uri: Option<Text<'a>>,
    #[serde(borrow)]
    version: Option<Text<'a>>,
    #[serde(borrow)]
    user_agent: Option<Text<'a>>,
    request_body_len: Number,
    response_body_len: Number,
    status_code: Number,
    #[serde(borrow)]
    username: Option<Text<'a>>,
    #[serde(borrow)]
    proxied: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    orig_mime_types: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    resp_mime_types: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    community_id: Option<Text<'a>>,
}

/// `ts`: seconds as a number, or an ISO 8601 text.
#[derive(Clone, Copy, Debug, Default)]
struct Moment(Option<Timestamp>);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Moments;
        impl Visitor<'_> for Moments {
            type Value = Moment;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since 1970 or an ISO 8601 time")
            }
            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Moment, E> {
                Ok(Moment(epoch(seconds)))
            }
            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Moment, E> {
                Ok(Moment(epoch(seconds as f64)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Moment, E> {
                text.parse().map(|moment| Moment(Some(moment))).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Moments)
    }
}

/// A column of the tab-separated form that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Column {
    #[serde(rename = "ts")]
    Time,
    #[serde(rename = "uid")]
    Uid,
    #[serde(rename = "id.orig_h")]
    Client,
    #[serde(rename = "id.orig_p")]
    ClientPort,
    #[serde(rename = "id.resp_h")]
    Server,
    #[serde(rename = "id.resp_p")]
    ServerPort,
    #[serde(rename = "trans_depth")]
    Depth,
    #[serde(rename = "method")]
    Method,
    #[serde(rename = "host")]
    Host,
    #[serde(rename = "uri")]
    Uri,
    #[serde(rename = "version")]
    Version,
    #[serde(rename = "user_agent")]
    Agent,
    #[serde(rename = "request_body_len")]
    RequestLength,
    #[serde(rename = "response_body_len")]
    ResponseLength,
    #[serde(rename = "status_code")]
    Status,
    #[serde(rename = "username")]
    Account,
    #[serde(rename = "proxied")]
    Proxied,
    #[serde(rename = "orig_mime_types")]
    RequestTypes,
    #[serde(rename = "resp_mime_types")]
    ResponseTypes,
    #[serde(rename = "community_id")]
    CommunityId,
}

impl Column {
    fn of(name: &[u8]) -> Option<Column> {
        let name = std::str::from_utf8(name).ok()?;
        Column::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(name)).ok()
    }
}

/// What the header lines say; the defaults are Zeek's.
pub(super) struct Header {
    separator: u8,
    set_separator: u8,
    unset: Vec<u8>,
    empty: Vec<u8>,
    columns: Vec<Option<Column>>,
}

impl Default for Header {
    fn default() -> Self {
        Header {
            separator: b'\t',
            set_separator: b',',
            unset: b"-".to_vec(),
            empty: b"(empty)".to_vec(),
            columns: Vec::new(),
        }
    }
}

/// Reads one line.
///
/// # Errors
///
/// What is neither a header nor a row that fits it, nor a JSON record with a time.
pub(super) fn read(line: &[u8], header: &mut Header, maker: &mut Maker) -> Result<Taken, String> {
    match line.first() {
        Some(b'#') => {
            header.take(line)?;
            Ok(Taken::Nothing)
        }
        Some(b'{') => call(&serde_json::from_slice(line).map_err(|error| error.to_string())?, maker),
        _ => call(&header.row(line)?, maker),
    }
}

impl Header {
    /// Takes a line that begins with `#`.
    fn take(&mut self, line: &[u8]) -> Result<(), String> {
        if let Some(written) = line.strip_prefix(b"#separator ") {
            let [byte] = *unescaped(written) else { return Err("a #separator of more than one byte".into()) };
            *self = Header { separator: byte, ..Header::default() };
            return Ok(());
        }
        let mut words = line.splitn(2, |&byte| byte == self.separator);
        let (name, value) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match name {
            b"#set_separator" => match *value {
                [byte] => self.set_separator = byte,
                _ => return Err("a #set_separator of more than one byte".into()),
            },
            b"#empty_field" => self.empty = value.to_vec(),
            b"#unset_field" => self.unset = value.to_vec(),
            b"#fields" => {
                self.columns = value.split(|&byte| byte == self.separator).map(Column::of).collect();
                let misses = |column| !self.columns.contains(&Some(column));
                if misses(Column::Time) || misses(Column::Client) || misses(Column::Uri) {
                    self.columns = Vec::new();
                    return Err("#fields are not those of http.log: ts, id.orig_h and uri are needed".into());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn row<'a>(&self, line: &'a [u8]) -> Result<Row<'a>, String> {
        if self.columns.is_empty() {
            return Err("a row without a #fields line before it".into());
        }
        let found = memchr_iter(self.separator, line).count() + 1;
        if found != self.columns.len() {
            return Err(format!("{found} fields where #fields names {}", self.columns.len()));
        }
        let mut row = Row::default();
        for (column, raw) in self.columns.iter().zip(line.split(|&byte| byte == self.separator)) {
            let Some(column) = column.filter(|_| raw != self.unset) else { continue };
            let raw = if raw == self.empty { b"" } else { raw };
            let number = || Number(std::str::from_utf8(raw).ok().and_then(|text| text.parse().ok()));
            let list = || {
                let elements = raw.split(|&byte| byte == self.set_separator).filter(|element| !element.is_empty());
                Some(elements.take(ELEMENTS).map(text).collect())
            };
            match column {
                Column::Time => row.ts = moment(raw),
                Column::Uid => row.uid = Some(text(raw)),
                Column::Client => row.client = Some(text(raw)),
                Column::ClientPort => row.client_port = number(),
                Column::Server => row.server = Some(text(raw)),
                Column::ServerPort => row.server_port = number(),
                Column::Depth => row.trans_depth = number(),
                Column::Method => row.method = Some(text(raw)),
                Column::Host => row.host = Some(text(raw)),
                Column::Uri => row.uri = Some(text(raw)),
                Column::Version => row.version = Some(text(raw)),
                Column::Agent => row.user_agent = Some(text(raw)),
                Column::RequestLength => row.request_body_len = number(),
                Column::ResponseLength => row.response_body_len = number(),
                Column::Status => row.status_code = number(),
                Column::Account => row.username = Some(text(raw)),
                Column::Proxied => row.proxied = list(),
                Column::RequestTypes => row.orig_mime_types = list(),
                Column::ResponseTypes => row.resp_mime_types = list(),
                Column::CommunityId => row.community_id = Some(text(raw)),
            }
        }
        Ok(row)
    }
}

fn moment(raw: &[u8]) -> Moment {
    let text = std::str::from_utf8(raw).unwrap_or_default();
    match text.parse::<f64>() {
        Ok(seconds) => Moment(epoch(seconds)),
        Err(_) => Moment(text.parse().ok()),
    }
}

/// A field as text; what is no UTF-8 as `\xNN`, as in the JSON form and in apitap's own calls.
fn text(raw: &[u8]) -> Text<'_> {
    match unescaped(raw) {
        Cow::Borrowed(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Text::from(text),
            Err(_) => owned(bytes),
        },
        Cow::Owned(bytes) => owned(&bytes),
    }
}

fn owned(bytes: &[u8]) -> Text<'static> {
    let mut text = String::new();
    printable_into(bytes, &mut text);
    Text::from(text)
}

/// Escapes undone; borrowed when there are none.
fn unescaped(raw: &[u8]) -> Cow<'_, [u8]> {
    let Some(mut at) = memchr(b'\\', raw) else { return Cow::Borrowed(raw) };
    let mut bytes = raw.get(..at).unwrap_or_default().to_vec();
    let hex = |at: usize| raw.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    while let Some(&byte) = raw.get(at) {
        let (byte, length) = match (byte, raw.get(at + 1), hex(at + 2), hex(at + 3)) {
            (b'\\', Some(b'x'), Some(high), Some(low)) => ((high << 4 | low) as u8, 4),
            (b'\\', Some(b'\\'), ..) => (b'\\', 2),
            _ => (byte, 1),
        };
        bytes.push(byte);
        at += length;
    }
    Cow::Owned(bytes)
}

fn call(row: &Row<'_>, maker: &mut Maker) -> Result<Taken, String> {
    let time = row.ts.0.ok_or("no ts, or none that is a time")?;
    let address = |text: &Option<Text<'_>>| text.as_ref().and_then(|text| text.as_str().parse::<IpAddr>().ok());
    let (Some(client), Some(server)) = (address(&row.client), address(&row.server)) else {
        return Ok(Taken::Skipped(Counter::RecordsUnattributed));
    };
    let port = |number: Number| number.fit().unwrap_or(0);
    let (client, server) =
        (Peer { ip: client, port: port(row.client_port) }, Peer { ip: server, port: port(row.server_port) });
    let method = row.method.as_ref().map(Text::as_bytes).unwrap_or_default();
    let Some(uri) = row.uri.as_ref().filter(|_| is_method(method)) else {
        return Ok(Taken::Skipped(Counter::RecordsWithoutRequest));
    };
    let headers = |name: &'static str| {
        row.proxied.iter().flatten().take(ELEMENTS).filter_map(move |element| {
            let (found, value) = element.as_str().split_once(" -> ")?;
            found.eq_ignore_ascii_case(name).then_some(value.as_bytes())
        })
    };
    let status = row.status_code.0.and_then(status);
    let mut media = |types: &Option<Vec<Text<'_>>>| {
        let first = types.as_ref().and_then(|types| types.first())?;
        maker.media_type(first.as_bytes())
    };
    let request = Message {
        body_bytes: row.request_body_len.0.unwrap_or(0),
        content_type: media(&row.orig_mime_types),
        ..Message::default()
    };
    let response = Message {
        body_bytes: row.response_body_len.0.filter(|_| status.is_some()).unwrap_or(0),
        content_type: media(&row.resp_mime_types),
        ..Message::default()
    };
    let flow = match &row.uid {
        Some(uid) => flow(uid.as_bytes()),
        None => flow(format!("{client:?} {server:?}").as_bytes()),
    };
    Ok(Taken::Record(maker.make(Entry {
        flow,
        position: row.trans_depth.fit::<u32>().unwrap_or(1).saturating_sub(1),
        time,
        at_request: true,
        client,
        server,
        community_id: row.community_id.as_ref().map(Text::as_str),
        version: version(row.version.as_ref().map_or("", Text::as_str)),
        method,
        host: row.host.as_ref().map(Text::as_bytes).filter(|host| !host.is_empty()),
        target: uri.as_bytes(),
        status,
        request,
        response,
        user_agent: row.user_agent.as_ref().map(Text::as_bytes).filter(|agent| !agent.is_empty()),
        account: row.username.as_ref().map(Text::as_bytes).filter(|name| !name.is_empty()),
        x_forwarded_for: headers("x-forwarded-for").collect(),
        forwarded: headers("forwarded").collect(),
        ..Entry::new(Recorder::Sensor)
    })))
}
