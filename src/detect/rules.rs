//! The shape of `rules/detect.toml`.

use std::sync::OnceLock;

use serde::Deserialize;

use super::flood::{METERS, Quantity};
use crate::alert::Technique;
use crate::inspect::{Names, humps, leaf};
use crate::rules::{Listed, ObjectRules, Registered, RuleError, RuleFile};
pub use crate::rules::{ProbeKind, ProbeRule};

/// The file's name in `rules/`.
pub const FILE: &str = "detect.toml";

/// The text that is compiled in.
pub const COMPILED_IN: &str = include_str!("../../rules/detect.toml");

/// Words that give a purpose away, and priors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectRules {
    /// What is a login.
    pub login: LoginRules,
    /// What looks for descriptions, configuration and secrets.
    pub probes: ProbeRules,
    /// What user agents ask for by themselves.
    pub look_ups: ProbeRules,
    /// What values of parameters look like that are meant for somebody else than the service.
    #[serde(default)]
    pub probe: Vec<ProbeRule>,
    /// What is a secret in a URL.
    pub secrets: SecretRules,
    /// What asks about a person.
    pub lookups: LookupRules,
    /// What names an object in a query.
    #[serde(default)]
    pub objects: ObjectRules,
    /// What only those who run a service should call.
    pub functions: FunctionRules,
    /// What says what somebody may do.
    pub assignment: AssignmentRules,
    /// What is no person.
    pub agents: AgentRules,
    /// What the classes of sensitive values weigh.
    #[serde(default)]
    pub class: Vec<ClassRule>,
    /// What is believed before any traffic.
    pub prior: Prior,
    /// What a call costs.
    pub cost: CostRules,
    /// What is counted of clients in windows; in the order of the detector once loaded.
    pub meter: Vec<MeterRule>,
}

/// What is believed of one count, before any traffic.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeterRule {
    /// What is counted.
    pub of: Quantity,
    /// The length of the window in seconds.
    pub window: u64,
    /// What one person in ten exceeds once a day.
    pub person: f64,
    /// What one client in ten with an API key exceeds once a day.
    pub machine: f64,
    /// What is no flood in any case: nobody would want to read of less.
    pub floor: f64,
}

/// Which calls cost much.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostRules {
    /// Bytes of an answer from which on it costs much.
    pub bytes: u64,
    /// Seconds to the answer from which on it costs much.
    pub seconds: f64,
}

/// What is a login.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginRules {
    /// Segments of a path, lower case, each of which makes it a login.
    pub segments: Vec<String>,
    /// Last segments, lower case, that make it none.
    #[serde(default)]
    pub except: Vec<String>,
    /// Names of operations that are logins, lower case and without `_` and `-`.
    #[serde(default)]
    pub operations: Vec<String>,
    /// Last segments, lower case and without what stands behind a point, of pages on which people log in.
    #[serde(default)]
    pub pages: Vec<String>,
}

/// What looks for descriptions, configuration and secrets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeRules {
    /// Parts of a target, lower case.
    pub contains: Vec<String>,
}

/// What is a secret in a URL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRules {
    /// Names of query parameters, lower case; `-` and `_` in them count for nothing.
    pub parameters: Vec<String>,
    /// The same, ready for use.
    #[serde(skip)]
    known: OnceLock<Names>,
}

/// What asks about a person.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupRules {
    /// Classes of sensitive values that stand for a person.
    pub classes: Vec<String>,
    /// Words, lower case, that a path has that looks something up.
    pub words: Vec<String>,
}

/// What only those who run a service should call.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionRules {
    /// Words, lower case, of the paths and hosts of such functions.
    pub administrative: Vec<String>,
}

/// What says what somebody may do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignmentRules {
    /// Words, lower case, of the names of such fields.
    pub privileges: Vec<String>,
}

/// What is no person.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRules {
    /// Parts of a user agent, lower case.
    pub programs: Vec<String>,
}

/// What a class of sensitive values weighs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassRule {
    /// The class, as the inspection names it.
    pub name: String,
    /// One distinct value of it, in e-mail addresses.
    pub weight: f64,
    /// Whether its exposure by an endpoint is critical.
    #[serde(default)]
    pub grave: bool,
    /// Whether logins give it out, now to many and now to few.
    #[serde(default)]
    pub issued: bool,
}

