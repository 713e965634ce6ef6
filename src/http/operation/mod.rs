//! What a call of GraphQL, JSON-RPC or SOAP asks for, and how it came out ([`Operation`]): its URL is the same for all of
//! them.
//!
//! | file | owns |
//! | --- | --- |
//! | `tap` | the beginning of a body, kept until the body is over |
//! | `answer` | what the answer says went wrong |
//! | `graphql` | the structure of a document |
//! | `json` | the members of a body that matter |
//! | `multipart` | the part of a form that carries an operation, files beside it |
//! | `soap` | the first element of an envelope's body, the codes of a fault |
//! | `asked` | what is asked for one behind the other |
//!
//! A body is looked at where its media type may carry one of the protocols, and kept only where words of theirs are in
//! it. Programs also send JSON as `text/plain`, as a form (what curl says unless told otherwise) or without any type, and
//! many servers read it: what begins as JSON is looked at there too, but only what speaks for itself counts. Nothing but
//! names leaves: no argument, variable or literal. What is not certain is not said, but that it is not.
//!
//! The action that a head of SOAP names (`SOAPAction`, or the parameter `action` of the media type) counts where the body
//! does not say what is asked for: it was not seen, is not well-formed, is encrypted or has attachments. Servers differ in
//! whether they heed it; the body is what they answer.

mod answer;
mod asked;
mod graphql;
mod json;
mod multipart;
mod refusal;
mod soap;
mod stream;
mod tap;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

pub(super) use answer::Answer;
pub(super) use asked::Asked;
pub(super) use tap::{Pool, Tap};

use crate::call::{Operation, Protocol, Unread};

use super::intern::Interner;

/// Longer names are cut here.
const NAME: usize = 128;

/// Characters of what a document is known by that make a name: 48 bits of a hash, and less than a card's number has.
const KNOWN_BY: usize = 12;

/// Parameters of a target's query of which one is in each that carries an operation.
const PARAMETERS: [&str; 6] = ["query", "extensions", "operationName", "documentId", "doc_id", "variables"];

/// What a body may be by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Json,
    /// JSON by its first byte, whatever its media type says.
    Undeclared,
    /// Nothing but the document.
    Document,
    Xml,
    /// A form of which one part may be JSON.
    Multipart,
}

impl Carrier {
    /// Of a media type in lower case.
    pub(super) fn of(media: &str) -> Option<Carrier> {
        Some(match media {
            "application/json" | "application/json-rpc" | "application/jsonrequest" => Carrier::Json,
            "application/graphql" => Carrier::Document,
            "text/xml" | "application/soap+xml" | "application/xml" => Carrier::Xml,
            "multipart/form-data" => Carrier::Multipart,
            "application/graphql+json" => Carrier::Json,
            _ => return None,
        })
    }

    /// Of a request's media type, which may be absent or what programs say unless told otherwise.
    fn of_request(media: Option<&str>) -> Option<Carrier> {
        match media {
            None | Some("" | "text/plain" | "application/x-www-form-urlencoded") => Some(Carrier::Undeclared),
            // Types of a vendor's own, and what answers of GraphQL are called.
            Some(media) => Carrier::of(media).or_else(|| media.ends_with("+json").then_some(Carrier::Undeclared)),
        }
    }
}

/// What is expected in a body for where it goes and what it is called; where nothing is, only what is certain counts.
#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    /// GraphQL, by the path: what does not parse is a damaged document, not another API's search for words.
    graphql: bool,
    /// JSON-RPC, by the path.
    rpc: bool,
    /// JSON, by the media type.
    json: bool,
}

impl Expected {
    /// In JSON that goes to this path.
    fn at(path: &str) -> Expected {
        Expected { graphql: speaks_graphql(path), rpc: has_word(path, b"rpc"), json: true }
    }
}

/// A text without the byte order mark that may stand before it.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}

