//! `rocker images`.

use std::time::SystemTime;

use jiff::Timestamp;
use rocker_engine::ImageSummary;
use rocker_types::ImageRef;
use serde_json::{Value, json};

use super::{Context, Outcome, labels_text, print};
use crate::exit_code::Status;
use crate::ui::{Column, ListFormat, Listing, human, local_time};

/// List images
///
/// The newest arrival first, one line for each of an image's names.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker images\n  rocker images --format '{{.Repository}}:{{.Tag}}' debian"
)]
pub(crate) struct ImagesArgs {
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,

    /// Print the digests that the images were pulled by
    #[arg(long)]
    digests: bool,

    /// How to print: table, json, a Go template, or table and a template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,

    /// Print whole IDs
    #[arg(long)]
    no_trunc: bool,

    /// Only images of this name: REPOSITORY[:TAG]
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

const COLUMNS: &[Column] = &[
    Column {
        field: "Repository",
        header: "REPOSITORY",
    },
    Column {
        field: "Tag",
        header: "TAG",
    },
    Column {
        field: "ID",
        header: "IMAGE ID",
    },
    Column {
        field: "CreatedSince",
        header: "CREATED",
    },
    Column {
        field: "Size",
        header: "SIZE",
    },
];
const WITH_DIGEST: &[Column] = &[
    Column {
        field: "Repository",
        header: "REPOSITORY",
    },
    Column {
        field: "Tag",
        header: "TAG",
    },
    Column {
        field: "Digest",
        header: "DIGEST",
    },
    Column {
        field: "ID",
        header: "IMAGE ID",
    },
    Column {
        field: "CreatedSince",
        header: "CREATED",
    },
    Column {
        field: "Size",
        header: "SIZE",
    },
];
const HIDDEN: &[Column] = &[
    Column {
        field: "Digest",
        header: "DIGEST",
    },
    Column {
        field: "CreatedAt",
        header: "CREATED AT",
    },
    Column {
        field: "Containers",
        header: "CONTAINERS",
    },
    Column {
        field: "VirtualSize",
        header: "VIRTUAL SIZE",
    },
    Column {
        field: "Labels",
        header: "LABELS",
    },
];

/// Docker's word for a name that an image does not have.
const NONE: &str = "<none>";

pub(crate) fn images(context: &mut Context, args: ImagesArgs) -> Outcome {
    let wanted = args.name.as_deref().map(str::parse).transpose()?;
    let has_tag = args.name.as_deref().is_some_and(names_a_tag);
    let images = context.engine()?.images()?;
    let mut rows = Vec::new();
    for image in &images {
        let fits = |name: &&ImageRef| match &wanted {
            None => true,
            Some(wanted) if has_tag => *name == wanted,
            Some(wanted) => name.familiar_repository() == wanted.familiar_repository(),
        };
        rows.extend(
            image
                .tags
                .iter()
                .filter(fits)
                .map(|tag| row(image, Some(tag), args.no_trunc)),
        );
        if image.tags.is_empty() && wanted.is_none() {
            rows.push(row(image, None, args.no_trunc));
        }
    }
    let listing = Listing {
        shown: if args.digests { WITH_DIGEST } else { COLUMNS },
        hidden: HIDDEN,
        rows,
        key: "ID",
    };
    let format = ListFormat::new(args.quiet, args.format.as_deref());
    print(&listing.render(format)?)?;
    Ok(Status::Success)
}

/// Whether a tag was typed: a colon after the last slash.
fn names_a_tag(name: &str) -> bool {
    name.rsplit('/')
        .next()
        .is_some_and(|last| last.contains(':'))
}

fn row(image: &ImageSummary, name: Option<&ImageRef>, whole: bool) -> Value {
    let repository = name.map(ImageRef::familiar_repository);
    let digest = image.repo_digests.iter().find_map(|full| {
        let (of, digest) = full.split_once('@')?;
        repository
            .as_deref()
            .is_none_or(|r| r == of)
            .then_some((of, digest))
    });
    let repository = repository.or_else(|| digest.map(|(of, _)| of.to_owned()));
    let created = image
        .config
        .created
        .as_deref()
        .and_then(|at| at.parse::<Timestamp>().ok());
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
        "CreatedSince": created.map_or_else(|| "N/A".to_owned(), ago),
        "CreatedAt": created.map_or_else(|| "N/A".to_owned(), |at| {
            local_time(i64::try_from(at.as_nanosecond()).unwrap_or_default())
        }),
        "Containers": image.containers.len().to_string(),
        "Size": size,
        "VirtualSize": size,
        "Labels": labels_text(labels),
        "_Labels": labels,
    })
}

fn ago(then: Timestamp) -> String {
    let age = SystemTime::now()
        .duration_since(then.into())
        .unwrap_or_default();
    format!("{} ago", human::duration(age))
}
