//! Who reaches a service around the gateway: what the gateways call is behind them, whoever calls it otherwise.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Found;
use super::book::{Held, Proof, Shown};
use super::finding::Subject;
use super::kind::Kind;
use super::settings::Gateway;
use crate::call::{Call, Connection, Peer};
use crate::endpoint::HashKey;
use crate::model::Table;
use crate::stats::Counter;
use crate::time::Timestamp;

/// A server, and who called it around the gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Server {
    /// A gateway called it.
    behind: bool,
    calls: u64,
    around: Option<Box<Held>>,
}

/// Servers by address and port.
pub(super) struct Servers {
    known: Table<u64, Server>,
    gateway: Gateway,
    key: HashKey,
}

impl Servers {
    pub(super) fn new(limit: usize, gateway: Gateway, key: HashKey) -> Servers {
        Servers { known: Table::new(limit), gateway, key }
    }

    /// All of them, to be kept, with the gateways that they were seen under.
    pub(super) fn memory(&self) -> (Gateway, Table<u64, Server>) {
        (self.gateway.clone(), self.known.clone())
    }

    /// Goes on from what was kept, up to the limit; gives how many servers are forgotten. Under other gateways what was seen means
    /// something else, and all begins anew.
    pub(super) fn restore(&mut self, (gateway, mut known): (Gateway, Table<u64, Server>)) -> usize {
        if gateway != self.gateway {
            return 0;
        }
        let forgotten = known.limit(self.known.capacity());
        self.known = known;
        forgotten
    }

    /// There are no gateways to look for.
    pub(super) fn is_idle(&self) -> bool {
        self.gateway.addresses.is_empty()
    }

    /// Whether a gateway called, by the address on the wire.
    pub(super) fn is_gateway(&self, address: IpAddr) -> bool {
        self.gateway.addresses.iter().any(|network| network.contains(address))
    }

    /// Takes a call.
    pub(super) fn call(&mut self, call: &Call, service: &str, found: &mut Found<'_>) {
        if self.is_idle() || !call.completeness.response {
            return;
        }
        self.reached(call.client.ip, call.server, service, call.end_time, Shown::Call(call), found);
    }

    /// Takes a connection that keeps what is in it.
    pub(super) fn connection(&mut self, connection: &Connection, found: &mut Found<'_>) {
        if self.is_idle() || connection.tls.is_none() || connection.received.bytes == 0 || connection.calls > 0 {
            return;
        }
        let name = connection.tls.as_ref().and_then(|tls| tls.server_name.as_deref()).unwrap_or_default();
        let shown = Shown::Connection(connection);
        self.reached(connection.client.ip, connection.server, name, connection.end_time, shown, found);
    }

    fn reached(
        &mut self,
        client: IpAddr,
        server: Peer,
        service: &str,
        time: Timestamp,
        shown: Shown<'_>,
        found: &mut Found<'_>,
    ) {
        let by_gateway = self.is_gateway(client);
        // The gateway is what is to be called, and a gateway's parts may call one another.
        if !by_gateway && (self.is_gateway(server.ip) || self.gateway.exempt.iter().any(|one| one.contains(client))) {
            return;
        }
        let key = self.key.pair(address_hash(&self.key, server.ip), u64::from(server.port));
        if self.known.get(&key).is_none() {
            let new = Server { behind: false, calls: 0, around: None };
            if self.known.insert(key, new, |server| server.calls).is_some() {
                found.counters.count(Counter::PracticeForgotten);
            }
        }
        let client_hash = address_hash(&self.key, client);
        let Some(known) = self.known.get_mut(&key) else { return };
        known.calls += 1;
        if by_gateway {
            known.behind = true;
        } else {
            let held = known.around.get_or_insert_with(|| {
                let about = Some(format!("server {}", std::net::SocketAddr::new(server.ip, server.port)));
                let subject = Subject { service: service.into(), endpoint: None, about };
                Box::new(Held::new(Kind::GatewayBypass, subject, time))
            });
            let severity = Kind::GatewayBypass.severity();
            held.note(&Proof { time, client, client_hash, severity, details: &[], shown });
        }
        // Who came before the gateway was seen to call the server came around it as well.
        if known.behind
            && let Some(held) = &mut known.around
        {
            found.out.extend(held.due(time));
        }
    }

    /// What was found.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.known.iter().filter(|(_, server)| server.behind).filter_map(|(_, server)| server.around.as_deref())
    }
}

/// The keyed hash of an address.
pub(super) fn address_hash(key: &HashKey, address: IpAddr) -> u64 {
    let bits = match address.to_canonical() {
        IpAddr::V4(four) => four.to_ipv6_mapped().to_bits(),
        IpAddr::V6(six) => six.to_bits(),
    };
    key.pair((bits >> 64) as u64, bits as u64)
}
