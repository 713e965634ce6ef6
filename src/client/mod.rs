//! Who really calls: the address on the wire, or the hop that trusted proxies vouch for.
//!
//! Anybody can write `X-Forwarded-For`. It counts only when the peer on the wire is a configured proxy, and then from
//! the right: each trusted proxy vouches for the hop that it received from and for nothing before that.

mod forwarding;

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::forwarding::forwarding;
use crate::call::{Call, Forwarding};

/// Which proxies are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Addresses and networks of the proxies (`10.20.0.5`, `10.0.0.0/8`, `2001:db8::/32`). None: the address on the wire is the
    /// client.
    #[schemars(with = "Vec<String>")]
    #[serde(deserialize_with = "crate::network::list")]
    pub trusted_proxies: Vec<IpNet>,
}

/// The networks whose word on the client counts.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
}

impl TrustedProxies {
    /// From the configured networks; those of IPv4-mapped IPv6 addresses (`::ffff:10.0.0.0/104`) count as IPv4.
    pub fn new(settings: &Settings) -> TrustedProxies {
        let networks = settings.trusted_proxies.iter().map(|network| unmapped_network(*network).trunc()).collect();
        TrustedProxies { networks: IpNet::aggregate(&networks) }
    }

    /// True when the address is one of a trusted proxy.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The address of the client of a call. IPv4-mapped IPv6 addresses come out as IPv4.
    ///
    /// When the peer on the wire is trusted, the list of hops is walked from the right past trusted ones to the first
    /// that is not; when all are trusted, the leftmost is the client. A hop that is no address (`unknown`, an
    /// obfuscated name) ends the walk: the client is the last address that was vouched for. `Forwarded` (RFC 7239) is
    /// preferred, being the standard; then `X-Forwarded-For`; then `X-Real-IP`, for proxies that send nothing else.
    pub fn resolve(&self, call: &Call) -> IpAddr {
        self.resolve_from(call.client.ip, &call.forwarding)
    }

    /// The same; none when a trusted proxy sent the call, and the sensor missed a part of what it said.
    pub fn known(&self, call: &Call) -> Option<IpAddr> {
        let lost = call.request.gap_bytes > 0 && call.forwarding.is_empty() && self.contains(call.client.ip);
        (!lost).then(|| self.resolve(call))
    }

    /// The same, from the peer on the wire and what proxies said.
    pub fn resolve_from(&self, peer: IpAddr, forwarding: &Forwarding) -> IpAddr {
        let peer = peer.to_canonical();
        if forwarding.is_empty() || !self.contains(peer) {
            return peer;
        }
        let hops = [&forwarding.forwarded, &forwarding.x_forwarded_for].into_iter().find(|hops| !hops.is_empty());
        let Some(hops) = hops else {
            return forwarding.x_real_ip.as_deref().and_then(forwarding::address).unwrap_or(peer);
        };
        let mut client = peer;
        for hop in hops.iter().rev() {
            let Some(address) = forwarding::address(hop) else { break };
            client = address;
            if !self.contains(address) {
                break;
            }
        }
        client
    }
}

