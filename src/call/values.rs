//! What values of a request say, without the values.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{CredentialPlace, Fingerprint};

/// A value of a request without a credential that may be a key, under a name that no rule knows: it looks drawn. Whether it is
/// one its use shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCandidate {
    /// Where it stands; a header is left out in JSON.
    #[serde(skip_serializing_if = "super::credential::is_header", default)]
    pub place: CredentialPlace,
    /// The header, in lower case, the parameter or the cookie.
    pub name: Arc<str>,
    /// Keyed hash of the value, as a key under a known name would have.
    pub fingerprint: Fingerprint,
}

/// A field whose value is meant for somebody else than the service: it has the looks that a `[[probe]]` of `rules/detect.toml`
/// describes. That proves nothing: comments and programs have them by design.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probe {
    /// The names that lead to it, as the request has them: `filter.name`, `items[].note`, of an attribute in XML
    /// `Order.item.@id`, of what a file is called `avatar.filename`; at most 128 bytes. Names that are data are `*`. The
    /// declaration of a document type in XML is `!DOCTYPE`.
    pub field: Arc<str>,
    /// The rule.
    pub rule: Arc<str>,
    /// It stands in a long text of many words.
    #[serde(skip_serializing_if = "super::is_false")]
    pub prose: bool,
    /// Keyed fingerprint of the value, or of the address in it where the rule looks for addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Fingerprint>,
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
    /// Keyed fingerprint of the name of the account that the body has beside a password, as a credential with that name has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Fingerprint>,
    /// The body has a password.
    #[serde(skip_serializing_if = "super::is_false")]
    pub password: bool,
    /// Keyed fingerprint of the identifiers that the body names (`[objects]` in `rules/detect.toml`), the first 64 in their
    /// order: which object is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<Fingerprint>,
}

impl RequestValues {
    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        let texts = self.probes.iter().map(|probe| probe.field.len() + probe.rule.len() + 32);
        size_of::<RequestValues>() + self.probes.capacity() * size_of::<Probe>() + texts.sum::<usize>()
    }
}
