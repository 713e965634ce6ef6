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
use crate::checkpoint::Keeper;
use crate::client::TrustedProxies;
use crate::confinement;
use crate::detect::{self, BudgetReport, DetectRules, Detector};
use crate::endpoint::HashKey;
use crate::export::selection::{Selection, Selector};
use crate::inspect::Inspector;
use crate::inventory::Inventory;
use crate::inventory::report::Endpoint;
use crate::inventory::review::Review;
use crate::key::Key;
use crate::pipeline::{self, Consumer, Outcome};
use crate::records::Records;
use crate::rules::{RuleError, RuleFile};
use crate::settings::Settings;
use crate::sink::{Sink, is_closed};
use crate::source::{self, Source, live};
use crate::stats::{Counter, Counters};
use crate::tls::keylog::KeyLog;
use crate::tls::keylog::feed::{self, Follower};

use super::Failure;
use super::arguments::{
    Apis, Arguments, Calls, Command, Common, Decoding, Detect, Detecting, Explain, Interfaces, Replay, Rules,
};
use super::arguments::{RulesAction, Selecting, Watch, Watching};
use super::consumers::{self, CallFormat, Printer};
use super::explain::Explaining;
use super::inventory::{self, Taking};
use super::summary::Summary;

/// Live, how many workers one reader can give enough to do.
const WORKERS_A_READER: usize = 3;

/// Code for alerts with `--fail-on-alert`, and for what `--fail-on-finding` is about.
const ALERTED: u8 = 3;

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Replay(options) => replay(options),
        Command::Calls(options) => calls(options),
        Command::Apis(options) => apis(options),
        Command::Watch(options) => watch(options),
        Command::Detect(options) => detect_calls(options),
        Command::Explain(options) => explain(options),
        Command::Rules(options) => rules(options),
        Command::Interfaces(options) => interfaces(options),
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
    let baseline = baseline(&options.watching)?;
    let mut detector = detector(&settings)?;
    let keeper = if options.resume { Some(keeper(&settings, &mut detector, &options.common)?) } else { None };
    let mut consumer =
        watching(consumers::Detecting::new(detector, keeper), &mut settings, &options.watching, baseline)?;
    let outcome = read_captures(&options.inputs, &settings, &options.common, &mut consumer)?;
    conclude_alerts(outcome, consumer, &options.common, options.detecting.fail_on_alert)
}

