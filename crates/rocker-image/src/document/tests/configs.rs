//! What is and what is no config.

use super::*;

fn config() -> Value {
    json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [hex(8), hex(9)]},
    })
}

#[test]
fn configs_are_read() {
    let config = read_config(&self::config(), Some("linux/amd64")).unwrap();
    assert_eq!(config.rootfs.diff_ids.len(), 2);
    assert_eq!(config.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
}

#[test]
fn a_config_is_for_the_platform_that_was_promised() {
    let of = |architecture: &str, variant: Option<&str>| {
        let config = with(config(), "/architecture", json!(architecture));
        variant.map_or(config.clone(), |variant| {
            with(config, "/variant", json!(variant))
        })
    };
    let good = [
        (of("s390x", None), None),
        (of("arm", Some("v7")), Some("linux/arm/v7")),
        (of("arm", None), Some("linux/arm/v7")),
        (of("arm", Some("v6")), Some("linux/arm/v7")),
        (of("arm64", Some("v8")), Some("linux/arm64")),
        (of("amd64", Some("")), Some("linux/amd64")),
    ];
    for (document, wanted) in good {
        assert!(
            read_config(&document, wanted).is_ok(),
            "{document} {wanted:?}"
        );
    }
    let bad = [
        (of("arm64", None), Some("linux/amd64")),
        (of("arm", Some("v7")), Some("linux/arm/v6")),
        (of("", None), Some("linux/amd64")),
    ];
    for (document, wanted) in bad {
        let error = read_config(&document, wanted).unwrap_err();
        assert!(
            matches!(error, DocumentError::WrongPlatform { .. }),
            "{document} {wanted:?}: {error}"
        );
    }
}

#[test]
fn bad_configs_are_refused_by_name() {
    let field = |pointer: &str, value: Value| with(config(), pointer, value);
    let cases = [
        (field("/os", json!("windows")), "windows"),
        (field("/os", json!("")), "operating system \"\""),
        (field("/os", Value::Null), "missing field `os`"),
        (field("/OS", json!("linux")), "OS"),
        (field("/architecture", json!(1)), "expected a string"),
        (field("/rootfs", Value::Null), "missing field `rootfs`"),
        (field("/rootfs/type", json!("foo")), "rootfs.type"),
        (field("/rootfs/diff_ids", json!([])), "0 diff_ids"),
        (field("/rootfs/diff_ids", json!([hex(8)])), "1 diff_ids"),
        (
            field("/rootfs/diff_ids", json!([hex(8), hex(9), hex(9)])),
            "3 diff_ids",
        ),
        (
            field("/rootfs/diff_ids/0", json!("sha256:../../etc")),
            "invalid digest",
        ),
        (field("/config/Cmd", json!("sh")), "expected a sequence"),
        (field("/config", json!([])), "expected a JSON object"),
        (
            field("/rootfs", json!(["layers", [hex(8), hex(9)]])),
            "expected a JSON object",
        ),
        (
            field("/history", json!([["2026"]])),
            "expected a JSON object",
        ),
        (
            field("/config/Healthcheck", json!([["NONE"]])),
            "expected a JSON object",
        ),
    ];
    for (document, words) in cases {
        let error = read_config(&document, None).unwrap_err();
        let source = std::error::Error::source(&error)
            .map(ToString::to_string)
            .unwrap_or_default();
        let refusal = format!("{error}: {source}");
        assert!(refusal.contains(words), "{words:?} is not in {refusal:?}");
    }
    let twice = config()
        .to_string()
        .replacen("\"os\"", "\"os\":\"windows\",\"os\"", 1);
    let error = default_config(twice.as_bytes()).unwrap_err();
    assert!(matches!(error, DocumentError::Syntax { .. }), "{error}");
    let huge = vec![b' '; usize::try_from(DocumentLimits::default().config_bytes).unwrap() + 1];
    let error = default_config(&huge).unwrap_err();
    assert!(matches!(error, DocumentError::Limit(_)), "{error}");
}

#[test]
fn a_field_of_the_wrong_type_is_named() {
    for (pointer, value, place) in [
        ("/config/Cmd", json!("sh"), "config.Cmd"),
        ("/config/Env", json!(["A=1", 2]), "config.Env[1]"),
        ("/config/User", json!(7), "config.User"),
        ("/config/Volumes", json!({"/v": 1}), "config.Volumes./v"),
        (
            "/rootfs/diff_ids/0",
            json!("sha256:x"),
            "rootfs.diff_ids[0]",
        ),
    ] {
        let document = with(config(), "/config", json!({}));
        let error = read_config(&with(document, pointer, value), None).unwrap_err();
        assert_eq!(error.to_string(), format!("config is not valid at {place}"));
    }
    let document = with(manifest(), "/layers", json!({}));
    let error = parse(&document, None).unwrap_err();
    assert_eq!(error.to_string(), "manifest is not valid at layers");
}
