//! What the heads and bodies of a message make of its call, whatever version carried them.

use std::borrow::Cow;
use std::sync::Arc;

use crate::call::{Anomalies, Anomaly, Call, Digest, Message, Record, Shape, Version};
use crate::idle::Idle;
use crate::inspect::CredentialHeaders;
use crate::stats::{Counter, Counters};
use crate::stream::{Direction, FlowInfo};
use crate::time::Timestamp;

use super::Shared;
use super::content::{Caps, Found, Stopped, Totals};
use super::conversation::community_id;
use super::grpc;
use super::head::{Fields, Kind, RequestHead, ResponseHead};
use super::header_values;
use super::intern::printable_into;
use super::limits;
use super::operation;
use super::payload::Payload;
use super::target::{query_names, split_target};

/// A call of this flow, of which nothing is known yet.
pub(super) fn new_call(
    flow: &FlowInfo,
    requests: Direction,
    known_id: &mut Option<Arc<str>>,
    shared: &mut Shared,
) -> Box<Call> {
    let (client, server) = flow.ends(requests);
    let community_id = known_id.get_or_insert_with(|| community_id(flow.source, flow.destination));
    let mut call = shared.idle.take().unwrap_or_default();
    if let Some(mut shape) = call.shape.take()
        && shared.idle_shapes.len() < shared.settings.idle_calls
    {
        shape.clear();
        shared.idle_shapes.put(shape);
    }
    call.renew(community_id, &flow.encapsulation);
    call.flow = flow.id;
    call.client = client.into();
    call.server = server.into();
    call
}

/// The shape of a call, which says nothing as long as nothing is put into it.
fn shape<'c>(call: &'c mut Call, idle: &mut Idle<Box<Shape>>) -> &'c mut Shape {
    call.shape.get_or_insert_with(|| idle.take().unwrap_or_default())
}

/// Takes a request's head of so many bytes.
#[inline]
pub(super) fn request(
    call: &mut Call,
    head: &RequestHead<'_>,
    length: u64,
    shared: &mut Shared,
    counters: &mut Counters,
) {
    call.version = head.version;
    printable_into(head.method, &mut call.method);
    call.anomalies.extend(head.fields.anomalies);
    let mut target = std::mem::take(&mut call.target);
    printable_into(head.target, &mut target);
    let (masked, found) = shared.clean.target(&shared.inspector, &target);
    // What is connected to by another protocol (RFC 8441) is a target as any other.
    let connect = head.method == b"CONNECT" && !(head.version == Version::Http2 && head.target.starts_with(b"/"));
    call.sensitive.request = found;
    let (authority, path, query) = split_target(&masked, connect);
    call.host = match authority.filter(|authority| !authority.is_empty()) {
        Some(authority) => Some(shared.texts.text(authority.as_bytes())),
        None => head.fields.host.map(|host| shared.texts.text(host)),
    };
    call.path.clear();
    call.path.push_str(path);
    query_names(query, &mut shared.texts, &mut call.query_names);
    let shapes = shared.inspector.own_headers().is_some();
    if shapes && !call.query_names.is_empty() {
        // What is masked looks like nothing.
        let query = if matches!(masked, Cow::Borrowed(_)) { query } else { split_target(&target, connect).2 };
        let count = call.query_names.len();
        shared.inspector.parameters(query, count, &mut shape(call, &mut shared.idle_shapes).query);
    }
    if call.query_names.iter().any(|name| operation::is_parameter(name)) {
        let limit = shared.settings.operation_bytes;
        call.operation = operation::of_target(&target, &call.path, limit, &mut shared.texts).map(Box::new);
    }
    let headers = CredentialHeaders {
        authorization: head.fields.authorization,
        cookie: head.fields.cookie,
        api_key: head.fields.api_key,
        signature: head.fields.rare(Kind::SignatureInput).or_else(|| head.fields.rare(Kind::Signature)),
        target: &target,
    };
    call.credential = shared.inspector.credential(&headers, &mut shared.credentials);
    let fields = &head.fields;
    let may_have_key = !fields.own.is_empty() || !call.query_names.is_empty() || fields.cookie.is_some();
    if call.credential.is_none() && may_have_key {
        let (texts, cookies) = (&mut shared.texts, fields.cookie);
        call.key_candidates = shared.inspector.key_candidates(&fields.own, &target, cookies, |name| texts.text(name));
        call.credential = shared.inspector.likely_credential(&call.key_candidates);
        if call.credential.is_some() {
            call.key_candidates.clear();
        }
    }
    header_values::request(&mut call.sensitive.request_head, fields, shared, counters);
    if shapes && fields.has_own() {
        let Shared { inspector, texts, cookies, idle_shapes, .. } = shared;
        let shape = shape(call, idle_shapes);
        if !fields.own.is_empty() || fields.api_key_name.is_some() {
            shape.headers = inspector.headers(&fields.own, fields.api_key_name, |name| texts.lower(name));
        }
        if let Some(header) = fields.cookie {
            shape.cookies = cookies.shapes(header, || inspector.cookies(header, |name| texts.text(name)));
        }
    }
    let masked = match masked {
        Cow::Borrowed(_) => None,
        Cow::Owned(masked) => Some(masked),
    };
    call.target = masked.unwrap_or(target);
    call.user_agent = head.fields.user_agent.map(|agent| shared.texts.text(agent));
    if head.fields.is_forwarded() {
        call.forwarding = crate::client::forwarding(
            head.fields.x_forwarded_for.iter().copied(),
            head.fields.forwarded.iter().copied(),
            head.fields.x_real_ip,
        );
    }
    call.request.head_bytes = length;
    describe(&mut call.request, &head.fields, shared);
    let Some(media) = call.request.content_type.as_deref() else { return };
    if head.fields.soap_action.is_some() || matches!(media, "application/soap+xml" | "multipart/related") {
        let (action, kind) = (head.fields.soap_action, head.fields.content_type.unwrap_or_default());
        if head.method == b"POST"
            && let Some(announced) = operation::of_action(media, action, kind, &mut shared.texts)
        {
            call.operation = Some(Box::new(announced));
        }
    }
    if let Some(kind) = grpc::Kind::of(media) {
        call.grpc = Some(grpc::named(&call.path, kind, &mut shared.texts));
    }
}

