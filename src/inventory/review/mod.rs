//! What people know of their APIs and traffic cannot tell: owners, notes, what is to be left out, what is internal, what
//! is sensitive. It stands in a file that they edit and keep; it is read, and never written.
//!
//! | file | owns |
//! | --- | --- |
//! | `file` | the file: entries, and what is wrong with them |
//! | `template` | entries for endpoints that are not in it |
//!
//! Entries name endpoints by service, method, template and operation, each a pattern and each to be left out where any
//! will do. Several may fit one endpoint; key by key, the last that says something counts, so that exceptions stand
//! behind the rule.

mod file;
mod template;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::report::{Endpoint, Schema};
use super::spec::Finding;
use crate::rules::RuleError;
pub use template::template;

use file::{Entry, Marked};

/// Callers from outside that are named in a finding.
const NAMED: usize = 4;

/// What people say of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reviewed {
    /// Who answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Whatever is worth knowing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// It is to be called from inside only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// What it takes or gives is sensitive, whether that is recognised or not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
}

/// A review file.
#[derive(Debug)]
pub struct Review {
    path: PathBuf,
    entries: Vec<Entry>,
    /// Places of the entries that name one endpoint, by service, method and template.
    exact: HashMap<(String, String, String), Vec<usize>>,
    /// Those of all others.
    patterns: Vec<usize>,
}

/// An inventory as it was reviewed.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Those that are not ignored, with what is said of them.
    pub endpoints: Vec<Endpoint>,
    /// Titles of those that are.
    pub ignored: BTreeSet<String>,
    /// What does not fit what is said.
    pub findings: Vec<Finding>,
}

/// What is not to be told of an endpoint while calls come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// All may be told.
    None,
    /// What was taken for sensitive in it is none.
    Classes,
    /// It is ignored.
    All,
}

/// What all entries that fit an endpoint say of it.
#[derive(Debug, Default)]
struct Verdict {
    said: Reviewed,
    ignore: bool,
    marked: Option<Marked>,
}

impl Review {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// What cannot be read or is not as it should be: with the line and the key.
    pub fn read(path: &Path) -> Result<Review, RuleError> {
        let text = std::fs::read_to_string(path).map_err(|error| RuleError {
            file: path.to_owned(),
            line: None,
            reason: error.to_string(),
        })?;
        Review::parse(path, text)
    }

    /// From the text of a file.
    ///
    /// # Errors
    ///
    /// As [`Review::read`].
    pub fn parse(path: &Path, text: String) -> Result<Review, RuleError> {
        let entries = file::entries(path, text)?;
        let (mut exact, mut patterns) = (HashMap::<_, Vec<usize>>::new(), Vec::new());
        for (place, entry) in entries.iter().enumerate() {
            match entry.exact() {
                Some(key) => exact.entry(key).or_default().push(place),
                None => patterns.push(place),
            }
        }
        Ok(Review { path: path.to_owned(), entries, exact, patterns })
    }

    /// Places of the entries that fit an endpoint, ascending.
    fn fitting(&self, endpoint: &Endpoint) -> Vec<usize> {
        // What is said of GET is said of HEAD, too, which an endpoint is told by if nobody asked for more so far.
        let methods = BTreeSet::from([endpoint.method.as_str(), endpoint.verb()]);
        let key = |method: &str| (endpoint.host.clone(), method.to_owned(), endpoint.template.clone());
        let exact = methods.into_iter().filter_map(|method| self.exact.get(&key(method))).flatten();
        let fits = |place: &&usize| self.entries.get(**place).is_some_and(|entry| entry.fits(endpoint));
        let mut all: Vec<usize> = exact.chain(&self.patterns).filter(fits).copied().collect();
        all.sort_unstable();
        all
    }

    fn verdict(&self, endpoint: &Endpoint) -> Option<Verdict> {
        let fitting = self.fitting(endpoint);
        let mut verdict = Verdict::default();
        for entry in fitting.iter().filter_map(|&place| self.entries.get(place)) {
            let Reviewed { owner, note, internal, .. } = &mut verdict.said;
            for (said, says) in [(owner, &entry.owner), (note, &entry.note)] {
                // What is empty is not known yet, or not any more.
                if let Some(text) = says {
                    *said = (!text.is_empty()).then(|| text.clone());
                }
            }
            *internal = entry.internal.unwrap_or(*internal);
            verdict.ignore = entry.ignore.unwrap_or(verdict.ignore);
            verdict.marked = entry.sensitive.clone().or(verdict.marked);
        }
        verdict.said.sensitive = matches!(verdict.marked, Some(Marked::All(true)));
        (!fitting.is_empty()).then_some(verdict)
    }

