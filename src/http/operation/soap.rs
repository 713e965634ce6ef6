//! The first element of a SOAP body (SOAP 1.1, section 4; SOAP 1.2 part 1, section 5), and the codes of a fault, out of the
//! tags of an envelope or of its beginning. One pass, no entities, no document types: SOAP has none.

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
}

/// Reads an envelope; none where this is none.
pub(super) fn find(bytes: &[u8]) -> Option<Found<'_>> {
    enter(&mut Tags::of(bytes))
}

/// The codes of the fault that an envelope carries, without their prefixes: the one that SOAP has, and what refines it.
/// None where there is no fault.
pub(super) fn fault(bytes: &[u8]) -> Option<[Option<&str>; 2]> {
    let mut tags = Tags::of(bytes);
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
        Next::Tag(root) if !root.closing && !root.empty => root,
        _ => return None,
    };
    if root.local() != b"Envelope" || !NAMESPACES.iter().any(|name| memchr::memmem::find(root.inside, name).is_some()) {
        return None;
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
}

impl<'t> Tags<'t> {
    fn of(bytes: &'t [u8]) -> Tags<'t> {
        Tags { rest: bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes) }
    }

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
            if rest.starts_with(b"<!") {
                return Next::Malformed;
            }
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
