//! What follows when words are found to be one parameter, or misses that are answered.

use super::judge::Verdict;
use super::tree::{Index, Label, Node};
use super::{Merged, Move, Templates, written};
use crate::endpoint::shape::{Kind, Kinds};

impl Templates {
    /// Carries out what was found about the words below a node.
    pub(super) fn merge(&mut self, parent: Index, verdict: Verdict) -> Option<Merged> {
        let (Verdict::Parameter { words, .. } | Verdict::CatchAll(words, _)) = &verdict;
        let catch_all = matches!(verdict, Verdict::CatchAll(..));
        let mut moves = Vec::new();
        let mut prefix = String::new();
        let host = self.tree.template(parent, &mut prefix);
        let prefix = prefix.trim_end_matches('/');
        for &word in words {
            self.moves(word, prefix, catch_all, &mut moves);
        }
        moves.sort_unstable();
        match &verdict {
            Verdict::Parameter { words, open } => {
                let target = match self.tree.get(parent)?.parameter {
                    Some(target) => target,
                    None => {
                        let creator =
                            words.first().and_then(|&word| self.tree.get(word)).map_or(0, |node| node.creator);
                        self.tree.add(parent, Label::Parameter(Kinds::default()), creator)
                    }
                };
                self.tallies.merges += 1;
                let names: Vec<Box<str>> =
                    words.iter().filter_map(|&word| self.tree.get(word)?.word()).map(Into::into).collect();
                for &word in words {
                    let hash =
                        self.tree.get(word).and_then(Node::word).map(|word| self.tree.key().hash(&[word.as_bytes()]));
                    self.tallies.evicted += self.tree.graft(word, target, self.settings.children);
                    if let Some(node) = self.tree.get_mut(target) {
                        hash.map(|hash| node.values.insert(hash));
                        node.objects = node.objects.saturating_add(1);
                        if let Label::Parameter(kinds) = &mut node.label {
                            kinds.insert(Kind::Slug);
                        }
                    }
                }
                self.alias(parent, &names, *open);
            }
            Verdict::CatchAll(words, length) => {
                let target = match self.tree.get(parent)?.rest {
                    Some(target) => target,
                    None => {
                        let creator =
                            words.first().and_then(|&word| self.tree.get(word)).map_or(0, |node| node.creator);
                        self.tree.add(parent, Label::Rest, creator)
                    }
                };
                self.tallies.catch_alls += 1;
                let parameter = self.tree.get(parent)?.parameter.filter(|parameter| words.contains(parameter));
                self.tallies.evicted += words.iter().map(|&word| self.tree.fold(word, target)).sum::<u64>();
                if parameter.is_some() {
                    // Words that were it are words again, if they come again.
                    let aliases = self.tree.get(parent)?.words.clone();
                    for word in aliases {
                        if self.tree.get(word).is_some_and(|node| node.alias) {
                            self.tree.remove(word);
                        }
                    }
                }
                let node = self.tree.get_mut(parent)?;
                node.open &= parameter.is_none();
                node.catch_all = Some(*length);
            }
        }
        let host = self.tree.get(host).and_then(Node::word).unwrap_or_default().to_owned();
        Some(Merged { host, moves, catch_all })
    }

    /// Remembers which words are objects: all of them, or just these.
    fn alias(&mut self, parent: Index, names: &[Box<str>], open: bool) {
        let Some(node) = self.tree.get_mut(parent) else { return };
        node.open |= open;
        if node.open {
            let words = node.words.clone();
            for word in words {
                if self.tree.get(word).is_some_and(|node| node.alias) {
                    self.tree.remove(word);
                }
            }
            return;
        }
        for name in names {
            let alias = self.tree.add(parent, Label::Word(name.clone()), 0);
            if let Some(node) = self.tree.get_mut(alias) {
                node.alias = true;
            }
        }
    }

    /// The endpoints at and below a word, and what they are called when it is `{id}`, or `{rest}` with all below it.
    fn moves(&self, word: Index, prefix: &str, catch_all: bool, moves: &mut Vec<Move>) {
        let mut waiting =
            vec![(word, format!("{prefix}/"), format!("{prefix}/{{{}}}", if catch_all { "rest" } else { "id" }))];
        while let Some((index, mut from, to)) = waiting.pop() {
            let Some(node) = self.tree.get(index) else { continue };
            from.push_str(written(&node.label));
            for record in &node.records {
                moves.push(Move { from: from.clone(), method: record.method.to_string(), to: to.clone() });
            }
            for child in node.below() {
                let below = self.tree.get(child).map_or("", |node| written(&node.label));
                let to = if catch_all { to.clone() } else { format!("{to}/{below}") };
                waiting.push((child, format!("{from}/"), to));
            }
        }
    }
}
