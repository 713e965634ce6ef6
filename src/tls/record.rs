//! Records (RFC 8446, section 5.1) out of the runs of one direction, however segments cut them.

use std::borrow::Cow;

use crate::stream::Run;
use crate::time::Timestamp;

/// Bytes of a record's header.
pub(super) const HEADER: usize = 5;

/// Most bytes of a record behind its header (RFC 5246, section 6.2.3).
const BODY: usize = (1 << 14) + 2048;

/// Bytes that are kept after a loss while the next record is looked for: any record, and the header behind it.
const SEARCHED: usize = BODY + 2 * HEADER;

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// What follows is under new keys (up to TLS 1.2; without meaning in TLS 1.3).
    ChangeCipherSpec,
    /// A warning, or why the connection ends.
    Alert,
    /// Parts of handshake messages.
    Handshake,
    /// Data of the application; in TLS 1.3 everything encrypted.
    Data,
    /// RFC 6520.
    Heartbeat,
}

impl Content {
    /// By its number on the wire.
    pub(super) const fn of(number: u8) -> Option<Content> {
        Some(match number {
            20 => Content::ChangeCipherSpec,
            21 => Content::Alert,
            22 => Content::Handshake,
            23 => Content::Data,
            24 => Content::Heartbeat,
            _ => return None,
        })
    }
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// What it carries.
    pub(super) content: Content,
    /// Its bytes, as they are authenticated.
    pub(super) bytes: [u8; HEADER],
}

impl Header {
    /// Reads a header; none when no record begins so.
    pub(super) fn parse(bytes: [u8; HEADER]) -> Option<Header> {
        let content = Content::of(bytes[0])?;
        let header = Header { content, bytes };
        // Drafts of TLS 1.3 wrote the version of records as 3.x too.
        (bytes[1] == 3 && bytes[2] <= 4 && header.length() <= BODY).then_some(header)
    }

    /// Bytes behind it.
    pub(super) fn length(&self) -> usize {
        u16::from_be_bytes([self.bytes[3], self.bytes[4]]).into()
    }
}

/// True when a hello begins with these first bytes of a stream, as far as they go.
pub(crate) fn begins_with_hello(bytes: &[u8]) -> bool {
    const CLIENT_HELLO: u8 = 1;
    const SERVER_HELLO: u8 = 2;
    let fits = |place: usize, fits: fn(u8) -> bool| bytes.get(place).is_none_or(|&byte| fits(byte));
    !bytes.is_empty()
        && fits(0, |byte| byte == 22)
        && fits(1, |byte| byte == 3)
        && fits(2, |byte| byte <= 4)
        && fits(3, |byte| usize::from(byte) << 8 <= BODY)
        && fits(5, |byte| matches!(byte, CLIENT_HELLO | SERVER_HELLO))
}

/// True when an encrypted record seems to begin here: what a connection looks like of which the beginning was not seen.
pub(crate) fn looks_encrypted(bytes: &[u8]) -> bool {
    let Some(&header) = bytes.first_chunk() else { return false };
    Header::parse(header).is_some_and(|header| header.content == Content::Data && header.length() >= 17)
        && (1..=3).contains(&header[2])
}

/// True when this is a ClientHello in the form of SSL 2.0 (RFC 5246, appendix E.2).
pub(crate) fn is_ssl2_hello(bytes: &[u8]) -> bool {
    matches!(bytes, [length, _, 1, 3, 0..=3, ..] | [length, _, 1, 0, 2, ..] if length & 0x80 != 0)
}

/// Where in its stream, and when, a record stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    /// Offset of its first byte.
    pub(super) offset: u64,
    /// When that was captured.
    pub(super) time: Timestamp,
    /// What its sender had received by then, as an offset in the other direction's stream.
    pub(super) acknowledged: Option<u64>,
    /// A part of it came twice, with other content.
    pub(super) conflicting: bool,
    /// It came with urgent data.
    pub(super) urgent: bool,
}

impl Mark {
    fn of(run: &Run<'_>, used: usize) -> Mark {
        Mark {
            offset: run.offset + used as u64,
            time: run.time,
            acknowledged: run.acknowledged,
            conflicting: run.conflicting,
            urgent: run.urgent,
        }
    }
}

/// A record, or what is known of one.
#[derive(Debug)]
pub(super) enum Step<'r> {
    /// It is whole; its body is borrowed where one run has all of it.
    Record { header: Header, body: Cow<'r, [u8]>, mark: Mark },
    /// It was not wanted, or a part of it was lost.
    Passed { header: Header, mark: Mark, damaged: bool },
    /// No record begins where one should.
    Derailed,
}

/// Where the reader stands.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Header,
    Body {
        header: Header,
        /// Bytes to come.
        left: usize,
        keep: bool,
        damaged: bool,
    },
    /// Records are looked for in what comes.
    Lost,
}

/// The records of one direction.
#[derive(Debug)]
pub(super) struct Records {
    phase: Phase,
    /// Bytes of the header, of the body, or those that are searched.
    held: Vec<u8>,
    /// Where among the bytes searched it stands.
    at: usize,
    mark: Mark,
    /// Offset behind everything read or given up.
    pub(super) next: u64,
}

