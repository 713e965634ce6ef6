//! Tables of separated values (RFC 4180, and with semicolons, tabs or bars), read as they stream: each cell is handed on behind
//! the name of its column, as `card_number=4539…`, so that the first row says of every value what a field's name says of it
//! elsewhere. A first row that looks like data names nothing.

use std::mem;

/// Longest first row that is read for names.
const HEADER_LIMIT: usize = 8 << 10;

/// Columns that have names, and bytes of a name: at worst a message under way takes 16 KiB.
const COLUMNS: usize = 128;
const NAME_LIMIT: usize = 48;

/// Names may make of a table so many times as much as it is, and this much at once: short cells have long names.
const GROWTH: u64 = 3;
const ALLOWANCE: u64 = 16 << 10;

/// Bytes that are handed on at a time.
const PIECE: usize = 2048;

#[derive(Debug, Default)]
enum State {
    /// The first row so far.
    #[default]
    Header,
    Rows,
    /// There are no names.
    Plain,
}

/// Where in a cell the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Cell {
    #[default]
    Before,
    Bare,
    Quoted,
    /// Behind a quote within quotes: the end, or half of an escaped one.
    Quote,
}

/// Reads one table.
#[derive(Debug, Default)]
pub(super) struct TableDecoder {
    state: State,
    header: Vec<u8>,
    quoted: bool,
    names: Vec<Box<[u8]>>,
    separator: u8,
    /// None where bytes are missing since the row began.
    column: Option<usize>,
    cell: Cell,
    taken: u64,
    given: u64,
}

impl TableDecoder {
    /// Hands on `bytes` with the names of their columns, in pieces.
    pub(super) fn decode(&mut self, mut bytes: &[u8], mut give: impl FnMut(&[u8])) {
        self.taken += bytes.len() as u64;
        if matches!(self.state, State::Header) {
            let end = bytes.iter().position(|&byte| {
                self.quoted ^= byte == b'"';
                byte == b'\n' && !self.quoted
            });
            let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            let room = HEADER_LIMIT.saturating_sub(self.header.len());
            if line.len() > room {
                self.no_header(&mut give);
                return give(bytes);
            }
            self.header.extend_from_slice(line);
            if end.is_none() {
                return;
            }
            bytes = rest;
            self.read_header();
            self.no_header(&mut give);
            if !self.names.is_empty() {
                (self.state, self.column) = (State::Rows, Some(0));
            }
        }
        match self.state {
            State::Rows => self.rows(bytes, &mut give),
            State::Header | State::Plain => give(bytes),
        }
    }

    /// Hands on the first row as it is.
    fn no_header(&mut self, give: &mut impl FnMut(&[u8])) {
        self.state = State::Plain;
        give(&mem::take(&mut self.header));
    }

    /// There is no more.
    pub(super) fn finish(&mut self, mut give: impl FnMut(&[u8])) {
        if matches!(self.state, State::Header) {
            self.no_header(&mut give);
        }
    }

    /// Bytes are missing: which column comes next is known from the next row on.
    pub(super) fn clear(&mut self, mut give: impl FnMut(&[u8])) {
        self.finish(&mut give);
        self.column = None;
        self.cell = Cell::Before;
    }

