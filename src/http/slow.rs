//! Connections that keep a server waiting: heads and bodies that come byte by byte, answers that are not taken, and
//! connections that are opened and left alone. No call comes of them, or none yet; a [`Connection`] tells of them.
//!
//! What is told is conspicuous by these settings and no more: one of it is a telephone in a tunnel, many at once are an
//! attack, and to tell these apart is the detector's. Time is measured where the client is at fault alone: not while the
//! server takes no more of a body, and not while it thinks about an answer (long polling, event streams).
//!
//! A server may lose patience before that, and a client may give up and come again: a head that its connection ended in
//! is told of then, if it took a quarter of the time or the server said so (408), and a body if the server said so or it came byte by
//! byte to the end. In HTTP/2 a server says so by resetting the stream; the connection may last, and is told of at its end.
//!
//! Of TLS that keeps what is in it, it is seen whether the client ends its handshake, whether it takes what comes, and
//! whether what it sends are dribs and drabs to which the server says nothing.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::{Awaited, Connection, Ending, Record, Wait};
use crate::stats::{Counter, Counters};
use crate::stream::{Close, Direction, End, FlowInfo};
use crate::time::Timestamp;

use super::Shared;
use super::conversation::community_id;

/// From when on a connection is told of. Worst-case memory: 256 bytes for each flow in the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Seconds that the head of a request may take, and what a client owes to a handshake of TLS; a quarter of them where the connection
    /// ends in it. 0 tells of none; so with the others.
    pub head_seconds: u32,
    /// Seconds that the body of a request may come more slowly than `rate`, and what cannot be read of TLS.
    pub body_seconds: u32,
    /// Seconds that a client may take its answer more slowly than `rate` because it keeps its window closed, that of TCP or
    /// those of HTTP/2, and that it may acknowledge nothing.
    pub read_seconds: u32,
    /// Bytes a second, for bodies and answers.
    pub rate: u32,
    /// Seconds that a connection may be open without a byte from the server, and of the client none, or nothing that begins a request;
    /// in HTTP/2 without a request since either end last said anything.
    pub unused_seconds: u32,
    /// Seconds that a connection on which one call at most was made may be left alone, or one in TLS after its handshake.
    pub idle_seconds: u32,
    /// Seconds after which a connection that goes on like this is told of again.
    pub report_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            head_seconds: 10,
            body_seconds: 20,
            read_seconds: 20,
            rate: 200,
            unused_seconds: 30,
            idle_seconds: 90,
            report_seconds: 60,
        }
    }
}

/// Of so many times as many streams a connection is told of as if it had not been before.
const GROWN: u32 = 8;

/// What came within this time came to the end.
pub(super) const LATELY: Duration = Duration::from_secs(2);

impl Settings {
    /// Seconds after which to look for the first time at what a client has begun and not finished.
    pub(super) fn first_look(&self) -> u32 {
        [self.head_seconds, self.body_seconds].into_iter().filter(|&seconds| seconds > 0).min().unwrap_or(0)
    }
}

/// What is under way on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnderWay {
    pub(super) awaited: Awaited,
    /// When what is awaited began; none where nothing did.
    pub(super) since: Option<Timestamp>,
    /// Bytes of it so far.
    pub(super) bytes: u64,
    /// Streams of HTTP/2 that wait so.
    pub(super) streams: u32,
    /// Since when the client's windows of HTTP/2 are closed, and what the server had sent by then.
    pub(super) held: Option<(Timestamp, u64)>,
    /// How often they were closed.
    pub(super) closures: u32,
    /// Whether anything was asked for cannot be seen.
    pub(super) sealed: bool,
}

impl UnderWay {
    pub(super) fn new(awaited: Awaited, since: Option<Timestamp>, bytes: u64) -> UnderWay {
        UnderWay { awaited, since, bytes, streams: 1, held: None, closures: 0, sealed: false }
    }
}

