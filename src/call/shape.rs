//! What the parameters and bodies of a call look like: types, formats and names of fields, never values.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! set {
    ($(#[doc = $doc:literal])+ $name:ident($bits:ty) of $(#[doc = $one_doc:literal])+ $one:ident {
        $($(#[doc = $variant_doc:literal])+ $variant:ident = $text:literal,)+
    }) => {
        $(#[doc = $one_doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $one { $($(#[doc = $variant_doc])+ $variant,)+ }

        impl $one {
            /// Every one.
            pub const ALL: &'static [$one] = &[$($one::$variant),+];

            /// Its name in JSON.
            pub const fn name(self) -> &'static str {
                match self { $($one::$variant => $text),+ }
            }
        }

        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($bits);

        impl $name {
            /// Adds one.
            #[inline]
            pub fn insert(&mut self, one: $one) {
                self.0 |= 1 << one as u32;
            }

            /// Adds all of `other`.
            #[inline]
            pub fn extend(&mut self, other: $name) {
                self.0 |= other.0;
            }

            /// Takes one out.
            pub fn remove(&mut self, one: $one) {
                self.0 &= !(1 << one as u32);
            }

            /// True when it is in the set.
            #[inline]
            pub fn contains(self, one: $one) -> bool {
                self.0 & (1 << one as u32) != 0
            }

            /// True when there is none.
            pub fn is_empty(&self) -> bool {
                self.0 == 0
            }

            /// How many there are.
            pub fn count(self) -> usize {
                self.0.count_ones() as usize
            }

            /// Those in the set, in the order of `ALL`.
            pub fn iter(self) -> impl Iterator<Item = $one> {
                $one::ALL.iter().copied().filter(move |&one| self.contains(one))
            }

            /// The set as a number, to be hashed.
            pub(crate) fn bits(self) -> u64 {
                u64::from(self.0)
            }
        }

        impl FromIterator<$one> for $name {
            fn from_iter<I: IntoIterator<Item = $one>>(all: I) -> $name {
                let mut set = $name::default();
                all.into_iter().for_each(|one| set.insert(one));
                set
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.iter().map($one::name))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            /// Names that this version does not know are passed over.
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let names = Vec::<String>::deserialize(deserializer)?;
                Ok($one::ALL.iter().copied().filter(|one| names.iter().any(|name| name == one.name())).collect())
            }
        }
    };
}

set! {
    /// A set of [`Type`]; a list of names in JSON.
    Types(u8) of
    /// A type of JSON.
    Type {
        /// `null`.
        Null = "null",
        /// `true` or `false`.
        Boolean = "boolean",
        /// A number without fraction and exponent.
        Integer = "integer",
        /// Another number.
        Number = "number",
        /// A text.
        String = "string",
        /// A list.
        Array = "array",
        /// An object: a record, or a map.
        Object = "object",
    }
}

set! {
    /// A set of [`Format`]; a list of names in JSON.
    Formats(u32) of
    /// What texts and numbers look like.
    Format {
        /// An integer beyond 32 bits, and within 64.
        Int64 = "int64",
        /// 8-4-4-4-12 hexadecimal digits (RFC 9562).
        Uuid = "uuid",
        /// A calendar date (RFC 3339, full-date).
        Date = "date",
        /// A date with a time (RFC 3339).
        DateTime = "date-time",
        /// A time of the day.
        Time = "time",
        /// An e-mail address.
        Email = "email",
        /// An address of IP version 4.
        Ipv4 = "ipv4",
        /// An address of IP version 6.
        Ipv6 = "ipv6",
        /// With a scheme and `://`, or `data:`.
        Uri = "uri",
        /// A path: begins with `/`.
        Path = "uri-reference",
        /// 16 or more hexadecimal digits.
        Hexadecimal = "hexadecimal",
        /// A JSON Web Token (RFC 7519).
        Jwt = "jwt",
        /// Digits in a text, behind a minus perhaps.
        Digits = "digits",
        /// Digits with a point or a plus in a text.
        Decimal = "decimal",
        /// `true` or `false` in a text.
        Boolean = "boolean",
        /// One word: letters, digits and what joins them, a letter first, at most 32 bytes.
        Word = "word",
        /// One word with two or more digits among other things (`SKU-000269`).
        Code = "code",
        /// Nothing.
        Empty = "empty",
        /// A file.
        Binary = "binary",
        /// Whatever else.
        Text = "text",
        /// An integer beyond 64 bits, with its sign.
        Large = "large",
    }
}

