//! `rocker pull`.

use rocker_engine::{Endpoint, EngineError, Entry, PullRequest, Pulled, list_tags};
use rocker_types::{Diagnose as _, ErrorKind, ImageRef, Platform, Signal};

use super::container_args::PullWhen;
use super::policy::policy;
use super::registry::RegistryArgs;
use super::transfer_args::TransferArgs;
use super::transport::Place;
use super::{CommandError, Context, Outcome, image_source, print, short_names};
use crate::exit_code::Status;
use crate::report;
use crate::terminal::StopRequests;
use crate::ui::events;
use crate::ui::progress::{Progress, ProgressArgs};

/// Fetch an image from a registry
///
/// Progress goes to standard error; standard output gets one line, the image's full name. An
/// image in a file is named oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME].
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
    after_long_help = "Examples:\n  rocker pull debian:trixie\n  rocker pull --platform linux/arm64 localhost:5000/app\n  rocker pull -a quay.io/team/app\n  rocker pull --policy missing --retry 10 --stall-timeout 2m registry.example.org/large"
)]
pub(crate) struct PullArgs {
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,

    /// Fetch every tag of the repository
    #[arg(short, long, conflicts_with = "policy")]
    all_tags: bool,

    #[command(flatten)]
    progress: ProgressArgs,

    /// Which of the image's platforms: OS[/ARCH[/VARIANT]]; the host's by default
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,

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
        self.policy != PullWhen::Always
            || self.progress != ProgressArgs::default()
            || self.registry != RegistryArgs::default()
            || self.transfer != TransferArgs::default()
    }
}

/// One image to fetch, and how to tell about it.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) reference: ImageRef,
    pub(crate) platform: Option<Platform>,
    pub(crate) quiet: bool,
    pub(crate) progress: ProgressArgs,
    pub(crate) registry: RegistryArgs,
    pub(crate) transfer: TransferArgs,
}

pub(crate) fn pull(context: &mut Context, args: PullArgs) -> Outcome {
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
                "--policy, --progress and what is said about registries and transfers are not for files",
                "leave them out",
            ));
        }
        Place::InFile(file) => {
            print(&file.load(context, args.platform, args.quiet)?)?;
            return Ok(Status::Success);
        }
    };
    let wish = |reference| Wish {
        reference,
        platform: args.platform.clone(),
        quiet: args.quiet,
        progress: args.progress,
        registry: args.registry.clone(),
        transfer: args.transfer.clone(),
    };
    let mut meant = short_names::meant(image)?;
    if args.all_tags {
        return pull_all_tags(context, image, wish(meant.remove(0)));
    }
    let here = match args.policy {
        PullWhen::Always => None,
        PullWhen::Missing | PullWhen::Never | PullWhen::Newer => {
            image_source::find(context, image, args.platform.as_ref())?
        }
    };
    let pulled = match (args.policy, here) {
        (PullWhen::Missing | PullWhen::Never, Some(name)) => name,
        (PullWhen::Never, None) => return Err(EngineError::NoSuchImage(image.to_owned()).into()),
        (PullWhen::Newer, Some(name)) => fetch_newer(context, meant, wish, name)?,
        (PullWhen::Always | PullWhen::Missing | PullWhen::Newer, _) => {
            fetch_one_of(context, meant, wish)?.canonical()
        }
    };
    print(&format!("{}\n", pulled.parse::<ImageRef>()?.canonical()))?;
    Ok(Status::Success)
}

