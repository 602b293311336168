//! From a request and an image to a [`Definition`]: every default decided, every user error
//! found, nothing touched.

mod back;
mod error;

use std::collections::BTreeMap;

use rocker_types::{
    Access, CapabilitySet, ContainerId, DiffId, Digest, ImageConfig, Propagation, RestartPolicy,
    Signal, UserSpec, VolumeSource, VolumeSpec,
};

use crate::definition::{Definition, MountDefinition, NetworkMode, Resources};
use crate::request::CreateRequest;

pub(crate) use back::process_config;
pub use error::ResolveError;

/// The search path of a container whose image names none; docker's.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Processes and threads of a container unless told otherwise.
const DEFAULT_PIDS: u64 = 4096;

/// Below this a container cannot even start; docker's number.
const LEAST_MEMORY_BYTES: u64 = 6 << 20;

/// The longest host name that the kernel takes, `__NEW_UTS_LEN` in its `utsname.h`.
const HOST_NAME_MAX: usize = 64;

/// The longest part between two dots, from RFC 1035.
const LABEL_MAX: usize = 63;

/// An image that is here, as far as running it goes.
#[derive(Clone, Debug)]
pub(crate) struct LocalImage {
    /// Digest of the config.
    pub(crate) id: Digest,
    /// Layers, base first.
    pub(crate) layers: Vec<DiffId>,
    /// The config.
    pub(crate) config: ImageConfig,
}

/// Decides everything. `id` gives the default host name. Anonymous volumes have no names yet.
pub(crate) fn resolve(
    request: &CreateRequest,
    image: &LocalImage,
    id: &ContainerId,
) -> Result<Definition, ResolveError> {
    check_conflicts(request)?;
    check_platform(request, image)?;
    let config = &image.config.config;
    let (entrypoint, cmd) = command(request, image)?;
    let (user, stop_signal) = identity(request, image)?;
    Ok(Definition {
        image: request.image.clone(),
        image_id: image.id.clone(),
        layers: image.layers.clone(),
        env: environment(request, &config.env, id)?,
        working_dir: working_dir(request, &config.working_dir)?,
        user,
        hostname: hostname(request, id)?,
        labels: labels(request, &config.labels),
        stop_signal,
        tty: request.tty,
        open_stdin: request.interactive,
        stdin_once: request.stdin_once,
        attach_stdout: request.attach_stdout,
        attach_stderr: request.attach_stderr,
        network: request.network,
        ports: request.ports.clone(),
        exposed: config.exposed_ports.keys().cloned().collect(),
        mounts: mounts(request, image)?,
        tmpfs: request.tmpfs.clone(),
        read_only: request.read_only,
        resources: resources(request)?,
        capabilities: capabilities(request)?,
        cap_add: request.cap_add.clone(),
        cap_drop: request.cap_drop.clone(),
        privileged: request.privileged,
        init: request.init,
        restart: request.restart,
        auto_remove: request.auto_remove,
        create_command: request.create_command.clone(),
        entrypoint,
        cmd,
    })
}

fn check_conflicts(request: &CreateRequest) -> Result<(), ResolveError> {
    if request.auto_remove && request.restart != RestartPolicy::No {
        return Err(ResolveError::Conflict {
            one: "--rm",
            other: "--restart",
        });
    }
    match request.network {
        NetworkMode::Host if !request.ports.is_empty() => Err(ResolveError::Conflict {
            one: "-p",
            other: "--network host",
        }),
        NetworkMode::None if !request.ports.is_empty() => Err(ResolveError::Conflict {
            one: "-p",
            other: "--network none",
        }),
        NetworkMode::Bridge | NetworkMode::None | NetworkMode::Host => Ok(()),
    }
}

fn check_platform(request: &CreateRequest, image: &LocalImage) -> Result<(), ResolveError> {
    use rocker_types::Platform;
    let config = &image.config;
    let found = Platform {
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
    };
    let wanted = request.platform.clone().unwrap_or_else(Platform::host);
    // an explicit --platform is the user's own word: binfmt handlers may run it
    let runs_here =
        found.satisfies(&wanted) || (found.os == "linux" && found.architecture.is_empty());
    if runs_here {
        Ok(())
    } else {
        Err(ResolveError::WrongPlatform {
            image: request.image.clone(),
            found: found.to_string(),
            host: wanted.to_string(),
        })
    }
}

