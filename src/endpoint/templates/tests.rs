//! Estates of all sorts, lone clients, scans, catch-alls, hostile paths, limits.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::endpoint::EndpointId;

const HOST: &str = "api.example";

/// Templates, and a clock that goes on by a second a call.
struct Learner {
    templates: Templates,
    seconds: u64,
    merged: Vec<Merged>,
}

impl Learner {
    fn new() -> Learner {
        Learner::with(Settings::default())
    }

    fn with(settings: Settings) -> Learner {
        Learner { templates: Templates::new(settings, HashKey::default()), seconds: 1_000_000, merged: Vec::new() }
    }

    fn call(&mut self, method: &str, path: &str, client: u64, length: u64) {
        self.seconds += 1;
        let time = Timestamp::from_parts(self.seconds, 0);
        let client = HashKey::default().pair(client, 0);
        self.learn(Success { host: HOST, path, method, client, time, length, page: false });
    }

    fn page(&mut self, path: &str, client: u64, length: u64) {
        self.seconds += 1;
        let time = Timestamp::from_parts(self.seconds, 0);
        let client = HashKey::default().pair(client, 0);
        self.learn(Success { host: HOST, path, method: "GET", client, time, length, page: true });
    }

    fn learn(&mut self, success: Success<'_>) {
        self.merged.extend(self.templates.learn(&success));
    }

    fn get(&mut self, path: &str, client: u64, length: u64) {
        self.call("GET", path, client, length);
    }

    fn settled(mut self) -> Vec<String> {
        self.merged.extend(self.templates.settle());
        self.templates.endpoints().map(|entry| format!("{} {}", entry.method, entry.template)).collect()
    }

    fn place(&self, path: &str) -> Place {
        let mut place = Place::default();
        self.templates.place(&mut place, Some(HOST), path);
        place
    }
}

/// A number that depends on two others as if drawn.
fn drawn(one: u64, two: u64, below: u64) -> u64 {
    HashKey::default().pair(one, two) % below
}

/// Two lower-case words that depend on a number.
fn slug(number: u64) -> String {
    let word = |salt: u64| -> String {
        (0..6).map(|place| char::from(b'a' + drawn(number * 10 + salt, place, 26) as u8)).collect()
    };
    format!("{}-{}", word(0), word(1))
}

#[test]
fn shapes_are_parameters_at_once_and_known_paths_are_known() {
    let mut learner = Learner::new();
    assert_eq!(learner.place("/v1/orders/12").template, "/v1/orders/{id}");
    assert!(!learner.place("/v1/orders/12").known);
    learner.get("/v1/orders/12", 1, 300);
    learner.get("/v1/orders/3f2504e0-4f89-11d3-9a0c-0305e82c3301", 1, 300);
    learner.call("HEAD", "/v1/orders/14", 2, 0);
    let place = learner.place("//v1/%6Frders/99/");
    assert_eq!((place.template.as_str(), place.known, place.parameterised), ("/v1/orders/{id}", true, true));
    assert!(!learner.place("/v1/orders/99/items").known);
    let entries: Vec<_> = learner.templates.endpoints().collect();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((entry.method, entry.successes, entry.clients), ("GET", 3, 2));
    let parameter = entry.parameters.first().expect("one");
    assert_eq!(parameter.kinds().collect::<Vec<_>>(), [Kind::Int, Kind::Uuid]);
    assert_eq!(parameter.values, 3);
}

#[test]
fn slugs_of_several_clients_merge_and_the_caller_is_told() {
    let mut learner = Learner::new();
    for call in 0..400 {
        learner.get(
            &format!("/v1/products/{}", slug(drawn(call, 0, 30))),
            drawn(call, 1, 20),
            900 + drawn(call, 2, 200),
        );
        learner.get("/v1/products", drawn(call, 1, 20), 12_000);
        learner.get("/v1/products/search", drawn(call, 3, 20), 12_000 + drawn(call, 4, 9_000));
    }
    let place = learner.place("/v1/products/never-seen-before");
    assert_eq!((place.template.as_str(), place.known), ("/v1/products/{id}", true));
    let moves: Vec<_> = learner.merged.iter().flat_map(|merged| &merged.moves).collect();
    assert!(moves.iter().all(|one| one.to == "/v1/products/{id}" && one.method == "GET"), "{moves:?}");
    assert!(moves.len() >= 8 && moves.iter().all(|one| one.from.starts_with("/v1/products/")), "{moves:?}");
    let key = HashKey::default();
    let one = moves.first().expect("a move");
    assert_eq!(EndpointId::of_template(&key, HOST, &one.to, "GET"), EndpointId::of(&key, &place, "HEAD"));
    assert_eq!(learner.settled(), ["GET /v1/products", "GET /v1/products/search", "GET /v1/products/{id}"]);
}

