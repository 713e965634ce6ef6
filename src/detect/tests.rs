//! Each detector on traffic made for it, and on the honest traffic that looks most like it.

mod beacons;
mod encrypted;
mod estates;
mod fields;
mod floods;
mod functions;
mod incidents;
mod logins;
mod operations;
mod probes;
mod resets;
mod streams;
mod survey;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;
use crate::alert::{Progress, Scope, Severity};
use crate::call::{Completeness, Credential, CredentialKind, Fingerprint, FlowId, Message, Peer, Sensitive};

/// A detector, its clock and what it said.
pub(super) struct Bench {
    pub(super) detector: Detector,
    pub(super) now: Timestamp,
    position: u32,
    flow: u64,
    pub(super) alerts: Vec<Alert>,
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::with(Settings::default())
    }

    fn with(settings: Settings) -> Bench {
        Bench {
            detector: Detector::new(settings, DetectRules::default(), |call| Some(call.client.ip)),
            now: Timestamp::from_parts(1_772_460_000, 0),
            position: 0,
            flow: 0,
            alerts: Vec::new(),
        }
    }

    /// A service with a past: 40 people who read and log in, half an hour.
    pub(super) fn lived_in() -> Bench {
        let mut bench = Bench::new();
        for round in 0..12 {
            for person in 0..40 {
                for path in ["/v1/me", "/v1/products", "/v1/orders/17"] {
                    bench.call(Get { token: Some(u64::from(person)), ..get(person, path) });
                }
                bench.call(get(person, if round % 2 == 0 { "/v1/public" } else { "/v1/stores" }));
                bench.wait(3);
            }
        }
        assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
        bench
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    pub(super) fn call(&mut self, get: Get<'_>) -> &mut Bench {
        let (path, query) = get.path.split_once('?').unwrap_or((get.path, ""));
        let values: Vec<Fingerprint> = (0..get.values)
            .map(|value| {
                Fingerprint((u64::from(get.client) << 40) | ((get.fresh * u64::from(self.position)) << 16) | value)
            })
            .collect();
        let call = Call {
            flow: FlowId(1),
            position: self.position,
            end_time: self.now,
            client: Peer { ip: address(get.client), port: 1 },
            method: get.method.into(),
            host: Some(get.host.into()),
            target: get.path.into(),
            path: path.into(),
            query_names: query
                .split('&')
                .filter_map(|pair| pair.split('=').next())
                .filter(|name| !name.is_empty())
                .map(Into::into)
                .collect(),
            status: get.status,
            latency: Some(get.latency),
            request: Message {
                body_bytes: get.sent,
                body_fingerprint: get.body.filter(|_| get.sent > 0).map(Fingerprint),
                gap_bytes: get.sent_gap,
                ..Message::default()
            },
            response: Message { wire_bytes: get.bytes, gap_bytes: get.gap, ..Message::default() },
            credential: get.token.map(|token| Credential {
                group: get.group.map(Fingerprint),
                role: get.role.map(Fingerprint),
                ..Credential::new(get.kind, Fingerprint(token))
            }),
            user_agent: Some(get.agent.into()),
            request_values: (!get.probes.is_empty() || get.account.is_some()).then(|| {
                let probe = |&(field, rule, prose): &(&str, &str, bool)| crate::call::Probe {
                    field: field.into(),
                    rule: rule.into(),
                    prose,
                    value: None,
                };
                let probes = get.probes.iter().map(probe).collect();
                let account = get.account.map(Fingerprint);
                let password = account.is_some();
                std::sync::Arc::new(crate::call::RequestValues { probes, account, password, ..Default::default() })
            }),
            sensitive: crate::call::Digest {
                request_head: Default::default(),
                response: get
                    .class
                    .iter()
                    .map(|&class| Sensitive {
                        class: class.into(),
                        count: get.values as u32,
                        values: values.as_slice().into(),
                    })
                    .collect(),
                request: (get.asks.iter().copied())
                    .chain(get.path.contains("***").then_some(("url_credential", 7)))
                    .map(|(class, value)| Sensitive {
                        class: class.into(),
                        count: 1,
                        values: [Fingerprint(value.wrapping_mul(0x9e37_79b9_7f4a_7c15))].into(),
                    })
                    .collect(),
            },
            completeness: Completeness { request: true, response: get.status.is_some(), ..Completeness::default() },
            ..Call::default()
        };
        self.position += 1;
        self.detector.call(&call, &mut self.alerts);
        self
    }

    fn kinds(&self) -> Vec<(&'static str, Option<IpAddr>)> {
        self.alerts.iter().map(|alert| (alert.kind.name(), alert.client.map(|client| client.ip))).collect()
    }

    /// The one alert of a kind.
    fn only(&self, kind: Technique) -> &Alert {
        let found: Vec<&Alert> = self.alerts.iter().filter(|alert| alert.kind == kind).collect();
        assert_eq!(found.len(), 1, "{:?}", self.kinds());
        found[0]
    }

    fn recon(&self, client: u32) -> f64 {
        self.detector.state.clients.get(&address(client)).map_or(0.0, |client| client.recon.nats())
    }
}

