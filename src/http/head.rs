//! Start lines and the headers that a call needs.
//!
//! What is written as usual is read in one pass ([`super::quick`]); httparse reads all that is well-formed. What it refuses and real servers accept (folding, white space before a colon,
//! raw bytes in targets, unusual versions, control bytes) a second, tolerant pass over the lines reads, and marks.

use std::mem::MaybeUninit;

use memchr::{memchr, memrchr};

use super::quick;
use super::repeat::Heads;
use super::websocket::Extensions;
use crate::call::{Anomalies, Anomaly, Version};

/// Headers that httparse is given room for; heads with more take the tolerant pass.
const QUICK_HEADERS: usize = 64;

/// Most values that are kept of a header that proxies repeat.
const FORWARDED_LIMIT: usize = 16;

/// Headers that few heads have of which the values are kept.
const RARE_LIMIT: usize = 16;
/// Most headers of the API's own that are kept.
const OWN_LIMIT: usize = 16;

/// What of the headers matters, borrowed from the head.
#[derive(Debug, Default)]
pub(crate) struct Fields<'h> {
    pub(crate) host: Option<&'h [u8]>,
    pub(crate) content_length: Option<u64>,
    pub(crate) chunked: bool,
    /// Chunked is among the codings, wherever. A request cannot end with the connection (RFC 9112, section 6.3), so
    /// this is what a server that accepts it can only mean.
    pub(crate) chunked_somewhere: bool,
    /// Transfer codings were named and chunked is not the last of them: the body ends with the connection.
    pub(crate) unframed: bool,
    pub(crate) content_type: Option<&'h [u8]>,
    pub(crate) content_encoding: Option<&'h [u8]>,
    pub(crate) user_agent: Option<&'h [u8]>,
    pub(crate) authorization: Option<&'h [u8]>,
    pub(crate) cookie: Option<&'h [u8]>,
    pub(crate) api_key: Option<&'h [u8]>,
    pub(crate) api_key_name: Option<&'h [u8]>,
    /// Headers of the API's own, name and value, where they are asked for.
    pub(crate) own: Vec<(&'h [u8], &'h [u8])>,
    /// There were more of these, or of cookies that are set, than are kept.
    pub(crate) passed_over: bool,
    pub(crate) x_forwarded_for: Vec<&'h [u8]>,
    pub(crate) forwarded: Vec<&'h [u8]>,
    pub(crate) x_real_ip: Option<&'h [u8]>,
    pub(crate) upgrade: bool,
    /// What it is offered to upgrade to is HTTP/2 (`h2c`, RFC 7540, section 3.2).
    pub(crate) h2c: bool,
    /// What it is offered to upgrade to is WebSocket (RFC 6455, section 4).
    pub(crate) websocket: bool,
    pub(crate) subprotocol: Option<&'h [u8]>,
    pub(crate) extensions: Extensions,
    pub(crate) grpc_status: Option<&'h [u8]>,
    pub(crate) grpc_encoding: Option<&'h [u8]>,
    /// What a request of SOAP 1.1 is about (SOAP 1.1, section 6.1.1).
    pub(crate) soap_action: Option<&'h [u8]>,
    /// What few heads have, by what it is; the first [`RARE_LIMIT`].
    pub(super) rare: Vec<(Kind, &'h [u8])>,
    pub(crate) anomalies: Anomalies,
    length_seen: bool,
    hosts: u8,
}

/// A request's head.
#[derive(Debug, Default)]
pub(crate) struct RequestHead<'h> {
    pub(crate) method: &'h [u8],
    pub(crate) target: &'h [u8],
    pub(crate) version: Version,
    pub(crate) fields: Fields<'h>,
}

/// A response's head.
#[derive(Debug, Default)]
pub(crate) struct ResponseHead<'h> {
    /// None where the status line has no number.
    pub(crate) status: Option<u16>,
    pub(crate) version: Version,
    pub(crate) fields: Fields<'h>,
}

