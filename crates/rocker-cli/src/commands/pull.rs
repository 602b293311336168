//! `rocker pull`.

use rocker_engine::{EngineError, PreviewedLayer, PullPreview, list_tags};
use rocker_types::{Diagnose as _, ErrorKind, ImageRef};

use super::container_args::PullWhen;
use super::fetch::{Wish, fetch, first_of, look, places};
use super::platform::PlatformArgs;
use super::registry::RegistryArgs;
use super::remote::patiently;
use super::transfer_args::TransferArgs;
use super::transport::Place;
use super::{CommandError, Context, Outcome, image_source, print, short_names};
use crate::exit_code::Status;
use crate::report;
use crate::ui::human;
use crate::ui::progress::ProgressArgs;

/// Fetch an image from a registry
///
/// Progress goes to standard error; standard output gets one line, the image's full name. An
/// image in a file is named oci:DIR[:NAME], oci-archive:FILE[:NAME] or docker-archive:FILE[:NAME];
/// without NAME all images in the file are meant.
///
/// A pull that is interrupted or killed, or that fails because of the network, keeps what came: the next
/// pull of the image goes on from there, for a week or until `rocker image prune`.
///
/// With `--progress json`, each line of standard error but an error is an object with the key
/// "event": resolving; resolved (digest, layers with digest and size); layer (digest, state and,
/// while bytes come, done and total); retrying (what, cause, seconds); not-there (registry, cause);
/// committing; pulled (image, id, digest, newer). States of a layer are exists, waiting, elsewhere
/// (another pull gets it), resuming, verifying, downloading, extracting and done.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker pull debian:trixie\n  rocker pull --platform linux/arm64 localhost:5000/app\n  rocker pull --dry-run debian:trixie\n  rocker pull -a quay.io/team/app\n  rocker pull --policy missing --retry 10 --stall-timeout 2m registry.example.org/large"
)]
pub(crate) struct PullArgs {
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,

    /// Fetch every tag of the repository
    #[arg(short, long, conflicts_with = "policy")]
    all_tags: bool,

    /// Show what would be fetched: manifests are read, but no layer and no config
    #[arg(long, conflicts_with_all = ["all_tags", "policy", "quiet"])]
    dry_run: bool,

    #[command(flatten)]
    progress: ProgressArgs,

    #[command(flatten)]
    platform: PlatformArgs,

    /// When to ask the registry: always; if the image is missing; never; or always, but without
    /// failing where the registry cannot be asked and the image is here (newer)
    #[arg(long, value_name = "WHEN", default_value = "always")]
    policy: PullWhen,

    #[command(flatten)]
    registry: RegistryArgs,

    #[command(flatten)]
    transfer: TransferArgs,

    /// The image: NAME[:TAG][@DIGEST], or where it is in a file
    #[arg(value_name = "IMAGE")]
    image: String,
}

impl PullArgs {
    /// Whether something is said that has no meaning for an image in a file.
    fn asks_a_registry(&self) -> bool {
        self.dry_run
            || self.policy != PullWhen::Always
            || self.progress != ProgressArgs::default()
            || self.registry != RegistryArgs::default()
            || self.transfer != TransferArgs::default()
    }
}

pub(crate) fn pull(context: &mut Context, args: PullArgs) -> Outcome {
    let platform = args.platform.wanted()?;
    let image = match Place::read(&args.image)? {
        Place::Named(image) => image,
        Place::InFile(_) if args.all_tags => {
            return Err(CommandError::conflict(
                "--all-tags is for repositories, not for files",
                "leave it out, or use rocker load, which takes all images of an archive",
            ));
        }
        Place::InFile(_) if args.asks_a_registry() => {
            return Err(CommandError::conflict(
                "--dry-run, --policy, --progress and what is said about registries and transfers are not for files",
                "leave them out",
            ));
        }
        Place::InFile(file) => {
            print(&file.load(context, platform, args.quiet)?)?;
            return Ok(Status::Success);
        }
    };
    let wish = Wish {
        platform: platform.clone(),
        quiet: args.quiet,
        progress: args.progress,
        registry: args.registry,
        transfer: args.transfer,
    };
    if args.all_tags {
        return pull_all_tags(context, image, wish);
    }
    if args.dry_run {
        return preview(context, image, &wish);
    }
    let platform = platform.as_ref();
    let here = image_source::look(context, image, args.policy, platform)?;
    let found = image_source::obtain(context, image, args.policy, here, &wish)?;
    let Some(name) = found else {
        return Err(EngineError::NoSuchImage(image.to_owned()).into());
    };
    print(&format!("{}\n", name.parse::<ImageRef>()?.canonical()))?;
    Ok(Status::Success)
}

/// Shows what a pull of the first of the images that `image` may mean and that its registry has
/// would fetch.
fn preview(context: &mut Context, image: &str, wish: &Wish) -> Outcome {
    let meant = short_names::meant(image)?;
    let preview = first_of(meant, &wish.registry, |reference| {
        look(context, &reference, wish)
    })?;
    print(&shown(&preview))?;
    Ok(Status::Success)
}

fn shown(preview: &PullPreview) -> String {
    let mut text = format!("Digest: {}\n", preview.digest);
    let line = |layer: &PreviewedLayer| match layer.is_here {
        true => format!("{}: exists\n", layer.digest.short()),
        false => format!(
            "{}: {}\n",
            layer.digest.short(),
            human::size(layer.size_bytes)
        ),
    };
    text.extend(preview.layers.iter().map(line));
    let missing = preview.layers.iter().filter(|layer| !layer.is_here);
    let bytes: u64 = missing.clone().map(|layer| layer.size_bytes).sum();
    let (missing, all) = (missing.count(), preview.layers.len());
    text.push_str(&match preview.is_here && missing == 0 {
        true => "Image is up to date\n".to_owned(),
        false => format!(
            "Would fetch: {missing} of {all} layers, {}\n",
            human::size(bytes)
        ),
    });
    text
}

/// Fetches what every tag of a repository means, and prints each name; one that cannot be had is
/// reported and does not keep the others from their turn.
fn pull_all_tags(context: &mut Context, repository: &str, mut wish: Wish) -> Outcome {
    let name = repository.rsplit('/').next().unwrap_or_default();
    if name.contains([':', '@']) {
        return Err(CommandError::conflict(
            "a tag or digest cannot be named with --all-tags",
            "leave one of them out",
        ));
    }
    wish.registry.ask_password()?;
    let meant = short_names::meant(repository)?;
    // what was typed may be short for it
    let (listed, tags) = first_of(meant, &wish.registry, |reference| {
        let places = places(&reference, &wish)?;
        let tags = patiently(|cancelled| list_tags(&reference, &places, usize::MAX, cancelled))?;
        Ok((reference, tags))
    })?;
    let repository = format!("{}/{}", listed.registry(), listed.repository());
    let mut status = Status::Success;
    for tag in tags {
        let fetched = match format!("{repository}:{tag}").parse() {
            Ok(reference) => fetch(context, &reference, &wish).map(|_| reference),
            Err(error) => Err(CommandError::from(error)),
        };
        match fetched {
            Ok(reference) => print(&format!("{}\n", reference.canonical()))?,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                report::error(&error);
                status = Status::SomeFailed;
            }
        }
    }
    Ok(status)
}
