//! The part of Go's `text/template` that `--format` needs, over JSON values.
//!
//! Scripts written for docker hand us templates such as
//! `{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}`, so syntax, functions and the way that
//! values are printed follow Go's documentation (<https://pkg.go.dev/text/template>) and docker's
//! page "Format command and log output". Two things are ours: the value is a
//! [`serde_json::Value`], and an unknown field is an error that lists the fields there are.
//!
//! A JSON object stands for two things in Go, a struct and a map. A misspelt field of a struct is
//! an error, a missing key of a map is not; [`datum::is_map`] names the fields that hold maps.

mod ast;
mod datum;
mod error;
mod eval;
mod functions;
mod lexer;
mod parser;
mod print;

pub(crate) use datum::without_hidden;
pub(crate) use error::TemplateError;

use serde_json::Value;

/// A template that was parsed once and can be rendered for any number of values.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<ast::Node>,
}

impl Template {
    /// Parses `text`, the argument of `--format`.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] when the text is not a template, or calls a function that does not exist.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let pieces = lexer::split(text)?;
        Ok(Self {
            nodes: parser::parse(pieces)?,
        })
    }

    /// Renders the template with `value` as its dot.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] for an unknown field, or a function called with what it cannot take.
    pub(crate) fn render(&self, value: &Value) -> Result<String, TemplateError> {
        eval::render(&self.nodes, value)
    }
}

#[cfg(test)]
mod tests;
