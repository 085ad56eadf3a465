// The package makes Node load hardly any of its modules. They are most of what an import and a daemon cost.

import fs from 'node:fs'
import { library, place, run, sample, test, until } from './kit.mjs'

const WRITE = `process.getBuiltinModule('fs').writeFileSync(process.env.DIR + '/loaded', process.moduleLoadList.join('\\n'))`
/** The big modules: each of them loads others, and costs a millisecond or more. */
const HEAVY = /perf_hooks|inspector|child_process|worker|stream|crypto|http| net$| tty$| util$| events$/

async function loadedBeyond(p, bare) {
  const list = await until(
    () => fs.existsSync(`${p.dir}/loaded`) && fs.readFileSync(`${p.dir}/loaded`, 'utf8'),
  )
  fs.rmSync(`${p.dir}/loaded`)
  return list.split('\n').filter((name) => !bare?.includes(name))
}

test('neither an import nor a daemon loads the big modules of Node', async (t) => {
  const p = place(t)
  await run(p, p.write('bare.mjs', WRITE))
  const bare = await loadedBeyond(p)
  await run(p, p.write('import.mjs', `import '${library}'\n${WRITE}`))
  t.deepEqual(
    (await loadedBeyond(p, bare)).filter((name) => HEAVY.test(name)),
    [],
  )

  const action = `action() { setImmediate(() => ${WRITE}); return new Promise(() => {}) }`
  const source = sample({ body: action }).replace(/^import (?!{ Daemon).*$/gm, '')
  const { status, stderr } = await run(p, p.write('daemon.mjs', source))
  t.is(status, 0, stderr)
  t.deepEqual(
    (await loadedBeyond(p, bare)).filter((name) => HEAVY.test(name)),
    [],
  )
})

test('what is read faster still says its names: those of the classes, and of the functions in a stack', async (t) => {
  const { Daemon, DaemonError } = await import(library)
  t.deepEqual([Daemon.name, DaemonError.name], ['Daemon', 'DaemonError'])
  t.regex(
    t.throws(() => new Daemon({ umask: -1 })).stack,
    /at checkInteger .*at resolveOptions .*at new Daemon /s,
  )
})
