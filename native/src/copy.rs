//! Values as fields of PostgreSQL's binary COPY: an int32 length, or -1 for NULL, followed by the bytes.
//!
//! The bytes are those of each type's send function in PostgreSQL's source. Days and microseconds count from
//! 2000-01-01.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

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

/// Return rows with only the fields at some places, which ascend, and their number as the last field, an int4 from 0.
///
/// The rows are joined.
#[pyfunction]
pub fn pick_fields<'py>(
    py: Python<'py>,
    rows: &Bound<'py, PyList>,
    places: Vec<usize>,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut picked = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        pick(row.cast::<PyBytes>()?.as_bytes(), &places, number, &mut picked)
            .ok_or_else(|| PyValueError::new_err("a row has fewer fields, or ends within one"))?;
    }
    Ok(PyBytes::new(py, &picked))
}

/// Append a row with only the fields at some places, and its number.
fn pick(row: &[u8], places: &[usize], number: usize, picked: &mut Vec<u8>) -> Option<()> {
    picked.extend_from_slice(&i16::try_from(places.len() + 1).ok()?.to_be_bytes());
    let mut fields = row.get(size_of::<i16>()..)?;
    let mut place = 0;
    for &wanted in places {
        while place <= wanted {
            let length = i32::from_be_bytes(*fields.first_chunk()?);
            // The length of NULL is -1: it has no bytes.
            let (field, others) = fields.split_at_checked(size_of::<i32>() + usize::try_from(length).unwrap_or(0))?;
            if place == wanted {
                picked.extend_from_slice(field);
            }
            fields = others;
            place += 1;
        }
    }
    pack_int4(i32::try_from(number).ok()?, picked);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(column: Column, value: Value<'_>) -> Option<Vec<u8>> {
        let mut row = Vec::new();
        column.pack(value, &mut row).map(|()| row)
    }

    fn number(number: i64) -> Value<'static> {
        Value::Number(Number::Small(number))
    }

    #[test]
    fn null_has_no_bytes() {
        assert_eq!(Some(vec![255, 255, 255, 255]), packed(Column::Date, Value::Null));
    }

    #[test]
    fn integers_have_their_width() {
        assert_eq!(Some(vec![0, 0, 0, 4, 255, 255, 255, 254]), packed(Column::Integer, number(-2)));
        assert_eq!(None, packed(Column::Integer, number(1 << 31)));
        assert_eq!(Some(vec![0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0]), packed(Column::Bigint, number(1 << 32)));
    }

    #[test]
    fn dates_and_times_count_from_2000() {
        assert_eq!(Some(vec![0, 0, 0, 4, 0, 0, 0, 1]), packed(Column::Date, number(10_958)));
        let second = |unit, count: i64| packed(Column::Timestamp(unit), number(count));
        let expected = Some(vec![0, 0, 0, 8, 0, 0, 0, 0, 0, 15, 66, 64]);
        assert_eq!(expected, second(Unit::Millis, 946_684_801_000));
        assert_eq!(expected, second(Unit::Micros, 946_684_801_000_000));
        assert_eq!(expected, second(Unit::Nanos, 946_684_801_000_000_000));
        assert_eq!(expected, packed(Column::Time(Unit::Millis), number(1_000)));
    }

    #[test]
    fn texts_bytes_and_floats_follow_their_length() {
        assert_eq!(Some(vec![0, 0, 0, 2, 195, 169]), packed(Column::Text, Value::Text("é")));
        assert_eq!(Some(vec![0, 0, 0, 1, 0]), packed(Column::Bytes, Value::Bytes(&[0])));
        assert_eq!(Some(vec![0, 0, 0, 1, 1]), packed(Column::Boolean, Value::Boolean(true)));
        assert_eq!(Some(vec![0, 0, 0, 4, 62, 128, 0, 0]), packed(Column::Real, Value::Real(0.25)));
        assert_eq!(Some(vec![0, 0, 0, 8, 63, 208, 0, 0, 0, 0, 0, 0]), packed(Column::Double, Value::Real(0.25)));
        let uuid = Some([&[0, 0, 0, 16][..], &[0, 0, 0, 0, 0, 0, 0, 1], &[0, 0, 0, 0, 0, 0, 0, 2]].concat());
        assert_eq!(uuid, packed(Column::Uuid, Value::Uuid(1, 2)));
    }

    #[test]
    fn a_numeric_has_a_weight_a_sign_and_a_scale() {
        let numeric = |scale, value: i64| packed(Column::Numeric(scale), number(value)).map(|row| row[4..].to_vec());
        // 1234567.25, -0.0001, 0, and -12 without decimals.
        assert_eq!(Some(vec![0, 3, 0, 1, 0, 0, 0, 4, 0, 123, 17, 215, 9, 196]), numeric(4, 12_345_672_500));
        assert_eq!(Some(vec![0, 1, 255, 255, 64, 0, 0, 4, 0, 1]), numeric(4, -1));
        assert_eq!(Some(vec![0, 0, 255, 254, 0, 0, 0, 4]), numeric(4, 0));
        assert_eq!(Some(vec![0, 1, 0, 0, 64, 0, 0, 0, 0, 12]), numeric(0, -12));
        // 0.05 with two decimals: the digit in base 10,000 is 500.
        assert_eq!(Some(vec![0, 1, 255, 255, 0, 0, 0, 2, 1, 244]), numeric(2, 5));
    }

    #[test]
    fn fields_are_picked_by_their_places() {
        let row = [0, 4, 0, 0, 0, 1, 7, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 2, 8, 9];
        let picked = |places: &[usize]| {
            let mut picked = Vec::new();
            pick(&row, places, 300, &mut picked).map(|()| picked)
        };
        let with_number = |fields: &[u8]| Some([fields, &[0, 0, 0, 4, 0, 0, 1, 44]].concat());
        assert_eq!(with_number(&[0, 2, 0, 0, 0, 1, 7]), picked(&[0]));
        assert_eq!(with_number(&[0, 3, 255, 255, 255, 255, 0, 0, 0, 2, 8, 9]), picked(&[1, 3]));
        assert_eq!(with_number(&[0, 2, 0, 0, 0, 0]), picked(&[2]));
        assert_eq!(None, picked(&[4]));
        assert_eq!(None, pick(&row[..20], &[3], 0, &mut Vec::new()));
    }

    #[test]
    fn a_value_of_another_type_has_no_field() {
        assert_eq!(None, packed(Column::Text, number(1)));
        assert_eq!(None, packed(Column::Date, Value::Text("")));
        assert_eq!(None, packed(Column::Timestamp(Unit::Micros), number(i64::MIN)));
    }
}
