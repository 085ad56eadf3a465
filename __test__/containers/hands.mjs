// Runs in the namespaces of the containers, as their first process: executes the programs that the tests ask for
// by messages, each in a cgroup of its own where that has a name.

import { spawn } from 'node:child_process'

const CGROUPS = '/sys/fs/cgroup'

process.on('message', ({ id, file, args, cgroup, input = '', timeout = 120_000 }) => {
  const enter =
    cgroup === undefined
      ? ''
      : `mkdir -p ${CGROUPS}/${cgroup} && echo $$ > ${CGROUPS}/${cgroup}/cgroup.procs && `
  const child = spawn('sh', ['-c', `${enter}exec "$0" "$@"`, file, ...args], {
    timeout,
    killSignal: 'SIGKILL',
  })
  let stdout = ''
  let stderr = ''
  child.stdin.on('error', () => {}).end(input)
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text
  })
  child.on('close', (status, signal) => process.send({ id, status: status ?? signal, stdout, stderr }))
})
// With the tests' process ends all that runs here.
process.on('disconnect', () => process.exit())
