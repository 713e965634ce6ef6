//! The few members of a JSON body that name an operation, of an object or of each in an array (a batch). serde_json does
//! the reading; what was read before an error stays read, so that the beginning of a body says what it can.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::without_mark;

/// What the members of one object say. Of a name that comes twice the last counts, as for most servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    /// `query`: a GraphQL document, perhaps.
    pub(super) query: Option<String>,
    /// `operationName`.
    pub(super) operation: Option<String>,
    /// `extensions.persistedQuery` stands for a document that the server has: its `sha256Hash`, empty where it has none.
    pub(super) persisted: Option<String>,
    /// `documentId` or `doc_id`: what the server calls a document that it has.
    pub(super) document: Option<Id>,
    /// `jsonrpc`, whatever it says.
    pub(super) jsonrpc: bool,
    /// `method`.
    pub(super) method: Option<String>,
    /// `params` is an object or an array.
    pub(super) params: bool,
    /// `params` was come to, whether or not to its end.
    pub(super) begun: bool,
    /// `id`, whatever it is.
    pub(super) id: Option<Id>,
    /// It has members that JSON-RPC does not have.
    pub(super) others: bool,
    /// The object was read to its end.
    pub(super) whole: bool,
}

/// What something is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Id {
    Text(String),
    Number(u64),
    /// What names nothing.
    Other,
}

/// What a body says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) objects: Vec<Members>,
    /// Why it was not read to its end.
    pub(super) stopped: Option<Stopped>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The bytes ended before.
    Cut,
    Malformed,
}

/// Reads a body or its beginning. A byte order mark before it is passed over, as by most servers (RFC 8259, section 8.1).
pub(super) fn read(bytes: &[u8]) -> Body {
    let mut body = Body::default();
    let mut deserializer = serde_json::Deserializer::from_slice(without_mark(bytes));
    let read = Objects(&mut body.objects).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    body.stopped = read.err().map(|error| if error.is_eof() { Stopped::Cut } else { Stopped::Malformed });
    body
}

/// The hash of the persisted query that `extensions` of a target's query tell of, empty where it has none; none where they
/// tell of no persisted query.
pub(super) fn persisted(extensions: &str) -> Option<String> {
    let mut deserializer = serde_json::Deserializer::from_str(extensions);
    Value.deserialize(&mut deserializer).ok().and_then(Kind::persisted)
}

/// The members of a message that carries an operation within another object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Envelope {
    /// `type` says that something is asked for.
    pub(super) asks: bool,
    /// The members of `payload`, where it is an object.
    pub(super) payload: Option<Members>,
}

/// Reads a message, or as much of it as there is.
pub(super) fn envelope(bytes: &[u8]) -> Envelope {
    let mut envelope = Envelope::default();
    let mut deserializer = serde_json::Deserializer::from_slice(without_mark(bytes));
    // What was read before an error stays read.
    let _ = deserializer.deserialize_map(&mut envelope);
    envelope
}

impl<'de> Visitor<'de> for &mut Envelope {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            match &*name {
                "type" => {
                    let kind = map.next_value_seed(Value)?.text();
                    self.asks = matches!(kind.as_deref(), Some("subscribe" | "start"));
                }
                "payload" => {
                    let mut objects = Vec::new();
                    let read = map.next_value_seed(Objects(&mut objects));
                    self.payload = objects.into_iter().next();
                    read?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// An object, or an array of objects; what else it may be says nothing.
struct Objects<'o>(&'o mut Vec<Members>);

impl<'de> DeserializeSeed<'de> for Objects<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Objects<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        members(self.0, map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while array.next_element_seed(Element(self.0))?.is_some() {}
        Ok(())
    }
}

/// One element of a batch.
struct Element<'o>(&'o mut Vec<Members>);

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        members(self.0, map)
    }
}

fn members<'de, A: MapAccess<'de>>(objects: &mut Vec<Members>, mut map: A) -> Result<(), A::Error> {
    objects.push(Members::default());
    let Some(object) = objects.last_mut() else { return Ok(()) };
    while let Some(name) = map.next_key_seed(Name)? {
        object.others |= !matches!(&*name, "jsonrpc" | "method" | "params" | "id");
        match &*name {
            "query" => object.query = map.next_value_seed(Value)?.text(),
            "operationName" => object.operation = map.next_value_seed(Value)?.text(),
            "extensions" => object.persisted = map.next_value_seed(Value)?.persisted(),
            "documentId" | "doc_id" => object.document = Some(map.next_value_seed(Value)?.id()),
            "jsonrpc" => {
                object.jsonrpc = true;
                map.next_value::<IgnoredAny>()?;
            }
            "method" => object.method = map.next_value_seed(Value)?.text(),
            "params" => {
                object.begun = true;
                object.params = map.next_value_seed(Value)?.is_structure();
            }
            "id" => object.id = Some(map.next_value_seed(Value)?.id()),
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
    }
    object.whole = true;
    Ok(())
}

/// The name of a member, without a copy where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// What a value is, as far as that matters.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Text(String),
    Number(u64),
    Structure,
    /// An object with a member `persistedQuery`, and the hash in that.
    Persisted(String),
    /// An object with a member `sha256Hash`.
    Hash(String),
    Other,
}

impl Kind {
    fn text(self) -> Option<String> {
        if let Kind::Text(text) = self { Some(text) } else { None }
    }

    fn persisted(self) -> Option<String> {
        if let Kind::Persisted(hash) = self { Some(hash) } else { None }
    }

    fn id(self) -> Id {
        match self {
            Kind::Text(text) => Id::Text(text),
            Kind::Number(number) => Id::Number(number),
            _ => Id::Other,
        }
    }

    fn is_structure(&self) -> bool {
        matches!(self, Kind::Structure | Kind::Persisted(_) | Kind::Hash(_))
    }
}

struct Value;

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Kind;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Kind, E> {
        Ok(Kind::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut kind = Kind::Structure;
        while let Some(name) = map.next_key_seed(Name)? {
            match &*name {
                "persistedQuery" => {
                    let within = map.next_value_seed(Value)?;
                    kind = Kind::Persisted(if let Kind::Hash(hash) = within { hash } else { String::new() });
                }
                "sha256Hash" => {
                    let hash = map.next_value_seed(Value)?.text();
                    if let (Some(hash), Kind::Structure) = (hash, &kind) {
                        kind = Kind::Hash(hash);
                    }
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(kind)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Kind, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Kind::Structure)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Kind, E> {
        Ok(Kind::Number(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Other)
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Other)
    }
}