/// What is remembered of a connection that was looked at.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// When it was looked at, and what was under way then.
    look: Option<(Timestamp, UnderWay)>,
    /// When the client began to keep its window closed, and what the server had sent by then.
    stall: Option<(Timestamp, u64)>,
    /// The client's window was closed since the last look.
    closed: bool,
    /// The last look at a body found few bytes, but some.
    dripped: bool,
    /// Since when nothing came from the client, and what it had sent by then.
    idle: Option<(Timestamp, u64)>,
    /// Since when the client acknowledges nothing, and how far it had by then.
    silence: Option<(Timestamp, u64)>,
    /// Since when what the client sends are dribs, what it had sent by then, and how often that was seen.
    dribs: Option<(Timestamp, u64, u32)>,
    /// What the server had sent at the last look.
    sent: u64,
    /// When it was last told of.
    told: Option<Timestamp>,
    part: u32,
    /// How grave the gravest was that was told of it.
    gravest: u8,
    /// The most streams of which it was told.
    streams: u32,
    /// Streams of which it was told that the server broke them off.
    broken_off: u32,
    /// Who reset it first, and the bytes that both had sent by then.
    reset: Option<(Direction, u64)>,
    /// What the server waited for when the client ended.
    unfinished: Option<Wait>,
}

impl Watch {
    /// The client's window has closed.
    pub(super) fn window_closed(&mut self, flow: &FlowInfo, client: Direction, now: Timestamp, settings: &Settings) {
        self.closed = true;
        self.stall.get_or_insert((now, flow.traffic[client.opposite().index()].bytes));
        ask(flow, now, settings.read_seconds);
    }

    /// The server sends again what the client has not acknowledged.
    pub(super) fn repeated(&mut self, flow: &FlowInfo, server: Direction, now: Timestamp, settings: &Settings) {
        self.silence.get_or_insert((now, flow.acknowledged[server.index()]));
        ask(flow, now, settings.read_seconds);
    }

    /// A direction ended.
    pub(super) fn close(&mut self, flow: &FlowInfo, direction: Direction, how: Close) {
        // One that was ignored is none.
        if how == Close::Reset && !self.is_reset(flow) {
            self.reset = Some((direction, sent(flow)));
        }
    }

    fn is_reset(&self, flow: &FlowInfo) -> bool {
        self.reset.is_some_and(|(_, before)| before == sent(flow))
    }

    /// Nobody waits any more for this of the client: it was reset, and nothing came since; both ends have hung up; or the
    /// server has, of which nothing was wanted.
    pub(super) fn is_over(&self, flow: &FlowInfo, client: Direction, awaited: Awaited) -> bool {
        let idle = awaited == Awaited::Idle && flow.finished[client.opposite().index()];
        self.is_reset(flow) || flow.finished == [true; 2] || idle
    }

    /// Tells whether the connection was told of before, and for nothing less than this.
    fn is_again(&mut self, wait: &Wait) -> bool {
        let grave = match wait.awaited {
            Awaited::Idle => 0,
            Awaited::Request => 1,
            Awaited::ResponseHead | Awaited::ResponseBody if wait.window_closed => 2,
            Awaited::ResponseHead | Awaited::ResponseBody => u8::from(wait.unacknowledged),
            Awaited::RequestHead | Awaited::RequestBody | Awaited::Handshake => 2,
        };
        let (before, streams) = (self.gravest, self.streams);
        // What grows little by little is told of once.
        let more = grave > before || (grave == before && wait.streams >= streams.max(1).saturating_mul(GROWN));
        let again = self.part > 0 && !more;
        if !again {
            (self.gravest, self.streams) = (grave.max(before), wait.streams.max(streams));
        }
        again
    }

    /// Streams whose bodies came so slowly that the server broke them off, the last of them at `then`, if they are more than was told.
    pub(super) fn look_back(
        &mut self,
        flow: &FlowInfo,
        (under_way, then): (UnderWay, Timestamp),
        now: Timestamp,
        settings: &Settings,
    ) -> Option<Wait> {
        let more = under_way.streams.saturating_sub(self.broken_off);
        if more == 0 {
            return None;
        }
        let again = Duration::from_secs(settings.report_seconds.max(1).into());
        if let Some(next) = self.told.map(|told| told + again).filter(|&next| now < next) {
            flow.wake_at(next);
            return None;
        }
        self.broken_off = under_way.streams;
        // Each is one more, as it would be on a connection of its own.
        let wait = self.due(wait_of(UnderWay { streams: more, ..under_way }, then), now);
        Some(Wait { again: false, ..wait })
    }

