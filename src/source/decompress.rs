//! The bytes of a file or stream, decompressed when they begin with the magic of gzip or zstd.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::Settings;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Begins a zstd frame without content, apart from the low four bits of its first byte (RFC 8878, 3.1.2).
const ZSTD_SKIPPABLE_MAGIC: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];

/// What a zstd decoder wants to see first: the magic and the frame header's descriptor.
const ZSTD_FIRST_READ: usize = 5;

/// Bytes before each block of a zstd frame (RFC 8878, 3.1.1.2).
const ZSTD_BLOCK_HEADER: usize = 3;

/// Compressed bytes read at a time.
const READ_SIZE: usize = 64 << 10;

/// True when `head`, the first bytes of a file, begin a compressed stream.
pub(super) fn is_compressed(head: &[u8]) -> bool {
    head.starts_with(&GZIP_MAGIC) || is_zstd(head)
}

fn is_zstd(head: &[u8]) -> bool {
    match *head {
        [a, b, c, d, ..] => [a, b, c, d] == ZSTD_MAGIC || [a & 0xf0, b, c, d] == ZSTD_SKIPPABLE_MAGIC,
        _ => false,
    }
}

/// A stream of bytes as they are after decompression.
///
/// gzip members and zstd frames may follow one another. When the stream is damaged, all bytes before the damage are
/// given before the error.
pub(super) struct Supply {
    raw: Box<dyn Read + Send>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    taken: u64,
    codec: Codec,
    /// The decoder filled the last output and may hold more, without reading on.
    pending: bool,
    /// Found while bytes were still to be given; told by the next read.
    failure: Option<String>,
}

enum Codec {
    Undetected { zstd_window_log: u32 },
    Plain,
    Gzip { inflate: Box<Decompress>, in_member: bool },
    Zstd { decoder: Decoder<'static>, wanted: usize, in_frame: bool },
}

impl Supply {
    /// Detects at the first read what the stream is.
    pub(super) fn new(raw: Box<dyn Read + Send>, settings: &Settings) -> Supply {
        Supply {
            raw,
            buffer: vec![0; READ_SIZE].into_boxed_slice(),
            start: 0,
            end: 0,
            taken: 0,
            codec: Codec::Undetected { zstd_window_log: settings.zstd_window_log.clamp(10, 31) },
            pending: false,
            failure: None,
        }
    }

    /// True when what was read so far was compressed.
    pub(super) fn is_compressed(&self) -> bool {
        matches!(self.codec, Codec::Gzip { .. } | Codec::Zstd { .. })
    }

    /// Bytes taken from the stream, before decompression.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Reads some bytes into `output`, which is not empty; none at the end of the stream.
    ///
    /// # Errors
    ///
    /// Why nothing more can be read, as one clause.
    pub(super) fn read(&mut self, output: &mut [u8]) -> Result<usize, String> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        match self.codec {
            Codec::Undetected { zstd_window_log } => {
                self.detect(zstd_window_log)?;
                self.read(output)
            }
            Codec::Plain => self.read_plain(output),
            Codec::Gzip { .. } => self.read_gzip(output),
            Codec::Zstd { .. } => self.read_zstd(output),
        }
    }

    fn detect(&mut self, zstd_window_log: u32) -> Result<(), String> {
        while self.end < ZSTD_MAGIC.len() && self.refill()? {}
        let head = self.buffer.get(..self.end).unwrap_or_default();
        self.codec = if head.starts_with(&GZIP_MAGIC) {
            Codec::Gzip { inflate: Box::new(Decompress::new_gzip(15)), in_member: true }
        } else if is_zstd(head) {
            let mut decoder = Decoder::new().map_err(|error| format!("no zstd decoder: {error}"))?;
            decoder
                .set_parameter(DParameter::WindowLogMax(zstd_window_log))
                .map_err(|error| format!("zstd_window_log is {zstd_window_log}: {error}"))?;
            Codec::Zstd { decoder, wanted: ZSTD_FIRST_READ, in_frame: false }
        } else {
            Codec::Plain
        };
        Ok(())
    }

