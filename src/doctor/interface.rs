//! The interface: whether it is there and up, can be captured with the buffer that was asked for, and what comes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::{Check, Subject, bytes};
use crate::source::live::{self, Interface, Live};
use crate::source::{Advance, Source};

/// libpcap's name for all interfaces together.
pub(super) const ANY: &str = "any";

/// What Ethernet puts around the MTU: addresses, type, two tags.
const LINK_BYTES: u32 = 14 + 2 * 4;

/// Looks at it; no further when it is not there or cannot be captured.
pub(super) fn examine(name: &str, subject: &Subject<'_>, tell: &mut dyn FnMut(Check)) {
    let found = match live::interfaces() {
        Ok(all) => all.into_iter().find(|interface| interface.name == name),
        Err(error) => {
            return tell(Check::failed("interface", error.to_string(), "see what the system says").of(name));
        }
    };
    let Some(found) = found else {
        let advice = "name another one; `apitap interfaces` lists them";
        return tell(Check::failed("interface", "there is none of that name", advice).of(name));
    };
    tell(state(&found).of(name));
    let settings = &subject.settings.source.live;
    let before = mapped_sockets();
    let mut live = match Live::open(name, subject.filter, settings, Arc::new(AtomicBool::new(false))) {
        Ok(live) => live,
        Err(error) => {
            return tell(Check::failed("capture", error.reason, "without it nothing is heard").of(name));
        }
    };
    let mode = match (settings.promiscuous, name == ANY) {
        (true, false) => "promiscuous",
        _ => "not promiscuous",
    };
    tell(Check::ok("capture", format!("it opens, {mode}")).of(name));
    tell(buffer(settings.buffer_bytes.into(), mapped_sockets().saturating_sub(before)).of(name));
    if !subject.listen.is_zero() {
        let mtu = std::fs::read_to_string(Path::new("/sys/class/net").join(name).join("mtu"));
        let mtu = mtu.ok().and_then(|text| text.trim().parse().ok());
        tell(traffic(&heard(&mut live, subject.listen), subject, mtu).of(name));
    }
}

fn state(interface: &Interface) -> Check {
    let name = &interface.name;
    match (interface.up, interface.running) {
        _ if name == ANY => Check::ok("interface", "all interfaces together, none of them promiscuous"),
        (false, _) => Check::failed("interface", "it is down", format!("ip link set {name} up")),
        (true, false) => {
            Check::warning("interface", "it is up without a carrier", "look at the cable and the port at the other end")
        }
        (true, true) => Check::ok("interface", "it is up"),
    }
}

/// Bytes of sockets that are mapped into this process: the rings of captures. libpcap takes a smaller one when the kernel has no room for
/// the one that was asked for, and does not say so.
fn mapped_sockets() -> u64 {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(mapped_socket).sum()
}

/// The size of a mapping that is one of a socket: `7f…-7f… rw-s 00000000 00:08 1234   socket:[1234]`.
fn mapped_socket(line: &str) -> Option<u64> {
    if !line.ends_with(']') || !line.contains(" socket:[") {
        return None;
    }
    let (from, to) = line.split_whitespace().next()?.split_once('-')?;
    u64::from_str_radix(to, 16).ok()?.checked_sub(u64::from_str_radix(from, 16).ok()?)
}

fn buffer(asked: u64, mapped: u64) -> Check {
    match mapped {
        0 => Check::warning(
            "buffer",
            format!("{} were asked for; how much the kernel gave cannot be seen here", bytes(asked)),
            "watch `kernel_drops` in the summary or the metrics",
        ),
        // Rounded to whole blocks.
        mapped if mapped.saturating_mul(10) >= asked.saturating_mul(9) => {
            Check::ok("buffer", format!("{} of the kernel", bytes(mapped)))
        }
        mapped => Check::warning(
            "buffer",
            format!("the kernel gave {} of {}", bytes(mapped), bytes(asked)),
            "free memory, or ask for less (--buffer, `buffer_bytes` of table [source.live])",
        ),
    }
}

/// What came while it was listened.
#[derive(Debug, Default)]
struct Heard {
    seconds: f64,
    frames: u64,
    /// Length of the longest on the wire.
    longest: u32,
    /// How many were cut off.
    cut: u64,
    trouble: Option<String>,
}

