// Printing as console does.

/** Prints as console does: a reader that is gone is no error of the program. */
export function print(stream: NodeJS.WriteStream, text: Buffer | string): void {
  stream.once('error', ignore)
  stream.write(text, (error) => {
    if (!error) stream.removeListener('error', ignore)
  })
}

function ignore(): void {}
