//! The packets of the last milliseconds, by what tells them apart.

use std::collections::VecDeque;

/// Fewest places for chains of packets.
const FEWEST: usize = 256;

/// Packets in the order in which they came, chained from the latest to the earlier ones by some bits of their tags.
///
/// Those that have left the window are forgotten as new ones come, so that what is held, and looked into at random
/// places, is no more than the traffic of the window: that stays in the nearest caches, where a table of fixed size
/// costs a cache miss a packet. Nothing is taken out of a chain: it is over where a packet was forgotten, since those
/// behind it came earlier. A table with an entry for each packet costs twice as much, for being taken out again.
pub(super) struct Recent {
    /// Nanoseconds between a packet and its copy, at most.
    window: i64,
    /// Most packets held; the oldest gives way.
    most: usize,
    packets: VecDeque<Packet>,
    /// The number of the latest packet of each chain, a power of two of them and no fewer than packets, but
    /// for one; of an empty one any number.
    latest: Vec<u32>,
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
    /// The number of the one before it in its chain, or of one that is forgotten.
    earlier: u32,
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
        Recent { window, most, packets: VecDeque::new(), latest: Vec::new(), first: 0 }
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
        if self.packets.len() > self.latest.len() || self.latest.is_empty() {
            self.rechain();
        }
        let held = self.packets.len() as u32;
        let place = self.place(tag);
        let Some(latest) = self.latest.get_mut(place) else { return Known::New };
        // How far behind the first: what was forgotten is farther than there are packets, for numbers wrap around.
        let mut at = latest.wrapping_sub(self.first);
        let mut beyond = held;
        while at < beyond
            && let Some(packet) = self.packets.get(at as usize)
        {
            if packet.tag == tag {
                // An earlier one is farther away still.
                if time.saturating_sub(packet.time).saturating_abs() <= self.window {
                    return Known::Before(packet.value);
                }
                break;
            }
            beyond = at;
            at = packet.earlier.wrapping_sub(self.first);
        }
        let earlier = std::mem::replace(latest, self.first.wrapping_add(held));
        let full = self.packets.len() >= self.most;
        if full {
            self.forget_first();
        }
        self.packets.push_back(Packet { tag, time, value, came: now, earlier });
        if full { Known::InPlaceOfAnother } else { Known::New }
    }

    /// Forgets the packet that came first.
    #[inline]
    fn forget_first(&mut self) {
        if self.packets.pop_front().is_some() {
            self.first = self.first.wrapping_add(1);
        }
    }

    /// The chain of a tag. Tags are hashes.
    #[inline]
    fn place(&self, tag: u64) -> usize {
        tag as usize & self.latest.len().wrapping_sub(1)
    }

    /// Twice as many chains.
    #[cold]
    fn rechain(&mut self) {
        let count = (self.latest.len() * 2).max(FEWEST);
        // The one before the first is not held.
        self.latest.clear();
        self.latest.resize(count, self.first.wrapping_sub(1));
        for (at, packet) in self.packets.iter_mut().enumerate() {
            if let Some(latest) = self.latest.get_mut(packet.tag as usize & (count - 1)) {
                packet.earlier = std::mem::replace(latest, self.first.wrapping_add(at as u32));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        assert!(recent.packets.len() <= 3);
    }

    #[test]
    fn one_that_came_again_outlives_its_first_entry() {
        let mut recent = Recent::new(10, 100);
        recent.find_or_put(1, 7, 0, 100);
        assert_eq!(recent.find_or_put(1, 8, 105, 105), Known::New, "of another time, though it came within the window");
        assert_eq!(recent.find_or_put(2, 0, 111, 111), Known::New); // forgets the first
        assert_eq!(recent.find_or_put(1, 9, 112, 112), Known::Before(8));
        assert_eq!(recent.packets.len(), 2);
    }

    #[test]
    fn numbers_wrap_around() {
        let mut recent = Stream::of(1_000, 3);
        recent.0.first = u32::MAX - 1;
        for tag in 1..=6 {
            assert_eq!(recent.see(tag, tag, 0), None);
        }
        assert_eq!(recent.see(6, 0, 0), Some(6));
        assert_eq!(recent.0.packets.len(), 3);
    }

    /// The same by the definition: every packet of the window is looked at, the latest first.
    fn slow(packets: &mut Vec<Packet>, most: usize, packet: Packet, window: i64) -> Known {
        packets.retain(|held| packet.came - held.came <= window);
        let latest = packets.iter().rev().find(|held| held.tag == packet.tag);
        if let Some(held) = latest.filter(|held| (packet.time - held.time).abs() <= window) {
            return Known::Before(held.value);
        }
        packets.push(packet);
        if packets.len() <= most {
            return Known::New;
        }
        packets.remove(0);
        Known::InPlaceOfAnother
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            steps in prop::collection::vec((0u64..60, 0i64..4, -3i64..3), 0..2_000),
            window in 1i64..2_000,
            most in 1usize..700,
            first in prop_oneof![Just(0), Just(u32::MAX - 40)],
        ) {
            let (mut recent, mut all, mut now) = (Recent { first, ..Recent::new(window, most) }, Vec::new(), 0);
            for (number, (tag, step, back)) in steps.into_iter().enumerate() {
                now += step;
                // Some that fall into one chain, and some that are one in forty bits.
                let tag = (tag % 7) | (tag << 40);
                let packet = Packet { tag, time: now - back, value: number as u64, came: now, earlier: 0 };
                let known = recent.find_or_put(tag, packet.value, packet.time, now);
                prop_assert_eq!(known, slow(&mut all, most, packet, window));
            }
        }
    }
}
