//! Loads that no file need hold: captures made while the program reads them, and what the run cost it.

#![allow(dead_code, unreachable_pub, reason = "each test crate includes it as a module and uses a part of it")]

use std::io::{self, BufWriter, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{ChildStdin, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::support::{Folder, Run};

/// Where all honest clients are: 10.2.0.0/24.
pub const HONEST: u32 = 0x0a02_0000;

/// How many honest clients there are.
pub const PEOPLE: u32 = 40;

/// The service.
pub const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 1), 8080);

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const ACK: u8 = 16;

/// Payload of the largest segments.
const SEGMENT: usize = 1_400;

/// A capture on its way to the program, from 2026-03-02T14:00:00Z on.
pub struct Wire<W> {
    out: W,
    /// Microseconds since the beginning.
    now: u64,
    identification: u16,
    frame: Vec<u8>,
    people: StdRng,
    /// When the next of them makes a call.
    next_call: u64,
    /// Calls of honest clients so far.
    pub honest: u64,
}

/// One end's view of a connection: what either has sent, the client first.
#[derive(Clone, Copy)]
pub struct Talk {
    ends: [SocketAddrV4; 2],
    sent: [u32; 2],
}

pub const CLIENT: usize = 0;
pub const SERVICE: usize = 1;

impl Talk {
    /// One that was under way before the capture.
    pub fn midstream(client: SocketAddrV4, server: SocketAddrV4) -> Talk {
        Talk { ends: [client, server], sent: [1_000, 2_000] }
    }
}

