//! `--filter` of the commands that choose images.

use glob::{MatchOptions, Pattern};
use jiff::Timestamp;
use rocker_engine::{Engine, EngineError, ImageSummary};
use rocker_types::ImageRef;

use crate::cli::values;

/// One `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ImageFilter {
    Dangling(bool),
    /// Attached or not, with any value or this one.
    Label {
        wanted: bool,
        key: String,
        value: Option<String>,
    },
    /// Made before, or after, this image was.
    Before(String),
    Since(String),
    Until(Timestamp),
    Reference(Pattern),
    Id(String),
    Digest(String),
    Containers(bool),
}

const KEYS: &str =
    "before, containers, dangling, digest, id, label, label!, reference, since and until";
const KEYS_OF_PRUNE: &str = "label, label! and until";

/// A star stands for anything but a slash.
const PATH_RULES: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

impl ImageFilter {
    /// What `images` takes.
    pub(crate) fn of_images(text: &str) -> Result<Self, String> {
        Self::parse(text)?.ok_or_else(|| unknown(text, KEYS))
    }

    /// What `image prune` takes.
    pub(crate) fn of_prune(text: &str) -> Result<Self, String> {
        Self::parse(text)?
            .filter(|filter| matches!(filter, Self::Label { .. } | Self::Until(_)))
            .ok_or_else(|| unknown(text, KEYS_OF_PRUNE))
    }

    fn parse(text: &str) -> Result<Option<Self>, String> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(format!("{text:?} is not KEY=VALUE"));
        };
        // `label!=key` reads like a comparison, and so docker reads it
        let (key, wanted) = match key.strip_suffix('!') {
            Some("label") => ("label", false),
            _ => (key, true),
        };
        Ok(Some(match key {
            "dangling" => Self::Dangling(values::truth(value)?),
            "containers" => Self::Containers(values::truth(value)?),
            "label" => {
                let (key, value) = match value.split_once('=') {
                    Some((key, value)) => (key, Some(value.to_owned())),
                    None => (value, None),
                };
                let key = key.to_owned();
                Self::Label { wanted, key, value }
            }
            "before" => Self::Before(value.to_owned()),
            "since" | "after" => Self::Since(value.to_owned()),
            "until" => Self::Until(values::moment(value)?),
            "reference" => Self::Reference(pattern(value)?),
            "id" => Self::Id(value.strip_prefix("sha256:").unwrap_or(value).to_owned()),
            "digest" => Self::Digest(value.to_owned()),
            _ => return Ok(None),
        }))
    }
}

fn unknown(text: &str, keys: &str) -> String {
    let key = text.split('=').next().unwrap_or_default();
    format!("there is no filter {key:?}: those are {keys}")
}

/// A name with `*`, `?` or `[…]` in it; one with the IPv6 address of a registry is as it is.
pub(crate) fn pattern(text: &str) -> Result<Pattern, String> {
    let glob = match text.parse::<ImageRef>() {
        Ok(_) => Pattern::escape(text),
        Err(_) => text.to_owned(),
    };
    Pattern::new(&glob).map_err(|error| format!("{text:?} is no pattern: {}", error.msg))
}

/// Whether the name fits, with its tag or without, as docker prints it or in full.
pub(crate) fn names(pattern: &Pattern, name: &ImageRef) -> bool {
    let full = name.canonical();
    let full_repository = full.strip_suffix(&format!(":{}", name.tag().unwrap_or_default()));
    [
        Some(name.familiar().as_str()),
        Some(name.familiar_repository().as_str()),
        Some(full.as_str()),
        full_repository,
    ]
    .into_iter()
    .flatten()
    .any(|text| pattern.matches_with(text, PATH_RULES))
}

/// All filters of a command, with the images that they mention looked up.
#[derive(Debug)]
pub(crate) struct ImageFilters<'a> {
    filters: &'a [ImageFilter],
    made_before: Vec<Timestamp>,
    made_after: Vec<Timestamp>,
}

