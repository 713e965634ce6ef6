//! From frames to TCP segments: link layers, tags, tunnels, IP and its fragments.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// One layer around the innermost IP packet, from the outside in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Layer {
    /// IEEE 802.1Q or 802.1ad tag.
    Vlan {
        /// VLAN identifier, 0 to 4095.
        id: u16,
    },
    /// One MPLS label.
    Mpls {
        /// Label value, 20 bits.
        label: u32,
    },
    /// PPP over Ethernet.
    Pppoe {
        /// Session identifier.
        session: u16,
    },
    /// Generic Routing Encapsulation (RFC 2784, RFC 2890).
    Gre {
        /// Outer addresses, source and destination.
        outer: [IpAddr; 2],
        /// Key, when the header has one.
        key: Option<u32>,
    },
    /// Encapsulated Remote SPAN, types I to III.
    Erspan {
        /// Outer addresses, source and destination.
        outer: [IpAddr; 2],
        /// Session identifier; type I has none.
        session: Option<u16>,
    },
    /// VXLAN (RFC 7348).
    Vxlan {
        /// Outer addresses, source and destination.
        outer: [IpAddr; 2],
        /// Network identifier, 24 bits.
        vni: u32,
    },
    /// GENEVE (RFC 8926).
    Geneve {
        /// Outer addresses, source and destination.
        outer: [IpAddr; 2],
        /// Network identifier, 24 bits.
        vni: u32,
    },
    /// GPRS tunnelling protocol, user plane (3GPP TS 29.281).
    Gtp {
        /// Outer addresses, source and destination.
        outer: [IpAddr; 2],
        /// Tunnel endpoint identifier.
        teid: u32,
    },
    /// IP in IP (RFC 2003, RFC 2473, RFC 4213).
    Ip {
        /// Outer addresses, source and destination.
        outer: [IpAddr; 2],
    },
}

/// Most layers that are kept of one packet; the tunnel depth that can be configured is bounded by it.
pub const MAX_LAYERS: usize = 12;

/// The layers around the innermost IP packet, from the outside in.
///
/// It is part of a flow's key: the same addresses and ports on two VLANs are two connections. Equality and
/// [`Encapsulation::digest`] disregard the direction (outer addresses swapped), so that both directions agree.
#[derive(Clone, Debug, Default)]
pub struct Encapsulation {
    layers: [Option<Layer>; MAX_LAYERS],
    length: u8,
    digest: u64,
}

impl Encapsulation {
    /// No layer at all.
    pub const NONE: Encapsulation = Encapsulation { layers: [None; MAX_LAYERS], length: 0, digest: 0 };

    /// Forgets all layers.
    #[inline]
    pub fn clear(&mut self) {
        self.length = 0;
        self.digest = 0;
    }

    /// Adds the next layer inwards; false, and nothing added, when [`MAX_LAYERS`] are there.
    pub fn push(&mut self, layer: Layer) -> bool {
        let Some(slot) = self.layers.get_mut(usize::from(self.length)) else { return false };
        *slot = Some(layer);
        self.length += 1;
        self.digest = layer_digest(self.digest, &layer);
        true
    }

    /// The layers, outermost first.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers[..usize::from(self.length)].iter().flatten()
    }

    /// How many layers there are.
    pub fn len(&self) -> usize {
        usize::from(self.length)
    }

    /// True when the packet came as it is.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The same for both directions of a conversation in the same layers; 0 for none. Unkeyed: never the only
    /// thing between an attacker and a hash table.
    #[inline]
    pub fn digest(&self) -> u64 {
        self.digest
    }
}

/// Mixes one layer into a digest, with the outer addresses in ascending order. GTP tunnel identifiers are left out,
/// since each direction has its own.
fn layer_digest(so_far: u64, layer: &Layer) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = siphasher::sip::SipHasher13::new();
    so_far.hash(&mut hasher);
    std::mem::discriminant(layer).hash(&mut hasher);
    let mut pair = |outer: &[IpAddr; 2]| outer.iter().min().zip(outer.iter().max()).hash(&mut hasher);
    match layer {
        Layer::Gre { outer, .. }
        | Layer::Erspan { outer, .. }
        | Layer::Vxlan { outer, .. }
        | Layer::Geneve { outer, .. }
        | Layer::Gtp { outer, .. }
        | Layer::Ip { outer } => pair(outer),
        Layer::Vlan { .. } | Layer::Mpls { .. } | Layer::Pppoe { .. } => {}
    }
    match *layer {
        Layer::Vlan { id } => id.hash(&mut hasher),
        Layer::Mpls { .. } | Layer::Gtp { .. } | Layer::Ip { .. } => {}
        Layer::Pppoe { session } => session.hash(&mut hasher),
        Layer::Gre { key, .. } => key.hash(&mut hasher),
        Layer::Erspan { session, .. } => session.hash(&mut hasher),
        Layer::Vxlan { vni, .. } | Layer::Geneve { vni, .. } => vni.hash(&mut hasher),
    }
    hasher.finish() | 1
}

