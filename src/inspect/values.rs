//! Values of request bodies, one by one: JSON texts and fields of `application/x-www-form-urlencoded`.
//!
//! Two things are asked of them. Is a value meant for somebody else than the service ([`crate::rules::ProbeRule`])? And, where
//! one field names an account and another is a password, is the account one that everybody tries first? What leaves is the
//! path of the field and the name of the rule, or the name of the account as the rules have it. Values of fields that are
//! secrets by their names are not even collected: passwords are odd by design.
//!
//! A body is read as it comes, once; held are the beginning of one value and the names that lead to it. Multipart forms, XML and
//! bodies of no declared type are not read.

use std::borrow::Cow;
use std::sync::Arc;

use super::rules::Compiled;
use super::shape::{Kind, format};
use crate::call::{Probe, RequestValues};

/// Bytes of a value that are looked at.
const VALUE: usize = 1_024;

/// Bytes of the path of a field.
const FIELD: usize = 128;

/// Lists and objects within each other that are told apart.
const DEPTH: usize = 32;

/// Fields and rules that are told of one body.
const TOLD: usize = 8;

/// Bytes, and words, from which on a value is a text that somebody wrote.
const PROSE: (usize, usize) = (200, 16);

/// Names of fields that say which account is meant, lower case and without `_` and `-`.
const ACCOUNTS: [&str; 9] =
    ["username", "user", "login", "email", "userid", "account", "accountname", "loginid", "name"];

/// Names of fields that hold a password, in the same way.
const PASSWORDS: [&str; 5] = ["password", "passwd", "pwd", "pass", "passphrase"];

/// Domains of e-mail addresses that belong to nobody (RFC 2606, RFC 6762): who has one is known by what stands before.
const NOBODY: [&str; 7] = ["localhost", "local", "localdomain", "test", "example.com", "example.org", "example.net"];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Between values.
    #[default]
    Between,
    Text {
        name: bool,
    },
    /// Behind a backslash in a text.
    Escape {
        name: bool,
    },
    /// Behind `\u`: how many digits there were, and their number.
    Unicode {
        name: bool,
        digits: u8,
        number: u16,
    },
    /// What follows is not known.
    Lost,
}

/// What the name of a field says of its values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Says {
    #[default]
    Nothing,
    Account,
    Password,
    /// Another secret.
    Secret,
}

/// A list or an object that is open.
#[derive(Clone, Copy, Debug)]
struct Level {
    list: bool,
    /// Bytes of the path that lead to it.
    path: usize,
}

/// Reads one body; used again for the next.
#[derive(Debug, Default)]
pub(super) struct ValueReader {
    form: bool,
    state: State,
    levels: Vec<Level>,
    /// Levels beyond [`DEPTH`].
    beyond: u32,
    /// The next text of an object is a name.
    expects_name: bool,
    path: String,
    /// Bytes of the path before its last name.
    before_name: usize,
    text: Vec<u8>,
    /// Bytes of the value, beyond those that are kept too.
    length: usize,
    /// What its last name says.
    says: Says,
    /// Values that were held against the rules.
    tried: u32,
    capped: bool,
    probes: Vec<Probe>,
    account: Option<Arc<str>>,
    password: bool,
}

impl ValueReader {
    /// Ready for a body of this kind.
    pub(super) fn begin(&mut self, kind: Kind) {
        self.form = kind == Kind::Pairs;
        self.state = State::Between;
        self.levels.clear();
        (self.beyond, self.expects_name) = (0, false);
        self.path.clear();
        (self.before_name, self.says) = (0, Says::Nothing);
        self.over();
        (self.tried, self.capped, self.password) = (0, false, false);
        self.probes.clear();
        self.account = None;
    }

    /// The next bytes.
    pub(super) fn data(&mut self, bytes: &[u8], rules: &Compiled, limit: u32) {
        if self.state == State::Lost {
            return;
        }
        match self.form {
            true => self.pairs(bytes, rules, limit),
            false => self.json(bytes, rules, limit),
        }
    }

    /// Bytes are missing: where it goes on is not known.
    pub(super) fn gap(&mut self) {
        self.state = State::Lost;
    }

    /// What was found, if anything was, and whether a limit was reached.
    pub(super) fn finish(&mut self, rules: &Compiled, limit: u32) -> (Option<Arc<RequestValues>>, bool) {
        if self.form && self.state != State::Lost {
            self.pair_over(rules, limit);
        }
        let default_account = self.account.take().filter(|_| self.password);
        let found = RequestValues { probes: std::mem::take(&mut self.probes), default_account };
        ((found != RequestValues::default()).then(|| Arc::new(found)), self.capped)
    }

