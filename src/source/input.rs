//! The bytes of one capture, as a window that moves from front to back.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;

use super::ahead::Decompressed;
use super::decompress::is_compressed;
use super::map::Map;
use super::{Damage, Settings};

/// Bytes that a stream's buffer begins with; it grows up to the largest block met.
const STREAM_BUFFER: usize = 256 << 10;

/// A capture's decompressed bytes.
pub(crate) struct Input {
    bytes: Bytes,
    /// Where the window begins in `bytes`.
    start: usize,
    /// Bytes of the capture before the window.
    offset: u64,
}

enum Bytes {
    Map(Map),
    Memory(Cow<'static, [u8]>),
    Stream(Stream),
}

struct Stream {
    supply: Decompressed,
    buffer: Vec<u8>,
    filled: usize,
    ended: bool,
    failure: Option<String>,
}

impl Input {
    /// Of a file: mapped when it is plain and the settings say so, else read and decompressed.
    pub(crate) fn from_file(mut file: File, settings: &Settings) -> Result<Input, String> {
        let describe = |error: std::io::Error| format!("cannot be read: {error}");
        let metadata = file.metadata().map_err(describe)?;
        if metadata.is_dir() {
            return Err("is a directory".into());
        }
        if settings.memory_map && metadata.is_file() && metadata.len() > 0 {
            let mut head = [0; 4];
            let count = file.read(&mut head).map_err(describe)?;
            if !is_compressed(head.get(..count).unwrap_or_default()) {
                let map = Map::new(&file).map_err(describe)?;
                return Ok(Input { bytes: Bytes::Map(map), start: 0, offset: 0 });
            }
            std::io::Seek::rewind(&mut file).map_err(describe)?;
        }
        Ok(Input::from_reader(Box::new(file), settings))
    }

    /// Of bytes in memory.
    pub(crate) fn from_bytes(bytes: Cow<'static, [u8]>, settings: &Settings) -> Input {
        if is_compressed(&bytes) {
            return Input::from_reader(Box::new(std::io::Cursor::new(bytes)), settings);
        }
        Input { bytes: Bytes::Memory(bytes), start: 0, offset: 0 }
    }

    /// Of a stream that cannot be sought in.
    pub(crate) fn from_reader(reader: Box<dyn Read + Send>, settings: &Settings) -> Input {
        let supply = Decompressed::new(reader, settings);
        let stream = Stream { supply, buffer: Vec::new(), filled: 0, ended: false, failure: None };
        Input { bytes: Bytes::Stream(stream), start: 0, offset: 0 }
    }

    /// Bytes of the file used so far, before decompression.
    pub(super) fn taken(&self) -> u64 {
        match &self.bytes {
            Bytes::Map(_) | Bytes::Memory(_) => self.offset,
            Bytes::Stream(stream) => stream.supply.taken(),
        }
    }

    /// Bytes of the (decompressed) capture before the window.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The window as it stands.
    #[inline]
    pub(crate) fn window(&self) -> &[u8] {
        let bytes = match &self.bytes {
            Bytes::Map(map) => map.bytes(),
            Bytes::Memory(bytes) => bytes,
            Bytes::Stream(stream) => stream.buffer.get(..stream.filled).unwrap_or_default(),
        };
        bytes.get(self.start..).unwrap_or_default()
    }

    /// The window, of at least `wanted` bytes unless the capture ends before.
    #[inline]
    pub(crate) fn fill(&mut self, wanted: usize) -> &[u8] {
        if let Bytes::Stream(stream) = &mut self.bytes
            && stream.filled - self.start < wanted
        {
            stream.fill(&mut self.start, wanted);
        }
        self.window()
    }

    /// Moves the window on by `count` bytes, at most those that are in it.
    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        let count = count.min(self.window().len());
        self.start += count;
        self.offset += count as u64;
        if let Bytes::Map(map) = &mut self.bytes {
            map.release(self.start);
        }
    }

    /// Why the bytes end here, when it is not that the file is over.
    pub(crate) fn failure(&self) -> Option<Damage> {
        match &self.bytes {
            Bytes::Stream(stream) => {
                let offset = Some(self.offset + self.window().len() as u64);
                stream.failure.clone().map(|reason| Damage { offset, reason })
            }
            _ => None,
        }
    }

    /// The error for a capture that ends when only a part of `wanted` bytes is there.
    #[cold]
    pub(super) fn cut(&self, what: &str, wanted: usize) -> Damage {
        let there = self.window().len();
        self.failure().unwrap_or_else(|| {
            self.damage(format!("the capture ends within {what}: {there} of {wanted} bytes are there"))
        })
    }

    /// An error about what the window begins with.
    #[cold]
    pub(super) fn damage(&self, reason: String) -> Damage {
        Damage { offset: Some(self.offset), reason }
    }
}

impl Stream {
    /// Reads until `wanted` bytes lie behind `start`, and not longer: a pipe that a live capture writes to must not
    /// wait for a full buffer.
    #[cold]
    fn fill(&mut self, start: &mut usize, wanted: usize) {
        while self.filled - *start < wanted && !self.ended {
            if self.filled == self.buffer.len() {
                self.make_room(start);
            }
            let free = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match self.supply.read(free) {
                Ok(0) => self.ended = true,
                Ok(count) => self.filled += count,
                Err(reason) => {
                    self.failure = Some(reason);
                    self.ended = true;
                }
            }
        }
    }

    /// Moves what is unread to the front; doubles the buffer when it is full of unread bytes. So it only grows with
    /// bytes that came, never with a length that a header merely claims.
    fn make_room(&mut self, start: &mut usize) {
        if *start > 0 {
            self.buffer.copy_within(*start..self.filled, 0);
            self.filled -= *start;
            *start = 0;
        }
        if self.filled == self.buffer.len() {
            let size = (self.buffer.len() * 2).max(STREAM_BUFFER);
            self.buffer.resize(size, 0);
        }
    }
}
