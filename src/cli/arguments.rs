//! What can be given on the command line. Help texts here are the manual's first edition.

use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;

use crate::export::selection::{Endpoint, Statuses};
use crate::records::Format;
use crate::time::Timestamp;

/// Passive API-traffic anomaly detector.
///
/// Listens to a copy of API traffic, or reads it from capture files, and says in JSON which client is mapping the
/// APIs, draining data out of them, or flooding them. It never sends a packet.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 well, 1 failed or a part of the input was unreadable, 2 usage, \
3 alerts with --fail-on-alert, 4 watch has to be started again to listen.\n\nFirst steps:\n  apitap replay capture.pcap            alerts, and a summary on stderr\n  \
apitap calls capture.pcap | head      the HTTP calls themselves\n  apitap watch -i eth1                  the same, live")]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read captures and print alerts as JSON lines.
    Replay(Replay),
    /// Listen to an interface and print alerts as JSON lines, until interrupted.
    Watch(Watch),
    /// Read captures and print the HTTP calls in them as JSON lines.
    Calls(Calls),
    /// Read calls (what `apitap calls` prints), or logs of Zeek, Suricata, Apache or nginx, and print alerts: the
    /// detector alone.
    Detect(Detect),
    /// Show what moved the tests of one client: its evidence over time, and the calls behind it.
    Explain(Explain),
    /// Read captures and print the inventory of the APIs in them: every endpoint that answered well.
    Apis(Apis),
    /// Hold the traffic against good practice and the OWASP API Security Top 10: two tables with evidence.
    Posture(Posture),
    /// Propose quotas from the traffic.
    Quotas(Quotas),
    /// Check or list the rules: sensitive values, credentials, priors of the detector.
    Rules(Rules),
    /// List the interfaces that can be listened to.
    Interfaces(Interfaces),
    /// Print the configuration as it is, with who set each value; or all that can be set.
    Config(Config),
    /// Look at what `watch` needs of this machine: interface, privileges, clock, disk, sinks; and say what to put right.
    Doctor(Doctor),
    /// Look into a running `watch`: rates, drops, memory, sinks, the busiest and the most suspicious clients.
    Top(Top),
    /// Send the dead letters of sinks again: what their receivers refused for good.
    Resend(super::resend::Resend),
    /// Print the JSON Schema of what is printed: alerts, findings, events, calls, connections, the inventory and more.
    Schema {
        /// Of what.
        of: super::schema::Printed,
    },
    /// Print a completion script for a shell.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages and completion scripts into a folder, for packages.
    #[command(hide = true)]
    Manual {
        /// The folder; it is made when it is not there.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// Options of every command that processes traffic.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Configuration file (TOML). Flags and environment variables come before it.
    #[arg(long, value_name = "FILE", env = "APITAP_CONFIG", help_heading = "Configuration")]
    pub config: Option<PathBuf>,
    /// Folder whose rule files replace the compiled-in ones, file by file; `sensitive.local.toml` there adds to them.
    #[arg(long, value_name = "DIR", env = "APITAP_RULES", help_heading = "Configuration")]
    pub rules: Option<PathBuf>,
    /// Folder of the installation's key and of what is kept from run to run, made when it is not there. Default for the key:
    /// $XDG_STATE_HOME/apitap, else ~/.local/state/apitap, else /var/lib/apitap.
    #[arg(long, value_name = "DIR", env = "APITAP_STATE", help_heading = "Configuration")]
    pub state: Option<PathBuf>,
    /// File with the key (16 bytes) under which credentials and sensitive values are fingerprinted.
    #[arg(long, value_name = "FILE", env = "APITAP_KEY_FILE", help_heading = "Configuration")]
    pub key_file: Option<PathBuf>,
    /// Threads among which the flows are divided. Default: one for each core; live one on two cores or less, and else
    /// one less than there are. The output is the same however many there are.
    #[arg(long, value_name = "N", env = "APITAP_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// No summary on standard error.
    #[arg(long, short, env = "APITAP_QUIET")]
    pub quiet: bool,
    /// The summary as one JSON object on standard error.
    #[arg(long, env = "APITAP_JSON_SUMMARY")]
    pub json_summary: bool,
    /// How messages are written on standard error: text, json. Default: text.
    #[arg(long, value_name = "FORMAT", env = "APITAP_LOG_FORMAT", hide_possible_values = true)]
    pub log_format: Option<super::LogFormat>,
}

