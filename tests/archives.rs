//! save and load: images in files, for other tools and from them.

use std::path::Path;

use rocker_testkit::Host;
use rocker_testkit::host::programs;
use rocker_testkit::image::{Compression, Entry, EntryKind, Format, Image, ImageBuilder, Layer};
use rocker_testkit::require;

use crate::{host, inspect};

/// Two layers with a bit of everything that tars can say.
fn rich(above: Compression) -> ImageBuilder {
    let long = "n".repeat(150);
    let below = Layer::new()
        .dir("d", 0o2775)
        .file("d/old", "1")
        .file("twice", "first content")
        .file("twice", "second")
        .file(&format!("{long}/{long}"), "far")
        .hardlink("hard", "twice")
        .entry(
            Entry::new("ping", EntryKind::File(b"x".to_vec()))
                .mode(0o4755)
                .owner(70_000, 3),
        )
        .entry(Entry::new("null", EntryKind::CharDevice(1, 3)))
        .entry(Entry::new("fifo", EntryKind::Fifo).xattr("user.dropped?", b"1"));
    let above = Layer::new()
        .whiteout("hard")
        .opaque("d")
        .file("d/new", "2")
        .entry(Entry::new("noted", EntryKind::File(b"y".to_vec())).xattr("user.note", b"kept"))
        .compression(above);
    ImageBuilder::busybox().layer(below).layer(above)
}

fn path(host: &Host, name: &str) -> String {
    host.scratch().join(name).to_string_lossy().into_owned()
}

/// Runs a program of the machine to its end, which must be good.
fn program(host: &Host, words: &[&str]) -> String {
    let command = words[1..]
        .iter()
        .fold(host.program(words[0]), |command, word| command.arg(word));
    let output = command.run();
    assert_eq!(output.exit_code, 0, "{words:?}: {output:?}");
    output.stdout
}

fn shell(host: &Host, script: &str) {
    program(host, &["sh", "-ec", script]);
}

/// The id of the only image, which is then removed.
fn take_only_image(host: &Host) -> String {
    let ids = host.ok(["images", "-q", "--no-trunc"]);
    assert_eq!(ids.lines().count(), 1, "{ids}");
    host.ok(["rmi", "-f", &ids]);
    ids
}

#[test]
fn what_is_saved_comes_back_as_the_same_image() {
    let host = require!(host());
    let before = host.snapshot();
    let image = host.pulled("rich:1", rich(Compression::Zstd));
    let id = inspect(&host, &image, "{{.Id}}");
    let archive = path(&host, "a.tar");

    host.ok(["save", "-o", &archive, &image]);
    host.ok(["rmi", &image]);
    let loaded = host.ok(["load", "-q", "-i", &archive]);

    assert_eq!(loaded, format!("Loaded image: {image}"));
    assert_eq!(inspect(&host, &image, "{{.Id}}"), id);
    let read = host.ok(["run", "--rm", &image, "cat", "/twice", "/d/new"]);
    assert_eq!(read, "second2");
    let again = path(&host, "b.tar");
    host.ok(["save", "-o", &again, &image]);
    program(&host, &["cmp", &archive, &again]);
    shell(
        &host,
        &format!(
            "'{}' --root '{}' --runroot '{}' save {image} | cmp - {archive}",
            host.binary().display(),
            host.root().display(),
            host.runroot().display()
        ),
    );
    host.ok(["rmi", &image]);
    host.assert_unchanged_since(&before);
}

#[test]
fn images_share_their_layers_in_an_archive_and_keep_their_names() {
    let host = require!(host());
    let one = host.pulled(
        "one:1",
        ImageBuilder::busybox().layer(Layer::new().file("n", "1")),
    );
    let two = host.pulled(
        "two:1",
        ImageBuilder::busybox().layer(Layer::new().file("n", "2")),
    );
    let three = host.pulled(
        "three:1",
        ImageBuilder::busybox().layer(Layer::new().file("n", "3")),
    );
    let id = inspect(&host, &three, "{{.Id}}");
    let archive = path(&host, "a.tar");

    host.ok(["save", "-o", &archive, &one, &two, &id]);

    let listed = program(&host, &["tar", "-tf", &archive]);
    let blobs = listed
        .lines()
        .filter(|line| line.len() > "blobs/sha256/".len() && line.starts_with("blobs/"))
        .count();
    assert_eq!(blobs, 3 + 3 + 4, "configs, manifests and layers: {listed}");
    for image in [&one, &two, &three] {
        host.ok(["rmi", image]);
    }
    let loaded = host.ok(["load", "-i", &archive]);
    let want = format!("Loaded image: {one}\nLoaded image: {two}\nLoaded image ID: {id}");
    assert_eq!(loaded, want);
    assert_eq!(host.ok(["run", "--rm", &two, "cat", "/n"]), "2");
    host.assert_nothing_left_behind();
}

