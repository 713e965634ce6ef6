//! The part of a multipart body that carries the operation of GraphQL, files beside it (GraphQL multipart request
//! specification; RFC 7578).

/// Name of that part.
pub(super) const OPERATIONS: &[u8] = b"operations";

/// What the part holds, and whether all of it is there; none where there is no such part. The body's own first line says
/// what stands between parts.
pub(super) fn operations(body: &[u8]) -> Option<(&[u8], bool)> {
    let begin = memchr::memmem::find(body, b"--").filter(|&at| at == 0 || body[..at].ends_with(b"\n"))?;
    let mut rest = body.get(begin..)?;
    let delimiter = rest.get(..memchr::memchr(b'\n', rest)?)?.trim_ascii_end();
    if delimiter.len() <= 2 {
        return None;
    }
    let finder = memchr::memmem::Finder::new(delimiter);
    loop {
        rest = rest.get(memchr::memchr(b'\n', rest)? + 1..)?;
        let mut wanted = false;
        // The header fields of the part.
        loop {
            let line = rest.get(..memchr::memchr(b'\n', rest)?)?;
            rest = rest.get(line.len() + 1..)?;
            let line = line.trim_ascii();
            if line.is_empty() {
                break;
            }
            wanted |= names(line);
        }
        let end = finder.find_iter(rest).find(|&at| at == 0 || rest[..at].ends_with(b"\n"));
        let content = &rest[..end.unwrap_or(rest.len())];
        if wanted {
            return Some((content.trim_ascii(), end.is_some()));
        }
        rest = rest.get(end?..)?;
    }
}

/// Whether a header field says that the part is the one.
fn names(line: &[u8]) -> bool {
    const FIELD: &[u8] = b"content-disposition:";
    let Some((field, parameters)) = line.split_at_checked(FIELD.len()) else { return false };
    field.eq_ignore_ascii_case(FIELD)
        && parameters.split(|&byte| byte == b';').map(<[u8]>::trim_ascii).any(|parameter| {
            let value = parameter.strip_prefix(b"name=").unwrap_or_default();
            value == OPERATIONS || value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")) == Some(OPERATIONS)
        })
}
