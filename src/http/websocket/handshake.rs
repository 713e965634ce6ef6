//! What both ends agree on when a WebSocket is opened (RFC 6455, section 4; RFC 7692, section 7.1).

use std::sync::Arc;

use super::super::Shared;
use super::super::head::Fields;

/// How messages are compressed, as the server's answer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deflate {
    /// Messages of the client, and of the server, are compressed each for itself (`…_no_context_takeover`); otherwise they
    /// refer to those before.
    pub(super) alone: [bool; 2],
}

/// What a `Sec-WebSocket-Extensions` says.
///
/// The sizes of windows (`…_max_window_bits`) are passed over: a decoder with the largest window reads what was compressed
/// with any smaller one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(super) deflate: Option<Deflate>,
    /// Others than `permessage-deflate`: reserved bits and payloads may be theirs.
    pub(super) others: bool,
}

impl Extensions {
    /// Takes the value of one header; there may be several.
    pub(crate) fn take(&mut self, value: &[u8]) {
        for extension in value.split(|&byte| byte == b',') {
            let mut parts = extension.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            match parts.next().unwrap_or_default() {
                b"" => {}
                name if name.eq_ignore_ascii_case(b"permessage-deflate") && self.deflate.is_none() => {
                    let mut deflate = Deflate::default();
                    for parameter in parts {
                        deflate.alone[0] |= parameter.eq_ignore_ascii_case(b"client_no_context_takeover");
                        deflate.alone[1] |= parameter.eq_ignore_ascii_case(b"server_no_context_takeover");
                    }
                    self.deflate = Some(deflate);
                }
                _ => self.others = true,
            }
        }
    }
}

/// What was agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(super) subprotocol: Option<Arc<str>>,
    pub(super) extensions: Extensions,
}

impl Agreed {
    /// As the server's answer says; `partly`: not all of it is known, and there may be any extension.
    pub(crate) fn of(answer: &Fields<'_>, partly: bool, shared: &mut Shared) -> Agreed {
        let subprotocol = answer.subprotocol.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
        let mut extensions = answer.extensions;
        extensions.others |= partly;
        Agreed { subprotocol: subprotocol.map(|name| shared.texts.text(name)), extensions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_as_servers_write_them() {
        let read = |values: &[&str]| {
            let mut extensions = Extensions::default();
            values.iter().for_each(|value| extensions.take(value.as_bytes()));
            (extensions.deflate.map(|deflate| deflate.alone), extensions.others)
        };
        assert_eq!(read(&["permessage-deflate"]), (Some([false, false]), false));
        assert_eq!(
            read(&["Permessage-Deflate ;server_no_context_takeover; client_max_window_bits=\"10\""]),
            (Some([false, true]), false)
        );
        assert_eq!(read(&["foo; x=1", "permessage-deflate; client_no_context_takeover"]), (Some([true, false]), true));
        assert_eq!(read(&["", ","]), (None, false));
        assert_eq!(read(&["x-webkit-deflate-frame"]), (None, true));
    }
}
