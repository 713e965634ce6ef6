//! The reading of a source: frames counted, decoded, and their segments given to who takes them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::timeline::Timeline;
use super::{Outcome, Progress, Settings};
use crate::evidence::Tap;
use crate::metrics::{Board, Publisher};
use crate::packet::{Decoder, Segment};
use crate::source::{Advance, Frame, Source, SourceError};
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// Frames between two looks at the stop flag and the progress.
const FRAMES_A_TURN: u32 = 1024;

/// Packet time after which a live reader hands on the little that it has.
const TURN: Duration = Duration::from_millis(20);

/// Takes the segments of a source.
pub(super) trait Taker {
    /// Takes a segment, at the traffic's time `now`; true when enough has gathered to be handed on.
    fn segment(&mut self, segment: &Segment<'_>, now: Timestamp) -> bool;

    /// Hands on what has gathered; false when nobody wants it any more. The source is `quiet` when nothing comes.
    fn hand_on(&mut self, now: Timestamp, quiet: bool, counters: &mut Counters) -> bool;

    /// Hands on the rest: there will be no more.
    fn finish(&mut self, now: Timestamp, counters: &mut Counters);
}

/// The stages from frame to segment, for one source.
pub(super) struct Front {
    decoder: Decoder,
    counters: Counters,
    errors: Vec<SourceError>,
    first: Option<Timestamp>,
    timeline: Timeline,
    publisher: Option<Publisher>,
    /// Fragments are the same for all: the first one tells of them.
    first_of_all: bool,
    tap: Option<Tap>,
    /// What came since the last look at the stop flag and the progress.
    turn: u32,
    /// Live, when the little that there is will be handed on.
    due: Timestamp,
}

impl Front {
    /// One for each of `count` sources of the same traffic.
    pub(super) fn several(settings: &Settings, count: usize) -> Vec<Front> {
        let first = Decoder::new(settings.packet.clone());
        let mut decoders: Vec<_> = (1..count).map(|_| first.beside()).collect();
        decoders.push(first);
        let front = |(decoder, number)| Front {
            decoder,
            counters: Counters::new(),
            errors: Vec::new(),
            first: None,
            timeline: Timeline::default(),
            publisher: settings.board.as_ref().map(Board::publisher),
            first_of_all: number == 0,
            tap: settings.evidence.clone(),
            turn: 0,
            due: Timestamp::MAX,
        };
        decoders.into_iter().zip(0..).map(front).collect()
    }

    /// Reads a source to its end, or until `stop` is set or nobody takes what it gives.
    pub(super) fn read(
        &mut self,
        source: &mut dyn Source,
        taker: &mut impl Taker,
        settings: &Settings,
        stop: &AtomicBool,
        progress: &mut Progress<'_>,
    ) {
        while self.round(source, taker, settings, stop, progress) {}
        self.end(source, taker);
    }

