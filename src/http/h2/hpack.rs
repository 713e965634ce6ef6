//! Header compression (HPACK, RFC 7541) as a listener has to read it: without knowing that it has heard everything.
//!
//! A sender refers to entries of a table by how many were inserted since. So after a loss, or where a connection is
//! taken up in the middle, entries that were inserted since are known for certain, whatever was before; what a block
//! refers to beyond them is [`Text::Unknown`] and never a guess. Entries of which the encoder has none any more are not
//! referred to, so holding one too many does no harm; holding one too few only makes it unknown.
//!
//! Every bound is one of [`Limits`]. A block is decoded to its end whatever it comes to, so that the table stays right.

use std::collections::VecDeque;
use std::ops::Range;

use super::huffman;

/// Size of the table until an update says otherwise (RFC 9113, section 6.5.2).
const INITIAL_TABLE: u64 = 4096;

/// What each entry counts beyond its name and value (RFC 7541, section 4.1).
const ENTRY_OVERHEAD: u64 = 32;

/// Most that a number may come to: no string and no table is as large.
const INTEGER_LIMIT: u64 = u32::MAX as u64;

/// What one direction of a connection may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one decoded list, each field counted with 32 more (RFC 9113, section 6.5.2); fields beyond are left out.
    pub list_bytes: usize,
    /// Fields of one list; those beyond are left out.
    pub list_fields: usize,
    /// Bytes of the table, each entry counted with 32 more; the oldest beyond are forgotten.
    pub table_bytes: usize,
    /// Entries of the table; the oldest beyond are forgotten.
    pub table_entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { list_bytes: 256 << 10, list_fields: 512, table_bytes: 64 << 10, table_entries: 2048 }
    }
}

/// A name or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text<'a> {
    /// These bytes.
    Known(&'a [u8]),
    /// It was inserted into the table where nobody listened.
    Unknown,
}

impl<'a> Text<'a> {
    /// The bytes, if they are known.
    pub fn known(self) -> Option<&'a [u8]> {
        match self {
            Text::Known(bytes) => Some(bytes),
            Text::Unknown => None,
        }
    }
}

/// What is wrong with a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It ends in the middle of a field.
    Truncated,
    /// A number beyond any sense.
    Integer,
    /// A reference to an entry that there is not.
    Index,
    /// A string that is no Huffman code.
    Huffman,
    /// The table's size is changed behind the first field.
    SizeUpdate,
}

/// A decoded header list, to be used again.
#[derive(Debug, Default)]
pub struct List {
    bytes: Vec<u8>,
    fields: Vec<(Piece, Piece)>,
    size: usize,
    /// Fields were left out for a limit on the list.
    pub cut: bool,
    /// Entries of the table were forgotten for a limit on it.
    pub forgotten: bool,
}

/// Where a text lies in [`List::bytes`].
#[derive(Clone, Debug)]
struct Piece(Option<Range<u32>>);

impl List {
    /// Empties it; room for usual lists stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(16 << 10);
        self.fields.clear();
        (self.size, self.cut, self.forgotten) = (0, false, false);
    }

    /// The fields in order: name and value.
    pub fn fields(&self) -> impl Iterator<Item = (Text<'_>, Text<'_>)> {
        let text = |piece: &Piece| match &piece.0 {
            Some(range) => Text::Known(self.bytes.get(range.start as usize..range.end as usize).unwrap_or_default()),
            None => Text::Unknown,
        };
        self.fields.iter().map(move |(name, value)| (text(name), text(value)))
    }

    fn push(&mut self, name: Text<'_>, value: Text<'_>, limits: &Limits) {
        let length = |text: Text<'_>| text.known().map_or(0, <[u8]>::len);
        let size = self.size + length(name) + length(value) + ENTRY_OVERHEAD as usize;
        if size > limits.list_bytes || self.fields.len() >= limits.list_fields {
            self.cut = true;
            return;
        }
        self.size = size;
        let mut keep = |text: Text<'_>| {
            let start = self.bytes.len() as u32;
            Piece(text.known().map(|bytes| {
                self.bytes.extend_from_slice(bytes);
                start..self.bytes.len() as u32
            }))
        };
        let field = (keep(name), keep(value));
        self.fields.push(field);
    }
}

