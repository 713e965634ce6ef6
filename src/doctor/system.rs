//! What the process may do, whether the clock is right, and how it can be confined.

use std::io;
use std::process::{Command, Stdio};

use rustix::thread::CapabilitySet;

use super::Check;
use crate::confinement;

/// Whether packets may be captured. That it really works is shown by opening the interface.
pub(super) fn privileges(tell: &mut dyn FnMut(Check)) {
    let root = rustix::process::geteuid().is_root();
    let held = rustix::thread::capabilities(None).map(|sets| sets.effective).unwrap_or(CapabilitySet::empty());
    tell(judge_privileges(root, held, file_capabilities()));
}

/// Whether the program's file has capabilities.
fn file_capabilities() -> bool {
    let Ok(program) = std::env::current_exe() else { return false };
    let mut value = [0_u8; 64];
    rustix::fs::getxattr(&program, "security.capability", &mut value[..]).is_ok_and(|length| length > 0)
}

fn judge_privileges(root: bool, held: CapabilitySet, by_file: bool) -> Check {
    let words = [(CapabilitySet::NET_RAW, "CAP_NET_RAW"), (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN")];
    let names: Vec<_> = words.iter().filter(|(one, _)| held.contains(*one)).map(|&(_, name)| name).collect();
    let whose = match (root, by_file) {
        (true, _) => "root",
        (false, true) => "by file capabilities",
        (false, false) => "an ordinary user",
    };
    if held.contains(CapabilitySet::NET_RAW) {
        return Check::ok("privileges", format!("{whose}, with {}", names.join(" and ")));
    }
    let advice = match root {
        true => "the container or the service takes CAP_NET_RAW away: add it there",
        false if by_file => {
            "the file system or a service's NoNewPrivileges keeps file capabilities from counting: start it otherwise"
        }
        false => "run as root, or once: sudo setcap cap_net_raw+ep $(command -v apitap)",
    };
    Check::failed("privileges", format!("{whose}, without CAP_NET_RAW"), advice)
}

/// What a program that knows says of the clock.
#[derive(Debug, PartialEq, Eq)]
enum Clock {
    Synchronised(&'static str),
    Free(&'static str),
    Unknown,
}

/// Whether the clock is synchronised: alerts are compared with the logs of other machines by their times.
pub(super) fn clock(tell: &mut dyn FnMut(Check)) {
    let by_systemd = output("timedatectl", &["show", "--property=NTPSynchronized", "--value"]);
    let by_chrony = || output("chronyc", &["-n", "tracking"]);
    let clock = match by_systemd.as_deref().map_or(Clock::Unknown, by_timedatectl) {
        // Of an unsynchronised clock systemd may not know that another program keeps it.
        Clock::Unknown => by_chrony().as_deref().map_or(Clock::Unknown, by_chronyc),
        known => known,
    };
    tell(judge_clock(&clock));
}

/// What a program prints, if it is there and ends well.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output: io::Result<_> =
        Command::new(program).args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = output.ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

fn by_timedatectl(text: &str) -> Clock {
    match text.trim() {
        "yes" => Clock::Synchronised("timedatectl"),
        "no" => Clock::Free("timedatectl"),
        _ => Clock::Unknown,
    }
}

fn by_chronyc(text: &str) -> Clock {
    let leap = text.lines().find_map(|line| line.strip_prefix("Leap status")?.split_once(':').map(|(_, value)| value));
    match leap.map(str::trim) {
        Some("Not synchronised") => Clock::Free("chronyc"),
        Some(_) => Clock::Synchronised("chronyc"),
        None => Clock::Unknown,
    }
}

fn judge_clock(clock: &Clock) -> Check {
    match clock {
        Clock::Synchronised(who) => Check::ok("clock", format!("synchronised, says {who}")),
        Clock::Free(who) => Check::warning(
            "clock",
            format!("not synchronised, says {who}"),
            "alerts carry its time: run systemd-timesyncd, chrony or ntpsec",
        ),
        Clock::Unknown => Check::warning(
            "clock",
            "neither timedatectl nor chronyc tells whether it is synchronised",
            "in a container, see to it on the machine itself",
        ),
    }
}

/// What of the confinement the kernel offers.
pub(super) fn confinement(settings: &confinement::Settings, tell: &mut dyn FnMut(Check)) {
    const CHECK: &str = "confinement";
    if !settings.enabled {
        let advice = "take `enabled = false` out of table [confinement]";
        return tell(Check::warning(CHECK, "switched off: it keeps what it was started with", advice));
    }
    tell(match confinement::offered(settings) {
        Err(error) => Check::failed(CHECK, error.to_string(), "correct table [confinement]"),
        Ok(offered) if offered.lacks.is_empty() => Check::ok(CHECK, offered.holds.join(", ")),
        Ok(offered) => Check::warning(
            CHECK,
            format!("{}; this kernel lacks: {}", offered.holds.join(", "), offered.lacks.join(", ")),
            "it runs with less; a newer kernel, or one with Landlock in its list `lsm=`, offers more",
        ),
    });
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn who_may_capture() {
        let judged = |root, held, by_file| judge_privileges(root, held, by_file).verdict;
        assert_eq!(judged(true, CapabilitySet::all(), false), Verdict::Ok);
        assert_eq!(judged(false, CapabilitySet::NET_RAW, true), Verdict::Ok);
        assert_eq!(judged(false, CapabilitySet::NET_ADMIN, true), Verdict::Failed);
        assert_eq!(judged(true, CapabilitySet::empty(), false), Verdict::Failed, "root of a container");
        let check = judge_privileges(false, CapabilitySet::empty(), false);
        assert!(check.advice.expect("what to do").contains("setcap"));
    }

    #[test]
    fn what_keepers_of_the_clock_say() {
        assert_eq!(by_timedatectl("yes\n"), Clock::Synchronised("timedatectl"));
        assert_eq!(by_timedatectl("no\n"), Clock::Free("timedatectl"));
        assert_eq!(by_timedatectl(""), Clock::Unknown);
        assert_eq!(by_chronyc("Stratum         : 3\nLeap status     : Normal\n"), Clock::Synchronised("chronyc"));
        assert_eq!(by_chronyc("Leap status     : Not synchronised\n"), Clock::Free("chronyc"));
        assert_eq!(judge_clock(&Clock::Unknown).verdict, Verdict::Warning);
        assert_eq!(output("no-such-program-here", &[]), None);
    }
}