impl Format {
    /// What numbers look like, rather than texts.
    pub fn is_of_numbers(self) -> bool {
        matches!(self, Format::Int64 | Format::Large)
    }
}

/// How a value lies in the one around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Within<'n> {
    /// It is the body.
    Body,
    /// It is the field of this name.
    Field(&'n str),
    /// It stands behind a key that is data itself (a number, an identifier, a text): the key is not kept.
    Entry,
    /// It is in the list.
    Item,
}

/// One place in a body and all values that stood there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// The node around it, which comes before it; of the first its own.
    pub(crate) parent: u32,
    pub(crate) edge: Edge,
    pub(crate) types: Types,
    pub(crate) formats: Formats,
    /// Its parent, where that is an object, had it each time.
    pub(crate) always: bool,
}

/// See [`Within`]; a name is a place in the shape's texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Edge {
    #[default]
    Body,
    Field(u32, u16),
    Entry,
    Item,
}

/// The shape of one body: the places in it, each with types, formats and classes of sensitive values.
///
/// Its JSON form is a list of nodes, of which each says in which of those before it it lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyShape {
    /// At least one; the first is the body.
    pub(crate) nodes: Box<[Node]>,
    /// Names of fields and words, one behind the other.
    pub(crate) texts: Box<str>,
    /// Short words that stood at a node, by place and length in `texts`. Never written: one of them may be a name. The
    /// inventory keeps those that many callers got.
    pub(crate) words: Box<[(u32, u32, u16)]>,
    /// Nodes at which there were more words than are kept, ascending.
    pub(crate) wordy: Box<[u32]>,
    /// Classes of sensitive values, by node.
    pub(crate) sensitive: Box<[(u32, Arc<str>)]>,
    /// Bodies of one structure have one number: names, types, formats and classes decide, words do not.
    pub(crate) structure: u64,
    /// The same with the words.
    pub(crate) wording: u64,
    /// Not all of it was seen, or it has more places than are kept.
    pub incomplete: bool,
    /// It is not what its media type says.
    pub malformed: bool,
}

/// A place of a shape as it is read.
#[derive(Clone, Copy, Debug)]
pub struct Place<'s> {
    /// Its number.
    pub number: usize,
    /// That of the place around it, which is lower; of the first 0.
    pub parent: usize,
    /// How it lies there.
    pub within: Within<'s>,
    /// Types of the values.
    pub types: Types,
    /// Formats of those that are texts or numbers.
    pub formats: Formats,
    /// The place around it, where that is an object, had it each time.
    pub always: bool,
}

impl BodyShape {
    /// With its structure's number worked out.
    pub(crate) fn numbered(mut self) -> BodyShape {
        use std::hash::{BuildHasher, Hash, Hasher};
        // Who makes two structures share a number hides one of them from the inventory, and from the detector of fields in excess, where they could send neither.
        let mut hasher = ahash::RandomState::with_seeds(1, 2, 3, 4).build_hasher();
        for place in self.places() {
            (place.parent, place.within, place.always).hash(&mut hasher);
            (place.types.bits(), place.formats.bits()).hash(&mut hasher);
        }
        (&self.sensitive, self.incomplete, self.malformed).hash(&mut hasher);
        self.structure = hasher.finish();
        self.words().for_each(|word| word.hash(&mut hasher));
        self.wordy.hash(&mut hasher);
        self.wording = hasher.finish();
        self
    }