/// An entry of the table: its name, of a length, and its value behind it.
#[derive(Debug)]
struct Entry {
    text: Box<[u8]>,
    name: u32,
    name_known: bool,
    value_known: bool,
}

impl Entry {
    fn size(&self) -> u64 {
        self.text.len() as u64 + ENTRY_OVERHEAD
    }

    fn name(&self) -> Text<'_> {
        match self.name_known {
            true => Text::Known(self.text.get(..self.name as usize).unwrap_or_default()),
            false => Text::Unknown,
        }
    }

    fn value(&self) -> Text<'_> {
        match self.value_known {
            true => Text::Known(self.text.get(self.name as usize..).unwrap_or_default()),
            false => Text::Unknown,
        }
    }
}

/// Decodes the header blocks of one direction.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// The newest first.
    entries: VecDeque<Entry>,
    /// Size of all entries.
    size: u64,
    /// What the encoder keeps to; none where an update may have been missed.
    maximum: Option<u64>,
    /// There is no entry that is not in `entries`.
    complete: bool,
    /// The name and value being read.
    scratch: Vec<u8>,
}

impl Decoder {
    /// At the beginning of a connection.
    pub fn new(limits: Limits) -> Decoder {
        Decoder {
            limits,
            entries: VecDeque::new(),
            size: 0,
            maximum: Some(INITIAL_TABLE),
            complete: true,
            scratch: Vec::new(),
        }
    }

    /// Blocks were missed, or may have been: what is in the table now cannot be told apart from what was.
    pub fn lose(&mut self) {
        self.entries.clear();
        self.size = 0;
        self.maximum = None;
        self.complete = false;
    }

    /// What it keeps to.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// True when everything that a block can refer to is known.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Appends the fields of a block to `list`.
    ///
    /// # Errors
    ///
    /// What is wrong with the block. Fields before are in the list. The table is then what it was before the field
    /// at fault; unless the rest of the block comes to nothing, [`Decoder::lose`] is due.
    pub fn decode(&mut self, block: &[u8], list: &mut List) -> Result<(), Error> {
        let mut input = Input(block);
        let mut fields = false;
        while let Some(&first) = input.0.first() {
            // The pattern in the first bits says which representation it is (RFC 7541, section 6).
            match first {
                0x80.. => {
                    let index = input.integer(7)?;
                    self.indexed(index, list)?;
                }
                0x40..=0x7f => self.literal(&mut input, 6, true, list)?,
                0x20..=0x3f if fields => return Err(Error::SizeUpdate),
                0x20..=0x3f => {
                    let maximum = input.integer(5)?;
                    self.resize(maximum, list);
                    continue;
                }
                0x00..=0x1f => self.literal(&mut input, 4, false, list)?,
            }
            fields = true;
        }
        Ok(())
    }

    fn indexed(&mut self, index: u64, list: &mut List) -> Result<(), Error> {
        match self.look_up(index)? {
            Found::Static(name, value) => {
                list.push(Text::Known(name.as_bytes()), Text::Known(value.as_bytes()), &self.limits);
            }
            Found::Entry(at) => {
                if let Some(entry) = self.entries.get(at) {
                    list.push(entry.name(), entry.value(), &self.limits);
                }
            }
            Found::Unknown => list.push(Text::Unknown, Text::Unknown, &self.limits),
        }
        Ok(())
    }

    fn literal(&mut self, input: &mut Input<'_>, prefix: u32, insert: bool, list: &mut List) -> Result<(), Error> {
        let index = input.integer(prefix)?;
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        text.shrink_to(16 << 10);
        let result = self.literal_into(input, index, insert, &mut text, list);
        self.scratch = text;
        result
    }

    fn literal_into(
        &mut self,
        input: &mut Input<'_>,
        index: u64,
        insert: bool,
        text: &mut Vec<u8>,
        list: &mut List,
    ) -> Result<(), Error> {
        let mut name_known = true;
        match index {
            0 => input.string(text)?,
            _ => match self.look_up(index)? {
                Found::Static(name, _) => text.extend_from_slice(name.as_bytes()),
                Found::Entry(at) => match self.entries.get(at).map(Entry::name) {
                    Some(Text::Known(name)) => text.extend_from_slice(name),
                    _ => name_known = false,
                },
                Found::Unknown => name_known = false,
            },
        }
        let name = text.len();
        input.string(text)?;
        let (before, behind) = text.split_at(name);
        let shown = if name_known { Text::Known(before) } else { Text::Unknown };
        list.push(shown, Text::Known(behind), &self.limits);
        if insert {
            self.insert(text, name, name_known, list);
        }
        Ok(())
    }

