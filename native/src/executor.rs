//! The executor of codec plans over lists of records.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::copy::{pack_bytes, pack_int4, pack_int8};
use crate::plan::{Plan, Unsupported, Values};

/// Bytes of the magic byte and the schema id.
const HEADER_SIZE: usize = 5;

/// Fields of a row beside the outputs: the topic, the partition, the offset and the schema id.
const COORDINATES: usize = 4;

type Header = [u8; HEADER_SIZE];

/// Executes codec plans over lists of records, each by the header of its value.
#[pyclass(module = "tradepipe._native")]
#[derive(Default)]
pub struct Executor {
    plans: HashMap<Header, Plan>,
}

/// A record of a list, as `tradepipe.trade.record.Record`.
struct Record<'py> {
    fields: Bound<'py, PyTuple>,
    value: Bound<'py, PyBytes>,
}

impl<'py> Record<'py> {
    fn at(records: &Bound<'py, PyList>, place: usize) -> Option<Self> {
        let fields = records.get_item(place).ok()?.cast_into::<PyTuple>().ok()?;
        let value = fields.get_item(4).ok()?.cast_into::<PyBytes>().ok()?;
        Some(Self { fields, value })
    }
}

#[pymethods]
impl Executor {
    #[new]
    fn new() -> Self {
        Self::default()
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
        self.plans.insert(header, compiled);
        Ok(())
    }

    /// Return the rows of the records from `start` up to the first one that does not pass.
    fn rows<'py>(
        &self,
        py: Python<'py>,
        records: &Bound<'py, PyList>,
        start: usize,
        refuse_keys: bool,
    ) -> PyResult<Bound<'py, PyList>> {
        let mut rows = Vec::new();
        let mut row = Vec::new();
        for place in start..records.len() {
            let packed = Record::at(records, place).and_then(|record| {
                row.clear();
                self.pack(&record, refuse_keys, &mut row)
            });
            if packed.is_none() {
                break;
            }
            rows.push(PyBytes::new(py, &row));
        }
        PyList::new(py, rows)
    }

    /// Return the place of the first record from `start` that does not pass; the length of the list if all pass.
    fn check(&self, records: &Bound<'_, PyList>, start: usize, refuse_keys: bool) -> usize {
        let passes = |place: &usize| {
            Record::at(records, *place).is_some_and(|record| self.read(&record, refuse_keys, |_, _| Some(())).is_some())
        };
        (start..records.len()).find(|place| !passes(place)).unwrap_or(records.len().max(start))
    }
}

impl Executor {
    /// Read a record, and pass its values to a function; `None` if it does not pass.
    #[inline]
    fn read<T>(
        &self,
        record: &Record<'_>,
        refuse_keys: bool,
        then: impl FnOnce(Header, Values<'_>) -> Option<T>,
    ) -> Option<T> {
        let value = record.value.as_bytes();
        let header = Header::try_from(value.get(..HEADER_SIZE)?).ok()?;
        let values = self.plans.get(&header)?.read(&value[HEADER_SIZE..])?;
        if refuse_keys {
            let key = record.fields.get_item(3).ok()?.cast_into::<PyBytes>().ok()?;
            if !values.have_key(key.as_bytes()) {
                return None;
            }
        }
        then(header, values)
    }

    #[inline]
    fn pack(&self, record: &Record<'_>, refuse_keys: bool, row: &mut Vec<u8>) -> Option<()> {
        self.read(record, refuse_keys, |header, values| {
            let fields = i16::try_from(values.width() + COORDINATES).ok()?;
            row.extend_from_slice(&fields.to_be_bytes());
            let topic = record.fields.get_item(0).ok()?.cast_into::<PyString>().ok()?;
            pack_bytes(topic.to_str().ok()?.as_bytes(), row)?;
            values.pack(row)?;
            pack_int4(record.fields.get_item(1).ok()?.extract().ok()?, row);
            pack_int8(record.fields.get_item(2).ok()?.extract().ok()?, row);
            pack_int4(schema_id(header)?, row);
            Some(())
        })
    }
}

fn schema_id(header: Header) -> Option<i32> {
    let [_, id @ ..] = header;
    i32::try_from(u32::from_be_bytes(id)).ok()
}
