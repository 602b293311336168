//! `rocker image mount` and `rocker image unmount`.

use rocker_engine::MountedImage;
use rocker_types::ImageRef;
use serde_json::{Value, json};

use super::{CommandError, Context, Outcome, print};
use crate::exit_code::Status;
use crate::report;

/// Mount images to look into them, or list what is mounted
///
/// Prints the directory in which an image's files are seen; nothing can be written there. It is a
/// mount of the caller's mount namespace and stays until it is unmounted as often as it was
/// mounted. Meanwhile the image cannot be removed. Without arguments lists the images that are
/// mounted.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker image mount alpine:3.20\n  rocker image mount\n  rocker image unmount alpine:3.20"
)]
pub(crate) struct MountArgs {
    /// Mount all images
    #[arg(short, long, conflicts_with = "images")]
    all: bool,

    /// How to print
    #[arg(long, value_name = "FORMAT", value_parser = ["json"])]
    format: Option<String>,

    /// Images to mount, by name or ID
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

/// Unmount images
///
/// Each that was mounted several times stays mounted until it is unmounted as often. Prints the
/// IDs of those that were mounted.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker image unmount alpine:3.20\n  rocker image umount -af"
)]
pub(crate) struct UnmountArgs {
    /// Unmount all images
    #[arg(short, long, conflicts_with = "images")]
    all: bool,

    /// Unmount however often it was mounted, and even if a program uses it
    #[arg(short, long)]
    force: bool,

    /// Images to unmount, by name or ID
    #[arg(required_unless_present = "all", value_name = "IMAGE")]
    images: Vec<String>,
}

pub(crate) fn mount(context: &mut Context, args: MountArgs) -> Outcome {
    let engine = context.engine()?;
    let mut status = Status::Success;
    let wanted = match args.all {
        true => ids(engine.images()?.into_iter().map(|image| image.id)),
        false => args.images,
    };
    let mut mounted = Vec::new();
    if wanted.is_empty() && !args.all {
        mounted = engine.mounted_images()?;
    }
    let is_one = wanted.len() == 1 && !args.all;
    for image in wanted {
        match engine.mount_image(&image) {
            Ok(image) => mounted.push(image),
            Err(error) => {
                report::error(&CommandError::from(error));
                status = Status::SomeFailed;
            }
        }
    }
    let text = match (args.format, mounted.as_slice()) {
        (Some(_json), mounted) => json_text(mounted)?,
        (None, [only]) if is_one => format!("{}\n", only.path.display()),
        (None, mounted) => {
            let line =
                |mounted: &MountedImage| format!("{}  {}\n", name(mounted), mounted.path.display());
            mounted.iter().map(line).collect()
        }
    };
    print(&text)?;
    Ok(status)
}

pub(crate) fn unmount(context: &mut Context, args: UnmountArgs) -> Outcome {
    let engine = context.engine()?;
    let wanted = match args.all {
        true => ids(engine.mounted_images()?.into_iter().map(|m| m.image.id)),
        false => args.images,
    };
    let mut status = Status::Success;
    for query in wanted {
        let unmounted = engine.find_image(&query).and_then(|image| {
            let was_mounted = engine.unmount_image(&image.id, args.force)?;
            Ok(was_mounted.then_some(image.id))
        });
        match unmounted {
            Ok(Some(id)) => print(&format!("{id}\n"))?,
            // as podman: what is not mounted need not be unmounted
            Ok(None) => {}
            Err(error) => {
                report::error(&CommandError::from(error));
                status = Status::SomeFailed;
            }
        }
    }
    Ok(status)
}

fn ids(ids: impl Iterator<Item = rocker_types::Digest>) -> Vec<String> {
    ids.map(|id| id.to_string()).collect()
}

/// How a person knows the image.
fn name(mounted: &MountedImage) -> String {
    let name = mounted.image.tags.first().map(ImageRef::familiar);
    name.unwrap_or_else(|| mounted.image.id.short().to_owned())
}

/// podman's fields.
fn json_text(mounted: &[MountedImage]) -> Result<String, CommandError> {
    let value = |mounted: &MountedImage| -> Value {
        let names = mounted.image.tags.iter().map(ImageRef::familiar);
        json!({
            "id": mounted.image.id.hex(),
            "Repositories": names.collect::<Vec<_>>(),
            "mountpoint": mounted.path,
        })
    };
    let values: Vec<Value> = mounted.iter().map(value).collect();
    let text = serde_json::to_string_pretty(&values);
    let text = text.map_err(|source| CommandError::Json("mounts", source))?;
    Ok(text + "\n")
}
