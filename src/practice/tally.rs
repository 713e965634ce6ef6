//! What calls have in common, counted: the evidence for what is as it should be.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Seen;
use super::learned::LearnedName;
use crate::call::{Connection, CredentialKind, CredentialPlace};

/// Classes of sensitive values that are told apart.
const CLASSES: usize = 64;

/// Counts of calls, each call once however long it goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// All calls of which it is known who made them.
    pub calls: u64,
    /// Of these, calls of which a part was not seen.
    pub incomplete: u64,
    /// Good answers.
    pub good: u64,
    /// Good answers to calls that said who made them.
    pub authenticated: u64,
    /// These by the kind of credential.
    pub credentials: BTreeMap<String, u64>,
    /// Good answers to calls with a JSON Web Token.
    pub tokens: u64,
    /// These whose token names whom it stands for.
    pub tokens_with_subject: u64,
    /// These whose token expires.
    pub tokens_that_expire: u64,
    /// These whose token had expired when it was sent, whatever clocks differ by.
    pub tokens_expired: u64,
    /// Calls that asked for a token, or for a login that leads to one (OAuth 2), by their paths.
    pub token_requests: u64,
    /// Calls that came in TLS and were opened with their keys.
    pub encrypted: u64,
    /// Records of connections in TLS that keep what is in them.
    pub encrypted_connections: u64,
    /// Calls that are signed.
    pub signed: u64,
    /// Calls in TLS whose client showed a certificate.
    pub client_certificates: u64,
    /// Calls that a gateway made.
    pub by_gateway: u64,
    /// Calls of the estate to third parties.
    pub outbound: u64,
    /// Calls to endpoints with a parameter in the path, or with parameters of a query, or whose bodies name an object.
    pub parameterised: u64,
    /// Calls whose bodies were looked into for the names of their fields.
    pub shaped: u64,
    /// Answers 429.
    pub limited: u64,
    /// Answers that tell a limit: `Retry-After` or one of the `RateLimit` fields.
    pub limits_told: u64,
    /// Answers with sensitive values, by class.
    pub sensitive: BTreeMap<Arc<str>, u64>,
    /// Keys that come under names that no rule knows, by service and name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub learned_keys: Vec<LearnedKey>,
}

/// A name under which keys come, though no rule knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnedKey {
    /// The host that requests name.
    pub service: String,
    /// Where it stands.
    pub place: CredentialPlace,
    /// The header, in lower case, the parameter or the cookie.
    pub name: String,
    /// Good answers to calls with it.
    pub calls: u64,
}

impl LearnedKey {
    pub(super) fn of(learned: &LearnedName<'_>) -> LearnedKey {
        let (service, name) = (learned.service.to_owned(), learned.name.to_owned());
        LearnedKey { service, place: learned.place, name, calls: learned.calls }
    }
}

impl Tally {
    pub(super) fn note(&mut self, seen: &Seen<'_>, by_gateway: bool) {
        let call = seen.call;
        self.calls += 1;
        self.incomplete += u64::from(
            !call.completeness.response
                || call.request.gap_bytes + call.response.gap_bytes > 0
                || call.request.truncated
                || call.response.truncated,
        );
        self.encrypted += u64::from(call.tls.is_some());
        self.client_certificates += u64::from(call.tls.as_ref().is_some_and(|tls| tls.client_certificate.is_some()));
        self.by_gateway += u64::from(by_gateway);
        let named = call.request_values.as_ref().is_some_and(|values| values.object.is_some());
        self.parameterised += u64::from(seen.place.parameterised || named || !call.query_names.is_empty());
        self.shaped += u64::from(call.shape.is_some());
        self.limited += u64::from(call.outcome() == Some(429));
        self.limits_told += u64::from(
            call.response_fields.as_ref().is_some_and(|told| told.retry_after.is_some() || told.rate_limit.is_some()),
        );
        self.token_requests += u64::from(is_token_request(&call.method, &call.path));
        self.signed += u64::from(call.credential.as_ref().is_some_and(|credential| credential.signature.is_some()));
        for found in &call.sensitive.response {
            if let Some(count) = self.sensitive.get_mut(&found.class) {
                *count += 1;
            } else if self.sensitive.len() < CLASSES {
                self.sensitive.insert(found.class.clone(), 1);
            }
        }
        if !seen.good {
            return;
        }
        self.good += 1;
        self.authenticated += u64::from(seen.judged.authenticated() || seen.keyed);
        let Some(credential) = &call.credential else { return };
        let kind = match credential.kind {
            CredentialKind::Basic => "basic",
            CredentialKind::Bearer => "bearer",
            CredentialKind::Other => "other",
            CredentialKind::ApiKey => "api_key",
            CredentialKind::Cookie => "cookie",
        };
        match self.credentials.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(self.credentials.insert(kind.to_owned(), 1)),
        }
        if let Some(claims) = credential.claims.as_deref().filter(|claims| claims.token) {
            self.tokens += 1;
            self.tokens_with_subject += u64::from(credential.subject.is_some());
            self.tokens_that_expire += u64::from(claims.expires.is_some());
            self.tokens_expired += u64::from(claims.expires.is_some_and(|expires| expires < call.start_time()));
        }
    }

    pub(super) fn connection(&mut self, connection: &Connection) {
        self.encrypted_connections += u64::from(connection.tls.as_ref().is_some_and(|tls| !tls.decrypted));
    }
}

/// Whether a call goes to an endpoint of OAuth 2 or OpenID Connect that gives out tokens, by its usual names.
fn is_token_request(method: &str, path: &str) -> bool {
    let Some(last) = path.trim_end_matches('/').rsplit('/').next() else { return false };
    match method {
        "POST" => ["token", "device_authorization", "par"].iter().any(|name| last.eq_ignore_ascii_case(name)),
        "GET" => last.eq_ignore_ascii_case("authorize"),
        _ => false,
    }
}
