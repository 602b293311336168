//! `rocker push`.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rocker_engine::{
    Elsewhere, Format, FoundBy, PushCompression, PushRequest, PushWatch, Pushed, Reuse,
};
use rocker_types::{Diagnose as _, ErrorKind, ImageRef};
use rustix::fs::Mode;

use super::registry::RegistryArgs;
use super::transport::Place;
use super::{CommandError, Context, Outcome, print};
use crate::exit_code::Status;
use crate::output_file::OutputFile;
use crate::report;
use crate::terminal::interruptible;
use crate::ui::events;
use crate::ui::progress::{Progress, ProgressArgs};

/// Send an image to a registry
///
/// The image's name says where: tag it first if it shall go elsewhere. What the registry has
/// already is not sent again, and layers whose compressed form is still to be had where they
/// came from pass through, so that the image keeps its digest. Of an image for several
/// platforms the one that is here is sent. Progress goes to standard error; standard output
/// gets one line with the digest. DESTINATION sends the image elsewhere than its name says: to
/// another name, or to a file as oci:DIR[:NAME], oci-archive:FILE[:NAME] or
/// docker-archive:FILE[:NAME]. NAME is a whole name, or a tag for IMAGE's repository. Other
/// images that are in DIR stay; those that were called NAME there are not called that any more.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker push localhost:5000/app:1\n  rocker push --compression zstd --digestfile digest quay.io/team/app\n  rocker push --all-tags localhost:5000/app\n  rocker push app:1 oci:layout:app:1"
)]
pub(crate) struct PushArgs {
    /// Show no progress, and print the image's full name only
    #[arg(short, long)]
    quiet: bool,

    /// Push every tag that the image's repository has here
    #[arg(short, long, conflicts_with_all = ["digestfile", "destination"])]
    all_tags: bool,

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
    compression: Packing,

    /// Compress layers anew that are known in another compression, rather than take them as they
    /// are
    #[arg(long)]
    force_compression: bool,

    /// How hard to compress: 1 to 9 for gzip, 1 to 19 for zstd
    #[arg(long, value_name = "LEVEL")]
    compression_level: Option<u8>,

    /// Which documents the registry gets: oci, or v2s2 for docker's; the image's own by default
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Documents>,

    #[command(flatten)]
    progress: ProgressArgs,

    #[command(flatten)]
    registry: RegistryArgs,

