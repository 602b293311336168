//! Builds the tree from the pieces.

use std::collections::VecDeque;

use super::TemplateError;
use super::ast::{Base, Binding, Command, Node, Operand, Pipeline};
use super::functions;
use super::lexer::{Piece, Token, TokenKind};

/// Parses a whole template.
pub(crate) fn parse(pieces: Vec<Piece>) -> Result<Vec<Node>, TemplateError> {
    let mut blocks = Blocks {
        pieces: pieces.into(),
    };
    let (nodes, end) = blocks.list()?;
    match end {
        ListEnd::Text => Ok(nodes),
        ListEnd::Else(_) => Err(unexpected("{{else}}", "the template")),
        ListEnd::Block => Err(unexpected("{{end}}", "the template")),
    }
}

fn unexpected(found: &str, context: &'static str) -> TemplateError {
    TemplateError::UnexpectedToken {
        found: found.to_owned(),
        context,
    }
}

/// What ended a list of nodes.
enum ListEnd {
    Text,
    /// `{{else}}` with the tokens after it: `else if …`, `else with …`.
    Else(Vec<Token>),
    /// `{{end}}`.
    Block,
}

struct Blocks {
    pieces: VecDeque<Piece>,
}

impl Blocks {
    fn list(&mut self) -> Result<(Vec<Node>, ListEnd), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.pop_front() {
            let tokens = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens) => tokens,
            };
            match keyword(&tokens) {
                Some("else") => return Ok((nodes, ListEnd::Else(tokens[1..].to_vec()))),
                Some("end") if tokens.len() == 1 => return Ok((nodes, ListEnd::Block)),
                Some("break") if tokens.len() == 1 => nodes.push(Node::Break),
                Some("continue") if tokens.len() == 1 => nodes.push(Node::Continue),
                Some(word @ ("if" | "with" | "range")) => {
                    nodes.push(self.block(word, &tokens[1..])?);
                }
                _ => nodes.push(Node::Output(pipeline(&tokens, Variables::One)?)),
            }
        }
        Ok((nodes, ListEnd::Text))
    }

    /// `word` is if, with or range; its body and `{{else}}` part are still in the pieces.
    fn block(&mut self, word: &str, tokens: &[Token]) -> Result<Node, TemplateError> {
        let (name, variables) = match word {
            "if" => ("if", Variables::One),
            "with" => ("with", Variables::One),
            _ => ("range", Variables::Two),
        };
        let head = pipeline(tokens, variables)?;
        let (then, end) = self.list()?;
        let otherwise = match end {
            ListEnd::Text => return Err(TemplateError::MissingEnd(name)),
            ListEnd::Block => Vec::new(),
            ListEnd::Else(rest) => self.otherwise(name, &rest)?,
        };
        Ok(match name {
            "if" => Node::If {
                condition: head,
                then,
                otherwise,
            },
            "with" => Node::With {
                value: head,
                then,
                otherwise,
            },
            _ => Node::Range {
                over: head,
                body: then,
                otherwise,
            },
        })
    }

    /// What follows `{{else`: a list up to `{{end}}`, or another block that shares it.
    fn otherwise(
        &mut self,
        name: &'static str,
        rest: &[Token],
    ) -> Result<Vec<Node>, TemplateError> {
        match keyword(rest) {
            Some(word @ ("if" | "with")) if word == name => Ok(vec![self.block(word, &rest[1..])?]),
            _ if !rest.is_empty() => Err(unexpected(&rest[0].kind.to_string(), "{{else}}")),
            _ => match self.list()? {
                (nodes, ListEnd::Block) => Ok(nodes),
                (_, ListEnd::Else(_)) => Err(unexpected("{{else}}", "{{else}}")),
                (_, ListEnd::Text) => Err(TemplateError::MissingEnd(name)),
            },
        }
    }
}

fn keyword(tokens: &[Token]) -> Option<&str> {
    match tokens.first() {
        Some(Token {
            kind: TokenKind::Word(word),
            ..
        }) => Some(word),
        _ => None,
    }
}

/// How many variables may stand before `:=`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variables {
    One,
    Two,
}