/// Docker's rule: a new entrypoint drops the image's command; new words replace it.
fn command(
    request: &CreateRequest,
    image: &LocalImage,
) -> Result<(Vec<String>, Vec<String>), ResolveError> {
    let config = &image.config.config;
    let entrypoint = match &request.entrypoint {
        Some(words) => words.clone(),
        None => config.entrypoint.clone().unwrap_or_default(),
    };
    let cmd = match (&request.command, &request.entrypoint) {
        (words, _) if !words.is_empty() => words.clone(),
        (_, Some(_)) => Vec::new(),
        (_, None) => config.cmd.clone().unwrap_or_default(),
    };
    let all_words = || entrypoint.iter().chain(&cmd);
    if all_words().next().is_none_or(String::is_empty) {
        return Err(ResolveError::NoCommand {
            image: request.image.clone(),
        });
    }
    if let Some(word) = all_words().find(|word| word.contains('\0')) {
        return Err(ResolveError::ControlCharacters {
            what: "argument",
            value: word.clone(),
        });
    }
    Ok((entrypoint, cmd))
}

fn identity(
    request: &CreateRequest,
    image: &LocalImage,
) -> Result<(UserSpec, Signal), ResolveError> {
    let config = &image.config.config;
    let user = match &request.user {
        Some(user) => user.clone(),
        None => config
            .user
            .parse()
            .map_err(|source| ResolveError::BadImageUser {
                image: request.image.clone(),
                source,
            })?,
    };
    let signal = match (request.stop_signal, &config.stop_signal) {
        (Some(signal), _) => signal,
        (None, Some(text)) => text
            .parse()
            .map_err(|source| ResolveError::BadImageSignal {
                image: request.image.clone(),
                source,
            })?,
        (None, None) => Signal::TERM,
    };
    Ok((user, signal))
}

/// PATH, HOSTNAME and TERM, then the image's variables, then the user's; a later one of the
/// same name takes the earlier one's place.
fn environment(
    request: &CreateRequest,
    image: &[String],
    id: &ContainerId,
) -> Result<Vec<String>, ResolveError> {
    let mut env: Vec<String> = vec![DEFAULT_PATH.into()];
    // On the host's network a container has the host's name.
    let own = hostname(request, id)?;
    let name = own.unwrap_or_else(|| {
        let host = rustix::system::uname();
        host.nodename().to_string_lossy().into_owned()
    });
    env.push(format!("HOSTNAME={name}"));
    if request.tty {
        env.push("TERM=xterm".into());
    }
    set_variables(&mut env, image)?;
    set_variables(&mut env, &request.env)?;
    Ok(env)
}

/// Sets `NAME=VALUE`s; one of a known name takes the known one's place.
pub(crate) fn set_variables(
    env: &mut Vec<String>,
    variables: &[String],
) -> Result<(), ResolveError> {
    for variable in variables {
        let name = variable
            .split_once('=')
            .map(|(name, _)| name)
            .filter(|name| !name.is_empty());
        let Some(name) = name.filter(|_| !variable.contains('\0')) else {
            return Err(ResolveError::BadVariable(variable.clone()));
        };
        // init writes HOME nowhere, but others build passwd lines from it (CVE-2022-4318)
        if name == "HOME" && variable.bytes().any(|b| b < 0x20 || b == 0x7f) {
            return Err(ResolveError::ControlCharacters {
                what: "HOME",
                value: variable.clone(),
            });
        }
        match env.iter_mut().find(|known| {
            known
                .split_once('=')
                .is_some_and(|(known, _)| known == name)
        }) {
            Some(known) => known.clone_from(variable),
            None => env.push(variable.clone()),
        }
    }
    Ok(())
}

/// The working directory of `exec`: the flag's, or the container's.
pub(crate) fn exec_working_dir(
    flag: Option<&str>,
    containers: &str,
) -> Result<String, ResolveError> {
    match flag {
        None => Ok(containers.to_owned()),
        Some(text) if text.starts_with('/') && !text.contains('\0') && text.len() <= 4095 => {
            Ok(text.to_owned())
        }
        Some(text) => Err(ResolveError::BadWorkingDir(
            text.chars().take(200).collect(),
        )),
    }
}

fn working_dir(request: &CreateRequest, image: &str) -> Result<String, ResolveError> {
    let text = request.working_dir.as_deref().unwrap_or(image);
    let bad = || ResolveError::BadWorkingDir(text.chars().take(200).collect());
    if text.contains('\0') || text.len() > 4095 {
        return Err(bad());
    }
    match text {
        "" => Ok("/".into()),
        absolute if absolute.starts_with('/') => Ok(absolute.into()),
        // images in the wild have relative ones; docker refuses the flag, podman clamps both
        relative if request.working_dir.is_none() => Ok(format!("/{relative}")),
        _ => Err(bad()),
    }
}

