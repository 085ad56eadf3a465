// A daemon that goes into the background in a container, or in a service, ends with the process that was started
// there. The start warns about that.

import fs from 'node:fs'
import { asRoot, command, pidIn, place, sample, test, until } from './kit.mjs'

const WARNING =
  /^sample: The daemon ends with process (\d+) \((.*)\), .* no init\..*`run`.*`detach: false`\n$/
const NAMESPACE = ['--pid', '--fork', '--mount-proc', '--kill-child']
const node = process.execPath

/** Runs a shell's script as the first process of a pid namespace of its own, as in a container. */
const contained = (p, script, env = {}) =>
  command(p, 'unshare', [...NAMESPACE, 'sh', '-c', script], { env: { SYSTEMD_EXEC_PID: undefined, ...env } })
/** Runs it as the process that systemd has started, which leads a session. */
const served = (p, script, env = {}) =>
  command(p, 'setsid', ['--wait', 'sh', '-c', `export SYSTEMD_EXEC_PID=$$; ${script}`], { env })

function silent(t, { status, stderr }, what) {
  t.deepEqual([status, stderr], [0, ''], what)
}

function warned(t, { stderr }, name) {
  t.regex(stderr, WARNING)
  t.is(stderr.match(WARNING)[2], name)
}

asRoot('`npm start` and a shell as PID 1 take the daemon with them: `start()` warns', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', sample())
  warned(t, await contained(p, `${node} ${script}; exit`), 'sh')
  p.write('package.json', JSON.stringify({ scripts: { start: `${node} ${script}` } }))
  warned(t, await contained(p, 'exec npm start --silent'), 'npm start')
  const serviced = p.write('b.mjs', sample({ last: 'await new Sample(options).serviced()' }))
  warned(t, await contained(p, `${node} ${serviced} start; exit`), 'sh')
  const own = await contained(p, `exec ${node} ${serviced} start`)
  t.regex(
    own.stderr,
    /^sample: The daemon ends with process 1, which started it and is no init\. .*`run`.*`detach: false`\n$/,
  )
  const supervisor = `import { spawnSync } from 'node:child_process'
process.stderr.write(spawnSync('${node}', ['${script}']).stderr)`
  warned(t, await contained(p, `exec ${node} ${p.write('supervisor.mjs', supervisor)}`), 'node')
  warned(t, await contained(p, `printf MainThread > /proc/self/comm; ${node} ${script}; exit`), 'node')
})

asRoot('in a container, nobody is warned whose daemon stays, or who is a client', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', sample())
  const stopped = `sample() { ${node} "$@"; status=$?; kill $(cat ${p.pidFile()}); while [ -e ${p.pidFile()} ]; do sleep 0.05; done; return $status; };`
  for (const init of ['systemd', 'tini', 'docker-init', 'init']) {
    const file = `${p.dir}/${init}`
    fs.copyFileSync('/bin/sh', file)
    fs.chmodSync(file, 0o755)
    silent(t, await contained(p, `exec ${file} -c '${stopped} sh -c "${node} ${script}; exit"; exit'`), init)
  }
  silent(
    t,
    await contained(p, `setsid --wait ${node} ${script}; exit`),
    'a session of its own: ssh, cron, tmux',
  )
  const ensure = p.write('c.mjs', sample({ last: 'await new Sample(options).ensure()' }))
  silent(t, await contained(p, `${node} ${ensure}; exit`), 'ensure')
  const client = p.write('d.mjs', sample({ options: `script: '${script}',` }))
  silent(t, await contained(p, `${node} ${client}; exit`), 'a client')
  const twice = `import { spawnSync } from 'node:child_process'
process.stderr.write(spawnSync('${node}', ['${script}']).stderr)`
  // /proc still belongs to the outer namespace.
  silent(t, await command(p, 'unshare', ['--pid', '--fork', '--kill-child', node, p.write('e.mjs', twice)]))
})

test('a shell script as `ExecStart=` takes the daemon with it: `start()` warns', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', sample())
  warned(t, await served(p, `${node} ${script}; exit`), 'sh')
  process.kill(pidIn(p), 'SIGTERM')
  await until(() => !fs.existsSync(p.pidFile()), 'its end')
  const asked = p.write('b.mjs', sample({ options: 'detach: true,' }))
  silent(t, await served(p, `${node} ${asked}; exit`), '`Type=forking` asks for it')
})

test('from a terminal of a desktop, a login, tmux or cron, nobody is warned', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', sample())
  const end = async () => {
    process.kill(pidIn(p), 'SIGTERM')
    await until(() => !fs.existsSync(p.pidFile()), 'its end')
  }
  silent(
    t,
    await command(p, 'sh', ['-c', `${node} ${script}; exit`], { env: { SYSTEMD_EXEC_PID: undefined } }),
  )
  await end()
  // The desktop's shell is an ancestor, and the terminal has a session of its own.
  silent(t, await served(p, `setsid --wait sh -c '${node} ${script}; exit'; exit`))
  await end()
  // The variable was inherited from a process that is not an ancestor, or is gone.
  for (const pid of [process.pid, 2 ** 22 - 1, 0, -1, 'x']) {
    silent(
      t,
      await command(p, 'setsid', ['--wait', node, script], { env: { SYSTEMD_EXEC_PID: String(pid) } }),
    )
    await end()
  }
})
