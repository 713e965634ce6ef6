//! Access logs in the common and combined formats of Apache and nginx.
//!
//! `client ident user [time] "request" status bytes`, then, in combined ones, `"referer" "agent"`; before it perhaps
//! `vhost:port`; behind it whatever the estate adds, of which two things are recognised: a quoted list of addresses is
//! `X-Forwarded-For`, a last number with three decimals is nginx's `$request_time`, in which sending the answer is
//! included. Quotes, backslashes and other bytes are escaped as either server does it.
//!
//! The flow of such a call is the number of its line, so that an alert's evidence is found again.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use memchr::memchr;
use memchr::memmem;

use super::entry::{Entry, Maker, Taken, UNKNOWN, is_method, status, version};
use crate::call::{FlowId, Message, Peer, Recorder, Version};
use crate::stats::Counter;
use crate::time::Timestamp;

/// Words behind the user agent that are looked at.
const EXTRAS: usize = 32;

/// Statuses that servers log and never send: the client was gone (nginx 499), the connection was closed on purpose
/// (nginx 444).
const UNSENT: [u64; 2] = [444, 499];

/// The time of the line before: most lines of a busy second share it.
#[derive(Default)]
pub(super) struct Seconds {
    written: Vec<u8>,
    time: Timestamp,
}

/// Reads one line, of this number.
///
/// # Errors
///
/// What is no line of an access log.
pub(super) fn read(line: &[u8], number: u64, seconds: &mut Seconds, maker: &mut Maker) -> Result<Taken, String> {
    // A name of an account may hold brackets and spaces, but no quote that is not escaped.
    let close = memmem::find(line, b"] \"").ok_or("no [time] before a quoted request")?;
    let (before, behind) = (line.get(..close).unwrap_or_default(), line.get(close + 2..).unwrap_or_default());
    let open = memchr::memrchr(b'[', before).ok_or("no [time] before a quoted request")?;
    let (head, written) = (before.get(..open).unwrap_or_default(), before.get(open + 1..).unwrap_or_default());
    let time = seconds.time(written)?;
    let Head { vhost, client, user } = Head::of(head)?;

    let (request, rest) = quoted(behind).ok_or("a request without its closing quote")?;
    let mut words = Words(rest);
    let code = words.bare().ok_or("no status")?;
    let code = number_or_dash(code).ok_or("a status that is no number")?;
    let sent = number_or_dash(words.bare().ok_or("no number of bytes")?).ok_or("bytes that are no number")?;

    let Some(client) = address(client) else { return Ok(Taken::Skipped(Counter::RecordsUnattributed)) };
    let request = unescaped(request);
    let Some((method, target, version)) = request_line(&request) else {
        return Ok(Taken::Skipped(Counter::RecordsWithoutRequest));
    };
    let _referer = words.quoted();
    let agent = words.quoted().map(unescaped).filter(|agent| !agent.is_empty() && agent[..] != *b"-");
    let Extras { forwarded_for, latency } = words.extras();
    let status = code.filter(|code| !UNSENT.contains(code)).and_then(status);
    let (host, port) = vhost.map_or((None, 0), host);
    let user = unescaped(user);
    Ok(Taken::Record(maker.make(Entry {
        flow: FlowId(number),
        time,
        latency,
        client,
        server: Peer { port, ..UNKNOWN },
        version,
        method,
        host: host.as_deref(),
        target,
        status,
        response: Message { wire_bytes: sent.filter(|_| status.is_some()).unwrap_or(0), ..Message::default() },
        user_agent: agent.as_deref(),
        account: Some(&*user).filter(|user| !matches!(*user, [] | b"-" | b"\"\"")),
        x_forwarded_for: forwarded_for.as_deref().into_iter().collect(),
        ..Entry::new(Recorder::Server)
    })))
}

/// What stands before the time.
struct Head<'a> {
    vhost: Option<&'a [u8]>,
    client: &'a [u8],
    /// All that is left: names may hold spaces.
    user: &'a [u8],
}

