//! Every command that there is.

use clap::{ArgMatches, Args, FromArgMatches};

use crate::commands::{Context, Outcome};
use crate::commands::{
    attach, commit, completion, crash_points, create, diff, exec, export, generate, history,
    image_exists, image_mount, image_prune, image_tree, images, import, info, inspect, kill, load,
    login, logs, ps, pull, push, remote, restart, rm, rmi, run, save, search, start, stop, system,
    system_df, tag, version, volume, wait,
};

/// One command: its names, its flags, and what it does.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// Where it is found; the first is the name of its help and man page.
    pub(crate) paths: &'static [&'static [&'static str]],
    /// Adds help and flags to a bare command.
    pub(crate) flags: fn(clap::Command) -> clap::Command,
    pub(crate) run: fn(&mut Context, &ArgMatches) -> Outcome,
    pub(crate) visible: bool,
    pub(crate) failures: Failures,
    /// Whether `-h` is left to the command.
    pub(crate) own_h: bool,
}

/// How failures of a command show in its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failures {
    /// 1.
    Ordinary,
    /// 125, so that a script can tell them from the container's own code; 126 and 127 for a
    /// program that cannot be run or found.
    OfRun,
    /// 126 and 127 as for `run`, else 1: docker's choice.
    OfExec,
    /// 125, because 1 is an answer.
    OfQuestion,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Entry").field(&self.paths).finish()
    }
}

/// Groups of commands and what they are about.
pub(crate) const GROUPS: &[(&str, &str)] = &[
    ("container", "Work with containers"),
    ("image", "Work with images"),
    ("manifest", "Look at what registries have"),
    ("volume", "Work with volumes"),
    ("system", "Look after the installation"),
];

macro_rules! entry {
    ($args:ty, $run:path, [$($path:expr),+ $(,)?]) => {
        Entry {
            paths: &[$(&$path),+],
            flags: <$args>::augment_args,
            run: |context, matches| {
                let args = <$args>::from_arg_matches(matches)?;
                $run(context, args)
            },
            visible: true,
            failures: Failures::Ordinary,
            own_h: false,
        }
    };
}

