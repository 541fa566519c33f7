"""Finds or prepares a CPU libtorch 2.11.0 and prints the path of its directory. Called by ci/libtorch.

    ci/libtorch            prints the path; prepares the directory first where there is none
    ci/libtorch --verify   also reads every file again and compares its sha256
    ci/libtorch --cuda     what a GPU takes besides: prints the path of a whole torch 2.11.0 for CUDA 13.0, python3's
                           where it has one, else one that pip installs into the cache (2.7 GB, 5 GB on disk). The
                           program finds both by itself.

It takes the first of these:
1. $LIBTORCH, if set;
2. the directory that an earlier call prepared in the cache, if it is whole;
3. a torch 2.11.0 installed for python3, copied to the cache;
4. the wheels of PyPI, which pip downloads (544 MB) to the cache; only the prepared directory stays there.

The wheel is the CUDA build. What is taken from it are the headers and the libraries for the CPU. These need two small
libraries of CUDA in order to be loaded, and no GPU.

Exit status 0 with the path as the only line on stdout, or 2 with the reason on stderr.
"""

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSION = "2.11.0"

# The CUDA version of the build.
CUDA = "13.0"

# What pip is asked for, the platform tag of the wheel, and its sha256. Python 3.12's wheel serves whatever python3 runs
# this: the Python version makes no difference to the libraries that are taken from it.
WHEELS = [
    ("torch==2.11.0", "manylinux_2_28_x86_64", "0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756"),
    ("nvidia-cuda-runtime==13.0.96", "manylinux_2_17_x86_64", "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548"),
    ("nvidia-cuda-cupti==13.0.85", "manylinux_2_25_x86_64", "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8"),
]  # fmt: skip
DOWNLOAD_BYTES = 544_000_000
PREPARED_BYTES = 530_000_000

# A whole torch with all of CUDA's libraries: what is downloaded and what it takes, wheels and all.
CUDA_DOWNLOAD_BYTES = 2_700_000_000
CUDA_BYTES = 8_000_000_000

# mapped_sha256 of the libraries that compute: what the golden digests were made with.
COMPUTING = {
    "libtorch_cpu.so": "8ff417911edea9758a7757f428713e5c95df10df3aea4a5985e1cf0814a292d3",
    "libc10.so": "b6a80816fa7197dd901a2ee98510e68dbe58ee7013994053bed88c92a14af5cb",
}

# The prepared directory's list of its files, each with size, modification time and sha256.
RECORD = "selffer-record.json"


class Unable(Exception):
    """There is no libtorch to be had; the message says why and what to do."""


def main():
    parser = argparse.ArgumentParser(prog="ci/libtorch", description=f"Print the path of a CPU libtorch {VERSION}.")
    parser.add_argument("--verify", action="store_true", help="read every file again and compare its sha256")
    parser.add_argument("--cuda", action="store_true", help="print the path of a whole torch, for GPUs")
    options = parser.parse_args()
    thorough = options.verify
    try:
        check_machine()
        if options.cuda:
            print(for_cuda(cache_directory()))
            return 0
        given = os.environ.get("LIBTORCH")
        print(check_given(given, thorough) if given else cached(cache_directory(), thorough))
    except Unable as error:
        say(str(error))
        return 2
    except OSError as error:
        say(f"{error}. The cache can be elsewhere: set XDG_CACHE_HOME to a directory with 1.5 GB free.")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def say(message):
    print(f"ci/libtorch: {message}", file=sys.stderr, flush=True)


def check_machine():
    system = os.uname()
    if (system.sysname, system.machine) != ("Linux", "x86_64"):
        raise Unable(f"this is {system.sysname} on {system.machine}; selffer builds and runs on Linux on x86-64 only.")
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or "unknown"
    except (ValueError, OSError):
        libc = "unknown"
    glibc = re.fullmatch(r"glibc (\d+)\.(\d+).*", libc)
    if glibc is None or (int(glibc[1]), int(glibc[2])) < (2, 28):
        raise Unable(f"libtorch {VERSION} needs glibc 2.28 or newer (Debian 10, Ubuntu 18.10); here it is {libc}.")


def cache_directory():
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "selffer"


