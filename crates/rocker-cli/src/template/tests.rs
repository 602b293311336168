//! Tables: template, expected text. The values are those of a docker container.

use serde_json::{Value, json};

use super::{Template, TemplateError};

fn container() -> Value {
    json!({
        "Id": "4f1c8c1d",
        "Name": "/web",
        "Args": ["-g", "daemon off;"],
        "RestartCount": 3,
        "State": {"Running": true, "ExitCode": 0, "Pid": 4711, "Health": null},
        "Config": {
            "Image": "nginx:1.27",
            "Labels": {"a.b": "dotted", "tier": "front"},
            "Cmd": null,
            "Env": ["PATH=/bin", "X=1"],
        },
        "HostConfig": {
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m"}},
        },
        "NetworkSettings": {
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "443/tcp": null},
            "Networks": {"bridge": {"IPAddress": "172.30.0.2"}, "back": {"IPAddress": "10.1.0.9"}},
        },
        "Mounts": [{"Source": "/srv/a"}, {"Source": "/srv/b"}],
        "_Labels": {"tier": "front"},
    })
}

fn render(template: &str) -> Result<String, TemplateError> {
    Template::parse(template)?.render(&container())
}

fn check(cases: &[(&str, &str)]) {
    for (template, expected) in cases {
        assert_eq!(
            render(template).as_deref(),
            Ok(*expected),
            "template {template:?}"
        );
    }
}

#[test]
fn the_one_liners_that_scripts_use_give_what_docker_gives() {
    check(&[
        ("{{.State.Running}}", "true"),
        ("{{.State.ExitCode}}", "0"),
        ("{{.State.Pid}}", "4711"),
        (
            "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
            "10.1.0.9172.30.0.2",
        ),
        (
            "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}",
            "8080",
        ),
        (
            "{{json .Config.Labels}}",
            r#"{"a.b":"dotted","tier":"front"}"#,
        ),
        ("{{range .Mounts}}{{.Source}} {{end}}", "/srv/a /srv/b "),
        ("{{index .Config.Labels \"a.b\"}}", "dotted"),
        ("{{.HostConfig.RestartPolicy.Name}}", "on-failure"),
        ("{{slice .Id 0 4}}", "4f1c"),
        ("{{.Label \"tier\"}}{{.Label \"nothing\"}}", "front"),
        (
            "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}",
            "none",
        ),
    ]);
}

#[test]
fn what_a_configuration_leaves_out_is_empty() {
    check(&[
        ("{{.Config.User}}", ""),
        ("{{.Config.Entrypoint}}", "[]"),
        (
            "{{json .Config.Volumes}} {{.Config.ExposedPorts}}",
            "{} map[]",
        ),
        (
            "{{range .Config.Shell}}x{{end}}{{len .Config.OnBuild}}",
            "0",
        ),
        (
            "{{with .Config.Healthcheck}}checked{{else}}none{{end}}",
            "none",
        ),
        ("{{.Config.Tty}}", "false"),
        ("{{index .Config.Volumes \"/data\"}}", ""),
    ]);
    assert!(render("{{.Config.Entrypoints}}").is_err());
    assert!(render("{{.State.User}}").is_err());
}

#[test]
fn control_structures() {
    check(&[
        ("{{if .State.Running}}yes{{else}}no{{end}}", "yes"),
        (
            "{{if eq .Name \"/db\"}}a{{else if eq .Name \"/web\"}}b{{else}}c{{end}}",
            "b",
        ),
        ("{{with .Config.Cmd}}{{.}}{{else}}empty{{end}}", "empty"),
        ("{{with .Config}}{{.Image}}{{end}}", "nginx:1.27"),
        (
            "{{with $c := .Config}}{{$c.Image}} {{$.Name}}{{end}}",
            "nginx:1.27 /web",
        ),
        (
            "{{range $i, $v := .Args}}{{$i}}={{$v}};{{end}}",
            "0=-g;1=daemon off;;",
        ),
        (
            "{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}} {{end}}",
            "a.b:dotted tier:front ",
        ),
        ("{{range $v := .Args}}<{{$v}}>{{end}}", "<-g><daemon off;>"),
        ("{{range .Config.Cmd}}x{{else}}nothing{{end}}", "nothing"),
        ("{{range .Args}}{{.}}{{break}}{{end}}", "-g"),
        (
            "{{range .Args}}{{if eq . \"-g\"}}{{continue}}{{end}}{{.}}{{end}}",
            "daemon off;",
        ),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{end}}{{$x}}", "1"),
    ]);
}

