//! What a request asks for: authority, path and query of its target.

use std::sync::Arc;

use super::intern::Interner;

/// Most parameter names that are kept of a query.
const QUERY_NAMES: usize = 64;

/// Authority, path and query of a target (RFC 9112, section 3.2).
pub(crate) fn split_target(target: &str, connect: bool) -> (Option<&str>, &str, &str) {
    if connect {
        return (Some(target), "", "");
    }
    // As most are.
    if target.starts_with('/') {
        let end = memchr::memchr2(b'?', b'#', target.as_bytes()).unwrap_or(target.len());
        let (path, rest) = target.split_at(end);
        let Some(query) = rest.strip_prefix('?') else { return (None, path, "") };
        return (None, path, memchr::memchr(b'#', query.as_bytes()).map_or(query, |end| &query[..end]));
    }
    let (authority, rest) = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            (Some(&rest[..end]), &rest[end..])
        }
        _ => (None, target),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    (authority, if path.is_empty() && authority.is_some() { "/" } else { path }, query)
}

/// The names of a query's parameters, decoded.
pub(crate) fn query_names(query: &str, texts: &mut Interner, names: &mut Vec<Arc<str>>) {
    if query.is_empty() {
        return;
    }
    let parts = query.as_bytes().split(|&byte| byte == b'&').filter(|part| !part.is_empty());
    for part in parts.take(QUERY_NAMES) {
        let end = part.iter().position(|&byte| byte == b'=').unwrap_or(part.len());
        let name = &part[..end];
        names.push(match memchr::memchr(b'%', name) {
            Some(_) => texts.text(percent_encoding::percent_decode(name).decode_utf8_lossy().as_bytes()),
            None => texts.text(name),
        });
    }
}
