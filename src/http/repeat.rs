//! Heads that say again what heads before them said, but for a few values.
//!
//! A client sends the same headers with each request, a server with each response; a token, a length or a date is
//! another. So a head is compared with one that came before between the same ends: the lines that are equal to the byte are
//! known for what they are, and of a line whose value alone is another, the value is read. What comes out is what
//! [`super::quick`] would have made of it: a head of other lines, or with anything odd in a value, is left to that.
//!
//! Heads are kept two to a place, found by a keyed hash of the two ends; who makes ends share a place makes heads be read
//! as if they had never been seen. Where heads never repeat, fewer and fewer are kept.

use std::net::SocketAddr;

use ahash::RandomState;
use memchr::memchr;

use super::head::{Fields, Kind, Reading, RequestHead, ResponseHead};
use super::quick;
use crate::call::Version;
use crate::lanes::{Lanes, with_lanes};

/// Places, a power of two. Worst-case memory of a worker: 2 heads of 1 KiB and 32 lines in each, 1.3 MiB.
const PLACES: usize = 512;

/// Bytes of the longest head that is kept.
const LONGEST: usize = 1024;

/// Lines of a head that is kept.
const MOST_LINES: usize = 32;

/// Heads that go by before another is kept, where those that are kept are of no use.
const LONGEST_WAIT: u8 = 63;

/// Heads of requests and responses that came before. A worker has its own.
pub(crate) struct Heads {
    places: Box<[Place]>,
    hasher: RandomState,
}

#[derive(Default)]
struct Place {
    /// What was of use last comes first.
    kept: [Option<Box<Pattern>>; 2],
    /// Heads to pass over before one is kept.
    wait: u8,
    /// What `wait` was last.
    waited: u8,
}

/// The lines of a head; of a request, those behind the first.
struct Pattern {
    bytes: Box<[u8]>,
    lines: Box<[Line]>,
    /// What the status line says.
    status: Option<Status>,
}

/// Status and version of a status line.
type Status = (u16, Version);

/// One line, its end included.
#[derive(Clone, Copy)]
struct Line {
    /// Where the next begins.
    end: u16,
    /// Bytes before the value: the name and its colon. None of the lines that are no headers.
    name: Option<u16>,
    kind: Kind,
}

impl Default for Heads {
    fn default() -> Heads {
        Heads { places: (0..PLACES).map(|_| Place::default()).collect(), hasher: RandomState::new() }
    }
}

impl Heads {
    /// Where the requests of one end to the other are found.
    pub(crate) fn place_of_requests(&self, client: SocketAddr, server: SocketAddr) -> u64 {
        self.hasher.hash_one((client.ip(), server))
    }

    /// Where the responses of a server are found.
    pub(crate) fn place_of_responses(&self, server: SocketAddr) -> u64 {
        self.hasher.hash_one(server)
    }

    /// Reads the request's head that `bytes` begin with, if it is whole and as most heads are, and says how long it is.
    pub(crate) fn request<'h>(
        &mut self,
        place: u64,
        bytes: &'h [u8],
        reading: &Reading<'_>,
        head: &mut RequestHead<'h>,
    ) -> Option<usize> {
        let place = self.places.get_mut(place as usize % PLACES)?;
        let feed = memchr(b'\n', bytes)?;
        let (line, behind) = (bytes.get(..feed)?.strip_suffix(b"\r")?, bytes.get(feed + 1..)?);
        if let Some((_, length)) = place.follow(behind, &mut head.fields)
            && let Some(line) = quick::request_line(line)
        {
            head.begin(line);
            return Some(feed + 1 + length);
        }
        let length;
        (*head, length) = quick::request(bytes, reading)?;
        place.keep(bytes.get(feed + 1..length)?, None, reading);
        Some(length)
    }

    /// Reads the response's head that `bytes` begin with, if it is whole and as most heads are, and says how long it is.
    pub(crate) fn response<'h>(
        &mut self,
        place: u64,
        bytes: &'h [u8],
        reading: &Reading<'_>,
        head: &mut ResponseHead<'h>,
    ) -> Option<usize> {
        // Responses of one status resemble each other.
        let status = bytes.get(9..12)?.iter().fold(0, |sum, &byte| sum * 11 + u64::from(byte));
        let place = self.places.get_mut(place.wrapping_add(status) as usize % PLACES)?;
        if let Some((Some((status, version)), length)) = place.follow(bytes, &mut head.fields) {
            (head.status, head.version) = (Some(status), version);
            head.fields.check(version);
            return Some(length);
        }
        let length;
        (*head, length) = quick::response(bytes, reading)?;
        let status = head.status.map(|status| (status, head.version));
        place.keep(bytes.get(..length)?, status, reading);
        Some(length)
    }
}

