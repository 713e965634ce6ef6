//! Which keys a record needs, and the openers made of them.

use super::super::half::Epoch;
use super::super::hello::{is_tls13, version};
use super::super::open::Opener;
use super::super::record::Content;
use super::super::schedule::{Randoms, Sender};
use super::super::suite::Suite;
use super::{Context, Early, Session};
use crate::time::Timestamp;

/// What can be done with a record.
pub(super) enum Ready {
    /// It is in clear.
    Clear,
    /// There is an opener for it.
    Open,
    /// It means nothing.
    Pass,
    /// Its keys are not known yet.
    Wait,
    /// It can never be read.
    Never,
}

impl Session {
    /// What can be done with a record of this direction now. Prepares the opener for it.
    pub(super) fn ready(&mut self, d: usize, content: Content, now: Timestamp, context: &Context<'_>) -> Ready {
        let tls13 = self.version.is_some_and(is_tls13);
        let half = &mut self.halves[d];
        if half.epoch == Epoch::Clear {
            match (content, self.version) {
                (Content::Data, None) => return Ready::Wait, // the hello may come yet
                (Content::Data, Some(_)) if self.client_random.is_some() && self.server_random.is_some() => {
                    // Where the change of keys was lost.
                    half.enter(if tls13 { Epoch::Handshake } else { Epoch::Data });
                }
                (Content::Data, Some(_)) => return Ready::Never,
                _ => return Ready::Clear,
            }
        }
        let half = &mut self.halves[d];
        let tls13 = tls13 || half.epoch == Epoch::Early;
        match content {
            Content::Data => {}
            Content::ChangeCipherSpec if tls13 => return Ready::Pass,
            // A second hello, or an alert of who has no keys yet.
            _ if tls13 && half.opened == 0 && half.epoch != Epoch::Data => return Ready::Clear,
            _ if tls13 => return Ready::Pass,
            _ => {}
        }
        if half.opener.is_some() {
            return Ready::Open;
        }
        if half.epoch == Epoch::Early {
            match self.early {
                Early::Offered => return Ready::Wait,
                Early::Accepted => {}
                Early::None | Early::Refused => {
                    half.enter(Epoch::Handshake);
                    half.tolerant = true;
                }
            }
        }
        self.unlock(d, now, context)
    }

    /// Makes the opener for what comes next in this direction.
    fn unlock(&mut self, d: usize, now: Timestamp, context: &Context<'_>) -> Ready {
        let (Some(client_random), Some(version)) = (&self.client_random, self.version) else { return Ready::Never };
        let sender = self.sender(d);
        let Some(suite) = Suite::of(self.cipher) else { return Ready::Never };
        if suite.tls13 != is_tls13(version) || version < version::TLS12 {
            return Ready::Never;
        }
        let Some(secrets) = context.keys.and_then(|keys| keys.find(client_random, now)) else { return Ready::Wait };
        let settings = &context.settings.open;
        let half = &mut self.halves[d];
        let opener = if suite.tls13 {
            let secret = match half.epoch {
                Epoch::Early if secrets.client_early.is_some() => secrets.client_early.as_ref(),
                Epoch::Early | Epoch::Handshake if secrets.handshake(sender).is_some() => {
                    half.tolerant |= half.epoch == Epoch::Early;
                    half.enter(Epoch::Handshake);
                    secrets.handshake(sender)
                }
                Epoch::Early | Epoch::Handshake if secrets.traffic(sender).is_some() => {
                    // The secret of the handshake is not in the key log: what it protects is passed over.
                    half.enter(Epoch::Data);
                    half.tolerant = true;
                    secrets.traffic(sender)
                }
                _ => secrets.traffic(sender),
            };
            let Some(secret) = secret else { return Ready::Wait };
            Opener::tls13(&suite, secret, settings)
        } else {
            let (Some(master), Some(server_random)) = (&secrets.master, &self.server_random) else {
                return Ready::Wait;
            };
            let randoms = Randoms { client: client_random, server: server_random };
            Opener::tls12(&suite, master, &randoms, sender, self.encrypt_then_mac, settings)
        };
        half.opener = opener.map(Box::new);
        if half.opener.is_some() { Ready::Open } else { Ready::Never }
    }

    /// The opener for what follows the handshake, which is not known to be over.
    pub(super) fn next_opener(
        &mut self,
        d: usize,
        now: Timestamp,
        context: &Context<'_>,
    ) -> Option<Option<Box<Opener>>> {
        let sender = self.sender(d);
        let half = &mut self.halves[d];
        if half.next_opener.is_some() {
            return Some(half.next_opener.take());
        }
        let secrets = context.keys?.find(self.client_random.as_ref()?, now)?;
        let opener = Opener::tls13(&Suite::of(self.cipher)?, secrets.traffic(sender)?, &context.settings.open)?;
        let mut opener = Box::new(opener);
        opener.lost(half.missing_bytes());
        Some(Some(opener))
    }

    /// Who sends in this direction.
    fn sender(&self, d: usize) -> Sender {
        if self.client.is_some_and(|client| client.index() == d) { Sender::Client } else { Sender::Server }
    }
}
