// Packages: what a package.json says about the files below it.

import { dirname, existsSync, readFileSync, realpathSync, resolve } from '../runtime/index.js'

/** A package.json, and the directory that it is in. */
export interface Package {
  dir: string
  name?: unknown
  [key: string]: unknown
}

/** The nearest package.json above a file. One that only tells Node how to read the files beside it, such as
 * dist/esm/package.json with its `type`, gives way to one that names a package. */
export function packageOf(file: string): Package | undefined {
  let marker: Package | undefined
  for (let dir = dirname(file); ; dir = dirname(dir)) {
    const found = readPackage(dir)
    const isMarker = found !== undefined && Object.keys(found).every((key) => key === 'type' || key === 'dir')
    if (found !== undefined && !isMarker) return typeof found.name === 'string' ? found : (marker ?? found)
    marker ??= found
    if (dir === dirname(dir)) return marker
  }
}

/** The package of this name that code in `from` imports. */
export function installed(name: string, from: string): Package | undefined {
  for (let dir = from; ; dir = dirname(dir)) {
    const found = realPath(`${dir}/node_modules/${name}`)
    const json = readPackage(found)
    if (json !== undefined || dir === dirname(dir)) return json
  }
}

function readPackage(dir: string): Package | undefined {
  const path = resolve(dir, 'package.json')
  // Most directories have none, and an exception would take longer than this look.
  if (!existsSync(path)) return undefined
  try {
    return { ...JSON.parse(readFileSync(path, 'utf8')), dir }
  } catch {
    return undefined
  }
}

/** A path without symbolic links. One that leads nowhere is only made absolute. */
export function realPath(path: string): string {
  try {
    return realpathSync.native(path)
  } catch {
    return resolve(path)
  }
}
