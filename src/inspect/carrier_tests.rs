//! The same values in all the ways in which bodies carry them: with escapes of JSON, in XML, in forms.

use super::{Inspector, Rules, Scans, Settings, Side};
use crate::key::Key;

fn inspector(settings: Settings) -> Inspector {
    let rules = Rules::load(None).unwrap_or_else(|errors| panic!("{}", errors[0]));
    Inspector::new(&rules, settings, Key::from_bytes([7; 16]))
}

/// Classes and how often each was found, however the body is cut.
fn found(media: &str, body: &str) -> String {
    let inspector = inspector(Settings::default());
    let idle = &mut Scans::default();
    let mut all = |pieces: &[&[u8]], last: bool| {
        let mut scan = inspector.begin(Side::Response, Some(media), idle).expect("it is looked at");
        pieces.iter().for_each(|piece| inspector.data(&mut scan, piece, last));
        let found = inspector.finish(scan, idle).sensitive;
        found.iter().map(|found| format!("{} {}", found.class, found.count)).collect::<Vec<_>>().join(", ")
    };
    let whole = all(&[body.as_bytes()], true);
    assert_eq!(all(&[body.as_bytes()], false), whole, "{body}");
    for cut in 0..=body.len() {
        let (one, two) = body.as_bytes().split_at(cut);
        assert_eq!(all(&[one, two], false), whole, "{body} cut at {cut}");
    }
    whole
}

