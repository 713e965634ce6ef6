//! Frames from an interface, through libpcap.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use ::pcap::{Active, Capture, Device, IfFlags, Precision};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::binding::{Binding, Presence};
use super::fanout::Group;
use super::{Advance, Frame, LinkType, Source, SourceError};
use crate::stats::{Counter, Counters};
use crate::time::Timestamp;

/// How interfaces are listened to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The interface to listen to, unless the command line names one.
    pub interface: Option<String>,
    /// The filter, unless the command line gives one.
    pub filter: Option<String>,
    /// Threads that read, each from a kernel buffer of its own, where the system can divide the packets of an interface
    /// among them (Linux). By default one for every three workers, rounded up: decoding is the smaller part of the work, and
    /// one reader needs not wait for others. With several, batches are gathered for 10 ms at most.
    pub readers: Option<u16>,
    /// Kernel buffer in bytes, all readers together, up to 2 GiB: what can wait while apitap is busy. It is mapped into the process, and counts
    /// as its memory as far as it was used. Packets that find it full are dropped and counted as `kernel_drops`.
    pub buffer_bytes: u32,
    /// Processors that the process runs on, by their numbers from 0; all when there are none. With several workers each
    /// thread has one for itself when there are enough (readers, workers, and one more). On a machine that does other
    /// work too, one of its own for apitap keeps the buffer from filling while it waits for its turn.
    pub cpus: Vec<u16>,
    /// Bytes of each frame that are captured; longer ones are cut off and counted as `frames_snapped`.
    pub snap_length: u32,
    /// Listen also to frames that are not addressed to this machine. Not possible on `any`, where it is ignored.
    pub promiscuous: bool,
    /// Hand over each frame as it comes rather than in batches: less delay, more work.
    pub immediate: bool,
    /// Longest time in milliseconds that the kernel gathers frames into a batch.
    pub batch_milliseconds: u16,
    /// Silence in milliseconds after which a quiet interface tells its time.
    pub idle_milliseconds: u16,
    /// Longest pause in milliseconds between two attempts to listen again to an interface that was removed. The first attempt comes
    /// after a tenth of a second, and each pause is twice as long as the one before.
    pub retry_milliseconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            interface: None,
            filter: None,
            readers: None,
            buffer_bytes: 256 << 20,
            cpus: Vec::new(),
            snap_length: 262_144,
            promiscuous: true,
            immediate: false,
            batch_milliseconds: 50,
            idle_milliseconds: 100,
            retry_milliseconds: 5_000,
        }
    }
}

/// Keeps this thread, and those that it starts from now on, on these processors.
///
/// # Errors
///
/// Why that cannot be, with what to do.
pub fn pin(cpus: &[u16]) -> Result<(), String> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let describe = |error: rustix::io::Errno| format!("cpus: the processors cannot be chosen: {error}");
    let allowed = sched_getaffinity(None).map_err(describe)?;
    let mut chosen = CpuSet::new();
    for &cpu in cpus {
        let cpu = usize::from(cpu);
        if cpu >= CpuSet::MAX_CPU || !allowed.is_set(cpu) {
            let usable: Vec<_> =
                (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).map(|cpu| cpu.to_string()).collect();
            return Err(format!("cpus: there is no processor {cpu} here; name some of {}", usable.join(",")));
        }
        chosen.set(cpu);
    }
    sched_setaffinity(None, &chosen).map_err(describe)
}

/// An interface that can be listened to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// What to call it; `any` stands for all.
    pub name: String,
    /// What the system says of it.
    pub description: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// It is up.
    pub up: bool,
    /// It is running: there is a carrier.
    pub running: bool,
    /// It is the loopback interface.
    pub loopback: bool,
    /// It is wireless.
    pub wireless: bool,
}

/// The interfaces that can be listened to, in the order of libpcap: the likeliest first.
///
/// # Errors
///
/// When the system does not list them.
pub fn interfaces() -> Result<Vec<Interface>, SourceError> {
    let devices = Device::list().map_err(|error| explain("interfaces", &error))?;
    let describe = |device: Device| Interface {
        name: device.name,
        description: device.desc,
        addresses: device.addresses.iter().map(|address| address.addr).collect(),
        up: device.flags.contains(IfFlags::UP),
        running: device.flags.contains(IfFlags::RUNNING),
        loopback: device.flags.contains(IfFlags::LOOPBACK),
        wireless: device.flags.contains(IfFlags::WIRELESS),
    };
    Ok(devices.into_iter().map(describe).collect())
}

