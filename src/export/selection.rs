//! Which calls, or which endpoints of the inventory: by service, endpoint, client, status and time.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;

use crate::call::{Call, Record};
use crate::client::TrustedProxies;
use crate::endpoint::Place;
use crate::glob::Glob;
use crate::time::Timestamp;

/// Answers by their status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statuses {
    /// From one to another, both included.
    Within(RangeInclusive<u16>),
    /// No answer was seen.
    None,
}

impl Statuses {
    /// Whether it is what was answered; none for no answer.
    fn fits(&self, status: Option<u16>) -> bool {
        match self {
            Statuses::Within(range) => status.is_some_and(|status| range.contains(&status)),
            Statuses::None => status.is_none(),
        }
    }
}

impl FromStr for Statuses {
    type Err = String;

    /// `404`, `4xx`, `400-499`, `none`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse::<u16>().ok().filter(|status| (100..=999).contains(status));
        let found = match (text, text.split_once('-')) {
            ("none", _) => Some(Statuses::None),
            (_, Some((first, last))) => {
                number(first).zip(number(last)).map(|(first, last)| Statuses::Within(first..=last))
            }
            (text, None) if text.len() == 3 && text.to_ascii_lowercase().ends_with("xx") => text
                .get(..1)
                .and_then(|digit| number(&format!("{digit}00")))
                .map(|first| Statuses::Within(first..=first + 99)),
            (text, None) => number(text).map(|status| Statuses::Within(status..=status)),
        };
        found.ok_or_else(|| format!("{text:?} is no status; 404, 4xx, 400-499 and none are"))
    }
}

/// A method, or any, at paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    method: Option<String>,
    path: Glob,
    /// The pattern of templates, as the inventory tells them.
    template: Glob,
}

impl FromStr for Endpoint {
    type Err = String;

    /// `/v1/orders/{id}`, `GET /v1/orders/*`; a host before the path is no part of it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (method, path) = match text.split_once(' ') {
            Some((method, path)) => (Some(method.to_owned()), path.trim()),
            None => (None, text),
        };
        if !path.starts_with(['/', '*']) {
            return Err(format!("{text:?} is no endpoint; /v1/orders/{{id}} and 'GET /v1/**' are"));
        }
        Ok(Endpoint { method, path: Glob::of_template(path), template: Glob::new(path) })
    }
}

impl Endpoint {
    /// Whether it is the one of a method at a template of the inventory.
    pub fn is(&self, method: &str, template: &str) -> bool {
        self.has_method(method) && (self.template.fits(template) || self.path.fits(template))
    }

    fn has_method(&self, method: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
    }
}

/// A selection: of each list that is not empty, one must fit.
#[derive(Debug, Default)]
pub struct Selection {
    /// Hosts, patterns.
    pub services: Vec<String>,
    /// Methods and paths.
    pub endpoints: Vec<Endpoint>,
    /// Who really called.
    pub clients: Vec<IpNet>,
    /// What was answered.
    pub statuses: Vec<Statuses>,
    /// Only what was over then or later.
    pub since: Option<Timestamp>,
    /// Only what was over before.
    pub until: Option<Timestamp>,
}

impl Selection {
    /// It says of an endpoint's calls which are meant: by client or time.
    pub fn is_of_calls(&self) -> bool {
        !self.clients.is_empty() || self.since.is_some() || self.until.is_some()
    }
}

/// A selection that is ready to be asked.
#[derive(Debug, Default)]
pub struct Selector {
    selection: Selection,
    services: Vec<Glob>,
    proxies: TrustedProxies,
    place: Place,
}

impl Selector {
    /// With those proxies whose word on the client counts.
    pub fn new(selection: Selection, proxies: TrustedProxies) -> Selector {
        let services = selection.services.iter().map(|host| Glob::new(&host.to_ascii_lowercase())).collect();
        Selector { selection, services, proxies, place: Place::default() }
    }

    /// Whether a record is selected. A connection has no service, endpoint and status: where one of these is asked for, it
    /// is not.
    pub fn takes(&mut self, record: &Record) -> bool {
        if !self.is_within(record.end_time()) {
            return false;
        }
        match record {
            Record::Call(call) => self.takes_call(call),
            Record::Connection(connection) => {
                let Selection { endpoints, statuses, .. } = &self.selection;
                self.services.is_empty()
                    && endpoints.is_empty()
                    && statuses.is_empty()
                    && self.has_client(connection.client.ip.to_canonical())
            }
        }
    }

    /// Whether what was over then is selected.
    #[inline]
    pub fn is_within(&self, end: Timestamp) -> bool {
        let Selection { since, until, .. } = &self.selection;
        since.is_none_or(|since| end >= since) && until.is_none_or(|until| end < until)
    }

