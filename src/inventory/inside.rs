//! Which addresses are one's own.

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks that are not to be reached from anywhere: private ones (RFC 1918, RFC 4193), those of carriers (RFC 6598),
/// of one host, of one link.
const PRIVATE: [&str; 9] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
];

/// What is inside where nothing else is said.
pub(super) fn private() -> Vec<IpNet> {
    PRIVATE.iter().filter_map(|network| network.parse().ok()).collect()
}

/// Whether an address is in one of these networks.
pub(super) fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_inside() {
        let networks = private();
        assert_eq!(networks.len(), PRIVATE.len());
        for (address, inside) in
            [("10.1.2.3", true), ("172.32.0.1", false), ("8.8.8.8", false), ("fd00::1", true), ("2001:db8::1", false)]
        {
            assert_eq!(contains(&networks, address.parse().expect("an address")), inside, "{address}");
        }
    }
}
