#!/usr/bin/env bash
# Make a one-layer OCI image and push it to a registry, with nothing but curl and coreutils:
#   push-image.sh HOST:PORT REPOSITORY:TAG [LAYER.tar]
# Without a layer it is this machine's static busybox with a link for every applet.
set -euo pipefail
host=$1 repository=${2%:*} tag=${2##*:} layer=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -z "$layer" ]; then
  tree=$work/tree layer=$work/layer.tar
  mkdir -p "$tree"/{bin,dev,etc,proc,root,run,sys,tmp,usr,var}
  chmod 1777 "$tree/tmp"
  cp "$(command -v busybox)" "$tree/bin/busybox"
  for applet in $("$tree/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln "$tree/bin/busybox" "$tree/bin/$applet"
  done
  echo 'root:x:0:0:root:/root:/bin/sh' >"$tree/etc/passwd"
  echo 'root:x:0:' >"$tree/etc/group"
  tar -C "$tree" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$layer" .
fi

sha256() { sha256sum "$1" | cut -d' ' -f1; }
push_blob() { # FILE -> sha256:HEX
  local digest location
  digest=sha256:$(sha256 "$1")
  location=$(curl -fsS -X POST -D - -o /dev/null "http://$host/v2/$repository/blobs/uploads/" \
    | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
  case $location in http*) ;; *) location=http://$host$location ;; esac
  case $location in *\?*) location+="&digest=$digest" ;; *) location+="?digest=$digest" ;; esac
  curl -fsS -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$1" -o /dev/null "$location"
  printf '%s' "$digest"
}

gzip -nc1 "$layer" >"$work/layer.gz"
case $(uname -m) in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; *) architecture=$(uname -m) ;; esac
cat >"$work/config" <<JSON
{"architecture":"$architecture","os":"linux","created":"2026-01-01T00:00:00Z",
 "config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["sh"]},
 "rootfs":{"type":"layers","diff_ids":["sha256:$(sha256 "$layer")"]}}
JSON
layer_digest=$(push_blob "$work/layer.gz")
config_digest=$(push_blob "$work/config")
type=application/vnd.oci.image
cat >"$work/manifest" <<JSON
{"schemaVersion":2,"mediaType":"$type.manifest.v1+json",
 "config":{"mediaType":"$type.config.v1+json","digest":"$config_digest","size":$(stat -c %s "$work/config")},
 "layers":[{"mediaType":"$type.layer.v1.tar+gzip","digest":"$layer_digest","size":$(stat -c %s "$work/layer.gz")}]}
JSON
curl -fsS -X PUT -H "Content-Type: $type.manifest.v1+json" --data-binary "@$work/manifest" -o /dev/null \
  "http://$host/v2/$repository/manifests/$tag"
echo "$host/$repository:$tag"
