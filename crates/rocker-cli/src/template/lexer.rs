//! Cuts a template into text and actions, and actions into tokens.

use serde_json::{Number, Value};

use super::TemplateError;

/// Text to copy, or the tokens of one `{{action}}`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    Text(String),
    Action(Vec<Token>),
}

/// One token of an action.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    /// No blank before it: `$x.A` is one operand, `$x .A` are two.
    pub(crate) glued: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    Dot,
    /// `.Name`, without the dot.
    Field(String),
    /// `$name` or `$`.
    Variable(String),
    Word(String),
    Literal(Value),
    Pipe,
    Open,
    Close,
    Comma,
    Declare,
    Assign,
}

impl std::fmt::Display for TokenKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dot => write!(f, "\".\""),
            Self::Field(name) => write!(f, "\".{name}\""),
            Self::Variable(name) | Self::Word(name) => write!(f, "{name:?}"),
            Self::Literal(value) => write!(f, "{value}"),
            Self::Pipe => write!(f, "\"|\""),
            Self::Open => write!(f, "\"(\""),
            Self::Close => write!(f, "\")\""),
            Self::Comma => write!(f, "\",\""),
            Self::Declare => write!(f, "\":=\""),
            Self::Assign => write!(f, "\"=\""),
        }
    }
}

/// Cuts `text` at its actions. Comments vanish; `{{- ` and ` -}}` eat the blanks beside them.
pub(crate) fn split(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    loop {
        let Some(start) = rest.find("{{") else {
            push_text(&mut pieces, rest, trim_next, false);
            return Ok(pieces);
        };
        let (before, after) = (&rest[..start], &rest[start + 2..]);
        let trims_left = after.strip_prefix('-').filter(|s| s.starts_with(blank));
        push_text(&mut pieces, before, trim_next, trims_left.is_some());

        let inside = trims_left.unwrap_or(after);
        let comment = inside.trim_start_matches(blank).strip_prefix("/*");
        let mut action = Action {
            rest: inside,
            tokens: Vec::new(),
        };
        match comment {
            Some(body) => action.rest = after_comment(body)?,
            None => action.read()?,
        }
        trim_next = action.close()?;
        rest = action.rest;
        if comment.is_none() {
            pieces.push(Piece::Action(action.tokens));
        }
    }
}

fn blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn push_text(pieces: &mut Vec<Piece>, text: &str, trim_start: bool, trim_end: bool) {
    let text = if trim_start {
        text.trim_start_matches(blank)
    } else {
        text
    };
    let text = if trim_end {
        text.trim_end_matches(blank)
    } else {
        text
    };
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

fn after_comment(body: &str) -> Result<&str, TemplateError> {
    let end = body.find("*/").ok_or(TemplateError::UnclosedComment)?;
    Ok(&body[end + 2..])
}

/// The inside of one action while it is being read.
struct Action<'a> {
    rest: &'a str,
    tokens: Vec<Token>,
}

