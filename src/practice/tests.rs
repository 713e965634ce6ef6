use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::alert::Alert;
use crate::call::{
    Claims, Completeness, Credential, CredentialKind, CredentialPlace, Digest, Fingerprint, FlowId, KeyCandidate,
    Message, Peer, RequestValues, ResponseFields, Sensitive, Tls, Traffic,
};
use crate::detect::{COMPILED_IN, DetectRules, FILE};
use crate::rules::RuleFile;

/// Detector and practices over calls that come a second after one another.
struct Bench {
    detector: Detector,
    practice: Practice,
    now: Timestamp,
    position: u32,
    told: Vec<Finding>,
    alerts: Vec<Alert>,
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A good answer to a call of an outside client with a token.
fn get(client: u8, target: &str) -> Call {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let names = query.split('&').filter(|pair| !pair.is_empty());
    Call {
        flow: FlowId(u64::from(client)),
        method: "GET".into(),
        host: Some("shop.example".into()),
        target: target.into(),
        path: path.into(),
        query_names: names.map(|pair| pair.split('=').next().unwrap_or_default().into()).collect(),
        status: Some(200),
        client: Peer { ip: IpAddr::from([198, 51, 100, client]), port: 4711 },
        server: Peer { ip: address("10.2.0.1"), port: 8080 },
        response: Message { body_bytes: 300, wire_bytes: 300, ..Message::default() },
        credential: Some(Credential::new(CredentialKind::Bearer, Fingerprint(u64::from(client)))),
        completeness: Completeness { request: true, response: true, ..Completeness::default() },
        ..Call::default()
    }
}

fn anonymous(call: Call) -> Call {
    Call { credential: None, ..call }
}

fn with(call: Call, claims: Claims) -> Call {
    let credential =
        call.credential.clone().map(|credential| Credential { claims: Some(Arc::new(claims)), ..credential });
    Call { credential, ..call }
}

fn giving(mut call: Call, class: &str) -> Call {
    call.sensitive.response = vec![found(class)].into();
    call
}

fn found(class: &str) -> Sensitive {
    Sensitive { class: class.into(), count: 1, values: [Fingerprint(9)].as_slice().into() }
}

fn encrypted(call: Call) -> Call {
    Call { tls: Some(Arc::new(Tls { decrypted: true, ..Tls::default() })), ..call }
}

fn begin() -> Timestamp {
    Timestamp::from_parts(1_772_460_000, 0)
}

impl Bench {
    fn new(settings: &str) -> Bench {
        #[derive(serde::Deserialize, Default)]
        #[serde(default)]
        struct Tables {
            practice: Settings,
            gateway: Gateway,
            quota: Vec<Quota>,
        }
        let tables: Tables = toml::from_str(settings).expect("settings");
        let file = RuleFile::new(FILE, COMPILED_IN);
        let rules = DetectRules::load(&file).expect("the rules that are compiled in");
        Bench {
            detector: Detector::new(crate::detect::Settings::default(), rules, |call| Some(call.client.ip)),
            practice: Practice::new(&tables.practice, &tables.gateway, &tables.quota, HashKey::default()),
            now: begin(),
            position: 0,
            told: Vec::new(),
            alerts: Vec::new(),
        }
    }

    fn call(&mut self, call: Call) -> &mut Bench {
        self.now = self.now + Duration::from_secs(1);
        self.position += 1;
        let call = Call { end_time: self.now, request_time: Some(self.now), position: self.position, ..call };
        let Bench { detector, practice, told, alerts, .. } = self;
        detector.judge_call(&call, alerts, |call, judged| practice.take(call, judged, told));
        self
    }

    /// Kinds of all that was found in the end, the gravest first.
    fn kinds(&mut self) -> Vec<&'static str> {
        self.total().iter().map(|finding| finding.kind.name()).collect()
    }

    fn total(&mut self) -> Vec<Finding> {
        self.practice.finish(&mut self.detector)
    }
}

/// What the calls show, each alone among the usual ones of a lived-in endpoint.
fn shown(settings: &str, calls: &[Call]) -> Vec<&'static str> {
    let mut bench = Bench::new(settings);
    for client in 0..8 {
        bench.call(get(client, "/v1/orders/17"));
    }
    assert_eq!(bench.kinds(), [""; 0], "the usual calls show nothing");
    for call in calls {
        bench.call(call.clone());
    }
    bench.kinds()
}

