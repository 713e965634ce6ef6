use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::call::{Types, Within};

const LIMITS: Limits = Limits { nodes: 64, depth: 8 };

fn shape(kind: Kind, pieces: &[&[u8]]) -> Option<Arc<BodyShape>> {
    let mut walker = Walker::new();
    walker.begin(kind, LIMITS);
    pieces.iter().for_each(|piece| walker.data(piece));
    walker.finish(|_| None, |name| name == b"password")
}

/// The places of a body by their paths, as text.
fn paths(shape: &BodyShape) -> BTreeMap<String, String> {
    let mut names: Vec<String> = Vec::new();
    let mut all = BTreeMap::new();
    for place in shape.places() {
        let around = names.get(place.parent).cloned().unwrap_or_default();
        let name = match place.within {
            Within::Body => String::new(),
            Within::Field(name) => format!("{around}.{name}"),
            Within::Entry => format!("{around}.*"),
            Within::Item => format!("{around}[]"),
        };
        let types: Vec<_> = place.types.iter().map(|one| one.name()).collect();
        let formats: Vec<_> = place.formats.iter().map(|one| one.name()).collect();
        let optional = if matches!(place.within, Within::Field(_)) && !place.always { "?" } else { "" };
        all.insert(name.clone(), format!("{}{optional} {}", types.join("|"), formats.join("|")).trim().to_owned());
        names.push(name);
    }
    all
}

const BODY: &str = concat!(
    r#"{"items":[{"id":1,"price":9.5,"tags":["new"],"note":null},{"id":99999999999,"price":1,"note":"a \"b\""}],"#,
    r#""by_day":{"2026-03-02":{"n":1},"2026-03-03":{"n":2,"m":true}},"ok":true,"empty":[],"#,
    r#""user":{"email":"ana@example.com","uuid":"3f2504e0-4f89-11d3-9a0c-0305e82c3301"}}"#
);

#[test]
fn types_formats_and_presence() {
    let shape = shape(Kind::Json, &[BODY.as_bytes()]).expect("a shape");
    assert!(!shape.incomplete && !shape.malformed);
    let expected = [
        ("", "object"),
        (".by_day", "object"),
        (".by_day.*", "object"),
        (".by_day.*.m", "boolean?"),
        (".by_day.*.n", "integer"),
        (".empty", "array"),
        (".empty[]", ""),
        (".items", "array"),
        (".items[]", "object"),
        (".items[].id", "integer int64"),
        (".items[].note", "null|string text"),
        (".items[].price", "integer|number"),
        (".items[].tags", "array?"),
        (".items[].tags[]", "string word"),
        (".ok", "boolean"),
        (".user", "object"),
        (".user.email", "string email"),
        (".user.uuid", "string uuid"),
    ];
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(path, what)| ((*path).to_owned(), (*what).to_owned())).collect();
    assert_eq!(paths(&shape), expected);
}

#[test]
fn integers_are_told_by_their_bits() {
    let body = br#"{"a":2147483647,"b":-2147483648,"c":2147483648,"d":9223372036854775807,"e":-9223372036854775808,
        "f":9223372036854775808,"g":12345678901234567890123}"#;
    let all = paths(&shape(Kind::Json, &[body]).expect("a shape"));
    let told = ["a", "b", "c", "d", "e", "f", "g"].map(|name| all[&format!(".{name}")].clone());
    let expected =
        ["integer", "integer", "integer int64", "integer int64", "integer int64", "integer large", "integer large"];
    assert_eq!(told, expected);
}

