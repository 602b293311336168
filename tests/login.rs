//! Credentials: logging in and out, where logins are kept, and where they are not.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rocker_testkit::host::{Output, RockerCommand};
use rocker_testkit::image::ImageBuilder;
use rocker_testkit::registry::{Auth, Distribution, Entrance, Registry, certificate};
use rocker_testkit::{Host, require};
use rustix::process::Signal;
use rustix::termios::LocalModes;

use crate::host;

const SECRET: &str = "correct-horse-battery";

fn user() -> (String, String) {
    ("ann".to_owned(), SECRET.to_owned())
}

fn basic() -> Auth {
    let (user, password) = user();
    Auth::Basic { user, password }
}

/// A home directory of the test's own.
fn home(host: &Host) -> PathBuf {
    let home = host.scratch().join("home");
    fs_err::create_dir_all(&home).expect("a directory");
    home
}

/// A command whose credentials are those of the test.
fn at_home(host: &Host, words: &[&str]) -> RockerCommand {
    let home = home(host);
    host.command(words.iter().copied())
        .env("HOME", &home.to_string_lossy())
}

fn log_in(host: &Host, server: &str, password: &str) -> Output {
    at_home(host, &["login", "-u", "ann", "--password-stdin", server])
        .stdin(format!("{password}\n"))
        .run()
}

fn auth_file(host: &Host) -> PathBuf {
    home(host).join(".config/containers/auth.json")
}

fn mode(path: &Path) -> u32 {
    let metadata = fs_err::metadata(path).expect("a file");
    metadata.permissions().mode() & 0o7777
}

/// Every file below `directory` that has the secret in it, plain or as base64 shows it.
fn files_with_the_secret(directory: &Path) -> Vec<PathBuf> {
    let coded = "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5";
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs_err::read_dir(directory).expect("a directory") {
            let entry = entry.expect("an entry");
            let kind = entry.file_type().expect("a type");
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_file() {
                let bytes = fs_err::read(entry.path()).expect("a readable file");
                let text = String::from_utf8_lossy(&bytes);
                if text.contains(SECRET) || text.contains(coded) || text.contains("YW5uOmNvcnJlY3Q")
                {
                    found.push(entry.path());
                }
            }
        }
    }
    found
}

#[test]
fn a_login_is_kept_when_the_registry_accepts_it_and_used_from_then_on() {
    let host = require!(host());
    let token = Auth::Token { user: Some(user()) };
    for auth in [basic(), token] {
        let registry = Registry::with_auth(auth.clone());
        let reference = registry.push("private:1", &ImageBuilder::busybox().build());
        let server = registry.host();

        let refused = log_in(&host, &server, "wrong-password");
        assert_eq!(refused.exit_code, 1, "{auth:?} {refused:?}");
        assert!(refused.stderr.contains("refused"), "{refused:?}");
        assert!(!refused.stderr.contains("wrong-password"), "{refused:?}");
        assert_eq!(
            at_home(&host, &["pull", "-q", &reference]).run().exit_code,
            1
        );

        let accepted = log_in(&host, &server, SECRET);
        assert_eq!(accepted.exit_code, 0, "{auth:?} {accepted:?}");
        assert_eq!(accepted.stdout, "Login Succeeded\n");
        let file = auth_file(&host);
        assert_eq!(
            (mode(&file), mode(file.parent().expect("a directory"))),
            (0o600, 0o700)
        );
        let who = at_home(&host, &["login", "--get-login", &server]).run();
        assert_eq!(who.stdout, "ann\n", "{who:?}");
        let again = at_home(&host, &["login", &server]).run();
        assert_eq!(again.stdout, "Login Succeeded\n", "{again:?}");
        let pulled = at_home(&host, &["pull", "-q", &reference]).run();
        assert_eq!(pulled.exit_code, 0, "{auth:?} {pulled:?}");
        host.ok(["rmi", &reference]);

        let shell = ["--", "rocker", "logout", ""];
        let shell = shell.iter().fold(
            host.program(&host.binary().to_string_lossy()),
            |command, word| command.arg(word),
        );
        let names = shell
            .env("_ROCKER_COMPLETE", "fish")
            .env("HOME", &home(&host).to_string_lossy())
            .run();
        assert!(names.stdout.contains(&server), "{names:?}");
        let out = at_home(&host, &["logout", &server]).run();
        assert_eq!(
            out.stdout,
            format!("Removing login credentials for {server}\n")
        );
        let out = at_home(&host, &["logout", &server]).run();
        assert_eq!(
            (out.exit_code, out.stdout),
            (0, format!("Not logged in to {server}\n"))
        );
        let who = at_home(&host, &["login", "--get-login", &server]).run();
        assert_eq!(who.exit_code, 1, "{who:?}");
    }
    host.assert_nothing_left_behind();
}