#[test]
fn data_without_a_credential_where_others_present_one() {
    let refused = Call { status: Some(401), ..anonymous(get(90, "/v1/orders/18")) };
    let open = anonymous(get(91, "/v1/orders/18"));
    assert_eq!(shown("", &[refused.clone(), open.clone()]), ["credential.missing"]);
    assert_eq!(shown("", &[giving(open.clone(), "email")]), ["credential.missing"]);
    // The twins: nobody was refused and nothing sensitive was given; it was refused; what was sent is not all known.
    assert_eq!(shown("", std::slice::from_ref(&open)), [""; 0]);
    assert_eq!(shown("", &[refused.clone(), refused.clone()]), [""; 0]);
    let lost = Call { request: Message { gap_bytes: 9, ..Message::default() }, ..open.clone() };
    assert_eq!(shown("", &[refused.clone(), lost]), [""; 0]);
    // An endpoint that is open to all.
    let mut bench = Bench::new("");
    for client in 0..8 {
        bench
            .call(giving(get(client, "/v1/stores"), "phone"))
            .call(giving(anonymous(get(40 + client, "/v1/stores")), "phone"));
    }
    assert_eq!(bench.kinds(), [""; 0]);
}

#[test]
fn sensitive_data_makes_it_worse() {
    let mut bench = Bench::new("");
    for client in 0..8 {
        bench.call(get(client, "/v1/orders/17"));
    }
    bench.call(Call { status: Some(401), ..anonymous(get(90, "/v1/orders/18")) });
    bench.call(anonymous(get(91, "/v1/orders/18"))).call(giving(anonymous(get(92, "/v1/orders/19")), "payment_card"));
    let severities: Vec<_> = bench.told.iter().map(|finding| (finding.state, finding.severity)).collect();
    assert_eq!(severities, [(State::New, Severity::High), (State::Update, Severity::Critical)]);
    let total = &bench.total()[0];
    assert_eq!((total.state, total.count, total.client_count), (State::Total, 2, 2));
    assert_eq!(total.endpoint.as_deref(), Some("GET /v1/orders/{id}"));
    assert_eq!(total.details, ["payment_card"]);
    assert_eq!(total.id, bench.told[0].id);
}

#[test]
fn tokens_that_should_be_worth_nothing() {
    let claims = |issued: u64, expires: u64| Claims {
        token: true,
        algorithm: Some("RS256".into()),
        issued: Some(begin() + Duration::from_secs(issued)),
        expires: Some(begin() + Duration::from_secs(expires)),
        ..Claims::default()
    };
    let order = || get(90, "/v1/orders/18");
    let early = |seconds: i64| Timestamp::from_nanos(begin().nanos() - seconds * 1_000_000_000);
    let over = Claims { issued: Some(early(7_200)), expires: Some(early(3_600)), ..claims(0, 0) };
    assert_eq!(shown("", &[with(order(), over.clone())]), ["credential.expired"]);
    assert_eq!(shown("", &[with(Call { status: Some(401), ..order() }, over.clone())]), [""; 0]);
    let just = Claims { expires: Some(early(100)), issued: Some(early(1_000)), ..claims(0, 0) };
    assert_eq!(shown("", &[with(order(), just)]), [""; 0], "clocks differ");
    assert_eq!(shown("", &[with(order(), claims(0, 3_600))]), [""; 0]);

    let none = Claims { unsigned: true, algorithm: Some("none".into()), ..claims(0, 3_600) };
    assert_eq!(shown("", &[with(order(), none.clone())]), ["credential.unsigned"]);
    assert_eq!(shown("", &[with(Call { status: Some(403), ..order() }, none)]), [""; 0]);

    assert_eq!(shown("", &[with(order(), claims(0, 90_000))]), ["credential.long_lived"]);
    assert_eq!(shown("[practice]\ntoken_hours = 26", &[with(order(), claims(0, 90_000))]), [""; 0]);
    // Of one that does not say since when it is good.
    let since_ever = |seconds| Claims { issued: None, ..claims(0, seconds) };
    assert_eq!(shown("", &[with(order(), since_ever(900_000))]), ["credential.long_lived"]);
    assert_eq!(shown("", &[with(order(), since_ever(3_600))]), [""; 0]);
    assert_eq!(shown("", &[with(order(), Claims { expires: None, ..claims(0, 0) })]), ["credential.long_lived"]);
    // Who renews a token that is over.
    let renew = Call { method: "POST".into(), ..get(90, "/oauth/token/refresh") };
    assert_eq!(shown("", &[with(renew, over)]), [""; 0]);
}

