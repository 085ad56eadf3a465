// As root: the tests in which it matters who runs them, once more as an ordinary user who has an entry in
// /etc/passwd, and as one who has none, as by a container's `--user 1234`. Each gets a copy of this clone
// that is theirs, since they may not be able to read this one, and tests write into the caches below it.

import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
/** What the tests have no need of: large, or of git's. */
const OMITTED = ['.git', '.cache', 'target', 'artifacts', 'packages']
/** What a test file imports of the kit when its tests differ from user to user. */
const ASKS = /\b(?:isRoot|asUser|userName)\b/

const files = readdirSync(join(root, '__test__'))
  .filter((name) => name.endsWith('.test.mjs'))
  .map((name) => `__test__/${name}`)
  .filter((path) => ASKS.test(readFileSync(join(root, path), 'utf8')))

/** The ids of a user, as getent(1) has them; `undefined`, where there is none. */
function entryOf(user) {
  const { status, stdout } = spawnSync('getent', ['passwd', user], { encoding: 'utf8' })
  if (status !== 0) return undefined
  const [, , uid, gid] = stdout.split(':').map(Number)
  return { uid, gid }
}

function withoutEntry(id = 12_345) {
  return entryOf(`${id}`) ? withoutEntry(id + 1) : { uid: id, gid: id }
}

/** Runs the tests as a user; returns whether all have passed. */
function runAs({ uid, gid }) {
  // Short, since paths of sockets must be.
  const dir = mkdtempSync('/tmp/u-')
  try {
    chmodSync(dir, 0o755)
    const copy = join(dir, 'clone')
    mkdirSync(copy)
    for (const name of readdirSync(root).filter((name) => !OMITTED.includes(name))) {
      cpSync(join(root, name), join(copy, name), { recursive: true, verbatimSymlinks: true })
    }
    const tmp = join(dir, 'tmp')
    mkdirSync(tmp)
    spawnSync('chown', ['-R', `${uid}:${gid}`, copy, tmp])
    // A home that is not there, and nothing of root's: no session, no name.
    const env = { PATH: process.env.PATH, LANG: 'C.UTF-8', HOME: '/nonexistent', TMPDIR: tmp }
    const as = { uid, gid, cwd: copy, env, stdio: 'inherit' }
    return spawnSync(process.execPath, ['scripts/test.mjs', ...files], as).status === 0
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

const nobody = entryOf('nobody')
const canRunNode = nobody && spawnSync(process.execPath, ['--version'], nobody).status === 0

if (process.getuid() !== 0 || !canRunNode) {
  console.log('- [skip] the tests as other users: this takes root, and a user "nobody" that can run Node')
  console.log('\n0 passed, 0 failed, 1 skipped')
} else {
  for (const [what, user] of [
    ['who has an entry', nobody],
    ['without an entry', withoutEntry()],
  ]) {
    console.log(`\nAs an ordinary user ${what}: uid ${user.uid}`)
    if (!runAs(user)) process.exitCode = 1
  }
}
