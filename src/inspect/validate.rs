//! Checks in code that a candidate has to pass: check digits, assigned ranges, plausible shapes.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine;

use super::national;

macro_rules! validators {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal $(=> $check:path)?,)+) => {
        /// A check that rules name.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum Validator {
            /// Everything passes.
            #[default]
            None,
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Validator {
            /// Every one that a rule can name.
            pub const ALL: &'static [Validator] = &[$(Validator::$variant),+];

            /// Its name in rules.
            pub const fn name(self) -> &'static str {
                match self { Validator::None => "none", $(Validator::$variant => $name),+ }
            }

            /// What it checks, for `apitap rules list`.
            pub const fn help(self) -> &'static str {
                match self { Validator::None => "", $(Validator::$variant => concat!($($doc),+)),+ }
            }

            /// The check of those that look at nothing but the value; none of those that look at its spelling or at what
            /// stands before it, too.
            pub(super) fn check(self) -> Option<fn(&[u8]) -> bool> {
                match self {
                    Validator::None => Some(|_| true),
                    $($(Validator::$variant => Some($check),)?)+
                    Validator::Phone
                    | Validator::SubscriberNumber
                    | Validator::UrlPassword
                    | Validator::UrlSecret => None,
                }
            }
        }
    };
}

validators! {
    /// The Luhn check digit (ISO/IEC 7812-1, annex B).
    Luhn = "luhn" => luhn,
    /// An issuer's prefix and length, the Luhn check digit, and not one digit repeated.
    PaymentCard = "payment_card" => payment_card,
    /// The ranges in which US social security numbers are assigned.
    UsSsn = "us_ssn" => us_ssn,
    /// Country, its length, and check digits of an IBAN (ISO 13616).
    Iban = "iban" => iban,
    /// A local part, a domain of several labels and an alphabetic top-level domain that is no file suffix.
    Email = "email" => email,
    /// A telephone number that its spelling alone gives away.
    Phone = "phone",
    /// Digits that could be a telephone number, and no date, decimal or address.
    SubscriberNumber = "subscriber_number",
    /// Not x's, zeros, angle brackets or words such as "example" and "your".
    NoPlaceholder = "no_placeholder" => no_placeholder,
    /// A password in a URL before `@`, of any form but a placeholder's; the pattern is that of the URL's scheme.
    UrlPassword = "url_password",
    /// The same, of eight bytes or more with letters and digits.
    UrlSecret = "url_secret",
    /// A placeholder-free value of letters and digits with at least 3 bits of entropy a byte.
    Entropy = "entropy" => entropy,
    /// Six to nine letters and digits, at least five of them digits, that are not all the same.
    Passport = "passport" => passport,
    /// Several words with a number among them, or a post box.
    PostalAddress = "postal_address" => postal_address,
    /// A word or more that is no state of a switch and no placeholder.
    Words = "words" => words,
    /// Argentina: CUIT or CUIL of a person.
    ArCuit = "ar_cuit" => national::ar_cuit,
    /// Austria: social security number.
    AtSocialSecurity = "at_social_security" => national::at_social_security,
    /// Australia: Medicare card.
    AuMedicare = "au_medicare" => national::au_medicare,
    /// Australia: tax file number.
    AuTaxFileNumber = "au_tax_file_number" => national::au_tax_file_number,
    /// Estonia and Lithuania: personal code.
    BalticPersonalCode = "baltic_personal_code" => national::baltic_personal_code,
    /// Belgium: national register number.
    BeNationalNumber = "be_national_number" => national::be_national_number,
    /// Bulgaria: EGN.
    BgEgn = "bg_egn" => national::bg_egn,
    /// Brazil: CPF.
    BrCpf = "br_cpf" => national::br_cpf,
    /// Canada: social insurance number.
    CaSin = "ca_sin" => national::ca_sin,
    /// Switzerland: AHV number.
    ChAhv = "ch_ahv" => national::ch_ahv,
    /// Chile: RUT.
    ClRut = "cl_rut" => national::cl_rut,
    /// China: resident identity number.
    CnResidentIdentity = "cn_resident_identity" => national::cn_resident_identity,
    /// Czechia and Slovakia: rodné číslo.
    CzRodneCislo = "cz_rodne_cislo" => national::cz_rodne_cislo,
    /// Germany: tax identification number.
    DeTaxId = "de_tax_id" => national::de_tax_id,
    /// Spain: DNI or NIE.
    EsDni = "es_dni" => national::es_dni,
    /// Finland: henkilötunnus.
    FiHetu = "fi_hetu" => national::fi_hetu,
    /// France: numéro de sécurité sociale.
    FrNir = "fr_nir" => national::fr_nir,
    /// Croatia: OIB.
    HrOib = "hr_oib" => national::hr_oib,
    /// Ireland: PPS number.
    IePps = "ie_pps" => national::ie_pps,
    /// Israel: identity number.
    IlIdentity = "il_identity" => national::il_identity,
    /// India: Aadhaar.
    InAadhaar = "in_aadhaar" => national::in_aadhaar,
    /// Italy: codice fiscale.
    ItCodiceFiscale = "it_codice_fiscale" => national::it_codice_fiscale,
    /// South Korea: resident registration number.
    KrResidentRegistration = "kr_resident_registration" => national::kr_resident_registration,
    /// Mexico: CURP.
    MxCurp = "mx_curp" => national::mx_curp,
    /// Netherlands: burgerservicenummer.
    NlBsn = "nl_bsn" => national::nl_bsn,
    /// Norway: fødselsnummer.
    NoFodselsnummer = "no_fodselsnummer" => national::no_fodselsnummer,
    /// Poland: PESEL.
    PlPesel = "pl_pesel" => national::pl_pesel,
    /// Portugal: NIF of a person.
    PtNif = "pt_nif" => national::pt_nif,
    /// Romania: cod numeric personal.
    RoCnp = "ro_cnp" => national::ro_cnp,
    /// Sweden: personnummer.
    SePersonnummer = "se_personnummer" => national::se_personnummer,
    /// Turkey: T.C. kimlik number.
    TrKimlik = "tr_kimlik" => national::tr_kimlik,
    /// United Kingdom: NHS number.
    UkNhs = "uk_nhs" => national::uk_nhs,
    /// United Kingdom: National Insurance number.
    UkNino = "uk_nino" => national::uk_nino,
    /// United States: individual taxpayer number.
    UsItin = "us_itin" => national::us_itin,
    /// United States: Medicare beneficiary identifier.
    UsMedicareBeneficiary = "us_medicare_beneficiary" => national::us_medicare_beneficiary,
    /// United States: routing number of a bank.
    UsRoutingNumber = "us_routing_number" => national::us_routing_number,
    /// South Africa: identity number.
    ZaIdentity = "za_identity" => national::za_identity,
}

