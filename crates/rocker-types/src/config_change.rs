//! Changes of an image's config, written as instructions of a Dockerfile.
//!
//! Source: the Dockerfile reference, <https://docs.docker.com/reference/dockerfile/>, for the
//! instructions that `docker import --change` takes.

use std::str::FromStr;

use crate::{ProcessConfig, Signal};

mod health;
mod words;

/// One instruction, such as `ENV A=1` or `CMD ["sh"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    instruction: Instruction,
    arguments: String,
}

/// Why text is no instruction that can change a config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid change {text:?}: {reason}")]
pub struct InvalidChange {
    text: String,
    reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instruction {
    Cmd,
    Entrypoint,
    Env,
    Expose,
    HealthCheck,
    Label,
    OnBuild,
    StopSignal,
    User,
    Volume,
    WorkDir,
}

const INSTRUCTIONS: [(&str, Instruction); 11] = [
    ("CMD", Instruction::Cmd),
    ("ENTRYPOINT", Instruction::Entrypoint),
    ("ENV", Instruction::Env),
    ("EXPOSE", Instruction::Expose),
    ("HEALTHCHECK", Instruction::HealthCheck),
    ("LABEL", Instruction::Label),
    ("ONBUILD", Instruction::OnBuild),
    ("STOPSIGNAL", Instruction::StopSignal),
    ("USER", Instruction::User),
    ("VOLUME", Instruction::Volume),
    ("WORKDIR", Instruction::WorkDir),
];

impl FromStr for ConfigChange {
    type Err = InvalidChange;

    /// Reads an instruction in any case, and tries it out.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let (word, arguments) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let known = INSTRUCTIONS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word));
        let Some((_, instruction)) = known else {
            let names = INSTRUCTIONS.map(|(name, _)| name).join(", ");
            return Err(InvalidChange {
                text: text.to_owned(),
                reason: format!("it must begin with one of {names}"),
            });
        };
        let change = Self {
            instruction: *instruction,
            arguments: arguments.trim().to_owned(),
        };
        change.apply(&mut ProcessConfig::default())?;
        Ok(change)
    }
}

impl ConfigChange {
    /// Makes all `changes` in their order. An `ENTRYPOINT` takes the `CMD` away that was made
    /// for another one, unless one of the changes says what it is.
    ///
    /// # Errors
    ///
    /// [`InvalidChange`], only for a variable that has no name.
    pub fn apply_all(changes: &[Self], config: &mut ProcessConfig) -> Result<(), InvalidChange> {
        let has = |instruction| changes.iter().any(|c| c.instruction == instruction);
        if has(Instruction::Entrypoint) && !has(Instruction::Cmd) {
            config.cmd = None;
        }
        changes.iter().try_for_each(|change| change.apply(config))
    }

    fn apply(&self, config: &mut ProcessConfig) -> Result<(), InvalidChange> {
        if self.arguments.is_empty() {
            return Err(self.invalid("it needs an argument"));
        }
        match self.instruction {
            Instruction::Cmd => config.cmd = Some(self.command()),
            Instruction::Entrypoint => config.entrypoint = Some(self.command()),
            Instruction::Env => self.set_variables(config)?,
            Instruction::Expose => self.expose(config)?,
            Instruction::HealthCheck => {
                let health = health::parse(&self.arguments);
                config.healthcheck = Some(health.map_err(|error| self.invalid(error))?);
            }
            Instruction::Label => {
                let pairs = self.pairs(config)?;
                config.labels.extend(pairs);
            }
            Instruction::OnBuild => {
                let later = config.on_build.get_or_insert_default();
                later.push(self.arguments.clone());
            }
            Instruction::StopSignal => {
                let signal = self.only_word(config)?;
                let parsed = signal.parse::<Signal>();
                parsed.map_err(|error| self.invalid(error))?;
                config.stop_signal = Some(signal);
            }
            Instruction::User => config.user = self.only_word(config)?,
            Instruction::Volume => self.add_volumes(config)?,
            Instruction::WorkDir => self.enter(config)?,
        }
        Ok(())
    }

    /// A JSON array of words, or a line for the shell.
    fn command(&self) -> Vec<String> {
        self.json().unwrap_or_else(|| {
            let shell = ["/bin/sh", "-c", &self.arguments];
            shell.map(str::to_owned).to_vec()
        })
    }

