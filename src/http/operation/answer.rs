//! What the answer to an operation says of how it came out: GraphQL, JSON-RPC and SOAP say it in the body, whatever HTTP
//! says (GraphQL, October 2021 edition, section 7.1; JSON-RPC 2.0, section 5; SOAP 1.1, section 4.4; SOAP 1.2 part 1, section
//! 5.4).
//!
//! Of JSON only members near the top matter, so it is read as it streams and nothing is kept but the name or code under
//! way: about 200 bytes. What gives data, be it one field of several, is no failure, and is read no further; a batch is read
//! to its end, and its failures are counted. Of XML the beginning is kept, as of requests.

use crate::call::{OperationError, Protocol, Unread};

use super::super::intern::Interner;
use super::stream::Stream;
use super::tap::{Pool, Tap};
use super::{Carrier, name, refusal, soap};

/// Bytes of the longest name of a member, code or message that matters.
const LONGEST: usize = 64;

/// Structures within each other that are told apart: a batch, an answer, `errors`, an error, `extensions`.
const LEVELS: usize = 5;

/// The answer to an operation, or to a password, on its way.
pub(crate) enum Answer {
    Json(Json),
    Stream(Box<Stream>),
    Xml(Tap),
    /// To a password that was given.
    Password(Tap),
}

impl Answer {
    /// For the answer in this protocol and media type; none where such an answer says nothing.
    pub(crate) fn new(protocol: Protocol, media: Option<&str>, pool: &Pool) -> Option<Answer> {
        let media = media?;
        if protocol == Protocol::Soap {
            let tap = Tap::new(Some(media), pool)?;
            return (tap.carrier() == Carrier::Xml).then_some(Answer::Xml(tap));
        }
        if media == "text/event-stream" {
            return Some(Answer::Stream(Box::new(Stream::new(protocol))));
        }
        let json = media.ends_with("+json") || Carrier::of(media) == Some(Carrier::Json);
        json.then(|| Answer::Json(Json::new(protocol)))
    }

    /// For the answer in this media type to a request that gives a password.
    pub(crate) fn to_password(media: Option<&str>, pool: &Pool) -> Option<Answer> {
        let json = media.is_some_and(|media| media.ends_with("+json") || Carrier::of(media) == Some(Carrier::Json));
        Tap::answer(pool).filter(|_| json).map(Answer::Password)
    }

    /// It says that a password was refused, whatever HTTP says.
    pub(crate) fn refuses(&self) -> bool {
        match self {
            Answer::Password(tap) => {
                tap.read(true).is_some_and(|(_, bytes, missing)| missing.is_none() && refusal::is(bytes))
            }
            Answer::Json(_) | Answer::Stream(_) | Answer::Xml(_) => false,
        }
    }

    /// The next decoded bytes; `last` when it is known that there are no more.
    pub(crate) fn data(&mut self, bytes: &[u8], last: bool) {
        match self {
            Answer::Json(json) => json.data(bytes),
            Answer::Stream(stream) => stream.data(bytes),
            Answer::Xml(tap) | Answer::Password(tap) => tap.data(bytes, last),
        }
    }

    /// Bytes were lost.
    pub(crate) fn gap(&mut self) {
        match self {
            Answer::Json(json) => json.verdict = Some(Verdict::Nothing),
            Answer::Stream(stream) => stream.gap(),
            Answer::Xml(tap) | Answer::Password(tap) => tap.gap(),
        }
    }

    /// How many operations of a batch failed, if that is certain; 0 of what is no batch.
    pub(crate) fn failures(&self) -> u32 {
        // The verdict comes at the end, when the array around is closed but still there to be looked at.
        let failed = |json: &&Json| json.open[0].0 && matches!(json.verdict, Some(Verdict::Failed { .. }));
        self.json().filter(failed).map_or(0, |json| json.failures)
    }

    /// Of JSON, what was read of it.
    fn json(&self) -> Option<&Json> {
        match self {
            Answer::Json(json) => Some(json),
            Answer::Stream(stream) => stream.answer(),
            Answer::Xml(_) | Answer::Password(_) => None,
        }
    }

