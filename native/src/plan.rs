//! A codec plan, compiled from the value that `tradepipe.codec.plan` makes.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString, PyTuple};

use crate::checks::{Check, Operator, Relation, Unit};
use crate::copy::Column;
use crate::number::{Digits, Limit};
use crate::pattern::Pattern;
use crate::reader::Reader;
use crate::steps::{parse_uuid, uuid, Bounds, Extent, Load, Skip, Value};

pyo3::create_exception!(_native, Unsupported, PyValueError, "The plan has something that only Python does.");

/// Largest body that is read, in bytes: Kafka's default limit for a record.
pub const MAX_BODY: usize = 1_048_576;

/// Depth of nested types at most; admitted schemas have fewer.
const MAX_DEPTH: usize = 64;

/// Digits of PostgreSQL's numeric at most.
const MAX_PRECISION: usize = 1_000;

const MIN_DAYS: i64 = -719_162;
const MAX_DAYS: i64 = 2_932_896;
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Bounds of a timestamp, the years 1 to 9999 in UTC.
const MIN_MICROS: i64 = MIN_DAYS * MICROS_PER_DAY;
const MAX_MICROS: i64 = (MAX_DAYS + 1) * MICROS_PER_DAY - 1;

/// A written field: loaded into a slot, or skipped.
enum Read {
    Load(usize, Load),
    Skip(Skip),
}

/// The value of a slot that is not written.
enum Default {
    Null,
    Boolean(bool),
    Number(Limit),
    Real(f64),
    Text(String),
    Bytes(Vec<u8>),
    Uuid([u8; 16]),
}

impl Default {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Boolean(boolean) => Value::Boolean(*boolean),
            Self::Number(limit) => Value::Number(limit.number()),
            Self::Real(number) => Value::Real(*number),
            Self::Text(text) => Value::Text(text),
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::Uuid(bytes) => uuid(*bytes),
        }
    }
}

/// A declared field.
struct Output {
    slot: usize,
    is_nullable: bool,
    is_string: bool,
    /// Whether a text may hold the character NUL, which PostgreSQL does not store.
    may_hold_nul: bool,
    column: Column,
    checks: Vec<Check>,
}

/// The plan of one writer schema.
pub struct Plan {
    reads: Vec<Read>,
    missing: Vec<(usize, Default)>,
    slots: usize,
    outputs: Vec<Output>,
    relations: Vec<Relation>,
    key: usize,
}

/// The values of a record that passes, by slot.
pub struct Values<'a> {
    plan: &'a Plan,
    slots: Vec<Value<'a>>,
}

impl Values<'_> {
    /// Return the number of outputs.
    pub fn width(&self) -> usize {
        self.plan.outputs.len()
    }

    /// Return whether bytes are those of the Kafka key.
    pub fn have_key(&self, key: &[u8]) -> bool {
        match self.slots[self.plan.outputs[self.plan.key].slot] {
            Value::Text(text) => text.as_bytes() == key,
            _ => false,
        }
    }

    /// Return the values of the outputs.
    pub fn in_order(&self) -> impl Iterator<Item = Value<'_>> {
        self.plan.outputs.iter().map(|output| self.slots[output.slot])
    }

    /// Append the outputs as fields of a row.
    pub fn pack(&self, row: &mut Vec<u8>) -> Option<()> {
        self.plan.outputs.iter().try_for_each(|output| output.column.pack(self.slots[output.slot], row))
    }
}

impl Plan {
    /// Compile a plan; raise `Unsupported` if it has something that is not done here.
    pub fn compile(plan: &Bound<'_, PyAny>) -> PyResult<Self> {
        let outputs: Vec<Bound<'_, PyAny>> = plan.getattr("outputs")?.extract()?;
        let kinds: Vec<String> = outputs.iter().map(|output| text_of(output, "kind")).collect::<PyResult<_>>()?;
        let slots = outputs.len();
        let compiled = outputs.iter().map(|output| compile_output(output, slots)).collect::<PyResult<Vec<_>>>()?;
        let record = plan.getattr("record")?;
        let mut reads = Vec::new();
        let mut is_filled = vec![false; slots];
        for read in tuple_of(&record, "reads")? {
            let (slot, step): (isize, _) = (read.getattr("slot")?.extract()?, read.getattr("step")?);
            if slot < 0 {
                let skip = compile_skip(&step, 0)?;
                if skip.takes_bytes() {
                    reads.push(Read::Skip(skip));
                }
            } else {
                let slot = fill(&mut is_filled, slot as usize)?;
                reads.push(Read::Load(slot, compile_load(&step, 0)?));
            }
        }
        let mut missing = Vec::new();
        for each in tuple_of(&record, "missing")? {
            let slot = fill(&mut is_filled, each.getattr("slot")?.extract()?)?;
            let place = compiled.iter().position(|output| output.slot == slot).ok_or_else(|| unsupported("a slot"))?;
            missing.push((slot, compile_default(&each.getattr("default")?, &kinds[place])?));
        }
        let key: usize = plan.getattr("key")?.extract()?;
        if is_filled.contains(&false) || key >= slots || !compiled[key].is_string {
            return Err(unsupported("the slots or the key of the plan"));
        }
        let relations = tuple_of(plan, "relations")?;
        let relations = relations.iter().map(|each| compile_relation(each, &kinds)).collect::<PyResult<_>>()?;
        Ok(Self { reads, missing, slots, outputs: compiled, relations, key })
    }