#[test]
fn credentials_in_urls() {
    let url = |target: &str, place, signature| {
        let credential = Credential { place, signature, ..Credential::new(CredentialKind::ApiKey, Fingerprint(3)) };
        let sensitive = Digest { request: vec![found("url_credential")].into(), ..Digest::default() };
        Call { credential: Some(credential), sensitive, ..get(90, target) }
    };
    let key = url("/v1/orders/18?api_key=sk_l***", CredentialPlace::Query, None);
    assert_eq!(shown("", std::slice::from_ref(&key)), ["credential.in_url"]);
    let beside = url("/v1/orders/18?access_token=ey***", CredentialPlace::Header, None);
    assert_eq!(shown("", &[beside]), ["credential.in_url"]);
    assert_eq!(shown("", &[Call { status: Some(404), ..key }]), [""; 0]);
    let presigned = url("/v1/orders/18?X-Amz-Credential=AK***", CredentialPlace::Query, Some(Signature::AwsSigv4));
    assert_eq!(shown("", &[presigned]), [""; 0]);
    let in_path = Call { credential: None, ..url("/cart;jsessionid=8F14***/items", CredentialPlace::Header, None) };
    assert_eq!(shown("", &[in_path]), ["credential.in_url"]);
    let code = url("/callback?code=***&state=7", CredentialPlace::Header, None);
    assert_eq!(shown("", &[code]), [""; 0]);
}

#[test]
fn accounts_that_everybody_tries_and_passwords_in_clear() {
    let basic = |name: Option<&str>| {
        let claims = Claims { default_account: name.map(Into::into), ..Claims::default() };
        let credential =
            Credential { claims: Some(Arc::new(claims)), ..Credential::new(CredentialKind::Basic, Fingerprint(4)) };
        Call { credential: Some(credential), ..get(90, "/v1/orders/18") }
    };
    let tls = encrypted(basic(Some("admin")));
    assert_eq!(shown("", std::slice::from_ref(&tls)), ["credential.default_account"]);
    assert_eq!(shown("", &[Call { status: Some(401), ..tls }]), [""; 0]);
    assert_eq!(shown("", &[encrypted(basic(None))]), [""; 0]);
    assert_eq!(shown("", &[basic(None)]), ["credential.basic_in_clear"]);
}

#[test]
fn logins_to_accounts_that_everybody_tries() {
    let login = |path: &str, name: Option<&str>| {
        let values = RequestValues { default_account: name.map(Into::into), ..RequestValues::default() };
        let call = anonymous(get(90, path));
        Call { method: "POST".into(), request_values: Some(Arc::new(values)), ..call }
    };
    let known = login("/v1/login", Some("admin"));
    assert_eq!(shown("", std::slice::from_ref(&known)), ["credential.default_account"]);
    // The twins: refused, the form again, another account, and what is no login.
    assert_eq!(shown("", &[Call { status: Some(401), ..known.clone() }]), [""; 0]);
    let page = Message { content_type: Some("text/html".into()), ..known.response.clone() };
    assert_eq!(shown("", &[Call { response: page, ..known }]), [""; 0]);
    assert_eq!(shown("", &[login("/v1/login", None)]), [""; 0]);
    assert_eq!(shown("", &[login("/v1/profiles", Some("admin"))]), [""; 0]);
}

/// A call with a value under a name that no rule knows, and none but that.
fn keyed(client: u8, target: &str, value: u64) -> Call {
    let candidate =
        KeyCandidate { place: CredentialPlace::Header, name: "x-acme-pass".into(), fingerprint: Fingerprint(value) };
    Call { key_candidates: vec![candidate], ..anonymous(get(client, target)) }
}

/// Eight clients with such values, given by client and round, and others without, whose answers are given.
fn with_keys(value: impl Fn(u8, u64) -> u64, others: u16) -> Bench {
    let mut bench = Bench::new("");
    for round in 0..5 {
        for client in 0..8 {
            bench.call(encrypted(keyed(client, "/v1/stock/17", value(client, round))));
        }
        let stranger = encrypted(anonymous(get(60 + round as u8, "/v1/stock/17")));
        bench.call(Call { status: Some(others), ..stranger });
    }
    bench
}

