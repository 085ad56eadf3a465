// The native module: where it is, how it is loaded, and which copy of this package in the process may use it.

export type {
  NativeConfinement,
  NativeLandlock,
  NativeLimit,
  NativePlace,
  NativeSupervision,
  NativeTransport,
} from './binding.js'
export { beDaemon, bundled, isDaemon } from './copies.js'
export { execute } from './executable.js'
export { unfit } from './lacking.js'
export { executable, here } from './locate.js'
export { assertAgreed, assertSupported, finishLast, native } from './native.js'