    /// The image, by name or ID
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Where to, if not where its name says
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Packing {
    Gzip,
    Zstd,
}

impl From<Packing> for PushCompression {
    fn from(packing: Packing) -> Self {
        match packing {
            Packing::Gzip => Self::Gzip,
            Packing::Zstd => Self::Zstd,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Documents {
    Oci,
    V2s2,
}

impl From<Documents> for Format {
    fn from(documents: Documents) -> Self {
        match documents {
            Documents::Oci => Self::Oci,
            Documents::V2s2 => Self::Docker,
        }
    }
}

pub(crate) fn push(context: &mut Context, args: PushArgs) -> Outcome {
    check(&args)?;
    if args.all_tags {
        if !ImageRef::is_bare(&args.image) {
            return Err(CommandError::conflict(
                "--all-tags wants a name without a tag",
                "leave out the tag, or --all-tags",
            ));
        }
        return push_all_tags(context, args);
    }
    let target = match args.destination.as_deref().map(Place::read).transpose()? {
        None => name_here(context, &args.image)?,
        Some(Place::Named(name)) => name.parse()?,
        Some(Place::InFile(file)) => {
            check_for_file(&args)?;
            file.save(context, &args.image, args.quiet)?;
            return Ok(Status::Success);
        }
    };
    if target.tag().is_none() || target.digest().is_some() {
        return Err(CommandError::PushByDigest(target.familiar()));
    }
    // found out before the upload, not after it
    let digestfile = args.digestfile.as_deref().map(begin_digest).transpose()?;
    let pushed = send(context, &args, &args.image, &target);
    match (digestfile, &pushed) {
        (Some(file), Ok(pushed)) => write_digest(file, pushed).map_err(CommandError::DigestLost)?,
        (Some(file), Err(_)) => file.discard(),
        (None, _) => {}
    }
    let pushed = pushed?;
    tell(&args, &target, &pushed)?;
    Ok(Status::Success)
}

/// Sends what every tag of a repository means; one that cannot be sent is reported and does not
/// keep the others from their turn.
fn push_all_tags(context: &mut Context, mut args: PushArgs) -> Outcome {
    let names = context.engine()?.tags_of(&args.image)?;
    args.registry.ask_password()?;
    let mut status = Status::Success;
    for name in names {
        match send(context, &args, &name.canonical(), &name) {
            Ok(pushed) => tell(&args, &name, &pushed)?,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                report::error(&error);
                status = Status::SomeFailed;
            }
        }
    }
    Ok(status)
}

/// What the image is called here, and so where it goes if nothing else is said.
fn name_here(context: &mut Context, image: &str) -> Result<ImageRef, CommandError> {
    match context.engine()?.image_here(image, None)? {
        Some(FoundBy::Name(name)) => Ok(name),
        Some(FoundBy::Id) => Err(CommandError::conflict(
            "an ID does not say where to push the image",
            "use rocker push ID NAME",
        )),
        None => Ok(image.parse()?),
    }
}

fn begin_digest(path: &Path) -> Result<OutputFile, CommandError> {
    let file = OutputFile::create(path, Mode::from_raw_mode(0o666));
    file.map_err(|source| CommandError::DigestFile(path.to_owned(), source))
}

fn write_digest(mut file: OutputFile, pushed: &Pushed) -> io::Result<()> {
    match file.file().write_all(pushed.digest.to_string().as_bytes()) {
        Ok(()) => file.finish(),
        Err(error) => {
            file.discard();
            Err(error)
        }
    }
}

/// What no registry could be asked for.
fn check(args: &PushArgs) -> Result<(), CommandError> {
    let most = match args.compression {
        Packing::Gzip => 9,
        Packing::Zstd => 19,
    };
    if args
        .compression_level
        .is_some_and(|level| !(1..=most).contains(&level))
    {
        return Err(CommandError::conflict(
            format!("--compression-level is not one of 1 to {most}"),
            "see rocker push --help",
        ));
    }
    if args.compression == Packing::Zstd && args.format == Some(Documents::V2s2) {
        return Err(CommandError::conflict(
            "--format v2s2 cannot be used with --compression zstd",
            "docker's documents know no zstd; choose --format oci",
        ));
    }
    Ok(())
}

/// A file gets the layers as they are.
fn check_for_file(args: &PushArgs) -> Result<(), CommandError> {
    let is_for_registries = args.digestfile.is_some()
        || args.force_compression
        || args.format.is_some()
        || args.compression_level.is_some()
        || args.compression != Packing::Gzip
        || args.progress != ProgressArgs::default()
        || args.registry != RegistryArgs::default();
    match is_for_registries {
        false => Ok(()),
        true => Err(CommandError::conflict(
            "--digestfile, --format, --progress and what is said about compression and registries are not for files",
            "leave them out; the layers in a file are not compressed",
        )),
    }
}

fn tell(args: &PushArgs, name: &ImageRef, pushed: &Pushed) -> Result<(), CommandError> {
    let tag = name.tag().unwrap_or("latest");
    print(&match args.quiet {
        true => format!("{}\n", name.canonical()),
        false => format!(
            "{tag}: digest: {} size: {}\n",
            pushed.digest, pushed.manifest_bytes
        ),
    })
}

/// Sends the image. Ctrl-C ends it, and the registry is told that no more will come.
fn send(
    context: &mut Context,
    args: &PushArgs,
    image: &str,
    reference: &ImageRef,
) -> Result<Pushed, CommandError> {
    let engine = context.engine()?;
    let request = PushRequest {
        image: image.to_owned(),
        reference: reference.clone(),
        place: args.registry.own_place(reference)?,
        compression: args.compression.into(),
        reuse: match args.force_compression {
            true => Reuse::SameCompression,
            false => Reuse::Any,
        },
        level: args.compression_level,
        format: args.format.map(Into::into),
    };
    let progress = Progress::of(args.progress.progress, args.quiet)?;
    let (registry, repository) = (reference.registry(), reference.repository());
    let access = args.registry.clone();
    // a registry whose credentials cannot be read is one that is not asked
    let elsewhere = Elsewhere::new(move |origin| access.place_elsewhere(origin).ok());
    let pushed = interruptible(|cancelled| {
        progress.note(&format!(
            "The push refers to repository [{registry}/{repository}]"
        ));
        let watch = PushWatch {
            progress: &progress,
            elsewhere: &elsewhere,
            cancelled,
        };
        engine.push(&request, watch)
    });
    match pushed.map_err(CommandError::Terminal)? {
        (Ok(pushed), _) => {
            progress.finish();
            if args.compression == Packing::Zstd && pushed.otherwise_compressed > 0 {
                progress.note(&format!(
                    "{} of the layers keep the compression that they are known in; --force-compression makes them zstd",
                    pushed.otherwise_compressed
                ));
            }
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