    fn look_up(&self, index: u64) -> Result<Found, Error> {
        let at = match usize::try_from(index).ok().and_then(|index| index.checked_sub(1)) {
            Some(at) => at,
            None => return Err(Error::Index),
        };
        if let Some(&(name, value)) = STATIC.get(at) {
            return Ok(Found::Static(name, value));
        }
        let at = at - STATIC.len();
        match at < self.entries.len() {
            true => Ok(Found::Entry(at)),
            false if self.complete => Err(Error::Index),
            false => Ok(Found::Unknown),
        }
    }

    fn insert(&mut self, text: &[u8], name: usize, name_known: bool, list: &mut List) {
        let size = text.len() as u64 + ENTRY_OVERHEAD;
        if self.maximum.is_some_and(|maximum| size > maximum) {
            // It empties the table and is not inserted (RFC 7541, section 4.4).
            self.entries.clear();
            self.size = 0;
            self.complete = true;
            return;
        }
        let entry = if size > self.limits.table_bytes as u64 {
            // It counts, though it cannot be kept.
            list.forgotten = true;
            Entry { text: Box::default(), name: 0, name_known: false, value_known: false }
        } else {
            Entry { text: text.into(), name: name as u32, name_known, value_known: true }
        };
        self.size += entry.size();
        self.entries.push_front(entry);
        self.evict(list);
    }

    fn resize(&mut self, maximum: u64, list: &mut List) {
        self.maximum = Some(maximum);
        // In an empty table nothing is unknown.
        self.complete |= maximum < ENTRY_OVERHEAD;
        self.evict(list);
    }

    fn evict(&mut self, list: &mut List) {
        let maximum = self.maximum.unwrap_or(u64::MAX);
        while self.size > maximum {
            let Some(entry) = self.entries.pop_back() else { break };
            self.size -= entry.size();
            // What is known fills the table, so there is nothing beyond it.
            self.complete = true;
        }
        while self.size > self.limits.table_bytes as u64 || self.entries.len() > self.limits.table_entries {
            let Some(entry) = self.entries.pop_back() else { break };
            self.size -= entry.size();
            self.complete = false;
            list.forgotten = true;
        }
    }
}

enum Found {
    Static(&'static str, &'static str),
    Entry(usize),
    Unknown,
}

/// The rest of a block.
struct Input<'b>(&'b [u8]);

impl Input<'_> {
    /// A number of which the first byte has so many bits (RFC 7541, section 5.1).
    fn integer(&mut self, prefix: u32) -> Result<u64, Error> {
        let Some((&first, mut rest)) = self.0.split_first() else { return Err(Error::Truncated) };
        let mask = (1u64 << prefix) - 1;
        let mut value = u64::from(first) & mask;
        if value == mask {
            let mut shift = 0;
            loop {
                let Some((&byte, behind)) = rest.split_first() else { return Err(Error::Truncated) };
                rest = behind;
                // Five bytes of seven bits are more than any number needs; leading zeros beyond are an attack.
                if shift > 28 {
                    return Err(Error::Integer);
                }
                value += u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            if value > INTEGER_LIMIT {
                return Err(Error::Integer);
            }
        }
        self.0 = rest;
        Ok(value)
    }

    /// A string (RFC 7541, section 5.2), appended.
    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let huffman = self.0.first().ok_or(Error::Truncated)? & 0x80 != 0;
        let length = self.integer(7)?;
        let length = usize::try_from(length).map_err(|_| Error::Truncated)?;
        let Some((text, rest)) = self.0.split_at_checked(length) else { return Err(Error::Truncated) };
        self.0 = rest;
        if huffman {
            return huffman::decode(text, out).map_err(|huffman::Malformed| Error::Huffman);
        }
        out.extend_from_slice(text);
        Ok(())
    }
}

/// The static table (RFC 7541, appendix A), from index 1 on.
#[rustfmt::skip]
pub(super) const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests;
