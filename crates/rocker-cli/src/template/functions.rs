//! The functions of a template: Go's own and docker's.

use std::cmp::Ordering;

use serde_json::Value;

use super::TemplateError;
use super::datum::{Datum, Key, Shape, without_hidden};
use super::print;

/// Every function there is.
pub(crate) const NAMES: &[&str] = &[
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not",
    "or", "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper",
];

/// Calls `name`, one of [`NAMES`].
pub(crate) fn call<'a>(name: &str, arguments: &[Datum<'a>]) -> Result<Datum<'a>, TemplateError> {
    let call = Call { name, arguments };
    match name {
        // What decides was found by the caller; here is what is left when none did.
        "and" | "or" => arguments
            .last()
            .cloned()
            .ok_or_else(|| call.wrong("needs at least one argument")),
        "not" => Ok(truth(!call.argument(0)?.is_true())),
        "eq" => call.any_equal(),
        "ne" => Ok(truth(!equal(call.value(0)?, call.value(1)?))),
        "lt" => call.ordered(|o| o == Ordering::Less),
        "le" => call.ordered(|o| o != Ordering::Greater),
        "gt" => call.ordered(|o| o == Ordering::Greater),
        "ge" => call.ordered(|o| o != Ordering::Less),
        "index" => call.index(),
        "slice" => call.slice(),
        "len" => call.len(),
        "split" => call.split(),
        _ => Ok(Datum::owned(Value::String(call.text_function()?))),
    }
}

fn truth(value: bool) -> Datum<'static> {
    Datum::owned(Value::Bool(value))
}

struct Call<'c, 'a> {
    name: &'c str,
    arguments: &'c [Datum<'a>],
}

