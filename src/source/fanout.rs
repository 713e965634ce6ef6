//! Several packet sockets that share what an interface receives (`PACKET_FANOUT`, packet(7), Linux 4.12 and later).
//!
//! The kernel gives each packet to one socket of the group, by a hash of the outermost addresses and ports that is the same
//! for both directions. Fragments of a packet, of which only the first has ports, go by addresses alone, and so together;
//! the kernel is not asked to put them together, which would show packets that were never on the wire. A socket whose ring
//! is full passes on to the next (`ROLLOVER`): that tears a flow apart among the readers, as tunnels do in any case, and is
//! why workers put the segments of all readers in order again. A single heavy flow so may use the rings of all.
//!
//! Setting a socket option by its number is the only unsafe code here: neither libpcap nor rustix knows this one.

#![allow(unsafe_code)] // two calls with a pointer to an integer; each with its reason

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// A group of sockets, by the number that the kernel gave it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group(u16);

impl Group {
    /// A new group with this socket in it. The socket must be bound.
    ///
    /// # Errors
    ///
    /// When it is no packet socket, or the system has no such groups.
    pub(super) fn found(socket: &impl AsFd) -> io::Result<Group> {
        set(socket, MODE | UNIQUE_ID, 0)?;
        Ok(Group(option(socket)? as u16)) // the lower half is the number
    }

    /// Adds a socket that is bound as the first one is.
    ///
    /// # Errors
    ///
    /// When it is bound otherwise.
    pub(super) fn join(self, socket: &impl AsFd) -> io::Result<()> {
        set(socket, MODE, self.0)
    }
}

#[cfg(target_os = "linux")]
const MODE: u32 = libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_ROLLOVER;
#[cfg(target_os = "linux")]
const UNIQUE_ID: u32 = libc::PACKET_FANOUT_FLAG_UNIQUEID;

#[cfg(target_os = "linux")]
fn set(socket: &impl AsFd, mode: u32, number: u16) -> io::Result<()> {
    let value: u32 = mode << 16 | u32::from(number);
    let length = size_of::<u32>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed; the kernel reads `length` bytes from a pointer to a
    // local integer of that size, and keeps nothing of it.
    let result = unsafe {
        let descriptor = socket.as_fd().as_raw_fd();
        libc::setsockopt(descriptor, libc::SOL_PACKET, libc::PACKET_FANOUT, (&raw const value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(target_os = "linux")]
fn option(socket: &impl AsFd) -> io::Result<u32> {
    let (mut value, mut length) = (0_u32, size_of::<u32>() as libc::socklen_t);
    // SAFETY: as above; the kernel writes at most `length` bytes to a local integer of that size.
    let result = unsafe {
        let descriptor = socket.as_fd().as_raw_fd();
        let place = (&raw mut value).cast();
        libc::getsockopt(descriptor, libc::SOL_PACKET, libc::PACKET_FANOUT, place, &raw mut length)
    };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
const MODE: u32 = 0;
#[cfg(not(target_os = "linux"))]
const UNIQUE_ID: u32 = 0;

#[cfg(not(target_os = "linux"))]
fn set(_: &impl AsFd, _: u32, _: u16) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn option(_: &impl AsFd) -> io::Result<u32> {
    Err(io::ErrorKind::Unsupported.into())
}
