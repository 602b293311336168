//! What a name without a registry means: Docker Hub, unless `registries.conf` says otherwise.
//!
//! Source: containers-registries.conf(5), "SHORT-NAME ALIASING".

use std::collections::BTreeMap;

use rocker_types::ImageRef;
use serde::Deserialize;

use super::RouteError;
use super::routes::check_place;

/// What files say about short names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct ShortNames {
    unqualified_search_registries: Option<Vec<String>>,
    short_name_mode: Option<Mode>,
    aliases: BTreeMap<String, String>,
}

/// Who decides where a name may mean several images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// The user and nobody else.
    Enforcing,
    /// The user; where nobody can be asked, the first registry that has it.
    #[default]
    #[serde(alias = "")]
    Permissive,
    /// The first registry that has it.
    Disabled,
}

/// Which images a name may mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// This one.
    One(ImageRef),
    /// The first of these that there is.
    FirstOf(Vec<ImageRef>),
    /// The one of these that the user chooses.
    ChoiceOf(Vec<ImageRef>),
}

impl ShortNames {
    /// Adds what a later file says.
    pub(super) fn add(&mut self, later: Self) -> Result<(), RouteError> {
        for registry in later.unqualified_search_registries.iter().flatten() {
            check_place(registry)?;
        }
        let targets = later.aliases.values().filter(|target| !target.is_empty());
        for target in targets {
            check_place(target)?;
        }
        if later.unqualified_search_registries.is_some() {
            self.unqualified_search_registries = later.unqualified_search_registries;
        }
        self.short_name_mode = later.short_name_mode.or(self.short_name_mode);
        // an empty one takes back what an earlier file said
        self.aliases.extend(later.aliases);
        self.aliases.retain(|_, target| !target.is_empty());
        Ok(())
    }