    /// Takes the names of the columns from the first row, if it has any.
    fn read_header(&mut self) {
        let line = self.header.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.header).trim_ascii_end();
        let count = |separator: &u8| line.iter().filter(|byte| *byte == separator).count();
        let Some(separator) = [b'|', b'\t', b';', b','].into_iter().max_by_key(count) else { return };
        self.separator = separator;
        let mut names: Vec<Box<[u8]>> = Vec::new();
        for cell in line.split(|&byte| byte == separator).take(COLUMNS) {
            let name = cell.trim_ascii();
            let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name);
            // A name has a letter and is no address, and no more than a few digits.
            let letters = name.iter().filter(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii()).count();
            let digits = name.iter().filter(|byte| byte.is_ascii_digit()).count();
            let data = name.contains(&b'@') || digits > letters || name.len() > 2 * NAME_LIMIT;
            if data || (letters == 0 && !name.is_empty()) {
                return;
            }
            let plain = |&byte: &u8| if byte.is_ascii_alphanumeric() || b"_-.".contains(&byte) { byte } else { b'_' };
            names.push(name.iter().take(NAME_LIMIT).map(plain).collect());
        }
        self.names = names;
    }

    fn rows(&mut self, bytes: &[u8], give: &mut impl FnMut(&[u8])) {
        let mut piece = Vec::with_capacity(PIECE + NAME_LIMIT + 2);
        for &byte in bytes {
            if piece.len() >= PIECE {
                give(&piece);
                piece.clear();
            }
            match (self.cell, byte) {
                (Cell::Before | Cell::Bare | Cell::Quote, b'\n') => {
                    piece.push(byte);
                    (self.cell, self.column) = (Cell::Before, Some(0));
                }
                (Cell::Before | Cell::Bare | Cell::Quote, _) if byte == self.separator => {
                    piece.push(b'\n');
                    self.cell = Cell::Before;
                    self.column = self.column.map(|column| column + 1);
                }
                (Cell::Before, b' ' | b'\t' | b'\r') => piece.push(byte),
                (Cell::Before, _) => {
                    self.name(&mut piece);
                    self.cell = if byte == b'"' { Cell::Quoted } else { Cell::Bare };
                    if byte != b'"' {
                        piece.push(byte);
                    }
                }
                (Cell::Quoted, b'"') => self.cell = Cell::Quote,
                (Cell::Quote, b'"') => {
                    piece.push(byte);
                    self.cell = Cell::Quoted;
                }
                (Cell::Bare | Cell::Quoted | Cell::Quote, _) => piece.push(byte),
            }
        }
        give(&piece);
    }

    /// The name of the column that the next cell is in.
    fn name(&mut self, piece: &mut Vec<u8>) {
        let Some(name) = self.column.and_then(|column| self.names.get(column)) else { return };
        if name.is_empty() || self.given > GROWTH * self.taken + ALLOWANCE {
            return;
        }
        self.given += name.len() as u64 + 1;
        piece.extend_from_slice(name);
        piece.push(b'=');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(pieces: &[&[u8]]) -> String {
        let (mut decoder, mut all) = (TableDecoder::default(), Vec::new());
        for piece in pieces {
            decoder.decode(piece, |decoded| all.extend_from_slice(decoded));
        }
        decoder.finish(|rest| all.extend_from_slice(rest));
        String::from_utf8_lossy(&all).into_owned()
    }

    #[test]
    fn cells_stand_behind_the_names_of_their_columns_however_they_are_cut() {
        let text = "name;\"Card Number\";note\r\nAnna;\"45\"\"39\";\r\n;7;\"a;b\nc\"\n".as_bytes();
        let whole = decoded(&[text]);
        assert_eq!(
            whole,
            "name;\"Card Number\";note\r\nname=Anna\nCard_Number=45\"39\n\r\n\nCard_Number=7\nnote=a;b\nc\n"
        );
        for cut in 0..=text.len() {
            assert_eq!(decoded(&[&text[..cut], &text[cut..]]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_first_row_that_is_data_names_nothing() {
        for text in ["ana@mail.example,7\nbo@mail.example,8\n", "1,2\n3,4\n", "2026-01-02,x\n", "no end", ""] {
            assert_eq!(decoded(&[text.as_bytes()]), text);
        }
        let long = format!("{}\n1,2\n", "a,".repeat(HEADER_LIMIT));
        assert_eq!(decoded(&[long.as_bytes()]), long);
    }

    #[test]
    fn behind_a_loss_columns_are_known_from_the_next_row_on() {
        let (mut decoder, mut all) = (TableDecoder::default(), Vec::new());
        let mut give = |piece: &[u8]| all.extend_from_slice(piece);
        decoder.decode(b"pan,cvv\n1,2\n3", &mut give);
        decoder.clear(&mut give);
        decoder.decode(b",4\n5,6\n", &mut give);
        assert_eq!(String::from_utf8_lossy(&all), "pan,cvv\npan=1\ncvv=2\npan=3\n4\npan=5\ncvv=6\n");
    }

    #[test]
    fn names_make_a_table_only_so_much_larger() {
        let name = "x".repeat(NAME_LIMIT);
        let text = format!("{name},{name}\n{}", "1,2\n".repeat(50_000));
        let length = decoded(&[text.as_bytes()]).len();
        assert!(length <= text.len() * (GROWTH as usize + 2) + ALLOWANCE as usize, "{length} of {}", text.len());
    }
}
