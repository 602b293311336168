//! rocker-config(5): the page of `config.toml`, made of the keys that its reader takes.

use rocker_engine::UnpackLimits;

use super::config_keys::{KEYS, Kind, Limit};
use super::man_sections::{escaped, example_section, list};

const NAME: &str = "rocker-config \\- what rocker takes from config.toml";

const DESCRIPTION: &str = "The owner of a machine decides in this file, in TOML, what holds for \
     every command on it. It is read by the commands that talk to registries or take images in, anew \
     by each of them; without the file everything has its default. A key that rocker does not know is \
     warned of, with the one that was perhaps meant. A value that its key cannot have is an error \
     that names the line, and nothing is done.";

const LIMITS: &str = "The table [limits] bounds what an image may cost that is pulled, loaded, \
     imported or committed, so that a broken or hostile one fills neither the disk nor the memory. \
     An image that goes beyond is refused with the name of the key, and nothing of it stays. What \
     is counted in bytes may be written as a size in quotes, such as \"64k\", \"10m\" or \"2g\".";

const FILES: &[(&str, &str)] = &[(
    "/etc/rocker/config.toml",
    "Optional. The variable ROCKER_CONFIG names another file, which then has to exist.",
)];

const EXAMPLE: &str = "  # a registry of our own, inside the building
  insecure = [\"registry.lan:5000\"]
  
  [limits]
  # images with machine learning in them
  unpacked_bytes = \"200g\"
  entries = 5000000
  zstd_window_log = 27
";

/// The file's name and the page.
pub(super) fn page() -> (String, Vec<u8>) {
    let version = env!("CARGO_PKG_VERSION");
    let text = |text: &str| escaped(text) + "\n";
    let keys = |is_limit: bool| -> Vec<(String, String)> {
        let keys = KEYS.iter();
        let keys = keys.filter(|key| matches!(key.kind, Kind::Limit(_)) == is_limit);
        keys.map(|key| match &key.kind {
            Kind::Hosts { .. } => (
                format!("{} = [\"HOST\", ...]", key.name),
                key.meaning.into(),
            ),
            Kind::Limit(limit) => entry(key.name, limit, key.meaning),
        })
        .collect()
    };
    let page = [
        format!(".TH ROCKER-CONFIG 5 \"\" \"rocker {version}\" \"rocker\"\n"),
        format!(".SH NAME\n{NAME}\n"),
        ".SH SYNOPSIS\n/etc/rocker/config.toml\n".to_owned(),
        ".SH DESCRIPTION\n".to_owned() + &text(DESCRIPTION),
        list("KEYS", &borrowed(&keys(false))),
        ".SH LIMITS\n".to_owned() + &text(LIMITS),
        list("KEYS OF [limits]", &borrowed(&keys(true))),
        example_section(EXAMPLE),
        list("FILES", FILES),
        ".SH SEE ALSO\nrocker(1), rocker\\-pull(1), rocker\\-load(1), rocker\\-import(1)\n"
            .to_owned(),
    ];
    ("rocker-config.5".to_owned(), page.concat().into_bytes())
}

fn entry(name: &str, limit: &Limit, meaning: &str) -> (String, String) {
    let name = name.trim_start_matches("limits.");
    let default = limit.text((limit.get)(&UnpackLimits::default()));
    let (least, most) = (limit.text(limit.least), limit.text(limit.most));
    let range = format!("From {least} to {most}; {default} if nothing is said.");
    (name.to_owned(), format!("{meaning} {range}"))
}

fn borrowed(entries: &[(String, String)]) -> Vec<(&str, &str)> {
    let entries = entries.iter();
    entries
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_key_with_its_default_and_its_example_is_understood() {
        let page = String::from_utf8(page().1).unwrap();
        for key in KEYS {
            let name = key.name.trim_start_matches("limits.");
            assert!(page.contains(&format!(".TP\n\\fB{name}")), "{name}");
        }
        assert!(page.contains("From 1 to 4k; 4k if nothing is said."));
        assert!(super::super::config::is_understood(EXAMPLE));
    }
}
