// What proc(5) says of processes, and which of them belong to a place.

import { lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** A process, as proc(5) has it. What only its user may read (`environ`, `cwd`, `fd`) is read when it is asked for. */
export interface Proc {
  readonly pid: number
  /** `'R'`, `'S'`, `'D'`, `'T'`, `'Z'`, … */
  readonly state: string
  readonly ppid: number
  readonly pgrp: number
  readonly session: number
  /** The controlling terminal; 0: none. */
  readonly tty: number
  /** When it was started, in clock ticks since the boot: who it is, when pids are used again. */
  readonly starttime: number
  /** The lines of /proc/PID/status by their names: `status.Uid`, `status.Umask`, `status.CapEff`. */
  readonly status: Readonly<Record<string, string>>
  readonly cmdline: readonly string[]
  /** The environment that it was started with. */
  readonly environ: Readonly<Record<string, string>>
  readonly cwd: string
  /** Descriptors, and what they lead to. */
  readonly fd: Readonly<Record<number, string>>
}

/** What /proc says of a process; `undefined` where there is none. */
export function proc(pid: number): Proc | undefined {
  const dir = `/proc/${pid}`
  const text = (name: string) => readFileSync(`${dir}/${name}`, 'utf8')
  let stat: string
  let status: string
  try {
    ;[stat, status] = [text('stat'), text('status')]
  } catch {
    return undefined
  }
  // The name, in parentheses, can have any character.
  const [state = '', ...numbers] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [ppid = 0, pgrp = 0, session = 0, tty = 0] = numbers.map(Number)
  // The 22nd field; the state is the third.
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
      // A title that is shorter than the command line was ends with what is left of that.
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

function lines(text: string, end: string): string[] {
  return text.split(end).filter(Boolean)
}

function split(line: string, at: string): [string, string] {
  const index = line.indexOf(at)
  return [line.slice(0, index), line.slice(index + 1).trim()]
}

/** Nothing, where the descriptor was closed meanwhile. */
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

/** Where a place has its pidfiles. */
export const runtimeDirectoryOf = (dir: string): string => join(dir, 'run')

/**
 * The processes of a place, but for this one: those that were started with it in their environment, those
 * that have one of its pidfiles open, and the descendants of both. Zombies are not among them.
 */
export function processesOf(dir: string): number[] {
  const parents = new Map<number, number>()
  for (const entry of readdirSync('/proc')) {
    const found = /^\d+$/.test(entry) ? proc(Number(entry)) : undefined
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

function isMarked(pid: number, dir: string): boolean {
  try {
    const environ = readFileSync(`/proc/${pid}/environ`, 'utf8')
    return environ.includes(`=${dir}\0`) || environ.includes(`=${runtimeDirectoryOf(dir)}\0`)
  } catch {
    return false
  }
}

/** A daemon that was given another environment still holds its pidfile. */
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
  try {
    return readdirSync(directory).flatMap((file) => {
      const path = join(directory, file)
      if (!file.endsWith('.pid') || !lstatSync(path).isFile()) return []
      return [{ name: file.slice(0, -'.pid'.length), path, pid: Number(readFileSync(path, 'utf8')) }]
    })
  } catch {
    return []
  }
}