#[test]
fn the_distribution_server_with_tls_and_a_password_lets_us_in() {
    let host = require!(host());
    let tls = require!(certificate(&host.scratch()));
    let trusted = tls.0.to_string_lossy().into_owned();
    let entrance = Entrance {
        user: Some(user()),
        tls: Some(tls),
        ..Entrance::default()
    };
    let server = require!(Distribution::start_with(&host.scratch(), 5000, &entrance));
    let log_in = |flag: &str, password: &str| {
        let words = [
            "login",
            "-u",
            "ann",
            "--password-stdin",
            flag,
            server.host(),
        ];
        at_home(&host, &words).stdin(password)
    };

    let untrusted = log_in("--tls-verify", SECRET).run();
    assert_eq!(untrusted.exit_code, 1, "{untrusted:?}");
    assert!(untrusted.stderr.contains("certificate"), "{untrusted:?}");
    let wrong = log_in("--tls-verify", "nonsense")
        .env("SSL_CERT_FILE", &trusted)
        .run();
    assert_eq!(wrong.exit_code, 1, "{wrong:?}");
    assert!(!auth_file(&host).exists());
    let good = log_in("--tls-verify", SECRET)
        .env("SSL_CERT_FILE", &trusted)
        .run();
    assert_eq!(good.stdout, "Login Succeeded\n", "{good:?}");
    let authorities = host.scratch().join("certs.d");
    fs_err::create_dir(&authorities).expect("a directory");
    fs_err::copy(&trusted, authorities.join("ca.crt")).expect("a copy");
    let own = log_in(&format!("--cert-dir={}", authorities.display()), SECRET).run();
    assert_eq!(own.stdout, "Login Succeeded\n", "{own:?}");
    let usual = home(&host).join(".config/containers/certs.d");
    let usual = usual.join(server.host());
    fs_err::create_dir_all(&usual).expect("a directory");
    fs_err::rename(authorities.join("ca.crt"), usual.join("ca.crt")).expect("moved");
    let words = ["login", "-u", "ann", "--password-stdin", server.host()];
    let own = at_home(&host, &words).stdin(SECRET).run();
    assert_eq!(own.stdout, "Login Succeeded\n", "{own:?}");
    fs_err::remove_file(usual.join("ca.crt")).expect("removed");
    let anyhow = log_in("--tls-verify=false", SECRET).run();
    assert_eq!(anyhow.stdout, "Login Succeeded\n", "{anyhow:?}");

    let image = format!("{}/nobody/pushed:1", server.host());
    let pull = at_home(&host, &["pull", "--tls-verify=false", &image]).run();
    assert!(
        pull.stderr.contains("not found"),
        "let in, and nothing there: {pull:?}"
    );
    let creds = format!("ann:{SECRET}");
    let pull = host.rocker(["pull", "--tls-verify=false", "--creds", &creds, &image]);
    assert!(pull.stderr.contains("not found"), "{pull:?}");
    let pull = host.rocker(["pull", "--tls-verify=false", "--creds", "ann:bad", &image]);
    assert!(pull.stderr.contains("refused"), "{pull:?}");
    drop(server);
    host.assert_nothing_left_behind();
}

