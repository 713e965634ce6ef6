//! `apitap watch` on a real interface: two network namespaces, a real server, a real client, and the server's own
//! access log as the truth. Needs root, iproute2, nginx and python3; says why it skips where one is missing.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{Folder, Run};

const CALLS: usize = 8_000;
const CALLS_A_SECOND: usize = 1_000;

/// Sends numbered requests at a steady rate over a few keep-alive connections.
const CLIENT: &str = r#"
import socket, sys, time
host, port, count, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
def connect():
    s = socket.create_connection((host, port)); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1); return s
socks, begin = [connect() for _ in range(4)], time.monotonic()
for n in range(count):
    wait = begin + n / rate - time.monotonic()
    if wait > 0: time.sleep(wait)
    at = n % 4
    if n % 500 == 499: socks[at].close(); socks[at] = connect()
    s = socks[at]
    path = "/items/%d" % n if n % 3 else "/missing/%d?page=%d" % (n, n % 7)
    s.sendall(("GET %s HTTP/1.1\r\nHost: shop\r\nUser-Agent: live-test\r\n\r\n" % path).encode())
    data = b""
    while b"\r\n\r\n" not in data: data += s.recv(65536)
    head, body = data.split(b"\r\n\r\n", 1)
    length = int([l for l in head.lower().split(b"\r\n") if l.startswith(b"content-length:")][0].split(b":")[1])
    while len(body) < length: body += s.recv(65536)
for s in socks: s.close()
"#;

/// Two namespaces joined by a pair of interfaces, gone at the end.
struct Namespaces {
    client: String,
    server: String,
}

impl Namespaces {
    fn new() -> Namespaces {
        let id = std::process::id();
        let spaces = Namespaces { client: format!("apitap-c{id}"), server: format!("apitap-s{id}") };
        let Namespaces { client, server } = &spaces;
        for line in [
            format!("netns add {client}"),
            format!("netns add {server}"),
            format!("link add veth0 netns {client} type veth peer name veth1 netns {server}"),
            format!("-n {client} addr add 10.99.0.1/24 dev veth0"),
            format!("-n {server} addr add 10.99.0.2/24 dev veth1"),
            format!("-n {client} link set veth0 up"),
            format!("-n {server} link set veth1 up"),
        ] {
            let status = Command::new("ip").args(line.split(' ')).status().expect("ip runs");
            assert!(status.success(), "ip {line}");
        }
        spaces
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in [&self.client, &self.server] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

/// Ends a process that the test started.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn missing() -> Option<String> {
    let root = fs::metadata("/proc/self").is_ok_and(|data| std::os::unix::fs::MetadataExt::uid(&data) == 0);
    if !root {
        return Some("not root".into());
    }
    for tool in ["ip", "nginx", "python3"] {
        let found =
            std::env::var("PATH").unwrap_or_default().split(':').any(|folder| Path::new(folder).join(tool).exists());
        if !found {
            return Some(format!("{tool} is not installed"));
        }
    }
    let id = std::process::id();
    let probe = format!("apitap-p{id}");
    let made = Command::new("ip").args(["netns", "add", &probe]).stderr(Stdio::null()).status();
    if !made.is_ok_and(|status| status.success()) {
        return Some("network namespaces cannot be made here".into());
    }
    let _ = Command::new("ip").args(["netns", "del", &probe]).status();
    None
}

fn nginx(folder: &Folder, namespace: &str) -> Ended {
    let root = folder.path("");
    fs::create_dir_all(root.join("www")).expect("a folder");
    let root = root.display();
    let configuration = format!(
        "daemon off; master_process off; pid {root}/nginx.pid; error_log {root}/error.log; events {{}}
         http {{ log_format targets '$request_uri $status'; access_log {root}/access.log targets;
                client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
                uwsgi_temp_path {root}/u; scgi_temp_path {root}/s; keepalive_requests 100000;
                server {{ listen 10.99.0.2:8080;
                         location /items/ {{ return 200 '{{\"ok\":true}}'; }}
                         location / {{ return 404 'no'; }} }} }}"
    );
    fs::write(folder.path("nginx.conf"), configuration).expect("a configuration");
    let child = Command::new("ip")
        .args(["netns", "exec", namespace, "nginx", "-p"])
        .arg(folder.path(""))
        .arg("-c")
        .arg(folder.path("nginx.conf"))
        .stderr(Stdio::null())
        .spawn()
        .expect("nginx starts");
    wait_for(|| folder.path("nginx.pid").exists(), "nginx to start");
    std::thread::sleep(Duration::from_millis(300));
    Ended(child)
}

fn wait_for(condition: impl Fn() -> bool, what: &str) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn counted(lines: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

#[test]
fn watch_sees_every_call_that_the_server_logged() {
    if let Some(reason) = missing() {
        eprintln!("skipped: {reason}");
        return;
    }
    let folder = Folder::new("live");
    let spaces = Namespaces::new();
    let _nginx = nginx(&folder, &spaces.server);

    let output: PathBuf = folder.path("calls.jsonl");
    let mut inner = folder.apitap("watch", &["-i", "veth1", "--calls", "-f", "tcp port 8080", "--json-summary"]);
    inner.stdout(fs::File::create(&output).expect("a file")).stderr(Stdio::piped());
    let mut watch = Command::new("ip");
    watch.args(["netns", "exec", &spaces.server]).arg(inner.get_program()).args(inner.get_args());
    watch.stdout(fs::File::create(&output).expect("a file")).stderr(Stdio::piped());
    let watch = watch.spawn().expect("apitap starts");
    std::thread::sleep(Duration::from_secs(1));

    let client = Command::new("ip")
        .args(["netns", "exec", &spaces.client, "python3", "-c", CLIENT, "10.99.0.2", "8080"])
        .args([CALLS.to_string(), CALLS_A_SECOND.to_string()])
        .status()
        .expect("the client runs");
    assert!(client.success());
    std::thread::sleep(Duration::from_secs(1));
    // `ip netns exec` becomes the program, so this is apitap's own process.
    let interrupted = Command::new("kill").args(["-INT", &watch.id().to_string()]).status().expect("kill runs");
    assert!(interrupted.success());
    let run = Run::of(watch.wait_with_output().expect("apitap ends"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);

    let log = fs::read_to_string(folder.path("access.log")).expect("the server's log");
    let logged = counted(log.lines().map(str::to_owned));
    let calls = fs::read_to_string(&output).expect("what apitap printed");
    let seen = counted(calls.lines().map(|line| {
        let call: serde_json::Value = serde_json::from_str(line).expect("a call a line");
        format!("{} {}", call["target"].as_str().unwrap_or_default(), call["status"])
    }));
    assert_eq!(logged.values().sum::<usize>(), CALLS);
    assert_eq!(seen, logged);
    assert_eq!(run.summary()["counters"]["kernel_drops"], serde_json::Value::Null);
}
