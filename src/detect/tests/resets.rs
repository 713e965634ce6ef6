//! Requests in HTTP/2 that are given up: at once, and after a while.

use super::*;
use crate::call::{Anomaly, Http2, ResetBy};

/// A client gives up so many requests a second for a minute, each after so many milliseconds.
fn given_up(patience: u64) -> Bench {
    let mut bench = Bench::lived_in();
    for number in 0..600_u32 {
        let begin = bench.now + Duration::from_millis(100) * number;
        let mut call = Call {
            flow: FlowId(77),
            position: number,
            request_time: Some(begin),
            end_time: begin + Duration::from_millis(patience),
            client: Peer { ip: IpAddr::from([203, 0, 113, 9]), port: 1 },
            method: "GET".into(),
            path: "/v1/me".into(),
            target: "/v1/me".into(),
            http2: Some(Box::new(Http2 { reset_by: Some(ResetBy::Client), client_resets: number, ..Http2::default() })),
            completeness: Completeness { request: true, ..Completeness::default() },
            ..Call::default()
        };
        if number > 100 {
            call.anomalies.insert(Anomaly::RapidReset);
        }
        bench.detector.call(&call, &mut bench.alerts);
    }
    bench
}

#[test]
fn who_gives_up_at_once_again_and_again_floods() {
    let bench = given_up(3);
    let alert = bench.alerts.iter().find(|alert| alert.kind == Technique::Reset).expect("an alert");
    assert_eq!(alert.client.map(|client| client.ip), Some(IpAddr::from([203, 0, 113, 9])));
    let feature =
        alert.features.iter().find(|feature| feature.feature == Test::Resets.measure()).expect("a measurement");
    assert!((200.0..=400.0).contains(&feature.observed), "{feature:?}");
}

/// A client asks on sixty connections, so few times on each that none of them is conspicuous; of the first `kept` in ten it takes
/// the answer.
fn on_many_connections(kept: u32) -> Bench {
    let mut bench = Bench::lived_in();
    for number in 0..3_000_u32 {
        let begin = bench.now + Duration::from_millis(20) * number;
        let given_up = number % 10 >= kept;
        let call = Call {
            flow: FlowId(100 + u64::from(number) % 60),
            position: number / 60,
            request_time: Some(begin),
            end_time: begin + Duration::from_millis(1),
            client: Peer { ip: IpAddr::from([203, 0, 113, 9]), port: 1 },
            method: "GET".into(),
            path: "/v1/me".into(),
            target: "/v1/me".into(),
            status: (!given_up).then_some(200),
            http2: Some(Box::new(Http2 { reset_by: given_up.then_some(ResetBy::Client), ..Http2::default() })),
            completeness: Completeness { request: true, response: !given_up, ..Completeness::default() },
            ..Call::default()
        };
        bench.detector.call(&call, &mut bench.alerts);
    }
    bench
}

#[test]
fn many_connections_hide_no_resets() {
    let bench = on_many_connections(1);
    assert!(bench.alerts.iter().any(|alert| alert.kind == Technique::Reset), "{:?}", bench.kinds());
    let bench = on_many_connections(6);
    assert!(!bench.alerts.iter().any(|alert| alert.kind == Technique::Reset), "{:?}", bench.kinds());
}

#[test]
fn time_outs_while_the_server_is_slow_are_no_flood_of_resets() {
    let bench = given_up(2_000);
    assert!(!bench.alerts.iter().any(|alert| alert.kind == Technique::Reset), "{:?}", bench.kinds());
}