impl<'a> Head<'a> {
    fn of(head: &'a [u8]) -> Result<Head<'a>, &'static str> {
        let head = head.trim_ascii();
        let word = |text: &'a [u8]| match memchr(b' ', text) {
            Some(space) => {
                (text.get(..space).unwrap_or_default(), text.get(space + 1..).unwrap_or_default().trim_ascii_start())
            }
            None => (text, &[][..]),
        };
        let (first, behind_first) = word(head);
        let (second, behind_second) = word(behind_first);
        let (third, behind_third) = word(behind_second);
        // A virtual host may be an address itself; that an ident is one is not to be expected.
        if address(second).is_some() && !third.is_empty() && !behind_third.is_empty() {
            return Ok(Head { vhost: Some(first), client: second, user: behind_third });
        }
        if first.is_empty() || behind_second.is_empty() {
            return Err("no client, ident and user before the time");
        }
        Ok(Head { vhost: None, client: first, user: behind_second })
    }
}

fn address(word: &[u8]) -> Option<Peer> {
    let text = std::str::from_utf8(word).ok()?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(Peer { ip, port: 0 });
    }
    // Some log `$remote_addr:$remote_port`.
    text.parse::<SocketAddr>().ok().map(Peer::from)
}

/// Host as a client would have sent it, and port, of `vhost:port`.
fn host(vhost: &[u8]) -> (Option<Cow<'_, [u8]>>, u16) {
    let split = memchr::memrchr(b':', vhost).and_then(|colon| {
        let port = std::str::from_utf8(vhost.get(colon + 1..)?).ok()?.parse::<u16>().ok()?;
        Some((vhost.get(..colon)?, port))
    });
    match split {
        Some((name, port @ (80 | 443))) => (Some(Cow::Borrowed(name)), port),
        Some((_, port)) => (Some(Cow::Borrowed(vhost)), port),
        None => (Some(Cow::Borrowed(vhost)).filter(|vhost| **vhost != *b"-"), 0),
    }
}

/// Method, target and version of a request line. None where it is none: a handshake of another protocol, or nothing.
fn request_line(line: &[u8]) -> Option<(&[u8], &[u8], Version)> {
    let (method, rest) = line.split_at(memchr(b' ', line)?);
    let rest = rest.trim_ascii();
    let (target, spoken) = match memmem::rfind(rest, b" HTTP/") {
        Some(at) => (rest.get(..at)?.trim_ascii(), rest.get(at + 1..)?),
        None => (rest, &b"HTTP/0.9"[..]),
    };
    let spoken = std::str::from_utf8(spoken).ok()?;
    (is_method(method) && !target.is_empty()).then(|| (method, target, version(spoken)))
}

/// What stands between the quote that `text` begins with and the next one that is not escaped, and what comes behind.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"\"")?;
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'"', b'\\', text.get(at..)?) {
        at += found;
        if text.get(at) == Some(&b'"') {
            return Some((text.get(..at)?, text.get(at + 1..)?));
        }
        at += 2;
    }
    None
}

/// Escapes undone: `\xNN`, and C's short ones. Borrowed when there are none.
fn unescaped(raw: &[u8]) -> Cow<'_, [u8]> {
    let Some(mut at) = memchr(b'\\', raw) else { return Cow::Borrowed(raw) };
    let mut bytes = raw.get(..at).unwrap_or_default().to_vec();
    let hex = |at: usize| raw.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    while let Some(&byte) = raw.get(at) {
        let (byte, length) = match (byte, raw.get(at + 1), hex(at + 2), hex(at + 3)) {
            (b'\\', Some(b'x'), Some(high), Some(low)) => ((high << 4 | low) as u8, 4),
            (b'\\', Some(b'n'), ..) => (b'\n', 2),
            (b'\\', Some(b'r'), ..) => (b'\r', 2),
            (b'\\', Some(b't'), ..) => (b'\t', 2),
            (b'\\', Some(b'b'), ..) => (0x08, 2),
            (b'\\', Some(b'f'), ..) => (0x0c, 2),
            (b'\\', Some(b'v'), ..) => (0x0b, 2),
            (b'\\', Some(escaped @ (b'"' | b'\\')), ..) => (*escaped, 2),
            _ => (byte, 1),
        };
        bytes.push(byte);
        at += length;
    }
    Cow::Owned(bytes)
}

/// A number, none for `-`; None for anything else.
fn number_or_dash(word: &[u8]) -> Option<Option<u64>> {
    if word == b"-" {
        return Some(None);
    }
    let digits = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(word).ok().and_then(|text| text.parse().ok()))
}

