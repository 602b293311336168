//! `rocker image prune`.

use rocker_engine::ImageSummary;

use super::image_filter::{ImageFilter, ImageFilters};
use super::{Context, Outcome, confirm, print};
use crate::exit_code::Status;
use crate::ui::human;

/// Remove images that nobody needs
///
/// Those without a name that no container uses, or with --all every image that no container uses;
/// and what pulls left that did not come to their end. Asks first.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker image prune\n  rocker image prune -af --filter until=168h"
)]
pub(crate) struct PruneArgs {
    /// Remove images with names too
    #[arg(short, long)]
    all: bool,

    /// Do not ask
    #[arg(short, long)]
    force: bool,

    /// Only images that this is true of: until, label or label!, as KEY=VALUE; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = ImageFilter::of_prune)]
    filter: Vec<ImageFilter>,
}

pub(crate) fn prune(context: &mut Context, args: PruneArgs) -> Outcome {
    let which = match args.all {
        true => "all images that no container uses",
        false => "all images without a name that no container uses",
    };
    if !args.force && !confirm(&format!("This removes {which}."))? {
        return Ok(Status::Success);
    }
    let engine = context.engine()?;
    let filters = ImageFilters::new(engine, &args.filter)?;
    let wanted = |image: &ImageSummary| filters.fit(image);
    let removed = engine.prune_images(args.all, &wanted)?;
    let mut text = String::new();
    if !removed.deleted.is_empty() {
        text.push_str("Deleted Images:\n");
        let untagged = removed
            .untagged
            .iter()
            .map(|name| format!("untagged: {name}\n"));
        let deleted = removed.deleted.iter().map(|id| format!("deleted: {id}\n"));
        text.extend(untagged.chain(deleted));
        text.push('\n');
    }
    if removed.unfinished_bytes > 0 {
        text.push_str(&format!(
            "Deleted what unfinished pulls had left: {}\n\n",
            human::size(removed.unfinished_bytes)
        ));
    }
    print(&format!(
        "{text}Total reclaimed space: {}\n",
        human::size(removed.freed_bytes)
    ))?;
    Ok(Status::Success)
}
