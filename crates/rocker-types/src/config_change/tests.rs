use super::*;

fn applied(changes: &[&str]) -> serde_json::Value {
    let mut config = ProcessConfig {
        env: vec!["PATH=/bin".into(), "A=old".into()],
        cmd: Some(vec!["old".into()]),
        working_dir: "/srv".into(),
        ..ProcessConfig::default()
    };
    let changes: Vec<ConfigChange> = changes.iter().map(|text| text.parse().unwrap()).collect();
    ConfigChange::apply_all(&changes, &mut config).unwrap();
    serde_json::to_value(&config).unwrap()
}

#[test]
fn instructions_change_what_they_name() {
    let cases = [
        (r#"CMD ["a", "b c"]"#, "/Cmd", r#"["a","b c"]"#),
        ("cmd a  b", "/Cmd", r#"["/bin/sh","-c","a  b"]"#),
        (r#"ENTRYPOINT ["x"]"#, "/Entrypoint", r#"["x"]"#),
        (
            "ENV A=1 B='2 3' C=\"$PATH:/x\" D=\\$A",
            "/Env",
            r#"["PATH=/bin","A=1","B=2 3","C=/bin:/x","D=$A"]"#,
        ),
        (
            "ENV A with blanks",
            "/Env",
            r#"["PATH=/bin","A=with blanks"]"#,
        ),
        ("ENV PATH=${PATH}:/y", "/Env", r#"["PATH=/bin:/y","A=old"]"#),
        (
            "EXPOSE 80 53/udp 7-8/TCP",
            "/ExposedPorts",
            r#"{"53/udp":{},"7/tcp":{},"8/tcp":{},"80/tcp":{}}"#,
        ),
        (
            "LABEL a=1 b.c=\"x y\"",
            "/Labels",
            r#"{"a":"1","b.c":"x y"}"#,
        ),
        ("ONBUILD RUN make", "/OnBuild", r#"["RUN make"]"#),
        ("STOPSIGNAL SIGINT", "/StopSignal", r#""SIGINT""#),
        ("USER 1000:50", "/User", r#""1000:50""#),
        (
            r#"VOLUME ["/a b", "/c"]"#,
            "/Volumes",
            r#"{"/a b":{},"/c":{}}"#,
        ),
        ("VOLUME /a /c", "/Volumes", r#"{"/a":{},"/c":{}}"#),
        ("WORKDIR /a/./b//c/..", "/WorkingDir", r#""/a/b""#),
        ("WORKDIR below", "/WorkingDir", r#""/srv/below""#),
    ];
    for (change, pointer, want) in cases {
        let config = applied(&[change]);
        let got = config.pointer(pointer).unwrap();
        assert_eq!(
            got,
            &serde_json::from_str::<serde_json::Value>(want).unwrap(),
            "{change}"
        );
    }
}

#[test]
fn an_entrypoint_takes_the_command_of_another_away() {
    assert_eq!(applied(&["ENTRYPOINT [\"x\"]"]).pointer("/Cmd"), None);
    let both = applied(&["CMD [\"c\"]", "ENTRYPOINT [\"x\"]"]);
    assert_eq!(both.pointer("/Cmd").unwrap(), &serde_json::json!(["c"]));
}

#[test]
fn what_is_no_instruction_is_named() {
    for text in [
        "",
        "RUN x",
        "FROM x",
        "CMD",
        "ENV",
        "ENV A",
        "ENV =x",
        "ENV A=1 B",
        "ENV A='x",
        "ENV A=${B",
        "ENV A=${B:-x}",
        "EXPOSE x",
        "EXPOSE 0",
        "EXPOSE 70000",
        "EXPOSE 9-8",
        "EXPOSE 80/icmp",
        "STOPSIGNAL SIGNOPE",
        "STOPSIGNAL INT TERM",
        "USER a b",
        "VOLUME []",
        "LABEL x",
    ] {
        let error = text.parse::<ConfigChange>().unwrap_err().to_string();
        assert!(error.starts_with("invalid change "), "{text}: {error}");
    }
}
