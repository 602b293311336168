#!/bin/bash
# Run a command as root inside a small Debian VM whose only cgroup hierarchy is
# cgroup v2 (systemd as PID 1), under qemu. Works without KVM (TCG).
#
#   vm-cgroup2.sh build                 make (or reuse) the root image
#   vm-cgroup2.sh run PAYLOAD CMD...    unpack PAYLOAD (a directory or a .tar)
#                                       at /payload in the VM, run CMD there,
#                                       exit with CMD's status
#   vm-cgroup2.sh check                 build + a self-test of what a container
#                                       manager needs from the kernel
#
# Environment (all optional):
#   VM_CACHE      where the image, kernel and logs live  [${XDG_CACHE_HOME:-~/.cache}/vm-cgroup2]
#   VM_SUITE      Debian suite                           [trixie]
#   VM_KERNEL     kernel package                         [linux-image-cloud-amd64]
#   VM_PACKAGES   extra packages, comma-separated        []
#   VM_SIZE       root disk size                         [2G]
#   VM_MEM        memory                                 [1536M]
#   VM_CPUS       virtual CPUs                           [2]
#   VM_ACCEL      qemu accelerator                       [tcg; 'kvm' where it works]
#   VM_CPU        qemu CPU model                         [max under tcg, host under kvm]
#   VM_TIMEOUT    seconds until the VM is given up on    [600]
#   VM_INIT       systemd | plain (a shell as PID 1)     [systemd]
#   VM_APPEND     extra kernel command line              []
#   VM_OUT        if set: file that receives a tar of /payload/out from the VM
#
# Needs on the host: mmdebstrap (and root), qemu-system-x86_64, mke2fs (>= 1.43), tar.
# The root disk is the only NVMe one (built into Debian's cloud kernel, so no initrd
# is needed); payload and result travel as raw tar streams on virtio disks.
# No network device is given to the VM. The root disk is opened as a throw-away
# overlay (snapshot=on), so each run starts from the same image.
set -euo pipefail

VM_CACHE=${VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vm-cgroup2}
VM_SUITE=${VM_SUITE:-trixie}
VM_KERNEL=${VM_KERNEL:-linux-image-cloud-amd64}
VM_PACKAGES=${VM_PACKAGES:-}
VM_SIZE=${VM_SIZE:-2G}
VM_MEM=${VM_MEM:-1536M}
VM_CPUS=${VM_CPUS:-2}
VM_ACCEL=${VM_ACCEL:-tcg}
VM_TIMEOUT=${VM_TIMEOUT:-600}
VM_INIT=${VM_INIT:-systemd}
VM_APPEND=${VM_APPEND:-}
if [ "$VM_ACCEL" = tcg ]; then
  VM_CPU=${VM_CPU:-max}; accel="tcg,thread=multi"
else
  VM_CPU=${VM_CPU:-host}; accel=$VM_ACCEL
fi

