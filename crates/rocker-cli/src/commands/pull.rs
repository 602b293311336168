//! `rocker pull`.

use rocker_engine::{Endpoint, Engine, EngineError, PullRequest, Pulled};
use rocker_types::{Diagnose as _, ErrorKind, ImageRef, Platform, Signal};

use super::container_args::PullWhen;
use super::registry::RegistryArgs;
use super::transfer_args::TransferArgs;
use super::{CommandError, Context, Outcome, print};
use crate::exit_code::Status;
use crate::report;
use crate::terminal::StopRequests;
use crate::ui::events;
use crate::ui::progress::{Progress, ProgressArgs};

/// Fetch an image from a registry
///
/// Progress goes to standard error; standard output gets one line, the image's full name. A pull
/// that is interrupted or killed, or that fails because of the network, keeps what came: the next
/// pull of the image goes on from there, for a week or until `rocker image prune`.
///
/// With `--progress json`, each line of standard error but an error is an object with the key
/// "event": resolving; resolved (digest, layers with digest and size); layer (digest, state and,
/// while bytes come, done and total); retrying (what, cause, seconds); not-there (registry, cause);
/// committing; pulled (image, id, digest, newer). States of a layer are exists, waiting, elsewhere
/// (another pull gets it), resuming, verifying, downloading, extracting and done.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker pull debian:trixie\n  rocker pull --platform linux/arm64 localhost:5000/app\n  rocker pull -a quay.io/team/app\\n  rocker pull --policy missing --retry 10 --stall-timeout 2m registry.example.org/large"
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

    /// The image: NAME[:TAG][@DIGEST]
    #[arg(value_name = "IMAGE")]
    image: String,
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
    let reference: ImageRef = args.image.parse()?;
    let wish = Wish {
        reference,
        platform: args.platform,
        quiet: args.quiet,
        progress: args.progress,
        registry: args.registry,
        transfer: args.transfer,
    };
    if args.all_tags {
        return pull_all_tags(context, &args.image, wish);
    }
    let platform = wish.platform.as_ref();
    let is_here =
        args.policy != PullWhen::Always && context.engine()?.has_image(&args.image, platform)?;
    match (args.policy, is_here) {
        (PullWhen::Missing | PullWhen::Never, true) => {}
        (PullWhen::Never, false) => return Err(EngineError::NoSuchImage(args.image).into()),
        (PullWhen::Newer, true) => fetch_newer(context, &wish)?,
        (PullWhen::Always | PullWhen::Missing | PullWhen::Newer, _) => {
            fetch(context, &wish)?;
        }
    }
    print(&format!("{}\n", wish.reference.canonical()))?;
    Ok(Status::Success)
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
    let tags = Engine::tags(&places, repository, &|| stop.came().is_some());
    let stopped_by = stop.came();
    stop.end().map_err(CommandError::Terminal)?;
    let mut status = Status::Success;
    for tag in tags.map_err(|error| failure(error, stopped_by))? {
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

/// Fetches an image that is here, perhaps in an older form: where that fails, what is here will do.
pub(crate) fn fetch_newer(context: &mut Context, wish: &Wish) -> Result<(), CommandError> {
    match fetch(context, wish) {
        Err(error) if error.kind() != ErrorKind::Interrupted => {
            report::note(&format!(
                "{}; the image that is here is used",
                report::chain(&error)
            ));
            Ok(())
        }
        outcome => outcome.map(drop),
    }
}

/// Fetches an image. Ctrl-C ends it; nothing half fetched is seen by anybody, and the next pull of
/// the image goes on with it.
pub(crate) fn fetch(context: &mut Context, wish: &Wish) -> Result<Pulled, CommandError> {
    let request = PullRequest {
        reference: wish.reference.clone(),
        platform: wish.platform.clone(),
        places: places(wish)?,
    };
    let progress = Progress::of(wish.progress.progress, wish.quiet)?;
    let engine = context.engine()?;
    let stop = StopRequests::notice().map_err(CommandError::Terminal)?;
    let tag = wish.reference.tag().unwrap_or("latest");
    let from = wish.reference.familiar_repository();
    progress.note(&format!("{tag}: Pulling from {from}"));
    let pulled = engine.pull(&request, &progress, &|| stop.came().is_some());
    let stopped_by = stop.came();
    stop.end().map_err(CommandError::Terminal)?;
    match pulled {
        Ok(pulled) => {
            progress.finish();
            tell(&progress, &wish.reference, &pulled);
            Ok(pulled)
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
