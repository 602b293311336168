//! Fetching images, for whoever needs one.

use rocker_engine::{Endpoint, EngineError, Entry, PullPreview, PullRequest, Pulled};
use rocker_types::{Diagnose as _, ErrorKind, ImageRef, Platform, Signal};

use super::policy::policy;
use super::registry::RegistryArgs;
use super::transfer_args::TransferArgs;
use super::{CommandError, Context};
use crate::report;
use crate::terminal::StopRequests;
use crate::ui::events;
use crate::ui::progress::{Progress, ProgressArgs};

/// How to fetch images, and how to tell about it.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) platform: Option<Platform>,
    pub(crate) quiet: bool,
    pub(crate) progress: ProgressArgs,
    pub(crate) registry: RegistryArgs,
    pub(crate) transfer: TransferArgs,
}

/// Asks for several images, one after the other, for the first that its registry has and gives us;
/// of those before it, it is said why they were not. A registry that does not answer is the end:
/// what the next has under this name may be somebody else's. `registry` is how to ask.
///
/// # Errors
///
/// That of the last one, or of the first that is the end, and [`CommandError::Usage`] if a password
/// was to go to several registries.
pub(super) fn first_of<T>(
    references: Vec<ImageRef>,
    registry: &RegistryArgs,
    mut ask: impl FnMut(ImageRef) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let mut left = references.len();
    if left > 1 && registry.has_creds() {
        return Err(CommandError::conflict(
            "--creds is for one registry, and the image may be at several",
            "say the registry as well",
        ));
    }
    for reference in references {
        left -= 1;
        match ask(reference) {
            Ok(found) => return Ok(found),
            Err(error)
                if left > 0 && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Denied) =>
            {
                report::note(&report::chain(&error));
            }
            Err(error) => return Err(error),
        }
    }
    // a name means at least one image
    Err(CommandError::NoSuchObject(String::new()))
}

/// Fetches the [first](first_of) of several images, and says which that was.
pub(crate) fn fetch_one_of(
    context: &mut Context,
    references: Vec<ImageRef>,
    wish: &Wish,
) -> Result<ImageRef, CommandError> {
    first_of(references, &wish.registry, |reference| {
        fetch(context, &reference, wish).map(|_| reference)
    })
}

/// Fetches an image. Ctrl-C ends it; nothing half fetched is seen by anybody, and the next pull of
/// the image goes on with it. One that comes too late for that leaves the image here and is an
/// error as well.
pub(crate) fn fetch(
    context: &mut Context,
    reference: &ImageRef,
    wish: &Wish,
) -> Result<Pulled, CommandError> {
    let request = request(reference, wish)?;
    let progress = Progress::of(wish.progress.progress, wish.quiet)?;
    let engine = context.unpacking_engine()?;
    let stop = StopRequests::notice().map_err(CommandError::Terminal)?;
    let digest = reference.digest().map(ToString::to_string);
    let what = digest.as_deref().or(reference.tag());
    let from = reference.familiar_repository();
    progress.note(&format!(
        "{}: Pulling from {from}",
        what.unwrap_or("latest")
    ));
    let pulled = engine.pull(&request, &progress, &|| stop.came().is_some());
    let stopped_by = stop.end().map_err(CommandError::Terminal)?;
    match pulled {
        Ok(pulled) => {
            progress.finish();
            tell(&progress, reference, &pulled);
            // too late for this image, but not for what was to come after it
            stopped_by.map_or(Ok(pulled), |signal| Err(CommandError::Ended(signal)))
        }
        Err(error) => {
            progress.clear();
            Err(failure(error, stopped_by))
        }
    }
}

/// What fetching an image would fetch.
pub(crate) fn look(
    context: &mut Context,
    reference: &ImageRef,
    wish: &Wish,
) -> Result<PullPreview, CommandError> {
    let request = request(reference, wish)?;
    let engine = context.unpacking_engine()?;
    let stop = StopRequests::notice().map_err(CommandError::Terminal)?;
    let preview = engine.preview_pull(&request, &|| stop.came().is_some());
    let stopped_by = stop.end().map_err(CommandError::Terminal)?;
    preview.map_err(|error| failure(error, stopped_by))
}

/// What the engine is to fetch, if the machine's policy lets it in.
fn request(reference: &ImageRef, wish: &Wish) -> Result<PullRequest, CommandError> {
    if let Some(policy) = policy()? {
        policy.check(Entry::Registry(reference))?;
    }
    Ok(PullRequest {
        reference: reference.clone(),
        platform: wish.platform.clone(),
        places: places(reference, wish)?,
    })
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

/// Where the image may be, asked as the command line says.
pub(crate) fn places(reference: &ImageRef, wish: &Wish) -> Result<Vec<Endpoint>, CommandError> {
    let mut places = wish.registry.places(reference)?;
    let options = places.iter_mut().map(|place| &mut place.options);
    options.for_each(|options| wish.transfer.apply(options));
    Ok(places)
}

/// An error of the engine, as that of a signal if one stopped it.
pub(crate) fn failure(source: EngineError, stopped_by: Option<Signal>) -> CommandError {
    match stopped_by {
        Some(signal) if source.kind() == ErrorKind::Interrupted => {
            CommandError::Stopped { signal, source }
        }
        _ => source.into(),
    }
}
