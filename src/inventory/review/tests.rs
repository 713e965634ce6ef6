use std::path::Path;

use super::*;

fn review(text: &str) -> Result<Review, RuleError> {
    Review::parse(Path::new("review.toml"), text.to_owned())
}

fn endpoint(method: &str, host: &str, template: &str) -> Endpoint {
    let (method, host, template) = (method.to_owned(), host.to_owned(), template.to_owned());
    Endpoint { method, host, template, calls: 10, ..Endpoint::default() }
}

#[test]
fn the_last_that_says_something_counts() {
    let text = r#"
        [[endpoint]]
        service = "*.example"
        owner = "platform"
        internal = true

        [[endpoint]]
        service = "Shop.example"
        template = "/v1/**"
        owner = "shop"
        note = "see the wiki"

        [[endpoint]]
        service = "shop.example"
        method = "GET"
        template = "/v1/orders/{id}"
        internal = false

        [[endpoint]]
        template = "/healthz"
        ignore = true
    "#;
    let review = review(text).expect("it is well");
    let all = vec![
        endpoint("GET", "shop.example", "/v1/orders/{id}"),
        endpoint("POST", "shop.example", "/v1/orders"),
        endpoint("GET", "users.example", "/"),
        endpoint("GET", "users.example", "/healthz"),
        endpoint("GET", "elsewhere", "/"),
    ];
    assert!(review.unmatched(&all).is_empty());
    let outcome = review.apply(all);
    let said: Vec<_> = outcome
        .endpoints
        .iter()
        .map(|one| one.reviewed.as_ref().map(|said| (said.owner.as_deref(), said.note.as_deref(), said.internal)))
        .collect();
    let note = Some("see the wiki");
    assert_eq!(
        said,
        [
            Some((Some("shop"), note, false)),
            Some((Some("shop"), note, true)),
            Some((Some("platform"), None, true)),
            None
        ]
    );
    assert_eq!(outcome.ignored.iter().collect::<Vec<_>>(), ["GET users.example/healthz"]);
}

#[test]
fn what_does_not_fit_is_found() {
    let text = "[[endpoint]]\nservice = \"a\"\ninternal = true\nsensitive = [\"email\"]\n\
                [[endpoint]]\nservice = \"b\"\nsensitive = true\n[[endpoint]]\nservice = \"c\"\nsensitive = false\n\
                [[endpoint]]\nservice = \"gone\"\n";
    let review = review(text).expect("it is well");
    let mut all = vec![endpoint("GET", "a", "/"), endpoint("GET", "b", "/"), endpoint("GET", "c", "/")];
    for one in &mut all {
        one.response.sensitive.extend(["email".to_owned(), "iban".to_owned()]);
        let field = Schema { sensitive: ["iban".to_owned()].into(), ..Schema::default() };
        one.response.body = Some(Schema { fields: [("x".to_owned(), field)].into(), ..Schema::default() });
        one.auth.insert("none".to_owned(), 3);
    }
    all[0].outside_calls = 2;
    all[0].outsiders = vec!["192.0.2.1".parse().expect("an address")];
    let unmatched: Vec<_> = review.unmatched(&all).iter().map(ToString::to_string).collect();
    assert_eq!(unmatched, ["entry_unmatched  * gone/**  review.toml:11: no endpoint fits this entry"]);
    let outcome = review.apply(all);
    let told: Vec<_> = outcome.findings.iter().map(ToString::to_string).collect();
    let expected = [
        "internal_called  GET a/  2 of 10 calls, by 192.0.2.1",
        "sensitive_unexpected  GET a/  iban  (sensitive: iban)",
        "sensitive_open  GET b/  3 of 10 calls had no credential  (sensitive: email, iban)",
    ];
    assert_eq!(told, expected);
    let body = outcome.endpoints[2].response.body.as_ref().expect("a body");
    assert!(outcome.endpoints[2].response.sensitive.is_empty() && body.fields["x"].sensitive.is_empty());
}

#[test]
fn what_is_wrong_is_said_with_line_and_key() {
    for (text, expected) in [
        ("[[endpoint]]\nservice = \"a\"\nownr = \"x\"", "review.toml:3: unknown field `ownr`"),
        ("[[endpoint]]\nservice = \"a\"\nowner = 3", "review.toml:3: owner: invalid type"),
        ("[[endpoint]]\nservice = \"a\"\nsensitive = 3", "review.toml:3: sensitive: invalid type"),
        ("[[endpoint]]\n\ntemplate = \"\"", "review.toml:3: template: it is empty"),
        ("\n[[endpoint]]\nowner = \"x\"", "review.toml:2: an entry has none of the keys"),
        ("[[endpiont]]\nowner = \"x\"", "review.toml:1: unknown field `endpiont`"),
        ("[[endpoint]]\nservice = ", "review.toml:2: service: "),
    ] {
        let error = review(text).expect_err(text).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_template_fits_what_it_was_made_of_and_nothing_else() {
    let mut all = vec![
        endpoint("GET", "shop.example", "/v1/orders/{id}"),
        endpoint("POST", "a\"b", "/odd*\\\n/{rest}"),
        endpoint("POST", "shop.example", "/graphql"),
    ];
    all[0].response.sensitive.insert("email".to_owned());
    all[2].operation = Some(super::super::report::Operation { protocol: "graphql".into(), name: "query A {b}".into() });
    let text = template(&all);
    assert!(text.contains("# 10 calls of 0 clients; sensitive: email\n"), "{text}");
    let made = review(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(made.entries.len(), 3);
    assert!(all.iter().all(|one| made.knows(one)) && made.unmatched(&all).is_empty(), "{text}");
    assert!(!made.knows(&endpoint("POST", "a\"b", "/oddx\\\n/{rest}")));
    // What is known already is not told again.
    let known = review("[[endpoint]]\nservice = \"shop.example\"\n").expect("it is well");
    let rest = template(all.iter().filter(|one| !known.knows(one)));
    assert_eq!(rest.matches("[[endpoint]]").count(), 1, "{rest}");
}
