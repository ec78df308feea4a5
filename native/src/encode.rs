//! The encoder of records: Python's values to Avro, with the checks of their plan.
//!
//! Only values of exactly the declared classes are encoded, in their usual form. All others are left to Python, which
//! encodes or refuses them.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyList, PyString, PyTuple, PyType};

use crate::moments::Moments;
use crate::number::Number;
use crate::plan::{bounds_of, unsupported, Plan};
use crate::steps::{uuid, Bounds, Value};

/// Microseconds that 64 bits of nanoseconds hold.
const MAX_NANOS: i64 = i64::MAX / 1_000;
/// Bytes that a trade usually fits in.
const TYPICAL_BYTES: usize = 128;
/// Digits of a decimal whose number without the point fits in 64 bits.
const MAX_DIGITS: usize = 18;

/// The classes of values, whose objects are compared by identity.
struct Classes {
    decimal: Py<PyType>,
    uuid: Py<PyType>,
    moments: Moments,
}

/// How a value is taken from its object and written.
enum Kind {
    Boolean,
    Integer(Bounds),
    Float,
    Double,
    Text,
    Bytes,
    Fixed(usize),
    Enum(Vec<Py<PyAny>>, Vec<String>),
    Decimal { size: Option<usize>, scale: usize, digits: usize },
    UuidText,
    UuidBytes,
    Date,
    Time { is_millis: bool },
    Timestamp { unit: Unit, is_local: bool },
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Millis,
    Micros,
    Nanos,
}

/// One field, in the order of the schema.
struct Write {
    /// Place in the record.
    place: usize,
    kind: Kind,
    /// What is written for None, if None is allowed.
    null: Option<u8>,
    /// What is written before a value: the index of its branch in a union.
    before: Option<u8>,
}

/// Encodes records with one schema.
#[pyclass(module = "tradepipe._native")]
pub struct Encoder {
    record: Py<PyType>,
    writes: Vec<Write>,
    plan: Plan,
    classes: Classes,
}

#[pymethods]
impl Encoder {
    /// Compile a description of the fields, and the plan by which their values are checked.
    #[new]
    fn new(record: Bound<'_, PyType>, writes: &Bound<'_, PyTuple>, plan: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = record.py();
        let class = |module: &str, name: &str| -> PyResult<Py<PyType>> {
            Ok(py.import(module)?.getattr(name)?.cast_into::<PyType>()?.unbind())
        };
        let classes = Classes {
            decimal: class("decimal", "Decimal")?,
            uuid: class("uuid", "UUID")?,
            moments: Moments::load(py)?,
        };
        let writes = writes.iter().map(|write| Write::compile(&write)).collect::<PyResult<Vec<_>>>()?;
        let plan = Plan::compile(plan)?;
        if writes.len() != plan.width() {
            return Err(unsupported("a plan of other fields"));
        }
        Ok(Self { record: record.unbind(), writes, plan, classes })
    }

    /// Encode a record after a header; None if Python encodes or refuses it.
    fn encode<'py>(&self, header: &[u8], check: bool, record: &Bound<'py, PyAny>) -> Option<Bound<'py, PyBytes>> {
        let mut body = Vec::with_capacity(TYPICAL_BYTES);
        body.extend_from_slice(header);
        self.write(record, check, &mut body)?;
        Some(PyBytes::new(record.py(), &body))
    }

    /// Encode the records from `start` up to the first one that Python encodes or refuses, each after a header.
    fn encode_all<'py>(
        &self,
        header: &[u8],
        check: bool,
        records: &Bound<'py, PyList>,
        start: usize,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = records.py();
        let mut encoded = Vec::new();
        let mut body = Vec::new();
        for place in start..records.len() {
            body.clear();
            body.extend_from_slice(header);
            let written = records.get_item(place).ok().and_then(|record| self.write(&record, check, &mut body));
            if written.is_none() {
                break;
            }
            encoded.push(PyBytes::new(py, &body));
        }
        PyList::new(py, encoded)
    }
}

