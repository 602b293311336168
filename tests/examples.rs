//! The examples of the man pages about images, run as they stand there.
//!
//! Docker Hub, quay.io and the others are repositories of one registry on loopback.

use std::path::Path;

use rocker_testkit::host::Output;
use rocker_testkit::image::{ImageBuilder, Layer};
use rocker_testkit::registry::{Auth, Registry};
use rocker_testkit::require;

use crate::host;

/// The pages, but for what only Docker Hub answers; that every example is understood is a test of
/// the command line.
const PAGES: [&str; 22] = [
    "commit",
    "diff",
    "export",
    "history",
    "image-diff",
    "image-exists",
    "image-inspect",
    "image-prune",
    "image-tree",
    "images",
    "import",
    "inspect",
    "load",
    "logout",
    "manifest-inspect",
    "pull",
    "push",
    "rmi",
    "save",
    "system-df",
    "tag",
    "untag",
];

/// What the examples have around them: `rocker` is ours, other programs hand on what it says.
const AROUND: &str = r#"
rocker() { "$ROCKER" --root "$ROOT" --runroot "$RUNROOT" "$@"; }
docker() { rocker "$@"; }
ssh() { shift; "$@"; }
mmdebstrap() { cat "$FILES/rootfs.tar"; }
names() { rocker images --format '{{.Repository}}:{{.Tag}}' | sort; }
"#;

/// Makes the images again that an example took away, and gives each one its files.
const BEFORE: &str = r#"
if [ ! -e "$FILES/names" ] || [ "$(names)" != "$(cat "$FILES/names")" ]; then
    for image in debian:trixie debian ubuntu:24.04 nginx web:1 web:2; do rocker pull -q "$image"; done
    for name in app app:1 app:2 localhost:5000/app localhost:5000/app:1 quay.io/team/app; do
        rocker tag web:1 "$name"
    done
    rocker tag debian:trixie debian:stable
    names >"$FILES/names"
fi >/dev/null
cd "$(mktemp -d -p "$FILES")"
cp -r "$FILES"/for-"$PAGE"/. . 2>/dev/null || :
"#;

/// What is done once: containers, and the files that some pages speak of.
const ONCE: &str = r#"
for name in web box; do rocker run --name "$name" nginx touch /new; done
cd "$FILES"
rocker export -o rootfs.tar web
mkdir for-import for-load
cp rootfs.tar for-import
gzip -k for-import/rootfs.tar
rocker save debian:trixie | gzip >for-load/debian.tar.gz
rocker save --format oci-dir -o for-load/layout debian:trixie
rocker save -o for-load/debian-fixed.tar debian:trixie
"#;

/// The lines below EXAMPLES, without roff's escapes.
fn examples(page: &str) -> Vec<String> {
    let man = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../man");
    let text = fs_err::read_to_string(man.join(format!("rocker-{page}.1"))).expect("a page");
    let (_, rest) = text
        .split_once(".SH EXAMPLES\n.nf\n.RS\n")
        .expect("examples");
    let (lines, _) = rest.split_once(".RE\n").expect("an end of the examples");
    let plain = |line: &str| {
        let line = line.replace("\\-", "-").replace("\\(aq", "'");
        line.replace("\\e", "\\")
    };
    lines.lines().map(plain).collect()
}

fn push_all(registry: &Registry, other: &Registry) {
    let image = ImageBuilder::busybox();
    let arm = image.clone().platform("arm64", None).build();
    let more = image.clone().layer(Layer::new().file("added", "1")).build();
    // no container here is made from it, so that it can be removed by its ID
    let unused = image
        .clone()
        .layer(Layer::new().file("unused", "1"))
        .build();
    let image = image.build();
    registry.push("hub/library/debian:trixie", &unused);
    for name in ["debian", "ubuntu:24.04", "nginx", "alpine:3.20", "web:1"] {
        registry.push(&format!("hub/library/{name}"), &image);
    }
    registry.push("hub/library/web:2", &more);
    for name in [
        "quay/podman/hello:latest",
        "quay/team/app:1",
        "quay/team/app:2",
        "example/large:latest",
    ] {
        registry.push(name, &image);
    }
    other.push_index("app:latest", &[&image, &arm]);
}

#[test]
fn the_examples_of_the_man_pages_do_what_they_say() {
    let host = require!(host());
    let registry = Registry::start();
    let other = Registry::listening_on("127.0.0.1:5000", Auth::Open);
    push_all(&registry, &other);
    let files = host.scratch().join("files");
    fs_err::create_dir(&files).expect("a directory");
    let rules = [
        ("docker.io", "hub"),
        ("quay.io", "quay"),
        ("registry.example.org", "example"),
    ];
    let rules = rules.map(|(prefix, place)| {
        let at = registry.host();
        format!("[[registry]]\nprefix = '{prefix}'\nlocation = '{at}/{place}'\n")
    });
    let conf = files.join("registries.conf");
    fs_err::write(&conf, rules.concat()).expect("a file");
    let run = |page: &str, script: &str| -> Output {
        let command = host.program("sh").args(["-euc", script]);
        let variables = [
            ("ROCKER", host.binary()),
            ("ROOT", &host.root()),
            ("RUNROOT", &host.runroot()),
            ("FILES", &files),
            ("HOME", &files),
            ("PAGE", Path::new(page)),
            ("CONTAINERS_REGISTRIES_CONF", &conf),
        ];
        let command = variables.iter().fold(command, |command, (name, value)| {
            command.env(name, &value.to_string_lossy())
        });
        command.stdin("y\n").run()
    };

    let ready = run("", &format!("{AROUND}{BEFORE}{ONCE}"));
    assert_eq!(ready.exit_code, 0, "{ready:?}");
    for page in PAGES {
        for example in examples(page) {
            // an ID is another one here
            let is_id =
                |word: &&str| word.len() >= 8 && word.bytes().all(|b| b.is_ascii_hexdigit());
            let named = example.split(' ').find(is_id).unwrap_or("no ID");
            let line = example.replace(named, "$(rocker images -q debian:trixie)");
            let output = run(page, &format!("{AROUND}{BEFORE}{line}"));
            assert_eq!(
                output.exit_code, 0,
                "rocker-{page}.1: {example}\n{output:?}"
            );
        }
    }
    drop(other);
}