fn calls(mut options: Calls) -> Result<ExitCode, Failure> {
    let mut settings = settings(&mut options.common)?;
    apply_decoding(&mut settings, &options.decoding);
    settings.inspect.shapes |= options.shapes;
    // The archive has the names of headers and cookies.
    settings.inspect.shapes |= options.format == CallFormat::Har;
    settings.client.trusted_proxies.extend(&options.proxies.trusted_proxy);
    let Selecting { service, endpoint, client, status, since, until } = options.selecting;
    let selection =
        Selection { services: service, endpoints: endpoint, clients: client, statuses: status, since, until };
    let selector = Selector::new(selection, TrustedProxies::new(&settings.client));
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

fn apis(mut options: Apis) -> Result<ExitCode, Failure> {
    let mut settings = settings(&mut options.common)?;
    apply_decoding(&mut settings, &options.decoding);
    settings.client.trusted_proxies.extend(&options.proxies.trusted_proxy);
    settings.inspect.shapes = true;
    let format = if options.json { inventory::Format::Json } else { options.format };
    let output = inventory::Output {
        format,
        services: options.service,
        endpoints: options.endpoint,
        graph: options.graph,
        save: options.save,
        before: options.diff.as_deref().map(inventory::read).transpose()?,
        specifications: inventory::specifications(&options.spec)?,
        review: options.review.as_deref().map(Review::read).transpose()?,
        template: options.review_template,
        findings: options.findings,
    };
    let mut taking =
        Taking::new(Inventory::new(&settings.inventory, detector(&settings)?, apis_key(&settings)?), output);
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

fn watch(mut options: Watch) -> Result<ExitCode, Failure> {
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
    settings.confinement.user = options.user.or(settings.confinement.user);
    settings.confinement.enabled &= !options.no_confinement;
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
        eprintln!("apitap: {note}");
    }
    let mut sources: Vec<_> = readers.into_iter().map(|live| Box::new(live) as Box<dyn Source>).collect();
    let baseline = baseline(&options.watching)?; // before it is out of reach
    confine(&settings, &options.common)?; // before any other thread is there
    stop_on_signals(stop.clone())?;
    let printing = options.calls || settings.output.calls;
    let mut consumer = if printing { None } else { Some(resumed(&settings, &options.common, options.fresh)?) };
    let started = Instant::now();
    let Some(consumer) = consumer.take() else {
        let mut printer = Printer::new(true);
        let outcome = process(&mut sources, &settings, true, &mut printer, &stop, &mut |_, _| {})?;
        return conclude(&outcome, &BTreeMap::new(), None, started.elapsed(), &options.common);
    };
    let mut consumer = watching(consumer, &mut settings, &options.watching, baseline)?;
    let outcome = process(&mut sources, &settings, true, &mut consumer, &stop, &mut |_, _| {})?;
    conclude_alerts((outcome, started.elapsed()), consumer, &options.common, options.detecting.fail_on_alert)
}

fn detect_calls(mut options: Detect) -> Result<ExitCode, Failure> {
    let mut settings = settings(&mut options.common)?;
    apply_detecting(&mut settings, &mut options.detecting);
    settings.records.format = options.format.or(settings.records.format);
    let baseline = baseline(&options.watching)?;
    let mut detector = detector(&settings)?;
    let keeper = if options.resume { Some(keeper(&settings, &mut detector, &options.common)?) } else { None };
    let mut consumer =
        watching(consumers::Detecting::new(detector, keeper), &mut settings, &options.watching, baseline)?;
    let started = Instant::now();
    let (mut outcome, failed) = read_records(&options.inputs, &settings, &mut |record| consumer.record(record))?;
    if outcome.output.is_none() {
        outcome.output = consumer.finish().err();
    }
    let code =
        conclude_alerts((outcome, started.elapsed()), consumer, &options.common, options.detecting.fail_on_alert)?;
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
    outcome.counters.merge(consumer.counters());
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
                eprintln!("apitap: {error}");
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
            for error in &errors {
                eprintln!("{error}");
            }
            match errors.len() {
                0 => {
                    println!("all rules are well");
                    Ok(ExitCode::SUCCESS)
                }
                count => Err(Failure::Failed(format!("{count} error(s) in the rules"))),
            }
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

/// The configuration file with flags and environment over it.
fn settings(common: &mut Common) -> Result<Settings, Failure> {
    let mut settings = match &common.config {
        Some(path) => Settings::read(path)?,
        None => Settings::default(),
    };
    settings.rules = common.rules.clone().or(settings.rules);
    settings.state = common.state.clone().or(settings.state);
    settings.key_file = common.key_file.clone().or(settings.key_file);
    settings.workers = common.workers.map(usize::from).or(settings.workers);
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

fn default_state() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match (from("XDG_STATE_HOME"), from("HOME")) {
        (Some(state), _) => state.join("apitap"),
        (None, Some(home)) => home.join(".local/state/apitap"),
        (None, None) => PathBuf::from("/var/lib/apitap"),
    }
}

fn inspector(settings: &Settings) -> Result<Arc<Inspector>, Failure> {
    let rules = crate::inspect::Rules::load(settings.rules.as_deref()).map_err(wrong_rules)?;
    Ok(Arc::new(Inspector::new(&rules, settings.inspect.clone(), key(settings)?)))
}

fn detector(settings: &Settings) -> Result<Detector, Failure> {
    let file = RuleFile::find(settings.rules.as_deref(), detect::FILE, detect::COMPILED_IN)?;
    let rules = DetectRules::load(&file)?;
    let proxies = TrustedProxies::new(&settings.client);
    let options = detect::Settings { templates: settings.endpoint.clone(), ..settings.detect.clone() };
    let detector = Detector::new(options, rules, move |call| proxies.known(call));
    Ok(detector.keyed(&key(settings)?))
}

/// Has a consumer tell what is new, where that is asked for.
fn watching(
    consumer: consumers::Detecting,
    settings: &mut Settings,
    watching: &Watching,
    baseline: Option<Vec<Endpoint>>,
) -> Result<consumers::Detecting, Failure> {
    if !watching.events {
        return Ok(consumer);
    }
    settings.inspect.shapes = true;
    let events = &mut settings.inventory.events;
    events.learning_seconds = watching.learning.unwrap_or(events.learning_seconds);
    Ok(consumer.watching(&settings.inventory, apis_key(settings)?, baseline.as_deref()))
}

/// The inventory that is known.
fn baseline(watching: &Watching) -> Result<Option<Vec<Endpoint>>, Failure> {
    watching.baseline.as_deref().map(inventory::read).transpose()
}

/// The key of what the inventory is built on.
fn apis_key(settings: &Settings) -> Result<HashKey, Failure> {
    Ok(HashKey::derived(&key(settings)?, "apis"))
}

/// Goes on from what an earlier run with the same state folder learned, and keeps what this one learns.
fn keeper(settings: &Settings, detector: &mut Detector, common: &Common) -> Result<Keeper, Failure> {
    let folder = settings.state.clone().unwrap_or_else(default_state);
    let failed = |error: io::Error| Failure::Failed(format!("{}: {error}", folder.display()));
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let mut keeper = Keeper::new(&folder, &settings.checkpoint).map_err(failed)?;
    let notes = keeper.resume(detector).map_err(failed)?;
    for note in notes.iter().filter(|_| !common.quiet) {
        eprintln!("apitap: {note}");
    }
    Ok(keeper)
}

/// Gives up what a live run needs no more, its interfaces being open.
fn confine(settings: &Settings, common: &Common) -> Result<(), Failure> {
    if !settings.confinement.enabled {
        return Ok(());
    }
    let folder = settings.state.clone().unwrap_or_else(default_state);
    let _ = std::fs::create_dir_all(&folder); // what cannot be made is said where it is needed
    let folder_of = |path: &PathBuf| path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
    // A key log may be replaced by a new one: its folder is meant.
    let mut read: Vec<PathBuf> = settings.tls.keylog.files.iter().filter_map(folder_of).collect();
    read.extend(settings.rules.clone());
    read.extend(settings.key_file.clone());
    read.extend(common.config.clone());
    let confinement = confinement::confine(&settings.confinement, &read, &[folder])
        .map_err(|error| Failure::Failed(error.to_string()))?;
    if !common.quiet {
        eprintln!("apitap: {confinement}");
    }
    Ok(())
}

/// The consumer of a live run: it keeps what it learns in the state folder, when one is named. Who has none named did not ask for a
/// memory, and where another run has it, it is better to listen without one than not at all.
fn resumed(settings: &Settings, common: &Common, fresh: bool) -> Result<consumers::Detecting, Failure> {
    let mut detector = detector(settings)?;
    if settings.state.is_none() {
        return Ok(consumers::Detecting::new(detector, None));
    }
    let keeper = match keeper(settings, &mut detector, common) {
        Ok(mut keeper) => {
            keeper.pass_nothing_over();
            Some(keeper)
        }
        Err(Failure::Failed(reason)) => {
            eprintln!("apitap: {reason}; what is learned now is lost at the end");
            None
        }
        Err(failure) => return Err(failure),
    };
    if fresh {
        detector = self::detector(settings)?;
    }
    Ok(consumers::Detecting::new(detector, keeper))
}

fn wrong_rules(errors: Vec<RuleError>) -> Failure {
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    Failure::Failed(lines.join("\n"))
}

/// Reads captures through all stages into a consumer, with a progress bar on a terminal.
fn read_captures(
    inputs: &[PathBuf],
    settings: &Settings,
    common: &Common,
    consumer: &mut dyn Consumer,
) -> Result<(Outcome, Duration), Failure> {
    let started = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signals(stop.clone())?;
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
    let outcome = process(&mut sources, settings, false, consumer, &stop, &mut show)?;
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
    live: bool,
    consumer: &mut dyn Consumer,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&dyn Source, &Counters),
) -> Result<Outcome, Failure> {
    let keys = Arc::new(KeyLog::new(&settings.tls.keylog));
    let mut follower = None;
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
        workers: workers(settings, live),
        cpus: if live { settings.source.live.cpus.clone() } else { Vec::new() },
    };
    let outcome = pipeline::run(sources, &stages, &inspector(settings)?, consumer, stop, progress);
    drop(follower);
    Ok(outcome)
}