    /// What went wrong, of a batch with the first that failed, if that is certain; `status` is what HTTP says.
    pub(crate) fn error(&self, status: Option<u16>, texts: &mut Interner) -> Option<OperationError> {
        let status = status?;
        let text;
        let (known, otherwise, code) = match self {
            Answer::Json(_) | Answer::Stream(_) => {
                let json = self.json()?;
                let Some(Verdict::Failed { refused }) = json.verdict else { return None };
                let code = json.code.as_deref();
                let known = code.and_then(|code| match json.protocol {
                    Protocol::JsonRpc => of_json_rpc(code),
                    Protocol::GraphQl | Protocol::Soap => of_graphql(code),
                });
                let refused = refused && json.protocol == Protocol::GraphQl;
                (known, if refused { 400 } else { 500 }, code)
            }
            Answer::Password(_) => return None,
            Answer::Xml(tap) => {
                let (_, bytes, missing) = tap.read(true)?;
                // What is longer than what is kept of it may well begin with a fault.
                text = soap::text(bytes);
                let codes = soap::fault(&text).filter(|_| missing != Some(Unread::Incomplete))?;
                // What refines it says more, where that is known.
                let known = codes.iter().rev().flatten().find_map(|code| of_soap(code));
                (known, 500, codes.first().copied().flatten())
            }
        };
        let status = match status {
            200..=299 => known.unwrap_or(otherwise),
            // What SOAP prescribes for every fault, and many servers say of every error.
            400 | 500 => known.unwrap_or(status),
            own => own,
        };
        let printable = |code: &str| match code.parse::<i64>() {
            Ok(number) => Some(texts.text(number.to_string().as_bytes())),
            Err(_) => name(code, texts),
        };
        Some(OperationError { status, code: code.and_then(printable) })
    }
}

/// What a code of GraphQL means: those of Apollo, and what other servers call the same (Spring, HotChocolate, Hasura).
fn of_graphql(code: &str) -> Option<u16> {
    let plain: String = code
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .take(LONGEST)
        .collect();
    Some(match plain.as_str() {
        "unauthenticated" | "unauthorized" | "authnotauthenticated" | "invalidjwt" => 401,
        "forbidden" | "accessdenied" | "permissiondenied" | "authnotauthorized" => 403,
        "notfound" => 404,
        "baduserinput" | "badrequest" | "graphqlparsefailed" | "graphqlvalidationfailed" | "validationfailed" => 400,
        "validationerror" | "invalidsyntax" | "operationresolutionfailure" => 400,
        "ratelimited" | "toomanyrequests" | "throttled" => 429,
        "internalservererror" | "internalerror" => 500,
        number => return of_http(number),
    })
}

/// What a code of JSON-RPC means (section 5.1). Some servers use HTTP's.
fn of_json_rpc(code: &str) -> Option<u16> {
    Some(match code {
        "-32601" => 404,
        "-32602" | "-32600" | "-32700" => 400,
        number => return of_http(number),
    })
}

fn of_http(number: &str) -> Option<u16> {
    number.parse().ok().filter(|status| (400..=599).contains(status))
}

/// What the code of a fault means: those of SOAP, and of WS-Security and WS-Addressing what says more.
fn of_soap(code: &str) -> Option<u16> {
    // SOAP 1.1 lets codes be refined behind a dot.
    Some(match code.split('.').next().unwrap_or_default() {
        "FailedAuthentication" | "InvalidSecurityToken" | "InvalidSecurity" => 401,
        "ActionNotSupported" => 404,
        "Client" | "Sender" | "VersionMismatch" | "MustUnderstand" | "DataEncodingUnknown" => 400,
        "Server" | "Receiver" => 500,
        _ => return None,
    })
}

/// What is known of a whole body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// No failure, or none that is certain.
    Nothing,
    /// It failed, or a part of a batch did; `refused`: in the first that did there is not even an empty `data`.
    Failed { refused: bool },
}

/// A member that matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Member {
    #[default]
    Other,
    Data,
    Errors,
    Result,
    Error,
    Extensions,
    Code,
    Message,
}

impl Member {
    fn of(name: &[u8]) -> Member {
        match name {
            b"data" => Member::Data,
            b"errors" => Member::Errors,
            b"result" => Member::Result,
            b"error" => Member::Error,
            b"extensions" => Member::Extensions,
            b"code" | b"classification" => Member::Code,
            b"message" => Member::Message,
            _ => Member::Other,
        }
    }
}

