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

use super::ip::Addresses;
use super::recent::{Known, Recent};
use super::tcp::Tcp;
use super::{Encapsulation, Segment, Settings};
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// Bytes compared at either end of the payload.
const EDGE: usize = 16;

/// What tells a segment's packet from all others, under a random key. Decoders whose segments meet share the key.
#[inline]
pub(super) fn fingerprint(key: &RandomState, tcp: &Tcp<'_>) -> u64 {
    let mut hasher = key.build_hasher();
    write_addresses(&mut hasher, &tcp.addresses);
    hasher.write_u64(u64::from(tcp.id) << 32 | tcp.payload.wire_length() as u64 & 0xffff_ffff);
    hasher.write(tcp.header);
    write_edges(&mut hasher, tcp.payload.captured);
    hasher.finish()
}

/// The segments of the last milliseconds, and the encapsulations found to be one.
///
/// Copies of a packet have the same addresses and ports, so that each of several workers may have its own.
pub struct Duplicates {
    key: RandomState,
    packets: Recent,
    /// Empty until the first duplicate in another encapsulation: most sensors never see one.
    links: Table,
    link_slots: usize,
    /// What the latest segment passes for, when it is another than its own.
    passing: Encapsulation,
}

/// What becomes of a segment.
#[derive(Clone, Copy, Debug)]
pub enum Admission<'d> {
    /// It is a copy of one that was let through, and is passed over.
    Copy,
    /// It goes on as it is.
    AsIs,
    /// It goes on in this encapsulation.
    In(&'d Encapsulation),
}

impl<'d> Admission<'d> {
    /// The segment of which this was said, as it goes on.
    pub fn segment(self, segment: Segment<'d>) -> Option<Segment<'d>> {
        match self {
            Admission::Copy => None,
            Admission::AsIs => Some(segment),
            Admission::In(encapsulation) => Some(Segment { encapsulation, ..segment }),
        }
    }
}

impl std::fmt::Debug for Duplicates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Duplicates").finish_non_exhaustive()
    }
}

impl Duplicates {
    /// With a part, one of `parts`, of the configured memory.
    pub fn new(settings: &Settings, parts: usize) -> Self {
        let each = |whole: usize| whole.div_ceil(parts.max(1));
        Duplicates {
            key: RandomState::new(),
            packets: Recent::new(window(settings), each(settings.duplicate_packets)),
            links: Table::new(0),
            link_slots: each(settings.duplicate_links),
            passing: Encapsulation::NONE,
        }
    }

    /// Lets a segment through that was not seen before, in the encapsulation in which its conversation was first seen.
    /// `now` is the traffic's time. What is let through is not copied: a copy of so many small parts, read back at once, costs
    /// more than all else that is done here.
    #[inline]
    pub fn admit(&mut self, segment: &Segment<'_>, now: Timestamp, counters: &mut Counters) -> Admission<'_> {
        if self.packets.is_off() {
            counters.count(Counter::Segments);
            return Admission::AsIs;
        }
        let own = segment.encapsulation.digest();
        let identity = self.resolve(segment, own);
        match self.packets.find_or_put(segment.fingerprint, identity, segment.time.nanos(), now.nanos()) {
            Known::New => {}
            Known::InPlaceOfAnother => counters.count(Counter::DuplicatesForgotten),
            Known::Before(first) => {
                counters.count(Counter::DuplicatePackets);
                let forgot = first != identity && self.link(segment, first);
                counters.add(Counter::EncapsulationLinksEvicted, u64::from(forgot));
                return Admission::Copy;
            }
        }
        counters.count(Counter::Segments);
        if identity == own {
            return Admission::AsIs;
        }
        self.passing = segment.encapsulation.clone();
        self.passing.pass_for(identity);
        Admission::In(&self.passing)
    }

    /// The digest of the encapsulation in which this conversation was first seen.
    #[inline]
    fn resolve(&self, segment: &Segment<'_>, encapsulation: u64) -> u64 {
        if self.links.is_empty() {
            return encapsulation;
        }
        let (place, tag) = self.conversation(segment);
        self.links.find(place, tag).unwrap_or(encapsulation)
    }

    /// Lets this conversation in its encapsulation pass for the one in `to`; true when another link was forgotten for it.
    fn link(&mut self, segment: &Segment<'_>, to: u64) -> bool {
        if self.links.is_empty() {
            self.links = Table::new(self.link_slots);
        }
        let (place, tag) = self.conversation(segment);
        self.links.put(place, tag, to, segment.time.nanos())
    }

    /// Bucket and tag of a conversation, the same for both of its directions, in its encapsulation.
    fn conversation(&self, segment: &Segment<'_>) -> (u64, u64) {
        let encapsulation = segment.encapsulation.digest();
        let mut ends = [segment.source, segment.destination].map(|end| {
            let address = match end.ip() {
                std::net::IpAddr::V4(address) => u128::from(address.to_bits()),
                std::net::IpAddr::V6(address) => address.to_bits(),
            };
            (address, end.port())
        });
        ends.sort_unstable();
        let mut hasher = self.key.build_hasher();
        hasher.write_u64(encapsulation);
        hasher.write_u8(u8::from(segment.source.is_ipv4()));
        let mut place = encapsulation;
        for (address, port) in ends {
            hasher.write_u128(address);
            hasher.write_u16(port);
            place = mix(mix(place ^ (address >> 64) as u64, address as u64), u64::from(port));
        }
        (place, hasher.finish())
    }
}

/// Nanoseconds between a packet and its copy, at most.
pub(super) fn window(settings: &Settings) -> i64 {
    i64::try_from(settings.duplicate_window_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

#[inline]
pub(super) fn write_addresses(hasher: &mut impl Hasher, addresses: &Addresses) {
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
