//! The body of a checkpoint: sections by name, each of a version of its own.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | length of the name; 0 behind the last section |
//! | … | the name |
//! | 4 | version of what is in it, little-endian |
//! | … | parts: 4 bytes of length, little-endian, and as many bytes; one of length 0 is the last |
//!
//! So a section that is not known, or is not understood, is passed over, and those behind it are read none the less. None of them is
//! held as a whole.

use std::io::{self, ErrorKind, Read, Write};

/// Bytes of a part, as they are written.
const PART: usize = 64 << 10;

/// Writes sections.
#[derive(Debug)]
pub(super) struct Sections<W> {
    writer: W,
    part: Vec<u8>,
}

impl<W: Write> Sections<W> {
    pub(super) fn new(writer: W) -> Sections<W> {
        Sections { writer, part: Vec::with_capacity(PART) }
    }

    /// Begins a section, into which everything goes that is written until it ends. Names have up to 255 bytes.
    pub(super) fn begin(&mut self, name: &str, version: u32) -> io::Result<()> {
        let length = u8::try_from(name.len()).map_err(|_| io::Error::new(ErrorKind::InvalidInput, "a long name"))?;
        self.writer.write_all(&[length])?;
        self.writer.write_all(name.as_bytes())?;
        self.writer.write_all(&version.to_le_bytes())
    }

    pub(super) fn end(&mut self) -> io::Result<()> {
        self.flush_part()?;
        self.writer.write_all(&0u32.to_le_bytes())
    }

    /// There are no more.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.writer.write_all(&[0])?;
        Ok(self.writer)
    }

    fn flush_part(&mut self) -> io::Result<()> {
        if !self.part.is_empty() {
            self.writer.write_all(&(self.part.len() as u32).to_le_bytes())?;
            self.writer.write_all(&self.part)?;
            self.part.clear();
        }
        Ok(())
    }
}

impl<W: Write> Write for Sections<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.part.len() >= PART {
            self.flush_part()?;
        }
        let taken = bytes.get(..bytes.len().min(PART - self.part.len())).unwrap_or_default();
        self.part.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // a part ends when it is full, or the section does
    }
}

/// One section, of which the bytes are read as from a file of its own.
#[derive(Debug)]
pub(super) struct Section<'r, R> {
    pub(super) name: String,
    pub(super) version: u32,
    reader: &'r mut R,
    /// Bytes left of the present part.
    left: u32,
    ended: bool,
}

/// The next section; none behind the last one.
pub(super) fn next<R: Read>(reader: &mut R) -> io::Result<Option<Section<'_, R>>> {
    let mut length = [0];
    reader.read_exact(&mut length)?;
    let [length] = length;
    if length == 0 {
        return Ok(None);
    }
    let mut name = vec![0; usize::from(length)];
    reader.read_exact(&mut name)?;
    let name = String::from_utf8(name).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    let version = number(reader)?;
    Ok(Some(Section { name, version, reader, left: 0, ended: false }))
}

fn number<R: Read>(reader: &mut R) -> io::Result<u32> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

impl<R: Read> Section<'_, R> {
    /// Passes over what was not read of it.
    pub(super) fn skip(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink()).map(drop)
    }
}

impl<R: Read> Read for Section<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.ended {
            self.left = number(self.reader)?;
            self.ended = self.left == 0;
        }
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        let wanted = buffer.len().min(self.left as usize);
        let read = self.reader.read(buffer.get_mut(..wanted).unwrap_or_default())?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u32; // no more than that was asked for
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read_and_passed_over() {
        let long: Vec<u8> = (0..3 * PART + 7).map(|place| place as u8).collect();
        let mut sections = Sections::new(Vec::new());
        for (name, version, body) in
            [("one", 1, &b"first"[..]), ("long", 700, &long), ("none", 2, b""), ("end", 3, b"z")]
        {
            sections.begin(name, version).expect("room");
            sections.write_all(body).expect("room");
            sections.end().expect("room");
        }
        let bytes = sections.finish().expect("room");
        let mut reader = &bytes[..];
        let mut found = Vec::new();
        while let Some(mut section) = next(&mut reader).expect("sections") {
            let (name, version) = (section.name.clone(), section.version);
            let mut body = Vec::new();
            match &*name {
                "long" => section.by_ref().take(5).read_to_end(&mut body).map(drop).expect("bytes"),
                _ => section.read_to_end(&mut body).map(drop).expect("bytes"),
            }
            section.skip().expect("its end");
            found.push((name, version, body));
        }
        let expected = [("one", 1, &b"first"[..]), ("long", 700, &long[..5]), ("none", 2, b""), ("end", 3, b"z")];
        let expected: Vec<_> =
            expected.iter().map(|(name, version, body)| ((*name).to_owned(), *version, body.to_vec())).collect();
        assert_eq!(found, expected);
        assert!(reader.is_empty());
        for length in 0..bytes.len().min(400) {
            let mut reader = &bytes[..length];
            let mut all = || -> io::Result<()> {
                while let Some(section) = next(&mut reader)? {
                    section.skip()?;
                }
                Ok(())
            };
            assert!(all().is_err(), "{length} bytes are no whole");
        }
    }
}