/// Takes the head of a final response, of so many bytes.
#[inline]
pub(super) fn response(
    call: &mut Call,
    head: &ResponseHead<'_>,
    length: u64,
    shared: &mut Shared,
    counters: &mut Counters,
) {
    call.status = head.status;
    call.anomalies.extend(head.fields.anomalies);
    call.response.head_bytes = length;
    describe(&mut call.response, &head.fields, shared);
    header_values::response(&mut call.sensitive.response, &head.fields, shared, counters);
    if !head.fields.rare.is_empty() {
        call.response_fields = limits::response_fields(&head.fields, head.status, call.response_time).map(Box::new);
        if matches!(head.status, Some(302 | 303)) && matches!(&*call.method, "POST" | "PUT") {
            form_answer(call, &head.fields, shared);
        }
    }
    if let Some(status) = head.fields.grpc_status {
        // An answer without messages says it at once.
        grpc_status(call, status);
    }
}

/// Takes where the answer to a form leads.
fn form_answer(call: &mut Call, fields: &Fields<'_>, shared: &mut Shared) {
    let inspector = &shared.inspector;
    let (path, sets_session) = limits::form_answer(fields, &call.path, |name| inspector.is_session_cookie(name));
    if path.is_none() && !sets_session {
        return;
    }
    let told = call.response_fields.get_or_insert_default();
    told.redirect_path = path.map(|path| inspector.target(&path).0.as_ref().into());
    told.sets_session = sets_session;
}

/// Takes a `grpc-status`, of the head or of the trailers.
pub(super) fn grpc_status(call: &mut Call, value: &[u8]) {
    if let Some(grpc) = &mut call.grpc {
        grpc.status = grpc::parse_status(value);
    } else if call.response.content_type.as_deref().and_then(grpc::Kind::of).is_some() {
        call.grpc.get_or_insert_default().status = grpc::parse_status(value);
    }
}

/// Content type and encoding of a message.
fn describe(message: &mut Message, fields: &Fields<'_>, shared: &mut Shared) {
    message.content_type = fields.content_type.map(|value| {
        let media = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        shared.texts.lower(media)
    });
    message.content_encoding = fields.content_encoding.map(|value| shared.texts.lower(value.trim_ascii()));
}

/// The configured caps of a body.
pub(super) fn caps(shared: &Shared) -> Caps {
    Caps {
        decoded: shared.settings.decoded_limit,
        ratio: shared.settings.decoded_ratio,
        encodings: shared.settings.encoding_limit,
        message: shared.settings.grpc_message_bytes,
    }
}