impl Encoder {
    fn write(&self, record: &Bound<'_, PyAny>, check: bool, body: &mut Vec<u8>) -> Option<()> {
        if !record.get_type().is(&self.record) {
            return None;
        }
        let objects: Vec<Borrowed<'_, '_, PyAny>> = record.cast::<PyTuple>().ok()?.iter_borrowed().collect();
        let mut slots = vec![Value::Null; if check { self.writes.len() } else { 0 }];
        for (slot, write) in self.writes.iter().enumerate() {
            let value = write.run(objects.get(write.place)?, &self.classes, body)?;
            if check {
                slots[slot] = value;
            }
        }
        (!check || self.plan.is_valid(&slots)).then_some(())
    }
}

impl Write {
    fn compile(write: &Bound<'_, PyAny>) -> PyResult<Self> {
        let branch = |name: &str| -> PyResult<Option<u8>> {
            let index: Option<u8> = write.getattr(name)?.extract()?;
            // An index below 64 takes one byte, which is twice the index.
            index
                .map(|index| index.checked_mul(2).filter(|byte| *byte < 128))
                .map_or(Ok(None), |byte| byte.map(Some).ok_or_else(|| unsupported("a union of many branches")))
        };
        Ok(Self {
            place: write.getattr("place")?.extract()?,
            kind: Kind::compile(write)?,
            null: branch("null")?,
            before: branch("before")?,
        })
    }

    #[inline]
    fn run<'a>(&'a self, object: &'a Bound<'_, PyAny>, classes: &Classes, body: &mut Vec<u8>) -> Option<Value<'a>> {
        if object.is_none() {
            body.push(self.null?);
            return Some(Value::Null);
        }
        body.extend(self.before);
        self.kind.run(object, classes, body)
    }
}

impl Kind {
    fn compile(write: &Bound<'_, PyAny>) -> PyResult<Self> {
        let kind: String = write.getattr("kind")?.extract()?;
        let base: String = write.getattr("base")?.extract()?;
        let size: usize = write.getattr("size")?.extract()?;
        let is_fixed = base == "fixed";
        let unit = |text: &str| match text {
            "millis" => Some(Unit::Millis),
            "micros" => Some(Unit::Micros),
            "nanos" => Some(Unit::Nanos),
            _ => None,
        };
        Ok(match (kind.as_str(), kind.rsplit_once('-')) {
            ("boolean", _) => Self::Boolean,
            ("int" | "long", _) => Self::Integer(bounds_of(&kind).ok_or_else(|| unsupported(&kind))?),
            ("float", _) => Self::Float,
            ("double", _) => Self::Double,
            ("string", _) => Self::Text,
            ("bytes", _) => Self::Bytes,
            ("fixed", _) => Self::Fixed(size),
            ("enum", _) => {
                let members: Vec<Py<PyAny>> = write.getattr("members")?.extract()?;
                let texts = members.iter().map(|member| member.getattr(write.py(), "value")?.extract(write.py()));
                let texts = texts.collect::<PyResult<_>>()?;
                Self::Enum(members, texts)
            }
            ("decimal", _) => {
                let precision: usize = write.getattr("precision")?.extract()?;
                Self::Decimal {
                    size: is_fixed.then_some(size),
                    scale: write.getattr("scale")?.extract()?,
                    digits: precision.min(MAX_DIGITS),
                }
            }
            ("uuid", _) if is_fixed => Self::UuidBytes,
            ("uuid", _) => Self::UuidText,
            ("date", _) => Self::Date,
            (_, Some(("time", text))) => Self::Time { is_millis: text == "millis" },
            (_, Some((name @ ("timestamp" | "local-timestamp"), text))) => Self::Timestamp {
                unit: unit(text).ok_or_else(|| unsupported(&kind))?,
                is_local: name == "local-timestamp",
            },
            _ => return Err(unsupported(kind)),
        })
    }

