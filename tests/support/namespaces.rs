//! Two hosts on this machine: network namespaces joined by a pair of interfaces, with a server in one and a client in the other.

#![allow(dead_code, unreachable_pub, reason = "each test crate includes it as a module and uses a part of it")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::support::Folder;

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
pub struct Namespaces {
    pub client: String,
    pub server: String,
}

impl Namespaces {
    pub fn new() -> Namespaces {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let id = format!("{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let spaces = Namespaces { client: format!("apitap-c{id}"), server: format!("apitap-s{id}") };
        ip(&format!("netns add {}", spaces.client));
        ip(&format!("netns add {}", spaces.server));
        spaces.join();
        spaces
    }

    /// Makes the pair of interfaces.
    pub fn join(&self) {
        let Namespaces { client, server } = self;
        ip(&format!("link add veth0 mtu 9000 netns {client} type veth peer name veth1 mtu 9000 netns {server}"));
        ip(&format!("-n {client} addr add 10.99.0.1/24 dev veth0"));
        ip(&format!("-n {server} addr add 10.99.0.2/24 dev veth1"));
        ip(&format!("-n {client} link set veth0 up"));
        ip(&format!("-n {server} link set veth1 up"));
    }

    /// Has the client make calls, numbered from 0.
    pub fn calls(&self, count: usize, a_second: usize) {
        let client = Command::new("ip")
            .args(["netns", "exec", &self.client, "python3", "-c", CLIENT, "10.99.0.2", "8080"])
            .args([count.to_string(), a_second.to_string()])
            .status()
            .expect("the client runs");
        assert!(client.success());
    }
}

pub fn ip(line: &str) {
    let status = Command::new("ip").args(line.split(' ')).status().expect("ip runs");
    assert!(status.success(), "ip {line}");
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in [&self.client, &self.server] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

/// Ends a process that the test started.
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn missing(tools: &[&str]) -> Option<String> {
    let root = fs::metadata("/proc/self").is_ok_and(|data| std::os::unix::fs::MetadataExt::uid(&data) == 0);
    if !root {
        return Some("not root".into());
    }
    for tool in ["ip"].iter().chain(tools) {
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

pub fn nginx(folder: &Folder, namespace: &str) -> Ended {
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

pub fn wait_for(condition: impl Fn() -> bool, what: &str) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
