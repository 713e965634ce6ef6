//! How often one client touched each of a few hundred things.

use serde::{Deserialize, Serialize};

/// Slots at most; the first allocation has 8 and each next twice as many.
const SLOTS: usize = 256;

/// Slots that are looked at for one key.
const PROBES: usize = 4;

/// Counts by a hash of 32 bits, in at most 2 KiB: a small open table in which, once it is full, the least touched of
/// four neighbours makes room. Forgetting makes a thing new again; who touches many things is worth the space of
/// the last few hundred only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    slots: Vec<(u32, u16)>,
}

impl Touched {
    /// Reads it, for whoever needs it soon.
    #[inline]
    pub fn warm(&self) -> u64 {
        self.slots.iter().step_by(8).fold(0, |sum, (key, _)| sum ^ u64::from(*key))
    }

    /// Bytes on the heap.
    pub fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<(u32, u16)>()
    }

    /// Counts one more touch and gives how many there were before.
    pub fn touch(&mut self, hash: u64) -> u16 {
        let key = (hash >> 32) as u32 ^ hash as u32;
        // Almost always it is where it should be.
        let size = self.slots.len();
        if let Some((held, count)) = self.slots.get_mut(home(key, size))
            && *held == key
            && *count > 0
        {
            let before = *count;
            *count = before.saturating_add(1);
            return before;
        }
        loop {
            let size = self.slots.len();
            let mut best = None;
            for probe in 0..PROBES.min(size) {
                let place = (key as usize).wrapping_add(probe) % size;
                // Here and below: a remainder by the length lies within, and there is no probe of an empty table.
                let (held, count) = self.slots[place];
                if held == key && count > 0 {
                    self.slots[place].1 = count.saturating_add(1);
                    return count;
                }
                if best.is_none_or(|(_, least)| count < least) {
                    best = Some((place, count));
                }
            }
            match best {
                Some((place, count)) if count == 0 || size >= SLOTS => {
                    self.slots[place] = (key, 1);
                    return 0;
                }
                _ => self.grow(),
            }
        }
    }

    /// How many touches there were, as far as is remembered.
    pub fn count(&self, hash: u64) -> u16 {
        let key = (hash >> 32) as u32 ^ hash as u32;
        let size = self.slots.len();
        let places = (0..PROBES.min(size)).map(|probe| (key as usize).wrapping_add(probe) % size);
        let held = places.filter_map(|place| self.slots.get(place)).find(|(held, count)| *held == key && *count > 0);
        held.map_or(0, |(_, count)| *count)
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).clamp(8, SLOTS);
        let old = std::mem::replace(&mut self.slots, vec![(0, 0); size]);
        for (key, count) in old.into_iter().filter(|&(_, count)| count > 0) {
            let free = (0..PROBES).map(|probe| (key as usize).wrapping_add(probe) % size);
            if let Some(place) = free.into_iter().find(|&place| self.slots[place].1 == 0) {
                self.slots[place] = (key, count);
            }
        }
    }
}

/// Where the search for a key begins. Sizes are powers of two; a restored state may lie.
#[inline]
fn home(key: u32, size: usize) -> usize {
    if size.is_power_of_two() { key as usize & (size - 1) } else { (key as usize).checked_rem(size).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_stays_bounded() {
        let mut touched = Touched::default();
        assert_eq!((touched.count(5), touched.touch(5), touched.touch(5)), (0, 0, 1));
        assert_eq!((touched.touch(9), touched.touch(5), touched.count(5), touched.count(9)), (0, 2, 3, 1));
        for value in 0..100_000u64 {
            touched.touch(value.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        assert!(touched.slots.len() <= SLOTS);
    }

    #[test]
    fn a_client_of_forty_things_is_remembered_whole() {
        let mut touched = Touched::default();
        let key = |value: u64| value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (0..40).for_each(|value| {
            touched.touch(key(value));
        });
        let known = (0..40).filter(|&value| touched.touch(key(value)) > 0).count();
        assert!(known >= 38, "{known} of 40");
    }
}