/// A running capture on an interface.
///
/// libpcap lends a packet only until the next call, which the borrow of `frame` cannot express together with the call
/// that fetched it; so each frame is copied once, into a buffer that is used again. At a live interface's pace that is
/// no cost that shows.
pub struct Live {
    name: String,
    capture: Capture<Active>,
    nanoseconds: bool,
    link: LinkType,
    time: Timestamp,
    original_length: u32,
    data: Vec<u8>,
    /// Earlier frames are from before the capture began.
    begin: Timestamp,
    stop: Arc<AtomicBool>,
    state: State,
    /// The interface, when it is one that can go down or away.
    binding: Option<Binding>,
    outage: Option<Outage>,
    /// Outages so far.
    outages: u64,
    retry: Duration,
    /// Of several readers the first one tells of an outage.
    speaks: bool,
    /// Set when the interface can be listened to no more by this process.
    lost: Arc<AtomicBool>,
    idle: Duration,
    /// How long the kernel may keep a frame that it has stamped.
    held_back: Duration,
    buffer_bytes: u64,
    kernel_drops: Total,
    interface_drops: Total,
}

/// Where a capture is in its life.
#[derive(Clone, Copy)]
enum State {
    Running,
    /// Asked to stop at this time; what was captured before it is still read.
    Stopping(Timestamp),
    Ended,
}

/// The first pause before an attempt to listen again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A time in which an interface was down or away.
struct Outage {
    since: Instant,
    /// It was removed: down is what comes up again by itself.
    gone: bool,
    /// Before the next attempt, and how long to wait after that one.
    next: Instant,
    pause: Duration,
}

/// A count that libpcap keeps in 32 bits, without the wrapping.
#[derive(Default)]
struct Total {
    last: u32,
    sum: u64,
}

impl Total {
    fn update(&mut self, now: u32) -> u64 {
        let step = now.wrapping_sub(self.last);
        // What goes back is the count of an interface that was made anew.
        if step < 1 << 31 {
            self.sum += u64::from(step);
        }
        self.last = now;
        self.sum
    }
}

impl Live {
    /// Starts to listen on `interface`, which may be `any`, to the frames that the BPF `filter` accepts.
    ///
    /// Once `stop` is true, the source gives what was captured up to then and ends.
    ///
    /// # Errors
    ///
    /// When the right to capture, the interface or the filter is missing or wrong; the reason says what to do.
    pub fn open(
        interface: &str,
        filter: Option<&str>,
        settings: &Settings,
        stop: Arc<AtomicBool>,
    ) -> Result<Live, SourceError> {
        let failure = |error: ::pcap::Error| explain(interface, &error);
        let clamp = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let nanoseconds = has_nanoseconds(interface);
        let capture = Capture::from_device(interface).map_err(failure)?;
        let mut capture = capture
            // With warnings taken for errors by the binding, what `any` cannot do must not be asked of it.
            .promisc(settings.promiscuous && interface != ANY)
            .immediate_mode(settings.immediate)
            .timeout(i32::from(settings.batch_milliseconds.max(1)))
            .buffer_size(clamp(settings.buffer_bytes))
            .snaplen(clamp(settings.snap_length))
            .precision(if nanoseconds { Precision::Nano } else { Precision::Micro })
            .open()
            .map_err(failure)?;
        if let Some(filter) = filter {
            capture.filter(filter, true).map_err(|error| {
                let reason = format!("the filter {filter:?} is wrong: {}", text_of(&error));
                SourceError { name: interface.to_owned(), offset: None, reason }
            })?;
        }
        let link = link_type(capture.get_datalink().0);
        // libpcap's own time-out begins with the first packet and so never ends on a quiet interface: wait by poll.
        let capture = capture.setnonblock().map_err(failure)?;
        let binding = Binding::of(&capture, interface, settings.promiscuous && interface != ANY);
        Ok(Live {
            name: interface.to_owned(),
            capture,
            nanoseconds,
            link,
            time: Timestamp::ZERO,
            original_length: 0,
            data: Vec::new(),
            begin: Timestamp::ZERO,
            stop,
            state: State::Running,
            binding,
            outage: None,
            outages: 0,
            retry: Duration::from_millis(settings.retry_milliseconds.into()).max(FIRST_PAUSE),
            speaks: true,
            lost: Arc::default(),
            idle: Duration::from_millis(settings.idle_milliseconds.max(1).into()),
            held_back: Duration::from_millis(settings.batch_milliseconds.max(1).into()) * 2,
            buffer_bytes: settings.buffer_bytes.into(),
            kernel_drops: Total::default(),
            interface_drops: Total::default(),
        })
    }