    fn json(&mut self, bytes: &[u8], rules: &Compiled, limit: u32) {
        let mut place = 0;
        while let Some(&byte) = bytes.get(place) {
            match self.state {
                State::Text { name } => {
                    let rest = bytes.get(place..).unwrap_or_default();
                    let end = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                    self.keep(rest.get(..end).unwrap_or_default());
                    place += end;
                    match rest.get(end) {
                        Some(b'"') => self.text_over(name, rules, limit),
                        Some(_) => self.state = State::Escape { name },
                        None => return,
                    }
                }
                State::Escape { name } => {
                    self.state = State::Text { name };
                    match byte {
                        b'u' => self.state = State::Unicode { name, digits: 0, number: 0 },
                        b'n' | b'r' | b't' => self.keep(b" "),
                        b'b' | b'f' => {}
                        byte => self.keep(&[byte]),
                    }
                }
                State::Unicode { name, digits, number } => {
                    let digit = char::from(byte).to_digit(16).unwrap_or_default() as u16;
                    let number = number << 4 | digit;
                    if digits < 3 {
                        self.state = State::Unicode { name, digits: digits + 1, number };
                    } else {
                        // Half a pair is no character; what it is half of is of no interest here.
                        let letter = char::from_u32(u32::from(number)).unwrap_or(char::REPLACEMENT_CHARACTER);
                        self.keep(letter.encode_utf8(&mut [0; 4]).as_bytes());
                        self.state = State::Text { name };
                    }
                }
                State::Between => self.token(byte),
                State::Lost => return,
            }
            place += 1;
        }
    }

