// /srv/beacon/orphans.mjs: as PID 1, starts thirty children; each leaves three orphans behind and ends
// with a status of its own.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Daemon } from 'tsdaemonize'

/** Orphans: children of PID 1 that it has not started. */
function orphans() {
  const stats = readdirSync('/proc').flatMap((entry) => {
    try {
      return /^\d+$/.test(entry) ? [readFileSync(`/proc/${entry}/stat`, 'utf8')] : []
    } catch {
      return []
    }
  })
  return stats.filter((stat) => /\(sleep\) \S 1 /.test(stat)).length
}

class Orphans extends Daemon {
  async action(signal) {
    const children = Array.from({ length: 30 }, async (_, i) => {
      const child = spawn('sh', ['-c', `sleep 3 & sleep 4 & sleep 5 & exit ${i + 1}`], { stdio: 'ignore' })
      const [status] = await once(child, 'exit')
      return status
    })
    const statuses = await Promise.all(children)
    while (orphans() < 90) await sleep(20)
    console.log('90 orphans')
    console.log(`statuses: ${JSON.stringify(statuses)}`)
    await once(signal, 'abort')
  }
}

await new Orphans({ name: 'orphans' }).start()
