//! `inspect`: docker's documents, in docker's spelling and types.

mod mount_text;

use std::collections::BTreeMap;

use rocker_db::ContainerRow;
use rocker_types::{Access, ContainerQuery, ContainerStatus, PublishedPort, VolumeSource};
use serde_json::{Map, Value, json};

use self::mount_text::{options, tmpfs_options};
use crate::clock::rfc3339;
use crate::definition::{Definition, MountDefinition, NetworkMode};
use crate::engine::Engine;
use crate::lifecycle::files;
use crate::{EngineError, network};

impl Engine {
    /// Everything about a container, as `docker container inspect` prints it.
    ///
    /// # Errors
    ///
    /// [`EngineError::Db`] when there is no such container.
    pub fn inspect_container(&self, query: &ContainerQuery) -> Result<Value, EngineError> {
        let row = self.live.find(query)?;
        let definition = self.definition(&row)?;
        let argv = definition.argv();
        let injected = |name| files::injected(&self.layout, &row.id, name);
        let mounts: Vec<Value> = definition
            .mounts
            .iter()
            .map(|mount| self.mount(mount))
            .collect();
        Ok(json!({
            "Id": row.id,
            "Created": rfc3339(Some(row.created_ns)),
            "Path": argv.first(),
            "Args": argv.get(1..).unwrap_or_default(),
            "State": state(&row),
            "Image": definition.image_id,
            "ResolvConfPath": injected("resolv.conf"),
            "HostnamePath": injected("hostname"),
            "HostsPath": injected("hosts"),
            "LogPath": super::log_files(&self.layout, &row.id).current(),
            "Name": format!("/{}", row.name),
            "RestartCount": row.state.restarts,
            "Driver": "overlay2",
            "Platform": "linux",
            "MountLabel": "",
            "ProcessLabel": "",
            "AppArmorProfile": "",
            "ExecIDs": null,
            "HostConfig": self.host_config(&definition),
            "GraphDriver": self.graph_driver(&row, &definition),
            "Mounts": mounts,
            "Config": config(&definition),
            "NetworkSettings": self.network_settings(&row, &definition)?,
            "Rocker": {
                "CreateCommand": definition.create_command,
                "MonitorPid": row.state.monitor.map_or(0, |(pid, _)| pid),
                "CgroupPath": format!("/rocker/{}", row.id),
                "Durable": row.durable,
            },
        }))
    }

    fn mount(&self, mount: &MountDefinition) -> Value {
        let spec = &mount.spec;
        let writable = spec.access == Access::ReadWrite;
        let mode = options(spec).join(",");
        match &spec.source {
            VolumeSource::Named(name) => json!({
                "Type": "volume",
                "Name": name,
                "Source": self.layout.volume(name).join(crate::VOLUME_DATA),
                "Destination": spec.target,
                "Driver": "local",
                "Mode": mode,
                "RW": writable,
                "Propagation": "",
            }),
            VolumeSource::Bind(path) => json!({
                "Type": "bind",
                "Source": path,
                "Destination": spec.target,
                "Mode": mode,
                "RW": writable,
                "Propagation": spec.propagation,
            }),
            VolumeSource::Anonymous => Value::Null,
        }
    }

    fn host_config(&self, definition: &Definition) -> Value {
        let resources = &definition.resources;
        let binds: Vec<String> = definition
            .mounts
            .iter()
            .filter(|mount| !mount.anonymous)
            .map(|mount| self.bind_text(mount))
            .collect();
        // Docker's keys are sorted.
        let tmpfs: BTreeMap<&str, String> = definition
            .tmpfs
            .iter()
            .map(|tmpfs| (tmpfs.target.as_str(), tmpfs_options(tmpfs)))
            .collect();
        let retries = match definition.restart {
            rocker_types::RestartPolicy::OnFailure { max_retries } => max_retries.unwrap_or(0),
            rocker_types::RestartPolicy::No | rocker_types::RestartPolicy::Always => 0,
        };
        let masked = if definition.privileged {
            &[][..]
        } else {
            rocker_runtime::MASKED_PATHS
        };
        let read_only = if definition.privileged {
            &[][..]
        } else {
            rocker_runtime::READ_ONLY_PATHS
        };
        json!({
            "Binds": binds,
            "LogConfig": { "Type": "json-file", "Config": { "max-size": "10m", "max-file": "3" } },
            "NetworkMode": definition.network.as_str(),
            "PortBindings": port_bindings(&definition.ports),
            "RestartPolicy": { "Name": definition.restart.name(), "MaximumRetryCount": retries },
            "AutoRemove": definition.auto_remove,
            "VolumeDriver": "",
            "CapAdd": definition.cap_add,
            "CapDrop": definition.cap_drop,
            "CgroupnsMode": "private",
            "IpcMode": "private",
            "PidMode": "",
            "UTSMode": "",
            "UsernsMode": "",
            "Privileged": definition.privileged,
            "ReadonlyRootfs": definition.read_only,
            "SecurityOpt": null,
            "Tmpfs": tmpfs,
            "ShmSize": 64 << 20,
            "Runtime": "rocker",
            "Memory": resources.memory_bytes.unwrap_or(0),
            "MemorySwap": resources.memory_bytes.map_or(0, |bytes| bytes.saturating_mul(2)),
            "NanoCpus": resources.cpu.map_or(0, rocker_types::CpuQuota::nano_cpus),
            "PidsLimit": resources.pids.map_or(json!(-1), |pids| json!(pids)),
            "Init": definition.init,
            "MaskedPaths": masked,
            "ReadonlyPaths": read_only,
        })
    }

