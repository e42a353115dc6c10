//! The fields of a query, read one by one.
//!
//! Promises: an unknown field, a field that is there twice and a value outside its range are refused by name.
//! Never: a default for what was said.

use std::collections::BTreeMap;

use axum::http::StatusCode;

use super::problem::Problem;

/// 1970 to 2100.
pub(crate) const UTC_MS_MAX: i64 = 4_102_444_800_000;
/// A question about more than 400 days is two questions.
pub(crate) const LENGTH_MS_MAX: i64 = 400 * 86_400_000;
/// What a vehicle may be called.
pub(crate) const DEVICE: &str = "1 to 32 of a-z, 0-9, '_' and '-'";

/// The fields, each until it is taken.
#[derive(Debug)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Reads the part of a URL behind the question mark.
    pub(crate) fn read(query: Option<&str>) -> Result<Self, Problem> {
        let mut fields = BTreeMap::new();
        for part in query
            .unwrap_or_default()
            .split('&')
            .filter(|part| !part.is_empty())
        {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if fields.insert(name.clone(), value).is_some() {
                return Err(Problem::field(
                    StatusCode::BAD_REQUEST,
                    &name,
                    "once",
                    format!("{name} is there twice"),
                ));
            }
        }
        Ok(Self(fields))
    }

    pub(crate) fn number(
        &mut self,
        name: &str,
        low: i64,
        high: i64,
    ) -> Result<Option<i64>, Problem> {
        let Some(text) = self.0.remove(name) else {
            return Ok(None);
        };
        // "+5" and "05" are numbers to Rust, and not to JSON.
        let is_plain = text
            .parse::<i64>()
            .is_ok_and(|number| number.to_string() == text);
        match text.parse() {
            Ok(number) if is_plain && (low..=high).contains(&number) => Ok(Some(number)),
            _ => Err(Problem::bad(name, format!("{low} to {high}"), &text)),
        }
    }

    pub(crate) fn one_of<T: Copy>(
        &mut self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.0.remove(name) else {
            return Ok(None);
        };
        let found = choices.iter().find(|(choice, _)| *choice == text);
        match found {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                Err(Problem::bad(name, names.join(", "), &text))
            }
        }
    }

    /// Text of at most so many characters.
    pub(crate) fn short(
        &mut self,
        name: &str,
        chars_max: usize,
    ) -> Result<Option<String>, Problem> {
        match self.0.remove(name) {
            Some(text)
                if text.is_empty() || text.chars().count() > chars_max || text.contains('\0') =>
            {
                let limit = format!("1 to {chars_max} characters, not 0");
                Err(Problem::bad(name, limit, &text))
            }
            found => Ok(found),
        }
    }

    /// `from_ms` and `to_ms`, in this order.
    pub(crate) fn times(&mut self) -> Result<Option<(i64, i64)>, Problem> {
        let from_ms = self.number("from_ms", 0, UTC_MS_MAX)?;
        let to_ms = self.number("to_ms", 0, UTC_MS_MAX)?;
        match (from_ms, to_ms) {
            (Some(from_ms), Some(to_ms)) if to_ms <= from_ms => Err(Problem::contradiction(
                "to_ms",
                "later than from_ms",
                "the time ends before it begins",
            )),
            (Some(from_ms), Some(to_ms)) => Ok(Some((from_ms, to_ms))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(Problem::contradiction(
                "to_ms",
                "with from_ms",
                "to_ms is missing",
            )),
            (None, Some(_)) => Err(Problem::contradiction(
                "from_ms",
                "with to_ms",
                "from_ms is missing",
            )),
        }
    }

    /// Nothing else may be there.
    pub(crate) fn end(self) -> Result<(), Problem> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => {
                let shown: String = name.chars().take(80).collect();
                Err(Problem::field(
                    StatusCode::BAD_REQUEST,
                    &shown,
                    "a field of this path, see /api/v1/openapi.json",
                    format!("{shown:?} is not a field here"),
                ))
            }
        }
    }
}

/// A device's name from a path.
pub(crate) fn device(text: &str) -> Result<String, Problem> {
    match text.parse::<firmware_shared::id::DeviceId>() {
        Ok(device) => Ok(device.as_str().to_owned()),
        Err(_) => Err(Problem::bad("device", DEVICE, text)),
    }
}

/// `%41` and `+` as what they stand for.
fn decoded(text: &str) -> Result<String, Problem> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = rest.get(..2).and_then(|two| std::str::from_utf8(two).ok());
                let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
                bytes.push(byte.ok_or_else(|| not_utf8(text))?);
                rest = rest.get(2..).unwrap_or_default();
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| not_utf8(text))
}

fn not_utf8(text: &str) -> Problem {
    Problem::bad("query", "UTF-8, with %XX for other bytes", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_field_is_refused_by_its_name_with_what_is_allowed() {
        for (query, field, limit) in [
            ("from_ms=1&from_ms=2", "from_ms", "once"),
            ("from_ms=x&to_ms=1", "from_ms", "0 to 4102444800000"),
            ("from_ms=-1&to_ms=1", "from_ms", "0 to 4102444800000"),
            ("from_ms=%2b1&to_ms=9", "from_ms", "0 to 4102444800000"),
            ("from_ms=5&to_ms=5", "to_ms", "later than from_ms"),
            ("from_ms=5", "to_ms", "with from_ms"),
            (
                "other=1",
                "other",
                "a field of this path, see /api/v1/openapi.json",
            ),
            ("a=%ff", "query", "UTF-8, with %XX for other bytes"),
            ("a=%f", "query", "UTF-8, with %XX for other bytes"),
        ] {
            let refused = Fields::read(Some(query)).and_then(|mut fields| {
                fields.times()?;
                fields.end()
            });
            let problem = refused.unwrap_err();
            assert_eq!(problem.field.as_deref(), Some(field), "{query}");
            assert_eq!(problem.limit.as_deref(), Some(limit), "{query}");
        }
    }

    #[test]
    fn fields_are_decoded() {
        let mut fields = Fields::read(Some("sensor=cargo+bay%20%C3%A4&step_ms=1000")).unwrap();
        assert_eq!(
            fields.short("sensor", 20).unwrap().as_deref(),
            Some("cargo bay \u{e4}")
        );
        assert_eq!(fields.number("step_ms", 1, 5_000).unwrap(), Some(1_000));
        fields.end().unwrap();
    }
}
