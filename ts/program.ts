// The program: what a fresh Node has to be given to run it again.

import { dirname, existsSync, readlinkSync, resolve, statSync } from './builtin.js'
import { DaemonError } from './errors.js'
import { realPath } from './packages.js'
import { denoFlags, isBun, isDeno, isDenoExecutable, isSingleExecutable } from './runtime.js'
import { given, ownProgram } from './script.js'

/** What belongs to the launcher's own run, and is not handed on. */
const LAUNCHERS_OWN =
  /^--(?:no-)?(?:inspect|debug-port$|watch|test|experimental-test|cpu-prof|heap-prof|prof$|interactive$)/
/** Of these, the ones whose value may be the next argument. */
const WITH_VALUE =
  /^--(?:inspect-port|debug-port|inspect-publish-uid|watch-path|watch-kill-signal|(?:cpu|heap)-prof-(?:dir|name|interval)|test-(?:concurrency|coverage-\w+|global-setup|isolation|name-pattern|random-seed|reporter|reporter-destination|rerun-failures|shard|skip-pattern|timeout))$/
/** What gives Node a program other than a script; stripped where a script is given. */
const OTHER_PROGRAM = /^(?:-e|-p|-pe|-c|--eval|--print|--check|--input-type)$/
const OTHER_PROGRAM_WITH_VALUE = /^(?:-e|-p|-pe|--eval|--print|--input-type)$/

/** Variables that speak of the launcher's own process, or hand it something. */
const LAUNCHERS_VARIABLES = new Set([
  'NOTIFY_SOCKET',
  'LISTEN_FDS',
  'LISTEN_PID',
  'LISTEN_FDNAMES',
  'LISTEN_PIDFDID',
  'WATCHDOG_USEC',
  'WATCHDOG_PID',
  'SYSTEMD_EXEC_PID',
  'MAINPID',
  'MANAGERPID',
  'JOURNAL_STREAM',
  'NODE_CHANNEL_FD',
  'NODE_CHANNEL_SERIALIZATION_MODE',
  'NODE_UNIQUE_ID',
  'NODE_TEST_CONTEXT',
  'WATCH_REPORT_DEPENDENCIES',
])

/** What execve(2) takes. */
export interface Command {
  file: string
  argv: string[]
  /** The last of them are this process's own, which may be bytes that are no text. */
  ownArguments: boolean
  env: string[]
  /** They are this process's own. */
  ownEnv: boolean
  /** Where the program was started: its flags may name relative files. Left out, where it still is there. */
  cwd?: Buffer
}

// As it was before the program's own code, which runs in the daemon again, could change it.
const ownDirectory = directory()

/** What says which program the daemon's process runs. */
export interface ProgramOptions {
  execPath?: string | undefined
  execArgv?: readonly string[] | undefined
  script?: string | undefined
  args?: readonly string[] | undefined
  env?: Readonly<Record<string, string | undefined>> | undefined
}

/**
 * What the daemon's Node runs: this program again, or `script`. `commandLine`: of this process, which
 * Deno's own means do not tell.
 *
 * @throws DaemonError `ERR_DAEMON_UNSUPPORTED` where there is no script: `node -e`, a REPL, standard input;
 * `ERR_DAEMON_START_FAILED` where `execPath` is not to be found
 */
export function daemonCommand(options: ProgramOptions, commandLine: () => readonly string[]): Command {
  const { env = process.env } = options
  const now = directory()
  const moved = ownDirectory !== undefined && !(now && ownDirectory.equals(now))
  const file = options.execPath === undefined ? process.execPath : findExecutable(options.execPath, env.PATH)
  const variables = environmentOf(env)
  if (isElectron(file) && env[AS_NODE] === undefined) variables.push(`${AS_NODE}=1`)
  return {
    file,
    argv: [file, ...programOf(options, commandLine)],
    ownArguments: options.args === undefined,
    env: variables,
    ownEnv: options.env === undefined,
    ...(moved && { cwd: ownDirectory }),
  }
}

/** The working directory, whose name may be bytes that are no text; `undefined` where it was removed. */
function directory(): Buffer | undefined {
  try {
    const text = process.cwd()
    const isText = !text.includes('\ufffd') || !existsSync('/proc/self/cwd')
    return isText ? Buffer.from(text) : readlinkSync('/proc/self/cwd', 'buffer')
  } catch {
    return undefined
  }
}

function programOf(
  { execPath, execArgv, script, args }: ProgramOptions,
  commandLine: () => readonly string[],
): string[] {
  const isOther = execPath !== undefined || execArgv !== undefined
  if (isDenoExecutable && !isOther) {
    throw new DaemonError(
      'ERR_DAEMON_UNSUPPORTED',
      'A program of `deno compile` cannot start itself as a daemon. Run it by `deno run`',
    )
  }
  if (execPath === undefined && isSingleExecutable()) {
    return [...(execArgv ?? []), ...(args ?? process.argv.slice(2))]
  }
  // Whoever says what runs the program means the program itself, and not what has run it here.
  const own = isOther ? ownProgram() : given()
  const path = script ?? own?.script
  if (path === undefined) {
    throw new DaemonError(
      'ERR_DAEMON_UNSUPPORTED',
      'There is no script that a daemon could run: this program came from `node -e`, a REPL or standard input. ' +
        'Start it from a file, or name one with `script`',
    )
  }
  const rest = args ?? own?.args ?? []
  if (isDeno) return [...(execArgv ?? ownDenoFlags(commandLine())), path, ...rest]
  const flags = execArgv ?? withoutLaunchersOwn(process.execArgv, script !== undefined)
  return [...(execPath === undefined ? guarded(flags) : flags), path, ...rest]
}

