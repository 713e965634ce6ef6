//! What the bodies of one endpoint look like, merged from the shapes of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::budget::Budget;
use super::report;
use super::settled::{ANYBODY, Learning};
use super::words::{Settling, Words};
use crate::call::{BodyShape, Format, Formats, Type, Types, Within};

/// No node.
const NONE: u32 = u32::MAX;

/// Structures of bodies that are remembered, so that what comes again is not merged again.
const STRUCTURES: usize = 16;

/// Fields of one object from which on it may be a map.
const MAP_FIELDS: usize = 64;

/// One place in the bodies.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Node {
    name: Option<Box<str>>,
    /// Fields, sorted by name.
    fields: Vec<u32>,
    entry: u32,
    item: u32,
    types: Types,
    formats: Formats,
    /// An object around it lacked it once.
    optional: bool,
    /// Its names are data, though they look like names of fields.
    map: bool,
    /// The merge that touched it last, and the one in which it was an object for the first time; 0 for none.
    stamp: u32,
    object_since: u32,
    words: Option<Box<Words>>,
    /// Its texts are no enumeration.
    open: bool,
    #[allow(clippy::box_collection, reason = "most nodes have none, and there are many nodes")]
    sensitive: Option<Box<BTreeSet<Arc<str>>>>,
}

impl Node {
    /// Its texts are no enumeration.
    fn give_up(&mut self) {
        self.open = true;
        self.words = None;
    }

    fn new(name: Option<&str>) -> Node {
        Node {
            name: name.map(Into::into),
            fields: Vec::new(),
            entry: NONE,
            item: NONE,
            types: Types::default(),
            formats: Formats::default(),
            optional: false,
            map: false,
            stamp: 0,
            object_since: 0,
            words: None,
            open: false,
            sensitive: None,
        }
    }
}

/// A structure that was merged, and where its places went.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Merged {
    structure: u64,
    places: Box<[u32]>,
}

/// The bodies of one endpoint in one direction.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Schema {
    nodes: Vec<Node>,
    merged: Vec<Merged>,
    /// Its number among all, once there was a body.
    number: u64,
    stamp: u32,
    /// Bodies so far.
    bodies: u64,
    /// Not all fields were kept.
    pub(super) incomplete: bool,
}

impl Schema {
    /// Bytes that it holds, words apart.
    pub(super) fn bytes(&self) -> usize {
        let names = |node: &Node| node.name.as_ref().map_or(0, |name| name.len()) + node.fields.capacity() * 4;
        self.nodes.capacity() * size_of::<Node>()
            + self.nodes.iter().map(names).sum::<usize>()
            + self.merged.iter().map(|merged| size_of::<Merged>() + 4 * merged.places.len()).sum::<usize>()
    }

    /// The same with its words.
    pub(super) fn bytes_with_words(&self) -> usize {
        let words = self.nodes.iter().filter_map(|node| node.words.as_ref()).map(|words| words.bytes());
        self.bytes() + words.sum::<usize>()
    }

    /// Adds the body that a caller sent or got. Gives the fields that had no room.
    pub(super) fn add(&mut self, shape: &BodyShape, learning: &mut Learning<'_>) -> u64 {
        if shape.malformed {
            return 0;
        }
        self.bodies += 1;
        if self.number == 0 {
            self.number = learning.settled.number();
        }
        let settled = |caller| learning.settled.has(self.number, shape.wording, caller);
        if settled(ANYBODY) || settled(learning.caller) {
            return 0;
        }
        let known = self.merged.iter().position(|merged| merged.structure == shape.structure);
        let dropped = match known {
            Some(place) => {
                self.merged[..=place].rotate_right(1);
                0
            }
            None => self.merge(shape, learning.budget),
        };
        if dropped == 0 {
            match self.words(shape, learning.caller, learning.budget) {
                Settling::Everybody => learning.settled.add(self.number, shape.wording, ANYBODY),
                Settling::Caller => learning.settled.add(self.number, shape.wording, learning.caller),
                Settling::Open => {}
            }
        }
        dropped
    }