    /// The places, each behind the one around it.
    pub fn places(&self) -> impl Iterator<Item = Place<'_>> {
        self.nodes.iter().enumerate().map(|(number, node)| Place {
            number,
            parent: node.parent as usize,
            within: self.within(node),
            types: node.types,
            formats: node.formats,
            always: node.always,
        })
    }

    /// Words by the number of their place.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        self.words.iter().map(|&(node, start, length)| (node as usize, self.text(start, length)))
    }

    /// Classes of sensitive values by the numbers of their places.
    pub(crate) fn sensitive_places(&self) -> &[(u32, Arc<str>)] {
        &self.sensitive
    }

    /// How a place is reached from the body: each step lies in the one before.
    pub(crate) fn way(&self, place: u32) -> Vec<Within<'_>> {
        let mut steps = Vec::new();
        let mut at = place as usize;
        while let Some(node) = self.nodes.get(at).filter(|_| at > 0) {
            steps.push(self.within(node));
            // Each lies in one before it, so this ends.
            at = (node.parent as usize).min(at - 1);
        }
        steps.reverse();
        steps
    }

    fn within(&self, node: &Node) -> Within<'_> {
        match node.edge {
            Edge::Body => Within::Body,
            Edge::Field(start, length) => Within::Field(self.text(start, length)),
            Edge::Entry => Within::Entry,
            Edge::Item => Within::Item,
        }
    }

    /// Bytes on the heap.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.nodes)
            + self.texts.len()
            + size_of_val(&*self.words)
            + size_of_val(&*self.wordy)
            + size_of_val(&*self.sensitive)
    }

    fn text(&self, start: u32, length: u16) -> &str {
        let start = start as usize;
        self.texts.get(start..start + usize::from(length)).unwrap_or_default()
    }
}

/// A node as it is written.
#[derive(Serialize, Deserialize)]
struct Written<'s> {
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    parent: Option<u32>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    field: Option<std::borrow::Cow<'s, str>>,
    #[serde(default, skip_serializing_if = "is_false")]
    entry: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    optional: bool,
    #[serde(default)]
    types: Types,
    #[serde(default, skip_serializing_if = "Formats::is_empty")]
    formats: Formats,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sensitive: Vec<Arc<str>>,
}

#[derive(Serialize, Deserialize)]
struct WrittenShape<'s> {
    #[serde(borrow)]
    nodes: Vec<Written<'s>>,
    #[serde(default, skip_serializing_if = "is_false")]
    incomplete: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    malformed: bool,
}

fn is_false(value: &bool) -> bool {
    !*value
}

impl Serialize for BodyShape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nodes = self.places().map(|place| Written {
            parent: (place.number > 0).then_some(place.parent as u32),
            field: match place.within {
                Within::Field(name) => Some(name.into()),
                _ => None,
            },
            entry: place.within == Within::Entry,
            optional: matches!(place.within, Within::Field(_)) && !place.always,
            types: place.types,
            formats: place.formats,
            sensitive: self
                .sensitive
                .iter()
                .filter(|(node, _)| *node as usize == place.number)
                .map(|(_, class)| class.clone())
                .collect(),
        });
        let written = WrittenShape { nodes: nodes.collect(), incomplete: self.incomplete, malformed: self.malformed };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BodyShape {
    /// A node that lies in none before it is an error: nothing that reads a shape could loop on it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = WrittenShape::deserialize(deserializer)?;
        let (mut nodes, mut texts, mut sensitive) = (Vec::new(), String::new(), Vec::new());
        for (number, node) in (0u32..).zip(written.nodes) {
            let parent = node.parent.unwrap_or(0);
            if number > 0 && parent >= number {
                return Err(serde::de::Error::custom("a shape's node lies in none before it"));
            }
            let edge = match &node.field {
                _ if number == 0 => Edge::Body,
                Some(name) => {
                    let name = name.get(..name.floor_char_boundary(NAME_LIMIT)).unwrap_or_default();
                    texts.push_str(name);
                    Edge::Field((texts.len() - name.len()) as u32, name.len() as u16)
                }
                None if node.entry => Edge::Entry,
                None => Edge::Item,
            };
            sensitive.extend(node.sensitive.into_iter().map(|class| (number, class)));
            let always = matches!(edge, Edge::Field(..)) && !node.optional;
            nodes.push(Node { parent, edge, types: node.types, formats: node.formats, always });
        }
        Ok(BodyShape {
            nodes: nodes.into(),
            texts: texts.into(),
            sensitive: sensitive.into(),
            incomplete: written.incomplete,
            malformed: written.malformed,
            ..BodyShape::default()
        }
        .numbered())
    }
}

