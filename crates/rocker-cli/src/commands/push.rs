//! `rocker push`.

use std::cell::Cell;
use std::path::PathBuf;

use rocker_engine::{PushCompression, PushRequest, PushWatch, Pushed};
use rocker_types::{Diagnose as _, ErrorKind, ImageRef};

use super::registry::RegistryArgs;
use super::{CommandError, Context, Outcome, print};
use crate::exit_code::Status;
use crate::terminal::{SignalPlan, Signals};
use crate::ui::events;
use crate::ui::progress::{Progress, ProgressArgs};

/// Send an image to a registry
///
/// The image's name says where: tag it first if it shall go elsewhere. What the registry has
/// already is not sent again, and layers whose compressed form is still to be had where they
/// came from pass through, so that the image keeps its digest. Of an image for several
/// platforms the one that is here is sent. Progress goes to standard error; standard output
/// gets one line with the digest.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker push localhost:5000/app:1\n  rocker push --compression zstd --digestfile digest quay.io/team/app"
)]
pub(crate) struct PushArgs {
    /// Show no progress, and print the image's full name only
    #[arg(short, long)]
    quiet: bool,

    /// Write the digest of the manifest to a file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,

    /// How to compress layers whose compressed form is nowhere to be had: gzip or zstd
    #[arg(
        long,
        alias = "compression-format",
        value_name = "FORMAT",
        default_value = "gzip"
    )]
    compression: Format,

    #[command(flatten)]
    progress: ProgressArgs,

    #[command(flatten)]
    registry: RegistryArgs,

    /// The image: NAME[:TAG]
    #[arg(value_name = "IMAGE")]
    image: String,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Gzip,
    Zstd,
}

impl From<Format> for PushCompression {
    fn from(format: Format) -> Self {
        match format {
            Format::Gzip => Self::Gzip,
            Format::Zstd => Self::Zstd,
        }
    }
}

pub(crate) fn push(context: &mut Context, args: PushArgs) -> Outcome {
    let reference: ImageRef = args.image.parse()?;
    let Some(tag) = reference.tag().filter(|_| reference.digest().is_none()) else {
        return Err(CommandError::PushByDigest(args.image));
    };
    let pushed = send(context, &args, &reference)?;
    if let Some(path) = &args.digestfile {
        fs_err::write(path, format!("{}", pushed.digest)).map_err(CommandError::DigestFile)?;
    }
    print(&match args.quiet {
        true => format!("{}\n", reference.canonical()),
        false => format!(
            "{tag}: digest: {} size: {}\n",
            pushed.digest, pushed.manifest_bytes
        ),
    })?;
    Ok(Status::Success)
}

/// Sends the image. Ctrl-C ends it, and the registry is told that no more will come.
fn send(
    context: &mut Context,
    args: &PushArgs,
    reference: &ImageRef,
) -> Result<Pushed, CommandError> {
    let engine = context.engine()?;
    let request = PushRequest {
        reference: reference.clone(),
        place: args.registry.own_place(reference)?,
        compression: args.compression.into(),
    };
    let progress = Progress::of(args.progress.progress, args.quiet)?;
    let mut signals = Signals::take(SignalPlan::Interrupt).map_err(CommandError::Terminal)?;
    let (registry, repository) = (reference.registry(), reference.repository());
    progress.note(&format!(
        "The push refers to repository [{registry}/{repository}]"
    ));
    let stopped_by = Cell::new(None);
    let cancelled = || {
        let signal = signals.next().ok().flatten();
        stopped_by.set(stopped_by.get().or(signal));
        stopped_by.get().is_some()
    };
    let watch = PushWatch {
        progress: &progress,
        // a registry whose credentials cannot be read is one that is not asked
        elsewhere: &|origin| args.registry.place_elsewhere(origin).ok(),
        cancelled: &cancelled,
    };
    let pushed = engine.push(&request, watch);
    signals
        .follow(SignalPlan::Ignore)
        .map_err(CommandError::Terminal)?;
    match (pushed, stopped_by.get()) {
        (Ok(pushed), _) => {
            progress.finish();
            if matches!(progress, Progress::Events) {
                events::pushed(&reference.canonical(), &pushed);
            }
            Ok(pushed)
        }
        (Err(source), Some(signal)) if source.kind() == ErrorKind::Interrupted => {
            progress.clear();
            Err(CommandError::Stopped { signal, source })
        }
        (Err(error), _) => {
            progress.clear();
            Err(error.into())
        }
    }
}
