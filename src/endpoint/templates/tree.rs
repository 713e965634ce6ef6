//! The tree of segments: nodes in one list, and an index from parent and word to child.

use ahash::RandomState;
use hashbrown::HashTable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::HashKey;
use super::super::shape::Kinds;
use crate::model::{Distinct, Moments};
use crate::time::Timestamp;

/// Names a node: its place in the list.
pub(super) type Index = u32;

/// No node.
pub(super) const NONE: Index = u32::MAX;

/// The node above all hosts.
pub(super) const ROOT: Index = 0;

/// Methods at one node after words with different ones were merged.
const MOST_RECORDS: usize = 64;

/// Nodes that are compared when one has to go.
const CANDIDATES: usize = 16;

/// What a node stands for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Label {
    /// Its place is free.
    #[default]
    Free,
    /// A word, or below the root a host.
    Word(Box<str>),
    /// One object of many.
    Parameter(Kinds),
    /// Whatever follows.
    Rest,
}

/// One segment below those above it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) label: Label,
    pub(super) parent: Index,
    /// Words below, in an order that depends on the calls alone.
    pub(super) words: Vec<Index>,
    pub(super) parameter: Option<Index>,
    pub(super) rest: Option<Index>,
    pub(super) records: Vec<Record>,
    /// The client that came first, and whether another one came since.
    pub(super) creator: u64,
    pub(super) confirmed: bool,
    pub(super) last: Timestamp,
    /// Lengths of all good answers here and below.
    pub(super) lengths: Uniform,
    /// The same of pages of HTML; varied where there was anything else than a page that was asked for by GET.
    #[serde(default)]
    pub(super) pages: Uniform,
    /// Of a host: the length that most of its pages have.
    #[serde(default)]
    pub(super) shell: Option<Box<Shell>>,
    /// Words below are objects from now on.
    pub(super) open: bool,
    /// Unknown words below are answered, all with this length.
    pub(super) catch_all: Option<u64>,
    /// Words that were told apart since it is open.
    pub(super) exceptions: u8,
    /// The word is one of its parent's parameter; other words there may be none.
    pub(super) alias: bool,
    /// Words that became this parameter.
    pub(super) objects: u32,
    /// Different values of a parameter.
    pub(super) values: Distinct,
    /// Calls since its words were last compared, and new words.
    pub(super) calls: u32,
    pub(super) fresh: u32,
}

impl Node {
    pub(super) fn word(&self) -> Option<&str> {
        match &self.label {
            Label::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Nothing lies below.
    pub(super) fn is_leaf(&self) -> bool {
        self.words.is_empty() && self.parameter.is_none() && self.rest.is_none()
    }

    pub(super) fn record(&self, method: &str) -> Option<&Record> {
        self.records.iter().find(|record| *record.method == *method)
    }

    pub(super) fn below(&self) -> impl Iterator<Item = Index> + '_ {
        self.words.iter().copied().chain(self.parameter).chain(self.rest)
    }
}

/// The good answers to one method at one template.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) method: Box<str>,
    pub(super) successes: u64,
    pub(super) clients: Distinct,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// Logarithms of the answers' lengths, where they had a body: a client's first, and the first few of all.
    pub(super) lengths: Moments,
}

impl Record {
    pub(super) fn merge(&mut self, other: &Record) {
        self.successes = self.successes.saturating_add(other.successes);
        self.clients.merge(&other.clients);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.lengths.merge(&other.lengths);
    }
}

/// Whether answers were all of one length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Uniform {
    /// There was none.
    #[default]
    Unseen,
    /// All had this one.
    Always(u64),
    /// No.
    Varied,
}

impl Uniform {
    pub(super) fn merge(&mut self, other: Uniform) {
        *self = match (*self, other) {
            (Uniform::Unseen, any) | (any, Uniform::Unseen) => any,
            (one, two) if one == two => one,
            _ => Uniform::Varied,
        };
    }
}

/// The length that most pages of a service have, by the vote of Boyer and Moore (1981): each place that answered with a page for
/// the first time counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shell {
    pub(super) length: u64,
    pub(super) same: u32,
    pub(super) other: u32,
}

impl Shell {
    /// Beyond this many places it is of no account how many more there were: so a release with pages of another length is seen.
    const MOST: u32 = 128;