    /// Is told now.
    fn due(&mut self, mut wait: Wait, now: Timestamp) -> Wait {
        wait.again = self.is_again(&wait);
        self.told = Some(now);
        self.part = self.part.saturating_add(1);
        wait
    }

    /// The client ends in the middle of a request.
    pub(super) fn unfinished(&mut self, under_way: UnderWay, now: Timestamp) {
        self.unfinished.get_or_insert(wait_of(under_way, now));
    }

    /// The server broke streams off, of which some were not told of.
    pub(super) fn note_broken_off(&mut self, under_way: UnderWay, then: Timestamp) {
        let more = under_way.streams.saturating_sub(self.broken_off);
        if more > 0 {
            self.broken_off = under_way.streams;
            self.unfinished(UnderWay { streams: more, ..under_way }, then);
        }
    }

    /// Looks at a connection of `calls` calls: what it waits for, if that is worth telling of and was not told of lately.
    pub(super) fn look(
        &mut self,
        flow: &FlowInfo,
        (client, under_way): (Direction, UnderWay),
        calls: u32,
        now: Timestamp,
        settings: &Settings,
    ) -> Option<Wait> {
        let wait = self.judge(flow, client, under_way, calls, now, settings);
        self.look = Some((now, under_way));
        self.sent = flow.traffic[client.opposite().index()].bytes;
        let wait = wait?;
        let again = Duration::from_secs(settings.report_seconds.max(1).into());
        match self.told.map(|told| told + again).filter(|&next| now < next) {
            Some(next) => {
                flow.wake_at(next);
                None
            }
            None => {
                flow.wake_at(now + again);
                Some(self.due(wait, now))
            }
        }
    }

    /// Tells of a connection that [`Watch::look`] found worth it.
    #[allow(clippy::too_many_arguments, reason = "all of it describes one wait")]
    pub(super) fn tell(
        &self,
        flow: &FlowInfo,
        client: Direction,
        position: u32,
        wait: Wait,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let part = self.part.saturating_sub(1);
        let mut connection = record(flow, client, position, part, wait, now);
        (connection.open, connection.tls) = (true, shared.tls.clone());
        counters.count(Counter::Connections);
        shared.records.push(Record::from(connection));
    }

    /// The flow is over, and its calls are given out: the last record of what was told of, or that it ended in the middle of
    /// a request. `under_way` is how it stood before.
    #[allow(clippy::too_many_arguments, reason = "all of it describes one end")]
    pub(super) fn end(
        &mut self,
        flow: &FlowInfo,
        (client, under_way): (Direction, Option<UnderWay>),
        position: u32,
        end: End,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let wait = match (self.part, under_way) {
            (0, _) => self.unfinished,
            (_, under_way) => self
                .unfinished
                .or_else(|| under_way.map(|before| self.last(flow, client, before, now, &shared.settings.slow))),
        };
        let Some(mut wait) = wait else { return };
        wait.again = self.is_again(&wait);
        let mut connection = record(flow, client, position, self.part, wait, now);
        connection.tls = shared.tls.clone();
        connection.ended = Some(ending(end, self.reset.map(|(by, _)| by), client));
        counters.count(Counter::Connections);
        shared.records.push(Record::from(connection));
    }

    /// What a connection that was told of waited for at its end.
    fn last(
        &mut self,
        flow: &FlowInfo,
        client: Direction,
        under_way: UnderWay,
        now: Timestamp,
        settings: &Settings,
    ) -> Wait {
        let sent = flow.traffic[client.opposite().index()].bytes;
        let answer = matches!(under_way.awaited, Awaited::ResponseHead | Awaited::ResponseBody);
        let (since, bytes) = match (self.stall.filter(|_| answer), under_way.since) {
            (Some((since, before)), _) => (since, sent.saturating_sub(before)),
            (None, Some(since)) => (since, under_way.bytes),
            (None, None) => (self.idle.map_or(flow.start, |idle| idle.0), 0),
        };
        let silent = self.unacknowledged(flow, client, now, settings);
        silent.unwrap_or_else(|| self.wait(flow, client, under_way, since, bytes, now))
    }