/// In the order of the help.
pub(crate) const COMMANDS: &[Entry] = &[
    Entry {
        failures: Failures::OfRun,
        own_h: true,
        ..entry!(run::RunArgs, run::run, [["run"], ["container", "run"]])
    },
    Entry {
        own_h: true,
        ..entry!(
            create::CreateArgs,
            create::create,
            [["create"], ["container", "create"]]
        )
    },
    entry!(
        start::StartArgs,
        start::start,
        [["start"], ["container", "start"]]
    ),
    entry!(
        stop::StopArgs,
        stop::stop,
        [["stop"], ["container", "stop"]]
    ),
    entry!(
        restart::RestartArgs,
        restart::restart,
        [["restart"], ["container", "restart"]]
    ),
    entry!(
        kill::KillArgs,
        kill::kill,
        [["kill"], ["container", "kill"]]
    ),
    entry!(
        rm::RmArgs,
        rm::rm,
        [["rm"], ["container", "rm"], ["container", "remove"]]
    ),
    entry!(
        wait::WaitArgs,
        wait::wait,
        [["wait"], ["container", "wait"]]
    ),
    entry!(
        ps::PsArgs,
        ps::ps,
        [
            ["ps"],
            ["container", "ls"],
            ["container", "list"],
            ["container", "ps"]
        ]
    ),
    entry!(
        logs::LogsArgs,
        logs::logs,
        [["logs"], ["container", "logs"]]
    ),
    Entry {
        failures: Failures::OfExec,
        ..entry!(
            exec::ExecArgs,
            exec::exec,
            [["exec"], ["container", "exec"]]
        )
    },
    entry!(
        attach::AttachArgs,
        attach::attach,
        [["attach"], ["container", "attach"]]
    ),
    entry!(
        export::ExportArgs,
        export::export,
        [["export"], ["container", "export"]]
    ),
    entry!(
        commit::CommitArgs,
        commit::commit,
        [["commit"], ["container", "commit"]]
    ),
    entry!(
        diff::DiffArgs,
        diff::diff,
        [["diff"], ["container", "diff"]]
    ),
    entry!(inspect::InspectArgs, inspect::inspect, [["inspect"]]),
    entry!(
        inspect::OneKindArgs,
        inspect::container,
        [["container", "inspect"]]
    ),
    entry!(pull::PullArgs, pull::pull, [["pull"], ["image", "pull"]]),
    entry!(push::PushArgs, push::push, [["push"], ["image", "push"]]),
    entry!(
        images::ImagesArgs,
        images::images,
        [["images"], ["image", "ls"], ["image", "list"]]
    ),
    entry!(
        rmi::RmiArgs,
        rmi::rmi,
        [["rmi"], ["image", "rm"], ["image", "remove"]]
    ),
    entry!(
        import::ImportArgs,
        import::import,
        [["import"], ["image", "import"]]
    ),
    entry!(tag::TagArgs, tag::tag, [["tag"], ["image", "tag"]]),
    entry!(tag::UntagArgs, tag::untag, [["untag"], ["image", "untag"]]),
    entry!(
        history::HistoryArgs,
        history::history,
        [["history"], ["image", "history"]]
    ),
    entry!(save::SaveArgs, save::save, [["save"], ["image", "save"]]),
    entry!(load::LoadArgs, load::load, [["load"], ["image", "load"]]),
    entry!(inspect::OneKindArgs, inspect::image, [["image", "inspect"]]),
    Entry {
        failures: Failures::OfQuestion,
        ..entry!(
            image_exists::ExistsArgs,
            image_exists::exists,
            [["image", "exists"]]
        )
    },
    entry!(
        image_prune::PruneArgs,
        image_prune::prune,
        [["image", "prune"]]
    ),
    entry!(
        image_mount::MountArgs,
        image_mount::mount,
        [["image", "mount"]]
    ),
    entry!(
        image_mount::UnmountArgs,
        image_mount::unmount,
        [["image", "unmount"], ["image", "umount"]]
    ),
    entry!(image_tree::TreeArgs, image_tree::tree, [["image", "tree"]]),
    entry!(image_tree::DiffArgs, image_tree::diff, [["image", "diff"]]),
    entry!(
        remote::ManifestArgs,
        remote::manifest,
        [["manifest", "inspect"]]
    ),
    entry!(search::SearchArgs, search::search, [["search"]]),
    entry!(login::LoginArgs, login::login, [["login"]]),
    entry!(login::LogoutArgs, login::logout, [["logout"]]),
    entry!(volume::CreateArgs, volume::create, [["volume", "create"]]),
    entry!(
        volume::LsArgs,
        volume::ls,
        [["volume", "ls"], ["volume", "list"]]
    ),
    entry!(
        volume::RmArgs,
        volume::rm,
        [["volume", "rm"], ["volume", "remove"]]
    ),
    entry!(
        inspect::OneKindArgs,
        inspect::volume,
        [["volume", "inspect"]]
    ),
    entry!(version::VersionArgs, version::version, [["version"]]),
    entry!(info::InfoArgs, info::info, [["info"], ["system", "info"]]),
    entry!(system_df::DfArgs, system_df::df, [["system", "df"]]),
    entry!(system::CheckArgs, system::check, [["system", "check"]]),
    entry!(
        completion::CompletionArgs,
        completion::completion,
        [["completion"]]
    ),
    Entry {
        visible: false,
        ..entry!(generate::GenerateArgs, generate::generate, [["__generate"]])
    },
    Entry {
        visible: false,
        ..entry!(
            crash_points::CrashPointsArgs,
            crash_points::list,
            [["__crash-points"]]
        )
    },
];
