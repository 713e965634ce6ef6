//! The endpoints that are known, in a stable order.

use super::super::shape::{Kind, Kinds};
use super::tree::{Index, Label, ROOT, Record, Tree};
use crate::time::Timestamp;

/// One endpoint: a method at a template that has answered well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The host; empty where requests had none.
    pub host: &'a str,
    /// The method.
    pub method: &'a str,
    /// The template: `{id}` for a parameter, `{rest}` for all that follows.
    pub template: String,
    /// The template's parameters, from left to right.
    pub parameters: Vec<Parameter>,
    /// Good answers.
    pub successes: u64,
    /// Distinct clients among them; an estimate beyond [`EXACT_LIMIT`](crate::model::EXACT_LIMIT).
    pub clients: u64,
    /// Time of the first good answer.
    pub first: Timestamp,
    /// Time of the last.
    pub last: Timestamp,
    /// The server answers whatever is asked for here.
    pub catch_all: bool,
}

/// What is known of one parameter of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    kinds: Kinds,
    /// Distinct values; an estimate beyond [`EXACT_LIMIT`](crate::model::EXACT_LIMIT).
    pub values: u64,
}

impl Parameter {
    /// What its values look like.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.kinds.iter()
    }
}

pub(super) fn entries(tree: &Tree) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    let hosts = tree.get(ROOT).map(|root| root.words.as_slice()).unwrap_or_default();
    for &index in hosts {
        let Some(host) = tree.get(index).and_then(|node| node.word()) else { continue };
        let mut waiting = vec![(index, String::new(), Vec::new(), false)];
        while let Some((index, template, parameters, catch_all)) = waiting.pop() {
            let Some(node) = tree.get(index) else { continue };
            for record in &node.records {
                let template = if template.is_empty() { "/" } else { template.as_str() };
                entries.push(entry(host, record, template, &parameters, catch_all));
            }
            waiting
                .extend(node.below().map(|child| below(tree, child, &template, &parameters, node.catch_all.is_some())));
        }
    }
    entries.sort_by(|one: &Entry<'_>, other| {
        (one.host, &one.template, one.method).cmp(&(other.host, &other.template, other.method))
    });
    entries
}

fn below(
    tree: &Tree,
    child: Index,
    template: &str,
    parameters: &[Parameter],
    catch_all: bool,
) -> (Index, String, Vec<Parameter>, bool) {
    let mut parameters = parameters.to_vec();
    let Some(node) = tree.get(child) else { return (child, String::new(), parameters, false) };
    if let Label::Parameter(kinds) = node.label {
        parameters.push(Parameter { kinds, values: node.values.count() });
    }
    let catch_all = catch_all && node.label == Label::Rest;
    (child, format!("{template}/{}", super::written(&node.label)), parameters, catch_all)
}

fn entry<'a>(
    host: &'a str,
    record: &'a Record,
    template: &str,
    parameters: &[Parameter],
    catch_all: bool,
) -> Entry<'a> {
    Entry {
        host,
        method: &record.method,
        template: template.to_owned(),
        parameters: parameters.to_vec(),
        successes: record.successes,
        clients: record.clients.count(),
        first: record.first,
        last: record.last,
        catch_all,
    }
}