#[test]
fn other_tools_read_what_is_saved() {
    let host = require!(host());
    require!(programs(&["skopeo", "umoci"]));
    let image = host.pulled("rich:1", rich(Compression::Zstd));
    let id = inspect(&host, &image, "{{.Id}}");
    let scratch = host.scratch();
    let scratch = scratch.display();
    host.ok(["save", "-o", &path(&host, "a.tar"), &image]);
    host.ok([
        "save",
        "--format",
        "oci-archive",
        "-o",
        &path(&host, "o.tar"),
        &image,
    ]);
    host.ok([
        "save",
        "--format",
        "oci-dir",
        "-o",
        &path(&host, "layout"),
        &image,
    ]);
    host.ok(["rmi", &image]);

    for (from, to, file) in [
        (
            format!("docker-archive:{scratch}/a.tar"),
            "docker-archive",
            "1",
        ),
        (format!("oci-archive:{scratch}/a.tar"), "oci-archive", "2"),
        (format!("oci-archive:{scratch}/o.tar"), "oci", "3"),
        (format!("oci:{scratch}/layout"), "oci-archive", "4"),
    ] {
        let copy = format!("{to}:{scratch}/{file}");
        program(
            &host,
            &["skopeo", "copy", "--insecure-policy", &from, &copy],
        );
        host.ok(["load", "-i", &path(&host, file)]);
        assert_eq!(take_only_image(&host), id, "{from} {to}");
    }
    shell(
        &host,
        &format!(
            "cd {scratch}; tag=$(umoci ls --layout layout); umoci unpack --rootless --image layout:$tag bundle 2>/dev/null || umoci raw unpack --image layout:$tag bundle"
        ),
    );
    // what skopeo makes of docker's list alone has a config of its own
    let converted = format!("oci-archive:{scratch}/5");
    program(
        &host,
        &[
            "skopeo",
            "copy",
            "--insecure-policy",
            &format!("docker-archive:{scratch}/a.tar"),
            &converted,
        ],
    );
    host.assert_nothing_left_behind();
}

#[test]
fn what_other_tools_save_is_loaded() {
    let host = require!(host());
    require!(programs(&["skopeo", "gzip", "bzip2", "xz", "zstd"]));
    let image = host.pulled(
        "rich:1",
        rich(Compression::Gzip).format(Format::DockerSchema2),
    );
    let id = inspect(&host, &image, "{{.Id}}");
    host.ok(["rmi", &image]);
    let scratch = host.scratch();
    let scratch = scratch.display();
    let from = format!("docker://{image}");
    let copy = |to: &str| {
        program(
            &host,
            &[
                "skopeo",
                "copy",
                "--insecure-policy",
                "--src-tls-verify=false",
                &from,
                to,
            ],
        );
    };

    copy(&format!("docker-archive:{scratch}/d.tar:here/named:1"));
    copy(&format!("dir:{scratch}/dir"));
    let loaded = host.ok(["load", "-i", &path(&host, "d.tar")]);
    assert_eq!(loaded, "Loaded image: here/named:1");
    assert_eq!(
        host.ok(["run", "--rm", "here/named:1", "cat", "/twice"]),
        "second"
    );
    assert_eq!(take_only_image(&host), id);

    shell(
        &host,
        &format!(
            "cd {scratch}; gzip -k d.tar; bzip2 -k d.tar; xz -k d.tar; zstd -q d.tar
             {{ printf '\\120\\052\\115\\030\\003\\000\\000\\000abc'; cat d.tar.zst; }} > d.tar.skip
             {{ cat d.tar.gz; head -c 100 /dev/zero; }} > d.tar.tail"
        ),
    );
    // a frame that decoders skip before the first, and what gzip itself passes over at the end
    for suffix in ["gz", "bz2", "xz", "zst", "skip", "tail"] {
        let bytes = fs_err::read(path(&host, &format!("d.tar.{suffix}"))).expect("an archive");
        let loaded = host.command(["load", "-q"]).stdin(bytes).run();
        assert_eq!(
            (loaded.exit_code, loaded.stderr.as_str()),
            (0, ""),
            "{loaded:?}"
        );
        assert_eq!(take_only_image(&host), id, "{suffix}");
    }
    let refused = host.rocker(["load", "-i", &path(&host, "dir")]);
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    host.assert_nothing_left_behind();
}

