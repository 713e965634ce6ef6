//! The first element of a SOAP body (SOAP 1.1, section 4; SOAP 1.2 part 1, section 5), and the codes of a fault, out of the
//! tags of an envelope or of its beginning. One pass, no entities. SOAP has no document types, but who attacks a parser by
//! one (XXE) sends it all the same: it is passed over, and nothing in it is followed.

use std::borrow::Cow;

use super::without_mark;

/// Names of the namespaces of SOAP 1.1 and 1.2.
const NAMESPACES: [&[u8]; 2] =
    [b"http://schemas.xmlsoap.org/soap/envelope/", b"http://www.w3.org/2003/05/soap-envelope"];

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'t> {
    /// Local name of the first element of the body.
    Method(&'t str),
    /// An envelope whose body has no element.
    Empty,
    /// An envelope that ends, by the end of the bytes, before the first element.
    Cut,
    /// An envelope that is not well-formed.
    Malformed,
    /// XML that is no envelope.
    Other,
}

/// XML as UTF-8: it may be in UTF-16 as well (XML 1.0, section 4.3.3), with a byte order mark or known by its first bytes
/// (appendix F).
pub(super) fn text(bytes: &[u8]) -> Cow<'_, [u8]> {
    let (unit, wide): (fn([u8; 2]) -> u16, _) = match bytes {
        [0xff, 0xfe, wide @ ..] => (u16::from_le_bytes, wide),
        [0xfe, 0xff, wide @ ..] => (u16::from_be_bytes, wide),
        [b'<', 0, ..] => (u16::from_le_bytes, bytes),
        [0, b'<', ..] => (u16::from_be_bytes, bytes),
        _ => return Cow::Borrowed(without_mark(bytes)),
    };
    let units = wide.as_chunks().0.iter().map(|&pair| unit(pair));
    let text: String = char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Cow::Owned(text.into_bytes())
}

/// Whether XML that begins so is in UTF-16.
pub(super) fn is_wide(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'<', 0, ..] | [0, b'<', ..])
}

/// Reads what [`text`] gives; none where there is no first element to be read.
pub(super) fn find(bytes: &[u8]) -> Option<Found<'_>> {
    enter(&mut Tags { rest: bytes, prolog: true })
}

/// The codes of the fault that an envelope carries, without their prefixes: the one that SOAP has, and what refines it.
/// None where there is no fault.
pub(super) fn fault(bytes: &[u8]) -> Option<[Option<&str>; 2]> {
    let mut tags = Tags { rest: bytes, prolog: true };
    if enter(&mut tags)? != Found::Method("Fault") {
        return None;
    }
    let mut codes = [None; 2];
    for code in &mut codes {
        loop {
            let Next::Tag(tag) = tags.next() else { return Some(codes) };
            match (tag.closing, tag.local()) {
                (false, b"faultcode" | b"Value") if !tag.empty => break,
                (true, b"Fault" | b"Code") => return Some(codes),
                _ => {}
            }
        }
        *code = tags.text();
    }
    Some(codes)
}

/// Reads up to the first element of the body.
fn enter<'t>(tags: &mut Tags<'t>) -> Option<Found<'t>> {
    let root = match tags.next() {
        Next::Tag(root) if !root.closing => root,
        _ => return None,
    };
    let named = || NAMESPACES.iter().any(|name| memchr::memmem::find(root.inside, name).is_some());
    if root.empty || root.local() != b"Envelope" || !named() {
        return Some(Found::Other);
    }
    // Elements that are open below the envelope, of which the outermost may be the body.
    let (mut depth, mut in_body) = (0u64, false);
    loop {
        let tag = match tags.next() {
            Next::Tag(tag) => tag,
            Next::End => return Some(Found::Cut),
            Next::Malformed => return Some(Found::Malformed),
        };
        match (tag.closing, depth) {
            (true, 0) => return Some(Found::Malformed), // the envelope is over and had no body
            (true, 1) if in_body => return Some(Found::Empty),
            (true, _) => depth -= 1,
            (false, 0) if tag.local() == b"Body" && tag.empty => return Some(Found::Empty),
            (false, 0) => {
                in_body = tag.local() == b"Body";
                depth += u64::from(!tag.empty);
            }
            (false, 1) if in_body => {
                return Some(std::str::from_utf8(tag.local()).map_or(Found::Malformed, Found::Method));
            }
            (false, _) => depth += u64::from(!tag.empty),
        }
    }
}

