"""Faces through a V4L2 driver: a match and an unknown reach the broker."""

from bench import ADA, CLEO, NOBODY, STATUS
from machine import Failed


def check(bench):
    bench.loopback()
    bench.configure('device = "/dev/video20"')
    print("   " + bench.machine.sh("cd / && sudo -u doorward doorward enroll ada --photo /host/ada.jpg"))
    visits(bench, "MJPG")


def visits(bench, fourcc):
    machine = bench.machine
    # The loopback keeps its format as long as somebody reads.
    machine.sh("systemctl stop doorward")
    bench.play(fourcc, ADA)
    since = bench.outside.mark()
    bench.restart()
    event = bench.outside.wait("match", lambda e: e["event_type"] == "match", since)
    bench.row("recognition", fourcc, "match", event["subject_id"], f"similarity {event['similarity']:.2f}")
    if event["subject_id"] != "ada" or event["decision"] != "accept":
        raise Failed(f"a match that is none: {event}")
    # Another visit, not another face in the same.
    bench.play(fourcc, NOBODY)
    machine.sh("sleep 2")
    bench.play(fourcc, CLEO)
    event = bench.outside.wait("unknown", lambda e: e["event_type"] == "unknown", since)
    bench.row("recognition", fourcc, "unknown", "-", f"similarity {event['similarity']:.2f}")
    bench.stop_playing()
    print("   " + machine.sh(STATUS))
