//! `rocker login` and `rocker logout`.

use std::io::{IsTerminal as _, Read as _, stdin};
use std::path::PathBuf;

use rocker_engine::{Credential, KeyStyle, LoginRequest, RegistryOptions, Server};
use rocker_types::{Diagnose as _, ErrorKind};
use rustix::process::DumpableBehavior;

use super::auth_files::AuthFiles;
use super::registry::TransportArgs;
use super::{CommandError, Context, Outcome, print};
use crate::exit_code::Status;
use crate::report;
use crate::terminal::{interruptible, prompt};

/// The longest password from standard input, in bytes.
const MAX_PASSWORD_BYTES: usize = 32 << 10;

/// Which file holds logins.
#[derive(clap::Args, Debug)]
struct FileArgs {
    /// The file that keeps the login, instead of the usual one
    #[arg(long, value_name = "FILE", conflicts_with = "compat_auth_file")]
    authfile: Option<PathBuf>,

    /// A file in docker's form, such as ~/.docker/config.json, that keeps the login instead
    #[arg(long, value_name = "FILE")]
    compat_auth_file: Option<PathBuf>,
}

impl FileArgs {
    fn files(&self) -> AuthFiles {
        match (&self.compat_auth_file, &self.authfile) {
            (Some(path), _) => AuthFiles::only(path, KeyStyle::Docker),
            (None, Some(path)) => AuthFiles::only(path, KeyStyle::Containers),
            (None, None) => AuthFiles::usual(),
        }
    }
}

/// Log in to a registry
///
/// Asks at the terminal for what is not given. The registry is asked whether name and password
/// are good before they are kept, readable by their owner only, or handed to the credential
/// helper that the file names.
#[derive(clap::Args)]
#[command(
    after_long_help = "Examples:\n  rocker login\n  rocker login -u ann --password-stdin quay.io < token\n  rocker login --get-login quay.io"
)]
pub(crate) struct LoginArgs {
    /// The user's name
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,

    /// The password or access token; every user of this machine sees it here
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,

    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,

    /// Print the name of the user who is logged in, and do nothing else
    #[arg(long)]
    get_login: bool,

    #[command(flatten)]
    files: FileArgs,

    #[command(flatten)]
    transport: TransportArgs,

    /// The registry: HOST[:PORT][/PATH]; Docker Hub by default
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

/// Log out of a registry
///
/// Forgets the login, in the file or in the credential helper that it names.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:\n  rocker logout quay.io\n  rocker logout --all")]
pub(crate) struct LogoutArgs {
    /// Log out of every registry
    #[arg(short, long)]
    all: bool,

    #[command(flatten)]
    files: FileArgs,

