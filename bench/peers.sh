#!/usr/bin/env bash
# A Debian trixie tree with podman, crun and runc, to measure beside: a distribution's own podman may
# be years old.
#   peers.sh build DIRECTORY            make the tree (mmdebstrap; as root)
#   peers.sh enter DIRECTORY CMD ARG…   run CMD in it, in a mount and network namespace of its own
set -euo pipefail

build() {
  mmdebstrap --quiet --variant=minbase \
    --include=podman,crun,runc,conmon,netavark,aardvark-dns,docker-registry,curl,busybox-static,e2fsprogs \
    --include=python3,iproute2,nftables,iptables,procps,mount,util-linux,ca-certificates \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    trixie "$1"
}

enter() {
  local tree=$1; shift
  # The tree becomes the root by pivot_root, since podman and rocker do that themselves and cannot
  # inside a chroot. What lies below /tmp and /var/tmp of the machine stays visible for the work.
  exec unshare --mount --net --propagation private bash -euc '
    tree=$1; shift
    mount --bind "$tree" "$tree"
    cd "$tree"
    for d in proc sys dev tmp var/tmp; do mount --rbind "/$d" "$d"; done
    mount -t tmpfs tmpfs run
    mkdir -p run/lock .old
    pivot_root . .old
    umount -l /.old
    ip link set lo up
    # crun refuses a host that has v1 controllers and any controller in its v2 tree.
    umount -l /sys/fs/cgroup/unified 2>/dev/null || true
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
    unset BASH_ENV ENV
    exec "$@"' _ "$tree" "$@"
}

case ${1:-} in
  build) build "$2" ;;
  enter) shift; enter "$@" ;;
  *) sed -n '2,6p' "$0"; exit 64 ;;
esac
