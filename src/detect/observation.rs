//! A call as the detectors see it: the few things that all of them ask, worked out once.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use super::login;
use super::rules::DetectRules;
use crate::call::{Anomaly, Call, CredentialKind, Fingerprint, Message};
use crate::endpoint::{EndpointId, HashKey, Place, method_hash};
use crate::inspect::IN_TARGET;
use crate::time::Timestamp;

/// What several clients have in common.
pub(super) enum Trait {
    Agent(Arc<str>),
    /// JA4 of the client's hello.
    Hello(Arc<str>),
    /// An address in it, and how many bits they share.
    Network(IpAddr, u8),
    Credential(Fingerprint),
}

/// A call, who made it and what it called.
pub(super) struct Observation<'a> {
    pub(super) call: &'a Call,
    pub(super) rules: &'a DetectRules,
    pub(super) key: HashKey,
    pub(super) time: Timestamp,
    pub(super) client: IpAddr,
    pub(super) client_hash: u64,
    pub(super) place: &'a Place,
    /// Host and template, without the method.
    pub(super) place_hash: u64,
    pub(super) endpoint: EndpointId,
    pub(super) target_hash: u64,
    /// The status, where the answer is certain to be that of this request; none otherwise. A missing answer
    /// is never a failure.
    pub(super) status: Option<u16>,
    good: bool,
    /// Nothing of the call was lost.
    pub(super) whole: bool,
    /// It is another's record, in which bodies and most credentials are unknown, or one whose header fields were not all
    /// understood.
    pub(super) recorded: bool,
    pub(super) authenticated: bool,
    /// Its query has a secret by a parameter's name, and by its value where that is known.
    pub(super) secret: bool,
    pub(super) login: bool,
    /// The user agent, an empty one where there is none.
    pub(super) agent: u64,
    /// Whether it is that of a program.
    pub(super) program: bool,
    /// It stands for a connection in TLS that keeps what is in it, and whether it is the first of that connection.
    pub(super) encrypted: Option<bool>,
    /// Calls that it counts as: one, unless it stands for such a connection.
    pub(super) calls: u64,
}

/// What user agents turned out to be: looking for all the words in each would cost more than the rest of a call, and
/// hashing it again more than it should. Direct-mapped; holds nothing that the rules do not say. Worst-case memory
/// [`Agents::KNOWN`] times 1 KiB, as http cuts them there.
pub(super) struct Agents {
    /// By where the text lies.
    texts: Vec<Option<(Arc<str>, Agent)>>,
    /// By hash.
    known: Vec<Agent>,
}

/// A user agent's hash, and whether it is that of a program.
type Agent = (u64, bool);

impl Default for Agents {
    fn default() -> Self {
        Agents { texts: vec![None; Agents::KNOWN], known: vec![(0, false); Agents::KNOWN] }
    }
}

impl Agents {
    const KNOWN: usize = 512;

    /// A user agent's hash, and whether it is that of a program.
    pub(super) fn look_up(&mut self, agent: Option<&Arc<str>>, rules: &DetectRules, key: &HashKey) -> (u64, bool) {
        let Some(agent) = agent else { return self.by_hash("", rules, key) };
        // Texts are shared by the calls that have them: where one lies says which one it is, as long as it is held.
        let place = (Arc::as_ptr(agent).addr() >> 4) % Agents::KNOWN;
        if let Some(Some((text, found))) = self.texts.get(place)
            && Arc::ptr_eq(agent, text)
        {
            return *found;
        }
        let found = self.by_hash(agent, rules, key);
        if let Some(place) = self.texts.get_mut(place) {
            *place = Some((agent.clone(), found));
        }
        found
    }

    fn by_hash(&mut self, agent: &str, rules: &DetectRules, key: &HashKey) -> (u64, bool) {
        // 0 marks what is free.
        let hash = key.hash(&[agent.as_bytes()]).max(1);
        let Some(known) = self.known.get_mut(hash as usize % Agents::KNOWN) else {
            return (hash, rules.is_program(agent));
        };
        if known.0 != hash {
            *known = (hash, rules.is_program(agent));
        }
        *known
    }
}

impl<'a> Observation<'a> {
    pub(super) fn new(
        call: &'a Call,
        rules: &'a DetectRules,
        key: HashKey,
        client: IpAddr,
        place: &'a Place,
        (agent, program): (u64, bool),
    ) -> Self {
        let whole = call.request.gap_bytes == 0
            && call.response.gap_bytes == 0
            && !call.response.truncated
            && !call.completeness.one_sided;
        let certain = call.completeness.request
            && call.completeness.response
            && !call.anomalies.contains(Anomaly::UncertainPairing);
        let status = if certain { call.outcome() } else { None };
        let recorded = call.completeness.recorder.is_some() || call.completeness.unknown_fields > 0;
        // What the inspection saw it masked, and says whether it was one.
        let is_masked = || call.sensitive.request.iter().any(|found| &*found.class == IN_TARGET);
        let secret = !call.query_names.is_empty()
            && (recorded || is_masked())
            && call.query_names.iter().any(|name| rules.is_secret(name));
        let place_hash = place.hash(&key);
        let bits = match client {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits(),
        };
        let target = key.hash(&[place.host.as_bytes(), call.target.as_bytes()]);
        let target = key.pair(target, method_hash(&key, &call.method));
        let target_hash = match call.request.body_fingerprint {
            Some(body) => key.pair(target, body.0),
            // What a body asks for that nobody knows may be something else each time; records need not say that there is one.
            None if call.request.body_bytes.max(call.request.wire_bytes) > 0
                || (call.completeness.recorder.is_some() && matches!(&*call.method, "POST" | "PUT" | "PATCH")) =>
            {
                key.pair(target, key.pair(call.flow.0, call.position.into()))
            }
            None => target,
        };
        // A HEAD asks for what a GET would get.
        let endpoint = EndpointId::at(&key, place_hash, call.verb());
        Observation {
            call,
            rules,
            key,
            time: call.end_time,
            client,
            client_hash: key.pair((bits >> 64) as u64, bits as u64),
            place,
            place_hash,
            endpoint,
            target_hash,
            status,
            good: status.is_some() && call.is_good() && !matches!(call.verb(), "OPTIONS" | "TRACE" | "CONNECT"),
            whole,
            recorded,
            authenticated: call.credential.is_some() || secret,
            secret,
            login: login::is_login(call, rules),
            agent,
            program,
            encrypted: None,
            calls: 1,
        }
    }

