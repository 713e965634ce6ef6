//! Who calls whom: clients, gateways and services, of which one may be another's client.
//!
//! Nodes and edges are plain data with a stable JSON form; the same is written for Graphviz (`dot`) and Mermaid. There,
//! clients that are nothing else are drawn as one node for each service when they are many.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::inside;
use super::report::{Endpoint, rounded};
use crate::time::Timestamp;

/// The version of the JSON form.
pub const SCHEMA: &str = "apitap.graph.v1";

/// Clients of one service that are drawn one by one.
const DRAWN: usize = 8;

/// Calls of one client to one service, as they are counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Calls {
    pub(super) client: IpAddr,
    /// The address on the wire, where a trusted proxy spoke for the client.
    pub(super) via: Option<IpAddr>,
    pub(super) host: Box<str>,
    /// Who answered the first of them.
    #[serde(default)]
    pub(super) server: Option<IpAddr>,
    pub(super) calls: u64,
    pub(super) authenticated: u64,
    /// Those that were seen on the wire, and not told by a log, and those of them in TLS.
    pub(super) seen: u64,
    pub(super) encrypted: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It only calls.
    Client,
    /// A trusted proxy, which calls for others.
    Gateway,
    /// It answers, and may call too.
    Service,
    /// It answers from an address outside to clients of which some are inside.
    ThirdParty,
}

/// A client, gateway or service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its host, or its address.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// Who calls whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// The name of the node that calls.
    pub from: String,
    /// The name of the node that is called.
    pub to: String,
    /// Calls, whatever came of them.
    pub calls: u64,
    /// Calls an hour, over the time of all traffic.
    pub calls_per_hour: f64,
    /// Share of calls with a credential.
    pub authenticated_share: f64,
    /// Share of calls in TLS, of those that were seen on this way: between clients and a proxy that speaks for them none was, and
    /// logs do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted_share: Option<f64>,
    /// Time of the first.
    pub first: Timestamp,
    /// Time of the last.
    pub last: Timestamp,
}

/// All of them, sorted by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// [`SCHEMA`].
    pub schema: String,
    /// Who there is.
    pub nodes: Vec<Node>,
    /// Who calls whom.
    pub edges: Vec<Edge>,
}

/// Lines that are drawn, by who calls whom.
type Lines = BTreeMap<(String, String), Line>;

/// What is written on a line.
#[derive(Clone, Copy, Default)]
struct Line {
    calls: f64,
    per_hour: f64,
    authenticated: f64,
    /// Calls of which it is known whether they were in TLS, and those that were.
    seen: f64,
    encrypted: f64,
}

