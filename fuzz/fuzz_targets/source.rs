//! The capture readers take any bytes: they end, and say the same whether the bytes are in memory or come in pieces.

#![no_main]

use std::io::{Cursor, Read};

use apitap::source::{Advance, Settings, Source, SourceError, from_bytes, from_reader};
use libfuzzer_sys::fuzz_target;

/// Most frames looked at: a compressed bomb of empty frames is no finding.
const MOST_FRAMES: usize = 1 << 16;

/// Gives a few bytes at a time, in sizes that go round.
struct Pieces(Cursor<Vec<u8>>, usize);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1 = self.1 % 37 + 1;
        let count = self.1.min(buffer.len());
        self.0.read(&mut buffer[..count])
    }
}

/// A digest of all frames, their number, and the error.
fn drain(mut source: impl Source) -> (u64, usize, Option<SourceError>) {
    let (mut digest, mut count) = (0_u64, 0);
    while count < MOST_FRAMES {
        match source.advance() {
            Ok(Advance::Frame) => {
                let frame = source.frame();
                assert!(frame.original_length as usize >= frame.data.len());
                count += 1;
                for value in [frame.time.nanos() as u64, frame.link.0.into(), frame.original_length.into()] {
                    digest = digest.wrapping_mul(31).wrapping_add(value);
                }
                for &byte in frame.data {
                    digest = digest.wrapping_mul(31).wrapping_add(byte.into());
                }
            }
            Ok(Advance::Secrets) => {
                digest = (digest ^ source.secrets().len() as u64).wrapping_mul(0x0100_0000_01b3);
            }
            Ok(Advance::End) => return (digest, count, None),
            Ok(Advance::Idle(_)) => panic!("a capture is never idle"),
            Err(error) => {
                assert_eq!(source.advance(), Ok(Advance::End));
                return (digest, count, Some(error));
            }
        }
    }
    (digest, count, None)
}

fuzz_target!(|bytes: &[u8]| {
    let settings =
        Settings { zstd_window_log: 20, max_block_bytes: 1 << 20, max_interfaces: 64, ..Settings::default() };
    let whole = drain(from_bytes("fuzz", bytes.to_vec(), &settings));
    let pieces = drain(from_reader("fuzz", Pieces(Cursor::new(bytes.to_vec()), 0), &settings));
    assert_eq!(whole, pieces);
});
