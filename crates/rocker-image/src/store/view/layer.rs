//! What a container has changed, as the tar of a layer.
//!
//! Source: OCI image-spec `layer.md`, "Whiteouts".

use std::io::Write;
use std::os::fd::AsFd as _;

use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

use super::ContainerView;
use super::diff::is_mount_point;
use super::export::{Export, ExportError, entry};
use super::walk::Walk;
use crate::store::archive::EntryKind;
use crate::store::merged::{look_up, open_directory};
use crate::store::unpack::{is_opaque, is_whiteout, join, split};

impl ContainerView {
    /// Writes the upper directory as a layer: deleted files as whiteouts, and directories that
    /// hide those of the image as opaque ones. Places to mount on that the image does not have
    /// are left out.
    ///
    /// # Errors
    ///
    /// [`ExportError`].
    pub fn layer(&self, output: &mut dyn Write) -> Result<(), ExportError> {
        let roots: Vec<_> = self.upper.iter().collect();
        let mut export = Export::new(&roots, output);
        if let Some(upper) = &self.upper {
            let stat = fstat(upper).map_err(self.failed(b""))?;
            export.put(&entry(b"./", EntryKind::Directory, &stat))?;
        }
        let mut walk = Walk::new(&roots).map_err(self.failed(b""))?;
        while let Some((path, node)) = walk
            .next_on_disk()
            .map_err(|(path, errno)| self.failed(&path)(errno))?
        {
            let (above, leaf) = split(&path);
            if is_whiteout(&node.stat) {
                let mark = join(above, &[b".wh.", leaf].concat());
                export.put(&entry(&mark, EntryKind::File { size: 0 }, &node.stat))?;
                continue;
            }
            if is_mount_point(&path, &node.stat) && look_up(&self.lowers, &path)?.is_none() {
                continue;
            }
            self.add_to(&mut export, &path, &node)?;
            if node.file_type() == FileType::Directory
                && self.hides(&path).map_err(self.failed(&path))?
            {
                let mark = join(&path, b".wh..wh..opq");
                export.put(&entry(&mark, EntryKind::File { size: 0 }, &node.stat))?;
            }
        }
        export.finish()
    }

    fn hides(&self, path: &[u8]) -> Result<bool, Errno> {
        let Some(upper) = &self.upper else {
            return Ok(false);
        };
        match open_directory(upper.as_fd(), path) {
            Ok(directory) => Ok(is_opaque(directory.as_fd())),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}
