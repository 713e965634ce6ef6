//! The commands: settings checked, stages wired, run, and told.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::CommandFactory;
use indicatif::{ProgressBar, ProgressStyle};

use crate::call::Record;
use crate::checkpoint::{Keeper, Rest};
use crate::client::TrustedProxies;
use crate::confinement;
use crate::detect::{self, BudgetReport, DetectRules, Detector};
use crate::doctor;
use crate::endpoint::HashKey;
use crate::evidence::{self, Tap};
use crate::export::selection::{Selection, Selector, Statuses};
use crate::inspect::Inspector;
use crate::inventory::Inventory;
use crate::inventory::review::Review;
use crate::key::Key;
use crate::metrics::{Board, Server};
use crate::pipeline::{self, Consumer, Outcome, Progress};
use crate::practice::Practice;
use crate::practice::quota::suggest::{Options, Suggesting};
use crate::records::Records;
use crate::rules::{RuleError, RuleFile};
use crate::settings::{Loaded, Settings};
use crate::sink::{self, Outlets, Sink, is_closed};
use crate::source::{self, Source, live};
use crate::stats::{Counter, Counters};
use crate::tls::keylog::KeyLog;
use crate::tls::keylog::feed::{self, Follower};

use super::Failure;
use super::arguments::{
    Apis, Arguments, Calls, Command, Common, Config, Decoding, Detect, Detecting, Doctor, Explain, Interfaces, Posture,
    Quotas, QuotasAction, Replay, Rules,
};
use super::arguments::{RulesAction, Selecting, Watch, Watching};
use super::consumers::{self, CallFormat, Posing, Printer};
use super::doctor::Examination;
use super::explain::Explaining;
use super::inventory::{self, Taking};
use super::notify;
use super::quotas::Proposing;
use super::reload::{self, Slot, Watched};
use super::saving::Target;
use super::summary::Summary;

/// Live, how many workers one reader can give enough to do.
const WORKERS_A_READER: usize = 3;

/// Code for alerts with `--fail-on-alert`, and for what `--fail-on-finding` is about.
const ALERTED: u8 = 3;

/// Code when the interface was removed, and only a process that is started again can listen to another of its name.
const INTERFACE_LOST: u8 = 4;

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Replay(options) => replay(options),
        Command::Calls(options) => calls(options),
        Command::Apis(options) => apis(options),
        Command::Watch(options) => watch(options),
        Command::Detect(options) => detect_calls(options),
        Command::Explain(options) => explain(options),
        Command::Posture(options) => posture(options),
        Command::Quotas(options) => quotas(options),
        Command::Rules(options) => rules(options),
        Command::Interfaces(options) => interfaces(options),
        Command::Config(options) => config(options),
        Command::Doctor(options) => doctor(options),
        Command::Top(options) => super::top::run(options),
        Command::Resend(options) => super::resend::run(options),
        Command::Manual { folder } => super::manual::write(&folder),
        Command::Schema { of } => {
            let mut lines = consumers::standard_output();
            lines.line_of(|line| io::Write::write_all(line, of.schema().trim_end().as_bytes()))?;
            lines.flush()?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "apitap", &mut io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn replay(mut options: Replay) -> Result<ExitCode, Failure> {
    let mut settings = settings(&mut options.common)?;
    apply_decoding(&mut settings, &options.decoding);
    apply_detecting(&mut settings, &mut options.detecting);
    settings.evidence.folder = options.keeping.evidence.or(settings.evidence.folder);
    let mut consumer =
        detecting(&mut settings, (&options.detecting, &options.watching), memory(options.resume), &options.common)?;
    let tap = keep_packets(&settings, &mut consumer, None)?;
    let outcome = read_captures_with(&options.inputs, &settings, &options.common, tap, &mut consumer)?;
    conclude_alerts(outcome, consumer, &settings, &options.common, options.detecting.fail_on_alert)
}

fn calls(mut options: Calls) -> Result<ExitCode, Failure> {
    let mut settings = settings(&mut options.common)?;
    apply_decoding(&mut settings, &options.decoding);
    settings.inspect.shapes |= options.shapes;
    // The archive has the names of headers and cookies.
    settings.inspect.shapes |= options.format == CallFormat::Har;
    settings.client.trusted_proxies.extend(&options.proxies.trusted_proxy);
    let selector = selector(options.selecting, &settings);
    let mut printer = Printer::new(false).selecting(selector).written(options.format)?;
    if options.records {
        let started = Instant::now();
        let (mut outcome, unread) = read_records(&options.inputs, &settings, &mut |record| printer.record(record))?;
        if outcome.output.is_none() {
            outcome.output = printer.finish().err();
        }
        let code = conclude(&outcome, &BTreeMap::new(), None, started.elapsed(), &options.common)?;
        return Ok(if unread { ExitCode::FAILURE } else { code });
    }
    let (outcome, elapsed) = read_captures(&options.inputs, &settings, &options.common, &mut printer)?;
    conclude(&outcome, &BTreeMap::new(), None, elapsed, &options.common)
}

/// What is selected.
fn selector(options: Selecting, settings: &Settings) -> Selector {
    let Selecting { service, endpoint, client, status, since, until } = options;
    let selection =
        Selection { services: service, endpoints: endpoint, clients: client, statuses: status, since, until };
    Selector::new(selection, TrustedProxies::new(&settings.client))
}

fn apis(mut options: Apis) -> Result<ExitCode, Failure> {
    if options.selecting.status.contains(&Statuses::None) {
        return Err(Failure::Usage("--status none: an endpoint is there because it answered".into()));
    }
    if options.diff.is_some() && !options.selecting.status.is_empty() {
        let reason = "--status cannot be used with --diff: an endpoint that answers otherwise than before is not gone";
        return Err(Failure::Usage(reason.into()));
    }
    let target = options.save.as_deref().map(Target::of).transpose()?;
    spare(target.as_ref(), &options)?;
    let mut settings = settings(&mut options.common)?;
    apply_decoding(&mut settings, &options.decoding);
    settings.client.trusted_proxies.extend(&options.proxies.trusted_proxy);
    settings.inspect.shapes = true;
    let specifications = inventory::specifications(&options.spec)?;
    if let Some(target) = target {
        let files = specifications.iter().flat_map(|specification| &specification.files);
        files.into_iter().try_for_each(|file| target.spare("--spec", file))?;
    }
    let format = if options.json { inventory::Format::Json } else { options.format };
    let output = inventory::Output {
        format,
        graph: options.graph,
        save: options.save.clone(),
        before: options.diff.as_deref().map(inventory::read).transpose()?,
        specifications,
        review: options.review.as_deref().map(Review::read).transpose()?,
        template: options.review_template,
        findings: options.findings,
    };
    let mut inventory = Inventory::new(&settings.inventory, detector(&settings)?);
    inventory.select(selector(options.selecting, &settings));
    let mut taking = Taking::new(inventory, output);
    let (mut outcome, elapsed, unread) = if options.calls {
        let started = Instant::now();
        let mut take = |record: &Record| {
            taking.record(record);
            Ok(())
        };
        let (mut outcome, unread) = read_records(&options.inputs, &settings, &mut take)?;
        outcome.output = taking.conclude().err();
        (outcome, started.elapsed(), unread)
    } else {
        let (outcome, elapsed) = read_captures(&options.inputs, &settings, &options.common, &mut taking)?;
        (outcome, elapsed, false)
    };
    outcome.counters.merge(&taking.counters());
    let code = conclude(&outcome, &BTreeMap::new(), None, elapsed, &options.common)?;
    if let Some(reason) = taking.failed() {
        return Err(Failure::Failed(reason));
    }
    let found = options.fail_on_finding && taking.found() && outcome.errors.is_empty();
    Ok(match (unread, found) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(ALERTED),
        (false, false) => code,
    })
}

