/* Counts messages that hold "number N": datagrams at a path and at a UDP port. At SIGTERM it says, as
   JSON, how many came, how many of the first COUNT are missing, how many came after a later one, and
   the seconds from the first to the last. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { TOGETHER = 64, LONGEST = 9000, MOST = 10000000 };

static volatile sig_atomic_t ended;
static void end(int signal) { (void)signal; ended = 1; }

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  struct sigaction action = {.sa_handler = end};
  sigaction(SIGTERM, &action, NULL);

  struct sockaddr_un path = {.sun_family = AF_UNIX};
  strncpy(path.sun_path, argv[1], sizeof path.sun_path - 1);
  unlink(argv[1]);
  int local = socket(AF_UNIX, SOCK_DGRAM, 0);
  struct sockaddr_in port = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int udp = socket(AF_INET, SOCK_DGRAM, 0);
  int size = 8 << 20;
  setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  if (bind(local, (struct sockaddr *)&path, sizeof path) < 0) return perror(argv[1]), 1;
  if (bind(udp, (struct sockaddr *)&port, sizeof port) < 0) return perror(argv[2]), 1;
  puts("ready");
  fflush(stdout);

  static char buffers[TOGETHER][LONGEST];
  static unsigned char seen[MOST];
  struct iovec parts[TOGETHER];
  struct mmsghdr headers[TOGETHER];
  memset(headers, 0, sizeof headers);
  for (int i = 0; i < TOGETHER; i++) {
    parts[i] = (struct iovec){buffers[i], LONGEST - 1};
    headers[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  long received = 0, twice = 0, disorder = 0, highest = -1;
  double first = 0, last = 0;
  struct pollfd fds[2] = {{local, POLLIN, 0}, {udp, POLLIN, 0}};
  while (!ended) {
    if (poll(fds, 2, -1) < 0) continue;
    for (int from = 0; from < 2; from++) {
      if (!fds[from].revents) continue;
      int count = recvmmsg(fds[from].fd, headers, TOGETHER, MSG_DONTWAIT, NULL);
      for (int i = 0; i < count; i++) {
        buffers[i][headers[i].msg_len] = 0;
        char *found = strstr(buffers[i], "number ");
        if (!found) continue;
        long number = atol(found + 7);
        if (number < 0 || number >= MOST) continue;
        if (received++ == 0) first = now();
        if (seen[number]) twice++;
        seen[number] = 1;
        if (number < highest) disorder++;
        else highest = number;
      }
      if (count > 0) last = now();
    }
  }
  long missing = 0;
  for (long n = 0; n <= highest; n++) missing += !seen[n];
  printf("{\"received\":%ld,\"twice\":%ld,\"disorder\":%ld,\"highest\":%ld,\"missing\":%ld,\"seconds\":%f}\n",
         received, twice, disorder, highest, missing, last - first);
}
