// The name of a program that does not give one: that of its script, its package or its directory. Whoever starts
// a daemon and whoever asks for it must come to the same name, so it does not depend on the working directory.

import { hasControls } from '../errors/index.js'
import { basename, dirname, isSingleExecutable, statSync } from '../runtime/index.js'
import { packageOf, realPath } from './packages.js'
import { isScript, ownProgram } from './script.js'

/** The most bytes of a name. */
const LONGEST = 64
/** Names that many scripts have. */
const COMMON = new Set(['index', 'main'])

/** Whether a text can be a daemon's name. */
export function isName(name: string): boolean {
  // A character has at most three bytes, so those of a short name need not be counted.
  const fits = name.length <= LONGEST / 3 || Buffer.byteLength(name) <= LONGEST
  return name !== '' && fits && name !== '.' && name !== '..' && !name.includes('/') && !hasControls(name)
}

let own: string | undefined

/** The name of a program that has not given one: of `script`, or of this very program. */
export function defaultName(script?: string): string {
  if (script !== undefined) return nameOf(script)
  // It is kept, since a daemon's process title overwrites the command line.
  own ??= nameOf(isSingleExecutable() ? process.execPath : ownProgram()?.script)
  return own
}

function nameOf(script: string | undefined): string {
  // Under `node -e`, where there can only be a client.
  if (script === undefined) return 'daemon'
  const file = entryOf(script)
  const name = baseOf(file)
  const candidates = COMMON.has(name) ? [packageName(file), name] : [name]
  return candidates.find((candidate) => candidate !== undefined && isName(candidate)) ?? 'daemon'
}

/** A path's last component without its extension. */
function baseOf(path: string): string {
  const file = path.slice(path.lastIndexOf('/') + 1)
  const dot = file.lastIndexOf('.')
  return dot > 0 ? file.slice(0, dot) : file
}

/** The script in a directory that is run (`node .`); else the script itself. */
function entryOf(script: string): string {
  if (isScript(script) || !statSync(script, { throwIfNoEntry: false })?.isDirectory()) return script
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
