//! Several readers and workers against one; what is full.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::alone::Sequencer;
use super::*;
use crate::call::{Call, Connection, FlowId};
use crate::inspect::{Inspector, Rules};
use crate::key::Key;
use crate::source::{Advance, Frame, LinkType};
use crate::stats::Counter;

/// A frame of the capture that comes with the program.
type Held = (Timestamp, LinkType, Vec<u8>);

/// Some of its frames.
fn frames(most: usize) -> Vec<Held> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/three-families.pcap.zst");
    let mut source = crate::source::open(&[path], &Default::default());
    let mut frames = Vec::new();
    while frames.len() < most && source.advance() == Ok(Advance::Frame) {
        let frame = source.frame();
        frames.push((frame.time, frame.link, frame.data.to_vec()));
    }
    frames
}

/// Gives frames as fast as they are taken.
struct Given {
    frames: Vec<Held>,
    next: usize,
}

impl Given {
    fn boxed(frames: Vec<Held>) -> Box<dyn Source> {
        Box::new(Given { frames, next: 0 })
    }
}

impl Source for Given {
    fn advance(&mut self) -> Result<Advance, SourceError> {
        self.next += 1;
        Ok(if self.next <= self.frames.len() { Advance::Frame } else { Advance::End })
    }

    fn frame(&self) -> Frame<'_> {
        let (time, link, data) = &self.frames[self.next - 1];
        Frame { time: *time, link: *link, data, original_length: data.len() as u32 }
    }

    fn report(&mut self, _: &mut Counters) {}

    fn progress(&self) -> Option<(u64, u64)> {
        Some((self.next as u64, self.frames.len() as u64))
    }
}

/// Keeps the calls as text, and dawdles at the first.
#[derive(Default)]
struct Kept {
    calls: Vec<String>,
    dawdle: Duration,
    watermark: Timestamp,
    /// How often it was told of something.
    told: usize,
    finished: bool,
}

impl Consumer for Kept {
    fn records(&mut self, records: &mut Vec<Record>, watermark: Timestamp) -> io::Result<()> {
        std::thread::sleep(std::mem::take(&mut self.dawdle));
        assert!(watermark >= self.watermark, "time goes on");
        assert!(records.iter().all(|record| record.end_time() >= self.watermark), "what comes was not said to be over");
        self.watermark = watermark;
        self.told += 1;
        self.calls.extend(records.iter().map(|record| format!("{record:?}")));
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.finished = true;
        Ok(())
    }
}

fn run_through(mut sources: Vec<Box<dyn Source>>, live: bool, workers: usize, kept: &mut Kept) -> Outcome {
    let rules = Rules::load(None).expect("the compiled-in rules are well");
    let inspector = Arc::new(Inspector::new(&rules, Default::default(), Key::from_bytes([1; 16])));
    let settings = Settings { live, workers, ..Settings::default() };
    let outcome = run(&mut sources, &settings, &inspector, kept, &AtomicBool::new(false), &mut |_, _| {});
    assert!(kept.finished && outcome.output.is_none() && outcome.errors.is_empty());
    outcome
}

#[test]
fn readers_that_share_the_frames_give_the_calls_of_one() {
    let frames = frames(30_000);
    let mut alone = Kept::default();
    let expected = run_through(vec![Given::boxed(frames.clone())], false, 1, &mut alone);
    assert!(alone.calls.len() > 1_000);
    for (readers, workers) in [(1, 2), (1, 3), (1, 8), (2, 1), (2, 2), (3, 4)] {
        // As tunnels do: which reader a packet comes to says nothing of its flow. One reader has much less to do.
        let mut parts = vec![Vec::new(); readers];
        for (number, frame) in frames.iter().enumerate() {
            let place = number.wrapping_mul(0x9e37_79b9) >> 7;
            parts[if place % 11 == 0 { readers - 1 } else { place % readers.div_ceil(2) }].push(frame.clone());
        }
        let mut kept = Kept::default();
        let outcome = run_through(parts.into_iter().map(Given::boxed).collect(), false, workers, &mut kept);
        assert!(kept.calls == alone.calls, "{readers} readers and {workers} workers");
        // What is remembered of bodies is each worker's own.
        let mut counters = outcome.counters.clone();
        counters.set(Counter::BodiesRecalled, expected.counters.value(Counter::BodiesRecalled));
        assert!(counters.nonzero().eq(expected.counters.nonzero()));
        assert_eq!(outcome.span, expected.span);
    }
}

/// Takes its time, now and then.
struct Slow {
    left: usize,
    calls: usize,
}

