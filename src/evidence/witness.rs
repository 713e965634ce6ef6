//! The consumer's side: what the detector told, and which calls went over which connections.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, TrySendError};

use super::recorder::{Message, Told};
use super::ring::Ends;
use super::store;
use super::watch::{Line, LineKind, Span};
use crate::alert::{Alert, Capture, Progress, Scope};
use crate::call::{Peer, Record};
use crate::client::TrustedProxies;
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// Live, calls and lines that wait for a recorder that is behind, 200 bytes each; what comes beyond is dropped.
const WAITING: usize = 4_096;

/// Tells the recorder what was detected.
#[derive(Debug)]
pub struct Witness {
    send: Sender<Message>,
    live: bool,
    proxies: TrustedProxies,
    folder: PathBuf,
    /// Files of incidents that an earlier run told.
    remembered: BTreeMap<String, Arc<str>>,
    told: Told,
    thread: JoinHandle<Counters>,
    counters: Counters,
}

impl Witness {
    pub(super) fn new(
        send: Sender<Message>,
        live: bool,
        proxies: TrustedProxies,
        folder: PathBuf,
        thread: JoinHandle<Counters>,
    ) -> Witness {
        Witness {
            send,
            live,
            proxies,
            folder,
            remembered: BTreeMap::new(),
            told: Told::default(),
            thread,
            counters: Counters::new(),
        }
    }

    /// Goes on with an incident that an earlier run told: its packets go to a second file.
    pub fn remember(&mut self, alert: &Alert) {
        let name: Arc<str> = store::free_name(&self.folder, &alert.incident).into();
        self.remembered.insert(alert.incident.clone(), name.clone());
        self.line(alert, name, LineKind::Remembered);
    }

    /// Proxies are believed from now on as these are.
    pub fn trust(&mut self, proxies: TrustedProxies) {
        self.proxies = proxies;
    }

    /// Takes a record that the detector is about to take.
    pub fn record(&mut self, record: &Record) {
        let span = match record {
            Record::Call(call) => Span {
                flow: call.flow,
                position: call.position,
                client: self.proxies.known(call),
                ends: ends(&call.client, &call.server),
                start: call.request_time.or(call.response_time).unwrap_or(call.end_time),
                end: call.end_time,
            },
            Record::Connection(connection) => Span {
                flow: connection.flow,
                position: connection.position,
                client: Some(connection.client.ip.to_canonical()),
                ends: ends(&connection.client, &connection.server),
                start: connection.start_time,
                end: connection.end_time,
            },
        };
        // Of the first call the handshake is a part.
        let start = if span.position == 0 { Timestamp::ZERO } else { span.start };
        if self.has_room() {
            self.told.calls.push(Span { start, ..span });
        }
    }

    /// Takes an alert that the detector raised, and writes to it where its packets are.
    pub fn alert(&mut self, alert: &mut Alert) {
        if alert.scope == Scope::Sensor {
            return;
        }
        let remembered = self.remembered.get(&alert.incident);
        let name: Arc<str> = match remembered {
            Some(name) if alert.state != Progress::Open => name.clone(),
            _ => store::name(&alert.incident).into(),
        };
        let file = self.folder.join(&*name).to_string_lossy().into_owned();
        alert.capture = Some(Capture { file });
        let kind = match alert.state {
            Progress::Open => LineKind::Opens,
            Progress::Update => LineKind::GoesOn,
            Progress::Close => LineKind::Closes,
        };
        if kind == LineKind::Closes {
            self.remembered.remove(&alert.incident);
        }
        self.line(alert, name, kind);
    }

    fn line(&mut self, alert: &Alert, file: Arc<str>, kind: LineKind) {
        if !self.has_room() {
            return;
        }
        let suspects = alert.client.iter().chain(&alert.clients);
        let clients: Vec<IpAddr> = suspects.map(|suspect| suspect.ip.to_canonical()).collect();
        self.told.lines.push(Line {
            incident: alert.incident.as_str().into(),
            file,
            time: alert.ts,
            kind,
            addresses: clients.iter().copied().filter(|&address| !self.proxies.contains(address)).collect(),
            clients,
            sightings: alert.evidence.iter().map(|seen| (seen.flow, seen.position)).collect(),
        });
    }

    /// The detector has come to `watermark`, and all that it told of what came before was taken.
    pub fn told(&mut self, watermark: Timestamp) {
        self.told.watermark = watermark;
        let told = std::mem::take(&mut self.told);
        if !self.live {
            let _ = self.send.send(Message::Told(told)); // the recorder ends last
            return;
        }
        // What the recorder has no time for waits until the next time.
        if let Err(TrySendError::Full(Message::Told(told))) = self.send.try_send(Message::Told(told)) {
            self.told = told;
        }
    }

    fn has_room(&mut self) -> bool {
        let room = !self.live || self.told.calls.len() + self.told.lines.len() < WAITING;
        if !room {
            self.counters.count(Counter::EvidenceCallsForgotten);
        }
        room
    }

    /// All was told. Waits until the files are written, and gives what was counted; the taps must be gone.
    pub fn finish(mut self) -> Counters {
        self.told.watermark = Timestamp::MAX;
        let _ = self.send.send(Message::Told(std::mem::take(&mut self.told)));
        drop(self.send);
        let mut counters = self.counters;
        match self.thread.join() {
            Ok(recorded) => counters.merge(&recorded),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        counters
    }
}

fn ends(client: &Peer, server: &Peer) -> Ends {
    let end = |peer: &Peer| SocketAddr::new(peer.ip, peer.port);
    Ends::new(end(client), end(server))
}
