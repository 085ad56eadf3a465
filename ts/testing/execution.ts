// A program that a test runs, and what it prints.

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'

/** How a program ended: `status` or `signal` is `null`. */
export interface Exit {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** A program that runs or has ended. */
export class Execution {
  readonly child: ChildProcess
  readonly exit: Promise<Exit>
  stdout = ''
  stderr = ''
  isOutOfTime = false
  readonly timeout: number
  readonly #timer: NodeJS.Timeout

  constructor(file: string, args: readonly string[], options: SpawnOptions, timeout: number, input?: string) {
    this.timeout = timeout
    this.child = spawn(file, args, { stdio: 'pipe', ...options })
    const { stdin, stdout, stderr } = this.child
    // A program that does not read its input is no error of the test.
    stdin?.on('error', () => {}).end(input)
    stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    this.#timer = setTimeout(() => {
      this.isOutOfTime = this.child.kill('SIGKILL')
    }, timeout)
    this.exit = new Promise((resolve, reject) => {
      this.child.on('error', reject)
      // 'close', and not 'exit': a daemon that still holds its launcher's pipes is not detached.
      this.child.on('close', (status, signal) => {
        resolve({ status, signal, stdout: this.stdout, stderr: this.stderr })
      })
    })
    const done = () => this.mayLast()
    this.exit.then(done, done)
  }

  /** How it ended, if it does within this time. */
  async exitBy(ms: number): Promise<Exit | undefined> {
    const timer = new AbortController()
    const late = sleep(ms, undefined, { signal: timer.signal }).catch(() => undefined)
    try {
      return await Promise.race([this.exit, late])
    } finally {
      timer.abort()
    }
  }

  /** From now on no time limit ends it. */
  mayLast(): void {
    clearTimeout(this.#timer)
  }
}
