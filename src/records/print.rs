//! A record as a line of JSON, to the byte as its `Serialize` would write it.
//!
//! `apitap calls` spent half of its time in writing: text after text was looked through byte by byte for what must be
//! escaped, fingerprints included, and each moment was taken apart into a date. Here texts are looked through with
//! vectors, fingerprints not at all, the date is that of the moment before as long as the second is, and what always
//! stands together is appended together. What calls seldom have is left to `Serialize`, and so are connections, which are
//! rare.

use std::io;
use std::net::IpAddr;

use serde::Serialize;

use crate::call::{
    Anomalies, Call, Completeness, Credential, CredentialKind, CredentialPlace, Digest, Fingerprint, Message, Peer,
    Record, SCHEMA, Schema, Sensitive, Version,
};
use crate::time::Timestamp;

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

/// Writes records as JSON.
#[derive(Debug, Default)]
pub struct RecordPrinter {
    /// A second, and how a moment of it is written before the fraction.
    second: Option<(i64, String)>,
}

impl RecordPrinter {
    /// Appends a record as one JSON object; no line end.
    ///
    /// # Errors
    ///
    /// None that a record can bring about: what is left to `Serialize` is plain data.
    pub fn print(&mut self, record: &Record, line: &mut Vec<u8>) -> io::Result<()> {
        match record {
            Record::Call(call) => self.call(call, line),
            Record::Connection(connection) => other(line, connection),
        }
    }

    fn call(&mut self, call: &Call, line: &mut Vec<u8>) -> io::Result<()> {
        // The compiler tells when a field is forgotten.
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
        } = call;
        put(line, "{\"schema\":\"");
        put(line, SCHEMA);
        put(line, "\",\"flow\":");
        hexadecimal(line, flow.0);
        put(line, ",\"position\":");
        number(line, u64::from(*position));
        named(line, ",\"community_id\":\"", community_id)?;
        for (name, time) in [(",\"request_time\":\"", request_time), (",\"response_time\":\"", response_time)] {
            if let Some(time) = time {
                put(line, name);
                self.moment(line, *time);
            }
        }
        put(line, ",\"end_time\":\"");
        self.moment(line, *end_time);
        if latency.is_some() {
            put(line, ",\"latency\":");
            other(line, latency)?;
        }
        for (name, end) in [(",\"client\":{\"ip\":", client), (",\"server\":{\"ip\":", server)] {
            put(line, name);
            peer(line, end)?;
        }
        if !encapsulation.is_empty() {
            put(line, ",\"encapsulation\":");
            other(line, encapsulation)?;
        }
        put(line, ",\"version\":\"");
        put(
            line,
            match version {
                Version::Http09 => "0.9",
                Version::Http10 => "1.0",
                Version::Http11 => "1.1",
                Version::Http2 => "2",
            },
        );
        put(line, "\"");
        let host = host.as_deref();
        for (name, value) in [
            (",\"method\":\"", Some(method.as_str()).filter(|text| !text.is_empty())),
            (",\"host\":\"", host),
            (",\"target\":\"", Some(target.as_str()).filter(|text| !text.is_empty())),
            (",\"path\":\"", Some(path.as_str()).filter(|text| !text.is_empty())),
        ] {
            optional(line, name, value)?;
        }
        if !query_names.is_empty() {
            put(line, ",\"query_names\":");
            list(line, query_names, |line, name| named(line, "\"", name))?;
        }
        if let Some(status) = status {
            put(line, ",\"status\":");
            number(line, u64::from(*status));
        }
        for (name, part) in [(",\"request\":", request), (",\"response\":", response)] {
            put(line, name);
            message(line, part)?;
        }
        optional(line, ",\"user_agent\":\"", user_agent.as_deref())?;
        if let Some(of) = credential {
            put(line, ",\"credential\":");
            self::credential(line, of)?;
        }
        if !key_candidates.is_empty() {
            put(line, ",\"key_candidates\":");
            other(line, key_candidates)?;
        }
        if !forwarding.is_empty() {
            put(line, ",\"forwarding\":");
            other(line, forwarding)?;
        }
        if response_fields.is_some() {
            put(line, ",\"response_fields\":");
            other(line, response_fields)?;
        }
        if request_values.is_some() {
            put(line, ",\"request_values\":");
            other(line, request_values)?;
        }
        if grpc.is_some() {
            put(line, ",\"grpc\":");
            other(line, grpc)?;
        }
        if operation.is_some() {
            put(line, ",\"operation\":");
            other(line, operation)?;
        }
        if websocket.is_some() {
            put(line, ",\"websocket\":");
            other(line, websocket)?;
        }
        if let Some(events) = events {
            put(line, ",\"events\":");
            number(line, *events);
        }
        if http2.is_some() {
            put(line, ",\"http2\":");
            other(line, http2)?;
        }
        if shape.is_some() {
            put(line, ",\"shape\":");
            other(line, shape)?;
        }
        if tls.is_some() {
            put(line, ",\"tls\":");
            other(line, tls)?;
        }
        if !sensitive.is_empty() {
            put(line, ",\"sensitive\":");
            digest(line, sensitive)?;
        }
        if !Anomalies::is_empty(anomalies) {
            put(line, ",\"anomalies\":");
            other(line, anomalies)?;
        }
        put(line, ",\"completeness\":");
        self::completeness(line, completeness)?;
        put(line, "}");
        Ok(())
    }

    /// Appends a moment, of which the mark that begins the text is there.
    fn moment(&mut self, line: &mut Vec<u8>, time: Timestamp) {
        /// A point, nine digits and the zone.
        const FRACTION: usize = 11;
        let (second, nanos) = (time.nanos().div_euclid(SECOND), time.nanos().rem_euclid(SECOND));
        let before = match &mut self.second {
            Some((known, before)) if *known == second => before,
            known => {
                let mut whole = time.to_string();
                whole.truncate(whole.len().saturating_sub(FRACTION));
                &mut known.insert((second, whole)).1
            }
        };
        put(line, before);
        let mut end = *b".000000000Z\"";
        let mut rest = nanos as u32; // below a thousand million
        for digit in end.iter_mut().skip(1).take(9).rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        line.extend_from_slice(&end);
    }
}