    /// What a connection waits for, if it has kept the server waiting for too long. Asks to be woken when that may be.
    fn judge(
        &mut self,
        flow: &FlowInfo,
        client: Direction,
        under_way: UnderWay,
        calls: u32,
        now: Timestamp,
        settings: &Settings,
    ) -> Option<Wait> {
        let UnderWay { awaited, since, bytes, held, closures, .. } = under_way;
        let server = client.opposite();
        if let Some(wait) = self.unacknowledged(flow, client, now, settings) {
            return Some(wait);
        }
        let closed_before = self.look.map_or(0, |(_, before)| before.closures);
        if held.is_some() {
            self.stall = self.stall.or(held);
        }
        self.closed |= closures != closed_before;
        // Of what TLS keeps, all that the client does not take is an answer.
        let keeps = awaited == Awaited::Request || under_way.sealed;
        let awaited = if keeps && self.stall.is_some() { Awaited::ResponseBody } else { awaited };
        let under_way = UnderWay { awaited, ..under_way };
        let last = self.look.filter(|(_, before)| (before.awaited, before.since) == (awaited, since));
        let slow = |bytes: u64, time: Duration| (bytes as f64) < f64::from(settings.rate) * time.as_secs_f64();
        if awaited != Awaited::Idle {
            self.idle = None;
        }
        match awaited {
            Awaited::RequestHead | Awaited::Handshake => {
                let since = since?;
                let patience = patience(settings.head_seconds)?;
                if now.since(since) < patience {
                    flow.wake_at(since + patience);
                    return None;
                }
                Some(self.wait(flow, client, under_way, since, bytes, now))
            }
            Awaited::RequestBody => {
                let since = since?;
                let patience = patience(settings.body_seconds)?;
                ask(flow, now, settings.body_seconds);
                let time = now.since(since);
                if time < patience || flow.closed_windows[server.index()] {
                    return None;
                }
                // Few bytes in one look after the other show that the line is there, and that the client wants it so; a line
                // that breaks off has none in the second.
                let lately = last.map(|(time, before)| (bytes.saturating_sub(before.bytes), now.since(time)));
                let few = |(bytes, time): (u64, Duration)| bytes > 0 && time * 2 >= patience && slow(bytes, time);
                let drips = lately.is_some_and(few);
                let dripped = std::mem::replace(&mut self.dripped, drips);
                let slow = slow(bytes, time) || (drips && dripped);
                slow.then(|| self.wait(flow, client, under_way, since, bytes, now))
            }
            Awaited::ResponseHead | Awaited::ResponseBody => {
                let (since, before) = self.stall?;
                let patience = patience(settings.read_seconds)?;
                if now.since(since) < patience {
                    flow.wake_at(since + patience);
                    return None;
                }
                let sent = flow.traffic[server.index()].bytes;
                let shut = flow.closed_windows[client.index()] || held.is_some();
                let closed = std::mem::replace(&mut self.closed, shut) || shut;
                let taken = sent.saturating_sub(before);
                if !closed || !slow(taken, now.since(since)) {
                    // It reads; from now on it is measured anew.
                    self.stall = shut.then_some((now, sent));
                    if self.stall.is_some() {
                        ask(flow, now, settings.read_seconds);
                    }
                    return None;
                }
                ask(flow, now, settings.read_seconds);
                Some(self.wait(flow, client, under_way, since, taken, now))
            }
            Awaited::Request => {
                let patience = patience(settings.body_seconds)?;
                let answered = flow.traffic[server.index()].bytes != self.sent;
                let Some((time, before)) = last else {
                    ask(flow, now, settings.body_seconds);
                    return None;
                };
                let (came, took) = (bytes.saturating_sub(before.bytes), now.since(time));
                if answered || came == 0 || took * 2 < patience || !slow(came, took) {
                    self.dribs = None;
                    return None;
                }
                // It may be: from now on it is looked at more often.
                ask(flow, now, settings.body_seconds);
                let (since, before, seen) = self.dribs.unwrap_or((time, before.bytes, 0));
                self.dribs = Some((since, before, seen.saturating_add(1)));
                (seen > 0).then(|| self.wait(flow, client, under_way, since, bytes.saturating_sub(before), now))
            }
            Awaited::Idle => {
                // On which nothing was ever asked for is not in use.
                let seconds = if calls == 0 { settings.unused_seconds } else { settings.idle_seconds };
                let patience = patience(seconds).filter(|_| calls <= 1)?;
                // Of what TLS keeps, what the server sends may be what was asked for.
                let sent = if under_way.sealed { sent(flow) } else { flow.traffic[client.index()].bytes };
                let (since, _) = *self.idle.get_or_insert((since.unwrap_or(now), sent));
                if self.idle.is_some_and(|(_, before)| before != sent) {
                    self.idle = Some((under_way.since.unwrap_or(now), sent));
                    ask(flow, now, seconds);
                    return None;
                }
                if now.since(since) < patience {
                    flow.wake_at(since + patience);
                    return None;
                }
                Some(self.wait(flow, client, under_way, since, 0, now))
            }
        }
    }

