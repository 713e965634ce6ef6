//! Which incidents packets are kept of, and which packets are theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;

use super::ring::{Ends, Entry};
use crate::call::FlowId;
use crate::time::Timestamp;

/// Clients of one incident; a campaign names as many.
pub(super) const CLIENTS: usize = 256;

/// A call, or what was told of a connection: when packets of it were on the wire.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) flow: FlowId,
    pub(super) position: u32,
    /// Who called, behind proxies; none when that is not known.
    pub(super) client: Option<IpAddr>,
    pub(super) ends: Ends,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

/// A line that was told of an incident.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) incident: Arc<str>,
    /// Name of its file.
    pub(super) file: Arc<str>,
    pub(super) time: Timestamp,
    pub(super) kind: LineKind,
    /// Who is accused.
    pub(super) clients: Vec<IpAddr>,
    /// Those of them all of whose packets are kept: not the proxies.
    pub(super) addresses: Vec<IpAddr>,
    /// What the alert shows.
    pub(super) sightings: Vec<(FlowId, u32)>,
}

/// What a line is to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineKind {
    /// The incident opens, and its file begins.
    Opens,
    /// It goes on.
    GoesOn,
    /// An earlier run told it: the file begins with the first packet.
    Remembered,
    /// It closes.
    Closes,
}

/// An incident of which packets are kept.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) file: Arc<str>,
    incident: Arc<str>,
    clients: BTreeSet<IpAddr>,
    addresses: BTreeSet<IpAddr>,
    /// Packets after this moment are not kept.
    pub(super) until: Timestamp,
    /// Packets are added when they leave the ring, since which are kept is known late: of several clients, and of calls through
    /// proxies. Otherwise they are at once.
    pub(super) late: bool,
    /// The first packet that was not looked at when packets were still added at once.
    pub(super) from: u64,
}

impl Watch {
    /// Whether a packet goes to or comes from one of its addresses.
    pub(super) fn has(&self, ends: &Ends) -> bool {
        ends.addresses().iter().any(|address| self.addresses.contains(address))
    }
}

/// Moments that do not overlap: from, to.
type Intervals = BTreeMap<Timestamp, Timestamp>;

/// All of them, found by what is on the wire.
#[derive(Debug, Default)]
pub(super) struct Watches {
    all: BTreeMap<u64, Watch>,
    next: u64,
    by_incident: HashMap<Arc<str>, u64, RandomState>,
    by_address: HashMap<IpAddr, Vec<u64>, RandomState>,
    by_client: HashMap<IpAddr, Vec<u64>, RandomState>,
    /// Parts of connections.
    parts: HashMap<Ends, BTreeMap<u64, Intervals>, RandomState>,
    /// How many intervals there are.
    count: usize,
}

impl Watches {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn watch(&self, id: u64) -> Option<&Watch> {
        self.all.get(&id)
    }

    pub(super) fn find(&self, incident: &str) -> Option<u64> {
        self.by_incident.get(incident).copied()
    }

    /// Begins with an incident; gives its number.
    pub(super) fn begin(&mut self, line: &Line) -> u64 {
        let id = self.next;
        self.next += 1;
        let watch = Watch {
            file: line.file.clone(),
            incident: line.incident.clone(),
            clients: BTreeSet::new(),
            addresses: BTreeSet::new(),
            until: line.time,
            late: false,
            from: 0,
        };
        self.all.insert(id, watch);
        self.by_incident.insert(line.incident.clone(), id);
        id
    }

    /// Adds who is accused, and goes on until that moment.
    pub(super) fn extend(&mut self, id: u64, line: &Line, until: Timestamp) {
        let Some(watch) = self.all.get_mut(&id) else { return };
        watch.until = watch.until.max(until);
        for &client in &line.clients {
            if watch.clients.len() < CLIENTS && watch.clients.insert(client) {
                self.by_client.entry(client).or_default().push(id);
            }
        }
        for &address in &line.addresses {
            if watch.addresses.len() < CLIENTS && watch.addresses.insert(address) {
                self.by_address.entry(address).or_default().push(id);
            }
        }
    }

    /// Whether an incident has several addresses.
    pub(super) fn has_several(&self, id: u64) -> bool {
        self.all.get(&id).is_some_and(|watch| watch.addresses.len() > 1)
    }

    /// From packet `from` on its packets are added late.
    pub(super) fn delay(&mut self, id: u64, from: u64) {
        if let Some(watch) = self.all.get_mut(&id)
            && !watch.late
        {
            watch.late = true;
            watch.from = from;
        }
    }

