use std::path::Path;

use serde_json::{Value, json};

use super::{Blob, BuiltLayer, Compression, Layer};

/// Which family of documents an image is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// OCI image manifest and config.
    #[default]
    Oci,
    /// Docker image manifest version 2, schema 2.
    DockerSchema2,
}

impl Format {
    fn manifest(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::DockerSchema2 => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    fn index(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.index.v1+json",
            Self::DockerSchema2 => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    fn config(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::DockerSchema2 => "application/vnd.docker.container.image.v1+json",
        }
    }

    fn layer(self, compression: Compression) -> &'static str {
        match (self, compression) {
            (Self::Oci, Compression::Plain) => "application/vnd.oci.image.layer.v1.tar",
            (Self::Oci, Compression::Gzip | Compression::GzipMembers) => {
                "application/vnd.oci.image.layer.v1.tar+gzip"
            }
            (Self::Oci | Self::DockerSchema2, Compression::Zstd) => {
                "application/vnd.oci.image.layer.v1.tar+zstd"
            }
            (Self::DockerSchema2, Compression::Plain) => {
                "application/vnd.docker.image.rootfs.diff.tar"
            }
            (Self::DockerSchema2, Compression::Gzip | Compression::GzipMembers) => {
                "application/vnd.docker.image.rootfs.diff.tar.gzip"
            }
        }
    }
}

/// A finished image: every document and layer with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The manifest, as the registry serves it.
    pub manifest: Blob,
    /// The config; its digest is the image's id.
    pub config: Blob,
    /// The packed layers, base first.
    pub layers: Vec<Blob>,
    /// Digests of the unpacked layers, base first.
    pub diff_ids: Vec<String>,
    /// The platform that the config names, as an index spells it.
    pub platform: Value,
    format: Format,
}

impl Image {
    /// An index (or docker manifest list) that names each of `images` with its platform.
    pub fn index(images: &[&Self]) -> Blob {
        let format = images.first().map_or(Format::Oci, |image| image.format);
        let manifests: Vec<_> = images
            .iter()
            .map(|image| {
                let mut descriptor = image.manifest.descriptor();
                descriptor["platform"] = image.platform.clone();
                descriptor
            })
            .collect();
        let document =
            json!({ "schemaVersion": 2, "mediaType": format.index(), "manifests": manifests });
        Blob::new(format.index(), document.to_string())
    }

    /// Every blob but the manifest: config first, then the layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    /// Writes an OCI image layout that skopeo and podman read as `oci:<directory>:<tag>`.
    pub fn write_oci_layout(&self, directory: &Path, tag: &str) -> std::io::Result<()> {
        let blobs = directory.join("blobs/sha256");
        fs_err::create_dir_all(&blobs)?;
        for blob in self.blobs().chain([&self.manifest]) {
            fs_err::write(
                blobs.join(blob.digest.trim_start_matches("sha256:")),
                &blob.bytes,
            )?;
        }
        let mut descriptor = self.manifest.descriptor();
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor] });
        fs_err::write(directory.join("index.json"), index.to_string())?;
        fs_err::write(
            directory.join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )
    }
}

/// Puts layers and a config together.
#[derive(Clone, Debug)]
pub struct ImageBuilder {
    layers: Vec<BuiltLayer>,
    config: Value,
    platform: Value,
    format: Format,
    manifest_edit: Vec<(String, Value)>,
    config_edit: Vec<(String, Value)>,
}

impl Default for ImageBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ImageBuilder {
    /// An OCI image for this machine's platform, without layers, with the usual `PATH`.
    pub fn new() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            layers: Vec::new(),
            config: json!({ "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] }),
            platform: json!({ "architecture": architecture, "os": "linux" }),
            format: Format::Oci,
            manifest_edit: Vec::new(),
            config_edit: Vec::new(),
        }
    }

    /// The image most tests want: [`Layer::busybox`] with `sh` as its command.
    pub fn busybox() -> Self {
        Self::new().layer(Layer::busybox()).cmd(["sh"])
    }

