"""Set-up says in one sentence what to do, and never trusts what it has not finished."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]


def load_tool(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def setup(tmp_path: Path) -> ModuleType:
    """Return tools/setup.py as it stands in a clone of its own, with nothing installed."""
    (tmp_path / "tools").mkdir()
    tool = tmp_path / "tools" / "setup.py"
    tool.write_bytes((ROOT / "tools" / "setup.py").read_bytes())
    for name in ("requirements.lock", "requirements-torch.txt", "package-lock.json"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return load_tool("setup_of_a_clone", tool)


@pytest.fixture
def commands(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Record what would be run, and let it succeed; a virtual environment is a folder with its mark."""
    seen: list[list[str]] = []

    def run(_: str, command: list[str]) -> None:
        seen.append(command)
        if "venv" in command:
            Path(setup.VENV).mkdir()
            (Path(setup.VENV) / "pyvenv.cfg").touch()
        if "ci" in command:
            (Path(setup.ROOT) / "node_modules" / "katex" / "dist").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(setup, "run", run)
    return seen


def test_a_fresh_clone_is_set_up_once(setup, commands):
    setup.main()
    joined = [" ".join(command) for command in commands]
    assert "--require-hashes" in joined[1]
    assert "requirements-torch.txt" in joined[2]
    assert len(joined) == 5
    setup.main()
    assert len(commands) == 5


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-torch.txt", "package-lock.json"])
def test_a_new_lock_is_installed_from_nothing(setup, commands, name):
    setup.main()
    leftover = Path(setup.VENV) / "leftover"
    leftover.touch()
    with (Path(setup.ROOT) / name).open("a") as file:
        file.write("\n# renewed\n")
    setup.main()
    assert len(commands) == 10
    assert not leftover.exists()


@pytest.mark.parametrize("step", range(5))
def test_an_install_interrupted_at_any_step_starts_again(setup, commands, monkeypatch, step):
    run = setup.run

    def interrupted(what: str, command: list[str]) -> None:
        if len(commands) == step:
            raise KeyboardInterrupt
        run(what, command)

    monkeypatch.setattr(setup, "run", interrupted)
    with pytest.raises(SystemExit, match=r"interrupted.* next make starts the installation again"):
        setup.main()
    assert not Path(setup.READY).exists()
    commands.clear()
    monkeypatch.setattr(setup, "run", run)
    setup.main()
    assert len(commands) == 5
    assert Path(setup.READY).exists()


@pytest.mark.usefixtures("commands")
def test_a_half_deleted_environment_is_not_trusted(setup, monkeypatch):
    setup.main()
    with (Path(setup.ROOT) / "requirements.lock").open("a") as file:
        file.write("\n# renewed\n")

    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(setup.shutil, "rmtree", interrupted)
    with pytest.raises(SystemExit, match="interrupted"):
        setup.main()
    assert not Path(setup.READY).exists()


def test_a_finished_environment_without_katex_gets_katex_alone(setup, commands):
    setup.main()
    katex = Path(setup.ROOT) / "node_modules" / "katex"
    (katex / "dist").rename(katex / "gone")
    commands.clear()
    setup.main()
    (command,) = commands
    assert command[1:2] == ["ci"]


@pytest.mark.parametrize("version", [(3, 10), (2, 7), (3, 14)])
def test_another_python_is_refused_by_name(setup, monkeypatch, version):
    monkeypatch.setattr(setup.sys, "version_info", (*version, 0))
    monkeypatch.setattr(setup.shutil, "which", lambda _: None)
    with pytest.raises(
        SystemExit, match=rf"this is Python {version[0]}\.{version[1]}; the book needs 3\.11 to 3\.13"
    ):
        setup.main()


def test_beside_an_old_python_a_newer_one_is_found(setup, monkeypatch):
    monkeypatch.setattr(setup.sys, "version_info", (3, 8, 0))
    there = {"python3.12": "/there/python3.12", "python3.11": "/there/python3.11"}
    monkeypatch.setattr(setup.shutil, "which", there.get)
    monkeypatch.setattr(setup, "has_venv", lambda _: True)
    assert setup.fitting_python() == "/there/python3.12"