    /// What the client has been sent and acknowledges nothing of, its window open.
    fn unacknowledged(
        &mut self,
        flow: &FlowInfo,
        client: Direction,
        now: Timestamp,
        settings: &Settings,
    ) -> Option<Wait> {
        let (since, before) = self.silence?;
        let server = client.opposite().index();
        let (acknowledged, sent) = (flow.acknowledged[server], flow.traffic[server].bytes);
        // Where the client's half of the flow is not seen, nor are its acknowledgments.
        if acknowledged != before
            || sent <= acknowledged
            || flow.closed_windows[client.index()]
            || flow.seen != [true; 2]
        {
            self.silence = None;
            return None;
        }
        let patience = patience(settings.read_seconds)?;
        if now.since(since) < patience {
            flow.wake_at(since + patience);
            return None;
        }
        let awaited = Awaited::ResponseBody;
        Some(Wait { awaited, seconds: seconds(since, now), unacknowledged: true, ..Wait::default() })
    }

    fn wait(
        &self,
        flow: &FlowInfo,
        client: Direction,
        under_way: UnderWay,
        since: Timestamp,
        bytes: u64,
        now: Timestamp,
    ) -> Wait {
        let receiver = match under_way.awaited {
            Awaited::RequestHead | Awaited::RequestBody | Awaited::Handshake | Awaited::Request => client.opposite(),
            Awaited::ResponseHead | Awaited::ResponseBody => client,
            Awaited::Idle => {
                return Wait { seconds: seconds(since, now), bytes, ..Wait::default() };
            }
        };
        let window_closed = flow.closed_windows[receiver.index()] || (receiver == client && self.stall.is_some());
        Wait { bytes, window_closed, ..wait_of(UnderWay { since: Some(since), ..under_way }, now) }
    }
}

/// What was awaited until a moment.
fn wait_of(under_way: UnderWay, then: Timestamp) -> Wait {
    let UnderWay { awaited, since, bytes, streams, .. } = under_way;
    let seconds = since.map_or(0.0, |since| seconds(since, then));
    let streams = if streams > 1 { streams } else { 0 };
    Wait { awaited, seconds, bytes, streams, ..Wait::default() }
}

/// The record of a connection that waits.
fn record(flow: &FlowInfo, client: Direction, position: u32, part: u32, wait: Wait, now: Timestamp) -> Connection {
    Connection { position, calls: position, waits: Some(wait), part, ..connection(flow, client, now) }
}

