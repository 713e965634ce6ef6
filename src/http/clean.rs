//! Targets that were looked at before and hold nothing: the same resources are asked for again and again, and no rule need be
//! tried on them twice.

use std::borrow::Cow;

use ahash::RandomState;

use crate::call::SensitiveClasses;
use crate::inspect::Inspector;

/// What tells the last targets in which nothing was found from all others: a 64-bit hash under a random key, so that nobody
/// can make one that passes for another. A worker has its own.
pub(crate) struct CleanTargets {
    hasher: RandomState,
    /// A power of two of hashes, each where its own low bits say, or none.
    hashes: Box<[u64]>,
}

impl CleanTargets {
    /// Remembers up to `targets`, rounded up to a power of two; none for none.
    pub(crate) fn new(targets: usize) -> CleanTargets {
        let places = if targets == 0 { 0 } else { targets.min(1 << 30).next_power_of_two() };
        CleanTargets { hasher: RandomState::new(), hashes: vec![0; places].into_boxed_slice() }
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
            let mut clean = CleanTargets::new(targets);
            for number in (0..2_000).chain(0..2_000) {
                let key = if number % 3 == 0 { "access_token" } else { "page" };
                let target = format!("/users/{number}?{key}=4f9a8b7c6d5e{number}");
                assert_eq!(clean.target(&inspector, &target), inspector.target(&target), "{targets} {target}");
            }
        }
    }
}
