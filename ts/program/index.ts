// The program that imports this package: its script, its package, and the name that a daemon has by default.

export { defaultName, isName } from './name.js'
export { realPath } from './packages.js'
export { given, ownProgram } from './script.js'
