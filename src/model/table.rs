//! A bounded map that evicts what is worth least.

use std::hash::Hash;

use hashbrown::HashMap;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Entries that are compared when one has to go.
const CANDIDATES: usize = 16;

/// Entries that are asked what they take.
const SAMPLE: usize = 256;

/// A map of at most a given number of entries. When it is full, a hand walks on by sixteen entries and the one of least worth
/// goes: an approximation of the least worth of all that costs the same whatever the size, and depends on nothing
/// but the order of insertions. Serialises as the list of its entries.
#[derive(Clone, Debug)]
pub struct Table<K, V> {
    entries: Vec<(K, V)>,
    index: HashMap<K, u32, ahash::RandomState>,
    capacity: usize,
    hand: usize,
    /// Entries that left for others since it was made or read.
    evicted: u64,
}

impl<K: Copy + Eq + Hash, V> Table<K, V> {
    /// An empty table of at most `capacity` entries, 1 to 2³².
    pub fn new(capacity: usize) -> Self {
        Table {
            entries: Vec::new(),
            index: HashMap::default(),
            capacity: capacity.clamp(1, u32::MAX as usize),
            hand: 0,
            evicted: 0,
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many there may be.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Entries that left because there was no room, since the table was made or read back.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Bytes that it takes, where `heap` tells what an entry takes besides: asked of a few of them, so that it costs the same
    /// whatever the size.
    pub fn bytes(&self, heap: impl Fn(&V) -> usize) -> usize {
        let step = (self.entries.len() / SAMPLE).max(1);
        let (mut asked, mut sum) = (0, 0);
        for (_, value) in self.entries.iter().step_by(step) {
            asked += 1;
            sum += heap(value);
        }
        let behind = sum as f64 / f64::from(asked.max(1)) * self.entries.len() as f64;
        self.entries.capacity() * size_of::<(K, V)>() + self.index.allocation_size() + behind as usize
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// True when another entry would make one leave.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.capacity
    }

    /// The entry of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        let &place = self.index.get(key)?;
        self.entries.get(place as usize).map(|(_, value)| value)
    }

    /// The entry of `key`.
    #[inline]
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let &place = self.index.get(key)?;
        self.entries.get_mut(place as usize).map(|(_, value)| value)
    }

    /// The entry of `key`; where there is none, the one that `make` gives, for which the least of `worth` leaves when the
    /// table is full. None never, but for a table that holds nothing.
    #[inline]
    pub fn entry<W: PartialOrd>(
        &mut self,
        key: K,
        make: impl FnOnce() -> V,
        worth: impl Fn(&V) -> W,
    ) -> Option<&mut V> {
        let place = match self.index.get(&key) {
            Some(&place) => place,
            None => {
                self.insert(key, make(), worth);
                *self.index.get(&key)?
            }
        };
        self.entries.get_mut(place as usize).map(|(_, value)| value)
    }

    /// Reads the entry of `key` and throws it away: who asks for it soon finds it in the processor's caches.
    #[inline]
    pub fn warm(&self, key: &K) {
        std::hint::black_box(self.index.get(key));
    }

    /// Puts `value` under `key`, replacing what is there. When the table is full, the candidate of least `worth`
    /// leaves and is given back.
    pub fn insert<W: PartialOrd>(&mut self, key: K, value: V, worth: impl Fn(&V) -> W) -> Option<(K, V)> {
        if let Some(held) = self.get_mut(&key) {
            *held = value;
            return None;
        }
        if self.entries.len() < self.capacity {
            self.index.insert(key, self.entries.len() as u32);
            self.entries.push((key, value));
            return None;
        }
        let place = self.least(worth);
        self.index.insert(key, place as u32);
        // `least` gives a place in the table, which is full and so not empty.
        let evicted = std::mem::replace(self.entries.get_mut(place)?, (key, value));
        self.index.remove(&evicted.0);
        self.evicted += 1;
        Some(evicted)
    }

