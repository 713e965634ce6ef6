//! Secrets by connection, as endpoints write them to a key log (RFC 9850; the format of `SSLKEYLOGFILE`).
//!
//! Each line has a label, the random value of the ClientHello, and the secret: `CLIENT_RANDOM 52ab…  9f3c…`. That value
//! is how a connection finds its own. Secrets are kept in memory alone, and shown nowhere.
//!
//! # What is visible when
//!
//! Workers run behind the reader of a capture, yet a run must not depend on how far. So each secret keeps the traffic's
//! time at which it came, and is there for those packets alone whose time is later: a block of secrets in a capture
//! is behind every packet before it, and in front of every packet that is later than these by the traffic's clock.
//! One that has the very time of the last packet before the block does not see it yet; who looks again with the next
//! packet does. What was known before the first packet, and what comes from a file that is followed live, is always
//! visible.

pub mod feed;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schedule::{MAX_SECRET, Secret, Sender};
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// Where secrets come from, and how many are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Key logs to read: whole before a replay begins, and live as they grow.
    pub files: Vec<PathBuf>,
    /// Most connections whose secrets are kept, at about 550 bytes each: 110 MiB. Beyond, those that came first are
    /// forgotten, and counted as `keylog_evicted`.
    pub max_connections: usize,
    /// Milliseconds between two looks at a key log that is followed live.
    pub poll_milliseconds: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { files: Vec::new(), max_connections: 200_000, poll_milliseconds: 100 }
    }
}

/// Secrets by connection, shared by all that read them and look for them.
pub struct KeyLog {
    store: Mutex<Store>,
    /// The earliest time, in nanoseconds, from after which a secret is visible.
    first: AtomicI64,
    /// Nothing was ever added.
    empty: AtomicBool,
    max_connections: usize,
}

#[derive(Default)]
struct Store {
    connections: HashMap<[u8; 32], Box<Connection>, ahash::RandomState>,
    /// In the order in which they came.
    order: VecDeque<[u8; 32]>,
    counters: Counters,
}

/// The secrets of one connection, each with the time from after which it is visible.
#[derive(Default)]
struct Connection {
    secrets: [Option<(Secret, Option<Timestamp>)>; Label::COUNT],
}

/// The secrets of one connection that are known at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// Master secret of TLS 1.2 and before.
    pub master: Option<Secret>,
    /// Traffic secret of early data (TLS 1.3).
    pub client_early: Option<Secret>,
    /// Traffic secret of the client's handshake (TLS 1.3).
    pub client_handshake: Option<Secret>,
    /// Traffic secret of the server's handshake (TLS 1.3).
    pub server_handshake: Option<Secret>,
    /// Traffic secret of what the client sends after its handshake (TLS 1.3).
    pub client_traffic: Option<Secret>,
    /// Traffic secret of what the server sends after its handshake (TLS 1.3).
    pub server_traffic: Option<Secret>,
}

impl Secrets {
    /// Traffic secret of a handshake.
    pub fn handshake(&self, sender: Sender) -> Option<&Secret> {
        match sender {
            Sender::Client => self.client_handshake.as_ref(),
            Sender::Server => self.server_handshake.as_ref(),
        }
    }

    /// Traffic secret of what follows the handshake.
    pub fn traffic(&self, sender: Sender) -> Option<&Secret> {
        match sender {
            Sender::Client => self.client_traffic.as_ref(),
            Sender::Server => self.server_traffic.as_ref(),
        }
    }
}

/// What a line of a key log gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Master,
    ClientEarly,
    ClientHandshake,
    ServerHandshake,
    ClientTraffic,
    ServerTraffic,
}

impl Label {
    const COUNT: usize = 6;

    fn of(name: &[u8]) -> Option<Label> {
        Some(match name {
            b"CLIENT_RANDOM" => Label::Master,
            b"CLIENT_EARLY_TRAFFIC_SECRET" => Label::ClientEarly,
            b"CLIENT_HANDSHAKE_TRAFFIC_SECRET" => Label::ClientHandshake,
            b"SERVER_HANDSHAKE_TRAFFIC_SECRET" => Label::ServerHandshake,
            b"CLIENT_TRAFFIC_SECRET_0" => Label::ClientTraffic,
            b"SERVER_TRAFFIC_SECRET_0" => Label::ServerTraffic,
            _ => return None,
        })
    }

    /// Whether its secrets can have so many bytes: a master secret has 48, the others are as long as the hash.
    fn allows(self, length: usize) -> bool {
        match self {
            Label::Master => length == 48,
            _ => matches!(length, 32 | 48),
        }
    }
}

impl KeyLog {
    /// For [`KeyLog::add`]: visible to every packet, as what was there before the first.
    pub const ALWAYS: Option<Timestamp> = None;

    /// Without any secret. [`Settings::files`] are not read yet.
    pub fn new(settings: &Settings) -> KeyLog {
        KeyLog {
            store: Mutex::default(),
            first: AtomicI64::new(i64::MAX),
            empty: AtomicBool::new(true),
            max_connections: settings.max_connections.max(1),
        }
    }

