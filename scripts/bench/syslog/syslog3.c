/* Logs with syslog(3): BURSTS of PER messages, with GAP microseconds between; says, as JSON, what the
   thread spent in the calls (time) and in all (CPU), in microseconds. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

static double now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  int bursts = atoi(argv[1]), per = atoi(argv[2]), gap = atoi(argv[3]), number = 0;
  char pad[101];
  memset(pad, 'x', 100);
  openlog("bench", LOG_PID | LOG_NDELAY, LOG_DAEMON);
  double time = 0, begun = now(CLOCK_THREAD_CPUTIME_ID);
  for (int burst = 0; burst < bursts; burst++) {
    double from = now(CLOCK_MONOTONIC);
    for (int i = 0; i < per; i++, number++) {
      char text[128];
      int length = snprintf(text, sizeof text, "number %d ", number);
      syslog(LOG_INFO, "%s%.*s", text, 100 - length, pad);
    }
    time += now(CLOCK_MONOTONIC) - from;
    if (gap) usleep(gap);
  }
  printf("{\"time\":%f,\"cpu\":%f}\n", time, now(CLOCK_THREAD_CPUTIME_ID) - begun);
}
