//! A body by what it carries: content to be decoded and looked at, or the messages of gRPC.

use crate::call::Call;
use crate::inspect::{Inspector, Side};

use super::Shared;
use super::content::{Caps, Content, Decoders, Found, Totals};
use super::fill::caps;
use super::grpc;
use super::operation::Tap;

/// The body of one message on its way.
pub(crate) enum Payload {
    Plain(Content),
    Grpc(Box<grpc::Body>),
}

impl Payload {
    /// For a body of this media type, `Content-Encoding` and `grpc-encoding`.
    pub(super) fn new(
        side: Side,
        media: Option<&str>,
        encoding: Option<&[u8]>,
        grpc_encoding: Option<&[u8]>,
        shared: &mut Shared,
    ) -> Payload {
        let scan = shared.inspector.begin(side, media, &mut shared.decoders.scans);
        // Around gRPC a content encoding is neither usual nor of use; where there is one, messages cannot be told apart.
        match media.and_then(grpc::Kind::of).filter(|_| encoding.is_none()) {
            Some(kind) => Payload::Grpc(Box::new(grpc::Body::new(kind, grpc_encoding, scan, &shared.decoders.grpc))),
            None => {
                let mut content = Content::new(encoding, scan, caps(shared), &mut shared.decoders);
                if side == Side::Request
                    && let Some(tap) = Tap::new(media, &shared.decoders.operations)
                {
                    content.tap(tap);
                }
                Payload::Plain(content)
            }
        }
    }

    /// What the body has come to so far.
    pub(super) fn totals(&self) -> Totals {
        match self {
            Payload::Plain(content) => content.totals(),
            Payload::Grpc(body) => body.totals(),
        }
    }

    /// The next bytes; `last` when it is known that there are no more.
    #[inline]
    pub(super) fn data(&mut self, bytes: &[u8], last: bool, inspector: &Inspector, caps: Caps, pool: &mut Decoders) {
        match self {
            Payload::Plain(content) => content.data(bytes, last, inspector, caps, pool),
            Payload::Grpc(body) => body.data(bytes, inspector, caps, &mut pool.grpc),
        }
    }

    /// So many bytes were lost.
    pub(super) fn gap(&mut self, length: u64, inspector: &Inspector, caps: Caps, pool: &mut Decoders) {
        match self {
            Payload::Plain(content) => content.gap(length, inspector, caps, pool),
            Payload::Grpc(body) => body.gap(length, inspector),
        }
    }

    /// What was kept of a body that may name an operation.
    pub(super) fn take_tap(&mut self) -> Option<Box<Tap>> {
        match self {
            Payload::Plain(content) => content.take_tap(),
            Payload::Grpc(_) => None,
        }
    }

    /// Writes on the call what only gRPC says.
    pub(super) fn tell(&self, call: &mut Call, response: bool) {
        if let Payload::Grpc(body) = self {
            body.tell(call, response);
        }
    }

    /// Gives the decoders back, and out what was found.
    pub(super) fn finish(self, inspector: &Inspector, caps: Caps, pool: &mut Decoders) -> Option<Found> {
        match self {
            Payload::Plain(content) => content.finish(inspector, caps, pool),
            Payload::Grpc(body) => body.finish(inspector, pool),
        }
    }

    /// Gives the decoders back.
    pub(super) fn discard(self, shared: &mut Shared) {
        let caps = caps(shared);
        self.finish(&shared.inspector, caps, &mut shared.decoders);
    }
}
