//! inspect: the templates that docker's users have in their scripts.

use rocker_testkit::require;

use crate::{host, inspect};

/// Templates over the container of the test, and what they print; `ID` and the like stand for what
/// differs from run to run.
const ONE_LINERS: &[(&str, &str)] = &[
    ("{{.State.Status}}", "running"),
    ("{{.State.Running}} {{.State.ExitCode}}", "true 0"),
    ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
    ("{{.Id}}", "ID"),
    ("{{.Name}}", "/web"),
    ("{{.Config.Image}}", "IMAGE"),
    ("{{.Config.Hostname}}", "box"),
    ("{{.NetworkSettings.IPAddress}}", "ADDRESS"),
    (
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        "ADDRESS",
    ),
    (
        "{{range $name, $net := .NetworkSettings.Networks}}{{$name}}{{end}}",
        "bridge",
    ),
    (
        "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}",
        "8080",
    ),
    (
        "{{range $p, $conf := .NetworkSettings.Ports}}{{$p}} -> {{(index $conf 0).HostPort}}{{end}}",
        "80/tcp -> 8080",
    ),
    (
        "{{json .HostConfig.PortBindings}}",
        "{\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"8080\"}]}",
    ),
    ("{{index .Config.Labels \"a\"}}", "1"),
    ("{{index .Config.Labels \"b.c\"}}", "2"),
    ("{{json .Config.Labels}}", "{\"a\":\"1\",\"b.c\":\"2\"}"),
    (
        "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}",
        "a=1 b.c=2",
    ),
    (
        "{{json .Config.Env}}",
        "[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\"HOSTNAME=box\",\"A=x y\"]",
    ),
    (
        "{{range .Config.Env}}{{println .}}{{end}}",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOSTNAME=box\nA=x y",
    ),
    ("{{json .Config.Cmd}}", "[\"sleep\",\"1000\"]"),
    ("{{join .Config.Cmd \" \"}}", "sleep 1000"),
    (
        "{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}} {{.Mode}};{{end}}",
        "volume /data true nocopy;bind /host false ro,rslave;",
    ),
    (
        "{{range .Mounts}}{{if eq .Type \"volume\"}}{{.Name}}{{end}}{{end}}",
        "data",
    ),
    ("{{len .Mounts}}", "2"),
    (
        "{{json .HostConfig.Binds}}",
        "[\"data:/data:nocopy\",\"DIRECTORY:/host:ro,rslave\"]",
    ),
    (
        "{{json .HostConfig.Tmpfs}}",
        "{\"/plain\":\"\",\"/t\":\"exec,size=1048576,mode=700\"}",
    ),
    (
        "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}",
        "on-failure 3",
    ),
    (
        "{{.HostConfig.Memory}} {{.HostConfig.NetworkMode}}",
        "67108864 bridge",
    ),
    ("{{.HostConfig.UTSMode}}", ""),
    ("{{.RestartCount}}", "0"),
];

#[test]
fn the_one_liners_of_docker_users_print_what_docker_prints() {
    let host = require!(host());
    let image = host.busybox();
    let directory = host.scratch().to_string_lossy().into_owned();
    let bind = format!("{directory}:/host:ro,rslave");
    let flags = "run -d --name web -p 8080:80 -l a=1 -l b.c=2 -v data:/data:nocopy -h box -m 64m \
                 --tmpfs /t:size=1m,mode=700,exec --tmpfs /plain --restart on-failure:3";
    let words = flags.split_whitespace();
    let id = host.ok(words.chain(["-v", &bind, "-e", "A=x y", &image, "sleep", "1000"]));
    let address = host.ok(["exec", "web", "hostname", "-i"]);

    for (template, expected) in ONE_LINERS {
        let expected = expected
            .replace("ID", &id)
            .replace("IMAGE", &image)
            .replace("ADDRESS", &address)
            .replace("DIRECTORY", &directory);
        assert_eq!(inspect(&host, "web", template), expected, "{template}");
    }
    let started = inspect(&host, "web", "{{.State.StartedAt}}");
    assert!(
        started.starts_with("20") && started.ends_with('Z'),
        "{started}"
    );

    host.ok(["rm", "-f", "web"]);
    host.ok(["volume", "rm", "data"]);
    host.assert_nothing_left_behind();
}

#[test]
fn what_was_attached_shows_as_in_docker() {
    let host = require!(host());
    let image = host.busybox();

    for (words, expected) in [
        (&["create"][..], "false true true false"),
        (&["create", "-i"], "true true true true"),
        (&["run"], "false true true false"),
        (&["run", "-i"], "true true true true"),
        (&["run", "-i", "-a", "stderr"], "false false true false"),
        (&["run", "-d"], "false false false false"),
        (&["run", "-di"], "false false false false"),
    ] {
        host.ok([words, &["--name", "web", &image, "true"]].concat());
        let shown = inspect(
            &host,
            "web",
            "{{.Config.AttachStdin}} {{.Config.AttachStdout}} {{.Config.AttachStderr}} {{.Config.StdinOnce}}",
        );
        assert_eq!(shown, expected, "{words:?}");
        host.ok(["rm", "-f", "web"]);
    }
    host.assert_nothing_left_behind();
}

#[test]
fn a_container_on_the_hosts_network_has_the_hosts_name() {
    let host = require!(host());
    let image = host.busybox();

    let said = host.ok([
        "run",
        "--name",
        "web",
        "--network",
        "host",
        &image,
        "sh",
        "-c",
        "hostname; echo $HOSTNAME",
    ]);

    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    assert_eq!(said, format!("{name}\n{name}"));
    assert_eq!(inspect(&host, "web", "{{.HostConfig.UTSMode}}"), "");
    host.ok(["rm", "web"]);
    host.assert_nothing_left_behind();
}
