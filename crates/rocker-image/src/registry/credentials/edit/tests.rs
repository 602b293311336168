use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn hub() -> Server {
    Server::hub()
}

fn mode(path: &Path) -> u32 {
    fs_err::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn save(path: &Path, server: &str, password: &str) -> Result<SavedIn, AuthFileError> {
    let server = server.parse().unwrap();
    save_login(path, KeyStyle::Containers, &server, ("ann", password))
}

#[test]
fn a_login_is_for_its_owners_eyes_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("containers/auth.json");

    save(&path, "quay.io/team", "pw").unwrap();

    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    let file = AuthFile::read(&path).unwrap().unwrap();
    let found = file.find("quay.io", "team/app").unwrap().unwrap();
    assert_eq!(found.username(), Some("ann"));
    assert!(file.find("quay.io", "other").unwrap().is_none());
    let names: Vec<_> = fs_err::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn what_a_login_is_not_about_stays_and_stays_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    let before = r#"{"zeta": {"b": 1, "a": [1.50]}, "auths": {"z.io": {"auth": "YTpi"},
        "https://index.docker.io/v1/": {"auth": "YTpi", "email": "x"}, "docker.io": {},
        "a.io": {"auth": "YTpi"}}, "alpha": "psFormat"}"#;
    fs_err::write(&path, before).unwrap();

    save(&path, "docker.io", "new").unwrap();

    let text = fs_err::read_to_string(&path).unwrap();
    let places: Vec<_> = [
        "zeta",
        "1.5",
        "auths",
        "z.io",
        "index.docker.io",
        "a.io",
        "alpha",
    ]
    .iter()
    .map(|word| {
        text.find(word)
            .unwrap_or_else(|| panic!("{word} in {text}"))
    })
    .collect();
    assert!(places.is_sorted(), "{places:?} {text}");
    assert!(
        !text.contains("\"docker.io\"") && !text.contains("email"),
        "{text}"
    );
    assert!(forget_login(&path, &hub()).unwrap());
    assert!(!forget_login(&path, &hub()).unwrap());
    assert!(forget_all_logins(&path).unwrap());
    let text = fs_err::read_to_string(&path).unwrap();
    assert!(text.contains("alpha") && !text.contains("YTpi"), "{text}");
}

#[test]
fn a_file_that_is_not_understood_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.json");
    for text in ["[]", "{", r#"{"auths": []}"#, r#"{"auths": 1}"#, "hunter2"] {
        fs_err::write(&path, text).unwrap();
        let error = save(&path, "quay.io", "secret").unwrap_err();
        assert_eq!(fs_err::read_to_string(&path).unwrap(), text);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    assert!(save_login(&path, KeyStyle::Docker, &hub(), ("a:b", "c")).is_err());
}

#[test]
fn what_is_no_file_is_read_and_not_replaced() {
    let null = Path::new("/dev/null");
    assert!(!forget_login(null, &hub()).unwrap());
    assert!(!forget_all_logins(null).unwrap());
    let error = save(null, "quay.io", "secret").unwrap_err();
    assert!(matches!(error, AuthFileError::NotAFile { .. }), "{error}");
    let is_file = fs_err::metadata(null).unwrap().is_file();
    assert!(!is_file, "it was replaced");
}

#[test]
fn a_link_leads_to_the_file_that_changes() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().join("dotfiles.json");
    let link = directory.path().join("auth.json");
    fs_err::write(&real, "{}").unwrap();
    fs_err::os::unix::fs::symlink(&real, &link).unwrap();
    // left by a writer that was killed
    fs_err::write(directory.path().join(".dotfiles.json.rocker"), "old secret").unwrap();

    save(&link, "quay.io", "pw").unwrap();

    assert!(fs_err::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs_err::read_to_string(&real).unwrap().contains("quay.io"));
    assert!(!directory.path().join(".dotfiles.json.rocker").exists());
}

#[test]
fn a_file_stays_its_owners_unless_it_lies_in_somebody_elses_directory() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.json");
    for (directory_owner, expected) in [(4242, 4242), (0, 0)] {
        fs_err::write(&path, "{}").unwrap();
        chown(&path, Some(4242), Some(4242)).unwrap();
        chown(directory.path(), Some(directory_owner), None).unwrap();
        save(&path, "quay.io", "pw").unwrap();
        assert_eq!(fs_err::metadata(&path).unwrap().uid(), expected);
    }
}

#[test]
fn logins_side_by_side_are_all_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.json");
    std::thread::scope(|scope| {
        for n in 0..8 {
            let path = &path;
            scope.spawn(move || save(path, &format!("r{n}.io"), "pw").unwrap());
        }
    });
    let text = fs_err::read_to_string(&path).unwrap();
    assert_eq!(text.matches("\"auth\"").count(), 8, "{text}");
}
