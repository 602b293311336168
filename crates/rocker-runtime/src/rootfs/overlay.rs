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

use super::filesystem::{FilesystemError, Parameter, attach, new_filesystem};

/// The directories of an overlay.
#[derive(Clone, Debug)]
pub(crate) struct OverlayPlan {
    /// Topmost first.
    pub(crate) lowers: Vec<PathBuf>,
    /// Where writes go; without it the overlay is to be read only.
    pub(crate) writable: Option<Writable>,
}

/// What makes an overlay one that can be written to.
#[derive(Clone, Debug)]
pub(crate) struct Writable {
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
    pub(crate) volatile: bool,
}

impl OverlayPlan {
    fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        let writable = self.writable.iter();
        let writable = writable.flat_map(|writable| [&writable.upper, &writable.work]);
        self.lowers.iter().chain(writable)
    }
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

/// Mounts the overlay on `target`. Leaves the working directory in the layers' common ancestor.
///
/// Since Linux 6.7 layers are added one by one, 500 at most and without a limit of length.
/// Before that, the options are one page of text, in which descriptors name the layers.
pub(crate) fn mount_overlay_on(
    plan: &OverlayPlan,
    target: &Path,
    flags: MountFlags,
) -> Result<(), FilesystemError> {
    let mounted = newest_first(
        || mount_by_context(plan, attributes_of(flags)).map(Some),
        || mount_options_on(plan, target, flags).map(|()| None),
    )?;
    let Some(mount) = mounted else { return Ok(()) };
    let put = || attach(mount.as_fd(), open_place(target)?.as_fd());
    put().map_err(|source| FilesystemError {
        source,
        message: String::new(),
    })
}

/// As [`mount_overlay_on`], detached.
pub(crate) fn mount_overlay(plan: &OverlayPlan) -> Result<OwnedFd, FilesystemError> {
    newest_first(
        || mount_by_context(plan, MountAttrFlags::empty()),
        || mount_by_options(plan),
    )
}

/// The new way to mount, or the old one where the kernel does not know the new.
fn newest_first<T>(
    new: impl FnOnce() -> Result<T, FilesystemError>,
    old: impl FnOnce() -> io::Result<T>,
) -> Result<T, FilesystemError> {
    let with = |message| move |source| FilesystemError { source, message };
    if crate::kernel::version().is_some_and(|version| version < CONTEXT_SINCE) {
        return old().map_err(with(String::new()));
    }
    match new() {
        Err(error) if lacks_lowerdir_plus(&error.source) => old().map_err(with(error.message)),
        result => result,
    }
}

fn attributes_of(flags: MountFlags) -> MountAttrFlags {
    let table = [
        (MountFlags::RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (MountFlags::NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (MountFlags::NODEV, MountAttrFlags::MOUNT_ATTR_NODEV),
    ];
    let set = table.into_iter().filter(|(flag, _)| flags.contains(*flag));
    set.fold(MountAttrFlags::empty(), |all, (_, attribute)| {
        all | attribute
    })
}

/// What kernels without `lowerdir+` answer, or with too long a path for it.
fn lacks_lowerdir_plus(error: &io::Error) -> bool {
    let answers = [Errno::INVAL, Errno::NOSYS, Errno::NAMETOOLONG];
    answers
        .map(|errno| Some(errno.raw_os_error()))
        .contains(&error.raw_os_error())
}

fn mount_by_context(
    plan: &OverlayPlan,
    attributes: MountAttrFlags,
) -> Result<OwnedFd, FilesystemError> {
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
    let writable = plan.writable.as_ref();
    let upper = writable.map(|w| relative(&w.upper)).transpose()?;
    let work = writable.map(|w| relative(&w.work)).transpose()?;
    let mut parameters: Vec<_> = lowers
        .iter()
        .map(|l| Parameter::Text("lowerdir+", l))
        .collect();
    parameters.extend(FIXED);
    parameters.extend(upper.as_deref().map(|d| Parameter::Text("upperdir", d)));
    parameters.extend(work.as_deref().map(|d| Parameter::Text("workdir", d)));
    if writable.is_some_and(|writable| writable.volatile) {
        parameters.push(Parameter::Flag("volatile"));
    }
    new_filesystem("overlay", &parameters, attributes)
}

/// The deepest directory that holds every layer, and is none of them.
fn common_ancestor(plan: &OverlayPlan) -> PathBuf {
    let first = plan.directories().next().and_then(|first| first.parent());
    let mut base = first.unwrap_or(Path::new("/")).to_path_buf();
    for path in plan.directories() {
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
    let place = plan.writable.as_ref().map(|writable| &writable.upper);
    let place = place.ok_or(Errno::INVAL)?;
    mount_options_on(plan, place, MountFlags::empty())?;
    super::filesystem::clone_of(open_place(place)?.as_fd(), rocker_sys::mount::Reach::Mount)
}

fn mount_options_on(plan: &OverlayPlan, target: &Path, flags: MountFlags) -> io::Result<()> {
    let opened: Vec<OwnedFd> = plan
        .directories()
        .map(|directory| open_place(directory))
        .collect::<Result<_, _>>()?;
    rustix::process::chdir("/proc/self/fd")?;
    let names: Vec<String> = opened.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let (lowers, writable) = names.split_at(plan.lowers.len());
    let mut options = format!(
        "index=off,redirect_dir=nofollow,lowerdir={}",
        lowers.join(":")
    );
    if let [upper, work] = writable {
        options.push_str(&format!(",upperdir={upper},workdir={work}"));
    }
    if plan.writable.as_ref().is_some_and(|w| w.volatile) {
        options.push_str(",volatile");
    }
    let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
    Ok(rustix::mount::mount(
        "overlay", target, "overlay", flags, &*options,
    )?)
}

fn open_place(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
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
            writable: Some(Writable {
                upper: path("upper".into()),
                work: path("work".into()),
                volatile: true,
            }),
        };
        for number in 0..127 {
            let layer = path(format!("layer-{number:058}"));
            fs_err::create_dir(&layer).unwrap();
            fs_err::write(layer.join(number.to_string()), "").unwrap();
            plan.lowers.push(layer);
        }
        for name in ["upper", "work", "view"] {
            fs_err::create_dir(path(name.into())).unwrap();
        }

        let mount = mount_by_options(&plan).unwrap();
        plan.writable = None;
        let view = path("view".into());
        mount_options_on(&plan, &view, MountFlags::RDONLY).unwrap();

        for name in ["0", "126"] {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            rustix::fs::openat(&mount, name, flags, Mode::empty()).unwrap();
            assert!(view.join(name).exists(), "{name}");
        }
        rustix::process::chdir("/").unwrap();
    }

    #[test]
    fn layers_are_named_from_their_common_ancestor() {
        let plan = |lower: &str, upper: &str| OverlayPlan {
            lowers: vec![lower.into()],
            writable: Some(Writable {
                upper: upper.into(),
                work: "/var/lib/rocker/containers/c/work".into(),
                volatile: false,
            }),
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
