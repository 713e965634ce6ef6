//! Header lists as heads of messages (RFC 9113, section 8).

use crate::call::{Anomaly, Version};

use super::super::head::{Fields, Reading, RequestHead, ResponseHead};
use super::hpack::{List, Text};

/// What a header list says, borrowed from it.
pub(super) struct Lines<'l> {
    pub(super) method: Option<&'l [u8]>,
    pub(super) path: Option<&'l [u8]>,
    authority: Option<&'l [u8]>,
    scheme: bool,
    /// What a CONNECT is to go on as (RFC 8441), such as `websocket`.
    pub(super) protocol: Option<&'l [u8]>,
    pub(super) status: Option<u16>,
    pub(super) fields: Fields<'l>,
    /// Fields of which the name or the value is not known.
    pub(super) unknown: u32,
}

/// The cookies of a list as one header, where it has several (section 8.2.3).
pub(super) fn cookies(list: &List) -> Option<Vec<u8>> {
    let crumbs = || {
        list.fields().filter_map(|(name, value)| match (name.known(), value.known()) {
            (Some(b"cookie"), Some(value)) => Some(value),
            _ => None,
        })
    };
    (crumbs().take(2).count() > 1).then(|| crumbs().collect::<Vec<_>>().join(&b"; "[..]))
}

impl<'l> Lines<'l> {
    /// Reads a list; `cookies` are its cookies where there are several.
    pub(super) fn read(list: &'l List, cookies: Option<&'l [u8]>, reading: &Reading<'_>) -> Lines<'l> {
        let mut lines = Lines {
            method: None,
            path: None,
            authority: None,
            scheme: false,
            protocol: None,
            status: None,
            fields: Fields::default(),
            unknown: 0,
        };
        lines.fields.cookie = cookies;
        let mut regular = false;
        for (name, value) in list.fields() {
            let (Text::Known(name), Text::Known(value)) = (name, value) else {
                lines.unknown += 1;
                continue;
            };
            if name.first() == Some(&b':') {
                if !lines.take_pseudo(name, value) || regular {
                    lines.fields.anomalies.insert(Anomaly::OddPseudoHeader);
                }
            } else {
                regular = true;
                lines.take(name, value, reading);
            }
        }
        if list.cut {
            lines.fields.anomalies.insert(Anomaly::HeadTooLarge);
        }
        lines
    }

    /// Takes a pseudo-header field. False when it is repeated or unknown.
    fn take_pseudo(&mut self, name: &[u8], value: &'l [u8]) -> bool {
        match name {
            b":method" => self.method.replace(value).is_none(),
            b":path" => self.path.replace(value).is_none(),
            b":authority" => self.authority.replace(value).is_none(),
            b":scheme" => !std::mem::replace(&mut self.scheme, true),
            b":protocol" => self.protocol.replace(value).is_none(),
            b":status" => {
                let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                number.is_some() && self.status.replace(number.unwrap_or_default()).is_none()
            }
            _ => false,
        }
    }

    fn take(&mut self, name: &'l [u8], value: &'l [u8], reading: &Reading<'_>) {
        match name {
            b"transfer-encoding" | b"connection" | b"keep-alive" | b"proxy-connection" | b"upgrade" => {
                self.fields.anomalies.insert(Anomaly::ConnectionHeader);
                return;
            }
            b"cookie" if self.fields.cookie.is_some() => return,
            _ => {}
        }
        // Without a way out early, so that the compiler takes many bytes at a time.
        if name.iter().fold(false, |odd, byte| odd | byte.is_ascii_uppercase() | (*byte <= b' ')) {
            self.fields.anomalies.insert(Anomaly::MalformedHeader);
        }
        if value.iter().fold(false, |odd, &byte| odd | (byte == 0) | (byte == b'\r') | (byte == b'\n')) {
            self.fields.anomalies.insert(Anomaly::ControlByte);
        }
        self.fields.take(name, value, reading);
    }

    /// True when it has a field that only requests have.
    pub(super) fn is_request(&self) -> bool {
        self.method.is_some() || self.path.is_some() || self.authority.is_some() || self.scheme
    }

    /// The head of a request of which method and target are known.
    pub(super) fn request(self) -> Option<RequestHead<'l>> {
        let Lines { method, path, authority, scheme, protocol, mut fields, unknown, .. } = self;
        let method = method?;
        let connect = method == b"CONNECT" && protocol.is_none();
        let target = if connect { authority.or(path) } else { path }?;
        if unknown == 0 && (connect == path.is_some() || connect == scheme) {
            fields.anomalies.insert(Anomaly::OddPseudoHeader);
        }
        if let (Some(authority), Some(host)) = (authority, fields.host)
            && !authority.eq_ignore_ascii_case(host)
        {
            fields.anomalies.insert(Anomaly::OddHost);
        }
        fields.host = authority.or(fields.host);
        Some(RequestHead { method, target, version: Version::Http2, fields }.with_target_checked())
    }

    /// The head of a response.
    pub(super) fn response(self) -> ResponseHead<'l> {
        ResponseHead { status: self.status, version: Version::Http2, fields: self.fields }
    }
}
