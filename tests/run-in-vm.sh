#!/usr/bin/env bash
# The end-to-end tests that are about cgroups, and the everyday ones, in a VM with pure cgroup v2.
#   run-in-vm.sh [FILTER...]    names of tests or parts of them; "::" is all of them (some fifteen minutes);
#                               default: the smaller set below (some four)
# The binaries are the ones of `make test`: the VM is a newer Debian than any supported builder.
set -euo pipefail
cd "$(dirname "$0")/.."
filters=("$@")
[ ${#filters[@]} -gt 0 ] || filters=(limits:: confinement:: exec:: lifecycle:: network:: volumes:: restart:: host_report::)

# All of them take longer than the machine is given by default.
case " ${filters[*]} " in
  *' :: '*) export VM_TIMEOUT=${VM_TIMEOUT:-2400} ;;
esac

features=(--features rocker-cli/crash-points)
cargo build --locked -p rocker-cli "${features[@]}"
suite=$(cargo test --locked -p rocker-cli "${features[@]}" --test e2e --no-run --message-format=json 2>/dev/null \
  | sed -n 's/.*"executable":"\([^"]*\/e2e-[^"]*\)".*/\1/p' | tail -n 1)
[ -x "$suite" ] || { echo "the end-to-end suite was not built" >&2; exit 1; }

payload=$(mktemp -d)
trap 'rm -rf "$payload"' EXIT
cp "${CARGO_TARGET_DIR:-target}/debug/rocker" "$payload/rocker"
cp "$suite" "$payload/e2e"
# The emulated processor is some ten times slower: deadlines are stretched, and no time is measured.
# A quick look at the host first, so that a VM without what it takes says so at once.
tests/vm-cgroup2.sh run "$payload" "
  export ROCKER_BIN=/payload/rocker ROCKER_TEST_STRICT=1 ROCKER_TEST_SLOW=1 TMPDIR=/var/tmp
  stat -fc %T /sys/fs/cgroup; ./rocker system check || true
  ./e2e --test-threads 2 ${filters[*]}"
