// The script of this program, also where a runner of programs has put its own file in that place.

import { here, native } from '../native/index.js'
import { existsSync, resolve } from '../runtime/index.js'
import { installed, type Package, packageOf, realPath } from './packages.js'

/** What this package is called. */
const SELF = 'tsdaemonize'
const SCRIPT = /\.[cm]?[jt]sx?$/

// As they were before the program's own code could change them, which runs in the daemon again.
const [, ownFile, ...ownArguments] = process.argv

/** A program: its script and its arguments. */
export interface Program {
  script: string
  args: readonly string[]
}

/** What this process was given to run; `undefined` for `node -e`, a REPL, standard input. */
export function given(): Program | undefined {
  const isOther = process.execArgv.some((o) => /^(?:-e|-p|-pe|--eval|--print)(?:=|$)/.test(o))
  return isOther || ownFile === undefined || ownFile === '-'
    ? undefined
    : { script: ownFile, args: ownArguments }
}

/** Whether a path is that of a script, by its name. */
export function isScript(path: string): boolean {
  return SCRIPT.test(path)
}

/** The program itself, which a runner may have as an argument. */
export function ownProgram(): Program | undefined {
  const program = given()
  return program && (handedToPm2(program) ?? handedToRunner(program) ?? program)
}

/** pm2 names the program in the environment, which children inherit. It means only its own process. */
function handedToPm2({ script, args }: Program): Program | undefined {
  const isContainer = /\/pm2\/lib\/ProcessContainer\w*\.js$/.test(script)
  const path = process.env.pm_exec_path
  return isContainer && path ? { script: path, args } : undefined
}

/**
 * Other runners (vite-node, zx) have the program as an argument. A program from a package needs this package:
 * directly, through another package, or in its own bundle. One that does not is such a runner, and the first script
 * among its arguments is the program.
 */
function handedToRunner(runner: Program): Program | undefined {
  const file = realPath(runner.script)
  if (!file.includes('/node_modules/') || needsUs(packageOf(file))) return undefined
  const args = argumentsOf(runner)
  const found = (arg: string) => isScript(arg) && !arg.startsWith('-') && existsSync(arg)
  // What follows an option may be its value.
  const free = args.findIndex((arg, i) => found(arg) && !args[i - 1]?.startsWith('-'))
  const at = free < 0 ? args.findIndex(found) : free
  const script = args[at]
  return script === undefined ? undefined : { script: resolve(script), args: args.slice(at + 1) }
}

/** Where a package.json lists what the package may have bundled. */
const BUNDLED = ['devDependencies', 'peerDependencies']
/** Where a package.json lists what is installed with the package. */
const INSTALLED = ['dependencies', 'optionalDependencies']

function needsUs(found: Package | undefined): boolean {
  return found !== undefined && (names(found, BUNDLED).includes(SELF) || leadsToUs(found, new Set()))
}

/** Whether this very code belongs to the package, or to one that it depends on. */
function leadsToUs(found: Package | undefined, seen: Set<string>): boolean {
  if (found === undefined || seen.has(found.dir)) return false
  seen.add(found.dir)
  if (found.name === SELF || here.startsWith(`${found.dir}/`)) return true
  const needed = names(found, INSTALLED)
  return needed.includes(SELF) || needed.some((name) => leadsToUs(installed(name, found.dir), seen))
}

function names(found: Package, kinds: readonly string[]): string[] {
  return kinds.flatMap((kind) => {
    const list = found[kind]
    return typeof list === 'object' && list !== null ? Object.keys(list) : []
  })
}

/** The arguments of a runner. They come from the kernel, since some runners remove them from `process.argv`. */
function argumentsOf({ script, args }: Program): readonly string[] {
  try {
    const all = native.commandLine()
    const at = all.findIndex((arg, i) => i > 0 && resolve(arg) === script)
    return at < 0 ? args : all.slice(at + 1)
  } catch {
    return args
  }
}