    pub(super) fn note(&mut self, length: u64) {
        if length == self.length {
            self.same = (self.same + 1).min(Shell::MOST);
        } else {
            self.other = self.other.saturating_add(1);
            if self.other > self.same {
                *self = Shell { length, same: 1, other: 0 };
            }
        }
    }
}

/// The nodes and their index. Serialises as the list of nodes.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    free: Vec<Index>,
    words: HashTable<Index>,
    /// Of the index, whose order nobody sees.
    hasher: RandomState,
    key: HashKey,
    hand: usize,
}

impl Tree {
    pub(super) fn new(key: HashKey) -> Tree {
        let root = Node { label: Label::Rest, parent: NONE, ..Node::default() };
        let hasher = RandomState::new();
        Tree { nodes: vec![root], free: Vec::new(), words: HashTable::new(), hasher, key, hand: 0 }
    }

    pub(super) fn key(&self) -> &HashKey {
        &self.key
    }

    /// Nodes in use.
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    #[inline]
    pub(super) fn get(&self, index: Index) -> Option<&Node> {
        self.nodes.get(index as usize)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: Index) -> Option<&mut Node> {
        self.nodes.get_mut(index as usize)
    }

    /// The child of `parent` for a word.
    #[inline]
    pub(super) fn find(&self, parent: Index, word: &str) -> Option<Index> {
        let hash = hash(&self.hasher, parent, word);
        let same =
            |&index: &Index| self.get(index).is_some_and(|node| node.parent == parent && node.word() == Some(word));
        self.words.find(hash, same).copied()
    }

