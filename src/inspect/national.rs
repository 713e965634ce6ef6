//! Check digits of national identifiers, as their issuers publish them.
//!
//! Each check takes the text as it was found: separators are passed over, letters may be small. Digits alone prove
//! little, since one number in ten or eleven passes: rules ask for the name of the field as well, or for a spelling
//! that nothing else has.

use super::validate::luhn;

/// Longest identifier without its separators.
const LONGEST: usize = 20;

/// An identifier without separators, letters in capitals.
struct Compact {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Compact {
    /// None when it is too long, or has something in it that is no letter, digit or separator.
    fn of(text: &[u8]) -> Option<Compact> {
        let mut compact = Compact { bytes: [0; LONGEST], length: 0 };
        for &byte in text {
            match byte {
                b' ' | b'-' | b'.' | b'/' | b'+' => {}
                _ if byte.is_ascii_alphanumeric() => {
                    *compact.bytes.get_mut(compact.length)? = byte.to_ascii_uppercase();
                    compact.length += 1;
                }
                _ => return None,
            }
        }
        Some(compact)
    }

    fn text(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The values of exactly `N` digits.
fn digits<const N: usize>(text: &[u8]) -> Option<[u32; N]> {
    let mut digits = [0; N];
    let mut count = 0;
    for byte in text.iter().filter(|byte| !matches!(byte, b' ' | b'-' | b'.' | b'/' | b'+')) {
        *digits.get_mut(count)? = u32::from(byte.checked_sub(b'0').filter(|&digit| digit < 10)?);
        count += 1;
    }
    (count == N && digits.iter().any(|&digit| digit != digits[0])).then_some(digits)
}

/// The sum of the products of digits and weights, as far as both go.
fn weigh(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

/// The number that the digits make.
fn number(digits: &[u32]) -> u64 {
    digits.iter().fold(0, |number, &digit| number * 10 + u64::from(digit))
}

/// A month and a day that there are, whatever the year.
fn is_day(month: u32, day: u32) -> bool {
    let days = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

fn pair(digits: &[u32], at: usize) -> u32 {
    match digits.get(at..at + 2) {
        Some([tens, ones]) => tens * 10 + ones,
        _ => 0,
    }
}

/// The check digit of ISO/IEC 7064, MOD 11,10.
fn is_mod_11_10(digits: &[u32]) -> bool {
    let Some((&check, digits)) = digits.split_last() else { return false };
    let product = digits.iter().fold(10, |product, digit| {
        let sum = (product + digit) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (11 - product) % 10 == check
}

/// 11 minus the remainder, 11 counting as 0.
fn eleven_less(sum: u32) -> u32 {
    (11 - sum % 11) % 11
}

/// Letters by number, for identifiers that end in a letter: number modulo their count.
fn is_letter_of(number: u64, letters: &[u8], letter: u8) -> bool {
    letters.get((number % letters.len() as u64) as usize) == Some(&letter)
}

/// United Kingdom: National Insurance number. It has no check digit: prefixes that are given out, and a suffix of A to D.
pub(super) fn uk_nino(text: &[u8]) -> bool {
    let Some(compact) = Compact::of(text) else { return false };
    let [first, second, middle @ .., suffix] = compact.text() else { return false };
    let prefix = [*first, *second];
    middle.len() == 6
        && middle.iter().all(u8::is_ascii_digit)
        && middle.iter().any(|digit| Some(digit) != middle.first())
        && matches!(suffix, b'A'..=b'D')
        && prefix.iter().all(u8::is_ascii_uppercase)
        && !b"DFIQUV".contains(first)
        && !b"DFIOQUV".contains(second)
        && ![*b"BG", *b"GB", *b"KN", *b"NK", *b"NT", *b"TN", *b"ZZ"].contains(&prefix)
}

/// United Kingdom: NHS number, ten digits, modulo 11.
pub(super) fn uk_nhs(text: &[u8]) -> bool {
    digits::<10>(text).is_some_and(|digits| eleven_less(weigh(&digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2])) == digits[9])
}

/// Spain: DNI of eight digits and a letter, or NIE of X, Y or Z, seven digits and a letter.
pub(super) fn es_dni(text: &[u8]) -> bool {
    let Some(mut compact) = Compact::of(text) else { return false };
    if let Some(first) = compact.bytes.first_mut().filter(|first| matches!(first, b'X'..=b'Z')) {
        *first -= b'X' - b'0';
    }
    let Some((&letter, rest)) = compact.text().split_last() else { return false };
    digits::<8>(rest).is_some_and(|digits| is_letter_of(number(&digits), b"TRWAGMYFPDXBNJZSQVHLCKE", letter))
}

/// Italy: codice fiscale of sixteen letters and digits; the last is the check letter (D.M. 23/12/1976).
pub(super) fn it_codice_fiscale(text: &[u8]) -> bool {
    /// What a character counts in an odd place, by its value.
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let Some(compact) = Compact::of(text) else { return false };
    let Ok(code) = <&[u8; 16]>::try_from(compact.text()) else { return false };
    let is_number = |byte: u8| byte.is_ascii_digit() || b"LMNPQRSTUV".contains(&byte);
    let form = code.iter().enumerate().all(|(place, &byte)| match place {
        6 | 7 | 9 | 10 | 12..=14 => is_number(byte),
        8 => b"ABCDEHLMPRST".contains(&byte),
        _ => byte.is_ascii_uppercase(),
    });
    let value = |byte: u8| u32::from(if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' });
    let sum = |sum: u32, (place, &byte): (usize, &u8)| {
        let value = value(byte);
        sum + if place % 2 == 0 { ODD.get(value as usize).copied().unwrap_or_default() } else { value }
    };
    form && code[..15].iter().enumerate().fold(0, sum) % 26 == value(code[15])
}

/// France: numéro de sécurité sociale of thirteen digits (departments 2A and 2B of Corsica) and a key, modulo 97.
pub(super) fn fr_nir(text: &[u8]) -> bool {
    let Some(mut compact) = Compact::of(text) else { return false };
    if let [_, _, _, _, _, tens, ones, ..] = &mut compact.bytes
        && *tens == b'2'
        && matches!(ones, b'A' | b'B')
    {
        (*tens, *ones) = (b'1', if *ones == b'A' { b'9' } else { b'8' });
    }
    let Some(digits) = digits::<15>(compact.text()) else { return false };
    let month = pair(&digits, 3);
    matches!(digits[0], 1..=4 | 7 | 8)
        && matches!(month, 1..=12 | 20..=42 | 50..=99)
        && 97 - number(&digits[..13]) % 97 == u64::from(pair(&digits, 13))
}

/// Germany: tax identification number of eleven digits, ISO/IEC 7064 MOD 11,10; one digit of the first ten is there two
/// or three times.
pub(super) fn de_tax_id(text: &[u8]) -> bool {
    let Some(digits) = digits::<11>(text) else { return false };
    let mut counts = [0u8; 10];
    for &digit in &digits[..10] {
        if let Some(count) = counts.get_mut(digit as usize) {
            *count += 1;
        }
    }
    let often = counts.iter().filter(|&&count| count > 1).count();
    digits[0] != 0 && often == 1 && counts.iter().all(|&count| count <= 3) && is_mod_11_10(&digits)
}

/// Netherlands: burgerservicenummer of nine digits, modulo 11.
pub(super) fn nl_bsn(text: &[u8]) -> bool {
    digits::<9>(text).is_some_and(|digits| {
        let sum = weigh(&digits, &[9, 8, 7, 6, 5, 4, 3, 2]);
        sum > 0 && sum % 11 == digits[8]
    })
}

/// Belgium: national register number of eleven digits, modulo 97.
pub(super) fn be_national_number(text: &[u8]) -> bool {
    let Some(digits) = digits::<11>(text) else { return false };
    let (serial, check) = (number(&digits[..9]), u64::from(pair(&digits, 9)));
    // 20 or 40 more where somebody is registered and does not live there.
    let month = pair(&digits, 2) % 20;
    month <= 12 && pair(&digits, 4) <= 31 && (97 - serial % 97 == check || 97 - (2_000_000_000 + serial) % 97 == check)
}

/// Poland: PESEL of eleven digits, weighted.
pub(super) fn pl_pesel(text: &[u8]) -> bool {
    digits::<11>(text).is_some_and(|digits| {
        let sum = weigh(&digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]);
        // The month tells the century.
        is_day(pair(&digits, 2) % 20, pair(&digits, 4)) && (10 - sum % 10) % 10 == digits[10]
    })
}

/// Sweden: personnummer of ten or twelve digits, Luhn over the last ten; 60 is added to the day for those who are not
/// registered.
pub(super) fn se_personnummer(text: &[u8]) -> bool {
    let Some(compact) = Compact::of(text) else { return false };
    let text = compact.text();
    let Some(last) = text.len().checked_sub(10).and_then(|begin| text.get(begin..)) else { return false };
    let century = text.len() == 12 && (text.starts_with(b"19") || text.starts_with(b"20"));
    (text.len() == 10 || century)
        && digits::<10>(last).is_some_and(|digits| is_day(pair(&digits, 2), pair(&digits, 4) % 60))
        && luhn(last)
}

/// Finland: henkilötunnus, a date, a sign of the century, three digits and a letter or digit, modulo 31.
pub(super) fn fi_hetu(text: &[u8]) -> bool {
    let Some(compact) = Compact::of(text) else { return false };
    let (date, rest) = compact.text().split_at_checked(6).unwrap_or_default();
    let rest = match rest {
        [b'A'..=b'F' | b'U'..=b'Y', rest @ ..] => rest,
        rest => rest,
    };
    let (Some(date), [one, two, three, check]) = (digits::<6>(date), rest) else { return false };
    let serial = [one, two, three].map(|byte| u32::from(byte.wrapping_sub(b'0')));
    serial.iter().all(|&digit| digit < 10)
        && is_day(pair(&date, 2), pair(&date, 0))
        && is_letter_of(number(&date) * 1000 + number(&serial), b"0123456789ABCDEFHJKLMNPRSTUVWXY", *check)
}

/// Norway: fødselsnummer of eleven digits with two check digits; 40 is added to the day of who lives there for a while.
pub(super) fn no_fodselsnummer(text: &[u8]) -> bool {
    digits::<11>(text).is_some_and(|digits| {
        is_day(pair(&digits, 2) % 40, pair(&digits, 0) % 40)
            && eleven_less(weigh(&digits, &[3, 7, 6, 1, 8, 9, 4, 5, 2])) == digits[9]
            && eleven_less(weigh(&digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2])) == digits[10]
    })
}

/// Romania: cod numeric personal of thirteen digits, weighted, modulo 11.
pub(super) fn ro_cnp(text: &[u8]) -> bool {
    digits::<13>(text).is_some_and(|digits| {
        let sum = weigh(&digits, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
        digits[0] != 0 && is_day(pair(&digits, 3), pair(&digits, 5)) && (if sum == 10 { 1 } else { sum }) == digits[12]
    })
}

/// Czechia and Slovakia: rodné číslo of ten digits, modulo 11; 50 is added to the month of women, and 20 when a day's
/// numbers are used up.
pub(super) fn cz_rodne_cislo(text: &[u8]) -> bool {
    digits::<10>(text).is_some_and(|digits| {
        let month = pair(&digits, 2) % 50;
        let month = if month > 20 { month - 20 } else { month };
        let first = (number(&digits[..9]) % 11) as u32;
        is_day(month, pair(&digits, 4)) && first % 10 == digits[9]
    })
}

/// Bulgaria: EGN of ten digits, weighted, modulo 11; 20 or 40 is added to the month for other centuries.
pub(super) fn bg_egn(text: &[u8]) -> bool {
    digits::<10>(text).is_some_and(|digits| {
        is_day(pair(&digits, 2) % 20, pair(&digits, 4))
            && weigh(&digits, &[2, 4, 8, 5, 10, 9, 7, 3, 6]) % 11 % 10 == digits[9]
    })
}

/// Estonia and Lithuania: personal code of eleven digits, weighted, modulo 11, by other weights when that is 10.
pub(super) fn baltic_personal_code(text: &[u8]) -> bool {
    digits::<11>(text).is_some_and(|digits| {
        let first = weigh(&digits, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11;
        let second = weigh(&digits, &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11 % 10;
        matches!(digits[0], 1..=8)
            && is_day(pair(&digits, 3), pair(&digits, 5))
            && (if first < 10 { first } else { second }) == digits[10]
    })
}

/// Croatia: OIB of eleven digits, ISO/IEC 7064 MOD 11,10.
pub(super) fn hr_oib(text: &[u8]) -> bool {
    digits::<11>(text).is_some_and(|digits| is_mod_11_10(&digits))
}

/// Ireland: PPS number of seven digits and one or two letters, modulo 23.
pub(super) fn ie_pps(text: &[u8]) -> bool {
    let Some(compact) = Compact::of(text) else { return false };
    let Some((first, letters)) = compact.text().split_at_checked(7) else { return false };
    let (check, second) = match letters {
        [check] => (*check, 0),
        [check, b'W'] => (*check, 0),
        [check, letter @ b'A'..=b'I'] => (*check, u32::from(letter - b'A') + 1),
        _ => return false,
    };
    digits::<7>(first).is_some_and(|digits| {
        let sum = weigh(&digits, &[8, 7, 6, 5, 4, 3, 2]) + 9 * second;
        is_letter_of(sum.into(), b"WABCDEFGHIJKLMNOPQRSTUV", check)
    })
}

/// Austria: social security number of ten digits, weighted, modulo 11; the check digit is the fourth.
pub(super) fn at_social_security(text: &[u8]) -> bool {
    digits::<10>(text).is_some_and(|digits| {
        digits[0] != 0
            && is_day(pair(&digits, 6), pair(&digits, 4))
            && weigh(&digits, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]) % 11 == digits[3]
    })
}

/// Switzerland: AHV number of thirteen digits that begin with 756, check digit as in EAN-13.
pub(super) fn ch_ahv(text: &[u8]) -> bool {
    digits::<13>(text).is_some_and(|digits| {
        let sum = weigh(&digits, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]);
        digits.starts_with(&[7, 5, 6]) && sum.is_multiple_of(10)
    })
}

/// Portugal: NIF of a person, nine digits that begin with 1, 2, 3 or 45, modulo 11.
pub(super) fn pt_nif(text: &[u8]) -> bool {
    digits::<9>(text).is_some_and(|digits| {
        let check = 11 - weigh(&digits, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11;
        (matches!(digits[0], 1..=3) || digits.starts_with(&[4, 5]))
            && (if check >= 10 { 0 } else { check }) == digits[8]
    })
}

/// Turkey: T.C. kimlik number of eleven digits with two check digits.
pub(super) fn tr_kimlik(text: &[u8]) -> bool {
    digits::<11>(text).is_some_and(|digits| {
        let odd: u32 = digits[..9].iter().step_by(2).sum();
        let even: u32 = digits[1..8].iter().step_by(2).sum();
        // Ten times the most that the even places make, so that nothing becomes negative.
        digits[0] != 0
            && (odd * 7 + 360 - even) % 10 == digits[9]
            && digits[..10].iter().sum::<u32>() % 10 == digits[10]
    })
}

/// Israel: identity number of nine digits, Luhn.
pub(super) fn il_identity(text: &[u8]) -> bool {
    let Some(compact) = Compact::of(text) else { return false };
    digits::<9>(compact.text()).is_some() && luhn(compact.text())
}

/// South Africa: identity number of thirteen digits with a date and a citizenship, Luhn.
pub(super) fn za_identity(text: &[u8]) -> bool {
    let Some(compact) = Compact::of(text) else { return false };
    digits::<13>(compact.text())
        .is_some_and(|digits| is_day(pair(&digits, 2), pair(&digits, 4)) && digits[10] <= 2 && luhn(compact.text()))
}

/// India: Aadhaar of twelve digits, not beginning with 0 or 1, Verhoeff's check digit.
pub(super) fn in_aadhaar(text: &[u8]) -> bool {
    /// The permutation that is applied once more for each place (Verhoeff 1969).
    const PERMUTATION: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    /// Multiplication in the dihedral group of ten elements.
    fn product(one: u32, two: u32) -> u32 {
        match (one < 5, two < 5) {
            (true, true) => (one + two) % 5,
            (true, false) => (one + two - 5) % 5 + 5,
            (false, true) => (one + 5 - two) % 5 + 5,
            (false, false) => (one + 5 - two) % 5,
        }
    }
    digits::<12>(text).is_some_and(|digits| {
        let permuted = |digit: u32, times: usize| {
            (0..times % 8).fold(digit, |digit, _| PERMUTATION.get(digit as usize).copied().unwrap_or_default())
        };
        let check =
            digits.iter().rev().enumerate().fold(0, |check, (place, &digit)| product(check, permuted(digit, place)));
        digits[0] >= 2 && check == 0
    })
}

/// China: resident identity number of seventeen digits, with region and date, and a digit or X (ISO/IEC 7064 MOD 11-2).
pub(super) fn cn_resident_identity(text: &[u8]) -> bool {
    let Some(compact) = Compact::of(text) else { return false };
    let Some((&check, first)) = compact.text().split_last() else { return false };
    digits::<17>(first).is_some_and(|digits| {
        let sum = weigh(&digits, &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
        matches!(digits[0], 1..=6 | 8 | 9)
            && matches!(pair(&digits, 6), 18..=20)
            && is_day(pair(&digits, 10), pair(&digits, 12))
            && is_letter_of(sum.into(), b"10X98765432", check)
    })
}

/// South Korea: resident registration number of thirteen digits with a date, weighted, modulo 11 (those given out until 2020).
pub(super) fn kr_resident_registration(text: &[u8]) -> bool {
    digits::<13>(text).is_some_and(|digits| {
        let sum = weigh(&digits, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
        is_day(pair(&digits, 2), pair(&digits, 4)) && matches!(digits[6], 1..=8) && (11 - sum % 11) % 10 == digits[12]
    })
}

/// Brazil: CPF of eleven digits with two check digits.
pub(super) fn br_cpf(text: &[u8]) -> bool {
    digits::<11>(text).is_some_and(|digits| {
        weigh(&digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) * 10 % 11 % 10 == digits[9]
            && weigh(&digits, &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) * 10 % 11 % 10 == digits[10]
    })
}

/// Argentina: CUIT or CUIL of a person, eleven digits, modulo 11.
pub(super) fn ar_cuit(text: &[u8]) -> bool {
    digits::<11>(text).is_some_and(|digits| {
        matches!(pair(&digits, 0), 20 | 23 | 24 | 27)
            && eleven_less(weigh(&digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2])) == digits[10]
    })
}

/// Chile: RUT of seven or eight digits and a digit or K, modulo 11.
pub(super) fn cl_rut(text: &[u8]) -> bool {
    let Some(compact) = Compact::of(text) else { return false };
    let Some((&check, first)) = compact.text().split_last() else { return false };
    if !matches!(first.len(), 7 | 8)
        || !first.iter().all(u8::is_ascii_digit)
        || first.iter().all(|byte| *byte == first[0])
    {
        return false;
    }
    let digits = first.iter().rev().map(|byte| u32::from(byte - b'0'));
    let sum: u32 = digits.zip([2, 3, 4, 5, 6, 7, 2, 3]).map(|(digit, weight)| digit * weight).sum();
    is_letter_of(eleven_less(sum).into(), b"0123456789K", check)
}

/// Mexico: CURP of eighteen letters and digits with a date; the last is the check digit.
pub(super) fn mx_curp(text: &[u8]) -> bool {
    let Some(compact) = Compact::of(text) else { return false };
    let Ok(code) = <&[u8; 18]>::try_from(compact.text()) else { return false };
    let form = code.iter().enumerate().all(|(place, &byte)| match place {
        4..=9 | 17 => byte.is_ascii_digit(),
        10 => matches!(byte, b'H' | b'M' | b'X'),
        16 => true,
        _ => byte.is_ascii_uppercase(),
    });
    // The alphabet has an Ñ behind N.
    let value = |byte: u8| match byte {
        b'0'..=b'9' => u32::from(byte - b'0'),
        b'A'..=b'N' => u32::from(byte - b'A') + 10,
        _ => u32::from(byte - b'A') + 11,
    };
    let date = digits::<6>(&code[4..10]);
    let sum: u32 = code[..17].iter().zip((2..=18).rev()).map(|(&byte, weight)| value(byte) * weight).sum();
    form && date.is_some_and(|date| is_day(pair(&date, 2), pair(&date, 4)))
        && (10 - sum % 10) % 10 == u32::from(code[17] - b'0')
}

/// Canada: social insurance number of nine digits, not beginning with 0 or 8, Luhn.
pub(super) fn ca_sin(text: &[u8]) -> bool {
    let Some(compact) = Compact::of(text) else { return false };
    digits::<9>(compact.text()).is_some_and(|digits| !matches!(digits[0], 0 | 8)) && luhn(compact.text())
}

/// United States: individual taxpayer number, nine digits that begin with 9, in the groups that are given out (IRS).
pub(super) fn us_itin(text: &[u8]) -> bool {
    digits::<9>(text)
        .is_some_and(|digits| digits[0] == 9 && matches!(pair(&digits, 3), 50..=65 | 70..=88 | 90..=92 | 94..=99))
}

/// United States: routing number of a bank, nine digits, weighted, modulo 10.
pub(super) fn us_routing_number(text: &[u8]) -> bool {
    digits::<9>(text).is_some_and(|digits| {
        matches!(pair(&digits, 0), 1..=12 | 21..=32 | 61..=72 | 80)
            && weigh(&digits, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
    })
}

/// United States: Medicare beneficiary identifier of eleven letters and digits (CMS; it has no check digit).
pub(super) fn us_medicare_beneficiary(text: &[u8]) -> bool {
    let Some(compact) = Compact::of(text) else { return false };
    let is_letter = |byte: u8| byte.is_ascii_uppercase() && !b"SLOIBZ".contains(&byte);
    let text = compact.text();
    text.len() == 11
        && text.first() != Some(&b'0')
        && text.iter().enumerate().all(|(place, &byte)| match place {
            0 | 3 | 6 | 9 | 10 => byte.is_ascii_digit(),
            1 | 4 | 7 | 8 => is_letter(byte),
            _ => byte.is_ascii_digit() || is_letter(byte),
        })
}

/// Australia: tax file number of nine digits, weighted, modulo 11.
pub(super) fn au_tax_file_number(text: &[u8]) -> bool {
    digits::<9>(text).is_some_and(|digits| weigh(&digits, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11))
}

/// Australia: Medicare card of ten digits, weighted, modulo 10.
pub(super) fn au_medicare(text: &[u8]) -> bool {
    digits::<10>(text)
        .is_some_and(|digits| matches!(digits[0], 2..=6) && weigh(&digits, &[1, 3, 7, 9, 1, 3, 7, 9]) % 10 == digits[8])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A check, and numbers that their issuers or encyclopaedias print as examples.
    type Case = (&'static str, fn(&[u8]) -> bool, &'static [&'static str]);

    const CASES: &[Case] = &[
        ("uk_nino", uk_nino, &["AB123456C", "ab 12 34 56 d"]),
        ("uk_nhs", uk_nhs, &["943 476 5919", "4010232137"]),
        ("es_dni", es_dni, &["12345678Z", "12.345.678-Z", "X1234567L"]),
        ("it_codice_fiscale", it_codice_fiscale, &["RSSMRA85T10A562S"]),
        ("fr_nir", fr_nir, &["2 55 08 14 168 025 38"]),
        ("de_tax_id", de_tax_id, &["86095742719", "47036892816", "65929970489"]),
        ("nl_bsn", nl_bsn, &["111222333", "123456782"]),
        ("be_national_number", be_national_number, &["85.07.30-033.28", "93051822361"]),
        ("pl_pesel", pl_pesel, &["44051401359", "02070803628"]),
        ("se_personnummer", se_personnummer, &["811228-9874", "19640823-3234"]),
        ("fi_hetu", fi_hetu, &["131052-308T", "010190-900P"]),
        ("no_fodselsnummer", no_fodselsnummer, &["15108695088"]),
        ("ro_cnp", ro_cnp, &["1800101221144"]),
        ("cz_rodne_cislo", cz_rodne_cislo, &["710319/2745"]),
        ("bg_egn", bg_egn, &["7523169263", "7501020018"]),
        ("baltic_personal_code", baltic_personal_code, &["37605030299", "33309240064"]),
        ("hr_oib", hr_oib, &["33392005961"]),
        ("ie_pps", ie_pps, &["1234567T", "1234567FA"]),
        ("at_social_security", at_social_security, &["1237 010180"]),
        ("ch_ahv", ch_ahv, &["756.9217.0769.85"]),
        ("pt_nif", pt_nif, &["123456789"]),
        ("tr_kimlik", tr_kimlik, &["10000000146"]),
        ("za_identity", za_identity, &["8001015009087"]),
        ("in_aadhaar", in_aadhaar, &["2341 2341 2346", "999941057058"]),
        ("cn_resident_identity", cn_resident_identity, &["11010519491231002X", "440524188001010014"]),
        ("kr_resident_registration", kr_resident_registration, &["800101-1000008"]),
        ("br_cpf", br_cpf, &["111.444.777-35", "52998224725"]),
        ("ar_cuit", ar_cuit, &["20-12345678-6"]),
        ("cl_rut", cl_rut, &["12.345.678-5", "125319092"]),
        ("mx_curp", mx_curp, &["HEGG560427MVZRRL04", "BOXW310820HNERXN09"]),
        ("ca_sin", ca_sin, &["130-692-544"]),
        ("us_itin", us_itin, &["912-70-1234"]),
        ("us_routing_number", us_routing_number, &["021000021"]),
        ("us_medicare_beneficiary", us_medicare_beneficiary, &["1EG4-TE5-MK73"]),
        ("au_tax_file_number", au_tax_file_number, &["123 456 782"]),
        ("au_medicare", au_medicare, &["2123 45670 1"]),
    ];

    /// Those that have no check digit.
    const UNCHECKED: [&str; 3] = ["uk_nino", "us_itin", "us_medicare_beneficiary"];

    #[test]
    fn published_examples_pass_and_other_digits_seldom() {
        let (mut changed, mut passed) = (0, 0);
        for (name, check, examples) in CASES {
            for example in *examples {
                assert!(check(example.as_bytes()), "{name}: {example}");
                assert!(!check(&example.as_bytes()[1..]), "{name}: {example} without its beginning");
                assert!(!check(format!("{example}1").as_bytes()), "{name}: {example} with more behind it");
                if UNCHECKED.contains(name) {
                    continue;
                }
                for place in 0..example.len() {
                    let other =
                        |digit: &u8| example.as_bytes()[place].is_ascii_digit() && *digit != example.as_bytes()[place];
                    for digit in (b'0'..=b'9').filter(other) {
                        let mut text = example.as_bytes().to_vec();
                        text[place] = digit;
                        changed += 1;
                        passed += u32::from(check(&text));
                    }
                }
            }
        }
        // Some moduli are folded into one digit, and the last one of a Medicare card is not checked.
        assert!(changed > 4000 && f64::from(passed) < 0.02 * f64::from(changed), "{passed} of {changed}");
    }

    #[test]
    fn letters_are_checked_too() {
        assert!(!es_dni(b"12345678A") && !es_dni(b"X1234567T") && !fi_hetu(b"131052-308A") && !ie_pps(b"1234567A"));
        assert!(!it_codice_fiscale(b"RSSMRA85T10A562T") && !it_codice_fiscale(b"RSSMRA85F10A562S"));
        assert!(!cn_resident_identity(b"440524188001010018") && !cl_rut(b"12.345.678-K"));
        assert!(!uk_nino(b"GB123456C") && !uk_nino(b"QQ123456C") && !uk_nino(b"AB123456E") && !uk_nino(b"AB111111A"));
    }

    #[test]
    fn any_text_is_survived() {
        for (_, check, _) in CASES {
            for text in [
                "",
                "-",
                "0",
                "\u{0}",
                "000000000",
                "99999999999999999999",
                "999999999999999999999",
                "ZZZZZZZZZZZZZZZZZZ",
                "2AXXXXXXXXXXXXX",
                "½½½½½½½",
            ] {
                assert!(!check(text.as_bytes()), "{text:?}");
            }
        }
    }
}
