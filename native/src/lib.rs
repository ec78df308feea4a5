//! The compiled executor of tradepipe's codec plans: the module `tradepipe._native`.
//!
//! A plan is made in Python, by `tradepipe.codec.plan`, and compiled here once. Records are passed in lists. A record
//! that does not pass is left to Python, which does the same by the same plan and explains what is wrong.

mod checks;
mod copy;
mod encode;
mod executor;
mod moments;
mod number;
mod objects;
mod pattern;
mod plan;
mod reader;
mod steps;

/// Number of the interface to Python, as in `tradepipe.compiled_core`.
const INTERFACE: u32 = 8;

/// The compiled executor of codec plans.
#[pyo3::pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::copy::pick_fields;
    #[pymodule_export]
    use super::encode::Encoder;
    #[pymodule_export]
    use super::executor::Executor;
    #[pymodule_export]
    use super::plan::Unsupported;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("INTERFACE", super::INTERFACE)
    }
}