    fn bind_text(&self, mount: &MountDefinition) -> String {
        let spec = &mount.spec;
        let source = match &spec.source {
            VolumeSource::Bind(path) => path.display().to_string(),
            VolumeSource::Named(name) => name.to_string(),
            VolumeSource::Anonymous => String::new(),
        };
        let mut text = format!("{source}:{}", spec.target);
        let options = options(spec);
        if !options.is_empty() {
            text.push(':');
            text.push_str(&options.join(","));
        }
        text
    }

    fn graph_driver(&self, row: &ContainerRow, definition: &Definition) -> Value {
        let container = self.layout.container(&row.id);
        let lowers: Vec<String> = definition
            .layers
            .iter()
            .rev()
            .map(|id| self.layout.layer(id).display().to_string())
            .collect();
        json!({
            "Name": "overlay2",
            "Data": {
                "LowerDir": lowers.join(":"),
                "UpperDir": container.join("upper"),
                "WorkDir": container.join("work"),
                // the overlay is mounted in the container's own mount namespace only
                "MergedDir": "",
            },
        })
    }

    fn network_settings(
        &self,
        row: &ContainerRow,
        definition: &Definition,
    ) -> Result<Value, EngineError> {
        let attachment = if row.state.status.is_active() {
            network::attachment(self, &row.id)?
        } else {
            None
        };
        let mut ports: Map<String, Value> = definition
            .exposed
            .iter()
            .map(|port| (port.clone(), Value::Null))
            .collect();
        if let Some(attachment) = &attachment {
            ports.extend(port_bindings(&attachment.ports));
        }
        let (address, gateway, prefix, mac) = match &attachment {
            Some(a) => (
                a.address.to_string(),
                a.bridge.gateway.to_string(),
                a.bridge.subnet.prefix_len(),
                rocker_net::Mac::of(a.address).to_string(),
            ),
            None => (String::new(), String::new(), 0, String::new()),
        };
        let endpoint = json!({
            "NetworkID": definition.network.as_str(),
            "EndpointID": if attachment.is_some() { row.id.as_str() } else { "" },
            "Gateway": gateway,
            "IPAddress": address,
            "IPPrefixLen": prefix,
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "MacAddress": mac,
            "Aliases": null,
            "DNSNames": null,
            "IPAMConfig": null,
            "Links": null,
            "DriverOpts": null,
        });
        let sandbox = row
            .state
            .init
            .filter(|_| definition.network != NetworkMode::Host);
        Ok(json!({
            "Ports": ports,
            "Networks": { definition.network.as_str(): endpoint },
            "IPAddress": address,
            "IPPrefixLen": prefix,
            "Gateway": gateway,
            "MacAddress": mac,
            "SandboxKey": sandbox.map_or(String::new(), |(pid, _)| format!("/proc/{pid}/ns/net")),
            "SandboxID": if sandbox.is_some() { row.id.as_str() } else { "" },
        }))
    }

