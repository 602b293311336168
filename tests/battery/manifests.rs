//! Manifests and indexes that lie.

use rocker_testkit::image::{Blob, Image, ImageBuilder, Layer};
use rocker_testkit::registry::Registry;
use rocker_testkit::require;
use serde_json::{Value, json};

use super::{Case, Ground, good, image};
use crate::host;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The good image with another manifest: these bytes, announced as this.
fn document(
    name: &'static str,
    media_type: &str,
    body: impl Into<Vec<u8>>,
    words: &'static str,
) -> Case {
    let manifest = Blob::new(media_type, body.into());
    let good = good().build();
    let publish = Box::new(move |registry: &Registry| {
        registry.push("liar:1", &good);
        registry.put_manifest("liar:1", manifest.clone())
    });
    Case {
        name,
        publish,
        words,
    }
}

/// The good image's manifest as text, changed by `change`.
fn text(name: &'static str, change: impl FnOnce(String) -> String, words: &'static str) -> Case {
    let bytes = good().build().manifest.bytes.to_vec();
    let text = String::from_utf8(bytes).expect("JSON is text");
    document(name, MANIFEST, change(text), words)
}

/// The good image with a value of its manifest replaced.
fn bent(name: &'static str, pointer: &str, value: impl Into<Value>, words: &'static str) -> Case {
    image(name, good().bend_manifest(pointer, value).build(), words)
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of it is one table of cases")]
fn what_is_no_manifest_is_refused() {
    let ground = Ground::new(require!(host()));
    let deep = format!("{{\"schemaVersion\":2,\"x\":{}", "[".repeat(200_000));
    let descriptor =
        json!({ "mediaType": MANIFEST, "digest": format!("sha256:{}", "1".repeat(64)), "size": 2 });
    ground.refuse_all(&[
        text(
            "truncated",
            |text| text[..text.len() - 1].to_owned(),
            "manifest is not valid",
        ),
        text(
            "two documents",
            |text| format!("{text}{text}"),
            "manifest is not valid",
        ),
        document(
            "a sign-in page",
            "text/html",
            "<html>sign in</html>",
            "text/html",
        ),
        document(
            "a page that says it is a manifest",
            MANIFEST,
            "<html>",
            "manifest is not valid",
        ),
        document("empty", MANIFEST, "", "manifest is not valid"),
        document("an array", MANIFEST, "[]", "manifest is not valid"),
        document("nested deeply", MANIFEST, deep, "json_depth of 100"),
        document(
            "64 MiB",
            MANIFEST,
            vec![0; 64 << 20],
            "manifest_bytes of 4194304",
        ),
        text(
            "a key twice",
            |text| text.replacen("\"layers\"", "\"layers\":[],\"layers\"", 1),
            "duplicate key",
        ),
        text(
            "a key twice, deep",
            |text| text.replacen("\"size\"", "\"size\":1,\"size\"", 1),
            "duplicate key",
        ),
        text(
            "a key in another case",
            |text| text.replacen('{', "{\"Layers\":[],", 1),
            "Layers",
        ),
        text(
            "a string that is no text",
            |text| text.replacen("schemaVersion", "schema\u{0}Version", 1),
            "manifest is not valid",
        ),
        bent("schema 1", "/schemaVersion", 1, "schema 1"),
        bent("schema 3", "/schemaVersion", 3, "schemaVersion"),
        bent("layers of schema 1", "/fsLayers", json!([]), "schema 1"),
        bent(
            "an unknown type",
            "/mediaType",
            "application/x-unheard-of",
            "announced as",
        ),
        document(
            "an unknown type in the header",
            "application/x-unheard-of",
            "{}",
            "application/x-unheard-of",
        ),
        document(
            "an index by its header",
            INDEX,
            good().build().manifest.bytes,
            "announced as",
        ),
        bent(
            "manifests and layers",
            "/manifests",
            json!([descriptor]),
            "both",
        ),
        bent(
            "annotations of 4 MiB",
            "/annotations",
            json!({ "a": "x".repeat(4 << 20) }),
            "manifest_bytes of 4194304",
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "most of it is one table of cases")]
fn descriptors_that_lie_are_refused() {
    let ground = Ground::new(require!(host()));
    let hex = "0123456789abcdef".repeat(4);
    let size = good().build().layers[0].bytes.len();
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let many = json!(vec![
        json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": format!("sha256:{hex}"), "size": 1 });
        10_000
    ]);
    let swapped = {
        let manifest: Value = serde_json::from_slice(&good().build().manifest.bytes).expect("JSON");
        json!([manifest["layers"][1], manifest["layers"][0]])
    };
    let first = json!([swapped[1]]);
    ground.refuse_all(&[
        bent("no layers", "/layers", json!([]), "layers is empty"),
        bent("layers that are none", "/layers", json!({}), "layers"),
        bent("null for layers", "/layers", Value::Null, "layers is null"),
        bent("10 000 layers", "/layers", many, "10000 layers"),
        bent(
            "a layer less",
            "/layers",
            first,
            "the manifest has 1 layers",
        ),
        bent("swapped layers", "/layers", swapped, "promised"),
        bent(
            "a config of another kind",
            "/config/mediaType",
            "application/vnd.cncf.helm.config.v1+json",
            "not a container image",
        ),
        bent(
            "a config that is not there",
            "/config/digest",
            format!("sha256:{hex}"),
            "not found",
        ),
        bent(
            "a config without digest",
            "/config/digest",
            Value::Null,
            "config.digest",
        ),
        bent(
            "a config of another size",
            "/config/size",
            7,
            "were promised",
        ),
        bent(
            "a layer from elsewhere",
            "/layers/1/mediaType",
            foreign,
            "layer 1 is a foreign layer",
        ),
        bent(
            "a layer of no known type",
            "/layers/1/mediaType",
            "application/x-unheard-of",
            "layers[1].mediaType",
        ),
        bent(
            "gzip that says zstd",
            "/layers/0/mediaType",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "media type says zstd",
        ),
        bent("a negative size", "/layers/0/size", -1, "layers[0].size"),
        bent("half a byte", "/layers/0/size", 1.5, "layers[0].size"),
        bent("a size of 2^62", "/layers/0/size", 1_u64 << 62, "bytes"),
        bent("seven bytes less", "/layers/0/size", size - 7, "bytes"),
        bent("seven bytes more", "/layers/0/size", size + 7, "bytes"),
        bent(
            "a short digest",
            "/layers/0/digest",
            format!("sha256:{}", &hex[1..]),
            "layers[0].digest",
        ),
        bent(
            "a digest in capitals",
            "/layers/0/digest",
            format!("sha256:{}", hex.to_uppercase()),
            "layers[0].digest",
        ),
        bent(
            "md5",
            "/layers/0/digest",
            format!("md5:{}", &hex[..32]),
            "layers[0].digest",
        ),
        bent(
            "a path for a digest",
            "/layers/0/digest",
            "sha256:../../../../etc/passwd",
            "layers[0].digest",
        ),
        bent(
            "digits of another script",
            "/layers/0/digest",
            format!("sha256:{}", "\u{663}".repeat(64)),
            "layers[0].digest",
        ),
        bent(
            "another blob",
            "/layers/0/digest",
            format!("sha256:{hex}"),
            "not found",
        ),
    ]);
}

/// An index of the good image, changed by `change`.
fn index(name: &'static str, change: impl FnOnce(&mut Value), words: &'static str) -> Case {
    let good = good().build();
    let mut index = serde_json::from_slice(&Image::index(&[&good]).bytes).expect("JSON");
    change(&mut index);
    let index = Blob::new(INDEX, index.to_string());
    let publish = Box::new(move |registry: &Registry| {
        registry.push("liar:image", &good);
        registry.put_manifest("liar:1", index.clone())
    });
    Case {
        name,
        publish,
        words,
    }
}

/// Claims a digest that nobody can make: that of a document which names itself.
fn index_of_itself() -> Case {
    let digest = format!("sha256:{}", "5".repeat(64));
    let entry = json!({ "mediaType": INDEX, "digest": digest, "size": 100 });
    let body = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string();
    let blob = Blob {
        media_type: INDEX.to_owned(),
        digest,
        bytes: body.into(),
    };
    let publish =
        Box::new(move |registry: &Registry| registry.put_manifest("liar:1", blob.clone()));
    Case {
        name: "an index of itself",
        publish,
        words: "was promised",
    }
}

/// Six indexes, each in the next.
fn nested_indexes() -> Case {
    let publish = Box::new(|registry: &Registry| {
        let mut inner = good().build().manifest;
        for _ in 0..6 {
            let outer = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [inner.descriptor()] });
            registry.put_manifest("liar:inner", inner);
            inner = Blob::new(INDEX, outer.to_string());
        }
        registry.put_manifest("liar:1", inner)
    });
    Case {
        name: "indexes in indexes",
        publish,
        words: "indexes point at one another",
    }
}

#[test]
fn indexes_that_lie_are_refused() {
    let ground = Ground::new(require!(host()));
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    ground.refuse_all(&[
        index(
            "nothing for this machine",
            |index| index["manifests"][0]["platform"]["architecture"] = json!("s390x"),
            "there is linux/s390x",
        ),
        index(
            "an empty list",
            |index| index["manifests"] = json!([]),
            "no image for",
        ),
        index(
            "another size",
            |index| index["manifests"][0]["size"] = json!(7),
            "7 were promised",
        ),
        index(
            "another type",
            |index| index["manifests"][0]["mediaType"] = json!(docker),
            "announced as",
        ),
        index(
            "a path for a digest",
            |index| index["manifests"][0]["digest"] = json!("sha256:../x"),
            "manifests[0].digest",
        ),
        index(
            "a config as well",
            |index| index["config"] = json!({}),
            "both",
        ),
        index_of_itself(),
        nested_indexes(),
    ]);
}

#[test]
fn urls_of_layers_are_nobodys_business() {
    let ground = Ground::new(require!(host()));
    let elsewhere = Registry::start();
    let urls = json!([
        format!("http://{}/layer", elsewhere.host()),
        "file:///etc/passwd"
    ]);
    let image = ImageBuilder::busybox()
        .layer(Layer::new().file("f", "content"))
        .bend_manifest("/layers/1/urls", urls)
        .bend_manifest("/layers/1/data", "bm90IGl0")
        .build();
    let reference = ground.host.registry().push("urls:1", &image);

    assert_eq!(
        ground.host.ok(["run", "--rm", &reference, "cat", "/f"]),
        "content"
    );

    assert_eq!(elsewhere.requests(), []);
    ground.victim.assert_untouched("urls");
    ground.host.assert_nothing_left_behind();
}
