//! Dates and times of Python.
//!
//! Their fields are read from the state that pickle keeps: the stable ABI has no access to them, and it is one call
//! instead of seven attributes. The state is bytes: two of the year, then month, day, hour, minute, second, and three
//! of the microsecond.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple, PyType};

/// Days from 0001-01-01, which is day 0 here, to 1970-01-01.
const DAYS_TO_1970: i64 = 719_162;

/// The classes of dates and times, and UTC.
pub struct Moments {
    date: Py<PyType>,
    time: Py<PyType>,
    datetime: Py<PyType>,
    utc: Py<PyAny>,
}

impl Moments {
    /// Import the classes.
    pub fn load(py: Python<'_>) -> PyResult<Self> {
        let module = py.import("datetime")?;
        let class = |name: &str| -> PyResult<Py<PyType>> { Ok(module.getattr(name)?.cast_into::<PyType>()?.unbind()) };
        Ok(Self {
            date: class("date")?,
            time: class("time")?,
            datetime: class("datetime")?,
            utc: module.getattr("UTC")?.unbind(),
        })
    }

    /// Return the state of a date.
    pub fn date(&self, object: &Bound<'_, PyAny>) -> Option<[u8; 4]> {
        let (state, _) = read_state(object, &self.date)?;
        state.as_bytes().try_into().ok()
    }

    /// Return the state of a time without a zone.
    pub fn time(&self, object: &Bound<'_, PyAny>) -> Option<[u8; 6]> {
        let (state, zone) = read_state(object, &self.time)?;
        zone.is_none().then(|| state.as_bytes().try_into().ok())?
    }

    /// Return the state of a datetime without a zone, or in UTC.
    pub fn datetime(&self, object: &Bound<'_, PyAny>, is_local: bool) -> Option<[u8; 10]> {
        let (state, zone) = read_state(object, &self.datetime)?;
        let is_right = match zone {
            None => is_local,
            Some(zone) => !is_local && zone.is(&self.utc),
        };
        is_right.then(|| state.as_bytes().try_into().ok())?
    }
}

/// Return the state of an object of exactly a class, and its zone.
fn read_state<'py>(
    object: &Bound<'py, PyAny>,
    class: &Py<PyType>,
) -> Option<(Bound<'py, PyBytes>, Option<Bound<'py, PyAny>>)> {
    if !object.get_type().is(class) {
        return None;
    }
    let reduced = object.call_method0(intern!(object.py(), "__reduce__")).ok()?.cast_into::<PyTuple>().ok()?;
    let arguments = reduced.get_item(1).ok()?.cast_into::<PyTuple>().ok()?;
    let state = arguments.get_item(0).ok()?.cast_into::<PyBytes>().ok()?;
    Some((state, arguments.get_item(1).ok()))
}

/// Return the days since 1970 of a date's state.
pub fn days(state: &[u8; 4]) -> Option<i64> {
    let [high, low, month, day] = state.map(i64::from);
    let year = high * 256 + low;
    let before = *DAYS_BEFORE.get(usize::try_from(month - 1).ok()?)?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let leap_day = i64::from(is_leap && month > 2);
    let past = year - 1;
    Some(past * 365 + past / 4 - past / 100 + past / 400 + before + leap_day + day - 1 - DAYS_TO_1970)
}

/// Days of a year before each month, without a leap day.
const DAYS_BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/// Return the microseconds since midnight of a time's state.
pub fn micros_of_day(state: &[u8; 6]) -> i64 {
    let [hour, minute, second, high, middle, low] = state.map(i64::from);
    ((hour * 60 + minute) * 60 + second) * 1_000_000 + high * 65_536 + middle * 256 + low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(Some(0), days(&[7, 178, 1, 1]));
        assert_eq!(Some(-719_162), days(&[0, 1, 1, 1]));
        assert_eq!(Some(2_932_896), days(&[39, 15, 12, 31]));
        assert_eq!(Some(11_016), days(&[7, 208, 2, 29]));
        assert_eq!(Some(11_017), days(&[7, 208, 3, 1]));
        assert_eq!(None, days(&[7, 208, 13, 1]));
    }

    #[test]
    fn microseconds_are_counted_from_midnight() {
        assert_eq!(0, micros_of_day(&[0; 6]));
        assert_eq!(86_399_999_999, micros_of_day(&[23, 59, 59, 15, 66, 63]));
        assert_eq!(3_723_065_793, micros_of_day(&[1, 2, 3, 1, 1, 1]));
    }
}
