//! Images that try to make the host do something: refused with a clear word, the victim whole.

use std::os::unix::fs::symlink;

use rocker_runtime::{CreateTarget, MountFlags, MountSpec};
use rocker_types::Propagation;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::harness::tests;
use crate::sandbox::Sandbox;

tests!(
    links_and_files_in_place_of_system_directories_are_refused,
    passwd_and_group_traps_are_refused_at_once,
    working_directories_through_descriptors_are_refused,
    a_working_directory_behind_a_link_stays_inside,
    bind_targets_behind_links_stay_inside,
    device_links_of_the_image_are_not_used,
    the_reapers_binary_cannot_be_written,
    a_script_that_names_our_binary_cannot_write_it,
);

fn links_and_files_in_place_of_system_directories_are_refused() {
    for name in ["dev", "proc", "sys"] {
        for victim in [true, false] {
            let sandbox = Sandbox::new();
            if victim {
                symlink(sandbox.victim(), sandbox.image(name)).unwrap();
            } else {
                sandbox.write(name, "a file");
            }
            let failure = sandbox.refusal(&sandbox.spec(&["true"])).to_string();
            assert_eq!(
                failure,
                format!("image refused: not a real directory: /{name}")
            );
        }
    }
    let sandbox = Sandbox::new();
    symlink("/tmp", sandbox.image("dev")).unwrap();
    sandbox.refusal(&sandbox.spec(&["true"]));
    assert_eq!(fs_err::read_dir(sandbox.image("tmp")).unwrap().count(), 0);
}

fn passwd_and_group_traps_are_refused_at_once() {
    type Trap = fn(&Sandbox, &std::path::Path);
    let fifo: Trap = |_, path| mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let zero: Trap = |_, path| {
        let device = rustix::fs::makedev(1, 5);
        mknodat(CWD, path, FileType::CharacterDevice, Mode::RWXU, device).unwrap();
    };
    let link: Trap = |_, path| symlink("/dev/zero", path).unwrap();
    let kernel: Trap = |_, path| symlink("/proc/version", path).unwrap();
    let directory: Trap = |_, path| fs_err::create_dir(path).unwrap();
    let sparse: Trap = |_, path| {
        fs_err::File::create(path)
            .unwrap()
            .set_len(2 << 30)
            .unwrap();
    };
    for file in ["etc/passwd", "etc/group"] {
        for (number, trap) in [fifo, zero, link, kernel, directory, sparse]
            .into_iter()
            .enumerate()
        {
            let sandbox = Sandbox::new();
            let path = sandbox.image(file);
            fs_err::remove_file(&path).unwrap();
            trap(&sandbox, &path);
            let failure = sandbox.refusal(&sandbox.spec(&["true"])).to_string();
            let want = format!("image refused: cannot read /{file}");
            assert!(failure.starts_with(&want), "trap {number}: {failure}");
        }
    }
    // A link to a file of the host leads to nothing inside.
    let sandbox = Sandbox::new();
    fs_err::remove_file(sandbox.image("etc/passwd")).unwrap();
    symlink(sandbox.victim().join("secret"), sandbox.image("etc/passwd")).unwrap();
    let mut spec = sandbox.spec(&["sh", "-c", "echo $HOME"]);
    spec.process.user = "0".parse().unwrap();
    assert_eq!(sandbox.run(&spec).stdout, "/\n");
    sandbox.assert_victim_untouched();
}

fn working_directories_through_descriptors_are_refused() {
    let sandbox = Sandbox::new();
    let root = rustix::fs::open("/", rustix::fs::OFlags::PATH, Mode::empty()).unwrap();
    let many: Vec<_> = (0..40).map(|_| rustix::io::dup(&root).unwrap()).collect();
    let mut paths: Vec<String> = (3..64).map(|fd| format!("/proc/self/fd/{fd}")).collect();
    paths.push("/proc/1/cwd".into());
    paths.push("/proc/self/root/tmp".into());
    paths.push("/proc/self/fd/9/../..".into());
    for path in paths {
        let mut spec = sandbox.spec(&["pwd"]);
        spec.process.cwd = path.clone();
        match sandbox.start(&spec) {
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("working directory"), "{path}: {text}");
            }
            // `..` is resolved as text before anything else is looked at.
            Ok(live) => assert_eq!(
                live.finish().stdout,
                "/proc/self\n".replace("self", "1"),
                "{path}"
            ),
        }
    }
    drop(many);
}

