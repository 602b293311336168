//! Archives of images whose lists ask for too much, or for what is not there.

use std::io::Write as _;

use rocker_image::exchange::{LoadError, LoadRequest, LoadSource, LoadedImage, load};
use rocker_image::store::UnpackLimits;

use super::archive::{Member, archive};
use super::support::{Host, chain_of, diff_id};

fn load_within(
    host: &Host,
    members: &[Member],
    limits: UnpackLimits,
) -> Result<Vec<LoadedImage>, LoadError> {
    let path = host.path("archive.tar");
    let mut file = fs_err::File::create(&path).unwrap();
    file.write_all(&archive(members)).unwrap();
    let file = fs_err::File::open(&path).unwrap();
    let request = LoadRequest {
        platform: None,
        only: None,
        policy: None,
        limits,
        on_layer: &|_, _| (),
        cancelled: &|| false,
    };
    load(&host.store, LoadSource::Archive(file), &request)
}

/// A layer, the config of an image of it, and the list of that image.
fn image(config_name: &str) -> [Member; 3] {
    let layer = archive(&[Member::file("f", "x")]);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        diff_id(&layer)
    );
    let list =
        format!(r#"[{{"Config":"{config_name}","RepoTags":["a:1"],"Layers":["layer.tar"]}}]"#);
    [
        Member::file("layer.tar", layer),
        Member::file("config.json", config),
        Member::file("manifest.json", list),
    ]
}

#[test]
fn a_name_that_an_archive_has_twice_is_refused() {
    let host = Host::new();
    let [layer, config, list] = image("config.json");
    let [_, _, other] = image("layer.tar");
    for twice in [other, Member::symlink("./manifest.json", "config.json")] {
        let members = [layer.clone(), config.clone(), list.clone(), twice];
        let error = load_within(&host, &members, UnpackLimits::default()).unwrap_err();
        assert!(
            matches!(&error, LoadError::Twice { name } if name == "manifest.json"),
            "{}",
            chain_of(&error)
        );
    }
    host.assert_empty("refused");
}

#[test]
fn links_lead_to_a_file_or_nowhere() {
    let host = Host::new();
    let [layer, config, list] = image("a");
    let link = |name: &str, target: &str| Member::symlink(name, target);
    let chain = |length: u32| -> Vec<Member> {
        let name = |n| format!("l{n}");
        let mut links: Vec<_> = (1..length).map(|n| link(&name(n), &name(n + 1))).collect();
        links.push(link("a", "l1"));
        links.push(link(&name(length), "config.json"));
        links
    };
    for (what, links, is_good) in [
        ("one", vec![link("a", "./config.json")], true),
        ("hard", vec![Member::hard_link("a", "config.json")], true),
        ("several", chain(5), true),
        ("too many", chain(50), false),
        ("a loop", vec![link("a", "b"), link("b", "a")], false),
        ("itself", vec![link("a", "a")], false),
        ("outside", vec![link("a", "/etc/passwd")], false),
    ] {
        let members = [vec![layer.clone(), config.clone(), list.clone()], links].concat();
        let loaded = load_within(&host, &members, UnpackLimits::default());
        match loaded {
            Ok(_) => assert!(is_good, "{what}"),
            Err(LoadError::Missing { .. }) => assert!(!is_good, "{what}"),
            Err(error) => panic!("{what}: {}", chain_of(&error)),
        }
    }
    host.assert_untouched("links");
}

#[test]
fn names_in_an_archive_take_bounded_memory() {
    let host = Host::new();
    let mut members = image("config.json").to_vec();
    members.extend((0..2000).map(|n| Member::file(&format!("name-{n}"), "")));
    let limits = UnpackLimits {
        index_bytes: 64 << 10,
        ..UnpackLimits::default()
    };
    let error = load_within(&host, &members, limits).unwrap_err();
    assert!(
        matches!(&error, LoadError::Limit(limit) if limit.limit == "index_bytes"),
        "{}",
        chain_of(&error)
    );
    host.assert_empty("refused");
    load_within(&host, &members, UnpackLimits::default()).unwrap();
}

#[test]
fn a_config_that_is_named_often_takes_bounded_memory() {
    let host = Host::new();
    let [layer, ..] = image("config.json");
    let config = |padding: usize| {
        let diff_id = diff_id(&archive(&[Member::file("f", "x")]));
        let padding = " ".repeat(padding);
        format!(
            r#"{{{padding}"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
        )
    };
    let entry = r#"{"Config":"config.json","Layers":["layer.tar"]}"#;
    let list = format!("[{}]", vec![entry; 900].join(","));
    for (padding, is_good) in [(0, true), (1 << 20, false)] {
        let members = [
            layer.clone(),
            Member::file("config.json", config(padding)),
            Member::file("manifest.json", &list),
        ];
        let loaded = load_within(&host, &members, UnpackLimits::default());
        match loaded {
            Ok(images) => assert!(is_good && images.len() == 900, "{padding}"),
            Err(LoadError::Limit(limit)) => {
                assert!(!is_good && limit.limit == "index_bytes", "{padding}");
            }
            Err(error) => panic!("{padding}: {}", chain_of(&error)),
        }
    }
}
