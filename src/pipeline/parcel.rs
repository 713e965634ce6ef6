//! Segments on their way from a reader to a worker.

use std::net::SocketAddr;

use crate::packet::{Encapsulation, Flags, Segment};
use crate::time::Timestamp;

/// Segments for one worker, in the order in which they were read.
#[derive(Default)]
pub(super) struct Parcel {
    entries: Vec<Entry>,
    payloads: Vec<u8>,
    /// What was around them; many in a row have the same.
    encapsulations: Vec<Encapsulation>,
    /// What the reader's time has come to.
    pub(super) now: Timestamp,
    /// Its place among those that a reader made, from 1; 0 if none made it.
    pub(super) number: usize,
}

/// A segment whose payload lies in the parcel.
struct Entry {
    now: Timestamp,
    time: Timestamp,
    source: SocketAddr,
    destination: SocketAddr,
    encapsulation: u32,
    sequence: u32,
    acknowledgment: u32,
    flags: Flags,
    window: u16,
    urgent: u16,
    from: u32,
    to: u32,
    missing: u32,
    fingerprint: u64,
}

impl Parcel {
    /// A parcel with room for so many segments and bytes.
    pub(super) fn with_room(segments: usize, bytes: usize, number: usize) -> Parcel {
        let (entries, payloads) = (Vec::with_capacity(segments), Vec::with_capacity(bytes));
        Parcel { entries, payloads, encapsulations: Vec::new(), now: Timestamp::ZERO, number }
    }

    /// Takes the memory for as much now, not when it is filled for the first time.
    pub(super) fn reserve(&mut self, segments: usize, bytes: usize) {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let nothing = Segment {
            time: Timestamp::ZERO,
            source: nowhere,
            destination: nowhere,
            encapsulation: &Encapsulation::NONE,
            sequence: 0,
            acknowledgment: 0,
            flags: Flags::default(),
            window: 0,
            urgent: 0,
            payload: &[],
            missing: 0,
            fingerprint: 0,
        };
        (0..segments).for_each(|_| self.push(&nothing, Timestamp::ZERO));
        self.payloads.resize(bytes, 0);
        self.clear();
    }

    /// Takes a segment, at the traffic's time `now`.
    pub(super) fn push(&mut self, segment: &Segment<'_>, now: Timestamp) {
        let same =
            |held: &Encapsulation| held == segment.encapsulation && held.layers().eq(segment.encapsulation.layers());
        if !self.encapsulations.last().is_some_and(same) {
            self.encapsulations.push(segment.encapsulation.clone());
        }
        let from = self.payloads.len() as u32;
        self.payloads.extend_from_slice(segment.payload);
        self.entries.push(Entry {
            now,
            time: segment.time,
            source: segment.source,
            destination: segment.destination,
            encapsulation: self.encapsulations.len() as u32 - 1,
            sequence: segment.sequence,
            acknowledgment: segment.acknowledgment,
            flags: segment.flags,
            window: segment.window,
            urgent: segment.urgent,
            from,
            to: self.payloads.len() as u32,
            missing: segment.missing,
            fingerprint: segment.fingerprint,
        });
    }

    /// How many segments there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The traffic's time when the segment at this place was captured.
    #[inline]
    pub(super) fn time_at(&self, place: usize) -> Option<Timestamp> {
        self.entries.get(place).map(|entry| entry.now)
    }

    /// The segment at this place.
    #[inline]
    pub(super) fn segment(&self, place: usize) -> Option<Segment<'_>> {
        let entry = self.entries.get(place)?;
        Some(Segment {
            time: entry.time,
            source: entry.source,
            destination: entry.destination,
            encapsulation: self.encapsulations.get(entry.encapsulation as usize)?,
            sequence: entry.sequence,
            acknowledgment: entry.acknowledgment,
            flags: entry.flags,
            window: entry.window,
            urgent: entry.urgent,
            payload: self.payloads.get(entry.from as usize..entry.to as usize)?,
            missing: entry.missing,
            fingerprint: entry.fingerprint,
        })
    }

    /// Forgets all segments.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.payloads.clear();
        self.encapsulations.clear();
    }
}
