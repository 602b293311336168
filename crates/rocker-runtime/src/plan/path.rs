//! Paths in a container, as text.

/// Components of a path in the container, `.` dropped and `..` resolved as text; a relative
/// path counts from `/`. Links are not known here: they are resolved inside the root, by
/// descriptors.
pub(crate) fn components(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts
}

/// The path in its one spelling: absolute, no `.` or `..`, no double slash.
pub(crate) fn clean(path: &str) -> String {
    format!("/{}", components(path).join("/"))
}

/// Whether a path holds bytes that no path should (and that would break a line of a log).
pub(crate) fn has_control_bytes(path: &str) -> bool {
    path.bytes().any(|byte| byte < 0x20 || byte == 0x7f)
}

/// Files of /proc that may be covered: tools like lxcfs show a container its own limits there.
/// None of them is ever written by rocker. Source: runc's list of the same purpose.
const PROC_FILES_THAT_MAY_BE_COVERED: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
];

/// Whether a mount on this clean path would hide part of /proc from rocker or the container.
pub(crate) fn covers_proc(target: &str) -> bool {
    let in_proc = target == "/proc" || target.starts_with("/proc/");
    in_proc && !PROC_FILES_THAT_MAY_BE_COVERED.contains(&target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_spelling() {
        let table = [
            ("/a/b", "/a/b"),
            ("a", "/a"),
            ("", "/"),
            ("//a/./b/", "/a/b"),
            ("/a/../../b", "/b"),
            ("../../x", "/x"),
        ];
        for (text, want) in table {
            assert_eq!(clean(text), want, "{text:?}");
        }
    }

    #[test]
    fn only_listed_files_of_proc_may_be_covered() {
        for bad in [
            "/proc",
            "/proc/self",
            "/proc/sys",
            "/proc/self/attr",
            "/proc/1",
        ] {
            assert!(covers_proc(bad), "{bad}");
        }
        for good in ["/proc/meminfo", "/process", "/data"] {
            assert!(!covers_proc(good), "{good}");
        }
    }
}
