export function startedByManager(): boolean {
  return false
}
export function daemonCommand(o: any) {
  return {
    file: process.execPath,
    argv: [process.execPath, ...process.execArgv, process.argv[1] as string, ...process.argv.slice(2)],
    env: Object.entries({ ...process.env }).map(([k, v]) => `${k}=${v}`),
  }
}
