//! Values on their way through a template.

use std::borrow::Cow;

use serde_json::{Value, json};

/// A value on its way through the template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Datum<'a> {
    pub(crate) value: Cow<'a, Value>,
    pub(crate) shape: Shape,
}

/// What a JSON object stands for. Means nothing for other values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A fixed set of fields: a wrong name is an error.
    Record,
    /// Keys that users chose: a missing one has no value.
    Map,
}

impl<'a> Datum<'a> {
    pub(crate) fn owned(value: Value) -> Self {
        Self {
            value: Cow::Owned(value),
            shape: Shape::Record,
        }
    }

    pub(crate) fn borrowed(value: &'a Value) -> Self {
        Self {
            value: Cow::Borrowed(value),
            shape: Shape::Record,
        }
    }

    /// Go's truth: the zero value of each type is false.
    pub(crate) fn is_true(&self) -> bool {
        match self.value.as_ref() {
            Value::Null => false,
            Value::Bool(b) => *b,
            Value::Number(n) => n.as_f64() != Some(0.0),
            Value::String(s) => !s.is_empty(),
            Value::Array(a) => !a.is_empty(),
            Value::Object(o) => self.shape == Shape::Record || !o.is_empty(),
        }
    }

    /// The object's or the list's member, borrowed when this value is.
    pub(crate) fn member(&self, key: Key<'_>) -> Option<Datum<'a>> {
        let value = match &self.value {
            Cow::Borrowed(value) => Cow::Borrowed(key.of(value)?),
            Cow::Owned(value) => Cow::Owned(key.of(value)?.clone()),
        };
        Some(Datum {
            value,
            shape: Shape::Record,
        })
    }
}

/// How a member is named.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key<'k> {
    Name(&'k str),
    Index(usize),
}

impl Key<'_> {
    fn of<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match self {
            Self::Name(name) => value.get(name),
            Self::Index(index) => value.get(index),
        }
    }
}

/// Fields are hidden from templates when they start with this: data for methods.
pub(crate) const HIDDEN: char = '_';

/// The value without what is hidden in it. Only rows of lists hide anything; elsewhere a key that
/// begins so is somebody's own.
pub(crate) fn without_hidden(value: &Value) -> Value {
    let mut value = value.clone();
    if let Value::Object(row) = &mut value
        && row.contains_key("_Labels")
    {
        row.retain(|key, _| !key.starts_with(HIDDEN));
    }
    value
}

/// Whether the field `name` (of the field `parent`) holds a map with keys of the user's choice.
pub(crate) fn is_map(parent: Option<&str>, name: &str) -> bool {
    match name {
        "Labels" | "Ports" | "Networks" | "Volumes" | "ExposedPorts" | "PortBindings"
        | "Sysctls" | "Tmpfs" | "Data" | "Options" | "Annotations" | "DriverOpts"
        | "StorageOpt" => true,
        "Config" => parent == Some("LogConfig"),
        _ => false,
    }
}

/// What docker prints of the field `name` (of the field `parent`) where the document leaves it out:
/// its own documents have types, and each type an empty value.
pub(crate) fn left_out(parent: Option<&str>, name: &str) -> Option<Datum<'static>> {
    if parent != Some("Config") {
        return None;
    }
    let value = match name {
        "Hostname" | "Domainname" | "User" | "Image" | "WorkingDir" | "StopSignal" => json!(""),
        "AttachStdin" | "AttachStdout" | "AttachStderr" | "Tty" | "OpenStdin" | "StdinOnce" => {
            json!(false)
        }
        "Env" | "Cmd" | "Entrypoint" | "OnBuild" | "Shell" => json!([]),
        "ExposedPorts" | "Volumes" | "Labels" => json!({}),
        "Healthcheck" | "StopTimeout" => Value::Null,
        _ => return None,
    };
    let mut datum = Datum::owned(value);
    if is_map(parent, name) {
        datum.shape = Shape::Map;
    }
    Some(datum)
}
