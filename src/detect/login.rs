//! Logins: which calls are attempts to log in, and how they came out. Who wants to know either asks here.
//!
//! | answer | the attempt |
//! | --- | --- |
//! | 2xx, but for a page, and for JSON that says that a password was refused | succeeded |
//! | 302 or 303 with a new session cookie, or to anywhere but a page for logging in | succeeded |
//! | 302 or 303 back to the page for logging in | failed |
//! | 400, 401, 403, 422, 429, or a failure that the answer of an operation or to a password tells | failed |
//! | a page, a redirection of which it is not known where it leads, other 3xx | unclear |
//! | anything else | says nothing of the account |
//!
//! A session cookie is new where the request came without one: servers that renew it with each answer do so after a failure,
//! too. An operation of GraphQL, JSON-RPC or SOAP is a login by its name; of a batch of such, and of one field under several
//! aliases, each is an attempt. Where aliases are answered in part, it is not known how many failed: that is one success.

use super::observation::Observation;
use super::rules::DetectRules;
use crate::call::{Call, CredentialKind, Operation, OperationKind, Protocol};

/// Attempts of one call that are told apart.
const MOST: u32 = 64;

/// Attempts to log in that one call makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logins {
    /// Those that were refused.
    pub failed: u32,
    /// Those that were answered as a login is that succeeds.
    pub succeeded: u32,
    /// Those of which the answer does not say.
    pub unclear: u32,
}

/// How one attempt came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Failed,
    Succeeded,
    Unclear,
}

/// Whether a call is an attempt to log in.
pub(super) fn is_login(call: &Call, rules: &DetectRules) -> bool {
    rules.is_login(&call.method, &call.path) || call.operation.as_ref().is_some_and(|asked| logs_in(asked, rules))
}

/// What came of the attempts of a call that is one.
pub(super) fn outcome(seen: &Observation<'_>) -> Logins {
    let Some(outcome) = seen.status.and_then(|status| of_one(seen.call, status, seen.rules)) else {
        return Logins::default();
    };
    let operation = seen.call.operation.as_deref();
    // Of a batch of several sorts it is not known which of them failed.
    let several = operation.filter(|asked| asked.others.is_empty() && logs_in(asked, seen.rules));
    let count = several.map_or(1, |asked| if asked.count > 1 { asked.count } else { asked.repeats.saturating_add(1) });
    let count = count.min(MOST);
    let failed = several.map_or(0, |asked| asked.failed).min(count);
    match outcome {
        _ if failed > 0 => Logins { failed, succeeded: count - failed, unclear: 0 },
        Outcome::Failed => Logins { failed: count, ..Logins::default() },
        Outcome::Succeeded if several.is_some_and(|asked| asked.repeats > 0) => {
            Logins { succeeded: 1, ..Logins::default() }
        }
        Outcome::Succeeded => Logins { succeeded: count, ..Logins::default() },
        Outcome::Unclear => Logins { unclear: 1, ..Logins::default() },
    }
}

/// Whether an operation is a login by its name; those of GraphQL by what is asked for, since their names are the client's choice.
fn logs_in(asked: &Operation, rules: &DetectRules) -> bool {
    match asked.protocol {
        Protocol::GraphQl => {
            let mut fields = asked.fields.iter().filter(|field| &***field != "__typename").peekable();
            asked.kind == Some(OperationKind::Mutation)
                && fields.peek().is_some()
                && fields.all(|field| rules.is_login_operation(field))
        }
        Protocol::JsonRpc | Protocol::Soap => asked.name.as_deref().is_some_and(|name| rules.is_login_operation(name)),
    }
}

/// How an attempt came out that is answered with this status, as [`Call::outcome`] has it.
fn of_one(call: &Call, status: u16, rules: &DetectRules) -> Option<Outcome> {
    match status {
        200..=299 if call.response.content_type.as_deref() == Some("text/html") => Some(Outcome::Unclear),
        200..=299 if call.response_fields.as_ref().is_some_and(|told| told.refuses) => Some(Outcome::Failed),
        200..=299 => Some(Outcome::Succeeded),
        302 | 303 => Some(of_redirect(call, rules)),
        300..=399 => Some(Outcome::Unclear),
        400 | 401 | 403 | 422 | 429 => Some(Outcome::Failed),
        500 if tells_failure(call) => Some(Outcome::Failed),
        _ => None,
    }
}

/// Whether the answer of an operation, which HTTP calls good, says that it failed for a reason of its own.
fn tells_failure(call: &Call) -> bool {
    let error =
        call.operation.as_ref().filter(|asked| asked.protocol != Protocol::Soap).and_then(|asked| asked.failure());
    let internal = |code: &str| code == "-32603" || code.to_ascii_lowercase().contains("internal");
    matches!(call.status, Some(200..=299)) && error.is_some_and(|error| !error.code.as_deref().is_some_and(internal))
}

