//! Texts and attributes of XML (XML 1.0, fifth edition), SOAP among it, as they stream.
//!
//! A field is called by the local names of the elements around it, an attribute by its own behind `@`. References to
//! characters are undone, those to entities of the body's own stay as they are. Sections of CDATA are text. A declaration
//! of a document type, of which SOAP has none and by which parsers are made to read files, is the value of a field `!DOCTYPE`, and
//! so is each text within it.

use std::borrow::Cow;

use super::field::{ATTRIBUTE, Against, DEPTH, Fields, Says, VALUE, plain};

/// Bytes of the longest reference that is undone: `&#x10FFFF;` without its ends.
const REFERENCE: usize = 8;

/// Bytes of the name of an element or attribute that are looked at.
const NAME: usize = 128;

/// What the declaration of a document type is called as a field.
const DOCUMENT_TYPE: &str = "!DOCTYPE";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Between tags.
    #[default]
    Text,
    /// Behind `<`.
    Open,
    /// Behind `<!`, which may begin a comment, a section of CDATA or a declaration.
    Declaring,
    /// In the name of an element.
    Element { closing: bool },
    /// In a tag, before an attribute or the end; `slash` behind the slash of an element that is empty.
    Tag { slash: bool },
    /// In the name of an attribute, and behind it.
    Attribute,
    /// In its value, up to this quote.
    Quoted(u8),
    /// In a comment, an instruction or a section of CDATA, up to these bytes, of which so many were there.
    Until(&'static [u8], usize),
    /// In the declaration of a document type: brackets that are open, and the quote that is.
    DocumentType { brackets: u32, quote: Option<u8> },
    /// In the tag of an element that ends.
    Closing,
}

/// What ends a section of CDATA.
const CDATA_END: &[u8] = b"]]>";

/// An element that is open.
#[derive(Clone, Copy, Debug)]
struct Level {
    /// Bytes of the path that lead to it.
    path: usize,
    says: Says,
}

/// Reads XML.
#[derive(Debug, Default)]
pub(super) struct Xml {
    state: State,
    levels: Vec<Level>,
    /// Elements beyond [`DEPTH`].
    beyond: u32,
    /// The name that is being read, or what begins with `<!`.
    name: Vec<u8>,
    /// Behind `&`: the reference that is being read.
    refers: bool,
    reference: Vec<u8>,
    /// The attribute says nothing of the body, but what its names mean.
    of_names: bool,
}

impl Xml {
    pub(super) fn begin(&mut self) {
        self.state = State::Text;
        self.levels.clear();
        (self.beyond, self.of_names, self.refers) = (0, false, false);
        self.name.clear();
    }