    /// An inventory in its light. Findings are in the order of the endpoints.
    pub fn apply(&self, endpoints: Vec<Endpoint>) -> Outcome {
        let mut outcome = Outcome::default();
        for mut endpoint in endpoints {
            let Some(verdict) = self.verdict(&endpoint) else {
                outcome.endpoints.push(endpoint);
                continue;
            };
            if verdict.ignore {
                outcome.ignored.insert(endpoint.title());
                continue;
            }
            if matches!(verdict.marked, Some(Marked::All(false))) {
                forget_classes(&mut endpoint);
            }
            findings(&endpoint, &verdict, &mut outcome.findings);
            endpoint.reviewed = Some(verdict.said);
            outcome.endpoints.push(endpoint);
        }
        outcome
    }

    /// Writes down what is said of each, and leaves out nothing: so it is kept, to be read in the light of any review.
    pub fn note(&self, endpoints: &mut [Endpoint]) {
        for endpoint in endpoints {
            if let Some(verdict) = self.verdict(endpoint) {
                endpoint.reviewed = Some(verdict.said);
            }
        }
    }

    /// What is not to be told of an endpoint. Its name is looked at alone.
    pub fn silence(&self, endpoint: &Endpoint) -> Silence {
        match self.verdict(endpoint) {
            Some(Verdict { ignore: true, .. }) => Silence::All,
            Some(Verdict { marked: Some(Marked::All(false)), .. }) => Silence::Classes,
            _ => Silence::None,
        }
    }

    /// Entries that fit none of these endpoints, in their order.
    pub fn unmatched(&self, endpoints: &[Endpoint]) -> Vec<Finding> {
        let mut matched = vec![false; self.entries.len()];
        for place in endpoints.iter().flat_map(|endpoint| self.fitting(endpoint)) {
            if let Some(matched) = matched.get_mut(place) {
                *matched = true;
            }
        }
        let unmatched = self.entries.iter().zip(matched).filter(|(_, matched)| !matched);
        unmatched
            .map(|(entry, _)| {
                let place = format!("{}:{}", self.path.display(), entry.line);
                Finding::new("entry_unmatched", &entry.title(), "", format!("{place}: no endpoint fits this entry"))
            })
            .collect()
    }

    /// Whether any entry fits an endpoint.
    pub fn knows(&self, endpoint: &Endpoint) -> bool {
        !self.fitting(endpoint).is_empty()
    }
}

fn findings(endpoint: &Endpoint, verdict: &Verdict, findings: &mut Vec<Finding>) {
    let title = endpoint.title();
    if verdict.said.internal && endpoint.outside_calls > 0 {
        let named: Vec<_> = endpoint.outsiders.iter().take(NAMED).map(ToString::to_string).collect();
        let detail = format!("{} of {} calls, by {}", endpoint.outside_calls, endpoint.calls, named.join(", "));
        findings.push(Finding::new("internal_called", &title, "", detail));
    }
    let seen: BTreeSet<&String> = endpoint.request.sensitive.union(&endpoint.response.sensitive).collect();
    match &verdict.marked {
        Some(Marked::Classes(expected)) => {
            for class in seen.into_iter().filter(|class| !expected.contains(*class)) {
                let mut finding = Finding::new("sensitive_unexpected", &title, class, String::new());
                finding.sensitive.insert(class.clone());
                findings.push(finding);
            }
        }
        Some(Marked::All(true)) => {
            let anonymous = endpoint.auth.get("none").copied().unwrap_or_default();
            if anonymous > 0 {
                let detail = format!("{anonymous} of {} calls had no credential", endpoint.calls);
                let mut finding = Finding::new("sensitive_open", &title, "", detail);
                finding.sensitive = seen.into_iter().cloned().collect();
                findings.push(finding);
            }
        }
        Some(Marked::All(false)) | None => {}
    }
}

/// What was taken for sensitive is none.
fn forget_classes(endpoint: &mut Endpoint) {
    fn of(schema: &mut Schema) {
        schema.sensitive.clear();
        schema.fields.values_mut().for_each(of);
        schema.entries.iter_mut().chain(&mut schema.items).for_each(|inner| of(inner));
    }
    for message in [&mut endpoint.request, &mut endpoint.response] {
        message.sensitive.clear();
        message.body.iter_mut().for_each(of);
    }
}