/// Options of the stages from packet to call.
#[derive(Clone, Debug, Args)]
pub struct Decoding {
    /// Verify IP and TCP checksums and drop what is wrong. Off, since captures on the sending host see checksums
    /// before the network card fills them in.
    #[arg(long, env = "APITAP_VERIFY_CHECKSUMS", help_heading = "Decoding")]
    pub verify_checksums: bool,
    /// Further UDP port that carries VXLAN (beside 4789 and 8472); repeatable.
    #[arg(long, value_name = "PORT", env = "APITAP_VXLAN_PORT", value_delimiter = ',', help_heading = "Decoding")]
    pub vxlan_port: Vec<u16>,
    /// Key log (the format of SSLKEYLOGFILE) with the secrets of connections in TLS; repeatable.
    #[arg(long, value_name = "FILE", env = "APITAP_KEYLOG", value_delimiter = ',', help_heading = "Decoding")]
    pub keylog: Vec<PathBuf>,
}

/// Which calls; of the inventory, which calls it is made of and which endpoints are told.
#[derive(Debug, Args)]
pub struct Selecting {
    /// Only this service, by its host; `*` stands for anything within it; repeatable.
    #[arg(long, value_name = "HOST", value_delimiter = ',', help_heading = "Selection")]
    pub service: Vec<String>,
    /// Only this endpoint: a path, or method and path ('GET /v1/orders/{id}'). {id} and * stand for one segment,
    /// {rest} and ** for all that follows; repeatable.
    #[arg(long, value_name = "ENDPOINT", help_heading = "Selection")]
    pub endpoint: Vec<Endpoint>,
    /// Only calls of this client (address or CIDR), as trusted proxies tell; repeatable.
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = crate::network::parse, help_heading = "Selection")]
    pub client: Vec<IpNet>,
    /// Only what was answered with this status: 404, 4xx, 400-499, none; repeatable.
    #[arg(long, value_name = "STATUS", value_delimiter = ',', help_heading = "Selection")]
    pub status: Vec<Statuses>,
    /// Only calls that were over at this time (RFC 3339, or seconds since 1970) or later.
    #[arg(long, value_name = "TIME", help_heading = "Selection")]
    pub since: Option<Timestamp>,
    /// Only calls that were over before this time.
    #[arg(long, value_name = "TIME", help_heading = "Selection")]
    pub until: Option<Timestamp>,
}

/// Who is believed on the real client.
#[derive(Clone, Debug, Args)]
pub struct Proxies {
    /// Proxy whose X-Forwarded-For, Forwarded and X-Real-IP are believed (address or CIDR); repeatable.
    #[arg(long, value_name = "CIDR", env = "APITAP_TRUSTED_PROXY", value_delimiter = ',', value_parser = crate::network::parse,
          help_heading = "Detection")]
    pub trusted_proxy: Vec<IpNet>,
}

/// Options of the detector.
#[derive(Clone, Debug, Args)]
pub struct Detecting {
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub proxies: Proxies,
    /// False alarms a day that you are willing to read.
    #[arg(long, value_name = "N", env = "APITAP_FALSE_ALARMS_PER_DAY", help_heading = "Detection")]
    pub false_alarms_per_day: Option<f64>,
    /// Exit with 3 when there was an alert.
    #[arg(long, env = "APITAP_FAIL_ON_ALERT")]
    pub fail_on_alert: bool,
    /// Print findings among the alerts, as JSON lines (apitap.finding.v1): what is not as it should be whoever calls, each once,
    /// again when it has grown tenfold or is worse, and what it came to at the end.
    #[arg(long, env = "APITAP_FINDINGS", help_heading = "Detection")]
    pub findings: bool,
}