fn heard(live: &mut Live, listen: Duration) -> Heard {
    let begin = Instant::now();
    let mut heard = Heard::default();
    while begin.elapsed() < listen {
        match live.advance() {
            Ok(Advance::Frame) => {
                let frame = live.frame();
                heard.frames += 1;
                heard.longest = heard.longest.max(frame.original_length);
                heard.cut += u64::from(frame.original_length as usize > frame.data.len());
            }
            Ok(Advance::End) => break,
            Ok(_) => {}
            Err(error) => {
                heard.trouble = Some(error.reason);
                break;
            }
        }
    }
    heard.seconds = begin.elapsed().as_secs_f64();
    heard
}

fn traffic(heard: &Heard, subject: &Subject<'_>, mtu: Option<u32>) -> Check {
    if let Some(trouble) = &heard.trouble {
        return Check::failed("traffic", trouble.clone(), "look at the interface");
    }
    if heard.frames == 0 {
        let advice = match subject.filter {
            Some(_) => "look whether the mirror is on and whether the filter lets its packets through",
            None => "look whether the mirror is on",
        };
        return Check::warning("traffic", format!("no packet in {:.0} seconds", heard.seconds), advice);
    }
    let beyond = mtu.filter(|&mtu| heard.longest > mtu.saturating_add(LINK_BYTES));
    let sizes = match beyond {
        Some(mtu) => format!("up to {} bytes, beyond the MTU of {mtu}: merged by the system (GRO, LRO)", heard.longest),
        None => format!("up to {} bytes", heard.longest),
    };
    let found = format!("{} packets in {:.0} seconds, {sizes}", heard.frames, heard.seconds);
    if heard.cut > 0 {
        let advice = format!(
            "set --snap-length (`snap_length` of table [source.live]) to {} at least: what is cut off is not read",
            heard.longest
        );
        return Check::warning("traffic", format!("{found}; {} of them were cut off", heard.cut), advice);
    }
    Check::ok("traffic", found)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn rings_are_seen_in_the_map_of_memory() {
        let line = "7f0000000000-7f0010000000 rw-s 00000000 00:08 5012                       socket:[5012]";
        assert_eq!(mapped_socket(line), Some(256 << 20));
        assert_eq!(mapped_socket("7f0000000000-7f0010000000 r-xp 00000000 fe:00 5012   /usr/bin/apitap"), None);
        assert_eq!(mapped_socket("socket:[1] socket:[2]"), None);
        assert_eq!(buffer(256 << 20, 256 << 20).verdict, Verdict::Ok);
        assert_eq!(buffer(256 << 20, 64 << 20).verdict, Verdict::Warning);
        assert_eq!(buffer(256 << 20, 0).verdict, Verdict::Warning);
    }

    #[test]
    fn what_comes_is_judged() {
        let settings = Settings::default();
        let subject = Subject {
            settings: &settings,
            interface: Some("eth1"),
            filter: None,
            state: std::env::temp_dir(),
            listen: Duration::from_secs(2),
        };
        let judged = |heard: Heard| traffic(&heard, &subject, Some(1500));
        assert_eq!(judged(Heard::default()).verdict, Verdict::Warning, "silence");
        let usual = Heard { frames: 10, longest: 1518, seconds: 2.0, ..Heard::default() };
        let check = judged(usual);
        assert_eq!((check.verdict, check.found.as_str()), (Verdict::Ok, "10 packets in 2 seconds, up to 1518 bytes"));
        let merged = judged(Heard { frames: 10, longest: 65_000, ..Heard::default() });
        assert_eq!(merged.verdict, Verdict::Ok);
        assert!(merged.found.contains("beyond the MTU of 1500"), "{merged}");
        let cut = judged(Heard { frames: 10, longest: 65_000, cut: 3, ..Heard::default() });
        assert_eq!(cut.verdict, Verdict::Warning);
        let advice = cut.advice.expect("what to do");
        assert!(advice.contains("65000"), "{advice}");
        assert_eq!(judged(Heard { trouble: Some("gone".into()), ..Heard::default() }).verdict, Verdict::Failed);
    }

    #[test]
    fn interfaces_that_are_down_or_not_there() {
        let interface = |up, running| Interface {
            name: "eth1".into(),
            description: None,
            addresses: Vec::new(),
            up,
            running,
            loopback: false,
            wireless: false,
        };
        assert_eq!(state(&interface(true, true)).verdict, Verdict::Ok);
        assert_eq!(state(&interface(true, false)).verdict, Verdict::Warning);
        assert_eq!(state(&interface(false, false)).advice.as_deref(), Some("ip link set eth1 up"));
    }
}