/// What a header is to a call, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Other,
    Host,
    Cookie,
    Upgrade,
    XRealIp,
    Forwarded,
    UserAgent,
    ContentType,
    Authorization,
    ContentLength,
    XForwardedFor,
    ContentEncoding,
    TransferEncoding,
    GrpcStatus,
    GrpcEncoding,
    SoapAction,
    WebSocketProtocol,
    WebSocketExtensions,
    /// `Signature` and `Signature-Input` (RFC 9421, section 4).
    Signature,
    SignatureInput,
    Location,
    SetCookie,
    RetryAfter,
    Challenge,
    /// `RateLimit`, and what says a part of it.
    RateLimit,
    RateLimitLimit,
    RateLimitRemaining,
    RateLimitReset,
    /// One that carries an API key by the rules.
    ApiKey,
    /// One of the API's own, where those are asked for.
    Own,
}

impl Kind {
    #[inline]
    pub(super) fn of(name: &[u8], reading: &Reading<'_>) -> Kind {
        // Of those that are looked for, no two of one length begin alike, but for some that differ in the middle.
        let (kind, text) = match (name.len(), name.first().map(u8::to_ascii_lowercase)) {
            (8, _) => (Kind::Location, "location"),
            (9, Some(b's')) => (Kind::Signature, "signature"),
            (9, Some(b'r')) => (Kind::RateLimit, "ratelimit"),
            (11, Some(b'r')) => (Kind::RetryAfter, "retry-after"),
            (15, Some(b's')) => (Kind::SignatureInput, "signature-input"),
            (15, Some(b'r')) => match name.get(10).map(u8::to_ascii_lowercase) {
                Some(b'l') => (Kind::RateLimitLimit, "ratelimit-limit"),
                _ => (Kind::RateLimitReset, "ratelimit-reset"),
            },
            (16, Some(b'w')) => (Kind::Challenge, "www-authenticate"),
            (17, Some(b'x')) => match name.get(12).map(u8::to_ascii_lowercase) {
                Some(b'l') => (Kind::RateLimitLimit, "x-ratelimit-limit"),
                _ => (Kind::RateLimitReset, "x-ratelimit-reset"),
            },
            (19, _) => (Kind::RateLimitRemaining, "ratelimit-remaining"),
            (21, _) => (Kind::RateLimitRemaining, "x-ratelimit-remaining"),
            (4, _) => (Kind::Host, "host"),
            (6, _) => (Kind::Cookie, "cookie"),
            (7, _) => (Kind::Upgrade, "upgrade"),
            (9, Some(b'x')) => (Kind::XRealIp, "x-real-ip"),
            (9, _) => (Kind::Forwarded, "forwarded"),
            (10, Some(b's')) => match name.get(3).map(u8::to_ascii_lowercase) {
                Some(b'-') => (Kind::SetCookie, "set-cookie"),
                _ => (Kind::SoapAction, "soapaction"),
            },
            (10, _) => (Kind::UserAgent, "user-agent"),
            (11, _) => (Kind::GrpcStatus, "grpc-status"),
            (12, _) => (Kind::ContentType, "content-type"),
            (13, Some(b'g')) => (Kind::GrpcEncoding, "grpc-encoding"),
            (13, _) => (Kind::Authorization, "authorization"),
            (14, _) => (Kind::ContentLength, "content-length"),
            (15, _) => (Kind::XForwardedFor, "x-forwarded-for"),
            (16, _) => (Kind::ContentEncoding, "content-encoding"),
            (17, _) => (Kind::TransferEncoding, "transfer-encoding"),
            (22, _) => (Kind::WebSocketProtocol, "sec-websocket-protocol"),
            (24, _) => (Kind::WebSocketExtensions, "sec-websocket-extensions"),
            _ => (Kind::Other, ""),
        };
        if kind != Kind::Other && name.eq_ignore_ascii_case(text.as_bytes()) {
            return kind;
        }
        if (reading.is_api_key)(name) {
            return Kind::ApiKey;
        }
        if reading.is_own.is_some_and(|is_own| is_own(name)) { Kind::Own } else { Kind::Other }
    }
}

