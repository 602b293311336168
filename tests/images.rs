//! images, rmi, import, tag rules: what is in the store and what goes.

use rocker_testkit::image::{Compression, Format, ImageBuilder, Layer};
use rocker_testkit::registry::{Action, On};
use rocker_testkit::require;

use crate::{host, inspect, shell};

#[test]
fn every_format_and_compression_gives_the_same_files() {
    let host = require!(host());

    for format in [Format::Oci, Format::DockerSchema2] {
        for compression in [
            Compression::Plain,
            Compression::Gzip,
            Compression::GzipMembers,
            Compression::Zstd,
        ] {
            let layer = Layer::new()
                .file("etc/which", format!("{format:?} {compression:?}"))
                .compression(compression);
            let image = host.pulled(
                "formats:1",
                ImageBuilder::busybox().layer(layer).format(format),
            );
            let read = host.ok(["run", "--rm", &image, "cat", "/etc/which"]);
            assert_eq!(read, format!("{format:?} {compression:?}"));
        }
    }
    host.assert_nothing_left_behind();
}

#[test]
fn layers_lie_on_each_other_with_whiteouts_and_opaque_directories() {
    let host = require!(host());
    let image = ImageBuilder::busybox()
        .layer(
            Layer::new()
                .dir("d", 0o755)
                .file("d/old", "1")
                .file("gone", "1")
                .dir("tree", 0o755)
                .file("tree/leaf", "1"),
        )
        .layer(
            Layer::new()
                .whiteout("gone")
                .whiteout("tree")
                .opaque("d")
                .file("d/new", "2"),
        )
        .layer(Layer::new().dir("tree", 0o755).file("tree/fresh", "3"));
    let image = host.pulled("stacked:1", image);

    let listed = host.ok(shell(&[], &image, "ls /gone 2>/dev/null; ls /d /tree"));

    assert_eq!(
        listed.split_whitespace().collect::<Vec<_>>(),
        ["/d:", "new", "/tree:", "fresh"]
    );
    host.assert_nothing_left_behind();
}

#[test]
fn an_image_of_127_layers_runs() {
    let host = require!(host());
    let image = (1..127).fold(ImageBuilder::busybox(), |image, number| {
        image.layer(Layer::new().file(&format!("layers/{number}"), number.to_string()))
    });
    let image = host.pulled("deep:1", image);

    assert_eq!(host.ok(shell(&[], &image, "ls /layers | wc -l")), "126");
    host.assert_nothing_left_behind();
}

#[test]
fn modes_owners_times_links_and_attributes_arrive() {
    use rocker_testkit::image::{Entry, EntryKind};

    let host = require!(host());
    let layer = Layer::new()
        .entry(
            Entry::new("setuid", EntryKind::File(b"x".to_vec()))
                .mode(0o4755)
                .owner(12, 34),
        )
        .entry(Entry::new(
            "deep/made/on/the/way",
            EntryKind::File(b"y".to_vec()),
        ))
        .symlink("link", "/etc/passwd")
        .hardlink("twin", "setuid")
        .entry(Entry::new("fifo", EntryKind::Fifo))
        .entry(Entry::new("labelled", EntryKind::File(Vec::new())).xattr("user.colour", b"blue"));
    let image = host.pulled("modes:1", ImageBuilder::busybox().layer(layer));

    let listed = host.ok(shell(&[], &image, "stat -c '%a %u:%g %h %Y' /setuid; readlink /link; stat -c %F /fifo; cat /deep/made/on/the/way"));

    assert_eq!(listed, "4755 12:34 2 1700000000\n/etc/passwd\nfifo\ny");
    host.assert_nothing_left_behind();
}

#[test]
fn images_are_listed_and_removed_unless_a_container_needs_them() {
    let host = require!(host());
    let before = host.snapshot();
    let image = host.busybox();
    let (repository, tag) = image.rsplit_once(':').expect("a tag");

    assert_eq!(
        host.ok(["images", "--format", "{{.Repository}} {{.Tag}}"]),
        format!("{repository} {tag}")
    );
    let id = host.ok(["images", "-q"]);
    host.ok(["create", "--name", "user", &image, "true"]);
    let refused = host.rocker(["rmi", &image]);
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("user"),
        "names the container: {refused:?}"
    );
    host.ok(["rm", "user"]);
    let removed = host.ok(["rmi", &image]);

    assert!(removed.contains(&format!("Untagged: {image}")), "{removed}");
    assert!(
        removed.contains(&format!("Deleted: sha256:{}", &id[..12])),
        "{removed}"
    );
    assert_eq!(host.ok(["images", "-q"]), "");
    host.assert_unchanged_since(&before);
}