    fn token(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.state = State::Text { name: self.expects_name };
                self.over();
            }
            b'{' | b'[' if self.levels.len() < DEPTH => {
                let list = byte == b'[';
                if list {
                    self.lead("[]");
                }
                self.levels.push(Level { list, path: self.path.len() });
                self.expects_name = !list;
            }
            b'{' | b'[' => self.beyond = self.beyond.saturating_add(1),
            b'}' | b']' if self.beyond > 0 => self.beyond -= 1,
            b'}' | b']' => {
                self.levels.pop();
                self.expects_name = false;
            }
            b',' if self.beyond == 0 => {
                if let Some(level) = self.levels.last() {
                    self.path.truncate(level.path);
                    self.expects_name = !level.list;
                }
            }
            _ => {}
        }
    }

    /// Appends to the path, if there is room: else what is deeper goes by what leads to it.
    fn lead(&mut self, name: &str) {
        if self.path.len() + name.len() < FIELD {
            self.path.push_str(name);
        }
    }

    /// Keeps bytes of a text, as far as they are looked at; of a secret none but the first, which says that there is one.
    fn keep(&mut self, bytes: &[u8]) {
        let naming = self.expects_name != self.form;
        let most = if !naming && matches!(self.says, Says::Password | Says::Secret) { 1 } else { VALUE };
        let room = most - self.text.len().min(most);
        self.text.extend_from_slice(bytes.get(..bytes.len().min(room)).unwrap_or_default());
        self.length = self.length.saturating_add(bytes.len());
    }

    /// A text is over: room for the next.
    fn over(&mut self) {
        self.text.clear();
        self.length = 0;
    }

    fn text_over(&mut self, name: bool, rules: &Compiled, limit: u32) {
        self.state = State::Between;
        let text = std::mem::take(&mut self.text);
        if name {
            self.expects_name = false;
            self.name(&text, rules);
            // An operator in place of a value, as document databases have them.
            if text.first() == Some(&b'$') && self.beyond == 0 {
                let operator = format!("\"{}\":", String::from_utf8_lossy(&text));
                self.probe(operator.as_bytes(), self.before_name, false, rules, limit);
            }
        } else {
            self.value(&text, rules, limit);
        }
        self.text = text;
        self.over();
    }

    /// The name of a field: the end of the path from now on.
    fn name(&mut self, name: &[u8], rules: &Compiled) {
        let above = self.levels.last().map_or(0, |level| level.path);
        self.path.truncate(above);
        self.before_name = self.path.len();
        if !self.path.is_empty() {
            self.lead(".");
        }
        self.says = match () {
            () if is_one_of(name, &PASSWORDS) => Says::Password,
            () if rules.credentials.is_secret(name) => Says::Secret,
            () if is_one_of(name, &ACCOUNTS) => Says::Account,
            () => Says::Nothing,
        };
        match std::str::from_utf8(name) {
            Ok(name) if !format::is_data(name.as_bytes()) => self.lead(name),
            // Names that are data are one field.
            _ => self.lead("*"),
        }
    }

    /// A value of the field that the path leads to.
    fn value(&mut self, value: &[u8], rules: &Compiled, limit: u32) {
        match self.says {
            Says::Password => self.password |= !value.is_empty(),
            Says::Account if self.account.is_none() => {
                self.account = rules.credentials.default_account(account(value));
            }
            _ => {}
        }
        if matches!(self.says, Says::Password | Says::Secret) {
            return;
        }
        if is_odd(value) {
            let prose = self.length >= PROSE.0 && value.iter().filter(|byte| **byte == b' ').count() >= PROSE.1;
            self.probe(value, self.path.len(), prose, rules, limit);
        }
    }

    /// Holds a value of the field, whose path has so many bytes, against the rules.
    fn probe(&mut self, value: &[u8], path: usize, prose: bool, rules: &Compiled, limit: u32) {
        if rules.probes.is_empty() {
            return;
        }
        if self.tried >= limit || self.probes.len() >= TOLD {
            self.capped = true;
            return;
        }
        self.tried += 1;
        let text = decoded(value);
        for rule in rules.probes.iter().filter(|rule| rule.fits(&text)) {
            let field = self.path.get(..path).unwrap_or_default();
            let told = self.probes.iter().any(|probe| *probe.field == *field && *probe.rule == *rule.name);
            if !told && self.probes.len() < TOLD {
                self.probes.push(Probe { field: field.into(), rule: rule.name.as_str().into(), prose });
            }
        }
    }

    fn pairs(&mut self, bytes: &[u8], rules: &Compiled, limit: u32) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let naming = !self.expects_name;
            let end = match naming {
                true => memchr::memchr2(b'&', b'=', rest),
                false => memchr::memchr(b'&', rest),
            };
            let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
            self.keep(part);
            match behind.first() {
                Some(b'=') => {
                    let name = std::mem::take(&mut self.text);
                    self.name(&form_decoded(&name), rules);
                    self.text = name;
                    self.over();
                    // Here: a value is expected.
                    self.expects_name = true;
                }
                Some(_) => self.pair_over(rules, limit),
                None => {}
            }
            rest = behind.get(1..).unwrap_or_default();
        }
    }

    /// A field of a form is over.
    fn pair_over(&mut self, rules: &Compiled, limit: u32) {
        if std::mem::take(&mut self.expects_name) {
            let value = std::mem::take(&mut self.text);
            self.value(&form_decoded(&value), rules, limit);
            self.text = value;
        }
        self.over();
    }
}

/// Whether a name is one of these, without regard to case, `_` and `-`.
fn is_one_of(name: &[u8], known: &[&str]) -> bool {
    let plain = || name.iter().filter(|byte| !matches!(byte, b'_' | b'-')).map(u8::to_ascii_lowercase);
    known.iter().any(|known| plain().eq(known.bytes()))
}

/// What of the name of an account says who is meant.
fn account(value: &[u8]) -> &[u8] {
    let Some(at) = value.iter().position(|&byte| byte == b'@') else { return value };
    let (local, domain) = value.split_at(at);
    let nobody = NOBODY.iter().any(|known| domain.get(1..).is_some_and(|it| it.eq_ignore_ascii_case(known.as_bytes())));
    if nobody { local } else { value }
}

/// Whether a value may be what a rule looks for: most are not, at a glance.
fn is_odd(value: &[u8]) -> bool {
    let mut last = 0;
    let marked = value.iter().any(|&byte| {
        let before = std::mem::replace(&mut last, byte);
        match byte {
            b'%' | b'\'' | b'"' | b'<' | b'>' | b'{' | b'}' | b'$' | b'`' | b'|' | b';' | b'\\' => true,
            b'.' => before == b'.',
            b'/' => before == b':',
            _ => false,
        }
    });
    let address = || {
        let digits = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
        value.len() <= 15 && value.iter().filter(|byte| **byte == b'.').count() == 3 && value.iter().all(digits)
    };
    marked || value.first() == Some(&b'/') || address()
}