#[test]
fn escapes_hide_nothing() {
    let pem = concat!(
        r"-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA1mQ8h0Zr8zV3Yq7Tt0c9uJ1sW\/q0xFzJ2yq8pQ4b6s1u5oYh\n",
        r"abc=\n-----END RSA PRIVATE KEY-----"
    );
    for (body, wanted) in [
        (r#"{"dsn":"postgres:\/\/svc:3f9a2b7c1d4e@10.20.0.40:5432\/core"}"#, "database_url 1"),
        (
            r#"{"h":"https:\/\/hooks.slack.com\/services\/T01ABCDEF\/B02GHIJKL\/x7Kq2mB9vLpR4tYw8sZcN1dF"}"#,
            "chat_token 1",
        ),
        (r#"{"aws_secret_access_key":"wq8R2kLz9\/Vx+Tn4bYc7Hs1GdJfPm5Ue3Ao6Zi0X"}"#, "generic_secret 1"),
        (r#"{"client_secret":"x7Kq2mB9vLpR4t\u002BYw8sZcN1dF"}"#, "generic_secret 1"),
        (&format!(r#"{{"k":"{pem}"}}"#), "private_key 1"),
        (r#"{"dob":"07\/21\/1984"}"#, "date_of_birth 1"),
        (r#"{"phone":"\u002B4930123456789"}"#, "phone 1"),
        (r#"{"phone":"\u002B1-202-555-0123"}"#, "phone 1"),
        (r#"{"m":"ana.bo7\u0040mail3.example"}"#, "email 1"),
        (r#"{"street":"Kastanienstra\u00dfe 17b"}"#, "postal_address 1"),
        (r#"{"street":"12\/3 Main Street"}"#, "postal_address 1"),
        (r#"{"payload":"{\"cardNumber\":\"4539148803436467\"}"}"#, "payment_card 1"),
        (r#"{"regex":"\u0040 a\/b \"}"#, ""),
    ] {
        assert_eq!(found("application/json", body), wanted, "{body}");
    }
}

#[test]
fn elements_and_parts_and_values_beside_their_names() {
    for (media, body, wanted) in [
        ("text/xml", "<ns2:nino>CE482913B</ns2:nino>", "national_id 1"),
        ("text/xml", "<b:c><b:dob>1984-07-21</b:dob></b:c>", "date_of_birth 1"),
        ("text/xml", "<ns2:street>12 rue des Lilas</ns2:street>", "postal_address 1"),
        ("text/xml", "<ns2:passportNumber>C01X00T47</ns2:passportNumber>", "passport 1"),
        ("text/xml", "<dob><![CDATA[1984-07-21]]></dob>", "date_of_birth 1"),
        ("text/xml", "<b:cardNumber><![CDATA[4539148803436467]]></b:cardNumber>", "payment_card 1"),
        ("text/xml", "<clientSecret>x7Kq2mB9vLpR4tYw8sZcN1dF</clientSecret>", "generic_secret 1"),
        ("text/xml", "<b:clientSecret>x7Kq2mB9vLpR4tYw8sZcN1dF</b:clientSecret>", "generic_secret 1"),
        (
            "text/html",
            r#"<input name="dob" value="1984-07-21"><input name="ssn" value="523459012">"#,
            "date_of_birth 1, us_ssn 1",
        ),
        (
            "application/json",
            r#"[{"name":"ssn","value":"523459012"},{"Name":"birthdate","Value":"1984-07-21"}]"#,
            "date_of_birth 1, us_ssn 1",
        ),
        (
            "application/json",
            r#"{"ssn":{"value":"523459012"},"dob":{"value":"1984-07-21"}}"#,
            "date_of_birth 1, us_ssn 1",
        ),
        ("application/json", r#"{"name":"order","value":"523459012"}"#, ""),
        ("application/json", r#"{"order_number":{"value":"4539 1488 0343 6467"}}"#, ""),
        (
            "multipart/form-data",
            concat!(
                "--X\r\nContent-Disposition: form-data; name=\"dateOfBirth\"\r\n\r\n1984-07-21\r\n--X\r\n",
                "Content-Disposition: form-data; name=\"passport\"\r\nContent-Type: text/plain\r\n\r\nC01X00T47\r\n--X\r\n",
                "Content-Disposition: form-data; name=\"ssn\"\r\n\r\n523459012\r\n--X--\r\n",
            ),
            "date_of_birth 1, passport 1, us_ssn 1",
        ),
    ] {
        assert_eq!(found(media, body), wanted, "{body}");
    }
}

#[test]
fn passwords_in_urls_are_one_secret_and_no_address() {
    for (body, wanted) in [
        (r#"{"u":"postgresql+asyncpg://svc:3f9a2b7c1d4e@db.corp.example:5432/x"}"#, "database_url 1"),
        (r#"{"u":"https://svc:x7Kq2mB9vLpR4t@git.corp.example/x.git"}"#, "generic_secret 1"),
        (r#"{"u":"https://user:password@db.corp.example/x","m":"ana@mail3.example"}"#, "email 1"),
        (r#"{"u":"mysql2://svc:3f9a2b7c1d4e@db:5432/x"}"#, "database_url 1"),
    ] {
        assert_eq!(found("application/json", body), wanted, "{body}");
    }
}

#[test]
fn fields_of_values_behind_escapes_are_known() {
    let inspector = inspector(Settings { shapes: true, ..Settings::default() });
    let filler = r"a\/b \u00e9 and so on, ".repeat(200);
    let body = format!(
        r#"{{"a\/":"{filler}","mail":"ann\u0040mail.example","note":"{filler}","list":[{{"iban":"DE44500105175407324931"}}],"last":"\/"}}"#
    );
    let idle = &mut Scans::default();
    let mut fields = |pieces: &[&[u8]]| {
        let mut scan = inspector.begin(Side::Response, Some("application/json"), idle).expect("JSON");
        pieces.iter().for_each(|piece| inspector.data(&mut scan, piece, false));
        let shape = inspector.finish(scan, idle).shape.expect("it has a shape");
        let name = |place: u32| {
            let names = shape.way(place).into_iter().filter_map(|step| match step {
                crate::call::Within::Field(name) => Some(name.to_owned()),
                _ => None,
            });
            names.collect::<Vec<_>>().join(".")
        };
        let found = shape.sensitive_places().iter().map(|(place, class)| format!("{} {class}", name(*place)));
        let mut found: Vec<_> = found.collect();
        found.sort();
        found
    };
    let wanted = ["list.iban iban", "mail email"];
    assert_eq!(fields(&[body.as_bytes()]), wanted);
    for cut in (0..body.len()).step_by(61) {
        let (one, two) = body.as_bytes().split_at(cut);
        assert_eq!(fields(&[one, two]), wanted, "cut at {cut}");
    }
    let pieces: Vec<&[u8]> = body.as_bytes().chunks(100).collect();
    assert_eq!(fields(&pieces), wanted);
}