    /// Whether what a client does is.
    #[inline]
    pub fn has_client(&self, address: IpAddr) -> bool {
        let clients = &self.selection.clients;
        clients.is_empty() || clients.iter().any(|network| network.contains(&address))
    }

    /// Whether a service is, by its host in lower case.
    pub fn has_service(&self, host: &str) -> bool {
        self.services.is_empty() || self.services.iter().any(|service| service.fits(host))
    }

    /// Whether a method at a template of the inventory is.
    pub fn has_template(&self, method: &str, template: &str) -> bool {
        let endpoints = &self.selection.endpoints;
        endpoints.is_empty() || endpoints.iter().any(|endpoint| endpoint.is(method, template))
    }

    /// Whether one of several answers is.
    pub fn has_status(&self, mut answers: impl Iterator<Item = u16>) -> bool {
        let statuses = &self.selection.statuses;
        statuses.is_empty() || answers.any(|answer| statuses.iter().any(|one| one.fits(Some(answer))))
    }

    /// What was asked for.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    fn takes_call(&mut self, call: &Call) -> bool {
        let Selection { endpoints, clients, statuses, .. } = &self.selection;
        let any = |list: &[Endpoint]| {
            list.iter().any(|endpoint| endpoint.has_method(call.verb()) && endpoint.path.fits(&call.path))
        };
        let status = |one: &Statuses| one.fits(call.outcome());
        if !(endpoints.is_empty() || any(endpoints)) || !(statuses.is_empty() || statuses.iter().any(status)) {
            return false;
        }
        if !clients.is_empty() && !self.proxies.known(call).is_some_and(|address| self.has_client(address)) {
            return false;
        }
        if self.services.is_empty() {
            return true;
        }
        self.place.set(call.host.as_deref(), "");
        // Who names no host asks for the server's address.
        if self.place.host.is_empty() {
            self.place.host = call.server.ip.to_string();
        }
        self.has_service(&self.place.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Peer;

    fn call(method: &str, host: &str, path: &str, status: Option<u16>) -> Call {
        let client = Peer { ip: "192.0.2.7".parse().expect("an address"), port: 1 };
        let end_time = Timestamp::from_parts(100, 0);
        Call {
            method: method.into(),
            host: Some(host.into()),
            path: path.into(),
            status,
            client,
            end_time,
            ..Call::default()
        }
    }

    fn takes(selection: Selection, call: Call) -> bool {
        Selector::new(selection, TrustedProxies::default()).takes(&call.into())
    }

    #[test]
    fn statuses_and_endpoints_are_read() {
        for (text, expected) in [
            ("404", Some(Statuses::Within(404..=404))),
            ("4xx", Some(Statuses::Within(400..=499))),
            ("400-404", Some(Statuses::Within(400..=404))),
            ("none", Some(Statuses::None)),
            ("40", None),
            ("xx", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(text.parse::<Statuses>().ok(), expected, "{text}");
        }
        assert!("v1/orders".parse::<Endpoint>().is_err());
        let endpoint: Endpoint = "get /v1/orders/{id}".parse().expect("an endpoint");
        assert!(endpoint.is("GET", "/v1/orders/{id}") && !endpoint.is("PUT", "/v1/orders/{id}"));
        assert!(!endpoint.is("GET", "/v1/orders/{id}/items"));
    }

    #[test]
    fn one_of_each_list_must_fit() {
        let one = || call("GET", "Shop.example:8080", "/v1/orders/7", Some(200));
        let selection = || Selection {
            services: vec!["*.example".into(), "other".into()],
            endpoints: vec!["/v1/users".parse().expect("well"), "GET /v1/orders/{id}".parse().expect("well")],
            clients: vec!["192.0.2.0/24".parse().expect("well")],
            statuses: vec![Statuses::Within(200..=299)],
            since: Some(Timestamp::from_parts(100, 0)),
            until: Some(Timestamp::from_parts(101, 0)),
        };
        assert!(takes(Selection::default(), one()) && takes(selection(), one()));
        assert!(!takes(selection(), call("POST", "shop.example", "/v1/orders/7", Some(200))));
        assert!(!takes(selection(), call("GET", "shop.test", "/v1/orders/7", Some(200))));
        assert!(!takes(selection(), call("GET", "shop.example", "/v1/orders/7/x", Some(200))));
        assert!(!takes(selection(), call("GET", "shop.example", "/v1/orders/7", Some(404))));
        assert!(!takes(selection(), call("GET", "shop.example", "/v1/orders/7", None)));
        assert!(!takes(Selection { until: Some(Timestamp::from_parts(100, 0)), ..selection() }, one()));
        let elsewhere = vec!["198.51.100.0/24".parse().expect("well")];
        assert!(!takes(Selection { clients: elsewhere, ..selection() }, one()));
    }
}
