//! The container's root as a descriptor: the only way from a path of the container to a file.
//!
//! A path is never given to the kernel as text that crosses the root. It is resolved with the
//! root as `/` (`RESOLVE_IN_ROOT`), magic links of procfs are refused, and what comes out is a
//! descriptor that every later step acts on (CVE-2021-30465 and its family).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::plan::components;

/// The kernel's own limit for links in one path.
const MAX_LINKS: usize = 40;

/// The kernel gives up on a path (`EAGAIN`) when something is renamed under it. Who shares a
/// volume with others can do that for ever.
const MAX_TRIES: u32 = 1_000;

/// What is made where a path ends and nothing is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A directory, 0755.
    Directory,
    /// An empty file, 0644.
    File,
}

/// The root of a container's file system.
#[derive(Debug)]
pub(crate) struct Root(pub(super) OwnedFd);

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Root {
    /// Takes the root of a mount.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The root of the calling process.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open("/", flags, Mode::empty())?))
    }

    /// What `path` names, links followed inside the root, as an `O_PATH` descriptor.
    ///
    /// `ELOOP` if a magic link of procfs lies on the way.
    pub(crate) fn resolve(&self, path: &str) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(self.open(path, resolve)?)
    }

    /// What `path` names if no link lies on the way, as an `O_PATH` descriptor.
    pub(crate) fn resolve_without_links(&self, path: &str) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        Ok(self.open(path, resolve)?)
    }

    fn open(&self, path: &str, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let path = if path.is_empty() { "/" } else { path };
        for _ in 1..MAX_TRIES {
            match rustix::fs::openat2(&self.0, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    /// What `path` names, made if missing, with the directories on the way to it.
    ///
    /// A link whose target is missing is followed inside the root and its target made, as
    /// images with `/etc/resolv.conf -> ../run/…` need it.
    pub(crate) fn ensure(&self, path: &str, missing: Missing) -> io::Result<OwnedFd> {
        match self.resolve(path) {
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {}
            result => return result,
        }
        let mut walk = Walk {
            root: self,
            above: Vec::new(),
            todo: components(path).into_iter().map(Into::into).collect(),
            links: 0,
        };
        walk.run(missing)
    }

    /// A real directory directly below the root, made if missing. A link or a file in its
    /// place is `ENOTDIR`, whatever it points at.
    pub(crate) fn real_directory(&self, name: &str) -> io::Result<OwnedFd> {
        real_directory(self.as_fd(), name)
    }
}

/// A real directory in `parent`, made if missing; `name` is one component.
pub(crate) fn real_directory(parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(parent, name, flags, Mode::empty());
    match open() {
        Err(Errno::NOENT) => {
            rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
            Ok(open()?)
        }
        result => Ok(result?),
    }
}

/// A directory that is new for certain, in a file system of our own.
pub(super) fn new_directory(parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

/// The slow way: one component after the other, none of them followed by the kernel.
struct Walk<'a> {
    root: &'a Root,
    /// The directories from the root to where we are; empty is the root itself.
    above: Vec<OwnedFd>,
    todo: VecDeque<String>,
    links: usize,
}

impl Walk<'_> {
    fn here(&self) -> BorrowedFd<'_> {
        self.above.last().map_or(self.root.as_fd(), AsFd::as_fd)
    }

    fn run(&mut self, missing: Missing) -> io::Result<OwnedFd> {
        while let Some(name) = self.todo.pop_front() {
            if name == ".." {
                self.above.pop();
                continue;
            }
            let is_last = self.todo.is_empty();
            let entry = self.open_or_make(&name, is_last.then_some(missing))?;
            let kind = FileType::from_raw_mode(rustix::fs::fstat(&entry)?.st_mode);
            if kind == FileType::Symlink {
                self.follow(&entry)?;
            } else if kind == FileType::Directory {
                self.above.push(entry);
            } else if is_last {
                return Ok(entry);
            } else {
                return Err(Errno::NOTDIR.into());
            }
        }
        match self.above.pop() {
            Some(directory) => Ok(directory),
            None => Ok(self.root.resolve("/")?),
        }
    }

    fn open_or_make(&self, name: &str, last: Option<Missing>) -> Result<OwnedFd, Errno> {
        let path_only = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(self.here(), name, path_only, Mode::empty());
        match open() {
            Err(Errno::NOENT) => {}
            result => return result,
        }
        let made = if last == Some(Missing::File) {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(0o644);
            rustix::fs::openat(self.here(), name, flags | OFlags::NOFOLLOW, mode).map(drop)
        } else {
            rustix::fs::mkdirat(self.here(), name, Mode::from_raw_mode(0o755))
        };
        match made {
            // Somebody who shares this directory was faster; what it is shows when it is opened.
            Ok(()) | Err(Errno::EXIST) => open(),
            Err(error) => Err(error),
        }
    }

    fn follow(&mut self, link: &OwnedFd) -> io::Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        let target = rustix::fs::readlinkat(link, "", Vec::new())?;
        let target = target.to_str().map_err(|_| Errno::ILSEQ)?;
        if target.starts_with('/') {
            self.above.clear();
        }
        let parts: Vec<&str> = target
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        for part in parts.into_iter().rev() {
            self.todo.push_front(part.to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, fstat, mkdirat, symlinkat};
    use std::path::Path;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        mkdirat(CWD, dir.path().join("root"), Mode::RWXU).unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir.path().join("root"), flags, Mode::empty()).unwrap();
        (dir, Root::new(fd))
    }

    fn link(target: &str, at: &Path) {
        symlinkat(target, CWD, at).unwrap();
    }

    #[test]
    fn missing_targets_are_made_inside_the_root_whatever_links_say() {
        for target in ["../../victim/x", "/victim/x", "../victim/x"] {
            let (dir, root) = root();
            link(target, &dir.path().join("root/link"));

            root.ensure("/link/new", Missing::File).unwrap();

            assert!(dir.path().join("root/victim/x/new").is_file(), "{target}");
            assert!(!dir.path().join("victim").exists(), "{target}");
        }
    }

    #[test]
    fn a_dangling_link_to_a_file_is_filled_at_its_target() {
        let (dir, root) = root();
        mkdirat(CWD, dir.path().join("root/etc"), Mode::RWXU).unwrap();
        link(
            "../run/stub/resolv.conf",
            &dir.path().join("root/etc/resolv.conf"),
        );

        let made = root.ensure("/etc/resolv.conf", Missing::File).unwrap();

        let again = root.resolve("/run/stub/resolv.conf").unwrap();
        assert_eq!(fstat(&made).unwrap().st_ino, fstat(&again).unwrap().st_ino);
    }

    #[test]
    fn a_link_in_the_place_of_a_real_directory_is_refused() {
        let (dir, root) = root();
        link("/tmp", &dir.path().join("root/dev"));
        let error = root.real_directory("dev").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::NOTDIR.raw_os_error()));
        root.real_directory("proc").unwrap();
        assert!(dir.path().join("root/proc").is_dir());
    }

    #[test]
    fn links_in_a_circle_end() {
        let (dir, root) = root();
        link("b/x", &dir.path().join("root/a"));
        link("a/x", &dir.path().join("root/b"));
        assert!(root.ensure("/a", Missing::Directory).is_err());
    }

    #[test]
    fn magic_links_are_refused() {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = Root::new(rustix::fs::open("/", flags, Mode::empty()).unwrap());
        for path in ["/proc/self/cwd", "/proc/self/root/etc", "/proc/self/fd/0"] {
            let error = root.resolve(path).unwrap_err();
            assert_eq!(
                error.raw_os_error(),
                Some(Errno::LOOP.raw_os_error()),
                "{path}"
            );
        }
    }
}
