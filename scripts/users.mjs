// `npm test -- users`, as root: the tests in which it matters who runs them, once more as an ordinary user who has
// an entry in /etc/passwd, and as one who has none, as by a container's `--user 1234`. Each gets a copy of this
// clone, since they may not be able to read this one, and tests write into the caches below it.

import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
/** What the tests do not need: it is large, or git's. */
const OMITTED = ['.git', '.cache', 'target', 'artifacts', 'packages']
/** What a test file imports of the kit when its tests differ from user to user. */
const ASKS = /\b(?:isRoot|asUser|userName)\b/

export function filesThatAsk() {
  return readdirSync(join(root, '__test__'))
    .filter((name) => name.endsWith('.test.mjs'))
    .map((name) => `__test__/${name}`)
    .filter((path) => ASKS.test(readFileSync(join(root, path), 'utf8')))
}

/** The ids of a user, as getent(1) has them; `undefined` where there is none. */
function entryOf(user) {
  const { status, stdout } = spawnSync('getent', ['passwd', user], { encoding: 'utf8' })
  if (status !== 0) return undefined
  const [, , uid, gid] = stdout.split(':').map(Number)
  return { uid, gid }
}

function withoutEntry(id = 12_345) {
  return entryOf(`${id}`) ? withoutEntry(id + 1) : { uid: id, gid: id }
}

/** Why there can be no tests as other users; `undefined` where there can. */
export function missingUsers() {
  const nobody = entryOf('nobody')
  const isAble = process.getuid() === 0 && nobody
  if (isAble && spawnSync(process.execPath, ['--version'], nobody).status === 0) return undefined
  return 'this takes root, and a user "nobody" that can run Node'
}

/** For each user, how a program is spawned in a copy of this clone that is theirs; the copy goes when the next is asked for. */
export function* users() {
  for (const [kind, { uid, gid }] of [
    ['who has an entry', entryOf('nobody')],
    ['without an entry', withoutEntry()],
  ]) {
    // Short, since paths of sockets must be.
    const dir = mkdtempSync('/tmp/u-')
    try {
      chmodSync(dir, 0o755)
      const copy = join(dir, 'clone')
      const tmp = join(dir, 'tmp')
      for (const made of [copy, tmp]) mkdirSync(made)
      for (const name of readdirSync(root).filter((name) => !OMITTED.includes(name))) {
        cpSync(join(root, name), join(copy, name), { recursive: true, verbatimSymlinks: true })
      }
      spawnSync('chown', ['-R', `${uid}:${gid}`, copy, tmp])
      // A home that is not there, and nothing of root's: no session, no name.
      const env = { PATH: process.env.PATH, LANG: 'C.UTF-8', HOME: '/nonexistent', TMPDIR: tmp }
      yield { what: `as the user ${uid}, ${kind}`, how: { uid, gid, cwd: copy, env } }
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  }
}
