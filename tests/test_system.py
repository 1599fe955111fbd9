from __future__ import annotations

import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cartpole_dqn.errors import UserError
from cartpole_dqn.system import available_bytes, require_memory

KIB = 1024


TOP = "sys/fs/cgroup"


def write(root: Path, files: dict[str, object]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")


def test_version_2_groups_and_those_around_them(tmp_path: Path) -> None:
    inner, outer = f"{TOP}/outer/inner", f"{TOP}/outer"
    write(tmp_path, {"proc/self/cgroup": "0::/outer/inner"})
    write(tmp_path, {f"{inner}/memory.max": "max", f"{inner}/memory.current": 5000})
    assert available_bytes(tmp_path) > 2**20
    write(tmp_path, {f"{outer}/memory.max": 7000 * KIB, f"{outer}/memory.current": 3000 * KIB})
    assert available_bytes(tmp_path) == 4000 * KIB
    write(tmp_path, {f"{outer}/memory.stat": f"anon 5\ninactive_file {1000 * KIB}"})
    assert available_bytes(tmp_path) == 5000 * KIB
    write(tmp_path, {f"{inner}/memory.max": 1 * KIB})
    assert available_bytes(tmp_path) == 0


def test_version_1_groups(tmp_path: Path) -> None:
    job = f"{TOP}/memory/job"
    write(tmp_path, {"proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/job\n0::/"})
    write(tmp_path, {f"{job}/memory.limit_in_bytes": 6000 * KIB, f"{job}/memory.usage_in_bytes": 5500 * KIB})
    write(tmp_path, {f"{job}/memory.stat": f"inactive_file 7\ntotal_inactive_file {500 * KIB}"})
    assert available_bytes(tmp_path) == 1000 * KIB


def test_a_container_that_sees_its_own_group_at_the_top(tmp_path: Path) -> None:
    write(tmp_path, {"proc/self/cgroup": "0::/a/path/of/the/host"})
    write(tmp_path, {f"{TOP}/memory.max": 300 * KIB, f"{TOP}/memory.current": 100 * KIB})
    assert available_bytes(tmp_path) == 200 * KIB


def test_refusal_gives_figures_and_the_mend() -> None:
    require_memory(1000, who="it", mend="", available=1000)
    with pytest.raises(UserError, match=r"replay x would take 3 GB of memory, but 1\.5 GB are left\. Mend it\."):
        require_memory(3 * 10**9, who="replay x", mend="Mend it.", available=15 * 10**8)


def test_this_machine_is_asked_by_default() -> None:
    require_memory(1, who="it", mend="")
    with pytest.raises(UserError, match=r"would take 1,152,922 TB"):
        require_memory(2**60, who="it", mend="")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
@pytest.mark.process
def test_freed_memory_is_kept_and_taken_again_without_faults() -> None:
    """In a process of its own: blocks of megabytes, freed and allocated, cost page faults before and none after."""
    script = """
        import resource
        import numpy as np
        from cartpole_dqn.system import keep_freed_memory

        def faults() -> int:
            def work():
                blocks = [np.ones(2**20) for _ in range(8)]
            work()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(20):
                work()
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        before = faults()
        assert keep_freed_memory()
        print(before, faults())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 20_000
    assert after < 100
