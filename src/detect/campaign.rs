//! Clients that do the same: newcomers that begin alike, and accused ones that have something in common.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::{EVIDENCE_LIMIT, Sighting};
use crate::time::Timestamp;

/// Clients that began alike, each of them too little to be accused alone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Newcomers {
    members: VecDeque<(Timestamp, IpAddr, Sighting)>,
    /// One came since the last look.
    fresh: bool,
    /// Who was named since the campaign began, in the order in which they came.
    named: Vec<IpAddr>,
    /// When there were too many the last time.
    time: Timestamp,
}

impl Newcomers {
    /// Most that are held, the latest.
    const LIMIT: usize = 256;

    /// One more. Who is there is there once, as of now, and is no news unless it was long ago.
    pub(super) fn enter(&mut self, time: Timestamp, client: IpAddr, call: Sighting) {
        /// Seconds.
        const LONG_AGO: u64 = 3_600;
        let held = self.members.iter().position(|(_, held, _)| *held == client);
        if let Some((before, _, first)) = held.and_then(|place| self.members.remove(place)) {
            self.members.push_back((time, client, first));
            self.fresh |= time.since(before).as_secs() >= LONG_AGO;
            return;
        }
        if self.members.len() >= Self::LIMIT {
            self.members.pop_front();
        }
        self.members.push_back((time, client, call));
        self.fresh = true;
    }

    /// Whether one came since this was last asked for.
    #[inline]
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// How many there are within the last `seconds`, when one came since this was last asked.
    pub(super) fn fresh(&mut self, now: Timestamp, seconds: u64) -> Option<usize> {
        if !std::mem::take(&mut self.fresh) {
            return None;
        }
        while self.members.front().is_some_and(|(time, _, _)| now.since(*time).as_secs() >= seconds) {
            self.members.pop_front();
        }
        Some(self.members.len())
    }

    /// Whether they are to be named: at first, and again when twice as many are known. A campaign of which nothing came
    /// for the time `quiet` is over.
    pub(super) fn due(&mut self, now: Timestamp, quiet: Duration) -> bool {
        if now.since(self.time) >= quiet {
            self.named.clear();
        }
        self.time = now;
        let fresh = self.members.iter().filter(|(_, client, _)| !self.named.contains(client)).count();
        if fresh < self.named.len().max(1) {
            return false;
        }
        self.name();
        true
    }

    /// Whether a client was named in a campaign that is going on: what is found of it belongs there. Who was not named is
    /// a story of its own.
    pub(super) fn holds(&self, client: IpAddr, now: Timestamp, quiet: Duration) -> bool {
        now.since(self.time) < quiet && self.named.contains(&client)
    }

    fn name(&mut self) {
        for (_, client, _) in &self.members {
            if self.named.len() < Self::LIMIT && !self.named.contains(client) {
                self.named.push(*client);
            }
        }
    }

    /// Who was named since the campaign began.
    pub(super) fn named(&self) -> &[IpAddr] {
        &self.named
    }

    /// Who they are, in the order in which they came.
    pub(super) fn members(&self) -> &VecDeque<(Timestamp, IpAddr, Sighting)> {
        &self.members
    }
}

/// Clients with something in common that were accused of the same, each by evidence of its own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Kin {
    members: Vec<IpAddr>,
    /// Calls of theirs, the first and the latest.
    calls: Vec<Sighting>,
    /// How many of the members were named.
    named: usize,
    last: Timestamp,
}

impl Kin {
    /// Most that are held.
    const LIMIT: usize = 256;

    /// One more. From `least` on they are one story: gives whether they are, and whether it is to be told again, which
    /// is when a quarter more have come.
    pub(super) fn join(
        &mut self,
        client: IpAddr,
        call: &Sighting,
        now: Timestamp,
        quiet: Duration,
        least: usize,
    ) -> (bool, bool) {
        if now.since(self.last) >= quiet {
            *self = Kin::default();
        }
        self.last = now;
        let known = self.members.contains(&client);
        if !known && self.members.len() >= Self::LIMIT {
            return (false, false); // who cannot be named here is a story of its own
        }
        if !known {
            self.members.push(client);
            if self.calls.len() >= EVIDENCE_LIMIT {
                self.calls.remove(2);
            }
            self.calls.push(call.clone());
        }
        let count = self.members.len();
        let due = count >= least && count > self.named && count * 4 >= self.named * 5;
        if due {
            self.named = count;
        }
        (count >= least, due)
    }

    pub(super) fn members(&self) -> &[IpAddr] {
        &self.members
    }

    pub(super) fn calls(&self) -> &[Sighting] {
        &self.calls
    }

    pub(super) fn last(&self) -> Timestamp {
        self.last
    }
}
