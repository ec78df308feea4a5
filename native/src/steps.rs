//! The steps that read a record: what is loaded into a slot, and what is skipped.

use crate::number::{Digits, Number};
use crate::reader::Reader;

/// A value in the unit of its bytes: days, microseconds, unscaled decimals.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// A boolean.
    Boolean(bool),
    /// An integer, a date, a time, or a decimal without its point.
    Number(Number<'a>),
    /// A finite float.
    Real(f64),
    /// A text, or an enum's symbol.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A UUID, its first and its last eight bytes.
    Uuid(u64, u64),
}

/// The written numbers that a kind allows.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The least number.
    pub least: i64,
    /// The greatest number.
    pub most: i64,
    /// All numbers are multiples of this one.
    pub multiple: i64,
}

impl Bounds {
    /// Any number.
    pub const NONE: Self = Self { least: i64::MIN, most: i64::MAX, multiple: 1 };

    /// Return whether a number is allowed.
    #[inline]
    pub fn contain(&self, number: i64) -> bool {
        self.least <= number && number <= self.most && (self.multiple == 1 || number % self.multiple == 0)
    }
}

/// Where the bytes of a value end.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    /// They follow their length.
    Prefixed,
    /// Their number is in the schema.
    Fixed(usize),
}

impl Extent {
    /// Return the size in the schema, if it is there.
    pub fn size(self) -> Option<usize> {
        match self {
            Self::Prefixed => None,
            Self::Fixed(size) => Some(size),
        }
    }

    #[inline]
    fn read<'a>(self, reader: &mut Reader<'a>) -> Option<&'a [u8]> {
        match self {
            Self::Prefixed => reader.bytes(),
            Self::Fixed(size) => reader.take(size),
        }
    }
}

/// How a value is loaded into its slot.
#[derive(Debug)]
pub enum Load {
    /// A null, which takes no bytes.
    Null,
    /// A branch that does not resolve.
    Refused,
    /// A boolean.
    Boolean,
    /// An int, or a long if it is wide.
    Integer(bool, Bounds),
    /// An int, or a long if it is wide, as the nearest double.
    ToDouble(bool),
    /// An int, or a long if it is wide, as the nearest float.
    ToSingle(bool),
    /// A float.
    Single,
    /// A double.
    Double,
    /// A text in UTF-8.
    Text,
    /// Bytes.
    Bytes(Extent),
    /// A decimal.
    Decimal(Extent, Digits),
    /// A UUID as text.
    UuidText,
    /// A UUID as bytes.
    UuidBytes,
    /// An enum: the symbol for each of the writer's, `None` for one that the reader lacks.
    Symbol(Vec<Option<Box<str>>>),
    /// A choice among branches.
    Union(Vec<Load>),
}

impl Load {
    /// Load a value.
    #[inline]
    pub fn run<'a>(&'a self, reader: &mut Reader<'a>) -> Option<Value<'a>> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Refused => return None,
            Self::Boolean => Value::Boolean(reader.boolean()?),
            Self::Integer(is_wide, bounds) => {
                let number = read_integer(reader, *is_wide)?;
                if !bounds.contain(number) {
                    return None;
                }
                Value::Number(Number::Small(number))
            }
            Self::ToDouble(is_wide) => Value::Real(read_integer(reader, *is_wide)? as f64),
            Self::ToSingle(is_wide) => Value::Real(f64::from(read_integer(reader, *is_wide)? as f32)),
            Self::Single => finite(f64::from(f32::from_le_bytes(reader.take(4)?.try_into().ok()?)))?,
            Self::Double => finite(f64::from_le_bytes(reader.take(8)?.try_into().ok()?))?,
            Self::Text => Value::Text(std::str::from_utf8(reader.bytes()?).ok()?),
            Self::Bytes(extent) => Value::Bytes(extent.read(reader)?),
            Self::Decimal(extent, digits) => {
                let bytes = extent.read(reader)?;
                let number = Number::from_bytes(bytes);
                if bytes.is_empty() || !digits.contain(number) {
                    return None;
                }
                Value::Number(number)
            }
            Self::UuidText => uuid(parse_uuid(reader.bytes()?)?),
            Self::UuidBytes => uuid(reader.take(16)?.try_into().ok()?),
            Self::Symbol(symbols) => Value::Text(symbols[reader.index(symbols.len())?].as_deref()?),
            // The depth is that of the schema, which is limited.
            Self::Union(branches) => return branches[reader.index(branches.len())?].run(reader),
        })
    }
}