    /// What clients that act together may have in common, by its hash: the user agent, the network (24 bits of an IPv4
    /// address, 48 of an IPv6 one), the credential, the fingerprint of their hello in TLS.
    pub(super) fn traits(&self) -> impl Iterator<Item = (u64, Trait)> {
        let agent = self.call.user_agent.clone().unwrap_or_default();
        let network = match self.client {
            IpAddr::V4(address) => u64::from(address.to_bits() >> 8),
            IpAddr::V6(address) => (address.to_bits() >> 80) as u64,
        };
        let width = if self.client.is_ipv4() { 24 } else { 48 };
        let network = (self.key.pair(network, width), Trait::Network(self.client, width as u8));
        let credential = self.call.credential.as_ref().map(|credential| {
            let hash = self.key.pair(credential.fingerprint.0, 0);
            (hash, Trait::Credential(credential.fingerprint))
        });
        let ja4 = self.call.tls.as_ref().and_then(|tls| tls.ja4.clone());
        let hello = ja4.map(|ja4| (self.key.hash(&[b"ja4", ja4.as_bytes()]), Trait::Hello(ja4)));
        [(self.agent, Trait::Agent(agent)), network].into_iter().chain(credential).chain(hello)
    }

    /// The answer was good: what was asked for exists and was given.
    #[inline]
    pub(super) fn good(&self) -> bool {
        self.good
    }

    /// It goes on with a call that was taken before: a record of what came since.
    #[inline]
    pub(super) fn goes_on(&self) -> bool {
        self.call.completeness.part > 0
    }

    /// What of the target is behind the path and the question mark.
    pub(super) fn query(&self) -> &'a str {
        let (target, path) = (&*self.call.target, self.call.path.len());
        // Behind the path, unless the target is absolute.
        match target.as_bytes().get(path) {
            Some(b'?') => target.get(path + 1..).unwrap_or_default(),
            _ => target.split_once('?').map_or("", |(_, query)| query),
        }
    }

    /// It asks a GraphQL server for its schema.
    pub(super) fn introspects(&self) -> bool {
        self.call.operation.as_ref().is_some_and(|operation| operation.introspection)
    }

    /// It asks a GraphQL server for what its schema does not have.
    pub(super) fn is_unknown_to_schema(&self) -> bool {
        let error = self.call.operation.as_ref().and_then(|operation| operation.error.as_ref());
        let code = error.and_then(|error| error.code.as_deref()).unwrap_or_default();
        let plain = |letter: &char| letter.is_ascii_alphanumeric();
        let code: String = code.chars().filter(plain).map(|letter| letter.to_ascii_lowercase()).collect();
        matches!(code.as_str(), "graphqlvalidationfailed" | "validationerror")
    }

    /// What was asked for is not there.
    pub(super) fn absent(&self) -> bool {
        matches!(self.status, Some(404 | 410))
    }

    /// The call came with an API key.
    pub(super) fn api_key(&self) -> bool {
        self.call.credential.as_ref().is_some_and(|credential| credential.kind == CredentialKind::ApiKey)
    }

    /// Bytes of request and answer, heads included, as far as a record tells them.
    pub(super) fn carried(&self) -> u64 {
        let of = |message: &Message| {
            let body = if message.wire_bytes > 0 { message.wire_bytes } else { message.body_bytes };
            message.head_bytes.saturating_add(body)
        };
        of(&self.call.request).saturating_add(of(&self.call.response))
    }

    /// Bytes of the answer's body on the wire.
    pub(super) fn bytes(&self) -> u64 {
        self.call.response.wire_bytes.max(self.call.response.body_bytes)
    }
}

/// What the j-th touch of the same thing counts, from 0: j^-0.35, so that a favourite page hides nothing.
pub(super) fn repeated(before: impl Into<u64>) -> f64 {
    let before = before.into();
    static OFTEN: LazyLock<[f64; 4096]> = LazyLock::new(|| std::array::from_fn(|before| weight(before as f64)));
    // Beyond, in steps of 16: a seven-hundredth is no difference.
    static OFTENER: LazyLock<[f64; 4096]> = LazyLock::new(|| std::array::from_fn(|step| weight(16.0 * step as f64)));
    let held = usize::try_from(before).ok().and_then(|before| OFTEN.get(before).or_else(|| OFTENER.get(before / 16)));
    held.copied().unwrap_or_else(|| weight(before as f64))
}

fn weight(before: f64) -> f64 {
    (before + 1.0).powf(-0.35)
}
