//! `rocker search`: what a registry has by some name, and which tags one repository has.

use rocker_engine::{Endpoint, SearchResult, list_tags};
use rocker_types::ImageRef;
use serde_json::{Value, json};

use super::fetch::first_of;
use super::registry::RegistryArgs;
use super::remote::patiently;
use super::{CommandError, Context, Outcome, print, short_names};
use crate::exit_code::Status;
use crate::ui::{Column, ListFormat, Listing, shortened};

/// Search a registry for images, or list the tags of a repository
///
/// Docker Hub is searched; HOST/TERM asks that registry, by name and description where it has a
/// search, else by the names in its catalogue.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker search --filter is-official=true nginx\n  rocker search --limit 100 --no-trunc postgres\n  rocker search registry.example.org:5000/team\n  rocker search --list-tags quay.io/podman/hello"
)]
pub(crate) struct SearchArgs {
    /// List the tags of one repository
    #[arg(long, conflicts_with_all = ["filter", "no_trunc"])]
    list_tags: bool,

    /// How many to list
    #[arg(long, value_name = "NUMBER", default_value_t = 25)]
    limit: usize,

    /// Of what was found, only that for which this is true: stars=NUMBER for as many at least, or
    /// is-official=BOOL; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = Filter::parse)]
    filter: Vec<Filter>,

    /// Show descriptions as long as they are
    #[arg(long)]
    no_trunc: bool,

    /// How to print: table, wide, json, json-array, csv, names, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// What to search for; with --list-tags a repository
    #[arg(value_name = "TERM")]
    term: String,

    #[command(flatten)]
    registry: RegistryArgs,
}

/// One `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Filter {
    Stars(u64),
    Official(bool),
}

impl Filter {
    fn parse(text: &str) -> Result<Self, String> {
        let filter = match text.split_once('=') {
            Some(("stars", number)) => number.parse().ok().map(Self::Stars),
            Some(("is-official", value)) => {
                crate::cli::values::truth(value).ok().map(Self::Official)
            }
            _ => None,
        };
        filter.ok_or_else(|| format!("{text:?} is neither stars=NUMBER nor is-official=BOOL"))
    }

    fn fits(&self, result: &SearchResult) -> bool {
        match self {
            Self::Stars(least) => result.stars >= *least,
            Self::Official(wanted) => result.official == *wanted,
        }
    }
}

const COLUMNS: &[Column] = &[
    Column::new("Name", "NAME"),
    Column::new("Description", "DESCRIPTION"),
    Column::new("StarCount", "STARS"),
    Column::new("IsOfficial", "OFFICIAL"),
];
/// podman's fields.
const HIDDEN: &[Column] = &[
    Column::new("Index", "INDEX"),
    Column::new("Stars", "STARS"),
    Column::new("Official", "OFFICIAL"),
];
const TAG_COLUMNS: &[Column] = &[Column::new("Name", "NAME"), Column::new("Tag", "TAG")];

/// Of a description that is cut; docker's.
const DESCRIPTION_WIDTH: usize = 45;

pub(crate) fn search(_: &mut Context, args: SearchArgs) -> Outcome {
    let listing = match args.list_tags {
        true => tags(&args)?,
        false => found(&args)?,
    };
    let format = ListFormat::new(false, args.format.as_deref());
    print(&listing.render(format)?)?;
    Ok(Status::Success)
}

fn found(args: &SearchArgs) -> Result<Listing<'static>, CommandError> {
    let (registry, term) = asked(&args.term);
    let is_hub = registry == HUB;
    if term.is_empty() && (is_hub || !args.term.ends_with('/')) {
        return Err(CommandError::conflict(
            "there is nothing to search for",
            "name a part of an image's name, or HOST/ for all that a registry has",
        ));
    }
    // no image is meant, but a name tells where the registry is and who we are there
    let anything: ImageRef = format!("{registry}/search/search").parse()?;
    let place: Endpoint = args.registry.own_place(&anything)?;
    let results =
        patiently(|cancelled| rocker_engine::search(&place, term, args.limit, cancelled))?;
    let wanted = results
        .iter()
        .filter(|result| args.filter.iter().all(|filter| filter.fits(result)));
    Ok(Listing {
        shown: COLUMNS,
        hidden: HIDDEN,
        rows: wanted
            .map(|result| row(registry, result, args.no_trunc))
            .collect(),
        key: "Name",
        name: "Name",
        headings: true,
    })
}

const HUB: &str = "docker.io";

/// The registry that a term names, and the rest.
fn asked(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((host, term)) if host.contains(['.', ':']) || host == "localhost" => (host, term),
        _ => (HUB, text),
    }
}

fn row(registry: &str, result: &SearchResult, no_trunc: bool) -> Value {
    // a name that pull understands
    let name = match registry {
        HUB => result.name.clone(),
        registry => format!("{registry}/{}", result.name),
    };
    let description = match no_trunc {
        true => result.description.clone(),
        false => shortened(&result.description, DESCRIPTION_WIDTH),
    };
    let official = if result.official { "[OK]" } else { "" };
    json!({
        "Name": name,
        "Description": description,
        "StarCount": result.stars,
        "IsOfficial": official,
        "Index": registry,
        "Stars": result.stars,
        "Official": official,
    })
}

fn tags(args: &SearchArgs) -> Result<Listing<'static>, CommandError> {
    if !ImageRef::is_bare(&args.term) {
        return Err(CommandError::conflict(
            format!("{:?} is one image of a repository", args.term),
            "leave the tag out",
        ));
    }
    let meant = short_names::meant(&args.term)?;
    let (repository, tags) = first_of(meant, &args.registry, |repository| {
        let places = args.registry.places(&repository)?;
        let tags = patiently(|cancelled| list_tags(&repository, &places, args.limit, cancelled))?;
        Ok((repository, tags))
    })?;
    let name = repository.canonical();
    let name = name
        .rsplit_once(':')
        .map_or(name.as_str(), |(name, _)| name);
    let rows = tags.iter().map(|tag| json!({"Name": name, "Tag": tag}));
    Ok(Listing {
        shown: TAG_COLUMNS,
        hidden: &[],
        rows: rows.collect(),
        key: "Tag",
        name: "Tag",
        headings: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_begins_with_a_registry_as_an_image_does() {
        for (text, expected) in [
            ("nginx", (HUB, "nginx")),
            ("library/nginx", (HUB, "library/nginx")),
            ("localhost/app", ("localhost", "app")),
            ("quay.io/podman/hello", ("quay.io", "podman/hello")),
            ("r:5000/", ("r:5000", "")),
        ] {
            assert_eq!(asked(text), expected, "{text}");
        }
    }

    #[test]
    fn filters_are_dockers() {
        assert_eq!(Filter::parse("stars=3"), Ok(Filter::Stars(3)));
        assert_eq!(
            Filter::parse("is-official=true"),
            Ok(Filter::Official(true))
        );
        for bad in [
            "stars",
            "stars=-1",
            "is-official=perhaps",
            "is-automated=true",
        ] {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
    }
}
