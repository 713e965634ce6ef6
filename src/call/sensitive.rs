//! Sensitive values of a call, as classes, counts and fingerprints.

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Fingerprint;

/// One class of sensitive values found in a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sensitive {
    /// The class, by its name in `rules/` (`email`, `payment_card`, …).
    pub class: Arc<str>,
    /// How many values matched, repeats included.
    pub count: u32,
    /// Keyed fingerprints of distinct values, ascending, at most as many as configured (the smallest ones, so that
    /// they are a fair sample); `count` goes on beyond. Shared by calls that were answered with the same.
    pub values: Arc<[Fingerprint]>,
}

/// What was found in a message, by class, ascending. Shared by calls that were answered with the same: most are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SensitiveClasses(Option<Arc<Vec<Sensitive>>>);

impl SensitiveClasses {
    /// True when nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|classes| classes.is_empty())
    }

    /// To change what is found in this message alone.
    pub fn edit(&mut self) -> &mut Vec<Sensitive> {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl Deref for SensitiveClasses {
    type Target = [Sensitive];

    fn deref(&self) -> &[Sensitive] {
        self.0.as_deref().map(Vec::as_slice).unwrap_or_default()
    }
}

impl From<Vec<Sensitive>> for SensitiveClasses {
    fn from(classes: Vec<Sensitive>) -> SensitiveClasses {
        SensitiveClasses((!classes.is_empty()).then(|| Arc::new(classes)))
    }
}

impl FromIterator<Sensitive> for SensitiveClasses {
    fn from_iter<I: IntoIterator<Item = Sensitive>>(classes: I) -> SensitiveClasses {
        classes.into_iter().collect::<Vec<_>>().into()
    }
}

impl<'c> IntoIterator for &'c SensitiveClasses {
    type Item = &'c Sensitive;
    type IntoIter = std::slice::Iter<'c, Sensitive>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Serialize for SensitiveClasses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SensitiveClasses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(SensitiveClasses::from)
    }
}

/// What inspection found in the messages of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Digest {
    /// In the request's target and body: what it asks for, and what it brings.
    #[serde(skip_serializing_if = "SensitiveClasses::is_empty")]
    pub request: SensitiveClasses,
    /// In the request's header fields of the API's own, and in its cookies: what a program sends along with all its calls is
    /// told apart, for it is not what it asks for.
    #[serde(skip_serializing_if = "SensitiveClasses::is_empty")]
    pub request_head: SensitiveClasses,
    /// In the response: headers and body.
    #[serde(skip_serializing_if = "SensitiveClasses::is_empty")]
    pub response: SensitiveClasses,
}

impl Digest {
    /// What was found in all places; a class may come more than once.
    pub fn all(&self) -> impl Iterator<Item = &Sensitive> {
        self.request.iter().chain(self.request_head.iter()).chain(self.response.iter())
    }

    /// True when nothing was found.
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.request_head.is_empty() && self.response.is_empty()
    }
}
