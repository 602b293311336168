//! `rocker version`.

use serde_json::json;

use super::{Context, Outcome, print};
use crate::exit_code::Status;
use crate::template::Template;

/// Print the version
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker version\n  rocker version -f '{{.Client.Version}}'"
)]
pub(crate) struct VersionArgs {
    /// How to print: json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `rocker --version` prints.
pub(crate) fn line() -> String {
    format!("rocker version {VERSION}\n")
}

pub(crate) fn version(_: &mut Context, args: VersionArgs) -> Outcome {
    let uname = rustix::system::uname();
    let kernel = uname.release().to_string_lossy();
    let (os, arch) = ("linux", rocker_types::Platform::host().architecture);
    let part = json!({
        "Version": VERSION,
        "Os": os,
        "Arch": arch,
        "KernelVersion": kernel,
    });
    // There is no server; scripts that ask for its version get the one there is.
    let value = json!({"Client": part, "Server": part});
    let text = match args.format.as_deref() {
        None | Some("") => {
            format!("rocker {VERSION}\n OS/Arch:  {os}/{arch}\n Kernel:   {kernel}\n")
        }
        Some("json") => format!("{value}\n"),
        Some(template) => Template::parse(template)?.render(&value)? + "\n",
    };
    print(&text)?;
    Ok(Status::Success)
}
