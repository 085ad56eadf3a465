// The smallest daemon. It does nothing, never lets its event loop turn, and ends at SIGTERM all the
// same: a native guard sees to that.
//
//   node --import tsx examples/nop.ts start | stop | restart | status | run

import { Daemon } from 'tsdaemonize'

class Nop extends Daemon {
  protected override async action() {
    while (true) {}
  }
}

await new Nop().serviced()
