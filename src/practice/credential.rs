//! Credentials: who is answered without one, or with one that should be worth nothing; and where they are sent.

use super::book::Proof;
use super::kind::Kind;
use super::{Found, Seen, Signing};
use crate::alert::Severity;
use crate::call::{CredentialKind, CredentialPlace, Recorder};
use crate::inspect::{IN_TARGET, MASK};
use crate::model::Table;
use crate::network::is_private;
use crate::stats::Counter;

/// Calls with a credential, where a client's second counts less, before it is said that others present one.
const OTHERS: f64 = 2.0;

/// Calls with a credential, counted so, after which the first that come without one are no few of many.
const NEVER_BEFORE: f64 = 100.0;

/// Signed calls of one signer, and of several, before it is said that an endpoint is called signed.
const SIGNED: [u32; 2] = [20, 5];

/// Good answers.
pub(super) fn observe(seen: &Seen<'_>, found: &mut Found<'_>) {
    authorisation_request(seen, found);
    login(seen, found);
    if !seen.good {
        return;
    }
    missing(seen, found);
    token(seen, found);
    in_url(seen, found);
    let Some(credential) = &seen.call.credential else { return };
    let claims = credential.claims.as_deref();
    if let Some(name) = claims.and_then(|claims| claims.default_account.as_deref())
        && !seen.access.is_open()
    {
        found.endpoint(seen, Kind::DefaultAccount, Kind::DefaultAccount.severity(), &[name]);
    }
    let heard = seen.call.completeness.recorder != Some(Recorder::Server);
    if credential.kind == CredentialKind::Basic && seen.call.tls.is_none() && heard {
        let public = !is_private(seen.call.client.ip) || !is_private(seen.call.server.ip);
        let (severity, details) = match public {
            true => (Severity::Medium, &["from or to a public address"][..]),
            false => (Severity::Low, &[][..]),
        };
        found.endpoint(seen, Kind::BasicInClear, severity, details);
    }
}

/// A login with an account that everybody tries first, and that succeeded. Of a batch it is not known which did.
fn login(seen: &Seen<'_>, found: &mut Found<'_>) {
    let values = seen.call.request_values.as_deref();
    let Some(name) = values.and_then(|values| values.default_account.as_deref()) else { return };
    if seen.judged.logins().is_some_and(|logins| logins.succeeded > 0 && logins.failed == 0) {
        found.endpoint(seen, Kind::DefaultAccount, Kind::DefaultAccount.severity(), &[name]);
    }
}

/// Data for nobody in particular, where others say who they are.
fn missing(seen: &Seen<'_>, found: &mut Found<'_>) {
    if !seen.anonymous() || seen.call.response.body_bytes.max(seen.call.response.wire_bytes) == 0 {
        return;
    }
    let access = seen.access;
    let sensitive = &seen.call.sensitive.response;
    if access.authenticated < OTHERS || access.is_open() {
        return;
    }
    // An endpoint may well be open to all; it is not meant to be when it refused others, or gives sensitive data, and hardly
    // when nobody ever came without.
    let locked = access.refused > 0 || !sensitive.is_empty();
    let private = seen.place.parameterised || !matches!(seen.call.verb(), "GET" | "HEAD");
    // A session that every visitor is given guards nothing by itself.
    let never_before = access.authenticated - access.in_cookies >= NEVER_BEFORE && access.anonymous < 1.0;
    if !(locked || private && never_before) {
        return;
    }
    let classes: Vec<&str> = sensitive.iter().map(|found| &*found.class).collect();
    let severity = match (locked, classes.is_empty()) {
        (false, _) => Severity::Medium,
        (true, true) => Severity::High,
        (true, false) => Severity::Critical,
    };
    found.endpoint(seen, Kind::Missing, severity, &classes);
}

/// Tokens that are accepted and should not be.
fn token(seen: &Seen<'_>, found: &mut Found<'_>) {
    let Some(claims) = seen.call.credential.as_ref().and_then(|credential| credential.claims.as_deref()) else {
        return;
    };
    // Who renews a token, or ends a session, sends one that is over.
    if !claims.token || seen.access.is_open() || seen.login {
        return;
    }
    if claims.unsigned {
        let algorithm = format!("alg {}", claims.algorithm.as_deref().unwrap_or("absent"));
        found.endpoint(seen, Kind::Unsigned, Kind::Unsigned.severity(), &[&algorithm]);
    }
    let Some(expires) = claims.expires else {
        found.endpoint(seen, Kind::LongLived, Severity::Medium, &["never expires"]);
        return;
    };
    let late = seen.call.start_time().since(expires).as_secs();
    if late > found.settings.clock_skew_seconds {
        let detail = match late {
            0..3_600 => "less than an hour late",
            3_600..86_400 => "less than a day late",
            _ => "days late",
        };
        found.endpoint(seen, Kind::Expired, Kind::Expired.severity(), &[detail]);
    }
    // Of one that does not say when it was issued, what is left of it is less than it was issued for.
    let begin = claims.issued.unwrap_or_else(|| seen.call.start_time());
    let hours = expires.since(begin).as_secs_f64() / 3_600.0;
    if hours > found.settings.token_hours {
        let detail = match claims.issued {
            // How much is left changes with each call, and says no more.
            None => "never issued, and far from its end".to_owned(),
            Some(_) if hours < 48.0 => format!("{hours:.0} hours"),
            Some(_) => format!("{:.0} days", hours / 24.0),
        };
        found.endpoint(seen, Kind::LongLived, Kind::LongLived.severity(), &[&detail]);
    }
}

