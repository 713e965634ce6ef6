//! A shape while its body is read.

use ahash::RandomState;
use hashbrown::HashTable;

use super::Limits;
use super::spans::Spans;
use crate::call::{BodyShape, Edge, Format, Formats, Node, Type, Types};

/// The node of what is not kept.
pub(super) const NONE: u32 = u32::MAX;

/// Words that are kept of one node.
const WORDS: u8 = 16;

/// Words that are kept of one body.
const ALL_WORDS: usize = 256;

/// Bytes of the longest word that is kept.
pub(super) const WORD_BYTES: usize = 24;

/// What is known of a node so far.
#[derive(Clone, Copy, Debug)]
struct Known {
    parent: u32,
    edge: Edge,
    types: Types,
    formats: Formats,
    /// Times that it was an object.
    objects: u32,
    /// Objects of its parent that had it, and the last of them.
    present: u32,
    last: u32,
    /// The field that came behind it last time.
    next: u32,
    words: u8,
    wordy: bool,
}

/// The nodes of a body so far; used again for the next.
#[derive(Debug, Default)]
pub(super) struct Draft {
    nodes: Vec<Known>,
    texts: String,
    fields: HashTable<u32>,
    words: Vec<(u32, u32, u16)>,
    word_index: HashTable<u32>,
    /// Of the indices, whose order nobody sees.
    hasher: RandomState,
    sensitive: Vec<(u32, u16)>,
    pub(super) spans: Spans,
    limit: usize,
    pub(super) incomplete: bool,
    pub(super) malformed: bool,
}

impl Draft {
    /// Ready for another body.
    pub(super) fn clear(&mut self, limits: Limits) {
        self.nodes.clear();
        self.texts.clear();
        self.fields.clear();
        self.words.clear();
        self.word_index.clear();
        self.sensitive.clear();
        self.spans.clear();
        self.limit = limits.nodes.clamp(1, NONE as usize - 1);
        (self.incomplete, self.malformed) = (false, false);
        self.push(0, Edge::Body);
    }

    /// The body itself.
    pub(super) fn root(&self) -> u32 {
        0
    }

    /// One more value of this type at a node. Of an object gives how many there were of it.
    #[inline]
    pub(super) fn value(&mut self, node: u32, kind: Type, format: Option<Format>) -> u32 {
        let Some(known) = self.nodes.get_mut(node as usize) else { return 0 };
        known.types.insert(kind);
        if let Some(format) = format {
            known.formats.insert(format);
        }
        if kind == Type::Object {
            known.objects = known.objects.saturating_add(1);
        }
        known.objects
    }

    /// A word that stood at a node.
    pub(super) fn word(&mut self, node: u32, word: &[u8]) {
        let Some(known) = self.nodes.get_mut(node as usize).filter(|known| !known.wordy) else { return };
        let Ok(word) = std::str::from_utf8(word) else { return };
        let Draft { words, word_index, texts, hasher, .. } = self;
        let text = |texts: &str, start: u32, length: u16| {
            texts.get(start as usize..start as usize + usize::from(length)).unwrap_or_default() == word
        };
        let hash = hasher.hash_one((node, word));
        let same = |place: &u32| {
            words.get(*place as usize).is_some_and(|&(at, start, length)| at == node && text(texts, start, length))
        };
        if word_index.find(hash, same).is_some() {
            return;
        }
        if word.len() > WORD_BYTES || known.words >= WORDS || words.len() >= ALL_WORDS {
            known.wordy = true;
            return;
        }
        known.words += 1;
        let start = texts.len() as u32;
        texts.push_str(word);
        words.push((node, start, word.len() as u16));
        let number = (words.len() - 1) as u32;
        word_index.insert_unique(hash, number, |&place| {
            words.get(place as usize).map_or(0, |&(at, start, length)| {
                let word = texts.get(start as usize..start as usize + usize::from(length)).unwrap_or_default();
                hasher.hash_one((at, word))
            })
        });
    }

    /// Marks a node whose texts are no words.
    #[inline]
    pub(super) fn no_words(&mut self, node: u32) {
        if let Some(known) = self.nodes.get_mut(node as usize) {
            known.wordy = true;
        }
    }

    fn is_wordy(&self, node: u32) -> bool {
        self.nodes.get(node as usize).is_none_or(|known| known.wordy)
    }

    /// A class of sensitive values at a node.
    pub(super) fn sensitive(&mut self, node: u32, class: u16) {
        if !self.sensitive.contains(&(node, class)) && self.sensitive.len() < ALL_WORDS {
            self.sensitive.push((node, class));
        }
    }

    /// Sensitive values were found at these places of the body, and will not be before `done` any more.
    pub(super) fn mark(&mut self, found: impl Iterator<Item = (u16, std::ops::Range<u64>)>, done: u64) {
        let mut spans = std::mem::take(&mut self.spans);
        spans.mark(found, done, |node, class| self.sensitive(node, class));
        self.spans = spans;
    }

    /// The node of a field of `parent`, in its `object`-th object, behind `previous`; none beyond the limit.
    pub(super) fn field(&mut self, parent: u32, object: u32, previous: u32, name: &[u8]) -> u32 {
        let guess = self.nodes.get(previous as usize).map_or(NONE, |known| known.next);
        let node = match self.is_field(guess, parent, name) {
            true => guess,
            false => self.find_field(parent, name),
        };
        let Some(known) = self.nodes.get_mut(node as usize) else { return NONE };
        if known.last != object {
            known.last = object;
            known.present = known.present.saturating_add(1);
        }
        if let Some(before) = self.nodes.get_mut(previous as usize) {
            before.next = node;
        }
        node
    }

