"""The fault matrix: whatever happens to the camera, recognition is back in 5 s of the machine's
time, one event tells of the fault and one of the recovery, and the service was not restarted."""

from datetime import datetime

from machine import Failed

LIMIT = 5.0
VIVID = "/sys/bus/platform/drivers/vivid"


def ctrl(text):
    return f"v4l2-ctl -d /dev/doorward-camera -c {text}"


# What begins the fault, what ends it, and how long it lasts. Ends that are empty: by itself.
FAULTS = {
    "disconnect while streaming": (ctrl("disconnect=1"), "", 0),
    "driver unbind and bind": (f"echo vivid.0 >{VIVID}/unbind", f"echo vivid.0 >{VIVID}/bind", 6),
    "fatal streaming error": (ctrl("inject_fatal_streaming_error=1"), "", 0),
    "error-flagged buffers": (
        "systemd-run -q --unit=flag sh -c 'while :; do " + ctrl("inject_v4l2_buf_flag_error=1") + "; done'",
        "systemctl stop flag",
        8,
    ),
    "all buffers dropped": (ctrl("percentage_of_dropped_buffers=100"), ctrl("percentage_of_dropped_buffers=0"), 6),
    "STREAMON fails": (ctrl("inject_vidioc_streamon_error=1") + "; " + ctrl("disconnect=1"), "", 0),
    "REQBUFS fails": (ctrl("inject_vidioc_reqbufs_error=1") + "; " + ctrl("disconnect=1"), "", 0),
    "node renumbered": (
        f"echo vivid.0 >{VIVID}/unbind; until rmmod vivid; do sleep 0.2; done",
        "modprobe vivid n_devs=1 node_types=0x1 vid_cap_nr=7",
        3,
    ),
}
HELD = (
    "systemctl stop doorward; systemd-run -q --unit=holder v4l2-ctl -d /dev/doorward-camera --stream-mmap;"
    " sleep 2; systemctl start doorward"
)


def check(bench):
    bench.vivid()
    bench.configure('device = "/dev/doorward-camera"\nformat = "YUYV"\nsize = [320, 180]\nfps = 5\ntimeout_s = 1.5\n[detection]\nmax_side = 96')
    bench.restart()
    bench.streaming()
    for name, (begin, end, lasts) in FAULTS.items():
        fault(bench, name, begin, end, lasts)
    fault(bench, "held by another", HELD, "systemctl stop holder", 3, restarted=True)


def fault(bench, name, begin, end, lasts, restarted=False):
    machine = bench.machine
    run = "systemctl show -P InvocationID doorward"
    before, since = machine.sh(run), bench.outside.mark()
    over = float(machine.sh(f"( {begin} ) >/dev/null && sleep {lasts} && ( {end or ':'} ) && date +%s.%N").splitlines()[-1])
    lost = bench.outside.wait(f"{name}: loss", lambda e: e["reason"] == "camera_lost", since)
    back = bench.outside.wait(f"{name}: recovery", lambda e: e["reason"] == "camera_recovered", since)
    seconds = datetime.fromisoformat(back["ts"]).timestamp() - over
    bench.streaming()
    events = [e["reason"] for e in bench.outside.events[since:]]
    bench.row("faults", name.ljust(28), f"{max(seconds, 0):.1f} s", lost["event_type"])
    if seconds > LIMIT:
        raise Failed(f"{name}: back after {seconds:.1f} s")
    if events != ["camera_lost", "camera_recovered"]:
        raise Failed(f"{name}: expected one event of the fault and one of the recovery, not {events}")
    if not restarted and machine.sh(run) != before:
        raise Failed(f"{name}: the service was restarted")
