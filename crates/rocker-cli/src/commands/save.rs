//! `rocker save`.

use std::io::{self, BufWriter, IsTerminal as _, Write, stderr, stdout};
use std::path::Path;

use rocker_engine::{ArchiveFormat, Engine, EngineError, SavedImage};
use rocker_types::{DiffId, ImageRef, Platform};
use rustix::fs::Mode;

use super::{CommandError, Context, Outcome};
use crate::exit_code::Status;
use crate::output_file::OutputFile;
use crate::report;
use crate::ui::human;

/// What is written at once.
const BUFFER_BYTES: usize = 256 << 10;

/// An archive is its owner's alone: images hold what they hold.
const OWN: Mode = Mode::RUSR.union(Mode::WUSR);

/// What `save` writes.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// One tar that docker and OCI tools read
    DockerArchive,
    /// One tar with an OCI image layout alone
    OciArchive,
    /// An OCI image layout as a directory
    OciDir,
}

/// Save images to an archive
///
/// The archive has the images' own layers, uncompressed and byte for byte as they were made,
/// each once: whoever loads it gets images of the same ID. It is both a docker archive and an
/// OCI image layout. An image that is given by its ID has no name in it; a name without a tag
/// means all its tags.
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker save -o debian.tar debian:trixie\n  rocker save app:1 app:2 | ssh host rocker load\n  rocker save --format oci-dir -o layout debian:trixie"
)]
pub(crate) struct SaveArgs {
    /// Where to write; - is standard output
    #[arg(
        short,
        long,
        value_name = "FILE|DIR|-",
        default_value = "-",
        hide_default_value = true
    )]
    output: String,

    /// What to write
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        default_value = "docker-archive"
    )]
    format: Format,

    /// Do not tell about each layer, as is done at a terminal
    #[arg(short, long)]
    quiet: bool,

    /// Only if the images are for this platform: OS[/ARCH[/VARIANT]]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,

    /// Images to save, by name or ID
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

pub(crate) fn save(context: &mut Context, args: SaveArgs) -> Outcome {
    let is_told = !args.quiet && stderr().is_terminal();
    let tell = |layer: &DiffId, bytes: u64| {
        if is_told {
            let size = human::size(bytes);
            report::note(&format!("{}: Saving {size}", layer.0.short()));
        }
    };
    let engine = context.engine()?;
    let images = engine.images_to_save(&args.images)?;
    if let Some(platform) = &args.platform {
        check_platform(engine, &images, platform)?;
    }
    let format = match args.format {
        Format::DockerArchive => ArchiveFormat::Docker,
        Format::OciArchive => ArchiveFormat::Oci,
        Format::OciDir => {
            if args.output == "-" {
                let message = "a directory cannot be written to standard output";
                return Err(CommandError::conflict(message, "name it with -o DIR"));
            }
            engine.save_directory(&images, &tell, Path::new(&args.output))?;
            return Ok(Status::Success);
        }
    };
    write_archive(&args.output, |output| {
        engine.save(&images, format, &tell, output)
    })?;
    Ok(Status::Success)
}

/// Sees that every image is for a platform.
fn check_platform(
    engine: &mut Engine,
    images: &[SavedImage],
    platform: &Platform,
) -> Result<(), CommandError> {
    for image in images {
        let id = image.id.to_string();
        if engine.image_here(&id, Some(platform))?.is_none() {
            let name = image.names.first().and_then(|name| name.full.as_ref());
            return Err(CommandError::OtherPlatform {
                image: name.map_or(id, ImageRef::familiar),
                platform: platform.clone(),
            });
        }
    }
    Ok(())
}

/// Standard output, and whether its reader is gone.
struct Direct {
    file: std::fs::File,
    is_closed: bool,
}

impl Write for Direct {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        let is_closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        self.is_closed |= written.as_ref().is_err_and(is_closed);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Has an archive written to a file or to standard output, as `name` says.
pub(crate) fn write_archive(
    name: &str,
    write: impl FnOnce(&mut dyn io::Write) -> Result<(), EngineError>,
) -> Result<(), CommandError> {
    if name == "-" {
        if stdout().is_terminal() {
            return Err(CommandError::conflict(
                "cannot write an archive to a terminal",
                "name a file with -o FILE, or redirect standard output",
            ));
        }
        // standard output itself looks for line ends
        let direct =
            rustix::io::dup(stdout()).map_err(|errno| CommandError::Output(errno.into()))?;
        let direct = Direct {
            file: direct.into(),
            is_closed: false,
        };
        let mut output = BufWriter::with_capacity(BUFFER_BYTES, direct);
        let written = write(&mut output).map_err(CommandError::from);
        let written = written.and_then(|()| output.flush().map_err(CommandError::Output));
        return match output.get_ref().is_closed {
            true => Err(CommandError::Output(io::ErrorKind::BrokenPipe.into())),
            false => written,
        };
    }
    let failed = |source| CommandError::WriteArchive {
        path: name.to_owned(),
        source,
    };
    let mut output = OutputFile::create(Path::new(name), OWN).map_err(failed)?;
    let mut buffered = BufWriter::with_capacity(BUFFER_BYTES, output.file());
    let written = match write(&mut buffered) {
        Ok(()) => buffered.flush().map_err(failed),
        Err(error) => Err(error.into()),
    };
    drop(buffered);
    match written {
        Ok(()) => output.finish().map_err(failed),
        Err(error) => {
            output.discard();
            Err(error)
        }
    }
}
