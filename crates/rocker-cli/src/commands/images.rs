//! `rocker images`.

use std::cmp::Reverse;

use glob::Pattern;
use rocker_engine::{Engine, ImageUsage};
use rocker_types::ImageRef;
use serde_json::{Value, json};

use super::image_filter::{self, ImageFilter, ImageFilters, created};
use super::{CommandError, Context, Outcome, labels_text, print};
use crate::exit_code::Status;
use crate::ui::{Column, ListFormat, Listing, human, local_time};

/// List images
///
/// The newest arrival first, one line for each of an image's names.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker images\n  rocker images --format '{{.Repository}}:{{.Tag}}' debian\n  rocker images -f dangling=true -q"
)]
pub(crate) struct ImagesArgs {
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,

    /// Print the digests that the images were pulled by
    #[arg(long)]
    digests: bool,

    /// How to print: table, wide, json, json-array, csv, names, a Go template, or table and a
    /// template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Print whole IDs
    #[arg(long)]
    no_trunc: bool,

    /// List every image; rocker hides none
    #[arg(short, long)]
    all: bool,

    /// Only images that this is true of, as KEY=VALUE: before, containers, dangling, digest, id,
    /// label, label!, reference, since, until; may be repeated
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = ImageFilter::of_images)]
    filter: Vec<ImageFilter>,

    /// What to order by
    #[arg(long, value_name = "KEY", value_enum)]
    sort: Option<SortKey>,

    /// Leave the headers of the table out
    #[arg(short = 'n', long)]
    noheading: bool,

    /// Only images of this name: REPOSITORY[:TAG], in which * stands for anything but a slash
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

const COLUMNS: &[Column] = &[
    Column::new("Repository", "REPOSITORY"),
    Column::new("Tag", "TAG"),
    Column::new("ID", "IMAGE ID"),
    Column::new("CreatedSince", "CREATED"),
    Column::new("Size", "SIZE"),
];
const WITH_DIGEST: &[Column] = &[
    Column::new("Repository", "REPOSITORY"),
    Column::new("Tag", "TAG"),
    Column::new("Digest", "DIGEST"),
    Column::new("ID", "IMAGE ID"),
    Column::new("CreatedSince", "CREATED"),
    Column::new("Size", "SIZE"),
];
const HIDDEN: &[Column] = &[
    Column::new("Digest", "DIGEST"),
    Column::new("CreatedAt", "CREATED AT"),
    Column::new("Containers", "CONTAINERS"),
    Column::new("VirtualSize", "VIRTUAL SIZE"),
    Column::new("SharedSize", "SHARED SIZE"),
    Column::new("UniqueSize", "UNIQUE SIZE"),
    Column::new("Labels", "LABELS"),
];

/// Docker's word for a name that an image does not have.
const NONE: &str = "<none>";

/// What images can be ordered by.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum SortKey {
    /// The newest first
    Created,
    Id,
    Repository,
    /// The largest first
    Size,
    Tag,
}

/// An image under one of its names, or under none.
type Named<'a> = (&'a ImageUsage, Option<&'a ImageRef>);

pub(crate) fn images(context: &mut Context, args: ImagesArgs) -> Outcome {
    let engine = context.engine()?;
    let wanted = args.name.as_deref();
    let wanted = wanted.map(|text| Wanted::parse(engine, text)).transpose()?;
    let filters = ImageFilters::new(engine, &args.filter)?;
    let images = engine.images_usage()?;
    let is_wanted = |name: &&ImageRef| {
        filters.show(name) && wanted.as_ref().is_none_or(|wanted| wanted.fits(name))
    };
    let mut found: Vec<Named<'_>> = Vec::new();
    for usage in images.iter().filter(|usage| filters.fit(&usage.image)) {
        let names = usage.image.tags.iter().filter(is_wanted);
        found.extend(names.map(|name| (usage, Some(name))));
        if usage.image.tags.is_empty() && wanted.is_none() {
            found.push((usage, None));
        }
    }
    if let Some(key) = args.sort {
        sort(&mut found, key);
    }
    let rows = found
        .into_iter()
        .map(|(usage, name)| row(usage, name, args.no_trunc));
    let listing = Listing {
        shown: if args.digests { WITH_DIGEST } else { COLUMNS },
        hidden: HIDDEN,
        rows: rows.collect(),
        key: "ID",
        name: "_Name",
        headings: !args.noheading,
    };
    let format = ListFormat::new(args.quiet, args.format.as_deref());
    print(&listing.render(format)?)?;
    Ok(Status::Success)
}

