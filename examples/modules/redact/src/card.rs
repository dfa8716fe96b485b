//! Card numbers (ISO/IEC 7812-1): 13 to 19 digits that stand alone, of an issuer
//! that there is and a length it uses, and that pass the Luhn check. The issuer
//! matters: one number in ten passes Luhn, and logs are full of numbers; but clocks
//! of 13, 16 and 19 digits begin with 1, which no card does.

use crate::find::{before, byte};

/// How digits are grouped on cards: with one space or dash between the groups.
const GROUPS: [&[usize]; 4] = [&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4]];

/// Where the card number ends that begins at the digit at i.
pub fn at(text: &[u8], i: usize) -> Option<usize> {
    if !begins_alone(text, i) {
        return None;
    }
    let mut number = Number { digits: [0; 19], n: 0 };
    let end = number.group(text, i, 19)?;
    if !byte(text, end).is_ascii_digit() && number.n >= 13 {
        return if ends_alone(text, end) && number.is_card() { Some(end) } else { None };
    }
    let separator = byte(text, i + 4);
    if number.n != 4 || separator != b' ' && separator != b'-' {
        return None;
    }
    GROUPS.iter().find_map(|groups| grouped(text, i, separator, groups))
}

fn grouped(text: &[u8], i: usize, separator: u8, groups: &[usize]) -> Option<usize> {
    let mut number = Number { digits: [0; 19], n: 0 };
    let mut at = i;
    for (g, size) in groups.iter().enumerate() {
        if g > 0 {
            if byte(text, at) != separator {
                return None;
            }
            at += 1;
        }
        let end = number.group(text, at, *size)?;
        if end - at != *size {
            return None;
        }
        at = end;
    }
    if ends_alone(text, at) && number.is_card() {
        Some(at)
    } else {
        None
    }
}

/// A number is part of something longer, as a UUID, a decimal fraction or a path,
/// if a letter is beside it, or a digit or letter beyond a dash, dot or the like.
fn begins_alone(text: &[u8], i: usize) -> bool {
    match before(text, i) {
        b'-' | b'_' => false, // of a UUID, or a negative number
        b'.' => !before(text, i - 1).is_ascii_alphanumeric(),
        c => !c.is_ascii_alphanumeric(),
    }
}

fn ends_alone(text: &[u8], end: usize) -> bool {
    match byte(text, end) {
        b'-' | b'.' => !byte(text, end + 1).is_ascii_alphanumeric(),
        b'_' => false,
        c => !c.is_ascii_alphanumeric(),
    }
}

struct Number {
    digits: [u8; 19],
    n: usize,
}

impl Number {
    /// Takes up to `most` digits, and returns where they end. None: there are more than a card has.
    fn group(&mut self, text: &[u8], from: usize, most: usize) -> Option<usize> {
        let mut at = from;
        while byte(text, at).is_ascii_digit() && at - from < most {
            *self.digits.get_mut(self.n)? = text[at] - b'0';
            self.n += 1;
            at += 1;
        }
        Some(at)
    }

    /// The number of its first n digits.
    fn prefix(&self, n: usize) -> u32 {
        self.digits[..n].iter().fold(0, |sum, d| sum * 10 + *d as u32)
    }

    fn is_card(&self) -> bool {
        self.issued() && self.luhn()
    }

    /// Says whether there are cards of that beginning and length.
    fn issued(&self) -> bool {
        let n = self.n;
        match self.prefix(4) {
            4000..=4999 => matches!(n, 13 | 16 | 18 | 19), // Visa
            5100..=5599 | 2221..=2720 => n == 16,          // Mastercard
            3400..=3499 | 3700..=3799 => n == 15,          // American Express
            2200..=2204 => n >= 16,                        // Mir
            3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => n >= 14, // Diners Club
            3528..=3589 => n >= 16,                        // JCB
            6011 | 6440..=6599 | 6200..=6299 | 8100..=8171 => n >= 16, // Discover, UnionPay
            5000..=5099 | 5600..=5899 | 6000..=6999 => n >= 16, // Maestro; shorter ones are rare, and ids are not
            _ => false,
        }
    }

    fn luhn(&self) -> bool {
        let mut sum = 0;
        for (i, d) in self.digits[..self.n].iter().rev().enumerate() {
            let d = *d as u32 * (1 + i as u32 % 2);
            sum += d / 10 + d % 10;
        }
        sum % 10 == 0
    }
}

/// The last four digits of a card number.
pub fn last_four(number: &[u8]) -> [u8; 4] {
    let mut four = [b'*'; 4];
    let digits = number.iter().rev().filter(|c| c.is_ascii_digit());
    for (place, digit) in four.iter_mut().rev().zip(digits) {
        *place = *digit;
    }
    four
}
