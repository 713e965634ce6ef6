//! A flow in TLS: what is in it, where its keys are known, and what is told of it.
//!
//! Plaintext goes the way of what comes in clear; its calls say what is known of the TLS around them. Of a flow that keeps
//! what is in it, a [`Connection`] is told when it ends, and in between now and then as long as something comes.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{Awaited, Connection, Ending, Record, Wait};
use crate::stats::{Counter, Counters};
use crate::stream::{Close, Direction, End, FlowInfo, Gap, Interest, Run};
use crate::time::Timestamp;
use crate::tls::keylog::KeyLog;
use crate::tls::{self, Context, Event, Session};

use super::slow::{self, UnderWay};
use super::{Http, Shared, State};

/// Bytes that a client has to send at least when it has seen the server's hello: a Finished message, sealed.
const FINISHED: u64 = 37;

/// Bytes behind the server's hello up to which a client has said nothing but how the handshake ends: keys, a Finished message, and
/// no request.
const SHAKEN: u64 = 160;

/// What flows in TLS share.
pub(super) struct Common {
    settings: tls::Settings,
    keys: Arc<KeyLog>,
    waiting: usize,
    scratch: Vec<u8>,
}

impl Common {
    pub(super) fn new(settings: tls::Settings, keys: Arc<KeyLog>) -> Common {
        Common { settings, keys, waiting: 0, scratch: Vec::new() }
    }

    /// Bytes that wait for keys, and how many these may be.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.waiting, self.settings.waiting_total)
    }

    fn context(&mut self, now: Timestamp) -> Context<'_> {
        let expected = !self.settings.keylog.files.is_empty() || self.keys.has_any(now);
        Context {
            settings: &self.settings,
            keys: expected.then_some(&*self.keys),
            waiting: &mut self.waiting,
            scratch: &mut self.scratch,
        }
    }
}

/// A cheap first look: false when this is certainly no beginning of TLS.
#[inline]
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(22 | 23 | 0x80..))
}

/// One flow.
pub(super) struct Secured {
    session: Session,
    inside: Option<Box<State>>,
    /// Calls before the TLS began.
    position: u32,
    reset_by: Option<Direction>,
    /// What the client had sent when both hellos were seen.
    greeted: Option<u64>,
    told: Told,
}

/// What was told of a flow so far.
#[derive(Clone, Copy, Default)]
struct Told {
    /// Records of it.
    parts: u32,
    /// When the next is due, if something has come by then.
    next: Timestamp,
    /// Bytes and turns that they told of, by direction.
    bytes: [u64; 2],
    turns: [u64; 2],
}

impl Secured {
    /// Judges a run with which TLS may begin; the flow has had `position` calls before. None when it does not.
    pub(super) fn begin(flow: &FlowInfo, run: &Run<'_>, position: u32, counters: &mut Counters) -> Option<Secured> {
        /// Enough to see which message it is.
        const SURE: usize = 6;
        let session = if tls::begins_with_hello(run.bytes) && (run.offset == 0 || run.bytes.len() >= SURE) {
            Session::default()
        } else if tls::looks_encrypted(run.bytes) && (flow.midstream() || run.offset > 0) {
            counters.count(Counter::TlsBeginningsUnseen);
            Session::without_beginning()
        } else if run.offset == 0 && tls::is_ssl2_hello(run.bytes) {
            counters.count(Counter::TlsHellosUnread);
            Session::without_beginning()
        } else {
            return None;
        };
        counters.count(Counter::FlowsTls);
        Some(Secured { session, inside: None, position, reset_by: None, greeted: None, told: Told::default() })
    }

    /// Has the session do something, and takes what comes of it.
    fn with<T>(
        &mut self,
        flow: &FlowInfo,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
        act: impl FnOnce(&mut Session, &mut Counters, &mut tls::Sink<'_>) -> T,
    ) -> T {
        let (inside, position) = (&mut self.inside, self.position);
        let mut sink = |event: Event<'_>, tls: &Arc<crate::call::Tls>, counters: &mut Counters| {
            if shared.tls.as_ref().is_none_or(|known| !Arc::ptr_eq(known, tls)) {
                shared.tls = Some(tls.clone());
            }
            match event {
                Event::Data(run) => {
                    super::data(flow, inside, run, position, shared, counters);
                }
                Event::Gap(gap) => {
                    if let Some(inside) = inside {
                        super::lose(flow, inside, gap, shared, counters);
                    }
                }
                Event::Close(direction) => {
                    if let Some(inside) = inside {
                        super::close(flow, inside, direction, Close::Finished, now, shared, counters);
                    }
                }
            }
        };
        let done = act(&mut self.session, counters, &mut sink);
        shared.tls = None;
        done
    }

    pub(super) fn data(
        &mut self,
        flow: &FlowInfo,
        run: Run<'_>,
        shared: &mut Shared,
        common: &mut Common,
        counters: &mut Counters,
    ) -> Interest {
        let interest = self.with(flow, run.now, shared, counters, |session, counters, sink| {
            session.data(&run, &mut common.context(run.now), counters, sink)
        });
        if self.greeted.is_none() {
            if self.session.is_greeted() {
                self.greeted = Some(flow.traffic[self.client(flow).index()].bytes);
            }
            slow::ask(flow, run.now, shared.settings.slow.head_seconds);
        }
        self.ask(flow, run.now, common);
        interest
    }

