"""The package's later life: an upgrade keeps people and configuration, a purge leaves nothing."""

import subprocess
import tempfile
from pathlib import Path

from bench import STATUS
from machine import Failed

TITLE = "package"
# What a purge has to take along.
TRACES = ["/var/lib/doorward", "/etc/doorward", "/usr/bin/doorward", "/usr/lib/systemd/system/doorward.service",
          "/usr/share/doorward", "/usr/lib/udev/rules.d/61-doorward.rules"]


def check(bench):
    bench.machine.sh("cd / && sudo -u doorward doorward enroll --force --photo /host/ada.jpg -- stays")
    upgrade(bench)
    purge(bench)


def newer(package: Path, work: Path) -> Path:
    """The same package as version 999, with another configuration inside."""
    subprocess.run(["dpkg-deb", "-R", package, work / "tree"], check=True)
    control = work / "tree/DEBIAN/control"
    lines = control.read_text().splitlines()
    control.write_text("".join(f"{'Version: 999' if line.startswith('Version:') else line}\n" for line in lines))
    with open(work / "tree/etc/doorward/doorward.toml", "a") as config:
        config.write("# the maker's news\n")
    subprocess.run(["dpkg-deb", "-b", "--root-owner-group", work / "tree", work / "newer.deb"], check=True,
                   stdout=subprocess.DEVNULL)
    return work / "newer.deb"


def upgrade(bench):
    machine = bench.machine
    bench.configure('device = "/dev/video20"', "# the owner's words")
    with tempfile.TemporaryDirectory() as work:
        machine.put(newer(bench.package, Path(work)), "newer.deb")
    machine.sh("DEBIAN_FRONTEND=noninteractive apt-get install -q -y -o Dpkg::Options::=--force-confold /host/newer.deb")
    version = machine.sh("dpkg-query -W -f '${Version}' doorward")
    if version != "999":
        raise Failed(f"version {version} is installed, expected 999")
    machine.sh("grep -q \"the owner's words\" /etc/doorward/doorward.toml")
    machine.wait("the new service with its people", f"systemctl is-active doorward && {STATUS} | grep -v 'nobody is enrolled'", 60)
    names = machine.sh("cd / && sudo -u doorward doorward gallery list")
    if "stays" not in names:
        raise Failed(f"stays was enrolled before the upgrade and is lost: {names}")
    bench.row(TITLE, "upgrade", "people and configuration kept, the service runs")


def purge(bench):
    machine = bench.machine
    machine.sh("apt-get purge -q -y doorward")
    left = machine.sh(f"ls -d {' '.join(TRACES)} 2>/dev/null; getent passwd doorward; systemctl is-active doorward | grep -v inactive; true")
    if left:
        raise Failed(f"a purge leaves behind: {left}")
    bench.row(TITLE, "purge", "no file, no user, no service left")
