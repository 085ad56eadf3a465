// Finds the native module of this platform.

import { dirname, existsSync, isSingleExecutable } from '../runtime/index.js'

const { platform, arch } = process

/** What the executable is called. */
export const PROGRAM = 'tsdaemonize'

/** The names of the platforms whose native modules this one can load. */
const names: string[] =
  platform === 'linux' ? [`linux-${arch}-gnu`, `linux-${arch}-musl`] : [`${platform}-${arch}`]

/** The directory of this code. A bundle in CommonJS has no import.meta, and in an executable it is the executable's. */
export const here: string =
  import.meta.dirname ?? (typeof __dirname === 'string' ? __dirname : dirname(process.execPath))
/** The directory of this package, unless this is a bundle. */
export const own: string = dirname(here)

/** The file of the native module; `undefined` where there is none. */
export function locate(): string | undefined {
  const found = filesOf(names)
  // process.report is slow, since it collects much. It is asked only where the modules for both C libraries are there.
  return found.length > 1 ? found.find((file) => file.endsWith(`-${libc()}.node`)) : found[0]
}

/** The path of the executable, which belongs beside the native module. */
export function executable(): string {
  return `${dirname(locate() ?? `${here}/`)}/${PROGRAM}`
}

/**
 * The files for these platforms: those of a local build, else those of the platform's package, which package
 * managers put beside this one. For a bundle, it is the file beside it, or beside the executable. Node's own
 * resolution is asked last, since it costs as much as all the rest of an import.
 */
function filesOf(names: string[]): string[] {
  const file = (name: string) => `tsdaemonize.${name}.node`
  for (const place of [
    (name: string) => `${own}/${file(name)}`,
    (name: string) => `${dirname(own)}/tsdaemonize-${name}/${file(name)}`,
    (name: string) => `${here}/${file(name)}`,
    (name: string) => (isSingleExecutable() ? `${dirname(process.execPath)}/${file(name)}` : undefined),
    resolved,
  ]) {
    const found = names.map(place).filter((path) => path !== undefined && existsSync(path))
    if (found.length > 0) return found as string[]
  }
  return []
}

function resolved(name: string): string | undefined {
  try {
    return process
      .getBuiltinModule('node:module')
      .createRequire(`${here}/index.js`)
      .resolve(`tsdaemonize-${name}`)
  } catch {
    return undefined
  }
}

/** The C library of this very process. */
export function libc(): 'gnu' | 'musl' {
  const report = process.report as { excludeNetwork?: boolean; getReport(): object }
  report.excludeNetwork = true
  const { header } = report.getReport() as { header: { glibcVersionRuntime?: string } }
  return header.glibcVersionRuntime === undefined ? 'musl' : 'gnu'
}