/// What bytes belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// Nothing: they are structure.
    None,
    Text,
    /// A text, behind a backslash.
    Escape,
    /// A number or a word.
    Word,
}

/// What one answer has said so far.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    failed: bool,
    data: bool,
    /// There is something in the data, or nothing failed.
    given: bool,
}

/// A JSON text, read as it streams.
pub(crate) struct Json {
    protocol: Protocol,
    verdict: Option<Verdict>,
    /// Structures that are open.
    depth: usize,
    /// Of each that is told apart: whether it is an array, and the member that is under way.
    open: [(bool, Member); LEVELS],
    /// A text that comes is the name of a member.
    naming: bool,
    token: Token,
    /// The text or word under way, as far as it may matter.
    kept: [u8; LONGEST],
    length: usize,
    said: Said,
    /// The code of the first error that has one.
    code: Option<Box<str>>,
    /// An answer failed; whether the first that did was refused.
    failed: Option<bool>,
    /// Answers that failed.
    failures: u32,
}

impl Json {
    pub(super) fn new(protocol: Protocol) -> Json {
        Json {
            protocol,
            verdict: None,
            depth: 0,
            open: [(false, Member::Other); LEVELS],
            naming: false,
            token: Token::None,
            kept: [0; LONGEST],
            length: 0,
            said: Said::default(),
            code: None,
            failed: None,
            failures: 0,
        }
    }

    /// All that it can say is known.
    pub(super) fn is_over(&self) -> bool {
        self.verdict.is_some()
    }

    /// The next bytes.
    pub(super) fn data(&mut self, mut bytes: &[u8]) {
        while self.verdict.is_none()
            && let Some((&first, behind)) = bytes.split_first()
        {
            match self.token {
                Token::Text => {
                    let end = memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
                    self.keep(&bytes[..end]);
                    bytes = bytes.get(end..).unwrap_or_default();
                    if let Some((&byte, behind)) = bytes.split_first() {
                        bytes = behind;
                        if byte == b'"' {
                            self.token = Token::None;
                            self.end_token(true);
                        } else {
                            self.token = Token::Escape;
                        }
                    }
                }
                Token::Escape => {
                    // Nothing that matters is written so.
                    self.length = usize::MAX;
                    self.token = Token::Text;
                    bytes = behind;
                }
                Token::Word => {
                    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n');
                    let end = bytes.iter().position(ends).unwrap_or(bytes.len());
                    self.keep(&bytes[..end]);
                    bytes = bytes.get(end..).unwrap_or_default();
                    if !bytes.is_empty() {
                        self.token = Token::None;
                        self.end_token(false);
                    }
                }
                Token::None => {
                    bytes = behind;
                    self.structure(first);
                }
            }
        }
    }

    fn structure(&mut self, byte: u8) {
        match byte {
            b'{' | b'[' => {
                self.begin_value(byte);
                let array = byte == b'[';
                if let Some(level) = self.open.get_mut(self.depth) {
                    *level = (array, Member::Other);
                }
                self.depth = self.depth.saturating_add(1);
                self.naming = !array;
            }
            b'}' | b']' => self.close(),
            b',' => {
                let level = self.depth.checked_sub(1).and_then(|level| self.open.get(level));
                self.naming = level.is_some_and(|(array, _)| !array);
            }
            b'"' => {
                if !self.naming {
                    self.begin_value(byte);
                }
                (self.token, self.length) = (Token::Text, 0);
            }
            b':' => self.naming = false,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ if self.depth == 0 => {
                // A byte order mark may stand before the text; what is neither object nor array says nothing.
                if !byte.is_ascii() {
                    return;
                }
                self.verdict = Some(Verdict::Nothing);
            }
            first => {
                self.begin_value(first);
                (self.token, self.length) = (Token::Word, 0);
                self.keep(&[first]);
            }
        }
    }

    /// Structures around those of one answer: the array of a batch.
    fn around(&self) -> usize {
        usize::from(self.depth > 0 && self.open[0].0)
    }

    /// The members that are under way within one answer, outermost first; of an array it is none.
    fn path(&self) -> &[(bool, Member)] {
        self.open.get(self.around()..self.depth).unwrap_or_default()
    }

