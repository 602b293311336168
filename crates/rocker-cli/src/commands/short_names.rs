//! Names without a registry, where `registries.conf` says what they mean.

use std::io::{IsTerminal as _, stdin, stdout};

use rocker_engine::Meaning;
use rocker_types::ImageRef;

use super::{CommandError, registries_conf};
use crate::report;
use crate::terminal::prompt;

/// The images that `text` may mean, the first choice first. Where only the user can say which,
/// the user is asked.
///
/// # Errors
///
/// A file that cannot be understood, a name that is none, a question that cannot be asked.
pub(super) fn meant(text: &str) -> Result<Vec<ImageRef>, CommandError> {
    let can_ask = stdin().is_terminal() && stdout().is_terminal();
    match meaning(text, can_ask)? {
        Meaning::One(one) => Ok(vec![one]),
        Meaning::FirstOf(all) => Ok(all),
        Meaning::ChoiceOf(all) => Ok(vec![choose(text, &all)?]),
    }
}

/// The images that `text` may mean, for who looks which of them is here; none where the files
/// cannot be understood, which is for who fetches an image to complain about.
pub(super) fn perhaps_meant(text: &str) -> Vec<ImageRef> {
    match meaning(text, true) {
        Ok(Meaning::One(one)) => vec![one],
        Ok(Meaning::FirstOf(all) | Meaning::ChoiceOf(all)) => all,
        Err(error) => {
            tracing::debug!(%error, "a short name means what it means by itself");
            Vec::new()
        }
    }
}

fn meaning(text: &str, can_ask: bool) -> Result<Meaning, CommandError> {
    let meaning = registries_conf::routes()?.meaning(text, can_ask);
    meaning.map_err(|source| CommandError::Route {
        image: text.chars().take(300).collect(),
        source,
    })
}

fn choose(text: &str, all: &[ImageRef]) -> Result<ImageRef, CommandError> {
    report::note(&format!("{text} may be one of several images:"));
    for (number, image) in (1..).zip(all) {
        report::note(&format!("{number:3}  {}", image.canonical()));
    }
    loop {
        let answer = prompt::line("Number of the one you mean: ")?;
        let number: Option<usize> = answer.trim().parse().ok();
        let index = number.and_then(|number| number.checked_sub(1));
        if let Some(chosen) = index.and_then(|index| all.get(index)) {
            return Ok(chosen.clone());
        }
    }
}