#[test]
fn names_of_keys_are_learned_from_how_they_are_used() {
    let learned = |mut bench: Bench| {
        let posture = bench.practice.posture(&mut bench.detector, &Incidents::default());
        posture.traffic.learned_keys.iter().map(|key| key.name.clone()).collect::<Vec<_>>()
    };
    let own = |client: u8, _| u64::from(client);
    assert_eq!(learned(with_keys(own, 401)), ["x-acme-pass"]);
    // The twins: nobody is refused without it; all send the same; each sends another each time.
    assert_eq!(learned(with_keys(own, 200)), [""; 0]);
    assert_eq!(learned(with_keys(|_, _| 7, 401)), [""; 0]);
    assert_eq!(learned(with_keys(|client, round| 100 * round + u64::from(client), 401)), [""; 0]);
}

#[test]
fn a_learned_key_says_who_calls() {
    let own = |client: u8, _| u64::from(client);
    // Who is answered without it.
    let mut bench = with_keys(own, 401);
    bench.call(encrypted(anonymous(get(90, "/v1/stock/18"))));
    assert_eq!(bench.kinds(), ["credential.missing"]);
    assert_eq!(bench.total()[0].details, ["others send x-acme-pass"]);
    let mut bench = with_keys(own, 401);
    bench.call(encrypted(keyed(90, "/v1/stock/18", 90)));
    assert_eq!(bench.kinds(), [""; 0]);
    // Nor is who has one anonymous where others come with a token.
    let tokens = |bench: &mut Bench| {
        for client in 0..8 {
            bench.call(encrypted(get(client, "/v1/prices/17")));
        }
        bench.call(Call { status: Some(401), ..encrypted(anonymous(get(91, "/v1/prices/17"))) });
    };
    let mut bench = with_keys(own, 401);
    tokens(&mut bench);
    bench.call(encrypted(keyed(3, "/v1/prices/18", 3)));
    assert_eq!(bench.kinds(), [""; 0]);
    bench.call(encrypted(anonymous(get(92, "/v1/prices/18"))));
    assert_eq!(bench.kinds(), ["credential.missing"]);
    // In a URL it is a finding.
    let mut bench = Bench::new("");
    for round in 0..5 {
        for client in 0..8 {
            let mut call = encrypted(keyed(client, "/v1/stock/17?pass=x", u64::from(client)));
            call.key_candidates[0].place = CredentialPlace::Query;
            bench.call(call);
        }
        let stranger = encrypted(anonymous(get(60 + round, "/v1/stock/17")));
        bench.call(Call { status: Some(401), ..stranger });
    }
    assert_eq!(bench.kinds(), ["credential.in_url"]);
}

#[test]
fn flows_of_oauth() {
    let ask = |query: &str| Call {
        status: Some(302),
        ..anonymous(get(90, &format!("/oauth2/authorize?client_id=x&{query}")))
    };
    assert_eq!(shown("", &[ask("response_type=token")]), ["credential.implicit_flow"]);
    assert_eq!(shown("", &[ask("response_type=code%20id_token&state=7")]), ["credential.no_pkce"]);
    assert_eq!(shown("", &[ask("response_type=code&code_challenge=abc")]), [""; 0]);
    // The challenge may stand in a request that is not seen.
    assert_eq!(shown("", &[ask("response_type=code&request_uri=urn:ietf:params:oauth:request_uri:7")]), [""; 0]);
    assert_eq!(shown("", &[Call { status: Some(400), ..ask("response_type=token") }]), [""; 0]);
}

#[test]
fn endpoints_that_others_call_signed() {
    let signed = |client: u8, target: &str| {
        let call = get(client, target);
        let credential = call
            .credential
            .clone()
            .map(|credential| Credential { signature: Some(Signature::HttpMessage), ..credential });
        Call { credential, ..call }
    };
    let mut calls: Vec<_> = (0..5).map(|client| signed(client, "/v1/payments/7")).collect();
    assert_eq!(shown("", &calls), [""; 0]);
    calls.push(get(90, "/v1/payments/8"));
    assert_eq!(shown("", &calls), ["signature.missing"]);
    calls[5].status = Some(401);
    assert_eq!(shown("", &calls), [""; 0]);
    // One client that signs what nobody asks it to.
    let calls: Vec<_> = (0..6).map(|_| signed(1, "/v1/payments/7")).chain([get(90, "/v1/payments/8")]).collect();
    assert_eq!(shown("", &calls), [""; 0]);
}