impl Place {
    /// The headers by a head that is kept, put into `fields`, which are empty: what its status line says, and where the
    /// head ends. Without one there may be anything in them.
    #[inline]
    fn follow<'h>(&mut self, bytes: &'h [u8], fields: &mut Fields<'h>) -> Option<(Option<Status>, usize)> {
        for number in 0..self.kept.len() {
            let Some(pattern) = self.kept.get(number)?.as_deref() else { continue };
            if number > 0 {
                *fields = Fields::default();
            }
            let Some(length) = pattern.follow(bytes, fields) else { continue };
            let status = pattern.status;
            if number > 0 {
                self.kept.swap(0, number);
            }
            (self.wait, self.waited) = (0, 0);
            return Some((status, length));
        }
        None
    }

    /// Keeps the lines of a head that [`super::quick`] has taken, now and then.
    fn keep(&mut self, bytes: &[u8], status: Option<Status>, reading: &Reading<'_>) {
        if self.wait > 0 {
            self.wait -= 1;
            return;
        }
        self.waited = (2 * self.waited + 1).min(LONGEST_WAIT);
        self.wait = self.waited - 1;
        if let Some(pattern) = Pattern::of(bytes, status, reading) {
            let [first, second] = &mut self.kept;
            *second = first.replace(Box::new(pattern));
        }
    }
}

impl Pattern {
    fn of(bytes: &[u8], status: Option<Status>, reading: &Reading<'_>) -> Option<Pattern> {
        if bytes.len() > LONGEST {
            return None;
        }
        let mut lines = Vec::with_capacity(MOST_LINES);
        let mut start = 0;
        for feed in memchr::memchr_iter(b'\n', bytes) {
            if lines.len() == MOST_LINES {
                return None;
            }
            let line = bytes.get(start..feed)?.strip_suffix(b"\r")?;
            let header = !(line.is_empty() || start == 0 && status.is_some());
            let (name, kind) = match header {
                true => {
                    let colon = memchr(b':', line)?;
                    (Some(u16::try_from(colon + 1).ok()?), Kind::of(line.get(..colon)?, reading))
                }
                false => (None, Kind::Other),
            };
            start = feed + 1;
            lines.push(Line { end: u16::try_from(start).ok()?, name, kind });
        }
        Some(Pattern { bytes: bytes.into(), lines: lines.into(), status })
    }

    /// Hands the headers to `fields`; the length of the head. None when it has other lines or is odd.
    fn follow<'h>(&self, bytes: &'h [u8], fields: &mut Fields<'h>) -> Option<usize> {
        with_lanes!(lanes => self.follow_with(lanes, bytes, fields))
    }

    #[inline(always)]
    fn follow_with<'h, L: Lanes>(&self, lanes: L, bytes: &'h [u8], fields: &mut Fields<'h>) -> Option<usize> {
        let mut lines = self.lines.iter();
        // Where the line begins that is next, in the pattern and in the head.
        let (mut start, mut at) = (0, 0);
        loop {
            let reach = start + alike(lanes, self.bytes.get(start..)?, bytes.get(at..)?);
            // Lines that are the same.
            let line = loop {
                let Some(line) = lines.next() else { return Some(at) };
                let end = usize::from(line.end);
                if end > reach {
                    break line;
                }
                let next = at + (end - start);
                if line.kind != Kind::Other {
                    let name = usize::from(line.name?);
                    let value = bytes.get(at + name..next - 2)?;
                    fields.take_as(line.kind, bytes.get(at..at + name - 1)?, quick::trimmed(value));
                }
                (start, at) = (end, next);
            };
            // One that is not, from its value on at most.
            let name = usize::from(line.name?);
            let mut from = at + (reach - start);
            if from < at + name {
                return None;
            }
            if bytes.get(from - 1) == Some(&b'\r') {
                from -= 1; // the other's value ends there, and so may this one
            }
            let end = value_end(lanes, bytes, from)?;
            if line.kind != Kind::Other {
                let value = quick::trimmed(bytes.get(at + name..end)?);
                fields.take_as(line.kind, bytes.get(at..at + name - 1)?, value);
            }
            (start, at) = (usize::from(line.end), end + 2);
        }
    }
}