    /// Starts as many readers of an interface as the settings say (one unless they do), among whom the system divides the
    /// frames. Where it cannot, there is one reader, and a sentence that says why.
    ///
    /// # Errors
    ///
    /// As [`Live::open`].
    pub fn open_several(
        interface: &str,
        filter: Option<&str>,
        settings: &Settings,
        stop: &Arc<AtomicBool>,
    ) -> Result<(Vec<Live>, Option<String>), SourceError> {
        let readers = u32::from(settings.readers.unwrap_or(1).max(1));
        if readers == 1 {
            return Ok((vec![Live::open(interface, filter, settings, stop.clone())?], None));
        }
        let each = Settings {
            buffer_bytes: settings.buffer_bytes / readers,
            // Workers wait for the slowest reader to say how far its time has come.
            batch_milliseconds: settings.batch_milliseconds.min(SEVERAL_MILLISECONDS),
            idle_milliseconds: settings.idle_milliseconds.min(2 * SEVERAL_MILLISECONDS),
            ..settings.clone()
        };
        let open = || Live::open(interface, filter, &each, stop.clone());
        let first = open()?;
        let mut all = vec![first];
        let group = match Group::found(&all[0].capture) {
            Ok(group) => group,
            Err(error) => {
                drop(all);
                let note =
                    format!("{interface}: its packets cannot be divided among {readers} readers ({error}): one reads");
                return Ok((vec![Live::open(interface, filter, settings, stop.clone())?], Some(note)));
            }
        };
        for _ in 1..readers {
            let live = open()?;
            group.join(&live.capture).map_err(|error| {
                let reason = format!("a reader more cannot join the others: {error}");
                SourceError { name: interface.to_owned(), offset: None, reason }
            })?;
            all.push(live);
        }
        // What came to a socket before it joined came to the group as well.
        let begin = now();
        let lost: Arc<AtomicBool> = Arc::default();
        for (number, live) in all.iter_mut().enumerate() {
            (live.begin, live.speaks, live.lost) = (begin, number == 0, lost.clone());
        }
        Ok((all, None))
    }

    /// True once the source has ended because its interface was removed and this process can listen to no other.
    pub fn lost(&self) -> Arc<AtomicBool> {
        self.lost.clone()
    }

    /// Fetches a packet into the buffer; false when there is none now.
    fn fetch(&mut self) -> Result<bool, ::pcap::Error> {
        let packet = match self.capture.next_packet() {
            Ok(packet) => packet,
            Err(::pcap::Error::TimeoutExpired) => return Ok(false),
            // What reads netfilter's logs says so when there is nothing to read.
            Err(::pcap::Error::PcapError(text)) if text.contains(NOTHING_THERE) => return Ok(false),
            Err(error) => return Err(error),
        };
        let unit = if self.nanoseconds { 1 } else { 1000 };
        let seconds = u64::try_from(packet.header.ts.tv_sec).unwrap_or(0);
        let fraction = u64::try_from(packet.header.ts.tv_usec).unwrap_or(0);
        self.time = Timestamp::from_parts(seconds, fraction * unit);
        self.data.clear();
        self.data.extend_from_slice(packet.data);
        self.original_length = packet.header.len.max(packet.header.caplen);
        Ok(true)
    }

    /// Waits for packets; false when none came in time.
    fn wait(&mut self) -> bool {
        let wait = if matches!(self.state, State::Running) { self.idle } else { self.held_back };
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let mut descriptors = [PollFd::new(&self.capture, PollFlags::IN)];
        // An interrupted or failed wait is no silence: the next read tells what is the matter.
        let ready = poll(&mut descriptors, Some(&timeout)).map_or(true, |ready| ready > 0);
        let [descriptor] = &descriptors;
        // The socket says so once when its interface goes down, however soon it comes up again.
        if descriptor.revents().contains(PollFlags::ERR) && self.binding.is_some() && self.outage.is_none() {
            self.begin_outage(false);
        }
        ready
    }