/// Bytes of the longest name of a field; what is longer is data.
pub(crate) const NAME_LIMIT: usize = 64;

/// What one parameter looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterShape {
    /// What its value looks like.
    pub format: Formats,
    /// It says who calls, by the rules: its name is that of a key, and so is its value where others have that name, too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub credential: bool,
    /// Its value, where that is one short word; never written.
    #[serde(skip)]
    pub(crate) word: Option<Arc<str>>,
}

/// What a header or cookie looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamedShape {
    /// Its name; of a header in lower case.
    pub name: Arc<str>,
    /// What its value looks like.
    #[serde(skip_serializing_if = "Formats::is_empty")]
    pub format: Formats,
    /// It says who calls, by the rules: a key, or a session.
    #[serde(skip_serializing_if = "is_false")]
    pub credential: bool,
    /// Its value, where that is one short word; never written.
    #[serde(skip)]
    pub(crate) word: Option<Arc<str>>,
}

/// What a call looks like, asked for by the inventory: types, formats and names of fields, never values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shape {
    /// Of the query's parameters, in the order of [`query_names`](super::Call::query_names).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<ParameterShape>,
    /// Of the request's headers those that an API asks for by names of its own; not those of HTTP, browsers, proxies and
    /// tracing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<NamedShape>,
    /// Of the request's cookies; calls with the same cookies share them.
    #[serde(skip_serializing_if = "has_none")]
    pub cookies: Arc<[NamedShape]>,
    /// Of the request's body: JSON, form, multipart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Arc<BodyShape>>,
    /// Of the response's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Arc<BodyShape>>,
}

fn has_none(list: &Arc<[NamedShape]>) -> bool {
    list.is_empty()
}

impl Shape {
    /// Says nothing again; keeps the room of its lists.
    pub(crate) fn clear(&mut self) {
        self.query.clear();
        self.headers.clear();
        if !self.cookies.is_empty() {
            self.cookies = Arc::default();
        }
        (self.request, self.response) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_form_is_stable() {
        let text = concat!(
            r#"{"query":[{"format":["digits"]}],"headers":[{"name":"api-version","format":["date"]}],"#,
            r#""cookies":[{"name":"sid","credential":true}],"response":{"nodes":[{"types":["object"]},"#,
            r#"{"in":0,"field":"id","types":["integer"],"formats":["int64"]},"#,
            r#"{"in":0,"field":"mail","optional":true,"types":["null","string"],"formats":["email"],"sensitive":["email"]},"#,
            r#"{"in":0,"field":"tags","types":["array"]},{"in":3,"types":["string"],"formats":["word"]},"#,
            r#"{"in":0,"entry":true,"types":["number"]}],"incomplete":true}}"#
        );
        let shape: Shape = serde_json::from_str(text).expect("a shape");
        assert_eq!(serde_json::to_string(&shape).expect("plain data"), text);
        let body = shape.response.expect("a body");
        let within: Vec<_> = body.places().map(|place| (place.parent, place.within)).collect();
        assert_eq!(within[3..], [(0, Within::Field("tags")), (3, Within::Item), (0, Within::Entry)]);
    }

    #[test]
    fn a_node_that_lies_in_a_later_one_is_refused() {
        for parent in [1, 2, u32::MAX] {
            let text = format!(r#"{{"nodes":[{{"types":["object"]}},{{"in":{parent},"types":[]}}]}}"#);
            assert!(serde_json::from_str::<BodyShape>(&text).is_err(), "{parent}");
        }
    }
}