    /// Read a body; `None` if it is not a record of the plan, or breaks one of its checks.
    #[inline]
    pub fn read<'a>(&'a self, body: &'a [u8]) -> Option<Values<'a>> {
        self.load(body).filter(|values| self.is_valid(&values.slots))
    }

    /// Read a body without its checks; `None` if it is not a record of the plan.
    #[inline]
    pub fn load<'a>(&'a self, body: &'a [u8]) -> Option<Values<'a>> {
        if body.len() > MAX_BODY {
            return None;
        }
        let mut reader = Reader::new(body);
        let mut slots = vec![Value::Null; self.slots];
        for read in &self.reads {
            match read {
                Read::Load(slot, load) => slots[*slot] = load.run(&mut reader)?,
                Read::Skip(skip) => skip.run(&mut reader)?,
            }
        }
        if !reader.is_at_end() {
            return None;
        }
        for (slot, default) in &self.missing {
            slots[*slot] = default.value();
        }
        Some(Values { plan: self, slots })
    }

    /// Return the number of outputs.
    pub fn width(&self) -> usize {
        self.outputs.len()
    }

    /// Return whether the values of all slots pass the checks and the rules.
    #[inline]
    pub fn is_valid(&self, slots: &[Value<'_>]) -> bool {
        self.outputs.iter().all(|output| output.allows(slots[output.slot]))
            && self.relations.iter().all(|relation| relation.holds(|place| slots[self.outputs[place].slot]))
    }
}

impl Output {
    #[inline]
    fn allows(&self, value: Value<'_>) -> bool {
        match value {
            Value::Null => self.is_nullable,
            Value::Text(text) if self.may_hold_nul && text.as_bytes().contains(&0) => false,
            _ => self.checks.iter().all(|check| check.holds(value)),
        }
    }
}

/// Return the error for something that is not done here.
pub fn unsupported(what: impl std::fmt::Display) -> PyErr {
    Unsupported::new_err(format!("the compiled core does not do this: {what}"))
}

fn text_of(object: &Bound<'_, PyAny>, name: &str) -> PyResult<String> {
    object.getattr(name)?.extract()
}

fn tuple_of<'py>(object: &Bound<'py, PyAny>, name: &str) -> PyResult<Vec<Bound<'py, PyAny>>> {
    Ok(object.getattr(name)?.cast_into::<PyTuple>()?.iter().collect())
}

fn fill(is_filled: &mut [bool], slot: usize) -> PyResult<usize> {
    match is_filled.get_mut(slot) {
        Some(filled) if !*filled => *filled = true,
        _ => return Err(unsupported("a slot that is filled twice, or has no output")),
    }
    Ok(slot)
}

fn compile_output(output: &Bound<'_, PyAny>, slots: usize) -> PyResult<Output> {
    let kind = text_of(output, "kind")?;
    let slot: usize = output.getattr("slot")?.extract()?;
    if slot >= slots {
        return Err(unsupported("a slot without a field"));
    }
    let checks = tuple_of(output, "checks")?;
    let checks: Vec<Check> = checks.iter().map(|check| compile_check(check, &kind)).collect::<PyResult<_>>()?;
    Ok(Output {
        slot,
        is_nullable: output.getattr("is_nullable")?.extract()?,
        is_string: kind == "string",
        may_hold_nul: kind == "string" && !checks.iter().any(Check::excludes_nul),
        column: column_of(&kind, &text_of(output, "column")?)?,
        checks,
    })
}

