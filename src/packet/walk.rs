//! The walk from a link layer's payload inwards, header by header.

use std::sync::{Mutex, PoisonError};

use super::bytes::Bytes;
use super::fragment::{Fragments, Whole};
use super::ip::{self, Addresses, Packet, number};
use super::link::{self, Content, ether_type};
use super::tcp::{self, Tcp};
use super::tunnel::{self, Inside};
use super::{Encapsulation, Layer, Settings, checksum};
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// What a walk ends at, when it ends well.
pub(super) enum Found<'d> {
    /// A TCP segment.
    Tcp(Tcp<'d>),
    /// A packet put together from fragments, to be walked into in its turn.
    Whole(Whole),
}

/// One step further in.
enum Step<'d> {
    Next(Content, Bytes<'d>),
    Found(Found<'d>),
}

/// One walk into one packet. Every step takes at least one byte off the packet, or turns a general content into a
/// particular one; so it ends, and its work is linear in the packet's length.
pub(super) struct Walk<'w> {
    settings: &'w Settings,
    time: Timestamp,
    encapsulation: &'w mut Encapsulation,
    fragments: &'w Mutex<Fragments>,
    /// Whence and where the fragment went that the packet is.
    fragment: &'w mut Option<Addresses>,
    counters: &'w mut Counters,
    /// An IP header was found: whatever is inside, the packet was IP.
    is_ip: bool,
    /// The walk went into what only looks like a tunnel: what does not decode there is no error.
    is_guess: bool,
}

impl<'w> Walk<'w> {
    pub(super) fn new(
        settings: &'w Settings,
        time: Timestamp,
        encapsulation: &'w mut Encapsulation,
        (fragments, fragment): (&'w Mutex<Fragments>, &'w mut Option<Addresses>),
        counters: &'w mut Counters,
    ) -> Self {
        Walk { settings, time, encapsulation, fragments, fragment, counters, is_ip: false, is_guess: false }
    }

