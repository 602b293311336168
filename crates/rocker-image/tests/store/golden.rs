//! Ordinary archives, written by other programs, unpack to what other programs make of them.

use std::path::Path;
use std::process::Command;

use rustix::fs::{XattrFlags, lsetxattr};

use super::listing::listing;
use super::support::{Host, skip};

/// Runs a program; `false` if it is not installed.
fn run(program: &str, args: &[&str], directory: &Path) -> bool {
    match Command::new(program)
        .args(args)
        .current_dir(directory)
        .output()
    {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{program} {args:?}: {text}");
            true
        }
        Err(error) => {
            skip(&format!("{program} is missing: {error}"));
            false
        }
    }
}

/// A tree with a bit of everything, made by a shell so that it is readable.
fn make_tree(directory: &Path) -> bool {
    let long = "n".repeat(200);
    let script = format!(
        r#"set -e
        umask 022
        mkdir -p usr/bin etc var/lib "{long}/{long}" empty deep/a/b/c
        printf hello > etc/motd; printf x > "{long}/{long}/{long}"
        head -c 300000 /dev/urandom > usr/bin/tool; chmod 4755 usr/bin/tool
        ln usr/bin/tool usr/bin/hard; ln -s tool usr/bin/soft; ln -s /abs/ent dangling
        ln -s "{long}/{long}" longlink
        printf s > 'name with  spaces and "quotes"'; printf u > $'\xff\xfe-not-utf8'
        mkfifo var/fifo; mknod var/null c 1 3; mknod var/loop b 7 0
        chown 1000:1000 etc/motd; chown -h 1001:1002 usr/bin/soft; chown 2097152:3 var/lib
        chmod 2770 var/lib; chmod 1777 empty; chmod 0 deep/a
        truncate -s 3M var/sparse; printf data | dd of=var/sparse bs=1 seek=1500000 conv=notrunc 2>/dev/null
        truncate -s 1M var/allhole
        touch -h -d @1234567890.123456789 etc/motd usr/bin/soft
        touch -d @-5 var/allhole 
        find . -depth -type d -exec touch -d @1300000000 {{}} +"#
    );
    if !run("bash", &["-c", &script], directory) {
        return false;
    }
    // Revision 2, effective, cap_net_raw permitted: linux/capability.h, vfs_cap_data.
    let capability: Vec<u8> = [0x0200_0001u32, 1 << 13, 0, 0, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    for (path, name, value) in [
        ("etc/motd", "user.note", &b"a value"[..]),
        ("var/lib", "user.dir", b"with\0NUL"),
        ("usr/bin/tool", "security.capability", &capability),
    ] {
        lsetxattr(directory.join(path), name, value, XattrFlags::empty()).unwrap();
    }
    true
}

#[test]
fn archives_of_gnu_tar_unpack_as_gnu_tar_unpacks_them() {
    let host = Host::new();
    let tree = host.path("tree");
    fs_err::create_dir(&tree).unwrap();
    if !make_tree(&tree) {
        return;
    }
    let formats: [&[&str]; 7] = [
        &["--format=gnu"],
        &["--format=pax"],
        &["--format=pax", "--xattrs", "--xattrs-include=*"],
        &["--format=gnu", "--sparse"],
        &["--format=pax", "--sparse", "--sparse-version=0.0"],
        &["--format=pax", "--sparse", "--sparse-version=0.1"],
        &[
            "--format=pax",
            "--sparse",
            "--sparse-version=1.0",
            "--xattrs",
            "--xattrs-include=*",
        ],
    ];
    for (number, format) in formats.iter().enumerate() {
        let tar = host.path("layer.tar");
        let args = [
            &["-cf", tar.to_str().unwrap(), "--numeric-owner"],
            *format,
            &["."],
        ]
        .concat();
        assert!(run("tar", &args, &tree));
        let want = host.path(&format!("want{number}"));
        fs_err::create_dir(&want).unwrap();
        let extract = [
            "-xpf",
            tar.to_str().unwrap(),
            "--numeric-owner",
            "--same-owner",
        ];
        let xattrs = ["--xattrs", "--xattrs-include=*"];
        assert!(run("tar", &[&extract[..], &xattrs].concat(), &want));

        let got = host.committed(&fs_err::read(&tar).unwrap());

        assert_equal(&got, &want, &format!("{format:?}"));
    }
}

#[test]
fn layers_unpack_as_umoci_unpacks_them() {
    let host = Host::new();
    let tree = host.path("tree");
    fs_err::create_dir(&tree).unwrap();
    if !make_tree(&tree) {
        return;
    }
    let tar = host.path("layer.tar");
    let format = [
        "--format=pax",
        "--xattrs",
        "--xattrs-include=*",
        "--numeric-owner",
        ".",
    ];
    assert!(run(
        "tar",
        &[&["-cf", tar.to_str().unwrap()], &format[..]].concat(),
        &tree
    ));
    if !run("umoci", &["init", "--layout", "image"], &host.path(".")) {
        return;
    }
    run("umoci", &["new", "--image", "image:t"], &host.path("."));
    run(
        "umoci",
        &["raw", "add-layer", "--image", "image:t", "layer.tar"],
        &host.path("."),
    );
    run(
        "umoci",
        &["raw", "unpack", "--image", "image:t", "rootfs"],
        &host.path("."),
    );

    let got = host.committed(&fs_err::read(&tar).unwrap());

    assert_equal(&got, &host.path("rootfs"), "umoci");
}

/// Compares line by line, so that a difference is readable.
fn assert_equal(got: &Path, want: &Path, context: &str) {
    let (got, want) = (listing(got), listing(want));
    assert!(want.len() > 20, "{context}: {want:?}");
    for (path, line) in &want {
        assert_eq!(got.get(path), Some(line), "{context}: {path}");
    }
    assert_eq!(got.len(), want.len(), "{context}");
}