impl<W: Write> Wire<W> {
    pub fn new(mut out: W) -> io::Result<Wire<W>> {
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 262_144, 1] {
            out.write_all(&word.to_le_bytes())?;
        }
        let people = StdRng::seed_from_u64(3);
        Ok(Wire { out, now: 0, identification: 0, frame: Vec::new(), people, next_call: 0, honest: 0 })
    }

    /// Lets microseconds go by.
    pub fn wait(&mut self, micros: u64) {
        self.now += micros;
    }

    /// A frame as it is.
    pub fn frame(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (second, micros) = (1_772_460_000 + self.now / 1_000_000, self.now % 1_000_000);
        for word in [second as u32, micros as u32, bytes.len() as u32, bytes.len() as u32] {
            self.out.write_all(&word.to_le_bytes())?;
        }
        self.out.write_all(bytes)
    }

    /// An IPv4 packet in Ethernet, with these bytes between the addresses of the cards and IP (tags, a tunnel); `fragment` is
    /// the field of flags and offset.
    pub fn packet(
        &mut self,
        around: &[u8],
        [from, to]: [Ipv4Addr; 2],
        protocol: u8,
        fragment: u16,
        payload: &[&[u8]],
    ) -> io::Result<()> {
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        frame.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        frame.extend(around);
        frame.extend([8, 0]);
        let length = 20 + payload.iter().map(|part| part.len()).sum::<usize>();
        frame.extend([0x45, 0]);
        frame.extend((length as u16).to_be_bytes());
        self.identification = self.identification.wrapping_add(1);
        frame.extend(self.identification.to_be_bytes());
        frame.extend(fragment.to_be_bytes());
        frame.extend([64, protocol, 0, 0]);
        frame.extend(from.octets());
        frame.extend(to.octets());
        payload.iter().for_each(|part| frame.extend(*part));
        let written = self.frame(&frame);
        self.frame = frame;
        written
    }

    /// A segment.
    pub fn segment(
        &mut self,
        around: &[u8],
        [from, to]: [SocketAddrV4; 2],
        [sequence, acknowledgment]: [u32; 2],
        flags: u8,
        payload: &[u8],
    ) -> io::Result<()> {
        let mut header = [0; 20];
        header[..2].copy_from_slice(&from.port().to_be_bytes());
        header[2..4].copy_from_slice(&to.port().to_be_bytes());
        header[4..8].copy_from_slice(&sequence.to_be_bytes());
        header[8..12].copy_from_slice(&acknowledgment.to_be_bytes());
        header[12..16].copy_from_slice(&[0x50, flags, 0xfa, 0]);
        self.packet(around, [*from.ip(), *to.ip()], 6, 0, &[&header, payload])
    }

    fn speak(&mut self, talk: &Talk, from: usize, flags: u8, payload: &[u8]) -> io::Result<()> {
        let ends = [talk.ends[from], talk.ends[1 - from]];
        self.segment(&[], ends, [talk.sent[from], talk.sent[1 - from]], flags, payload)
    }

    /// A handshake.
    pub fn open(&mut self, client: SocketAddrV4, server: SocketAddrV4) -> io::Result<Talk> {
        let mut talk = Talk { ends: [client, server], sent: [self.now as u32, !(self.now as u32)] };
        self.segment(&[], [client, server], [talk.sent[CLIENT], 0], SYN, &[])?;
        talk.sent[CLIENT] = talk.sent[CLIENT].wrapping_add(1);
        self.speak(&talk, SERVICE, SYN | ACK, &[])?;
        talk.sent[SERVICE] = talk.sent[SERVICE].wrapping_add(1);
        self.speak(&talk, CLIENT, ACK, &[])?;
        Ok(talk)
    }

    /// Bytes of one end, in segments of at most `size`, acknowledged each thirty of them.
    pub fn say_in(&mut self, talk: &mut Talk, from: usize, payload: &[u8], size: usize) -> io::Result<()> {
        for (number, part) in payload.chunks(size).enumerate() {
            self.speak(talk, from, ACK, part)?;
            talk.sent[from] = talk.sent[from].wrapping_add(part.len() as u32);
            if number % 30 == 29 {
                self.speak(talk, 1 - from, ACK, &[])?;
            }
        }
        self.speak(talk, 1 - from, ACK, &[])
    }

    /// The same in the largest segments.
    pub fn say(&mut self, talk: &mut Talk, from: usize, payload: &[u8]) -> io::Result<()> {
        self.say_in(talk, from, payload, SEGMENT)
    }

    /// Both ends close.
    pub fn close(&mut self, talk: &mut Talk) -> io::Result<()> {
        for from in [SERVICE, CLIENT] {
            self.speak(talk, from, FIN | ACK, &[])?;
            talk.sent[from] = talk.sent[from].wrapping_add(1);
        }
        self.speak(talk, SERVICE, ACK, &[])
    }

    /// A call on a connection of its own.
    pub fn call(&mut self, client: SocketAddrV4, request: &[u8], response: &[u8]) -> io::Result<()> {
        let mut talk = self.open(client, SERVER)?;
        self.say(&mut talk, CLIENT, request)?;
        self.say(&mut talk, SERVICE, response)?;
        self.close(&mut talk)
    }

    /// The calls that the people who use the service make until now, five a second.
    pub fn honest_calls(&mut self) -> io::Result<()> {
        while self.next_call <= self.now {
            self.next_call += 200_000;
            self.honest_call()?;
        }
        Ok(())
    }

    /// One of the people who use the service makes a call.
    pub fn honest_call(&mut self) -> io::Result<()> {
        const PATHS: [&str; 6] = ["/v1/orders", "/v1/basket", "/v1/articles", "/v1/shops", "/v1/prices", "/v1/me"];
        let (person, path) = (self.people.random_range(1..=PEOPLE), self.people.random_range(0..PATHS.len()));
        let request = format!("GET {} HTTP/1.1\r\nHost: api.example\r\nUser-Agent: app/1.0\r\n\r\n", PATHS[path]);
        let port = 10_000 + (self.honest % 50_000) as u16;
        self.honest += 1;
        let client = SocketAddrV4::new(Ipv4Addr::from(HONEST + person), port);
        self.call(client, request.as_bytes(), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    }
}

/// What came of a run, and what it cost.
pub struct Outcome {
    pub run: Run,
    pub summary: Value,
    /// Calls of honest clients in the load.
    pub honest: u64,
    /// Highest resident memory, in bytes.
    pub peak: u64,
    /// Seconds of processor time.
    pub cpu: f64,
}