def check_given(given, thorough):
    """The directory $LIBTORCH, made absolute because build scripts run elsewhere."""
    directory = Path(given).resolve()
    wrong = misfit(directory)
    if wrong:
        raise Unable(
            f"LIBTORCH={given}: {wrong}. Unset LIBTORCH to have one prepared, or set it to a libtorch {VERSION} "
            "(torch's directory in site-packages is one)."
        )
    if thorough:
        warn_of_other_bytes(directory, computes_as_pinned(directory))
    return directory


def cached(cache, thorough):
    """The prepared directory in the cache; prepares it if it is missing or damaged."""
    directory = cache / f"libtorch-{VERSION}"
    if damage(directory, thorough):
        cache.mkdir(parents=True, exist_ok=True)
        with lock(cache / "lock") as held:
            wrong = damage(directory, thorough)  # a call that had the lock may have mended it
            if wrong:
                if directory.exists():
                    say(f"{directory} is damaged: {wrong}. Preparing it again.")
                prepare(directory, held)
    warn_of_other_bytes(directory, read_record(directory)["computes_as_pinned"])
    return directory


@contextlib.contextmanager
def lock(path):
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another call, which holds {path}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def damage(directory, thorough):
    """What is wrong with a prepared directory, or None.

    A file is read only where its size or time says that it may have changed: reading all takes up to 2 s, this 0.1 s.
    """
    try:
        files = read_record(directory)["files"]
    except (OSError, ValueError, KeyError):
        return f"{RECORD} is missing or unreadable"
    for name, (size, mtime_ns, digest) in files.items():
        path = directory / name
        try:
            stat = path.stat()
            if stat.st_size != size:
                return f"{name} has {stat.st_size} bytes instead of {size}"
            if (thorough or stat.st_mtime_ns != mtime_ns) and sha256(path) != digest:
                return f"{name} has other bytes than at first"
        except OSError as error:
            return f"{name}: {error.strerror}"
    return None


def read_record(directory):
    return json.loads((directory / RECORD).read_text())


def for_cuda(cache):
    """The torch directory that a GPU computes with: python3's, or one of pip's in the cache."""
    spec = importlib.util.find_spec("torch")
    if spec is not None and spec.origin is not None:
        installed = Path(spec.origin).parent
        wrong = misfit_for_cuda(installed)
        if not wrong:
            return installed
        say(f"python3's {installed}: {wrong}")
    directory = cache / f"torch-{VERSION}-cuda"
    cache.mkdir(parents=True, exist_ok=True)
    with lock(cache / "lock") as held:
        wrong = misfit_for_cuda(directory / "torch")
        if wrong:
            for leftover in cache.glob("preparing-*"):
                shutil.rmtree(leftover)
            with tempfile.TemporaryDirectory(prefix="preparing-", dir=cache) as staging:
                need_space(Path(staging), CUDA_BYTES)
                say(f"downloading torch {VERSION} with CUDA's libraries ({CUDA_DOWNLOAD_BYTES // 1_000_000} MB, once)")
                fresh = Path(staging) / "site"
                run_pip(["install", "--no-compile", f"--target={fresh}", f"torch=={VERSION}"], staging, held)
                wrong = misfit_for_cuda(fresh / "torch")
                if wrong:
                    raise Unable(f"pip installed a torch that does not fit: {wrong}.")
                os.sync()
                if directory.exists():
                    directory.rename(Path(staging) / "damaged")
                fresh.rename(directory)
    return directory / "torch"


def misfit_for_cuda(torch):
    """Why a torch directory is not the one that the program opens, or None. It is what src/numerics/cuda.rs asks."""
    if not (torch / "lib" / "libtorch_cuda.so").is_file():
        return "it has no lib/libtorch_cuda.so"
    try:
        text = (torch / "version.py").read_text()
    except OSError:
        return "it has no version.py"
    version = re.search(r"^__version__ = '([^'+]*)", text, re.MULTILINE)
    cuda = re.search(r"^cuda\b.*= '([^']*)'", text, re.MULTILINE)
    if not version or version[1] != VERSION or not cuda or cuda[1] != CUDA:
        return f"it is another build than torch {VERSION} for CUDA {CUDA}"
    return None