    /// Reads more compressed bytes behind those that are there; false at the end of the stream.
    fn refill(&mut self) -> Result<bool, String> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        let count = read_some(&mut self.raw, free)?;
        self.taken += count as u64;
        self.end += count;
        Ok(count > 0)
    }

    fn read_plain(&mut self, output: &mut [u8]) -> Result<usize, String> {
        let held = self.buffer.get(self.start..self.end).unwrap_or_default();
        if held.is_empty() {
            self.buffer = Box::default(); // was only needed for the detection
            (self.start, self.end) = (0, 0);
            let count = read_some(&mut self.raw, output)?;
            self.taken += count as u64;
            return Ok(count);
        }
        let count = held.len().min(output.len());
        for (to, from) in output.iter_mut().zip(held) {
            *to = *from;
        }
        self.start += count;
        Ok(count)
    }

    fn read_gzip(&mut self, output: &mut [u8]) -> Result<usize, String> {
        loop {
            let more = self.start < self.end || self.pending || self.refill()?;
            let Codec::Gzip { inflate, in_member } = &mut self.codec else { return Ok(0) };
            if !more {
                return if *in_member { Err("the gzip data ends too early".into()) } else { Ok(0) };
            }
            let input = self.buffer.get(self.start..self.end).unwrap_or_default();
            if !*in_member {
                // Tapes and some tools pad with zeros behind the last member.
                let padding = input.iter().take_while(|&&byte| byte == 0).count();
                self.start += padding;
                if padding == input.len() {
                    continue;
                }
                **inflate = Decompress::new_gzip(15);
                *in_member = true;
                continue;
            }
            let (read_before, written_before) = (inflate.total_in(), inflate.total_out());
            let result = inflate.decompress(input, output, FlushDecompress::None);
            let read = (inflate.total_in() - read_before) as usize;
            let written = (inflate.total_out() - written_before) as usize;
            self.start += read;
            let was_pending = std::mem::replace(&mut self.pending, written == output.len());
            match result {
                Ok(Status::StreamEnd) => (*in_member, self.pending) = (false, false),
                Ok(_) if read == 0 && written == 0 && !was_pending => return Err("the gzip data is damaged".into()),
                Ok(_) => {}
                // What zlib says of it depends on how much it was given at a time, so it is left out.
                Err(_) => {
                    let failure = String::from("the gzip data is damaged");
                    if written == 0 {
                        return Err(failure);
                    }
                    self.failure = Some(failure);
                }
            }
            if written > 0 {
                return Ok(written);
            }
        }
    }

    fn read_zstd(&mut self, output: &mut [u8]) -> Result<usize, String> {
        loop {
            let more = self.start < self.end || self.pending || self.refill()?;
            let Codec::Zstd { decoder, wanted, in_frame } = &mut self.codec else { return Ok(0) };
            if !more && !*in_frame {
                return Ok(0);
            }
            // The decoder loses what it wrote in a call that fails. It wants a block together with the header of the
            // next; fed them one after the other, it never comes upon damage in the call that gives a good block.
            let portion = if *wanted > ZSTD_BLOCK_HEADER { *wanted - ZSTD_BLOCK_HEADER } else { *wanted };
            let until = self.end.min(self.start.saturating_add(portion));
            let mut input = InBuffer::around(self.buffer.get(self.start..until).unwrap_or_default());
            let target_length = output.len();
            let mut target = OutBuffer::around(&mut *output);
            let result = decoder.run(&mut input, &mut target);
            let (read, written) = (input.pos(), target.pos());
            self.start += read;
            let was_pending = std::mem::replace(&mut self.pending, written == target_length);
            match result {
                Ok(0) => (*wanted, *in_frame, self.pending) = (ZSTD_FIRST_READ, false, false),
                Ok(hint) => (*wanted, *in_frame) = (hint, true),
                Err(error) => return Err(zstd_failure(&error)),
            }
            if written > 0 {
                return Ok(written);
            }
            if !more {
                return Err("the zstd data ends too early".into());
            }
            if read == 0 && *in_frame && !was_pending {
                return Err("the zstd data is damaged".into());
            }
        }
    }
}

fn zstd_failure(error: &io::Error) -> String {
    let text = error.to_string();
    if text.contains("too much memory") {
        return format!("{text}: raise zstd_window_log to read it");
    }
    format!("the zstd data is damaged: {text}")
}

fn read_some(raw: &mut dyn Read, output: &mut [u8]) -> Result<usize, String> {
    loop {
        match raw.read(output) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(|error| format!("cannot be read: {error}")),
        }
    }
}