/// What is left of a line, word by word.
struct Words<'a>(&'a [u8]);

struct Extras<'a> {
    forwarded_for: Option<Cow<'a, [u8]>>,
    latency: Option<Duration>,
}

impl<'a> Words<'a> {
    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    /// The next word when it is in quotes, without them.
    fn quoted(&mut self) -> Option<&'a [u8]> {
        self.skip_blanks();
        let (word, rest) = quoted(self.0)?;
        self.0 = rest;
        Some(word)
    }

    /// The next word when it is not in quotes.
    fn bare(&mut self) -> Option<&'a [u8]> {
        self.skip_blanks();
        if self.0.is_empty() || self.0.first() == Some(&b'"') {
            return None;
        }
        let end = memchr(b' ', self.0).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(word)
    }

    /// What can be recognised of the rest.
    fn extras(&mut self) -> Extras<'a> {
        let (mut forwarded_for, mut last) = (None, &[][..]);
        for _ in 0..EXTRAS {
            if let Some(word) = self.quoted() {
                last = word;
                let list = unescaped(word);
                if forwarded_for.is_none() && is_address_list(&list) {
                    forwarded_for = Some(list);
                }
            } else if let Some(word) = self.bare() {
                last = word;
            } else {
                break;
            }
        }
        let latency = if self.0.trim_ascii().is_empty() { request_time(last) } else { None };
        Extras { forwarded_for, latency }
    }
}

/// True for a list of addresses with commas between, the first of which may be `unknown`.
fn is_address_list(list: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(list) else { return false };
    let mut hops = text.split(',').map(str::trim);
    let last = hops.next_back().unwrap_or_default();
    address(last.as_bytes()).is_some() && hops.all(|hop| hop == "unknown" || address(hop.as_bytes()).is_some())
}

/// Seconds with exactly three decimals, as nginx writes `$request_time`.
fn request_time(word: &[u8]) -> Option<Duration> {
    let (whole, decimals) = std::str::from_utf8(word).ok()?.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 7 || decimals.len() != 3 || !digits(whole) || !digits(decimals) {
        return None;
    }
    let milliseconds = whole.parse::<u64>().ok()? * 1000 + decimals.parse::<u64>().ok()?;
    Some(Duration::from_millis(milliseconds))
}

impl Seconds {
    fn time(&mut self, written: &[u8]) -> Result<Timestamp, String> {
        if self.written != written || written.is_empty() {
            let time =
                local_time(written).or_else(|| std::str::from_utf8(written).ok()?.parse().ok()).ok_or_else(|| {
                    format!("[{}] is no time", String::from_utf8_lossy(written.get(..64).unwrap_or(written)))
                })?;
            written.clone_into(&mut self.written);
            self.time = time;
        }
        Ok(self.time)
    }
}

/// `10/Oct/2026:13:55:36 -0700`, perhaps with a fraction of the second.
fn local_time(written: &[u8]) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = std::str::from_utf8(written).ok()?;
    let (moment, zone) = text.split_once(' ')?;
    let (date, clock) = moment.split_once(':')?;
    let mut date = date.split('/');
    let day: i8 = date.next()?.parse().ok()?;
    let name = date.next()?;
    let month = (1i8..).zip(MONTHS).find(|(_, month)| *month == name)?.0;
    let year: i16 = date.next()?.parse().ok()?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut clock = clock.split(':').map(|part| part.parse::<i8>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if date.next().is_some() || clock.next().is_some() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: i32 = format!("{fraction:0<9.9}").parse().ok()?;
    let (sign, digits) = match zone.as_bytes().first()? {
        b'+' => (1, zone.get(1..)?),
        b'-' => (-1, zone.get(1..)?),
        _ => return None,
    };
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let east: i32 = digits.get(..2)?.parse::<i32>().ok()? * 3600 + digits.get(2..)?.parse::<i32>().ok()? * 60;
    // A leap second is logged as the 60th.
    let moment = DateTime::new(year, month, day, hour, minute, second.min(59), nanos).ok()?;
    let utc = Offset::from_seconds(sign * east).ok()?.to_timestamp(moment).ok()?;
    i64::try_from(utc.as_nanosecond()).ok().filter(|nanos| *nanos >= 0).map(Timestamp::from_nanos)
}
