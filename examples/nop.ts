// The smallest daemon. It does nothing and blocks its event loop. A native guard ends it at SIGTERM
// nevertheless.
//
//   node --import tsx examples/nop.ts start | stop | restart | status | run

import { Daemon } from 'tsdaemonize'

class Nop extends Daemon {
  protected override async action() {
    while (true) {}
  }
}

await new Nop().serviced()
