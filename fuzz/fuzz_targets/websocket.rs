//! Both directions of a WebSocket, with losses: no panic, one upgrade one call, all bounded.
//!
//! Input: options, then pieces of a control byte (direction, loss, a frame's header to be made, minutes between), a length
//! and so many bytes.
#![no_main]

use std::time::Duration;

use apitap::http::{Http, Settings};
use apitap_fuzz::{INSPECTOR, Wire, calls};
use libfuzzer_sys::fuzz_target;

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
    let mut wire = Wire::new(Http::new(settings, INSPECTOR.clone()), 80);
    wire.open();
    let ask = b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    wire.send(0, ask, options & 4 != 0);
    let more = ANSWERS[usize::from(options & 3)];
    let answer = format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n{more}\r\n");
    wire.send(1, answer.as_bytes(), false);
    let mut total = 0;
    while let [control, length, behind @ ..] = rest {
        let (payload, next) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = next;
        wire.wait(Duration::from_micros(if control & 8 == 0 { 10 } else { 70_000_000 }));
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
        wire.send(own, part, control & 2 != 0);
        wire.acknowledge(1 - own);
    }
    let records = wire.finish();
    assert!(calls(&records).next().is_some());
    let (told, mut seen) = (calls(&records).count(), 0);
    for (place, call) in calls(&records).enumerate() {
        assert_eq!((call.position as usize, call.completeness.part as usize), (place, place));
        assert_eq!(call.completeness.open, place + 1 < told);
        let websocket = call.websocket.as_ref().expect("nothing else was opened");
        for sent in [websocket.request, websocket.response] {
            assert!(sent.text + sent.undecoded <= 2 * sent.messages && sent.undecoded <= sent.compressed);
            assert!(sent.largest <= sent.bytes);
        }
        seen += call.request.wire_bytes + call.response.wire_bytes;
        assert!(call.request.body_bytes + call.response.body_bytes <= 1 << 24);
    }
    assert!(seen <= total);
});
