//! A process specification made ready before the clone, and its application in the child.

use std::ffi::CString;

use rocker_sys::execute::StringVector;
use rocker_types::{CapabilitySet, Principal, UserSpec};

use super::credentials::Rights;
use super::limits;
use super::program::Program;
use crate::plan::{PlanError, clean};
use crate::process::{At, InitFailure, InitStep};
use crate::rootfs::Root;
use crate::spec::{ProcessSpec, RlimitSpec};
use crate::users::{Identity, ImageFileReader, Lookup};

/// What runs, with everything decided that can be decided on the host.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(super) argv: Vec<CString>,
    env: Vec<CString>,
    path: Option<String>,
    pub(super) cwd: String,
    user: UserSpec,
    extra_groups: Vec<String>,
    pub(super) rights: Rights,
    rlimits: Vec<RlimitSpec>,
    umask: u32,
    has_home: bool,
}

impl Launch {
    /// Checks the specification. `available` is what this process could hand on.
    pub(crate) fn plan(spec: &ProcessSpec, available: CapabilitySet) -> Result<Self, PlanError> {
        if spec.argv.first().is_none_or(String::is_empty) {
            return Err(PlanError::NoProgram);
        }
        for entry in &spec.env {
            let named = entry
                .split_once('=')
                .is_some_and(|(name, _)| !name.is_empty());
            if !named {
                let entry = entry.clone();
                return Err(PlanError::Environment { entry });
            }
        }
        for group in &spec.extra_groups {
            Principal::parse(group).map_err(|_| PlanError::Group {
                group: group.clone(),
            })?;
        }
        let ambient = spec.ambient_capabilities;
        if ambient.intersection(spec.capabilities) != ambient {
            return Err(PlanError::Ambient);
        }
        Ok(Self {
            argv: strings("argument", &spec.argv)?,
            env: strings("environment entry", &spec.env)?,
            path: variable(&spec.env, "PATH").map(ToOwned::to_owned),
            cwd: clean(&spec.cwd),
            user: spec.user.clone(),
            extra_groups: spec.extra_groups.clone(),
            rights: Rights {
                bounding: grantable(spec.capabilities, available),
                ambient,
                no_new_privileges: spec.no_new_privileges,
            },
            rlimits: spec.rlimits.clone(),
            umask: spec.umask & 0o777,
            has_home: variable(&spec.env, "HOME").is_some(),
        })
    }

    /// Names of capabilities that were asked for and that this host does not have.
    pub(crate) fn missing_capabilities(&self, available: CapabilitySet) -> Vec<&'static str> {
        self.rights.missing_from(available)
    }

    /// Who runs, by the container's own files.
    pub(super) fn identify(
        &self,
        root: &Root,
        reader: &ImageFileReader,
    ) -> Result<Identity, InitFailure> {
        let passwd = reader.read(root, "/etc/passwd")?;
        let group = reader.read(root, "/etc/group")?;
        let lookup = Lookup {
            passwd: &passwd,
            group: &group,
        };
        lookup.resolve(&self.user, &self.extra_groups)
    }

    /// The program and its environment; `HOME` is the user's unless it was given.
    pub(super) fn program(&self, identity: &Identity) -> (Program, StringVector) {
        let mut env = self.env.clone();
        if !self.has_home {
            env.extend(CString::new(format!("HOME={}", identity.home)).ok());
        }
        let program = Program::new(self.argv.clone(), self.path.as_deref());
        (program, StringVector::new(env))
    }

    /// Limits, keyring, umask: what needs neither a user nor a file.
    pub(super) fn apply_limits(&self) -> Result<(), InitFailure> {
        limits::apply(&self.rlimits)?;
        rocker_sys::process::join_new_session_keyring().at(InitStep::Keyring, "")?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(self.umask));
        Ok(())
    }
}

/// All of them means all that there are: some hosts have not every capability themselves.
fn grantable(asked: CapabilitySet, available: CapabilitySet) -> CapabilitySet {
    if asked == CapabilitySet::ALL {
        asked.intersection(available)
    } else {
        asked
    }
}

fn variable<'a>(env: &'a [String], name: &str) -> Option<&'a str> {
    let value = |entry: &'a String| entry.strip_prefix(name)?.strip_prefix('=');
    // The last one wins, as in getenv(3) of most shells after an export.
    env.iter().rev().find_map(value)
}

fn strings(what: &'static str, texts: &[String]) -> Result<Vec<CString>, PlanError> {
    let convert = |text: &String| {
        CString::new(text.as_str()).map_err(|_| PlanError::NulByte {
            what,
            text: text.clone(),
        })
    };
    texts.iter().map(convert).collect()
}