tmpdirs=()
cleanup() { [ ${#tmpdirs[@]} -eq 0 ] || rm -rf "${tmpdirs[@]}"; }
trap cleanup EXIT
die() { echo "vm-cgroup2: $*" >&2; exit 125; }

# The guest's test driver. Result framing on the second serial port (hvc/ttyS1)
# keeps kernel and systemd chatter apart from the command's own output.
guest_script() {
  cat <<'GUEST'
#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
exec </dev/null >/dev/hvc0 2>&1
stty -F /dev/hvc0 raw -echo 2>/dev/null || true
rc=125
mkdir -p /payload
modprobe virtio_blk
payload= out=
for d in /sys/block/vd*; do
  case $(cat "$d/serial" 2>/dev/null) in
    payload) payload=/dev/${d##*/} ;;
    out) out=/dev/${d##*/} ;;
  esac
done
if tar -xf "$payload" -C /payload && [ -f /payload/.vm-cmd ]; then
  cd /payload
  bash ./.vm-cmd
  rc=$?
fi
if [ -d /payload/out ] && [ -n "$out" ]; then
  tar -C /payload/out -cf "$out" .
fi
sync
printf '\n@@vm-exit %d@@\n' "$rc"
if [ "$$" = 1 ]; then
  echo 1 >/proc/sys/kernel/sysrq; echo o >/proc/sysrq-trigger; sleep 60
else
  systemctl --force --force poweroff
fi
GUEST
}

plain_init() {
  cat <<'GUEST'
#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm /run
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# what systemd would do: leave the root, then switch the controllers on
mkdir -p /sys/fs/cgroup/init.scope
echo 1 >/sys/fs/cgroup/init.scope/cgroup.procs
for c in $(cat /sys/fs/cgroup/cgroup.controllers); do
  echo "+$c" >/sys/fs/cgroup/cgroup.subtree_control
done
ip link set lo up
exec /usr/local/sbin/vm-run
GUEST
}

build() {
  [ "$(id -u)" = 0 ] || die "build needs root (mmdebstrap into a directory)"
  local key pk
  pk="systemd-sysv,dbus,udev,kmod,nftables,iptables,iproute2,procps,util-linux,busybox-static,curl,docker-registry,e2fsprogs,$VM_KERNEL${VM_PACKAGES:+,$VM_PACKAGES}"
  key=$(printf '%s|%s|%s|%s' "$VM_SUITE" "$pk" "$VM_SIZE" "$(declare -f build guest_script plain_init)" | sha256sum | cut -c1-16)
  if [ -f "$VM_CACHE/key" ] && [ "$(cat "$VM_CACHE/key")" = "$key" ] && [ -f "$VM_CACHE/root.img" ]; then
    return 0
  fi
  mkdir -p "$VM_CACHE"
  rm -rf "$VM_CACHE/root" "$VM_CACHE/root.img" "$VM_CACHE/key"
  mmdebstrap --quiet --variant=minbase --include="$pk" \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$VM_SUITE" "$VM_CACHE/root" >"$VM_CACHE/build.log" 2>&1 || { tail -20 "$VM_CACHE/build.log" >&2; die "mmdebstrap failed"; }
  local r=$VM_CACHE/root u
  guest_script >"$r/usr/local/sbin/vm-run"
  plain_init >"$r/usr/local/sbin/vm-init"
  chmod 755 "$r/usr/local/sbin/vm-run" "$r/usr/local/sbin/vm-init"
  printf '/dev/nvme0n1 / ext4 defaults,noatime 0 0\n' >"$r/etc/fstab"
  echo vm >"$r/etc/hostname"
  : >"$r/etc/machine-id"; echo 11111111111111111111111111111111 >"$r/etc/machine-id"
  # kernel modules are xz-packed in Debian; unpacked ones load much faster under TCG
  find "$r/usr/lib/modules" -name '*.ko.xz' -exec xz -dq {} + 2>/dev/null || true
  chroot "$r" sh -c 'depmod -a "$(ls /usr/lib/modules | tail -1)"'
  cat >"$r/etc/systemd/system/vm-run.service" <<'UNIT'
[Unit]
Description=run the payload
DefaultDependencies=no
After=systemd-remount-fs.service dbus.socket tmp.mount systemd-modules-load.service
Wants=systemd-remount-fs.service dbus.socket tmp.mount
[Service]
Type=oneshot
Delegate=yes
TasksMax=infinity
ExecStart=/usr/local/sbin/vm-run
StandardOutput=null
UNIT
  # A target of our own: nothing of multi-user.target is started but what we want.
  cat >"$r/etc/systemd/system/vm.target" <<'UNIT'
[Unit]
Description=payload only
Requires=vm-run.service
After=vm-run.service
AllowIsolate=yes
UNIT
  ln -sf vm.target "$r/etc/systemd/system/default.target"
  for u in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket \
    systemd-udevd-kernel.socket systemd-journal-flush.service systemd-timesyncd.service \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    systemd-hwdb-update.service ldconfig.service systemd-firstboot.service; do
    ln -sf /dev/null "$r/etc/systemd/system/$u"
  done
  cp "$r"/boot/vmlinuz-* "$VM_CACHE/vmlinuz"
  rm -rf "$r"/boot/initrd* "$r"/var/cache/apt/* "$r"/var/lib/apt/lists/*
  truncate -s "$VM_SIZE" "$VM_CACHE/root.img.tmp"
  mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1,nodiscard -m 0 -d "$r" "$VM_CACHE/root.img.tmp" >/dev/null
  mv "$VM_CACHE/root.img.tmp" "$VM_CACHE/root.img"
  rm -rf "$VM_CACHE/root"
  echo "$key" >"$VM_CACHE/key"
}

run_vm() {
  [ $# -ge 2 ] || die "run PAYLOAD CMD..."
  build
  local payload=$1; shift
  local t; t=$(mktemp -d "${TMPDIR:-/tmp}/vm-cgroup2.XXXXXX")
  tmpdirs+=("$t")
  mkdir "$t/p"
  printf '%s\n' "$*" >"$t/p/.vm-cmd"
  if [ -d "$payload" ]; then
    tar -C "$payload" -cf "$t/payload.tar" .
  else
    cp "$payload" "$t/payload.tar"
  fi
  tar -C "$t/p" -rf "$t/payload.tar" ./.vm-cmd
  # a block device's size is a multiple of 512; tar ends with its own zero blocks
  truncate -s %1M "$t/payload.tar"
  local -a disks
  disks=(-drive "file=$VM_CACHE/root.img,if=none,id=d0,format=raw,snapshot=on,cache=unsafe" -device nvme,drive=d0,serial=d0
         -drive "file=$t/payload.tar,if=none,id=d1,format=raw,readonly=on" -device virtio-blk-pci,drive=d1,serial=payload)
  if [ -n "${VM_OUT:-}" ]; then
    truncate -s 256M "$t/out.img"
    disks+=(-drive "file=$t/out.img,if=none,id=d2,format=raw,cache=unsafe" -device virtio-blk-pci,drive=d2,serial=out)
  fi
  local init=
  [ "$VM_INIT" = plain ] && init="init=/usr/local/sbin/vm-init"
  local rc=0
  timeout -k 5 "$VM_TIMEOUT" qemu-system-x86_64 \
    -machine q35,usb=off,vmport=off,smbus=off,hpet=off -accel "$accel" -cpu "$VM_CPU" -smp "$VM_CPUS" -m "$VM_MEM" \
    -nodefaults -no-user-config -display none -no-reboot \
    -kernel "$VM_CACHE/vmlinuz" \
    -append "root=/dev/nvme0n1 rw rootfstype=ext4 rootwait $init console=ttyS0 loglevel=4 mitigations=off audit=0 selinux=0 apparmor=0 nokaslr noresume clocksource=acpi_pm random.trust_cpu=on panic=-1 oops=panic cgroup_no_v1=all systemd.unified_cgroup_hierarchy=1 systemd.show_status=0 systemd.log_level=warning systemd.mask=getty@tty1.service systemd.mask=serial-getty@ttyS0.service $VM_APPEND" \
    -chardev "file,id=log,path=$VM_CACHE/console.log" -serial chardev:log \
    -device virtio-serial-pci -chardev stdio,id=out,signal=on -device virtconsole,chardev=out \
    "${disks[@]}" </dev/null | tee "$t/stdout" | sed -u '/^@@vm-exit [0-9]*@@/d' || rc=$?
  local st; st=$(tr -d '\r' <"$t/stdout" | sed -n 's/^@@vm-exit \([0-9]*\)@@$/\1/p' | tail -1)
  if [ -n "${VM_OUT:-}" ]; then cp --sparse=always "$t/out.img" "$VM_OUT"; fi
  if [ -z "$st" ]; then
    tail -30 "$VM_CACHE/console.log" >&2
    die "no result from the VM (qemu or timeout status $rc)"
  fi
  return "$st"
}

check() {
  build
  local t; t=$(mktemp -d "${TMPDIR:-/tmp}/vm-cgroup2.XXXXXX")
  tmpdirs+=("$t")
  cat >"$t/check.sh" <<'GUEST'
set -eu
say() { printf '%-22s %s\n' "$1" "$2"; }
t0=$(date +%s); say kernel "$(uname -r), pid1 $(cat /proc/1/comm), up $(cut -d' ' -f1 /proc/uptime)s"
say cgroup-fs "$(stat -fc %T /sys/fs/cgroup)"
say controllers "$(cat /sys/fs/cgroup/cgroup.controllers)"
say own-cgroup "$(cat /proc/self/cgroup)"
own=/sys/fs/cgroup$(sed 's/^0:://' /proc/self/cgroup)
[ "$own" = /sys/fs/cgroup/ ] && own=/sys/fs/cgroup
# a delegated subtree: leave the inner node, then hand controllers down
mkdir -p "$own/leaf"; for p in $(cat "$own/cgroup.procs"); do echo "$p" >"$own/leaf/cgroup.procs" 2>/dev/null || true; done
echo "+cpu +memory +pids +io" >"$own/cgroup.subtree_control" || say subtree "$(cat "$own/cgroup.controllers")"
mkdir "$own/c1"
echo 64M >"$own/c1/memory.max"; echo 16 >"$own/c1/pids.max"; echo '50000 100000' >"$own/c1/cpu.max"
say limits "mem $(cat "$own/c1/memory.max") pids $(cat "$own/c1/pids.max") cpu $(cat "$own/c1/cpu.max") io $([ -f "$own/c1/io.max" ] && echo yes || echo no)"
sleep 100 & p=$!; echo $p >"$own/c1/cgroup.procs"; echo 1 >"$own/c1/cgroup.kill"; wait $p && r=0 || r=$?
say cgroup.kill "child ended with $r"
rmdir "$own/c1"
mkdir -p /tmp/o; mount -t tmpfs t /tmp/o; mkdir /tmp/o/{a,b,u,w,m}; echo 1 >/tmp/o/a/x
mount -t overlay overlay -o lowerdir=/tmp/o/b:/tmp/o/a,upperdir=/tmp/o/u,workdir=/tmp/o/w /tmp/o/m
rm /tmp/o/m/x; say overlay "whiteout $(stat -c %F /tmp/o/u/x)"
mkdir -p /var/o/{a,u,w,m}
mount -t overlay overlay -o lowerdir=/var/o/a,upperdir=/var/o/u,workdir=/var/o/w /var/o/m && say overlay-on-ext4 ok
ip link add br0 type bridge; ip netns add n; ip link add v0 type veth peer name eth0 netns n; ip link set v0 master br0 up
say bridge+veth "$(ip -br link show v0 | tr -s ' ')"
nft 'add table ip t; add chain ip t post { type nat hook postrouting priority 100; }; add rule ip t post ip saddr 10.0.0.0/8 masquerade; add chain ip t pre { type nat hook prerouting priority -100; }; add rule ip t pre tcp dport 80 dnat to 10.0.0.2:80'
say nft "$(nft list table ip t | grep -c -e masquerade -e dnat) nat rules"
say loop "$(modprobe loop && ls /dev/loop-control)"; say erofs "$(modprobe erofs && grep erofs /proc/filesystems | tr -d '\t')"
say seccomp "$(grep Seccomp: /proc/self/status)"; say userns "$(unshare -Ur id -u 2>&1)"
if [ -d /run/systemd/system ]; then say systemd "$(systemctl --version | head -1); scope: $(systemd-run --scope -q -p MemoryMax=32M -p Delegate=yes sh -c 'cat /proc/self/cgroup' 2>&1)"; fi
GUEST
  run_vm "$t" "bash check.sh"
}

case "${1:-}" in
  build) build ;;
  run) shift; run_vm "$@" ;;
  check) check ;;
  *) sed -n '2,30p' "$0"; exit 64 ;;
esac
