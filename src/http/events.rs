//! Answers that are streams: they have no end of their own, are looked at as they come, and reported as long as they go on.

/// How events follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Server-sent events: blocks of lines with an empty line behind each (HTML, section 9.2.5).
    Blocks,
    /// A JSON text a line.
    Lines,
    /// JSON texts with a record separator before each (RFC 7464).
    Records,
    /// Parts that replace one another, which are not counted.
    Parts,
}

/// The events of a stream, counted as they come.
#[derive(Clone, Debug)]
pub(super) struct Events {
    manner: Manner,
    count: u64,
    /// Where the line under way stands.
    line: Line,
    /// The block under way has a field.
    field: bool,
    /// The last byte was a carriage return, and a line feed behind it belongs to it.
    returned: bool,
}

/// What is known of the line under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Empty,
    /// A comment, which servers send to keep the connection open.
    Comment,
    Field,
}

impl Events {
    /// Of an answer of this media type; none where it is no stream.
    pub(super) fn of(media: Option<&str>) -> Option<Events> {
        let manner = match media? {
            "text/event-stream" => Manner::Blocks,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                Manner::Lines
            }
            "application/json-seq" => Manner::Records,
            "multipart/x-mixed-replace" => Manner::Parts,
            _ => return None,
        };
        Some(Events { manner, count: 0, line: Line::Empty, field: false, returned: false })
    }

    /// The next bytes, content encodings undone.
    pub(super) fn data(&mut self, bytes: &[u8]) {
        match self.manner {
            Manner::Parts => {}
            Manner::Records => self.count += memchr::memchr_iter(0x1e, bytes).count() as u64,
            Manner::Blocks | Manner::Lines => self.lines(bytes),
        }
    }

    fn lines(&mut self, bytes: &[u8]) {
        let mut from = 0;
        for end in memchr::memchr2_iter(b'\n', b'\r', bytes) {
            let text = bytes.get(from..end).unwrap_or_default();
            self.text(text);
            let line_feed = bytes.get(end) == Some(&b'\n');
            let second = std::mem::take(&mut self.returned) && text.is_empty() && line_feed;
            if !second {
                self.end_line();
            }
            self.returned = !line_feed;
            from = end + 1;
        }
        let rest = bytes.get(from..).unwrap_or_default();
        self.text(rest);
        self.returned &= rest.is_empty();
    }

    /// Takes a part of a line.
    fn text(&mut self, text: &[u8]) {
        if self.line == Line::Empty
            && let Some(&first) = text.first()
        {
            self.line = if first == b':' { Line::Comment } else { Line::Field };
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::replace(&mut self.line, Line::Empty);
        match (self.manner, line) {
            (Manner::Lines, Line::Empty) | (Manner::Blocks, Line::Comment) => {}
            (Manner::Lines, _) => self.count += 1,
            (_, Line::Field) => self.field = true,
            _ => self.count += u64::from(std::mem::take(&mut self.field)),
        }
    }

    /// How many there were since this was last asked; none where they are not counted.
    pub(super) fn take(&mut self) -> Option<u64> {
        let count = std::mem::take(&mut self.count);
        (self.manner != Manner::Parts).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(media: &str, text: &[u8]) -> Option<u64> {
        let whole = {
            let mut events = Events::of(Some(media)).expect("a stream");
            events.data(text);
            events.take()
        };
        for size in 1..6 {
            let mut events = Events::of(Some(media)).expect("a stream");
            text.chunks(size).for_each(|piece| events.data(piece));
            assert_eq!(events.take(), whole, "in pieces of {size}");
        }
        whole
    }

    #[test]
    fn blocks_with_a_field_are_events() {
        let text =
            b"retry: 3\n\n: still there\n\nid: 1\ndata: a\ndata: b\n\n\n\n: comment\ndata: c\n\ndata: never ended";
        assert_eq!(count("text/event-stream", text), Some(3));
        assert_eq!(count("text/event-stream", b"data: a\r\n\r\ndata: b\r\rdata: c\n\ndata\r\n\n"), Some(4));
        assert_eq!(count("text/event-stream", b"\r\n\r\n\n"), Some(0));
    }

    #[test]
    fn lines_and_records() {
        assert_eq!(count("application/x-ndjson", b"{}\n{\"a\":1}\r\n\n[]\n:\n{\"cut"), Some(4));
        assert_eq!(count("application/json-seq", b"\x1e{}\n\x1e[]\n"), Some(2));
        assert_eq!(count("multipart/x-mixed-replace", b"--a\n\n"), None);
        assert!(Events::of(Some("application/json")).is_none());
    }
}
