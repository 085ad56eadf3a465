export type DaemonErrorCode = string
export interface DaemonErrorDetails {
  errno?: number
  syscall?: string
  path?: string
  pid?: number
  exitCode?: number
  signal?: string
  stdout?: string
  stderr?: string
  cause?: unknown
}
export class DaemonError extends Error {
  code: DaemonErrorCode
  errno?: number
  syscall?: string
  constructor(code: DaemonErrorCode, message: string, details: DaemonErrorDetails = {}) {
    super(message)
    this.name = 'DaemonError'
    this.code = code
    Object.assign(this, details)
  }
}
export function serializeError(e: unknown): string {
  const x = e as Error
  return JSON.stringify({ name: x.name, message: x.message, stack: x.stack })
}
export function reviveError(json: string): unknown {
  const { message, ...r } = JSON.parse(json)
  return Object.assign(new Error(message), r)
}
