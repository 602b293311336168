//! `--volume` and `--tmpfs`.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{ByteSize, VolumeName};

/// Whether a mount can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// `rw`.
    ReadWrite,
    /// `ro`, with every mount below it.
    ReadOnly,
}

/// How mounts made later on one side reach the other. See mount_namespaces(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    missing_docs,
    reason = "the names are those of mount_namespaces(7); the r forms are recursive"
)]
pub enum Propagation {
    Private,
    #[default]
    Rprivate,
    Slave,
    Rslave,
    Shared,
    Rshared,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeSource {
    /// A path of the host, absolute.
    Bind(PathBuf),
    /// A volume by name, created when missing.
    Named(VolumeName),
    /// A new volume that belongs to this container.
    Anonymous,
}

/// `[SRC:]DST[:OPTIONS]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// What is mounted.
    pub source: VolumeSource,
    /// Where in the container, absolute and without `..`.
    pub target: String,
    /// `ro` or `rw`.
    pub access: Access,
    /// Do not fill an empty volume from the image (`nocopy`).
    pub no_copy: bool,
    /// Mount propagation; binds only.
    pub propagation: Propagation,
    /// Bind without the mounts below the source (`bind`); `rbind` is the default.
    pub recursive: bool,
}

/// The text does not describe a mount.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid mount {text:?}: {why}")]
pub struct InvalidVolume {
    text: String,
    why: String,
}

impl VolumeSpec {
    /// Reads `-v`; `./x` and `../x` sources are joined to `cwd`.
    ///
    /// # Errors
    ///
    /// [`InvalidVolume`] with the part that is wrong.
    pub fn parse(text: &str, cwd: &std::path::Path) -> Result<Self, InvalidVolume> {
        parse(text, cwd).map_err(|why| InvalidVolume {
            text: text.chars().take(300).collect(),
            why,
        })
    }
}

fn parse(text: &str, cwd: &std::path::Path) -> Result<VolumeSpec, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => return Err("want [SOURCE:]TARGET[:OPTIONS]".into()),
    };
    let mut spec = VolumeSpec {
        source: source.map_or(Ok(VolumeSource::Anonymous), |source| {
            parse_source(source, cwd)
        })?,
        target: container_path(target)?,
        access: Access::ReadWrite,
        no_copy: false,
        propagation: Propagation::default(),
        recursive: true,
    };
    apply_options(&mut spec, options)?;
    Ok(spec)
}

fn parse_source(text: &str, cwd: &std::path::Path) -> Result<VolumeSource, String> {
    if text.contains('\0') {
        return Err("the source holds a NUL byte".into());
    }
    if text.starts_with('/') {
        return Ok(VolumeSource::Bind(text.into()));
    }
    if text == "." || text == ".." || text.starts_with("./") || text.starts_with("../") {
        return Ok(VolumeSource::Bind(cwd.join(text)));
    }
    text.parse()
        .map(VolumeSource::Named)
        .map_err(|e| format!("{e}; for a directory of the host write an absolute path or ./{text}"))
}

/// An absolute path inside the container, normalised as text; `/` itself is refused.
pub(crate) fn container_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("target {text:?} is not an absolute path"));
    }
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.is_empty() {
        return Err("the target cannot be /".into());
    }
    if parts.contains(&"..") || text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err(format!("target {text:?} holds .. or control characters"));
    }
    Ok(format!("/{}", parts.join("/")))
}

fn apply_options(spec: &mut VolumeSpec, options: &str) -> Result<(), String> {
    let mut seen: Vec<&str> = Vec::new();
    for option in options.split(',').filter(|_| !options.is_empty()) {
        let group = match option {
            "ro" | "rw" => "access",
            "nocopy" | "copy" => "copy",
            "bind" | "rbind" => "bind",
            "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" => "propagation",
            other => {
                return Err(format!(
                    "unknown option {other:?}: want ro rw nocopy copy bind rbind or [r]private [r]slave [r]shared"
                ));
            }
        };
        if seen.contains(&group) {
            return Err(format!("option {option:?} contradicts or repeats another"));
        }
        seen.push(group);
        match option {
            "ro" => spec.access = Access::ReadOnly,
            "nocopy" => spec.no_copy = true,
            "bind" => spec.recursive = false,
            "private" => spec.propagation = Propagation::Private,
            "slave" => spec.propagation = Propagation::Slave,
            "rslave" => spec.propagation = Propagation::Rslave,
            "shared" => spec.propagation = Propagation::Shared,
            "rshared" => spec.propagation = Propagation::Rshared,
            _ => {}
        }
    }
    match spec.source {
        VolumeSource::Bind(_) if spec.no_copy => {
            Err("nocopy is for volumes, the source is a path".into())
        }
        VolumeSource::Named(_) | VolumeSource::Anonymous if seen.contains(&"propagation") => {
            Err("propagation is for paths of the host, the source is a volume".into())
        }
        VolumeSource::Bind(_) | VolumeSource::Named(_) | VolumeSource::Anonymous => Ok(()),
    }
}