/// Fails where saving an inventory would replace what is read for it. What it is compared with may be replaced.
fn spare(target: Option<&Target<'_>>, options: &Apis) -> Result<(), Failure> {
    let Some(target) = target else { return Ok(()) };
    let common = &options.common;
    let some = |what, path: &'_ Option<PathBuf>| path.iter().cloned().map(move |path| (what, path)).collect::<Vec<_>>();
    let several = |what, paths: &[PathBuf]| paths.iter().cloned().map(|path| (what, path)).collect::<Vec<_>>();
    let all = [
        several("the input", &options.inputs),
        several("--spec", &options.spec),
        some("--review", &options.review),
        several("--keylog", &options.decoding.keylog),
        some("--config", &common.config),
        some("--rules", &common.rules),
        some("--key-file", &common.key_file),
    ];
    all.iter().flatten().try_for_each(|(what, path)| target.spare(what, path))
}

fn watch(mut options: Watch) -> Result<ExitCode, Failure> {
    // A replay is over soon and gains time by huge pages. What runs for months would hold 2 MiB wherever a few KiB are used, more of
    // them the longer it runs. A kernel without this changes nothing.
    let _ = nix::sys::prctl::set_thp_disable(true);
    let mut settings = settings(&mut options.common)?;
    apply_decoding(&mut settings, &options.decoding);
    apply_detecting(&mut settings, &mut options.detecting);
    let live = &mut settings.source.live;
    if let Some(mebibytes) = options.buffer {
        live.buffer_bytes = mebibytes
            .checked_mul(1 << 20)
            .filter(|&bytes| (1..=1 << 31).contains(&bytes))
            .ok_or_else(|| Failure::Usage(format!("--buffer {mebibytes}: from 1 to 2047 MiB")))?;
    }
    live.snap_length = options.snap_length.unwrap_or(live.snap_length);
    live.promiscuous &= !options.no_promiscuous;
    live.readers = options.readers.or(live.readers);
    if !options.cpus.is_empty() {
        live.cpus = options.cpus;
    }
    if !live.cpus.is_empty() {
        live::pin(&live.cpus).map_err(Failure::Usage)?;
    }
    settings.evidence.folder = options.keeping.evidence.or(settings.evidence.folder);
    let confining = move |settings: &mut Settings| {
        settings.confinement.user = options.user.clone().or(settings.confinement.user.take());
        settings.confinement.enabled &= !options.no_confinement;
    };
    confining(&mut settings);
    let stop = Arc::new(AtomicBool::new(false));
    let filter = options.filter.or(settings.source.live.filter.clone());
    let interface = options
        .interface
        .or(settings.source.live.interface.clone())
        .ok_or_else(|| Failure::Usage("name an interface with --interface; `apitap interfaces` lists them".into()))?;
    let workers = workers(&settings, true);
    settings.source.live.readers.get_or_insert(workers.div_ceil(WORKERS_A_READER) as u16);
    let (readers, note) = live::Live::open_several(&interface, filter.as_deref(), &settings.source.live, &stop)?;
    if let Some(note) = note.filter(|_| !options.common.quiet) {
        say!("apitap: {note}");
    }
    let lost = readers.first().map(live::Live::lost).unwrap_or_default();
    let ended = |code| if lost.load(Ordering::Relaxed) { ExitCode::from(INTERFACE_LOST) } else { code };
    let mut sources: Vec<_> = readers.into_iter().map(|live| Box::new(live) as Box<dyn Source>).collect();
    confine(&settings, &options.common, &options.watching)?; // before any other thread is there
    stop_on_signals(stop.clone(), notify::stopping)?;
    let started = Instant::now();
    let listening = format!("listening on {interface}");
    if options.calls || settings.output.calls {
        let mut printer = Printer::new(true);
        let mut consumer = notify::Watched::new(&mut printer);
        notify::ready(&listening);
        let board = Some(Arc::default());
        let outcome = process(&mut sources, &settings, (board, None), &mut consumer, &stop, &mut |_, _| {})?;
        return conclude(&outcome, &BTreeMap::new(), None, started.elapsed(), &options.common).map(ended);
    }
    let board = Arc::new(Board::default());
    let slot = Arc::new(Slot::default());
    let _server = metrics(&settings, &board)?;
    let watched = watched(&settings, &options.common, &options.decoding, &options.detecting, confining);
    reload::start(watched, slot.clone(), board.clone())?;
    let memory = Memory::Live { fresh: options.fresh };
    let consumer = detecting(&mut settings, (&options.detecting, &options.watching), memory, &options.common)?;
    let mut consumer = consumer.live(Board::publisher(&board), slot, settings.metrics.loss_share);
    let tap = keep_packets(&settings, &mut consumer, Some(&board))?;
    let mut watched = notify::Watched::new(&mut consumer);
    notify::ready(&listening);
    let outcome = process(&mut sources, &settings, (Some(board), tap), &mut watched, &stop, &mut |_, _| {})?;
    conclude_alerts((outcome, started.elapsed()), consumer, &settings, &options.common, options.detecting.fail_on_alert)
        .map(ended)
}

