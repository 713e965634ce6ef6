//! Both directions of a connection: what the hellos agree on, and records to plaintext.
//!
//! Records are taken in the order in which they were captured. Those whose keys are not known wait for them, if there is a key
//! log; then those of the other direction may overtake them, but what comes out of both is as ordered as it was sent.

mod agreement;
mod keys;

use std::sync::Arc;

use super::Settings;
use super::description::Described;
use super::half::{Epoch, Half};
use super::hello::is_tls13;
use super::keylog::KeyLog;
use super::open::{OpenError, Opener};
use super::record::{Content, HEADER, Header, Mark, Step};
use super::waiting::Waiting;
use crate::call::Tls;
use crate::stats::{Counter, Counters};
use crate::stream::{Direction, Gap, Interest, Run};
use crate::time::Timestamp;

use keys::Ready;

/// Kinds of content within a record of TLS 1.3, and of all records (IANA, TLS ContentType).
mod content {
    pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(super) const ALERT: u8 = 21;
    pub(super) const HANDSHAKE: u8 = 22;
    pub(super) const DATA: u8 = 23;
}

/// Alert that says that its sender sends nothing more (RFC 8446, section 6.1).
const CLOSE_NOTIFY: u8 = 0;

/// What comes of the records.
pub(crate) enum Event<'a> {
    /// Plaintext, at its place in the plaintext of its direction.
    Data(Run<'a>),
    /// Plaintext that will not come; its length is an estimate.
    Gap(Gap),
    /// A direction is finished.
    Close(Direction),
}

/// Where events go, with what is known of the connection.
pub(crate) type Sink<'s> = dyn FnMut(Event<'_>, &Arc<Tls>, &mut Counters) + 's;

/// What sessions share.
pub(crate) struct Context<'a> {
    pub(crate) settings: &'a Settings,
    /// Where there are secrets, if any are to be expected.
    pub(crate) keys: Option<&'a KeyLog>,
    /// Bytes of records that wait, of all sessions.
    pub(crate) waiting: &'a mut usize,
    /// Room for one opened record.
    pub(crate) scratch: &'a mut Vec<u8>,
}

/// What becomes of early data (RFC 8446, section 4.2.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Early {
    None,
    Offered,
    Accepted,
    Refused,
}

/// One connection.
pub(crate) struct Session {
    halves: [Half; 2],
    /// The direction of the ClientHello.
    client: Option<Direction>,
    client_random: Option<[u8; 32]>,
    server_random: Option<[u8; 32]>,
    /// The version that was agreed on.
    version: Option<u16>,
    cipher: u16,
    encrypt_then_mac: bool,
    early: Early,
    /// The session that the client would go on with, up to TLS 1.2.
    session_id: Option<Box<[u8]>>,
    /// A HelloRetryRequest came: the next ClientHello is of the same handshake.
    retried: bool,
    described: Described,
    waiting: Waiting,
    /// Keys are not to be had: it is followed no further.
    given_up: bool,
}

impl Default for Session {
    /// One that begins.
    fn default() -> Session {
        Session {
            halves: [Half::default(), Half::default()],
            client: None,
            client_random: None,
            server_random: None,
            version: None,
            cipher: 0,
            encrypt_then_mac: false,
            early: Early::None,
            session_id: None,
            retried: false,
            described: Described::default(),
            waiting: Waiting::default(),
            given_up: false,
        }
    }
}

impl Session {
    /// One of which the beginning was not seen, so that nothing can be known of it.
    pub(crate) fn without_beginning() -> Session {
        let mut session = Session::default();
        session.described.change(|tls| tls.beginning_unseen = true);
        session.given_up = true;
        session
    }

    /// What is known of it.
    pub(crate) fn described(&self) -> &Arc<Tls> {
        self.described.tls()
    }

    /// Records wait for their keys.
    pub(crate) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Both hellos were seen.
    pub(crate) fn is_greeted(&self) -> bool {
        self.client_random.is_some() && self.server_random.is_some()
    }

    /// A hello, and with it what the connection is about, was not seen.
    pub(crate) fn is_unseen(&self) -> bool {
        self.described.tls().beginning_unseen
    }

    /// Who sent the ClientHello, if that is known.
    pub(crate) fn client(&self) -> Option<Direction> {
        self.client
    }

