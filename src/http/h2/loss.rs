//! What a loss costs: bytes of a body, a head, or the place where frames begin.

use crate::stats::Counters;
use crate::stream::{FlowInfo, Gap};
use crate::time::Timestamp;

use super::super::Shared;
use super::connection::Connection;
use super::frame::kind;
use super::reader::Phase;

impl Connection {
    /// Bytes were lost.
    pub(crate) fn gap(&mut self, flow: &FlowInfo, gap: Gap, shared: &mut Shared, counters: &mut Counters) {
        let d = gap.direction.index();
        let now = gap.now;
        match &mut self.readers[d].phase {
            Phase::Skip(left) if gap.length <= *left => {
                *left -= gap.length;
                if *left == 0 {
                    self.readers[d].expect_header();
                }
            }
            Phase::Data(data) if gap.length <= data.left && !data.padded => {
                let inside = gap.length.min(data.left - data.padding);
                data.left -= gap.length;
                data.padding = data.padding.min(data.left);
                let data = *data;
                let response = self.client.is_none_or(|client| client.index() != d);
                if let Some(stream) = self.streams.get_mut(&data.stream) {
                    stream.gap(response, inside, shared, counters);
                }
                if data.left == 0 {
                    self.readers[d].expect_header();
                    if data.end {
                        self.end_side(flow, data.stream, response, now, shared, counters);
                    }
                }
            }
            Phase::Gather(header) => {
                let header = *header;
                let partial = std::mem::take(&mut self.readers[d].partial);
                let left = u64::from(header.length).saturating_sub(partial.len() as u64);
                match header.kind {
                    kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION => {
                        self.torn = true;
                        self.frame(flow, d, header, &partial, false, now, shared, counters);
                        self.torn = false;
                        self.drop_block(flow, d, now, shared, counters);
                        self.readers[d].lose();
                    }
                    _ if gap.length > left => self.lose(flow, d, now, shared, counters),
                    _ => {}
                }
                if gap.length < left {
                    self.readers[d].phase = Phase::Skip(left - gap.length);
                } else if gap.length == left {
                    self.readers[d].expect_header();
                } else {
                    self.lose(flow, d, now, shared, counters);
                }
            }
            _ => self.lose(flow, d, now, shared, counters),
        }
        let reader = &mut self.readers[d];
        reader.next = reader.next.max(gap.offset + gap.length);
        self.after(flow, gap.direction, now, shared, counters);
    }

    /// Where the next frame begins is not known any more, nor what was before it.
    pub(super) fn lose(
        &mut self,
        flow: &FlowInfo,
        d: usize,
        now: Timestamp,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        self.drop_block(flow, d, now, shared, counters);
        self.readers[d].lose();
        self.credit.lose();
        self.allowance.lose();
        let Some(client) = self.client else { return };
        let response = client.index() != d;
        for stream in self.streams.values_mut() {
            let side = &stream.sides[usize::from(response)];
            if !side.ended && side.head {
                stream.gap(response, 0, shared, counters);
            }
        }
    }
}
