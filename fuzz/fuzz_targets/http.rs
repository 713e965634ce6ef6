//! Both directions of a connection, in pieces and with losses: no panic, and every call in its place.
#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use apitap::call::Record;
use apitap::http::{Http, Settings};
use apitap::inspect::{Inspector, Rules};
use apitap::key::Key;
use apitap::packet::{Encapsulation, Flags, Segment};
use apitap::stream::{self, Tracker};
use apitap::time::Timestamp;
use libfuzzer_sys::fuzz_target;

static INSPECTOR: LazyLock<Arc<Inspector>> = LazyLock::new(|| {
    let rules = Rules::load(None).expect("the compiled-in rules are well");
    Arc::new(Inspector::new(&rules, Default::default(), Key::from_bytes([1; 16])))
});

// Each line break of the form 0x01 C N begins a piece: C says who sends and what is lost, N how long the piece may be.
fuzz_target!(|bytes: &[u8]| {
    let settings = Settings { head_limit: 2048, pending_limit: 8, decoded_limit: 1 << 16, ..Settings::default() };
    let mut tracker = Tracker::new(stream::Settings::default(), Http::new(settings, INSPECTOR.clone()));
    let ends: [SocketAddr; 2] = ["10.0.0.1:4000".parse().unwrap(), "10.0.0.2:80".parse().unwrap()];
    let mut sent = [1u32, 1];
    let mut micros = 0;
    for piece in bytes.split(|&byte| byte == 1) {
        let (Some(&control), Some(&size)) = (piece.first(), piece.get(1)) else { continue };
        let own = usize::from(control & 1);
        for part in piece[2..].chunks(usize::from(size) + 1) {
            micros += if control & 2 == 0 { 10 } else { 30_000 };
            let time = Timestamp::from_parts(1_000, micros * 1_000);
            tracker.tick(time);
            let lost = control & 4 != 0;
            tracker.segment(&Segment {
                time,
                source: ends[own],
                destination: ends[1 - own],
                encapsulation: &Encapsulation::NONE,
                sequence: sent[own],
                acknowledgment: sent[1 - own],
                flags: Flags::ACK,
                urgent: 0,
                payload: if lost { &[] } else { part },
                missing: 0,
                fingerprint: 0,
            });
            sent[own] = sent[own].wrapping_add(part.len() as u32);
        }
    }
    tracker.finish();
    for (place, call) in tracker.handler().records().iter().filter_map(Record::call).enumerate() {
        assert_eq!(call.position as usize, place);
        assert!(call.completeness.request || call.completeness.response || call.http2.is_some());
        assert!(bodies_are_bounded(call));
    }
});

fn bodies_are_bounded(call: &apitap::call::Call) -> bool {
    call.request.body_bytes <= 1 << 20 && call.response.body_bytes <= 1 << 20
}
