//! Syslog: messages of RFC 5424 in datagrams (RFC 5426), in a stream with counted octets (RFC 6587, 3.4.1), or in TLS
//! (RFC 5425).
//!
//! A receiver of syslog never says what it has. Over a stream, what was sent in the last minute is sent again when the
//! connection turns out to be broken, since that may have been lost with it; datagrams that are lost stay lost.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::UdpSocket;

use super::delivery::Trouble;
use super::format::{Format, Notice};
use super::probe::Probe;
use super::secure::{Peer, Stream};
use super::settings::{Settings, Transport};
use crate::alert::Severity;

/// How long what was sent may be lost with the connection.
const UNCERTAIN: Duration = Duration::from_secs(60);

/// Bytes that are kept to be sent again.
const UNCERTAIN_BYTES: usize = 1 << 20;

/// How long the end waits for the receiver to close its side, too, by which it shows that it has read everything.
const FAREWELL: Duration = Duration::from_secs(2);

/// A receiver of syslog.
pub(super) struct Syslog {
    line: Line,
    way: Way,
}

enum Way {
    Datagrams { address: String, socket: Option<UdpSocket> },
    Stream { peer: Peer, stream: Option<Stream>, uncertain: VecDeque<(Instant, Vec<u8>)>, broken: bool },
}

impl Syslog {
    /// From checked settings.
    ///
    /// # Errors
    ///
    /// An address that is none; certificates that cannot be read.
    pub(super) fn new(settings: &Settings, sensor: &str) -> Result<Syslog, String> {
        let address = settings.address.clone().unwrap_or_default();
        let port = |default| match address.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                port.parse().map(|port| (host.to_owned(), port)).map_err(|_| format!("`address` {address}: no port"))
            }
            _ => Ok((address.clone(), default)),
        };
        let way = match settings.transport {
            Transport::Udp => {
                let (host, port) = port(514)?;
                Way::Datagrams { address: format!("{host}:{port}"), socket: None }
            }
            transport => {
                let secure = transport == Transport::Tls;
                let (host, port) = port(if secure { 6514 } else { 601 })?;
                let peer = Peer::new(&host, port, secure, &[], settings)?;
                Way::Stream { peer, stream: None, uncertain: VecDeque::new(), broken: false }
            }
        };
        let line = Line {
            facility: settings.facility,
            structured_data: settings.structured_data.clone(),
            format: settings.format(),
            sensor: sensor.to_owned(),
        };
        Ok(Syslog { line, way })
    }

    /// Delivers lines.
    pub(super) async fn deliver(&mut self, notices: &[Notice<'_>], native: &[Vec<u8>]) -> Result<(), Trouble> {
        let messages: Vec<Vec<u8>> =
            notices.iter().zip(native).map(|(notice, native)| self.line.message(notice, native)).collect();
        match &mut self.way {
            Way::Datagrams { address, socket } => datagrams(address, socket, &messages).await,
            Way::Stream { peer, stream, uncertain, broken } => {
                let sent = send(peer, stream, uncertain, broken, messages).await;
                sent.map_err(|error| {
                    *stream = None;
                    *broken = true;
                    Trouble::later(error.to_string())
                })
            }
        }
    }

    /// Looks whether the connection still stands. What was sent lately is sent again as soon as it does not, and not only with
    /// the next line, which may be hours away.
    pub(super) async fn idle(&mut self) -> Result<(), String> {
        let Way::Stream { peer, stream, uncertain, broken } = &mut self.way else { return Ok(()) };
        if stream.is_none() && (!*broken || uncertain.is_empty()) {
            return Ok(());
        }
        send(peer, stream, uncertain, broken, Vec::new()).await.map_err(|error| {
            *stream = None;
            *broken = true;
            format!("{error}; what was sent lately is sent again")
        })
    }

    /// Opens a connection, or finds the address for datagrams, and sends nothing.
    pub(super) async fn probe(&self) -> Probe {
        match &self.way {
            Way::Datagrams { address, .. } => match connected(address).await {
                Ok(_) => Probe::Doubtful(format!("{address} has an address and a route; nobody answers datagrams")),
                Err(error) => Probe::Failed(format!("{address}: {error}")),
            },
            Way::Stream { peer, .. } => match peer.connect().await {
                Ok(_) => Probe::Well(format!("{peer} takes connections")),
                Err(error) => Probe::Failed(format!("{peer}: {error}")),
            },
        }
    }

    /// The next delivery has a connection of its own.
    pub(super) fn reset(&mut self) {
        match &mut self.way {
            Way::Datagrams { socket, .. } => *socket = None,
            Way::Stream { stream, broken, .. } => {
                *stream = None;
                *broken = true;
            }
        }
    }

    /// Ends the connection so that nothing that was sent is lost.
    pub(super) async fn close(&mut self) {
        if let Way::Stream { stream: Some(stream), .. } = &mut self.way {
            let farewell = async {
                stream.shutdown().await?;
                let mut rest = [0; 256];
                while stream.read(&mut rest).await? > 0 {}
                io::Result::Ok(())
            };
            let _ = tokio::time::timeout(FAREWELL, farewell).await;
        }
    }
}

