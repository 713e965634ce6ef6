//! The next generation capture format: a sequence of blocks in sections (draft-ietf-opsawg-pcapng).
//!
//! The block reader is our own. `pcap-parser` refuses time resolutions that are powers of two, reads `if_tsoffset`
//! in little-endian order only, cuts seconds to 32 bits, does not know the obsolete packet block, and allocates for
//! the options of every frame; the tests hold this reader against it where both can read.

use pcap_parser::pcapng::{BOM_MAGIC, DSB_MAGIC, EPB_MAGIC, IDB_MAGIC, ISB_MAGIC, NRB_MAGIC, SHB_MAGIC, SJE_MAGIC};
use pcap_parser::pcapng::{OptionCode, SPB_MAGIC};

use super::input::Input;
use super::{Damage, Kind, LinkType, Record, Settings};
use crate::time::Timestamp;

/// The packet block of early versions, which the enhanced packet block replaced.
const OBSOLETE_PACKET_BLOCK: u32 = 2;

/// Type, total length, and the total length once more: the smallest block.
const BLOCK_OVERHEAD: usize = 12;

/// Where the frame begins in an enhanced or obsolete packet block.
const FRAME_IN_TIMED_PACKET: usize = 28;

/// Where the frame begins in a simple packet block.
const FRAME_IN_SIMPLE_PACKET: usize = 12;

/// Where the secrets begin in a decryption secrets block.
const SECRETS_IN_BLOCK: usize = 16;

/// The type of secrets that are a key log of TLS: "TLSK".
const TLS_KEY_LOG: u32 = 0x544c_534b;

/// A capture in this format, between two blocks.
pub(super) struct Pcapng {
    big_endian: bool,
    interfaces: Vec<Interface>,
    last_time: Timestamp,
    skipped: u64,
    max_block: usize,
    max_interfaces: usize,
}

/// What an interface description block says of the frames that name it.
struct Interface {
    link: LinkType,
    /// Zero when not limited.
    snap_length: u32,
    resolution: Resolution,
    /// Nanoseconds to add to each time.
    offset: i128,
}

/// The unit of the times of an interface.
#[derive(Clone, Copy)]
enum Resolution {
    /// So many nanoseconds.
    Multiple(u64),
    /// A nanosecond by so many.
    Fraction(u64),
    /// A second by two to the power of so many.
    Binary(u32),
}

/// Unsigned numbers in a slice, in the byte order of the section.
#[derive(Clone, Copy)]
struct Fields<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl Pcapng {
    /// True when `head`, the first four bytes of a file, begin a section.
    pub(super) fn is_magic(head: [u8; 4]) -> bool {
        u32::from_be_bytes(head) == SHB_MAGIC // a palindrome: the same in both byte orders
    }

    /// Before the first block.
    pub(super) fn new(settings: &Settings) -> Pcapng {
        Pcapng {
            big_endian: false,
            interfaces: Vec::new(),
            last_time: Timestamp::ZERO,
            skipped: 0,
            max_block: settings.max_block_bytes,
            max_interfaces: settings.max_interfaces,
        }
    }

    /// Blocks of unknown kind skipped so far.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next frame, or secrets of TLS; other blocks are consumed on the way. None at the end of the capture.
    pub(super) fn next(&mut self, input: &mut Input) -> Result<Option<Record>, Damage> {
        loop {
            let there = input.fill(BLOCK_OVERHEAD).len();
            if there == 0 {
                return Ok(None);
            }
            if there < BLOCK_OVERHEAD {
                return Err(input.cut("a block", BLOCK_OVERHEAD));
            }
            let (kind, length) = self.block_header(input.window()).map_err(|reason| input.damage(reason))?;
            let window = input.fill(length);
            let Some(block) = window.get(..length) else { return Err(input.cut("a block", length)) };
            match self.block(kind, block) {
                Ok(Some(record)) => return Ok(Some(record)),
                Ok(None) => input.consume(length),
                Err(reason) => return Err(input.damage(reason)),
            }
        }
    }

