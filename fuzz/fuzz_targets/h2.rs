//! Both directions of an HTTP/2 connection, with losses and without a beginning: no panic, no stream twice, all bounded.
//!
//! Input: options, then pieces of a control byte (direction, loss, a frame's header to be made, minutes between), a length
//! and so many bytes.
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

fuzz_target!(|bytes: &[u8]| {
    let Some((&options, mut rest)) = bytes.split_first() else { return };
    let settings = Settings {
        decoded_limit: 1 << 16,
        http2_list_bytes: 2_000,
        http2_block_bytes: 1_500,
        http2_continuations: 3,
        http2_table_bytes: 1_000,
        http2_table_entries: 10,
        http2_streams: 6,
        http2_decoders: 2,
        http2_resets: 2,
        grpc_message_bytes: 300,
        grpc_held_bytes: 500,
        ..Settings::default()
    };
    let mut tracker = Tracker::new(stream::Settings::default(), Http::new(settings, INSPECTOR.clone()));
    let ends: [SocketAddr; 2] = ["10.0.0.1:4000".parse().unwrap(), "10.0.0.2:80".parse().unwrap()];
    let mut sent = [1u32, 1];
    let mut micros = 0;
    let mut send = |own: usize, flags: Flags, part: &[u8], lost: bool, micros: u64| {
        let time = Timestamp::from_parts(1_000, 0) + std::time::Duration::from_micros(micros);
        tracker.tick(time);
        tracker.segment(&Segment {
            time,
            source: ends[own],
            destination: ends[1 - own],
            encapsulation: &Encapsulation::NONE,
            sequence: sent[own],
            acknowledgment: sent[1 - own],
            flags,
            urgent: 0,
            payload: if lost { &[] } else { part },
            missing: 0,
            fingerprint: 0,
        });
        sent[own] = sent[own].wrapping_add(part.len() as u32 + u32::from(flags.has(Flags::SYN)));
    };
    if options & 1 == 0 {
        send(0, Flags::SYN, &[], false, 0);
        send(1, Flags::SYN | Flags::ACK, &[], false, 1);
        send(0, Flags::ACK, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false, 2);
        micros = 3;
    }
    while let [control, length, behind @ ..] = rest {
        let (payload, next) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = next;
        micros += if control & 8 == 0 { 10 } else { 70_000_000 };
        let own = usize::from(control & 1);
        let framed;
        let part = match (control & 4 == 0, payload) {
            // The first bytes say kind, flags and stream.
            (true, [kind, flags, stream, payload @ ..]) => {
                let head = [0, 0, payload.len() as u8, kind % 12, *flags, 0, 0, 0, *stream];
                framed = [&head[..], payload].concat();
                &framed[..]
            }
            _ => payload,
        };
        send(own, Flags::ACK, part, control & 2 != 0, micros);
        send(1 - own, Flags::ACK, &[], false, micros);
    }
    tracker.finish();
    for (place, call) in tracker.handler().records().iter().filter_map(Record::call).enumerate() {
        assert_eq!(call.position as usize, place);
        let said = !call.method.is_empty() || call.completeness.request || call.completeness.response;
        assert!(said && call.request.body_bytes <= 1 << 20 && call.response.body_bytes <= 1 << 20);
        assert!(call.completeness.request || call.target.is_empty());
    }
});