/// A socket for datagrams to a host and port.
async fn connected(address: &str) -> io::Result<UdpSocket> {
    let mut addresses = tokio::net::lookup_host(address).await?;
    let address = addresses.next().ok_or_else(|| io::Error::other(format!("{address}: no address")))?;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}

async fn datagrams(address: &str, held: &mut Option<UdpSocket>, messages: &[Vec<u8>]) -> Result<(), Trouble> {
    let later = |error: io::Error| Trouble::later(error.to_string());
    // Addresses change, its own and the receiver's: behind a failure both are looked for anew.
    let socket = match held.take() {
        Some(socket) => socket,
        None => connected(address).await.map_err(later)?,
    };
    let mut refused = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        match socket.send(message).await {
            Ok(_) => {}
            // Larger than a datagram can be.
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => refused.push(at),
            Err(error) => return Err(later(error)),
        }
    }
    *held = Some(socket);
    if refused.is_empty() {
        return Ok(());
    }
    Err(Trouble::Never { reason: "larger than a datagram".into(), which: Some(refused) })
}

async fn send(
    peer: &Peer,
    held: &mut Option<Stream>,
    uncertain: &mut VecDeque<(Instant, Vec<u8>)>,
    broken: &mut bool,
    messages: Vec<Vec<u8>>,
) -> io::Result<()> {
    if let Some(stream) = held
        && is_closed(stream).await
    {
        *held = None;
        *broken = true;
    }
    let now = Instant::now();
    if !*broken {
        uncertain.retain(|(sent, _)| now.duration_since(*sent) < UNCERTAIN);
    }
    let mut bytes = Vec::new();
    let stream = match held {
        Some(stream) => stream,
        empty => {
            let stream = peer.connect().await?;
            if std::mem::take(broken) {
                uncertain.iter().for_each(|(_, frame)| bytes.extend_from_slice(frame));
            }
            empty.insert(stream)
        }
    };
    let frames: Vec<Vec<u8>> = messages
        .into_iter()
        .map(|message| {
            let mut frame = format!("{} ", message.len()).into_bytes();
            frame.extend_from_slice(&message);
            frame
        })
        .collect();
    frames.iter().for_each(|frame| bytes.extend_from_slice(frame));
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    uncertain.extend(frames.into_iter().map(|frame| (now, frame)));
    let mut kept: usize = uncertain.iter().map(|(_, frame)| frame.len()).sum();
    while kept > UNCERTAIN_BYTES
        && let Some((_, frame)) = uncertain.pop_front()
    {
        kept -= frame.len();
    }
    Ok(())
}

/// Whether the receiver has closed its side; it has nothing to say otherwise.
async fn is_closed(stream: &mut Stream) -> bool {
    poll_fn(|cx| {
        let mut rest = [0; 64];
        let mut buffer = ReadBuf::new(&mut rest);
        Poll::Ready(match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => buffer.filled().is_empty(),
            Poll::Ready(Err(_)) => true,
        })
    })
    .await
}

/// How a message is put together.
struct Line {
    facility: u8,
    structured_data: String,
    format: Format,
    sensor: String,
}

