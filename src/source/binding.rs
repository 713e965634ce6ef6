//! What a packet socket listens to, and how it is made to listen again (packet(7)).
//!
//! An interface that is taken down keeps its sockets, which go on when it comes up again. One that is removed leaves them bound to
//! nothing, and another one of the same name is a stranger to them; but who has a packet socket may bind it anew without any
//! right, which is what lets a confined run go on. A socket that shares its packets with others (`PACKET_FANOUT`) cannot be.
//!
//! Neither libpcap nor rustix has these calls for a socket that is there, so they are made here, with the only unsafe code.

#![allow(unsafe_code)] // four calls with a pointer to a local structure; each with its reason

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// How it stands with an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Up,
    Down,
    /// There is none of that name, or the socket is bound to one that was removed.
    Gone,
}

/// The interface that a socket was opened on.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    name: String,
    hardware: u16,
    promiscuous: bool,
}

#[cfg(target_os = "linux")]
impl Binding {
    /// Of a socket that is bound to one network interface; none for all others (`any`, netfilter logs, USB).
    pub(super) fn of(socket: &impl AsFd, name: &str, promiscuous: bool) -> Option<Binding> {
        let address = address(socket).ok().filter(|address| address.sll_ifindex > 0)?;
        Some(Binding { name: name.to_owned(), hardware: address.sll_hatype, promiscuous })
    }

    /// How it stands with the interface.
    pub(super) fn presence(&self, socket: &impl AsFd) -> Presence {
        match (address(socket), self.flags(socket)) {
            (Ok(address), Some(flags)) if address.sll_ifindex > 0 => match flags & libc::IFF_UP {
                0 => Presence::Down,
                _ => Presence::Up,
            },
            _ => Presence::Gone,
        }
    }

    /// Binds the socket to the interface that has the name now. Its filter and its ring stay.
    ///
    /// # Errors
    ///
    /// `NotFound` as long as there is none of that name; another when the socket cannot be bound to it.
    pub(super) fn renew(&self, socket: &impl AsFd) -> io::Result<()> {
        let name = std::ffi::CString::new(self.name.as_str())?;
        // SAFETY: a pointer to a text that ends with a zero and lives until the call returns.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        let index = i32::try_from(index).ok().filter(|&index| index > 0).ok_or(io::ErrorKind::NotFound)?;
        let mut there = address(socket)?;
        there.sll_family = libc::AF_PACKET as u16;
        there.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        there.sll_ifindex = index;
        let descriptor = socket.as_fd().as_raw_fd();
        // SAFETY: the descriptor is open as long as it is borrowed; the kernel reads a local structure of the length given.
        let result =
            unsafe { libc::bind(descriptor, (&raw const there).cast(), size_of_val(&there) as libc::socklen_t) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        let hardware = address(socket)?.sll_hatype;
        if hardware != self.hardware {
            let (was, is) = (self.hardware, hardware);
            return Err(io::Error::other(format!("it is of another kind now (ARPHRD {is}, before {was})")));
        }
        if self.promiscuous {
            listen_to_all(socket, index)?;
        }
        Ok(())
    }

    /// Flags of the interface of this name.
    fn flags(&self, socket: &impl AsFd) -> Option<i32> {
        // SAFETY: of plain numbers and unions of them, for which zero is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        let room = request.ifr_name.len() - 1; // the last stays zero
        for (place, byte) in request.ifr_name.iter_mut().take(room).zip(self.name.bytes()) {
            *place = byte as libc::c_char;
        }
        // SAFETY: the kernel reads and writes a local structure of the type that this request is for; after it, the member of
        // the union that it wrote is read.
        unsafe {
            let descriptor = socket.as_fd().as_raw_fd();
            (libc::ioctl(descriptor, libc::SIOCGIFFLAGS as _, &raw mut request) == 0)
                .then(|| i32::from(request.ifr_ifru.ifru_flags))
        }
    }
}

/// What a packet socket is bound to.
#[cfg(target_os = "linux")]
fn address(socket: &impl AsFd) -> io::Result<libc::sockaddr_ll> {
    // SAFETY: of plain numbers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&address) as libc::socklen_t;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open as long as it is borrowed; the kernel writes at most `length` bytes to a local structure.
    let result = unsafe { libc::getsockname(descriptor, (&raw mut address).cast(), &raw mut length) };
    match result {
        0 if i32::from(address.sll_family) == libc::AF_PACKET => Ok(address),
        0 => Err(io::ErrorKind::Unsupported.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has an interface receive what is addressed to others, as long as the socket is open.
#[cfg(target_os = "linux")]
fn listen_to_all(socket: &impl AsFd, index: i32) -> io::Result<()> {
    let membership = libc::packet_mreq {
        mr_ifindex: index,
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open as long as it is borrowed; the kernel reads a local structure of the length given.
    let result = unsafe {
        libc::setsockopt(
            descriptor,
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const membership).cast(),
            size_of_val(&membership) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
impl Binding {
    pub(super) fn of(_: &impl AsFd, _: &str, _: bool) -> Option<Binding> {
        None
    }

    pub(super) fn presence(&self, _: &impl AsFd) -> Presence {
        Presence::Up
    }

    pub(super) fn renew(&self, _: &impl AsFd) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
