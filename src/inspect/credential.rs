//! Who calls: the credential of a request, as a keyed fingerprint.
//!
//! In order of preference: `Authorization`, an API key header, a session cookie, a query parameter. What is sent on
//! purpose with each call comes before what a browser adds; a parameter comes last, because `token=` may as well be a
//! link's that many people follow.
//!
//! What is fingerprinted is what stays the same from call to call for one account: of Basic the user name, of Bearer
//! the token, of Digest, AWS Signature Version 4 and their like the parameter that names the caller, of `Cookie` the
//! session cookie alone. One token has one fingerprint wherever it is sent. Tokens that rotate are joined later, by
//! who knows what is in them.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use toml::Spanned;

use super::identity::{self, Identity};
use super::names::{Names, leaf};
use super::validate;
use crate::call::{Claims, Credential, CredentialKind, CredentialPlace, Fingerprint, KeyCandidate, Signature};
use crate::key::{Domain, Key};
use crate::rules::{Listed, RuleError, RuleFile};

/// The text of the rules that are compiled in.
pub(crate) const COMPILED_IN: &str = include_str!("../../rules/credentials.toml");
/// The file's name.
pub(crate) const FILE: &str = "credentials.toml";
/// The class of credentials in targets, as the rules that are compiled in have it (`parameter_class`).
pub(crate) const IN_TARGET: &str = "url_credential";

/// The keys of credentials' fingerprints.
#[derive(Clone, Debug)]
pub(super) struct Domains {
    /// Tokens, keys and sessions.
    token: Domain,
    /// Names of accounts.
    account: Domain,
    subject: Domain,
    group: Domain,
}

/// What was found out about the credentials of the last calls: taking a token apart costs more than all else that is
/// done with a head. In pairs of places, what was used last first: of five hundred tokens sixty share a place of 4,096, but
/// hardly any share two. Worst-case memory 4,096 times 88 bytes, 352 KiB, and 6 KiB for the claims of each token, 24 MiB
/// if all of them are as long as they may be.
#[derive(Debug)]
pub struct KnownCredentials(Vec<[Option<Credential>; 2]>);

/// Credentials that are remembered.
const KNOWN: usize = 4096;

impl Default for KnownCredentials {
    fn default() -> Self {
        KnownCredentials(vec![[None, None]; KNOWN / 2])
    }
}

impl KnownCredentials {
    /// The credential of this value, as it was made before or as `make` makes it.
    fn get(&mut self, kind: CredentialKind, fingerprint: Fingerprint, make: impl FnOnce() -> Credential) -> Credential {
        let Some(pair) = self.0.get_mut(fingerprint.0 as usize % (KNOWN / 2)) else { return make() };
        let same = |known: &Credential| known.fingerprint == fingerprint && known.kind == kind;
        if !pair[0].as_ref().is_some_and(same) {
            pair.swap(0, 1);
        }
        match &mut pair[0] {
            Some(credential) if same(credential) => credential.clone(),
            known => known.insert(make()).clone(),
        }
    }
}

impl Domains {
    /// A credential, with what it says of itself.
    fn credential(&self, kind: CredentialKind, fingerprint: Fingerprint, identity: Identity) -> Credential {
        let mut credential = Credential::new(kind, fingerprint);
        identity.name(&mut credential, &self.subject, &self.group);
        credential.claims = identity.claims.filter(|claims| *claims != Claims::default()).map(Arc::new);
        credential
    }

    /// The key of the fingerprints of accounts by their names.
    pub(super) fn accounts(&self) -> &Domain {
        &self.account
    }

    /// The fingerprint of a key, wherever it is sent.
    pub(super) fn key(&self, value: &[u8]) -> Fingerprint {
        self.token.fingerprint(value)
    }

    pub(super) fn new(key: &Key) -> Domains {
        Domains {
            token: key.domain("credential"),
            account: key.domain("credential.account"),
            subject: key.domain("credential.subject"),
            group: key.domain("credential.group"),
        }
    }
}

