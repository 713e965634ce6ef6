//! Records of the traces of RFC 8448, of rustls, and of ciphers that rustls does not have, sealed here.

mod peers;
mod sealed;

use super::*;
use crate::tls::suite::Suite;

/// Bytes of hexadecimal digits, white space aside.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let value = |digit: u8| char::from(digit).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

fn secret(text: &str) -> Secret {
    Secret::new(&hex(text)).unwrap()
}

fn settings() -> Settings {
    Settings::default()
}

fn of_rfc8448(traffic: &str) -> Opener {
    Opener::tls13(&Suite::of(0x1301).unwrap(), &secret(traffic), &settings()).unwrap()
}

/// What a record with its header holds.
fn opened(opener: &mut Opener, record: &str) -> Result<(u8, Vec<u8>), OpenError> {
    let record = hex(record);
    let mut out = Vec::new();
    assert_eq!(usize::from(u16::from_be_bytes([record[3], record[4]])), record.len() - 5);
    let opened = opener.open(record[0], u16::from_be_bytes([record[1], record[2]]), &record[5..], &mut out)?;
    assert_eq!(opened.missing, 0);
    Ok((opened.content_type, opened.content.to_vec()))
}

const CLIENT_HANDSHAKE: &str = "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21";
const CLIENT_TRAFFIC: &str = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
const SERVER_TRAFFIC: &str = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";
const CLIENT_FINISHED: &str = "17 03 03 00 35 75 ec 4d c2 38 cc e6 0b 29 80 44 a7 1e 21 9c 56 cc 77 b0 51 7f e9 \
    b9 3c 7a 4b fc 44 d8 7f 38 f8 03 38 ac 98 fc 46 de b3 84 bd 1c ae ac ab 68 67 d7 26 c4 05 46";
const CLIENT_DATA: &str = "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc \
    ab 3f 2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 \
    69 49 15 e4";
const SERVER_DATA: &str = "17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa \
    1b 36 e3 0e fa f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54 0d d0 32 e1 \
    67 c2 95 5d";

#[test]
fn the_simple_trace_of_rfc8448() {
    let (kind, finished) = opened(&mut of_rfc8448(CLIENT_HANDSHAKE), CLIENT_FINISHED).unwrap();
    assert_eq!((kind, &finished[..4], finished.len()), (22, &[20, 0, 0, 32][..], 36));
    let data: Vec<u8> = (0..50).collect();
    assert_eq!(opened(&mut of_rfc8448(CLIENT_TRAFFIC), CLIENT_DATA), Ok((23, data.clone())));
    // The ticket came first: without it this one does not open, and with the loss told it does.
    let mut server = of_rfc8448(SERVER_TRAFFIC);
    assert_eq!(opened(&mut server, SERVER_DATA), Err(OpenError::Refused));
    server.lost(222 + 5);
    let (record, mut out) = (hex(SERVER_DATA), Vec::new());
    let found = server.open(23, 0x0303, &record[5..], &mut out).unwrap();
    assert_eq!(found, Opened { content_type: 23, content: &data, missing: 1 });
    assert_eq!(opened(&mut of_rfc8448(CLIENT_TRAFFIC), SERVER_DATA), Err(OpenError::Refused));
}

#[test]
fn the_early_data_of_rfc8448() {
    let mut early = of_rfc8448("3fbbe6a60deb66c30a32795aba0eff7eaa10105586e7be5c09678d63b6caab62");
    let record = "17 03 03 00 17 ab 1d f4 20 e7 5c 45 7a 7c c5 d2 84 4f 76 d5 ae e4 b4 ed bf 04 9b e0";
    assert_eq!(opened(&mut early, record), Ok((23, b"ABCDEF".to_vec())));
}

#[test]
fn a_refused_record_leaves_the_opener_as_it_was() {
    let mut client = of_rfc8448(CLIENT_TRAFFIC);
    assert_eq!(opened(&mut client, CLIENT_FINISHED), Err(OpenError::Refused));
    let mut out = Vec::new();
    assert_eq!(client.open(23, 0x0303, &[0; 16], &mut out), Err(OpenError::Malformed));
    assert_eq!(client.open(22, 0x0303, &[0; 64], &mut out), Err(OpenError::Malformed));
    assert_eq!(client.open(23, 0x0303, &vec![0; MAX_FRAGMENT + 1], &mut out), Err(OpenError::TooLong));
    assert!(opened(&mut client, CLIENT_DATA).is_ok());
    assert_eq!(opened(&mut client, CLIENT_DATA), Err(OpenError::Refused), "each number once");
}

#[test]
fn secrets_of_another_hash_or_version_make_no_opener() {
    let [gcm12, gcm13] = [0xc02f, 0x1302].map(|number| Suite::of(number).unwrap());
    let short = Secret::new(&[1; 32]).unwrap();
    assert!(Opener::tls13(&gcm13, &short, &settings()).is_none(), "SHA-384 makes secrets of 48 bytes");
    assert!(Opener::tls13(&gcm12, &short, &settings()).is_none());
    let randoms = Randoms { client: &[1; 32], server: &[2; 32] };
    assert!(Opener::tls12(&gcm13, &short, &randoms, Sender::Client, false, &settings()).is_none());
    assert_eq!(format!("{short:?}"), "Secret(..)");
}