    /// Adds a layer on top.
    #[must_use]
    pub fn layer(self, layer: Layer) -> Self {
        self.built_layer(layer.build())
    }

    /// Adds a layer that was built (and perhaps damaged) before.
    #[must_use]
    pub fn built_layer(mut self, layer: BuiltLayer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Writes documents of this family.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Names this platform, for example `("arm64", Some("v8"))`.
    #[must_use]
    pub fn platform(mut self, architecture: &str, variant: Option<&str>) -> Self {
        self.platform = json!({ "architecture": architecture, "os": "linux" });
        if let Some(variant) = variant {
            self.platform["variant"] = json!(variant);
        }
        self
    }

    /// Sets any key of the config's `config` object, in docker's spelling (`User`, `WorkingDir`, …).
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.config[key] = value.into();
        self
    }

    /// Sets `Cmd`.
    #[must_use]
    pub fn cmd<const N: usize>(self, words: [&str; N]) -> Self {
        self.set("Cmd", json!(words.to_vec()))
    }

    /// Sets `Entrypoint`.
    #[must_use]
    pub fn entrypoint<const N: usize>(self, words: [&str; N]) -> Self {
        self.set("Entrypoint", json!(words.to_vec()))
    }

    /// Adds `NAME=VALUE` to `Env`.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        if let Some(env) = self.config["Env"].as_array_mut() {
            env.push(json!(format!("{name}={value}")));
        }
        self
    }

    /// Replaces the value at `pointer` (RFC 6901) of the manifest, after everything else:
    /// this is how a test lies about a size, a digest or a media type.
    #[must_use]
    pub fn bend_manifest(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        self.manifest_edit.push((pointer.to_owned(), value.into()));
        self
    }

    /// Replaces the value at `pointer` of the config document, before its digest is taken.
    #[must_use]
    pub fn bend_config(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        self.config_edit.push((pointer.to_owned(), value.into()));
        self
    }

    /// Writes all documents.
    pub fn build(self) -> Image {
        let diff_ids: Vec<_> = self
            .layers
            .iter()
            .map(|layer| layer.diff_id.clone())
            .collect();
        let config = Blob::new(
            self.format.config(),
            self.config_document(&diff_ids).to_string(),
        );
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|layer| self.layer_blob(layer))
            .collect();

        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": self.format.manifest(),
            "config": config.descriptor(),
            "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
        });
        bend(&mut manifest, &self.manifest_edit);
        let manifest = Blob::new(self.format.manifest(), manifest.to_string());
        Image {
            manifest,
            config,
            layers,
            diff_ids,
            platform: self.platform,
            format: self.format,
        }
    }

    fn layer_blob(&self, layer: &BuiltLayer) -> Blob {
        let default = self.format.layer(layer.compression);
        Blob::new(
            layer.media_type.as_deref().unwrap_or(default),
            layer.packed.clone(),
        )
    }

    fn config_document(&self, diff_ids: &[String]) -> Value {
        const CREATED: &str = "2026-01-02T03:04:05Z";

        let history: Vec<_> = diff_ids
            .iter()
            .map(|id| json!({ "created": CREATED, "created_by": format!("layer {id}") }))
            .collect();
        let mut document = json!({
            "created": CREATED,
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": history,
        });
        if let (Some(document), Some(platform)) =
            (document.as_object_mut(), self.platform.as_object())
        {
            document.extend(platform.clone());
        }
        bend(&mut document, &self.config_edit);
        document
    }
}

/// Sets each pointer, creating the last key where the object lacks it.
fn bend(document: &mut Value, edits: &[(String, Value)]) {
    for (pointer, value) in edits {
        if let Some(slot) = document.pointer_mut(pointer) {
            *slot = value.clone();
            continue;
        }
        let (parent, key) = pointer
            .rsplit_once('/')
            .expect("a JSON pointer has a slash");
        document
            .pointer_mut(parent)
            .and_then(Value::as_object_mut)
            .expect("the pointer's parent is an object of the document")
            .insert(key.to_owned(), value.clone());
    }
}