fn pipeline(tokens: &[Token], allowed: Variables) -> Result<Pipeline, TemplateError> {
    let (variables, binding, used) = binding(tokens, allowed);
    let mut reader = Reader {
        tokens: &tokens[used..],
    };
    let mut pipeline = reader.pipeline("an action")?;
    if let Some(token) = reader.tokens.first() {
        return Err(unexpected(&token.kind.to_string(), "an action"));
    }
    pipeline.variables = variables;
    pipeline.binding = binding;
    Ok(pipeline)
}

/// The variables in front of a pipeline, and how many tokens they took.
fn binding(tokens: &[Token], allowed: Variables) -> (Vec<String>, Binding, usize) {
    let kinds: Vec<&TokenKind> = tokens.iter().take(4).map(|t| &t.kind).collect();
    match kinds.as_slice() {
        [TokenKind::Variable(name), TokenKind::Declare, ..] => {
            (vec![name.clone()], Binding::Declare, 2)
        }
        [TokenKind::Variable(name), TokenKind::Assign, ..] => {
            (vec![name.clone()], Binding::Assign, 2)
        }
        [
            TokenKind::Variable(key),
            TokenKind::Comma,
            TokenKind::Variable(value),
            TokenKind::Declare,
        ] if allowed == Variables::Two => (vec![key.clone(), value.clone()], Binding::Declare, 4),
        _ => (Vec::new(), Binding::None, 0),
    }
}

struct Reader<'a> {
    tokens: &'a [Token],
}

impl Reader<'_> {
    fn peek(&self) -> Option<&TokenKind> {
        self.tokens.first().map(|t| &t.kind)
    }

    fn pipeline(&mut self, context: &'static str) -> Result<Pipeline, TemplateError> {
        let mut commands = vec![self.command(context)?];
        while self.peek() == Some(&TokenKind::Pipe) {
            self.tokens = &self.tokens[1..];
            commands.push(self.command(context)?);
        }
        Ok(Pipeline {
            variables: Vec::new(),
            binding: Binding::None,
            commands,
        })
    }

    fn command(&mut self, context: &'static str) -> Result<Command, TemplateError> {
        let head = self.operand(context)?;
        let mut arguments = Vec::new();
        while !matches!(self.peek(), None | Some(TokenKind::Pipe | TokenKind::Close)) {
            arguments.push(self.operand(context)?);
        }
        Ok(Command { head, arguments })
    }

    fn operand(&mut self, context: &'static str) -> Result<Operand, TemplateError> {
        let (first, rest) = self
            .tokens
            .split_first()
            .ok_or(TemplateError::MissingValue)?;
        self.tokens = rest;
        let mut fields = Vec::new();
        let base = match &first.kind {
            TokenKind::Dot => Base::Dot,
            TokenKind::Field(name) => {
                fields.push(name.clone());
                Base::Dot
            }
            TokenKind::Variable(name) => Base::Variable(name.clone()),
            TokenKind::Literal(value) => Base::Literal(value.clone()),
            TokenKind::Word(name) if functions::NAMES.contains(&name.as_str()) => {
                Base::Function(name.clone())
            }
            TokenKind::Word(name) => return Err(TemplateError::UnknownFunction(name.clone())),
            TokenKind::Open => self.group()?,
            TokenKind::Pipe
            | TokenKind::Close
            | TokenKind::Comma
            | TokenKind::Declare
            | TokenKind::Assign => return Err(unexpected(&first.kind.to_string(), context)),
        };
        while let Some(Token {
            kind: TokenKind::Field(name),
            glued: true,
        }) = self.tokens.first()
        {
            fields.push(name.clone());
            self.tokens = &self.tokens[1..];
        }
        Ok(Operand { base, fields })
    }

    fn group(&mut self) -> Result<Base, TemplateError> {
        let inner = self.pipeline("parentheses")?;
        match self.tokens.split_first() {
            Some((token, rest)) if token.kind == TokenKind::Close => {
                self.tokens = rest;
                Ok(Base::Group(Box::new(inner)))
            }
            _ => Err(unexpected("end of the action", "parentheses")),
        }
    }
}