    /// Takes bytes in order.
    pub(crate) fn data(
        &mut self,
        run: &Run<'_>,
        context: &mut Context<'_>,
        counters: &mut Counters,
        sink: &mut Sink<'_>,
    ) -> Interest {
        let d = run.direction.index();
        let mut again: Option<(u64, Vec<u8>)> = None;
        while !self.halves[d].dead && !self.given_up {
            let part = match &again {
                Some((offset, bytes)) => Run { offset: *offset, bytes, ..*run },
                None => *run,
            };
            match self.read(&part, context, counters, sink) {
                Some(found) => again = Some((self.halves[d].records.next, found)),
                None => break,
            }
        }
        self.look_after(run.now, context, counters, sink);
        self.interest(context)
    }

    /// Whether what follows can be of interest.
    fn interest(&self, context: &Context<'_>) -> Interest {
        let over = self.given_up || self.halves.iter().all(|half| half.dead);
        let known = self.client_random.is_some() && self.server_random.is_some() && context.keys.is_none();
        if over || known { Interest::Unwanted } else { Interest::Wanted }
    }

    /// Reads on in a run. After a loss, gives the bytes from where a record was found again, to be read next.
    fn read(
        &mut self,
        run: &Run<'_>,
        context: &mut Context<'_>,
        counters: &mut Counters,
        sink: &mut Sink<'_>,
    ) -> Option<Vec<u8>> {
        let d = run.direction.index();
        let mut used = 0;
        loop {
            if self.given_up || self.halves[d].dead {
                return None;
            }
            if self.halves[d].records.is_lost() {
                return self.search(run, used, context, counters, sink);
            }
            // What comes encrypted is passed over when there are no keys, and never held.
            let (keys, clear) = (context.keys.is_some(), self.halves[d].epoch == Epoch::Clear);
            let wanted = |header: Header| keys || (clear && header.content != Content::Data);
            match self.halves[d].records.step(run, &mut used, wanted)? {
                Step::Record { header, body, mark } => {
                    self.record(d, header, &body, mark, run.now, context, counters, sink);
                    self.halves[d].records.recycle(body);
                }
                Step::Passed { header, damaged: true, .. } => self.lose(d, header, counters),
                Step::Passed { header, mark, .. } => self.halves[d].pass(header, mark),
                Step::Derailed => counters.count(Counter::TlsRecordsMalformed),
            }
        }
    }

    /// Looks for the next record in a run of a direction that is lost; only keys can tell that it is one. Gives the bytes behind
    /// it, to be read next.
    fn search(
        &mut self,
        run: &Run<'_>,
        mut used: usize,
        context: &mut Context<'_>,
        counters: &mut Counters,
        sink: &mut Sink<'_>,
    ) -> Option<Vec<u8>> {
        let d = run.direction.index();
        loop {
            self.halves[d].records.search(run, &mut used);
            loop {
                let encrypted = matches!(self.ready(d, Content::Data, run.now, context), Ready::Open);
                let half = &mut self.halves[d];
                if half.trials == 0 || !encrypted {
                    half.kill();
                    return None;
                }
                let Some((header, body, offset)) = half.records.candidate() else { break };
                half.trials -= 1;
                let body = body.to_vec();
                let mark = Mark { offset, time: run.time, acknowledged: run.acknowledged, ..Mark::default() };
                if self.open(d, header, &body, (mark, true), run.now, context, counters, sink) {
                    let mut behind = self.halves[d].records.found(HEADER + body.len());
                    behind.extend_from_slice(&run.bytes[used..]);
                    return Some(behind);
                }
                self.halves[d].records.reject();
            }
            if used == run.bytes.len() {
                return None;
            }
        }
    }

    /// A part of a record was lost.
    fn lose(&mut self, d: usize, header: Header, counters: &mut Counters) {
        let half = &mut self.halves[d];
        if half.epoch == Epoch::Clear && header.content == Content::Handshake && !half.messages.lose(header.length()) {
            self.miss_hello(counters);
        }
    }

    /// What was lost may have been a hello, without which nothing can be known.
    fn miss_hello(&mut self, counters: &mut Counters) {
        if !self.given_up && (self.version.is_none() || self.client_random.is_none()) {
            self.given_up = true;
            counters.count(Counter::TlsBeginningsUnseen);
            self.described.change(|tls| tls.beginning_unseen = true);
        }
    }