/// How to read headers: the limit on their number, which ones carry an API key, and which are the API's own, where
/// that is asked for.
pub(crate) struct Reading<'r> {
    pub(crate) header_limit: usize,
    pub(crate) is_api_key: &'r dyn Fn(&[u8]) -> bool,
    pub(crate) is_own: Option<fn(&[u8]) -> bool>,
}

/// Where a head ends: behind the first empty line from `from` on (the beginning of a line or the byte before). Says
/// too whether a line ended in a bare LF.
pub(crate) fn find_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = memchr(b'\n', bytes.get(at..)?) {
        at += found + 1;
        match bytes.get(at..) {
            Some([b'\r', b'\n', ..]) => return Some(at + 2),
            Some([b'\n', ..]) => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// A head of either kind.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack")]
pub(crate) enum Head<'h> {
    Request(RequestHead<'h>),
    Response(ResponseHead<'h>),
}

/// Reads the head that `bytes` begin with, of the kind that `head` is, if it is whole and well-formed, and says how long it
/// is. `place` is that of its ends in `heads`. A head is hundreds of bytes: it is written where it is wanted.
pub(crate) fn known<'h>(
    bytes: &'h [u8],
    reading: &Reading<'_>,
    heads: &mut Heads,
    place: u64,
    head: &mut Head<'h>,
) -> Option<usize> {
    match head {
        Head::Request(head) => heads.request(place, bytes, reading, head).or_else(|| {
            let length;
            (*head, length) = usual_request(bytes, reading)?;
            Some(length)
        }),
        Head::Response(head) => heads.response(place, bytes, reading, head).or_else(|| {
            let length;
            (*head, length) = usual_response(bytes, reading)?;
            Some(length)
        }),
    }
}

fn quick_request<'h>(bytes: &'h [u8], reading: &Reading<'_>) -> Option<(RequestHead<'h>, usize)> {
    quick::request(bytes, reading).or_else(|| usual_request(bytes, reading))
}

fn quick_response<'h>(bytes: &'h [u8], reading: &Reading<'_>) -> Option<(ResponseHead<'h>, usize)> {
    quick::response(bytes, reading).or_else(|| usual_response(bytes, reading))
}

/// Reads a whole head. None when its first line is neither a request line nor a status line.
pub(crate) fn read<'h>(head: &'h [u8], reading: &Reading<'_>) -> Option<Head<'h>> {
    if head.starts_with(b"HTTP/") {
        response(head, reading).map(Head::Response)
    } else {
        request(head, reading).map(Head::Request)
    }
}

/// Reads a request's head with httparse.
pub(super) fn usual_request<'h>(bytes: &'h [u8], reading: &Reading<'_>) -> Option<(RequestHead<'h>, usize)> {
    let mut headers = [const { MaybeUninit::uninit() }; QUICK_HEADERS];
    let mut quick = httparse::Request::new(&mut []);
    let Ok(httparse::Status::Complete(length)) = quick.parse_with_uninit_headers(bytes, &mut headers) else {
        return None;
    };
    let (method, target, version) = (quick.method?, quick.path?, version(quick.version?));
    let fields = Fields::quick(&bytes[..length], quick.headers, version, reading)?;
    Some((RequestHead { method: method.as_bytes(), target: target.as_bytes(), version, fields }.checked(), length))
}

/// Reads a response's head with httparse.
pub(super) fn usual_response<'h>(bytes: &'h [u8], reading: &Reading<'_>) -> Option<(ResponseHead<'h>, usize)> {
    let mut headers = [const { MaybeUninit::uninit() }; QUICK_HEADERS];
    let mut quick = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let Ok(httparse::Status::Complete(length)) =
        config.parse_response_with_uninit_headers(&mut quick, bytes, &mut headers)
    else {
        return None;
    };
    let version = version(quick.version?);
    let fields = Fields::quick(&bytes[..length], quick.headers, version, reading)?;
    Some((ResponseHead { status: Some(quick.code?), version, fields }, length))
}

