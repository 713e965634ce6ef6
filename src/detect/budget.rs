//! The budget of false alarms: what each test has to reach, what it may cost, and what it has cost so far.
//!
//! Every test of every detector brings its evidence to the [`Scales`], which alone know the thresholds, so that what is
//! spent is counted in one place and what moved a test can be traced.
//!
//! A sequential test that asks for h nats raises at most one false alarm in e^h trials (see [`crate::model::Walk`]); a test that
//! is made once a client and day, one in e^h client-days. Thresholds are chosen so that this comes to each test's
//! share of the budget, by the number of trials a day so far, and of the prior when there were fewer.

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::rules::Prior;
use super::settings::Settings;
use super::trace::Trace;
use crate::alert::Family;
use crate::time::Timestamp;

/// How a test's chance of a false alarm is reckoned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Evidence adds up, trial by trial; believed to be this part of the prior's trials a day.
    Sequential(f64),
    /// So many tails a client and day.
    Daily(u32),
    /// Not a matter of chance: what is found is the fact itself.
    Fact,
}

macro_rules! tests {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $family:ident, $kind:expr, $measure:literal;)+) => {
        /// A statistical test.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Test { $($(#[doc = $doc])+ $variant,)+ }

        impl Test {
            /// All of them.
            pub const ALL: &'static [Test] = &[$(Test::$variant),+];

            /// Its name in JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Test::$variant => $name),+ }
            }

            /// The family that it finds.
            pub const fn family(self) -> Family {
                match self { $(Test::$variant => Family::$family),+ }
            }

            /// What it measures, in a few words.
            pub const fn measure(self) -> &'static str {
                match self { $(Test::$variant => $measure),+ }
            }

            pub(super) const fn kind(self) -> Kind {
                match self { $(Test::$variant => $kind),+ }
            }
        }
    };
}

use Kind::{Daily, Fact, Sequential};

tests! {
    /// First contacts with what the API has and has not.
    FirstContacts = "first_contacts", Recon, Sequential(1.0), "first contacts that missed";
    /// Objects of a template that are refused.
    ObjectDenials = "object_denials", Recon, Sequential(0.25), "distinct objects denied";
    /// Objects of a template that do not exist.
    ObjectAbsences = "object_absences", Recon, Sequential(0.5), "distinct objects that do not exist";
    /// Objects of a template, against peers.
    Objects = "objects", Recon, Daily(5), "distinct objects of one template";
    /// People that somebody asks about, against those who ask the same endpoint.
    Lookups = "lookups", Recon, Daily(1), "different people asked about at one endpoint";
    /// Newcomers that began with misses.
    Newcomers = "newcomers", Recon, Sequential(0.01), "new clients that began with nothing but misses";
    /// Calls in windows, against the population and the client's past.
    Calls = "calls", Flood, Daily(4), "calls";
    /// Calls that are the same as the one before.
    Repeats = "repeats", Flood, Daily(1), "identical calls in a row";
    /// Calls that cost much.
    CostlyCalls = "costly_calls", Flood, Daily(4), "calls that cost much";
    /// Time that the server works for a client.
    ServerTime = "server_time", Flood, Daily(1), "seconds of the server's time";
    /// Minutes with bursts of calls.
    BusyMinutes = "busy_minutes", Flood, Daily(1), "minutes with bursts of calls";
    /// A program's pace, against its past.
    Pace = "pace", Flood, Daily(1), "calls at several times its own pace";
    /// Failed logins of a client in ten minutes.
    LoginRate = "login_rate", Flood, Daily(1), "failed logins";
    /// Connections that keep a server waiting, of one client in ten minutes.
    SlowConnections = "slow_connections", Flood, Daily(1), "connections that keep the server waiting";
    /// Clients with such connections.
    SlowClients = "slow_clients", Flood, Sequential(0.01), "clients that keep the server waiting";
    /// Requests that are given up at once.
    Resets = "resets", Flood, Daily(1), "requests given up at once";
    /// Newcomers that call only one endpoint.
    Crowd = "crowd", Flood, Sequential(0.01), "new clients that call only this";
    /// Newcomers that call fast and long.
    Swarm = "swarm", Flood, Sequential(0.01), "new clients that called fast and long without credentials";
    /// Sensitive values that a principal took in a day.
    Values = "values", Leak, Daily(1), "distinct sensitive values";
    /// Bytes beyond what answers usually have.
    Excess = "excess", Leak, Daily(3), "bytes beyond ordinary answers";
    /// A class of sensitive data at an endpoint.
    Exposure = "exposure", Leak, Sequential(0.25), "answers with this class of data";
    /// Good answers of an endpoint without credentials.
    Unauthenticated = "unauthenticated", Leak, Sequential(0.3), "answers without credentials";
    /// The size of one answer, against the endpoint's.
    Oversized = "oversized", Leak, Daily(1), "bytes of one response";
    /// Fields of answers that nobody else gets.
    Returned = "returned", Leak, Sequential(0.01), "fields of answers that nobody else gets";
    /// Visits that are foretold by those before.
    Beacons = "beacons", Leak, Sequential(0.02), "encrypted connections at regular intervals";
    /// Secrets in URLs.
    Secrets = "secrets", Leak, Fact, "clients that send secrets in URLs here";
    /// Logins of a client.
    Logins = "logins", Auth, Sequential(0.05), "failed logins that differ";
    /// Failed logins of an endpoint in an hour, of all clients together.
    LoginsTogether = "logins_together", Auth, Daily(1), "failed logins of all clients";
    /// Clients that failed to log in to several accounts.
    Guessers = "guessers", Auth, Sequential(0.01), "clients that failed to log in to several accounts, or many to one";
    /// First calls of functions that those with the same role do not call.
    Functions = "functions", Auth, Sequential(0.02), "functions that peers do not call";
    /// Fields of request bodies that nobody else writes.
    Fields = "fields", Auth, Sequential(0.01), "fields that nobody else writes";
    /// A credential in two places.
    TokenUse = "token_use", Auth, Fact, "calls with another client's credential";
    /// Passwords in clear.
    Cleartext = "cleartext", Auth, Fact, "clients that send passwords in clear";
}