/// How a value is passed over.
#[derive(Debug)]
pub enum Skip {
    /// A boolean.
    Boolean,
    /// An int, or a long if it is wide.
    Integer(bool),
    /// Bytes.
    Bytes(Extent),
    /// The index of one of some symbols.
    Symbol(usize),
    /// Blocks of items; each takes at least one byte.
    Blocks(Box<Skip>),
    /// A choice among branches.
    Union(Vec<Skip>),
    /// Values one after another; none for a null.
    All(Vec<Skip>),
}

impl Skip {
    /// Pass over a value.
    pub fn run(&self, reader: &mut Reader<'_>) -> Option<()> {
        match self {
            Self::Boolean => reader.boolean().map(drop),
            Self::Integer(is_wide) => read_integer(reader, *is_wide).map(drop),
            Self::Bytes(extent) => extent.read(reader).map(drop),
            Self::Symbol(choices) => reader.index(*choices).map(drop),
            Self::Blocks(item) => loop {
                let block = reader.block()?;
                if block.count == 0 {
                    return Some(());
                }
                for _ in 0..block.count {
                    item.run(reader)?;
                }
                if !reader.is_at(block.end) {
                    return None;
                }
            },
            Self::Union(branches) => branches[reader.index(branches.len())?].run(reader),
            Self::All(parts) => parts.iter().try_for_each(|part| part.run(reader)),
        }
    }

    /// Return whether a value takes at least one byte.
    pub fn takes_bytes(&self) -> bool {
        match self {
            Self::Bytes(Extent::Fixed(size)) => *size > 0,
            Self::All(parts) => parts.iter().any(Self::takes_bytes),
            _ => true,
        }
    }
}

#[inline]
fn read_integer(reader: &mut Reader<'_>, is_wide: bool) -> Option<i64> {
    if is_wide {
        reader.long()
    } else {
        reader.int()
    }
}

fn finite<'a>(number: f64) -> Option<Value<'a>> {
    number.is_finite().then_some(Value::Real(number))
}

/// Return the value of a UUID's bytes.
pub fn uuid<'a>(bytes: [u8; 16]) -> Value<'a> {
    let number = u128::from_be_bytes(bytes);
    Value::Uuid((number >> 64) as u64, number as u64)
}

