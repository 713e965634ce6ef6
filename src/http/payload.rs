//! A body by what it carries: content to be decoded and looked at, or the messages of gRPC.

use crate::call::Call;
use crate::inspect::{Inspector, Side};

use super::Shared;
use super::content::{Caps, Content, Decoders, Found, Totals};
use super::events::Events;
use super::fill::caps;
use super::grpc;
use super::operation::{Answer, Tap};

/// The body of one message on its way.
pub(crate) struct Payload {
    carried: Carried,
    /// Of a request, as long as none of it was lost: what tells its body, as sent, from others.
    check: Option<crc32fast::Hasher>,
}

enum Carried {
    Plain(Content),
    Grpc(Box<grpc::Body>),
}

impl Payload {
    /// For a body of a call, as far as that is known, with this `Content-Encoding` and `grpc-encoding`.
    pub(super) fn new(
        side: Side,
        call: Option<&Call>,
        encoding: Option<&[u8]>,
        grpc_encoding: Option<&[u8]>,
        shared: &mut Shared,
    ) -> Payload {
        let message = call.map(|call| if side == Side::Response { &call.response } else { &call.request });
        let media = message.and_then(|message| message.content_type.as_deref());
        let scan = shared.inspector.begin(side, media, &mut shared.decoders.scans);
        // Around gRPC a content encoding is neither usual nor of use; where there is one, messages cannot be told apart.
        let carried = match media.and_then(grpc::Kind::of).filter(|_| encoding.is_none()) {
            Some(kind) => Carried::Grpc(Box::new(grpc::Body::new(kind, grpc_encoding, scan, &shared.decoders.grpc))),
            None => {
                let mut content = Content::new(encoding, scan, caps(shared), &mut shared.decoders);
                if side == Side::Request {
                    let asks = call.filter(|call| call.method == "POST");
                    let pool = &shared.decoders.operations;
                    if let Some(tap) = asks.and_then(|call| Tap::request(media, &call.path, pool)) {
                        content.tap(tap);
                    }
                } else {
                    if let Some(events) = Events::of(media) {
                        content.watch(events);
                    }
                    let pool = &shared.decoders.operations;
                    let password = |call: &&Call| call.request_values.as_ref().is_some_and(|values| values.password);
                    let answer = match call.and_then(|call| call.operation.as_deref()) {
                        Some(operation) => Answer::new(operation.protocol, media, pool),
                        None => call.filter(password).and_then(|_| Answer::to_password(media, pool)),
                    };
                    if let Some(answer) = answer {
                        content.answer(answer);
                    }
                }
                Carried::Plain(content)
            }
        };
        Payload { carried, check: (side == Side::Request).then(crc32fast::Hasher::new) }
    }

    /// For a body of which no more is asked than its length.
    pub(super) fn of(content: Content) -> Payload {
        Payload { carried: Carried::Plain(content), check: None }
    }

    /// What tells the body of a request from others; none where there is no body, or not all of it.
    pub(super) fn checksum(&self) -> Option<u32> {
        let check = self.check.as_ref().filter(|_| self.totals().encoded > 0)?;
        Some(check.clone().finalize())
    }

    /// What the body has come to so far.
    pub(super) fn totals(&self) -> Totals {
        match &self.carried {
            Carried::Plain(content) => content.totals(),
            Carried::Grpc(body) => body.totals(),
        }
    }

    /// The next bytes; `last` when it is known that there are no more.
    #[inline]
    pub(super) fn data(&mut self, bytes: &[u8], last: bool, inspector: &Inspector, caps: Caps, pool: &mut Decoders) {
        if let Some(check) = &mut self.check {
            check.update(bytes);
        }
        match &mut self.carried {
            Carried::Plain(content) => content.data(bytes, last, inspector, caps, pool),
            Carried::Grpc(body) => body.data(bytes, inspector, caps, &mut pool.grpc),
        }
    }

    /// So many bytes were lost.
    pub(super) fn gap(&mut self, length: u64, inspector: &Inspector, caps: Caps, pool: &mut Decoders) {
        self.check = None;
        match &mut self.carried {
            Carried::Plain(content) => content.gap(length, inspector, caps, pool),
            Carried::Grpc(body) => body.gap(length, inspector),
        }
    }

    /// What was kept of a body that may name an operation.
    pub(super) fn take_tap(&mut self) -> Option<Box<Tap>> {
        match &mut self.carried {
            Carried::Plain(content) => content.take_tap(),
            Carried::Grpc(_) => None,
        }
    }

    /// What was read of the answer to an operation.
    pub(super) fn take_answer(&mut self) -> Option<Box<Answer>> {
        match &mut self.carried {
            Carried::Plain(content) => content.take_answer(),
            Carried::Grpc(_) => None,
        }
    }

    /// Writes on the call what only gRPC says, and how many events of a stream came.
    pub(super) fn tell(&mut self, call: &mut Call, response: bool) {
        match &mut self.carried {
            Carried::Grpc(body) => body.tell(call, response),
            Carried::Plain(content) => call.events = content.events().and_then(Events::take).or(call.events),
        }
    }

    /// It may go on for ever, and is reported as long as it does.
    pub(super) fn is_stream(&mut self) -> bool {
        match &mut self.carried {
            Carried::Plain(content) => content.events().is_some(),
            Carried::Grpc(_) => true,
        }
    }

    /// It is in the middle of the first message of gRPC since the last report.
    pub(super) fn is_within_first_message(&self) -> bool {
        match &self.carried {
            Carried::Plain(_) => false,
            Carried::Grpc(body) => body.is_within_first(),
        }
    }

    /// It is a stream of which something came since the last report.
    pub(super) fn has_news(&mut self) -> bool {
        match &mut self.carried {
            Carried::Plain(content) => content.totals().encoded > 0 && content.events().is_some(),
            Carried::Grpc(body) => body.has_news(),
        }
    }

    /// Ends what was found in a stream so far for a report, and begins anew.
    pub(super) fn report(&mut self, call: &mut Call, response: bool, inspector: &Inspector, pool: &mut Decoders) {
        match &mut self.carried {
            Carried::Grpc(body) => body.report(call, response, inspector, pool),
            Carried::Plain(content) => {
                if content.events().is_none() {
                    return;
                }
                let (totals, findings) = content.part(inspector, pool);
                self.tell(call, response);
                let message = if response { &mut call.response } else { &mut call.request };
                message.body_bytes = totals.decoded;
                let Some(findings) = findings else { return };
                message.capped |= findings.capped;
                let list = if response { &mut call.sensitive.response } else { &mut call.sensitive.request };
                inspector.merge(list, &findings.sensitive);
            }
        }
    }

    /// Gives the decoders back, and out what was found.
    pub(super) fn finish(self, inspector: &Inspector, caps: Caps, pool: &mut Decoders) -> Option<Found> {
        match self.carried {
            Carried::Plain(content) => content.finish(inspector, caps, pool),
            Carried::Grpc(body) => body.finish(inspector, pool),
        }
    }

    /// Gives the decoders back.
    pub(super) fn discard(self, shared: &mut Shared) {
        let caps = caps(shared);
        self.finish(&shared.inspector, caps, &mut shared.decoders);
    }
}
