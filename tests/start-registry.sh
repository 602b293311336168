#!/usr/bin/env bash
# Start Debian's docker-registry on a free port of 127.0.0.1 with its storage below DIRECTORY:
#   start-registry.sh DIRECTORY     prints HOST:PORT; the process id is in DIRECTORY/registry.pid
set -euo pipefail
directory=$1
mkdir -p "$directory/registry"
for _ in $(seq 20); do
  port=$((RANDOM % 20000 + 20000))
  cat >"$directory/registry.yml" <<YAML
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $directory/registry}, delete: {enabled: true}}
http: {addr: "127.0.0.1:$port"}
YAML
  docker-registry serve "$directory/registry.yml" </dev/null >"$directory/registry.log" 2>&1 &
  echo $! >"$directory/registry.pid"
  # Until it listens, or has ended because the port was taken.
  while kill -0 "$(cat "$directory/registry.pid")" 2>/dev/null; do
    curl -fs -o /dev/null "http://127.0.0.1:$port/v2/" && { echo "127.0.0.1:$port"; exit 0; }
    sleep 0.05
  done
done
cat "$directory/registry.log" >&2
exit 1