/// A value as forms write it, decoded.
fn form_decoded(value: &[u8]) -> Cow<'_, [u8]> {
    match value.contains(&b'+') {
        true => super::shape::form_decoded(value),
        false => percent_encoding::percent_decode(value).into(),
    }
}

/// A value without an encoding that it has of its own.
fn decoded(value: &[u8]) -> Cow<'_, str> {
    let escape = |part: &[u8]| matches!(part, [b'%', one, two] if one.is_ascii_hexdigit() && two.is_ascii_hexdigit());
    let plain: Cow<'_, [u8]> = match value.windows(3).any(escape) {
        true => percent_encoding::percent_decode(value).collect::<Vec<u8>>().into(),
        false => value.into(),
    };
    match plain {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Inspector, Rules, Scans, Settings, Side};
    use super::*;
    use crate::key::Key;
    use proptest::prelude::*;

    fn inspector(settings: Settings) -> Inspector {
        let rules = Rules::load(None).unwrap_or_else(|errors| panic!("{}", errors[0]));
        Inspector::new(&rules, settings, Key::from_bytes([7; 16]))
    }

    /// What is found in a body, the gap being where a piece is none.
    fn found(inspector: &Inspector, side: Side, media: &str, pieces: &[Option<&[u8]>]) -> Option<Arc<RequestValues>> {
        let mut idle = Scans::default();
        let mut scan = inspector.begin(side, Some(media), &mut idle).expect("it is looked at");
        for piece in pieces {
            match piece {
                Some(piece) => inspector.data(&mut scan, piece, false),
                None => inspector.gap(&mut scan),
            }
        }
        inspector.finish(scan, &mut idle).values
    }

    fn probes(media: &str, body: &str) -> Vec<(String, String)> {
        let inspector = inspector(Settings::default());
        let whole = found(&inspector, Side::Request, media, &[Some(body.as_bytes())]);
        // However it is cut.
        for cut in 0..body.len() {
            let (one, two) = body.as_bytes().split_at(cut);
            assert_eq!(found(&inspector, Side::Request, media, &[Some(one), Some(two)]), whole, "cut at {cut}");
        }
        let probes = whole.iter().flat_map(|values| &values.probes);
        probes.map(|probe| (probe.field.to_string(), probe.rule.to_string())).collect()
    }

    fn account(media: &str, body: &str) -> Option<String> {
        let found = found(&inspector(Settings::default()), Side::Request, media, &[Some(body.as_bytes())])?;
        found.default_account.as_deref().map(str::to_owned)
    }

    const JSON: &str = "application/json";
    const FORM: &str = "application/x-www-form-urlencoded";

    #[test]
    fn fields_of_json_and_forms_are_told_with_their_rules() {
        let body = r#"{"filter":{"name":"x' OR '1'='1","page":3},"items":[{"url":"http:\/\/169.254.169.254/"},{"id":7}],
            "text":"\u007b\u007b7*7}}","user":{"$ne":null},"18374655":"; cat /etc/hosts","path":"/etc/passwd"}"#;
        let told = probes(JSON, body);
        for (field, rule) in [
            ("filter.name", "sql_condition"),
            ("items[].url", "metadata_service"),
            ("text", "template"),
            ("user", "entity"),
            ("*", "command"),
            ("path", "foreign_file"),
        ] {
            assert!(told.iter().any(|(held, name)| held == field && name == rule), "{field} {rule}: {told:?}");
        }
        let told =
            probes(FORM, "q=x%27+UNION+SELECT+null,null&host=127.0.0.1%3B+id&twice=%2527%20or%201%3D1--%20&plain=a+b");
        for field in ["q", "host"] {
            assert!(told.iter().any(|(held, _)| held == field), "{field}: {told:?}");
        }
        assert!(told.iter().all(|(field, _)| field != "plain"), "{told:?}");
        let outermost = probes(JSON, r#"["<script>alert(1)</script>", "x"]"#);
        assert_eq!(outermost, [("[]".to_owned(), "script".to_owned())]);
    }

    #[test]
    fn ordinary_values_passwords_and_answers_tell_nothing() {
        let plain = r#"{"name":"O'Brien","when":"2026-03-02T14:00:00Z","url":"https://a.example/x?y=1","price":"$5",
            "note":"salt & pepper; \"quoted\"","password":"x' OR '1'='1","client_secret":"; cat /etc/passwd"}"#;
        assert_eq!(probes(JSON, plain), []);
        let inspector = inspector(Settings::default());
        let body: &[u8] = br#"{"q":"x' OR '1'='1"}"#;
        assert_eq!(found(&inspector, Side::Response, JSON, &[Some(body)]), None);
        assert_eq!(found(&inspector, Side::Request, "text/plain", &[Some(body)]), None);
        // Behind a gap nobody knows whose value it is.
        assert_eq!(found(&inspector, Side::Request, JSON, &[Some(br#"{"a":"b"#), None, Some(body)]), None);
    }

    #[test]
    fn long_texts_are_marked_as_such() {
        let text = "This is what I tried, and it does not do what the manual says. ".repeat(5);
        let body = format!(r#"{{"comment":"{text} ; cat /etc/hosts"}}"#);
        let found = found(&inspector(Settings::default()), Side::Request, JSON, &[Some(body.as_bytes())]);
        let found = found.expect("a command");
        assert!(found.probes.iter().all(|probe| probe.prose), "{found:?}");
    }

    #[test]
    fn accounts_that_everybody_tries_are_named_beside_a_password() {
        for (media, body, wanted) in [
            (JSON, r#"{"username":"Admin","password":"hunter2"}"#, Some("admin")),
            (JSON, r#"{"password":"a","user_name":"root"}"#, Some("root")),
            (JSON, r#"{"credentials":{"login":"guest","passwd":"guest"}}"#, Some("guest")),
            (JSON, r#"{"email":"test@example.com","password":"x"}"#, Some("test")),
            (FORM, "user=postgres&remember=1&pwd=postgres", Some("postgres")),
            // Its twins.
            (JSON, r#"{"username":"ana","password":"hunter2"}"#, None),
            (JSON, r#"{"username":"admin"}"#, None),
            (JSON, r#"{"username":"admin","password":""}"#, None),
            (JSON, r#"{"email":"admin@shop.example","password":"x"}"#, None),
            (FORM, "user=ana&pwd=admin", None),
        ] {
            assert_eq!(account(media, body).as_deref(), wanted, "{body}");
        }
        let found = found(
            &inspector(Settings::default()),
            Side::Request,
            JSON,
            &[Some(br#"{"username":"admin","password":"hunter2"}"#)],
        );
        assert!(!format!("{found:?}").contains("hunter2"));
    }

    #[test]
    fn limits_hold() {
        let few = inspector(Settings { probed_values: 3, ..Settings::default() });
        let body = format!(r#"{{{}"q":"x' OR '1'='1"}}"#, r#""a":"it's","#.repeat(3));
        let mut idle = Scans::default();
        let mut scan = few.begin(Side::Request, Some(JSON), &mut idle).expect("JSON");
        few.data(&mut scan, body.as_bytes(), true);
        let findings = few.finish(scan, &mut idle);
        assert!(findings.values.is_none() && findings.capped);
        let none = inspector(Settings { probed_values: 0, ..Settings::default() });
        assert_eq!(found(&none, Side::Request, JSON, &[Some(br#"{"q":"x' OR '1'='1"}"#)]), None);
        // Deep, long and endless.
        let all = inspector(Settings::default());
        let deep = format!("{}{}", r#"{"a":["#.repeat(3_000), r#"{"q":"x' OR '1'='1"}"#);
        let told = found(&all, Side::Request, JSON, &[Some(deep.as_bytes())]).expect("a value");
        assert!(told.probes.iter().all(|probe| probe.field.len() <= FIELD), "{told:?}");
        let many: String = (0..50).map(|number| format!("{}'--&", format_args!("f{}=x", "a".repeat(number)))).collect();
        let told = found(&all, Side::Request, FORM, &[Some(many.as_bytes())]).expect("values");
        assert_eq!(told.probes.len(), TOLD);
    }

    proptest! {
        #[test]
        fn nothing_panics_and_cuts_change_nothing(
            body in prop::collection::vec(prop::sample::select(b"{}[],:\"\\u0027abc$%2+&='<. ".to_vec()), 0..200),
            cut in 0usize..200,
            form: bool,
        ) {
            let inspector = inspector(Settings::default());
            let media = if form { FORM } else { JSON };
            let (one, two) = body.split_at(cut.min(body.len()));
            let whole = found(&inspector, Side::Request, media, &[Some(&body)]);
            prop_assert_eq!(found(&inspector, Side::Request, media, &[Some(one), Some(two)]), whole);
        }
    }
}
