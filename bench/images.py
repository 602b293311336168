#!/usr/bin/env python3
"""Makes the images whose pulls are timed, from the package registries of Debian, PyPI and npm:

  debian   one layer, a slimmed minbase
  app      ten layers, 95,000 files, 1.0 GB: Debian, Python, Node, tools, libraries, deletions, chown
  big      one layer of 1.1 GB: compilers

    images.py DIRECTORY            layer tars (made once), then a registry's storage below DIRECTORY/registry

As root; needs mmdebstrap, npm, pip, skopeo, zstd, docker-registry and room for 6 GB."""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
EPOCH = "2025-01-01T00:00:00Z"
SLIM = ["--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright"]
APT = "apt-get update -q && apt-get install -qy --no-install-recommends {} && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/*.log"
PIP = ("numpy pandas scipy django sqlalchemy requests aiohttp pydantic sympy networkx botocore boto3 babel")
NPM = ("@mui/icons-material@5 @mui/material@5 react@18 react-dom@18 date-fns lodash rxjs typescript webpack @babel/core "
       "core-js eslint @aws-sdk/client-s3 three")
# Each is run in the merged tree of the layers below it, with $R as its root.
STEPS = {
    "python": ("chroot", APT.format("python3 ca-certificates")),
    "node": ("chroot", APT.format("nodejs")),
    "tools": ("chroot", APT.format("git perl curl vim-tiny")),
    "pip": ("host", f"pip install -q --no-compile --python-version 3.13 --only-binary=:all: --target $R/opt/app/site-packages {PIP}"),
    "npm": ("host", "mkdir -p $R/opt/app/web && cd $R/opt/app/web && echo '{\"name\":\"web\",\"version\":\"1.0.0\"}' > package.json && "
                    f"npm install --silent --ignore-scripts --no-audit --no-fund --cache $W/npm-cache {NPM}"),
    "src": ("host", "mkdir -p $R/opt/app/src && cp -r $R/usr/lib/python3*/ $R/opt/app/src/ && find $R/opt/app/src -name '*.pyc' -delete"),
    "clean": ("host", "find $R/opt/app/web/node_modules -name '*.map' -delete; "
                      "find $R/opt/app/site-packages -type d -name tests -prune -exec rm -rf {} +; rm -rf $R/usr/share/doc"),
    "chown": ("host", "find $R/opt/app/src -type f -name '*.py' -exec chmod g+w {} +; chown -R 1000:1000 $R/opt/app/src; "
                      "E=$R/opt/app/web/node_modules/three/examples; rm -rf $E; mkdir -p $E; echo x > $E/README"),
    "meta": ("host", "mkdir -p $R/opt/app/data; echo '#!/bin/sh' > $R/opt/app/entry; chmod 755 $R/opt/app/entry; "
                     "ln $R/opt/app/entry $R/opt/app/entry2; ln -s entry $R/opt/app/entry3"),
}


def run(*words, **options):
    subprocess.run(list(map(str, words)), check=True, **options)


def debootstrap(tar, *options):
    if not tar.exists():
        run("mmdebstrap", "--quiet", "--variant=minbase", *SLIM, *options, "trixie", tar.with_suffix(".part.tar"))
        tar.with_suffix(".part.tar").rename(tar)
    return tar


def layer_tar(upper, tar):
    """What an overlay collected, as a layer: its whiteouts become names that begin with .wh."""
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as out:
        for directory, names, files in os.walk(upper):
            below = os.path.relpath(directory, upper)
            names.sort()
            for name in sorted(names + files):
                path, member = os.path.join(directory, name), os.path.normpath(os.path.join(below, name))
                entry = os.lstat(path)
                if stat.S_ISCHR(entry.st_mode) and entry.st_rdev == 0:
                    out.addfile(tarfile.TarInfo(os.path.join(os.path.dirname(member), f".wh.{name}")))
                elif not stat.S_ISSOCK(entry.st_mode):
                    out.add(path, member, recursive=False)
                    if stat.S_ISDIR(entry.st_mode) and "trusted.overlay.opaque" in os.listxattr(path):
                        out.addfile(tarfile.TarInfo(os.path.join(member, ".wh..wh..opq")))