/// Cookies and parameters beyond this many are not looked at.
const PAIR_LIMIT: usize = 256;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The parameter that names the caller in a query that AWS Signature Version 4 signs.
const PRESIGNED: &[u8] = b"X-Amz-Credential";

/// Bytes of the shortest value that is taken for a token: fewer could be guessed over the network.
const SHORTEST_TOKEN: usize = 8;

/// The parts of a request that may say who is calling, raw.
#[derive(Clone, Copy, Debug, Default)]
pub struct CredentialHeaders<'a> {
    /// Value of `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// Value of `Cookie`.
    pub cookie: Option<&'a [u8]>,
    /// Value of the first header for which [`super::Inspector::is_api_key_header`] holds.
    pub api_key: Option<&'a [u8]>,
    /// Value of `Signature-Input`, or of `Signature` where it says what an input would (the drafts before RFC 9421).
    pub signature: Option<&'a [u8]>,
    /// The request target.
    pub target: &'a str,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    api_key_headers: Vec<Spanned<String>>,
    #[serde(default)]
    query_parameters: Vec<Spanned<String>>,
    #[serde(default)]
    masked_parameters: Vec<Spanned<String>>,
    #[serde(default)]
    plain_parameters: Vec<Spanned<String>>,
    parameter_class: String,
    #[serde(default)]
    session_cookies: Vec<Spanned<String>>,
    #[serde(default)]
    likely_headers: Vec<Spanned<String>>,
    #[serde(default)]
    likely_cookies: Vec<Spanned<String>>,
    #[serde(default)]
    unlikely_parts: Vec<Spanned<String>>,
    #[serde(default)]
    identity_parameters: Vec<Spanned<String>>,
    #[serde(default)]
    default_accounts: Vec<Spanned<String>>,
}

/// `rules/credentials.toml`, compiled.
#[derive(Debug, Default)]
pub(super) struct CredentialRules {
    api_key_headers: Names,
    query_parameters: Names,
    masked_parameters: Names,
    plain_parameters: Names,
    pub(super) parameter_class: String,
    session_cookies: Vec<Glob>,
    likely_headers: Vec<Glob>,
    likely_cookies: Vec<Glob>,
    unlikely_parts: Vec<Box<str>>,
    identity_parameters: Vec<Box<str>>,
    default_accounts: Vec<Arc<str>>,
}

fn names(list: &[Spanned<String>]) -> Names {
    Names::of(list.iter().map(|name| name.get_ref().as_str()))
}

/// A name, or a part of one with `*` before or behind it.
#[derive(Debug)]
struct Glob {
    text: Box<str>,
    open_left: bool,
    open_right: bool,
}

impl Glob {
    fn fits(&self, name: &[u8]) -> bool {
        let Some(cut) = name.len().checked_sub(self.text.len()) else { return false };
        let same = |part: &[u8]| part.eq_ignore_ascii_case(self.text.as_bytes());
        match (self.open_left, self.open_right) {
            (false, false) => cut == 0 && same(name),
            (true, false) => same(&name[cut..]),
            (false, true) => same(&name[..self.text.len()]),
            (true, true) => name.windows(self.text.len()).any(same),
        }
    }
}

