//! Packets that were seen before: the same packet mirrored twice.
//!
//! A span port that mirrors both directions of two ports sees what goes from one to the other twice; a mirror of two
//! VLANs sees a routed packet on either; a mirror of an underlay and an overlay sees it in the tunnel and out of it.
//! The copies differ in MAC addresses, tags, tunnels, hop limit and IP checksum. What no switch or router touches is
//! the innermost IP identification and addresses, the TCP header as a whole (its checksum covers the payload) and the
//! payload. So: **two packets are one when all of these agree and at most [`Settings::duplicate_window_ms`] lies between
//! them, whatever is around them.** Of the payload, the length and 16 bytes at either end are compared besides the
//! checksum, for machines that leave the checksum to their card.
//!
//! What this rule takes for different, and what not:
//!
//! * A retransmission is another packet: it comes later than the window (the shortest retransmission time-out of
//!   Linux is 200 ms), or has another IP identification (IPv4), or another time stamp option. Where none holds (a fast
//!   retransmission over IPv6 without time stamps) it is taken for a duplicate, and as its content is the same,
//!   nothing is lost by that.
//! * Connections on different VLANs that share addresses and ports stay apart as long as they do not also share
//!   sequence numbers, identifications and payloads within the window. The conformance captures have one where even
//!   that is so (a connection replayed onto other tags, 50 ms later); mirrors repeat a packet within microseconds to a
//!   few milliseconds, which is why the window is 10 ms and not the 50 ms of some packet brokers.
//! * NAT changes addresses, and so makes another packet. Options that a middle box rewrites (MSS) do too; reassembly
//!   then sees a retransmission.
//!
//! **Conversations, not only packets.** Dropping the second copy is not enough. When requests come first on VLAN 10 and
//! then on VLAN 20, and responses the other way about, each VLAN would be left with half of the conversation, and
//! VLANs tell flows apart. So a duplicate in another encapsulation also links the two: packets of this conversation in
//! the second one pass for the first ([`Encapsulation::digest`](super::Encapsulation::digest)) from then on.
//!
//! Whoever can send packets past the sensor could use that to slip segments into a conversation of their own from
//! within a tunnel that nobody opens. Segments that expire on the way or have a wrong checksum do the same, so nothing
//! is given away: reassembly has to cope with inserted data anyway.
//!
//! The table of encapsulations is of fixed size, two places a bucket, the older one gives way. The bucket is picked by an
//! unkeyed hash, so that runs agree. Packets are compared by a 64-bit hash under a random key, so that nobody can craft a packet that
//! passes for another.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;

use super::Settings;
use super::ip::{Addresses, Place};
use super::recent::Recent;
use super::tcp::Tcp;
use crate::time::Timestamp;

/// Bytes compared at either end of the payload.
const EDGE: usize = 16;

/// What was said of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not seen within the window. It belongs to the conversation in the encapsulation of this digest.
    New(u64),
    /// Seen already. True when linking its encapsulation made the table forget another link.
    Duplicate(bool),
}

/// The packets of the last milliseconds, and the encapsulations found to be one.
pub(super) struct Duplicates {
    key: RandomState,
    packets: Recent,
    /// Empty until the first duplicate in another encapsulation: most sensors never see one.
    links: Table,
    link_slots: usize,
}

