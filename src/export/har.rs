//! HAR 1.2 (<http://www.softwareishard.com/blog/har-12-spec/>): an archive of calls that browsers, proxies and test tools
//! read.
//!
//! What apitap never keeps is not in it: bodies have sizes and media types and no text, values of headers and cookies are
//! `***` unless they are printed with calls, and so are recognised secrets in URLs, the values of parameters of path segments
//! (`;jsessionid=***`), and segments that look like tokens but for their first bytes: an archive is made to be given to others. Custom fields begin with `_`, as the
//! format wants: `_apitap` has what else is known of a call. A call that goes on is written when it is over; one without an
//! answer has status 0, as browsers write it. Where a body or trailers say that what was asked for failed, though the status
//! says otherwise, the response has a comment and `_outcome`.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::call::{Call, CredentialKind, Message, NamedShape, Version};
use crate::endpoint::is_token;

/// What stands for a value that is not told.
const MASKED: &str = crate::inspect::MASK;

/// The service of a call of which neither host nor address is known.
const UNKNOWN: &str = "unknown";

/// Before all entries.
pub fn begin() -> String {
    let creator = json!({"name": "apitap", "version": env!("CARGO_PKG_VERSION")});
    format!("{{\"log\":{{\"version\":\"1.2\",\"creator\":{creator},\"entries\":[")
}

/// Behind all entries.
pub const END: &str = "]}}\n";

/// A call as an entry; none for a record of a call that goes on.
pub fn entry(call: &Call) -> Option<Value> {
    if call.completeness.open {
        return None;
    }
    let milliseconds = |seconds: f64| (seconds * 1e6).round() / 1e3;
    let wait = call.latency().map_or(0.0, |latency| milliseconds(latency.as_secs_f64()));
    let receive = call.response_time.map_or(0.0, |time| milliseconds(call.end_time.since(time).as_secs_f64()));
    let version = match call.version {
        Version::Http09 => "HTTP/0.9",
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
        Version::Http2 => "HTTP/2",
    };
    let url = url(call);
    let mut request = json!({
        "method": call.method,
        "url": url,
        "httpVersion": version,
        "cookies": cookies(call),
        "headers": request_headers(call),
        "queryString": query(&call.target),
        "headersSize": call.request.head_bytes,
        "bodySize": call.request.wire_bytes,
    });
    if call.request.body_bytes > 0 {
        let media = call.request.content_type.as_deref().unwrap_or_default();
        request["postData"] = json!({"mimeType": media, "text": "", "params": [],
            "comment": format!("{} bytes, which are not kept", call.request.body_bytes)});
    }
    let mut content = json!({
        "size": call.response.body_bytes,
        "mimeType": call.response.content_type.as_deref().unwrap_or("x-unknown"),
    });
    if call.response.content_encoding.is_some() {
        content["compression"] = json!(i128::from(call.response.body_bytes) - i128::from(call.response.wire_bytes));
    }
    let mut response = json!({
        "status": call.status.unwrap_or_default(),
        "statusText": call.status.map_or("", reason),
        "httpVersion": version,
        "cookies": [],
        "headers": message_headers(&call.response),
        "content": content,
        "redirectURL": "",
        "headersSize": if call.status.is_some() { json!(call.response.head_bytes) } else { json!(-1) },
        "bodySize": if call.status.is_some() { json!(call.response.wire_bytes) } else { json!(-1) },
    });
    if let Some(outcome) = call.outcome().filter(|outcome| call.status.is_some_and(|status| status != *outcome)) {
        // Not the status: that is what the server said in HTTP.
        response["comment"] = json!(format!("The answer says otherwise: {outcome} {}", reason(outcome)).trim_end());
        response["_outcome"] = json!(outcome);
    }
    let mut entry = json!({
        "startedDateTime": call.start_time(),
        "time": milliseconds((wait + receive) / 1e3),
        "request": request,
        "response": response,
        "cache": {},
        "timings": {"blocked": -1, "dns": -1, "connect": -1, "ssl": -1, "send": 0, "wait": wait, "receive": receive},
        "serverIPAddress": call.server.ip,
        "connection": call.flow.to_string(),
        "_apitap": known(call),
    });
    if call.server.ip.is_unspecified()
        && let Some(fields) = entry.as_object_mut()
    {
        fields.remove("serverIPAddress");
    }
    Some(entry)
}