    /// How it stands with the interface.
    fn presence(&self) -> Presence {
        self.binding.as_ref().map_or(Presence::Up, |binding| binding.presence(&self.capture))
    }

    fn begin_outage(&mut self, gone: bool) {
        let since = Instant::now();
        self.outages += 1;
        self.outage = Some(Outage { since, gone, next: since + FIRST_PAUSE, pause: FIRST_PAUSE });
        if self.speaks && !gone {
            tracing::warn!("interface {} went down: nothing is seen until it is up again", self.name);
        } else if self.speaks {
            tracing::warn!("interface {} was removed: nothing is seen until there is one of that name", self.name);
        }
    }

    /// Looks how it stands with the interface, and listens again as soon as that can be.
    ///
    /// # Errors
    ///
    /// When it was removed, and the socket cannot be bound to another.
    fn look_after(&mut self) -> Result<(), SourceError> {
        let presence = self.presence();
        match (&mut self.outage, presence) {
            (None, Presence::Up) => {}
            (None, Presence::Down) => self.begin_outage(false),
            (None, Presence::Gone) => self.begin_outage(true),
            (Some(_), Presence::Up) => {
                if let Some(outage) = self.outage.take().filter(|_| self.speaks) {
                    let seconds = outage.since.elapsed().as_secs_f64();
                    tracing::info!("interface {} is up again after {seconds:.1} seconds", self.name);
                }
            }
            (Some(_), Presence::Down) => {}
            (Some(outage), Presence::Gone) => {
                if !std::mem::replace(&mut outage.gone, true) && self.speaks {
                    tracing::warn!("interface {} was removed: waiting for one of that name", self.name);
                }
                let now = Instant::now();
                if now < outage.next {
                    return Ok(());
                }
                outage.pause = (outage.pause * 2).min(self.retry);
                outage.next = now + outage.pause;
                return self.renew();
            }
        }
        Ok(())
    }

    fn renew(&mut self) -> Result<(), SourceError> {
        let Some(binding) = &self.binding else { return Ok(()) };
        match binding.renew(&self.capture) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            // Removed again meanwhile.
            Err(error) if [Some(libc::ENODEV), Some(libc::ENXIO)].contains(&error.raw_os_error()) => Ok(()),
            Err(error) => {
                self.lost.store(true, Ordering::Relaxed);
                let why = match error.raw_os_error() {
                    Some(libc::EINVAL) => "several readers share its packets".to_owned(),
                    _ => error.to_string(),
                };
                let reason = format!(
                    "the interface was removed and made anew, and cannot be listened to again without the rights that were given up ({why}): \
                     start apitap again"
                );
                Err(SourceError { name: self.name.clone(), offset: None, reason })
            }
        }
    }

    /// Whether an error of libpcap is that the interface is down or away, which ends nothing.
    fn is_outage(&mut self, error: &::pcap::Error) -> bool {
        let presence = self.presence();
        let down = self.binding.is_some() && (presence != Presence::Up || text_of(error).contains(WENT_DOWN));
        if down && self.outage.is_none() {
            self.begin_outage(presence == Presence::Gone);
        }
        down
    }

    /// The system's time, before which nothing can come any more. Packets stamped before this moment may still be gathered into a
    /// batch, so it lies that much earlier.
    fn clock(&self) -> Timestamp {
        let now = now();
        let told = now - self.held_back;
        // What is later than now was stamped before the clock was set back.
        if self.time <= now { told.max(self.time) } else { told }
    }

    /// Ends with an error, which one of several readers tells.
    fn fail(&mut self, error: SourceError) -> Result<Advance, SourceError> {
        let end = self.end();
        if self.speaks { Err(error) } else { Ok(end) }
    }

    fn end(&mut self) -> Advance {
        self.state = State::Ended;
        self.data.clear();
        self.original_length = 0;
        Advance::End
    }
}