fn column_of(kind: &str, column: &str) -> PyResult<Column> {
    let unit = unit_of(kind);
    Ok(match (column, kind, unit) {
        ("boolean", "boolean", _) => Column::Boolean,
        ("integer", "int", _) => Column::Integer,
        ("bigint", "long", _) => Column::Bigint,
        ("real", "float", _) => Column::Real,
        ("double precision", "double", _) => Column::Double,
        ("text", "string" | "enum", _) => Column::Text,
        ("bytea", "bytes" | "fixed", _) => Column::Bytes,
        ("uuid", "uuid", _) => Column::Uuid,
        ("date", "date", _) => Column::Date,
        ("time", _, Some(unit)) => Column::Time(unit),
        ("timestamp" | "timestamptz", _, Some(unit)) => Column::Timestamp(unit),
        (_, "decimal", _) => Column::Numeric(scale_of(column).ok_or_else(|| unsupported(column))?),
        _ => return Err(unsupported(format!("a column of {column} for {kind}"))),
    })
}

/// Return the scale in `numeric(precision, scale)`.
fn scale_of(column: &str) -> Option<usize> {
    let (_, scale) = column.strip_prefix("numeric(")?.strip_suffix(')')?.split_once(',')?;
    scale.trim().parse().ok().filter(|scale| *scale <= MAX_PRECISION)
}

fn unit_of(kind: &str) -> Option<Unit> {
    match kind.rsplit_once('-') {
        None if kind == "date" => Some(Unit::Days),
        Some((_, "millis")) => Some(Unit::Millis),
        Some((_, "micros")) => Some(Unit::Micros),
        Some((_, "nanos")) => Some(Unit::Nanos),
        _ => None,
    }
}

fn compile_check(check: &Bound<'_, PyAny>, kind: &str) -> PyResult<Check> {
    let operator = text_of(check, "operator")?;
    let operand = check.getattr("operand")?;
    if operator == "matches" && kind == "string" {
        let expression: String = operand.extract()?;
        return Pattern::parse(&expression).map(Check::Matches).ok_or_else(|| unsupported(expression));
    }
    let parsed = Operator::parse(&operator).ok_or_else(|| unsupported(operator))?;
    match kind {
        "float" | "double" => Ok(Check::Real(parsed, exact_float(&operand)?)),
        "boolean" | "string" | "enum" | "bytes" | "fixed" | "uuid" => Err(unsupported(format!("a limit of {kind}"))),
        _ => Ok(Check::Number(parsed, limit_of(&operand)?)),
    }
}

/// Return the float that is equal to a limit: Python compares floats with integers exactly.
fn exact_float(operand: &Bound<'_, PyAny>) -> PyResult<f64> {
    let number: f64 = operand.extract()?;
    let is_exact = number.is_finite() && operand.eq(number)?;
    if is_exact {
        Ok(number)
    } else {
        Err(unsupported("a limit that no float equals"))
    }
}

/// Return an integer of any size.
fn limit_of(operand: &Bound<'_, PyAny>) -> PyResult<Limit> {
    let number = operand.cast::<PyInt>().map_err(|_| unsupported("a limit that is not an integer"))?;
    let bits: usize = number.call_method0("bit_length")?.extract()?;
    let size = bits / 8 + 1;
    let keywords = pyo3::types::PyDict::new(operand.py());
    keywords.set_item("signed", true)?;
    let bytes = number.call_method("to_bytes", (size, "big"), Some(&keywords))?;
    Ok(Limit::new(bytes.cast::<PyBytes>()?.as_bytes().to_vec()))
}

fn compile_relation(relation: &Bound<'_, PyAny>, kinds: &[String]) -> PyResult<Relation> {
    let places: Vec<usize> = relation.getattr("outputs")?.extract()?;
    if places.iter().any(|place| *place >= kinds.len()) {
        return Err(unsupported("a rule without its fields"));
    }
    let name = text_of(relation, "name")?;
    match (name.as_str(), places.as_slice()) {
        ("together", _) => Ok(Relation::Together(places)),
        ("not before", [value, reference]) => {
            let unit = |place: usize| unit_of(&kinds[place]).ok_or_else(|| unsupported("a rule of other kinds"));
            let (one, other) = ((*value, unit(*value)?), (*reference, unit(*reference)?));
            if other.1 == Unit::Days && one.1 != Unit::Days {
                return Err(unsupported("a time that is compared with a date"));
            }
            Ok(Relation::NotBefore { value: one, reference: other })
        }
        _ => Err(unsupported(name)),
    }
}

