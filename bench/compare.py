#!/usr/bin/env python3
"""Times the same command of several engines, one after another in each round (A B C A B C …), so
that whatever else the machine does hits all alike, and prints medians and ratios as a table.

Each case runs twice: back to back, and with a pause of 300 ms before every timed command, which is
how people use a command line: caches of the processor are cold then, and the kernel has finished
what the command before left to do. Use `run.sh`, which prepares registry and images."""

import argparse
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

PAUSE_SECONDS = 0.3


@dataclass
class Engine:
    name: str
    command: list
    environment: dict = field(default_factory=dict)
    # podman gives a removed container ten seconds to end; the others kill it.
    force_remove: list = field(default_factory=lambda: ["rm", "-f"])
    # What the last timed command used, as wait4 told.
    usage: object = None

    def words(self, words):
        return self.command + words

    def run(self, words, check=True):
        done = subprocess.run(self.words(words), env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if check and done.returncode != 0:
            raise SystemExit(f"{shlex.join(self.words(words))}: {done.returncode}\n{done.stderr}")
        return done.stdout.strip()

    def timed(self, words):
        """Seconds of wall time, and whether it succeeded; spawned without a shell or a pipe."""
        null = os.open(os.devnull, os.O_RDWR)
        actions = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
        argv = self.words(words)
        began = time.perf_counter()
        pid = os.posix_spawnp(argv[0], argv, {**os.environ, **self.environment}, file_actions=actions)
        _, status, self.usage = os.wait4(pid, 0)
        took = time.perf_counter() - began
        os.close(null)
        return took, status == 0


@dataclass
class Case:
    """One row: `command` is timed; the lists of other commands run before and after, untimed."""
    title: str
    command: list
    setup: list = field(default_factory=list)
    before: list = field(default_factory=list)
    after: list = field(default_factory=list)
    teardown: list = field(default_factory=list)


HONOURS_TERM = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]


def cases(image):
    run = ["run", "--rm"]
    sleeper = ["run", "-d", "--name", "bench", image, "sleep", "100000"]
    remove = [["FORCE-REMOVE", "bench"]]
    return [
        Case("run --rm, bridge", run + [image, "true"]),
        Case("run --rm, no network", run + ["--network", "none", image, "true"]),
        Case("run --rm, host network", run + ["--network", "host", image, "true"]),
        Case("run -d until it returns", sleeper, after=remove),
        Case("exec true", ["exec", "bench", "true"], setup=[sleeper], teardown=remove),
        Case("ps", ["ps"], setup=[sleeper], teardown=remove),
        Case("inspect a container", ["inspect", "bench"], setup=[sleeper], teardown=remove),
        Case("images", ["images"]),
        Case("start of a stopped one", ["start", "bench"], setup=[["create", "--name", "bench", image, "sleep", "100000"]],
             after=[["kill", "bench"], ["wait", "bench"]], teardown=remove),
        Case("stop, program honours TERM", ["stop", "bench"], setup=[["create", "--name", "bench", image] + HONOURS_TERM],
             before=[["start", "bench"], ["exec", "bench", "true"]], teardown=remove),
        Case("rm -f of a running one", ["FORCE-REMOVE", "bench"], before=[sleeper]),
    ]