/// What else is known.
fn known(call: &Call) -> Value {
    let mut known = Map::new();
    known.insert("client".to_owned(), json!(call.client));
    known.insert("server".to_owned(), json!(call.server));
    known.insert("flow".to_owned(), json!(call.flow));
    known.insert("position".to_owned(), json!(call.position));
    known.insert("community_id".to_owned(), json!(call.community_id));
    known.insert("completeness".to_owned(), json!(call.completeness));
    for (name, there, value) in [
        ("credential", call.credential.is_some(), json!(call.credential)),
        ("sensitive", !call.sensitive.is_empty(), json!(call.sensitive)),
        ("anomalies", !call.anomalies.is_empty(), json!(call.anomalies)),
        ("operation", call.operation.is_some(), json!(call.operation)),
        ("grpc", call.grpc.is_some(), json!(call.grpc)),
    ] {
        if there {
            known.insert(name.to_owned(), value);
        }
    }
    known.into()
}

/// An absolute URL, with all encoded that a URL cannot have.
fn url(call: &Call) -> String {
    let scheme = if call.tls.is_some() { "https" } else { "http" };
    let server = || match call.server.ip.is_unspecified() {
        true => UNKNOWN.to_owned(),
        false => std::net::SocketAddr::new(call.server.ip, call.server.port).to_string(),
    };
    let host = call.host.as_deref().filter(|host| !host.is_empty()).map_or_else(server, str::to_owned);
    let whole = match call.target.as_str() {
        target if target.contains("://") => target.to_owned(),
        target if target.starts_with('/') => format!("{scheme}://{host}{target}"),
        // `*` of OPTIONS, the authority of CONNECT, and nothing.
        "" => format!("{scheme}://{host}/"),
        "*" => format!("{scheme}://{host}/*"),
        target => format!("{scheme}://{target}"),
    };
    let whole = masked(&whole);
    let mut url = String::with_capacity(whole.len());
    for byte in whole.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => url.push(char::from(byte)),
            _ if b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte) => url.push(char::from(byte)),
            byte => {
                let _ = write!(url, "%{byte:02X}"); // writing to a text does not fail
            }
        }
    }
    url
}

/// An absolute URL without what its path may tell of who was given it.
fn masked(whole: &str) -> String {
    let authority = whole.find("://").map_or(0, |scheme| scheme + 3);
    let path = whole[authority..].find(['/', '?', '#']).map_or(whole.len(), |path| authority + path);
    let end = whole[path..].find(['?', '#']).map_or(whole.len(), |end| path + end);
    let mut text = whole[..path].to_owned();
    for (number, segment) in whole[path..end].split('/').enumerate() {
        if number > 0 {
            text.push('/');
        }
        let mut parts = segment.split(';');
        let name = parts.next().unwrap_or_default();
        match is_token(name) && !name.contains(MASKED) {
            // As targets are masked: an eighth of it, four bytes at most. A token has no others than ASCII.
            true => {
                text.push_str(name.get(..(name.len() / 8).min(4)).unwrap_or_default());
                text.push_str(MASKED);
            }
            false => text.push_str(name),
        }
        for part in parts {
            text.push(';');
            match part.split_once('=') {
                Some((name, value)) => {
                    text.push_str(name);
                    text.push('=');
                    text.push_str(if value.is_empty() { "" } else { MASKED });
                }
                None => text.push_str(part),
            }
        }
    }
    text.push_str(&whole[end..]);
    text
}

