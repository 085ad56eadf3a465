// What runs this program, where that makes a difference: Node, Bun or Deno, and whether the program is
// one file with it.

import { resolve } from './builtin.js'

interface Deno {
  build: { standalone?: boolean }
}

const deno = (globalThis as { Deno?: Deno }).Deno

export const isBun: boolean = 'Bun' in globalThis
export const isDeno: boolean = deno !== undefined

/** Whether the program was made by `deno compile`. */
export const isDenoExecutable: boolean = deno?.build.standalone === true

/** Whether the program and its runtime are one file: a single-executable application, `bun build --compile`. */
export function isSingleExecutable(): boolean {
  if (isBun) return process.argv[1]?.startsWith('/$bunfs/') ?? false
  // In an executable Node gives its own name as the script's, too. Only then node:sea is loaded, which takes a moment.
  if (process.argv[1] !== process.argv0) return false
  const sea = process.getBuiltinModule?.('node:sea') as { isSea(): boolean } | undefined
  return sea?.isSea() ?? false
}

/**
 * The arguments of a command line of Deno before the script: the permissions, which the daemon gets too, and no
 * others. `undefined` where the command line does not contain the script.
 */
export function denoFlags(commandLine: readonly string[], script: string, cwd: string): string[] | undefined {
  const isScript = (arg: string) =>
    resolve(cwd, arg.startsWith('file:') ? process.getBuiltinModule('node:url').fileURLToPath(arg) : arg) ===
    script
  const index = commandLine.findIndex((arg, i) => i > 0 && isScript(arg))
  return index < 0 ? undefined : commandLine.slice(1, index)
}
