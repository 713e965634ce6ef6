//! What answers hold that no caller needs: secrets, and errors that tell how a service is made.
//!
//! The detector says when an endpoint begins to give out what it did not; here is what it has always given out.

use super::kind::Kind;
use super::{Found, Seen};
use crate::alert::Severity;

/// Classes of secrets (`rules/sensitive.toml`).
pub(super) const SECRETS: [&str; 9] = [
    "private_key",
    "cloud_key",
    "source_forge_token",
    "payment_key",
    "chat_token",
    "service_token",
    "password_hash",
    "database_url",
    "generic_secret",
];

/// Those of them that nobody needs to read again.
const NEVER: [&str; 3] = ["private_key", "password_hash", "database_url"];

/// Classes of what a service tells of itself when something goes wrong.
const ERRORS: [&str; 4] = ["stack_trace", "sql_error", "debug_page", "directory_listing"];

/// Takes an answer.
pub(super) fn observe(seen: &Seen<'_>, found: &mut Found<'_>) {
    let sensitive = &seen.call.sensitive.response;
    if sensitive.is_empty() || seen.call.outcome().is_none() {
        return;
    }
    // What makes a key or a database answers with it, once; a login with a token. A page, a style or a program for browsers has
    // keys that are meant for them, and examples of all kinds. Nobody needs the hash of a password, whatever was asked for.
    let reads = matches!(seen.call.verb(), "GET" | "HEAD");
    let for_browsers = seen.call.response.content_type.as_deref().is_some_and(|media| {
        ["text/html", "text/css", "javascript", "ecmascript"].iter().any(|kind| media.contains(kind))
    });
    let is_secret = |class: &str| match NEVER.contains(&class) {
        true => reads || class == "password_hash",
        false => reads && !for_browsers && SECRETS.contains(&class),
    };
    let classes = || sensitive.iter().map(|found| &*found.class);
    if seen.good && !seen.login {
        let secrets: Vec<&str> = classes().filter(|class| is_secret(class)).collect();
        if !secrets.is_empty() {
            let severity = match secrets.iter().any(|class| NEVER.contains(class)) {
                true if for_browsers => Severity::Low,
                true => Severity::Critical,
                false => Kind::ExposedSecret.severity(),
            };
            found.endpoint(seen, Kind::ExposedSecret, severity, &secrets);
        }
    }
    let errors: Vec<&str> = classes().filter(|class| ERRORS.contains(class)).collect();
    if !errors.is_empty() {
        // In a good answer it may be what was asked for: a log, an article, a folder that is meant to be read.
        let failed = seen.call.outcome().is_some_and(|status| status >= 400);
        let severity = if failed { Kind::ExposedError.severity() } else { Severity::Low };
        found.endpoint(seen, Kind::ExposedError, severity, &errors);
    }
}
