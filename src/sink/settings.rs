//! Where alerts, findings and events go, as the operator writes it: a table `[[sink]]` each.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::format::Format;
use super::told::Class;
use crate::alert::Severity;

/// What kind of receiver a sink has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// Standard output.
    Stdout,
    /// A file that is rotated.
    File,
    /// Syslog, RFC 5424.
    Syslog,
    /// Any service that takes JSON by POST.
    Webhook,
    /// Elasticsearch or OpenSearch, by their bulk interface.
    Elasticsearch,
    /// Splunk, by its HTTP Event Collector.
    Splunk,
    /// Grafana Loki.
    Loki,
    /// A topic of Kafka.
    Kafka,
}

impl Type {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Type::Stdout => "stdout",
            Type::File => "file",
            Type::Syslog => "syslog",
            Type::Webhook => "webhook",
            Type::Elasticsearch => "elasticsearch",
            Type::Splunk => "splunk",
            Type::Loki => "loki",
            Type::Kafka => "kafka",
        }
    }

    /// Whether it is spoken to by HTTP.
    pub const fn is_http(self) -> bool {
        matches!(self, Type::Webhook | Type::Elasticsearch | Type::Splunk | Type::Loki)
    }
}

/// How a file that was rotated away is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As it is.
    #[default]
    None,
    /// Compressed by gzip.
    Gzip,
    /// Compressed by zstd.
    Zstd,
}

/// What carries syslog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Datagrams (RFC 5426): nobody says whether they arrive.
    Udp,
    /// A stream with counted octets (RFC 6587).
    #[default]
    Tcp,
    /// The same in TLS (RFC 5425).
    Tls,
}

/// The body of a webhook's request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// One line a request.
    #[default]
    Object,
    /// A JSON array of up to `batch` lines.
    Array,
    /// Up to `batch` lines.
    Lines,
}

