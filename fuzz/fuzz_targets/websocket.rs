//! Both directions of a WebSocket, with losses: no panic, one upgrade one call, all bounded.
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

/// What the server agrees to, by two bits of the options.
const ANSWERS: [&str; 4] = [
    "",
    "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n",
    "Sec-WebSocket-Extensions: x\r\n",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((&options, mut rest)) = bytes.split_first() else { return };
    let settings = Settings {
        decoded_limit: 1 << 14,
        operation_bytes: 200,
        operation_held_bytes: 300,
        websocket_decoders: usize::from(options >> 4) % 3,
        ..Settings::default()
    };
    let mut tracker = Tracker::new(stream::Settings::default(), Http::new(settings, INSPECTOR.clone()));
    let ends: [SocketAddr; 2] = ["10.0.0.1:4000".parse().unwrap(), "10.0.0.2:80".parse().unwrap()];
    let mut sent = [1u32, 1];
    let mut micros = 3;
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
    send(0, Flags::SYN, &[], false, 0);
    send(1, Flags::SYN | Flags::ACK, &[], false, 1);
    let ask = b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    send(0, Flags::ACK, ask, options & 4 != 0, 2);
    let more = ANSWERS[usize::from(options & 3)];
    let answer = format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n{more}\r\n");
    send(1, Flags::ACK, answer.as_bytes(), false, 3);
    let mut total = 0;
    while let [control, length, behind @ ..] = rest {
        let (payload, next) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = next;
        micros += if control & 8 == 0 { 10 } else { 70_000_000 };
        let own = usize::from(control & 1);
        let framed;
        let part = match (control & 4 == 0, payload) {
            // The first byte says flags and kind; a client's key is zeros.
            (true, [flags, payload @ ..]) if payload.len() < 126 => {
                let mask = if own == 0 { &[0x80 | payload.len() as u8, 0, 0, 0, 0][..] } else { &[payload.len() as u8] };
                framed = [&[*flags][..], mask, payload].concat();
                &framed[..]
            }
            _ => payload,
        };
        total += part.len() as u64;
        send(own, Flags::ACK, part, control & 2 != 0, micros);
        send(1 - own, Flags::ACK, &[], false, micros);
    }
    tracker.finish();
    let calls: Vec<_> = tracker.handler().records().iter().filter_map(Record::call).collect();
    assert!(!calls.is_empty());
    let mut wire = 0;
    for (place, call) in calls.iter().enumerate() {
        assert_eq!((call.position as usize, call.completeness.part as usize), (place, place));
        assert_eq!(call.completeness.open, place + 1 < calls.len());
        let websocket = call.websocket.as_ref().expect("nothing else was opened");
        for told in [websocket.request, websocket.response] {
            assert!(told.text + told.undecoded <= 2 * told.messages && told.undecoded <= told.compressed);
            assert!(told.largest <= told.bytes);
        }
        wire += call.request.wire_bytes + call.response.wire_bytes;
        assert!(call.request.body_bytes + call.response.body_bytes <= 1 << 24);
    }
    assert!(wire <= total);
});
