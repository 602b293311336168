//! Performs the steps of a plan against the cgroup file system.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::control;
use super::error::CgroupError;
use super::filter;
use super::layout::Controller;
use super::plan::{CgroupStep, HierarchyPlan};

/// How often a step is repeated when another rocker process removes the common parent, or new
/// processes appear in a cgroup that is being vacated. Each repetition needs a new such event.
const ATTEMPTS: usize = 100;

/// Makes and configures the directory of one hierarchy. On error the directory is gone again.
pub(super) fn apply(plan: &HierarchyPlan) -> Result<(), CgroupError> {
    hand_down(plan, &plan.mount).map_err(|source| delegate_error(plan, &plan.mount, source))?;
    make_directories(plan)?;
    let configured = plan
        .steps
        .iter()
        .try_for_each(|step| perform(&plan.directory, step));
    if configured.is_err() {
        discard(plan);
    }
    configured
}

/// Takes back what [`apply`] made, while nothing is in it.
pub(super) fn discard(plan: &HierarchyPlan) {
    // The error that led here is the one to report; recovery removes the directory by its name.
    let _ = control::remove_directory(&plan.directory);
    let _ = control::remove_directory(&plan.parent);
}

/// Makes the container's directory, and the parent as often as the last container of other
/// rocker processes takes it away.
fn make_directories(plan: &HierarchyPlan) -> Result<(), CgroupError> {
    for _ in 0..ATTEMPTS {
        match make_once(plan)? {
            Made::Complete => return Ok(()),
            Made::ParentVanished => {}
        }
    }
    Err(CgroupError::ParentVanishes {
        path: plan.parent.clone(),
    })
}

enum Made {
    Complete,
    ParentVanished,
}

fn make_once(plan: &HierarchyPlan) -> Result<Made, CgroupError> {
    match control::make_directory(&plan.parent) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(source) => return Err(create_error(&plan.parent, source)),
    }
    match hand_down(plan, &plan.parent) {
        Err(GONE | GONE_WHILE_OPEN) => return Ok(Made::ParentVanished),
        done => done.map_err(|source| delegate_error(plan, &plan.parent, source))?,
    }
    for step in &plan.parent_steps {
        match perform(&plan.parent, step) {
            Err(CgroupError::Inherit { source, .. }) if is_gone(&source) => {
                return Ok(Made::ParentVanished);
            }
            done => done?,
        }
    }
    match make_fresh(&plan.directory) {
        Ok(()) => Ok(Made::Complete),
        Err(GONE | GONE_WHILE_OPEN) => Ok(Made::ParentVanished),
        Err(Errno::EXIST) => Err(CgroupError::InUse {
            path: plan.directory.clone(),
        }),
        Err(source) => Err(create_error(&plan.directory, source)),
    }
}

/// A path that leads through a removed cgroup.
const GONE: Errno = Errno::NOENT;
/// A control file that was opened before its cgroup was removed.
const GONE_WHILE_OPEN: Errno = Errno::NODEV;

fn is_gone(error: &std::io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(GONE | GONE_WHILE_OPEN))
}

/// Makes a directory that was not there. An empty one may be left of the container's last run,
/// by a crash; it is made anew, so that no old limit stays.
fn make_fresh(path: &Path) -> Result<(), Errno> {
    match control::make_directory(path) {
        Err(Errno::EXIST) if control::remove_directory(path).is_ok() => {
            control::make_directory(path)
        }
        done => done,
    }
}

fn create_error(path: &Path, source: Errno) -> CgroupError {
    CgroupError::CreateDirectory {
        path: path.to_owned(),
        source: source.into(),
    }
}

fn delegate_error(plan: &HierarchyPlan, path: &Path, source: Errno) -> CgroupError {
    CgroupError::Delegate {
        controllers: names(&plan.delegate, ""),
        path: path.to_owned(),
        source: source.into(),
    }
}

