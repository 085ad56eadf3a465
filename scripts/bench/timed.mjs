// The time that a whole process takes, by a program in C that measures nothing of itself.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const source = fileURLToPath(new URL('timed.c', import.meta.url))
const cache = fileURLToPath(new URL('../../.cache/bench', import.meta.url))
const timed = join(cache, 'timed')

if (!existsSync(timed) || statSync(timed).mtimeMs < statSync(source).mtimeMs) {
  mkdirSync(cache, { recursive: true })
  const { status } = spawnSync('cc', ['-O2', '-Wall', '-o', timed, source], { stdio: 'inherit' })
  if (status !== 0) throw new Error('The benchmark needs a C compiler, `cc`.')
}

/** Milliseconds until a command has ended. One that fails is an error, unless its status is one of `expected`. */
export function timeOf(command, options, expected = [0]) {
  const { status, stdout, error } = spawnSync(timed, command, {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    timeout: 120_000,
    ...options,
  })
  if (!expected.includes(status)) {
    const again = spawnSync(command[0], command.slice(1), { encoding: 'utf8', ...options })
    const said = `${again.stdout ?? ''}${again.stderr ?? ''}`.trim()
    throw error ?? new Error(`\`${command.join(' ')}\` ended with ${status}. Once more it says: ${said}`)
  }
  return Number(stdout) / 1e6
}

/** Milliseconds from SIGTERM to the end of a process. */
export const endOf = (pid, options) => timeOf(['--end', String(pid)], options)