struct Tag<'t> {
    /// What stands between the angle brackets, without slashes.
    inside: &'t [u8],
    closing: bool,
    empty: bool,
}

impl<'t> Tag<'t> {
    /// Its name without the prefix.
    fn local(&self) -> &'t [u8] {
        let end = self.inside.iter().position(u8::is_ascii_whitespace).unwrap_or(self.inside.len());
        let name = &self.inside[..end];
        memchr::memchr(b':', name).map_or(name, |colon| &name[colon + 1..])
    }
}

enum Next<'t> {
    Tag(Tag<'t>),
    End,
    Malformed,
}

struct Tags<'t> {
    rest: &'t [u8],
    /// No element was seen: a document type may come.
    prolog: bool,
}

impl<'t> Tags<'t> {
    /// The name that stands here as text, without its prefix; none where something else does.
    fn text(&mut self) -> Option<&'t str> {
        while let Some(behind) = self.rest.strip_prefix(b"<!--") {
            self.rest = behind.get(memchr::memmem::find(behind, b"-->")? + 3..)?;
        }
        let text = self.rest.get(..memchr::memchr(b'<', self.rest)?)?;
        let text = std::str::from_utf8(text).ok()?.trim();
        text.rsplit(':').next().filter(|name| !name.is_empty())
    }

    /// The next tag; text, comments, CDATA and processing instructions are passed over.
    fn next(&mut self) -> Next<'t> {
        loop {
            let Some(begin) = memchr::memchr(b'<', self.rest) else { return Next::End };
            let rest = &self.rest[begin..];
            let passed = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")]
                .into_iter()
                .find(|(begin, _)| rest.starts_with(begin.as_bytes()));
            if let Some((begin, end)) = passed {
                let Some(at) = memchr::memmem::find(&rest[begin.len()..], end.as_bytes()) else { return Next::End };
                self.rest = &rest[begin.len() + at + end.len()..];
                continue;
            }
            if self.prolog && rest.starts_with(b"<!DOCTYPE") {
                let Some(length) = declared_length(rest) else { return Next::End };
                self.rest = &rest[length..];
                continue;
            }
            if rest.starts_with(b"<!") {
                return Next::Malformed;
            }
            self.prolog = false;
            let Some(length) = tag_length(rest) else { return Next::End };
            self.rest = &rest[length..];
            let inside = &rest[1..length - 1];
            let (closing, inside) = inside.strip_prefix(b"/").map_or((false, inside), |inside| (true, inside));
            let (empty, inside) = inside.strip_suffix(b"/").map_or((false, inside), |inside| (true, inside));
            return match inside.first() {
                Some(first) if !first.is_ascii_whitespace() && *first != b'/' => {
                    Next::Tag(Tag { inside, closing, empty })
                }
                _ => Next::Malformed,
            };
        }
    }
}

/// Bytes of a tag, angle brackets included; those within quotes do not end it.
fn tag_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr3(b'>', b'"', b'\'', bytes.get(at..)?)?;
        match bytes.get(at)? {
            b'>' => return Some(at + 1),
            quote => at += 2 + memchr::memchr(*quote, bytes.get(at + 1..)?)?,
        }
    }
}

/// Bytes of a document type with all that it declares; what lies within quotes, comments and processing instructions does
/// not end it.
fn declared_length(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut open) = (0, 0u32);
    loop {
        let special = |byte: &u8| matches!(byte, b'<' | b'>' | b'"' | b'\'');
        at += bytes.get(at..)?.iter().position(special)?;
        let rest = bytes.get(at..)?;
        let until = |begin: usize, end: &[u8]| Some(begin + memchr::memmem::find(rest.get(begin..)?, end)? + end.len());
        at += match rest {
            [b'<', b'!', b'-', b'-', ..] => until(4, b"-->")?,
            [b'<', b'?', ..] => until(2, b"?>")?,
            [quote @ (b'"' | b'\''), ..] => until(1, &[*quote])?,
            [b'<', ..] => {
                open += 1;
                1
            }
            _ if open == 1 => return Some(at + 1),
            _ => {
                open -= 1;
                1
            }
        };
    }
}
