//! What values in a request's body say, without the values.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A field whose value is meant for somebody else than the service: it has the looks that a `[[probe]]` of `rules/detect.toml`
/// describes. That proves nothing: comments and programs have them by design.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probe {
    /// The names that lead to it, as the request has them: `filter.name`, `items[].note`; at most 128 bytes. Names that are
    /// data are `*`.
    pub field: Arc<str>,
    /// The rule.
    pub rule: Arc<str>,
    /// It stands in a long text of many words.
    #[serde(skip_serializing_if = "super::is_false")]
    pub prose: bool,
}

/// What is told of a request's values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestValues {
    /// At most eight fields and rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
    /// The account that the body names beside a password, where it is one of those in `rules/credentials.toml` that everybody
    /// tries first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_account: Option<Arc<str>>,
}

impl RequestValues {
    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        let texts = self.probes.iter().map(|probe| probe.field.len() + probe.rule.len() + 32);
        size_of::<RequestValues>() + self.probes.capacity() * size_of::<Probe>() + texts.sum::<usize>()
    }
}