fn compile_default(default: &Bound<'_, PyAny>, kind: &str) -> PyResult<Default> {
    if default.is_none() {
        return Ok(Default::Null);
    }
    Ok(match kind {
        "boolean" => Default::Boolean(default.extract()?),
        "string" | "enum" => Default::Text(default.cast::<PyString>()?.to_str()?.to_owned()),
        "bytes" | "fixed" => Default::Bytes(latin_1(default)?),
        "decimal" => Default::Number(Limit::new(latin_1(default)?)),
        "double" => Default::Real(exact_float(default)?),
        "float" => {
            let number = exact_float(default)?;
            if f64::from(number as f32) != number {
                return Err(unsupported("a default that a float does not hold"));
            }
            Default::Real(number)
        }
        "uuid" => {
            let text: String = default.extract()?;
            let bytes = parse_uuid(text.as_bytes()).or_else(|| latin_1(default).ok()?.try_into().ok());
            Default::Uuid(bytes.ok_or_else(|| unsupported("the default of a UUID"))?)
        }
        _ => {
            let bounds = bounds_of(kind).ok_or_else(|| unsupported(kind))?;
            match limit_of(default)? {
                Limit::Small(number) if bounds.contain(number) => Default::Number(Limit::Small(number)),
                _ => return Err(unsupported("a default outside the range of its type")),
            }
        }
    })
}

/// Return the bytes of a text whose characters are bytes, as in the JSON form of Avro's defaults.
fn latin_1(default: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let text: String = default.extract()?;
    let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    bytes.map_err(|_| unsupported("a default of bytes"))
}

/// Return the written numbers that a kind allows.
pub fn bounds_of(kind: &str) -> Option<Bounds> {
    let bounds = |least, most| Bounds { least, most, multiple: 1 };
    Some(match kind {
        "int" => bounds(i64::from(i32::MIN), i64::from(i32::MAX)),
        "long" => Bounds::NONE,
        "date" => bounds(MIN_DAYS, MAX_DAYS),
        "time-millis" => bounds(0, MICROS_PER_DAY / 1_000 - 1),
        "time-micros" => bounds(0, MICROS_PER_DAY - 1),
        "timestamp-millis" | "local-timestamp-millis" => bounds(MIN_MICROS / 1_000, MAX_MICROS / 1_000),
        "timestamp-micros" | "local-timestamp-micros" => bounds(MIN_MICROS, MAX_MICROS),
        "timestamp-nanos" | "local-timestamp-nanos" => Bounds { multiple: 1_000, ..Bounds::NONE },
        _ => return None,
    })
}

fn step_name(step: &Bound<'_, PyAny>, depth: usize) -> PyResult<String> {
    if depth > MAX_DEPTH {
        return Err(unsupported("deeply nested types"));
    }
    Ok(step.get_type().name()?.to_str()?.to_owned())
}

fn compile_load(step: &Bound<'_, PyAny>, depth: usize) -> PyResult<Load> {
    Ok(match step_name(step, depth)?.as_str() {
        "Null" => Load::Null,
        "Mismatch" => Load::Refused,
        "Scalar" => compile_scalar(step)?,
        "Symbol" => {
            let symbols: Vec<Option<String>> = step.getattr("symbols")?.extract()?;
            Load::Symbol(symbols.into_iter().map(|symbol| symbol.map(String::into_boxed_str)).collect())
        }
        "Union" => {
            let branches = tuple_of(step, "branches")?;
            Load::Union(branches.iter().map(|branch| compile_load(branch, depth + 1)).collect::<PyResult<_>>()?)
        }
        other => return Err(unsupported(format!("the step {other} of a declared field"))),
    })
}

