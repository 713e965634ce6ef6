//! Fingerprints of the program at either end, out of its hello.
//!
//! Of the client: **JA4** (FoxIO, under the BSD licence and without a claim of patents), which survives the shuffling of
//! extensions. Of the server: **JA3S** (Salesforce, under the BSD licence), as Zeek, Suricata and Wireshark print it. The server's
//! counterpart of JA4, JA4S, is under the FoxIO Licence 1.1, which does not allow everybody who may use apitap to use it
//! (no product may contain it without an agreement), and is said to be patent pending: it is left out.

use std::fmt::Write;

use md5::{Digest, Md5};
use ring::digest;

use super::hello::{ClientHello, ServerHello, extension, is_grease};

/// JA4 of a client over TCP: `t13d1516h2_8daaf6152771_e5627efa2ab1`.
pub fn ja4(hello: &ClientHello<'_>) -> String {
    let mut ciphers: Vec<u16> = hello.ciphers().filter(|&cipher| !is_grease(cipher)).collect();
    let mut extensions: Vec<u16> =
        hello.extensions.iter().map(|(number, _)| number).filter(|&number| !is_grease(number)).collect();
    let named = extensions.contains(&extension::SERVER_NAME);
    let mut text = format!(
        "t{}{}{:02}{:02}",
        version(hello.highest_version()),
        if named { 'd' } else { 'i' },
        ciphers.len().min(99),
        extensions.len().min(99)
    );
    push_protocol(hello.protocols().next().unwrap_or_default(), &mut text);

    ciphers.sort_unstable();
    extensions.sort_unstable();
    extensions.retain(|&number| number != extension::SERVER_NAME && number != extension::ALPN);
    text.push('_');
    let mut list = String::new();
    push_list(ciphers.iter().copied(), &mut list);
    push_hash(&list, &mut text);
    text.push('_');
    list.clear();
    push_list(extensions.iter().copied(), &mut list);
    let algorithms = hello.signature_algorithms().filter(|&algorithm| !is_grease(algorithm));
    if !list.is_empty() && algorithms.clone().next().is_some() {
        list.push('_');
        push_list(algorithms, &mut list);
    }
    push_hash(&list, &mut text);
    text
}

/// Version in JA4.
fn version(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// First and last character of the first protocol; of its hexadecimal form, where one of them is neither letter nor digit.
fn push_protocol(protocol: &[u8], text: &mut String) {
    let (Some(&first), Some(&last)) = (protocol.first(), protocol.last()) else {
        text.push_str("00");
        return;
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        text.extend([first.into(), char::from(last)]);
    } else {
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
        text.extend([digit(first >> 4), digit(last & 0x0f)]);
    }
}

fn push_list(values: impl Iterator<Item = u16>, text: &mut String) {
    for (place, value) in values.enumerate() {
        if place > 0 {
            text.push(',');
        }
        let _ = write!(text, "{value:04x}"); // writing to a string cannot fail
    }
}

/// The first 12 hexadecimal digits of the SHA-256; zeros of nothing.
fn push_hash(list: &str, text: &mut String) {
    if list.is_empty() {
        text.push_str("000000000000");
        return;
    }
    for byte in digest::digest(&digest::SHA256, list.as_bytes()).as_ref().iter().take(6) {
        let _ = write!(text, "{byte:02x}"); // writing to a string cannot fail
    }
}

/// JA3S: the MD5 of `version,cipher,extension-extension…` in decimal, extensions in their order.
pub fn ja3s(hello: &ServerHello<'_>) -> String {
    let mut text = format!("{},{},", hello.legacy_version, hello.cipher);
    for (place, (number, _)) in hello.extensions.iter().filter(|&(number, _)| !is_grease(number)).enumerate() {
        let _ = write!(text, "{}{number}", if place > 0 { "-" } else { "" }); // writing to a string cannot fail
    }
    Md5::digest(text.as_bytes()).iter().fold(String::with_capacity(32), |mut hash, byte| {
        let _ = write!(hash, "{byte:02x}"); // writing to a string cannot fail
        hash
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hello with these ciphers and extensions, all empty but the given contents.
    fn hello(ciphers: &[u16], extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        body.extend((ciphers.len() as u16 * 2).to_be_bytes());
        body.extend(ciphers.iter().flat_map(|cipher| cipher.to_be_bytes()));
        body.extend([1, 0]);
        let mut list = Vec::new();
        for (number, content) in extensions {
            list.extend(number.to_be_bytes());
            list.extend((content.len() as u16).to_be_bytes());
            list.extend(*content);
        }
        body.extend((list.len() as u16).to_be_bytes());
        body.extend(list);
        body
    }

    /// The example of JA4's own description.
    #[test]
    fn ja4_of_the_published_example() {
        let ciphers = [
            0x2a2a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
            0x009d, 0x002f, 0x0035,
        ];
        let algorithms = [0, 16, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1];
        let mut extensions: Vec<(u16, &[u8])> = vec![(0x1a1a, &[]), (0x001b, &[]), (0x0000, &[]), (0x0033, &[])];
        extensions.extend([(0x0010, &[0, 3, 2, b'h', b'2'][..]), (0x4469, &[]), (0x0017, &[]), (0x002d, &[])]);
        extensions.extend([(0x000d, &algorithms[..]), (0x0005, &[]), (0x0023, &[]), (0x0012, &[])]);
        extensions.extend([(0x002b, &[6, 0x9a, 0x9a, 3, 4, 3, 3][..]), (0xff01, &[]), (0x000b, &[])]);
        extensions.extend([(0x000a, &[][..]), (0x0015, &[]), (0x3a3a, &[0])]);
        let body = hello(&ciphers, &extensions);
        let hello = ClientHello::parse(&body).expect("a hello");
        assert_eq!(ja4(&hello), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    /// The other examples of that description: no signature algorithms, nothing at all, and protocols that are no text.
    #[test]
    fn ja4_of_what_is_missing() {
        let numbers = [0x05, 0x0a, 0x0b, 0x0d, 0x12, 0x15, 0x17, 0x1b, 0x23, 0x2b, 0x2d, 0x33, 0x4469, 0xff01];
        let extensions: Vec<(u16, &[u8])> = numbers.iter().rev().map(|&number| (number, &[][..])).collect();
        let body = hello(&[], &extensions);
        let found = ja4(&ClientHello::parse(&body).expect("a hello"));
        assert_eq!(found, "t12i001400_000000000000_6d807ffa2a79");
        let body = hello(&[], &[]);
        assert_eq!(ja4(&ClientHello::parse(&body).expect("a hello")), "t12i000000_000000000000_000000000000");
        let examples: [(&[u8], &str); 8] = [
            (b"http/1.1", "h1"),
            (b"x", "xx"),
            (b"", "00"),
            (&[0xab], "ab"),
            (&[0xab, 0xcd], "ad"),
            (&[0x30, 0xab], "3b"),
            (&[0x30, 0x31, 0xab, 0xcd], "3d"),
            (&[0x30, 0xab, 0xcd, 0x31], "01"),
        ];
        for (protocol, expected) in examples {
            let mut text = String::new();
            push_protocol(protocol, &mut text);
            assert_eq!(text, expected, "{protocol:?}");
        }
    }
}