#[test]
fn a_body_may_come_in_any_pieces() {
    let whole = shape(Kind::Json, &[BODY.as_bytes()]).expect("a shape");
    for cut in 0..=BODY.len() {
        let (one, two) = BODY.as_bytes().split_at(cut);
        assert_eq!(shape(Kind::Json, &[one, two]).as_deref(), Some(&*whole), "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = BODY.as_bytes().chunks(1).collect();
    assert_eq!(shape(Kind::Json, &bytes).as_deref(), Some(&*whole));
}

#[test]
fn what_is_not_whole_or_no_json_is_marked() {
    for (body, incomplete, malformed) in [
        (&br#"{"a":1"#[..], true, false),
        (br#"{"a":"half"#, true, false),
        (br#"{"a":}"#, false, true),
        (br#"[1,2}"#, false, true),
        (br#"{"a":1}}"#, false, true),
        (br#"{"a" 1}"#, false, true),
        (b"<html>", false, true),
        (b"nul", false, true),
        (b"{\"a\":1}\n{\"a\":2}\n", false, false),
        (b"[[[[[[[[[[[1]]]]]]]]]]]", true, false),
        (b"[[[[[[[[{\"a\":[1,{\"b\":2}],\"c\":\"d\"},3]]]]]]]]", true, false),
        (b"\xef\xbb\xbf[]", false, false),
        (b"-", false, false),
    ] {
        let shape = shape(Kind::Json, &[body]).expect("a shape");
        let text = String::from_utf8_lossy(body);
        assert_eq!((shape.incomplete, shape.malformed), (incomplete, malformed), "{text}");
    }
    assert!(shape(Kind::Json, &[b" "]).is_none());
}

#[test]
fn the_nodes_of_a_body_are_limited() {
    let fields: Vec<_> = (0..200).map(|number| format!(r#""field_{}":{{"x":[1]}}"#, letters(number))).collect();
    let body = format!("{{{}}}", fields.join(","));
    let shape = shape(Kind::Json, &[body.as_bytes()]).expect("a shape");
    assert_eq!((shape.places().count(), shape.incomplete, shape.malformed), (64, true, false));
}

fn letters(number: usize) -> String {
    [b'a' + (number / 26) as u8, b'a' + (number % 26) as u8].map(char::from).iter().collect()
}

#[test]
fn words_are_kept_but_of_secrets() {
    let body =
        br#"{"status":"paid","password":"hunter","name":"Ada Adler","list":["a","b","a"],"mixed":["word","19.5"]}"#;
    let shape = shape(Kind::Json, &[body]).expect("a shape");
    let words: Vec<_> = shape.words().map(|(_, word)| word).collect();
    assert_eq!(words, ["paid", "a", "b"]);
    assert_eq!(shape.wordy.len(), 2, "the name, and what is mixed");
    let written = serde_json::to_string(&*shape).expect("plain data");
    assert!(["paid", "hunter", "Ada", "19.5"].iter().all(|value| !written.contains(value)), "{written}");
}

#[test]
fn forms() {
    let body = b"email=ana%40example.com&page=2&page=3&tag=&4711=x&kind=new+one";
    let whole = shape(Kind::Pairs, &[body]).expect("a shape");
    let expected = [
        ("", "object"),
        (".*", "string word"),
        (".email", "string email"),
        (".kind", "string text"),
        (".page", "string digits"),
        (".tag", "string empty"),
    ];
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(path, what)| ((*path).to_owned(), (*what).to_owned())).collect();
    assert_eq!(paths(&whole), expected);
    for cut in 0..=body.len() {
        let (one, two) = body.split_at(cut);
        assert_eq!(shape(Kind::Pairs, &[one, two]).as_deref(), Some(&*whole), "cut at {cut}");
    }
}

#[test]
fn multipart_forms() {
    let body = concat!(
        "--XyZ\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\n4711\r\n",
        "--XyZ\r\nContent-Disposition: form-data; name=\"upload\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n",
        "\u{0}\r\n--Xy\r\nbytes\r\n--XyZ\r\nContent-Disposition: form-data; filename=\"\"; name=\"none\"\r\n\r\n\r\n--XyZ--\r\n"
    )
    .as_bytes();
    let whole = shape(Kind::Parts, &[body]).expect("a shape");
    assert!(!whole.incomplete && !whole.malformed);
    let expected = [("", "object"), (".id", "string digits"), (".none", "string empty"), (".upload", "string binary")];
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(path, what)| ((*path).to_owned(), (*what).to_owned())).collect();
    assert_eq!(paths(&whole), expected);
    for cut in 0..=body.len() {
        let (one, two) = body.split_at(cut);
        assert_eq!(shape(Kind::Parts, &[one, two]).as_deref(), Some(&*whole), "cut at {cut}");
    }
    assert!(shape(Kind::Parts, &[&body[..60]]).is_some_and(|shape| shape.incomplete));
    assert!(shape(Kind::Parts, &[b"no boundary\r\n"]).is_some_and(|shape| shape.malformed));
}

#[test]
fn parameters_of_queries() {
    let query = "page=2&sort=price&&q=a+b&tok%65n=abc&mail=a%40b.example&flag&below=-5";
    let key = |name: &[u8], value: &[u8]| name == b"token" && value == b"abc";
    let found: Vec<_> = parameters(query, 64, |name| name == b"token", key).collect();
    let of = |number: usize| {
        let one = &found[number];
        (one.format.iter().map(|one| one.name()).collect::<String>(), one.word.as_deref())
    };
    assert_eq!(found.len(), 7);
    assert!(found.iter().enumerate().all(|(number, one)| one.credential == (number == 3)), "{found:?}");
    assert_eq!(of(0), ("digits".into(), None));
    assert_eq!(of(1), ("word".into(), Some("price")));
    assert_eq!(of(2), ("text".into(), None));
    assert_eq!(of(3), ("word".into(), None));
    assert_eq!(of(4), ("email".into(), None));
    assert_eq!(of(5), ("empty".into(), None));
    assert_eq!(of(6), ("digits".into(), None));
}

/// Values as serde_json has them, to compare with.
fn types_of(value: &serde_json::Value, types: &mut Types) {
    types.insert(match value {
        serde_json::Value::Null => crate::call::Type::Null,
        serde_json::Value::Bool(_) => crate::call::Type::Boolean,
        serde_json::Value::Number(number) if number.is_f64() => crate::call::Type::Number,
        serde_json::Value::Number(_) => crate::call::Type::Integer,
        serde_json::Value::String(_) => crate::call::Type::String,
        serde_json::Value::Array(_) => crate::call::Type::Array,
        serde_json::Value::Object(_) => crate::call::Type::Object,
    });
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e9..1e9f64).prop_map(|number| (number + 0.5).into()),
        "[ -~é\"\\\\\n]{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map("[a-d]{1,2}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_serde_reads_is_read(value in value(), cut in 0usize..200) {
        let text = serde_json::to_string(&value).expect("plain data");
        let (one, two) = text.as_bytes().split_at(cut.min(text.len()));
        let mut walker = Walker::new();
        walker.begin(Kind::Json, Limits { nodes: 4096, depth: 64 });
        walker.data(one);
        walker.data(two);
        let shape = walker.finish(|_| None, |_| false).expect("a value has a shape");
        prop_assert!(!shape.malformed && !shape.incomplete, "{}", text);
        let mut types = Types::default();
        types_of(&value, &mut types);
        prop_assert_eq!(shape.places().next().map(|place| place.types), Some(types));
        if let serde_json::Value::Object(map) = &value {
            let mut found: Vec<_> = shape
                .places()
                .filter_map(|place| match place.within {
                    Within::Field(name) if place.parent == 0 => Some((name.to_owned(), place.types)),
                    _ => None,
                })
                .collect();
            found.sort();
            let expected: Vec<_> = map
                .iter()
                .map(|(name, value)| {
                    let mut types = Types::default();
                    types_of(value, &mut types);
                    (name.clone(), types)
                })
                .collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn nothing_falls_on_hostile_bytes(bytes in prop::collection::vec(prop::sample::select(
        b"{}[]\":,\\ \n-0123456789.eEtrufalsn--ab%=&\r\x00\xff".to_vec()), 0..300), cut in 0usize..300) {
        let (one, two) = bytes.split_at(cut.min(bytes.len()));
        for kind in [Kind::Json, Kind::Pairs, Kind::Parts] {
            let (all, halves) = (shape(kind, &[&bytes]), shape(kind, &[one, two]));
            prop_assert!(all.as_ref().is_none_or(|shape| shape.places().count() <= 64));
            if kind == Kind::Json {
                prop_assert_eq!(all, halves);
            }
        }
    }
}