fn doctor(mut options: Doctor) -> Result<ExitCode, Failure> {
    let mut examination = Examination::new(options.json);
    let mut settings = match settings(&mut options.common) {
        Ok(settings) => settings,
        Err(Failure::Usage(reason) | Failure::Failed(reason)) => {
            let check = doctor::Check::failed("configuration", reason, "correct it; nothing else was looked at");
            examination.tell(&check)?;
            return Ok(examination.conclude(options.common.quiet));
        }
    };
    settings.confinement.user = options.user.or(settings.confinement.user);
    let interface = options.interface.or(settings.source.live.interface.clone());
    let filter = options.filter.or(settings.source.live.filter.clone());
    examination.run(&doctor::Subject {
        settings: &settings,
        interface: interface.as_deref(),
        filter: filter.as_deref(),
        state: settings.state.clone().unwrap_or_else(default_state),
        listen: Duration::from_secs(options.listen),
    })?;
    Ok(examination.conclude(options.common.quiet))
}

/// Begins to tell metrics. That nobody can listen at the address that is there by default ends nothing; an address that the
/// operator chose has to be free.
fn metrics(settings: &Settings, board: &Arc<Board>) -> Result<Option<Server>, Failure> {
    let listen = settings.metrics.listen.as_str();
    if listen.is_empty() {
        return Ok(None);
    }
    match crate::metrics::serve(listen, board.clone()) {
        Ok(server) => Ok(Some(server)),
        Err(error) if *listen == crate::metrics::Settings::default().listen => {
            tracing::warn!("no metrics: {listen}: {error}; another address can be set ([metrics] listen)");
            Ok(None)
        }
        Err(error) => Err(Failure::Failed(format!("metrics: listen = {listen:?}: {error}"))),
    }
}

/// How the configuration is read again: as at the start, with the same flags.
fn watched(
    settings: &Settings,
    common: &Common,
    decoding: &Decoding,
    detecting: &Detecting,
    confining: impl Fn(&mut Settings) + Send + 'static,
) -> Watched {
    let (common, decoding, detecting) = (common.clone(), decoding.clone(), detecting.clone());
    let file = common.config.clone();
    let (live, evidence) = (settings.source.live.clone(), settings.evidence.folder.clone());
    let read = move || {
        let (mut common, mut detecting) = (common.clone(), detecting.clone());
        let mut settings = self::settings(&mut common)?;
        apply_decoding(&mut settings, &decoding);
        apply_detecting(&mut settings, &mut detecting);
        // The flags of `watch` itself hold on.
        confining(&mut settings);
        settings.source.live = live.clone();
        settings.evidence.folder = evidence.clone();
        Ok(settings)
    };
    Watched::new(file, settings.clone(), read)
}

