//! What happened, as plain sentences for who reads alerts.

use std::time::Duration;

use super::budget::Test;
use super::finding::Finding;
use super::incident::Due;
use super::observation::Trait;
use crate::alert::Technique;

/// What an incident's line begins with when it is told again.
const GROWN: &str = "It has grown tenfold:";
/// See [`GROWN`].
const TURNED: &str = "More of the same story:";

/// See [`GROWN`].
const JOINED: &str = "More have joined:";

/// The sentence with why it is told.
pub(super) fn told(due: Due, sentence: &str) -> String {
    match due {
        Due::Opens => sentence.to_owned(),
        Due::Grows => format!("{GROWN} {sentence}"),
        Due::Turns => format!("{TURNED} {sentence}"),
        Due::Joined => format!("{JOINED} {sentence}"),
    }
}

/// The sentence without why it was told.
pub(super) fn plain(told: &str) -> &str {
    [GROWN, TURNED, JOINED].iter().find_map(|why| told.strip_prefix(why)).unwrap_or(told).trim_start()
}

/// Why an incident closes.
pub(super) fn over(quiet: Duration) -> String {
    format!("Over: no further evidence for {:.0} hours. It was:", quiet.as_secs_f64() / 3_600.0)
}

/// See [`over`].
pub(super) fn crowded_out() -> String {
    "Closed early, because more incidents are open than the setting `incidents` allows. It was:".to_owned()
}

/// Characters of a user agent that a sentence shows.
const AGENT: usize = 80;

/// What clients do that have something in common.
pub(super) fn of_kin(finding: &Finding, members: usize, common: &Trait) -> String {
    let common = match common {
        Trait::Agent(agent) => {
            let plain = |letter: char| if letter.is_control() { '?' } else { letter };
            let agent: String = agent.chars().take(AGENT).map(plain).collect();
            format!("with the user agent \"{agent}\"")
        }
        Trait::Hello(ja4) => format!("with the TLS fingerprint {ja4} (JA4)"),
        Trait::Network(address, width) => {
            let network = ipnet::IpNet::new(*address, *width).map(|network| network.trunc().to_string());
            format!("of the network {}", network.unwrap_or_else(|_| address.to_string()))
        }
        Trait::Credential(fingerprint) => format!("with the credential {fingerprint}"),
    };
    let what = match finding.technique {
        Technique::Distributed => "open encrypted connections, or go on in them, far more often than others",
        _ => "keep asking for paths that do not exist",
    };
    format!("{members} clients {common} {what}, each of them enough to be accused alone.")
}

/// What a campaign of newcomers is.
pub(super) fn of_newcomers(finding: &Finding, members: usize) -> String {
    let what = match finding.technique {
        Technique::CredentialStuffing => {
            "failed to log in, each to several accounts or all of them to one, many within one day"
        }
        Technique::Distributed => {
            "that were never seen before called fast and long without credentials, many of them within one hour"
        }
        Technique::Slow => {
            "keep the server waiting with requests that do not end, answers that they do not take or connections that they do not use, many of them within one hour"
        }
        _ => {
            "that were never seen before began with nothing but requests for paths that do not exist, many of them within one hour"
        }
    };
    format!("{members} clients {what}; {:.1} would be ordinary.", finding.expected)
}

/// A window in words.
fn within(window: Option<u64>) -> String {
    match window {
        None => "in all".into(),
        Some(60) => "in one minute".into(),
        Some(600) => "in 10 minutes".into(),
        Some(3_600) => "in one hour".into(),
        Some(86_400) => "in one day".into(),
        Some(604_800) => "in one week".into(),
        Some(other) => format!("in {other} seconds"),
    }
}