impl CredentialRules {
    pub(super) fn parse(file: &RuleFile) -> Result<CredentialRules, RuleError> {
        let text: File = file.parse()?;
        let lists = [
            &text.api_key_headers,
            &text.query_parameters,
            &text.masked_parameters,
            &text.plain_parameters,
            &text.session_cookies,
            &text.likely_headers,
            &text.likely_cookies,
            &text.unlikely_parts,
            &text.identity_parameters,
            &text.default_accounts,
        ];
        for name in lists.into_iter().flatten() {
            if name.get_ref().trim_matches('*').is_empty() {
                return Err(file.error_at(name.span().start, "a name is empty"));
            }
        }
        // Detectors and findings ask by it whether what a target has was one.
        if text.parameter_class != IN_TARGET {
            let reason =
                format!("parameter_class is {:?}, where only {IN_TARGET:?} is understood", text.parameter_class);
            return Err(RuleError { file: file.path.clone(), line: None, reason });
        }
        let glob = |name: &Spanned<String>| {
            let inner = name.get_ref().trim_matches('*');
            if inner.contains('*') {
                return Err(file.error_at(name.span().start, "* stands at the beginning or the end only"));
            }
            Ok(Glob {
                text: inner.into(),
                open_left: name.get_ref().starts_with('*'),
                open_right: name.get_ref().ends_with('*'),
            })
        };
        Ok(CredentialRules {
            api_key_headers: names(&text.api_key_headers),
            query_parameters: names(&text.query_parameters),
            masked_parameters: names(&text.masked_parameters),
            plain_parameters: names(&text.plain_parameters),
            parameter_class: text.parameter_class,
            session_cookies: text.session_cookies.iter().map(glob).collect::<Result<_, _>>()?,
            likely_headers: text.likely_headers.iter().map(glob).collect::<Result<_, _>>()?,
            likely_cookies: text.likely_cookies.iter().map(glob).collect::<Result<_, _>>()?,
            unlikely_parts: text.unlikely_parts.iter().map(|part| part.get_ref().to_ascii_lowercase().into()).collect(),
            identity_parameters: text.identity_parameters.iter().map(|name| name.get_ref().as_str().into()).collect(),
            default_accounts: text.default_accounts.iter().map(|name| name.get_ref().as_str().into()).collect(),
        })
    }

    #[inline]
    pub(super) fn is_api_key_header(&self, name: &[u8]) -> bool {
        self.api_key_headers.has(name)
    }

    /// True when this value of a query parameter of that name is never to be printed: a secret of any length, or a
    /// token long enough to be one (`sid=159106` and `key=name` are numbers and names, which guard nothing).
    #[inline]
    pub(super) fn is_masked(&self, name: &[u8], value: &[u8]) -> bool {
        let name = leaf(name);
        self.masked_parameters.has(name) || (value.len() >= SHORTEST_TOKEN && self.query_parameters.has(name))
    }

    /// Whether a value of a parameter that is masked is a credential, and no word under a name that has such as well.
    pub(super) fn is_credential(&self, name: &[u8], value: &[u8]) -> bool {
        !self.plain_parameters.has(leaf(name)) || validate::is_drawn(value)
    }

    /// Whether a parameter of the query, decoded, says who is calling.
    pub(super) fn is_key(&self, name: &[u8], value: &[u8]) -> bool {
        self.query_parameters.has(leaf(name))
            && !value.is_empty()
            && !is_nothing(value)
            && self.is_credential(name, value)
    }

    /// Whether the values of a parameter or field of this name are secrets, whatever they look like.
    pub(super) fn is_secret(&self, name: &[u8]) -> bool {
        let name = leaf(name);
        self.masked_parameters.has(name) || self.query_parameters.has(name)
    }

