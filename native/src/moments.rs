//! Dates and times of Python.
//!
//! The stable ABI has no access to their fields, so they are asked for numbers: a date for its ordinal, a datetime for
//! its distance from 1970. A time's fields are read from the state that pickle keeps, which is one call instead of four
//! attributes: the bytes of hour, minute and second, and three of the microsecond.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple, PyType};

/// The ordinal of 1970-01-01.
const ORDINAL_OF_1970: i64 = 719_163;
const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// The classes of dates and times, UTC, and the beginning of 1970 in UTC and without a zone.
pub struct Moments {
    date: Py<PyType>,
    time: Py<PyType>,
    datetime: Py<PyType>,
    utc: Py<PyAny>,
    begin: Py<PyAny>,
    local_begin: Py<PyAny>,
}

impl Moments {
    /// Import the classes.
    pub fn load(py: Python<'_>) -> PyResult<Self> {
        let module = py.import("datetime")?;
        let class = |name: &str| -> PyResult<Py<PyType>> { Ok(module.getattr(name)?.cast_into::<PyType>()?.unbind()) };
        let datetime = class("datetime")?;
        let utc = module.getattr("UTC")?;
        let local_begin = datetime.call1(py, (1970, 1, 1))?;
        let begin = datetime.call1(py, (1970, 1, 1, 0, 0, 0, 0, &utc))?;
        Ok(Self { date: class("date")?, time: class("time")?, datetime, utc: utc.unbind(), begin, local_begin })
    }

    /// Return the days since 1970 of a date.
    pub fn days(&self, object: &Bound<'_, PyAny>) -> Option<i64> {
        if !object.get_type().is(&self.date) {
            return None;
        }
        let ordinal: i64 = object.call_method0(intern!(object.py(), "toordinal")).ok()?.extract().ok()?;
        Some(ordinal - ORDINAL_OF_1970)
    }

    /// Return the microseconds since midnight of a time without a zone.
    pub fn micros_of_day(&self, object: &Bound<'_, PyAny>) -> Option<i64> {
        if !object.get_type().is(&self.time) {
            return None;
        }
        let reduced = object.call_method0(intern!(object.py(), "__reduce__")).ok()?.cast_into::<PyTuple>().ok()?;
        let arguments = reduced.get_item(1).ok()?.cast_into::<PyTuple>().ok()?;
        let state = arguments.get_item(0).ok()?.cast_into::<PyBytes>().ok()?;
        // The second argument is the zone.
        let state = state.as_bytes().try_into().ok()?;
        (arguments.len() == 1).then(|| micros_of_state(state))
    }

    /// Return the microseconds since 1970 of a datetime in UTC, or with `is_local` of one without a zone.
    pub fn micros(&self, object: &Bound<'_, PyAny>, is_local: bool) -> Option<i64> {
        if !object.get_type().is(&self.datetime) {
            return None;
        }
        let py = object.py();
        let zone = object.getattr(intern!(py, "tzinfo")).ok()?;
        let begin = if is_local { &self.local_begin } else { &self.begin };
        if !(if is_local { zone.is_none() } else { zone.is(&self.utc) }) {
            return None;
        }
        let distance = object.sub(begin).ok()?;
        let part = |name| distance.getattr(name).ok()?.extract::<i64>().ok();
        let seconds = part(intern!(py, "days"))? * SECONDS_PER_DAY + part(intern!(py, "seconds"))?;
        Some(seconds * MICROS_PER_SECOND + part(intern!(py, "microseconds"))?)
    }
}

/// Return the microseconds since midnight of a time's state.
fn micros_of_state(state: &[u8; 6]) -> i64 {
    let [hour, minute, second, high, middle, low] = state.map(i64::from);
    ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + high * 65_536 + middle * 256 + low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_are_counted_from_midnight() {
        assert_eq!(0, micros_of_state(&[0; 6]));
        assert_eq!(86_399_999_999, micros_of_state(&[23, 59, 59, 15, 66, 63]));
        assert_eq!(3_723_065_793, micros_of_state(&[1, 2, 3, 1, 1, 1]));
    }
}
