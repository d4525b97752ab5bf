"""The same faces without compression, by those whom `recognition` has enrolled."""

from check_recognition import visits


def check(bench):
    bench.loopback()
    bench.configure('device = "/dev/video20"')
    visits(bench, "YUYV")
