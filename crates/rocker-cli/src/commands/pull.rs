//! `rocker pull`.

use std::cell::Cell;

use rocker_engine::{PullRequest, Pulled};
use rocker_types::{Diagnose as _, ErrorKind, ImageRef, Platform};

use super::registry::RegistryArgs;
use super::{CommandError, Context, Outcome, print};
use crate::exit_code::Status;
use crate::report;
use crate::terminal::{SignalPlan, Signals};
use crate::ui::progress::Progress;

/// Fetch an image from a registry
///
/// Progress goes to standard error; standard output gets one line, the image's full name.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker pull debian:trixie\n  rocker pull --platform linux/arm64 localhost:5000/app"
)]
pub(crate) struct PullArgs {
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,

    /// Which of the image's platforms: OS[/ARCH[/VARIANT]]; the host's by default
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    #[command(flatten)]
    registry: RegistryArgs,

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
    pub(crate) registry: RegistryArgs,
}

pub(crate) fn pull(context: &mut Context, args: PullArgs) -> Outcome {
    let reference = args.image.parse()?;
    let wish = Wish {
        reference,
        platform: args.platform,
        quiet: args.quiet,
        registry: args.registry,
    };
    fetch(context, &wish)?;
    print(&format!("{}\n", wish.reference.canonical()))?;
    Ok(Status::Success)
}

/// Fetches an image. Ctrl-C ends it, and nothing half fetched is seen by anybody.
pub(crate) fn fetch(context: &mut Context, wish: &Wish) -> Result<Pulled, CommandError> {
    let request = PullRequest {
        reference: wish.reference.clone(),
        platform: wish.platform.clone(),
        places: wish.registry.places(&wish.reference)?,
    };
    let progress = match wish.quiet {
        true => Progress::Quiet,
        false => Progress::for_stderr(),
    };
    let engine = context.unpacking_engine()?;
    let mut signals = Signals::take(SignalPlan::Interrupt).map_err(CommandError::Terminal)?;
    if !wish.quiet {
        let tag = wish.reference.tag().unwrap_or("latest");
        let from = wish.reference.familiar_repository();
        report::note(&format!("{tag}: Pulling from {from}"));
    }
    let stopped_by = Cell::new(None);
    let cancelled = || {
        let signal = signals.next().ok().flatten();
        stopped_by.set(stopped_by.get().or(signal));
        stopped_by.get().is_some()
    };
    let pulled = engine.pull(&request, &progress, &cancelled);
    signals
        .follow(SignalPlan::Ignore)
        .map_err(CommandError::Terminal)?;
    match pulled {
        Ok(pulled) => {
            progress.finish();
            if !wish.quiet {
                tell(&wish.reference, &pulled);
            }
            Ok(pulled)
        }
        Err(error) => {
            progress.clear();
            Err(match stopped_by.get() {
                Some(signal) if error.kind() == ErrorKind::Interrupted => CommandError::Stopped {
                    signal,
                    source: error,
                },
                _ => error.into(),
            })
        }
    }
}

/// Docker's last two lines.
fn tell(reference: &ImageRef, pulled: &Pulled) {
    let status = match pulled.newer {
        true => "Downloaded newer image for",
        false => "Image is up to date for",
    };
    report::note(&format!("Digest: {}", pulled.digest));
    report::note(&format!("Status: {status} {}", reference.familiar()));
}