/// Sums of one edge.
#[derive(Clone, Copy)]
struct Sum {
    calls: u64,
    authenticated: u64,
    /// Calls that were seen on this way, and those of them in TLS.
    seen: u64,
    encrypted: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Sum {
    fn of(calls: &Calls) -> Sum {
        let Calls { calls, authenticated, seen, encrypted, first, last, .. } = *calls;
        Sum { calls, authenticated, seen, encrypted, first, last }
    }

    fn add(&mut self, other: Sum) {
        self.calls += other.calls;
        self.authenticated += other.authenticated;
        self.seen += other.seen;
        self.encrypted += other.encrypted;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// Adds to what is known of one key.
fn add<K: Ord>(sums: &mut BTreeMap<K, Sum>, key: K, sum: Sum) {
    sums.entry(key).and_modify(|known| known.add(sum)).or_insert(sum);
}

impl Graph {
    /// Of the calls of those clients that are not under suspicion to the services of an inventory.
    pub(super) fn of<'c>(
        calls: impl Iterator<Item = &'c Calls>,
        endpoints: &[Endpoint],
        inside: &[IpNet],
        hours: f64,
    ) -> Graph {
        let is_inside = |address: IpAddr| inside::contains(inside, address);
        let mut services: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
        let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for endpoint in endpoints {
            let servers = endpoint.servers.iter().filter_map(|server| server.parse::<SocketAddr>().ok());
            services.entry(&endpoint.host).or_default().extend(servers.map(|server| server.ip().to_canonical()));
            for name in endpoint.aliases.iter().map(String::as_str).chain([endpoint.host.as_str()]) {
                names.entry(name).or_default().insert(&endpoint.host);
            }
        }
        // By no name several may be asked: then the one that has the address.
        let named = |one: &Calls| {
            let hosts = names.get(&*one.host)?;
            let has = |host: &&&str| {
                one.server.is_some_and(|server| services.get(**host).is_some_and(|all| all.contains(&server)))
            };
            hosts.iter().find(has).or(hosts.first()).copied()
        };
        let calls: Vec<(&Calls, &str)> = calls.filter_map(|one| Some((one, named(one)?))).collect();
        // What a client asks of a gateway, and what that asks of the service for it, is one way where both were seen.
        let mut gateways: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
        for (one, host) in &calls {
            gateways.entry(host).or_default().extend(one.via);
        }
        for (host, gateways) in &gateways {
            if let Some(addresses) = services.get_mut(host)
                && !addresses.is_subset(gateways)
            {
                addresses.retain(|address| !gateways.contains(address));
            }
        }
        // An address that several services have is none of them.
        let mut holders: BTreeMap<IpAddr, BTreeSet<&str>> = BTreeMap::new();
        for (host, addresses) in &services {
            for address in addresses {
                holders.entry(*address).or_default().insert(host);
            }
        }
        let caller = |address: IpAddr| match holders.get(&address).map(|hosts| (hosts.len(), hosts.first())) {
            Some((1, Some(host))) => (*host).to_owned(),
            _ => address.to_string(),
        };
        let mut sums: BTreeMap<(String, String), Sum> = BTreeMap::new();
        // By client, gateway and service: as seen before the gateway, and as told behind it.
        let mut before: BTreeMap<(String, IpAddr, &str), Sum> = BTreeMap::new();
        let mut behind = before.clone();
        let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
        let mut from_inside: BTreeSet<&str> = BTreeSet::new();
        for (one, host) in calls {
            let client = caller(one.client);
            if is_inside(one.via.unwrap_or(one.client)) {
                from_inside.insert(host);
            }
            let gateway = one.server.filter(|server| gateways.get(host).is_some_and(|all| all.contains(server)));
            let mut note = |name: &str, address: IpAddr, kind: Kind| {
                if !services.contains_key(name) {
                    let new = || Node { name: name.to_owned(), kind, addresses: vec![address] };
                    let node = nodes.entry(name.to_owned()).or_insert_with(new);
                    node.kind = node.kind.max(kind);
                }
            };
            note(&client, one.client, Kind::Client);
            match (one.via, gateway) {
                (Some(via), _) => {
                    note(&via.to_string(), via, Kind::Gateway);
                    // Of the way to the gateway nothing was seen.
                    let told = Sum { seen: 0, encrypted: 0, ..Sum::of(one) };
                    add(&mut behind, (client, via, host), told);
                    add(&mut sums, (via.to_string(), host.to_owned()), Sum::of(one));
                }
                (None, Some(gateway)) => add(&mut before, (client, gateway, host), Sum::of(one)),
                (None, None) => add(&mut sums, (client, host.to_owned()), Sum::of(one)),
            }
        }
        // They are the same calls, of which one side may have missed some.
        for (way, told) in behind {
            let seen = before.entry(way).or_insert(told);
            seen.calls = seen.calls.max(told.calls);
            seen.authenticated = seen.authenticated.max(told.authenticated);
            (seen.first, seen.last) = (seen.first.min(told.first), seen.last.max(told.last));
        }
        for ((client, gateway, _), sum) in before {
            add(&mut sums, (client, gateway.to_string()), sum);
        }
        for (host, addresses) in services {
            let outside = !addresses.is_empty() && !addresses.iter().any(|address| is_inside(*address));
            let kind = if outside && from_inside.contains(host) { Kind::ThirdParty } else { Kind::Service };
            let addresses = addresses.into_iter().collect();
            nodes.insert(host.to_owned(), Node { name: host.to_owned(), kind, addresses });
        }
        let edges = sums.into_iter().map(|((from, to), sum)| Edge {
            from,
            to,
            calls: sum.calls,
            calls_per_hour: rounded(sum.calls as f64 / hours),
            authenticated_share: rounded(sum.authenticated as f64 / sum.calls.max(1) as f64),
            encrypted_share: (sum.seen > 0).then(|| rounded(sum.encrypted as f64 / sum.seen as f64)),
            first: sum.first,
            last: sum.last,
        });
        Graph { schema: SCHEMA.to_owned(), nodes: nodes.into_values().collect(), edges: edges.collect() }
    }

    /// What is drawn: names with their kinds, and edges between them with what is written on them.
    fn drawn(&self) -> (BTreeMap<String, Kind>, Lines) {
        let kinds: BTreeMap<&str, Kind> = self.nodes.iter().map(|node| (node.name.as_str(), node.kind)).collect();
        let kind = |name: &str| kinds.get(name).copied().unwrap_or(Kind::Client);
        let mut clients: BTreeMap<&str, usize> = BTreeMap::new();
        for edge in self.edges.iter().filter(|edge| kind(&edge.from) == Kind::Client) {
            *clients.entry(&edge.to).or_default() += 1;
        }
        let (mut names, mut edges) = (BTreeMap::new(), BTreeMap::new());
        for node in self.nodes.iter().filter(|node| node.kind != Kind::Client) {
            names.insert(node.name.clone(), node.kind);
        }
        for edge in &self.edges {
            let many = clients.get(edge.to.as_str()).copied().unwrap_or_default();
            let from = match kind(&edge.from) == Kind::Client && many > DRAWN {
                true => format!("{many} clients of {}", edge.to),
                false => edge.from.clone(),
            };
            names.entry(from.clone()).or_insert(kind(&edge.from));
            let (line, calls): (&mut Line, _) = (edges.entry((from, edge.to.clone())).or_default(), edge.calls as f64);
            line.calls += calls;
            line.per_hour += edge.calls_per_hour;
            line.authenticated += edge.authenticated_share * calls;
            if let Some(share) = edge.encrypted_share {
                line.seen += calls;
                line.encrypted += share * calls;
            }
        }
        (names, edges)
    }

    /// For Graphviz.
    pub fn dot(&self) -> String {
        let (names, edges) = self.drawn();
        let mut text = "digraph apis {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
        let quoted = |name: &str| format!("\"{}\"", name.escape_debug());
        for (name, kind) in &names {
            let shape = match kind {
                Kind::Client => "ellipse",
                Kind::Gateway => "hexagon",
                Kind::Service => "box",
                Kind::ThirdParty => "component",
            };
            let _ = writeln!(text, "  {} [shape={shape}];", quoted(name)); // writing to a text does not fail
        }
        for ((from, to), sum) in &edges {
            let _ = writeln!(text, "  {} -> {} [label=\"{}\"];", quoted(from), quoted(to), label(sum));
        }
        text.push_str("}\n");
        text
    }

    /// For Mermaid.
    pub fn mermaid(&self) -> String {
        let (names, edges) = self.drawn();
        let mut text = "flowchart LR\n".to_owned();
        let number: BTreeMap<&str, usize> =
            names.keys().enumerate().map(|(number, name)| (name.as_str(), number)).collect();
        // Whatever has a meaning there is written as another character.
        let plain = |name: &str| -> String {
            name.escape_debug()
                .map(|letter| if matches!(letter, '"' | '#' | '<' | '>' | '`') { '\'' } else { letter })
                .collect()
        };
        for (name, kind) in &names {
            let (open, close) = match kind {
                Kind::Client => ("([", "])"),
                Kind::Gateway => ("{{", "}}"),
                Kind::Service => ("[", "]"),
                Kind::ThirdParty => ("[[", "]]"),
            };
            let id = number.get(name.as_str()).copied().unwrap_or_default();
            let _ = writeln!(text, "  n{id}{open}\"{}\"{close}", plain(name));
        }
        for ((from, to), sum) in &edges {
            let id = |name: &String| number.get(name.as_str()).copied().unwrap_or_default();
            let _ = writeln!(text, "  n{} -->|\"{}\"| n{}", id(from), label(sum), id(to));
        }
        text
    }
}

/// What stands on an edge: calls an hour, how many of them say who calls, and whether others can read along.
fn label(line: &Line) -> String {
    let share = 100.0 * line.authenticated / line.calls.max(1.0);
    let encrypted = match line.encrypted / line.seen {
        share if share.is_nan() => String::new(),
        0.0 => ", in clear".to_owned(),
        1.0 => ", encrypted".to_owned(),
        share => format!(", {:.0} % encrypted", 100.0 * share),
    };
    format!("{} calls/h, {share:.0} % authenticated{encrypted}", rounded(line.per_hour))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(client: &str, via: Option<&str>, host: &str, calls: u64) -> Calls {
        Calls {
            client: client.parse().expect("an address"),
            via: via.map(|via| via.parse().expect("an address")),
            host: host.into(),
            server: None,
            calls,
            authenticated: calls / 2,
            seen: calls,
            encrypted: if host == "users" { calls } else { calls / 5 },
            first: Timestamp::ZERO,
            last: Timestamp::ZERO,
        }
    }

    fn service(host: &str, server: &str) -> Endpoint {
        Endpoint { host: host.into(), servers: vec![server.into()], ..Endpoint::default() }
    }

    #[test]
    fn services_call_services_and_gateways_call_for_others() {
        let all = [
            calls("198.51.100.7", Some("10.0.0.5"), "shop", 10),
            calls("198.51.100.8", Some("10.0.0.5"), "shop", 20),
            calls("10.0.0.1", None, "users", 4),
            calls("10.0.0.2", None, "payments", 1),
            calls("192.0.2.1", None, "nobody", 9),
        ];
        let endpoints =
            [service("shop", "10.0.0.1:80"), service("users", "10.0.0.2:80"), service("payments", "203.0.113.9:443")];
        let graph = Graph::of(all.iter(), &endpoints, &inside::private(), 2.0);
        let nodes: Vec<_> = graph.nodes.iter().map(|node| (node.name.as_str(), node.kind)).collect();
        let expected = [
            ("10.0.0.5", Kind::Gateway),
            ("198.51.100.7", Kind::Client),
            ("198.51.100.8", Kind::Client),
            ("payments", Kind::ThirdParty),
            ("shop", Kind::Service),
            ("users", Kind::Service),
        ];
        assert_eq!(nodes, expected);
        let edges: Vec<_> = graph.edges.iter().map(|edge| (edge.from.as_str(), edge.to.as_str(), edge.calls)).collect();
        let expected = [
            ("10.0.0.5", "shop", 30),
            ("198.51.100.7", "10.0.0.5", 10),
            ("198.51.100.8", "10.0.0.5", 20),
            ("shop", "users", 4),
            ("users", "payments", 1),
        ];
        assert_eq!(edges, expected);
        let encrypted: Vec<_> = graph.edges.iter().map(|edge| edge.encrypted_share).collect();
        assert_eq!(encrypted, [Some(0.2), None, None, Some(1.0), Some(0.0)]);
        for line in [
            "\"10.0.0.5\" -> \"shop\" [label=\"15 calls/h, 50 % authenticated, 20 % encrypted\"];",
            "\"198.51.100.7\" -> \"10.0.0.5\" [label=\"5 calls/h, 50 % authenticated\"];",
            "\"shop\" -> \"users\" [label=\"2 calls/h, 50 % authenticated, encrypted\"];",
            "\"users\" -> \"payments\" [label=\"0.5 calls/h, 0 % authenticated, in clear\"];",
        ] {
            assert!(graph.dot().contains(line), "{line} is not in {}", graph.dot());
        }
        assert!(graph.mermaid().contains("[\"shop\"]") && graph.mermaid().contains("{{\"10.0.0.5\"}}"));
    }

    #[test]
    fn both_sides_of_a_gateway_are_one_way() {
        let server = |address: &str| Some(address.parse().expect("an address"));
        let all = [
            Calls { server: server("10.0.0.5"), ..calls("198.51.100.7", None, "shop", 10) },
            Calls { server: server("10.0.0.1"), ..calls("198.51.100.7", Some("10.0.0.5"), "shop", 9) },
            // One who knows the way past it.
            Calls { server: server("10.0.0.1"), ..calls("198.51.100.8", None, "shop", 3) },
        ];
        let endpoints = [Endpoint {
            host: "shop".into(),
            servers: vec!["10.0.0.1:80".into(), "10.0.0.5:80".into()],
            ..Endpoint::default()
        }];
        let graph = Graph::of(all.iter(), &endpoints, &inside::private(), 1.0);
        let edges: Vec<_> = graph
            .edges
            .iter()
            .map(|edge| (edge.from.as_str(), edge.to.as_str(), edge.calls, edge.encrypted_share.is_some()))
            .collect();
        let expected =
            [("10.0.0.5", "shop", 9, true), ("198.51.100.7", "10.0.0.5", 10, true), ("198.51.100.8", "shop", 3, true)];
        assert_eq!(edges, expected);
        let shop = graph.nodes.iter().find(|node| node.name == "shop").expect("the service");
        assert_eq!(shop.addresses, ["10.0.0.1".parse::<IpAddr>().expect("an address")]);
    }

    #[test]
    fn who_is_asked_by_no_name_is_told_by_the_address() {
        let server = |address: &str| Some(address.parse().expect("an address"));
        let all = [
            Calls { server: server("10.0.0.1"), ..calls("198.51.100.7", None, "", 2) },
            Calls { server: server("10.0.0.2"), ..calls("198.51.100.7", None, "", 3) },
        ];
        let nameless =
            |address: &str| Endpoint { aliases: vec![String::new()], ..service(address, &format!("{address}:80")) };
        let graph = Graph::of(all.iter(), &[nameless("10.0.0.1"), nameless("10.0.0.2")], &inside::private(), 1.0);
        let edges: Vec<_> = graph.edges.iter().map(|edge| (edge.from.as_str(), edge.to.as_str(), edge.calls)).collect();
        assert_eq!(edges, [("198.51.100.7", "10.0.0.1", 2), ("198.51.100.7", "10.0.0.2", 3)]);
    }

    #[test]
    fn many_clients_are_drawn_as_one() {
        let all: Vec<_> = (1..=20).map(|last| calls(&format!("198.51.100.{last}"), None, "shop", 2)).collect();
        let graph = Graph::of(all.iter(), &[service("shop", "10.0.0.1:80")], &inside::private(), 1.0);
        assert_eq!(graph.edges.len(), 20);
        assert_eq!(graph.dot().matches("->").count(), 1);
        assert!(
            graph
                .dot()
                .contains("\"20 clients of shop\" -> \"shop\" [label=\"40 calls/h, 50 % authenticated, in clear\"];")
        );
        let hostile = Graph::of(
            [calls("192.0.2.1", None, "a\"]\n#x", 1)].iter(),
            &[service("a\"]\n#x", "10.0.0.1:80")],
            &inside::private(),
            1.0,
        );
        assert_eq!(hostile.dot().lines().count(), 7, "{}", hostile.dot());
        assert_eq!(hostile.mermaid().lines().count(), 4, "{}", hostile.mermaid());
    }
}