impl Source for Live {
    fn advance(&mut self) -> Result<Advance, SourceError> {
        loop {
            match self.state {
                State::Ended => return Ok(Advance::End),
                State::Running if self.stop.load(Ordering::Relaxed) => self.state = State::Stopping(now()),
                _ => {}
            }
            match self.fetch() {
                Ok(true) => match self.state {
                    State::Stopping(moment) if self.time > moment => return Ok(self.end()),
                    _ if self.time < self.begin => continue,
                    _ => {
                        self.begin = Timestamp::ZERO; // a clock that is set back later hides nothing
                        return Ok(Advance::Frame);
                    }
                },
                Ok(false) => {}
                Err(error) if self.is_outage(&error) => {}
                Err(error) => return self.fail(explain(&self.name, &error)),
            }
            if self.outage.is_some() || !self.wait() {
                if matches!(self.state, State::Stopping(_)) {
                    return Ok(self.end());
                }
                if let Err(error) = self.look_after() {
                    return self.fail(error);
                }
                if self.outage.is_some() {
                    std::thread::sleep(self.idle);
                }
                self.begin = Timestamp::ZERO;
                // Of a quiet interface the only clock is the one that stamps its packets, which is the system's: the
                // one place where apitap looks at it.
                return Ok(Advance::Idle(self.clock()));
            }
        }
    }

    fn frame(&self) -> Frame<'_> {
        Frame { time: self.time, link: self.link, data: &self.data, original_length: self.original_length }
    }

    fn report(&mut self, counters: &mut Counters) {
        // When the interface is gone the last counts stand.
        if let Ok(counts) = self.capture.stats() {
            self.kernel_drops.update(counts.dropped);
            self.interface_drops.update(counts.if_dropped);
        }
        counters.set(Counter::Readers, 1);
        counters.set(Counter::KernelBufferBytes, self.buffer_bytes);
        counters.set(Counter::KernelDrops, self.kernel_drops.sum);
        counters.set(Counter::InterfaceDrops, self.interface_drops.sum);
        if self.speaks {
            counters.set(Counter::InterfaceOutages, self.outages);
            counters.set(Counter::InterfacesDown, self.outage.is_some().into());
        }
    }
}

/// Longest batches with several readers, in milliseconds; longest silences are twice as long. Shorter ones cost a quiet
/// sensor more, longer ones the workers' queues.
const SEVERAL_MILLISECONDS: u16 = 10;

/// libpcap's name for all interfaces together.
const ANY: &str = "any";

/// What libpcap says before version 1.10 when an interface goes down; later ones go on by themselves.
const WENT_DOWN: &str = "went down";

/// What the system calls it when there is nothing to read (`EAGAIN`).
const NOTHING_THERE: &str = "temporarily unavailable";

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_parts(since.as_secs(), since.subsec_nanos().into())
}

/// True when libpcap stamps in nanoseconds if asked to. The binding does not tell whether it does; on Linux it does
/// for network interfaces, and may not for its other devices (USB, Bluetooth, netfilter logs).
fn has_nanoseconds(interface: &str) -> bool {
    cfg!(target_os = "linux")
        && (interface == ANY || std::path::Path::new("/sys/class/net").join(interface).join("ifindex").exists())
}

/// The registered number of a link type. libpcap counts a few otherwise on a running capture than in a file.
fn link_type(datalink: i32) -> LinkType {
    match datalink {
        12 | 14 => LinkType(101), // raw IP
        other => LinkType(other as u16),
    }
}

fn text_of(error: &::pcap::Error) -> String {
    match error {
        ::pcap::Error::PcapError(text) => text.trim_end().to_owned(),
        other => other.to_string(),
    }
}

fn explain(interface: &str, error: &::pcap::Error) -> SourceError {
    let text = text_of(error);
    let lower = text.to_lowercase();
    let reason = if lower.contains("permission") || lower.contains("not permitted") {
        format!(
            "no right to capture ({text}): run as root, or give the program the right once with \
             `sudo setcap cap_net_raw,cap_net_admin=eip PATH_OF_APITAP`"
        )
    } else if lower.contains("no such device") || lower.contains("doesn't exist") {
        format!("there is no such interface ({text}): `apitap interfaces` lists them")
    } else if lower.contains("is not up") {
        format!("the interface is down ({text}): bring it up with `ip link set {interface} up`")
    } else {
        text
    };
    SourceError { name: interface.to_owned(), offset: None, reason }
}
