"""What all checks share: the machine, the subscriber, the cameras, the service."""

import io
import subprocess
from pathlib import Path

from machine import Failed, Machine
from outside import Subscriber
from PIL import Image

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parent / "fixtures"
SIZE = (640, 480)

# What the service says of itself.
STATUS = "systemctl show -P StatusText doorward"

# Frames of the clip: ada stands, cleo stands, nobody is there.
ADA, CLEO, NOBODY = (36, 28), (105, 28), (0, 14)


class Bench:
    def __init__(self, base: Path, work: Path, package: Path):
        self.machine = Machine(base, work)
        self.package = package
        self.outside = None
        self.since = 0
        self.tables = {}

    def begin(self):
        put, share = self.machine.put, self.machine.share
        put(self.package, "doorward.deb")
        for photo in ("ada.jpg", "bela.jpg"):
            put(FIXTURES / photo)
        put(FIXTURES / "door.mjpeg", "door.MJPG")
        (share / "door.YUYV").write_bytes(b"".join(yuyv(jpeg) for jpeg in frames("door.mjpeg")))
        feed = [str(share / "feed"), str(HERE / "feed.c")]
        subprocess.run(["aarch64-linux-gnu-gcc", "-O2", "-o", *feed], check=True)
        print("== booting", flush=True)
        self.machine.start()
        self.outside = Subscriber(self.machine.port)

    def end(self):
        if self.outside:
            self.outside.close()
        if self.machine.qemu:
            self.machine.cut_power()

    def log(self) -> str:
        """The service's last words, for a failure."""
        try:
            return self.machine.sh("journalctl -u doorward -n 40 --no-pager -o short-precise; systemctl status doorward --no-pager | head -12", 300)
        except (Failed, OSError) as error:
            return f"(no log: {error})"

    def configure(self, camera: str, more=""):
        """Writes the configuration; the service is as it was."""
        text = f'[device]\nid = "guest"\n[matching]\nfpir = 1e-3\n[camera]\n{camera}\n{more}\n'
        self.machine.sh(f"cat >/etc/doorward/doorward.toml <<'END'\n{text}END")

    def restart(self):
        self.since = self.outside.mark_state()
        self.machine.sh("systemctl restart doorward")

    def loopback(self):
        """Stops the service and makes /dev/video20, which plays the clip, the only camera."""
        self._camera("vivid", "v4l2loopback video_nr=20 card_label=door")

    def vivid(self):
        """Stops the service and makes the kernel's virtual camera the only one."""
        self.stop_playing()
        self._camera("v4l2loopback", "vivid n_devs=1 node_types=0x1")

    def _camera(self, old: str, new: str):
        self.machine.sh(
            f"systemctl stop doorward 2>/dev/null; rmmod {old} 2>/dev/null; modprobe {new} && udevadm settle"
        )

    def streaming(self):
        """Waits until the service has told the broker of frames, since it was restarted."""
        def flows(state):
            return state["camera"] == "ok" and state["frames_per_second"] > 0

        self.outside.wait_state("frames", flows, self.since)

    def play(self, fourcc: str, part, fps=10):
        """Plays a part of the clip to the loopback camera instead of what played before."""
        width, height = SIZE
        command = f"/host/feed /dev/video20 {fourcc} {width} {height} {fps} /host/door.{fourcc} {part[0]} {part[1]}"
        self.stop_playing()
        self.machine.sh(f"systemd-run -q --unit=feed {command}")

    def stop_playing(self):
        self.machine.sh("systemctl stop feed 2>/dev/null; systemctl reset-failed feed 2>/dev/null; true")

    def row(self, title: str, *cells):
        self.tables.setdefault(title, []).append(cells)
        print("   " + "  ".join(cells), flush=True)


def frames(name: str) -> list:
    """The JPEG images of a clip."""
    return [b"\xff\xd8\xff" + rest for rest in (FIXTURES / name).read_bytes().split(b"\xff\xd8\xff")[1:]]


def yuyv(jpeg: bytes) -> bytes:
    """A JPEG image as 4:2:2, the second pixel's colour left out."""
    y, cb, cr = Image.open(io.BytesIO(jpeg)).convert("YCbCr").split()
    out = bytearray(2 * SIZE[0] * SIZE[1])
    out[0::2] = y.tobytes()
    out[1::4] = cb.tobytes()[0::2]
    out[3::4] = cr.tobytes()[0::2]
    return bytes(out)