fn of_redirect(call: &Call, rules: &DetectRules) -> Outcome {
    let Some(told) = call.response_fields.as_deref() else { return Outcome::Unclear };
    let had_session = call.credential.as_ref().is_some_and(|held| held.kind == CredentialKind::Cookie);
    if told.sets_session && !had_session {
        return Outcome::Succeeded;
    }
    let Some(path) = told.redirect_path.as_deref() else { return Outcome::Unclear };
    let name = |host: &str| host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let asked = call.host.as_deref().map(name);
    let leads = told.redirects_to.as_deref().and_then(|origin| origin.split_once("//")).map(|(_, host)| name(host));
    if leads.is_some() && asked.is_some() && leads != asked {
        return Outcome::Succeeded;
    }
    let same = path.trim_end_matches('/') == call.path.trim_end_matches('/');
    match rules.is_login_page(path) || (same && rules.ends_in_login(path)) {
        true => Outcome::Failed,
        false => Outcome::Succeeded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Credential, Fingerprint, OperationError, ResponseFields};

    fn rules() -> DetectRules {
        DetectRules::default()
    }

    fn redirected(from: &str, path: Option<&str>, to: Option<&str>, sets_session: bool) -> Call {
        let fields = ResponseFields {
            redirects_to: to.map(Into::into),
            redirect_path: path.map(Into::into),
            sets_session,
            ..ResponseFields::default()
        };
        Call {
            method: "POST".into(),
            path: from.into(),
            host: Some("Shop.example:8080".into()),
            status: Some(302),
            response_fields: Some(Box::new(fields)),
            ..Call::default()
        }
    }

    #[test]
    fn redirections_say_how_a_login_came_out() {
        let rules = rules();
        let of = |call: &Call| of_one(call, 302, &rules);
        for (from, path, to, session, outcome) in [
            ("/login", Some("/login"), None, false, Outcome::Failed),
            ("/login", Some("/account"), None, false, Outcome::Succeeded),
            ("/login", Some("/login"), None, true, Outcome::Succeeded),
            ("/session", Some("/login.php"), Some("https://shop.example"), false, Outcome::Failed),
            ("/session", Some("/session"), None, false, Outcome::Failed),
            ("/sessions", Some("/sessions/new"), None, false, Outcome::Failed),
            ("/login", Some("/login"), Some("https://id.example"), false, Outcome::Succeeded),
            ("/auth/profile", Some("/auth/profile"), None, false, Outcome::Succeeded),
            ("/login", None, None, false, Outcome::Unclear),
        ] {
            assert_eq!(of(&redirected(from, path, to, session)), Some(outcome), "{from} {path:?} {to:?}");
        }
        // Who had a session gets another after a failure as well.
        let mut renewed = redirected("/login", Some("/login"), None, true);
        renewed.credential = Some(Credential::new(CredentialKind::Cookie, Fingerprint(7)));
        assert_eq!(of(&renewed), Some(Outcome::Failed));
        renewed.response_fields = None;
        assert_eq!(of(&renewed), Some(Outcome::Unclear));
        assert_eq!(of_one(&renewed, 301, &rules), Some(Outcome::Unclear));
    }

    #[test]
    fn an_answer_of_200_may_refuse() {
        let answered = |refuses| Call {
            status: Some(200),
            response_fields: Some(Box::new(ResponseFields { refuses, ..ResponseFields::default() })),
            ..Call::default()
        };
        assert_eq!(of_one(&answered(true), 200, &rules()), Some(Outcome::Failed));
        assert_eq!(of_one(&answered(false), 200, &rules()), Some(Outcome::Succeeded));
    }

    #[test]
    fn operations_log_in_by_their_names_and_each_counts() {
        let rules = rules();
        let mutation = |fields: &[&str]| Operation {
            kind: Some(OperationKind::Mutation),
            fields: fields.iter().map(|field| (*field).into()).collect(),
            ..Operation::default()
        };
        assert!(logs_in(&mutation(&["login"]), &rules) && logs_in(&mutation(&["__typename", "tokenAuth"]), &rules));
        assert!(!logs_in(&mutation(&["login", "rename"]), &rules) && !logs_in(&mutation(&["__typename"]), &rules));
        assert!(!logs_in(&Operation { kind: Some(OperationKind::Query), ..mutation(&["login"]) }, &rules));
        let told = |status: u16, code: Option<&str>, http: u16| {
            let error = Some(OperationError { status, code: code.map(Into::into) });
            let call = Call {
                status: Some(http),
                operation: Some(Box::new(Operation { error, ..mutation(&["login"]) })),
                ..Call::default()
            };
            of_one(&call, status, &rules)
        };
        assert_eq!(told(401, Some("UNAUTHENTICATED"), 200), Some(Outcome::Failed));
        assert_eq!(told(500, None, 200), Some(Outcome::Failed));
        assert_eq!(told(500, Some("INTERNAL_SERVER_ERROR"), 200), None);
        assert_eq!(told(500, None, 500), None);
    }
}
