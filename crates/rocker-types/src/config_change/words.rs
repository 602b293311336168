//! Words of an instruction: quotes, backslashes and variables, as a Dockerfile has them.

/// Why words cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidWords {
    #[error("a quote is not closed")]
    OpenQuote,
    #[error("a variable is not $NAME or ${{NAME}}")]
    Variable,
}

/// Splits at blanks outside of quotes and puts variables of `env` in their places.
pub(super) fn split(text: &str, env: &[String]) -> Result<Vec<String>, InvalidWords> {
    let mut reader = Reader::new(text, env);
    let mut words = Vec::new();
    while let Some(word) = reader.word(true)? {
        words.push(word);
    }
    Ok(words)
}

/// The same for text that is one word whatever blanks are in it.
pub(super) fn expand(text: &str, env: &[String]) -> Result<String, InvalidWords> {
    let word = Reader::new(text, env).word(false)?;
    Ok(word.unwrap_or_default())
}

struct Reader<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    env: &'a [String],
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, env: &'a [String]) -> Self {
        Self {
            rest: text.chars().peekable(),
            env,
        }
    }

    fn word(&mut self, ends_at_blank: bool) -> Result<Option<String>, InvalidWords> {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
        if self.rest.peek().is_none() {
            return Ok(None);
        }
        let mut word = String::new();
        let mut quote = None;
        while let Some(c) = self.rest.next() {
            match (c, quote) {
                ('\'' | '"', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                ('\\', None | Some('"')) => self.escaped(quote.is_some(), &mut word),
                ('$', None | Some('"')) => word.push_str(&self.variable()?),
                (c, None) if ends_at_blank && c.is_whitespace() => return Ok(Some(word)),
                (c, _) => word.push(c),
            }
        }
        match quote {
            None => Ok(Some(word)),
            Some(_) => Err(InvalidWords::OpenQuote),
        }
    }

    /// In double quotes a backslash means something before few characters only.
    fn escaped(&mut self, is_quoted: bool, word: &mut String) {
        match self.rest.next() {
            Some(c) if !is_quoted || matches!(c, '"' | '$' | '\\') => word.push(c),
            Some(c) => word.extend(['\\', c]),
            None => word.push('\\'),
        }
    }

    fn variable(&mut self) -> Result<String, InvalidWords> {
        let is_braced = self.rest.next_if_eq(&'{').is_some();
        let mut name = String::new();
        while let Some(c) = self
            .rest
            .next_if(|c| c.is_ascii_alphanumeric() || *c == '_')
        {
            name.push(c);
        }
        let is_closed = !is_braced || self.rest.next_if_eq(&'}').is_some();
        if name.is_empty() || !is_closed {
            return Err(InvalidWords::Variable);
        }
        let value = |text: &String| Some(text.strip_prefix(&name)?.strip_prefix('=')?.to_owned());
        Ok(self.env.iter().find_map(value).unwrap_or_default())
    }
}