impl Records {
    /// From an offset of the stream on.
    pub(super) const fn new(next: u64) -> Records {
        let mark = Mark { offset: next, time: Timestamp::ZERO, acknowledged: None, conflicting: false, urgent: false };
        Records { phase: Phase::Header, held: Vec::new(), at: 0, mark, next }
    }

    /// Reads on in a run from `used`, which it moves, to the next record; `wanted` tells whether a body is. None when the run
    /// is used up.
    pub(super) fn step<'r>(
        &mut self,
        run: &Run<'r>,
        used: &mut usize,
        wanted: impl Fn(Header) -> bool,
    ) -> Option<Step<'r>> {
        loop {
            let rest = &run.bytes[*used..];
            match &mut self.phase {
                Phase::Header => {
                    if rest.is_empty() {
                        return None;
                    }
                    if self.held.is_empty() {
                        self.mark = Mark::of(run, *used);
                    }
                    let missing = HEADER - self.held.len();
                    let taken = &rest[..missing.min(rest.len())];
                    self.held.extend_from_slice(taken);
                    *used += taken.len();
                    self.next = run.offset + *used as u64;
                    let Some(&bytes) = self.held.first_chunk() else { return None };
                    let Some(header) = Header::parse(bytes) else {
                        self.phase = Phase::Lost; // what was read so far is searched too
                        self.at = 1;
                        return Some(Step::Derailed);
                    };
                    self.held.clear();
                    let keep = wanted(header);
                    self.phase = Phase::Body { header, left: header.length(), keep, damaged: false };
                }
                Phase::Body { header, left, keep, damaged } => {
                    let taken = &rest[..(*left).min(rest.len())];
                    let whole = taken.len() == header.length();
                    if *keep && !whole {
                        self.held.extend_from_slice(taken);
                    }
                    *left -= taken.len();
                    *used += taken.len();
                    self.next = run.offset + *used as u64;
                    self.mark.conflicting |= run.conflicting;
                    if *left > 0 {
                        return None;
                    }
                    let (header, keep, damaged) = (*header, *keep, *damaged);
                    self.phase = Phase::Header;
                    let mark = self.mark;
                    if keep && !damaged {
                        let body =
                            if whole { Cow::Borrowed(taken) } else { Cow::Owned(std::mem::take(&mut self.held)) };
                        return Some(Step::Record { header, body, mark });
                    }
                    self.held.clear();
                    return Some(Step::Passed { header, mark, damaged });
                }
                Phase::Lost => return None,
            }
        }
    }

    /// Gives back the buffer of a record, to be used for the next.
    pub(super) fn recycle(&mut self, body: Cow<'_, [u8]>) {
        if let Cow::Owned(mut body) = body
            && self.held.capacity() == 0
        {
            body.clear();
            self.held = body;
        }
    }

    /// Bytes were lost: `length` of them. Gives what is known of the record in which they were; after that,
    /// [`Records::is_lost`] tells whether the next one is known to begin.
    pub(super) fn gap(&mut self, offset: u64, length: u64) -> Option<Step<'static>> {
        self.next = offset.saturating_add(length);
        self.at = 0;
        let Phase::Body { header, left, damaged, .. } = &mut self.phase else {
            self.phase = Phase::Lost;
            self.held = Vec::new();
            return None;
        };
        self.held = Vec::new();
        *damaged = true;
        let (header, mark) = (*header, self.mark);
        let passed = Step::Passed { header, mark, damaged: true };
        match length.cmp(&(*left as u64)) {
            std::cmp::Ordering::Less => {
                *left -= length as usize;
                return None;
            }
            std::cmp::Ordering::Equal => self.phase = Phase::Header,
            std::cmp::Ordering::Greater => self.phase = Phase::Lost,
        }
        Some(passed)
    }

    /// True when it is not known where the next record begins.
    pub(super) fn is_lost(&self) -> bool {
        self.phase == Phase::Lost
    }

    /// Takes what is left of a run, as far as there is room, to look for a record in it.
    pub(super) fn search(&mut self, run: &Run<'_>, used: &mut usize) {
        self.held.drain(..self.at);
        self.at = 0;
        let room = SEARCHED.saturating_sub(self.held.len());
        let rest = &run.bytes[*used..];
        let taken = &rest[..rest.len().min(room)];
        self.held.extend_from_slice(taken);
        *used += taken.len();
        self.next = run.offset + *used as u64;
    }

    /// The next place among the bytes searched where an encrypted record begins by all appearances, if all of it is there: its
    /// header, its body, and its offset. None when more bytes are needed.
    pub(super) fn candidate(&mut self) -> Option<(Header, &[u8], u64)> {
        let plausible = |bytes: &[u8]| match bytes.first_chunk() {
            Some(&header) => Header::parse(header)
                .is_some_and(|header| header.content == Content::Data && header.bytes[2] >= 1 && header.length() > 0),
            None => bytes.iter().zip([23, 3]).all(|(byte, expected)| *byte == expected),
        };
        loop {
            let skipped = memchr::memchr(23, self.held.get(self.at..)?);
            self.at = skipped.map_or(self.held.len(), |skipped| self.at + skipped);
            if skipped.is_none() || plausible(&self.held[self.at..]) {
                break;
            }
            self.at += 1;
        }
        let (&header, rest) = self.held[self.at..].split_first_chunk()?;
        let header = Header::parse(header)?;
        let body = rest.get(..header.length())?;
        let offset = self.next - (self.held.len() - self.at) as u64;
        Some((header, body, offset))
    }

    /// No record begins at the candidate: on to the next place.
    pub(super) fn reject(&mut self) {
        self.at = (self.at + 1).min(self.held.len());
    }

    /// The candidate is a record, of so many bytes: gives the bytes behind it, to be read again, and goes on with them.
    pub(super) fn found(&mut self, size: usize) -> Vec<u8> {
        self.phase = Phase::Header;
        let mut found = std::mem::take(&mut self.held);
        found.drain(..(self.at + size).min(found.len()));
        self.at = 0;
        self.next -= found.len() as u64;
        found
    }

    /// Nothing more will be read: frees what is held.
    pub(super) fn release(&mut self) {
        *self = Records::new(self.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Direction;

    fn run(offset: u64, bytes: &[u8]) -> Run<'_> {
        Run {
            direction: Direction::Forward,
            offset,
            acknowledged: None,
            time: Timestamp::from_parts(offset, 0),
            now: Timestamp::from_parts(offset, 0),
            bytes,
            conflicting: false,
            urgent: false,
        }
    }

    fn record(content: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [&[content, 3, 3, length[0], length[1]][..], body].concat()
    }

    fn bodies(records: &mut Records, run: &Run<'_>) -> Vec<(u64, Vec<u8>)> {
        let (mut used, mut found) = (0, Vec::new());
        while let Some(step) = records.step(run, &mut used, |_| true) {
            if let Step::Record { body, mark, .. } = step {
                found.push((mark.offset, body.to_vec()));
                records.recycle(body);
            }
        }
        found
    }

    #[test]
    fn records_come_out_alike_however_they_are_cut() {
        let stream = [record(22, b"hello"), record(20, &[1]), record(23, &[7; 300]), record(23, b"")].concat();
        let whole = bodies(&mut Records::new(0), &run(0, &stream));
        assert_eq!(whole.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 10, 16, 321]);
        for size in 1..20 {
            let mut records = Records::new(0);
            let mut found = Vec::new();
            for (place, piece) in stream.chunks(size).enumerate() {
                found.extend(bodies(&mut records, &run((place * size) as u64, piece)));
            }
            assert_eq!(found, whole, "pieces of {size}");
            assert_eq!(records.next, stream.len() as u64);
        }
    }

    #[test]
    fn a_loss_within_a_record_costs_that_record() {
        let stream = [record(23, &[7; 300]), record(23, b"next")].concat();
        let mut records = Records::new(0);
        assert!(bodies(&mut records, &run(0, &stream[..100])).is_empty());
        assert!(records.gap(100, 50).is_none());
        let mut used = 0;
        let rest = run(150, &stream[150..]);
        let passed = records.step(&rest, &mut used, |_| true);
        assert!(matches!(passed, Some(Step::Passed { damaged: true, .. })), "{passed:?}");
        assert_eq!(bodies(&mut records, &run(150 + used as u64, &stream[150 + used..])), [(305, b"next".to_vec())]);
    }

    #[test]
    fn after_a_larger_loss_a_record_is_looked_for() {
        let stream = [record(23, &[7; 300]), record(23, b"next")].concat();
        let mut records = Records::new(0);
        assert!(bodies(&mut records, &run(0, &stream[..2])).is_empty());
        assert!(records.gap(2, 98).is_none() && records.is_lost());
        let (mut used, rest) = (0, run(100, &stream[100..]));
        records.search(&rest, &mut used);
        let found = records.candidate().map(|(_, body, offset)| (offset, body.to_vec()));
        assert_eq!(found, Some((305, b"next".to_vec())));
        assert!(records.found(9).is_empty());
        assert_eq!((records.next, records.is_lost()), (314, false));
    }

    #[test]
    fn hellos_are_recognised() {
        assert!(begins_with_hello(&[22, 3, 1, 2, 0, 1]) && begins_with_hello(&[22]));
        for other in
            [&b""[..], b"GET /", &[22, 3, 9], &[22, 3, 1, 0xff], &[22, 3, 3, 0, 4, 14], b"\x80\x2e\x01\x03\x01"]
        {
            assert!(!begins_with_hello(other), "{other:?}");
        }
        assert!(is_ssl2_hello(b"\x80\x2e\x01\x03\x01\x00") && is_ssl2_hello(b"\x80\x2e\x01\x00\x02"));
        assert!(looks_encrypted(&[23, 3, 3, 0, 40, 1]) && !looks_encrypted(&[23, 3, 3, 0, 4]));
    }
}
