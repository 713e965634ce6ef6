//! Logins: who guesses, alone or with others, and whose credentials others use.

use super::*;

#[test]
fn guessers_that_try_few_accounts_each_are_named_together() {
    let mut bench = Bench::lived_in();
    // Forgetful people: twice their own account, then in.
    for person in 0..40 {
        for status in [401, 401, 200] {
            bench.call(Get {
                method: "POST",
                status: Some(status),
                sent: u64::from(40 + person),
                ..get(2_000 + person, "/v1/login")
            });
        }
        bench.wait(60);
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.alerts.first().map(|alert| &alert.summary));
    for round in 0..4 {
        for member in 0..30 {
            let sent = u64::from(40 + (4 * member + round) % 97);
            bench.call(Get { method: "POST", status: Some(401), sent, ..get(1_000 + member, "/v1/login") });
            bench.wait(30);
        }
    }
    let alert =
        bench.alerts.iter().rfind(|alert| alert.kind == Technique::CredentialStuffing && !alert.clients.is_empty());
    let alert = alert.expect("a campaign");
    assert!(alert.clients.len() >= 15 && alert.clients.iter().all(|member| member.ip < address(2_000)));
}

#[test]
fn many_that_try_one_account_are_named_together() {
    let mut bench = Bench::lived_in();
    let fail = |bench: &mut Bench, client: u32, account: u64, password: u64| {
        let body = Some(1_000 * account + password);
        let (sent, account) = (60, Some(account));
        bench.call(Get { method: "POST", status: Some(401), sent, body, account, ..get(client, "/v1/login") });
        bench.wait(40);
    };
    // People who forget their own, one of them on the road; and a fleet that was not told of the new password.
    for person in 0..30 {
        for password in 0..3 {
            let roams = if person == 7 { 100 * password } else { 0 };
            fail(&mut bench, 2_000 + person + roams, 50 + u64::from(person), u64::from(password));
        }
    }
    for host in 0..60 {
        let (sent, account) = (60, Some(90));
        bench.call(Get { method: "POST", sent, account, ..get(3_000 + host, "/v1/login") });
        bench.wait(5);
    }
    for host in 0..60 {
        // The time stands in the body as well.
        fail(&mut bench, 3_000 + host, 90, u64::from(host));
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
    for round in 0..2 {
        for member in 0..20 {
            fail(&mut bench, 1_000 + member, 7, u64::from(20 * round + member));
        }
    }
    let alert =
        bench.alerts.iter().rfind(|alert| alert.kind == Technique::CredentialStuffing && !alert.clients.is_empty());
    let alert = alert.expect("a campaign");
    let members = address(1_000)..address(1_020);
    assert!(alert.clients.len() >= 15 && alert.clients.iter().all(|member| members.contains(&member.ip)));
}

#[test]
fn stuffing_is_told_from_a_forgotten_daemon() {
    let mut bench = Bench::lived_in();
    for number in 0..400 {
        let login = Get { method: "POST", status: Some(401), ..get(900, "/v1/login") };
        bench.call(Get { sent: 60, ..login });
        bench.call(Get { client: 901, sent: 50 + number % 40, ..login });
        bench.wait(300);
    }
    let expected = ("auth.credential_stuffing", Some(address(901)));
    assert!(bench.kinds().contains(&expected), "{:?}", bench.kinds());
    assert!(bench.kinds().iter().all(|&kind| kind == expected), "{:?}", bench.kinds());
}

#[test]
fn a_stolen_token_a_basic_password_and_a_secret_in_a_url() {
    let mut bench = Bench::lived_in();
    for _ in 0..10 {
        bench.call(Get { token: Some(77), ..get(3, "/v1/me") });
        // The same person's telephone.
        bench.call(Get { token: Some(77), agent: "ShopApp/7.2 (iOS 18.1)", ..get(600, "/v1/me") });
        bench.wait(10);
    }
    assert!(bench.alerts.is_empty(), "{:?}", bench.kinds());
    for _ in 0..10 {
        bench.call(Get { token: Some(77), ..get(3, "/v1/me") });
        bench.call(Get { token: Some(77), agent: "curl/8.0", ..get(900, "/v1/me") });
        bench.wait(10);
    }
    assert_eq!(bench.only(Technique::TokenReuse).client.map(|client| client.ip), Some(address(900)));
    bench.call(Get { token: Some(901), kind: CredentialKind::Basic, ..get(901, "/v1/me") });
    bench.only(Technique::Cleartext);
    // That it was made badly says nothing against what it does.
    let client = bench.detector.state.clients.get(&address(901)).expect("it called");
    assert!(!client.suspect());
    bench.call(get(902, "/v1/products?api_key=sk_l***"));
    bench.only(Technique::SecretInUrl);
}