    /// Reads until something was handed on; false when that was the last, and [`Self::end`] comes.
    pub(super) fn round(
        &mut self,
        source: &mut dyn Source,
        taker: &mut impl Taker,
        settings: &Settings,
        stop: &AtomicBool,
        progress: &mut Progress<'_>,
    ) -> bool {
        loop {
            let mut full = false;
            let quiet = match source.advance() {
                Ok(Advance::Frame) => {
                    let frame = self.note(source.frame());
                    let now = self.timeline.now();
                    if let Some(segment) = self.decoder.decode(&frame, &mut self.counters) {
                        let much = self.tap.as_mut().is_some_and(|tap| tap.take(&frame, &segment, now));
                        full = taker.segment(&segment, now) || much;
                    } else if let Some(tap) = &mut self.tap
                        && let Some(ends) = self.decoder.take_fragment()
                    {
                        full = tap.take_fragment(&frame, ends, now);
                    }
                    false
                }
                Ok(Advance::Secrets) => {
                    settings.keys.add(source.secrets(), self.since());
                    false
                }
                Ok(Advance::Idle(now)) => {
                    self.timeline.place(now, &mut self.counters);
                    true
                }
                Ok(Advance::End) => return false,
                Err(error) => {
                    self.errors.push(error);
                    false
                }
            };
            self.turn += 1;
            let now = self.timeline.now();
            let look = quiet || self.turn >= FRAMES_A_TURN || now >= self.due;
            let goes = full || look;
            if goes {
                self.hand_on();
                if !taker.hand_on(now, quiet, &mut self.counters) {
                    return false;
                }
            }
            if self.turn == 1 && settings.live {
                self.due = now + TURN;
            }
            if look {
                (self.turn, self.due) = (0, Timestamp::MAX);
                progress(source, &self.counters);
                self.publish(source, settings);
                // A live source heeds the flag itself: it still gives what the kernel captured before it was set, so
                // that nothing is lost at the end without being counted.
                if !settings.live && stop.load(Ordering::Relaxed) {
                    return false;
                }
            }
            if goes {
                return true;
            }
        }
    }

    /// Hands on the rest.
    pub(super) fn end(&mut self, source: &mut dyn Source, taker: &mut impl Taker) {
        self.hand_on();
        taker.finish(self.timeline.now(), &mut self.counters);
        source.report(&mut self.counters);
    }

    /// The copies of the frames go before their segments, so that nothing is told of a frame that is not there.
    fn hand_on(&mut self) {
        if let Some(tap) = &mut self.tap {
            tap.hand_on(&mut self.counters);
        }
    }

    /// Tells what was counted so far, with what the kernel counted.
    fn publish(&mut self, source: &mut dyn Source, settings: &Settings) {
        let Some(publisher) = Publisher::due(&mut self.publisher) else { return };
        source.report(&mut self.counters);
        let mut counters = self.counters.clone();
        if self.first_of_all {
            settings.keys.report(&mut counters);
        }
        publisher.publish(&counters);
        if self.first_of_all {
            publisher.publish_tables(vec![self.decoder.fragments()]);
        }
    }

    /// Counts a frame; gives it with its time as it is to be told.
    #[inline]
    fn note<'f>(&mut self, frame: Frame<'f>) -> Frame<'f> {
        self.counters.count(Counter::Frames);
        self.counters.add(Counter::FrameBytes, frame.data.len() as u64);
        if frame.original_length as usize > frame.data.len() {
            self.counters.count(Counter::FramesSnapped);
        }
        let before = self.timeline.now();
        let time = self.timeline.place(frame.time, &mut self.counters);
        if time < before {
            self.counters.count(Counter::FramesOutOfOrder);
        }
        self.first.get_or_insert(time);
        Frame { time, ..frame }
    }

    /// The traffic's time from after which secrets that come now are visible ([`crate::tls::keylog::KeyLog::add`]).
    fn since(&self) -> Option<Timestamp> {
        self.first.map(|_| self.timeline.now())
    }

    /// What the reading of all sources came to.
    pub(super) fn conclude(mut fronts: Vec<Front>) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some(front) = fronts.first_mut() {
            front.decoder.finish(&mut front.counters);
        }
        let mut unknown = std::collections::BTreeMap::<_, (String, u64)>::new();
        for mut front in fronts {
            outcome.counters.merge(&front.counters);
            outcome.errors.append(&mut front.errors);
            for kind in front.decoder.unknown_link_types() {
                let named = unknown.entry(kind.link).or_insert_with(|| (kind.name.into_owned(), 0));
                named.1 += kind.frames;
            }
            if let Some(first) = front.first {
                let last = front.timeline.now();
                outcome.span = Some(match outcome.span {
                    Some((begin, end)) => (begin.min(first), end.max(last)),
                    None => (first, last),
                });
            }
        }
        outcome.unknown_links = unknown.into_values().collect();
        outcome
    }
}
