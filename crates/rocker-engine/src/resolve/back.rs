//! The way back: how the containers of an image are run that is made of a container.

use std::str::FromStr;

use rocker_types::{ProcessConfig, Signal, UserSpec};
use serde_json::Map;

use super::DEFAULT_PATH;
use crate::definition::Definition;

/// The config of the container's image with what the container was told otherwise, as docker and
/// podman commit it. What rocker set by itself, like `HOSTNAME`, stays out.
pub(crate) fn process_config(image: &ProcessConfig, container: &Definition) -> ProcessConfig {
    let ports = container
        .ports
        .iter()
        .map(|port| format!("{}/{}", port.container_port, port.protocol));
    let exposed = container.exposed.iter().cloned().chain(ports);
    let volumes = container.mounts.iter().filter(|mount| mount.anonymous);
    let volumes = volumes.map(|mount| mount.spec.target.clone());
    let mut config = ProcessConfig {
        env: environment(&image.env, container),
        entrypoint: words(&container.entrypoint),
        cmd: words(&container.cmd),
        labels: container.labels.clone(),
        ..image.clone()
    };
    let none = Map::new;
    config
        .exposed_ports
        .extend(exposed.map(|port| (port, none())));
    config.volumes.extend(volumes.map(|path| (path, none())));
    if is_other::<UserSpec>(&image.user, &container.user) {
        config.user = container.user.to_string();
    }
    let signal = image.stop_signal.as_deref().unwrap_or("TERM");
    if is_other::<Signal>(signal, &container.stop_signal) {
        config.stop_signal = Some(container.stop_signal.to_string());
    }
    if !(image.working_dir.is_empty() && container.working_dir == "/") {
        config.working_dir = container.working_dir.clone();
    }
    config
}

/// No words are no command, which an image says by saying nothing.
fn words(words: &[String]) -> Option<Vec<String>> {
    (!words.is_empty()).then(|| words.to_vec())
}

/// Whether the image's text means something else; one that it may write in its own way stays.
fn is_other<T: FromStr + PartialEq>(image: &str, container: &T) -> bool {
    image.parse::<T>().ok().as_ref() != Some(container)
}

/// The image's variables in their order, then the container's own.
fn environment(image: &[String], container: &Definition) -> Vec<String> {
    let hostname = container.hostname.clone().unwrap_or_else(|| {
        let host = rustix::system::uname();
        host.nodename().to_string_lossy().into_owned()
    });
    let hostname = format!("HOSTNAME={hostname}");
    let is_ours = |variable: &String| {
        let is_set = variable == DEFAULT_PATH
            || *variable == hostname
            || (container.tty && variable == "TERM=xterm");
        is_set && !image.contains(variable)
    };
    let name = |variable: &String| variable.split('=').next().map(str::to_owned);
    let theirs = |known: &String| {
        let same = |variable: &&String| name(variable) == name(known);
        container.env.iter().find(same).unwrap_or(known).clone()
    };
    let mut env: Vec<String> = image.iter().map(theirs).collect();
    for variable in container.env.iter().filter(|variable| !is_ours(variable)) {
        if !env.contains(variable) {
            env.push(variable.clone());
        }
    }
    env
}
