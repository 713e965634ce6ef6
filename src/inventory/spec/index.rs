//! Which operations of specifications a template fits, without a look at all of them.

use std::collections::BTreeMap;

use super::document::{Segment, Specification};
use super::path::{REST, Step, is_between};

/// What a word that is the same adds to how well a template fits.
const SAME: u32 = 100;

/// What a parameter adds that stands for a parameter.
const PARAMETER: u32 = 10;

/// Paths by their segments.
#[derive(Debug, Default)]
pub(super) struct Index {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    words: BTreeMap<String, usize>,
    /// By what is before and behind the parameter.
    parameters: BTreeMap<(String, String), usize>,
    /// Specifications and operations whose paths end here, by their places.
    ends: Vec<(usize, usize)>,
}

impl Index {
    /// Of all operations.
    pub(super) fn of(specifications: &[Specification]) -> Index {
        let mut index = Index { nodes: vec![Node::default()] };
        for (number, specification) in specifications.iter().enumerate() {
            for (place, operation) in specification.operations.iter().enumerate() {
                for path in &operation.paths {
                    index.insert(path, (number, place));
                }
            }
        }
        index
    }

    fn insert(&mut self, path: &[Segment], operation: (usize, usize)) {
        let mut at = 0;
        for segment in path {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            at = match segment {
                Segment::Word(word) => *node.words.entry(word.clone()).or_insert(next),
                Segment::Parameter { before, behind, .. } => {
                    *node.parameters.entry((before.clone(), behind.clone())).or_insert(next)
                }
            };
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.ends.push(operation);
        }
    }

    /// The operations that a template's segments fit, each with how well it does. Gives the nodes that were looked at too.
    pub(super) fn find(&self, template: &[Step<'_>]) -> (BTreeMap<(usize, usize), Fit>, usize) {
        let mut found = BTreeMap::new();
        let start = Fit { points: 1, guessed: false };
        let mut waiting = vec![(0, 0, start)];
        let mut looks = 0;
        while let Some((at, depth, fit)) = waiting.pop() {
            let Some(node) = self.nodes.get(at) else { continue };
            looks += 1;
            let rest = template.get(depth..).unwrap_or_default();
            let all = matches!(rest, [step] if step.text == REST);
            if rest.is_empty() || all {
                for operation in &node.ends {
                    let best: &mut Fit = found.entry(*operation).or_insert(fit);
                    best.points = best.points.max(fit.points);
                    best.guessed &= fit.guessed;
                }
            }
            let Some(step) = rest.first() else { continue };
            if all {
                waiting.extend(node.words.values().chain(node.parameters.values()).map(|&next| (next, depth, fit)));
                continue;
            }
            if step.is_parameter() {
                let among = node.words.iter().filter(|(word, _)| step.may_be(word));
                waiting.extend(among.map(|(_, &next)| (next, depth + 1, Fit { guessed: true, ..fit })));
                waiting.extend(node.parameters.values().map(|&next| (next, depth + 1, fit.more(PARAMETER))));
                continue;
            }
            if let Some(&next) = node.words.get(step.text) {
                waiting.push((next, depth + 1, fit.more(SAME)));
            }
            for ((before, behind), &next) in &node.parameters {
                if is_between(step.text, before, behind) {
                    waiting.push((next, depth + 1, fit.more(1)));
                }
            }
        }
        (found, looks)
    }
}

/// How well an operation fits a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// More for each word that is the same.
    pub(super) points: u32,
    /// A parameter that was learned stands for a word that is written down: the weakest fit, since nobody may have called that.
    pub(super) guessed: bool,
}

impl Fit {
    fn more(self, points: u32) -> Fit {
        Fit { points: self.points + points, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::super::super::report::Endpoint;
    use super::super::path::steps;
    use super::*;

    #[test]
    fn many_paths_are_not_looked_at_one_by_one() {
        let mut paths = String::new();
        for number in 0..3_000 {
            let path = format!(r#""/v1/things-{number}/{{id}}/parts":{{"get":{{}}}},"#);
            let _ = write!(paths, "{path}");
        }
        let text = format!(r#"{{"openapi":"3.0.3","paths":{{{paths}"/v1/{{any}}":{{"get":{{}}}}}}}}"#);
        let index = Index::of(&[Specification::parse(&text).expect("a specification")]);
        let mut all = 0;
        for number in 0..3_000 {
            let word = format!("things-{number}");
            let endpoint = Endpoint { template: format!("/v1/{word}/{{id}}/parts"), ..Endpoint::default() };
            let (found, looks) = index.find(&steps(&endpoint));
            assert_eq!(found.values().copied().collect::<Vec<_>>(), [Fit { points: 311, guessed: false }]);
            all += looks;
        }
        assert!(all < 3_000 * 8, "{all}");
    }
}