/// What is believed before any traffic. The file says what each number means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each is explained where its value stands, in rules/detect.toml")]
pub struct Prior {
    pub weight: f64,
    pub miss_ceiling: f64,
    #[serde(default = "probe_ceiling")]
    pub probe_ceiling: f64,
    pub denial: f64,
    pub denial_ceiling: f64,
    pub absence: f64,
    pub absence_ceiling: f64,
    pub login_ceiling: f64,
    pub regular_ceiling: f64,
    pub objects: f64,
    pub objects_machine: f64,
    pub objects_floor: [f64; 3],
    pub lookups: f64,
    pub lookups_floor: f64,
    pub values_floor: f64,
    pub bytes: [f64; 3],
    pub bytes_machine: [f64; 3],
    pub values: f64,
    pub values_machine: f64,
    pub volume_deviation: f64,
    pub probing_newcomers: f64,
    pub swarming_newcomers: f64,
    pub guessers: f64,
    pub slow_connections: f64,
    pub slow_clients: f64,
    pub resets: f64,
    pub trials: f64,
    pub clients: f64,
}

/// That of files from before it was one of the numbers.
fn probe_ceiling() -> f64 {
    0.02
}

impl Default for DetectRules {
    /// Those that are compiled in.
    fn default() -> Self {
        let file = RuleFile::new(FILE, COMPILED_IN);
        // A test in this module loads the same constant text, so this cannot fail in a build that passed its tests.
        #[allow(clippy::expect_used, reason = "constant input, tested")]
        DetectRules::load(&file).expect("the rules that are compiled in are well-formed")
    }
}

/// The file, for [`crate::rules`].
pub(crate) static RULE_FILES: [Registered; 1] = [Registered {
    name: FILE,
    compiled_in: COMPILED_IN,
    check: |file| match DetectRules::load(file) {
        Ok(rules) => rules.wrong_probes(file),
        Err(error) => vec![error],
    },
    list: |file| {
        let rules = DetectRules::load(file).map_err(|error| vec![error])?;
        let technique = |technique: &Technique| Listed {
            file: file.path.clone(),
            name: technique.name().to_owned(),
            class: "technique".to_owned(),
            description: technique.help().trim().to_owned(),
        };
        let probe = |probe: &ProbeRule| Listed {
            file: file.path.clone(),
            name: probe.name.clone(),
            class: probe.kind.technique().name().to_owned(),
            description: probe.description.clone(),
        };
        Ok(Technique::ALL.iter().map(technique).chain(rules.probe.iter().map(probe)).collect())
    },
}];

impl DetectRules {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// What does not fit this shape, and numbers outside their range.
    pub fn load(file: &RuleFile) -> Result<DetectRules, RuleError> {
        let mut rules: DetectRules = file.parse()?;
        let place =
            |rule: &MeterRule| METERS.iter().position(|(of, window)| *of == rule.of && window.seconds() == rule.window);
        rules.meter.sort_by_key(place);
        // Those that are compiled in were tried by the tests.
        if file.text != COMPILED_IN
            && let Some(error) = rules.wrong_probes(file).into_iter().next()
        {
            return Err(error);
        }
        rules.check().map_err(|(name, reason)| {
            // The line of the key, as well as it can be told from the text.
            let line = file.text.lines().position(|line| line.split('=').next().is_some_and(|key| key.trim() == name));
            RuleError { file: file.path.clone(), line: line.map(|line| line + 1), reason: format!("{name}: {reason}") }
        })?;
        Ok(rules)
    }

    /// Patterns that are none, and examples that do not hold.
    fn wrong_probes(&self, file: &RuleFile) -> Vec<RuleError> {
        let wrong = |probe: &ProbeRule| {
            let reason = probe.check().err()?;
            let name = format!("name = {:?}", probe.name);
            let line = file.text.lines().position(|line| line.trim() == name);
            Some(RuleError { file: file.path.clone(), line: line.map(|line| line + 1), reason })
        };
        self.probe.iter().filter_map(wrong).collect()
    }

    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let prior = &self.prior;
        for (name, share) in [
            ("miss_ceiling", prior.miss_ceiling),
            ("probe_ceiling", prior.probe_ceiling),
            ("denial", prior.denial),
            ("denial_ceiling", prior.denial_ceiling),
            ("absence", prior.absence),
            ("absence_ceiling", prior.absence_ceiling),
            ("login_ceiling", prior.login_ceiling),
            ("regular_ceiling", prior.regular_ceiling),
        ] {
            if !(0.001..=0.5).contains(&share) {
                return Err((name, "a share from 0.001 to 0.5 is expected"));
            }
        }
        let lists: [(&'static str, &[f64]); 17] = [
            ("lookups", &[prior.lookups]),
            ("lookups_floor", &[prior.lookups_floor]),
            ("clients", &[prior.clients]),
            ("swarming_newcomers", &[prior.swarming_newcomers]),
            ("guessers", &[prior.guessers]),
            ("values_floor", &[prior.values_floor]),
            ("objects_floor", &prior.objects_floor),
            ("bytes", &prior.bytes),
            ("bytes_machine", &prior.bytes_machine),
            ("values", &[prior.values]),
            ("values_machine", &[prior.values_machine]),
            ("objects", &[prior.objects]),
            ("objects_machine", &[prior.objects_machine]),
            ("weight", &[prior.weight]),
            ("volume_deviation", &[prior.volume_deviation]),
            ("probing_newcomers", &[prior.probing_newcomers]),
            ("trials", &[prior.trials]),
        ];
        for (name, numbers) in lists {
            if !numbers.iter().all(|number| number.is_finite() && *number > 0.0) {
                return Err((name, "a number above 0 is expected"));
            }
        }
        let complete = METERS.len() == self.meter.len()
            && METERS
                .iter()
                .zip(&self.meter)
                .all(|((of, window), rule)| *of == rule.of && window.seconds() == rule.window);
        if !complete {
            return Err((
                "[[meter]]",
                "one for each quantity and window of the compiled-in file is expected, and no other",
            ));
        }
        let numbers = |rule: &MeterRule| [rule.person, rule.machine, rule.floor];
        if !self.meter.iter().flat_map(numbers).all(|number| number.is_finite() && number > 0.0) {
            return Err(("[[meter]]", "numbers above 0 are expected"));
        }
        if !self.class.iter().all(|class| class.weight.is_finite() && class.weight >= 0.0) {
            return Err(("weight", "a class weighs 0 or more"));
        }
        let words = [
            &self.agents.programs,
            &self.login.segments,
            &self.login.except,
            &self.login.operations,
            &self.login.pages,
            &self.probes.contains,
            &self.look_ups.contains,
            &self.secrets.parameters,
            &self.lookups.classes,
            &self.lookups.words,
            &self.functions.administrative,
            &self.assignment.privileges,
        ];
        if words.iter().any(|list| list.iter().any(|word| word.is_empty() || word.chars().any(char::is_uppercase))) {
            return Err(("segments", "words are lower case and not empty, here and in contains and parameters"));
        }
        Ok(())
    }