fn detect_calls(mut options: Detect) -> Result<ExitCode, Failure> {
    let mut settings = settings(&mut options.common)?;
    apply_detecting(&mut settings, &mut options.detecting);
    settings.records.format = options.format.or(settings.records.format);
    let mut consumer =
        detecting(&mut settings, (&options.detecting, &options.watching), memory(options.resume), &options.common)?;
    let started = Instant::now();
    let (mut outcome, failed) = read_records(&options.inputs, &settings, &mut |record| consumer.record(record))?;
    if outcome.output.is_none() {
        outcome.output = consumer.finish().err();
    }
    let code = conclude_alerts(
        (outcome, started.elapsed()),
        consumer,
        &settings,
        &options.common,
        options.detecting.fail_on_alert,
    )?;
    Ok(if failed { ExitCode::FAILURE } else { code })
}

fn explain(mut options: Explain) -> Result<ExitCode, Failure> {
    let mut settings = settings(&mut options.common)?;
    apply_decoding(&mut settings, &options.decoding);
    apply_detecting(&mut settings, &mut options.detecting);
    let mut consumer = Explaining::new(detector(&settings)?, options.client, options.json);
    let started = Instant::now();
    let (mut outcome, failed) = if options.calls {
        let mut take = |record: &Record| {
            consumer.record(record);
            Ok(())
        };
        let (mut outcome, failed) = read_records(&options.inputs, &settings, &mut take)?;
        outcome.output = consumer.finish().err();
        (outcome, failed)
    } else {
        let (outcome, _) = read_captures(&options.inputs, &settings, &options.common, &mut consumer)?;
        (outcome, false)
    };
    outcome.counters.merge(&consumer.counters());
    let code = conclude(&outcome, &BTreeMap::new(), None, started.elapsed(), &options.common)?;
    if !consumer.seen() {
        let message = format!(
            "there is no call of {}; clients behind a proxy are told apart when it is given with --trusted-proxy",
            options.client
        );
        return Err(Failure::Failed(message));
    }
    Ok(if failed { ExitCode::FAILURE } else { code })
}

fn posture(mut options: Posture) -> Result<ExitCode, Failure> {
    let mut settings = settings(&mut options.common)?;
    settings.inspect.shapes = true;
    apply_decoding(&mut settings, &options.decoding);
    settings.client.trusted_proxies.extend(&options.proxies.trusted_proxy);
    let mut consumer = Posing::new(detector(&settings)?, practice(&settings)?, options.json);
    let started = Instant::now();
    let (mut outcome, failed) = if options.calls {
        let mut take = |record: &Record| {
            consumer.record(record);
            Ok(())
        };
        let (mut outcome, failed) = read_records(&options.inputs, &settings, &mut take)?;
        outcome.output = consumer.finish().err();
        (outcome, failed)
    } else {
        let (outcome, _) = read_captures(&options.inputs, &settings, &options.common, &mut consumer)?;
        (outcome, false)
    };
    outcome.counters.merge(&consumer.counters());
    let code = conclude(&outcome, &BTreeMap::new(), None, started.elapsed(), &options.common)?;
    let found = options.fail_on_finding && consumer.found() && outcome.errors.is_empty();
    Ok(match (failed, found) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(ALERTED),
        (false, false) => code,
    })
}

fn quotas(options: Quotas) -> Result<ExitCode, Failure> {
    let QuotasAction::Suggest(mut options) = options.action;
    let mut settings = settings(&mut options.common)?;
    apply_decoding(&mut settings, &options.decoding);
    settings.client.trusted_proxies.extend(&options.proxies.trusted_proxy);
    let choice = Options {
        per: options.per.iter().map(|per| per.dimension()).collect(),
        share: options.share,
        headroom: options.headroom,
        uses: settings.practice.quota_uses,
    };
    let suggesting = Suggesting::new(choice, HashKey::derived(&key(&settings)?, "practice"));
    let mut consumer = Proposing::new(detector(&settings)?, suggesting, options.json);
    let started = Instant::now();
    let (mut outcome, failed) = if options.calls {
        let mut take = |record: &Record| {
            consumer.record(record);
            Ok(())
        };
        let (mut outcome, failed) = read_records(&options.inputs, &settings, &mut take)?;
        outcome.output = consumer.finish().err();
        (outcome, failed)
    } else {
        let (outcome, _) = read_captures(&options.inputs, &settings, &options.common, &mut consumer)?;
        (outcome, false)
    };
    outcome.counters.merge(&consumer.counters());
    let code = conclude(&outcome, &BTreeMap::new(), None, started.elapsed(), &options.common)?;
    Ok(if failed { ExitCode::FAILURE } else { code })
}

