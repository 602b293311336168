#!/usr/bin/env bash
# What `make demo` shows: an image from a real registry on loopback, run as a real container with
# data of its own, and at the end no container, layer or staging file.
#   demo.sh ROCKER
set -euo pipefail
[ "$(id -u)" = 0 ] || exec sudo "$0" "$@"
binary=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d /tmp/rocker-demo.XXXXXX)

rocker() { "$binary" --root "$work/root" --runroot "$work/run" "$@"; }
show() { printf '\n\033[1m$ rocker %s\033[0m\n' "$*"; rocker "$@"; }
finish() {
  local ids
  ids=$(rocker ps -aq 2>/dev/null) && [ -n "$ids" ] && rocker rm -f $ids >/dev/null
  [ ! -f "$work/registry.pid" ] || kill "$(cat "$work/registry.pid")" 2>/dev/null || true
  # The last monitor takes the idle bridge away, half a second after its container.
  for _ in $(seq 100); do
    grep -qasF "$work/" /proc/[0-9]*/cmdline || break
    sleep 0.1
  done
  rm -rf --one-file-system "$work"
}
trap finish EXIT

echo "starting docker-registry on loopback and pushing an image of busybox to it"
host=$("$here/start-registry.sh" "$work")
image=$("$here/push-image.sh" "$host" demo/busybox:latest)

show pull "$image"
show images
show run --rm "$image" sh -c 'echo "hello from $(hostname), process $$ of its own namespace"; ip -4 -o address show eth0'
show run -d --name web -p 127.0.0.1::80 -m 64m "$image" \
  sh -c 'mkdir /www; echo hello from the container >/www/index.html; echo serving; exec httpd -f -p 80 -h /www'
show ps
show exec web sh -c 'until wget -q -O /dev/null http://127.0.0.1/; do usleep 10000; done 2>/dev/null; ps'
port=$(rocker ps --format '{{.Ports}}' | sed 's/.*:\([0-9]*\)->.*/\1/')
printf '\n\033[1m$ curl http://127.0.0.1:%s/\033[0m\n' "$port"
curl -fsS "http://127.0.0.1:$port/"
show logs web
code=0; show run --rm "$image" sh -c 'exit 3' || code=$?
echo "exit code $code"
[ "$code" = 3 ]
show stop -t 1 web
show rm web
show rmi "$image"
show ps -a

left=$(find "$work/root/containers" "$work/root/layers" "$work/root/tmp" -mindepth 1 2>/dev/null || true)
[ -z "$left" ] || { echo "left behind: $left"; exit 1; }
printf '\nno container, layer or staging file is left behind.\n'
if curl -fsI -m 3 https://registry-1.docker.io/v2/ -o /dev/null 2>/dev/null || [ $? = 22 ]; then
  printf 'try: sudo rocker run ubuntu bash\n'
fi