fn version(minor: u8) -> Version {
    if minor == 0 { Version::Http10 } else { Version::Http11 }
}

/// Reads a request's head. None when its first line is no request line at all.
fn request<'h>(head: &'h [u8], reading: &Reading<'_>) -> Option<RequestHead<'h>> {
    match quick_request(head, reading) {
        Some((head, _)) => Some(head),
        None => request_tolerant(head, reading),
    }
}

/// Reads a response's head. None when its first line is no status line at all.
fn response<'h>(head: &'h [u8], reading: &Reading<'_>) -> Option<ResponseHead<'h>> {
    match quick_response(head, reading) {
        Some((head, _)) => Some(head),
        None => response_tolerant(head, reading),
    }
}

impl<'h> RequestHead<'h> {
    /// One that is put together of what was read.
    pub(super) fn new(line: (&'h [u8], &'h [u8], Version), fields: Fields<'h>) -> Self {
        let mut head = RequestHead { fields, ..RequestHead::default() };
        head.begin(line);
        head
    }

    /// Puts method, target and version before the headers.
    pub(super) fn begin(&mut self, line: (&'h [u8], &'h [u8], Version)) {
        (self.method, self.target, self.version) = line;
        self.fields.check(self.version);
        if self.fields.hosts > 1 || (self.fields.hosts == 0 && self.version == Version::Http11) {
            self.fields.anomalies.insert(Anomaly::OddHost);
        }
    }

    pub(super) fn checked(mut self) -> Self {
        let fields = &mut self.fields;
        if fields.hosts > 1 || (fields.hosts == 0 && self.version == Version::Http11) {
            fields.anomalies.insert(Anomaly::OddHost);
        }
        self.with_target_checked()
    }

    /// Marks a target that should have been encoded.
    pub(super) fn with_target_checked(mut self) -> Self {
        let fields = &mut self.fields;
        if self.target.iter().any(|&byte| byte <= b' ' || byte >= 0x7f || matches!(byte, b'"' | b'<' | b'>')) {
            fields.anomalies.insert(Anomaly::UnencodedTarget);
        }
        self
    }
}

/// The lines of a head, folded lines joined to the one before by the caller; the empty line at the end left out.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = head;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr(b'\n', rest).unwrap_or(rest.len() - 1);
        let (line, behind) = rest.split_at(end + 1);
        rest = behind;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

fn request_tolerant<'h>(head: &'h [u8], reading: &Reading<'_>) -> Option<RequestHead<'h>> {
    let mut lines = lines(head);
    let start = lines.next()?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let method_end = start.iter().position(blank)?;
    let (method, rest) = start.split_at(method_end);
    let behind = rest.trim_ascii();
    // The version is the last word if it looks like one; all before it is the target, spaces and all.
    let (target, version) = match memrchr(b' ', behind).or_else(|| memrchr(b'\t', behind)) {
        Some(at) if behind[at + 1..].starts_with(b"HTTP/") => (behind[..at].trim_ascii(), Some(&behind[at + 1..])),
        // `GET HTTP/1.1` asks for the target "HTTP/1.1" without a version, by the letter and for common servers.
        _ => (behind, None),
    };
    let mut fields = Fields::default();
    let number = match version {
        Some(b"HTTP/1.1") => Version::Http11,
        Some(b"HTTP/1.0") => Version::Http10,
        Some(other) => {
            fields.anomalies.insert(Anomaly::OddVersion);
            if other.starts_with(b"HTTP/0") { Version::Http10 } else { Version::Http11 }
        }
        None => Version::Http09,
    };
    if rest != [b" ", target, b" ", version.unwrap_or_default()].concat() && version.is_some() {
        fields.anomalies.insert(Anomaly::OddStartLine);
    }
    fields.take_lines(lines, reading);
    if number == Version::Http09 && fields.hosts > 0 {
        fields.anomalies.insert(Anomaly::OddVersion);
    }
    fields.check(number);
    fields.check_lines(head);
    Some(RequestHead { method, target, version: number, fields }.checked())
}