#[test]
fn two_images_share_a_layer_until_the_last_one_goes() {
    let host = require!(host());
    let before = host.snapshot();
    let one = host.pulled(
        "shared:1",
        ImageBuilder::busybox().layer(Layer::new().file("one", "1")),
    );
    let downloads = host.registry().blob_downloads();
    let two = host.pulled(
        "shared:2",
        ImageBuilder::busybox().layer(Layer::new().file("two", "2")),
    );

    assert_eq!(
        host.registry().blob_downloads() - downloads,
        2,
        "the config and the one layer that is new"
    );
    host.ok(["rmi", &one]);
    assert_eq!(host.ok(["run", "--rm", &two, "cat", "/two"]), "2");
    host.ok(["rmi", &two]);
    host.assert_unchanged_since(&before);
}

#[test]
fn an_archive_of_files_becomes_an_image() {
    let host = require!(host());
    let before = host.snapshot();
    let archive = host.scratch().join("root.tar.gz");
    fs_err::write(
        &archive,
        Layer::busybox()
            .file("etc/marker", "imported")
            .build()
            .packed,
    )
    .expect("an archive");

    let from_file = host.ok(["import", &archive.to_string_lossy(), "mine:1"]);
    let from_stdin = host
        .command(["import", "-", "mine:2"])
        .stdin(Layer::busybox().tar().to_vec())
        .run();

    assert!(from_file.starts_with("sha256:"), "{from_file}");
    assert_eq!(from_stdin.exit_code, 0, "{from_stdin:?}");
    assert_eq!(
        host.ok(["run", "--rm", "mine:1", "cat", "/etc/marker"]),
        "imported"
    );
    assert_eq!(host.ok(["run", "--rm", "mine:2", "echo", "hello"]), "hello");
    host.ok(["rmi", "mine:1", "mine:2"]);
    host.assert_unchanged_since(&before);
}

#[test]
fn an_import_says_how_its_containers_are_run() {
    let host = require!(host());
    let import = |changes: &[&str]| {
        let words = ["import"].into_iter().chain(changes.iter().copied());
        let command = host.command(words.chain(["-m", "why not", "-", "said:1"]));
        command.stdin(Layer::busybox().tar().to_vec()).run()
    };

    let made = import(&[
        "-c",
        "ENV WHO=world",
        "-c",
        r#"CMD ["sh", "-c", "echo hello $WHO; pwd; id -u"]"#,
        "-c",
        "WORKDIR /tmp",
        "-c",
        "USER 5",
        "-c",
        "LABEL a=1",
    ]);
    assert_eq!(made.exit_code, 0, "{made:?}");
    assert_eq!(host.ok(["run", "--rm", "said:1"]), "hello world\n/tmp\n5");
    assert_eq!(
        inspect(&host, "said:1", "{{index .Config.Labels \"a\"}}"),
        "1"
    );

    for bad in ["RUN make", "EXPOSE 0", "ENV A='x", "HEALTHCHECK CMD"] {
        let refused = import(&["-c", bad]);
        assert_eq!(
            (refused.exit_code, refused.stdout.as_str()),
            (125, ""),
            "{refused:?}"
        );
        assert!(refused.stderr.contains("invalid change"), "{refused:?}");
    }
    host.assert_nothing_left_behind();
}

#[test]
fn run_pulls_what_is_missing_and_never_with_never() {
    let host = require!(host());
    let reference = host
        .registry()
        .push("later:1", &ImageBuilder::busybox().build());

    let refused = host.rocker(["run", "--rm", "--pull", "never", &reference, "true"]);
    let pulled = host.rocker(["run", "--rm", &reference, "echo", "here"]);
    let requests = host.registry().requests().len();
    let again = host.rocker(["run", "--rm", &reference, "echo", "here"]);
    let without_asking = host.registry().requests().len() == requests;
    let always = host.rocker([
        "run", "--rm", "--pull", "always", &reference, "echo", "here",
    ]);

    assert_eq!(refused.exit_code, 125, "{refused:?}");
    assert_eq!(
        (pulled.exit_code, pulled.stdout.as_str()),
        (0, "here\n"),
        "{pulled:?}"
    );
    assert_eq!((again.exit_code, without_asking), (0, true), "{again:?}");
    assert_eq!(always.exit_code, 0, "{always:?}");
    assert!(host.registry().requests().len() > requests);
    host.assert_nothing_left_behind();
}