/// Reads calls or logs; tells whether some of them could not be read.
fn read_records(
    inputs: &[PathBuf],
    settings: &Settings,
    take: &mut dyn FnMut(&Record) -> io::Result<()>,
) -> Result<(Outcome, bool), Failure> {
    let mut outcome = Outcome::default();
    let mut failed = false;
    let mut records = Records::open(inputs, &settings.records, &settings.source, inspector(settings)?);
    loop {
        match records.next() {
            Ok(None) => break,
            Ok(Some(record)) => {
                outcome.output = take(record).err();
                if outcome.output.is_some() {
                    break;
                }
            }
            Err(error) => {
                say!("apitap: {error}");
                failed = true;
            }
        }
    }
    outcome.counters.merge(records.counters());
    Ok((outcome, failed))
}

fn rules(options: Rules) -> Result<ExitCode, Failure> {
    match options.action {
        RulesAction::Check { rules } => {
            let errors = crate::rules::check(rules.as_deref());
            for warning in crate::rules::warnings(rules.as_deref()) {
                say!("warning: {warning}");
            }
            for error in &errors {
                say!("{error}");
            }
            match errors.len() {
                0 => {
                    println!("all rules are well");
                    Ok(ExitCode::SUCCESS)
                }
                count => Err(Failure::Failed(format!("{count} error(s) in the rules"))),
            }
        }
        RulesAction::Export { folder } => {
            for path in crate::rules::export(&folder)? {
                println!("{}", path.display());
            }
            Ok(ExitCode::SUCCESS)
        }
        RulesAction::List { rules, json } => {
            let mut lines = consumers::standard_output();
            for rule in crate::rules::list(rules.as_deref()).map_err(wrong_rules)? {
                if json {
                    lines.line(&rule)?;
                } else {
                    println!("{:<28} {:<20} {}", rule.name, rule.class, rule.description);
                }
            }
            lines.flush()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn interfaces(options: Interfaces) -> Result<ExitCode, Failure> {
    let mut lines = consumers::standard_output();
    for interface in live::interfaces()? {
        if options.json {
            lines.line(&interface)?;
            continue;
        }
        let state = [
            (interface.up, "up"),
            (interface.running, "running"),
            (interface.loopback, "loopback"),
            (interface.wireless, "wireless"),
        ];
        let state: Vec<_> = state.iter().filter(|(holds, _)| *holds).map(|&(_, name)| name).collect();
        let addresses: Vec<_> = interface.addresses.iter().map(ToString::to_string).collect();
        println!(
            "{:<16} {:<24} {}{}",
            interface.name,
            state.join(","),
            addresses.join(" "),
            interface.description.map(|text| format!("  ({text})")).unwrap_or_default()
        );
    }
    lines.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn config(mut options: Config) -> Result<ExitCode, Failure> {
    let text = if options.defaults {
        crate::settings::defaults()
    } else if options.schema {
        format!("{}\n", serde_json::to_string_pretty(&crate::settings::schema())?)
    } else {
        let mut loaded = loaded(options.common.config.as_deref())?;
        let mut settings = settings(&mut options.common)?;
        apply_decoding(&mut settings, &options.decoding);
        apply_detecting(&mut settings, &mut options.detecting);
        settings.check().map_err(Failure::Usage)?;
        settings.output.quiet |= options.common.quiet;
        settings.output.json_summary |= options.common.json_summary;
        settings.output.fail_on_alert |= options.detecting.fail_on_alert;
        loaded.settings = settings;
        super::config::note_flags(&mut loaded);
        crate::settings::effective(&loaded)
    };
    match io::Write::write_all(&mut io::stdout(), text.as_bytes()) {
        Err(error) if !is_closed(&error) => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// The configuration file with the environment over it.
pub(super) fn loaded(config: Option<&Path>) -> Result<Loaded, Failure> {
    // Names and values that are no text set nothing.
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(crate::settings::load(config, variables)?)
}

/// The same with flags over it.
fn settings(common: &mut Common) -> Result<Settings, Failure> {
    let mut settings = loaded(common.config.as_deref())?.settings;
    settings.rules = common.rules.clone().or(settings.rules);
    settings.state = common.state.clone().or(settings.state);
    settings.key_file = common.key_file.clone().or(settings.key_file);
    settings.workers = common.workers.map(usize::from).or(settings.workers);
    settings.output.log_format = common.log_format.unwrap_or(settings.output.log_format);
    super::log::start(settings.output.log_format);
    common.quiet |= settings.output.quiet;
    common.json_summary |= settings.output.json_summary;
    if let Some(folder) = settings.rules.as_deref().filter(|folder| !folder.is_dir()) {
        return Err(Failure::Usage(format!("--rules {}: no such folder", folder.display())));
    }
    Ok(settings)
}

fn apply_decoding(settings: &mut Settings, decoding: &Decoding) {
    settings.packet.verify_checksums |= decoding.verify_checksums;
    settings.packet.vxlan_ports.extend(&decoding.vxlan_port);
    settings.tls.keylog.files.extend_from_slice(&decoding.keylog);
}

fn apply_detecting(settings: &mut Settings, detecting: &mut Detecting) {
    detecting.fail_on_alert |= settings.output.fail_on_alert;
    settings.client.trusted_proxies.extend(&detecting.proxies.trusted_proxy);
    if let Some(budget) = detecting.false_alarms_per_day {
        settings.detect.false_alarms_per_day = budget;
    }
}

fn key(settings: &Settings) -> Result<Key, Failure> {
    if let Some(path) = &settings.key_file {
        return Key::read(path).map_err(|error| Failure::Failed(format!("--key-file {}: {error}", path.display())));
    }
    let folder = settings.state.clone().unwrap_or_else(default_state);
    Key::of_installation(&folder).map_err(|error| {
        Failure::Failed(format!("{}: {error}; give a folder with --state or a key with --key-file", folder.display()))
    })
}

pub(super) fn default_state() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match (from("XDG_STATE_HOME"), from("HOME")) {
        (Some(state), _) => state.join("apitap"),
        (None, Some(home)) => home.join(".local/state/apitap"),
        (None, None) => PathBuf::from("/var/lib/apitap"),
    }
}

fn inspector(settings: &Settings) -> Result<Arc<Inspector>, Failure> {
    let rules = crate::inspect::Rules::load(settings.rules.as_deref()).map_err(wrong_rules)?;
    let mut classes = settings.inspect.allow.iter().flat_map(|allowance| &allowance.classes);
    if let Some(unknown) = classes.find(|name| rules.class(name).is_none()) {
        let known = || rules.classes().iter().map(|class| class.name.to_string());
        let hint = match crate::settings::nearest(unknown, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", known().collect::<Vec<_>>().join(", ")),
        };
        return Err(Failure::Usage(format!("[[inspect.allow]]: unknown class `{unknown}`; {hint}")));
    }
    Ok(Arc::new(Inspector::new(&rules, settings.inspect.clone(), key(settings)?)))
}

fn detector(settings: &Settings) -> Result<Detector, Failure> {
    settings.check().map_err(Failure::Usage)?;
    let file = RuleFile::find(settings.rules.as_deref(), detect::FILE, detect::COMPILED_IN)?;
    let rules = DetectRules::load(&file)?;
    let proxies = TrustedProxies::new(&settings.client);
    let options = detect::Settings { templates: settings.endpoint.clone(), ..settings.detect.clone() };
    let detector = Detector::new(options, rules, move |call| proxies.known(call));
    Ok(detector.keyed(&key(settings)?))
}

/// Goes on from what an earlier run with the same state folder learned, and keeps what this one learns.
fn keeper(settings: &Settings, detector: &mut Detector) -> Result<(Keeper, Option<Rest>), Failure> {
    let folder = settings.state.clone().unwrap_or_else(default_state);
    let failed = |error: io::Error| Failure::Failed(format!("{}: {error}", folder.display()));
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let mut keeper = Keeper::new(&folder, &settings.checkpoint).map_err(failed)?;
    let (rest, notes) = keeper.resume(detector).map_err(failed)?;
    // What was damaged is said however quiet it is to be: it is no summary.
    for note in &notes {
        tracing::warn!("{note}");
    }
    Ok((keeper, rest))
}

/// Gives up what a live run needs no more, its interfaces being open.
fn confine(settings: &Settings, common: &Common, watching: &Watching) -> Result<(), Failure> {
    if !settings.confinement.enabled {
        return Ok(());
    }
    let folder = settings.state.clone().unwrap_or_else(default_state);
    let absent = !folder.exists();
    // What cannot be made is said where it is needed, here and below.
    let _ = std::fs::create_dir_all(&folder);
    if absent {
        confinement::give(&settings.confinement, &folder);
    }
    // A key log, the configuration and the secrets of sinks may be replaced by new files: their folders are meant.
    let secrets = settings.sink.iter().flat_map(sink::Settings::files);
    let replaced = settings.tls.keylog.files.iter().chain(&common.config).chain(secrets);
    let mut read: Vec<PathBuf> = replaced.filter_map(|path| confinement::folder_of(path)).collect();
    read.extend(settings.rules.clone());
    read.extend(settings.key_file.clone());
    read.extend(watching.baseline.iter().chain(&watching.review).cloned());
    let mut write = vec![folder];
    if let Some(folder) = &settings.evidence.folder {
        let absent = !folder.exists();
        let _ = evidence::make_folder(folder);
        if absent {
            confinement::give(&settings.confinement, folder);
        }
        write.push(folder.clone());
    }
    for sink in &settings.sink {
        sink.paths(&mut write);
    }
    let confinement = confinement::confine(&settings.confinement, &read, &write)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    if !common.quiet {
        say!("apitap: {confinement}");
    }
    Ok(())
}

/// What a run does with what was learned before.
enum Memory {
    /// It begins anew, and keeps nothing.
    None,
    /// It goes on, and passes over what was taken before.
    Resume,
    /// It listens. Where no state folder is named nobody asked for a memory, and where another run has it, it is better to
    /// listen without one than not at all.
    Live {
        /// What was learned before is forgotten.
        fresh: bool,
    },
}

fn memory(resume: bool) -> Memory {
    if resume { Memory::Resume } else { Memory::None }
}

/// What goes on from what was learned before.
struct Remembering {
    detector: Detector,
    /// What keeps what is learned now.
    keeper: Option<Keeper>,
    /// What was learned beside the detector; none where there is nothing to go on from.
    rest: Option<Rest>,
}

/// A detector that goes on from what was learned before, and what keeps it.
fn remembering(settings: &Settings, memory: Memory) -> Result<Remembering, Failure> {
    let mut detector = detector(settings)?;
    let fresh = match memory {
        Memory::Resume => {
            let (keeper, rest) = keeper(settings, &mut detector)?;
            return Ok(Remembering { detector, keeper: Some(keeper), rest });
        }
        Memory::Live { fresh } if settings.state.is_some() => fresh,
        Memory::None | Memory::Live { .. } => return Ok(Remembering { detector, keeper: None, rest: None }),
    };
    let (keeper, mut rest) = match keeper(settings, &mut detector) {
        Ok((mut keeper, rest)) => {
            keeper.pass_nothing_over();
            (Some(keeper), rest)
        }
        Err(Failure::Failed(reason)) => {
            tracing::warn!("{reason}; what is learned now is lost at the end");
            (None, None)
        }
        Err(failure) => return Err(failure),
    };
    if fresh {
        (detector, rest) = (self::detector(settings)?, None);
    }
    Ok(Remembering { detector, keeper, rest })
}

/// What holds calls against the practices.
fn practice(settings: &Settings) -> Result<Practice, Failure> {
    Ok(Practice::new(
        &settings.practice,
        &settings.gateway,
        &settings.quota,
        HashKey::derived(&key(settings)?, "practice"),
    ))
}

/// The detector with its output; with findings, and with what is new, where these are asked for.
fn detecting(
    settings: &mut Settings,
    (options, watching): (&Detecting, &Watching),
    memory: Memory,
    common: &Common,
) -> Result<consumers::Detecting, Failure> {
    let mut practice = if options.findings || settings.output.findings { Some(practice(settings)?) } else { None };
    let unattended = matches!(memory, Memory::Live { .. });
    let Remembering { detector, keeper, rest } = remembering(settings, memory)?;
    let said = |what: &str| {
        if !common.quiet {
            say!("apitap: what was learned before has no {what}: it begins anew");
        }
    };
    let (resumed, rest) = (rest.is_some(), rest.unwrap_or_default());
    match (&mut practice, rest.practice) {
        (Some(practice), Some(memory)) => practice.restore(memory),
        (Some(_), None) if resumed => said("findings of practices"),
        _ => {}
    }
    let outlets = outlets(settings, unattended)?;
    if !watching.events {
        if watching.review.is_some() && !common.quiet {
            say!("apitap: --review says of events what is none; without --events there are none");
        }
        return Ok(consumers::Detecting::new(detector, outlets).keeping(keeper).finding(practice));
    }
    settings.inspect.shapes = true;
    let events = &mut settings.inventory.events;
    events.learning_seconds = watching.learning.unwrap_or(events.learning_seconds);
    let baseline = watching.baseline.as_deref().map(inventory::read).transpose()?;
    let mut inventory = Inventory::new(&settings.inventory, detector);
    inventory.watch(&settings.inventory, baseline.as_deref());
    if let Some(review) = watching.review.as_deref().map(Review::read).transpose()? {
        inventory.review(review);
    }
    match rest.inventory {
        Some(memory) => inventory.restore(memory),
        None if resumed => said("inventory"),
        None => {}
    }
    Ok(consumers::Detecting::watching(inventory, outlets).keeping(keeper).finding(practice))
}

fn wrong_rules(errors: Vec<RuleError>) -> Failure {
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    Failure::Failed(lines.join("\n"))
}

/// Starts to keep the packets of incidents, where the settings name a folder; gives what copies the frames.
fn keep_packets(
    settings: &Settings,
    consumer: &mut consumers::Detecting,
    board: Option<&Arc<Board>>,
) -> Result<Option<Tap>, Failure> {
    let proxies = TrustedProxies::new(&settings.client);
    let Some((tap, witness)) = evidence::start(&settings.evidence, proxies, board.is_some(), board)? else {
        return Ok(None);
    };
    consumer.witness(witness);
    Ok(Some(tap))
}

/// Reads captures through all stages into a consumer, with a progress bar on a terminal.
fn read_captures(
    inputs: &[PathBuf],
    settings: &Settings,
    common: &Common,
    consumer: &mut dyn Consumer,
) -> Result<(Outcome, Duration), Failure> {
    read_captures_with(inputs, settings, common, None, consumer)
}

/// The same, with the frames copied where packets of incidents are kept.
fn read_captures_with(
    inputs: &[PathBuf],
    settings: &Settings,
    common: &Common,
    tap: Option<Tap>,
    consumer: &mut dyn Consumer,
) -> Result<(Outcome, Duration), Failure> {
    let started = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signals(stop.clone(), || {})?;
    let mut sources: [Box<dyn Source>; 1] = [Box::new(source::open(inputs, &settings.source))];
    let bar = (!common.quiet && io::stderr().is_terminal()).then(progress_bar);
    let mut show = |source: &dyn Source, counters: &Counters| {
        if let Some(bar) = &bar {
            if let Some((done, all)) = source.progress() {
                bar.set_length(all);
                bar.set_position(done);
            }
            bar.set_message(format!("{} packets", counters.value(Counter::Frames)));
        }
    };
    let outcome = process(&mut sources, settings, (None, tap), consumer, &stop, &mut show)?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok((outcome, started.elapsed()))
}

fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:40} {percent:>3}% {bytes}/{total_bytes} {msg}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Threads among which the flows are divided.
fn workers(settings: &Settings, live: bool) -> usize {
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let default = || match (live, cores()) {
        (false, cores) => cores,
        // One that does all costs less than several with a reader and a consumer besides, when they share two cores.
        (true, ..=2) => 1,
        (true, cores) => cores - 1,
    };
    settings.workers.unwrap_or_else(default).clamp(1, 256)
}

fn process(
    sources: &mut [Box<dyn Source>],
    settings: &Settings,
    (live, evidence): (Option<Arc<Board>>, Option<Tap>),
    consumer: &mut dyn Consumer,
    stop: &AtomicBool,
    progress: &mut Progress<'_>,
) -> Result<Outcome, Failure> {
    let keys = Arc::new(KeyLog::new(&settings.tls.keylog));
    let mut follower = None;
    let (board, live) = (live.clone(), live.is_some());
    if live {
        follower = Some(Follower::start(&settings.tls.keylog, keys.clone())?);
    } else {
        feed::read(&settings.tls.keylog.files, &keys).map_err(|error| Failure::Failed(format!("--keylog {error}")))?;
    }
    let stages = pipeline::Settings {
        packet: settings.packet.clone(),
        stream: settings.stream.clone(),
        http: settings.http.clone(),
        tls: settings.tls.clone(),
        keys,
        live,
        board,
        evidence,
        workers: workers(settings, live),
        cpus: if live { settings.source.live.cpus.clone() } else { Vec::new() },
    };
    let outcome = pipeline::run(sources, &stages, &inspector(settings)?, consumer, stop, progress);
    drop(follower);
    Ok(outcome)
}

/// Sets `stop` at the first SIGINT or SIGTERM, and tells so; a second one ends the process at once.
fn stop_on_signals(stop: Arc<AtomicBool>, tell: fn()) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        use tokio::signal::unix::{SignalKind, signal};
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if stop.swap(true, Ordering::Relaxed) {
                    std::process::exit(1);
                }
                tell();
            }
        });
    })?;
    Ok(())
}

