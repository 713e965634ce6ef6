//! The examples of RFC 7541, appendix C; what another implementation encodes; and what is left after a loss.

use httlib_hpack::Encoder;
use proptest::prelude::*;

use super::*;

type Fields = Vec<(Option<Vec<u8>>, Option<Vec<u8>>)>;

/// A block in hexadecimal digits, its fields, and the size of the table behind it.
type Example<'e> = (&'e str, &'e [(&'e str, &'e str)], u64);

/// A field and the encoder's flags.
type Flagged = (Vec<u8>, Vec<u8>, u8);

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits");
    digits.chunks(2).map(pair).collect()
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Fields, Error> {
    let mut list = List::default();
    decoder.decode(block, &mut list)?;
    let owned = |text: Text<'_>| text.known().map(<[u8]>::to_vec);
    Ok(list.fields().map(|(name, value)| (owned(name), owned(value))).collect())
}

fn fields(list: &[(&str, &str)]) -> Fields {
    list.iter().map(|(name, value)| (Some(name.as_bytes().to_vec()), Some(value.as_bytes().to_vec()))).collect()
}

/// Blocks in turn, with the fields that each comes to and the size of the table behind it.
fn run(maximum: u64, blocks: &[Example<'_>]) {
    let mut decoder = Decoder::new(Limits::default());
    decoder.maximum = Some(maximum);
    for (block, expected, size) in blocks {
        assert_eq!(decode(&mut decoder, &hex(block)), Ok(fields(expected)), "{block}");
        assert_eq!(decoder.size, *size, "{block}");
    }
}

#[test]
fn appendix_c_2_single_fields() {
    run(
        4096,
        &[("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", &[("custom-key", "custom-header")], 55)],
    );
    run(4096, &[("040c 2f73 616d 706c 652f 7061 7468", &[(":path", "/sample/path")], 0)]);
    run(4096, &[("1008 7061 7373 776f 7264 0673 6563 7265 74", &[("password", "secret")], 0)]);
    run(4096, &[("82", &[(":method", "GET")], 0)]);
}

const FIRST: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];
const SECOND: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/"),
    (":authority", "www.example.com"),
    ("cache-control", "no-cache"),
];
const THIRD: &[(&str, &str)] = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/index.html"),
    (":authority", "www.example.com"),
    ("custom-key", "custom-value"),
];

#[test]
fn appendix_c_3_and_4_requests() {
    run(
        4096,
        &[
            ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", FIRST, 57),
            ("8286 84be 5808 6e6f 2d63 6163 6865", SECOND, 110),
            ("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", THIRD, 164),
        ],
    );
    run(
        4096,
        &[
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", FIRST, 57),
            ("8286 84be 5886 a8eb 1064 9cbf", SECOND, 110),
            ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", THIRD, 164),
        ],
    );
}

#[test]
fn appendix_c_5_and_6_responses_with_eviction() {
    let date = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
    let (private, location) = (("cache-control", "private"), ("location", "https://www.example.com"));
    let first: &[_] = &[(":status", "302"), private, date, location];
    let second: &[_] = &[(":status", "307"), private, date, location];
    let third: &[_] = &[
        (":status", "200"),
        private,
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        location,
        ("content-encoding", "gzip"),
        ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ];
    run(
        256,
        &[
            (
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 \
                 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                first,
                222,
            ),
            ("4803 3330 37c1 c0bf", second, 222),
            (
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 \
                 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 \
                 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
                third,
                215,
            ),
        ],
    );
    run(
        256,
        &[
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad \
                 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                first,
                222,
            ),
            ("4883 640e ffc1 c0bf", second, 222),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 \
                 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
                third,
                215,
            ),
        ],
    );
}

#[test]
fn numbers_of_appendix_c_1_and_beyond_sense() {
    assert_eq!(Input(&[0x0a]).integer(5), Ok(10));
    assert_eq!(Input(&[0x1f, 0x9a, 0x0a]).integer(5), Ok(1337));
    assert_eq!(Input(&[0x2a]).integer(8), Ok(42));
    assert_eq!(Input(&[0x1f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]).integer(5), Err(Error::Integer));
    assert_eq!(Input(&[0x1f, 0xff, 0xff, 0xff, 0xff, 0x7f]).integer(5), Err(Error::Integer));
    assert_eq!(Input(&[0x1f, 0x80]).integer(5), Err(Error::Truncated));
}