/// How many bytes two texts have in common from their beginnings on.
#[inline(always)]
fn alike<L: Lanes>(lanes: L, one: &[u8], other: &[u8]) -> usize {
    let all = u64::MAX >> (64 - L::WIDTH);
    let length = one.len().min(other.len());
    let (one, other) = (&one[..length], &other[..length]);
    let mut at = 0;
    while at + L::WIDTH <= length {
        let same = lanes.bits(lanes.equal(lanes.load(&one[at..]), lanes.load(&other[at..])));
        if same != all {
            return at + same.trailing_ones() as usize;
        }
        at += L::WIDTH;
    }
    while let (Some(a), Some(b)) = (one[at..].first_chunk(), other[at..].first_chunk()) {
        let different = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if different != 0 {
            return at + different.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + one[at..].iter().zip(&other[at..]).take_while(|(a, b)| a == b).count()
}

/// Where the value ends of which `from` is a part: at the first CR, if that is before LF and no other control byte is
/// before it.
#[inline(always)]
fn value_end<L: Lanes>(lanes: L, bytes: &[u8], from: usize) -> Option<usize> {
    let [last, delete, tab] = [0x1f, 0x7f, b'\t'].map(
        #[inline(always)]
        |byte| lanes.splat(byte),
    );
    let mut at = from;
    loop {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let mut padded = [0; 32];
        let block = if rest.len() < L::WIDTH {
            padded.get_mut(..rest.len())?.copy_from_slice(rest);
            lanes.load(&padded)
        } else {
            lanes.load(rest)
        };
        let low = lanes.equal(lanes.least(block, last), block);
        let controls = lanes.bits(lanes.or(low, lanes.equal(block, delete))) & !lanes.bits(lanes.equal(block, tab));
        if controls != 0 {
            at += controls.trailing_zeros() as usize;
            return (bytes.get(at..at + 2)? == b"\r\n").then_some(at);
        }
        at += L::WIDTH;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::Portable;
    use proptest::prelude::*;

    fn reading() -> Reading<'static> {
        Reading {
            header_limit: 100,
            is_api_key: &|name| name.eq_ignore_ascii_case(b"x-api-key"),
            is_own: Some(|name| name.starts_with(b"X-")),
        }
    }

    fn join(start: &str, headers: &[(String, String)]) -> String {
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect();
        format!("{start}\r\n{lines}\r\n")
    }

    /// What the pass that knows nothing makes of it, and what those make of it that know `before`.
    fn check(before: &str, text: &str) -> Result<(), TestCaseError> {
        let reading = reading();
        let mut heads = Heads::default();
        let bytes = text.as_bytes();
        if before.starts_with("HTTP/") {
            let _ = heads.response(7, before.as_bytes(), &reading, &mut ResponseHead::default());
            let usual = quick::response(bytes, &reading).map(|found| format!("{found:?}"));
            let mut head = ResponseHead::default();
            let length = heads.response(7, bytes, &reading, &mut head);
            prop_assert_eq!(length.map(|length| format!("{:?}", (head, length))), usual);
        } else {
            let _ = heads.request(7, before.as_bytes(), &reading, &mut RequestHead::default());
            let usual = quick::request(bytes, &reading).map(|found| format!("{found:?}"));
            let mut head = RequestHead::default();
            let length = heads.request(7, bytes, &reading, &mut head);
            prop_assert_eq!(length.map(|length| format!("{:?}", (head, length))), usual);
        }
        for pattern in heads.places.iter().flat_map(|place| place.kept.iter().flatten()) {
            let (mut one, mut other) = (Fields::default(), Fields::default());
            let lengths = (pattern.follow(bytes, &mut one), pattern.follow_with(Portable, bytes, &mut other));
            prop_assert_eq!(lengths.0, lengths.1);
            prop_assert_eq!(format!("{one:?}"), format!("{other:?}"));
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn what_is_known_changes_nothing(
            starts in prop_oneof![
                ("(GET|POST) /[a-z?%]{0,90} HTTP/1.[01]", "(GET|get|PO T) /[a-z?%\"]{0,40} HTTP/1.[012]"),
                ("HTTP/1.1 200 OK", "HTTP/1.[01] (200 OK|200|404 None)"),
            ],
            mut headers in prop::collection::vec(
                ("(Host|Content-Length|Transfer-Encoding|Content-Type|X-API-Key|Forwarded|X-[A-Z]{1,40})", "[ \t]?([ -~]{0,80}|[0-9]{1,3}|chunked)"),
                1..9
            ),
            changes in prop::collection::vec((any::<prop::sample::Index>(), "[ \t]?([ -~]{0,80}|[0-9]{1,3}|é)"), 0..4),
            extra in prop::option::weighted(0.2, any::<prop::sample::Index>()),
            byte in prop::option::weighted(0.3, (any::<prop::sample::Index>(), prop_oneof![Just("\r"), Just("\n"), Just("\0"), Just("\x7f"), Just(":"), Just("")])),
            body in "[ -~\r\n]{0,90}",
        ) {
            let before = join(&starts.0, &headers);
            for (index, value) in &changes {
                index.get_mut(&mut headers).1.clone_from(value);
            }
            if let Some(index) = extra {
                headers.remove(index.index(headers.len()));
            }
            let mut text = join(&starts.1, &headers);
            if let Some((index, byte)) = byte {
                let at = index.index(text.len());
                if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
                    text.replace_range(at..at + 1, byte);
                }
            }
            text.push_str(&body);
            check(&before, &text)?;
            for cut in 0..text.len() {
                if text.is_char_boundary(cut) {
                    check(&before, &text[..cut])?;
                }
            }
        }
    }

    #[test]
    fn a_value_may_end_sooner_and_later() {
        let before = "GET / HTTP/1.1\r\nHost: h\r\nX: 12\r\nCookie: a=b\r\n\r\n";
        for value in
            ["", "1", "12", "123", "12\r", "1\r\r", "\r", "12\n", "12 ", "124567890124567890124567890124567890"]
        {
            let text = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {value}\r\nCookie: a=b\r\n\r\n");
            check(before, &text).expect(value);
        }
    }

    #[test]
    fn heads_that_never_repeat_are_seldom_kept() {
        let mut place = Place::default();
        let kept = (0..1_000)
            .filter(|_| {
                let wait = place.wait;
                place.keep(b"\r\n", None, &reading());
                wait == 0
            })
            .count();
        assert!((15..30).contains(&kept), "{kept}");
    }
}