    /// Takes the entry of `key` out; the last one moves to its place.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.index.remove(key)? as usize;
        let (_, value) = self.entries.swap_remove(place);
        if let Some((moved, _)) = self.entries.get(place) {
            self.index.insert(*moved, place as u32);
        }
        Some(value)
    }

    /// The entries, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// The entries from a place on, in the order of their places: to go through a large table by and by.
    pub fn entries_from(&self, place: usize) -> impl Iterator<Item = (&K, &V)> {
        self.entries.get(place..).unwrap_or_default().iter().map(|(key, value)| (key, value))
    }

    /// Sets the limit; what lies beyond it leaves. Gives how many left.
    pub fn limit(&mut self, capacity: usize) -> usize {
        self.capacity = capacity.clamp(1, u32::MAX as usize);
        let excess = self.entries.len().saturating_sub(self.capacity);
        for (key, _) in self.entries.drain(self.entries.len() - excess..) {
            self.index.remove(&key);
        }
        self.evicted += excess as u64;
        excess
    }

    fn least<W: PartialOrd>(&mut self, worth: impl Fn(&V) -> W) -> usize {
        let size = self.entries.len();
        let mut least: Option<(usize, W)> = None;
        for step in 0..CANDIDATES.min(size) {
            let place = (self.hand + step) % size;
            // A remainder by the length lies within.
            let worth = worth(&self.entries[place].1);
            if least.as_ref().is_none_or(|(_, lowest)| worth < *lowest) {
                least = Some((place, worth));
            }
        }
        self.hand = (self.hand + CANDIDATES) % size;
        least.map_or(0, |(place, _)| place)
    }
}

impl<K: Serialize, V: Serialize> Serialize for Table<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut state = serializer.serialize_struct("Table", 3)?;
        state.serialize_field("capacity", &self.capacity)?;
        state.serialize_field("hand", &self.hand)?;
        state.serialize_field("entries", &self.entries)?;
        state.end()
    }
}

impl<'de, K: Deserialize<'de> + Copy + Eq + Hash, V: Deserialize<'de>> Deserialize<'de> for Table<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Stored<K, V> {
            capacity: usize,
            hand: usize,
            entries: Vec<(K, V)>,
        }
        let stored = Stored::deserialize(deserializer)?;
        let mut table = Table::new(stored.capacity);
        table.hand = stored.hand % stored.entries.len().max(1);
        table.index = stored.entries.iter().zip(0..).map(|(&(key, _), place)| (key, place)).collect();
        if table.index.len() != stored.entries.len() || stored.entries.len() > table.capacity {
            return Err(serde::de::Error::custom("a table with a key that is there twice, or with too many entries"));
        }
        table.entries = stored.entries;
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spraying_never_evicts_what_is_worth_most() {
        let mut table = Table::new(100);
        table.insert(0u64, 1_000u64, |&worth| worth);
        for key in 1..10_000 {
            table.insert(key, key % 7, |&worth| worth);
        }
        assert_eq!((table.len(), table.get(&0)), (100, Some(&1_000)));
    }

    #[test]
    fn bytes_follow_what_is_held() {
        let mut table = Table::new(10_000);
        assert_eq!(table.bytes(Vec::capacity), 0);
        for key in 0u64..5_000 {
            table.insert(key, Vec::<u8>::with_capacity(100), |_| 0);
        }
        let bytes = table.bytes(Vec::capacity);
        let least = 5_000 * (100 + size_of::<(u64, Vec<u8>)>() + size_of::<(u64, u32)>());
        assert!((least..3 * least).contains(&bytes), "{bytes} where {least} are needed");
    }

    proptest! {
        #[test]
        fn index_and_entries_agree_and_survive_json(keys in prop::collection::vec(0u64..60, 0..200)) {
            let mut table = Table::new(20);
            for (time, &key) in keys.iter().enumerate() {
                table.insert(key, time, |&worth| worth);
                prop_assert!(table.len() <= 20);
                prop_assert_eq!(table.get(&key), Some(&time));
            }
            let text = serde_json::to_string(&table).expect("plain data");
            let back: Table<u64, usize> = serde_json::from_str(&text).expect("what was written reads back");
            for (key, value) in table.iter() {
                prop_assert_eq!(back.get(key), Some(value));
            }
            prop_assert_eq!(serde_json::to_string(&back).expect("plain data"), text);
        }
    }
}