#[test]
fn a_registry_that_wants_to_see_a_certificate_of_ours_sees_it() {
    let host = require!(host());
    let tls = require!(certificate(&host.scratch()));
    let directory = host.scratch().join("certs.d");
    fs_err::create_dir(&directory).expect("a directory");
    for (file, name) in [
        (&tls.0, "ca.crt"),
        (&tls.0, "client.cert"),
        (&tls.1, "client.key"),
    ] {
        fs_err::copy(file, directory.join(name)).expect("a copy");
    }
    let entrance = Entrance {
        tls: Some(tls),
        mutual: true,
        ..Entrance::default()
    };
    let server = require!(Distribution::start_with(&host.scratch(), 5000, &entrance));
    let image = format!("{}/nobody/pushed:1", server.host());
    let flag = format!("--cert-dir={}", directory.display());
    let pull = |flags: &[&str]| host.rocker([&["pull"], flags, &[&image]].concat());

    let stranger = pull(&["--tls-verify=false"]);
    let known = [pull(&[&flag]), pull(&[&flag, "--tls-verify=false"])];
    fs_err::remove_file(directory.join("client.key")).expect("removed");
    let half = pull(&[&flag]);

    assert!(!stranger.stderr.contains("not found"), "{stranger:?}");
    for known in known {
        assert!(known.stderr.contains("not found"), "{known:?}");
    }
    assert!(half.stderr.contains("client.key"), "{half:?}");
    drop(server);
    host.assert_nothing_left_behind();
}

#[test]
fn plain_http_is_found_out_where_no_certificate_is_wanted() {
    let host = require!(host());
    let registry = Registry::with_auth(basic());
    let server = registry.host();
    for (flag, code) in [("--tls-verify=false", 0), ("--tls-verify=true", 1)] {
        let words = ["login", "-u", "ann", "--password-stdin", flag, &server];
        let output = at_home(&host, &words).stdin(SECRET).run();
        assert_eq!(output.exit_code, code, "{flag} {output:?}");
    }
    host.assert_nothing_left_behind();
}

