//! `rocker image tree` and `rocker image diff`.

use rocker_engine::{ImageTree, TreeLayer};
use rocker_types::ImageRef;

use super::diff::print_changes;
use super::{Context, Outcome, print};
use crate::exit_code::Status;
use crate::ui::human;

/// Show the layers of an image, with their sizes and who shares them
///
/// The base stands first. Sizes are those of the files in a layer; an image on which another
/// one is built is the one of which a layer is the topmost.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker image tree ubuntu:24.04\n  rocker image tree 3f2a1b0c9d8e"
)]
pub(crate) struct TreeArgs {
    /// The image, by name or ID
    #[arg(value_name = "IMAGE")]
    image: String,
}

/// List what files of an image differ from those of another
///
/// One line for each file: A was added, C was changed, D was deleted. Without a second image it
/// is compared with its own layers but the topmost, so that one sees what the last step of its
/// build did. At a terminal, what a name has that is not shown where it stands is escaped.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker image diff web:2 web:1\n  rocker image diff web:2 | grep ^A"
)]
pub(crate) struct DiffArgs {
    /// The image, by name or ID
    #[arg(value_name = "IMAGE")]
    image: String,

    /// The image to compare it with
    #[arg(value_name = "BASE")]
    base: Option<String>,
}

pub(crate) fn tree(context: &mut Context, args: TreeArgs) -> Outcome {
    let tree = context.engine()?.image_tree(&args.image)?;
    print(&drawn(&tree))?;
    Ok(Status::Success)
}

pub(crate) fn diff(context: &mut Context, args: DiffArgs) -> Outcome {
    let engine = context.engine()?;
    let changes = engine.image_changes(&args.image, args.base.as_deref())?;
    print_changes(&changes)?;
    Ok(Status::Success)
}

fn drawn(tree: &ImageTree) -> String {
    let names: Vec<_> = tree.image.tags.iter().map(ImageRef::canonical).collect();
    let mut text = format!(
        "Image ID: {}\nTags:     [{}]\nSize:     {}\nImage Layers\n",
        tree.image.id.short(),
        names.join(" "),
        human::size(tree.image.size_bytes)
    );
    let last = tree.layers.len().saturating_sub(1);
    for (number, layer) in tree.layers.iter().enumerate() {
        let branch = if number == last {
            "└──"
        } else {
            "├──"
        };
        text.push_str(&format!("{branch} {}\n", described(layer)));
    }
    text
}

fn described(layer: &TreeLayer) -> String {
    let mut text = format!(
        "ID: {} Size: {:>7}",
        layer.id.0.short(),
        human::size(layer.size_bytes)
    );
    if layer.shared_with > 0 {
        text.push_str(&format!(" Shared with: {}", layer.shared_with));
    }
    if !layer.top_of.is_empty() {
        text.push_str(&format!(" Top Layer of: [{}]", layer.top_of.join(" ")));
    }
    text
}