fn put(line: &mut Vec<u8>, text: &str) {
    line.extend_from_slice(text.as_bytes());
}

/// What is rare, or no matter of bytes.
fn other(line: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    Ok(serde_json::to_writer(line, value)?)
}

/// A text behind `before`, which ends in the mark that begins it.
fn named(line: &mut Vec<u8>, before: &str, value: &str) -> io::Result<()> {
    // Over all of it without a way out, so that it is done with vectors.
    let odd = value.bytes().fold(false, |odd, byte| odd | (byte < b' ') | (byte == b'"') | (byte == b'\\'));
    if odd {
        put(line, before.strip_suffix('"').unwrap_or(before));
        return other(line, value);
    }
    put(line, before);
    put(line, value);
    line.push(b'"');
    Ok(())
}

fn optional(line: &mut Vec<u8>, before: &str, value: Option<&str>) -> io::Result<()> {
    value.map_or(Ok(()), |value| named(line, before, value))
}

fn number(line: &mut Vec<u8>, value: u64) {
    put(line, itoa::Buffer::new().format(value));
}

fn hexadecimal(line: &mut Vec<u8>, value: u64) {
    let mut digits = [b'"'; 18];
    for (place, digit) in digits.iter_mut().skip(1).take(16).enumerate() {
        let nibble = (value >> (60 - 4 * place)) as u8 & 0x0f;
        *digit = if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
    }
    line.extend_from_slice(&digits);
}

fn list<T>(
    line: &mut Vec<u8>,
    values: &[T],
    mut each: impl FnMut(&mut Vec<u8>, &T) -> io::Result<()>,
) -> io::Result<()> {
    let mut before = "[";
    for value in values {
        put(line, before);
        each(line, value)?;
        before = ",";
    }
    put(line, if values.is_empty() { "[]" } else { "]" });
    Ok(())
}

/// Each byte as a decimal number with a point behind it, and how many of these four are meant.
const DECIMAL: [([u8; 4], u8); 256] = {
    let mut table = [([b'.'; 4], 0); 256];
    let mut byte = 0;
    while byte < 256 {
        let all = [b'0' + (byte / 100) as u8, b'0' + (byte / 10 % 10) as u8, b'0' + (byte % 10) as u8];
        let first = if byte >= 100 {
            0
        } else if byte >= 10 {
            1
        } else {
            2
        };
        let mut place = first;
        while place < 3 {
            table[byte].0[place - first] = all[place];
            place += 1;
        }
        table[byte].1 = 4 - first as u8;
        byte += 1;
    }
    table
};

