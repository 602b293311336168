//! There and back: images through the hands of other tools, and the same again.

use std::path::{Path, PathBuf};

use rocker_testkit::host::programs;
use rocker_testkit::image::{Compression, Image, ImageBuilder, Layer};
use rocker_testkit::registry::{Distribution, Entrance, Registry, TokenService, certificate};
use rocker_testkit::{Host, require, tree};

use crate::{host, inspect};

const USER: (&str, &str) = ("ann", "correct-horse");

/// Runs a script of the machine's shell in the scratch directory, which must succeed.
fn shell(host: &Host, script: &str) -> String {
    let script = format!("cd '{}'\n{script}", host.scratch().display());
    let command = host.program("sh").arg("-euc").arg(&script);
    let output = command.env("HOME", &host.scratch().to_string_lossy()).run();
    assert_eq!(output.exit_code, 0, "{script}: {output:?}");
    output.stdout.trim_end().to_owned()
}

/// podman with storage of the test's own.
fn podman(host: &Host, words: &str) -> String {
    let own = "--root podman/root --runroot podman/run --tmpdir podman/tmp";
    let how = "--storage-driver vfs --cgroup-manager cgroupfs --log-level error";
    shell(
        host,
        &format!("mkdir -p podman; podman {own} {how} {words}"),
    )
}

fn path(host: &Host, name: &str) -> PathBuf {
    host.scratch().join(name)
}

/// A layer that GNU tar packs of what a shell makes, with everything that files can be.
fn packed(host: &Host, name: &str, script: &str, notes: &[(&str, &str)]) -> Layer {
    shell(host, &format!("mkdir {name}; cd {name}\n{script}"));
    for (file, note) in notes {
        let file = path(host, name).join(file);
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(&file, "user.note", note.as_bytes(), flags).expect("a note");
    }
    shell(
        host,
        &format!(
            "tar --format=posix --xattrs --xattrs-include='*' --sparse --sort=name -C {name} -cf {name}.tar ."
        ),
    );
    let bytes = fs_err::read(path(host, &format!("{name}.tar"))).expect("an archive");
    Layer::from_tar(bytes)
}

/// Everything that a layer can have.
const BELOW: &str = r#"
    umask 022
    long=$(printf 'n%.0s' $(seq 200))
    mkdir -p d/sub opaque/deep sticky setgid empty "$long/$long" gone/inner becomes-file
    chmod 1777 sticky; chmod 2775 setgid; chown 7:8 setgid empty
    echo one > d/f; echo two > d/sub/g; chown 70000:70001 d/sub/g
    echo old > opaque/old; echo old > opaque/deep/old; echo x > gone/inner/x
    echo far > "$long/$long/$long"
    ln d/f hard-one; ln d/f d/sub/hard-two
    ln -s /nowhere dangling; ln -s d/f relative; ln -s "$long" long-link
    mkfifo pipe; mknod null c 1 3; mknod disk b 7 200
    echo program > setuid; chmod 6755 setuid
    : > nothing; printf 'a\0b' > zero
    printf '%s' name > "$(printf 'latin-\344')"; echo u > 'ünïcode ☃'; echo q > 'quo"te\back'
    truncate -s 3M sparse; printf middle | dd of=sparse bs=1 seek=1500000 conv=notrunc status=none
    echo ping > ping; setcap cap_net_raw+ep ping
    echo noted > noted; echo replaced > becomes-dir; echo same > stays
    find . -exec touch -h -d '2001-02-03 04:05:06 UTC' {} +
    touch -d '1969-12-31 23:59:00 UTC' nothing; touch -d '2100-01-01 UTC' stays
"#;

/// What is noted about it in extended attributes.
const NOTES: &[(&str, &str)] = &[("noted", "a value"), ("d", "a directory's")];

/// Changes to it: what goes, what hides what is below, what takes the place of another kind.
const ABOVE: &str = r#"
    mkdir -p d opaque becomes-dir setgid
    : > .wh.gone; : > .wh.hard-one; : > opaque/.wh..wh..opq; : > d/.wh.sub
    echo new > opaque/new; echo inside > becomes-dir/inside; echo file > becomes-file
    chmod 0700 setgid; echo changed > d/f; ln d/f d/again
    chmod 640 d/f; chown 5:6 d/f
    find . -exec touch -h -d '2010-11-12 13:14:15 UTC' {} +
"#;

/// An image of all that, but for holes: podman cannot write an archive with them again.
fn nearly_everything(host: &Host) -> Image {
    let below = BELOW.lines().filter(|line| !line.contains("sparse"));
    let below = below.collect::<Vec<_>>().join("\n");
    let last = Layer::new()
        .whiteout("stays")
        .file("top", "3")
        .compression(Compression::Zstd);
    ImageBuilder::new()
        .layer(packed(host, "below", &below, NOTES))
        .layer(packed(host, "above", ABOVE, &[]).compression(Compression::GzipMembers))
        .layer(last)
        .cmd(["/program"])
        .build()
}