/// What is different from a plain good GET without credentials.
#[derive(Clone, Copy)]
pub(super) struct Get<'a> {
    pub(super) client: u32,
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) method: &'a str,
    pub(super) status: Option<u16>,
    pub(super) token: Option<u64>,
    pub(super) kind: CredentialKind,
    /// Group and role of the token.
    pub(super) group: Option<u64>,
    pub(super) role: Option<u64>,
    pub(super) agent: &'a str,
    pub(super) sent: u64,
    /// What tells the body that is sent from others.
    pub(super) body: Option<u64>,
    pub(super) bytes: u64,
    /// Seconds to the answer.
    pub(super) latency: f64,
    /// Bytes of the request that were lost.
    pub(super) sent_gap: u64,
    pub(super) gap: u64,
    pub(super) class: Option<&'a str>,
    pub(super) values: u64,
    /// 1 when each answer has other values, 0 when this client always gets the same.
    pub(super) fresh: u64,
    /// The class and the number of a value that the request has.
    pub(super) asks: Option<(&'a str, u64)>,
    /// Fields of the request's body, the rules that their values fit, and whether they are long texts.
    pub(super) probes: &'a [(&'a str, &'a str, bool)],
    /// The account that the body names beside a password.
    pub(super) account: Option<u64>,
}

pub(super) fn get(client: u32, path: &str) -> Get<'_> {
    Get {
        client,
        host: "api.example",
        path,
        method: "GET",
        status: Some(200),
        token: None,
        kind: CredentialKind::Bearer,
        group: None,
        role: None,
        agent: "Mozilla/5.0",
        sent: 0,
        body: Some(0),
        bytes: 400,
        latency: 0.01,
        sent_gap: 0,
        gap: 0,
        class: None,
        values: 1,
        fresh: 0,
        asks: None,
        probes: &[],
        account: None,
    }
}

fn miss(client: u32, path: &str) -> Get<'_> {
    Get { status: Some(404), ..get(client, path) }
}

pub(super) fn address(client: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0xc612_0000 + client))
}

/// Words that look like no identifier: four letters that spell the number.
fn word(number: u32) -> String {
    (0..4).map(|place| char::from(b'a' + (number / 16u32.pow(place) % 16) as u8)).collect()
}

#[test]
fn one_probe_an_hour_is_found_in_few_calls() {
    let mut bench = Bench::lived_in();
    let found = (1..30).find(|&number| {
        bench.call(miss(900, &format!("/admin/{}", word(number))));
        bench.wait(3_600);
        !bench.alerts.is_empty()
    });
    assert!(found.is_some_and(|calls| calls <= 10), "{found:?}");
    let alert = bench.only(Technique::PathEnumeration);
    assert_eq!(alert.client.map(|client| client.ip), Some(address(900)));
    assert_eq!((alert.evidence.len(), alert.features[0].window), (5, None));
    assert!(alert.first < alert.last && alert.last <= alert.ts);
}

#[test]
fn a_stale_bookmark_is_one_miss() {
    let mut bench = Bench::lived_in();
    bench.call(miss(900, "/old/page"));
    let once = bench.recon(900);
    for _ in 0..1_000 {
        bench.wait(60);
        bench.call(miss(900, "/old/page"));
    }
    assert!(once > 0.0 && bench.recon(900) <= once && bench.alerts.is_empty());
}