/// What is new in the inventory.
#[derive(Debug, Args)]
pub struct Watching {
    /// Tell too what is new, each once: endpoints, and sensitive fields of them (a line `apitap.event.v1`).
    #[arg(long, env = "APITAP_EVENTS", help_heading = "Events")]
    pub events: bool,
    /// The inventory that is known, as `apitap apis --save` wrote it; there is no time of learning then.
    #[arg(long, value_name = "FILE", env = "APITAP_BASELINE", requires = "events", help_heading = "Events")]
    pub baseline: Option<PathBuf>,
    /// With --events: what people say of endpoints, as `apitap apis --review` reads it. Of what is marked `ignore` nothing is told, and
    /// where `sensitive = false` stands no sensitive data.
    // No `requires`: the variable may be set for `apis`, and is to break nothing else.
    #[arg(long, value_name = "FILE", env = "APITAP_REVIEW", help_heading = "Events")]
    pub review: Option<PathBuf>,
    /// Seconds of traffic from the beginning on in which nothing is new, a day by default.
    #[arg(
        long,
        value_name = "SECONDS",
        env = "APITAP_LEARNING",
        requires = "events",
        conflicts_with = "baseline",
        help_heading = "Events"
    )]
    pub learning: Option<u64>,
}

/// The packets of incidents.
#[derive(Debug, Args)]
pub struct Keeping {
    /// Keep the packets of incidents in this folder, a pcapng file each; the table `[evidence]` of the configuration has the limits.
    #[arg(long, value_name = "DIR", env = "APITAP_EVIDENCE", help_heading = "Evidence")]
    pub evidence: Option<PathBuf>,
}

/// `apitap replay`.
#[derive(Debug, Args)]
#[command(
    after_help = "Several files are merged by packet time; a directory stands for the files in it; - is standard \
input. pcap and pcapng, either of them gzip or zstd compressed, are recognised by content."
)]
pub struct Replay {
    /// Captures: files, directories, or - for standard input.
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub inputs: Vec<PathBuf>,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub decoding: Decoding,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub detecting: Detecting,
    /// Go on from what an earlier run with the same state folder learned, and keep what this one learns for the next. Records that
    /// the earlier one had taken are passed over.
    #[arg(long, env = "APITAP_RESUME")]
    pub resume: bool,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub keeping: Keeping,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub watching: Watching,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub common: Common,
}

/// `apitap calls`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  apitap calls monday.pcap.zst --status 5xx --endpoint 'POST /v1/orders'\n  \
apitap calls --format har --client 192.0.2.7 --trusted-proxy 10.20.0.5 monday.pcap.zst > client.har")]
pub struct Calls {
    /// Captures: files, directories, or - for standard input.
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub inputs: Vec<PathBuf>,
    /// How to print them: json (a line each), har (one HAR 1.2 archive: sizes and media types of bodies, no values that
    /// identify anybody).
    #[arg(long, value_name = "FORMAT", default_value = "json", hide_possible_values = true)]
    pub format: super::consumers::CallFormat,
    /// With the shape of parameters and bodies: names of fields and types, never values.
    #[arg(long, env = "APITAP_SHAPES")]
    pub shapes: bool,
    /// The files hold calls or logs, as for `apitap detect`.
    #[arg(long = "calls")]
    pub records: bool,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub selecting: Selecting,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub proxies: Proxies,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub decoding: Decoding,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub common: Common,
}

