//! Whether a text that comes in pieces is UTF-8 (RFC 6455, section 8.1).

/// A text under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8 {
    /// The beginning of a character that the last piece ended in.
    pending: [u8; 4],
    count: usize,
    bad: bool,
}

impl Utf8 {
    /// Takes the next bytes.
    pub(super) fn data(&mut self, mut bytes: &[u8]) {
        while self.count > 0 && !self.bad {
            let Some((&byte, rest)) = bytes.split_first() else { return };
            let Some(place) = self.pending.get_mut(self.count) else { return };
            *place = byte;
            self.count += 1;
            bytes = rest;
            match std::str::from_utf8(self.pending.get(..self.count).unwrap_or_default()) {
                Ok(_) => self.count = 0,
                Err(error) => self.bad = error.error_len().is_some(),
            }
        }
        if self.bad {
            return;
        }
        if let Err(error) = std::str::from_utf8(bytes) {
            self.bad = error.error_len().is_some();
            let rest = bytes.get(error.valid_up_to()..).unwrap_or_default();
            if !self.bad && rest.len() < self.pending.len() {
                self.count = rest.len();
                self.pending[..rest.len()].copy_from_slice(rest);
            }
        }
    }

    /// True when all of it was UTF-8 and ended where a character does.
    pub(super) fn is_whole(&self) -> bool {
        !self.bad && self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_say_the_same_as_the_whole(
            text in prop_oneof!["[a-zé€😀]{0,12}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..6)],
            size in 1usize..5,
        ) {
            let mut utf8 = Utf8::default();
            text.chunks(size).for_each(|piece| utf8.data(piece));
            prop_assert_eq!(utf8.is_whole(), std::str::from_utf8(&text).is_ok());
        }
    }
}