/// `--tmpfs DST[:OPTIONS]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TmpfsSpec {
    /// Where in the container.
    pub target: String,
    /// Bytes; `None` is the kernel's default, half of memory.
    pub size: Option<ByteSize>,
    /// Permission bits of the root directory.
    pub mode: u32,
    /// Owner of the root directory.
    pub uid: u32,
    /// Group of the root directory.
    pub gid: u32,
    /// `ro`.
    pub access: Access,
    /// `noexec`, on unless `exec` is given.
    pub no_exec: bool,
    /// `nosuid`, on unless `suid` is given.
    pub no_suid: bool,
    /// `nodev`, on unless `dev` is given.
    pub no_dev: bool,
}

impl FromStr for TmpfsSpec {
    type Err = InvalidVolume;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_tmpfs(text).map_err(|why| InvalidVolume {
            text: text.chars().take(300).collect(),
            why,
        })
    }
}

fn parse_tmpfs(text: &str) -> Result<TmpfsSpec, String> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let mut spec = TmpfsSpec {
        target: container_path(target)?,
        size: None,
        mode: 0o1777,
        uid: 0,
        gid: 0,
        access: Access::ReadWrite,
        no_exec: true,
        no_suid: true,
        no_dev: true,
    };
    for option in options.split(',').filter(|_| !options.is_empty()) {
        let (key, value) = option
            .split_once('=')
            .map_or((option, None), |(k, v)| (k, Some(v)));
        let id = |v: &str| {
            v.parse::<u32>()
                .map_err(|_| format!("{key} {v:?} is not a number"))
        };
        match (key, value) {
            ("rw", None) => spec.access = Access::ReadWrite,
            ("ro", None) => spec.access = Access::ReadOnly,
            ("noexec", None) => spec.no_exec = true,
            ("exec", None) => spec.no_exec = false,
            ("nosuid", None) => spec.no_suid = true,
            ("suid", None) => spec.no_suid = false,
            ("nodev", None) => spec.no_dev = true,
            ("dev", None) => spec.no_dev = false,
            ("size", Some(v)) => spec.size = Some(v.parse().map_err(|e| format!("{e}"))?),
            ("mode", Some(v)) => {
                let mode = u32::from_str_radix(v, 8).ok().filter(|m| *m <= 0o7777);
                spec.mode =
                    mode.ok_or_else(|| format!("mode {v:?} is not an octal number up to 7777"))?;
            }
            ("uid", Some(v)) => spec.uid = id(v)?,
            ("gid", Some(v)) => spec.gid = id(v)?,
            _ => {
                return Err(format!(
                    "unknown option {option:?}: want rw ro [no]exec [no]suid [no]dev size= mode= uid= gid="
                ));
            }
        }
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> Result<VolumeSpec, InvalidVolume> {
        VolumeSpec::parse(text, Path::new("/cwd"))
    }

    #[test]
    fn volumes_parse_as_docker_reads_them() {
        let spec = parse("/srv/data:/data/./x/:ro").unwrap();
        assert_eq!(spec.source, VolumeSource::Bind("/srv/data".into()));
        assert_eq!(
            (spec.target.as_str(), spec.access),
            ("/data/x", Access::ReadOnly)
        );
        assert_eq!(
            parse("./a:/b").unwrap().source,
            VolumeSource::Bind("/cwd/./a".into())
        );
        assert_eq!(
            parse("vol:/b:nocopy").unwrap().source,
            VolumeSource::Named("vol".parse().unwrap())
        );
        assert_eq!(parse("/only").unwrap().source, VolumeSource::Anonymous);
        let bad = [
            "",
            ":",
            "a:b",
            "a/b:/c",
            "rel:abs",
            "a:b:c:d",
            "/:/",
            "/a:/",
            "/a:/b/../c",
            "/a:/b:ro,rw",
            "/a:/b:ro,ro",
            "/a:/b:zz",
            "/a:/b:nocopy",
            "vol:/b:shared",
            "/a:/b:shared,rslave",
            "/a:/b\n",
        ];
        for text in bad {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn tmpfs_options() {
        let spec: TmpfsSpec = "/x:size=1m,mode=700,uid=5,exec".parse().unwrap();
        assert_eq!(
            (spec.size, spec.mode, spec.uid, spec.no_exec),
            (Some(ByteSize(1 << 20)), 0o700, 5, false)
        );
        for bad in [
            "",
            "x",
            "/",
            "/x:size=",
            "/x:size=-1",
            "/x:mode=9",
            "/x:mode=10000",
            "/x:nope",
            "/x:uid=a",
        ] {
            assert!(bad.parse::<TmpfsSpec>().is_err(), "{bad:?}");
        }
    }
}