impl Validator {
    /// The check of those that are asked of passwords in URLs.
    pub(super) fn of_passwords(self) -> Option<fn(&[u8]) -> bool> {
        match self {
            Validator::UrlPassword => Some(no_placeholder),
            Validator::UrlSecret => Some(|password| {
                let has = |of: fn(&u8) -> bool| password.iter().any(of);
                password.len() >= 8
                    && has(u8::is_ascii_digit)
                    && has(u8::is_ascii_alphabetic)
                    && no_placeholder(password)
            }),
            _ => None,
        }
    }

    /// The one of that name.
    pub fn by_name(name: &str) -> Option<Validator> {
        Validator::ALL.iter().copied().find(|validator| validator.name() == name)
    }
}

/// The Luhn check over ASCII digits.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| {
            let digit = u32::from(digit.wrapping_sub(b'0'));
            if place % 2 == 0 {
                digit
            } else if digit > 4 {
                2 * digit - 9
            } else {
                2 * digit
            }
        })
        .sum();
    digits.len() > 1 && sum.is_multiple_of(10)
}

/// A payment card by issuer prefix and length, and Luhn (ISO/IEC 7812).
pub(super) fn payment_card(digits: &[u8]) -> bool {
    let Some(prefix) = number(digits.get(..6)) else { return false };
    let (two, three, four) = (prefix / 10_000, prefix / 1_000, prefix / 100);
    let known = match digits.len() {
        13 | 18 => false,
        14 => matches!(two, 36 | 38 | 39) || matches!(three, 300..=305),
        15 => matches!(two, 34 | 37),
        16 => {
            prefix / 100_000 == 4
                || matches!(two, 51..=55)
                || matches!(four, 2221..=2720 | 2200..=2204 | 6011 | 3528..=3589)
                || two == 65
                || matches!(three, 644..=649)
                || matches!(two, 62 | 81)
                || matches!(four, 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763)
        }
        17 => two == 62,
        19 => matches!(two, 62) || prefix / 100_000 == 4,
        _ => false,
    };
    known && luhn(digits) && digits.iter().any(|digit| Some(digit) != digits.last())
}

