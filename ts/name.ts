// What a program is called that does not say it: as its script, its package or its directory. Whoever starts
// a daemon and whoever asks for it must come to the same name, so it does not depend on the working directory.

import { basename, dirname, existsSync, readFileSync, realpathSync, resolve, statSync } from './builtin.js'
import { hasControls } from './checks.js'
import { native } from './native.js'
import { ownScript } from './program.js'
import { isSingleExecutable } from './runtime.js'

/** A name's bytes. */
const LONGEST = 64
/** So is called the script of many a program. */
const ANYONES = new Set(['index', 'main'])
const SCRIPT = /\.[cm]?[jt]sx?$/
const SELF = 'tsdaemonize'

interface Package {
  dir: string
  name?: unknown
  [key: string]: unknown
}

/** Whether a text can be a daemon's name. */
export function isName(name: string): boolean {
  // At most three bytes are a character's: the shorter need not be counted.
  const fits = name.length <= LONGEST / 3 || Buffer.byteLength(name) <= LONGEST
  return name !== '' && fits && name !== '.' && name !== '..' && !name.includes('/') && !hasControls(name)
}

let own: string | undefined

/** The name of a program that has not said one: of `script`, or of this very program. */
export function defaultName(script?: string): string {
  if (script !== undefined) return nameOf(script)
  // Kept: a daemon's process title overwrites the command line.
  own ??= nameOf(ownProgram())
  return own
}

function nameOf(script: string | undefined): string {
  // `node -e`, where only a client can be; or a script whose own name will not do.
  if (script === undefined) return 'daemon'
  const file = entryOf(script)
  const name = baseOf(file)
  const candidates = ANYONES.has(name) ? [packageName(file), name] : [name]
  return candidates.find((candidate) => candidate !== undefined && isName(candidate)) ?? 'daemon'
}

/** A path's last component without its extension. */
function baseOf(path: string): string {
  const file = path.slice(path.lastIndexOf('/') + 1)
  const dot = file.lastIndexOf('.')
  return dot > 0 ? file.slice(0, dot) : file
}

/** Where a directory is run (`node .`), the script in it. */
function entryOf(script: string): string {
  if (SCRIPT.test(script) || !statSync(script, { throwIfNoEntry: false })?.isDirectory()) return script
  try {
    const { createRequire } = process.getBuiltinModule('node:module')
    return createRequire(`${script}/`).resolve(script)
  } catch {
    return script
  }
}

function packageName(script: string): string {
  const file = realPath(script)
  const found = packageOf(file)
  if (typeof found?.name === 'string') return baseOfScoped(found.name)
  return basename(found?.dir ?? dirname(file))
}

function baseOfScoped(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1)
}

/** The nearest package.json above a file. One that only says how Node shall read the files beside it, such as
 * dist/esm/package.json with its `type`, gives way to one that names a package. */
function packageOf(file: string): Package | undefined {
  let marker: Package | undefined
  for (let dir = dirname(file); ; dir = dirname(dir)) {
    const found = readPackage(dir)
    const isMarker = found !== undefined && Object.keys(found).every((key) => key === 'type' || key === 'dir')
    if (found !== undefined && !isMarker) return typeof found.name === 'string' ? found : (marker ?? found)
    marker ??= found
    if (dir === dirname(dir)) return marker
  }
}

function readPackage(dir: string): Package | undefined {
  const path = resolve(dir, 'package.json')
  // Most directories have none, and an exception takes longer than this.
  if (!existsSync(path)) return undefined
  try {
    return { ...JSON.parse(readFileSync(path, 'utf8')), dir }
  } catch {
    return undefined
  }
}

function realPath(path: string): string {
  try {
    return realpathSync.native(path)
  } catch {
    return resolve(path)
  }
}

/** This program's own file, also where something that runs programs has put its file in the place of that. */
export function ownProgram(): string | undefined {
  if (isSingleExecutable()) return process.execPath
  const script = ownScript()
  if (script === undefined) return undefined
  return handedToPm2(script) ?? handedToRunner(script) ?? script
}

/** pm2 says it in the environment, which children inherit, and only its own process is meant. */
function handedToPm2(script: string): string | undefined {
  const isContainer = /\/pm2\/lib\/ProcessContainer\w*\.js$/.test(script)
  return (isContainer && process.env.pm_exec_path) || undefined
}

/**
 * Others (vite-node, zx) get it as an argument. A program from a package needs this package. One that does not
 * is such a runner, and the first script among its arguments is the program.
 */
function handedToRunner(script: string): string | undefined {
  const file = realPath(script)
  if (!file.includes('/node_modules/') || needsUs(packageOf(file))) return undefined
  const args = argumentsOf(script).map((arg) => (arg.startsWith('-') ? arg : resolve(arg)))
  const isScript = (arg: string) => SCRIPT.test(arg) && existsSync(arg)
  // What follows an option may be its value.
  const free = args.find((arg, i) => isScript(arg) && !args[i - 1]?.startsWith('-'))
  return free ?? args.find(isScript)
}

function needsUs(found: Package | undefined): boolean {
  const needs = ['dependencies', 'devDependencies', 'peerDependencies', 'optionalDependencies']
  return (
    found?.name === SELF ||
    needs.some((kind) => {
      const list = found?.[kind]
      return typeof list === 'object' && list !== null && SELF in list
    })
  )
}

/** What a runner got; from the kernel, since some take it out of `process.argv`. */
function argumentsOf(script: string): readonly string[] {
  const given = process.argv.slice(2)
  try {
    const all = native.commandLine()
    const at = all.findIndex((arg, i) => i > 0 && resolve(arg) === script)
    return at < 0 ? given : all.slice(at + 1)
  } catch {
    return given
  }
}