/** Flags for this very Node, by which SIGUSR1 opens no debugger's port. */
function guarded(flags: readonly string[]): readonly string[] {
  const guard = '--disable-sigusr1'
  // Node 22.14 and later. To make the set of flags takes a millisecond, which Node 20 need not spend.
  const mayKnow = !isBun && Number.parseInt(process.versions.node, 10) >= 22
  const knows = mayKnow && process.allowedNodeEnvironmentFlags.has(guard)
  return knows && !flags.includes(guard) ? [guard, ...flags] : flags
}

/** A path; or, of a name without a slash, where it is in PATH, as execvp(3) finds it. */
function findExecutable(name: string, path = '/usr/local/bin:/usr/bin:/bin'): string {
  if (name.includes('/')) return resolve(name)
  const { accessSync, constants } = process.getBuiltinModule('node:fs')
  for (const dir of path.split(':')) {
    const file = resolve(dir, name)
    try {
      accessSync(file, constants.X_OK)
      if (statSync(file).isFile()) return file
    } catch {}
  }
  throw new DaemonError(
    'ERR_DAEMON_START_FAILED',
    `\`execPath\` names '${name}', which is in no directory of PATH. Give its absolute path`,
    { path: name },
  )
}

const AS_NODE = 'ELECTRON_RUN_AS_NODE'

/** Electron runs as Node where a variable says so. It, and every program that was made with it, has this file
 * beside it (macOS: this folder). */
function isElectron(file: string): boolean {
  if (file === process.execPath) return process.versions.electron !== undefined
  const dir = dirname(realPath(file))
  return (
    existsSync(`${dir}/chrome_100_percent.pak`) ||
    existsSync(`${dir}/../Frameworks/Electron Framework.framework`)
  )
}

/** The daemon has the permissions of its launcher, and no others. */
function ownDenoFlags(commandLine: readonly string[]): string[] {
  const flags = denoFlags(commandLine, process.argv[1] ?? '', String(ownDirectory ?? '/'))
  if (flags !== undefined) return withoutLaunchersOwn(flags)
  throw new DaemonError(
    'ERR_DAEMON_UNSUPPORTED',
    'The permissions that the daemon shall have are unknown: its script is not in the command line of Deno. ' +
      'Run the script by its path: `deno run --allow-all script.ts`',
  )
}

/** Node options without those of the launcher's own run. */
export function withoutLaunchersOwn(flags: readonly string[], otherScript = false): string[] {
  const kept: string[] = []
  for (let i = 0; i < flags.length; i++) {
    const flag = flags[i] as string
    const [name = ''] = flag.split('=', 1)
    // Node takes --a_b for --a-b.
    const plain = name.startsWith('--') ? name.replaceAll('_', '-') : name
    const apart = name === flag && flags[i + 1] !== undefined
    if (LAUNCHERS_OWN.test(plain) || plain === '-i') {
      if (apart && WITH_VALUE.test(plain)) i++
    } else if (otherScript && OTHER_PROGRAM.test(plain)) {
      if (apart && OTHER_PROGRAM_WITH_VALUE.test(plain)) i++
    } else {
      kept.push(flag)
    }
  }
  return kept
}

function environmentOf(env: Readonly<Record<string, string | undefined>>): string[] {
  return variables(env).map((variable) => variable.join('='))
}

/** The variables of an environment without those of the launcher's own run: names and values. */
export function variables(env: Readonly<Record<string, string | undefined>>): [string, string][] {
  const kept: [string, string][] = []
  for (const name of Object.keys(env)) {
    const value = env[name]
    if (value === undefined || LAUNCHERS_VARIABLES.has(name) || name.startsWith('TSDAEMONIZE_')) continue
    if (name !== 'NODE_OPTIONS') {
      kept.push([name, value])
      continue
    }
    const flags = withoutLaunchersOwn(splitNodeOptions(value))
    if (flags.length > 0) kept.push([name, flags.map(quoted).join(' ')])
  }
  return kept
}

/** As Node splits NODE_OPTIONS: at spaces; double quotes group, and a backslash in them escapes. */
export function splitNodeOptions(text: string): string[] {
  const found: string[] = []
  let current = ''
  let inQuotes = false
  let begun = false
  for (let i = 0; i < text.length; i++) {
    let char = text[i] as string
    if (char === '\\' && inQuotes && i + 1 < text.length) {
      char = text[++i] as string
    } else if (char === '"') {
      inQuotes = !inQuotes
      begun = true
      continue
    } else if (char === ' ' && !inQuotes) {
      if (begun) found.push(current)
      current = ''
      begun = false
      continue
    }
    current += char
    begun = true
  }
  if (begun) found.push(current)
  return found
}

/** A flag as NODE_OPTIONS takes it. */
export function quoted(flag: string): string {
  return /[\s"\\]/.test(flag) ? `"${flag.replace(/["\\]/g, '\\$&')}"` : flag
}
