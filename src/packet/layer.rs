//! What is around the innermost IP packet.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One layer around the innermost IP packet, from the outside in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Layer {
    /// IEEE 802.1Q or 802.1ad tag. Priority tags (VLAN 0) name no VLAN and are no layer.
    Vlan {
        /// VLAN identifier, 1 to 4095.
        id: u16,
    },
    /// One MPLS label (RFC 3032).
    Mpls {
        /// Label value, 20 bits.
        label: u32,
    },
    /// PPP over Ethernet (RFC 2516).
    Pppoe {
        /// Session identifier.
        session: u16,
    },
    /// Generic Routing Encapsulation (RFC 2784, RFC 2890, for PPTP RFC 2637).
    Gre {
        /// Outer addresses, source and destination.
        outer: [IpAddr; 2],
        /// Key, when the header has one; the call identifier with PPTP.
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
    /// IP in IP (RFC 2003, RFC 2473, RFC 4213), and what does the same behind a small header: AYIYA, Teredo
    /// (RFC 4380), EtherIP (RFC 3378), MPLS in IP (RFC 4023) and in UDP (RFC 7510).
    Ip {
        /// Outer addresses, source and destination.
        outer: [IpAddr; 2],
    },
}

/// Most layers that are kept of one packet; the tunnel depth that can be configured is bounded by it.
pub const MAX_LAYERS: usize = 12;

/// The layers around the innermost IP packet, from the outside in.
///
/// It is part of a flow's key: the same addresses and ports on two VLANs are two connections. Equality, hash and
/// [`Encapsulation::digest`] look only at what both directions of a conversation share: outer addresses count
/// unordered; MPLS, whose labels each direction has of its own (and one may have none), does not count at all; of
/// GRE the key, of GTP the endpoint identifiers and of ERSPAN the session do not, for the same reason. The outer
/// addresses of GTP (a handover changes them) and ERSPAN (each direction may be mirrored by another switch) do not
/// count either. When a conversation is seen twice, in two encapsulations, the decoder gives both the same digest.
#[derive(Clone, Debug)]
pub struct Encapsulation {
    layers: [Option<Layer>; MAX_LAYERS],
    /// The digest up to and including the layer of this place, kept over [`Encapsulation::clear`]: packet after
    /// packet comes in the same layers, and hashing them anew would cost more than all other decoding.
    digests: [u64; MAX_LAYERS],
    length: u8,
    digest: u64,
}

impl Default for Encapsulation {
    fn default() -> Self {
        Encapsulation::NONE
    }
}

impl PartialEq for Encapsulation {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Encapsulation {}

impl Hash for Encapsulation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
}

impl Encapsulation {
    /// No layer at all.
    pub const NONE: Encapsulation =
        Encapsulation { layers: [None; MAX_LAYERS], digests: [0; MAX_LAYERS], length: 0, digest: 0 };

    /// Forgets all layers.
    #[inline]
    pub fn clear(&mut self) {
        self.length = 0;
        self.digest = 0;
    }

    /// Adds the next layer inwards; false, and nothing added, when [`MAX_LAYERS`] are there.
    pub fn push(&mut self, layer: Layer) -> bool {
        let place = usize::from(self.length);
        let below = place.checked_sub(1).and_then(|place| self.digests.get(place)).copied().unwrap_or(0);
        let (Some(slot), Some(kept)) = (self.layers.get_mut(place), self.digests.get_mut(place)) else {
            return false;
        };
        if *slot != Some(layer) {
            *slot = Some(layer);
            *kept = layer_digest(below, &layer);
            // What was kept further in continued from another digest.
            if let Some(next) = self.layers.get_mut(place + 1) {
                *next = None;
            }
        }
        self.digest = *kept;
        self.length += 1;
        true
    }

    /// The layers, outermost first.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().take(usize::from(self.length)).flatten()
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

    /// Makes this pass for the encapsulation of that digest, in which the same conversation is seen too.
    pub(super) fn pass_for(&mut self, digest: u64) {
        self.digest = digest;
    }
}

/// Mixes what both directions share of one layer into a digest; see [`Encapsulation`].
fn layer_digest(so_far: u64, layer: &Layer) -> u64 {
    let mut hasher = siphasher::sip::SipHasher13::new();
    so_far.hash(&mut hasher);
    let mut part = |kind: u8, outer: Option<&[IpAddr; 2]>, id: u32| {
        (kind, id).hash(&mut hasher);
        outer.map(|outer| (outer.iter().min(), outer.iter().max())).hash(&mut hasher);
    };
    match layer {
        Layer::Mpls { .. } => return so_far,
        Layer::Vlan { id } => part(1, None, u32::from(*id)),
        Layer::Pppoe { session } => part(2, None, u32::from(*session)),
        Layer::Gre { outer, .. } => part(3, Some(outer), 0),
        Layer::Erspan { .. } => part(4, None, 0),
        Layer::Vxlan { outer, vni } => part(5, Some(outer), *vni),
        Layer::Geneve { outer, vni } => part(6, Some(outer), *vni),
        Layer::Gtp { .. } => part(7, None, 0),
        Layer::Ip { outer } => part(8, Some(outer), 0),
    }
    hasher.finish() | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(layers: &[Layer]) -> Encapsulation {
        let mut encapsulation = Encapsulation::NONE;
        for layer in layers {
            assert!(encapsulation.push(*layer));
        }
        encapsulation
    }

    #[test]
    fn both_directions_agree_and_networks_differ() {
        let (one, two) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let there = of(&[Layer::Vlan { id: 7 }, Layer::Vxlan { outer: [one, two], vni: 5 }]);
        let back = of(&[Layer::Vlan { id: 7 }, Layer::Vxlan { outer: [two, one], vni: 5 }]);
        assert_eq!(there, back);
        assert_ne!(there, of(&[Layer::Vlan { id: 7 }, Layer::Vxlan { outer: [one, two], vni: 6 }]));
        assert_ne!(there, of(&[Layer::Vxlan { outer: [one, two], vni: 5 }, Layer::Vlan { id: 7 }]));
        assert_ne!(of(&[Layer::Vlan { id: 7 }]), of(&[Layer::Vlan { id: 8 }]));
        assert_eq!(of(&[Layer::Mpls { label: 29 }]), Encapsulation::NONE);
        let gre = |outer, key| of(&[Layer::Gre { outer, key }]);
        assert_eq!(gre([one, two], Some(0)), gre([two, one], Some(0x0200_0000)));
    }

    #[test]
    fn kept_digests_are_never_stale() {
        let layers: Vec<Layer> = (0..3).map(|id| Layer::Vlan { id }).collect();
        let mut reused = Encapsulation::NONE;
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut fresh = Encapsulation::NONE;
            reused.clear();
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut draw = state >> 24;
            for _ in 0..draw % 5 {
                draw /= 5;
                let layer = layers[(draw % 3) as usize];
                assert!(fresh.push(layer) && reused.push(layer));
            }
            assert_eq!(fresh.digest(), reused.digest());
            assert_eq!(fresh.layers().collect::<Vec<_>>(), reused.layers().collect::<Vec<_>>());
        }
    }

    #[test]
    fn layers_are_bounded() {
        let mut full = Encapsulation::NONE;
        for label in 0..MAX_LAYERS as u32 {
            assert!(full.push(Layer::Mpls { label }));
        }
        assert!(!full.push(Layer::Vlan { id: 1 }));
        assert_eq!(full.len(), MAX_LAYERS);
    }
}