    /// Puts a node below `parent`, which has no such child yet.
    pub(super) fn add(&mut self, parent: Index, label: Label, creator: u64) -> Index {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.nodes.push(Node::default());
                (self.nodes.len() - 1) as Index
            }
        };
        if let Some(node) = self.get_mut(index) {
            *node = Node { label, creator, ..Node::default() };
        }
        self.attach(index, parent);
        index
    }

    /// Hangs a node that hangs nowhere below `parent`.
    fn attach(&mut self, index: Index, parent: Index) {
        let Some(node) = self.nodes.get_mut(index as usize) else { return };
        node.parent = parent;
        let word = node.word().map(|word| hash(&self.hasher, parent, word));
        let is_rest = node.label == Label::Rest;
        if let Some(above) = self.nodes.get_mut(parent as usize) {
            match (word, is_rest) {
                (Some(_), _) => above.words.push(index),
                (None, true) => above.rest = Some(index),
                (None, false) => above.parameter = Some(index),
            }
        }
        if let Some(hash) = word {
            self.index(index, hash);
        }
    }

    fn index(&mut self, index: Index, hash: u64) {
        let Tree { nodes, words, hasher, .. } = self;
        words.insert_unique(hash, index, |&other| {
            let node = nodes.get(other as usize);
            node.and_then(|node| Some(self::hash(hasher, node.parent, node.word()?))).unwrap_or(0)
        });
    }

    /// Takes a word out of the index.
    fn forget(&mut self, index: Index) {
        let Some(node) = self.nodes.get(index as usize) else { return };
        let Some(hash) = node.word().map(|word| hash(&self.hasher, node.parent, word)) else { return };
        if let Ok(entry) = self.words.find_entry(hash, |&other| other == index) {
            entry.remove();
        }
    }

    /// Takes a node off its parent; what lies below it stays with it.
    fn detach(&mut self, index: Index) {
        let Some(parent) = self.get(index).map(|node| node.parent) else { return };
        self.forget(index);
        if let Some(above) = self.nodes.get_mut(parent as usize) {
            if let Some(place) = above.words.iter().position(|&word| word == index) {
                above.words.swap_remove(place);
            }
            above.parameter = above.parameter.filter(|&other| other != index);
            above.rest = above.rest.filter(|&other| other != index);
        }
    }

    /// Removes a node and all below it; gives how many there were.
    pub(super) fn remove(&mut self, index: Index) -> u64 {
        self.detach(index);
        self.release(index)
    }

    fn release(&mut self, index: Index) -> u64 {
        let Some(node) = self.nodes.get_mut(index as usize) else { return 0 };
        let node = std::mem::take(node);
        self.free.push(index);
        let mut count = 1;
        for child in node.below() {
            self.forget(child);
            count += self.release(child);
        }
        count
    }

    /// Adds what `from` and the nodes below it hold to `into`, and removes `from`. Below `into` there are at most
    /// `limit` words after it. Gives how many nodes were dropped for that.
    pub(super) fn graft(&mut self, from: Index, into: Index, limit: usize) -> u64 {
        self.detach(from);
        let Some(node) = self.nodes.get_mut(from as usize).map(std::mem::take) else { return 0 };
        self.free.push(from);
        let mut dropped = 0;
        for child in node.below() {
            let label = self.get(child).map(|node| node.label.clone()).unwrap_or_default();
            self.forget(child);
            let target = match &label {
                Label::Word(word) => self.find(into, word),
                Label::Parameter(_) => self.get(into).and_then(|node| node.parameter),
                Label::Rest => self.get(into).and_then(|node| node.rest),
                Label::Free => continue,
            };
            let full = self.get(into).is_none_or(|node| node.words.len() >= limit);
            match target {
                Some(target) => {
                    // What has calls of its own is a word again.
                    let alias = self.get(child).is_some_and(|node| node.alias);
                    if let Some(node) = self.get_mut(target) {
                        node.alias &= alias;
                    }
                    dropped += self.graft(child, target, limit);
                }
                None if full && matches!(label, Label::Word(_)) => dropped += self.release(child),
                None => self.attach(child, into),
            }
        }
        dropped + self.absorb(node, into)
    }

    /// Adds what a node itself holds to another. Gives how many of its records had no room.
    fn absorb(&mut self, node: Node, into: Index) -> u64 {
        let Some(target) = self.get_mut(into).filter(|_| !node.alias) else { return 0 };
        let mut dropped = 0;
        for record in node.records {
            let full = target.records.len() >= MOST_RECORDS;
            match target.records.iter_mut().find(|known| known.method == record.method) {
                Some(known) => known.merge(&record),
                None if full => dropped += 1,
                None => target.records.push(record),
            }
        }
        if let (Label::Parameter(mine), Label::Parameter(theirs)) = (&mut target.label, &node.label) {
            mine.extend(*theirs);
        }
        target.confirmed |= node.confirmed || node.creator != target.creator;
        target.last = target.last.max(node.last);
        target.lengths.merge(node.lengths);
        target.pages.merge(node.pages);
        target.values.merge(&node.values);
        target.open |= node.open;
        target.objects = target.objects.saturating_add(node.objects);
        target.calls = target.calls.saturating_add(node.calls);
        dropped
    }

    /// Adds all records of `from` and below to `into`, and removes `from`. Gives how many had no room.
    pub(super) fn fold(&mut self, from: Index, into: Index) -> u64 {
        self.detach(from);
        let mut dropped = 0;
        let mut waiting = vec![from];
        while let Some(index) = waiting.pop() {
            let Some(node) = self.nodes.get_mut(index as usize) else { continue };
            let mut node = std::mem::take(node);
            self.free.push(index);
            for child in node.below() {
                self.forget(child);
                waiting.push(child);
            }
            node.open = false;
            dropped += self.absorb(node, into);
        }
        dropped
    }

    /// Removes one node without others below it, the least used of the next few; none of those to `keep`.
    pub(super) fn evict(&mut self, keep: &[Index]) -> u64 {
        let mut least: Option<(bool, Timestamp, Index)> = None;
        let size = self.nodes.len();
        let (mut seen, mut looked) = (0, 0);
        while seen < CANDIDATES && looked < size.min(32 * CANDIDATES) {
            self.hand = (self.hand + 1) % size.max(1);
            looked += 1;
            let index = self.hand as Index;
            let Some(node) = self.get(index) else { continue };
            if index == ROOT || node.label == Label::Free || !node.is_leaf() || keep.contains(&index) {
                continue;
            }
            seen += 1;
            let worth = (node.confirmed && !node.records.is_empty(), node.last, index);
            least = Some(least.map_or(worth, |least| least.min(worth)));
        }
        least.map_or(0, |(_, _, index)| self.remove(index))
    }

    /// Removes one of the words below `parent`, the least used of the next few; none of those to `keep`.
    pub(super) fn evict_below(&mut self, parent: Index, keep: &[Index]) -> u64 {
        let Some(node) = self.get(parent) else { return 0 };
        let size = node.words.len();
        let mut least: Option<(bool, Timestamp, Index)> = None;
        for step in 0..CANDIDATES.min(size) {
            let Some(&index) = node.words.get((self.hand + step) % size) else { continue };
            let Some(child) = self.get(index) else { continue };
            if !keep.contains(&index) {
                let worth = (child.confirmed, child.last, index);
                least = Some(least.map_or(worth, |least| least.min(worth)));
            }
        }
        self.hand = self.hand.wrapping_add(CANDIDATES) % self.nodes.len().max(1);
        least.map_or(0, |(_, _, index)| self.remove(index))
    }

    /// The node of the host that a node belongs to.
    pub(super) fn host(&self, index: Index) -> Option<(Index, &Node)> {
        let mut at = index;
        for _ in 0..super::DEEPEST {
            let node = self.get(at)?;
            match node.parent {
                NONE => return None,
                ROOT => return Some((at, node)),
                parent => at = parent,
            }
        }
        None
    }

    /// Appends the template of a node, and gives the node of its host.
    pub(super) fn template(&self, index: Index, out: &mut String) -> Index {
        let mut chain = [NONE; super::DEEPEST];
        let (mut depth, mut at) = (0, index);
        while let Some(node) = self.get(at)
            && node.parent != ROOT
            && node.parent != NONE
            && let Some(slot) = chain.get_mut(depth)
        {
            *slot = at;
            at = node.parent;
            depth += 1;
        }
        let start = out.len();
        for &index in chain.iter().take(depth).rev() {
            out.push('/');
            out.push_str(self.get(index).map_or("", |node| super::written(&node.label)));
        }
        if out.len() == start {
            out.push('/');
        }
        at
    }
}

