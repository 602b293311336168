#!/usr/bin/env bash
# Time everyday commands of rocker beside every peer that is installed; as root.
#   run.sh ROCKER [compare.py's options]
#   PEERS=DIRECTORY run.sh ROCKER …     with the peers of a tree made by `peers.sh build DIRECTORY`
#   DEBIAN=FILE.tar                     a root file system for the pull of a larger image
set -euo pipefail
[ "$(id -u)" = 0 ] || exec sudo --preserve-env=PEERS,DEBIAN "$0" "$@"
here=$(dirname "$(realpath "$0")")
# Everything that is needed inside the peers' tree lies below one directory of /var/tmp.
work=${ROCKER_BENCH_WORK:-}
if [ -z "$work" ]; then
  work=$(mktemp -d /var/tmp/rocker-bench.XXXXXX)
  trap 'rm -rf --one-file-system "$work"' EXIT
  cp "$1" "$work/rocker"; shift
  cp "$here"/*.py "$here"/*.sh "$here"/../tests/{push-image,start-registry}.sh "$work/"
  [ -z "${DEBIAN:-}" ] || cp "$DEBIAN" "$work/debian.tar"
  export ROCKER_BENCH_WORK=$work
  if [ -n "${PEERS:-}" ]; then
    "$here/peers.sh" enter "$PEERS" "$work/run.sh" "$@"
  else
    "$work/run.sh" "$@"
  fi
  exit
fi

host=$("$work/start-registry.sh" "$work")
trap 'kill "$(cat "$work/registry.pid")"' EXIT
busybox=$("$work/push-image.sh" "$host" bench/busybox:latest)
debian=()
[ ! -f "$work/debian.tar" ] || debian=(--debian "$("$work/push-image.sh" "$host" bench/debian:latest "$work/debian.tar")")
python3 "$work/compare.py" --work "$work" --rocker "$work/rocker" --image "$busybox" "${debian[@]}" "$@"
