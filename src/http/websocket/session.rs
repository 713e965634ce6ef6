//! Both directions of a WebSocket, whatever carries its bytes: a connection of HTTP/1, or a stream of HTTP/2 (RFC 8441).

use crate::call::Call;
use crate::inspect::Side;
use crate::stats::{Counter, Counters};

use super::super::Shared;
use super::frame::Manner;
use super::handshake::Agreed;
use super::reader::Reader;

/// Code of a connection that ended without a Close frame (RFC 6455, section 7.4.1).
const ABNORMAL: u16 = 1006;

/// All that is kept of one WebSocket.
pub(crate) struct Session {
    agreed: Agreed,
    /// Of the client and of the server.
    readers: [Reader; 2],
    /// What the first Close frame said.
    code: Option<u16>,
}

impl Session {
    /// One that was just opened.
    pub(crate) fn new(agreed: Agreed, counters: &mut Counters) -> Session {
        counters.count(Counter::WebSockets);
        let extensions = agreed.extensions;
        let reader = |side, masked: bool| {
            let alone = extensions.deflate.is_some_and(|deflate| deflate.alone[usize::from(!masked)]);
            let manner = Manner { masked, deflate: extensions.deflate.is_some(), others: extensions.others };
            Reader::new(side, manner, alone)
        };
        Session { agreed, readers: [reader(Side::Request, true), reader(Side::Response, false)], code: None }
    }

    /// Messages may be compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.agreed.extensions.deflate.is_some()
    }

    /// Compressed messages are counted and not decoded.
    pub(crate) fn leave_compressed(&mut self) {
        for reader in &mut self.readers {
            reader.decodes = false;
        }
    }

    /// What this side has sent so far is not known.
    pub(crate) fn begin_lost(&mut self, response: bool) {
        self.readers[usize::from(response)].begin_lost();
    }

    /// Bytes of the client or of the server; `begin`: here it began to write.
    pub(crate) fn data(
        &mut self,
        response: bool,
        bytes: &[u8],
        begin: bool,
        shared: &mut Shared,
        counters: &mut Counters,
    ) {
        let reader = &mut self.readers[usize::from(response)];
        reader.data(bytes, begin, shared, counters);
        self.code = self.code.or(reader.code);
    }

    /// So many bytes were lost; 0 where it is not known how many.
    pub(crate) fn gap(&mut self, response: bool, length: u64, shared: &mut Shared, counters: &mut Counters) {
        let reader = &mut self.readers[usize::from(response)];
        reader.gap(length, shared, counters);
        self.code = self.code.or(reader.code);
    }

    /// True when something came since the last record.
    pub(crate) fn has_news(&self) -> bool {
        self.readers.iter().any(|reader| reader.share.wire > 0)
    }

    /// Writes on the call what came since the last record.
    pub(crate) fn tell(&mut self, call: &mut Call, shared: &Shared) {
        for reader in &mut self.readers {
            reader.tell(call, &shared.inspector);
        }
        let websocket = call.websocket.get_or_insert_default();
        websocket.subprotocol.clone_from(&self.agreed.subprotocol);
        websocket.deflate = self.is_compressed();
        websocket.close_code = self.code;
    }

    /// The same, and no more comes; `ended` when the connection or stream is known to have ended.
    pub(crate) fn finish(&mut self, call: &mut Call, ended: bool, shared: &mut Shared) {
        for reader in &mut self.readers {
            reader.discard(shared);
        }
        let lossy = self.readers.iter().any(|reader| reader.lossy);
        if self.code.is_none() {
            // A Close frame may have been in what was lost.
            self.code = (ended && !lossy).then_some(ABNORMAL);
            (call.request.truncated, call.response.truncated) = (true, true);
        }
        self.tell(call, shared);
    }
}