/// The TCP flags that matter here, as on the wire (RFC 9293, section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Flags = Flags(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Flags = Flags(0x02);
    /// Reset the connection.
    pub const RST: Flags = Flags(0x04);
    /// Push.
    pub const PSH: Flags = Flags(0x08);
    /// The acknowledgment number is significant.
    pub const ACK: Flags = Flags(0x10);
    /// The urgent pointer is significant.
    pub const URG: Flags = Flags(0x20);

    /// True when all of `other` are set.
    #[inline]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// One TCP segment, as captured.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// When it was captured.
    pub time: Timestamp,
    /// Who sent it, by the innermost IP header.
    pub source: SocketAddr,
    /// Whom it is for.
    pub destination: SocketAddr,
    /// What was around the innermost IP header.
    pub encapsulation: &'a Encapsulation,
    /// Sequence number of the first payload byte (of the SYN itself when that is set).
    pub sequence: u32,
    /// Acknowledgment number; meaningful with [`Flags::ACK`].
    pub acknowledgment: u32,
    /// Control bits.
    pub flags: Flags,
    /// Urgent pointer; meaningful with [`Flags::URG`].
    pub urgent: u16,
    /// The payload as far as it was captured.
    pub payload: &'a [u8],
    /// Payload bytes that were on the wire behind `payload` and were not captured (snap length).
    pub missing: u32,
}

/// stub
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub verify_checksums: bool,
    pub vxlan_ports: Vec<u16>,
}
/// stub
pub struct Decoder {
    enc: Encapsulation,
}
impl Decoder {
    pub fn new(_s: Settings) -> Decoder {
        Decoder { enc: Encapsulation::default() }
    }
    pub fn unknown_link_types(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
    pub fn decode<'a>(
        &'a mut self,
        frame: &crate::source::Frame<'a>,
        c: &mut crate::stats::Counters,
    ) -> Option<Segment<'a>> {
        use etherparse::*;
        self.enc.clear();
        let sliced = match frame.link.0 {
            1 => LaxSlicedPacket::from_ethernet(frame.data).ok()?,
            113 => LaxSlicedPacket::from_ether_type(
                EtherType(u16::from_be_bytes([*frame.data.get(14)?, *frame.data.get(15)?])),
                frame.data.get(16..)?,
            ),
            0 | 108 => LaxSlicedPacket::from_ip(frame.data.get(4..)?).ok()?,
            101 => LaxSlicedPacket::from_ip(frame.data).ok()?,
            _ => return None,
        };
        for e in &sliced.link_exts {
            if let LaxLinkExtSlice::Vlan(v) = e {
                self.enc.push(Layer::Vlan { id: v.vlan_identifier().value() });
            }
        }
        let (s, d): (IpAddr, IpAddr) = match sliced.net.as_ref()? {
            LaxNetSlice::Ipv4(i) => (i.header().source_addr().into(), i.header().destination_addr().into()),
            LaxNetSlice::Ipv6(i) => (i.header().source_addr().into(), i.header().destination_addr().into()),
            _ => return None,
        };
        let Some(TransportSlice::Tcp(t)) = &sliced.transport else { return None };
        c.count(crate::stats::Counter::Segments);
        let h = t.slice();
        Some(Segment {
            time: frame.time,
            source: SocketAddr::new(s, t.source_port()),
            destination: SocketAddr::new(d, t.destination_port()),
            encapsulation: &self.enc,
            sequence: t.sequence_number(),
            acknowledgment: t.acknowledgment_number(),
            flags: Flags(h[13]),
            urgent: t.urgent_pointer(),
            payload: t.payload(),
            missing: 0,
        })
    }
}
