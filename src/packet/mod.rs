//! From frames to TCP segments: link layers, tags, tunnels, IP and its fragments.
//!
//! [`Decoder`] takes one frame at a time and peels it: link layer ([`link_name`] lists those known), VLAN tags, MPLS
//! labels, PPPoE, then IP, and whatever tunnel is inside that, until a TCP header is found or something else is. What
//! it was is counted; exactly one of the stage's counters tells the fate of a frame that gives no segment. A segment of
//! an unfragmented packet is borrowed from the frame.
//!
//! Snap length: the headers must have been captured, the payload need not; [`Segment::missing`] tells how much of it
//! was on the wire behind what is there.

mod bytes;
mod checksum;
mod duplicate;
mod fragment;
mod ip;
mod layer;
mod link;
mod recent;
mod segment;
mod tcp;
mod tunnel;
mod walk;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metrics::Occupancy;
use crate::source::{Frame, LinkType};
use crate::stats::{Counter, Counters};
use bytes::Bytes;
use fragment::{Fragments, Whole};
use ip::Addresses;
use tcp::Tcp;
use walk::{Found, Walk};

pub use duplicate::{Admission, Duplicates};
pub use layer::{Encapsulation, Layer, MAX_LAYERS};
pub use link::link_name;
pub use segment::{Flags, Segment};

/// How frames are decoded.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Most layers (tags, labels, tunnels) around the innermost IP packet, at most [`MAX_LAYERS`]; packets in more
    /// count as [`Counter::TunnelTooDeep`]. Costs no memory.
    pub depth: usize,
    /// UDP destination ports that carry VXLAN, besides 4789 and 8472.
    pub vxlan_ports: Vec<u16>,
    /// Drop packets whose IPv4 or TCP checksum is wrong. Off by default: on a machine that captures its own traffic,
    /// the network card fills checksums in after the capture.
    pub verify_checksums: bool,
    /// Two equal packets at most this many milliseconds apart are one that was mirrored twice; 0 parses all.
    pub duplicate_window_ms: u64,
    /// Most packets remembered to recognise duplicates, of those within the window; at 1 Mpps and 10 ms, those are 10,000.
    /// About 44 bytes each once there are so many; fragments have as many for themselves.
    /// One that is forgotten too early ([`Counter::DuplicatesForgotten`]) costs a retransmission in reassembly, no more.
    pub duplicate_packets: usize,
    /// Conversations remembered as seen in two encapsulations, 32 bytes each, from the first one on. A forgotten one
    /// counts as [`Counter::EncapsulationLinksEvicted`].
    pub duplicate_links: usize,
    /// Bytes of unfinished fragmented packets, bookkeeping included: the worst case of their memory. Beyond it the
    /// packet that began first is dropped ([`Counter::FragmentsDropped`]).
    pub fragment_bytes: usize,
    /// Most unfinished fragmented packets at a time; eviction as with `fragment_bytes`, which bounds their memory too.
    pub fragment_packets: usize,
    /// Most pieces of one packet, at least 2; further ones are dropped. 65,535 bytes over a link of 576 take 119.
    pub fragment_pieces: usize,
    /// Seconds of packet time after which an unfinished packet is given up ([`Counter::FragmentsTimedOut`]). 30 as in
    /// Linux; RFC 8200 says 60 at most.
    pub fragment_timeout_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            depth: 8,
            vxlan_ports: Vec::new(),
            verify_checksums: false,
            duplicate_window_ms: 10,
            duplicate_packets: 1 << 15,
            duplicate_links: 1 << 16,
            fragment_bytes: 8 << 20,
            fragment_packets: 4096,
            fragment_pieces: 256,
            fragment_timeout_seconds: 30,
        }
    }
}

/// Frames of a link type that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownLinkType {
    /// Its number.
    pub link: LinkType,
    /// Its name in the registry, or its number.
    pub name: Cow<'static, str>,
    /// How many there were.
    pub frames: u64,
}

