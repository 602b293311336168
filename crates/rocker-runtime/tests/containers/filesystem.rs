//! What a container sees as its files.

use std::path::Path;

use rocker_runtime::{CreateTarget, MountFlags, MountSpec, RootfsSpec};
use rocker_types::Propagation;

use crate::harness::tests;
use crate::sandbox::{Failure, Sandbox, chain};

tests!(
    writes_go_to_the_upper_directory_only,
    a_directory_can_be_the_root,
    an_overlay_of_127_layers_mounts,
    host_paths_do_not_show_in_mounts,
    a_read_only_root_cannot_be_written,
    dev_is_complete_and_its_own,
    binds_mount_files_and_directories_and_make_their_targets,
    read_only_binds_are_read_only_with_what_lies_below,
    tmpfs_has_size_and_mode,
    parents_are_mounted_before_children,
    a_missing_source_is_named,
    targets_in_proc_are_refused,
    a_missing_layer_is_told,
    mounts_of_a_shared_bind_reach_the_container,
    nothing_reaches_the_hosts_mounts,
);

fn bind(source: &Path, target: &str) -> MountSpec {
    MountSpec::Bind {
        source: source.to_owned(),
        target: target.to_owned(),
        recursive: true,
        propagation: Propagation::Rprivate,
        flags: MountFlags::default(),
        create: CreateTarget::LikeSource,
    }
}

fn writes_go_to_the_upper_directory_only() {
    let sandbox = Sandbox::new();
    sandbox.sh("echo changed > /etc/group; rm /etc/passwd; echo new > /new");
    let lower = fs_err::read_to_string(sandbox.image("etc/group")).unwrap();
    assert!(lower.starts_with("root:"));
    assert!(sandbox.image("etc/passwd").exists());
    assert_eq!(
        fs_err::read_to_string(sandbox.upper().join("new")).unwrap(),
        "new\n"
    );
}

fn a_directory_can_be_the_root() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec(&["sh", "-c", "echo direct > /file; ls /"]);
    spec.rootfs = RootfsSpec::Directory {
        path: sandbox.image(""),
        read_only: false,
    };
    let output = sandbox.run(&spec);
    assert_eq!(output.stdout, "bin\ndev\netc\nfile\nproc\nsys\ntmp\n");
    assert_eq!(
        fs_err::read_to_string(sandbox.image("file")).unwrap(),
        "direct\n"
    );
}

fn an_overlay_of_127_layers_mounts() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec(&["sh", "-c", "ls /layers | wc -l; cat /layers/top"]);
    let RootfsSpec::Overlay { lowers, .. } = &mut spec.rootfs else {
        panic!("no overlay");
    };
    // Names as long as those of real layers.
    for number in 1..127 {
        let layer = sandbox.path().join(format!("layer-{number:058}"));
        fs_err::create_dir_all(layer.join("layers")).unwrap();
        fs_err::write(layer.join(format!("layers/{number}")), "").unwrap();
        fs_err::write(layer.join("layers/top"), number.to_string()).unwrap();
        lowers.insert(0, layer);
    }
    assert_eq!(lowers.len(), 127);
    assert_eq!(sandbox.run(&spec).stdout, "127\n126");
}

fn host_paths_do_not_show_in_mounts() {
    let sandbox = Sandbox::new();
    let output = sandbox.sh("cat /proc/mounts");
    let path = sandbox.path().to_str().unwrap();
    assert!(!output.stdout.contains(path), "{}", output.stdout);
}

fn a_read_only_root_cannot_be_written() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec(&["sh", "-c", "touch /x; touch /dev/shm/y && echo shm; pwd"]);
    let RootfsSpec::Overlay { read_only, .. } = &mut spec.rootfs else {
        panic!("no overlay");
    };
    *read_only = true;
    spec.process.cwd = "/made/before".into();
    let output = sandbox.run(&spec);
    assert_eq!(output.stdout, "shm\n/made/before\n");
    assert!(
        output.stderr.contains("Read-only file system"),
        "{output:?}"
    );
}