    /// Whether a call with this method and path is an attempt to log in.
    pub fn is_login(&self, method: &str, path: &str) -> bool {
        if !matches!(method, "POST" | "PUT") {
            return false;
        }
        let has = |list: &[String], segment: &str| list.iter().any(|word| word.eq_ignore_ascii_case(segment));
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        segments.any(|segment| has(&self.login.segments, segment)) && !has(&self.login.except, last)
    }

    /// Whether an operation of this name is an attempt to log in.
    pub fn is_login_operation(&self, name: &str) -> bool {
        let name = name.rsplit('.').next().unwrap_or_default();
        let plain = || name.bytes().filter(|byte| !matches!(byte, b'_' | b'-')).map(|byte| byte.to_ascii_lowercase());
        self.login.operations.iter().any(|known| plain().eq(known.bytes()))
    }

    /// Whether a path is that of a page on which people log in.
    pub fn is_login_page(&self, path: &str) -> bool {
        let has = |list: &[String], segment: &str| list.iter().any(|word| word.eq_ignore_ascii_case(segment));
        let mut segments = path.trim_end_matches('/').rsplit('/');
        let last = segments.next().unwrap_or_default();
        let plain = last.split('.').next().unwrap_or_default();
        has(&self.login.pages, plain)
            || last == "new" && segments.next().is_some_and(|above| has(&self.login.segments, above))
    }

    /// Whether the last segment of a path makes it a login.
    pub fn ends_in_login(&self, path: &str) -> bool {
        let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        self.login.segments.iter().any(|word| word.eq_ignore_ascii_case(last))
    }

    /// Whether a path has to do with logging in: a login, or what renews and ends one.
    pub fn is_of_logins(&self, path: &str) -> bool {
        let has = |list: &[String], segment: &str| list.iter().any(|word| word.eq_ignore_ascii_case(segment));
        path.split('/').any(|segment| has(&self.login.segments, segment) || has(&self.login.except, segment))
    }

    /// Whether a host or a path is one of those who run the service: it has one of the words between what is no letter and
    /// no digit, or capitals. Not for the hot path.
    pub fn is_administrative(&self, host: &str, path: &str) -> bool {
        let listed = |word: &str| {
            word.len() > 2 && self.functions.administrative.iter().any(|known| known.eq_ignore_ascii_case(word))
        };
        let parts = |text: &str| {
            text.split(|letter: char| !letter.is_ascii_alphanumeric())
                .any(|part| listed(part) || humps(part).any(listed))
        };
        let whole = |text: &str| {
            text.split('/').any(|segment| segment.contains(['-', '_']) && listed(&segment.replace(['-', '_'], "")))
        };
        parts(host) || parts(path) || whole(path)
    }

