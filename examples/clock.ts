// Logs a line every minute; attached (`run`), it shows the line on the terminal, too.
//
//   node --import tsx examples/clock.ts start | stop | restart | status | run

import { setTimeout as sleep } from 'node:timers/promises'
import { Daemon, syslog } from 'tsdaemonize'

const MINUTE = 60_000

class Clock extends Daemon {
  // The signal aborts when the daemon is asked to end, and ends the sleep.
  protected override async action(signal: AbortSignal) {
    for (;;) {
      syslog.syslog(`It is ${new Date().toTimeString().slice(0, 5)}`)
      await sleep(MINUTE - (Date.now() % MINUTE), undefined, { signal })
    }
  }
}

await new Clock({ syslogOptions: syslog.LOG_PERROR }).serviced()
