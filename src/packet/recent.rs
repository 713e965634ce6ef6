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
    /// The traffic's time when it came.
    came: i64,
}

/// What was known of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It was put there within the window, with this value.
    Before(u64),
    /// It is there from now on.
    New,
    /// It is there from now on, and another that may yet come again gave way to it.
    InPlaceOfAnother,
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

    /// Looks for `tag`, put there within the window before or after `time`; otherwise puts it there. `now` is the
    /// traffic's time, which never goes back: by it packets are forgotten, so that what one packet is found to be does
    /// not depend on which others are looked up here.
    #[inline]
    pub(super) fn find_or_put(&mut self, tag: u64, value: u64, time: i64, now: i64) -> Known {
        while self.packets.front().is_some_and(|packet| now.saturating_sub(packet.came) > self.window) {
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
                    return Known::Before(packet.value);
                }
                *held.get_mut() = next;
            }
            Place::Vacant(vacant) => {
                vacant.insert(next);
            }
        }
        packets.push_back(Packet { tag, time, value, came: now });
        if self.packets.len() <= self.most {
            return Known::New;
        }
        self.forget_first();
        Known::InPlaceOfAnother
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

    /// Packets whose capture times are the traffic's time, unless they go back.
    struct Stream(Recent, i64);

    impl Stream {
        fn of(window: i64, most: usize) -> Stream {
            Stream(Recent::new(window, most), 0)
        }

        fn see(&mut self, tag: u64, value: u64, time: i64) -> Option<u64> {
            self.1 = self.1.max(time);
            match self.0.find_or_put(tag, value, time, self.1) {
                Known::Before(value) => Some(value),
                Known::New | Known::InPlaceOfAnother => None,
            }
        }
    }

    #[test]
    fn holds_what_came_within_the_window() {
        let mut recent = Stream::of(10, 100);
        assert_eq!(recent.see(1, 7, 0), None);
        assert_eq!(recent.see(1, 8, 10), Some(7));
        assert_eq!(recent.see(1, 8, 11), None, "the first was too long ago");
        assert_eq!(recent.see(1, 9, 12), Some(8));
        assert_eq!(recent.see(1, 9, 2), Some(8), "times may go backwards");
    }

    #[test]
    fn the_oldest_gives_way_and_that_is_told() {
        let mut recent = Recent::new(1_000, 3);
        let fates = [1, 2, 3, 4, 2, 1].map(|tag| recent.find_or_put(tag, tag, 0, 0));
        let another = Known::InPlaceOfAnother;
        assert_eq!(fates, [Known::New, Known::New, Known::New, another, Known::Before(2), another]);
        assert!(recent.packets.len() <= 3 && recent.index.len() <= 3);
    }

    #[test]
    fn one_that_came_again_outlives_its_first_entry() {
        let mut recent = Recent::new(10, 100);
        recent.find_or_put(1, 7, 0, 100);
        assert_eq!(recent.find_or_put(1, 8, 105, 105), Known::New, "of another time, though it came within the window");
        assert_eq!(recent.find_or_put(2, 0, 111, 111), Known::New); // forgets the first
        assert_eq!(recent.find_or_put(1, 9, 112, 112), Known::Before(8));
        assert_eq!((recent.packets.len(), recent.index.len()), (2, 2));
    }

    #[test]
    fn numbers_wrap_around() {
        let mut recent = Stream::of(1_000, 3);
        recent.0.first = u32::MAX - 1;
        for tag in 1..=6 {
            assert_eq!(recent.see(tag, tag, 0), None);
        }
        assert_eq!(recent.see(6, 0, 0), Some(6));
        assert_eq!(recent.0.index.len(), 3);
    }
}
