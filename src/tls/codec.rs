//! Reading of TLS's presentation language (RFC 8446, section 3): numbers and vectors, each vector within the one around it.

/// What is left of a message or a vector. Reading beyond its end gives none and leaves it as it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        let (&bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u16::from_be_bytes(bytes))
    }

    /// A vector behind a length of one byte.
    pub(super) fn vector8(&mut self) -> Option<Reader<'a>> {
        let mut next = *self;
        let length = next.u8()?;
        let bytes = next.take(length.into())?;
        *self = next;
        Some(Reader::new(bytes))
    }

    /// A vector behind a length of two bytes.
    pub(super) fn vector16(&mut self) -> Option<Reader<'a>> {
        let mut next = *self;
        let length = next.u16()?;
        let bytes = next.take(length.into())?;
        *self = next;
        Some(Reader::new(bytes))
    }

    /// A vector behind a length of three bytes.
    pub(super) fn vector24(&mut self) -> Option<Reader<'a>> {
        let mut next = *self;
        let (high, low) = (next.u8()?, next.u16()?);
        let bytes = next.take(usize::from(high) << 16 | usize::from(low))?;
        *self = next;
        Some(Reader::new(bytes))
    }

    /// All that is left.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// What is left, as numbers of two bytes; an odd byte at the end is passed over.
    pub(super) fn numbers(self) -> impl Iterator<Item = u16> + Clone + 'a {
        self.rest.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inner_length_cannot_leave_the_outer() {
        let mut outer = Reader::new(&[0, 3, 5, 1, 2, 9]);
        let mut inner = outer.vector16().expect("three bytes");
        assert!(inner.vector8().is_none());
        assert_eq!(inner.rest(), [5, 1, 2]);
        assert_eq!(outer.u8(), Some(9));
        assert_eq!((outer.u8(), outer.u16(), outer.rest().len()), (None, None, 0));
        let mut short = Reader::new(&[0, 9, 1]);
        assert!(short.vector16().is_none());
        assert_eq!(short.rest().len(), 3);
    }
}