    /// Merges a structure that is new. Gives the fields that had no room.
    fn merge(&mut self, shape: &BodyShape, budget: &mut Budget) -> u64 {
        let first = self.nodes.is_empty();
        if first && !self.push(Node::new(None), budget) {
            self.incomplete = true;
            return shape.nodes.len() as u64;
        }
        self.stamp = self.stamp.wrapping_add(1);
        let mut places: Vec<u32> = Vec::with_capacity(shape.nodes.len());
        // Which nodes were objects before: what they lacked is optional.
        let mut objects = Vec::new();
        let mut dropped = 0;
        for place in shape.places() {
            let parent = places.get(place.parent).copied().unwrap_or(NONE);
            let target = match place.within {
                Within::Body => 0,
                _ if parent == NONE => NONE,
                Within::Field(name) => self.field(parent, name, place.always, budget),
                Within::Entry => self.inner(parent, true, budget),
                Within::Item => self.inner(parent, false, budget),
            };
            places.push(target);
            let Some(node) = self.nodes.get_mut(target as usize) else {
                dropped += 1;
                continue;
            };
            if place.types.contains(Type::Object) {
                match node.object_since {
                    0 => node.object_since = self.stamp,
                    _ => objects.push(target),
                }
            }
            node.stamp = self.stamp;
            node.types.extend(place.types);
            node.formats.extend(place.formats);
        }
        self.incomplete |= dropped > 0;
        for (node, class) in &shape.sensitive {
            if let Some(node) = places.get(*node as usize).and_then(|&node| self.nodes.get_mut(node as usize)) {
                node.sensitive.get_or_insert_default().insert(class.clone());
                node.give_up();
            }
        }
        if !shape.incomplete {
            for object in objects {
                self.note_absences(object);
            }
        }
        let cost = size_of::<Merged>() + 4 * places.len();
        if self.merged.len() >= STRUCTURES
            && let Some(oldest) = self.merged.pop()
        {
            budget.give_back(size_of::<Merged>() + 4 * oldest.places.len());
        }
        if budget.take(cost) {
            self.merged.insert(0, Merged { structure: shape.structure, places: places.into() });
        }
        dropped
    }

    /// Marks the fields that an object did not have this time.
    fn note_absences(&mut self, object: u32) {
        let Some(fields) = self.nodes.get_mut(object as usize).map(|node| std::mem::take(&mut node.fields)) else {
            return;
        };
        for &field in &fields {
            if let Some(node) = self.nodes.get_mut(field as usize) {
                node.optional |= node.stamp != self.stamp;
            }
        }
        let optional = |field: &&u32| self.nodes.get(**field as usize).is_some_and(|node| node.optional);
        let required = fields.len() - fields.iter().filter(optional).count();
        // Many fields of one sort, hardly any of which is always there: the names are data.
        let kind = |field: &u32| self.nodes.get(*field as usize).map(|node| (node.types, node.fields.is_empty()));
        let alike = fields.windows(2).all(|pair| matches!(pair, [one, other] if kind(one) == kind(other)));
        let map = fields.len() >= MAP_FIELDS && required * 16 <= fields.len() && alike;
        if let Some(node) = self.nodes.get_mut(object as usize) {
            node.fields = fields;
            node.map |= map;
        }
    }

    /// The node of a field.
    fn field(&mut self, parent: u32, name: &str, always: bool, budget: &mut Budget) -> u32 {
        let Some(around) = self.nodes.get(parent as usize) else { return NONE };
        let named = |field: &u32| self.nodes.get(*field as usize).and_then(|node| node.name.as_deref()).unwrap_or("");
        let place = match around.fields.binary_search_by(|field| named(field).cmp(name)) {
            Ok(place) => {
                let field = around.fields.get(place).copied().unwrap_or(NONE);
                if let Some(node) = self.nodes.get_mut(field as usize) {
                    node.optional |= !always;
                }
                return field;
            }
            Err(place) => place,
        };
        if around.map {
            return self.inner(parent, true, budget);
        }
        // Where there were objects before, they had no such field.
        let optional = !always || (around.object_since != 0 && around.object_since != self.stamp);
        if !budget.take(name.len() + 8) {
            return NONE;
        }
        let node = Node { optional, ..Node::new(Some(name)) };
        if !self.push(node, budget) {
            budget.give_back(name.len() + 8);
            return NONE;
        }
        let number = (self.nodes.len() - 1) as u32;
        if let Some(around) = self.nodes.get_mut(parent as usize) {
            around.fields.insert(place, number);
        }
        number
    }

    /// The node behind keys that are data, or of a list's items.
    fn inner(&mut self, parent: u32, entry: bool, budget: &mut Budget) -> u32 {
        let Some(around) = self.nodes.get(parent as usize) else { return NONE };
        let known = if entry { around.entry } else { around.item };
        if known != NONE {
            return known;
        }
        if !self.push(Node::new(None), budget) {
            return NONE;
        }
        let number = (self.nodes.len() - 1) as u32;
        if let Some(around) = self.nodes.get_mut(parent as usize) {
            *(if entry { &mut around.entry } else { &mut around.item }) = number;
        }
        number
    }

    /// Adds a node, if there is room for it.
    fn push(&mut self, node: Node, budget: &mut Budget) -> bool {
        if self.nodes.len() == self.nodes.capacity() {
            // By a quarter: doubling would hold twice what is needed.
            let more = (self.nodes.len() / 4).max(4);
            if !budget.take(more * size_of::<Node>()) {
                return false;
            }
            self.nodes.reserve_exact(more);
        }
        self.nodes.push(node);
        true
    }

