//! A field of a body: the names that lead to it, what they say of its value, and what is told of that.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::rules::Compiled;
use super::super::shape::format;
use crate::call::{Fingerprint, Probe, RequestValues};
use crate::key::Domain;
use crate::rules::object::{is_identifier, is_surely_identifier};

/// Bytes of a value that are looked at.
pub(super) const VALUE: usize = 1_024;

/// Bytes of the path of a field.
pub(super) const FIELD: usize = 128;

/// Lists, objects and elements within each other that are told apart.
pub(super) const DEPTH: usize = 32;

/// Fields and rules that are told of one body.
pub(super) const TOLD: usize = 8;

/// Identifiers of objects that are looked at in one body.
const OBJECTS: u32 = 64;

/// Where GraphQL has what an operation is asked with, alone and in a batch: names there are the program's own.
const VARIABLES: [&str; 2] = ["variables.", "[].variables."];

/// What stands before the name of an attribute, in XML and in JSON that was made of it.
pub(super) const ATTRIBUTE: u8 = b'@';

/// Bytes, and words, from which on a value is a text that somebody wrote.
const PROSE: (usize, usize) = (200, 16);

/// Names of fields that say which account is meant, lower case and without `_` and `-`.
const ACCOUNTS: [&str; 26] = [
    "username",
    "user",
    "login",
    "email",
    "mail",
    "userid",
    "account",
    "accountname",
    "loginid",
    "name",
    "jusername",
    "log",
    "customerno",
    "customernumber",
    "customerid",
    "memberid",
    "membernumber",
    "accountnumber",
    "accountid",
    "phone",
    "phonenumber",
    "mobile",
    "msisdn",
    "identifier",
    "loginname",
    "emailaddress",
];

/// Names of fields that hold a password, in the same way.
const PASSWORDS: [&str; 9] =
    ["password", "passwd", "pwd", "pass", "passphrase", "jpassword", "pin", "pincode", "passcode"];

/// Domains of e-mail addresses that belong to nobody (RFC 2606, RFC 6762): who has one is known by what stands before.
const NOBODY: [&str; 7] = ["localhost", "local", "localdomain", "test", "example.com", "example.org", "example.net"];

/// What values are held against: the rules, and so many values at most.
#[derive(Clone, Copy)]
pub(in super::super) struct Against<'r> {
    pub(in super::super) rules: &'r Compiled,
    pub(in super::super) limit: u32,
    /// The key of the fingerprints of accounts.
    pub(in super::super) accounts: &'r Domain,
    /// The key of the fingerprints of objects.
    pub(in super::super) objects: &'r Domain,
}

/// What the name of a field says of its values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Says {
    #[default]
    Nothing,
    Account,
    Password,
    /// Another secret.
    Secret,
}

/// What of a field's values may say which object is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Identifies {
    #[default]
    Nothing,
    /// What may be an identifier.
    ByName,
    /// What can be nothing else.
    ByValue,
    /// The same as by its name, unless it turns out to number the call itself (JSON-RPC).
    Itself,
}

/// The field that is being read, and what was told of those before it.
#[derive(Debug, Default)]
pub(super) struct Fields {
    path: String,
    /// Bytes of the path before its last name.
    before_name: usize,
    text: Vec<u8>,
    /// Bytes of the value, beyond those that are kept too.
    length: usize,
    /// What its last name says.
    says: Says,
    identifies: Identifies,
    /// Identifiers that were found, and their fingerprint.
    objects: u32,
    object: Option<Fingerprint>,
    /// That of the identifier which may be the call's own, and whether it is.
    itself: Option<Fingerprint>,
    rpc: bool,
    /// What a fingerprint is made of.
    joined: Vec<u8>,
    /// Values that were held against the rules.
    tried: u32,
    capped: bool,
    probes: Vec<Probe>,
    account: Option<Arc<str>>,
    /// The fingerprint of the first account that is named.
    named: Option<Fingerprint>,
    password: bool,
}

impl Fields {
    /// Ready for another body.
    pub(super) fn begin(&mut self) {
        self.path.clear();
        (self.before_name, self.says) = (0, Says::Nothing);
        self.over();
        (self.tried, self.capped, self.password) = (0, false, false);
        self.probes.clear();
        (self.account, self.named) = (None, None);
        (self.identifies, self.objects, self.object) = (Identifies::Nothing, 0, None);
        (self.itself, self.rpc) = (None, false);
    }