/// `apitap apis`.
#[derive(Debug, Args)]
#[command(
    after_help = "{id} in a template stands for one object of many, {rest} for all that follows. Only answers of 2xx and 304 \
count, and only those to clients that are not under suspicion. --client, --since and --until say which calls the inventory is \
made of, the others which of its endpoints are told, --status those that answered so at all; who is under suspicion is judged by \
all calls.\n\nExamples:\n  apitap apis monday.pcap.zst\n  apitap apis --client 10.2.0.0/16 --since 2026-03-02T14:16:00Z \
monday.pcap.zst\n  apitap apis \
--format openapi --service shop-api.example monday.pcap.zst > shop-api.json\n  apitap apis --save monday.jsonl monday.pcap.zst\n  \
apitap apis --diff monday.jsonl tuesday.pcap.zst\n  apitap apis --spec openapi.yaml monday.pcap.zst
  \
apitap apis --review-template monday.pcap.zst > review.toml    # then edit, and:
  apitap apis --review review.toml monday.pcap.zst"
)]
pub struct Apis {
    /// Captures: files, directories, or - for standard input.
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub inputs: Vec<PathBuf>,
    /// How to print it: table, json (an object a line), openapi (one document, version 3.1).
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_possible_values = true)]
    pub format: super::inventory::Format,
    /// As JSON lines: short for --format json.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Print who calls whom instead: json, dot (for Graphviz), mermaid.
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["diff", "spec", "format", "json"], hide_possible_values = true)]
    pub graph: Option<super::inventory::GraphFormat>,
    /// Write the inventory to this file too, as JSON lines.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Print what changed since the inventory in this file (written by --save) instead of the inventory itself.
    #[arg(long, value_name = "FILE")]
    pub diff: Option<PathBuf>,
    /// Print what does not fit this specification (OpenAPI 3.0 or 3.1, Swagger 2; JSON or YAML) instead; repeatable.
    #[arg(long, value_name = "FILE", conflicts_with = "diff")]
    pub spec: Vec<PathBuf>,
    /// What you know of your APIs (TOML): owners, notes, what to leave out, what is internal, what is sensitive. It is
    /// read and never written.
    #[arg(long, value_name = "FILE", env = "APITAP_REVIEW")]
    pub review: Option<PathBuf>,
    /// Print entries for a review file instead, for those endpoints that have none.
    #[arg(long, conflicts_with_all = ["diff", "spec", "format", "json", "graph", "findings"])]
    pub review_template: bool,
    /// Print what does not fit --review or --spec instead of the inventory; without it, that of --review goes to standard
    /// error.
    #[arg(long, conflicts_with_all = ["diff", "graph"])]
    pub findings: bool,
    /// Exit with 3 when --diff finds a change that breaks or concerns security, or --review or --spec anything but what was not called.
    #[arg(long, env = "APITAP_FAIL_ON_FINDING")]
    pub fail_on_finding: bool,
    /// The files hold calls or logs, as for `apitap detect`.
    #[arg(long)]
    pub calls: bool,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub selecting: Selecting,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub proxies: Proxies,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub decoding: Decoding,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub common: Common,
}

/// `apitap posture`.
#[derive(Debug, Args)]
#[command(
    after_help = "attention: something is to be put right; well: it was looked for and there is nothing; not visible: it cannot be told from \
this traffic, or by who only listens. Gateways, ways that are to be encrypted and quotas are said in the configuration file.\n\n\
Examples:\n  apitap posture monday.pcap.zst\n  apitap posture --json monday.pcap.zst | jq '.findings[] | [.kind, .service, .endpoint, \
.count]'\n  apitap posture --fail-on-finding --quiet monday.pcap.zst > posture.txt"
)]
pub struct Posture {
    /// Captures: files, directories, or - for standard input.
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub inputs: Vec<PathBuf>,
    /// As one JSON object, with all findings.
    #[arg(long)]
    pub json: bool,
    /// Exit with 3 when something is to be put right.
    #[arg(long, env = "APITAP_FAIL_ON_FINDING")]
    pub fail_on_finding: bool,
    /// The files hold calls or logs, as for `apitap detect`.
    #[arg(long)]
    pub calls: bool,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub proxies: Proxies,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub decoding: Decoding,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub common: Common,
}

