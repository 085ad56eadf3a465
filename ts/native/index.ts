// The native module: where it is, how it is loaded, and which copy of this package in the process may use it.

export type {
  NativeConfinement,
  NativeLandlock,
  NativeLimit,
  NativePlace,
  NativeTransport,
} from './binding.js'
export { beDaemon, isDaemon } from './copies.js'
export { execute } from './executable.js'
export { here } from './locate.js'
export { assertAgreed, assertSupported, finishLast, native } from './native.js'
