//! `rocker import`.

use std::io::{IsTerminal as _, stdin};

use rocker_engine::ImportOptions;
use rocker_types::ConfigChange;

use super::{CommandError, Context, Outcome, print};
use crate::exit_code::Status;

/// Make an image from an archive of a root file system
///
/// The archive is a tar file, plain or compressed with gzip or zstd. Prints the image's ID.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker import rootfs.tar.gz debian:mine\n  rocker import -c 'CMD [\"bash\"]' -c 'ENV LANG=C.UTF-8' rootfs.tar debian:mine\n  mmdebstrap trixie - | rocker import - trixie"
)]
pub(crate) struct ImportArgs {
    /// Set how containers are run, by an instruction of a Dockerfile: CMD, ENTRYPOINT, ENV,
    /// EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR; repeatable
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<ConfigChange>,

    /// A comment for the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,

    /// The archive; - is standard input
    #[arg(value_name = "FILE|-")]
    file: String,

    /// Name for the image
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

pub(crate) fn import(context: &mut Context, args: ImportArgs) -> Outcome {
    let name = args.name.as_deref().map(str::parse).transpose()?;
    let options = ImportOptions {
        message: args.message,
        changes: args.change,
        ..ImportOptions::default()
    };
    let id = if args.file == "-" {
        if stdin().is_terminal() {
            return Err(CommandError::conflict(
                "cannot import from a terminal",
                "give a file, or pipe the archive in",
            ));
        }
        context
            .unpacking_engine()?
            .import(stdin(), name.as_ref(), &options)?
    } else {
        let file = fs_err::File::open(&args.file).map_err(|source| CommandError::Archive {
            path: args.file.clone(),
            source,
        })?;
        context
            .unpacking_engine()?
            .import(file, name.as_ref(), &options)?
    };
    print(&format!("{id}\n"))?;
    Ok(Status::Success)
}