impl Action<'_> {
    /// Reads tokens up to the closing delimiter, which it leaves.
    fn read(&mut self) -> Result<(), TemplateError> {
        let whole = self.rest;
        loop {
            let trimmed = self.rest.trim_start_matches(blank);
            let glued = trimmed.len() == self.rest.len();
            let ends_trimmed = !glued && trimmed.starts_with("-}}");
            if trimmed.starts_with("}}") || ends_trimmed {
                return Ok(());
            }
            self.rest = trimmed;
            let Some(first) = trimmed.chars().next() else {
                return Err(TemplateError::UnclosedAction(whole.to_owned()));
            };
            let kind = self.token(first)?;
            self.tokens.push(Token { kind, glued });
        }
    }

    /// Consumes the closing delimiter; true when it trims the text that follows.
    fn close(&mut self) -> Result<bool, TemplateError> {
        let trimmed = self.rest.trim_start_matches(blank);
        let (after, trims) = match trimmed.strip_prefix("-}}") {
            Some(after) if trimmed.len() < self.rest.len() => (Some(after), true),
            _ => (trimmed.strip_prefix("}}"), false),
        };
        self.rest = after.ok_or_else(|| TemplateError::UnclosedAction(self.rest.to_owned()))?;
        Ok(trims)
    }

    fn token(&mut self, first: char) -> Result<TokenKind, TemplateError> {
        match first {
            '|' => Ok(self.symbol(1, TokenKind::Pipe)),
            '(' => Ok(self.symbol(1, TokenKind::Open)),
            ')' => Ok(self.symbol(1, TokenKind::Close)),
            ',' => Ok(self.symbol(1, TokenKind::Comma)),
            ':' if self.rest.starts_with(":=") => Ok(self.symbol(2, TokenKind::Declare)),
            '=' => Ok(self.symbol(1, TokenKind::Assign)),
            '"' => self.quoted(),
            '`' => self.raw(),
            '\'' => self.character(),
            '$' => {
                let name = self.word(1);
                Ok(TokenKind::Variable(format!("${name}")))
            }
            '.' => Ok(self.dot_or_field()),
            '0'..='9' | '+' | '-' => self.number(),
            c if c.is_alphabetic() || c == '_' => Ok(self.keyword_or_name()),
            c => Err(TemplateError::UnexpectedCharacter(c)),
        }
    }

    fn symbol(&mut self, length: usize, kind: TokenKind) -> TokenKind {
        self.rest = &self.rest[length..];
        kind
    }

    /// Consumes `skip` bytes and the name after them.
    fn word(&mut self, skip: usize) -> String {
        let rest = &self.rest[skip..];
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        self.rest = &rest[end..];
        rest[..end].to_owned()
    }

    fn keyword_or_name(&mut self) -> TokenKind {
        let word = self.word(0);
        match word.as_str() {
            "true" => TokenKind::Literal(Value::Bool(true)),
            "false" => TokenKind::Literal(Value::Bool(false)),
            "nil" => TokenKind::Literal(Value::Null),
            _ => TokenKind::Word(word),
        }
    }

    fn dot_or_field(&mut self) -> TokenKind {
        let name = self.word(1);
        if name.is_empty() {
            TokenKind::Dot
        } else {
            TokenKind::Field(name)
        }
    }

    fn number(&mut self) -> Result<TokenKind, TemplateError> {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '+' | '-' | '_'))
            .unwrap_or(self.rest.len());
        let text = &self.rest[..end];
        let plain = text.replace('_', "");
        let hex = plain.strip_prefix("0x").map(|h| i64::from_str_radix(h, 16));
        let number = match hex {
            Some(parsed) => parsed.ok().map(Number::from),
            None => match plain.parse::<i64>() {
                Ok(integer) => Some(Number::from(integer)),
                Err(_) => plain.parse::<f64>().ok().and_then(Number::from_f64),
            },
        };
        self.rest = &self.rest[end..];
        number
            .map(|n| TokenKind::Literal(Value::Number(n)))
            .ok_or_else(|| TemplateError::BadNumber(text.to_owned()))
    }

    fn raw(&mut self) -> Result<TokenKind, TemplateError> {
        let body = &self.rest[1..];
        let end = body
            .find('`')
            .ok_or_else(|| TemplateError::UnterminatedString(self.rest.to_owned()))?;
        self.rest = &body[end + 1..];
        Ok(TokenKind::Literal(Value::String(body[..end].to_owned())))
    }

    fn quoted(&mut self) -> Result<TokenKind, TemplateError> {
        Ok(TokenKind::Literal(Value::String(self.until_quote('"')?)))
    }

    /// `'a'` is the number of the character, as in Go.
    fn character(&mut self) -> Result<TokenKind, TemplateError> {
        let whole = self.rest;
        let text = self.until_quote('\'')?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) => Ok(TokenKind::Literal(Value::from(u32::from(c)))),
            _ => Err(TemplateError::UnterminatedString(whole.to_owned())),
        }
    }

    fn until_quote(&mut self, quote: char) -> Result<String, TemplateError> {
        let unterminated = || TemplateError::UnterminatedString(self.rest.to_owned());
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\n' => break,
                '\\' => {
                    let (_, escaped) = chars.next().ok_or_else(unterminated)?;
                    text.push(match escaped {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        '0' => '\0',
                        '\\' | '"' | '\'' => escaped,
                        _ => return Err(unterminated()),
                    });
                }
                c => text.push(c),
            }
        }
        Err(unterminated())
    }
}
