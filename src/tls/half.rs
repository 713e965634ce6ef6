//! One direction of a connection: which keys its records have come to, and where its plaintext stands.

use std::collections::VecDeque;

use super::handshake::Messages;
use super::open::Opener;
use super::record::{HEADER, Header, Mark, Records};

/// Records whose place in the plaintext is remembered, until the other end acknowledges them: 16 bytes each.
const REMEMBERED: usize = 256;

/// Refused records in a row, from the first on, after which the keys are taken for wrong.
const WRONG: u32 = 16;

/// Under which keys a direction sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Epoch {
    /// None yet.
    Clear,
    /// Early data, which the server may or may not take.
    Early,
    /// The rest of the handshake of TLS 1.3.
    Handshake,
    /// Whatever the application sends.
    Data,
}

/// Places at which a record is looked for after losses, each of which may cost the opening of a whole record.
const TRIALS: u32 = 64;

/// How many of them a record that opens gives back.
const TRIALS_BACK: u32 = 4;

/// A place of the stream, and of the plaintext in it.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    stream: u64,
    plain: u64,
}

/// One direction.
pub(super) struct Half {
    pub(super) records: Records,
    pub(super) messages: Messages,
    pub(super) epoch: Epoch,
    /// For the records of this epoch, once its secret is known.
    pub(super) opener: Option<Box<Opener>>,
    /// For those of the next, where the change between them may have been lost.
    pub(super) next_opener: Option<Box<Opener>>,
    /// Records that do not open are no loss: they are under keys that are not known, and those that are come later.
    pub(super) tolerant: bool,
    /// Records of this direction that were opened.
    pub(super) opened: u64,
    /// Bytes of the last record beside its content.
    overhead: u64,
    /// Refused in a row.
    refused: u32,
    /// A record was seen.
    begun: bool,
    /// Where the stream stands up to which the opener knows what came and what is missing.
    told: u64,
    /// The opener knows of records that are missing.
    pub(super) lossy: bool,
    /// Stream and plaintext behind the last record that was opened.
    end: Place,
    /// The same behind the records before.
    places: VecDeque<Place>,
    /// Stream and plaintext up to where places were forgotten.
    forgotten: Option<Place>,
    /// Places at which a record may still be looked for.
    pub(super) trials: u32,
    /// It sends nothing more, whatever waits.
    pub(super) closing: bool,
    /// That was told.
    pub(super) closed: bool,
    /// Nothing more can be read.
    pub(super) dead: bool,
}

impl Default for Half {
    fn default() -> Half {
        Half {
            records: Records::new(0),
            messages: Messages::default(),
            epoch: Epoch::Clear,
            opener: None,
            next_opener: None,
            tolerant: false,
            opened: 0,
            overhead: 0,
            refused: 0,
            begun: false,
            told: 0,
            lossy: false,
            end: Place::default(),
            places: VecDeque::new(),
            forgotten: None,
            trials: TRIALS,
            closing: false,
            closed: false,
            dead: false,
        }
    }
}

impl Half {
    /// Notes where the first record stands: behind what was in clear, perhaps.
    fn begin(&mut self, mark: Mark) {
        if !self.begun {
            self.begun = true;
            self.told = mark.offset;
            self.end.stream = mark.offset;
        }
    }

    /// Offset of the next byte of plaintext.
    pub(super) fn plain(&self) -> u64 {
        self.end.plain
    }

    /// A record that concerns no keys has passed.
    pub(super) fn pass(&mut self, header: Header, mark: Mark) {
        self.begin(mark);
        if self.told == mark.offset {
            self.told = end_of(header, mark);
        }
    }

    /// Tells the opener what is missing before this record.
    pub(super) fn approach(&mut self, mark: Mark) {
        self.begin(mark);
        if mark.offset > self.told {
            let missing = mark.offset - self.told;
            for opener in [&mut self.opener, &mut self.next_opener].into_iter().flatten() {
                opener.lost(missing);
            }
            self.lossy = true;
        }
        self.told = self.told.max(mark.offset);
    }

    /// This record was refused. True when the keys are wrong by all appearances.
    pub(super) fn refuse(&mut self, header: Header, mark: Mark) -> bool {
        self.told = self.told.max(end_of(header, mark));
        self.refused = self.refused.saturating_add(1);
        if !self.lossy && !self.tolerant {
            self.lossy = true;
            if let Some(opener) = &mut self.opener {
                opener.lost((HEADER + header.length()) as u64);
            }
        }
        self.opened == 0 && self.refused >= WRONG && !self.tolerant
    }

    /// This record was opened, and `plain` bytes of plaintext are in it, of `content` bytes in all. Gives how many bytes of
    /// plaintext are missing before it, in `missing` records.
    pub(super) fn accept(&mut self, header: Header, mark: Mark, content: usize, plain: usize, missing: u64) -> u64 {
        let end = end_of(header, mark);
        let mut gap = 0;
        if missing > 0 && self.epoch == Epoch::Data {
            // As if all of them were of the application, and protected like this one.
            let overhead = (HEADER + header.length()).saturating_sub(content) as u64;
            let bytes = mark.offset.saturating_sub(self.end.stream);
            gap = bytes.saturating_sub(missing.saturating_mul(overhead)).max(1);
        }
        if self.lossy && self.epoch == Epoch::Data && self.end.plain == 0 {
            // What was lost may have been the first of the plaintext.
            gap = gap.max(1);
        }
        self.overhead = (HEADER + header.length()).saturating_sub(content) as u64;
        self.told = self.told.max(end);
        (self.opened, self.refused, self.lossy, self.tolerant) = (self.opened.saturating_add(1), 0, false, false);
        self.next_opener = None;
        self.trials = (self.trials + TRIALS_BACK).min(TRIALS);
        self.end = Place { stream: end, plain: self.end.plain.saturating_add(gap).saturating_add(plain as u64) };
        if plain > 0 {
            if self.places.len() >= REMEMBERED {
                self.forgotten = self.places.pop_front();
            }
            self.places.push_back(self.end);
        }
        gap
    }

    /// Nothing more can be read of it.
    pub(super) fn kill(&mut self) {
        self.dead = true;
        self.records.release();
        self.messages = Messages::default();
        (self.opener, self.next_opener) = (None, None);
    }

    /// Bytes of the stream since the last record that was opened, as far as they were told of.
    pub(super) fn missing_bytes(&self) -> u64 {
        self.told.saturating_sub(self.end.stream)
    }

    /// New keys: the opener of the old ones is not needed any more.
    pub(super) fn enter(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.opener = None;
        self.next_opener = None;
    }

    /// How much of the plaintext had come to the other end when it had `acknowledged` so much of the stream. Of what is held
    /// behind a hole, and not opened yet, this is an estimate: as if it were one record.
    pub(super) fn received(&mut self, acknowledged: u64) -> Option<u64> {
        if self.dead {
            return None;
        }
        if let Some(beyond) = acknowledged.checked_sub(self.end.stream).filter(|&beyond| beyond > 0) {
            return Some(self.end.plain.saturating_add(beyond.saturating_sub(self.overhead)));
        }
        while let Some(place) = self.places.front()
            && place.stream <= acknowledged
        {
            self.forgotten = self.places.pop_front();
        }
        match self.forgotten {
            Some(place) => (place.stream <= acknowledged).then_some(place.plain),
            None => Some(0),
        }
    }
}

fn end_of(header: Header, mark: Mark) -> u64 {
    mark.offset + (HEADER + header.length()) as u64
}