    /// The name of an account that everybody tries first, as the rules have it.
    pub(super) fn default_account(&self, name: &[u8]) -> Option<Arc<str>> {
        self.default_accounts.iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes())).cloned()
    }

    /// Whether a value that looks drawn is a key by its name, though no rule knows just this name.
    fn is_likely(&self, place: CredentialPlace, name: &str) -> bool {
        let globs = match place {
            CredentialPlace::Header => &self.likely_headers,
            CredentialPlace::Cookie => &self.likely_cookies,
            // In a query the name of a key may be that of a page.
            CredentialPlace::Query => return false,
        };
        globs.iter().any(|glob| glob.fits(name.as_bytes())) && {
            let name = name.to_ascii_lowercase();
            !self.unlikely_parts.iter().any(|part| name.contains(&**part))
        }
    }

    /// The first candidate that is a key by its name, as a credential.
    pub(super) fn likely(&self, candidates: &[KeyCandidate], domains: &Domains) -> Option<Credential> {
        let candidate = candidates.iter().find(|candidate| self.is_likely(candidate.place, &candidate.name))?;
        let kind = match candidate.place {
            CredentialPlace::Cookie => CredentialKind::Cookie,
            CredentialPlace::Header | CredentialPlace::Query => CredentialKind::ApiKey,
        };
        let group = format!("likely {}", candidate.name);
        let identity = Identity { group, ..Identity::default() };
        let credential = domains.credential(kind, candidate.fingerprint, identity);
        Some(Credential { place: candidate.place, ..credential })
    }

    /// Whether a cookie of this name is a session by the rules.
    pub(super) fn is_session_cookie(&self, name: &[u8]) -> bool {
        self.session_cookies.iter().any(|glob| glob.fits(name))
    }

    pub(super) fn credential(
        &self,
        headers: &CredentialHeaders<'_>,
        domains: &Domains,
        known: &mut KnownCredentials,
    ) -> Option<Credential> {
        let mut found = self.found(headers, domains, known);
        let Some(input) = headers.signature.and_then(|value| present(Some(value))) else { return found };
        // A message that is signed beside its credential, or by which alone the caller is known.
        if let Some(credential) = &mut found {
            credential.signature.get_or_insert(Signature::HttpMessage);
            return found;
        }
        let name = parameter(input, b"keyid").unwrap_or_default();
        let (kind, fingerprint) = (CredentialKind::Other, domains.account.fingerprint(name));
        let mut credential = known
            .get(kind, fingerprint, || domains.credential(kind, fingerprint, identity::of_account("account", name)));
        credential.signature = Some(Signature::HttpMessage);
        Some(credential)
    }

    fn found(
        &self,
        headers: &CredentialHeaders<'_>,
        domains: &Domains,
        known: &mut KnownCredentials,
    ) -> Option<Credential> {
        let mut key = |value: &[u8]| {
            let (kind, fingerprint) = (CredentialKind::ApiKey, domains.token.fingerprint(value));
            known.get(kind, fingerprint, || domains.credential(kind, fingerprint, identity::opaque("api_key", value)))
        };
        if let Some(value) = present(headers.authorization).filter(|value| !is_nothing(value)) {
            return Some(self.authorization(value, domains, known));
        }
        if let Some(value) = present(headers.api_key).filter(|value| !is_nothing(value)) {
            return Some(key(value));
        }
        if let Some((name, value)) = headers.cookie.and_then(|cookie| self.session_cookie(cookie)) {
            let (kind, fingerprint) = (CredentialKind::Cookie, domains.token.fingerprint(value));
            let mut credential = known.get(kind, fingerprint, || {
                let group = format!("cookie {}", String::from_utf8_lossy(name));
                let Identity { claims, role, .. } = identity::of_bearer(value);
                domains.credential(kind, fingerprint, Identity { subject: None, group, role, claims })
            });
            credential.place = CredentialPlace::Cookie;
            return Some(credential);
        }
        let (name, value) = query_pairs(headers.target).find(|(name, value)| {
            let is_key = || self.is_key(&decoded(name), &decoded(value));
            !value.is_empty() && (name.eq_ignore_ascii_case(PRESIGNED) || is_key())
        })?;
        let value = decoded(value);
        let mut credential = if name.eq_ignore_ascii_case(PRESIGNED) {
            let name = before_slash(&value);
            let (kind, fingerprint) = (CredentialKind::Other, domains.account.fingerprint(name));
            let make = || domains.credential(kind, fingerprint, identity::of_account("account", name));
            let credential = known.get(kind, fingerprint, make);
            Credential { signature: Some(Signature::AwsSigv4), ..credential }
        } else {
            key(&value)
        };
        credential.place = CredentialPlace::Query;
        Some(credential)
    }

    fn authorization(&self, value: &[u8], domains: &Domains, known: &mut KnownCredentials) -> Credential {
        let mut of = |kind, domain: &Domain, value: &[u8], identity: &dyn Fn(&[u8]) -> Identity| {
            let fingerprint = domain.fingerprint(value);
            known.get(kind, fingerprint, || domains.credential(kind, fingerprint, identity(value)))
        };
        let Domains { token, account, .. } = domains;
        let Some(space) = value.iter().position(|&byte| byte == b' ' || byte == b'\t') else {
            // No scheme at all: some APIs take the bare token.
            return of(CredentialKind::Other, token, value, &identity::of_bearer);
        };
        let (scheme, rest) = (&value[..space], value[space..].trim_ascii());
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return of(CredentialKind::Bearer, token, rest, &identity::of_bearer);
        }
        let named = |name: &[u8]| {
            let default = self.default_account(name);
            let claims = default.map(|known| Claims { default_account: Some(known), ..Claims::default() });
            Identity { claims, ..identity::of_account("account", name) }
        };
        let unnamed = |_: &[u8]| identity::of_account("account", b"");
        if scheme.eq_ignore_ascii_case(b"basic") {
            return match BASE64.decode(rest) {
                Ok(pair) => {
                    let name = pair.split(|&byte| byte == b':').next().unwrap_or(&pair);
                    of(CredentialKind::Basic, account, name, &named)
                }
                Err(_) => of(CredentialKind::Basic, token, rest, &unnamed),
            };
        }
        let signature = signature_of(scheme, rest);
        for name in &self.identity_parameters {
            if let Some(found) = parameter(rest, name.as_bytes()) {
                // The rest of an AWS credential is date, region and service.
                let name = if name.eq_ignore_ascii_case("credential") { before_slash(found) } else { found };
                return Credential { signature, ..of(CredentialKind::Other, account, name, &named) };
            }
        }
        Credential { signature, ..of(CredentialKind::Other, token, rest, &identity::of_token) }
    }

    /// Name and value of the cookie that the earliest pattern fits.
    fn session_cookie<'c>(&self, cookie: &'c [u8]) -> Option<(&'c [u8], &'c [u8])> {
        let mut best: Option<(usize, &[u8], &[u8])> = None;
        for pair in cookie.split(|&byte| byte == b';').take(PAIR_LIMIT) {
            let Some(equals) = pair.iter().position(|&byte| byte == b'=') else { continue };
            let (name, value) = (pair[..equals].trim_ascii(), unquoted(pair[equals + 1..].trim_ascii()));
            if value.is_empty() {
                continue;
            }
            let candidates = best.map_or(self.session_cookies.len(), |(rank, ..)| rank);
            if let Some(rank) = self.session_cookies.iter().take(candidates).position(|glob| glob.fits(name)) {
                best = Some((rank, name, value));
            }
        }
        best.map(|(_, name, value)| (name, value))
    }
}