    /// Everything about an image, as `docker image inspect` prints it, and what podman's scripts look
    /// for besides.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchImage`].
    pub fn inspect_image(&mut self, query: &str) -> Result<Value, EngineError> {
        let image = self.find_image(query)?;
        let names: Vec<String> = image
            .tags
            .iter()
            .map(rocker_types::ImageRef::familiar)
            .collect();
        let config = &image.config;
        let mut described = json!({
            "Id": image.id,
            "RepoTags": names,
            "RepoDigests": image.repo_digests,
            "Digest": image.repo_digests.first().and_then(|name| name.split_once('@')).map(|(_, digest)| digest),
            "Parent": "",
            "Comment": config.history.last().and_then(|step| step.comment.clone()).unwrap_or_default(),
            "Created": config.created.clone().unwrap_or_else(|| rfc3339(None)),
            "Author": config.author.clone().unwrap_or_default(),
            "Config": config.config,
            "Architecture": config.architecture,
            "Os": config.os,
            "User": config.config.user,
            "Labels": config.config.labels,
            "Size": image.size_bytes,
            "VirtualSize": image.size_bytes,
            "GraphDriver": { "Name": "overlay2", "Data": {
                "LowerDir": config.rootfs.diff_ids.iter().rev().map(|id| self.layout.layer(id).display().to_string()).collect::<Vec<_>>().join(":"),
            } },
            "RootFS": { "Type": "layers", "Layers": config.rootfs.diff_ids },
            "Metadata": { "LastTagTime": rfc3339(Some(image.pulled_ns)) },
        });
        if let Some(variant) = &config.variant {
            described["Variant"] = variant.as_str().into();
        }
        Ok(described)
    }

    /// Everything about a volume, as `docker volume inspect` prints it.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoSuchVolume`].
    pub fn inspect_volume(&mut self, name: &str) -> Result<Value, EngineError> {
        let volume = self.find_volume(name)?;
        Ok(json!({
            "CreatedAt": rfc3339(Some(volume.created_ns)),
            "Driver": "local",
            "Labels": volume.labels,
            "Mountpoint": volume.mountpoint,
            "Name": volume.name,
            "Options": {},
            "Scope": "local",
        }))
    }
}

fn state(row: &ContainerRow) -> Value {
    let state = &row.state;
    let is = |status: ContainerStatus| state.status == status;
    json!({
        "Status": state.status,
        "Running": matches!(state.status, ContainerStatus::Running | ContainerStatus::Paused | ContainerStatus::Restarting),
        "Paused": is(ContainerStatus::Paused),
        "Restarting": is(ContainerStatus::Restarting),
        "OOMKilled": state.oom_killed,
        "Dead": is(ContainerStatus::Dead),
        "Pid": state.init.map_or(0, |(pid, _)| pid),
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": rfc3339(state.started_ns),
        "FinishedAt": rfc3339(state.finished_ns),
    })
}

fn config(definition: &Definition) -> Value {
    let none: Map<String, Value> = Map::new();
    let exposed: Map<String, Value> = definition
        .exposed
        .iter()
        .map(|port| (port.clone(), json!(none)))
        .collect();
    let volumes: Map<String, Value> = definition
        .mounts
        .iter()
        .filter(|mount| mount.anonymous)
        .map(|mount| (mount.spec.target.clone(), json!(none)))
        .collect();
    json!({
        "Hostname": definition.hostname.clone().unwrap_or_default(),
        "Domainname": "",
        "User": definition.user.to_string(),
        "AttachStdin": definition.stdin_once,
        "AttachStdout": definition.attach_stdout,
        "AttachStderr": definition.attach_stderr,
        "ExposedPorts": exposed,
        "Tty": definition.tty,
        "OpenStdin": definition.open_stdin,
        "StdinOnce": definition.stdin_once,
        "Env": definition.env,
        "Cmd": definition.cmd,
        "Image": definition.image,
        "Volumes": volumes,
        "WorkingDir": definition.working_dir,
        "Entrypoint": if definition.entrypoint.is_empty() { Value::Null } else { json!(definition.entrypoint) },
        "OnBuild": null,
        "Labels": definition.labels,
        "StopSignal": definition.stop_signal,
    })
}

/// `{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}`
fn port_bindings(ports: &[PublishedPort]) -> Map<String, Value> {
    let mut bindings = Map::new();
    for port in ports {
        let key = format!("{}/{}", port.container_port, port.protocol);
        let host_port = if port.host_port == 0 {
            String::new()
        } else {
            port.host_port.to_string()
        };
        let binding = json!({ "HostIp": port.host_ip, "HostPort": host_port });
        if let Value::Array(list) = bindings.entry(key).or_insert_with(|| json!([])) {
            list.push(binding);
        }
    }
    bindings
}
