//! Targets and header fields that were looked at before and hold nothing: the same resources are asked for again and again, with the same
//! fields, and no rule need be tried on them twice.

use std::borrow::Cow;

use ahash::RandomState;

use crate::call::SensitiveClasses;
use crate::inspect::{Inspector, Side};

/// Bytes of the shortest value of a header field that is looked at: nothing sensitive is shorter.
const SHORTEST: usize = 6;

/// What tells the last targets and fields in which nothing was found from all others: a 64-bit hash under a random key, so that nobody
/// can make one that passes for another. A worker has its own.
pub(crate) struct Clean {
    hasher: RandomState,
    /// A power of two of hashes, each where its own low bits say, or none.
    hashes: Box<[u64]>,
}

impl Clean {
    /// Remembers up to `targets` of both, rounded up to a power of two; none for none.
    pub(crate) fn new(targets: usize) -> Clean {
        let places = if targets == 0 { 0 } else { targets.min(1 << 30).next_power_of_two() };
        Clean { hasher: RandomState::new(), hashes: vec![0; places].into_boxed_slice() }
    }

    /// What [`Inspector::target`] gives.
    #[inline]
    pub(crate) fn target<'t>(&mut self, inspector: &Inspector, target: &'t str) -> (Cow<'t, str>, SensitiveClasses) {
        let hash = self.hasher.hash_one(target).max(1); // 0 stands where none is
        let last = self.hashes.len().wrapping_sub(1);
        let Some(known) = self.hashes.get_mut(hash as usize & last) else { return inspector.target(target) };
        if *known == hash {
            return (Cow::Borrowed(target), SensitiveClasses::default());
        }
        let (masked, found) = inspector.target(target);
        if matches!(masked, Cow::Borrowed(_)) && found.is_empty() {
            *known = hash;
        }
        (masked, found)
    }

    /// Adds to `into` what [`Inspector::header`] finds.
    #[inline]
    pub(crate) fn header(
        &mut self,
        inspector: &Inspector,
        side: Side,
        (name, value): (&[u8], &[u8]),
        into: &mut SensitiveClasses,
    ) {
        if value.len() < SHORTEST {
            return;
        }
        let hash = self.hasher.hash_one((side == Side::Request, name, value)).max(1);
        let last = self.hashes.len().wrapping_sub(1);
        let known = self.hashes.get_mut(hash as usize & last);
        if known.as_ref().is_some_and(|known| **known == hash) {
            return;
        }
        let found = inspector.header(side, name, value);
        match known {
            Some(known) if found.is_empty() => *known = hash,
            _ => inspector.merge(into, &found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Rules;
    use crate::key::Key;

    #[test]
    fn says_what_the_inspector_says() {
        let inspector = Inspector::new(
            &Rules::load(None).expect("the compiled-in rules are well"),
            Default::default(),
            Key::from_bytes([7; 16]),
        );
        for targets in [0, 1, 3, 4096] {
            let mut clean = Clean::new(targets);
            for number in (0..2_000).chain(0..2_000) {
                let key = if number % 3 == 0 { "access_token" } else { "page" };
                let target = format!("/users/{number}?{key}=4f9a8b7c6d5e{number}");
                assert_eq!(clean.target(&inspector, &target), inspector.target(&target), "{targets} {target}");
                let value = format!("{}{number}@corp.example.net", if number % 3 == 0 { "user" } else { "user " });
                let mut found = SensitiveClasses::default();
                clean.header(&inspector, Side::Response, (b"X-User", value.as_bytes()), &mut found);
                assert_eq!(found, inspector.header(Side::Response, b"X-User", value.as_bytes()), "{value}");
            }
        }
    }
}
