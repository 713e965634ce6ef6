//! Texts and numbers of JSON (RFC 8259), a byte at a time.

use super::field::{Against, DEPTH, Fields, plain};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Between values.
    #[default]
    Between,
    Text {
        name: bool,
    },
    Number,
    /// Behind a backslash in a text.
    Escape {
        name: bool,
    },
    /// Behind `\u`: how many digits there were, and their number.
    Unicode {
        name: bool,
        digits: u8,
        number: u16,
    },
}

/// A list or an object that is open.
#[derive(Clone, Copy, Debug)]
struct Level {
    list: bool,
    /// Bytes of the path that lead to it.
    path: usize,
}

/// Reads JSON.
#[derive(Debug, Default)]
pub(super) struct Json {
    state: State,
    levels: Vec<Level>,
    /// Levels beyond [`DEPTH`].
    beyond: u32,
    /// The next text of an object is a name.
    expects_name: bool,
}

impl Json {
    pub(super) fn begin(&mut self) {
        self.state = State::Between;
        self.levels.clear();
        (self.beyond, self.expects_name) = (0, false);
    }

    /// The next bytes.
    pub(super) fn data(&mut self, bytes: &[u8], fields: &mut Fields, against: Against<'_>) {
        let keep = |fields: &mut Fields, name: bool, bytes: &[u8]| match name {
            true => fields.keep_name(bytes),
            false => fields.keep(bytes),
        };
        let mut place = 0;
        while let Some(&byte) = bytes.get(place) {
            match self.state {
                State::Text { name } => {
                    let rest = bytes.get(place..).unwrap_or_default();
                    let end = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                    keep(fields, name, rest.get(..end).unwrap_or_default());
                    place += end;
                    match rest.get(end) {
                        Some(b'"') => self.text_over(name, fields, against),
                        Some(_) => self.state = State::Escape { name },
                        None => return,
                    }
                }
                State::Escape { name } => {
                    self.state = State::Text { name };
                    match byte {
                        b'u' => self.state = State::Unicode { name, digits: 0, number: 0 },
                        b'n' | b'r' | b't' => keep(fields, name, b" "),
                        b'b' | b'f' => {}
                        byte => keep(fields, name, &[byte]),
                    }
                }
                State::Unicode { name, digits, number } => {
                    let digit = char::from(byte).to_digit(16).unwrap_or_default() as u16;
                    let number = number << 4 | digit;
                    if digits < 3 {
                        self.state = State::Unicode { name, digits: digits + 1, number };
                    } else {
                        // Half a pair is no character; what it is half of is of no interest here.
                        let letter = char::from_u32(u32::from(number)).unwrap_or(char::REPLACEMENT_CHARACTER);
                        keep(fields, name, letter.encode_utf8(&mut [0; 4]).as_bytes());
                        self.state = State::Text { name };
                    }
                }
                State::Number if matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-') => fields.keep(&[byte]),
                State::Number => {
                    self.state = State::Between;
                    fields.text_is_value(plain, against);
                    self.token(byte, fields);
                }
                State::Between => self.token(byte, fields),
            }
            place += 1;
        }
    }

    fn token(&mut self, byte: u8, fields: &mut Fields) {
        match byte {
            b'"' => {
                self.state = State::Text { name: self.expects_name };
                fields.over();
            }
            b'0'..=b'9' | b'-' => {
                self.state = State::Number;
                fields.over();
                fields.keep(&[byte]);
            }
            b'{' | b'[' if self.levels.len() < DEPTH => {
                let list = byte == b'[';
                if list {
                    fields.lead("[]");
                }
                self.levels.push(Level { list, path: fields.path() });
                self.expects_name = !list;
            }
            b'{' | b'[' => self.beyond = self.beyond.saturating_add(1),
            b'}' | b']' if self.beyond > 0 => self.beyond -= 1,
            b'}' | b']' => {
                self.levels.pop();
                self.expects_name = false;
            }
            b',' if self.beyond == 0 => {
                if let Some(level) = self.levels.last() {
                    fields.back_to(level.path, fields.says());
                    self.expects_name = !level.list;
                }
            }
            _ => {}
        }
    }

    fn text_over(&mut self, name: bool, fields: &mut Fields, against: Against<'_>) {
        self.state = State::Between;
        if !name {
            fields.text_is_value(plain, against);
            return;
        }
        self.expects_name = false;
        let above = self.levels.last().map_or(0, |level| level.path);
        fields.text_is_name(above, plain, self.beyond == 0, against);
    }
}