impl Line {
    /// `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG`. The kind is the MSGID; what a receiver sorts
    /// by is in the structured data, too.
    fn message(&self, notice: &Notice<'_>, native: &[u8]) -> Vec<u8> {
        let severity = match notice.severity {
            None => 6,
            Some(Severity::Low) => 5,
            Some(Severity::Medium) => 4,
            Some(Severity::High) => 3,
            Some(Severity::Critical) => 2,
        };
        let mut message = format!(
            "<{}>1 {} {} apitap - {} [{}",
            u32::from(self.facility) * 8 + severity,
            microseconds(notice),
            printable(&self.sensor, 255),
            printable(notice.kind, 32),
            self.structured_data,
        );
        let client = notice.client.map(|client| client.to_string());
        for (name, value) in [
            ("id", Some(&*notice.id)),
            (notice.subject_name(), Some(&*notice.subject)),
            ("state", Some(notice.state)),
            ("severity", Some(notice.severity_name())),
            ("client", client.as_deref()),
            ("host", notice.host),
        ] {
            let Some(value) = value else { continue };
            message.push(' ');
            message.push_str(name);
            message.push_str("=\"");
            for letter in value.chars() {
                if matches!(letter, '"' | '\\' | ']') {
                    message.push('\\');
                }
                message.push(letter);
            }
            message.push('"');
        }
        message.push_str("] ");
        let mut message = message.into_bytes();
        message.extend_from_slice(&self.format.write(notice, native, &self.sensor));
        message
    }
}

/// RFC 5424 allows six digits of a second.
fn microseconds(notice: &Notice<'_>) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(notice.ts.nanos())) {
        Ok(moment) => format!("{moment:.6}"),
        Err(_) => "-".to_owned(),
    }
}

/// A field of the header: printable ASCII without spaces, of limited length, `-` when there is none.
fn printable(text: &str, limit: usize) -> String {
    let kept: String = text.chars().filter(char::is_ascii_graphic).take(limit).collect();
    if kept.is_empty() { "-".to_owned() } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Alert;
    use crate::inventory::events::Event;
    use crate::sink::told::Told;

    #[test]
    fn a_message_of_rfc_5424() {
        let settings = Settings { facility: 4, address: Some("a".into()), ..Settings::default() };
        let syslog = Syslog::new(&settings, "sensor 1").expect("good settings");
        let alert = Alert { host: Some("a]\"\\b".into()), ..Alert::sample() };
        let message = String::from_utf8(syslog.line.message(&Told::Alert(&alert).into(), b"{}")).expect("text");
        assert_eq!(
            message,
            format!(
                "<36>1 2026-03-02T14:00:00.000000Z sensor1 apitap - recon.path_enumeration [apitap@32473 id=\"{}\" \
                 incident=\"0011223344556677\" state=\"open\" severity=\"medium\" client=\"192.0.2.1\" \
                 host=\"a\\]\\\"\\\\b\"] {{}}",
                alert.id
            )
        );
    }

    #[test]
    fn what_is_new_is_informational() {
        let settings = Settings { address: Some("a".into()), ..Settings::default() };
        let syslog = Syslog::new(&settings, "sensor").expect("good settings");
        let event = Event::sample();
        let message = String::from_utf8(syslog.line.message(&Told::Event(&event).into(), b"{}")).expect("text");
        assert_eq!(
            message,
            format!(
                "<134>1 2026-03-02T14:10:00.000000Z sensor apitap - sensitive_new [apitap@32473 id=\"{}\" subject=\"{}\" \
                 state=\"new\" severity=\"informational\" host=\"shop.example\"] {{}}",
                event.line_id(),
                event.subject_id()
            )
        );
    }

    #[test]
    fn addresses() {
        let way = |address: &str, transport| {
            let settings = Settings { address: Some(address.into()), transport, ..Settings::default() };
            Syslog::new(&settings, "s").map(|syslog| match syslog.way {
                Way::Datagrams { address, .. } => address,
                Way::Stream { .. } => "stream".to_owned(),
            })
        };
        assert_eq!(way("logs.example", Transport::Udp).as_deref(), Ok("logs.example:514"));
        assert_eq!(way("[::1]:5514", Transport::Udp).as_deref(), Ok("[::1]:5514"));
        assert_eq!(way("192.0.2.1:601", Transport::Tcp).as_deref(), Ok("stream"));
        assert!(way("logs.example:port", Transport::Udp).is_err());
    }
}