    /// Takes a record in its turn, or has it wait.
    #[allow(clippy::too_many_arguments, reason = "all of it describes one record")]
    fn record(
        &mut self,
        d: usize,
        header: Header,
        body: &[u8],
        mark: Mark,
        now: Timestamp,
        context: &mut Context<'_>,
        counters: &mut Counters,
        sink: &mut Sink<'_>,
    ) {
        let waits = !self.waiting.is_clear(d) || matches!(self.ready(d, header.content, now, context), Ready::Wait);
        if !waits {
            self.take(d, header, body, mark, now, context, counters, sink);
        } else if context.keys.is_some() {
            let before = self.waiting.bytes();
            self.waiting.push(d, header, body, mark, now);
            *context.waiting += self.waiting.bytes() - before;
        } else {
            self.halves[d].pass(header, mark);
        }
        if !self.waiting.is_empty() {
            self.go_on(now, context, counters, sink);
        }
    }

    /// Takes the records that need not wait any more.
    fn go_on(&mut self, now: Timestamp, context: &mut Context<'_>, counters: &mut Counters, sink: &mut Sink<'_>) {
        'records: loop {
            for d in self.waiting.order() {
                let Some(header) = self.waiting.peek(d) else { continue };
                if matches!(self.ready(d, header.content, now, context), Ready::Wait) {
                    continue;
                }
                let before = self.waiting.bytes();
                let Some(record) = self.waiting.pop(d) else { continue };
                *context.waiting = context.waiting.saturating_sub(before - self.waiting.bytes());
                self.take(d, record.header, &record.body, record.mark, now, context, counters, sink);
                continue 'records;
            }
            break;
        }
        for direction in [Direction::Forward, Direction::Backward] {
            if self.halves[direction.index()].closing {
                self.close(direction, counters, sink);
            }
        }
    }

    /// Gives up when records have waited for too long, or are too many.
    pub(crate) fn look_after(
        &mut self,
        now: Timestamp,
        context: &mut Context<'_>,
        counters: &mut Counters,
        sink: &mut Sink<'_>,
    ) {
        let Some(since) = self.waiting.since() else { return };
        self.go_on(now, context, counters, sink);
        let late = now.since(since).as_secs() >= context.settings.waiting_seconds.into();
        let many = self.waiting.bytes() > context.settings.waiting_bytes;
        if !self.waiting.is_empty() && (late || many || *context.waiting > context.settings.waiting_total) {
            self.give_up(context, counters);
        }
    }

    /// Follows the connection no further.
    fn give_up(&mut self, context: &mut Context<'_>, counters: &mut Counters) {
        *context.waiting = context.waiting.saturating_sub(self.waiting.bytes());
        counters.add(Counter::TlsRecordsDropped, self.waiting.clear() as u64);
        counters.count(Counter::TlsGivenUp);
        for half in &mut self.halves {
            half.kill();
        }
        self.given_up = true;
    }

    /// Takes a record in its turn.
    #[allow(clippy::too_many_arguments, reason = "all of it describes one record")]
    fn take(
        &mut self,
        d: usize,
        header: Header,
        body: &[u8],
        mark: Mark,
        now: Timestamp,
        context: &mut Context<'_>,
        counters: &mut Counters,
        sink: &mut Sink<'_>,
    ) {
        match self.ready(d, header.content, now, context) {
            Ready::Clear => {
                self.halves[d].pass(header, mark);
                match header.content {
                    Content::Handshake => self.messages(d, body, context.settings, counters),
                    Content::ChangeCipherSpec if self.version.is_some_and(|version| !is_tls13(version)) => {
                        self.halves[d].enter(Epoch::Data);
                    }
                    _ => {}
                }
            }
            Ready::Open => {
                self.open(d, header, body, (mark, false), now, context, counters, sink);
            }
            Ready::Pass | Ready::Wait => self.halves[d].pass(header, mark),
            Ready::Never => self.give_up(context, counters),
        }
    }

    /// Opens a record and takes what is in it. Tells whether that could be done; a mere candidate that cannot be opened is no
    /// record.
    #[allow(clippy::too_many_arguments, reason = "all of it describes one record")]
    fn open(
        &mut self,
        d: usize,
        header: Header,
        body: &[u8],
        (mark, candidate): (Mark, bool),
        now: Timestamp,
        context: &mut Context<'_>,
        counters: &mut Counters,
        sink: &mut Sink<'_>,
    ) -> bool {
        let mut room = std::mem::take(context.scratch);
        let half = &mut self.halves[d];
        half.approach(mark);
        let version = u16::from_be_bytes([header.bytes[1], header.bytes[2]]);
        let mut open = |opener: &mut Option<Box<Opener>>| {
            let opened = opener.as_mut().map(|opener| opener.open(header.bytes[0], version, body, &mut room));
            opened.unwrap_or(Err(OpenError::Refused)).map(|opened| (opened.content_type, opened.missing))
        };
        let mut opened = open(&mut half.opener);
        if opened.is_err() && half.lossy && half.epoch == Epoch::Handshake {
            // The end of the handshake may be among what was lost.
            opened = self.next_opener(d, now, context).map_or(opened, |mut next| {
                let opened = open(&mut next);
                let half = &mut self.halves[d];
                match opened {
                    Ok(_) => {
                        half.enter(Epoch::Data);
                        half.opener = next;
                    }
                    Err(_) => half.next_opener = next,
                }
                opened
            });
        }
        let half = &mut self.halves[d];
        let (kind, missing) = match opened {
            Ok(opened) => opened,
            Err(OpenError::NoContentType) => (0, 0),
            Err(_) => {
                if !half.tolerant && !candidate {
                    counters.count(Counter::TlsRecordsRefused);
                }
                if !candidate && half.refuse(header, mark) {
                    self.give_up(context, counters);
                }
                *context.scratch = room;
                return false;
            }
        };
        let content = if kind == 0 { &[][..] } else { &room[..] };
        let plain = if kind == content::DATA { content.len() } else { 0 };
        if half.opened == 0 && !self.described.tls().decrypted {
            counters.count(Counter::TlsDecrypted);
            self.described.change(|tls| tls.decrypted = true);
        }
        counters.add(Counter::TlsRecordsMissing, missing);
        let start = half.plain();
        let gap = half.accept(header, mark, content.len(), plain, missing);
        let direction = if d == 0 { Direction::Forward } else { Direction::Backward };
        if gap > 0 {
            half.messages = Default::default();
            let gap = Gap { direction, offset: start, length: gap, now };
            sink(Event::Gap(gap), self.described.tls(), counters);
        }
        match kind {
            content::DATA if plain > 0 => {
                // A request may have been sent upon whatever the client has had, and may be answered by whatever the server
                // says once it may have had all of it: so pairs are not lost, and none is made up.
                let by_client = self.client == Some(direction);
                let other = &mut self.halves[1 - d];
                let acknowledged = mark.acknowledged.and_then(|acknowledged| other.received(acknowledged, !by_client));
                let run = Run {
                    direction,
                    offset: start + gap,
                    acknowledged,
                    time: mark.time,
                    now,
                    bytes: content,
                    conflicting: mark.conflicting,
                    urgent: mark.urgent,
                };
                sink(Event::Data(run), self.described.tls(), counters);
            }
            content::HANDSHAKE => self.messages(d, content, context.settings, counters),
            content::ALERT if matches!(content, [_, CLOSE_NOTIFY]) => self.close(direction, counters, sink),
            // New keys of TLS 1.2, behind a handshake within the connection.
            content::CHANGE_CIPHER_SPEC => self.halves[d].enter(Epoch::Data),
            _ => {}
        }
        *context.scratch = room;
        true
    }

    /// Bytes were lost.
    pub(crate) fn gap(&mut self, gap: &Gap, context: &mut Context<'_>, counters: &mut Counters, sink: &mut Sink<'_>) {
        let d = gap.direction.index();
        if self.given_up || self.halves[d].dead {
            return;
        }
        if let Some(Step::Passed { header, .. }) = self.halves[d].records.gap(gap.offset, gap.length) {
            self.lose(d, header, counters);
        }
        if self.halves[d].records.is_lost() {
            self.miss_hello(counters);
        }
        self.look_after(gap.now, context, counters, sink);
    }

    /// A direction sends nothing more.
    pub(crate) fn close(&mut self, direction: Direction, counters: &mut Counters, sink: &mut Sink<'_>) {
        let half = &mut self.halves[direction.index()];
        half.closing = true;
        if !half.closed && self.waiting.is_clear(direction.index()) {
            half.closed = true;
            sink(Event::Close(direction), self.described.tls(), counters);
        }
    }

    /// The connection is over: takes what can be opened of what waits.
    pub(crate) fn end(
        &mut self,
        now: Timestamp,
        context: &mut Context<'_>,
        counters: &mut Counters,
        sink: &mut Sink<'_>,
    ) {
        self.go_on(now, context, counters, sink);
        if !self.waiting.is_empty() {
            self.give_up(context, counters);
        }
    }
}