#[test]
fn functions() {
    check(&[
        ("{{and true 0 \"x\"}}", "0"),
        ("{{or \"\" 0 \"x\"}}", "x"),
        ("{{or .Config.Cmd .Name}}", "/web"),
        ("{{not .State.Running}}", "false"),
        (
            "{{eq .RestartCount 1 2 3}} {{ne .RestartCount 3}}",
            "true false",
        ),
        (
            "{{lt 1 2}}{{le 2 2}}{{gt 1.5 2}}{{ge \"b\" \"a\"}}",
            "truetruefalsetrue",
        ),
        (
            "{{len .Args}} {{len .Name}} {{len .Config.Labels}}",
            "2 4 2",
        ),
        ("{{join .Args \",\"}}", "-g,daemon off;"),
        (
            "{{split \"a:b\" \":\"}} {{index (split \"a:b\" \":\") 1}}",
            "[a b] b",
        ),
        (
            "{{title \"hello big world\"}} {{upper \"a\"}} {{lower \"B\"}}",
            "Hello Big World A b",
        ),
        ("{{truncate .Config.Image 5}}", "nginx"),
        ("{{pad \"x\" 1 2}}|", " x  |"),
        ("{{print 1 2 \"a\" \"b\" 3}}", "1 2ab3"),
        ("{{println 1 \"a\"}}", "1 a\n"),
        (
            "{{printf \"%s|%-5s|%5d|%05d|%.2f|%q|%v|%t|%x|%%\" \"a\" \"b\" 3 4 1.5 \"q\" .Args true 255}}",
            "a|b    |    3|00004|1.50|\"q\"|[-g daemon off;]|true|ff|%",
        ),
        (
            "{{slice .Args 1}} {{slice \"abcdef\" 2 4}}",
            "[daemon off;] cd",
        ),
        ("{{.Name | printf \"%s-%s\" \"x\"}}", "x-/web"),
        ("{{.Config.Image | upper | json}}", "\"NGINX:1.27\""),
        ("{{index .Config.Labels \"missing\"}}|", "|"),
        (
            "{{'a'}} {{`raw\\n`}} {{\"tab\\t\"}}{{1_000}} {{0x10}}",
            "97 raw\\n tab\t1000 16",
        ),
    ]);
}

#[test]
fn text_around_actions_is_trimmed_where_the_markers_say_so() {
    check(&[
        ("a {{- 1 -}} b", "a1b"),
        ("a {{- /* comment */ -}} b", "ab"),
        ("a {{/* comment */}} b", "a  b"),
        ("a {{-1}} b", "a -1 b"),
        ("{{ .Name }}\n{{- \"\" }}", "/web"),
        ("no actions }} here", "no actions }} here"),
        ("", ""),
    ]);
}

#[test]
fn values_print_as_in_go() {
    check(&[
        ("{{.Args}}", "[-g daemon off;]"),
        ("{{.Config.Labels}}", "map[a.b:dotted tier:front]"),
        ("{{.Config.Cmd}}", "<no value>"),
        ("{{.Config.Labels.missing}}", "<no value>"),
        ("{{.HostConfig.LogConfig.Config.missing}}", "<no value>"),
        ("{{1.5}} {{true}} {{nil}}", "1.5 true <no value>"),
    ]);
}

#[test]
fn an_unknown_field_lists_the_fields_there_are() {
    assert_eq!(
        render("{{.State.Runing}}"),
        Err(TemplateError::UnknownField {
            field: "Runing".to_owned(),
            valid: ".Running .ExitCode .Pid .Health".to_owned(),
        })
    );
    let error = render("{{.Label2}}").expect_err("no such field");
    assert!(!error.to_string().contains("_Labels"), "{error}");
}

#[test]
fn what_is_not_a_template_is_refused() {
    let refused = [
        "{{",
        "{{.A",
        "{{if .Name}}",
        "{{end}}",
        "{{else}}",
        "{{if}}x{{end}}",
        "{{\"a}}",
        "{{`a}}",
        "{{nonsense .Name}}",
        "{{$x}}",
        "{{.Name | }}",
        "{{(.Name}}",
        "{{.Name)}}",
        "{{range .Name}}{{end}}",
        "{{.Name.First}}",
        "{{index .Args 9}}",
        "{{index .Args \"x\"}}",
        "{{len 3}}",
        "{{lt 1 \"a\"}}",
        "{{/* never closed }}",
        "{{slice .Name 3 99}}",
        "{{.Name 1}}",
        "{{1x}}",
        "{{printf \"%y\" 1}}",
        "{{}}",
        "{{if true}}{{else}}{{else}}{{end}}",
        "{{join .Name \",\"}}",
        "{{'ab'}}",
        "{{^}}",
    ];
    for template in refused {
        assert!(render(template).is_err(), "{template:?} was accepted");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_engine_panic(text in "(\\{\\{|\\}\\}|-|[ .|()$\"`':=,]|if|range|end|Name|Args|index|[0-9a-z%]){0,24}") {
        let _either = render(&text);
    }
}