impl<'a> ImageFilters<'a> {
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`] of `before` and `since`.
    pub(crate) fn new(
        engine: &mut Engine,
        filters: &'a [ImageFilter],
    ) -> Result<Self, EngineError> {
        let mut all = Self {
            filters,
            made_before: Vec::new(),
            made_after: Vec::new(),
        };
        for filter in filters {
            if let ImageFilter::Before(image) = filter {
                all.made_before.push(made(&engine.find_image(image)?));
            } else if let ImageFilter::Since(image) = filter {
                all.made_after.push(made(&engine.find_image(image)?));
            }
        }
        Ok(all)
    }

    /// Whether an image is one of those asked for. Of several references, ids or digests one has
    /// to fit, of everything else all.
    pub(crate) fn fit(&self, image: &ImageSummary) -> bool {
        let made = made(image);
        self.made_before.iter().all(|then| made < *then)
            && self.made_after.iter().all(|then| made > *then)
            && self
                .filters
                .iter()
                .all(|filter| is_true(filter, image, made))
            && self.any(|filter| {
                let ImageFilter::Id(prefix) = filter else {
                    return None;
                };
                Some(image.id.hex().starts_with(prefix))
            })
            && self.any(|filter| {
                let ImageFilter::Digest(digest) = filter else {
                    return None;
                };
                let ends = |full: &String| full.split_once('@').is_some_and(|(_, d)| d == digest);
                Some(image.repo_digests.iter().any(ends))
            })
            && (self.shows_all() || image.tags.iter().any(|name| self.show(name)))
    }

    /// Whether a name of an image that fits is to be shown.
    pub(crate) fn show(&self, name: &ImageRef) -> bool {
        self.any(|filter| {
            let ImageFilter::Reference(pattern) = filter else {
                return None;
            };
            Some(names(pattern, name))
        })
    }

    fn shows_all(&self) -> bool {
        let is_reference = |filter: &ImageFilter| matches!(filter, ImageFilter::Reference(_));
        !self.filters.iter().any(is_reference)
    }

    /// One of the filters that have an answer says yes, or none has an answer.
    fn any(&self, answer: impl Fn(&ImageFilter) -> Option<bool>) -> bool {
        let mut answers = self.filters.iter().filter_map(answer).peekable();
        answers.peek().is_none() || answers.any(|yes| yes)
    }
}

/// The filters of which every one has to be true.
fn is_true(filter: &ImageFilter, image: &ImageSummary, made: Timestamp) -> bool {
    match filter {
        ImageFilter::Dangling(wanted) => image.tags.is_empty() == *wanted,
        ImageFilter::Containers(wanted) => image.containers.is_empty() != *wanted,
        ImageFilter::Until(then) => made < *then,
        ImageFilter::Label { wanted, key, value } => {
            let label = image.config.config.labels.get(key);
            let fits = label.is_some_and(|label| value.as_ref().is_none_or(|value| value == label));
            fits == *wanted
        }
        ImageFilter::Before(_)
        | ImageFilter::Since(_)
        | ImageFilter::Reference(_)
        | ImageFilter::Id(_)
        | ImageFilter::Digest(_) => true,
    }
}

/// When an image was made; what does not say is as old as can be.
fn made(image: &ImageSummary) -> Timestamp {
    created(image).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// When an image was made, as far as it says.
pub(crate) fn created(image: &ImageSummary) -> Option<Timestamp> {
    image.config.created.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use rocker_types::{Digest, ImageConfig};

    use super::*;

    fn image(number: u8, tags: &[&str], created: &str, labels: &[(&str, &str)]) -> ImageSummary {
        let mut config = ImageConfig {
            created: Some(created.to_owned()),
            ..ImageConfig::default()
        };
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        config.config.labels = labels.iter().map(owned).collect();
        ImageSummary {
            id: Digest::from_sha256([number; 32]),
            tags: tags
                .iter()
                .map(|tag| tag.parse().expect("a name"))
                .collect(),
            repo_digests: vec![format!("app@{}", Digest::from_sha256([0xd0 | number; 32]))],
            size_bytes: 1,
            pulled_ns: 0,
            containers: if number == 3 {
                vec!["web".to_owned()]
            } else {
                vec![]
            },
            config,
        }
    }

    fn images() -> [ImageSummary; 3] {
        [
            image(
                1,
                &["alpine:3.18", "alpine:old"],
                "2023-01-01T00:00:00Z",
                &[("tier", "base")],
            ),
            image(2, &[], "2024-01-01T00:00:00Z", &[]),
            image(
                3,
                &["localhost:5000/team/app:1"],
                "2025-01-01T00:00:00.5Z",
                &[("tier", "app"), ("x", "")],
            ),
        ]
    }

    fn fitting(filters: &[&str]) -> Vec<u8> {
        let filters: Vec<_> = filters
            .iter()
            .map(|text| ImageFilter::of_images(text).expect("a filter"))
            .collect();
        let all = ImageFilters {
            filters: &filters,
            made_before: vec![],
            made_after: vec![],
        };
        (1..)
            .zip(images())
            .filter(|(_, image)| all.fit(image))
            .map(|(number, _)| number)
            .collect()
    }

    #[test]
    fn filters_choose_as_in_docker() {
        let cases: &[(&[&str], &[u8])] = &[
            (&[], &[1, 2, 3]),
            (&["dangling=true"], &[2]),
            (&["dangling=false"], &[1, 3]),
            (&["label=tier"], &[1, 3]),
            (&["label=tier=app"], &[3]),
            (&["label=tier", "label=x"], &[3]),
            (&["label!=tier=app"], &[1, 2]),
            (&["until=2024-06-01"], &[1, 2]),
            (&["reference=alpine"], &[1]),
            (&["reference=alp*"], &[1]),
            (&["reference=alpine:3.*"], &[1]),
            (&["reference=*"], &[1]),
            (&["reference=*/*/app:?"], &[3]),
            (&["reference=docker.io/library/alpine:old"], &[1]),
            (&["reference=alpine", "reference=*/*/app"], &[1, 3]),
            (&["reference=Alpine"], &[]),
            (&["id=0303"], &[3]),
            (&["id=sha256:0101"], &[1]),
            (&["containers=true"], &[3]),
            (&["containers=false", "dangling=false"], &[1]),
        ];
        for (filters, expected) in cases {
            assert_eq!(fitting(filters), *expected, "{filters:?}");
        }
        let digest = format!("digest={}", Digest::from_sha256([0xd2; 32]));
        assert_eq!(fitting(&[&digest]), [2]);
    }

    #[test]
    fn only_the_names_asked_for_are_shown() {
        let filters = [ImageFilter::of_images("reference=*:old").expect("a filter")];
        let all = ImageFilters {
            filters: &filters,
            made_before: vec![],
            made_after: vec![],
        };
        let [alpine, ..] = images();
        let shown: Vec<_> = alpine.tags.iter().filter(|tag| all.show(tag)).collect();
        assert_eq!(shown, [&alpine.tags[1]]);
    }

    #[test]
    fn what_is_no_filter_is_refused_with_those_that_are() {
        for bad in [
            "dangling",
            "dangling=maybe",
            "colour=red",
            "until=yesterday",
            "reference=[a",
        ] {
            assert!(ImageFilter::of_images(bad).is_err(), "{bad}");
        }
        let refused = ImageFilter::of_prune("reference=a").expect_err("not of prune");
        assert!(refused.contains("label! and until"), "{refused}");
        assert!(ImageFilter::of_prune("label!=keep").is_ok());
    }
}