    fn json(&self) -> Option<Vec<String>> {
        serde_json::from_str(&self.arguments).ok()
    }

    fn set_variables(&self, config: &mut ProcessConfig) -> Result<(), InvalidChange> {
        for (name, value) in self.pairs(config)? {
            let is_same = |old: &String| old.split('=').next() == Some(name.as_str());
            let text = format!("{name}={value}");
            match config.env.iter_mut().find(|old| is_same(old)) {
                Some(old) => *old = text,
                None => config.env.push(text),
            }
        }
        Ok(())
    }

    fn expose(&self, config: &mut ProcessConfig) -> Result<(), InvalidChange> {
        for word in self.words(config)? {
            let (range, protocol) = word.split_once('/').unwrap_or((&word, "tcp"));
            let protocol = protocol.to_ascii_lowercase();
            if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
                return Err(self.invalid(format!("{protocol:?} is no protocol")));
            }
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
            match (port(first), port(last)) {
                (Some(first), Some(last)) if first <= last => {
                    let keys = (first..=last).map(|port| format!("{port}/{protocol}"));
                    config
                        .exposed_ports
                        .extend(keys.map(|key| (key, serde_json::Map::new())));
                }
                _ => return Err(self.invalid(format!("{range:?} is no port"))),
            }
        }
        Ok(())
    }

    fn add_volumes(&self, config: &mut ProcessConfig) -> Result<(), InvalidChange> {
        let paths = match self.json() {
            Some(paths) => paths,
            None => self.words(config)?,
        };
        if paths.is_empty() || paths.iter().any(|path| path.trim().is_empty()) {
            return Err(self.invalid("it needs paths"));
        }
        let volumes = paths.into_iter().map(|path| (path, serde_json::Map::new()));
        config.volumes.extend(volumes);
        Ok(())
    }

    /// A relative path is below the directory there was.
    fn enter(&self, config: &mut ProcessConfig) -> Result<(), InvalidChange> {
        let path = self.expanded(config)?;
        let mut components: Vec<&str> = match path.starts_with('/') {
            true => Vec::new(),
            false => config.working_dir.split('/').collect(),
        };
        for component in path.split('/') {
            match component {
                "" | "." => {}
                ".." => drop(components.pop()),
                _ => components.push(component),
            }
        }
        components.retain(|component| !component.is_empty());
        config.working_dir = format!("/{}", components.join("/"));
        Ok(())
    }

    /// `NAME=VALUE` words, or the old form of one name and the rest as its value.
    fn pairs(&self, config: &ProcessConfig) -> Result<Vec<(String, String)>, InvalidChange> {
        let first = self.arguments.split_whitespace().next().unwrap_or_default();
        if !first.contains('=') {
            let rest = self.arguments[first.len()..].trim_start();
            if rest.is_empty() {
                return Err(self.invalid("a name has no value"));
            }
            let value = words::expand(rest, &config.env).map_err(|e| self.invalid(e))?;
            return Ok(vec![(first.to_owned(), value)]);
        }
        let words = self.words(config)?.into_iter();
        let pair = |word: String| match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(self.invalid(format!("{word:?} is no NAME=VALUE"))),
        };
        words.map(pair).collect()
    }

    fn words(&self, config: &ProcessConfig) -> Result<Vec<String>, InvalidChange> {
        words::split(&self.arguments, &config.env).map_err(|error| self.invalid(error))
    }

    fn only_word(&self, config: &ProcessConfig) -> Result<String, InvalidChange> {
        let mut words = self.words(config)?;
        match (words.pop(), words.is_empty()) {
            (Some(word), true) if !word.is_empty() => Ok(word),
            _ => Err(self.invalid("it takes one argument")),
        }
    }

    fn expanded(&self, config: &ProcessConfig) -> Result<String, InvalidChange> {
        words::expand(&self.arguments, &config.env).map_err(|error| self.invalid(error))
    }

    fn invalid(&self, reason: impl ToString) -> InvalidChange {
        let name = INSTRUCTIONS
            .iter()
            .find(|(_, instruction)| *instruction == self.instruction)
            .map_or("", |(name, _)| name);
        InvalidChange {
            text: format!("{name} {}", self.arguments).trim_end().to_owned(),
            reason: reason.to_string(),
        }
    }
}

#[cfg(test)]
mod tests;
