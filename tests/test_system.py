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


def write(root: Path, **files: str) -> Path:
    """Lay out a machine's files; "__" in a name stands for "/"."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_version_2_groups_and_those_around_them(tmp_path: Path) -> None:
    root = write(tmp_path, proc__self__cgroup="0::/outer/inner\n")
    outer, inner = root / "sys/fs/cgroup/outer", root / "sys/fs/cgroup/outer/inner"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner / "memory.current").write_text("5000\n")
    assert available_bytes(root) > 2**20
    (outer / "memory.max").write_text(f"{7000 * KIB}\n")
    (outer / "memory.current").write_text(f"{3000 * KIB}\n")
    assert available_bytes(root) == 4000 * KIB
    (outer / "memory.stat").write_text(f"anon 5\ninactive_file {1000 * KIB}\n")
    assert available_bytes(root) == 5000 * KIB
    (inner / "memory.max").write_text(f"{1 * KIB}\n")
    assert available_bytes(root) == 0


def test_version_1_groups(tmp_path: Path) -> None:
    root = write(tmp_path, proc__self__cgroup="5:cpu,cpuacct:/x\n4:memory:/job\n0::/\n")
    write(root / "sys/fs/cgroup/memory/job", memory_limit="")
    job = root / "sys/fs/cgroup/memory/job"
    (job / "memory.limit_in_bytes").write_text(f"{6000 * KIB}\n")
    (job / "memory.usage_in_bytes").write_text(f"{5500 * KIB}\n")
    (job / "memory.stat").write_text(f"inactive_file 7\ntotal_inactive_file {500 * KIB}\n")
    assert available_bytes(root) == 1000 * KIB


def test_a_container_that_sees_its_own_group_at_the_top(tmp_path: Path) -> None:
    root = write(tmp_path, proc__self__cgroup="0::/a/path/of/the/host\n")
    top = root / "sys/fs/cgroup"
    top.mkdir(parents=True)
    (top / "memory.max").write_text(f"{300 * KIB}\n")
    (top / "memory.current").write_text(f"{100 * KIB}\n")
    assert available_bytes(root) == 200 * KIB


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