impl Consumer for Slow {
    fn records(&mut self, records: &mut Vec<Record>, _: Timestamp) -> io::Result<()> {
        self.calls += records.len();
        self.left = self.left.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros([0, 0, 300, 2_000][(self.left >> 60) % 4]));
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_worker_of_a_replay_is_left_waiting() {
    let frames = frames(6_000);
    let rules = Rules::load(None).expect("the compiled-in rules are well");
    let inspector = Arc::new(Inspector::new(&rules, Default::default(), Key::from_bytes([1; 16])));
    let mut expected = None;
    for round in 0..120 {
        let settings = Settings { workers: 2 + round % 4, ..Settings::default() };
        // Ends anywhere: with much under way and with nothing.
        let some = frames[..frames.len() - round % 8 * 100].to_vec();
        let mut slow = Slow { left: round, calls: 0 };
        run(&mut [Given::boxed(some)], &settings, &inspector, &mut slow, &AtomicBool::new(false), &mut |_, _| {});
        if round % 8 == 0 {
            assert_eq!(slow.calls, *expected.get_or_insert(slow.calls), "round {round}");
        }
    }
}

/// Takes some calls, and then fails in one way or another.
struct Failing {
    left: usize,
    panics: bool,
}

impl Consumer for Failing {
    fn records(&mut self, records: &mut Vec<Record>, _: Timestamp) -> io::Result<()> {
        self.left = self.left.saturating_sub(records.len());
        assert!(self.left > 0 || !self.panics, "on purpose");
        if self.left > 0 { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn finish(&mut self) -> io::Result<()> {
        unreachable!("it failed before")
    }
}

#[test]
fn a_replay_ends_when_its_consumer_fails() {
    let frames = frames(30_000);
    let rules = Rules::load(None).expect("the compiled-in rules are well");
    let inspector = Arc::new(Inspector::new(&rules, Default::default(), Key::from_bytes([1; 16])));
    for (workers, panics) in [(1, false), (2, false), (5, false), (2, true), (5, true)] {
        let settings = Settings { workers, ..Settings::default() };
        let ended = std::panic::catch_unwind(|| {
            let (mut sources, mut failing) = ([Given::boxed(frames.clone())], Failing { left: 500, panics });
            run(&mut sources, &settings, &inspector, &mut failing, &AtomicBool::new(false), &mut |_, _| {})
        });
        match ended {
            Ok(outcome) => {
                let error = outcome.output.expect("it says why");
                assert_eq!((error.kind(), panics), (io::ErrorKind::StorageFull, false));
            }
            Err(_) => assert!(panics, "{workers} workers"),
        }
    }
}

#[test]
fn a_replay_that_is_stopped_gives_what_it_has() {
    let frames = frames(30_000);
    let rules = Rules::load(None).expect("the compiled-in rules are well");
    let inspector = Arc::new(Inspector::new(&rules, Default::default(), Key::from_bytes([1; 16])));
    for workers in [1, 2, 5] {
        let settings = Settings { workers, ..Settings::default() };
        let (stop, mut kept) = (AtomicBool::new(false), Kept::default());
        let mut progress = |_: &dyn Source, counters: &Counters| {
            stop.store(counters.value(Counter::Frames) > 10_000, std::sync::atomic::Ordering::Relaxed);
        };
        let outcome = run(&mut [Given::boxed(frames.clone())], &settings, &inspector, &mut kept, &stop, &mut progress);
        let read = outcome.counters.value(Counter::Frames);
        assert!((10_000..12_000).contains(&read), "{read} frames with {workers} workers");
        assert!(kept.finished && kept.calls.len() as u64 == outcome.counters.value(Counter::Calls));
    }
}

#[test]
fn what_live_has_no_room_for_is_counted() {
    let frames = frames(30_000);
    for workers in [1, 2] {
        let mut kept = Kept { dawdle: Duration::from_secs(2), ..Kept::default() };
        let outcome = run_through(vec![Given::boxed(frames.clone())], true, workers, &mut kept);
        let value = |counter| outcome.counters.value(counter);
        assert_eq!(value(Counter::Frames), frames.len() as u64);
        assert_eq!(value(Counter::Segments) + value(Counter::SegmentsDropped), frames.len() as u64);
        assert_eq!(value(Counter::Calls), kept.calls.len() as u64 + value(Counter::CallsDropped));
        assert!(value(Counter::CallsDropped) + value(Counter::SegmentsDropped) > 0, "{workers} workers lost nothing");
    }
}

#[test]
fn time_is_told_live_though_no_records_come() {
    // Nothing that is understood, for fifty seconds without a pause.
    let begin = Timestamp::from_parts(1_772_460_000, 0);
    let frame = |number: u64| (begin + Duration::from_millis(10 * number), LinkType(1), vec![0; 60]);
    let mut kept = Kept::default();
    run_through(vec![Given::boxed((0..5_000).map(frame).collect())], true, 1, &mut kept);
    assert!(kept.calls.is_empty() && kept.told > 200, "told {} times", kept.told);
    let mut kept = Kept::default();
    run_through(vec![Given::boxed((0..5_000).map(frame).collect())], false, 1, &mut kept);
    assert!(kept.told < 10, "a replay has no use for it: {} times", kept.told);
}

#[test]
fn records_of_both_kinds_leave_in_one_order() {
    let time = |second| Timestamp::from_parts(second, 0);
    let call = |second, flow, position| {
        Record::from(Call { end_time: time(second), flow: FlowId(flow), position, ..Call::default() })
    };
    let connection = |second, flow, position| {
        Record::from(Connection { end_time: time(second), flow: FlowId(flow), position, ..Connection::default() })
    };
    let ordered = vec![
        call(1, 9, 0),
        connection(2, 1, 0),
        call(2, 1, 0),
        call(2, 1, 1),
        connection(2, 1, 2),
        call(2, 7, 0),
        connection(3, 1, 2),
    ];
    let mut sequencer = Sequencer::new(16);
    // As a worker completes them: flows mixed, each flow in its order.
    let mut completed: Vec<Record> = [0, 5, 1, 2, 3, 4, 6].map(|place: usize| ordered[place].clone()).into();
    sequencer.take(&mut completed);
    let mut out = Vec::new();
    sequencer.release(time(2), &mut out);
    assert_eq!(out, ordered[..1], "what is of the watermark's moment may still have others before it");
    sequencer.release(time(3), &mut out);
    sequencer.release(Timestamp::MAX, &mut out);
    assert_eq!(out, ordered);
    // What is of one moment is held as long as it is no more than the limit.
    let of_one = |count: u32| (0..count).map(|position| call(2, 1, position)).collect::<Vec<_>>();
    for (count, early) in [(4, 0), (5, 5)] {
        let (mut sequencer, mut out) = (Sequencer::new(4), Vec::new());
        sequencer.take(&mut of_one(count));
        assert_eq!((sequencer.release(time(2), &mut out), out.len()), (early, early));
    }
}