/// One sink. Keys of other types are errors, as are unknown ones.
///
/// Memory is at worst `queue` times an alert (about 4 KiB, a campaign's up to 64 KiB), and `batch_bytes` three times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Its name in messages and metrics, and that of its folder in the spool: letters, digits, `-` and `_`. Default: its type.
    pub name: Option<String>,
    /// What receives: `stdout`, `file`, `syslog`, `webhook`, `elasticsearch` (OpenSearch, too), `splunk`, `loki`, `kafka`.
    pub r#type: Type,
    /// What it gets: `alerts`, `findings` (which there are with `--findings`), `events` (with `--events`). What no sink takes is
    /// printed on standard output as native JSON.
    pub takes: Vec<Class>,
    /// Kinds that it gets of what it takes, with `*` for any letters (`recon.*`, `quota.breach`, `endpoint_new`); one that
    /// begins with `!` takes kinds away again. None: all.
    pub kinds: Vec<String>,
    /// The least severity that it gets: `low`, `medium`, `high`, `critical`. Events have none, and are not kept back by it.
    pub severity: Severity,
    /// How a line is written: `native`, `ecs`, `ocsf`, `eve`, `cef`. Default: `ecs` for `elasticsearch`, else `native`.
    pub format: Option<Format>,

    /// Lines held in memory when its spool is full or its disk fails; further ones are dropped and counted.
    pub queue: usize,
    /// Bytes of its spool on disk, and as many of its dead letters. When it is full the oldest stay, new lines go to the
    /// queue in memory.
    pub spool_bytes: u64,
    /// Wait until the disk has each line, so that a power failure loses none either. The death of the process alone
    /// loses none in any case.
    pub sync: bool,
    /// Most lines in one request or write.
    pub batch: usize,
    /// Bytes of lines in one request or write, unless a single one is larger.
    pub batch_bytes: usize,
    /// Seconds that a connection and a request may take.
    pub timeout_seconds: u32,
    /// Milliseconds before the first repetition of what failed; doubled each time, with jitter.
    pub retry_milliseconds: u64,
    /// Seconds between repetitions at most, unless the receiver asks for more.
    pub retry_max_seconds: u64,
    /// Seconds that a receiver may ask to wait (`Retry-After`) at most.
    pub retry_after_max_seconds: u64,

    /// `file`: where it is. What was rotated away stands beside it, with the time in its name.
    pub path: Option<PathBuf>,
    /// `file`: bytes after which it is rotated; 0 for never.
    pub rotate_bytes: u64,
    /// `file`: hours after which it is rotated; 0 for never.
    pub rotate_hours: u64,
    /// `file`: how what was rotated away is kept: `none`, `gzip`, `zstd`.
    pub compression: Compression,
    /// `file`: how many rotated files are kept; 0 for all.
    pub keep_files: usize,
    /// `file`: days that rotated files are kept; 0 for ever.
    pub keep_days: u64,

    /// `syslog`: host and port of the receiver.
    pub address: Option<String>,
    /// `syslog`: `udp`, `tcp`, `tls`.
    pub transport: Transport,
    /// `syslog`: facility by number, 0 to 23 (16 is local0).
    pub facility: u8,
    /// `syslog`: name of the structured data. The default carries the number that RFC 5612 reserves for examples; put your
    /// own there if you have one.
    pub structured_data: String,

    /// `webhook`, `elasticsearch`, `splunk`, `loki`: address of the service, `http://` or `https://`. Without a path that of
    /// the service's interface is added (`/_bulk`, `/services/collector/event`, `/loki/api/v1/push`).
    pub url: Option<String>,
    /// HTTP: further header fields.
    pub headers: BTreeMap<String, String>,
    /// HTTP: token, sent as `Authorization: Bearer`, to Splunk as `Authorization: Splunk`.
    pub token: Option<Secret>,
    /// HTTP: file with the token, read at the start.
    pub token_file: Option<PathBuf>,
    /// HTTP: name for basic authentication.
    pub username: Option<String>,
    /// HTTP: password for basic authentication.
    pub password: Option<Secret>,
    /// HTTP: file with the password, read at the start.
    pub password_file: Option<PathBuf>,
    /// HTTP: compress bodies by gzip.
    pub gzip: bool,
    /// HTTP: statuses below 500 after which a request is repeated; after all others from 400 to 499 the line becomes a
    /// dead letter. Those of the default speak of a token, an address or the receiver's load, not of a line: lines wait in
    /// the spool until that is put right.
    pub retry_statuses: Vec<u16>,
    /// `webhook`: what a body holds: `object`, `array`, `lines`.
    pub body: Body,
    /// `elasticsearch`, `splunk`: index. Default: `apitap-alerts` for `elasticsearch`, the token's for `splunk`.
    pub index: Option<String>,
    /// `splunk`: source type.
    pub source_type: String,
    /// `loki`: labels beside `job`, `family`, `severity` and `state`.
    pub labels: BTreeMap<String, String>,

    /// `kafka`: brokers to begin with, host and port each.
    pub brokers: Vec<String>,
    /// `kafka`: the topic.
    pub topic: Option<String>,
    /// `kafka`: properties of librdkafka (`security.protocol` and the like) beside `acks=all` and idempotence.
    pub properties: BTreeMap<String, Secret>,

    /// TLS: file with the certificates (PEM) that are trusted. Default: those of the system.
    pub ca_file: Option<PathBuf>,
    /// TLS: file with the own certificate (PEM).
    pub certificate_file: Option<PathBuf>,
    /// TLS: file with the key of the own certificate (PEM).
    pub certificate_key_file: Option<PathBuf>,
    /// TLS: name in the receiver's certificate, where it is not that of the address.
    pub server_name: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            name: None,
            r#type: Type::Stdout,
            takes: vec![Class::Alerts],
            kinds: Vec::new(),
            severity: Severity::Low,
            format: None,
            queue: 1_024,
            spool_bytes: 64 << 20,
            sync: false,
            batch: 100,
            batch_bytes: 1 << 20,
            timeout_seconds: 10,
            retry_milliseconds: 500,
            retry_max_seconds: 60,
            retry_after_max_seconds: 3_600,
            path: None,
            rotate_bytes: 64 << 20,
            rotate_hours: 24,
            compression: Compression::None,
            keep_files: 14,
            keep_days: 0,
            address: None,
            transport: Transport::Tcp,
            facility: 16,
            structured_data: "apitap@32473".into(),
            url: None,
            headers: BTreeMap::new(),
            token: None,
            token_file: None,
            username: None,
            password: None,
            password_file: None,
            gzip: false,
            retry_statuses: vec![401, 403, 404, 407, 408, 425, 429],
            body: Body::Object,
            index: None,
            source_type: "apitap:alert".into(),
            labels: BTreeMap::new(),
            brokers: Vec::new(),
            topic: None,
            properties: BTreeMap::new(),
            ca_file: None,
            certificate_file: None,
            certificate_key_file: None,
            server_name: None,
        }
    }
}

