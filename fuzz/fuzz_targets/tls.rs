//! Both directions of a connection in TLS, in pieces and with losses, with keys or without: no panic, all bounded, and nothing
//! in the calls that was not sealed.
//!
//! Input: options (1: there are keys, 2: they come late), then pieces of a control byte (1: by the server, 2: lost,
//! 4: a record to be sealed, 8: two seconds later, 16: a record in clear, 32: the next epoch of its sender; the rest
//! chooses the content type of a record), a length and so many bytes.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use apitap::call::Record;
use apitap::http::{Http, Settings};
use apitap::tls;
use apitap::tls::keylog::KeyLog;
use apitap_fuzz::{INSPECTOR, Wire};
use libfuzzer_sys::fuzz_target;
use ring::{aead, hmac};

/// `random` of the ClientHello of which the key log has the secrets.
const RANDOM: &str = "0707070707070707070707070707070707070707070707070707070707070707";

/// Secrets of TLS 1.3 with AES-128-GCM, by epoch and sender.
const LABELS: [[&str; 2]; 2] = [
    ["CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET"],
    ["CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"],
];

fn secret(epoch: usize, sender: usize) -> [u8; 32] {
    [(16 * epoch + sender + 1) as u8; 32]
}

fn key_log() -> String {
    let mut text = format!("CLIENT_RANDOM {RANDOM} {}\n", "5a".repeat(48));
    for (epoch, labels) in LABELS.iter().enumerate() {
        for (sender, label) in labels.iter().enumerate() {
            let value: String = secret(epoch, sender).iter().map(|byte| format!("{byte:02x}")).collect();
            text += &format!("{label} {RANDOM} {value}\n");
        }
    }
    text
}

/// HKDF-Expand-Label of at most one block (RFC 8446, section 7.1).
fn expand(secret: &[u8], label: &[u8], length: usize) -> Vec<u8> {
    let mut info = vec![0, length as u8, 6 + label.len() as u8];
    info.extend(b"tls13 ");
    info.extend(label);
    info.extend([0, 1]);
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &info).as_ref()[..length].to_vec()
}

/// A record of TLS 1.3.
fn seal(epoch: usize, sender: usize, number: u64, content: u8, bytes: &[u8]) -> Vec<u8> {
    let secret = secret(epoch, sender);
    let mut nonce: [u8; 12] = expand(&secret, b"iv", 12).try_into().expect("twelve bytes");
    for (byte, number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
        *byte ^= number;
    }
    let key = aead::UnboundKey::new(&aead::AES_128_GCM, &expand(&secret, b"key", 16)).expect("a key");
    let mut sealed = [bytes, &[content]].concat();
    let length = ((sealed.len() + 16) as u16).to_be_bytes();
    let header = [23, 3, 3, length[0], length[1]];
    let nonce = aead::Nonce::assume_unique_for_key(nonce);
    aead::LessSafeKey::new(key)
        .seal_in_place_append_tag(nonce, aead::Aad::from(header), &mut sealed)
        .expect("short enough");
    [&header[..], &sealed].concat()
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&options, mut rest)) = bytes.split_first() else { return };
    let mut settings = tls::Settings { handshake_bytes: 600, waiting_bytes: 2_000, ..tls::Settings::default() };
    settings.keylog.files.extend((options & 3 != 0).then(|| "/dev/null".into()));
    let keys = Arc::new(KeyLog::default());
    if options & 3 == 1 {
        keys.add(key_log().as_bytes(), KeyLog::ALWAYS);
    }
    let http = Settings { head_limit: 2_048, pending_limit: 8, decoded_limit: 1 << 16, ..Settings::default() };
    let http = Http::new(http, INSPECTOR.clone()).with_tls(settings, keys.clone());
    let mut wire = Wire::new(http, 443);
    let (mut epochs, mut numbers) = ([0, 0], [0u64, 0]);
    let mut pieces = 0;
    while let [control, length, behind @ ..] = rest {
        let (part, behind) = behind.split_at(behind.len().min(usize::from(*length)));
        rest = behind;
        let own = usize::from(control & 1);
        let content = 20 + (control >> 6);
        if control & 32 != 0 && epochs[own] == 0 {
            (epochs[own], numbers[own]) = (1, 0);
        }
        let payload = match control & 20 {
            0 => part.to_vec(),
            16 => [&[content, 3, 3, 0, *length][..], part].concat(),
            _ => {
                numbers[own] += 1;
                seal(epochs[own], own, numbers[own] - 1, content, part)
            }
        };
        pieces += 1;
        if options & 2 != 0 && pieces == 4 {
            keys.add(key_log().as_bytes(), KeyLog::ALWAYS);
        }
        wire.wait(if control & 8 != 0 { Duration::from_secs(2) } else { Duration::from_micros(10) });
        wire.send(own, &payload, control & 2 != 0);
    }
    let mut position = 0;
    for record in wire.finish() {
        match &record {
            Record::Call(call) => {
                assert_eq!(call.position, position);
                position += 1;
                assert!(options & 3 != 0 || call.tls.is_none(), "nothing is read without keys");
            }
            Record::Connection(connection) => {
                // In clear only what waits for a request that does not come is told of.
                match &connection.tls {
                    Some(tls) => assert!(tls.server_name.as_ref().is_none_or(|name| name.len() <= 255)),
                    None => assert!(connection.waits.is_some()),
                }
                assert!(connection.sent_before <= connection.sent.bytes);
            }
        }
    }
});