/// `apitap quotas`.
#[derive(Debug, Args)]
pub struct Quotas {
    /// What to do.
    #[command(subcommand)]
    pub action: QuotasAction,
}

/// What to do with quotas.
#[derive(Debug, Subcommand)]
pub enum QuotasAction {
    /// Propose a limit of calls, bytes, seconds and objects for each service in a minute, an hour and a day, with the share of
    /// honest clients that would have exceeded it, as tables for the configuration file.
    Suggest(Suggest),
}

/// `apitap quotas suggest`.
#[derive(Debug, Args)]
#[command(
    after_help = "Honest are clients that are not under suspicion at the end. A limit lies above the highest window of the given share of \
them, and has room above that.\n\nExamples:\n  apitap quotas suggest week.pcap.zst > quotas.toml\n  apitap quotas suggest --per \
credential,endpoint --json week.pcap.zst | jq 'select(.window == \"hour\")'"
)]
pub struct Suggest {
    /// Captures: files, directories, or - for standard input.
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub inputs: Vec<PathBuf>,
    /// For whom, within a service: client, credential, endpoint; several together.
    #[arg(long, value_name = "WHAT", value_delimiter = ',', default_value = "client", hide_possible_values = true)]
    pub per: Vec<super::quotas::Per>,
    /// The share of honest uses whose highest window stays below a limit, before room is added.
    #[arg(long, value_name = "SHARE", default_value_t = 0.99, value_parser = super::quotas::share)]
    pub share: f64,
    /// Room above that, as a factor from 1 on.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.5, value_parser = super::quotas::factor)]
    pub headroom: f64,
    /// As JSON lines.
    #[arg(long)]
    pub json: bool,
    /// The files hold calls or logs, as for `apitap detect`.
    #[arg(long)]
    pub calls: bool,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub proxies: Proxies,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub decoding: Decoding,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub common: Common,
}

/// `apitap watch`.
#[derive(Debug, Args)]
#[command(after_help = "Capturing needs rights: run as root, or once: sudo setcap cap_net_raw,cap_net_admin+ep \
$(command -v apitap)\n\nExamples:\n  apitap watch -i eth1\n  apitap watch -i any -f 'tcp port 8080 or vlan'\n  \
apitap watch -i eth1 >> /var/log/apitap/alerts.jsonl")]
pub struct Watch {
    /// Interface, as `apitap interfaces` names it; `any` for all of them.
    #[arg(long, short, value_name = "INTERFACE", env = "APITAP_INTERFACE")]
    pub interface: Option<String>,
    /// Filter in the syntax of tcpdump; packets that it leaves out cost nothing.
    #[arg(long, short, value_name = "BPF", env = "APITAP_FILTER")]
    pub filter: Option<String>,
    /// Kernel buffer in MiB, 256 by default; it bridges the moments in which apitap is busy.
    #[arg(long, value_name = "MIB", env = "APITAP_BUFFER")]
    pub buffer: Option<u32>,
    /// Bytes kept of each packet; what is cut off is a gap.
    #[arg(long, value_name = "BYTES", env = "APITAP_SNAP_LENGTH")]
    pub snap_length: Option<u32>,
    /// Threads that read the interface, each from a kernel buffer of its own. Default: one for every three workers.
    #[arg(long, value_name = "N", env = "APITAP_READERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub readers: Option<u16>,
    /// Processors to run on and no others, by their numbers from 0.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', env = "APITAP_CPUS")]
    pub cpus: Vec<u16>,
    /// Do not switch the interface to promiscuous mode.
    #[arg(long, env = "APITAP_NO_PROMISCUOUS")]
    pub no_promiscuous: bool,
    /// Print the calls instead of alerts.
    #[arg(long, env = "APITAP_PRINT_CALLS")]
    pub calls: bool,
    /// User to go on as once the interface is open, when started as root.
    #[arg(long, value_name = "NAME", env = "APITAP_USER")]
    pub user: Option<String>,
    /// Keep all privileges, and give up no files and no system calls.
    #[arg(long, env = "APITAP_NO_CONFINEMENT")]
    pub no_confinement: bool,
    /// Forget what earlier runs with the same state folder learned. With --state, a live run goes on from it otherwise.
    #[arg(long, env = "APITAP_FRESH")]
    pub fresh: bool,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub decoding: Decoding,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub detecting: Detecting,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub keeping: Keeping,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub watching: Watching,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub common: Common,
}