#[test]
fn the_secret_is_in_the_auth_file_and_nowhere_else() {
    let host = require!(host());
    let registry = Registry::with_auth(basic());
    let reference = registry.push("private:1", &ImageBuilder::busybox().build());
    let missing = format!("{}/missing:1", registry.host());

    let login = at_home(
        &host,
        &[
            "--log-level",
            "debug",
            "login",
            "-u",
            "ann",
            "--password-stdin",
            &registry.host(),
        ],
    )
    .stdin(SECRET)
    .run();
    let failing = at_home(&host, &["--log-level", "debug", "pull", &missing]).run();
    let pull = at_home(&host, &["--log-level", "debug", "pull", &reference]).run();
    let inspect = at_home(&host, &["inspect", &reference]).run();

    assert_eq!(files_with_the_secret(&host.scratch()), [auth_file(&host)]);
    for output in [login, failing, pull, inspect] {
        let shown = format!("{}{}", output.stdout, output.stderr);
        assert!(
            !shown.contains(SECRET) && !shown.contains("YW5u"),
            "{output:?}"
        );
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_password_is_asked_for_at_the_terminal_and_not_shown() {
    let host = require!(host());
    let registry = Registry::with_auth(basic());
    let server = registry.host();
    let at_terminal = || at_home(&host, &["login", &server]).at_terminal();

    let mut terminal = at_terminal();
    let before = terminal.settings();
    terminal.await_text("Username: ");
    terminal.type_in("ann\n");
    terminal.await_text("Password: ");
    terminal.await_settings(|now| !now.local_modes.contains(LocalModes::ECHO));
    terminal.signal(Signal::INT);
    assert_eq!(terminal.wait(), 130, "{}", terminal.screen());
    assert_eq!(terminal.settings().local_modes, before.local_modes);
    assert!(!auth_file(&host).exists());

    let mut terminal = at_terminal();
    terminal.await_text("Username: ");
    terminal.type_in("ann\n");
    terminal.await_text("Password: ");
    terminal.await_settings(|now| !now.local_modes.contains(LocalModes::ECHO));
    terminal.type_in(&format!("{SECRET}\n"));
    terminal.await_text("Login Succeeded");
    assert_eq!(terminal.wait(), 0, "{}", terminal.screen());
    assert!(!terminal.screen().contains(SECRET), "{}", terminal.screen());
    assert_eq!(terminal.settings().local_modes, before.local_modes);
    host.assert_nothing_left_behind();
}

#[test]
fn a_question_that_is_put_off_leaves_the_terminal_as_it_was() {
    let host = require!(host());
    let registry = Registry::with_auth(basic());
    // a shell with job control, as a user's is
    let script = format!(
        "set -m; '{}' login -u ann {}; echo \"ended $?\"; fg; echo \"ended $?\"",
        host.binary().display(),
        registry.host()
    );
    let shell = host.program("sh").arg("-c").arg(&script);
    let shell = shell.env("HOME", &home(&host).to_string_lossy());
    let mut terminal = shell.at_terminal();
    let before = terminal.settings().local_modes;
    let is_silent = |now: &rustix::termios::Termios| !now.local_modes.contains(LocalModes::ECHO);

    terminal.await_text("Password: ");
    terminal.await_settings(is_silent);
    terminal.type_in("\x1a");
    terminal.await_text("ended 148");
    terminal.await_text("Password: ");
    terminal.await_settings(is_silent);
    terminal.type_in(&format!("{SECRET}\n"));
    terminal.await_text("Login Succeeded");
    terminal.await_text("ended 0");

    assert_eq!(terminal.wait(), 0, "{}", terminal.screen());
    assert_eq!(terminal.settings().local_modes, before);
    assert!(!terminal.screen().contains(SECRET), "{}", terminal.screen());
    host.assert_nothing_left_behind();
}

#[test]
fn nobody_looks_into_a_login_that_asks_for_a_password() {
    use std::os::unix::fs::MetadataExt as _;
    let host = require!(host());
    let binary = host.binary().to_string_lossy().into_owned();
    let words = [
        "--reuid=65534",
        "--clear-groups",
        &binary,
        "login",
        "-u",
        "ann",
        "localhost:1",
    ];
    let command = words
        .iter()
        .fold(host.program("setpriv"), |command, word| command.arg(word));
    let mut terminal = command
        .env("HOME", &home(&host).to_string_lossy())
        .at_terminal();
    terminal.await_text("Password: ");
    let owner = fs_err::metadata(format!("/proc/{}/environ", terminal.pid()));
    assert_eq!(owner.expect("a process").uid(), 0, "it can be looked into");
    terminal.type_in("\x04");
    assert_eq!(terminal.wait(), 1, "{}", terminal.screen());
    host.assert_nothing_left_behind();
}

#[test]
fn who_cannot_be_asked_is_told_what_to_say() {
    let host = require!(host());
    let registry = Registry::with_auth(basic());
    let server = registry.host();
    for (words, code, says) in [
        (&["login"][..], 1, "interactive login"),
        (&["login", "-u", "ann"], 1, "interactive login"),
        (
            &["login", "--password-stdin"],
            125,
            "must provide --username",
        ),
        (
            &["login", "-u", "ann", "-p", "x", "--password-stdin"],
            125,
            "mutually exclusive",
        ),
        (&["login", "-u", "", "-p", "x"], 125, "username is empty"),
        (&["login", "-u", "a:b", "-p", "x"], 1, "refused"),
        (
            &["login", "-u", "ann", "-p", SECRET],
            0,
            "WARNING! Using --password",
        ),
    ] {
        let words = [words, &[server.as_str()]].concat();
        let output = at_home(&host, &words).stdin("").run();
        assert_eq!(output.exit_code, code, "{output:?}");
        assert!(output.stderr.contains(says), "{says}: {output:?}");
    }
    for name in ["", "a b", "host:port", "https://"] {
        let output = at_home(&host, &["login", "-u", "a", "-p", "b", name]).run();
        assert_eq!(output.exit_code, 1, "{name:?}: {output:?}");
        assert!(
            output.stderr.contains("not a registry"),
            "{name:?}: {output:?}"
        );
    }
    let output = at_home(&host, &["pull", "--authfile", "/nonexistent", "x"]).run();
    assert!(output.stderr.contains("there is none"), "{output:?}");
    host.assert_nothing_left_behind();
}

#[test]
fn a_login_for_a_path_is_found_again_where_a_helper_keeps_it() {
    let host = require!(host());
    let (drawer, path) = helper(&host);
    let registry = Registry::with_auth(basic());
    let reference = registry.push("team/private:1", &ImageBuilder::busybox().build());
    let server = format!("{}/team", registry.host());
    let file = auth_file(&host);
    fs_err::create_dir_all(file.parent().expect("a directory")).expect("a directory");
    fs_err::write(&file, r#"{"credsStore": "drawer"}"#).expect("a file");
    let with_helper = |words: &[&str]| at_home(&host, words).env("PATH", &path);

    let login = with_helper(&["login", "-u", "ann", "--password-stdin", &server]);
    let login = login.stdin(SECRET).run();

    assert_eq!(login.stdout, "Login Succeeded\n", "{login:?}");
    assert_eq!(
        files_with_the_secret(&host.scratch()),
        [drawer.join("kept")]
    );
    let who = with_helper(&["login", "--get-login", &server]).run();
    assert_eq!(who.stdout, "ann\n", "{who:?}");
    let pull = with_helper(&["pull", "-q", &reference]).run();
    assert_eq!(pull.exit_code, 0, "{pull:?}");
    let asked = fs_err::read_to_string(drawer.join("asked")).expect("a question");
    assert_eq!(asked, server);
    let logout = with_helper(&["logout", &server]).run();
    assert!(logout.stdout.starts_with("Removing"), "{logout:?}");
    let left = fs_err::read_to_string(&file).expect("a file");
    assert!(!left.contains("team"), "{left}");
    host.ok(["rmi", &reference]);
    host.assert_nothing_left_behind();
}

#[test]
fn an_auth_file_that_is_a_device_knows_nobody_and_stays_one() {
    let host = require!(host());
    let registry = Registry::with_auth(basic());
    let server = registry.host();
    let with_null = |words: &[&str]| at_home(&host, words).env("REGISTRY_AUTH_FILE", "/dev/null");
    let login = with_null(&["login", "-u", "ann", "--password-stdin", &server]);
    let login = login.stdin(SECRET).run();
    assert_eq!(login.exit_code, 1, "{login:?}");
    assert!(login.stderr.contains("not a regular file"), "{login:?}");
    let logout = with_null(&["logout", "--all"]).run();
    assert_eq!(logout.exit_code, 0, "{logout:?}");
    let kind = fs_err::metadata("/dev/null").expect("a device").file_type();
    assert!(std::os::unix::fs::FileTypeExt::is_char_device(&kind));
    host.assert_nothing_left_behind();
}

/// A credential helper that keeps what it gets in files of `directory`, and a PATH that has it.
fn helper(host: &Host) -> (PathBuf, String) {
    let directory = host.scratch().join("helper");
    fs_err::create_dir_all(&directory).expect("a directory");
    let program = directory.join("docker-credential-drawer");
    let script = format!(
        "#!/bin/sh\ncd '{}'\ncase $1 in\n\
         store) cat >kept ;;\n\
         get) cat >asked; cat kept 2>/dev/null || {{ echo credentials not found in native keychain; exit 1; }} ;;\n\
         erase) cat >erased; rm kept ;;\n\
         list) [ ! -e kept ] && echo '{{}}' || echo '{{\"'$(cat asked)'\":\"ann\"}}' ;;\nesac\n",
        directory.display()
    );
    fs_err::write(&program, script).expect("a script");
    fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a program");
    let path = std::env::var("PATH").unwrap_or_default();
    (directory.clone(), format!("{}:{path}", directory.display()))
}

#[test]
fn a_credential_helper_keeps_what_its_file_says_it_keeps() {
    let host = require!(host());
    let (drawer, path) = helper(&host);
    let registry = Registry::with_auth(basic());
    let reference = registry.push("private:1", &ImageBuilder::busybox().build());
    let server = registry.host();
    let file = auth_file(&host);
    fs_err::create_dir_all(file.parent().expect("a directory")).expect("a directory");
    let with_helper = |words: &[&str]| at_home(&host, words).env("PATH", &path);

    for settings in [
        serde_json::json!({ "credsStore": "drawer" }),
        serde_json::json!({ "credHelpers": { &server: "drawer" }, "credsStore": "nobody" }),
    ] {
        fs_err::write(&file, settings.to_string()).expect("a file");
        let login = with_helper(&["login", "-u", "ann", "--password-stdin", &server]);
        let login = login.stdin(SECRET).run();
        assert_eq!(login.stdout, "Login Succeeded\n", "{login:?}");
        assert_eq!(
            files_with_the_secret(&host.scratch()),
            [drawer.join("kept")]
        );
        let pull = with_helper(&["pull", "-q", &reference]).run();
        assert_eq!(pull.exit_code, 0, "{pull:?}");
        host.ok(["rmi", &reference]);
        let asked = fs_err::read_to_string(drawer.join("asked")).expect("a question");
        assert_eq!(asked, server);
        let logout = with_helper(&["logout", &server]).run();
        assert_eq!(
            logout.stdout,
            format!("Removing login credentials for {server}\n")
        );
        let erased = fs_err::read_to_string(drawer.join("erased")).expect("an order");
        assert_eq!(erased, server);
        assert_eq!(files_with_the_secret(&host.scratch()), [] as [PathBuf; 0]);
    }

    let pull = at_home(&host, &["pull", "-q", &reference]).run();
    assert_eq!(pull.exit_code, 1, "{pull:?}");
    assert!(
        pull.stderr.contains("docker-credential-drawer") && pull.stderr.contains("hint: install"),
        "{pull:?}"
    );
    host.assert_nothing_left_behind();
}

#[test]
fn dockers_own_file_is_read_and_left_to_docker() {
    let host = require!(host());
    let registry = Registry::with_auth(basic());
    let reference = registry.push("private:1", &ImageBuilder::busybox().build());
    let server = registry.host();
    let dockers = home(&host).join(".docker/config.json");
    let compat = ["--compat-auth-file", &dockers.to_string_lossy()];

    let words = [
        "login",
        "-u",
        "ann",
        "--password-stdin",
        compat[0],
        compat[1],
        &server,
    ];
    let login = at_home(&host, &words).stdin(SECRET).run();
    assert_eq!(login.stdout, "Login Succeeded\n", "{login:?}");
    assert!(!auth_file(&host).exists() && mode(&dockers) == 0o600);
    let pull = at_home(&host, &["pull", "-q", &reference]).run();
    assert_eq!(pull.exit_code, 0, "{pull:?}");
    let logout = at_home(&host, &["logout", &server]).run();
    assert!(
        logout.stdout.contains("Not logged in") && logout.stderr.contains("docker logout"),
        "{logout:?}"
    );
    let logout = at_home(&host, &["logout", "--all", compat[0], compat[1]]).run();
    assert_eq!(
        logout.stdout,
        "Removed login credentials for all registries\n"
    );
    assert_eq!(files_with_the_secret(&home(&host)), [] as [PathBuf; 0]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_file_that_a_variable_names_is_the_only_one_that_changes() {
    let host = require!(host());
    let registry = Registry::with_auth(basic());
    let server = registry.host();
    let address = server.as_str();
    assert_eq!(log_in(&host, address, SECRET).exit_code, 0);
    let before = fs_err::read(auth_file(&host)).expect("a login at home");

    // not there yet
    let named = host.scratch().join("ci/auth.json");
    let with_variable =
        |words: &[&str]| at_home(&host, words).env("REGISTRY_AUTH_FILE", &named.to_string_lossy());
    let words = ["login", "-u", "ann", "--password-stdin", address];
    let kept = with_variable(&words).stdin(format!("{SECRET}\n")).run();
    assert_eq!(kept.exit_code, 0, "{kept:?}");
    assert_eq!(
        files_with_the_secret(&host.scratch()).len(),
        2,
        "both files"
    );
    assert_eq!(fs_err::read(auth_file(&host)).expect("the file"), before);

    let gone = with_variable(&["logout", "--all"]).run();
    assert_eq!(gone.exit_code, 0, "{gone:?}");
    assert_eq!(fs_err::read(auth_file(&host)).expect("the file"), before);
    assert_eq!(files_with_the_secret(&host.scratch()), [auth_file(&host)]);
}
