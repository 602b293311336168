//! What an image may ask for is the owner's: a refusal names the key, and raising it lets the image
//! in.

use rocker_testkit::Host;
use rocker_testkit::host::Output;
use rocker_testkit::image::{Blob, ImageBuilder, Layer};
use rocker_testkit::require;

use crate::host;

/// One clear error with these words.
fn assert_refused(output: &Output, words: &str) {
    assert_ne!(output.exit_code, 0, "{words}: {output:?}");
    let lines = output.stderr.lines();
    let errors: Vec<&str> = lines.filter(|line| line.starts_with("Error: ")).collect();
    assert!(
        errors.len() == 1 && errors[0].contains(words),
        "{words}: {output:?}"
    );
}

/// An index around what is pushed under `name`, `depth` times.
fn in_indexes(host: &Host, name: &str, depth: usize) -> String {
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    let registry = host.registry();
    registry.push(name, &ImageBuilder::busybox().build());
    let mut reference = String::new();
    for _ in 0..depth {
        let inner = registry.manifest(name).expect("what was pushed");
        let outer = serde_json::json!({
            "schemaVersion": 2, "mediaType": INDEX, "manifests": [inner.descriptor()],
        });
        registry.put_manifest(&name.replace(':', ":inner-"), inner);
        reference = registry.put_manifest(name, Blob::new(INDEX, outer.to_string()));
    }
    reference
}

#[test]
fn limits_of_documents_name_their_keys_and_let_in_what_they_are_raised_for() {
    let host = require!(host());
    let registry = host.registry();
    let long = "0123456789abcdef".repeat(400);
    let deep = (0..12).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
    let two = ImageBuilder::busybox().layer(Layer::new().file("more", "1"));
    let long_manifest = ImageBuilder::busybox()
        .bend_manifest("/annotations", serde_json::json!({ "long": long.as_str() }));
    let long_config = ImageBuilder::busybox().bend_config("/comment", long.as_str());
    let deep_config = ImageBuilder::busybox().bend_config("/deep", deep);
    let both = [&ImageBuilder::busybox().build(), &two.clone().build()];
    let cases = [
        ("layers = 1", registry.push("l:1", &two.build())),
        (
            "manifest_bytes = 4096",
            registry.push("m:1", &long_manifest.build()),
        ),
        (
            "config_bytes = \"4k\"",
            registry.push("c:1", &long_config.build()),
        ),
        ("json_depth = 8", registry.push("d:1", &deep_config.build())),
        ("index_entries = 1", registry.push_index("e:1", &both)),
        ("index_depth = 1", in_indexes(&host, "i:1", 2)),
    ];
    let config = host.scratch().join("config.toml");
    let with = |line: &str, words: &[&str]| {
        fs_err::write(&config, format!("[limits]\n{line}\n")).expect("a configuration");
        let command = host.command(words.iter().copied());
        command
            .env("ROCKER_CONFIG", &config.to_string_lossy())
            .run()
    };

    for (line, image) in &cases {
        let key = line.split(' ').next().expect("a key");
        let refused = with(line, &["pull", "-q", image]);
        assert_refused(&refused, &format!("exceeds the limit {key} of"));
        assert!(
            refused.stderr.contains(&format!("limits.{key} in /etc")),
            "{refused:?}"
        );
        let allowed = with("", &["pull", "-q", image]);
        assert_eq!(allowed.exit_code, 0, "{key}: {allowed:?}");
    }
    let archive = host.scratch().join("two.tar");
    let archive = archive.to_string_lossy();
    host.ok(["save", "-o", &archive, &cases[0].1, &cases[1].1]);
    let refused = with("images = 1", &["load", "-i", &archive]);
    assert_refused(&refused, "exceeds the limit images of 1");
    assert_eq!(with("images = 2", &["load", "-i", &archive]).exit_code, 0);

    let absurd = format!("entries = 1{}", "0".repeat(30));
    for (line, words) in [("layers = 0", "limits.layers wants"), (&absurd, "line 2")] {
        let invalid = with(line, &["pull", "-q", &cases[0].1]);
        assert_refused(&invalid, words);
    }
    host.assert_nothing_left_behind();
}
