//! What a finding can be about, and what is advised.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::alert::Severity;

/// The advice that the posture is held against, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// Authenticate every call.
    Authenticate,
    /// Encrypt what is sent and sign it.
    EncryptAndSign,
    /// Tie tokens to identities, for a short time.
    TieTokens,
    /// Put a gateway in front.
    Gateway,
    /// Set quotas.
    Quotas,
    /// Track data leaks with a sniffer.
    TrackLeaks,
    /// Observe continually.
    Observe,
}

impl Advice {
    /// All of it.
    pub const ALL: [Advice; 7] = [
        Advice::Authenticate,
        Advice::EncryptAndSign,
        Advice::TieTokens,
        Advice::Gateway,
        Advice::Quotas,
        Advice::TrackLeaks,
        Advice::Observe,
    ];

    /// As one line for people.
    pub const fn text(self) -> &'static str {
        match self {
            Advice::Authenticate => "authenticate every call",
            Advice::EncryptAndSign => "encrypt and sign",
            Advice::TieTokens => "tie tokens to identities",
            Advice::Gateway => "put a gateway in front",
            Advice::Quotas => "set quotas",
            Advice::TrackLeaks => "track data leaks with a sniffer",
            Advice::Observe => "observe continually",
        }
    }
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $severity:ident, $advice:ident, $owasp:expr, $remedy:literal;)+) => {
        /// What a finding is about; `group.name` in JSON.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[doc = $doc])+ $variant,)+ }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant),+];

            /// Its name: `group.name`.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name),+ }
            }

            /// How bad it is unless something makes it worse.
            pub const fn severity(self) -> Severity {
                match self { $(Kind::$variant => Severity::$severity),+ }
            }

            /// The advice that it breaks.
            pub const fn advice(self) -> Advice {
                match self { $(Kind::$variant => Advice::$advice),+ }
            }

            /// Identifiers in the OWASP API Security Top 10 of 2023, without the year.
            pub const fn owasp(self) -> &'static [&'static str] {
                match self { $(Kind::$variant => &$owasp),+ }
            }

            /// What to do about it.
            pub const fn remedy(self) -> &'static str {
                match self { $(Kind::$variant => $remedy),+ }
            }

            /// What it is, as one sentence.
            pub const fn help(self) -> &'static str {
                match self { $(Kind::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

// Checkpoints know them by their numbers: new ones come last.
kinds! {
    /// Data is given out without a credential, at an endpoint where others present one.
    Missing = "credential.missing", High, Authenticate, ["API2"],
        "Demand a credential at this endpoint for every method and version, and deny by default.";
    /// A token is accepted after it expired.
    Expired = "credential.expired", High, Authenticate, ["API2"],
        "Compare `exp` with the clock at every call, with a leeway of a minute or two.";
    /// A token without a signature is accepted.
    Unsigned = "credential.unsigned", Critical, Authenticate, ["API2"],
        "Accept the algorithms that you issue and no others; never `none`, never an empty signature.";
    /// Accounts that everybody tries first are answered.
    DefaultAccount = "credential.default_account", High, Authenticate, ["API2", "API8"],
        "Remove or rename the account, or give it a long random password that is not used elsewhere.";
    /// Tokens are accepted that are valid for very long, or for ever.
    LongLived = "credential.long_lived", Low, TieTokens, ["API2"],
        "Issue access tokens for minutes or hours and renew them with refresh tokens that can be revoked.";
    /// The OAuth 2 implicit flow is in use: tokens come in the URL of a redirection.
    ImplicitFlow = "credential.implicit_flow", Medium, TieTokens, ["API2"],
        "Use the authorisation code flow with PKCE (RFC 9700, section 2.1.2).";
    /// The OAuth 2 authorisation code flow is in use without PKCE.
    NoPkce = "credential.no_pkce", Low, TieTokens, ["API2"],
        "Send `code_challenge` and demand it (RFC 7636; RFC 9700, section 2.1.1).";
    /// Credentials are sent in URLs, where logs, histories and proxies keep them.
    InUrl = "credential.in_url", Medium, EncryptAndSign, ["API2", "API8"],
        "Take credentials in a header or in the body, refuse them in the query, and renew those that were sent.";
    /// Passwords are sent in clear with each call (Basic without TLS).
    BasicInClear = "credential.basic_in_clear", Low, EncryptAndSign, ["API2", "API8"],
        "Serve this endpoint over TLS only, and use tokens that expire in place of passwords.";
    /// An endpoint that others call signed is answered unsigned.
    SignatureMissing = "signature.missing", Medium, EncryptAndSign, ["API2", "API8"],
        "Demand the signature of every call to this endpoint.";
    /// Credentials or sensitive data cross a boundary in clear that is to be encrypted.
    ClearAcrossBoundary = "transport.clear_across_boundary", High, EncryptAndSign, ["API8"],
        "Use TLS on this way, with certificates of both ends where services speak with one another.";
    /// Clients reach a service around the gateway.
    GatewayBypass = "gateway.bypass", High, Gateway, ["API8", "API9"],
        "Let the service take connections of the gateway alone: by network policy, and by mutual TLS.";
    /// A service calls a third party in clear.
    OutboundClear = "outbound.clear", Medium, EncryptAndSign, ["API10"],
        "Call third parties over TLS only, and verify their certificates.";
    /// A third party redirects a service of the estate to another host.
    OutboundRedirect = "outbound.redirect", Medium, Observe, ["API10"],
        "Do not follow redirections of third parties, or only to hosts on a list.";
    /// A service sends secrets to a third party.
    OutboundSecret = "outbound.secret", High, TrackLeaks, ["API10"],
        "Keep secrets out of what is sent; renew those that were.";
    /// A quota is exceeded.
    QuotaBreach = "quota.breach", Medium, Quotas, ["API4"],
        "Enforce the quota at the gateway with 429 and Retry-After, or raise it where the use is honest.";
    /// A quota is nearly used up.
    QuotaNear = "quota.near", Low, Quotas, ["API4"],
        "Speak with who calls, or plan for a higher quota, before calls are refused.";
    /// A client stays just below a quota, window after window.
    QuotaHovering = "quota.hovering", Medium, Quotas, ["API4", "API6"],
        "Look at what the client takes: who knows the limit and uses all of it may be draining data.";
    /// A client goes on calling though it was told to wait.
    RetryIgnored = "quota.retry_ignored", Low, Quotas, ["API4"],
        "Have the client honour 429, Retry-After and RateLimit; block it for a while if it does not.";
    /// Answers hold secrets: keys, passwords, hashes of passwords.
    ExposedSecret = "exposure.secret", High, TrackLeaks, ["API3", "API8"],
        "Leave secrets out of answers, name the fields that are given out one by one, and renew what was given out.";
    /// Answers tell how the service is made: stack traces, errors of a database, pages for developers, listings of folders.
    ExposedError = "exposure.error_detail", Medium, TrackLeaks, ["API8"],
        "Answer with a code and an identifier of the error, and keep what it was in the log.";
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Kind::ALL
            .iter()
            .copied()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| serde::de::Error::custom(format_args!("{name:?} is no kind of finding")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay() {
        let known = [
            (Kind::Missing, 0),
            (Kind::GatewayBypass, 11),
            (Kind::OutboundClear, 12),
            (Kind::QuotaHovering, 17),
            (Kind::RetryIgnored, 18),
            (Kind::ExposedSecret, 19),
            (Kind::ExposedError, 20),
        ];
        for (kind, number) in known {
            assert_eq!(kind as u64, number, "checkpoints have findings of {} by it", kind.name());
        }
    }

    #[test]
    fn kinds_are_told_apart_and_say_what_to_do() {
        let mut names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert!(kind.name().contains('.') && kind.remedy().ends_with(['.', ')']), "{}", kind.name());
            assert!(kind.owasp().iter().all(|id| id.starts_with("API")), "{}", kind.name());
            let back: Kind = serde_json::from_str(&format!("{:?}", kind.name())).expect("a kind");
            assert_eq!(back, *kind);
        }
    }
}