/// True when a connection that ends in this is worth telling of. `timed_out`: the server said that it lost patience.
/// `asked` is when the client last sent something of it.
pub(super) fn is_unfinished(
    under_way: &UnderWay,
    timed_out: bool,
    asked: Timestamp,
    now: Timestamp,
    settings: &Settings,
) -> bool {
    let Some(since) = under_way.since else { return false };
    match under_way.awaited {
        Awaited::RequestHead => {
            let patience = patience(settings.head_seconds);
            patience.is_some_and(|patience| timed_out || now.since(since) >= patience / 4)
        }
        Awaited::RequestBody if timed_out => settings.body_seconds > 0,
        Awaited::RequestBody => is_dribble(since, under_way.bytes, asked, now, settings),
        _ => false,
    }
}

/// True when the body of a request came so slowly that a server which breaks it off has lost patience with it.
pub(super) fn is_slow_body(since: Timestamp, bytes: u64, now: Timestamp, settings: &Settings) -> bool {
    let time = now.since(since);
    patience(settings.body_seconds).is_some_and(|patience| time >= patience / 4)
        && (bytes as f64) < f64::from(settings.rate) * time.as_secs_f64()
}

/// True when such a body that its client gives up came to the end: what a line broke off in was silent by then.
pub(super) fn is_dribble(since: Timestamp, bytes: u64, asked: Timestamp, now: Timestamp, settings: &Settings) -> bool {
    bytes > 0 && now.since(asked) <= LATELY && is_slow_body(since, bytes, now, settings)
}

/// Bytes that both ends have sent.
fn sent(flow: &FlowInfo) -> u64 {
    flow.traffic.iter().map(|traffic| traffic.bytes).sum()
}

/// A connection of which nothing came for long after its handshake, or nothing that is the beginning of a request: line
/// ends, or what is no HTTP, and little of it, while the server said nothing.
pub(super) fn unused(flow: &FlowInfo, now: Timestamp, shared: &mut Shared, counters: &mut Counters) {
    let client = flow.opened_by.unwrap_or(Direction::Forward);
    let seconds = seconds(flow.start, now);
    let bytes = flow.traffic[client.index()].bytes;
    if flow.finished == [true; 2]
        || flow.seen[client.opposite().index()]
        || bytes as f64 >= f64::from(shared.settings.slow.rate) * seconds
    {
        return;
    }
    let awaited = if bytes > 0 { Awaited::Request } else { Awaited::Idle };
    let wait = Wait { awaited, seconds, bytes, ..Wait::default() };
    counters.count(Counter::Connections);
    let connection = Connection { waits: Some(wait), open: true, ..connection(flow, client, now) };
    shared.records.push(Record::from(connection));
}

/// What is known of a flow, as a record of a connection made at `now`.
pub(super) fn connection(flow: &FlowInfo, client: Direction, now: Timestamp) -> Connection {
    let (source, destination) = flow.ends(client);
    Connection {
        flow: flow.id,
        community_id: community_id(source, destination),
        start_time: flow.start,
        end_time: now,
        client: source.into(),
        server: destination.into(),
        encapsulation: flow.encapsulation.clone(),
        handshake: !flow.midstream(),
        sent: flow.traffic[client.index()],
        received: flow.traffic[client.opposite().index()],
        ..Connection::default()
    }
}

/// How a connection ended, of which one side may have been reset.
pub(super) fn ending(end: End, reset_by: Option<Direction>, client: Direction) -> Ending {
    match (end, reset_by) {
        (End::Closed, Some(by)) if by == client => Ending::ResetByClient,
        (End::Closed, Some(_)) => Ending::ResetByServer,
        (End::Closed, None) => Ending::Finished,
        (End::TimedOut, _) => Ending::TimedOut,
        (End::Reused, _) => Ending::Reused,
        (End::Evicted, _) => Ending::Evicted,
        (End::CaptureEnded, _) => Ending::CaptureEnded,
    }
}

/// Asks to be woken in so many seconds; 0 asks for nothing.
pub(super) fn ask(flow: &FlowInfo, now: Timestamp, seconds: u32) {
    if let Some(patience) = patience(seconds) {
        flow.wake_at(now + patience);
    }
}

fn patience(seconds: u32) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

fn seconds(since: Timestamp, now: Timestamp) -> f64 {
    now.since(since).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_no_larger_than_the_settings_say() {
        let size = size_of::<Watch>();
        assert!(size <= 256, "{size} bytes");
    }
}