def test_a_python_that_is_a_name_alone_is_passed_over(setup, monkeypatch, tmp_path):
    monkeypatch.setattr(setup.sys, "version_info", (3, 8, 0))
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    there = {"python3.13": str(shim), "python3.11": sys.executable}
    monkeypatch.setattr(setup.shutil, "which", there.get)
    assert setup.fitting_python() == sys.executable


def test_setup_can_be_read_by_an_old_python():
    source = (ROOT / "tools" / "setup.py").read_text(encoding="utf-8")
    assert "from __future__" not in source
    assert not re.search(r"\bf[\"']", source), "an f-string: Python 2 and 3.5 would give a syntax error"
    assert ":=" not in source


def test_a_python_without_venv_is_told_what_to_install(setup, monkeypatch):
    monkeypatch.setattr(setup.subprocess, "call", lambda *_, **__: 1)
    with pytest.raises(SystemExit, match="apt install python3-venv"):
        setup.main()


def test_too_small_a_disk_is_refused_before_anything_is_made(setup, commands, monkeypatch):
    monkeypatch.setattr(setup.shutil, "disk_usage", lambda _: SimpleNamespace(free=1.2e9))
    with pytest.raises(SystemExit, match=r"only 1\.2 GB are free"):
        setup.main()
    assert not commands
    assert not Path(setup.VENV).exists()


@pytest.mark.usefixtures("commands")
def test_a_folder_that_is_no_environment_is_left_alone(setup):
    keep = Path(setup.VENV) / "letters.txt"
    keep.parent.mkdir()
    keep.touch()
    with pytest.raises(SystemExit, match="no virtual environment: move it away"):
        setup.main()
    assert keep.exists()


@pytest.mark.parametrize(
    ("complaint", "advice"),
    [
        ("ERROR: [Errno 28] No space left on device", "The disk is full"),
        ("OSError: ENOSPC", "The disk is full"),
        (
            "Failed to establish a new connection: [Errno -3] Temporary failure in name resolution",
            "needs a network",
        ),
        ("ERROR: No matching distribution found for torch==2.13.0", "needs a network"),
        ("npm error code SELF_SIGNED_CERT_IN_CHAIN", "NODE_EXTRA_CA_CERTS"),
        ("ConnectionError: SSLError: CERTIFICATE_VERIFY_FAILED", "SSL_CERT_FILE"),
        ("npm error code ENOTFOUND", "needs a network"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "not the one that was locked"),
        ("npm error code EINTEGRITY", "not the one that was locked"),
        ("error: something new", "'the packages' failed"),
    ],
)
def test_a_complaint_is_translated(setup, capsys, complaint, advice):
    command = [sys.executable, "-c", "import sys; print(sys.argv[1]); sys.exit(1)", complaint]
    with pytest.raises(SystemExit, match=advice):
        setup.run("the packages", command)
    assert complaint in capsys.readouterr().err


def test_a_command_that_is_not_there_is_an_error_too(setup):
    with pytest.raises(SystemExit, match="failed"):
        setup.run("the packages", [str(Path(setup.ROOT) / "no-such-command")])


def test_a_command_that_succeeds_says_nothing_more(setup, capsys):
    setup.run("the packages", [sys.executable, "-c", "print('noise')"])
    assert capsys.readouterr().out == "set-up: the packages\n"


# --- serving ---------------------------------------------------------------------------------------


def serve(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "tools" / "book.py"), "serve", *arguments]
    settings = {**os.environ, "BROWSER": "true", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=settings
    )


def test_a_port_in_use_is_passed_over_and_a_named_one_is_reported():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = serve(str(port))
        said, _ = done.communicate(timeout=30)
        assert done.returncode == 1
        assert f"Port {port} is in use: name another" in said


def test_two_servers_find_two_ports_and_ctrl_c_ends_them():
    servers = [serve(), serve()]
    try:
        lines = [server.stdout.readline() for server in servers]
    finally:
        time.sleep(0.3)
        for server in servers:
            server.send_signal(signal.SIGINT)
        ends = [server.wait(timeout=30) for server in servers]
        for server in servers:
            server.stdout.close()
    ports = [re.search(r"http://127\.0\.0\.1:(\d+)/", line)[1] for line in lines]
    assert len(set(ports)) == 2
    assert ends == [0, 0]