fn unmapped_network(network: IpNet) -> IpNet {
    match (network, network.addr().to_canonical()) {
        (IpNet::V6(six), IpAddr::V4(four)) if six.prefix_len() >= 96 => {
            IpNet::new(four.into(), six.prefix_len() - 96).unwrap_or(network)
        }
        _ => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Peer;

    fn proxies(networks: &[&str]) -> TrustedProxies {
        let trusted_proxies = networks.iter().map(|network| network.parse().expect("a network")).collect();
        TrustedProxies::new(&Settings { trusted_proxies })
    }

    fn resolved(peer: &str, x_forwarded_for: &[&str], forwarded: &[&str], x_real_ip: Option<&str>) -> String {
        let bytes = |list: &[&str]| list.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
        let (for_, standard) = (bytes(x_forwarded_for), bytes(forwarded));
        let call = Call {
            client: Peer { ip: peer.parse().expect("an address"), port: 1 },
            forwarding: forwarding(
                for_.iter().map(Vec::as_slice),
                standard.iter().map(Vec::as_slice),
                x_real_ip.map(str::as_bytes),
            ),
            ..Call::default()
        };
        proxies(&["10.0.0.0/8", "2001:db8:ffff::/48", "::ffff:172.16.0.0/108"]).resolve(&call).to_string()
    }

    #[test]
    fn only_trusted_peers_are_believed() {
        assert_eq!(
            resolved("198.51.100.9", &["203.0.113.7"], &["for=203.0.113.8"], Some("203.0.113.9")),
            "198.51.100.9"
        );
        assert_eq!(resolved("10.0.0.1", &["203.0.113.7"], &[], None), "203.0.113.7");
        assert_eq!(resolved("10.0.0.1", &[], &[], None), "10.0.0.1");
        assert_eq!(resolved("::ffff:10.0.0.1", &["203.0.113.7"], &[], None), "203.0.113.7");
        assert_eq!(resolved("172.16.3.4", &["203.0.113.7"], &[], None), "203.0.113.7");
        assert_eq!(resolved("::ffff:198.51.100.9", &["203.0.113.7"], &[], None), "198.51.100.9");
    }

    #[test]
    fn the_walk_goes_from_the_right_past_trusted_hops() {
        // What the client itself wrote stands further left and is not believed.
        assert_eq!(resolved("10.0.0.1", &["1.2.3.4, 203.0.113.7, 10.0.0.9"], &[], None), "203.0.113.7");
        assert_eq!(resolved("10.0.0.1", &["1.2.3.4", "203.0.113.7:5123", "10.0.0.9:80"], &[], None), "203.0.113.7");
        assert_eq!(resolved("10.0.0.1", &["10.0.0.3, 10.0.0.9"], &[], None), "10.0.0.3");
        assert_eq!(resolved("10.0.0.1", &["203.0.113.7, unknown, 10.0.0.9"], &[], None), "10.0.0.9");
        assert_eq!(resolved("10.0.0.1", &["203.0.113.7, <script>"], &[], None), "10.0.0.1");
        assert_eq!(resolved("10.0.0.1", &["::ffff:203.0.113.7"], &[], None), "203.0.113.7");
        assert_eq!(resolved("10.0.0.1", &["[2001:db8::7]:443"], &[], None), "2001:db8::7");
        assert_eq!(resolved("10.0.0.1", &["2001:db8::7, 2001:db8:ffff::1"], &[], None), "2001:db8::7");
    }

    #[test]
    fn the_standard_header_comes_first_and_real_ip_last() {
        let standard = r#"for=1.2.3.4;proto=http, For="[2001:db8:cafe::17]:4711";by=10.0.0.2, for=10.0.0.9"#;
        assert_eq!(resolved("10.0.0.1", &["203.0.113.7"], &[standard], None), "2001:db8:cafe::17");
        assert_eq!(resolved("10.0.0.1", &[], &["for=_hidden"], Some("203.0.113.9")), "10.0.0.1");
        assert_eq!(resolved("10.0.0.1", &[], &[], Some("203.0.113.9")), "203.0.113.9");
        assert_eq!(resolved("10.0.0.1", &[], &[], Some("nonsense")), "10.0.0.1");
    }

    #[test]
    fn settings_name_addresses_and_networks() {
        let settings: Settings = toml::from_str(r#"trusted_proxies = ["10.20.0.5", "fd00::/8"]"#).expect("networks");
        let trusted = TrustedProxies::new(&settings);
        assert!(trusted.contains("10.20.0.5".parse().expect("an address")));
        assert!(trusted.contains("::ffff:10.20.0.5".parse().expect("an address")));
        assert!(!trusted.contains("10.20.0.6".parse().expect("an address")));
        for wrong in ["10.20.0.5/33", "10.20.0", "proxy"] {
            assert!(toml::from_str::<Settings>(&format!("trusted_proxies = ['{wrong}']")).is_err(), "{wrong}");
        }
    }
}
