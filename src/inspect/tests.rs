//! Whole-body tests: cuts, gaps, caps, credentials, targets, and generated near misses.

use super::*;
use crate::call::{CredentialKind, CredentialPlace};
use proptest::prelude::*;

fn inspector() -> Inspector {
    inspector_with(Settings::default())
}

fn inspector_with(settings: Settings) -> Inspector {
    let rules = Rules::load(None).unwrap_or_else(|errors| panic!("{}", errors[0]));
    Inspector::new(&rules, settings, Key::from_bytes([7; 16]))
}

fn scan(inspector: &Inspector, pieces: &[&[u8]]) -> Findings {
    // With the end known and unknown, and with a scan that was used before.
    let mut idle = Scans::default();
    let once = |end_known: bool, idle: &mut Scans| {
        let mut scan = inspector.begin(Side::Response, Some("application/json"), idle).expect("JSON is looked at");
        for (place, piece) in pieces.iter().enumerate() {
            inspector.data(&mut scan, piece, end_known && place + 1 == pieces.len());
        }
        inspector.finish(scan, idle)
    };
    let findings = once(false, &mut idle);
    assert_eq!(findings, once(true, &mut idle));
    findings
}

fn classes(findings: &Findings) -> Vec<(&str, u32)> {
    findings.sensitive.iter().map(|found| (&*found.class, found.count)).collect()
}

fn found(text: &str) -> Vec<(String, u32)> {
    let inspector = inspector();
    let findings = scan(&inspector, &[text.as_bytes()]);
    classes(&findings).into_iter().map(|(class, count)| (class.to_owned(), count)).collect()
}

const RICH: &str = concat!(
    r#"{"items":[{"email":"ana.bo@mail3.example","phone":"+1-202-555-0123","x":"8f14e45fceea167a5a36dedd4bea2543"},"#,
    r#"{"pan":"4539 1488 0343 6467","cvv":"123","iban":"DE44 5001 0517 5407 3249 31","taxId":"523-45-9012"},"#,
    r#"{"iban":"GB94BARC10201530093459","card_number":4539148803436467,"order_number":"4539148803436467"},"#,
    r#"{"key":"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\nMzEf\n"},"#,
    r#"{"AWS_KEY":"AKIAQ3EGRM5KJ2P4XWLB","aws_secret_access_key":"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","#,
    r#""dsn":"postgres://svc:3f9a2b7c1d4e@10.20.0.40:5432/core","gcp":"AIzaSyD4x9Kq7wPz2LmNvBcRtYhUjIoE1aF3gHd"},"#,
    r#"{"trace":"java.lang.NullPointerException: rank\n\tat com.example.api.router.dispatch(Api.java:33)\n"},"#,
    r#"{"pw_hash":"$2b$12$x7Kq2mB9vLpR4tYw8sZcN.dF6gHjA3eU5iO0x7Kq2mB9vLpR4tYw8"}]}"#,
);

