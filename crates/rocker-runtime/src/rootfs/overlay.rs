//! The container's own file system: an overlay of its layers, mounted where only it sees it.
//!
//! Layers are named relative to the deepest directory that holds them all, so that
//! `/proc/mounts` in the container does not tell how the host is laid out.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountFlags};

use super::filesystem::{FilesystemError, Parameter, new_filesystem};

/// The directories of an overlay.
#[derive(Clone, Debug)]
pub(crate) struct OverlayPlan {
    /// Topmost first.
    pub(crate) lowers: Vec<PathBuf>,
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
    pub(crate) volatile: bool,
}

/// `fsconfig(2)` takes at most this much in one string, its final NUL not counted.
const MAX_STRING: usize = 255;

/// Before this an attempt to add layers one by one fails for sure, and writes into the kernel's
/// log.
const CONTEXT_SINCE: (u32, u32) = (6, 5);

/// Always set, whatever the module's defaults are. With an inode index, a restart while the
/// last mount is still being torn down fails with `EBUSY`; redirects would let a forged
/// attribute in a layer name a directory of another.
const FIXED: [Parameter<'static>; 2] = [
    Parameter::Text("index", "off"),
    Parameter::Text("redirect_dir", "nofollow"),
];

/// Mounts the overlay, detached. Leaves the working directory in the layers' common ancestor.
///
/// Since Linux 6.7 layers are added one by one, 500 at most and without a limit of length.
/// Before that, the options are one page of text, in which descriptors name the layers.
pub(crate) fn mount_overlay(plan: &OverlayPlan) -> Result<OwnedFd, FilesystemError> {
    if crate::kernel::version().is_some_and(|version| version < CONTEXT_SINCE) {
        return mount_by_options(plan).map_err(|source| FilesystemError {
            source,
            message: String::new(),
        });
    }
    match mount_by_context(plan) {
        Err(error) if lacks_lowerdir_plus(&error.source) => {
            mount_by_options(plan).map_err(|source| FilesystemError {
                source,
                message: error.message,
            })
        }
        result => result,
    }
}

/// What kernels without `lowerdir+` answer, or with too long a path for it.
fn lacks_lowerdir_plus(error: &io::Error) -> bool {
    let answers = [Errno::INVAL, Errno::NOSYS, Errno::NAMETOOLONG];
    answers
        .map(|errno| Some(errno.raw_os_error()))
        .contains(&error.raw_os_error())
}

fn mount_by_context(plan: &OverlayPlan) -> Result<OwnedFd, FilesystemError> {
    let plain = |source: Errno| FilesystemError {
        source: source.into(),
        message: String::new(),
    };
    let base = common_ancestor(plan);
    rustix::process::chdir(&base).map_err(plain)?;
    let relative = |path: &PathBuf| -> Result<String, FilesystemError> {
        let path = path.strip_prefix(&base).unwrap_or(path);
        let text = path.to_str().ok_or_else(|| plain(Errno::ILSEQ))?;
        if text.len() > MAX_STRING {
            return Err(plain(Errno::NAMETOOLONG));
        }
        Ok(text.to_owned())
    };
    let lowers: Vec<String> = plan.lowers.iter().map(relative).collect::<Result<_, _>>()?;
    let (upper, work) = (relative(&plan.upper)?, relative(&plan.work)?);
    let mut parameters: Vec<_> = lowers
        .iter()
        .map(|l| Parameter::Text("lowerdir+", l))
        .collect();
    parameters.extend(FIXED);
    parameters.push(Parameter::Text("upperdir", &upper));
    parameters.push(Parameter::Text("workdir", &work));
    if plan.volatile {
        parameters.push(Parameter::Flag("volatile"));
    }
    new_filesystem("overlay", &parameters, MountAttrFlags::empty())
}

/// The deepest directory that holds every layer, and is none of them.
fn common_ancestor(plan: &OverlayPlan) -> PathBuf {
    let mut base = plan.upper.parent().unwrap_or(Path::new("/")).to_path_buf();
    for path in plan.lowers.iter().chain([&plan.work]) {
        while !path.starts_with(&base) || path.as_path() == base.as_path() {
            if !base.pop() {
                break;
            }
        }
    }
    base
}

/// The old way: one page of options. The overlay is mounted over its own upper directory,
/// which nobody else sees here, and cloned from there.
pub(crate) fn mount_by_options(plan: &OverlayPlan) -> io::Result<OwnedFd> {
    let open = |path: &PathBuf| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
    };
    let lowers: Vec<OwnedFd> = plan.lowers.iter().map(open).collect::<Result<_, _>>()?;
    let (upper, work) = (open(&plan.upper)?, open(&plan.work)?);
    rustix::process::chdir("/proc/self/fd")?;
    let names: Vec<String> = lowers.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let mut options = format!(
        "index=off,redirect_dir=nofollow,lowerdir={},upperdir={},workdir={}",
        names.join(":"),
        upper.as_raw_fd(),
        work.as_raw_fd(),
    );
    if plan.volatile {
        options.push_str(",volatile");
    }
    let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(
        "overlay",
        &plan.upper,
        "overlay",
        MountFlags::empty(),
        &*options,
    )?;
    let mounted = open(&plan.upper)?;
    super::filesystem::clone_of(mounted.as_fd(), rocker_sys::mount::Reach::Mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a mount namespace of this thread's own, as a container has one.
    #[test]
    fn kernels_without_the_new_parameters_stack_127_layers_too() {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let private = rustix::mount::MountPropagationFlags::PRIVATE
            | rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = |name: String| dir.path().join(name);
        let mut plan = OverlayPlan {
            lowers: Vec::new(),
            upper: path("upper".into()),
            work: path("work".into()),
            volatile: true,
        };
        for number in 0..127 {
            let layer = path(format!("layer-{number:058}"));
            fs_err::create_dir(&layer).unwrap();
            fs_err::write(layer.join(number.to_string()), "").unwrap();
            plan.lowers.push(layer);
        }
        fs_err::create_dir(&plan.upper).unwrap();
        fs_err::create_dir(&plan.work).unwrap();

        let mount = mount_by_options(&plan).unwrap();

        for name in ["0", "126"] {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            rustix::fs::openat(&mount, name, flags, Mode::empty()).unwrap();
        }
        rustix::process::chdir("/").unwrap();
    }

    #[test]
    fn layers_are_named_from_their_common_ancestor() {
        let plan = |lower: &str, upper: &str| OverlayPlan {
            lowers: vec![lower.into()],
            upper: upper.into(),
            work: "/var/lib/rocker/containers/c/work".into(),
            volatile: false,
        };
        let table = [
            (
                "/var/lib/rocker/layers/a",
                "/var/lib/rocker/containers/c/upper",
                "/var/lib/rocker",
            ),
            (
                "/var/lib/rocker/containers/c/x",
                "/var/lib/rocker/containers/c/upper",
                "/var/lib/rocker/containers/c",
            ),
            ("/layers/a", "/var/lib/rocker/containers/c/upper", "/"),
            ("/var/lib", "/var/lib/rocker/containers/c/upper", "/var"),
        ];
        for (lower, upper, base) in table {
            assert_eq!(
                common_ancestor(&plan(lower, upper)),
                Path::new(base),
                "{lower}"
            );
        }
    }
}