    /// The next bytes.
    pub(super) fn data(&mut self, bytes: &[u8], fields: &mut Fields, against: Against<'_>) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            let taken = match self.state {
                State::Text => self.text(rest, fields),
                State::Quoted(quote) => self.quoted(quote, rest, fields, against),
                State::Until(end, have) => self.until(end, have, rest, fields),
                _ => {
                    self.markup(byte, fields, against);
                    1
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    /// Reads text up to the next tag; gives how many bytes were taken.
    fn text(&mut self, rest: &[u8], fields: &mut Fields) -> usize {
        let end = memchr::memchr(b'<', rest);
        self.characters(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default(), fields);
        match end {
            Some(end) => {
                self.no_reference(fields);
                self.state = State::Open;
                end + 1
            }
            None => rest.len(),
        }
    }

    fn quoted(&mut self, quote: u8, rest: &[u8], fields: &mut Fields, against: Against<'_>) -> usize {
        let end = memchr::memchr(quote, rest);
        self.characters(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default(), fields);
        let Some(end) = end else { return rest.len() };
        self.no_reference(fields);
        match self.of_names {
            true => fields.over(),
            false => fields.text_is_value(plain, against),
        }
        self.back(fields);
        self.state = State::Tag { slash: false };
        end + 1
    }

    /// Keeps characters, and what references stand for.
    fn characters(&mut self, mut bytes: &[u8], fields: &mut Fields) {
        while !bytes.is_empty() {
            if self.refers {
                let room = (REFERENCE + 1).saturating_sub(self.reference.len());
                let near = bytes.get(..bytes.len().min(room)).unwrap_or_default();
                let end = near.iter().position(|&byte| !(byte.is_ascii_alphanumeric() || byte == b'#'));
                let (part, _) = near.split_at(end.unwrap_or(near.len()));
                self.reference.extend_from_slice(part);
                bytes = bytes.get(part.len()..).unwrap_or_default();
                match (end, bytes.first()) {
                    (Some(_), Some(b';')) => {
                        bytes = bytes.get(1..).unwrap_or_default();
                        self.refer(fields);
                    }
                    (None, _) if self.reference.len() <= REFERENCE => {}
                    _ => self.no_reference(fields),
                }
                continue;
            }
            let end = memchr::memchr(b'&', bytes);
            let (part, behind) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.keep(part, fields);
            bytes = behind.get(1..).unwrap_or_default();
            if end.is_some() {
                self.refers = true;
                self.reference.clear();
            }
        }
    }

    /// Keeps what is no blank at the beginning: elements are written on lines of their own.
    fn keep(&self, bytes: &[u8], fields: &mut Fields) {
        let bytes = if fields.is_empty() { bytes.trim_ascii_start() } else { bytes };
        if !bytes.is_empty() && !self.levels.is_empty() {
            fields.keep(bytes);
        }
    }

    /// A reference is whole: keeps what it stands for (section 4.1), or itself where that is not known.
    fn refer(&mut self, fields: &mut Fields) {
        self.refers = false;
        let text = std::str::from_utf8(&self.reference).unwrap_or_default();
        let letter = match text {
            "lt" => Some('<'),
            "gt" => Some('>'),
            "amp" => Some('&'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => text.strip_prefix('#').and_then(|number| {
                let number = match number.strip_prefix('x') {
                    Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(number)
            }),
        };
        match letter {
            Some(letter) => self.keep(letter.encode_utf8(&mut [0; 4]).as_bytes(), fields),
            None => {
                self.keep(b"&", fields);
                self.keep(&self.reference, fields);
                self.keep(b";", fields);
            }
        }
    }

    /// What looked like a reference is none.
    fn no_reference(&mut self, fields: &mut Fields) {
        if std::mem::take(&mut self.refers) {
            self.keep(b"&", fields);
            self.keep(&self.reference, fields);
        }
    }

    /// Passes over bytes up to an end, and keeps them where they are text; gives how many were taken.
    fn until(&mut self, end: &'static [u8], have: usize, rest: &[u8], fields: &mut Fields) -> usize {
        let is_text = end == CDATA_END;
        let Some((&first, _)) = end.split_first() else { return rest.len() };
        if have == 0 {
            let found = memchr::memchr(first, rest).unwrap_or(rest.len());
            if is_text {
                self.keep(rest.get(..found).unwrap_or_default(), fields);
            }
            if found < rest.len() {
                self.state = State::Until(end, 1);
            }
            return (found + 1).min(rest.len());
        }
        let byte = rest.first().copied().unwrap_or_default();
        let have = match () {
            () if end.get(have) == Some(&byte) => have + 1,
            // `--->`, `??>` and `]]]>` end with what may have begun before.
            () if byte == first && have + 1 == end.len() && end.get(have - 1) == Some(&first) => {
                if is_text {
                    self.keep(&[first], fields);
                }
                have
            }
            () => {
                if is_text {
                    self.keep(end.get(..have).unwrap_or_default(), fields);
                }
                self.state = State::Until(end, 0);
                return 0; // this byte is looked at again
            }
        };
        self.state = if have == end.len() { State::Text } else { State::Until(end, have) };
        1
    }

    /// Takes a byte of a tag or a declaration.
    fn markup(&mut self, byte: u8, fields: &mut Fields, against: Against<'_>) {
        match self.state {
            State::Open => {
                self.name.clear();
                self.state = match byte {
                    b'!' => {
                        self.name.extend_from_slice(b"<!");
                        State::Declaring
                    }
                    b'?' => State::Until(b"?>", 0),
                    b'/' => State::Element { closing: true },
                    _ if starts_name(byte) => {
                        self.name.push(byte);
                        State::Element { closing: false }
                    }
                    // No tag at all.
                    _ => {
                        self.keep(b"<", fields);
                        self.keep(&[byte], fields);
                        State::Text
                    }
                };
            }
            State::Declaring => self.declaring(byte),
            State::Element { closing } => match byte {
                b'>' | b'/' | b' ' | b'\t' | b'\r' | b'\n' => {
                    self.value_over(fields, against);
                    if closing {
                        self.leave(fields);
                        self.state = if byte == b'>' { State::Text } else { State::Closing };
                    } else {
                        self.enter(fields, against);
                        self.state = State::Tag { slash: false };
                        if matches!(byte, b'>' | b'/') {
                            self.markup(byte, fields, against);
                        }
                    }
                }
                _ => self.name_goes_on(byte),
            },
            State::Closing if byte == b'>' => self.state = State::Text,
            State::Tag { slash } => match byte {
                b'>' => {
                    if slash {
                        self.leave(fields);
                    }
                    self.state = State::Text;
                }
                b'/' => self.state = State::Tag { slash: true },
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ => {
                    self.name.clear();
                    self.name_goes_on(byte);
                    self.state = State::Attribute;
                }
            },
            State::Attribute => match byte {
                b'"' | b'\'' => {
                    self.attribute(fields, against);
                    self.state = State::Quoted(byte);
                }
                b'>' => {
                    self.state = State::Tag { slash: false };
                    self.markup(byte, fields, against);
                }
                b'=' | b' ' | b'\t' | b'\r' | b'\n' => {}
                _ => self.name_goes_on(byte),
            },
            State::DocumentType { brackets, quote } => self.document_type(byte, brackets, quote, fields, against),
            State::Text | State::Closing | State::Quoted(_) | State::Until(..) => {}
        }
    }

    fn name_goes_on(&mut self, byte: u8) {
        if self.name.len() < NAME {
            self.name.push(byte);
        }
    }

    /// Behind `<!`: which of the three it is.
    fn declaring(&mut self, byte: u8) {
        const CDATA: &[u8] = b"[CDATA[";
        self.name.push(byte);
        self.state = match self.name.get(2..).unwrap_or_default() {
            b"--" => State::Until(b"-->", 0),
            CDATA => State::Until(CDATA_END, 0),
            name if b"--".starts_with(name) || CDATA.starts_with(name) => State::Declaring,
            _ if byte == b'>' => State::Text,
            _ => State::DocumentType { brackets: 0, quote: None },
        };
    }

    /// In the declaration of a document type (section 2.8), which is kept in its beginning.
    fn document_type(&mut self, byte: u8, brackets: u32, quote: Option<u8>, fields: &mut Fields, against: Against<'_>) {
        if self.name.len() < VALUE {
            self.name.push(byte);
        }
        let (brackets, quote) = match (byte, quote) {
            (byte, Some(open)) => (brackets, (byte != open).then_some(open)),
            (b'"' | b'\'', None) => (brackets, Some(byte)),
            (b'[', None) => (brackets.saturating_add(1), None),
            (b']', None) => (brackets.saturating_sub(1), None),
            (b'>', None) if brackets == 0 => {
                let declaration = std::mem::take(&mut self.name);
                fields.aside(DOCUMENT_TYPE, &declaration, against);
                for text in declaration.split(|byte| matches!(byte, b'"' | b'\'')).skip(1).step_by(2) {
                    fields.aside(DOCUMENT_TYPE, text, against);
                }
                self.name = declaration;
                self.state = State::Text;
                return;
            }
            (_, None) => (brackets, None),
        };
        self.state = State::DocumentType { brackets, quote };
    }

    /// The text of an element is over.
    fn value_over(&mut self, fields: &mut Fields, against: Against<'_>) {
        match fields.is_empty() {
            true => fields.over(),
            false => fields.text_is_value(trimmed, against),
        }
    }

    /// An element begins.
    fn enter(&mut self, fields: &mut Fields, against: Against<'_>) {
        let above = self.levels.last().map_or(0, |level| level.path);
        if self.levels.len() >= DEPTH {
            self.beyond = self.beyond.saturating_add(1);
            let path = fields.path();
            fields.name(above, local(&self.name), against.rules);
            fields.back_to(path, fields.says());
            return;
        }
        fields.name(above, local(&self.name), against.rules);
        self.levels.push(Level { path: fields.path(), says: fields.says() });
    }

    /// An element ends.
    fn leave(&mut self, fields: &mut Fields) {
        if self.beyond > 0 {
            self.beyond -= 1;
        } else {
            self.levels.pop();
        }
        self.back(fields);
    }

    /// What comes is of the element that is open.
    fn back(&self, fields: &mut Fields) {
        match self.levels.last() {
            Some(level) => fields.back_to(level.path, level.says),
            None => fields.back_to(0, Says::Nothing),
        }
    }

    /// The value of an attribute begins.
    fn attribute(&mut self, fields: &mut Fields, against: Against<'_>) {
        fields.over();
        self.of_names = self.name.starts_with(b"xmlns");
        let above = self.levels.last().map_or(0, |level| level.path);
        let end = self.name.len() - local(&self.name).len();
        self.name.splice(..end, [ATTRIBUTE]);
        fields.name(above, &self.name, against.rules);
    }
}

/// A text without the blanks behind it.
fn trimmed(text: &[u8]) -> Cow<'_, [u8]> {
    text.trim_ascii_end().into()
}

/// Whether a name may begin with this byte; what is not ASCII may be a letter.
fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':') || !byte.is_ascii()
}

/// A name without its prefix.
fn local(name: &[u8]) -> &[u8] {
    memchr::memchr(b':', name).and_then(|colon| name.get(colon + 1..)).unwrap_or(name)
}
