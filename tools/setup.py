"""Make .venv with the locked requirements, or say in one sentence why that cannot be.

Runs under any Python 3, however old, with the standard library alone, so that it can say so. The
file .venv/ready is written last and names what was installed: without it .venv is unfinished and is
made anew, so an interrupted install is never trusted.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys

OLDEST, NEWEST = (3, 11), (3, 13)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
READY = os.path.join(VENV, "ready")
INPUTS = ["requirements.lock", "requirements-torch.txt", "package-lock.json"]
NEEDED_GB = 3.0
ADVICE = [
    (
        r"No space left on device|Errno 28|ENOSPC|Disk quota",
        "The disk is full: free about 3 GB and run the command again.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SELF_SIGNED_CERT|self.signed certificate",
        "The network shows a certificate that is not trusted here. Behind a proxy that has its own, name its file in SSL_CERT_FILE and NODE_EXTRA_CA_CERTS and run the command again.",
    ),
    (
        r"name resolution|NewConnectionError|ConnectionError|Connection refused|Network is unreachable|timed out|getaddrinfo|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|No matching distribution|ProxyError|NameResolutionError",
        "Packages could not be fetched: the first run needs a network. Check the connection and run the command again.",
    ),
    (
        r"DO NOT MATCH THE HASHES|EINTEGRITY",
        "A package is not the one that was locked: do not use it; try again, and report it if it stays so.",
    ),
]


def stop(message):
    """Say what is wrong and what to do, and end."""
    sys.exit("set-up: " + message)


def has_venv(python):
    """Tell whether this Python runs and can make virtual environments."""
    code = "import ensurepip, venv"
    return subprocess.call([python, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


def fitting_python():
    """Return this Python if it is of a supported version, else one that is installed beside it."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return sys.executable
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        found = shutil.which("python3.{}".format(minor))
        if found and has_venv(found):  # pyenv puts names on the path that do not run
            return found
    stop(
        "this is Python {}.{}; the book needs 3.{} to 3.{}. Install one of them, or name it: make PYTHON=/path/to/python3.11 ...".format(
            sys.version_info[0], sys.version_info[1], OLDEST[1], NEWEST[1]
        )
    )


def wanted(python):
    """Describe what a finished .venv holds: the interpreter and the content of the requirement files."""
    digest = hashlib.sha256(python.encode())
    for name in INPUTS:
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest() + "\n"


def ready():
    """Read what the last finished set-up wrote; empty if there was none."""
    try:
        with open(READY) as file:
            return file.read()
    except OSError:
        return ""


def run(what, command):
    """Run a command with a line of progress; when it fails, translate its complaint."""
    print("set-up: " + what, flush=True)
    tail, count, live = [], 0, sys.stdout.isatty()
    try:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            env=environment(),
        )
        for line in process.stdout:
            tail = tail[-39:] + [line.rstrip()]
            if line.startswith(("Collecting ", "Installing ", "Downloading ")):
                count += line.startswith("Collecting ")
                if live:
                    print("\r\033[K  {:4d}  {}".format(count, line.strip()[:60]), end="", flush=True)
                elif count % 50 == 49 and line.startswith("Collecting "):
                    print("  {} packages".format(count + 1), flush=True)
        process.stdout.close()
        code = process.wait()
    except OSError as error:
        tail, code = [str(error)], 1
    if live and count:
        print("\r\033[K", end="")
    if code:
        text = "\n".join(tail)
        print("\n".join(tail[-12:]), file=sys.stderr)
        for pattern, advice in ADVICE:
            if re.search(pattern, text, re.IGNORECASE):
                stop(advice)
        stop(
            "'{}' failed (the lines above say why). Run the command again; it starts where nothing is half done.".format(
                what
            )
        )


def environment():
    """Pass the environment on, with the tools of .venv found first."""
    scripts = os.path.join(VENV, "bin")
    settings = {
        "PATH": scripts + os.pathsep + os.environ.get("PATH", ""),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    return dict(os.environ, **settings)


def check_place(python):
    """Refuse what would fail later: no venv, a full disk, a .venv that is something else."""
    if not has_venv(python):
        stop(
            "this Python comes without venv. On Debian or Ubuntu: apt install python3-venv; then run the command again."
        )
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < NEEDED_GB:
        stop(
            "only {:.1f} GB are free here and about {:.0f} are needed: free some and run the command again.".format(
                free, NEEDED_GB
            )
        )
    if os.path.isdir(VENV) and os.listdir(VENV) and not os.path.exists(os.path.join(VENV, "pyvenv.cfg")):
        stop(".venv is there but is no virtual environment: move it away and run the command again.")


def install(python):
    """Make .venv from nothing: locked packages, torch by its version, the package itself, KaTeX."""
    check_place(python)
    if os.path.isdir(VENV):
        print("set-up: .venv is unfinished or out of date; it is made anew", flush=True)
        shutil.rmtree(VENV)
    own = os.path.join(VENV, "bin", "python")
    pip = [own, "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
    run("a virtual environment in .venv", [python, "-m", "venv", VENV])
    run(
        "the locked packages (a minute or two)",
        pip + ["--require-hashes", "--no-deps", "-r", "requirements.lock"],
    )
    run("PyTorch", pip + ["-r", "requirements-torch.txt"])
    run("the book's package", pip + ["--no-deps", "--no-build-isolation", "-e", "."])
    formulas()


def formulas():
    """Fetch KaTeX, by the Node that came with the locked packages; nothing of it runs at install."""
    npm = os.path.join(VENV, "bin", "npm")
    run(
        "KaTeX, which sets the formulas",
        [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"],
    )


def main():
    """Do what is missing and nothing else."""
    python = fitting_python()
    target = wanted(python)
    try:
        if ready() != target:
            if os.path.exists(READY):
                os.remove(READY)
            install(python)
            with open(READY + ".partial", "w") as file:
                file.write(target)
            os.rename(READY + ".partial", READY)
        elif not os.path.isdir(os.path.join(ROOT, "node_modules", "katex", "dist")):
            formulas()
    except KeyboardInterrupt:
        stop("interrupted. The next make starts the installation again.")
    except OSError as error:
        if error.errno == 28:
            stop(ADVICE[0][1])
        raise


if __name__ == "__main__":
    main()