    /// Whether a field of this name says what somebody may do, is or has. Not for the hot path.
    pub fn is_privilege(&self, name: &str) -> bool {
        let listed = |word: &str| self.assignment.privileges.iter().any(|known| known.eq_ignore_ascii_case(word));
        name.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|part| listed(part) || humps(part).any(listed))
    }

    /// Whether a path says that it looks something up. Not for the hot path.
    pub fn looks_up(&self, path: &str) -> bool {
        let path = path.to_ascii_lowercase();
        self.lookups.words.iter().any(|word| path.contains(word))
    }

    /// Whether logins give a class out.
    pub fn is_issued(&self, class: &str) -> bool {
        self.class.iter().any(|rule| rule.issued && rule.name == class)
    }

    /// Whether a target looks for descriptions, configuration or secrets. Not for the hot path.
    pub fn is_probe(&self, target: &str) -> bool {
        let target = target.to_ascii_lowercase();
        self.probes.contains.iter().any(|part| target.contains(part))
    }

    /// Whether user agents ask for this path by themselves.
    pub fn is_look_up(&self, path: &str) -> bool {
        let path = path.to_ascii_lowercase();
        self.look_ups.contains.iter().any(|part| path.contains(part))
    }

    /// The rules that a decoded value has the looks of. Not for the hot path.
    pub(super) fn probed<'r>(&'r self, value: &'r str) -> impl Iterator<Item = &'r ProbeRule> {
        self.probe.iter().filter(|rule| rule.fits(value))
    }

    /// Whether a query parameter holds a secret.
    pub fn is_secret(&self, name: &str) -> bool {
        let SecretRules { parameters, known } = &self.secrets;
        known.get_or_init(|| Names::of(parameters.iter().map(String::as_str))).has(leaf(name.as_bytes()))
    }

    /// Whether a user agent is that of a program. Not for the hot path.
    pub fn is_program(&self, agent: &str) -> bool {
        let agent = agent.to_ascii_lowercase();
        self.agents.programs.iter().any(|part| agent.contains(part))
    }

    /// The rule of a class; a class that is not named weighs 1 and is not grave.
    pub fn class(&self, name: &str) -> (f64, bool) {
        self.class.iter().find(|class| class.name == name).map_or((1.0, false), |class| (class.weight, class.grave))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: String) -> RuleFile {
        RuleFile::new(FILE, text)
    }

    #[test]
    fn those_compiled_in_load() {
        let rules = DetectRules::default();
        assert!(rules.is_login("POST", "/v1/Login") && rules.is_login("POST", "/oauth/token"));
        assert!(rules.is_login_page("/shop/Login.php") && rules.is_login_page("/sessions/new/"));
        assert!(!rules.is_login_page("/home") && !rules.is_login_page("/items/new") && !rules.is_login_page("/"));
        assert!(rules.is_login_operation("auth.logIn") && rules.is_login_operation("create_token"));
        assert!(!rules.is_login_operation("lastLogin") && !rules.is_login_operation("login.history"));
        assert!(!rules.is_login("GET", "/v1/login") && !rules.is_login("POST", "/v1/token/refresh"));
        assert!(rules.is_probe("/v3/API-docs?x") && !rules.is_probe("/v1/orders"));
        assert_eq!(rules.class("payment_card"), (10.0, true));
        for (host, path) in
            [("a.example", "/v1/admin/users/{id}"), ("backoffice.a.example", "/x"), ("a.example", "/adminUsers")]
        {
            assert!(rules.is_administrative(host, path), "{host}{path}");
        }
        for path in ["/v1/badminton", "/administer-medicine", "/v1/users/{id}", "/rootstock"] {
            assert!(!rules.is_administrative("a.example", path), "{path}");
        }
        assert!(
            rules.is_privilege("isAdmin") && rules.is_privilege("account_balance") && !rules.is_privilege("enrolled")
        );
        assert!(rules.is_administrative("a.example", "/back-office/x") && rules.looks_up("/v1/users/Lookup"));
        for name in
            ["id", "ID", "account", "accountNumber", "order_id", "orderID", "user.id", "filter[orderUuid]", "ids[]"]
        {
            assert!(rules.objects.name(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "_",
            "page",
            "valid",
            "grid",
            "paid",
            "client_id",
            "requestId",
            "after_id",
            "filter[sinceId]",
            "id_token",
        ] {
            assert!(!rules.objects.name(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let error = DetectRules::load(&file(COMPILED_IN.replace("'http://127.0.0.1:8080/admin', ", "'cat', ")));
        let error = error.expect_err("an example that does not match");
        assert!(error.line.is_some() && error.reason.contains("does not match \"cat\""), "{error}");

        let error = DetectRules::load(&file(COMPILED_IN.replace("miss_ceiling = 0.12", "miss_ceiling = 12")));
        let error = error.expect_err("a share above one");
        assert!(error.line.is_some() && error.reason.contains("miss_ceiling"), "{error}");
        let error = DetectRules::load(&file(COMPILED_IN.replace("[login]", "[logon]"))).expect_err("an unknown table");
        assert!(error.line.is_some(), "{error}");
    }
}
