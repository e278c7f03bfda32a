"""What a task holds, read by ranks on its host and on others; and that it is gone with the task."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sparkdl.cluster.rank.secondary_errors import is_secondary
from sparkdl.cluster.rpc import derived
from sparkdl.cluster.spool import spool_file as spool_file_module
from sparkdl.cluster.spool.spool_file import SPOOL, RankSpoolSource, SpoolFile, SpoolLostError, roomiest_folder
from sparkdl.errors import ClusterError, DataError

pytestmark = pytest.mark.timeout(60)
DATA = bytes(range(256)) * 4096


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPARK_LOCAL_DIRS", f"/no/such/folder,{tmp_path}")
    return tmp_path


@pytest.fixture
def spool_file(folder):
    file = SpoolFile("secret", 20.0)
    os.write(file.descriptor, DATA)
    yield file
    file.close()


def offered(spool_file, host="here"):
    return {**spool_file.offer("127.0.0.1", [1, 2]), "host": host, "address": "127.0.0.1"}


def reader(offer, own_host="here", secret="secret", timeout=20.0):
    return RankSpoolSource(offer, derived(secret, SPOOL), own_host, timeout)


def test_a_rank_on_the_same_host_reads_the_file_itself(spool_file):
    held = reader(offered(spool_file))
    assert held.local
    assert (held.host, held.index) == ("here", [1, 2])
    assert held.read(300, 5000) == DATA[300:5300]
    assert held.read(0, len(DATA)) == DATA
    held.close()


def test_a_rank_on_another_host_asks_the_task(spool_file):
    held = reader(offered(spool_file), own_host="there")
    assert not held.local
    results = {}

    def read(number):
        results[number] = [held.read(start, 70_000 + number) for start in range(0, 500_000, 50_000)]

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for number, parts in results.items():
        assert parts == [DATA[start : start + 70_000 + number] for start in range(0, 500_000, 50_000)]
    assert len(results) == 4
    held.close()


def test_a_process_of_another_container_with_the_same_number_is_not_read(spool_file):
    offer = offered(spool_file)
    held = reader({**offer, "file": [offer["file"][0], offer["file"][1] + 1]})
    assert not held.local
    assert held.read(0, 10) == DATA[:10]
    held.close()


@pytest.mark.parametrize("own_host", ["here", "there"])
def test_bytes_that_are_not_there_are_an_error_with_the_host(spool_file, own_host):
    held = reader(offered(spool_file), own_host)
    with pytest.raises(SpoolLostError, match=f"host here has no 20 bytes at {len(DATA) - 10:,}"):
        held.read(len(DATA) - 10, 20)
    assert held.read(len(DATA) - 10, 10) == DATA[-10:]
    held.close()


def test_the_secret_of_the_coordinator_or_another_one_opens_nothing(spool_file):
    offer = offered(spool_file)
    with pytest.raises(SpoolLostError, match="host here cannot be reached at 127.0.0.1:.*secret"):
        reader(offer, "there", secret="another").read(0, 10)
    with pytest.raises(SpoolLostError, match="secret"):
        RankSpoolSource(offer, "secret", "there", 20.0).read(0, 10)


def test_a_task_that_is_gone_is_a_secondary_with_its_host(spool_file):
    held = reader(offered(spool_file), "there")
    assert held.read(0, 10) == DATA[:10]
    spool_file.close()
    with pytest.raises(SpoolLostError, match="task on host here .* is gone"):
        held.read(0, 10)
    with pytest.raises(SpoolLostError, match="host here cannot be reached") as raised:
        held.read(0, 10)
    error = DataError("a block cannot be read")
    error.__cause__ = raised.value
    assert is_secondary(error)


def test_a_task_that_does_not_answer_is_waited_for_only_so_long(spool_file, monkeypatch):
    busy = threading.Event()
    monkeypatch.setattr(spool_file_module, "read_exactly", lambda *_: busy.wait(30) and b"")
    held = reader(offered(spool_file), "there", timeout=0.5)
    with pytest.raises(SpoolLostError, match="gave no answer within 0.5 s"):
        held.read(0, 10)
    busy.set()


def test_nothing_of_it_can_be_seen_in_the_folder(spool_file, folder):
    assert spool_file.folder == str(folder) == roomiest_folder()
    assert list(folder.iterdir()) == []
    assert os.fstat(spool_file.descriptor).st_mode & 0o777 == 0o600


def test_a_killed_task_leaves_no_byte(folder):
    program = (
        "import os, sys; from sparkdl.cluster.spool.spool_file import SpoolFile; s = SpoolFile('s', 5.0); "
        "os.write(s.descriptor, bytes(1 << 20)); "
        "print(os.getpid(), s.descriptor, flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], text=True, **pipes) as task:
        assert task.stdout is not None
        pid, descriptor = task.stdout.readline().split()
        file = os.stat(f"/proc/{pid}/fd/{descriptor}")
        assert (file.st_size, file.st_nlink) == (1 << 20, 0)
        task.kill()
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(spool_file_module, "roomiest_folder", lambda: "/proc/self")
    with pytest.raises(ClusterError, match=r"spooled to /proc/self .*spark\.local\.dir"):
        SpoolFile("secret", 5.0)


def test_a_stranger_on_the_port_is_not_believed():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def pretend():
            sock, _ = listener.accept()
            with sock:
                sock.sendall(bytes(32))
                sock.recv(64)
                sock.sendall(bytes(32))

        thread = threading.Thread(target=pretend)
        thread.start()
        offer = {"host": "here", "address": "127.0.0.1", "port": listener.getsockname()[1], "index": None}
        with pytest.raises(SpoolLostError, match="does not know the secret"):
            reader(offer, "there").read(0, 10)
        thread.join(30)
