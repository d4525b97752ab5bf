"""A kernel driver in all its formats: frames arrive and are looked at."""

from bench import STATUS

# vivid's names of what doorward calls YUYV, NV12, GREY and RGB24.
FORMATS = {"YUYV": "YUYV", "NV12": "NV12", "GREY": "GREY", "RGB24": "RGB3"}


def check(bench):
    machine = bench.machine
    bench.vivid()
    for name in FORMATS:
        bench.configure(f'device = "/dev/doorward-camera"\nformat = "{name}"\nsize = [320, 180]\nfps = 10')
        bench.restart()
        status = machine.wait(
            f"frames in {name}", f"{STATUS} | grep '{name} 320x180'", 60
        )
        bench.streaming()
        bench.row("formats of vivid", name, "frames are looked at", status.partition("camera ")[2].split(";")[0])
