//! `rocker import`.

use std::io::{IsTerminal as _, stdin};

use rocker_engine::{EngineError, Entry, ImportOptions, WebArchive, server_of};
use rocker_types::{ConfigChange, Diagnose as _, Digest, ErrorKind, ImageRef, Platform};

use super::policy::policy;
use super::registry::TransportArgs;
use super::{CommandError, Context, Outcome, print};
use crate::exit_code::Status;
use crate::report;
use crate::terminal::interruptible;

/// Make an image from an archive of a root file system
///
/// The archive is a tar file, plain or compressed with gzip, zstd, xz or bzip2. From a web server it
/// comes as images come from registries: with the certificates, insecure hosts and proxies that are
/// configured. Prints the image's ID.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker import rootfs.tar.gz debian:mine\n  rocker import -c 'CMD [\"bash\"]' -c 'ENV LANG=C.UTF-8' rootfs.tar debian:mine\n  mmdebstrap trixie - | rocker import - trixie"
)]
pub(crate) struct ImportArgs {
    /// Set how containers are run, by an instruction of a Dockerfile: CMD, ENTRYPOINT, ENV,
    /// EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR; repeatable
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<ConfigChange>,

    /// A comment for the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,

    /// What the image runs on: OS[/ARCH[/VARIANT]]; this host's platform by default
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    /// The archive, or its http or https URL; - is standard input
    #[arg(value_name = "FILE|URL|-")]
    file: String,

    /// Name for the image
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

pub(crate) fn import(context: &mut Context, args: ImportArgs) -> Outcome {
    let name = args.name.as_deref().map(str::parse).transpose()?;
    if let Some(policy) = policy()? {
        policy.check(Entry::Tarball)?;
    }
    if let Some(platform) = args
        .platform
        .as_ref()
        .filter(|platform| platform.os != "linux")
    {
        return Err(CommandError::conflict(
            format!("cannot import for {platform}: rocker runs linux alone"),
            "give linux/ARCH[/VARIANT]",
        ));
    }
    let options = ImportOptions {
        platform: args.platform,
        message: args.message,
        changes: args.change,
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
    } else if args.file.starts_with("http://") || args.file.starts_with("https://") {
        fetch(context, &args.file, name.as_ref(), &options)?
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

/// A URL as it may be shown: without the query, which may be a signature, and without a login.
fn without_secrets(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    match path.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}/{path}")
        }
        None => path.to_owned(),
    }
}

/// Imports what a web server has. Ctrl-C ends it, and nothing of it is left.
fn fetch(
    context: &mut Context,
    url: &str,
    name: Option<&ImageRef>,
    options: &ImportOptions,
) -> Result<Digest, CommandError> {
    let server = server_of(url).map_err(|error| EngineError::Download(Box::new(error)))?;
    let access = TransportArgs::default().options_without_image(&server)?;
    let engine = context.unpacking_engine()?;
    let imported = interruptible(|cancelled| {
        report::note(&format!("Downloading from {}", without_secrets(url)));
        let source = WebArchive {
            url,
            access,
            cancelled,
        };
        engine.import_from(&source, name, options)
    });
    match imported.map_err(CommandError::Terminal)? {
        (Err(source), Some(signal)) if source.kind() == ErrorKind::Interrupted => {
            Err(CommandError::Stopped { signal, source })
        }
        (imported, _) => Ok(imported?),
    }
}