    /// What `text` means; `can_ask` says whether there is a user who could choose.
    pub(super) fn meaning(&self, text: &str, can_ask: bool) -> Result<Meaning, RouteError> {
        let as_usual: ImageRef = text.parse().map_err(RouteError::Name)?;
        if ImageRef::names_registry(text) {
            return Ok(Meaning::One(as_usual));
        }
        let end = text.find([':', '@']).unwrap_or(text.len());
        let (name, suffix) = text.split_at(end);
        let parse = |text: String| text.parse::<ImageRef>().map_err(RouteError::Name);
        if let Some(target) = self.aliases.get(name) {
            return Ok(Meaning::One(parse(format!("{target}{suffix}"))?));
        }
        let Some(registries) = &self.unqualified_search_registries else {
            return Ok(Meaning::One(as_usual));
        };
        let found = registries
            .iter()
            .map(|registry| parse(format!("{registry}/{text}")));
        let mut found: Vec<_> = found.collect::<Result<_, _>>()?;
        let name = name.to_owned();
        if found.len() < 2 {
            let only = found.pop().ok_or(RouteError::NoSearch { name })?;
            return Ok(Meaning::One(only));
        }
        match (self.short_name_mode.unwrap_or_default(), can_ask) {
            (Mode::Enforcing | Mode::Permissive, true) => Ok(Meaning::ChoiceOf(found)),
            (Mode::Permissive, false) | (Mode::Disabled, _) => Ok(Meaning::FirstOf(found)),
            (Mode::Enforcing, false) => Err(RouteError::Ambiguous {
                name,
                candidates: found.iter().map(ImageRef::canonical).collect(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Routes;
    use super::*;

    fn meaning(files: &[&str], text: &str, can_ask: bool) -> String {
        let mut routes = Routes::default();
        for file in files {
            if let Err(error) = routes.add(file) {
                return format!("bad file: {error}");
            }
        }
        let names = |names: Vec<ImageRef>| {
            let names: Vec<_> = names.iter().map(ImageRef::canonical).collect();
            names.join(" ")
        };
        match routes.meaning(text, can_ask) {
            Ok(Meaning::One(one)) => one.canonical(),
            Ok(Meaning::FirstOf(all)) => format!("first of {}", names(all)),
            Ok(Meaning::ChoiceOf(all)) => format!("choice of {}", names(all)),
            Err(error) => format!("error: {error}"),
        }
    }

    const TWO: &str = "unqualified-search-registries = ['quay.io', 'docker.io']";

    #[test]
    fn a_name_with_a_registry_or_without_any_file_means_what_it_always_does() {
        let digest = format!("x@sha256:{}", "0".repeat(64));
        for (text, means) in [
            ("alpine", "docker.io/library/alpine:latest".to_owned()),
            ("user/app:1", "docker.io/user/app:1".to_owned()),
            (&digest, format!("docker.io/library/{digest}")),
        ] {
            assert_eq!(meaning(&[], text, true), means);
        }
        for text in ["docker.io/alpine", "localhost/x", "a:5000/b", "[::1]/x"] {
            let as_usual: ImageRef = text.parse().unwrap();
            assert_eq!(meaning(&[TWO], text, true), as_usual.canonical(), "{text}");
        }
    }

    #[test]
    fn aliases_come_first_and_a_later_file_takes_them_back() {
        let first =
            "[aliases]\nfedora = 'registry.fedoraproject.org/fedora'\n'a/b' = 'quay.io/c/d'";
        let later = "[aliases]\nfedora = ''\n'a/b' = 'ghcr.io/e'";
        for (files, text, means) in [
            (
                &[first][..],
                "fedora",
                "registry.fedoraproject.org/fedora:latest",
            ),
            (
                &[first],
                "fedora:40",
                "registry.fedoraproject.org/fedora:40",
            ),
            (&[first], "a/b", "quay.io/c/d:latest"),
            (
                &[TWO, first],
                "fedora",
                "registry.fedoraproject.org/fedora:latest",
            ),
            (&[first, later], "fedora", "docker.io/library/fedora:latest"),
            (&[first, later], "a/b:1", "ghcr.io/e:1"),
        ] {
            assert_eq!(meaning(files, text, false), means, "{files:?}");
        }
    }

    #[test]
    fn who_decides_is_said_by_the_mode() {
        let all = "quay.io/app:1 docker.io/library/app:1";
        let mode = |mode: &str| format!("short-name-mode = '{mode}'");
        for (mode_file, can_ask, means) in [
            (String::new(), true, format!("choice of {all}")),
            (String::new(), false, format!("first of {all}")),
            (mode(""), false, format!("first of {all}")),
            (mode("permissive"), true, format!("choice of {all}")),
            (mode("disabled"), true, format!("first of {all}")),
            (mode("enforcing"), true, format!("choice of {all}")),
            (
                mode("enforcing"),
                false,
                "error: \"app\" may be quay.io/app:1 or docker.io/library/app:1, and nobody can be asked which".to_owned(),
            ),
        ] {
            assert_eq!(meaning(&[TWO, &mode_file], "app:1", can_ask), means);
        }
        let one = "unqualified-search-registries = ['quay.io']\nshort-name-mode = 'enforcing'";
        assert_eq!(meaning(&[TWO, one], "app", false), "quay.io/app:latest");
        let none = "unqualified-search-registries = []";
        assert!(meaning(&[TWO, none], "app", false).contains("no registry"));
    }

    #[test]
    fn files_with_nonsense_are_refused() {
        for file in [
            "unqualified-search-registries = 'docker.io'",
            "unqualified-search-registries = ['https://docker.io']",
            "unqualified-search-registries = ['']",
            "short-name-mode = 'maybe'",
            "[aliases]\nx = 1",
            "[aliases]\nx = 'docker.io/x:tag'",
        ] {
            let outcome = meaning(&[file], "app", false);
            assert!(outcome.starts_with("bad file"), "{file}: {outcome}");
        }
    }
}