fn conclude_alerts(
    (mut outcome, elapsed): (Outcome, Duration),
    mut consumer: consumers::Detecting,
    settings: &Settings,
    common: &Common,
    fail_on_alert: bool,
) -> Result<ExitCode, Failure> {
    outcome.counters.merge(&consumer.finish_evidence());
    outcome.counters.merge(&consumer.counters());
    let (kinds, budget) = (consumer.kinds.clone(), consumer.budget());
    let (outlets, unkept) = consumer.into_parts();
    let lost = finish_sinks(outlets, settings);
    let code = conclude(&outcome, &kinds, Some(&budget), elapsed, common)?;
    if let Some(error) = unkept {
        return Err(Failure::Failed(format!("what was learned could not be kept: {error}")));
    }
    let alerted = !kinds.is_empty() && fail_on_alert && outcome.errors.is_empty();
    Ok(match (lost, alerted) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(ALERTED),
        (false, false) => code,
    })
}

/// Waits for the sinks and says what they have not delivered; tells whether lines were lost.
fn finish_sinks(outlets: Outlets, settings: &Settings) -> bool {
    let mut lost = false;
    for left in outlets.finish(Duration::from_secs(settings.output.sink_wait_seconds)) {
        let (name, folder) = (&left.name, left.folder.display());
        if left.spooled > 0 {
            let count = left.spooled;
            say!("apitap: sink {name}: {count} lines stay in its spool {folder}; the next run delivers them");
        }
        if left.lost > 0 {
            say!("apitap: sink {name}: {} lines are lost: they were in memory, its spool had no room", left.lost);
            lost = true;
        }
    }
    lost
}

/// The sinks; `unattended`: nobody may wait for the reader of standard output.
fn outlets(settings: &Settings, unattended: bool) -> Result<Outlets, Failure> {
    let state = settings.state.clone().unwrap_or_else(default_state);
    let open = if unattended { Outlets::open_unattended } else { Outlets::open };
    open(&settings.sink, &state, settings.output.sensor()).map_err(Failure::Usage)
}

/// Tells the summary and the errors, and decides the exit code.
fn conclude(
    outcome: &Outcome,
    alerts: &BTreeMap<String, u64>,
    budget: Option<&BudgetReport>,
    elapsed: Duration,
    common: &Common,
) -> Result<ExitCode, Failure> {
    let summary = Summary::of(outcome, alerts, budget, elapsed);
    if common.json_summary {
        say!("{}", summary.json());
    } else if !common.quiet {
        say!("{}", summary.text());
    }
    for error in &outcome.errors {
        say!("apitap: {error}");
    }
    if let Some(error) = outcome.output.as_ref().filter(|error| !is_closed(error)) {
        return Err(Failure::Failed(format!("standard output: {error}")));
    }
    Ok(if outcome.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
