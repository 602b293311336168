//! Which of an image's platforms.

use rocker_engine::Engine;
use rocker_types::Platform;

use super::CommandError;

/// How a platform is chosen where an image may have several.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct PlatformArgs {
    /// Which of the image's platforms: OS[/ARCH[/VARIANT]]; the host's by default
    #[arg(long, value_name = "PLATFORM")]
    platform: Vec<Platform>,

    /// Which operating system, where --platform says none
    #[arg(long, value_name = "OS", conflicts_with = "platform")]
    os: Option<String>,

    /// Which architecture, where --platform says none
    #[arg(long, value_name = "ARCH", conflicts_with = "platform")]
    arch: Option<String>,

    /// Which variant of the architecture
    #[arg(long, value_name = "VARIANT", conflicts_with = "platform")]
    variant: Option<String>,
}

impl PlatformArgs {
    /// The platform that is meant; `None` is the host's.
    ///
    /// # Errors
    ///
    /// [`CommandError::Usage`] for several, and for words that are no platform.
    pub(super) fn wanted(&self) -> Result<Option<Platform>, CommandError> {
        match self.platform.as_slice() {
            [] if self.os.is_none() && self.arch.is_none() && self.variant.is_none() => Ok(None),
            [] => self.of_parts().map(Some),
            [one] => Ok(Some(one.clone())),
            [_, _, ..] => Err(CommandError::conflict(
                "--platform is there more than once, and a name means one image",
                "pull the platforms one after the other, each by a name of its own",
            )),
        }
    }

    fn of_parts(&self) -> Result<Platform, CommandError> {
        let host = Platform::host();
        let mut text = format!(
            "{}/{}",
            self.os.as_ref().unwrap_or(&host.os),
            self.arch.as_ref().unwrap_or(&host.architecture)
        );
        if let Some(variant) = &self.variant {
            text.push('/');
            text.push_str(variant);
        }
        text.parse()
            .map_err(|error: rocker_types::InvalidPlatform| {
                CommandError::conflict(error.to_string(), "see rocker pull --help")
            })
    }
}

/// Sees that an image here is for a platform.
///
/// # Errors
///
/// [`CommandError::OtherPlatform`], and what the engine says of an image that is not here.
pub(super) fn require(
    engine: &mut Engine,
    image: &str,
    platform: Option<&Platform>,
) -> Result<(), CommandError> {
    let Some(platform) = platform else {
        return Ok(());
    };
    engine.find_image(image)?;
    match engine.image_here(image, Some(platform))?.is_some() {
        true => Ok(()),
        false => Err(CommandError::OtherPlatform {
            image: image.to_owned(),
            platform: platform.clone(),
        }),
    }
}