    /// The registry: HOST[:PORT][/PATH]; Docker Hub by default
    #[arg(value_name = "SERVER", conflicts_with = "all")]
    server: Option<String>,
}

fn server(text: Option<&str>) -> Result<Server, CommandError> {
    Ok(text.map_or(Ok(Server::hub()), str::parse)?)
}

pub(crate) fn login(_: &mut Context, args: LoginArgs) -> Outcome {
    // no core file and no debugger of this user's sees the password; it is no reason to stop
    // where the kernel does not know the wish
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let server = server(args.server.as_deref())?;
    let files = args.files.files();
    if args.get_login {
        return get_login(&files, &server);
    }
    let mut options = args.transport.options_without_image(server.registry())?;
    options.headers = files.headers()?;
    if let Some(stored) = stored(&args, &files, &server)? {
        let who = stored.username().unwrap_or("a token");
        report::note(&format!(
            "Authenticating with existing credentials ({who})..."
        ));
        match check(&server, &stored, &options) {
            Err(error) if error.kind() == ErrorKind::Denied && stdin().is_terminal() => {
                report::note("They are not good any more.");
            }
            outcome => return outcome.and_then(|()| succeeded()),
        }
    }
    let (username, password) = ask_for_missing(args)?;
    let credential = Credential::Basic {
        username: username.clone(),
        password: password.clone(),
    };
    check(&server, &credential, &options)?;
    files.save(&server, (&username, &password))?;
    succeeded()
}

fn succeeded() -> Outcome {
    print("Login Succeeded\n")?;
    Ok(Status::Success)
}

/// What is known already, unless the user says something else.
fn stored(
    args: &LoginArgs,
    files: &AuthFiles,
    server: &Server,
) -> Result<Option<Credential>, CommandError> {
    if args.username.is_some() || args.password.is_some() || args.password_stdin {
        return Ok(None);
    }
    files.find(server.registry(), server.path())
}

fn get_login(files: &AuthFiles, server: &Server) -> Outcome {
    let found = files.find(server.registry(), server.path())?;
    let username = found.as_ref().and_then(Credential::username);
    let username = username.ok_or_else(|| CommandError::NotLoggedIn(server.to_string()))?;
    print(&format!("{username}\n"))?;
    Ok(Status::Success)
}

/// Name and password, from wherever they come.
fn ask_for_missing(args: LoginArgs) -> Result<(String, String), CommandError> {
    if args.password_stdin && args.password.is_some() {
        return Err(CommandError::conflict(
            "--password and --password-stdin are mutually exclusive",
            "leave out --password",
        ));
    }
    if args.password_stdin && args.username.is_none() {
        return Err(CommandError::conflict(
            "must provide --username with --password-stdin",
            "standard input is the password's; say who you are with -u NAME",
        ));
    }
    if args.password.is_some() {
        report::note("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let username = match args.username {
        Some(username) => username,
        None => prompt::line("Username: ")?.trim().to_owned(),
    };
    let password = match args.password {
        Some(password) => password,
        None if args.password_stdin => password_from_stdin()?,
        None => prompt::password()?,
    };
    for (what, value) in [("username", &username), ("password", &password)] {
        if value.is_empty() {
            return Err(CommandError::conflict(
                format!("{what} is empty"),
                "see rocker login --help",
            ));
        }
    }
    Ok((username, password))
}

/// All of it but the end of its last line.
fn password_from_stdin() -> Result<String, CommandError> {
    let mut bytes = Vec::new();
    let limit = MAX_PASSWORD_BYTES as u64 + 1;
    stdin()
        .lock()
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(CommandError::PasswordInput)?;
    if bytes.len() > MAX_PASSWORD_BYTES {
        let source = std::io::ErrorKind::FileTooLarge.into();
        return Err(CommandError::PasswordInput(source));
    }
    let text = String::from_utf8(bytes);
    let text =
        text.map_err(|_| CommandError::PasswordInput(std::io::ErrorKind::InvalidData.into()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// Asks the registry. Ctrl-C ends it.
fn check(
    server: &Server,
    credential: &Credential,
    options: &RegistryOptions,
) -> Result<(), CommandError> {
    let outcome = interruptible(|cancelled| {
        rocker_engine::check_login(&LoginRequest {
            server,
            credential: credential.clone(),
            registry: options.clone(),
            cancelled,
        })
    });
    match outcome.map_err(CommandError::Terminal)? {
        (Err(error), Some(signal)) if error.kind() == ErrorKind::Interrupted => {
            Err(CommandError::Ended(signal))
        }
        (outcome, _) => outcome.map_err(CommandError::from),
    }
}

pub(crate) fn logout(_: &mut Context, args: LogoutArgs) -> Outcome {
    let files = args.files.files();
    if args.all {
        files.forget_all()?;
        print("Removed login credentials for all registries\n")?;
        return Ok(Status::Success);
    }
    let server = server(args.server.as_deref())?;
    if files.forget(&server)? {
        print(&format!("Removing login credentials for {server}\n"))?;
    } else {
        print(&format!("Not logged in to {server}\n"))?;
    }
    // that it cannot be told is no failure of what was asked for
    if let Some(path) = files.elsewhere(&server).unwrap_or_default() {
        report::note(&format!(
            "{} still has credentials for {server}; `docker logout` or `rocker logout --compat-auth-file` removes them",
            path.display()
        ));
    }
    Ok(Status::Success)
}
