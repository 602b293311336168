//! What archives call their images is a stranger's word.

use rocker_testkit::Host;
use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::require;

use crate::{host, inspect};

const NAME: &str = "app:1";

/// An image that nothing is called `NAME`, and an archive of it in which it is.
fn archived(host: &Host, name: &str) -> (String, String) {
    let image = ImageBuilder::busybox().layer(Layer::new().file("which", name));
    let image = host.pulled(&format!("{name}:0"), image);
    let archive = host.scratch().join(format!("{name}.tar"));
    let archive = archive.to_string_lossy().into_owned();
    host.ok(["tag", &image, NAME]);
    host.ok(["save", "-o", &archive, NAME]);
    host.ok(["untag", NAME, NAME]);
    (inspect(host, &image, "{{.Id}}"), archive)
}

fn id(host: &Host) -> String {
    inspect(host, NAME, "{{.Id}}")
}

#[test]
fn a_newer_archive_takes_the_name_of_an_older_one_and_says_so() {
    let host = require!(host());
    let (older, older_archive) = archived(&host, "older");
    let (newer, newer_archive) = archived(&host, "newer");
    host.ok(["load", "-i", &older_archive]);
    assert_eq!(id(&host), older);
    host.ok(["create", "--name", "user", NAME, "true"]);

    let moved = host.rocker(["load", "-q", "-i", &newer_archive]);

    assert_eq!(moved.exit_code, 0, "{moved:?}");
    assert_eq!(moved.stdout, format!("Loaded image: {NAME}\n"));
    assert_eq!(
        moved.stderr,
        format!(
            "The image {NAME} already exists, renaming the old one with ID {older} to empty string\n"
        )
    );
    assert_eq!(id(&host), newer);
    assert_eq!(inspect(&host, "user", "{{.Image}}"), older);
    let again = host.rocker(["load", "-q", "-i", &newer_archive]);
    assert_eq!((again.exit_code, again.stderr.as_str()), (0, ""));
    host.ok(["rm", "user"]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_name_by_which_an_image_was_pulled_from_a_file_is_the_users() {
    let host = require!(host());
    let (first, first_archive) = archived(&host, "first");
    let (other, other_archive) = archived(&host, "other");
    let pull = |archive: &str, name: &str| {
        host.rocker(["pull", "-q", &format!("docker-archive:{archive}{name}")])
    };

    assert_eq!(pull(&first_archive, ":app:1").exit_code, 0);
    assert_eq!(id(&host), first);
    // by what the archive says, it goes to nobody else
    let load = host.rocker(["load", "-i", &other_archive]);
    for refused in [load, pull(&other_archive, "")] {
        assert_eq!(refused.exit_code, 1, "{refused:?}");
        assert!(refused.stderr.contains("its full name"), "{refused:?}");
        assert_eq!(id(&host), first);
    }
    // by the user's word it does
    assert_eq!(pull(&other_archive, ":app:1").exit_code, 0);
    assert_eq!(id(&host), other);
    host.ok(["untag", NAME, NAME]);
    // what a file had came by a file's word
    assert_eq!(pull(&first_archive, "").exit_code, 0);
    host.ok(["load", "-i", &other_archive]);
    assert_eq!(id(&host), other);
    host.assert_nothing_left_behind();
}

#[test]
fn an_archive_takes_no_name_that_the_user_gave_unless_forced() {
    let host = require!(host());
    let (evil, archive) = archived(&host, "evil");
    let (good, good_archive) = archived(&host, "good");
    let registry = host.registry().host();
    let pulled = host.pulled("app:1", ImageBuilder::busybox());
    let own = inspect(&host, &pulled, "{{.Id}}");
    let scratch = host.scratch();
    let scratch = scratch.display();
    let script = format!(
        "mkdir {scratch}/x; cd {scratch}/x; tar -xf {archive}; sed -i s,docker.io/library/app:1,{registry}/app:1,g index.json; \
         sed -i s,app:1,{registry}/app:1,g manifest.json; tar -cf ../pulled.tar *"
    );
    let edited = host.scratch().join("pulled.tar");
    let edited = edited.to_string_lossy();
    let done = host.program("sh").arg("-ec").arg(&script).run();
    assert_eq!(done.exit_code, 0, "{done:?}");

    let before = host.snapshot();
    let refused = host.rocker(["load", "-q", "-i", &edited]);
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    assert!(refused.stderr.contains(&pulled), "{refused:?}");
    assert!(refused.stderr.contains("--force"), "{refused:?}");
    assert_eq!(inspect(&host, &pulled, "{{.Id}}"), own);

    let ways: [&[&str]; 3] = [
        &["tag", &good, NAME],
        // what an archive says once more stays the user's
        &["load", "-i", &good_archive],
        &["load", "-i", &good_archive, "--force"],
    ];
    for words in ways {
        host.ok(words.iter().copied());
        let refused = host.rocker(["load", "-i", &archive]);
        assert_eq!(refused.exit_code, 1, "{words:?}: {refused:?}");
        assert_eq!(id(&host), good);
    }
    host.ok(["untag", NAME, NAME]);
    assert_eq!(host.difference_from(&before), Vec::<String>::new());

    host.ok(["tag", &good, NAME]);
    host.ok(["load", "-f", "-i", &archive]);
    assert_eq!(id(&host), evil);
    host.assert_nothing_left_behind();
}