#[test]
fn pull_prints_the_reference_and_its_progress_elsewhere() {
    let host = require!(host());
    let reference = host
        .registry()
        .push("quiet:1", &ImageBuilder::busybox().build());

    let loud = host.rocker(["pull", &reference]);
    let quiet = host.rocker(["pull", "-q", &reference]);

    assert_eq!(
        loud.stdout.lines().last(),
        Some(reference.as_str()),
        "{loud:?}"
    );
    assert!(
        !loud.stderr.is_empty() && !loud.stderr.contains('\x1b'),
        "plain lines where no terminal is: {loud:?}"
    );
    assert_eq!(
        (quiet.stdout.trim_end(), quiet.stderr.as_str()),
        (reference.as_str(), ""),
        "{quiet:?}"
    );
    host.assert_nothing_left_behind();
}

#[test]
fn an_image_can_be_asked_for_by_digest_and_is_found_by_id() {
    let host = require!(host());
    let image = ImageBuilder::busybox().build();
    let tagged = host.registry().push("exact:1", &image);
    let (repository, _) = tagged.rsplit_once(':').expect("a tag");
    let exact = format!("{repository}@{}", image.manifest.digest);

    host.ok(["pull", "-q", &exact]);

    assert_eq!(
        host.ok(["run", "--rm", "--pull", "never", &exact, "echo", "exact"]),
        "exact"
    );
    assert_eq!(
        host.ok([
            "run",
            "--rm",
            "--pull",
            "never",
            &image.config.digest,
            "echo",
            "id"
        ]),
        "id"
    );
    assert_eq!(
        inspect(&host, &image.config.digest[7..19], "{{.Id}}"),
        image.config.digest
    );
    host.assert_nothing_left_behind();
}

#[test]
fn a_digest_decides_and_a_tag_beside_it_names_nothing() {
    let host = require!(host());
    let before = host.snapshot();
    let image = ImageBuilder::busybox().build();
    let tagged = host.registry().push("exact:1", &image);
    let (repository, _) = tagged.rsplit_once(':').expect("a tag");
    let digest = &image.manifest.digest;
    let exact = format!("{repository}@{digest}");

    // there is no tag 2
    for wanted in [
        format!("{repository}:2@{digest}"),
        format!("{tagged}@{digest}"),
    ] {
        let pulled = host.rocker(["pull", &wanted]);
        assert_eq!(pulled.exit_code, 0, "{pulled:?}");
        let first = pulled.stderr.lines().next();
        let header = format!("{digest}: Pulling from {repository}");
        assert_eq!(first, Some(header.as_str()), "{pulled:?}");
        let listed = host.ok(["images", "--format", "{{.Repository}} {{.Tag}}"]);
        assert_eq!(listed, format!("{repository} <none>"));
        assert_eq!(
            inspect(&host, &wanted, "{{.RepoTags}} {{.RepoDigests}}"),
            format!("[] [{exact}]")
        );
        assert_eq!(host.rocker(["image", "exists", &tagged]).exit_code, 1);
    }
    host.ok(["pull", "-q", &tagged]);
    assert_eq!(host.ok(["images", "--format", "{{.Tag}}"]), "1");
    host.ok(["rmi", &tagged]);
    assert_eq!(host.ok(["images", "-q"]), "");
    host.ok(["pull", "-q", &exact]);
    host.ok(["rmi", &image.config.digest]);
    host.assert_unchanged_since(&before);
}

#[test]
fn a_whole_id_is_that_image_whatever_others_are_called() {
    let host = require!(host());
    let one = host.busybox();
    let other = host.pulled(
        "other:1",
        ImageBuilder::busybox().layer(Layer::new().file("o", "")),
    );
    let id = inspect(&host, &one, "{{.Id}}");
    let hex = &id["sha256:".len()..];
    let prefix = format!("sha256:{}", &hex[..12]);
    for name in [hex, id.as_str(), prefix.as_str(), "sha256:foo", "sha256"] {
        let refused = host.rocker(["tag", &other, name]);
        assert_eq!(refused.exit_code, 1, "{name}: {refused:?}");
        assert!(refused.stderr.contains("image's ID"), "{refused:?}");
    }
    // such a name can still come with a tag, and means that image with it alone
    host.ok(["tag", &other, &format!("{hex}:latest")]);
    assert_eq!(inspect(&host, hex, "{{.Id}}"), id);
    assert_eq!(inspect(&host, &prefix, "{{.Id}}"), id);
    assert_ne!(inspect(&host, &format!("{hex}:latest"), "{{.Id}}"), id);
    host.assert_nothing_left_behind();
}