    /// Takes lines of a key log, visible to packets later than `since`. Lines of other labels are passed over;
    /// what is no line of a key log is counted, and nothing worse.
    ///
    /// Where a label comes twice for a connection, the first stays.
    pub fn add(&self, text: &[u8], since: Option<Timestamp>) {
        let mut lines = text.split(|&byte| byte == b'\n').peekable();
        while lines.peek().is_some() {
            let mut store = self.lock();
            for line in lines.by_ref().take(LINES_A_TURN) {
                store.line(line, since, self.max_connections);
            }
            if !store.connections.is_empty() {
                let first = since.map_or(i64::MIN, Timestamp::nanos);
                self.first.fetch_min(first, Ordering::Relaxed);
                self.empty.store(false, Ordering::Relaxed);
            }
        }
    }

    /// True when there is a secret of whatever connection that a packet of the time `now` sees; takes a nanosecond.
    pub fn has_any(&self, now: Timestamp) -> bool {
        self.first.load(Ordering::Relaxed) < now.nanos()
    }

    /// The secrets of the connection whose ClientHello had this random value, as known to a packet of the time `now`: the
    /// traffic's time ([`crate::time::Clock`]), not that of the packet alone. None when there is none.
    ///
    /// They come one by one: those of the handshake may be there before the others are. What is missing is worth
    /// another look with a later packet; a look takes about 50 ns.
    pub fn find(&self, client_random: &[u8; 32], now: Timestamp) -> Option<Secrets> {
        if self.empty.load(Ordering::Relaxed) {
            return None; // what came before this packet was read was added before it was handed on
        }
        let store = self.lock();
        let connection = store.connections.get(client_random)?;
        let secret = |label: Label| {
            let (secret, since) = (*connection.secrets.get(label as usize)?)?;
            since.is_none_or(|since| since < now).then_some(secret)
        };
        let secrets = Secrets {
            master: secret(Label::Master),
            client_early: secret(Label::ClientEarly),
            client_handshake: secret(Label::ClientHandshake),
            server_handshake: secret(Label::ServerHandshake),
            client_traffic: secret(Label::ClientTraffic),
            server_traffic: secret(Label::ServerTraffic),
        };
        (secrets != Secrets::default()).then_some(secrets)
    }

    /// Adds what was counted: lines that are none, connections forgotten.
    pub fn report(&self, counters: &mut Counters) {
        counters.merge(&self.lock().counters);
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner) // no state in between can be seen
    }
}

impl fmt::Debug for KeyLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyLog(..)")
    }
}

impl Default for KeyLog {
    fn default() -> KeyLog {
        KeyLog::new(&Settings::default())
    }
}

/// Lines taken in while the lock is held once.
const LINES_A_TURN: usize = 64;

impl Store {
    fn line(&mut self, line: &[u8], since: Option<Timestamp>, max_connections: usize) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            return;
        }
        let Some(line) = parse(line) else {
            self.counters.count(Counter::KeylogLinesUnreadable);
            return;
        };
        let Line { label: Some(label), client_random, secret } = line else { return };
        let connection = match self.connections.entry(client_random) {
            hashbrown::hash_map::Entry::Occupied(there) => there.into_mut(),
            hashbrown::hash_map::Entry::Vacant(free) => {
                self.order.push_back(client_random);
                free.insert(Box::default())
            }
        };
        if let Some(place) = connection.secrets.get_mut(label as usize) {
            place.get_or_insert((secret, since));
        }
        self.counters.count(Counter::KeylogSecrets);
        while self.order.len() > max_connections
            && let Some(first) = self.order.pop_front()
        {
            self.connections.remove(&first);
            self.counters.count(Counter::KeylogEvicted);
        }
    }
}

struct Line {
    /// None for one that has no use here.
    label: Option<Label>,
    client_random: [u8; 32],
    secret: Secret,
}

/// One line, without white space around it; none for what is no line of a key log.
fn parse(line: &[u8]) -> Option<Line> {
    let mut words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let (name, random, hex) = (words.next()?, words.next()?, words.next()?);
    let plausible = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    if words.next().is_some() || !name.iter().all(plausible) {
        return None;
    }
    let mut client_random = [0; 32];
    let mut bytes = [0; MAX_SECRET];
    if from_hex(random, &mut client_random)? != client_random.len() {
        return None;
    }
    let label = Label::of(name);
    let length = match label {
        Some(_) => from_hex(hex, &mut bytes)?,
        None => 0,
    };
    if label.is_some_and(|label| !label.allows(length)) {
        return None;
    }
    Some(Line { label, client_random, secret: Secret::new(bytes.get(..length)?)? })
}

/// Bytes of the hexadecimal number, of either case, written to `to`; none when it is none or does not fit.
fn from_hex(digits: &[u8], to: &mut [u8]) -> Option<usize> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let value = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let to = to.get_mut(..pairs.len())?;
    for (byte, [high, low]) in to.iter_mut().zip(pairs) {
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(pairs.len())
}
