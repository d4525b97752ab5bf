"""The emulated machine: power, a root shell, a folder that it sees as /host.

Its clock counts instructions (one every two nanoseconds while it works, as time passes while it
idles), so that what it measures does not depend on how busy the host is. It never runs faster
than the host's clock.
"""

import base64
import shutil
import socket
import subprocess
import time
from pathlib import Path

# Seconds of the host: a busy host emulates slowly.
BOOT = 3000
COMMAND = 1800


class Failed(Exception):
    """A check that did not hold, or a command that failed."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Machine:
    def __init__(self, base: Path, work: Path):
        shutil.rmtree(work, ignore_errors=True)
        self.share = work / "host"
        self.share.mkdir(parents=True)
        self.base, self.work = base, work
        self.disk = work / "disk.qcow2"
        self.port = free_port()
        self.qemu = self.shell = None
        backing = ["-b", str(base / "disk.img"), "-F", "raw"]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, self.disk], check=True)

    def start(self):
        """Powers on and waits for the shell."""
        path = self.work / "shell"
        path.unlink(missing_ok=True)
        console = self.work / "console.log"
        self.qemu = subprocess.Popen(
            # fmt: off
            [
                "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a76", "-m", "768",
                "-accel", "tcg", "-icount", "shift=1",
                "-nodefaults", "-nographic", "-no-reboot", "-monitor", "none",
                "-serial", f"file:{console}",
                "-kernel", self.base / "vmlinuz", "-initrd", self.base / "initrd.img",
                "-append", "root=/dev/vda rw console=ttyAMA0 quiet net.ifnames=0 mitigations=off",
                "-drive", f"if=none,id=disk,file={self.disk},format=qcow2",
                "-device", "virtio-blk-pci,drive=disk",
                "-fsdev", f"local,id=host,path={self.share},security_model=none,readonly=on",
                "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
                "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-10.0.2.15:1883",
                "-device", "virtio-net-pci,netdev=net,romfile=",
                "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
                "-chardev", f"socket,id=shell,path={path},server=on,wait=off",
                "-device", "virtserialport,chardev=shell,name=shell",
            ],
            # fmt: on
        )
        begun = time.monotonic()
        while not path.exists():
            self._alive(begun, BOOT)
            time.sleep(0.1)
        self.shell = socket.socket(socket.AF_UNIX)
        self.shell.connect(str(path))
        # What is written before somebody listens is kept by the port.
        self.sh("true", BOOT)
        print(f"   booted in {time.monotonic() - begun:.0f} s, {self.uptime():.0f} s of its own", flush=True)

    def sh(self, command: str, timeout=COMMAND) -> str:
        """Runs a command as root and returns what it prints; a failure is an error."""
        code = base64.b64encode(command.encode()).decode()
        line = f'eval "$(echo {code} | base64 -d)" </dev/null 2>&1; printf "\\n@@@ %s @@@\\n" $?\n'
        self.shell.sendall(line.encode())
        begun, got = time.monotonic(), b""
        self.shell.settimeout(5)
        while not got.endswith(b" @@@\n"):
            try:
                got += self.shell.recv(65536)
            except TimeoutError:
                self._alive(begun, timeout, command)
        text, _, status = got.decode(errors="replace").rpartition("\n@@@ ")
        text = text.strip("\n")
        if not status.startswith("0 "):
            raise Failed(f"`{command}` ended with {status.split()[0]}:\n{text}")
        return text

    def now(self) -> float:
        return float(self.sh("date +%s.%N"))

    def uptime(self) -> float:
        return float(self.sh("cut -d' ' -f1 /proc/uptime"))

    def wait(self, what: str, command: str, seconds: float) -> str:
        """Waits for a command to succeed, for so many seconds of the machine's own."""
        loop = f"for i in $(seq {int(seconds * 2)}); do if {command}; then exit 0; fi; sleep 0.5; done; exit 1"
        try:
            return self.sh(f"( {loop} )")
        except Failed as error:
            raise Failed(f"waited {seconds} s in vain for {what}: {error}") from None

    def put(self, source: Path, name=None):
        """Lets the machine see a file as /host/NAME."""
        shutil.copyfile(source, self.share / (name or source.name))
        (self.share / (name or source.name)).chmod(0o755)

    def cut_power(self):
        self.qemu.kill()
        self.qemu.wait()
        self.shell.close()

    def _alive(self, begun, timeout, what="boot"):
        if self.qemu.poll() is not None:
            raise Failed(f"the machine ended during {what}")
        if time.monotonic() - begun > timeout:
            raise Failed(f"{what}: no answer in {timeout} s; see {self.work / 'console.log'}")
