// The names of programs that start others and stay, as the kernel has them: cut at 15 bytes.

const CONTAINER_INITS = new Set([
  'tini',
  'tini-static',
  'dumb-init',
  'catatonit',
  'docker-init',
  'podman-init',
  'my_init',
  'tsdaemonize',
])
const SYSTEM_INITS = new Set([
  'systemd',
  'init',
  'launchd',
  'runit',
  's6-svscan',
  'openrc-init',
  'dinit',
  'finit',
  'system-manager',
])
/** They stay when the program that they have started ends, as an init does. */
const OTHERS = new Set(['pause', 'bwrap', 'conmon', 'supervisord'])
/** What starts a service is its parent: under runit, s6, daemontools, perp, nosh, OpenRC and macOS's launchd. */
const SUPERVISORS = new Set([
  'runsv',
  's6-supervise',
  'supervise',
  'perpd',
  'service-manager',
  'supervise-daemo',
  'launchd',
])

/** Whether a process of this name is an init that is made for containers. */
export function isContainerInit(name: string): boolean {
  return CONTAINER_INITS.has(name)
}

/** Whether a process of this name stays when the program that it has started ends. */
export function isInit(name: string): boolean {
  return isContainerInit(name) || SYSTEM_INITS.has(name) || OTHERS.has(name)
}

/** Whether a process of this name is the parent of the services that it starts. */
export function isSupervisor(name: string): boolean {
  return SUPERVISORS.has(name)
}