/// How many tests there are.
const COUNT: usize = Test::ALL.len();

/// Evidence that a fact has, and what is asked of it.
const FACT: [f64; 2] = [20.0, 10.0];

/// Tails that are looked at of a client in a day.
const TAILS: f64 = {
    let (mut sum, mut place) = (0, 0);
    while place < COUNT {
        if let Daily(tails) = Test::ALL[place].kind() {
            sum += tails;
        }
        place += 1;
    }
    sum as f64
};

/// Parts of the budget: of all tests that are made once a client and day together, of first contacts, and of all other
/// sequential tests together.
const DAILY_SHARE: f64 = 0.5;
/// See [`DAILY_SHARE`].
const FIRST_SHARE: f64 = 0.25;
/// See [`DAILY_SHARE`].
const OTHER_SHARE: f64 = 0.25;

/// The trials of all sequential tests beside the one of first contacts, in parts of the prior's.
const OTHERS: f64 = {
    let (mut sum, mut place) = (0.0, 0);
    while place < COUNT {
        if let Sequential(part) = Test::ALL[place].kind() {
            sum += part;
        }
        place += 1;
    }
    sum - 1.0
};

/// What is asked of the tests, and what they have cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Budget {
    #[serde(serialize_with = "column::serialize", deserialize_with = "column::thresholds")]
    thresholds: [f64; COUNT],
    /// Trials of sequential tests, weighted; tails of daily ones.
    #[serde(with = "column")]
    trials: [f64; COUNT],
    /// Those of them that are reckoned into `spent`.
    #[serde(with = "column")]
    reckoned: [f64; COUNT],
    /// False alarms to be expected of them.
    #[serde(with = "column")]
    spent: [f64; COUNT],
    /// Tests passed.
    #[serde(with = "column")]
    passed: [u64; COUNT],
    /// Days with calls, summed over the clients.
    client_days: u64,
}

/// A number for each test by its name, so that tests may come and go from version to version.
mod column {
    use std::fmt;

    use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{COUNT, Test};

