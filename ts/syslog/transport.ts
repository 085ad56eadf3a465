// The transports: where messages go.

import { hasControls, invalidType, invalidValue, unknownKey, unknownName } from '../errors/index.js'
import type { NativeTransport } from '../native/index.js'
import { isAbsolute, LONGEST_SOCKET_PATH } from '../runtime/index.js'

/** Where messages go. */
export type SyslogTransport =
  /** The local logger, in RFC 3164; `path` is its socket, `/dev/log` by default. */
  | { type: 'local'; path?: string | undefined }
  /**
   * Another host's logger, in RFC 5424: by datagrams (RFC 5426), or by a connection with octet counting
   * (RFC 6587). `port` is 514 by default. `sdId` is the SD-ID of the fields, `fields@32473` by default. With a
   * private enterprise number of your own, give `name@number`.
   */
  | { type: 'udp' | 'tcp'; host: string; port?: number | undefined; sdId?: string | undefined }
  /** systemd's journal; `path` is its native socket, `/run/systemd/journal/socket` by default. */
  | { type: 'journal'; path?: string | undefined }

const SYSLOG_PORT = 514
/** RFC 5612 reserves this number for examples. This package has none of its own. */
const SD_ID = 'fields@32473'
/** An SD-ID; see RFC 5424, 6.3.2. */
const SD_NAME = /^[!#-<>-\\^-~]{1,32}$/

/** The properties that each transport can have beside its type. */
const TRANSPORTS: Record<NativeTransport['kind'], readonly string[]> = {
  local: ['path'],
  journal: ['path'],
  udp: ['host', 'port', 'sdId'],
  tcp: ['host', 'port', 'sdId'],
}

/** A transport for the native module. */
export function toNative(transport: SyslogTransport): NativeTransport {
  if (typeof transport !== 'object' || transport === null) {
    throw invalidType('transport', transport, 'an object with a type')
  }
  const { type, ...given } = transport as Record<string, unknown>
  const kinds = Object.keys(TRANSPORTS) as NativeTransport['kind'][]
  const kind = kinds.find((kind) => kind === type)
  if (kind === undefined) throw unknownName('transport.type', type, `one of ${kinds.join(', ')}`, kinds)
  const known = TRANSPORTS[kind]
  for (const name of Object.keys(given)) {
    if (!known.includes(name)) {
      throw unknownKey('transport', name, `made of the keys of '${kind}'`, ['type', ...known])
    }
  }
  if (kind === 'local' || kind === 'journal') return { kind, ...pathOf(given.path) }
  const { host, port = SYSLOG_PORT, sdId = SD_ID } = given
  if (typeof host !== 'string') throw invalidType('transport.host', host, 'a host’s name or address')
  if (!/^\S{1,255}$/.test(host) || hasControls(host)) {
    throw invalidValue('transport.host', host, 'a host’s name or address')
  }
  if (typeof port !== 'number') throw invalidType('transport.port', port, 'a port, 1 to 65535')
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw invalidValue('transport.port', port, 'a port, 1 to 65535')
  }
  if (typeof sdId !== 'string') throw invalidType('transport.sdId', sdId, 'an SD-ID, such as name@32473')
  if (!SD_NAME.test(sdId)) throw invalidValue('transport.sdId', sdId, 'an SD-ID, such as name@32473')
  return { kind, host, port, sdId }
}

function pathOf(path: unknown): { path?: string } {
  if (path === undefined) return {}
  const expected = `an absolute path of at most ${LONGEST_SOCKET_PATH} bytes`
  if (typeof path !== 'string') throw invalidType('transport.path', path, expected)
  if (!isAbsolute(path) || path.includes('\0') || Buffer.byteLength(path) > LONGEST_SOCKET_PATH) {
    throw invalidValue('transport.path', path, expected)
  }
  return { path }
}