/// The rest of an object whose address comes next.
fn peer(line: &mut Vec<u8>, Peer { ip, port }: &Peer) -> io::Result<()> {
    match ip {
        IpAddr::V4(address) => {
            // The longest has fifteen, and its marks.
            let mut whole = [b'"'; 17];
            let mut end = 1;
            for byte in address.octets() {
                let (digits, length) = DECIMAL[usize::from(byte)];
                if let Some(place) = whole.get_mut(end..end + digits.len()) {
                    place.copy_from_slice(&digits);
                }
                end += usize::from(length);
            }
            // In place of the last point.
            if let Some(last) = whole.get_mut(end - 1) {
                *last = b'"';
            }
            line.extend_from_slice(whole.get(..end).unwrap_or_default());
        }
        IpAddr::V6(_) => other(line, ip)?,
    }
    put(line, ",\"port\":");
    number(line, u64::from(*port));
    put(line, "}");
    Ok(())
}

fn flags(line: &mut Vec<u8>, flags: &[(&str, bool)]) {
    for (name, _) in flags.iter().filter(|(_, holds)| *holds) {
        put(line, name);
    }
}

fn message(line: &mut Vec<u8>, message: &Message) -> io::Result<()> {
    let Message {
        head_bytes,
        wire_bytes,
        body_bytes,
        body_fingerprint,
        content_type,
        content_encoding,
        gap_bytes,
        truncated,
        capped,
    } = message;
    put(line, "{\"head_bytes\":");
    number(line, *head_bytes);
    put(line, ",\"wire_bytes\":");
    number(line, *wire_bytes);
    put(line, ",\"body_bytes\":");
    number(line, *body_bytes);
    if let Some(Fingerprint(value)) = body_fingerprint {
        put(line, ",\"body_fingerprint\":");
        hexadecimal(line, *value);
    }
    optional(line, ",\"content_type\":\"", content_type.as_deref())?;
    optional(line, ",\"content_encoding\":\"", content_encoding.as_deref())?;
    if *gap_bytes > 0 {
        put(line, ",\"gap_bytes\":");
        number(line, *gap_bytes);
    }
    flags(line, &[(",\"truncated\":true", *truncated), (",\"capped\":true", *capped)]);
    put(line, "}");
    Ok(())
}

fn credential(line: &mut Vec<u8>, credential: &Credential) -> io::Result<()> {
    let Credential { kind, fingerprint, subject, group, role, place, signature, claims } = credential;
    if claims.is_some() || signature.is_some() || *place != CredentialPlace::Header {
        return other(line, credential);
    }
    put(line, "{\"kind\":\"");
    put(
        line,
        match kind {
            CredentialKind::Basic => "basic",
            CredentialKind::Bearer => "bearer",
            CredentialKind::Other => "other",
            CredentialKind::ApiKey => "api_key",
            CredentialKind::Cookie => "cookie",
        },
    );
    put(line, "\"");
    for (name, value) in [
        (",\"fingerprint\":", Some(*fingerprint)),
        (",\"subject\":", *subject),
        (",\"group\":", *group),
        (",\"role\":", *role),
    ] {
        if let Some(Fingerprint(value)) = value {
            put(line, name);
            hexadecimal(line, value);
        }
    }
    put(line, "}");
    Ok(())
}

fn digest(line: &mut Vec<u8>, Digest { request, request_head, response }: &Digest) -> io::Result<()> {
    let mut before = "{";
    for (name, found) in [("\"request\":", request), ("\"request_head\":", request_head), ("\"response\":", response)] {
        if !found.is_empty() {
            put(line, before);
            put(line, name);
            list(line, found, sensitive)?;
            before = ",";
        }
    }
    put(line, "}");
    Ok(())
}

fn sensitive(line: &mut Vec<u8>, Sensitive { class, count, values }: &Sensitive) -> io::Result<()> {
    named(line, "{\"class\":\"", class)?;
    put(line, ",\"count\":");
    number(line, u64::from(*count));
    put(line, ",\"values\":");
    list(line, values, |line, &Fingerprint(value)| {
        hexadecimal(line, value);
        Ok(())
    })?;
    put(line, "}");
    Ok(())
}

