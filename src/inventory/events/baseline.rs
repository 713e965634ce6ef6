//! What was known before, from an inventory that was saved.

use std::collections::HashMap;

use super::super::report::{Endpoint, Schema};
use super::At;
use crate::call::Within;

/// Endpoints by host and method.
#[derive(Debug)]
pub(super) struct Baseline {
    known: HashMap<(String, String), Vec<Endpoint>>,
}

impl Baseline {
    pub(super) fn new(endpoints: &[Endpoint]) -> Baseline {
        let mut known: HashMap<_, Vec<_>> = HashMap::new();
        for endpoint in endpoints {
            known.entry((endpoint.host.clone(), endpoint.verb().to_owned())).or_default().push(endpoint.clone());
        }
        Baseline { known }
    }

    /// Those of which a template is the same, or stands for more: words that are a parameter there may not be one yet.
    fn fitting<'b>(&'b self, at: &At<'b>) -> impl Iterator<Item = &'b Endpoint> {
        let of_host = self.known.get(&(at.host.to_owned(), at.method.to_owned()));
        of_host.into_iter().flatten().filter(move |endpoint| {
            let name = endpoint.operation.as_ref().filter(|operation| operation.protocol != "grpc");
            name.map(|operation| operation.name.as_str()) == at.operation && covers(&endpoint.template, at.template)
        })
    }

    pub(super) fn has(&self, at: &At<'_>) -> bool {
        self.fitting(at).next().is_some()
    }

    pub(super) fn has_class(&self, at: &At<'_>, response: bool, steps: &[Within<'_>], class: &str) -> bool {
        self.fitting(at).any(|endpoint| {
            let message = if response { &endpoint.response } else { &endpoint.request };
            match steps {
                [] => message.sensitive.contains(class),
                steps => {
                    let place = message.body.as_ref().and_then(|body| down(body, steps));
                    place.is_some_and(|place| place.sensitive.contains(class))
                }
            }
        })
    }
}

/// Whether all paths of a template are paths of another.
pub(in super::super) fn covers(known: &str, template: &str) -> bool {
    let (mut known, mut segments) = (known.split('/'), template.split('/'));
    loop {
        match (known.next(), segments.next()) {
            (None, None) => return true,
            (Some("{rest}"), _) => return true,
            (Some("{id}"), Some(segment)) if !segment.is_empty() && segment != "{rest}" => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

/// The place in a schema; names that were found to be data lead to what stands behind them.
fn down<'s>(schema: &'s Schema, steps: &[Within<'_>]) -> Option<&'s Schema> {
    let mut at = schema;
    for step in steps {
        at = match step {
            Within::Body => at,
            Within::Field(name) => at.fields.get(*name).or(at.entries.as_deref())?,
            Within::Entry => at.entries.as_deref()?,
            Within::Item => at.items.as_deref()?,
        };
    }
    Some(at)
}
