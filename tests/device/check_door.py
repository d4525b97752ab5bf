"""The machine's own GPIO chip: the strike's line is on for a match, never for an unknown, and shut
after the service was killed."""

from bench import ADA, CLEO, NOBODY
from machine import Failed

LINES = "/sys/kernel/debug/gpio"
OPEN = f"grep -E 'gpio-[0-9]+ .*out hi' {LINES}"


def check(bench):
    machine = bench.machine
    bench.loopback()
    bench.configure(
        'device = "/dev/video20"',
        "[decision]\ncooldown_s = 0.1\n[door]\nchip = \"/dev/gpiochip0\"\nline = 0\npulse_s = 3.0\n[[access.rule]]\nname = \"family\"\nsubjects = [\"*\"]",
    )
    bench.play("MJPG", NOBODY)
    bench.restart()
    bench.streaming()
    print("   " + machine.sh(f"grep doorward {LINES}").strip())

    since = bench.outside.mark()
    bench.play("MJPG", ADA)
    line = machine.wait("an open strike", OPEN, 60)
    bench.outside.wait("match", lambda e: e["event_type"] == "match", since)
    bench.play("MJPG", NOBODY)
    machine.wait("a strike that is shut again", f"! {OPEN}", 10)
    bench.row("door", "match", "opens for the pulse", " ".join(line.split()))

    machine.sh(f"systemd-run -q --unit=watch sh -c 'while sleep 0.1; do {OPEN} && touch /run/opened; done'")
    since = bench.outside.mark()
    bench.play("MJPG", CLEO)
    bench.outside.wait("unknown", lambda e: e["event_type"] == "unknown", since)
    machine.sh("sleep 5; systemctl stop watch")
    if machine.sh("ls /run/opened 2>/dev/null || true"):
        raise Failed("the strike opened for somebody unknown")
    bench.row("door", "unknown", "stays shut")

    bench.play("MJPG", NOBODY)
    machine.sh("sleep 2")
    bench.play("MJPG", ADA)
    machine.wait("an open strike", OPEN, 60)
    machine.sh("systemctl kill -s KILL doorward")
    bench.play("MJPG", NOBODY)
    machine.wait("a strike that is shut after a kill", f"! {OPEN}", 5)
    machine.wait("the service again", "systemctl is-active doorward", 30)
    bench.row("door", "SIGKILL while open", "shut")
