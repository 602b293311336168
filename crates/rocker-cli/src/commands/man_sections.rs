//! What the man pages say beyond the help: examples, exit codes, files and variables.

use crate::cli::{Failures, failures_of};

/// Meanings of the exit codes, docker's; [`exit_code`](crate::exit_code) decides them.
const ORDINARY: &[(&str, &str)] = &[
    ("0", "All was done."),
    (
        "1",
        "Something could not be done; standard error says what.",
    ),
    (
        "125",
        "A flag is unknown, or has a value that it cannot take.",
    ),
];
const OF_QUESTION: &[(&str, &str)] = &[
    ("0", "Yes."),
    ("1", "No."),
    ("125", "That cannot be told; standard error says why."),
];
const OF_A_PROGRAM: &[(&str, &str)] = &[
    ("126", "The program cannot be run."),
    ("127", "The program does not exist."),
    ("128 + n", "Signal n ended the program."),
    ("any other", "The program's own exit code."),
];
const OF_RUN: (&str, &str) = (
    "125",
    "rocker itself failed, before or after the program ran.",
);
const OF_EXEC: (&str, &str) = ("1", "rocker itself failed.");

const FILES: &[(&str, &str)] = &[
    (
        "/etc/rocker/config.toml",
        "Optional: registries that are spoken to over plain HTTP, and how much an image may ask \
         for. See rocker-config(5).",
    ),
    (
        "$REGISTRY_AUTH_FILE, $XDG_RUNTIME_DIR/containers/auth.json, ~/.config/containers/auth.json, ~/.docker/config.json",
        "Credentials for registries: those of the first file that knows the registry, in itself or in the \
         credential helper that it names (credHelpers, credsStore: docker-credential-NAME on PATH). \
         HttpHeaders of the first that has any go to registries, and to nobody else, if their names begin with X-Meta-; the others are for the docker daemon. A login is kept in the first that exists, but for docker's; in ~/.config/containers/auth.json if none does.",
    ),
    (
        "/etc/containers/registries.conf, /etc/containers/registries.conf.d/*.conf, ~/.config/containers/...",
        "The container tools' rules about registries (version 2): prefix, location, insecure, blocked and \
         mirrors of [[registry]] are followed. A name without a registry means what [aliases] says, \
         else an image of unqualified-search-registries (short-name-mode says who decides which \
         when it is fetched), else one of Docker Hub; of what is here, also what was tagged so.",
    ),
    (
        "~/.config/containers/policy.json, /etc/containers/policy.json",
        "The container tools' policy, the first of the two. rocker checks no signatures: what the \
         policy does not let in as insecureAcceptAnything is refused by pull and load.",
    ),
    (
        "/etc/containers/certs.d/HOST[:PORT], /etc/docker/certs.d/HOST[:PORT], ~/.config/containers/certs.d/HOST[:PORT]",
        "What one registry has of its own: *.crt are authorities to trust, NAME.cert and NAME.key what rocker \
         shows of itself. The first of ~/.config, /etc/containers and /etc/docker that has any counts; a \
         registry on loopback that has any is spoken to with TLS.",
    ),
    ("/var/lib/rocker", "Images, containers and volumes."),
    (
        "/run/rocker",
        "The state of running containers; it is gone after a boot, as they are.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "ROCKER_CONFIG",
        "A file to read instead of /etc/rocker/config.toml. It has to exist.",
    ),
    (
        "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY",
        "Proxies for registries, as curl knows them, and what needs none; in lower case too. \
         Loopback never needs one.",
    ),
    ("ROCKER_ROOT", "The directory of --root."),
    ("ROCKER_RUNROOT", "The directory of --runroot."),
    (
        "ROCKER_ASSUME_YES",
        "1 answers every question of prune commands with yes.",
    ),
    ("ROCKER_LOG", "The level of --log-level."),
    (
        "CONTAINERS_REGISTRIES_CONF",
        "A file to read instead of registries.conf and its drop-ins. It has to exist.",
    ),
    (
        "REGISTRY_AUTH_FILE, DOCKER_CONFIG",
        "The file, and the directory of the file, with credentials for registries.",
    ),
];

/// The sections of the page of `path`, such as `["container", "ls"]`; of rocker(1) when empty.
/// `examples` is what the help ends with.
pub(super) fn of(path: &[&str], examples: Option<&str>) -> String {
    let mut text = String::new();
    if let Some(examples) = examples {
        text.push_str(&example_section(examples));
    }
    if path.is_empty() {
        text.push_str(&list("FILES", FILES));
        text.push_str(&list("ENVIRONMENT", ENVIRONMENT));
    }
    let codes: Vec<(&str, &str)> = match failures_of(path) {
        Some(Failures::OfRun) => [&[OF_RUN], OF_A_PROGRAM].concat(),
        Some(Failures::OfExec) => [&[OF_EXEC], OF_A_PROGRAM].concat(),
        Some(Failures::OfQuestion) => OF_QUESTION.to_vec(),
        Some(Failures::Ordinary) | None => ORDINARY.to_vec(),
    };
    text.push_str(&list("EXIT STATUS", &codes));
    text
}

/// `Examples:`, then one command a line.
pub(super) fn example_section(help: &str) -> String {
    let commands = help.lines().filter_map(|line| line.strip_prefix("  "));
    let lines: String = commands.map(|line| escaped(line) + "\n").collect();
    format!(".SH EXAMPLES\n.nf\n.RS\n{lines}.RE\n.fi\n")
}

pub(super) fn list(title: &str, entries: &[(&str, &str)]) -> String {
    let entry = |(name, meaning): &(&str, &str)| {
        format!(".TP\n\\fB{}\\fR\n{}\n", escaped(name), escaped(meaning))
    };
    let entries: String = entries.iter().map(entry).collect();
    format!(".SH \"{title}\"\n{entries}")
}

/// What roff would read as its own.
pub(super) fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let text = text.replace('\'', "\\(aq");
    match text.starts_with('.') {
        true => format!("\\&{text}"),
        false => text,
    }
}
