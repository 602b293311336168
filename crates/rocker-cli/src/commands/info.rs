//! `rocker info`.

use serde_json::{Value, json};

use super::{Context, Outcome, print};
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
        "KernelVersion": uname.release().to_string_lossy(),
        "OSType": "linux",
        "Architecture": uname.machine().to_string_lossy(),
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
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

/// Docker's words for docker's fields.
fn plain(value: &Value) -> String {
    const LINES: [(&str, &str); 14] = [
        ("Containers", "Containers"),
        (" Running", "ContainersRunning"),
        (" Paused", "ContainersPaused"),
        (" Stopped", "ContainersStopped"),
        ("Images", "Images"),
        ("Server Version", "ServerVersion"),
        ("Storage Driver", "Driver"),
        ("Logging Driver", "LoggingDriver"),
        ("Kernel Version", "KernelVersion"),
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
