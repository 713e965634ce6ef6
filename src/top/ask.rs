//! The question to a running sensor.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use super::words::printable;
use crate::metrics::{SCHEMA, Status};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);

/// How long an answer may take: a sensor that is asked for the first time in a while looks at its clients for some seconds.
const ANSWER: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read; one of all lists full takes a tenth.
const LARGEST: u64 = 4 << 20;

/// Bytes of what is no status that an error shows.
const SHOWN: usize = 60;

/// Where a sensor listens: host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no address and port such as 127.0.0.1:9464");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let numbered = port.parse::<u16>().is_ok_and(|port| port > 0);
        let named = !host.is_empty() && !host.contains(|letter: char| letter.is_whitespace() || letter.is_control());
        if numbered && named { Ok(Address(text.to_owned())) } else { Err(wrong()) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The name stands for no address.
    #[error("{0}: no such host: {1}")]
    Unknown(Address, io::Error),
    /// No connection.
    #[error("{0}: nobody listens there ({1}); is `apitap watch` running, and is that its `listen` in [metrics]?")]
    Nobody(Address, io::Error),
    /// A connection, and no answer.
    #[error("{0}: no answer: {1}")]
    Silent(Address, io::Error),
    /// Something else.
    #[error("{0}: what listens there is no apitap, or an older one: {1}")]
    Stranger(Address, String),
}

/// The status, with so many clients in each list.
pub(super) fn status(address: &Address, clients: usize) -> Result<Status, Trouble> {
    let mut stream = connect(address)?;
    let silent = |error: io::Error| match error.kind() {
        // What a time-out is depends on the system.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            let reason = format!("none within {} seconds", ANSWER.as_secs());
            Trouble::Silent(address.clone(), io::Error::new(io::ErrorKind::TimedOut, reason))
        }
        _ => Trouble::Silent(address.clone(), error),
    };
    stream.set_read_timeout(Some(ANSWER)).map_err(silent)?;
    stream.set_write_timeout(Some(CONNECT)).map_err(silent)?;
    let question = format!("GET /status?clients={clients} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).map_err(silent)?;
    let mut answer = Vec::new();
    stream.take(LARGEST).read_to_end(&mut answer).map_err(silent)?;
    understand(&answer).map_err(|reason| Trouble::Stranger(address.clone(), reason))
}

fn connect(address: &Address) -> Result<TcpStream, Trouble> {
    let places = address.0.to_socket_addrs().map_err(|error| Trouble::Unknown(address.clone(), error))?;
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no address");
    for place in places {
        match TcpStream::connect_timeout(&reachable(place), CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(Trouble::Nobody(address.clone(), failure))
}

/// Who listens at all addresses is found at the loopback one.
fn reachable(mut place: SocketAddr) -> SocketAddr {
    if place.ip().is_unspecified() {
        place.set_ip(if place.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) });
    }
    place
}

/// Takes an answer apart; gives why it is no status otherwise.
fn understand(answer: &[u8]) -> Result<Status, String> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let length = match head.parse(answer) {
        Ok(httparse::Status::Complete(length)) => length,
        _ if answer.is_empty() => return Err("it closed the connection".to_owned()),
        _ => return Err(format!("it does not speak HTTP: {}", beginning(answer))),
    };
    let body = answer.get(length..).unwrap_or_default();
    match head.code.unwrap_or_default() {
        200 => {}
        code => return Err(format!("it answered {code}: {}", beginning(body))),
    }
    let status: Status = serde_json::from_slice(body)
        .map_err(|error| format!("its answer is no status: {error}: {}", beginning(body)))?;
    match status.schema == SCHEMA {
        true => Ok(status),
        false => Err(format!("its answer is no {SCHEMA}: {}", beginning(body))),
    }
}

/// The first letters of what came.
fn beginning(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(SHOWN)).unwrap_or_default());
    format!("{:?}", printable(text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Somebody who says the same to whoever comes, once.
    fn says(answer: &'static [u8]) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = Address(listener.local_addr().expect("an address").to_string());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let _ = stream.read(&mut [0; 1024]);
            stream.write_all(answer).expect("it reads");
        });
        address
    }

    #[test]
    fn who_is_no_apitap_is_told_so() {
        for (answer, reason) in [
            (&b"SSH-2.0-OpenSSH_9.6\x1b[2J\r\n"[..], "does not speak HTTP"),
            (b"", "closed the connection"),
            (b"HTTP/1.1 404 Not Found\r\n\r\n/metrics or /health\n", "answered 404: \"/metrics or /health\""),
            (b"HTTP/1.1 200 OK\r\n\r\n<html>", "no status"),
            (b"HTTP/1.1 200 OK\r\n\r\n{\"status\":\"ok\"}", "no apitap.status.v1"),
        ] {
            let error = status(&says(answer), 1).expect_err("no status").to_string();
            assert!(error.contains(reason) && error.contains("no apitap"), "{error}");
            assert!(!error.contains('\u{1b}'), "{error:?}");
        }
        let status = status(&says(b"HTTP/1.1 200 OK\r\n\r\n{\"schema\":\"apitap.status.v1\",\"version\":\"9\"}"), 1);
        assert_eq!(status.expect("a status").version, "9");
    }

    #[test]
    fn where_nobody_listens_is_said() {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let error = status(&Address(free.to_string()), 1).expect_err("nobody").to_string();
        assert!(error.contains("nobody listens there") && error.contains(&free.to_string()), "{error}");
    }

    #[test]
    fn addresses_have_a_port() {
        for good in ["127.0.0.1:9464", "[::1]:1", "localhost:80"] {
            assert_eq!(good.parse::<Address>().map(|address| address.to_string()).as_deref(), Ok(good));
        }
        for wrong in ["127.0.0.1", ":9464", "host:0", "host:99999", "a b:1", ""] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
        let all: SocketAddr = "0.0.0.0:5".parse().expect("an address");
        assert_eq!(reachable(all).to_string(), "127.0.0.1:5");
    }
}
