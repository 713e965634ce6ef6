//! Recall and precision of the rules on generated values: what each class is to find, in many spellings and fields, and
//! what only looks like it: wrong check digits, right numbers in other fields, parts of longer numbers, and what APIs
//! answer with all day.

use std::collections::BTreeMap;

use super::{Findings, Inspector, Rules, Scans, Settings, Side, national, validate};
use crate::key::Key;

/// xorshift: the set is the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn choose<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// A text of this shape: `#` is a digit, `%` a digit but 0, `@` a capital letter, `^` either, `~` a hexadecimal digit,
    /// `=` an at sign.
    fn fill(&mut self, shape: &str) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        shape
            .chars()
            .map(|place| match place {
                '#' => char::from(b'0' + self.below(10) as u8),
                '%' => char::from(b'1' + self.below(9) as u8),
                '@' => char::from(LETTERS[self.below(26)]),
                '^' => char::from(LETTERS[self.below(36)]),
                '~' => char::from(b"0123456789abcdef"[self.below(16)]),
                '=' => '@',
                other => other,
            })
            .collect()
    }

    /// A text of one of these shapes that passes, or that does not.
    fn draw(&mut self, shapes: &[&str], check: fn(&[u8]) -> bool, wanted: bool) -> String {
        for _ in 0..3_000_000 {
            let shape = self.choose(shapes);
            let text = self.fill(shape);
            if check(text.as_bytes()) == wanted {
                return text;
            }
        }
        panic!("nothing of the shapes {shapes:?} passes")
    }
}

/// Values of one kind.
struct Kind {
    class: &'static str,
    shapes: &'static [&'static str],
    /// What is true of them; always for those that have no check.
    check: Option<fn(&[u8]) -> bool>,
    /// Names of fields in which they stand.
    fields: &'static [&'static str],
    /// They are found in any field.
    anywhere: bool,
}

const fn kind(
    class: &'static str,
    shapes: &'static [&'static str],
    check: fn(&[u8]) -> bool,
    fields: &'static [&'static str],
) -> Kind {
    Kind { class, shapes, check: Some(check), fields, anywhere: false }
}