/// A US social security number: area 001 to 899 without 666, group and serial not zero (SSA, since 2011).
pub(super) fn us_ssn(digits: &[u8]) -> bool {
    let (Some(area), Some(group), Some(serial)) =
        (number(digits.get(..3)), number(digits.get(3..5)), number(digits.get(5..9)))
    else {
        return false;
    };
    digits.len() == 9 && area != 0 && area != 666 && area < 900 && group != 0 && serial != 0
}

fn number(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0u32, |sum, digit| {
        let digit = digit.checked_sub(b'0').filter(|&digit| digit < 10)?;
        sum.checked_mul(10)?.checked_add(u32::from(digit))
    })
}

/// Length of an IBAN by country (SWIFT's IBAN registry).
const IBAN_LENGTHS: &str = "\
    AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 \
    EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 \
    JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 \
    NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 \
    TL23 TN24 TR26 UA29 VA22 VG24 XK20";

static IBAN_BY_COUNTRY: LazyLock<BTreeMap<[u8; 2], usize>> = LazyLock::new(|| {
    IBAN_LENGTHS
        .split_ascii_whitespace()
        .filter_map(|entry| {
            let (country, length) = entry.split_at_checked(2)?;
            Some((country.as_bytes().try_into().ok()?, length.parse().ok()?))
        })
        .collect()
});

/// How many bytes an IBAN that begins like this has, spaces apart.
pub(super) fn iban_length(start: &[u8]) -> Option<usize> {
    let [one, two, check1, check2, ..] = *start else { return None };
    (check1.is_ascii_digit() && check2.is_ascii_digit()).then(|| IBAN_BY_COUNTRY.get(&[one, two]).copied())?
}

/// An IBAN without spaces, in capitals: length of its country, and mod 97 of the rearranged number is 1.
pub(super) fn iban(text: &[u8]) -> bool {
    if iban_length(text) != Some(text.len()) {
        return false;
    }
    let (head, tail) = text.split_at(4);
    let remainder = tail.iter().chain(head).try_fold(0u32, |remainder, &byte| match byte {
        b'0'..=b'9' => Some((remainder * 10 + u32::from(byte - b'0')) % 97),
        b'A'..=b'Z' => Some((remainder * 100 + u32::from(byte - b'A') + 10) % 97),
        _ => None,
    });
    // Check digits are 02 to 98.
    remainder == Some(1) && head.get(2..).is_some_and(|check| check != b"00" && check != b"01" && check != b"99")
}

/// Suffixes of files that are taken for top-level domains otherwise (`logo@2x.png`).
const FILE_SUFFIXES: [&[u8]; 18] = [
    b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"avif", b"ico", b"css", b"js", b"mjs", b"cjs", b"ts", b"tsx",
    b"jsx", b"json", b"html", b"map",
];

/// An address in lower case: RFC 5321's dot-string local part of at most 64 bytes, a domain of at least two labels.
pub(super) fn email(text: &[u8]) -> bool {
    let Some(at) = memchr::memchr(b'@', text) else { return false };
    let (local, domain) = (&text[..at], &text[at + 1..]);
    let (Some(&first), Some(&last)) = (local.first(), local.last()) else { return false };
    if local.len() > 64 || domain.len() > 253 || first == b'.' || last == b'.' {
        return false;
    }
    if local.windows(2).any(|pair| pair == b"..") {
        return false;
    }
    let mut labels = 0;
    let mut begin = 0;
    let mut top: &[u8] = b"";
    for end in memchr::memchr_iter(b'.', domain).chain(std::iter::once(domain.len())) {
        top = &domain[begin..end];
        begin = end + 1;
        labels += 1;
        let (Some(&first), Some(&last)) = (top.first(), top.last()) else { return false };
        if top.len() > 63 || !is_label_end(first) || !is_label_end(last) {
            return false;
        }
    }
    labels >= 2
        && (2..=24).contains(&top.len())
        && (top.iter().all(u8::is_ascii_lowercase) || top.starts_with(b"xn--"))
        && !FILE_SUFFIXES.contains(&top)
}

