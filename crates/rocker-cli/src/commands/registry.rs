//! What the user configured about registries: which are insecure, and who we are.

use std::path::PathBuf;

use rocker_engine::{
    Certificates, Credential, Endpoint, KeyStyle, RegistryOptions, Stop, TlsPolicy, Way,
};
use rocker_types::ImageRef;

use super::auth_files::{AuthFiles, home, variable};
use super::{CommandError, config, registries_conf};
use crate::terminal::prompt;

/// How a command line says to talk to the registry.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RegistryArgs {
    /// A file with credentials, to be used instead of the usual ones
    #[arg(long, value_name = "FILE", help_heading = "Registry")]
    authfile: Option<PathBuf>,

    /// Who to be at the registry; a password that is left out is asked for
    #[arg(long, value_name = "USER[:PASSWORD]", help_heading = "Registry")]
    creds: Option<Creds>,

    #[command(flatten)]
    transport: TransportArgs,
}

/// What the registry's connection has to be.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TransportArgs {
    /// Demand TLS with a good certificate, on loopback too; false takes any, and plain HTTP
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cli::values::truth, help_heading = "Registry")]
    tls_verify: Option<bool>,

    /// Where the registry's authorities (*.crt) and our certificate (*.cert, *.key) are
    #[arg(long, value_name = "DIRECTORY", help_heading = "Registry")]
    cert_dir: Option<PathBuf>,
}

/// A user's name and perhaps a password. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
struct Creds {
    username: String,
    password: Option<String>,
}

impl std::fmt::Debug for Creds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Creds(…)")
    }
}

impl std::str::FromStr for Creds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (username, password) = match text.split_once(':') {
            Some((username, password)) => (username, Some(password.to_owned())),
            None => (text, None),
        };
        if username.is_empty() {
            return Err("the user's name is missing: want USER[:PASSWORD]".to_owned());
        }
        Ok(Self {
            username: username.to_owned(),
            password,
        })
    }
}

impl TransportArgs {
    /// How to talk to a registry, as nobody in particular.
    ///
    /// # Errors
    ///
    /// A configuration or certificates that are there and cannot be understood.
    pub(crate) fn options(&self, registry: &str) -> Result<RegistryOptions, CommandError> {
        let certificates = self.certificates(registry)?;
        let tls = match (self.tls_verify, &certificates) {
            // whoever has certificates for a registry on loopback has it speak TLS
            (Some(true), _) | (None, Some(_)) => TlsPolicy::Required,
            (None, None) => TlsPolicy::Usual,
            (Some(false), _) => TlsPolicy::Unverified,
        };
        Ok(RegistryOptions {
            insecure_hosts: config::read()?.insecure,
            certificates: certificates.unwrap_or_default(),
            tls,
            ..RegistryOptions::default()
        })
    }

    /// The same, where no image's name says which rule of `registries.conf` counts.
    ///
    /// # Errors
    ///
    /// Those of [`options`](Self::options), and a `registries.conf` that cannot be understood.
    pub(crate) fn options_without_image(
        &self,
        registry: &str,
    ) -> Result<RegistryOptions, CommandError> {
        let mut options = self.options(registry)?;
        let is_insecure = registries_conf::routes()?.is_insecure(registry);
        if is_insecure && options.tls == TlsPolicy::Usual {
            options.tls = TlsPolicy::Unverified;
        }
        Ok(options)
    }

    /// Those of the first directory that has any.
    fn certificates(&self, registry: &str) -> Result<Option<Certificates>, CommandError> {
        let directories = match &self.cert_dir {
            Some(directory) => vec![directory.clone()],
            None => certificate_directories(registry),
        };
        for directory in directories {
            let found = Certificates::read(&directory);
            let found = found.map_err(|source| CommandError::Certificates(Box::new(source)))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

impl RegistryArgs {
    /// Asks for the password that --creds leaves out, so that it is asked for once.
    ///
    /// # Errors
    ///
    /// A password that cannot be asked for.
    pub(crate) fn ask_password(&mut self) -> Result<(), CommandError> {
        if let Some(creds) = &mut self.creds
            && creds.password.is_none()
        {
            creds.password = Some(prompt::password()?);
        }
        Ok(())
    }

    /// Whether a login is given on the command line.
    pub(crate) const fn has_creds(&self) -> bool {
        self.creds.is_some()
    }

    /// Where to ask for `reference`, in this order, and how: mirrors first, the place itself last.
    ///
    /// # Errors
    ///
    /// A configuration or credentials file that is there and cannot be understood, a helper that
    /// fails, a password that cannot be asked for, a registry that is blocked.
    pub(crate) fn places(&self, reference: &ImageRef) -> Result<Vec<Endpoint>, CommandError> {
        let Way { mirrors, own } = way(reference)?;
        // what --creds says is about the registry that the user named
        let mirrors = mirrors.into_iter().map(|stop| self.place(stop, None));
        let own = self.place(own, self.creds.as_ref());
        mirrors.chain([own]).collect()
    }

    /// Where to send `reference` to, and how: no mirror takes anything.
    ///
    /// # Errors
    ///
    /// Those of [`places`](Self::places).
    pub(crate) fn own_place(&self, reference: &ImageRef) -> Result<Endpoint, CommandError> {
        self.place(way(reference)?.own, self.creds.as_ref())
    }

    /// The same for where an image came from, in which case no flag is about that registry.
    pub(crate) fn place_elsewhere(&self, reference: &ImageRef) -> Result<Endpoint, CommandError> {
        let others = Self {
            authfile: self.authfile.clone(),
            ..Self::default()
        };
        others.own_place(reference)
    }

    fn place(&self, stop: Stop, creds: Option<&Creds>) -> Result<Endpoint, CommandError> {
        let mut options = self.transport.options(&stop.registry)?;
        if stop.insecure && options.tls == TlsPolicy::Usual {
            options.tls = TlsPolicy::Unverified;
        }
        let credential = match creds {
            Some(creds) => Some(creds.clone().complete()?),
            None => {
                let files = self.files()?;
                options.headers = files.headers()?;
                files.find(&stop.registry, &stop.repository)?
            }
        };
        if let Some(credential) = credential {
            options.credentials.insert(&stop.registry, credential);
        }
        Ok(Endpoint {
            registry: stop.registry,
            repository: stop.repository,
            options,
        })
    }

    fn files(&self) -> Result<AuthFiles, CommandError> {
        let Some(path) = &self.authfile else {
            return Ok(AuthFiles::usual());
        };
        let files = AuthFiles::only(path, KeyStyle::Containers);
        if files.any_exists() {
            return Ok(files);
        }
        Err(CommandError::NoAuthFile(path.clone()))
    }
}

fn way(reference: &ImageRef) -> Result<Way, CommandError> {
    let way = registries_conf::routes()?.way(reference);
    way.map_err(|source| CommandError::Route {
        image: reference.familiar(),
        source,
    })
}

/// Where the container tools and docker look for what belongs to one registry.
fn certificate_directories(registry: &str) -> Vec<PathBuf> {
    let user = variable("XDG_CONFIG_HOME").or_else(|| Some(home()?.join(".config")));
    let user = user.map(|directory| directory.join("containers/certs.d"));
    let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
    let all = user.into_iter().chain(system);
    all.map(|directory| directory.join(registry)).collect()
}

impl Creds {
    fn complete(self) -> Result<Credential, CommandError> {
        let password = match self.password {
            Some(password) => password,
            None => prompt::password()?,
        };
        Ok(Credential::Basic {
            username: self.username,
            password,
        })
    }
}
