//! Walks the tree with a value and writes the text.

use serde_json::Value;

use super::TemplateError;
use super::ast::{Base, Binding, Command, Node, Operand, Pipeline};
use super::datum::{Datum, HIDDEN, Key, Shape, is_map, left_out};
use super::{functions, print};

/// Renders `nodes` with `value` as dot.
pub(crate) fn render(nodes: &[Node], value: &Value) -> Result<String, TemplateError> {
    let root = Datum::borrowed(value);
    let mut walk = Walk {
        out: String::new(),
        variables: vec![("$".to_owned(), root.clone())],
    };
    walk.list(nodes, &root)?;
    Ok(walk.out)
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct Walk<'a> {
    out: String,
    variables: Vec<(String, Datum<'a>)>,
}

impl<'a> Walk<'a> {
    fn list(&mut self, nodes: &[Node], dot: &Datum<'a>) -> Result<Flow, TemplateError> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.out.push_str(text);
                    Flow::Next
                }
                Node::Output(pipeline) => self.output(pipeline, dot)?,
                Node::If {
                    condition,
                    then,
                    otherwise,
                } => self.branch(condition, (then, otherwise), dot, Dot::Keep)?,
                Node::With {
                    value,
                    then,
                    otherwise,
                } => self.branch(value, (then, otherwise), dot, Dot::Replace)?,
                Node::Range {
                    over,
                    body,
                    otherwise,
                } => self.range(over, (body, otherwise), dot)?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn output(&mut self, pipeline: &Pipeline, dot: &Datum<'a>) -> Result<Flow, TemplateError> {
        let value = self.pipeline(pipeline, dot)?;
        if pipeline.binding == Binding::None {
            self.out.push_str(&print::value(&value.value));
        }
        Ok(Flow::Next)
    }

    fn branch(
        &mut self,
        condition: &Pipeline,
        (then, otherwise): (&[Node], &[Node]),
        dot: &Datum<'a>,
        new_dot: Dot,
    ) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        let value = self.pipeline(condition, dot)?;
        let flow = match (value.is_true(), new_dot) {
            (true, Dot::Replace) => self.list(then, &value),
            (true, Dot::Keep) => self.list(then, dot),
            (false, _) => self.list(otherwise, dot),
        };
        self.variables.truncate(scope);
        flow
    }

    fn range(
        &mut self,
        over: &Pipeline,
        (body, otherwise): (&[Node], &[Node]),
        dot: &Datum<'a>,
    ) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        let value = self.run(over, dot)?;
        let items = items(&value)?;
        if items.is_empty() {
            let flow = self.list(otherwise, dot);
            self.variables.truncate(scope);
            return flow;
        }
        for (key, item) in items {
            match over.variables.as_slice() {
                [] => {}
                [only] => self.variables.push((only.clone(), item.clone())),
                [index, element, ..] => {
                    self.variables.push((index.clone(), Datum::owned(key)));
                    self.variables.push((element.clone(), item.clone()));
                }
            }
            let flow = self.list(body, &item)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    /// Evaluates, and binds the variable if there is one.
    fn pipeline(
        &mut self,
        pipeline: &Pipeline,
        dot: &Datum<'a>,
    ) -> Result<Datum<'a>, TemplateError> {
        let value = self.run(pipeline, dot)?;
        let Some(name) = pipeline.variables.first() else {
            return Ok(value);
        };
        match pipeline.binding {
            Binding::None => {}
            Binding::Declare => self.variables.push((name.clone(), value.clone())),
            Binding::Assign => {
                let slot = self.variables.iter_mut().rev().find(|(n, _)| n == name);
                slot.ok_or_else(|| TemplateError::UnknownVariable(name.clone()))?
                    .1 = value.clone();
            }
        }
        Ok(value)
    }

    fn run(&mut self, pipeline: &Pipeline, dot: &Datum<'a>) -> Result<Datum<'a>, TemplateError> {
        let mut piped = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, piped, dot)?);
        }
        piped.ok_or(TemplateError::MissingValue)
    }

    fn command(
        &mut self,
        command: &Command,
        piped: Option<Datum<'a>>,
        dot: &Datum<'a>,
    ) -> Result<Datum<'a>, TemplateError> {
        if let Base::Function(name) = &command.head.base {
            return self.call(name, command, piped, dot);
        }
        let has_arguments = !command.arguments.is_empty() || piped.is_some();
        if !has_arguments {
            return self.operand(&command.head, dot);
        }
        self.method(command, piped, dot)
    }

    fn call(
        &mut self,
        name: &str,
        command: &Command,
        piped: Option<Datum<'a>>,
        dot: &Datum<'a>,
    ) -> Result<Datum<'a>, TemplateError> {
        let mut arguments = Vec::with_capacity(command.arguments.len() + 1);
        for operand in &command.arguments {
            let value = self.operand(operand, dot)?;
            // `and` and `or` stop at the first value that decides.
            if (name == "and" && !value.is_true()) || (name == "or" && value.is_true()) {
                return Ok(value);
            }
            arguments.push(value);
        }
        arguments.extend(piped);
        let result = functions::call(name, &arguments)?;
        self.take_fields(result, &command.head.fields, None)
    }

    /// `.Label "key"` is the one method there is: the value of one label.
    fn method(
        &mut self,
        command: &Command,
        piped: Option<Datum<'a>>,
        dot: &Datum<'a>,
    ) -> Result<Datum<'a>, TemplateError> {
        let described = || TemplateError::NotAFunction(describe(&command.head));
        let (method, owner) = command.head.fields.split_last().ok_or_else(described)?;
        if method != "Label" {
            return Err(described());
        }
        let owner = self.operand(
            &Operand {
                base: command.head.base.clone(),
                fields: owner.to_vec(),
            },
            dot,
        )?;
        let key = match command.arguments.first() {
            Some(operand) => self.operand(operand, dot)?,
            None => piped.ok_or_else(described)?,
        };
        let labels = owner.member(Key::Name("_Labels")).ok_or_else(described)?;
        let label = key.value.as_str().and_then(|k| labels.member(Key::Name(k)));
        Ok(label.unwrap_or_else(|| Datum::owned(Value::String(String::new()))))
    }

    fn operand(&mut self, operand: &Operand, dot: &Datum<'a>) -> Result<Datum<'a>, TemplateError> {
        let base = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Literal(value) => Datum::owned(value.clone()),
            Base::Group(pipeline) => self.run(pipeline, dot)?,
            Base::Function(name) => functions::call(name, &[])?,
            Base::Variable(name) => self
                .variables
                .iter()
                .rev()
                .find(|(n, _)| n == name)
                .map(|(_, value)| value.clone())
                .ok_or_else(|| TemplateError::UnknownVariable(name.clone()))?,
        };
        self.take_fields(base, &operand.fields, None)
    }

    fn take_fields(
        &self,
        base: Datum<'a>,
        fields: &[String],
        parent: Option<&str>,
    ) -> Result<Datum<'a>, TemplateError> {
        let mut parent = parent;
        fields.iter().try_fold(base, |value, name| {
            let member = field(&value, parent, name);
            parent = Some(name);
            member
        })
    }
}

