"""What a device lives through: the broker, the clock, the disk, restarts, the power."""

import time

from bench import ADA, NOBODY, STATUS
from machine import Failed
from outside import Subscriber

RESTARTS = 100
TITLE = "endurance"


def check(bench):
    bench.loopback()
    bench.configure('device = "/dev/video20"', "[decision]\ncooldown_s = 0.1")
    bench.play("MJPG", NOBODY)
    bench.restart()
    bench.streaming()
    for part in (broker, clock, disk, restarts, power):
        part(bench)


def is_match(event):
    return event["event_type"] == "match"


def visit(bench):
    """Lets ada come and go; returns how many events had come before."""
    since = bench.outside.mark()
    bench.play("MJPG", ADA)
    return since


def left(bench):
    bench.play("MJPG", NOBODY)
    bench.machine.sh("sleep 2")


def broker(bench):
    machine = bench.machine
    machine.sh("systemctl stop mosquitto")
    machine.wait("a status that says so", f"{STATUS} | grep 'is away'", 60)
    since = visit(bench)
    machine.wait("a match without a broker", f"{STATUS} | grep 'last event: match ada'", 60)
    left(bench)
    machine.sh("systemctl start mosquitto")
    event = bench.outside.wait("match of the outage", is_match, since)
    bench.row(TITLE, "broker stopped and started", f"event {event['seq']} arrived")


def clock(bench):
    for jump in ("+2 hours", "-2 hours"):
        bench.machine.sh(f"date -s '{jump}'")
        event = bench.outside.wait(f"match after {jump}", is_match, visit(bench))
        left(bench)
        bench.row(TITLE, f"clock jumps {jump}", f"event {event['seq']} arrived")


def disk(bench):
    machine = bench.machine
    run = machine.sh("systemctl show -P InvocationID doorward")
    machine.sh("fallocate -l $(df --output=avail -B1 / | tail -n 1) /fill; df / | tail -n 1 | grep 100%")
    since = visit(bench)
    machine.sh("sleep 10")
    left(bench)
    stored = bench.outside.mark() > since
    refused = machine.sh("journalctl -u doorward -b --since -60s -o cat | grep -c 'could not be stored' || true")
    if not stored and refused == "0":
        raise Failed("with a full disk, an event was neither stored and sent nor refused aloud")
    machine.sh("rm /fill")
    event = bench.outside.wait("match after the disk was full", is_match, visit(bench))
    left(bench)
    if machine.sh("systemctl show -P InvocationID doorward") != run:
        raise Failed("the service did not survive a full disk")
    bench.row(TITLE, "disk full", "stored" if stored else "refused aloud", f"then event {event['seq']} arrived")


def restarts(bench):
    machine = bench.machine
    seconds = machine.sh(
        f"a=$(date +%s); for i in $(seq {RESTARTS}); do systemctl restart doorward || exit 1; done; echo $(($(date +%s) - a))",
        timeout=7200,
    )
    slowest = machine.sh("a=$(date +%s%N); systemctl stop doorward; echo $((($(date +%s%N) - a) / 1000000))")
    if int(slowest) > 2000:
        raise Failed(f"a stop took {slowest} ms")
    machine.sh("systemctl start doorward")
    event = bench.outside.wait("match after restarts", is_match, visit(bench))
    left(bench)
    bench.row(TITLE, f"{RESTARTS} restarts", f"{seconds} s; a stop {slowest} ms; event {event['seq']} arrived")


def power(bench):
    machine = bench.machine
    enrol = "cd / && sudo -u doorward doorward enroll --force --photo /host/bela.jpg -- "
    machine.sh(enrol + "confirmed")
    visit(bench)
    machine.sh(f"systemd-run -q sh -c '{enrol} interrupted'")
    time.sleep(3)
    machine.cut_power()
    bench.outside.close()
    machine.start()
    bench.outside = Subscriber(machine.port)
    names = machine.sh("cd / && sudo -u doorward doorward gallery list")
    machine.sh("cd / && sudo -u doorward doorward check --offline --json | grep -q . ; systemctl is-active doorward")
    for name in ("ada", "confirmed"):
        if name not in names:
            raise Failed(f"{name} was enrolled before the power was cut and is lost: {names}")
    bench.loopback()
    bench.play("MJPG", NOBODY)
    bench.restart()
    event = bench.outside.wait("match after a power cut", is_match, visit(bench))
    bench.row(TITLE, "power cut while enrolling", f"event {event['seq']} arrived")