    /// Notes the words of a body for those places that may be enumerations. Tells from whom the body teaches nothing more.
    fn words(&mut self, shape: &BodyShape, caller: u64, budget: &mut Budget) -> Settling {
        let Some(merged) = self.merged.first().filter(|merged| merged.structure == shape.structure) else {
            return Settling::Open;
        };
        for &place in &shape.wordy {
            if let Some(node) = merged.places.get(place as usize).and_then(|&node| self.nodes.get_mut(node as usize)) {
                node.give_up();
            }
        }
        let mut settling = Settling::Everybody;
        for (place, word) in shape.words() {
            let Some(node) = merged.places.get(place).and_then(|&node| self.nodes.get_mut(node as usize)) else {
                continue;
            };
            if node.open {
                continue;
            }
            let words = node.words.get_or_insert_default();
            if !words.note(word, caller, budget) {
                node.give_up();
                continue;
            }
            settling = settling.min(words.is_settled(word, caller));
        }
        settling
    }

    /// Adds what is known of the bodies of another endpoint that is the same one.
    pub(super) fn absorb(&mut self, other: &Schema, budget: &mut Budget) {
        if other.nodes.is_empty() || (self.nodes.is_empty() && !self.push(Node::new(None), budget)) {
            return;
        }
        let fresh = self.bodies == 0;
        self.stamp = self.stamp.wrapping_add(1);
        self.bodies += other.bodies;
        self.incomplete |= other.incomplete;
        let mut waiting = vec![(0, 0)];
        while let Some((mine, theirs)) = waiting.pop() {
            let (Some(into), Some(from)) = (self.nodes.get_mut(mine as usize), other.nodes.get(theirs as usize)) else {
                continue;
            };
            into.types.extend(from.types);
            into.formats.extend(from.formats);
            into.optional |= from.optional;
            into.map |= from.map;
            into.stamp = self.stamp;
            for class in from.sensitive.iter().flat_map(|classes| classes.iter()) {
                into.sensitive.get_or_insert_default().insert(class.clone());
            }
            match (&mut into.words, &from.words) {
                _ if into.open => {}
                (_, None) if !from.open => {}
                (_, None) => into.give_up(),
                (Some(words), Some(others)) => {
                    if !words.absorb(others, budget) {
                        into.give_up();
                    }
                }
                (None, Some(others)) => into.words = Some(others.clone()),
            }
            let both = into.object_since != 0 && from.object_since != 0;
            if into.object_since == 0 && from.object_since != 0 {
                into.object_since = self.stamp;
            }
            for &field in &from.fields {
                let Some(inner) = other.nodes.get(field as usize) else { continue };
                let name = inner.name.as_deref().unwrap_or_default();
                waiting.push((self.field(mine, name, !inner.optional, budget), field));
            }
            for (inner, entry) in [(from.entry, true), (from.item, false)] {
                if inner != NONE {
                    waiting.push((self.inner(mine, entry, budget), inner));
                }
            }
            if both && !fresh {
                // Those that are there now are about to be stamped.
                for &(field, _) in &waiting {
                    if let Some(node) = self.nodes.get_mut(field as usize) {
                        node.stamp = self.stamp;
                    }
                }
                self.note_absences(mine);
            }
        }
    }

    /// As it is told; none where there was no body.
    pub(super) fn report(&self) -> Option<report::Schema> {
        (!self.nodes.is_empty() && self.bodies > 0).then(|| self.report_of(0))
    }

    /// A node comes behind the one around it, so this ends; how deep it goes is bounded by the shapes.
    fn report_of(&self, number: u32) -> report::Schema {
        let Some(node) = self.nodes.get(number as usize) else { return report::Schema::default() };
        let mut fields = BTreeMap::new();
        let mut entries = (node.entry != NONE).then(|| Box::new(self.report_of(node.entry)));
        for &field in &node.fields {
            let Some(inner) = self.nodes.get(field as usize) else { continue };
            let mut schema = self.report_of(field);
            if node.map {
                schema.optional = false;
                schema.values.clear();
                match &mut entries {
                    Some(entries) => entries.merge(schema),
                    None => entries = Some(Box::new(schema)),
                }
                continue;
            }
            fields.insert(inner.name.as_deref().unwrap_or_default().to_owned(), schema);
        }
        // A text that is anything says no more when it is sometimes a word.
        let closed = node.formats.count() == 1 && node.formats.contains(Format::Word);
        report::Schema {
            types: node.types,
            formats: node.formats,
            fields,
            optional: node.optional,
            entries,
            items: (node.item != NONE).then(|| Box::new(self.report_of(node.item))),
            values: node
                .words
                .as_ref()
                .filter(|_| closed && !node.open)
                .and_then(|words| words.closed())
                .unwrap_or_default(),
            sensitive: node
                .sensitive
                .iter()
                .flat_map(|classes| classes.iter())
                .map(|class| class.to_string())
                .collect(),
        }
    }
}