    /// A value begins.
    fn begin_value(&mut self, first: u8) {
        let given = first != b'n'; // all but null
        match (self.protocol, self.path()) {
            // Fields that failed are null in it, as types have it unless they forbid it (section 6.4.4).
            (Protocol::GraphQl, [(false, Member::Data)]) => {
                self.said.data = true;
                if given && first != b'{' {
                    self.give();
                }
            }
            (Protocol::GraphQl, [(false, Member::Data), (false, _)]) if given => self.give(),
            (Protocol::GraphQl, [(false, Member::Errors), (true, _)]) => self.said.failed = true,
            (Protocol::JsonRpc, [(false, Member::Result)]) if given => self.give(),
            (Protocol::JsonRpc, [(false, Member::Error)]) => self.said.failed |= given,
            _ => {}
        }
    }

    /// A text or word is over.
    fn end_token(&mut self, text: bool) {
        let known = self.kept.get(..self.length);
        if text && self.naming {
            let member = known.map_or(Member::Other, Member::of);
            if let Some(level) = self.depth.checked_sub(1).and_then(|level| self.open.get_mut(level)) {
                level.1 = member;
            }
            return;
        }
        let Some(value) = known else { return };
        let is_code = match (self.protocol, self.path()) {
            (Protocol::GraphQl, [(false, Member::Errors), (true, _), (false, Member::Message)]) => {
                self.again(value == b"PersistedQueryNotFound");
                return;
            }
            (
                Protocol::GraphQl,
                [(false, Member::Errors), (true, _), (false, Member::Extensions), (false, Member::Code)],
            ) => true,
            (Protocol::JsonRpc, [(false, Member::Error), (false, Member::Code)]) => true,
            _ => false,
        };
        if is_code {
            let again = value == b"PERSISTED_QUERY_NOT_FOUND";
            if self.code.is_none() && self.failed.is_none() {
                self.code = std::str::from_utf8(value).ok().filter(|code| *code != "null").map(Box::from);
            }
            self.again(again);
        }
    }

    /// The answer that is under way has not failed: alone, that is all there is to know.
    fn give(&mut self) {
        match self.around() {
            0 => self.verdict = Some(Verdict::Nothing),
            _ => self.said.given = true,
        }
    }

    /// The server does not have the document that a hash stands for: it asks for it, and nothing failed.
    fn again(&mut self, asked: bool) {
        if asked {
            self.give();
        }
    }

