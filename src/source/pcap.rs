//! The classic capture format: one header, then records (draft-ietf-opsawg-pcap).
//!
//! The records are read by the crate `pcap-parser`, straight from the window.

use pcap_parser::nom;
use pcap_parser::pcap::{LegacyPcapBlock, parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified};
use pcap_parser::{PcapError, PcapHeader, parse_pcap_header};

use super::input::Input;
use super::{Damage, Kind, LinkType, Record, Settings};
use crate::time::Timestamp;

const FILE_HEADER: usize = 24;

/// The largest snap length that libpcap writes for ordinary link types. A record may be as large whatever the
/// header says, since many tools write a snap length that they do not keep to.
const USUAL_SNAP_LENGTH: usize = 262_144;

/// The magic numbers, as the first four bytes of a file: micro- and nanoseconds in both byte orders, and the format of
/// Alexey Kuznetzov's patches, whose record headers are longer.
const MAGICS: [[u8; 4]; 5] = [
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x34, 0xcd, 0xb2, 0xa1],
];

type Parsed<'a> = nom::IResult<&'a [u8], LegacyPcapBlock<'a>, PcapError<&'a [u8]>>;

/// What the header said of the records.
pub(super) struct Pcap {
    parse: fn(&[u8]) -> Parsed<'_>,
    /// Nanoseconds in a unit of the fraction of a second.
    unit: u64,
    link: LinkType,
    record_header: usize,
    max_frame: usize,
}

impl Pcap {
    /// True when `head`, the first four bytes of a file, are a magic number of this format.
    pub(super) fn is_magic(head: [u8; 4]) -> bool {
        MAGICS.contains(&head)
    }

    /// Reads the file header.
    pub(super) fn begin(input: &mut Input, settings: &Settings) -> Result<Pcap, Damage> {
        let header = match parse_pcap_header(input.fill(FILE_HEADER)) {
            Ok((_, header)) => header,
            Err(nom::Err::Incomplete(_)) => return Err(input.cut("the file header", FILE_HEADER)),
            Err(_) => return Err(input.damage("the file header is damaged".into())),
        };
        input.consume(FILE_HEADER);
        Ok(Pcap::new(&header, settings))
    }

    fn new(header: &PcapHeader, settings: &Settings) -> Pcap {
        let (parse, record_header): (fn(&[u8]) -> Parsed<'_>, _) = if header.is_modified_format() {
            (parse_pcap_frame_modified, 24)
        } else if header.is_bigendian() {
            (parse_pcap_frame_be, 16)
        } else {
            (parse_pcap_frame, 16)
        };
        Pcap {
            parse,
            unit: if header.is_nanosecond_precision() { 1 } else { 1000 },
            // The upper 16 bits tell of the frame check sequence.
            link: LinkType(header.network.0 as u16),
            record_header,
            max_frame: (header.snaplen as usize).max(USUAL_SNAP_LENGTH).min(settings.max_block_bytes),
        }
    }

    /// The record that the window begins with; none at the end of the capture.
    #[inline]
    pub(super) fn next(&mut self, input: &mut Input) -> Result<Option<Record>, Damage> {
        let mut wanted = self.record_header;
        loop {
            let window = input.fill(wanted);
            let there = window.len();
            match (self.parse)(window) {
                Ok((rest, block)) => {
                    let captured = block.data.len();
                    if captured > self.max_frame {
                        return Err(self.too_large(input, captured));
                    }
                    let end = there - rest.len();
                    return Ok(Some(Record {
                        kind: Kind::Frame,
                        time: Timestamp::from_parts(block.ts_sec.into(), u64::from(block.ts_usec) * self.unit),
                        link: self.link,
                        original_length: block.origlen.max(block.caplen),
                        start: end - captured,
                        end,
                        length: end,
                    }));
                }
                Err(nom::Err::Incomplete(nom::Needed::Size(missing))) => {
                    if there == 0 {
                        return Ok(None);
                    }
                    let total = there.saturating_add(missing.get());
                    if total > self.max_frame + self.record_header {
                        return Err(self.too_large(input, total - self.record_header));
                    }
                    if there < wanted {
                        return Err(input.cut("a frame", total));
                    }
                    wanted = total;
                }
                Err(_) => return Err(input.damage("the header of a frame is damaged".into())),
            }
        }
    }

    #[cold]
    fn too_large(&self, input: &Input, captured: usize) -> Damage {
        let most = self.max_frame;
        input.damage(format!(
            "the capture is damaged: a frame claims {captured} bytes, the largest possible here is {most}"
        ))
    }
}