/// Enables the plan's controllers for the children of `directory`. They are never disabled
/// again: others may have come to rely on them.
fn hand_down(plan: &HierarchyPlan, directory: &Path) -> Result<(), Errno> {
    if plan.delegate.is_empty() {
        return Ok(());
    }
    let file = directory.join("cgroup.subtree_control");
    let enabled = control::read(&file)?;
    let is_enabled = |c: &Controller| enabled.split_whitespace().any(|name| name == c.v2_name());
    let missing: Vec<Controller> = plan
        .delegate
        .iter()
        .copied()
        .filter(|c| !is_enabled(c))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = names(&missing, "+");
    match control::write(&file, &wanted) {
        // A v2 cgroup other than the root of all cannot both hold processes and hand down
        // controllers. Inside a container the mounted cgroup holds the container's processes,
        // us among them.
        Err(Errno::BUSY) if plan.holds_caller && directory == plan.mount => {
            vacate(directory, &file, &wanted)
        }
        done => done,
    }
}

fn names(controllers: &[Controller], prefix: &str) -> String {
    let names: Vec<String> = controllers
        .iter()
        .map(|c| format!("{prefix}{}", c.v2_name()))
        .collect();
    names.join(" ")
}

/// Moves the processes of our own container's root cgroup into a leaf `init` below it, as
/// docker-in-docker and podman do there, and enables the controllers.
fn vacate(directory: &Path, control: &Path, wanted: &str) -> Result<(), Errno> {
    let leaf = directory.join("init");
    match control::make_directory(&leaf) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(source) => return Err(source),
    }
    let mut outcome = Err(Errno::BUSY);
    for _ in 0..ATTEMPTS {
        for pid in control::read(&directory.join("cgroup.procs"))?.lines() {
            match control::write(&leaf.join("cgroup.procs"), pid) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(source) => return Err(source),
            }
        }
        // A process that was forked meanwhile stays behind and makes it busy again.
        outcome = control::write(control, wanted);
        if outcome != Err(Errno::BUSY) {
            break;
        }
    }
    outcome
}

fn perform(directory: &Path, step: &CgroupStep) -> Result<(), CgroupError> {
    match step {
        CgroupStep::Write { file, value, limit } => {
            control::write(file, value).map_err(|source| limit_error(limit, value, file, source))
        }
        CgroupStep::WriteIfPresent { file, value, limit } => match control::write(file, value) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(source) => Err(limit_error(limit, value, file, source)),
        },
        CgroupStep::WriteEach {
            file,
            values,
            limit,
        } => control::write_each(file, values)
            .map_err(|(value, source)| limit_error(limit, value, file, source)),
        CgroupStep::WriteFirst { choices, limit } => write_first(choices, limit),
        CgroupStep::Inherit { file } => inherit(file).map_err(|source| CgroupError::Inherit {
            path: file.clone(),
            source: source.into(),
        }),
        CgroupStep::FilterDevices { rules } => filter_devices(directory, &filter::compile(rules)),
    }
}

fn write_first(choices: &[(PathBuf, String)], limit: &'static str) -> Result<(), CgroupError> {
    let mut outcome = Ok(());
    for (file, value) in choices {
        match control::write(file, value) {
            Ok(()) => return Ok(()),
            Err(source) => outcome = Err(limit_error(limit, value, file, source)),
        }
    }
    outcome
}

fn limit_error(limit: &'static str, value: &str, file: &Path, source: Errno) -> CgroupError {
    CgroupError::Limit {
        limit,
        value: value.to_owned(),
        path: file.to_owned(),
        source: source.into(),
    }
}

/// Copies a list from the cgroup above, unless there is one already.
fn inherit(file: &Path) -> Result<(), Errno> {
    if !control::read(file)?.trim().is_empty() {
        return Ok(());
    }
    let above = file.parent().and_then(Path::parent).zip(file.file_name());
    let (above, name) = above.ok_or(Errno::INVAL)?;
    let value = control::read(&above.join(name))?;
    control::write(file, value.trim())
}

fn filter_devices(
    directory: &Path,
    program: &[rocker_sys::bpf::Instruction],
) -> Result<(), CgroupError> {
    let failed = |source| CgroupError::DeviceFilter {
        path: directory.to_owned(),
        source,
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let cgroup = rustix::fs::open(directory, flags, Mode::empty())
        .map_err(|source| failed(source.into()))?;
    let program = rocker_sys::bpf::load_device_filter(program).map_err(failed)?;
    rocker_sys::bpf::attach_device_filter(cgroup.as_fd(), program.as_fd()).map_err(failed)
}