/// How a request is signed whose `Authorization` has this scheme and these parameters.
fn signature_of(scheme: &[u8], parameters: &[u8]) -> Option<Signature> {
    let has = |part: &[u8]| scheme.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part));
    if scheme.get(..5).is_some_and(|begin| begin.eq_ignore_ascii_case(b"aws4-")) {
        return Some(Signature::AwsSigv4);
    }
    if scheme.eq_ignore_ascii_case(b"signature") {
        return Some(Signature::HttpMessage);
    }
    // Shared keys of Azure are named, not written as parameters.
    let other = has(b"hmac")
        || has(b"hawk")
        || has(b"sharedkey")
        || parameter(parameters, b"oauth_signature").is_some()
        || parameter(parameters, b"signature").is_some();
    other.then_some(Signature::Other)
}

/// What stands before the first slash.
fn before_slash(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == b'/').next().unwrap_or(text)
}

fn present(value: Option<&[u8]>) -> Option<&[u8]> {
    value.map(<[u8]>::trim_ascii).filter(|value| !value.is_empty())
}

/// What programs send that have no token: nothing, or how their language writes it, behind a scheme or not.
fn is_nothing(value: &[u8]) -> bool {
    const NOTHING: [&str; 8] = ["null", "undefined", "(null)", "none", "nil", "bearer", "token", "basic"];
    let token = match value.iter().position(u8::is_ascii_whitespace) {
        Some(space) => value[space..].trim_ascii(),
        None => value,
    };
    NOTHING.iter().any(|known| token.eq_ignore_ascii_case(known.as_bytes()))
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// The value of `name=` in a list that commas, semicolons or white space separate, quoted or not; not empty.
fn parameter<'p>(list: &'p [u8], name: &[u8]) -> Option<&'p [u8]> {
    let mut rest = list;
    for _ in 0..PAIR_LIMIT {
        rest = &rest[rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b',' | b';'))?..];
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b' ' | b',' | b';'))?;
        let (found, tail) = rest.split_at(end);
        let Some(tail) = tail.strip_prefix(b"=") else {
            rest = tail;
            continue;
        };
        let (value, behind) = match tail.strip_prefix(b"\"") {
            Some(quoted) => {
                let close = quoted.iter().position(|&byte| byte == b'"').unwrap_or(quoted.len());
                (&quoted[..close], quoted.get(close + 1..).unwrap_or_default())
            }
            None => {
                let end = tail.iter().position(|byte| matches!(byte, b' ' | b',' | b';')).unwrap_or(tail.len());
                tail.split_at(end)
            }
        };
        if found.eq_ignore_ascii_case(name) && !value.is_empty() {
            return Some(value);
        }
        rest = behind;
    }
    None
}

