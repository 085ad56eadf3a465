// Limits of the system that more than one room needs.

/** The largest int of C, and the longest timer that Node has, in milliseconds. */
export const LARGEST_INT = 2 ** 31 - 1
/** The most bytes of a socket's path, without the NUL (sun_path in unix(7)). */
export const LONGEST_SOCKET_PATH: number = process.platform === 'linux' ? 107 : 103