fn pair(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

/// The parameters of a target, which is masked already.
fn query(target: &str) -> Value {
    let query = target.split('#').next().and_then(|target| target.split_once('?')).map_or("", |(_, query)| query);
    let decoded = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    let parts = query.split('&').filter(|part| !part.is_empty());
    let pairs = parts.map(|part| part.split_once('=').unwrap_or((part, "")));
    pairs.map(|(name, value)| pair(&decoded(name), &decoded(value))).collect::<Vec<_>>().into()
}

fn message_headers(message: &Message) -> Vec<Value> {
    let known = [("Content-Type", &message.content_type), ("Content-Encoding", &message.content_encoding)];
    known.into_iter().filter_map(|(name, value)| Some(pair(name, value.as_deref()?))).collect()
}

fn named(call: &Call, list: impl Fn(&crate::call::Shape) -> &[NamedShape]) -> &[NamedShape] {
    // The closure only chooses a field.
    match &call.shape {
        Some(shape) => list(shape),
        None => &[],
    }
}

fn cookies(call: &Call) -> Vec<Value> {
    named(call, |shape| &shape.cookies).iter().map(|cookie| pair(&cookie.name, MASKED)).collect()
}

fn request_headers(call: &Call) -> Vec<Value> {
    let mut headers = Vec::new();
    if let Some(host) = &call.host {
        headers.push(pair("Host", host));
    }
    if let Some(agent) = &call.user_agent {
        headers.push(pair("User-Agent", agent));
    }
    headers.extend(message_headers(&call.request));
    let scheme = match call.credential.as_ref().map(|credential| credential.kind) {
        Some(CredentialKind::Basic) => Some("Basic ***"),
        Some(CredentialKind::Bearer) => Some("Bearer ***"),
        Some(CredentialKind::Other) => Some(MASKED),
        Some(CredentialKind::ApiKey | CredentialKind::Cookie) | None => None,
    };
    headers.extend(scheme.map(|scheme| pair("Authorization", scheme)));
    for (name, hops) in
        [("X-Forwarded-For", &call.forwarding.x_forwarded_for), ("Forwarded", &call.forwarding.forwarded)]
    {
        if !hops.is_empty() && name == "X-Forwarded-For" {
            headers.push(pair(name, &hops.join(", ")));
        } else if !hops.is_empty() {
            let elements: Vec<_> = hops.iter().map(|hop| format!("for={hop}")).collect();
            headers.push(pair(name, &elements.join(", ")));
        }
    }
    headers.extend(call.forwarding.x_real_ip.as_deref().map(|address| pair("X-Real-IP", address)));
    headers.extend(named(call, |shape| &shape.headers).iter().map(|header| pair(&header.name, MASKED)));
    let names: Vec<_> =
        named(call, |shape| &shape.cookies).iter().map(|one| format!("{}={MASKED}", one.name)).collect();
    if !names.is_empty() {
        headers.push(pair("Cookie", &names.join("; ")));
    }
    headers
}

/// The usual reason of a status (RFC 9110, section 15), which is not kept; empty of others.
fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Operation, OperationError};

    #[test]
    fn urls_are_absolute_and_well_formed() {
        let of = |host: Option<&str>, target: &str| {
            url(&Call { host: host.map(Into::into), target: target.into(), ..Call::default() })
        };
        assert_eq!(of(Some("h:8080"), "/a?b=c%20d"), "http://h:8080/a?b=c%20d");
        assert_eq!(of(None, "/a b\"é\\x80"), "http://unknown/a%20b%22%C3%A9%5Cx80");
        assert_eq!(of(Some("h"), "http://other/x"), "http://other/x");
        assert_eq!(of(Some("h"), "*"), "http://h/*");
        assert_eq!(of(Some("h"), "h:443"), "http://h:443");
    }

    #[test]
    fn paths_tell_no_tokens() {
        let of = |target: &str| url(&Call { host: Some("h".into()), target: target.into(), ..Call::default() });
        for (target, expected) in [
            ("/x;jsessionid=ABCDEF0123456789", "/x;jsessionid=***"),
            ("/a;v=1;w;x=/b?c=1;d=2", "/a;v=***;w;x=/b?c=1;d=2"),
            ("/verify/SECRETpathtoken0123456789abcdef", "/verify/SEC***"),
            (
                "/people/al***/orders/12345#SECRETpathtoken0123456789abcdef",
                "/people/al***/orders/12345#SECRETpathtoken0123456789abcdef",
            ),
        ] {
            assert_eq!(of(target), format!("http://h{expected}"));
        }
        assert_eq!(of("http://other/kJhGfDsAqWeRtYuIop;s=é"), "http://other/kJ***;s=***");
        assert_eq!(of("h:443"), "http://h:443");
        assert_eq!(of(&format!("/t/{}", "kJhGfDsA9qWeRtYuI0op".repeat(9))), "http://h/t/kJhG***");
    }

    #[test]
    fn what_failed_with_a_good_status_says_so() {
        let error = Some(OperationError { status: 403, code: None });
        let operation = Some(Box::new(Operation { error, ..Operation::default() }));
        let failed = Call { status: Some(200), operation, ..Call::default() };
        let refused = Call { status: Some(403), ..failed.clone() };
        let response = |call: &Call| entry(call).expect("an entry")["response"].clone();
        assert_eq!(response(&failed)["status"], 200);
        assert_eq!(response(&failed)["_outcome"], 403);
        assert_eq!(response(&failed)["comment"], "The answer says otherwise: 403 Forbidden");
        for said in [refused, Call { operation: None, ..failed.clone() }, Call { status: None, ..failed }] {
            assert_eq!((&response(&said)["_outcome"], &response(&said)["comment"]), (&Value::Null, &Value::Null));
        }
    }

    #[test]
    fn queries_are_taken_apart() {
        let expected =
            json!([{"name": "a b", "value": "1=2"}, {"name": "c", "value": ""}, {"name": "k", "value": "ab***"}]);
        assert_eq!(query("/x?a+b=1%3D2&&c&k=ab***"), expected);
        assert_eq!(query("/x"), json!([]));
    }
}