/// A body is over: what it came to.
pub(super) fn body(
    call: &mut Call,
    response: bool,
    mut payload: Payload,
    truncated: bool,
    shared: &mut Shared,
    counters: &mut Counters,
) {
    let caps = caps(shared);
    let Totals { decoded, stopped, .. } = payload.totals();
    let message = if response { &call.response } else { &call.request };
    let whole = !truncated && stopped.is_none() && message.gap_bytes == 0;
    if let Some(tap) = payload.take_tap().filter(|_| !response && call.method == "POST") {
        let announced = call.operation.take();
        call.operation = operation::settle(&tap, whole, announced, &call.path, &mut shared.texts);
    }
    if let Some(answer) = payload.take_answer().filter(|_| whole) {
        if let Some(operation) = &mut call.operation {
            operation.error = answer.error(call.status, &mut shared.texts);
            operation.failed = if operation.error.is_some() { answer.failures() } else { 0 };
        } else if answer.refuses() {
            call.response_fields.get_or_insert_default().refuses = true;
        }
    }
    payload.tell(call, response);
    let checksum = payload.checksum().filter(|_| !response && !truncated);
    let found = payload.finish(&shared.inspector, caps, &mut shared.decoders);
    let message = if response { &mut call.response } else { &mut call.request };
    message.body_bytes = decoded;
    message.body_fingerprint = checksum.map(|checksum| shared.inspector.body_fingerprint(checksum));
    message.truncated |= truncated;
    message.capped |= matches!(stopped, Some(Stopped::Limit | Stopped::Ratio));
    if let Some(Found::Known(_)) = found {
        counters.count(Counter::BodiesRecalled);
    }
    match stopped {
        Some(Stopped::Damaged) if message.gap_bytes == 0 && !truncated => {
            call.anomalies.insert(Anomaly::MalformedEncoding);
            counters.count(Counter::BodiesUndecodable);
        }
        Some(Stopped::Unknown) => {
            call.anomalies.insert(Anomaly::UnknownEncoding);
            counters.count(Counter::BodiesUndecodable);
        }
        Some(Stopped::Limit) => counters.count(Counter::BodiesTruncated),
        Some(Stopped::Ratio) => {
            call.anomalies.insert(Anomaly::ExpansionRatio);
            counters.count(Counter::BodiesTruncated);
        }
        Some(Stopped::Damaged) | None => {}
    }
    if let Some(findings) = found.as_ref().and_then(Found::findings) {
        let message = if response { &mut call.response } else { &mut call.request };
        if findings.capped {
            message.capped = true;
            counters.count(Counter::InspectionTruncated);
        }
        if let Some(shape) = &findings.shape {
            let seen = self::shape(call, &mut shared.idle_shapes);
            let side = if response { &mut seen.response } else { &mut seen.request };
            *side = Some(shape.clone());
        }
        if !response {
            call.request_values.clone_from(&findings.values);
        }
        let list = if response { &mut call.sensitive.response } else { &mut call.sensitive.request };
        shared.inspector.merge(list, &findings.sensitive);
    }
}

/// A record of a call that goes on, before what came is written on it; what comes later is for the next.
pub(super) fn part(call: &mut Call, part: &mut u32) -> Box<Call> {
    let mut record = Box::new(call.clone());
    record.completeness.open = true;
    record.completeness.part = *part;
    *part = part.saturating_add(1);
    for message in [&mut call.request, &mut call.response] {
        (message.head_bytes, message.wire_bytes, message.body_bytes, message.gap_bytes) = (0, 0, 0, 0);
        message.capped = false;
    }
    // What a side that is over came to is told now, and not again.
    if let Some(grpc) = &mut call.grpc {
        (grpc.request, grpc.response) = Default::default();
    }
    call.events = None;
    call.sensitive = Digest::default();
    call.request_values = None;
    call.anomalies = Anomalies::default();
    record
}

/// Gives out a call whose `completeness.request` and `response` are set.
pub(super) fn emit(
    flow: &FlowInfo,
    mut call: Box<Call>,
    position: &mut u32,
    now: Timestamp,
    shared: &mut Shared,
    counters: &mut Counters,
) {
    call.position = *position;
    *position = position.saturating_add(1);
    call.end_time = now;
    call.latency = call.latency().map(|latency| latency.as_secs_f64());
    call.completeness.one_sided = flow.seen != [true; 2];
    call.completeness.midstream = flow.midstream();
    call.tls.clone_from(&shared.tls);
    shared.inspector.settle(&mut call);
    counters.count(Counter::Calls);
    for (counter, holds) in [
        (Counter::CallsWithoutRequest, !call.completeness.request),
        (Counter::CallsWithoutResponse, !call.completeness.response),
        (Counter::CallsAnomalous, !call.anomalies.is_empty()),
        (Counter::OperationsUnread, call.operation.as_ref().is_some_and(|operation| operation.unread.is_some())),
        (Counter::CallsWithGaps, call.request.gap_bytes + call.response.gap_bytes > 0),
    ] {
        if holds {
            counters.count(counter);
        }
    }
    shared.records.push(Record::Call(call));
}