    /// The field that came behind `previous` last time, if `rest` begins with its name and a quote, and the bytes of the name; as
    /// [`Draft::field`].
    #[inline]
    pub(super) fn usual_field(&mut self, parent: u32, object: u32, previous: u32, rest: &[u8]) -> Option<(u32, usize)> {
        let node = self.nodes.get(previous as usize)?.next;
        let Known { parent: around, edge: Edge::Field(start, length), .. } = *self.nodes.get(node as usize)? else {
            return None;
        };
        let length = usize::from(length);
        let name = self.texts.as_bytes().get(start as usize..start as usize + length)?;
        if around != parent || rest.get(length) != Some(&b'"') || rest.get(..length) != Some(name) {
            return None;
        }
        let known = self.nodes.get_mut(node as usize)?;
        if known.last != object {
            known.last = object;
            known.present = known.present.saturating_add(1);
        }
        Some((node, length))
    }

    /// The node of what stands behind keys that are data, or of a list's items.
    pub(super) fn inner(&mut self, parent: u32, edge: Edge) -> u32 {
        if parent == NONE {
            return NONE;
        }
        let text = if edge == Edge::Entry { "\u{1}" } else { "\u{2}" }; // no field has such a name
        let hash = self.hasher.hash_one((parent, text.as_bytes()));
        let same = |&node: &u32| {
            self.nodes.get(node as usize).is_some_and(|known| known.parent == parent && known.edge == edge)
        };
        if let Some(&node) = self.fields.find(hash, same) {
            return node;
        }
        self.add(parent, edge, hash)
    }

    fn is_field(&self, node: u32, parent: u32, name: &[u8]) -> bool {
        self.nodes.get(node as usize).is_some_and(|known| {
            known.parent == parent
                && matches!(known.edge, Edge::Field(start, length) if self.name(start, length) == name)
        })
    }

    fn name(&self, start: u32, length: u16) -> &[u8] {
        self.texts.as_bytes().get(start as usize..start as usize + usize::from(length)).unwrap_or_default()
    }

    fn find_field(&mut self, parent: u32, name: &[u8]) -> u32 {
        if parent == NONE {
            return NONE;
        }
        let hash = self.hasher.hash_one((parent, name));
        if let Some(&node) = self.fields.find(hash, |&node| self.is_field(node, parent, name)) {
            return node;
        }
        let Ok(text) = std::str::from_utf8(name) else { return NONE };
        if self.nodes.len() >= self.limit {
            self.incomplete = true;
            return NONE;
        }
        let start = self.texts.len() as u32;
        self.texts.push_str(text);
        self.add(parent, Edge::Field(start, text.len() as u16), hash)
    }

    fn add(&mut self, parent: u32, edge: Edge, hash: u64) -> u32 {
        if self.nodes.len() >= self.limit {
            self.incomplete = true;
            return NONE;
        }
        let node = self.push(parent, edge);
        let Draft { nodes, texts, fields, hasher, .. } = self;
        fields.insert_unique(hash, node, |&other| {
            nodes.get(other as usize).map_or(0, |known| match known.edge {
                Edge::Field(start, length) => {
                    let name = texts.as_bytes().get(start as usize..start as usize + usize::from(length));
                    hasher.hash_one((known.parent, name.unwrap_or_default()))
                }
                Edge::Entry => hasher.hash_one((known.parent, "\u{1}".as_bytes())),
                Edge::Item | Edge::Body => hasher.hash_one((known.parent, "\u{2}".as_bytes())),
            })
        });
        node
    }

    fn push(&mut self, parent: u32, edge: Edge) -> u32 {
        self.nodes.push(Known {
            parent,
            edge,
            types: Types::default(),
            formats: Formats::default(),
            objects: 0,
            present: 0,
            last: 0,
            next: NONE,
            words: 0,
            wordy: false,
        });
        (self.nodes.len() - 1) as u32
    }

    /// The shape; `class` names a class, `secret` says of which fields no word is kept. None of a body without a value.
    pub(super) fn shape(
        &self,
        class: impl Fn(u16) -> Option<std::sync::Arc<str>>,
        secret: impl Fn(&[u8]) -> bool,
    ) -> Option<BodyShape> {
        let root = self.nodes.first().filter(|root| !root.types.is_empty());
        if root.is_none() && !self.malformed && !self.incomplete {
            return None;
        }
        let name = |node: u32| match self.nodes.get(node as usize).map(|known| known.edge) {
            Some(Edge::Field(start, length)) => self.name(start, length),
            _ => &[],
        };
        let speaks = |node: u32| !self.sensitive.iter().any(|&(other, _)| other == node) && !secret(name(node));
        let nodes = self.nodes.iter().map(|known| {
            let objects = self.nodes.get(known.parent as usize).map_or(0, |parent| parent.objects);
            Node {
                parent: known.parent,
                edge: known.edge,
                types: known.types,
                formats: known.formats,
                always: matches!(known.edge, Edge::Field(..)) && known.present == objects,
            }
        });
        let wordy = (0u32..).zip(&self.nodes).filter(|(_, known)| known.wordy).map(|(number, _)| number);
        let mut sensitive: Vec<_> =
            self.sensitive.iter().filter_map(|&(node, number)| Some((node, class(number)?))).collect();
        sensitive.sort_unstable();
        let shape = BodyShape {
            nodes: nodes.collect(),
            texts: self.texts.as_str().into(),
            // Of a node with too many, none is of use.
            words: self.words.iter().copied().filter(|&(node, ..)| speaks(node) && !self.is_wordy(node)).collect(),
            wordy: wordy.collect(),
            sensitive: sensitive.into(),
            incomplete: self.incomplete,
            malformed: self.malformed,
            structure: 0,
            wording: 0,
        };
        Some(shape.numbered())
    }
}