/// Reads the operation out of a body, or out of its beginning; then `missing` says why there is no more.
pub(super) fn of_body(
    carrier: Carrier,
    bytes: &[u8],
    missing: Option<Unread>,
    path: &str,
    texts: &mut Interner,
) -> Option<Operation> {
    match carrier {
        Carrier::Json => of_json(bytes, missing, Expected::at(path), texts),
        Carrier::Undeclared => of_json(bytes, missing, Expected::default(), texts),
        Carrier::Multipart => {
            let (bytes, whole) = multipart::operations(bytes)?;
            of_json(bytes, missing.filter(|_| !whole), Expected::at(path), texts)
        }
        Carrier::Document if missing.is_some() => Some(Operation::unread(Protocol::GraphQl, missing?)),
        Carrier::Document => {
            let found = std::str::from_utf8(bytes).ok().and_then(|text| graphql::find(text, None));
            Some(match found {
                Some(found) => of_document(&found, texts),
                None => Operation::unread(Protocol::GraphQl, Unread::Malformed),
            })
        }
        Carrier::Xml => {
            let mut operation = Operation { protocol: Protocol::Soap, ..Operation::default() };
            match soap::find(&soap::text(bytes))? {
                soap::Found::Other => return None,
                soap::Found::Method("EncryptedData") => operation.unread = Some(Unread::Incomplete),
                soap::Found::Method(method) => operation.name = name(method, texts),
                soap::Found::Empty => {}
                soap::Found::Cut => operation.unread = Some(missing.unwrap_or(Unread::Malformed)),
                soap::Found::Malformed => operation.unread = Some(Unread::Malformed),
            }
            Some(operation)
        }
    }
}

/// Whether a target's query with this parameter may carry an operation.
pub(super) fn is_parameter(name: &str) -> bool {
    PARAMETERS.contains(&name)
}

/// Reads the operation out of a target's query (GraphQL over HTTP, section on GET): a document in `query`, or what stands
/// for one that the server has: `extensions` with a persisted query, and where the path says that GraphQL is spoken,
/// `documentId`, `doc_id`, `id` beside `variables`, or the name of the operation alone.
pub(super) fn of_target(target: &str, path: &str, limit: usize, texts: &mut Interner) -> Option<Operation> {
    let (_, query) = target.split_once('?')?;
    let query = query.split('#').next().unwrap_or_default();
    let value = |wanted: &str| {
        query
            .split('&')
            .find_map(|part| part.split_once('=').filter(|(name, _)| *name == wanted))
            .map(|(_, value)| value)
    };
    let graphql = speaks_graphql(path);
    let unread = |reason| graphql.then(|| Operation::unread(Protocol::GraphQl, reason));
    let document = value("query");
    let selected = value("operationName").and_then(decoded);
    if let Some(document) = document.filter(|document| !document.is_empty()) {
        if document.len() > limit {
            return unread(Unread::TooLarge);
        }
        return match decoded(document).as_deref().and_then(|document| graphql::find(document, selected.as_deref())) {
            Some(found) => Some(of_document(&found, texts)),
            None => unread(Unread::Malformed),
        };
    }
    let short = |name: &str| value(name).filter(|value| value.len() <= limit).and_then(decoded);
    let known = match short("extensions").and_then(|extensions| json::persisted(&extensions)) {
        Some(hash) => Some(Cow::Owned(hash)),
        None if graphql => {
            let with_variables = || short("id").filter(|_| value("variables").is_some());
            short("documentId").or_else(|| short("doc_id")).or_else(with_variables)
        }
        None => None,
    };
    let selected = selected.and_then(|selected| name(&selected, texts));
    if known.is_none() && !(graphql && selected.is_some()) {
        return document.and_then(|_| unread(Unread::Malformed));
    }
    let name = selected.or_else(|| known_by(&known?, texts));
    Some(Operation { name, ..Operation::default() })
}

/// The operation that the head of a SOAP request names: by its `SOAPAction`, or by the parameter `action` of its media type
/// (RFC 3902, section 3; with attachments, RFC 2387).
pub(super) fn of_action(media: &str, action: Option<&[u8]>, kind: &[u8], texts: &mut Interner) -> Option<Operation> {
    let carries = Carrier::of(media) == Some(Carrier::Xml) || media == "multipart/related";
    let action = std::str::from_utf8(action.or_else(|| parameter(kind, b"action")).filter(|_| carries)?).ok()?;
    // A URI that ends in the name, or the name alone.
    let action = action.trim().trim_matches('"').trim_end_matches('/');
    let own = action.rsplit(['/', '#', ':', '?']).next()?;
    Some(Operation { protocol: Protocol::Soap, name: Some(name(own, texts)?), ..Operation::default() })
}

