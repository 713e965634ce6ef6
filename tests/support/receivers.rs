//! Receivers of alerts on this machine, for tests of sinks.

#![allow(dead_code, unreachable_pub, reason = "each test crate includes it as a module and uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What came in one request.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub head: String,
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Request {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (held, value) = line.split_once(':')?;
            held.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A status, further header lines, and a body.
pub struct Reply(pub u16, pub &'static str, pub String);

/// A service behind HTTP/1.1 that keeps what it was told, and answers as the test wants.
pub struct Service {
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// At a port, 0 for any. `answer` gets the number of the request, from 0, and the request.
    pub fn start(port: u16, answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Service {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        listener.set_nonblocking(true).expect("a socket");
        let (requests, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, stopped, answer) = (requests.clone(), stop.clone(), Arc::new(answer));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let (kept, answer, stopped) = (kept.clone(), answer.clone(), stopped.clone());
                        std::thread::spawn(move || serve(stream, &kept, &*answer, &stopped));
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Service { port, requests, stop, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    stream: TcpStream,
    kept: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(usize, &Request) -> Reply + Send + Sync),
    stop: &AtomicBool,
) {
    stream.set_nonblocking(false).expect("a socket");
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut stream = stream;
    loop {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(1..) => {}
                _ => return,
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut request = Request { path, head, body: Vec::new(), at: Instant::now() };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        request.body = vec![0; length];
        if reader.read_exact(&mut request.body).is_err() || stop.load(Ordering::Relaxed) {
            return;
        }
        let number = {
            let mut kept = kept.lock().expect("no panic");
            kept.push(request.clone());
            kept.len() - 1
        };
        let Reply(status, headers, body) = answer(number, &request);
        let text = format!("HTTP/1.1 {status} Reason\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

/// Messages of syslog with counted octets, taken apart.
pub fn counted(mut bytes: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|&byte| byte == b' ').expect("a count");
        let length: usize = std::str::from_utf8(&bytes[..space]).expect("digits").parse().expect("a count");
        let message = &bytes[space + 1..space + 1 + length];
        messages.push(String::from_utf8(message.to_vec()).expect("text"));
        bytes = &bytes[space + 1 + length..];
    }
    messages
}

/// Takes one connection after the other and keeps what came, until the test is over.
pub struct Stream {
    pub port: u16,
    bytes: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Stream {
    /// `each` reads a connection to its end.
    pub fn start(each: impl Fn(TcpStream, &mut dyn FnMut(&[u8])) + Send + 'static) -> Stream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = bytes.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                kept.lock().expect("no panic").push(Vec::new());
                each(stream, &mut |part| {
                    if let Some(held) = kept.lock().expect("no panic").last_mut() {
                        held.extend_from_slice(part);
                    }
                });
            }
        });
        Stream { port, bytes }
    }

    /// What came over each connection.
    pub fn bytes(&self) -> Vec<Vec<u8>> {
        self.bytes.lock().expect("no panic").clone()
    }
}