/// Parse the 36 characters of a UUID.
pub fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let mut found = [0_u8; 16];
    let mut place = 0;
    for (number, byte) in text.iter().enumerate() {
        if matches!(number, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = char::from(*byte).to_digit(16)? as u8;
        found[place / 2] = found[place / 2] << 4 | digit;
        place += 1;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load<'a>(load: &'a Load, body: &'a [u8]) -> Option<String> {
        let mut reader = Reader::new(body);
        let value = load.run(&mut reader)?;
        reader.is_at_end().then(|| format!("{value:?}"))
    }

    fn skips(skip: &Skip, body: &[u8]) -> bool {
        let mut reader = Reader::new(body);
        skip.run(&mut reader).is_some() && reader.is_at_end()
    }

    fn ints() -> Skip {
        Skip::Blocks(Box::new(Skip::Integer(false)))
    }

    fn every_load() -> Vec<Load> {
        vec![
            Load::Null,
            Load::Refused,
            Load::Boolean,
            Load::Integer(false, Bounds::NONE),
            Load::Integer(true, Bounds { least: -5, most: 5, multiple: 2 }),
            Load::ToDouble(true),
            Load::ToSingle(true),
            Load::Single,
            Load::Double,
            Load::Text,
            Load::Bytes(Extent::Prefixed),
            Load::Bytes(Extent::Fixed(3)),
            Load::Decimal(Extent::Prefixed, Digits::new(18)),
            Load::Decimal(Extent::Fixed(20), Digits::new(40)),
            Load::UuidText,
            Load::UuidBytes,
            Load::Symbol(vec![Some("A".into()), None]),
            Load::Union(vec![Load::Null, Load::Text, Load::Refused, Load::Union(vec![Load::Boolean])]),
        ]
    }

    fn every_skip() -> Vec<Skip> {
        let pair = || Skip::All(vec![Skip::Bytes(Extent::Prefixed), Skip::Blocks(Box::new(ints()))]);
        vec![
            Skip::Boolean,
            Skip::Integer(true),
            Skip::Bytes(Extent::Fixed(4)),
            Skip::Symbol(2),
            ints(),
            pair(),
            Skip::Blocks(Box::new(pair())),
            Skip::Union(vec![Skip::All(Vec::new()), Skip::Boolean, pair()]),
        ]
    }

    #[test]
    fn numbers_are_loaded_within_their_bounds_only() {
        let bounded = Load::Integer(true, Bounds { least: -6, most: 6, multiple: 3 });
        for (number, is_loaded) in [(-6, true), (-3, true), (0, true), (6, true), (-9, false), (9, false), (1, false)] {
            let zigzag = ((number << 1) ^ (number >> 31)) as u8;
            assert_eq!(is_loaded, load(&bounded, &[zigzag]).is_some(), "{number}");
        }
    }

    #[test]
    fn a_boolean_is_zero_or_one() {
        assert_eq!(Some("Boolean(false)".to_owned()), load(&Load::Boolean, &[0]));
        assert_eq!(Some("Boolean(true)".to_owned()), load(&Load::Boolean, &[1]));
        assert_eq!(None, load(&Load::Boolean, &[2]));
        assert!(!skips(&Skip::Boolean, &[2]));
    }

    #[test]
    fn an_index_outside_the_choices_is_refused() {
        let symbols = Load::Symbol(vec![Some("A".into()), Some("B".into())]);
        let branches = Load::Union(vec![Load::Null, Load::Boolean]);
        assert_eq!(Some("Text(\"B\")".to_owned()), load(&symbols, &[2]));
        for index in [1, 3, 4, 127] {
            assert_eq!(None, load(&symbols, &[index]));
            assert_eq!(None, load(&branches, &[index, 0]));
            assert!(!skips(&Skip::Symbol(2), &[index]));
            assert!(!skips(&Skip::Union(vec![Skip::Boolean, Skip::Boolean]), &[index, 0]));
        }
    }

    #[test]
    fn a_symbol_that_the_reader_lacks_is_refused() {
        let symbols = Load::Symbol(vec![Some("A".into()), None]);
        assert_eq!(Some("Text(\"A\")".to_owned()), load(&symbols, &[0]));
        assert_eq!(None, load(&symbols, &[2]));
    }

    #[test]
    fn a_float_is_finite() {
        for number in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(None, load(&Load::Double, &number.to_le_bytes()));
            assert_eq!(None, load(&Load::Single, &(number as f32).to_le_bytes()));
        }
        assert_eq!(Some("Real(0.25)".to_owned()), load(&Load::Single, &0.25_f32.to_le_bytes()));
        assert_eq!(Some("Real(0.1)".to_owned()), load(&Load::Double, &0.1_f64.to_le_bytes()));
    }

    #[test]
    fn a_long_is_loaded_as_the_nearest_float() {
        // 2^24 + 1 lies between two floats; 2^53 + 1 between two doubles.
        assert_eq!(Some("Real(16777216.0)".to_owned()), load(&Load::ToSingle(true), &[0x82, 0x80, 0x80, 0x10]));
        let body = [0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20];
        assert_eq!(Some("Real(9007199254740992.0)".to_owned()), load(&Load::ToDouble(true), &body));
    }

    #[test]
    fn a_text_is_utf_8() {
        assert_eq!(Some("Text(\"é\")".to_owned()), load(&Load::Text, &[4, 0xc3, 0xa9]));
        assert_eq!(None, load(&Load::Text, &[2, 0xff]));
        assert_eq!(None, load(&Load::Text, &[6, 0xed, 0xa0, 0x80]));
        assert!(skips(&Skip::Bytes(Extent::Prefixed), &[2, 0xff]));
    }

    #[test]
    fn a_decimal_has_a_byte_at_least_and_its_digits_at_most() {
        let decimal = Load::Decimal(Extent::Prefixed, Digits::new(2));
        for (body, is_loaded) in [
            (vec![0], false),
            (vec![2, 99], true),
            (vec![2, 100], false),
            (vec![2, 0x9d], true),
            (vec![2, 0x9c], false),
            (vec![6, 0, 0, 99], true),
            (vec![4, 99], false),
        ] {
            assert_eq!(is_loaded, load(&decimal, &body).is_some(), "{body:?}");
        }
    }

    #[test]
    fn a_uuid_has_36_characters() {
        let text = b"00112233-4455-6677-8899-aAbBcCdDeEfF";
        let body = |text: &[u8]| [&[text.len() as u8 * 2], text].concat();
        let expected = Some(format!("Uuid({}, {})", 0x0011_2233_4455_6677_u64, 0x8899_aabb_ccdd_eeff_u64));
        assert_eq!(expected, load(&Load::UuidText, &body(text)));
        assert_eq!(None, load(&Load::UuidText, &body(&text[..35])));
        assert_eq!(None, load(&Load::UuidText, &body(&text.map(|byte| if byte == b'-' { b'0' } else { byte }))));
        assert_eq!(None, load(&Load::UuidText, &body(&text.map(|byte| if byte == b'a' { b'g' } else { byte }))));
    }

    #[test]
    fn blocks_are_as_long_as_they_say() {
        for (body, is_skipped) in [
            (vec![0], true),
            (vec![4, 2, 4, 0], true),
            (vec![2, 2, 2, 4, 0], true),
            (vec![3, 4, 2, 4, 0], true),
            (vec![3, 2, 2, 4, 0], false),
            (vec![3, 6, 2, 4, 0], false),
            (vec![3, 1, 2, 4, 0], false),
            (vec![4, 2, 4], false),
            (vec![6, 2, 4], false),
        ] {
            assert_eq!(is_skipped, skips(&ints(), &body), "{body:?}");
        }
    }

    #[test]
    fn a_huge_count_is_refused_without_work() {
        let mut least = vec![0xff; 9];
        least.extend([1, 2, 0, 0]);
        assert!(!skips(&ints(), &least));
        assert!(!skips(&ints(), &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0]));
    }

    #[test]
    fn only_what_takes_bytes_may_be_an_item() {
        assert!(ints().takes_bytes());
        assert!(!Skip::All(vec![Skip::Bytes(Extent::Fixed(0))]).takes_bytes());
        assert!(Skip::All(vec![Skip::Bytes(Extent::Fixed(0)), Skip::Boolean]).takes_bytes());
    }

    #[test]
    fn every_prefix_of_a_value_is_refused() {
        let item = Skip::All(vec![Skip::Bytes(Extent::Prefixed), ints()]);
        let body = [3, 24, 4, b'k', b'l', 3, 6, 2, 0x80, 1, 0, 2, b'm', 0, 0];
        assert!(skips(&Skip::Blocks(Box::new(item)), &body));
        for size in 0..body.len() {
            let item = Skip::All(vec![Skip::Bytes(Extent::Prefixed), ints()]);
            assert!(!skips(&Skip::Blocks(Box::new(item)), &body[..size]), "{size}");
        }
    }

    #[test]
    fn no_bytes_cause_a_panic() {
        let (loads, skips) = (every_load(), every_skip());
        let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
        for _ in 0..20_000 {
            let mut body = Vec::new();
            for _ in 0..4 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                body.extend(state.to_le_bytes());
            }
            // Small numbers too, which are counts and lengths that fit.
            body.iter_mut().for_each(|byte| *byte = if state & 1 == 0 { *byte & 7 } else { *byte });
            body.truncate((state >> 59) as usize);
            loads.iter().for_each(|each| drop(load(each, &body)));
            skips.iter().for_each(|each| _ = each.run(&mut Reader::new(&body)));
        }
    }
}