/// A parameter of a media type.
fn parameter<'v>(value: &'v [u8], wanted: &[u8]) -> Option<&'v [u8]> {
    value.split(|&byte| byte == b';').skip(1).find_map(|part| {
        let equals = memchr::memchr(b'=', part)?;
        part[..equals].trim_ascii().eq_ignore_ascii_case(wanted).then(|| part[equals + 1..].trim_ascii())
    })
}

/// What a request asks for whose body is over: by the beginning of the body, and by what its head has `announced`. `whole`:
/// nothing of it was lost besides what the tap knows.
pub(super) fn settle(
    tap: &Tap,
    whole: bool,
    announced: Option<Box<Operation>>,
    path: &str,
    texts: &mut Interner,
) -> Option<Box<Operation>> {
    let found = tap.read(whole).and_then(|(carrier, bytes, missing)| of_body(carrier, bytes, missing, path, texts));
    match found {
        Some(found) => Some(Box::new(found.or_named(announced.as_deref()))),
        // It is no envelope. What cannot be read may well be one.
        None if whole && tap.is_other_xml() => announced.filter(|operation| operation.protocol != Protocol::Soap),
        None => announced,
    }
}

/// A value of a query as forms write it.
fn decoded(value: &str) -> Option<Cow<'_, str>> {
    if !value.contains('+') {
        return percent_encoding::percent_decode_str(value).decode_utf8().ok();
    }
    let spaced = value.replace('+', " ");
    let text = percent_encoding::percent_decode_str(&spaced).decode_utf8().ok()?.into_owned();
    Some(Cow::Owned(text))
}

/// Whether a path says that GraphQL is spoken there.
fn speaks_graphql(path: &str) -> bool {
    has_word(path, b"graphql")
}

fn has_word(path: &str, wanted: &[u8]) -> bool {
    path.as_bytes().windows(wanted.len()).any(|word| word.eq_ignore_ascii_case(wanted))
}

fn of_json(bytes: &[u8], missing: Option<Unread>, expected: Expected, texts: &mut Interner) -> Option<Operation> {
    let json::Body { objects, stopped } = json::read(bytes);
    let unread = match stopped {
        None => missing,
        Some(json::Stopped::Cut) => Some(missing.unwrap_or(Unread::Malformed)),
        Some(json::Stopped::Malformed) => Some(Unread::Malformed),
    };
    let mut objects = objects.iter();
    let Some(operation) = objects.find_map(|members| of_members(members, unread, expected, texts)) else {
        // What was kept did not come to an operation; elsewhere that may be the body of any API.
        let protocol = Protocol::GraphQl;
        return unread.filter(|_| expected.graphql).map(|reason| Operation::unread(protocol, reason));
    };
    let mut asked = Asked::new(operation);
    for members in objects {
        if let Some(next) = of_members(members, unread, expected, texts) {
            asked.add(next, texts);
        }
    }
    let mut operation = Operation::from(asked);
    operation.unread = operation.unread.or(unread);
    Some(operation)
}

/// Reads the operation out of a message of a WebSocket: one of GraphQL over WebSocket, of which the document is in the
/// `payload` of a message of type `subscribe` (graphql-transport-ws) or `start` (the older graphql-ws), or one of JSON-RPC.
pub(super) fn of_message(bytes: &[u8], missing: Option<Unread>, texts: &mut Interner) -> Option<Operation> {
    let json::Envelope { asks, payload } = json::envelope(bytes);
    if let Some(members) = payload.filter(|_| asks) {
        let expected = Expected { graphql: true, json: true, rpc: false };
        return of_members(&members, missing, expected, texts);
    }
    // What has no method is the client's answer to the server's own request.
    let asks =
        |found: &Operation| found.protocol != Protocol::JsonRpc || found.name.is_some() || found.unread != MALFORMED;
    of_json(bytes, missing, Expected { json: true, ..Expected::default() }, texts).filter(asks)
}

const MALFORMED: Option<Unread> = Some(Unread::Malformed);