/// Whether a block makes its value the new dot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dot {
    Keep,
    Replace,
}

fn field<'a>(
    value: &Datum<'a>,
    parent: Option<&str>,
    name: &str,
) -> Result<Datum<'a>, TemplateError> {
    let Value::Object(object) = value.value.as_ref() else {
        return Err(TemplateError::FieldOfScalar {
            field: name.to_owned(),
            kind: print::kind(&value.value),
        });
    };
    if let Some(mut member) = value.member(Key::Name(name)) {
        if is_map(parent, name) {
            member.shape = Shape::Map;
        }
        return Ok(member);
    }
    if value.shape == Shape::Map {
        return Ok(Datum::owned(Value::Null));
    }
    if let Some(empty) = left_out(parent, name) {
        return Ok(empty);
    }
    let valid: Vec<String> = object
        .keys()
        .filter(|key| !key.starts_with(HIDDEN))
        .map(|key| format!(".{key}"))
        .collect();
    Err(TemplateError::UnknownField {
        field: name.to_owned(),
        valid: valid.join(" "),
    })
}

/// The members of a list or map with their keys; maps in the order of their keys, as Go does.
fn items<'a>(value: &Datum<'a>) -> Result<Vec<(Value, Datum<'a>)>, TemplateError> {
    match value.value.as_ref() {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => Ok((0..list.len())
            .filter_map(|i| Some((Value::from(i), value.member(Key::Index(i))?)))
            .collect()),
        Value::Object(object) => {
            let mut keys: Vec<&String> = object.keys().collect();
            keys.sort();
            Ok(keys
                .into_iter()
                .filter_map(|key| {
                    let member = value.member(Key::Name(key))?;
                    Some((Value::String(key.clone()), member))
                })
                .collect())
        }
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            Err(TemplateError::RangeOverScalar(print::kind(other)))
        }
    }
}

fn describe(operand: &Operand) -> String {
    let base = match &operand.base {
        Base::Dot | Base::Group(_) => String::new(),
        Base::Variable(name) | Base::Function(name) => name.clone(),
        Base::Literal(value) => value.to_string(),
    };
    let fields: String = operand.fields.iter().map(|f| format!(".{f}")).collect();
    match base + &fields {
        empty if empty.is_empty() => ".".to_owned(),
        text => text,
    }
}