    #[inline]
    fn run<'a>(&'a self, object: &'a Bound<'_, PyAny>, classes: &Classes, body: &mut Vec<u8>) -> Option<Value<'a>> {
        Some(match self {
            Self::Boolean => {
                let boolean = object.cast_exact::<PyBool>().ok()?.is_true();
                body.push(u8::from(boolean));
                Value::Boolean(boolean)
            }
            Self::Integer(bounds) => {
                let number: i64 = object.cast_exact::<PyInt>().ok()?.extract().ok()?;
                if !bounds.contain(number) {
                    return None;
                }
                write_number(number, body)
            }
            Self::Float => {
                let number = object.cast_exact::<PyFloat>().ok()?.value();
                let single = number as f32;
                if !single.is_finite() || f64::from(single) != number {
                    return None;
                }
                body.extend_from_slice(&single.to_le_bytes());
                Value::Real(number)
            }
            Self::Double => {
                let number = object.cast_exact::<PyFloat>().ok()?.value();
                if !number.is_finite() {
                    return None;
                }
                body.extend_from_slice(&number.to_le_bytes());
                Value::Real(number)
            }
            Self::Text => {
                let text = object.cast_exact::<PyString>().ok()?.to_str().ok()?;
                write_bytes(text.as_bytes(), body);
                Value::Text(text)
            }
            Self::Bytes => {
                let bytes = object.cast_exact::<PyBytes>().ok()?.as_bytes();
                write_bytes(bytes, body);
                Value::Bytes(bytes)
            }
            Self::Fixed(size) => {
                let bytes = object.cast_exact::<PyBytes>().ok()?.as_bytes();
                if bytes.len() != *size {
                    return None;
                }
                body.extend_from_slice(bytes);
                Value::Bytes(bytes)
            }
            Self::Enum(members, texts) => {
                let index = members.iter().position(|member| object.is(member))?;
                write_long(index as i64, body);
                Value::Text(&texts[index])
            }
            Self::Decimal { size, scale, digits } => {
                if !object.get_type().is(&classes.decimal) {
                    return None;
                }
                let text = object.str().ok()?;
                let number = parse_decimal(text.to_str().ok()?, *scale, *digits)?;
                write_decimal(number, *size, body)?;
                Value::Number(Number::Small(number))
            }
            Self::UuidText => {
                let bytes = uuid_bytes(object, classes)?;
                write_long(36, body);
                write_uuid(&bytes, body);
                uuid(bytes)
            }
            Self::UuidBytes => {
                let bytes = uuid_bytes(object, classes)?;
                body.extend_from_slice(&bytes);
                uuid(bytes)
            }
            Self::Date => write_number(classes.moments.days(object)?, body),
            Self::Time { is_millis } => {
                let micros = classes.moments.micros_of_day(object)?;
                write_number(in_unit(if *is_millis { Unit::Millis } else { Unit::Micros }, micros)?, body)
            }
            Self::Timestamp { unit, is_local } => {
                write_number(in_unit(*unit, classes.moments.micros(object, *is_local)?)?, body)
            }
        })
    }
}

fn in_unit(unit: Unit, micros: i64) -> Option<i64> {
    match unit {
        Unit::Millis => (micros % 1_000 == 0).then_some(micros / 1_000),
        Unit::Micros => Some(micros),
        Unit::Nanos => (-MAX_NANOS..=MAX_NANOS).contains(&micros).then_some(micros * 1_000),
    }
}

fn uuid_bytes(object: &Bound<'_, PyAny>, classes: &Classes) -> Option<[u8; 16]> {
    if !object.get_type().is(&classes.uuid) {
        return None;
    }
    let number: u128 = object.getattr(pyo3::intern!(object.py(), "int")).ok()?.extract().ok()?;
    Some(number.to_be_bytes())
}