#[test]
fn subtrees_of_merged_words_merge_too() {
    let mut learner = Learner::new();
    for call in 0..2_000 {
        let user = slug(drawn(call, 0, 60));
        let client = drawn(call, 1, 50);
        learner.get(&format!("/users/{user}"), client, 400 + drawn(call, 2, 30));
        if drawn(call, 3, 2) == 0 {
            learner.get(&format!("/users/{user}/posts"), client, drawn(call, 4, 20_000));
            learner.call("POST", &format!("/users/{user}/follow"), client, 12);
        }
    }
    let expected = ["GET /users/{id}", "POST /users/{id}/follow", "GET /users/{id}/posts"];
    assert_eq!(learner.settled(), expected);
}

#[test]
fn twenty_sibling_endpoints_stay_words() {
    for (prefix, same_length) in [("/v1", true), ("/api/v2", false), ("/v1", false), ("/admin", false), ("", true)] {
        let mut learner = Learner::new();
        let mut expected = BTreeSet::new();
        for call in 0..4_000 {
            let number = drawn(call, 0, 20);
            let length = if same_length { 100 } else { 50 << (number % 10) };
            let path = format!("{prefix}/{}", slug(number));
            let client = drawn(call, 1, 40);
            expected.insert(format!("GET {path}"));
            learner.get(&path, client, length);
            if number.is_multiple_of(2) {
                expected.insert(format!("GET {path}/{{id}}"));
                learner.get(&format!("{path}/{call}"), client, length);
            }
            if number.is_multiple_of(3) {
                expected.insert(format!("POST {path}"));
                learner.call("POST", &path, client, 20);
            }
        }
        assert_eq!(learner.settled().into_iter().collect::<BTreeSet<_>>(), expected, "{prefix} {same_length}");
    }
}

#[test]
fn resources_with_the_same_operations_stay_words() {
    let mut learner = Learner::new();
    for call in 0..3_000 {
        let resource = slug(drawn(call, 0, 15));
        let operation = ["list", "create", "remove"].get(drawn(call, 2, 3) as usize).copied().unwrap_or_default();
        learner.get(&format!("/admin/{resource}/{operation}"), drawn(call, 1, 30), 60 << drawn(call, 0, 9));
    }
    assert_eq!(learner.settled().len(), 45);
}

#[test]
fn a_wiki_is_one_page() {
    let mut learner = Learner::new();
    for call in 0..6_000 {
        let title = slug(drawn(call, 0, 70) * drawn(call, 5, 70));
        learner.get(&format!("/wiki/{title}"), drawn(call, 1, 300), 2_000 + drawn(call, 2, 9) * drawn(call, 3, 9_000));
    }
    learner.get("/wiki/Caf%C3%A9", 1, 2_000);
    assert_eq!(learner.settled(), ["GET /wiki/{id}"]);
}

/// Below one folder they are taken for one parameter, right behind the host they stay if readers read most of them.
#[test]
fn a_site_of_200_fixed_pages() {
    let mut learner = Learner::new();
    let mut root = Learner::new();
    for call in 0..8_000 {
        let (page, client) = (slug(drawn(call, 0, 200)), drawn(call, 1, 12));
        let length = 100 << drawn(drawn(call, 0, 200), 3, 9);
        learner.get(&format!("/pages/{page}.html"), drawn(call, 1, 400), length);
        root.get(&format!("/{page}.html"), client, length);
    }
    assert_eq!(learner.settled(), ["GET /pages/{id}"]);
    assert_eq!(root.settled().len(), 200);
}

#[test]
fn nested_names_merge_level_by_level() {
    let mut learner = Learner::new();
    for call in 0..6_000 {
        let owner = drawn(call, 0, 150);
        let path = format!("/{}/{}", slug(owner), slug(1_000 + owner * 3 + drawn(call, 2, 3)));
        let client = drawn(call, 1, 200);
        match drawn(call, 4, 3) {
            0 => learner.get(&path, client, 3_000 + drawn(call, 5, 40_000)),
            1 => learner.get(&format!("{path}/issues"), client, 3_000 + drawn(call, 5, 40_000)),
            _ => learner.get(&format!("{path}/issues/{}", drawn(call, 6, 900)), client, drawn(call, 5, 40_000)),
        }
        learner.get("/login", client, 900);
        learner.get("/settings/profile", client, 900);
    }
    let expected = [
        "GET /login",
        "GET /settings/profile",
        "GET /{id}/{id}",
        "GET /{id}/{id}/issues",
        "GET /{id}/{id}/issues/{id}",
    ];
    assert_eq!(learner.settled(), expected);
}