    /// What was found, if anything was, and whether a limit was reached.
    pub(super) fn finish(&mut self) -> (Option<Arc<RequestValues>>, bool) {
        let default_account = self.account.take().filter(|_| self.password);
        let account = self.named.take().filter(|_| self.password);
        let probes = std::mem::take(&mut self.probes);
        let itself = self.itself.take().filter(|_| !self.rpc);
        // Fingerprints are keyed already: what is made of two needs no key.
        let object = match (self.object.take(), itself) {
            (Some(object), Some(itself)) => Some(Fingerprint(object.0.rotate_left(1) ^ itself.0)),
            (object, itself) => object.or(itself),
        };
        let found = RequestValues { probes, default_account, account, password: self.password, object };
        ((found != RequestValues::default()).then(|| Arc::new(found)), self.capped)
    }

    /// Bytes of the path.
    pub(super) fn path(&self) -> usize {
        self.path.len()
    }

    /// The path has so many bytes again, and its last name says this.
    pub(super) fn back_to(&mut self, path: usize, says: Says) {
        self.path.truncate(path);
        self.says = says;
    }

    /// What the last name says.
    pub(super) fn says(&self) -> Says {
        self.says
    }

    /// Nothing was kept of the text that is being read.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Appends to the path, if there is room: else what is deeper goes by what leads to it.
    pub(super) fn lead(&mut self, name: &str) {
        if self.path.len() + name.len() < FIELD {
            self.path.push_str(name);
        }
    }

    /// Keeps bytes of a name, as far as they are looked at.
    pub(super) fn keep_name(&mut self, bytes: &[u8]) {
        self.keep_up_to(VALUE, bytes);
    }