/// Turns frames into TCP segments. Packets that were mirrored twice give one each: [`Duplicates`] tells.
///
/// Memory: `fragment_bytes` (8 MiB by default) and `duplicate_packets` of 44 bytes each (1.4 MiB) for fragments, which decoders
/// [side by side](Decoder::beside) share; one reassembled packet (64 KiB), and a count for each unknown link type (65,536 at
/// most).
pub struct Decoder {
    settings: Settings,
    encapsulation: Encapsulation,
    /// Fragments of one packet may come to several decoders: they are rare enough for a lock.
    fragments: Arc<Mutex<Fragments>>,
    /// Whence and where the latest fragment went, until somebody asks.
    fragment: Option<Addresses>,
    /// For fingerprints; none when duplicates are not sought.
    key: Option<RandomState>,
    /// The payload of the last packet put together: its segment is lent from here.
    whole: Vec<u8>,
    unknown: BTreeMap<LinkType, u64>,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Decoder {
    /// A decoder that has seen nothing yet.
    pub fn new(settings: Settings) -> Decoder {
        Decoder {
            fragments: Arc::new(Mutex::new(Fragments::new(&settings))),
            fragment: None,
            key: (settings.duplicate_window_ms > 0 && settings.duplicate_packets > 0).then(RandomState::new),
            encapsulation: Encapsulation::NONE,
            whole: Vec::new(),
            unknown: BTreeMap::new(),
            settings,
        }
    }

    /// A decoder for another part of the same traffic: fragments of one packet may come to either, and copies of a
    /// packet have one fingerprint.
    pub fn beside(&self) -> Decoder {
        Decoder {
            fragments: self.fragments.clone(),
            fragment: None,
            key: self.key.clone(),
            encapsulation: Encapsulation::NONE,
            whole: Vec::new(),
            unknown: BTreeMap::new(),
            settings: self.settings.clone(),
        }
    }

    /// The TCP segment in a frame, or the one that it completes as the last of several fragments. None when it carries
    /// no (complete) TCP segment: `counters` has the reason.
    #[inline]
    pub fn decode<'a>(&'a mut self, frame: &Frame<'a>, counters: &mut Counters) -> Option<Segment<'a>> {
        let missing = (frame.original_length as usize).saturating_sub(frame.data.len());
        let bytes = Bytes { captured: frame.data, missing };
        self.encapsulation.clear();
        if frame.link == link::ETHERNET {
            match self.walk(frame, counters).shortcut(bytes) {
                Some(Ok(tcp)) => {
                    let fingerprint = self.fingerprint(&tcp);
                    return Some(segment(frame, &self.encapsulation, &tcp, tcp.payload.captured, fingerprint));
                }
                Some(Err(reason)) => {
                    counters.count(reason);
                    return None;
                }
                None => {}
            }
            self.encapsulation.clear();
        }
        self.decode_step_by_step(frame, bytes, counters)
    }

    /// Decodes what is not as simple as most.
    fn decode_step_by_step<'a>(
        &'a mut self,
        frame: &Frame<'a>,
        bytes: Bytes<'a>,
        counters: &mut Counters,
    ) -> Option<Segment<'a>> {
        let found = match link::open(frame.link, bytes) {
            Ok((content, bytes)) => self.walk(frame, counters).run(content, bytes),
            Err(reason) => Err(reason),
        };
        match found {
            Ok(Found::Tcp(tcp)) => {
                let fingerprint = self.fingerprint(&tcp);
                Some(segment(frame, &self.encapsulation, &tcp, tcp.payload.captured, fingerprint))
            }
            Ok(Found::Whole(whole)) => self.decode_whole(frame, whole, counters),
            Err(reason) => {
                if reason == Counter::UnknownLinkType {
                    *self.unknown.entry(frame.link).or_default() += 1;
                }
                counters.count(reason);
                None
            }
        }
    }

    /// Source and destination of the frame that was decoded last, when it was a fragment that gave no segment. To be asked after each
    /// frame without one: it is told once.
    pub fn take_fragment(&mut self) -> Option<(IpAddr, IpAddr)> {
        self.fragment.take().map(|addresses| (addresses.source(), addresses.destination()))
    }

    /// Link types that were not understood, ascending by number.
    pub fn unknown_link_types(&self) -> Vec<UnknownLinkType> {
        let all = self.unknown.iter();
        all.map(|(&link, &frames)| UnknownLinkType { link, name: link_name(link), frames }).collect()
    }

    /// Unfinished fragmented packets, those of the decoders beside this one too.
    pub fn fragments(&self) -> Occupancy {
        self.fragments.lock().unwrap_or_else(PoisonError::into_inner).occupancy()
    }

    /// At the end of the traffic: counts the packets that are still waiting for fragments, as timed out; those of the
    /// decoders beside this one too.
    pub fn finish(&mut self, counters: &mut Counters) {
        self.fragments.lock().unwrap_or_else(PoisonError::into_inner).finish(counters);
    }

    fn walk<'w>(&'w mut self, frame: &Frame<'_>, counters: &'w mut Counters) -> Walk<'w> {
        let fragments = (&*self.fragments, &mut self.fragment);
        Walk::new(&self.settings, frame.time, &mut self.encapsulation, fragments, counters)
    }

    /// Goes on inside a packet that was put together; what is in there may be a fragment in its turn.
    #[cold]
    fn decode_whole<'a>(
        &'a mut self,
        frame: &Frame<'a>,
        mut whole: Whole,
        counters: &mut Counters,
    ) -> Option<Segment<'a>> {
        // Each round takes a packet out of the table, but one put together may be larger than what it came in.
        for _ in 0..self.settings.depth.clamp(1, MAX_LAYERS) {
            let next = match self.walk(frame, counters).resume(&whole) {
                Ok(Found::Tcp(tcp)) => {
                    let fingerprint = self.fingerprint(&tcp);
                    // Of the whole, so that the segment can be lent from its new home.
                    let length = tcp.payload.captured.len();
                    let start = (tcp.payload.captured.as_ptr() as usize).wrapping_sub(whole.payload.as_ptr() as usize);
                    let bare = Tcp { header: &[], payload: Bytes { captured: &[], ..tcp.payload }, ..tcp };
                    self.fragment = None;
                    self.whole = whole.payload;
                    let payload = self.whole.get(start..start.saturating_add(length)).unwrap_or(&[]);
                    return Some(segment(frame, &self.encapsulation, &bare, payload, fingerprint));
                }
                Ok(Found::Whole(next)) => next,
                Err(reason) => {
                    counters.count(reason);
                    return None;
                }
            };
            whole = next;
        }
        counters.count(Counter::TunnelTooDeep);
        None
    }

    #[inline]
    fn fingerprint(&self, tcp: &Tcp<'_>) -> u64 {
        self.key.as_ref().map_or(0, |key| duplicate::fingerprint(key, tcp))
    }
}

#[inline]
fn segment<'a>(
    frame: &Frame<'_>,
    encapsulation: &'a Encapsulation,
    tcp: &Tcp<'_>,
    payload: &'a [u8],
    fingerprint: u64,
) -> Segment<'a> {
    Segment {
        time: frame.time,
        source: tcp.source(),
        destination: tcp.destination(),
        encapsulation,
        sequence: tcp.sequence,
        acknowledgment: tcp.acknowledgment,
        flags: tcp.flags,
        window: tcp.window,
        urgent: tcp.urgent,
        payload,
        missing: u32::try_from(tcp.payload.missing).unwrap_or(u32::MAX),
        fingerprint,
    }
}

#[cfg(test)]
mod tests;
