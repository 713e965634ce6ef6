//! One service behind several names: who is asked by address is who answers there by name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::report::Endpoint;
use crate::endpoint::{Place, Templates};

/// The service of which neither a name nor an address is known: of a log that has none of both.
const UNKNOWN: &str = "unknown";

/// Endpoints of which those that were asked by address, or by no name, belong to the one service that answers by name
/// there. Sorted by host, template, method and operation.
///
/// Several names at one server are several services (virtual hosts); one name at several servers is one service.
pub(super) fn join(all: Vec<Endpoint>, templates: &Templates) -> Vec<Endpoint> {
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut servers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for endpoint in &all {
        servers.entry(endpoint.host.clone()).or_default().extend(endpoint.servers.iter().cloned());
        if !is_address(&endpoint.host) {
            for server in &endpoint.servers {
                names.entry(server.clone()).or_default().insert(endpoint.host.clone());
            }
        }
    }
    let mut joined: BTreeMap<_, Endpoint> = BTreeMap::new();
    let mut place = Place::default();
    for mut endpoint in all {
        if is_address(&endpoint.host) {
            let name = name_of(&endpoint.host, &servers, &names);
            let alias = endpoint.host.clone();
            match name {
                Some(name) => {
                    if !endpoint.catch_all {
                        templates.place(&mut place, Some(name), &endpoint.template);
                        endpoint.template = place.template.clone();
                    }
                    endpoint.host = name.clone();
                    endpoint.aliases = vec![alias];
                }
                // By no name, and nobody knows a better one than the address.
                None if alias.is_empty() => {
                    let first = endpoint.servers.first().and_then(|server| server.parse::<SocketAddr>().ok());
                    endpoint.host = first.map_or_else(|| UNKNOWN.to_owned(), |server| server.ip().to_string());
                    endpoint.aliases = vec![alias];
                }
                None => {}
            }
        }
        let key =
            (endpoint.host.clone(), endpoint.template.clone(), endpoint.verb().to_owned(), endpoint.operation.clone());
        match joined.get_mut(&key) {
            Some(known) => {
                let aliases = std::mem::take(&mut endpoint.aliases);
                known.merge(endpoint);
                known.aliases.extend(aliases);
                known.aliases.sort_unstable();
                known.aliases.dedup();
            }
            None => {
                joined.insert(key, endpoint);
            }
        }
    }
    joined.into_values().collect()
}

/// An address, or nothing.
pub(super) fn is_address(host: &str) -> bool {
    host.is_empty() || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

/// The name by which all servers answer that were asked as `host`, if it is one.
fn name_of<'n>(
    host: &str,
    servers: &BTreeMap<String, BTreeSet<String>>,
    names: &'n BTreeMap<String, BTreeSet<String>>,
) -> Option<&'n String> {
    let mut all = servers.get(host).into_iter().flatten().map(|server| names.get(server));
    let first = all.next()??;
    (first.len() == 1 && all.all(|other| other == Some(first))).then(|| first.first())?
}
