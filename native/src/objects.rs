//! Values as Python objects.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString, PyTuple, PyType};

use crate::number::Number;
use crate::plan::Values;
use crate::steps::Value;

/// Makes records of a class, which is a named tuple.
pub struct Maker {
    record: Py<PyType>,
    /// `tuple.__new__`: the class's own is a Python function.
    new: Py<PyAny>,
    /// For each field the functions that make its value, each from the result of the one before.
    conversions: Vec<Vec<Py<PyAny>>>,
}

impl Maker {
    /// Take a class, and the conversions of its fields.
    pub fn new(record: Bound<'_, PyType>, conversions: Vec<Vec<Py<PyAny>>>) -> PyResult<Self> {
        let new = record.py().get_type::<PyTuple>().getattr("__new__")?.unbind();
        Ok(Self { record: record.unbind(), new, conversions })
    }

    /// Return the number of fields.
    pub fn width(&self) -> usize {
        self.conversions.len()
    }

    /// Make a record; `None` if one of its values is left to Python.
    pub fn make<'py>(&self, py: Python<'py>, values: &Values<'_>) -> Option<Bound<'py, PyAny>> {
        let mut fields = Vec::with_capacity(self.width());
        for (value, functions) in values.in_order().zip(&self.conversions) {
            fields.push(convert(py, value, functions)?);
        }
        self.new.bind(py).call1((&self.record, PyTuple::new(py, fields).ok()?)).ok()
    }
}

fn convert<'py>(py: Python<'py>, value: Value<'_>, functions: &[Py<PyAny>]) -> Option<Bound<'py, PyAny>> {
    let mut object = match value {
        Value::Null => return Some(py.None().into_bound(py)),
        Value::Boolean(boolean) => PyBool::new(py, boolean).to_owned().into_any(),
        Value::Number(Number::Small(number)) => PyInt::new(py, number).into_any(),
        Value::Number(_) => return None,
        Value::Real(number) => PyFloat::new(py, number).into_any(),
        Value::Text(text) => PyString::new(py, text).into_any(),
        Value::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Value::Uuid(first, last) => {
            PyBytes::new(py, &(u128::from(first) << 64 | u128::from(last)).to_be_bytes()).into_any()
        }
    };
    for function in functions {
        object = function.bind(py).call1((object,)).ok()?;
    }
    Some(object)
}
