//! Checks of one value, and relations between values.

use std::cmp::Ordering;

use crate::number::{Limit, Number};
use crate::pattern::Pattern;
use crate::steps::Value;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A comparison with a limit.
#[derive(Clone, Copy, Debug)]
pub enum Operator {
    /// `>=`
    AtLeast,
    /// `>`
    Above,
    /// `<=`
    AtMost,
    /// `<`
    Below,
}

impl Operator {
    /// Return the operator of a plan.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            ">=" => Self::AtLeast,
            ">" => Self::Above,
            "<=" => Self::AtMost,
            "<" => Self::Below,
            _ => return None,
        })
    }

    #[inline]
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::AtLeast => ordering.is_ge(),
            Self::Above => ordering.is_gt(),
            Self::AtMost => ordering.is_le(),
            Self::Below => ordering.is_lt(),
        }
    }
}

/// A condition on a value that is not null.
#[derive(Debug)]
pub enum Check {
    /// Compares an integer, a decimal, or a date or time in its unit.
    Number(Operator, Limit),
    /// Compares a float.
    Real(Operator, f64),
    /// Matches a text as a whole.
    Matches(Pattern),
}

impl Check {
    /// Return whether no text with the character NUL passes.
    pub fn excludes_nul(&self) -> bool {
        matches!(self, Self::Matches(pattern) if pattern.excludes_nul())
    }

    /// Return whether a value passes.
    #[inline]
    pub fn holds(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Number(operator, limit), Value::Number(number)) => operator.holds(number.compare(limit.number())),
            (Self::Real(operator, limit), Value::Real(number)) => {
                number.partial_cmp(limit).is_some_and(|ordering| operator.holds(ordering))
            }
            (Self::Matches(pattern), Value::Text(text)) => pattern.matches(text),
            _ => false,
        }
    }
}

/// The unit of a date or time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    /// Days.
    Days,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds, of which only whole microseconds are allowed.
    Nanos,
}

impl Unit {
    /// Return the microseconds of a time that is within the years 1 to 9999.
    #[inline]
    pub fn micros(self, number: i64) -> i64 {
        match self {
            Self::Days => number.saturating_mul(MICROS_PER_DAY),
            Self::Millis => number.saturating_mul(1_000),
            Self::Micros => number,
            Self::Nanos => number.div_euclid(1_000),
        }
    }
}

/// A rule between outputs, by their places.
#[derive(Debug)]
pub enum Relation {
    /// All are given or all are missing.
    Together(Vec<usize>),
    /// The first is not before the second; a date is compared with the date of a time.
    NotBefore {
        /// Place and unit of the first.
        value: (usize, Unit),
        /// Place and unit of the second.
        reference: (usize, Unit),
    },
}

impl Relation {
    /// Return whether the values of all outputs satisfy the rule.
    #[inline]
    pub fn holds<'a>(&self, value_at: impl Fn(usize) -> Value<'a>) -> bool {
        match self {
            Self::Together(places) => {
                let given = places.iter().filter(|place| !matches!(value_at(**place), Value::Null)).count();
                given == 0 || given == places.len()
            }
            Self::NotBefore { value: (place, unit), reference: (other, other_unit) } => {
                let (Value::Number(Number::Small(one)), Value::Number(Number::Small(two))) =
                    (value_at(*place), value_at(*other))
                else {
                    // A missing value is compared with nothing.
                    return true;
                };
                match (unit, other_unit) {
                    (Unit::Days, Unit::Days) => one >= two,
                    (Unit::Days, _) => one >= other_unit.micros(two).div_euclid(MICROS_PER_DAY),
                    _ => unit.micros(one) >= other_unit.micros(two),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: fn(i64) -> Value<'static> = |number| Value::Number(Number::Small(number));

    #[test]
    fn numbers_are_compared_with_limits() {
        for (operator, expected) in [
            (">=", [false, true, true]),
            (">", [false, false, true]),
            ("<=", [true, true, false]),
            ("<", [true, false, false]),
        ] {
            let parsed = Operator::parse(operator).expect(operator);
            let (number, real) = (Check::Number(parsed, Limit::Small(5)), Check::Real(parsed, 5.0));
            assert_eq!(expected, [4, 5, 6].map(|each| number.holds(SMALL(each))), "{operator}");
            assert_eq!(expected, [4.0, 5.0, 6.0].map(|each| real.holds(Value::Real(each))), "{operator}");
        }
        assert!(Operator::parse("==").is_none());
    }

    #[test]
    fn a_value_of_another_type_does_not_pass() {
        let check = Check::Real(Operator::AtMost, 5.0);
        assert!(!check.holds(SMALL(4)));
        assert!(!check.holds(Value::Real(f64::NAN)));
    }

    #[test]
    fn units_are_converted_to_microseconds() {
        let found = [Unit::Days, Unit::Millis, Unit::Micros, Unit::Nanos].map(|unit| unit.micros(-2_000));
        assert_eq!([-2_000 * MICROS_PER_DAY, -2_000_000, -2_000, -2], found);
    }

    #[test]
    fn together_means_all_or_none() {
        let rule = Relation::Together(vec![0, 2]);
        for (values, expected) in [
            ([Value::Null, Value::Boolean(true), Value::Null], true),
            ([SMALL(0), Value::Null, Value::Text("")], true),
            ([SMALL(0), Value::Boolean(true), Value::Null], false),
            ([Value::Null, Value::Boolean(true), SMALL(0)], false),
        ] {
            assert_eq!(expected, rule.holds(|place| values[place]), "{values:?}");
        }
    }

    #[test]
    fn not_before_compares_dates_with_the_date_of_a_time() {
        let holds = |unit, other, one: i64, two: i64| {
            Relation::NotBefore { value: (0, unit), reference: (1, other) }.holds(|place| SMALL([one, two][place]))
        };
        assert!(holds(Unit::Days, Unit::Days, 1, 1));
        assert!(!holds(Unit::Days, Unit::Days, 0, 1));
        assert!(holds(Unit::Days, Unit::Micros, 1, 2 * MICROS_PER_DAY - 1));
        assert!(!holds(Unit::Days, Unit::Micros, 1, 2 * MICROS_PER_DAY));
        assert!(holds(Unit::Days, Unit::Micros, -1, -1));
        assert!(!holds(Unit::Days, Unit::Micros, -1, 0));
        assert!(holds(Unit::Millis, Unit::Micros, 1, 1_000));
        assert!(!holds(Unit::Millis, Unit::Micros, 1, 1_001));
        let rule = Relation::NotBefore { value: (0, Unit::Micros), reference: (1, Unit::Micros) };
        assert!(rule.holds(|place| if place == 0 { Value::Null } else { SMALL(5) }));
        assert!(rule.holds(|place| if place == 1 { Value::Null } else { SMALL(5) }));
    }
}