fn dev_is_complete_and_its_own() {
    let sandbox = Sandbox::new();
    let output = sandbox.sh(
        "ls /dev | tr '\\n' ' '; stat -c '%n %t:%T %a' /dev/null /dev/zero /dev/full /dev/random \
         /dev/urandom /dev/tty; for l in fd stdin ptmx; do readlink /dev/$l; done; echo x > /dev/null; \
         head -c 4 /dev/zero | wc -c; grep -E ' /dev(/.*)? ' /proc/mounts | cut -d' ' -f2,3 | sort",
    );
    let want = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero \
        /dev/null 1:3 666\n/dev/zero 1:5 666\n/dev/full 1:7 666\n/dev/random 1:8 666\n\
        /dev/urandom 1:9 666\n/dev/tty 5:0 666\n/proc/self/fd\n/proc/self/fd/0\npts/ptmx\n4\n\
        /dev tmpfs\n/dev/mqueue mqueue\n/dev/pts devpts\n/dev/shm tmpfs\n";
    assert_eq!(output.stdout, want, "{output:?}");
}

fn binds_mount_files_and_directories_and_make_their_targets() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path().join("data");
    fs_err::create_dir(&dir).unwrap();
    fs_err::write(dir.join("file"), "hello").unwrap();
    let script = "cat /a/b/file /c/file; echo out > /a/b/out; cat /etc/hosts";
    let mut spec = sandbox.spec(&["sh", "-c", script]);
    spec.mounts = vec![
        bind(&dir, "/a/b"),
        bind(&dir.join("file"), "/c/file"),
        bind(&dir.join("file"), "/etc/hosts"),
    ];
    assert_eq!(sandbox.run(&spec).stdout, "hellohellohello");
    assert_eq!(fs_err::read_to_string(dir.join("out")).unwrap(), "out\n");
}

fn read_only_binds_are_read_only_with_what_lies_below() {
    let sandbox = Sandbox::new();
    // A source with another mount below it, in a mount namespace of our own.
    rocker_sys::namespace::unshare_mount().unwrap();
    rustix::mount::mount_change(
        "/",
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
    )
    .unwrap();
    let dir = sandbox.path().join("data");
    fs_err::create_dir_all(dir.join("below")).unwrap();
    let none: Option<&std::ffi::CStr> = None;
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", dir.join("below"), "tmpfs", flags, none).unwrap();
    let mut spec = sandbox.spec(&[
        "sh",
        "-c",
        "touch /d/x; touch /d/below/x; mount | grep -c /d",
    ]);
    let mut mount = bind(&dir, "/d");
    if let MountSpec::Bind { flags, .. } = &mut mount {
        flags.read_only = true;
    }
    spec.mounts = vec![mount];
    let output = sandbox.run(&spec);
    assert_eq!(
        output.stderr.matches("Read-only file system").count(),
        2,
        "{output:?}"
    );
}

fn tmpfs_has_size_and_mode() {
    let sandbox = Sandbox::new();
    let script = "stat -c '%a %u' /t; head -c 2000000 /dev/zero > /t/x; stat -c %s /t/x; \
        grep ' /t ' /proc/mounts | grep -o noexec";
    let mut spec = sandbox.spec(&["sh", "-c", script]);
    spec.mounts = vec![MountSpec::Tmpfs {
        target: "/t".into(),
        size_bytes: Some(1 << 20),
        mode: Some(0o700),
        owner: (7, 7),
        flags: MountFlags {
            no_exec: true,
            ..MountFlags::default()
        },
    }];
    assert_eq!(sandbox.run(&spec).stdout, "700 7\n1048576\nnoexec\n");
}