/// `apitap doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "The configuration is that of `apitap watch`. The interface is opened as there, listened to for some seconds, and closed \
again; sinks are reached for, and get no alert. A line each: ok, warning (it runs, with less), failed (it would not run, or alerts would \
not arrive). Exit codes: 0 no check failed, 1 one did, 2 usage.\n\nExamples:\n  sudo apitap doctor -i eth1 --config \
/etc/apitap/apitap.toml\n  sudo apitap doctor -i eth1 --json | jq 'select(.verdict != \"ok\")'"
)]
pub struct Doctor {
    /// Interface, as `apitap interfaces` names it; `any` for all of them.
    #[arg(long, short, value_name = "INTERFACE", env = "APITAP_INTERFACE")]
    pub interface: Option<String>,
    /// Filter in the syntax of tcpdump.
    #[arg(long, short, value_name = "BPF", env = "APITAP_FILTER")]
    pub filter: Option<String>,
    /// User to go on as once the interface is open, when started as root.
    #[arg(long, value_name = "NAME", env = "APITAP_USER")]
    pub user: Option<String>,
    /// Seconds to listen for packets; 0 for not at all.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub listen: u64,
    /// As JSON lines (apitap.check.v1).
    #[arg(long, env = "APITAP_JSON")]
    pub json: bool,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub common: Common,
}

/// `apitap top`.
#[derive(Debug, Args)]
#[command(
    after_help = "Keys: q quits, Tab chooses a table, left and right sort it, up and down move through it. Evidence is in decades: 6 is a \
chance of one in a million if nothing were wrong.\n\nExamples:\n  apitap top\n  apitap top --config /etc/apitap/apitap.toml\n  apitap \
top --json | jq '.clients.suspicious[] | [.ip, .share, .incidents[].kind]'"
)]
pub struct Top {
    /// Where `watch` listens for who looks into it. Default: `listen` in the table `[metrics]` of the configuration, 127.0.0.1:9464 if it says
    /// nothing.
    #[arg(long, short, value_name = "HOST:PORT", env = "APITAP_ADDRESS")]
    pub address: Option<crate::top::Address>,
    /// Configuration file (TOML) of that `watch`.
    #[arg(long, value_name = "FILE", env = "APITAP_CONFIG")]
    pub config: Option<PathBuf>,
    /// Seconds between two questions.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,
    /// Clients that each list has at most; of the busiest twice as many, by calls and by bytes.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=crate::metrics::CLIENTS as i64))]
    pub clients: u16,
    /// Print one picture as plain text, and end.
    #[arg(long)]
    pub once: bool,
    /// Letters of a line of that. Default: as many as the terminal has, else 120.
    #[arg(long, value_name = "N", requires = "once", value_parser = clap::value_parser!(u16).range(40..=1000))]
    pub width: Option<u16>,
    /// Print one status as a JSON object (apitap.status.v1), and end.
    #[arg(long, conflicts_with = "once")]
    pub json: bool,
}