/// Name and value of each query parameter, raw, at most [`PAIR_LIMIT`].
pub(super) fn query_pairs(target: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
    let bytes = target.as_bytes();
    let query = memchr::memchr2(b'?', b'#', bytes).map_or(&[][..], |mark| &bytes[mark + 1..]);
    query.split(|&byte| matches!(byte, b'&' | b';' | b'#' | b'?')).take(PAIR_LIMIT).map(|pair| {
        let equals = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        (&pair[..equals], pair.get(equals + 1..).unwrap_or_default())
    })
}

/// Name and value of each parameter of a segment of the path (`/cart;jsessionid=8F14`, RFC 3986, section 3.3), raw, at most
/// [`PAIR_LIMIT`]. Most paths have none.
pub(super) fn segment_pairs(path: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
    let first = memchr::memchr(b';', path.as_bytes()).map_or(path.len(), |semicolon| semicolon + 1);
    let rest = path.as_bytes().get(first..).unwrap_or_default();
    rest.split(|&byte| matches!(byte, b'/' | b';')).take(PAIR_LIMIT).filter_map(|pair| {
        let equals = memchr::memchr(b'=', pair)?;
        Some((&pair[..equals], pair.get(equals + 1..).unwrap_or_default()))
    })
}

/// Percent-encoding undone; borrowed when there is none.
pub(super) fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    percent_encoding::percent_decode(text).into()
}

/// What the file holds, for `apitap rules list`.
pub(crate) fn list(file: &RuleFile) -> Result<Vec<Listed>, Vec<RuleError>> {
    let rules = CredentialRules::parse(file).map_err(|error| vec![error])?;
    let entry = |name: &str, count: usize, what: &str| Listed {
        file: file.path.clone(),
        name: name.to_owned(),
        class: "credential".to_owned(),
        description: format!("{count} {what}"),
    };
    Ok(vec![
        entry("api_key_headers", rules.api_key_headers.len(), "headers that carry an API key"),
        entry("query_parameters", rules.query_parameters.len(), "query parameters that say who calls; masked"),
        entry("masked_parameters", rules.masked_parameters.len(), "other query parameters that are masked"),
        entry("session_cookies", rules.session_cookies.len(), "names of session cookies"),
        entry(
            "likely_headers",
            rules.likely_headers.len(),
            "patterns of headers that carry a key where they look like one",
        ),
        entry(
            "likely_cookies",
            rules.likely_cookies.len(),
            "patterns of cookies that are sessions where they look drawn",
        ),
        entry("unlikely_parts", rules.unlikely_parts.len(), "parts of names that are none of these"),
        entry(
            "identity_parameters",
            rules.identity_parameters.len(),
            "parameters of Authorization that name the caller",
        ),
        entry("default_accounts", rules.default_accounts.len(), "names of accounts that everybody tries first"),
    ])
}