#[test]
fn a_missing_response_never_counts() {
    let mut bench = Bench::lived_in();
    for number in 0..500 {
        let path = format!("/admin/{}", word(number));
        bench.call(Get { status: None, ..get(900, &path) });
        bench.call(Get { status: None, method: "POST", sent: u64::from(number), ..get(901, "/v1/login") });
        bench.wait(20);
    }
    assert_eq!(bench.recon(900), 0.0);
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
}

#[test]
fn a_broken_deploy_accuses_nobody() {
    let mut bench = Bench::lived_in();
    for number in 0..8 {
        for person in 0..40 {
            bench.call(miss((person + 11 * number) % 40, &format!("/assets/{}", word(number))));
            bench.wait(1);
        }
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
}

#[test]
fn methods_and_parameters_are_probed() {
    let mut bench = Bench::lived_in();
    for (number, path) in (0..).zip(["/v1/me", "/v1/products", "/v1/orders/17", "/v1/public", "/v1/stores"]) {
        for method in ["PUT", "PATCH", "DELETE"] {
            bench.call(Get { method, status: Some(405), ..get(900, path) });
        }
        let path = format!("/v1/products?{}=1&{}=1&{}=1", word(number), word(number + 100), word(number + 200));
        bench.call(Get { token: Some(901), ..get(901, &path) });
    }
    bench.only(Technique::MethodProbing);
    bench.only(Technique::ParameterDiscovery);
}

#[test]
fn denied_objects_are_object_enumeration() {
    let mut bench = Bench::lived_in();
    for number in 0..30 {
        let path = format!("/v1/orders/{}", 100 + 7 * number);
        bench.call(Get { status: Some(if number % 3 == 0 { 200 } else { 403 }), token: Some(900), ..get(900, &path) });
        bench.wait(30);
    }
    let alert = bench.only(Technique::ObjectEnumeration);
    assert_eq!(alert.endpoint.as_deref(), Some("GET /v1/orders/{id}"));
    assert_eq!(alert.client.and_then(|client| client.credential), Some(Fingerprint(900)));
}

#[test]
fn newcomers_that_only_miss_are_a_campaign() {
    let mut bench = Bench::lived_in();
    for member in 0..30 {
        for number in 0..4 {
            bench.call(miss(1_000 + member, &format!("/{}/{}", word(member), word(number))));
        }
        bench.wait(30);
    }
    // They are named as their number doubles.
    let alerts: Vec<&Alert> = bench.alerts.iter().filter(|alert| alert.kind == Technique::Campaign).collect();
    assert!((2..=4).contains(&alerts.len()), "{}", alerts.len());
    for alert in &alerts {
        assert_eq!((alert.scope, alert.client), (Scope::Campaign, None));
        assert!(alert.clients.len() >= 5 && alert.clients.iter().all(|member| member.ip >= address(1_000)));
    }
    assert!(alerts.last().is_some_and(|alert| alert.clients.len() >= 15), "more than half of them in the end");
}

#[test]
fn identifiers_that_do_not_exist_are_object_enumeration() {
    let mut bench = Bench::lived_in();
    for number in 0..14 {
        let path = format!("/v1/orders/{}", 100_000 + 7_919 * number);
        bench.call(Get { status: Some(if number % 4 == 0 { 200 } else { 404 }), token: Some(900), ..get(900, &path) });
        bench.wait(3_600);
    }
    let alert = bench.only(Technique::ObjectEnumeration);
    assert_eq!(alert.features[0].feature, "distinct objects that do not exist");
}

#[test]
fn a_tool_beside_an_honest_life_is_seen() {
    let mut bench = Bench::lived_in();
    for number in 0..12 {
        for page in 0..9 {
            bench.call(get(900, &format!("/v1/products/{}", 10 * number + page)));
        }
        bench.call(Get { agent: "python-requests/2.32", ..miss(900, &format!("/{}", word(number))) });
        bench.wait(600);
    }
    bench.only(Technique::PathEnumeration);
}

#[test]
fn bulk_reading_of_sensitive_values() {
    let mut bench = Bench::lived_in();
    for _ in 0..200 {
        bench.call(Get { token: Some(3), class: Some("email"), values: 1, ..get(3, "/v1/me") });
        bench.call(Get { token: Some(900), class: Some("email"), values: 50, fresh: 1, ..get(900, "/v1/customers") });
        bench.wait(60);
    }
    let found: Vec<_> = bench.alerts.iter().filter(|alert| alert.kind == Technique::BulkRead).collect();
    assert!(
        found.iter().any(|alert| alert.features.iter().any(|held| held.feature == "distinct sensitive values")),
        "{:?}",
        bench.kinds()
    );
    assert!(found.iter().all(|alert| alert.client.map(|client| client.ip) == Some(address(900))));
}

#[test]
fn a_new_class_of_data_at_an_endpoint() {
    let mut bench = Bench::lived_in();
    for person in 0..6 {
        let token = Some(u64::from(person));
        bench.call(Get { token, class: Some("private_key"), gap: 10, ..get(person, "/v1/products") });
    }
    assert!(bench.alerts.is_empty(), "what was seen through a gap is no evidence");
    for person in 0..20 {
        bench.call(Get { token: Some(u64::from(person)), class: Some("private_key"), ..get(person, "/v1/products") });
    }
    let alert = bench.only(Technique::NewExposure);
    assert_eq!((alert.scope, alert.client, alert.severity), (Scope::Endpoint, None, Severity::Critical));
    assert_eq!(alert.endpoint.as_deref(), Some("GET /v1/products"));
    assert!(!alert.evidence.is_empty() && alert.summary.contains("private_key"));
}

#[test]
fn an_endpoint_that_had_it_from_the_start_is_not_new() {
    let mut bench = Bench::new();
    for round in 0..50 {
        for person in 0..10 {
            bench.call(Get { class: Some("private_key"), ..get(person, "/developers") });
            // One answer in ten looks like a card: an order number.
            let class = (round % 10 == 0).then_some("payment_card");
            bench.call(Get { token: Some(1), class, ..get(person, "/v1/orders") });
        }
        bench.wait(60);
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
}

#[test]
fn an_endpoint_that_loses_its_lock() {
    let mut bench = Bench::lived_in();
    for person in 0..5 {
        bench.call(Get { status: Some(401), ..get(700 + person, "/v1/me") });
    }
    assert!(bench.alerts.is_empty());
    for person in 0..10 {
        bench.call(get(700 + person, "/v1/me"));
    }
    assert_eq!(bench.only(Technique::Unauthenticated).endpoint.as_deref(), Some("GET /v1/me"));
}

#[test]
fn steady_callers_of_one_endpoint_are_no_crowd_to_a_sensor_that_begins() {
    for every in [1, 3, 12] {
        let mut bench = Bench::new();
        for call in 0..4_000 / every {
            let person = (call % 40) as u32;
            bench.call(Get { token: Some(u64::from(person)), ..get(person, "/v1/me") });
            bench.wait(every);
        }
        assert!(bench.alerts.is_empty(), "{every}: {:?}", bench.kinds());
    }
}

#[test]
fn a_response_far_larger_than_others() {
    let mut bench = Bench::lived_in();
    bench.call(Get { token: Some(5), bytes: 900_000, ..get(5, "/v1/products") });
    assert_eq!(bench.only(Technique::Oversized).client.map(|client| client.ip), Some(address(5)));
}

#[test]
fn sprayed_addresses_do_not_push_out_a_slow_attacker() {
    let mut bench =
        Bench::with(Settings { clients: 64, endpoints: 32, misses: 32, credentials: 16, ..Settings::default() });
    for number in 0..3 {
        bench.call(miss(900, &format!("/admin/{}", word(number))));
    }
    let before = bench.recon(900);
    for client in 10_000..20_000 {
        bench.call(Get { token: Some(u64::from(client)), ..get(client, &format!("/{}", word(client))) });
    }
    // Words that every client makes up are one parameter, not ten thousand endpoints.
    assert!(bench.detector.state.endpoints.len() < 32);
    for client in 20_000..30_000 {
        let host = format!("{}.example", word(client));
        bench.call(Get { host: &host, token: Some(u64::from(client)), ..get(client, "/v1/me") });
    }
    assert!(before > 0.0 && bench.recon(900) == before);
    let state = &bench.detector.state;
    assert_eq!((state.clients.len(), state.endpoints.len(), state.credentials.len()), (64, 32, 16));
    assert!(bench.detector.counters().value(Counter::ClientsEvicted) > 9_000);
    let counters = bench.detector.counters();
    assert!(counters.value(Counter::EndpointsEvicted) > 9_000);
    assert!(counters.value(Counter::EntriesEvicted) > 19_000, "of credentials and principals at least");
}

#[test]
fn a_scan_teaches_no_endpoint() {
    let mut bench = Bench::lived_in();
    let before = bench.detector.state.endpoints.len();
    for number in 0..5_000 {
        bench.call(miss(900, &format!("/{}", word(number))));
    }
    assert_eq!(bench.detector.state.endpoints.len(), before);
}

#[test]
fn a_call_without_a_request_is_taken_and_says_nothing() {
    let mut bench = Bench::new();
    bench.detector.call(&Call { status: Some(404), ..Call::default() }, &mut bench.alerts);
    bench.detector.finish(&mut bench.alerts);
    assert_eq!((bench.alerts.len(), bench.detector.counters().value(Counter::CallsDetected)), (0, 1));
}

#[test]
fn an_incident_opens_grows_turns_and_closes() {
    let mut bench = Bench::lived_in();
    for number in 0..100 {
        bench.call(miss(900, &format!("/{}/{}", word(number), word(number + 200))));
        bench.wait(600);
    }
    for number in 0..30 {
        let path = format!("/v1/orders/{}", 100 + 7 * number);
        bench.call(Get { status: Some(403), token: Some(3), ..get(3, "/v1/orders/17") });
        bench.call(Get { status: Some(if number == 0 { 200 } else { 403 }), token: Some(900), ..get(900, &path) });
        bench.wait(600);
    }
    // Somebody else calls two days later.
    bench.wait(48 * 3_600);
    bench.call(get(7, "/v1/products"));

    let lines: Vec<&Alert> =
        bench.alerts.iter().filter(|alert| alert.client.map(|client| client.ip) == Some(address(900))).collect();
    let course: Vec<_> = lines.iter().map(|alert| (alert.state, alert.kind, alert.revision)).collect();
    assert_eq!(
        course,
        [
            (Progress::Open, Technique::PathEnumeration, 0),
            (Progress::Update, Technique::PathEnumeration, 1),
            (Progress::Update, Technique::ObjectEnumeration, 2),
            (Progress::Close, Technique::ObjectEnumeration, 3),
        ]
    );
    let [open, grown, turned, close] = lines[..] else { panic!("four lines") };
    assert!(lines.iter().all(|alert| alert.incident == open.incident && alert.first == open.first));
    assert!(lines.windows(2).all(|pair| pair[0].id != pair[1].id && pair[0].findings <= pair[1].findings));
    assert!(grown.features[0].observed >= 10.0 * open.features[0].observed);
    assert_eq!(turned.techniques, [Technique::PathEnumeration, Technique::ObjectEnumeration]);
    assert_eq!((turned.owasp.join(" "), turned.severity), ("API9:2023 API1:2023".to_owned(), Severity::High));
    assert_eq!(turned.features.len(), 2, "{:?}", turned.features);
    assert_eq!(
        close.ts,
        close.last + Duration::from_secs(20 * 3_600),
        "it is over when it says so, whoever calls next"
    );
    assert!(close.summary.starts_with("Over: no further evidence for 20 hours."), "{}", close.summary);
    assert!(!close.summary.contains("same story"), "{}", close.summary);
}

#[test]
fn a_story_that_was_closed_is_another_one_when_it_goes_on() {
    let mut bench = Bench::lived_in();
    for round in 0..2 {
        for number in 0..10 {
            bench.call(miss(900, &format!("/{}/{}", word(number), word(number + 200 + 50 * round))));
        }
        bench.wait(48 * 3_600);
    }
    let states: Vec<_> = bench.alerts.iter().map(|alert| alert.state).collect();
    assert_eq!(states, [Progress::Open, Progress::Close, Progress::Open]);
    assert_ne!(bench.alerts[0].incident, bench.alerts[2].incident);
    assert!(bench.alerts[2].first > bench.alerts[1].ts, "old calls are no evidence of a new story");
}

#[test]
fn scanners_with_one_user_agent_become_one_story() {
    let mut bench = Bench::lived_in();
    for scanner in 0..20 {
        // They have been here before, so that they are no newcomers.
        bench.call(Get { agent: "probe/2", ..get(900 + scanner, "/v1/products") });
    }
    for scanner in 0..20 {
        for number in 0..12 {
            let path = format!("/{}/{}", word(40 * scanner + number), word(number));
            bench.call(Get { agent: "probe/2", ..miss(900 + scanner, &path) });
        }
        bench.wait(3_600);
    }
    let alone = bench.alerts.iter().filter(|alert| alert.scope == Scope::Client).count();
    let together: Vec<&Alert> = bench.alerts.iter().filter(|alert| alert.scope == Scope::Campaign).collect();
    assert_eq!(alone, 4, "{:?}", bench.kinds());
    assert!((2..10).contains(&together.len()), "{:?}", bench.kinds());
    let last = together.last().expect("a campaign");
    assert!(last.clients.len() >= 16 && last.summary.contains("probe/2"), "{}", last.summary);
}

#[test]
fn scanners_of_one_network_become_one_story() {
    let mut bench = Bench::lived_in();
    for scanner in 0..12 {
        bench.call(get(0x1_0000 + scanner, "/v1/products"));
    }
    for scanner in 0..12 {
        let agent = word(scanner);
        for number in 0..12 {
            let path = format!("/{}/{}", word(40 * scanner + number), word(number));
            bench.call(Get { agent: &agent, ..miss(0x1_0000 + scanner, &path) });
        }
        bench.wait(3_600);
    }
    let together = bench.alerts.iter().rfind(|alert| alert.scope == Scope::Campaign).expect("a campaign");
    assert!(together.clients.len() >= 10 && together.summary.contains("198.19.0.0/24"), "{}", together.summary);
}

#[test]
fn incidents_are_bounded_and_close_with_a_word() {
    let mut bench = Bench::with(Settings { incidents: 3, ..Settings::default() });
    for person in 0..40 {
        bench.call(get(person, "/v1/products"));
    }
    for scanner in 0..6 {
        let agent = word(scanner);
        for number in 0..12 {
            bench.call(Get {
                agent: &agent,
                ..miss(900 + 256 * scanner, &format!("/{}/{agent}", word(40 * scanner + number)))
            });
        }
        bench.wait(7_200);
    }
    let closed: Vec<&Alert> = bench.alerts.iter().filter(|alert| alert.state == Progress::Close).collect();
    assert_eq!(closed.len(), 3, "{:?}", bench.kinds());
    assert_eq!(bench.detector.counters().value(Counter::IncidentsClosedEarly), 3);
    assert!(closed.iter().all(|alert| alert.summary.contains("setting `incidents`")));
}

#[test]
fn what_the_tests_cost_is_reckoned() {
    let mut bench = Bench::lived_in();
    let before = bench.detector.budget();
    let contacts = |report: &BudgetReport| report.tests.iter().find(|test| test.test == Test::FirstContacts).cloned();
    for number in 0..12 {
        bench.call(miss(900, &format!("/{}/{}", word(number), word(number + 200))));
    }
    let after = bench.detector.budget();
    let (before, first) = (contacts(&before).expect("listed"), contacts(&after).expect("listed"));
    assert!(first.trials > before.trials + 10.0 && first.expected_false_alarms > before.expected_false_alarms);
    assert!(first.passed >= 1 && before.passed == 0);
    assert_eq!(after.client_days, 41);
    assert!(after.expected_false_alarms > 0.0 && after.expected_false_alarms < after.days.max(1.0));
}

#[test]
fn a_trace_shows_what_moved_a_test() {
    let mut bench = Bench::lived_in();
    bench.detector.trace = Some(Trace::new(address(900)));
    for number in 0..12 {
        bench.call(get(900, "/v1/products"));
        bench.call(miss(900, &format!("/{}/{}", word(number), word(number + 200))));
        bench.wait(60);
    }
    let trace = bench.detector.trace().expect("asked for");
    assert_eq!((trace.client, trace.calls), (address(900), 24));
    let curve = trace.curves.iter().find(|curve| curve.test == Test::FirstContacts).expect("moved");
    assert_eq!(curve.passed, bench.alerts.first().map(|alert| alert.ts));
    assert!(curve.highest_decades > curve.threshold_decades && curve.points.len() == 23, "{curve:?}");
    assert!(curve.moves.iter().all(|moved| moved.added_decades > 0.0 && moved.call.status == Some(404)));
}

#[test]
fn an_endpoint_that_gives_three_classes_at_once_is_one_story() {
    let mut bench = Bench::lived_in();
    for round in 0..40 {
        for class in ["email", "iban", "payment_card"] {
            let person = round % 40;
            bench.call(Get { token: Some(u64::from(person)), class: Some(class), ..get(person, "/v1/me") });
        }
        bench.wait(10);
    }
    let lines: Vec<&Alert> = bench.alerts.iter().filter(|alert| alert.kind == Technique::NewExposure).collect();
    assert!(lines.iter().all(|alert| alert.incident == lines[0].incident), "{:?}", bench.kinds());
    assert!((3..=6).contains(&lines.len()), "{:?}", bench.kinds());
}

#[test]
fn who_cannot_be_known_is_not_accused() {
    let mut bench = Bench::lived_in();
    bench.detector.resolver = Box::new(|call| (call.request.gap_bytes == 0).then_some(call.client.ip));
    for number in 0..200 {
        bench.call(Get { sent_gap: 10, ..miss(900, &format!("/{}", word(number))) });
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
    assert_eq!(bench.detector.counters().value(Counter::ClientsUnknown), 200);
}

#[test]
fn of_whom_little_is_seen_there_may_be_many() {
    let flood = |gap: u64| {
        let mut bench = Bench::lived_in();
        for number in 0..300 {
            bench.call(Get { gap, ..get(900, &format!("/v1/products?q={}", word(number))) });
            if number % 20 == 0 {
                bench.wait(1);
            }
        }
        bench.alerts.len()
    };
    assert_eq!(flood(0), 1);
    assert_eq!(flood(10), 0, "an office whose credentials were lost");
}

/// Bytes that a client takes, with what hangs on it.
fn cost(client: &Client) -> usize {
    let sightings: usize = client
        .sightings
        .iter()
        .flat_map(|held| &held.calls)
        .map(|call| size_of::<crate::alert::Sighting>() + call.target.len() + call.host.as_deref().map_or(0, str::len))
        .sum();
    let agents = client.recon_by_agent.capacity() * 32;
    size_of::<Client>() + client.touched.bytes() + client.people.bytes() + agents + sightings
}

#[test]
fn a_client_costs_two_kibibytes_when_quiet_and_sixteen_at_most() {
    let mut bench = Bench::lived_in();
    let quiet = bench.detector.state.clients.get(&address(3)).map(cost);
    assert!(quiet.is_some_and(|bytes| bytes <= 2_048), "{quiet:?}");
    // All that one can do: probes with long targets, many agents, failing logins, calls in great number.
    for number in 0..3_000 {
        let long = format!("/{}/{}?{}", word(number), word(number + 7), "x".repeat(4_000));
        let agent = word(number % 50);
        bench.call(Get { agent: &agent, ..miss(900, &long) });
        bench.call(Get { method: "POST", status: Some(401), sent: u64::from(number), ..get(900, "/v1/login") });
        bench.call(Get { token: Some(u64::from(number)), kind: CredentialKind::Basic, ..get(900, "/v1/products") });
        let path = format!("/v1/products?token={number}&api_key=***");
        bench.call(Get { token: Some(u64::from(number)), agent: &agent, bytes: 100_000, ..get(900, &path) });
    }
    let busy = bench.detector.state.clients.get(&address(900)).map(cost);
    assert!(busy.is_some_and(|bytes| (4_096..=16_384).contains(&bytes)), "{busy:?}");
}