/// `apitap detect`.
#[derive(Debug, Args)]
#[command(
    after_help = "Several files are merged by time; gzip and zstd are recognised by content. What a log leaves out \
(bodies, most credentials) is not found, and never held against anybody.\n\nExamples:\n  apitap calls capture.pcap | apitap \
detect -\n  apitap detect /opt/zeek/logs/2026-03-02/http.*.log.gz\n  apitap detect --format eve /var/log/suricata/eve.json\n  \
apitap detect --trusted-proxy 10.0.0.0/8 /var/log/nginx/access.log*"
)]
pub struct Detect {
    /// Calls as JSON lines, or logs; - for standard input.
    #[arg(required = true, value_name = "FILE|-")]
    pub inputs: Vec<PathBuf>,
    /// What the files hold: apitap (what `apitap calls` prints), zeek (http.log, JSON or tab-separated), eve (Suricata),
    /// combined (access logs of Apache and nginx). Recognised file by file when not given.
    #[arg(long, value_name = "FORMAT", env = "APITAP_FORMAT", value_parser = clap::builder::PossibleValuesParser::new(
          Format::ALL.map(Format::name)).try_map(|name| name.parse::<Format>()))]
    pub format: Option<Format>,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub detecting: Detecting,
    /// Go on from what an earlier run with the same state folder learned, and keep what this one learns for the next. Records that
    /// the earlier one had taken are passed over.
    #[arg(long, env = "APITAP_RESUME")]
    pub resume: bool,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub watching: Watching,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub common: Common,
}

/// `apitap config`.
#[derive(Debug, Args)]
#[command(
    after_help = "Flags come before environment variables, and those before the file.\n\nExamples:\n  apitap config \
--defaults > apitap.toml\n  apitap config --config apitap.toml"
)]
pub struct Config {
    /// Print every key with what it does, its unit, what it costs, and its default: a file that changes nothing.
    #[arg(long, conflicts_with = "schema")]
    pub defaults: bool,
    /// Print the JSON Schema of the file, for editors.
    #[arg(long)]
    pub schema: bool,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub decoding: Decoding,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub detecting: Detecting,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub common: Common,
}

/// `apitap explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "All of the input is read, since a client is judged against the others. With the same settings, the alerts are those of `apitap replay`.\n\nExamples:\n  apitap explain monday.pcap.zst --client 192.0.2.7\n  apitap explain --calls calls.jsonl --client 192.0.2.7 --json | jq '.curves[] | [.measure, .highest_decades]'"
)]
pub struct Explain {
    /// Captures: files, directories, or - for standard input.
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub inputs: Vec<PathBuf>,
    /// Whom to explain, by the address that alerts name.
    #[arg(long, value_name = "IP")]
    pub client: std::net::IpAddr,
    /// The files hold calls or logs, as for `apitap detect`.
    #[arg(long)]
    pub calls: bool,
    /// As one JSON object.
    #[arg(long)]
    pub json: bool,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub decoding: Decoding,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub detecting: Detecting,
    #[allow(missing_docs, reason = "documented at the type")]
    #[command(flatten)]
    pub common: Common,
}

/// `apitap rules`.
#[derive(Debug, Args)]
pub struct Rules {
    /// What to do with them.
    #[command(subcommand)]
    pub action: RulesAction,
}

/// What to do with rules.
#[derive(Debug, Subcommand)]
pub enum RulesAction {
    /// Parse and compile all rules and try their examples; names file, line and reason of what is wrong.
    Check {
        /// Folder whose files replace the compiled-in ones; `sensitive.local.toml` there adds to them.
        #[arg(long, value_name = "DIR", env = "APITAP_RULES")]
        rules: Option<PathBuf>,
    },
    /// Write the compiled-in files to a new folder, to be changed and given with `--rules`.
    Export {
        /// The folder. A file that is there is not replaced.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// List all rules with class and description.
    List {
        /// Folder whose files replace the compiled-in ones; `sensitive.local.toml` there adds to them.
        #[arg(long, value_name = "DIR", env = "APITAP_RULES")]
        rules: Option<PathBuf>,
        /// As JSON lines.
        #[arg(long, env = "APITAP_JSON")]
        json: bool,
    },
}

/// `apitap interfaces`.
#[derive(Debug, Args)]
pub struct Interfaces {
    /// As JSON lines.
    #[arg(long, env = "APITAP_JSON")]
    pub json: bool,
}
