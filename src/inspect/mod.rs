//! Looks into messages while http streams them, and leaves a small digest on the call.
//!
//! A body is walked once, in pieces as they arrive, and never held: whatever wants to look at bodies does so behind
//! [`Observer`].

/// Which message of a call is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The request.
    Request,
    /// The response.
    Response,
}
use crate::call::*;
use std::borrow::Cow;
/// stub
pub struct Inspector;
/// stub
pub struct Scan;
/// stub
#[derive(Default)]
pub struct Findings {
    pub sensitive: Vec<Sensitive>,
    pub capped: bool,
}
/// stub
pub struct CredentialHeaders<'a> {
    pub authorization: Option<&'a [u8]>,
    pub cookie: Option<&'a [u8]>,
    pub api_key: Option<&'a [u8]>,
    pub target: &'a str,
}
impl Inspector {
    /// stub
    pub fn for_tests() -> Self {
        Inspector
    }
    pub fn begin(&self, _s: Side, _c: Option<&str>) -> Option<Scan> {
        None
    }
    pub fn data(&self, _s: &mut Scan, _b: &[u8]) {}
    pub fn gap(&self, _s: &mut Scan) {}
    pub fn wants_more(&self, _s: &Scan) -> bool {
        false
    }
    pub fn finish(&self, _s: Scan) -> Findings {
        Findings::default()
    }
    pub fn target<'t>(&self, t: &'t str) -> (Cow<'t, str>, Vec<Sensitive>) {
        (Cow::Borrowed(t), Vec::new())
    }
    pub fn credential(&self, _h: &CredentialHeaders<'_>) -> Option<Credential> {
        None
    }
    pub fn is_api_key_header(&self, _n: &[u8]) -> bool {
        false
    }
}
/// Joins two lists of findings of one message, by class.
pub fn merge(into: &mut Vec<Sensitive>, from: Vec<Sensitive>) {
    into.extend(from)
}