impl Outcome {
    pub fn counter(&self, name: &str) -> u64 {
        self.summary["counters"][name].as_u64().unwrap_or(0)
    }

    /// The addresses of clients that alerts name, with the kinds of the alerts.
    pub fn accused(&self) -> Vec<(Ipv4Addr, String)> {
        let mut accused = Vec::new();
        for alert in self.run.lines() {
            let kind = alert["kind"].as_str().unwrap_or_default().to_owned();
            let members = alert["clients"].as_array().into_iter().flatten().chain([&alert["client"]]);
            let addresses = members.filter_map(|member| member["ip"].as_str()?.parse().ok());
            accused.extend(addresses.map(|address| (address, kind.clone())));
        }
        accused
    }

    /// Nobody of the people is accused, alone or as one of many.
    pub fn accuses_nobody_honest(&self) {
        let honest = |address: &Ipv4Addr| address.to_bits() & !0xff == HONEST;
        let wronged: Vec<_> = self.accused().into_iter().filter(|(address, _)| honest(address)).collect();
        assert!(wronged.is_empty(), "{wronged:?}");
    }
}

/// How long a run may take in all, in seconds, however busy the machine is: what takes longer hangs.
const PATIENCE: u64 = 900;

/// Runs `apitap COMMAND -` over what `load` writes, under this configuration.
pub fn feed(
    folder: &Folder,
    command: &str,
    arguments: &[&str],
    configuration: &str,
    load: impl FnOnce(&mut Wire<BufWriter<ChildStdin>>) -> io::Result<()>,
) -> Outcome {
    std::fs::write(folder.path("load.toml"), configuration).expect("a writable folder");
    let mut process = folder.apitap(command, &["-", "--json-summary", "--config", "load.toml"]);
    if !arguments.contains(&"--workers") {
        process.args(["--workers", "1"]);
    }
    process.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = process.spawn().expect("the binary starts");
    let id = child.id();
    let (mut stdout, mut stderr) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
    let stdin = child.stdin.take().expect("a pipe");
    let (over, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let (honest, out, errors, cpu) = std::thread::scope(|scope| {
        let out = scope.spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).map(|_| bytes)
        });
        let errors = scope.spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).map(|_| text)
        });
        scope.spawn(|| {
            for _ in 0..PATIENCE * 50 {
                peak.fetch_max(high_water(id).unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
                if over.load(Ordering::Relaxed) {
                    return;
                }
            }
            if let Some(id) = rustix::process::Pid::from_raw(id as i32) {
                let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
            }
        });
        let mut wire = Wire::new(BufWriter::with_capacity(1 << 16, stdin)).expect("a pipe");
        // A broken pipe shows as the exit code.
        let _ = load(&mut wire).and_then(|()| wire.out.flush());
        let honest = wire.honest;
        drop(wire);
        let out = out.join().expect("no panic").expect("a pipe");
        let errors = errors.join().expect("no panic").expect("a pipe");
        let cpu = processor_time(id);
        over.store(true, Ordering::Relaxed);
        (honest, out, errors, cpu)
    });
    let status = child.wait().expect("it ends");
    let run = Run { code: status.code(), stdout: out, stderr: errors };
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let summary = run.summary();
    let told = summary["peak_memory_bytes"].as_u64().unwrap_or(0);
    Outcome { summary, honest, peak: told.max(peak.into_inner()), cpu, run }
}

/// The high-water mark of a process's resident memory, in bytes.
fn high_water(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// Seconds that a process whose output has ended, and that nobody has waited for yet, had the processor.
fn processor_time(id: u32) -> f64 {
    loop {
        let text = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("a child that was not waited for");
        // The name in parentheses may have anything in it.
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        if fields[0] == "Z" {
            let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
            return ticks as f64 / 100.0; // USER_HZ, the same on all of Linux
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
