// Where the native module of this platform is.

import { dirname, existsSync, isSingleExecutable } from '../runtime/index.js'

const { platform, arch } = process

/** What the native modules for this platform are called. */
const names: string[] =
  platform === 'linux' ? [`linux-${arch}-gnu`, `linux-${arch}-musl`] : [`${platform}-${arch}`]

/** Where this code is. A bundle in CommonJS has no import.meta; in an executable it is that one's place. */
export const here: string =
  import.meta.dirname ?? (typeof __dirname === 'string' ? __dirname : dirname(process.execPath))
/** The folder of this package, unless this is a bundle. */
export const own: string = dirname(here)

/** The file of the native module; `undefined` where there is none. */
export function locate(): string | undefined {
  const found = filesOf(names)
  // process.report is slow (it asks for much): only where both C libraries' modules are there.
  return found.length > 1 ? found.find((file) => file.endsWith(`-${libc()}.node`)) : found[0]
}

/**
 * The files for these platforms: of a local build, else of the platform's package, which package
 * managers put beside this one; for a bundle, the file beside it, or beside the executable. Only where
 * it is elsewhere Node's own resolution is asked, which costs as much as all the rest of an import.
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
