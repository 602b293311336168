//! The tree that a template becomes.

use serde_json::Value;

/// One piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Text(String),
    /// `{{pipeline}}`: prints its value, unless it assigns.
    Output(Pipeline),
    If {
        condition: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    With {
        value: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        over: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Break,
    Continue,
}

/// `a | b | c`, with the variables that its value goes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pipeline {
    /// Names with their `$`; two of them only in `range`.
    pub(crate) variables: Vec<String>,
    pub(crate) binding: Binding,
    /// Each takes the value of the one before as its last argument.
    pub(crate) commands: Vec<Command>,
}

/// What a pipeline does with its variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binding {
    None,
    /// `$x := …`
    Declare,
    /// `$x = …`
    Assign,
}

/// A value, or a function or method with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Command {
    pub(crate) head: Operand,
    pub(crate) arguments: Vec<Operand>,
}

/// A value with the fields taken from it: `.A.B`, `$x.A`, `(index .L 0).A`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    pub(crate) base: Base,
    pub(crate) fields: Vec<String>,
}

/// Where an operand starts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Base {
    Dot,
    Variable(String),
    Function(String),
    Literal(Value),
    Group(Box<Pipeline>),
}
