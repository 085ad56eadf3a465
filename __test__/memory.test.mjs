// No process of a start uses the memory of another: what a daemon that has dropped its privileges wrote there would be
// run by one that has not.

import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { join } from 'node:path'
import { end, pidIn, place, proc, run, sample, testIf, until } from './kit.mjs'

/** Says of each two processes whether they have one memory: kcmp(2) with KCMP_VM. */
const PROGRAM = `
import ctypes, itertools, platform, sys
libc = ctypes.CDLL(None, use_errno=True)
number = {'x86_64': 312, 'aarch64': 272}[platform.machine()]
for a, b in itertools.combinations_with_replacement(map(int, sys.argv[1:]), 2):
  result = libc.syscall(number, a, b, 1, 0, 0)
  if result < 0: sys.exit(ctypes.get_errno())
  if result == 0: print(a, b)
`
function compare(...pids) {
  const { status, stdout } = spawnSync('python3', ['-c', PROGRAM, ...pids.map(String)], { encoding: 'utf8' })
  return { status, same: stdout?.split('\n').filter(Boolean) }
}

const comparable = testIf(compare(process.pid).status === 0)

const setup = (name, then) => `async setup() {
  fs.writeFileSync(process.env.DIR + '/${name}.new', String(process.pid))
  fs.renameSync(process.env.DIR + '/${name}.new', process.env.DIR + '/${name}')
  ${then}
}`

comparable('no two processes of a start, and of one within its setup, share their memory', async (t) => {
  const p = place(t)
  const wait = "while (!fs.existsSync(process.env.DIR + '/on')) await sleep(10)"
  const inner = p.write('inner.mjs', sample({ options: "name: 'inner',", body: setup('inner', wait) }))
  const options = JSON.stringify({ name: 'inner', pidFilePath: p.run, script: inner })
  const body = setup('outer', `await new Daemon(${options}).start()`)
  const launcher = run(p, p.write('outer.mjs', sample({ body })))
  const told = (name) => {
    const file = join(p.dir, name)
    return until(() => fs.existsSync(file) && Number(fs.readFileSync(file, 'utf8')), `setup of ${name}`)
  }
  const daemons = [await told('outer'), await told('inner')]
  const guardians = daemons.map((daemon) => proc(daemon).ppid)
  const all = [launcher.pid, ...daemons, ...guardians]
  t.is(new Set(all).size, 5)
  // Each with itself alone.
  t.deepEqual(compare(...all), { status: 0, same: all.map((pid) => `${pid} ${pid}`) })
  p.write('on', '')
  t.is((await launcher).status, 0)
  await Promise.all([end(pidIn(p)), end(pidIn(p, 'inner'))])
})