fn compile_scalar(step: &Bound<'_, PyAny>) -> PyResult<Load> {
    let (written, kind) = (text_of(step, "written")?, text_of(step, "kind")?);
    let is_wide = written == "long";
    Ok(match (written.as_str(), kind.as_str()) {
        ("boolean", "boolean") => Load::Boolean,
        ("float", "float" | "double") => Load::Single,
        ("double", "double") => Load::Double,
        ("int" | "long", "float") => Load::ToSingle(is_wide),
        ("int" | "long", "double") => Load::ToDouble(is_wide),
        ("int" | "long", _) => Load::Integer(is_wide, bounds_of(&kind).ok_or_else(|| unsupported(&kind))?),
        ("string" | "bytes", "string") => Load::Text,
        ("string" | "bytes", "uuid") => Load::UuidText,
        ("fixed", "uuid") if extent_of(step, &written)?.size() == Some(16) => Load::UuidBytes,
        ("string" | "bytes", "bytes") | ("fixed", "fixed") => Load::Bytes(extent_of(step, &written)?),
        ("string" | "bytes" | "fixed", "decimal") => {
            let precision: usize = step.getattr("precision")?.extract()?;
            if precision > MAX_PRECISION {
                return Err(unsupported("a decimal of many digits"));
            }
            Load::Decimal(extent_of(step, &written)?, Digits::new(precision))
        }
        _ => return Err(unsupported(format!("{written} as {kind}"))),
    })
}

fn extent_of(step: &Bound<'_, PyAny>, written: &str) -> PyResult<Extent> {
    if written != "fixed" {
        return Ok(Extent::Prefixed);
    }
    step.getattr("size")?.extract().map(Extent::Fixed).map_err(|_| unsupported("a fixed of this size"))
}

fn compile_skip(step: &Bound<'_, PyAny>, depth: usize) -> PyResult<Skip> {
    let all = |name: &str| -> PyResult<Vec<Skip>> {
        tuple_of(step, name)?.iter().map(|each| compile_skip(each, depth + 1)).collect()
    };
    Ok(match step_name(step, depth)?.as_str() {
        "Null" => Skip::All(Vec::new()),
        "Union" => Skip::Union(all("branches")?),
        "Symbol" => Skip::Symbol(step.getattr("symbols")?.len()?),
        "Array" => blocks(compile_skip(&step.getattr("item")?, depth + 1)?)?,
        "Map" => {
            let value = compile_skip(&step.getattr("value")?, depth + 1)?;
            blocks(Skip::All(vec![Skip::Bytes(Extent::Prefixed), value]))?
        }
        "Record" => {
            let reads = tuple_of(step, "reads")?;
            let parts = reads.iter().map(|read| compile_skip(&read.getattr("step")?, depth + 1));
            // A step for each of many values that take no bytes would make a byte expensive.
            let parts = parts.filter(|part| part.as_ref().map_or(true, Skip::takes_bytes));
            Skip::All(parts.collect::<PyResult<_>>()?)
        }
        "Scalar" => {
            let written = text_of(step, "written")?;
            match written.as_str() {
                "boolean" => Skip::Boolean,
                "int" => Skip::Integer(false),
                "long" => Skip::Integer(true),
                "float" => Skip::Bytes(Extent::Fixed(4)),
                "double" => Skip::Bytes(Extent::Fixed(8)),
                "bytes" | "string" | "fixed" => Skip::Bytes(extent_of(step, &written)?),
                _ => return Err(unsupported(written)),
            }
        }
        other => return Err(unsupported(format!("the step {other} of a skipped field"))),
    })
}

fn blocks(item: Skip) -> PyResult<Skip> {
    if item.takes_bytes() {
        Ok(Skip::Blocks(Box::new(item)))
    } else {
        Err(unsupported("items that take no bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_of_a_column_is_within_postgresqls_limit() {
        assert_eq!(Some(4), scale_of("numeric(18, 4)"));
        assert_eq!(Some(0), scale_of("numeric(18,0)"));
        for column in ["numeric", "numeric(18)", "numeric(18, 1001)", "numeric(18, -1)", "text"] {
            assert_eq!(None, scale_of(column), "{column}");
        }
    }

    #[test]
    fn the_bounds_of_a_moment_are_the_years_1_to_9999() {
        for (kind, least, most) in [
            ("int", i64::from(i32::MIN), i64::from(i32::MAX)),
            ("date", -719_162, 2_932_896),
            ("time-millis", 0, 86_399_999),
            ("time-micros", 0, 86_399_999_999),
            ("timestamp-millis", -62_135_596_800_000, 253_402_300_799_999),
            ("local-timestamp-micros", -62_135_596_800_000_000, 253_402_300_799_999_999),
        ] {
            let bounds = bounds_of(kind).expect(kind);
            let found = [least - 1, least, most, most + 1].map(|number| bounds.contain(number));
            assert_eq!([false, true, true, false], found, "{kind}");
        }
        assert!(bounds_of("timestamp-nanos").is_some_and(|bounds| bounds.contain(-1_000) && !bounds.contain(1)));
        assert!(bounds_of("duration").is_none());
    }
}