#[test]
fn ways_on_which_everything_is_to_be_encrypted() {
    let settings = "[practice]\nencrypted = [\"10.1.0.0/16 -> 10.2.0.0/16\"]";
    let inside = |call: Call| Call { client: Peer { ip: address("10.1.0.7"), port: 1 }, ..call };
    let clear = inside(get(90, "/v1/orders/18"));
    assert_eq!(shown(settings, std::slice::from_ref(&clear)), ["transport.clear_across_boundary"]);
    assert_eq!(shown("", std::slice::from_ref(&clear)), [""; 0]);
    assert_eq!(shown(settings, &[encrypted(clear.clone())]), [""; 0]);
    assert_eq!(shown(settings, &[anonymous(inside(get(90, "/health")))]), [""; 0], "nothing that matters");
    let login = Call { method: "POST".into(), ..anonymous(inside(get(90, "/v1/login"))) };
    assert_eq!(shown(settings, &[login]), ["transport.clear_across_boundary"]);
    assert_eq!(
        shown(settings, &[giving(anonymous(inside(get(90, "/health"))), "iban")]),
        ["transport.clear_across_boundary"]
    );
}

#[test]
fn who_reaches_a_service_around_the_gateway() {
    let settings = "[gateway]\naddresses = [\"10.0.0.5\"]\nexempt = [\"10.0.9.0/24\"]";
    let from = |client: &str, server: &str| Call {
        client: Peer { ip: address(client), port: 1 },
        server: Peer { ip: address(server), port: 8080 },
        ..get(90, "/v1/orders/18")
    };
    let mut bench = Bench::new(settings);
    bench.call(from("10.0.7.7", "10.3.0.1"));
    assert!(bench.told.is_empty(), "nobody knows yet that it is behind a gateway");
    bench.call(from("10.0.0.5", "10.3.0.1"));
    assert_eq!(bench.told.len(), 1);
    let told = &bench.total()[0];
    assert_eq!((told.kind, told.count), (Kind::GatewayBypass, 1));
    assert_eq!(told.about.as_deref(), Some("server 10.3.0.1:8080"));
    assert_eq!(told.clients, [address("10.0.7.7")]);
    // Its twins: the gateway's own calls, a health check, who calls the gateway itself, and what is behind no gateway.
    let honest = [
        from("10.0.0.5", "10.3.0.1"),
        from("10.0.9.1", "10.3.0.1"),
        from("10.0.7.7", "10.0.0.5"),
        from("10.0.7.7", "10.4.0.1"),
    ];
    assert_eq!(shown(settings, &honest), [""; 0]);

    // A connection that keeps what is in it reaches a server as well.
    let mut bench = Bench::new(settings);
    bench.call(from("10.0.0.5", "10.3.0.1"));
    let connection = Connection {
        client: Peer { ip: address("10.0.7.7"), port: 1 },
        server: Peer { ip: address("10.3.0.1"), port: 8080 },
        received: Traffic { segments: 3, bytes: 900, turns: 1 },
        tls: Some(Arc::new(Tls { server_name: Some("orders.example".into()), ..Tls::default() })),
        ..Connection::default()
    };
    bench.practice.connection(&connection, &mut bench.told);
    assert_eq!(bench.kinds(), ["gateway.bypass"]);
}

#[test]
fn what_services_do_at_third_parties() {
    let outbound = |call: Call| Call {
        client: Peer { ip: address("10.2.0.9"), port: 1 },
        server: Peer { ip: address("203.0.113.4"), port: 443 },
        host: Some("api.partner.example".into()),
        ..call
    };
    let plain = outbound(anonymous(get(90, "/v2/rates")));
    assert_eq!(shown("", std::slice::from_ref(&plain)), ["outbound.clear"]);
    assert_eq!(shown("", &[encrypted(plain.clone())]), [""; 0]);
    // The estate may be larger than the private networks.
    assert_eq!(
        shown("[practice]\nestate = [\"10.0.0.0/8\", \"203.0.113.0/24\"]", std::slice::from_ref(&plain)),
        [""; 0]
    );

    let redirect = |to: &str| {
        let fields = ResponseFields { redirects_to: Some(to.into()), ..ResponseFields::default() };
        Call { status: Some(302), response_fields: Some(Box::new(fields)), ..encrypted(plain.clone()) }
    };
    assert_eq!(shown("", &[redirect("https://collect.evil.example")]), ["outbound.redirect"]);
    assert_eq!(shown("", &[redirect("https://eu.api.partner.example")]), [""; 0]);

    let mut sending = encrypted(plain.clone());
    sending.sensitive.request = vec![found("private_key")].into();
    assert_eq!(shown("", std::slice::from_ref(&sending)), ["outbound.secret"]);
    sending.sensitive.request = vec![found("email")].into();
    assert_eq!(shown("", &[sending]), [""; 0]);
}

