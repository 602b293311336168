//! `rocker load`.

use std::io::{IsTerminal as _, stdin};

use fs_err::File;
use rocker_engine::{LoadRequest, LoadSource, Loaded, LoadedImage, TakenNames};
use rocker_types::{DiffId, ImageRef, Platform};

use super::fetch::failure;
use super::policy::policy;
use super::{CommandError, Context, Outcome, print};
use crate::exit_code::Status;
use crate::report;
use crate::terminal::StopRequests;
use crate::ui::human;

/// Load images from an archive
///
/// Reads what docker, podman, skopeo, umoci and rocker itself save: docker archives and OCI
/// image layouts, as a tar (plain or compressed with gzip, zstd, xz or bzip2) or as a
/// directory. Prints the names of the images, or the ID of one without a name.
///
/// A name that came with another archive moves to the image of this one. A name that an image
/// here got otherwise (by pull, tag, commit or import) does not: nothing is loaded then, unless
/// --force is given.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker load -i debian.tar.gz\n  docker save app:1 | rocker load\n  rocker load -i layout/\n  rocker load --force -i debian-fixed.tar"
)]
pub(crate) struct LoadArgs {
    /// The archive or the layout's directory; - is standard input
    #[arg(
        short,
        long,
        value_name = "FILE|DIR|-",
        default_value = "-",
        hide_default_value = true
    )]
    input: String,

    /// Do not tell about each layer
    #[arg(short, long)]
    quiet: bool,

    /// Give the images their names even where images here have these by a pull, tag, commit or import
    #[arg(short, long)]
    force: bool,

    /// Which platform of an image that has several: OS[/ARCH[/VARIANT]]; the host's by default
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
}

pub(crate) fn load(context: &mut Context, args: LoadArgs) -> Outcome {
    let source = source(&args.input)?;
    let tell = |layer: &DiffId, bytes: u64| {
        if !args.quiet {
            let size = human::size(bytes);
            report::note(&format!("{}: Loading {size}", layer.0.short()));
        }
    };
    let taken = match args.force {
        true => TakenNames::Take,
        false => TakenNames::Refuse,
    };
    let wish = LoadWish {
        platform: args.platform,
        only: None,
        on_layer: &tell,
        taken,
    };
    let loaded = take(context, source, wish)?;
    let lines: String = loaded.images.iter().map(lines).collect();
    print(&lines)?;
    Ok(Status::Success)
}

/// What is to be taken out of an archive, and how to tell about it.
pub(super) struct LoadWish<'a> {
    pub(super) platform: Option<Platform>,
    /// `None` takes all.
    pub(super) only: Option<String>,
    pub(super) on_layer: &'a dyn Fn(&DiffId, u64),
    pub(super) taken: TakenNames,
}

/// Takes images out of an archive and says which other images have lost a name. Ctrl-C ends it,
/// and nothing of it is left.
pub(super) fn take(
    context: &mut Context,
    source: LoadSource,
    wish: LoadWish<'_>,
) -> Result<Loaded, CommandError> {
    let (policy, limits) = (policy()?, super::config::read()?.limits);
    let engine = context.engine()?;
    let stop = StopRequests::notice().map_err(CommandError::Terminal)?;
    let request = LoadRequest {
        platform: wish.platform,
        only: wish.only,
        policy,
        limits,
        on_layer: wish.on_layer,
        cancelled: &|| stop.came().is_some(),
    };
    let loaded = engine.load(source, &request, wish.taken);
    let stopped_by = stop.end().map_err(CommandError::Terminal)?;
    let loaded = loaded.map_err(|error| failure(error, stopped_by))?;
    for (name, id) in &loaded.moved {
        let name = name.familiar();
        report::note(&format!(
            "The image {name} already exists, renaming the old one with ID {id} to empty string"
        ));
    }
    match stopped_by {
        // too late for that: the images are here
        Some(signal) => Err(CommandError::Ended(signal)),
        None => Ok(loaded),
    }
}

pub(super) fn source(input: &str) -> Result<LoadSource, CommandError> {
    let failed = |source| CommandError::Archive {
        path: input.to_owned(),
        source,
    };
    if input == "-" {
        if stdin().is_terminal() {
            return Err(CommandError::conflict(
                "cannot load from a terminal",
                "name a file with -i FILE, or pipe the archive in",
            ));
        }
        let direct = rustix::io::dup(stdin()).map_err(|errno| failed(errno.into()))?;
        let file = File::from_parts(std::fs::File::from(direct), "standard input");
        return Ok(LoadSource::Archive(file));
    }
    let file = File::open(input).map_err(failed)?;
    match file.metadata().map_err(failed)?.is_dir() {
        true => Ok(LoadSource::Directory(input.into())),
        false => Ok(LoadSource::Archive(file)),
    }
}

fn lines(image: &LoadedImage) -> String {
    if image.names.is_empty() {
        return format!("Loaded image ID: {}\n", image.id);
    }
    let names = image.names.iter().map(ImageRef::familiar);
    names
        .map(|name| format!("Loaded image: {name}\n"))
        .collect()
}