#[test]
fn the_layout_of_old_dockers_is_loaded() {
    let host = require!(host());
    let image = host.pulled(
        "old:1",
        ImageBuilder::busybox().layer(Layer::new().file("n", "1")),
    );
    let id = inspect(&host, &image, "{{.Id}}");
    host.ok(["save", "-o", &path(&host, "a.tar"), &image]);
    host.ok(["rmi", &image]);
    // a directory for each layer, a link where one has the content of another, gzip inside
    let script = r#"
        cd "$0"; mkdir new old; tar -xf a.tar -C new; cd old
        config=$(sed 's/.*"Config":"blobs.sha256.\([0-9a-f]*\)".*/\1/' ../new/manifest.json)
        cp ../new/blobs/sha256/$config $config.json
        n=0; list=
        for layer in $(sed 's/.*"Layers":\[\([^]]*\)\].*/\1/; s/[",]/ /g' ../new/manifest.json); do
            n=$((n + 1)); mkdir real$n layer$n; cat ../new/$layer | gzip > real$n/layer.tar
            ln -s ../real$n/layer.tar layer$n/layer.tar; list="$list,\"layer$n/layer.tar\""
        done
        printf '[{"Config":"%s.json","RepoTags":["old:2"],"Layers":[%s]}]' $config "${list#,}" > manifest.json
        tar -cf ../old.tar *"#;
    program(
        &host,
        &["sh", "-ec", script, &host.scratch().to_string_lossy()],
    );

    assert_eq!(
        host.ok(["load", "-i", &path(&host, "old.tar")]),
        "Loaded image: old:2"
    );

    assert_eq!(host.ok(["run", "--rm", "old:2", "cat", "/n"]), "1");
    assert_eq!(take_only_image(&host), id);
    host.assert_nothing_left_behind();
}