#[test]
fn what_is_wrong_is_said() {
    let mut decoder = Decoder::new(Limits::default());
    for (block, error) in [
        ("80", Error::Index),
        ("be", Error::Index),
        ("82 20", Error::SizeUpdate),
        ("04 0c 2f73", Error::Truncated),
        ("04 81 00", Error::Huffman),
        ("ff ff ff ff ff ff 01", Error::Integer),
    ] {
        assert_eq!(decode(&mut decoder, &hex(block)), Err(error), "{block}");
    }
}

#[test]
fn after_a_loss_new_entries_are_exact_and_older_ones_unknown() {
    let mut decoder = Decoder::new(Limits::default());
    assert!(decode(&mut decoder, &hex("400161 0131")).is_ok());
    decoder.lose();
    // a: 2 is inserted; then the newest, the one before it, and one whose name alone is referred to.
    let seen = decode(&mut decoder, &hex("400161 0132 be bf 7f00 0133")).expect("a block");
    assert_eq!(&seen[..2], &fields(&[("a", "2"), ("a", "2")]));
    assert_eq!(seen[2], (None, None));
    assert_eq!(seen[3], (None, Some(b"3".to_vec())));
    // The entry of an unknown name stands in the table, before "a: 2".
    assert_eq!(
        decode(&mut decoder, &hex("be bf")).expect("a block"),
        vec![(None, Some(b"3".to_vec())), (Some(b"a".to_vec()), Some(b"2".to_vec())),]
    );
    assert!(!decoder.is_complete());
    // A table of size 0, then one of 4096: nothing is unknown any more.
    assert_eq!(decode(&mut decoder, &hex("20 3fe11f 400161 0134")), Ok(fields(&[("a", "4")])));
    assert!(decoder.is_complete());
    assert_eq!(decode(&mut decoder, &hex("be")), Ok(fields(&[("a", "4")])));
    assert_eq!(decode(&mut decoder, &hex("bf")), Err(Error::Index));
}

#[test]
fn a_full_table_has_nothing_unknown() {
    let mut decoder = Decoder::new(Limits::default());
    decoder.lose();
    // Size 100: three entries of 34 bytes each push out whatever was there.
    decode(&mut decoder, &hex("3f45 400161 0131 400161 0132 400161 0133")).expect("a block");
    assert!(decoder.is_complete());
    assert_eq!(decode(&mut decoder, &hex("be bf")), Ok(fields(&[("a", "3"), ("a", "2")])));
    assert_eq!(decode(&mut decoder, &hex("c0")), Err(Error::Index));
}

#[test]
fn bombs_are_bounded() {
    let limits = Limits { list_bytes: 10_000, list_fields: 50, table_bytes: 5_000, table_entries: 8 };
    let mut decoder = Decoder::new(limits);
    // An entry of 4000 bytes, referred to ten thousand times.
    let large = [&[0x40, 1, b'a', 0x7f, 0xa1, 0x1e][..], &[b'x'; 4000], &[0xbe; 10_000]].concat();
    let mut list = List::default();
    decoder.decode(&large, &mut list).expect("a block");
    assert!(list.cut && list.fields().count() == 2 && list.bytes.len() <= 10_000);
    // A table that the peers agreed to make large: old entries are forgotten, and the places of the others stay right.
    let mut list = List::default();
    let many: Vec<u8> = (0..100u8).flat_map(|n| [0x40, 1, b'n', 1, n]).collect();
    decoder.decode(&[&hex("3fe1ffff03")[..], &many].concat(), &mut list).expect("a block");
    assert!(list.forgotten && decoder.entries.len() <= 8 && decoder.size <= 5_000);
    let seen = decode(&mut decoder, &[0xbe, 0xc5, 0xc6]).expect("a block");
    assert_eq!((&seen[0].1, &seen[1].1, &seen[2].1), (&Some(vec![99]), &Some(vec![92]), &None));
    // One that is too large to be kept takes its place all the same.
    let huge = [&[0x40, 1, b'h', 0x7f, 0xf1, 0x2d][..], &[b'x'; 6000]].concat();
    decoder.decode(&huge, &mut List::default()).expect("a block");
    let seen = decode(&mut decoder, &[0xbe, 0xbf]).expect("a block");
    assert_eq!((&seen[0].1, &seen[1].1), (&None, &Some(vec![99])));
}