    /// Keeps bytes of a value, as far as they are looked at; of a secret none but the first, which says that there is one.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.keep_up_to(if matches!(self.says, Says::Password | Says::Secret) { 1 } else { VALUE }, bytes);
    }

    fn keep_up_to(&mut self, most: usize, bytes: &[u8]) {
        let room = most - self.text.len().min(most);
        self.text.extend_from_slice(bytes.get(..bytes.len().min(room)).unwrap_or_default());
        self.length = self.length.saturating_add(bytes.len());
    }

    /// A text is over: room for the next.
    pub(super) fn over(&mut self) {
        self.text.clear();
        self.length = 0;
    }

    /// The text that was kept is the name of a field below the one whose path has so many bytes; `plain` undoes its encoding.
    /// Where that is asked for, the name may be an operator in place of a value, as document databases have them.
    pub(super) fn text_is_name(
        &mut self,
        above: usize,
        plain: fn(&[u8]) -> Cow<'_, [u8]>,
        operators: bool,
        against: Against<'_>,
    ) {
        let text = std::mem::take(&mut self.text);
        let name = plain(&text);
        self.name(above, &name, against.rules);
        if operators && name.first() == Some(&b'$') {
            let operator = format!("\"{}\":", String::from_utf8_lossy(&name));
            self.probe(operator.as_bytes(), self.before_name, false, against);
        }
        self.text = text;
        self.over();
    }

    /// The text that was kept is the value of the field; `plain` undoes its encoding.
    pub(super) fn text_is_value(&mut self, plain: fn(&[u8]) -> Cow<'_, [u8]>, against: Against<'_>) {
        let text = std::mem::take(&mut self.text);
        self.value(&plain(&text), against);
        self.text = text;
        self.over();
    }

    /// The name of a field below the one whose path has so many bytes: the end of the path from now on.
    pub(super) fn name(&mut self, above: usize, name: &[u8], rules: &Compiled) {
        self.path.truncate(above);
        self.before_name = self.path.len();
        if !self.path.is_empty() {
            self.lead(".");
        }
        let attribute = name.first() == Some(&ATTRIBUTE);
        let plain = innermost(name.strip_prefix(&[ATTRIBUTE]).unwrap_or(name));
        self.says = match () {
            () if is_one_of(plain, &PASSWORDS) => Says::Password,
            () if rules.credentials.is_secret(plain) => Says::Secret,
            () if is_one_of(plain, &ACCOUNTS) => Says::Account,
            () => Says::Nothing,
        };
        let root = matches!(self.path.as_str(), "" | "[].");
        self.rpc |= root && plain == b"jsonrpc";
        self.identifies = match () {
            // Attributes number the elements of a message.
            () if attribute => Identifies::Nothing,
            () if root && plain == b"id" => Identifies::Itself,
            () if rules.objects.name(plain) => Identifies::ByName,
            () if VARIABLES.iter().any(|path| self.path.starts_with(path)) && !rules.objects.excepts(plain) => {
                Identifies::ByValue
            }
            () => Identifies::Nothing,
        };
        match std::str::from_utf8(name) {
            Ok(name) if !format::is_data(name.as_bytes()) => self.lead(name),
            // Names that are data are one field.
            _ => self.lead("*"),
        }
    }

    /// A value of the field that the path leads to.
    pub(super) fn value(&mut self, value: &[u8], against: Against<'_>) {
        match self.says {
            Says::Password => self.password |= !value.is_empty(),
            Says::Account => {
                if self.account.is_none() {
                    self.account = against.rules.credentials.default_account(account(value));
                }
                if self.named.is_none() && !value.is_empty() {
                    self.named = Some(against.accounts.fingerprint(value));
                }
            }
            _ => {}
        }
        if matches!(self.says, Says::Password | Says::Secret) {
            return;
        }
        self.identify(value, against);
        if is_odd(value) {
            let prose = self.length >= PROSE.0 && value.iter().filter(|byte| **byte == b' ').count() >= PROSE.1;
            self.probe(value, self.path.len(), prose, against);
        }
    }

    /// Takes a value for what it says of the object that is asked for.
    fn identify(&mut self, value: &[u8], against: Against<'_>) {
        let identifies = match self.identifies {
            Identifies::Nothing => false,
            Identifies::ByName | Identifies::Itself => is_identifier(value),
            Identifies::ByValue => is_surely_identifier(value),
        };
        if !identifies {
            return;
        }
        if self.objects >= OBJECTS {
            self.capped = true;
            return;
        }
        self.objects += 1;
        let name = self.path.get(self.before_name..).unwrap_or_default();
        let held = if self.identifies == Identifies::Itself { &mut self.itself } else { &mut self.object };
        let before = held.map_or(0, |object| object.0).to_be_bytes();
        self.joined.clear();
        [&before, name.as_bytes(), b"=", value].iter().for_each(|part| self.joined.extend_from_slice(part));
        *held = Some(against.objects.fingerprint(&self.joined));
    }

    /// Something beside the values of the field below which it is: its name, and what it says.
    pub(super) fn aside(&mut self, name: &str, value: &[u8], against: Against<'_>) {
        let (path, says) = (self.path.len(), self.says);
        self.says = Says::Nothing;
        if path > 0 {
            self.lead(".");
        }
        self.lead(name);
        if is_odd(value) {
            self.probe(value, self.path.len(), false, against);
        }
        self.back_to(path, says);
    }

    /// Holds a value of the field, whose path has so many bytes, against the rules.
    fn probe(&mut self, value: &[u8], path: usize, prose: bool, against: Against<'_>) {
        if against.rules.probes.is_empty() {
            return;
        }
        if self.tried >= against.limit || self.probes.len() >= TOLD {
            self.capped = true;
            return;
        }
        self.tried += 1;
        let text = decoded(value);
        for rule in against.rules.probes.iter().filter(|rule| rule.fits(&text)) {
            let field = self.path.get(..path).unwrap_or_default();
            let told = self.probes.iter().any(|probe| *probe.field == *field && *probe.rule == *rule.name);
            if !told && self.probes.len() < TOLD {
                let value = Some(against.objects.fingerprint(rule.told_apart(&text).as_bytes()));
                self.probes.push(Probe { field: field.into(), rule: rule.name.as_str().into(), prose, value });
            }
        }
    }
}

/// A text that has no encoding of its own.
pub(super) fn plain(text: &[u8]) -> Cow<'_, [u8]> {
    text.into()
}

/// Whether a name is one of these, without regard to case, `_` and `-`.
/// What stands in the last brackets of the name of a field of a form (`user[login]`); else the whole of it.
fn innermost(name: &[u8]) -> &[u8] {
    let inner =
        name.strip_suffix(b"]").and_then(|open| Some(&open[open.iter().rposition(|&byte| byte == b'[')? + 1..]));
    inner.filter(|inner| !inner.is_empty()).unwrap_or(name)
}

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