    /// Kind and total length of the block that `window`, of at least [`BLOCK_OVERHEAD`] bytes, begins with. A section
    /// header sets the byte order.
    fn block_header(&mut self, window: &[u8]) -> Result<(u32, usize), String> {
        let kind = self.fields(window).u32(0)?;
        if kind == SHB_MAGIC {
            let magic = Fields { bytes: window, big_endian: true }.u32(8)?;
            self.big_endian = match magic {
                BOM_MAGIC => true,
                _ if magic.swap_bytes() == BOM_MAGIC => false,
                _ => return Err("the section header has no byte-order magic".into()),
            };
        }
        let length = self.fields(window).u32(4)? as usize;
        if length < BLOCK_OVERHEAD || !length.is_multiple_of(4) {
            return Err(format!("the capture is damaged: a block claims {length} bytes"));
        }
        if length > self.max_block {
            let most = self.max_block;
            return Err(format!("a block claims {length} bytes, more than max_block_bytes ({most})"));
        }
        Ok((kind, length))
    }

    /// Takes in one whole block; gives the frame or the secrets when it holds any.
    fn block(&mut self, kind: u32, block: &[u8]) -> Result<Option<Record>, String> {
        let end = block.len().saturating_sub(4);
        if self.fields(block).u32(end)? as usize != block.len() {
            return Err("the capture is damaged: the two lengths of a block differ".into());
        }
        // The bytes of the body lie where they lie in the block, so that a frame's place in it is one in the window.
        let body = self.fields(block.get(..end).unwrap_or_default());
        match kind {
            EPB_MAGIC => self.timed_packet(body, body.u32(8)?, block.len()).map(Some),
            OBSOLETE_PACKET_BLOCK => self.timed_packet(body, body.u16(8)?.into(), block.len()).map(Some),
            SPB_MAGIC => self.simple_packet(body, block.len()).map(Some),
            SHB_MAGIC => self.section_header(body).map(|()| None),
            IDB_MAGIC => self.interface_description(body).map(|()| None),
            DSB_MAGIC => self.secrets(body, block.len()),
            NRB_MAGIC | ISB_MAGIC | SJE_MAGIC => Ok(None), // known, and of no use
            _ => {
                self.skipped += 1;
                Ok(None)
            }
        }
    }

    fn fields<'a>(&self, bytes: &'a [u8]) -> Fields<'a> {
        Fields { bytes, big_endian: self.big_endian }
    }

    fn section_header(&mut self, body: Fields<'_>) -> Result<(), String> {
        let (major, minor) = (body.u16(12)?, body.u16(14)?);
        // Some tools wrote 1.2 for the same format.
        if major != 1 || !matches!(minor, 0 | 2) {
            return Err(format!("version {major}.{minor} of the pcapng format is not known"));
        }
        self.interfaces.clear();
        Ok(())
    }

    fn interface_description(&mut self, body: Fields<'_>) -> Result<(), String> {
        if self.interfaces.len() >= self.max_interfaces {
            return Err(format!("a section has more interfaces than max_interfaces ({})", self.max_interfaces));
        }
        let mut interface = Interface {
            link: LinkType(body.u16(8)?),
            snap_length: body.u32(12)?,
            resolution: Resolution::Multiple(1000),
            offset: 0,
        };
        let mut at = 16;
        while at < body.bytes.len() {
            let (code, length) = (body.u16(at)?, usize::from(body.u16(at + 2)?));
            let value = body.slice(at + 4, length)?;
            match OptionCode(code) {
                OptionCode::EndOfOpt => break,
                OptionCode::IfTsresol => interface.resolution = Resolution::new(value.u8(0)?)?,
                OptionCode::IfTsoffset => interface.offset = i128::from(value.u64(0)? as i64) * 1_000_000_000,
                _ => {}
            }
            at += 4 + length.next_multiple_of(4);
        }
        self.interfaces.push(interface);
        Ok(())
    }

    /// An enhanced packet block, or an obsolete one: they differ only in the width of the interface's number.
    fn timed_packet(&mut self, body: Fields<'_>, interface: u32, length: usize) -> Result<Record, String> {
        let interface = self.interface(interface)?;
        let ticks = u64::from(body.u32(12)?) << 32 | u64::from(body.u32(16)?);
        let (captured, original_length) = (body.u32(20)?, body.u32(24)?);
        let (time, link) = (interface.time(ticks), interface.link);
        self.last_time = time;
        let start = FRAME_IN_TIMED_PACKET;
        if captured as usize > body.bytes.len().saturating_sub(start) {
            return Err(format!("the capture is damaged: a frame claims {captured} bytes, more than its block has"));
        }
        let end = start + captured as usize;
        Ok(Record { kind: Kind::Frame, time, link, original_length: original_length.max(captured), start, end, length })
    }

    /// A simple packet block: of the first interface, and without a time. It gets that of the frame before it.
    fn simple_packet(&mut self, body: Fields<'_>, length: usize) -> Result<Record, String> {
        let interface = self.interface(0)?;
        let original_length = body.u32(8)?;
        let start = FRAME_IN_SIMPLE_PACKET;
        let most = if interface.snap_length == 0 { u32::MAX } else { interface.snap_length };
        let captured = body.bytes.len().saturating_sub(start).min(original_length.min(most) as usize);
        let (time, link) = (self.last_time, interface.link);
        Ok(Record { kind: Kind::Frame, time, link, original_length, start, end: start + captured, length })
    }

    /// A decryption secrets block: of use are key logs of TLS.
    fn secrets(&self, body: Fields<'_>, length: usize) -> Result<Option<Record>, String> {
        if body.u32(8)? != TLS_KEY_LOG {
            return Ok(None);
        }
        let (start, claimed) = (SECRETS_IN_BLOCK, body.u32(12)?);
        if claimed as usize > body.bytes.len().saturating_sub(start) {
            return Err(format!("the capture is damaged: secrets claim {claimed} bytes, more than their block has"));
        }
        let (kind, end) = (Kind::Secrets, start + claimed as usize);
        Ok(Some(Record { kind, time: self.last_time, link: LinkType(0), original_length: 0, start, end, length }))
    }

    fn interface(&self, number: u32) -> Result<&Interface, String> {
        self.interfaces.get(number as usize).ok_or_else(|| {
            let declared = self.interfaces.len();
            format!("the capture is damaged: a frame of interface {number}, where {declared} are declared")
        })
    }
}

