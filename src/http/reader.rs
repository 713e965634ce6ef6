//! One direction of a conversation: where the reader stands between heads and bodies.

use crate::stream::{Gap, Run};
use crate::time::Timestamp;

use super::framing::Framing;
use super::payload::Payload;
use super::recognise::Role;

/// Where in its stream a head stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    /// Offset of its first byte.
    pub(crate) offset: u64,
    /// Offset behind its last byte.
    pub(crate) end: u64,
    /// What its sender had received of the other direction when it sent the end of the head.
    pub(crate) acknowledged: Option<u64>,
    /// When that byte was captured.
    pub(crate) time: Timestamp,
}

/// What the reader expects next.
#[allow(clippy::large_enum_variant, reason = "a box for each body would be an allocation for each message")]
pub(crate) enum Phase {
    /// A head; its beginning may be in [`Reader::partial`].
    Head,
    /// The body of the message of this exchange.
    Body(Body),
    /// Something was lost or is no HTTP: the next head, wherever it is.
    Lost,
    /// Another protocol has taken over.
    Ignored,
}

/// A body on its way.
pub(crate) struct Body {
    pub(crate) framing: Framing,
    pub(crate) content: Payload,
    /// Serial of the exchange that it belongs to.
    pub(crate) serial: u64,
    /// No byte of it was seen yet, and it may not be there: the answer to a request that was not seen (HEAD?).
    pub(crate) doubtful: bool,
    /// When it began, or a record of it was last given out.
    pub(crate) reported: Timestamp,
}

/// One direction.
pub(crate) struct Reader {
    pub(crate) role: Option<Role>,
    pub(crate) phase: Phase,
    /// The beginning of a head that is not whole yet.
    pub(crate) partial: Vec<u8>,
    /// Its first line is whole, and was judged.
    pub(crate) has_line: bool,
    pub(crate) mark: Mark,
    /// Offset behind everything read or given up.
    pub(crate) next: u64,
    /// A loss or a syntax error since this direction was last in step with the other.
    pub(crate) disturbed: bool,
    /// A head was read before: what comes behind it may be trusted to be one.
    pub(crate) heads: u64,
}

impl Reader {
    pub(crate) fn new(midstream: bool) -> Reader {
        Reader {
            role: None,
            phase: Phase::Head,
            partial: Vec::new(),
            has_line: false,
            mark: Mark::default(),
            next: 0,
            disturbed: midstream,
            heads: 0,
        }
    }

    /// Notes where a head begins: `consumed` bytes into the run.
    pub(crate) fn begin_head(&mut self, run: &Run<'_>, consumed: usize) {
        let offset = run.offset + consumed as u64;
        self.mark = Mark { offset, end: offset, acknowledged: run.acknowledged, time: run.time };
    }

    /// Notes where it ends.
    pub(crate) fn end_head(&mut self, run: &Run<'_>, consumed: usize) {
        self.mark.end = run.offset + consumed as u64;
        self.mark.acknowledged = run.acknowledged;
    }

    /// Something was lost: the next head has to be looked for.
    pub(crate) fn lose(&mut self) {
        self.phase = Phase::Lost;
        self.partial = Vec::new();
        self.disturbed = true;
    }

    pub(crate) fn pass(&mut self, gap: &Gap) {
        self.next = gap.offset + gap.length;
    }
}