#[test]
fn a_finding_is_told_once_and_when_it_has_grown_tenfold() {
    let mut bench = Bench::new("");
    let clear = || {
        let credential = Credential::new(CredentialKind::Basic, Fingerprint(4));
        Call {
            credential: Some(credential),
            client: Peer { ip: address("10.1.1.1"), port: 1 },
            ..get(1, "/v1/orders/18")
        }
    };
    for _ in 0..250 {
        bench.call(clear());
    }
    let told: Vec<_> = bench.told.iter().map(|finding| (finding.state, finding.count)).collect();
    assert_eq!(told, [(State::New, 1), (State::Update, 10), (State::Update, 100)]);
    assert_eq!(bench.practice.counters().value(Counter::Findings), 3);
    let total = &bench.total()[0];
    assert_eq!((total.count, total.examples.len(), total.client_count), (250, 3, 1));
    let text = serde_json::to_string(total).expect("plain data");
    assert!(
        text.contains(r#""schema":"apitap.finding.v1","state":"total","kind":"credential.basic_in_clear""#),
        "{text}"
    );
    assert_eq!(&serde_json::from_str::<Finding>(&text).expect("what was written"), total);
}

#[test]
fn findings_about_templates_that_become_one_become_one() {
    let mut bench = Bench::new("");
    let drawn = |one: u64, two: u64, below: u64| HashKey::default().pair(one, two) % below;
    let word =
        |number: u64| -> String { (0..9).map(|place| char::from(b'a' + drawn(number, place, 26) as u8)).collect() };
    for call in 0..400 {
        let product = word(1_000 + drawn(call, 20, 30));
        let mut get = encrypted(get(drawn(call, 21, 20) as u8, &format!("/v1/products/{product}")));
        get.response.body_bytes = 900 + drawn(call, 22, 200);
        // Not a finding that is an alert as well: who is accused teaches no templates.
        bench.call(with(get, Claims { default_account: Some("admin".into()), ..Claims::default() }));
    }
    let total = bench.total();
    assert_eq!(total.len(), 1, "{:?}", total.iter().map(|finding| &finding.endpoint).collect::<Vec<_>>());
    assert_eq!(total[0].count, 400);
    assert!(total[0].endpoint.as_deref().is_some_and(|endpoint| endpoint.contains('{')), "{:?}", total[0].endpoint);
}

#[test]
fn what_has_no_room_is_counted() {
    let mut bench = Bench::new("[practice]\nfindings = 4\nendpoints = 2\nservers = 2");
    for number in 0..20 {
        let credential =
            Credential { signature: Some(Signature::Other), ..Credential::new(CredentialKind::Basic, Fingerprint(4)) };
        bench.call(Call { credential: Some(credential), ..get(1, &format!("/area{number}x/list")) });
    }
    assert_eq!(bench.total().len(), 4);
    assert_eq!(bench.practice.counters().value(Counter::FindingsForgotten), 16);
    assert_eq!(bench.practice.counters().value(Counter::PracticeForgotten), 18);
}

#[test]
fn quotas_that_are_exceeded_and_nearly() {
    let settings = "[[quota]]\nname = \"few\"\nper = [\"client\", \"service\"]\nclients = [\"198.51.100.90\"]\nwindow = \"hour\"\ncalls = 10";
    let calls = |count: usize| vec![get(90, "/v1/orders/18"); count];
    assert_eq!(shown(settings, &calls(8)), [""; 0]);
    assert_eq!(shown(settings, &calls(10)), ["quota.near"]);
    assert_eq!(shown(settings, &calls(12)), ["quota.breach", "quota.near"]);
    // Refused ones do not count, and others are not of the group.
    let mut refused = calls(12);
    refused.iter_mut().skip(8).for_each(|call| call.status = Some(429));
    assert_eq!(shown(settings, &refused), [""; 0]);
    assert_eq!(shown(settings, &vec![get(91, "/v1/orders/18"); 30]), [""; 0]);
    let mut bench = Bench::new(settings);
    calls(12).into_iter().for_each(|call| {
        bench.call(call);
    });
    let breach = &bench.total()[0];
    assert_eq!((breach.kind, breach.count, breach.service.as_str()), (Kind::QuotaBreach, 2, "shop.example"));
    assert_eq!(breach.about.as_deref(), Some("quota few, client 198.51.100.90"));
    assert_eq!(breach.details, ["10 calls in a hour"]);
}

#[test]
fn quotas_by_credential_tell_those_without_one_apart_and_hosts_have_no_case() {
    let quota =
        "[[quota]]\nname = \"q\"\nper = [\"credential\"]\nservices = [\"Shop.Example\"]\nwindow = \"hour\"\ncalls = 10";
    let crowd: Vec<_> = (0..40).map(|client| get(60 + client, "/v1/orders/18")).collect();
    assert_eq!(shown(quota, &crowd), [""; 0], "many with a call each");
    assert!(shown(quota, &vec![get(90, "/v1/orders/18"); 12]).contains(&"quota.breach"), "one with many");
}

#[test]
fn endpoints_of_quotas_are_understood_as_specifications_write_them() {
    let quota = |endpoint: &str| {
        format!("[[quota]]\nname = \"q\"\nendpoints = [\"{endpoint}\"]\nwindow = \"hour\"\ncalls = 10")
    };
    let calls = vec![get(90, "/v1/orders/18"); 12];
    for endpoint in ["GET /v1/orders/{id}", "get /v1/orders/{orderId}"] {
        assert!(shown(&quota(endpoint), &calls).contains(&"quota.breach"), "{endpoint}");
    }
    assert_eq!(shown(&quota("POST /v1/orders/{id}"), &calls), [""; 0]);
    let refused = |text: &str| {
        let settings: crate::settings::Settings = toml::from_str(text).expect("a document");
        settings.check().expect_err("it cannot limit anything")
    };
    assert!(refused(&quota("GET /v1/*")).contains("is a pattern"));
    let quota = "[[quota]]\nname = \"q\"\nwindow = \"hour\"\ncalls = 10\n";
    assert!(refused(&format!("{quota}{quota}")).contains("two quotas are called q"));
    assert!(refused("[[quota]]\nname = \"q\"\nwindow = \"hour\"\ncalls = 0").contains("`calls`"));
    assert!(refused("[[quota]]\nname = \"q\"\nwindow = \"hour\"\nseconds = -1.0").contains("`seconds`"));
}

#[test]
fn quotas_of_bytes_seconds_and_objects() {
    let quota = |limit: &str| format!("[[quota]]\nname = \"q\"\nper = [\"credential\"]\nwindow = \"day\"\n{limit}");
    let slow = Call {
        credential: Some(Credential::new(CredentialKind::ApiKey, Fingerprint(777))),
        response_time: Some(begin() + Duration::from_secs(12)),
        ..get(90, "/v1/orders/18")
    };
    let calls: Vec<_> = (0..5).map(|number| Call { path: format!("/v1/orders/{number}"), ..slow.clone() }).collect();
    for (limit, over, within) in [("bytes", 1_400, 2_000), ("seconds", 1, 60), ("objects", 4, 9)] {
        assert!(shown(&quota(&format!("{limit} = {over}")), &calls).contains(&"quota.breach"), "{limit}");
        assert_eq!(shown(&quota(&format!("{limit} = {within}")), &calls), [""; 0], "{limit}");
    }
}

#[test]
fn clients_that_hover_just_below_a_quota() {
    let settings = "[[quota]]\nname = \"few\"\nwindow = \"minute\"\ncalls = 10";
    let kinds = |each: usize| {
        let mut bench = Bench::new(settings);
        for _ in 0..8 {
            let minute = bench.now.nanos().div_euclid(60_000_000_000) + 1;
            bench.now = Timestamp::from_nanos(minute * 60_000_000_000);
            for _ in 0..each {
                bench.call(get(90, "/v1/orders/18"));
            }
        }
        bench.kinds()
    };
    assert_eq!(kinds(10), ["quota.hovering", "quota.near"]);
    assert_eq!(kinds(7), [""; 0]);
    assert!(!kinds(12).contains(&"quota.hovering"), "who exceeds it does not stay below");
    // What is near may be said otherwise.
    let settings = "[[quota]]\nname = \"few\"\nwindow = \"minute\"\ncalls = 10\nnear = 0.7";
    let mut bench = Bench::new(settings);
    for _ in 0..7 {
        bench.call(get(90, "/v1/orders/18"));
    }
    assert_eq!(bench.kinds(), ["quota.near"]);
}

#[test]
fn quotas_of_servers_that_are_called_by_their_addresses() {
    let quota =
        |service: &str| format!("[[quota]]\nname = \"q\"\nservices = [{service:?}]\nwindow = \"day\"\ncalls = 3");
    let calls: Vec<_> = (0..5).map(|_| Call { host: None, ..get(90, "/v1/orders/18") }).collect();
    assert_eq!(shown(&quota("10.2.0.1"), &calls), ["quota.breach", "quota.near"]);
    assert_eq!(shown(&quota("10.2.0.9"), &calls), [""; 0]);
}

#[test]
fn clients_that_do_not_wait_when_they_are_told_to() {
    let told = |seconds| {
        let fields = ResponseFields { retry_after: Some(seconds), ..ResponseFields::default() };
        Call { status: Some(429), response_fields: Some(Box::new(fields)), ..get(90, "/v1/orders/18") }
    };
    let mut calls = vec![told(60)];
    calls.extend(vec![get(90, "/v1/orders/18"); 5]);
    assert_eq!(shown("", &calls), ["quota.retry_ignored"]);
    // A key that others have as well: they were not told.
    let shared = |call| Call { credential: get(7, "/").credential, ..call };
    let mut of_many = vec![shared(told(60))];
    of_many.extend((91..99).map(|client| shared(get(client, "/v1/orders/18"))));
    assert_eq!(shown("", &of_many), [""; 0]);
    of_many.extend(vec![shared(get(90, "/v1/orders/18")); 5]);
    assert_eq!(shown("", &of_many), ["quota.retry_ignored"]);
    // Others go on, and so may who was told to wait for a moment, or was not told for how long.
    calls.iter_mut().skip(1).for_each(|call| *call = get(91, "/v1/orders/18"));
    assert_eq!(shown("", &calls), [""; 0]);
    let mut calls = vec![told(1)];
    calls.extend(vec![get(90, "/v1/orders/18"); 5]);
    assert_eq!(shown("", &calls), [""; 0]);
    let mut calls = vec![Call { status: Some(429), ..get(90, "/v1/orders/18") }];
    calls.extend(vec![get(90, "/v1/orders/18"); 5]);
    assert_eq!(shown("", &calls), [""; 0]);
}

#[test]
fn who_is_refused_again_and_again_without_a_pause() {
    let refused = || Call { status: Some(429), ..get(90, "/v1/orders/18") };
    // Each call began so long after the first, and took so long, in milliseconds.
    let kinds = |calls: &[(u64, u64, Call)]| {
        let mut bench = Bench::new("");
        for client in 0..8 {
            bench.call(get(client, "/v1/orders/17"));
        }
        let begin = bench.now + Duration::from_secs(1);
        for (after, took, call) in calls {
            let began = begin + Duration::from_millis(*after);
            let end = began + Duration::from_millis(*took);
            bench.position += 1;
            let call = Call { request_time: Some(began), end_time: end, position: bench.position, ..call.clone() };
            let Bench { detector, practice, told, alerts, .. } = &mut bench;
            detector.judge_call(&call, alerts, |call, judged| practice.take(call, judged, told));
        }
        bench.kinds()
    };
    let every = |pause: u64| (0..40).map(|number| (number * pause, 50, refused())).collect::<Vec<_>>();
    assert_eq!(kinds(&every(200)), ["quota.retry_ignored"]);
    assert_eq!(kinds(&every(1_500)), [""; 0], "who waits has heard it");
    // What was under way when the first was refused did not know of it.
    let at_once: Vec<_> = (0..40).map(|number| (number, 300 + 10 * number, refused())).collect();
    assert_eq!(kinds(&at_once), [""; 0]);
    // Several at a time, again and again, and good answers elsewhere in between.
    let several: Vec<_> = (0..60).map(|number| (number * 100, 350, refused())).collect();
    assert_eq!(kinds(&several), ["quota.retry_ignored"]);
    let mut between = every(200);
    (0..40).step_by(2).for_each(|place| between[place].2 = get(90, "/health"));
    between.extend((40..80).map(|number| (number * 200, 50, refused())));
    assert_eq!(kinds(&between), ["quota.retry_ignored"]);
}
