//! Values as fields of PostgreSQL's binary COPY: an int32 length, or -1 for NULL, followed by the bytes.
//!
//! The bytes are those of each type's send function in PostgreSQL's source. Days and microseconds count from
//! 2000-01-01.

use crate::checks::Unit;
use crate::number::{base_10_000, is_below_zero, Number};
use crate::steps::Value;

const DAYS_TO_2000: i64 = 10_957;
const MICROS_TO_2000: i64 = 946_684_800_000_000;
const NULL: [u8; 4] = [0xff; 4];
const NEGATIVE: u16 = 0x4000;

/// The type of a column.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    /// `boolean`
    Boolean,
    /// `integer`
    Integer,
    /// `bigint`
    Bigint,
    /// `real`
    Real,
    /// `double precision`
    Double,
    /// `text`
    Text,
    /// `bytea`
    Bytes,
    /// `uuid`
    Uuid,
    /// `numeric`, with its scale
    Numeric(usize),
    /// `date`
    Date,
    /// `time`, from a number in a unit
    Time(Unit),
    /// `timestamp` or `timestamptz`, from a number in a unit
    Timestamp(Unit),
}

impl Column {
    /// Append a value as a field; `None` if the column has no such value.
    #[inline]
    pub fn pack(self, value: Value<'_>, row: &mut Vec<u8>) -> Option<()> {
        match (self, value) {
            (_, Value::Null) => row.extend_from_slice(&NULL),
            (Self::Boolean, Value::Boolean(boolean)) => row.extend_from_slice(&[0, 0, 0, 1, u8::from(boolean)]),
            (Self::Numeric(scale), Value::Number(number)) => pack_numeric(number, scale, row)?,
            (Self::Text, Value::Text(text)) => pack_bytes(text.as_bytes(), row)?,
            (Self::Bytes, Value::Bytes(bytes)) => pack_bytes(bytes, row)?,
            (Self::Uuid, Value::Uuid(first, last)) => {
                pack_bytes(&(u128::from(first) << 64 | u128::from(last)).to_be_bytes(), row)?;
            }
            (Self::Real, Value::Real(number)) => pack_bytes(&(number as f32).to_be_bytes(), row)?,
            (Self::Double, Value::Real(number)) => pack_bytes(&number.to_be_bytes(), row)?,
            (_, Value::Number(Number::Small(number))) => self.pack_number(number, row)?,
            _ => return None,
        }
        Some(())
    }

    #[inline]
    fn pack_number(self, number: i64, row: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Integer => pack_int4(i32::try_from(number).ok()?, row),
            Self::Date => pack_int4(i32::try_from(number - DAYS_TO_2000).ok()?, row),
            Self::Bigint => pack_int8(number, row),
            Self::Time(unit) => pack_int8(unit.micros(number), row),
            Self::Timestamp(unit) => pack_int8(unit.micros(number).checked_sub(MICROS_TO_2000)?, row),
            _ => return None,
        }
        Some(())
    }
}

/// Append an int4 field.
#[inline]
pub fn pack_int4(number: i32, row: &mut Vec<u8>) {
    let mut field = [0, 0, 0, 4, 0, 0, 0, 0];
    field[4..].copy_from_slice(&number.to_be_bytes());
    row.extend_from_slice(&field);
}

/// Append an int8 field.
#[inline]
pub fn pack_int8(number: i64, row: &mut Vec<u8>) {
    let mut field = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    field[4..].copy_from_slice(&number.to_be_bytes());
    row.extend_from_slice(&field);
}

/// Append a field of bytes.
#[inline]
pub fn pack_bytes(bytes: &[u8], row: &mut Vec<u8>) -> Option<()> {
    row.extend_from_slice(&i32::try_from(bytes.len()).ok()?.to_be_bytes());
    row.extend_from_slice(bytes);
    Some(())
}

/// Append a numeric, in the format of `numeric_send` in PostgreSQL's numeric.c: the number of digits, the weight of the
/// first, the sign and the scale, all int16, then the digits in base 10,000.
fn pack_numeric(number: Number<'_>, scale: usize, row: &mut Vec<u8>) -> Option<()> {
    // The point is between two base-10,000 digits, so the fraction is padded to whole digits.
    let decimals = scale.div_ceil(4);
    let factor = [1, 10, 100, 1_000][decimals * 4 - scale];
    let start = row.len();
    row.extend_from_slice(&[0; 12]);
    let count = base_10_000(number, factor, row)?;
    let weight = i16::try_from(i64::from(count) - decimals as i64 - 1).ok()?;
    let sign = if is_below_zero(number) { NEGATIVE } else { 0 };
    let header = &mut row[start..start + 12];
    header[..4].copy_from_slice(&(8 + 2 * i32::from(count)).to_be_bytes());
    header[4..6].copy_from_slice(&count.to_be_bytes());
    header[6..8].copy_from_slice(&weight.to_be_bytes());
    header[8..10].copy_from_slice(&sign.to_be_bytes());
    header[10..].copy_from_slice(&u16::try_from(scale).ok()?.to_be_bytes());
    Some(())
}