/// Credentials in the query or the path. What signs a URL for a while is made for that.
fn in_url(seen: &Seen<'_>, found: &mut Found<'_>) {
    if !seen.call.sensitive.request.iter().any(|found| &*found.class == IN_TARGET) {
        return;
    }
    let signed = seen.call.credential.as_ref().is_some_and(|credential| credential.signature.is_some());
    let placed = seen.call.credential.as_ref().is_some_and(|credential| credential.place == CredentialPlace::Query);
    let names: Vec<&str> = seen.secret_parameters().collect();
    // Parameters of segments, and tokens that their form gives away.
    let in_path = seen.call.path.contains(MASK);
    if signed || (!placed && names.is_empty() && !in_path) {
        return;
    }
    let severity = if seen.call.tls.is_none() { Kind::InUrl.severity() } else { Severity::Low };
    found.endpoint(seen, Kind::InUrl, severity, &names);
}

/// What OAuth 2 asks a browser to do (RFC 6749, section 4).
fn authorisation_request(seen: &Seen<'_>, found: &mut Found<'_>) {
    let call = seen.call;
    let has = |name: &str| call.query_names.iter().any(|known| &**known == name);
    if call.method != "GET" || !has("response_type") || !has("client_id") || !matches!(call.status, Some(200..=399)) {
        return;
    }
    // What else is asked for stands in a request of its own (RFC 9101, RFC 9126), which is not seen.
    if has("request") || has("request_uri") {
        return;
    }
    let query = call.target.split_once('?').map_or("", |(_, query)| query);
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("response_type=")).unwrap_or_default();
    let mut words = asked.split(['+', ' ']).flat_map(|word| word.split("%20"));
    if words.clone().any(|word| word == "token") {
        found.endpoint(seen, Kind::ImplicitFlow, Kind::ImplicitFlow.severity(), &[]);
    } else if words.any(|word| word == "code") && !has("code_challenge") {
        found.endpoint(seen, Kind::NoPkce, Kind::NoPkce.severity(), &[]);
    }
}

/// Endpoints that are called signed, and unsigned.
pub(super) fn signatures(seen: &Seen<'_>, known: &mut Table<u64, Signing>, found: &mut Found<'_>) {
    if !seen.good {
        return;
    }
    let signature = seen.call.credential.as_ref().and_then(|credential| credential.signature);
    let Some(signature) = signature else {
        let signing = known.get(&seen.endpoint.0).filter(|_| !seen.partly_unknown());
        if let Some(signing) = signing.filter(|signing| signing.calls >= SIGNED[usize::from(signing.several)]) {
            let detail = format!("others sign with {}", signing.signature.name());
            found.endpoint(seen, Kind::SignatureMissing, Kind::SignatureMissing.severity(), &[&detail]);
        }
        return;
    };
    let signer = seen.call.credential.as_ref().map_or(0, |credential| credential.fingerprint.0);
    if known.get(&seen.endpoint.0).is_none() {
        let new = Signing { calls: 0, signer, several: false, signature };
        if known.insert(seen.endpoint.0, new, |signing| signing.calls).is_some() {
            found.counters.count(Counter::PracticeForgotten);
        }
    }
    if let Some(signing) = known.get_mut(&seen.endpoint.0) {
        signing.calls = signing.calls.saturating_add(1);
        signing.several |= signing.signer != signer;
    }
}

/// Credentials and sensitive data in clear on a way where everything is to be encrypted.
pub(super) fn boundaries(seen: &Seen<'_>, found: &mut Found<'_>) {
    let call = seen.call;
    if found.settings.encrypted.is_empty() || call.tls.is_some() || call.completeness.recorder.is_some() {
        return;
    }
    let crosses = |way: &&super::settings::Boundary| way.crosses(call.client.ip, call.server.ip);
    let Some(way) = found.settings.encrypted.iter().find(crosses).map(|way| way.text().to_owned()) else { return };
    let mut details: Vec<&str> = Vec::new();
    if call.credential.is_some() {
        details.push("credential");
    }
    if seen.login {
        details.push("login");
    }
    if call.response_fields.as_ref().is_some_and(|told| told.sets_session) {
        details.push("session");
    }
    details.extend(call.sensitive.all().map(|found| &*found.class));
    if details.is_empty() {
        return;
    }
    details.push(&way);
    found.endpoint(seen, Kind::ClearAcrossBoundary, Kind::ClearAcrossBoundary.severity(), &details);
}

impl Found<'_> {
    /// A call shows a finding about its endpoint.
    pub(super) fn endpoint(&mut self, seen: &Seen<'_>, kind: Kind, severity: Severity, details: &[&str]) {
        let proof = seen.proof(severity, details);
        self.note(kind, seen.endpoint.0, || seen.subject(), &proof);
    }

    /// The same about what has this hash.
    pub(super) fn note(
        &mut self,
        kind: Kind,
        about: u64,
        subject: impl FnOnce() -> super::finding::Subject,
        proof: &Proof<'_>,
    ) {
        self.out.extend(self.book.note(kind, about, subject, proof, self.counters));
    }
}
