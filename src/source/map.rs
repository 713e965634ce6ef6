//! A capture file as a slice of memory.
//!
//! The only unsafe code here: mapping a file is unsafe because the language cannot promise that nobody
//! changes the file meanwhile.

#![allow(unsafe_code)] // mapping a file, and giving its pages back; each with its reason

use std::fs::File;
use std::io;

use memmap2::{Advice, Mmap, UncheckedAdvice};

/// How many bytes are read before their pages are given back: small enough that a large file adds next to nothing to
/// resident memory, large enough that the system calls do not show.
const RELEASE_STEP: usize = 8 << 20;

/// A mapped file, to be read once from front to back.
pub(super) struct Map {
    map: Mmap,
    released: usize,
}

impl Map {
    /// Maps the whole of `file` as long as it is now; what is appended later is not seen.
    pub(super) fn new(file: &File) -> io::Result<Map> {
        // SAFETY: the map is private and read-only, and only ever lent as `&[u8]`, in which every byte value is
        // valid. What remains is a change of the file by another process while it is read. Changed content is
        // garbage to a parser that takes every byte for hostile: each decision is made on values that were copied
        // out and checked after the copy, never on a second read of the same byte. A file that is *truncated* while
        // it is read makes the kernel end the process with SIGBUS, which is a loud stop and not undefined behaviour;
        // the setting `memory_map` is therefore off unless asked for.
        let map = unsafe { Mmap::map(file)? };
        // Reads far ahead, and drops behind first under memory pressure. Only advice: failure costs speed alone.
        let _ = map.advise(Advice::Sequential);
        Ok(Map { map, released: 0 })
    }

    /// All bytes of the file.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Says that bytes before `position` will not be read again.
    #[inline]
    pub(super) fn release(&mut self, position: usize) {
        if position - self.released >= RELEASE_STEP {
            self.release_pages(position);
        }
    }

    #[cold]
    fn release_pages(&mut self, position: usize) {
        let until = position / RELEASE_STEP * RELEASE_STEP;
        // SAFETY: dropping the pages of a private map of a file that was never written to loses nothing: whoever
        // reads them again gets the same bytes from the file. The range lies within the map, because `position` is
        // at most its length. Only advice: failure costs memory alone.
        let _ =
            unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, self.released, until - self.released) };
        self.released = until;
    }
}