    fn close(&mut self) {
        let around = self.around();
        let Some(depth) = self.depth.checked_sub(1) else {
            self.verdict = Some(Verdict::Nothing);
            return;
        };
        let object = self.open.get(depth).is_some_and(|(array, _)| !array);
        self.depth = depth;
        self.naming = false;
        if depth == around && object {
            // One answer is over.
            let said = std::mem::take(&mut self.said);
            if said.failed && !said.given {
                self.failures = self.failures.saturating_add(1);
                self.failed.get_or_insert(!said.data);
            } else if around == 0 {
                self.verdict = Some(Verdict::Nothing);
                return;
            } else if self.failed.is_none() {
                // What went wrong beside what was given.
                self.code = None;
            }
        }
        if depth == 0 {
            self.verdict = Some(match self.failed {
                Some(refused) => Verdict::Failed { refused },
                None => Verdict::Nothing,
            });
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        match self.kept.get_mut(self.length..).and_then(|room| room.get_mut(..bytes.len())) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.length += bytes.len();
            }
            None => self.length = usize::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(protocol: Protocol, body: &str, size: usize) -> Answer {
        let media = if protocol == Protocol::Soap { "text/xml" } else { "application/json" };
        let mut answer = Answer::new(protocol, Some(media), &Pool::new(4_096, 8_192)).expect("a body that may say it");
        for piece in body.as_bytes().chunks(size) {
            answer.data(piece, false);
        }
        answer
    }

    /// Status and code of what went wrong, with a 200.
    fn outcome(protocol: Protocol, body: &str) -> Option<(u16, Option<String>)> {
        let told = |size| read(protocol, body, size).error(Some(200), &mut Interner::default());
        let error = told(body.len().max(1));
        for size in [1, 2, 7] {
            assert_eq!(told(size), error, "{body} in pieces of {size}");
        }
        error.map(|error| (error.status, error.code.map(|code| code.to_string())))
    }

    fn graphql(body: &str) -> Option<(u16, Option<String>)> {
        outcome(Protocol::GraphQl, body)
    }

    fn code(status: u16, code: &str) -> Option<(u16, Option<String>)> {
        Some((status, Some(code.to_owned())))
    }

    #[test]
    fn errors_of_graphql() {
        for (name, status) in [
            ("UNAUTHENTICATED", 401),
            ("FORBIDDEN", 403),
            ("NOT_FOUND", 404),
            ("BAD_USER_INPUT", 400),
            ("access-denied", 403),
            ("AUTH_NOT_AUTHORIZED", 403),
            ("INTERNAL_SERVER_ERROR", 500),
            ("OUT_OF_STOCK", 500),
        ] {
            let error =
                format!(r#"{{"message":"no \"}}]","path":["a",0],"extensions":{{"x":[{{}}],"code":"{name}"}}}}"#);
            assert_eq!(graphql(&format!(r#"{{"errors": [{error}], "data": null}}"#)), code(status, name));
            assert_eq!(
                graphql(&format!("\u{feff}{{\"data\":null , \"errors\":[{error},{{}}]}}\n")),
                code(status, name)
            );
        }
        let spring = r#"{"errors":[{"message":"x","extensions":{"classification":"NOT_FOUND"}}],"data":null}"#;
        assert_eq!(graphql(spring), code(404, "NOT_FOUND"));
        assert_eq!(graphql(r#"{"errors":[{"extensions":{"code":403}}],"data":null}"#), code(403, "403"));
        // Without a code: refused before it was executed, or failed then.
        assert_eq!(graphql(r#"{"errors":[{"message":"Cannot query field"}]}"#), Some((400, None)));
        assert_eq!(graphql(r#"{"data":null,"errors":[{"message":"no"}]}"#), Some((500, None)));
        assert_eq!(graphql(r#"{"errors":["no"]}"#), Some((400, None)));
        // What fails is null in the data, unless its type forbids that.
        let null = r#"{"data":{"login":null,"again":null},"errors":[{"message":"x","extensions":{"code":"UNAUTHENTICATED"}}]}"#;
        assert_eq!(graphql(null), code(401, "UNAUTHENTICATED"));
        assert_eq!(graphql(r#"{"errors":[{"message":"no"}],"data":{"a":null}}"#), Some((500, None)));
        assert_eq!(graphql(r#"{"errors":[{"message":"no"}],"data":{}}"#), Some((500, None)));
        // What is no name is not told.
        assert_eq!(graphql(r#"{"errors":[{"extensions":{"code":"ann@example.org"}}]}"#), Some((400, None)));
    }

    #[test]
    fn what_gives_data_has_not_failed() {
        for body in [
            r#"{"data":{"a":null,"b":[]},"errors":[{"message":"no","extensions":{"code":"FORBIDDEN"}}]}"#,
            r#"{"data":{"a":{"b":null}},"errors":[{"message":"no","extensions":{"code":"FORBIDDEN"}}]}"#,
            r#"{"errors":[{"message":"no"}],"data":{"a":1}}"#,
            r#"{"data":{"a":null}}"#,
            r#"{"data":{},"errors":[]}"#,
            r#"{"data":{"errors":[{"message":"no"}]}}"#,
            r#"{"data":null}"#,
            r#"{"errors":[],"data":null}"#,
            r#"{"errors":null}"#,
            r#"{"error":{"code":-32601}}"#,
            r#"[{"data":{"a":1},"errors":[{}]},{"data":{"a":1}}]"#,
            r#"[{"errors":[{"message":"PersistedQueryNotFound"}]},{"data":{"a":1}}]"#,
            r#"{"errors":[{"message":"PersistedQueryNotFound"}]}"#,
            r#"{"errors":[{"extensions":{"code":"PERSISTED_QUERY_NOT_FOUND"}}]}"#,
            "[]",
            "{}",
            "\"errors\"",
            "",
            "}{\"errors\":[1]}",
        ] {
            assert_eq!(graphql(body), None, "{body}");
        }
        // What was not seen to its end may go on with data.
        assert_eq!(graphql(r#"{"errors":[{"message":"no"}]"#), None);
        let mut lost = read(Protocol::GraphQl, r#"{"errors":[{"message":"no"#, 9);
        lost.gap();
        lost.data(br#""}]}"#, true);
        assert_eq!(lost.error(Some(200), &mut Interner::default()), None);
    }

    #[test]
    fn errors_of_json_rpc() {
        let one = |error: &str| outcome(Protocol::JsonRpc, &format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#));
        for (number, status) in [
            (-32601, 404),
            (-32602, 400),
            (-32600, 400),
            (-32700, 400),
            (-32603, 500),
            (-32000, 500),
            (403, 403),
            (7, 500),
        ] {
            let number = number.to_string();
            let error = format!(r#"{{"data":{{"code":1}},"code":{number},"message":"secret"}}"#);
            assert_eq!(one(&error), code(status, &number));
        }
        assert_eq!(one("\"of the first version\""), Some((500, None)));
        assert_eq!(one("null"), None);
        assert_eq!(outcome(Protocol::JsonRpc, r#"{"result":null,"error":null,"id":1}"#), None);
        assert_eq!(outcome(Protocol::JsonRpc, r#"{"result":[{"error":{"code":-32601}}],"id":1}"#), None);
        let good = r#"{"jsonrpc":"2.0","result":7,"id":1}"#;
        let bad = |code: i32| format!(r#"{{"jsonrpc":"2.0","error":{{"code":{code}}},"id":null}}"#);
        assert_eq!(outcome(Protocol::JsonRpc, &format!("[{},{}]", bad(-32601), bad(-32602))), code(404, "-32601"));
        assert_eq!(outcome(Protocol::JsonRpc, &format!("[{good},{good}]")), None);
    }

    #[test]
    fn the_failures_of_a_batch_are_counted() {
        let good = r#"{"jsonrpc":"2.0","result":7,"id":1}"#;
        let bad = r#"{"jsonrpc":"2.0","error":{"code":-32601},"id":2}"#;
        let forbidden = r#"{"errors":[{"extensions":{"code":"FORBIDDEN"}}],"data":null}"#;
        let part = r#"{"errors":[{"extensions":{"code":"NOT_FOUND"}}],"data":{"b":null,"a":1}}"#;
        let again = r#"{"errors":[{"extensions":{"code":"PERSISTED_QUERY_NOT_FOUND"}}]}"#;
        for (protocol, body, failures, error) in [
            (Protocol::JsonRpc, format!("[{good},{bad},{good},{bad}]"), 2, code(404, "-32601")),
            (Protocol::JsonRpc, format!(" [ {bad} , {bad} ]"), 2, code(404, "-32601")),
            (Protocol::JsonRpc, format!("[{good},{good}]"), 0, None),
            // No batch.
            (Protocol::JsonRpc, bad.to_owned(), 0, code(404, "-32601")),
            (Protocol::GraphQl, format!("[{part},{forbidden},{again}]"), 1, code(403, "FORBIDDEN")),
            (Protocol::GraphQl, format!("[{forbidden},{again},{forbidden}]"), 2, code(403, "FORBIDDEN")),
            (Protocol::GraphQl, format!("[{part},{again}]"), 0, None),
            // What was not seen to its end.
            (Protocol::GraphQl, format!("[{forbidden},{forbidden}"), 0, None),
        ] {
            assert_eq!(outcome(protocol, &body), error, "{body}");
            for size in [1, 3, 400] {
                assert_eq!(read(protocol, &body, size).failures(), failures, "{body}");
            }
        }
    }

    #[test]
    fn faults_of_soap() {
        let envelope = |inside: &str| {
            outcome(
                Protocol::Soap,
                &format!(
                    "<?xml version='1.0'?><s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Header><Fault/>\
                     </s:Header><s:Body>{inside}</s:Body></s:Envelope>"
                ),
            )
        };
        let old = |code: &str| envelope(&format!("<s:Fault><faultcode>{code}</faultcode><faultstring/></s:Fault>"));
        assert_eq!(old("s:Client"), code(400, "Client"));
        assert_eq!(old(" s:Client.Login\n"), code(400, "Client.Login"));
        assert_eq!(old("s:Server"), code(500, "Server"));
        assert_eq!(old("wsse:FailedAuthentication"), code(401, "FailedAuthentication"));
        assert_eq!(old("<!-- -->own"), code(500, "own"));
        let new = |value: &str, sub: &str| {
            envelope(&format!(
                "<s:Fault><s:Code><s:Value>{value}</s:Value>{sub}</s:Code><s:Reason><s:Text>a</s:Text></s:Reason></s:Fault>"
            ))
        };
        assert_eq!(new("s:Sender", ""), code(400, "Sender"));
        assert_eq!(new("s:Receiver", "<s:Subcode><s:Value>m:Odd</s:Value></s:Subcode>"), code(500, "Receiver"));
        let sub = "<s:Subcode><s:Value>wsa:ActionNotSupported</s:Value></s:Subcode>";
        assert_eq!(new("s:Sender", sub), code(404, "Sender"));
        assert_eq!(envelope("<s:Fault/>"), Some((500, None)));
        assert_eq!(envelope("<m:Answer><s:Fault><faultcode>s:Client</faultcode></s:Fault></m:Answer>"), None);
        assert_eq!(envelope(""), None);
    }

    #[test]
    fn what_http_says_itself_counts_more() {
        let failed = read(Protocol::JsonRpc, r#"{"error":{"code":-32601}}"#, 100);
        let odd = read(Protocol::JsonRpc, r#"{"error":{"code":-1}}"#, 100);
        let of = |answer: &Answer, status| answer.error(status, &mut Interner::default()).map(|error| error.status);
        assert_eq!(
            [200, 500, 400, 401, 503].map(|status| of(&failed, Some(status))),
            [404, 404, 404, 401, 503].map(Some)
        );
        assert_eq!([200, 500, 400, 404].map(|status| of(&odd, Some(status))), [500, 500, 400, 404].map(Some));
        assert_eq!(of(&failed, None), None);
    }

    #[test]
    fn only_media_that_may_say_it_are_looked_at() {
        let pool = Pool::new(100, 100);
        let of = |protocol, media| Answer::new(protocol, media, &pool).is_some();
        assert!(of(Protocol::GraphQl, Some("application/graphql-response+json")));
        assert!(of(Protocol::JsonRpc, Some("application/json")) && of(Protocol::Soap, Some("application/soap+xml")));
        assert!(of(Protocol::GraphQl, Some("text/event-stream")) && !of(Protocol::JsonRpc, None));
        assert!(!of(Protocol::Soap, Some("application/json")) && !of(Protocol::GraphQl, Some("text/xml")));
    }

    proptest! {
        /// Whatever comes, in whatever pieces: the same, and what serde_json says of what is JSON.
        #[test]
        fn it_agrees_with_a_parser(parts in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"errors\"", "\"data\"", "\"result\"", "\"error\"", "\"code\"", "\"extensions\"",
            "\"a\\\"\"", "\"FORBIDDEN\"", "null", "1", "true", " ", "{\"errors\":[{}]}", "\"errors\":[{\"a\":[]}]",
            "{\"data\":null,\"errors\":[1]}", "{\"data\":{\"a\":1}}", "\"data\":{\"a\":null", "\"b\":",
        ]), 0..12), size in 1usize..9) {
            let body = parts.concat();
            for protocol in [Protocol::GraphQl, Protocol::JsonRpc] {
                let told = read(protocol, &body, size).error(Some(200), &mut Interner::default());
                prop_assert_eq!(&told, &read(protocol, &body, body.len().max(1)).error(Some(200), &mut Interner::default()));
                let Ok(value) = serde_json::from_str::<serde_json::Value>(&body) else { continue };
                let answers = match value {
                    serde_json::Value::Array(answers) => answers,
                    answer => vec![answer],
                };
                let failed = |answer: &serde_json::Value| match protocol {
                    Protocol::GraphQl => {
                        let data = &answer["data"];
                        let nothing = data.as_object().is_some_and(|fields| fields.values().all(serde_json::Value::is_null));
                        answer["errors"].as_array().is_some_and(|errors| !errors.is_empty())
                            && (data.is_null() || nothing)
                    }
                    _ => !answer["error"].is_null() && answer["result"].is_null(),
                };
                let objects = || answers.iter().filter(|answer| answer.is_object());
                // Of a name that comes twice a parser keeps the last.
                let twice = ["errors", "data", "error", "result", "a", "b"]
                    .iter()
                    .any(|name| body.matches(&format!("\"{name}\"")).count() > 1);
                if !twice {
                    prop_assert_eq!(told.is_some(), objects().any(failed), "{}", body);
                }
            }
        }
    }
}