    /// The tests in the first form of a checkpoint, where a column was a list.
    const FIRST_FORM: [Test; 33] = {
        use Test::*;
        [
            FirstContacts,
            ObjectDenials,
            ObjectAbsences,
            Objects,
            Lookups,
            Newcomers,
            Calls,
            Repeats,
            CostlyCalls,
            ServerTime,
            BusyMinutes,
            Pace,
            LoginRate,
            SlowConnections,
            SlowClients,
            Resets,
            Crowd,
            Swarm,
            Values,
            Excess,
            Exposure,
            Unauthenticated,
            Oversized,
            Returned,
            Beacons,
            Secrets,
            Logins,
            LoginsTogether,
            Guessers,
            Functions,
            Fields,
            TokenUse,
            Cleartext,
        ]
    };

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        column: &[T; COUNT],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Test::ALL.iter().map(|test| test.name()).zip(column))
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de> + Copy + Default, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[T; COUNT], D::Error> {
        deserializer.deserialize_any(Column { column: [T::default(); COUNT] })
    }

    /// What a test has to reach that was not known: more than it can, until thresholds are set anew.
    pub(super) fn thresholds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[f64; COUNT], D::Error> {
        deserializer.deserialize_any(Column { column: [f64::MAX; COUNT] })
    }

    struct Column<T> {
        column: [T; COUNT],
    }

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Column<T> {
        type Value = [T; COUNT];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number for each test")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
            while let Some(name) = map.next_key::<String>()? {
                let place = Test::ALL.iter().position(|test| test.name() == name);
                match place.and_then(|place| self.column.get_mut(place)) {
                    Some(held) => *held = map.next_value()?,
                    None => drop(map.next_value::<IgnoredAny>()?),
                }
            }
            Ok(self.column)
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Self::Value, A::Error> {
            for test in FIRST_FORM {
                let Some(value) = list.next_element()? else { break };
                if let Some(held) = self.column.get_mut(test as usize) {
                    *held = value;
                }
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(self.column)
        }
    }
}

impl Budget {
    pub(super) fn new() -> Budget {
        Budget {
            thresholds: [f64::MAX; COUNT],
            trials: [0.0; COUNT],
            reckoned: [0.0; COUNT],
            spent: [0.0; COUNT],
            passed: [0; COUNT],
            client_days: 0,
        }
    }

    /// What a test has to reach, in nats.
    #[inline]
    pub(super) fn threshold(&self, test: Test) -> f64 {
        self.thresholds.get(test as usize).copied().unwrap_or(f64::MAX)
    }

    /// A trial of a sequential test, outside of the scales.
    pub(super) fn tried(&mut self, test: Test) {
        if let Some(trials) = self.trials.get_mut(test as usize) {
            *trials += 1.0;
        }
    }

    /// A test was passed.
    pub(super) fn pass(&mut self, test: Test) {
        if let Some(count) = self.passed.get_mut(test as usize) {
            *count += 1;
        }
    }

    /// A client's first call of a day.
    pub(super) fn client_day(&mut self) {
        self.client_days += 1;
    }

    /// Reckons what was spent since the last time, and sets the thresholds anew. `days` of traffic were seen, and
    /// `clients` are known.
    pub(super) fn renew(&mut self, settings: &Settings, prior: &Prior, days: f64, clients: usize) {
        self.reckon();
        let budget = settings.false_alarms_per_day.max(1e-6);
        for (&test, threshold) in Test::ALL.iter().zip(&mut self.thresholds) {
            *threshold = match test.kind() {
                Fact => FACT[1],
                Daily(_) => {
                    let clients = prior.clients.max(clients as f64);
                    (clients * TAILS / (budget * DAILY_SHARE)).ln().max(1.0)
                }
                Sequential(part) => {
                    let seen = self.trials.get(test as usize).copied().unwrap_or_default();
                    let trials = (part * prior.trials).max(if days > 0.1 { seen / days } else { 0.0 });
                    let first = test == Test::FirstContacts;
                    let share = if first { FIRST_SHARE } else { OTHER_SHARE * part / OTHERS };
                    (trials / (budget * share)).ln().max(1.0)
                }
            };
        }
    }

