//! One account that many addresses try to log in to, each too seldom to be accused alone.
//!
//! Somebody who has forgotten a password tries a few from one or two addresses, and a fleet of programs with an old password
//! tries one. An account for which several clients tried several passwords within a day is attacked: whoever fails there from then
//! on, and never logged in anywhere before, is suspected of guessing with the others ([`super::campaign`]).

use serde::{Deserialize, Serialize};

use super::observation::Observation;
use super::settings::Settings;
use crate::metrics::Occupancy;
use crate::model::{BUCKETS, Table, Window};

/// Clients, and passwords, that an account is tried by and with before that is no person any more.
const SEVERAL: usize = 4;

/// Who failed to log in to an account on one day, and with what; zeros where there were not so many.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Tried {
    day: i64,
    clients: [u64; SEVERAL],
    passwords: [u64; SEVERAL],
}

/// The accounts that somebody failed to log in to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Accounts(Table<u64, Tried>);

impl Accounts {
    pub(super) fn new(settings: &Settings) -> Accounts {
        Accounts(Table::new(settings.accounts))
    }

    /// How full it is.
    pub(super) fn occupancy(&self) -> Occupancy {
        let each = size_of::<Tried>() + 32;
        Occupancy {
            table: "accounts",
            entries: self.0.len() as u64,
            limit: self.0.capacity() as u64,
            bytes: self.0.bytes(|_| 0) as u64,
            budget: (self.0.capacity() * each) as u64,
        }
    }

    /// Entries that gave way to others.
    pub(super) fn evicted(&self) -> u64 {
        self.0.evicted()
    }

    pub(super) fn limit(&mut self, settings: &Settings) {
        self.0.limit(settings.accounts);
    }

    /// Takes an attempt that failed; true when the account is attacked by several.
    pub(super) fn tried(&mut self, seen: &Observation<'_>, account: u64, password: u64) -> bool {
        let account = seen.key.pair(seen.endpoint.0, account);
        if self.0.get(&account).is_none() {
            self.0.insert(account, Tried::default(), |tried| (tried.day, known(&tried.clients)));
        }
        let Some(tried) = self.0.get_mut(&account) else { return false };
        let day = Window::Day.bucket(seen.time) / BUCKETS as i64;
        if tried.day != day {
            *tried = Tried { day, ..Tried::default() };
        }
        note(&mut tried.clients, seen.client_hash);
        note(&mut tried.passwords, seen.key.pair(account, password));
        known(&tried.clients) == SEVERAL && known(&tried.passwords) == SEVERAL
    }
}

/// Remembers one more, if there is room.
fn note(held: &mut [u64; SEVERAL], one: u64) {
    if let Some(place) = held.iter_mut().find(|held| **held == 0 || **held == one) {
        *place = one;
    }
}

fn known(held: &[u64; SEVERAL]) -> usize {
    held.iter().filter(|held| **held != 0).count()
}