#[test]
fn versions_languages_files_and_graphql() {
    let mut learner = Learner::new();
    for call in 0..3_000 {
        let client = drawn(call, 1, 60);
        let language = ["en", "de", "fr", "pt-BR", "ja"].get(drawn(call, 0, 5) as usize).copied().unwrap_or_default();
        learner.get(&format!("/{language}/products"), client, 4_000 + drawn(call, 2, 400));
        learner.get(&format!("/{language}/about"), client, 2_000);
        learner.call("POST", "/graphql", client, drawn(call, 3, 9_000));
        learner.get(&format!("/v{}/orders/{}", 1 + call % 2, drawn(call, 4, 900)), client, 700);
        learner.get(&format!("/files/{}.pdf", slug(drawn(call, 5, 400))), client, drawn(call, 6, 1 << 20));
        learner.get(&format!("/static/app.{:016x}.js", drawn(call, 7, 1 << 60)), client, 90_000);
    }
    let expected = [
        "GET /files/{id}",
        "POST /graphql",
        "GET /static/{id}",
        "GET /v1/orders/{id}",
        "GET /v2/orders/{id}",
        "GET /{id}/about",
        "GET /{id}/products",
    ];
    assert_eq!(learner.settled(), expected);
}

#[test]
fn one_client_alone_collapses_and_creates_little() {
    let mut learner = Learner::new();
    for number in 0..5_000 {
        learner.get(&format!("/products/{}", slug(number)), 1, 400 + drawn(number, 1, 4_000));
    }
    assert!(learner.templates.nodes() <= 260, "{}", learner.templates.nodes());
    assert!(learner.templates.tallies().refused >= 4_700);
    let merged: usize = learner.merged.iter().map(|merged| merged.moves.len()).sum();
    assert!(merged <= 7, "{:?}", learner.merged);
    assert_eq!(learner.place("/products/another-one").template, "/products/another-one");
    // Another's calls are not in its way, and who learns of nothing new is not refused.
    learner.get("/orders", 2, 10);
    learner.get("/orders", 1, 10);
    assert!(learner.place("/orders").known);
}

#[test]
fn a_server_that_answers_everything_is_a_catch_all() {
    let mut learner = Learner::new();
    for call in 0..300 {
        learner.get("/api/session", call % 9, 80 + call % 7);
        learner.get("/index.html", call % 9, 5_120);
    }
    for number in 0..1_000 {
        let path = match number % 3 {
            0 => format!("/{}", slug(number)),
            1 => format!("/{}.php", slug(number)),
            _ => format!("/{}/{}", slug(number), slug(number + 1)),
        };
        learner.get(&path, 77, 5_120);
    }
    let told = learner.merged.iter().find(|merged| merged.catch_all).expect("it is recognised");
    assert!(told.moves.len() >= 24 && told.moves.iter().all(|one| one.to == "/{rest}"));
    let place = learner.place("/no/such/path");
    assert_eq!((place.template.as_str(), place.catch_all, place.known), ("/{rest}", true, true));
    assert!(!learner.place("/api/session").catch_all);
    // What is answered otherwise is an endpoint.
    learner.get("/report", 3, 777);
    assert_eq!(learner.place("/report").template, "/report");
    assert_eq!(learner.settled(), ["GET /api/session", "GET /index.html", "GET /report", "GET /{rest}"]);
}

#[test]
fn the_same_below_all_words_is_a_parameter_and_no_catch_all() {
    // One word a client, and all answers of one length: what is asked for below tells what they are.
    for (below, expected) in [
        (&["/menu"][..], &["GET /shops/{id}/menu"][..]),
        (&["", "/posts"], &["GET /shops/{id}", "GET /shops/{id}/posts"]),
        (
            &["/menu", "/hours", "/photos/12"],
            &["GET /shops/{id}/hours", "GET /shops/{id}/menu", "GET /shops/{id}/photos/{id}"],
        ),
    ] {
        let mut learner = Learner::new();
        for number in 0..80 {
            for suffix in below {
                learner.get(&format!("/shops/{}{suffix}", slug(number)), number, 9);
            }
        }
        assert!(learner.merged.iter().all(|merged| !merged.catch_all), "{below:?}");
        assert_eq!(learner.settled(), expected, "{below:?}");
    }
    let mut learner = Learner::new();
    for number in 0..80 {
        learner.call("POST", &format!("/items/{number}:cancel"), number, 9);
        learner.get(&format!("/odata/Items({number})/Name"), number, 9);
    }
    assert_eq!(learner.settled(), ["POST /items/{id}", "GET /odata/{id}/Name"]);
}

