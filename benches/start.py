#!/usr/bin/env python3
"""How long the daemon takes from its start to its word that it is ready, and how much memory it holds after
some seconds of the demo's clip: `benches/start.py [BINARY]`."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = f"""
[store]
path = "doorward.db"
[camera]
source = "replay"
[camera.replay]
path = "{ROOT}/tests/fixtures/door.mjpeg"
repeat = true
"""


def run(binary: Path, folder: Path) -> tuple[float, dict[str, int]]:
    """Seconds to ready, and kilobytes by the kernel's names for them."""
    place = folder / "notify"
    place.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as words:
        words.bind(str(place))
        words.settimeout(10)
        started = time.monotonic()
        daemon = subprocess.Popen([binary, "--config", folder / "doorward.toml", "run"],
                                  env=os.environ | {"NOTIFY_SOCKET": str(place), "RUST_LOG": "error"},
                                  stdout=subprocess.DEVNULL)
        try:
            while b"READY=1" not in words.recv(4096):
                pass
            ready = time.monotonic() - started
            time.sleep(5)
            lines = Path(f"/proc/{daemon.pid}/status").read_text().splitlines()
        finally:
            daemon.terminate()
            daemon.wait()
    held = [line.split() for line in lines if line.startswith(("VmRSS", "RssAnon"))]
    return ready, {name.rstrip(":"): int(kilobytes) for name, kilobytes, _ in held}


def main() -> None:
    binary = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/doorward").resolve()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "doorward.toml").write_text(CONFIG)
        for _ in range(3):
            ready, held = run(binary, Path(folder))
            print(f"ready after {ready:.2f} s, {held['VmRSS']} KiB resident, {held['RssAnon']} of them its own")


if __name__ == "__main__":
    main()
