// What a fresh Node, Bun or Deno is given to run the program again.

import { DaemonError } from '../errors/index.js'
import { given, ownProgram, realPath } from '../program/index.js'
import {
  denoFlags,
  dirname,
  existsSync,
  isBun,
  isDeno,
  isDenoExecutable,
  isSingleExecutable,
  readlinkSync,
  resolve,
  statSync,
  variables,
  withoutLaunchersOwn,
} from '../runtime/index.js'

/** The arguments of execve(2). */
export interface Command {
  file: string
  argv: string[]
  /** The last ones of `argv` are this process's own, which may be bytes that are no text. */
  ownArguments: boolean
  env: string[]
  /** The variables of `env` are this process's own. */
  ownEnv: boolean
  /** The directory in which the program was started: its flags may name relative files. Left out where the process
   * is still there. */
  cwd?: Buffer
}

// As it was before the program's own code could change it, which runs in the daemon again.
const ownDirectory = directory()

/** The options that say which program the daemon's process runs. */
export interface ProgramOptions {
  execPath?: string | undefined
  execArgv?: readonly string[] | undefined
  script?: string | undefined
  args?: readonly string[] | undefined
  env?: Readonly<Record<string, string | undefined>> | undefined
}

/**
 * What the daemon's Node runs: this program again, or `script`. `commandLine` gives the command line of this
 * process, which Deno does not tell.
 *
 * @throws DaemonError `ERR_DAEMON_UNSUPPORTED` where there is no script: `node -e`, a REPL, standard input;
 * `ERR_DAEMON_START_FAILED` where `execPath` cannot be found
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
export function directory(): Buffer | undefined {
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
      'A program of `deno compile` cannot start itself as a daemon. Run it with `deno run`',
    )
  }
  if (execPath === undefined && isSingleExecutable()) {
    return [...(execArgv ?? []), ...(args ?? process.argv.slice(2))]
  }
  // An `execPath` or `execArgv` is meant for the program itself, and not for a runner that has run it here.
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
  return [...(execPath === undefined ? withoutDebugger(flags) : flags), path, ...rest]
}

/** Flags for this very Node, with which SIGUSR1 does not open the debugger's port. */
function withoutDebugger(flags: readonly string[]): readonly string[] {
  const flag = '--disable-sigusr1'
  // Node 22.14 and later have it. Making the set of flags takes a millisecond, which Node 20 need not spend.
  const mayKnow = !isBun && Number.parseInt(process.versions.node, 10) >= 22
  const knows = mayKnow && process.allowedNodeEnvironmentFlags.has(flag)
  return knows && !flags.includes(flag) ? [flag, ...flags] : flags
}

/** The path of a program: a name without a slash is looked for in PATH, as execvp(3) does. */
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

/** Electron runs as Node where a variable says so. Beside it, and beside every program that was made with it, is this
 * file (on macOS this folder). */
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
    'The permissions for the daemon are unknown: its script is not in the command line of Deno. ' +
      'Run the script by its path: `deno run --allow-all script.ts`',
  )
}

function environmentOf(env: Readonly<Record<string, string | undefined>>): string[] {
  return variables(env).map((variable) => variable.join('='))
}
