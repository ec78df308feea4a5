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
