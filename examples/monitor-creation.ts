// Watches a directory, and logs what is created in it: to syslog, and to a file if one is named.
//
//   node --import tsx examples/monitor-creation.ts start DIRECTORY [LOG]
//   node --import tsx examples/monitor-creation.ts stop | status

import { on } from 'node:events'
import { existsSync, watch } from 'node:fs'
import { join, resolve } from 'node:path'
import { Daemon, syslog } from 'tsdaemonize'

const [verb, directory = '.', log] = process.argv.slice(2)
// Before `start()` the working directory is the launcher's; after it, `/`.
const watched = resolve(directory)

class MonitorCreation extends Daemon {
  #changes?: AsyncIterable<[event: string, name: string]>

  // A directory that cannot be watched is a failed start, and the launcher says so.
  protected override async setup() {
    this.#changes = on(watch(watched), 'change') as AsyncIterable<[string, string]>
  }

  protected override async action() {
    for await (const [event, name] of this.#changes ?? []) {
      // 'rename' is an entry that came or went: see whether it is there now.
      if (event !== 'rename' || !existsSync(join(watched, name))) continue
      const message = `${name} was created in ${watched}`
      syslog.syslog(syslog.LOG_NOTICE, message)
      console.log(new Date().toISOString(), message)
    }
  }
}

const daemon = new MonitorCreation({
  syslogOptions: syslog.LOG_PID,
  stdout: log === undefined ? undefined : resolve(log),
})
await daemon.serviced(verb === undefined ? [] : [verb])