/// Sets `stop` at the first SIGINT or SIGTERM; a second one ends the process at once.
fn stop_on_signals(stop: Arc<AtomicBool>) -> Result<(), Failure> {
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
            }
        });
    })?;
    Ok(())
}

fn conclude_alerts(
    (mut outcome, elapsed): (Outcome, Duration),
    consumer: consumers::Detecting,
    common: &Common,
    fail_on_alert: bool,
) -> Result<ExitCode, Failure> {
    outcome.counters.merge(&consumer.counters());
    let code = conclude(&outcome, &consumer.kinds, Some(&consumer.budget()), elapsed, common)?;
    if let Some(error) = consumer.unkept {
        return Err(Failure::Failed(format!("what was learned could not be kept: {error}")));
    }
    let alerted = !consumer.kinds.is_empty() && fail_on_alert && outcome.errors.is_empty();
    Ok(if alerted { ExitCode::from(ALERTED) } else { code })
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
        eprintln!("{}", summary.json());
    } else if !common.quiet {
        eprintln!("{}", summary.text());
    }
    for error in &outcome.errors {
        eprintln!("apitap: {error}");
    }
    if let Some(error) = outcome.output.as_ref().filter(|error| !is_closed(error)) {
        return Err(Failure::Failed(format!("standard output: {error}")));
    }
    Ok(if outcome.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
