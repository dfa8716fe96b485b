//! Whole numbers as text, without `core::fmt`, which is ten times the code.

/// A number's decimal text: see [`decimal`].
pub struct Decimal {
    digits: [u8; 20],
    from: usize,
}

/// The decimal text of a number.
pub fn decimal(n: i64) -> Decimal {
    let mut d = Decimal { digits: [0; 20], from: 20 };
    let mut rest = n.unsigned_abs();
    loop {
        d.from -= 1;
        d.digits[d.from] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if n < 0 {
        d.from -= 1;
        d.digits[d.from] = b'-';
    }
    d
}

impl AsRef<[u8]> for Decimal {
    fn as_ref(&self) -> &[u8] {
        &self.digits[self.from..]
    }
}

/// The number that a decimal text, with a minus before it or none, is.
pub fn parse_int(text: impl AsRef<[u8]>) -> Option<i64> {
    let text = text.as_ref();
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut n: i64 = 0;
    for c in digits {
        if !c.is_ascii_digit() {
            return None;
        }
        n = n.checked_mul(10)?.checked_sub((c - b'0') as i64)?; // downwards, where there is one more
    }
    if negative {
        Some(n)
    } else {
        n.checked_neg()
    }
}
