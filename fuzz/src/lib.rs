//! What the targets share: an inspector, and two hosts whose segments go through the stages from streams to calls.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use apitap::call::{Call, Record};
use apitap::http::Http;
use apitap::inspect::{Inspector, Rules};
use apitap::key::Key;
use apitap::packet::{Encapsulation, Flags, Segment};
use apitap::stream::{Settings, Tracker};
use apitap::time::Timestamp;

/// An inspector with the rules as they are built in.
pub static INSPECTOR: LazyLock<Arc<Inspector>> = LazyLock::new(|| {
    let rules = Rules::load(None).expect("the compiled-in rules are well");
    Arc::new(Inspector::new(&rules, Default::default(), Key::from_bytes([1; 16])))
});

/// A connection between a client (0) and a server (1), as a tap sees it.
pub struct Wire {
    tracker: Tracker<Http>,
    ends: [SocketAddr; 2],
    /// Sequence numbers of what each sends next.
    next: [u32; 2],
    time: Timestamp,
}

impl Wire {
    pub fn new(http: Http, port: u16) -> Wire {
        Wire {
            tracker: Tracker::new(Settings::default(), http),
            ends: [SocketAddr::from(([10, 0, 0, 1], 4000)), SocketAddr::from(([10, 0, 0, 2], port))],
            next: [1, 1],
            time: Timestamp::from_parts(1_000, 0),
        }
    }

    /// Lets time go by.
    pub fn wait(&mut self, duration: Duration) {
        self.time = self.time + duration;
        self.tracker.tick(self.time);
    }

    /// Both greet each other.
    pub fn open(&mut self) {
        self.segment(0, Flags::SYN, 0, &[]);
        self.segment(1, Flags::SYN | Flags::ACK, 0, &[]);
    }

    /// One of them sends, and the other acknowledges nothing; what is lost is missing between what comes before and behind.
    pub fn send(&mut self, from: usize, payload: &[u8], lost: bool) {
        self.segment(from, Flags::ACK, payload.len(), if lost { &[] } else { payload });
    }

    /// One acknowledges what the other has sent.
    pub fn acknowledge(&mut self, from: usize) {
        self.segment(from, Flags::ACK, 0, &[]);
    }

    fn segment(&mut self, from: usize, flags: Flags, length: usize, payload: &[u8]) {
        self.tracker.segment(&Segment {
            time: self.time,
            source: self.ends[from],
            destination: self.ends[1 - from],
            encapsulation: &Encapsulation::NONE,
            sequence: self.next[from],
            acknowledgment: self.next[1 - from],
            flags,
            window: u16::MAX,
            urgent: 0,
            payload,
            missing: 0,
            fingerprint: 0,
        });
        self.next[from] = self.next[from].wrapping_add(length as u32 + u32::from(flags.has(Flags::SYN)));
    }

    /// The connection is over: what came of it.
    pub fn finish(mut self) -> Vec<Record> {
        self.tracker.finish();
        std::mem::take(self.tracker.handler().records())
    }
}

/// The calls among records.
pub fn calls(records: &[Record]) -> impl Iterator<Item = &Call> {
    records.iter().filter_map(Record::call)
}