fn response_tolerant<'h>(head: &'h [u8], reading: &Reading<'_>) -> Option<ResponseHead<'h>> {
    let mut lines = lines(head);
    let start = lines.next()?;
    let mut words = start.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let version = match words.next()? {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        word if word.starts_with(b"HTTP/") => Version::Http11,
        _ => return None,
    };
    let digits = words.next().unwrap_or_default();
    let status = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
    let mut fields = Fields::default();
    if status.is_none() || digits.len() != 3 {
        fields.anomalies.insert(Anomaly::MalformedStatus);
    }
    fields.take_lines(lines, reading);
    fields.check(version);
    fields.check_lines(head);
    Some(ResponseHead { status, version, fields })
}

impl<'h> Fields<'h> {
    /// The value of one that few heads have.
    pub(super) fn rare(&self, kind: Kind) -> Option<&'h [u8]> {
        self.all_rare(kind).next()
    }

    /// The values of one that few heads have, and some more than once.
    pub(super) fn all_rare(&self, kind: Kind) -> impl Iterator<Item = &'h [u8]> {
        self.rare.iter().filter(move |(found, _)| *found == kind).map(|(_, value)| *value)
    }

    /// A proxy says something of who was before it.
    pub(crate) fn is_forwarded(&self) -> bool {
        !self.x_forwarded_for.is_empty() || !self.forwarded.is_empty() || self.x_real_ip.is_some()
    }

    /// There are headers of the API's own, a key, or cookies.
    pub(crate) fn has_own(&self) -> bool {
        !self.own.is_empty() || self.api_key.is_some() || self.cookie.is_some()
    }

    /// The tolerant pass over the header lines.
    fn take_lines(&mut self, lines: impl Iterator<Item = &'h [u8]>, reading: &Reading<'_>) {
        let mut folded_length: Option<u64> = None; // a Content-Length whose digits stand in a folded line
        for (count, line) in lines.enumerate() {
            if count >= reading.header_limit {
                self.anomalies.insert(Anomaly::TooManyHeaders);
                return;
            }
            if line.is_empty() {
                continue;
            }
            if matches!(line[0], b' ' | b'\t') && count > 0 {
                self.anomalies.insert(Anomaly::ObsoleteFolding);
                if self.length_seen && self.content_length.is_none() {
                    folded_length = folded_length.or(number(line.trim_ascii()));
                }
                continue;
            }
            let Some(colon) = memchr(b':', line) else {
                self.anomalies.insert(Anomaly::MalformedHeader);
                continue;
            };
            let name = line[..colon].trim_ascii();
            if name.len() != colon {
                self.anomalies.insert(Anomaly::MalformedHeader);
            }
            self.take(name, line[colon + 1..].trim_ascii(), reading);
        }
        if self.content_length.is_none() {
            self.content_length = folded_length;
        }
    }

    /// Takes one header.
    #[inline]
    pub(super) fn take(&mut self, name: &'h [u8], value: &'h [u8], reading: &Reading<'_>) {
        self.take_as(Kind::of(name, reading), name, value);
    }

    /// Takes one header of a kind that is known.
    #[inline]
    pub(super) fn take_as(&mut self, kind: Kind, name: &'h [u8], value: &'h [u8]) {
        let place = match kind {
            Kind::Other => return,
            Kind::Host => {
                self.hosts = self.hosts.saturating_add(1);
                self.host.get_or_insert(value.trim_ascii());
                return;
            }
            Kind::Upgrade => {
                self.upgrade = true;
                for token in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    self.h2c |= token.eq_ignore_ascii_case(b"h2c");
                    self.websocket |= token.eq_ignore_ascii_case(b"websocket");
                }
                return;
            }
            Kind::WebSocketExtensions => return self.extensions.take(value),
            Kind::ContentLength => return self.take_length(value),
            Kind::TransferEncoding => return self.take_coding(value),
            Kind::Forwarded | Kind::XForwardedFor => {
                let values = if kind == Kind::Forwarded { &mut self.forwarded } else { &mut self.x_forwarded_for };
                if values.len() < FORWARDED_LIMIT {
                    values.push(value);
                }
                return;
            }
            Kind::Cookie => &mut self.cookie,
            Kind::XRealIp => &mut self.x_real_ip,
            Kind::UserAgent => &mut self.user_agent,
            Kind::ContentType => &mut self.content_type,
            Kind::Authorization => &mut self.authorization,
            Kind::ContentEncoding => &mut self.content_encoding,
            Kind::GrpcStatus => &mut self.grpc_status,
            Kind::GrpcEncoding => &mut self.grpc_encoding,
            Kind::SoapAction => &mut self.soap_action,
            Kind::WebSocketProtocol => &mut self.subprotocol,
            Kind::ApiKey => {
                self.api_key_name.get_or_insert(name);
                &mut self.api_key
            }
            Kind::Own => {
                match self.own.len() < OWN_LIMIT {
                    true => self.own.push((name, value)),
                    false => self.passed_over = true,
                }
                return;
            }
            // Servers may set many: room is left for the others.
            Kind::SetCookie if self.rare.len() >= RARE_LIMIT / 2 => {
                self.passed_over = true;
                return;
            }
            Kind::SetCookie
            | Kind::Signature
            | Kind::SignatureInput
            | Kind::Location
            | Kind::RetryAfter
            | Kind::Challenge
            | Kind::RateLimit
            | Kind::RateLimitLimit
            | Kind::RateLimitRemaining
            | Kind::RateLimitReset => {
                if self.rare.len() < RARE_LIMIT {
                    self.rare.push((kind, value));
                }
                return;
            }
        };
        place.get_or_insert(value);
    }

    fn take_length(&mut self, value: &[u8]) {
        if !self.length_seen
            && let Some(length) = number(value)
        {
            (self.content_length, self.length_seen) = (Some(length), true);
            return;
        }
        let mut values = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        for text in values.by_ref().take(8) {
            let length = number(text);
            if length.is_none() || text.len() != value.len() {
                self.anomalies.insert(Anomaly::InvalidContentLength);
            }
            if self.length_seen {
                let same = length == self.content_length;
                self.anomalies.insert(match same {
                    true => Anomaly::RepeatedContentLength,
                    false => Anomaly::ConflictingContentLength,
                });
            } else {
                self.content_length = length;
            }
            self.length_seen = true;
        }
    }

    fn take_coding(&mut self, value: &[u8]) {
        let last = value.rsplit(|&byte| byte == b',').next().unwrap_or_default().trim_ascii();
        let chunked = last.eq_ignore_ascii_case(b"chunked");
        self.chunked_somewhere |=
            value.split(|&byte| byte == b',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"));
        if !value.eq_ignore_ascii_case(b"chunked") || self.chunked {
            self.anomalies.insert(Anomaly::OddTransferEncoding);
        }
        // Servers differ on spellings such as "xchunked" or "chunked, identity"; the body tells, see `reader`.
        self.chunked |= chunked;
        self.unframed = !self.chunked && !value.trim_ascii().eq_ignore_ascii_case(b"identity");
    }

    /// The headers that httparse has read. None when there are too many.
    fn quick(
        head: &'h [u8],
        headers: &[httparse::Header<'h>],
        version: Version,
        reading: &Reading<'_>,
    ) -> Option<Fields<'h>> {
        if headers.len() > reading.header_limit {
            return None;
        }
        let mut fields = Fields::default();
        // Of what `check_lines` looks for, httparse lets only bare line feeds pass; each name but follows one.
        let mut plain = head.ends_with(b"\r\n\r\n");
        for header in headers {
            let start = (header.name.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
            plain &= start.checked_sub(2).and_then(|at| head.get(at)) == Some(&b'\r');
            fields.take(header.name.as_bytes(), header.value, reading);
        }
        if !plain {
            fields.check_lines(head);
        }
        fields.check(version);
        Some(fields)
    }

    /// What is odd about the headers together.
    pub(super) fn check(&mut self, version: Version) {
        if self.length_seen && (self.chunked || self.unframed) {
            self.anomalies.insert(Anomaly::LengthAndTransferEncoding);
        }
        if self.chunked && version == Version::Http10 {
            self.anomalies.insert(Anomaly::OddTransferEncoding);
        }
    }

    /// What is odd about how the lines are written.
    fn check_lines(&mut self, head: &[u8]) {
        let (mut feeds, mut returns, mut pairs) = (0usize, 0usize, 0usize);
        for at in memchr::memchr2_iter(b'\n', b'\r', head) {
            if head[at] == b'\r' {
                returns += 1;
            } else {
                feeds += 1;
                pairs += usize::from(at > 0 && head[at - 1] == b'\r');
            }
        }
        if feeds > pairs {
            self.anomalies.insert(Anomaly::BareLineFeed);
        }
        if returns > pairs {
            self.anomalies.insert(Anomaly::BareCarriageReturn);
        }
        if memchr(0, head).is_some() {
            self.anomalies.insert(Anomaly::ControlByte);
        }
    }
}

/// A plain decimal number; a sign, spaces inside or too many digits are none.
fn number(text: &[u8]) -> Option<u64> {
    let (&first, rest) = text.split_first()?;
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    rest.iter().try_fold(digit(first)?, |sum, &byte| sum.checked_mul(10)?.checked_add(digit(byte)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> RequestHead<'_> {
        let reading =
            Reading { header_limit: 100, is_api_key: &|name| name.eq_ignore_ascii_case(b"x-api-key"), is_own: None };
        request(head.as_bytes(), &reading).expect("a request line")
    }

    #[test]
    fn tolerant_where_servers_are() {
        let head = read(
            "GET /a b?c HTTP/1.1\r\nHost : h\r\nX-Long: a\r\n b\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        );
        assert_eq!(head.target, b"/a b?c");
        assert_eq!(head.fields.host, Some(&b"h"[..]));
        assert_eq!(head.fields.content_length, Some(3));
        for anomaly in [
            Anomaly::UnencodedTarget,
            Anomaly::MalformedHeader,
            Anomaly::ObsoleteFolding,
            Anomaly::ConflictingContentLength,
        ] {
            assert!(head.fields.anomalies.contains(anomaly), "{anomaly:?}");
        }
    }

    #[test]
    fn a_plain_head_has_no_anomaly() {
        let head = read("POST /v1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nX-API-Key: k\r\n\r\n");
        assert!(head.fields.anomalies.is_empty(), "{:?}", head.fields.anomalies);
        assert!(head.fields.chunked);
        assert_eq!(head.fields.api_key, Some(&b"k"[..]));
    }

    #[test]
    fn versions_and_statuses() {
        assert_eq!(read("GET /x\r\n\r\n").version, Version::Http09);
        assert_eq!(read("GET /x HTTP/1.2\r\nHost: a\r\n\r\n").version, Version::Http11);
        let reading = Reading { header_limit: 100, is_api_key: &|_| false, is_own: None };
        let head = response(b"HTTP/1.1  404\r\n\r\n", &reading).expect("a status line");
        assert_eq!(head.status, Some(404));
        let head = response(b"HTTP/1.1 abc\r\n\r\n", &reading).expect("a status line");
        assert!(head.status.is_none() && head.fields.anomalies.contains(Anomaly::MalformedStatus));
    }

    #[test]
    fn the_end_is_found_in_either_style() {
        assert_eq!(find_end(b"A\r\n\r\nx", 0), Some(5));
        assert_eq!(find_end(b"A\n\nx", 0), Some(3));
        assert_eq!(find_end(b"A\r\nB: c\r\n\r", 0), None);
    }
}