def app_layers(tars, base, work):
    layers = [base] + [tars / f"app-{name}.tar" for name in STEPS]
    if all(layer.exists() for layer in layers):
        return layers
    shutil.rmtree(work, ignore_errors=True)
    (work / "base").mkdir(parents=True)
    run("tar", "-C", work / "base", "-xf", base)
    lowers = [work / "base"]
    for (name, (where, script)), layer in zip(STEPS.items(), layers[1:]):
        upper, scratch, merged = work / name, work / f"{name}.work", work / "merged"
        for directory in (upper, scratch, merged):
            directory.mkdir(exist_ok=True)
        options = f"lowerdir={':'.join(map(str, lowers))},upperdir={upper},workdir={scratch},metacopy=off,redirect_dir=off,index=off"
        run("mount", "-t", "overlay", "overlay", "-o", options, merged)
        try:
            if where == "chroot":
                shutil.copy("/etc/resolv.conf", merged / "etc/resolv.conf")
                run("chroot", merged, "/bin/sh", "-ec", script, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    env={"PATH": os.environ["PATH"], "DEBIAN_FRONTEND": "noninteractive"})
                (merged / "etc/resolv.conf").unlink()
            else:
                run("bash", "-ec", script, env={**os.environ, "R": str(merged), "W": str(work)})
        finally:
            run("umount", merged)
        layer_tar(upper, layer)
        lowers.insert(0, upper)
    shutil.rmtree(work)
    return layers


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_layout(place, layers, compression):
    """An OCI layout. The layers are compressed here, so that every engine gets the same bytes."""
    blobs = place / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(document):
        data = json.dumps(document).encode()
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {"digest": f"sha256:{name}", "size": len(data)}

    described = []
    for layer in layers:
        packed = place / "packed"
        with open(packed, "wb") as file:
            run(*({"gzip": ["gzip", "-nc6"], "zstd": ["zstd", "-qc3"]}[compression]), layer, stdout=file)
        name = digest(packed)
        packed.rename(blobs / name)
        described.append({"mediaType": f"application/vnd.oci.image.layer.v1.tar+{compression}",
                          "digest": f"sha256:{name}", "size": (blobs / name).stat().st_size})
    config = put({"architecture": "amd64", "os": "linux", "created": EPOCH,
                  "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]},
                  "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest(layer)}" for layer in layers]}})
    manifest_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = put({"schemaVersion": 2, "mediaType": manifest_type, "layers": described,
                    "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config}})
    index = {"schemaVersion": 2, "manifests": [{"mediaType": manifest_type, **manifest,
                                                "annotations": {"org.opencontainers.image.ref.name": "latest"}}]}
    (place / "index.json").write_text(json.dumps(index))
    (place / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    if os.environ.get("ROCKER_BENCH_UNSHARED") is None:
        # overlays are mounted on the way: not in the mount namespace of the host
        os.environ["ROCKER_BENCH_UNSHARED"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    place = Path(sys.argv[1]).resolve()
    tars = place / "tars"
    tars.mkdir(parents=True, exist_ok=True)
    debian = debootstrap(tars / "debian.tar")
    app = app_layers(tars, debian, place / "work")
    big = debootstrap(tars / "big.tar", "--include=clang,lld,rustc,golang-go")
    registry = subprocess.run([HERE.parent / "tests/start-registry.sh", place], check=True, capture_output=True, text=True).stdout.strip()
    try:
        for name, layers, compression in (("debian", [debian], "gzip"), ("app", app, "gzip"), ("app-zstd", app, "zstd"), ("big", [big], "gzip")):
            layout = place / "layout"
            shutil.rmtree(layout, ignore_errors=True)
            write_layout(layout, layers, compression)
            run("skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", "--preserve-digests",
                f"oci:{layout}:latest", f"docker://{registry}/bench/{name}:latest")
            shutil.rmtree(layout)
    finally:
        os.kill(int((place / "registry.pid").read_text()), 15)


main()
