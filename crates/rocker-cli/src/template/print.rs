//! How Go prints values: `%v`, `printf` and JSON.

use std::fmt::Write as _;

use serde_json::Value;

use super::TemplateError;

/// What `{{.X}}` prints.
pub(crate) fn value(value: &Value) -> String {
    match value.is_null() {
        true => "<no value>".to_owned(),
        false => plain(value),
    }
}

/// Go's `%v`, where nothing is `<nil>`.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => s.clone(),
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(plain).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(object) => {
            let mut keys: Vec<(&String, &Value)> = object.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            let items: Vec<String> = keys
                .into_iter()
                .map(|(key, item)| format!("{key}:{}", plain(item)))
                .collect();
            format!("map[{}]", items.join(" "))
        }
    }
}

/// What errors call a value.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Go's `Sprint`: blanks between operands when neither is a string.
pub(crate) fn print(arguments: &[&Value]) -> String {
    let mut out = String::new();
    for (at, argument) in arguments.iter().enumerate() {
        let previous_is_text = at == 0 || arguments[at - 1].is_string();
        if !previous_is_text && !argument.is_string() {
            out.push(' ');
        }
        out.push_str(&plain(argument));
    }
    out
}

/// Go's `Sprintf`: `%v %s %d %q %t %x %f %e %g %c` with `-`, `0`, `+`, width and precision.
pub(crate) fn printf(format: &str, arguments: &[&Value]) -> Result<String, TemplateError> {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::read(&mut chars);
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) => match arguments.next() {
                None => {
                    let _infallible = write!(out, "%!{verb}(MISSING)");
                }
                Some(argument) => {
                    let text = spec.format(verb, argument)?;
                    out.push_str(&spec.pad(&text));
                }
            },
        }
    }
    Ok(out)
}

/// Flags, width and precision between `%` and the verb.
#[derive(Debug, Default)]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    width: usize,
    precision: Option<usize>,
}

/// Wider or more precise than this nobody prints; it bounds what a template can allocate.
const MAX_WIDTH: usize = 10_000;

impl Spec {
    fn read(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Self {
        let mut spec = Self::default();
        while let Some(flag) = chars.peek() {
            match flag {
                '-' => spec.left = true,
                '0' => spec.zero = true,
                '+' => spec.plus = true,
                ' ' | '#' => {}
                _ => break,
            }
            chars.next();
        }
        spec.width = digits(chars);
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(digits(chars));
        }
        spec
    }

    fn format(&mut self, verb: char, argument: &Value) -> Result<String, TemplateError> {
        let text = match (verb, argument) {
            ('v', _) => plain(argument),
            ('s', Value::String(s)) => match self.precision {
                Some(most) => s.chars().take(most).collect(),
                None => s.clone(),
            },
            ('s', Value::Array(_) | Value::Object(_)) => plain(argument),
            ('q', Value::String(s)) => Value::String(s.clone()).to_string(),
            ('t', Value::Bool(b)) => b.to_string(),
            ('d', Value::Number(n)) if n.is_i64() || n.is_u64() => n.to_string(),
            ('x', Value::Number(n)) if n.as_i64().is_some() => {
                format!("{:x}", n.as_i64().unwrap_or_default())
            }
            ('x', Value::String(s)) => s.bytes().map(|b| format!("{b:02x}")).collect(),
            ('f' | 'e' | 'g', Value::Number(n)) => self.float(verb, n.as_f64().unwrap_or_default()),
            ('c', Value::Number(n)) => n
                .as_u64()
                .and_then(|n| u32::try_from(n).ok())
                .and_then(char::from_u32)
                .unwrap_or(char::REPLACEMENT_CHARACTER)
                .to_string(),
            ('s' | 'q' | 't' | 'd' | 'x' | 'f' | 'e' | 'g' | 'c', other) => {
                format!("%!{verb}({}={})", go_type(other), plain(other))
            }
            (other, _) => {
                return Err(TemplateError::BadArguments {
                    function: "printf".to_owned(),
                    problem: format!("unknown verb %{other}"),
                });
            }
        };
        if !argument.is_number() || text.starts_with('%') {
            self.zero = false;
        }
        let signed = self.plus && argument.is_number() && !text.starts_with(['-', '%']);
        Ok(if signed { format!("+{text}") } else { text })
    }

    fn float(&self, verb: char, number: f64) -> String {
        match (verb, self.precision) {
            ('f', precision) => format!("{number:.*}", precision.unwrap_or(6)),
            ('e', precision) => format!("{number:.*e}", precision.unwrap_or(6)),
            _ => number.to_string(),
        }
    }

    fn pad(&self, text: &str) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if missing == 0 {
            return text.to_owned();
        }
        if self.left {
            return format!("{text}{}", " ".repeat(missing));
        }
        if !self.zero {
            return format!("{}{text}", " ".repeat(missing));
        }
        let (sign, number) = match text.strip_prefix(['-', '+']) {
            Some(number) => (&text[..1], number),
            None => ("", text),
        };
        format!("{sign}{}{number}", "0".repeat(missing))
    }
}

fn digits(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> usize {
    let mut number = 0usize;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        let digit = usize::try_from(digit).unwrap_or_default();
        number = (number * 10 + digit).min(MAX_WIDTH);
        chars.next();
    }
    number
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
