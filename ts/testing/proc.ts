// What proc(5) says about processes, and which of them belong to a place.

import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** A process, as proc(5) shows it. `environ`, `cwd` and `fd`, which only its user may read, are read when they are used. */
export interface Proc {
  readonly pid: number
  /** `'R'`, `'S'`, `'D'`, `'T'`, `'Z'`, … */
  readonly state: string
  readonly ppid: number
  readonly pgrp: number
  readonly session: number
  /** The controlling terminal; 0 where it has none. */
  readonly tty: number
  /** When it was started, in clock ticks since the boot. With it a process is known after its pid was used again. */
  readonly starttime: number
  /** The lines of /proc/PID/status by their names: `status.Uid`, `status.Umask`, `status.CapEff`. */
  readonly status: Readonly<Record<string, string>>
  readonly cmdline: readonly string[]
  /** The environment that it was started with. */
  readonly environ: Readonly<Record<string, string>>
  readonly cwd: string
  /** The descriptors, and what they lead to. */
  readonly fd: Readonly<Record<number, string>>
}

/**
 * What /proc says about a process; `undefined` where there is none. Bytes that are not UTF-8 are shown as Node shows them.
 *
 * @throws Error where /proc is that of another pid namespace, or hides the process (`hidepid`)
 */
export function proc(pid: number): Proc | undefined {
  if (!isOwn()) throw new Error(FOREIGN)
  const dir = `/proc/${pid}`
  const text = (name: string) => readFileSync(`${dir}/${name}`, 'utf8')
  let stat = ''
  let status = ''
  // It is read once more where the number may have become another process's in between.
  for (let left = 2; left > 0; left--) {
    try {
      ;[stat, status] = [text('stat'), text('status')]
      break
    } catch (error) {
      if (!exists(pid)) return undefined
      if (left === 1)
        throw new Error(`The process ${pid} exists, and /proc does not show it`, { cause: error })
    }
  }
  // The name, in parentheses, can contain any character.
  const [state = '', ...numbers] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [ppid = 0, pgrp = 0, session = 0, tty = 0] = numbers.map(Number)
  // This is the 22nd field; the state is the third.
  const starttime = Number(numbers[18])
  return {
    pid,
    state,
    ppid,
    pgrp,
    session,
    tty,
    starttime,
    status: Object.fromEntries(lines(status, '\n').map((line) => split(line, ':'))),
    get cmdline() {
      // A title that is shorter than the command line was is followed by what is left of that.
      return text('cmdline').replace(/\0+$/, '').split('\0')
    },
    get environ() {
      return Object.fromEntries(lines(text('environ'), '\0').map((line) => split(line, '=')))
    },
    get cwd() {
      return readlinkSync(`${dir}/cwd`)
    },
    get fd() {
      return Object.fromEntries(readdirSync(`${dir}/fd`).flatMap((fd) => link(`${dir}/fd`, fd)))
    },
  }
}

/** Whether the kernel knows such a process in this pid namespace. */
function exists(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

let own: boolean | undefined

/**
 * Whether /proc is that of this process's own pid namespace (`NSpid` in proc_pid_status(5)). The numbers of
 * another namespace would be those of strangers here.
 */
export function isOwn(): boolean {
  own ??= numbersOfThis() === 1
  return own
}

/** Why nothing is done with the numbers of another namespace. */
export const FOREIGN =
  'The /proc here is that of another pid namespace, and its numbers are strangers: mount it anew ' +
  '(mount -t proc proc /proc; unshare has --mount-proc)'

function numbersOfThis(): number {
  try {
    const numbers = /^NSpid:(.*)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]
    return numbers?.trim().split(/\s+/).length ?? 1
  } catch {
    return 0
  }
}

function lines(text: string, end: string): string[] {
  return text.split(end).filter(Boolean)
}

function split(line: string, at: string): [string, string] {
  const index = line.indexOf(at)
  return [line.slice(0, index), line.slice(index + 1).trim()]
}

/** What a descriptor leads to; nothing where it was closed meanwhile. */
function link(dir: string, fd: string): [string, string][] {
  try {
    return [[fd, readlinkSync(join(dir, fd))]]
  } catch {
    return []
  }
}

/** Whether the process that was started then has not ended. */
export function isAlive(pid: number, starttime: number | undefined): boolean {
  const found = proc(pid)
  return found !== undefined && found.starttime === starttime && found.state !== 'Z'
}

/** Whether a process is this program, or a child or grandchild of it that has not left its session. */
export function isAttached(pid: number, program: number): boolean {
  const session = proc(program)?.session
  let found = proc(pid)
  if (found?.session !== session) return false
  while (found !== undefined && found.pid !== program) found = proc(found.ppid)
  return found !== undefined
}

/** The directory in which a place has its pidfiles. */
export const runtimeDirectoryOf = (dir: string): string => join(dir, 'run')

/**
 * The processes of a place, without this one: those that were started with it in their environment, those
 * that have one of its pidfiles open, and the descendants of both. Zombies do not count.
 */
export function processesOf(dir: string): number[] {
  if (!isOwn()) throw new Error(FOREIGN)
  const parents = new Map<number, number>()
  for (const entry of readdirSync('/proc')) {
    const found = /^\d+$/.test(entry) ? visible(Number(entry)) : undefined
    if (found !== undefined && found.state !== 'Z') parents.set(found.pid, found.ppid)
  }
  const own = new Set(holders(dir))
  for (const pid of parents.keys()) if (isMarked(pid, dir)) own.add(pid)
  own.delete(process.pid)
  let size: number
  do {
    size = own.size
    for (const [pid, parent] of parents) if (own.has(parent)) own.add(pid)
  } while (own.size > size)
  return [...parents.keys()].filter((pid) => own.has(pid))
}

/** A process that /proc shows. One that it hides is another user's, and not of a place. */
function visible(pid: number): Proc | undefined {
  try {
    return proc(pid)
  } catch {
    return undefined
  }
}

function isMarked(pid: number, dir: string): boolean {
  try {
    const environ = readFileSync(`/proc/${pid}/environ`)
    return environ.includes(`=${dir}\0`) || environ.includes(`=${runtimeDirectoryOf(dir)}\0`)
  } catch {
    return false
  }
}

/** The processes that hold a pidfile of the place: so a daemon with another environment is found, too. */
function holders(dir: string): number[] {
  return pidfilesIn(dir).flatMap(({ path, pid }) => {
    try {
      const { dev, ino } = statSync(path)
      const isThis = (fd: string) => {
        const open = statSync(`/proc/${pid}/fd/${fd}`, { throwIfNoEntry: false })
        return open?.dev === dev && open.ino === ino
      }
      return readdirSync(`/proc/${pid}/fd`).some(isThis) ? [pid] : []
    } catch {
      return []
    }
  })
}

/** The pidfiles of a place. */
export function pidfilesIn(dir: string): { name: string; path: string; pid: number }[] {
  const directory = runtimeDirectoryOf(dir)
  const files = existsSync(directory) ? readdirSync(directory) : []
  return files
    .filter((file) => file.endsWith('.pid'))
    .flatMap((file) => {
      const path = join(directory, file)
      try {
        if (!lstatSync(path).isFile()) return []
        return [{ name: file.slice(0, -'.pid'.length), path, pid: Number(readFileSync(path, 'utf8')) }]
      } catch {
        // It was removed meanwhile, or its name is not one that a daemon can have.
        return []
      }
    })
}
