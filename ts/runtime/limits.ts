// The limits of the system that several rooms know.

/** The largest int of C, and the longest timer that Node has, in milliseconds. */
export const LARGEST_INT = 2 ** 31 - 1
/** The bytes that sun_path of unix(7) has for a socket's path, without the NUL. */
export const LONGEST_SOCKET_PATH: number = process.platform === 'linux' ? 107 : 103
