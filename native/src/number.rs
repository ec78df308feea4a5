//! Unscaled decimals of any size, in two's complement from the most significant byte, as Avro has them.

use std::cmp::Ordering;

/// An integer: most fit in 64 bits.
#[derive(Clone, Copy, Debug)]
pub enum Number<'a> {
    /// A number of at most 64 bits.
    Small(i64),
    /// The fewest bytes of a number of more than 64 bits.
    Wide(&'a [u8]),
}

impl<'a> Number<'a> {
    /// Read the bytes of a decimal; no bytes are zero.
    #[inline]
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        let bytes = if bytes.len() > 8 { trim(bytes) } else { bytes };
        if bytes.len() > 8 {
            return Self::Wide(bytes);
        }
        let sign = if is_negative(bytes) { -1 } else { 0 };
        Self::Small(bytes.iter().fold(sign, |number, byte| number << 8 | i64::from(*byte)))
    }

    /// Compare two numbers.
    #[inline]
    pub fn compare(self, other: Number<'_>) -> Ordering {
        match (self, other) {
            (Self::Small(one), Number::Small(other)) => one.cmp(&other),
            (Self::Small(_), Number::Wide(other)) => compare_with_zero(other).reverse(),
            (Self::Wide(one), Number::Small(_)) => compare_with_zero(one),
            (Self::Wide(one), Number::Wide(other)) => compare_wide(one, other),
        }
    }
}

/// A number that owns its bytes.
#[derive(Debug)]
pub enum Limit {
    /// A number of at most 64 bits.
    Small(i64),
    /// The fewest bytes of another number.
    Wide(Vec<u8>),
}

impl Limit {
    /// Keep the number that bytes are in two's complement.
    pub fn new(bytes: Vec<u8>) -> Self {
        match Number::from_bytes(&bytes) {
            Number::Small(number) => Self::Small(number),
            Number::Wide(trimmed) => Self::Wide(trimmed.to_vec()),
        }
    }

    /// Return the number.
    #[inline]
    pub fn number(&self) -> Number<'_> {
        match self {
            Self::Small(number) => Number::Small(*number),
            Self::Wide(bytes) => Number::Wide(bytes),
        }
    }
}

/// The numbers of at most some decimal digits.
#[derive(Debug)]
pub struct Digits {
    above: Limit,
    below: Limit,
}

impl Digits {
    /// Numbers of at most `precision` digits.
    pub fn new(precision: usize) -> Self {
        let above = power_of_ten(precision);
        Self { below: Limit::new(negate(&above)), above: Limit::new(above) }
    }

    /// Return whether a number has no more digits.
    #[inline]
    pub fn contain(&self, number: Number<'_>) -> bool {
        number.compare(self.above.number()).is_lt() && number.compare(self.below.number()).is_gt()
    }
}

/// Append a number's digits in base 10,000, the first one first, after multiplying it by a factor; return their count.
pub fn base_10_000(number: Number<'_>, factor: u32, out: &mut Vec<u8>) -> Option<i16> {
    match number {
        Number::Small(small) => match small.unsigned_abs().checked_mul(u64::from(factor)) {
            Some(rest) => Some(split_small(rest, out)),
            None => split_wide(&small.to_be_bytes(), factor, out),
        },
        Number::Wide(bytes) => split_wide(bytes, factor, out),
    }
}

/// Return whether a number is below zero.
pub fn is_below_zero(number: Number<'_>) -> bool {
    match number {
        Number::Small(small) => small < 0,
        Number::Wide(bytes) => is_negative(bytes),
    }
}

#[inline]
fn split_small(mut rest: u64, out: &mut Vec<u8>) -> i16 {
    // 2^64 has 20 decimal digits, so five digits in base 10,000.
    let mut digits = [0_u8; 10];
    let mut at = digits.len();
    while rest > 0 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&((rest % 10_000) as u16).to_be_bytes());
        rest /= 10_000;
    }
    out.extend_from_slice(&digits[at..]);
    ((digits.len() - at) / 2) as i16
}

fn split_wide(bytes: &[u8], factor: u32, out: &mut Vec<u8>) -> Option<i16> {
    let magnitude = if is_negative(bytes) { negate(bytes) } else { bytes.to_vec() };
    let mut rest = multiply(&magnitude, factor);
    let mut digits: Vec<u16> = Vec::new();
    while let Some(first) = rest.iter().position(|byte| *byte != 0) {
        rest.drain(..first);
        let mut carry: u32 = 0;
        for byte in &mut rest {
            let part = carry << 8 | u32::from(*byte);
            *byte = (part / 10_000) as u8;
            carry = part % 10_000;
        }
        digits.push(carry as u16);
    }
    digits.iter().rev().for_each(|digit| out.extend_from_slice(&digit.to_be_bytes()));
    i16::try_from(digits.len()).ok()
}