fn completeness(line: &mut Vec<u8>, completeness: &Completeness) -> io::Result<()> {
    let Completeness { request, response, one_sided, midstream, unknown_fields, open, part, recorder } = completeness;
    put(line, if *request { "{\"request\":true" } else { "{\"request\":false" });
    put(line, if *response { ",\"response\":true" } else { ",\"response\":false" });
    flags(line, &[(",\"one_sided\":true", *one_sided), (",\"midstream\":true", *midstream)]);
    if *unknown_fields > 0 {
        put(line, ",\"unknown_fields\":");
        number(line, u64::from(*unknown_fields));
    }
    flags(line, &[(",\"open\":true", *open)]);
    if *part > 0 {
        put(line, ",\"part\":");
        number(line, u64::from(*part));
    }
    if recorder.is_some() {
        put(line, ",\"recorder\":");
        other(line, recorder)?;
    }
    put(line, "}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{
        Anomaly, Claims, FlowId, Forwarding, Grpc, Http2, Operation, OperationError, Probe, Recorder, RequestValues,
        ResetBy, ResponseFields, Signature, Tls, WebSocket,
    };
    use crate::packet::Layer;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![Just(String::new()), "[a-z/?=]{0,40}", "[ -~\\\\\"\t\n\r\0é\u{7f}]{0,12}"]
    }

    fn messages() -> impl Strategy<Value = Message> {
        (any::<[u64; 3]>(), prop::option::of(texts()), prop::option::of(texts()), 0u64..3, any::<[bool; 2]>()).prop_map(
            |(bytes, content_type, content_encoding, gap_bytes, [truncated, capped])| Message {
                head_bytes: bytes[0],
                wire_bytes: bytes[1] % 1_000,
                body_bytes: bytes[2] % 10,
                body_fingerprint: (bytes[2] % 3 == 0).then_some(Fingerprint(bytes[1])),
                content_type: content_type.map(Into::into),
                content_encoding: content_encoding.map(Into::into),
                gap_bytes,
                truncated,
                capped,
            },
        )
    }

    fn found() -> impl Strategy<Value = Vec<Sensitive>> {
        let one =
            (texts(), any::<u32>(), prop::collection::vec(any::<u64>(), 0..4)).prop_map(|(class, count, values)| {
                Sensitive { class: class.into(), count, values: values.into_iter().map(Fingerprint).collect() }
            });
        prop::collection::vec(one, 0..3)
    }

    fn credentials() -> impl Strategy<Value = Credential> {
        use CredentialKind::{ApiKey, Basic, Bearer, Cookie, Other};
        let print = || prop::option::of(any::<u64>().prop_map(Fingerprint));
        (prop::sample::select(vec![ApiKey, Basic, Bearer, Cookie, Other]), any::<u64>(), print(), print()).prop_map(
            |(kind, print, subject, group)| {
                let claims = Claims { token: true, algorithm: Some("RS256".into()), ..Claims::default() };
                Credential {
                    subject,
                    group,
                    role: (print % 11 == 0).then_some(Fingerprint(print >> 7)),
                    place: if print % 3 == 0 { CredentialPlace::Query } else { CredentialPlace::Header },
                    signature: (print % 5 == 0).then_some(Signature::AwsSigv4),
                    claims: (print % 7 == 0).then(|| Arc::new(claims)),
                    ..Credential::new(kind, Fingerprint(print))
                }
            },
        )
    }

    fn calls() -> impl Strategy<Value = Call> {
        let time = || prop::option::of(prop_oneof![any::<i64>(), 0..3 * SECOND].prop_map(Timestamp::from_nanos));
        let version = prop::sample::select(vec![Version::Http09, Version::Http10, Version::Http11, Version::Http2]);
        let anomalies = prop::collection::vec(prop::sample::select(Anomaly::ALL.to_vec()), 0..3);
        let recorder = prop::sample::select(vec![None, Some(Recorder::Sensor), Some(Recorder::Server)]);
        (
            (any::<(u64, u32, IpAddr, IpAddr)>(), [texts(), texts(), texts(), texts(), texts(), texts()]),
            (time(), time(), time(), prop::option::of(any::<f64>()), version, prop::option::of(any::<u16>())),
            (messages(), messages(), found(), found(), prop::option::of(credentials())),
            (anomalies, any::<[bool; 7]>(), recorder, prop::collection::vec(texts(), 0..3)),
        )
            .prop_map(|(ends, times, parts, rest)| {
                let ((flow, position, client, server), [community_id, method, host, target, path, user_agent]) = ends;
                let [request, response, one_sided, midstream, tagged, forwarded, named] = rest.1;
                let mut call = Call {
                    flow: FlowId(flow),
                    position,
                    community_id: community_id.into(),
                    request_time: times.0,
                    response_time: times.1,
                    end_time: times.2.unwrap_or_default(),
                    latency: times.3,
                    client: Peer { ip: client, port: 7 },
                    server: Peer { ip: server, port: 65_535 },
                    version: times.4,
                    method,
                    target,
                    path,
                    query_names: rest.3.iter().map(|name| name.as_str().into()).collect(),
                    status: times.5,
                    request: parts.0,
                    response: parts.1,
                    sensitive: Digest {
                        request: parts.2.clone().into(),
                        request_head: parts.3.clone().into(),
                        response: parts.3.into(),
                    },
                    credential: parts.4,
                    completeness: Completeness {
                        request,
                        response,
                        one_sided,
                        midstream,
                        unknown_fields: position % 3,
                        open: position % 5 < 2,
                        part: position % 4,
                        recorder: rest.2,
                    },
                    grpc: (position % 7 < 3)
                        .then(|| Box::new(Grpc { status: times.5.map(u32::from), web: tagged, ..Grpc::default() })),
                    operation: (position % 5 < 2).then(|| {
                        Box::new(Operation {
                            name: named.then(|| "query".into()),
                            count: position,
                            error: times
                                .5
                                .map(|status| OperationError { status, code: tagged.then(|| "-32601".into()) }),
                            ..Operation::default()
                        })
                    }),
                    shape: (position % 3 == 1).then(Box::default),
                    websocket: (position % 13 < 4).then(|| {
                        let subprotocol = named.then(|| "chat".into());
                        Box::new(WebSocket { subprotocol, close_code: times.5, ..WebSocket::default() })
                    }),
                    response_fields: (position % 19 < 5)
                        .then(|| Box::new(ResponseFields { retry_after: Some(7), ..ResponseFields::default() })),
                    request_values: (position % 23 < 5).then(|| {
                        let probe = Probe {
                            field: "a.b".into(),
                            rule: "script".into(),
                            prose: tagged,
                            value: tagged.then_some(Fingerprint(5)),
                        };
                        Arc::new(RequestValues {
                            probes: vec![probe],
                            default_account: named.then(|| "root".into()),
                            account: tagged.then_some(Fingerprint(7)),
                            password: tagged,
                            object: named.then_some(Fingerprint(9)),
                        })
                    }),
                    events: (position % 17 < 5).then_some(u64::from(position)),
                    http2: (position % 11 < 5).then(|| {
                        let reset_by = named.then_some(ResetBy::Client);
                        Box::new(Http2 { stream: position, reset_by, ..Http2::default() })
                    }),
                    tls: (position % 13 < 6)
                        .then(|| Arc::new(Tls { version: named.then(|| "1.3".into()), ..Tls::default() })),
                    ..Call::default()
                };
                if named {
                    (call.host, call.user_agent) = (Some(host.into()), Some(user_agent.into()));
                }
                if tagged {
                    call.encapsulation = [Layer::Vlan { id: 7 }].into();
                }
                if forwarded {
                    call.forwarding = Forwarding { x_forwarded_for: rest.3, ..Forwarding::default() };
                }
                rest.0.into_iter().for_each(|anomaly| call.anomalies.insert(anomaly));
                call
            })
    }

    proptest! {
        #[test]
        fn writes_as_serialize_does(calls in prop::collection::vec(calls(), 1..4)) {
            let mut printer = RecordPrinter::default();
            for call in calls {
                let mut line = Vec::new();
                printer.call(&call, &mut line).expect("plain data");
                prop_assert_eq!(String::from_utf8_lossy(&line), serde_json::to_string(&call).expect("plain data"));
            }
        }
    }
}