/// Parse a decimal without an exponent; return its digits without the point, `scale` of them behind it.
fn parse_decimal(text: &str, scale: usize, digits: usize) -> Option<i64> {
    let (is_negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let fraction = if fraction.len() > scale { fraction.trim_end_matches('0') } else { fraction };
    if whole.is_empty() || fraction.len() > scale {
        return None;
    }
    let missing = u32::try_from(scale - fraction.len()).ok()?;
    let mut number: i64 = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        let digit = char::from(byte).to_digit(10)?;
        number = number.checked_mul(10)?.checked_add(i64::from(digit))?;
    }
    number = number.checked_mul(10_i64.checked_pow(missing)?)?;
    let is_within = number < 10_i64.checked_pow(u32::try_from(digits).ok()?)?;
    is_within.then_some(if is_negative { -number } else { number })
}

/// Write a number in zigzag encoding.
fn write_long(number: i64, body: &mut Vec<u8>) {
    let mut zigzag = (number << 1 ^ number >> 63) as u64;
    while zigzag > 127 {
        body.push(zigzag as u8 | 128);
        zigzag >>= 7;
    }
    body.push(zigzag as u8);
}

fn write_number<'a>(number: i64, body: &mut Vec<u8>) -> Value<'a> {
    write_long(number, body);
    Value::Number(Number::Small(number))
}

fn write_bytes(bytes: &[u8], body: &mut Vec<u8>) {
    write_long(bytes.len() as i64, body);
    body.extend_from_slice(bytes);
}

/// Write the fewest bytes of two's complement, as Java's BigInteger, after their number; or the bytes of a fixed.
fn write_decimal(number: i64, size: Option<usize>, body: &mut Vec<u8>) -> Option<()> {
    let magnitude = if number < 0 { !number } else { number };
    // One bit is for the sign.
    let fewest = (64 - magnitude.leading_zeros() as usize) / 8 + 1;
    let bytes = number.to_be_bytes();
    match size {
        None => {
            write_long(fewest as i64, body);
            body.extend_from_slice(&bytes[8 - fewest..]);
        }
        Some(size) if size >= fewest => {
            let sign = if number < 0 { 0xff } else { 0 };
            body.extend(std::iter::repeat_n(sign, size.saturating_sub(8)));
            body.extend_from_slice(&bytes[8 - size.min(8)..]);
        }
        Some(_) => return None,
    }
    Some(())
}

fn write_uuid(bytes: &[u8; 16], body: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            body.push(b'-');
        }
        body.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_of_the_usual_form_are_parsed() {
        let parsed = |text| parse_decimal(text, 4, 18);
        assert_eq!(Some(15_000), parsed("1.5"));
        assert_eq!(Some(15_000), parsed("1.500000"));
        assert_eq!(Some(-1), parsed("-0.0001"));
        assert_eq!(Some(0), parsed("-0"));
        assert_eq!(Some(999_999_999_999_999_999), parsed("99999999999999.9999"));
        for text in ["100000000000000", "0.00001", "1E+3", "NaN", "Infinity", "-", "", "1E-10", "9".repeat(40).as_str()]
        {
            assert_eq!(None, parsed(text), "{text}");
        }
    }

    #[test]
    fn decimals_take_the_fewest_bytes() {
        for (number, expected) in [
            (0, vec![2, 0]),
            (127, vec![2, 127]),
            (128, vec![4, 0, 128]),
            (-128, vec![2, 128]),
            (-129, vec![4, 255, 127]),
        ] {
            let mut body = Vec::new();
            write_decimal(number, None, &mut body);
            assert_eq!(expected, body);
        }
        let mut body = Vec::new();
        assert_eq!(None, write_decimal(128, Some(1), &mut body));
        write_decimal(-2, Some(10), &mut body);
        assert_eq!(vec![255, 255, 255, 255, 255, 255, 255, 255, 255, 254], body);
    }
}