impl Interface {
    fn time(&self, ticks: u64) -> Timestamp {
        let ticks = u128::from(ticks);
        let nanos = match self.resolution {
            Resolution::Multiple(nanos) => ticks * u128::from(nanos),
            Resolution::Fraction(parts) => ticks / u128::from(parts),
            Resolution::Binary(power) => (ticks * 1_000_000_000) >> power,
        };
        // Below 2^94, as ticks have 64 bits and a second has 10^9 nanoseconds; an offset is below 2^93.
        let nanos = nanos as i128 + self.offset;
        Timestamp::from_nanos(nanos.clamp(0, i128::from(i64::MAX)) as i64)
    }
}

impl Resolution {
    /// From the option `if_tsresol`: the negative power of ten, or of two when the highest bit is set.
    fn new(option: u8) -> Result<Resolution, String> {
        let power = u32::from(option & 0x7f);
        match (option & 0x80 != 0, power) {
            (false, 0..=9) => Ok(Resolution::Multiple(10_u64.pow(9 - power))),
            (false, 10..=19) => Ok(Resolution::Fraction(10_u64.pow(power - 9))),
            (true, 0..=63) => Ok(Resolution::Binary(power)),
            (binary, _) => {
                Err(format!("a time resolution of {} to the -{power} is not known", if binary { 2 } else { 10 }))
            }
        }
    }
}

impl<'a> Fields<'a> {
    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], String> {
        match self.bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(bytes) => Ok(*bytes),
            None => Err("the capture is damaged: a block is shorter than its kind".into()),
        }
    }

    fn u8(&self, at: usize) -> Result<u8, String> {
        self.array::<1>(at).map(|[byte]| byte)
    }

    fn u16(&self, at: usize) -> Result<u16, String> {
        let bytes = self.array(at)?;
        Ok(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(&self, at: usize) -> Result<u32, String> {
        let bytes = self.array(at)?;
        Ok(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn u64(&self, at: usize) -> Result<u64, String> {
        let bytes = self.array(at)?;
        Ok(if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    fn slice(&self, at: usize, length: usize) -> Result<Fields<'a>, String> {
        match self.bytes.get(at..).and_then(|rest| rest.get(..length)) {
            Some(bytes) => Ok(Fields { bytes, big_endian: self.big_endian }),
            None => Err("the capture is damaged: an option is longer than its block".into()),
        }
    }
}