fn hash(hasher: &RandomState, parent: Index, word: &str) -> u64 {
    hasher.hash_one((parent, word))
}

/// What of a tree is written down; the index follows from it.
#[derive(Serialize, Deserialize)]
struct Written<N> {
    nodes: N,
    free: Vec<Index>,
    key: HashKey,
    hand: usize,
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Tree { nodes, free, key, hand, .. } = self;
        Written { nodes, free: free.clone(), key: *key, hand: *hand }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tree {
    /// Links that lead nowhere, twice to one node or in a circle are errors: nothing here could loop on them later.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { nodes, free, key, hand } = Written::<Vec<Node>>::deserialize(deserializer)?;
        let mut tree = Tree { nodes, free, words: HashTable::new(), hasher: RandomState::new(), key, hand };
        let wrong = |reason| Err(serde::de::Error::custom(reason));
        let mut reached = vec![false; tree.nodes.len()];
        let mut waiting = vec![(ROOT, NONE, 0)];
        let mut words = Vec::new();
        while let Some((index, parent, depth)) = waiting.pop() {
            let Some(node) = tree.nodes.get(index as usize).filter(|node| node.parent == parent) else {
                return wrong("a link to no child");
            };
            match reached.get_mut(index as usize) {
                Some(seen) if !*seen => *seen = true,
                _ => return wrong("two links to one node"),
            }
            if depth > super::DEEPEST {
                return wrong("a path that is too deep");
            }
            let fits = |child: &Index, fit: fn(&Label) -> bool| tree.get(*child).is_some_and(|node| fit(&node.label));
            if !node.words.iter().all(|child| fits(child, |label| matches!(label, Label::Word(_))))
                || !node.parameter.iter().all(|child| fits(child, |label| matches!(label, Label::Parameter(_))))
                || !node.rest.iter().all(|child| fits(child, |label| matches!(label, Label::Rest)))
            {
                return wrong("a child of another sort");
            }
            if let Some(word) = node.word() {
                words.push((index, hash(&tree.hasher, parent, word)));
            }
            waiting.extend(node.below().map(|child| (child, index, depth + 1)));
        }
        for &index in &tree.free {
            match reached.get_mut(index as usize) {
                Some(seen) if !*seen => *seen = true,
                _ => return wrong("a free place that is none"),
            }
        }
        if reached.contains(&false) {
            return wrong("a node that no link leads to");
        }
        for (index, hash) in words {
            tree.index(index, hash);
        }
        Ok(tree)
    }
}