/// What a client or an endpoint does.
pub(super) fn of(finding: &Finding, client: &str, endpoint: Option<&str>, class: Option<&str>) -> String {
    let (observed, expected) = (finding.observed, finding.expected);
    let endpoint = endpoint.unwrap_or("an endpoint");
    let class = class.unwrap_or("sensitive data");
    let window = within(finding.window);
    match finding.technique {
        Technique::PathEnumeration => format!(
            "{client} keeps asking for paths that do not exist: {observed:.1} first contacts missed (weighted) where {expected:.1} would be ordinary."
        ),
        Technique::MethodProbing => format!(
            "{client} keeps trying methods that the paths do not have: {observed:.1} first contacts missed (weighted) where {expected:.1} would be ordinary."
        ),
        Technique::ParameterDiscovery => format!(
            "{client} keeps trying query parameters that nobody else uses: {observed:.1} (weighted) where {expected:.1} would be ordinary."
        ),
        Technique::SchemaProbing => format!(
            "{client} looks for API descriptions, configuration or secrets that are not there: {observed:.1} misses (weighted) where {expected:.1} would be ordinary."
        ),
        Technique::ObjectEnumeration => match finding.test {
            Test::ObjectDenials => format!(
                "{client} was denied {observed:.0} different objects of {endpoint}, where {expected:.1} would be ordinary: it tries identifiers that are not its own."
            ),
            Test::ObjectAbsences => format!(
                "{client} asked for {observed:.0} objects of {endpoint} that do not exist, where {expected:.1} would be ordinary: it tries identifiers."
            ),
            _ => format!(
                "{client} asked for {observed:.0} different objects of {endpoint}, where other clients ask for about {expected:.0}."
            ),
        },
        Technique::InjectionProbing => format!(
            "{client} sends the syntax of databases, templates or shells to parameters that never had it: {observed:.1} first contacts missed (weighted) where {expected:.1} would be ordinary."
        ),
        Technique::RequestForgeryProbing => format!(
            "{client} sends internal addresses, metadata services or files to parameters that never had them: {observed:.1} first contacts missed (weighted) where {expected:.1} would be ordinary."
        ),
        Technique::AccountEnumeration => format!(
            "{client} asked {endpoint} about {observed:.0} different people {window}, by e-mail address or telephone number, where others ask about {expected:.0}."
        ),
        Technique::FunctionAccess => format!(
            "{client} calls functions that others with its role never call or are refused: {observed:.0} of them, administrative ones above all, the last one {endpoint}."
        ),
        Technique::ExcessFields => format!(
            "{client} gets answers with {observed:.0} fields that nobody else's have, the last ones from {endpoint}."
        ),
        Technique::MassAssignment => format!(
            "{client} writes {observed:.0} fields that nobody else writes, above all those that give privileges, the last ones to {endpoint}, which accepts them."
        ),
        Technique::Campaign => String::new(),
        Technique::Ramp if finding.test == Test::Pace => format!(
            "{client}, a program with a steady pace, made {observed:.0} calls {window}, where {expected:.1} would be ordinary for it, and keeps on."
        ),
        Technique::Ramp => format!(
            "{client} calls faster and faster: {observed:.0} calls {window}; at most about {expected:.0} would be ordinary."
        ),
        Technique::Pulse => format!(
            "{client} calls in bursts with pauses between them: {observed:.0} calls {window}; at most about {expected:.0} would be ordinary."
        ),
        Technique::Expensive => format!(
            "{client} made {observed:.0} calls {window} that make the server work or send long; about {expected:.1} would be ordinary."
        ),
        Technique::Volumetric => {
            format!("{client} made {observed:.0} calls {window}; at most about {expected:.0} would be ordinary.")
        }
        Technique::Slow => format!(
            "{client} keeps the server waiting on {observed:.0} connections {window}, with requests that do not end, answers that it does not take or nothing at all; about {expected:.1} would be ordinary."
        ),
        Technique::Reset => format!(
            "{client} gave up {observed:.0} requests {window} as soon as it had made them; at most about {expected:.0} would be ordinary."
        ),
        Technique::Loop => format!(
            "{client} repeats one and the same call: {observed:.0} calls {window}; at most about {expected:.0} would be ordinary."
        ),
        Technique::Distributed => format!(
            "{observed:.0} clients that call nothing else came to {endpoint} {window}, and it is called at least three times as often as ever."
        ),
        Technique::Login => {
            format!("{client} failed to log in {observed:.0} times {window}; about {expected:.0} would be ordinary.")
        }
        Technique::BulkRead => {
            format!(
                "{client} took {observed:.0} {} {window}; about {expected:.0} would be ordinary.",
                finding.test.measure()
            )
        }
        Technique::SlowRead => format!(
            "{client} took {observed:.0} {} {window}, a few at a time; about {expected:.0} would be ordinary.",
            finding.test.measure()
        ),
        Technique::Beacon => format!(
            "{client} comes back by the clock: {observed:.0} small encrypted connections of like size to one server {window}, about one every {:.0} seconds, where others come at no regular time and it did not do so before.",
            finding.window.unwrap_or_default() as f64 / observed.max(1.0)
        ),
        Technique::NewExposure => format!(
            "{endpoint} returns {class}, which it did not before: in {observed:.1} answers (weighted) where {expected:.1} would be ordinary."
        ),
        Technique::Oversized => format!(
            "{client} got a response of {observed:.0} bytes from {endpoint}, whose responses have about {expected:.0}."
        ),
        Technique::SecretInUrl if finding.endpoint => {
            format!("{observed:.0} clients send secrets in the URL of {endpoint}, where logs and proxies keep them.")
        }
        Technique::SecretInUrl => {
            format!("{client} sends a secret in the URL of {endpoint}, where logs and proxies keep it.")
        }
        Technique::Unauthenticated => {
            format!("{endpoint} answers without credentials, though all calls to it had credentials before.")
        }
        Technique::CredentialStuffing if finding.endpoint => format!(
            "{observed:.0} logins that differ failed at {endpoint} {window}, of all clients together, where {expected:.0} would be ordinary: many addresses try a few accounts each."
        ),
        Technique::CredentialStuffing => format!(
            "{client} failed to log in {observed:.0} times with attempts that differ: it tries one set of credentials after another."
        ),
        Technique::TokenReuse => format!(
            "{client} made {observed:.0} calls with a credential that another client, with another user agent, is using at the same time."
        ),
        Technique::Cleartext => {
            format!("{client} sends a password in clear with its calls (Basic authentication without TLS).")
        }
        Technique::Loss => format!("{observed:.0} packets were lost {window}."),
    }
}