/// The operation that one object asks for; `unread` says why the body was not read to its end.
fn of_members(
    members: &json::Members,
    unread: Option<Unread>,
    expected: Expected,
    texts: &mut Interner,
) -> Option<Operation> {
    let unread = unread.filter(|_| !members.whole);
    let known = stands_for(members, expected);
    // Some clients leave the member in its place, empty.
    if let Some(document) = members.query.as_deref().filter(|document| known.is_none() || !document.is_empty()) {
        if let Some(found) = graphql::find(document, members.operation.as_deref()) {
            return Some(of_document(&found, texts));
        }
        if expected.graphql {
            // Which operation is meant may stand behind what was kept.
            return Some(Operation::unread(Protocol::GraphQl, unread.unwrap_or(Unread::Malformed)));
        }
    }
    if let Some(known) = known {
        let selected = members.operation.as_deref().and_then(|selected| name(selected, texts));
        // Behind what was kept the document itself may come, or the name.
        let certain = || unread.is_none().then(|| known_by(&known, texts)).flatten();
        return Some(Operation { name: selected.or_else(certain), ..Operation::default() });
    }
    // The first version had no mark of its own: a call has all three members.
    let old = members.method.is_some() && members.params && members.id.is_some();
    if !members.jsonrpc && !old && !is_cut_call(members, unread, expected) {
        return None;
    }
    let Some(method) = &members.method else {
        // An answer that is sent as a request, or what came of it is not known.
        return Some(Operation::unread(Protocol::JsonRpc, unread.unwrap_or(Unread::Malformed)));
    };
    let name = name(method, texts);
    let unread = if name.is_none() { Some(Unread::Malformed) } else { None };
    Some(Operation { protocol: Protocol::JsonRpc, name, unread, ..Operation::default() })
}

/// What stands for a document that the server has: the hash of a persisted query (Apollo), or where GraphQL is expected what
/// the document is called (`documentId` of GraphQL over HTTP, appendix on persisted documents; `doc_id` and `id` of Relay).
fn stands_for<'m>(members: &'m json::Members, expected: Expected) -> Option<Cow<'m, str>> {
    if let Some(hash) = &members.persisted {
        return Some(Cow::Borrowed(hash));
    }
    if !expected.graphql || members.jsonrpc || members.method.is_some() {
        return None;
    }
    match members.document.as_ref().or(members.id.as_ref().filter(|_| members.whole))? {
        json::Id::Text(text) => Some(Cow::Borrowed(text)),
        json::Id::Number(number) => Some(Cow::Owned(number.to_string())),
        json::Id::Other => None,
    }
}

/// Whether what was kept is the beginning of a call of JSON-RPC whose mark or method stands behind parameters that are too
/// long: it has nothing but members of one, and more than `params` speaks for it.
fn is_cut_call(members: &json::Members, unread: Option<Unread>, expected: Expected) -> bool {
    let cut = matches!(unread, Some(Unread::TooLarge | Unread::Incomplete)) && members.begun && !members.others;
    cut && expected.json && (expected.rpc || members.method.is_some() || members.id.is_some())
}

/// A name for what the server knows a document by, where its operation has none: the beginning of a hash or a number, which
/// is the same for all users; a name where it is one. What client and version are before it (`client/version/hash`), and
/// which hash it is (`sha256:hash`), is left out.
fn known_by(known: &str, texts: &mut Interner) -> Option<Arc<str>> {
    let own = known.rsplit(['/', '~', ':']).next()?;
    if !own.bytes().all(|byte| byte.is_ascii_hexdigit())
        && let Some(name) = name(own, texts)
    {
        return Some(name);
    }
    let short = own.get(..own.len().min(KNOWN_BY)).filter(|short| !short.is_empty())?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+');
    short.bytes().all(plain).then(|| texts.text(short.as_bytes()))
}

fn of_document(found: &graphql::Found<'_>, texts: &mut Interner) -> Operation {
    Operation {
        protocol: Protocol::GraphQl,
        kind: Some(found.kind),
        name: found.name.and_then(|text| name(text, texts)),
        fields: found.fields.iter().filter_map(|field| name(field, texts)).collect(),
        depth: found.depth,
        aliases: found.aliases,
        repeats: found.repeats,
        introspection: found.introspection,
        ..Operation::default()
    }
}

/// A name that may be printed: letters, digits and what joins them, a letter or underscore first. Anything else could be
/// a value that somebody put there.
fn name(text: &str, texts: &mut Interner) -> Option<Arc<str>> {
    let joins = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | '/' | ':' | '$');
    let begins = |letter: char| letter.is_alphabetic() || letter == '_';
    let short = text.get(..text.floor_char_boundary(NAME)).unwrap_or_default();
    let good = short.starts_with(begins) && short.chars().all(joins);
    good.then(|| texts.text(short.as_bytes()))
}
