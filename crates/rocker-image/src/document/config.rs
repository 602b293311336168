//! Image configs.

use rocker_types::{ImageConfig, Platform};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::json::{Object, TopLevelKeys, read};
use super::words::shorten;
use super::{DocumentError, DocumentLimits, Manifest};

const KNOWN_KEYS: [&str; 6] = [
    "architecture",
    "os",
    "variant",
    "config",
    "rootfs",
    "history",
];

/// Reads the config of `manifest` from bytes whose digest the caller has checked.
///
/// `wanted` is the platform that the config must be for: the one that the user named or
/// that the index promised. Without it any Linux image is accepted, as whoever pulls a
/// single manifest may want to look at it only.
///
/// What would only hurt when a container runs (a user that cannot be, a stop signal that
/// does not exist) is not looked at here: such an image can still be pulled and inspected.
///
/// # Errors
///
/// Size, JSON, other platforms than Linux or `wanted`, `rootfs` that does not fit the
/// manifest.
pub fn parse_config(
    raw: &[u8],
    manifest: &Manifest,
    wanted: Option<&Platform>,
    limits: &DocumentLimits,
) -> Result<ImageConfig, DocumentError> {
    parse_bare_config(raw, manifest.layers.len(), wanted, limits)
}

/// As [`parse_config`], for an image of `layers` layers that has no manifest.
///
/// # Errors
///
/// Those of [`parse_config`].
pub fn parse_bare_config(
    raw: &[u8],
    layers: usize,
    wanted: Option<&Platform>,
    limits: &DocumentLimits,
) -> Result<ImageConfig, DocumentError> {
    const WHAT: &str = "config";
    limits.check_config(raw.len() as u64)?;
    let keys = TopLevelKeys::of(WHAT, raw, limits)?;
    if let Some(key) = keys.case_variant_of(&KNOWN_KEYS) {
        return Err(DocumentError::CaseVariant {
            what: WHAT,
            key: shorten(key),
        });
    }
    let _: Shape = read(WHAT, raw)?;
    let config: ImageConfig = read(WHAT, raw)?;
    if config.os != "linux" {
        return Err(DocumentError::UnsupportedOs {
            os: shorten(&config.os),
        });
    }
    check_platform(&config, wanted)?;
    if config.rootfs.kind != "layers" {
        return Err(DocumentError::Field {
            what: WHAT,
            field: "rootfs.type".to_owned(),
            problem: format!(
                "must be \"layers\", it is {:?}",
                shorten(&config.rootfs.kind)
            ),
        });
    }
    let diff_ids = config.rootfs.diff_ids.len();
    if diff_ids != layers {
        return Err(DocumentError::LayerCount { diff_ids, layers });
    }
    Ok(config)
}

/// The places of a config where an object must be; see [`Object`].
#[derive(Deserialize)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct Shape {
    config: Option<Object<ProcessShape>>,
    rootfs: Option<Object<IgnoredAny>>,
    history: Option<Vec<Object<IgnoredAny>>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only whether it can be read matters")]
struct ProcessShape {
    #[serde(rename = "Healthcheck")]
    healthcheck: Option<Object<IgnoredAny>>,
}

fn check_platform(config: &ImageConfig, wanted: Option<&Platform>) -> Result<(), DocumentError> {
    let found = Platform {
        os: config.os.clone(),
        architecture: shorten(&config.architecture),
        variant: config
            .variant
            .as_deref()
            .filter(|variant| !variant.is_empty())
            .map(shorten),
    };
    match wanted {
        // configs often leave the variant out that their index names
        Some(wanted) if !found.satisfies(wanted) => Err(DocumentError::WrongPlatform {
            wanted: Box::new(wanted.clone()),
            found: Box::new(found),
        }),
        _ => Ok(()),
    }
}
