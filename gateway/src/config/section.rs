//! One section of a configuration file, read key by key.
//!
//! Promises: every value is checked for type and range where it is read; a key that nobody read is an
//! error; what is in effect, defaults included, is written down on the way. Never: a silent default in
//! place of a bad value.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::{Table, Value};

use super::ConfigError;

/// A section that is being read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    file: &'a Path,
    /// Dotted path with indices, for people; empty for the file itself.
    path: String,
    left: Table,
    known: Vec<&'static str>,
    effective: Table,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(file: &'a Path, table: Table) -> Self {
        Self::new(file, String::new(), table)
    }

    fn new(file: &'a Path, path: String, left: Table) -> Self {
        Self {
            file,
            path,
            left,
            known: Vec::new(),
            effective: Table::new(),
        }
    }

    /// The folder of the file: relative paths start there.
    fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    fn key(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name)
    }

    fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        self.effective.insert(name.to_owned(), value.into());
    }

    /// The error for a value of this section.
    pub(super) fn refuse(
        &self,
        name: &str,
        value: impl Display,
        allowed: impl Into<String>,
    ) -> ConfigError {
        ConfigError::Value {
            file: self.file.to_owned(),
            key: self.key(name),
            value: value.to_string(),
            allowed: allowed.into(),
        }
    }

    /// The error for a key that is not there.
    pub(super) fn missing(&self, name: &str, allowed: impl Into<String>) -> ConfigError {
        ConfigError::Missing {
            file: self.file.to_owned(),
            key: self.key(name),
            allowed: allowed.into(),
        }
    }

    /// An integer within a range, if the key is there.
    pub(super) fn integer_if_any<T>(
        &mut self,
        name: &'static str,
        range: RangeInclusive<T>,
    ) -> Result<Option<T>, ConfigError>
    where
        T: TryFrom<i64> + Into<i64> + PartialOrd + Copy + Display,
    {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let allowed = || format!("an integer from {} to {}", range.start(), range.end());
        let number = match &value {
            Value::Integer(number) => T::try_from(*number).ok().filter(|n| range.contains(n)),
            _ => None,
        };
        let number = number.ok_or_else(|| self.refuse(name, one_line(&value), allowed()))?;
        self.note(name, number.into());
        Ok(Some(number))
    }

    /// An integer within a range.
    pub(super) fn integer<T>(
        &mut self,
        name: &'static str,
        default: T,
        range: RangeInclusive<T>,
    ) -> Result<T, ConfigError>
    where
        T: TryFrom<i64> + Into<i64> + PartialOrd + Copy + Display,
    {
        let number = self.integer_if_any(name, range)?.unwrap_or(default);
        self.note(name, number.into());
        Ok(number)
    }

    /// An integer that must be there.
    pub(super) fn required_integer<T>(
        &mut self,
        name: &'static str,
        range: RangeInclusive<T>,
    ) -> Result<T, ConfigError>
    where
        T: TryFrom<i64> + Into<i64> + PartialOrd + Copy + Display,
    {
        let allowed = format!("an integer from {} to {}", range.start(), range.end());
        self.integer_if_any(name, range)?
            .ok_or_else(|| self.missing(name, allowed))
    }

    /// True or false.
    pub(super) fn boolean(
        &mut self,
        name: &'static str,
        default: bool,
    ) -> Result<bool, ConfigError> {
        let value = match self.take(name) {
            None => default,
            Some(Value::Boolean(value)) => value,
            Some(value) => return Err(self.refuse(name, one_line(&value), "true or false")),
        };
        self.note(name, value);
        Ok(value)
    }

    /// A date, if the key is there: as TOML has it, or as a text.
    pub(super) fn date_if_any(
        &mut self,
        name: &'static str,
    ) -> Result<Option<jiff::civil::Date>, ConfigError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let text = match &value {
            Value::Datetime(date) => date.to_string(),
            Value::String(text) => text.clone(),
            _ => String::new(),
        };
        let date = text
            .parse()
            .map_err(|_| self.refuse(name, one_line(&value), "a date such as \"2027-05-31\""))?;
        self.note(name, text);
        Ok(Some(date))
    }

    /// A moment, ms since 1970-01-01, if the key is there: as TOML has it, or as a text.
    pub(super) fn utc_ms_if_any(&mut self, name: &'static str) -> Result<Option<i64>, ConfigError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let text = match &value {
            Value::Datetime(time) => time.to_string(),
            Value::String(text) => text.clone(),
            _ => String::new(),
        };
        let time: jiff::Timestamp = text.parse().map_err(|_| {
            let allowed = "a time with its zone such as \"2027-01-04T08:00:00Z\"";
            self.refuse(name, one_line(&value), allowed)
        })?;
        self.note(name, text);
        Ok(Some(time.as_millisecond()))
    }

    /// A number within a range, if the key is there; an integer is a number, too.
    pub(super) fn number_if_any(
        &mut self,
        name: &'static str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, ConfigError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = match &value {
            Value::Float(number) => Some(*number),
            Value::Integer(number) => i32::try_from(*number).ok().map(f64::from),
            _ => None,
        };
        let number = number.filter(|n| range.contains(n)).ok_or_else(|| {
            let allowed = format!("a number from {} to {}", range.start(), range.end());
            self.refuse(name, one_line(&value), allowed)
        })?;
        self.note(name, number);
        Ok(Some(number))
    }

    /// A number within a range.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        default: f64,
        range: RangeInclusive<f64>,
    ) -> Result<f64, ConfigError> {
        let number = self.number_if_any(name, range)?.unwrap_or(default);
        self.note(name, number);
        Ok(number)
    }

    /// A text, if the key is there.
    pub(super) fn text_if_any(
        &mut self,
        name: &'static str,
        allowed: &str,
    ) -> Result<Option<String>, ConfigError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => {
                self.note(name, text.clone());
                Ok(Some(text))
            }
            Some(value) => Err(self.refuse(name, one_line(&value), allowed)),
        }
    }

    /// A list of values that texts stand for; an absent one is empty.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, ConfigError> {
        let Some(value) = self.take(name) else {
            self.note(name, Vec::<Value>::new());
            return Ok(Vec::new());
        };
        let Value::Array(values) = &value else {
            return Err(self.refuse(name, one_line(&value), format!("a list of {allowed}")));
        };
        let mut list = Vec::new();
        for text in values {
            let parsed = text.as_str().and_then(&parse);
            list.push(parsed.ok_or_else(|| self.refuse(name, one_line(text), allowed))?);
        }
        self.note(name, value);
        Ok(list)
    }

    /// A text that must be there.
    pub(super) fn text(
        &mut self,
        name: &'static str,
        allowed: &str,
    ) -> Result<String, ConfigError> {
        self.text_if_any(name, allowed)?
            .ok_or_else(|| self.missing(name, allowed))
    }

    /// A text.
    pub(super) fn text_or(
        &mut self,
        name: &'static str,
        default: &str,
        allowed: &str,
    ) -> Result<String, ConfigError> {
        let text = self
            .text_if_any(name, allowed)?
            .unwrap_or_else(|| default.to_owned());
        self.note(name, text.clone());
        Ok(text)
    }

    /// A text that must be there and must parse.
    pub(super) fn parsed<T: FromStr>(
        &mut self,
        name: &'static str,
        allowed: &str,
    ) -> Result<T, ConfigError> {
        let text = self.text(name, allowed)?;
        text.parse()
            .map_err(|_| self.refuse(name, Value::String(text), allowed))
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        default: Option<&'static str>,
        choices: &[(&'static str, T)],
    ) -> Result<T, ConfigError> {
        let words: Vec<String> = choices
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        let allowed = format!("one of {}", words.join(", "));
        let word = match (self.text_if_any(name, &allowed)?, default) {
            (Some(word), _) => word,
            (None, Some(word)) => {
                self.note(name, word);
                word.to_owned()
            }
            (None, None) => return Err(self.missing(name, allowed)),
        };
        let found = choices.iter().find(|(choice, _)| *choice == word);
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| self.refuse(name, Value::String(word), allowed))
    }

    /// One of some words, if the key is there.
    pub(super) fn choice_if_any<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&'static str, T)],
    ) -> Result<Option<T>, ConfigError> {
        if self.left.contains_key(name) {
            return self.choice(name, None, choices).map(Some);
        }
        self.known.push(name);
        Ok(None)
    }

    /// A path, relative to the folder of the file, if the key is there.
    pub(super) fn path_if_any(
        &mut self,
        name: &'static str,
    ) -> Result<Option<PathBuf>, ConfigError> {
        let Some(text) = self.text_if_any(name, "a path")? else {
            return Ok(None);
        };
        Ok(Some(self.resolve(name, "", &text)))
    }

    /// A path, relative to the folder of the file.
    pub(super) fn path(
        &mut self,
        name: &'static str,
        default: &'static str,
    ) -> Result<PathBuf, ConfigError> {
        let text = self
            .text_if_any(name, "a path")?
            .unwrap_or_else(|| default.to_owned());
        Ok(self.resolve(name, "", &text))
    }

    /// Joins a path with the folder of the file and notes it with its scheme, such as `sim:`.
    pub(super) fn resolve(&mut self, name: &'static str, scheme: &str, text: &str) -> PathBuf {
        let path = self.folder().join(text);
        self.note(name, format!("{scheme}{}", path.display()));
        path
    }

    /// A section inside this one; a missing one is an empty one.
    pub(super) fn section(&mut self, name: &'static str) -> Result<Section<'a>, ConfigError> {
        let path = self.key(name);
        match self.take(name) {
            None => Ok(Section::new(self.file, path, Table::new())),
            Some(Value::Table(table)) => Ok(Section::new(self.file, path, table)),
            Some(value) => Err(self.refuse(name, one_line(&value), format!("a section [{path}]"))),
        }
    }

    /// The sections `[[name]]` inside this one.
    pub(super) fn sections(&mut self, name: &'static str) -> Result<Vec<Section<'a>>, ConfigError> {
        let path = self.key(name);
        let allowed = format!("sections [[{name}]]");
        let list = match self.take(name) {
            None => Vec::new(),
            Some(Value::Array(list)) => list,
            Some(value) => return Err(self.refuse(name, one_line(&value), allowed)),
        };
        let section = |(at, value)| match value {
            Value::Table(table) => Ok(Section::new(self.file, format!("{path}[{at}]"), table)),
            value => Err(self.refuse(name, one_line(&value), allowed.clone())),
        };
        list.into_iter().enumerate().map(section).collect()
    }

    /// Ends a section: a key that nobody has read is an error. Gives what is in effect.
    pub(super) fn finish(self) -> Result<Table, ConfigError> {
        let Some((name, value)) = self.left.iter().next() else {
            return Ok(self.effective);
        };
        Err(ConfigError::UnknownKey {
            file: self.file.to_owned(),
            key: self.key(name),
            value: one_line(value),
            allowed: self.known.join(", "),
        })
    }

    /// Ends an inner section and notes what is in effect there.
    pub(super) fn adopt(
        &mut self,
        name: &'static str,
        inner: Section<'_>,
    ) -> Result<(), ConfigError> {
        let table = inner.finish()?;
        self.note(name, table);
        Ok(())
    }

    /// Ends inner sections `[[name]]` and notes what is in effect there.
    pub(super) fn adopt_all(&mut self, name: &'static str, inner: Vec<Table>) {
        self.note(
            name,
            inner.into_iter().map(Value::Table).collect::<Vec<_>>(),
        );
    }
}

fn one_line(value: &Value) -> String {
    match value {
        Value::Table(_) => "{...}".to_owned(),
        Value::Array(_) => "[...]".to_owned(),
        value => value.to_string(),
    }
}
