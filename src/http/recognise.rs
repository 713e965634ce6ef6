//! What the beginning of an HTTP message looks like, on any port.

use memchr::{memchr, memmem, memrchr};

/// Which message a direction carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Request,
    Response,
}

/// What the bytes at a place where a head could begin say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Head(Role),
    /// It may become a head when more bytes come.
    Undecided,
    No,
}

/// Longest method that is taken for one. The longest registered is UPDATEREDIRECTREF.
const METHOD_LIMIT: usize = 32;

/// Bytes of a request's line that are looked at while it has no end; more than a method has.
const LOOKED_AT: usize = 64;

/// Methods that are believed without a version behind the target, at the beginning of a connection.
const KNOWN: [&[u8]; 9] = [b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT"];

/// A cheap first look: false when this is certainly no beginning of a head. `beginning`: these are the first bytes
/// of the stream, where leading line ends and heads in pieces are allowed for.
pub(crate) fn may_begin(bytes: &[u8], beginning: bool) -> bool {
    let trimmed = skip_line_ends(bytes);
    if trimmed.is_empty() {
        return false;
    }
    match judge(trimmed, beginning) {
        Verdict::Head(_) => true,
        Verdict::Undecided => beginning || trimmed.len() >= 8,
        Verdict::No => false,
    }
}

pub(crate) fn skip_line_ends(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|&byte| byte != b'\r' && byte != b'\n').unwrap_or(bytes.len());
    &bytes[start..]
}

/// Judges bytes at which a head could begin. `trusting`: a request line without a version is believed when its method
/// is well known (the beginning of a connection, or behind a complete message).
pub(crate) fn judge(bytes: &[u8], trusting: bool) -> Verdict {
    const STATUS: &[u8] = b"HTTP/";
    let both = bytes.len().min(STATUS.len());
    if bytes[..both] == STATUS[..both] {
        return match bytes.get(5) {
            Some(byte) if byte.is_ascii_digit() => judge_status(bytes),
            Some(_) => Verdict::No,
            None => Verdict::Undecided,
        };
    }
    judge_request(bytes, trusting)
}

/// True when these undecided bytes stay so until their line ends, whatever comes behind them.
pub(crate) fn is_judged(bytes: &[u8]) -> bool {
    bytes.len() >= LOOKED_AT && !bytes.starts_with(b"HTTP/")
}

/// `HTTP/1.` and what follows.
fn judge_status(bytes: &[u8]) -> Verdict {
    let Some(line) = memchr(b'\n', bytes).map(|end| &bytes[..end]) else {
        return if bytes.len() > 8192 { Verdict::No } else { Verdict::Undecided };
    };
    match line.get(5) {
        Some(b'0' | b'1') => Verdict::Head(Role::Response),
        _ => Verdict::No,
    }
}

fn judge_request(bytes: &[u8], trusting: bool) -> Verdict {
    let window = &bytes[..bytes.len().min(METHOD_LIMIT + 1)];
    let length = window.iter().position(|&byte| !is_method_byte(byte)).unwrap_or(window.len());
    if length == bytes.len() {
        return if length > 0 && length <= METHOD_LIMIT { Verdict::Undecided } else { Verdict::No };
    }
    let method = &bytes[..length];
    if length == 0 || length > METHOD_LIMIT || !matches!(bytes[length], b' ' | b'\t') {
        return Verdict::No;
    }
    let known = KNOWN.contains(&method);
    let Some(end) = memchr(b'\n', bytes) else {
        let plausible = known || method.iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-'));
        let printable = bytes.iter().take(LOOKED_AT).all(|&byte| byte >= b' ' || byte == b'\t' || byte == b'\r');
        return if plausible && printable { Verdict::Undecided } else { Verdict::No };
    };
    let line = bytes[..end].trim_ascii_end();
    match memmem::rfind(line, b" HTTP/").or_else(|| memmem::rfind(line, b"\tHTTP/")) {
        // Other protocols of this syntax say RTSP/, SIP/ or ICAP/.
        Some(at) if line[at + 6..].first().is_some_and(|byte| matches!(byte, b'0' | b'1')) => {
            Verdict::Head(Role::Request)
        }
        Some(_) => Verdict::No,
        None => {
            let target = line[length..].trim_ascii();
            let path = target.starts_with(b"/") || target.starts_with(b"http://");
            let text = target.iter().all(|byte| *byte >= b' ');
            let glued = [&b"HTTP/1.0"[..], b"HTTP/1.1"].iter().any(|version| target.ends_with(version));
            if text && (glued || (trusting && known && path)) { Verdict::Head(Role::Request) } else { Verdict::No }
        }
    }
}

fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'!' | b'$' | b'*' | b'+' | b'~')
}

/// The first place behind the beginning of `bytes` where a head of this role begins: behind an empty line, or, for
/// responses, anywhere that a whole status line stands.
pub(crate) fn find_inside(bytes: &[u8], role: Option<Role>) -> Option<usize> {
    let behind_empty_line = || {
        memmem::find_iter(bytes, b"\n\r\n").map(|at| at + 3).find(
            |&at| matches!(judge(&bytes[at..], false), Verdict::Head(found) if role.is_none_or(|role| role == found)),
        )
    };
    let status_line = || {
        // What stands behind the last end of a line is no whole line; to look for its end from each place would be work without end.
        let lines = bytes.get(..memrchr(b'\n', bytes)? + 1)?;
        memmem::find_iter(lines, b"HTTP/1.").find(|&at| {
            matches!(&bytes[at + 7..], [b'0' | b'1', b' ', a, b, c, b' ' | b'\r', ..]
                if [a, b, c].iter().all(|byte| byte.is_ascii_digit()))
                && at > 0
                && judge(&bytes[at..], false) == Verdict::Head(Role::Response)
        })
    };
    match role {
        Some(Role::Request) => behind_empty_line(),
        Some(Role::Response) => status_line(),
        None => behind_empty_line(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_told_from_other_protocols() {
        let request = Verdict::Head(Role::Request);
        for line in ["GET / HTTP/1.1\r\n", "CCM_POST /x HTTP/1.1\r\n", "get /a b c HTTP/1.0\n", "QUERY * HTTP/1.1\r\n"]
        {
            assert_eq!(judge(line.as_bytes(), false), request, "{line:?}");
        }
        assert_eq!(judge(b"GET /old\r\n", true), request);
        assert_eq!(judge(b"HTTP/1.1 200 OK\r\n", false), Verdict::Head(Role::Response));
        for line in [
            "OPTIONS rtsp://x RTSP/1.0\r\n",
            "INVITE sip:a SIP/2.0\r\n",
            "EHLO mail\r\n",
            "\x16\x03\x01 \r\n",
            "GET /old\r\n",
        ] {
            assert_eq!(judge(line.as_bytes(), false), Verdict::No, "{line:?}");
        }
        assert_eq!(judge(b"GE", true), Verdict::Undecided);
        assert_eq!(judge(b"HTT", true), Verdict::Undecided);
    }

    #[test]
    fn heads_are_found_behind_what_was_lost() {
        let bytes = b"Accept: x\r\n\r\nGET /6 HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(find_inside(bytes, Some(Role::Request)), Some(13));
        assert_eq!(find_inside(b"}]HTTP/1.1 200 OK\r\nA: b\r\n\r\n", Some(Role::Response)), Some(2));
        assert_eq!(find_inside(b"say HTTP/1.1 is old\r\n", Some(Role::Response)), None);
    }
}