#[test]
fn images_are_listed_in_every_format_there_is() {
    let host = require!(host());
    let image = host.busybox();
    let child = ImageBuilder::busybox().layer(Layer::new().file("own", vec![7; 100_000]));
    let child = host.pulled("child:1", child);
    let lines = host.ok(["images", "--format", "json"]);
    let array = host.ok(["images", "--format", "json-array"]);
    assert_eq!(array, format!("[{}]", lines.replace('\n', ",")));
    assert_eq!(host.ok(["images", "--format", "{{json .}}"]), lines);
    assert_eq!(
        host.ok(["images", "--format", "names"]),
        format!("{child}\n{image}")
    );
    let csv = host.ok(["images", "--format", "csv"]);
    assert!(
        csv.starts_with("Repository,Tag,ID,CreatedSince,Size,"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 3, "{csv}");
    let wide = host.ok(["images", "-n", "--format", "wide"]);
    assert_eq!(wide.lines().count(), 2, "{wide}");
    let sizes = host.ok([
        "images",
        "--format",
        "{{.UniqueSize}} {{eq .SharedSize \"0B\"}}",
    ]);
    let sizes: Vec<&str> = sizes.lines().collect();
    assert_eq!(
        sizes[1], "0B false",
        "all of it is the child's too: {sizes:?}"
    );
    assert!(sizes[0].ends_with("kB false"), "{sizes:?}");
    host.ok(["untag", &child]);
    let id = host.ok(["images", "-q", "--filter", "dangling=true"]);
    assert_eq!(
        host.ok(["images", "--format", "names"]),
        format!("{id}\n{image}")
    );
    host.assert_nothing_left_behind();
}

#[test]
fn the_platforms_own_image_is_taken_from_an_index() {
    let host = require!(host());
    let here = ImageBuilder::busybox().build();
    let elsewhere = ImageBuilder::new()
        .layer(Layer::new().file("not", "for us"))
        .platform("s390x", None)
        .build();
    let reference = host.registry().push_index("many:1", &[&elsewhere, &here]);

    host.ok(["pull", "-q", &reference]);
    let nowhere = host.registry().push_index("none:1", &[&elsewhere]);
    let refused = host.rocker(["pull", &nowhere]);

    assert_eq!(host.ok(["run", "--rm", &reference, "echo", "ran"]), "ran");
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("s390x"),
        "says what there is: {refused:?}"
    );
    host.assert_nothing_left_behind();
}

#[test]
fn each_image_has_its_own_root_directory_whatever_layers_it_shares() {
    use rocker_testkit::image::{Entry, EntryKind};

    let host = require!(host());
    let image = |mode, owner| {
        let root = Entry::new("./", EntryKind::Dir).mode(mode).owner(owner, 4);
        ImageBuilder::busybox()
            .layer(Layer::new().entry(root))
            .layer(Layer::new())
    };
    let open = host.pulled("open:1", image(0o1777, 3));
    let closed = host.pulled("closed:1", image(0o711, 5));

    let root = |image| host.ok(shell(&[], image, "stat -c '%a %u:%g' /"));
    assert_eq!(root(&open), "1777 3:4");
    assert_eq!(root(&closed), "711 5:4");
    host.assert_nothing_left_behind();
}

#[test]
fn an_import_comes_from_a_web_server_or_not_at_all() {
    let host = require!(host());
    host.ok(["ps"]);
    let before = host.snapshot();
    let archive = Layer::busybox()
        .file("noise", vec![7; 3_000_000])
        .compression(Compression::Plain)
        .build();
    let registry = host.registry();
    let blob = rocker_testkit::image::Blob::new("application/x-tar", archive.packed);
    registry.put_blob("files", blob.clone());
    let url = format!("http://{}/v2/files/blobs/{}", registry.host(), blob.digest);

    host.ok(["import", "--platform", "linux/s390x", &url, "mine:1"]);

    assert_eq!(
        inspect(&host, "mine:1", "{{.Os}}/{{.Architecture}}"),
        "linux/s390x"
    );
    host.ok(["rmi", "mine:1"]);
    host.assert_unchanged_since(&before);
    // cut between two members, where a tar looks as good as whole, and elsewhere
    for action in [
        Action::CutAfter(512),
        Action::CutAfter(1_000_000),
        Action::Status(404),
    ] {
        registry.fault(On::Blob, 1, action.clone());
        let refused = host.rocker(["import", &url, "mine:1"]);
        assert_eq!(
            (refused.exit_code, refused.stdout.as_str()),
            (1, ""),
            "{action:?} {refused:?}"
        );
        assert!(refused.stderr.contains(&registry.host()), "{refused:?}");
        host.ok(["ps"]);
        host.assert_unchanged_since(&before);
    }
    registry.fault(On::Blob, 1, Action::StallAfter(1000));
    let import = host.command(["import", &url]).spawn();
    import.await_stderr("Downloading");
    import.signal(rustix::process::Signal::INT);
    assert_eq!(import.finish().exit_code, 130);
    host.ok(["ps"]);
    host.assert_unchanged_since(&before);
}
