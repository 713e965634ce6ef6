//! What is held against the practices, and what it may cost.

use crate::network::is_private;
use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is held against the practices. Worst-case memory: `findings` × 6 KiB, `endpoints` × 1.1 KiB, `key_names` × 3 KiB, `servers` × 6 KiB, and `quota_uses` × 900 bytes,
/// 175 MiB with the defaults; a finding takes 2 KiB in the usual case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Findings that are held; beyond, of sixteen the least grave with the fewest calls leaves and is counted.
    pub findings: usize,
    /// Endpoints of which it is remembered who signs; beyond, of sixteen the one with the fewest signed calls leaves and is
    /// counted.
    pub endpoints: usize,
    /// Names of headers, parameters and cookies that may carry keys, at each service; beyond, of sixteen the one with the fewest calls
    /// leaves and is counted. 3 KiB each. As many endpoints as above are remembered to be called with such: 1 KiB each at worst.
    pub key_names: usize,
    /// Servers that are watched for calls around the gateway; beyond, of sixteen the one with the fewest calls leaves and is
    /// counted.
    pub servers: usize,
    /// Uses of quotas, and clients that were told to wait, that are remembered; beyond, of sixteen the one whose last call is the
    /// oldest leaves and is counted. At worst 800 bytes each.
    pub quota_uses: usize,
    /// Ways on which everything is to be encrypted, by the addresses on the wire: `10.1.0.0/16 -> 10.2.0.0/16`,
    /// `any -> 10.2.0.9`, with `<->` in both directions.
    pub encrypted: Vec<Boundary>,
    /// Networks of the estate, whose calls to anywhere else are calls to third parties. Empty: the private networks (RFC 1918,
    /// RFC 4193, RFC 6598), loopback and link-local ones.
    #[schemars(with = "Vec<String>")]
    #[serde(deserialize_with = "crate::network::list")]
    pub estate: Vec<IpNet>,
    /// Hours for which a token may be valid without being a finding.
    pub token_hours: f64,
    /// Seconds after its expiry for which a token may be accepted, since clocks differ.
    pub clock_skew_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            findings: 8_192,
            endpoints: 65_536,
            key_names: 1_024,
            servers: 4_096,
            quota_uses: 32_768,
            encrypted: Vec::new(),
            estate: Vec::new(),
            token_hours: 24.0,
            clock_skew_seconds: 300,
        }
    }
}

/// The gateways that services are behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// Addresses and networks of the gateways: what they call is behind them.
    pub addresses: Vec<Network>,
    /// Who else may call what is behind them: health checks, services of the same mesh.
    pub exempt: Vec<Network>,
}

/// An address or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Network(IpNet);

impl Network {
    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Network, String> {
        crate::network::parse(&text).map(Network)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.0.to_string()
    }
}

/// A way on which everything is to be encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Boundary {
    text: String,
    /// None is anywhere.
    from: Option<Network>,
    to: Option<Network>,
    both: bool,
}

impl Boundary {
    /// Whether what a client and a server say to one another crosses it.
    pub fn crosses(&self, client: IpAddr, server: IpAddr) -> bool {
        let fits = |network: &Option<Network>, address| network.is_none_or(|network| network.contains(address));
        fits(&self.from, client) && fits(&self.to, server)
            || self.both && fits(&self.from, server) && fits(&self.to, client)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl TryFrom<String> for Boundary {
    type Error = String;

    fn try_from(text: String) -> Result<Boundary, String> {
        let (from, to, both) = match (text.split_once("<->"), text.split_once("->")) {
            (Some((from, to)), _) => (from, to, true),
            (None, Some((from, to))) => (from, to, false),
            (None, None) => return Err(format!("{text:?} is no way: write 10.1.0.0/16 -> 10.2.0.0/16")),
        };
        let end = |text: &str| match text.trim() {
            "any" => Ok(None),
            network => Network::try_from(network.to_owned()).map(Some),
        };
        let (from, to) = (end(from)?, end(to)?);
        Ok(Boundary { from, to, both, text })
    }
}

impl From<Boundary> for String {
    fn from(boundary: Boundary) -> String {
        boundary.text
    }
}

/// Whether an address is in one of the estate's networks, by default the private ones.
pub(super) fn in_estate(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    if !networks.is_empty() {
        return networks.iter().any(|network| network.contains(&address));
    }
    is_private(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn ways_are_read_and_crossed() {
        let text = r#"encrypted = ["10.1.0.0/16 -> 10.2.0.0/16", "any -> 10.9.0.1", "10.3.0.0/24 <-> 10.4.0.0/24"]"#;
        let settings: Settings = toml::from_str(text).expect("ways");
        let crossed = |client: &str, server: &str| {
            let crosses = |way: &&Boundary| way.crosses(address(client), address(server));
            settings.encrypted.iter().find(crosses).map(Boundary::text)
        };
        assert_eq!(crossed("10.1.4.4", "10.2.0.7"), Some("10.1.0.0/16 -> 10.2.0.0/16"));
        assert_eq!(crossed("::ffff:10.1.4.4", "10.2.0.7"), Some("10.1.0.0/16 -> 10.2.0.0/16"));
        assert_eq!(crossed("10.2.0.7", "10.1.4.4"), None);
        assert_eq!(crossed("203.0.113.9", "10.9.0.1"), Some("any -> 10.9.0.1"));
        assert_eq!(crossed("10.4.0.1", "10.3.0.1"), Some("10.3.0.0/24 <-> 10.4.0.0/24"));
        for wrong in [r#"encrypted = ["10.1.0.0/16"]"#, r#"encrypted = ["x -> any"]"#, "encryptd = []"] {
            assert!(toml::from_str::<Settings>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_estate_is_what_is_private_unless_it_is_said() {
        for (inside, text) in
            [(true, "10.0.0.1"), (true, "100.64.1.1"), (true, "fd00::1"), (false, "192.0.2.1"), (false, "2001:db8::1")]
        {
            assert_eq!(in_estate(&[], address(text)), inside, "{text}");
        }
        let own = ["192.0.2.0/24".parse().expect("a network")];
        assert!(in_estate(&own, address("192.0.2.1")) && !in_estate(&own, address("10.0.0.1")));
        let gateway: Gateway = toml::from_str(r#"addresses = ["10.0.0.5", "10.7.0.0/16"]"#).expect("addresses");
        assert!(gateway.addresses.iter().any(|network| network.contains(address("10.7.3.3"))));
    }
}
