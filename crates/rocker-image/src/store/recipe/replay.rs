//! Following a recipe.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use fs_err::File;
use rocker_types::DiffId;
use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::{Errno, pread};

use super::read::{Header, Moves, RecipeReader, Step};
use super::{TarError, attic_name, recipe_name};
use crate::store::archive::Extent;
use crate::store::digest::Hasher;
use crate::store::merged::open_directory;
use crate::store::text::printable;
use crate::store::unpack::split;
use crate::store::{Store, StoreError};

/// What is read of a file at once.
const BUFFER_BYTES: usize = 256 << 10;

impl Store {
    /// How long the tar of a layer is, in bytes.
    ///
    /// # Errors
    ///
    /// [`TarError::NoRecipe`], or [`TarError::Recipe`] if it cannot be read.
    pub fn tar_bytes(&self, layer: &DiffId) -> Result<u64, TarError> {
        Ok(self.open_recipe(layer)?.1.stream_bytes)
    }

    /// Writes the tar that `layer` was unpacked from, byte for byte, and says how long it is.
    ///
    /// The digest is checked at the end: until this returns, nobody should believe what
    /// `output` got.
    ///
    /// # Errors
    ///
    /// [`TarError::Changed`] and [`TarError::FileChanged`] if somebody wrote to the layer's
    /// directory, [`TarError::NoRecipe`] and [`TarError::Recipe`] if nothing says how the tar
    /// was, [`TarError::Output`] if `output` fails.
    pub fn write_tar(&self, layer: &DiffId, output: &mut dyn Write) -> Result<u64, TarError> {
        let (file, header) = self.open_recipe(layer)?;
        let path = file.path().to_owned();
        let damaged = |source| TarError::Recipe {
            path: path.clone(),
            source,
        };
        let (mut recipe, moves) = RecipeReader::open(file, &header).map_err(damaged)?;
        let mut replay = Replay {
            layer,
            source: Source::open(self, layer, moves)?,
            output,
            hasher: Hasher::new(layer.0.algorithm()),
            bytes: 0,
            buffer: vec![0; BUFFER_BYTES],
        };
        loop {
            match recipe.next().map_err(damaged)? {
                Step::Literal(mut left) => {
                    while left > 0 {
                        let bytes = recipe.literal(left).map_err(damaged)?;
                        let length = bytes.len();
                        replay.put(bytes)?;
                        recipe.consume(length);
                        left -= length as u64;
                    }
                }
                Step::File(path) => replay.begin(path)?,
                Step::Run(run) => replay.copy(run)?,
                Step::End => break,
            }
        }
        let actual = DiffId(replay.hasher.finish());
        if actual == *layer {
            Ok(replay.bytes)
        } else {
            let layer = layer.clone();
            Err(TarError::Changed { layer, actual })
        }
    }

    pub(super) fn open_recipe(&self, layer: &DiffId) -> Result<(File, Header), TarError> {
        let path = self.layout().layers().join(recipe_name(layer));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(self.layers_fd(), recipe_name(layer), flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => {
                // a layer that is not there has no recipe either
                self.open_layer(layer)?;
                let layer = layer.clone();
                return Err(TarError::NoRecipe { layer });
            }
            Err(errno) => return Err(StoreError::access("open", path)(errno.into()).into()),
        };
        let mut file = File::from_parts(std::fs::File::from(file), path.as_path());
        match Header::read(&mut file) {
            Ok(header) => Ok((file, header)),
            Err(source) => Err(TarError::Recipe { path, source }),
        }
    }
}

/// Where files of the stream lie.
struct Source {
    root: OwnedFd,
    attic: Option<OwnedFd>,
    moves: Moves,
    /// The directory that was opened last, and whether it is in the attic: archives keep
    /// the files of one directory together.
    parent: Option<(bool, Vec<u8>, OwnedFd)>,
    /// The file that runs are of, with its name.
    file: Option<(Vec<u8>, OwnedFd)>,
    /// How many files were named.
    files: u64,
}

impl Source {
    fn open(store: &Store, layer: &DiffId, moves: Moves) -> Result<Self, TarError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let attic = match openat(store.layers_fd(), attic_name(layer), flags, Mode::empty()) {
            Ok(attic) => Some(attic),
            Err(Errno::NOENT) => None,
            Err(errno) => {
                let path = store.layout().layers().join(attic_name(layer));
                return Err(StoreError::access("open", path)(errno.into()).into());
            }
        };
        Ok(Self {
            root: store.open_layer(layer)?,
            attic,
            moves,
            parent: None,
            file: None,
            files: 0,
        })
    }

    fn begin(&mut self, path: Vec<u8>) -> Result<(), Errno> {
        let moved = self.moves.find(&path, self.files);
        self.files += 1;
        let is_moved = moved.is_some();
        let place = moved.as_deref().unwrap_or(&path);
        let (above, leaf) = split(place);
        let is_same = |(of_attic, directory, _): &(bool, Vec<u8>, OwnedFd)| {
            *of_attic == is_moved && directory == above
        };
        let (_, _, parent) = match self.parent.take().filter(is_same) {
            Some(parent) => self.parent.insert(parent),
            None => {
                let root = if is_moved {
                    self.attic.as_ref().ok_or(Errno::NOENT)?
                } else {
                    &self.root
                };
                let parent = open_directory(root.as_fd(), above)?;
                self.parent.insert((is_moved, above.to_vec(), parent))
            }
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(parent, leaf, flags, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        self.file = Some((path, file));
        Ok(())
    }
}

struct Replay<'a> {
    layer: &'a DiffId,
    source: Source,
    output: &'a mut dyn Write,
    hasher: Hasher,
    bytes: u64,
    buffer: Vec<u8>,
}

impl Replay<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), TarError> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        let written = self.output.write_all(bytes);
        written.map_err(|source| TarError::Output { source })
    }

    fn begin(&mut self, path: Vec<u8>) -> Result<(), TarError> {
        let shown = printable(&path);
        let begun = self.source.begin(path);
        begun.map_err(|errno| match errno {
            // not there, or something else; whatever else the kernel says may be of the moment
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::INVAL | Errno::NXIO => {
                file_changed(self.layer, shown, errno.into())
            }
            errno => unreadable(self.layer, &shown, errno),
        })
    }

    fn copy(&mut self, run: Extent) -> Result<(), TarError> {
        let Extent { mut offset, length } = run;
        let mut left = length;
        let mut buffer = std::mem::take(&mut self.buffer);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            let most = most.min(buffer.len());
            let (path, read) = match &self.source.file {
                Some((path, file)) => (path, pread(file, &mut buffer[..most], offset)),
                None => (&Vec::new(), Ok(0)),
            };
            let read = match read {
                Ok(0) => {
                    let end = io::ErrorKind::UnexpectedEof.into();
                    return Err(file_changed(self.layer, printable(path), end));
                }
                read => read.map_err(|errno| unreadable(self.layer, &printable(path), errno))?,
            };
            self.put(&buffer[..read])?;
            offset += read as u64;
            left -= read as u64;
        }
        self.buffer = buffer;
        Ok(())
    }
}

fn unreadable(layer: &DiffId, path: &str, errno: Errno) -> TarError {
    let path = format!("{path} of layer {layer}");
    StoreError::access("read", path)(errno.into()).into()
}

fn file_changed(layer: &DiffId, path: String, source: io::Error) -> TarError {
    let layer = layer.clone();
    TarError::FileChanged {
        layer,
        path,
        source,
    }
}