impl<'a> Call<'_, 'a> {
    fn wrong(&self, problem: impl Into<String>) -> TemplateError {
        TemplateError::BadArguments {
            function: self.name.to_owned(),
            problem: problem.into(),
        }
    }

    fn argument(&self, at: usize) -> Result<&Datum<'a>, TemplateError> {
        self.arguments
            .get(at)
            .ok_or_else(|| self.wrong(format!("needs at least {} arguments", at + 1)))
    }

    fn value(&self, at: usize) -> Result<&Value, TemplateError> {
        Ok(self.argument(at)?.value.as_ref())
    }

    fn text(&self, at: usize) -> Result<&str, TemplateError> {
        let value = self.value(at)?;
        value
            .as_str()
            .ok_or_else(|| self.wrong(format!("needs a string, got {}", print::kind(value))))
    }

    fn number(&self, at: usize) -> Result<usize, TemplateError> {
        let value = self.value(at)?;
        value
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(|| self.wrong(format!("needs a whole number, got {}", print::kind(value))))
    }

    fn any_equal(&self) -> Result<Datum<'a>, TemplateError> {
        let (first, _) = (self.value(0)?, self.value(1)?);
        Ok(truth(
            self.arguments[1..].iter().any(|a| equal(first, &a.value)),
        ))
    }

    fn ordered(&self, accept: fn(Ordering) -> bool) -> Result<Datum<'a>, TemplateError> {
        let ordering = match (self.value(0)?, self.value(1)?) {
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            _ => None,
        };
        ordering
            .map(|ordering| truth(accept(ordering)))
            .ok_or_else(|| self.wrong("incompatible types for comparison"))
    }

    fn index(&self) -> Result<Datum<'a>, TemplateError> {
        let mut value = self.argument(0)?.clone();
        for key in &self.arguments[1..] {
            value = match (value.value.as_ref(), key.value.as_ref()) {
                (Value::Object(object), Value::String(name)) => {
                    let absent = absent_member(object, value.shape);
                    value.member(Key::Name(name)).unwrap_or(absent)
                }
                (Value::Array(list), Value::Number(_)) => {
                    let at = key.value.as_u64().and_then(|n| usize::try_from(n).ok());
                    let length = list.len();
                    at.and_then(|at| value.member(Key::Index(at)))
                        .ok_or_else(|| {
                            let key = &key.value;
                            self.wrong(format!("index {key} is out of range, length is {length}"))
                        })?
                }
                (other, key) => {
                    let (other, key) = (print::kind(other), print::kind(key));
                    return Err(self.wrong(format!("cannot index {other} with {key}")));
                }
            };
        }
        Ok(value)
    }

    fn slice(&self) -> Result<Datum<'a>, TemplateError> {
        let whole = self.value(0)?;
        let (text, list) = (whole.as_str(), whole.as_array());
        let length = text.map(str::len).or(list.map(Vec::len));
        let length =
            length.ok_or_else(|| self.wrong(format!("cannot slice {}", print::kind(whole))))?;
        let bound = |at: usize, default: usize| match self.arguments.len() > at {
            true => self.number(at),
            false => Ok(default),
        };
        let (from, to) = (bound(1, 0)?, bound(2, length)?);
        let text = text.and_then(|text| text.get(from..to)).map(Value::from);
        let list = list.and_then(|list| list.get(from..to)).map(Value::from);
        text.or(list)
            .map(Datum::owned)
            .ok_or_else(|| self.wrong(format!("range {from}:{to} of length {length}")))
    }

    fn len(&self) -> Result<Datum<'a>, TemplateError> {
        let length = match self.value(0)? {
            Value::String(text) => text.len(),
            Value::Array(list) => list.len(),
            Value::Object(object) => object.len(),
            Value::Null => 0,
            other @ (Value::Bool(_) | Value::Number(_)) => {
                return Err(self.wrong(format!("{} has no length", print::kind(other))));
            }
        };
        Ok(Datum::owned(Value::from(length)))
    }

    fn text_function(&self) -> Result<String, TemplateError> {
        let values: Vec<&Value> = self.arguments.iter().map(|a| a.value.as_ref()).collect();
        match self.name {
            "json" => Ok(without_hidden(self.value(0)?).to_string()),
            "lower" => Ok(self.text(0)?.to_lowercase()),
            "upper" => Ok(self.text(0)?.to_uppercase()),
            "title" => Ok(title(self.text(0)?)),
            "join" => self.join(),
            "truncate" => Ok(self.text(0)?.chars().take(self.number(1)?).collect()),
            "pad" => self.pad(),
            "print" => Ok(print::print(&values)),
            "println" => {
                let words: Vec<String> = values.iter().map(|v| print::plain(v)).collect();
                Ok(words.join(" ") + "\n")
            }
            "printf" => print::printf(self.text(0)?, &values[1..]),
            other => Err(TemplateError::UnknownFunction(other.to_owned())),
        }
    }

    fn join(&self) -> Result<String, TemplateError> {
        let value = self.value(0)?;
        if value.is_null() {
            return Ok(String::new());
        }
        let list = value
            .as_array()
            .ok_or_else(|| self.wrong(format!("needs a list, got {}", print::kind(value))))?;
        let words: Vec<String> = list.iter().map(print::plain).collect();
        Ok(words.join(self.text(1)?))
    }

    fn split(&self) -> Result<Datum<'a>, TemplateError> {
        let parts: Vec<&str> = self.text(0)?.split(self.text(1)?).collect();
        Ok(Datum::owned(Value::from(parts)))
    }

    fn pad(&self) -> Result<String, TemplateError> {
        let (before, after) = (self.number(1)?.min(1000), self.number(2)?.min(1000));
        let text = self.text(0)?;
        Ok(format!("{}{text}{}", " ".repeat(before), " ".repeat(after)))
    }
}

/// What a map gives for a key it lacks: Go's zero value of its value type.
fn absent_member(object: &serde_json::Map<String, Value>, shape: Shape) -> Datum<'static> {
    let holds_text = shape == Shape::Map && object.values().all(Value::is_string);
    Datum::owned(if holds_text {
        Value::String(String::new())
    } else {
        Value::Null
    })
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

/// Upper-cases the first letter of every word, as Go's `strings.Title` does.
fn title(text: &str) -> String {
    let mut previous = ' ';
    text.chars()
        .map(|c| {
            let starts_word = !previous.is_alphanumeric() && previous != '_' && previous != '\'';
            previous = c;
            if starts_word {
                c.to_ascii_uppercase()
            } else {
                c
            }
        })
        .collect()
}