    /// Asks to be woken when something is due.
    fn ask(&mut self, flow: &FlowInfo, now: Timestamp, common: &Common) {
        if self.session.waits() {
            flow.wake_at(now + Duration::from_secs(1)); // keys may have come
        }
        let every = Duration::from_secs(common.settings.report_seconds.into());
        if self.told.next == Timestamp::ZERO && !every.is_zero() {
            self.told.next = now + every;
            flow.wake_at(self.told.next);
        }
    }

    /// The moment has come that was asked for.
    pub(super) fn wake(
        &mut self,
        flow: &FlowInfo,
        now: Timestamp,
        shared: &mut Shared,
        common: &mut Common,
        counters: &mut Counters,
    ) {
        self.with(flow, now, shared, counters, |session, counters, sink| {
            session.look_after(now, &mut common.context(now), counters, sink);
        });
        if let Some(inside) = &mut self.inside {
            shared.tls = Some(self.session.described().clone());
            super::wake(flow, inside, now, shared, counters);
            shared.tls = None;
        }
        if self.told.next <= now {
            self.told.next = Timestamp::ZERO;
            let something = flow.traffic.map(|traffic| traffic.bytes) != self.told.bytes;
            if self.inside.is_none() && something {
                self.tell(flow, None, None, now, shared);
            }
        }
        self.ask(flow, now, common);
        if self.told.next > now {
            flow.wake_at(self.told.next);
        }
    }

    /// Tells how the connection stands, or how it ended.
    pub(super) fn tell(
        &mut self,
        flow: &FlowInfo,
        ended: Option<Ending>,
        waits: Option<Wait>,
        now: Timestamp,
        shared: &mut Shared,
    ) {
        let client = self.client(flow);
        let [sent_before, received_before] = [client, client.opposite()].map(|side| self.told.bytes[side.index()]);
        let (source, destination) = flow.ends(client);
        shared.records.push(Record::from(Connection {
            position: self.position,
            client: source.into(),
            server: destination.into(),
            sent: flow.traffic[client.index()],
            received: flow.traffic[client.opposite().index()],
            sent_before,
            received_before,
            turns_before: self.told.turns[client.index()],
            waits,
            tls: Some(self.session.described().clone()),
            open: ended.is_none(),
            ended,
            part: self.told.parts,
            ..Http::connection(flow, now)
        }));
        self.told.parts = self.told.parts.saturating_add(1);
        self.told.bytes = flow.traffic.map(|traffic| traffic.bytes);
        self.told.turns = flow.traffic.map(|traffic| traffic.turns);
    }

    /// Who is the client, and what is known of what is in it.
    pub(super) fn client_and_inside(&mut self, flow: &FlowInfo) -> (Direction, Option<&mut State>) {
        (self.client(flow), self.inside.as_deref_mut())
    }

    /// What is under way as far as that can be seen; none where it can be read, or nothing can be told.
    pub(super) fn under_way(&self, flow: &FlowInfo) -> Option<(Direction, UnderWay)> {
        if self.inside.is_some() {
            return None;
        }
        let client = self.client(flow);
        let bytes = flow.traffic[client.index()].bytes;
        let under_way = match self.greeted {
            Some(greeted) if (greeted + FINISHED..greeted + SHAKEN).contains(&bytes) => {
                UnderWay { sealed: true, ..UnderWay::new(Awaited::Idle, None, bytes) }
            }
            Some(greeted) if bytes >= greeted + FINISHED => UnderWay::new(Awaited::Request, None, bytes),
            Some(_) => UnderWay::new(Awaited::Handshake, Some(flow.start), bytes),
            None if self.session.is_unseen() => UnderWay::new(Awaited::Request, None, bytes),
            None if self.session.client().is_some() => return None, // the server's turn
            None => UnderWay::new(Awaited::Handshake, Some(flow.start), bytes),
        };
        Some((client, under_way))
    }

    /// Who sent the ClientHello, else who opened the connection, else who was heard first.
    fn client(&self, flow: &FlowInfo) -> Direction {
        self.session.client().or(flow.opened_by).unwrap_or(Direction::Forward)
    }

    pub(super) fn gap(
        &mut self,
        flow: &FlowInfo,
        gap: Gap,
        shared: &mut Shared,
        common: &mut Common,
        counters: &mut Counters,
    ) {
        self.with(flow, gap.now, shared, counters, |session, counters, sink| {
            session.gap(&gap, &mut common.context(gap.now), counters, sink);
        });
    }

    pub(super) fn close(
        &mut self,
        flow: &FlowInfo,
        direction: Direction,
        how: Close,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        match how {
            Close::Finished => {
                self.with(flow, now, shared, counters, |session, counters, sink| {
                    session.close(direction, counters, sink);
                });
            }
            Close::Reset => {
                self.reset_by.get_or_insert(direction);
                if let Some(inside) = &mut self.inside {
                    super::close(flow, inside, direction, how, now, shared, counters);
                }
            }
        }
    }

    pub(super) fn end(
        &mut self,
        flow: &FlowInfo,
        end: End,
        now: Timestamp,
        shared: &mut Shared,
        common: &mut Common,
        counters: &mut Counters,
    ) {
        self.with(flow, now, shared, counters, |session, counters, sink| {
            session.end(now, &mut common.context(now), counters, sink);
        });
        shared.tls = Some(self.session.described().clone());
        if let Some(inside) = &mut self.inside {
            super::finish(flow, inside, end, now, shared, counters);
        }
        shared.tls = None;
        if self.inside.is_none() {
            counters.count(Counter::FlowsNotHttp);
            let client = self.client(flow);
            let ended = super::slow::ending(end, self.reset_by, client);
            self.tell(flow, Some(ended), None, now, shared);
        }
    }
}