fn is_label_end(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// The groups of digits of a run and what is between them.
struct Groups {
    /// Lengths of the groups.
    lengths: [u8; 8],
    count: usize,
    /// The separator, when all are the same.
    separator: Option<u8>,
    dots: usize,
}

fn groups(run: &[u8]) -> Option<Groups> {
    let mut groups = Groups { lengths: [0; 8], count: 1, separator: None, dots: 0 };
    let mut mixed = false;
    for &byte in run {
        if byte.is_ascii_digit() {
            let length = groups.lengths.get_mut(groups.count - 1)?;
            *length = length.saturating_add(1);
        } else {
            mixed |= groups.separator.is_some_and(|known| known != byte);
            groups.separator = Some(byte);
            groups.dots += usize::from(byte == b'.');
            groups.count += 1;
            if groups.count > groups.lengths.len() {
                return None;
            }
        }
    }
    if mixed {
        groups.separator = None;
    }
    Some(groups)
}

impl Groups {
    fn lengths(&self) -> &[u8] {
        &self.lengths[..self.count]
    }

    /// 2026-03-12, 12.03.2026, 20260312-1011 and the like.
    fn is_date(&self) -> bool {
        matches!(self.lengths(), [4, 2, 2, ..] | [2, 2, 4, ..] | [2, 2, 2] | [8, 6] | [8, 4] | [4, 2])
    }

    /// A decimal number or an IPv4 address.
    fn is_decimal_or_address(&self) -> bool {
        self.dots == 1 || (self.dots == 3 && self.count == 4 && self.lengths().iter().all(|&length| length <= 3))
    }
}

/// A spelling that nothing but telephone numbers has. `run` holds digits and single separators; `plus` tells whether
/// one stands before it, `area` whether an area code in parentheses does.
pub(super) fn phone(run: &[u8], digits: &[u8], plus: bool, area: bool) -> bool {
    let Some(groups) = groups(run) else { return false };
    let exchange = |digits: &[u8]| digits.first().is_some_and(|digit| (b'2'..=b'9').contains(digit));
    if area {
        return matches!(groups.lengths(), [3, 4]) && exchange(digits);
    }
    if digits.first() == Some(&b'0') && plus {
        return false;
    }
    if plus {
        let least = if groups.count == 1 { 10 } else { 8 };
        return (least..=15).contains(&digits.len()) && !groups.is_decimal_or_address();
    }
    let grouped = matches!(groups.separator, Some(b'-' | b'.'));
    match groups.lengths() {
        [3, 3, 4] => grouped && exchange(digits) && digits.get(3..).is_some_and(exchange),
        [1, 3, 3, 4] => {
            grouped
                && digits.first() == Some(&b'1')
                && digits.get(1..).is_some_and(exchange)
                && digits.get(4..).is_some_and(exchange)
        }
        _ => false,
    }
}

/// Digits that a field called "phone" may hold.
pub(super) fn subscriber_number(run: &[u8], digits: &[u8]) -> bool {
    let Some(groups) = groups(run) else { return false };
    (7..=15).contains(&digits.len())
        && !groups.is_date()
        && !groups.is_decimal_or_address()
        && digits.iter().any(|digit| Some(digit) != digits.first())
}

/// Parts of values in documentation that stand for a secret.
const PLACEHOLDERS: [&[u8]; 13] = [
    b"example",
    b"your",
    b"xxxx",
    b"0000000",
    b"changeme",
    b"placeholder",
    b"<",
    b"${",
    b"{{",
    b"****",
    b"....",
    b"redacted",
    b"abcdefghij",
];
/// Whole values of documentation.
const PLACEHOLDER_WORDS: [&[u8]; 8] =
    [b"password", b"passwd", b"pass", b"pwd", b"secret", b"test", b"user", b"postgres"];

/// False for what documentation writes instead of a secret.
pub(super) fn no_placeholder(value: &[u8]) -> bool {
    // Secrets are matched up to 512 bytes; the window that is compared is their beginning.
    let mut lower = [0u8; 256];
    let length = value.len().min(lower.len());
    let lower = &mut lower[..length];
    lower.copy_from_slice(&value[..length]);
    lower.make_ascii_lowercase();
    let lower = &*lower;
    !PLACEHOLDER_WORDS.contains(&lower) && !PLACEHOLDERS.iter().any(|word| memchr::memmem::find(lower, word).is_some())
}

/// Bits of entropy a byte, by the frequencies within `value` (Shannon).
fn entropy_of(value: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for &byte in value {
        counts[usize::from(byte)] += 1;
    }
    let total = value.len() as f64;
    counts.iter().filter(|&&count| count > 0).map(|&count| f64::from(count) / total).map(|p| -p * p.log2()).sum()
}

/// A value that looks drawn, not written: entropy, letters with digits between them, and nothing that code, paths,
/// hashes, UUIDs and placeholders look like.
pub(super) fn entropy(value: &[u8]) -> bool {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = value.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    // The switches between letters and other bytes: words with a number behind them have few.
    let switches = value.windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count();
    digits >= 2
        && letters >= 4
        && switches >= 3
        && entropy_of(value) >= 3.0
        && value.first().is_some_and(|&byte| byte != b'/' && byte != b'$' && byte != b'.')
        && memchr::memmem::find(value, b"://").is_none()
        && !is_uuid(value)
        && !counts_up(value)
        && !is_prose_in_base64(value)
        // What documentation calls its things: MyDatabaseSecret-a1b2c3.
        && !value.get(..2).is_some_and(|begin| begin.eq_ignore_ascii_case(b"my"))
        // And how it cries: VERYLONGSECRETeyJra.
        && memchr::memmem::find(value, b"SECRET").is_none()
        && no_placeholder(value)
}

/// What is drawn as a whole, for a value of which its name says that it may be: [`entropy`], a UUID, a token with claims, or many
/// letters and digits, or digits alone, with nothing between them.
pub(super) fn is_drawn(value: &[u8]) -> bool {
    entropy(value)
        || is_uuid(value)
        || value.starts_with(b"eyJ")
        || (value.len() >= 20 && value.iter().all(u8::is_ascii_alphanumeric) && entropy_of(value) >= 3.5)
        || (value.len() >= 16 && value.iter().all(u8::is_ascii_digit) && entropy_of(value) >= 2.5 && !counts_up(value))
}

/// Number of a passport, as far as numbers of passports are alike.
pub(super) fn passport(value: &[u8]) -> bool {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    (6..=9).contains(&value.len())
        && value.iter().all(u8::is_ascii_alphanumeric)
        && digits >= 5
        && value.iter().any(|byte| Some(byte) != value.last())
}

/// The first line of a postal address.
pub(super) fn postal_address(value: &[u8]) -> bool {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    // Letters beyond ASCII are letters.
    let letters = value.iter().filter(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii()).count();
    (1..=8).contains(&digits)
        && letters >= 3
        && value.trim_ascii().contains(&b' ')
        && letters > digits
        && no_placeholder(value)
}

/// Values of fields that say whether something is there, not what.
const STATES: [&[u8]; 18] = [
    b"true",
    b"false",
    b"null",
    b"none",
    b"unknown",
    b"yes",
    b"no",
    b"enabled",
    b"disabled",
    b"active",
    b"inactive",
    b"string",
    b"text",
    b"number",
    b"object",
    b"array",
    b"undefined",
    b"n/a",
];

/// A text that says something.
pub(super) fn words(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let letters = value.iter().filter(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii()).count();
    letters >= 3 && !STATES.iter().any(|state| value.eq_ignore_ascii_case(state)) && no_placeholder(value)
}

/// Eight digits or more that count up, but for one in five, whatever stands between them: `a123b45c6d78e9f012`.
fn counts_up(value: &[u8]) -> bool {
    let digits = || value.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0');
    let ups = digits().zip(digits().skip(1)).filter(|(one, next)| *next == (one + 1) % 10).count();
    let count = digits().count();
    count >= 8 && 5 * ups >= 4 * (count - 1)
}

/// What somebody wrote to be read, in base64 as passwords often are: `bm90IG15IHJlYWwgcGFzc3dvcmQ=`.
fn is_prose_in_base64(value: &[u8]) -> bool {
    let text = base64::engine::general_purpose::STANDARD.decode(value).unwrap_or_default();
    let words = text.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).count();
    words >= 3 && text.iter().all(|byte| byte.is_ascii_alphabetic() || b" .,;:'!?-".contains(byte))
}

fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value.iter().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