fn sort(found: &mut [Named<'_>], key: SortKey) {
    let repository = |(_, name): &Named<'_>| name.map(|name| name.familiar_repository());
    let tag = |(_, name): &Named<'_>| name.and_then(ImageRef::tag).map(str::to_owned);
    match key {
        SortKey::Created => found.sort_by_key(|(usage, _)| Reverse(created(&usage.image))),
        SortKey::Size => found.sort_by_key(|(usage, _)| Reverse(usage.image.size_bytes)),
        SortKey::Id => found.sort_by(|(a, _), (b, _)| a.image.id.hex().cmp(b.image.id.hex())),
        SortKey::Repository => found.sort_by_key(|named| (repository(named), tag(named))),
        SortKey::Tag => found.sort_by_key(|named| (tag(named), repository(named))),
    }
}

/// The names that were asked for.
enum Wanted {
    Pattern(Pattern),
    /// Every tag of one of these.
    Repositories(Vec<ImageRef>),
    Names(Vec<ImageRef>),
}

impl Wanted {
    fn parse(engine: &Engine, text: &str) -> Result<Self, CommandError> {
        if text.contains(['*', '?', '[']) {
            return image_filter::pattern(text)
                .map(Self::Pattern)
                .map_err(|message| CommandError::conflict(message, "quote [ as [[]"));
        }
        let _: ImageRef = text.parse()?;
        let meanings = engine.meanings(text);
        Ok(match ImageRef::is_bare(text) {
            true => Self::Repositories(meanings),
            false => Self::Names(meanings),
        })
    }

    fn fits(&self, name: &ImageRef) -> bool {
        match self {
            Self::Pattern(pattern) => image_filter::names(pattern, name),
            Self::Repositories(all) => all.iter().any(|one| one.is_same_repository(name)),
            Self::Names(all) => all.contains(name),
        }
    }
}

fn row(usage: &ImageUsage, name: Option<&ImageRef>, whole: bool) -> Value {
    let image = &usage.image;
    let repository = name.map(ImageRef::familiar_repository);
    let digest = image.repo_digests.iter().find_map(|full| {
        let (of, digest) = full.split_once('@')?;
        repository
            .as_deref()
            .is_none_or(|r| r == of)
            .then_some((of, digest))
    });
    let repository = repository.or_else(|| digest.map(|(of, _)| of.to_owned()));
    let created = created(image);
    let size = human::size(image.size_bytes);
    let labels = &image.config.config.labels;
    let id = match whole {
        true => image.id.to_string(),
        false => image.id.short().to_owned(),
    };
    json!({
        "Repository": repository.as_deref().unwrap_or(NONE),
        "Tag": name.and_then(ImageRef::tag).unwrap_or(NONE),
        "ID": id,
        "Digest": digest.map_or(NONE, |(_, digest)| digest),
        "CreatedSince": human::ago(created),
        "CreatedAt": created.map_or_else(|| "N/A".to_owned(), |at| {
            local_time(i64::try_from(at.as_nanosecond()).unwrap_or_default())
        }),
        "Containers": image.containers.len().to_string(),
        "Size": size,
        "VirtualSize": size,
        "SharedSize": human::size(usage.shared_bytes),
        "UniqueSize": human::size(usage.unique_bytes),
        "Labels": labels_text(labels),
        "_Labels": labels,
        "_Name": name.map_or(id, ImageRef::familiar),
    })
}