/// The layers of an image in the store, mounted as a container would see them.
fn mounted(host: &Host, image: &str, directory: &str) -> PathBuf {
    let layers = inspect(host, image, "{{range .RootFS.Layers}}{{.}} {{end}}");
    let below = host.root().join("layers");
    let mut lower: Vec<_> = layers
        .split_whitespace()
        .map(|id| below.join(id.trim_start_matches("sha256:")))
        .map(|layer| layer.to_string_lossy().into_owned())
        .collect();
    lower.reverse();
    shell(
        host,
        &format!(
            "mkdir {directory}; mount -t overlay none -o ro,lowerdir={} {directory}",
            lower.join(":")
        ),
    );
    path(host, directory)
}

fn assert_same_tree(one: &Path, other: &Path) {
    let (one, other) = (tree::listing(one), tree::listing(other));
    assert!(one.len() > 25, "{one:#?}");
    let differences = tree::differences(&one, &other);
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn what_is_unpacked_is_what_umoci_unpacks() {
    let host = require!(host());
    require!(programs(&["umoci", "diff", "setcap", "tar"]));
    // umoci knows no zstd
    let top = Layer::new().whiteout("stays").file("top", "3");
    let image = ImageBuilder::new()
        .layer(packed(&host, "below", BELOW, NOTES))
        .layer(packed(&host, "above", ABOVE, &[]).compression(Compression::GzipMembers))
        .layer(top)
        .build();
    let layout = path(&host, "layout");
    image.write_oci_layout(&layout, "all").expect("a layout");
    let reference = host.registry().push("all:1", &image);
    host.ok(["pull", "-q", &reference]);

    shell(
        &host,
        "umoci unpack --keep-dirlinks --image layout:all bundle",
    );

    let ours = mounted(&host, &reference, "ours");
    let theirs = path(&host, "bundle/rootfs");
    assert_same_tree(&ours, &theirs);
    shell(
        &host,
        "diff -r --no-dereference -x pipe -x null -x disk ours bundle/rootfs",
    );
    let blocks = shell(&host, "stat -c %b ours/sparse");
    let blocks: u64 = blocks.parse().expect("a number");
    assert!(blocks * 512 < 1 << 20, "the holes are filled: {blocks}");
    shell(&host, "umount ours");
    host.ok(["rmi", &reference]);
    host.assert_nothing_left_behind();
}

/// Id and diff ids, by which an image is known again.
fn identity(host: &Host, image: &str) -> String {
    inspect(host, image, "{{.Id}} {{json .RootFS.Layers}}")
}

/// The only image that is here, which is then removed.
fn take_only_image(host: &Host) -> String {
    let id = host.ok(["images", "-q", "--no-trunc"]);
    assert_eq!(id.lines().count(), 1, "{id}");
    let identity = identity(host, &id);
    host.ok(["rmi", "-f", &id]);
    identity
}

#[test]
fn archives_come_back_from_skopeo_and_podman_as_the_same_image() {
    let host = require!(host());
    require!(programs(&["skopeo", "podman", "setcap"]));
    let image = nearly_everything(&host);
    let name = host.registry().push("all:1", &image);
    host.ok(["pull", "-q", &name]);
    let known = identity(&host, &name);
    let id = inspect(&host, &name, "{{.Id}}");
    for (format, file) in [
        ("docker-archive", "saved.docker"),
        ("oci-archive", "saved.oci"),
        ("oci-dir", "saved.dir"),
    ] {
        let file = path(&host, file);
        let words = [
            "save",
            "--format",
            format,
            "-o",
            &file.to_string_lossy(),
            &name,
        ];
        host.ok(words);
    }
    host.ok(["rmi", &name]);

    for (from, to) in [
        ("docker-archive:saved.docker", "oci-archive:one:x"),
        ("oci-archive:saved.docker", "docker-archive:two:x/y:1"),
        ("oci-archive:saved.oci", "oci:three:x"),
        ("oci:saved.dir", "docker-archive:four:x/y:1"),
    ] {
        shell(
            &host,
            &format!("skopeo copy -q --insecure-policy {from} {to}"),
        );
        let file = to.split(':').nth(1).expect("a file");
        host.ok(["load", "-q", "-i", &path(&host, file).to_string_lossy()]);
        let back = take_only_image(&host);
        // a config of docker's form is another text than one of OCI's, and has the same layers
        let layers = |text: &str| text.split_once(' ').map(|(_, layers)| layers.to_owned());
        assert_eq!(layers(&back), layers(&known), "{from} {to}");
    }
    for file in ["saved.docker", "saved.oci"] {
        podman(&host, &format!("load -q -i {file}"));
        let theirs = podman(&host, "images -aq --no-trunc");
        assert_eq!(theirs.lines().next(), Some(id.as_str()), "{file}");
        for format in ["docker-archive", "oci-archive", "oci-dir"] {
            let (back, bare) = (format!("{file}-{format}"), id.trim_start_matches("sha256:"));
            podman(
                &host,
                &format!("save -q --format {format} -o {back} {bare}"),
            );
            host.ok(["load", "-q", "-i", &path(&host, &back).to_string_lossy()]);
            assert_eq!(take_only_image(&host), known, "{back}");
        }
        podman(&host, "rmi -af");
    }
    host.assert_nothing_left_behind();
}

/// Pushes an image that was loaded from a file to a distribution server, and has the other tools
/// fetch it from there.
fn through_a_registry(host: &Host, server: &Distribution, flags: &[&str], tools: &str) {
    let image = nearly_everything(host);
    let origin = Registry::start();
    let pulled = origin.push("origin/all:1", &image);
    host.ok(["pull", "-q", &pulled]);
    let name = format!("{}/team/all:1", server.host());
    host.ok(["tag", &pulled, &name]);
    let known = identity(host, &name);
    let id = inspect(host, &name, "{{.Id}}");
    let rocker = |words: &[&str]| {
        let command = host.command(words.iter().chain(flags).copied());
        let home = host.scratch().join("home");
        let output = command.env("HOME", &home.to_string_lossy()).run();
        assert_eq!(output.exit_code, 0, "{output:?}");
        output.stdout
    };
    rocker(&["push", "-q", &name, "--digestfile", "/dev/null"]);
    let pushed = rocker(&["push", &name]);
    assert!(pushed.contains(&image.manifest.digest), "{pushed}");
    host.ok(["rmi", "-f", &id]);

    let (user, password) = USER;
    let who = format!("--creds {user}:{password} {tools}");
    let raw = shell(host, &format!("skopeo inspect --raw {who} docker://{name}"));
    assert_eq!(raw.as_bytes(), &image.manifest.bytes[..]);
    podman(host, &format!("pull -q {who} {name}"));
    let theirs = podman(
        host,
        &format!("image inspect -f '{{{{.Id}}}} {{{{.Digest}}}}' {name}"),
    );
    let bare = id.trim_start_matches("sha256:");
    assert_eq!(theirs, format!("{bare} {}", image.manifest.digest));
    // and what podman pushes is what we pull
    let back = format!("{}/back/all:1", server.host());
    podman(host, &format!("push -q {who} {name} {back}"));
    podman(host, "rmi -af");
    rocker(&["pull", "-q", &back]);
    assert_eq!(identity(host, &back), known);
    rocker(&["pull", "-q", &name]);
    let digests = inspect(host, &name, "{{json .RepoDigests}}");
    assert!(digests.contains(&image.manifest.digest), "{digests}");
    host.ok(["rmi", "-f", &id]);
}

#[test]
fn the_distribution_server_with_tls_and_passwords_gives_the_same_back() {
    let host = require!(host());
    require!(programs(&["skopeo", "podman", "setcap"]));
    let tls = require!(certificate(&host.scratch()));
    let certificates = host.scratch().join("certs");
    fs_err::create_dir(&certificates).expect("a directory");
    fs_err::copy(&tls.0, certificates.join("ca.crt")).expect("a copy");
    let entrance = Entrance {
        user: Some((USER.0.to_owned(), USER.1.to_owned())),
        tls: Some(tls),
        ..Entrance::default()
    };
    let server = require!(Distribution::start_with(&host.scratch(), 5000, &entrance));
    let directory = certificates.to_string_lossy().into_owned();
    let creds = format!("{}:{}", USER.0, USER.1);
    let flags = ["--cert-dir", &directory, "--creds", &creds];
    through_a_registry(&host, &server, &flags, &format!("--cert-dir {directory}"));
    drop(server);
    host.assert_nothing_left_behind();
}

#[test]
fn the_distribution_server_with_a_token_service_gives_the_same_back() {
    let host = require!(host());
    require!(programs(&["skopeo", "podman", "setcap"]));
    let tokens = require!(TokenService::start(&host.scratch(), USER));
    let entrance = Entrance {
        tokens: Some(tokens.clone()),
        ..Entrance::default()
    };
    let server = require!(Distribution::start_with(&host.scratch(), 5000, &entrance));
    let home = host.scratch().join("home");
    fs_err::create_dir(&home).expect("a directory");
    let login = host
        .command(["login", "-u", USER.0, "--password-stdin", server.host()])
        .env("HOME", &home.to_string_lossy())
        .stdin(USER.1)
        .run();
    assert_eq!(login.stdout, "Login Succeeded\n", "{login:?}");
    through_a_registry(&host, &server, &[], "--tls-verify=false");
    let asked = tokens.asked();
    let pushes = asked
        .iter()
        .filter(|path| path.contains("team%2Fall%3Apull%2Cpush"));
    assert!(pushes.count() >= 1, "{asked:#?}");
    drop(server);
    host.assert_nothing_left_behind();
}
