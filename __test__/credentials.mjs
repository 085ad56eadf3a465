// The ids and capabilities of a process, thread by thread, and users and groups that exist only for one test.

import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { command, end, pidIn, place } from './kit.mjs'

const numbers = (line) => (line === '' ? [] : line.split(/\s+/).map(Number))

/** What the kernel says of every thread of a process (proc_pid_status(5)). */
export function threads(pid) {
  return fs.readdirSync(`/proc/${pid}/task`).flatMap((tid) => {
    let status
    let root
    try {
      status = fs.readFileSync(`/proc/${pid}/task/${tid}/status`, 'utf8')
      root = fs.readlinkSync(`/proc/${pid}/task/${tid}/root`)
    } catch (error) {
      // It was a worker that has ended meanwhile.
      if (error.code === 'ENOENT' || error.code === 'ESRCH') return []
      throw error
    }
    const field = (name) => status.match(new RegExp(`^${name}:[ \\t]*(.*?)[ \\t]*$`, 'm'))?.[1]
    const set = (name) => BigInt(`0x${field(name)}`)
    return {
      tid: Number(tid),
      name: field('Name'),
      uids: numbers(field('Uid')),
      gids: numbers(field('Gid')),
      groups: numbers(field('Groups')).sort((a, b) => a - b),
      capabilities: ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'].map(set),
      bounding: set('CapBnd'),
      noNewPrivileges: field('NoNewPrivs') === '1',
      root,
    }
  })
}

/** The kernel's version of Landlock, by landlock_create_ruleset(2), as Python can call it; NaN without Python. */
export const landlockVersion = Number(
  spawnSync('python3', ['-c', 'import ctypes; print(ctypes.CDLL(None).syscall(444, None, 0, 1))'], {
    encoding: 'utf8',
  }).stdout,
)

/** The ids of `ada`, who is in the groups 4801 and 4802 as well, and of the group `crew`. */
export const ADA = 4711
export const CREW = 4803

/** A place that everybody may read, with a directory `out/` to which everybody may write; `accounts` also has `ada`
 * and `crew`. */
export function publicPlace(t) {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  fs.mkdirSync(`${p.dir}/out`)
  fs.chmodSync(`${p.dir}/out`, 0o777)
  const add = (file, lines) =>
    p.write(`accounts/${file}`, `${fs.readFileSync(`/etc/${file}`, 'utf8').trimEnd()}\n${lines}\n`)
  add('passwd', `ada:x:${ADA}:${ADA}:Ada:/home/ada:/bin/ada`)
  add('group', `ada:x:${ADA}:\npilots:x:4801:ada\ndivers:x:4802:nobody,ada\ncrew:x:${CREW}:nobody`)
  return p
}

/** Runs a command with the accounts of a place, in a mount namespace of its own. The shell commands `prepare`
 * may mount more there. */
export function withAccounts(p, args, { prepare = '', ...more } = {}) {
  const script = `set -e
for file in "$DIR"/accounts/*; do mount --bind "$file" "/etc/\${file##*/}"; done
${prepare}
exec "$@"`
  return command(p, 'unshare', ['-m', 'sh', '-c', script, 'sh', ...args], more)
}

/** The pid in a pidfile. The process ends with the test. */
export function daemonOf(t, p, name) {
  const pid = pidIn(p, name)
  t.teardown(() => end(pid))
  return pid
}