#[test]
fn an_application_of_one_page_is_a_catch_all() {
    let words: Vec<_> = (0..24).map(slug).collect();
    let mut learner = Learner::new();
    for call in 0..3_000 {
        let word = |salt: u64| words[drawn(call, salt, 24) as usize].as_str();
        let client = drawn(call, 9, 100);
        let deep = if drawn(call, 4, 2) == 0 { format!("/{}", word(3)) } else { String::new() };
        learner.page(&format!("/{}/{}{}{deep}", word(1), word(2), drawn(call, 5, 9)), client, 812);
        learner.page("/", client, 812);
        // What is there still is not sent again.
        learner.get(&format!("/{}/{}", word(7), word(8)), client, 0);
        // What it fetches, and what is asked for below the same word, stays.
        learner.get("/api/session", client, 90 + drawn(call, 6, 9));
        learner.get(&format!("/{}/data.json", words[0]), client, 700);
        learner.call("POST", &format!("/{}/login", words[1]), client, 0);
    }
    let place = learner.place("/never/seen");
    assert_eq!((place.template.as_str(), place.catch_all), ("/{rest}", true));
    let (one, two) = (&words[0], &words[1]);
    let mut expected = vec![
        "GET /".to_owned(),
        "GET /api/session".to_owned(),
        format!("GET /{one}/data.json"),
        format!("GET /{one}/{{rest}}"),
        format!("POST /{two}/login"),
        format!("GET /{two}/{{rest}}"),
        "GET /{rest}".to_owned(),
    ];
    expected.sort_by_key(|line| line.split_once(' ').map(|(method, path)| (path.to_owned(), method.to_owned())));
    assert_eq!(learner.settled(), expected);
}

#[test]
fn pages_of_many_lengths_are_pages() {
    let mut learner = Learner::new();
    for call in 0..3_000 {
        let page = drawn(call, 0, 30);
        let path = format!("/{}/{}", slug(page % 6), slug(page));
        learner.page(&path, drawn(call, 1, 60), 2_000 + 611 * page);
        // One page for the objects of one place, which says nothing of the others.
        learner.page(&format!("/shops/{}/menu", slug(1_000 + call % 300)), call % 300, 512);
    }
    assert!(learner.merged.iter().all(|merged| !merged.catch_all));
    assert!(learner.settled().contains(&"GET /shops/{id}/menu".to_owned()));
}

#[test]
fn bad_methods_and_hostile_paths_teach_little_and_harm_nobody() {
    let mut learner = Learner::new();
    for method in ["OPTIONS", "TRACE", "CONNECT"] {
        learner.call(method, "/a", 1, 10);
    }
    assert_eq!(learner.templates.endpoints().count(), 0);
    let hostile = [
        "/a".repeat(10_000),
        format!("/{}", "x".repeat(64 << 10)),
        "/%2e%2e/%2E%2e/etc/passwd".to_owned(),
        "//;a=1//;;b//".to_owned(),
        format!("/{}", "%".repeat(9_999)),
        "/{id}/{rest}".to_owned(),
        "/\u{1b}[2J\u{0}/é".to_owned(),
        "*".to_owned(),
        String::new(),
    ];
    for path in &hostile {
        learner.get(path, 1, 10);
        let place = learner.place(path);
        assert!(place.known && place.template.len() < 2_000, "{path:.40} {}", place.template);
        assert!(!place.template.chars().any(char::is_control));
    }
    let mut methods = Learner::new();
    for number in 0..100 {
        methods.call(&format!("M{number}"), "/a", 1, 10);
    }
    assert_eq!(methods.templates.endpoints().count(), Settings::default().methods);
}

#[test]
fn memory_is_bounded_and_what_is_used_stays() {
    let settings = Settings { nodes: 500, children: 40, hosts: 20, ..Settings::default() };
    let mut learner = Learner::with(settings);
    for call in 0..20_000u64 {
        learner.get("/v1/used", call % 5, 30);
        // Each path from a client of its own, of every size, and at many depths.
        let path = format!("/v1/{}/{}", slug(drawn(call, 0, 90)), slug(call));
        learner.get(&path, call, 1 + drawn(call, 1, 1 << 30));
        assert!(learner.templates.nodes() <= 501, "{}", learner.templates.nodes());
    }
    assert!(learner.templates.tallies().evicted > 1_000);
    assert!(learner.place("/v1/used").known);
    for number in 0..200 {
        let host = format!("h{number}.example");
        let success = Success {
            host: &host,
            path: "/",
            method: "GET",
            client: number,
            time: Timestamp::ZERO,
            length: 1,
            page: false,
        };
        learner.templates.learn(&success);
    }
    let hosts: BTreeSet<_> = learner.templates.endpoints().map(|entry| entry.host.to_owned()).collect();
    assert!(hosts.len() <= 20, "{hosts:?}");
}