/// Header lists as APIs send them: some fields always, some of few values, some ever new.
fn lists() -> impl Strategy<Value = Vec<Vec<Flagged>>> {
    let name = prop::sample::select(vec![":path", "x-request-id", "authorization", "date", "accept", "cookie", "x"]);
    let value = prop_oneof![
        prop::sample::select(vec![&b"/"[..], b"gzip, deflate", b"a", b""]).prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 0..60),
    ];
    let flags = prop::sample::select(vec![0u8, 0x3, 0x4, 0x4 | 0x10, 0x7 | 0x10, 0x8, 0x10, 0x13]);
    let field = (name, value, flags).prop_map(|(name, value, flags)| (name.as_bytes().to_vec(), value, flags));
    prop::collection::vec(prop::collection::vec(field, 1..12), 1..30)
}

/// What an encoder makes of lists; now and then it changes the size of its table.
fn encoded(lists: &[Vec<Flagged>], sizes: &[u16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::with_dynamic_size(4096);
    let block = |(place, list): (usize, &Vec<Flagged>)| {
        let mut block = Vec::new();
        if place % 7 == 6
            && let Some(&size) = sizes.get(place / 7)
        {
            encoder.update_max_dynamic_size(u32::from(size), &mut block).expect("a size");
        }
        for field in list {
            encoder.encode(field.clone(), &mut block).expect("a field");
        }
        block
    };
    lists.iter().enumerate().map(block).collect()
}

fn plain(list: &[Flagged]) -> Fields {
    list.iter().map(|(name, value, _)| (Some(name.clone()), Some(value.clone()))).collect()
}

proptest! {
    #[test]
    fn what_others_encode(lists in lists(), sizes in prop::collection::vec(0u16..5000, 0..4)) {
        let mut decoder = Decoder::new(Limits::default());
        for (block, list) in encoded(&lists, &sizes).iter().zip(&lists) {
            prop_assert_eq!(decode(&mut decoder, block), Ok(plain(list)));
        }
    }

    #[test]
    fn a_lost_part_makes_unknown_and_never_wrong(
        lists in lists(), sizes in prop::collection::vec(0u16..5000, 0..4), lost in prop::collection::vec(any::<bool>(), 30),
    ) {
        let mut decoder = Decoder::new(Limits::default());
        for ((block, list), &lost) in encoded(&lists, &sizes).iter().zip(&lists).zip(&lost) {
            if lost {
                decoder.lose();
                continue;
            }
            let seen = decode(&mut decoder, block).expect("a well-formed block");
            prop_assert_eq!(seen.len(), list.len());
            for ((name, value), (real_name, real_value, _)) in seen.iter().zip(list) {
                prop_assert!(name.as_ref().is_none_or(|name| name == real_name));
                prop_assert!(value.as_ref().is_none_or(|value| value == real_value));
            }
        }
    }

    #[test]
    fn any_bytes(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20), lost in any::<bool>()) {
        let limits = Limits { list_bytes: 400, list_fields: 9, table_bytes: 300, table_entries: 5 };
        let mut decoder = Decoder::new(limits);
        if lost {
            decoder.lose();
        }
        for block in blocks {
            let mut list = List::default();
            let _ = decoder.decode(&block, &mut list);
            prop_assert!(list.fields().count() <= 9 && list.bytes.len() <= 400);
            prop_assert!(decoder.size <= 300 && decoder.entries.len() <= 5);
            prop_assert_eq!(decoder.size, decoder.entries.iter().map(Entry::size).sum::<u64>());
        }
    }
}