    fn reckon(&mut self) {
        let columns = self.trials.iter_mut().zip(&mut self.reckoned).zip(&mut self.spent).zip(&self.thresholds);
        for (&test, (((trials, reckoned), spent), threshold)) in Test::ALL.iter().zip(columns) {
            if let Daily(tails) = test.kind() {
                *trials = self.client_days as f64 * f64::from(tails);
            }
            if test.kind() != Fact {
                *spent += (*trials - *reckoned) * (-threshold).exp();
            }
            *reckoned = *trials;
        }
    }

    /// What was spent until now, test by test, over `days` of traffic.
    pub(super) fn report(&self, settings: &Settings, days: f64) -> BudgetReport {
        let mut now = self.clone();
        now.reckon();
        let tests = Test::ALL.iter().zip(now.trials).zip(now.spent).zip(now.passed).zip(now.thresholds);
        let tests = tests.map(|((((&test, trials), spent), passed), threshold)| TestReport {
            test,
            family: test.family(),
            trials,
            threshold_decades: threshold.min(1e6) / std::f64::consts::LN_10,
            expected_false_alarms: spent,
            passed,
        });
        BudgetReport {
            false_alarms_per_day: settings.false_alarms_per_day,
            days,
            client_days: self.client_days,
            expected_false_alarms: now.spent.iter().sum(),
            tests: tests.collect(),
        }
    }
}

/// What the tests have cost, for the summary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BudgetReport {
    /// The budget.
    pub false_alarms_per_day: f64,
    /// Days of traffic so far.
    pub days: f64,
    /// Days with calls, summed over the clients.
    pub client_days: u64,
    /// False alarms to be expected of all tests so far, if nothing were wrong.
    pub expected_false_alarms: f64,
    /// Test by test.
    pub tests: Vec<TestReport>,
}

/// What one test has cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TestReport {
    /// The test.
    pub test: Test,
    /// The family that it finds.
    pub family: Family,
    /// Trials of a sequential test, weighted; tails of one that is made once a client and day.
    pub trials: f64,
    /// What it has to reach now.
    pub threshold_decades: f64,
    /// False alarms to be expected of these trials, if nothing were wrong.
    pub expected_false_alarms: f64,
    /// How often it was passed; most are of incidents that are open already.
    pub passed: u64,
}

/// Where all tests of a call bring their evidence.
pub(super) struct Scales<'a> {
    pub(super) budget: &'a mut Budget,
    pub(super) findings: &'a mut Vec<Finding>,
    /// There if somebody wants to know what moved this client's tests.
    pub(super) trace: Option<&'a mut Trace>,
    pub(super) time: Timestamp,
}

impl Scales<'_> {
    /// Whether this evidence is worth weighing: it is enough, or it is traced.
    #[inline]
    pub(super) fn wants(&self, test: Test, nats: f64) -> bool {
        nats >= self.budget.threshold(test) || self.trace.is_some()
    }

    /// Weighs a finding: true if it is enough, and then kept.
    pub(super) fn weigh(&mut self, mut finding: Finding) -> bool {
        finding.threshold = self.budget.threshold(finding.test);
        if let Some(trace) = &mut self.trace
            && !finding.endpoint
        {
            trace.note(self.time, &finding);
        }
        let passed = finding.nats >= finding.threshold;
        if passed {
            self.budget.pass(finding.test);
            self.findings.push(finding);
        }
        passed
    }

    /// Shows evidence to who traces it, and to nobody else.
    pub(super) fn watch(&mut self, mut finding: Finding) {
        finding.threshold = self.budget.threshold(finding.test);
        if let Some(trace) = &mut self.trace {
            trace.note(self.time, &finding);
        }
    }

    /// A fact needs no evidence.
    pub(super) fn fact(&mut self, finding: Finding) {
        self.weigh(Finding { nats: FACT[0], ..finding });
    }

    /// A trial of a sequential test.
    #[inline]
    pub(super) fn tried(&mut self, test: Test, weight: f64) {
        if let Some(trials) = self.budget.trials.get_mut(test as usize) {
            *trials += weight;
        }
    }
}