impl Duplicates {
    pub(super) fn new(settings: &Settings) -> Self {
        let window = i64::try_from(settings.duplicate_window_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        Duplicates {
            key: RandomState::new(),
            packets: Recent::new(window, settings.duplicate_packets),
            links: Table::new(0),
            link_slots: settings.duplicate_links,
        }
    }

    /// Looks a segment up, and remembers it when it is new.
    #[inline]
    pub(super) fn segment(&mut self, time: Timestamp, tcp: &Tcp<'_>, encapsulation: u64) -> Verdict {
        if self.packets.is_off() {
            return Verdict::New(encapsulation);
        }
        let identity = self.resolve(tcp, encapsulation);
        let mut hasher = self.key.build_hasher();
        write_addresses(&mut hasher, &tcp.addresses);
        hasher.write_u64(u64::from(tcp.id) << 32 | tcp.payload.wire_length() as u64 & 0xffff_ffff);
        hasher.write(tcp.header);
        write_edges(&mut hasher, tcp.payload.captured);
        match self.packets.find_or_put(hasher.finish(), identity, time.nanos()) {
            None => Verdict::New(identity),
            Some(first) if first == identity => Verdict::Duplicate(false),
            Some(first) => Verdict::Duplicate(self.link(time, tcp, encapsulation, first)),
        }
    }

    /// True when this fragment was seen already, in the same encapsulation.
    pub(super) fn fragment(
        &mut self,
        time: Timestamp,
        addresses: &Addresses,
        place: Place,
        payload: &[u8],
        encapsulation: u64,
    ) -> bool {
        if self.packets.is_off() {
            return false;
        }
        let mut hasher = self.key.build_hasher();
        // No segment begins so.
        hasher.write_u64(u64::MAX);
        write_addresses(&mut hasher, addresses);
        hasher.write_u64(u64::from(place.id) << 32 | u64::from(place.offset) << 1 | u64::from(place.more));
        hasher.write_u64(encapsulation);
        hasher.write_usize(payload.len());
        hasher.write(payload);
        self.packets.find_or_put(hasher.finish(), encapsulation, time.nanos()).is_some()
    }

    /// The digest of the encapsulation in which this conversation was first seen.
    #[inline]
    fn resolve(&self, tcp: &Tcp<'_>, encapsulation: u64) -> u64 {
        if self.links.is_empty() {
            return encapsulation;
        }
        let (place, tag) = self.conversation(tcp, encapsulation);
        self.links.find(place, tag).unwrap_or(encapsulation)
    }

    /// Lets this conversation in `from` pass for `to`; true when another link was forgotten for it.
    fn link(&mut self, time: Timestamp, tcp: &Tcp<'_>, from: u64, to: u64) -> bool {
        if self.links.is_empty() {
            self.links = Table::new(self.link_slots);
        }
        let (place, tag) = self.conversation(tcp, from);
        self.links.put(place, tag, to, time.nanos())
    }

    /// Bucket and tag of a conversation, the same for both of its directions, in an encapsulation.
    fn conversation(&self, tcp: &Tcp<'_>, encapsulation: u64) -> (u64, u64) {
        let mut ends = [(tcp.addresses.source, tcp.source_port), (tcp.addresses.destination, tcp.destination_port)];
        ends.sort_unstable();
        let mut hasher = self.key.build_hasher();
        hasher.write_u64(encapsulation);
        hasher.write_u64(tcp.addresses.version);
        let mut place = encapsulation;
        for (address, port) in ends {
            hasher.write_u128(address);
            hasher.write_u16(port);
            place = mix(mix(place ^ (address >> 64) as u64, address as u64), u64::from(port));
        }
        (place, hasher.finish())
    }
}

#[inline]
fn write_addresses(hasher: &mut impl Hasher, addresses: &Addresses) {
    if addresses.is_ipv4() {
        hasher.write_u128(addresses.source << 32 | addresses.destination);
    } else {
        hasher.write_u128(addresses.source);
        hasher.write_u128(addresses.destination);
    }
}

#[inline]
fn write_edges(hasher: &mut impl Hasher, payload: &[u8]) {
    match (payload.first_chunk::<EDGE>(), payload.last_chunk::<EDGE>()) {
        (Some(first), Some(last)) => {
            hasher.write_u128(u128::from_ne_bytes(*first));
            hasher.write_u128(u128::from_ne_bytes(*last));
        }
        _ => hasher.write(payload),
    }
}

/// Spreads two words over one (the finaliser of SplitMix64, Steele et al. 2014); unkeyed on purpose.
#[inline]
fn mix(one: u64, two: u64) -> u64 {
    let mut word = one ^ two.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[derive(Clone, Copy, Default)]
struct Entry {
    /// 0 for an empty place.
    tag: u64,
    time: i64,
    value: u64,
}

/// Two entries on one cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Bucket([Entry; 2]);

/// A table of fixed size from 64-bit tags to 64-bit values.
struct Table {
    /// A power of two of them, or none.
    buckets: Box<[Bucket]>,
}

impl Table {
    /// Room for `entries`, rounded up; none for none.
    fn new(entries: usize) -> Table {
        let buckets = if entries == 0 { 0 } else { entries.min(1 << 30).div_ceil(2).next_power_of_two() };
        Table { buckets: vec![Bucket::default(); buckets].into_boxed_slice() }
    }

    fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    fn bucket(&mut self, place: u64) -> Option<&mut Bucket> {
        let last = self.buckets.len().wrapping_sub(1);
        self.buckets.get_mut(place as usize & last)
    }

    fn find(&self, place: u64, tag: u64) -> Option<u64> {
        let tag = tag.max(1);
        let last = self.buckets.len().wrapping_sub(1);
        let Bucket(entries) = self.buckets.get(place as usize & last)?;
        entries.iter().find(|entry| entry.tag == tag).map(|entry| entry.value)
    }

    /// Puts `value` under `tag`; true when another entry gave way.
    fn put(&mut self, place: u64, tag: u64, value: u64, time: i64) -> bool {
        let tag = tag.max(1);
        let Some(Bucket([one, two])) = self.bucket(place) else { return false };
        let entry = if one.tag == tag || (two.tag != tag && (one.tag == 0 || (two.tag != 0 && one.time <= two.time))) {
            one
        } else {
            two
        };
        let evicts = entry.tag != 0 && entry.tag != tag;
        *entry = Entry { tag, time, value };
        evicts
    }
}