fn a_working_directory_behind_a_link_stays_inside() {
    let sandbox = Sandbox::new();
    symlink(sandbox.victim(), sandbox.image("l")).unwrap();
    let mut spec = sandbox.spec(&["pwd"]);
    spec.process.cwd = "/l/new".into();
    let inside = sandbox.victim().join("new");
    assert_eq!(sandbox.run(&spec).stdout.trim(), inside.to_str().unwrap());
    sandbox.assert_victim_untouched();
}

fn bind_targets_behind_links_stay_inside() {
    let sandbox = Sandbox::new();
    symlink(sandbox.victim(), sandbox.image("l")).unwrap();
    symlink("../../../../../../../../../../", sandbox.image("up")).unwrap();
    for target in ["/l/new", "/l", "/up/made", "/etc/../l/other"] {
        let mut spec = sandbox.spec(&["true"]);
        spec.mounts = vec![MountSpec::Bind {
            source: "/bin/busybox".into(),
            target: target.to_owned(),
            recursive: false,
            propagation: Propagation::Private,
            flags: MountFlags::default(),
            create: CreateTarget::LikeSource,
        }];
        // Whether it works is another matter; the victim stays whole.
        if let Ok(live) = sandbox.start(&spec) {
            live.finish();
        }
        sandbox.assert_victim_untouched();
    }
}

fn device_links_of_the_image_are_not_used() {
    let sandbox = Sandbox::new();
    let pattern = "/proc/sys/kernel/core_pattern";
    let before = fs_err::read_to_string(pattern).unwrap();
    fs_err::create_dir_all(sandbox.image("dev/pts")).unwrap();
    for name in [
        "dev/null",
        "dev/console",
        "dev/ptmx",
        "dev/pts/0",
        "dev/pts/ptmx",
    ] {
        symlink(pattern, sandbox.image(name)).unwrap();
    }
    let mut spec = sandbox.spec(&[
        "sh",
        "-c",
        "cat /proc/kcore /proc/keys | wc -c; stat -c %t:%T /dev/null",
    ]);
    spec.process.init = false;
    assert_eq!(sandbox.run(&spec).stdout, "0\n1:3\n");
    assert_eq!(fs_err::read_to_string(pattern).unwrap(), before);
}

fn the_reapers_binary_cannot_be_written() {
    let sandbox = Sandbox::new();
    let script =
        "(: >> /proc/1/exe) 2>&1; readlink /proc/1/exe >/dev/null && echo looked; echo end";
    let mut spec = sandbox.spec(&["sh", "-c", script]);
    spec.process.init = true;
    let output = sandbox.run(&spec);
    assert!(output.stdout.ends_with("end\n"), "{output:?}");
    let denied = [
        "Text file busy",
        "Read-only file system",
        "Permission denied",
    ];
    assert!(
        denied.iter().any(|word| output.stdout.contains(word)),
        "{output:?}"
    );
}

/// CVE-2019-5736 as it was: the program is `/proc/self/exe`, the loader runs rocker's binary
/// inside, and somebody waits until the file is no longer busy.
fn a_script_that_names_our_binary_cannot_write_it() {
    let sandbox = Sandbox::new();
    // Static or not, it cannot run there: what counts is the descriptor of the file.
    let own = rocker_runtime::executable::protected().unwrap();
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", own.as_raw_fd());
    let vfs = rustix::fs::statvfs(path.as_str()).unwrap();
    assert!(vfs.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    for program in ["/proc/self/exe", "/bin/script"] {
        sandbox.write("bin/script", "#!/proc/self/exe\n");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(sandbox.image("bin/script"), mode).unwrap();
        if let Ok(live) = sandbox.start(&sandbox.spec(&[program, "--list", "--ignored"])) {
            live.finish();
        }
    }
}