fn parents_are_mounted_before_children() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path().join("data");
    fs_err::create_dir(&dir).unwrap();
    fs_err::write(dir.join("file"), "child").unwrap();
    let mut spec = sandbox.spec(&["sh", "-c", "cat /p/q/file; ls /p"]);
    spec.mounts = vec![
        bind(&dir, "/p/q"),
        MountSpec::Tmpfs {
            target: "/p".into(),
            size_bytes: None,
            mode: None,
            owner: (0, 0),
            flags: MountFlags::default(),
        },
    ];
    assert_eq!(sandbox.run(&spec).stdout, "childq\n");
}

fn a_missing_source_is_named() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec(&["true"]);
    spec.mounts = vec![bind(Path::new("/no/such/source"), "/x")];
    let text = chain(&sandbox.refusal(&spec));
    let want = "cannot open mount source /no/such/source: No such file or directory (os error 2)";
    assert_eq!(text, want);
}

fn targets_in_proc_are_refused() {
    let sandbox = Sandbox::new();
    std::os::unix::fs::symlink("/proc/sys", sandbox.image("link")).unwrap();
    for target in [
        "/proc",
        "/proc/self",
        "/proc/sys",
        "/proc/self/attr",
        "/x/../proc",
        "/",
    ] {
        let mut spec = sandbox.spec(&["true"]);
        spec.mounts = vec![bind(&sandbox.victim(), target)];
        let failure = sandbox.refusal(&spec);
        assert!(matches!(failure, Failure::Create(_)), "{target}: {failure}");
    }
    let mut spec = sandbox.spec(&["true"]);
    spec.mounts = vec![bind(&sandbox.victim(), "/link")];
    let failure = sandbox.refusal(&spec).to_string();
    assert_eq!(
        failure,
        "mount refused, its target lies in /proc or /sys: /link"
    );
}

fn a_missing_layer_is_told() {
    let sandbox = Sandbox::new();
    let mut spec = sandbox.spec(&["true"]);
    if let RootfsSpec::Overlay { lowers, .. } = &mut spec.rootfs {
        lowers.push(sandbox.path().join("gone"));
    }
    let text = chain(&sandbox.refusal(&spec));
    assert!(text.contains("overlay of 2 layers"), "{text}");
    assert!(text.contains("No such file or directory"), "{text}");
}

fn mounts_of_a_shared_bind_reach_the_container() {
    let sandbox = Sandbox::new();
    rocker_sys::namespace::unshare_mount().unwrap();
    let flags =
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).unwrap();
    let dir = sandbox.path().join("data");
    fs_err::create_dir_all(dir.join("later")).unwrap();
    rustix::mount::mount_bind(&dir, &dir).unwrap();
    rustix::mount::mount_change(&dir, rustix::mount::MountPropagationFlags::SHARED).unwrap();
    let mut spec = sandbox.spec(&["sh", "-c", "echo up; read x; cat /d/later/file"]);
    let mut mount = bind(&dir, "/d");
    if let MountSpec::Bind { propagation, .. } = &mut mount {
        *propagation = Propagation::Rslave;
    }
    spec.mounts = vec![mount];
    let mut live = sandbox.start(&spec).unwrap();
    assert_eq!(live.line(), "up");

    let none: Option<&std::ffi::CStr> = None;
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", dir.join("later"), "tmpfs", flags, none).unwrap();
    fs_err::write(dir.join("later/file"), "came later").unwrap();
    live.say("go\n");

    assert_eq!(live.finish().stdout, "came later");
}

fn nothing_reaches_the_hosts_mounts() {
    let sandbox = Sandbox::new();
    let before = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
    let mut live = sandbox
        .start(&sandbox.spec(&["sh", "-c", "echo up; read x"]))
        .unwrap();
    assert_eq!(live.line(), "up");
    let during = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
    live.kill();
    let own = |text: &str| text.matches(sandbox.path().to_str().unwrap()).count();
    assert_eq!((own(&before), own(&during)), (0, 0));
}
