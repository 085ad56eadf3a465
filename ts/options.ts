export interface DaemonOptions {
  [k: string]: any
}
export interface ResolvedOptions {
  name: string
  detach?: boolean
  script?: string
  args?: string[]
  env?: any
  user?: string
  group?: string
  cwd: string
  umask: number
  stdout?: string
  stderr?: string
  keepFds: number[]
  startTimeout: number
  stopTimeout: number
  blockedTimeout: number
  syslogOptions: number
  syslogFacility: number
  pidFileDir: { path: string; isDefault: boolean; createPrivate: boolean } | null
}
export function resolveOptions(o: any): ResolvedOptions {
  return {
    cwd: '/',
    umask: 0o022,
    keepFds: [],
    startTimeout: 30000,
    stopTimeout: 10000,
    blockedTimeout: 5000,
    syslogOptions: 0,
    syslogFacility: 24,
    ...o,
    pidFileDir:
      o.pidFilePath === null
        ? null
        : { path: o.pidFilePath ?? '/var/run', isDefault: o.pidFilePath === undefined, createPrivate: false },
  }
}
