//! What an alert can be about.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Severity;

/// The four families, and the sensor itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Somebody maps the APIs.
    Recon,
    /// Somebody wears them down.
    Flood,
    /// Data goes where it should not.
    Leak,
    /// Who calls is not who should.
    Auth,
    /// The sensor itself does not see everything.
    Sensor,
}

macro_rules! techniques {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $family:ident, $severity:ident,
        $owasp:expr, $attack:expr;)+) => {
        /// A technique of a family; `family.technique` in JSON.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Technique { $($(#[doc = $doc])+ $variant,)+ }

        impl Technique {
            /// All of them.
            pub const ALL: &'static [Technique] = &[$(Technique::$variant),+];

            /// Its name: `family.technique`.
            pub const fn name(self) -> &'static str {
                match self { $(Technique::$variant => $name),+ }
            }

            /// Its family.
            pub const fn family(self) -> Family {
                match self { $(Technique::$variant => Family::$family),+ }
            }

            /// How bad it is unless something makes it worse.
            pub const fn severity(self) -> Severity {
                match self { $(Technique::$variant => Severity::$severity),+ }
            }

            /// Identifiers in the OWASP API Security Top 10 of 2023, without the year.
            pub const fn owasp(self) -> &'static [&'static str] {
                match self { $(Technique::$variant => &$owasp),+ }
            }

            /// Identifiers of techniques in MITRE ATT&CK for enterprises.
            pub const fn attack(self) -> &'static [&'static str] {
                match self { $(Technique::$variant => &$attack),+ }
            }

            /// What it is, as one sentence for the operator.
            pub const fn help(self) -> &'static str {
                match self { $(Technique::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

impl Technique {
    /// Whether it speaks of how a client was made and not of what somebody is up to: nothing that it does is worth less for that.
    pub const fn is_weakness(self) -> bool {
        matches!(self, Technique::Cleartext | Technique::SecretInUrl)
    }
}

techniques! {
    /// A client asks for many paths that do not exist.
    PathEnumeration = "recon.path_enumeration", Recon, Medium, ["API9"], ["T1595.003"];
    /// A client asks for many objects that it may not have, or far more than others do.
    ObjectEnumeration = "recon.object_enumeration", Recon, High, ["API1"], ["T1119", "T1213"];
    /// A client asks about one person after another, by e-mail address or telephone number.
    AccountEnumeration = "recon.account_enumeration", Recon, High, ["API1", "API6"], ["T1087", "T1589.002"];
    /// A client tries methods that the paths do not have.
    MethodProbing = "recon.method_probing", Recon, Medium, ["API5"], ["T1595.002"];
    /// A client tries query parameters that the endpoints do not have.
    ParameterDiscovery = "recon.parameter_discovery", Recon, Medium, ["API3"], ["T1595.003"];
    /// A client looks for descriptions of the API, configuration and secrets.
    SchemaProbing = "recon.schema_probing", Recon, Medium, ["API8", "API9"], ["T1595.002"];
    /// A client sends parameters the syntax of databases, templates or shells, which they never had.
    InjectionProbing = "recon.injection_probing", Recon, High, ["API8"], ["T1595.002", "T1190"];
    /// A client sends parameters internal addresses, metadata services or files, which they never had.
    RequestForgeryProbing = "recon.request_forgery_probing", Recon, High, ["API7"], ["T1595.002", "T1190"];
    /// Many new clients ask for paths that do not exist, a few each.
    Campaign = "recon.campaign", Recon, High, ["API9"], ["T1595.003"];
    /// A client calls far more often than its population and its own past.
    Volumetric = "flood.volumetric", Flood, High, ["API4"], ["T1499.002"];
    /// A client calls faster and faster, or several times as fast as it always did.
    Ramp = "flood.ramp", Flood, High, ["API4"], ["T1499.002"];
    /// A client floods in bursts, with pauses between them.
    Pulse = "flood.pulse", Flood, High, ["API4"], ["T1499.002"];
    /// A client repeats one call without end.
    Loop = "flood.loop", Flood, Medium, ["API4"], ["T1499.003"];
    /// A client makes far more calls that cost the server much than others do.
    Expensive = "flood.expensive", Flood, High, ["API4"], ["T1499.003"];
    /// Many clients that do nothing else call one endpoint, or call fast and long.
    Distributed = "flood.distributed", Flood, High, ["API4"], ["T1499.002"];
    /// A client keeps a server waiting on many connections: heads and bodies that come byte by byte, answers that are not
    /// taken, connections that are not used.
    Slow = "flood.slow", Flood, High, ["API4"], ["T1499.002"];
    /// A client gives up what it asks for as soon as it has asked (HTTP/2 rapid reset).
    Reset = "flood.reset", Flood, High, ["API4"], ["T1499.002"];
    /// A client floods a login with failing attempts.
    Login = "flood.login", Flood, High, ["API2", "API4"], ["T1110"];
    /// A client takes far more data, or far more sensitive values, than its population and its own past.
    BulkRead = "leak.bulk_read", Leak, High, ["API6"], ["T1119", "T1213"];
    /// The same, little by little over hours.
    SlowRead = "leak.slow_read", Leak, High, ["API6"], ["T1119", "T1213", "T1029"];
    /// A client began to come back to a server at regular intervals, in small encrypted connections, as no other does there.
    Beacon = "leak.beacon", Leak, Medium, [], ["T1071.001", "T1573", "T1029"];
    /// An endpoint returns a class of sensitive data that it never returned before.
    NewExposure = "leak.new_exposure", Leak, High, ["API3"], ["T1213"];
    /// A response is far larger than this endpoint's responses are.
    Oversized = "leak.oversized", Leak, Medium, ["API3", "API4"], ["T1213"];
    /// A client gets answers with fields that nobody else's have, or far more of them than others.
    ExcessFields = "leak.excess_fields", Leak, Medium, ["API3"], ["T1213"];
    /// A client sends secrets in URLs, where logs and proxies keep them.
    SecretInUrl = "leak.secret_in_url", Leak, Medium, ["API8"], ["T1552"];
    /// An endpoint that always had credentials answers without.
    Unauthenticated = "leak.unauthenticated", Leak, High, ["API2"], ["T1190"];
    /// A client fails to log in with one set of credentials after another.
    CredentialStuffing = "auth.credential_stuffing", Auth, High, ["API2"], ["T1110.004"];
    /// A credential is used by a second client that does not fit the first.
    TokenReuse = "auth.token_reuse", Auth, High, ["API2"], ["T1550.001"];
    /// A client calls administrative functions, or others that those with its role never call or are refused.
    FunctionAccess = "auth.function_access", Auth, High, ["API5"], ["T1078"];
    /// A client writes fields that nobody else writes, above all those that give privileges, and they are accepted.
    MassAssignment = "auth.mass_assignment", Auth, High, ["API3"], ["T1098"];
    /// A client sends a password in clear with each call.
    Cleartext = "auth.cleartext", Auth, Low, ["API8"], ["T1040"];
    /// The sensor loses more packets than it may.
    Loss = "sensor.loss", Sensor, Medium, [], [];
}

impl Serialize for Technique {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Technique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Technique::ALL
            .iter()
            .copied()
            .find(|technique| technique.name() == name)
            .ok_or_else(|| serde::de::Error::custom(format_args!("{name:?} is no kind of alert")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_with_the_family() {
        for technique in Technique::ALL {
            let family = format!("{:?}.", technique.family()).to_lowercase();
            assert!(technique.name().starts_with(&family), "{}", technique.name());
            assert!(technique.owasp().iter().all(|id| id.starts_with("API")), "{}", technique.name());
            assert!(technique.attack().iter().all(|id| id.starts_with('T')), "{}", technique.name());
        }
    }
}
