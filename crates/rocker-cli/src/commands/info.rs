//! `rocker info`.

use serde_json::{Value, json};

use super::{Context, Outcome, print};
use crate::cli::values;
use crate::exit_code::Status;
use crate::template::Template;

/// Print facts about the installation and the host
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:\n  rocker info\n  rocker info -f '{{.ContainersRunning}}'")]
pub(crate) struct InfoArgs {
    /// How to print: json, or a Go template over docker's fields
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

pub(crate) fn info(context: &mut Context, args: InfoArgs) -> Outcome {
    let facts = context.engine()?.facts()?;
    let layout = context.layout();
    let uname = rustix::system::uname();
    let system = rustix::system::sysinfo();
    let memory = u64::from(system.mem_unit).saturating_mul(system.totalram);
    let stopped = facts
        .containers
        .saturating_sub(facts.running + facts.paused);
    let value = json!({
        "Containers": facts.containers,
        "ContainersRunning": facts.running,
        "ContainersPaused": facts.paused,
        "ContainersStopped": stopped,
        "Images": facts.images,
        "Driver": "overlay2",
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": cgroup_version(),
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
        "OperatingSystem": operating_system(),
        "KernelVersion": uname.release().to_string_lossy(),
        "OSType": "linux",
        "Architecture": uname.machine().to_string_lossy(),
        "NCPU": values::online_cpus(),
        "MemTotal": memory,
        "Name": uname.nodename().to_string_lossy(),
        "DockerRootDir": layout.root(),
        "RunRoot": layout.runroot(),
        "ServerVersion": env!("CARGO_PKG_VERSION"),
    });
    let text = match args.format.as_deref() {
        None | Some("") => plain(&value),
        Some("json") => format!("{value}\n"),
        Some(template) => Template::parse(template)?.render(&value)? + "\n",
    };
    print(&text)?;
    Ok(Status::Success)
}

/// `2` where the unified tree is the whole of it: hybrid hosts have their controllers in v1.
fn cgroup_version() -> &'static str {
    const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
    match rustix::fs::statfs("/sys/fs/cgroup") {
        Ok(found) if found.f_type == CGROUP2_SUPER_MAGIC => "2",
        Ok(_) | Err(_) => "1",
    }
}

/// What the distribution calls itself; see os-release(5).
fn operating_system() -> String {
    let paths = ["/etc/os-release", "/usr/lib/os-release"];
    let text = paths
        .iter()
        .find_map(|path| fs_err::read_to_string(path).ok());
    let name = text.as_deref().and_then(pretty_name);
    name.unwrap_or_else(|| "Linux".to_owned())
}

fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    let name = value.trim().trim_matches(['"', '\'']);
    (!name.is_empty()).then(|| name.to_owned())
}

/// Docker's words for docker's fields.
fn plain(value: &Value) -> String {
    const LINES: [(&str, &str); 17] = [
        ("Containers", "Containers"),
        (" Running", "ContainersRunning"),
        (" Paused", "ContainersPaused"),
        (" Stopped", "ContainersStopped"),
        ("Images", "Images"),
        ("Server Version", "ServerVersion"),
        ("Storage Driver", "Driver"),
        ("Logging Driver", "LoggingDriver"),
        ("Cgroup Driver", "CgroupDriver"),
        ("Cgroup Version", "CgroupVersion"),
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("Architecture", "Architecture"),
        ("CPUs", "NCPU"),
        ("Name", "Name"),
        ("Root Dir", "DockerRootDir"),
        ("Run Dir", "RunRoot"),
    ];
    let line = |(words, field): &(&str, &str)| {
        let value = &value[field];
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        format!("{words}: {value}\n")
    };
    LINES.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distributions_name_is_read_with_and_without_quotes() {
        for (text, expected) in [
            (
                "ID=x\nPRETTY_NAME=\"Debian GNU/Linux 13\"\n",
                Some("Debian GNU/Linux 13"),
            ),
            ("PRETTY_NAME='A b'", Some("A b")),
            ("PRETTY_NAME=Void", Some("Void")),
            ("PRETTY_NAME=\"\"", None),
            ("NAME=x", None),
        ] {
            assert_eq!(pretty_name(text).as_deref(), expected, "{text:?}");
        }
    }
}