fn hostname(request: &CreateRequest, id: &ContainerId) -> Result<Option<String>, ResolveError> {
    match &request.hostname {
        None if request.network == NetworkMode::Host => Ok(None),
        None => Ok(Some(id.short().to_owned())),
        Some(name) => {
            check_hostname(name)?;
            Ok(Some(name.clone()))
        }
    }
}

/// Whether a container can be called so.
///
/// # Errors
///
/// [`ResolveError::BadHostname`].
pub fn check_hostname(name: &str) -> Result<(), ResolveError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let label =
        |label: &str| !label.is_empty() && label.len() <= LABEL_MAX && label.bytes().all(good);
    // A dot at the end makes a name absolute.
    let labels = name.strip_suffix('.').unwrap_or(name);
    let fits = name.len() <= HOST_NAME_MAX && !name.starts_with('-');
    if fits && labels.split('.').all(label) {
        Ok(())
    } else {
        Err(ResolveError::BadHostname(name.chars().take(200).collect()))
    }
}

fn labels(request: &CreateRequest, image: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut labels = image.clone();
    labels.extend(request.labels.iter().cloned());
    labels
}

/// The user's mounts, then the image's volumes where the user mounts nothing.
fn mounts(
    request: &CreateRequest,
    image: &LocalImage,
) -> Result<Vec<MountDefinition>, ResolveError> {
    let own = |spec: &VolumeSpec| MountDefinition {
        spec: spec.clone(),
        anonymous: spec.source == VolumeSource::Anonymous,
    };
    let mut mounts: Vec<MountDefinition> = request.volumes.iter().map(own).collect();
    let mut targets: Vec<&str> = mounts
        .iter()
        .map(|mount| mount.spec.target.as_str())
        .collect();
    targets.extend(request.tmpfs.iter().map(|tmpfs| tmpfs.target.as_str()));
    targets.sort_unstable();
    if let Some(pair) = targets.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(ResolveError::DuplicateMount(pair[0].to_owned()));
    }
    let mut declared = Vec::new();
    for path in image.config.config.volumes.keys() {
        let target = image_volume(path).ok_or_else(|| ResolveError::BadImageVolume {
            image: request.image.clone(),
            path: path.chars().take(200).collect(),
        })?;
        if !targets.contains(&target.as_str()) && !declared.contains(&target) {
            declared.push(target);
        }
    }
    mounts.extend(declared.into_iter().map(|target| MountDefinition {
        spec: VolumeSpec {
            source: VolumeSource::Anonymous,
            target,
            access: Access::ReadWrite,
            no_copy: false,
            propagation: Propagation::default(),
            recursive: true,
        },
        anonymous: true,
    }));
    Ok(mounts)
}

/// A volume path of an image, by the same rules as `-v`. System directories are refused:
/// a volume over `/proc` would uncover or fake what init relies on.
fn image_volume(path: &str) -> Option<String> {
    let spec = VolumeSpec::parse(path, std::path::Path::new("/")).ok()?;
    let is_own_path = spec.source == VolumeSource::Anonymous;
    let below = |dir: &str| spec.target == dir || spec.target.starts_with(&format!("{dir}/"));
    (is_own_path && !below("/proc") && !below("/sys") && !below("/dev")).then_some(spec.target)
}

fn resources(request: &CreateRequest) -> Result<Resources, ResolveError> {
    match request.memory_bytes {
        Some(bytes) if bytes > 0 && bytes < LEAST_MEMORY_BYTES => {
            return Err(ResolveError::MemoryTooSmall(bytes));
        }
        Some(_) | None => {}
    }
    Ok(Resources {
        memory_bytes: request.memory_bytes.filter(|bytes| *bytes > 0),
        cpu: request.cpu,
        pids: request.pids.unwrap_or(Some(DEFAULT_PIDS)),
        ulimits: request.ulimits.clone(),
    })
}

fn capabilities(request: &CreateRequest) -> Result<CapabilitySet, ResolveError> {
    let named = CapabilitySet::from_flags(&request.cap_add, &request.cap_drop)?;
    Ok(if request.privileged {
        CapabilitySet::ALL
    } else {
        named
    })
}

#[cfg(test)]
mod tests;