    /// The incidents of whose client a call is.
    pub(super) fn of_client(&self, client: IpAddr) -> &[u64] {
        self.by_client.get(&client).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a call is an incident's by its client or by what was shown, and its packets are not kept for their address.
    pub(super) fn wants(&self, id: u64, span: &Span, sightings: &[(FlowId, u32)]) -> bool {
        self.all.get(&id).is_some_and(|watch| {
            let theirs = span.client.is_some_and(|client| watch.clients.contains(&client));
            (theirs || sightings.contains(&(span.flow, span.position))) && !watch.has(&span.ends)
        })
    }

    /// The packets of a connection in the time of `span` are the incident's. False when there are `most` such parts already.
    pub(super) fn add_part(&mut self, id: u64, span: &Span, most: usize) -> bool {
        if self.count >= most {
            return false;
        }
        let intervals = self.parts.entry(span.ends).or_default().entry(id).or_default();
        let (mut start, mut end) = (span.start.min(span.end), span.end);
        let before = intervals.len();
        if let Some((&from, &to)) = intervals.range(..=start).next_back()
            && to >= start
        {
            (start, end) = (from, end.max(to));
        }
        while let Some((&from, &to)) = intervals.range(start..=end).next() {
            intervals.remove(&from);
            end = end.max(to);
        }
        intervals.insert(start, end);
        self.count = (self.count + intervals.len()).saturating_sub(before);
        true
    }

    /// The incidents to which a packet is added at once.
    pub(super) fn now(&self, entry: &Entry, ids: &mut Vec<u64>) {
        ids.clear();
        if self.by_address.is_empty() {
            return;
        }
        self.by_addresses(entry, ids, |watch| !watch.late);
        ids.sort_unstable();
        ids.dedup();
    }

    /// The incidents to which packet `number` is added as it leaves the ring.
    pub(super) fn late(&self, number: u64, entry: &Entry, ids: &mut Vec<u64>) {
        ids.clear();
        if self.all.is_empty() {
            return;
        }
        self.by_addresses(entry, ids, |watch| watch.late && number >= watch.from);
        if let Some(parts) = self.parts.get(&entry.ends) {
            let is_in = |intervals: &Intervals| {
                intervals.range(..=entry.time).next_back().is_some_and(|(_, &end)| entry.time <= end)
            };
            ids.extend(parts.iter().filter(|(_, intervals)| is_in(intervals)).map(|(&id, _)| id));
        }
        ids.sort_unstable();
        ids.dedup();
    }

    fn by_addresses(&self, entry: &Entry, ids: &mut Vec<u64>, applies: impl Fn(&Watch) -> bool) {
        for address in entry.ends.addresses() {
            let found = self.by_address.get(&address).map(Vec::as_slice).unwrap_or_default();
            let kept = |id: &&u64| self.all.get(id).is_some_and(|watch| entry.now <= watch.until && applies(watch));
            ids.extend(found.iter().filter(kept));
        }
    }

    /// The incident that would end first.
    pub(super) fn first_to_end(&self) -> Option<u64> {
        self.all.iter().min_by_key(|&(&id, watch)| (watch.until, id)).map(|(&id, _)| id)
    }

    /// Ends an incident; gives its file.
    pub(super) fn end(&mut self, id: u64) -> Option<Arc<str>> {
        let watch = self.all.remove(&id)?;
        self.by_incident.remove(&watch.incident);
        for (index, keys) in [(&mut self.by_address, &watch.addresses), (&mut self.by_client, &watch.clients)] {
            for key in keys {
                if let Some(ids) = index.get_mut(key) {
                    ids.retain(|&held| held != id);
                    if ids.is_empty() {
                        index.remove(key);
                    }
                }
            }
        }
        Some(watch.file)
    }

    /// Forgets parts of connections whose packets left the ring before `horizon`, and gives the incidents that ended before it, in the
    /// order in which they began.
    pub(super) fn sweep(&mut self, horizon: Timestamp) -> Vec<u64> {
        let all = &self.all;
        let mut count = 0;
        self.parts.retain(|_, parts| {
            parts.retain(|id, intervals| {
                intervals.retain(|_, end| *end >= horizon);
                count += intervals.len();
                !intervals.is_empty() && all.contains_key(id)
            });
            !parts.is_empty()
        });
        self.count = count;
        self.all.iter().filter(|(_, watch)| watch.until < horizon).map(|(&id, _)| id).collect()
    }
}