/// Multiply a number without a sign.
fn multiply(bytes: &[u8], factor: u32) -> Vec<u8> {
    let mut carry: u64 = 0;
    let mut product: Vec<u8> = Vec::with_capacity(bytes.len() + 4);
    for byte in bytes.iter().rev() {
        carry += u64::from(*byte) * u64::from(factor);
        product.push(carry as u8);
        carry >>= 8;
    }
    while carry > 0 {
        product.push(carry as u8);
        carry >>= 8;
    }
    product.reverse();
    product
}

fn power_of_ten(exponent: usize) -> Vec<u8> {
    let mut power = vec![1];
    for _ in 0..exponent {
        power = multiply(&power, 10);
    }
    // A leading zero bit is the sign.
    power.insert(0, 0);
    trim(&power).to_vec()
}

fn negate(bytes: &[u8]) -> Vec<u8> {
    // A byte more, since the least number has no opposite of its size.
    let sign = if is_negative(bytes) { 0xff } else { 0 };
    let mut found: Vec<u8> = std::iter::once(sign).chain(bytes.iter().copied()).map(|byte| !byte).collect();
    for byte in found.iter_mut().rev() {
        let (sum, overflows) = byte.overflowing_add(1);
        *byte = sum;
        if !overflows {
            break;
        }
    }
    trim(&found).to_vec()
}

/// Return the fewest bytes of the same number.
fn trim(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes;
    while let [first, rest @ ..] = bytes {
        let is_redundant = rest.first().is_some_and(|next| *first == if *next & 0x80 == 0 { 0 } else { 0xff });
        if !is_redundant {
            break;
        }
        bytes = rest;
    }
    bytes
}

fn is_negative(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|byte| byte & 0x80 != 0)
}

fn compare_with_zero(bytes: &[u8]) -> Ordering {
    if is_negative(bytes) {
        Ordering::Less
    } else {
        Ordering::Greater
    }
}

fn compare_wide(one: &[u8], other: &[u8]) -> Ordering {
    let sign = is_negative(one);
    if sign != is_negative(other) {
        return compare_with_zero(one);
    }
    let by_size = one.len().cmp(&other.len());
    (if sign { by_size.reverse() } else { by_size }).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits_of(bytes: &[u8], factor: u32) -> Vec<u16> {
        let mut out = Vec::new();
        let count = base_10_000(Number::from_bytes(bytes), factor, &mut out).expect("few digits");
        assert_eq!(out.len(), 2 * count as usize);
        out.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
    }

    #[test]
    fn numbers_of_any_size_are_split() {
        assert_eq!(Vec::<u16>::new(), digits_of(&[0], 1));
        assert_eq!(vec![1, 2345], digits_of(&12_345_i64.to_be_bytes(), 1));
        assert_eq!(vec![9, 2233, 7203, 6854, 7758, 800], digits_of(&i64::MIN.to_be_bytes(), 100));
        let wide = -170_141_183_460_469_231_731_687_303_715_884_105_728_i128;
        assert_eq!(vec![170, 1411, 8346, 469, 2317, 3168, 7303, 7158, 8410, 5728], digits_of(&wide.to_be_bytes(), 1));
    }

    #[test]
    fn numbers_of_any_size_are_compared() {
        let numbers = [i128::MIN, -(1 << 70), i64::MIN as i128 - 1, -1, 0, 1, i64::MAX as i128 + 1, 1 << 70, i128::MAX];
        for one in numbers {
            for other in numbers {
                let (left, right) = (one.to_be_bytes(), other.to_be_bytes());
                assert_eq!(one.cmp(&other), Number::from_bytes(&left).compare(Number::from_bytes(&right)));
            }
        }
    }

    #[test]
    fn a_number_of_more_digits_is_not_contained() {
        for precision in [1, 2, 3, 18, 19, 30, 38] {
            let digits = Digits::new(precision);
            let limit = 10_i128.pow(precision as u32);
            for (number, is_contained) in [(limit - 1, true), (limit, false), (1 - limit, true), (-limit, false)] {
                assert_eq!(is_contained, digits.contain(Number::from_bytes(&number.to_be_bytes())), "{number}");
            }
        }
    }
}
