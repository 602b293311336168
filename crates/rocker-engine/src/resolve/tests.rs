use super::*;

fn image(edit: impl FnOnce(&mut ImageConfig)) -> LocalImage {
    let mut config = ImageConfig {
        architecture: rocker_types::Platform::host().architecture,
        os: "linux".into(),
        ..ImageConfig::default()
    };
    edit(&mut config);
    LocalImage {
        id: Digest::from_sha256([1; 32]),
        layers: Vec::new(),
        config,
    }
}

fn resolved(request: &CreateRequest, image: &LocalImage) -> Result<Definition, ResolveError> {
    resolve(request, image, &ContainerId::from_bytes([0xab; 32]))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn entrypoint_and_command_combine_as_in_docker() {
    let image = image(|config| {
        config.config.entrypoint = Some(words(&["/entry"]));
        config.config.cmd = Some(words(&["default"]));
    });
    let argv = |command: &[&str], entrypoint: Option<&[&str]>| {
        let request = CreateRequest {
            command: words(command),
            entrypoint: entrypoint.map(words),
            ..CreateRequest::default()
        };
        resolved(&request, &image)
            .map(|definition| definition.argv().join(" "))
            .ok()
    };
    assert_eq!(argv(&[], None).as_deref(), Some("/entry default"));
    assert_eq!(argv(&["a", "b"], None).as_deref(), Some("/entry a b"));
    assert_eq!(argv(&[], Some(&["/other"])).as_deref(), Some("/other"));
    assert_eq!(argv(&["a"], Some(&["/other"])).as_deref(), Some("/other a"));
    assert_eq!(argv(&["sh"], Some(&[])).as_deref(), Some("sh"));
    assert_eq!(argv(&[], Some(&[])), None);
}

#[test]
fn later_variables_take_the_place_of_earlier_ones() {
    let image = image(|config| {
        config.config.cmd = Some(words(&["x"]));
        config.config.env = words(&["PATH=/bin", "A=image", "B=image"]);
    });
    let request = CreateRequest {
        env: words(&["A=user", "C="]),
        tty: true,
        ..CreateRequest::default()
    };
    let env = resolved(&request, &image).unwrap().env;
    assert_eq!(
        env,
        [
            "PATH=/bin",
            "HOSTNAME=abababababab",
            "TERM=xterm",
            "A=user",
            "B=image",
            "C="
        ]
    );
    for bad in ["=x", "", "NAME", "A=\0", "HOME=/\n"] {
        let request = CreateRequest {
            env: words(&[bad]),
            ..CreateRequest::default()
        };
        assert!(resolved(&request, &image).is_err(), "{bad:?}");
    }
}

#[test]
fn image_volumes_become_anonymous_unless_the_user_mounts_there() {
    let image = image(|config| {
        config.config.cmd = Some(words(&["x"]));
        for path in ["/data", "/data/", "/cache"] {
            config
                .config
                .volumes
                .insert(path.into(), serde_json::Map::new());
        }
    });
    let volume = |text: &str| VolumeSpec::parse(text, std::path::Path::new("/cwd")).unwrap();
    let request = CreateRequest {
        volumes: vec![volume("vol:/data"), volume("/own")],
        ..CreateRequest::default()
    };
    let definition = resolved(&request, &image).unwrap();
    let mounts: Vec<_> = definition
        .mounts
        .iter()
        .map(|m| (m.spec.target.as_str(), m.anonymous))
        .collect();
    assert_eq!(mounts, [("/data", false), ("/own", true), ("/cache", true)]);
}

fn runnable(edit: fn(&mut ImageConfig)) -> LocalImage {
    image(|config| {
        config.config.cmd = Some(words(&["x"]));
        edit(config);
    })
}

#[test]
fn impossible_images_are_refused() {
    let none = CreateRequest::default();
    for path in ["/proc", "/sys/x", "/dev", "/", "relative", "/a/../b", "a:b"] {
        let image = image(|config| {
            config.config.cmd = Some(words(&["x"]));
            config
                .config
                .volumes
                .insert(path.into(), serde_json::Map::new());
        });
        assert!(
            matches!(
                resolved(&none, &image),
                Err(ResolveError::BadImageVolume { .. })
            ),
            "{path}"
        );
    }
    assert!(matches!(
        resolved(&none, &runnable(|c| c.os = "windows".into())),
        Err(ResolveError::WrongPlatform { .. })
    ));
    assert!(matches!(
        resolved(&none, &runnable(|c| c.architecture = "s390x".into())),
        Err(ResolveError::WrongPlatform { .. })
    ));
    assert!(matches!(
        resolved(&none, &runnable(|c| c.config.user = "4294967296".into())),
        Err(ResolveError::BadImageUser { .. })
    ));
    assert!(matches!(
        resolved(
            &none,
            &runnable(|c| c.config.stop_signal = Some("SIGNOPE".into()))
        ),
        Err(ResolveError::BadImageSignal { .. })
    ));
}

#[test]
fn impossible_requests_are_refused() {
    let rm = CreateRequest {
        auto_remove: true,
        restart: RestartPolicy::Always,
        ..CreateRequest::default()
    };
    assert!(matches!(
        resolved(&rm, &runnable(|_| ())),
        Err(ResolveError::Conflict { .. })
    ));
    let small = CreateRequest {
        memory_bytes: Some(1),
        ..CreateRequest::default()
    };
    assert_eq!(
        resolved(&small, &runnable(|_| ())),
        Err(ResolveError::MemoryTooSmall(1))
    );
    let long = "a".repeat(64);
    for good in ["a", "my_box", "a.b-c.d", "x.", &format!("{}.b", &long[2..])] {
        assert_eq!(check_hostname(good), Ok(()), "{good:?}");
    }
    let longer = format!("{}.bb", &long[2..]);
    for bad in ["", ".", "a..b", "-x", "a b", "x\n", "a:b", &long, &longer] {
        let request = CreateRequest {
            hostname: Some(bad.into()),
            ..CreateRequest::default()
        };
        assert!(
            matches!(
                resolved(&request, &runnable(|_| ())),
                Err(ResolveError::BadHostname(_))
            ),
            "{bad:?}"
        );
    }
}

#[test]
fn a_relative_working_directory_of_an_image_counts_from_the_root() {
    let image = image(|config| {
        config.config.cmd = Some(words(&["x"]));
        config.config.working_dir = "app".into();
    });
    assert_eq!(
        resolved(&CreateRequest::default(), &image)
            .unwrap()
            .working_dir,
        "/app"
    );
    let flag = CreateRequest {
        working_dir: Some("app".into()),
        ..CreateRequest::default()
    };
    assert!(matches!(
        resolved(&flag, &image),
        Err(ResolveError::BadWorkingDir(_))
    ));
}
