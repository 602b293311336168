//! What is said about a command line that makes no sense.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// A command line that cannot be understood: one sentence, and what to type instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsageError {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) fault: Fault,
}

/// What is wrong with the words; the exit code depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An unknown flag, or a value that a flag cannot take.
    Flag,
    /// An unknown command, or words missing or left over.
    Words,
}

impl UsageError {
    /// Words the findings of the parser. `help` is the command line that shows the help.
    pub(crate) fn from_clap(error: &clap::Error, help: &str) -> Self {
        let about = About(error);
        let (message, hint, fault) = about.sentence();
        let hint = hint.or_else(|| Some(format!("see `{help}`")));
        Self {
            message,
            hint,
            fault,
        }
    }
}

/// The parser's error with its circumstances.
struct About<'a>(&'a clap::Error);

impl About<'_> {
    /// What is wrong, a hint if there is a special one, and whose fault it is.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the parser's list of errors grows; what is new is about a value"
    )]
    fn sentence(&self) -> (String, Option<String>, Fault) {
        let words = |message: String| (message, None, Fault::Words);
        match self.0.kind() {
            ErrorKind::UnknownArgument => self.unknown_argument(),
            ErrorKind::InvalidSubcommand => (
                format!(
                    "unknown command {:?}",
                    self.text(ContextKind::InvalidSubcommand)
                ),
                self.suggestion(ContextKind::SuggestedSubcommand),
                Fault::Words,
            ),
            ErrorKind::MissingRequiredArgument => {
                let missing = self.text(ContextKind::InvalidArg);
                words(format!("missing {}", bare(&missing)))
            }
            ErrorKind::TooFewValues => {
                let all = self.text(ContextKind::InvalidArg);
                let last = all.rsplit(' ').next().unwrap_or_default();
                words(format!("missing {}", bare(last)))
            }
            ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                words("missing command".to_owned())
            }
            ErrorKind::ArgumentConflict => {
                let other = without_value(&self.text(ContextKind::PriorArg));
                let message = format!("{} cannot be used with {other}", self.flag());
                (message, None, Fault::Flag)
            }
            ErrorKind::InvalidUtf8 => {
                let message = "an argument is not UTF-8 text".to_owned();
                (message, None, Fault::Flag)
            }
            _ => self.bad_value(),
        }
    }

    fn text(&self, kind: ContextKind) -> String {
        match self.0.get(kind) {
            Some(ContextValue::String(text)) => text.clone(),
            Some(ContextValue::Strings(texts)) => texts.join(" "),
            Some(ContextValue::StyledStr(text)) => text.to_string(),
            Some(_) | None => String::new(),
        }
    }

    /// The flag's name as one types it: `--memory`, without `<BYTES>`.
    fn flag(&self) -> String {
        without_value(&self.text(ContextKind::InvalidArg))
    }

    fn suggestion(&self, kind: ContextKind) -> Option<String> {
        self.0.get(kind)?;
        let nearest = self.text(kind);
        // The likeliest is the last.
        let nearest = nearest.rsplit(' ').next()?;
        Some(format!("did you mean `{nearest}`?"))
    }

    fn unknown_argument(&self) -> (String, Option<String>, Fault) {
        let argument = self.text(ContextKind::InvalidArg);
        if argument.starts_with('-') {
            let hint = self.suggestion(ContextKind::SuggestedArg);
            return (format!("unknown flag {argument}"), hint, Fault::Flag);
        }
        let message = format!("one argument too many: {argument:?}");
        (message, None, Fault::Words)
    }

    fn bad_value(&self) -> (String, Option<String>, Fault) {
        let (flag, value) = (self.flag(), self.text(ContextKind::InvalidValue));
        let fault = match flag.starts_with('-') {
            true => Fault::Flag,
            false => Fault::Words,
        };
        if let Some(why) = std::error::Error::source(self.0) {
            let why = why.to_string();
            // Most errors quote the value themselves.
            let message = match why.contains(&format!("{value:?}")) {
                true => format!("{flag}: {why}"),
                false => format!("{flag} {value:?}: {why}"),
            };
            return (message, None, fault);
        }
        if value.is_empty() {
            return (format!("{flag} needs a value"), None, fault);
        }
        let valid = self.text(ContextKind::ValidValue).replace(' ', ", ");
        let message = match valid.is_empty() {
            true => format!("{flag}: invalid value {value:?}"),
            false => format!("{flag}: invalid value {value:?}: want one of {valid}"),
        };
        (message, None, fault)
    }
}

/// `IMAGE` of `<IMAGE [COMMAND] [ARG]>...`.
fn bare(argument: &str) -> &str {
    let inside = argument.trim_start_matches('<');
    let end = inside.find([' ', '>']).unwrap_or(inside.len());
    &inside[..end]
}

fn without_value(argument: &str) -> String {
    let end = argument.find([' ', '=', '[']).unwrap_or(argument.len());
    match argument.starts_with('-') {
        true => argument[..end].to_owned(),
        false => bare(argument).to_owned(),
    }
}
