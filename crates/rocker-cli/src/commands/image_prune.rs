//! `rocker image prune`.

use std::time::Duration;

use jiff::Timestamp;
use rocker_engine::{PlannedImage, PrunePlan, PruneRequest, RemovedImage};
use rocker_types::{ByteSize, ImageRef};

use super::image_filter::{ImageFilter, ImageFilters};
use super::{Context, Outcome, confirm, print};
use crate::cli::values;
use crate::exit_code::Status;
use crate::ui::human;

/// Remove images that nobody needs
///
/// Those without a name that no container uses, or with --all every image that no container uses;
/// and what pulls left that did not come to their end. Mounted images stay. Shows what goes, asks,
/// and removes exactly that.
///
/// An image is used as long as it has a container; it was last used when the last of them was
/// removed, or else when it came. Of --keep-last, --keep-bytes and --older-than each that is said
/// keeps images, whatever the others say.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker image prune\n  rocker image prune -af --filter until=168h\n  rocker image prune -a --keep-last 10 --dry-run\n  rocker image prune -af --keep-bytes 20g --older-than 72h"
)]
pub(crate) struct PruneArgs {
    /// Remove images with names too
    #[arg(short, long)]
    all: bool,

    /// Do not ask
    #[arg(short, long)]
    force: bool,

    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,

    /// Keep so many of them: those that were used last
    #[arg(long, value_name = "NUMBER")]
    keep_last: Option<usize>,

    /// Keep those that were used last and together take no more than this
    #[arg(long, value_name = "SIZE")]
    keep_bytes: Option<ByteSize>,

    /// Keep those that were used since: how long ago, or a point in time
    #[arg(long, value_name = "WHEN", value_parser = values::moment)]
    older_than: Option<Timestamp>,

    /// Only images that this is true of: until, label or label!, as KEY=VALUE; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = ImageFilter::of_prune)]
    filter: Vec<ImageFilter>,
}

pub(crate) fn prune(context: &mut Context, args: PruneArgs) -> Outcome {
    let engine = context.engine()?;
    let filters = ImageFilters::new(engine, &args.filter)?;
    let plan = engine.plan_prune(&PruneRequest {
        all: args.all,
        wanted: &|image| filters.fit(image),
        unused_since_ns: args.older_than.map(nanoseconds),
        keep_last: args.keep_last,
        keep_bytes: args.keep_bytes.map(ByteSize::bytes),
    })?;
    if args.dry_run {
        let frees = human::size(plan.freed_bytes.saturating_add(plan.unfinished_bytes));
        print(&format!("{}Would free: {frees}\n", lines(&plan)))?;
        return Ok(Status::Success);
    }
    let is_empty = plan.images.is_empty() && plan.unfinished_bytes == 0;
    if !args.force && !is_empty && !confirm(&question(&args, &plan))? {
        return Ok(Status::Success);
    }
    print(&told(&engine.prune_images(&plan)?))?;
    Ok(Status::Success)
}

/// Of moments that do not fit the nearest that does.
fn nanoseconds(moment: Timestamp) -> i64 {
    let moment = moment.as_nanosecond();
    i64::try_from(moment).unwrap_or(if moment < 0 { i64::MIN } else { i64::MAX })
}

fn question(args: &PruneArgs, plan: &PrunePlan) -> String {
    let which = match args.all {
        true => "all images that no container uses",
        false => "all images without a name that no container uses",
    };
    let chosen = args.keep_last.is_some()
        || args.keep_bytes.is_some()
        || args.older_than.is_some()
        || !args.filter.is_empty();
    let which = match chosen {
        true => which.replacen("all", "of", 1) + " these",
        false => which.to_owned(),
    };
    let frees = human::size(plan.freed_bytes.saturating_add(plan.unfinished_bytes));
    format!("This removes {which}:\n{}It frees {frees}.", lines(plan))
}

/// What goes, one a line.
fn lines(plan: &PrunePlan) -> String {
    let mut text: String = plan.images.iter().map(line).collect();
    if plan.unfinished_bytes > 0 {
        let size = human::size(plan.unfinished_bytes);
        text.push_str(&format!("  what unfinished pulls have left  {size}\n"));
    }
    text
}

fn line(planned: &PlannedImage) -> String {
    let image = &planned.image;
    let names: Vec<_> = image.tags.iter().map(ImageRef::familiar).collect();
    let names = match names.as_slice() {
        [] => "<none>".to_owned(),
        names => names.join(" "),
    };
    let ago = i128::from(planned.used_ns);
    let ago = Timestamp::now().as_nanosecond().saturating_sub(ago);
    let ago = Duration::from_nanos(u64::try_from(ago).unwrap_or(0));
    format!(
        "  {}  {names}  {}  last used {} ago\n",
        image.id.short(),
        human::size(image.size_bytes),
        human::duration(ago),
    )
}

fn told(removed: &RemovedImage) -> String {
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
    let freed = human::size(removed.freed_bytes);
    text + &format!("Total reclaimed space: {freed}\n")
}
