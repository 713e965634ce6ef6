//! The answer to an operation as a stream of events (HTML Living Standard, section 9.2.6): JSON-RPC comes so from servers of
//! the Model Context Protocol, and GraphQL from some. Each event has a text of its own, and the last one that has any is the
//! answer: what comes before tells how far it is.

use super::answer::Json;
use crate::call::Protocol;

/// How a line of data begins.
const DATA: &[u8] = b"data:";

/// A stream of events, on its way.
pub(crate) struct Stream {
    protocol: Protocol,
    /// The event under way.
    json: Json,
    /// The last one that is over.
    last: Option<Json>,
    line: Line,
}

/// Where in a line the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// At its beginning, so many bytes of which are those of [`DATA`].
    Begin(usize),
    Data,
    Other,
}

impl Stream {
    pub(super) fn new(protocol: Protocol) -> Stream {
        Stream { protocol, json: Json::new(protocol), last: None, line: Line::Begin(0) }
    }

    /// The event that is the answer, if one is over.
    pub(super) fn answer(&self) -> Option<&Json> {
        if self.json.is_over() { Some(&self.json) } else { self.last.as_ref() }
    }

    /// The next bytes.
    pub(super) fn data(&mut self, mut bytes: &[u8]) {
        while let Some((&first, behind)) = bytes.split_first() {
            match self.line {
                Line::Begin(0) if matches!(first, b'\n' | b'\r') => {
                    self.end_event();
                    bytes = behind;
                }
                Line::Begin(known) if DATA.get(known) == Some(&first) => {
                    self.line = if known + 1 == DATA.len() { Line::Data } else { Line::Begin(known + 1) };
                    bytes = behind;
                }
                Line::Begin(_) => self.line = Line::Other,
                Line::Data | Line::Other => {
                    let end = memchr::memchr2(b'\n', b'\r', bytes).unwrap_or(bytes.len());
                    let (text, rest) = bytes.split_at(end);
                    if self.line == Line::Data {
                        self.json.data(text);
                    }
                    bytes = rest;
                    if let Some((&mark, behind)) = rest.split_first() {
                        // Of a line end of two bytes the second begins no line.
                        bytes = behind.strip_prefix(b"\n").filter(|_| mark == b'\r').unwrap_or(behind);
                        self.line = Line::Begin(0);
                    }
                }
            }
        }
    }

    /// Bytes were lost: what the answer is nobody knows.
    pub(super) fn gap(&mut self) {
        self.last = None;
        self.json = Json::new(self.protocol);
        self.line = Line::Other;
    }

    fn end_event(&mut self) {
        if self.json.is_over() {
            self.last = Some(std::mem::replace(&mut self.json, Json::new(self.protocol)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pool;
    use super::super::answer::Answer;
    use super::*;
    use crate::http::intern::Interner;

    fn outcome(protocol: Protocol, text: &str) -> Option<u16> {
        let told = |size: usize| {
            let mut answer =
                Answer::new(protocol, Some("text/event-stream"), &Pool::new(400, 400)).expect("it may say it");
            text.as_bytes().chunks(size).for_each(|piece| answer.data(piece, false));
            answer.error(Some(200), &mut Interner::default()).map(|error| error.status)
        };
        let whole = told(text.len().max(1));
        assert_eq!([1, 2, 5].map(told), [whole; 3], "{text}");
        whole
    }

    #[test]
    fn the_last_event_is_the_answer() {
        let progress = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"error\":1}}\n\n";
        let failed = "id: 7\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\r\ndata:\"error\":{\"code\":-32602,\"message\":\"x\"}}\r\n\r\n";
        let good = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"error\":{\"code\":1}}}\n\n";
        assert_eq!(outcome(Protocol::JsonRpc, &format!("{progress}{failed}")), Some(400));
        assert_eq!(outcome(Protocol::JsonRpc, &format!(": ping\n\n{progress}{good}")), None);
        assert_eq!(outcome(Protocol::JsonRpc, &format!("{failed}{good}")), None);
        // What ends without an empty line is over as well.
        assert_eq!(outcome(Protocol::JsonRpc, failed.trim_end()), Some(400));
        assert_eq!(outcome(Protocol::JsonRpc, progress), None);
        let graphql =
            "event: next\ndata: {\"errors\":[{\"extensions\":{\"code\":\"FORBIDDEN\"}}]}\n\nevent: complete\ndata:\n\n";
        assert_eq!(outcome(Protocol::GraphQl, graphql), Some(403));
        assert_eq!(outcome(Protocol::GraphQl, "database: {\"errors\":[1]}\n\n"), None);
    }

    #[test]
    fn behind_a_gap_nothing_is_certain() {
        let mut answer =
            Answer::new(Protocol::JsonRpc, Some("text/event-stream"), &Pool::new(400, 400)).expect("as above");
        answer.data(b"data: {\"error\":{\"code\":1}}\n\nda", false);
        answer.gap();
        answer.data(b"ta: {\"error\":{\"code\":1}}", false);
        assert_eq!(answer.error(Some(200), &mut Interner::default()), None);
    }
}
