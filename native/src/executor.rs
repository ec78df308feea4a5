//! The executor of codec plans over lists of records.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyType};

use crate::copy::{pack_bytes, pack_int4, pack_int8};
use crate::objects::Maker;
use crate::plan::{Plan, Unsupported, Values};

/// Bytes of the magic byte and the schema id.
const HEADER_SIZE: usize = 5;

/// Fields of a row beside the outputs: the topic, the partition, the offset and the schema id.
const COORDINATES: usize = 4;

type Header = [u8; HEADER_SIZE];

/// A `tradepipe.trade.records.Run`.
#[derive(FromPyObject)]
struct Run<'py> {
    topic: String,
    partition: i32,
    offsets: Bound<'py, PyList>,
    keys: Bound<'py, PyList>,
    values: Bound<'py, PyList>,
}

/// Executes codec plans over records, each by the header of its value.
#[pyclass(module = "tradepipe._native")]
pub struct Executor {
    plans: HashMap<Header, Plan>,
    maker: Maker,
}

#[pymethods]
impl Executor {
    /// Take the class of the records, and the functions that make the value of each field.
    #[new]
    fn new(record: Bound<'_, PyType>, conversions: Vec<Vec<Py<PyAny>>>) -> PyResult<Self> {
        Ok(Self { plans: HashMap::new(), maker: Maker::new(record, conversions)? })
    }

    /// Compile a plan for the values that begin with a header.
    fn add(&mut self, header: &[u8], plan: &Bound<'_, PyAny>) -> PyResult<()> {
        let header = Header::try_from(header).map_err(|_| Unsupported::new_err("a header has five bytes"))?;
        // The column of schema ids is an int4.
        if header[0] != 0 || schema_id(header).is_none() {
            return Err(Unsupported::new_err("a header is the magic byte 00 and a schema id of 31 bits"));
        }
        let compiled = Plan::compile(plan).map_err(|error| {
            let is_ours = error.is_instance_of::<Unsupported>(plan.py());
            if is_ours {
                error
            } else {
                Unsupported::new_err(error.to_string())
            }
        })?;
        if compiled.width() != self.maker.width() {
            return Err(Unsupported::new_err("a plan of other fields"));
        }
        self.plans.insert(header, compiled);
        Ok(())
    }

    /// Decode a value, without its checks; None if its header is unknown, or if Python decodes or refuses it.
    fn decode<'py>(&self, value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
        let value = value.cast::<PyBytes>().ok()?;
        let (header, body) = value.as_bytes().split_first_chunk::<HEADER_SIZE>()?;
        let values = self.plans.get(header)?.load(body)?;
        self.maker.make(value.py(), &values)
    }

    /// Return the rows of a run's records from `start` up to the first one that does not pass.
    fn rows<'py>(
        &self,
        py: Python<'py>,
        run: Run<'py>,
        start: usize,
        refuse_keys: bool,
    ) -> PyResult<Bound<'py, PyList>> {
        let mut rows = Vec::new();
        let mut row = Vec::new();
        self.pass(&run, start, refuse_keys, |place, header, values| {
            row.clear();
            pack(&run, place, header, values, &mut row)?;
            rows.push(PyBytes::new(py, &row));
            Some(())
        });
        PyList::new(py, rows)
    }

    /// Return the place of the first record from `start` that does not pass; their number if all pass.
    fn check(&self, run: Run<'_>, start: usize, refuse_keys: bool) -> usize {
        self.pass(&run, start, refuse_keys, |_, _, _| Some(()))
    }
}

impl Executor {
    /// Read records, each with its values; return the place of the first one that does not pass.
    ///
    /// What is unusual about a record does not pass.
    #[inline]
    fn pass(
        &self,
        run: &Run<'_>,
        start: usize,
        refuse_keys: bool,
        mut take: impl FnMut(usize, Header, &Values<'_>) -> Option<()>,
    ) -> usize {
        // Most records of a run have one schema.
        let mut latest: Option<(Header, &Plan)> = None;
        let mut pass_one = |place: usize| {
            let value = run.values.get_item(place).ok()?.cast_into::<PyBytes>().ok()?;
            let (header, body) = value.as_bytes().split_first_chunk::<HEADER_SIZE>()?;
            let plan = match latest {
                Some((known, plan)) if known == *header => plan,
                _ => self.plans.get(header)?,
            };
            latest = Some((*header, plan));
            let values = plan.read(body)?;
            if refuse_keys {
                let key = run.keys.get_item(place).ok()?.cast_into::<PyBytes>().ok()?;
                if !values.have_key(key.as_bytes()) {
                    return None;
                }
            }
            take(place, *header, &values)
        };
        let mut place = start;
        while place < run.values.len() && pass_one(place).is_some() {
            place += 1;
        }
        place
    }
}

/// Append the row of a record; `None` if a column has no such value.
#[inline]
fn pack(run: &Run<'_>, place: usize, header: Header, values: &Values<'_>, row: &mut Vec<u8>) -> Option<()> {
    let fields = i16::try_from(values.width() + COORDINATES).ok()?;
    row.extend_from_slice(&fields.to_be_bytes());
    pack_bytes(run.topic.as_bytes(), row)?;
    values.pack(row)?;
    pack_int4(run.partition, row);
    pack_int8(run.offsets.get_item(place).ok()?.extract().ok()?, row);
    pack_int4(schema_id(header)?, row);
    Some(())
}

fn schema_id(header: Header) -> Option<i32> {
    let [_, id @ ..] = header;
    i32::try_from(u32::from_be_bytes(id)).ok()
}