const fn unchecked(class: &'static str, shapes: &'static [&'static str], fields: &'static [&'static str]) -> Kind {
    Kind { class, shapes, check: None, fields, anywhere: false }
}

const fn anywhere(kind: Kind) -> Kind {
    Kind { anywhere: true, ..kind }
}

fn card(text: &[u8]) -> bool {
    validate::payment_card(&text.iter().copied().filter(u8::is_ascii_digit).collect::<Vec<_>>())
}

fn iban(text: &[u8]) -> bool {
    validate::iban(&text.iter().copied().filter(|byte| *byte != b' ').collect::<Vec<_>>())
}

fn ssn(text: &[u8]) -> bool {
    validate::us_ssn(&text.iter().copied().filter(u8::is_ascii_digit).collect::<Vec<_>>())
}

const FIELDS_ANYWHERE: &[&str] = &["value", "data", "comment", "text", "field7", "taxId"];

/// Without a true value in it.
const OTHER_FIELDS: &[&str] = &[
    "orderNumber",
    "tracking_no",
    "invoice",
    "traceId",
    "sequence",
    "created",
    "sku",
    "reference",
    "batch",
    "etag",
    "size",
    "offset",
    "duration_us",
    "revision",
    "build",
    "quantity",
];

const KINDS: &[Kind] = &[
    kind(
        "payment_card",
        &["4###############", "51##############", "55##############", "6011############", "37#############"],
        card,
        &["pan", "cardNumber", "card_number", "creditCard"],
    ),
    anywhere(kind(
        "payment_card",
        &["4### #### #### ####", "52##-####-####-####", "6011 #### #### ####", "37## ###### #####"],
        card,
        FIELDS_ANYWHERE,
    )),
    anywhere(kind(
        "iban",
        &[
            "DE####################",
            "FR####################^^^##",
            "GB##@@@@##############",
            "NL##@@@@##########",
            "ES## #### #### #### #### ####",
            "PL##########################",
        ],
        iban,
        FIELDS_ANYWHERE,
    )),
    anywhere(kind("us_ssn", &["###-##-####"], ssn, &["ssn", "taxId", "value"])),
    kind("us_ssn", &["#########"], ssn, &["ssn", "socialSecurityNumber"]),
    kind(
        "national_id",
        &["@@######@", "@@ ## ## ## @"],
        national::uk_nino,
        &["nino", "nationalInsuranceNumber", "ni_number"],
    ),
    kind("national_id", &["##########", "### ### ####"], national::uk_nhs, &["nhsNumber", "nhs_no"]),
    kind("national_id", &["########@", "X#######@", "Y#######@"], national::es_dni, &["dni", "nif", "documento"]),
    kind(
        "national_id",
        &["@@@@@@##@##@###@"],
        national::it_codice_fiscale,
        &["codiceFiscale", "codice_fiscale", "fiscalCode"],
    ),
    kind("national_id", &["1##############", "2##############"], national::fr_nir, &["nir", "numeroSecu"]),
    anywhere(kind(
        "national_id",
        &["1 ## ## ## ### ### ##", "2 ## ## ## ### ### ##"],
        national::fr_nir,
        FIELDS_ANYWHERE,
    )),
    kind(
        "national_id",
        &["%##########", "%# ### ### ###"],
        national::de_tax_id,
        &["steuerId", "taxId", "steueridentifikationsnummer"],
    ),
    kind("national_id", &["#########"], national::nl_bsn, &["bsn", "burgerservicenummer"]),
    kind(
        "national_id",
        &["###########", "##.##.##-###.##"],
        national::be_national_number,
        &["rijksregisternummer", "insz"],
    ),
    kind("national_id", &["###########"], national::pl_pesel, &["pesel", "nationalId"]),
    kind(
        "national_id",
        &["######-####", "19######-####"],
        national::se_personnummer,
        &["personnummer", "personalNumber"],
    ),
    kind("national_id", &["######-###^", "######A###^"], national::fi_hetu, &["hetu", "henkilotunnus"]),
    kind("national_id", &["###########"], national::no_fodselsnummer, &["fodselsnummer", "fnr"]),
    kind("national_id", &["1############", "2############"], national::ro_cnp, &["cnp"]),
    kind("national_id", &["######/####", "##########"], national::cz_rodne_cislo, &["rodneCislo", "birthNumber"]),
    kind("national_id", &["##########"], national::bg_egn, &["egn"]),
    kind(
        "national_id",
        &["3##########", "4##########"],
        national::baltic_personal_code,
        &["isikukood", "personalCode"],
    ),
    kind("national_id", &["###########"], national::hr_oib, &["oib"]),
    kind("national_id", &["#######@", "#######@A"], national::ie_pps, &["ppsn", "pps_number"]),
    kind(
        "national_id",
        &["%#########", "%### ######"],
        national::at_social_security,
        &["svnr", "sozialversicherungsnummer"],
    ),
    anywhere(kind("national_id", &["756.####.####.##"], national::ch_ahv, FIELDS_ANYWHERE)),
    kind("national_id", &["756##########"], national::ch_ahv, &["ahvNumber"]),
    kind("national_id", &["2########", "1########"], national::pt_nif, &["nif"]),
    kind("national_id", &["%##########"], national::tr_kimlik, &["tcKimlikNo", "tckn"]),
    kind("national_id", &["#############"], national::za_identity, &["idNumber", "nationalId"]),
    kind("national_id", &["%###########", "%### #### ####"], national::in_aadhaar, &["aadhaar", "aadhaarNumber"]),
    anywhere(kind(
        "national_id",
        &["1#####19##########", "4#####20##########", "3#####19##########"],
        national::cn_resident_identity,
        &["value", "idNo", "field7"],
    )),
    kind(
        "national_id",
        &["######-1######", "######-2######"],
        national::kr_resident_registration,
        &["rrn", "residentRegistrationNumber"],
    ),
    anywhere(kind("national_id", &["###.###.###-##"], national::br_cpf, FIELDS_ANYWHERE)),
    kind("national_id", &["###########"], national::br_cpf, &["cpf"]),
    kind("national_id", &["20-########-#", "27#########"], national::ar_cuit, &["cuil", "cuit"]),
    kind("national_id", &["##.###.###-#", "########-K"], national::cl_rut, &["rut"]),
    kind("national_id", &["@@@@######H@@@@@##", "@@@@######M@@@@@##"], national::mx_curp, &["curp"]),
    kind("national_id", &["%########", "### ### ###"], national::ca_sin, &["sin", "socialInsuranceNumber"]),
    kind("national_id", &["#########", "### ### ###"], national::au_tax_file_number, &["tfn", "taxFileNumber"]),
    anywhere(kind("national_id", &["9##-##-####"], national::us_itin, FIELDS_ANYWHERE)),
    kind("bank_account", &["#########"], national::us_routing_number, &["routingNumber", "aba"]),
    unchecked(
        "passport",
        &["%########", "C%^^##^##", "@#######", "##@@#####"],
        &["passportNumber", "passport_no", "passport"],
    ),
    unchecked("date_of_birth", &["19##-0%-1#", "19##/0%/2#", "1%.0%.19##"], &["dob", "dateOfBirth", "birth_date"]),
    unchecked(
        "postal_address",
        &["%# Market Street", "Lindenstrasse %#a", "%# rue du Moulin"],
        &["street", "addressLine1", "address_line_1"],
    ),
    unchecked("geolocation", &["4#.######", "-3#.#####"], &["latitude", "gps_lat"]),
    unchecked("health", &["E1#.#", "F3#.##", "M5#"], &["icd10", "diagnosisCode"]),
    unchecked("bank_account", &["########", "#########"], &["bankAccountNumber", "bank_account"]),
    unchecked("email", &["ana.%#=mail%.example", "bo_%##=sub.firm%.co.uk"], &["email", "value", "contact"]),
    unchecked("phone", &["+1-2%#-5%#-####", "+49 30 %######", "+4420%#######"], &["phone", "value", "mobile"]),
    unchecked("cloud_key", &["AKIA@@@@@@@@@@@@@@@@"], &["key", "value"]),
    unchecked("source_forge_token", &["ghp_^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"], &["token", "value"]),
];

/// A body with the value in a field: JSON, a form, XML, JSON in JSON.
fn wrap(form: usize, field: &str, value: &str) -> String {
    match form % 5 {
        0 => format!(r#"{{"id":17,"{field}":"{value}","ok":true}}"#),
        1 => format!("{{\n  \"{field}\": \"{value}\"\n}}"),
        2 => format!("<row><{field}>{value}</{field}></row>"),
        3 => format!(r#"{{"payload":"{{\"{field}\":\"{value}\"}}"}}"#),
        _ => format!("{field}: {value}\n"),
    }
}

fn scan(inspector: &Inspector, body: &str, idle: &mut Scans) -> Findings {
    let mut scan = inspector.begin(Side::Response, Some("application/json"), idle).expect("JSON is looked at");
    inspector.data(&mut scan, body.as_bytes(), true);
    inspector.finish(scan, idle)
}

/// Texts that have nothing sensitive in them, whatever they look like.
fn ordinary(random: &mut Random) -> String {
    let shape = random.choose(&[
        "~~~~~~~~-~~~~-4~~~-a~~~-~~~~~~~~~~~~",
        "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~",
        "17724#######",
        "17724##########",
        "2026-03-1# 1#:2#:3#.######",
        "#.################",
        "%#.####",
        "v%.#.##-rc%",
        "10.2#.3#.4#",
        "ORD-2026-######",
        "##############",
        "SKU %### ####",
        "%,###,###",
        "@@@-######-@@",
        "eyJ##",
        "0x~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~",
        "%###x%###",
        "####-####",
        "@@######@@",
    ]);
    random.fill(shape)
}

/// What was found of one class.
#[derive(Debug, Default)]
struct Score {
    wanted: u32,
    found: u32,
    spurious: u32,
}

#[test]
fn recall_and_precision_by_class() {
    let rules = Rules::load(None).unwrap_or_else(|errors| panic!("{}", errors[0]));
    let inspector = Inspector::new(&rules, Settings::default(), Key::from_bytes([7; 16]));
    let mut idle = Scans::default();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut scores = BTreeMap::<&str, Score>::new();
    let (mut trues, mut near) = (0, 0);
    for kind in KINDS {
        let mut has =
            |body: &str| scan(&inspector, body, &mut idle).sensitive.iter().any(|found| &*found.class == kind.class);
        let score = scores.entry(kind.class).or_default();
        let check = kind.check.unwrap_or(|_| true);
        for round in 0..120 {
            let value = random.draw(kind.shapes, check, true);
            let body = wrap(round, random.choose(kind.fields), value.trim());
            trues += 1;
            score.wanted += 1;
            score.found += u32::from(has(&body));
            let mut miss = |body: String| {
                near += 1;
                if has(&body) {
                    score.spurious += 1;
                    if score.spurious < 4 {
                        println!("{}: {body}", kind.class);
                    }
                }
            };
            for form in 0..2 {
                let form = round + form;
                // Longer than it should be, or within a word.
                let field = random.choose(kind.fields);
                if kind.check.is_some() {
                    miss(wrap(form, field, &format!("{}7", value.trim())));
                    miss(wrap(form, field, &format!("ref7x{}", value.trim())));
                }
                // In a field that says it is something else.
                if !kind.anywhere && !matches!(kind.class, "email" | "phone" | "cloud_key" | "source_forge_token") {
                    miss(wrap(form, random.choose(OTHER_FIELDS), value.trim()));
                }
                // A wrong check digit.
                if kind.check.is_some() {
                    let wrong = random.draw(kind.shapes, check, false);
                    miss(wrap(form, random.choose(kind.fields), wrong.trim()));
                }
            }
            for form in 0..5 {
                let (field, text) = (random.choose(OTHER_FIELDS), ordinary(&mut random));
                miss(wrap(form, field, &text));
            }
        }
    }
    println!("{trues} values, {near} near misses");
    for (class, score) in &scores {
        println!("{class:20} {score:?}");
    }
    assert!(trues >= 5_000 && near >= 50_000, "{trues} values, {near} near misses");
    for (class, Score { wanted, found, spurious }) in scores {
        let recall = f64::from(found) / f64::from(wanted);
        let precision = f64::from(found) / f64::from((found + spurious).max(1));
        let least = if KINDS.iter().any(|kind| kind.class == class && kind.check.is_some()) { 0.99 } else { 0.95 };
        assert!(recall >= 0.98 && precision >= least, "{class}: recall {recall:.3}, precision {precision:.3}");
    }
}

/// Files of published packages, which have neither: `APITAP_PACKAGES` names a folder of them.
#[test]
fn no_secret_and_no_card_in_published_packages() {
    let Some(folder) = std::env::var_os("APITAP_PACKAGES") else {
        println!("skipped: APITAP_PACKAGES names no folder of packages");
        return;
    };
    const CLASSES: [&str; 9] = [
        "payment_card",
        "cloud_key",
        "source_forge_token",
        "payment_key",
        "chat_token",
        "service_token",
        "private_key",
        "database_url",
        "generic_secret",
    ];
    let rules = Rules::load(None).unwrap_or_else(|errors| panic!("{}", errors[0]));
    let settings = Settings { body_limit: u64::MAX, ..Settings::default() };
    let inspector = Inspector::new(&rules, settings, Key::from_bytes([7; 16]));
    let mut idle = Scans::default();
    let (mut folders, mut bytes, mut files, mut wrong) = (vec![std::path::PathBuf::from(folder)], 0, 0, 0);
    let mut found = BTreeMap::<String, u32>::new();
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> =
            std::fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            if !["js", "mjs", "cjs", "json", "html", "htm", "css"].contains(&extension) {
                continue;
            }
            let body = std::fs::read(&path).expect("a file");
            (bytes, files) = (bytes + body.len(), files + 1);
            let mut scan = inspector.begin(Side::Response, None, &mut idle).expect("anything is looked at");
            scan.tally.spans = Some(Vec::new());
            inspector.data(&mut scan, &body, true);
            let spans = scan.tally.spans.take().unwrap_or_default();
            for class in &inspector.finish(scan, &mut idle).sensitive {
                *found.entry(class.class.to_string()).or_default() += class.count;
                if CLASSES.contains(&&*class.class) {
                    wrong += class.count;
                    println!("{}: {} × {}", path.display(), class.count, class.class);
                }
            }
            for (rule, span) in spans {
                let rule = &rules.compiled.rules[usize::from(rule)];
                let class = &rules.compiled.classes[usize::from(rule.class)].name;
                if CLASSES.contains(&&**class) {
                    println!(
                        "  {}: {}",
                        rule.name,
                        String::from_utf8_lossy(body.get(span.start as usize..span.end as usize).unwrap_or_default())
                    );
                }
            }
        }
    }
    println!("{files} files, {bytes} bytes: {found:?}");
    assert_eq!(wrong, 0, "in {files} files of {bytes} bytes");
}
