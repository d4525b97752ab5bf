"""The package: installed in one command, and the service runs and waits for its first enrolment."""

from bench import STATUS
from machine import Failed


def check(bench):
    machine = bench.machine
    bench.loopback()
    machine.sh("apt-get install -q -y /host/doorward.deb")
    machine.sh("systemctl is-active doorward; systemctl is-enabled doorward")
    status = machine.wait("an empty gallery", f"{STATUS} | grep 'nobody is enrolled'", 30)
    print("   " + status.strip())
    security = machine.sh("systemd-analyze security doorward --no-pager | tail -n 1")
    exposure = float(security.split("doorward.service:")[1].split()[0])
    if exposure > 1.5:
        raise Failed(f"exposure {exposure} is above 1.5")
    print("   " + security.strip("→ "))
    verify = machine.sh("systemd-analyze verify /usr/lib/systemd/system/doorward.service; true")
    print("   systemd-analyze verify: " + (verify or "nothing to say").replace("\n", "\n      "))
    machine.sh("stat -c %U:%a /var/lib/doorward | grep -qx doorward:700")
    machine.sh("[ -e /usr/share/man/man1/doorward.1.gz ] && [ -e /usr/share/bash-completion/completions/doorward ]")
