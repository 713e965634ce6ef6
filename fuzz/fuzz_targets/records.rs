//! Calls and logs of any bytes, in any format: no panic, and the same however the bytes come in pieces.
//!
//! Input: the format (index; beyond those recognised), the look-ahead, then the file.
#![no_main]

use std::io::{Cursor, Read};

use apitap::call::{Call, Record};
use apitap::records::{Format, Records, Settings};
use apitap::source;
use apitap_fuzz::INSPECTOR;
use libfuzzer_sys::fuzz_target;

/// Most calls looked at: a compressed bomb is no finding.
const MOST_CALLS: usize = 1 << 12;

/// Gives a few bytes at a time, in sizes that go round.
struct Pieces(Cursor<Vec<u8>>, usize);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1 = self.1 % 37 + 1;
        let count = self.1.min(buffer.len());
        self.0.read(&mut buffer[..count])
    }
}

fn drain(reader: impl Read + Send + 'static, settings: &Settings) -> (Vec<Record>, Vec<String>) {
    let source = source::Settings { zstd_window_log: 20, ..Default::default() };
    let mut records = Records::from_reader("fuzz", reader, settings, &source, INSPECTOR.clone());
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    while found.len() < MOST_CALLS {
        match records.next() {
            Ok(Some(record)) => found.push(record.clone()),
            Ok(None) => break,
            Err(error) => errors.push(error.to_string()),
        }
    }
    (found, errors)
}

fuzz_target!(|bytes: &[u8]| {
    let [format, look_ahead, bytes @ ..] = bytes else { return };
    let settings = Settings {
        format: Format::ALL.get(usize::from(*format)).copied(),
        line_limit: 4096,
        look_ahead: usize::from(*look_ahead),
        ..Settings::default()
    };
    let whole = drain(Cursor::new(bytes.to_vec()), &settings);
    assert_eq!(whole, drain(Pieces(Cursor::new(bytes.to_vec()), 0), &settings));
    for call in whole.0.iter().filter_map(Record::call) {
        if call.completeness.recorder.is_some() {
            let text = serde_json::to_string(call).expect("plain data");
            assert_eq!(&serde_json::from_str::<Call>(&text).expect("what was written reads back"), call);
        }
    }
});
