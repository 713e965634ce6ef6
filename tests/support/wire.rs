//! Captures made of conversations that are spoken segment by segment.

#![allow(dead_code, unreachable_pub, reason = "each test crate includes it as a module and uses a part of it")]

use std::path::Path;

use etherparse::PacketBuilder;

/// Frames in the making, by the microsecond.
#[derive(Default)]
pub struct Wire {
    frames: Vec<(u64, Vec<u8>)>,
}

/// One connection: its ends, and what each has sent. The first is the client.
pub struct Connection {
    ends: [([u8; 4], u16); 2],
    sent: [u32; 2],
    /// The window that each end says it has.
    pub windows: [u16; 2],
}

pub const CLIENT: usize = 0;
pub const SERVER: usize = 1;

/// Seconds in microseconds.
pub fn seconds(count: f64) -> u64 {
    (count * 1e6) as u64
}

impl Wire {
    /// A handshake at `at` microseconds.
    pub fn open(&mut self, at: u64, client: [u8; 4], port: u16) -> Connection {
        self.open_to(at, client, port, ([10, 1, 0, 1], 8080))
    }

    /// The same with another server than the usual one.
    pub fn open_to(&mut self, at: u64, client: [u8; 4], port: u16, server: ([u8; 4], u16)) -> Connection {
        let mut connection = Connection { ends: [(client, port), server], sent: [7, 9], windows: [64_000; 2] };
        self.frame(at, &connection, CLIENT, "S", &[]);
        connection.sent[CLIENT] += 1;
        self.frame(at + 20, &connection, SERVER, "SA", &[]);
        connection.sent[SERVER] += 1;
        self.frame(at + 40, &connection, CLIENT, "A", &[]);
        connection
    }

    /// Bytes of one end, and the acknowledgment of the other.
    pub fn send(&mut self, at: u64, connection: &mut Connection, from: usize, payload: &[u8]) {
        self.frame(at, connection, from, "A", payload);
        connection.sent[from] += payload.len() as u32;
        self.frame(at + 30, connection, 1 - from, "A", &[]);
    }

    /// Bytes of one end that the other does not acknowledge.
    pub fn say(&mut self, at: u64, connection: &mut Connection, from: usize, payload: &[u8]) {
        self.frame(at, connection, from, "A", payload);
        connection.sent[from] += payload.len() as u32;
    }

    /// The same bytes again, which were the last that it sent.
    pub fn repeat(&mut self, at: u64, connection: &mut Connection, from: usize, payload: &[u8]) {
        connection.sent[from] -= payload.len() as u32;
        self.say(at, connection, from, payload);
    }

    /// An acknowledgment of one end, with the window that it has now.
    pub fn acknowledge(&mut self, at: u64, connection: &Connection, from: usize) {
        self.frame(at, connection, from, "A", &[]);
    }

    /// Both ends close.
    pub fn close(&mut self, at: u64, connection: &mut Connection) {
        for from in [SERVER, CLIENT] {
            self.frame(at + from as u64, connection, from, "FA", &[]);
            connection.sent[from] += 1;
        }
        self.frame(at + 3, connection, SERVER, "A", &[]);
    }

    /// One end resets.
    pub fn reset(&mut self, at: u64, connection: &Connection, from: usize) {
        self.frame(at, connection, from, "RA", &[]);
    }

    /// A call that is answered at once, on a connection of its own.
    pub fn call(&mut self, at: u64, client: [u8; 4], port: u16, path: &str) {
        let mut connection = self.open(at, client, port);
        self.exchange(at + 100, &mut connection, path);
        self.close(at + 900, &mut connection);
    }

    /// A call that is answered at once.
    pub fn exchange(&mut self, at: u64, connection: &mut Connection, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: api.example\r\nUser-Agent: app/1.0\r\n\r\n");
        self.send(at, connection, CLIENT, request.as_bytes());
        self.send(at + 400, connection, SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    }

    fn frame(&mut self, at: u64, connection: &Connection, from: usize, flags: &str, payload: &[u8]) {
        let ((source, port), (destination, to)) = (connection.ends[from], connection.ends[1 - from]);
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4(source, destination, 64)
            .tcp(port, to, connection.sent[from], connection.windows[from]);
        let builder = flags.chars().fold(builder, |builder, flag| match flag {
            'S' => builder.syn(),
            'F' => builder.fin(),
            'R' => builder.rst(),
            _ => builder.ack(connection.sent[1 - from]),
        });
        let mut bytes = Vec::with_capacity(payload.len() + 60);
        builder.write(&mut bytes, payload).expect("a vector takes all");
        // The duplicates of a mirror are alike to the byte, identification included.
        let identification = (self.frames.len() as u16).to_be_bytes();
        bytes[18..20].copy_from_slice(&identification);
        self.frames.push((at, bytes));
    }

    /// Writes a capture that begins at 2026-03-02T14:00:00Z.
    pub fn write(mut self, path: &Path) {
        self.frames.sort_by_key(|(at, _)| *at);
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        for (at, bytes) in self.frames {
            let (second, micros) = (1_772_460_000 + at / 1_000_000, at % 1_000_000);
            for word in [second as u32, micros as u32, bytes.len() as u32, bytes.len() as u32] {
                file.extend_from_slice(&word.to_le_bytes());
            }
            file.extend_from_slice(&bytes);
        }
        std::fs::write(path, file).expect("a writable folder");
    }
}