/// What nobody may read in a message: shown as `(set)`.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the receiver alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Secret {
        Secret(value.to_owned())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(set)")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(set)")
    }
}

impl Settings {
    /// The files that it reads: secrets and certificates.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.token_file, &self.password_file, &self.ca_file, &self.certificate_file, &self.certificate_key_file]
            .into_iter()
            .flatten()
    }

    /// The folders that it writes to.
    pub fn paths(&self, write: &mut Vec<PathBuf>) {
        // Files come and go beside the one that is named.
        let folder = self.path.as_ref().and_then(|path| path.parent());
        let here = |folder: &std::path::Path| match folder.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => folder.to_owned(),
        };
        write.extend(folder.map(here));
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.r#type.name())
    }

    /// Lines of one delivery at most.
    pub fn batch(&self) -> usize {
        if self.r#type == Type::Webhook && self.body == Body::Object { 1 } else { self.batch }
    }

    /// How it writes lines.
    pub fn format(&self) -> Format {
        let default = if self.r#type == Type::Elasticsearch { Format::Ecs } else { Format::Native };
        self.format.unwrap_or(default)
    }

    /// What is wrong with it by itself: what is missing, contradicts itself, or belongs to another type.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, naming the key.
    pub fn check(&self) -> Result<(), String> {
        let name = self.name();
        let wrong = |reason: &str| Err(format!("sink {name}: {reason}"));
        let proper = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(proper) {
            return wrong("`name` has 1 to 64 letters, digits, - and _");
        }
        for (key, given, types) in self.given() {
            if given && !types.contains(&self.r#type) {
                let of: Vec<_> = types.iter().map(|known| known.name()).collect();
                return wrong(&format!("`{key}` is no key of type {}, but of {}", self.r#type.name(), of.join(", ")));
            }
        }
        let needed = match self.r#type {
            Type::File => (self.path.is_none(), "path"),
            Type::Syslog => (self.address.is_none(), "address"),
            Type::Kafka if self.brokers.is_empty() => (true, "brokers"),
            Type::Kafka => (self.topic.is_none(), "topic"),
            kind if kind.is_http() => (self.url.is_none(), "url"),
            _ => (false, ""),
        };
        if needed.0 {
            return wrong(&format!("type {} needs `{}`", self.r#type.name(), needed.1));
        }
        let positive = [
            ("queue", self.queue as u64),
            ("spool_bytes", self.spool_bytes),
            ("batch", self.batch as u64),
            ("batch_bytes", self.batch_bytes as u64),
            ("timeout_seconds", u64::from(self.timeout_seconds)),
            ("retry_milliseconds", self.retry_milliseconds),
            ("retry_max_seconds", self.retry_max_seconds),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return wrong(&format!("`{key}` is 1 at least"));
        }
        if self.facility > 23 {
            return wrong("`facility` is 0 to 23");
        }
        let is_name = |name: &str| {
            (1..=32).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'=' | b']' | b'"'))
        };
        if !is_name(&self.structured_data) {
            return wrong("`structured_data` has 1 to 32 printable letters without =, ] and \" (RFC 5424, 6.3.2)");
        }
        if self.certificate_file.is_some() != self.certificate_key_file.is_some() {
            return wrong("`certificate_file` and `certificate_key_file` belong together");
        }
        if self.token.is_some() && self.token_file.is_some() {
            return wrong("one of `token` and `token_file`");
        }
        if self.password.is_some() && self.password_file.is_some() {
            return wrong("one of `password` and `password_file`");
        }
        if (self.password.is_some() || self.password_file.is_some()) != self.username.is_some() {
            return wrong("`username` and a password belong together");
        }
        if !self.format().is_json() && matches!(self.r#type, Type::Elasticsearch) {
            return wrong("type elasticsearch takes JSON, which `format` is not");
        }
        if self.r#type == Type::Webhook && !self.format().is_json() && self.body == Body::Array {
            return wrong("`body` array takes JSON, which `format` is not");
        }
        super::filter::Filter::new(self).map(|_| ()).map_err(|reason| format!("sink {name}: {reason}"))
    }

    /// The keys that belong to some types only: whether each was given, and the types.
    fn given(&self) -> Vec<(&'static str, bool, &'static [Type])> {
        const HTTP: &[Type] = &[Type::Webhook, Type::Elasticsearch, Type::Splunk, Type::Loki];
        const TLS: &[Type] = &[Type::Webhook, Type::Elasticsearch, Type::Splunk, Type::Loki, Type::Syslog];
        let default = Settings::default();
        vec![
            ("path", self.path.is_some(), &[Type::File]),
            ("rotate_bytes", self.rotate_bytes != default.rotate_bytes, &[Type::File]),
            ("rotate_hours", self.rotate_hours != default.rotate_hours, &[Type::File]),
            ("compression", self.compression != default.compression, &[Type::File]),
            ("keep_files", self.keep_files != default.keep_files, &[Type::File]),
            ("keep_days", self.keep_days != default.keep_days, &[Type::File]),
            ("address", self.address.is_some(), &[Type::Syslog]),
            ("transport", self.transport != default.transport, &[Type::Syslog]),
            ("facility", self.facility != default.facility, &[Type::Syslog]),
            ("structured_data", self.structured_data != default.structured_data, &[Type::Syslog]),
            ("url", self.url.is_some(), HTTP),
            ("headers", !self.headers.is_empty(), HTTP),
            ("token", self.token.is_some(), HTTP),
            ("token_file", self.token_file.is_some(), HTTP),
            ("username", self.username.is_some(), HTTP),
            ("password", self.password.is_some(), HTTP),
            ("password_file", self.password_file.is_some(), HTTP),
            ("gzip", self.gzip, HTTP),
            ("retry_statuses", self.retry_statuses != default.retry_statuses, HTTP),
            ("body", self.body != default.body, &[Type::Webhook]),
            ("index", self.index.is_some(), &[Type::Elasticsearch, Type::Splunk]),
            ("source_type", self.source_type != default.source_type, &[Type::Splunk]),
            ("labels", !self.labels.is_empty(), &[Type::Loki]),
            ("brokers", !self.brokers.is_empty(), &[Type::Kafka]),
            ("topic", self.topic.is_some(), &[Type::Kafka]),
            ("properties", !self.properties.is_empty(), &[Type::Kafka]),
            ("ca_file", self.ca_file.is_some(), TLS),
            ("certificate_file", self.certificate_file.is_some(), TLS),
            ("certificate_key_file", self.certificate_key_file.is_some(), TLS),
            ("server_name", self.server_name.is_some(), TLS),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        toml::from_str::<Settings>(text).map_err(|error| error.message().to_owned())?.check()
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(check("type = 'stdout'"), Ok(()));
        assert_eq!(check("type = 'file'\npath = 'a'\ncompression = 'zstd'"), Ok(()));
        for (text, named) in [
            ("type = 'file'", "`path`"),
            ("type = 'syslog'\npath = 'a'", "`path`"),
            ("type = 'webhook'", "`url`"),
            ("type = 'kafka'\nbrokers = ['a:1']", "`topic`"),
            ("type = 'stdout'\nname = '../key'", "`name`"),
            ("type = 'stdout'\nqueue = 0", "`queue`"),
            ("type = 'stdout'\nkinds = ['nothing.*']", "nothing.*"),
            ("type = 'stdout'\nkinds = ['endpoint_new']", "`takes`"),
            ("type = 'stdout'\ntakes = []", "`takes`"),
            ("type = 'stdout'\ntakes = ['calls']", "calls"),
            ("type = 'webhook'\nurl = 'http://a'\nusername = 'a'", "`username`"),
            ("type = 'elasticsearch'\nurl = 'http://a'\nformat = 'cef'", "`format`"),
            ("type = 'stdot'", "stdot"),
            ("type = 'stdout'\nkind = []", "kind"),
        ] {
            let reason = check(text).expect_err(text);
            assert!(reason.contains(named), "{text}: {reason}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = Settings { token: Some(Secret::from("hunter2")), ..Settings::default() };
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert!(!serde_json::to_string(&settings).expect("plain data").contains("hunter2"));
    }
}