def prepare(directory, held):
    """Fills `directory`, all at once by a rename. The caller holds the lock, so what is left half-done is rubbish."""
    cache = directory.parent
    for leftover in cache.glob("preparing-*"):
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix="preparing-", dir=cache) as staging:
        fresh = Path(staging) / "libtorch"
        if not from_installed(fresh):
            from_wheels(fresh, Path(staging), held)
        (fresh / "build-version").write_text(VERSION + "\n")  # torch-sys reads it
        as_pinned = computes_as_pinned(fresh)
        files = {}
        for path in sorted(path for path in fresh.rglob("*") if path.is_file()):
            stat = path.stat()
            files[path.relative_to(fresh).as_posix()] = (stat.st_size, stat.st_mtime_ns, sha256(path))
        (fresh / RECORD).write_text(json.dumps({"computes_as_pinned": as_pinned, "files": files}, indent=0))
        os.sync()
        if directory.exists():
            directory.rename(Path(staging) / "damaged")
        fresh.rename(directory)
    say(f"libtorch {VERSION} is ready in {directory}")


def from_installed(fresh):
    """Copies what is needed from an installed torch. False if none fits. Does not import it, which takes seconds."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    torch = Path(spec.origin).parent
    if header_version(torch) != VERSION:
        return False
    say(f"copying libtorch {VERSION} from the installed {torch}")
    need_space(fresh.parent, PREPARED_BYTES)
    site = torch.parent
    for pattern in ["torch/include/**/*", "torch/lib/*", "nvidia/*/lib/*", "*.dist-info/licenses/**/*"]:
        for path in site.glob(pattern):
            place = destination(path.relative_to(site).as_posix())
            if place and path.is_file():
                with open(path, "rb") as source:
                    write(source, fresh / place)
    wrong = misfit(fresh) or load_error(fresh)
    if wrong:
        say(f"the installed torch cannot be used ({wrong})")
        shutil.rmtree(fresh, ignore_errors=True)
    return not wrong


def from_wheels(fresh, staging, held):
    """Downloads the pinned wheels and extracts what is needed."""
    # pip holds a wheel twice for a moment, and the wheels are there until all is extracted.
    need_space(staging, DOWNLOAD_BYTES + max(DOWNLOAD_BYTES, PREPARED_BYTES))
    say(f"downloading libtorch {VERSION} ({DOWNLOAD_BYTES // 1_000_000} MB, once)")
    for requirement, platform, pinned in WHEELS:
        wheel = download(requirement, platform, staging, held)
        if sha256(wheel) != pinned:
            raise Unable(
                f"pip got a {wheel.name} with sha256 {sha256(wheel)}, pinned is {pinned}. Do not trust its source."
            )
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                place = destination(member.filename)
                if place and not member.is_dir():
                    with archive.open(member) as source:
                        write(source, fresh / place)
        wheel.unlink()
    wrong = misfit(fresh) or load_error(fresh)
    if wrong:
        raise Unable(f"the downloaded libtorch cannot be used: {wrong}")


def download(requirement, platform, staging, held):
    """The wheel that pip downloads for a requirement."""
    wheels = staging / "wheels"
    options = [
        "download", "--no-deps", "--implementation=cp", "--python-version=3.12", "--abi=cp312",
        f"--platform={platform}", f"--dest={wheels}", requirement,
    ]  # fmt: skip
    run_pip(options, staging, held)
    [wheel] = wheels.glob("*.whl")
    return wheel


def run_pip(options, staging, held):
    """Runs pip; what it is asked for comes last in `options`. It inherits the lock: were this killed, it would go on."""
    if importlib.util.find_spec("pip") is None:
        raise Unable(f"{sys.executable} has no pip. Install it with: apt-get install python3-pip")
    pip = subprocess.run(
        [sys.executable, "-m", "pip", options[0], "--no-cache-dir", "--disable-pip-version-check",
         "--only-binary=:all:", *options[1:]],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(staging)},  # /tmp may be too small
        pass_fds=[held.fileno()],
    )
    if pip.returncode != 0:
        last_lines = "\n".join(pip.stderr.decode(errors="replace").strip().splitlines()[-3:])
        raise Unable(
            f"pip could not download {options[-1]}. Is there a network? If not, set LIBTORCH to a libtorch {VERSION}, "
            f"or install torch {VERSION} for {sys.executable}. pip's last lines:\n{last_lines}"
        )


def destination(name):
    """Where a file of a wheel (or of site-packages) goes in the prepared directory; None if it is not needed."""
    if name.startswith("torch/include/"):
        return name[len("torch/"):]
    needed = r"(?:torch|nvidia/[^/]+)/(lib/lib(?:torch_cpu|torch|c10|gomp[-\w]*|cudart|cupti)\.so[.\d]*)"
    library = re.fullmatch(needed, name)
    if library:
        return library[1]
    licence = re.fullmatch(r"(torch|nvidia_cuda_runtime|nvidia_cuda_cupti)-[^/]*\.dist-info/licenses/(.+)", name)
    if licence:
        return f"licenses/{licence[1]}/{licence[2]}"
    return None


def write(source, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def need_space(directory, needed_bytes):
    free_bytes = shutil.disk_usage(directory).free
    if free_bytes < needed_bytes:
        raise Unable(
            f"{directory.parent} has {free_bytes // 1_000_000} MB free, {needed_bytes // 1_000_000} MB are needed. "
            "Free some, or set XDG_CACHE_HOME to a directory with more."
        )


def misfit(directory):
    """Why a directory is not a libtorch of the right version, or None."""
    for name in ["lib/libtorch_cpu.so", "lib/libtorch.so", "lib/libc10.so", "include"]:
        if not (directory / name).exists():
            return f"it has no {name}"
    version = header_version(directory)
    if version != VERSION:
        return f"it is version {version or 'unknown (no include/torch/headeronly/version.h)'}, not {VERSION}"
    return None


def header_version(directory):
    """The version in the headers, which is what gets compiled; None without them."""
    try:
        header = (directory / "include/torch/headeronly/version.h").read_text()
    except OSError:
        return None
    version = re.search(r'#define TORCH_VERSION\s*\\?\s*"([^"]*)"', header)
    return version[1] if version else None


def load_error(directory):
    """Why libtorch_cpu.so cannot be loaded on this machine, or None."""
    code = "import ctypes, sys\ntry: ctypes.CDLL(sys.argv[1])\nexcept OSError as error: sys.exit(str(error))"
    library = directory / "lib" / "libtorch_cpu.so"
    loader = subprocess.run([sys.executable, "-c", code, str(library)], capture_output=True, check=False)
    if loader.returncode == 0:
        return None
    return loader.stderr.decode(errors="replace").strip() or f"loading it ended with status {loader.returncode}"


def warn_of_other_bytes(directory, as_pinned):
    if not as_pinned:
        say(
            f"{directory} is another build of libtorch {VERSION} than the committed golden digests were made with, so "
            "digests may differ from them"
        )


def computes_as_pinned(directory):
    return all(mapped_sha256(directory / "lib" / name) == pinned for name, pinned in COMPUTING.items())


def mapped_sha256(path):
    """sha256 of what the loader maps of a library (the LOAD segments of an ELF64 file).

    The wheels for different Python versions have the same code in libtorch_cpu.so; the files differ only in the order
    of local names in the symbol table, which is never mapped.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        header = file.read(64)
        if len(header) < 64 or not header.startswith(b"\x7fELF\x02"):
            return "not an ELF64 file"
        (table,) = struct.unpack_from("<Q", header, 32)
        entry_bytes, entries = struct.unpack_from("<HH", header, 54)
        for entry in range(entries):
            file.seek(table + entry * entry_bytes)
            kind, _flags, offset, _virtual, _physical, size = struct.unpack("<IIQQQQ", file.read(40))
            if kind == 1:  # PT_LOAD
                file.seek(offset)
                feed(digest, file, size)
    return digest.hexdigest()


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        feed(digest, file, os.fstat(file.fileno()).st_size)
    return digest.hexdigest()


def feed(digest, file, size):
    while size > 0:
        block = file.read(min(size, 1 << 20))
        if not block:
            break
        digest.update(block)
        size -= len(block)


if __name__ == "__main__":
    sys.exit(main())