#[test]
fn an_index_of_platforms_gives_the_one_that_is_wanted() {
    let host = require!(host());
    let layout = host.scratch().join("layout");
    let of = |architecture: &str| {
        let layer = Layer::new().file("arch", architecture);
        ImageBuilder::busybox()
            .layer(layer)
            .platform(architecture, None)
            .build()
    };
    let (amd64, s390x) = (of("amd64"), of("s390x"));
    for image in [&amd64, &s390x] {
        image.write_oci_layout(&layout, "x").expect("a layout");
    }
    let nested = Image::index(&[&amd64, &s390x]);
    let nested_path = layout
        .join("blobs/sha256")
        .join(nested.digest.trim_start_matches("sha256:"));
    fs_err::write(nested_path, &nested.bytes).expect("a blob");
    let mut entry = nested.descriptor();
    entry["annotations"] =
        serde_json::json!({ "org.opencontainers.image.ref.name": "docker.io/library/multi:1" });
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [entry] });
    fs_err::write(layout.join("index.json"), index.to_string()).expect("an index");
    let layout = layout.to_string_lossy();

    for (platform, want) in [("linux/amd64", "amd64"), ("linux/s390x", "s390x")] {
        let loaded = host.ok(["load", "--platform", platform, "-i", &layout]);
        assert_eq!(loaded, "Loaded image: multi:1");
        assert_eq!(inspect(&host, "multi:1", "{{.Architecture}}"), want);
        host.ok(["rmi", "multi:1"]);
    }
    let missing = host.rocker(["load", "--platform", "linux/riscv64", "-i", &layout]);
    assert_eq!(missing.exit_code, 1, "{missing:?}");
    assert!(missing.stderr.contains("linux/s390x"), "{missing:?}");

    // each by a label of its own: two images, unless a platform is asked for
    let labelled = [(&amd64, "amd64"), (&s390x, "s390x")].map(|(image, label)| {
        let mut entry = image.manifest.descriptor();
        entry["platform"] = serde_json::json!({ "os": "linux", "architecture": label });
        entry["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": label });
        entry
    });
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": labelled });
    fs_err::write(format!("{layout}/index.json"), index.to_string()).expect("an index");
    for (image, label) in [(&amd64, "amd64"), (&s390x, "s390x")] {
        let id = host.ok(["pull", "-q", &format!("oci:{layout}:{label}")]);
        assert_eq!(id, image.config.digest, "{label}");
        host.ok(["rmi", &id]);
        host.ok([
            "load",
            "--platform",
            &format!("linux/{label}"),
            "-i",
            &layout,
        ]);
        assert_eq!(take_only_image(&host), image.config.digest);
    }
    assert_eq!(host.ok(["load", "-i", &layout]).lines().count(), 2);
    host.ok(["rmi", &amd64.config.digest, &s390x.config.digest]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_name_that_two_images_of_a_layout_have_means_neither() {
    let host = require!(host());
    let layout = host.scratch().join("layout");
    let of = |content: &str| {
        let layer = Layer::new().file("which", content);
        ImageBuilder::busybox().layer(layer).build()
    };
    let (one, other) = (of("one"), of("other"));
    let entries = [&one, &other].map(|image| {
        image.write_oci_layout(&layout, "x").expect("a layout");
        let mut entry = image.manifest.descriptor();
        entry["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "1" });
        entry
    });
    let index = |entries: &[serde_json::Value]| {
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": entries });
        fs_err::write(layout.join("index.json"), index.to_string()).expect("an index");
    };
    let named = format!("oci:{}:1", layout.display());

    index(&entries);
    let refused = host.rocker(["pull", &named]);
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    for image in [&one, &other] {
        assert!(
            refused.stderr.contains(&image.manifest.digest),
            "{refused:?}"
        );
    }
    assert_eq!(host.ok(["images", "-q"]), "");
    let loaded = host.ok(["load", "-i", &layout.to_string_lossy()]);
    assert_eq!(loaded.lines().count(), 2, "both can be had: {loaded}");

    index(&[entries[1].clone(), entries[1].clone()]);
    let pulled = host.ok(["pull", "-q", &named]);
    assert!(
        pulled.contains(&other.config.digest),
        "said twice: {pulled}"
    );
    for image in [&one, &other] {
        host.ok(["rmi", "-f", &image.config.digest]);
    }
    host.assert_nothing_left_behind();
}

/// Unpacks a saved archive, lets a script change it, and packs it again.
fn bent(host: &Host, script: &str) -> String {
    let script = format!(
        "cd \"$0\"; rm -rf bent; mkdir bent; tar -xf a.tar -C bent; cd bent; {script}; tar -cf ../bent.tar *"
    );
    program(
        host,
        &["sh", "-ec", &script, &host.scratch().to_string_lossy()],
    );
    path(host, "bent.tar")
}

#[test]
fn archives_that_lie_are_refused_and_leave_nothing() {
    let host = require!(host());
    let image = host.pulled(
        "honest:1",
        ImageBuilder::busybox().layer(Layer::new().file("n", "1")),
    );
    host.ok(["save", "-o", &path(&host, "a.tar"), &image]);
    let layers = "grep -o 'blobs/sha256/[0-9a-f]*' manifest.json | tail -n +2 | awk '!seen[$0]++'";
    let cases = [
        (format!("last=$({layers} | tail -1); : > other; tar -cf $last other"), "promised"),
        (format!("last=$({layers} | tail -1); first=$({layers} | head -1); cp $first $last"), "promised"),
        (format!("last=$({layers} | tail -1); rm $last"), "not in the archive"),
        (format!("last=$({layers} | tail -1); truncate -s 700 $last"), "cannot load layer"),
        ("config=$(grep -o 'blobs/sha256/[0-9a-f]*' manifest.json | head -1); printf ' ' >> $config".to_owned(), "digest"),
        ("sed -i 's/\"RepoTags\":\\[[^]]*\\]/\"RepoTags\":[\"UPPER\"]/' manifest.json".to_owned(), "UPPER"),
        ("printf '{}' > manifest.json".to_owned(), "no list of images"),
        ("printf '[' > manifest.json".to_owned(), "malformed"),
        ("printf '[]' > manifest.json".to_owned(), "names no image"),
        ("rm manifest.json index.json".to_owned(), "holds no images"),
        ("rm manifest.json; last=$(ls -S blobs/sha256/* | head -1); printf x >> $last".to_owned(), "bytes"),
        ("sed -i 's/\"Config\":\"/&..\\/..\\/..\\/..\\/..\\/..\\/..\\/..\\/etc\\/passwd\",\"x\":\"/' manifest.json".to_owned(), "not in the archive"),
    ];
    // a directory is no more the way out than an archive is
    let config = host.scratch().join("config.json");
    let outside = fs_err::read_dir(host.root().join("blobs/sha256")).expect("blobs");
    let outside = outside.map(|blob| blob.expect("a blob").path());
    let config_blob = inspect(&host, &image, "{{.Id}}");
    let config_blob = config_blob.trim_start_matches("sha256:").to_owned();
    let found = outside
        .into_iter()
        .find(|path| path.ends_with(&config_blob))
        .expect("the config");
    fs_err::copy(found, &config).expect("a copy");
    let layout = host.scratch().join("layout");
    fs_err::create_dir(&layout).expect("a directory");
    fs_err::write(
        layout.join("manifest.json"),
        r#"[{"Config":"../config.json","RepoTags":["stolen:1"],"Layers":["a","b"]}]"#,
    )
    .expect("a list");
    let refused = host.rocker(["load", "-i", &layout.to_string_lossy()]);
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    assert!(refused.stderr.contains("not in the archive"), "{refused:?}");

    // with the layers in the store, and without
    for warm in [true, false] {
        if !warm {
            host.ok(["rmi", &image]);
        }
        host.ok(["ps"]);
        let before = host.snapshot();
        for (script, why) in &cases {
            let refused = host.rocker(["load", "-i", &bent(&host, script)]);
            assert_eq!(
                (refused.exit_code, refused.stdout.as_str()),
                (1, ""),
                "{script}: {refused:?}"
            );
            assert!(
                refused.stderr.contains(why),
                "warm {warm}, {script}: {refused:?}"
            );
            host.ok(["ps"]);
            host.assert_unchanged_since(&before);
        }
        for bytes in [
            &b""[..],
            b"no tar at all",
            &[0; 4096],
            b"\x1f\x8bxxxx",
            b"BZh9xx",
            b"\xfd7zXZ\0xx",
        ] {
            let refused = host.command(["load"]).stdin(bytes).run();
            assert_eq!(refused.exit_code, 1, "{refused:?}");
        }
        host.ok(["ps"]);
        host.assert_unchanged_since(&before);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn terminals_get_no_archives_and_failures_leave_the_old_file() {
    let host = require!(host());
    let image = host.busybox();
    let mut terminal = host.terminal(["save", &image]);
    assert_eq!(terminal.wait(), 125);
    terminal.await_text("to a terminal");
    let mut terminal = host.terminal(["load"]);
    assert_eq!(terminal.wait(), 125);

    let archive = path(&host, "kept.tar");
    fs_err::write(&archive, "old").expect("a file");
    let missing = host.rocker(["save", "-o", &archive, &image, "nothing:1"]);
    assert_eq!(missing.exit_code, 1, "{missing:?}");
    assert_eq!(fs_err::read_to_string(&archive).expect("a file"), "old");
    let full = host.rocker(["save", "-o", "/dev/full", &image]);
    assert_eq!(full.exit_code, 1, "{full:?}");
    let nowhere = host.rocker(["save", "-o", "/nowhere/x.tar", &image]);
    assert_eq!(nowhere.exit_code, 1, "{nowhere:?}");

    let layout = host.scratch().join("layout");
    fs_err::create_dir_all(layout.join("mine")).expect("a directory");
    let words = [
        "save",
        "--format",
        "oci-dir",
        "-o",
        &layout.to_string_lossy(),
        &image,
    ];
    let taken = host.rocker(words);
    assert_eq!(taken.exit_code, 1, "{taken:?}");
    fs_err::remove_dir(layout.join("mine")).expect("still there");
    host.ok(words);
    assert!(layout.join("index.json").exists());
    assert_eq!(hidden(&host.scratch()), Vec::<String>::new());
    host.assert_nothing_left_behind();
}

#[test]
fn a_reader_of_an_archive_that_goes_away_ends_it_as_it_ends_others() {
    let host = require!(host());
    let layer = Layer::new().file("big", vec![7; 4 << 20]);
    let image = host.pulled("big:1", ImageBuilder::busybox().layer(layer));
    host.ok(["create", "--name", "box", &image, "true"]);
    let program = format!(
        "'{}' --root '{}' --runroot '{}'",
        host.binary().display(),
        host.root().display(),
        host.runroot().display()
    );
    for what in [format!("save {image}"), "export box".to_owned()] {
        let script = format!("{{ {program} {what}; echo $? >&3; }} 3>&2 | head -c 700000 | wc -c");
        let output = host.program("sh").arg("-c").arg(&script).run();
        let (read, code) = (output.stdout.trim(), output.stderr.as_str());
        assert_eq!((read, code), ("700000", "141\n"), "{what}: {output:?}");
    }
    host.ok(["rm", "box"]);
    host.assert_nothing_left_behind();
}

#[test]
fn a_name_without_a_tag_saves_all_its_tags() {
    let host = require!(host());
    let of = |n: &str| ImageBuilder::busybox().layer(Layer::new().file("n", n));
    let [one, two] = ["1", "2"].map(|n| host.pulled(&format!("team/app:{n}"), of(n)));
    let other = host.pulled("team/apple:1", of("3"));
    let repository = one.trim_end_matches(":1").to_owned();
    host.ok(["tag", &two, &repository]);
    let archive = path(&host, "a.tar");

    host.ok(["save", "-q", "-o", &archive, &repository]);

    for image in [&one, &two, &other, &repository] {
        host.ok(["rmi", image]);
    }
    let loaded = host.ok(["load", "-q", "-i", &archive]);
    let mut names: Vec<_> = loaded.lines().collect();
    names.sort_unstable();
    let mut expected = [one, two, format!("{repository}:latest")];
    expected.sort();
    let expected = expected.map(|name| format!("Loaded image: {name}"));
    assert_eq!(names, expected);
    host.assert_nothing_left_behind();
}

#[test]
fn at_a_terminal_each_layer_is_told_unless_that_is_not_wanted() {
    let host = require!(host());
    let image = host.busybox();
    let archive = path(&host, "a.tar");
    for (flag, told) in [("-o", true), ("-qo", false)] {
        let mut terminal = host.terminal(["save", flag, &archive, &image]);
        assert_eq!(terminal.wait(), 0);
        assert_eq!(terminal.screen().contains("Saving"), told, "{flag}");
    }
    host.assert_nothing_left_behind();
}

#[test]
fn images_come_from_files_and_go_to_them_by_the_names_that_other_tools_use() {
    let host = require!(host());
    require!(programs(&["skopeo", "umoci"]));
    let image = host.pulled("rich:1", rich(Compression::Gzip));
    let id = inspect(&host, &image, "{{.Id}}");
    let at = |transport: &str, file: &str, name: &str| {
        format!("{transport}:{}{name}", path(&host, file))
    };
    for (transport, file, name, called) in [
        ("oci", "layout", ":v1", "v1"),
        ("oci-archive", "o.tar", ":v2", "v2"),
        ("docker-archive", "d.tar", ":other/name:3", "other/name:3"),
    ] {
        let there = at(transport, file, name);
        host.ok(["push", "-q", &image, &there]);
        program(&host, &["skopeo", "inspect", &there]);
        host.ok(["rmi", "-f", &id]);
        let missing = host.rocker(["pull", &at(transport, file, ":nothing")]);
        assert_eq!(missing.exit_code, 1, "{missing:?}");
        assert!(missing.stderr.contains(called), "{missing:?}");
        let pulled = host.ok(["pull", "-q", &there]);
        let repository = image.rsplit_once(':').expect("a tag").0;
        let named = match called {
            "other/name:3" => "docker.io/other/name:3".to_owned(),
            tag => format!("{repository}:{tag}"),
        };
        assert_eq!(pulled, named);
        assert_eq!(inspect(&host, &pulled, "{{.Id}}"), id);
        assert_eq!(take_only_image(&host), id);
        host.ok(["pull", "-q", &at(transport, file, "")]);
        assert_eq!(take_only_image(&host), id);
        host.ok(["pull", "-q", &format!("docker://{image}")]);
    }
    // what others wrote
    let from = format!("oci:{}:v1", path(&host, "layout"));
    let to = format!("oci:{}:tag-alone", path(&host, "copy"));
    program(&host, &["skopeo", "copy", "--insecure-policy", &from, &to]);
    host.ok(["rmi", "-f", &id]);
    assert_eq!(host.ok(["pull", "-q", &to]), id);
    assert_eq!(take_only_image(&host), id);
    for flags in [
        &["--format", "oci"][..],
        &["--creds", "a:b"],
        &["--authfile", "/nowhere"],
        &["--tls-verify"],
        &["--cert-dir", "/nowhere"],
        &["--progress", "json"],
        &["--force-compression"],
        &["--compression-level", "3"],
    ] {
        let refused = host.rocker([&["push"], flags, &[&image, "oci:nowhere"]].concat());
        assert_eq!(refused.exit_code, 125, "{refused:?}");
    }
    for place in ["docker-daemon:x:1", "containers-storage:x", "dir:/tmp/x"] {
        for words in [&["pull", place][..], &["push", "x:1", place]] {
            let refused = host.rocker(words.iter().copied());
            assert_eq!(refused.exit_code, 1, "{refused:?}");
            assert!(refused.stderr.contains("hint: it knows"), "{refused:?}");
        }
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_layout_that_is_there_gets_one_more_image_or_another_one_of_a_name() {
    let host = require!(host());
    require!(programs(&["skopeo"]));
    let image = host.pulled("rich:1", rich(Compression::Gzip));
    let id = inspect(&host, &image, "{{.Id}}");
    let at = |transport: &str, file: &str, name: &str| {
        format!("{transport}:{}{name}", path(&host, file))
    };
    host.ok(["push", "-q", &image, &at("oci", "layout", ":v1")]);
    let other = host.pulled(
        "other:1",
        ImageBuilder::busybox().layer(Layer::new().file("other", "1")),
    );
    let other_id = inspect(&host, &other, "{{.Id}}");
    for (image, tag, own) in [
        (&other, "w1", &other_id),
        (&other, "w2", &other_id),
        (&image, "w2", &id),
    ] {
        let there = at("oci", "layout", &format!(":{tag}"));
        host.ok(["push", "-q", image, &there]);
        program(&host, &["skopeo", "inspect", &there]);
        let config = program(&host, &["skopeo", "inspect", "--raw", &there]);
        assert!(config.contains(own.as_str()), "{tag}: {config}");
    }
    let config = program(
        &host,
        &["skopeo", "inspect", "--raw", &at("oci", "layout", ":w1")],
    );
    assert!(config.contains(&other_id), "{config}");
    assert_eq!(hidden(&host.scratch().join("layout")), Vec::<String>::new());
    fs_err::create_dir(host.scratch().join("full")).expect("a directory");
    fs_err::write(host.scratch().join("full/x"), "").expect("a file");
    let refused = host.rocker(["push", "-q", &image, &at("oci", "full", ":1")]);
    assert_eq!(refused.exit_code, 1, "{refused:?}");
    assert!(
        refused.stderr.contains("there is no oci-layout"),
        "{refused:?}"
    );
    host.assert_nothing_left_behind();
}

fn hidden(directory: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(directory).expect("a directory");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with('.')).collect()
}

#[test]
fn a_layer_changed_on_disk_is_not_saved() {
    let host = require!(host());
    let image = host.pulled(
        "changed:1",
        ImageBuilder::busybox().layer(Layer::new().file("n", "1")),
    );
    let script = "find \"$0/layers\" -name n -exec sh -c 'echo 2 > $0' {} \\;";
    program(
        &host,
        &["sh", "-ec", script, &host.root().to_string_lossy()],
    );
    let archive = path(&host, "a.tar");

    let refused = host.rocker(["save", "-o", &archive, &image]);

    assert_eq!(refused.exit_code, 1, "{refused:?}");
    assert!(refused.stderr.contains("changed on disk"), "{refused:?}");
    assert!(!Path::new(&archive).exists());
    host.assert_nothing_left_behind();
}