#[test]
fn a_rich_body_and_every_way_to_cut_it_in_two() {
    let inspector = inspector();
    let text = RICH.as_bytes();
    let whole = scan(&inspector, &[text]);
    assert_eq!(
        classes(&whole),
        [
            ("cloud_key", 2),
            ("database_url", 1),
            ("email", 1),
            ("generic_secret", 1),
            ("iban", 2),
            ("password_hash", 1),
            ("payment_card", 2),
            ("phone", 1),
            ("private_key", 1),
            ("stack_trace", 1),
            ("us_ssn", 1),
        ]
    );
    let card = whole.sensitive.iter().find(|found| &*found.class == "payment_card").expect("cards");
    assert_eq!(card.values.len(), 1, "one card in two spellings");
    for cut in 0..=text.len() {
        assert_eq!(scan(&inspector, &[&text[..cut], &text[cut..]]), whole, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(scan(&inspector, &bytes), whole);
}

#[test]
fn values_at_any_offset_of_a_long_body_in_pieces() {
    let inspector = inspector();
    for offset in (0..3000).step_by(7) {
        let body = format!("{}{RICH}{}", "w ".repeat(offset), " z".repeat(1500));
        let whole = scan(&inspector, &[body.as_bytes()]);
        assert_eq!(whole.sensitive.len(), 11, "offset {offset}");
        let pieces: Vec<&[u8]> = body.as_bytes().chunks(1460).collect();
        assert_eq!(scan(&inspector, &pieces), whole, "offset {offset}");
    }
}

#[test]
fn nothing_matches_across_or_at_a_gap() {
    let inspector = inspector();
    let text: &[u8] = br#"{"pan":"4539 1488 0343 6467"} ana@mail.example "#;
    let both = [("email", 1), ("payment_card", 1)];
    for cut in 0..=text.len() {
        let mut scan =
            inspector.begin(Side::Response, None, &mut Scans::default()).expect("unknown types are looked at");
        inspector.data(&mut scan, &text[..cut], false);
        inspector.gap(&mut scan);
        inspector.data(&mut scan, &text[cut..], false);
        let findings = inspector.finish(scan, &mut Scans::default());
        // A number that touches the gap may be longer than it looks; so may an address.
        let wanted: &[_] = match cut {
            0..=8 => &both,
            9..=27 => &both[..1],
            28..=30 => &both,
            31..=46 => &both[1..],
            _ => &both,
        };
        // With the gap right before the card its field's name is lost, but groups need none.
        if cut != 8 && cut != 30 {
            assert_eq!(classes(&findings), wanted, "gap at {cut}");
        }
    }
}

#[test]
fn the_cap_ends_the_body_and_is_said() {
    let inspector = inspector_with(Settings { body_limit: 100, ..Settings::default() });
    let mut body = vec![b' '; 80];
    body.extend_from_slice(b" ana@mail.example and bob@mail.example");
    for size in [1, 7, 50, 200] {
        let mut scan = inspector.begin(Side::Response, None, &mut Scans::default()).expect("looked at");
        let mut fed = 0;
        for piece in body.chunks(size) {
            if !inspector.wants_more(&scan) {
                break;
            }
            inspector.data(&mut scan, piece, false);
            fed += piece.len();
        }
        assert!(fed > 100);
        let findings = inspector.finish(scan, &mut Scans::default());
        assert_eq!(classes(&findings), [("email", 1)], "pieces of {size}");
        assert!(findings.capped);
    }
    let exact = scan(&inspector, &[&body[..100]]);
    assert!(!exact.capped);
}

#[test]
fn a_body_of_beginnings_of_secrets_is_given_up() {
    let inspector = inspector_with(Settings { candidate_limit: 10, ..Settings::default() });
    let body = "AKIA \n".repeat(1000) + "AKIAQ3EGRM5KJ2P4XWLB ana@mail.example";
    let findings = scan(&inspector, &[body.as_bytes()]);
    assert_eq!(classes(&findings), [("email", 1)]);
    assert!(findings.capped);
}

#[test]
fn the_smallest_fingerprints_are_kept_and_all_are_counted() {
    let inspector = inspector_with(Settings { distinct_limit: 5, ..Settings::default() });
    let body: String = (0..300).map(|number| format!("user{}@mail.example, ", number % 200)).collect();
    let findings = scan(&inspector, &[body.as_bytes()]);
    assert_eq!(classes(&findings), [("email", 300)]);
    let mut all: Vec<_> = (0..200)
        .map(|number| Key::from_bytes([7; 16]).fingerprint("email", format!("user{number}@mail.example").as_bytes()))
        .collect();
    all.sort();
    assert_eq!(*findings.sensitive[0].values, all[..5]);
}

#[test]
fn media_types() {
    let inspector = inspector();
    for kind in ["image/png", "video/mp4", "font/woff2", "application/zip", "APPLICATION/PDF", "application/wasm"] {
        assert!(inspector.begin(Side::Response, Some(kind), &mut Scans::default()).is_none(), "{kind}");
    }
    for kind in ["application/json", "text/csv; charset=utf-8", "image/svg+xml", "application/octet-stream", "", "é"] {
        assert!(inspector.begin(Side::Response, Some(kind), &mut Scans::default()).is_some(), "{kind}");
    }
    let off = inspector_with(Settings { enabled: false, ..Settings::default() });
    assert!(off.begin(Side::Response, None, &mut Scans::default()).is_none());
}

#[test]
fn forms_are_decoded() {
    let inspector = inspector();
    let mut scan = inspector
        .begin(Side::Request, Some("application/x-www-form-urlencoded"), &mut Scans::default())
        .expect("looked at");
    inspector.data(&mut scan, b"email=ana%40mail.exa", false);
    inspector.data(&mut scan, b"mple&tel=%2B49+30+1234567&card=4539+1488%200343+6467", false);
    assert_eq!(
        classes(&inspector.finish(scan, &mut Scans::default())),
        [("email", 1), ("payment_card", 1), ("phone", 1)]
    );
}

#[test]
fn what_only_looks_sensitive_is_not() {
    assert_eq!(
        found(concat!(
            "<h1>Developers</h1><p>Send your key as X-API-Key: pk_test_EXAMPLE0000000000. Test cards: 4111 1111 1111 1111, ",
            "5555-5555-5555-4444. Example IBAN: DE89 3704 0044 0532 0130 00. Example SSN format: 000-12-3456. AWS sample: ",
            "AKIAIOSFODNN7EXAMPLE / wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY. A PEM file begins with -----BEGIN PUBLIC KEY-----. ",
            r#"Errors look like {\"error\":\"internal\",\"trace_id\":\"8f14e45fceea167a5a36dedd4bea2543\"}.</p>"#,
        )),
        []
    );
    assert_eq!(
        found(concat!(
            r#"{"id":"4500a3b1-4539-4716-8223-123456789012","order_number":"4500600000000061","tracking_no":"4539148803436467","#,
            r#""no":100042,"etag":"00112233445566778899001122334455","masked":"**** **** **** 4242","due":"2026-03-12","#,
            r#""at":"2026-03-12T10:33:22.123456Z","ratio":52.520008,"ms":1772460000123,"us":1772460000123456,"ip":"192.168.100.200","#,
            r#""thumb":"data:image/png;base64,iVBORw0KGgo4539148803436467AKIAQ3EGRM5KJ2P4XWLBaa=="}"#,
        )),
        []
    );
}

#[test]
fn generated_numbers_and_their_near_misses() {
    // xorshift: the set is the same on every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let inspector = inspector();
    let finds = |text: &str, class: &str| {
        scan(&inspector, &[text.as_bytes()]).sensitive.iter().any(|found| &*found.class == class)
    };
    for round in 0..2000u64 {
        let prefix = ["4539", "5223", "2221", "6011", "3530"][(round % 5) as usize];
        let body = format!("{prefix}{:011}", next() % 100_000_000_000);
        let digit = (b'0'..=b'9').find(|&digit| validate::luhn(format!("{body}{}", char::from(digit)).as_bytes()));
        let card = format!("{body}{}", char::from(digit.expect("one of ten digits fits")));
        let grouped = |by: &str| {
            card.as_bytes()
                .chunks(4)
                .map(|four| std::str::from_utf8(four).expect("digits"))
                .collect::<Vec<_>>()
                .join(by)
        };
        assert!(finds(&format!(r#"{{"pan":"{card}"}}"#), "payment_card"), "{card}");
        assert!(finds(&format!(r#"{{"acct":"{}"}}"#, grouped(" ")), "payment_card"));
        assert!(finds(&grouped("-"), "payment_card"));
        let wrong = format!("{body}{}", (digit.expect("above") - b'0' + 1 + (next() % 9) as u8) % 10);
        assert!(!finds(&format!(r#"{{"pan":"{wrong}"}}"#), "payment_card"), "{wrong}");
        assert!(!finds(&format!(r#"{{"order_no":"{card}"}}"#), "payment_card"));
        assert!(
            !finds(&format!("1{card}"), "payment_card") && !finds(&format!(r#"{{"pan":"x{card}"}}"#), "payment_card")
        );

        let account = format!("{:018}", next() % 1_000_000_000_000_000_000);
        let remainder =
            format!("{account}131400").bytes().fold(0u32, |sum, byte| (sum * 10 + u32::from(byte - b'0')) % 97);
        let iban = format!("DE{:02}{account}", 98 - remainder);
        let spaced = iban
            .as_bytes()
            .chunks(4)
            .map(|four| std::str::from_utf8(four).expect("ASCII"))
            .collect::<Vec<_>>()
            .join(" ");
        assert!(finds(&format!(r#"{{"x":"{iban}"}}"#), "iban") && finds(&format!("to {spaced}."), "iban"), "{iban}");
        assert!(!finds(&iban.replacen("DE", "FR", 1), "iban"));
        let off = format!("DE{:02}{account}", 2 + (98 - remainder - 1) % 96);
        assert!(off == iban || !finds(&off, "iban"), "{off}");

        let (area, group, serial) = (next() % 1000, next() % 100, next() % 10_000);
        let valid = area != 0 && area != 666 && area < 900 && group != 0 && serial != 0;
        let number = format!("{area:03}-{group:02}-{serial:04}");
        let known = ["123-45-6789", "078-05-1120", "219-09-9999"].contains(&number.as_str());
        assert_eq!(finds(&format!(r#"{{"taxId":"{number}"}}"#), "us_ssn"), valid && !known, "{number}");
        assert!(!finds(&format!("{area:03}{group:02}{serial:04}"), "us_ssn"));
    }
}

fn credential(headers: CredentialHeaders<'_>) -> Option<Credential> {
    inspector().credential(&headers, &mut KnownCredentials::default())
}

#[test]
fn credentials_in_order_of_preference() {
    let all = CredentialHeaders {
        authorization: Some(b"Bearer abc"),
        cookie: Some(b"theme=dark; sid=s1"),
        api_key: Some(b"k1"),
        signature: None,
        target: "/x?api_key=q1",
    };
    let kinds = [
        (all, Some(CredentialKind::Bearer)),
        (CredentialHeaders { authorization: Some(b" "), ..all }, Some(CredentialKind::ApiKey)),
        (CredentialHeaders { authorization: Some(b"Bearer null"), ..all }, Some(CredentialKind::ApiKey)),
        (CredentialHeaders { authorization: Some(b"Bearer "), api_key: None, ..all }, Some(CredentialKind::Cookie)),
        (CredentialHeaders { authorization: Some(b"Token undefined"), ..Default::default() }, None),
        (CredentialHeaders { api_key: Some(b"undefined"), ..Default::default() }, None),
        (CredentialHeaders { authorization: None, api_key: None, ..all }, Some(CredentialKind::Cookie)),
        (CredentialHeaders { target: "/x?a=1&API-Key=q1", ..Default::default() }, Some(CredentialKind::ApiKey)),
        (CredentialHeaders { cookie: Some(b"theme=dark; _ga=1"), target: "/x?a=1", ..Default::default() }, None),
    ];
    for (headers, kind) in kinds {
        assert_eq!(credential(headers).map(|credential| credential.kind), kind, "{headers:?}");
    }
}

#[test]
fn keys_and_sessions_of_other_names_are_known_by_what_they_look_like() {
    let inspector = inspector();
    let of = |name: &str, value: &str, cookies: &str| {
        let headers = [(name.as_bytes(), value.as_bytes())];
        let headers = if name.is_empty() { &[][..] } else { &headers[..] };
        let text = |name: &[u8]| String::from_utf8_lossy(name).into();
        let candidates = inspector.key_candidates(headers, "/x", Some(cookies.as_bytes()), text);
        inspector.likely_credential(&candidates)
    };
    let kind = |found: Option<Credential>| found.map(|found| (found.kind, found.place));
    let drawn = "8f14e45fceea167a5a36dedd4bea2543";
    let key = Some((CredentialKind::ApiKey, CredentialPlace::Header));
    let session = Some((CredentialKind::Cookie, CredentialPlace::Cookie));
    for name in ["X-Device-Key", "X-Acme-Token", "Acme-Api-Secret"] {
        assert_eq!(kind(of(name, drawn, "")), key, "{name}");
    }
    for cookie in ["fjsid", "shop_sess", "ACME_AUTH"] {
        assert_eq!(kind(of("", "", &format!("theme=dark; {cookie}={drawn}"))), session, "{cookie}");
    }
    // One value is one credential wherever it is sent, and those of one name are of one group.
    let (one, other) = (of("X-Device-Key", drawn, ""), of("X-Device-Key", "0f14e45fceea167a5a36dedd4bea2549", ""));
    assert_eq!(one.as_ref().map(|found| found.group), other.as_ref().map(|found| found.group));
    assert_ne!(one.map(|found| found.fingerprint), other.map(|found| found.fingerprint));
    for name in ["X-Page-Token", "Idempotency-Key", "X-CSRF-Token", "X-Public-Key", "X-Device", "X-Request-Key"] {
        assert_eq!(kind(of(name, drawn, "")), None, "{name}");
    }
    assert_eq!(kind(of("X-Device-Key", "eu-central", "")), None);
    for cookie in ["__stripe_sid", "visitsid", "csrf_token", "prefs"] {
        assert_eq!(kind(of("", "", &format!("{cookie}={drawn}"))), None, "{cookie}");
    }
}

#[test]
fn a_token_says_as_much_under_any_scheme() {
    let authorization = |scheme: &str, payload: &str| {
        let value = format!("{scheme} eyJhbGciOiJFUzI1NiJ9.{payload}.c2ln");
        let found = credential(CredentialHeaders { authorization: Some(value.as_bytes()), ..Default::default() });
        found.expect("an Authorization header is a credential")
    };
    // {"iss":"https://id","sub":"user-1","exp":1} and the same with "exp":2
    let [one, two] = [
        "eyJpc3MiOiJodHRwczovL2lkIiwic3ViIjoidXNlci0xIiwiZXhwIjoxfQ",
        "eyJpc3MiOiJodHRwczovL2lkIiwic3ViIjoidXNlci0xIiwiZXhwIjoyfQ",
    ];
    for scheme in ["DPoP", "dpop", "JWT", "Token"] {
        let [first, second] = [authorization(scheme, one), authorization(scheme, two)];
        assert_ne!(first.fingerprint, second.fingerprint, "{scheme}");
        assert!(first.subject.is_some() && first.subject == second.subject, "{scheme}");
        assert_eq!(first.subject, authorization("Bearer", one).subject, "{scheme}");
        assert!(first.claims.is_some_and(|claims| claims.token && claims.expires.is_some()), "{scheme}");
        assert_eq!((first.kind, first.signature), (CredentialKind::Other, None), "{scheme}");
    }
}

#[test]
fn one_account_is_one_credential() {
    let authorization = |value: &'static [u8]| {
        let found = credential(CredentialHeaders { authorization: Some(value), ..Default::default() });
        found.expect("an Authorization header is a credential")
    };
    // anna:one and anna:two.
    assert_eq!(authorization(b"Basic YW5uYTpvbmU="), authorization(b"basic  YW5uYTp0d28"));
    assert_ne!(authorization(b"Basic YW5uYTpvbmU="), authorization(b"Basic Ym9iOm9uZQ=="));
    assert_eq!(authorization(b"Bearer abc"), authorization(b"BEARER abc "));
    assert_eq!(
        authorization(b"Digest username=\"anna\", realm=\"x\", nonce=\"1\""),
        authorization(b"Digest realm=\"y, username=bob\", nonce=\"2\", username=\"anna\"")
    );
    assert_eq!(
        authorization(b"AWS4-HMAC-SHA256 Credential=AKIA1/20260312/eu/s3/aws4_request, Signature=aa"),
        authorization(b"AWS4-HMAC-SHA256 Credential=AKIA1/20260313/us/s3/aws4_request, Signature=bb")
    );
    let cookie = |value: &'static [u8]| credential(CredentialHeaders { cookie: Some(value), ..Default::default() });
    assert_eq!(cookie(b"_ga=1; sid=\"s1\"; theme=dark"), cookie(b"theme=light;sid=s1; _ga=2; token=x"));
    assert_ne!(cookie(b"sid=s1"), cookie(b"sid=s2"));
    assert_eq!(cookie(b"app.session=q").map(|c| c.kind), Some(CredentialKind::Cookie));
    assert_eq!(cookie(b"csrftoken=q; sid=; =x; sid"), None);
    let query = credential(CredentialHeaders { target: "/?access_token=a%62c", ..Default::default() });
    assert_eq!(query.map(|c| c.fingerprint), Some(authorization(b"Bearer abc").fingerprint));
}

#[test]
fn api_key_headers() {
    let inspector = inspector();
    assert!(inspector.is_api_key_header(b"x-api-key") && inspector.is_api_key_header(b"X_API_KEY"));
    assert!(!inspector.is_api_key_header(b"x-api-kez") && !inspector.is_api_key_header(b""));
}

#[test]
fn targets_are_masked() {
    let inspector = inspector();
    let masked = |target: &str| {
        let (text, found) = inspector.target(target);
        (text.into_owned(), found.iter().map(|found| found.class.to_string()).collect::<Vec<_>>().join(" "))
    };
    let pair = |text: &str, classes: &str| (text.to_owned(), classes.to_owned());
    for same in ["/v1/orders?page=2&sort=-created", "/", "*", "/a%20b?q=%C3%A9", "/?api_key=", "/v1/users/8f14e45f", ""]
    {
        assert!(matches!(inspector.target(same), (Cow::Borrowed(_), ref found) if found.is_empty()), "{same}");
    }
    assert_eq!(
        masked("/p?api_key=sk_live_0123456789abcdef0123456789abcdef01234567&page=2"),
        pair("/p?api_key=sk_l***&page=2", "payment_key url_credential")
    );
    assert_eq!(masked("/p?API-KEY=longenough&x=1"), pair("/p?API-KEY=l***&x=1", "url_credential"));
    assert_eq!(masked("/p?key=name&sid=159106"), pair("/p?key=name&sid=159106", ""), "too short to guard anything");
    assert_eq!(masked("/users/ana.bo@mail3.example/x"), pair("/users/an***/x", "email"));
    assert_eq!(masked("/u?mail=ana.bo%40mail3.example"), pair("/u?mail=an***", "email"));
    assert_eq!(masked("/u?pan=4539%201488%200343%206467&a"), pair("/u?pan=453***&a", "payment_card"));
    assert_eq!(masked("http://ana:s3cret@cache/x"), pair("http://a***@cache/x", "url_credential"));
    assert_eq!(masked("/?password=%C3%A9%C3%A9%C3%A9é&b"), pair("/?password=***&b", "url_credential"));
    assert_eq!(masked("/?pin=a&pin=b"), pair("/?pin=***&pin=***", "url_credential"));
    for name in [
        "accessToken",
        "authToken",
        "idToken",
        "refreshToken",
        "resetToken",
        "sessionToken",
        "clientSecret",
        "api_token",
        "private_token",
        "session_token",
        "secret_key",
        "api_secret",
        "new_password",
        "user_password",
        "apiKey[]",
        "user.password",
        "user[password]",
        "SAMLResponse",
        "xApiKey",
        "user%5Bpassword%5D",
    ] {
        let (target, shown) = (format!("/q?{name}=8sd7f98sd7f98sdf&p=2"), format!("/q?{name}=8s***&p=2"));
        assert_eq!(masked(&target), pair(&shown, "url_credential"));
    }
    for name in ["page_token", "nextToken", "csrf_token", "sort.key", "filter[code]", "tokens", "monkey", "v"] {
        let target = format!("/q?{name}=8sd7f98sd7f98sdf");
        assert_eq!(masked(&target), pair(&target, ""));
    }
}

/// Bytes among which candidates are frequent.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        4 => "[0-9 .+-]{1,90}".prop_map(String::into_bytes),
        2 => "[A-Z0-9 ]{1,60}".prop_map(String::into_bytes),
        2 => "[a-z0-9.@_-]{1,80}".prop_map(String::into_bytes),
        2 => prop::sample::select(vec!["AKIA", "-----BEGIN PRIVATE KEY-----\n", "eyJhbGci", "$2b$12$", "\"pan\":\"", "phone=", ".java:3)", "postgres://a:bcd@e", "api_key=\"", "DE44500105175407324931", "4539 1488 0343 6467", "a@b.io", r"\/", r"\u002B", r"\u0040", r"\ud83d\ude00", r"\ud83d", r"\u00", r"\\", r"postgres:\/\/a:bcdef@e"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => (0..RICH.len()).prop_map(|start| RICH.as_bytes()[start..].to_vec()),
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn the_result_does_not_depend_on_the_cuts(body in hostile(), sizes in prop::collection::vec(1usize..1200, 1..20)) {
        let inspector = inspector();
        let whole = scan(&inspector, &[&body]);
        let (mut pieces, mut rest, mut turn) = (Vec::new(), &body[..], sizes.iter().cycle());
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(rest.len().min(*turn.next().expect("a cycle")));
            pieces.push(piece);
            rest = tail;
        }
        prop_assert_eq!(scan(&inspector, &pieces), whole);
    }

    #[test]
    fn any_target_and_header_is_survived(target in ".{0,120}", raw in prop::collection::vec(any::<u8>(), 0..200)) {
        let inspector = inspector();
        let target = format!("/{target}?token={target}&a=%{target}@b.example");
        let (text, _) = inspector.target(&target);
        let (again, _) = inspector.target(&text);
        prop_assert!(again.len() <= text.len() + 64);
        let headers = CredentialHeaders {
            authorization: Some(&raw),
            cookie: Some(&raw),
            signature: Some(&raw),
            api_key: None,
            target: &target,
        };
        inspector.credential(&headers, &mut KnownCredentials::default());
        inspector.credential(&CredentialHeaders { authorization: None, ..headers }, &mut KnownCredentials::default());
    }
}

#[test]
fn columns_of_tables_name_their_values() {
    let inspector = inspector();
    let found = |kind: &str, header: &str| {
        let idle = &mut Scans::default();
        let mut scan = inspector.begin(Side::Response, Some(kind), idle).expect("a text");
        let rows: String = (0..40).map(|number| format!("{number},\"Anna B\",open\n")).collect();
        let text = format!("{header}\n{rows}41,4539148803436467,open\n");
        for piece in text.as_bytes().chunks(7) {
            inspector.data(&mut scan, piece, false);
        }
        classes(&inspector.finish(scan, idle))
            .iter()
            .map(|(class, count)| format!("{class} {count}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(found("text/csv; charset=utf-8", "id,Card Number,state"), ["payment_card 1"]);
    assert_eq!(found("text/csv", "id,order_number,state"), [""; 0]);
    assert_eq!(found("text/plain", "id,Card Number,state"), [""; 0], "no table");
}

#[test]
fn fields_of_sensitive_values_are_known_in_whatever_pieces_they_come() {
    let inspector = inspector_with(Settings { shapes: true, ..Settings::default() });
    let filler = "and so on, ".repeat(60);
    let json = format!(
        r#"{{"id":7,"note":"{filler} ask ana.bo@mail3.example {filler}","mail":"ann@mail.example","list":[{{"iban":"DE44500105175407324931"}}]}}"#
    );
    let form = format!(
        "name=Ann+Adler&100%=%2&note={}ask+ana.bo%40mail3.example&mail=ann%40mail.example&last=x",
        "a+b+".repeat(90)
    ) + "&iban=DE44+5001+0517+5407+3249+31";
    let parts = format!(
        "--XyZ\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n{filler} ana.bo@mail3.example\r\n--XyZ\r\n\
         Content-Disposition: form-data; name=\"mail\"\r\n\r\nann@mail.example\r\n--XyZ\r\n\
         Content-Disposition: form-data; name=\"iban\"\r\n\r\nDE44500105175407324931\r\n--XyZ--\r\n"
    );
    for (media, body, iban) in [
        ("application/json", &json, "list[].iban"),
        ("application/x-www-form-urlencoded", &form, "iban"),
        ("multipart/form-data", &parts, "iban"),
    ] {
        let idle = &mut Scans::default();
        let mut fields = |pieces: &[&[u8]]| {
            let mut scan = inspector.begin(Side::Request, Some(media), idle).expect("it is looked at");
            pieces.iter().for_each(|piece| inspector.data(&mut scan, piece, false));
            let shape = inspector.finish(scan, idle).shape.expect("it has a shape");
            let path = |place: u32| {
                let steps = shape.way(place).into_iter().map(|step| match step {
                    crate::call::Within::Field(name) => name.to_owned(),
                    other => format!("{other:?}"),
                });
                steps.collect::<Vec<_>>().join(".").replace(".Item.", "[].")
            };
            let found = shape.sensitive_places().iter().map(|(place, class)| format!("{} {class}", path(*place)));
            let mut found: Vec<_> = found.collect();
            found.sort();
            found
        };
        let expected = [format!("{iban} iban"), "mail email".into(), "note email".into()];
        assert_eq!(fields(&[body.as_bytes()]), expected, "{media}");
        for cut in (0..body.len()).step_by(3) {
            let (one, two) = body.as_bytes().split_at(cut);
            assert_eq!(fields(&[one, two]), expected, "{media} cut at {cut}");
        }
        let pieces: Vec<&[u8]> = body.as_bytes().chunks(50).collect();
        assert_eq!(fields(&pieces), expected, "{media} in pieces");
    }
}