/// Fetches the first of several images that can be had, and says which that was. Of the others
/// it is said why they were not.
pub(crate) fn fetch_one_of(
    context: &mut Context,
    references: Vec<ImageRef>,
    wish: impl Fn(ImageRef) -> Wish,
) -> Result<ImageRef, CommandError> {
    let mut left = references.len();
    for reference in references {
        left -= 1;
        match fetch(context, &wish(reference.clone())) {
            Ok(_) => return Ok(reference),
            Err(error) if left > 0 && error.kind() != ErrorKind::Interrupted => {
                report::note(&report::chain(&error));
            }
            Err(error) => return Err(error),
        }
    }
    // a name means at least one image
    Err(CommandError::NoSuchObject(String::new()))
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
    let places = places(&wish)?;
    let stop = StopRequests::notice().map_err(CommandError::Terminal)?;
    let cancelled = || stop.came().is_some();
    let tags = list_tags(&wish.reference, &places, usize::MAX, &cancelled);
    let stopped_by = stop.end().map_err(CommandError::Terminal)?;
    let tags = tags.map_err(|error| failure(EngineError::Pull(Box::new(error)), stopped_by))?;
    if let Some(signal) = stopped_by {
        return Err(CommandError::Ended(signal));
    }
    // what was typed may be short for it
    let listed = &wish.reference;
    let repository = format!("{}/{}", listed.registry(), listed.repository());
    let mut status = Status::Success;
    for tag in tags {
        let fetched = match format!("{repository}:{tag}").parse() {
            Ok(reference) => {
                wish.reference = reference;
                fetch(context, &wish)
            }
            Err(error) => Err(error.into()),
        };
        match fetched {
            Ok(_) => print(&format!("{}\n", wish.reference.canonical()))?,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                report::error(&error);
                status = Status::SomeFailed;
            }
        }
    }
    Ok(status)
}

fn places(wish: &Wish) -> Result<Vec<Endpoint>, CommandError> {
    let mut places = wish.registry.places(&wish.reference)?;
    let options = places.iter_mut().map(|place| &mut place.options);
    options.for_each(|options| wish.transfer.apply(options));
    Ok(places)
}

fn failure(source: EngineError, stopped_by: Option<Signal>) -> CommandError {
    match stopped_by {
        Some(signal) if source.kind() == ErrorKind::Interrupted => {
            CommandError::Stopped { signal, source }
        }
        _ => source.into(),
    }
}

/// Fetches what an image means that is here as `name`, perhaps in an older form: where that fails,
/// what is here will do. How it is called here.
pub(crate) fn fetch_newer(
    context: &mut Context,
    references: Vec<ImageRef>,
    wish: impl Fn(ImageRef) -> Wish,
    name: String,
) -> Result<String, CommandError> {
    match fetch_one_of(context, references, wish) {
        Err(error) if error.kind() != ErrorKind::Interrupted => {
            report::note(&format!(
                "{}; the image that is here is used",
                report::chain(&error)
            ));
            Ok(name)
        }
        outcome => outcome.map(|reference| reference.familiar()),
    }
}

/// Fetches an image. Ctrl-C ends it; nothing half fetched is seen by anybody, and the next pull of
/// the image goes on with it. One that comes too late for that leaves the image here and is an
/// error as well.
pub(crate) fn fetch(context: &mut Context, wish: &Wish) -> Result<Pulled, CommandError> {
    if let Some(policy) = policy()? {
        policy.check(Entry::Registry(&wish.reference))?;
    }
    let request = PullRequest {
        reference: wish.reference.clone(),
        platform: wish.platform.clone(),
        places: places(wish)?,
    };
    let progress = Progress::of(wish.progress.progress, wish.quiet)?;
    let engine = context.unpacking_engine()?;
    let stop = StopRequests::notice().map_err(CommandError::Terminal)?;
    let tag = wish.reference.tag().unwrap_or("latest");
    let from = wish.reference.familiar_repository();
    progress.note(&format!("{tag}: Pulling from {from}"));
    let pulled = engine.pull(&request, &progress, &|| stop.came().is_some());
    let stopped_by = stop.end().map_err(CommandError::Terminal)?;
    match pulled {
        Ok(pulled) => {
            progress.finish();
            tell(&progress, &wish.reference, &pulled);
            // too late for this image, but not for what was to come after it
            stopped_by.map_or(Ok(pulled), |signal| Err(CommandError::Ended(signal)))
        }
        Err(error) => {
            progress.clear();
            Err(failure(error, stopped_by))
        }
    }
}

/// Docker's last two lines.
fn tell(progress: &Progress, reference: &ImageRef, pulled: &Pulled) {
    if matches!(progress, Progress::Events) {
        events::pulled(&reference.canonical(), pulled);
    }
    let status = match pulled.newer {
        true => "Downloaded newer image for",
        false => "Image is up to date for",
    };
    progress.note(&format!("Digest: {}", pulled.digest));
    progress.note(&format!("Status: {status} {}", reference.familiar()));
}