    /// The way that nearly all packets take: Ethernet, perhaps tags, whole IP, TCP, perhaps all of it in VXLAN or the
    /// like. `None` for any other, and for what is wrong with one, which [`Walk::run`] then finds. Straight down
    /// without a loop over steps it takes half the time.
    #[inline]
    pub(super) fn shortcut<'d>(&mut self, mut bytes: Bytes<'d>) -> Option<Result<Tcp<'d>, Counter>> {
        loop {
            let packet = self.whole_ip_in_ethernet(bytes)?;
            match packet.number {
                number::TCP if !self.settings.verify_checksums => return tcp::read(&packet).ok().map(Ok),
                number::UDP => match tunnel::udp(self.settings, packet.addresses.pair(), packet.payload) {
                    Ok(Inside { layer, content: Content::ETHERNET, bytes: inside }) => {
                        self.push(layer).ok()?;
                        bytes = inside;
                    }
                    Ok(_) => return None,
                    Err(_) => return Some(Err(Counter::NotTcp)),
                },
                _ => return None,
            }
        }
    }

    #[inline]
    fn whole_ip_in_ethernet<'d>(&mut self, bytes: Bytes<'d>) -> Option<Packet<'d>> {
        let mut ether_type = bytes.u16_at(12)?;
        let mut bytes = bytes.skip(14).ok()?;
        while ether_type == ether_type::VLAN {
            let (tag, rest) = bytes.header::<4>().ok()?;
            let id = u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff;
            if id != 0 {
                self.push(Layer::Vlan { id }).ok()?;
            }
            (ether_type, bytes) = (u16::from_be_bytes([tag[2], tag[3]]), rest);
        }
        let packet = match ether_type {
            ether_type::IPV4 => ip::version_4(bytes, self.settings.verify_checksums).ok()?,
            ether_type::IPV6 => ip::version_6(bytes).ok()?,
            _ => return None,
        };
        packet.fragment.is_none().then_some(packet)
    }

    /// Walks from a link layer's payload; the error is the counter of what it was instead of a segment.
    pub(super) fn run<'d>(mut self, content: Content, bytes: Bytes<'d>) -> Result<Found<'d>, Counter> {
        match self.steps(content, bytes) {
            Err(reason) => Err(self.excuse(reason)),
            found => found,
        }
    }

    /// Walks on from a packet put together from fragments.
    pub(super) fn resume<'d>(mut self, whole: &'d Whole) -> Result<Found<'d>, Counter> {
        self.is_ip = true;
        let mut packet = Packet {
            addresses: whole.addresses,
            id: whole.id,
            number: whole.number,
            payload: Bytes { captured: &whole.payload, missing: 0 },
            fragment: None,
        };
        let found = ip::extensions(&mut packet).and_then(|()| match self.packet(&packet)? {
            Step::Next(content, bytes) => self.steps(content, bytes),
            Step::Found(found) => Ok(found),
        });
        found.map_err(|reason| self.excuse(reason))
    }

    #[inline]
    fn steps<'d>(&mut self, mut content: Content, mut bytes: Bytes<'d>) -> Result<Found<'d>, Counter> {
        loop {
            let step = match content {
                Content::IPV4 => self.version_4(bytes),
                Content::IPV6 => self.version_6(bytes),
                Content::ETHERNET => link::ethernet(bytes).map(|(content, bytes)| Step::Next(content, bytes)),
                Content::IP => match bytes.version() {
                    Some(4) => self.version_4(bytes),
                    Some(6) => self.version_6(bytes),
                    _ => Err(Counter::MalformedPackets),
                },
                Content::LLC => link::llc(bytes).map(|(content, bytes)| Step::Next(content, bytes)),
                Content::PPP => link::ppp(bytes).map(|(content, bytes)| Step::Next(content, bytes)),
                other => self.ether_type(other.ether_type(), bytes),
            };
            match step? {
                Step::Next(next, rest) => (content, bytes) = (next, rest),
                Step::Found(found) => return Ok(found),
            }
        }
    }

    /// What a reason comes to, in view of the way there.
    fn excuse(&self, reason: Counter) -> Counter {
        match reason {
            Counter::MalformedPackets if self.is_guess => Counter::NotTcp,
            Counter::NotIp if self.is_ip || self.is_guess => Counter::NotTcp,
            other => other,
        }
    }

    fn push(&mut self, layer: Layer) -> Result<(), Counter> {
        let is_room = self.encapsulation.len() < self.settings.depth && self.encapsulation.push(layer);
        if is_room { Ok(()) } else { Err(Counter::TunnelTooDeep) }
    }

    fn ether_type<'d>(&mut self, kind: u16, bytes: Bytes<'d>) -> Result<Step<'d>, Counter> {
        match kind {
            ether_type::VLAN
            | ether_type::SERVICE_VLAN
            | ether_type::OLD_SERVICE_VLAN
            | ether_type::OLD_SERVICE_VLAN_2 => {
                let (tag, rest) = bytes.header::<4>()?;
                let id = u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff;
                // A priority tag names no VLAN.
                if id != 0 {
                    self.push(Layer::Vlan { id })?;
                }
                Ok(Step::Next(Content::of(u16::from_be_bytes([tag[2], tag[3]])), rest))
            }
            ether_type::MPLS | ether_type::MPLS_MULTICAST => self.mpls(bytes),
            ether_type::PPPOE_SESSION => {
                let (header, rest) = bytes.header::<6>()?;
                // Version 1, type 1, code 0: session data.
                if header[..2] != [0x11, 0x00] {
                    return Err(Counter::NotIp);
                }
                self.push(Layer::Pppoe { session: u16::from_be_bytes([header[2], header[3]]) })?;
                Ok(Step::Next(Content::PPP, rest.limit(usize::from(u16::from_be_bytes([header[4], header[5]])))))
            }
            ether_type::PPP => Ok(Step::Next(Content::PPP, bytes)),
            ether_type::BRIDGED_ETHERNET => Ok(Step::Next(Content::ETHERNET, bytes)),
            // The length of an 802.3 frame.
            0..=1500 => Ok(Step::Next(Content::LLC, bytes.limit(usize::from(kind)))),
            _ => Err(Counter::NotIp),
        }
    }

    /// An MPLS label stack. Nothing says what is behind its bottom: IP by its version, otherwise an Ethernet pseudo-wire
    /// (RFC 4448) with or without a control word, whichever has a type that makes sense.
    fn mpls<'d>(&mut self, mut bytes: Bytes<'d>) -> Result<Step<'d>, Counter> {
        loop {
            let (entry, rest) = bytes.header::<4>()?;
            let entry = u32::from_be_bytes(*entry);
            self.push(Layer::Mpls { label: entry >> 12 })?;
            bytes = rest;
            // S, the bottom of the stack.
            if entry & 0x100 != 0 {
                break;
            }
        }
        self.is_guess = true;
        let looks_like_ethernet = |offset: usize| {
            matches!(
                bytes.u16_at(offset + 12),
                Some(
                    ether_type::IPV4
                        | ether_type::IPV6
                        | ether_type::VLAN
                        | ether_type::SERVICE_VLAN
                        | ether_type::OLD_SERVICE_VLAN
                        | ether_type::MPLS
                        | ether_type::PPPOE_SESSION
                )
            )
        };
        match bytes.version() {
            // A MAC address may begin with a 4 or a 6, and an IP address look like a type in its place.
            Some(4) if ip::version_4(bytes, looks_like_ethernet(0)).is_ok() => Ok(Step::Next(Content::IPV4, bytes)),
            Some(6) if bytes.u16_at(4).is_some_and(|length| usize::from(length) + 40 == bytes.wire_length()) => {
                Ok(Step::Next(Content::IPV6, bytes))
            }
            Some(0) if looks_like_ethernet(4) => Ok(Step::Next(Content::ETHERNET, bytes.skip(4)?)),
            _ if looks_like_ethernet(0) => Ok(Step::Next(Content::ETHERNET, bytes)),
            _ => Ok(Step::Next(Content::IP, bytes)),
        }
    }

    fn version_4<'d>(&mut self, bytes: Bytes<'d>) -> Result<Step<'d>, Counter> {
        let packet = ip::version_4(bytes, self.settings.verify_checksums)?;
        self.packet(&packet)
    }

    fn version_6<'d>(&mut self, bytes: Bytes<'d>) -> Result<Step<'d>, Counter> {
        let packet = ip::version_6(bytes)?;
        self.packet(&packet)
    }

    fn packet<'d>(&mut self, packet: &Packet<'d>) -> Result<Step<'d>, Counter> {
        self.is_ip = true;
        if packet.fragment.is_some() {
            return self.fragment(packet);
        }
        if packet.number != number::TCP {
            return self.tunnel(packet);
        }
        let bytes = packet.payload;
        let tcp = tcp::read(packet)?;
        let is_whole = bytes.missing == 0;
        if self.settings.verify_checksums && is_whole && !checksum::tcp(&packet.addresses, bytes.captured) {
            return Err(Counter::BadChecksum);
        }
        Ok(Step::Found(Found::Tcp(tcp)))
    }

    /// Keeps a fragment; found when it completes its packet.
    #[cold]
    fn fragment<'d>(&mut self, packet: &Packet<'d>) -> Result<Step<'d>, Counter> {
        let Some(place) = packet.fragment else { return Err(Counter::Fragments) };
        *self.fragment = Some(packet.addresses);
        let digest = self.encapsulation.digest();
        let whole = {
            let mut fragments = self.fragments.lock().unwrap_or_else(PoisonError::into_inner);
            if fragments.seen(self.time, packet, place, digest, self.counters) {
                return Err(Counter::Fragments);
            }
            fragments.take(self.time, packet, place, digest, self.counters).ok_or(Counter::Fragments)?
        };
        self.counters.count(Counter::Fragments);
        Ok(Step::Found(Found::Whole(whole)))
    }

    /// Looks into what is no TCP.
    fn tunnel<'d>(&mut self, packet: &Packet<'d>) -> Result<Step<'d>, Counter> {
        let outer = packet.addresses.pair();
        let bytes = packet.payload;
        let Inside { layer, content, bytes } = match packet.number {
            number::UDP => {
                let inside = tunnel::udp(self.settings, outer, bytes).map_err(|_| Counter::NotTcp)?;
                self.is_guess = true;
                inside
            }
            number::GRE => tunnel::gre(outer, bytes)?,
            number::IPV4 => tunnel::plain(outer, Content::IPV4, bytes),
            number::IPV6 => tunnel::plain(outer, Content::IPV6, bytes),
            number::MPLS => tunnel::plain(outer, Content::of(ether_type::MPLS), bytes),
            number::ETHER_IP => tunnel::ether_ip(outer, bytes)?,
            _ => return Err(Counter::NotTcp),
        };
        self.push(layer)?;
        Ok(Step::Next(content, bytes))
    }
}
