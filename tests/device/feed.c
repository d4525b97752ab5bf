/* feed DEVICE FOURCC WIDTH HEIGHT FPS FILE FIRST COUNT
 * Plays COUNT frames of FILE from FIRST on, over and over, into a v4l2loopback device. FILE holds
 * JPEG after JPEG for MJPG, and raw frames of one size for anything else. */
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 4096 };

static void die(const char *what) {
  perror(what);
  exit(1);
}

static unsigned char *slurp(const char *path, size_t *length) {
  int file = open(path, O_RDONLY);
  struct stat stat;
  if (file < 0 || fstat(file, &stat)) die(path);
  unsigned char *bytes = malloc(stat.st_size);
  for (*length = 0; *length < (size_t)stat.st_size;) {
    ssize_t got = read(file, bytes + *length, stat.st_size - *length);
    if (got <= 0) die(path);
    *length += got;
  }
  close(file);
  return bytes;
}

int main(int count, char **arg) {
  if (count != 9) {
    fprintf(stderr, "expected 8 arguments\n");
    return 2;
  }
  const char *fourcc = arg[2];
  int width = atoi(arg[3]), height = atoi(arg[4]), fps = atoi(arg[5]);
  size_t length, frames = 0, size = (size_t)width * height * 2, start[MOST + 1];
  unsigned char *clip = slurp(arg[6], &length);
  size_t first = atoi(arg[7]), many = atoi(arg[8]);
  if (!strcmp(fourcc, "MJPG")) {
    for (size_t i = 0; i + 2 < length && frames < MOST; i++)
      if (clip[i] == 0xff && clip[i + 1] == 0xd8 && clip[i + 2] == 0xff) start[frames++] = i;
  } else {
    for (size_t i = 0; i + size <= length && frames < MOST; i += size) start[frames++] = i;
  }
  start[frames] = length;
  if (!many || first + many > frames) {
    fprintf(stderr, "%s has %zu frames\n", arg[6], frames);
    return 1;
  }

  int device = open(arg[1], O_RDWR);
  if (device < 0) die(arg[1]);
  struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_OUTPUT};
  if (ioctl(device, VIDIOC_G_FMT, &format)) die("G_FMT");
  format.fmt.pix.pixelformat = v4l2_fourcc(fourcc[0], fourcc[1], fourcc[2], fourcc[3]);
  format.fmt.pix.width = width;
  format.fmt.pix.height = height;
  format.fmt.pix.field = V4L2_FIELD_NONE;
  format.fmt.pix.sizeimage = size;
  if (ioctl(device, VIDIOC_S_FMT, &format)) die("S_FMT");
  if (memcmp(&format.fmt.pix.pixelformat, fourcc, 4)) {
    fprintf(stderr, "%s stays %.4s: stop who reads it\n", arg[1], (char *)&format.fmt.pix.pixelformat);
    return 1;
  }

  struct timespec next;
  clock_gettime(CLOCK_MONOTONIC, &next);
  for (size_t i = 0;; i = (i + 1) % many) {
    size_t from = start[first + i], bytes = start[first + i + 1] - from;
    if (write(device, clip + from, bytes) != (ssize_t)bytes) die("write");
    next.tv_nsec += 1000000000 / fps;
    if (next.tv_nsec >= 1000000000) next.tv_sec++, next.tv_nsec -= 1000000000;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
  }
}