def engines(arguments):
    work = arguments.work
    found = [Engine("rocker", [arguments.rocker, "--root", f"{work}/rocker-root", "--runroot", "/run/rocker-bench"])]
    registries = f"{work}/registries.conf"
    with open(registries, "w") as file:
        file.write(f'[[registry]]\nlocation="{arguments.image.split("/")[0]}"\ninsecure=true\n')
    environment = {"CONTAINERS_REGISTRIES_CONF": registries, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
    if shutil.which("podman"):
        found.append(Engine("podman", ["podman", "--root", f"{work}/podman-root", "--runroot", "/run/podman-bench"],
                            environment, ["rm", "-f", "-t", "0"]))
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
        found.append(Engine("docker", ["docker"]))
    wanted = arguments.engines.split(",") if arguments.engines else [engine.name for engine in found]
    return [engine for engine in found if engine.name in wanted]


def resolve(engine, words):
    return engine.force_remove + words[1:] if words[0] == "FORCE-REMOVE" else words


def measure(case, competitors, runs, pause):
    """Median seconds of each engine, or None for one that failed; interleaved."""
    samples = {engine.name: [] for engine in competitors}
    failed = set()
    for engine in competitors:
        engine.run(engine.force_remove + ["bench"], check=False)
        for words in case.setup:
            engine.run(resolve(engine, words))
    for round_number in range(runs + 2):
        for engine in competitors:
            for words in case.before:
                engine.run(resolve(engine, words))
            if pause:
                time.sleep(PAUSE_SECONDS)
            took, succeeded = engine.timed(resolve(engine, case.command))
            for words in case.after:
                engine.run(resolve(engine, words), check=False)
            if not succeeded:
                failed.add(engine.name)
            elif round_number >= 2:  # the first two warm everything up
                samples[engine.name].append(took)
    for engine in competitors:
        for words in case.teardown:
            engine.run(resolve(engine, words), check=False)
    return {name: None if name in failed or not taken else statistics.median(taken) for name, taken in samples.items()}


class Table:
    def __init__(self, competitors, record):
        self.names = [engine.name for engine in competitors]
        self.record = record
        ratios = "".join(f" rocker/{name} |" for name in self.names[1:])
        print(f"| | {' | '.join(self.names)} |{ratios}")
        print("|---|" + "---:|" * (2 * len(self.names) - 1), flush=True)

    def row(self, title, medians, unit="ms"):
        scale = {"ms": 1000, "s": 1, "MB": 1}[unit]
        cells = ["failed" if medians.get(name) is None else f"{medians[name] * scale:.4g} {unit}" for name in self.names]
        own = medians.get("rocker")
        for name in self.names[1:]:
            other = medians.get(name)
            cells.append("–" if own is None or not other else f"{own / other:.3f}")
        print(f"| {title} | {' | '.join(cells)} |", flush=True)
        if self.record:
            self.record.write(json.dumps({"case": title, "unit": unit, "values": medians}) + "\n")


def seconds_of(action):
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def many_detached(table, competitors, image, count):
    """COUNT × run -d one by one, ps with all of them, memory of a monitor, and away again."""
    started, listed, memory = {}, {}, {}
    for engine in competitors:
        names = [f"many-{number}" for number in range(count)]
        started[engine.name] = seconds_of(lambda: [
            engine.run(["run", "-d", "--name", name, image, "sleep", "100000"]) for name in names])
        listed[engine.name] = statistics.median(engine.timed(["ps", "-a"])[0] for _ in range(15))
        memory[engine.name] = monitor_memory(engine, names[0])
        engine.run(engine.force_remove + names)
    table.row(f"{count} × run -d, one by one", started, "s")
    table.row(f"ps -a with {count} containers", listed)
    table.row("memory of one monitor (PSS)", memory, "MB")


def monitor_memory(engine, name):
    """Megabytes of the parent of a container's first process; a daemon's share is not in it."""
    try:
        pid = engine.run(["inspect", "-f", "{{.State.Pid}}", name])
        with open(f"/proc/{pid}/status") as file:
            parent = re.search(r"^PPid:\s*(\d+)", file.read(), re.M).group(1)
        with open(f"/proc/{parent}/smaps_rollup") as file:
            return int(re.search(r"^Pss:\s*(\d+)", file.read(), re.M).group(1)) / 1000
    except (OSError, AttributeError):
        return None


def parallel_runs(table, competitors, image, count):
    taken = {}
    for engine in competitors:
        def all_at_once():
            running = [subprocess.Popen(engine.words(["run", "--rm", image, "true"]), stdin=subprocess.DEVNULL,
                                        env={**os.environ, **engine.environment}, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL) for _ in range(count)]
            codes = [process.wait() for process in running]
            if any(codes):
                print(f"{engine.name}: {sum(map(bool, codes))} of {count} failed", file=sys.stderr)
            return not any(codes)
        began = time.perf_counter()
        succeeded = all_at_once()
        # Time in which some of them failed is the time of nothing.
        taken[engine.name] = time.perf_counter() - began if succeeded else None
    table.row(f"{count} × run --rm at once", taken, "s")


def cold_pull(table, competitors, image, runs, title):
    """Each pull into a fresh ext4: a file system that has just lost the same files is slower."""
    samples = {engine.name: [] for engine in competitors if engine.name != "docker"}
    usage = {name: [] for name in samples}
    for _ in range(runs):
        for engine in competitors:
            if engine.name == "docker":
                continue  # its daemon's storage cannot be chosen per command
            with FreshDisk() as place:
                fresh = Engine(engine.name, [engine.command[0], "--root", f"{place}/root", "--runroot", f"{place}/run"],
                               engine.environment)
                took, succeeded = fresh.timed(["pull", "-q", image])
                if succeeded:
                    samples[engine.name].append(took)
                    usage[engine.name].append(fresh.usage)
    table.row(title, {name: statistics.median(taken) if taken else None for name, taken in samples.items()}, "s")
    for what, unit, measure in (("processor", "s", lambda used: used.ru_utime + used.ru_stime),
                                ("peak memory", "MB", lambda used: used.ru_maxrss / 1024)):
        medians = {name: statistics.median(map(measure, used)) if used else None for name, used in usage.items()}
        table.row(f"{title}: {what}", medians, unit)


class FreshDisk:
    def __enter__(self):
        self.file, self.place = "/var/tmp/rocker-bench.img", "/var/tmp/rocker-bench.mnt"
        os.makedirs(self.place, exist_ok=True)
        subprocess.run(["truncate", "-s", "12G", self.file], check=True)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.file], check=True)
        subprocess.run(["mount", "-o", "loop", self.file, self.place], check=True)
        subprocess.run(["sync"], check=True)
        return self.place

    def __exit__(self, *_):
        # podman leaves mounts of its own below its root.
        subprocess.run(f"umount -R {self.place} || umount -l {self.place}", shell=True, stderr=subprocess.DEVNULL)
        os.remove(self.file)
        os.rmdir(self.place)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--work", required=True, help="directory for everything that is written")
    parser.add_argument("--rocker", required=True, help="the binary")
    parser.add_argument("--image", required=True, help="a busybox in a registry on loopback")
    parser.add_argument("--debian", help="a larger image in the same registry, for the pull")
    parser.add_argument("--pull", action="append", default=[], metavar="TITLE=IMAGE", help="time its cold pull as well")
    parser.add_argument("--engines", help="rocker,podman,docker: fewer than are installed")
    parser.add_argument("--runs", type=int, default=15, help="timed runs of each command [15]")
    parser.add_argument("--only", default="", help="cases whose title contains this regular expression")
    parser.add_argument("--many", type=int, default=100, help="containers of the density cases, 0 for none [100]")
    parser.add_argument("--json", help="append each row to this file as a JSON line")
    arguments = parser.parse_args()

    competitors = engines(arguments)
    for engine in competitors:
        engine.run(["pull", "-q", arguments.image])
    table = Table(competitors, open(arguments.json, "a") if arguments.json else None)
    for case in cases(arguments.image):
        if re.search(arguments.only, case.title):
            table.row(case.title, measure(case, competitors, arguments.runs, pause=False))
            table.row(f"{case.title}, after a pause", measure(case, competitors, arguments.runs, pause=True))
    if arguments.many and re.search(arguments.only, "many"):
        many_detached(table, competitors, arguments.image, arguments.many)
        parallel_runs(table, competitors, arguments.image, max(arguments.many // 2, 1))
    for image, title in ((arguments.image, "cold pull, busybox"), (arguments.debian, "cold pull, Debian")):
        if image and re.search(arguments.only, title):
            cold_pull(table, competitors, image, min(arguments.runs, 5), title)
    for title, image in (pull.split("=", 1) for pull in arguments.pull):
        cold_pull(table, competitors, image, min(arguments.runs, 5), f"cold pull, {title}")
    for engine in competitors:
        engine.run(["rmi", "-f", arguments.image], check=False)


main()
