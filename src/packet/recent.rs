//! The packets of the last milliseconds, by what tells them apart.

use std::collections::VecDeque;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

/// Packets in the order in which they came, and an index over them.
///
/// Those that have left the window are forgotten as new ones come, so that what is held, and looked into at random
/// places, is no more than the traffic of the window: that stays in the nearest caches, where a table of fixed size
/// costs a cache miss a packet.
pub(super) struct Recent {
    /// Nanoseconds between a packet and its copy, at most.
    window: i64,
    /// Most packets held; the oldest gives way.
    most: usize,
    packets: VecDeque<Packet>,
    /// Numbers of packets by their tags.
    index: HashTable<u32>,
    /// The number of the first packet held; numbers wrap around.
    first: u32,
}

#[derive(Clone, Copy)]
struct Packet {
    tag: u64,
    time: i64,
    value: u64,
}

impl Recent {
    /// Of the last `window` nanoseconds, but no more than `most`; holds none if either is zero.
    pub(super) fn new(window: i64, most: usize) -> Recent {
        let most = if window > 0 { most.min(1 << 30) } else { 0 };
        Recent { window, most, packets: VecDeque::new(), index: HashTable::new(), first: 0 }
    }

    /// True when it holds no packets, ever.
    #[inline]
    pub(super) fn is_off(&self) -> bool {
        self.most == 0
    }

    /// The value under `tag`, put there within the window before or after `time`; otherwise puts it there.
    #[inline]
    pub(super) fn find_or_put(&mut self, tag: u64, value: u64, time: i64) -> Option<u64> {
        while self.packets.front().is_some_and(|packet| time.saturating_sub(packet.time) > self.window) {
            self.forget_first();
        }
        let Recent { window, packets, index, first, .. } = self;
        let packet = |number: u32| packets.get(number.wrapping_sub(*first) as usize);
        let next = first.wrapping_add(packets.len() as u32);
        let same = |&number: &u32| packet(number).is_some_and(|packet| packet.tag == tag);
        match index.entry(tag, same, |&number| packet(number).map_or(0, |packet| packet.tag)) {
            Place::Occupied(mut held) => {
                if let Some(packet) = packet(*held.get())
                    && time.saturating_sub(packet.time).saturating_abs() <= *window
                {
                    return Some(packet.value);
                }
                *held.get_mut() = next;
            }
            Place::Vacant(vacant) => {
                vacant.insert(next);
            }
        }
        packets.push_back(Packet { tag, time, value });
        if self.packets.len() > self.most {
            self.forget_first();
        }
        None
    }

    /// Forgets the packet that came first.
    #[inline]
    fn forget_first(&mut self) {
        let Some(Packet { tag, .. }) = self.packets.pop_front() else { return };
        // A packet that came again after the window has a later number in the index.
        if let Ok(entry) = self.index.find_entry(tag, |&number| number == self.first) {
            entry.remove();
        }
        self.first = self.first.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_came_within_the_window() {
        let mut recent = Recent::new(10, 100);
        assert_eq!(recent.find_or_put(1, 7, 0), None);
        assert_eq!(recent.find_or_put(1, 8, 10), Some(7));
        assert_eq!(recent.find_or_put(1, 8, 11), None, "the first was too long ago");
        assert_eq!(recent.find_or_put(1, 9, 12), Some(8));
        assert_eq!(recent.find_or_put(1, 9, 2), Some(8), "times may go backwards");
    }

    #[test]
    fn the_oldest_gives_way() {
        let mut recent = Recent::new(1_000, 3);
        for tag in 1..=4 {
            assert_eq!(recent.find_or_put(tag, tag, 0), None);
        }
        assert_eq!(recent.find_or_put(2, 0, 0), Some(2));
        assert_eq!(recent.find_or_put(1, 1, 0), None);
        assert!(recent.packets.len() <= 3 && recent.index.len() <= 3);
    }

    #[test]
    fn one_that_came_again_outlives_its_first_entry() {
        let mut recent = Recent::new(10, 100);
        recent.find_or_put(5, 0, 100); // of a clock that is ahead: what comes behind it stays as long
        recent.find_or_put(1, 7, 0);
        assert_eq!(recent.find_or_put(1, 8, 105), None);
        assert_eq!(recent.find_or_put(2, 0, 111), None); // forgets the first two
        assert_eq!(recent.find_or_put(1, 9, 112), Some(8));
        assert_eq!((recent.packets.len(), recent.index.len()), (2, 2));
    }

    #[test]
    fn numbers_wrap_around() {
        let mut recent = Recent::new(1_000, 3);
        recent.first = u32::MAX - 1;
        for tag in 1..=6 {
            assert_eq!(recent.find_or_put(tag, tag, 0), None);
        }
        assert_eq!(recent.find_or_put(6, 0, 0), Some(6));
        assert_eq!(recent.index.len(), 3);
    }
}