#[test]
fn a_state_that_lies_is_refused() {
    let mut learner = Learner::new();
    learner.get("/a/b/1", 1, 10);
    let good = serde_json::to_value(&learner.templates).expect("plain data");
    assert!(serde_json::from_value::<Templates>(good.clone()).is_ok());
    let nodes = |change: fn(&mut serde_json::Value)| {
        let mut bad = good.clone();
        change(&mut bad["tree"]["nodes"]);
        serde_json::from_value::<Templates>(bad).is_err()
    };
    assert!(nodes(|nodes| nodes[2]["words"] = serde_json::json!([1])), "a circle");
    assert!(nodes(|nodes| nodes[2]["words"] = serde_json::json!([99])), "nowhere");
    assert!(nodes(|nodes| nodes[0]["words"] = serde_json::json!([])), "out of reach");
    assert!(nodes(|nodes| nodes[3]["label"] = serde_json::json!("rest")), "another sort");
}

/// Calls of a small estate with everything in it.
fn calls() -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
    prop::collection::vec((0u64..12, 0u64..60, 0u64..8), 0..600)
}

fn play(learner: &mut Learner, calls: &[(u64, u64, u64)]) {
    for &(sort, number, client) in calls {
        let (path, length) = match sort {
            0..=3 => (format!("/shop/items/{}", slug(number)), 500 + number),
            4 => (format!("/shop/items/{number}/parts"), 80 * number),
            5 => (format!("/users/{}/posts/{}", slug(number), slug(number + 1)), 900 + number),
            6 => (format!("/users/{}", slug(number)), 900 + number),
            7 => (format!("/x/{}", slug(number * client)), 4_242),
            8 => (format!("/v1/{}", slug(number % 9)), 10 * number),
            _ => (format!("/v1/{}/{}", slug(number % 9), number), 10 * number),
        };
        let method = if sort == 9 { "POST" } else { "GET" };
        learner.call(method, &path, client, length);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn stopped_and_restored_it_learns_the_same(calls in calls(), cut in 0usize..600) {
        let (before, after) = calls.split_at(cut.min(calls.len()));
        let mut whole = Learner::new();
        play(&mut whole, &calls);
        let mut parts = Learner::new();
        play(&mut parts, before);
        let text = serde_json::to_string(&parts.templates).expect("plain data");
        parts.templates = serde_json::from_str(&text).expect("what was written reads back");
        play(&mut parts, after);
        prop_assert_eq!(&parts.merged, &whole.merged);
        let state = |learner: &Learner| serde_json::to_string(&learner.templates).expect("plain data");
        prop_assert_eq!(state(&parts), state(&whole));
    }

    /// Following the merges from the first template of every call leads to the template that it has now.
    #[test]
    fn merges_tell_every_change(calls in calls()) {
        let mut learner = Learner::new();
        let mut known = BTreeSet::new();
        for call in &calls {
            let told = learner.merged.len();
            play(&mut learner, std::slice::from_ref(call));
            for merged in learner.merged.iter().skip(told) {
                for one in &merged.moves {
                    // The call that led to the merge may have been the first of its template.
                    known.remove(&(one.from.clone(), one.method.clone()));
                    known.insert((one.to.clone(), one.method.clone()));
                }
            }
            let now: BTreeSet<_> =
                learner.templates.endpoints().map(|entry| (entry.template, entry.method.to_owned())).collect();
            prop_assert!(known.is_subset(&now), "{:?}", known.difference(&now).collect::<Vec<_>>());
            prop_assert!(now.len() <= known.len() + 1);
            known = now;
        }
    }

    #[test]
    fn any_path_is_placed_where_it_was_learned(paths in prop::collection::vec("(/[ -~é%]{0,12}){0,20}", 1..40)) {
        let mut learner = Learner::new();
        for (number, path) in paths.iter().enumerate() {
            learner.get(path, number as u64, 10 + number as u64);
            prop_assert!(learner.place(path).known, "{}", path);
        }
        let templates: BTreeSet<_> = learner.templates.endpoints().map(|entry| entry.template).collect();
        for path in &paths {
            prop_assert!(templates.contains(&learner.place(path).template), "{}", path);
        }
    }
}
