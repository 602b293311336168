#!/usr/bin/env bash
# Time cold pulls of the images that images.py made, each into a fresh ext4; as root.
#   pulls.sh ROCKER IMAGES [compare.py's options]
#   PEERS=DIRECTORY pulls.sh …          with the peers of a tree made by `peers.sh build DIRECTORY`
#   SLOW=1 pulls.sh …                   through a link with 20 ms of round trip and 200 Mbit/s
# IMAGES has to lie below /tmp or /var/tmp, which is what the peers' tree shows of the machine.
set -euo pipefail
TIMEFORMAT="%R s"
here=$(dirname "$(realpath "$0")")
if [ -z "${ROCKER_BENCH_WORK:-}" ]; then
  work=$(mktemp -d /var/tmp/rocker-bench.XXXXXX)
  trap 'rm -rf --one-file-system "$work"' EXIT
  cp "$1" "$work/rocker"
  images=$(realpath "$2"); shift 2
  cp "$here"/*.py "$here"/*.sh "$here"/../tests/{push-image,start-registry}.sh "$work/"
  export ROCKER_BENCH_WORK=$work IMAGES=$images
  if [ -n "${PEERS:-}" ]; then
    "$here/peers.sh" enter "$PEERS" "$work/pulls.sh" "$@"
  else
    unshare --mount --net --propagation private "$work/pulls.sh" "$@"
  fi
  exit
fi

work=$ROCKER_BENCH_WORK
ip link set lo up
host=$("$work/start-registry.sh" "$IMAGES")
trap 'kill "$(cat "$IMAGES/registry.pid")"' EXIT
busybox=$("$work/push-image.sh" "$host" bench/busybox:latest)
cat "$IMAGES"/registry/docker/registry/v2/blobs/sha256/*/*/data >/dev/null # from memory, for everybody
pulls=()
for image in busybox debian app app-zstd big; do pulls+=(--pull "$image=$host/bench/$image:latest"); done
if [ -n "${SLOW:-}" ]; then
  python3 "$work/slow_link.py" "$host" >"$work/slow" &
  trap 'kill "$(cat "$IMAGES/registry.pid")" $!' EXIT
  until [ -s "$work/slow" ]; do sleep 0.05; done
  slow=$(cat "$work/slow")
  pulls=("${pulls[@]/"$host"/"$slow"}") busybox=${busybox/"$host"/"$slow"}
  for image in debian app big; do # what the download alone takes, three at a time as an engine does it
    echo "download alone, $image: $({ time curl -fs "http://$host/v2/bench/$image/manifests/latest" \
      -H 'Accept: application/vnd.oci.image.manifest.v1+json' | grep -o 'sha256:[0-9a-f]*' | sort -u \
      | xargs -P 3 -I{} curl -fsS -o /dev/null "http://$slow/v2/bench/$image/blobs/{}"; } 2>&1)"
  done
fi
python3 "$work/compare.py" --work "$work" --rocker "$work/rocker" --image "$busybox" --only '^pull-' --many 0 "${pulls[@]}" "$@"
