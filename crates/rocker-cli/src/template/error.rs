//! Why a template could not be understood or rendered.

/// Why a `--format` template could not be parsed or rendered.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum TemplateError {
    #[error("unclosed action: \"{{{{\" without \"}}}}\" in {0:?}")]
    UnclosedAction(String),
    #[error("unclosed comment in the template")]
    UnclosedComment,
    #[error("unterminated string in {0:?}")]
    UnterminatedString(String),
    #[error("bad number {0:?}")]
    BadNumber(String),
    #[error("unexpected {0:?} in an action")]
    UnexpectedCharacter(char),
    #[error("unexpected {found} in {context}")]
    UnexpectedToken {
        found: String,
        context: &'static str,
    },
    #[error("{{{{{0}}}}} without {{{{end}}}}")]
    MissingEnd(&'static str),
    #[error("missing value in an action")]
    MissingValue,
    #[error("function {0:?} is not defined; there are: {known}", known = super::functions::NAMES.join(" "))]
    UnknownFunction(String),
    #[error("variable \"{0}\" is not defined")]
    UnknownVariable(String),
    #[error("unknown field .{field}; valid fields: {valid}")]
    UnknownField { field: String, valid: String },
    #[error("cannot take field .{field} of {kind}")]
    FieldOfScalar { field: String, kind: &'static str },
    #[error("cannot call {0}: it is not a function")]
    NotAFunction(String),
    #[error("{function}: {problem}")]
    BadArguments { function: String, problem: String },
    #[error("cannot range over {0}")]
    RangeOverScalar(&'static str),
}
